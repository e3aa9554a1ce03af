"""The cost of checkpoints, with which a match outlives its process."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from benchmarks.dense import run_dense
from benchmarks.figures import Figure, Size, of_runs, ratio
from benchmarks.games.echoes import EachEcho
from benchmarks.machine import build, cpu_of, load
from benchmarks.node import SEATS, Node
from benchmarks.play import DENSE
from benchmarks.several import redis, shared
from vinom.base.model import MatchPlan, SeatPlan
from vinom.fleet.control.link import ControlClient, ControlServer
from vinom.fleet.control.messages import CONTROL_PROTOCOL, Ready
from vinom.fleet.gameserver.keeping import Checkpoints, MatchKeeper
from vinom.fleet.gameserver.room import HostedSeat
from vinom.fleet.match import KeptCheckpoint
from vinom.game import Game, Table
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.recordings import MatchRecording
from vinom.play.room import Room
from vinom.play.states import codec_of

_EACH = f"--game={EachEcho.__module__}:{EachEcho.__qualname__}"
#: Matches that change in one turn of a busy game server.
_ROOMS = 20
_VERSIONS = 4000

Say = Callable[[str], None]


class Token(Struct, frozen=True):
    """A player's piece."""

    x: float
    y: float
    owner: int
    kind: str


class BoardState(Struct, frozen=True):
    """A board of 40 x 20 cells with pieces on it: 1 KB written."""

    turn: int
    cells: tuple[int, ...]
    tokens: tuple[Token, ...]


class Move(Struct, frozen=True):
    """Move the next piece."""


class Board(Game[BoardState, Move]):
    """A state of 1 KB of which each action changes a little."""

    name = "board1k"
    actions = Move
    seats = (4, 4)

    def start(self, table: Table) -> BoardState:
        """Lay the board."""
        tokens = tuple(Token(1.5 * n, 0.5, n % 4, "knight") for n in range(4))
        return BoardState(0, (1, 0) * 400, tokens)

    def act(self, s: BoardState, seat: int, action: Move, now: float) -> BoardState:
        """Move a piece."""
        at = s.turn % len(s.tokens)
        moved = Token(s.turn + 0.5, 2.5, at, "knight")
        tokens = (*s.tokens[:at], moved, *s.tokens[at + 1 :])
        return BoardState(s.turn + 1, s.cells, tokens)

    def view(self, s: BoardState, audience: object) -> int:
        """Show almost nothing: views cost the same with and without checkpoints."""
        return s.turn


@implementer(ISystemHandle)
class _Socket(StringTransport):
    def __init__(self, of: socket.socket) -> None:
        super().__init__()
        self.of = of

    def getHandle(self) -> socket.socket:
        return self.of


class _BothEnds:
    """Matches on a game server and at their node, in one process, over a socket."""

    def __init__(self, rooms: int) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        clock = Clock()
        self.kept: dict[str, KeptCheckpoint] = {}
        self.link = ControlServer(clock, lambda ready, link: self).buildProtocol(None)
        self.link.makeConnection(_Socket(self.theirs))
        ready = Ready("g1", 1, CONTROL_PROTOCOL)
        self.client = ControlClient(clock, ready, lambda _: None, lambda: None)
        # The node's end must not notice that both are in one process.
        self.link._peer = None
        self.client.makeConnection(_Socket(self.ours))
        self.link.dataReceived(self.theirs.recv(1 << 16))
        outbox: Any = SimpleNamespace(
            send_all=self.client.send_all,
            is_behind=self.client.is_behind,
            plays_on=False,
        )
        self.checkpoints = Checkpoints(clock, clock.seconds, outbox)
        self.hosts = [self._open(number) for number in range(rooms)]
        self._time, self._count = 1.0, 0

    def _open(self, number: int) -> RoomHost:
        seats = tuple(
            SeatPlan(f"player{seat:016}", f"name {seat}") for seat in range(4)
        )
        plan = MatchPlan(f"match{number:011}", Board.name, seats, seed=number)
        self.kept[plan.match_id] = KeptCheckpoint()
        recording = MatchRecording(Path("/dev/null"), 1 << 40)
        room = Room(plan, Board(), 0.0, record=recording.record)
        for seat in range(4):
            room.join(seat, 0.5)
        room.take_effects()
        host = RoomHost(room, recording, counts_refused=True)
        hosted: Any = SimpleNamespace(
            host=host, is_open=True, seats=tuple(HostedSeat(seat) for seat in range(4))
        )
        host.keeper = MatchKeeper(hosted, codec_of(Board()), self.checkpoints)
        return host

    # The node's end of it.

    def received(self, message: Any) -> None:
        self.kept[message.match_id].take(message)

    def lost(self) -> None:
        """Do nothing."""

    def play(self, turns: int, is_kept: bool) -> float:
        """Change all matches in each turn; returns microseconds of CPU per change."""
        began = time.process_time_ns()
        for _ in range(turns):
            self._time += 1e-4
            self._count += 1
            for host in self.hosts:
                host.act(self._count % 4, self._count, Move(), _as_is, self._time)
                if is_kept and host.keeper is not None:
                    host.keeper.may_show(self._time)
            if is_kept:
                self.checkpoints.may_send()
                self.link.dataReceived(self.theirs.recv(1 << 16))
        return (time.process_time_ns() - began) / 1000 / turns / len(self.hosts)

    def close(self) -> None:
        self.checkpoints.stop()
        self.ours.close()
        self.theirs.close()


def _as_is(action: Move) -> Move:
    return action


def _cost(rooms: int, versions: int) -> float:
    """
    Measure the cost that a checkpoint adds to a version, in slices; returns the best.

        Slices alternate, because a machine may be twice as fast a second later.
    """
    both = _BothEnds(rooms)
    turns = max(1, versions // rooms // 40)
    both.play(turns, True)
    slices = [(both.play(turns, False), both.play(turns, True)) for _ in range(20)]
    both.close()
    off, on = (min(one) for one in zip(*slices, strict=True))
    return on - off


def _play(folder: Path, udpload: Path, size: Size, game: str, word: str) -> Any:
    """Play on a new node; returns the cost of an input, also with the node's CPU."""
    players, times = size.count(200), (size.seconds(1.0), size.seconds(3.0))
    with Node(*DENSE, _EACH, f"--checkpoints={word}") as node:
        matches = [node.start_match(game=game) for _ in range(players // SEATS)]
        pid, seats = node.server_of(matches[0]), node.write_seats(matches)
        before = cpu_of(node.pid)
        result = load(udpload, seats, pid, "all", *times)
        spent = cpu_of(node.pid) - before
        # The node's CPU over the whole run, which is a little too much per input.
        inputs = result["done_s"] * (times[0] + times[1])
        result["both_us"] = result["cpu_us_per_input"] + 1e6 * spent / max(1.0, inputs)
    return result


def checkpoints(size: Size, folder: Path, say: Say) -> list[Figure]:
    """CPU of a checkpoint, and of an input with and without one."""
    udpload = build("udpload", folder, "ssl", "crypto")
    versions = size.count(_VERSIONS)
    busy = tuple(_cost(_ROOMS, versions) for _ in range(size.runs))
    alone = tuple(_cost(1, versions) for _ in range(size.runs))
    figures = [
        Figure("a checkpoint of a state of 1 KB, both ends", "us CPU", busy, 15.0),
        Figure("the same, one match alone", "us CPU", alone),
    ]
    for name, game, bar in (
        ("input with its own four states", EachEcho.name, 1.35),
        ("input at saturation", "roomecho", None),
    ):
        results: dict[str, list[dict[str, Any]]] = {"no": [], "yes": []}
        for run in range(size.runs):
            for word in results:
                say(f"{name}, checkpoints {word}: run {run + 1} of {size.runs}")
                results[word].append(_play(folder, udpload, size, game, word))
        figures += [
            of_runs(f"{name}, without", "us CPU", results["no"], "cpu_us_per_input"),
            of_runs(f"{name}, with", "us CPU", results["yes"], "cpu_us_per_input"),
            of_runs(
                f"{name}, with, and the node's", "us CPU", results["yes"], "both_us"
            ),
            ratio(
                f"{name}, with against without",
                *(results["yes"], results["no"], "cpu_us_per_input", bar),
            ),
            # Beside CPU: a game server that waits for its node costs little.
            of_runs(f"rate of {name}, without", "per second", results["no"], "done_s"),
            of_runs(f"rate of {name}, with", "per second", results["yes"], "done_s"),
            ratio(
                f"rate of {name}, with against without",
                *(results["yes"], results["no"], "done_s", 0.7),
                at_least=True,
            ),
        ]
    players, times = size.count(500), (size.seconds(2.0), size.seconds(5.0))
    pairs: dict[str, list[dict[str, Any]]] = {"no": [], "yes": []}
    for run in range(size.runs):
        say(f"rooms of 20 Hz: run {run + 1} of {size.runs}")
        for word, into in pairs.items():
            into.append(
                run_dense(size, udpload, players, times, f"--checkpoints={word}")
            )
    what = f"{players} players in rooms of 20 Hz, with against without"
    figures.append(ratio(what, pairs["yes"], pairs["no"], "server_share", 1.15))
    return figures + _with_a_redis(size, folder, udpload, say)


def _with_a_redis(size: Size, folder: Path, udpload: Path, say: Say) -> list[Figure]:
    """Have copies of all matches in a Redis, for the death of the machine."""
    players, times = size.count(1000), (size.seconds(2.0), size.seconds(8.0))
    alone: list[dict[str, Any]] = []
    copied: list[dict[str, Any]] = []
    with redis(folder, None) as (store, _):
        more = shared(folder, store)
        for run in range(size.runs):
            say(f"copies in a Redis: run {run + 1} of {size.runs}")
            alone.append(run_dense(size, udpload, players, times))
            copied.append(run_dense(size, udpload, players, times, *more))
    what = f"{players:,} players of 20 Hz, copies against none"
    return [
        ratio(f"{what}: node and game server", copied, alone, "both_cpu", 1.25),
        ratio(f"{what}: p99", copied, alone, "p99_us", 1.1),
    ]
