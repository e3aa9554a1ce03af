"""What a trip through functions and modules is, and how it is counted."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.machine import Failed
from benchmarks.trips.counts import Part, Trip, cut, usual
from benchmarks.trips.players import move
from benchmarks.trips.recorder import Event, Recorder, record_on_signal
from benchmarks.trips.run import KINDS, table

PACKAGE = "trip_sample"
FILES = {
    "__init__.py": "",
    "door.py": """
from trip_sample.inside import walk

class Door:
    def received(self, data):
        size = min([len(each) for each in (data, b"longer")], key=lambda n: -n)
        walk(size)
        self.closed()
        return size

    def closed(self):
        pass
""",
    "inside/__init__.py": """
def walk(size):
    for _ in steps(2):
        pass

def steps(count):
    yield from range(count)
""",
}


class RecordedTestCase(SynchronousTestCase):
    """A package of two modules, which stands for ours."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        for name, text in FILES.items():
            path = self.folder / PACKAGE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.patch(sys, "path", [str(self.folder), *sys.path])
        importlib.invalidate_caches()
        self.addCleanup(self.forget)
        door: Any = importlib.import_module(f"{PACKAGE}.door")
        self.received: Callable[[bytes], int] = door.Door().received
        self.recorder = Recorder(self.folder / PACKAGE)
        self.addCleanup(self.recorder.stop)

    def forget(self) -> None:
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]


class RecorderTests(RecordedTestCase):
    """What `sys.setprofile` makes of real calls."""

    def test_calls(self) -> None:
        """
        The list has each call of the package, below the function that made it, and
        neither comprehensions nor what others do.
        """
        self.recorder.start()
        os.path.basename("/not/ours")
        self.received(b"hello")
        self.recorder.stop()
        self.received(b"too late")
        calls = tuple(event for event in self.recorder.events if event.kind == "call")
        self.assertEqual(
            list(Trip((Part("node", calls),)).lines()),
            [
                "# node",
                "door:Door.received",
                "  door:Door.received.<locals>.<lambda>",
                "  door:Door.received.<locals>.<lambda>",
                "  inside.__init__:walk",
                # A generator: it goes on twice.
                "    inside.__init__:steps",
                "    inside.__init__:steps",
                "    inside.__init__:steps",
                "  door:Door.closed",
            ],
        )

    def test_live_turn(self) -> None:
        """
        Of a process that waits, reads, works and answers, the trip is the turn that
        dealt with the message: not the turn before it, nor the one after.
        """
        ours, theirs = socket.socketpair()
        poller = select.epoll()
        for each in (ours, theirs, poller):
            self.addCleanup(each.close)
        poller.register(ours, select.EPOLLIN)
        self.recorder.start()
        poller.poll(0)
        self.received(b"a timer, before")
        asked_at = time.monotonic_ns()
        theirs.send(b"question")
        poller.poll(0)
        self.received(ours.recv(100))
        ours.send(b"answer")
        theirs.recv(100)
        answered_at = time.monotonic_ns()
        poller.poll(0)
        self.received(b"a timer, after")
        self.recorder.stop()
        trip = cut([("node", self.recorder.events)], asked_at, answered_at)
        self.assertEqual((trip.functions, trip.modules, trip.changes), (5, 2, 2))
        self.assertEqual(trip.calls, 8)

    def test_signals(self) -> None:
        """
        A process that gets the signal twice leaves what it did between the two.
        """
        before = signal.getsignal(signal.SIGUSR2)
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        self.addCleanup(sys.setprofile, None)
        record_on_signal(self.folder / PACKAGE, self.folder)
        os.kill(os.getpid(), signal.SIGUSR2)
        self.received(b"hello")
        os.kill(os.getpid(), signal.SIGUSR2)
        self.assertTrue((self.folder / f"{os.getpid()}.started").exists())
        told = json.loads((self.folder / f"{os.getpid()}.json").read_text())
        calls = [Event(*fields) for fields in told if fields[1] == "call"]
        self.assertEqual(len(calls), 8)
        self.assertEqual(calls[0].function, "Door.received")


def turn(at: int, *calls: str) -> list[Event]:
    """Read one thing, call, answer; a call is ``module:function``."""
    events = [Event(at, "wake"), Event(at + 1, "read")]
    for number, call in enumerate(calls):
        module, _, function = call.partition(":")
        events.append(Event(at + 2 + number, "call", module, function, 1, 0))
    ended = at + 2 + len(calls)
    return [*events, Event(ended, "send"), Event(ended + 1, "wait")]


class CountTests(SynchronousTestCase):
    """Functions, modules, changes of module."""

    def test_repetitions(self) -> None:
        """
        A loop over four seats is as long a way as one seat; only the calls are more.
        """
        seats = ["room:show", "seat:state"] * 4
        trip = cut([("node", turn(10, "line:read", *seats, "line:end"))], 10, 30)
        self.assertEqual((trip.functions, trip.modules, trip.changes), (4, 3, 3))
        self.assertEqual(trip.calls, 10)

    def test_two_processes(self) -> None:
        """
        What both call counts once; from one to the other isn't a change of module.
        """
        node = turn(10, "fleet:place", "frames:encode") + turn(30, "frames:decode")
        server = turn(20, "frames:encode", "room:open")
        trip = cut([("game server", server), ("node", node)], 10, 40)
        self.assertEqual([part.process for part in trip.parts], ["node", "game server"])
        self.assertEqual((trip.functions, trip.modules, trip.changes), (4, 3, 2))
        self.assertEqual(trip.of("node").functions, 3)

    def test_bystanders(self) -> None:
        """
        A process that only has timers, or only reads, is on nobody's way.
        """
        timer = [
            Event(10, "wake"),
            Event(11, "call", "alarm", "ring"),
            Event(12, "wait"),
        ]
        reader = [Event(10, "wake"), Event(11, "read"), Event(12, "call", "a", "b")]
        parts = [("node", turn(10, "a:b")), ("node", timer), ("node", reader)]
        self.assertEqual(len(cut(parts, 10, 20).parts), 1)
        self.assertRaises(Failed, cut, parts[1:], 10, 20)

    def test_usual(self) -> None:
        """
        A timer that rings in one of three trips does not make the list.
        """
        plain = cut([("node", turn(10, "a:b", "c:d"))], 10, 20)
        timed = cut([("node", turn(10, "a:b", "timer:ring", "c:d"))], 10, 20)
        trip, share = usual([timed, plain, plain])
        self.assertEqual(trip, plain)
        self.assertAlmostEqual(share, 2 / 3)


class TableTests(SynchronousTestCase):
    """The rows of ``python -m benchmarks trips``."""

    def test_rows(self) -> None:
        """
        Each trip has a row for functions, modules and changes with its bar, and one for
        calls without; what other processes did has rows of its own.
        """
        queueing = KINDS[2]
        node, server = turn(10, "a:b", "c:d", "c:d"), turn(12, "e:f")
        trip = cut([("node", node), ("game server", server)], 10, 20)
        lines = [figure.as_line() for figure in table(queueing, [trip] * 3)]
        name = "queue to match_found, four players"
        self.assertEqual(
            lines,
            [
                f"{name}: 2 functions (2 to 2); bar <= 140: met",
                f"{name}: 2 modules (2 to 2); bar <= 32: met",
                f"{name}: 1 changes of module (1 to 1); bar <= 75: met",
                f"{name}: 3 calls (3 to 3)",
                f"{name}, all processes: 3 functions (3 to 3)",
                f"{name}, all processes: 3 modules (3 to 3)",
                f"{name}, all processes: 1 changes of module (1 to 1)",
                f"{name}, all processes: 4 calls (4 to 4)",
            ],
        )

    def test_lost_part(self) -> None:
        """
        A measurement in which a process is missing fails: it would look like a short
        way.
        """
        trip = cut([("node", turn(10, "a:b"))], 10, 20)
        self.assertRaises(Failed, table, KINDS[2], [trip])


class MoveTests(SynchronousTestCase):
    """The input of the trip over UDP."""

    def test_there_and_back(self) -> None:
        """
        The first player goes to and fro between the same two cells, so that each move
        is allowed and none is the last.
        """
        # Two rows of two cells; the start, top right, is open downwards.
        setup = {"starts": [[0, 1], [1, 0]], "walls": ["44", "33"]}
        there = {"type": "move", "direction": "down", "from": [0, 1]}
        back = {"type": "move", "direction": "up", "from": [1, 1]}
        self.assertEqual(move(setup, [0, 1], is_away=False), there)
        self.assertEqual(move(setup, [1, 1], is_away=True), back)
