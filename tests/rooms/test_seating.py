"""Who sits where in a room, without the room."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.games import Say
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.rooms.seating import BotSeat, Member, Seating


class Sides(Game[Any, Say]):
    """Two teams."""

    actions = Say
    seats = (2, 3)
    teams = 2
    bot_names = ("Ada", "Bo")


class SeatingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seating = Seating("sides", Sides(), Sides.seats)

    def sit(self, name: str) -> Member:
        """Give somebody the first free seat."""
        seat = self.seating.free()
        member = Member(seat, f"{name}-id", name)
        self.seating.sit(seat, member)
        return member

    def names(self) -> list[tuple[int, str]]:
        return [(one.seat, one.name) for one in self.seating.players()]

    def test_seats_are_filled_and_move_up(self) -> None:
        """
        A newcomer gets the first free seat; at the start the others move up, and the
        game is given them in that order.
        """
        ann, bob, _ = self.sit("ann"), self.sit("bob"), self.sit("cid")
        self.assertFalse(self.seating.is_free_for("dan"))
        self.seating.stand_up(ann, is_played=False)
        self.assertIsNone(self.seating.at(0))
        self.assertIsNone(self.seating.at(7))
        self.assertEqual(self.seating.free(), 0)
        self.seating.move_up()
        self.assertEqual(self.names(), [(0, "bob"), (1, "cid")])
        self.assertEqual(bob.seat, 0)
        self.assertEqual([plan.name for plan in self.seating.plans()], ["bob", "cid"])
        self.assertEqual(self.seating.free(), 2)

    def test_name_of_who_left(self) -> None:
        """
        The name of a player who leaves play is kept until somebody has the seat.
        """
        ann = self.sit("ann")
        self.seating.stand_up(ann, is_played=True)
        self.assertEqual(self.seating.former[0].name, "ann")
        self.sit("bob")
        self.assertEqual(self.seating.former, {})

    def test_teams(self) -> None:
        """
        A team that is chosen for a free seat is that of whoever sits there next; after
        the start none is chosen any more.
        """
        self.seating.set_team(0, 1)
        self.assertEqual(self.sit("ann").team, 1)
        self.seating.set_team(0, None)
        self.assertIsNone(self.seating.players()[0].team)
        self.seating.set_team(1, 1)
        self.seating.move_up()
        self.assertIsNone(self.sit("bob").team)
        for seat, team in ((3, 0), (0, 2)):
            refused = self.assertRaises(Refused, self.seating.set_team, seat, team)
            self.assertEqual(refused.code, Code.BAD_FIELD)

    def test_names_of_bots(self) -> None:
        """
        Each bot gets the next name, while the game has any.
        """
        for name in ("Ada", "Bo", ""):
            self.assertEqual(self.seating.bot_name(), name)
            seat = self.seating.free()
            self.seating.sit(seat, BotSeat(seat, name))
        self.assertEqual(self.names(), [(0, "Ada"), (1, "Bo"), (2, "bot 3")])
