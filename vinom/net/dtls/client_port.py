"""A client's UDP port that speaks DTLS; it has one peer, so it delivers at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from vinom.base.reactor.alarm import Alarm
from vinom.net.dtls.admission import Address
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.port import IDatagramFilter, Write


class ClientPort(DatagramProtocol):
    """
    One connection to one server: a connected UDP socket around a `DtlsClient`.
    """

    transport: IUDPTransport
    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        client: DtlsClient,
        host: str,
        port: int,
        deliver: Callable[[list[ClientEvent]], None],
        refused: Callable[[], None],
        datagram_filter: IDatagramFilter | None = None,
    ) -> None:
        """
        Prepare; listening with this protocol starts the handshake.

        :param clock: the time, and timed calls.
        :param client: the DTLS end; this port feeds and empties it.
        :param host: the server's address, not a name.
        :param port: its UDP port.
        :param deliver: gets the events at once.
        :param refused: called if the operating system reports that nothing listens
            there (ICMP), or closes the socket; the port may already be closed.
        :param datagram_filter: stands between this port and the network.
        """
        self._clock = clock
        self._client = client
        self._address = (host, port)
        self._deliver = deliver
        self._refused = refused
        self._filter = datagram_filter
        self._alarm = Alarm(clock, client.deadline, self._alarmed)
        self._write: Write | None = None
        self._is_stopped = False

    def startProtocol(self) -> None:
        self.transport.connect(*self._address)
        self._write = self.transport.write
        self._client.start(self._clock.seconds())
        self.flush()

    def stopProtocol(self) -> None:
        self._write = None
        self._alarm.stop()
        if not self._is_stopped:
            # We did not close it. Linux's poll and epoll report a refusal as an
            # error with nothing to read. Twisted takes that for the socket's end
            # and never calls `connectionRefused`.
            self._is_stopped = True
            self._refused()

    def connectionRefused(self) -> None:
        if not self._is_stopped:
            self._refused()

    def datagramReceived(self, datagram: bytes, address: Address) -> None:
        if self._filter is None:
            self._take(datagram, address)
        else:
            self._filter.incoming(datagram, address, self._take)

    def _take(self, datagram: bytes, address: Address) -> None:
        if self._is_stopped:
            return
        self._client.receive(datagram, self._clock.seconds())
        self.flush()

    def send(self, payload: bytes) -> None:
        """Seal *payload*; `flush` sends it (as does the next datagram)."""
        self._client.send(payload)

    def close(self) -> None:
        """Send close_notify and close the socket; nothing more is received."""
        if self._is_stopped:
            return
        self._client.close(self._clock.seconds())
        self.flush()
        self._is_stopped = True
        self._alarm.stop()
        if self._filter is not None and self._filter.longest_hold:
            self._clock.callLater(self._filter.longest_hold, self._hang_up)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._write is not None:
            self.transport.stopListening()

    def flush(self) -> None:
        """Deliver all events and send all datagrams."""
        while events := self._client.take_events():
            self._deliver(events)
        for datagram in self._client.take_datagrams():
            if self._filter is None:
                self._put(datagram, self._address)
            else:
                self._filter.outgoing(datagram, self._address, self._put)
        if not self._is_stopped:
            self._alarm.arm()

    def _put(self, datagram: bytes, address: Address) -> None:
        if self._write is None:
            return
        # A failure here has the same effect as a datagram lost on the way.
        with suppress(OSError, MessageLengthError):
            self._write(datagram, address)

    def _alarmed(self) -> None:
        self._client.alarm(self._clock.seconds())
        self.flush()
