"""Tests do not fail because a machine has other work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent


class PatienceTests(SynchronousTestCase):
    def test_examples_may_take_long(self) -> None:
        """
        No property is taken for wrong because an example of it took long.
        """
        self.assertIsNone(settings().deadline)
        self.assertIn(HealthCheck.too_slow, settings().suppress_health_check)

    def test_nodes_load_games_only(self) -> None:
        """
        A node that plays a game of the tests does not carry the tests' tools.
        """
        program = "import sys, tests.support.quick; print('hypothesis' in sys.modules)"
        told = subprocess.check_output(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        self.assertEqual(told.strip(), "False")
