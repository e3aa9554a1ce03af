"""The turns of a reactor, without one."""

from __future__ import annotations

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import EPOLLIN, TurnWatch, WatchedPoller


class OneEvent:
    """In the place of ``select.epoll``: bytes came at one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        return [(self._descriptor, EPOLLIN)]

    def register(self, descriptor: int, flags: int = 0) -> None:
        raise AssertionError("nobody listens")

    unregister = modify = register


def reads_directly(direct: DirectReads, descriptor: int) -> bool:
    """Have what came at a descriptor read; ``False`` if the reactor got the event."""
    watch = TurnWatch(lambda: 0.0)
    poller = WatchedPoller(OneEvent(descriptor), watch, direct)
    return not list(poller.poll(0.0, 1))
