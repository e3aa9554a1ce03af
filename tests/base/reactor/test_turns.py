"""Measuring the reactor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from twisted.internet.task import Clock, LoopingCall
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.reactor.alarm import Alarm
from vinom.base.reactor.figures import (
    MOST_LABELS,
    OTHER,
    TURN_BOUNDS,
    cumulated,
    labelled,
)
from vinom.base.reactor.turns import TurnWatch, name_of_call, name_of_selectable

Event = tuple[int, int]


class Reader:
    """Something with a descriptor that takes its time."""

    def __init__(self, reactor: TurningReactor, number: int, takes: float) -> None:
        self.reactor, self.number, self.takes = reactor, number, takes

    def fileno(self) -> int:
        return self.number

    def do(self) -> None:
        self.reactor.rightNow += self.takes


class epoll:
    """Stands in for ``select.epoll``, which is recognised by this name."""

    def __init__(self, reactor: TurningReactor) -> None:
        self.reactor = reactor
        self.answers: list[list[Event] | OSError] = []
        self.registered: list[tuple[int, int]] = []

    def poll(self, timeout: float, most: int) -> list[Event]:
        # Waiting is not working.
        self.reactor.rightNow += timeout
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, OSError):
            raise answer
        return answer[:most]

    def register(self, descriptor: int, flags: int) -> None:
        self.registered.append((descriptor, flags))

    unregister = modify = register


class TurningReactor(Clock):
    """A clock that goes around like ``EPollReactor``, and asks a poller."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[int, Reader] = {}
        self._poller: Any = epoll(self)

    def getReaders(self) -> Iterable[Reader]:
        return list(self.readers.values())

    def getWriters(self) -> Iterable[Reader]:
        return []

    def turn(self, timeout: float = 10.0) -> None:
        try:
            events = self._poller.poll(timeout, 100)
        except OSError:
            events = []
        for descriptor, _ in events:
            self.readers[descriptor].do()
        self.advance(0)

    def reads(self, number: int, takes: float) -> Reader:
        reader = self.readers[number] = Reader(self, number, takes)
        return reader


class TurnWatchTests(SynchronousTestCase):
    """What an operator learns of a reactor that is held up."""

    def setUp(self) -> None:
        self.reactor = TurningReactor()
        self.poller = self.reactor._poller
        self.watch = TurnWatch(self.reactor.seconds)
        self.assertTrue(self.watch.start(self.reactor))

    def turns(self) -> dict[float, float]:
        buckets, _ = cumulated(self.watch.figures(), "turn_seconds", TURN_BOUNDS)
        return dict(buckets)

    def test_turns_without_their_wait(self) -> None:
        """
        A turn is as long as its work: events and timed calls, and no waiting.
        """
        self.reactor.reads(3, 0.004)
        self.reactor.reads(4, 0.002)
        self.poller.answers += [[(3, 1), (4, 1)], [], [(4, 1)]]
        for _ in range(4):
            self.reactor.turn()
        # The last one is not over: nobody asked again.
        turns = self.turns()
        self.assertEqual((turns[0.0001], turns[0.0025], turns[0.01]), (1, 2, 3))
        self.assertAlmostEqual(self.watch.turns.total, 0.008)

    def test_interrupted_wait(self) -> None:
        """
        A signal that ends a wait early spoils nothing.
        """
        self.poller.answers += [InterruptedError(), []]
        for _ in range(3):
            self.reactor.turn()
        self.assertEqual(self.turns()[0.0001], 2)

    def test_slow_reader(self) -> None:
        """
        A call that holds the reactor up is named in the log and in the figures.
        """
        self.reactor.reads(3, 0.3)
        self.poller.answers += [[(3, 1)]]
        with capturedLogs() as warned:
            self.reactor.turn()
        name = "tests.base.reactor.test_turns.Reader"
        figures = self.watch.figures()
        self.assertEqual(labelled(figures, "slow_calls"), {name: 1})
        self.assertAlmostEqual(labelled(figures, "slowest_call")[name], 0.3)
        (event,) = warned
        self.assertEqual(event["call"], name)

    def test_slow_timed_call(self) -> None:
        """
        A timed call is named by the function, also when it fails.
        """

        def fail(slowly: float, *, again: float) -> None:
            self.reactor.rightNow += slowly + again
            raise ZeroDivisionError

        self.reactor.callLater(1, fail, 0.1, again=0.1)
        self.assertRaises(ZeroDivisionError, self.reactor.advance, 1)
        (name,) = labelled(self.watch.figures(), "slow_calls")
        self.assertIn("test_slow_timed_call", name)

    def test_slowest_is_of_late(self) -> None:
        """
        A slow call is the slowest for a minute at most, then others are.
        """
        reader = self.reactor.reads(3, 0.3)
        self.poller.answers += [[(3, 1)], [(3, 1)]]
        self.reactor.turn(0)
        self.reactor.rightNow += 31
        reader.takes = 0.01
        self.reactor.turn(0)
        slowest = labelled(self.watch.figures(), "slowest_call")
        self.assertAlmostEqual(max(slowest.values()), 0.3)
        self.reactor.rightNow += 31
        slowest = labelled(self.watch.figures(), "slowest_call")
        self.assertAlmostEqual(max(slowest.values()), 0.01)
        self.reactor.rightNow += 100
        self.assertEqual(labelled(self.watch.figures(), "slowest_call"), {})

    def test_names_are_bounded(self) -> None:
        """
        However many functions are slow, there are few names.
        """
        kinds = [type(f"Reader{number}", (Reader,), {}) for number in range(50)]
        for kind in kinds:
            self.reactor.readers[3] = kind(self.reactor, 3, 0.06)
            self.poller.answers.append([(3, 1)])
            self.reactor.turn()
        slow = labelled(self.watch.figures(), "slow_calls")
        self.assertEqual((len(slow), slow[OTHER]), (MOST_LABELS + 1, 50 - MOST_LABELS))

    def test_flood_of_slow_calls(self) -> None:
        """
        A machine that is too slow for everything does not fill its disk.
        """
        self.reactor.reads(3, 0.06)
        with capturedLogs() as warned:
            for _ in range(100):
                self.poller.answers.append([(3, 1)])
                self.reactor.turn(0)
        self.assertLess(len(warned), 15)

    def test_gone_reader(self) -> None:
        """
        A connection that is closed by what took long is reported as that.
        """
        reader = self.reactor.reads(3, 0.3)

        def closes() -> None:
            self.reactor.rightNow += 0.3
            del self.reactor.readers[3]

        reader.do = closes  # type: ignore[method-assign]  # just this one
        self.poller.answers += [[(3, 1)]]
        self.reactor.turn()
        (name,) = labelled(self.watch.figures(), "slow_calls")
        self.assertEqual(name, "a connection that it closed")

    def test_stop(self) -> None:
        """
        A reactor that is watched no more is as it was.
        """
        self.reactor._poller.register(3, 1)
        self.assertEqual(self.poller.registered, [(3, 1)])
        self.watch.stop()
        self.watch.stop()
        self.assertIs(self.reactor._poller, self.poller)
        self.assertEqual(self.reactor.callLater, Clock.callLater.__get__(self.reactor))

    def test_other_reactors(self) -> None:
        """
        If turns cannot be separated, slow timed calls are still reported.
        """
        clock = Clock()
        watch = TurnWatch(clock.seconds)
        self.assertFalse(watch.start(clock))

        def slow() -> None:
            clock.rightNow += 1

        clock.callLater(1, slow)
        clock.advance(1)
        (name,) = labelled(watch.figures(), "slow_calls")
        self.assertTrue(name.endswith("slow"))
        watch.stop()


class NameTests(SynchronousTestCase):
    """What slow calls are called."""

    def test_calls(self) -> None:
        """
        What only passes a call on does not hide what is called.
        """
        here = "tests.base.reactor.test_turns.TurningReactor.turn"
        turn = TurningReactor().turn
        alarm = Alarm(Clock(), lambda: None, turn)
        for call in (turn, partial(turn, 1), alarm._due, LoopingCall(turn)):
            self.assertEqual(name_of_call(call), here)
        self.assertEqual(name_of_call(Clock()), "twisted.internet.task.Clock")

    def test_selectables(self) -> None:
        """
        A connection is named by its protocol, also below TLS.
        """

        class Holder:
            def __init__(self, **inside: Any) -> None:
                self.__dict__ |= inside

        clock = Clock()
        for one in (
            clock,
            Holder(protocol=clock),
            Holder(protocol=Holder(wrappedProtocol=clock)),
            Holder(protocol=Holder(_wrappedProtocol=clock)),
        ):
            self.assertEqual(name_of_selectable(one), "twisted.internet.task.Clock")
