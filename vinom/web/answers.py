"""HTTP in our way: small bodies in, JSON out, errors with codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from msgspec import MsgspecError, Struct, json
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from vinom.errors import Code, Refused, StoreUnavailable, field_of

#: Longest request body, bytes: a match of 64 players with loadouts.
BODY_LIMIT = 64 * 1024
#: A body above this gets no answer, bytes.
_ENDLESS = 16 * BODY_LIMIT
#: A connection that says nothing for so long is closed, seconds.
_IDLE = 60.0

_log = Logger()
_B = TypeVar("_B", bound=Struct)

#: Code to HTTP status; every other one is the asker's mistake.
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
}


class BoundedRequest(Request):
    """
    A request whose body has a limit, however it is sent.

    What is above it is read and forgotten, because a client hears an answer only
    when it has sent everything; one that never ends is cut off.
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
        # The end of what was endless may have come in the same read.
        if self._taken <= _ENDLESS:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        if self._taken <= BODY_LIMIT:
            super().process()
            return
        refusal = Refused(
            Code.TOO_LONG, f"a body above {BODY_LIMIT} bytes", {"limit": BODY_LIMIT}
        )
        self.write(refuse(self, refusal))
        self.finish()


class QuietSite(Site):
    """A site without access log: health checks would drown everything else."""

    noisy = False

    def log(self, request: HTTPRequest) -> None:
        """Do not."""


def make_site(root: IResource, clock: IReactorTime) -> Site:
    """Serve *root*, with bounds on time and size."""
    return QuietSite(root, requestFactory=BoundedRequest, timeout=_IDLE, reactor=clock)


def answer(request: HTTPRequest, body: Any, status: int = 200) -> bytes:
    """Answer with JSON."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"cache-control", b"no-store")
    text = json.encode(body) + b"\n"
    request.setHeader(b"content-length", b"%d" % len(text))
    # Twisted writes a line into the log for each body that HEAD does not want.
    return b"" if request.method == b"HEAD" else text


def refuse(request: HTTPRequest, refusal: Refused, status: int | None = None) -> bytes:
    """
    Answer with an error, shaped as the lobby's are.

    :param status: in place of the one that belongs to the code.
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
    """Answer that the page is there, and takes another method."""
    request.setHeader(b"allow", right.encode())
    return refuse(request, Refused(Code.UNKNOWN_TYPE, f"use {right}"), 405)


class Page(Resource):
    """A page without pages below it."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        return Missing()

    def render(self, request: Request) -> bytes | int:
        try:
            found: bytes | int = super().render(request)
        except UnsupportedMethod:
            return wrong_method(request, "GET")
        return found


class Asked(Page):
    """
    Answer one method with what a function gives.

    :param serve: gets the request's body; what it returns is sent as JSON, after
        waiting for it if need be. A client that hangs up cancels it.
    """

    def __init__(
        self, method: str, serve: Callable[[bytes], Awaitable[Any] | Any]
    ) -> None:
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
        return refuse(request, Refused(Code.UNAVAILABLE, "storage does not answer"))
    if not isinstance(error, CancelledError):
        _log.failure("the admin API failed", failure)
    return refuse(request, Refused(Code.INTERNAL, "our mistake; it is in the log"))


class Missing(Resource):
    """There is nothing here, said in JSON."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return refuse(request, Refused(Code.UNKNOWN_TYPE, "nothing is here"), 404)


class Folder(Resource):
    """Named children, and nothing else."""

    def __init__(self, **children: Resource) -> None:
        super().__init__()
        for name, child in children.items():
            self.putChild(name.encode(), child)

    def getChild(self, path: bytes, request: Any) -> Resource:
        return Missing()

    def render(self, request: Request) -> bytes:
        return refuse(request, Refused(Code.UNKNOWN_TYPE, "nothing is here"), 404)


def read_name(path: bytes) -> str | None:
    """Read one part of a path; ids are short and ASCII."""
    try:
        name = path.decode("ascii")
    except UnicodeDecodeError:
        return None
    return name if 1 <= len(name) <= 64 else None


def decode_json(decoder: json.Decoder[_B], body: bytes) -> _B:
    try:
        return decoder.decode(body)
    except (MsgspecError, UnicodeDecodeError) as error:
        field = field_of(str(error))
        code = Code.BAD_MESSAGE if field is None else Code.BAD_FIELD
        raise Refused(code, str(error), {"field": field} if field else {}) from None
