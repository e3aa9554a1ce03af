"""
Read from a connection, and send to it: directly to its socket, and only the rest
through the reactor.

Twisted always waits for the socket to be writable, which takes longer than sending most
messages. Over TLS, and in tests, everything goes to the transport. Reading stops while
there is a reason not to read. `ByteStream` is a connection that carries one session.

A peer that reads nothing for too long is cut off, before and after our side has closed.
"""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import QuickConnection
from vinom.base.reactor.direct import (
    MOST,
    Directly,
    DirectReads,
    bound_reads,
    socket_under,
)
from vinom.base.reactor.waits import Waits
from vinom.net.lines.secure import SecureTransport
from vinom.net.lines.tcp import close_gently
from vinom.net.streams.channels import Leg, Reason

#: How long a peer may read nothing of what it is sent, seconds.
STUCK_SECONDS = 30.0
#: How long a closed connection waits for the peer to read some of the rest, and, when
#: it has read everything, to close too, seconds.
_CLOSE_SECONDS = 10.0


class Owner(Directly, Shape):
    """The protocol of a connection, as far as its writer calls it."""

    def filled(self) -> None:
        """The peer does not read what it is sent."""

    def drained(self) -> None:
        """The peer has read everything."""

    def stuck(self) -> None:
        """The peer has read nothing for too long."""


@implementer(IPushProducer, IPullProducer)
class SocketWriter:
    """
    The sending side of one connection.

    :ivar is_full: does the peer not read what it is sent?
    """

    __slots__ = (
        "_alarm",
        "_descriptor",
        "_direct",
        "_is_over",
        "_is_tls",
        "_left",
        "_owner",
        "_send",
        "_transport",
        "is_full",
    )

    def __init__(
        self,
        transport: Any,
        owner: Owner,
        clock: IReactorTime,
        *,
        is_tls: bool = False,
        direct: DirectReads | None = None,
        most: int = MOST,
    ) -> None:
        """
        :param transport: nothing was written to it before.
        :param owner: gets the received bytes.
        :param clock: for peers that do not read.
        :param is_tls: is there TLS between us and the socket?
        :param direct: reads connections without the reactor.
        :param most: bytes of one read.
        """
        bound_reads(transport, most)
        self._transport, self._owner = transport, owner
        self._is_tls = is_tls
        self._alarm = Timer(clock)
        self._is_over = False
        self._direct, self._descriptor = direct, -1
        self._send: Callable[[bytes], int] | None = None
        self._left, self.is_full = 0, False
        below = socket_under(transport)
        if below is None:
            transport.registerProducer(self, True)
            return
        self._send = below.send
        if direct is not None and isinstance(transport, Connection):
            # No wrapper needs to see the bytes before the reader.
            self._descriptor = below.fileno()
            ended = transport.ended if isinstance(transport, QuickConnection) else None
            direct.add(self._descriptor, below.recv, owner, ended, most)

    def write(self, data: bytes) -> None:
        """Send *data*, or hold it until the peer reads."""
        send = self._send
        if send is None or self.is_full:
            self._transport.write(data)
            return
        try:
            sent = send(data)
        except OSError:
            # The buffer is full, or the connection is lost; the reactor will notice.
            sent = 0
        if sent < len(data):
            self._transport.write(data[sent:])
            # A pull producer is asked for more when all is sent, and once now.
            self._transport.registerProducer(self, False)
            self.pauseProducing()

    def release(self) -> None:
        """Write no more: let the transport close when everything is sent."""
        # Twisted keeps a connection open as long as it has a producer.
        self._transport.unregisterProducer()
        self._send = None

    def close(self, is_half: bool = False) -> None:
        """
        Send what is held, then close.

        :param is_half: has the peer closed its half?
        """
        transport = self._transport
        self._alarm.cancel()
        self.release()
        if is_half:
            # Nothing comes that is not read: that would take the last bytes away.
            transport.loseConnection()
        else:
            transport.resumeProducing()
            close_gently(transport, self._is_tls)
        # In closing, the connection may be lost.
        if not self._is_over:
            self._left = _unsent(transport)
            self._alarm.start(_CLOSE_SECONDS, self._give_up)

    def forget(self) -> None:
        """The connection is over, or belongs to another protocol now."""
        self._is_over, self._send = True, None
        self._alarm.cancel()
        if self._direct is not None:
            self._direct.remove(self._descriptor)
            self._direct = None

    # What the transport calls.

    def pauseProducing(self) -> None:
        """The peer does not read."""
        self.is_full = True
        self._alarm.start(STUCK_SECONDS, self._owner.stuck)
        self._owner.filled()

    def resumeProducing(self) -> None:
        """The peer has taken everything."""
        if self.is_full:
            self.is_full = False
            self._alarm.cancel()
            if self._send is not None:
                self._transport.unregisterProducer()
            self._owner.drained()

    def stopProducing(self) -> None:
        """The connection is over; ``connectionLost`` follows."""

    def _give_up(self) -> None:
        """Abort, unless the peer still reads: that would drop what it has not taken."""
        before, self._left = self._left, _unsent(self._transport)
        if 0 < self._left < before:
            self._alarm.start(_CLOSE_SECONDS, self._give_up)
        else:
            self._transport.abortConnection()


def _unsent(transport: Any) -> int:
    """Count sent bytes that the peer's kernel does not have yet; 0 if unknown."""
    while isinstance(transport, ProtocolWrapper | SecureTransport):
        transport = transport.transport
    if not isinstance(transport, Connection):
        return 0
    held = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    try:
        queued = ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return held + int.from_bytes(queued, sys.byteorder)


#: Bytes that may come at once, in seconds of the rate.
_BURST_SECONDS = 1.0


@attrs.define
class Pace:
    """
    Counts the bytes of one client. Times: seconds on the caller's clock.

    :ivar rate: bytes per second.
    """

    rate: float
    _paid_until: float = attrs.field(default=-1e300, init=False)

    def wait(self, size: int, now: float) -> float:
        """Count received bytes; returns how long to stop reading, 0 for not at all."""
        began = max(self._paid_until, now - _BURST_SECONDS)
        self._paid_until = began + size / self.rate
        return max(0.0, self._paid_until - now)


def pace_of(rate: float) -> Pace | None:
    """Make the limit of a new client; ``None`` for a *rate* of 0, which is no limit."""
    return Pace(rate) if rate else None


class SocketReader:
    """The reading side of one connection."""

    __slots__ = ("_clock", "_is_over", "_pace", "_slowed", "_transport", "holds")

    def __init__(
        self, transport: Any, clock: IReactorTime, pace: Pace | None = None
    ) -> None:
        """
        :param transport: is read from now.
        :param clock: for clients that send too fast.
        :param pace: limits how fast the peer may send; ``None`` for no limit.
        """
        self._transport, self._clock, self._pace = transport, clock, pace
        #: Why nothing is read.
        self.holds: set[str] = set()
        self._slowed = Timer(clock)
        self._is_over = False

    def hold(self, why: str) -> bool:
        """Read nothing until `let_go` gets the same reason; was it read until now?"""
        is_first = not (self.holds or self._is_over)
        self.holds.add(why)
        if is_first:
            self._transport.pauseProducing()
        return is_first

    def let_go(self, why: str) -> bool:
        """Read again, unless there is another reason not to: is it read now?"""
        if why not in self.holds:
            return False
        self.holds.discard(why)
        if self.holds or self._is_over:
            return False
        self._transport.resumeProducing()
        return True

    def received(self, size: int, wait: float = 0.0) -> None:
        """
        Bytes came: read no more for a while if they came too fast.

        :param wait: seconds for which to read nothing in any case.
        """
        if self._pace is not None:
            wait = max(wait, self._pace.wait(size, self._clock.seconds()))
        if wait and not self._slowed.is_running and not self._is_over:
            self.hold("pace")
            self._slowed.start(wait, self.let_go, "pace")

    def end(self) -> None:
        """The connection is over: nobody waits for anything."""
        self._is_over = True
        self._slowed.cancel()


#: How long a session may be silent after its client has nothing more to send, seconds.
FINISHED_SECONDS = 60.0


@implementer(IHalfCloseableProtocol)
class ByteStream(Protocol):
    """
    One end of a session (`vinom.net.streams.channels.Stream`).

    :ivar leg: its side of the session; must be set before bytes come.
    """

    transport: Any
    leg: Leg

    def __init__(
        self,
        clock: IReactorTime,
        lost: Reason,
        is_tls: bool = False,
        pace: Pace | None = None,
        direct: DirectReads | None = None,
        finished: Waits | None = None,
    ) -> None:
        """
        :param clock: for the deadline of peers that do not read.
        :param lost: the reason to report if the connection breaks.
        :param is_tls: is there TLS between us and the socket?
        :param pace: limits how fast the peer may send; ``None`` for no limit.
        :param direct: reads connections without the reactor.
        :param finished: rings for peers that have nothing more to send; of *clock*, and
            shared: then most need no timer.
        """
        self._direct = direct
        self._finished = Waits(clock) if finished is None else finished
        self._pace = pace
        self._clock, self._lost, self._is_tls = clock, lost, is_tls
        self._is_over = self._is_finishing = self._is_half = self._has_sent = False
        self._is_waiting = False

    # What the transport calls.

    def connectionMade(self) -> None:
        self._writer = SocketWriter(
            self.transport,
            self,
            self._clock,
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
            f"it did not read for {STUCK_SECONDS:.0f} s",
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
