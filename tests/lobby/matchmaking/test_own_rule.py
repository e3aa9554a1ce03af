"""The rule that the manual shows."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests
from tests.support.lobbies import LobbyWorld
from tests.support.waiting import entry, names, run
from vinom.lobby.matchmaking.queues import Queues, read_tables
from vinom.lobby.matchmaking.rules.rule import Rule

_LISTINGS = Path(tests.__file__).resolve().parent.parent / "docs" / "howto" / "listings"
TABLES = {
    "namesakes": {
        "game": "duel",
        "rule": "by_name:ByName",
        "settings": {"anybody_seconds": 10},
    }
}


class OwnRuleTests(SynchronousTestCase):
    """A rule in a file of its own, as an author begins."""

    def setUp(self) -> None:
        sys.path.insert(0, str(_LISTINGS))
        self.addCleanup(sys.path.remove, str(_LISTINGS))
        self.addCleanup(sys.modules.pop, "by_name", None)

    def rule(self) -> Rule:
        world = LobbyWorld()
        return Queues(world.games, read_tables(TABLES)).named["namesakes"].rule

    def test_find(self) -> None:
        """
        Namesakes meet at once, others when they have waited for ten seconds.
        """
        waiting = [entry("ann", 0.0), entry("bob", 1.0), entry("abe", 2.0)]
        proposals, again = run(self.rule(), waiting, 3.0)
        self.assertEqual((names(proposals), again), ([["ann", "abe"]], 11.0))
        waiting = [entry("ann", 0.0), entry("bob", 1.0)]
        self.assertEqual(run(self.rule(), waiting, 10.0), ([], 11.0))
        self.assertEqual(names(run(self.rule(), waiting, 11.0)[0]), [["ann", "bob"]])

    def test_queue(self) -> None:
        """
        Players queue for it by the name that the settings give it.
        """
        world = LobbyWorld(tables=read_tables(TABLES))
        lines = [world.hello(name)[0] for name in ("ann", "bob")]
        for line in lines:
            line.ask("queue", queue="namesakes")
        world.clock.advance(9.0)
        self.assertEqual(world.fleet.hosted, [])
        world.clock.advance(1.1)
        self.assertEqual(len(world.fleet.hosted), 1)
