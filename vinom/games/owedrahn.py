"""
Owe drahn: push the total towards 15, and make someone else go over it.

On your turn roll the die: it adds to the total that all share, and a 3 adds
nothing. A player who takes the total above 15 is out; the last player left wins.

Instead of rolling you may give a life: that resets the total to 0, and you choose
who is next.

Each loser pays the winner the stake. A side bet is paid by the player who is out
first.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import asdict

from vinom.game import Chance, Event, Rejected, Seat, State, Step, Table, put
from vinom.turns import OVER, TurnGame, TurnState

#: Highest stake or bet.
MOST_MONEY = 1000

#: The phase between the reset of the table and the next round.
WAITING = "waiting"
#: A player who takes the total above this is out.
LIMIT = 15
#: The face that adds nothing.
_NOTHING = 3
#: Most bets that one player may have offered at a time, answered or not.
MOST_BETS = 2
#: Time from the end of a round until the table resets, seconds.
RESET_SECONDS = 5.0
#: At this total or more the bot gives a life: half of the die's faces would lose.
_TOO_MUCH = 12

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


class DrahnSetup(DrahnOptions, frozen=True):
    """
    The options, and a rule.

    :ivar limit: a player who takes the total above this is out.
    """

    limit: int = LIMIT


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
Playing = Roll | LoseLife | ChooseNext
Action = Ready | SetStake | Playing | Betting


class Bet(State, frozen=True):
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


class DrahnState(TurnState, frozen=True):
    """
    A moment at the table; in ``rematch`` are the seats that are ready.

    :ivar host: the seat that sets the stake.
    :ivar stake: what each loser pays the winner.
    :ivar total: of the table.
    :ivar choosing: must the player whose turn it is choose who is next?
    :ivar here: the seats in join order, without players who left.
    :ivar lives: by seat.
    :ivar balances: by seat, won so far; negative is lost.
    :ivar departed: total balance of players who left and whose seats others have taken.
    :ivar debtors: number of players who left in this round and whose seats others have
        taken; they still pay the stake.
    :ivar bets: the side bets.
    :ivar next_bet: id of the next bet.
    """

    options: DrahnOptions = DrahnOptions()
    host: int = 0
    stake: int = 0
    total: int = 0
    choosing: bool = False
    here: tuple[int, ...] = ()
    lives: tuple[int, ...] = ()
    balances: tuple[int, ...] = ()
    departed: int = 0
    debtors: int = 0
    bets: tuple[Bet, ...] = ()
    next_bet: int = 1


class OweDrahn(TurnGame[DrahnState, Playing]):
    """The rules. Balances last as long as the room."""

    name = "owedrahn"
    title = "Owe drahn"
    icon = "/boards/owedrahn.svg"
    board = "/boards/owedrahn.js"
    actions = Action
    options = DrahnOptions
    seats = (2, 16)
    late_join = True
    schema = 2
    kept = ("host", "stake", "here", "balances", "departed", "bets", "next_bet")
    per_turn = ("choosing",)
    # More than RESET_SECONDS.
    linger = 10.0
    time_limit = 8 * 3600.0

    def start(self, table: Table) -> DrahnState:
        """Set up the table; nobody is ready yet."""
        none = (0,) * len(table.seats)
        return DrahnState(
            chance=table.chance,
            phase=WAITING,
            wins=none,
            options=table.options,
            host=table.host,
            stake=table.options.stake,
            here=tuple(range(len(none))),
            balances=none,
        )

    def setup(self, s: DrahnState) -> DrahnSetup:
        """Show the options, and the limit."""
        return DrahnSetup(**asdict(s.options))

    def lineup(self, s: DrahnState) -> tuple[int, ...]:
        """Return the seats that are ready, in join order."""
        return tuple(seat for seat in s.here if seat in s.rematch)

    def begin(self, s: DrahnState, now: float) -> Step[DrahnState]:
        """Give everybody lives; only agreed bets between two players stay."""
        s = s.with_(lives=(s.options.lives,) * len(s.wins))
        void = (
            one for one in s.bets if not (one.agreed and {one.by, one.to} <= {*s.order})
        )
        return _void(s, *void)

    def act(
        self, s: DrahnState, seat: int, action: Any, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Play; before the start, set the stake and make bets."""
        match action:
            case Ready():
                return self._ready(s, seat, action.ready, now)
            case SetStake():
                return _set_stake(s, seat, action.stake)
            case Roll() | LoseLife() | ChooseNext():
                if s.phase in (WAITING, OVER):
                    raise Rejected("not_playing", "no round is being played")
                return super().act(s, seat, action, now)
        if s.phase != WAITING:
            raise Rejected("too_late", "side bets can only be made before the start")
        if isinstance(action, ProposeBet):
            return _propose(s, seat, action)
        return _answer(s, seat, action)

    def play(
        self, s: DrahnState, seat: int, action: Playing, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Roll, give a life, or choose who is next."""
        if isinstance(action, ChooseNext):
            if not s.choosing:
                raise Rejected("not_choosing", "you can choose after giving a life")
            alive = list(self.playing(s))
            if action.seat not in alive:
                raise Rejected(
                    "not_living", f"choose a player who is alive, one of {alive}"
                )
            return self._choose(s, seat, action.seat, now)
        if s.choosing:
            raise Rejected("must_choose", "choose who is next first")
        if isinstance(action, Roll):
            return self._roll(s, seat, now)
        lives = s.lives[seat] - 1
        if not lives:
            raise Rejected("last_life", "you cannot give your last life")
        s = s.with_(lives=put(s.lives, seat, lives), total=0, choosing=True)
        lost = Event("lost_life", {"seat": seat, "lives": lives})
        return Step(self.again(s, now), (lost,))

    def put_out(
        self, s: DrahnState, seat: int, how: str, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Put a player out, who pays bets; on the player's turn the total resets."""
        total = 0 if seat == s.turn else s.total
        s = s.with_(total=total, lives=put(s.lives, seat, 0))
        step = Step(s).then(super().put_out, seat, how, now).then(_settle_bets, seat)
        return step.then(_pay_stakes, now) if step.state.phase == OVER else step

    def timed_out(
        self, s: DrahnState, seat: int, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Roll for a player who does not, or choose the next in order."""
        if s.choosing:
            return self._choose(s, seat, self.after(s, seat), now)
        return self._roll(s, seat, now)

    def advance(self, s: DrahnState, now: float) -> DrahnState | Step[DrahnState]:
        """End a turn, begin a round with those who are ready, or reset the table."""
        if s.phase == WAITING:
            return self.new_round(s, now)
        if s.phase != OVER:
            return super().advance(s, now)
        s = s.with_(phase=WAITING, order=(), out=(), winner=None, due=None)
        return Step(s, (Event("reset"),))

    def joined(
        self, s: DrahnState, seat: int, now: float, newcomer: Seat
    ) -> DrahnState | Step[DrahnState]:
        """Let a newcomer wait with the others, or watch until the next round."""
        if seat == len(s.balances):
            s = s.with_(balances=(*s.balances, 0))
        # The seat's former player keeps a balance, and still owes the stake.
        s = s.with_(
            departed=s.departed + s.balances[seat],
            debtors=s.debtors + (seat in s.out),
            balances=put(s.balances, seat, 0),
            host=s.host if s.here else seat,
            here=(*s.here, seat),
        )
        return Step(s).then(super().joined, seat, now, newcomer).then(self._wait, now)

    def left(
        self, s: DrahnState, seat: int, now: float
    ) -> DrahnState | Step[DrahnState]:
        """Put a player who leaves out of the round; the balance leaves too."""
        step = Step(s).then(super().left, seat, now).then(_leave, seat)
        return step.then(self._wait, now)

    def scores(self, s: DrahnState) -> tuple[int, ...]:
        """Return the balances."""
        return s.balances

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any, level: str = ""
    ) -> Any:
        """Be ready, and decline bets."""
        if view["phase"] != WAITING:
            return super().bot(view, seat, chance, setup, level)
        for one in view["bets"]:
            if one["to"] == seat and not one["agreed"]:
                return DeclineBet(one["id"])
        return None if seat in view["rematch"] else Ready()

    def choose(self, view: Any, seat: int, chance: Chance, setup: Any) -> Playing:
        """Roll; give a life if half of the faces would lose."""
        if view["choosing"]:
            away = (seat, *view["out"])
            others = [one for one in view["order"] if one not in away]
            return ChooseNext(others[chance.below(len(others))[0]])
        gives = view["total"] >= _TOO_MUCH and view["lives"][seat] > 1
        return LoseLife() if gives else Roll()

    def _ready(
        self, s: DrahnState, seat: int, is_ready: bool, now: float
    ) -> DrahnState | Step[DrahnState]:
        if s.phase != WAITING:
            raise Rejected("not_waiting", "wait until the table has reset")
        ready = {*s.rematch, seat} if is_ready else {*s.rematch} - {seat}
        if ready == {*s.rematch}:
            return s
        return self._wait(s.with_(rematch=tuple(sorted(ready))), now)

    def _wait(self, s: DrahnState, now: float) -> DrahnState | Step[DrahnState]:
        """Begin if all players are ready, or set how long to wait for the others."""
        if s.phase != WAITING:
            return s
        if len(s.rematch) < 2:
            return s.with_(due=None)
        if len(s.rematch) == len(s.here):
            return self.new_round(s, now)
        due = now + s.options.ready_seconds if s.due is None else s.due
        return s.with_(due=due)

    def _choose(
        self, s: DrahnState, seat: int, chosen: int, now: float
    ) -> Step[DrahnState]:
        chose = Event("chose", {"seat": seat, "next": chosen})
        return Step(self.next_turn(s, now, chosen), (chose,))

    def _roll(self, s: DrahnState, seat: int, now: float) -> Step[DrahnState]:
        face, chance = s.chance.below(6)
        die = face + 1
        total = s.total + (0 if die == _NOTHING else die)
        rolled = Event("rolled", {"seat": seat, "die": die, "total": total})
        s = s.with_(chance=chance)
        if total > LIMIT:
            return Step(s, (rolled,)).then(self.put_out, seat, "rolled", now)
        return Step(self.next_turn(s.with_(total=total), now), (rolled,))


def _set_stake(s: DrahnState, seat: int, stake: int) -> DrahnState | Step[DrahnState]:
    if seat != s.host:
        raise Rejected("not_host", f"only the host, seat {s.host}, can set the stake")
    if s.phase != WAITING:
        raise Rejected("not_waiting", "the stake can only be set before the start")
    if stake == s.stake:
        return s
    # Nobody should play for a stake they have not seen.
    s = s.with_(stake=stake, rematch=(), due=None)
    return Step(s, (Event("stake_set", {"stake": stake}),))


def _leave(s: DrahnState, seat: int) -> Step[DrahnState]:
    """Name another host, and drop the bets that a leaver can't win any more."""
    here = tuple(one for one in s.here if one != seat)
    host = here[0] if seat == s.host and here else s.host
    mine = [one for one in s.bets if seat in (one.by, one.to)]
    return _void(s.with_(here=here, host=host), *mine)


def _propose(s: DrahnState, seat: int, action: ProposeBet) -> Step[DrahnState]:
    if action.to not in s.here:
        raise Rejected("not_here", "this player has left")
    if action.to == seat:
        raise Rejected("with_yourself", "you cannot bet with yourself")
    if sum(one.by == seat for one in s.bets) >= MOST_BETS:
        raise Rejected("too_many_bets", f"you have offered {MOST_BETS} bets already")
    offered = Bet(s.next_bet, seat, action.to, action.amount)
    s = s.with_(bets=(*s.bets, offered), next_bet=s.next_bet + 1)
    return Step(s, (_bet_event("bet_proposed", offered),))


def _answer(
    s: DrahnState, seat: int, action: AcceptBet | DeclineBet | CancelBet
) -> Step[DrahnState]:
    """Accept, decline or cancel a bet."""
    found = next((one for one in s.bets if one.id == action.bet), None)
    if found is None or found.agreed:
        raise Rejected("no_such_bet", f"no bet {action.bet} is waiting for an answer")
    is_cancelled = isinstance(action, CancelBet)
    if seat != (found.by if is_cancelled else found.to):
        raise Rejected("not_yours", "only the other player of this bet can do this")
    if isinstance(action, AcceptBet):
        bets = put(s.bets, s.bets.index(found), found.with_(agreed=True))
        return Step(s.with_(bets=bets), (_bet_event("bet_accepted", found),))
    kind = "bet_cancelled" if is_cancelled else "bet_declined"
    return Step(_without(s, (found,)), (_bet_event(kind, found),))


def _void(s: DrahnState, *bets: Bet) -> Step[DrahnState]:
    """Drop bets that nobody can win."""
    return Step(_without(s, bets), tuple(_bet_event("bet_void", one) for one in bets))


def _settle_bets(s: DrahnState, loser: int) -> Step[DrahnState]:
    """Let a player who is out pay the bets with players who are not."""
    mine = tuple(one for one in s.bets if loser in (one.by, one.to))
    step = Step(_without(s, mine))
    for one in mine:
        winner = one.to if one.by == loser else one.by
        step = step.then(_pay, "bet", (loser,), winner, one.amount)
    return step


def _pay_stakes(s: DrahnState, now: float) -> DrahnState | Step[DrahnState]:
    """Let each loser of the round pay the winner, also those who have left."""
    s = s.with_(due=now + RESET_SECONDS, total=0)
    winner, owed = s.winner, s.debtors * s.stake
    if not s.stake or winner is None:
        return s
    balances = put(s.balances, winner, s.balances[winner] + owed)
    s = s.with_(balances=balances, departed=s.departed - owed)
    return _pay(s, "stake", s.out, winner, s.stake)


def _pay(
    s: DrahnState, why: str, losers: tuple[int, ...], winner: int, amount: int
) -> Step[DrahnState]:
    """Let each of the losers pay the winner."""
    balances = put(s.balances, winner, s.balances[winner] + amount * len(losers))
    for loser in losers:
        balances = put(balances, loser, balances[loser] - amount)
    facts = {"why": why, "from": losers, "to": winner, "amount": amount}
    return Step(s.with_(balances=balances), (Event("paid", facts),))


def _without(s: DrahnState, bets: tuple[Bet, ...]) -> DrahnState:
    return s.with_(bets=tuple(one for one in s.bets if one not in bets))


def _bet_event(kind: str, one: Bet) -> Event:
    facts = {"bet": one.id, "by": one.by, "to": one.to, "amount": one.amount}
    return Event(kind, facts)
