"""Players' lines, reported to the other nodes again and again."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vinom.errors import StoreUnavailable
from vinom.lobby.conversation.online import Online

#: Much less than the lifetime of a line in the store, seconds.
PERIOD = 3600.0
#: Until they are reported once more if the store did not answer, seconds.
_AGAIN = 1.0


class Reporting(Service):
    """Report all lines now and then, and when the store may have lost them."""

    name = "reporting"
    _log = Logger()

    def __init__(self, online: Online, clock: IReactorTime) -> None:
        """
        :param online: reports them.
        :param clock: for delays.
        """
        self._online = online
        self._clock = clock
        self._loop = LoopingCall(self.report)
        self._loop.clock = clock
        self._again: IDelayedCall | None = None

    def startService(self) -> None:
        """Report now and then."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._loop.start(PERIOD, now=False)

    def stopService(self) -> None:
        """Report no more."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._loop.running:
            self._loop.stop()
        self._cancel()

    def _cancel(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def report(self) -> Deferred[None]:
        """Report all lines now, and again if the store does not answer."""
        self._cancel()
        return Deferred.fromCoroutine(self._report()).addErrback(
            lambda failure: self._log.failure("lines were not reported", failure)
        )

    async def _report(self) -> None:
        try:
            await self._online.report_all()
        except StoreUnavailable as error:
            self._log.debug("lines were not reported: {why}", why=error)
            if self.running:
                self._cancel()
                self._again = self._clock.callLater(_AGAIN, self.report)
