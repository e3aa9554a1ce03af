"""
Other people's DTLS stacks shake hands with a real port on loopback.

Each test is skipped where its program is not installed, and fails with ``CI`` set.
"""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.certificates import Leaf, authority, leaf, new_authority, signing_key
from tests.support.dtls import DOMAIN, LABEL
from tests.support.one_seat import OneSeat
from tests.support.programs import Program, start_foreign
from vinom.base.model import Ticket
from vinom.base.tokens import Claims, TokenSigner, TokenVerifier
from vinom.net.dtls.admission import Admission
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer, ServerEvent

NAME = f"{LABEL}.{DOMAIN}"
GODOT = Path(__file__).with_name("godot")


class ForeignClientTests(TestCase):
    """What players with an engine of their own rely on."""

    timeout = 30

    def setUp(self) -> None:
        self.listen(leaf(DOMAIN))
        self.anchor = self.mktemp()
        Path(self.anchor).write_bytes(authority().anchor)

    def listen(self, certificate: Leaf) -> None:
        """Serve on a free port; the latest one is what clients dial."""
        admission = Admission(DOMAIN, time.time())
        admission.add_ticket(Ticket(LABEL, "m1", 0, time.time() + 60))
        self.server = DtlsServer(certificate.served(), admission)
        self.events: list[ServerEvent] = []
        self.disconnected: Deferred[None] = Deferred()
        self.datagrams = DatagramPort(reactor, self.server, self.echo)
        port = reactor.listenUDP(0, self.datagrams, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def echo(self, events: list[ServerEvent]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, Received):
                self.datagrams.send(event.association, event.payload)
            elif isinstance(event, Disconnected) and not self.disconnected.called:
                self.disconnected.callback(None)

    def start(self, *command: str) -> Program:
        return start_foreign(self, *command)

    def openssl(self, name: str = NAME, anchor: str | None = None) -> Program:
        return self.start(
            "openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{self.port}",
            "-servername", name, "-verify_hostname", name, "-verify_return_error",
            "-CAfile", anchor or self.anchor, "-quiet", "-no_ign_eof",
        )  # fmt: skip

    def gnutls(self, name: str = NAME, anchor: str | None = None) -> Program:
        return self.start(
            "gnutls-cli", "--udp", "--sni-hostname", name, "--verify-hostname", name,
            "--x509cafile", anchor or self.anchor, "-p", str(self.port), "127.0.0.1",
        )  # fmt: skip

    def godot(self, name: str = NAME, anchor: str | None = None) -> Program:
        return self.start(
            "godot3-server", "--no-window", "--script", str(GODOT / "handshake.gd"),
            "127.0.0.1", str(self.port), name, anchor or self.anchor, "hello",
        )  # fmt: skip

    def assert_played(self) -> None:
        connected = [each for each in self.events if isinstance(each, Connected)]
        self.assertEqual(len(connected), 1, self.events)
        ticket = connected[0].association.ticket
        assert ticket is not None
        self.assertEqual(ticket.label, LABEL)
        self.assertEqual(
            b"".join(e.payload for e in self.events if isinstance(e, Received)).strip(),
            b"hello",
        )

    async def assert_refuses(self, program: Program) -> None:
        """It ends by itself, and the server never got anything from it."""
        code = await program.ended
        self.assertNotEqual(code, 0, program.output)
        # What it said last may still be on its way through the reactor.
        await deferLater(reactor, 0.0)
        self.assertFalse([e for e in self.events if isinstance(e, Received)])

    def other_anchor(self) -> str:
        path = self.mktemp()
        Path(path).write_bytes(new_authority().anchor)
        return path

    async def test_openssl(self) -> None:
        """
        OpenSSL's client verifies chain and name, and talks both ways.
        """
        program = self.openssl()
        program.transport.write(b"hello\n")
        await program.printed(b"hello\n")
        program.transport.closeStdin()
        self.assertEqual(await program.ended, 0, program.output)
        await self.disconnected
        self.assert_played()

    async def test_others_are_refused(self) -> None:
        """
        A server of another authority is not believed, nor another game server.
        """
        for client in (self.openssl, self.gnutls, self.godot):
            await self.assert_refuses(client(anchor=self.other_anchor()))
        self.listen(leaf("s2.game.vinom"))
        for client in (self.openssl, self.gnutls, self.godot):
            await self.assert_refuses(client())

    async def test_gnutls(self) -> None:
        """
        GnuTLS's client verifies chain and name, and talks both ways.
        """
        program = self.gnutls()
        await program.printed(b"Handshake was completed")
        program.transport.write(b"hello\n")
        await program.printed(b"\nhello\n")
        program.transport.closeStdin()
        self.assertEqual(await program.ended, 0, program.output)
        await self.disconnected
        self.assertIn(b"The certificate is trusted", program.output)
        self.assert_played()

    async def test_godot(self) -> None:
        """
        A Godot 3 game verifies chain and name (mbedTLS), and talks both ways.
        """
        program = self.godot()
        self.assertEqual(await program.ended, 0, program.output)
        self.assertIn(b"echo hello", program.output)
        await self.disconnected
        self.assert_played()

    def play(self, token: str) -> tuple[OneSeat, Program]:
        """Serve a maze, and let Godot play it with *token*."""
        verifier = TokenVerifier({"k1": signing_key("k1")[1]}, "game.vinom")
        game = OneSeat(reactor, self.server, verifier)
        port = reactor.listenUDP(0, game.port, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        program = self.start(
            "godot3-server", "--no-window", "--script", str(GODOT / "play.gd"),
            "127.0.0.1", str(port.getHost().port), NAME, self.anchor, token,
        )  # fmt: skip
        return game, program

    def token(self, key_id: str) -> str:
        claims = Claims("game.vinom", "m1", "p0", 0, time.time() + 60, "t1")
        return TokenSigner("k1", signing_key(key_id)[0]).sign(claims)

    async def test_godot_plays(self) -> None:
        """
        A Godot 3 game takes its seat with a real token, and moves.
        """
        game, program = self.play(self.token("k1"))
        self.assertEqual(await program.ended, 0, program.output)
        self.assertIn(b"seat 0", program.output)
        self.assertIn(b"moved [", program.output)
        self.assertEqual(game.joined, [0])
        self.assertEqual(game.moves, 1)

    async def test_godot_gets_the_refusal_of_a_forged_token(self) -> None:
        """
        A handshake alone opens no seat, and the game learns why.
        """
        game, program = self.play(self.token("k2"))
        self.assertEqual(await program.ended, 6, program.output)
        self.assertIn(b"rejected bad_token", program.output)
        self.assertEqual(game.joined, [])

    async def test_unknown_ticket(self) -> None:
        """
        A stranger gets a cookie and then silence; no handshake is begun.
        """
        program = self.openssl(name=f"{'z' * 26}.{DOMAIN}")
        while not self.server.admission.outcomes["unknown_ticket"]:
            await deferLater(reactor, 0.01)
        self.assertEqual(self.server.handshakes, 0)
        self.assertNotIn(b"hello", program.output)
