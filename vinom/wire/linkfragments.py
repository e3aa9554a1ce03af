"""Put welcomes and states together that came in several packets."""

from __future__ import annotations

import attrs

from vinom.errors import PeerError

#: Wholes that may be incomplete at once.
_MOST_INCOMPLETE = 4


@attrs.define(eq=False)
class Fragments:
    """
    Pieces by the number of their whole (a version, an epoch); newest wins.

    :ivar done: number of the newest whole; older ones are of no use.
    """

    done: int = 0
    _incomplete: dict[int, dict[int, bytes]] = attrs.field(factory=dict, init=False)

    def receive(self, whole: int, index: int, count: int, piece: bytes) -> bytes | None:
        """
        Keep a piece; returns the whole if it was the last one missing.

        :raises PeerError: the pieces do not agree on how many they are.
        """
        if whole <= self.done:
            return None
        if count > 1:
            joined = self._collect(whole, index, count, piece)
            if joined is None:
                return None
            piece = joined
        self.done = whole
        if self._incomplete:
            self._incomplete = {
                newer: pieces
                for newer, pieces in self._incomplete.items()
                if newer > whole
            }
        return piece

    def _collect(
        self, whole: int, index: int, count: int, piece: bytes
    ) -> bytes | None:
        pieces = self._incomplete.get(whole)
        if pieces is None:
            if len(self._incomplete) >= _MOST_INCOMPLETE:
                oldest = min(self._incomplete)
                if oldest > whole:
                    return None
                del self._incomplete[oldest]
            pieces = self._incomplete[whole] = {}
        pieces[index] = piece
        if len(pieces) < count:
            return None
        try:
            return b"".join([pieces[at] for at in range(count)])
        except KeyError as error:
            del self._incomplete[whole]
            raise PeerError("fragments do not agree on their number") from error
