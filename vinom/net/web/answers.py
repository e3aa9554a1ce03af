"""
HTTP for our APIs: small bodies in, JSON out, errors with codes; and the pages of every
program: ``/health`` and ``/ready`` for load balancers, ``/echo`` for players, and its
figures in Prometheus' text format.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar, cast

from msgspec import MsgspecError, Struct, json
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.waits import Turns
from vinom.errors import Code, Refused, StoreUnavailable, field_of

#: Longest request body, bytes: a match of 64 players with loadouts.
BODY_LIMIT = 64 * 1024
#: A request with a longer body is cut off without an answer, bytes.
_ENDLESS = 16 * BODY_LIMIT
#: A silent connection is closed after this time, seconds.
_IDLE = 60.0
#: How long a request may take from its first byte to the end of its headers, and from
#: there to its end, seconds.
_HEAD_SECONDS, _BODY_SECONDS = 10.0, 30.0
#: How long a connection that we closed may wait for the peer to close it, seconds.
_CLOSE = 2.0

_log = Logger()
_B = TypeVar("_B", bound=Struct)

#: HTTP status by code; every other code means a mistake of the client, 400.
_STATUSES = {
    Code.UNAUTHORIZED: 401,
    Code.NO_SUCH_MATCH: 404,
    Code.NO_SUCH_PLAYER: 404,
    Code.NO_SUCH_ROOM: 404,
    Code.UNKNOWN_GAME: 404,
    Code.UNKNOWN_TYPE: 404,
    Code.ALREADY_IN_MATCH: 409,
    Code.TOO_LONG: 413,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
    Code.BUSY: 503,
    Code.DRAINING: 503,
    Code.UNAVAILABLE: 503,
    Code.STORE_UNAVAILABLE: 503,
}


class BoundedRequest(Request):
    """
    A request whose body has a limit, however it is sent.

    The excess is read and discarded, because clients read the answer only when they
    have sent everything; an endless body is cut off.
    """

    _taken = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > _ENDLESS:
            channel: Any = self.channel
            channel.transport.abortConnection()
        elif self._taken <= BODY_LIMIT:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        # The end of a body that was cut off may come in the same read.
        if self._taken <= _ENDLESS:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        if self._taken <= BODY_LIMIT:
            super().process()
            return
        refusal = Refused(
            Code.TOO_LONG,
            f"the body is longer than {BODY_LIMIT} bytes",
            {"limit": BODY_LIMIT},
        )
        self.write(refuse(self, refusal))
        self.finish()


class TimedChannel(HTTPChannel):
    """
    HTTP of one connection: one request at a time, each of which has a deadline.

    Twisted's own serves every request of a read at once, and holds all answers. Here
    the next request waits until the client has taken most of the answer before it, and
    for its turn; at most one read is held.

    Twisted's own timeout begins again with each byte: one byte per second would keep a
    connection for ever. It remains for connections between requests, and for clients
    that do not read.

    :ivar is_pipelined: was the request sent before the answer to an earlier one?
    """

    site: QuietSite
    transport: Any
    is_pipelined = False
    _is_answering = _is_full = _is_over = False
    _behind = b""

    def connectionMade(self) -> None:
        self._deadline = Timer(self.site.clock)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._is_answering:
            self._behind += data
            self.transport.pauseProducing()
            return
        if not self._deadline.is_running:
            self._deadline.start(_HEAD_SECONDS, self._overdue)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self._deadline.start(_BODY_SECONDS, self._overdue)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._deadline.cancel()
        self._is_answering = True
        self._behind = self.take_behind()
        super().allContentReceived()

    def take_behind(self) -> bytes:
        """Take what came behind the request that is being answered."""
        behind, self._behind = self._behind, b""
        return behind + cast(bytes, self.clearLineBuffer())

    def requestDone(self, request: HTTPRequest) -> None:
        behind = self.take_behind()
        # This gives us what came in one read with the end of a body, which is earlier.
        super().requestDone(request)
        self._behind += behind
        if self.persistent:
            self._next()
        else:
            self._is_over = True
            self.setTimeout(_IDLE)

    def pauseProducing(self) -> None:
        self._is_full = True
        super().pauseProducing()
        self.transport.pauseProducing()
        self.setTimeout(_IDLE)

    def resumeProducing(self) -> None:
        self._is_full = False
        self.setTimeout(None if self._is_answering and self.requests else _IDLE)
        super().resumeProducing()
        if self._is_answering and not self.requests:
            self._next()
        elif not self._behind:
            # Also while a request is answered, to notice that its client has gone.
            self.transport.resumeProducing()

    def timeoutConnection(self) -> None:
        # As in `HTTPChannel`, but without a log line, which strangers could cause.
        self._deadline.cancel()
        self.setTimeout(None)
        self._is_over = True
        self.loseConnection()
        self._deadline.start(_CLOSE, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.cancel()
        self.site.turns.remove(self)
        super().connectionLost(reason)

    def _next(self) -> None:
        """Read the next request, as soon as the client has taken the answers so far."""
        if self._is_full:
            return
        if self._behind:
            self.transport.pauseProducing()
            self.site.turns.add(self)
        else:
            self._is_answering = self.is_pipelined = False
            self.transport.resumeProducing()

    def go_on(self) -> None:
        """Read the request that came behind the last one."""
        self._is_answering, self.is_pipelined = False, True
        self.transport.resumeProducing()
        self.dataReceived(self.take_behind())

    def _overdue(self) -> None:
        self.transport.write(_TOO_LATE)
        self.timeoutConnection()


_TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


class QuietSite(Site):
    """
    A site with limits of time and size, and no access log: health checks would hide
    everything else.

    :ivar turns: of connections that have sent their next request already.
    """

    noisy = False
    protocol: Any = TimedChannel

    def __init__(self, root: IResource, clock: IReactorTime) -> None:
        super().__init__(
            root, requestFactory=BoundedRequest, timeout=_IDLE, reactor=clock
        )
        self.clock, self.turns = clock, Turns(clock)

    def log(self, request: HTTPRequest) -> None:
        """Write no access log."""


def answer(request: HTTPRequest, body: Any, status: int = 200) -> bytes:
    """Answer with JSON."""
    # Twisted has no words for some, such as 421 and 429.
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    text = json.encode(body) + b"\n"
    request.setHeader(b"content-length", b"%d" % len(text))
    # For a body after HEAD, Twisted would log a line each time.
    return b"" if request.method == b"HEAD" else text


def refuse(request: HTTPRequest, refusal: Refused, status: int | None = None) -> bytes:
    """
    Answer with an error, in the lobby's form.

    :param refusal: the error.
    :param status: HTTP status; ``None`` for that of the code.
    """
    error = {
        "code": refusal.code.value,
        "message": refusal.message,
        "details": dict(refusal.details),
    }
    if status is None:
        status = _STATUSES.get(refusal.code, 400)
    return answer(request, {"error": error}, status)


def wrong_method(request: HTTPRequest, right: str) -> bytes:
    """Answer with the method that the page takes."""
    request.setHeader(b"allow", right.encode())
    return refuse(request, Refused(Code.UNKNOWN_TYPE, f"use {right}"), 405)


class Page(Resource):
    """A page without pages below it."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return missing()

    def render(self, request: Request) -> bytes | int:
        try:
            found: bytes | int = super().render(request)
        except UnsupportedMethod:
            return wrong_method(request, "GET")
        return found


class Asked(Page):
    """Answer one method with a function's result."""

    def __init__(
        self, method: str, serve: Callable[[bytes], Awaitable[Any] | Any]
    ) -> None:
        """
        :param method: HTTP method.
        :param serve: called with the request's body; returns what to send as JSON, or
            an awaitable of it. It is cancelled if the client disconnects.
        """
        super().__init__()
        self._method, self._serve = method.encode(), serve

    def render(self, request: Request) -> bytes | int:
        if request.method != self._method:
            return wrong_method(request, self._method.decode())
        assert request.content is not None
        body = request.content.read()
        working: Deferred[Any] = Deferred.fromCoroutine(self._run(body))
        is_gone = False

        def gone(_: Any) -> None:
            nonlocal is_gone
            is_gone = True
            working.cancel()

        def done(sent: bytes) -> None:
            if not is_gone:
                request.write(sent)
                request.finish()

        request.notifyFinish().addErrback(gone)
        working.addCallback(lambda found: answer(request, found))
        working.addErrback(lambda failure: _failed(request, failure))
        working.addCallback(done)
        return NOT_DONE_YET

    async def _run(self, body: bytes) -> Any:
        found = self._serve(body)
        return await found if isinstance(found, Awaitable) else found


def _failed(request: HTTPRequest, failure: Failure) -> bytes:
    error = failure.value
    if isinstance(error, Refused):
        return refuse(request, error)
    if isinstance(error, StoreUnavailable):
        return refuse(request, error.refusal())
    if not isinstance(error, CancelledError):
        _log.failure("the admin API failed", failure)
    return refuse(
        request, Refused(Code.INTERNAL, "internal error; the node's log has it")
    )


class Refusing(Resource):
    """Answer with an error."""

    isLeaf = True

    def __init__(self, refusal: Refused, status: int | None = None) -> None:
        """The parameters are those of `refuse`."""
        super().__init__()
        self._refusal, self._status = refusal, status

    def render(self, request: Request) -> bytes:
        if self._refusal.code is Code.UNAUTHORIZED:
            request.setHeader(b"www-authenticate", b"Bearer")
        return refuse(request, self._refusal, self._status)


def missing() -> Refusing:
    """Answer 404."""
    return Refusing(Refused(Code.UNKNOWN_TYPE, "no page has this address"), 404)


class Folder(Resource):
    """Named children, and nothing else."""

    def __init__(self, **children: Resource) -> None:
        """:param children: pages, by the last part of their address."""
        super().__init__()
        for name, child in children.items():
            self.putChild(name.encode(), child)

    def getChild(self, path: bytes, request: Any) -> Resource:
        return missing()

    def render(self, request: Request) -> bytes:
        return missing().render(request)


def read_name(path: bytes) -> str | None:
    """Decode one part of a path; ``None`` if it can't be an id: long, or not ASCII."""
    try:
        name = path.decode("ascii")
    except UnicodeDecodeError:
        return None
    return name if 1 <= len(name) <= 64 else None


def decode_json(decoder: json.Decoder[_B], body: bytes) -> _B:
    """
    Decode a request's body.

    :raises Refused: with the field that is wrong, if there is one.
    """
    try:
        return decoder.decode(body)
    except (MsgspecError, UnicodeDecodeError) as error:
        field = field_of(str(error))
        code = Code.BAD_MESSAGE if field is None else Code.BAD_FIELD
        raise Refused(code, str(error), {"field": field} if field else {}) from None


class Health(Page):
    """Answer 200 always: the process runs."""

    def render_GET(self, request: Request) -> bytes:
        return answer(request, {"status": "ok"})


class Ready(Page):
    """Answer 200 if players can be sent here, or 503 with the reason."""

    def __init__(
        self,
        obstacle: Callable[[], str | None],
        details: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """
        :param obstacle: returns the reason why not; ``None`` if they can.
        :param details: gives what else is answered.
        """
        super().__init__()
        self._obstacle, self._details = obstacle, details

    def render_GET(self, request: Request) -> bytes:
        obstacle = self._obstacle()
        found = {"status": obstacle or "ready", **self._details()}
        return answer(request, found, 200 if obstacle is None else 503)


class Echo(Page):
    """Answer 204, at once, for players who measure how far this node is."""

    def render_GET(self, request: Request) -> bytes:
        # Pages of other nodes measure it too.
        request.setHeader("access-control-allow-origin", "*")
        request.setHeader("cache-control", "no-store")
        request.setResponseCode(204)
        return b""


def health_pages(obstacle: Callable[[], str | None]) -> Folder:
    """Make these pages; *obstacle* as in `Ready`."""
    return Folder(health=Health(), ready=Ready(obstacle), echo=Echo())


class Metrics(Page):
    """Serve the page."""

    _log = Logger()

    def __init__(
        self,
        facts: Callable[[], Awaitable[Mapping[str, Any]]],
        collector: Callable[[Mapping[str, Any]], Collector],
    ) -> None:
        """
        :param facts: collects what the services count; called once per request.
        :param collector: makes metrics of it.
        """
        super().__init__()
        self._facts, self._collector = facts, collector
        self._process = ProcessCollector(registry=None)

    def render_GET(self, request: Request) -> int:
        is_gone = False

        def gone(_: Any) -> None:
            nonlocal is_gone
            is_gone = True

        def write(page: bytes) -> None:
            if not is_gone:
                request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
                request.write(page)
                request.finish()

        def failed(failure: Failure) -> None:
            self._log.failure("cannot collect metrics", failure)
            if not is_gone:
                request.setResponseCode(500)
                request.finish()

        request.notifyFinish().addErrback(gone)
        page = Deferred.fromCoroutine(self._page())
        page.addCallback(write).addErrback(failed)
        return NOT_DONE_YET

    async def _page(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._collector(await self._facts()))
        registry.register(self._process)
        return generate_latest(registry)
