"""The admin port: ``/health``, ``/ready``, ``/metrics`` and the API under ``/v1``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IProtocolFactory
from twisted.web.resource import Resource

from vinom import __version__
from vinom.base.limits.origins import Hosts
from vinom.net.lines.sniff import Spoken
from vinom.net.streams.channels import Reason
from vinom.net.web.answers import Asked, Folder, Health, Metrics, Ready
from vinom.net.web.guards import Guarded, NamedHosts, admin_port

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
        kinds = ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES))
        for kind, rows in kinds:
            for name, text, label in rows:
                labels = [label] if label else []
                family = kind(f"vinom_gateway_{name}", text, labels=labels)
                fact = self._facts[name]
                for value, number in sorted(fact.items()) if label else [("", fact)]:
                    family.add_metric([value] if label else [], number)
                yield family


class Operations(Protocol):
    """The gateway's operations that the pages use."""

    async def facts(self) -> Mapping[str, Any]:
        """Count everything, for metrics."""

    def obstacle(self) -> str | None:
        """Why clients should not be sent here; ``None`` if they can."""

    def details(self) -> Mapping[str, Any]:
        """The state of the rules, as a JSON-like dict."""

    def drain(self) -> None:
        """Accept no new clients, and exit when the last one is gone."""

    def status(self) -> Mapping[str, Any]:
        """The gateway's status, as a JSON-like dict."""

    def listed_routes(self) -> Mapping[str, Any]:
        """The rules in use and the state of their back ends, as a JSON-like dict."""


def admin_site(
    operations: Operations, token: bytes | None, reactor: Any
) -> IProtocolFactory:
    """
    Make the site of the admin port.

    :param operations: the gateway.
    :param token: the token of the API; ``None`` for no API.
    :param reactor: runs it.
    """
    pages: dict[str, Resource] = {
        "health": Health(),
        "ready": Ready(operations.obstacle, operations.details),
        "metrics": Metrics(operations.facts, GatewayCollector),
    }
    if token is not None:

        def begin(body: bytes) -> Mapping[str, Any]:
            operations.drain()
            return operations.status()

        drain = Asked("POST", begin)
        api = Folder(
            drain=drain,
            status=Asked("GET", lambda body: operations.status()),
            routes=Asked("GET", lambda body: operations.listed_routes()),
        )
        pages["v1"] = Guarded(api, token)
        root: Folder = _Root(Guarded(Folder(drain=drain), token), **pages)
    else:
        root = Folder(**pages)
    named = NamedHosts(
        root,
        Hosts(),
        reactor,
        programs=(*(name.encode() for name in pages), b"drain"),
        remedy="use the gateway's address, or a program that is no browser",
    )
    return admin_port(named, reactor)


class _Root(Folder):
    """All pages; ``/drain`` needs the token, like the API."""

    def __init__(self, guarded: Guarded, **pages: Resource) -> None:
        """
        :param guarded: the pages that need the token, with ``drain``.
        :param pages: the other pages.
        """
        super().__init__(**pages)
        self._guarded = guarded

    def getChild(self, path: bytes, request: Any) -> Resource:
        if path == b"drain":
            return self._guarded.getChild(path, request)
        return super().getChild(path, request)
