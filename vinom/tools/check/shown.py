"""What a state, and the events of a step, show to whom."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs
import msgspec

from vinom.game import Event, Game, Vacate
from vinom.play.views import reaches

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


@attrs.frozen
class Shown:
    """
    What a state shows.

    :ivar keys: the audience of each seat, and the spectators' last.
    :ivar views: by audience, encoded.
    :ivar setup: encoded.
    :ivar outcome: encoded; ``None`` while the round is played.
    :ivar revealed: may everybody see what was secret?
    """

    keys: tuple[Hashable, ...]
    views: dict[Hashable, bytes]
    setup: bytes
    outcome: bytes | None
    revealed: bool

    @classmethod
    def of(cls, game: Game[Any, Any], state: Any, seats: int) -> Shown:
        """Call the game for all that it shows."""
        keys = tuple(game.audience(state, seat) for seat in (*range(seats), None))
        views = {key: _encode(game.view(state, key)) for key in dict.fromkeys(keys)}
        outcome = game.outcome(state)
        return cls(
            keys,
            views,
            _encode(game.setup(state)),
            None if outcome is None else _encode(outcome),
            game.revealed(state),
        )

    def differs(self, other: Shown, seat: int | None) -> bool:
        """Does a seat (``None``: the spectators) see a difference?"""
        key = self.keys[-1 if seat is None else seat]
        return self.views[key] != other.views[key] or self.setup != other.setup

    def told(
        self, events: tuple[Event | Vacate, ...], seat: int | None
    ) -> tuple[bytes, ...]:
        """List what a seat (``None``: the spectators) is told with this state."""
        key = self.keys[-1 if seat is None else seat]
        return tuple(
            _encode((event.kind, event.data))
            for event in events
            if isinstance(event, Event)
            and (
                reaches(event.to, seat)
                if event.to is None or isinstance(event.to, int | tuple)
                else event.to == key
            )
        )


def first_difference(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> str:
    """Name the first event that differs."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    for number, event in enumerate(longer):
        if number >= len(shorter) or shorter[number] != event:
            return str(msgspec.msgpack.decode(event)[0])
    return ""
