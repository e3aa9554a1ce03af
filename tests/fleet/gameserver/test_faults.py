"""What a game does wrong on a game server, and who notices."""

from __future__ import annotations

from msgspec import msgpack
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from tests.support.games import Teller
from vinom.net.packets.player import ActionRefused, EventArrived, StateArrived


class CrashTests(SynchronousTestCase):
    """A game that fails, seen by who runs it."""

    def test_log(self) -> None:
        """
        The log names the game, what it raised at which line, and where the rest is.
        """
        net = GameNet()
        ann, _ = net.begin()
        with capturedLogs() as told:
            ann.say("boom")
            net.run(1.0)
        (line,) = [formatEvent(e) for e in told if e["log_level"] is LogLevel.error]
        self.assertRegex(
            line,
            r"^game teller failed: ZeroDivisionError: boom "
            r"\(games\.py:\d+, in act\); see .+",
        )


class LongEventTests(SynchronousTestCase):
    """Events as long as a game likes."""

    def test_as_long_as_can_be(self) -> None:
        """
        An event of many packets arrives whole, at everybody.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("shout 16000")
        net.run(1.0)
        for player in (ann, bob):
            (event,) = player.of(EventArrived)
            self.assertEqual("A" * 16000, event.data)
        self.assertEqual([], net.ends)

    def test_too_long(self) -> None:
        """
        An event that cannot be sent ends the match as a fault of its game, and
        is not lost silently.
        """
        net = GameNet()
        ann, bob = net.begin()
        ann.say("shout 17000")
        net.run(1.0)
        self.assertEqual(["crashed"], [end.reason for end in net.ends])
        self.assertEqual("crashed", ann.over[0].reason)
        self.assertEqual("crashed", bob.over[0].reason)
        self.assertEqual(1, net.stopped)


class Brief(Teller):
    """The same game, whose room closes as soon as a round is over."""

    linger = 0.0


class LateActionTests(SynchronousTestCase):
    """An action that comes just after the one that ends the match."""

    def test_refused(self) -> None:
        """
        Its player is sent that it was refused: the last state acknowledges it, and
        would otherwise count it as applied.
        """
        net = GameNet(games={"teller": Brief()})
        ann, bob = net.begin()
        # Both come in one packet.
        ann.is_silent = True
        ann.say("end")
        ann.is_silent = False
        late = ann.say("late")
        net.run(1.0)
        self.assertEqual(["finished"], [end.reason for end in net.ends])
        self.assertEqual(late, ann.seen.acked)
        self.assertFalse([line for line in ann.lines if line.endswith("late")])
        refused = [(no.seq, no.reason) for no in ann.of(ActionRefused)]
        self.assertEqual([(late, "room_closed")], refused)
        self.assertEqual([], bob.of(ActionRefused))
        self.assertEqual(1, len(ann.over))


class TickTests(SynchronousTestCase):
    """A game with fixed steps whose player comes back between two of them."""

    def test_comes_back_before_the_step(self) -> None:
        """
        An action that waits for the next step is not acknowledged by the state that the
        player is shown on return: it would vanish from what the client predicts.
        """
        early = 0
        for offset in range(20):
            net = GameNet()
            ann, _ = net.begin(game="ticking")
            net.run(offset // 2 / 100)
            back = net.resumed(0, ann.resume)
            net.run(0.01 + offset % 2 / 100)
            said = ann.say("hello")
            self.assertTrue(said)
            net.run(0.5)
            states = back.of(StateArrived)
            for state in states:
                lines = msgpack.decode(state.view)["lines"]
                is_there = any(line.endswith("hello") for line in lines)
                self.assertEqual(is_there, state.acked >= said, f"{offset}: {state}")
                early += not is_there
            self.assertTrue(states)
        self.assertGreater(early, 0)
