"""Links between nodes over real TLS: nodes come in, strangers do not."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
)
from twisted.trial.unittest import TestCase

from tests.node.test_node_channels import greeting, way_in
from tests.support.live_rooms import RoomsWorld
from tests.support.node_channels import channels
from tests.support.redis_servers import until
from vinom.base.model import Issued, NodeFacts
from vinom.base.reactor.waits import Waits
from vinom.errors import NoCapacity
from vinom.net.keys.authority import NODE_PURPOSE, Authority
from vinom.node.gateways import over_links
from vinom.node.links import NodeLinks, NodeTls, dial_node
from vinom.store.memory.nodes import MemoryNodeStore


class Stranger(Protocol):
    """Asks at once, and notes what it gets."""

    def __init__(self) -> None:
        self.got, self.is_over = b"", False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(greeting() + way_in(1))

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: object = None) -> None:
        self.is_over = True


class NodeLinksTests(TestCase):
    """`NodeLinks` against what listens at ``node_link``."""

    timeout = 60

    def setUp(self) -> None:
        self.authority = self.make_authority()
        self.asked: list[tuple[str, int]] = []
        self.nodes = MemoryNodeStore(reactor.seconds)
        self.port = self.listen(NodeTls(self.authority, "n2"))

    def make_authority(self) -> Authority:
        """Make the authority of some deployment."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return Authority.open(folder, "game.vinom", reactor.seconds)

    def listen(self, tls: NodeTls) -> int:
        """Listen for nodes, and register that as node n2."""
        requests = SimpleNamespace(
            hellos=Waits(reactor), idle=Waits(reactor), errors=Counter(), lost=id
        )
        served = channels("n2", reactor, requests, RoomsWorld().rooms, self.admit)
        self.addCleanup(served.stopService)
        site = over_links(served, tls, NODE_PURPOSE, reactor)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        facts = NodeFacts("n2", {"link": f"127.0.0.1:{number}"}, "1")
        self.nodes.register(facts, 60)
        return number

    async def admit(self, match_id: str, seat: int) -> bytes:
        self.asked.append((match_id, seat))
        return b"FOUND"

    def links(self, authority: Authority | None = None) -> NodeLinks:
        """Make the links of node n1."""
        tls = NodeTls(authority or self.authority, "n1")
        dial = partial(dial_node, tls, reactor)
        links = NodeLinks(self.nodes, dial, "n1", reactor)
        links.startService()
        self.addCleanup(self.close, links)
        return links

    async def close(self, links: NodeLinks) -> None:
        """Close links, and wait until that is done."""
        links.stopService()
        await until(lambda: not links._links)

    async def test_asks(self) -> None:
        """
        A node asks another one, and again over the same link.
        """
        links = self.links()
        asked = [
            Deferred.fromCoroutine(links.ask_way_in("n2", "m1", seat))
            for seat in range(3)
        ]
        for one in asked:
            self.assertEqual(await one, b"FOUND")
        self.assertEqual(sorted(self.asked), [("m1", 0), ("m1", 1), ("m1", 2)])
        self.assertEqual(len(links._links), 1)

    async def test_unknown_node(self) -> None:
        """
        A node that is not registered, or does not listen, cannot be asked.
        """
        self.nodes.register(NodeFacts("n3", {}, "1"), 60)
        self.nodes.register(NodeFacts("n4", {"link": "127.0.0.1:1"}, "1"), 60)
        for node_id in ("n3", "n4", "n5"):
            with self.assertRaises(NoCapacity):
                await self.links().ask_way_in(node_id, "m1", 0)

    async def test_another_node_at_its_address(self) -> None:
        """
        A node that dials reaches the node it means, or none.
        """
        self.listen(NodeTls(self.authority, "n7"))
        with self.assertRaises(NoCapacity):
            await self.links().ask_way_in("n2", "m1", 0)
        self.assertEqual(self.asked, [])

    async def test_another_deployment(self) -> None:
        """
        Nodes of two deployments refuse each other.
        """
        with self.assertRaises(NoCapacity):
            await self.links(self.make_authority()).ask_way_in("n2", "m1", 0)
        self.assertEqual(self.asked, [])

    async def test_strangers(self) -> None:
        """
        Nothing is served without a node's certificate: those of game servers, of the
        lobby, and of another authority are refused, and so is none.
        """
        other = self.make_authority()
        for issued in (
            None,
            self.authority.issue("abcdefgh"),
            self.authority.lobby(["localhost"]),
            other.node("n1"),
        ):
            stranger = await self.connect(issued)
            await until(lambda stranger=stranger: stranger.is_over)
            self.assertEqual(stranger.got, b"")
        self.assertEqual(self.asked, [])
        stranger = await self.connect(self.authority.node("n1"))
        await until(lambda: stranger.got)
        self.assertEqual(self.asked, [("m1", 1)])
        assert stranger.transport is not None
        stranger.transport.abortConnection()
        await until(lambda: stranger.is_over)

    async def connect(self, issued: Issued | None) -> Stranger:
        """Connect with a certificate, or with none."""
        own: Any = None
        if issued is not None:
            own = PrivateCertificate.loadPEM(issued.key + issued.certificate)
        options: CertificateOptions = optionsForClientTLS(
            self.authority.node_name("n2"),
            Certificate.loadPEM(self.authority.anchor),
            own,
        )
        stranger = Stranger()
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda _: stranger
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
        await wrapClientTLS(options, endpoint).connect(factory)
        return stranger
