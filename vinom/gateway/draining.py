"""Draining a gateway: no new clients, time for those connected, then the exit."""

from __future__ import annotations

from typing import Protocol as Shape

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

#: How often it is checked whether all clients are gone, seconds.
_LOOK_SECONDS = 0.1
#: How long clients whose sessions were ended may take to read the reason, seconds.
CUT_SECONDS = 3.0


class Ending(Shape):
    """The gateway's operations that a drain uses."""

    def close_ports(self) -> None:
        """Accept no new connections."""

    def ask_to_leave(self, seconds: float) -> None:
        """Ask clients to connect again elsewhere, one by one over *seconds*."""

    def cut(self) -> int:
        """End all remaining sessions; returns how many there were."""

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
        :param clock: the clock.
        :param lag: how long new connections are still accepted, so that load balancers
            can notice, seconds.
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

        :param is_handed_over: whether another process has the ports; then there is no
            lag.
        """
        if self.is_begun:
            if is_handed_over and not self.is_handed_over:
                self.is_handed_over = True
                # Also the admin port: the other process has it now.
                self._ending.close_ports()
            return
        self.is_begun, self.is_handed_over = True, is_handed_over
        lag = 0.0 if is_handed_over else self._lag
        _log.info(
            "draining: new connections are accepted for {lag} s more; clients may "
            "stay {seconds} s after that",
            lag=lag,
            seconds=self._seconds,
        )
        self._call = self._clock.callLater(lag, self._close)

    def stop(self) -> None:
        """Do nothing more, because the process exits."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _close(self) -> None:
        self._deadline = self._clock.seconds() + self._seconds
        self._ending.close_ports()
        # Within half of the time, so that all clients have time left to finish.
        self._ending.ask_to_leave(self._seconds / 2)
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
                "drain_seconds are over: ending {count} sessions",
                count=self._ending.cut(),
            )
        wait = min(_LOOK_SECONDS, self._deadline - now)
        self._call = self._clock.callLater(max(0.001, wait), self._look)
