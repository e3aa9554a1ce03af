"""Connections that clients made, and the limits that they count against."""

from __future__ import annotations

from collections import Counter

import attrs

from vinom.limits.addresses import AddressBuckets
from vinom.limits.buckets import NetworkCounts
from vinom.lines.forwarded import Proxies


@attrs.define(eq=False)
class Limits:
    """
    What strangers may use.

    :ivar connections: open ones, of each network and of all.
    :ivar rate: new ones per second.
    :ivar proxies: whose connections count for those that their requests name.
    :ivar refused: how many were refused, by reason.
    """

    connections: NetworkCounts
    rate: AddressBuckets
    proxies: Proxies = attrs.field(factory=Proxies)
    refused: Counter[str] = attrs.field(factory=Counter)

    def admit(self, host: str, now: float) -> bool:
        """Count a new connection of this address; ``False`` if it is too many."""
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
        return self.connections.enter(host)

    def may_begin(self, host: str, now: float) -> bool:
        """Count a session as a new connection; ``False`` if they come too fast."""
        if self.proxies.trusts(host) or self.rate.take(host, now):
            return True
        self.refused["session_too_fast"] += 1
        return False

    def enter_again(self, host: str) -> None:
        """Count a connection that left and stays after all."""
        if self.proxies.trusts(host):
            self.connections.enter_unnamed()
        else:
            self.connections.enter(host)

    def leave(self, host: str) -> None:
        """A connection of this address is over."""
        if self.proxies.trusts(host):
            self.connections.leave_unnamed()
        else:
            self.connections.leave(host)


@attrs.define(eq=False)
class Arrival:
    """
    One connection of a client. Whoever serves it calls `end` when it is lost.

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
    #: Whom it counts for.
    _owner: str = attrs.field(init=False)

    @_owner.default
    def _found(self) -> str:
        return self.host

    def is_of(self, host: str, now: float) -> bool:
        """
        Count a proxy's connection for the client of a request that comes over it.

        :param host: the client's address, as the proxy names it.
        :param now: seconds.
        :returns: ``False`` if the client has too many; then nothing changed.
        """
        limits, owner = self._limits, self._owner
        if host == owner or limits.proxies.trusts(host) or not self._is_counted:
            return True
        # First, or one above the limit of all would be in its own way.
        limits.leave(owner)
        # A proxy that goes from client to client makes no new connections.
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
        """The connection is over; may be called more than once."""
        if self._is_counted:
            self._is_counted = False
            self._limits.leave(self._owner)
