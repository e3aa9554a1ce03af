"""
The packets of a player. Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Layout
from struct import error as LayoutError

from msgspec import Struct

from vinom.errors import PeerError
from vinom.wire.packets import (
    BYE,
    INPUT,
    JOIN,
    LENGTH,
    LONGEST_ACTION,
    LONGEST_TOKEN,
    MOST_ACTIONS,
    PACKET_PROTOCOL,
    PLAYER_PING,
    PLAYER_PONG,
    RESUME_BYTES,
    check_size,
    expect,
)

_HEAD = Layout("!BIII")
_JOIN = Layout("!BIIIBBIH")
_INPUT = Layout("!BIIIIB")
_ONE_ACTION = Layout("!BIIIIBH")
_PROBE = Layout("!BIIIIII")

_read_ahead = _ONE_ACTION.unpack_from
#: Shortest and longest INPUT with one action.
_LEAST = _ONE_ACTION.size + 1
_MOST = _ONE_ACTION.size + LONGEST_ACTION


class FromPlayer(Struct, frozen=True, gc=False):
    """
    What every packet of a player says.

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

    :ivar proof: a connect token, or a resume token.
    :ivar heard: last message part of the seat that arrived on an older connection.
    """

    protocol: int
    is_resume: bool
    heard: int
    proof: bytes


class Input(FromPlayer, frozen=True):
    """
    Act, or acknowledge only.

    :ivar first: sequence number of the first action; the others follow.
    """

    first: int
    actions: list[bytes]


class Probe(FromPlayer, frozen=True, gc=False):
    """
    Measure, or answer a measurement.

    :ivar stamp: the asker's, given back unchanged.
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

    :raises PeerError: it breaks the layout; says where.
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


def read_one_action(packet: bytes) -> tuple[int, int, int, int, bytes] | None:
    """
    Read an INPUT that brings one action, as nearly all packets do.

    :returns: number, state, message, first and the action, as in `Input`; ``None``
        if it is anything else, perhaps none of ours: see `read_player`.
    """
    size = len(packet)
    if not _LEAST <= size <= _MOST:
        return None
    kind, number, state, message, first, count, length = _read_ahead(packet)
    if kind != INPUT or count != 1 or not first or length != size - _LEAST + 1:
        return None
    return number, state, message, first, packet[-length:]


def _read_input(packet: bytes) -> Input:
    _, number, state, message, first, count = _INPUT.unpack_from(packet)
    if count > MOST_ACTIONS:
        raise PeerError(f"{count} actions in a packet, limit {MOST_ACTIONS}")
    if count and first < 1:
        raise PeerError("actions are numbered from 1")
    actions: list[bytes] = []
    at = _INPUT.size
    for _ in range(count):
        (length,) = LENGTH.unpack_from(packet, at)
        if not 0 < length <= LONGEST_ACTION:
            raise PeerError(f"action of {length} bytes, limit {LONGEST_ACTION}")
        at += 2 + length
        actions.append(packet[at - length : at])
    expect(packet, at)
    return Input(number, state, message, first, actions)


def _read_join(packet: bytes) -> Join:
    _, number, state, message, protocol, kind, heard, length = _JOIN.unpack_from(packet)
    if kind > 1:
        raise PeerError(f"no proof has kind {kind}")
    proof = packet[_JOIN.size :]
    if len(proof) != length:
        raise PeerError(f"proof of {len(proof)} bytes, announced {length}")
    if kind == 1 and length != RESUME_BYTES:
        raise PeerError(f"resume token of {length} bytes, not {RESUME_BYTES}")
    if not 0 < length <= LONGEST_TOKEN:
        raise PeerError(f"token of {length} bytes, limit {LONGEST_TOKEN}")
    return Join(number, state, message, protocol, kind == 1, heard, proof)


def write_join(number: int, proof: bytes, is_resume: bool, heard: int = 0) -> bytes:
    """Make a JOIN."""
    return (
        _JOIN.pack(JOIN, number, 0, 0, PACKET_PROTOCOL, is_resume, heard, len(proof))
        + proof
    )


def write_input(
    number: int, state: int, message: int, first: int, actions: Sequence[bytes]
) -> bytes:
    """Make an INPUT; the caller keeps the bounds."""
    packet = _INPUT.pack(INPUT, number, state, message, first, len(actions))
    for action in actions:
        packet += LENGTH.pack(len(action)) + action
    return packet


def input_size(actions: Sequence[bytes]) -> int:
    """Tell how long an INPUT with these actions is, bytes."""
    return _INPUT.size + sum(2 + len(action) for action in actions)


def write_player_probe(probe: Probe) -> bytes:
    """Make a PING or PONG of a player."""
    return _PROBE.pack(
        PLAYER_PONG if probe.is_answer else PLAYER_PING,
        probe.number,
        probe.state,
        probe.message,
        probe.stamp,
        probe.highest,
        probe.received,
    )


def write_bye(number: int, state: int, message: int) -> bytes:
    """Make a BYE."""
    return _HEAD.pack(BYE, number, state, message)
