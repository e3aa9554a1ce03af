"""
A simulated bad network, for our own clients and for tests.

`Path` decides what happens to each datagram, and `Conditioner` is the datagram filter
that does it: it loses, delays, doubles and reorders.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
from attrs.validators import ge, le
from twisted.internet.interfaces import IReactorTime

from vinom.net.dtls.admission import Address
from vinom.net.dtls.port import Pass

#: Least time that a datagram is held back to be overtaken, seconds.
_SHORTEST_HOLD = 0.05
_SHARE = [ge(0.0), le(1.0)]
#: Longest mean delay that can be simulated, seconds.
LONGEST_DELAY = 60.0


@attrs.frozen
class Conditions:
    """
    How bad a network is, in each direction. Shares are 0 to 1, times seconds.

    :ivar loss: share of datagrams that never arrive.
    :ivar duplicate: share of the others that arrive twice, each with its own delay.
    :ivar reorder: share of copies whose delay is doubled, with 50 ms more at least,
        so that later ones overtake them.
    :ivar delay: mean delay.
    :ivar jitter: each copy's delay differs from the mean by at most this; datagrams
        change order if that is more than the pause between them.
    """

    loss: float = attrs.field(default=0.0, validator=_SHARE)
    duplicate: float = attrs.field(default=0.0, validator=_SHARE)
    reorder: float = attrs.field(default=0.0, validator=_SHARE)
    delay: float = attrs.field(default=0.0, validator=[ge(0.0), le(LONGEST_DELAY)])
    jitter: float = attrs.field(default=0.0, validator=ge(0.0))

    @jitter.validator
    def _check_jitter(self, _: object, jitter: float) -> None:
        if not jitter <= self.delay:
            raise ValueError(
                f"jitter must be at most delay ({self.delay} s), not {jitter} s"
            )

    @property
    def longest(self) -> float:
        """The longest delay that a datagram can have, seconds."""
        slowest = self.delay + self.jitter
        return slowest + max(slowest, _SHORTEST_HOLD) if self.reorder else slowest


class Path:
    """
    One direction of a network.

    What happens to a datagram depends only on *draw* and on the number of datagrams
    before it: with more loss the same ones are lost, and some others.
    """

    def __init__(self, conditions: Conditions, draw: Callable[[], float]) -> None:
        """
        Start with the first datagram.

        :param conditions: how bad it is.
        :param draw: returns random numbers from 0 to 1, but never 1.
        """
        self._conditions, self._draw = conditions, draw

    def delays(self) -> list[float]:
        """
        Send one datagram.

        :returns: the delay of each copy that arrives, seconds; empty if it is lost.
        """
        draw, bad = self._draw, self._conditions
        is_lost, is_doubled = draw() < bad.loss, draw() < bad.duplicate
        first, second = self._copy(), self._copy()
        if is_lost:
            return []
        return [first, second] if is_doubled else [first]

    def _copy(self) -> float:
        draw, bad = self._draw, self._conditions
        delay = bad.delay + (2 * draw() - 1) * bad.jitter
        if draw() < bad.reorder:
            delay += max(delay, _SHORTEST_HOLD)
        return delay


class Conditioner:
    """
    Lose, delay, double and reorder datagrams, in both directions.

    A `vinom.net.dtls.port.IDatagramFilter`; several ports may share one, and then
    share its random numbers.

    :ivar is_on: without it, datagrams pass as they come.
    :ivar lost: how many datagrams were lost.
    """

    def __init__(
        self, clock: IReactorTime, conditions: Conditions, seed: str | int
    ) -> None:
        """
        Start with *conditions* in both directions.

        :param clock: delays datagrams.
        :param conditions: how bad each direction is.
        :param seed: the same seed gives the same losses and delays.
        """
        self._clock = clock
        # Seeding by text goes through a hash: the two sequences are independent.
        self._inward = Path(conditions, Random(f"{seed} in").random)
        self._outward = Path(conditions, Random(f"{seed} out").random)
        self.longest_hold = conditions.longest
        self.is_on, self.lost = True, 0

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """Pass on a datagram that arrived from *address*, or lose it."""
        self._carry(self._inward, datagram, address, pass_on)

    def outgoing(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """Pass on a datagram that is sent to *address*, or lose it."""
        self._carry(self._outward, datagram, address, pass_on)

    def _carry(
        self, path: Path, datagram: bytes, address: Address, pass_on: Pass
    ) -> None:
        delays = path.delays() if self.is_on else [0.0]
        if not delays:
            self.lost += 1
        for delay in delays:
            if delay:
                self._clock.callLater(delay, pass_on, datagram, address)
            else:
                pass_on(datagram, address)
