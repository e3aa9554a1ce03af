"""
A server's UDP port that speaks DTLS; a client's is in `vinom.net.dtls.client_port`.

It collects the datagrams of one turn of the reactor and answers them together, so that
many inputs make one broadcast. While it is busy it is read only every few milliseconds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, cast

import attrs
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from vinom.base.reactor.alarm import Alarm, Timer
from vinom.net.dtls.admission import Address
from vinom.net.dtls.association import Association
from vinom.net.dtls.channel import LONGEST_DATAGRAM
from vinom.net.dtls.server import DtlsServer, ServerEvent

#: Most datagrams other than play that one turn of the reactor handles: handshakes and
#: goodbyes of admitted addresses, and those of all other addresses. Play is handled
#: first and not counted. A handshake's flight costs a few hundred microseconds at
#: worst, a stranger's datagram a few dozen.
_MOST_KNOWN = 64
_MOST_STRANGERS = 64


class Looked(Protocol):
    """The methods that a reactor uses on Twisted's ports."""

    def doRead(self) -> None:
        """Read the datagrams that wait, if any."""

    def startReading(self) -> None:
        """Have `doRead` called if something arrives."""

    def stopReading(self) -> None:
        """Stop these calls."""


@attrs.define
class Pacing:
    """
    Decide whether to pause between turns, by the time they took lately.

    A turn is expensive, each datagram in it cheap. A port that woke for each one
    would spend most of its time on turns, so a busy port is read at intervals
    instead; all others answer at once. Times are seconds.

    :ivar pause: time from one read to the next; datagrams wait at most this long.
    :ivar window: how long turns are counted.
    :ivar busy: share of a window above which there are pauses.
    :ivar calm: share below which they end; pauses themselves lower the share.
    :ivar most: datagrams per read above which the next read is immediate, because
        the operating system's buffer is small.
    :ivar is_paced: whether there are pauses now.
    """

    pause: float = 0.002
    window: float = 0.05
    busy: float = 0.5
    calm: float = 0.15
    most: int = 96
    is_paced: bool = False
    _since: float = 0.0
    _spent: float = 0.0

    def turned(self, datagrams: int, took: float, now: float) -> float:
        """
        Count a turn that has ended.

        :param datagrams: how many it received.
        :param took: how long it took.
        :param now: when it ended.
        :returns: how long to wait before the next read; 0 for no wait.
        """
        if now - self._since >= self.window:
            share = self._spent / (now - self._since)
            self.is_paced = share >= (self.calm if self.is_paced else self.busy)
            self._since, self._spent = now, 0.0
        self._spent += took
        return self.pause if self.is_paced and datagrams <= self.most else 0.0


class PacedReader:
    """
    Pause a port for a moment after each turn, while it is busy.

    :ivar is_asleep: does nobody read the port?
    """

    def __init__(self, clock: IReactorTime, port: Looked) -> None:
        """
        Start with a port that its reactor reads.

        :param clock: ends the pauses.
        :param port: reads without blocking.
        """
        self._port = port
        self._next = Timer(clock)
        self.is_asleep = False

    def turned(self, pause: float) -> None:
        """Pause for so many seconds after a turn, or be read again if it is 0."""
        if self._next.is_running:
            # A turn that only sent, during a pause.
            return
        if pause:
            if not self.is_asleep:
                self.is_asleep = True
                self._port.stopReading()
            self._next.start(pause, self._look)
        else:
            self._schedule()

    def stop(self) -> None:
        """Cancel a pause, because the port is closing."""
        self._next.cancel()
        self.is_asleep = False

    def _schedule(self) -> None:
        self.is_asleep = False
        self._port.startReading()

    def _look(self) -> None:
        if self.is_asleep:
            self._schedule()
        self._port.doRead()


#: Sends one datagram.
Write = Callable[[bytes, Address], object]
#: Reads one datagram, or the start of a longer one, from a non-blocking socket.
Read = Callable[[int], tuple[bytes, Address]]


def writer_of(transport: IUDPTransport) -> Write:
    """
    Find the cheapest way to send through an unconnected UDP port.

    Twisted's own `write` checks each address; ours come from the socket and are
    valid. For transports without a socket (in memory) it is their `write`.
    """
    bound = socket_of(transport)
    if bound is not None:
        return bound.sendto
    return transport.write


def socket_of(transport: IUDPTransport) -> socket.socket | None:
    """Find the socket below a transport; ``None`` if it has none (in memory)."""
    handle = getattr(transport, "getHandle", None)
    bound = None if handle is None else handle()
    return bound if isinstance(bound, socket.socket) else None


#: Receive buffer of a port, bytes: the kernel may grant less (see ``vinom doctor``).
RECEIVE_BUFFER = 1 << 20


def widen_receive_buffer(bound: socket.socket, size: int) -> int:
    """
    Request a larger receive buffer from the kernel; never a smaller one.

    :param bound: the socket.
    :param size: the size to request, bytes; Linux doubles it for its own
        bookkeeping, and silently cuts it to ``net.core.rmem_max`` (source:
        socket(7)).
    :returns: the size it has now, in the same measure as *size*.
    """
    level, option = socket.SOL_SOCKET, socket.SO_RCVBUF
    if size > bound.getsockopt(level, option) // 2:
        # A system that refuses instead leaves the size as it was.
        with suppress(OSError):
            bound.setsockopt(level, option, size)
    return bound.getsockopt(level, option) // 2


#: Passes one datagram on.
Pass = Callable[[bytes, Address], None]

#: One byte more than the longest allowed, so that longer ones can be recognized.
_LONGEST_READ = LONGEST_DATAGRAM + 1
#: Most datagrams that we read per turn: a usual buffer holds about this many.
_MOST_READS = 512
#: Most datagrams that wait until they may be sent, and how soon that is asked again,
#: seconds.
_MOST_WAITING, _AGAIN = 4096, 0.02


class IDatagramFilter(Protocol):
    """
    Stands between a port and the network, in tests and for trying bad networks.

    It calls *pass_on* for each datagram any number of times, now or later.

    :ivar longest_hold: the longest time that it holds a datagram, seconds. A
        client's port stays open for this long after its goodbye, which is still
        sent; datagrams that a server's port holds are lost if it is closed.
    """

    longest_hold: float

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """Handle a datagram that arrived from *address*."""

    def outgoing(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """Handle a datagram that is sent to *address*."""


class _Bounded(Protocol):
    """
    Twisted's UDP ports.

    :ivar maxThroughput: it reads one datagram, and more until it has this many bytes.
    """

    maxThroughput: int


class DatagramPort(DatagramProtocol):
    """
    Serve the peers of one UDP port.

    Each turn answers players first, then handshakes, then strangers. Handshakes and
    strangers beyond their share of a turn are dropped.

    :ivar unsendable: datagrams that the operating system refused to send.
    :ivar crowded_out: datagrams of admitted addresses beyond their share.
    """

    transport: IUDPTransport
    noisy = False
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        server: DtlsServer,
        deliver: Callable[[list[ServerEvent]], None],
        datagram_filter: IDatagramFilter | None = None,
        *,
        turned: Callable[[float, float], None] | None = None,
        seconds: Callable[[], float] | None = None,
        receive_buffer: int = RECEIVE_BUFFER,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        """
        Prepare; listening with this protocol serves peers.

        :param clock: the time, and timed calls.
        :param server: the DTLS end; only this port feeds and empties it.
        :param deliver: called with the turn's events once all its datagrams were
            received; also without events if the server handed payloads to
            `received`; what it sends by `send` leaves in the same turn.
        :param datagram_filter: stands between this port and the network.
        :param turned: called after each turn with how long it took, and when it
            ended.
        :param seconds: the clock for *turned*; default: *clock*'s.
        :param receive_buffer: receive buffer to request from the kernel, bytes.
        :param may_send: asked before each turn's datagrams are sent; if not, they wait
            and it is asked again soon. ``None``: always.
        """
        self._clock, self._may_send = clock, may_send
        self._waiting: list[tuple[bytes, Address]] = []
        self._again = Timer(self._clock)
        self._receive_buffer = receive_buffer
        self._server = server
        self._deliver = deliver
        self._filter = datagram_filter
        self._alarm = Alarm(clock, server.deadline, self._alarmed)
        self._turn: IDelayedCall | None = None
        self._is_awake = self._is_held = False
        self._throughput = 0
        self._began = 0.0
        self._turned, self._seconds = turned, seconds or clock.seconds
        self._known: list[tuple[bytes, Address]] = []
        self._strangers: list[tuple[bytes, Address]] = []
        self._beyond = 0
        self._is_pressed = False
        self._reader: PacedReader | None = None
        self._pacing, self._counted = Pacing(), 0
        self._write: Write | None = None
        self._read: Read | None = None
        self._reads_left = _MOST_READS
        self.unsendable = 0
        self.crowded_out = 0

    def startProtocol(self) -> None:
        self._write = writer_of(self.transport)
        bound = socket_of(self.transport)
        if bound is not None:
            widen_receive_buffer(bound, self._receive_buffer)
            if bound.family == socket.AF_INET and self._filter is None:
                # Not for IPv6, where Twisted keeps two of an address's four parts.
                self._read = bound.recvfrom
                # Twisted reads the first datagram of each burst, we the others.
                cast(_Bounded, self.transport).maxThroughput = 1
            self._throughput = cast(_Bounded, self.transport).maxThroughput
            port = cast(Looked, self.transport)
            self._reader = PacedReader(self._clock, port)

    def pause(self) -> None:
        """Leave what arrives to the kernel until `resume`: nobody can be served yet."""
        if self._reader is not None:
            cast(Looked, self.transport).stopReading()

    def resume(self) -> None:
        """Read what has arrived."""
        if self._reader is not None:
            cast(Looked, self.transport).startReading()

    def stopProtocol(self) -> None:
        self._write = self._read = None
        self._alarm.stop()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self._known.clear()
        self._strangers.clear()
        self._waiting.clear()
        self._again.cancel()
        # The port may be closed during its own turn.
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn, self._is_awake = None, False

    def datagramReceived(self, datagram: bytes, address: Address) -> None:
        if self._filter is not None:
            self._filter.incoming(datagram, address, self._take)
            self._count_read()
        elif self._read is None:
            self._take(datagram, address)
            self._count_read()
        elif not datagram:
            self._take(datagram, address)
            self._take_what_waits(self._read)
            self._hold()
        else:
            self._is_awake, is_turn_due = True, self._is_awake
            if not is_turn_due:
                self._began = self._seconds()
            try:
                now = self._clock.seconds()
                if not self._server.receive_play(datagram, address, now):
                    self._set_aside(datagram, address)
                self._take_what_waits(self._read)
            finally:
                # Always: a port that never leaves this state would stop answering.
                if not is_turn_due:
                    # At once: a timed call would cost as much as some inputs.
                    self._take_turn()

    def _count_read(self) -> None:
        """Count a datagram that Twisted read; end the turn if there were enough."""
        self._reads_left -= 1
        if self._reads_left <= 0 and self._reader is not None:
            self._hold()
            # A filter may hold every datagram, so nothing else may end this turn.
            self._schedule()

    def _hold(self) -> None:
        """
        Have Twisted stop reading until the turn, which is due.

        It counts bytes: with datagrams of one byte, or of none, it would read for a
        second, or forever, and no timed call would run.
        """
        cast(_Bounded, self.transport).maxThroughput = 0
        self._is_held = True

    def _take_what_waits(self, read: Read) -> None:
        """
        Take the datagrams that wait behind the first, without Twisted's calls.

        If the socket has failed, Twisted finds out at its next read.
        """
        now, receive_play = self._clock.seconds(), self._server.receive_play
        for _ in range(self._reads_left):
            try:
                datagram, address = read(_LONGEST_READ)
            except OSError:
                return
            self._reads_left -= 1
            if not receive_play(datagram, address, now):
                self._set_aside(datagram, address)

    def _take(self, datagram: bytes, address: Address) -> None:
        if self._write is None:
            return
        if not self._server.receive_play(datagram, address, self._clock.seconds()):
            self._set_aside(datagram, address)
        if not self._is_awake:
            self._schedule()

    def _set_aside(self, datagram: bytes, address: Address) -> None:
        """Keep a datagram that isn't play until play is answered, if there is room."""
        if self._server.is_known(address):
            if len(self._known) < _MOST_KNOWN:
                self._known.append((datagram, address))
            else:
                self.crowded_out += 1
        elif len(self._strangers) < _MOST_STRANGERS:
            self._strangers.append((datagram, address))
        else:
            self._beyond += 1

    def send(self, association: Association, *payloads: bytes) -> None:
        """
        Seal *payloads* for one peer; they leave before this turn is over.

        :raises ValueError: one is empty or longer than the peer's ``max_payload``.
        """
        self._server.send(association, *payloads)
        if not self._is_awake:
            self._schedule()

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """
        Seal one payload for each of some peers; as `send`, and cheaper.

        :raises ValueError: one is empty or longer than its peer's ``max_payload``.
        """
        self._server.send_each(payloads)
        if not self._is_awake:
            self._schedule()

    def rival_of(self, association: Association) -> Association | None:
        """Return the living association that `prove` would end."""
        return self._server.rival_of(association)

    def prove(self, association: Association) -> None:
        """Note that a peer has proved who it is; see `DtlsServer.prove`."""
        self._server.prove(association, self._clock.seconds())
        self._schedule()

    def close(self, association: Association) -> None:
        """Send close_notify to one peer; makes no event."""
        self._server.close(association, self._clock.seconds())
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_awake and self._write is not None:
            self._is_awake, self._began = True, self._seconds()
            self._turn = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        # Awake until the end, so that sending meanwhile schedules no second turn.
        self._reads_left = _MOST_READS
        try:
            self.flush()
            if self._known or self._strangers:
                self._receive_set_aside()
                self.flush()
        finally:
            self._turn, self._is_awake = None, False
            if self._is_held:
                cast(_Bounded, self.transport).maxThroughput = self._throughput
                self._is_held = False
            ended = self._seconds()
            took = ended - self._began
            if self._turned is not None:
                self._turned(took, ended)
            if self._reader is not None:
                before, self._counted = self._counted, self._server.datagrams_in
                pause = self._pacing.turned(self._counted - before, took, ended)
                if pause or self._reader.is_asleep:
                    self._reader.turned(pause)
            if self._write is not None:
                server = self._server
                if server.has_moved:
                    # Not for play, which only moves deadlines further away.
                    server.has_moved = False
                    self._alarm.arm()
                if server.events or server.datagrams or self._known or self._strangers:
                    self._schedule()

    def _receive_set_aside(self) -> None:
        now, server = self._clock.seconds(), self._server
        known, self._known = self._known, []
        strangers, self._strangers = self._strangers, []
        beyond, self._beyond = self._beyond, 0
        for datagram, address in known:
            server.receive(datagram, address, now)
        for datagram, address in strangers:
            server.receive(datagram, address, now)
        if beyond:
            server.overflowed(beyond, now)
        self._log_pressure()

    def _log_pressure(self) -> None:
        pressure = self._server.admission.pressure
        if pressure.is_high is self._is_pressed:
            return
        self._is_pressed = pressure.is_high
        if self._is_pressed:
            self._log.warn("a flood of junk began: limits for strangers are reduced")
        else:
            self._log.info("the flood of junk is over: limits for strangers are normal")

    def flush(self) -> None:
        """Deliver and send everything now; public for a process about to exit."""
        server = self._server
        while True:
            events, server.events = server.events, []
            if events or server.has_received:
                server.has_received = False
                self._deliver(events)
            if not server.events:
                break
        # `DtlsServer.take_datagrams` written out: most turns are for one input.
        datagrams, server.datagrams = server.datagrams, []
        if self._may_send is not None and (datagrams or self._waiting):
            if not self._may_send():
                self._wait(datagrams)
                return
            if self._waiting:
                datagrams, self._waiting = self._waiting + datagrams, []
        server.datagrams_out += len(datagrams)
        if self._filter is not None:
            for datagram, address in datagrams:
                self._filter.outgoing(datagram, address, self._put)
            return
        write = self._write
        if write is None:
            return
        for datagram, address in datagrams:
            try:
                write(datagram, address)
            except (OSError, MessageLengthError):
                # A full buffer or an unreachable address: for the peer it is one
                # more lost datagram, and the next one may arrive.
                self.unsendable += 1

    def _wait(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Keep datagrams that may not be sent yet; the oldest are lost if too many."""
        self._waiting += datagrams
        del self._waiting[:-_MOST_WAITING]
        self._again.ensure(_AGAIN, self._schedule)

    def try_again(self) -> None:
        """Send what waits: it may be sent now."""
        if self._again.is_running:
            self._again.start(0, self._schedule)

    def _put(self, datagram: bytes, address: Address) -> None:
        if self._write is not None:
            try:
                self._write(datagram, address)
            except (OSError, MessageLengthError):
                self.unsendable += 1

    def _alarmed(self) -> None:
        self._server.alarm(self._clock.seconds())
        self._log_pressure()
        self._schedule()
