"""
One end of one DTLS association: OpenSSL, fed and emptied in datagrams.

`DtlsChannel` shakes hands, and keeps datagram borders. A memory BIO is a stream, so its
output is cut at record headers. OpenSSL repeats lost flights by its own timer on the
real clock (first after a second), so the last flight is kept here and repeated sooner,
on the caller's clock.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, Literal, TypeVar

from msgspec import Struct
from OpenSSL import SSL

from vinom.net.dtls.records import (
    HANDSHAKE,
    RECORD_HEADER,
    SHORTEST_SEALED,
    SHORTEST_WITHOUT_NONCE,
    client_records,
    cut_datagrams,
    is_one_record,
    without_plaintext_alerts,
    without_repeated_hello,
    without_short_records,
)
from vinom.net.openssl import memory_of

#: Where the event happened: an `Association`, or the `DtlsClient`.
End = TypeVar("End")

#: Why an association is over. ``closed``: the peer closed it; ``idle``: nothing was
#: received; ``replaced``: the same address finished a newer handshake; ``failed``:
#: OpenSSL gave up; ``timeout``: the handshake took too long;
#: ``certificate``: it is not the server that was asked for.
Ending = Literal["closed", "idle", "replaced", "failed", "timeout", "certificate"]


# msgspec Structs, because one of these is made for every record: a frozen
# attrs class takes five times as long.
class Connected(Struct, Generic[End], frozen=True):
    """The handshake is finished; payloads may be sent."""

    association: End


class Received(Struct, Generic[End], frozen=True, gc=False):
    """One record's payload arrived: genuine, never twice, in any order."""

    association: End
    payload: bytes


class Unknown(Struct, Generic[End], frozen=True):
    """
    The server may not know the association, because its process was replaced.

    Anybody may have sent this: ask the server something before you believe it.
    """

    association: End


class Disconnected(Struct, Generic[End], frozen=True):
    """The association is over; no more payloads pass in either direction."""

    association: End
    reason: Ending


#: Longest datagram read, bytes. DTLS stacks send no longer flights.
LONGEST_DATAGRAM = 2048

#: First repetition of an unanswered flight, seconds; then doubled each time.
FIRST_RESEND = 0.25
_LAST_RESEND = 1.0

#: Least time between two repetitions of a flight that the peer asks for, seconds:
#: otherwise every spoofed datagram would be answered with a kilobyte.
_RESEND_GAP = 0.1

#: Encrypted records that arrive before the client's keys are known, and are passed on:
#: OpenSSL keeps up to a hundred of them, each in a buffer of 17 kB.
_EARLY = 4
#: OpenSSL's name for the state in which a server reads encrypted records.
_HAS_KEYS = b"SSLv3/TLS read change cipher spec"

#: What `DtlsChannel.memory` raises; see `ending_of`.
RecordError = SSL.Error


class ChannelBroken(Exception):
    """
    OpenSSL gave up; `flush` returns its alert for the peer.

    :ivar is_mistrust: whether the peer's certificate is the reason.
    """

    def __init__(self, error: SSL.Error) -> None:
        super().__init__(str(error))
        self.is_mistrust = "certificate verify failed" in str(error)


def ending_of(error: RecordError) -> Ending | None:
    """Return how *error* ends the association; ``None`` if it does not."""
    if isinstance(error, SSL.WantReadError):
        return None
    return "closed" if isinstance(error, SSL.ZeroReturnError) else "failed"


class DtlsChannel:
    """
    One OpenSSL connection, fed and emptied in datagrams.

    Times are seconds on the caller's clock.

    :ivar is_finished: whether the handshake is finished, so that payloads can pass.
    :ivar max_payload: longest payload of one record, bytes; 0 before that.
    :ivar memory: for the usual case, without the steps of `receive`, and of `send`
        and `flush`: its `open_one` takes a datagram that `is_one_record`, its
        `seal_one` a payload that is neither empty nor too long; both raise
        `RecordError`.
    :ivar flight: the last flight, while the peer may not have received it.
    """

    __slots__ = (
        "_delay",
        "_early",
        "_flight_at",
        "_mtu",
        "_resend_at",
        "_shortest",
        "connection",
        "flight",
        "is_finished",
        "max_payload",
        "memory",
    )

    def __init__(self, context: SSL.Context, mtu: int) -> None:
        """
        Make a connection that has sent nothing.

        :param context: the settings of the server's or the client's end.
        :param mtu: longest datagram to send, bytes.
        """
        self.connection = SSL.Connection(context, None)
        self.connection.set_ciphertext_mtu(mtu)
        self.memory = memory_of(self.connection)
        self._mtu = mtu
        self.flight: list[bytes] = []
        self._flight_at = 0.0
        self._early = _EARLY
        self._shortest = SHORTEST_SEALED
        self._delay = FIRST_RESEND
        self._resend_at: float | None = None
        self.is_finished = False
        self.max_payload = 0

    def open_as_client(self, server_name: str, now: float) -> list[bytes]:
        """Begin; returns the first flight."""
        self.connection.set_connect_state()
        self.connection.set_tlsext_host_name(server_name.encode("ascii"))
        self._step()
        return self._keep(now)

    def open_as_server(self, hello: bytes, now: float) -> list[bytes]:
        """
        Answer a ClientHello whose cookie was checked; returns our flight.

        :raises ChannelBroken: the hello asks for something we do not support.
        """
        self.connection.set_accept_state()
        self.connection.bio_write(hello)
        try:
            self.connection.DTLSv1_listen()
        except SSL.Error as error:
            raise ChannelBroken(error) from error
        self._step()
        return self._keep(now)

    def handshake(self, datagram: bytes, now: float) -> list[bytes]:
        """
        Feed a datagram of the server's handshake; returns what to send.

        Afterwards `is_finished` is true if it was the last one.

        :raises ChannelBroken: OpenSSL gave up on the peer.
        """
        datagram = without_plaintext_alerts(datagram)
        if not datagram:
            return []
        before = self.connection.get_state_string()
        self._forget_timeout()
        self._feed(datagram)
        return self._advanced(before, now)

    def handshake_with_client(self, datagram: bytes, now: float) -> list[bytes] | None:
        """
        Feed a datagram of a client's handshake, as `handshake`.

        :returns: what to send; ``None`` if nothing in the datagram is of a client.
        :raises ChannelBroken: OpenSSL gave up on the peer.
        """
        plain, sealed = client_records(datagram)
        if not (plain or sealed):
            return None
        before = self.connection.get_state_string()
        self._forget_timeout()
        if plain:
            self._feed(plain)
        if sealed and self.connection.get_state_string() != _HAS_KEYS:
            sealed = sealed[: self._early]
            self._early -= len(sealed)
        if sealed:
            self._feed(b"".join(sealed))
        return self._advanced(before, now)

    def _forget_timeout(self) -> None:
        # If its own timer has expired, OpenSSL sends its last flight again when it
        # reads, in front of the next one. Let it do so before it reads, and drop that:
        # we repeat flights ourselves. It can still expire in between, which is why
        # `flush` drops a hello in front of something else.
        try:
            self.connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise ChannelBroken(error) from error
        self.memory.take()

    def _feed(self, records: bytes) -> None:
        self.connection.bio_write(records)
        self._step()

    def _advanced(self, before: bytes, now: float) -> list[bytes]:
        if self.connection.get_state_string() != before:
            self._delay = FIRST_RESEND
        return self._keep(now)

    def _step(self) -> None:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise ChannelBroken(error) from error
        self.is_finished = True
        if "CHACHA20" in (self.connection.get_cipher_name() or ""):
            self._shortest = SHORTEST_WITHOUT_NONCE
        self.max_payload = self.connection.get_cleartext_mtu()

    def _keep(self, now: float) -> list[bytes]:
        """Take what OpenSSL wrote; keep it, in case it is lost on the way."""
        flight = self.flush()
        if flight:
            self.flight = flight
            self._flight_at = now
        if self.is_finished:
            # The end that finishes last cannot know whether its flight arrived, and
            # the other one needs no answer: the timer stops for both.
            self._resend_at = None
        elif flight:
            self._resend_at = now + self._delay
        return flight

    def receive(self, datagram: bytes, payloads: list[bytes]) -> Ending | None:
        """
        Open the records of a datagram into *payloads*.

        Forged records and copies add nothing.

        :param datagram: empty for records that arrived with the end of the
            handshake, or before it.
        :param payloads: the list to add to.
        :returns: how the association ends behind them; ``None`` if it does not.
        """
        memory = self.memory
        try:
            if is_one_record(datagram):
                # There is only one payload; asking for a second one would cost as
                # much as the first.
                if len(datagram) >= RECORD_HEADER + self._shortest:
                    payloads.append(memory.open_one(datagram))
                return None
            if datagram := without_short_records(datagram, self._shortest):
                memory.put(datagram)
            while True:
                payloads.append(memory.open())
        except RecordError as error:
            return ending_of(error)

    def send(self, *payloads: bytes) -> None:
        """
        Seal each of *payloads* as one record; `flush` hands them out.

        :raises ValueError: one is empty or longer than ``max_payload``.
        :raises ChannelBroken: OpenSSL gave up.
        """
        most, seal = self.max_payload, self.memory.seal
        try:
            for payload in payloads:
                if not 0 < len(payload) <= most:
                    raise ValueError(
                        f"a payload must have 1 to {most} bytes, not {len(payload)}"
                    )
                seal(payload)
        except SSL.Error as error:
            raise ChannelBroken(error) from error

    def close(self) -> list[bytes]:
        """Send close_notify if the handshake is finished; returns what to send."""
        if self.is_finished:
            # If it broke before, it ends without close_notify.
            with suppress(SSL.Error):
                self.connection.shutdown()
        return self.flush()

    def flush(self) -> list[bytes]:
        """Take the bytes to send, in datagrams of whole records."""
        wrote = self.memory.take()
        if wrote and wrote[0] == HANDSHAKE:
            wrote = without_repeated_hello(wrote)
        if len(wrote) <= self._mtu:
            return [wrote] if wrote else []
        return cut_datagrams(wrote, self._mtu)

    def deadline(self) -> float | None:
        """When to call `resend_due`; ``None`` if no flight waits for an answer."""
        return self._resend_at

    def resend_due(self, now: float) -> list[bytes]:
        """Repeat the last flight if it has been unanswered for too long."""
        if self._resend_at is None or now < self._resend_at:
            return []
        self._delay = min(2 * self._delay, _LAST_RESEND)
        self._resend_at = now + self._delay
        # OpenSSL goes first: its copies have new record numbers. A peer that took
        # a record out of order and then could not use it needs them.
        with suppress(SSL.Error):
            self.connection.DTLSv1_handle_timeout()
        self.flight = self.flush() or self.flight
        self._flight_at = now
        return self.flight

    def resend_asked(self, now: float) -> list[bytes]:
        """Repeat the last flight because the peer seems to have missed it."""
        if now < self._flight_at + _RESEND_GAP:
            return []
        self._flight_at = now
        return self.flight

    def forget_flight(self) -> None:
        """Drop the last flight: the peer has received it."""
        self.flight = []
