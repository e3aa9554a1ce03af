"""A socket that is looked at now and then while it is busy."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.rules.pacing import Pacing


class Looked(Protocol):
    """What Twisted's ports are to their reactor."""

    def doRead(self) -> None:
        """Take what has come, if anything has."""

    def startReading(self) -> None:
        """Have `doRead` called when something comes."""

    def stopReading(self) -> None:
        """Not any more."""


class PacedReader:
    """
    Let a port sleep for a moment after each turn, when turns are many.

    :param port: reads without waiting; its reactor calls it at first.
    """

    def __init__(self, clock: IReactorTime, port: Looked, pacing: Pacing) -> None:
        self._clock, self._port, self._pacing = clock, port, pacing
        self._next: IDelayedCall | None = None
        self._is_asleep = False

    def turned(self, datagrams: int, took: float, now: float) -> None:
        """The port's turn is over, and took so many datagrams, and so long."""
        pause = self._pacing.turned(datagrams, took, now)
        if self._next is not None:
            # One that only sent, while we wait.
            return
        if pause:
            if not self._is_asleep:
                self._is_asleep = True
                self._port.stopReading()
            self._next = self._clock.callLater(pause, self._look)
        else:
            self._wake()

    def stop(self) -> None:
        """The port is closing."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._is_asleep = False

    def _wake(self) -> None:
        if self._is_asleep:
            self._is_asleep = False
            self._port.startReading()

    def _look(self) -> None:
        self._next = None
        self._wake()
        self._port.doRead()
