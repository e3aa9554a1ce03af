"""
Checkpoints that a game server cannot send, because it has no link: they are written.

The node makes a file in memory and gives it to the game server. While there is no link,
the game server writes there what it would have sent. The file outlives its process, so
that the node, which has it too, knows all that players may have seen.
Source: docs/protocol/control.rst, section "Linking again".
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from vinom.control.messages import FrameReader, Kept, decode_to_node, encode
from vinom.errors import PeerError

#: Longest file, bytes: below the longest that a game server behind its wall may write.
MOST_BYTES = 32 * 1024 * 1024


def make_unsent() -> int:
    """
    Make a file for one game server; returns its descriptor.

    :raises OSError: the system has no more.
    """
    return os.memfd_create("vinom-unsent", os.MFD_CLOEXEC)


def read_unsent(descriptor: int) -> list[Kept]:
    """
    Read what a game server wrote before its process ended.

    The last one is left out if it is not whole: nobody was shown what is in it.
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
        # Its process wrote something else: what came before it counts.
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

        :returns: ``False`` if they are not all in the file: nothing that is in them may
            be shown.
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
