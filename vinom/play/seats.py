"""
The seats of a room: their states, their bots and deadlines, their players.

`SeatState` is the state of a seat. `Absences` has the deadlines of dropped seats
(`Game.absent`), `StandIns` asks their bots, and `TickInputs` keeps actions for the next
tick. The functions at the end deal seats to teams, and find a player's seat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any

import attrs
import msgspec

from vinom.base.model import SeatPlan
from vinom.errors import Code, Refused, Rejected
from vinom.game import Chance, Game, level_of
from vinom.play.guard import ask_plainly

#: Shortest interval between two actions of a bot, whatever the game declares, seconds.
FASTEST_BOT = 0.05


@attrs.define(eq=False, init=False)
class Absences:
    """
    The deadlines of the seats that are dropped.

    :ivar bots: match time at which a seat's bot acts next, by seat.
    :ivar forfeits: when a seat is given up, on the caller's clock, by seat.
    """

    bots: dict[int, float]
    forfeits: dict[int, float]
    _game: Game[Any, Any]
    _pace: float

    def __init__(self, game: Game[Any, Any]) -> None:
        """
        Start without dropped seats.

        :param game: the rules.
        """
        self.bots, self.forfeits = {}, {}
        self._game = game
        self._pace = max(game.bot_seconds, FASTEST_BOT)

    def begin(self, seat: int, now: float, time: float) -> None:
        """Begin a seat's absence, *now* on the caller's clock and at match *time*."""
        if self._game.absent == "bot":
            self.bots[seat] = time + self._pace
        elif self._game.absent == "forfeit":
            self.forfeits[seat] = now + self._game.forfeit_seconds

    def begin_bot(self, seat: int, time: float) -> None:
        """Give the seat to a bot for good, from match *time* on."""
        self.bots[seat] = time + self._pace

    def end(self, seat: int) -> None:
        """End a seat's absence: it is connected again, or given up."""
        self.bots.pop(seat, None)
        self.forfeits.pop(seat, None)

    def bot_at(self) -> float:
        """Return the match time of the next bot's turn; infinite if there is none."""
        return min(self.bots.values()) if self.bots else inf

    def forfeit_at(self) -> float:
        """Return when the next seat is given up, on the caller's clock; or infinite."""
        return min(self.forfeits.values()) if self.forfeits else inf

    def take_bot(self, time: float) -> tuple[int, float]:
        """
        Give the next bot its turn; returns its seat and when the turn was due.

        :param time: match time; turns missed before it are not made up for.
        """
        seat, at = _first(self.bots)
        self.bots[seat] = max(at, time) + self._pace
        return seat, at

    def take_forfeit(self) -> tuple[int, float]:
        """Give up the next seat; returns it, and when that was due."""
        seat, at = _first(self.forfeits)
        self.end(seat)
        return seat, at

    def put_off(self, seconds: float) -> None:
        """Let every seat that is dropped have so much longer."""
        for seat in self.forfeits:
            self.forfeits[seat] += seconds

    def slipped(self, time: float) -> None:
        """Let no bot wait longer because match time went back to *time*."""
        for seat, at in self.bots.items():
            self.bots[seat] = min(at, time + self._pace)

    def give_up_bot(self, seat: int) -> None:
        """Stop this seat's bot, which has failed: the seat waits for its player."""
        self.bots.pop(seat, None)


def _first(times: dict[int, float]) -> tuple[int, float]:
    """Return the earliest; of equal ones, the lowest seat."""
    at, seat = min((at, seat) for seat, at in times.items())
    return seat, at


def _chance_of_bots(seed: bytes | int) -> Chance:
    # A fork: the game's own draws, from the same seed, are never repeated.
    return Chance(seed).fork("bots")


@attrs.define(eq=False)
class StandIns:
    """
    A game's bots, called like clients: they get the same bytes as a player.

    Its arguments are the rules, what decodes an action from MessagePack, or raises, the
    match's seed, and what calls the game (`vinom.play.play.Play.ask`).
    """

    _game: Game[Any, Any]
    _read: Callable[[bytes], Any]
    _chance: Chance = attrs.field(
        converter=_chance_of_bots, on_setattr=attrs.setters.NO_OP
    )
    _ask: Callable[..., Any] = ask_plainly

    def choose(self, seat: int, view: bytes, setup: bytes, level: str = "") -> Any:
        """
        Ask the bot of a seat for an action; ``None`` if it waits.

        :param seat: the seat.
        :param view: the view that the seat's client would get, MessagePack.
        :param setup: the part of it that never changes; may be empty.
        :param level: of the bot; empty for the first.
        :raises Refused: the game has no such action.
        :raises Exception: what the bot itself raises.
        """
        # Each call has its own random numbers, however many a bot draws.
        _, self._chance = self._chance.draw()
        chosen = self._ask(
            "bot",
            self._game.bot,
            msgspec.msgpack.decode(view),
            seat,
            self._chance.fork("turn"),
            msgspec.msgpack.decode(setup) if setup else None,
            *level_of(self._game, level),
        )
        if chosen is None:
            return None
        return self._read(msgspec.msgpack.encode(chosen))


#: Most inputs of one seat that may wait for the next tick.
MOST_WAITING = 32


class SeatState(Enum):
    """One seat's connection."""

    AWAITED = "awaited"
    PRESENT = "present"
    DROPPED = "dropped"
    BOT = "bot"
    LEFT = "left"


@attrs.define(eq=False)
class TickInputs:
    """
    Actions that wait for the next tick.

    :ivar waiting: in order of arrival: the seat, its action, and the tick that its
        player was shown, or 0.
    """

    waiting: list[tuple[int, Any, int]] = attrs.field(factory=list)

    def keep(self, seat: int, action: Any, tick: int = 0) -> None:
        """
        Keep an action.

        :raises Rejected: too many of this seat are waiting.
        """
        waiting = self.waiting
        # Usually there are fewer in total, which is a quicker check.
        if (
            len(waiting) >= MOST_WAITING
            and sum(one[0] == seat for one in waiting) >= MOST_WAITING
        ):
            raise Rejected("too_many", f"more than {MOST_WAITING} inputs for one tick")
        waiting.append((seat, action, tick))

    def forget(self, seat: int) -> None:
        """Drop the actions of a seat that was given up."""
        self.waiting = [one for one in self.waiting if one[0] != seat]

    def take(self) -> tuple[tuple[int, Any, int], ...]:
        """Remove and return all of them."""
        taken, self.waiting = tuple(self.waiting), []
        return taken


def teams_of(seats: Sequence[SeatPlan], teams: int | None) -> tuple[int | None, ...]:
    """
    Return the team of each seat: the planned one, or else the smallest, in seat order.

    If no seat has a planned team, seats are dealt to the teams in turn.

    :param seats: the seats.
    :param teams: how many the game has; ``None`` if it has none.
    :raises Refused: `Code.BAD_OPTIONS`: a planned team does not exist.
    """
    for number, seat in enumerate(seats):
        if seat.team is not None and not 0 <= seat.team < (teams or 0):
            raise Refused(
                Code.BAD_OPTIONS,
                f"seat {number} is planned for team {seat.team}, but this game has "
                + (f"teams 0 to {teams - 1}" if teams else "no teams"),
                {"field": "team"},
            )
    if not teams:
        return (None,) * len(seats)
    sizes = [0] * teams
    for seat in seats:
        if seat.team is not None:
            sizes[seat.team] += 1
    dealt: list[int | None] = []
    for seat in seats:
        team = seat.team
        if team is None:
            team = sizes.index(min(sizes))
            sizes[team] += 1
        dealt.append(team)
    return tuple(dealt)


def seat_of(seats: Sequence[SeatPlan], player_id: str) -> int | None:
    """Return a player's seat; ``None`` if the player has none."""
    for number, seat in enumerate(seats):
        if seat.player_id == player_id:
            return number
    return None
