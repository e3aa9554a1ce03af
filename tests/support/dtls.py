"""
Two ends of DTLS joined in memory, on a clock that only tests move.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

from OpenSSL import SSL

from tests.support.certificates import authority, leaf
from vinom.base.model import Ticket
from vinom.net.dtls.admission import Address, Admission
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.server import DtlsServer, ServerEvent

DOMAIN = "s1.game.vinom"
LABEL = "abcdefghijklmnopqrstuvwxy2"
#: When every one of these networks begins, seconds since the Unix epoch.
BEGINNING = 1_000_000.0

#: Says of a datagram whether it is lost. Gets who sent it ("client" or
#: "server"), how many that end sent before, and the datagram.
Losing = Callable[[str, int, bytes], bool]


def make_ticket(
    label: str = LABEL, match_id: str = "m1", seat: int = 0, lifetime: float = 60.0
) -> Ticket:
    """A ticket that is good for *lifetime* seconds of test time."""
    return Ticket(label, match_id, seat, BEGINNING + lifetime)


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    """Entropy that is the same in each run."""
    return random.Random(seed).randbytes


def losing_first_flight() -> Losing:
    """
    Lose the server's first datagram that is more than a request for a cookie.

    Not by its number: if OpenSSL's own timer expires while a slow machine reads, there
    may be a second request.
    """
    is_lost = False

    def losing(sender: str, number: int, datagram: bytes) -> bool:
        nonlocal is_lost
        if is_lost or sender == "client" or len(datagram) < 100:
            return False
        is_lost = True
        return True

    return losing


class Net:
    """One server, any number of clients, a network that obeys."""

    def __init__(self, **options: float) -> None:
        self.now = BEGINNING
        self.admission = Admission(DOMAIN, self.now, entropy=seeded())
        self.admission.add_ticket(make_ticket())
        self.server = DtlsServer(
            leaf(DOMAIN).served(),
            self.admission,
            **options,  # type: ignore[arg-type]  # tests pass what fits
        )
        self.server_events: list[ServerEvent] = []
        self.clients: dict[Address, DtlsClient] = {}
        self.client_events: dict[Address, list[ClientEvent]] = {}
        self.sent: list[tuple[str, bytes]] = []
        self.losing: Losing = lambda sender, number, datagram: False
        self._counts = {"client": 0, "server": 0}

    def add_client(
        self,
        address: Address = ("192.0.2.1", 4000),
        server_name: str = f"{LABEL}.{DOMAIN}",
        anchor: bytes | None = None,
        **options: float,
    ) -> DtlsClient:
        """Make a client and let it say hello; it replaces one with its address."""
        client = DtlsClient(
            server_name,
            anchor or authority().anchor,
            self.now,
            **options,  # type: ignore[arg-type]  # tests pass what fits
        )
        self.clients[address] = client
        self.client_events.setdefault(address, [])
        client.start(self.now)
        return client

    def run(self) -> None:
        """Pass datagrams on until nobody has any."""
        while True:
            moved = False
            for address, client in list(self.clients.items()):
                for datagram in client.take_datagrams():
                    moved = True
                    if self._passes("client", datagram):
                        self.receive(datagram, address)
            for datagram, address in self.server.take_datagrams():
                moved = True
                if self._passes("server", datagram) and address in self.clients:
                    self.clients[address].receive(datagram, self.now)
            if not moved:
                break
        self.server_events += self.server.take_events()
        for address, client in self.clients.items():
            self.client_events[address] += client.take_events()

    def receive(self, datagram: bytes, address: Address) -> None:
        """Hand the server a datagram from any address, as its port does."""
        if not self.server.receive_play(datagram, address, self.now):
            self.server.receive(datagram, address, self.now)

    def _passes(self, sender: str, datagram: bytes) -> bool:
        number = self._counts[sender]
        self._counts[sender] += 1
        self.sent.append((sender, datagram))
        return not self.losing(sender, number, datagram)

    def advance(self, seconds: float) -> None:
        """Let time pass, with every alarm at its own time."""
        end = self.now + seconds
        while True:
            ends: list[DtlsServer | DtlsClient] = [self.server, *self.clients.values()]
            due = [at for each in ends if (at := each.deadline()) is not None]
            at = min(due, default=end)
            if at > end:
                break
            self.now = max(self.now, at)
            for each in ends:
                deadline = each.deadline()
                if deadline is not None and deadline <= self.now:
                    each.alarm(self.now)
            self.run()
            if at >= end:
                break
        self.now = end
        self.run()

    def begin(self, address: Address, server_name: str = f"{LABEL}.{DOMAIN}") -> None:
        """Begin a handshake that goes no further: the server's flight is lost."""
        client = DtlsClient(server_name, authority().anchor, self.now)
        client.start(self.now)
        for _ in range(2):
            for datagram in client.take_datagrams():
                self.server.receive(datagram, address, self.now)
            for datagram, _ in self.server.take_datagrams():
                client.receive(datagram[:60], self.now)

    def connect(self, **options: object) -> DtlsClient:
        """A client whose handshake is finished."""
        client = self.add_client(**options)  # type: ignore[arg-type]  # passed on
        self.run()
        assert client.is_open
        return client


def connect_plain(net: Net, address: Address) -> SSL.Connection:
    """OpenSSL's client as it is, without our options, settings and server name."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    connection.set_ciphertext_mtu(1200)
    for _ in range(3):
        with contextlib.suppress(SSL.WantReadError):
            connection.do_handshake()
        exchange(net, connection, address)
    connection.do_handshake()
    return connection


def exchange(net: Net, connection: SSL.Connection, address: Address) -> bytes:
    """Pass on what a plain client wrote, and the answers; returns what it sent."""
    try:
        wrote = connection.bio_read(4096)
    except SSL.WantReadError:
        return b""
    net.server.receive(wrote, address, net.now)
    net.server_events += net.server.take_events()
    for datagram, _ in net.server.take_datagrams():
        connection.bio_write(datagram)
    return wrote
