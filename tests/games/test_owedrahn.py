"""Owe drahn: rolls, lives, leavers, and money that is never made or lost."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.random_games import random_game
from vinom.errors import Rejected
from vinom.game import Chance, Event, Seat, Step, Table
from vinom.games.owedrahn import (
    LIMIT,
    RESET_SECONDS,
    AcceptBet,
    Action,
    CancelBet,
    ChooseNext,
    DeclineBet,
    DrahnOptions,
    DrahnState,
    LoseLife,
    OweDrahn,
    ProposeBet,
    Ready,
    Roll,
    SetStake,
)
from vinom.play.play import Play

GAME = OweDrahn()


class Scene:
    """A table, and the events of the latest step."""

    def __init__(self, players: int = 3, seed: int = 1, **options: Any) -> None:
        seats = tuple(Seat(f"p{seat}") for seat in range(players))
        self.s: DrahnState = GAME.start(
            Table(seats, DrahnOptions(**options), Chance(seed))
        )
        self.told: tuple[Event, ...] = ()
        self.now = 0.0

    def take(self, result: DrahnState | Step[DrahnState]) -> None:
        if isinstance(result, Step):
            self.s, self.told = result.state, result.events
        else:
            self.s, self.told = result, ()

    def act(self, seat: int, action: Action) -> None:
        self.now += 1.0
        self.take(GAME.act(self.s, seat, action, self.now))

    def begin(self) -> None:
        """Let everybody be ready."""
        for seat in self.s.here:
            self.act(seat, Ready())

    def wait(self) -> None:
        """Let the next deadline come."""
        due = GAME.deadline(self.s)
        self.now = due
        self.take(GAME.advance(self.s, due))

    def leave(self, seat: int) -> None:
        self.take(GAME.left(self.s, seat, self.now))

    def join(self, seat: int) -> None:
        self.take(GAME.joined(self.s, seat, self.now, Seat("late")))

    def put_out(self) -> int:
        """Let whose turn it is roll itself out."""
        seat = self.s.turn
        chance = next(
            chance for chance in map(Chance, range(99)) if chance.below(6)[0] == 5
        )
        self.s = self.s.with_(total=LIMIT, chance=chance)
        self.act(seat, Roll())
        return seat

    def kinds(self) -> list[str]:
        return [event.kind for event in self.told]

    def alive(self) -> tuple[int, ...]:
        return GAME.playing(self.s)

    def balances(self) -> list[int]:
        return list(self.s.balances)


class DrahnCase(SynchronousTestCase):
    def refusal(self, scene: Scene, seat: int, action: Action) -> str:
        with self.assertRaises(Rejected) as caught:
            scene.act(seat, action)
        return caught.exception.code


class RoundTests(DrahnCase):
    def test_starts_when_all_are_ready(self) -> None:
        """
        The last one who is ready starts the round; the first player is drawn.
        """
        scene = Scene()
        scene.act(0, Ready())
        scene.act(1, Ready())
        self.assertEqual(scene.s.phase, "waiting")
        scene.act(2, Ready())
        self.assertEqual((scene.s.phase, scene.kinds()), ("playing", ["began"]))
        self.assertEqual(scene.s.lives, (6, 6, 6))
        first = set()
        for seed in range(40):
            other = Scene(seed=seed)
            other.begin()
            first.add(other.s.turn)
        self.assertEqual(first, {0, 1, 2})

    def test_player_who_is_never_ready_watches(self) -> None:
        """
        One who says nothing holds the others up for a minute, then watches.
        """
        scene = Scene()
        scene.act(0, Ready())
        self.assertIsNone(GAME.deadline(scene.s))
        scene.act(2, Ready())
        self.assertEqual(GAME.deadline(scene.s), 62.0)
        scene.act(2, Ready(False))
        self.assertIsNone(GAME.deadline(scene.s))
        scene.act(2, Ready())
        scene.wait()
        self.assertEqual((scene.alive(), scene.s.out), ((0, 2), ()))

    def test_rolls_add_up(self) -> None:
        """
        A roll adds its face, a 3 adds nothing, and the turn goes on in join
        order, until somebody takes the total above 15 and is out.
        """
        for seed in range(60):
            scene = Scene(seed=seed)
            scene.begin()
            while "out" not in scene.kinds():
                seat, before = scene.s.turn, scene.s.total
                scene.act(seat, Roll())
                die = scene.told[0].data["die"]
                total = before + (0 if die == 3 else die)
                self.assertEqual(scene.told[0].data["total"], total)
                self.assertEqual(scene.s.turn, (seat + 1) % 3)
                self.assertEqual("out" in scene.kinds(), total > 15)
            self.assertEqual(scene.s.total, 0)
            self.assertEqual(scene.s.out, (seat,))

    def test_give_a_life(self) -> None:
        """
        A life makes the total 0 and lets its owner name any living player,
        itself too; the last life cannot be given.
        """
        scene = Scene(lives=2)
        scene.begin()
        seat = scene.s.turn
        scene.s = scene.s.with_(total=14)
        scene.act(seat, LoseLife())
        self.assertEqual((scene.s.total, scene.s.lives[seat]), (0, 1))
        self.assertEqual(self.refusal(scene, seat, Roll()), "must_choose")
        self.assertEqual(self.refusal(scene, seat, LoseLife()), "must_choose")
        self.assertEqual(self.refusal(scene, seat, ChooseNext(9)), "not_living")
        scene.act(seat, ChooseNext(seat))
        self.assertEqual((scene.s.turn, scene.s.choosing), (seat, False))
        self.assertEqual(self.refusal(scene, seat, LoseLife()), "last_life")
        self.assertEqual(self.refusal(scene, seat, ChooseNext(0)), "not_choosing")
        other = (seat + 1) % 3
        self.assertEqual(self.refusal(scene, other, Roll()), "not_your_turn")

    def test_silence(self) -> None:
        """
        For one who is silent for 20 s the die is rolled; after a life was given
        the next in join order is chosen.
        """
        scene = Scene()
        scene.begin()
        seat = scene.s.turn
        scene.wait()
        self.assertEqual(scene.kinds(), ["timed_out", "rolled"])
        self.assertEqual(scene.s.turn, (seat + 1) % 3)
        scene.act((seat + 1) % 3, LoseLife())
        scene.wait()
        self.assertEqual(scene.kinds(), ["timed_out", "chose"])
        self.assertEqual(scene.s.turn, (seat + 2) % 3)

    def test_the_end_and_the_reset(self) -> None:
        """
        The last one alive has won and is paid; 5 s later the table is clear,
        and balances stay.
        """
        scene = Scene(stake=5)
        scene.begin()
        first, second = scene.put_out(), scene.put_out()
        winner, ended = 3 - first - second, scene.now
        self.assertEqual(scene.kinds(), ["rolled", "out", "ended", "paid"])
        outcome = GAME.outcome(scene.s)
        self.assertEqual(outcome.places, ((winner,), (second,), (first,)))
        self.assertEqual(outcome.scores[winner], 10)
        self.assertEqual(self.refusal(scene, winner, Roll()), "not_playing")
        self.assertEqual(self.refusal(scene, winner, Ready()), "not_waiting")
        paid = scene.balances()
        # Nothing that happens in these 5 s pays again.
        scene.leave(first)
        scene.wait()
        self.assertEqual(scene.now, ended + RESET_SECONDS)
        self.assertEqual((scene.s.phase, scene.kinds()), ("waiting", ["reset"]))
        self.assertEqual(scene.balances(), paid)
        self.assertIsNone(GAME.outcome(scene.s))
        scene.begin()
        self.assertEqual(scene.s.round, 2)


class PeopleTests(DrahnCase):
    def test_a_leaver_is_out(self) -> None:
        """
        A player who leaves is out and owes the stake; of two, the other wins.
        """
        scene = Scene(stake=2)
        scene.begin()
        leaver = scene.s.turn
        scene.s = scene.s.with_(total=15)
        scene.leave(leaver)
        self.assertEqual((scene.s.turn, scene.s.total), ((leaver + 1) % 3, 0))
        scene.leave((leaver + 1) % 3)
        self.assertEqual(scene.s.winner, (leaver + 2) % 3)
        self.assertEqual(scene.balances()[(leaver + 2) % 3], 4)
        self.assertEqual(scene.balances()[leaver], -2)

    def test_a_leaver_whose_seat_is_taken_still_owes(self) -> None:
        """
        A newcomer on a leaver's seat owes nothing for it, and the winner is
        paid all the same.
        """
        scene = Scene(3, stake=2)
        scene.begin()
        leaver = scene.s.turn
        scene.leave(leaver)
        scene.join(leaver)
        self.assertEqual(scene.s.here[-1], leaver)
        self.assertNotIn(leaver, (*scene.s.order, *scene.s.out))
        scene.put_out()
        self.assertEqual(scene.balances()[scene.s.winner], 4)
        self.assertEqual(scene.balances()[leaver], 0)
        self.assertEqual(scene.s.departed, -2)
        outcome = GAME.outcome(scene.s)
        self.assertEqual(len(outcome.places), 2)

    def test_turns_go_in_join_order(self) -> None:
        """
        A newcomer on an old seat plays after those who were here before.
        """
        scene = Scene(3)
        scene.leave(0)
        scene.join(0)
        self.assertEqual(scene.s.here, (1, 2, 0))
        scene.begin()
        scene.s = scene.s.with_(turn=2, total=0)
        scene.act(2, Roll())
        self.assertEqual(scene.s.turn, 0)
        scene.act(0, Roll())
        self.assertEqual(scene.s.turn, 1)

    def test_the_host_sets_the_stake(self) -> None:
        """
        Only the host does, only before the start, and then everybody has to be ready
        again; when the host leaves the next in join order is host.
        """
        scene = Scene()
        scene.act(1, Ready())
        scene.act(0, SetStake(50))
        self.assertEqual((scene.s.stake, scene.kinds()), (50, ["stake_set"]))
        self.assertEqual(scene.s.rematch, ())
        self.assertEqual(self.refusal(scene, 1, SetStake(1)), "not_host")
        scene.leave(0)
        scene.act(1, SetStake(3))
        scene.begin()
        self.assertEqual(self.refusal(scene, 1, SetStake(1)), "not_waiting")

    def test_the_others_start_when_one_leaves(self) -> None:
        """
        A round does not wait for one who has left.
        """
        scene = Scene()
        scene.act(0, Ready())
        scene.act(1, Ready())
        scene.leave(2)
        self.assertEqual(scene.s.phase, "playing")


class BetTests(DrahnCase):
    def test_first_player_out_pays_a_bet(self) -> None:
        """
        The first of the two who is out pays at once, and only once.
        """
        scene = Scene(3, stake=0)
        scene.act(0, ProposeBet(1, 10))
        scene.act(1, AcceptBet(1))
        scene.act(0, ProposeBet(2, 7))
        scene.act(2, AcceptBet(2))
        scene.begin()
        loser = scene.put_out()
        expected = {0: [-17, 10, 7], 1: [10, -10, 0], 2: [7, 0, -7]}[loser]
        self.assertEqual(scene.balances(), expected)
        self.assertIn("paid", scene.kinds())
        second = scene.put_out()
        if loser == 0:
            self.assertEqual(scene.balances(), expected)
        else:
            self.assertEqual(sum(scene.balances()), 0)
        self.assertEqual(scene.s.bets, ())
        self.assertNotEqual(scene.s.winner, second)

    def test_a_leaver_pays_its_bets(self) -> None:
        """
        Leaving does not cancel a bet.
        """
        scene = Scene(3, stake=0)
        scene.act(0, ProposeBet(1, 10))
        scene.act(1, AcceptBet(1))
        scene.begin()
        scene.leave(0)
        self.assertEqual(scene.balances(), [-10, 10, 0])

    def test_who_may_answer(self) -> None:
        """
        Only the one who is asked may accept or decline, only who offered may
        cancel, and only while nobody has answered.
        """
        scene = Scene()
        scene.act(0, ProposeBet(1, 10))
        for seat, action in [
            (0, AcceptBet(1)),
            (2, AcceptBet(1)),
            (0, DeclineBet(1)),
            (2, DeclineBet(1)),
            (1, CancelBet(1)),
        ]:
            self.assertEqual(self.refusal(scene, seat, action), "not_yours")
        scene.act(1, DeclineBet(1))
        self.assertEqual((scene.kinds(), scene.s.bets), (["bet_declined"], ()))
        scene.act(0, ProposeBet(1, 10))
        scene.act(0, CancelBet(2))
        self.assertEqual((scene.kinds(), scene.s.bets), (["bet_cancelled"], ()))
        scene.act(0, ProposeBet(1, 10))
        scene.act(1, AcceptBet(3))
        self.assertEqual(self.refusal(scene, 0, CancelBet(3)), "no_such_bet")
        self.assertEqual(self.refusal(scene, 1, DeclineBet(3)), "no_such_bet")
        self.assertEqual(self.refusal(scene, 1, AcceptBet(99)), "no_such_bet")

    def test_what_can_be_offered(self) -> None:
        """
        Bets are with somebody else who is here, two at a time, before the start.
        """
        scene = Scene()
        self.assertEqual(self.refusal(scene, 0, ProposeBet(0, 1)), "with_yourself")
        self.assertEqual(self.refusal(scene, 0, ProposeBet(7, 1)), "not_here")
        scene.act(0, ProposeBet(1, 1))
        scene.act(0, ProposeBet(2, 1))
        self.assertEqual(self.refusal(scene, 0, ProposeBet(1, 1)), "too_many_bets")
        scene.begin()
        self.assertEqual(scene.s.bets, ())
        self.assertEqual(self.refusal(scene, 1, ProposeBet(0, 1)), "too_late")

    def test_bets_that_are_void(self) -> None:
        """
        Offers without an answer end at the start, and so do bets with one who
        watches or has left; nobody pays for them.
        """
        scene = Scene(4, stake=0)
        scene.act(0, ProposeBet(1, 1))
        scene.act(0, ProposeBet(2, 1))
        scene.act(2, AcceptBet(2))
        scene.act(3, ProposeBet(1, 1))
        scene.act(1, AcceptBet(3))
        scene.leave(3)
        self.assertEqual(scene.kinds(), ["bet_void"])
        scene.act(0, Ready())
        scene.act(1, Ready())
        scene.wait()
        self.assertEqual(scene.kinds(), ["began", "bet_void", "bet_void"])
        scene.put_out()
        self.assertEqual(scene.balances(), [0, 0, 0, 0])


class LawTests(DrahnCase):
    @given(st.integers(0, 1 << 40))
    @settings(max_examples=25, deadline=None)
    def test_money_is_zero_sum(self, seed: int) -> None:
        """
        No coin is made or lost while players come, play and go, and only a payment that
        an event reports changes a balance.
        """
        before: list[int] = []

        def watch(play: Play) -> None:
            nonlocal before
            s: DrahnState = play.state
            now = list(s.balances)
            self.assertEqual(sum(now) + s.departed, 0)
            told = [event for event in play.events if event.kind == "paid"]
            if not told and play.version > 1:
                gone = [was for was, has in zip(before, now, strict=False) if was - has]
                # Without a payment a balance goes only with a leaver whose seat
                # another took.
                self.assertLessEqual(len(gone), 1)
            before = now
            living = GAME.playing(s)
            self.assertEqual(s.phase == "playing", len(living) > 1)
            self.assertEqual(s.phase == "over", s.winner is not None)
            self.assertLessEqual(s.total, LIMIT)
            if s.turn is not None:
                self.assertIn(s.turn, living)
                self.assertIsNotNone(s.due)
            for bet in s.bets if s.phase != "waiting" else ():
                self.assertLessEqual({bet.by, bet.to}, set(living))

        random_game("owedrahn", seed, watch=watch).play()

    def test_views_are_small(self) -> None:
        """
        A table of sixteen with every bet that can be made takes two datagrams
        at most, and without bets one.
        """
        scene = Scene(16)
        plain = len(msgspec.msgpack.encode(GAME.view(scene.s, "all")))
        self.assertLess(plain, 1100)
        for seat in range(16):
            for other in (1, 2):
                scene.act(seat, ProposeBet((seat + other) % 16, 1000))
        full = len(msgspec.msgpack.encode(GAME.view(scene.s, "all")))
        self.assertLess(full, 2200)

    def test_bots_play_rounds(self) -> None:
        """
        Bots alone play round after round, and decline every bet.
        """
        scene, chance = Scene(4, seed=3), Chance(9)
        scene.act(0, ProposeBet(1, 10))
        for _ in range(4000):
            for seat in scene.s.here:
                view = msgspec.to_builtins(GAME.view(scene.s, "all"))
                _, chance = chance.draw()
                action = GAME.bot(view, seat, chance, None)
                if action is not None:
                    scene.act(seat, action)
            if scene.s.phase == "over":
                scene.wait()
            if scene.s.round == 5:
                break
        self.assertEqual(scene.s.round, 5)
        self.assertEqual(scene.s.bets, ())
