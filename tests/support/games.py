"""Small games that do one thing, right or wrong, for tests of what hosts them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Seat, Step, Table, Vacate
from vinom.games.tictactoe import TicTacToe


class Say(Struct, frozen=True, tag="say"):
    """An action, named by its word."""

    word: str


class Quiet(Struct, frozen=True, tag="quiet"):
    """Do nothing."""


class Tale(Struct, frozen=True):
    """Everything that reached the game, in order."""

    lines: tuple[str, ...] = ()
    rounds: int = 0
    over: bool = False
    wake_at: float | None = None


class TaleView(Struct, frozen=True):
    """All of it."""

    lines: tuple[str, ...]


class Teller(Game[Tale, Say | Quiet]):
    """
    Writes down what reaches it, and obeys a few words: "no" is rejected,
    "boom" fails, "exit" asks to exit, "tell" emits an event, "shout 99" a long one,
    "end" and "again" end and begin a round, "wake 3.5" sets a deadline.
    """

    name = "teller"
    actions = Say | Quiet
    seats = (2, 3)
    linger = 4.0
    time_limit = 100.0

    def start(self, table: Table) -> Tale:
        return Tale()

    def act(
        self, s: Tale, seat: int, action: Say | Quiet, now: float
    ) -> Tale | Step[Tale]:
        if isinstance(action, Quiet):
            return s
        s = replace(s, lines=(*s.lines, f"{now:.1f} {seat} {action.word}"))
        match action.word.split():
            case ["no"]:
                raise Rejected("no", "I will not")
            case ["boom"]:
                raise ZeroDivisionError("boom")
            case ["exit"]:
                raise SystemExit(3)
            case ["tell"]:
                return Step(s, (Event("told", {"by": seat}), Event("psst", to=seat)))
            case ["shout", size]:
                return Step(s, (Event("shouted", "A" * int(size)),))
            case ["end"]:
                return replace(s, over=True, rounds=s.rounds + 1)
            case ["again"]:
                return replace(s, over=False)
            case ["wake", at]:
                return replace(s, wake_at=float(at))
            case ["nothing"]:
                return None  # what a game does that forgets its return
        return s

    def deadline(self, s: Tale) -> float | None:
        return s.wake_at

    def advance(self, s: Tale, now: float) -> Tale:
        return self._noted(replace(s, wake_at=None), now, "woke")

    def dropped(self, s: Tale, seat: int, now: float) -> Tale:
        return self._noted(s, now, f"{seat} dropped")

    def returned(self, s: Tale, seat: int, now: float) -> Tale:
        return self._noted(s, now, f"{seat} returned")

    def left(self, s: Tale, seat: int, now: float) -> Tale:
        return self._noted(s, now, f"{seat} left")

    def outcome(self, s: Tale) -> Outcome | None:
        return Outcome(s.rounds, ((0,), (1,))) if s.over else None

    def view(self, s: Tale, audience: Hashable) -> TaleView:
        if s.lines and s.lines[-1].endswith("blind"):
            raise LookupError("cannot look")
        return TaleView(s.lines)

    def setup(self, s: Tale) -> dict[str, str]:
        return {"once": "upon a time"}

    def _noted(self, s: Tale, now: float, what: str) -> Tale:
        return replace(s, lines=(*s.lines, f"{now:.1f} {what}"))


class Camps(Teller):
    """
    Red seats and a blue one; "to red", "to 0,2" or "to None" emits an event to those.
    """

    name = "camps"

    def act(self, s: Tale, seat: int, action: Say | Quiet, now: float) -> Any:
        match action.word.split() if isinstance(action, Say) else ():
            case ["to", word]:
                to: Any = None if word == "None" else word
                if word.replace(",", "").isdecimal():
                    seats = tuple(map(int, word.strip(",").split(",")))
                    to = seats if "," in word else seats[0]
                return Step(self._noted(s, now, word), (Event("called", word, to=to),))
        return super().act(s, seat, action, now)

    def audience(self, s: Tale, seat: int | None) -> Hashable:
        return "crowd" if seat is None else "blue" if seat == 1 else "red"


class Dismissing(Camps):
    """ "out 1" puts a player out, after a last word to it; newcomers may come."""

    name = "dismissing"
    late_join = True

    def act(self, s: Tale, seat: int, action: Any, now: float) -> Any:
        match action.word.split() if isinstance(action, Say) else ():
            case ["out", who]:
                gone = int(who)
                return Step(
                    self._noted(s, now, f"{gone} is out"),
                    (Vacate(gone), Event("called", "bye", to=gone)),
                )
        return super().act(s, seat, action, now)

    def joined(self, s: Tale, seat: int, now: float, newcomer: Seat) -> Tale:
        return self._noted(s, now, f"{seat} is {newcomer.name}")


class Apart(Teller):
    """Is played in a process of its own; "deaf" hangs where nothing interrupts it."""

    name = "apart"
    seats = (2, 2)

    def act(self, s: Tale, seat: int, action: Say | Quiet, now: float) -> Any:
        if action == Say("deaf"):
            sum(range(10**12))
        return super().act(s, seat, action, now)


class Clumsy(Teller):
    """Fails in the call that the last word of its options names."""

    def _trip(self, s: Tale, call: str) -> None:
        if s.lines and s.lines[-1].endswith(call):
            raise OverflowError(call)

    def audience(self, s: Tale, seat: int | None) -> Hashable:
        self._trip(s, "audience")
        return "all"

    def outcome(self, s: Tale) -> Outcome | None:
        self._trip(s, "outcome")
        return super().outcome(s)

    def dropped(self, s: Tale, seat: int, now: float) -> Tale:
        self._trip(s, "dropped")
        return super().dropped(s, seat, now)

    def setup(self, s: Tale) -> dict[str, str]:
        raise OverflowError("setup")


class Stuck(Teller):
    """Its deadline never moves on."""

    def advance(self, s: Tale, now: float) -> Tale:
        return self._noted(s, now, "again")


class Crawling(Teller):
    """Its deadline moves on, but by nothing worth the name."""

    def advance(self, s: Tale, now: float) -> Tale:
        return replace(s, wake_at=now + 1e-9)


class Ticking(Teller):
    """Ten steps per second."""

    tick_hz = 10

    def tick(
        self, s: Tale, inputs: tuple[tuple[int, Say | Quiet], ...], n: int
    ) -> Tale:
        for seat, action in inputs:
            if isinstance(action, Quiet):
                continue
            s = replace(s, lines=(*s.lines, f"#{n} {seat} {action.word}"))
        return replace(s, rounds=n)


class StandingIn(Teller):
    """
    Its bot speaks for who is away, every half second, one of a few words, by
    chance; "" is to wait, "?" fails, "nonsense" is another game's action.
    """

    absent = "bot"
    bot_seconds = 0.5
    words: tuple[str, ...] = ("hi", "no", "tell", "end", "again", "wake 1.5", "", "?")

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any
    ) -> Say | Quiet | None:
        assert setup == {"once": "upon a time"}
        pick, _ = chance.below(len(self.words))
        match self.words[pick]:
            case "":
                return None
            case "?":
                raise KeyError(f"after {len(view['lines'])} lines")
            case "nonsense":
                return Show()  # type: ignore[return-value]  # that is the point
            case word:
                return Say(word)


class TickingBots(Ticking, StandingIn):
    """Ten steps per second, and bots for absent players."""


class Forfeiting(Teller):
    """Gives up a seat that was away for two seconds."""

    absent = "forfeit"
    forfeit_seconds = 2.0


class Hands(Struct, frozen=True):
    """A deal of cards, and the players who have shown."""

    cards: tuple[int, ...]
    shown: tuple[bool, ...]
    chance: Chance


class Show(Struct, frozen=True):
    """Lay your card open."""


class Cards(Game[Hands, Show]):
    """Each seat has a card that only it may see until it is shown."""

    name = "cards"
    actions = Show
    seats = (2, 3)
    time_limit = 100.0

    def start(self, table: Table) -> Hands:
        chance, cards = table.chance, []
        for _ in table.seats:
            card, chance = chance.below(52)
            cards.append(card)
        return Hands(tuple(cards), (False,) * len(cards), chance)

    def act(self, s: Hands, seat: int, action: Show, now: float) -> Hands:
        if s.shown[seat]:
            raise Rejected("shown", "it is on the table")
        return self.left(s, seat, now)

    def left(self, s: Hands, seat: int, now: float) -> Hands:
        shown = (*s.shown[:seat], True, *s.shown[seat + 1 :])
        return replace(s, shown=shown)

    def audience(self, s: Hands, seat: int | None) -> Hashable:
        return "spectator" if seat is None else seat

    def view(self, s: Hands, audience: Hashable) -> dict[str, Any]:
        return {
            "cards": [
                card if shown or seat == audience else None
                for seat, (card, shown) in enumerate(zip(s.cards, s.shown, strict=True))
            ]
        }

    def outcome(self, s: Hands) -> Outcome | None:
        if not all(s.shown):
            return None
        best = max(s.cards)
        winners = tuple(i for i, card in enumerate(s.cards) if card == best)
        return Outcome(1, (winners,), s.cards)


class Peeking(Cards):
    """Shows the neighbour's card to each player."""

    def view(self, s: Hands, audience: Hashable) -> dict[str, Any]:
        shown = dict(super().view(s, audience))
        if isinstance(audience, int):
            shown["peek"] = s.cards[(audience + 1) % len(s.cards)]
        return shown


class Foretelling(Cards):
    """Shows the state of its chance, which foretells every card to come."""

    def view(self, s: Hands, audience: Hashable) -> dict[str, Any]:
        return {**super().view(s, audience), "next": s.chance.key[-1] % 52}


class Endless(Cards):
    """Promises an outcome that never comes."""

    def outcome(self, s: Hands) -> Outcome | None:
        return None


_memory: list[int] = []


class Remembering(Cards):
    """Keeps a secret of its own outside the state."""

    def act(self, s: Hands, seat: int, action: Show, now: float) -> Hands:
        _memory.append(seat)
        cards = tuple(card + len(_memory) for card in s.cards)
        return replace(super().act(s, seat, action, now), cards=cards)


class HashOrdered(Cards):
    """Lets the order of a set decide, which differs in each process."""

    def start(self, table: Table) -> Hands:
        words = {"ace", "king", "queen", "jack", "ten", "nine", "eight", "seven"}
        first = list(words).index("ace")
        return replace(super().start(table), cards=(first,) * len(table.seats))


class ListState(Struct, frozen=True):
    """A state of a mutable type."""

    items: list[int]


class Changeable(Cards):
    """Its state holds a list."""

    def start(self, table: Table) -> Any:
        return ListState([1])


class SmugglerState(Struct, frozen=True):
    """A state whose type is right and whose value is not."""

    items: tuple[int, ...]


class Smuggling(Cards):
    """Declares a tuple and holds a list."""

    def start(self, table: Table) -> Any:
        return SmugglerState([1, 2])  # type: ignore[arg-type]  # that is the point


class Meddling(Teller):
    """Tries to change the state that others hold."""

    def act(self, s: Tale, seat: int, action: Say | Quiet, now: float) -> Tale:
        s.lines = ()  # type: ignore[misc]  # that is the point
        return s


class StoredTicTacToe(TicTacToe):
    """Tic-tac-toe that shows only what the store of several nodes has."""

    durability = "store"


class Nameless(Teller):
    """Has no name of its own."""

    name = ""


Way = Literal["here", "there"]
