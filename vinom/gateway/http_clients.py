"""
Clients of HTTP and WebSocket: one connection, its requests, and their sessions.

A session lasts while a client's requests go to one service: the connection to the back
end is kept, and never carries another client's requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.logged import BoundedLog
from vinom.base.reactor.direct import FEW, DirectReads
from vinom.base.reactor.waits import Turns, Waits
from vinom.gateway.arrivals import Arrival
from vinom.gateway.backends import Backends
from vinom.gateway.packet_clients import PacketAcceptor, PacketSocket, handshake_answer
from vinom.gateway.sessions import Session, SessionRequest
from vinom.gateway.settings import GatewaySettings
from vinom.net.http.answers import (
    FrameRelay,
    close_code_of,
    close_frame,
    own_answer,
    status_of,
)
from vinom.net.http.exchange import BODY_SECONDS, Exchange, Upload
from vinom.net.http.head import BadMessage, check_head, find_head
from vinom.net.http.headers import request_fields, traceparent_of
from vinom.net.lines.forwarded import Proxies
from vinom.net.lines.ws_stream import HandshakeRefused
from vinom.net.streams.channels import Reason
from vinom.net.streams.sockets import SocketReader, SocketWriter, pace_of

_log = Logger()

#: How long the head of a request may take, and how long a connection may wait for its
#: next request, seconds.
_HEAD_SECONDS, _IDLE_SECONDS = 10.0, 75.0
#: How long a connection may wait for its next request while the gateway drains,
#: seconds: a client that sends one at once gets its answer, then connects elsewhere.
_LAST_SECONDS = 2.0
#: How long it is taken for granted what the token of a connection says, seconds.
_USER_SECONDS = 10.0

#: Outcomes of sessions whose back end is gone.
_BROKEN = (Reason.DONE, Reason.BACKEND_LOST, Reason.ABORTED)

#: Finds a user by the values of ``Authorization`` and of ``Cookie``.
UserOf = Callable[[Sequence[bytes], Sequence[bytes]], int | str | None]


class HttpAcceptor:
    """
    Serves connections that speak HTTP (`vinom.gateway.listener.Acceptor`).

    :ivar answers: answers sent to clients, by status.
    :ivar refused: those made by the gateway itself, by status.
    :ivar clients: open connections.
    :ivar is_draining: is each connection closed with its next answer?
    """

    def __init__(
        self,
        backends: Backends,
        clock: IReactorTime,
        settings: GatewaySettings,
        user_of: UserOf | None = None,
        direct: DirectReads | None = None,
    ) -> None:
        """
        :param backends: begins sessions.
        :param clock: for deadlines.
        :param settings: limits of each connection, and whose word counts on whom a
            request is from.
        :param user_of: finds the user of a request; ``None`` if nobody is known.
        :param direct: reads connections without the reactor.
        """
        self.backends, self.clock = backends, clock
        self.settings, self.proxies = settings, Proxies(settings.trusted_proxy)
        self.user_of, self.direct = user_of, direct
        #: Serves packets in WebSockets of this host and path, if any.
        self.packets_at: Callable[[str, str], PacketAcceptor | None] = lambda *_: None
        self.log = BoundedLog(_log, clock)
        self.answers: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.clients: set[HttpClient] = set()
        self.is_draining = False
        # One each: deadlines of one length come in order, and cost no timer.
        self.heads, self.bodies = Waits(clock), Waits(clock)
        self.pending, self.stalls = Waits(clock), Waits(clock)
        self.idle = Waits(clock)
        #: Of clients that have sent their next request already.
        self.turns = Turns(clock)

    def drain(self, seconds: float) -> None:
        """
        Close each connection with its next answer, and each WebSocket.

        :param seconds: WebSockets are closed one by one over this time, because all of
            them connect again to other gateways.
        """
        self.is_draining = True
        sockets = [one.session for one in tuple(self.clients) if one.drain()]
        for number, session in enumerate(filter(None, sockets)):
            delay = seconds * number / len(sockets)
            self.clock.callLater(delay, session.close_websocket)

    def close(self) -> None:
        """Close all connections, whose sessions are over."""
        for client in tuple(self.clients):
            client.close()

    def __call__(self, arrival: Arrival) -> HttpClient:
        """Make the protocol that serves a connection."""
        return HttpClient(self, arrival)


class _Deadline:
    """What a connection waits for: one thing at a time."""

    def __init__(self, client: HttpClient, clock: IReactorTime) -> None:
        self._client, self._clock = client, clock
        #: Those with whom it waits; ``None`` if it does not.
        self.waits: Waits | None = None

    def set(self, waits: Waits, seconds: float) -> None:
        """Wait, and no longer for what it was before."""
        self.clear()
        self.waits = waits
        waits.add(self, self._clock.seconds() + seconds)

    def clear(self) -> None:
        """Wait for nothing."""
        if self.waits is not None:
            self.waits.remove(self)
            self.waits = None

    def overdue(self) -> None:
        """The wait is over (`Waits`)."""
        waits, self.waits = self.waits, None
        assert waits is not None
        self._client.overdue(waits)


class _User:
    """The user of a connection, which nearly all of its requests have."""

    def __init__(self, shared: HttpAcceptor) -> None:
        self._shared = shared
        self._given: list[list[bytes]] = []
        self._user: int | str | None = None
        self._until = 0.0

    def of(self, exchange: Exchange) -> int | str | None:
        """Find the user of a request."""
        user_of = self._shared.user_of
        if user_of is None:
            return None
        given = [exchange.values(name) for name in (b"authorization", b"cookie")]
        now = self._shared.clock.seconds()
        if given != self._given or now >= self._until:
            # Not for the whole connection: tokens expire, and keys are removed.
            self._given, self._until = given, now + _USER_SECONDS
            self._user = user_of(*given)
        return self._user


class HttpSession:
    """
    The client's end of one session (`vinom.net.streams.channels.Stream`): requests go
    to a back end, answers come back.

    :ivar session: the session.
    :ivar frames: of a WebSocket, to the client; ``None`` before it is one.
    """

    session: Session

    def __init__(self, client: HttpClient, shared: HttpAcceptor) -> None:
        """
        :param client: the connection of the client.
        :param shared: by all connections: it counts answers.
        """
        self._client, self._shared = client, shared
        self.frames: FrameRelay | None = None
        #: The current request and its head, while it may still be sent again.
        self._again: tuple[SessionRequest, bytes] | None = None
        self._is_used = False
        #: When the back end sent bytes of its answer, or the client has read them.
        self._moved_at = 0.0

    # What the client's connection calls.

    def ask(
        self, request: SessionRequest, head: bytes, body: bytes, is_safe: bool
    ) -> None:
        """
        Send a request.

        :param body: what came of its body.
        :param is_safe: may it be sent again?
        """
        self._again = (request, head) if is_safe else None
        self.session.client.received(head + body)

    def close_websocket(self) -> None:
        """
        Ask a WebSocket's client to connect again, elsewhere.

        What it sends before it closes still reaches the back end.
        """
        if self.frames is not None and self._client.session is self:
            frame = close_frame(1012, "this gateway stops: connect again")
            self._client.writer.write(self.frames.close(frame))

    def moved(self) -> None:
        """Bytes of an answer came, or were read: it has not stopped."""
        self._moved_at = self._shared.clock.seconds()

    def deadline(self) -> float:
        """When its answer counts as stopped, if nothing moves before."""
        return self._moved_at + self._shared.settings.http_answer_seconds

    def failed(self, what: str = "", why: str = "") -> None:
        """Count, and perhaps log, that the back end gave a bad answer, or none."""
        if what:
            self._shared.log.warn(
                "back end {endpoint} of {service} {what}{why}",
                endpoint=str(self.session.endpoint),
                service=self.session.service,
                what=what,
                why=why,
            )
        self._shared.backends.answered(self.session, False)

    # What the session calls.

    def send(self, data: bytes) -> None:
        """The back end sent bytes."""
        client = self._client
        if client.session is not self:
            return
        if self.frames is not None:
            client.writer.write(self.frames.pass_on(data))
            return
        exchange = client.exchange
        if exchange is None:
            # There is no request: these bytes must not become an answer.
            client.leave_session(Reason.BACKEND_LOST)
            return
        before = exchange.status
        # After the first byte no other answer may be sent: two would be read as one.
        self._again, self._is_used = None, True
        try:
            out = exchange.take_answer(data, self._shared.is_draining)
        except BadMessage as error:
            self.failed("sent a bad answer: ", str(error))
            client.leave_session(Reason.BACKEND_LOST)
            client.refuse(502, "the back end's answer cannot be read")
            return
        is_begun = exchange.status != before
        if is_begun:
            self._shared.answers[exchange.status] += 1
            self._shared.backends.answered(self.session, exchange.status < 500)
        client.writer.write(out)
        if exchange.is_upgraded:
            self.frames = FrameRelay()
            self.frames.pass_on(exchange.behind)
            client.become_websocket()
        elif exchange.status:
            self.moved()
            client.answered(exchange, is_begun)

    def finish(self) -> None:
        """The back end will send no more; `close` follows."""

    def close(self, reason: Reason, words: str = "") -> None:
        """The session is over."""
        client, exchange = self._client, self._client.exchange
        if client.session is not self:
            return
        client.session = None
        client.let_go("back end")
        if exchange is None:
            # Between two requests: the next one gets a new session.
            return
        if self.frames is not None:
            self._close_websocket(self.frames, reason, words)
        elif exchange.status:
            self._end_answer(exchange, reason)
        elif self._again is not None and self._is_used and reason in _BROKEN:
            # The connection was kept from the last request and has closed: nothing came
            # back, and sending the request again is safe.
            request, head = self._again
            try:
                client.begin(request).session.client.received(head)
            except BadMessage as error:
                client.refuse(error.status, str(error))
        else:
            if reason in _BROKEN:
                self.failed()
                words = "the back end closed the connection without an answer"
            client.refuse(status_of(reason), words or reason.value)

    def pause(self) -> None:
        """The back end does not read what the client sends."""
        self._client.hold("back end")

    def resume(self) -> None:
        """The back end reads again."""
        self._client.let_go("back end")

    def _end_answer(self, exchange: Exchange, reason: Reason) -> None:
        """The back end closed within an answer, which may be how the answer ends."""
        client = self._client
        if reason is Reason.DONE:
            try:
                client.writer.write(exchange.take_answer(b"", self._shared.is_draining))
            except BadMessage:
                pass
            else:
                client.answered(exchange, False)
                return
        if reason in _BROKEN:
            self.failed()
        client.abort()

    def _close_websocket(self, frames: FrameRelay, reason: Reason, words: str) -> None:
        client = self._client
        if reason is Reason.DONE:
            # A back end that is done sends a close frame first: this one was killed.
            reason, words = Reason.BACKEND_LOST, "the back end closed the connection"
        code = close_code_of(reason)
        if code is not None and frames.is_between:
            frame = close_frame(code, words or reason.value)
            client.writer.write(frames.close(frame))
        if reason is Reason.TOO_SLOW:
            client.abort()
        else:
            client.close()


@implementer(IHalfCloseableProtocol)
class HttpClient(Protocol):
    """
    One connection of a client, whose requests are served one after the other.

    :ivar exchange: the current request, and its answer; ``None`` between two.
    :ivar session: serves it; ``None`` if there is none.
    :ivar writer: its sending side.
    """

    transport: Any
    writer: SocketWriter

    def __init__(self, shared: HttpAcceptor, arrival: Arrival) -> None:
        """
        :param shared: by all connections.
        :param arrival: this connection's arrival.
        """
        self._shared, self._arrival = shared, arrival
        self.exchange: Exchange | None = None
        self.session: HttpSession | None = None
        #: The body that is not whole; ``None`` if there is none.
        self._upload: Upload | None = None
        #: What came of a head that is not whole, and how much of it was searched for
        #: its end; or what came in one read behind a request, and where it begins:
        #: nothing more is read until that is answered.
        self._held, self._at, self._searched = b"", 0, 0
        self._deadline = _Deadline(self, shared.clock)
        self._user = _User(shared)
        self._is_over = self._is_half = False

    # What the transport, and those who watch it, call.

    def connectionMade(self) -> None:
        shared = self._shared
        shared.clients.add(self)
        self.writer = SocketWriter(
            self.transport,
            self,
            shared.clock,
            is_tls=self._arrival.is_tls,
            direct=shared.direct,
            most=FEW,
        )
        pace = pace_of(shared.settings.bytes_per_second)
        self._reader = SocketReader(self.transport, shared.clock, pace)
        # Its first bytes follow: they made it one of HTTP.

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self.session is not None and self.session.frames is not None:
            self.session.session.client.received(data)
        else:
            is_busy = self._is_busy
            self._held, self._at = self._held[self._at :] + data, 0
            if is_busy:
                self.hold("answer")
            else:
                self.go_on()
        if not self._is_over:
            self._reader.received(len(data))

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still wait for its answer."""
        self._is_half = True
        exchange, session = self.exchange, self.session
        if session is not None and session.frames is not None:
            session.session.client.finished()
        elif exchange is None and self._is_busy:
            # What it asked before is served in its turn, and when it reads answers.
            pass
        elif self._is_over or exchange is None or not exchange.is_whole:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as we asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        shared, exchange = self._shared, self.exchange
        shared.clients.discard(self)
        shared.turns.remove(self)
        is_idle = self._is_over or exchange is None or exchange.is_upgraded
        is_clean = is_idle and reason.check(ConnectionDone) is not None
        self._end()
        self.writer.forget()
        self.leave_session(Reason.DONE if is_clean else Reason.CLIENT_LOST)
        self._arrival.end()

    def abort(self) -> None:
        """End the connection at once: only this shows that an answer is cut short."""
        self._end()
        self.transport.abortConnection()

    def filled(self) -> None:
        """The client does not read: have the back end wait."""
        if self.session is not None and not self._is_over:
            self.session.session.client.filled()

    def drained(self) -> None:
        """The client has read everything."""
        if self._is_over:
            return
        if self.session is not None:
            self.session.moved()
            self.session.session.client.drained()
        if "client" in self._reader.holds:
            self.let_go("client")
            self._next()

    def stuck(self) -> None:
        """The client has read nothing for too long."""
        self.leave_session(Reason.TOO_SLOW)
        self.abort()

    def overdue(self, wait: Waits) -> None:
        """Handle the end of the time that this connection may wait."""
        shared, session = self._shared, self.session
        if wait is shared.idle:
            self.close()
        elif wait is shared.pending:
            if session is not None:
                session.failed()
            self.leave_session(Reason.TIMEOUT)
            self.refuse(504, "the back end took too long to answer")
        elif wait is shared.stalls and session is not None:
            now, deadline = shared.clock.seconds(), session.deadline()
            if now < deadline:
                self._deadline.set(shared.stalls, deadline - now)
            elif self.writer.is_full:
                # It is the client that does not read.
                self._deadline.set(shared.stalls, shared.settings.http_answer_seconds)
            else:
                session.failed("stopped within its answer")
                self.leave_session(Reason.TIMEOUT)
                self.abort()
        else:
            self._refuse_rest(408, "this request took too long to arrive")

    # What the acceptor calls.

    def drain(self) -> bool:
        """Close the connection soon if it has no request; is it a WebSocket?"""
        if self._deadline.waits is self._shared.idle:
            self._wait_for_request()
        return self.session is not None and self.session.frames is not None

    # Requests.

    @property
    def _is_busy(self) -> bool:
        """Must what comes now wait, for an answer or until answers are read?"""
        exchange = self.exchange
        if exchange is None:
            return "client" in self._reader.holds or self in self._shared.turns
        return exchange.is_whole

    def go_on(self) -> None:
        """Read one request, or more of it, from what came."""
        if self._is_over:
            return
        data, start, exchange = self._held, self._at, self.exchange
        settings = self._shared.settings
        is_new = exchange is None
        # Unless more is found behind what is read here.
        self._held, self._at = b"", 0
        try:
            if exchange is None:
                end = find_head(data, start, searched=self._searched)
                if not end:
                    self._held = data[start:]
                    self._searched = len(self._held)
                    self.let_go("answer")
                    # Counted from its first byte: sending slowly gains no time.
                    if self._held and self._deadline.waits is not self._shared.heads:
                        self._deadline.set(self._shared.heads, _HEAD_SECONDS)
                    return
                self._searched = 0
                head = check_head(data[start:end])
                exchange, start = Exchange(head, settings.http_body_bytes), end
            body, at = exchange.take_request(data, start)
            self.exchange = exchange
            if self._upload is not None:
                self._upload.received(at - start)
            if at < len(data):
                # What is behind a request waits, and nothing more is read.
                self._held, self._at = data, at
                self.hold("answer")
            else:
                self.let_go("answer")
            if exchange.is_whole:
                self._upload = None
            if is_new:
                self._serve(exchange, body)
            elif body and self.session is not None:
                self.session.session.client.received(body)
        except BadMessage as error:
            self._shared.log.info(
                "refused a request of {host}: {why}",
                host=self._arrival.host,
                why=str(error),
            )
            self._refuse_rest(error.status, str(error))
            return
        if self.exchange is not exchange or self._is_over:
            return
        if not exchange.is_whole:
            self._wait_for_body(at - start)
            return
        if exchange.status:
            self._wait_for_answer(exchange)
        else:
            self._deadline.set(self._shared.pending, settings.http_answer_seconds)

    def _serve(self, exchange: Exchange, body: bytes) -> None:
        """
        Send a request to a back end, the last request's if possible.

        :param body: what came of its body.
        :raises BadMessage: its client has too many connections, or makes them too fast.
        """
        shared, arrival, target = self._shared, self._arrival, exchange.target
        sender = request_fields(
            target.fields,
            peer=arrival.host,
            is_tls=arrival.is_tls,
            authority=target.authority,
            proxies=shared.proxies,
            version=target.version,
            by_name=target.by_name,
        )
        if not arrival.is_of(sender.host, shared.clock.seconds()):
            raise BadMessage(503, "too many connections from your address")
        request = SessionRequest(
            "websocket" if exchange.is_upgrade else "http",
            sender.host,
            arrival.port if sender.host == arrival.host else 0,
            arrival.is_tls,
            called=target.host,
            path=target.path,
            user=self._user.of(exchange),
            traceparent=traceparent_of(exchange.values(b"traceparent")),
        )
        session = self.session
        if session is not None and not (
            shared.backends.still_serves(session.session, request)
            # A WebSocket has a session of its own; one that was refused leaves it to
            # the next.
            and session.session.request.kind in ("websocket", request.kind)
        ):
            self.leave_session(Reason.DONE)
            session = None
        packets = shared.packets_at(target.host, target.path)
        if packets is not None and exchange.is_upgrade:
            self._become_packets(exchange, packets, request)
            return
        if session is None:
            session = self.begin(request)
        head = exchange.write_request(sender.fields)
        session.ask(request, head, body, exchange.is_safe)

    def begin(self, request: SessionRequest) -> HttpSession:
        """
        Begin a session.

        :raises BadMessage: the client begins too many.
        """
        if not self._arrival.may_begin(request.host, self._shared.clock.seconds()):
            raise BadMessage(503, "your address makes too many connections per second")
        self.session = made = HttpSession(self, self._shared)
        session = self._shared.backends.begin(request, made)
        assert session is not None, "it brought no id"
        made.session = session
        if self.writer.is_full:
            session.client.filled()
        return made

    # What its session calls.

    def hold(self, why: str) -> None:
        """Stop reading from the client until `let_go` gets the same reason."""
        if self._reader.hold(why) and self._upload is not None:
            # The client is not to blame for this pause.
            self._upload.pause(self._shared.clock.seconds())
            self._deadline.clear()

    def let_go(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        if self._reader.let_go(why) and self._upload is not None:
            self._wait_for_body()

    def answered(self, exchange: Exchange, is_begun: bool) -> None:
        """Some of an answer was sent, or all of it; perhaps its head, too."""
        if not exchange.is_answered:
            if is_begun and self._deadline.waits is self._shared.pending:
                self._deadline.clear()
            if self._deadline.waits is None and exchange.is_whole:
                self._wait_for_answer(exchange)
            return
        self._deadline.clear()
        self.exchange = None
        if not (exchange.keeps and exchange.is_reusable):
            self.leave_session(Reason.DONE)
        if exchange.keeps:
            self._next()
        else:
            self.close()

    def leave_session(self, reason: Reason) -> None:
        """End the session, if there is one."""
        session, self.session = self.session, None
        self.let_go("back end")
        if session is not None:
            session.session.client.lost(reason)

    def refuse(self, status: int, words: str) -> None:
        """Answer the current request ourselves; if its answer has begun, break off."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and exchange.status:
            self.abort()
            return
        self._deadline.clear()
        keeps = exchange is not None and exchange.keeps and exchange.is_whole
        keeps = keeps and not self._shared.is_draining
        is_head = exchange is not None and exchange.target.method == b"HEAD"
        self._shared.answers[status] += 1
        self._shared.refused[status] += 1
        self.writer.write(own_answer(status, words, keeps, is_head))
        if keeps:
            self._next()
        else:
            self.close()

    def become_websocket(self) -> None:
        """Pass on everything that comes from now on."""
        self._deadline.clear()
        held, self._held = self._held[self._at :], b""
        self.let_go("answer")
        session = self.session
        if held and session is not None:
            session.session.client.received(held)
        if session is not None and self._shared.is_draining:
            # It was no WebSocket yet when those were closed.
            session.close_websocket()

    def close(self) -> None:
        """Send the bytes that are held, then close."""
        if not self._is_over:
            self._held = b""
            self._end()
            self.writer.close(self._is_half)

    def _refuse_rest(self, status: int, words: str) -> None:
        """Refuse a request after which no other can be read."""
        exchange = self.exchange
        self.leave_session(Reason.DONE if exchange is None else Reason.CLIENT_LOST)
        if exchange is not None and not exchange.status:
            self.exchange = None
        self.refuse(status, words)

    def _next(self) -> None:
        """Serve the next request, which may already be here."""
        if self.writer.is_full:
            # Not before the client reads the answers it has: we hold all of them.
            self.hold("client")
        elif self._held:
            self._shared.turns.add(self)
        elif self._is_half:
            self.close()
        else:
            self._wait_for_request()

    def _become_packets(
        self, exchange: Exchange, packets: PacketAcceptor, request: SessionRequest
    ) -> None:
        """
        Leave the connection to the acceptor of packets, as a WebSocket.

        :raises BadMessage: the handshake is not valid.
        """
        try:
            answer = handshake_answer(exchange.target.path, exchange.target.fields)
        except HandshakeRefused as error:
            raise BadMessage(error.status, str(error)) from error
        self._shared.answers[101] += 1
        self._shared.clients.discard(self)
        self._end()
        self.writer.release()
        self.writer.forget()
        if self._reader.holds:
            self.transport.resumeProducing()
        arrival, clock = self._arrival, self._shared.clock
        arrival.host, arrival.port = request.host, request.port
        socket = PacketSocket(
            self.transport,
            packets(arrival),
            lambda frames: arrival.pay(frames, clock.seconds()),
        )
        socket.begin(answer)
        if self._held:
            socket.dataReceived(self._held[self._at :])

    # Deadlines, and the end.

    def _wait_for_request(self) -> None:
        seconds = _IDLE_SECONDS
        if self._shared.is_draining:
            seconds = min(seconds, _LAST_SECONDS)
        self._deadline.set(self._shared.idle, seconds)

    def _wait_for_body(self, size: int = 0) -> None:
        """
        Have the rest of a body come in time, while it is read.

        :param size: bytes of it that came at its beginning.
        """
        now, upload = self._shared.clock.seconds(), self._upload
        if upload is None:
            upload = Upload(now)
            upload.received(size)
            self._upload = upload
        if self._reader.holds:
            upload.pause(now)
        else:
            upload.resume(now)
            seconds = min(BODY_SECONDS, upload.deadline() - now)
            self._deadline.set(self._shared.bodies, seconds)

    def _wait_for_answer(self, exchange: Exchange) -> None:
        """Have the rest of an answer that has begun come in time."""
        seconds = self._shared.settings.http_answer_seconds
        if not exchange.is_event_stream and self.session is not None:
            self.session.moved()
            self._deadline.set(self._shared.stalls, seconds)
        else:
            self._deadline.clear()

    def _end(self) -> None:
        """Serve nothing more."""
        self._is_over = True
        self._deadline.clear()
        self._reader.end()
