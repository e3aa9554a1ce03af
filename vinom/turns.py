"""
Games in turns: order, phases, clock, leavers, rounds and rematches, as defaults.

A game that inherits `TurnGame` says how a round begins and what an action does. All
that `TurnGame` remembers stands in `TurnState`, and so in the view; each method here
may be replaced by one of the game's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from msgspec import Struct, to_builtins

from vinom.errors import Rejected
from vinom.game import Chance, Event, Game, Outcome, Seat, State, Step, Table, put

__all__ = ["OVER", "Rematch", "TurnGame", "TurnState"]

#: The phase of a round that has ended, and the one of a round without phases.
OVER, PLAYING = "over", "playing"


class Rematch(Struct, frozen=True, forbid_unknown_fields=True, tag="rematch"):
    """Ask for another round."""


class TurnState(State, frozen=True, kw_only=True):
    """
    What `TurnGame` keeps of a round; a game's own state inherits it.

    Each field of a game's own has a default, with which every round begins; see
    `TurnGame.kept`. If it has a field ``options``, that gets the table's.

    :ivar round: 1 for the first.
    :ivar phase: one of `TurnGame.phases`, or "playing"; "over" when the round is.
    :ivar turn: the seat whose turn it is; ``None`` when the round is over, and while
        several act.
    :ivar waiting: the seats that still have to act, in a phase in which all do.
    :ivar due: match time at which the time to act is up, seconds.
    :ivar bank: the seconds that each seat may spend beyond a turn's own.
    :ivar starter: the seat that began this round.
    :ivar places: how the round ended: the seats in first place, and so on.
    :ivar winner: the seat that has first place for itself; ``None`` for a draw.
    :ivar how: why it ended: "draw", "timeout", "left", or the game's own word.
    :ivar wins: rounds won, by seat.
    :ivar teams: of each seat; empty without teams.
    :ivar out: seats that are out of this round, the first one first.
    :ivar gone: seats whose player has left for good.
    :ivar rematch: seats that ask for another round.
    """

    chance: Chance
    round: int = 0
    phase: str = OVER
    turn: int | None = None
    waiting: tuple[int, ...] = ()
    due: float | None = None
    bank: tuple[float, ...] = ()
    starter: int = 0
    places: tuple[tuple[int, ...], ...] = ()
    winner: int | None = None
    how: str = ""
    wins: tuple[int, ...] = ()
    teams: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    rematch: tuple[int, ...] = ()


S = TypeVar("S", bound=TurnState)
A = TypeVar("A")


class TurnGame(Game[S, A]):
    """
    A game in turns: only `play` is required.

    Write ``class Nim(TurnGame[NimState, Take])``: the state is a `TurnState`, and the
    actions are the second one and `Rematch`.

    :cvar phases: the actions of each phase, by its name, in order: a round begins with
        the first. ``phase_over`` enters the next.
    :cvar together: names of phases in which all players act, until each is `done`.
    :cvar turn_seconds: time for a turn, seconds; ``None`` for no limit. An option of
        the same name goes before.
    :cvar bank_seconds: what each player has in a round beyond the turns' own times.
    :cvar on_timeout: what happens to a player whose time is up. "forfeit": it is out
        of the round. "skip": its turn passes. "bot": `choose` acts for it.
    :cvar on_leave: what happens to a player who leaves. "forfeit": it is out of the
        round. "skip": it has no more turns. "bot": `choose` plays on for it.
    :cvar starter: who begins: "drawn" for each round, or "alternate" after the first.
    :cvar kept: names of the state's own fields that last from round to round.
    """

    phases: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    together: ClassVar[tuple[str, ...]] = ()
    turn_seconds: ClassVar[float | None] = 30.0
    bank_seconds: ClassVar[float] = 0.0
    on_timeout: ClassVar[Literal["forfeit", "skip", "bot"]] = "forfeit"
    on_leave: ClassVar[Literal["forfeit", "skip", "bot"]] = "forfeit"
    starter: ClassVar[Literal["drawn", "alternate"]] = "drawn"
    kept: ClassVar[tuple[str, ...]] = ()
    seats = (2, 2)
    linger = 120.0
    state: ClassVar[type[TurnState]]
    _in_setup = ("options",)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the types of states and actions from between the brackets."""
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin, args = get_origin(base), get_args(base)
            if not (isinstance(origin, type) and issubclass(origin, TurnGame)):
                continue
            if isinstance(args[0], TypeVar):
                continue
            cls.state = args[0]
            cls.actions = args[1] | Rematch
        if "phases" in cls.__dict__:
            cls.actions = reduce(or_, (*cls.phases.values(), Rematch))

    # What a game says.

    def begin(self, s: S, now: float) -> S | Step[S]:
        """Set up a round; *s* has the players and the starter, and defaults else."""
        return s

    def play(self, s: S, seat: int, action: A, now: float) -> S | Step[S]:
        """
        Apply an action of a seat whose turn it is.

        Return what `next_turn`, `again`, `done`, `win`, `draw`, `finish` or `put_out`
        make of the state; a plain state leaves the turn and its clock as they are.

        :raises Rejected: the rules forbid it; nothing changes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define play()")

    def choose(self, view: Any, seat: int, chance: Chance, setup: Any) -> A | None:
        """Choose a bot's action on its turn: see `bot`, which agrees to rematches."""
        return None

    def time_for(self, s: S, seat: int | None) -> float | None:
        """Return the time for a turn, seconds; ``None`` for no limit."""
        options = getattr(s, "options", None)
        own: float | None = getattr(options, "turn_seconds", self.turn_seconds)
        return own

    def order(self, s: S) -> tuple[int, ...]:
        """Return all seats in the order of play; by default teams take turns."""
        seats = range(len(s.wins))
        if not s.teams:
            return tuple(seats)
        rank = [s.teams[:seat].count(s.teams[seat]) for seat in seats]
        return tuple(sorted(seats, key=lambda seat: (rank[seat], s.teams[seat])))

    def scores(self, s: S) -> tuple[int | float, ...]:
        """Return the scores of a round that is over; by default 1 for the winners."""
        own: tuple[int | float, ...] | None = getattr(s, "scores", None)
        if own is not None:
            return own
        first = s.places[0] if len(s.places) > 1 else ()
        return tuple(int(seat in first) for seat in range(len(s.wins)))

    def phase_over(self, s: S, now: float) -> S | Step[S]:
        """All are `done` with a phase: by default the next one begins."""
        names = list(self.phases)
        return self.enter(s, names[names.index(s.phase) + 1], now)

    # What it calls.

    def playing(self, s: S) -> tuple[int, ...]:
        """Return the seats that are in the round, in the order of play."""
        away = s.out if self.on_leave == "bot" else (*s.out, *s.gone)
        return tuple(seat for seat in self.order(s) if seat not in away)

    def after(self, s: S, seat: int) -> int:
        """Return the seat that plays after this one."""
        order, playing = self.order(s), self.playing(s)
        at = order.index(seat) + 1
        return next(one for one in (*order[at:], *order[:at]) if one in playing)

    def next_turn(self, s: S, now: float, seat: int | None = None) -> S:
        """Pass the turn on: to *seat*, or to the next one in order."""
        if seat is None:
            seat = s.starter if s.turn is None else self.after(s, s.turn)
        return _timed(_spent(s, now).with_(turn=seat, waiting=()), self, seat, now)

    def again(self, s: S, now: float) -> S:
        """Leave the turn with the same seat, with new time."""
        return self.next_turn(s, now, s.turn)

    def enter(self, s: S, phase: str, now: float) -> S:
        """Begin a phase, in turns from the starter on, or with all at once."""
        s = s.with_(phase=phase, turn=None)
        if phase not in self.together:
            playing = self.playing(s)
            first = s.starter if s.starter in playing else self.after(s, s.starter)
            return self.next_turn(s, now, first)
        return _timed(s.with_(waiting=self.playing(s)), self, None, now)

    def done(self, s: S, seat: int, now: float) -> S | Step[S]:
        """In a phase in which all act: this seat has, and waits for the others."""
        s = s.with_(waiting=tuple(one for one in s.waiting if one != seat))
        return s if s.waiting else self.phase_over(s, now)

    def win(self, s: S, seat: int, how: str = "") -> Step[S]:
        """End the round: this seat, and its team, are first."""
        first = _side(s, seat)
        rest = tuple(
            one for one in range(len(s.wins)) if one not in first and one not in s.out
        )
        return self.finish(s, (first, rest, *_outed(s, first)), how)

    def draw(self, s: S, how: str = "draw") -> Step[S]:
        """End the round: all who are in it share first place."""
        first = tuple(one for one in range(len(s.wins)) if one not in s.out)
        return self.finish(s, (first, *_outed(s, first)), how)

    def finish(self, s: S, places: Iterable[Iterable[int]], how: str = "") -> Step[S]:
        """
        End the round.

        :param places: the seats that share first place, second place, and so on.
        :param how: a word for why, which clients switch on.
        """
        ranks = tuple(place for place in map(tuple, places) if place)
        first = ranks[0] if len(ranks) > 1 else ()
        wins = tuple(count + (seat in first) for seat, count in enumerate(s.wins))
        s = s.with_(
            phase=OVER,
            turn=None,
            waiting=(),
            due=None,
            places=ranks,
            winner=first[0] if len(first) == 1 else None,
            how=how,
            wins=wins,
        )
        return Step(s, (Event("ended", {"winner": s.winner, "how": how}),))

    def put_out(self, s: S, seat: int, how: str, now: float) -> S | Step[S]:
        """Put a seat out of the round; the last side that is left wins."""
        after = s.with_(out=(*s.out, seat))
        sides = {_side(s, one) for one in self.playing(after)}
        if len(sides) < 2:
            return self.win(after, min(sides)[0] if sides else seat, how)
        return Step(after, (Event("out", {"seat": seat, "how": how}),)).then(
            _passed, self, seat, now
        )

    def timed_out(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player's time is up; see `on_timeout`."""
        if self.on_timeout == "forfeit":
            return self.put_out(s, seat, "timeout", now)
        if self.on_timeout == "bot" or seat in s.gone:
            return _act_for(s, self, seat, now)
        return _passed(s, self, seat, now)

    # What the engine calls.

    def start(self, table: Table) -> S | Step[S]:
        """Begin the first round."""
        count = len(table.seats)
        known: dict[str, Any] = {}
        if "options" in self.state.__struct_fields__:
            known["options"] = table.options
        if self.teams:
            known["teams"] = tuple(seat.team for seat in table.seats)
        s: Any = self.state(chance=table.chance, wins=(0,) * count, **known)
        return _begin(s, self, 0.0)

    def act(self, s: S, seat: int, action: A, now: float) -> S | Step[S]:
        """Let a player act whose turn it is, or ask for a rematch."""
        if isinstance(action, Rematch):
            return _ask(s, self, seat, now)
        if s.phase == OVER:
            raise Rejected("round_over", "this round is over; ask for a rematch")
        if seat in s.out:
            raise Rejected("out", "you are out of this round")
        if seat not in (s.waiting or (s.turn,)):
            for_whom = "the others" if s.phase in self.together else "your turn"
            raise Rejected("not_your_turn", f"wait for {for_whom}")
        if self.phases and not isinstance(action, self.phases[s.phase]):
            raise Rejected("wrong_phase", f"not while the phase is {s.phase!r}")
        return self.play(s, seat, action, now)

    def deadline(self, s: S) -> float | None:
        """End a turn when its time is up."""
        return s.due

    def advance(self, s: S, now: float) -> S | Step[S]:
        """The time of those who should have acted is up."""
        step = Step(s)
        for seat in self.turns(s):
            if step.state.phase == s.phase:
                step = step.also(Event("timed_out", {"seat": seat}))
                step = step.then(self.timed_out, seat, now)
        return step

    def joined(self, s: S, seat: int, now: float, newcomer: Seat) -> S | Step[S]:
        """A newcomer watches until the next round."""
        if seat < len(s.wins):
            gone = tuple(one for one in s.gone if one != seat)
            s = s.with_(wins=put(s.wins, seat, 0), gone=gone)
        else:
            s = s.with_(wins=(*s.wins, 0), bank=(*s.bank, 0.0))
        return s if seat in s.out else s.with_(out=(*s.out, seat))

    def left(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player has left; see `on_leave`."""
        rematch = tuple(one for one in s.rematch if one != seat)
        s = s.with_(gone=(*s.gone, seat), rematch=rematch)
        if s.phase == OVER:
            # The others may have been waiting for this one.
            return _begin(s, self, now) if _is_agreed(s, self) else s
        if seat in s.out:
            return s
        if self.on_leave == "forfeit":
            return self.put_out(s, seat, "left", now)
        if self.on_leave == "bot":
            return _timed(s, self, seat, now) if seat == s.turn else s
        if len({_side(s, one) for one in self.playing(s)}) < 2:
            return self.win(s, (self.playing(s) or (seat,))[0], "left")
        return _passed(s, self, seat, now)

    def setup(self, s: S) -> Any:
        """Show the options."""
        return getattr(s, "options", None)

    def outcome(self, s: S) -> Outcome | None:
        """Return the places and scores of a round that is over."""
        if s.phase != OVER:
            return None
        return Outcome(s.round, s.places, self.scores(s))

    def turns(self, s: S) -> tuple[int, ...]:
        """Return the seats that everybody waits for."""
        return s.waiting or (() if s.turn is None else (s.turn,))

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Any:
        """Agree to every rematch, and never ask first; `choose` plays."""
        if view["phase"] == OVER:
            asked = view["rematch"]
            return Rematch() if asked and seat not in asked else None
        if seat != view["turn"] and seat not in view["waiting"]:
            return None
        return self.choose(view, seat, chance, setup)


def _begin(s: S, game: TurnGame[S, Any], now: float) -> Step[S]:
    """Begin a round with those who are here."""
    lasting = ("wins", "teams", "gone", "starter", "options", *game.kept)
    had = game.state.__struct_fields__
    fresh: Any = game.state(
        chance=s.chance,
        round=s.round + 1,
        bank=(game.bank_seconds,) * len(s.wins) if game.bank_seconds else (),
        **{name: getattr(s, name) for name in lasting if name in had},
    )
    if game.starter == "drawn" or not s.round:
        playing = game.playing(fresh)
        pick, chance = s.chance.below(len(playing))
        fresh = fresh.with_(starter=playing[pick], chance=chance)
    else:
        fresh = fresh.with_(starter=game.after(fresh, s.starter))
    fresh = game.enter(fresh, next(iter(game.phases), PLAYING), now)
    facts = {"round": fresh.round, "starter": fresh.starter}
    return Step(fresh, (Event("began", facts),)).then(game.begin, now)


def _ask(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Note that a seat wants another round; it begins once all who are here do."""
    if s.phase != OVER:
        raise Rejected("round_runs", "this round is not over yet")
    if len(s.wins) - len(s.gone) < game.seats[0]:
        raise Rejected("alone", "too many players have left for another round")
    if seat in s.rematch:
        return s
    s = s.with_(rematch=tuple(sorted((*s.rematch, seat))))
    if _is_agreed(s, game):
        return _begin(s, game, now)
    return Step(s, (Event("asked", {"seat": seat}),))


def _is_agreed(s: S, game: TurnGame[S, Any]) -> bool:
    here = [seat for seat in range(len(s.wins)) if seat not in s.gone]
    return len(here) >= game.seats[0] and set(here) <= set(s.rematch)


def _side(s: TurnState, seat: int) -> tuple[int, ...]:
    """Return the seats that win with this one."""
    if not s.teams:
        return (seat,)
    seats = range(len(s.teams))
    return tuple(one for one in seats if s.teams[one] == s.teams[seat])


def _outed(s: TurnState, first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the places of those who are out: the last one first."""
    return [(seat,) for seat in reversed(s.out) if seat not in first]


def _passed(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Wait no longer for a seat."""
    if seat in s.waiting:
        return game.done(s, seat, now)
    return game.next_turn(s, now) if seat == s.turn else s


def _timed(s: S, game: TurnGame[S, Any], seat: int | None, now: float) -> S:
    """Set the time to act, from now on."""
    if seat in s.gone:
        return s.with_(due=now + game.bot_seconds)
    seconds = game.time_for(s, seat)
    if seconds is None:
        return s.with_(due=None)
    spare = s.bank[seat] if s.bank and seat is not None else 0.0
    return s.with_(due=now + seconds + spare)


def _spent(s: S, now: float) -> S:
    """Take what a turn needed beyond its own time from the seat's bank."""
    if not s.bank or s.turn is None or s.due is None:
        return s
    left = min(s.bank[s.turn], max(0.0, s.due - now))
    return s.with_(bank=put(s.bank, s.turn, left))


def _act_for(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Play one action that `choose` finds; without one the turn passes."""
    _, chance = s.chance.draw()
    s = s.with_(chance=chance)
    view = to_builtins(game.view(s, game.audience(s, seat)))
    setup = to_builtins(game.setup(s))
    action = game.choose(view, seat, chance.fork("bot"), setup)
    step = Step(s)
    if action is not None:
        with suppress(Rejected):
            step = step.then(game.act, seat, action, now)
    if step.state is s:
        return step.then(_passed, game, seat, now)
    if step.state.turn == seat and step.state.due == s.due:
        return step.then(_timed, game, seat, now)
    return step
