"""Lines of players, reported to the other nodes."""

from __future__ import annotations

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.lobbies import LobbyWorld
from vinom.errors import StoreUnavailable
from vinom.node.reporting import Reporting
from vinom.store.memory.players import Lines, MemoryOnlineStore


class ReportingTests(SynchronousTestCase):
    """The store has lost the lines of a node."""

    def test_until_the_store_answers(self) -> None:
        """
        They are reported again until the store answers, also if nobody notices that it
        does.
        """
        lines = Lines()
        world = LobbyWorld(lines=MemoryOnlineStore(lines, "n1"))
        _, said = world.hello("ann")
        clock = Clock()
        reporting = Reporting(world.online, clock)
        reporting.startService()
        lines.lines.clear()
        silent = self.patch(
            MemoryOnlineStore, "keep", lambda *_: fail(StoreUnavailable("silent"))
        )
        reporting.report()
        clock.pump([0.5] * 5)
        self.assertEqual(lines.lines, {})
        silent.restore()
        clock.pump([0.5] * 2)
        self.assertEqual(list(lines.lines), [said["player_id"]])
        reporting.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
