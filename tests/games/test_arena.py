"""The arena: walls, gems, dashes, and positions that a client can draw between."""

from __future__ import annotations

from itertools import combinations
from math import hypot
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.random_games import random_game
from vinom.game import Chance, Event, Seat, Step, Table
from vinom.games.arena import (
    DASH_SPEED,
    DASH_TICKS,
    FULL,
    HALF,
    HEIGHT,
    REACH,
    REST_TICKS,
    SAFE_TICKS,
    SPEED,
    STARTS,
    TICK_HZ,
    WIDTH,
    Action,
    Arena,
    ArenaOptions,
    ArenaState,
    Dash,
    Move,
    Player,
    build_walls,
    free_points,
    is_free,
    velocity,
)
from vinom.play.play import Play
from vinom.turns import Rematch

GAME = Arena()
SEEDS = st.integers(0, 1 << 40)


def begun(players: int = 2, seed: int = 1, **options: int) -> ArenaState:
    seats = tuple(Seat(f"p{seat}") for seat in range(players))
    return GAME.start(Table(seats, ArenaOptions(**options), Chance(seed)))


def tick(s: ArenaState, *inputs: tuple[int, Action]) -> Step[ArenaState]:
    result = GAME.tick(s, inputs, s.tick + 1)
    return result if isinstance(result, Step) else Step(result)


def put(*places: tuple[int, int], **changes: Any) -> ArenaState:
    """Players at these places on a field without walls, gems far away."""
    s = begun(len(places))
    players = tuple(Player(x, y) for x, y in places)
    s = s.with_(walls=(), players=players, gems=((23_000, 13_000),))
    return s.with_(**changes)


class FieldTests(SynchronousTestCase):
    @given(SEEDS)
    @settings(max_examples=60, deadline=None)
    def test_a_player_reaches_everything(self, seed: int) -> None:
        """
        Wherever walls stand, starts are free, gems lie where one can stand, and
        a player who fits between walls reaches each of them.
        """
        walls, _ = build_walls(Chance(seed))
        for start in STARTS:
            self.assertTrue(is_free(walls, *start))
        self.assertGreater(len(free_points(walls)), 100)
        # Walls are convex: with room between any two, all that is free is one.
        for one, other in combinations(walls, 2):
            apart = max(
                max(other[axis], one[axis])
                - min(other[axis] + other[axis + 2], one[axis] + one[axis + 2])
                for axis in (0, 1)
            )
            self.assertGreater(apart, 2 * HALF)
        for left, top, width, height in walls:
            self.assertGreater(min(left, top), 2 * HALF)
            self.assertGreater(WIDTH - left - width, 2 * HALF)
            self.assertGreater(HEIGHT - top - height, 2 * HALF)

    def test_the_field_is_fair(self) -> None:
        """
        Turned upside down, the walls are the same.
        """
        walls, _ = build_walls(Chance(4))
        turned = {(WIDTH - x - w, HEIGHT - y - h, w, h) for x, y, w, h in walls}
        self.assertEqual(set(walls), turned)

    @given(st.integers(-FULL, FULL), st.integers(-FULL, FULL))
    @settings(max_examples=300, deadline=None)
    def test_nobody_is_faster(self, x: int, y: int) -> None:
        """
        No direction is faster than another, and opposite ones are opposite.
        """
        vx, vy = velocity(x, y, SPEED)
        self.assertLessEqual(hypot(vx, vy), SPEED)
        self.assertEqual(velocity(-x, -y, SPEED), (-vx, -vy))
        if hypot(x, y) >= FULL:
            self.assertGreater(hypot(vx, vy), SPEED * 0.97)


class RulesTests(SynchronousTestCase):
    def test_a_move_lasts(self) -> None:
        """
        A direction holds until the next; the view shows it.
        """
        s = put((5000, 5000), (9000, 9000))
        s = tick(s, (0, Move(FULL, 0))).state
        s = tick(s).state
        view = msgspec.to_builtins(GAME.view(s, "all"))
        self.assertEqual(view["players"][0][:4], [5000 + 2 * SPEED, 5000, SPEED, 0])
        self.assertEqual(view["players"][0][-2:], [FULL, 0])
        self.assertEqual(view["tick"], 2)
        s = tick(s, (0, Move(0, 0))).state
        self.assertEqual((s.players[0].vx, s.players[0].to_x), (0, 0))

    def test_walls_and_the_rim_stop(self) -> None:
        """
        One stops at a wall, slides along it, and never leaves the field.
        """
        s = put((5000, 5000), (500, 500), walls=((5500, 4000, 900, 3000),))
        for _ in range(5):
            s = tick(s, (0, Move(FULL, FULL)), (1, Move(-FULL, -FULL))).state
        self.assertEqual(s.players[0].x, 5500 - HALF)
        self.assertEqual(s.players[0].y, 5000 + 5 * velocity(FULL, FULL, SPEED)[1])
        self.assertEqual((s.players[1].x, s.players[1].y), (HALF, HALF))
        self.assertEqual((s.players[1].vx, s.players[1].vy), (0, 0))

    def test_a_gem_is_a_point(self) -> None:
        """
        A player who comes near takes it, and another lies elsewhere.
        """
        s = put(
            (5000, 5000), (15_000, 9000), gems=((5000 + REACH, 5000), (20_000, 700))
        )
        s, events = (step := tick(s, (0, Move(FULL, 0)))).state, step.events
        self.assertEqual([event.kind for event in events], ["took"])
        self.assertEqual(s.players[0].points, 1)
        self.assertNotEqual(s.gems[0], (5000 + REACH, 5000))
        self.assertEqual(s.gems[1], (20_000, 700))

    def test_of_two_at_once_each_is_first_sometimes(self) -> None:
        """
        Two who reach one gem in the same step win it in turns.
        """
        winners = set()
        for at in (1, 2):
            s = put((5000, 5000), (5000, 5000), gems=((5100, 5000),), tick=at)
            winners.add(tick(s).events[0].data["seat"])
        self.assertEqual(winners, {0, 1})

    def test_a_dash_takes_a_point(self) -> None:
        """
        A dash is three times as fast, takes a point from whom it meets, once,
        and then needs a rest.
        """
        s = put((5000, 5000), (7000, 5000))
        s = s.with_(players=(s.players[0], s.players[1].with_(points=3)))
        step = tick(s, (0, Move(FULL, 0)), (0, Dash()))
        self.assertEqual(step.state.players[0].x, 5000 + DASH_SPEED)
        told: list[Event] = list(step.events)
        for _ in range(DASH_TICKS - 1):
            step = tick(step.state, (0, Dash()))
            told += step.events
        self.assertEqual([event.kind for event in told], ["hit"])
        one, other = step.state.players
        self.assertEqual((one.points, other.points), (1, 2))
        self.assertEqual((one.dash, one.rest), (0, REST_TICKS - DASH_TICKS))
        self.assertTrue(0 < other.safe <= SAFE_TICKS)
        self.assertEqual(tick(step.state).state.players[0].vx, SPEED)

    def test_the_points_or_the_time_end_it(self) -> None:
        """
        The first to the points wins at once; else the most when time is up,
        and equal points share.
        """
        s = put((5000, 5000), (9000, 9000), target=1, gems=((5000, 5000),))
        step = tick(s)
        self.assertEqual(step.state.winners, (0,))
        self.assertEqual(step.events[-1].kind, "ended")
        s = put((5000, 5000), (9000, 9000), ends=2)
        s = tick(tick(s).state).state
        outcome = GAME.outcome(s)
        self.assertEqual(outcome.places, ((0, 1),))
        self.assertIs(GAME.tick(s, ((0, Move(FULL, 0)),), 3), s)

    def test_rematch(self) -> None:
        """
        When all have asked another round begins, on the same field.
        """
        s = tick(put((5000, 5000), (9000, 9000), ends=1)).state
        step = tick(s, (1, Rematch()))
        self.assertEqual(step.events, (Event("asked", {"seat": 1}),))
        again = GAME.tick(step.state, ((0, Rematch()),), 50)
        assert isinstance(again, Step)
        self.assertEqual([event.kind for event in again.events], ["began"])
        self.assertEqual((again.state.round, again.state.phase), (2, "playing"))
        self.assertEqual(again.state.ends, 50 + s.length)
        self.assertIsNone(GAME.outcome(again.state))

    def test_rematch_of_those_who_stay(self) -> None:
        """
        Another round begins, as long as any, when the one leaves who had not asked.
        """
        s = put((5000, 5000), (9000, 9000), (13_000, 9000), ends=1)
        s = tick(tick(s).state, (1, Rematch()), (2, Rematch())).state
        self.assertEqual(s.phase, "over")
        again = GAME.left(s, 0, 50 / TICK_HZ)
        assert isinstance(again, Step)
        self.assertEqual([event.kind for event in again.events], ["began"])
        self.assertEqual(
            (again.state.phase, again.state.ends), ("playing", 50 + s.length)
        )

    def test_come_and_go(self) -> None:
        """
        A newcomer begins with nothing; a player who left is not seen any more; the last
        one on the field wins.
        """
        s = GAME.joined(begun(2), 2, 3.0, Seat("late"))
        self.assertEqual(len(s.players), 3)
        self.assertTrue(is_free(s.walls, s.players[2].x, s.players[2].y))
        left = GAME.left(s, 0, 4.0)
        assert isinstance(left, ArenaState)
        self.assertIsNone(GAME.view(left, "all").players[0])
        back = GAME.joined(left, 0, 5.0, Seat("late"))
        self.assertEqual((back.players[0].points, len(back.players)), (0, 3))
        last = GAME.left(left, 1, 6.0)
        assert isinstance(last, Step)
        outcome = GAME.outcome(last.state)
        self.assertEqual(outcome.places, ((2,), (0, 1)))

    def test_a_dropped_player_stands(self) -> None:
        """
        A player without a connection does not run on.
        """
        s = tick(put((5000, 5000), (9000, 9000)), (0, Move(FULL, 0))).state
        s = tick(GAME.dropped(s, 0, 1.0)).state
        self.assertEqual(s.players[0].vx, 0)


class LawTests(SynchronousTestCase):
    @given(SEEDS)
    @settings(max_examples=15, deadline=None)
    def test_nobody_leaves_the_field(self, seed: int) -> None:
        """
        In whole games everybody stays on the field and out of walls, moves no
        farther in a tick than a dash, and is where the view's way leads from.
        """
        before: dict[int, tuple[int, int]] = {}

        def watch(play: Play) -> None:
            s: ArenaState = play.state
            shown: dict[int, tuple[int, int]] = {}
            for seat, player in enumerate(s.players):
                if player is None:
                    continue
                self.assertTrue(is_free(s.walls, player.x, player.y), (seat, player))
                self.assertLessEqual(hypot(player.vx, player.vy), DASH_SPEED)
                shown[seat] = (player.x, player.y)
            began = any(event.kind == "began" for event in play.events)
            if s.tick and not began:
                for seat in before.keys() & shown.keys():
                    x, y = shown[seat]
                    was_x, was_y = before[seat]
                    player = s.players[seat]
                    if (x, y) != (was_x, was_y):
                        self.assertEqual((x - was_x, y - was_y), (player.vx, player.vy))
            before.clear()
            before.update(shown)
            self.assertGreaterEqual(min(one.points for one in s.players if one), 0)
            self.assertEqual(len(set(s.gems)), len(s.gems))

        random_game("arena", seed, watch=watch).play()

    def test_views_fit_one_datagram(self) -> None:
        """
        With eight players and eight gems a state is shorter than 600 bytes.
        """
        s = begun(8, gems=8, points=100)
        for _ in range(40):
            moves = ((seat, Move(-99, 98)) for seat in range(8))
            s = tick(s, *moves, *((seat, Dash()) for seat in range(8))).state
            size = len(msgspec.msgpack.encode(GAME.view(s, "all")))
            self.assertLess(size, 600)

    def test_bots_find_gems(self) -> None:
        """
        Eight bots, asked four times per second, play a round that somebody wins by
        points.
        """
        s, chance = begun(8, seed=6), Chance(8)
        setup = msgspec.to_builtins(GAME.setup(s))
        while s.phase == "playing":
            inputs: list[tuple[int, Action]] = []
            for seat in range(8) if s.tick % 5 == 0 else ():
                view = msgspec.to_builtins(GAME.view(s, "all"))
                _, chance = chance.draw()
                action = GAME.bot(view, seat, chance, setup)
                if action is not None:
                    inputs.append((seat, action))
            s = tick(s, *inputs).state
        self.assertLess(s.tick, s.ends)
        self.assertEqual(max(one.points for one in s.players if one), 15)
