"""
Read and write the packets between a player and a game server.

First the types, bounds and fragments that both directions share, then the packets of a
player, then those of a game server. One DTLS record carries one packet. Integers are
unsigned, big-endian. A packet that breaks a layout or a bound raises `PeerError` and
nothing else. Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Layout
from struct import error as LayoutError

from msgspec import Struct
from msgspec.structs import astuple

from vinom.errors import PeerError

#: The version in JOIN; a game server answers another one with REJECT.
PACKET_PROTOCOL = 1

#: Longest packet either side sends, bytes: one record in one datagram of 1200.
LONGEST_PACKET = 1100
#: Longest action, MessagePack bytes.
LONGEST_ACTION = 512
#: Most actions in one INPUT.
MOST_ACTIONS = 16
#: Longest connect token in a JOIN, bytes.
LONGEST_TOKEN = 900
#: A resume token, bytes.
RESUME_BYTES = 16
#: Most fragments of a state or a welcome.
MOST_FRAGMENTS = 64
#: Longest part of a reliable message, bytes.
LONGEST_PART = 1000
#: Most parts of reliable messages in one MESSAGES.
MOST_PARTS = 64
#: Counters end here; a room closes before that.
COUNTER_LIMIT = (1 << 32) - 1

JOIN, INPUT, PLAYER_PING, PLAYER_PONG, BYE = 0x01, 0x02, 0x03, 0x04, 0x05
WELCOME, STATE, MESSAGES = 0x81, 0x82, 0x83
SERVER_PING, SERVER_PONG, REJECT = 0x84, 0x85, 0x86

#: Marks a part of a message that is followed by another part of it.
MORE = 0x8000

LENGTH = Layout("!H")
#: Before a packed view: the version that it was made from; 0 is none.
BASE = Layout("!I")
STATE_LAYOUT = Layout("!BIIIIIIBB")

#: Longest piece of a view or a welcome in one packet, bytes.
LONGEST_PIECE = LONGEST_PACKET - STATE_LAYOUT.size
#: Longest view or welcome, bytes.
LONGEST_WHOLE = MOST_FRAGMENTS * LONGEST_PIECE


def check_payloads(longest: int) -> None:
    """
    Check that a connection can carry every packet.

    :param longest: its longest payload, bytes.
    :raises PeerError: it cannot.
    """
    if longest < LONGEST_PACKET:
        raise PeerError(
            f"the connection carries payloads of {longest} bytes; "
            f"packets need {LONGEST_PACKET}"
        )


def cut(whole: bytes) -> list[bytes]:
    """
    Cut a view or a welcome into pieces; at least one, perhaps empty.

    :raises ValueError: it is longer than `LONGEST_WHOLE`.
    """
    if len(whole) <= LONGEST_PIECE:
        return [whole]
    if len(whole) > LONGEST_WHOLE:
        raise ValueError(
            f"{len(whole)} bytes are too many; the limit is {LONGEST_WHOLE}"
        )
    return [
        whole[at : at + LONGEST_PIECE] for at in range(0, len(whole), LONGEST_PIECE)
    ]


def check_size(packet: bytes) -> None:
    """
    Check the bounds of every packet.

    :raises PeerError: it is empty or too long.
    """
    if not 0 < len(packet) <= LONGEST_PACKET:
        raise PeerError(f"packet of {len(packet)} bytes, limit {LONGEST_PACKET}")


def check_fragment(index: int, count: int) -> None:
    """
    Check the bounds of fragments.

    :raises PeerError: *index* is not below *count*, or *count* is above the limit.
    """
    if not index < count <= MOST_FRAGMENTS:
        raise PeerError(f"fragment {index} of {count}, limit {MOST_FRAGMENTS}")


def expect(packet: bytes, size: int) -> None:
    """
    Check that a packet has exactly *size* bytes.

    :raises PeerError: it has more or fewer.
    """
    if len(packet) != size:
        raise PeerError(f"packet of {len(packet)} bytes, expected {size}")


_HEAD = Layout("!BIII")
_JOIN = Layout("!BIIIBBIH")
_INPUT = Layout("!BIIIIB")
_ONE_ACTION = Layout("!BIIIIBIH")
_ACTION = Layout("!IH")
_PROBE = Layout("!BIIIIII")

_read_ahead = _ONE_ACTION.unpack_from
#: Shortest and longest INPUT with one action.
_LEAST = _ONE_ACTION.size + 1
_MOST = _ONE_ACTION.size + LONGEST_ACTION


class FromPlayer(Struct, frozen=True, gc=False):
    """
    The fields of every packet of a player.

    :ivar number: counts this side's packets, from 1.
    :ivar state: version of the newest whole state that arrived.
    :ivar message: number of the last message part that arrived with all before it.
    """

    number: int
    state: int
    message: int


class Join(FromPlayer, frozen=True, gc=False):
    """
    Take a seat.

    :ivar protocol: version of the packets.
    :ivar is_resume: whether *proof* is a resume token.
    :ivar last_message: last message part that arrived on an older connection.
    :ivar proof: a connect token, or a resume token.
    :ivar reads_packed: whether the player reads packed views.
    """

    protocol: int
    is_resume: bool
    last_message: int
    proof: bytes
    reads_packed: bool = False


class Input(FromPlayer, frozen=True):
    """
    Act, or acknowledge only.

    :ivar first: sequence number of the first action; the others follow it.
    :ivar actions: of each, the tick that its player was shown, and its MessagePack;
        none in an acknowledgement.
    """

    first: int
    actions: list[tuple[int, bytes]]


class Probe(FromPlayer, frozen=True, gc=False):
    """
    Measure, or answer a measurement.

    :ivar is_answer: whether it is a PONG.
    :ivar stamp: made by the sender of the PING, returned unchanged.
    :ivar highest: highest packet number that arrived.
    :ivar received: how many packets arrived.
    """

    is_answer: bool
    stamp: int
    highest: int
    received: int


class Bye(FromPlayer, frozen=True, gc=False):
    """Give the seat up for good."""


PlayerPacket = Join | Input | Probe | Bye


def read_player(packet: bytes) -> PlayerPacket:
    """
    Read one packet of a player.

    :raises PeerError: it breaks the layout; the message says where.
    """
    check_size(packet)
    try:
        kind = packet[0]
        if kind == INPUT:
            return _read_input(packet)
        if kind in (PLAYER_PING, PLAYER_PONG):
            expect(packet, _PROBE.size)
            _, number, state, message, *body = _PROBE.unpack(packet)
            return Probe(number, state, message, kind == PLAYER_PONG, *body)
        if kind == JOIN:
            return _read_join(packet)
        if kind == BYE:
            expect(packet, _HEAD.size)
            return Bye(*_HEAD.unpack(packet)[1:])
    except LayoutError as error:
        raise PeerError(f"packet cut short at {len(packet)} bytes") from error
    raise PeerError(f"no packet of a player has type 0x{kind:02x}")


def read_one_action(packet: bytes) -> tuple[int, int, int, int, int, bytes] | None:
    """
    Read an INPUT that brings one action, as nearly all packets do.

    :returns: number, state, message, first, tick and the action, as in `Input`;
        ``None`` if it is anything else, valid or not: see `read_player`.
    """
    size = len(packet)
    if not _LEAST <= size <= _MOST:
        return None
    kind, number, state, message, first, count, tick, length = _read_ahead(packet)
    if kind != INPUT or count != 1 or not first or length != size - _LEAST + 1:
        return None
    return number, state, message, first, tick, packet[-length:]


def _read_input(packet: bytes) -> Input:
    _, number, state, message, first, count = _INPUT.unpack_from(packet)
    if count > MOST_ACTIONS:
        raise PeerError(f"{count} actions in a packet, limit {MOST_ACTIONS}")
    if count and first < 1:
        raise PeerError("the first action has number 0; actions are numbered from 1")
    actions: list[tuple[int, bytes]] = []
    at = _INPUT.size
    for _ in range(count):
        tick, length = _ACTION.unpack_from(packet, at)
        if not 0 < length <= LONGEST_ACTION:
            raise PeerError(f"action of {length} bytes, limit {LONGEST_ACTION}")
        at += _ACTION.size + length
        actions.append((tick, packet[at - length : at]))
    expect(packet, at)
    return Input(number, state, message, first, actions)


def _read_join(packet: bytes) -> Join:
    _, number, state, message, protocol, kind, last_message, length = _JOIN.unpack_from(
        packet
    )
    if kind > 3:
        raise PeerError(f"proof of kind {kind}; only 0 to 3 exist")
    reads_packed, kind = kind > 1, kind & 1
    proof = packet[_JOIN.size :]
    if len(proof) != length:
        raise PeerError(
            f"proof of {len(proof)} bytes, but its length field is {length}"
        )
    if kind == 1 and length != RESUME_BYTES:
        raise PeerError(f"resume token of {length} bytes, expected {RESUME_BYTES}")
    if not 0 < length <= LONGEST_TOKEN:
        raise PeerError(f"token of {length} bytes, limit {LONGEST_TOKEN}")
    return Join(
        number, state, message, protocol, kind == 1, last_message, proof, reads_packed
    )


def write_join(
    number: int,
    proof: bytes,
    is_resume: bool,
    last_message: int = 0,
    reads_packed: bool = False,
) -> bytes:
    kind = is_resume + 2 * reads_packed
    head = (JOIN, number, 0, 0, PACKET_PROTOCOL, kind, last_message, len(proof))
    return _JOIN.pack(*head) + proof


def write_input(
    number: int,
    state: int,
    message: int,
    first: int,
    actions: Sequence[tuple[int, bytes]],
) -> bytes:
    """Make an INPUT; the caller checks the bounds."""
    packet = _INPUT.pack(INPUT, number, state, message, first, len(actions))
    for tick, action in actions:
        packet += _ACTION.pack(tick, len(action)) + action
    return packet


def input_size(actions: Sequence[tuple[int, bytes]]) -> int:
    """Return the length of an INPUT with these actions, bytes."""
    return _INPUT.size + sum(_ACTION.size + len(action) for _, action in actions)


def write_player_probe(probe: Probe) -> bytes:
    """Make a PING or PONG of a player."""
    number, state, message, is_answer, *body = astuple(probe)
    kind = PLAYER_PONG if is_answer else PLAYER_PING
    return _PROBE.pack(kind, number, state, message, *body)


def write_bye(number: int, state: int, message: int) -> bytes:
    return _HEAD.pack(BYE, number, state, message)


_ACKS = Layout("!BII")
_PROBE_ANSWER = Layout("!BIIIII")
_STATE_SEAT = Layout("!BIII")
#: Makes one seat's part of a STATE: type, number, acknowledgement, applied.
pack_state = _STATE_SEAT.pack
_STATE_TAIL = Layout("!IIIBB")
_pack_tail = _STATE_TAIL.pack
_WELCOME = Layout("!BIIIBB")
_MESSAGES = Layout("!BIIIB")


class FromServer(Struct, frozen=True, gc=False):
    """
    The fields of every packet of a game server.

    :ivar number: counts this side's packets, from 1.
    :ivar input: sequence number of the last action received with all before it.
    """

    number: int
    input: int


class WelcomePiece(FromServer, frozen=True, gc=False):
    """
    A fragment of the answer to JOIN.

    :ivar epoch: counts the joins of the seat.
    :ivar index: the fragment's position, from 0.
    :ivar count: how many fragments there are.
    :ivar piece: its bytes.
    """

    epoch: int
    index: int
    count: int
    piece: bytes


class StatePiece(FromServer, frozen=True, gc=False):
    """
    A fragment of a state.

    :ivar applied: the last action of this seat that this state answers.
    :ivar version: of the state.
    :ivar time: match time, milliseconds.
    :ivar tick: the last fixed step before it; 0 if the game has none.
    :ivar index: the fragment's position, from 0.
    :ivar count: how many fragments there are.
    :ivar piece: its bytes.
    """

    applied: int
    version: int
    time: int
    tick: int
    index: int
    count: int
    piece: bytes


class Messages(FromServer, frozen=True):
    """
    Parts of reliable messages; without parts it only acknowledges.

    :ivar first: number of the first part; the others follow it.
    :ivar parts: of each, whether another part of its message follows, and its bytes.
    """

    first: int
    parts: list[tuple[bool, bytes]]


class ServerProbe(FromServer, frozen=True, gc=False):
    """Measure, or answer a measurement; fields as in `Probe`."""

    is_answer: bool
    stamp: int
    highest: int
    received: int


class Reject(FromServer, frozen=True, gc=False):
    """
    The connection is over.

    :ivar code: one of `vinom.errors.Code`.
    :ivar message: the reason, as a text.
    :ivar retry_after: when to try again, milliseconds; 0 if unknown.
    """

    code: str
    message: str
    retry_after: int = 0


ServerPacket = WelcomePiece | StatePiece | Messages | ServerProbe | Reject


def read_server(packet: bytes) -> ServerPacket:
    """
    Read one packet of a game server.

    :raises PeerError: it breaks the layout; the message says where.
    """
    check_size(packet)
    try:
        kind = packet[0]
        if kind == STATE:
            _, number, acked, applied, version, time, tick, index, count = (
                STATE_LAYOUT.unpack_from(packet)
            )
            check_fragment(index, count)
            piece = packet[STATE_LAYOUT.size :]
            return StatePiece(
                number, acked, applied, version, time, tick, index, count, piece
            )
        if kind == MESSAGES:
            return _read_messages(packet)
        if kind in (SERVER_PING, SERVER_PONG):
            expect(packet, _PROBE_ANSWER.size)
            _, number, acked, *body = _PROBE_ANSWER.unpack(packet)
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
        raise PeerError("the first message part has number 0; they are numbered from 1")
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
    _, number, acked = _ACKS.unpack_from(packet)
    texts: list[str] = []
    at = _ACKS.size
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


def state_tails(version: int, time: int, tick: int, view: bytes) -> list[bytes]:
    """
    Make the part of STATE packets that all seats of one audience share.

    :param version: of the state.
    :param time: match time, milliseconds.
    :param tick: the last fixed step before it; 0 if the game has none.
    :param view: MessagePack.
    :raises ValueError: the view is longer than `LONGEST_WHOLE`.
    """
    if len(view) <= LONGEST_PIECE:
        # The usual case.
        return [_pack_tail(version, time, tick, 0, 1) + view]
    pieces = cut(view)
    count = len(pieces)
    return [
        _pack_tail(version, time, tick, index, count) + piece
        for index, piece in enumerate(pieces)
    ]


def write_state(number: int, acked: int, applied: int, tail: bytes) -> bytes:
    """Make a STATE from one seat's part and the shared *tail*."""
    return pack_state(STATE, number, acked, applied) + tail


def write_welcome(
    number: int, acked: int, epoch: int, index: int, count: int, piece: bytes
) -> bytes:
    return _WELCOME.pack(WELCOME, number, acked, epoch, index, count) + piece


def write_messages(
    number: int, acked: int, first: int, parts: Sequence[tuple[bool, bytes]]
) -> bytes:
    """Make a MESSAGES; the caller checks the bounds."""
    packet = _MESSAGES.pack(MESSAGES, number, acked, first, len(parts))
    for more, part in parts:
        packet += LENGTH.pack(len(part) | (MORE if more else 0)) + part
    return packet


def messages_size(parts: Sequence[tuple[bool, bytes]]) -> int:
    """Return the length of a MESSAGES with these parts, bytes."""
    return _MESSAGES.size + sum(2 + len(part) for _, part in parts)


def write_server_probe(probe: ServerProbe) -> bytes:
    """Make a PING or PONG of a game server."""
    number, acked, is_answer, *body = astuple(probe)
    kind = SERVER_PONG if is_answer else SERVER_PING
    return _PROBE_ANSWER.pack(kind, number, acked, *body)


def write_reject(
    number: int, acked: int, code: str, message: str, retry_after: int = 0
) -> bytes:
    """Make a REJECT; cuts a long *message*, and a long *retry_after* (milliseconds)."""
    text = message.encode()[:400].decode(errors="ignore").encode()
    name = code.encode()
    return (
        _ACKS.pack(REJECT, number, acked)
        + LENGTH.pack(len(name))
        + name
        + LENGTH.pack(len(text))
        + text
        + LENGTH.pack(min(retry_after, 0xFFFF))
    )
