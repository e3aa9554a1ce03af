"""
Descriptors that strangers cannot take.

A node that has no descriptor left is deaf: to players who come back, to game servers,
and to its operator. So newcomers may not have the last ones. The kernel gives each new
descriptor the lowest free number: one number says that all below it are taken.
"""

from __future__ import annotations

import os
import resource
from collections import OrderedDict
from collections.abc import Callable
from errno import EBADF
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import ServerFactory

#: How many connections are looked at, to find one that can be closed.
_LOOKS = 64


class Closable(Shape):
    """A connection that may have to make room."""

    @property
    def is_in_play(self) -> bool:
        """Does it belong to a player who gets a match now, or is in a room?"""

    @property
    def is_queued(self) -> bool:
        """Does it belong to a player who waits in a queue?"""

    def abort(self) -> None:
        """End the connection at once."""


def descriptors_left() -> int:
    """Find how far the next descriptor's number is from the limit of open files."""
    try:
        lowest = _taken()
    except OSError:
        return 0
    os.close(lowest)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 30 if limit == resource.RLIM_INFINITY else limit) - lowest


def _taken() -> int:
    """Take the lowest free descriptor."""
    try:
        # Of standard error: a sixth of what it costs to open something.
        return os.dup(2)
    except OSError as error:
        if error.errno != EBADF:
            raise
        return os.open(os.devnull, os.O_RDONLY)


@attrs.define(eq=False)
class Reserve:
    """
    Keep descriptors free.

    When only *size* are left, each newcomer replaces the oldest connection that is not
    in play; so players who come back get in. Those who wait in a queue go last: anybody
    can queue, and who comes back soon has its place again. When half of them are left,
    newcomers are turned away as well. Game servers and the operator's connections may
    use all.

    :ivar size: how many to keep free; 0 keeps none.
    :ivar left: counts those that are left.
    :ivar make_room: closes a connection, if one should go, of those that did not
        `join`.
    :ivar closed: how many connections made room.
    :ivar refused: how many newcomers were turned away.
    """

    size: int = 0
    left: Callable[[], int] = descriptors_left
    make_room: Callable[[], bool] = lambda: False
    closed: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _open: OrderedDict[Closable, None] = attrs.field(factory=OrderedDict, init=False)

    def join(self, connection: Closable, transport: Any = None) -> None:
        """
        A connection is open.

        :param transport: its transport. A session of a gateway's link has no
            descriptor to give: that is not closed for newcomers.
        """
        if getattr(transport, "has_descriptor", True):
            self._open[connection] = None

    def leave(self, connection: Closable) -> None:
        """It is closed, or somebody else's."""
        self._open.pop(connection, None)

    def admits(self) -> bool:
        """May a newcomer come in? Then an older connection may have to go."""
        if not self.size:
            return True
        left = self.left()
        if left > self.size:
            return True
        if self._close_one() and left > self.size // 2:
            return True
        self.refused += 1
        return False

    def _close_one(self) -> bool:
        queued: Closable | None = None
        for _ in range(min(_LOOKS, len(self._open))):
            connection, _nothing = self._open.popitem(last=False)
            if not (connection.is_in_play or connection.is_queued):
                self._close(connection)
                return True
            if queued is None and not connection.is_in_play:
                queued = connection
            # Looked at again after all others.
            self._open[connection] = None
        if queued is None:
            is_closed = self.make_room()
            self.closed += is_closed
            return is_closed
        del self._open[queued]
        self._close(queued)
        return True

    def _close(self, connection: Closable) -> None:
        self.closed += 1
        connection.abort()


class ReservingFactory(ServerFactory):
    """
    Serve newcomers while there are descriptors.

    :param factory: serves them.
    :param reserve: shared by all ports of players.
    """

    noisy = False

    def __init__(self, factory: IProtocolFactory, reserve: Reserve) -> None:
        self._factory, self._reserve = factory, reserve

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        # Without a protocol, the socket is closed before the next one is accepted.
        return self._factory.buildProtocol(addr) if self._reserve.admits() else None
