"""How a game server comes to listen, and what its node is told of its cookies."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IListeningPort

from vinom.net.datagrams import DatagramPort
from vinom.services.gameserver_ports import IGameReactor
from vinom.wire.admission import Admission, StrangerPolicy
from vinom.wire.control import Bind, CookieKeyTold
from vinom.wire.dtls import DtlsServer

#: Largest datagram that is read whole; longer ones are junk anyway.
_LONGEST_DATAGRAM = 8192


def server_of(
    bind: Bind,
    now: float,
    entropy: Callable[[int], bytes],
    strangers: StrangerPolicy | None,
    idle: float,
) -> DtlsServer:
    """
    Make the server's end of DTLS that a node orders.

    :param now: seconds since the Unix epoch.
    :raises Misconfigured: certificate or key are not usable.
    """
    admission = Admission(
        f"{bind.server}.{bind.realm}", now, entropy=entropy, policy=strangers
    )
    return DtlsServer(bind.certificate, bind.key, admission, idle=idle)


def listen(reactor: IGameReactor, bind: Bind, port: DatagramPort) -> IListeningPort:
    """
    Open a port where a node orders it.

    :raises CannotListenError: somebody else has it.
    """
    listening: IListeningPort = reactor.listenUDP(
        bind.port, port, interface=bind.interface, maxPacketSize=_LONGEST_DATAGRAM
    )
    return listening


def told_cookies(dtls: DtlsServer, now: float) -> tuple[CookieKeyTold, ...]:
    """Tell the cookie keys' ages, not when they were made: clocks differ."""
    return tuple(
        CookieKeyTold(
            key.number,
            now - key.since,
            None if key.until is None else key.until - now,
        )
        for key in dtls.admission.cookie_keys(now)
    )
