"""
The turns of a reactor: how long they take, and what is done when one ends.

Twisted has no hook for this. A turn is what happens between two questions to the
operating system, so `WatchedPoller` stands in the poller's place. It hands the
answers out one event at a time, reads some connections itself, and runs a `TurnEnd`;
`TurnWatch` measures. Timed calls are wrapped when they are made. Nothing else of the
reactor is touched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.base.limits.buckets import TokenBucket
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.figures import TURN_BOUNDS, WORST, Histogram, Labels

#: What a poller answers: descriptors, and what happened there.
Events = Iterable[tuple[int, int]]
#: As in ``select``, which has it on Linux only; nothing else answers so.
EPOLLIN = 1
#: The same, and both directions are over, behind the bytes that still come.
_ENDING = EPOLLIN | 16
#: Calls that take longer are logged and counted, seconds.
SLOW = 0.05
#: Faster ones have no name, seconds.
_UNREMARKABLE = 0.001
#: Seconds for which a call stays the slowest, at least; twice that at most.
_WINDOW = 30.0


class Unsent(Shape):
    """A connection that has something to send."""

    def flush(self) -> None:
        """Send it."""


class TurnEnd:
    """
    What all connections and rooms of a node have to do at the end of a turn.

    First come the calls, in order: a room that makes one broadcast of all that
    happened. Then come the connections, each once, with what the calls sent as well.

    :param clock: for the one timed call of a turn that nobody ends by `run`.
    :ivar is_coming: `run` will be called when this turn ends. Who hands out a turn's
        events sets it: then what they ask for needs no timed call, which would cost
        more than most messages.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._lines: list[Unsent] = []
        self.is_coming = False

    def call(self, call: Callable[[], None]) -> None:
        """Do *call* when this turn ends, or after the calls that are done now."""
        self._calls.append(call)
        if not self.is_coming:
            self._come()

    def flush(self, line: Unsent) -> None:
        """Flush *line* when this turn ends; ask once for each turn."""
        self._lines.append(line)
        if not self.is_coming:
            self._come()

    def run(self) -> None:
        """The turn ends: do all that was asked for, and what is asked for meanwhile."""
        try:
            while self._calls or self._lines:
                calls, self._calls = self._calls, []
                for call in calls:
                    try:
                        call()
                    except Exception:
                        self._log.failure("a call at a turn's end failed")
                if self._calls:
                    continue
                lines, self._lines = self._lines, []
                for line in lines:
                    try:
                        line.flush()
                    except Exception:
                        self._log.failure("a line could not be flushed")
        finally:
            self.is_coming = False

    def _come(self) -> None:
        self.is_coming = True
        self._clock.callLater(0, self.run)


class TurnWatch:
    """
    Measure the turns of one reactor.

    :ivar seconds: a clock that never goes back.
    :ivar remarkable: calls that take longer are to be noted, seconds.
    :ivar turns: how long each turn took, without its wait.
    :ivar slow: how many calls took longer than `SLOW`, by name.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.turns = Histogram(TURN_BOUNDS)
        self.slow: Counter[str] = Counter()
        self.seconds = seconds
        self._labels = Labels()
        self._logged = TokenBucket(0.2, 10)
        self._began: float | None = None
        # The slowest call of this window and of the one before.
        self._worst = self._worst_before = (0.0, "")
        self.remarkable = _UNREMARKABLE
        self._window_ends = seconds() + _WINDOW
        self._restore: Callable[[], None] | None = None
        self._has_turns = False
        self._turned: Callable[[float, float], None] | None = None
        self._short = 0.0

    def report_to(
        self, turned: Callable[[float, float], None], short: float = 0.0
    ) -> bool:
        """
        Report after each turn how long it took, and when it ended; once started.

        :param turned: called with the turn's length and its end, both seconds.
        :param short: turns that are shorter than this are not reported.
        :returns: ``False`` if turns cannot be distinguished: nothing will be reported.
        """
        self._turned, self._short = turned, short
        return self._has_turns

    def start(
        self,
        reactor: Any,
        direct: DirectReads | None = None,
        end: TurnEnd | None = None,
    ) -> bool:
        """
        Watch *reactor* from now on.

        :param direct: connections that are read without the reactor.
        :param end: run when the events of a turn were handled.
        :returns: ``False`` if its turns cannot be distinguished; its timed calls
            are watched all the same.
        """
        self._reactor = reactor
        plain = reactor.callLater

        def call_later(
            delay: float, called: Callable[..., Any], *args: Any, **named: Any
        ) -> IDelayedCall:
            made: IDelayedCall = plain(delay, self._timed, called, args, named)
            return made

        reactor.callLater = call_later
        poller = getattr(reactor, "_poller", None)
        # Only this one asks with the very arguments of its poller, and walks
        # through the answer once.
        self._has_turns = has_turns = type(poller).__name__ == "epoll"
        if has_turns:
            reactor._poller = WatchedPoller(poller, self, direct, end)

        def restore() -> None:
            reactor.callLater = plain
            if has_turns:
                reactor._poller = poller

        self._restore = restore
        return has_turns

    def stop(self) -> None:
        """Watch no more."""
        if self._restore is not None:
            self._restore()
            self._restore = None

    def figures(self) -> dict[str, float]:
        """Give what was measured: see `vinom.base.reactor.figures`."""
        if (now := self.seconds()) >= self._window_ends:
            self._turn_window(now)
        found = self.turns.figures("turn_seconds")
        for name, count in self.slow.items():
            found[f"slow_calls:{name}"] = count
        seconds, name = max(self._worst, self._worst_before)
        if name:
            found[f"{WORST}{name}"] = seconds
        return found

    def wait(
        self, poll: Callable[[float, int], Events], timeout: float, most: int
    ) -> Events:
        """
        Let the reactor wait: one turn is over, and then another begins.

        :param poll: waits for at most *most* events, and at most *timeout* seconds.
        """
        if self._began is not None:
            now = self.seconds()
            took = now - self._began
            # As `Histogram.add`, for each turn.
            turns = self.turns
            turns.counts[bisect_left(turns.bounds, took)] += 1
            turns.total += took
            if took >= self._short and self._turned is not None:
                self._turned(took, now)
        try:
            return poll(timeout, most)
        finally:
            self._began = now = self.seconds()
            if now >= self._window_ends:
                self._turn_window(now)

    def _timed(self, called: Callable[..., Any], args: Any, named: Any) -> None:
        before = self.seconds()
        try:
            called(*args, **named)
        finally:
            now = self.seconds()
            if now - before > self.remarkable:
                self.note(now, now - before, partial(name_of_call, called))

    def note(self, now: float, took: float, name: Callable[[], str]) -> None:
        """
        A call took longer than `remarkable`.

        :param now: when it ended.
        :param took: how long it took, seconds.
        :param name: names it; this is looked up only now.
        """
        label = self._labels.admit(name())
        self._worst = max(self._worst, (took, label))
        self.remarkable = min(SLOW, max(self._worst[0], _UNREMARKABLE))
        if took > SLOW:
            self.slow[label] += 1
            if self._logged.take(now):
                self._log.warn(
                    "the reactor was held up for {seconds:.3f} s by {call}",
                    seconds=took,
                    call=label,
                )

    def _turn_window(self, now: float) -> None:
        is_recent = now < self._window_ends + _WINDOW
        self._worst_before = self._worst if is_recent else (0.0, "")
        self._worst, self.remarkable = (0.0, ""), _UNREMARKABLE
        self._window_ends = now + _WINDOW

    def name_of_event(self, descriptor: int) -> str:
        """Name what the reactor reads from, or writes to, a descriptor."""
        # Seldom, so that nothing has to be remembered for each event.
        for one in (*self._reactor.getReaders(), *self._reactor.getWriters()):
            if one.fileno() == descriptor:
                return name_of_selectable(one)
        return "a connection that it closed"


class WatchedPoller:
    """
    Stand where the reactor has its ``select.epoll``.

    :param poller: what stood there.
    :param watch: gets the times of turns and events.
    :param direct: connections that are read here, before the reactor has the event.
    :param end: run when the events of a turn were handled.
    """

    _log = Logger()

    def __init__(
        self,
        poller: Any,
        watch: TurnWatch,
        direct: DirectReads | None = None,
        end: TurnEnd | None = None,
    ) -> None:
        self._poll, self._watch, self._end = poller.poll, watch, end
        self._readers = {} if direct is None else direct.readers
        self._ends = {} if direct is None else direct.ends
        self.register, self.unregister = poller.register, poller.unregister
        self.modify = poller.modify

    def poll(self, timeout: float, most: int) -> Events:
        """Wait for events, as long as ``select.epoll.poll`` would."""
        events = self._watch.wait(self._poll, timeout, most)
        return self._each(events) if events else events

    def _each(self, events: Events) -> Iterator[tuple[int, int]]:
        """Hand out events; each is handled before the next is asked for."""
        watch, end = self._watch, self._end
        readers, ends = self._readers, self._ends
        seconds = watch.seconds
        if end is not None:
            end.is_coming = True
        before = seconds()
        try:
            for event in events:
                data, ended = b"", None
                descriptor, what = event
                if descriptor in readers and what in (EPOLLIN, _ENDING):
                    receive, reader, most = readers[descriptor]
                    try:
                        data = receive(most)
                    except OSError:
                        # The reactor finds it again.
                        data = b""
                    else:
                        if not data:
                            ended = ends.get(descriptor)
                if not data and ended is None:
                    yield event
                else:
                    try:
                        if ended is None:
                            reader.dataReceived(data)
                        else:
                            ended()
                    except Exception:
                        # As the reactor would: no other connection is harmed.
                        self._log.failure("a connection failed")
                        reader.abort()
                now = seconds()
                if now - before > watch.remarkable:
                    name = partial(watch.name_of_event, event[0])
                    watch.note(now, now - before, name)
                before = now
        finally:
            if end is not None:
                end.run()
                now = seconds()
                if now - before > watch.remarkable:
                    watch.note(now, now - before, partial(name_of_call, end.run))


def name_of_call(called: Any) -> str:
    """
    Name what a timed call calls, the same each time.

    A thing that only passes calls on names their target by its ``callee``.
    """
    while True:
        if isinstance(called, partial):
            called = called.func
            continue
        inner = getattr(getattr(called, "__self__", None), "callee", None)
        if inner is None:
            break
        called = inner
    name = getattr(called, "__qualname__", None)
    if name is None:
        # Such as a `LoopingCall`, which is called itself.
        called = called.f if hasattr(called, "f") else type(called)
        name = getattr(called, "__qualname__", type(called).__qualname__)
    return f"{getattr(called, '__module__', None) or 'builtins'}.{name}"


def name_of_selectable(selectable: Any) -> str:
    """Name what reads from a descriptor: its protocol, in whatever it is wrapped."""
    found = selectable
    # TLS has its inside under the second name, client endpoints under the third.
    for inside in ("protocol", "wrappedProtocol", "_wrappedProtocol"):
        found = getattr(found, inside, None) or found
    kind = type(found)
    return f"{kind.__module__}.{kind.__qualname__}"
