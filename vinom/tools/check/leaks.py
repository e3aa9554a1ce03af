"""
Find out who is told what they may not know.

It changes each small fact of a state, one at a time; a view that changes too shows
that fact. Three rules follow. Nobody may be shown chance, which foretells the future. A
fact that spectators can't see may be shown to at most one audience. And what everybody
is sent (`setup`, an outcome, an event) may not depend on a fact that their views hide.
Fields of the state that a game lists as `shared` are excepted from the last two.

What a game declares `secret` or `hidden` is tested strictly, by pairs of states that
differ in it alone: until the game says that it is `revealed`, nothing that another
audience is sent may differ. What an action reveals of it goes into fields of the state
that the game lists in `reveals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from vinom.game import Event, Game, Step
from vinom.play.guard import TooSlow
from vinom.play.play import GAME_ERRORS
from vinom.tools.check.declared import Secret, mistakes
from vinom.tools.check.shown import Shown, first_difference
from vinom.tools.check.sightings import Sightings
from vinom.tools.check.variants import (
    Pool,
    Variant,
    have_one_shape,
    sampled,
    with_other_secrets,
)
from vinom.turns import TurnGame

#: Of a trial's calls with events, the first few and then every so many are searched.
FIRST_CALLS, EVERY_CALL = 4, 16


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
    _calls: int = 0
    #: A changed fact made a call that doesn't end; nothing more is searched.
    _is_slow: bool = False

    def is_next(self) -> bool:
        """Is this call, which emitted events, one of those that are searched?"""
        self._calls += 1
        return self._calls <= FIRST_CALLS or self._calls % EVERY_CALL == 0

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
        known = self._shown(before, seats)
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
