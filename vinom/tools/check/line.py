"""
One line of play in a trial: calls to the game, their recording and their trace.

A line can be copied at any moment, because states never change. So a trial plays on
from one state in several ways: with a player who left, with all but one who left, with
newcomers, and with nobody who acts. What all of them find is added to one `Trial`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.errors import Misconfigured, Refused, Rejected
from vinom.game import Chance, Event, Game, Step, level_of
from vinom.play.choices import seats_for
from vinom.play.clock import Advances
from vinom.play.contract import contract_of, misfit
from vinom.play.guard import Guard, TooSlow
from vinom.play.play import GAME_ERRORS, Play, Recorded, seat_at
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.states import StateCodec, codec_of, fingerprint, plain, state_hash
from vinom.play.views import Views
from vinom.tools.check.leaks import Search
from vinom.tools.check.random_actions import RandomActions


class Finding(Struct, frozen=True):
    """
    One thing that the author must change.

    :ivar rule: "state", "pure", "fault", "ends", "left", "view", "setup", "event",
        "tick", "replay", "leak" or "hash_seed".
    :ivar message: what is wrong, for the author.
    :ivar when: the time in the trial, and what plays it again.
    """

    rule: str
    message: str
    when: str = ""


class Trial(Struct):
    """
    The result of one game with random actions.

    :ivar findings: what the author must change.
    :ivar notes: things worth knowing that aren't mistakes.
    :ivar trace: one line per step, with the state's hash.
    :ivar steps: how many there were.
    :ivar options: the options it was played with, JSON.
    :ivar is_cut: did its time end before it did?
    :ivar seen: rows of the table of secrets.
    """

    findings: list[Finding] = []
    notes: list[str] = []
    trace: list[str] = []
    steps: int = 0
    options: str = "{}"
    is_cut: bool = False
    seen: list[tuple[str, ...]] = []

    def found(self, rule: str, message: str, when: str = "") -> None:
        """Add a finding, unless it is there already."""
        if (rule, message) not in [(one.rule, one.message) for one in self.findings]:
            self.findings.append(Finding(rule, message, when))

    def note(self, message: str) -> None:
        """Add a note, unless it is there already."""
        if message not in self.notes:
            self.notes.append(message)


class Impure(Exception):
    """One call, made twice, returned two results."""


def _twice(name: str) -> Any:
    def call(self: Twice, *args: Any) -> Any:
        return self.call(name, *args)

    return call


class Twice(Game[Any, Any]):
    """
    Makes every call twice; compares the results, and the state before and after.

    The second call gets the state as it is after it was stored and read. So a game
    that needs anything that is not stored plays differently, and is found.
    """

    def __init__(self, game: Game[Any, Any], not_stored: Callable[[str], None]) -> None:
        """
        Wrap a game.

        :param game: the game.
        :param not_stored: called once with the reason, if its states can't be stored.
        """
        self._game = game
        # A play asks for it, and views are packed as the game's own.
        vars(self)["past_ticks"] = game.past_ticks
        vars(self)["shows"] = game.shows
        self._not_stored = not_stored
        #: The state given to the latest call, its hash after that call, and the same
        #: state after it was stored.
        self._given: Any = None
        self._hash = ""
        self._restored: Any = None
        self._codec: StateCodec | None = None
        try:
            self._codec = codec_of(game)
        except Misconfigured as error:
            not_stored(str(error))

    def _take(self, state: Any) -> None:
        """Keep what belongs to a state: calls in a row mostly get the same one."""
        self._hash, self._restored = state_hash(state), state
        self._given = state
        if self._codec is not None:
            try:
                _, self._restored = self._codec.round_trip(state)
            except Misconfigured as error:
                self._codec = None
                self._not_stored(str(error))

    def call(self, name: str, *args: Any) -> Any:
        call = getattr(self._game, name)
        if getattr(type(self._game), name) is getattr(Game, name):
            # A method that the game does not override needs no test.
            return call(*args)
        given, *rest = args
        if name == "start":
            before, again = state_hash(given), given
        else:
            before, again = self.hash_of(given), self._restored
        first, second = _answer(call, args), _answer(call, (again, *rest))
        if state_hash(given) != before:
            raise Impure(f"{name}() changes the state it was given")
        if first[0] != second[0]:
            if again is not given and _answer(call, args)[0] == first[0]:
                raise Impure(
                    f"{name}() returns another result for the same state after it was "
                    f"stored and read; does it compare with `is`?"
                )
            raise Impure(f"{name}() returns another result when it is called again")
        if isinstance(first[1], Exception):
            raise first[1]
        return first[1]

    def hash_of(self, state: Any) -> str:
        """Hash a state; the latest hash is kept."""
        if state is not self._given:
            self._take(state)
        return self._hash


for _name in (
    *("start", "act", "advance", "tick", "joined", "dropped", "returned", "left"),
    *("deadline", "outcome", "setup", "audience", "view"),
):
    setattr(Twice, _name, _twice(_name))


class TwiceTimed(Twice):
    """The same for a game with timers, which is asked for them."""

    timers = _twice("timers")


def _answer(call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    """Make a call; returns a name of its result or error, and the result or error."""
    try:
        result = call(*args)
    except Exception as error:
        return f"{type(error).__qualname__}: {error}", error
    return _trace_of(result), result


def _trace_of(result: Any) -> str:
    if isinstance(result, Step):
        return f"{state_hash(result.state)} {plain(result.events)!r}"
    return state_hash(result)


#: How often a seat tries random actions until the game takes one.
TRIES = 12
#: The same, before it counts as unable to act.
MORE_TRIES = 60


class Line:
    """
    One line of play.

    :ivar game: the rules.
    :ivar plan: of the match; newcomers are added to it.
    :ivar play: the game's state.
    :ivar away: seats that lost their connection.
    :ivar gone: seats that were given up, in the order in which they left.
    :ivar longest: length of the longest view, bytes.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        plan: MatchPlan,
        seed: int,
        trial: Trial,
        guard: Guard,
    ) -> None:
        """
        Start a line; nothing is played yet.

        :param game: the rules.
        :param plan: of the match.
        :param seed: of its random actions.
        :param trial: gets the findings and the trace.
        :param guard: interrupts calls that take too long.
        """
        self.game, self.plan, self.trial = game, plan, trial
        twice = Twice if type(game).timers is Game.timers else TwiceTimed
        self.twice = twice(game, lambda why: trial.found("state", why))
        self.play = Play(self.twice, self._note, guard, plan)
        self.away: set[int] = set()
        self.gone: list[int] = []
        self.newcomers = 0
        self.longest = 0
        self.search = Search(game, self.play.ask)
        self._contract = contract_of(game)
        self._views = Views(self.twice, self.play.ask)
        self._actions = RandomActions(game.actions, Chance(seed).fork("actions"))
        self._loadouts = RandomActions(game.loadout, Chance(seed).fork("newcomers"))
        self._file = bytearray(encode_header(plan, game, 0.0))
        self._setup: Any = None
        self._setup_bytes: bytes | None = None
        self._advances = Advances()

    def fork(self, purpose: int) -> Line:
        """Copy the line; what happens in one doesn't happen in the other."""
        other = copy.copy(self)
        other.play = play = copy.copy(self.play)
        play.record, play.events, play.refused = other._note, [], []
        play.vacated = []
        other.away, other.gone = set(self.away), list(self.gone)
        other.newcomers = self.newcomers
        other._file = bytearray(self._file)
        other._views = Views(self.twice, play.ask)
        chance = self._actions.chance.fork(f"line {purpose}")
        other._actions = RandomActions(self.game.actions, chance)
        other._advances = copy.copy(self._advances)
        return other

    @property
    def present(self) -> list[int]:
        """The seats whose players are connected."""
        return [
            seat
            for seat in range(len(self.plan.seats))
            if seat not in self.away and seat not in self.gone
        ]

    def below(self, limit: int) -> int:
        """Draw an integer in ``[0, limit)``."""
        return self._actions.below(limit)

    def pick(self, items: list[int]) -> int:
        """Draw one of a few."""
        return items[self.below(len(items))]

    # What happens.

    def advance(self) -> None:
        """Call the game at its deadline, or at the time of a timer."""
        play = self.play
        time, name = max(play.due or 0.0, play.time), play.due_for
        self._advances.add(time, play.version)
        self._searched(
            "advance",
            self.game.advance,
            play.advance_args(time, name),
            lambda: play.advance(time, name),
        )
        self._advances.done(play.version)
        self.trace(f"advance {name}".rstrip(), -1)

    def tick(self, inputs: tuple[tuple[int, Any], ...]) -> None:
        """Make one fixed step."""
        play = self.play
        time = max(play.next_tick() or 0.0, play.time)
        # Some players were shown the newest state, some an older one.
        past = self.game.past_ticks
        shown = tuple((*one, play.ticks - past * (play.ticks % 2)) for one in inputs)
        args = (play.inputs_of(shown), play.ticks + 1)
        self._searched("tick", self.game.tick, args, lambda: play.tick(shown, time))
        for seat, no in play.refused:
            self.trial.found(
                "tick",
                f"tick() rejects an input ({no.code}): the server refuses it and makes "
                f"the step again without it, which takes time; ignore it instead",
                f"seat {seat} at {time:.3f} s",
            )
        play.refused.clear()
        self.trace("tick", inputs[0][0] if inputs else -1)

    def act(self, seat: int, action: Any, time: float) -> bool:
        """Let a seat act; returns whether the state changed."""
        play = self.play
        version = play.version
        try:
            self._searched(
                "act",
                self.game.act,
                (seat, action, time),
                lambda: play.act(seat, action, time),
            )
        except Rejected as error:
            play.time = max(play.time, time)
            self.trace(f"rejected {error.code}", seat)
        else:
            self.trace("act", seat)
        return play.version != version

    def drop(self, seat: int, time: float) -> None:
        """Let a player lose its connection."""
        self.away.add(seat)
        self.play.seat_dropped(seat, time)
        self.trace("dropped", seat)

    def come_back(self, seat: int, time: float) -> None:
        """Let a player return."""
        self.away.discard(seat)
        self.play.seat_returned(seat, time)
        self.trace("returned", seat)

    def leave(self, seat: int, time: float) -> None:
        """Let a player leave for good."""
        self.away.discard(seat)
        self.gone.append(seat)
        play = self.play
        self._searched(
            "left", self.game.left, (seat, time), lambda: play.seat_left(seat, time)
        )
        self.trace("left", seat)

    def join(self, time: float) -> bool:
        """Let a newcomer join, as a room does; returns whether there is a seat."""
        seats = list(self.plan.seats)
        number = len(seats)
        if number >= seats_for(self.game, self.plan.options)[1]:
            if not self.gone:
                return False
            number = min(self.gone)
        # Nobody has two seats, so no two have one id.
        self.newcomers += 1
        who = SeatPlan(f"new{self.newcomers}", "newcomer", self.loadout())
        seats[number : number + 1] = [who]
        try:
            newcomer = seat_at(seats, number, self.game)
        except Refused:
            return False
        if number in self.gone:
            self.gone.remove(number)
        self.plan = attrs.evolve(self.plan, seats=tuple(seats))
        self.play.seat_joined(number, time, newcomer)
        self.trace("joined", number)
        return True

    def loadout(self) -> bytes:
        """Draw a loadout from its type."""
        return drawn_json(self._loadouts)

    # Who can do what.

    def choose(self, seat: int) -> Any:
        """Choose an action for a seat: its bot's, or a random one; perhaps ``None``."""
        view = self._view(seat)
        if self.below(2) and type(self.game).bot is not Game.bot:
            return self._ask_bot(seat, view)
        return self._actions.make(view)

    def choices(self, seat: int, tries: int) -> Iterable[Any]:
        """List some actions for a seat, the bot's first."""
        view = self._view(seat)
        if type(self.game).bot is not Game.bot:
            yield self._ask_bot(seat, view)
        for _ in range(tries):
            yield self._actions.make(view)

    def can_act(self, seat: int) -> bool:
        """Would the game take an action of this seat now? It isn't made."""
        play = self.play
        for action in self.choices(seat, MORE_TRIES):
            if action is None:
                continue
            try:
                after = play.ask(
                    "act", self.game.act, play.state, seat, action, play.time
                )
            except TooSlow:
                # Each further try would take as long.
                raise
            except GAME_ERRORS:
                continue
            if after is not play.state:
                return True
        return False

    def _view(self, seat: int) -> Any:
        return msgspec.msgpack.decode(self._shown(seat))

    def _shown(self, seat: int | None) -> bytes:
        play = self.play
        audience = self._views.audience_of(play.state, seat)
        return self._views.show(play.state, play.version, audience)

    def _ask_bot(self, seat: int, view: Any) -> Any:
        _, self._actions.chance = self._actions.chance.draw()
        chance = self._actions.chance
        levels = self.game.levels
        level = levels[self.below(len(levels))] if levels else ""
        more = (self._setup, *level_of(self.game, level))
        chosen = self.play.ask("bot", self.game.bot, view, seat, chance, *more)
        if chosen is None:
            return None
        # As it would arrive, so that an invalid action of the bot is found.
        encoded = msgspec.msgpack.encode(chosen)
        return msgspec.msgpack.decode(encoded, type=self.game.actions)

    # What is looked at.

    def show(self) -> None:
        """Encode the views that a room would send now."""
        play = self.play
        parts, seats = self._contract.parts, (*range(len(self.plan.seats)), None)
        for shown in dict.fromkeys(map(self._shown, seats)):
            self.longest = max(self.longest, len(shown))
            self._fits("view", "view() does not return", parts["view"], shown)
        self._look_outside()
        if self._setup_bytes is None:
            self._setup_bytes = self._views.setup(play.state)
            if data := self._setup_bytes:
                self._fits("setup", "setup() does not return", parts["setup"], data)
                self._setup = msgspec.msgpack.decode(data)

    def _look_outside(self) -> None:
        """Look for numbers that players are shown otherwise, for want of range."""
        play, views = self.play, self._views
        if views.packing is None:
            return
        seats = (*range(len(self.plan.seats)), None)
        for key in {views.audience_of(play.state, seat) for seat in seats}:
            view = play.ask("view", self.game.view, play.state, key)
            for name, grid, number in views.packing.outside(view):
                self.trial.found(
                    "view",
                    f"{name} leaves {grid} and is shown as its end; give it more "
                    f"range, or bound it in view()",
                    f"{number} at {play.time:.3f} s",
                )

    def _fits(self, rule: str, what: str, kind: Any, data: bytes) -> None:
        """Compare what is sent with what is declared."""
        if why := misfit(data, kind):
            name = getattr(kind, "__name__", kind)
            self.trial.found(rule, f"{what} {name}: {why}")

    def _note_events(self, events: Iterable[Event]) -> None:
        """Compare events with those that are declared."""
        known = self._contract.events
        for event in events:
            what = f"event {event.kind!r}"
            if event.kind in known:
                data = msgspec.msgpack.encode(event.data)
                self._fits("event", f"{what} does not fit", known[event.kind], data)
            elif self._contract.is_closed:
                self.trial.found("event", f"{what} is not declared; add it to tells")

    def look_for_leaks(self) -> None:
        """Search the state for leaks, and compare the setup with the first one."""
        state = self.play.state
        for leak in self.search.state(state, len(self.plan.seats)):
            self.trial.found("leak", leak)
        setup = Views(self.game, self.play.ask).setup(state)
        if self._setup_bytes is not None and setup != self._setup_bytes:
            self.trial.found(
                "setup",
                "setup() changes during a game, but each player gets it only once; "
                "show in view() what changes",
                f"at {self.play.time:.3f} s",
            )

    def _searched(
        self, name: str, call: Callable[..., Any], args: Any, make: Callable[[], None]
    ) -> None:
        """Make a call; if this is one of the searched ones, search its events."""
        before, events = self.play.state, self.play.events
        count = len(events)
        make()
        told = tuple(events[count:])
        # What an action writes into the state may reveal a secret without an event.
        keeps = self.game.secret or self.game.hidden
        kind = type(args[1]).__qualname__ if name == "act" else ""
        if (told or keeps) and self.search.is_next(name, kind):
            seats = len(self.plan.seats)
            for leak in self.search.step(before, call, args, told, seats):
                self.trial.found("leak", leak, f"in {name}()")

    def trace(self, what: str, seat: int) -> None:
        """Write down what happened, and the state that follows."""
        play = self.play
        events, play.events = play.events, []
        for event in events:
            play.recipients(event)
        for gone in play.vacated:
            self.away.discard(gone)
            if gone not in self.gone:
                self.gone.append(gone)
        play.vacated.clear()
        self._note_events(events)
        shown = self._shown(None)
        self.trial.trace.append(
            f"{play.time:.3f} {what} {seat} {self.twice.hash_of(play.state)} "
            f"{fingerprint(shown)} {plain(events)!r}"
        )

    def finish(self) -> None:
        """Replay the recording, from its bytes."""
        play = self.play
        shown = self._shown(None)
        end = MatchEnd(
            "check", "ended", version=play.version, view_hash=fingerprint(shown)
        )
        self._file += encode_ending(end, play.state)
        recording = read_recording(bytes(self._file))
        result = replay(recording, self.game, guard=play.guard)
        if result.differing is not None:
            self.trial.found("replay", result.differing)

    def _note(self, recorded: Recorded) -> None:
        self._file += encode_recorded(recorded)


def drawn_json(supply: RandomActions) -> bytes:
    """Draw options or a loadout as JSON; all defaults if the draw is not valid."""
    drawn = supply.make(None)
    return b"{}" if drawn is None else msgspec.json.encode(drawn)
