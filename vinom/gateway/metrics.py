"""A gateway's metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vinom import __version__
from vinom.net.lines.sniff import Spoken
from vinom.net.streams.ends import Reason

#: Exported as 0 at first, because Prometheus sees no increase in a series that begins
#: at 1.
_OUTCOMES = dict.fromkeys((reason.value for reason in Reason), 0)
_ARRIVED = dict.fromkeys((*(one.value for one in Spoken), "silent", "lost"), 0)
_REFUSED = dict.fromkeys(
    (kind + why for kind in ("", "session_") for why in ("too_many", "too_fast")), 0
)

#: Name, help, label. Counters first, then gauges; each is the fact of the same name.
COUNTERS = (
    ("sessions_begun", "Sessions, by the client's protocol.", "kind"),
    ("sessions_ended", "Sessions that have ended, by outcome.", "outcome"),
    ("received_bytes", "Bytes that clients sent in sessions.", ""),
    ("sent_bytes", "Bytes that clients were sent in sessions.", ""),
    ("connections", "Clients' connections, by protocol.", "protocol"),
    (
        "connections_refused",
        "Connections, and sessions of one, that were refused, by reason.",
        "reason",
    ),
    ("links_dialed", "Links to back ends that were made.", ""),
    ("links_lost", "Links to back ends that have ended.", ""),
    ("checks_failed", "Checks of back ends that failed.", ""),
    ("breakers_opened", "Times that a back end could not be reached any more.", ""),
    ("outliers", "Times that a back end failed too often and was left out.", ""),
    ("rules_taken", "Times that new rules came into use.", ""),
    ("rules_refused", "Rules refused because of a mistake.", ""),
    ("http_answers", "HTTP answers sent to clients, by status.", "status"),
    (
        "http_own_answers",
        "HTTP answers made by the gateway itself, by status.",
        "status",
    ),
)
GAUGES = (
    ("sessions", "Open sessions, by service.", "service"),
    ("connections_open", "Open client connections.", ""),
    ("backend_sessions", "Open sessions, by back end.", "backend"),
    ("backend_usable", "1 if a back end was reached and gets sessions.", "backend"),
    ("links", "Open links, by back end.", "backend"),
    ("rules_valid", "1 if the newest rules are in use, 0 if they have a mistake.", ""),
    ("rules_loaded", "1 if there are rules.", ""),
    (
        "store_available",
        "1 while the Redis with the rules answers, or if none is set.",
        "",
    ),
    ("draining", "1 while the gateway drains.", ""),
)


class GatewayCollector(Collector):
    """Turn one set of facts into metrics; zeros are exported, too."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        """:param facts: returns `vinom.gateway.service.Gateway.facts`."""
        self._facts = {
            **facts,
            "sessions_ended": {**_OUTCOMES, **facts["sessions_ended"]},
            "connections": {**_ARRIVED, **facts["connections"]},
            "connections_refused": {**_REFUSED, **facts["connections_refused"]},
        }

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "vinom_gateway_info",
            "Always 1; the label has the gateway's id.",
            labels=["id", "version"],
        )
        info.add_metric([self._facts["gateway_id"], __version__], 1)
        yield info
        for name, text, label in COUNTERS:
            counter = CounterMetricFamily(
                f"vinom_gateway_{name}", text, labels=[label] if label else []
            )
            yield self._filled(counter, name, label)
        for name, text, label in GAUGES:
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
