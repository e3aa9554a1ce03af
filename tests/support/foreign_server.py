"""
A game server without a line of Vinom's, with DTLS of its own: Nim over Mbed TLS.

Written from the manual: the pages on the control protocol, the UDP handshake, packets
and connect tokens. A node starts it by the setting ``command``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from mbedtls import pk, tls, x509
from msgspec import msgpack

Map = dict[str, Any]

JOIN, INPUT, PING, PONG, BYE = range(1, 6)
WELCOME, STATE, MESSAGES, SERVER_PING, SERVER_PONG, REJECT = range(0x81, 0x87)
#: What needs an acknowledgement is sent again this often, seconds.
RESEND = 0.15
#: How long a match stays after its end, seconds.
LINGER = 2.0
#: Some seconds for clocks that differ.
SKEW = 30
SUITES = (
    "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
    "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
)


class Refused(Exception):
    """A connection is refused, with the manual's code."""


def token_of(text: str, keys: dict[str, Ed25519PublicKey], realm: str) -> Map:
    """Check a connect token, step by step as the manual has it."""
    try:
        signed, signature = text.rsplit(".", 1)
        header, payload = (json.loads(_part(one)) for one in signed.split("."))
        if (header["alg"], header["typ"]) != ("EdDSA", "vinom-connect+jwt"):
            raise Refused("bad_token")
        keys[header["kid"]].verify(_part(signature), signed.encode())
        members = {"iss", "sub", "jti", "exp", "match", "seat"}
        if set(payload) != members or payload["iss"] != realm:
            raise Refused("bad_token")
    except (ValueError, KeyError, TypeError, InvalidSignature):
        raise Refused("bad_token") from None
    if time.time() >= payload["exp"] + SKEW:
        raise Refused("token_expired")
    return dict(payload)


def _part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Seat:
    """What one player was sent, and has acknowledged."""

    def __init__(self, number: int, player: Map) -> None:
        self.number, self.player = number, player
        self.resume = os.urandom(16)
        self.epoch = self.acted = self.applied = 0
        self.seen = self.taken = 0
        self.used: set[str] = set()
        #: Parts that were not acknowledged: the first one's number, and all.
        self.parts: list[bytes] = []
        self.first = 1
        self.line: Line | None = None
        self.is_here = False

    def tell(self, message: Map) -> None:
        self.parts.append(msgpack.encode(message))

    def acknowledged(self, version: int, part: int) -> None:
        self.seen = max(self.seen, version)
        done = max(0, part + 1 - self.first)
        del self.parts[:done]
        self.first += done


class Match:
    """One match of Nim."""

    def __init__(self, server: Server, plan: Map) -> None:
        self.server, self.id, self.game = server, plan["match_id"], plan["game"]
        self.sticks = json.loads(plan["options"])["sticks"]
        self.turn, self.winner = 0, None
        self.seats = [Seat(n, player) for n, player in enumerate(plan["seats"])]
        self.version, self.began, self.over_at = 0, 0.0, 0.0
        self.outcome: Map | None = None

    def view(self) -> bytes:
        view = {"sticks": self.sticks, "turn": self.turn, "winner": self.winner}
        return msgpack.encode(view)

    def hash(self) -> str:
        return hashlib.sha256(self.view()).hexdigest()[:16]

    def welcome(self, seat: Seat) -> bytes:
        return msgpack.encode(
            {
                "seat": seat.number,
                "epoch": seat.epoch,
                "resume": seat.resume,
                "match_id": self.id,
                "game": self.game,
                "players": [
                    {
                        "seat": one.number,
                        "name": one.player["name"],
                        "player_id": one.player["player_id"],
                    }
                    for one in self.seats
                ],
                "tick_hz": 0,
                "input": seat.acted,
                "message": seat.first,
                "setup": msgpack.encode({"most": 3, "seats": len(self.seats)}),
            }
        )

    def entered(self, seat: Seat) -> None:
        """The first packet after WELCOME has arrived."""
        state = "joined" if seat.epoch == 1 else "returned"
        seat.is_here = True
        self.server.send(
            "seat_changed", match_id=self.id, seat=seat.number, state=state
        )
        if not self.version and all(one.is_here for one in self.seats):
            self.version, self.began = 1, time.monotonic()
            self.server.send("match_started", match_id=self.id)

    def changed(self, seat: Seat, state: str) -> None:
        about = {"match_id": self.id, "seat": seat.number, "state": state}
        self.server.send("seat_changed", **about)

    def act(self, seat: Seat, number: int, data: bytes) -> None:
        seat.acted = number
        action = msgpack.decode(data)
        count = action.get("count")
        why = ""
        if self.winner is not None:
            why = "over"
        elif self.turn != seat.number:
            why = "not_your_turn"
        elif count not in (1, 2, 3) or count > self.sticks:
            why = "not_allowed"
        seat.applied = number
        if why:
            refused = {"t": "refused", "seq": number, "code": "rejected", "reason": why}
            seat.tell({**refused, "message": f"no: {why}"})
            return
        self.sticks -= count
        self.turn = 1 - self.turn
        self.version += 1
        if not self.sticks:
            self.winner = seat.number
            self.end(seat.number)

    def end(self, winner: int) -> None:
        outcome = {"round": 1, "places": [[winner], [1 - winner]]}
        outcome["scores"] = [int(n == winner) for n in range(2)]
        self.server.send("round_ended", match_id=self.id, outcome=outcome)
        about = {"outcome": outcome, "version": self.version, "view_hash": self.hash()}
        for seat in self.seats:
            seat.tell({"t": "round", **about})
            seat.tell({"t": "over", "reason": "finished", **about})
        self.outcome, self.over_at = outcome, time.monotonic()

    @property
    def is_done(self) -> bool:
        """Has everybody been sent the end, or waited long enough?"""
        if not self.over_at:
            return False
        waits = any(s.parts or s.seen < self.version for s in self.seats if s.line)
        return not waits or time.monotonic() > self.over_at + LINGER


class Line:
    """One DTLS association with a player."""

    def __init__(self, server: Server, address: Any) -> None:
        self.server, self.address = server, address
        self.match: Match | None = None
        self.seat: Seat | None = None
        self.sent = self.highest = self.count = 0
        self.quiet_at = 0.0
        self.is_open = self.is_over = False
        self.begin()

    def begin(self) -> None:
        self.tls = self.server.context.wrap_buffers()
        self.tls.setcookieparam(repr(self.address).encode())
        self.tls.setmtu(1200)

    def received(self, datagram: bytes) -> None:
        self.tls.receive_from_network(datagram)
        with suppress(tls.WantReadError):
            while not self.is_open:
                try:
                    # One step; nothing public says that it was the last.
                    self.tls.do_handshake()
                    step = self.tls._handshake_state
                    self.is_open = step is tls.HandshakeStep.HANDSHAKE_OVER
                except tls.HelloVerifyRequest:
                    # The cookie goes out; the same hello with it begins anew.
                    self.flush()
                    self.begin()
                    return
                except tls.WantWriteError:
                    self.flush()
        self.flush()
        with suppress(tls.WantReadError):
            while self.is_open and not self.is_over:
                packet = self.tls.read(2048)
                if not packet:
                    break
                self.packet(packet)

    def flush(self) -> None:
        out = self.tls.peek_outgoing(65536)
        self.tls.consume_outgoing(len(out))
        # One record in a datagram: 13 bytes of header end with the length.
        while out:
            size = 13 + int.from_bytes(out[11:13], "big")
            self.server.udp.sendto(out[:size], self.address)
            out = out[size:]

    # Packets.

    def send(self, kind: int, body: bytes) -> None:
        self.sent += 1
        acted = self.seat.acted if self.seat else 0
        self.tls.write(struct.pack(">BII", kind, self.sent, acted) + body)
        self.flush()

    def packet(self, packet: bytes) -> None:
        kind, number, version, part = struct.unpack_from(">BIII", packet)
        self.highest, self.count = max(self.highest, number), self.count + 1
        try:
            if kind == JOIN:
                self.join(packet)
            elif self.match is not None and self.seat is not None:
                if not self.seat.is_here:
                    self.match.entered(self.seat)
                self.seat.acknowledged(version, part)
                self.play(kind, packet)
        except Refused as error:
            code = str(error).encode()
            body = struct.pack(">H", len(code)) + code + struct.pack(">HH", 0, 0)
            self.send(REJECT, body)

    def join(self, packet: bytes) -> None:
        _, how, part, size = struct.unpack_from(">BBIH", packet, 13)
        proof = packet[21 : 21 + size]
        if self.seat is None:
            self.match, seat = self.server.admit(how, proof)
            if seat.line is not None:
                seat.line.is_over = True
            seat.line, seat.is_here, self.seat = self, False, seat
            seat.epoch += 1
            seat.acknowledged(0, part)
        self.welcome()

    def welcome(self) -> None:
        assert self.match is not None
        assert self.seat is not None
        head = struct.pack(">IBB", self.seat.epoch, 0, 1)
        self.send(WELCOME, head + self.match.welcome(self.seat))

    def play(self, kind: int, packet: bytes) -> None:
        assert self.match is not None
        assert self.seat is not None
        if kind == PING:
            counts = struct.pack(">II", self.highest, self.count)
            self.send(SERVER_PONG, packet[13:17] + counts)
        elif kind == BYE:
            self.left("left")
        elif kind == INPUT:
            first, count = struct.unpack_from(">IB", packet, 13)
            at, before = 18, self.seat.acted
            for number in range(first, first + count):
                (size,) = struct.unpack_from(">H", packet, at + 4)
                if number == self.seat.acted + 1 and self.match.version:
                    self.match.act(self.seat, number, packet[at + 6 : at + 6 + size])
                at += 6 + size
            if self.seat.acted != before:
                self.server.show(self.match)

    def show(self) -> None:
        """Send what was not acknowledged."""
        match, seat = self.match, self.seat
        if match is None or seat is None or self.is_over:
            return
        self.quiet_at = time.monotonic()
        if not seat.is_here:
            self.welcome()
            return
        if match.version and seat.seen < match.version:
            passed = int(1000 * (time.monotonic() - match.began))
            head = struct.pack(">IIIIBB", seat.applied, match.version, passed, 0, 0, 1)
            self.send(STATE, head + match.view())
        if seat.parts:
            body = struct.pack(">IB", seat.first, len(seat.parts))
            body += b"".join(struct.pack(">H", len(p)) + p for p in seat.parts)
            self.send(MESSAGES, body)

    def left(self, state: str) -> None:
        if not self.is_over and self.seat is not None and self.match is not None:
            self.seat.line = None
            self.server.send(
                "seat_changed",
                match_id=self.match.id,
                seat=self.seat.number,
                state=state,
            )
        self.close()

    def close(self) -> None:
        self.is_over = True
        with suppress(Exception):
            self.tls.shutdown()
        self.flush()


class Server:
    """The link to the node, and one UDP port."""

    udp: socket.socket
    context: tls.ServerContext

    def __init__(self) -> None:
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(os.environ["VINOM_CONTROL"])
        self.rooms_left = int(os.environ["VINOM_ROOMS"])
        self.keys: dict[str, Ed25519PublicKey] = {}
        self.matches: dict[str, Match] = {}
        self.lines: dict[Any, Line] = {}
        self.held, self.realm, self.is_over = b"", "", False
        self.ports: list[socket.socket] = []
        self.send(
            "ready",
            server_id=os.environ["VINOM_SERVER_ID"],
            pid=os.getpid(),
            protocol=int(os.environ["VINOM_CONTROL_PROTOCOL"]),
        )

    def send(self, kind: str, **fields: Any) -> None:
        payload = msgpack.encode({"t": kind, **fields})
        self.link.sendall(struct.pack(">I", len(payload)) + payload)

    def run(self) -> None:
        while not self.is_over:
            ready, _, _ = select.select([self.link, *self.ports], [], [], 0.05)
            if self.link in ready:
                for message in self.messages():
                    getattr(self, f"on_{message['t']}", lambda _: None)(message)
            for port in self.ports:
                if port in ready:
                    datagram, address = port.recvfrom(4096)
                    self.datagram(datagram, address)
            self.again()

    def messages(self) -> Iterator[Map]:
        data = self.link.recv(65536)
        self.is_over = not data
        self.held += data
        while len(self.held) >= 4:
            end = 4 + int.from_bytes(self.held[:4], "big")
            if len(self.held) < end:
                return
            frame, self.held = self.held[4:end], self.held[end:]
            yield msgpack.decode(frame)

    def datagram(self, datagram: bytes, address: Any) -> None:
        line = self.lines.get(address)
        if line is None or line.is_over:
            line = self.lines[address] = Line(self, address)
        try:
            line.received(datagram)
        except Exception as error:
            print(f"{address}: {error!r}", file=sys.stderr)
            line.left("dropped")

    def again(self) -> None:
        """Send again what was not acknowledged; end what is done."""
        now = time.monotonic()
        for line in self.lines.values():
            if now > line.quiet_at + RESEND:
                line.show()
        for match in tuple(self.matches.values()):
            if match.is_done:
                self.close(match, "finished")

    def show(self, match: Match) -> None:
        for seat in match.seats:
            if seat.line is not None:
                seat.line.show()

    def admit(self, how: int, proof: bytes) -> tuple[Match, Seat]:
        """Find the seat that a proof is for."""
        if how == 1:
            for match in self.matches.values():
                for seat in match.seats:
                    if seat.epoch and seat.resume == proof:
                        return match, seat
            raise Refused("bad_token")
        token = token_of(proof.decode("ascii"), self.keys, self.realm)
        found = self.matches.get(token["match"])
        if found is None:
            raise Refused("wrong_match")
        seat = found.seats[token["seat"]]
        if seat.player["player_id"] != token["sub"]:
            raise Refused("bad_token")
        if token["jti"] in seat.used:
            raise Refused("token_used")
        seat.used.add(token["jti"])
        return found, seat

    def close(self, match: Match, reason: str) -> None:
        del self.matches[match.id]
        for seat in match.seats:
            if seat.line is not None:
                seat.line.close()
        self.send(
            "room_ended",
            end={
                "match_id": match.id,
                "reason": reason,
                "outcome": match.outcome,
                "present": [s.number for s in match.seats if s.line is not None],
                "version": match.version,
                "view_hash": match.hash() if match.version else "",
            },
        )
        self.is_over = not self.matches and not self.rooms_left

    # What the node sends.

    def on_bind(self, message: Map) -> None:
        self.realm = message["realm"]
        self.on_keys(message["token_keys"])
        chain = chain_of(message["certificate"])
        self.context = tls.ServerContext(
            tls.DTLSConfiguration(
                certificate_chain=(chain, pk.ECC.from_buffer(message["key"])),
                validate_certificates=False,
                ciphers=SUITES,
                lowest_supported_version=tls.DTLSVersion.DTLSv1_2,
            )
        )
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.udp.bind((message["interface"], message["port"]))
        except OSError as error:
            self.send("bind_failed", port=message["port"], why=str(error))
        else:
            self.ports = [self.udp]
            self.send("bound", port=message["port"])

    def on_keys(self, keys: dict[str, bytes]) -> None:
        found = {name: load_pem_public_key(pem) for name, pem in keys.items()}
        self.keys = {n: k for n, k in found.items() if isinstance(k, Ed25519PublicKey)}

    def on_token_keys(self, message: Map) -> None:
        self.on_keys(message["keys"])
        self.send("token_keys_taken", number=message["number"])

    def on_add_ticket(self, message: Map) -> None:
        self.send("ticket_added", label=message["ticket"]["label"])

    def on_open_room(self, message: Map) -> None:
        self.rooms_left -= 1
        match = Match(self, message["plan"])
        self.matches[match.id] = match
        self.send("room_opened", match_id=match.id)

    def on_close_room(self, message: Map) -> None:
        match = self.matches.get(message["match_id"])
        if match is not None:
            self.close(match, message["reason"])

    def on_heartbeat(self, message: Map) -> None:
        self.send("alive", number=message["number"], figures={})

    def on_stop(self, message: Map) -> None:
        for match in tuple(self.matches.values()):
            self.close(match, "shutdown")
        self.is_over = True


def chain_of(pem: bytes) -> tuple[x509.CRT, ...]:
    """Read certificates."""
    end = "-----END CERTIFICATE-----\n"
    return tuple(x509.CRT.from_PEM(one + end) for one in pem.decode().split(end) if one)


if __name__ == "__main__":
    Server().run()
