"""
Many who wait equally long, and one timer for all of them.

One round for all connections: which of them gets a ping, and when; turns for those who
could go on at once, but not all of them together; and one answer for several who ask
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from itertools import islice
from typing import Any, Generic, TypeVar
from typing import Protocol as Shape

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.alarm import Timer

_log = Logger()
_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

#: Who go on in one turn of the reactor: so few that nobody else waits for them.
_TURN = 8
#: Steps of a round. So few connections are visited in one that nobody waits for it.
_STEPS = 100


class Visited(Shape):
    """A connection that is visited once in each round."""

    def visit(self) -> None:
        """A round is over since the last time."""


class Rounds:
    """
    Visit each connection once in each period, a hundredth of them at a time.

    A timer for each connection would cost more than the visit; visiting all at
    once would hold up those who play.

    :param period: length of a round, seconds.
    :param steps: of one round; a few connections need only one.
    """

    def __init__(self, clock: IReactorTime, period: float, steps: int = _STEPS) -> None:
        self.period, self._step_seconds = period, period / steps
        self._steps: list[dict[Visited, None]] = [{} for _ in range(steps)]
        self._places: dict[Visited, int] = {}
        self._at = 0
        self._timer = Timer(clock)

    def __len__(self) -> int:
        return len(self._places)

    def join(self, visited: Visited) -> None:
        """Visit it from now on; the first time when a period is over."""
        self._places[visited] = self._at
        self._steps[self._at][visited] = None
        self._timer.ensure(self._step_seconds, self._step)

    def leave(self, visited: Visited) -> None:
        """Visit it no more."""
        place = self._places.pop(visited, None)
        if place is not None:
            del self._steps[place][visited]
        if not self._places:
            self._timer.cancel()

    def _step(self) -> None:
        self._timer.ensure(self._step_seconds, self._step)
        self._at = (self._at + 1) % len(self._steps)
        for visited in tuple(self._steps[self._at]):
            visited.visit()


class Waiting(Shape):
    """Somebody who waits."""

    def overdue(self) -> None:
        """The wait is over; whoever called `Waits.add` may do so again."""


class Waits:
    """
    Call each one when its deadline has come.

    Deadlines that come in order cost a place in a queue and no timer of their own;
    one that is out of order has a timer.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queue: dict[Waiting, float] = {}
        self._timers: dict[Waiting, IDelayedCall] = {}
        self._latest = 0.0
        self._alarm = Timer(clock)

    def __len__(self) -> int:
        return len(self._queue) + len(self._timers)

    def add(self, waiting: Waiting, deadline: float) -> None:
        """Call *waiting*, which has no deadline here, at this one."""
        if self._queue and deadline < self._latest:
            delay = deadline - self._clock.seconds()
            self._timers[waiting] = self._clock.callLater(
                max(0.0, delay), self._ring_one, waiting
            )
            return
        self._queue[waiting] = self._latest = deadline
        if not self._alarm.is_running:
            self._arm(deadline)

    def remove(self, waiting: Waiting) -> None:
        """Call it no more."""
        if self._queue.pop(waiting, None) is not None:
            if not self._queue:
                self._alarm.cancel()
            return
        timer = self._timers.pop(waiting, None)
        if timer is not None:
            timer.cancel()

    def _arm(self, deadline: float) -> None:
        delay = max(0.0, deadline - self._clock.seconds())
        self._alarm.ensure(delay, self._ring)

    def _ring(self) -> None:
        now, queue = self._clock.seconds(), self._queue
        while queue:
            waiting = next(iter(queue))
            if queue[waiting] > now:
                break
            del queue[waiting]
            waiting.overdue()
        if queue:
            self._arm(queue[next(iter(queue))])

    def _ring_one(self, waiting: Waiting) -> None:
        del self._timers[waiting]
        waiting.overdue()


class Ready(Shape):
    """Somebody who could go on at once."""

    def go_on(self) -> None:
        """It is your turn."""


class Turns:
    """Have a few go on in each turn of the reactor, in order, however many could."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._ready: dict[Ready, None] = {}

    def __contains__(self, ready: Ready) -> bool:
        return ready in self._ready

    def add(self, ready: Ready) -> None:
        """Have it go on in a later turn."""
        if not self._ready:
            self._clock.callLater(0, self._next)
        self._ready[ready] = None

    def remove(self, ready: Ready) -> None:
        """It goes on no more."""
        self._ready.pop(ready, None)

    def _next(self) -> None:
        some = list(islice(self._ready, _TURN))
        for ready in some:
            del self._ready[ready]
        if self._ready:
            self._clock.callLater(0, self._next)
        for ready in some:
            ready.go_on()


class Once(Generic[_K, _V]):
    """Make what several ask for while it is made, such as a connection, only once."""

    def __init__(self, make: Callable[[_K], Coroutine[Any, Any, _V]]) -> None:
        self._make = make
        self._waiting: dict[_K, list[Deferred[_V]]] = {}

    def __call__(self, key: _K) -> Deferred[_V]:
        """Make it, or wait until it is made; who stops waiting disturbs no other."""
        asked: Deferred[_V] = Deferred()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(asked)
        if len(waiting) == 1:
            making = Deferred.fromCoroutine(self._make(key))
            making.addCallbacks(self._made, self._failed, (key,), {}, (key,))
        return asked

    def _made(self, found: _V, key: _K) -> None:
        for one in self._waiting.pop(key):
            one.callback(found)

    def _failed(self, failure: Failure, key: _K) -> None:
        for one in self._waiting.pop(key):
            one.errback(failure.value)


class Repeating(Service):
    """Call a function again and again while it runs, also after one that failed."""

    def __init__(
        self,
        look: Callable[[], Any],
        seconds: float,
        clock: Any,
        *,
        is_at_once: bool = False,
    ) -> None:
        """
        :param look: what is called; the next call waits for a `Deferred` of this one.
        :param seconds: between two calls.
        :param clock: for delays.
        :param is_at_once: call it at the start, too.
        """
        self._every, self._is_at_once = seconds, is_at_once

        def failed(failure: Failure) -> None:
            _log.failure("{name} failed", failure, name=self.name)

        self._loop = LoopingCall(lambda: maybeDeferred(look).addErrback(failed))
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._loop.start(self._every, now=self._is_at_once)

    def stopService(self) -> Any:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        # A node that could not listen stops what it has not started.
        if self._loop.running:
            self._loop.stop()
