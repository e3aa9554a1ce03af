"""Connects to other nodes: one name with all their addresses, dialed in turn."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer


@implementer(IResolutionReceiver)
class _Resolution:
    """All addresses of a name."""

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """Do nothing: it cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Add an address."""
        host: Any = address
        if host.host not in self._hosts:
            self._hosts.append(host.host)

    def resolutionComplete(self) -> None:
        """Note that all addresses have come."""
        self.done.callback(self._hosts)


@implementer(IStreamClientEndpoint)
class EachInTurn:
    """
    Connect to the next address of a name each time; look it up again after the last.

    A plain endpoint stays with the first address that accepts, but that node may not be
    the one that takes over this game server.
    """

    def __init__(self, reactor: Any, host: str, port: int, timeout: float) -> None:
        """
        :param reactor: connects, and resolves names.
        :param host: the name, or an address.
        :param port: the port of all addresses.
        :param timeout: how long one connection may take, seconds.
        """
        self._reactor, self._host, self._port = reactor, host, port
        self._timeout = timeout
        self._left: list[str] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the next address."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if not self._left:
            found = _Resolution()
            self._reactor.nameResolver.resolveHostName(found, self._host, self._port)
            self._left = await found.done
        if not self._left:
            raise DNSLookupError(f"no address of {self._host} was found")
        host = self._left.pop(0)
        endpoint = HostnameEndpoint(
            self._reactor, host, self._port, timeout=self._timeout
        )
        connected: IProtocol = await endpoint.connect(factory)
        return connected
