"""
A file for the checkpoints that a game server cannot send while it has no link.

The node makes a file in memory and passes it to the game server. While there is no
link, the game server writes its checkpoints there. The file outlives its process, so
the node, which also has it, gets everything that players may have seen.
Source: docs/protocol/control.rst, section "Linking again".
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from vinom.errors import PeerError
from vinom.fleet.control.messages import Kept, decode_to_node, encode
from vinom.net.frames import FrameReader

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
