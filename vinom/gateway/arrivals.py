"""
Clients who come: their connections, the limits that these count towards, and the user
of a request, from a claim of a verified JWT: rules hash and stick by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime

from vinom.base.limits.addresses import AddressBuckets
from vinom.base.limits.buckets import NetworkCounts, wide_network_of
from vinom.errors import Refused
from vinom.gateway.settings import GatewaySettings
from vinom.lobby.conversation.identity import OutsideVerifier
from vinom.lobby.conversation.provider import ProviderKeys, keys_of_file
from vinom.net.http.headers import UNCLEAR
from vinom.net.lines.forwarded import Proxies

#: Most connections of a network that are not closed to make room for others.
_HOUSEHOLD = 16


@attrs.define(eq=False)
class Limits:
    """
    The limits of clients' connections and sessions.

    A session is a connection to a back end, so it counts like one of a client: the
    first one with the connection that it came over, each further one that is open on
    the same connection for itself.

    :ivar connections: counts what is open, per network and in total.
    :ivar rate: limits new connections and sessions per second.
    :ivar packets: limits packets per second.
    :ivar proxies: addresses whose connections count for the clients that they name.
    :ivar refused: how many connections and sessions were refused, by reason.
    :ivar open: connections that are counted, the oldest first.
    """

    connections: NetworkCounts
    rate: AddressBuckets
    packets: AddressBuckets
    proxies: Proxies = attrs.field(factory=Proxies)
    refused: Counter[str] = attrs.field(factory=Counter)
    open: dict[Arrival, None] = attrs.field(factory=dict, init=False)
    #: Those that are closed next, in reverse order.
    _next: list[Arrival] = attrs.field(factory=list, init=False)

    def is_exempt(self, host: str) -> bool:
        """Is this the address of a proxy that serves many clients?"""
        return not host.endswith(UNCLEAR) and self.proxies.trusts(host)

    def admit(self, host: str, now: float, kind: str = "") -> bool:
        """
        Count a new connection from this address; ``False`` if there are too many.

        :param kind: begins the reason in *refused*.
        """
        if self.is_exempt(host):
            is_admitted = self.connections.enter_unnamed()
            self.refused[kind + "too_many"] += not is_admitted
            return is_admitted
        if self.connections.is_full(host):
            self.refused[kind + "too_many"] += 1
            return False
        if not self.rate.take(host, now):
            self.refused[kind + "too_fast"] += 1
            return False
        self.connections.add(host)
        return True

    def may_begin(self, host: str, now: float) -> bool:
        """Take one from the rate for a session; ``False`` if they come too fast."""
        if self.is_exempt(host) or self.rate.take(host, now):
            return True
        self.refused["session_too_fast"] += 1
        return False

    def make_room(self) -> bool:
        """
        Close the oldest connection of the network that has most.

        :returns: ``False`` if none has more than a household may have.
        """
        while True:
            while self._next:
                arrival = self._next.pop()
                if arrival in self.open:
                    arrival.transport.abortConnection()
                    return True
            network, count = self.connections.largest()
            if count <= _HOUSEHOLD:
                return False
            # Several, because each search looks at all.
            oldest = (one for one in self.open if one.is_in(network))
            self._next = [*islice(oldest, _HOUSEHOLD)][::-1]

    def enter_again(self, host: str) -> None:
        """Count a connection again that was no longer counted but stays."""
        if self.is_exempt(host):
            self.connections.enter_unnamed()
        else:
            self.connections.enter(host)

    def leave(self, host: str) -> None:
        """No longer count a connection from this address."""
        if self.is_exempt(host):
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
    :ivar transport: its transport.
    """

    host: str
    port: int
    _limits: Limits
    is_tls: bool = False
    transport: Any = None
    _is_counted: bool = True
    #: The connection was counted already, and its first session with it.
    _is_first: bool = True
    #: Open sessions of packets.
    _sessions: int = 0
    #: The address that the connection counts for.
    _owner: str = attrs.field(init=False)

    @_owner.default
    def _found(self) -> str:
        return self.host

    def __attrs_post_init__(self) -> None:
        self._limits.open[self] = None

    def is_in(self, network: str) -> bool:
        """Does it count towards this /24, or IPv6 /48?"""
        owner = self._owner
        is_in = wide_network_of(owner) == network
        return is_in and not self._limits.is_exempt(owner)

    def is_of(self, host: str, now: float) -> bool:
        """
        Count a proxy's connection for the client of a request on it.

        :param host: the client's address, as the proxy names it.
        :param now: seconds.
        :returns: ``False`` if the client has too many; then nothing changed.
        """
        limits, owner = self._limits, self._owner
        if host == owner or limits.is_exempt(host) or not self._is_counted:
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

    def may_begin(self, host: str, now: float) -> bool:
        """
        May a session begin that takes the place of the connection's last one?

        :param host: the address of its client.
        :param now: seconds.
        """
        if self._is_first:
            self._is_first = False
            return True
        return self._limits.may_begin(host, now)

    def pay(self, count: int, now: float) -> float:
        """
        Count packets that came.

        :param now: seconds.
        :returns: for how many seconds no more should be read.
        """
        if self._limits.is_exempt(self.host):
            return 0.0
        return self._limits.packets.owe(self.host, now, count)

    def open_session(self, now: float) -> bool:
        """
        Count one more of several sessions; ``False`` if its address has too many.

        :param now: seconds.
        """
        if self._sessions:
            is_open = self._limits.admit(self.host, now, "session_")
        else:
            is_open = self.may_begin(self.host, now)
        self._sessions += is_open
        return is_open

    def close_session(self) -> None:
        """No longer count one of these."""
        self._sessions -= 1
        if self._sessions > 0:
            self._limits.leave(self.host)

    def end(self) -> None:
        """No longer count the connection; may be called more than once."""
        if self._is_counted:
            self._is_counted = False
            while self._sessions:
                self.close_session()
            self._limits.leave(self._owner)
            del self._limits.open[self]


#: Longer claims are ignored: they would not fit into a link's *open* (OpenID Connect
#: allows 255 for ``sub``).
_LONGEST_CLAIM = 255


class Users:
    """Finds users. It refuses no request: back ends decide whether a token is valid."""

    def __init__(
        self,
        verifier: OutsideVerifier,
        claim: str,
        now: Callable[[], float],
        cookie: str | None = None,
    ) -> None:
        """
        :param verifier: verifies the provider's tokens.
        :param claim: the claim that names the user, such as ``sub``.
        :param now: seconds since the Unix epoch.
        :param cookie: the one that may hold a token; ``None`` for none.
        """
        self._verifier, self._claim, self._now = verifier, claim, now
        self._cookie = None if cookie is None else cookie.encode("ascii")

    def of(
        self, authorizations: Sequence[bytes], cookies: Sequence[bytes] = ()
    ) -> int | str | None:
        """
        Find the user of a request, by its bearer token, or else by that of its cookie.

        :param authorizations: the values of its ``Authorization``.
        :param cookies: the values of its ``Cookie``.
        :returns: ``None`` if no verified token names one.
        """
        token = _bearer_of(authorizations)
        if token is None and self._cookie is not None:
            token = _cookie_of(cookies, self._cookie)
        if token is None:
            return None
        try:
            account = self._verifier(token.decode("ascii"), self._now())
        except (Refused, UnicodeDecodeError):
            return None
        user = account.claims.get(self._claim)
        if isinstance(user, bool) or not isinstance(user, int | str):
            return None
        if not 0 < len(str(user)) <= _LONGEST_CLAIM:
            return None
        try:
            str(user).encode()
        except UnicodeEncodeError:
            # JSON can name half of a character. Links and the access log cannot, and
            # to fail there would count against back ends.
            return None
        return user


def _bearer_of(authorizations: Sequence[bytes]) -> bytes | None:
    if len(authorizations) != 1:
        return None
    scheme, _, token = authorizations[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def _cookie_of(cookies: Sequence[bytes], name: bytes) -> bytes | None:
    """Find the value of a cookie (RFC 6265, 4.2.1); there must be one of the name."""
    pairs = [pair.partition(b"=") for value in cookies for pair in value.split(b";")]
    found = [value for one, is_pair, value in pairs if is_pair and one.strip() == name]
    return found[0].strip().strip(b'"') if len(found) == 1 else None


def find_users(
    settings: GatewaySettings, clock: IReactorTime, now: Callable[[], float]
) -> tuple[Users, ProviderKeys] | None:
    """
    Make what finds the users of requests, and what reads its keys again.

    :param now: seconds since the Unix epoch.
    :raises Misconfigured: the keys of the identity provider cannot be used.
    """
    file, issuer = settings.identity_keys_file, settings.identity_issuer
    if not (file and issuer and settings.identity_audience):
        return None
    keys = keys_of_file(file, issuer, settings.identity_audience, clock)
    claim, cookie = settings.identity_user_claim, settings.identity_cookie
    return Users(keys.verifier, claim, now, cookie), keys
