"""Keys, read from the bytes that a terminal sends."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

_QUIT = {b"\x03": "quit", b"\x04": "quit", b"q": "quit", b"Q": "quit"}
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
#: Keys of somebody who plays.
PLAYING = _QUIT | {
    b" ": "dance",
    b"\r": "again",
    b"\n": "again",
    b"w": "up",
    b"s": "down",
    b"a": "left",
    b"d": "right",
    b"k": "up",
    b"j": "down",
    b"h": "left",
    b"l": "right",
}
#: Keys of somebody who watches a demonstration.
WATCHING = _QUIT | {b"n": "next", b"l": "loss", b"k": "kill"}
_LONGEST = 16


@attrs.define
class KeyReader:
    """
    Recognize the keys that a terminal sends.

    Source: ECMA-48 control sequences, as xterm sends them for arrow keys.

    :ivar plain: names of the keys that send one byte.
    """

    plain: Mapping[bytes, str] = attrs.field(factory=lambda: PLAYING)

    _held: bytes = attrs.field(default=b"", init=False)

    def receive(self, data: bytes) -> list[str]:
        """
        Receive bytes; a key may be split over several calls.

        :returns: names of keys, in order: up, down, left, right, and those of `plain`.
        """
        held, keys = self._held + data, []
        while held:
            if held[:1] != b"\x1b":
                if (key := self.plain.get(held[:1])) is not None:
                    keys.append(key)
                held = held[1:]
                continue
            if len(held) < 3:
                if len(held) == 2 and held[1:2] not in (b"[", b"O"):
                    held = held[1:]
                    continue
                break
            if held[1:2] not in (b"[", b"O"):
                held = held[1:]
                continue
            # Parameters, such as for a held Shift key, end with a letter.
            end = 2
            while end < len(held) and not 0x40 <= held[end] <= 0x7E:
                end += 1
            if end == len(held):
                held = held if len(held) < _LONGEST else b""
                break
            if (key := _ARROWS.get(held[end : end + 1])) is not None:
                keys.append(key)
            held = held[end + 1 :]
        self._held = held
        return keys
