"""
The change between two checkpoints of a match, as bytes.

Layout: two 4-byte big-endian numbers, then new bytes. The first number says how many
bytes to copy from the beginning of the older checkpoint, the second how many from its
end; the new bytes come in between. Source: docs/protocol/control.rst, section
"Checkpoints".
"""

from __future__ import annotations

from struct import Struct

from vinom.errors import PeerError

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
