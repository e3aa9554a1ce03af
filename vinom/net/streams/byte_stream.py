"""A connection that carries the bytes of one session, to a client or a back end."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.waits import Waits
from vinom.net.streams.ends import Leg, Reason
from vinom.net.streams.sockets import STUCK_SECONDS, Pace, SocketReader, SocketWriter

#: How long a session may be silent after its client has nothing more to send, seconds.
FINISHED_SECONDS = 60.0


@implementer(IHalfCloseableProtocol)
class ByteStream(Protocol):
    """
    One end of a session (`vinom.net.streams.ends.Stream`).

    :ivar leg: its side of the session; must be set before bytes come.
    """

    transport: Any
    leg: Leg

    def __init__(
        self,
        clock: IReactorTime,
        lost: Reason,
        is_tls: bool = False,
        stuck_seconds: float = STUCK_SECONDS,
        pace: Pace | None = None,
        direct: DirectReads | None = None,
        finished: Waits | None = None,
    ) -> None:
        """
        :param clock: for the deadline of peers that do not read.
        :param lost: the reason to report if the connection breaks.
        :param is_tls: is there TLS between us and the socket?
        :param stuck_seconds: how long the peer may read nothing.
        :param pace: limits how fast the peer may send; ``None`` for no limit.
        :param direct: reads connections without the reactor.
        :param finished: rings for peers that have nothing more to send; of *clock*, and
            shared: then most need no timer.
        """
        self._direct = direct
        self._finished = Waits(clock) if finished is None else finished
        self._pace = pace
        self._clock, self._lost, self._is_tls = clock, lost, is_tls
        self._stuck_seconds = stuck_seconds
        self._is_over = self._is_finishing = self._is_half = self._has_sent = False
        self._is_waiting = False

    # What the transport calls.

    def connectionMade(self) -> None:
        self._writer = SocketWriter(
            self.transport,
            self,
            self._clock,
            stuck_seconds=self._stuck_seconds,
            is_tls=self._is_tls,
            direct=self._direct,
        )
        self._reader = SocketReader(self.transport, self._clock, self._pace)

    def dataReceived(self, data: bytes) -> None:
        if not self._is_over:
            self.leg.received(data)
            if self._pace is not None:
                self._reader.received(len(data))

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self._is_half = True
        if self._is_over:
            self.transport.loseConnection()
        else:
            self.leg.finished()
            self._has_sent = False
            # Not if the session has ended by this.
            if not (self._writer.is_full or self._is_waiting or self._is_over):
                self._wait()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as `finish` or `close` asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wait_no_more()
        self._reader.end()
        self._writer.forget()
        if not self._is_over:
            self._is_over = True
            is_clean = reason.check(ConnectionDone) is not None
            self.leg.lost(Reason.DONE if is_clean else self._lost)

    def filled(self) -> None:
        """The peer does not read: pause the other end."""
        if not self._is_over:
            self._wait_no_more()
            self.leg.filled()

    def drained(self) -> None:
        """The peer has read everything."""
        if not self._is_over:
            if self._is_half:
                self._wait()
            if self._is_finishing:
                self._close_half()
            self.leg.drained()

    def stuck(self) -> None:
        """The peer has read nothing for too long."""
        # A back end that does not read is lost: its client did nothing wrong.
        is_client = self._lost is Reason.CLIENT_LOST
        self._break_off(
            Reason.TOO_SLOW if is_client else self._lost,
            f"it did not read for {self._stuck_seconds:.0f} s",
        )

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    # What the session calls.

    def send(self, data: bytes) -> None:
        """Pass bytes on to the peer."""
        self._has_sent = True
        self._writer.write(data)

    def finish(self) -> None:
        """Send no more; the peer may still send."""
        if self._is_over:
            return
        if self._writer.is_full:
            # Afterwards: the writer is watched until the peer has read everything.
            self._is_finishing = True
        else:
            self._close_half()

    def close(self, reason: Reason, words: str = "") -> None:
        """The session is over: send the held bytes, then close."""
        if self._is_over:
            return
        self._is_over = True
        self._wait_no_more()
        self._reader.end()
        if reason is Reason.TOO_SLOW:
            self.transport.abortConnection()
        else:
            self._writer.close(self._is_half)

    def pause(self) -> None:
        """Stop reading from the peer."""
        self._reader.hold("session")

    def resume(self) -> None:
        """Read from the peer again."""
        self._reader.let_go("session")

    def _close_half(self) -> None:
        if self._is_tls:
            self.transport.loseConnection()
        else:
            self._writer.release()
            self.transport.loseWriteConnection()

    def overdue(self) -> None:
        """A peer that sends no more was sent nothing either (`Waits`)."""
        self._is_waiting = False
        has_sent, self._has_sent = self._has_sent, False
        if has_sent:
            self._wait()
        else:
            self._break_off(Reason.TIMEOUT)

    def _wait(self) -> None:
        """Wait for what the peer is sent, which sends nothing more itself."""
        self._is_waiting = True
        self._finished.add(self, self._clock.seconds() + FINISHED_SECONDS)

    def _wait_no_more(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._finished.remove(self)

    def _break_off(self, reason: Reason, words: str = "") -> None:
        self._is_over = True
        self.transport.abortConnection()
        self.leg.lost(reason, words)
