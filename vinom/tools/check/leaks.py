"""
Find out who is told what they may not know.

It changes each small fact of a state, one at a time; a view that changes too shows
that fact. Three rules follow. Nobody may be shown chance, which foretells the future. A
fact that spectators can't see may be shown to at most one audience. And what everybody
is sent (`setup`, an outcome, an event) may not depend on a fact that their views hide.
Fields of the state that a game lists as `shared` are excepted from the last two.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.game import Chance, Event, Game, Step
from vinom.play.guard import TooSlow
from vinom.play.play import GAME_ERRORS

#: Most facts to change in one state; larger states are sampled evenly.
MOST_FACTS = 300
#: Of a trial's calls with events, the first few and then every so many are searched.
FIRST_CALLS, EVERY_CALL = 4, 16

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_INDEX = re.compile(r"\[\d+\]")
_FIRST_INDEX = re.compile(r"[^\[\]]*\[(\d+)\]")

#: Where a fact may be shown: columns of the table of secrets.
PLACES = ("seats", "spectators", "setup", "events", "outcome")
#: To whom: words of that table, in their order.
WORDS = ("own", "one", "some", "all")
#: What a chance's position changes by.
_FAR = 0x5DEECE66D


@attrs.frozen
class Variant:
    """
    A state with one changed fact.

    :ivar path: which fact, for example ``cards[1]``.
    :ivar state: the changed state.
    :ivar is_chance: is the fact part of a chance?
    """

    path: str
    state: Any
    is_chance: bool

    @property
    def field(self) -> str:
        """The field of the state that has this fact."""
        return self.path.partition("[")[0].partition(".")[0]


@attrs.define
class Sightings:
    """
    Who was shown which fields of the states, over many games.

    :ivar fields: by a field's path without indices, and the place where it was shown:
        the words for those who were shown it.
    """

    fields: dict[str, dict[str, set[str]]] = attrs.field(factory=dict)

    def saw(self, path: str, place: str, word: str) -> None:
        """Note a sighting."""
        self.of(path).setdefault(place, set()).add(word)

    def of(self, path: str) -> dict[str, set[str]]:
        """Return the sightings of a field, which is listed from now on."""
        return self.fields.setdefault(_INDEX.sub("[]", path), {})

    def rows(self) -> list[tuple[str, ...]]:
        """List the table's rows: the field, and the words for each place."""
        return [
            (
                field,
                *(
                    ", ".join(word for word in WORDS if word in found.get(place, ()))
                    or "-"
                    for place in PLACES
                ),
            )
            for field, found in sorted(self.fields.items())
        ]

    def add(self, rows: list[tuple[str, ...]]) -> None:
        """Add the rows of another table."""
        for field, *cells in rows:
            self.of(field)
            for place, cell in zip(PLACES, cells, strict=True):
                for word in cell.replace("-", "").split(", "):
                    if word:
                        self.saw(field, place, word)


@attrs.define(eq=False)
class Search:
    """
    The search for leaks in one trial.

    :ivar game: the rules.
    :ivar ask: calls the game under the guard: see `vinom.play.play.Play.ask`.
    :ivar seen: who was shown what.
    """

    game: Game[Any, Any]
    ask: Callable[..., Any]
    seen: Sightings = attrs.field(factory=Sightings)
    _early: set[str] = attrs.field(factory=set)
    _calls: int = 0
    #: A changed fact made a call that doesn't end; nothing more is searched.
    _is_slow: bool = False

    def is_next(self) -> bool:
        """Is this call, which emitted events, one of those that are searched?"""
        self._calls += 1
        return self._calls <= FIRST_CALLS or self._calls % EVERY_CALL == 0

    def state(self, state: Any, seats: int) -> Iterator[str]:
        """List the facts of a state that a view, setup or outcome shows wrongly."""
        before = self._shown(state, seats)
        if before is None:
            return
        for variant in _sampled(state):
            after = self._shown(variant.state, seats)
            self.seen.of(variant.path)
            if after is None or after.keys != before.keys:
                continue
            yield from self._judge(variant, before, after, seats)

    def _judge(
        self, variant: Variant, before: _Shown, after: _Shown, seats: int
    ) -> Iterator[str]:
        path, keys = variant.path, before.keys
        shown_to = [
            key for key in before.views if before.views[key] != after.views[key]
        ]
        public = keys[-1] in shown_to
        in_setup = before.setup != after.setup
        ended = before.outcome is not None and after.outcome is not None
        in_outcome = ended and before.outcome != after.outcome
        who = {seat for seat in range(seats) if keys[seat] in shown_to}
        self._note(path, "seats", who, seats)
        for place, is_shown in (
            ("spectators", public),
            ("setup", in_setup),
            ("outcome", in_outcome),
        ):
            if is_shown:
                self.seen.saw(path, place, "all")
        if variant.is_chance:
            places = [f"the view of {shown_to[0]!r}"] if shown_to else []
            places += ["setup()"] if in_setup else []
            places += ["outcome()"] if in_outcome else []
            if places:
                yield (
                    f"{path} is chance, and {places[0]} shows it; leave it out: every "
                    f"later draw follows from it"
                )
            return
        if variant.field in self.game.shared:
            return
        if not public and len(shown_to) > 1:
            several = " and ".join(repr(key) for key in shown_to)
            yield (
                f"{path} is not public, yet view() shows it to the audiences "
                f"{several}; show it to one of them, or list {variant.field!r} in "
                f"shared"
            )
        if in_setup and not public and len(before.views) > 1:
            # A map may be in the setup and in no view. But where views differ,
            # something is hidden; only the author knows what.
            yield (
                f"{path} is not public, yet setup() shows it to everybody; if that is "
                f"right, list {variant.field!r} in shared"
            )
        elif in_setup and shown_to and path in self._early:
            yield (
                f"{path} is in setup() before any view shows it; if that is right, "
                f"list {variant.field!r} in shared"
            )
        if in_setup and not shown_to:
            self._early.add(path)
        if in_outcome and shown_to and not public:
            yield (
                f"{path} is not public, yet outcome() depends on it; show it in view() "
                f"when the round is over, or list {variant.field!r} in shared"
            )

    def step(
        self,
        before: Any,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        events: tuple[Event, ...],
        seats: int,
    ) -> Iterator[str]:
        """
        List the facts that a call's events reveal wrongly.

        An event may show what its receiver knew before the call, and what it sees
        after it. What was hidden before and is hidden still, it may not.

        :param before: the state before the call.
        :param call: the game's method.
        :param args: what it was given after the state.
        :param events: what it emitted.
        :param seats: how many seats the table has.
        """
        known = self._shown(before, seats)
        after = self._after(call, before, args)
        seen = None if after is None else self._shown(after.state, seats)
        if after is None or known is None or seen is None or seen.outcome is not None:
            # At the end of a round cards are laid open.
            return
        receivers = (*range(seats), None)
        told = {to: _told(events, to) for to in receivers}
        for variant in _sampled(before):
            other = self._after(call, variant.state, args)
            knows = self._shown(variant.state, seats)
            sees = None if other is None else self._shown(other.state, seats)
            if other is None or knows is None or sees is None:
                continue
            differing = [to for to in receivers if _told(other.events, to) != told[to]]
            if not differing:
                continue
            who = {to for to in differing if to is not None}
            self._note(variant.path, "events", who, seats)
            if variant.is_chance or variant.field in self.game.shared:
                continue
            if knows.keys != known.keys or sees.keys != seen.keys:
                continue
            # What no view ever shows may be bookkeeping; what one view shows and
            # another hides is a secret.
            sighted = [
                to
                for to in receivers
                if known.differs(knows, to) or seen.differs(sees, to)
            ]
            blind = [to for to in differing if to not in sighted]
            if sighted and blind and other.state != after.state:
                to = blind[0]
                kind = _first_difference(told[to], _told(other.events, to))
                whom = "spectators" if to is None else f"seat {to}"
                yield (
                    f"{variant.path} is hidden from {whom}, yet event {kind!r} "
                    f"depends on it"
                )

    def _after(
        self, call: Callable[..., Any], state: Any, args: tuple[Any, ...]
    ) -> Step[Any] | None:
        if self._is_slow:
            return None
        try:
            result = self.ask(call.__name__, call, state, *args)
        except TooSlow:
            self._is_slow = True
            return None
        except GAME_ERRORS:
            # A changed fact can make a state that no game reaches.
            return None
        return result if type(result) is Step else Step(result)

    def _note(self, path: str, place: str, who: set[int], seats: int) -> None:
        """Note which seats were shown a fact."""
        first = _FIRST_INDEX.match(path)
        if not who:
            return
        if len(who) == seats:
            word = "all"
        elif first is not None and who == {int(first[1])}:
            word = "own"
        else:
            word = "one" if len(who) == 1 else "some"
        self.seen.saw(path, place, word)

    def _shown(self, state: Any, seats: int) -> _Shown | None:
        if self._is_slow:
            return None
        try:
            return self.ask("view", self._show, state, seats)  # type: ignore[no-any-return]
        except TooSlow:
            self._is_slow = True
            return None
        except GAME_ERRORS:
            return None

    def _show(self, state: Any, seats: int) -> _Shown:
        game = self.game
        keys = tuple(game.audience(state, seat) for seat in (*range(seats), None))
        views = {key: _encode(game.view(state, key)) for key in dict.fromkeys(keys)}
        outcome = game.outcome(state)
        return _Shown(
            keys,
            views,
            _encode(game.setup(state)),
            None if outcome is None else _encode(outcome),
        )


@attrs.frozen
class _Shown:
    """
    What a state shows.

    :ivar keys: the audience of each seat, and the spectators' last.
    """

    keys: tuple[Hashable, ...]
    views: dict[Hashable, bytes]
    setup: bytes
    outcome: bytes | None

    def differs(self, other: _Shown, seat: int | None) -> bool:
        """Does a seat (``None``: the spectators) see a difference?"""
        key = self.keys[-1 if seat is None else seat]
        return self.views[key] != other.views[key] or self.setup != other.setup


def _told(events: tuple[Event, ...], seat: int | None) -> tuple[bytes, ...]:
    """List what a seat (``None``: the spectators) is told."""
    return tuple(
        _encode((event.kind, event.data))
        for event in events
        if event.to is None or event.to == seat
    )


def _first_difference(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> str:
    """Name the first event that differs."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    for number, event in enumerate(longer):
        if number >= len(shorter) or shorter[number] != event:
            return str(msgspec.msgpack.decode(event)[0])
    return ""


def _sampled(state: Any) -> list[Variant]:
    variants = list(_variants(state, "", False))
    return variants[:: 1 + len(variants) // MOST_FACTS]


def _variants(value: Any, path: str, is_chance: bool) -> Iterator[Variant]:
    """Change each leaf of a value, one at a time."""
    changed: Any = None
    if isinstance(value, enum.Enum):
        members = list(type(value))
        changed = members[(members.index(value) + 1) % len(members)]
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        # A chance's position: by enough to change views that show a part of it.
        changed = value ^ _FAR if is_chance else value + 1
    elif isinstance(value, float):
        changed = value + 1.0
    elif isinstance(value, str):
        changed = value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    elif isinstance(value, bytes):
        # Every byte of a chance's key, as a view may show any part of it.
        kept = 0 if is_chance else len(value) - 1
        changed = value[:kept] + bytes(b ^ 1 for b in value[kept:]) if value else b"x"
    elif type(value) is tuple:
        for index, item in enumerate(value):
            for inner in _variants(item, f"{path}[{index}]", is_chance):
                whole = (*value[:index], inner.state, *value[index + 1 :])
                yield attrs.evolve(inner, state=whole)
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            inner_path = f"{path}.{name}" if path else name
            chance = is_chance or type(value) is Chance
            for inner in _variants(getattr(value, name), inner_path, chance):
                # The class itself may refuse such a value.
                with suppress(ValueError, TypeError):
                    other = msgspec.structs.replace(value, **{name: inner.state})
                    yield attrs.evolve(inner, state=other)
    if changed is not None:
        yield Variant(path, changed, is_chance)
