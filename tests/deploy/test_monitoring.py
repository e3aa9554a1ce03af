"""Dashboards and alerts show what nodes and gateways export, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from twisted.trial.unittest import SynchronousTestCase

from tests.support.facts import FACTS
from tests.support.promql import Wrong, read
from vinom.gateway.admin import COUNTERS, GAUGES, GatewayCollector
from vinom.node.web.collector import NodeCollector

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "vinom.json"
PAGE = ROOT / "docs" / "howto" / "observe.rst"

#: What Prometheus adds to everything that it scrapes.
ADDED = {"instance", "job"}
#: Prometheus's own word for who answers it.
_UP = GaugeMetricFamily("up", "1 while it answers.", value=1)
#: What a family of some type consists of.
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


def families() -> list[Metric]:
    """All that is exported; that a node's facts are these is a test of its own."""
    process = ProcessCollector(registry=None)
    gateway = {
        name: {"x": 1} if label else 1 for name, _, label in (*COUNTERS, *GAUGES)
    }
    return [
        *NodeCollector(FACTS).collect(),
        *GatewayCollector({"gateway_id": "g1", **gateway}).collect(),
        *process.collect(),
    ]


def series() -> dict[str, set[str]]:
    """The labels of everything that can be asked for, by its name."""
    found: dict[str, set[str]] = {}
    for family in [*families(), _UP]:
        labels = {label for sample in family.samples for label in sample.labels}
        for suffix in SUFFIXES[family.type]:
            is_bucket = suffix == "_bucket"
            found[family.name + suffix] = labels if is_bucket else labels - {"le"}
    return found


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """Its panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, with where it is."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for note in dashboard()["annotations"]["list"]:
        yield note["name"], note["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            # Grafana's own function, which takes a label's name.
            yield variable["name"], re.sub(r", \w+\)", ")", variable["query"]["query"])


class ExpressionTests(SynchronousTestCase):
    """Alerts and panels that ask for something that is there."""

    def test_metrics_exist(self) -> None:
        """
        Every metric and every label that is asked for is exported.
        """
        known, asked = series(), set()
        for where, expression in expressions():
            try:
                named = read(expression)
            except Wrong as error:
                self.fail(f"{where}: {error} in {expression}")
            self.assertTrue(named.selectors, where)
            labels: set[str] = set(ADDED)
            for metric, narrowed in named.selectors:
                self.assertIn(metric, known, where)
                self.assertEqual(narrowed - known[metric] - ADDED, set(), where)
                labels |= known[metric]
                asked.add(metric)
            self.assertEqual(named.groupings - labels, set(), where)
        self.assertGreater(len(asked), 30)

    def test_everything_is_shown(self) -> None:
        """
        No metric of ours is exported that nobody ever sees.
        """
        asked = {
            metric
            for _, expression in expressions()
            for metric, _ in read(expression).selectors
        }
        unseen = [
            family.name
            for family in families()
            if family.name.startswith("vinom_")
            and not asked & {family.name + each for each in SUFFIXES[family.type]}
        ]
        self.assertEqual(unseen, [], "no panel of deploy/grafana, no alert has them")

    def test_quantiles_keep_their_buckets(self) -> None:
        """
        A quantile is of buckets, summed by their bound; else it is nonsense.
        """
        for where, expression in expressions():
            for inner in re.findall(r"histogram_quantile\(.*?\[", expression):
                self.assertRegex(inner, r"sum by \(le\b.*_bucket", where)

    def test_mistakes_are_found(self) -> None:
        """
        The reader of expressions refuses what Prometheus would refuse.
        """
        for wrong in ("sum(a", "sum(a))", "rat(a[5m])", "a{b=1]", "a ? b", "a[$x]"):
            self.assertRaises(Wrong, read, wrong)
        named = read('sum by (a, b) (rate(m_total{c="x"}[5m])) / on (d) n > 0.5')
        self.assertEqual(named.selectors, [("m_total", {"c"}), ("n", set())])
        self.assertEqual(named.groupings, {"a", "b", "d"})


class AlertTests(SynchronousTestCase):
    """What wakes somebody at night."""

    def test_alerts_say_what_to_do(self) -> None:
        """
        Each alert says what is wrong and what to look at, and how bad it is.
        """
        names = [rule["alert"] for rule in rules()]
        self.assertEqual(len(names), len(set(names)))
        for rule in rules():
            self.assertEqual(
                set(rule) - {"for"}, {"alert", "expr", "labels", "annotations"}
            )
            annotations = rule["annotations"]
            self.assertGreater(len(annotations["summary"]), 20, rule["alert"])
            self.assertGreater(len(annotations["runbook"]), 50, rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("info", "warning", "critical"))
            self.assertRegex(str(rule.get("for", "1m")), r"^\d+[smh]$")

    def test_templates(self) -> None:
        """
        What a summary fills in is a label that the alert has.
        """
        known = series()
        for rule in rules():
            named = read(rule["expr"])
            labels = ADDED | named.groupings
            for metric, _ in named.selectors:
                labels |= known[metric]
            used = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
            self.assertEqual(set(used) - labels, set(), rule["alert"])


class DashboardTests(SynchronousTestCase):
    """What Grafana loads."""

    def test_layout(self) -> None:
        """
        Panels have different numbers, titles and places, and say what they show.
        """
        every = dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in every}), len(every))
        self.assertEqual(len({panel["title"] for panel in every}), len(every))
        taken: set[tuple[int, int]] = set()
        for panel in every:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertLessEqual(place["x"] + place["w"], 24)
            self.assertEqual(taken & cells, set(), panel["title"])
            taken |= cells
        for panel in panels():
            self.assertGreater(len(panel["description"]), 10, panel["title"])

    def test_legends(self) -> None:
        """
        Each label that a legend shows is one that its expression keeps.
        """
        for panel in panels():
            for target in panel["targets"]:
                named = read(target["expr"])
                used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                self.assertEqual(used - named.groupings - ADDED, set(), panel["title"])


class PageTests(SynchronousTestCase):
    """What operators read of metrics."""

    def test_every_metric_is_listed(self) -> None:
        """
        The page lists each metric of ours with its type and labels, and no other.
        """
        page = PAGE.read_text(encoding="utf-8")
        listed = dict(re.findall(r"(?m)^\* ``(vinom_\w+)`` \(([^)]*)\)", page))
        wanted = {}
        for family in families():
            if family.name.startswith("vinom_"):
                labels = {label for sample in family.samples for label in sample.labels}
                name = family.name + ("_total" if family.type == "counter" else "")
                facts = [family.type, *sorted(labels - {"le"})]
                wanted[name] = ", ".join(facts)
        self.assertEqual(listed, wanted)

    def test_every_alert_is_listed(self) -> None:
        """
        The page lists each alert.
        """
        page = PAGE.read_text(encoding="utf-8")
        for rule in rules():
            self.assertIn(f"``{rule['alert']}``", page)
