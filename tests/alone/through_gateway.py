"""
Tests of the lobby and of rooms, again with a gateway in front of each node.

By native link, and by sniffing. A dozen of them; all with ``VINOM_GATEWAY=full``.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import TestSuite

from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from websockets.exceptions import InvalidStatus

from tests.alone import main_job
from tests.browser import test_matches as browser_matches
from tests.browser import test_newcomers as browser_newcomers
from tests.browser import test_page as browser_page
from tests.browser import test_parties as browser_parties
from tests.support.behind_gateways import AtPort, behind, shared_gateway
from tests.support.redis_servers import until
from tests.system import (
    test_adoption,
    test_another_node,
    test_coming_back,
    test_cross_transport,
    test_demo,
    test_emptied_store,
    test_isolated_rooms,
    test_metrics,
    test_moving,
    test_node,
    test_node_keys,
    test_other_languages,
    test_public_settings,
    test_redis_node,
    test_relay,
    test_results,
    test_sent_away,
    test_several_nodes,
    test_slow_games,
    test_tls_clients,
    test_tutorial,
    test_websocket_conformance,
    test_websocket_node,
)


class NodeTests(test_node.NodeTests):
    #: Over links a node that drains takes nothing new: its health is asked at itself.
    healthy = (200, 503)


class ManyMatchesTests(main_job.ManyMatchesTests):
    #: The gateway's, which it dials when it first checks the node.
    links = 1


class PublicSettingsTests(test_public_settings.PublicSettingsTests):
    #: The gateway says for the node, which closes the connection: 502.
    too_many = (InvalidStatus,)


class _Conformance:
    """A server of this process is behind a gateway that all these tests share."""

    def setUp(self: Any) -> None:
        front, back = shared_gateway()
        self.patch(test_websocket_conformance, "reactor", AtPort(reactor, back))
        super().setUp()
        self.server.port = front

    async def _clean(self: Any) -> None:
        await super()._clean()
        # Its end comes later than the client's.
        await until(lambda: not self.server.websockets.connections.total)


class FrameTests(_Conformance, test_websocket_conformance.FrameTests):
    pass


class CompressionTests(_Conformance, test_websocket_conformance.CompressionTests):
    pass


#: What has no node, and so no native link.
_ALONE = (FrameTests, CompressionTests)

# What is not here, and why. Of tests/system:
#
# - test_kubernetes_fleet: where game servers run; players' lines are
#   those of other tests.
# - test_bad_network, test_datagrams, test_foreign_clients: UDP, which has no gateway;
#   they have no node.
# - test_chaos, test_connect_four, test_demo's demos, test_dev: commands that start
#   nodes of their own.
# - test_control_links, test_fleet: links and processes below a node, without one.
# - test_descriptors: what the node does when its own descriptors are used up.
# - test_doctor: whether this machine can run a node; who comes is the doctor.
# - test_gateway and what begins so: they have gateways of their own.
# - test_listening, test_node_inside: how a node starts and stops, inside of the test.
# - test_one_address: a proxy's header, and memory; has a gateway of its own.
# - test_proxies: other proxies, in front of the node itself.
# - test_rooms_soak: has the node of the benchmarks; benchmarks.soak.gateways is alike.
#
# Of tests/browser: test_dev_page is of a command with a node of its own; test_games,
# test_moments, test_own_boards and test_ways are of what a page shows and how it works.
#
# Of tests/alone: crowds, continuity and pods measure nodes; relayed_main_job has what
# main_job has, over UDP.

#: The cases, and their tests of plain tox.
_CASES: tuple[tuple[type[TestCase], tuple[str, ...]], ...] = (
    (test_websocket_node.WebSocketNodeTests, ("test_match",)),
    (test_isolated_rooms.IsolatedRoomTests, ("test_play",)),
    (test_tutorial.TutorialTests, ("test_netcat",)),
    (test_cross_transport.CrossTransportTests, ("test_udp_is_blocked",)),
    (
        test_several_nodes.SeveralNodesTests,
        ("test_room_of_another_node",),
    ),
    (test_slow_games.SlowGameTests, ()),
    (test_results.ResultsTests, ()),
    (test_adoption.AdoptionTests, ()),
    (test_another_node.AnotherNodeTests, ()),
    (test_coming_back.JavaScriptTests, ()),
    (test_demo.BotsTests, ()),
    (test_emptied_store.EmptiedStoreTests, ()),
    (test_metrics.MetricsTests, ()),
    (test_moving.MovingTests, ()),
    (NodeTests, ()),
    (test_node_keys.NodeKeyTests, ()),
    (test_other_languages.LanguageTests, ()),
    (PublicSettingsTests, ()),
    (test_redis_node.RedisNodeTests, ()),
    (test_relay.RelayTests, ()),
    (test_sent_away.SentAwayTests, ()),
    (test_tls_clients.TlsClientTests, ()),
    (ManyMatchesTests, ()),
    (browser_page.LobbyTests, ()),
    (browser_parties.PartyTests, ()),
    (browser_matches.MatchTests, ()),
    (browser_newcomers.LeftTests, ()),
    (browser_newcomers.InvitationTests, ()),
    (browser_newcomers.LobbyTests, ()),
    (browser_newcomers.CrashTests, ()),
)
#: Tests of these cases that are of something else.
_OTHERS = {
    # What is configured, and the addresses that are taken, are the node's own.
    (NodeTests, "test_refusals_are_one_line"),
    # The node ends at its start.
    (test_redis_node.RedisNodeTests, "test_own_authority"),
    (test_redis_node.RedisNodeTests, "test_redis_that_cannot_be_used"),
    # Certificates of the node's own, and when they change; the gateway has others.
    (test_node_keys.NodeKeyTests, "test_hangup_reloads"),
    (test_node_keys.NodeKeyTests, "test_rotation_drops_nobody"),
    # There is no node, and so nothing for a gateway to be in front of.
    (test_demo.BotsTests, "test_no_node"),
    # TLS ends at the gateway. Endpoints of Twisted's are the node's.
    (test_tls_clients.TlsClientTests, "test_endpoint"),
}
if not test_another_node.IS_FULL:
    _OTHERS.add((test_another_node.AnotherNodeTests, "test_all_at_once"))
#: The same of those that a gateway reaches as a proxy.
_SNIFFED_OTHERS = {
    # It is one. And who came over TLS is known only over links.
    (PublicSettingsTests, "test_without_a_proxy"),
}
_WAYS = ("linked", "sniffed")

_MADE: dict[tuple[str, type[TestCase]], type[TestCase]] = {}
for _way in _WAYS:
    for _case, _ in _CASES:
        _made = behind(_way, _case)
        _made.__module__ = __name__
        _MADE[_way, _case] = _made
        globals()[_made.__name__] = _made


def testSuite() -> TestSuite:
    """Choose: trial calls this."""
    suite = TestSuite()
    for case, names in _CASES:
        if os.environ.get("VINOM_GATEWAY") == "full":
            names = tuple(name for name in dir(case) if name.startswith("test_"))
        for way in _WAYS:
            made = _MADE[way, case]
            others = _OTHERS | (_SNIFFED_OTHERS if way == "sniffed" else set())
            for name in names:
                if (case, name) not in others:
                    suite.addTest(made(name))
    if os.environ.get("VINOM_GATEWAY") == "full":
        for case in _ALONE:
            for name in dir(case):
                if name.startswith("test_"):
                    suite.addTest(case(name))
    return suite
