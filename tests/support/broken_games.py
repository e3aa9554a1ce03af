"""Games with one fault each, as authors make them, for tests of ``vinom check``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step, Table

S = TypeVar("S")


class Play(Struct, frozen=True, tag="play"):
    """Make a move."""


class Counted(Struct, frozen=True):
    """Whose turn it is, and until when."""

    players: int
    turn: int = 0
    due: float = 30.0
    moves: int = 0


class Open(Game[S, Play]):
    """Everybody sees the whole state."""

    actions = Play
    seats = (2, 2)

    def view(self, s: S, audience: Hashable) -> S:
        return s


class Turns(Open[Counted]):
    """Forty moves in turn; it forgets that players can leave."""

    name = "turns"
    seats = (2, 4)

    def start(self, table: Table) -> Counted:
        return Counted(len(table.seats))

    def act(self, s: Counted, seat: int, action: Play, now: float) -> Counted:
        if seat != s.turn or s.moves == 40:
            raise Rejected("not_your_turn", "wait for your turn")
        return self.advance(s, now)

    def advance(self, s: Counted, now: float) -> Counted:
        return Counted(s.players, (s.turn + 1) % s.players, now + 30.0, s.moves + 1)

    def deadline(self, s: Counted) -> float | None:
        return s.due if s.moves < 40 else None

    def outcome(self, s: Counted) -> Outcome | None:
        return Outcome(1, ((0,),)) if s.moves == 40 else None


class Untimed(Turns):
    """The same without a timer: after a player has left, nothing happens any more."""

    def deadline(self, s: Counted) -> float | None:
        return None


class Ending(Turns):
    """The same, and right: the match ends when a player leaves."""

    def left(self, s: Counted, seat: int, now: float) -> Counted:
        return replace(s, moves=40)


class Fragile(Ending):
    """Fails if a player leaves whose turn it is."""

    def left(self, s: Counted, seat: int, now: float) -> Counted:
        if seat == s.turn:
            raise LookupError("whose turn is it?")
        return super().left(s, seat, now)


class Dizzy(Ending):
    """Fails when a player returns."""

    def returned(self, s: Counted, seat: int, now: float) -> Counted:
        raise LookupError("who are you?")


class Closed(Ending):
    """Lets newcomers in, and has no room for them in its state."""

    name = "closed"
    late_join = True

    def joined(self, s: Counted, seat: int, now: float, newcomer: Any) -> Counted:
        raise LookupError(f"no seat {seat}")


class Choices(Struct, frozen=True, forbid_unknown_fields=True):
    """How many moves."""

    moves: int = 3


class Dividing(Ending):
    """Divides by an option that may be 0."""

    options = Choices

    def start(self, table: Table) -> Counted:
        return Counted(len(table.seats), moves=12 // table.options.moves)


class Waiting(Ending):
    """Only time moves it on, and the match is too short for that."""

    options = Choices
    time_limit = 600.0

    def act(self, s: Counted, seat: int, action: Play, now: float) -> Counted:
        raise Rejected("wait", "wait for the end")


class Piled(Struct, frozen=True):
    """Hands, and the pile that cards are drawn from."""

    pile: tuple[int, ...]
    hands: tuple[tuple[int, ...], ...]
    turn: int
    gone: tuple[int, ...]
    chance: Chance


class Drawing(Game[Piled, Play]):
    """Draw cards in turn until the pile is empty; each player sees the own hand."""

    name = "drawing"
    actions = Play
    seats = (2, 3)

    def start(self, table: Table) -> Piled:
        pile, chance = table.chance.shuffled(range(20))
        return Piled(pile, ((),) * len(table.seats), 0, (), chance)

    def act(self, s: Piled, seat: int, action: Play, now: float) -> Piled | Step[Piled]:
        if seat != s.turn or not s.pile:
            raise Rejected("not_your_turn", "wait for your turn")
        hands = list(s.hands)
        hands[seat] = (*hands[seat], s.pile[0])
        after = replace(s, pile=s.pile[1:], hands=tuple(hands))
        return Step(self._next(after), self.tell(seat, s.pile[0]))

    def tell(self, seat: int, card: int) -> tuple[Event, ...]:
        """The events of a draw."""
        return Event("drew", seat), Event("card", card, to=seat)

    def _next(self, s: Piled) -> Piled:
        count = len(s.hands)
        around = [(s.turn + step) % count for step in range(1, count + 1)]
        return replace(
            s, turn=next((seat for seat in around if seat not in s.gone), s.turn)
        )

    def left(self, s: Piled, seat: int, now: float) -> Piled:
        s = replace(s, gone=(*s.gone, seat))
        if len(s.gone) + 1 >= len(s.hands):
            return replace(s, pile=())
        return self._next(s) if seat == s.turn else s

    def joined(self, s: Piled, seat: int, now: float, newcomer: Any) -> Piled:
        return s

    def audience(self, s: Piled, seat: int | None) -> Hashable:
        return seat

    def view(self, s: Piled, audience: Hashable) -> dict[str, Any]:
        own = s.hands[audience] if isinstance(audience, int) else ()
        return {"turn": s.turn, "left": len(s.pile), "hand": own}

    def outcome(self, s: Piled) -> Outcome | None:
        return None if s.pile else Outcome(1, ((0,),))


class DeckInSetup(Drawing):
    """Puts the pile into its setup."""

    def setup(self, s: Piled) -> dict[str, Any]:
        return {"deck": s.pile}


class Alone(Drawing):
    """A game of one player, who is shown the chance."""

    name = "alone"
    seats = (1, 1)

    def view(self, s: Piled, audience: Hashable) -> dict[str, Any]:
        return {"drawn": s.chance.position}


class Changing(Drawing):
    """Puts into its setup what changes."""

    def setup(self, s: Piled) -> dict[str, Any]:
        return {"cards": len(s.pile)}


class Shouting(Drawing):
    """Shows everybody which card was drawn."""

    def tell(self, seat: int, card: int) -> tuple[Event, ...]:
        return (Event("drew", [seat, card]),)


class Scoring(Drawing):
    """Its outcome shows what nobody may see of the others' hands."""

    def outcome(self, s: Piled) -> Outcome | None:
        if s.pile:
            return None
        return Outcome(1, ((0,),), tuple(map(sum, s.hands)))


class Clocks(Struct, frozen=True):
    """A clock for each seat; None: it does not run."""

    ends: tuple[float | None, ...]
    moves: int = 0


class TwoClocks(Open[Clocks]):
    """Handles one clock per deadline, also if two end at once."""

    name = "clocks"

    def start(self, table: Table) -> Clocks:
        return Clocks((None, None))

    def act(self, s: Clocks, seat: int, action: Play, now: float) -> Clocks:
        if s.ends[seat] is not None or s.moves > 30:
            raise Rejected("runs", "your clock runs")
        ends = tuple(now + 20 if i == seat else end for i, end in enumerate(s.ends))
        return Clocks(ends, s.moves + 1)

    def deadline(self, s: Clocks) -> float | None:
        return min((end for end in s.ends if end is not None), default=None)

    def advance(self, s: Clocks, now: float) -> Clocks:
        first = s.ends.index(self.deadline(s))
        ends = tuple(None if i == first else end for i, end in enumerate(s.ends))
        return replace(s, ends=ends)

    def outcome(self, s: Clocks) -> Outcome | None:
        return Outcome(1, ((0,),)) if s.moves > 30 else None


class RejectingTick(Open[Counted]):
    """Rejects in a tick what comes too early."""

    name = "strict"
    tick_hz = 10

    def start(self, table: Table) -> Counted:
        return Counted(2)

    def tick(self, s: Counted, inputs: tuple[tuple[int, Play], ...], n: int) -> Counted:
        if inputs and n % 5:
            raise Rejected("early", "wait for the beat")
        return Counted(2, moves=n)

    def outcome(self, s: Counted) -> Outcome | None:
        return Outcome(1, ((0,),)) if s.moves >= 60 else None


class Loose(Struct, frozen=True):
    """A state whose declared type is wrong."""

    turn: int
    label: int


class Mistyped(Game[Loose, Play]):
    """Its state holds a text where it declares a number."""

    name = "mistyped"
    actions = Play
    seats = (2, 2)

    def start(self, table: Table) -> Loose:
        return Loose(0, 0)

    def act(self, s: Loose, seat: int, action: Play, now: float) -> Loose:
        return replace(s, turn=s.turn + 1, label="text")

    def outcome(self, s: Loose) -> Outcome | None:
        return Outcome(1, ((0,),)) if s.turn > 9 else None

    def view(self, s: Loose, audience: Hashable) -> dict[str, Any]:
        return {"turn": s.turn, "label": s.label}


class Phase(Struct, frozen=True):
    """A phase of a game."""

    name: str


WAITING = Phase("waiting")


class Phased(Struct, frozen=True):
    """A state with a phase."""

    phase: Phase
    moves: int = 0


class Identical(Open[Phased]):
    """Compares a value by its identity, which a stored state doesn't keep."""

    name = "identical"

    def start(self, table: Table) -> Phased:
        return Phased(WAITING)

    def act(self, s: Phased, seat: int, action: Play, now: float) -> Phased:
        return replace(s, moves=s.moves + (1 if s.phase is WAITING else 2))

    def outcome(self, s: Phased) -> Outcome | None:
        return Outcome(1, ((0,),)) if s.moves > 9 else None
