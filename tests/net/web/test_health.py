"""Health and readiness, as a load balancer sees them."""

from __future__ import annotations

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from vinom.net.web.health import health_pages


class HealthTests(SynchronousTestCase):
    """Orchestrators decide by status codes."""

    def setUp(self) -> None:
        self.obstacle: str | None = None
        self.pages = health_pages(lambda: self.obstacle)

    def test_serving(self) -> None:
        """
        A node that serves is healthy and ready.
        """
        self.assertEqual(ask(self.pages, "GET", "/health").status, 200)
        self.assertEqual(ask(self.pages, "GET", "/ready").status, 200)

    def test_draining(self) -> None:
        """
        A draining node is healthy, and not ready, with the reason.
        """
        self.obstacle = "draining"
        self.assertEqual(ask(self.pages, "GET", "/health").status, 200)
        ready = ask(self.pages, "GET", "/ready")
        self.assertEqual((ready.status, ready.json), (503, {"status": "draining"}))

    def test_nothing_else(self) -> None:
        """
        No other page is there: the admin API is not on this port.
        """
        for path in ("/", "/v1/status", "/metrics", "/health/x"):
            self.assertEqual(ask(self.pages, "GET", path).status, 404, path)

    def test_head(self) -> None:
        """
        Probes may use HEAD, and leave no trace in the log.
        """
        seen: list[LogEvent] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        probed = ask(self.pages, "HEAD", "/health")
        self.assertEqual((probed.status, probed.body), (200, b""))
        self.assertEqual(probed.headers["content-length"], "16")
        self.assertEqual([event for event in seen if "HEAD" in str(event)], [])

    def test_other_methods(self) -> None:
        """
        A wrong method is refused in JSON like everything else.
        """
        refused = ask(self.pages, "POST", "/health", b"x")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET"))
        self.assertEqual(refused.json["error"]["message"], "use GET")
