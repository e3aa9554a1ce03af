"""
Tests of vinom.tools.commands.child_node: ports for nodes that are started side by side.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.tools.commands.child_node import free_port, free_port_range

#: Finds ports, and keeps them until its input ends.
_FIND = """
import json, sys
from vinom.tools.commands.child_node import free_port, free_port_range, likely_port
found = {
    "page": likely_port(),
    "lobby": [free_port() for _ in range(20)],
    "games": [free_port_range(30) for _ in range(3)],
}
print(json.dumps(found), flush=True)
sys.stdin.read()
"""


def all_of(found: dict[str, Any]) -> list[int]:
    """Every port that was found."""
    games = [port for first, last in found["games"] for port in range(first, last + 1)]
    return [found["page"], *found["lobby"], *games]


class FreePortTests(SynchronousTestCase):
    def find(self) -> dict[str, Any]:
        """Find ports in a process that lives as long as this test."""
        finding = subprocess.Popen(
            [sys.executable, "-c", _FIND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(finding.communicate)
        assert finding.stdout is not None
        found: dict[str, Any] = json.loads(finding.stdout.readline())
        return found

    def test_beside_others(self) -> None:
        """
        Two who start nodes at the same time are given different ports, also while
        nobody listens at any of them yet.
        """
        found = [*all_of(self.find()), *all_of(self.find())]
        self.assertEqual(len(found), len(set(found)))

    def test_in_turn(self) -> None:
        """
        Two nodes of one process have different ports, and so have their lobbies.
        """
        first, second = free_port_range(8), free_port_range(8)
        ports = [*range(first[0], first[1] + 1), *range(second[0], second[1] + 1)]
        ports += [free_port() for _ in range(8)]
        self.assertEqual(len(set(ports)), 24)

    def test_many(self) -> None:
        """
        A node may have more ports than are kept for one process.
        """
        first, last = free_port_range(1000)
        self.assertEqual(last - first, 999)
