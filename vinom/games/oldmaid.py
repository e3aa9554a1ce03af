"""
Old maid: draw cards, lay down pairs, and don't be left with the queen.

One queen is missing, so one queen has no partner. Pairs are laid down at once.

On your turn draw a hidden card from the player before you. If it makes a pair, the
pair is laid down. A player without cards is safe; the player who is left with the
odd queen loses.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from vinom.game import Chance, Event, Rejected, Step, put
from vinom.turns import TurnGame, TurnState

#: Rank, then suit. The queen of clubs is not in play.
DECK = tuple(
    rank + suit for rank in "A23456789TJQK" for suit in "CDHS" if rank + suit != "QC"
)

Hand = tuple[str, ...]


class MaidOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The time for each draw.

    :ivar turn_seconds: time for each draw.
    """

    turn_seconds: Annotated[float, Meta(ge=3, le=600)] = 20.0


class Draw(Struct, frozen=True, forbid_unknown_fields=True, tag="draw"):
    """
    Draw a card from the view's ``source``.

    :ivar position: which of its cards, from 0.
    """

    position: Annotated[int, Meta(ge=0, le=50)]


class MaidState(TurnState, frozen=True):
    """
    A round.

    :ivar hands: the cards of each seat, such as "QH"; only its own player sees them.
    :ivar counts: how many these are.
    :ivar laid: the cards of the pairs that each seat has laid.
    :ivar source: the seat from which the one whose turn it is draws.
    :ivar safe: seats without cards, in the order in which they were safe; seats that
        were safe at the same time are together.
    :ivar loser: the seat that kept the queen, or the last that left.
    """

    options: MaidOptions = MaidOptions()
    hands: tuple[Hand, ...] = ()
    counts: tuple[int, ...] = ()
    laid: tuple[Hand, ...] = ()
    source: int = 0
    safe: tuple[tuple[int, ...], ...] = ()
    loser: int | None = None


class OldMaid(TurnGame[MaidState, Draw]):
    """The rules; an example of secrets that only their owners see."""

    name = "oldmaid"
    title = "Old maid"
    icon = "/boards/oldmaid.svg"
    board = "/boards/oldmaid.js"
    options = MaidOptions
    seats = (2, 6)
    schema = 2
    time_limit = 2 * 3600.0
    secret = ("hands",)
    reveals = ("counts", "laid", "source", "drew", "safe", "loser")

    def begin(self, s: MaidState, now: float) -> Step[MaidState]:
        """Deal the cards, and lay the pairs."""
        deck, chance = s.chance.shuffled(DECK)
        none: tuple[Hand, ...] = ((),) * len(s.wins)
        s = s.with_(chance=chance, hands=none, counts=(0,) * len(none), laid=none)
        for index, seat in enumerate(s.order):
            s = _take(s, seat, deck[index :: len(s.order)])
        laid = [{"seat": seat, "cards": s.laid[seat]} for seat in s.order]
        # The deal alone can make a player safe, though this is very rare.
        return Step(s, (Event("dealt", {"laid": laid}),)).then(self._settled)

    def playing(self, s: MaidState) -> tuple[int, ...]:
        """Return the seats that hold cards."""
        return tuple(seat for seat in s.order if s.hands[seat])

    def next_turn(self, s: MaidState, now: float, seat: int | None = None) -> MaidState:
        """Pass the turn on; the player who is drawn from shuffles."""
        s = super().next_turn(s, now, seat)
        if s.turn is None:
            return s
        playing = self.playing(s)
        source = playing[playing.index(s.turn) - 1]
        # In a known order, players could follow the card that was drawn last.
        hand, chance = s.chance.shuffled(s.hands[source])
        return _with_hand(s, source, hand).with_(chance=chance, source=source)

    def play(
        self, s: MaidState, seat: int, action: Draw, now: float
    ) -> Step[MaidState]:
        """Draw a card."""
        position, source, theirs = action.position, s.source, s.hands[s.source]
        if position >= len(theirs):
            raise Rejected(
                "no_such_card",
                f"there is no card {position}: this hand has 0 to {len(theirs) - 1}",
            )
        card = theirs[position]
        s = _with_hand(s, source, (*theirs[:position], *theirs[position + 1 :]))
        after = _take(s, seat, (card,))
        # Everybody sees where the card came from; only two may know which it is.
        drew = Event("drew", {"seat": seat, "source": source, "position": position})
        taken = Event("drew_card", {"card": card}, to=seat)
        given = Event("gave_card", {"card": card}, to=source)
        step = Step(after, (drew, taken, given, *_laid(s, after, seat)))
        return step.then(self._settled).then(self.next_turn, now)

    def timed_out(self, s: MaidState, seat: int, now: float) -> Step[MaidState]:
        """Draw a random card for a player who is too slow."""
        position, chance = s.chance.below(s.counts[s.source])
        return self.play(s.with_(chance=chance), seat, Draw(position), now)

    def put_out(self, s: MaidState, seat: int, how: str, now: float) -> Step[MaidState]:
        """Deal a leaving player's cards to the others; of two, the other wins."""
        cards, chance = s.chance.shuffled(s.hands[seat])
        s = s.with_(chance=chance, out=(*s.out, seat))
        others = [one for one in self.playing(s) if one != seat]
        if len(others) == 1:
            return self._lost(s.with_(safe=(*s.safe, tuple(others))), seat, how)
        step = Step(_with_hand(s, seat, ()))
        for index, one in enumerate(others):
            share = cards[index :: len(others)]
            if share:
                step = step.then(_receive, one, seat, share)
        # The same seat draws, if it still has cards, and its time starts again.
        step = step.then(self._settled)
        same = s.turn if s.turn in self.playing(step.state) else None
        return step.then(self.next_turn, now, same)

    def choose(self, view: Any, seat: int, chance: Chance, setup: Any) -> Draw:
        """Draw a random card."""
        return Draw(chance.below(view["counts"][view["source"]])[0])

    def _settled(self, s: MaidState) -> MaidState | Step[MaidState]:
        """Note who is safe, and whether that leaves one player with the queen."""
        known = {*s.out, *sum(s.safe, ())}
        empty = tuple(
            seat for seat in s.order if not s.hands[seat] and seat not in known
        )
        if not empty:
            return s
        step = Step(s.with_(safe=(*s.safe, empty)))
        step = step.also(*(Event("safe", {"seat": seat}) for seat in empty))
        # The odd queen has no pair, so one player always holds cards.
        playing = self.playing(s)
        return step.then(self._lost, *playing, "queen") if len(playing) == 1 else step

    def _lost(self, s: MaidState, loser: int, how: str) -> Step[MaidState]:
        left = ((seat,) for seat in reversed(s.out) if seat != loser)
        return self.finish(s.with_(loser=loser), (*s.safe, (loser,), *left), how)


def _with_hand(s: MaidState, seat: int, hand: Hand) -> MaidState:
    counts = put(s.counts, seat, len(hand))
    return s.with_(hands=put(s.hands, seat, hand), counts=counts)


def _take(s: MaidState, seat: int, cards: Hand) -> MaidState:
    """Give cards to a seat, and lay the pairs that they make."""
    hand, laid = list(s.hands[seat]), list(s.laid[seat])
    for card in cards:
        match = next((one for one in hand if one[0] == card[0]), None)
        if match is None:
            hand.append(card)
        else:
            hand.remove(match)
            laid += (match, card)
    return _with_hand(s, seat, tuple(hand)).with_(laid=put(s.laid, seat, tuple(laid)))


def _laid(before: MaidState, after: MaidState, seat: int) -> tuple[Event, ...]:
    """Tell which pairs a seat has laid, if any."""
    cards = after.laid[seat][len(before.laid[seat]) :]
    return (Event("laid", {"seat": seat, "cards": cards}),) if cards else ()


def _receive(s: MaidState, seat: int, source: int, cards: Hand) -> Step[MaidState]:
    """Give cards of a player who left to another."""
    after = _take(s, seat, cards)
    facts = {"seat": seat, "source": source, "count": len(cards)}
    received = Event("received", facts)
    which = Event("received_cards", {"cards": cards}, to=seat)
    return Step(after, (received, which, *_laid(s, after, seat)))
