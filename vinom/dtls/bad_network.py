"""
What a bad network does to datagrams: decided here, done elsewhere.

A bad network for whoever wears it: our own clients, and tests.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
from attrs.validators import ge, le
from twisted.internet.interfaces import IReactorTime

from vinom.dtls.admission import Address
from vinom.dtls.port import Pass

#: The least time for which a datagram that is overtaken is held back, seconds.
_SHORTEST_HOLD = 0.05
_SHARE = [ge(0.0), le(1.0)]
#: Longer is not a network any more, seconds.
LONGEST_DELAY = 60.0


@attrs.frozen
class Conditions:
    """
    How bad a network is, in each direction. Shares are 0 to 1, times seconds.

    :ivar loss: share of datagrams that never arrive.
    :ivar duplicate: share of the others that come twice, each copy on its own way.
    :ivar reorder: share of copies that are held back as long again as they take
        anyway, and for 50 ms at least, so that later ones overtake them.
    :ivar delay: mean time on the way.
    :ivar jitter: each copy takes up to so much more or less; it overtakes or is
        overtaken when that is more than the pause between two datagrams.
    """

    loss: float = attrs.field(default=0.0, validator=_SHARE)
    duplicate: float = attrs.field(default=0.0, validator=_SHARE)
    reorder: float = attrs.field(default=0.0, validator=_SHARE)
    delay: float = attrs.field(default=0.0, validator=[ge(0.0), le(LONGEST_DELAY)])
    jitter: float = attrs.field(default=0.0, validator=ge(0.0))

    @jitter.validator
    def _check_jitter(self, _: object, jitter: float) -> None:
        if not jitter <= self.delay:
            raise ValueError("jitter must not be more than delay: nothing comes early")

    @property
    def longest(self) -> float:
        """The longest time that a datagram can be on its way, seconds."""
        slowest = self.delay + self.jitter
        return slowest + max(slowest, _SHORTEST_HOLD) if self.reorder else slowest


class Path:
    """
    One direction of a network.

    The luck of a datagram depends on *draw* and on how many came before it, and on
    nothing else: with more loss the same ones are lost, and some others.

    :param draw: chance: numbers from 0 to 1, but never 1.
    """

    def __init__(self, conditions: Conditions, draw: Callable[[], float]) -> None:
        self._conditions, self._draw = conditions, draw

    def delays(self) -> list[float]:
        """
        Send one datagram.

        :returns: for each copy that arrives the time it takes, seconds; empty
            if it is lost.
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

    A `vinom.dtls.port.IDatagramFilter`; several ports may wear the same one
    and then share its luck.

    :param seed: the same one has the same luck, whatever the clock.
    :ivar lost: how many datagrams were lost.
    """

    def __init__(
        self, clock: IReactorTime, conditions: Conditions, seed: str | int
    ) -> None:
        self._clock = clock
        # Seeding by text goes through a hash: these two have nothing in common.
        self._inward = Path(conditions, Random(f"{seed} in").random)
        self._outward = Path(conditions, Random(f"{seed} out").random)
        self.longest_hold = conditions.longest
        self.lost = 0

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """A datagram came from *address*."""
        self._carry(self._inward, datagram, address, pass_on)

    def outgoing(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """A datagram is to go to *address*."""
        self._carry(self._outward, datagram, address, pass_on)

    def _carry(
        self, path: Path, datagram: bytes, address: Address, pass_on: Pass
    ) -> None:
        delays = path.delays()
        if not delays:
            self.lost += 1
        for delay in delays:
            if delay:
                self._clock.callLater(delay, pass_on, datagram, address)
            else:
                pass_on(datagram, address)
