"""Newcomers and bots in rooms of the games that take them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Refused, Rejected
from vinom.game import Game, Seat
from vinom.games.arena import Arena, Move
from vinom.games.dice import Dice
from vinom.games.oldmaid import OldMaid
from vinom.games.owedrahn import OweDrahn, Ready, Roll
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.room import Closed, Room, RoundOver


class Table:
    """A room, its recording, and what came out of it."""

    def __init__(self, game: Game[Any, Any], players: int = 2) -> None:
        seats = tuple(SeatPlan(f"p{seat}", f"player {seat}") for seat in range(players))
        plan = MatchPlan("m", game.name, seats, 11)
        self.game = game
        self.file = bytearray(encode_header(plan, game, 0.0))
        self.room = Room(plan, game, 0.0, record=self.keep)
        self.now = 0.0
        self.rounds: list[RoundOver] = []

    def keep(self, one: Any) -> None:
        self.file += encode_recorded(one)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps short enough for ticks."""
        for _ in range(round(seconds * 20)):
            self.now += 0.05
            self.room.alarm(self.now)
        for effect in self.room.take_effects():
            if isinstance(effect, RoundOver):
                self.rounds.append(effect)
            if isinstance(effect, Closed):
                self.file += encode_ending(effect.end, self.room.state)

    def view(self) -> Any:
        return msgspec.msgpack.decode(self.room.view(self.room.audience_of(None)))


class Hat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a player brings."""

    hat: str = "none"


class Worn(Struct, frozen=True):
    """The players' costumes and teams."""

    hats: tuple[tuple[str, str, int], ...]


class Hats(Game[Worn, Hat]):
    """A game that looks at each newcomer."""

    name = "hats"
    actions = loadout = Hat
    seats = (2, 4)
    teams = 2
    late_join = True

    def start(self, table: Any) -> Worn:
        return Worn(tuple((one.name, one.loadout.hat, one.team) for one in table.seats))

    def act(self, s: Worn, seat: int, action: Hat, now: float) -> Worn:
        return s

    def joined(self, s: Worn, seat: int, now: float, newcomer: Seat) -> Worn:
        shown = (newcomer.name, newcomer.loadout.hat, newcomer.team or 0)
        return Worn((*s.hats[:seat], shown, *s.hats[seat + 1 :]))

    def view(self, s: Worn, audience: Any) -> Any:
        return {"hats": s.hats}


class NewcomerTests(SynchronousTestCase):
    def assert_replays(self, table: Table) -> None:
        table.room.close("ended", table.now)
        table.pass_time(0.05)
        recording = read_recording(bytes(table.file))
        self.assertEqual(recording.ending.end.reason, "ended")
        self.assertIsNone(replay(recording, table.game).differing)

    def test_what_newcomers_bring(self) -> None:
        """
        The game sees a newcomer as it saw the first ones: name, loadout and team, in
        a replay too; a loadout that it does not take keeps one out.
        """
        table = Table(Hats())
        room = table.room
        for seat in (0, 1):
            room.join(seat, 0.0)
        room.add_seat(SeatPlan("p2", "cid", b'{"hat":"fez"}'), 1.0)
        room.leave(0, 2.0)
        room.add_seat(SeatPlan("p3", "dan", b'{"hat":"cap"}'), 3.0)
        with self.assertRaises(Refused):
            room.add_seat(SeatPlan("p4", "eve", b'{"coat":1}'), 3.0)
        room.add_seat(SeatPlan("p5", "fay"), 4.0)
        table.now = 4.0
        self.assertEqual(
            table.view()["hats"],
            [
                ["fay", "none", 0],
                ["player 1", "none", 1],
                ["cid", "fez", 0],
                ["dan", "cap", 1],
            ],
        )
        self.assert_replays(table)

    def test_owedrahn(self) -> None:
        """
        One who comes during a round watches it and plays the next; the
        recording has it all.
        """
        table = Table(OweDrahn())
        room = table.room
        for seat in (0, 1):
            room.join(seat, 0.0)
        for seat in (0, 1):
            room.act(seat, Ready(), 1.0)
        table.now = 1.0
        self.assertEqual(room.add_seat(SeatPlan("p2", "late"), 2.0), 2)
        self.assertEqual(table.view()["order"], [0, 1])
        with self.assertRaises(Rejected):
            room.act(2, Roll(), 2.0)
        while not table.rounds:
            table.pass_time(5.0)
        self.assertEqual(table.rounds[0].outcome.scores[2], 0)
        table.pass_time(6.0)
        self.assertEqual((table.view()["phase"], room.phase), ("waiting", "playing"))
        for seat in range(3):
            room.act(seat, Ready(), table.now)
        self.assertEqual(table.view()["order"], [0, 1, 2])
        room.leave(2, table.now)
        # Up to sixteen, then seats that were given up.
        for number in (*range(3, 16), 2):
            self.assertEqual(room.add_seat(SeatPlan("px", "x"), table.now), number)
        with self.assertRaises(Refused):
            room.add_seat(SeatPlan("py", "y"), table.now)
        self.assert_replays(table)

    def test_arena(self) -> None:
        """
        One who comes in the middle of a round runs with the others at once, and
        a dropped player's seat is played by the bot.
        """
        table = Table(Arena())
        room = table.room
        for seat in (0, 1):
            room.join(seat, 0.0)
        table.pass_time(1.0)
        self.assertEqual(room.add_seat(SeatPlan("p2", "late"), table.now), 2)
        table.pass_time(0.1)
        x, y = table.view()["players"][2][:2]
        # Away from the walls, towards the middle of the field.
        move = Move(100 if x < 12_000 else -100, 0) if x != 12_000 else Move(100, 0)
        room.act(2, move, table.now)
        table.pass_time(0.2)
        self.assertNotEqual(table.view()["players"][2][:2], [x, y])
        still = table.view()["players"][0][:2]
        room.drop(0, table.now)
        table.pass_time(1.0)
        self.assertNotEqual(table.view()["players"][0][:2], still)
        self.assert_replays(table)

    def test_bots_take_a_seat(self) -> None:
        """
        Against a bot alone a game goes on: whenever the player is silent, time
        plays for it, until a round is over.
        """
        for game in (Dice(), OldMaid(), OweDrahn()):
            table = Table(game)
            table.room.seat_bot(1, 0.0)
            table.room.join(0, 0.0)
            if isinstance(game, OweDrahn):
                table.room.act(0, Ready(), 0.0)
            for _ in range(400):
                table.pass_time(5.0)
                if table.rounds:
                    break
            self.assertEqual(len(table.rounds), 1, game.name)
            self.assert_replays(table)
