"""
What the packets of a game have in common: types, bounds, fragments.

One record of DTLS carries one packet. Integers are unsigned, big-endian. A
packet that breaks a layout or a bound raises `PeerError` and nothing else.
Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from struct import Struct as Layout

from vinom.errors import PeerError

#: What JOIN names; another number is answered with REJECT.
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
#: Counters end here; a room closes before.
COUNTER_LIMIT = (1 << 32) - 1

JOIN, INPUT, PLAYER_PING, PLAYER_PONG, BYE = 0x01, 0x02, 0x03, 0x04, 0x05
WELCOME, STATE, MESSAGES = 0x81, 0x82, 0x83
SERVER_PING, SERVER_PONG, REJECT = 0x84, 0x85, 0x86

#: A part of a message is followed by more of it.
MORE = 0x8000

LENGTH = Layout("!H")
STATE_LAYOUT = Layout("!BIIIIIBB")

#: Longest piece of a view or a welcome in one packet, bytes.
LONGEST_PIECE = LONGEST_PACKET - STATE_LAYOUT.size
#: Longest view or welcome, bytes.
LONGEST_WHOLE = MOST_FRAGMENTS * LONGEST_PIECE


def cut(whole: bytes) -> list[bytes]:
    """
    Cut a view or a welcome into pieces; at least one, perhaps empty.

    :raises ValueError: it is longer than `LONGEST_WHOLE`.
    """
    if len(whole) <= LONGEST_PIECE:
        return [whole]
    if len(whole) > LONGEST_WHOLE:
        raise ValueError(f"{len(whole)} bytes, limit {LONGEST_WHOLE}")
    return [
        whole[at : at + LONGEST_PIECE] for at in range(0, len(whole), LONGEST_PIECE)
    ]


def check_size(packet: bytes) -> None:
    """
    Keep the bounds of every packet.

    :raises PeerError: it is empty or too long.
    """
    if not 0 < len(packet) <= LONGEST_PACKET:
        raise PeerError(f"packet of {len(packet)} bytes, limit {LONGEST_PACKET}")


def check_fragment(index: int, count: int) -> None:
    """
    Keep the bounds of fragments.

    :raises PeerError: it is none of them, or they are too many.
    """
    if not index < count <= MOST_FRAGMENTS:
        raise PeerError(f"fragment {index} of {count}, limit {MOST_FRAGMENTS}")


def expect(packet: bytes, size: int) -> None:
    """
    Leave nothing unread.

    :raises PeerError: the packet is not of this size.
    """
    if len(packet) != size:
        raise PeerError(f"packet of {len(packet)} bytes, not {size}")
