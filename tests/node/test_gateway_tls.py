"""Links of gateways over real TLS: gateways come in, strangers do not."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import TestCase

from tests.support.gateways import MemoryGateway, MemoryStream
from tests.support.redis_servers import until
from vinom.base.model import Issued
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Misconfigured
from vinom.gateway.dialing import Dialer, LinkTls
from vinom.gateway.link_backend import LinkBackend
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.sessions import Session, SessionRequest
from vinom.net.keys.authority import Authority
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import OfContexts, link_context
from vinom.net.streams.channels import Reason
from vinom.node.gateways import GatewayLinks, listen_for_gateways
from vinom.node.links import NodeTls

_DAY = datetime.timedelta(days=1)


class GatewayTlsTests(TestCase):
    """What listens at ``gateway_link``, and who dials it."""

    timeout = 60

    def setUp(self) -> None:
        self.authority = self.make_authority()
        self.links = GatewayLinks("n1", {}, reactor, TurnEnd(reactor), DirectReads())
        self.links.startService()
        self.addCleanup(self.links.stopService)

    def make_authority(self) -> Authority:
        """Make the authority of some deployment."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return Authority.open(folder, "game.vinom", time.time)

    def listen(self) -> int:
        """Have the node listen."""
        port: Any = listen_for_gateways(
            reactor,
            self.links,
            "tls:0",
            "127.0.0.1",
            NodeTls(self.authority, "n1"),
            lambda peer: False,
        )
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def gateway(self, own: Issued, anchor: bytes) -> LinkBackend:
        """Make a gateway's links with a certificate."""
        folder = Path(self.mktemp())
        folder.mkdir()
        paths = [folder / name for name in ("link.pem", "link.key", "authority.pem")]
        for path, text in zip(paths, (own.certificate, own.key, anchor), strict=True):
            path.write_bytes(text)
        dialer = Dialer(reactor, LinkTls(*paths))
        links = LinkBackend(dialer, reactor, "g1", idle_seconds=0.01)
        self.addCleanup(self.close, links)
        return links

    async def close(self, links: LinkBackend) -> None:
        """Close a gateway's links."""
        links.close()
        await until(lambda: not links.links and not self.links.gateways)

    def open(self, links: LinkBackend, port: int) -> Deferred[Any]:
        """Ask for a session."""
        memory = MemoryGateway(
            {
                "7": {
                    "strategy": "round_robin",
                    "endpoints": [f"127.0.0.1:{port}"],
                    "transport": "packets+tls",
                }
            }
        )
        request = SessionRequest("packets", "192.0.2.1", 5, code=7)
        session = Session(1 << 63, request, MemoryStream(), 0.0, lambda _: None)
        rule = memory.router.rules.by_name["7"]
        where = Endpoint("127.0.0.1", port)
        return Deferred.fromCoroutine(links.open(rule, where, session))

    async def test_gateway(self) -> None:
        """
        A gateway of the deployment is linked.
        """
        own = self.authority.gateway("g1", _DAY)
        links = self.gateway(own, self.authority.anchor)
        stream = await self.open(links, self.listen())
        self.assertEqual(self.links.gateways, {"g1": 1})
        await until(lambda: self.links.sessions == 1)
        stream.close(Reason.DONE)

    async def test_strangers(self) -> None:
        """
        Nobody else is: with a certificate of another authority, or of one of ours that
        is no gateway's.
        """
        port, ours = self.listen(), self.authority
        strangers = [
            self.make_authority().gateway("g1", _DAY),
            ours.node("n2"),
            ours.lobby(["localhost"]),
            ours.issue("s1"),
        ]
        for own in strangers:
            links = self.gateway(own, ours.anchor)
            with self.assertRaises(Exception):  # noqa: B017  # OpenSSL has many
                await self.open(links, port)
            self.assertEqual(links.links, {})
        self.assertEqual(self.links.gateways, {})

    async def test_another_server(self) -> None:
        """
        A gateway opens nothing at a server that is no node, even one of the deployment.
        """
        for own in (
            self.authority.gateway("g2", _DAY),
            self.make_authority().node("n1"),
        ):
            context = link_context(own, self.authority.anchor)
            factory: ServerFactory = self.links.factory()
            site = over_tls(OfContexts(lambda: context), factory, reactor)  # noqa: B023
            port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            links = self.gateway(
                self.authority.gateway("g1", _DAY), self.authority.anchor
            )
            with self.assertRaises(Exception):  # noqa: B017  # OpenSSL has many
                await self.open(links, port.getHost().port)
            self.assertEqual((links.links, self.links.sessions), ({}, 0))
            await until(lambda: not self.links.gateways)

    def test_files(self) -> None:
        """
        Files that do not belong together are refused at the start; later the last good
        ones stay.
        """
        own = self.authority.gateway("g1", _DAY)
        other = self.authority.gateway("g2", _DAY)
        with self.assertRaisesRegex(Misconfigured, "vinom link-certificate"):
            self.gateway(Issued(own.certificate, other.key), self.authority.anchor)
        with self.assertRaisesRegex(Misconfigured, "vinom link-certificate"):
            self.gateway(own, b"nothing")
        folder = Path(self.mktemp())
        folder.mkdir()
        paths = [folder / name for name in ("a", "b", "c")]
        texts = own.certificate, own.key, self.authority.anchor
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text)
        tls = LinkTls(*paths)
        first = tls().context()
        paths[1].write_bytes(b"broken")
        self.assertIs(tls().context(), first)
        paths[0].write_bytes(other.certificate)
        paths[1].write_bytes(other.key)
        self.assertIsNot(tls().context(), first)
