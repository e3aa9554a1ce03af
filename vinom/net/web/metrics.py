"""``/metrics``: a program's figures in Prometheus' text format."""

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

from vinom.net.web.answers import Page


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
