"""Links of pods over TLS: who sends what to whom before both are sure."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from vinom.base.limits.logged import BoundedLog, LogBounds
from vinom.fleet.control.link import ControlClient, ControlLink, ControlServer, connect
from vinom.fleet.control.messages import CONTROL_PROTOCOL, Alive, Known, Ready
from vinom.net.keys.authority import NODE_PURPOSE, Authority
from vinom.net.lines.tls import OfContexts, check_peer, dialing_context, serving_context
from vinom.node.links import NodeTls, listen_for_pods


class _Owner:
    def __init__(self) -> None:
        self.heard: list[object] = []
        self.is_lost = False

    def received(self, message: object) -> None:
        self.heard.append(message)

    def lost(self) -> None:
        self.is_lost = True


class _GatewayTls(NodeTls):
    """Shows what a gateway has: the same authority, another purpose."""

    authority: Authority

    def pod_context(self) -> Any:
        return serving_context(self.authority.gateway("g1", timedelta(days=1)))


class PodLinkTests(TestCase):
    """A node that accepts links of pods, and programs that dial it."""

    timeout = 20

    def setUp(self) -> None:
        self.authority = self.make_authority()
        self.arrivals: list[Ready] = []
        self.links: list[ControlLink] = []
        self.owner = _Owner()
        self.proofs: list[bytes] = []
        self.proving: Deferred[None] = succeed(None)

    def make_authority(self) -> Authority:
        return Authority.open(Path(self.mktemp()), "game.vinom", time.time)

    def listen(self, tls: NodeTls | None = None) -> int:
        def arrived(ready: Ready, link: ControlLink) -> _Owner | None:
            self.arrivals.append(ready)
            self.links.append(link)
            return self.owner if ready.secret == b"right" else None

        def prove(ready: Ready) -> Deferred[None]:
            self.proofs.append(ready.secret)
            return self.proving

        port = listen_for_pods(
            reactor,
            "tls:127.0.0.1:0",
            "127.0.0.1",
            tls or NodeTls(self.authority, "n1"),
            ControlServer(reactor, arrived, prove),
            BoundedLog(Logger(), reactor, LogBounds()),
        )
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def client(self, heard: list[Any], secret: bytes = b"right") -> ControlClient:
        self.is_lost: Deferred[None] = Deferred()
        client = ControlClient(
            reactor,
            Ready("s1", 1, CONTROL_PROTOCOL, secret),
            heard.append,
            lambda: self.is_lost.callback(None),
            check=lambda transport: check_peer(transport, NODE_PURPOSE),
        )
        self.addCleanup(client.abort)
        return client

    def dial(
        self, port: int, client: ControlClient, anchor: bytes = b""
    ) -> Deferred[ControlClient]:
        context = dialing_context(anchor or self.authority.anchor)
        endpoint = wrapClientTLS(
            OfContexts(lambda: context), HostnameEndpoint(reactor, "127.0.0.1", port)
        )
        return connect(endpoint, client)

    async def until(self, is_so: Any) -> None:
        while not is_so():
            await deferLater(reactor, 0.01)

    async def test_a_link(self) -> None:
        """
        A pod and its node exchange messages, both ways.
        """
        heard: list[Any] = []
        client = await self.dial(self.listen(), self.client(heard))
        await self.until(lambda: self.links)
        self.links[0].send(Known(b"later"))
        client.send(Alive(1, {}))
        await self.until(lambda: heard and self.owner.heard)
        self.assertEqual(heard, [Known(b"later")])
        self.assertEqual(self.owner.heard, [Alive(1, {})])
        client.close()
        await self.until(lambda: self.owner.is_lost)

    async def test_no_proof(self) -> None:
        """
        A program without the proof is hung up on.
        """
        await self.dial(self.listen(), self.client([], b"wrong"))
        await self.is_lost
        self.assertEqual(self.owner.heard, [])

    async def test_foreign_node(self) -> None:
        """
        A pod sends its secret to nobody whose certificate another authority signed.
        """
        port = self.listen()
        anchor = self.make_authority().anchor
        dialing = self.dial(port, self.client([]), anchor)
        await self.assertFailure(dialing, Exception)
        self.assertEqual(self.proofs, [])

    async def test_not_a_node(self) -> None:
        """
        A gateway's certificate, of the same authority, does not make a node.
        """
        tls = _GatewayTls(self.authority, "n1")
        tls.authority = self.authority
        dialing = self.dial(self.listen(tls), self.client([]))
        await self.assertFailure(dialing, Exception)
        self.assertEqual(self.proofs, [])

    async def test_former_anchor(self) -> None:
        """
        A pod that was given the anchor before the last rotation still knows its node.
        """
        anchor = self.authority.anchor
        self.authority.rotate()
        self.assertNotEqual(self.authority.anchor, anchor)
        await self.dial(self.listen(), self.client([]), anchor)
        await self.until(lambda: self.arrivals)

    async def test_impatient(self) -> None:
        """
        Whoever sends more before its proof was checked is hung up on.
        """
        self.proving = Deferred()
        client = await self.dial(self.listen(), self.client([]))
        await self.until(lambda: self.proofs)
        client.send(Alive(1, {}))
        await self.is_lost
        self.proving.callback(None)
        self.assertEqual(self.arrivals, [])

    async def test_gone_before_the_proof_was_checked(self) -> None:
        """
        A pod that is gone by the time its proof is checked has not arrived.
        """
        self.proving = Deferred()
        client = await self.dial(self.listen(), self.client([]))
        await self.until(lambda: self.proofs)
        client.abort()
        await self.is_lost
        await deferLater(reactor, 0.05)
        self.proving.callback(None)
        self.assertEqual(self.arrivals, [])
