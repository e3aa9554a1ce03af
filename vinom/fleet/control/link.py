"""
Control links: frames between a node and its game servers.

Both ends send at once and directly. `ITransport.write` sends later, and if that fails,
it discards what the peer sent before it died. Here a link is read to its end, even if
sending fails.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from struct import Struct as Layout
from typing import Any
from typing import Protocol as Shape

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IFileDescriptorReceiver,
    IHandshakeListener,
    IReactorSocket,
    IReactorTime,
    IStreamClientEndpoint,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import Made
from vinom.base.wall.kernel import Peer, peer_of
from vinom.errors import PeerError
from vinom.fleet.control.messages import (
    AnyToNode,
    AnyToServer,
    Ready,
    RelayAction,
    RelayState,
    SeatChanged,
    ToNode,
    ToServer,
    decode_to_node,
    decode_to_server,
    encode,
)
from vinom.net.frames import FRAME_LIMIT, HEADER, FrameReader

_encode_into = msgspec.msgpack.Encoder().encode_into
_put_size = Layout("!I").pack_into

#: How long a game server may take to send `Ready`, seconds.
READY_SECONDS = 5.0

#: Most bytes that wait for a peer that does not read.
UNSENT_LIMIT = 4 * 1024 * 1024

#: What the socket of a link should hold for a peer that has no turn just now, bytes:
#: players wait while it is full. A system may grant less (net.core.wmem_max).
SOCKET_BYTES = 1024 * 1024
#: How soon a full socket is tried again, seconds.
_RETRY_SECONDS = 0.001


# A number, because flags of an enum take longer to join than to use.
_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _close(descriptors: Iterable[int]) -> None:
    for one in descriptors:
        os.close(one)


class _Link(Protocol):
    """One end of a control link: frames in, frames out."""

    transport: ITCPTransport
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        decode: Callable[[bytes], Any],
        received: Callable[[Any], None],
        caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Prepare.

        :param clock: for messages that must be sent later.
        :param decode: reads the peer's messages.
        :param received: called with each of them.
        :param caught_up: called when it is not behind any more.
        """
        self._clock, self._decode, self._received = clock, decode, received
        self._caught_up = caught_up
        self._frames = FrameReader()
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        # Open files on their way to the peer, each with how much goes before them: the
        # kernel may take a part of a message, and they go with its first byte.
        self._passed: deque[tuple[int, tuple[int, ...]]] = deque()
        self._retry: IDelayedCall | None = None
        self._soon: IDelayedCall | None = None
        self._is_open = False
        self._is_closing = False

    def connectionMade(self) -> None:
        self._is_open = True
        handle = (
            self.transport.getHandle()
            if ISystemHandle.providedBy(self.transport)
            else None
        )
        # Other transports (TLS, memory) send in their own way.
        self._socket = handle if isinstance(handle, socket.socket) else None
        if self._socket is not None:
            with suppress(OSError):
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES
                )

    def dataReceived(self, data: bytes) -> None:
        self._frames.receive(data)
        try:
            while self._is_open and (frame := self._frames.next_frame()) is not None:
                self._received(self._decode(frame))
        except PeerError as error:
            self._log.error("control link closed: {error}", error=error)
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_open = False
        self._forget_unsent()

    def abort(self) -> None:
        """Close at once; nothing more is received."""
        if self._is_open:
            self._is_open = False
            self._forget_unsent()
            self.transport.abortConnection()

    def close(self) -> None:
        """Close once everything that was passed to `send` has left."""
        self._is_closing = True
        if self._is_open and not self._unsent:
            self.transport.loseConnection()

    @property
    def is_lossy(self) -> bool:
        """Can what was sent be lost if this process dies now?"""
        # What is in a UNIX socket stays there until the peer has read it.
        return self._socket is None or self._socket.family != socket.AF_UNIX

    def is_behind(self) -> bool:
        """Does the peer not read what was sent?"""
        return self._retry is not None

    def _send(
        self,
        message: ToServer | ToNode,
        can_wait: bool = False,
        descriptors: tuple[int, ...] = (),
    ) -> None:
        if not self._is_open or self._is_closing:
            _close(descriptors)
            return
        frame = encode(message)
        if can_wait or descriptors:
            self._send_in_turn(frame, can_wait, descriptors)
        else:
            self._send_frames(frame)

    def _send_frames(self, frame: bytes | bytearray) -> None:
        if self._unsent or self._socket is None:
            self._send_in_turn(frame, False, ())
            return
        # Nothing waits: written out, because a checkpoint leaves for every state.
        try:
            sent = self._socket.send(frame, _FLAGS)
        except OSError:
            sent = 0
        if sent < len(frame):
            self._unsent += memoryview(frame)[sent:]
            self._flush(self._socket)

    def _send_in_turn(
        self,
        frame: bytes | bytearray,
        can_wait: bool,
        descriptors: tuple[int, ...],
    ) -> None:
        """Send a frame after what waits to be sent."""
        if self._socket is None:
            # Files cannot go to another machine.
            _close(descriptors)
            self.transport.write(bytes(frame))
            return
        if descriptors:
            self._passed.append((len(self._unsent), descriptors))
        self._unsent += frame
        if self._retry is not None:
            return
        if not can_wait:
            self._flush(self._socket)
        elif self._soon is None:
            self._soon = self._clock.callLater(0, self._flush_now, self._socket)

    def _flush_now(self, to: socket.socket) -> None:
        self._soon = None
        self._flush(to)

    def _flush(self, to: socket.socket) -> None:
        was_behind, self._retry = self._retry is not None, None
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        try:
            while self._unsent:
                sent = (
                    self._send_files(to)
                    if self._passed
                    else to.send(self._unsent, _FLAGS)
                )
                del self._unsent[:sent]
        except OSError:
            # The socket is full, or the kernel short of memory. Or the peer is gone:
            # its last messages may still be unread, and `connectionLost` comes.
            if len(self._unsent) > UNSENT_LIMIT:
                self._log.error("control link closed: the peer does not read")
                self.abort()
                return
            self._retry = self._clock.callLater(_RETRY_SECONDS, self._flush, to)
        if self._unsent:
            return
        if self._is_closing:
            self.transport.loseConnection()
        elif was_behind:
            self._caught_up()

    def _send_files(self, to: socket.socket) -> int:
        """Send what may go at once, with its files; returns how many bytes that was."""
        before, descriptors = self._passed[0]
        if before:
            sent = to.send(self._unsent[:before], _FLAGS)
        else:
            end = self._passed[1][0] if len(self._passed) > 1 else len(self._unsent)
            rights = array("i", descriptors)
            what = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            sent = to.sendmsg([self._unsent[:end]], what, _FLAGS)
            self._passed.popleft()
            _close(descriptors)
        self._passed = deque((at - sent, these) for at, these in self._passed)
        return sent

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        for _, descriptors in self._passed:
            _close(descriptors)
        self._passed.clear()
        self._socket = None
        for call in (self._retry, self._soon):
            if call is not None:
                call.cancel()
        self._retry = self._soon = None


class LinkOwner(Shape):
    """The receiver of a game server's messages: `vinom.fleet.server.ServerProcess`."""

    def received(self, message: AnyToNode) -> None:
        """Handle a message from the game server."""

    def lost(self) -> None:
        """Note that the link is closed, and was read to its end."""


#: Called with each game server that sent `Ready`; ``None`` refuses the link.
Arrived = Callable[[Ready, "ControlLink"], LinkOwner | None]
#: Called before that: the result comes when its proof is checked, whatever it is worth.
Prove = Callable[[Ready], Deferred[None]]


@implementer(IFileDescriptorReceiver)
class ControlLink(_Link):
    """The node's end of one link."""

    def __init__(
        self,
        clock: IReactorTime,
        arrived: Arrived,
        prove: Prove | None = None,
        asks_who: bool = True,
    ) -> None:
        """
        Prepare.

        :param clock: for messages that must be sent later, and for silent peers.
        :param arrived: called when the game server has sent `Ready`.
        :param prove: checks its proof before that; ``None`` if there is nothing to ask.
        :param asks_who: whether the kernel is asked which process connected. Of a pair
            of sockets it only knows who made it.
        """
        super().__init__(clock, decode_to_node, self._first_received)
        self._arrived, self._prove, self._asks_who = arrived, prove, asks_who
        self._peer: Peer | None = None
        self._owner: LinkOwner | None = None
        self._alarm = Timer(self._clock)

    def connectionMade(self) -> None:
        super().connectionMade()
        if self._socket is not None:
            self._peer = peer_of(self._socket) if self._asks_who else None
        self._alarm.start(READY_SECONDS, self._silent)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._alarm.cancel()
        if self._owner is not None:
            owner, self._owner = self._owner, None
            owner.lost()

    def send(self, message: ToServer, descriptors: tuple[int, ...] = ()) -> None:
        """
        Send *message* to the game server; without effect if it is gone.

        :param message: the message.
        :param descriptors: open files that go with it; closed here, also if it is gone.
        """
        # What the players of one turn do leaves together, in its order.
        can_wait = isinstance(message, RelayAction)
        self._send(message, can_wait, descriptors)

    def release(self) -> None:
        """Close it once everything was sent; its owner is not called any more."""
        self._owner, self._received = None, lambda _: None
        self.close()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A game server has no files to send, so it is none of ours any more."""
        os.close(descriptor)
        self._log.error("control link closed: a game server sent an open file")
        self.abort()

    def _first_received(self, message: AnyToNode) -> None:
        if not isinstance(message, Ready):
            raise PeerError(
                f"the first message must be Ready, not {type(message).__name__}"
            )
        if self._peer is not None and self._peer.pid != message.pid:
            raise PeerError(
                f"Ready is from process {message.pid}, but process {self._peer.pid} "
                "made the connection"
            )
        self._alarm.cancel()
        if self._prove is None:
            self._is_proven(message)
        else:
            # A game server waits for its first order, so nothing else comes meanwhile.
            self._received = self._too_early
            self._prove(message).addBoth(lambda _: self._is_proven(message))

    def _too_early(self, message: AnyToNode) -> None:
        raise PeerError(f"{type(message).__name__} came before the proof was checked")

    def _is_proven(self, ready: Ready) -> None:
        if not self._is_open:
            return
        self._owner = self._arrived(ready, self)
        if self._owner is None:
            self.abort()
        else:
            self._received = self._owner.received

    def _silent(self) -> None:
        self._log.info("control link closed: no Ready message arrived in time")
        self.abort()


class ControlServer(Made):
    """Accept the links that game servers dial, at any stream endpoint."""

    def __init__(
        self,
        clock: IReactorTime,
        arrived: Arrived,
        prove: Prove | None = None,
        asks_who: bool = True,
    ) -> None:
        """
        Prepare.

        :param clock: for messages that must be sent later, and for silent peers.
        :param arrived: called when a game server has sent `Ready`.
        :param prove: checks its proof before that; ``None`` if there is nothing to ask.
        :param asks_who: as of `ControlLink`.
        """
        super().__init__(partial(ControlLink, clock, arrived, prove, asks_who))


@implementer(IFileDescriptorReceiver)
class ControlClient(_Link):
    """A game server's end of its link."""

    def __init__(
        self,
        clock: IReactorTime,
        ready: Ready | Callable[[], Ready],
        received: Callable[[AnyToServer], None],
        lost: Callable[[], None],
        given: Callable[[int], None] = os.close,
        check: Callable[[ITCPTransport], None] | None = None,
        caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Prepare.

        :param clock: for messages that must be sent later.
        :param ready: the first message, or what makes it when the link is there.
        :param received: called with each message.
        :param lost: called once, when the link is closed.
        :param given: called with each open file that comes, before its message.
        :param check: checks the node, when TLS has verified its certificate, and raises
            `PeerError`; ``None`` for a link without TLS.
        :param caught_up: called when the node has read what it was `is_behind` with.
        """
        super().__init__(clock, decode_to_server, received, caught_up)
        self._ready, self._lost = ready, lost
        self._given, self._check = given, check
        if check is not None:
            # Not of the class: an endpoint's wrapper shows only the last interface, and
            # over a UNIX socket files would be closed (Twisted's _WrappingProtocol).
            alsoProvides(self, IHandshakeListener)
        #: Fires when the node may be sent something; fails if it is none.
        self.opened: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        super().connectionMade()
        if self._check is None:
            self._begin()

    def handshakeCompleted(self) -> None:
        """TLS has verified the node's certificate (`IHandshakeListener`)."""
        if self._check is None:
            return
        try:
            self._check(self.transport)
        except PeerError as error:
            self._log.error("control link closed: {error}", error=error)
            self.abort()
        else:
            self._begin()

    def _begin(self) -> None:
        ready = self._ready
        self.send(ready if isinstance(ready, Ready) else ready())
        self.opened.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if not self.opened.called:
            self.opened.errback(reason)
        self._lost()

    def send(self, message: ToNode) -> None:
        """
        Send *message* to the node at once: before anything sent later elsewhere.

        Seat changes need not precede any message to players, and states for players of
        the node are shown there, so those of one turn of the reactor are sent together;
        each send costs as much as a datagram.
        """
        self._send(message, can_wait=isinstance(message, SeatChanged | RelayState))

    def send_all(self, messages: Iterable[ToNode]) -> None:
        """
        Send messages as `send` does, all of them with one call of the system.

        :raises ValueError: one is longer than `FRAME_LIMIT`.
        """
        if not self._is_open or self._is_closing:
            return
        frames = bytearray()
        for message in messages:
            at = len(frames)
            # Written where it is sent from: a checkpoint leaves for every state.
            _encode_into(message, frames, at + HEADER)
            size = len(frames) - at - HEADER
            if size > FRAME_LIMIT:
                raise ValueError(f"message of {size} bytes, limit {FRAME_LIMIT}")
            _put_size(frames, at, size)
        self._send_frames(frames)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self._given(descriptor)


def answer(
    reactor: IReactorSocket,
    descriptor: int,
    client: ControlClient,
) -> None:
    """
    Link a game server to a node that has called it.

    :param reactor: watches the link.
    :param descriptor: one end of a pair of sockets; the caller closes it.
    :param client: this end of the link.
    """
    client.opened.addErrback(lambda _: None)
    os.set_blocking(descriptor, False)
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, Made(lambda: client))


def connect(
    endpoint: IStreamClientEndpoint, client: ControlClient
) -> Deferred[ControlClient]:
    """
    Link a game server to its node.

    :param endpoint: where the node accepts links: a UNIX socket, or TLS.
    :param client: this end of the link.
    """
    connected = endpoint.connect(Made(lambda: client))
    return connected.addCallback(lambda _: client.opened).addCallback(lambda _: client)


def dial(
    endpoint: IStreamClientEndpoint,
    clock: IReactorTime,
    ready: Ready | Callable[[], Ready],
    received: Callable[[AnyToServer], None],
    lost: Callable[[], None],
) -> Deferred[ControlClient]:
    """
    Make this end of a link, and `connect` it; the parameters are those of both.
    """
    return connect(endpoint, ControlClient(clock, ready, received, lost))
