"""What a gateway exports for Prometheus; docs/reference/gateway.rst lists it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vinom import __version__
from vinom.lines.sniff import Spoken
from vinom.streams.ends import Reason

#: Exported before they happen: Prometheus sees no increase in what begins at 1.
_OUTCOMES = dict.fromkeys((reason.value for reason in Reason), 0)
_ARRIVED = dict.fromkeys((*(one.value for one in Spoken), "silent", "lost"), 0)
_REFUSED = dict.fromkeys(("too_many", "too_fast", "session_too_fast"), 0)

#: Name, help, label. Counters first, then gauges; all are facts of their own names.
_COUNTERS = (
    ("sessions_begun", "Sessions, by what the client speaks.", "kind"),
    ("sessions_ended", "Sessions that are over, by outcome.", "outcome"),
    ("received_bytes", "Bytes that clients sent in sessions.", ""),
    ("sent_bytes", "Bytes that clients were sent in sessions.", ""),
    ("connections", "Connections of clients, by what they speak.", "protocol"),
    (
        "connections_refused",
        "Connections, and sessions of one, that were refused, by reason.",
        "reason",
    ),
    ("links_dialed", "Links to back ends that were made.", ""),
    ("links_lost", "Links to back ends that are over.", ""),
    ("checks_failed", "Checks of back ends that failed.", ""),
    ("breakers_opened", "Times that a back end could not be reached any more.", ""),
    ("outliers", "Times that a back end failed too often and was left out.", ""),
    ("rules_taken", "Times that other rules came into use.", ""),
    ("rules_refused", "Rules with a mistake.", ""),
    ("http_answers", "Answers by HTTP that clients were sent, by status.", "status"),
    ("http_own_answers", "Those of them that are the gateway's own.", "status"),
)
_GAUGES = (
    ("sessions", "Sessions that last, by service.", "service"),
    ("connections_open", "Open connections of clients.", ""),
    ("backend_sessions", "Sessions that last, by back end.", "backend"),
    ("backend_usable", "1 while a back end gets sessions, else 0.", "backend"),
    ("links", "Open links, by back end.", "backend"),
    ("rules_valid", "1 if the newest rules are in use, 0 if they have a mistake.", ""),
    ("rules_loaded", "1 if there are rules.", ""),
    ("store_available", "1 while the Redis of the rules answers, or none is set.", ""),
    ("draining", "1 while the gateway takes no new connections.", ""),
)


class GatewayCollector(Collector):
    """Turn one set of facts into metrics; a metric of 0 is exported too."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        """:param facts: of `vinom.gateway.service.Gateway.facts`."""
        self._facts = {
            **facts,
            "sessions_ended": {**_OUTCOMES, **facts["sessions_ended"]},
            "connections": {**_ARRIVED, **facts["connections"]},
            "connections_refused": {**_REFUSED, **facts["connections_refused"]},
        }

    def collect(self) -> Iterator[Metric]:
        """Make all metrics."""
        info = GaugeMetricFamily(
            "vinom_gateway_info", "1; which gateway this is.", labels=["id", "version"]
        )
        info.add_metric([self._facts["gateway_id"], __version__], 1)
        yield info
        for name, text, label in _COUNTERS:
            counter = CounterMetricFamily(
                f"vinom_gateway_{name}", text, labels=[label] if label else []
            )
            yield self._filled(counter, name, label)
        for name, text, label in _GAUGES:
            gauge = GaugeMetricFamily(
                f"vinom_gateway_{name}", text, labels=[label] if label else []
            )
            yield self._filled(gauge, name, label)

    def _filled(self, family: Any, name: str, label: str) -> Metric:
        fact = self._facts[name]
        values = sorted(fact.items()) if label else [("", fact)]
        for value, number in values:
            family.add_metric([value] if label else [], number)
        found: Metric = family
        return found
