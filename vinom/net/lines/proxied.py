"""
A connection's first bytes: a proxy's header, from configured addresses only, and then
those that select the protocol that takes over.

Twisted reads versions 1 and 2 of the PROXY protocol. This module decides which proxies
it believes, and puts a header that comes in pieces together first.
Source: the specification of HAProxy's PROXY protocol, section 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.waits import Waits
from vinom.net.lines.forwarded import Proxies, behind_proxy
from vinom.net.lines.secure import SecureTransport
from vinom.net.lines.sniff import (
    LONGEST_PROXY_LINE,
    PROXY_LINE,
    Spoken,
    end_of_proxy_header,
    sniff,
)

_END = b"\r\n"
_NOBODY = b"PROXY UNKNOWN\r\n"
_FAMILIES = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_PORT = re.compile(rb"[0-9]{1,5}")


@implementer(IHalfCloseableProtocol)
class ProxiedProtocol(HAProxyProtocolWrapper):
    """
    A connection that a proxy made for somebody, whom it may name first.

    A proxy that speaks HTTP sends no header here, but one of HTTP: see
    `vinom.net.lines.forwarded`.
    """

    _early = b""
    _is_without = False
    _when_known: Callable[[], None] | None = None

    def when_known(self, call: Callable[[], None]) -> None:
        """Call *call* once the header was read, before what came with it goes on."""
        self._when_known = call

    def dataReceived(self, data: bytes) -> None:
        if self._is_without or self._proxyInfo is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        data, self._early = self._early + data, b""
        end = end_of_proxy_header(data)
        if end is None:
            self._early = data
            return
        header, rest = data[:end], data[end:]
        if not header:
            self._is_without = True
        elif not self._read(header):
            self.loseConnection()
            return
        self._report_known()
        if rest:
            self.wrappedProtocol.dataReceived(rest)

    def readConnectionLost(self) -> None:
        """The peer sends no more; whoever serves it may still have answers."""
        inner: Any = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if inner is not None:
            inner.readConnectionLost()
        elif self.transport is not None:
            # What Twisted does for a protocol that knows no half-closed connections.
            below: Any = self.transport
            below.connectionLost(Failure(ConnectionDone()))

    def writeConnectionLost(self) -> None:
        """Our half is closed."""
        inner: Any = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if inner is not None:
            inner.writeConnectionLost()

    def _read(self, header: bytes) -> bool:
        """Read whom the proxy speaks for; ``False`` if the header is none."""
        if header.startswith(PROXY_LINE) and not _is_good_line(header):
            return False
        if header == _NOBODY:
            # As the specification has it; Twisted's parser requires a blank.
            header = _NOBODY[:-2] + b" " + _NOBODY[-2:]
        try:
            super().dataReceived(header)
        except ValueError:
            # Something that Twisted's parser lets through.
            return False
        return self._proxyInfo is not None

    def _report_known(self) -> None:
        if self._when_known is not None:
            call, self._when_known = self._when_known, None
            call()

    def getPeer(self) -> IAddress:
        """Give whom the proxy speaks for; the proxy, if it names no IP address."""
        named: Any = super().getPeer()
        try:
            ip_address(getattr(named, "host", ""))
        except ValueError:
            assert self.transport is not None
            named = self.transport.getPeer()
        found: IAddress = named
        host = behind_proxy(named.host)
        if host != named.host:
            found = type(named)("TCP", host, named.port)
        return found


def _is_good_line(data: bytes) -> bool:
    """Is this a header of the first version, with addresses that are some?"""
    line, end, _ = data[:LONGEST_PROXY_LINE].partition(_END)
    words = line.split(b" ")
    if not end or len(words) < 2:
        return False
    if words[1] == b"UNKNOWN":
        return True
    family = _FAMILIES.get(words[1])
    if family is None or len(words) != 6 or b"%" in line:
        return False
    try:
        for address in words[2:4]:
            family(address.decode("ascii"))
    except ValueError:
        return False
    return all(_PORT.fullmatch(port) and int(port) < 65536 for port in words[4:])


class ProxiedFactory(WrappingFactory):
    """
    Serve everybody; believe the proxies about whose connection it is.

    :param factory: serves each connection.
    :param proxies: their addresses. Only their connections may begin with a header;
        from any other address a header is what the player said.
    """

    noisy = False
    protocol = ProxiedProtocol

    def __init__(
        self, factory: IProtocolFactory, proxies: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        super().__init__(factory)
        self._proxies = Proxies(tuple(proxies))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        host = getattr(addr, "host", None)
        if host is not None and self._proxies.trusts(host):
            return super().buildProtocol(addr)
        protocol: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return protocol


def when_peer_known(transport: Any, call: Callable[[], None]) -> None:
    """Call *call* once a connection's ``getPeer`` is final: at once without a proxy."""
    while isinstance(transport, ProtocolWrapper | SecureTransport):
        if isinstance(transport, ProxiedProtocol):
            transport.when_known(call)
            return
        transport = transport.transport
    call()


#: How long a connection may take to show its protocol, seconds.
SNIFF_SECONDS = 5.0


class Sniffing(Protocol):
    """
    Wait for the first bytes of a connection, then hand it to the protocol for them.

    It holds at most 20 bytes, by default for at most `SNIFF_SECONDS`.
    """

    transport: Any

    def __init__(
        self,
        choose: Callable[[Spoken], IProtocol | None],
        lost: Callable[[Failure, bool], None],
        waits: Waits,
        deadline: float,
    ) -> None:
        """
        :param choose: makes the protocol that takes over the connection, with all bytes
            received; ``None`` ends the connection.
        :param lost: called at the end of a connection that no protocol took over;
            ``True`` if it was silent for too long.
        :param waits: rings at the deadline.
        :param deadline: when to give up, on the clock of *waits*.
        """
        self._choose, self._lost = choose, lost
        self._waits, self._deadline = waits, deadline
        self._held = b""
        self._is_over = self._is_overdue = False

    def connectionMade(self) -> None:
        self._waits.add(self, self._deadline)

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._held:
            data = self._held + data
        spoken = sniff(data)
        if spoken is None:
            self._held = data
            return
        self._is_over = True
        self._waits.remove(self)
        inner = self._choose(spoken)
        if inner is None:
            self.transport.abortConnection()
            return
        transport = self.transport
        put_protocol(transport, inner)
        inner.makeConnection(transport)
        inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._waits.remove(self)
        self._is_over = True
        self._lost(reason, self._is_overdue)

    def overdue(self) -> None:
        """Give up, because nothing came in time."""
        self._is_over = self._is_overdue = True
        self.transport.abortConnection()


def put_protocol(transport: Any, protocol: Any) -> Any:
    """
    Let a transport, or its wrapper, pass received bytes to another protocol.

    :returns: the previous protocol.
    """
    name = "wrappedProtocol" if hasattr(transport, "wrappedProtocol") else "protocol"
    former = getattr(transport, name, None)
    setattr(transport, name, protocol)
    return former
