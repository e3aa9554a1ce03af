"""Every metric that a node exports, made from what its services tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from vinom import __version__
from vinom.errors import Code
from vinom.model import EndReason
from vinom.reactor.figures import (
    LOSS_BOUNDS,
    RTT_BOUNDS,
    TURN_BOUNDS,
    WAIT_BOUNDS,
    cumulated,
    labelled,
)

#: What the node tells of itself: see `vinom.node.node.Node.facts`.
Facts = Mapping[str, Any]
#: Names and numbers as `vinom.reactor.figures` has them.
Figures = Mapping[str, float]

_HANDSHAKES = ("finished", "failed", "timeout", "evicted", "replaced", "closed")
#: What admission answers; everything else it drops.
_ANSWERED = ("admitted", "cookie_asked")
#: Errors that an alert waits for: they are there before the first of them.
_ALARMING = dict.fromkeys(
    (Code.INTERNAL, Code.BUSY, Code.UNAVAILABLE, Code.TOO_MANY_CONNECTIONS), 0.0
)


class NodeCollector(Collector):
    """Turn one set of facts into metrics; each is there even when it is 0."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """List them all."""
        yield from self._node()
        yield from self._queue()
        yield from self._matches()
        yield from self._rooms()
        played: Figures = self._facts["played"]
        yield from _players(played)
        yield from _datagrams(played)
        yield from self._reactors(played)
        yield self._errors(played)

    def _node(self) -> Iterator[Metric]:
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
            "vinom_certificate_expiry_seconds",
            "When a certificate ends, seconds since the Unix epoch.",
            "certificate",
            facts["certificates"],
        )

    def _queue(self) -> Iterator[Metric]:
        facts = self._facts
        yield _by_label(
            "vinom_queue_players", "Players in the queue.", "game", facts["waiting"]
        )
        yield _gauge("vinom_queue_suspended", "Entries whose player is away.", facts)
        yield _gauge(
            "vinom_queue_longest_wait_seconds",
            "How long the oldest entry of the queue has waited.",
            facts,
        )
        waits = HistogramMetricFamily(
            "vinom_queue_wait_seconds",
            "How long players waited who are matched.",
            labels=["game"],
        )
        for game, figures in sorted(facts["waits"].items()):
            waits.add_metric([game], *_buckets(figures, "wait", WAIT_BOUNDS))
        yield waits

    def _matches(self) -> Iterator[Metric]:
        facts = self._facts
        yield _by_label(
            "vinom_matches", "Matches that are not over.", "state", facts["matches"]
        )
        yield _count_by_label(
            "vinom_matches_ended",
            "Matches that are over, by outcome.",
            "reason",
            dict.fromkeys(get_args(EndReason), 0) | dict(facts["ended"]),
        )
        yield _gauge(
            "vinom_matches_waiting_for_server",
            "Matches that wait for a game server.",
            facts,
        )
        yield _by_label(
            "vinom_game_servers", "Game servers.", "state", facts["game_servers"]
        )
        yield _by_label(
            "vinom_ports", "UDP ports of game servers.", "state", facts["ports"]
        )

    def _rooms(self) -> Iterator[Metric]:
        told = self._facts["rooms"]
        rooms = GaugeMetricFamily(
            "vinom_rooms", "Rooms of the node itself.", labels=["game", "state"]
        )
        for (game, state), count in sorted(told["by_game"].items()):
            rooms.add_metric([game, state], count)
        yield rooms
        places = GaugeMetricFamily(
            "vinom_room_places",
            "Places in rooms of the node; away: their connection is lost.",
            labels=["state"],
        )
        places.add_metric(["here"], told["places"] - told["away"])
        places.add_metric(["away"], told["away"])
        yield places
        relayed = GaugeMetricFamily(
            "vinom_match_places",
            "Places in matches of game servers that are played or watched by way of "
            "the node.",
            labels=["kind"],
        )
        relayed.add_metric(["seat"], told["relayed_seats"])
        relayed.add_metric(["spectator"], told["match_spectators"])
        yield relayed
        yield _count_by_label(
            "vinom_rooms_closed",
            "Rooms of the node that are over, by reason.",
            "reason",
            dict.fromkeys(get_args(EndReason), 0) | dict(told["ended"]),
        )

    def _reactors(self, played: Figures) -> Iterator[Metric]:
        turns = HistogramMetricFamily(
            "vinom_reactor_turn_seconds",
            "How long turns of the reactor took, without their wait.",
            labels=["process"],
        )
        slow = CounterMetricFamily(
            "vinom_reactor_slow_calls",
            "Calls that held a reactor up for more than 50 ms.",
            labels=["process", "call"],
        )
        slowest = GaugeMetricFamily(
            "vinom_reactor_slowest_call_seconds",
            "The slowest call of the last minute at most.",
            labels=["process", "call"],
        )
        reactors: dict[str, Figures] = {
            "node": self._facts["turns"],
            "game_server": played,
        }
        for process, figures in reactors.items():
            buckets = _buckets(figures, "turn_seconds", TURN_BOUNDS)
            turns.add_metric([process], *buckets)
            for call, count in sorted(labelled(figures, "slow_calls").items()):
                slow.add_metric([process, call], count)
            worst = labelled(figures, "slowest_call").items()
            for call, seconds in sorted(worst, key=_second)[-1:]:
                slowest.add_metric([process, call], seconds)
        yield turns
        yield slow
        yield slowest

    def _errors(self, played: Figures) -> Metric:
        errors = CounterMetricFamily(
            "vinom_errors",
            "What players were refused, by code; where: lobby or game.",
            labels=["where", "code"],
        )
        for where, told in (
            ("lobby", self._facts["errors"]),
            ("game", _prefixed(played, "errors_")),
        ):
            # From the start: Prometheus sees no increase in what begins at 1.
            for code, count in sorted({**_ALARMING, **told}.items()):
                errors.add_metric([where, code], count)
        return errors


def _players(played: Figures) -> Iterator[Metric]:
    """What game servers tell of rooms and links."""
    for name, told, figure in (
        ("vinom_game_players", "Players with a seat and a connection.", "players"),
        ("vinom_game_rooms", "Rooms of game servers.", "rooms"),
        ("vinom_game_connections", "Finished DTLS handshakes.", "associations"),
        ("vinom_game_servers_pressed", "Game servers that see a flood.", "pressed"),
        (
            "vinom_game_servers_overloaded",
            "Game servers that tell new players to come later.",
            "overloaded",
        ),
    ):
        yield GaugeMetricFamily(name, told, value=played.get(figure, 0))
    for name, told, figure in (
        ("vinom_pressure_rises", "Floods that were noticed.", "pressure_rises"),
        (
            "vinom_overloads",
            "Times that a game server had too much to do for new players.",
            "overloads",
        ),
        (
            "vinom_match_time_slipped_seconds",
            "Match time that was given up because ticks came late.",
            "slipped_seconds",
        ),
        (
            "vinom_connections_evicted",
            "Connections without a seat that gave way to newer ones.",
            "lines_evicted",
        ),
    ):
        yield CounterMetricFamily(name, told, value=played.get(figure, 0))
    for name, told, figure, bounds in (
        (
            "vinom_rtt_seconds",
            "Smoothed round trip of each player's link, sampled once a second.",
            "rtt_seconds",
            RTT_BOUNDS,
        ),
        (
            "vinom_loss_ratio",
            "Share of packets lost on each player's link, sampled once a second.",
            "loss",
            LOSS_BOUNDS,
        ),
    ):
        samples = HistogramMetricFamily(name, told)
        samples.add_metric([], *_buckets(played, figure, bounds))
        yield samples


def _datagrams(played: Figures) -> Iterator[Metric]:
    """What game servers tell of their ports."""
    yield _count_by_label(
        "vinom_datagrams",
        "Datagrams of game servers.",
        "direction",
        {way: played.get(f"datagrams_{way}", 0) for way in ("in", "out")},
    )
    judged = _prefixed(played, "admission_")
    dropped = _prefixed(played, "dropped_") | {
        f"packet_{reason}": count
        for reason, count in _prefixed(played, "packets_dropped_").items()
    }
    for verdict, count in judged.items():
        if verdict not in _ANSWERED:
            dropped[verdict] = dropped.get(verdict, 0) + count
    yield _count_by_label(
        "vinom_datagrams_dropped",
        "Datagrams that were answered with nothing, by reason.",
        "reason",
        dropped,
    )
    yield _count_by_label(
        "vinom_hellos_answered",
        "ClientHellos of strangers that were answered.",
        "answer",
        {answer: judged.get(answer, 0) for answer in _ANSWERED},
    )
    shaken = _prefixed(played, "handshake_")
    yield CounterMetricFamily(
        "vinom_handshakes_begun",
        "DTLS handshakes that were begun.",
        value=shaken.pop("begun", 0),
    )
    yield _count_by_label(
        "vinom_handshakes",
        "DTLS handshakes that are over, by result.",
        "result",
        dict.fromkeys(_HANDSHAKES, 0) | shaken,
    )
    yield _count_by_label(
        "vinom_joins",
        "Players who asked for a seat, by result.",
        "result",
        {"accepted": 0} | _prefixed(played, "joins_"),
    )


def _prefixed(figures: Figures, prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(figures.items())
        if name.startswith(prefix)
    }


def _second(item: tuple[str, float]) -> float:
    return item[1]


def _buckets(
    figures: Figures, name: str, bounds: tuple[float, ...]
) -> tuple[list[tuple[str, float]], float]:
    """Write a histogram as Prometheus wants it."""
    buckets, total = cumulated(figures, name, bounds)
    return [
        ("+Inf" if bound == inf else str(float(bound)), count)
        for bound, count in buckets
    ], total


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


def _count_by_label(
    name: str, told: str, label: str, values: Mapping[str, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
