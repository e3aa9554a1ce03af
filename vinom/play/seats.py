"""
Who sits where.

What a room does about a dropped seat: `Game.absent`, on the room's clock.

How a room's seats are connected, and what they said since the last tick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any

import attrs
import msgspec

from vinom.errors import Code, Refused, Rejected
from vinom.game import Chance, Game
from vinom.model import QueueEntry, SeatPlan
from vinom.play.guard import ask_plainly

#: No bot acts more often than this, however it was declared, seconds.
FASTEST_BOT = 0.05
#: Makes the bots' chance another one than the game's, which has the same seed.
_BOTS = 0x626F7473


@attrs.define(eq=False, init=False)
class Absences:
    """
    When something is due about the seats that are dropped.

    :ivar bots: match time at which a seat's bot acts next, by seat.
    :ivar forfeits: the caller's clock when a seat is given up, by seat.
    """

    bots: dict[int, float]
    forfeits: dict[int, float]
    _game: Game[Any, Any]
    _pace: float

    def __init__(self, game: Game[Any, Any]) -> None:
        self.bots, self.forfeits = {}, {}
        self._game = game
        self._pace = max(game.bot_seconds, FASTEST_BOT)

    def begin(self, seat: int, now: float, time: float) -> None:
        """A seat is dropped, *now* on the caller's clock and at match *time*."""
        if self._game.absent == "bot":
            self.bots[seat] = time + self._pace
        elif self._game.absent == "forfeit":
            self.forfeits[seat] = now + self._game.forfeit_seconds

    def begin_bot(self, seat: int, time: float) -> None:
        """A bot has this seat for good, from match *time* on."""
        self.bots[seat] = time + self._pace

    def end(self, seat: int) -> None:
        """The seat came back, or is gone for good."""
        self.bots.pop(seat, None)
        self.forfeits.pop(seat, None)

    def bot_at(self) -> float:
        """Tell the match time of the next bot's turn; infinite if there is none."""
        return min(self.bots.values()) if self.bots else inf

    def forfeit_at(self) -> float:
        """Tell when the next seat is given up, likewise on the caller's clock."""
        return min(self.forfeits.values()) if self.forfeits else inf

    def take_bot(self, time: float) -> tuple[int, float]:
        """
        Give the next bot its turn; returns its seat and when the turn came.

        :param time: match time; turns that were missed until then are not made up.
        """
        seat, at = _first(self.bots)
        self.bots[seat] = max(at, time) + self._pace
        return seat, at

    def take_forfeit(self) -> tuple[int, float]:
        """Give up the next seat; returns it, and when that was due."""
        seat, at = _first(self.forfeits)
        self.end(seat)
        return seat, at

    def slipped(self, time: float) -> None:
        """Match time went back to *time*: no bot waits longer for that."""
        for seat, at in self.bots.items():
            self.bots[seat] = min(at, time + self._pace)

    def give_up_bot(self, seat: int) -> None:
        """This seat's bot has failed: the seat waits for its player."""
        self.bots.pop(seat, None)


def _first(times: dict[int, float]) -> tuple[int, float]:
    """Find the earliest; of equal ones the lowest seat."""
    at, seat = min((at, seat) for seat, at in times.items())
    return seat, at


@attrs.define(eq=False, init=False)
class StandIns:
    """A game's bots, asked like clients: they see what went over the wire."""

    _game: Game[Any, Any]
    _read: Callable[[bytes], Any]
    _chance: Chance
    _ask: Callable[..., Any]

    def __init__(
        self,
        game: Game[Any, Any],
        read: Callable[[bytes], Any],
        seed: int,
        ask: Callable[..., Any] = ask_plainly,
    ) -> None:
        """
        Seat nobody yet.

        :param read: makes an action of a client's MessagePack, or raises.
        :param seed: the match's, 64 bits.
        :param ask: calls the game: see `vinom.play.play.Play.ask`.
        """
        self._game, self._read, self._ask = game, read, ask
        # One draw away from the seed: the game's own draws are never repeated.
        self._chance = Chance(Chance(seed ^ _BOTS).draw()[0])

    def choose(self, seat: int, view: bytes, setup: bytes) -> Any:
        """
        Ask the bot of a seat for an action; ``None`` is to wait.

        :param view: what the seat's client would be sent, MessagePack.
        :param setup: likewise; may be empty.
        :raises Refused: what it chose is no action of this game.
        :raises Exception: whatever the bot itself raises.
        """
        # Each call has a chance of its own, however much a bot draws.
        word, self._chance = self._chance.draw()
        chosen = self._ask(
            "bot",
            self._game.bot,
            msgspec.msgpack.decode(view),
            seat,
            Chance(word),
            msgspec.msgpack.decode(setup) if setup else None,
        )
        if chosen is None:
            return None
        return self._read(msgspec.msgpack.encode(chosen))


#: Inputs of one seat that may wait for the next tick.
MOST_WAITING = 32


class Presence(Enum):
    """One seat's connection."""

    AWAITED = "awaited"
    PRESENT = "present"
    DROPPED = "dropped"
    BOT = "bot"
    LEFT = "left"


@attrs.define(eq=False)
class RoomSeats:
    """
    All seats of a room.

    :ivar presence: a seat's number is its index.
    """

    presence: list[Presence]

    @classmethod
    def awaiting(cls, count: int) -> RoomSeats:
        """Make seats whose players have yet to come."""
        return cls([Presence.AWAITED] * count)

    def present(self) -> tuple[int, ...]:
        """Name the seats that are connected now."""
        return tuple(
            seat for seat, how in enumerate(self.presence) if how is Presence.PRESENT
        )

    def staying(self) -> int:
        """Count the seats that were not given up."""
        return sum(how is not Presence.LEFT for how in self.presence)

    def is_complete(self) -> bool:
        """Is nobody waited for any more?"""
        return all(
            how in (Presence.PRESENT, Presence.LEFT, Presence.BOT)
            for how in self.presence
        )

    def is_empty(self) -> bool:
        """Is nobody connected?"""
        return Presence.PRESENT not in self.presence


@attrs.define(eq=False)
class TickInputs:
    """Actions that wait for the next tick, in the order they came."""

    waiting: list[tuple[int, Any]] = attrs.field(factory=list)

    def keep(self, seat: int, action: Any) -> None:
        """
        Keep an action.

        :raises Rejected: the seat has too many here.
        """
        waiting = self.waiting
        # Mostly there are fewer in all, which is quicker seen.
        if (
            len(waiting) >= MOST_WAITING
            and sum(whose == seat for whose, _ in waiting) >= MOST_WAITING
        ):
            raise Rejected("too_many", "too many inputs for one tick")
        waiting.append((seat, action))

    def forget(self, seat: int) -> None:
        """A seat is gone for good, and so is what it had still to say."""
        self.waiting = [(whose, what) for whose, what in self.waiting if whose != seat]

    def take(self) -> tuple[tuple[int, Any], ...]:
        """Hand all of them over."""
        taken, self.waiting = tuple(self.waiting), []
        return taken


def seat_plans(
    entries: Sequence[QueueEntry], teams: int | None = None
) -> tuple[SeatPlan, ...]:
    """
    Seat the players of *entries*, the longest wait first.

    :param teams: how many teams; seats are dealt to them in turn.
    """
    plans: list[SeatPlan] = []
    for entry in entries:
        for index, player in enumerate(entry.players):
            loadout = entry.loadouts[index] if index < len(entry.loadouts) else b"{}"
            team = len(plans) % teams if teams else None
            plans.append(SeatPlan(player.player_id, player.name, loadout, team))
    return tuple(plans)


def teams_of(seats: Sequence[SeatPlan], teams: int | None) -> tuple[int | None, ...]:
    """
    Tell the team of each seat: the planned one, else the smallest, in seat order.

    Where no seat has a planned one, seats are so dealt to the teams in turn.

    :param teams: how many the game has; ``None`` is none.
    :raises Refused: `Code.BAD_OPTIONS`: the game has no such team.
    """
    for number, seat in enumerate(seats):
        if seat.team is not None and not 0 <= seat.team < (teams or 0):
            raise Refused(
                Code.BAD_OPTIONS,
                f"seat {number} is planned for team {seat.team}; "
                f"the game has {teams or 'no'} teams",
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
    """Find a player's seat; ``None`` for a stranger."""
    for number, seat in enumerate(seats):
        if seat.player_id == player_id:
            return number
    return None
