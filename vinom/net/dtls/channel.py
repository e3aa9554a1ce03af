"""
One end of one DTLS association: OpenSSL, fed and emptied in datagrams.

`DtlsChannel` shakes hands, and keeps datagram borders. A memory BIO is a stream, so its
output is cut at record headers. OpenSSL repeats lost flights by its own timer on the
real clock (first after a second), so the last flight is kept here and repeated sooner,
on the caller's clock.

`Memory` is the connection's pair of BIOs, with the four calls that every record needs.
pyOpenSSL's methods allocate a buffer and wrap their argument on each call, which costs
as much as sealing a small record. `DirectMemory` calls the same functions of the same
library with plain bytes and one shared buffer. It uses pyOpenSSL's private attributes;
if they do not exist, `PublicMemory` uses the public methods. Decision 0018.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

from OpenSSL import SSL

from vinom.net.dtls.events import Ending
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

#: Longest plaintext read from a record at once, bytes.
LONGEST_PLAINTEXT = 2048
_MOST = 16 * 1024

try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib
except ImportError:
    _ffi = _lib = None


class Memory(Protocol):
    """One connection between two memory BIOs."""

    def put(self, datagram: bytes) -> None:
        """Write a *datagram* from the peer into it."""

    def open(self) -> bytes:
        """
        Take the payload of the next record.

        :raises OpenSSL.SSL.Error: there is none now, or the connection is over.
        """

    def open_one(self, datagram: bytes) -> bytes:
        """
        Write a datagram of one record, and take that record's payload.

        :raises OpenSSL.SSL.Error: as `open`.
        """

    def seal(self, payload: bytes) -> None:
        """
        Make a record.

        :raises OpenSSL.SSL.Error: the connection is over.
        """

    def seal_one(self, payload: bytes) -> bytes:
        """
        Make a record, and take all bytes for the peer.

        :raises OpenSSL.SSL.Error: as `seal`.
        """

    def take(self) -> bytes:
        """Take all bytes for the peer; empty if there are none."""


class PublicMemory:
    """`Memory` through pyOpenSSL's public methods."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        """
        Wrap a connection.

        :param connection: one with memory BIOs.
        """
        self._connection = connection

    def put(self, datagram: bytes) -> None:
        self._connection.bio_write(datagram)

    def open(self) -> bytes:
        return self._connection.recv(LONGEST_PLAINTEXT)

    def open_one(self, datagram: bytes) -> bytes:
        self.put(datagram)
        return self.open()

    def seal(self, payload: bytes) -> None:
        self._connection.send(payload)

    def seal_one(self, payload: bytes) -> bytes:
        self.seal(payload)
        return self.take()

    def take(self) -> bytes:
        taken = b""
        try:
            while True:
                taken += self._connection.bio_read(_MOST)
        except SSL.WantReadError:
            return taken


class DirectMemory:
    """
    `Memory` through OpenSSL's functions.
    """

    __slots__ = ("_fail", "_in", "_keep", "_out", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        """
        Wrap a connection.

        :param connection: one with memory BIOs.
        :raises AttributeError: this pyOpenSSL has other private names.
        """
        inside: Any = connection
        self._keep = connection
        self._ssl, self._in, self._out = inside._ssl, inside._into_ssl, inside._from_ssl
        self._fail = inside._raise_ssl_error

    def put(self, datagram: bytes) -> None:
        size = len(datagram)
        if _BIO_write(self._in, datagram, size) != size:
            raise SSL.Error("a memory BIO is full")

    def open(self) -> bytes:
        size = _SSL_read(self._ssl, _buffer, LONGEST_PLAINTEXT)
        if size <= 0:
            self._fail(self._ssl, size)
        opened: bytes = _inside[:size]
        return opened

    def open_one(self, datagram: bytes) -> bytes:
        # `put` and `open` written out: this runs for each input.
        size = len(datagram)
        if _BIO_write(self._in, datagram, size) != size:
            raise SSL.Error("a memory BIO is full")
        size = _SSL_read(self._ssl, _buffer, LONGEST_PLAINTEXT)
        if size <= 0:
            self._fail(self._ssl, size)
        opened: bytes = _inside[:size]
        return opened

    def seal(self, payload: bytes) -> None:
        result = _SSL_write(self._ssl, payload, len(payload))
        if result <= 0:
            self._fail(self._ssl, result)

    def seal_one(self, payload: bytes) -> bytes:
        # `seal` and `take` written out: this runs for each state.
        result = _SSL_write(self._ssl, payload, len(payload))
        if result <= 0:
            self._fail(self._ssl, result)
        size = _BIO_read(self._out, _buffer, _MOST)
        if 0 < size < _MOST:
            taken: bytes = _inside[:size]
            return taken
        return b"" if size <= 0 else _inside[:size] + self.take()

    def take(self) -> bytes:
        size = _BIO_read(self._out, _buffer, _MOST)
        if size <= 0:
            return b""
        taken: bytes = _inside[:size]
        return taken if size < _MOST else taken + self.take()


if _lib is not None:
    _BIO_read, _BIO_write = _lib.BIO_read, _lib.BIO_write
    _SSL_read, _SSL_write = _lib.SSL_read, _lib.SSL_write
    # One for all connections: each read is copied out before the next one.
    _buffer = _ffi.new("char[]", _MOST)
    # Slices of it are bytes, and cost half as much as `unpack`.
    _inside = _ffi.buffer(_buffer)


def memory_of(connection: SSL.Connection) -> Memory:
    """Return the fastest `Memory` that this pyOpenSSL supports."""
    try:
        return DirectMemory(connection)
    except (AttributeError, NameError):
        return PublicMemory(connection)


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


class ChannelClosed(Exception):
    """The peer sent its close_notify, after the payloads already returned."""


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
        "_connection",
        "_delay",
        "_early",
        "_flight_at",
        "_mtu",
        "_resend_at",
        "_shortest",
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
        self._connection = SSL.Connection(context, None)
        self._connection.set_ciphertext_mtu(mtu)
        self.memory = memory_of(self._connection)
        self._mtu = mtu
        self.flight: list[bytes] = []
        self._flight_at = 0.0
        self._early = _EARLY
        self._shortest = SHORTEST_SEALED
        self._delay = FIRST_RESEND
        self._resend_at: float | None = None
        self.is_finished = False
        self.max_payload = 0

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's object, for reading its state; use `DtlsChannel` to feed it."""
        return self._connection

    def open_as_client(self, server_name: str, now: float) -> list[bytes]:
        """Begin; returns the first flight."""
        self._connection.set_connect_state()
        self._connection.set_tlsext_host_name(server_name.encode("ascii"))
        self._step()
        return self._keep(now)

    def open_as_server(self, hello: bytes, now: float) -> list[bytes]:
        """
        Answer a ClientHello whose cookie was checked; returns our flight.

        :raises ChannelBroken: the hello asks for something we do not support.
        """
        self._connection.set_accept_state()
        self._connection.bio_write(hello)
        try:
            self._connection.DTLSv1_listen()
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
        before = self._connection.get_state_string()
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
        before = self._connection.get_state_string()
        self._forget_timeout()
        if plain:
            self._feed(plain)
        if sealed and self._connection.get_state_string() != _HAS_KEYS:
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
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise ChannelBroken(error) from error
        self.memory.take()

    def _feed(self, records: bytes) -> None:
        self._connection.bio_write(records)
        self._step()

    def _advanced(self, before: bytes, now: float) -> list[bytes]:
        if self._connection.get_state_string() != before:
            self._delay = FIRST_RESEND
        return self._keep(now)

    def _step(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise ChannelBroken(error) from error
        self.is_finished = True
        if "CHACHA20" in (self._connection.get_cipher_name() or ""):
            self._shortest = SHORTEST_WITHOUT_NONCE
        self.max_payload = self._connection.get_cleartext_mtu()

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

    def receive(self, datagram: bytes, payloads: list[bytes]) -> None:
        """
        Open the records of a datagram into *payloads*.

        Forged records and copies add nothing.

        :param datagram: empty for records that arrived with the end of the
            handshake, or before it.
        :param payloads: the list to add to.
        :raises ChannelClosed: the peer sent close_notify.
        :raises ChannelBroken: OpenSSL gave up on the peer.
        """
        memory = self.memory
        try:
            if is_one_record(datagram):
                if len(datagram) < RECORD_HEADER + self._shortest:
                    return
                # There is only one payload; asking for a second one would cost as
                # much as the first.
                payloads.append(memory.open_one(datagram))
                return
            if datagram := without_short_records(datagram, self._shortest):
                memory.put(datagram)
            while True:
                payloads.append(memory.open())
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            raise ChannelClosed from None
        except SSL.Error as error:
            raise ChannelBroken(error) from error

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
                self._connection.shutdown()
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
            self._connection.DTLSv1_handle_timeout()
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
