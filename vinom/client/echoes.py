"""How far the regions of a service are: the times of echoes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.python.failure import Failure

from vinom.base.messages.lobby import RegionOffer

#: Echoes whose median counts; the one before them opens the connection.
ECHOES = 5
#: A region that does not answer in this time is left out, seconds.
PATIENCE = 3.0


def measure_echoes(
    reactor: Any, regions: Sequence[RegionOffer]
) -> Deferred[dict[str, float]]:
    """
    Measure the medians of five echoes, milliseconds by region.

    A region that does not answer is left out; it never fails.

    :param reactor: connects, and measures time.
    :param regions: as the lobby offered them.
    """
    # It takes long to import, and few players need it.
    from twisted.web.client import Agent, HTTPConnectionPool

    pool = HTTPConnectionPool(reactor)
    agent = Agent(reactor, connectTimeout=PATIENCE, pool=pool)

    async def of(region: RegionOffer) -> float:
        times = []
        for number in range(1 + ECHOES):
            began = reactor.seconds()
            answer = await agent.request(b"GET", region.url.encode("ascii"))
            if number:
                times.append(1000 * (reactor.seconds() - began))
            done: Deferred[Any] = _read(answer)
            await done
        return float(median(times))

    def asked(region: RegionOffer) -> Deferred[tuple[str, float] | None]:
        work = Deferred.fromCoroutine(of(region)).addTimeout(PATIENCE, reactor)
        return work.addCallbacks(lambda ms: (region.region, ms), _none)

    def close(found: list[tuple[str, float] | None]) -> dict[str, float]:
        pool.closeCachedConnections().addErrback(_none)
        return {one[0]: round(one[1], 1) for one in found if one is not None}

    if not regions:
        return succeed({})
    return gatherResults([asked(region) for region in regions]).addCallback(close)


def _read(answer: Any) -> Deferred[Any]:
    from twisted.web.client import readBody

    return readBody(answer)


def _none(failure: Failure) -> None:
    """A region that cannot be reached is no place to play."""
