"""Clients' connections, and the limits that they count towards."""

from __future__ import annotations

from collections import Counter

import attrs

from vinom.limits.addresses import AddressBuckets
from vinom.limits.buckets import NetworkCounts
from vinom.lines.forwarded import Proxies


@attrs.define(eq=False)
class Limits:
    """
    The limits of clients' connections.

    :ivar connections: counts open connections, per network and in total.
    :ivar rate: limits new connections per second.
    :ivar proxies: addresses whose connections count for the clients that they name.
    :ivar refused: how many connections were refused, by reason.
    """

    connections: NetworkCounts
    rate: AddressBuckets
    proxies: Proxies = attrs.field(factory=Proxies)
    refused: Counter[str] = attrs.field(factory=Counter)

    def admit(self, host: str, now: float) -> bool:
        """Count a new connection from this address; ``False`` if there are too many."""
        if self.proxies.trusts(host):
            is_admitted = self.connections.enter_unnamed()
            self.refused["too_many"] += not is_admitted
            return is_admitted
        if self.connections.is_full(host):
            self.refused["too_many"] += 1
            return False
        if not self.rate.take(host, now):
            self.refused["too_fast"] += 1
            return False
        self.connections.add(host)
        return True

    def may_begin(self, host: str, now: float) -> bool:
        """Count a session as a new connection; ``False`` if they come too fast."""
        if self.proxies.trusts(host) or self.rate.take(host, now):
            return True
        self.refused["session_too_fast"] += 1
        return False

    def enter_again(self, host: str) -> None:
        """Count a connection again that was no longer counted but stays."""
        if self.proxies.trusts(host):
            self.connections.enter_unnamed()
        else:
            self.connections.enter(host)

    def leave(self, host: str) -> None:
        """No longer count a connection from this address."""
        if self.proxies.trusts(host):
            self.connections.leave_unnamed()
        else:
            self.connections.leave(host)


@attrs.define(eq=False)
class Arrival:
    """
    One connection of a client. The protocol that serves it calls `end` when it is lost.

    :ivar host: the client's address, which a proxy may have named.
    :ivar port: its port.
    :ivar is_tls: whether it came over TLS.
    """

    host: str
    port: int
    _limits: Limits
    is_tls: bool = False
    _is_counted: bool = True
    #: The connection was counted already, and its first session with it.
    _is_first: bool = True
    #: The address that the connection counts for.
    _owner: str = attrs.field(init=False)

    @_owner.default
    def _found(self) -> str:
        return self.host

    def is_of(self, host: str, now: float) -> bool:
        """
        Count a proxy's connection for the client of a request on it.

        :param host: the client's address, as the proxy names it.
        :param now: seconds.
        :returns: ``False`` if the client has too many; then nothing changed.
        """
        limits, owner = self._limits, self._owner
        if host == owner or limits.proxies.trusts(host) or not self._is_counted:
            return True
        # First, so that at the limit the connection does not block itself.
        limits.leave(owner)
        # A proxy that serves another client on a connection makes no new connection.
        is_new = owner == self.host
        if limits.admit(host, now) if is_new else limits.connections.enter(host):
            self._owner = host
            return True
        limits.enter_again(owner)
        return False

    def may_begin(self, now: float) -> bool:
        """
        May one more session begin, of those that share this connection?

        :param now: seconds.
        """
        if self._is_first:
            self._is_first = False
            return True
        return self._limits.may_begin(self.host, now)

    def end(self) -> None:
        """No longer count the connection; may be called more than once."""
        if self._is_counted:
            self._is_counted = False
            self._limits.leave(self._owner)
