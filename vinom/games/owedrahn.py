"""
Owe drahn: a player who takes the shared total above 15 is out; the last player wins.

On a turn a player rolls a die, which adds to the total (a 3 adds nothing), or gives a
life, which resets the total to 0 and lets the player choose who is next. Each loser
pays the winner the stake; a side bet is paid by the player who is out first. Then the
table resets for the next round. Balances last as long as the room.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Seat, Step, Table

#: Highest stake or bet.
MOST_MONEY = 1000

Phase = Literal["waiting", "playing", "over"]
Status = Literal["watching", "alive", "out", "gone"]

Number = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class DrahnOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Lives, stake, and the time for each turn.

    :ivar stake: what each loser pays the winner, until the host changes it.
    :ivar turn_seconds: time for each action.
    :ivar ready_seconds: once two players are ready, how long the round waits for the
        others; a player who is not ready then watches.
    """

    lives: Annotated[int, Meta(ge=1, le=20)] = 6
    stake: Annotated[int, Meta(ge=0, le=MOST_MONEY)] = 1
    turn_seconds: Annotated[float, Meta(ge=3, le=600)] = 20.0
    ready_seconds: Annotated[float, Meta(ge=3, le=600)] = 60.0


class Ready(Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """Be ready for the next round, or stop being ready."""

    ready: bool = True


class SetStake(Struct, frozen=True, forbid_unknown_fields=True, tag="set_stake"):
    """Change the main stake; only the host may, before the start."""

    stake: Annotated[int, Meta(ge=0, le=MOST_MONEY)]


class Roll(Struct, frozen=True, forbid_unknown_fields=True, tag="roll"):
    """Roll the die."""


class LoseLife(Struct, frozen=True, forbid_unknown_fields=True, tag="lose_life"):
    """Give a life instead of rolling, and choose who is next."""


class ChooseNext(Struct, frozen=True, forbid_unknown_fields=True, tag="choose_next"):
    """Choose who is next, after giving a life."""

    seat: Number


class ProposeBet(Struct, frozen=True, forbid_unknown_fields=True, tag="propose_bet"):
    """Offer another player a side bet."""

    to: Number
    amount: Annotated[int, Meta(ge=1, le=MOST_MONEY)]


class AcceptBet(Struct, frozen=True, forbid_unknown_fields=True, tag="accept_bet"):
    """Agree to a bet that you were offered."""

    bet: Number


class DeclineBet(Struct, frozen=True, forbid_unknown_fields=True, tag="decline_bet"):
    """Decline a bet that you were offered."""

    bet: Number


class CancelBet(Struct, frozen=True, forbid_unknown_fields=True, tag="cancel_bet"):
    """Cancel your offer of a bet, while it has no answer."""

    bet: Number


Betting = ProposeBet | AcceptBet | DeclineBet | CancelBet
Action = Ready | SetStake | Roll | LoseLife | ChooseNext | Betting


class DrahnSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar limit: a player who takes the total above this is out.
    """

    lives: int
    limit: int
    turn_seconds: float
    ready_seconds: float


class Bet(Struct, frozen=True):
    """
    One side bet.

    :ivar id: counted from 1 in this room.
    :ivar by: the seat that offered it.
    :ivar to: the seat that was asked.
    :ivar agreed: has it been accepted?
    """

    id: int
    by: int
    to: int
    amount: int
    agreed: bool = False


class DrahnView(Struct, frozen=True):
    """
    What players and spectators see.

    :ivar round: number of the latest round that began; 0 before the first.
    :ivar turn: the seat whose turn it is; ``None`` unless a round is being played.
    :ivar choosing: must this player choose who is next?
    :ivar due: match time at which something happens by itself, seconds: the
        turn ends, the round begins, or the table resets.
    :ivar order: the seats in join order, without players who left.
    :ivar ready: by seat, like ``status``, ``lives`` and ``balances``.
    :ivar departed: total balance of players who left and whose seats others have taken.
    """

    phase: Phase
    round: int
    host: int
    stake: int
    total: int
    turn: int | None
    choosing: bool
    due: float | None
    order: tuple[int, ...]
    ready: tuple[bool, ...]
    status: tuple[Status, ...]
    lives: tuple[int, ...]
    balances: tuple[int, ...]
    departed: int
    bets: tuple[Bet, ...]
    winner: int | None


class Place(Struct, frozen=True):
    """
    One seat.

    :ivar balance: won so far; negative is lost.
    """

    status: Status = "watching"
    ready: bool = False
    lives: int = 0
    balance: int = 0


class DrahnState(Struct, frozen=True):
    """
    A moment at the table; fields that are also in a view are described there.

    :ivar next_bet: id of the next bet.
    :ivar out: the seats that are out in this round, in order.
    :ivar debtors: number of players who left in this round and whose seats others have
        taken; they still pay the stake.
    """

    setup: DrahnSetup
    chance: Chance
    host: int
    stake: int
    places: tuple[Place, ...]
    order: tuple[int, ...]
    phase: Phase = "waiting"
    round: int = 0
    total: int = 0
    turn: int | None = None
    choosing: bool = False
    due: float | None = None
    bets: tuple[Bet, ...] = ()
    next_bet: int = 1
    out: tuple[int, ...] = ()
    debtors: int = 0
    winner: int | None = None
    departed: int = 0


Happened = tuple[DrahnState, tuple[Event, ...]]


def with_place(s: DrahnState, seat: int, **changes: Any) -> DrahnState:
    """Change some facts of one seat."""
    place = replace(s.places[seat], **changes)
    return replace(s, places=(*s.places[:seat], place, *s.places[seat + 1 :]))


def alive(s: DrahnState) -> tuple[int, ...]:
    """List the players who are alive, in join order."""
    return tuple(seat for seat in s.order if s.places[seat].status == "alive")


def show(s: DrahnState) -> DrahnView:
    """Show everything except the chance."""
    return DrahnView(
        phase=s.phase,
        round=s.round,
        host=s.host,
        stake=s.stake,
        total=s.total,
        turn=s.turn,
        choosing=s.choosing,
        due=s.due,
        order=s.order,
        ready=tuple(place.ready for place in s.places),
        status=tuple(place.status for place in s.places),
        lives=tuple(place.lives for place in s.places),
        balances=tuple(place.balance for place in s.places),
        departed=s.departed,
        bets=s.bets,
        winner=s.winner,
    )


#: Most bets that one player may have offered at a time, answered or not.
MOST_BETS = 2


def bet(s: DrahnState, seat: int, action: Betting) -> Happened:
    """
    Offer, answer or cancel a bet, before the start.

    :raises Rejected: the rules forbid it.
    """
    if s.phase != "waiting":
        raise Rejected("too_late", "side bets can only be made before the start")
    if isinstance(action, ProposeBet):
        return _propose(s, seat, action)
    found = next((one for one in s.bets if one.id == action.bet), None)
    if found is None or found.agreed:
        raise Rejected("no_such_bet", f"no bet {action.bet} is waiting for an answer")
    owner = found.by if isinstance(action, CancelBet) else found.to
    if seat != owner:
        raise Rejected("not_yours", "only the other player of this bet can do this")
    match action:
        case AcceptBet():
            agreed = replace(found, agreed=True)
            bets = tuple(agreed if one is found else one for one in s.bets)
            return replace(s, bets=bets), (_bet_event("bet_accepted", found),)
        case DeclineBet():
            return _without(s, (found,)), (_bet_event("bet_declined", found),)
        case CancelBet():
            return _without(s, (found,)), (_bet_event("bet_cancelled", found),)


def _propose(s: DrahnState, seat: int, action: ProposeBet) -> Happened:
    if action.to not in s.order:
        raise Rejected("not_here", "this player has left")
    if action.to == seat:
        raise Rejected("with_yourself", "you cannot bet with yourself")
    if sum(one.by == seat for one in s.bets) >= MOST_BETS:
        raise Rejected("too_many_bets", f"you have offered {MOST_BETS} bets already")
    offered = Bet(s.next_bet, seat, action.to, action.amount)
    s = replace(s, bets=(*s.bets, offered), next_bet=s.next_bet + 1)
    return s, (_bet_event("bet_proposed", offered),)


def void_bets(s: DrahnState, *, without: int | None = None) -> Happened:
    """
    Drop bets that nobody can win.

    :param without: a seat that has left. Without one a round begins: only agreed bets
        between two of its players stay.
    """
    if without is not None:
        void = [one for one in s.bets if without in (one.by, one.to)]
    else:
        playing = [place.status == "alive" for place in s.places]
        void = [
            one
            for one in s.bets
            if not (one.agreed and playing[one.by] and playing[one.to])
        ]
    if not void:
        return s, ()
    return _without(s, tuple(void)), tuple(_bet_event("bet_void", one) for one in void)


def settle_bets(s: DrahnState, loser: int) -> Happened:
    """Let a player who is out pay the bets with players who are not."""
    mine = tuple(one for one in s.bets if loser in (one.by, one.to))
    events = []
    for one in mine:
        winner = one.to if one.by == loser else one.by
        s = _pay(s, loser, winner, one.amount)
        facts = {"why": "bet", "from": [loser], "to": winner, "amount": one.amount}
        events.append(Event("paid", facts))
    return (_without(s, mine) if mine else s), tuple(events)


def pay_stakes(s: DrahnState, winner: int) -> Happened:
    """Let each loser of the round pay the winner, also those who have left."""
    if not s.stake:
        return s, ()
    for loser in s.out:
        s = _pay(s, loser, winner, s.stake)
    owed = s.debtors * s.stake
    s = with_place(s, winner, balance=s.places[winner].balance + owed)
    s = replace(s, departed=s.departed - owed)
    facts = {"why": "stake", "from": s.out, "to": winner, "amount": s.stake}
    return s, (Event("paid", facts),)


def _pay(s: DrahnState, loser: int, winner: int, amount: int) -> DrahnState:
    s = with_place(s, loser, balance=s.places[loser].balance - amount)
    return with_place(s, winner, balance=s.places[winner].balance + amount)


def _without(s: DrahnState, bets: tuple[Bet, ...]) -> DrahnState:
    return replace(s, bets=tuple(one for one in s.bets if one not in bets))


def _bet_event(kind: str, one: Bet) -> Event:
    facts = {"bet": one.id, "by": one.by, "to": one.to, "amount": one.amount}
    return Event(kind, facts)


#: A player who takes the total above this is out.
LIMIT = 15
#: The face that adds nothing.
_NOTHING = 3
#: Time from the end of a round until the table resets, seconds.
RESET_SECONDS = 5.0
#: At this total or more the bot gives a life: half of the die's faces would lose.
_TOO_MUCH = 12


class OweDrahn(Game[DrahnState, Action]):
    """The rules."""

    name = "owedrahn"
    title = "Owe drahn"
    about = "Push the total towards 15, and make someone else go over it."
    rules = """
    On your turn roll the die: it adds to the total that all share, and a 3 adds
    nothing. A player who takes the total above 15 is out; the last player left wins.

    Instead of rolling you may give a life: that resets the total to 0, and you choose
    who is next.

    Each loser pays the winner the stake. A side bet is paid by the player who is out
    first.
    """
    icon = "/boards/owedrahn.svg"
    board = "/boards/owedrahn.js"
    actions = Action
    options = DrahnOptions
    seats = (2, 16)
    late_join = True
    # More than RESET_SECONDS.
    linger = 10.0
    time_limit = 8 * 3600.0

    def start(self, table: Table) -> DrahnState:
        """Set up the table; nobody is ready yet."""
        options = table.options
        return DrahnState(
            setup=DrahnSetup(
                options.lives,
                LIMIT,
                options.turn_seconds,
                options.ready_seconds,
            ),
            chance=table.chance,
            host=table.host,
            stake=options.stake,
            places=(Place(),) * len(table.seats),
            order=tuple(range(len(table.seats))),
        )

    def act(
        self, s: DrahnState, seat: int, action: Action, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Play; before the start, set the stake and make bets."""
        match action:
            case Ready():
                return _step(s, _ready(s, seat, action.ready, now))
            case SetStake():
                return _step(s, _set_stake(s, seat, action.stake))
            case Roll() | LoseLife() | ChooseNext():
                return _step(s, _play(s, seat, action, now))
            case _:
                return _step(s, bet(s, seat, action))

    def deadline(self, s: DrahnState) -> float | None:
        """End a turn, begin a round, or reset the table."""
        return s.due

    def advance(self, s: DrahnState, now: float) -> DrahnState | Step[DrahnState]:
        """
        Continue without a player who is too slow.

        The die is rolled for a player who does not roll; a player who does not choose
        is followed by the next in order; a player who is not ready watches.
        """
        if s.phase == "over":
            return _step(s, _reset(s))
        if s.turn is None:
            return _step(s, _begin(s, now))
        slow = Event("timed_out", {"seat": s.turn})
        if s.choosing:
            after, events = _choose(s, s.turn, _next_after(s, s.turn), now)
        else:
            after, events = _roll(s, s.turn, now)
        return Step(after, (slow, *events))

    def joined(
        self, s: DrahnState, seat: int, now: float, newcomer: Seat
    ) -> DrahnState | Step[DrahnState]:
        """Let a newcomer wait with the others, or watch until the next round."""
        if seat == len(s.places):
            s = replace(s, places=(*s.places, Place()))
        else:
            # The seat's former player keeps a balance, and still owes the stake.
            owes = s.phase == "playing" and seat in s.out
            s = replace(
                s,
                departed=s.departed + s.places[seat].balance,
                debtors=s.debtors + owes,
                out=tuple(one for one in s.out if one != seat),
            )
            s = with_place(s, seat, status="watching", ready=False, lives=0, balance=0)
        host = s.host if s.order else seat
        s = replace(s, order=(*s.order, seat), host=host)
        return _step(s, _wait(s, now))

    def left(
        self, s: DrahnState, seat: int, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Put a player who leaves out of the round; the balance leaves too."""
        before = s
        events: tuple[Event, ...] = ()
        is_playing = s.phase == "playing" and s.places[seat].status == "alive"
        if is_playing:
            s, events = _put_out(s, seat, "left", now)
        if s.phase == "waiting":
            s, events = void_bets(s, without=seat)
        order = tuple(one for one in s.order if one != seat)
        host = order[0] if seat == s.host and order else s.host
        s = replace(with_place(s, seat, status="gone", ready=False))
        s = replace(s, order=order, host=host)
        s, more = _wait(s, now)
        return _step(before, (s, (*events, *more)))

    def setup(self, s: DrahnState) -> DrahnSetup:
        """Show the options that nobody can change."""
        return s.setup

    def view(self, s: DrahnState, audience: Hashable) -> DrahnView:
        """Show everything except the chance."""
        return show(s)

    def outcome(self, s: DrahnState) -> Outcome | None:
        """Rank the last player alive first, then the last one out, and so on."""
        if s.winner is None:
            return None
        places = ((s.winner,), *((seat,) for seat in reversed(s.out)))
        return Outcome(s.round, places, tuple(place.balance for place in s.places))

    def bot(self, view: Any, seat: int, chance: Chance, setup: Any) -> Action | None:
        """Be ready, decline bets, roll; give a life if half of the faces would lose."""
        if view["phase"] == "waiting":
            for one in view["bets"]:
                if one["to"] == seat and not one["agreed"]:
                    return DeclineBet(one["id"])
            return None if view["ready"][seat] else Ready()
        if view["phase"] == "over" or view["turn"] != seat:
            return None
        if view["choosing"]:
            others = [
                one
                for one in view["order"]
                if one != seat and view["status"][one] == "alive"
            ]
            return ChooseNext(others[chance.below(len(others))[0]])
        gives = view["total"] >= _TOO_MUCH and view["lives"][seat] > 1
        return LoseLife() if gives else Roll()


def _step(before: DrahnState, happened: Happened) -> DrahnState | Step[DrahnState]:
    s, events = happened
    return Step(s, events) if events else s


# Before the start.


def _ready(s: DrahnState, seat: int, is_ready: bool, now: float) -> Happened:
    if s.phase != "waiting":
        raise Rejected("not_waiting", "wait until the table has reset")
    if s.places[seat].ready == is_ready:
        return s, ()
    return _wait(with_place(s, seat, ready=is_ready), now)


def _set_stake(s: DrahnState, seat: int, stake: int) -> Happened:
    if seat != s.host:
        raise Rejected("not_host", f"only the host, seat {s.host}, can set the stake")
    if s.phase != "waiting":
        raise Rejected("not_waiting", "the stake can only be set before the start")
    if stake == s.stake:
        return s, ()
    # Nobody should play for a stake they have not seen.
    places = tuple(replace(place, ready=False) for place in s.places)
    s = replace(s, stake=stake, places=places, due=None)
    return s, (Event("stake_set", {"stake": stake}),)


def _wait(s: DrahnState, now: float) -> Happened:
    """Begin if all players are ready, or set how long to wait for the others."""
    if s.phase != "waiting":
        return s, ()
    ready = sum(s.places[seat].ready for seat in s.order)
    if ready < 2:
        return (replace(s, due=None) if s.due is not None else s), ()
    if ready == len(s.order):
        return _begin(s, now)
    if s.due is None:
        return replace(s, due=now + s.setup.ready_seconds), ()
    return s, ()


def _begin(s: DrahnState, now: float) -> Happened:
    """Begin a round with all players who are ready."""
    players = tuple(seat for seat in s.order if s.places[seat].ready)
    for seat in players:
        s = with_place(s, seat, status="alive", lives=s.setup.lives)
    first, chance = s.chance.below(len(players))
    s, events = void_bets(s)
    s = replace(
        s,
        phase="playing",
        round=s.round + 1,
        chance=chance,
        turn=players[first],
        due=now + s.setup.turn_seconds,
    )
    facts = {"round": s.round, "players": players, "starter": s.turn, "stake": s.stake}
    return s, (*events, Event("began", facts))


def _reset(s: DrahnState) -> Happened:
    """Clear the table for the next round; keep balances and the stake."""
    s = replace(
        s,
        phase="waiting",
        total=0,
        due=None,
        out=(),
        debtors=0,
        winner=None,
        places=tuple(
            replace(
                place,
                status="gone" if place.status == "gone" else "watching",
                ready=False,
                lives=0,
            )
            for place in s.places
        ),
    )
    return s, (Event("reset"),)


# A round.


def _play(
    s: DrahnState, seat: int, action: Roll | LoseLife | ChooseNext, now: float
) -> Happened:
    if s.phase != "playing":
        raise Rejected("not_playing", "no round is being played")
    if seat != s.turn:
        raise Rejected("not_your_turn", "wait for your turn")
    if isinstance(action, ChooseNext):
        if not s.choosing:
            raise Rejected("not_choosing", "you can choose after giving a life")
        if action.seat not in alive(s):
            raise Rejected(
                "not_living", f"choose a player who is alive, one of {list(alive(s))}"
            )
        return _choose(s, seat, action.seat, now)
    if s.choosing:
        raise Rejected("must_choose", "choose who is next first")
    if isinstance(action, Roll):
        return _roll(s, seat, now)
    lives = s.places[seat].lives - 1
    if not lives:
        raise Rejected("last_life", "you cannot give your last life")
    s = with_place(s, seat, lives=lives)
    s = replace(s, total=0, choosing=True, due=now + s.setup.turn_seconds)
    return s, (Event("lost_life", {"seat": seat, "lives": lives}),)


def _choose(s: DrahnState, seat: int, chosen: int, now: float) -> Happened:
    s = replace(s, turn=chosen, choosing=False, due=now + s.setup.turn_seconds)
    return s, (Event("chose", {"seat": seat, "next": chosen}),)


def _roll(s: DrahnState, seat: int, now: float) -> Happened:
    face, chance = s.chance.below(6)
    die = face + 1
    total = s.total + (0 if die == _NOTHING else die)
    rolled = Event("rolled", {"seat": seat, "die": die, "total": total})
    s = replace(s, chance=chance)
    if total > LIMIT:
        s, events = _put_out(s, seat, "rolled", now)
        return s, (rolled, *events)
    s = replace(
        s, total=total, turn=_next_after(s, seat), due=now + s.setup.turn_seconds
    )
    return s, (rolled,)


def _next_after(s: DrahnState, seat: int) -> int:
    """Find the next player alive, in join order."""
    at = s.order.index(seat)
    around = (*s.order[at + 1 :], *s.order[: at + 1])
    return next(one for one in around if s.places[one].status == "alive")


def _put_out(s: DrahnState, seat: int, why: str, now: float) -> Happened:
    """Put a player out, who pays bets; on the player's turn the total resets."""
    s = with_place(s, seat, status="out", lives=0)
    s, paid = settle_bets(replace(s, out=(*s.out, seat)), seat)
    events = (Event("out", {"seat": seat, "why": why}), *paid)
    living = alive(s)
    if len(living) == 1:
        s, more = _finish(s, living[0], now)
        return s, (*events, *more)
    if seat == s.turn:
        s = replace(
            s,
            total=0,
            choosing=False,
            turn=_next_after(s, seat),
            due=now + s.setup.turn_seconds,
        )
    return s, events


def _finish(s: DrahnState, winner: int, now: float) -> Happened:
    s, paid = pay_stakes(s, winner)
    s = replace(
        s,
        phase="over",
        total=0,
        turn=None,
        choosing=False,
        winner=winner,
        due=now + RESET_SECONDS,
    )
    return s, (Event("ended", {"winner": winner, "round": s.round}), *paid)
