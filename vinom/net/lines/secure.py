"""
TLS between a transport and a protocol, read and written as directly as plain bytes.

It behaves as Twisted's ``TLSMemoryBIOProtocol`` does for a server, and a property test
compares the two. It is faster: a segment that is one whole record takes one call, what
it sends during the handshake goes to the socket at once, and a WebSocket seals its
frames here and sends them itself. Source: decision 0036.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHandshakeListener,
    INegotiated,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.direct import socket_under
from vinom.net.openssl import Memory, memory_of

#: Bytes of a record's head: its type, a version, and the length of what follows.
_HEAD = 5
#: Most data of one record, bytes, and the type of those with data (RFC 8446, 5.1).
_RECORD_LIMIT = 16 * 1024
_DATA = 23


@implementer(ISSLTransport, ITCPTransport, ISystemHandle, INegotiated, IPushProducer)
class SecureTransport:
    """
    A server's end of one TLS connection: protocol below, transport above.

    :param factory: made it; gives what makes OpenSSL's end, when the first bytes come.
    :param protocol: gets the data.
    :ivar transport: what the records go to.
    :ivar wrappedProtocol: gets the data; whoever takes the connection over sets it.
    :ivar is_untouched: all that was sent went to the socket at once, so that nothing
        waits in *transport*.
    """

    __slots__ = (
        "__weakref__",
        "_head",
        "_is_aborted",
        "_is_between",
        "_is_lost",
        "_is_shaken",
        "_memory",
        "_missing",
        "_outlet",
        "_producer",
        "_reason",
        "_send",
        "_waiting",
        "connected",
        "disconnecting",
        "factory",
        "is_untouched",
        "transport",
        "wrappedProtocol",
    )

    def __init__(self, factory: SecureFactory, protocol: Any) -> None:
        self.factory = factory
        self.wrappedProtocol: Any = protocol
        self.transport: Any = None
        self.connected = 0
        self.disconnecting = False
        self.is_untouched = True
        self._memory: Memory | None = None
        self._is_shaken = self._is_lost = self._is_aborted = False
        self._reason: Failure | None = None
        self._producer: Any = None
        # The handshake is done, and nothing of a record is held.
        self._is_between = False
        # Of the record that is not whole yet: how many bytes are missing, or the
        # piece of its head.
        self._missing, self._head = 0, b""
        # What was written before the handshake was done.
        self._waiting: list[bytes] = []
        self._send: Callable[[bytes], int] | None = None
        self._outlet: Callable[[bytes], None] = self._send_early

    # What the transport below reports (IProtocol).

    def makeConnection(self, transport: Any) -> None:
        """Begin; the client speaks first."""
        self.transport, self.connected = transport, 1
        below = socket_under(transport)
        if below is not None:
            self._send = below.send
        self.wrappedProtocol.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if (
            # Most of what comes is just one record, whole.
            self._is_between
            and data[0] == _DATA
            and len(data) > _HEAD
            and (data[3] << 8 | data[4]) + _HEAD == len(data)
        ):
            try:
                plain = self._memory.open_one(data)  # type: ignore[union-attr]
            except SSL.Error as error:
                if self._judge(error):
                    self._flush()
                else:
                    self._read_all()
            else:
                self.wrappedProtocol.dataReceived(plain)
            return
        self._receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection below is over."""
        if not self._is_lost:
            memory = self._memory or self._begin()
            memory.connection.bio_shutdown()
            self._read_all()
            self._is_lost = True
        self._is_between = False
        reason, self._reason = self._reason or reason, None
        self.connected = 0
        self.wrappedProtocol.connectionLost(reason)
        # They know each other.
        self._memory, self._outlet = None, _drop

    # What the protocol above asks (ITransport and its relatives).

    def write(self, data: bytes) -> None:
        """Send *data*; after `loseConnection` only a producer may."""
        if self._is_lost or (self.disconnecting and self._producer is None):
            return
        if not self._is_shaken or self._waiting:
            self._waiting.append(data)
            if self._producer is not None:
                self._producer.pauseProducing()
            return
        self.is_untouched = False
        if sealed := self.seal(data):
            self.transport.write(sealed)

    def writeSequence(self, iovec: Any) -> None:
        """Send many at once."""
        self.write(b"".join(iovec))

    def seal(self, data: bytes) -> bytes:
        """
        Make the records that carry *data*, for a caller that sends them itself.

        Each must be sent, in order. None are made of nothing, or after the end.
        """
        if not data or self._is_lost or self._memory is None:
            return b""
        try:
            if len(data) <= _RECORD_LIMIT:
                return self._memory.seal_one(data)
            return b"".join(
                self._memory.seal_one(data[at : at + _RECORD_LIMIT])
                for at in range(0, len(data), _RECORD_LIMIT)
            )
        except SSL.Error:
            self._finish(Failure())
            return b""

    def direct(self, outlet: Callable[[bytes], None]) -> None:
        """
        Let a caller send what it seals; it sends what TLS itself has to say too.

        :param outlet: sends the answer to a key update, or the closing message.
        """
        self._outlet = outlet

    def loseConnection(self) -> None:
        """Close, once all is sent and the peer's own closing message came."""
        if self.disconnecting or not self.connected:
            return
        if not self._is_shaken and not self._waiting:
            # OpenSSL has no closing message for a handshake that is not done.
            self.abortConnection()
            return
        self.disconnecting = True
        if not self._waiting and self._producer is None:
            self._shut_down()

    def abortConnection(self) -> None:
        """End the connection at once."""
        self._is_aborted = self.disconnecting = True
        self._is_between = False
        if self._memory is not None:
            self._shut_down()
        self.transport.abortConnection()

    #: As readers are asked to by `vinom.base.reactor.turns`.
    abort = abortConnection

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause *producer* while the peer does not read, or the handshake lasts."""
        if self._is_lost:
            producer.stopProducing()
            return
        self.transport.registerProducer(producer, streaming)
        self._producer = producer

    def unregisterProducer(self) -> None:
        """The producer has no more."""
        if self._producer is None:
            return
        self._producer = None
        self.transport.unregisterProducer()
        if self.disconnecting and not self._waiting:
            self._shut_down()

    def getHandle(self) -> SSL.Connection | None:
        """Give OpenSSL's end, as Twisted's TLS does."""
        return None if self._memory is None else self._memory.connection

    def getPeerCertificate(self) -> Any:
        """Give the client's certificate: ``None``, for nobody asks for one."""
        handle = self.getHandle()
        return None if handle is None else handle.get_peer_certificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What both agreed to speak (ALPN)."""
        handle = self.getHandle()
        return (handle is not None and handle.get_alpn_proto_negotiated()) or None

    def __getattr__(self, name: str) -> Any:
        """
        Leave the rest to the transport below: addresses, TCP's options, and when to
        read; what was read already is still passed on.
        """
        return getattr(self.transport, name)

    def _begin(self) -> Memory:
        """Make OpenSSL's end: those who send nothing do not cost one."""
        tls: Any = self.factory.tls
        connection = tls.serverConnectionForTLS(self)
        connection.set_accept_state()
        self._memory = memory = memory_of(connection)
        return memory

    def _receive(self, data: bytes) -> None:
        """Take bytes that are anything but one whole record of data."""
        memory = self._memory or self._begin()
        if self._is_lost:
            return
        self._cut(data)
        memory.put(data)
        if not self._is_shaken:
            self._shake(memory)
            if not self._is_shaken:
                return
        if self._waiting:
            self._send_waiting()
        self._read_all()
        # Whoever was called may have ended it.
        self._is_between = not (
            self._missing or self._head or self._is_lost or self._is_aborted
        )

    def _cut(self, data: bytes) -> None:
        """Find out where the last record ends."""
        at, end = self._missing, len(data)
        if at < end and self._head:
            data, self._head = self._head + data, b""
            end = len(data)
        while end - at >= _HEAD:
            at += _HEAD + (data[at + 3] << 8 | data[at + 4])
        if at < end:
            self._missing, self._head = 0, data[at:]
        else:
            self._missing = at - end

    def _shake(self, memory: Memory) -> None:
        """Go on with the handshake."""
        if self._is_aborted:
            return
        try:
            memory.connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
        except SSL.Error:
            self._finish(Failure())
        else:
            self._is_shaken = True
            if IHandshakeListener.providedBy(self.wrappedProtocol):
                self.wrappedProtocol.handshakeCompleted()

    def _read_all(self) -> None:
        """Pass on all data that came, then send what OpenSSL answers."""
        while not self._is_lost and self._memory is not None:
            try:
                data = self._memory.open()
            except SSL.Error as error:
                if self._judge(error):
                    break
            else:
                if not self._is_aborted:
                    self.wrappedProtocol.dataReceived(data)
        self._flush()

    def _judge(self, error: SSL.Error) -> bool:
        """Act on why there was no data; is there just none yet?"""
        if isinstance(error, SSL.WantReadError):
            return True
        if isinstance(error, SSL.ZeroReturnError):
            self._shut_down()
            self._finish(None)
        else:
            self._finish(Failure(error))
        return False

    def _send_waiting(self) -> None:
        """The handshake is done: send what was written during it."""
        waiting, self._waiting = b"".join(self._waiting), []
        self.is_untouched = False
        if sealed := self.seal(waiting):
            self.transport.write(sealed)
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._shut_down()

    def _shut_down(self) -> None:
        """Send the closing message, or answer the peer's."""
        memory = self._memory
        if memory is None:
            return
        try:
            is_over = memory.connection.shutdown()
        except SSL.Error:
            # As in the middle of a handshake.
            is_over = False
        self._flush()
        if is_over:
            self.transport.loseConnection()

    def _finish(self, reason: Failure | None) -> None:
        """TLS is over: say why, if it is not the end below that does."""
        if reason is not None and _is_end(reason.value):
            reason = Failure(CONNECTION_LOST)
        if self._reason is None:
            self._reason = reason
        self._is_lost, self._is_between = True, False
        self._flush()
        self.transport.loseConnection()

    def _flush(self) -> None:
        """Send what OpenSSL itself wants sent."""
        if self._memory is not None and (data := self._memory.take()):
            self._outlet(data)

    def _send_early(self, data: bytes) -> None:
        """Send to the socket at once, as long as nothing can be before it."""
        sent = 0
        if self._send is not None and self.is_untouched:
            try:
                sent = self._send(data)
            except OSError:
                # No room; or the end, which the reactor will find in its own way.
                sent = 0
        if sent < len(data):
            self.is_untouched = False
            self.transport.write(data[sent:])


class SecureFactory(WrappingFactory):
    """
    Serve another factory's protocols over TLS.

    :param tls: makes OpenSSL's end of each connection.
    :param factory: makes the protocols.
    """

    noisy = False

    def __init__(
        self, tls: IOpenSSLServerConnectionCreator, factory: IProtocolFactory
    ) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # Twisted's
        self.tls = tls

    def buildProtocol(self, addr: Any) -> Any:
        return SecureTransport(self, self.wrappedFactory.buildProtocol(addr))


def over_tls(
    tls: IOpenSSLServerConnectionCreator,
    factory: IProtocolFactory,
    clock: Any,
    is_direct: bool = True,
) -> Any:
    """
    Serve a factory's protocols over TLS.

    :param clock: for Twisted's own TLS.
    :param is_direct: ``False`` uses Twisted's own.
    """
    if is_direct:
        return SecureFactory(tls, factory)
    return TLSMemoryBIOFactory(tls, False, factory, clock)


def _is_end(error: BaseException | None) -> bool:
    """Did the peer hang up without a closing message?"""
    if isinstance(error, SSL.SysCallError):
        words = str(error.args[1])
    elif isinstance(error, SSL.Error) and error.args and error.args[0]:
        words = str(error.args[0][-1][-1])
    else:
        # OpenSSL 4 gives no reason for this.
        return True
    return words.casefold().startswith("unexpected eof")


def _drop(data: bytes) -> None:
    """Nobody is there any more."""
