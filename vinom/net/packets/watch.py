"""Detect that a server owes an answer, much sooner than by its silence alone."""

from __future__ import annotations

from math import inf

import attrs

#: How long an answer may take before the server is doubted, seconds; longer if round
#: trips are.
PATIENCE = 0.4
#: A server that was doubted and answers has more time from then on, at most this,
#: seconds.
MOST_PATIENCE = 3.0
#: Least time between two probes of a server that owes an answer, seconds.
_PROBE_GAP = 0.1
#: Shortest wait after a hint that the server does not know us, seconds. Anyone can send
#: a hint, so it ends nothing by itself: it only causes a probe.
_HINTED = 0.1
#: Hints that follow one another within this time count once, seconds.
_HINT_GAP = 1.0


@attrs.define(eq=False)
class Watch:
    """
    Find out whether a server is still there, by the answers that it owes.

    Actions and PINGs are always answered. If nothing at all arrives, the server is
    probed a few times more, and then doubted. Times are seconds on the caller's clock.

    :ivar patience: how long an answer may take.
    :ivar is_doubted: does the server count as gone?
    """

    patience: float = PATIENCE
    is_doubted: bool = False
    _doubt_at: float = inf
    _probe_at: float = inf
    _was_due: bool = False
    _hint_at: float = -inf

    def asked(self, timeout: float, now: float) -> None:
        """
        Note that something was sent that has an answer.

        :param timeout: the longest usual time for an answer.
        :param now: the time.
        """
        if self._doubt_at == inf and not self.is_doubted:
            self._doubt_at = now + max(self.patience, 2 * timeout)
            self._probe_at = now + timeout

    def hinted(self, timeout: float, now: float) -> bool:
        """
        Note a hint that the server does not know us; the caller probes it.

        :param timeout: as in `asked`.
        :param now: the time.
        :returns: should the server be probed now? Not if the last hint is recent.
        """
        if now < self._hint_at + _HINT_GAP or self.is_doubted:
            return False
        self._hint_at = now
        pause = max(_HINTED, timeout / 2)
        self._doubt_at = min(self._doubt_at, now + pause)
        self._probe_at = now + pause / 2
        return True

    def heard(self) -> bool:
        """Note that something arrived; returns whether the server was doubted."""
        self._doubt_at = self._probe_at = inf
        self._was_due = False
        if not self.is_doubted:
            return False
        self.is_doubted = False
        self.patience = min(2 * self.patience, MOST_PATIENCE)
        return True

    def stop(self) -> None:
        """Never be due again."""
        self._doubt_at = self._probe_at = inf

    def deadline(self) -> float:
        """When to call `doubts` and `probes`; infinity for never."""
        return min(self._doubt_at, self._probe_at)

    def probes(self, timeout: float, now: float) -> bool:
        """Is it time for another probe? Then the next one is planned."""
        if now < self._probe_at:
            return False
        self._probe_at = now + max(_PROBE_GAP, timeout / 4)
        return True

    def doubts(self, now: float) -> bool:
        """Is the server doubted from now on? Returns ``True`` only once."""
        if now < self._doubt_at:
            return False
        if not self._was_due:
            # If we were delayed ourselves, bytes that came meanwhile are read after
            # this alarm, and before the next one, which follows at once.
            self._was_due = True
            return False
        self._doubt_at, self.is_doubted = inf, True
        return True
