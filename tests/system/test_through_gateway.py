"""
Tests of the lobby and of rooms, again with a gateway in front of each node.

By native link, and by sniffing. A dozen of them; all with ``VINOM_GATEWAY=full``.
"""

from __future__ import annotations

import os
from unittest import TestSuite

from twisted.trial.unittest import TestCase

from tests.support.behind_gateways import behind
from tests.system import (
    test_cross_transport,
    test_isolated_rooms,
    test_old_clients,
    test_results,
    test_several_nodes,
    test_slow_games,
    test_surviving,
    test_tutorial,
    test_websocket_node,
)

#: The cases, and their tests of plain tox.
_CASES: tuple[tuple[type[TestCase], tuple[str, ...]], ...] = (
    (test_websocket_node.WebSocketNodeTests, ("test_match", "test_newer_line")),
    (test_isolated_rooms.IsolatedRoomTests, ("test_play",)),
    (test_tutorial.TutorialTests, ("test_netcat",)),
    (test_cross_transport.CrossTransportTests, ("test_udp_is_blocked",)),
    (test_old_clients.OldPythonTests, ("test_room",)),
    (
        test_several_nodes.SeveralNodesTests,
        ("test_back_to_a_room_of_another_node",),
    ),
    (test_slow_games.SlowGameTests, ()),
    (test_surviving.SurvivingTests, ()),
    (test_results.ResultsTests, ()),
    (test_old_clients.OldJavaScriptTests, ()),
)
_WAYS = ("linked", "sniffed")

for _way in _WAYS:
    for _case, _ in _CASES:
        _made = behind(_way, _case)
        _made.__module__ = __name__
        globals()[_made.__name__] = _made


def testSuite() -> TestSuite:
    """Choose: trial calls this."""
    suite = TestSuite()
    for case, names in _CASES:
        if os.environ.get("VINOM_GATEWAY") == "full":
            names = tuple(name for name in dir(case) if name.startswith("test_"))
        for way in _WAYS:
            made = globals()[f"{way.capitalize()}{case.__name__}"]
            for name in names:
                suite.addTest(made(name))
    return suite
