"""
How long the reactor's turns take, and which call was the slowest.

Twisted has no hook for this. A turn is what happens between two questions to
the operating system, so we stand in the poller's place; what it answers is
handed out one event at a time, which tells how long each took. Timed calls are
wrapped when they are made. Nothing else of the reactor is touched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vinom.limits.buckets import TokenBucket
from vinom.reactor.direct import DirectReads
from vinom.reactor.figures import TURN_BOUNDS, WORST, Histogram, Labels
from vinom.reactor.turn_end import TurnEnd

#: As in ``select``, which has it on Linux only; nothing else answers so.
EPOLLIN = 1
#: Calls that take longer are logged and counted, seconds.
SLOW = 0.05
#: Faster ones have no name, seconds.
_UNREMARKABLE = 0.001
#: For so long a call stays the slowest, at most twice that, seconds.
_WINDOW = 30.0


class TurnWatch:
    """
    Measure the turns of one reactor.

    :param seconds: a clock that never goes back.
    :ivar turns: how long each turn took, without its wait.
    :ivar slow: how many calls took longer than `SLOW`, by name.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.turns = Histogram(TURN_BOUNDS)
        self.slow: Counter[str] = Counter()
        self._seconds = seconds
        self._labels = Labels()
        self._logged = TokenBucket(0.2, 10)
        self._began: float | None = None
        # The slowest call of this window and of the one before.
        self._worst = self._worst_before = (0.0, "")
        self._remarkable = _UNREMARKABLE
        self._window_ends = seconds() + _WINDOW
        self._restore: Callable[[], None] | None = None
        self._has_turns = False
        self._turned: Callable[[float, float], None] | None = None
        self._direct: DirectReads | None = None
        self._end: TurnEnd | None = None

    def shorten(self, direct: DirectReads, end: TurnEnd) -> None:
        """
        Spare the reactor what can be done with less.

        :param direct: connections that are read before it is told of an event.
        :param end: what is done when a turn's events were dealt with.
        """
        self._direct, self._end = direct, end

    def tell(self, turned: Callable[[float, float], None]) -> bool:
        """
        Say after each turn how long it took, and when it ended; once started.

        :returns: ``False`` if turns cannot be told apart: nothing will be said.
        """
        self._turned = turned
        return self._has_turns

    def start(self, reactor: Any) -> bool:
        """
        Watch *reactor* from now on.

        :returns: ``False`` if its turns cannot be told apart; its timed calls
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
            reactor._poller = WatchedPoller(poller, self)

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
        """Tell what was measured: see `vinom.reactor.figures`."""
        if (now := self._seconds()) >= self._window_ends:
            self._turn_window(now)
        found = self.turns.figures("turn_seconds")
        for name, count in self.slow.items():
            found[f"slow_calls:{name}"] = count
        seconds, name = max(self._worst, self._worst_before)
        if name:
            found[f"{WORST}{name}"] = seconds
        return found

    # What the poller tells.

    def turn_over(self) -> None:
        """The reactor has done everything, and will wait."""
        if self._began is not None:
            now = self._seconds()
            took = now - self._began
            # As `Histogram.add`, for each turn.
            turns = self.turns
            turns.counts[bisect_left(turns.bounds, took)] += 1
            turns.total += took
            if self._turned is not None:
                self._turned(took, now)

    def turn_begun(self) -> None:
        """The reactor has waited long enough."""
        self._began = now = self._seconds()
        if now >= self._window_ends:
            self._turn_window(now)

    def each(self, events: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Hand out events; each is dealt with before the next is asked for."""
        seconds, end = self._seconds, self._end
        read = None if self._direct is None else self._direct.read
        if end is not None:
            end.events_begin()
        before = seconds()
        try:
            for event in events:
                if read is None or event[1] != EPOLLIN or not read(event[0]):
                    yield event
                now = seconds()
                if now - before > self._remarkable:
                    self._note(
                        now, now - before, partial(self._name_of_event, event[0])
                    )
                before = now
        finally:
            if end is not None:
                end.events_over()
                now = seconds()
                if now - before > self._remarkable:
                    called = partial(name_of_call, end.events_over)
                    self._note(now, now - before, called)

    def _timed(self, called: Callable[..., Any], args: Any, named: Any) -> None:
        before = self._seconds()
        try:
            called(*args, **named)
        finally:
            now = self._seconds()
            if now - before > self._remarkable:
                self._note(now, now - before, partial(name_of_call, called))

    def _note(self, now: float, took: float, name: Callable[[], str]) -> None:
        """A call took long, or longer than the others of late."""
        label = self._labels.admit(name())
        self._worst = max(self._worst, (took, label))
        self._remarkable = min(SLOW, max(self._worst[0], _UNREMARKABLE))
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
        self._worst, self._remarkable = (0.0, ""), _UNREMARKABLE
        self._window_ends = now + _WINDOW

    def _name_of_event(self, descriptor: int) -> str:
        # Seldom, so that nothing has to be remembered for each event.
        for one in (*self._reactor.getReaders(), *self._reactor.getWriters()):
            if one.fileno() == descriptor:
                return name_of_selectable(one)
        return "a connection that it closed"


class WatchedPoller:
    """Stand where the reactor has its ``select.epoll``."""

    def __init__(self, poller: Any, watch: TurnWatch) -> None:
        self._poll, self._watch = poller.poll, watch
        self.register, self.unregister = poller.register, poller.unregister
        self.modify = poller.modify

    def poll(self, timeout: float, most: int) -> Iterable[tuple[int, int]]:
        """Wait for events, as long as ``select.epoll.poll`` would."""
        watch = self._watch
        watch.turn_over()
        try:
            events = self._poll(timeout, most)
        finally:
            watch.turn_begun()
        return watch.each(events) if events else events


def name_of_call(called: Any) -> str:
    """
    Name what a timed call calls, the same each time.

    A thing that only passes calls on says what to by its ``callee``.
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
