"""
Checkpoints between a game server and its node: their changes, and those that wait.

The change between two checkpoints is two 4-byte big-endian numbers, then new bytes. The
first number says how many bytes to copy from the beginning of the older checkpoint, the
second how many from its end; the new bytes come in between.

For checkpoints that cannot be sent without a link the node makes a file in memory and
passes it to the game server. The file outlives its process, so the node, which also has
it, gets everything that players may have seen.
Source: docs/protocol/control.rst, sections "Checkpoints" and "Linking again".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from struct import Struct

from vinom.errors import PeerError
from vinom.fleet.control.messages import Kept, decode_to_node, encode
from vinom.net.frames import FrameReader

_HEAD = Struct("!II")

#: How many bytes are compared at once, first coarsely and then finely.
_STEPS = (1024, 64, 1)


def change_between(old: bytes, new: bytes) -> bytes:
    """Make the change from *old* to *new*; it may be longer than *new*."""
    most, start, end = min(len(old), len(new)), 0, 0
    for step in _STEPS:
        while (
            start + step <= most
            and old[start : start + step] == new[start : start + step]
        ):
            start += step
    last, tail, left = len(old), len(new), most - start
    for step in _STEPS:
        while (
            end + step <= left
            and old[last - end - step : last - end]
            == new[tail - end - step : tail - end]
        ):
            end += step
    return _HEAD.pack(start, end) + new[start : tail - end]


def change_after(same: int) -> bytes:
    """Begin a change that keeps the first *same* bytes; all that follow are new."""
    return _HEAD.pack(same, 0)


def apply_change(old: bytes, change: bytes) -> bytes:
    """
    Make the newer checkpoint.

    :param old: the checkpoint that *change* is based on.
    :param change: made by `change_between`.
    :raises PeerError: it is not a change of these bytes.
    """
    if len(change) < _HEAD.size:
        raise PeerError(f"a change of a checkpoint has {len(change)} bytes, at least 8")
    start, end = _HEAD.unpack_from(change)
    if start + end > len(old):
        raise PeerError(
            f"a change keeps {start} and {end} bytes of a checkpoint of {len(old)}"
        )
    new = old[:start] + change[_HEAD.size :]
    return new + old[len(old) - end :] if end else new


#: Longest file, bytes: below the limit of a game server behind its wall.
MOST_BYTES = 32 * 1024 * 1024


def make_unsent() -> int:
    """
    Make a file for one game server; returns its descriptor.

    :raises OSError: the system has no more descriptors.
    """
    return os.memfd_create("vinom-unsent", os.MFD_CLOEXEC)


def read_unsent(descriptor: int) -> list[Kept]:
    """
    Read the checkpoints that a game server wrote before its process ended.

    An incomplete last one is left out: no player was shown the state in it.
    """
    found: list[Kept] = []
    reader = FrameReader()
    try:
        reader.receive(os.pread(descriptor, MOST_BYTES, 0))
        while (frame := reader.next_frame()) is not None:
            message = decode_to_node(frame)
            if isinstance(message, Kept):
                found.append(message)
    except (OSError, PeerError):
        # Its process wrote something else: the messages before it count.
        pass
    return found


class UnsentCheckpoints:
    """Write checkpoints into a file that came from the node."""

    def __init__(self, descriptor: int) -> None:
        """
        Begin at its start.

        :param descriptor: closed here.
        """
        self._descriptor, self._left = descriptor, MOST_BYTES

    def write(self, checkpoints: Iterable[Kept]) -> bool:
        """
        Write some.

        :returns: ``False`` if they are not all in the file: then the states in them
            may not be shown.
        """
        data = b"".join([encode(one) for one in checkpoints])
        self._left -= len(data)
        if self._left < 0:
            return False
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)
