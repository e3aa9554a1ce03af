"""The actions, views, options and state of owe drahn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Chance, Event

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
