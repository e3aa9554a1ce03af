"""Connect to back ends, by address, name, or path of a UNIX socket."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory

from vinom.gateway.link_tls import LinkTls
from vinom.routing.rules import Endpoint

#: How long connecting may take, seconds.
DIAL_SECONDS = 3.0


class _Only(Factory):
    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Any:
        return self._protocol


class Dialer:
    """Connects protocols to back ends."""

    def __init__(
        self,
        reactor: Any,
        tls: LinkTls | None = None,
        seconds: float = DIAL_SECONDS,
    ) -> None:
        """
        :param reactor: connects.
        :param tls: TLS of links to nodes; ``None`` if it is not configured.
        :param seconds: how long connecting may take.
        """
        self._reactor, self._tls, self._seconds = reactor, tls, seconds

    def dial(
        self, endpoint: Endpoint, protocol: IProtocol, over_tls: bool = False
    ) -> Deferred[Any]:
        """
        Connect *protocol*.

        :param over_tls: use TLS with the certificates of the deployment's authority?
        :returns: fires when the connection is made; fails if it cannot be made.
        """
        where = self._where(endpoint)
        if over_tls:
            if self._tls is None:
                raise ConnectionError(
                    "packets+tls needs a certificate: set link_certificate_file, "
                    "link_key_file and link_authority_file"
                )
            where = wrapClientTLS(self._tls(), where)
        connected: Deferred[Any] = where.connect(_Only(protocol))
        return connected

    def check(self, transport: Any) -> None:
        """
        Check that the peer of a link over TLS is a node.

        :raises PeerError: it is not a node.
        """
        if self._tls is not None:
            self._tls.check(transport)

    def _where(self, endpoint: Endpoint) -> Any:
        reactor, seconds = self._reactor, self._seconds
        if endpoint.is_socket:
            return UNIXClientEndpoint(reactor, endpoint.host, seconds)
        try:
            version = ip_address(endpoint.host).version
        except ValueError:
            return HostnameEndpoint(
                reactor, endpoint.host, endpoint.port, timeout=seconds
            )
        kind: Any = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        return kind(reactor, endpoint.host, endpoint.port, seconds)
