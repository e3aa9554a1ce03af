"""
The quality of a link: round trip, jitter and loss, measured alike on both sides; and
whether a server that owes an answer is still there.
"""

from __future__ import annotations

from math import inf

import attrs

#: How often each side sends a PING, seconds.
PING_EVERY = 1.0
#: How long an acknowledgement may wait for a packet to travel in, seconds.
ACK_DELAY = 0.06
#: Longer round trips are ignored, seconds.
_LONGEST_RTT = 30.0
_MICROSECONDS = 1_000_000
_WRAP = 1 << 32
#: Losses are counted over at least this many packets.
_FEWEST = 8


@attrs.define(eq=False)
class Quality:
    """
    What one side has measured of a link.

    :ivar rtt: smoothed round trip time, seconds; ``None`` before the first answer.
    :ivar jitter: mean deviation of the round trips, seconds.
    :ivar loss_in: share of the peer's packets that did not arrive, 0 to 1.
    :ivar loss_out: share of ours that did not arrive, as the peer reports.
    :ivar timeout: how long to wait for an acknowledgement before the first resend,
        seconds.
    :ivar longest: longest timeout, and longest pause between two resends, seconds.
    :ivar highest: highest packet number that arrived.
    :ivar received: how many packets arrived.
    """

    rtt: float | None = None
    jitter: float | None = None
    loss_in: float | None = None
    loss_out: float | None = None
    timeout: float = 0.3
    longest: float = 1.0
    highest: int = 0
    received: int = 0
    _in_before: tuple[int, int] = (0, 0)
    _out_before: tuple[int, int] = (0, 0)

    @property
    def loss(self) -> float | None:
        """The worse direction's loss; ``None`` if neither is known."""
        known = [each for each in (self.loss_in, self.loss_out) if each is not None]
        return max(known, default=None)

    def arrived(self, number: int) -> None:
        """Count a packet that arrived; DTLS has removed copies."""
        self.received += 1
        if number > self.highest:
            self.highest = number

    def stamp(self, now: float) -> int:
        """Return the stamp for a PING: microseconds, modulo 2**32."""
        return int(now * _MICROSECONDS) % _WRAP

    def answered(self, stamp: int, now: float) -> None:
        """Measure the round trip, by a *stamp* of ours that a PONG returned."""
        rtt = (self.stamp(now) - stamp) % _WRAP / _MICROSECONDS
        if rtt > _LONGEST_RTT:
            return
        # Source: RFC 6298, section 2.
        if self.rtt is None or self.jitter is None:
            self.rtt, self.jitter = rtt, rtt / 2
        else:
            self.jitter += (abs(self.rtt - rtt) - self.jitter) / 4
            self.rtt += (rtt - self.rtt) / 8
        # The peer may hold an acknowledgement back for `ACK_DELAY`.
        wanted = self.rtt + 4 * self.jitter + ACK_DELAY + 0.04
        self.timeout = min(max(wanted, 0.15), self.longest)

    def hasten(self, longest: float) -> None:
        """Limit the timeout to *longest* seconds, whatever the round trip is."""
        self.longest = longest
        self.timeout = min(self.timeout, longest)

    def reported(self, highest: int, received: int) -> None:
        """Update `loss_out` from what the peer has received."""
        self.loss_out, self._out_before = _loss(
            self.loss_out, self._out_before, (highest, received)
        )

    def count(self) -> None:
        """Update `loss_in`; called about once per second."""
        self.loss_in, self._in_before = _loss(
            self.loss_in, self._in_before, (self.highest, self.received)
        )


def _loss(
    smoothed: float | None, before: tuple[int, int], now: tuple[int, int]
) -> tuple[float | None, tuple[int, int]]:
    expected = now[0] - before[0]
    if expected < _FEWEST:
        return smoothed, before
    # Late packets may make up for earlier losses, or the peer's figures may be false.
    lost = min(max(1.0 - (now[1] - before[1]) / expected, 0.0), 1.0)
    if smoothed is not None:
        lost = smoothed + (lost - smoothed) / 4
    return lost, now


class Measured:
    """
    The measurements that either end of a link offers.

    :ivar quality: counts them.
    """

    __slots__ = ()

    quality: Quality

    @property
    def rtt(self) -> float | None:
        """Smoothed round trip time, seconds; ``None`` if not yet known."""
        return self.quality.rtt

    @property
    def jitter(self) -> float | None:
        """Mean deviation of the round trips, seconds."""
        return self.quality.jitter

    @property
    def loss(self) -> float | None:
        """Share of packets lost lately in the worse direction, 0 to 1."""
        return self.quality.loss


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

    def received(self) -> bool:
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
