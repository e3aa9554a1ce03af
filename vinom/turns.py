"""
Games in turns: order, phases, clock, leavers, rounds and rematches, as defaults.

A game that inherits `TurnGame` says how a round begins and what an action does. All
that `TurnGame` remembers stands in `TurnState`, and so in the view; each method here
may be replaced by one of the game's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cache, reduce
from operator import or_
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from msgspec import Struct, msgpack

from vinom.errors import Rejected
from vinom.game import Chance, Event, Game, Outcome, Seat, State, Step, Table, put

__all__ = ["OVER", "Rematch", "TurnGame", "TurnState", "agree", "is_agreed"]

#: The phase of a round that has ended, and the one of a round without phases.
OVER, PLAYING = "over", "playing"


class Rematch(Struct, frozen=True, forbid_unknown_fields=True, tag="rematch"):
    """Ask for another round."""


class Began(Struct, frozen=True):
    """A round has begun."""

    round: int
    starter: int


class Ended(Struct, frozen=True):
    """
    A round is over.

    :ivar winner: the seat that has won alone; ``None`` for a draw, and for a team.
    :ivar how: why it ended: "draw", "timeout", "left", or the game's own word.
    """

    winner: int | None
    how: str


class Out(Struct, frozen=True):
    """A seat is out of the round."""

    seat: int
    how: str


class OfSeat(Struct, frozen=True):
    """A seat's time is up, or it asks for another round."""

    seat: int


class TurnState(State, frozen=True, kw_only=True):
    """
    What `TurnGame` keeps of a round; a game's own state inherits it.

    Each field of a game's own has a default, with which every round begins; see
    `TurnGame.kept`. If it has a field ``options``, that gets the table's, and is
    `vinom.game.Game.fixed`.

    :ivar round: 1 for the first.
    :ivar phase: one of `TurnGame.phases`, or "playing"; "over" when the round is.
    :ivar turn: the seat whose turn it is; ``None`` when the round is over, and while
        several act.
    :ivar waiting: the seats that still have to act, in a phase in which all do.
    :ivar due: match time at which the time to act is up, seconds, with the bank's.
    :ivar bank: the seconds that each seat may spend beyond a turn's own.
    :ivar order: the seats of this round in the order of play; by default teams take
        turns. The others watch: newcomers, and seats whose player had left before.
    :ivar starter: the seat that began this round.
    :ivar places: how the round ended: the seats in first place, and so on.
    :ivar winner: the seat that has won alone; ``None`` for a draw, and for a team.
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
    order: tuple[int, ...] = ()
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


def is_agreed(asked: Collection[int], here: Collection[int], fewest: int = 2) -> bool:
    """
    Does another round begin? It does once all players who are here ask for it.

    Check this whenever a player has asked, and whenever one has left.

    :param asked: the seats that ask.
    :param here: the seats whose players have not left for good.
    :param fewest: how many players a round needs.
    """
    return len(here) >= fewest and set(here) <= set(asked)


def agree(asked: Collection[int], seat: int) -> Rematch | None:
    """Have a bot agree to every rematch, and never ask first."""
    return Rematch() if asked and seat not in asked else None


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
    :cvar per_turn: names of the state's own fields that have their defaults again when
        the turn passes on, and when the round ends.
    """

    phases: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    together: ClassVar[tuple[str, ...]] = ()
    turn_seconds: ClassVar[float | None] = 30.0
    bank_seconds: ClassVar[float] = 0.0
    on_timeout: ClassVar[Literal["forfeit", "skip", "bot"]] = "forfeit"
    on_leave: ClassVar[Literal["forfeit", "skip", "bot"]] = "forfeit"
    starter: ClassVar[Literal["drawn", "alternate"]] = "drawn"
    kept: ClassVar[tuple[str, ...]] = ()
    per_turn: ClassVar[tuple[str, ...]] = ()
    tells: ClassVar[Mapping[str, type[Struct] | None]] = MappingProxyType(
        {
            "began": Began,
            "ended": Ended,
            "out": Out,
            "timed_out": OfSeat,
            "asked": OfSeat,
        }
    )
    seats = (2, 2)
    linger = 120.0
    state: ClassVar[type[TurnState]]

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
            cls.actions = cls.__dict__.get("actions", args[1] | Rematch)
            has_options = "options" in cls.state.__struct_fields__
            cls.fixed = cls.__dict__.get("fixed", ("options",) if has_options else ())
        if "phases" in cls.__dict__:
            cls.actions = reduce(or_, (*cls.phases.values(), Rematch))

    # What a game says.

    def begin(self, s: S, now: float) -> S | Step[S]:
        """
        Set up a round, such as by dealing cards; then its first turn or phase begins.

        *s* has the players in `TurnState.order`, the starter, and defaults else.
        """
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
        """
        Choose a bot's action on its turn: see `bot`, which agrees to rematches.

        In a game with `levels` it gets the level as its last argument.
        """
        return None

    def time_for(self, s: S, seat: int | None) -> float | None:
        """Return the time for a turn, seconds; ``None`` for no limit."""
        options = getattr(s, "options", None)
        own: float | None = getattr(options, "turn_seconds", self.turn_seconds)
        return own

    def scores(self, s: S) -> tuple[int | float, ...]:
        """
        Return the scores of a round that is over, by seat: the state's own ``scores``,
        or 1 for each winner.
        """
        own: tuple[int | float, ...] | None = getattr(s, "scores", None)
        if own is not None:
            return own
        first = s.places[0] if len(s.places) > 1 else (s.winner,)
        return tuple(int(seat in first) for seat in range(len(s.wins)))

    def lineup(self, s: S) -> tuple[int, ...]:
        """
        Return the seats that play the next round, in the order of play.

        By default those whose players are here; teams take turns.
        """
        away = () if self.on_leave == "bot" else s.gone
        return tuple(seat for seat in _in_turns(s) if seat not in away)

    def phase_over(self, s: S, now: float) -> S | Step[S]:
        """All are `done` with a phase: by default the next one begins."""
        names = (*self.phases, s.phase)
        following = names[names.index(s.phase) + 1 : -1]
        if not following:
            raise NotImplementedError(
                f"{type(self).__name__} must define phase_over(): no phase follows "
                f"{s.phase!r}"
            )
        return self.enter(s, following[0], now)

    # What it calls.

    def playing(self, s: S) -> tuple[int, ...]:
        """Return the seats that are in the round, in the order of play."""
        if not (s.out or s.gone):
            return s.order
        away = s.out if self.on_leave == "bot" else (*s.out, *s.gone)
        return tuple(seat for seat in s.order if seat not in away)

    def after(self, s: S, seat: int) -> int:
        """Return the seat that plays after this one."""
        order, playing = s.order, self.playing(s)
        if playing is order and seat in order:
            return order[(order.index(seat) + 1) % len(order)]
        return _following(order, seat, playing)

    def new_round(self, s: S, now: float) -> Step[S]:
        """Begin another round, with the seats of `lineup`."""
        lasting = ("wins", "teams", "gone", "options", *self.kept)
        had = self.state.__struct_fields__
        first, order = next(iter(self.phases), PLAYING), self.lineup(s)
        if self.starter == "drawn" or not s.round:
            pick, chance = s.chance.below(len(order))
            starter = order[pick]
        else:
            starter, chance = _following(_in_turns(s), s.starter, order), s.chance
        fresh: Any = self.state(
            chance=chance,
            round=s.round + 1,
            phase=first,
            order=order,
            starter=starter,
            bank=(self.bank_seconds,) * len(s.wins) if self.bank_seconds else (),
            **{name: getattr(s, name) for name in lasting if name in had},
        )
        step = Step(fresh).then(self.begin, now)
        began = Event("began", {"round": fresh.round, "starter": step.state.starter})
        if step.state.phase == first and not _acting(step.state):
            step = step.then(self.enter, first, now)
        return Step(step.state, (began, *step.events))

    def next_turn(self, s: S, now: float, seat: int | None = None) -> S:
        """
        Pass the turn on, unless the round is over.

        :param seat: that is next; by default the next one in order, or the starter.
        """
        if s.phase == OVER:
            return s
        if seat is None and s.turn is not None:
            seat = self.after(s, s.turn)
        elif seat is None:
            in_it = s.starter in self.playing(s)
            seat = s.starter if in_it else self.after(s, s.starter)
        if self.per_turn:
            s = _blank(s, self)
        return _timed(s, self, now, seat)

    def again(self, s: S, now: float) -> S:
        """Leave the turn with the same seat, with new time."""
        return _timed(s, self, now, s.turn)

    def enter(self, s: S, phase: str, now: float) -> S:
        """Begin a phase, in turns from the starter on, or with all at once."""
        s = _spent(s, now).with_(phase=phase, turn=None)
        if phase in self.together:
            return _timed(s, self, now, None, self.playing(s))
        return self.next_turn(s, now)

    def done(self, s: S, seat: int, now: float) -> S | Step[S]:
        """In a phase in which all act: this seat has, and waits for the others."""
        s = s.with_(waiting=tuple(one for one in s.waiting if one != seat))
        if not s.waiting:
            return self.phase_over(s, now)
        return _hurried(s, self, now)

    def win(self, s: S, seat: int, how: str = "") -> Step[S]:
        """End the round: this seat, and its team, are first."""
        first = _side(s, seat)
        return self.finish(s, (first, *_ranked(s, first)), how)

    def draw(self, s: S, how: str = "draw") -> Step[S]:
        """End the round: all who are in it share first place."""
        return self.finish(s, _ranked(s), how)

    def finish(self, s: S, places: Iterable[Iterable[int]], how: str = "") -> Step[S]:
        """
        End the round.

        :param places: the seats that share first place, second place, and so on. The
            first have won if there is a second place; if the first is empty, nobody
            has. Empty ones count for nothing else.
        :param how: a word for why, which clients switch on.
        """
        ranks = tuple(map(tuple, places))
        first = ranks[0] if len(ranks) > 1 else ()
        wins = s.wins
        for seat in first:
            wins = put(wins, seat, wins[seat] + 1)
        if self.per_turn:
            s = _blank(s, self)
        s = s.with_(
            phase=OVER,
            turn=None,
            waiting=(),
            due=None,
            places=tuple(filter(None, ranks)),
            winner=first[0] if len(first) == 1 else None,
            how=how,
            wins=wins,
        )
        return Step(s, (Event("ended", {"winner": s.winner, "how": how}),))

    def put_out(self, s: S, seat: int, how: str, now: float) -> S | Step[S]:
        """Put a seat out of the round; the last side that is left wins."""
        out = Event("out", {"seat": seat, "how": how})
        s = s.with_(out=(*s.out, seat))
        return Step(s, (out,)).then(_without, self, seat, how, now)

    def timed_out(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player's time is up; see `on_timeout`."""
        if self.on_timeout == "forfeit":
            return self.put_out(s, seat, "timeout", now)
        if self.on_timeout == "bot":
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
        return self.new_round(s, 0.0)

    def act(self, s: S, seat: int, action: A, now: float) -> S | Step[S]:
        """Let a player act whose turn it is, or ask for a rematch."""
        if isinstance(action, Rematch):
            return _ask(s, self, seat, now)
        if seat != s.turn and seat not in s.waiting:
            raise _not_now(s, seat)
        if self.phases and not isinstance(action, self.phases[s.phase]):
            raise Rejected("wrong_phase", f"not while the phase is {s.phase!r}")
        return self.play(s, seat, action, now)

    def deadline(self, s: S) -> float | None:
        """End a turn when its time is up."""
        return s.due

    def advance(self, s: S, now: float) -> S | Step[S]:
        """The time of those who should have acted is up."""
        slow = [seat for seat in _acting(s) if seat not in s.gone]
        step = Step(s, tuple(Event("timed_out", {"seat": seat}) for seat in slow))
        if self.on_timeout == "forfeit" and 1 < len(slow) == len(self.playing(s)):
            # All are late at the same time: nobody of them is first.
            return step.then(self.draw, "timeout")
        for seat in _acting(s):
            after = step.state
            if after.due != s.due or seat not in _acting(after):
                break
            if seat in s.gone:
                step = step.then(_act_for, self, seat, now)
            else:
                step = step.then(self.timed_out, seat, now)
        if step.state.due == s.due:
            # Something was done, but not all: there is as much time again.
            step = step.then(_timed_anew, self, now)
        return step

    def joined(self, s: S, seat: int, now: float, newcomer: Seat) -> S | Step[S]:
        """
        A newcomer watches until the next round, or takes over from `choose`.

        A game with fields by seat of its own sets those of the newcomer, too.
        """
        team = () if newcomer.team is None else (newcomer.team,)
        if seat == len(s.wins):
            bank = (*s.bank, 0.0) if s.bank else ()
            return s.with_(wins=(*s.wins, 0), bank=bank, teams=(*s.teams, *team))
        was_bots = s.phase != OVER and seat in self.playing(s)
        was_hurried = seat in _acting(s) and set(_acting(s)) <= set(s.gone)
        s = s.with_(
            wins=put(s.wins, seat, 0),
            teams=put(s.teams, seat, *team) if team else (),
            gone=tuple(one for one in s.gone if one != seat),
        )
        if was_bots:
            return _timed_anew(s, self, now) if was_hurried else s
        # What its former player did in this round is not the newcomer's.
        out = tuple(one for one in s.out if one != seat)
        return s.with_(order=tuple(one for one in s.order if one != seat), out=out)

    def left(self, s: S, seat: int, now: float) -> S | Step[S]:
        """A player has left; see `on_leave`."""
        was_playing = s.phase != OVER and seat in self.playing(s)
        rematch = tuple(one for one in s.rematch if one != seat)
        s = s.with_(gone=(*s.gone, seat), rematch=rematch)
        if s.phase == OVER and _is_enough(s, self) and is_agreed(rematch, _here(s), 1):
            # The others were waiting for this one.
            return self.new_round(s, now)
        if not was_playing:
            return s
        if self.on_leave == "forfeit":
            return self.put_out(s, seat, "left", now)
        if self.on_leave == "bot":
            return _hurried(s, self, now)
        return _without(s, self, seat, "left", now)

    def outcome(self, s: S) -> Outcome | None:
        """Return the places and scores of a round that is over."""
        if s.phase != OVER:
            return None
        return Outcome(s.round, s.places, self.scores(s))

    def turns(self, s: S) -> tuple[int, ...]:
        """Return the seats that everybody waits for."""
        return _acting(s)

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any, level: str = ""
    ) -> Any:
        """Agree to every rematch, and never ask first; `choose` plays."""
        if view["phase"] == OVER:
            return agree(view["rematch"], seat)
        if seat != view["turn"] and seat not in view["waiting"]:
            return None
        more = (level,) if self.levels else ()
        return self.choose(view, seat, chance, setup, *more)


def _in_turns(s: TurnState) -> tuple[int, ...]:
    """Return all seats so that teams take turns."""
    seats = range(len(s.wins))
    if not s.teams:
        return tuple(seats)
    rank = [s.teams[:seat].count(s.teams[seat]) for seat in seats]
    return tuple(sorted(seats, key=lambda seat: (rank[seat], s.teams[seat])))


def _following(order: tuple[int, ...], seat: int, among: Collection[int]) -> int:
    """Return the first of some seats that comes after a seat, around the table."""
    at = order.index(seat) + 1 if seat in order else 0
    return next(one for one in (*order[at:], *order[:at]) if one in among)


def _here(s: TurnState) -> tuple[int, ...]:
    """Return the seats whose players have not left for good."""
    return tuple(seat for seat in range(len(s.wins)) if seat not in s.gone)


def _ask(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Note that a seat wants another round; it begins once all who are here do."""
    if s.phase != OVER:
        raise Rejected("round_runs", "this round is not over yet")
    if not _is_enough(s, game):
        raise Rejected("alone", "too many players have left for another round")
    if seat in s.rematch:
        return s
    s = s.with_(rematch=tuple(sorted((*s.rematch, seat))))
    if is_agreed(s.rematch, _here(s), 1):
        return game.new_round(s, now)
    return Step(s, (Event("asked", {"seat": seat}),))


def _is_enough(s: TurnState, game: TurnGame[Any, Any]) -> bool:
    """Are there players enough for another round, and not of one team alone?"""
    here, options = _here(s), getattr(s, "options", None)
    fewest, _ = game.seats if options is None else game.seats_for(options)
    teams = {s.teams[seat] for seat in here} if s.teams else set()
    return len(here) >= fewest and (len(teams) != 1 or len(set(s.teams)) == 1)


def _side(s: TurnState, seat: int) -> tuple[int, ...]:
    """Return the seats of this round that win with this one."""
    if not s.teams:
        return (seat,)
    return tuple(one for one in s.order if s.teams[one] == s.teams[seat])


def _ranked(s: TurnState, first: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...]:
    """Rank all but the first: those who are not out, then who was out last."""
    behind = [seat for seat in s.order if seat not in first]
    if not s.out:
        return (tuple(sorted(behind)),)
    sides = {_side(s, seat) for seat in behind}
    out = {side for side in sides if set(side) <= set(s.out)}
    last = sorted(out, key=lambda side: -max(map(s.out.index, side)))
    return tuple(sorted(seat for side in sides - out for seat in side)), *last


def _without(
    s: S, game: TurnGame[S, Any], seat: int, how: str, now: float
) -> S | Step[S]:
    """Go on without a seat, or end the round if one side is left of several."""
    left = {_side(s, one) for one in game.playing(s)}
    if not left:
        return game.finish(s, ((), *_ranked(s)), how)
    if len(left) == 1 and len({_side(s, one) for one in s.order}) > 1:
        return game.win(s, left.pop()[0], how)
    return _passed(s, game, seat, now)


def _blank(s: S, game: TurnGame[S, Any]) -> S:
    """Forget what belongs to a turn only."""
    state: Any = game.state
    return s.with_(**_defaults(state, game.per_turn))


@cache
def _defaults(state: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what fields of a state are when a round begins."""
    blank = state(chance=Chance(0))
    return {name: getattr(blank, name) for name in names}


def _acting(s: TurnState) -> tuple[int, ...]:
    return s.waiting or (() if s.turn is None else (s.turn,))


def _not_now(s: TurnState, seat: int) -> Rejected:
    """Say why a seat can't act."""
    if s.phase == OVER:
        return Rejected("round_over", "this round is over; ask for a rematch")
    if seat in s.out:
        return Rejected("out", "you are out of this round")
    if seat not in s.order:
        return Rejected("watching", "you play from the next round on")
    whom = "the others" if s.waiting else "your turn"
    return Rejected("not_your_turn", f"wait for {whom}")


def _passed(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Wait no longer for a seat."""
    if seat in s.waiting:
        return game.done(s, seat, now)
    return game.next_turn(s, now) if seat == s.turn else s


def _timed(
    s: S,
    game: TurnGame[S, Any],
    now: float,
    turn: int | None,
    waiting: tuple[int, ...] = (),
) -> S:
    """Let these seats act next, and set the time for it."""
    if s.gone and set(waiting or (turn,)) <= set(s.gone):
        due: float | None = now + game.bot_seconds
    else:
        seconds = game.time_for(s, turn)
        due = None if seconds is None else now + seconds
    if s.bank:
        s = _spent(s, now)
        if due is not None and turn is not None and turn not in s.gone:
            due += s.bank[turn]
    return s.with_(turn=turn, waiting=waiting, due=due)


def _timed_anew(s: S, game: TurnGame[S, Any], now: float) -> S:
    return _timed(s, game, now, s.turn, s.waiting)


def _hurried(s: S, game: TurnGame[S, Any], now: float) -> S:
    """Let `choose` act soon if the round waits for nobody else."""
    return _timed_anew(s, game, now) if set(_acting(s)) <= set(s.gone) else s


def _spent(s: S, now: float) -> S:
    """Take what a turn needed beyond its own time from the seat's bank."""
    if not s.bank or s.turn is None or s.due is None or s.turn in s.gone:
        return s
    left = min(s.bank[s.turn], max(0.0, s.due - now))
    return s.with_(bank=put(s.bank, s.turn, left))


def _act_for(s: S, game: TurnGame[S, Any], seat: int, now: float) -> S | Step[S]:
    """Play one action that `choose` finds; without one the turn passes."""
    _, chance = s.chance.draw()
    s = s.with_(chance=chance)
    seen = (game.view(s, game.audience(s, seat)), game.setup(s))
    view, setup = msgpack.decode(msgpack.encode(seen))
    action = game.choose(view, seat, chance.fork("bot"), setup, *game.levels[-1:])
    if action is not None:
        with suppress(Rejected):
            return game.act(s, seat, action, now)
    return _passed(s, game, seat, now)
