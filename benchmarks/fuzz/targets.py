"""
Fuzz targets: functions of bytes that must not fail.

A parser may raise only the errors that mean a peer's mistake. Each other assertion of
a target is a promise of its code. Nothing here needs atheris, so that tests can run
the kept corpora.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise

from benchmarks.fuzz.connections import CONNECTION_TARGETS
from vinom.base.messages import catalogue, envelope, operators
from vinom.base.model import Ticket
from vinom.errors import PeerError, Refused
from vinom.fleet.control import messages as control
from vinom.net import frames
from vinom.net.dtls import records
from vinom.net.dtls.admission import Admission, Admit, Answer, Drop
from vinom.net.frames import LINE_LIMIT, LineReader
from vinom.net.packets.codec import (
    read_player,
    read_server,
    write_input,
    write_join,
    write_messages,
    write_reject,
)
from vinom.net.packets.player import PlayerLink
from vinom.net.packets.reliable import MessageStream, Welcome
from vinom.net.packets.seat import ActionArrived, JoinAsked, SeatLink

_ADDRESS = ("192.0.2.1", 4000)
_LABEL, _DOMAIN = "a" * 26, "s1.game.vinom"
#: Where a hello's cookie length is, if it has no session.
_COOKIE = records.RECORD_HEADER + records.HANDSHAKE_HEADER + 35
_PAYLOAD = 1163


def admission(data: bytes) -> None:
    """A stranger's datagram; and again with the cookie from the answer."""
    judge = Admission(_DOMAIN, 0.0, entropy=random.Random(1).randbytes)
    judge.add_ticket(Ticket(_LABEL, "m1", 0, 60.0))
    verdict = judge.judge(data, _ADDRESS, 1.0)
    assert not isinstance(verdict, Admit), "admitted without a cookie"
    if not isinstance(verdict, Answer):
        return
    assert len(verdict.datagram) <= len(data), "an answer longer than its request"
    # Records of connections that are gone have another answer, without a cookie.
    if verdict.reason != "not_associated" and data[_COOKIE - 1] == 0:
        again = judge.judge(_with_cookie(data, verdict.datagram), _ADDRESS, 1.0)
        assert again != Drop("bad_cookie"), "its own cookie is refused"
        elsewhere = judge.judge(
            _with_cookie(data, verdict.datagram), ("192.0.2.2", 4000), 1.0
        )
        assert elsewhere == Drop("bad_cookie"), "a cookie that works elsewhere"


def _with_cookie(hello: bytes, answer: bytes) -> bytes:
    """Send it again, as message 1, with the answer's cookie."""
    cookie = answer[records.RECORD_HEADER + records.HANDSHAKE_HEADER + 2 :]
    start = records.RECORD_HEADER + records.HANDSHAKE_HEADER
    body = hello[start:_COOKIE] + cookie + hello[_COOKIE + 1 :]
    size = len(body).to_bytes(3)
    message = b"\x01" + size + b"\0\x01\0\0\0" + size + body
    return hello[:11] + len(message).to_bytes(2) + message


def record(data: bytes) -> None:
    """A datagram's records, and a ClientHello with its extensions."""
    kept = records.without_plaintext_alerts(data)
    assert len(kept) <= len(data)
    assert records.without_plaintext_alerts(kept) == kept
    plain, sealed = records.client_records(data)
    assert len(plain) + sum(map(len, sealed)) <= len(data)
    assert records.client_records(plain) == (plain, [])
    records.is_one_record(data)
    records.random_of(data)
    pieces = records.cut_datagrams(kept, 100) if kept else []
    assert b"".join(pieces) == kept
    with suppress(PeerError):
        hello = records.parse_client_hello(data)
        assert len(hello.random) == 32
        assert len(records.hello_verify_request(hello.sequence, bytes(32))) <= 60
        name = hello.read_server_name()
        assert name is None or 0 < len(name) <= 255


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut one input into packets: two bytes of length before each."""
    place = 0
    while place + 2 <= len(data):
        size = int.from_bytes(data[place : place + 2]) % 1200
        yield data[place + 2 : place + 2 + size]
        place += 2 + size


def player_packets(data: bytes) -> None:
    """Packets of a player to a game server: one, and a conversation."""
    with suppress(PeerError):
        read_player(data)
    link, now, acted = SeatLink(_PAYLOAD, 0.0), 0.0, [0]
    for packet in _pieces(data):
        now += 0.05
        with suppress(PeerError):
            for event in link.receive(packet, now):
                if isinstance(event, JoinAsked):
                    welcome = Welcome(0, 1, b"r" * 16, "m1", "maze", (), 0, 0, 1, b"")
                    link.welcome(welcome, MessageStream(), now)
                elif isinstance(event, ActionArrived):
                    acted.append(event.seq)
        link.alarm(now)
        assert sum(map(len, link.take_packets())) < 100_000
    # Each action once, and none before the one that precedes it.
    assert all(later == earlier + 1 for earlier, later in pairwise(acted))
    assert link.loss is None or 0 <= link.loss <= 1


def server_packets(data: bytes) -> None:
    """Packets of a game server to a player."""
    with suppress(PeerError):
        read_server(data)
    link, now = PlayerLink(_PAYLOAD, token="t", now=0.0), 0.0
    for packet in _pieces(data):
        now += 0.05
        with suppress(PeerError):
            link.receive(packet, now)
        link.take_events()
        link.alarm(now)
        assert sum(map(len, link.take_packets())) < 100_000
    assert link.loss is None or 0 <= link.loss <= 1


def control_frames(data: bytes) -> None:
    """Bytes on a control link, from either end, in two pieces."""
    for decode in (control.decode_to_node, control.decode_to_server):
        with suppress(PeerError):
            decode(data)  # type: ignore[operator]  # two functions of bytes
    whole, halves = frames.FrameReader(), frames.FrameReader()
    whole.receive(data)
    middle = len(data) // 2
    found: list[list[bytes]] = [[], []]
    halves.receive(data[:middle])
    with suppress(PeerError):
        found[1] += _frames(halves)
        halves.receive(data[middle:])
        found[1] += _frames(halves)
    with suppress(PeerError):
        found[0] += _frames(whole)
    assert found[0][: len(found[1])] == found[1]
    for frame in found[0]:
        with suppress(PeerError):
            control.decode_to_server(frame)


def _frames(reader: frames.FrameReader) -> Iterator[bytes]:
    while (frame := reader.next_frame()) is not None:
        yield frame


def lobby_messages(data: bytes) -> None:
    """Lines of a lobby, its messages both ways, and an outside matchmaker's."""
    reader = LineReader()
    with suppress(PeerError):
        reader.receive(data)
        while (line := reader.next_line()) is not None:
            assert len(line) <= LINE_LIMIT
            _request(line)
    _request(data)
    with suppress(PeerError):
        catalogue.decode_answer(data)
    with suppress(Refused):
        operators.decode_start(data)


def _request(line: bytes) -> None:
    try:
        asked = catalogue.decode_request(line)
    except Refused as refusal:
        # Any refusal can be sent to the player.
        envelope.encode_failure(refusal.code, refusal.message, refusal.details)
    else:
        again = envelope.encode_request(asked.request, asked.id)
        assert catalogue.decode_request(again).id == asked.id


def _packets(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2) + packet for packet in packets)


def _hello() -> bytes:
    """A ClientHello of OpenSSL's shape, with a valid ticket."""
    name = f"{_LABEL}.{_DOMAIN}".encode()
    entry = b"\0" + len(name).to_bytes(2) + name
    listed = len(entry).to_bytes(2) + entry
    extensions = b"\0\0" + len(listed).to_bytes(2) + listed
    body = b"\xfe\xfd" + b"r" * 32 + b"\0\0\0\x04\xc0\x2b\xc0\x2f\x01\0"
    body += len(extensions).to_bytes(2) + extensions
    size = len(body).to_bytes(3)
    message = b"\x01" + size + bytes(5) + size + body
    return b"\x16\xfe\xff" + bytes(8) + len(message).to_bytes(2) + message


#: Each target, with its first inputs.
TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "admission": (admission, (_hello(),)),
    "records": (record, (_hello(), b"\x15\xfe\xfd" + bytes(9) + b"\x02\x02\x28")),
    "player_packets": (
        player_packets,
        (
            write_join(1, b"token", False),
            _packets(
                write_join(1, b"token", False),
                write_input(2, 0, 0, 1, [(0, b"\x80"), (9, b"\x80")]),
                write_input(3, 0, 0, 2, [(0, b"\x80")]),
            ),
        ),
    ),
    "server_packets": (
        server_packets,
        (
            write_reject(1, 0, "busy", "later", 2000),
            _packets(write_messages(1, 0, 1, [(False, b"\x80")])),
        ),
    ),
    "control": (
        control_frames,
        (
            control.encode(control.Heartbeat(1)),
            control.encode(control.Alive(1, {"rooms": 1.0})),
            control.encode(control.Kick("m1", 0))[4:],
            control.encode(control.Ready("g1", 1, 1))[4:],
        ),
    ),
    "messages": (
        lobby_messages,
        (
            b'{"type":"hello","id":1,"data":{"protocol":1,"name":"ann"}}\n',
            b'{"type":"queue","data":{"game":"maze","options":{"rows":3}}}',
            b'{"type":"pong","success":true,"data":{}}',
        ),
    ),
    **CONNECTION_TARGETS,
}
