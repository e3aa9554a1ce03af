"""``/metrics``: the node's figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request

from vinom import __version__
from vinom.web.answers import Page

#: What the node tells of itself: see `vinom.tap.node.Node.status`.
Facts = Mapping[str, Any]


class NodeCollector(Collector):
    """Turn one set of facts into metrics."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """List every metric; each is on the page even when it is 0."""
        facts = self._facts
        info = GaugeMetricFamily(
            "vinom_info", "Always 1; the version is its label.", labels=["version"]
        )
        info.add_metric([__version__], 1)
        yield info
        yield _gauge("vinom_draining", "1 while no new matches are taken.", facts)
        yield _gauge("vinom_lobby_lines", "Open lobby lines.", facts)
        yield _gauge("vinom_lobby_players", "Players with an open line.", facts)
        yield _by_label(
            "vinom_queue_players", "Players in the queue.", "game", facts["waiting"]
        )
        yield _gauge("vinom_queue_suspended", "Entries whose player is away.", facts)
        yield _gauge("vinom_queue_longest_wait_seconds", "The longest wait.", facts)
        yield _by_label(
            "vinom_matches", "Matches that are not over.", "state", facts["matches"]
        )
        ended = CounterMetricFamily(
            "vinom_matches_ended", "Matches that are over.", labels=["reason"]
        )
        for reason, count in sorted(facts["ended"].items()):
            ended.add_metric([reason], count)
        yield ended
        yield _by_label(
            "vinom_game_servers", "Game servers.", "state", facts["game_servers"]
        )
        yield _by_label(
            "vinom_ports", "UDP ports of game servers.", "state", facts["ports"]
        )
        yield _gauge(
            "vinom_matches_waiting_for_server", "Matches that wait for one.", facts
        )
        yield _by_label(
            "vinom_certificate_expiry_seconds",
            "When a certificate ends, seconds since the Unix epoch.",
            "certificate",
            facts["certificates"],
        )


def _gauge(name: str, told: str, facts: Facts) -> GaugeMetricFamily:
    """One number, found among the facts under the metric's short name."""
    return GaugeMetricFamily(name, told, value=facts[name.removeprefix("vinom_")])


def _by_label(
    name: str, told: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class Metrics(Page):
    """
    Serve the page.

    :param facts: asks the services; awaited once for each request.
    """

    _log = Logger()

    def __init__(self, facts: Callable[[], Awaitable[Facts]]) -> None:
        super().__init__()
        self._facts = facts
        self._process = ProcessCollector(registry=None)

    def render_GET(self, request: Request) -> int:
        is_gone = False

        def gone(_: Any) -> None:
            nonlocal is_gone
            is_gone = True

        def write(page: bytes) -> None:
            if not is_gone:
                request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
                request.write(page)
                request.finish()

        def failed(failure: Failure) -> None:
            self._log.failure("no metrics", failure)
            if not is_gone:
                request.setResponseCode(500)
                request.finish()

        request.notifyFinish().addErrback(gone)
        page = Deferred.fromCoroutine(self._page())
        page.addCallback(write).addErrback(failed)
        return NOT_DONE_YET

    async def _page(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(NodeCollector(await self._facts()))
        registry.register(self._process)
        return generate_latest(registry)
