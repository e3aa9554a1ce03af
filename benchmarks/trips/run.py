"""
How far one message goes: functions, modules and changes of module of three trips.

Each trip is made again and again on a live node, over real sockets, while
`sys.setprofile` records what the node and its game servers call:

a. One move in a maze over UDP: from the datagram of one player to the states of all
   four. All of it happens in the game server.
b. One action in a room over WebSocket: from the frame of one member to the states of
   all four. All of it happens in the node, which runs the room itself.
c. From ``queue`` of the fourth player to ``match_found`` for all four, over lobby lines
   that stay open, while a game server is warm: it has no port and no match yet. The
   node's part is judged; more rows add what the game server does to host the match.

What counts: calls of Python functions whose file is in ``vinom/``, lambdas among them.
Comprehensions and generator expressions belong to the function around them. Methods
that attrs or msgspec make have no file there. The players' side does not count, nor
does the fork server.

From when to when: whole turns of a process's reactor, from when it wakes for the first
thing that it reads to when it waits again after its last answer. So what it does at the
end of that turn counts too (alarms, figures), and what later turns do does not.

- *Functions*: how many different ones are called.
- *Modules*: how many files these are in.
- *Changes of module*: put each function once into a row, in the order of first calls;
  count the neighbours that are in different files. A reader who follows the trip from
  its beginning to its end has to turn to another file this often.
- *Calls*: all of them, with repetitions, and with each time that a generator or
  coroutine goes on. They grow with the number of seats, and are not judged.

A function that two processes call counts once; changes of module are counted in each
process. The node is left alone before each trip until its alarms have rung, so that
each begins alike. A row is the median of all trips; those that differ from it have met
a timer on their way.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import attrs
from websockets.sync.client import ClientConnection, connect

from benchmarks.figures import Figure, Size
from benchmarks.machine import HERE, LOAD_CORE, Failed, pinned
from benchmarks.trips.counts import Trip, cut, usual
from benchmarks.trips.node import RecordedNode

Say = Callable[[str], None]
#: Makes one trip; gives when its message left, and when the last answer was there.
Ask = Callable[[], tuple[int, int]]

SEATS = 4
#: Trips of each run that are recorded, and before them some that are not.
_TRIPS, _WARM_UP = 5, 2
#: How long a node is left alone before each trip, seconds: recordings are written to
#: their files a second after something happened.
_QUIET = 1.5
#: Longest wait for an answer, seconds.
_TIMEOUT = 30.0


@contextmanager
def over_udp(node: RecordedNode) -> Iterator[Ask]:
    """One move in a maze of four."""
    command = [sys.executable, "-m", "benchmarks.trips.players", str(node.port)]
    with subprocess.Popen(
        pinned(LOAD_CORE, command),
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as players:
        assert players.stdin is not None
        assert players.stdout is not None
        ask_for, answers = players.stdin, players.stdout

        def ask() -> tuple[int, int]:
            print(file=ask_for, flush=True)
            asked_at, answered_at = map(int, _line(answers).split())
            return asked_at, answered_at

        try:
            if _line(answers).strip() != "ready":
                raise Failed("the players over UDP do not get their seats")
            yield ask
        finally:
            players.kill()


def _line(answers: IO[str]) -> str:
    line = answers.readline()
    if not line:
        raise Failed("the players over UDP are gone")
    return line


@attrs.frozen
class _Member:
    """A player in a room, over WebSocket."""

    line: ClientConnection
    _unread: deque[Any] = attrs.field(factory=deque, init=False)

    def send(self, kind: str, data: dict[str, Any], **more: Any) -> None:
        """Send one message."""
        self.line.send(json.dumps({"type": kind, **more, "data": data}))

    def await_(self, kind: str, version: int = 0) -> Any:
        """Wait for a message of this kind, and of this version at least."""
        while True:
            while not self._unread:
                # Several may come as one array.
                came = json.loads(self.line.recv(_TIMEOUT))
                self._unread.extend(came if isinstance(came, list) else [came])
            message = self._unread.popleft()
            if message["type"] == "error":
                raise Failed(f"a member of a room got {message}")
            data = message.get("data", {})
            if message["type"] == kind and data.get("version", 0) >= version:
                return data


@contextmanager
def over_websocket(node: RecordedNode) -> Iterator[Ask]:
    """One action in a room of four."""
    with ExitStack() as stack:
        members = []
        for number in range(SEATS):
            member = _Member(
                stack.enter_context(
                    connect(
                        f"ws://127.0.0.1:{node.http}/ws", compression=None, proxy=None
                    )
                )
            )
            member.send("hello", {"protocol": 1, "name": f"p{number}"})
            member.await_("welcome")
            member.send("join_room", {"game": "roomecho", "room_id": "trips"})
            member.await_("join_room_result")
            members.append(member)
        version = max(member.await_("game_state", 1)["version"] for member in members)
        actions = count(1)

        def ask() -> tuple[int, int]:
            nonlocal version
            version += 1
            number = next(actions)
            action = {"x": 1, "y": 2, "q": number}
            asked_at = time.monotonic_ns()
            members[0].send("action", action, id=number)
            for member in members:
                member.await_("game_state", version)
            return asked_at, time.monotonic_ns()

        yield ask


class _Waiting:
    """A player on a lobby line."""

    def __init__(self, port: int, name: str, stack: ExitStack) -> None:
        self._line = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
        stack.callback(self._line.close)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = stack.enter_context(self._line.makefile("rb"))
        self.send("hello", {"protocol": 1, "name": name, "stay": True})
        self.await_("welcome")

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Send one message."""
        self._line.sendall(json.dumps({"type": kind, "data": data}).encode() + b"\n")

    def await_(self, kind: str) -> None:
        """Wait for a message of this kind."""
        while line := self._file.readline():
            found = json.loads(line)["type"]
            if found == kind:
                return
            if found == "error":
                raise Failed(f"a player in the lobby got {line.decode()}")
        raise Failed("the lobby closed a line")


_names = count(1)


@contextmanager
def to_a_match(node: RecordedNode) -> Iterator[Ask]:
    """The fourth player queues; three others do already."""
    with ExitStack() as stack:
        players = [_Waiting(node.port, f"p{next(_names)}", stack) for _ in range(SEATS)]
        for player in players[:-1]:
            player.send("queue", {"game": "roomecho"})
            player.await_("queue_status")

        def ask() -> tuple[int, int]:
            asked_at = time.monotonic_ns()
            players[-1].send("queue", {"game": "roomecho"})
            for player in players:
                player.await_("match_found")
            return asked_at, time.monotonic_ns()

        yield ask


@attrs.frozen
class Kind:
    """
    One of the three trips.

    :ivar way: opens what makes it.
    :ivar bars: most functions, modules and changes of module.
    :ivar through: the processes that it passes, in order; the part of the first is
        judged.
    :ivar warm: game servers that are there at the beginning; no others come.
    :ivar is_once: each trip is opened again, and uses up a warm game server.
    """

    name: str
    way: Callable[[RecordedNode], AbstractContextManager[Ask]]
    bars: tuple[int, int, int]
    through: tuple[str, ...]
    warm: int = 0
    is_once: bool = False


KINDS = (
    Kind(
        "maze input over UDP, four seats",
        over_udp,
        (65, 22, 45),
        ("game server",),
        warm=1,
    ),
    Kind(
        "room action over WebSocket, four members",
        over_websocket,
        (36, 15, 26),
        ("node",),
    ),
    Kind(
        "queue to match_found, four players",
        to_a_match,
        (140, 32, 75),
        ("node", "game server"),
        is_once=True,
    ),
)


def trips(
    size: Size, folder: Path, say: Say, show: Callable[[str], None] | None = None
) -> list[Figure]:
    """Functions and modules that one message of a player passes through."""
    figures = []
    for kind in KINDS:
        found: list[Trip] = []
        for run in range(size.runs):
            say(f"trips, {kind.name}: run {run + 1} of {size.runs}")
            found += _run(kind, size)
        figures += table(kind, found)
        if show is not None:
            show(f"## {kind.name}")
            for line in usual(found)[0].lines():
                show(line)
    return figures


def _run(kind: Kind, size: Size) -> list[Trip]:
    """Make some trips on a fresh node."""
    found = []
    times = _WARM_UP + size.count(_TRIPS, 1)
    warm = times if kind.is_once else kind.warm
    arguments = [f"--warm={warm}"]
    if warm:
        # No game server may replace a used one: that would sometimes be in the trip.
        arguments.append(f"--max-servers={warm}")
    # Nobody connects to the matches of the third trip; they keep waiting.
    with RecordedNode(*arguments, "--join-seconds=600") as node, ExitStack() as stack:
        node.await_warm(warm)
        if not kind.is_once:
            ask = stack.enter_context(kind.way(node))
        for number in range(times):
            with ExitStack() as once:
                if kind.is_once:
                    ask = once.enter_context(kind.way(node))
                time.sleep(_QUIET * size.share)
                trip = cut(*node.record(ask))
            if number >= _WARM_UP:
                found.append(trip)
    return found


def table(kind: Kind, found: list[Trip]) -> list[Figure]:
    """
    Make the rows of one kind of trip.

    :raises Failed: a process that should take part did not.
    """
    way, share = usual(found)
    # There may be more: others answer their node's heartbeats now and then.
    if missing := set(kind.through) - {part.process for part in way.parts}:
        raise Failed(f"{kind.name}: no part of {', '.join(missing)} was recorded")
    detail = {"trips": len(found), "usual": round(share, 3)}
    judged = [trip.of(kind.through[0]) for trip in found]
    figures = _rows(kind.name, judged, [*kind.bars, None], detail)
    if len(kind.through) > 1:
        name = f"{kind.name}, all processes"
        figures += _rows(name, found, [None] * len(_MEASURES), detail)
    return figures


_MEASURES: dict[str, Callable[[Trip], int]] = {
    "functions": lambda trip: trip.functions,
    "modules": lambda trip: trip.modules,
    "changes of module": lambda trip: trip.changes,
    "calls": lambda trip: trip.calls,
}


def _rows(
    name: str, found: list[Trip], bars: Sequence[float | None], detail: dict[str, Any]
) -> list[Figure]:
    return [
        Figure(
            name,
            what,
            tuple(float(measure(trip)) for trip in found),
            bar,
            detail=detail,
        )
        for (what, measure), bar in zip(_MEASURES.items(), bars, strict=True)
    ]
