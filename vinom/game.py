"""
What a game author writes: one small pure class.

A game has no clock, no I/O and no randomness of its own. States are frozen
attrs classes (or frozen msgspec structs) that hold numbers, strings, tuples
and other such classes; never lists, sets or dicts. Chance is a value that is
carried in the state and never enters a view. Therefore a game is tested
without a network, moves between processes, and replays to the same states,
always. ``vinom check package.module:Class`` proves it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import attrs
from msgspec import Struct

from vinom.errors import Rejected, Unreadable

__all__ = [
    "Chance",
    "Event",
    "Game",
    "NoLoadout",
    "NoOptions",
    "Outcome",
    "Rejected",
    "Seat",
    "Step",
    "Table",
    "Unreadable",
]

S = TypeVar("S")
A = TypeVar("A")

_MASK = (1 << 64) - 1


@attrs.frozen
class Chance:
    """
    A seeded source of chance, as a value: each draw returns the next source.

    The generator is SplitMix64 (Steele, Lea, Flood 2014): good enough for
    games, small enough to travel in a checkpoint, not for secrets.

    :ivar word: the generator's position, 64 bits.
    """

    word: int = attrs.field(
        validator=[attrs.validators.ge(0), attrs.validators.le(_MASK)]
    )

    def draw(self) -> tuple[int, Chance]:
        """Draw 64 random bits."""
        word = (self.word + 0x9E3779B97F4A7C15) & _MASK
        z = word
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31), Chance(word)

    def below(self, limit: int) -> tuple[int, Chance]:
        """
        Draw an integer in ``[0, limit)``, each equally likely.

        :raises ValueError: ``limit`` is not positive.
        """
        if limit <= 0:
            raise ValueError(f"limit must be positive, not {limit}")
        chance, bound = self, (1 << 64) - (1 << 64) % limit
        while True:
            bits, chance = chance.draw()
            if bits < bound:
                return bits % limit, chance

    def shuffled(self, items: Sequence[Any]) -> tuple[tuple[Any, ...], Chance]:
        """Draw an order of *items*, each equally likely (Fisher-Yates)."""
        order, chance = list(items), self
        for last in range(len(order) - 1, 0, -1):
            pick, chance = chance.below(last + 1)
            order[last], order[pick] = order[pick], order[last]
        return tuple(order), chance


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """A game that has nothing to choose."""


class NoLoadout(Struct, frozen=True, forbid_unknown_fields=True):
    """A game to which players bring nothing."""


@attrs.frozen
class Seat:
    """
    One place at the table, as a game sees it.

    :ivar name: what other players see.
    :ivar loadout: what the player brought, validated by the game's type.
    :ivar team: 0-based; ``None`` in a game without `Game.teams`. Planned with
        the match, or else dealt in seat order to the team that is smallest.
    """

    name: str
    loadout: Any = attrs.field(factory=NoLoadout)
    team: int | None = None


@attrs.frozen
class Table:
    """
    What a game starts from.

    :ivar seats: the places; a seat's number is its index here.
    :ivar host: the number of the seat that may change the table.
    :ivar options: validated by the game's type.
    :ivar chance: put what is left of it into the state.
    """

    seats: tuple[Seat, ...]
    options: Any
    chance: Chance
    host: int = 0


@attrs.frozen
class Event:
    """
    Something that happened once, and reaches its players reliably.

    :ivar kind: what clients switch on, for example ``"rolled"``.
    :ivar data: JSON-like facts about it; whole and never changed later.
    :ivar to: the only seat that may see it; ``None`` is everybody.
    """

    kind: str
    data: Any = None
    to: int | None = None


@attrs.frozen
class Step(Generic[S]):
    """A next state and what happened on the way to it."""

    state: S
    events: tuple[Event, ...] = ()


@attrs.frozen
class Outcome:
    """
    How a round ended.

    :ivar round: 1 for the first.
    :ivar places: seats that share first place, then second, and so on.
    :ivar scores: one per seat.
    """

    round: int
    places: tuple[tuple[int, ...], ...]
    scores: tuple[int | float, ...] = ()


class Game(Generic[S, A]):
    """
    The rules of one game: only `start`, `act` and `view` are mandatory.

    ``now`` is match time in seconds: it starts at 0 when play starts and
    stops while nobody could play. Seats are numbered from 0.

    :cvar name: how players ask for it; the class name in lower case if unset.
    :cvar actions: a msgspec struct, or a union of tagged ones.
    :cvar options: a msgspec struct with a default for every field.
    :cvar loadout: a msgspec struct with a default for every field.
    :cvar seats: fewest and most players.
    :cvar teams: how many; ``None`` is none, and every seat's team is ``None``.
    :cvar late_join: may seats be added after the start? Rooms of the node then begin
        with the fewest seats, and call `joined` for each newcomer.
    :cvar tick_hz: fixed steps a second; 0 moves only on inputs and deadlines.
    :cvar schema: version of the state's shape; a recording is replayed only by
        the schema that it was made with.
    :cvar durability: "ahead": kept elsewhere before anyone sees it; "behind":
        soon after. Declared for checkpoints; so far none are made.
    :cvar absent: what happens to a seat while it is dropped. "wait": nothing.
        "bot": `bot` acts for it while somebody else plays. "forfeit": it is
        given up, and `left` called, when it was away for too long.
    :cvar bot_seconds: with "bot": match time from the drop to the bot's first
        action, and from each to the next, seconds; at least 0.05.
    :cvar forfeit_seconds: with "forfeit": how long a seat may be away without a
        break before it is given up, seconds; these pass even while match time
        stops.
    :cvar shared: names of state fields that several audiences may see though
        the public may not; ``vinom check`` takes others for a leak.
    :cvar states: what players are sent. "latest": what came together makes one
        state. "every": each change by an action is one. Over UDP a state can still
        get lost, and then only a newer one comes.
    :cvar isolate: play rooms of the node in game processes of their own, so that
        whatever this game does to its process ends its own rooms alone; the node
        relays, which costs each action about as much again.
    :cvar grace_seconds: how long a place in a room of the node is kept for a player
        whose connection was lost; ``None`` is what the node says (15 minutes).
    :cvar linger: how long the room stays after the last round, seconds.
    :cvar time_limit: longest match, seconds of match time; the room ends then.
    """

    name: ClassVar[str] = ""
    actions: ClassVar[Any]
    options: ClassVar[type[Struct]] = NoOptions
    loadout: ClassVar[type[Struct]] = NoLoadout
    seats: ClassVar[tuple[int, int]] = (2, 4)
    teams: ClassVar[int | None] = None
    late_join: ClassVar[bool] = False
    tick_hz: ClassVar[int] = 0
    schema: ClassVar[int] = 1
    durability: ClassVar[Literal["ahead", "behind"]] = "ahead"
    absent: ClassVar[Literal["wait", "bot", "forfeit"]] = "wait"
    bot_seconds: ClassVar[float] = 1.0
    forfeit_seconds: ClassVar[float] = 30.0
    shared: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[Literal["latest", "every"]] = "latest"
    isolate: ClassVar[bool] = False
    grace_seconds: ClassVar[float | None] = None
    linger: ClassVar[float] = 10.0
    time_limit: ClassVar[float] = 3600.0

    def start(self, table: Table) -> S | Step[S]:
        """Lay the table."""
        raise NotImplementedError(f"{type(self).__name__} must define start()")

    def act(self, s: S, seat: int, action: A, now: float) -> S | Step[S]:
        """
        Apply one player's action.

        :raises Rejected: the rules forbid it; nothing changes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define act()")

    def view(self, s: S, audience: Hashable) -> Any:
        """Show the state to an *audience*: a msgspec struct."""
        raise NotImplementedError(f"{type(self).__name__} must define view()")

    def deadline(self, s: S) -> float | None:
        """Name the next match time at which `advance` is due."""
        return None

    def advance(self, s: S, now: float) -> S | Step[S]:
        """Time has come to the `deadline`; the new one must be later."""
        return s

    def tick(self, s: S, inputs: tuple[tuple[int, A], ...], n: int) -> S | Step[S]:
        """Advance by one fixed step; *inputs* came since step ``n - 1``."""
        return s

    def joined(self, s: S, seat: int, now: float, newcomer: Seat) -> S | Step[S]:
        """
        A new seat came after the start; see `late_join`.

        Its number is the next one, or one that was given up before.

        :param newcomer: as the table shows those who were there at the start.
        """
        return s

    def dropped(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A seat lost its connection; it may come back. See `absent`."""
        return s

    def returned(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A dropped seat came back."""
        return s

    def left(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A seat is gone for good: its player left, or was away for too long."""
        return s

    def setup(self, s: S) -> Any:
        """Show the part of the view that never changes; it is sent once."""
        return None

    def audience(self, s: S, seat: int | None) -> Hashable:
        """
        Name what a seat may see: seats with equal keys share one view.

        A spectator is ``None``. So far nobody watches but replays, and the view
        hash that ends a match is of the spectators' view.
        """
        return "all"

    def outcome(self, s: S) -> Outcome | None:
        """
        Tell how the latest round ended; ``None`` while it is played.

        The next round needs a higher `Outcome.round`, or nobody is told of it.
        """
        return None

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> A | None:
        """
        Choose an action from what *seat* may see; ``None`` is to wait.

        *view* and *setup* are what a client has decoded from MessagePack:
        dicts, lists, strings and numbers. Besides for dropped seats (`absent`)
        it is asked by clients that play by themselves, such as ``vinom bots``.

        What it answers is checked like a player's action, and may be refused by
        `act`. If it raises, or answers what is no action, the log tells and
        the dropped seat waits until its player has come back and left again.
        *chance* is not the game's own, and recordings replay without the bot.
        """
        return None

    def migrate(self, old: Any, schema: int) -> S:
        """
        Read a state that an older version of this game wrote.

        Declared for checkpoints; so far nobody calls it.

        :raises Unreadable: this version cannot.
        """
        raise Unreadable(f"no migration from schema {schema}")
