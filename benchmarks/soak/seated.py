"""
Players in rooms over WebSocket, many on one selector: good and bad ones.

A good player acts with rising ids, reads everything, and reports states that go back.
A mute one joins and never reads again; a babbler sends garbage.
"""

from __future__ import annotations

import contextlib
import json
import random
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

#: Seats of one room.
SEATS = 4
#: First byte of TCP_INFO; see tcp(7) and linux/tcp.h.
_ESTABLISHED = 1
_MASK = b"\x37\xfa\x21\x3d"
#: Messages of a babbler, in addition to plain noise.
_BABBLE = (
    b"{",
    b"[]",
    b'"hello"',
    b'{"type":"action","data":{"x":"far","y":[],"q":null}}',
    b'{"type":"action","id":-1,"data":{"x":1,"y":1,"q":1}}',
    b'{"type":"action","id":1e99,"data":{}}',
    b'{"type":"join_room","data":{"game":"../../etc"}}',
    b'{"type":"reconnect","data":{"resume":""}}',
    b'{"type":"no such thing","data":{"a":{"b":{"c":{}}}}}',
    b"\xff\xfe\xfd",
    b"x" * 4000,
)


def frame(text: bytes) -> bytes:
    """Write a text message as a client's frame."""
    size = len(text)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    else:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    mask = _MASK * (size // 4 + 1)
    number = int.from_bytes(text, "big") ^ int.from_bytes(mask[:size], "big")
    return head + _MASK + number.to_bytes(size, "big")


@attrs.define
class Heard:
    """
    What all players of a run received.

    :ivar wrong: what must never happen; kinds, and how often.
    :ivar waits: of good players, from when an input was due until it was seen, seconds.
    :ivar errors: that good players received, by code.
    :ivar sent_away: connections of bad players that the node ended.
    """

    wrong: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)
    waits: list[float] = attrs.field(factory=list)
    sent_away: int = 0
    is_counting: bool = False


@attrs.define(eq=False)
class Player:
    """
    One player, with one connection after the other.

    :ivar kind: "good", "mute" or "babbler".
    :ivar seat: its first seat, which it must keep.
    :ivar resume: the secret that gives the seat back.
    :ivar is_seated: does its present connection have the seat?
    :ivar version: the highest version it received.
    """

    number: int
    kind: str
    port: int
    selector: selectors.BaseSelector
    heard: Heard
    chance: random.Random
    seat: int | None = None
    resume: str = ""
    is_seated: bool = False
    is_leaving: bool = False
    has_left: bool = False
    version: int = 0
    acted: int = 0
    seen: int = 0
    due: dict[int, float] = attrs.field(factory=dict)
    again_at: float = 0.0
    _socket: socket.socket | None = None
    _held: bytearray = attrs.field(factory=bytearray)
    _is_upgraded: bool = False

    @property
    def is_connected(self) -> bool:
        """Is it connected, or connecting?"""
        return self._socket is not None

    # Actions.

    def connect(self) -> None:
        """Connect; then take the seat."""
        line = socket.socket()
        if self.kind == "mute":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.connect(("127.0.0.1", self.port))
        line.setblocking(False)
        self._socket, self._held, self._is_upgraded = line, bytearray(), False
        self.is_seated = False
        self.selector.register(line, selectors.EVENT_READ, self)
        self._send(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % self.port
        )

    def drop(self) -> None:
        """Drop the connection without closing it properly."""
        line, self._socket, self.is_seated = self._socket, None, False
        if line is not None:
            # A mute player is not registered.
            with contextlib.suppress(KeyError):
                self.selector.unregister(line)
            line.close()

    def act(self, due: float) -> None:
        """Send an input; *due* is when it was due."""
        self.acted += 1
        self.due[self.acted] = due
        self._say_action(self.acted)

    def babble(self) -> None:
        """Send garbage: now and then not even frames."""
        kind = self.chance.random()
        if kind < 0.02:
            self._send(self.chance.randbytes(40))
        else:
            self._send(frame(self.chance.choice(_BABBLE)))

    def look(self) -> None:
        """Notice that the node ended a connection that is never read."""
        line = self._socket
        if line is not None and self.is_seated:
            state = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state != _ESTABLISHED:
                self._lost()

    def leave(self) -> None:
        """Leave the room, and disconnect after the answer."""
        self.is_leaving = True
        if self.is_seated:
            self._say("leave_room", {"room_id": self._room_id})

    @property
    def _room_id(self) -> str:
        return f"soak{self.number // SEATS}"

    def _say_action(self, number: int) -> None:
        x = self.chance.randrange(10_000)
        self._send(
            frame(
                b'{"type":"action","id":%d,"data":{"x":%d,"y":%d,"q":%d}}'
                % (number, x, 9999 - x, number)
            )
        )

    def _say(self, kind: str, data: dict[str, Any]) -> None:
        self._send(frame(json.dumps({"type": kind, "data": data}).encode()))

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(data)
        except BlockingIOError:
            # The node reads this babbler no faster.
            pass
        except OSError:
            self._lost()

    def _lost(self) -> None:
        """The node ended the connection."""
        self.drop()
        self.again_at = time.monotonic() + 1.0
        if self.is_leaving:
            return
        if self.kind == "good":
            self.heard.wrong["a good player was disconnected"] += 1
        else:
            self.heard.sent_away += 1

    # Messages.

    def ready(self) -> None:
        """The socket can be read."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._held += data
        if not self._is_upgraded:
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._held.startswith(b"HTTP/1.1 101"):
                self.heard.wrong[f"no upgrade: {bytes(self._held[:60])!r}"] += 1
                self._lost()
                return
            del self._held[: end + 4]
            self._is_upgraded = True
            self._say("hello", {"protocol": 1, "name": f"player {self.number}"})
        self._cut()

    def _cut(self) -> None:
        while len(self._held) >= 2 and self._socket is not None:
            first, size, head = self._held[0], self._held[1], 2
            if size == 126:
                size, head = int.from_bytes(self._held[2:4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(self._held[2:10], "big"), 10
            if len(self._held) < head + size:
                return
            payload = bytes(self._held[head : head + size])
            del self._held[: head + size]
            if first == 0x81:
                for said in json.loads(payload):
                    self._hear(said)
            elif first == 0x89:
                # An empty pong.
                self._send(b"\x8a\x80" + _MASK)
            elif first == 0x88:
                self._lost()

    def _hear(self, said: dict[str, Any]) -> None:
        kind = said["type"]
        if kind == "game_state":
            self._hear_state(said["data"])
        elif kind == "welcome":
            if self.resume:
                self._say("reconnect", {"resume": self.resume})
            else:
                wish = {"game": "roomecho", "room_id": self._room_id}
                self._say("join_room", wish)
        elif kind in ("join_room_result", "reconnect_result"):
            self._sit(said["data"])
        elif kind == "room_done" and self.is_leaving:
            self.has_left = True
            self.drop()
        elif kind == "room_closed" and not self.is_leaving:
            self.heard.wrong["a room closed"] += 1
        elif kind == "error" and self.kind == "good":
            self.heard.errors[said["error"]["code"]] += 1

    def _sit(self, data: dict[str, Any]) -> None:
        if self.seat is not None and data["seat"] != self.seat:
            self.heard.wrong["a seat was not regained"] += 1
        if data["version"] < self.version:
            self.heard.wrong["a version went back"] += 1
        self.seat, self.resume = data["seat"], data["resume"]
        self.is_seated = True
        if self.is_leaving:
            self.leave()
        elif self.kind == "mute" and self._socket is not None:
            # From here on it never reads.
            self.selector.unregister(self._socket)
        elif self.kind == "good":
            # Inputs without an acknowledgement are sent again, with their numbers.
            for number in self.due:
                self._say_action(number)

    def _hear_state(self, data: dict[str, Any]) -> None:
        version = data["version"]
        if version < self.version:
            self.heard.wrong["a version went back"] += 1
        self.version = version
        known = data["ack"].get(str(self.seat), 0)
        if known < self.seen:
            self.heard.wrong["an acknowledgement went back"] += 1
        if known > self.acted:
            self.heard.wrong["an input that was never sent is acknowledged"] += 1
        if known <= self.seen:
            return
        now = time.monotonic()
        for number in range(self.seen + 1, known + 1):
            due = self.due.pop(number, None)
            if due is not None and self.heard.is_counting:
                self.heard.waits.append(now - due)
        self.seen = known


def pump(selector: selectors.BaseSelector, seconds: float) -> None:
    """Let players read, for at most this long."""
    for key, _ in selector.select(max(0.0, seconds)):
        key.data.ready()


def pump_until(
    selector: selectors.BaseSelector, is_done: Callable[[], bool], seconds: float
) -> bool:
    """Let players read until something is true; return whether it became true."""
    give_up = time.monotonic() + seconds
    while not is_done():
        left = give_up - time.monotonic()
        if left <= 0:
            return False
        pump(selector, min(left, 0.05))
    return True
