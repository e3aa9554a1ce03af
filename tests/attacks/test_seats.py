"""What those who were admitted cannot do: take a seat, or play for somebody else."""

from __future__ import annotations

import random
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from msgspec import msgpack
from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import HOST, PORT, REALM, GameNet, GamePlayer
from tests.support.ledger import Ledger
from vinom.base.tokens import Claims, TokenSigner
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.packets.codec import write_input, write_join
from vinom.net.packets.player import Joined


class ProofTests(SynchronousTestCase):
    """Connections with a ticket, and without a good proof."""

    def setUp(self) -> None:
        self.ledger = Ledger(self)
        self.net = GameNet(rooms_limit=2)
        self.net.open("m1")
        self.net.open("m2")

    def try_token(self, token: str) -> dict[str, int]:
        """Dial with a token that must not be good; returns what that made."""
        self.ledger.take()
        thief = self.net.player(0, token=token)
        self.net.run(0.5)
        self.assertEqual(len(thief.rejections), 1, token)
        self.assertEqual(thief.of(Joined), [])
        self.assertEqual(self.net.seat_changes, [])
        return self.ledger.take()

    def claims(self, **other: object) -> Claims:
        good: dict[str, object] = {
            "realm": REALM,
            "match_id": "m1",
            "player_id": "p0",
            "seat": 0,
            "expires_at": self.net.reactor.seconds() + 60,
            "token_id": "t",
        }
        return Claims(**(good | other))  # type: ignore[arg-type]  # as above

    def test_observer_of_a_ticket(self) -> None:
        """
        Somebody who saw a ticket on the wire gets a handshake with it, bounded in
        number and time, and no seat: no signature is looked at.
        """
        thieves = []
        for _ in range(30):
            thief = self.net.player(0)
            thief.is_silent = True
            thieves.append(thief)
        self.net.run(4.0)
        made = self.ledger.take()
        # Eight at once and one more every two seconds, as all have one address.
        self.assertLessEqual(made["channels"], 10)
        self.assertNotIn("signatures", made)
        self.assertEqual(self.net.seat_changes, [])
        ann = self.net.player(0)
        bob = self.net.player(1)
        self.net.run(0.5)
        self.assertEqual([len(one.of(Joined)) for one in (ann, bob)], [1, 1])
        self.net.run(25.0)
        self.assertEqual(self.net.associations, 2)

    def test_forged_tokens(self) -> None:
        """
        A forger pays a handshake for each token; a token of another key costs us
        one signature, one of no known key none.
        """
        stranger = random.Random(1)
        token = self.net.token(0)
        header, payload, signature = token.split(".")
        for forged, signatures in (
            ("", 0),
            ("x", 0),
            (f"{header}.{payload}.", 1),
            (f"{header}.{payload}.{signature[::-1]}", 1),
            (f"{header}.{payload[::-1]}.{signature}", 1),
            (stranger.randbytes(100).hex(), 0),
        ):
            if forged:
                made = self.try_token(forged)
                self.assertLessEqual(made.get("signatures", 0), signatures)
                self.assertEqual(made["channels"], 1)
        other = TokenSigner("k2", signing_key_of_nobody())
        made = self.try_token(other.sign(self.claims()))
        self.assertNotIn("signatures", made)
        liar = TokenSigner("k1", signing_key_of_nobody())
        self.assertEqual(self.try_token(liar.sign(self.claims()))["signatures"], 1)

    def test_forged_after_genuine(self) -> None:
        """
        A forger gains nothing after genuine tokens of a signer: one signature each.
        """
        genuine = self.net.signer.sign(self.claims(match_id="m9"))
        self.assertEqual(self.try_token(genuine), {"channels": 1, "signatures": 1})
        header, payload, signature = self.net.token(0).split(".")
        for forged in (
            f"{header}.{payload}.",
            f"{header}.{payload}.{signature[::-1]}",
            f"{header}.{payload[::-1]}.{signature}",
            f"{header}.{genuine.split('.')[1]}.{signature}",
        ):
            self.assertEqual(self.try_token(forged), {"channels": 1, "signatures": 1})

    def test_tokens_of_others(self) -> None:
        """
        Genuine tokens that are expired, or for another realm, match, seat or
        player, cost one signature each and give no seat.
        """
        for claims in (
            self.claims(expires_at=self.net.reactor.seconds() - 31),
            self.claims(realm="other.realm"),
            self.claims(match_id="m2"),
            self.claims(match_id="m9"),
            self.claims(seat=1, player_id="p1"),
            self.claims(seat=1),
            self.claims(seat=7),
            self.claims(player_id="p1"),
        ):
            made = self.try_token(self.net.signer.sign(claims))
            self.assertEqual(made, {"channels": 1, "signatures": 1})

    def test_many_joins_on_one_connection(self) -> None:
        """
        A connection is answered once: the second token on it is not looked at.
        """
        thief = self.net.player(0, token="a.b.c")
        self.net.run(0.5)
        self.ledger.take()
        assert thief.link is not None
        for number in range(50):
            proof = self.net.token(0).encode()
            thief.send_packet(write_join(100 + number, proof, False, 0))
            self.net.run(0.02)
        self.assertEqual(self.ledger.take(), {})
        self.assertEqual(self.net.seat_changes, [])


def signing_key_of_nobody() -> bytes:
    """A private key that no deployment has."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"n" * 32)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Spent:
    """
    What a game server was made to do.

    :ivar datagrams: that it sent.
    """

    def __init__(self, ledger: Ledger, net: GameNet) -> None:
        self.datagrams = 0
        self._ledger, self._losing = ledger, net.reactor.losing
        net.reactor.losing = self._count

    def _count(self, sender: tuple[str, int], datagram: bytes) -> bool:
        self.datagrams += sender == (HOST, PORT)
        return self._losing(sender, datagram)

    def take(self) -> tuple[dict[str, int], int]:
        """What was made since the last time, and how many datagrams were sent."""
        sent, self.datagrams = self.datagrams, 0
        return self._ledger.take(), sent


class RaceTests(SynchronousTestCase):
    """Two clients that compete for one seat."""

    def setUp(self) -> None:
        self.ledger = Ledger(self)

    def race(self, seed: int, tokens: Callable[[GameNet], tuple[str, str]]) -> None:
        net = GameNet(seed)
        net.open()
        spent = Spent(self.ledger, net)
        bad = Conditions(loss=0.1, duplicate=0.1, delay=0.03, jitter=0.03)
        net.reactor.worn = Conditioner(net.reactor, bad, seed)
        one, other = tokens(net)
        racers = [net.player(0, token=one), net.player(0, token=other)]
        bob = net.player(1)
        net.run(6.0)
        # One each, however often the network repeats what they said.
        made, sent = spent.take()
        self.assertEqual(made, {"channels": 3, "signatures": 3})
        self.assertLessEqual(sent, 60)
        holding = [
            racer for racer in racers if not racer.rejections and racer.of(Joined)
        ]
        self.assertEqual(len(holding), 1, [racer.events for racer in racers])
        (winner,) = holding
        (loser,) = (racer for racer in racers if racer is not winner)
        self.assertIn(loser.rejections, (["seat_taken"], ["token_used"]))
        for racer in racers:
            if racer.link is not None:
                racer.say("mine" if racer is winner else "stolen")
        net.run(3.0)
        made, sent = spent.take()
        self.assertEqual(made, {})
        self.assertLessEqual(sent, 30)
        said = [line.split()[-1] for line in bob.lines if " 0 " in line]
        self.assertEqual(said.count("mine"), 1, said)
        self.assertNotIn("stolen", said)
        self.assertEqual(
            [c for c in net.seat_changes if c == (0, "joined")], [(0, "joined")]
        )

    def test_same_token(self) -> None:
        """
        Of two clients with one token exactly one has the seat in the end, and the other
        one is sent the reason; on any network, each costs one handshake and one
        signature.
        """
        for seed in range(12):
            self.race(seed, lambda net: (net.token(0, token_id="t"),) * 2)

    def test_two_tokens(self) -> None:
        """
        So it is with a token each: the seat is never shared.
        """
        for seed in range(12):
            self.race(100 + seed, lambda net: (net.token(0), net.token(0)))


class OldEpochTests(SynchronousTestCase):
    """Connections that lost their seat to a newer one."""

    def test_inputs_of_an_older_connection(self) -> None:
        """
        What is sent on a connection whose seat was taken back never reaches the
        game, however valid its records are, and makes us do next to nothing.
        """
        net = GameNet()
        spent = Spent(Ledger(self), net)
        ann, bob = net.begin()
        ann.say("first")
        net.run(0.2)
        spent.take()
        newer = net.resumed(0, ann.resume)
        net.run(0.3)
        # A player who returns by the resume token needs no signature.
        made, sent = spent.take()
        self.assertEqual(made, {"channels": 1})
        self.assertLessEqual(sent, 12)
        self.assertEqual(len(newer.of(Joined)), 1)
        late = msgpack.encode({"type": "say", "word": "late"})
        for number in range(2, 42):
            ann.send_packet(write_input(1000 + number, 1, 0, number, [(0, late)]))
            net.run(0.05)
        # Forty came; none was looked at, and not each was answered.
        made, sent = spent.take()
        self.assertEqual(made, {})
        self.assertLessEqual(sent, 20)
        newer.say("mine")
        net.run(0.3)
        said = [line.split()[-1] for line in bob.lines if " 0 " in line]
        self.assertEqual(said, ["first", "mine"])

    def test_second_join_for_a_seat(self) -> None:
        """
        Each join for a seat ends the one before, for a handshake and a signature;
        the game sees one player, always.
        """
        net = GameNet()
        spent = Spent(Ledger(self), net)
        ann, bob = net.begin()
        lines: list[GamePlayer] = [ann]
        spent.take()
        for _ in range(5):
            lines.append(net.player(0))
            net.run(0.3)
            made, sent = spent.take()
            self.assertEqual(made, {"channels": 1, "signatures": 1})
            self.assertLessEqual(sent, 12)
        for older in lines[:-1]:
            self.assertEqual(older.rejections, ["seat_taken"])
        self.assertEqual(lines[-1].rejections, [])
        self.assertEqual([c for c in net.seat_changes if c[0] == 0], [(0, "joined")])
        lines[-1].say("one")
        net.run(0.3)
        self.assertEqual([line.split()[-1] for line in bob.lines], ["one"])


class ReplayTests(SynchronousTestCase):
    """Datagrams of a real match, seen on the wire and sent again."""

    def test_replayed_and_reordered(self) -> None:
        """
        Everything that a player sent, sent again in any order, from its own address
        and from others, changes nothing in the game and seats nobody.
        """
        net = GameNet()
        seen: list[tuple[tuple[str, int], bytes]] = []

        def tap(sender: tuple[str, int], datagram: bytes) -> bool:
            if sender != (HOST, PORT):
                seen.append((sender, datagram))
            return False

        net.reactor.losing = tap
        ann, bob = net.begin()
        for number in range(10):
            ann.say(f"w{number}")
            net.run(0.05)
        net.reactor.losing = lambda sender, datagram: False
        net.run(1.0)
        version, changes = bob.seen.version, list(net.seat_changes)
        ledger = Ledger(self)
        chance = random.Random(3)
        port = net.port
        for round_ in range(4):
            chance.shuffle(seen)
            for sender, datagram in seen:
                address = sender if round_ % 2 else ("198.51.100.9", sender[1])
                port.datagramReceived(datagram, address)
                net.run(0.01)
        net.run(1.0)
        self.assertEqual(bob.seen.version, version)
        self.assertEqual(net.seat_changes, changes)
        self.assertEqual(ledger.take(), {})
        # It plays on as if nothing had been.
        ann.say("still")
        net.run(0.3)
        self.assertTrue(bob.lines[-1].endswith("still"))
        self.assertEqual(ann.rejections + bob.rejections, [])
