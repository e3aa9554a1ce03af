"""
Find out who is told what they may not know.

It changes each small fact of a state, one at a time; a view that changes too shows
that fact. Three rules follow. Nobody may be shown chance, which foretells the future. A
fact that spectators can't see may be shown to at most one audience. And what everybody
is sent (`setup`, an outcome, an event) may not depend on a fact that their views hide.
Fields of the state that a game lists as `shared` are excepted from the last two.

What a game declares `secret` or `hidden` is tested strictly, by pairs of states that
differ in it alone, and by pairs of steps from them: until the game says that it is
`revealed`, nothing that another audience is sent may differ. What an action reveals of
it goes into fields of the state that the game lists in `reveals`.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any

import attrs
from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Step, put
from vinom.play.guard import TooSlow
from vinom.play.play import GAME_ERRORS
from vinom.tools.check.shown import Shown, Sightings, first_difference, top_field
from vinom.turns import TurnGame, TurnState

#: Most facts to change in one state; larger states are sampled evenly.
MOST_FACTS = 300
#: Of a trial's calls of a kind, the first few and then one in EVERY_CALL are searched.
FIRST_CALLS, EVERY_CALL = 4, 16
#: Values of one shape that a pool keeps.
MOST_KEPT = 6
#: What a chance's position changes by.
_FAR = 0x5DEECE66D
_FIRST_INDEX = re.compile(r"[^\[\].]*\[(\d+)\]")


@attrs.frozen
class Variant:
    """
    A state with one changed fact.

    :ivar path: which fact, for example ``cards[1]``.
    :ivar state: the changed state.
    :ivar is_chance: is the fact part of a chance?
    :ivar is_whole: was all of a secret changed, and not one fact?
    """

    path: str
    state: Any
    is_chance: bool
    is_whole: bool = False

    @property
    def field(self) -> str:
        """The field of the state that has this fact."""
        return top_field(self.path)

    @property
    def index(self) -> int | None:
        """The first index after the field; of a secret field, the seat."""
        found = _FIRST_INDEX.match(self.path)
        return int(found[1]) if found else None


@attrs.define
class Pool:
    """
    Values that were seen in play, to put one in place of another.

    Only a value of the same shape, with as many items everywhere, takes the place of
    another: how many cards a hand has is not its secret.
    """

    _kept: dict[Hashable, list[Any]] = attrs.field(factory=dict)

    def swap(self, name: str, value: Any) -> list[Any]:
        """
        Keep a value, and list the others that could be in its place.

        :param name: what the value is; others are of the same name.
        """
        kept = self._kept.setdefault((name, _shape(value)), [])
        others = [one for one in kept if one != value]
        if len(others) == len(kept):
            kept.append(value)
            del kept[:-MOST_KEPT]
        return others


def _shape(value: Any) -> Hashable:
    if type(value) is tuple:
        return tuple(map(_shape, value))
    if isinstance(value, Struct):
        parts = (getattr(value, name) for name in value.__struct_fields__)
        return (type(value).__qualname__, *map(_shape, parts))
    return type(value).__qualname__


def have_one_shape(one: Any, other: Any) -> bool:
    """Could the one value be in the place of the other?"""
    return _shape(one) == _shape(other)


def with_other_secrets(game: Game[Any, Any], state: Any, pool: Pool) -> list[Variant]:
    """Put other values seen in play in place of what is `secret` or `hidden`."""
    found = []
    for name in game.secret:
        entries = getattr(state, name)
        # All entries are kept before one takes the place of another.
        for entry in entries:
            pool.swap(name, entry)
        for seat, entry in enumerate(entries):
            for other in pool.swap(name, entry):
                other = replace(state, **{name: put(entries, seat, other)})
                found.append(Variant(f"{name}[{seat}]", other, False, True))
    for name in game.hidden:
        value = getattr(state, name)
        # A deck has few others of its length.
        turned = [value[::-1]] if type(value) is tuple else []
        for other in (*turned, *pool.swap(name, value)):
            found.append(Variant(name, replace(state, **{name: other}), False, True))
    return found


def sampled(state: Any) -> list[Variant]:
    """Change the facts of a state, or of an action, one at a time."""
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
                    other = replace(value, **{name: inner.state})
                    yield attrs.evolve(inner, state=other)
    if changed is not None:
        yield Variant(path, changed, is_chance)


@attrs.frozen
class Secret:
    """
    One thing that not everybody may see.

    :ivar name: of the field, or of a seat's entry in it: ``ships[0]``.
    :ivar seat: whose it is; ``None`` if nobody may see it.
    """

    name: str
    seat: int | None

    @classmethod
    def of(cls, game: Game[Any, Any], variant: Variant) -> Secret | None:
        """Name the secret that a variant changes, if it changes one."""
        if variant.field in game.secret and variant.index is not None:
            return cls(f"{variant.field}[{variant.index}]", variant.index)
        return cls(variant.field, None) if variant.field in game.hidden else None

    @property
    def words(self) -> str:
        """Name it in a sentence."""
        return f"{self.name}, which is {self.kind},"

    @property
    def kind(self) -> str:
        """How it is declared."""
        return "hidden" if self.seat is None else "secret"

    def others(self, shown: Shown) -> list[Hashable]:
        """List the audiences that may not see it."""
        owner = () if self.seat is None else (shown.keys[self.seat],)
        return [key for key in shown.views if key not in owner]

    def by_state(self, before: Shown, after: Shown) -> Iterator[str]:
        """
        List who is shown what, of two states that differ in this alone.

        :param before: what the one shows.
        :param after: what the other shows, to the same audiences.
        """
        if before.revealed or after.revealed:
            return
        seats = before.keys[:-1]
        if self.seat is not None and before.keys[self.seat] == before.keys[-1]:
            yield (
                f"{self.name} is secret, yet audience() gives seat {self.seat} the "
                f"same key as spectators, so that they see what it sees"
            )
        elif self.seat is not None and len(seats) > len(set(seats)) == 1:
            yield (
                f"{self.name} is secret, yet audience() gives all seats the same key, "
                f"so that each sees what the others have; return the seat, or its team"
            )
        for key in self.others(before):
            if before.views[key] != after.views[key]:
                yield (
                    f"{self.name} is {self.kind}, yet "
                    f"view() shows something of it to {_whom(key)}; what the rules "
                    f"reveal, let act() write into another field, and show that"
                )
                return
        for call in ("setup", "outcome"):
            if getattr(before, call) != getattr(after, call):
                yield (
                    f"{self.name} is {self.kind}, yet "
                    f"{call}() depends on it before the round is revealed()"
                )

    def by_step(
        self,
        game: Game[Any, Any],
        call: str,
        steps: tuple[Step[Any], Step[Any]],
        shown: tuple[Shown, Shown],
        show: Callable[[Any], Shown | None],
    ) -> Iterator[str]:
        """
        List who is shown what, of two steps that differ because of this alone.

        :param call: the method that made them.
        :param shown: what their states show.
        :param show: shows another state.
        """
        (one, other), (seen, sees) = steps, shown
        if seen.revealed or sees.revealed or seen.keys != sees.keys:
            return
        others = self.others(seen)
        for name in _judged(game, one.state):
            new = getattr(other.state, name, None)
            if new == getattr(one.state, name) or type(new) is Chance:
                continue
            mixed = show(replace(one.state, **{name: new}))
            if mixed is None or mixed.keys != seen.keys or mixed.revealed:
                continue
            blind = [key for key in others if mixed.views[key] != seen.views[key]]
            if blind:
                yield (
                    f"{name!r} is shown to {_whom(blind[0])}, yet {call}() writes "
                    f"something of {self.words} into it; if the rules reveal that, "
                    f"list {name!r} in reveals"
                )
        first, second = (
            tuple(
                event
                for event in step.events
                if isinstance(event, Event) and event.kind not in game.reveals
            )
            for step in steps
        )
        receivers = (*range(len(seen.keys) - 1), None)
        for seat, key in zip(receivers, seen.keys, strict=True):
            was, now = seen.told(first, seat), sees.told(second, seat)
            if key in others and was != now and seen.views[key] == sees.views[key]:
                whom = "spectators" if seat is None else f"seat {seat}"
                kind = first_difference(was, now)
                yield (
                    f"event {kind!r} shows {whom} something of {self.words} that no "
                    f"view shows; address it to its owner with to, or if the rules "
                    f"reveal that, list {kind!r} in reveals"
                )
                return


def _whom(audience: Hashable) -> str:
    return "spectators" if audience is None else f"the audience {audience!r}"


def _judged(game: Game[Any, Any], state: Any) -> list[str]:
    """List the fields into which nothing of a secret may be written."""
    free = {*game.secret, *game.hidden, *game.reveals, *game.shared}
    if isinstance(game, TurnGame):
        # Whose turn it is, and who has won, follows from everything.
        free.update(TurnState.__struct_fields__)
    return [name for name in state.__struct_fields__ if name not in free]


def mistakes(game: Game[Any, Any], state: Any, seats: int) -> Iterator[str]:
    """List the names in `secret` and `hidden` that can't be meant."""
    for kind in ("secret", "hidden"):
        for name in getattr(game, kind):
            value = getattr(state, name, None)
            if not hasattr(state, name):
                yield f"{name!r} is in {kind}, but it is no field of the state"
            elif kind == "secret" and not (
                type(value) is tuple and len(value) in (0, seats)
            ):
                yield (
                    f"{name!r} is in secret, but has no entry for each of the {seats} "
                    f"seats; make it a tuple of {seats}"
                )


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
    _pool: Pool = attrs.field(factory=Pool)
    _calls: Counter[Hashable] = attrs.field(factory=Counter)
    #: A changed fact made a call that doesn't end; nothing more is searched.
    _is_slow: bool = False

    def is_next(self, *kind: Hashable) -> bool:
        """Is this call one of those of its kind that are searched?"""
        self._calls[kind] += 1
        count = self._calls[kind]
        return count <= FIRST_CALLS or count % EVERY_CALL == 0

    @property
    def _shared(self) -> tuple[str, ...]:
        """Name the fields that players may be told although no view shows them."""
        return (*self.game.shared, *self.game.fixed)

    def state(self, state: Any, seats: int) -> Iterator[str]:
        """List the facts of a state that a view, setup or outcome shows wrongly."""
        wrong = list(mistakes(self.game, state, seats))
        before = None if wrong else self._shown(state, seats)
        yield from wrong
        if before is None:
            return
        phase = self._phase(state, before)
        for variant in (*sampled(state), *self._swapped(state)):
            after = self._shown(variant.state, seats)
            if not variant.is_whole:
                self.seen.of(variant.path, phase)
            if after is not None and after.keys == before.keys:
                yield from self._judge(variant, before, after, phase)

    def _swapped(self, state: Any) -> list[Variant]:
        return with_other_secrets(self.game, state, self._pool)

    def _phase(self, state: Any, shown: Shown) -> str:
        """Name the phase for the table of secrets."""
        if isinstance(self.game, TurnGame):
            return str(state.phase)
        return "playing" if shown.outcome is None else "over"

    def _judge(
        self, variant: Variant, before: Shown, after: Shown, phase: str
    ) -> Iterator[str]:
        secret = Secret.of(self.game, variant)
        if secret is not None:
            yield from secret.by_state(before, after)
        if variant.is_whole:
            return
        path, keys = variant.path, before.keys
        shown_to = [
            key for key in before.views if before.views[key] != after.views[key]
        ]
        public = keys[-1] in shown_to
        in_setup = before.setup != after.setup
        ended = before.outcome is not None and after.outcome is not None
        in_outcome = ended and before.outcome != after.outcome
        seats = len(keys) - 1
        who = {seat for seat in range(seats) if keys[seat] in shown_to}
        self._note(variant, phase, "seats", who, seats)
        for place, is_shown in (
            ("spectators", public),
            ("setup", in_setup),
            ("outcome", in_outcome),
        ):
            if is_shown:
                self.seen.saw(path, phase, place, "all")
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
        if secret is not None or variant.field in self._shared:
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
        wrong = any(mistakes(self.game, before, seats))
        known = None if wrong else self._shown(before, seats)
        after = self._after(call, before, args)
        seen = None if after is None else self._shown(after.state, seats)
        if after is None or known is None or seen is None:
            return
        phase = self._phase(before, known)
        receivers = (*range(seats), None)
        was_told = {to: seen.told(events, to) for to in receivers}
        if call.__name__ == "act":
            yield from self._by_action(before, args, (after, seen))
        for variant in (*sampled(before), *self._swapped(before)):
            other = self._after(call, variant.state, args)
            knows = self._shown(variant.state, seats)
            sees = None if other is None else self._shown(other.state, seats)
            if other is None or knows is None or sees is None:
                continue
            secret = Secret.of(self.game, variant)
            if secret is not None:
                yield from self._by_secret(secret, call, (after, seen), (other, sees))
            # At the end of a round cards are laid open.
            if variant.is_whole or seen.outcome is not None:
                continue
            is_told = {to: sees.told(other.events, to) for to in receivers}
            differing = [to for to in receivers if is_told[to] != was_told[to]]
            if not differing:
                continue
            who = {to for to in differing if to is not None}
            self._note(variant, phase, "events", who, seats)
            if secret or variant.is_chance or variant.field in self._shared:
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
                kind = first_difference(was_told[to], is_told[to])
                whom = "spectators" if to is None else f"seat {to}"
                yield (
                    f"{variant.path} is hidden from {whom}, yet event {kind!r} "
                    f"depends on it"
                )

    def _by_secret(
        self,
        secret: Secret,
        call: Callable[..., Any],
        one: tuple[Step[Any], Shown],
        other: tuple[Step[Any], Shown],
    ) -> Iterator[str]:
        seats = len(one[1].keys) - 1
        return secret.by_step(
            self.game,
            call.__name__,
            (one[0], other[0]),
            (one[1], other[1]),
            lambda state: self._shown(state, seats),
        )

    def _by_action(
        self, before: Any, args: tuple[Any, ...], one: tuple[Step[Any], Shown]
    ) -> Iterator[str]:
        """Judge what a seat's action tells of its own secret, such as where it puts."""
        seat, action, now = args
        if not self.game.secret:
            return
        actions = [variant.state for variant in sampled(action)]
        for changed in (*actions, *self._pool.swap("action", action)):
            after = self._after(self.game.act, before, (seat, changed, now))
            if after is None:
                continue
            shown = self._shown(after.state, len(one[1].keys) - 1)
            if shown is None:
                continue
            for name in self.game.secret:
                was, new = (getattr(step.state, name)[seat] for step in (one[0], after))
                if was != new and have_one_shape(was, new):
                    secret = Secret(f"{name}[{seat}]", seat)
                    yield from self._by_secret(
                        secret, self.game.act, one, (after, shown)
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

    def _note(
        self, variant: Variant, phase: str, place: str, who: set[int], seats: int
    ) -> None:
        """Note which seats were shown a fact."""
        if not who:
            return
        if len(who) == seats:
            word = "all"
        elif who == {variant.index}:
            word = "own"
        else:
            word = "one" if len(who) == 1 else "some"
        self.seen.saw(variant.path, phase, place, word)

    def _shown(self, state: Any, seats: int) -> Shown | None:
        if self._is_slow:
            return None
        try:
            return self.ask("view", Shown.of, self.game, state, seats)  # type: ignore[no-any-return]
        except TooSlow:
            self._is_slow = True
            return None
        except GAME_ERRORS:
            return None
