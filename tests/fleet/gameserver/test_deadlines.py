"""Games whose deadlines pile up in a game server, beside others."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from tests.support.games import Tale, Teller
from vinom.play.room import Room


class Hundreds(Teller):
    """Once woken, it sets a hundred deadlines per second."""

    name = "hundreds"

    def advance(self, s: Tale, now: float) -> Tale:
        return replace(s, rounds=s.rounds + 1, wake_at=now + 0.01)


class DeadlineTests(SynchronousTestCase):
    def test_others_have_their_turn(self) -> None:
        """
        After a process was held up for a second, a room with a hundred deadlines to
        make up for does not do that in one go: the room beside it, which is due
        too, waits for few of them, and the first one still catches up.
        """
        net = GameNet(games={"hundreds": Hundreds()}, rooms_limit=2)
        net.bind()
        for match_id in ("m1", "m2"):
            net.open(match_id, game="hundreds")
        players = [
            net.player(seat, match_id) for match_id in ("m1", "m2") for seat in (0, 1)
        ]
        net.run(0.5)
        rooms = [net.server.rooms[match_id].room for match_id in ("m1", "m2")]
        for first, room in zip(players[::2], rooms, strict=True):
            first.say(f"wake {room.match_time(net.reactor.seconds()) + 0.1}")
        net.run(0.3)
        apart = 0

        def compare(room: Room, now: float) -> None:
            nonlocal apart
            Room.alarm(room, now)
            made = [room.state.rounds for room in rooms]
            apart = max(apart, abs(made[0] - made[1]))

        for room in rooms:
            self.patch(room, "alarm", partial(compare, room))
        made = [room.state.rounds for room in rooms]
        net.reactor.advance(1.0)
        self.assertLess(apart, 30)
        for room, before in zip(rooms, made, strict=True):
            self.assertGreaterEqual(room.state.rounds, before + 99)
