"""When to look at a busy port again: at once, or when more has come."""

from __future__ import annotations

import attrs


@attrs.define
class Pacing:
    """
    Judge by how many turns the last moments took. Times: seconds.

    A turn costs much by itself and each datagram in it little. A port that is woken
    by each one would spend most of its time on turns, so a busy one is looked
    at now and then instead; a quiet one answers at once.

    :ivar pause: from one look to the next; what comes meanwhile waits so long.
    :ivar window: how long turns are counted.
    :ivar busy: turns in a window above which there are pauses.
    :ivar calm: datagrams in a window below which there are none any more.
    :ivar most: datagrams in one look above which the next one comes at once: the
        operating system does not keep many.
    """

    pause: float = 0.003
    window: float = 0.05
    busy: int = 40
    calm: int = 40
    most: int = 96
    is_paced: bool = False
    _since: float = 0.0
    _turns: int = 0
    _datagrams: int = 0

    def turned(self, datagrams: int, now: float) -> float:
        """
        A turn is over that took so many datagrams.

        :returns: how long to wait before the next look; 0 is not at all.
        """
        if now - self._since >= self.window:
            late = now - self._since >= 2 * self.window
            if self.is_paced:
                self.is_paced = not late and self._datagrams >= self.calm
            else:
                self.is_paced = not late and self._turns > self.busy
            self._since, self._turns, self._datagrams = now, 0, 0
        if datagrams:
            self._turns += 1
            self._datagrams += datagrams
        return self.pause if self.is_paced and datagrams <= self.most else 0.0
