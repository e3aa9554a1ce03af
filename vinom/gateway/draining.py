"""The end of a gateway: nobody new, time for those who are there, and then nobody."""

from __future__ import annotations

from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

#: How often it is checked whether all clients are gone, seconds.
_LOOK_SECONDS = 0.1
#: How long clients that were cut off may take to read why, seconds.
CUT_SECONDS = 3.0


class Ending(Shape):
    """What a drain asks of the gateway."""

    def close_ports(self) -> None:
        """Take no new connections."""

    def tell(self, seconds: float) -> None:
        """Send every client that can read it: connect again. Spread it over so long."""

    def cut(self) -> int:
        """End all sessions that are left; returns how many these were."""

    def is_empty(self) -> bool:
        """Are all clients gone?"""

    def finish(self) -> None:
        """Exit."""


class Draining:
    """
    Drain a gateway, once.

    :ivar is_begun: clients should not be sent here any more.
    :ivar is_handed_over: another process has the ports.
    """

    def __init__(
        self, ending: Ending, clock: IReactorTime, lag: float, seconds: float
    ) -> None:
        """
        :param ending: the gateway.
        :param clock: for times.
        :param lag: how long new connections are still taken: as long as those who
            choose gateways may take to notice, seconds.
        :param seconds: how long clients may stay after that.
        """
        self._ending, self._clock = ending, clock
        self._lag, self._seconds = lag, seconds
        self.is_begun = self.is_handed_over = False
        self._call: IDelayedCall | None = None
        self._deadline = 0.0
        self._is_cut = False

    def begin(self, is_handed_over: bool = False) -> None:
        """
        Drain.

        :param is_handed_over: another process has the ports: no lag.
        """
        if self.is_begun:
            if is_handed_over and not self.is_handed_over:
                self.is_handed_over = True
                # Also those that stay open for operators: they are the other's now.
                self._ending.close_ports()
            return
        self.is_begun, self.is_handed_over = True, is_handed_over
        lag = 0.0 if is_handed_over else self._lag
        _log.info(
            "draining: new connections are taken for {lag} s more; clients may stay "
            "{seconds} s after that",
            lag=lag,
            seconds=self._seconds,
        )
        self._call = self._clock.callLater(lag, self._close)

    def stop(self) -> None:
        """The process exits: do nothing more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _close(self) -> None:
        self._deadline = self._clock.seconds() + self._seconds
        self._ending.close_ports()
        # In half of the time, so that all have some left to come to an end.
        self._ending.tell(self._seconds / 2)
        self._look()

    def _look(self) -> None:
        self._call = None
        if self._ending.is_empty():
            _log.info("drained: no client is left")
            self._ending.finish()
            return
        now = self._clock.seconds()
        if now >= self._deadline:
            if self._is_cut:
                self._ending.finish()
                return
            self._is_cut = True
            self._deadline = now + CUT_SECONDS
            _log.info(
                "the time to drain is over: {count} sessions are cut off",
                count=self._ending.cut(),
            )
        wait = min(_LOOK_SECONDS, self._deadline - now)
        self._call = self._clock.callLater(max(0.001, wait), self._look)
