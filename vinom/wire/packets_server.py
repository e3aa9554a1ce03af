"""
The packets of a game server. Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Layout
from struct import error as LayoutError

from msgspec import Struct

from vinom.errors import PeerError
from vinom.wire.packets import (
    LENGTH,
    LONGEST_PART,
    LONGEST_PIECE,
    MESSAGES,
    MORE,
    MOST_PARTS,
    REJECT,
    SERVER_PING,
    SERVER_PONG,
    STATE,
    STATE_LAYOUT,
    WELCOME,
    check_fragment,
    check_size,
    cut,
    expect,
)

_HEAD = Layout("!BII")
_PROBE = Layout("!BIIIII")
_STATE_SEAT = Layout("!BIII")
#: Makes one seat's part of a STATE: its type, number, acknowledgement, applied.
pack_state = _STATE_SEAT.pack
_STATE_TAIL = Layout("!IIBB")
_pack_tail = _STATE_TAIL.pack
_WELCOME = Layout("!BIIIBB")
_MESSAGES = Layout("!BIIIB")


class FromServer(Struct, frozen=True, gc=False):
    """
    What every packet of a game server says.

    :ivar number: counts this side's packets, from 1.
    :ivar input: sequence number of the last action taken, with all before it.
    """

    number: int
    input: int


class WelcomePiece(FromServer, frozen=True, gc=False):
    """A fragment of the answer to JOIN."""

    epoch: int
    index: int
    count: int
    piece: bytes


class StatePiece(FromServer, frozen=True, gc=False):
    """
    A fragment of a state.

    :ivar applied: the last action of this seat that this state answers.
    :ivar time: match time, milliseconds.
    """

    applied: int
    version: int
    time: int
    index: int
    count: int
    piece: bytes


class Messages(FromServer, frozen=True):
    """
    Parts of reliable messages; none is an acknowledgement only.

    :ivar first: number of the first part; the others follow.
    :ivar parts: whether more of the message follows, and the bytes.
    """

    first: int
    parts: list[tuple[bool, bytes]]


class ServerProbe(FromServer, frozen=True, gc=False):
    """As `Probe`."""

    is_answer: bool
    stamp: int
    highest: int
    received: int


class Reject(FromServer, frozen=True, gc=False):
    """
    The connection is over.

    :ivar code: one of `vinom.errors.Code`.
    :ivar retry_after: when to come again, milliseconds; 0 does not say.
    """

    code: str
    message: str
    retry_after: int = 0


ServerPacket = WelcomePiece | StatePiece | Messages | ServerProbe | Reject


def read_server(packet: bytes) -> ServerPacket:
    """
    Read one packet of a game server.

    :raises PeerError: it breaks the layout; says where.
    """
    check_size(packet)
    try:
        kind = packet[0]
        if kind == STATE:
            _, number, acked, applied, version, time, index, count = (
                STATE_LAYOUT.unpack_from(packet)
            )
            check_fragment(index, count)
            piece = packet[STATE_LAYOUT.size :]
            return StatePiece(
                number, acked, applied, version, time, index, count, piece
            )
        if kind == MESSAGES:
            return _read_messages(packet)
        if kind in (SERVER_PING, SERVER_PONG):
            expect(packet, _PROBE.size)
            _, number, acked, *body = _PROBE.unpack(packet)
            return ServerProbe(number, acked, kind == SERVER_PONG, *body)
        if kind == WELCOME:
            _, number, acked, epoch, index, count = _WELCOME.unpack_from(packet)
            check_fragment(index, count)
            piece = packet[_WELCOME.size :]
            return WelcomePiece(number, acked, epoch, index, count, piece)
        if kind == REJECT:
            return _read_reject(packet)
    except LayoutError as error:
        raise PeerError(f"packet cut short at {len(packet)} bytes") from error
    raise PeerError(f"no packet of a game server has type 0x{kind:02x}")


def _read_messages(packet: bytes) -> Messages:
    _, number, acked, first, count = _MESSAGES.unpack_from(packet)
    if count > MOST_PARTS:
        raise PeerError(f"{count} message parts in a packet, limit {MOST_PARTS}")
    if count and first < 1:
        raise PeerError("message parts are numbered from 1")
    parts: list[tuple[bool, bytes]] = []
    at = _MESSAGES.size
    for _ in range(count):
        (length,) = LENGTH.unpack_from(packet, at)
        more, length = bool(length & MORE), length & ~MORE
        if not 0 < length <= LONGEST_PART:
            raise PeerError(f"message part of {length} bytes, limit {LONGEST_PART}")
        at += 2 + length
        parts.append((more, packet[at - length : at]))
    expect(packet, at)
    return Messages(number, acked, first, parts)


def _read_reject(packet: bytes) -> Reject:
    _, number, acked = _HEAD.unpack_from(packet)
    texts: list[str] = []
    at = _HEAD.size
    for _ in range(2):
        (length,) = LENGTH.unpack_from(packet, at)
        at += 2 + length
        try:
            texts.append(packet[at - length : at].decode())
        except UnicodeDecodeError as error:
            raise PeerError("a text that is not UTF-8") from error
    (retry_after,) = LENGTH.unpack_from(packet, at)
    expect(packet, at + LENGTH.size)
    code, message = texts
    return Reject(number, acked, code, message, retry_after)


def state_tails(version: int, time: int, view: bytes) -> list[bytes]:
    """
    Make the part of STATE packets that all seats of one audience share.

    :param time: match time, milliseconds.
    :raises ValueError: the view is longer than `LONGEST_WHOLE`.
    """
    if len(view) <= LONGEST_PIECE:
        # Nearly always.
        return [_pack_tail(version, time, 0, 1) + view]
    pieces = cut(view)
    count = len(pieces)
    return [
        _pack_tail(version, time, index, count) + piece
        for index, piece in enumerate(pieces)
    ]


def write_state(number: int, acked: int, applied: int, tail: bytes) -> bytes:
    """Make a STATE of one seat's part and the shared *tail*."""
    return pack_state(STATE, number, acked, applied) + tail


def write_welcome(
    number: int, acked: int, epoch: int, index: int, count: int, piece: bytes
) -> bytes:
    """Make a WELCOME."""
    return _WELCOME.pack(WELCOME, number, acked, epoch, index, count) + piece


def write_messages(
    number: int, acked: int, first: int, parts: Sequence[tuple[bool, bytes]]
) -> bytes:
    """Make a MESSAGES; the caller keeps the bounds."""
    packet = _MESSAGES.pack(MESSAGES, number, acked, first, len(parts))
    for more, part in parts:
        packet += LENGTH.pack(len(part) | (MORE if more else 0)) + part
    return packet


def messages_size(parts: Sequence[tuple[bool, bytes]]) -> int:
    """Tell how long a MESSAGES with these parts is, bytes."""
    return _MESSAGES.size + sum(2 + len(part) for _, part in parts)


def write_server_probe(probe: ServerProbe) -> bytes:
    """Make a PING or PONG of a game server."""
    return _PROBE.pack(
        SERVER_PONG if probe.is_answer else SERVER_PING,
        probe.number,
        probe.input,
        probe.stamp,
        probe.highest,
        probe.received,
    )


def write_reject(
    number: int, acked: int, code: str, message: str, retry_after: int = 0
) -> bytes:
    """Make a REJECT; a long message is cut, and a long time (milliseconds)."""
    text = message.encode()[:400].decode(errors="ignore").encode()
    name = code.encode()
    return (
        _HEAD.pack(REJECT, number, acked)
        + LENGTH.pack(len(name))
        + name
        + LENGTH.pack(len(text))
        + text
        + LENGTH.pack(min(retry_after, 0xFFFF))
    )
