"""Room echo, which measures what hosts it."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from vinom.game import Chance, NoOptions, Seat, Table
from vinom.games.roomecho import Place, RoomEcho


class RoomEchoTests(SynchronousTestCase):
    def test_everyone_sees_everyone(self) -> None:
        """
        The view holds every seat's last input, in whatever order they came.
        """
        echo = RoomEcho()
        s = echo.start(Table((Seat("a"),) * 4, NoOptions(), Chance(1)))
        self.assertEqual(echo.view(s, "all"), {"v": 0, "p": {}})
        s = echo.act(s, 2, Place(1, 2, 3), 0.0)
        s = echo.act(s, 0, Place(4, 5, 6), 0.1)
        s = echo.act(s, 2, Place(7, 8, 9), 0.2)
        self.assertEqual(
            msgspec.msgpack.decode(msgspec.msgpack.encode(echo.view(s, "all"))),
            {
                "v": 3,
                "p": {"0": {"x": 4, "y": 5, "q": 6}, "2": {"x": 7, "y": 8, "q": 9}},
            },
        )

    def test_sizes_are_those_of_the_workload(self) -> None:
        """
        An input is about 32 bytes as text and a state of four about 100.
        """
        data = b'{"x":1234,"y":5678,"q":10100042}'
        place = msgspec.json.decode(data, type=Place)
        echo = RoomEcho()
        s = echo.start(Table((Seat("a"),) * 4, NoOptions(), Chance(1)))
        for seat in range(4):
            s = echo.act(s, seat, place, 0.0)
        self.assertLess(len(msgspec.msgpack.encode(echo.view(s, "all"))), 110)

    def test_bots_count(self) -> None:
        """
        A bot numbers its inputs, so that it knows its own.
        """
        echo = RoomEcho()
        self.assertEqual(echo.bot({"v": 0, "p": {}}, 1, Chance(1), None).q, 0)
        seen = {"v": 1, "p": {"1": {"x": 0, "y": 0, "q": 8}}}
        self.assertEqual(echo.bot(seen, 1, Chance(1), None).q, 9)
