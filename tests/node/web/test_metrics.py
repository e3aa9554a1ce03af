"""The metrics page."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.facts import FACTS
from tests.support.http import ask
from vinom.net.web.answers import Folder, Metrics
from vinom.node.web.collector import NodeCollector

Page = dict[tuple[str, ...], float]


class MetricsTests(SynchronousTestCase):
    """What Prometheus scrapes."""

    def page(self, facts: Any) -> Any:
        async def tell() -> Any:
            return await facts

        return ask(Folder(metrics=Metrics(tell, NodeCollector)), "GET", "/metrics")

    def scrape(self, **changes: Any) -> Page:
        answer = self.page(succeed(FACTS | changes))
        self.assertEqual(answer.status, 200)
        self.assertIn("text/plain", answer.headers["content-type"])
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }

    def check(self, found: Page, *wanted: tuple[tuple[str, ...], float]) -> None:
        for key, value in wanted:
            self.assertEqual(found.get(key), value, key)

    def test_lobby(self) -> None:
        """
        Prometheus' own parser reads players, queue and matches.
        """
        found = self.scrape()
        self.check(
            found,
            (("vinom_lobby_lines",), 3),
            (("vinom_queue_players", "maze"), 2),
            (("vinom_queue_longest_wait_seconds",), 1.5),
            (("vinom_queue_wait_seconds_bucket", "maze", "0.1"), 3),
            (("vinom_queue_wait_seconds_bucket", "maze", "+Inf"), 4),
            (("vinom_queue_wait_seconds_sum", "maze"), 4.5),
            (("vinom_queue_wait_seconds_count", "roomecho"), 0),
            (("vinom_prematches",), 2),
            (("vinom_prematches_over_total", "accepted"), 8),
            (("vinom_prematches_over_total", "declined"), 0),
            (("vinom_parties", "idle"), 3),
            (("vinom_parties", "prematch"), 0),
            (("vinom_matches", "playing"), 4),
            (("vinom_matches_ended_total", "finished"), 7),
            (("vinom_matches_ended_total", "lost"), 0),
            (("vinom_ports", "free"), 59),
            (("vinom_certificate_expiry_seconds", "authority"), 2e9),
            (("vinom_certificate_expiry_seconds", "lobby"), 1.9e9),
            (("vinom_errors_total", "hello_first", "lobby"), 2),
        )
        self.assertIn(("process_resident_memory_bytes",), found)

    def test_store(self) -> None:
        """
        Operators see whether the store answers, how fast, and how calls end.
        """
        self.check(
            self.scrape(),
            (("vinom_store_available",), 1),
            (("vinom_store_losses_total",), 2),
            (("vinom_store_calls_total", "ok"), 40),
            (("vinom_store_calls_total", "late"), 1),
            (("vinom_store_call_seconds_bucket", "0.001"), 39),
            (("vinom_store_call_seconds_count",), 40),
            (("vinom_rooms_paused",), 2),
            (("vinom_checkpoints_total", "kept"), 12),
            (("vinom_checkpoints_total", "lost"), 0),
            (("vinom_checkpoints_unremoved",), 1),
        )

    def test_results(self) -> None:
        """
        Results are counted by reason, and those that wait are seen; a node that keeps
        none has the same names.
        """
        self.check(
            self.scrape(),
            (("vinom_results_total", "finished"), 8),
            (("vinom_results_total", "lost"), 0),
            (("vinom_results_stored", "waiting"), 2),
            (("vinom_results_stored", "dead"), 1),
            (("vinom_results_longest_wait_seconds",), 4.5),
            (("vinom_results_forgotten_total",), 0),
            (("vinom_results_requests_total", "failed"), 3),
        )
        none = self.scrape(results=None)
        self.assertEqual({name for name, *_ in none}, {n for n, *_ in self.scrape()})

    def test_play(self) -> None:
        """
        What game servers count is there, each thing under its own name.
        """
        self.check(
            self.scrape(),
            (("vinom_game_players",), 4),
            (("vinom_players", "tictactoe"), 5),
            (("vinom_players", "maze"), 0),
            (("vinom_game_rooms",), 1),
            (("vinom_datagrams_total", "in"), 100),
            (("vinom_datagrams_dropped_total", "junk"), 7),
            (("vinom_datagrams_dropped_total", "size"), 2),
            (("vinom_datagrams_dropped_total", "packet_rate"), 3),
            (("vinom_datagrams_dropped_total", "admitted"), None),
            (("vinom_hellos_answered_total", "cookie_asked"), 9),
            (("vinom_handshakes_begun_total",), 6),
            (("vinom_handshakes_total", "finished"), 5),
            (("vinom_handshakes_total", "timeout"), 0),
            (("vinom_handshakes_total", "begun"), None),
            (("vinom_joins_total", "bad_token"), 1),
            (("vinom_errors_total", "bad_token", "game"), 1),
            (("vinom_rtt_seconds_bucket", "0.02"), 8),
            (("vinom_rtt_seconds_bucket", "0.1"), 10),
            (("vinom_rtt_seconds_count",), 10),
            (("vinom_loss_ratio_bucket", "0.0"), 10),
        )

    def test_reactors(self) -> None:
        """
        Turns are counted for the node and for game servers, with the slowest call.
        """
        self.check(
            self.scrape(),
            (("vinom_reactor_turn_seconds_bucket", "0.0005", "node"), 9),
            (("vinom_reactor_turn_seconds_bucket", "1.0", "game_server"), 50),
            (("vinom_reactor_turn_seconds_count", "game_server"), 51),
            (("vinom_reactor_slow_calls_total", "game.act", "game_server"), 1),
            (("vinom_reactor_slowest_call_seconds", "game.act", "game_server"), 1.2),
            (("vinom_reactor_slowest_call_seconds", "game.view", "game_server"), None),
        )

    def test_before_anything_happened(self) -> None:
        """
        A fresh node has the same families: a dashboard shows zeros, not gaps.
        """

        def names(page: Page) -> set[str]:
            return {name for name, *_ in page}

        none_ended = FACTS["matches"] | {"ended": {}}
        fresh = self.scrape(played={}, turns={}, matches=none_ended, errors={})
        missing = names(self.scrape()) - names(fresh)
        # These have no series before the first; their labels are not known.
        self.assertEqual(
            missing,
            {
                "vinom_datagrams_dropped_total",
                "vinom_reactor_slow_calls_total",
                "vinom_reactor_slowest_call_seconds",
            },
        )

    def test_first_error(self) -> None:
        """
        The first mistake of a node counts as an increase, so that the alert fires.
        """
        fresh = self.scrape(played={}, errors={})
        for where in ("lobby", "game"):
            self.check(fresh, (("vinom_errors_total", "internal", where), 0.0))

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
        A figure that cannot be read is an error, not a page of zeros.
        """
        answer = self.page(succeed({}))
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
