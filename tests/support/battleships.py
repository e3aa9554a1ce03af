"""Sea battles: one that keeps its secret, and others that give it away."""

from __future__ import annotations

from collections.abc import Hashable
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta, Struct

from vinom.game import Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

Cell = Annotated[int, Meta(ge=0, le=24)]


class Hide(Struct, frozen=True, tag="hide"):
    """Put three ships into a sea of 25 cells."""

    cells: tuple[Cell, Cell, Cell]


class Shoot(Struct, frozen=True, tag="shoot"):
    """Shoot at a cell of the other sea."""

    cell: Cell


class Shot(Struct, frozen=True):
    """A shot, and whether it hit."""

    seat: int
    cell: int
    hit: bool


class Sea(TurnState, frozen=True):
    """Ships of each seat, and what is known of them."""

    ships: tuple[tuple[int, ...], ...] = ((), ())
    shots: tuple[Shot, ...] = ()
    hint: int = -1


class Battle(TurnGame[Sea, Hide | Shoot]):
    """Hide three ships, then shoot in turns."""

    phases = MappingProxyType({"hiding": Hide, "shooting": Shoot})
    together = ("hiding",)
    secret = ("ships",)
    reveals = ("shots",)

    def play(self, s: Sea, seat: int, action: Any, now: float) -> Sea | Step[Sea]:
        if isinstance(action, Hide):
            if len(set(action.cells)) < 3:
                raise Rejected("overlap", "choose three cells")
            return self.hide(s, seat, action, now)
        hit = action.cell in s.ships[1 - seat]
        s = s.with_(shots=(*s.shots, Shot(seat, action.cell, hit)))
        step = self.shown(s, seat, action)
        hits = {one.cell for one in s.shots if one.hit and one.seat == seat}
        if len(hits) == 3:
            return step.then(self.win, seat, "sunk")
        return step.then(self.next_turn, now)

    def hide(self, s: Sea, seat: int, action: Hide, now: float) -> Sea | Step[Sea]:
        """Keep the cells of a seat's ships."""
        s = s.with_(ships=put(s.ships, seat, tuple(sorted(action.cells))))
        return self.done(s, seat, now)

    def shown(self, s: Sea, seat: int, action: Shoot) -> Step[Sea]:
        """Tell all who look of a shot."""
        shot = s.shots[-1]
        return Step(s, (Event("shot", {"cell": shot.cell, "hit": shot.hit}),))

    def choose(self, view: Any, seat: int, chance: Any, setup: Any) -> Any:
        cells, _ = chance.shuffled(range(25))
        return Hide(cells[:3]) if view["phase"] == "hiding" else Shoot(cells[0])


class Undeclared(Battle):
    """Keeps its secret, but doesn't say that it has one."""

    secret = ()

    def audience(self, s: Sea, seat: int | None) -> Hashable:
        return seat

    def view(self, s: Sea, audience: Hashable) -> Any:
        own = s.ships[audience] if isinstance(audience, int) else ()
        return {"phase": s.phase, "turn": s.turn, "rematch": s.rematch} | {
            "waiting": s.waiting,
            "shots": s.shots,
            "own": own,
        }


class Deriving(Battle):
    """Finds out what was hit when it is shown, and shows the ships when it's over."""

    def view(self, s: Sea, audience: Hashable) -> Any:
        hits = [
            (one.seat, one.cell, one.cell in s.ships[1 - one.seat]) for one in s.shots
        ]
        over = s.phase == "over"
        own = s.ships[audience] if isinstance(audience, int) else ()
        return {"phase": s.phase, "turn": s.turn, "rematch": s.rematch} | {
            "waiting": s.waiting,
            "hits": hits,
            "ships": s.ships if over else (),
            "own": own,
        }


class ShowingAll(Battle):
    """Shows all ships to everybody."""

    def view(self, s: Sea, audience: Hashable) -> Any:
        return s.with_(chance=None)


class OneAudience(Battle):
    """Shows its spectators what its players see."""

    def audience(self, s: Sea, seat: int | None) -> Hashable:
        return "all"


class HintWhenHit(Battle):
    """Writes a ship's row into a field that everybody sees, with each shot."""

    def shown(self, s: Sea, seat: int, action: Shoot) -> Step[Sea]:
        return super().shown(s.with_(hint=s.ships[1 - seat][0] // 5), seat, action)


class HintWhenHidden(Battle):
    """Writes a ship's row into a field that everybody sees, when it is hidden."""

    def hide(self, s: Sea, seat: int, action: Hide, now: float) -> Sea | Step[Sea]:
        return super().hide(s.with_(hint=action.cells[0] // 5), seat, action, now)


class ToldWhenHidden(Battle):
    """Tells everybody where ships are hidden."""

    def hide(self, s: Sea, seat: int, action: Hide, now: float) -> Sea | Step[Sea]:
        step = Step(s, (Event("hidden", {"by": seat, "first": action.cells[0]}),))
        return step.then(super().hide, seat, action, now)


class ToldWhenHit(Battle):
    """Tells everybody where a ship is, with each shot."""

    def shown(self, s: Sea, seat: int, action: Shoot) -> Step[Sea]:
        near = Event("near", {"row": s.ships[1 - seat][0] // 5})
        return super().shown(s, seat, action).also(near)


class InSetup(Battle):
    """Puts the ships into its setup."""

    def setup(self, s: Sea) -> Any:
        return {"first": s.ships[0][:1]}
