"""A bad network for whoever wears it: our own clients, and tests."""

from __future__ import annotations

from random import Random

from twisted.internet.interfaces import IReactorTime

from vinom.net.datagrams import Pass
from vinom.rules.conditions import Conditions, Path
from vinom.wire.admission import Address


class Conditioner:
    """
    Lose, delay, double and reorder datagrams, in both directions.

    A `vinom.net.datagrams.IDatagramFilter`; several ports may wear the same one
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
