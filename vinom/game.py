"""
What a game author writes: one small pure class.

A game has no clock, no I/O and no randomness of its own. States are frozen
msgspec structs that hold numbers, strings, tuples and other such structs;
never lists, sets or dicts. Chance is a value: keep it in the state, and never
show it in a view. You can therefore test a game without a network, it can move
between processes, and it always replays to the same states.
``vinom check package.module:Class`` checks this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from hashlib import blake2b
from inspect import cleandoc
from math import inf
from operator import attrgetter
from struct import Struct as Layout
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Self,
    TypeVar,
    get_args,
)

import attrs
from msgspec import Struct, defstruct
from msgspec.structs import fields, force_setattr

from vinom.base.model import SEED_BYTES, seed_bytes
from vinom.errors import Rejected, Unreadable

__all__ = [
    "Chance",
    "Event",
    "Game",
    "Grid",
    "Input",
    "NoLoadout",
    "NoOptions",
    "Outcome",
    "Rejected",
    "Seat",
    "State",
    "Step",
    "Table",
    "Unreadable",
    "Vacate",
    "put",
    "ranked",
]

S = TypeVar("S")
A = TypeVar("A")

#: Random words of one block, and blocks that are kept: the next draws need them again.
_WORDS_PER_BLOCK = 8
_BLOCKS_KEPT = 1024
#: How many values a word has.
_WORD = 1 << 64
_read_words = Layout(f">{_WORDS_PER_BLOCK}Q").unpack


@lru_cache(_BLOCKS_KEPT)
def _block(key: bytes, number: int) -> tuple[int, ...]:
    """Make the words of one block: keyed BLAKE2b of its number (decision 0037)."""
    made = blake2b(number.to_bytes(16, "big"), key=key, person=b"vinom chance")
    return _read_words(made.digest())


class Grid(Struct, frozen=True):
    """
    The numbers that a declared view shows of a field: a range, in equal steps.

    ``x: Annotated[float, Grid(0.01, -50, 50)]`` is shown rounded to hundredths, and at
    the nearer end if it is outside, which ``vinom check`` reports. Players who can are
    then sent packed views: one to four bytes per number, and only for those that
    changed.

    :ivar step: between two numbers; whole for an ``int``.
    :ivar least: the lowest number, a multiple of the step.
    :ivar most: the highest number, a multiple of the step.
    """

    step: float
    least: float
    most: float

    def __post_init__(self) -> None:
        """
        Check the numbers.

        :raises ValueError: there is no such grid.
        """
        if not (0 < self.step < inf and -inf < self.least < self.most < inf):
            raise ValueError(f"{self}: the step must be above 0, and least below most")
        step = Fraction(str(self.step))
        for end in (self.least, self.most):
            if Fraction(str(end)) % step:
                near = float(round(Fraction(str(end)) / step) * step)
                raise ValueError(
                    f"{self}: {end} is no multiple of the step; write {near:g}"
                )
        # All multiples of the step must be exact as doubles.
        largest = max(abs(self.first), abs(self.first + self.steps)) * self.ratio[0]
        if self.steps >= 1 << 32 or largest >= 1 << 50:
            raise ValueError(f"{self} has too many steps; take a larger one")

    @property
    def ratio(self) -> tuple[int, int]:
        """The step as a fraction: the numbers above and below the line."""
        return Fraction(str(self.step)).as_integer_ratio()

    @property
    def first(self) -> int:
        """Which multiple of the step is the lowest number."""
        return round(Fraction(str(self.least)) / Fraction(str(self.step)))

    @property
    def steps(self) -> int:
        """How many steps there are from the lowest number to the highest."""
        return round(Fraction(str(self.most)) / Fraction(str(self.step))) - self.first


class Chance(Struct, frozen=True):
    """
    A seeded source of random numbers, as a value: each draw returns the next source.

    The numbers are keyed BLAKE2b of a counter. Someone who has seen any number of
    draws can't compute another one without the key (decision 0037).

    :ivar key: 32 bytes; a number, for tests, is written as 32 bytes.
    :ivar position: how many words were drawn.
    """

    key: bytes
    position: int = 0

    if TYPE_CHECKING:

        def __init__(self, key: bytes | int, position: int = 0) -> None: ...

    def __post_init__(self) -> None:
        key = self.key
        if type(key) is not bytes or len(key) != SEED_BYTES:
            force_setattr(self, "key", seed_bytes(key))

    def draw(self) -> tuple[int, Chance]:
        """Draw 64 random bits; returns them and the next source."""
        at = self.position
        words = _block(self.key, at // _WORDS_PER_BLOCK)
        return words[at % _WORDS_PER_BLOCK], Chance(self.key, at + 1)

    def below(self, limit: int) -> tuple[int, Chance]:
        """
        Draw an integer from 0 to ``limit - 1``, each equally likely; returns it and the
        next source.

        :raises ValueError: ``limit`` is not positive.
        """
        if limit <= 0:
            raise ValueError(f"limit must be positive, not {limit}")
        if limit > _WORD:
            return self._below_more(limit)
        key, at = self.key, self.position
        # Above the last whole multiple of the limit, low results are likelier.
        bits = bound = _WORD - _WORD % limit
        while bits >= bound:
            # `draw` written out, because games do little else as often.
            bits = _block(key, at // _WORDS_PER_BLOCK)[at % _WORDS_PER_BLOCK]
            at += 1
        return bits % limit, Chance(key, at)

    def _below_more(self, limit: int) -> tuple[int, Chance]:
        """Draw as many words as a limit above one word has."""
        words = -(-limit.bit_length() // 64)
        bound = (1 << 64 * words) // limit * limit
        chance = self
        while True:
            bits = 0
            for _ in range(words):
                word, chance = chance.draw()
                bits = bits << 64 | word
            if bits < bound:
                return bits % limit, chance

    def shuffled(self, items: Sequence[Any]) -> tuple[tuple[Any, ...], Chance]:
        """
        Draw an order of *items*, each equally likely (Fisher-Yates); returns it and the
        next source.
        """
        order, key, at = list(items), self.key, self.position
        for last in range(len(order) - 1, 0, -1):
            # `below` written out, without a source for each draw.
            bound = _WORD - _WORD % (last + 1)
            bits = bound
            while bits >= bound:
                bits = _block(key, at // _WORDS_PER_BLOCK)[at % _WORDS_PER_BLOCK]
                at += 1
            pick = bits % (last + 1)
            order[last], order[pick] = order[pick], order[last]
        return tuple(order), Chance(key, at)

    def fork(self, purpose: str) -> Chance:
        """
        Return another source: independent of this one, and of its forks for other
        purposes.

        :param purpose: any text.
        """
        made = blake2b(
            self.position.to_bytes(16, "big") + purpose.encode(),
            key=self.key,
            person=b"vinom fork",
            digest_size=SEED_BYTES,
        )
        return Chance(made.digest())


class State(Struct, frozen=True):
    """What states and their parts may inherit, to be changed in few words."""

    if TYPE_CHECKING:

        def with_(self, **changes: Any) -> Self:
            """
            Return this state with other values in some fields.

            :raises TypeError: it has no such field.
            """

    else:
        # Several times as fast as a method that calls it.
        with_ = Struct.__replace__


def put(values: tuple[Any, ...], index: int | tuple[int, ...], new: Any) -> Any:
    """
    Return *values* with another value in one place.

    :param values: a tuple, or tuples of tuples.
    :param index: the place, from 0; ``(row, column)`` in rows, and so on.
    :raises IndexError: there is no such place.
    """
    at, deeper = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
    if not 0 <= at < len(values):
        raise IndexError(
            f"there is no place {at}: the places are 0 to {len(values) - 1}"
        )
    changed = list(values)
    changed[at] = put(values[at], deeper, new) if deeper else new
    return tuple(changed)


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a game that has none."""


class NoLoadout(Struct, frozen=True, forbid_unknown_fields=True):
    """The loadout of a game to which players bring nothing."""


def _frozen(value: Any) -> Any:
    """Return a value read from JSON as one that nobody can change."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(each) for key, each in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return value


@attrs.frozen
class Seat:
    """
    One seat at the table.

    :ivar name: what other players see.
    :ivar loadout: what the player brought, a `Game.loadout`: the player's own word,
        unless an outside matchmaker wrote it.
    :ivar team: 0-based; ``None`` in a game without `Game.teams`. The maker of the match
        or the room's host may choose it; otherwise seats join the smallest team, in the
        order of their numbers.
    :ivar player_id: the same for the same player in each match, and known to the other
        players; empty for a bot. A guest's is new whenever the guest has lost its key.
    :ivar claims: what the identity provider or the match's maker vouches for, such as
        ``{"rank": 7}``: JSON-like and read-only, a list is a tuple here. Empty for
        guests and bots. Other players learn only what your views show of it.
    """

    name: str
    loadout: Any = attrs.field(factory=NoLoadout)
    team: int | None = None
    player_id: str = ""
    claims: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen, hash=False)


@attrs.frozen
class Table:
    """
    What a game starts from.

    :ivar seats: a seat's number is its index here.
    :ivar options: a `Game.options`.
    :ivar chance: draw from it, and keep the next source in the state.
    :ivar host: the number of the host's seat, if the game gives the host any rights.
    """

    seats: tuple[Seat, ...]
    options: Any
    chance: Chance
    host: int = 0


class Event(Struct, frozen=True):
    """
    Something that happened once; it is delivered reliably and in order.

    :ivar kind: what clients switch on, for example ``"rolled"``.
    :ivar data: facts about it, as JSON; don't change it later.
    :ivar to: who may see it: a seat; several seats, as a tuple; or an audience, any
        other key that `Game.audience` returns for a seat, or for spectators, in the
        state that this event comes with. ``None`` shows it to everyone.
    """

    kind: str
    data: Any = None
    to: Hashable = None


class Input(tuple[int, A], Generic[S, A]):
    """
    A seat and its action, as a pair; made for games with `Game.past_ticks`.

    :ivar seen: the state that the player was shown when it acted, as far as it says so:
        it may claim any of the last `Game.past_ticks`.
    :ivar tick: the number of the tick that led to it.
    """

    seen: S
    tick: int

    def __new__(cls, seat: int, action: A, seen: S, tick: int = 0) -> Input[S, A]:
        """Make the input of a seat."""
        made = super().__new__(cls, (seat, action))
        made.seen, made.tick = seen, tick
        return made


class Vacate(Struct, frozen=True):
    """
    Among the events of a step: give up a seat, as if its player had left for good.

    The player is sent the events of this step, and then watches; a newcomer may take
    the seat. `Game.left` is not called.

    :ivar seat: the seat.
    """

    seat: int


class Step(Struct, Generic[S], frozen=True):
    """
    The next state, with the events that led to it.

    :ivar state: the next state.
    :ivar events: in the order in which they happened; `Vacate` comes into effect after
        all of them.
    """

    state: S
    events: tuple[Event | Vacate, ...] = ()

    def also(self, *events: Event | Vacate) -> Step[S]:
        """Return this step with further events."""
        return Step(self.state, (*self.events, *events))

    def then(self, change: Callable[..., S | Step[S]], *args: Any) -> Step[S]:
        """
        Go on from this step's state.

        :param change: is called with the state, and returns the next one or a step.
        :param args: what it is called with after the state.
        :returns: the last state, with the events of both.
        """
        after = change(self.state, *args)
        if isinstance(after, Step):
            return Step(after.state, (*self.events, *after.events))
        return Step(after, self.events)


class Outcome(Struct, frozen=True):
    """
    How a round ended.

    :ivar round: 1 for the first.
    :ivar places: the seats that share first place, then second place, and so on.
    :ivar scores: one per seat.
    """

    round: int
    places: tuple[tuple[int, ...], ...]
    scores: tuple[int | float, ...] = ()


def ranked(
    scores: Sequence[int | float], seats: Iterable[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """
    Return the `Outcome.places` that scores make: the highest first, equal ones share.

    :param scores: by seat.
    :param seats: those that are ranked; by default all.
    """
    at = range(len(scores)) if seats is None else tuple(seats)
    steps = sorted({scores[seat] for seat in at}, reverse=True)
    return tuple(tuple(seat for seat in at if scores[seat] == one) for one in steps)


#: Of bots: short ones, as many as the largest table has seats beside a player.
BOT_NAMES = (
    *("Pixel", "Mabel", "Otto", "Juno", "Biscuit", "Tilda", "Rufus", "Pepper"),
    *("Wanda", "Figaro", "Clover", "Boris", "Nutmeg", "Hugo", "Olive"),
)


class Game(Generic[S, A]):
    """
    The rules of one game: only `start` and `act` are required.

    ``now`` is match time in seconds: it starts at 0 when play begins, and stops while
    no player is connected, unless `clock` is "wall". Seats are numbered from 0.

    :cvar name: the name in requests; by default the class name in lower case.
    :cvar title: what people see; by default the words of the class name.
    :cvar about: a sentence for the list of games; by default the first paragraph of
        the module's docstring, or of the class's.
    :cvar rules: how to play, for people; blank lines separate paragraphs. By default
        what that docstring says after its first paragraph.
    :cvar icon: an image beside the game's module, such as "icon.svg". With "/" in
        front it is a file of the site, such as one of the setting ``page``.
    :cvar colours: of the seats, such as ``("#d1495b", "#2f6fde")``.
    :cvar board: an ES module beside the game's module, such as "board.js", which
        draws the game; "/" in front as for `icon`. Without it pages show the generic
        page.
    :cvar board_files: other files beside the module that the board loads, such as
        ``("board.css", "images/red.svg")``; nothing else is served.
    :cvar bot_names: names of the bots, in the order in which they come; beyond them
        a bot is called after its seat: "bot 2".
    :cvar levels: names of the levels at which `bot` plays, the easiest first; ``()`` if
        there is one only. Who adds a bot may choose; without a choice it is the first.
    :cvar actions: a msgspec struct, or a union of tagged structs.
    :cvar options: a msgspec struct with a default for every field.
    :cvar loadout: a msgspec struct with a default for every field.
    :cvar seats: the fewest and the most players, whatever the options; see `seats_for`.
    :cvar teams: how many; ``None`` for none: then every seat's team is ``None``.
    :cvar late_join: may players join after the start? Rooms then begin with the fewest
        players, and call `joined` for each newcomer.
    :cvar tick_hz: fixed steps per second; with 0 the state changes on actions and
        deadlines only.
    :cvar past_ticks: how many ticks before the newest one a player may have been shown
        when it acted; then each input of `tick` is an `Input`, whose `seen` is that
        state. 0 if the game does not look at it.
    :cvar clock: "match": match time stops while no player is connected. "wall": it
        never stops, for games that last for days: deadlines come while nobody is
        connected and after a restart, and seats are kept until the room ends. Such a
        room sleeps in the store while nobody is connected. Matches from a queue have
        the clock "match" all the same.
    :cvar schema: version of the state's format; only the same version replays a
        recording.
    :cvar durability: "ahead": a state is stored before anyone sees it; "behind": soon
        after, at most 0.1 s; "none": never, so the types of its states need not be
        storable. Rooms of stored games outlive their node where nodes share a store.
        There matches, which their node stores, outlive their machine, too, and lose at
        most a second then; with "store" nothing: it is "ahead", and its matches show
        what that store has, and stand still while it does not answer.
    :cvar absent: what happens to a seat whose player has lost the connection. "wait":
        nothing. "bot": `bot` acts for it while another player is connected. "forfeit":
        after `forfeit_seconds` it is given up, and `left` is called.
    :cvar bot_seconds: with "bot": match time from the loss of the connection to the
        bot's first action, and between its actions, seconds; at least 0.05.
    :cvar forfeit_seconds: with "forfeit": how long a player may be away without a
        break, seconds of real time, also while match time stops.
    :cvar secret: names of state fields, each a tuple with an entry per seat, of which
        only the owner's audience may see its entry until the round is `revealed`. Then
        each seat is by default an audience of its own. ``vinom check`` tests it.
    :cvar hidden: names of state fields, such as a deck, that nobody may see until the
        round is `revealed`.
    :cvar reveals: names of state fields, and kinds of events, in which the rules
        reveal something of what is `secret` or `hidden`, such as the hits on a ship;
        ``vinom check`` reports all others that do, and that others see.
    :cvar fixed: names of state fields that stay as they are for a whole match: `setup`
        shows them, and views don't.
    :cvar shows: the struct that `view` returns, if its annotation does not name it.
        Where its numbers have a `Grid`, views are packed.
    :cvar tells: the structs of events' data, by the events' kinds; ``None`` for no
        data. Like `shows` it is tested by ``vinom check``, and described to clients by
        ``/games.json`` and ``vinom schema``.
    :cvar shared: names of state fields that several audiences may see although the
        public may not, or that `setup` and `outcome` may show to everybody; ``vinom
        check`` reports any other such field as a leak.
    :cvar states: which states are sent to players. "latest": one for all actions that
        arrive together. "every": one for each action. Over UDP a state can still get
        lost; then only a newer one arrives.
    :cvar grace_seconds: how long a room keeps the seat of a player whose connection was
        lost; ``None`` uses the server's setting (15 minutes).
    :cvar linger: how long the room stays after the last round, seconds.
    :cvar time_limit: the longest match, seconds of match time; then the room closes.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    about: ClassVar[str] = ""
    rules: ClassVar[str] = ""
    icon: ClassVar[str] = ""
    colours: ClassVar[tuple[str, ...]] = ()
    board: ClassVar[str] = ""
    board_files: ClassVar[tuple[str, ...]] = ()
    bot_names: ClassVar[tuple[str, ...]] = BOT_NAMES
    levels: ClassVar[tuple[str, ...]] = ()
    actions: ClassVar[Any]
    options: ClassVar[type[Struct]] = NoOptions
    loadout: ClassVar[type[Struct]] = NoLoadout
    seats: ClassVar[tuple[int, int]] = (2, 4)
    teams: ClassVar[int | None] = None
    late_join: ClassVar[bool] = False
    tick_hz: ClassVar[int] = 0
    past_ticks: ClassVar[int] = 0
    clock: ClassVar[Literal["match", "wall"]] = "match"
    schema: ClassVar[int] = 1
    durability: ClassVar[Literal["store", "ahead", "behind", "none"]] = "ahead"
    absent: ClassVar[Literal["wait", "bot", "forfeit"]] = "wait"
    bot_seconds: ClassVar[float] = 1.0
    forfeit_seconds: ClassVar[float] = 30.0
    secret: ClassVar[tuple[str, ...]] = ()
    hidden: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[tuple[str, ...]] = ()
    reveals: ClassVar[tuple[str, ...]] = ()
    shows: ClassVar[type[Struct] | None] = None
    tells: ClassVar[Mapping[str, type[Struct] | None]] = MappingProxyType({})
    shared: ClassVar[tuple[str, ...]] = ()
    states: ClassVar[Literal["latest", "every"]] = "latest"
    grace_seconds: ClassVar[float | None] = None
    linger: ClassVar[float] = 10.0
    time_limit: ClassVar[float] = 3600.0

    def start(self, table: Table) -> S | Step[S]:
        """Return the first state of a match, or of a room, with these players."""
        raise NotImplementedError(f"{type(self).__name__} must define start()")

    def seats_for(self, options: Any) -> tuple[int, int]:
        """
        Return the fewest and the most players with these options, within `seats`.

        :param options: a `Game.options`.
        """
        return self.seats

    def act(self, s: S, seat: int, action: A, now: float) -> S | Step[S]:
        """
        Apply one player's action.

        :param s: the state before.
        :param seat: who acts.
        :param action: one of `actions`, already decoded.
        :param now: match time, seconds.
        :raises Rejected: the rules forbid it; nothing changes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define act()")

    def view(self, s: S, audience: Hashable) -> Any:
        """
        Return what an audience may see of the state: a msgspec struct.

        By default that is `shows`, filled from the state's fields and properties;
        without it, all fields but the `hidden` and `fixed` ones and each `Chance`. Of
        a `secret` field there are only the entries that the audience owns, and ``None``
        for the others, until the round is `revealed`; and ``None`` for a `hidden` field
        that `shows` names.

        :param audience: one of the keys that `audience` returns.
        """
        game: Any = type(self)
        state: Any = type(s)
        if not issubclass(state, Struct):
            raise NotImplementedError(f"{game.__name__} must define view()")
        shown, values, kept = _showing(game, state)
        if not kept or self.revealed(s):
            return shown(*values(s))
        seen = []
        for name, value in zip(shown.__struct_fields__, values(s), strict=True):
            if name in self.hidden:
                value = None
            elif name in kept:
                value = tuple(
                    one if self.audience(s, seat) == audience else None
                    for seat, one in enumerate(value)
                )
            seen.append(value)
        return shown(*seen)

    def revealed(self, s: S) -> bool:
        """May everybody see what was secret? By default once the round has ended."""
        return self.outcome(s) is not None

    def deadline(self, s: S) -> float | None:
        """Return the next match time at which to call `advance`; ``None`` for never."""
        return None

    def advance(self, s: S, now: float) -> S | Step[S]:
        """
        The `deadline` has come; the next deadline must be later.

        A game with `timers` defines ``advance(self, s, now, name="")``; the name is
        empty for the deadline.
        """
        return s

    def timers(self, s: S) -> Mapping[str, float | None]:
        """
        Return the match times at which to call `advance` with a name, by the names.

        They are beside the `deadline`, which comes first at the same time; ``None`` is
        never. A timer's next time must be later.
        """
        return {}

    def turns(self, s: S) -> tuple[int, ...]:
        """
        Return the seats that the game waits for.

        With `clock` "wall" a player who is away and whose seat begins to be among them
        is reported to the operator's webhook, and `my_games` says so.
        """
        return ()

    def tick(self, s: S, inputs: tuple[tuple[int, A], ...], n: int) -> S | Step[S]:
        """
        Advance by one fixed step.

        Ignore what the rules forbid. If it raises `Rejected`, the first input at which
        it does is refused, and the step is made again without it.

        :param inputs: the actions since the last step, each with its seat; with
            `past_ticks` each is an `Input`.
        :param n: the number of this step.
        """
        return s

    def joined(self, s: S, seat: int, now: float, newcomer: Seat) -> S | Step[S]:
        """
        A player joined after the start; see `late_join`.

        :param seat: the next number, or that of a seat that was given up.
        :param newcomer: the same as in `Table.seats` for the first players.
        """
        return s

    def dropped(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player lost its connection, and may return. See `absent`."""
        return s

    def returned(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player whose connection was lost has returned."""
        return s

    def left(self, s: S, seat: int, now: float) -> S | Step[S]:
        """
        A player is gone for good: it left, or was away for too long.

        Give it no more turns, or the others wait for each of them.
        """
        return s

    def setup(self, s: S) -> Any:
        """
        Return the part of the view that never changes; it is sent once.

        By default these are the `fixed` fields: one alone as it is, several in a struct
        with their names.
        """
        if len(self.fixed) < 2:
            return getattr(s, self.fixed[0]) if self.fixed else None
        game: Any = type(self)
        state: Any = type(s)
        return setup_of(game, state)(*(getattr(s, name) for name in self.fixed))

    def audience(self, s: S, seat: int | None) -> Hashable:
        """
        Return a key for what a seat may see: seats with equal keys share one view.

        :param seat: ``None`` for spectators and replays, whose view also makes the
            hash at the end of a match.
        """
        return seat if self.secret else "all"

    def outcome(self, s: S) -> Outcome | None:
        """
        Return how the latest round ended; ``None`` while it is being played.

        The next round needs a higher `Outcome.round`, or its end is not announced.
        """
        return None

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> A | None:
        """
        Choose an action from what *seat* may see; ``None`` waits.

        It plays for bots that players add, for seats that lost their connection (see
        `absent`), and in ``vinom bots``. Its action is checked like a player's, and
        `act` may reject it. If it raises an error, or returns something that is not an
        action, the server logs that, and the seat waits until its player has returned
        and left again. Recordings replay without the bot.

        :param view: the view as a client decodes it from MessagePack: dicts, lists,
            strings and numbers.
        :param chance: the bot's own, independent of the game's.
        :param setup: like *view*, for what `setup` returned.

        A game with `levels` defines ``bot(self, view, seat, chance, setup, level="")``.
        For a player who is away it plays at the last level.
        """
        return None

    def migrate(self, old: Any, schema: int) -> S:
        """
        Convert a state that an older version of this game stored.

        A room that outlived its node is read from its checkpoint, and its game may have
        a newer `schema` by then. Without this method such rooms end as lost.

        :param old: the stored state as plain data: fields as dicts, tuples as lists,
            enums as the names of their members.
        :param schema: the `schema` it was stored with.
        :raises Unreadable: this version cannot convert it.
        """
        raise Unreadable(f"no migration from schema {schema}")


def level_of(game: Game[Any, Any], level: str = "") -> tuple[str, ...]:
    """Return what a game's `bot` gets last: a level, by default the first; or none."""
    return (level or game.levels[0],) if game.levels else ()


def ensure_level(game: Game[Any, Any], level: str) -> None:
    """
    Check a level that somebody chose.

    :raises ValueError: the game's bot has no such level; says which ones it has.
    """
    if level and level not in game.levels:
        has = ", ".join(game.levels) or "none: leave it out"
        raise ValueError(f"the bot has no level {level!r}; its levels are {has}")


def has_one_audience(game: type[Game[Any, Any]]) -> bool:
    """Do all seats and spectators of this game see the same?"""
    return game.audience is Game.audience and not game.secret


@cache
def view_of(game: Any, state: Any) -> type[Struct]:
    """Return the struct that a game without a `view` of its own shows."""
    if game.shows is not None:
        declared: type[Struct] = game.shows
        return declared
    kept = [
        (each.name, _kept_apart(each.type) if each.name in game.secret else each.type)
        for each in fields(state)
        if each.name not in (*game.hidden, *game.fixed) and not _is_chance(each.type)
    ]
    for name, kind in kept:
        if _holds_chance(kind, []):
            raise TypeError(
                f"{state.__name__}.{name} holds a Chance, which nobody may see; keep "
                f"it in a field of its own, or list {name!r} in hidden"
            )
    said = [base.__doc__ or "" for base in state.__mro__ if base not in State.__mro__]
    about = {"__doc__": "\n\n".join(map(cleandoc, said))}
    return defstruct(f"{game.__name__}View", kept, frozen=True, namespace=about)


def _is_chance(kind: Any) -> bool:
    """Is it a `Chance`, or are these several, or may it be one?"""
    return kind is Chance or any(map(_is_chance, get_args(kind)))


def _holds_chance(kind: Any, known: list[Any]) -> bool:
    """Is there a `Chance` in a struct, at any depth?"""
    if kind in known:
        return False
    known.append(kind)
    inner = list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Struct):
        inner = [each.type for each in fields(kind)]
    return kind is Chance or any(_holds_chance(one, known) for one in inner)


def _kept_apart(kind: Any) -> Any:
    """Return the type of a tuple in which others see ``None``."""
    entry: Any = (get_args(kind) or (Any,))[0] | None
    return tuple.__class_getitem__((entry, ...))


@cache
def setup_of(game: Any, state: Any) -> Any:
    """Return the type of what a game without a `setup` of its own returns there."""
    types = {each.name: each.type for each in fields(state)}
    kept = [(name, types[name]) for name in game.fixed]
    if len(kept) < 2:
        return kept[0][1] if kept else None
    return defstruct(f"{game.__name__}Setup", kept, frozen=True)


@cache
def _showing(
    game: Any, state: Any
) -> tuple[type[Struct], Callable[[Any], tuple[Any, ...]], frozenset[str]]:
    """
    Find what a game without a `view` of its own shows: the struct, its values, and
    which of its fields are `secret` or `hidden`.

    :raises TypeError: `Game.shows` has a field that the state lacks.
    """
    shown = view_of(game, state)
    names = shown.__struct_fields__
    missing = [name for name in names if not hasattr(state, name)]
    if missing:
        raise TypeError(
            f"{game.__name__}.shows has {missing[0]!r}, which {state.__name__} lacks; "
            f"name it there, or define view()"
        )
    kept = frozenset(names) & {*game.secret, *game.hidden}
    if len(names) < 2:
        return shown, lambda s: tuple([getattr(s, name) for name in names]), kept
    return shown, attrgetter(*names), kept
