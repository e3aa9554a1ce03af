"""The metrics page."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ask
from vinom.web.answers import Folder
from vinom.web.metrics import Metrics

FACTS: dict[str, Any] = {
    "draining": 0,
    "lobby_lines": 3,
    "lobby_players": 2,
    "waiting": {"maze": 2, "roomecho": 0},
    "queue_suspended": 1,
    "queue_longest_wait_seconds": 1.5,
    "matches": {"forming": 0, "placed": 1, "playing": 4},
    "ended": {"finished": 7},
    "game_servers": {"warm": 2},
    "ports": {"free": 59, "bound": 5, "quarantined": 0},
    "matches_waiting_for_server": 0,
    "certificates": {"authority": 2e9},
}


class MetricsTests(SynchronousTestCase):
    """What Prometheus scrapes."""

    def page(self, facts: Any) -> Any:
        async def tell() -> Any:
            return await facts

        return ask(Folder(metrics=Metrics(tell)), "GET", "/metrics")

    def test_page(self) -> None:
        """
        Prometheus' own parser reads every figure.
        """
        answer = self.page(succeed(FACTS))
        self.assertEqual(answer.status, 200)
        self.assertIn("text/plain", answer.headers["content-type"])
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
        for key, value in (
            (("vinom_lobby_lines",), 3),
            (("vinom_queue_players", "maze"), 2),
            (("vinom_matches", "playing"), 4),
            (("vinom_matches_ended_total", "finished"), 7),
            (("vinom_ports", "free"), 59),
            (("vinom_certificate_expiry_seconds", "authority"), 2e9),
        ):
            self.assertEqual(found[key], value)
        self.assertIn(("process_resident_memory_bytes",), found)

    def test_slow_storage(self) -> None:
        """
        A scraper that gives up while storage is slow harms nothing.
        """
        facts: Deferred[Any] = Deferred()
        asked = self.page(facts)
        asked.hang_up()
        facts.callback(FACTS)
        self.assertFalse(asked.is_answered)

    def test_failure(self) -> None:
        """
        What cannot be told is an error, not a page of zeros.
        """
        answer = self.page(succeed({}))
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
