"""Old maid: pairs, the odd queen, and hands that nobody else ever sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.random_games import random_game
from vinom.errors import Rejected
from vinom.game import Chance, Event, Seat, Step, Table
from vinom.games.oldmaid import DECK, Draw, MaidOptions, MaidState, OldMaid
from vinom.play.play import Play
from vinom.tools.check.trial import try_game
from vinom.turns import Rematch

GAME = OldMaid()


def deal(players: int = 3, seed: int = 1) -> MaidState:
    seats = tuple(Seat(f"p{seat}") for seat in range(players))
    return GAME.start(Table(seats, MaidOptions(), Chance(seed))).state


def hold(*hands: tuple[str, ...], **changes: Any) -> MaidState:
    """A game in which players hold these; seat 0 draws from the last."""
    count = len(hands)
    s = MaidState(
        chance=Chance(5),
        round=1,
        phase="playing",
        turn=0,
        due=20.0,
        order=tuple(range(count)),
        wins=(0,) * count,
        hands=hands,
        counts=tuple(map(len, hands)),
        laid=((),) * count,
    )
    return s.with_(**{"source": count - 1, **changes})


def step(result: MaidState | Step[MaidState]) -> tuple[MaidState, tuple[Event, ...]]:
    return (result.state, result.events) if isinstance(result, Step) else (result, ())


def texts(value: Any) -> Iterator[str]:
    """Every text in a message."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


class RulesTests(SynchronousTestCase):
    def refusal(self, s: MaidState, action: Draw | Rematch, seat: int = 0) -> str:
        with self.assertRaises(Rejected) as caught:
            GAME.act(s, seat, action, 1.0)
        return caught.exception.code

    @given(st.integers(2, 6), st.integers(0, 1 << 40))
    @settings(max_examples=60, deadline=None)
    def test_deal(self, players: int, seed: int) -> None:
        """
        All 51 cards are dealt, pairs are laid at once, and one queen is odd.
        """
        s = deal(players, seed)
        for hand in s.hands:
            ranks = [card[0] for card in hand]
            self.assertEqual(len(ranks), len(set(ranks)))
        held = [card for hand in s.hands for card in hand]
        self.assertEqual(len(held) + len(sum(s.laid, ())), 51)
        self.assertEqual(Counter(card[0] for card in held)["Q"] % 2, 1)
        self.assertTrue(set(held) <= set(DECK))

    def test_draw_and_lay(self) -> None:
        """
        A card that makes a pair is laid with it, before everybody's eyes; only
        giver and taker learn which card went.
        """
        s = hold(("2C", "4D"), ("3C", "QH"), ("2D", "3D", "4C"))
        s, events = step(GAME.act(s, 0, Draw(2), 1.0))
        self.assertEqual(s.hands[0], ("2C",))
        self.assertEqual(sorted(s.hands[2]), ["2D", "3D"])
        self.assertEqual(s.laid, (("4D", "4C"), (), ()))
        self.assertEqual((s.turn, s.source), (1, 0))
        self.assertEqual(
            [(event.kind, event.to) for event in events],
            [("drew", None), ("drew_card", 0), ("gave_card", 2), ("laid", None)],
        )
        self.assertNotIn("card", events[0].data)

    def test_a_card_that_fits_nothing_is_kept(self) -> None:
        """
        Drawing the odd queen lays nothing.
        """
        s = hold(("2C",), ("3C", "3D"), ("2D", "QH"))
        s, events = step(GAME.act(s, 0, Draw(1), 1.0))
        self.assertEqual(sorted(s.hands[0]), ["2C", "QH"])
        self.assertEqual(len(events), 3)

    def test_player_without_cards_is_safe(self) -> None:
        """
        A player who laid or gave the last card is safe, and nobody draws from it any
        more.
        """
        s = hold(("2C",), ("3C", "QH"), ("2D", "3D"))
        s, events = step(GAME.act(s, 0, Draw(0), 1.0))
        self.assertEqual(s.safe, ((0,),))
        self.assertEqual(events[-1], Event("safe", {"seat": 0}))
        self.assertEqual((s.turn, s.source), (1, 2))

    def test_the_queen_loses(self) -> None:
        """
        The player who is left with the odd queen loses, and then it is shown.
        """
        s = hold(("QH", "2C"), ("2D",))
        s, events = step(GAME.act(s, 0, Draw(0), 1.0))
        self.assertEqual(events[-1].kind, "ended")
        self.assertEqual(events[-1].data, {"winner": 1, "how": "queen"})
        self.assertEqual(GAME.view(s, None).hands, (("QH",), ()))
        outcome = GAME.outcome(s)
        self.assertEqual(outcome.places, ((1,), (0,)))
        self.assertEqual(self.refusal(s, Draw(0)), "round_over")

    def test_refusals(self) -> None:
        """
        Only who has the turn draws, and only a card that is there.
        """
        s = hold(("2C", "QH"), ("2D", "3D"))
        self.assertEqual(self.refusal(s, Draw(0), 1), "not_your_turn")
        self.assertEqual(self.refusal(s, Draw(2)), "no_such_card")
        self.assertEqual(self.refusal(s, Rematch()), "round_runs")

    def test_silence_draws(self) -> None:
        """
        For one who is silent for 20 s some card is drawn.
        """
        s = hold(("2C", "5C"), ("3C", "QH"), ("2D", "3D"))
        self.assertEqual(GAME.deadline(s), 20.0)
        s, events = step(GAME.advance(s, 20.0))
        self.assertEqual([event.kind for event in events[:2]], ["timed_out", "drew"])
        self.assertEqual((s.turn, GAME.deadline(s)), (1, 40.0))

    def test_a_leavers_cards_are_dealt(self) -> None:
        """
        The others get a leaver's cards, each sees only its own, and the leaver
        comes last.
        """
        s = hold(("2C", "5C"), ("3C", "QH"), ("2D", "3D", "5D"), turn=1, source=0)
        s, events = step(GAME.left(s, 1, 3.0))
        self.assertEqual(s.hands[1], ())
        self.assertEqual(
            sorted(event.to for event in events if event.kind == "received_cards"),
            [0, 2],
        )
        self.assertIn(s.turn, (0, 2))
        while s.loser is None:
            s, _ = step(GAME.advance(s, s.due))
        outcome = GAME.outcome(s)
        self.assertEqual(outcome.places[-1], (1,))

    def test_of_two_the_leaver_loses(self) -> None:
        """
        The last player who stays wins, with any hand.
        """
        s, _ = step(GAME.left(hold(("QH", "2C"), ("2D",)), 1, 3.0))
        outcome = GAME.outcome(s)
        self.assertEqual(outcome.places, ((0,), (1,)))
        self.assertEqual(self.refusal(s, Rematch()), "alone")

    def test_rematch_of_those_who_stay(self) -> None:
        """
        Another round begins when the one leaves who had not asked for it.
        """
        s = hold((), (), ("QH",), phase="over", turn=None, loser=2, safe=((0, 1),))
        for seat in (0, 2):
            s, events = step(GAME.act(s, seat, Rematch(), 5.0))
            self.assertEqual([event.kind for event in events], ["asked"])
        s, events = step(GAME.left(s, 1, 6.0))
        self.assertEqual(events[0].kind, "began")
        self.assertEqual((s.phase, s.round, s.hands[1]), ("playing", 2, ()))

    def test_safe_player_may_leave(self) -> None:
        """
        Leaving after one's last card changes nothing.
        """
        s = hold((), ("QH", "2C"), ("2D",), turn=1, source=2, safe=((0,),))
        s, events = step(GAME.left(s, 0, 3.0))
        self.assertEqual(events, ())
        s, _ = step(GAME.act(s, 1, Draw(0), 4.0))
        outcome = GAME.outcome(s)
        self.assertEqual(outcome.places, ((0,), (2,), (1,)))

    def test_rematch(self) -> None:
        """
        When all who are still here have asked, they are dealt new cards.
        """
        s = hold((), ("QH", "2C"), ("2D",), turn=1, source=2, safe=((0,),))
        s, _ = step(GAME.act(s, 1, Draw(0), 4.0))
        s, _ = step(GAME.left(s, 0, 5.0))
        s, events = step(GAME.act(s, 1, Rematch(), 6.0))
        self.assertEqual(events, (Event("asked", {"seat": 1}),))
        s, events = step(GAME.act(s, 2, Rematch(), 6.0))
        self.assertEqual([event.kind for event in events[:2]], ["began", "dealt"])
        self.assertEqual((s.round, s.hands[0], s.phase), (2, (), "playing"))
        self.assertIsNone(GAME.outcome(s))
        self.assertEqual(GAME.deadline(s), 26.0)


class SecretTests(SynchronousTestCase):
    @given(st.integers(0, 1 << 40))
    @settings(max_examples=20, deadline=None)
    def test_no_message_shows_anothers_card(self, seed: int) -> None:
        """
        In whole games, nothing that a seat or a spectator is sent holds a card
        of another hand. While they are hidden, that is: laid pairs, a card that
        one had to give, and the last queen are seen by those who may.
        """

        def watch(play: Play) -> None:
            s: MaidState = play.state
            held = {card: seat for seat, hand in enumerate(s.hands) for card in hand}
            for seat in (*range(len(s.hands)), None):
                view = GAME.view(s, GAME.audience(s, seat))
                shown = msgspec.msgpack.decode(msgspec.msgpack.encode(view))
                for text in texts(shown) if s.loser is None else ():
                    self.assertEqual(held.get(text, seat), seat)
                for event in play.events:
                    if event.to not in (None, seat):
                        continue
                    if event.kind == "gave_card":
                        # It was this seat's own until now.
                        continue
                    data = msgspec.msgpack.decode(msgspec.msgpack.encode(event.data))
                    for text in texts(data):
                        self.assertEqual(held.get(text, seat), seat, event)
            self.assertEqual(len(held) + len(sum(s.laid, ())), 51)

        random_game("oldmaid", seed, watch=watch).play()

    def test_a_draw_cannot_be_followed(self) -> None:
        """
        The hand is shuffled before a draw, so the place of a card that its owner has
        just drawn gives nothing away.
        """
        at = Counter[int]()
        for seed in range(300):
            s = hold(("2C", "3C", "4C"), ("5C", "2H"), ("5D", "QH"), turn=0)
            s = replace(s, chance=Chance(seed))
            s, _ = step(GAME.act(s, 0, Draw(1), 1.0))
            at[s.hands[0].index("QH")] += 1
        self.assertEqual(set(at), {0, 1, 2, 3})
        self.assertLess(max(at.values()), 120)

    def test_the_check_finds_no_leak(self) -> None:
        """
        ``vinom check`` agrees, and would not if hands were shown to all.
        """
        self.assertEqual(try_game(GAME, "oldmaid", 3, 7).findings, [])

        class Open(OldMaid):
            def view(self, s: MaidState, audience: Any) -> Any:
                shown = super().view(s, audience)
                return shown if audience is None else replace(shown, hands=s.hands)

        rules = {finding.rule for finding in try_game(Open(), "open", 3, 7).findings}
        self.assertEqual(rules, {"leak"})
