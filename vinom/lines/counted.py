"""Limits of a port, by address: how many connections, how many hellos of TLS."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from vinom.limits.buckets import NetworkBuckets, NetworkCounts
from vinom.limits.logged import BoundedLog
from vinom.lines.sniff import Spoken, sniff
from vinom.lines.sniffed import put_protocol


class _Counted(ProtocolWrapper):
    """A connection that is counted until its end."""

    host = ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cast(CountedFactory, self.factory).counts.leave(self.host)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class CountedFactory(WrappingFactory):
    """
    Serve at most so many connections; others are closed at once.

    :param factory: serves them.
    :param counts: of each address, and of all.
    :param log: logs refusals.
    """

    noisy = False
    protocol = _Counted

    def __init__(
        self, factory: IProtocolFactory, counts: NetworkCounts, log: BoundedLog
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self.counts, self._log = counts, log

    def buildProtocol(self, addr: IAddress | None) -> Any:
        host = getattr(addr, "host", "")
        if not self.counts.enter(host):
            self._log.info("refused a connection from {host}: too many", host=host)
            return None
        counted: Any = super().buildProtocol(addr)
        counted.host = host
        return counted


_WORDS = b"This port speaks HTTPS: write https:// in the address.\n"
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_WORDS), _WORDS)
)


class TlsHellos:
    """
    Limit how many handshakes of TLS an address may begin: each takes a signature.

    :param buckets: of each address.
    :param clock: for times.
    """

    def __init__(self, buckets: NetworkBuckets, clock: IReactorTime) -> None:
        self._buckets, self._clock = buckets, clock

    def take(self, host: str) -> bool:
        """May this address begin one more?"""
        return self._buckets.take(host, self._clock.seconds())


class _FirstFlight(Protocol):
    """
    A connection before its first bytes, with what speaks TLS in its place afterwards.

    The address is known then, also behind a proxy of the PROXY protocol.
    """

    def __init__(self, inner: Any, hellos: TlsHellos, log: BoundedLog) -> None:
        self._inner, self._hellos, self._log = inner, hellos, log
        self._is_plain, self._held = False, b""

    def connectionMade(self) -> None:
        self._inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        transport = cast(ITCPTransport, self.transport)
        host = getattr(transport.getPeer(), "host", "")
        if self._is_plain:
            return
        data, self._held = self._held + data, b""
        spoken = sniff(data)
        if spoken is None:
            self._held = data
            return
        if spoken is Spoken.HTTP:
            # Somebody wrote http:// for https://, and should read so.
            self._is_plain = True
            self._log.info("refused {host}: HTTP without TLS", host=host)
            transport.write(_PLAIN)
            transport.loseConnection()
            return
        if not self._hellos.take(host):
            self._log.info("refused {host}: too many TLS handshakes", host=host)
            transport.abortConnection()
            return
        put_protocol(transport, self._inner)
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._inner.connectionLost(reason)


class TlsHelloFactory(ServerFactory):
    """
    Serve connections of which each begins with a hello of TLS.

    :param factory: speaks TLS.
    :param hellos: how many each address may send.
    :param log: logs refusals.
    """

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, hellos: TlsHellos, log: BoundedLog
    ) -> None:
        self._factory, self._hellos, self._log = factory, hellos, log

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        return _FirstFlight(self._factory.buildProtocol(addr), self._hellos, self._log)
