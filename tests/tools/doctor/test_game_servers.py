"""``vinom doctor`` starts a game server, and says why none can be started."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from vinom.node.settings import Settings
from vinom.tools.doctor import machine


class GameServersTests(SynchronousTestCase):
    def test_prints_why(self) -> None:
        """
        Of a game server that ends before it has a link, its last words are shown.
        """
        program = machine.game_server_program

        def broken(*given: Any) -> Any:
            return attrs.evolve(program(*given), entry="no_such_module:main")

        self.patch(machine, "game_server_program", broken)
        (found,) = machine.examine_game_servers(Settings())
        self.assertEqual(found.verdict, "failure")
        self.assertIn("No module named 'no_such_module'", found.message)
