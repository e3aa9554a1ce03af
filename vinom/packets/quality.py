"""How good a link is: round trip, jitter, loss. The same on both sides."""

from __future__ import annotations

import attrs

#: How often each side sends a PING, seconds.
PING_EVERY = 1.0
#: How long an acknowledgement may wait for a packet to ride on, seconds.
ACK_DELAY = 0.06
#: Longest round trip that is believed, seconds.
_LONGEST_RTT = 30.0
_MICROSECONDS = 1_000_000
_WRAP = 1 << 32
#: Losses are counted over no fewer packets than this.
_FEWEST = 8


@attrs.define(eq=False)
class Quality:
    """
    What one side knows about a link.

    :ivar rtt: smoothed round trip time, seconds; ``None`` before the first answer.
    :ivar jitter: mean deviation of the round trips, seconds.
    :ivar loss_in: share of the peer's packets that did not arrive, 0 to 1.
    :ivar loss_out: share of ours that did not arrive, as the peer reports.
    :ivar patience: when to send again what was not acknowledged, seconds.
    :ivar longest: most patience, and longest pause between two tries, seconds.
    :ivar highest: highest packet number that arrived.
    :ivar received: how many packets arrived.
    """

    rtt: float | None = None
    jitter: float | None = None
    loss_in: float | None = None
    loss_out: float | None = None
    patience: float = 0.3
    longest: float = 1.0
    highest: int = 0
    received: int = 0
    _in_before: tuple[int, int] = (0, 0)
    _out_before: tuple[int, int] = (0, 0)

    @property
    def loss(self) -> float | None:
        """The worse of both directions."""
        known = [each for each in (self.loss_in, self.loss_out) if each is not None]
        return max(known, default=None)

    def arrived(self, number: int) -> None:
        """A packet arrived; DTLS has removed copies."""
        self.received += 1
        if number > self.highest:
            self.highest = number

    def stamp(self, now: float) -> int:
        """What to write into a PING: microseconds, modulo 2**32."""
        return int(now * _MICROSECONDS) % _WRAP

    def answered(self, stamp: int, now: float) -> None:
        """A PONG brought a stamp of ours back."""
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
        self.patience = min(max(wanted, 0.15), self.longest)

    def hasten(self, longest: float) -> None:
        """Have no more patience than this, whatever the round trip is."""
        self.longest = longest
        self.patience = min(self.patience, longest)

    def reported(self, highest: int, received: int) -> None:
        """The peer says what arrived there."""
        self.loss_out, self._out_before = _loss(
            self.loss_out, self._out_before, (highest, received)
        )

    def count(self) -> None:
        """Bring `loss_in` up to date; called about once a second."""
        self.loss_in, self._in_before = _loss(
            self.loss_in, self._in_before, (self.highest, self.received)
        )


def _loss(
    smoothed: float | None, before: tuple[int, int], now: tuple[int, int]
) -> tuple[float | None, tuple[int, int]]:
    expected = now[0] - before[0]
    if expected < _FEWEST:
        return smoothed, before
    # Late ones may make up for an earlier count, or a peer may lie.
    lost = min(max(1.0 - (now[1] - before[1]) / expected, 0.0), 1.0)
    if smoothed is not None:
        lost = smoothed + (lost - smoothed) / 4
    return lost, now


class Measured:
    """
    What either end of a link tells of how good it is.

    :ivar quality: where that is counted.
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
        """Share of packets lost lately, the worse direction, 0 to 1."""
        return self.quality.loss
