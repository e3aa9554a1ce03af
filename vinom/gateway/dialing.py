"""
Connect to back ends: over TCP, a UNIX socket, or TLS with certificates of the
deployment's authority on both ends.

Addresses of host names are remembered: connecting must not wait for a DNS server.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IReactorTime,
    IResolutionReceiver,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.logged import BoundedLog
from vinom.base.model import Issued
from vinom.base.reactor.connections import IS_KNOWN, Connecting, Made
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.waits import Waits
from vinom.errors import Misconfigured
from vinom.gateway.routing.rules import Endpoint, ServiceRule
from vinom.gateway.sessions import Session
from vinom.net.keys.authority import NODE_PURPOSE
from vinom.net.keys.files import read_file
from vinom.net.lines.https import WebClient
from vinom.net.lines.sniff import write_proxy_header
from vinom.net.lines.tcp import watch_for_death
from vinom.net.lines.tls import OfContexts, check_peer, link_context
from vinom.net.streams.channels import Reason, Stream
from vinom.net.streams.sockets import ByteStream

_log = Logger()


@attrs.define(eq=False)
class LinkTls:
    """
    A gateway's end of such links.

    The files are read for each link, so that a certificate can be renewed while the
    gateway runs; if they cannot be used, the last valid ones stay in use.

    :ivar certificate_file: the gateway's certificate, PEM.
    :ivar key_file: its key, PEM.
    :ivar authority_file: certificates of the authority, PEM.
    :raises Misconfigured: the files cannot be used at the start.
    """

    certificate_file: Path
    key_file: Path
    authority_file: Path
    _texts: tuple[bytes, bytes, bytes] = attrs.field(init=False)
    _context: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # They are read again later, after twistd has changed its working directory.
        self.certificate_file = self.certificate_file.absolute()
        self.key_file = self.key_file.absolute()
        self.authority_file = self.authority_file.absolute()
        self._texts = self._read()
        self._context = _made(self._texts)

    def __call__(self) -> OfContexts:
        """Make what `twisted.internet.endpoints.wrapClientTLS` takes."""
        try:
            texts = self._read()
            if texts != self._texts:
                self._context, self._texts = _made(texts), texts
        except Misconfigured as error:
            _log.error(
                "links still use the previous certificate: {why}", why=str(error)
            )
        return OfContexts(lambda: self._context)

    def check(self, transport: ITCPTransport) -> None:
        """
        Check that the peer of a link is a node.

        :raises PeerError: it is not a node.
        """
        check_peer(transport, NODE_PURPOSE)

    def _read(self) -> tuple[bytes, bytes, bytes]:
        return (
            read_file(self.certificate_file, "link_certificate_file"),
            read_file(self.key_file, "link_key_file"),
            read_file(self.authority_file, "link_authority_file"),
        )


def _made(texts: tuple[bytes, bytes, bytes]) -> Any:
    certificate, key, anchors = texts
    try:
        return link_context(Issued(certificate, key), anchors)
    except Exception as error:
        # OpenSSL raises many types of errors.
        raise Misconfigured(
            f"link_certificate_file, link_key_file and link_authority_file cannot be "
            f"used together ({error}): make them with vinom link-certificate"
        ) from error


#: How long connecting may take, seconds.
DIAL_SECONDS = 3.0


class Dialer:
    """Connects protocols to back ends."""

    def __init__(
        self,
        reactor: Any,
        tls: LinkTls | None = None,
        seconds: float = DIAL_SECONDS,
        is_quick: bool = False,
    ) -> None:
        """
        :param reactor: connects.
        :param tls: TLS of links to nodes; ``None`` if it is not configured.
        :param seconds: how long connecting may take.
        :param is_quick: connect to addresses without Twisted's endpoints.
        """
        self._reactor, self._tls, self._seconds = reactor, tls, seconds
        self._is_quick = is_quick and IS_KNOWN
        self._waits = Waits(reactor)

    def dial(
        self, endpoint: Endpoint, protocol: IProtocol, over_tls: bool = False
    ) -> Deferred[Any]:
        """
        Connect *protocol*.

        :param over_tls: use TLS with the certificates of the deployment's authority?
        :returns: fires when the connection is made; fails if it cannot be made.
        :raises Exception: it cannot be made, which is known at once.
        """
        return self.connect(endpoint, protocol, over_tls) or succeed(None)

    def connect(
        self, endpoint: Endpoint, protocol: IProtocol, over_tls: bool = False
    ) -> Deferred[Any] | None:
        """Do the same as `dial`; ``None`` if the connection is made already."""
        if self._is_quick and not over_tls:
            found = _address_of(endpoint.host, endpoint.port)
            if found is not None:
                connecting = Connecting(self._reactor, *found, protocol)
                if connecting.begin():
                    return None
                deadline = self._reactor.seconds() + self._seconds
                return connecting.wait(self._waits, deadline)
        where = self._where(endpoint)
        if over_tls:
            # Rules that need it are refused.
            assert self._tls is not None, "no certificate"
            where = wrapClientTLS(self._tls(), where)
        connected: Deferred[Any] = where.connect(Made(lambda: protocol))
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
        version = _version_of(endpoint.host)
        if version is None:
            return HostnameEndpoint(
                reactor, endpoint.host, endpoint.port, timeout=seconds
            )
        kind: Any = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        return kind(reactor, endpoint.host, endpoint.port, seconds)


def _version_of(host: str) -> int | None:
    """Find the version of IP of an address; ``None`` for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None


@lru_cache(4096)
def _address_of(host: str, port: int) -> tuple[int, tuple[Any, ...]] | None:
    """Find the family and the address as sockets take it; ``None`` without one."""
    if not port or _version_of(host) is None:
        return None
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=flags
    )[0]
    return family, address


#: How long a check over HTTP may take, seconds.
CHECK_SECONDS = 3.0


class TcpBackend:
    """Opens a connection for each session."""

    def __init__(
        self,
        dialer: Dialer,
        clock: IReactorTime,
        web: WebClient,
        direct: DirectReads | None = None,
    ) -> None:
        """
        :param dialer: connects.
        :param clock: for deadlines of back ends that do not read.
        :param web: sends HTTP requests.
        :param direct: reads connections without the reactor.
        """
        self._direct = direct
        self._dialer, self._clock, self._web = dialer, clock, web
        self._finished = Waits(clock)

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """
        Connect, or send an HTTP request (`vinom.gateway.backends.Way`).

        :raises Exception: it cannot be reached.
        """
        if rule.check:
            url = f"http://{endpoint}{rule.check}".encode("ascii")
            answer = Deferred.fromCoroutine(self._web.fetch(url, b"*/*"))
            await answer.addTimeout(CHECK_SECONDS, self._clock)
            return
        probe = Protocol()
        await self._dialer.dial(endpoint, probe)
        cast(ITCPTransport, probe.transport).abortConnection()

    def open(
        self, rule: ServiceRule, endpoint: Endpoint, session: Session
    ) -> Stream | Deferred[Stream]:
        """
        Connect to a back end (`vinom.gateway.backends.Way`).

        :raises Exception: it cannot be reached.
        """
        stream = ByteStream(
            self._clock,
            Reason.BACKEND_LOST,
            direct=self._direct,
            finished=self._finished,
        )
        stream.leg = session.backend
        connecting = self._dialer.connect(endpoint, stream)
        if connecting is None:
            return _opened(stream, rule, session)
        return connecting.addCallback(lambda _: _opened(stream, rule, session))


def _opened(stream: ByteStream, rule: ServiceRule, session: Session) -> Stream:
    """Say first whom a back end serves, if it is to know."""
    watch_for_death(stream.transport)
    if rule.transport == "tcp+proxy":
        request = session.request
        here = stream.transport.getHost()
        stream.send(
            write_proxy_header(
                request.host,
                request.port,
                getattr(here, "host", ""),
                getattr(here, "port", 0),
            )
        )
    return stream


#: Addresses of this age are used at once, and looked up again meanwhile, seconds.
FRESH_SECONDS = 5.0
#: Addresses that could not be looked up again for this long are not used, seconds.
STALE_SECONDS = 3600.0
#: How long a first look-up may take, seconds.
LOOKUP_SECONDS = 3.0
#: A look-up that is not answered for this long is given up, and made again, seconds.
LOST_SECONDS = 30.0
#: Most names that are remembered.
_MOST = 4096

_Key = tuple[str, int, tuple[type[IAddress], ...] | None, str]


@attrs.define(eq=False)
class _Name:
    """
    One name.

    :ivar addresses: its addresses when it was last looked up.
    :ivar found: when that was; ``None`` before the first time.
    :ivar asked: when the look-up under way began; ``None`` if there is none.
    :ivar waiting: the receivers that wait for it, each with its deadline.
    """

    addresses: Sequence[IAddress] = ()
    found: float | None = None
    asked: float | None = None
    waiting: dict[IResolutionReceiver, IDelayedCall] = attrs.field(factory=dict)


@implementer(IHostResolution)
class _Resolution:
    """A look-up by name; whoever asked may give up waiting."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing: others may wait for the answer."""


@implementer(IHostnameResolver)
class RememberedNames:
    """
    A resolver for ``installNameResolver`` in front of the reactor's own one.

    A name is looked up once, by one request at a time, however many connections are
    made to it. After `FRESH_SECONDS` its addresses are still used at once, and looked
    up again for the next connections. If that fails, the last ones stay in use.
    """

    def __init__(self, inner: IHostnameResolver, clock: IReactorTime) -> None:
        """
        :param inner: looks names up.
        :param clock: the clock.
        """
        self.inner, self._clock = inner, clock
        self._bounded_log = BoundedLog(_log, clock)
        self._names: OrderedDict[_Key, _Name] = OrderedDict()

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Find the addresses of a name (`IHostnameResolver`)."""
        types = None if addressTypes is None else tuple(addressTypes)
        key = (hostName, portNumber, types, transportSemantics)
        name = self._names.setdefault(key, _Name())
        self._names.move_to_end(key)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        now = self._clock.seconds()
        age = STALE_SECONDS if name.found is None else now - name.found
        is_asked = name.asked is not None and now - name.asked < LOST_SECONDS
        if age >= FRESH_SECONDS and not is_asked:
            self._ask(key, name)
            # It may have been answered at once.
            age = STALE_SECONDS if name.found is None else now - name.found
        if age < STALE_SECONDS or name.asked is None:
            _answer(resolutionReceiver, name.addresses)
        else:
            name.waiting[resolutionReceiver] = self._clock.callLater(
                LOOKUP_SECONDS, self._overdue, name, resolutionReceiver
            )
        return resolution

    def _ask(self, key: _Key, name: _Name) -> None:
        name.asked = self._clock.seconds()
        host, port, types, semantics = key
        receiver = _Receiver(self, key, name)
        try:
            self.inner.resolveHostName(receiver, host, port, types, semantics)
        except Exception as error:
            # It cannot be a name: one of its labels is too long, for example.
            self._bounded_log.warn(
                "cannot look up {host}: {why}", host=host, why=str(error)
            )
            self.answered(key, name, ())

    def answered(self, key: _Key, name: _Name, addresses: Sequence[IAddress]) -> None:
        """A look-up has ended; without addresses it failed."""
        name.asked = None
        now = self._clock.seconds()
        if addresses:
            name.addresses, name.found = addresses, now
        elif name.found is None or now - name.found >= STALE_SECONDS:
            # The next connection asks again.
            name.addresses, name.found = (), None
            if self._names.get(key) is name:
                del self._names[key]
        waiting, name.waiting = name.waiting, {}
        for receiver, alarm in waiting.items():
            alarm.cancel()
            _answer(receiver, name.addresses)
        while len(self._names) > _MOST:
            self._names.popitem(last=False)

    def _overdue(self, name: _Name, receiver: IResolutionReceiver) -> None:
        if name.waiting.pop(receiver, None) is not None:
            receiver.resolutionComplete()


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one look-up."""

    def __init__(self, names: RememberedNames, key: _Key, name: _Name) -> None:
        self._names, self._key, self._name = names, key, name
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The look-up began."""

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        self._names.answered(self._key, self._name, self._addresses)


def _answer(receiver: Any, addresses: Sequence[IAddress]) -> None:
    for address in addresses:
        receiver.addressResolved(address)
    receiver.resolutionComplete()
