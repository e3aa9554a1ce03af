"""
Old maid: draw cards from your neighbour, lay pairs, do not keep the last queen.

One queen is removed from 52 cards and the rest is dealt; pairs are laid at once. On a
turn a player draws a hidden card from the player before, who has shuffled, and lays it
if it makes a pair. A player without cards is safe; the player who is left with the odd
queen loses.

It is an example of hidden information: each seat is an audience of its own, and no
other view ever contains its hand.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from vinom.game import Chance, Event, Game, Outcome, Rejected, Step, Table
from vinom.games.rounds import (
    agree,
    ask_again,
    ensure_turn,
    is_agreed,
)
from vinom.turns import Rematch

#: Rank, then suit. The queen of clubs is not in play.
DECK = tuple(
    rank + suit for rank in "A23456789TJQK" for suit in "CDHS" if rank + suit != "QC"
)

Hand = tuple[str, ...]
Phase = Literal["playing", "over"]


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


class MaidView(Struct, frozen=True):
    """
    What one seat sees; spectators have no hand.

    :ivar turn: the seat that draws.
    :ivar source: the seat from which it draws.
    :ivar due: match time at which a card is drawn for a slow player, seconds.
    :ivar counts: number of cards of each seat.
    :ivar pairs: number of pairs that each seat has laid.
    :ivar hand: the seat's own cards, such as "QH".
    :ivar safe: seats without cards, in the order in which they were safe; seats that
        were safe at the same time are together.
    :ivar loser: the seat that kept the queen, or the last that left.
    :ivar gone: seats that were given up.
    :ivar rematch: seats that ask for another round.
    """

    round: int
    phase: Phase
    turn: int
    source: int
    due: float
    counts: tuple[int, ...]
    pairs: tuple[int, ...]
    hand: Hand
    safe: tuple[tuple[int, ...], ...]
    loser: int | None
    gone: tuple[int, ...]
    rematch: tuple[int, ...]


class MaidState(Struct, frozen=True):
    """
    A moment of a game; the view describes the fields, which are for all seats here.

    :ivar quitters: seats that left while they held cards.
    """

    turn_seconds: float
    chance: Chance
    hands: tuple[Hand, ...]
    pairs: tuple[int, ...]
    round: int = 1
    phase: Phase = "playing"
    turn: int = 0
    source: int = 0
    due: float = 0.0
    safe: tuple[tuple[int, ...], ...] = ()
    loser: int | None = None
    gone: tuple[int, ...] = ()
    quitters: tuple[int, ...] = ()
    rematch: tuple[int, ...] = ()


class OldMaid(Game[MaidState, Draw | Rematch]):
    """The rules."""

    name = "oldmaid"
    title = "Old maid"
    about = "Draw cards, lay down pairs, and don't be left with the queen."
    rules = """
    One queen is missing, so one queen has no partner. Pairs are laid down at once.

    On your turn draw a hidden card from the player before you. If it makes a pair, the
    pair is laid down. A player without cards is safe; the player who is left with the
    odd queen loses.
    """
    icon = "/boards/oldmaid.svg"
    board = "/boards/oldmaid.js"
    actions = Draw | Rematch
    options = MaidOptions
    seats = (2, 6)
    linger = 120.0
    time_limit = 2 * 3600.0

    def start(self, table: Table) -> Step[MaidState]:
        """Deal the cards, and lay the pairs."""
        players = tuple(range(len(table.seats)))
        return _deal(table.options.turn_seconds, table.chance, players, (), 1, 0.0)

    def act(
        self, s: MaidState, seat: int, action: Draw | Rematch, now: float
    ) -> MaidState | Step[MaidState]:
        """Draw a card, or ask for another round."""
        if isinstance(action, Rematch):
            return _ask_rematch(s, seat, now)
        ensure_turn(seat, None if s.phase == "over" else s.turn)
        count = len(s.hands[s.source])
        if action.position >= count:
            raise Rejected(
                "no_such_card",
                f"there is no card {action.position}: this hand has 0 to {count - 1}",
            )
        return Step(*_draw(s, action.position, now))

    def deadline(self, s: MaidState) -> float | None:
        """Draw for a player who is too slow."""
        return None if s.phase == "over" else s.due

    def advance(self, s: MaidState, now: float) -> Step[MaidState]:
        """Draw a random card for a player who is too slow."""
        position, chance = s.chance.below(len(s.hands[s.source]))
        slow = Event("timed_out", {"seat": s.turn})
        after, events = _draw(replace(s, chance=chance), position, now)
        return Step(after, (slow, *events))

    def left(self, s: MaidState, seat: int, now: float) -> MaidState | Step[MaidState]:
        """Deal a leaving player's cards to the others; of two, the other wins."""
        s = replace(s, gone=(*s.gone, seat))
        if s.phase == "over":
            # The remaining players may have been waiting for this one.
            return _again(s, now) if is_agreed(s.rematch, _here(s)) else s
        if not s.hands[seat]:
            return s
        s = replace(s, quitters=(*s.quitters, seat))
        return Step(*_deal_on(s, seat, now))

    def audience(self, s: MaidState, seat: int | None) -> Hashable:
        """Make each seat an audience of its own."""
        return seat

    def view(self, s: MaidState, audience: Hashable) -> MaidView:
        """Show the number of cards of all seats, and a seat its own cards."""
        return MaidView(
            round=s.round,
            phase=s.phase,
            turn=s.turn,
            source=s.source,
            due=s.due,
            counts=tuple(map(len, s.hands)),
            pairs=s.pairs,
            hand=s.hands[audience] if isinstance(audience, int) else (),
            safe=s.safe,
            loser=s.loser,
            gone=s.gone,
            rematch=s.rematch,
        )

    def outcome(self, s: MaidState) -> Outcome | None:
        """Rank by who was safe first; then the loser, then players who left early."""
        if s.loser is None:
            return None
        before = tuple((seat,) for seat in reversed(s.quitters) if seat != s.loser)
        return Outcome(s.round, (*s.safe, (s.loser,), *before))

    def bot(
        self, view: Any, seat: int, chance: Chance, setup: Any
    ) -> Draw | Rematch | None:
        """Draw a random card."""
        if view["phase"] == "over":
            return agree(view["rematch"], seat)
        if view["turn"] != seat:
            return None
        return Draw(chance.below(view["counts"][view["source"]])[0])


def _deal(
    turn_seconds: float,
    chance: Chance,
    players: tuple[int, ...],
    gone: tuple[int, ...],
    number: int,
    now: float,
) -> Step[MaidState]:
    """Deal a round to *players*; seats that are *gone* get no cards."""
    deck, chance = chance.shuffled(DECK)
    first, chance = chance.below(len(players))
    count = len(players) + len(gone)
    s = MaidState(
        turn_seconds, chance, ((),) * count, (0,) * count, round=number, gone=gone
    )
    laid = []
    for index, seat in enumerate(players):
        s, pairs = _take(s, seat, deck[index :: len(players)])
        laid.append({"seat": seat, "cards": pairs})
    # The deal alone can make a player safe, though this is very rare.
    empty = tuple(seat for seat in players if not s.hands[seat])
    s = replace(s, safe=(empty,) if empty else ())
    s, events = _go_on(s, players[first], now)
    began = Event("began", {"round": number, "starter": s.turn})
    return Step(s, (began, Event("dealt", {"laid": laid}), *events))


def _take(s: MaidState, seat: int, cards: Hand) -> tuple[MaidState, Hand]:
    """Give cards to a seat, and lay the pairs that they make."""
    hand: list[str] = list(s.hands[seat])
    laid: list[str] = []
    for card in cards:
        match = next((one for one in hand if one[0] == card[0]), None)
        if match is None:
            hand.append(card)
        else:
            hand.remove(match)
            laid += (match, card)
    s = _with_hand(s, seat, tuple(hand))
    pairs = s.pairs[seat] + len(laid) // 2
    pairs_of = (*s.pairs[:seat], pairs, *s.pairs[seat + 1 :])
    return replace(s, pairs=pairs_of), tuple(laid)


def _with_hand(s: MaidState, seat: int, hand: Hand) -> MaidState:
    return replace(s, hands=(*s.hands[:seat], hand, *s.hands[seat + 1 :]))


def _draw(
    s: MaidState, position: int, now: float
) -> tuple[MaidState, tuple[Event, ...]]:
    seat, source = s.turn, s.source
    theirs = s.hands[source]
    card = theirs[position]
    s = _with_hand(s, source, (*theirs[:position], *theirs[position + 1 :]))
    s, laid = _take(s, seat, (card,))
    # Everybody sees where the card came from; only two players may know which it is.
    events = [
        Event("drew", {"seat": seat, "source": source, "position": position}),
        Event("drew_card", {"card": card}, to=seat),
        Event("gave_card", {"card": card}, to=source),
    ]
    if laid:
        events.append(Event("laid", {"seat": seat, "cards": laid}))
    s, more = _save_empty(s, (source, seat))
    s, end = _go_on(s, _next_with_cards(s, seat, 1), now)
    return s, (*events, *more, *end)


def _save_empty(
    s: MaidState, seats: tuple[int, ...]
) -> tuple[MaidState, tuple[Event, ...]]:
    empty = tuple(sorted(seat for seat in seats if not s.hands[seat]))
    if not empty:
        return s, ()
    events = tuple(Event("safe", {"seat": seat}) for seat in empty)
    return replace(s, safe=(*s.safe, empty)), events


def _go_on(s: MaidState, start: int, now: float) -> tuple[MaidState, tuple[Event, ...]]:
    """Let the first seat with cards, from *start* on, draw next, or end the round."""
    holders = sum(map(bool, s.hands))
    turn = start if s.hands[start] else _next_with_cards(s, start, 1)
    if holders == 1:
        # The odd queen has no pair, so one player always holds cards.
        return _lose(s, turn)
    source = _next_with_cards(s, turn, -1)
    # In a known order, players could follow the card that was drawn last.
    hand, chance = s.chance.shuffled(s.hands[source])
    s = replace(
        _with_hand(s, source, hand),
        chance=chance,
        turn=turn,
        source=source,
        due=now + s.turn_seconds,
    )
    return s, ()


def _next_with_cards(s: MaidState, seat: int, way: int) -> int:
    """Find the next seat that holds cards, upwards (1) or downwards (-1)."""
    count = len(s.hands)
    around = ((seat + way * step) % count for step in range(1, count + 1))
    return next(one for one in around if s.hands[one])


def _lose(s: MaidState, loser: int) -> tuple[MaidState, tuple[Event, ...]]:
    s = replace(s, phase="over", loser=loser)
    facts = {"loser": loser, "how": "queen", "cards": s.hands[loser]}
    return s, (Event("ended", facts),)


def _deal_on(
    s: MaidState, leaver: int, now: float
) -> tuple[MaidState, tuple[Event, ...]]:
    """Deal the cards of a player who left to the others who still hold cards."""
    others = [
        (leaver + step) % len(s.hands)
        for step in range(1, len(s.hands))
        if s.hands[(leaver + step) % len(s.hands)]
    ]
    if len(others) == 1:
        s = replace(s, safe=(*s.safe, (others[0],)))
        s = replace(s, phase="over", loser=leaver)
        facts = {"loser": leaver, "how": "left", "cards": ()}
        return s, (Event("ended", facts),)
    cards, chance = s.chance.shuffled(s.hands[leaver])
    s = _with_hand(replace(s, chance=chance), leaver, ())
    events = []
    for index, seat in enumerate(others):
        share = cards[index :: len(others)]
        s, laid = _take(s, seat, share)
        if share:
            facts = {"seat": seat, "source": leaver, "count": len(share)}
            events.append(Event("received", facts))
            events.append(Event("received_cards", {"cards": share}, to=seat))
        if laid:
            events.append(Event("laid", {"seat": seat, "cards": laid}))
    s, more = _save_empty(s, tuple(others))
    # The same seat draws, if it still has cards, and its time starts again.
    s, end = _go_on(s, s.turn, now)
    return s, (*events, *more, *end)


def _ask_rematch(s: MaidState, seat: int, now: float) -> MaidState | Step[MaidState]:
    asked = ask_again(seat, s.rematch, _here(s), s.phase == "over")
    if asked == s.rematch:
        return s
    if not is_agreed(asked, _here(s)):
        return Step(replace(s, rematch=asked), (Event("asked", {"seat": seat}),))
    return _again(s, now)


def _here(s: MaidState) -> tuple[int, ...]:
    return tuple(seat for seat in range(len(s.hands)) if seat not in s.gone)


def _again(s: MaidState, now: float) -> Step[MaidState]:
    return _deal(s.turn_seconds, s.chance, _here(s), s.gone, s.round + 1, now)
