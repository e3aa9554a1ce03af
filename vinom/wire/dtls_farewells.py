"""The last words of ended associations, in case they were lost."""

from __future__ import annotations

import attrs

from vinom.wire.admission import Address


@attrs.define
class _Farewell:
    datagrams: list[bytes]
    until: float
    again: float


class Farewells:
    """
    Keep each close_notify for a few seconds, for a peer that goes on talking.

    Times are seconds on the caller's clock.

    :param lifetime: how long they are kept.
    :param gap: least time between two copies to one address.
    :param limit: how many addresses; the oldest is forgotten first.
    """

    def __init__(
        self, lifetime: float = 5.0, gap: float = 0.1, limit: int = 1024
    ) -> None:
        self._lifetime, self._gap, self._limit = lifetime, gap, limit
        # In order of time, as every one of them lives equally long.
        self._kept: dict[Address, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, address: Address, datagrams: list[bytes], now: float) -> None:
        """Remember what was said to *address* last."""
        self.expire(now)
        self._kept.pop(address, None)
        if len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[address] = _Farewell(datagrams, now + self._lifetime, now)

    def repeat(self, address: Address, now: float) -> list[bytes]:
        """The peer talks as if it had not heard: what to tell it again."""
        farewell = self._kept.get(address)
        if farewell is None or now >= farewell.until or now < farewell.again:
            return []
        farewell.again = now + self._gap
        return farewell.datagrams

    def forget(self, address: Address) -> None:
        """The peer has answered, or begins anew."""
        self._kept.pop(address, None)

    def expire(self, now: float) -> None:
        """Drop what is too old."""
        while self._kept:
            address, farewell = next(iter(self._kept.items()))
            if now < farewell.until:
                return
            del self._kept[address]

    def deadline(self) -> float | None:
        """When to call `expire`."""
        for farewell in self._kept.values():
            return farewell.until
        return None
