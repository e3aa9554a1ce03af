"""
Play a game in a test: in a room as players meet it, on a clock that the test moves.

.. code-block:: python

    from vinom.testing import play

    match = play(Nim, seats=2, options={"pile": 5})
    match.act(0, Take(2))
    match.wait(20.0)
    assert match.view().pile == 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from math import inf
from typing import Any, Literal

import attrs
import msgspec
from msgspec import Struct

from vinom.base.model import MatchPlan, SeatPlan, seed_bytes
from vinom.errors import Rejected
from vinom.game import Event, Game, Outcome, Seat, ensure_level
from vinom.play.clock import AWAY_TIMEOUT
from vinom.play.game_loader import name_of
from vinom.play.guard import Guard
from vinom.play.room import REJECTED, BotFailed, Closed, Emitted, Room
from vinom.play.seats import SeatState

__all__ = ["Match", "play"]


def play(
    game: type[Game[Any, Any]] | Game[Any, Any],
    seats: int | Sequence[Seat] = 2,
    *,
    seed: int | bytes = 1,
    options: Struct | Mapping[str, Any] | None = None,
    host: int = 0,
    absent: Literal["wait", "bot", "forfeit"] | None = None,
) -> Match:
    """
    Begin a match; all players are connected, and match time is 0.

    :param game: the class, or an instance.
    :param seats: how many players, or who they are.
    :param seed: of `vinom.game.Table.chance`.
    :param options: the game's own, or its fields as a dict; defaults if not given.
    :param host: number of the host's seat.
    :param absent: replaces the game's own `vinom.game.Game.absent`.
    :raises Refused: the game does not take these seats or options; it names the field.
    """
    rules = game() if isinstance(game, type) else copy(game)
    if absent is not None:
        setattr(rules, "absent", absent)  # noqa: B010 - for this instance only
    if isinstance(seats, int):
        seats = [Seat(f"player {n}", player_id=f"p{n}") for n in range(seats)]
    plan = MatchPlan(
        "test",
        name_of(rules),
        tuple(map(_plan_of, seats)),
        seed_bytes(seed),
        msgspec.json.encode({} if options is None else options),
        host,
    )
    return Match(plan, rules)


def _plan_of(seat: Seat) -> SeatPlan:
    # The mappings in claims are read-only, which msgspec does not know.
    encode = msgspec.json.Encoder(enc_hook=dict).encode
    loadout, claims = encode(seat.loadout), encode(seat.claims)
    return SeatPlan(seat.player_id, seat.name, loadout, seat.team, claims)


class _TestedRoom(Room):
    """A room whose test gets the game's errors as they are."""

    def fail(self, error: BaseException) -> None:
        """Raise what the game raised."""
        raise error


class Match:
    """
    One match of a game: what players do, and what they then see.

    Each method raises what the game raises, and an `AssertionError` if its bot fails.
    As in a room, all views are made after each change; so a view that fails is found,
    too.

    :ivar events: what the game emitted so far, and to whom; oldest first.
    :ivar closed: why the room is over, such as "finished"; empty while it is open.
    """

    def __init__(
        self, plan: MatchPlan, game: Game[Any, Any], guard: Guard | None = None
    ) -> None:
        """
        Begin a match; see `play`.

        :param plan: of the match.
        :param game: the rules.
        :param guard: interrupts calls that take too long; by default nothing does.
        """
        self._game, self._now = game, 0.0
        # As in a room of the node, a game that lasts for days waits for nobody.
        away = inf if game.clock == "wall" else AWAY_TIMEOUT
        self._room = _TestedRoom(plan, game, 0.0, guard=guard, away_timeout=away)
        self.events: list[Event] = []
        self.closed = ""
        for seat in range(len(plan.seats)):
            self._room.join(seat, 0.0)
        self._settle()

    # What players do.

    def act(self, seat: int, action: Any, tick: int = 0) -> None:
        """
        Let a seat act; a game with ticks gets the action at the next `tick`.

        A seat that is away, or a bot's, may act too: as its bot would.

        :param action: one of the game's actions, or its fields as a dict.
        :param tick: the tick that its player was shown, see `vinom.game.Input`.
        :raises Rejected: the rules forbid it.
        :raises Refused: it is none of the game's actions; it names the field.
        """
        room = self._room
        read = room.decode_action(msgspec.msgpack.encode(action))
        how = room.presence[seat]
        if how in (SeatState.DROPPED, SeatState.BOT):
            room.presence[seat] = SeatState.PRESENT
        try:
            room.act(seat, read, self._now, tick)
        finally:
            if room.presence[seat] is SeatState.PRESENT:
                room.presence[seat] = how
        self._settle()

    def rejected(self, seat: int, action: Any) -> str:
        """
        Let a seat do what the rules forbid, in a game with ticks at the next tick.

        :returns: the code of the `vinom.errors.Rejected`.
        :raises AssertionError: the rules allow it.
        """
        before = len(self.events)
        try:
            self.act(seat, action)
            if self._game.tick_hz:
                self.tick()
        except Rejected as no:
            return str(no.code)
        for event in self.events[before:]:
            if event.kind == REJECTED and event.to == seat:
                return str(event.data["code"])
        raise AssertionError(f"the rules let seat {seat} do this: {action!r}")

    def leave(self, seat: int) -> None:
        """Let a player leave for good."""
        self._room.leave(seat, self._now)
        self._settle()

    def drop(self, seat: int) -> None:
        """Let a player's connection be lost."""
        self._room.drop(seat, self._now)
        self._settle()

    def return_(self, seat: int) -> None:
        """
        Let a player whose connection was lost return.

        :raises Refused: the seat was given up, or the room is closed.
        """
        self._room.join(seat, self._now)
        self._settle()

    def join(self, newcomer: Seat) -> int:
        """
        Let somebody join after the start.

        :returns: the number of the newcomer's seat.
        :raises Refused: the game takes no newcomers, or not this one.
        """
        seat = self._room.add_seat(_plan_of(newcomer), self._now)
        self._settle()
        return seat

    def bot(self, seat: int, level: str = "") -> None:
        """
        Give a seat to the game's bot for good.

        :param level: at which it plays; by default the game's first.
        :raises ValueError: its bot has no such level.
        """
        ensure_level(self._game, level)
        seats = list(self._room.plan.seats)
        seats[seat] = attrs.evolve(seats[seat], level=level)
        self._room.plan = attrs.evolve(self._room.plan, seats=tuple(seats))
        self._room.seat_bot(seat, self._now)
        self._settle()

    # Time.

    def wait(self, seconds: float) -> None:
        """Let time pass: deadlines, ticks, bots and forfeits happen when due."""
        if not seconds >= 0:
            raise ValueError(f"wait {seconds} must be 0 or more seconds")
        until = self._now + seconds
        while (due := self._room.deadline()) is not None and due <= until:
            self._run(due)
        self._now = until

    def tick(self, count: int = 1) -> None:
        """
        Let time pass until *count* fixed steps are made.

        :raises ValueError: the game has no ``tick_hz``.
        """
        if not self._game.tick_hz:
            raise ValueError(f"{type(self._game).__name__} has no tick_hz: use wait()")
        last = self._room.ticks + count
        while self._room.ticks < last and (due := self._room.deadline()) is not None:
            self._run(due)

    def _run(self, due: float) -> None:
        self._now = max(self._now, due)
        self._room.alarm(self._now)
        self._settle()

    # What there is to see.

    def view(self, seat: int | None = None) -> Any:
        """
        Return what a seat sees, as the game's `vinom.game.Game.view` returns it.

        :param seat: ``None`` for spectators.
        """
        return self._game.view(self.state, self._room.audience_of(seat))

    @property
    def setup(self) -> Any:
        """What the game's `vinom.game.Game.setup` returns."""
        return self._game.setup(self.state)

    @property
    def seats(self) -> int:
        """How many seats the table has."""
        return len(self._room.presence)

    @property
    def state(self) -> Any:
        """The game's state."""
        return self._room.state

    @property
    def time(self) -> float:
        """Match time, seconds."""
        return self._room.match_time(self._now)

    @property
    def outcome(self) -> Outcome | None:
        """How the latest round ended; ``None`` while it is played."""
        return self._room.play.outcome

    def _settle(self) -> None:
        room = self._room
        for seat in (None, *range(self.seats)):
            room.view(room.audience_of(seat))
        for effect in room.take_effects():
            if isinstance(effect, Emitted):
                self.events.append(effect.event)
            elif isinstance(effect, BotFailed):
                raise AssertionError(
                    f"the bot of seat {effect.seat} failed: {effect.report}"
                )
            elif isinstance(effect, Closed):
                self.closed = effect.end.reason
