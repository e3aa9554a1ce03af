"""
``/health`` and ``/ready``, for load balancers; ``/echo``, for players; ``/metrics``: a
program's figures in Prometheus' text format.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request

from vinom.net.web.answers import Folder, Page, answer


class Health(Page):
    """Answer 200 always: the process runs."""

    def render_GET(self, request: Request) -> bytes:
        return answer(request, {"status": "ok"})


class Ready(Page):
    """Answer 200 if players can be sent here, or 503 with the reason."""

    def __init__(
        self,
        obstacle: Callable[[], str | None],
        details: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """
        :param obstacle: returns the reason why not; ``None`` if they can.
        :param details: gives what else is answered.
        """
        super().__init__()
        self._obstacle, self._details = obstacle, details

    def render_GET(self, request: Request) -> bytes:
        obstacle = self._obstacle()
        found = {"status": obstacle or "ready", **self._details()}
        return answer(request, found, 200 if obstacle is None else 503)


class Echo(Page):
    """Answer 204, at once, for players who measure how far this node is."""

    def render_GET(self, request: Request) -> bytes:
        # Pages of other nodes measure it too.
        request.setHeader("access-control-allow-origin", "*")
        request.setHeader("cache-control", "no-store")
        request.setResponseCode(204)
        return b""


def health_pages(obstacle: Callable[[], str | None]) -> Folder:
    """Make these pages; *obstacle* as in `Ready`."""
    return Folder(health=Health(), ready=Ready(obstacle), echo=Echo())


class Metrics(Page):
    """Serve the page."""

    _log = Logger()

    def __init__(
        self,
        facts: Callable[[], Awaitable[Mapping[str, Any]]],
        collector: Callable[[Mapping[str, Any]], Collector],
    ) -> None:
        """
        :param facts: collects what the services count; called once per request.
        :param collector: makes metrics of it.
        """
        super().__init__()
        self._facts, self._collector = facts, collector
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
            self._log.failure("cannot collect metrics", failure)
            if not is_gone:
                request.setResponseCode(500)
                request.finish()

        request.notifyFinish().addErrback(gone)
        page = Deferred.fromCoroutine(self._page())
        page.addCallback(write).addErrback(failed)
        return NOT_DONE_YET

    async def _page(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._collector(await self._facts()))
        registry.register(self._process)
        return generate_latest(registry)
