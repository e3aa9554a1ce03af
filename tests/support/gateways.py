"""Gateways in memory: a transport that can be full, and a back end that remembers."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.addresses import AddressBuckets
from vinom.base.limits.buckets import NetworkCounts
from vinom.gateway.arrivals import Limits
from vinom.gateway.backends import Backends
from vinom.gateway.routing.health import Health
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint, ServiceRule, check_rules
from vinom.gateway.sessions import Session, SessionIds
from vinom.gateway.settings import GatewaySettings
from vinom.net.lines.forwarded import Proxies
from vinom.net.streams.channels import Leg, Reason
from vinom.net.streams.packets import Packet, PacketReader, encode


def settings(**given: Any) -> GatewaySettings:
    """Make settings of a gateway."""
    return GatewaySettings(listen=("tcp:0",), routes=Path("routes.toml"), **given)


def limits(
    connections: int, each_second: float, at_once: float, *proxies: str
) -> Limits:
    """Make limits of each address but for proxies; packets have none."""
    return Limits(
        NetworkCounts(connections, 9, 9) if proxies else NetworkCounts(connections),
        AddressBuckets(each_second, at_once),
        AddressBuckets(1e6, 1e6),
        Proxies(tuple(map(ip_network, proxies))),
    )


class _Handle:
    def setsockopt(self, *args: int) -> None:
        """Options change nothing here."""


@implementer(ITCPTransport)
class MemoryTransport:
    """
    A TCP connection of one protocol, whose peer is the test.

    :ivar sent: what the protocol wrote.
    :ivar is_paused: whether it reads nothing for a while.
    """

    def __init__(self, protocol: Any, host: str = "192.0.2.1", port: int = 5) -> None:
        self.protocol, self.sent = protocol, b""
        self.peer = IPv4Address("TCP", host, port)
        self.is_paused = self.is_closed = self.is_half_closed = False
        self.is_aborted = False
        self.producer: Any = None
        protocol.makeConnection(self)

    def give(self, data: bytes, size: int = 0) -> None:
        """Have the protocol receive bytes, in pieces of *size* if that is not 0."""
        for start in range(0, len(data), size or max(1, len(data))):
            if not self.is_closed:
                self.protocol.dataReceived(data[start : start + (size or len(data))])

    def take(self) -> bytes:
        """Take what was written since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    def lose(self, is_clean: bool = False) -> None:
        """Have the connection break."""
        if not self.is_closed:
            self.is_closed = True
            reason = CONNECTION_DONE if is_clean else CONNECTION_LOST
            self.protocol.connectionLost(Failure(reason))

    def fill(self) -> None:
        """The peer does not read."""
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The peer reads again."""
        self.producer.resumeProducing()

    # What a transport does.

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self.sent += data

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.lose(is_clean=True)

    def loseWriteConnection(self) -> None:
        self.is_half_closed = True

    def abortConnection(self) -> None:
        self.is_aborted = True
        self.lose()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return self.peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 4600)

    def getHandle(self) -> _Handle:
        return _Handle()

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return True


class MemoryStream:
    """
    An end of a session that remembers what it was asked
    (`vinom.net.streams.channels.Stream`).

    :ivar got: bytes that it was sent.
    :ivar closed: why it was closed.
    """

    def __init__(self) -> None:
        self.got = b""
        self.is_finished = self.is_paused = False
        self.closed: tuple[Reason, str] | None = None
        self.leg: Leg

    def send(self, data: bytes) -> None:
        assert self.closed is None, "sent after the end"
        self.got += data

    def finish(self) -> None:
        self.is_finished = True

    def close(self, reason: Reason, words: str = "") -> None:
        assert self.closed is None, "closed twice"
        self.closed = reason, words

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


class MemoryBackends:
    """
    Back ends that are reached at once (`backends.Way`).

    :ivar opened: each session that came, with its end here.
    :ivar made: makes the ends here.
    :ivar broken: endpoints that cannot be reached.
    :ivar waiting: if not ``None``, those who wait until a test lets them go on.
    """

    def __init__(self) -> None:
        self.opened: list[tuple[Endpoint, Session, MemoryStream]] = []
        self.tried: list[str] = []
        self.made: type[MemoryStream] = MemoryStream
        self.broken: set[str] = set()
        self.waiting: Any = None

    async def open(
        self, rule: ServiceRule, endpoint: Endpoint, session: Session
    ) -> MemoryStream:
        self.tried.append(str(endpoint))
        if self.waiting is not None:
            await self.waiting
        if str(endpoint) in self.broken:
            raise ConnectionError("refused")
        stream = self.made()
        stream.leg = session.backend
        self.opened.append((endpoint, session, stream))
        return stream

    @property
    def last(self) -> MemoryStream:
        """The end of the newest session."""
        return self.opened[-1][2]


class MemoryGateway:
    """
    What begins sessions, with back ends in memory.

    :ivar ended: sessions that are over.
    """

    def __init__(self, services: dict[str, Any] | None = None) -> None:
        """:param services: rules; without them all that a test needs."""
        self.clock = Clock()
        self.health = Health(self.clock.seconds)
        self.router = Router(self.health.is_usable, self.health.is_reachable)
        simple = {"strategy": "round_robin", "endpoints": ["a:1", "b:1", "c:1"]}
        self.router.use(check_rules(services or {"lobby": simple, "7": {**simple}}))
        self.servers = MemoryBackends()
        self.ended: list[Session] = []
        self.backends = Backends(
            self.router,
            self.health,
            {"tcp": self.servers, "packets": self.servers},
            SessionIds(),
            self.clock,
            self.ended.append,
        )

    def outcomes(self) -> list[str]:
        """List how sessions ended."""
        return [str(one.outcome) for one in self.ended]


def packets(data: bytes) -> list[Packet]:
    """Read whole packets."""
    reader = PacketReader()
    found = reader.read(data)
    assert reader.mistake is None, reader.mistake
    assert reader.is_between
    return found


def written(*given: Packet) -> bytes:
    """Write packets."""
    return b"".join(map(encode, given))


def every_size(data: bytes) -> list[int]:
    """List sizes of pieces, from single bytes to all at once."""
    return [1, 2, 3, 5, 7, 31, 32, 33, len(data) - 1, len(data)]
