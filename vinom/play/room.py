"""
A room: one game, its seats and its time, on the caller's clock.

Inputs, joins, drops and time go in; effects come out. A game's errors never leave here
as exceptions: they end the room, with a report.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import attrs

import vinom
from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.base.packed import Layout, Packed
from vinom.errors import Code, Refused, Rejected
from vinom.game import Event, Game, Outcome
from vinom.play.choices import action_reader, seats_for
from vinom.play.clock import AWAY_TIMEOUT, JOIN_TIMEOUT, Advances, Due, RoomTime
from vinom.play.guard import Guard, TooSlow
from vinom.play.play import GAME_ERRORS, Play, Point, Recorded, seat_at, table_of
from vinom.play.seats import Absences, SeatState, StandIns, TickInputs
from vinom.play.states import fingerprint
from vinom.play.views import NoViews, Recipients, Views, encode_json

_HERE = str(Path(vinom.__file__).resolve().parent)
_GAMES = str(Path(_HERE, "games"))
_FRAME = re.compile(r'  File "(.+)", line (\d+), in (.+)')


def own_lines(report: str) -> str:
    """
    Shorten a crash report to what its author wrote.

    :param report: as of `vinom.play.room.crash_report`.
    :returns: its traceback without Vinom's own lines; all of it if no others are there.
    """
    _, _, trace = report.partition("\n\n")
    kept: list[str] = []
    is_own = True
    has_own = False
    for line in trace.rstrip().splitlines():
        frame = _FRAME.fullmatch(line)
        if frame is not None:
            is_own = not _is_ours(frame[1])
            has_own = has_own or is_own
        elif not line.startswith("    "):
            is_own = True
        if is_own:
            kept.append(line)
    return "\n".join(kept) if has_own else trace.rstrip()


def where_of(report: str) -> str:
    """Name the author's innermost line, such as "pig.py:12, in act"; or nothing."""
    found = [one for one in _FRAME.finditer(report) if not _is_ours(one[1])]
    if not found:
        return ""
    path, line, function = found[-1].groups()
    return f"{Path(path).name}:{line}, in {function}"


def _is_ours(path: str) -> bool:
    return path.startswith(_HERE) and not path.startswith(_GAMES)


@attrs.frozen
class Started:
    """Match time has started."""


@attrs.frozen
class Emitted:
    """
    The game emitted an event.

    :ivar event: the event.
    :ivar version: of the state that it belongs to.
    :ivar to: who gets it.
    """

    event: Event
    version: int
    to: Recipients


@attrs.frozen
class RoundOver:
    """A round has an outcome; the room stays open for its game's linger time."""

    outcome: Outcome


@attrs.frozen
class Closed:
    """
    The room is over; nothing follows.

    :ivar end: how the match ended.
    :ivar report: what went wrong in the game, for its author.
    """

    end: MatchEnd
    report: str | None = None


@attrs.frozen
class Forfeited:
    """
    A seat was given up by the game: away for too long, see `Game.absent`, or at once.

    :ivar seat: the seat.
    :ivar may_watch: may its player watch from now on? Then it was by `Vacate`.
    """

    seat: int
    may_watch: bool = False


@attrs.frozen
class BotFailed:
    """
    The bot of a dropped seat failed; the seat now waits for its player.

    :ivar seat: the seat.
    :ivar report: what went wrong in the bot, for its author; for the log.
    """

    seat: int
    report: str


Effect = Started | Emitted | RoundOver | Forfeited | BotFailed | Closed


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as it is in messages: ``{round, places, scores}``."""
    return {
        "round": outcome.round,
        "places": [list(seats) for seats in outcome.places],
        "scores": list(outcome.scores),
    }


def crash_report(
    plan: MatchPlan, version: int, time: float, error: BaseException
) -> str:
    """
    Write a report of what went wrong, for a game's author.

    :param plan: of the match.
    :param version: of the state.
    :param time: match time, seconds.
    :param error: what the game raised.
    """
    about = (
        f"match {plan.match_id}, game {plan.game}, version {version}, "
        f"match time {time:.3f} s\n\n"
    )
    # Earlier interruptions, perhaps thousands, say nothing about the error.
    is_chained = not isinstance(error, TooSlow)
    return about + "".join(traceback.format_exception(error, chain=is_chained))


@attrs.frozen
class Resumed:
    """
    What a room goes on from when another process played it before.

    :ivar point: of its play.
    :ivar presence: the state of each seat, by the values of `SeatState`.
    :ivar ended: of the last round that was over; ``None`` if none was.
    :ivar linger: seconds until the room closes after a round; ``None`` while one is
        played.
    :ivar effects: what had happened and was not shown.
    :ivar forfeits: seats that are dropped, and when each is given up: in how many
        seconds.
    :ivar asleep: for how long nobody has had the room, seconds; 0 unless the game's
        clock is the wall's.
    :ivar waiting: what waits for the next tick: seats, their actions, and the ticks
        that their players were shown.
    :ivar is_here: was it this process, so that all players are still connected?
    """

    point: Point
    presence: tuple[str, ...]
    ended: Outcome | None = None
    linger: float | None = None
    effects: tuple[Emitted | RoundOver, ...] = ()
    waiting: tuple[tuple[int, Any, int], ...] = ()
    forfeits: tuple[tuple[int, float], ...] = ()
    asleep: float = 0.0
    is_here: bool = False


_T = TypeVar("_T")


@attrs.frozen
class _Nobody:
    """The audience of a room whose game failed to name one."""


#: Is shown nothing. Not ``None``: a game may use that for an audience of its own.
NOBODY: Final = _Nobody()


#: At most this many ticks are caught up at once; then match time slips.
MOST_TICKS = 5
#: At most this many deadlines are caught up at once; then other rooms have their turn.
MOST_AT_ONCE = 10

#: The kind of the event for a player whose input a tick rejected.
REJECTED = "rejected"

_PRESENT = SeatState.PRESENT
_AWAITED = frozenset((SeatState.AWAITED, SeatState.DROPPED))


class Room:
    """
    One match: its game, its seats and its time.

    Times are seconds on the caller's clock, which never goes back. A game's errors
    never leave here as exceptions: they end the room, with a report. Before play
    starts the version is 0 and there is no view.

    :ivar plan: the match's; newcomers are added to it.
    :ivar game: the rules.
    :ivar phase: "gathering", "playing", "over" (a round has ended), "closed".
    :ivar play: the game's state and version; only it calls the game.
    :ivar time: match time, and when something is due next.
    :ivar presence: the state of each seat.
    :ivar inputs: actions that wait for the next tick.
    :ivar effects: what happened since `take_effects` was called, oldest first.
    :ivar ended: the outcome of the last round that was over.
    :ivar decode_action: reads an action from MessagePack; raises `Refused`,
        `Code.BAD_ACTION`, naming the field.
    """

    def __init__(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        now: float,
        join_timeout: float = JOIN_TIMEOUT,
        record: Callable[[Recorded], None] | None = None,
        guard: Guard | None = None,
        away_timeout: float = AWAY_TIMEOUT,
        resumed: Resumed | None = None,
    ) -> None:
        """
        Open a room and lay its table.

        :param plan: the players, their loadouts, the options and the seed.
        :param game: the rules.
        :param now: when the room is opened.
        :param join_timeout: how long it waits for its players before the start.
        :param record: see `vinom.play.play.Play`.
        :param guard: see `vinom.play.play.Play`; without one a call may take any time.
        :param away_timeout: how long it waits, in total, while no player is connected.
        :param resumed: what it goes on from; if that was elsewhere, all its players are
            disconnected.
        :raises Refused: the game does not accept the options, a loadout, a team or
            the number of seats.
        """
        table = table_of(plan, game) if resumed is None else None
        self.plan, self.game = plan, game
        self.phase: Literal["gathering", "playing", "over", "closed"] = "gathering"
        self.decode_action: Callable[[bytes], Any] = action_reader(game)
        self.time = RoomTime(
            limit=game.time_limit,
            alarm_at=now + join_timeout,
            away_left=away_timeout,
            # A match on a game server does not sleep: its players would wait for it.
            is_wall=game.clock == "wall" and away_timeout == inf,
        )
        self.play = Play(game, record, guard or Guard(), plan)
        self._views: Views = Views(game, self.play.ask)
        self._json: Views = Views(game, self.play.ask, encode_json)
        self.presence = [SeatState.AWAITED] * len(plan.seats)
        self._absences = Absences(game)
        self._stand_ins = StandIns(game, self.decode_action, plan.seed, self.play.ask)
        self.inputs = TickInputs()
        self._advances = Advances()
        self.effects: list[Effect] = []
        self._outcome: Outcome | None = None
        self.ended: Outcome | None = None
        self._armed_for: float | None = None
        # Kept, because reading a class attribute costs a search each time.
        self._ticks = bool(game.tick_hz)
        try:
            if table is not None:
                self.play.lay(table)
            elif resumed is not None:
                self._resume(resumed, now)
        except GAME_ERRORS as error:
            self.fail(error)

    def _resume(self, resumed: Resumed, now: float) -> None:
        """Go on where another process stopped; match time may have stood still."""
        point, presence = resumed.point, self.presence
        presence[:] = [SeatState(how) for how in resumed.presence]
        stopped, forfeits = now - resumed.asleep, dict(resumed.forfeits)
        self.time.start(stopped - point.time)
        self.play.resume(point, len(presence))
        self._outcome, self.ended = self.play.outcome, resumed.ended
        self.phase = "playing" if self._outcome is None else "over"
        if resumed.linger is not None:
            self.time.linger_ends = stopped + resumed.linger
        for seat, how in enumerate(presence):
            if how is SeatState.BOT:
                self._absences.begin_bot(seat, point.time)
            elif how is SeatState.DROPPED:
                self._absences.begin(seat, now, point.time)
                if seat in forfeits and self.time.is_wall:
                    self._absences.forfeits[seat] = stopped + forfeits[seat]
        self.effects += resumed.effects
        self.inputs.waiting += resumed.waiting
        self._arm()
        for seat in () if resumed.is_here else self.present():
            self.drop(seat, now)
        self._pause_if_empty(now)

    def resumed_from(self, now: float) -> Resumed:
        """Describe what another process needs to go on from here."""
        play = self.play
        return Resumed(
            Point(play.state, play.version, self.match_time(now), play.ticks),
            tuple(how.value for how in self.presence),
            self.ended,
            self.linger_left(now),
            tuple(one for one in self.effects if isinstance(one, Emitted | RoundOver)),
            tuple(self.inputs.waiting),
            tuple((seat, at - now) for seat, at in self._absences.forfeits.items()),
        )

    def linger_left(self, now: float) -> float | None:
        """Count the seconds until the room closes after a round; ``None`` in one."""
        closes = self.time.linger_ends
        return None if closes == inf else max(0.0, closes - now)

    def freeze(self, now: float) -> None:
        """
        Stop match time for a while, because nothing that happens can be kept.

        Before play begins there is nothing to stop.
        """
        if self.phase in ("playing", "over"):
            self.time.freeze(now)
            self._arm()

    def thaw(self, now: float) -> None:
        """Let match time go on, as if none had passed; unless nobody is connected."""
        frozen = self.time.thaw(now)
        if frozen is not None and self.phase != "closed":
            self._absences.put_off(frozen)
            self._arm()

    # What can happen to a room.

    def act(self, seat: int, action: Any, now: float, tick: int = 0) -> None:
        """
        Let a seat act; a game with ticks gets the action at the next one.

        :param seat: the seat.
        :param action: one of the game's.
        :param now: the time.
        :param tick: the tick that its player was shown; 0 if it does not say.
        :raises Rejected: the room, the seat or the rules forbid it now; nothing has
            changed.
        """
        room_time = self.time
        at = now
        if now >= room_time.alarm_at:
            self.alarm(now)
            # An input does not overtake the deadline of a game that is behind.
            at = min(now, room_time.alarm_at)
        phase = self.phase
        if phase != "playing" and phase != "over":
            raise Rejected(f"room_{phase}", f"the room is {phase}")
        if self.presence[seat] is not _PRESENT:
            raise Rejected("not_seated", f"seat {seat} is not connected")
        if self._ticks:
            self.inputs.keep(seat, action, tick)
            return
        play, time = self.play, at - room_time.zero
        if time < play.time:
            time = play.time
        try:
            play.act(seat, action, time)
        except Rejected:
            raise
        except GAME_ERRORS as error:
            self.fail(error)
        else:
            # Most inputs change only the state.
            if (
                play.events
                or play.vacated
                or play.outcome is not self._outcome
                or play.due != self._armed_for
            ):
                self._after_change(now)

    def join(self, seat: int, now: float) -> None:
        """
        Count a seat's player as connected, for the first time or again.

        :raises Refused: the room is closed, or the seat was given up.
        """
        self.alarm(now)
        if self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        how = self.presence[seat]
        if how is SeatState.LEFT:
            raise Refused(Code.WRONG_SEAT, "this seat was given up")
        self.presence[seat] = _PRESENT
        self._absences.end(seat)
        if self.phase == "gathering":
            self._start_if_complete(now)
        elif how is not _PRESENT:
            self.time.resume(now)
            self._notify_game(self.play.seat_returned, seat, now)

    def add_seat(self, seat: SeatPlan, now: float) -> int:
        """
        Seat a newcomer after the start; its player counts as connected.

        :returns: the seat's number: the next one, or one that was given up.
        :raises Refused: the room is closed, takes no newcomers, or is full; or the
            game does not accept this loadout or team.
        """
        self.alarm(now)
        if self.phase == "closed":
            raise Refused(Code.NO_SUCH_MATCH, "this match is over")
        if self.phase == "gathering" or not self.game.late_join:
            raise Refused(Code.ROOM_STARTED, "nobody can join this match now")
        presence = self.presence
        seats = list(self.plan.seats)
        if len(seats) < self._table[1]:
            number = len(seats)
        elif SeatState.LEFT in presence:
            number = presence.index(SeatState.LEFT)
        else:
            raise Refused(Code.ROOM_FULL, f"all {len(seats)} seats are taken")
        seats[number : number + 1] = [seat]
        newcomer = seat_at(seats, number, self.game)
        presence[number : number + 1] = [_PRESENT]
        self.plan = attrs.evolve(self.plan, seats=tuple(seats))
        self.time.resume(now)
        self._notify_game(
            partial(self.play.seat_joined, newcomer=newcomer), number, now
        )
        return number

    def seat_bot(self, seat: int, now: float) -> None:
        """Give a seat to the game's bot for good, in place of a player."""
        self.alarm(now)
        if self.phase == "closed":
            return
        self.presence[seat] = SeatState.BOT
        if self.phase == "gathering":
            self._start_if_complete(now)
        else:
            self._absences.begin_bot(seat, self.match_time(now))
            self._pause_if_empty(now)
            self._arm()

    def drop(self, seat: int, now: float) -> None:
        """Count a seat's player as disconnected; the seat is kept."""
        self.alarm(now)
        if self.phase == "closed" or self.presence[seat] is not _PRESENT:
            return
        self.presence[seat] = SeatState.DROPPED
        if self.phase != "gathering":
            self._absences.begin(seat, now, self.match_time(now))
            self._notify_game(self.play.seat_dropped, seat, now)
            self._pause_if_empty(now)

    def leave(self, seat: int, now: float) -> None:
        """Give up a seat whose player has left for good."""
        self.alarm(now)
        if self.phase == "closed" or self.presence[seat] is SeatState.LEFT:
            return
        if self.phase == "gathering":
            self.presence[seat] = SeatState.LEFT
            if self._staying() < self._table[0]:
                self._close("void")
            else:
                self._start_if_complete(now)
        else:
            self._give_up(seat, now, self.match_time(now))

    def close(self, reason: str, now: float) -> None:
        """End the match, for one of the reasons of `vinom.base.model.EndReason`."""
        self.alarm(now)
        self._close(reason)

    def alarm(self, now: float) -> None:
        """
        Do what is due; does nothing if nothing is.

        A game with too many deadlines falls behind: `deadline` is in the past.
        """
        if now < self.time.alarm_at:
            return
        ticks, advances = MOST_TICKS, MOST_AT_ONCE
        try:
            while now >= self.time.alarm_at:
                match self.time.alarm_for:
                    case Due.DEADLINE:
                        if not advances:
                            return
                        advances -= 1
                        self._run_deadline(now)
                    case Due.TICK:
                        ticks -= 1
                        self._run_tick(now, ticks)
                    case Due.BOT:
                        self._run_bot(now)
                    case Due.FORFEIT:
                        self._run_forfeit(now)
                    case Due.JOIN_TIMEOUT:
                        if len(self.present()) >= self._table[0]:
                            self._start(now)
                        else:
                            self._close("void")
                    case Due.TIME_LIMIT:
                        over = self.phase == "over"
                        self._close("finished" if over else "time_limit")
                    case Due.LINGER | Due.AWAY:
                        self._close(self._quiet_end())
                    case Due.NOTHING:
                        return
        except GAME_ERRORS as error:
            self.fail(error)

    # What it shows.

    @property
    def version(self) -> int:
        """How often the state has changed; 0 before play starts."""
        return self.play.version

    @property
    def ticks(self) -> int:
        """How many fixed steps were made: the number of the last one."""
        return self.play.ticks

    @property
    def state(self) -> Any:
        """The game's current state; it is immutable."""
        return self.play.state

    def match_time(self, now: float) -> float:
        """Return the match time, seconds; it stops while no player is connected."""
        latest, room_time = self.play.time, self.time
        if self.phase == "closed":
            return latest
        if now < room_time.alarm_at and room_time.is_running:
            # `RoomTime.match_time` written out, for each state.
            time = now - room_time.zero
        else:
            time = room_time.match_time(now)
        return time if time > latest else latest

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        return None if self.phase == "closed" else self.time.alarm_at

    def present(self) -> tuple[int, ...]:
        """List the seats that are connected now."""
        return tuple(seat for seat, how in enumerate(self.presence) if how is _PRESENT)

    def has_news(self, shown: int) -> bool:
        """Is there an effect, or another version than *shown*?"""
        return self.play.version != shown or bool(self.effects)

    def take_effects(self) -> list[Effect]:
        """Return what happened since the last call, in order."""
        effects, self.effects = self.effects, []
        return effects

    def audience_of(self, seat: int | None) -> Hashable:
        """Return the audience of a seat; ``None`` stands for spectators."""
        try:
            return self._views.audience_of(self.play.state, seat)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return NOBODY

    def view(self, audience: Hashable) -> bytes:
        """
        Return an audience's view of the current state: MessagePack, made once.

        It is empty before play starts, and if the game fails to make it (then the
        room is closed).
        """
        play = self.play
        if play.version == 0 or audience is NOBODY:
            return b""
        # `_guarded` written out, here and below, to save a call for each state.
        try:
            return self._views.show(play.state, play.version, audience)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return b""

    def view_json(self, audience: Hashable) -> bytes:
        """Return the same as `view` as JSON, made once."""
        play = self.play
        if play.version == 0 or audience is NOBODY:
            return b""
        try:
            return self._json.show(play.state, play.version, audience)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return b""

    def pack(self, audience: Hashable) -> Packed | None:
        """Return the same as `view`, packed; ``None`` if it is empty or cannot be."""
        play = self.play
        if play.version == 0 or audience is NOBODY:
            return None
        return self._guarded(self._views.pack, play.state, play.version, audience)

    @property
    def layout(self) -> Layout | None:
        """Where the numbers of packed views are; ``None`` if there are none."""
        packing = self._views.packing
        return None if packing is None else packing.layout

    @property
    def has_one_audience(self) -> bool:
        """Do all seats and spectators see the same?"""
        return self._views.has_one_audience

    def setup_json(self) -> bytes:
        """Return the constant part of the view: JSON, perhaps empty."""
        return self._guarded(self._json.setup, self.play.state) or b""

    def setup(self) -> bytes:
        """Return the constant part of the view: MessagePack, perhaps empty."""
        return self._guarded(self._views.setup, self.play.state) or b""

    def view_hash(self) -> str:
        """Return the public view's fingerprint, 16 hexadecimal digits."""
        shown = self.view(self.audience_of(None))
        return fingerprint(shown) if shown else ""

    def _guarded(self, call: Callable[..., _T], *args: Any) -> _T | None:
        """Call the game; if it fails, the room ends."""
        try:
            return call(*args)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return None

    def _fail_to_show(self, error: BaseException) -> None:
        if isinstance(error, TooSlow):
            # All rooms waited for it once; each further view would take as long.
            self._views = self._json = NoViews(self.game)
        self.fail(error)

    # How play goes.

    @property
    def _table(self) -> tuple[int, int]:
        """The fewest and the most players of this match."""
        return seats_for(self.game, self.plan.options)

    def _start_if_complete(self, now: float) -> None:
        if not _AWAITED.intersection(self.presence):
            self._start(now)

    def _staying(self) -> int:
        """Count the seats that were not given up."""
        return len(self.presence) - self.presence.count(SeatState.LEFT)

    def _start(self, now: float) -> None:
        self.phase = "playing"
        self.time.start(now)
        self.play.begin()
        self.effects.append(Started())
        self._after_change(now)
        for seat, how in enumerate(self.presence):
            if how is SeatState.LEFT:
                self._notify_game(self.play.seat_left, seat, now)
            elif how is SeatState.BOT:
                self._absences.begin_bot(seat, 0.0)
                self._arm()
            elif how is not _PRESENT:
                self.presence[seat] = SeatState.DROPPED
                self._absences.begin(seat, now, 0.0)
                self._notify_game(self.play.seat_dropped, seat, now)

    def _give_up(self, seat: int, now: float, time: float) -> None:
        """Give up a seat for good, as of match *time*."""
        self.presence[seat] = SeatState.LEFT
        self._absences.end(seat)
        self.inputs.forget(seat)
        self._notify_game(self.play.seat_left, seat, now, time)
        if not self._staying():
            self._close(self._quiet_end())
        else:
            self._pause_if_empty(now)

    def _vacate(self, seat: int, now: float) -> None:
        """Give up a seat, as its game asks; the game is not called."""
        if self.presence[seat] is SeatState.LEFT or self.phase == "closed":
            return
        self.presence[seat] = SeatState.LEFT
        self._absences.end(seat)
        self.inputs.forget(seat)
        self.effects.append(Forfeited(seat, may_watch=True))
        if not self._staying():
            self._close(self._quiet_end())
        else:
            self._pause_if_empty(now)

    def _notify_game(
        self,
        call: Callable[[int, float], None],
        seat: int,
        now: float,
        time: float | None = None,
    ) -> None:
        if self.phase == "closed":
            return
        try:
            call(seat, self.match_time(now) if time is None else time)
        except GAME_ERRORS as error:
            self.fail(error)
        else:
            self._after_change(now)

    def _after_change(self, now: float) -> None:
        """Turn what the game did into effects, and find the next deadline."""
        play = self.play
        if play.events:
            version, events = play.version, play.events.copy()
            play.events.clear()
            try:
                self.effects += [
                    Emitted(event, version, play.recipients(event)) for event in events
                ]
            except GAME_ERRORS as error:
                self.fail(error)
                return
        if play.vacated:
            vacated = play.vacated.copy()
            play.vacated.clear()
            for seat in vacated:
                self._vacate(seat, now)
        outcome = play.outcome
        if outcome is not self._outcome:
            before, self._outcome = self._outcome, outcome
            if outcome is None:
                self.phase, self.time.linger_ends = "playing", inf
            else:
                is_next = self.ended is None or outcome.round > self.ended.round
                if is_next:
                    self.ended = outcome
                    self.effects.append(RoundOver(outcome))
                # A round that is resumed and ends again under its old number is
                # reported once, but its room must still close.
                if is_next or before is None:
                    self.phase = "over"
                    self.time.linger_ends = now + self.game.linger
        self._arm()

    def _arm(self) -> None:
        play, absences = self.play, self._absences
        self._armed_for = play.due
        self.time.arm(
            play.due, play.next_tick(), absences.bot_at(), absences.forfeit_at()
        )

    def _pause_if_empty(self, now: float) -> None:
        if self.phase != "closed" and _PRESENT not in self.presence:
            self.time.pause(now)
            self._arm()

    # Time.

    def _run_deadline(self, now: float) -> None:
        play = self.play
        # The game gets the time that it asked for, however late the alarm is, but
        # its time never goes back.
        time = max(play.due or 0.0, play.time)
        self._advances.add(time, play.version)
        play.advance(time, play.due_for)
        self._advances.done(play.version)
        self._after_change(now)

    def _run_tick(self, now: float, more: int) -> None:
        at = self.play.next_tick() or 0.0
        if more < 0:
            self.time.slip(now, at, 1.0 / self.game.tick_hz)
            self._absences.slipped(self.match_time(now))
            self._arm()
            return
        play = self.play
        play.tick(self.inputs.take(), max(at, play.time))
        if play.refused:
            # After the game's own events, and to one seat each.
            play.events += [
                Event(REJECTED, {"code": str(no.code), "message": str(no)}, to=seat)
                for seat, no in play.refused
            ]
            play.refused.clear()
        self._after_change(now)

    def _run_bot(self, now: float) -> None:
        """Let a dropped seat's bot act, at the match time of its turn."""
        seat, at = self._absences.take_bot(self.match_time(now))
        # If the game fails, that is a crash; if only its bot fails, it is not.
        view, setup = self.view(self.audience_of(seat)), self.setup()
        if self.phase == "closed":
            return
        level = self.plan.seats[seat].level
        if self.presence[seat] is not SeatState.BOT:
            # Its player should not lose by it.
            level = self.game.levels[-1] if self.game.levels else ""
        try:
            action = self._stand_ins.choose(seat, view, setup, level)
        except TooSlow:
            # All rooms waited, so this is not a failure of the bot alone.
            raise
        except GAME_ERRORS as error:
            self._absences.give_up_bot(seat)
            self.effects.append(BotFailed(seat, self._report(error)))
            action = None
        if action is not None:
            with suppress(Rejected):
                if self.game.tick_hz:
                    self.inputs.keep(seat, action)
                else:
                    self.play.act(seat, action, max(at, self.play.time))
        self._after_change(now)

    def _run_forfeit(self, now: float) -> None:
        seat, at = self._absences.take_forfeit()
        self.effects.append(Forfeited(seat))
        self._give_up(seat, now, self.match_time(at))

    # The end.

    def fail(self, error: BaseException) -> None:
        """End the room, with a report: the game made something that is unusable."""
        self._close("crashed", self._report(error))

    def _quiet_end(self) -> str:
        """Return the reason for closing a room that is no longer needed."""
        return "abandoned" if self.ended is None else "finished"

    def _fails_to_show(self) -> bool:
        self.view_hash()
        return self.phase == "closed"

    def _report(self, error: BaseException) -> str:
        return crash_report(self.plan, self.version, self.play.time, error)

    def _close(self, reason: str, report: str | None = None) -> None:
        # The last view is part of the end: a game that fails to make it has crashed,
        # whatever the reason for closing was.
        if self.phase == "closed" or (reason != "crashed" and self._fails_to_show()):
            return
        self.phase = "closed"
        self.time.stop()
        end = MatchEnd(
            match_id=self.plan.match_id,
            reason=reason,
            outcome=None if self.ended is None else outcome_facts(self.ended),
            present=self.present(),
            version=self.version,
            view_hash=self.view_hash(),
        )
        self.effects.append(Closed(end, report))
