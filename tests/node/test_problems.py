"""What a node can see to be wrong with itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vinom.node.problems import Others


class OthersTests(SynchronousTestCase):
    def test_own_lease_of_before(self) -> None:
        """
        A lone node that was killed and restarted warns of no other node: the lease that
        it had before ends, and one that stays is another's.
        """
        others = Others(lease_seconds=5.0)
        for now in (0.0, 2.0, 4.9):
            others.look(["before", "other"], now)
            self.assertEqual(others.count, 0)
        others.look(["other"], 5.1)
        self.assertEqual(others.count, 1)
