"""Tests of vinom.play.hosting.host: one door between a game and those who see it."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.play.test_room import plan_for
from tests.support import games
from vinom.base.model import MatchEnd
from vinom.errors import Code, Refused
from vinom.game import Game, Outcome
from vinom.play.hosting.host import LONGEST_TEXT, RoomHost
from vinom.play.room import Emitted, Forfeited, Room


class Silent:
    """A recording that keeps how its match ended."""

    length = 0

    def __init__(self) -> None:
        self.ends: list[MatchEnd] = []

    def record(self, recorded: Any) -> None:
        pass

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        self.ends.append(end)
        return ""


class Listed:
    """An outlet that lists its calls; it cannot send events of one kind."""

    def __init__(self, room: Room, unsendable: str = "") -> None:
        self.room, self.unsendable = room, unsendable
        self.calls: list[Any] = []

    def started(self, now: float) -> None:
        self.calls.append("started")

    def emitted(self, emitted: Emitted, now: float) -> None:
        kind = emitted.event.kind
        if kind == self.unsendable:
            raise ValueError("too long")
        self.calls.append(("emitted", kind, emitted.version))

    def round_over(self, outcome: Outcome, now: float) -> None:
        self.calls.append(("round_over", outcome.round))

    def forfeited(self, given_up: Forfeited, now: float) -> None:
        self.calls.append(("forfeited", given_up.seat))

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        self.calls.append(("closed", end.reason, report is not None))

    def show(self, now: float) -> bool:
        self.room.view(self.room.audience_of(None))
        self.calls.append(("show", self.room.version))
        return True


class RoomHostTests(SynchronousTestCase):
    """What every outlet of a room can rely on."""

    def host(
        self, game: Game[Any, Any] | None = None, unsendable: str = "", **how: bool
    ) -> RoomHost:
        game = game or games.Teller()
        room = Room(plan_for(game), game, 0.0)
        self.recording = Silent()
        host = RoomHost(room, self.recording, **how)
        self.first, self.second = Listed(room), Listed(room, unsendable)
        host.outlets = (self.first, self.second)
        room.join(0, 0.0)
        room.join(1, 0.0)
        return host

    def act(
        self, host: RoomHost, word: str, number: int | None = 1, now: float = 1.0
    ) -> Refused | None:
        data = msgspec.msgpack.encode({"type": "say", "word": word})
        return host.act(0, number, data, host.room.decode_action, now)

    def test_settles_before_anything_is_shown(self) -> None:
        """
        All that a turn led to is known before the first player sees any of it.
        """
        host = self.host()
        self.act(host, "tell")
        self.assertEqual(self.first.calls, [])
        self.assertTrue(host.end_turn(1.0))
        version = host.room.version
        wanted = [
            "started",
            ("emitted", "told", version),
            ("emitted", "psst", version),
            ("show", version),
        ]
        self.assertEqual(self.first.calls, wanted)
        self.assertEqual(self.second.calls, wanted)

    def test_applied_actions_are_counted(self) -> None:
        """
        By its number a player sees that its action is in the state.
        """
        host = self.host()
        self.assertIsNone(self.act(host, "hello", 3))
        self.assertEqual((host.acted, host.applied), ([3, 0], [3, 0]))

    def test_ticks_apply_actions(self) -> None:
        """
        In a game with ticks an action counts when its tick was made, not before.
        """
        host = self.host(games.Ticking())
        self.act(host, "hello", 3, now=0.05)
        self.assertEqual((host.acted, host.applied), ([3, 0], [0, 0]))
        host.run_clock(0.2)
        self.assertEqual(host.applied, [3, 0])

    def test_refused_action(self) -> None:
        """
        A refused action has a reason; its number may be used again or not, depending on
        the outlet's protocol.
        """
        host = self.host()
        refused = self.act(host, "no", 3)
        self.assertEqual(refused.code, Code.REJECTED)
        self.assertEqual(refused.details, {"reason": "no"})
        self.assertEqual(host.acted, [0, 0])
        counting = self.host(counts_refused=True)
        self.assertIsNotNone(self.act(counting, "no", 3))
        self.assertEqual((counting.acted, counting.applied), ([3, 0], [3, 0]))

    def test_unreadable_action(self) -> None:
        """
        An action that is not one of the game's names the field; its text is bounded.
        """
        host = self.host()
        data = msgspec.msgpack.encode({"type": "say", "word": 1})
        refused = host.act(0, 1, data, host.room.decode_action, 1.0)
        self.assertEqual(refused.code, Code.BAD_ACTION)
        self.assertLessEqual(len(refused.message), LONGEST_TEXT)

    def test_unsendable_event(self) -> None:
        """
        An event that one outlet cannot send ends the room for everybody, with a report.
        """
        host = self.host(unsendable="told")
        self.act(host, "tell")
        host.end_turn(1.0)
        self.assertEqual(host.ended_at, 1.0)
        self.assertIn(("closed", "crashed", True), self.first.calls)
        self.assertEqual(self.second.calls[-1][0], "show")
        self.assertEqual([end.reason for end in self.recording.ends], ["crashed"])

    def test_fails_while_it_is_shown(self) -> None:
        """
        A game that fails at its view ends its room in the same turn, once.
        """
        host = self.host()
        self.act(host, "blind")
        self.assertFalse(host.end_turn(1.0))
        closed = [call for call in self.first.calls if call[0] == "closed"]
        self.assertEqual(closed, [("closed", "crashed", True)])
        self.assertEqual(len(self.recording.ends), 1)

    def test_newcomer(self) -> None:
        """
        A newcomer's numbers start over at its own seat; those of others stay.
        """
        game = games.Teller()
        game.late_join = True
        host = self.host(game)
        self.act(host, "hello", 3)
        seat = plan_for(game, 3).seats[2]
        self.assertEqual(host.add_seat(seat, 1.0), 2)
        self.assertEqual(host.acted, [3, 0, 0])
