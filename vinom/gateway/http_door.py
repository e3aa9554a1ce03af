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
from vinom.gateway.packet_sockets import PacketSocket, handshake_answer
from vinom.gateway.packets_door import PacketDoor
from vinom.gateway.sessions import Session, SessionRequest
from vinom.gateway.settings import Settings
from vinom.net.http.answers import close_code_of, own_answer, status_of
from vinom.net.http.bodies import Upload
from vinom.net.http.exchange import Exchange
from vinom.net.http.frames import FrameEnds, close_frame
from vinom.net.http.head import BadMessage, check_head, find_head
from vinom.net.http.headers import request_fields, traceparent_of
from vinom.net.lines.forwarded import Proxies
from vinom.net.lines.ws.handshake import HandshakeRefused
from vinom.net.streams.ends import Reason
from vinom.net.streams.intake import Intake, pace_of
from vinom.net.streams.outlet import Outlet

_log = Logger()

#: How long the head of a request may take, and how long a connection may wait for its
#: next request, seconds.
_HEAD_SECONDS, _IDLE_SECONDS = 10.0, 75.0
#: How long a connection may wait for its next request while the gateway drains,
#: seconds: a client that sends one at once gets its answer, then connects elsewhere.
_LAST_SECONDS = 2.0
#: How long it is taken for granted what the token of a connection says, seconds.
_USER_SECONDS = 10.0

#: Finds a user by the values of ``Authorization`` and of ``Cookie``.
UserOf = Callable[[Sequence[bytes], Sequence[bytes]], int | str | None]


class HttpDoor:
    """
    Serves connections that speak HTTP (`vinom.gateway.listener.Door`).

    :ivar answers: answers sent to clients, by status.
    :ivar refused: those made by the gateway itself, by status.
    :ivar clients: open connections.
    :ivar is_draining: is each connection closed with its next answer?
    """

    def __init__(
        self,
        backends: Backends,
        clock: IReactorTime,
        settings: Settings,
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
        self.packets_at: Callable[[str, str], PacketDoor | None] = lambda *_: None
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
        sockets = [client for client in tuple(self.clients) if client.drain()]
        for number, client in enumerate(sockets):
            self.clock.callLater(seconds * number / len(sockets), client.tell)

    def close(self) -> None:
        """Close all connections, whose sessions are over."""
        for client in tuple(self.clients):
            client.give_up()

    def __call__(self, arrival: Arrival) -> HttpClient:
        """Make the protocol that serves a connection."""
        return HttpClient(self, arrival)


class _BackendEnd:
    """The client's end of one session (`vinom.net.streams.ends.Stream`)."""

    session: Session

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.is_used = False

    def send(self, data: bytes) -> None:
        """The back end sent bytes."""
        self._client.answered(self, data)

    def finish(self) -> None:
        """The back end will send no more; `close` follows."""

    def close(self, reason: Reason, words: str = "") -> None:
        """The session is over."""
        self._client.session_ended(self, reason, words)

    def pause(self) -> None:
        """The back end does not read what the client sends."""
        self._client.hold("back end")

    def resume(self) -> None:
        """The back end reads again."""
        self._client.let_go("back end")


@implementer(IHalfCloseableProtocol)
class HttpClient(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, door: HttpDoor, arrival: Arrival) -> None:
        """
        :param door: shared by all connections.
        :param arrival: this connection's arrival.
        """
        self._door, self._arrival = door, arrival
        self._exchange: Exchange | None = None
        #: The body that is not whole; ``None`` if there is none.
        self._upload: Upload | None = None
        #: When the back end sent bytes of its answer.
        self._heard = 0.0
        self._end: _BackendEnd | None = None
        #: The request's head, while it may still be sent again.
        self._again: tuple[SessionRequest, bytes] | None = None
        #: Frames of a WebSocket to the client; ``None`` before it is one.
        self._frames: FrameEnds | None = None
        #: Whether a close frame is due, and whether it was sent.
        self._is_due = self._is_told = False
        #: What came of a head that is not whole; or what came in one read behind a
        #: request, and where it begins: nothing more is read until that is answered.
        self._held, self._at = b"", 0
        self._wait: Waits | None = None
        self._is_over = self._is_half = False
        self._user: tuple[list[list[bytes]], int | str | None] = ([], None)
        self._user_until = 0.0

    # What the transport calls.

    def connectionMade(self) -> None:
        door = self._door
        door.clients.add(self)
        self._outlet = Outlet(
            self.transport,
            self,
            door.clock,
            stuck_seconds=door.settings.stuck_seconds,
            is_tls=self._arrival.is_tls,
            direct=door.direct,
            most=FEW,
        )
        pace = pace_of(door.settings.bytes_per_second)
        self._intake = Intake(self.transport, door.clock, pace)
        # Its first bytes follow: they made it one of HTTP.

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._frames is not None:
            assert self._end is not None
            self._end.session.client.received(data)
        else:
            is_busy = self._is_busy
            self._held, self._at = self._held[self._at :] + data, 0
            if is_busy:
                self.hold("answer")
            else:
                self._read()
        if not self._is_over:
            self._intake.received(len(data))

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still wait for its answer."""
        self._is_half = True
        exchange = self._exchange
        if self._frames is not None and self._end is not None:
            self._end.session.client.finished()
        elif exchange is None and self._is_busy:
            # What it asked before is served in its turn, and when it reads answers.
            pass
        elif self._is_over or exchange is None or not exchange.is_whole:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as we asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        door = self._door
        door.clients.discard(self)
        door.turns.remove(self)
        is_idle = self._is_over or self._exchange is None or self._frames is not None
        is_clean = is_idle and reason.check(ConnectionDone) is not None
        self._is_over = True
        self._rest()
        self._intake.end()
        self._outlet.forget()
        self._drop_session(Reason.DONE if is_clean else Reason.CLIENT_LOST)
        self._arrival.end()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def filled(self) -> None:
        """The client does not read: have the back end wait."""
        if self._end is not None and not self._is_over:
            self._end.session.client.filled()

    def drained(self) -> None:
        """The client has read everything."""
        if self._is_over:
            return
        self._heard = self._door.clock.seconds()
        if self._end is not None:
            self._end.session.client.drained()
        if "client" in self._intake.holds:
            self.let_go("client")
            self._next()

    def stuck(self) -> None:
        """The client has read nothing for too long."""
        self._drop_session(Reason.TOO_SLOW)
        self._abort()

    def overdue(self) -> None:
        """Handle the end of the time that this connection may wait."""
        door, wait, self._wait = self._door, self._wait, None
        if wait is door.idle:
            self._close()
        elif wait is door.pending:
            if self._end is not None:
                door.backends.answered(self._end.session, False)
            self._drop_session(Reason.TIMEOUT)
            self._refuse(504, "the back end took too long to answer")
        elif wait is door.stalls:
            self._look_at_answer()
        else:
            self._refuse_rest(408, "this request took too long to arrive")

    # What a session's end calls.

    def hold(self, why: str) -> None:
        """Stop reading from the client until `let_go` gets the same reason."""
        if self._intake.hold(why) and self._upload is not None:
            # The client is not to blame for this pause.
            self._upload.pause(self._door.clock.seconds())
            self._rest()

    def let_go(self, why: str) -> None:
        """Read again, unless there is another reason not to."""
        if self._intake.let_go(why) and self._upload is not None:
            self._upload.resume(self._door.clock.seconds())
            self._wait_for_body(self._upload)

    def answered(self, end: _BackendEnd, data: bytes) -> None:
        """A back end sent bytes."""
        if end is not self._end:
            return
        exchange = self._exchange
        if self._frames is not None:
            self._pass_on(self._frames, data)
            return
        if exchange is None:
            # There is no request: these bytes must not become an answer.
            self._drop_session(Reason.BACKEND_LOST)
            return
        before = exchange.status
        # After the first byte no other answer may be sent: two would be read as one.
        self._again = None
        try:
            out = exchange.take_answer(data, self._door.is_draining)
        except BadMessage as error:
            self._bad_answer(end, str(error))
            return
        if exchange.status != before:
            self._answer_begins(exchange, end.session)
        if out:
            self._outlet.write(out)
        if exchange.is_upgraded:
            self._become_websocket(exchange)
        elif exchange.is_answered:
            self._answer_is_whole(exchange)
        elif exchange.status:
            self._heard = self._door.clock.seconds()
            if self._wait is None and exchange.is_whole:
                self._wait_for_answer(exchange)

    def session_ended(self, end: _BackendEnd, reason: Reason, words: str) -> None:
        """The session was ended from elsewhere."""
        if end is not self._end:
            return
        self._end = None
        self.let_go("back end")
        exchange = self._exchange
        if self._frames is not None:
            self._close_websocket(reason, words)
        elif exchange is None:
            # Between two requests: the next one gets a new session.
            pass
        elif exchange.status:
            self._end_of_answer(end, exchange, reason)
        elif self._again is not None and end.is_used and reason in _BROKEN:
            # The connection was kept from the last request and has closed: nothing came
            # back, and sending the request again is safe.
            request, head = self._again
            self._again = None
            try:
                self._begin(request).session.client.received(head)
            except BadMessage as error:
                self._refuse(error.status, str(error))
        else:
            if reason in _BROKEN:
                self._door.backends.answered(end.session, False)
                words = "the back end closed the connection without an answer"
            self._refuse(status_of(reason), words or reason.value)

    # What the door calls.

    def drain(self) -> bool:
        """Close the connection soon if it has no request; is it a WebSocket?"""
        if self._frames is None and self._wait is self._door.idle:
            self._wait_for_request()
        return self._frames is not None

    def tell(self) -> None:
        """
        Ask a WebSocket's client to connect again, elsewhere.

        What it sends before it closes still reaches the back end.
        """
        if self._is_over or self._frames is None:
            return
        self._is_due = True
        self._pass_on(self._frames, b"")

    def give_up(self) -> None:
        """Close the connection, which no longer has a session."""
        self._close()

    # Requests.

    @property
    def _is_busy(self) -> bool:
        """Must what comes now wait, for an answer or until answers are read?"""
        exchange = self._exchange
        if exchange is None:
            return "client" in self._intake.holds or self in self._door.turns
        return exchange.is_whole

    def go_on(self) -> None:
        """Read the next request, which came before the last one was answered."""
        if not self._is_over:
            self._read()

    def _read(self) -> None:
        """Read one request, or more of it, from what came."""
        data, start = self._held, self._at
        # Unless more is found behind what is read here.
        self._held, self._at = b"", 0
        try:
            if self._exchange is None:
                end = find_head(data, start, self._door.settings.http_head_bytes)
                if not end:
                    self._held = data[start:]
                    self.let_go("answer")
                    self._wait_for_head()
                    return
                exchange = Exchange(
                    check_head(data[start:end]), self._door.settings.http_body_bytes
                )
                start = end
                body, at = exchange.take_request(data, start)
                self._exchange = exchange
                self._keep(data, at)
                self._open(exchange, body)
            else:
                exchange = self._exchange
                body, at = exchange.take_request(data, start)
                if self._upload is not None:
                    self._upload.received(at - start)
                self._keep(data, at)
                if exchange.is_whole:
                    self._upload = None
                if body and self._end is not None:
                    self._end.session.client.received(body)
        except BadMessage as error:
            self._door.log.info(
                "refused a request of {host}: {why}",
                host=self._arrival.host,
                why=str(error),
            )
            self._refuse_rest(error.status, str(error))
            return
        if self._exchange is not exchange or self._is_over:
            return
        if not exchange.is_whole:
            upload = self._upload
            if upload is None:
                upload = self._upload = self._begin_upload(at - start)
            if not self._intake.holds:
                self._wait_for_body(upload)
        elif exchange.status:
            self._wait_for_answer(exchange)
        else:
            self._wait_in(self._door.pending, self._door.settings.http_answer_seconds)

    def _keep(self, data: bytes, at: int) -> None:
        """Let what is behind a request wait, and read nothing more."""
        if at < len(data):
            self._held, self._at = data, at
            self.hold("answer")
        else:
            self.let_go("answer")

    def _begin_upload(self, size: int) -> Upload:
        settings, now = self._door.settings, self._door.clock.seconds()
        upload = Upload(settings.http_body_rate, settings.http_body_seconds, now)
        upload.received(size)
        if self._intake.holds:
            upload.pause(now)
        return upload

    def _open(self, exchange: Exchange, body: bytes) -> None:
        """
        Send a request to a back end, the last request's if possible.

        :raises BadMessage: its client has too many connections, or makes them too fast.
        """
        door, arrival, target = self._door, self._arrival, exchange.target
        sender = request_fields(
            target.fields,
            peer=arrival.host,
            is_tls=arrival.is_tls,
            authority=target.authority,
            proxies=door.proxies,
            version=target.version,
            by_name=target.by_name,
        )
        if not arrival.is_of(sender.host, door.clock.seconds()):
            raise BadMessage(503, "too many connections from your address")
        request = SessionRequest(
            "websocket" if exchange.is_upgrade else "http",
            sender.host,
            arrival.port if sender.host == arrival.host else 0,
            arrival.is_tls,
            called=target.host,
            path=target.path,
            user=self._user_of(exchange),
            traceparent=traceparent_of(exchange.values(b"traceparent")),
        )
        end = self._end
        if end is not None and not (
            door.backends.still_serves(end.session, request)
            # A WebSocket has a session of its own; one that was refused leaves it to
            # the next.
            and (not exchange.is_upgrade or end.session.request.kind == "websocket")
        ):
            self._drop_session(Reason.DONE)
            end = None
        packets = door.packets_at(target.host, target.path)
        if packets is not None and exchange.is_upgrade:
            self._become_packets(exchange, packets, request)
            return
        head = exchange.write_request(sender.fields)
        self._again = (request, head) if exchange.is_safe else None
        if end is None:
            end = self._begin(request)
        else:
            end.is_used = True
        end.session.client.received(head + body)

    def _begin(self, request: SessionRequest) -> _BackendEnd:
        """
        Begin a session.

        :raises BadMessage: the client begins too many.
        """
        if not self._arrival.may_begin(request.host, self._door.clock.seconds()):
            raise BadMessage(503, "your address makes too many connections per second")
        self._end = end = _BackendEnd(self)
        session = self._door.backends.begin(request, end)
        assert session is not None, "it brought no id"
        end.session = session
        if self._outlet.is_full:
            session.client.filled()
        return end

    def _user_of(self, exchange: Exchange) -> int | str | None:
        """Find the user; nearly always the same for all requests of a connection."""
        user_of = self._door.user_of
        if user_of is None:
            return None
        given = [exchange.values(name) for name in (b"authorization", b"cookie")]
        now = self._door.clock.seconds()
        if given != self._user[0] or now >= self._user_until:
            # Not for the whole connection: tokens expire, and keys are removed.
            self._user, self._user_until = (given, user_of(*given)), now + _USER_SECONDS
        return self._user[1]

    # Answers.

    def _answer_begins(self, exchange: Exchange, session: Session) -> None:
        self._door.answers[exchange.status] += 1
        self._door.backends.answered(session, exchange.status < 500)
        if self._wait is self._door.pending:
            self._rest()

    def _answer_is_whole(self, exchange: Exchange) -> None:
        self._exchange = self._again = None
        if not exchange.keeps:
            self._drop_session(Reason.DONE)
            self._close()
            return
        if not exchange.is_reusable:
            self._drop_session(Reason.DONE)
        self._next()

    def _next(self) -> None:
        """Serve the next request, which may already be here."""
        if self._outlet.is_full:
            # Not before the client reads the answers it has: we hold all of them.
            self.hold("client")
            return
        if self._held:
            self._door.turns.add(self)
        elif self._is_half:
            self._close()
        else:
            self._wait_for_request()

    def _look_at_answer(self) -> None:
        """Abort an answer that has stopped, unless the client does not read."""
        end, now = self._end, self._door.clock.seconds()
        deadline = self._heard + self._door.settings.http_answer_seconds
        if self._outlet.is_full or now < deadline:
            self._wait = self._door.stalls
            seconds = self._door.settings.http_answer_seconds
            self._wait.add(self, deadline if now < deadline else now + seconds)
            return
        if end is not None:
            self._door.log.warn(
                "back end {endpoint} of {service} stopped within its answer",
                endpoint=str(end.session.endpoint),
                service=end.session.service,
            )
            self._door.backends.answered(end.session, False)
        self._drop_session(Reason.TIMEOUT)
        # Only a broken connection shows that the rest is missing.
        self._abort()

    def _end_of_answer(
        self, end: _BackendEnd, exchange: Exchange, reason: Reason
    ) -> None:
        """The back end closed within an answer, which may be how the answer ends."""
        if reason is Reason.DONE:
            try:
                out = exchange.take_answer(b"", self._door.is_draining)
            except BadMessage:
                pass
            else:
                self._outlet.write(out)
                self._answer_is_whole(exchange)
                return
        if reason in _BROKEN:
            self._door.backends.answered(end.session, False)
        # Only a broken connection shows that the rest is missing.
        self._abort()

    def _bad_answer(self, end: _BackendEnd, why: str) -> None:
        session, exchange = end.session, self._exchange
        self._door.log.warn(
            "back end {endpoint} of {service} sent a bad answer: {why}",
            endpoint=str(session.endpoint),
            service=session.service,
            why=why,
        )
        self._door.backends.answered(session, False)
        self._drop_session(Reason.BACKEND_LOST)
        if exchange is not None and exchange.status:
            self._abort()
        else:
            self._refuse(502, "the back end's answer cannot be read")

    def _refuse_rest(self, status: int, words: str) -> None:
        """Refuse a request after which no other can be read."""
        exchange, self._exchange = self._exchange, None
        self._drop_session(Reason.DONE if exchange is None else Reason.CLIENT_LOST)
        if exchange is not None and exchange.status:
            self._abort()
        else:
            self._refuse(status, words)

    def _refuse(self, status: int, words: str) -> None:
        """Answer the current request ourselves, if it has no answer yet."""
        exchange, self._exchange, self._again = self._exchange, None, None
        self._rest()
        keeps = exchange is not None and exchange.keeps and exchange.is_whole
        keeps = keeps and not self._door.is_draining
        is_head = exchange is not None and exchange.target.method == b"HEAD"
        self._door.answers[status] += 1
        self._door.refused[status] += 1
        self._outlet.write(own_answer(status, words, keeps, is_head))
        if keeps:
            self._next()
        else:
            self._close()

    # WebSockets.

    def _become_packets(
        self, exchange: Exchange, packets: PacketDoor, request: SessionRequest
    ) -> None:
        """
        Leave the connection to the door of packets, as a WebSocket.

        :raises BadMessage: the handshake is not valid.
        """
        try:
            answer = handshake_answer(exchange.target.path, exchange.target.fields)
        except HandshakeRefused as error:
            raise BadMessage(error.status, str(error)) from error
        self._door.answers[101] += 1
        self._door.clients.discard(self)
        self._is_over = True
        self._rest()
        self._intake.end()
        self._outlet.release()
        self._outlet.forget()
        if self._intake.holds:
            self.transport.resumeProducing()
        arrival, clock = self._arrival, self._door.clock
        arrival.host, arrival.port = request.host, request.port
        socket = PacketSocket(
            self.transport,
            packets(arrival),
            lambda frames: arrival.pay(frames, clock.seconds()),
        )
        socket.begin(answer)
        if self._held:
            socket.dataReceived(self._held[self._at :])

    def _become_websocket(self, exchange: Exchange) -> None:
        self._frames = FrameEnds()
        self._frames.pass_on(exchange.behind)
        self._rest()
        held, self._held = self._held[self._at :], b""
        self.let_go("answer")
        if held and self._end is not None:
            self._end.session.client.received(held)
        if self._door.is_draining:
            # It was no WebSocket yet when those were told.
            self.tell()

    def _pass_on(self, frames: FrameEnds, data: bytes) -> None:
        """Send frames, or a close frame as soon as the current message has ended."""
        if not self._is_due:
            frames.pass_on(data)
            self._outlet.write(data)
        elif not self._is_told and not frames.is_closing:
            if data and not frames.is_between:
                self._outlet.write(data[: frames.up_to_end(data)])
            if frames.is_between and not frames.is_closing:
                self._is_told = True
                words = "this gateway stops: connect again"
                self._outlet.write(close_frame(1012, words))

    def _close_websocket(self, reason: Reason, words: str) -> None:
        frames = self._frames
        assert frames is not None
        if reason is Reason.DONE:
            # A back end that is done sends a close frame first: this one was killed.
            reason, words = Reason.BACKEND_LOST, "the back end closed the connection"
        code = close_code_of(reason)
        is_told = self._is_told or frames.is_closing
        if code is not None and frames.is_between and not is_told:
            self._outlet.write(close_frame(code, words or reason.value))
        if reason is Reason.TOO_SLOW:
            self._abort()
        else:
            self._close()

    # Deadlines, and the end.

    def _wait_for_request(self) -> None:
        seconds = _IDLE_SECONDS
        if self._door.is_draining:
            seconds = min(seconds, _LAST_SECONDS)
        self._wait_in(self._door.idle, seconds)

    def _wait_for_head(self) -> None:
        # Counted from its first byte, so that sending slowly gains no time.
        if self._held and self._wait is not self._door.heads:
            self._wait_in(self._door.heads, _HEAD_SECONDS)

    def _wait_for_body(self, upload: Upload) -> None:
        now = self._door.clock.seconds()
        seconds = self._door.settings.http_body_seconds
        self._wait_in(self._door.bodies, min(seconds, upload.deadline() - now))

    def _wait_for_answer(self, exchange: Exchange) -> None:
        """Have the rest of an answer that has begun come in time."""
        seconds = self._door.settings.http_answer_seconds
        if not exchange.is_event_stream:
            self._heard = self._door.clock.seconds()
            self._wait_in(self._door.stalls, seconds)
        else:
            self._rest()

    def _wait_in(self, waits: Waits, seconds: float) -> None:
        self._rest()
        self._wait = waits
        waits.add(self, self._door.clock.seconds() + seconds)

    def _rest(self) -> None:
        if self._wait is not None:
            self._wait.remove(self)
            self._wait = None

    def _drop_session(self, reason: Reason) -> None:
        end, self._end = self._end, None
        self._again = None
        self.let_go("back end")
        if end is not None:
            end.session.client.lost(reason)

    def _abort(self) -> None:
        self._is_over = True
        self._rest()
        self._intake.end()
        self.transport.abortConnection()

    def _close(self) -> None:
        """Send the bytes that are held, then close."""
        if self._is_over:
            return
        self._is_over, self._held = True, b""
        self._rest()
        self._intake.end()
        self._outlet.close(self._is_half)


#: Outcomes of sessions whose back end is gone.
_BROKEN = (Reason.DONE, Reason.BACKEND_LOST, Reason.ABORTED)
