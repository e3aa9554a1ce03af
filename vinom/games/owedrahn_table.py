"""The table of owe drahn: what it holds, what players may ask, what they see."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from msgspec import Meta, Struct

from vinom.game import Chance, Event

#: Most that a stake or a bet may be.
MOST_MONEY = 1000

Phase = Literal["waiting", "playing", "over"]
Status = Literal["watching", "alive", "out", "gone"]

Number = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]


class DrahnOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    Lives, stake, and the time for each turn.

    :ivar lives: of each player, at the start of a round.
    :ivar stake: what each loser pays to the winner, until the host changes it.
    :ivar turn_seconds: how long a player may think about each action.
    :ivar ready_seconds: how long a round waits, once two are ready, for the
        others; who is not ready then watches.
    """

    lives: Annotated[int, Meta(ge=1, le=20)] = 6
    stake: Annotated[int, Meta(ge=0, le=MOST_MONEY)] = 1
    turn_seconds: Annotated[float, Meta(ge=3, le=600)] = 20.0
    ready_seconds: Annotated[float, Meta(ge=3, le=600)] = 60.0


class Ready(Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """Be ready for the next round, or no longer."""

    ready: bool = True


class SetStake(Struct, frozen=True, forbid_unknown_fields=True, tag="set_stake"):
    """Change the main stake; for the host, before the start."""

    stake: Annotated[int, Meta(ge=0, le=MOST_MONEY)]


class Roll(Struct, frozen=True, forbid_unknown_fields=True, tag="roll"):
    """Roll the die."""


class LoseLife(Struct, frozen=True, forbid_unknown_fields=True, tag="lose_life"):
    """Give a life instead of rolling, and choose who is next."""


class ChooseNext(Struct, frozen=True, forbid_unknown_fields=True, tag="choose_next"):
    """Name who is next; for who has just given a life."""

    seat: Number


class ProposeBet(Struct, frozen=True, forbid_unknown_fields=True, tag="propose_bet"):
    """Offer another player a side bet."""

    to: Number
    amount: Annotated[int, Meta(ge=1, le=MOST_MONEY)]


class AcceptBet(Struct, frozen=True, forbid_unknown_fields=True, tag="accept_bet"):
    """Agree to a bet that one was offered."""

    bet: Number


class DeclineBet(Struct, frozen=True, forbid_unknown_fields=True, tag="decline_bet"):
    """Say no to a bet that one was offered."""

    bet: Number


class CancelBet(Struct, frozen=True, forbid_unknown_fields=True, tag="cancel_bet"):
    """Take an offer back that nobody has answered."""

    bet: Number


Betting = ProposeBet | AcceptBet | DeclineBet | CancelBet
Action = Ready | SetStake | Roll | LoseLife | ChooseNext | Betting


class DrahnSetup(Struct, frozen=True):
    """
    What never changes.

    :ivar limit: a total above it is out.
    """

    lives: int
    limit: int
    turn_seconds: float
    ready_seconds: float


class BetView(Struct, frozen=True):
    """
    One side bet.

    :ivar id: counted from 1, in this room.
    :ivar by: the seat that offers it.
    :ivar to: the seat that is asked.
    """

    id: int
    by: int
    to: int
    amount: int
    agreed: bool


class DrahnView(Struct, frozen=True):
    """
    What everybody sees.

    :ivar round: of the latest that began; 0 before the first.
    :ivar turn: who plays; ``None`` unless a round is played.
    :ivar choosing: must this player name who is next?
    :ivar due: match time at which something happens by itself, seconds: the
        player's patience ends, the round begins, or the table resets.
    :ivar order: the seats in the order of their joining, without leavers.
    :ivar ready: for each seat; what is listed so are the next four, too.
    :ivar departed: the balance of leavers whose seat was taken by others.
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
    bets: tuple[BetView, ...]
    winner: int | None


@attrs.frozen
class Place:
    """
    One seat.

    :ivar balance: won so far; negative is lost.
    """

    status: Status = "watching"
    ready: bool = False
    lives: int = 0
    balance: int = 0


@attrs.frozen
class Bet:
    """A side bet; the fields are those of its view."""

    id: int
    by: int
    to: int
    amount: int
    agreed: bool = False


@attrs.frozen
class DrahnState:
    """
    A moment at the table; fields that a view shows mean what they mean there.

    :ivar lives: of each player, at the start of a round.
    :ivar next_bet: the next bet's id.
    :ivar out: who is out in this round, the first first.
    :ivar debtors: leavers of this round whose seat was taken by others, and who
        pay the stake all the same.
    """

    lives: int
    turn_seconds: float
    ready_seconds: float
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
    place = attrs.evolve(s.places[seat], **changes)
    return attrs.evolve(s, places=(*s.places[:seat], place, *s.places[seat + 1 :]))


def alive(s: DrahnState) -> tuple[int, ...]:
    """Name the living, in join order."""
    return tuple(seat for seat in s.order if s.places[seat].status == "alive")


def show(s: DrahnState) -> DrahnView:
    """Show all but chance."""
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
        bets=tuple(
            BetView(bet.id, bet.by, bet.to, bet.amount, bet.agreed) for bet in s.bets
        ),
        winner=s.winner,
    )
