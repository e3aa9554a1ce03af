"""
Judge what a game declares `secret` or `hidden`, by pairs that differ in it alone.

Two states that differ only in what seat 0 may see must show every other audience the
same; so must two steps from them, unless the game lists the field in `reveals` that the
difference is in. Nothing is judged where the game says that it is `revealed`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import attrs
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Step
from vinom.tools.check.shown import Shown, first_difference
from vinom.tools.check.variants import Variant
from vinom.turns import TurnGame, TurnState


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
        if self.seat is not None and before.keys[self.seat] == before.keys[-1]:
            yield (
                f"{self.name} is secret, yet audience() gives seat {self.seat} the "
                f"same key as spectators, so that they see what it sees"
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
