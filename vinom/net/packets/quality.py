"""The quality of a link: round trip, jitter and loss, measured alike on both sides."""

from __future__ import annotations

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
