"""Rooms over WebSocket, compared with other servers that do the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks.figures import Figure, Size, of_runs, ratio
from benchmarks.machine import build, load
from benchmarks.node import Node
from benchmarks.peers import Colyseus, Websockets, running
from benchmarks.yardstick import on_this_machine, slowness
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import free_port

Say = Callable[[str], None]
Result = dict[str, Any]

#: Games that only benchmarks have.
_GAMES = tuple(
    f"--game=benchmarks.games.{name}"
    for name in (
        "echoes:EachEcho",
        "echoes:StuckEcho",
        "crowd:Crowd",
    )
)
#: Limits are on, but high: all clients have one address, and act as fast as possible.
_LIMITS = (
    "--connections-per-address=100000",
    "--input-rate=1000000",
    "--message-rate=1000",
    "--max-rooms=100000",
)

#: Bars of p50 and p99 at 13,500 inputs per second, us. That was half of what Colyseus
#: did on the machine where they were set; it had 75 us and 2.6 ms there.
_LATENCY = 90.0, 500.0
#: Bar of joins per second; Colyseus had 1,160 there.
_JOINS = 3000.0
#: Bars of TLS, in the same run: of *every* over Colyseus's over TLS and over ours in
#: the clear, of joins over Colyseus's over TLS, and of 1,000 idle clients, MiB.
_TLS_OVER_COLYSEUS, _TLS_OVER_CLEAR = 1.25, 0.7
_TLS_JOINS, _TLS_IDLE = 2.5, 33.0
_OVER_COLYSEUS = (
    ("p50_us", "p50", _LATENCY[0] / 75),
    ("p99_us", "p99", _LATENCY[1] / 2600),
    ("cpu", "CPU", 1.0),
)


@contextlib.contextmanager
def a_node(*arguments: str) -> Iterator[tuple[Node, int]]:
    """Run a node with the games of benchmarks; yield it and its port of WebSockets."""
    port = free_port()
    with Node("--warm=0", f"--http={port}", *_GAMES, *_LIMITS, *arguments) as node:
        yield node, port


@attrs.frozen
class Load:
    """
    Loads our server and the others.

    :ivar colyseus: ``None`` if it is not installed.
    :ivar tls: the files of the certificate and key of everybody's TLS: P-256.
    """

    roomload: Path
    size: Size
    say: Say
    colyseus: Colyseus | None
    tls: tuple[Path, Path]

    @property
    def secure_colyseus(self) -> Colyseus | None:
        """The same, over TLS."""
        peer = self.colyseus
        return None if peer is None else attrs.evolve(peer, tls=self.tls)

    def ours(self, mode: str, players: int, *how: str) -> Result:
        """Load a fresh node."""
        certificate, key = self.tls
        over = (
            "--http-tls",
            f"--tls-certificate-file={certificate}",
            f"--tls-key-file={key}",
        )
        with a_node(*over if "tls=1" in how else ()) as (node, port):
            return self.load("vinom", port, node.pid, mode, players, *how)

    def theirs(
        self, peer: Colyseus | Websockets, mode: str, players: int, *how: str
    ) -> Result:
        """Load a fresh server of another project."""
        protocol = "colyseus" if isinstance(peer, Colyseus) else "plain"
        if isinstance(peer, Colyseus) and peer.tls is not None:
            how = ("tls=1", *how)
        with running(peer) as (port, pid):
            return self.load(protocol, port, pid, mode, players, *how)

    def load(
        self, protocol: str, port: int, pid: int, mode: str, players: int, *how: str
    ) -> Result:
        """Load a running server."""
        return load(self.roomload, protocol, port, pid, mode, players, *how)

    def window(self, seconds: float) -> tuple[str, str]:
        """Return the options for the measured time, and the warm-up before it."""
        return f"warmup={self.size.seconds(1.0)}", f"secs={self.size.seconds(seconds)}"


def rooms(
    size: Size, folder: Path, say: Say, colyseus: Colyseus | None = None
) -> list[Figure]:
    """Rooms over WebSocket: inputs, latency, memory, joins, ticks; and over TLS."""
    roomload = build("roomload", folder, "ssl", "crypto")
    to = Load(roomload, size, say, colyseus, certificate_for_peers(folder))
    found = _saturate(to)
    figures = [
        *_saturation(found),
        *_paced(to, 13_500, "13,500 inputs per second", *_LATENCY),
    ]
    if colyseus is None:
        peer = "websockets"
    else:
        peer = "Colyseus"
        half = max(1, median(run["inputs_s"] for run in found[peer]) / 2)
        figures += _paced(to, int(half), "half of Colyseus's saturation")
    here = [run["inputs_s"] for run in found[peer]]
    figures += [*_idle(to), *_ten_thousand(to), *_crowd(to)]
    return on_this_machine(figures, slowness(peer, here)) if size.is_full else figures


def certificate_for_peers(folder: Path) -> tuple[Path, Path]:
    """Make a P-256 certificate and its key; return their files."""
    authority = Authority.open(folder / "authority", "game.vinom", time.time)
    issued = authority.lobby(["localhost", "127.0.0.1"])
    certificate, key = folder / "peers.pem", folder / "peers.key"
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    return certificate, key


def _turns(
    to: Load, what: str, each: dict[str, Callable[[], Result]]
) -> dict[str, list[Result]]:
    """Measure alternately, so that disturbances affect all; return the runs of each."""
    found: dict[str, list[Result]] = {name: [] for name in each}
    for run in range(to.size.runs):
        to.say(f"rooms, {what}: run {run + 1} of {to.size.runs}")
        for name, measure in each.items():
            found[name].append(measure())
    return found


def _ratio(
    name: str, ours: list[Result], theirs: list[Result], key: str, bar: float | None
) -> Figure:
    return ratio(name, ours, theirs, key, bar, at_least=True)


def _saturate(to: Load) -> dict[str, list[Result]]:
    """As many inputs as possible, 200 players with one outstanding each."""
    players, window = to.size.count(200), to.window(4.0)
    every = ("game=eachecho", "each=1", *window)
    each: dict[str, Callable[[], Result]] = {
        "every": lambda: to.ours("closed", players, *every),
    }
    peer = to.colyseus
    if peer is not None:
        # Between the ones it is compared with, because speed varies over minutes.
        each["Colyseus"] = lambda: to.theirs(peer, "closed", players, *window)
    each |= {
        "latest": lambda: to.ours("closed", players, *window),
        "websockets": lambda: to.theirs(Websockets(), "closed", players, *window),
        "every, TLS": lambda: to.ours("closed", players, "tls=1", *every),
    }
    secure = to.secure_colyseus
    if secure is not None:
        each["Colyseus, TLS"] = lambda: to.theirs(secure, "closed", players, *window)
    each |= {
        "latest, TLS": lambda: to.ours("closed", players, "tls=1", *window),
    }
    return _turns(to, "saturation", each)


def _saturation(found: dict[str, list[Result]]) -> list[Figure]:
    """Make the figures of `_saturate`."""
    figures = [
        of_runs(f"inputs in rooms, {name}", "per second", runs, "inputs_s")
        for name, runs in found.items()
    ]
    for name, bar in (("every", 1.75), ("latest", 2.25)):
        what = f"inputs in rooms, {name}"
        if "Colyseus" in found:
            figures.append(
                _ratio(
                    f"{what}, over Colyseus's",
                    found[name],
                    found["Colyseus"],
                    "inputs_s",
                    bar,
                )
            )
        figures.append(
            _ratio(
                f"{what}, over websockets'",
                found[name],
                found["websockets"],
                "inputs_s",
                None,
            )
        )
    what, tls = "inputs in rooms, every, TLS", found["every, TLS"]
    clear, bar = found["every"], _TLS_OVER_CLEAR
    figures.append(_ratio(f"{what}, over in the clear", tls, clear, "inputs_s", bar))
    if "Colyseus, TLS" in found:
        theirs, bar = found["Colyseus, TLS"], _TLS_OVER_COLYSEUS
        figures.append(
            _ratio(f"{what}, over Colyseus's, TLS", tls, theirs, "inputs_s", bar)
        )
    return figures


def _paced(
    to: Load,
    rate: int,
    what: str,
    bar_p50: float | None = None,
    bar_p99: float | None = None,
) -> list[Figure]:
    """
    Measure inputs at a fixed rate.

    :param bar_p50: of ours, us; *bar_p99* likewise.
    """
    players = to.size.count(200)
    # Warm up for a second, until the effects of joining have passed.
    how = (f"rate={to.size.count(rate)}", *to.window(3.0))
    each: dict[str, Callable[[], Result]] = {
        "ours": lambda: to.ours("open", players, "game=eachecho", "each=1", *how),
        "ours, TLS": lambda: to.ours(
            "open", players, "game=eachecho", "each=1", "tls=1", *how
        ),
    }
    peer, secure = to.colyseus, to.secure_colyseus
    if peer is not None and secure is not None:
        each["Colyseus"] = lambda: to.theirs(peer, "open", players, *how)
        each["Colyseus, TLS"] = lambda: to.theirs(secure, "open", players, *how)
    found = _turns(to, what, each)
    figures = []
    for name, runs in found.items():
        p50, p99 = (bar_p50, bar_p99) if name == "ours" else (None, None)
        figures += [
            of_runs(f"{what}, {name}, p50", "us", runs, "p50_us", p50),
            of_runs(f"{what}, {name}, p99", "us", runs, "p99_us", p99),
            of_runs(f"{what}, {name}, CPU", "% of a core", runs, "cpu"),
        ]
    if peer is not None:
        for key, name, bar in _OVER_COLYSEUS:
            pairs = zip(found["ours"], found["Colyseus"], strict=True)
            over = tuple(our[key] / their[key] for our, their in pairs)
            figures.append(
                Figure(f"{what}, {name}, ours over Colyseus's", "times", over, bar)
            )
        pairs = zip(found["ours, TLS"], found["Colyseus, TLS"], strict=True)
        over = tuple(our["p99_us"] / their["p99_us"] for our, their in pairs)
        name = f"{what}, p99, ours over Colyseus's, TLS"
        figures.append(Figure(name, "times", over, 1.0 if bar_p99 else None))
    return figures


def _idle(to: Load) -> list[Figure]:
    """A thousand players join, 32 at once, and stay idle."""
    players, how = to.size.count(1000), ("warmup=1", "secs=0.5")
    each: dict[str, Callable[[], Result]] = {
        "ours": lambda: to.ours("idle", players, *how),
        "ours, TLS": lambda: to.ours("idle", players, "tls=1", *how),
    }
    peer, secure = to.colyseus, to.secure_colyseus
    if peer is not None and secure is not None:
        each["Colyseus"] = lambda: to.theirs(peer, "idle", players, *how)
        each["Colyseus, TLS"] = lambda: to.theirs(secure, "idle", players, *how)
    found = _turns(to, "1,000 idle players", each)
    figures = []
    for name, runs in found.items():
        memory = {"ours": 10.0, "ours, TLS": _TLS_IDLE}.get(name)
        joins = _JOINS if name == "ours" else None
        per_thousand = tuple(run["memory_kb"] / 1.024 / players for run in runs)
        figures += [
            Figure(f"1,000 players in rooms, {name}", "MiB", per_thousand, memory),
            of_runs(
                f"joins, {name}", "per second", runs, "joins_s", joins, at_least=True
            ),
        ]
    if peer is not None:
        figures.append(
            _ratio(
                "joins, ours over Colyseus's",
                found["ours"],
                found["Colyseus"],
                "joins_s",
                _JOINS / 1160,
            )
        )
        tls = found["ours, TLS"], found["Colyseus, TLS"]
        name = "joins, ours over Colyseus's, TLS"
        figures.append(_ratio(name, *tls, "joins_s", _TLS_JOINS))
    return figures


def _ten_thousand(to: Load) -> list[Figure]:
    """Ten thousand idle players in one process: all stay connected."""
    players = to.size.count(10_000)
    to.say(f"rooms, {players} idle players")
    # Longer than two rounds of pings, so that lost players have been noticed.
    result = to.ours("idle", players, f"secs={to.size.seconds(45.0)}")
    return [of_runs("10,000 idle players, CPU", "% of a core", [result], "cpu", 5.0)]


def _crowd(to: Load) -> list[Figure]:
    """64 seats, 20 ticks per second, each seat its own view, 640 inputs per second."""
    how = ("game=crowd", "seats=64", "rate=640", *to.window(4.0))
    found = _turns(
        to,
        "64 seats",
        {
            "plain": lambda: to.ours("open", 64, *how),
            "TLS": lambda: to.ours("open", 64, "tls=1", *how),
        },
    )
    return [
        of_runs(
            f"64 seats, 20 ticks per second, each its own view, {name}",
            "% of a core",
            runs,
            "cpu",
            50.0 if name == "plain" else None,
        )
        for name, runs in found.items()
    ]
