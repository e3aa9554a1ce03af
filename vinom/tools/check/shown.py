"""What a state, and the events of a step, show to whom; and a table of all of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from typing import Any

import attrs
import msgspec

from vinom.game import Event, Game, Vacate
from vinom.play.views import reaches

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_INDEX = re.compile(r"\[\d+\]")

#: Where a fact may be shown: columns of the table of secrets.
PLACES = ("seats", "spectators", "setup", "events", "outcome")
#: To whom: words of that table, in their order.
WORDS = ("own", "one", "some", "all")


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


def top_field(path: str) -> str:
    """Name the field of the state that has the fact of this path."""
    return path.partition("[")[0].partition(".")[0]


@attrs.define
class Sightings:
    """
    Who was shown which fields of the states, over many games.

    :ivar fields: by a field's path without indices, the phase, and the place where it
        was shown: the words for those who were shown it.
    """

    fields: dict[tuple[str, str], dict[str, set[str]]] = attrs.field(factory=dict)

    def saw(self, path: str, phase: str, place: str, word: str) -> None:
        """Note a sighting."""
        self.of(path, phase).setdefault(place, set()).add(word)

    def of(self, path: str, phase: str) -> dict[str, set[str]]:
        """Return the sightings of a field in a phase, which is listed from now on."""
        return self.fields.setdefault((_INDEX.sub("[]", path), phase), {})

    def rows(self) -> list[tuple[str, ...]]:
        """List the table's rows: the field, the phase, and the words for each place."""
        return [
            (
                *where,
                *(
                    ", ".join(word for word in WORDS if word in found.get(place, ()))
                    or "-"
                    for place in PLACES
                ),
            )
            for where, found in sorted(self.fields.items())
        ]

    def table(self) -> list[tuple[str, ...]]:
        """List the rows, one for all phases in which a field is shown alike."""
        phases: dict[tuple[str, ...], list[str]] = {}
        for field, phase, *cells in self.rows():
            phases.setdefault((field, *cells), []).append(phase)
        alike = Counter(field for field, *_ in phases)
        return [
            (field, ", ".join(names) if alike[field] > 1 else "all", *cells)
            for (field, *cells), names in phases.items()
        ]

    def add(self, rows: list[tuple[str, ...]]) -> None:
        """Add the rows of another table."""
        for field, phase, *cells in rows:
            self.of(field, phase)
            for place, cell in zip(PLACES, cells, strict=True):
                for word in cell.replace("-", "").split(", "):
                    if word:
                        self.saw(field, phase, place, word)

    def kept_apart(self) -> list[str]:
        """List the fields of which each seat alone sees its own entry."""
        seen: dict[str, set[str]] = {}
        for (path, _), found in self.fields.items():
            shown = seen.setdefault(top_field(path), set())
            shown |= found.get("seats", set())
            if found.get("spectators") or found.get("setup"):
                shown.add("all")
        return [field for field, words in seen.items() if words == {"own"}]
