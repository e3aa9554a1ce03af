"""
The client's end of one DTLS association.

The server's certificate is verified with OpenSSL (chain, validity) and
service-identity (name) before any payload is sent or accepted.
"""

from __future__ import annotations

from service_identity import VerificationError
from service_identity.exceptions import CertificateError
from service_identity.pyopenssl import verify_hostname

from vinom.net.dtls.channel import (
    LONGEST_DATAGRAM,
    ChannelBroken,
    Connected,
    Disconnected,
    DtlsChannel,
    Ending,
    Received,
    Unknown,
)
from vinom.net.dtls.context import client_context
from vinom.net.dtls.records import APPLICATION_DATA, NOT_ASSOCIATED

_APPLICATION_DATA = bytes((APPLICATION_DATA,))


class DtlsClient:
    """
    Shake hands with one server, then open and seal.

    Times are seconds on the caller's clock.

    :ivar server_name: the name that the server's certificate must have.
    :ivar max_payload: longest payload of one record, bytes; 0 until connected.
    :ivar is_open: whether payloads can pass.
    """

    def __init__(
        self,
        server_name: str,
        authority_pem: bytes,
        now: float,
        *,
        idle: float = 30.0,
        timeout: float = 10.0,
        mtu: int = 1200,
    ) -> None:
        """
        Prepare; `start` sends the first flight.

        :param server_name: the name that the certificate must have; it carries the
            ticket.
        :param authority_pem: the trust anchors, PEM.
        :param now: the time.
        :param idle: silence after which the association ends, seconds.
        :param timeout: longest handshake, seconds.
        :param mtu: longest datagram sent, bytes.
        :raises Misconfigured: the trust anchors cannot be read.
        """
        self.server_name = server_name
        self.max_payload = 0
        self.is_open = False
        self._channel = DtlsChannel(client_context(authority_pem), mtu)
        self._idle, self._timeout = idle, timeout
        self._began = self._received_at = now
        self._is_over = False
        self._events: list[ClientEvent] = []
        self._datagrams: list[bytes] = []
        self._has_unsent = False

    def start(self, now: float) -> None:
        """Send the ClientHello."""
        self._began = self._received_at = now
        self._datagrams += self._channel.open_as_client(self.server_name, now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take a datagram from the server's address."""
        if self._is_over or not 0 < len(datagram) <= LONGEST_DATAGRAM:
            return
        if datagram == NOT_ASSOCIATED:
            if self.is_open:
                self._events.append(Unknown(self))
        elif self.is_open:
            self._open_records(datagram, now)
        else:
            self._shake(datagram, now)

    def _shake(self, datagram: bytes, now: float) -> None:
        channel = self._channel
        try:
            self._datagrams += channel.handshake(datagram, now)
        except ChannelBroken as error:
            self._end("certificate" if error.is_mistrust else "failed")
            return
        if not channel.is_finished:
            return
        try:
            verify_hostname(channel.connection, self.server_name)
        except (VerificationError, CertificateError):
            self._end("certificate")
            return
        self._received_at = now
        self.is_open = True
        self.max_payload = channel.max_payload
        self._events.append(Connected(self))
        # The server's first payloads may have overtaken its last flight.
        self._open_records(b"", now)

    def _open_records(self, datagram: bytes, now: float) -> None:
        payloads: list[bytes] = []
        ending = self._channel.receive(datagram, payloads)
        if payloads:
            self._received_at = now
            for payload in payloads:
                self._events.append(Received(self, payload))
        if ending is not None:
            self._end(ending)
        elif datagram[:1] != _APPLICATION_DATA:
            # The server may not have received our last flight.
            self._datagrams += self._channel.flush()

    def send(self, payload: bytes) -> None:
        """
        Seal *payload*; does nothing before and after the association.

        :raises ValueError: it is empty or longer than ``max_payload``.
        """
        if not self.is_open:
            return
        try:
            self._channel.send(payload)
            self._has_unsent = True
        except ChannelBroken:
            self._end("failed")

    def close(self, now: float) -> None:
        """Send close_notify; makes no event."""
        del now  # the server repeats its goodbye, a client does not
        self._end(None)

    def _end(self, reason: Ending | None) -> None:
        """Stop; *reason* is ``None`` if our own side closes."""
        if self._is_over:
            return
        self.is_open, self._is_over = False, True
        if reason == "failed":
            # The two OpenSSLs disagree, so the peer could not read a goodbye.
            self._datagrams += self._channel.flush()
        else:
            self._datagrams += self._channel.close()
        self._has_unsent = False
        if reason is not None:
            self._events.append(Disconnected(self, reason))

    def alarm(self, now: float) -> None:
        """Do what is due: repeat a flight, or give up."""
        if self._is_over:
            return
        if self.is_open:
            if now >= self._received_at + self._idle:
                self._end("idle")
        elif now >= self._began + self._timeout:
            self._end("timeout")
        else:
            self._datagrams += self._channel.resend_due(now)

    def deadline(self) -> float | None:
        """When to call `alarm`; every payload received moves it."""
        if self._is_over:
            return None
        if self.is_open:
            return self._received_at + self._idle
        expiry = self._began + self._timeout
        resend = self._channel.deadline()
        return expiry if resend is None else min(resend, expiry)

    def take_events(self) -> list[ClientEvent]:
        """Return what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def take_datagrams(self) -> list[bytes]:
        """Return the datagrams to send to the server."""
        if self._has_unsent:
            self._has_unsent = False
            self._datagrams += self._channel.flush()
        datagrams, self._datagrams = self._datagrams, []
        return datagrams


ClientEvent = (
    Connected[DtlsClient]
    | Received[DtlsClient]
    | Unknown[DtlsClient]
    | Disconnected[DtlsClient]
)
