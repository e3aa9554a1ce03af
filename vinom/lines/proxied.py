"""
Who is behind a proxy: the PROXY protocol, from configured addresses only.

Twisted reads versions 1 and 2 of it. This module decides which proxies it believes,
and puts a header that comes in pieces together first.
Source: the specification of HAProxy's PROXY protocol, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: By as much a header of either version is known (the longer one's fixed part).
_ENOUGH = 16
#: The first version is a line, and may be shorter.
_FIRST = b"PROXY "
_END = b"\r\n"
_NOBODY = b"PROXY UNKNOWN\r\n"


class ProxiedProtocol(HAProxyProtocolWrapper):
    """A connection that a proxy made for somebody, whom it names first."""

    _early = b""
    _when_known: Callable[[], None] | None = None

    def when_known(self, call: Callable[[], None]) -> None:
        """Call *call* once the header was read and what came with it passed on."""
        self._when_known = call

    def dataReceived(self, data: bytes) -> None:
        if self._proxyInfo is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        if self._parser is None:
            data, self._early = self._early + data, b""
            is_first = data.startswith(_FIRST) and _END in data
            if len(data) < _ENOUGH and not is_first:
                self._early = data
                return
            if data.startswith(_NOBODY):
                # As the specification has it; Twisted's parser requires a blank.
                data = _NOBODY[:-2] + b" " + data[len(_NOBODY) - 2 :]
        try:
            super().dataReceived(data)
        except ValueError:
            if self._proxyInfo is not None:
                # Not the header's: it is for our log.
                raise
            # A port that isn't a number, which Twisted's parser lets through.
            self.loseConnection()
        self._report_known()

    def _report_known(self) -> None:
        if self._proxyInfo is not None and self._when_known is not None:
            call, self._when_known = self._when_known, None
            call()

    def getPeer(self) -> IAddress:
        """Give whom the proxy speaks for; the proxy, if it names no IP address."""
        named = super().getPeer()
        try:
            ip_address(getattr(named, "host", ""))
        except ValueError:
            assert self.transport is not None
            return self.transport.getPeer()
        return named


class ProxiedFactory(WrappingFactory):
    """
    Serve everybody; believe the proxies about whose connection it is.

    :param factory: serves each connection.
    :param proxies: their addresses. Each of their connections must begin with a
        header; from any other address a header is read as HTTP.
    """

    noisy = False
    protocol = ProxiedProtocol

    def __init__(
        self, factory: IProtocolFactory, proxies: Sequence[IPv4Network | IPv6Network]
    ) -> None:
        super().__init__(factory)
        self._proxies = tuple(proxies)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        host = getattr(addr, "host", None)
        if host is not None and self._is_proxy(host):
            return super().buildProtocol(addr)
        protocol: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return protocol

    def _is_proxy(self, host: str) -> bool:
        address: Any = ip_address(host.partition("%")[0])
        # A socket for both families shows IPv4 as ::ffff:10.0.0.1.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in proxies for proxies in self._proxies)


def when_peer_known(transport: Any, call: Callable[[], None]) -> None:
    """Call *call* once a connection's ``getPeer`` is final: at once without a proxy."""
    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, ProxiedProtocol):
            transport.when_known(call)
            return
        transport = transport.transport
    call()
