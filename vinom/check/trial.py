"""
Test whether a game follows the rules for games.

It is played with random actions, and every call is made twice. The game must be pure,
its states frozen, it must end, its recording must replay, and its views must not leak.
Nothing here depends on clocks or on the order of sets in this process, so two
processes that trace one game must agree.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable
from pathlib import PurePath
from typing import Any, cast

import attrs
import msgspec

from vinom.check.leaks import find_leaks
from vinom.check.random_actions import RandomActions
from vinom.errors import Misconfigured, Refused, Rejected
from vinom.game import Chance, Game, Outcome, Step
from vinom.model import MatchEnd, MatchPlan, SeatPlan
from vinom.play.frozen import ensure_frozen, fingerprint, plain, state_hash
from vinom.play.guard import Guard
from vinom.play.play import GAME_ERRORS, Play, Recorded, table_of
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.views import Views

#: Most steps of one trial game.
MOST_STEPS = 3000
#: Most states of one trial game whose views are searched for leaks.
MOST_SEARCHED = 12
#: A longer view needs several datagrams, bytes.
ONE_DATAGRAM = 1100


@attrs.frozen
class Finding:
    """
    One thing that the author must change.

    :ivar rule: "frozen", "pure", "fault", "ends", "replay", "leak" or "hash_seed".
    :ivar message: what is wrong, for the author.
    :ivar when: the time in the trial; not part of the finding's identity.
    """

    rule: str
    message: str
    when: str = attrs.field(default="", eq=False)


@attrs.define
class Trial:
    """
    The result of one game with random actions.

    :ivar findings: what the author must change.
    :ivar notes: things worth knowing that aren't mistakes.
    :ivar trace: one line per step, with the state's hash.
    """

    findings: list[Finding] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    trace: list[str] = attrs.field(factory=list)

    def found(self, rule: str, message: str, when: str = "") -> None:
        """Add a finding, unless it is there already."""
        finding = Finding(rule, message, when)
        if finding not in self.findings:
            self.findings.append(finding)


class _Impure(Exception):
    """One call, made twice, returned two results."""


class _Twice(Game[Any, Any]):
    """Makes every call twice; compares the results, and the state before and after."""

    def __init__(self, game: Game[Any, Any]) -> None:
        self._game = game
        #: The state given to the latest call, and its hash after that call.
        self._given: Any = None
        self._hash = ""

    def _call(self, name: str, *args: Any) -> Any:
        call = getattr(self._game, name)
        if getattr(type(self._game), name) is getattr(Game, name):
            # A method that the game does not override needs no test.
            return call(*args)
        before = self.hash_of(args[0])
        first, second = _answer(call, args), _answer(call, args)
        if state_hash(args[0]) != before:
            raise _Impure(f"{name}() changes the state it was given")
        self._given, self._hash = args[0], before
        if first[0] != second[0]:
            raise _Impure(f"{name}() returns another result when it is called again")
        if isinstance(first[1], Exception):
            raise first[1]
        return first[1]

    def hash_of(self, state: Any) -> str:
        """Hash a state; calls in a row mostly get the same one, so keep the latest."""
        return self._hash if state is self._given else state_hash(state)

    def start(self, table: Any) -> Any:
        return self._call("start", table)

    def act(self, s: Any, seat: int, action: Any, now: float) -> Any:
        return self._call("act", s, seat, action, now)

    def advance(self, s: Any, now: float) -> Any:
        return self._call("advance", s, now)

    def tick(self, s: Any, inputs: tuple[tuple[int, Any], ...], n: int) -> Any:
        return self._call("tick", s, inputs, n)

    def dropped(self, s: Any, seat: int, now: float) -> Any:
        return self._call("dropped", s, seat, now)

    def returned(self, s: Any, seat: int, now: float) -> Any:
        return self._call("returned", s, seat, now)

    def deadline(self, s: Any) -> float | None:
        return cast("float | None", self._call("deadline", s))

    def outcome(self, s: Any) -> Outcome | None:
        return cast("Outcome | None", self._call("outcome", s))

    def setup(self, s: Any) -> Any:
        return self._call("setup", s)

    def audience(self, s: Any, seat: int | None) -> Hashable:
        return cast("Hashable", self._call("audience", s, seat))

    def view(self, s: Any, audience: Hashable) -> Any:
        return self._call("view", s, audience)


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


def try_game(
    game: Game[Any, Any],
    name: str,
    seats: int,
    seed: int,
    guard: Guard | None = None,
) -> Trial:
    """
    Play one game of *seats* players against random actions.

    :param name: of the game.
    :param seats: number of players.
    :param seed: up to 256 bits; the same seed makes the same trial, in any process.
    :param guard: interrupts calls that take too long; each is made twice.
    """
    trial = Trial()
    players = tuple(SeatPlan(f"p{seat}", f"player {seat}") for seat in range(seats))
    plan = MatchPlan("check", name, players, seed)
    _Player(game, plan, trial, guard or Guard()).play()
    return trial


class _Player:
    """Plays one trial game."""

    def __init__(
        self, game: Game[Any, Any], plan: MatchPlan, trial: Trial, guard: Guard
    ) -> None:
        """
        :param game: the game.
        :param plan: its seats and its seed.
        :param trial: gets the results.
        :param guard: interrupts calls that take too long.
        """
        self._game, self._plan, self._trial = game, plan, trial
        self._twice = twice = _Twice(game)
        self._play_of = Play(twice, self._note, guard, plan)
        self._views = Views(twice, self._play_of.ask)
        self._actions = RandomActions(game.actions, Chance(plan.seed).fork("actions"))
        self._file = bytearray(encode_header(plan, game, 0.0))
        self._away: set[int] = set()
        self._setup: Any = None
        self._longest = 0

    def play(self) -> None:
        """Play to the end, then replay the recording."""
        play, trial = self._play_of, self._trial
        try:
            play.lay(table_of(self._plan, self._game))
            play.begin()
            self._show()
            self._run()
            self._finish()
        except _Impure as error:
            trial.found("pure", str(error))
        except Misconfigured as error:
            trial.found("frozen", str(error))
        except Refused as error:
            trial.found("fault", f"the default options are refused: {error.message}")
        except GAME_ERRORS as error:
            what = f"{type(error).__qualname__}: {error}{_line_of(error)}"
            when = f"at {play.time:.3f} s, version {play.version}"
            trial.found("fault", what, when)
        if self._longest > ONE_DATAGRAM:
            trial.notes.append(
                f"a view of {self._longest} bytes needs more than one datagram"
            )

    def _note(self, recorded: Recorded) -> None:
        self._file += encode_recorded(recorded)

    def _run(self) -> None:
        play, game = self._play_of, self._game
        # Long enough for MOST_STEPS of them to reach the time limit.
        pace = 2 * game.time_limit / MOST_STEPS
        endless = type(game).outcome is Game.outcome
        for step in range(MOST_STEPS if not endless else MOST_STEPS // 10):
            if play.outcome is not None:
                break
            self._one_step(pace)
            self._show()
            if step % (1 + MOST_STEPS // (20 * MOST_SEARCHED)) == 0:
                self._search()
        else:
            if endless:
                self._trial.notes.append("it has no outcome(): its time limit ends it")
            else:
                self._trial.found(
                    "ends",
                    f"no outcome after {MOST_STEPS} random steps; add a deadline() "
                    "that ends it",
                    f"at {play.time:.0f} s",
                )
        self._search()
        # Actions after the end must not break it.
        for _ in range(20):
            self._one_step(0.01)
            self._show()

    def _one_step(self, pace: float) -> None:
        play, game = self._play_of, self._game
        time = play.time + pace * self._actions.below(100) / 100
        if game.tick_hz:
            time = (play.ticks + 1) / game.tick_hz
        if play.due is not None and play.due <= time:
            play.advance(max(play.due, play.time))
            self._trace("advance", -1)
            return
        seat = self._actions.below(len(self._plan.seats))
        if self._actions.below(30) == 0:
            self._come_or_go(seat, time)
            return
        action = self._choose(seat) if seat not in self._away else None
        if game.tick_hz:
            play.tick(() if action is None else ((seat, action),), time)
            self._trace("tick", seat)
        elif action is not None:
            try:
                play.act(seat, action, time)
            except Rejected as error:
                play.time = time
                self._trace(f"rejected {error.code}", seat)
            else:
                self._trace("act", seat)
        else:
            play.time = time

    def _come_or_go(self, seat: int, time: float) -> None:
        if seat in self._away:
            self._away.discard(seat)
            self._play_of.seat_returned(seat, time)
            self._trace("returned", seat)
        elif len(self._away) + 1 < len(self._plan.seats):
            self._away.add(seat)
            self._play_of.seat_dropped(seat, time)
            self._trace("dropped", seat)

    def _choose(self, seat: int) -> Any:
        play = self._play_of
        shown = self._views.show(
            play.state, play.version, self._views.audience_of(play.state, seat)
        )
        view = msgspec.msgpack.decode(shown)
        if self._actions.below(2) and type(self._game).bot is not Game.bot:
            _, self._actions.chance = self._actions.chance.draw()
            chance = self._actions.chance
            chosen = play.ask("bot", self._game.bot, view, seat, chance, self._setup)
            if chosen is None:
                return None
            # As it would arrive, so that an invalid action of the bot is found.
            encoded = msgspec.msgpack.encode(chosen)
            return msgspec.msgpack.decode(encoded, type=self._game.actions)
        return self._actions.make(view)

    def _show(self) -> None:
        """Encode the views that a room would send now."""
        play = self._play_of
        for seat in (*range(len(self._plan.seats)), None):
            audience = self._views.audience_of(play.state, seat)
            shown = self._views.show(play.state, play.version, audience)
            self._longest = max(self._longest, len(shown))
        setup = self._views.setup(play.state)
        self._setup = msgspec.msgpack.decode(setup) if setup else None

    def _search(self) -> None:
        """Search one state for leaks."""
        ensure_frozen(self._play_of.state)
        seats = len(self._plan.seats)
        for leak in find_leaks(self._game, self._play_of.state, seats):
            self._trial.found("leak", leak)

    def _trace(self, what: str, seat: int) -> None:
        play = self._play_of
        events, play.events = play.events, []
        shown = self._views.show(
            play.state, play.version, self._views.audience_of(play.state, None)
        )
        self._trial.trace.append(
            f"{play.time:.3f} {what} {seat} {self._twice.hash_of(play.state)} "
            f"{fingerprint(shown)} {plain(events)!r}"
        )

    def _finish(self) -> None:
        """Replay the recording, from its bytes."""
        play = self._play_of
        shown = self._views.show(
            play.state, play.version, self._views.audience_of(play.state, None)
        )
        end = MatchEnd(
            "check", "ended", version=play.version, view_hash=fingerprint(shown)
        )
        self._file += encode_ending(end, play.state)
        recording = read_recording(bytes(self._file))
        result = replay(recording, self._game, guard=play.guard)
        if result.differing is not None:
            self._trial.found("replay", result.differing)


def _line_of(error: BaseException) -> str:
    """Name the line of the author's code where an error began; empty without one."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not frame.f_globals.get("__name__", "").startswith("vinom."):
            code = frame.f_code
            place = f" ({PurePath(code.co_filename).name}:{line}, in {code.co_name})"
    return place


def first_disagreement(one: list[str], other: list[str]) -> Finding | None:
    """Compare the traces of one trial in two processes."""
    for step, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        if ours != theirs:
            return Finding(
                "hash_seed",
                f"step {step}: {ours}, then {theirs}; does it iterate over a set?",
            )
    if len(one) != len(other):
        return Finding("hash_seed", f"{len(one)} steps, then {len(other)}")
    return None
