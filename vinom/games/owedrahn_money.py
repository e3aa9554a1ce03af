"""
The money of owe drahn: stakes and side bets.

What one player gets another pays in the same step, so all balances, with those of
players who left, always add up to 0.
"""

from __future__ import annotations

from msgspec.structs import replace

from vinom.game import Event, Rejected
from vinom.games.owedrahn_table import (
    AcceptBet,
    Bet,
    Betting,
    CancelBet,
    DeclineBet,
    DrahnState,
    Happened,
    ProposeBet,
    with_place,
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
