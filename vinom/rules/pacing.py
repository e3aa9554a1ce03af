"""When to look at a busy port again: at once, or when more has come."""

from __future__ import annotations

import attrs


@attrs.define
class Pacing:
    """
    Judge by how much of the last moments turns took. Times: seconds.

    A turn costs much by itself and each datagram in it little. A port that is woken
    by each one would spend most of its time on turns, so one that has little time
    left is looked at now and then instead; all others answer at once.

    :ivar pause: from one look to the next; what comes meanwhile waits so long.
    :ivar window: how long turns are counted.
    :ivar busy: share of a window above which there are pauses.
    :ivar calm: share below which there are none any more; pauses themselves make
        it less.
    :ivar most: datagrams in one look above which the next one comes at once: the
        operating system does not keep many.
    """

    pause: float = 0.002
    window: float = 0.05
    busy: float = 0.5
    calm: float = 0.15
    most: int = 96
    is_paced: bool = False
    _since: float = 0.0
    _spent: float = 0.0

    def turned(self, datagrams: int, took: float, now: float) -> float:
        """
        A turn is over that took so many datagrams, and so long.

        :returns: how long to wait before the next look; 0 is not at all.
        """
        if now - self._since >= self.window:
            share = self._spent / (now - self._since)
            self.is_paced = share >= (self.calm if self.is_paced else self.busy)
            self._since, self._spent = now, 0.0
        self._spent += took
        return self.pause if self.is_paced and datagrams <= self.most else 0.0
