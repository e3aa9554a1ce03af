"""Check every back end regularly, so that sessions need not find out what is down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol as Shape

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.reactor.alarm import Timer
from vinom.gateway.routing.health import Health, is_ours
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint, ServiceRule

_log = Logger()

#: The shortest time between two checks, seconds.
_LEAST_GAP = 0.01


class Checks(Shape):
    """A way of reaching back ends: one ``transport`` of rules."""

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """
        Find out whether a back end can be reached.

        :raises Exception: it cannot be reached.
        """


class HealthChecks(Service):
    """
    Check all back ends of the rules, one after another, each every few seconds.

    :ivar failed: checks that failed.
    """

    name = "checks"

    def __init__(
        self,
        router: Router,
        health: Health,
        transports: Mapping[str, Checks],
        clock: IReactorTime,
        seconds: float,
    ) -> None:
        """
        :param router: has the rules.
        :param health: gets the results.
        :param transports: the ways of reaching back ends, by name.
        :param clock: times the checks.
        :param seconds: time between two checks of a back end.
        """
        self._router, self._health, self._transports = router, health, transports
        self._clock, self._seconds = clock, seconds
        self._next = Timer(self._clock)
        self._left: list[tuple[ServiceRule, Endpoint]] = []
        self._gap = seconds
        self._running: set[Endpoint] = set()
        self.failed = 0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._step()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._next.cancel()

    def _step(self) -> None:
        if not self._left:
            self._left = self._all()
            self._gap = max(_LEAST_GAP, self._seconds / max(1, len(self._left)))
        self._next.start(self._gap, self._step)
        if not self._left:
            return
        rule, endpoint = self._left.pop()
        if endpoint in self._running or not self._health.is_reachable(endpoint):
            return
        self._running.add(endpoint)
        self._health.tries(endpoint)
        in_background(_log, self._check(rule, endpoint), "a check failed")

    def _all(self) -> list[tuple[ServiceRule, Endpoint]]:
        """List each back end once, with one of its rules."""
        router, found = self._router, {}
        for rule in router.rules.by_name.values():
            is_realm = rule.strategy == "realm"
            for endpoint in router.realms.values() if is_realm else rule.endpoints:
                if endpoint not in found or rule.check:
                    found[endpoint] = rule
        return [(rule, endpoint) for endpoint, rule in found.items()]

    async def _check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        before = self._health.state(endpoint)
        try:
            await self._transports[rule.transport].check(rule, endpoint)
        except Exception as error:
            self.failed += 1
            if not is_ours(error):
                self._health.failed(endpoint)
            if self._health.state(endpoint) == "open" and before in ("good", "new"):
                _log.warn(
                    "back end {endpoint} is down: {why}",
                    endpoint=str(endpoint),
                    why=str(error) or type(error).__name__,
                )
        else:
            self._health.reached(endpoint)
            if before in ("open", "half-open"):
                _log.info("back end {endpoint} is up", endpoint=str(endpoint))
        finally:
            self._running.discard(endpoint)
