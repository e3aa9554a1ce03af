"""
What a node can see to be wrong with itself, for its log, its status and its metrics.

Each problem has a name, and one sentence: what is wrong, and how to solve it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.reactor.waits import Repeating
from vinom.errors import StoreUnavailable

#: Gives the sentence; empty if all is well.
Source = Callable[[], str]

#: How often they are looked for, seconds.
_EVERY = 2.0
#: What happens now and then counts as a problem for this long after, seconds: longer
#: than Prometheus and its alerts take to see it.
_LATELY = 300.0
#: A clock that is further from the store's is wrong, seconds.
CLOCK_TOLERANCE = 5.0


class Problems(Repeating):
    """Look for problems, and log each once when it begins and once when it is over."""

    name = "problems"
    _log = Logger()

    def __init__(
        self,
        sources: Mapping[str, Source],
        clock: IReactorTime,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """
        :param sources: by the name of the problem.
        :param clock: for delays.
        :param refresh: brings what sources need from the store up to date.
        """
        super().__init__(self._look, _EVERY, clock, is_at_once=True)
        self._sources, self._refresh = sources, refresh
        self._logged: dict[str, str] = {}

    def found(self) -> dict[str, str]:
        """Find the sentence of each problem; empty for those that there are not."""
        return {name: source() for name, source in self._sources.items()}

    def _look(self) -> Deferred[None]:
        return in_background(self._log, self._look_now(), "cannot look for problems")

    async def _look_now(self) -> None:
        if self._refresh is not None:
            # The store logs that itself.
            with suppress(StoreUnavailable):
                await self._refresh()
        found = {name: why for name, why in self.found().items() if why}
        for name, why in found.items():
            if name not in self._logged:
                self._log.warn("{why}", why=why)
        for name, why in self._logged.items():
            if name not in found:
                self._log.info("no longer: {why}", why=why)
        self._logged = {
            name: self._logged.get(name, why) for name, why in found.items()
        }


@attrs.define(eq=False)
class Lately:
    """
    A problem for as long as a count rises, and for some minutes more.

    :ivar count: counts how often it happened.
    :ivar sentence: says so; it gets that number.
    :ivar now: seconds on a clock that nobody sets.
    """

    count: Callable[[], float]
    sentence: str
    now: Callable[[], float] = time.monotonic
    _seen: float = attrs.field(default=0.0, init=False)
    _until: float = attrs.field(default=0.0, init=False)

    def __call__(self) -> str:
        count = self.count()
        if count > self._seen:
            self._seen, self._until = count, self.now() + _LATELY
        if self._until <= self.now():
            return ""
        return self.sentence.format(count=int(count))


@attrs.define
class Others:
    """
    The nodes that share the store: those that are there for longer than a lease.

    One that was killed counts no longer: it may be this one, before it was restarted.

    :ivar lease_seconds: how long a node that is gone has a lease.
    """

    lease_seconds: float
    count: int = 0
    _since: dict[str, float] = attrs.field(factory=dict)

    def look(self, node_ids: Iterable[str], now: float) -> None:
        """Note which nodes there are; *now* is on a clock that nobody sets."""
        self._since = {one: self._since.get(one, now) for one in node_ids}
        lasting = now - self.lease_seconds
        self.count = sum(since < lasting for since in self._since.values())


def expired(certificates: Mapping[str, float], now: float) -> str:
    """
    Name the certificates that have expired.

    :param certificates: when they expire, by name. Times: Unix seconds.
    """
    ended = [
        f"the certificate of the {name} expired on "
        f"{datetime.fromtimestamp(ends_at, UTC):%Y-%m-%d}"
        for name, ends_at in certificates.items()
        if ends_at <= now
    ]
    if not ended:
        return ""
    return (
        f"{' and '.join(ended)}: clients that verify it cannot connect; replace it, "
        "then send SIGHUP (vinom doctor says how)"
    )


def wrong_clock(ahead: float | None) -> str:
    """
    Say how wrong this machine's clock is.

    :param ahead: of the store's, seconds; ``None`` if that is not known.
    """
    if ahead is None or abs(ahead) <= CLOCK_TOLERANCE:
        return ""
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead):.0f} s {way} the store's: beyond 30 s "
        "tokens of other nodes are refused; run an NTP client on both machines"
    )


def own_authority(others: int) -> str:
    """
    Say what is wrong with an authority of one's own.

    :param others: how many other nodes share the store.
    """
    if not others:
        return ""
    return (
        f"{others} other nodes share the store, and this one has an authority of its "
        "own: players who come here cannot be sent to matches of others; set "
        "authority_certificate_file and authority_key_file to the same on all of them"
    )
