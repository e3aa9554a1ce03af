"""
Conversations over WebSocket: one send per client and turn, tried at once.

What is sent to a client during a turn of the reactor waits for its end, becomes
one JSON array in one text frame, and goes to the socket directly. Twisted's own
buffer is used for what did not fit, and reports when that is gone. Over TLS the frame
of a turn is sealed first. Sources: decisions 0008 and 0036.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.messages.lobby import carries_token
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.direct import DirectReads, socket_under
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Rounds
from vinom.errors import Code
from vinom.net.frames import HELLO_LIMIT
from vinom.net.lines.limits import LineBounds, Reserve
from vinom.net.lines.secure import SecureTransport
from vinom.net.lines.tcp import Listener, close_gently
from vinom.net.lines.ws_stream import (
    PING,
    TOO_LONG,
    WHOLE_TEXT,
    Framer,
    WebSocketStream,
    apply_mask,
    farewell,
)

_Transport = Any
#: Of a text frame: bytes of a short head with its mask, and what the second byte of
#: that head is larger by than the frame's length.
_HEAD, _ABOVE_LENGTH = 6, 0x80 - 6
#: A frame that is as long has a longer head, bytes.
_SHORT_END = _HEAD + 126


@attrs.frozen
class WebSockets:
    """
    What all WebSockets of a node share.

    :ivar open: starts a conversation on a line.
    :ivar clock: for times.
    :ivar turn_end: when lines send.
    :ivar bounds: what each may cost.
    :ivar errors: counts refusals by code.
    :ivar is_short_cut: read small frames ourselves; only tests have ``False``.
    :ivar reserve: knows which connections are open.
    :ivar framer: frames what they send.
    :ivar direct: those that are read without the reactor.
    :ivar connections: how many each network has.
    :ivar rounds: sends pings.
    :ivar forwarding: how many connections had a proxy's header that is not believed,
        and how many of a proxy named nobody.
    """

    open: Callable[[WebSocketLine], Listener]
    clock: IReactorTime
    turn_end: TurnEnd
    bounds: LineBounds = attrs.field(factory=LineBounds)
    errors: Counter[str] = attrs.field(factory=Counter)
    is_short_cut: bool = True
    reserve: Reserve = attrs.field(factory=Reserve)
    direct: DirectReads = attrs.field(factory=DirectReads)
    framer: Framer = attrs.field(factory=Framer, init=False)
    connections: NetworkCounts = attrs.field(init=False)
    rounds: Rounds = attrs.field(init=False)
    forwarding: Counter[str] = attrs.field(factory=Counter, init=False)

    def new_stream(self, extensions: Sequence[Any] = ()) -> WebSocketStream:
        """Make what reads a connection's bytes, once *extensions* are agreed on."""
        limit = max(self.bounds.limit, HELLO_LIMIT)
        return WebSocketStream(limit, extensions, self.is_short_cut)

    @connections.default
    def _none_yet(self) -> NetworkCounts:
        return self.bounds.counts()

    @rounds.default
    def _no_visits_yet(self) -> Rounds:
        return Rounds(self.clock, self.bounds.ping_seconds)


class WebSocketLine:
    """
    Carry one conversation: messages are JSON in text frames.

    It is a transport's protocol, its producer, and the conversation's line.

    :param shared: what all WebSockets of the node share.
    :param host: counted in ``shared.connections`` already.
    :param stream: from `WebSockets.new_stream`.
    :ivar host: the peer's address.
    :ivar opened_at: when the connection came, seconds since the Unix epoch.
    :ivar is_behind: does what was sent wait for the peer to take it?
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_below",
        "_descriptor",
        "_is_asked",
        "_is_closing",
        "_is_counted",
        "_is_cut",
        "_is_over",
        "_is_plain",
        "_listener",
        "_queue",
        "_queued_bytes",
        "_seal",
        "_send",
        "_shared",
        "_stream",
        "_transport",
        "host",
        "is_behind",
        "opened_at",
    )

    #: Whoever came with a browser stays.
    ends_at_match = False

    def __init__(self, shared: WebSockets, host: str, stream: WebSocketStream) -> None:
        self.host, self.opened_at = host, shared.clock.seconds()
        self.is_behind = False
        self._shared, self._stream = shared, stream
        self._is_plain = stream.is_plain
        self._listener: Listener | None = None
        self._transport: _Transport = None
        # What takes the bytes that the socket does not, and what TLS makes of ours.
        self._below: _Transport = None
        self._seal: Callable[[bytes], bytes] | None = None
        self._descriptor = -1
        self._send: Callable[[bytes], int] | None = None
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._is_closing = self._is_over = self._is_asked = self._is_cut = False
        self._is_counted = True
        self._alarm: Timer | None = None

    def begin(
        self, transport: _Transport, greeting: bytes, is_first: bool = False
    ) -> None:
        """
        Take over a connection.

        :param transport: its earlier owner left it, and is not its producer.
        :param greeting: sent first: the answer to the handshake.
        :param is_first: nothing was ever sent over this transport.
        """
        self._transport = transport
        if ITCPTransport.providedBy(transport):
            # A state that waits until the peer confirms the one before comes late.
            transport.setTcpNoDelay(True)
        self._shared.rounds.join(self)
        self._shared.reserve.join(self, transport)
        tls = transport if isinstance(transport, SecureTransport) else None
        self._below = below = transport if tls is None else tls.transport
        direct = socket_under(below)
        if direct is None:
            self._below = transport
            transport.write(greeting)
            transport.registerProducer(self, True)
        else:
            self._send = direct.send
            if isinstance(below, Connection):
                # Nothing but TLS reads the bytes before us.
                self._descriptor = direct.fileno()
                self._shared.direct.add(self._descriptor, direct.recv, tls or self)
            if tls is not None:
                self._seal = tls.seal
                is_first = is_first and tls.is_untouched
                tls.direct(self._put)
            if is_first:
                self._write(greeting)
            else:
                # Something of an earlier answer may wait as well.
                self._buffer(self._sealed(greeting))
        self._listener = self._shared.open(self)

    # What the transport reports.

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        self._is_asked = False
        stream, listener = self._stream, self._listener
        size = len(data)
        if (
            # Most of what comes is just one short text, whole.
            _HEAD < size < _SHORT_END
            and data[0] == WHOLE_TEXT
            and data[1] - _ABOVE_LENGTH == size
            and stream.is_between
        ):
            message = apply_mask(data[_HEAD:], data[2:_HEAD])
            if message.isascii():
                if listener is not None:
                    listener.received(message)
                return
        messages = stream.receive(data)
        if listener is not None:
            limit = self._shared.bounds.limit
            for message in messages:
                if len(message) > limit and not carries_token(message):
                    self._shared.errors[Code.TOO_LONG] += 1
                    stream.close(TOO_LONG, f"a message above {limit} bytes")
                    break
                listener.received(message)
        if stream.outbox or not stream.is_open:
            self._answer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is over."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._is_cut = self.has_unsent
        self._is_closing = True
        self._send = None
        self._queue.clear()
        self._shared.direct.remove(self._descriptor)
        self._shared.rounds.leave(self)
        self._shared.reserve.leave(self)
        if self._is_counted:
            self._is_counted = False
            self._shared.connections.leave(self.host)
        self._report_lost()

    @property
    def is_in_play(self) -> bool:
        """Is a match of its player being prepared, or is it in a room?"""
        return self._listener is not None and self._listener.is_in_play

    @property
    def is_queued(self) -> bool:
        """Does its player wait in a queue?"""
        return self._listener is not None and self._listener.is_queued

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abortConnection()

    # What the conversation asks.

    @property
    def has_unsent(self) -> bool:
        """Does a message wait to be sent, or was one thrown away?"""
        return self.is_behind or bool(self._queue) or self._is_cut

    def admitted(self) -> None:
        """The hello was accepted: no longer message follows."""
        self._stream.bound(self._shared.bounds.limit)

    def send(self, message: bytes) -> None:
        """Send one message when the turn ends; beyond the bounds, close."""
        if self._is_closing:
            self._is_cut = True
            return
        queue = self._queue
        if not queue:
            self._shared.turn_end.flush(self)
        queue.append(message)
        if self.is_behind:
            self._bound(message)

    def close(self, code: Code | None = None, reason: str = "") -> None:
        """Close when everything is sent; a peer that does not read gets 2 s."""
        if not self._is_closing:
            self._send_rest()
            self._stream.close(*farewell(code, reason))
            self._answer()
            self._end()

    def flush(self) -> None:
        """The turn is over: send what was queued in it."""
        queue = self._queue
        if not queue or self.is_behind:
            return
        self._queue = []
        if self._is_plain:
            frame = self._shared.framer.frame(queue)
        else:
            frame = self._stream.frame(b"[%b]" % b",".join(queue))
        send = self._send
        if send is None:
            self._transport.write(frame)
            return
        if self._seal is not None:
            frame = self._seal(frame)
        try:
            sent = send(frame)
        except OSError:
            # No room; or the end, which the reactor will find in its own way.
            sent = 0
        if sent < len(frame):
            self._buffer(frame[sent:])

    # What the transport asks: it has a producer while it has something to send,
    # and over TLS always.

    def pauseProducing(self) -> None:
        """The peer does not read what it is sent."""
        self.is_behind = True

    def resumeProducing(self) -> None:
        """The peer has taken everything that was sent."""
        if not self.is_behind or self._is_closing:
            return
        self.is_behind = False
        if self._send is not None:
            self._below.unregisterProducer()
        self._queued_bytes = 0
        if self._stream.outbox:
            self._answer()
        if self._queue:
            self.flush()
        if not self.is_behind and self._listener is not None:
            self._listener.caught_up()

    def stopProducing(self) -> None:
        """The connection is over; `connectionLost` is called too."""

    # What the rounds ask.

    def visit(self) -> None:
        """Send a ping; a peer that has sent nothing since the last one is lost."""
        if self._is_asked:
            self.abort()
            return
        self._is_asked = True
        self._stream.forgive()
        if not (self.is_behind or self._is_closing):
            self._write(PING)

    def _write(self, data: bytes) -> None:
        """Send now; what does not fit goes by the transport's buffer."""
        if self._send is None:
            self._transport.write(data)
        else:
            self._put(self._sealed(data))

    def _sealed(self, data: bytes) -> bytes:
        """Give what is sent for *data*: itself, or its records."""
        return data if self._seal is None else self._seal(data)

    def _put(self, data: bytes) -> None:
        """Send what is sealed already, as TLS does with what it answers itself."""
        send = self._send
        if send is None or self.is_behind:
            self._queued_bytes += len(data)
            most = self._shared.bounds.most_unsent_bytes
            if self._queued_bytes > most and not self._is_closing:
                # It asks for more than it reads; it would not read a reason either.
                self._shared.errors[Code.TOO_SLOW] += 1
                self._end()
                self.abort()
            else:
                self._below.write(data)
            return
        try:
            sent = send(data)
        except OSError:
            # No room; or the end, which the reactor will find in its own way.
            sent = 0
        if sent < len(data):
            self._buffer(data[sent:])

    def _buffer(self, data: bytes) -> None:
        """Leave to the transport what did not fit."""
        self._below.write(data)
        # While it closes nobody sends more but TLS itself, and that after this.
        if not self._is_closing:
            # A producer that pulls is asked for more when the transport's buffer is
            # empty, and once at first.
            self._below.registerProducer(self, False)
        self.is_behind = True

    def _bound(self, message: bytes) -> None:
        """Close if more waits for the peer than may."""
        bounds = self._shared.bounds
        self._queued_bytes += len(message)
        if (
            len(self._queue) > bounds.most_unsent
            or self._queued_bytes > bounds.most_unsent_bytes
        ):
            self._shared.errors[Code.TOO_SLOW] += 1
            self._queue.clear()
            self.close(Code.TOO_SLOW, "you do not read what you are sent")
            # Not from inside of what sends a message to many.
            self._shared.turn_end.call(self._report_lost)

    def _answer(self) -> None:
        """Send what the stream has produced, after what was queued before it."""
        stream = self._stream
        if stream.is_open:
            if self.is_behind:
                # Only the last ping has to be answered (RFC 6455, 5.5.3).
                del stream.outbox[:-1]
                return
            answers, stream.outbox = stream.outbox, []
            self._write(b"".join(answers))
            return
        self._send_rest()
        if stream.outbox:
            answers, stream.outbox = stream.outbox, []
            self._write_last(b"".join(answers))
        self._end()
        if stream.is_over and not self._is_over:
            self._is_over = True
            is_tls = self._send is None or self._seal is not None
            close_gently(self._transport, is_tls)
            # Whatever asked for this is done first.
            self._shared.turn_end.call(self._report_lost)

    def _send_rest(self) -> None:
        """Send what waits, whether there is room or not."""
        queue, self._queue = self._queue, []
        if queue:
            self._write_last(self._stream.frame(b"[%b]" % b",".join(queue)))

    def _write_last(self, data: bytes) -> None:
        if self.is_behind:
            self._below.write(self._sealed(data))
        else:
            self._write(data)

    def _end(self) -> None:
        """Nothing more is sent; the peer has some time to close as well."""
        if self._is_closing:
            return
        self._is_closing = True
        # Twisted keeps a connection open as long as it has a producer.
        if self.is_behind or self._send is None:
            self._below.unregisterProducer()
        self._alarm = Timer(self._shared.clock)
        self._alarm.start(self._shared.bounds.close_seconds, self.abort)

    def _report_lost(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost()
