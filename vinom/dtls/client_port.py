"""A client's UDP port, which wears DTLS and hands on at once: it has one peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from vinom.dtls.admission import Address
from vinom.dtls.client import ClientEvent, DtlsClient
from vinom.dtls.port import IDatagramFilter, Write
from vinom.reactor.alarm import Alarm


class ClientPort(DatagramProtocol):
    """
    Play on one server: a connected UDP socket around a `DtlsClient`.

    :param host: the server's address, not a name.
    :param deliver: gets the events, as they come.
    :param refused: called when the operating system says that nobody listens
        there (ICMP), or took the socket away; the port may be closed by then.
    :param datagram_filter: stands between this port and the network.
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
        self._clock = clock
        self._client = client
        self._address = (host, port)
        self._deliver = deliver
        self._refused = refused
        self._filter = datagram_filter
        self._alarm = Alarm(clock, client.deadline, self._ring)
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
            # Nobody asked for it. Linux's poll and epoll report a refusal as an
            # error without anything to read, which Twisted takes for the
            # socket's end and so never calls `connectionRefused`.
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
        """Say close_notify and close the socket; nothing is taken any more."""
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
        """Deliver and send what there is."""
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
        # What fails here is as good as lost on the way.
        with suppress(OSError, MessageLengthError):
            self._write(datagram, address)

    def _ring(self) -> None:
        self._client.alarm(self._clock.seconds())
        self.flush()
