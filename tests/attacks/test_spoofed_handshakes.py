"""A real game server, a player on a real socket, and handshakes in its name."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority, signing_key
from tests.support.game_process import REALM, GameProcess
from vinom.base.tokens import Claims, TokenSigner
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.client import DtlsClient
from vinom.net.packets.player import Joined, PlayerLink, StateArrived


class Peer:
    """One DTLS client on a socket that others may use, too, with or without a JOIN."""

    def __init__(
        self, name: str, on: socket.socket, proof: dict[str, object] | None
    ) -> None:
        now = time.monotonic()
        self._socket, self._proof = on, proof
        self.dtls = DtlsClient(name, authority().anchor, now)
        self.link: PlayerLink | None = None
        self.states = 0
        self.resume = b""
        self.lost: list[str] = []
        self.dtls.start(now)
        self._send()

    def take(self, datagram: bytes) -> None:
        """A datagram came on its socket; it may be for another peer there."""
        self.dtls.receive(datagram, time.monotonic())
        self.turn()

    def turn(self) -> None:
        """Do what is due, and what has come."""
        now = time.monotonic()
        self.dtls.alarm(now)
        for event in self.dtls.take_events():
            if isinstance(event, Connected) and self._proof is not None:
                most = event.association.max_payload
                self.link = PlayerLink(most, now=now, **self._proof)  # type: ignore[arg-type]  # a proof
            elif isinstance(event, Received) and self.link is not None:
                self.link.receive(event.payload, now)
            elif isinstance(event, Disconnected):
                self.lost.append(event.reason)
        if self.link is not None and self.dtls.is_open:
            self.link.alarm(now)
            for news in self.link.take_events():
                if isinstance(news, Joined):
                    self.resume = news.resume
                self.states += isinstance(news, StateArrived)
            for packet in self.link.take_packets():
                self.dtls.send(packet)
        self._send()

    def _send(self) -> None:
        for datagram in self.dtls.take_datagrams():
            self._socket.send(datagram)


class SpoofedHandshakeTests(SynchronousTestCase):
    """Sockets cannot lie about their address, so the thief uses the player's own."""

    if sys.platform != "linux":
        skip = "reads /proc"

    def setUp(self) -> None:
        folder = tempfile.mkdtemp(prefix="vinom-")
        self.addCleanup(rmtree, folder, ignore_errors=True)
        self.server = GameProcess(Path(folder), "arena:Arena")
        self.addCleanup(self.server.stop)
        self.names = [self.server.add_ticket(seat, seat) for seat in range(2)]
        self.sockets = [self.open() for _ in range(2)]
        self.peers: list[list[Peer]] = [[], []]
        for seat in range(2):
            self.add(seat, self.names[seat], {"token": self.token(seat)})
        self.ann = self.peers[0][0]
        self.run_until(lambda: self.ann.states > 2)

    def open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(opened.close)
        opened.connect(("127.0.0.1", self.server.port))
        opened.settimeout(0.01)
        return opened

    def token(self, seat: int) -> str:
        claims = Claims(REALM, "m0", f"p{seat}", seat, time.time() + 60, f"t{seat}")
        return TokenSigner("k1", signing_key()[0]).sign(claims)

    def add(self, at: int, name: str, proof: dict[str, object] | None) -> Peer:
        """One more client on a socket."""
        peer = Peer(name, self.sockets[at], proof)
        self.peers[at].append(peer)
        return peer

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Carry datagrams until something is so; the test fails if it never is."""
        give_up = time.monotonic() + 20.0
        while not is_done():
            self.assertLess(time.monotonic(), give_up)
            for at, peers in zip(self.sockets, self.peers, strict=True):
                with contextlib.suppress(TimeoutError):
                    datagram = at.recv(4096)
                    for peer in peers:
                        peer.take(datagram)
                for peer in peers:
                    peer.turn()

    def test_player_stays(self) -> None:
        """
        Handshakes are finished at the player's address, with its own ticket and with
        another one: it is sent states all the time.
        """
        for number in range(6):
            thief = self.add(0, self.names[number % 2], None)
            self.run_until(lambda thief=thief: thief.dtls.is_open)  # type: ignore[misc]  # mypy cannot infer it
            before = self.ann.states
            self.run_until(lambda before=before: self.ann.states > before + 5)  # type: ignore[misc]  # as above
            self.peers[0].remove(thief)
        self.assertEqual(self.ann.lost, [])

    def test_player_returns(self) -> None:
        """
        Its program is started again on the same port, and gets in with its resume
        token, while the old one still is a player there.
        """
        self.peers[0].clear()
        again = self.add(0, self.names[0], {"resume": self.ann.resume})
        self.run_until(lambda: again.states > 5)
        self.assertEqual(again.lost, [])
