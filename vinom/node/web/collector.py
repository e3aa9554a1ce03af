"""One table of all metrics that a node exports, made from the facts of its services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from math import inf
from operator import getitem
from typing import Any, get_args

import attrs
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from vinom import __version__
from vinom.base.model import EndReason, PartyState
from vinom.base.reactor.figures import (
    CALL_BOUNDS,
    LOSS_BOUNDS,
    RTT_BOUNDS,
    TURN_BOUNDS,
    WAIT_BOUNDS,
    cumulated,
    labelled,
)
from vinom.errors import Code

#: The counts of a node's services: see `vinom.node.node.Node.facts`.
Facts = Mapping[str, Any]
#: Names and numbers, as in `vinom.base.reactor.figures`.
Figures = Mapping[str, float]
#: Values of the labels, and the number; for a histogram, the figures it is made of.
Samples = Iterable[tuple[tuple[str, ...], Any]]

_HANDSHAKES = ("finished", "failed", "timeout", "evicted", "replaced", "closed")
#: Answers of admission to strangers; it drops everything else.
_ANSWERED = ("admitted", "cookie_asked", "not_associated")
#: Errors that alerts watch, exported before they happen: Prometheus sees no increase
#: in a counter that begins at 1.
_ALARMING = dict.fromkeys(
    (
        *(Code.INTERNAL, Code.BUSY, Code.UNAVAILABLE, Code.STORE_UNAVAILABLE),
        Code.TOO_MANY_CONNECTIONS,
    ),
    0.0,
)
_ENDED: dict[str, float] = dict.fromkeys(get_args(EndReason), 0)
_CHECKPOINTS: dict[str, float] = dict.fromkeys(("kept", "failed", "lost"), 0)
_PARTIES: dict[str, float] = dict.fromkeys(get_args(PartyState), 0)
_PREMATCHES: dict[str, float] = dict.fromkeys(
    ("accepted", "declined", "silent", "given_back"), 0
)


def _fact(*path: str) -> Callable[[Facts], Samples]:
    """Take one number of the node."""
    return lambda facts: [((), reduce(getitem, path, facts))]


def _played(name: str) -> Callable[[Facts], Samples]:
    """Take one number of the game servers; 0 until one of them counts it."""
    return lambda facts: [((), facts["played"].get(name, 0))]


def _each(*path: str, known: Figures | None = None) -> Callable[[Facts], Samples]:
    """
    Take the node's numbers, one for each label.

    :param known: those that are exported before they are counted.
    """
    return lambda facts: _sorted({**(known or {}), **reduce(getitem, path, facts)})


def _of(
    name: str, labels: Sequence[str], prefix: str = ""
) -> Callable[[Facts], Samples]:
    """Take some numbers of the node that have others beside them."""
    return lambda facts: [
        ((label,), facts[name].get(prefix + label, 0)) for label in labels
    ]


def _sorted(values: Mapping[str, Any]) -> Samples:
    return [((label,), value) for label, value in sorted(values.items())]


def _prefixed(figures: Figures, prefix: str) -> dict[str, float]:
    """Find the figures whose name begins with *prefix*, by the rest of it."""
    return {
        name.removeprefix(prefix): value
        for name, value in sorted(figures.items())
        if name.startswith(prefix)
    }


def _room_places(facts: Facts) -> Samples:
    rooms = facts["rooms"]
    yield ("here",), rooms["places"] - rooms["away"]
    yield ("away",), rooms["away"]


def _match_places(facts: Facts) -> Samples:
    yield ("seat",), facts["rooms"]["relayed_seats"]
    yield ("spectator",), facts["rooms"]["match_spectators"]


def _dropped(facts: Facts) -> Samples:
    played: Figures = facts["played"]
    dropped = _prefixed(played, "dropped_") | {
        f"packet_{reason}": count
        for reason, count in _prefixed(played, "packets_dropped_").items()
    }
    for verdict, count in _prefixed(played, "admission_").items():
        if verdict not in _ANSWERED:
            dropped[verdict] = dropped.get(verdict, 0) + count
    return _sorted(dropped)


def _handshakes(facts: Facts) -> Samples:
    ended = _prefixed(facts["played"], "handshake_")
    ended.pop("begun", None)
    return _sorted(dict.fromkeys(_HANDSHAKES, 0) | ended)


def _reactors(facts: Facts) -> dict[str, Figures]:
    return {"node": facts["turns"], "game_server": facts["played"]}


def _slow_calls(facts: Facts) -> Samples:
    for process, figures in _reactors(facts).items():
        for call, count in sorted(labelled(figures, "slow_calls").items()):
            yield (process, call), count


def _slowest_call(facts: Facts) -> Samples:
    for process, figures in _reactors(facts).items():
        worst = labelled(figures, "slowest_call")
        for call in sorted(worst, key=worst.__getitem__)[-1:]:
            yield (process, call), worst[call]


_NO_RESULTS: Mapping[str, Any] = {
    "noted": {},
    "states": dict.fromkeys(("kept", "waiting", "dead"), 0),
    "longest_wait": 0.0,
    "forgotten": 0,
    "requests": dict.fromkeys(("sent", "failed", "dead"), 0),
}


def _results(name: str) -> Callable[[Facts], Any]:
    """Take a part of the figures of results; a node may keep none."""
    return lambda facts: (facts["results"] or _NO_RESULTS)[name]


def _errors(facts: Facts) -> Samples:
    for where, refused in (
        ("lobby", facts["errors"]),
        ("game", _prefixed(facts["played"], "errors_")),
    ):
        for code, count in sorted({**_ALARMING, **refused}.items()):
            yield (where, code), count


@attrs.frozen
class Row:
    """
    One metric.

    :ivar name: as in Prometheus; ``_total`` is added to counters.
    :ivar samples: finds the values among a node's facts.
    :ivar labels: names of its labels.
    :ivar buckets: for a histogram: the prefix of its figures, and the bounds.
    """

    kind: type[GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily]
    name: str
    help: str
    samples: Callable[[Facts], Samples]
    labels: tuple[str, ...] = ()
    buckets: tuple[str, tuple[float, ...]] | None = None

    def family(self, facts: Facts) -> Metric:
        """Make the metric with all samples."""
        family: Any = self.kind(self.name, self.help, labels=self.labels)
        for labels, value in self.samples(facts):
            if self.buckets is None:
                family.add_metric(labels, value)
            else:
                family.add_metric(labels, *_buckets(value, *self.buckets))
        made: Metric = family
        return made


def _buckets(
    figures: Figures, name: str, bounds: tuple[float, ...]
) -> tuple[list[tuple[str, float]], float]:
    """Convert figures to a histogram of Prometheus."""
    buckets, total = cumulated(figures, name, bounds)
    return [
        ("+Inf" if bound == inf else str(float(bound)), count)
        for bound, count in buckets
    ], total


_gauge, _count, _spread = GaugeMetricFamily, CounterMetricFamily, HistogramMetricFamily

# fmt: off
TABLE: tuple[Row, ...] = (
    Row(_gauge, "vinom_info", "Always 1; the version is its label.",
        lambda facts: [((__version__,), 1)], ("version",)),
    Row(_gauge, "vinom_draining", "1 while no new matches are taken.",
        _fact("draining")),
    Row(_gauge, "vinom_problems",
        "1 for each problem that the node has: vinom status says more.",
        _each("problems"), ("problem",)),
    Row(_count, "vinom_recordings_stopped",
        "Recordings that ended before their match, such as for lack of disk space.",
        _fact("recordings_stopped")),
    Row(_gauge, "vinom_lobby_lines", "Open lobby lines.", _fact("lobby", "lines")),
    Row(_gauge, "vinom_lobby_players", "Players with an open line.",
        _fact("lobby", "players")),
    Row(_gauge, "vinom_certificate_expiry_seconds",
        "When a certificate expires, seconds since the Unix epoch.",
        _each("certificates"), ("certificate",)),
    Row(_gauge, "vinom_queue_players", "Players in the queue.",
        _each("queue", "waiting"), ("game",)),
    Row(_gauge, "vinom_queue_suspended", "Queue entries whose player is away.",
        _fact("queue", "suspended")),
    Row(_count, "vinom_queue_backfilled",
        "Players of the queue who were given free seats of running rooms.",
        _each("queue", "backfilled"), ("game",)),
    Row(_gauge, "vinom_queue_longest_wait_seconds",
        "How long the oldest entry of the queue has waited.",
        _fact("queue", "longest_wait")),
    Row(_spread, "vinom_queue_wait_seconds",
        "How long matched players waited in the queue.",
        _each("queue", "waits"), ("game",), ("wait", WAIT_BOUNDS)),
    Row(_gauge, "vinom_prematches", "Matches that wait for players to accept them.",
        _fact("queue", "prematches", "open")),
    Row(_count, "vinom_prematches_over",
        "Prematches that are over, by result.",
        _each("queue", "prematches", "results", known=_PREMATCHES), ("result",)),
    Row(_gauge, "vinom_parties", "Parties, by what they do.",
        _each("queue", "parties", known=_PARTIES), ("state",)),
    Row(_gauge, "vinom_matches", "Matches that are not over.",
        _of("matches", ("forming", "placed", "playing")), ("state",)),
    Row(_count, "vinom_matches_ended", "Matches that are over, by outcome.",
        _each("matches", "ended", known=_ENDED), ("reason",)),
    Row(_gauge, "vinom_matches_waiting_for_server",
        "Matches that wait for a game server.", _fact("fleet", "waiting")),
    Row(_count, "vinom_matches_went_on",
        "Matches that went on at another game server, by what became of the first.",
        _each("fleet", "went_on"), ("why",)),
    Row(_gauge, "vinom_old_copies",
        "Matches that would lose more than a second with their machine.",
        _fact("fleet", "old_copies")),
    Row(_gauge, "vinom_game_servers", "Game servers.",
        _each("fleet", "servers"), ("state",)),
    Row(_gauge, "vinom_ports", "UDP ports of game servers.",
        _of("fleet", ("free", "bound", "quarantined"), "ports_"), ("state",)),
    Row(_gauge, "vinom_rooms", "Rooms that the node hosts itself.",
        lambda facts: sorted(facts["rooms"]["by_game"].items()), ("game", "state")),
    Row(_gauge, "vinom_room_places",
        "Places in rooms of the node; away: their connection is lost.",
        _room_places, ("state",)),
    Row(_gauge, "vinom_match_places",
        "Places in matches of game servers that are played or watched through "
        "the node.", _match_places, ("kind",)),
    Row(_count, "vinom_rooms_closed", "Rooms of the node that are over, by reason.",
        _each("rooms", "ended", known=_ENDED), ("reason",)),
    Row(_gauge, "vinom_rooms_paused",
        "Rooms that wait for the store, or for a lease of this node.",
        _fact("rooms", "paused")),
    Row(_count, "vinom_checkpoints",
        "Checkpoints of rooms that were to be stored, by what became of them.",
        _each("rooms", "checkpoints", known=_CHECKPOINTS), ("result",)),
    Row(_gauge, "vinom_checkpoints_unremoved",
        "Rooms that have closed and wait to be removed from the store.",
        _fact("rooms", "unremoved")),
    Row(_count, "vinom_results", "Results of rounds that were noted, by reason.",
        lambda facts: _sorted(_ENDED | _results("noted")(facts)), ("reason",)),
    Row(_gauge, "vinom_results_stored",
        "Results that are kept; those that wait to be sent; those that were given up.",
        lambda facts: _sorted(_results("states")(facts)), ("state",)),
    Row(_gauge, "vinom_results_longest_wait_seconds",
        "Age of the oldest result that waits to be sent.",
        lambda facts: [((), _results("longest_wait")(facts))]),
    Row(_count, "vinom_results_forgotten",
        "Results that gave way to newer ones before they were sent.",
        lambda facts: [((), _results("forgotten")(facts))]),
    Row(_count, "vinom_results_requests",
        "Requests with results, by what became of them: received, to be tried again, "
        "or the last one.",
        lambda facts: _sorted(_results("requests")(facts)), ("result",)),
    Row(_gauge, "vinom_players",
        "Players with a seat and a connection, in matches and in rooms of the node.",
        _each("players"), ("game",)),
    Row(_gauge, "vinom_game_players", "Players with a seat and a connection.",
        _played("players")),
    Row(_gauge, "vinom_game_rooms", "Rooms of game servers.", _played("rooms")),
    Row(_gauge, "vinom_relayed_matches",
        "Matches whose players over UDP are connected to the node.",
        _played("relayed_matches")),
    Row(_count, "vinom_relayed_messages",
        "Messages of game servers for players who are connected to the node.",
        _played("relayed_in")),
    Row(_gauge, "vinom_game_connections", "Finished DTLS handshakes.",
        _played("associations")),
    Row(_gauge, "vinom_game_servers_pressed", "Game servers that see a flood.",
        _played("pressed")),
    Row(_gauge, "vinom_game_servers_overloaded",
        "Game servers that ask new players to come later.", _played("overloaded")),
    Row(_count, "vinom_pressure_rises", "Floods that were noticed.",
        _played("pressure_rises")),
    Row(_count, "vinom_overloads",
        "Times that a game server had too much to do for new players.",
        _played("overloads")),
    Row(_count, "vinom_match_time_slipped_seconds",
        "Match time that was given up because ticks came late.",
        _played("slipped_seconds")),
    Row(_count, "vinom_connections_evicted",
        "Connections without a seat that gave way to newer ones.",
        _played("lines_evicted")),
    Row(_spread, "vinom_rtt_seconds",
        "Smoothed round trip of each player's link, sampled once per second.",
        _fact("played"), (), ("rtt_seconds", RTT_BOUNDS)),
    Row(_spread, "vinom_loss_ratio",
        "Share of packets lost on each player's link, sampled once per second.",
        _fact("played"), (), ("loss", LOSS_BOUNDS)),
    Row(_count, "vinom_datagrams", "Datagrams of game servers.",
        _of("played", ("in", "out"), "datagrams_"), ("direction",)),
    Row(_count, "vinom_datagrams_dropped",
        "Datagrams that were not answered, by reason.", _dropped, ("reason",)),
    Row(_count, "vinom_hellos_answered",
        "ClientHellos of strangers that were answered.",
        _of("played", _ANSWERED, "admission_"), ("answer",)),
    Row(_count, "vinom_handshakes_begun", "DTLS handshakes that began.",
        _played("handshake_begun")),
    Row(_count, "vinom_handshakes", "DTLS handshakes that are over, by result.",
        _handshakes, ("result",)),
    Row(_count, "vinom_joins", "Players who requested a seat, by result.",
        lambda facts: _sorted({"accepted": 0} | _prefixed(facts["played"], "joins_")),
        ("result",)),
    Row(_spread, "vinom_reactor_turn_seconds",
        "How long turns of the reactor took, without their wait.",
        lambda facts: [((one,), its) for one, its in _reactors(facts).items()],
        ("process",), ("turn_seconds", TURN_BOUNDS)),
    Row(_count, "vinom_reactor_slow_calls",
        "Calls that held a reactor up for more than 50 ms.",
        _slow_calls, ("process", "call")),
    Row(_gauge, "vinom_reactor_slowest_call_seconds",
        "The slowest call of the last minute, at most.",
        _slowest_call, ("process", "call")),
    Row(_gauge, "vinom_store_available",
        "1 while the store answers, 0 while calls of it fail at once.",
        _fact("store", "available")),
    Row(_count, "vinom_store_losses",
        "Times that the store stopped answering.",
        _fact("store", "opened")),
    Row(_count, "vinom_store_calls", "Calls of a shared store, by result.",
        _each("store", "calls"), ("result",)),
    Row(_spread, "vinom_store_call_seconds",
        "How long calls of a shared store took that were answered.",
        _fact("store", "seconds"), (), ("call", CALL_BOUNDS)),
    Row(_count, "vinom_errors",
        "Requests of players that were refused, by code; where: lobby or game.",
        _errors, ("where", "code")),
)
# fmt: on


class NodeCollector(Collector):
    """Turn one set of facts into metrics; a metric of 0 is exported too."""

    def __init__(self, facts: Facts) -> None:
        """:param facts: the node's present facts."""
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Make all metrics, in the order of the table."""
        return (row.family(self._facts) for row in TABLE)
