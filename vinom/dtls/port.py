"""
A server's UDP port that speaks DTLS; a client's is in `vinom.dtls.client_port`.

It collects what one turn of the reactor brings and answers it in one piece, so that
many inputs make one broadcast. While it is busy it is looked at now and then only.
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

from vinom.dtls.admission import Address
from vinom.dtls.association import Association
from vinom.dtls.channel import LONGEST_DATAGRAM
from vinom.dtls.server import DtlsServer, ServerEvent
from vinom.reactor.alarm import Alarm


class Looked(Protocol):
    """What Twisted's ports are to their reactor."""

    def doRead(self) -> None:
        """Take what has come, if anything has."""

    def startReading(self) -> None:
        """Have `doRead` called when something comes."""

    def stopReading(self) -> None:
        """Not any more."""


@attrs.define
class Pacing:
    """
    Judge by how much of the last moments turns took. Times: seconds.

    A turn costs much by itself and each datagram in it little. A port that is woken
    by each one would spend most of its time on turns, so one that has little time
    left is looked at now and then instead; all others answer at once.

    :ivar pause: from one look to the next; what comes meanwhile waits so long.
    :ivar window: how long turns are counted.
    :ivar busy: share of a window above which there are pauses.
    :ivar calm: share below which there are none any more; pauses themselves make
        it less.
    :ivar most: datagrams in one look above which the next one comes at once: the
        operating system does not keep many.
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
        A turn is over that took so many datagrams, and so long.

        :returns: how long to wait before the next look; 0 is not at all.
        """
        if now - self._since >= self.window:
            share = self._spent / (now - self._since)
            self.is_paced = share >= (self.calm if self.is_paced else self.busy)
            self._since, self._spent = now, 0.0
        self._spent += took
        return self.pause if self.is_paced and datagrams <= self.most else 0.0


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
        elif self._is_asleep:
            self._wake()

    def stop(self) -> None:
        """The port is closing."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._is_asleep = False

    def _wake(self) -> None:
        self._is_asleep = False
        self._port.startReading()

    def _look(self) -> None:
        self._next = None
        if self._is_asleep:
            self._wake()
        self._port.doRead()


#: Sends one datagram.
Write = Callable[[bytes, Address], object]
#: Reads one datagram, or the start of a longer one, from a socket that never waits.
Read = Callable[[int], tuple[bytes, Address]]


def writer_of(transport: IUDPTransport) -> Write:
    """
    Find the cheapest way to send through an unconnected UDP port.

    Twisted's own `write` looks at each address whether it is one; ours come from
    the socket. Transports without a socket (in memory) are written to.
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


def widen_receive_buffer(bound: socket.socket, size: int) -> int:
    """
    Ask the kernel for more room for datagrams that wait; never for less.

    :param size: wanted, bytes; Linux doubles it for its own bookkeeping, and cuts
        it to ``net.core.rmem_max`` without a word (source: socket(7)).
    :returns: what there is now, in the same measure as *size*.
    """
    level, option = socket.SOL_SOCKET, socket.SO_RCVBUF
    if size > bound.getsockopt(level, option) // 2:
        # Where it is refused instead, what there was remains.
        with suppress(OSError):
            bound.setsockopt(level, option, size)
    return bound.getsockopt(level, option) // 2


#: Passes one datagram on.
Pass = Callable[[bytes, Address], None]

#: One byte more than is looked at, so that what is too long is seen to be.
_LONGEST_READ = LONGEST_DATAGRAM + 1
#: Datagrams of one turn that we read ourselves; so many wait in a usual buffer.
_MOST_READS = 512


class IDatagramFilter(Protocol):
    """
    Stands between a port and the network, in tests and for trying bad networks.

    It calls *pass_on* for each datagram as often as it likes, now or later.

    :ivar longest_hold: the longest time that it holds a datagram, seconds. A
        client's port stays open so long after its goodbye, which then still
        leaves; what a server's port had to say is lost when it is closed.
    """

    longest_hold: float

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """A datagram came from *address*."""

    def outgoing(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        """A datagram is to go to *address*."""


@attrs.frozen
class TurnShares:
    """
    How many datagrams that are not play one turn of the reactor has room for.

    Play comes first and is not counted here. A handshake's flight costs a few
    hundred microseconds at worst, a stranger's datagram a few dozen.

    :ivar known: of addresses that were admitted: handshakes, goodbyes.
    :ivar strangers: of all others.
    """

    known: int = 64
    strangers: int = 64


class _Bounded(Protocol):
    """
    Twisted's UDP ports.

    :ivar maxThroughput: it reads until it has so many bytes, one datagram at least.
    """

    maxThroughput: int


class DatagramPort(DatagramProtocol):
    """
    Serve the peers of one UDP port.

    What players send is answered first in each turn; then come those who are
    shaking hands, then strangers. Of these two only so many: the rest is dropped.

    :param server: is fed, asked and emptied here and nowhere else.
    :param deliver: called when all that a turn brought was received, with the turn's
        events; also without events where the server hands payloads to `received`;
        what it sends by `send` leaves in the same turn.
    :param datagram_filter: stands between this port and the network.
    :param turned: told after each turn how long it took, and when it ended.
    :param seconds: the clock of these; *clock*'s unless given.
    :param receive_buffer: what to ask of the kernel for what waits, bytes.
    :ivar unsendable: datagrams that the operating system did not take.
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
        shares: TurnShares = TurnShares(),
        turned: Callable[[float, float], None] | None = None,
        seconds: Callable[[], float] | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self._clock = clock
        self._receive_buffer = receive_buffer
        self._server = server
        self._deliver = deliver
        self._filter = datagram_filter
        self._alarm = Alarm(clock, server.deadline, self._ring)
        self._turn: IDelayedCall | None = None
        self._is_awake = self._is_held = False
        self._throughput = 0
        self._began = 0.0
        self._turned, self._seconds = turned, seconds or clock.seconds
        self._shares = shares
        self._known: list[tuple[bytes, Address]] = []
        self._strangers: list[tuple[bytes, Address]] = []
        self._beyond = 0
        self._is_pressed = False
        self._reader: PacedReader | None = None
        self._heard = 0
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
                # Of IPv6's addresses Twisted keeps two of four parts; it may go on.
                self._read = bound.recvfrom
                # It reads one datagram of each burst, and we the others.
                cast(_Bounded, self.transport).maxThroughput = 1
            self._throughput = cast(_Bounded, self.transport).maxThroughput
            port = cast(Looked, self.transport)
            self._reader = PacedReader(self._clock, port, Pacing())

    def stopProtocol(self) -> None:
        self._write = self._read = None
        self._alarm.stop()
        if self._reader is not None:
            self._reader.stop()
            self._reader = None
        self._known.clear()
        self._strangers.clear()
        # It may be this very turn that closes the port.
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
                    # Here and now: a timed call would cost as much as some inputs.
                    self._take_turn()

    def _count_read(self) -> None:
        """Twisted read one; so many a turn are enough."""
        self._reads_left -= 1
        if self._reads_left <= 0 and self._reader is not None:
            self._hold()
            # Nothing else may be due: a filter may keep all that comes.
            self._wake()

    def _hold(self) -> None:
        """
        Have Twisted read no more before the turn, which is due.

        It counts bytes: while somebody sends datagrams of one, or of none, it would
        read on for a second, or for ever, and no timer would ring.
        """
        cast(_Bounded, self.transport).maxThroughput = 0
        self._is_held = True

    def _take_what_waits(self, read: Read) -> None:
        """
        Take what came together with a datagram, without a call of Twisted's each.

        Whatever is wrong with the socket Twisted finds out when it reads next.
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
            self._wake()

    def _set_aside(self, datagram: bytes, address: Address) -> None:
        """Keep what is not play until play was answered, if there is room."""
        if self._server.is_known(address):
            if len(self._known) < self._shares.known:
                self._known.append((datagram, address))
            else:
                self.crowded_out += 1
        elif len(self._strangers) < self._shares.strangers:
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
            self._wake()

    def send_each(self, payloads: Iterable[tuple[Association, bytes]]) -> None:
        """
        Seal one payload for each of some peers; as `send`, and cheaper.

        :raises ValueError: one is empty or longer than its peer's ``max_payload``.
        """
        self._server.send_each(payloads)
        if not self._is_awake:
            self._wake()

    def close(self, association: Association) -> None:
        """Say close_notify to one peer; makes no event."""
        self._server.close(association, self._clock.seconds())
        self._wake()

    def _wake(self) -> None:
        if not self._is_awake and self._write is not None:
            self._is_awake, self._began = True, self._seconds()
            self._turn = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        # Awake until the end, so that what is sent meanwhile wakes nobody.
        self._reads_left = _MOST_READS
        try:
            self.flush()
            if self._known or self._strangers:
                self._hear_the_rest()
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
                before, self._heard = self._heard, self._server.datagrams_in
                self._reader.turned(self._heard - before, took, ended)
            if self._write is not None:
                server = self._server
                if server.has_moved:
                    # Not for play, which only ever moves deadlines away.
                    server.has_moved = False
                    self._alarm.arm()
                if server.events or server.datagrams or self._known or self._strangers:
                    self._wake()

    def _hear_the_rest(self) -> None:
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
        self._tell_pressure()

    def _tell_pressure(self) -> None:
        pressure = self._server.admission.pressure
        if pressure.is_high is self._is_pressed:
            return
        self._is_pressed = pressure.is_high
        if self._is_pressed:
            self._log.warn("a flood of junk: strangers may ask less until it is over")
        else:
            self._log.info("the flood of junk is over: strangers may ask as before")

    def flush(self) -> None:
        """Deliver and send what there is, now; for a process about to exit."""
        server = self._server
        while True:
            events, server.events = server.events, []
            if events or server.has_received:
                server.has_received = False
                self._deliver(events)
            if not server.events:
                break
        # As `DtlsServer.take_datagrams`, and written out: most turns are one input's.
        datagrams, server.datagrams = server.datagrams, []
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
                # A full buffer or an unreachable address: to the peer it is one
                # more lost datagram, and the next one may pass.
                self.unsendable += 1

    def _put(self, datagram: bytes, address: Address) -> None:
        if self._write is not None:
            try:
                self._write(datagram, address)
            except (OSError, MessageLengthError):
                self.unsendable += 1

    def _ring(self) -> None:
        self._server.alarm(self._clock.seconds())
        self._tell_pressure()
        self._wake()
