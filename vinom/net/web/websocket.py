"""``/ws``: turns HTTP requests into conversations over WebSocket."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from vinom.base.limits.logged import BoundedLog
from vinom.base.limits.origins import Hosts, Origins, setting_for
from vinom.errors import Code, Refused
from vinom.net.lines.forwarded import SIGNS, Forwarding, Proxies
from vinom.net.lines.proxied import put_protocol
from vinom.net.lines.websocket import WebSocketLine, WebSockets
from vinom.net.lines.ws_stream import (
    Accepted,
    HandshakeRefused,
    PlainHandshake,
    accept_handshake,
)
from vinom.net.web.answers import missing, refuse

_log = Logger()

#: Origins that the log names once each; further ones share the bounds of other lines.
_MOST_ORIGINS = 100


class WebSocketPage(Resource):
    """
    Answer handshakes, and hand connections over.

    A connection is counted when it arrives (`enter`), and until its line ends.

    :ivar direct: connections that are read without the reactor's steps.
    """

    def __init__(
        self,
        websockets: WebSockets,
        origins: Origins,
        deflates: bool = False,
        *,
        hosts: Hosts | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """
        :param websockets: makes the lines, and counts connections.
        :param origins: web sites whose pages may connect.
        :param deflates: compress messages if the client can.
        :param hosts: names that the server may be called; ``None`` for any.
        :param proxies: those that may name whom they speak for.
        """
        super().__init__()
        self._websockets, self._origins = websockets, origins
        self._hosts = hosts or Hosts(allows_any=True)
        self._proxies = proxies or Proxies()
        self.direct, self.reserve = websockets.direct, websockets.reserve
        self._deflates = deflates
        self._log = BoundedLog(_log, websockets.clock)
        self._refused_origins: set[str | None] = set()

    def getChild(self, path: bytes, request: Any) -> Resource:
        return missing()

    def render(self, request: Request) -> bytes | int:
        """Take the connection over from HTTP, or answer with a refusal."""
        peer: str = getattr(request.getClientAddress(), "host", "")
        host = self._client(peer, _forwarding(request))
        try:
            accepted = self._accept(request)
        except HandshakeRefused as error:
            request.setHeader(b"upgrade", b"websocket")
            request.setHeader(b"sec-websocket-version", b"13")
            wrong = Refused(Code.BAD_MESSAGE, str(error))
            self._note(host, wrong)
            return refuse(request, wrong, error.status)
        except Refused as refusal:
            # Only the origin check raises this. The page may read it: a failed
            # handshake gives its script no reason.
            request.setHeader(b"access-control-allow-origin", b"*")
            self._note_origin(host, refusal)
            return refuse(request, refusal, 403)
        many = self._enter_late(peer, host)
        if many is not None:
            return refuse(request, many, 429)
        self._hand_over(request, host, accepted)
        return NOT_DONE_YET

    def _accept(self, request: Request) -> Accepted:
        if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
            raise HandshakeRefused(405, "a WebSocket begins with GET of HTTP/1.1")
        channel: Any = request.channel
        if channel.is_pipelined:
            # Those answers may be held, and a WebSocket may stay for hours.
            raise HandshakeRefused(400, "wait for the answers to earlier requests")
        origin, called = request.getHeader("origin"), request.getHeader("host")
        if not self._origins.allows(origin, called):
            raise _refused_origin(origin)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        return accept_handshake("/", headers, self._deflates)

    def enter(self, host: str) -> Refused | None:
        """
        Count a connection of this peer until `leave`, or until its line ends.

        :returns: a refusal if there are too many; then it is not counted.
        """
        if self._websockets.connections.enter(host):
            return None
        refusal = Refused(
            Code.TOO_MANY_CONNECTIONS,
            "too many connections from your address; close one",
        )
        self._note(host, refusal)
        return refusal

    def trusts(self, host: str) -> bool:
        """
        Is this a proxy? Its connections count when it names somebody.

        :param host: the peer's address.
        """
        return self._proxies.trusts(host)

    def _client(self, peer: str, given: Forwarding) -> str:
        """Find the address that counts."""
        if self._proxies.trusts(peer):
            if not given.names_somebody:
                self._websockets.forwarding["unnamed"] += 1
        elif given:
            self._websockets.forwarding["not_believed"] += 1
        return self._proxies.client(peer, given)

    def _enter_late(self, peer: str, host: str) -> Refused | None:
        """Count a connection of a proxy for the player behind it; others count."""
        return self.enter(host) if self._proxies.trusts(peer) else None

    def leave(self, host: str) -> None:
        """Stop counting a connection that did not become a WebSocket."""
        self._websockets.connections.leave(host)

    def _note(self, host: str, refusal: Refused) -> None:
        """Count a refusal, and log it within bounds."""
        websockets = self._websockets
        websockets.errors[refusal.code] += 1
        self._log.info(
            "refused a connection from {host}: {code}, {why}, {details}",
            host=host,
            code=refusal.code.value,
            why=refusal.message,
            details=dict(refusal.details),
        )

    def _note_origin(self, host: str, refusal: Refused) -> None:
        """Count a page of a refused origin; log each origin once."""
        self._websockets.errors[refusal.code] += 1
        origin = refusal.details["origin"]
        if origin in self._refused_origins:
            return
        if len(self._refused_origins) < _MOST_ORIGINS:
            self._refused_origins.add(origin)
        self._log.warn(
            "refused WebSockets of pages of {origin!r}, first from {host}: {why}",
            origin=None if origin is None else origin[:200],
            host=host,
            why=refusal.message,
        )

    def _hand_over(self, request: Request, host: str, accepted: Accepted) -> None:
        """Replace the HTTP channel with a line."""
        websockets = self._websockets
        line = WebSocketLine(
            websockets, host, websockets.new_stream(accepted.extensions)
        )
        channel: Any = request.channel
        transport = channel.transport
        channel.setTimeout(None)
        transport.unregisterProducer()
        channel.requests.clear()
        self.reserve.leave(put_protocol(transport, line))
        line.begin(transport, accepted.answer)
        if rest := channel.take_behind():
            line.dataReceived(rest)

    def let_in(self, transport: Any, peer: str, handshake: PlainHandshake) -> bool:
        """
        Take over a new connection before HTTP has seen it.

        :param transport: the connection.
        :param peer: the peer's address, as given to `enter`.
        :param handshake: what it sent.
        :returns: ``False`` if it must be refused: let `render` answer it.
        """
        websockets = self._websockets
        if (
            self._deflates
            or not self._hosts.allows(handshake.host)
            or not self._origins.allows(handshake.origin, handshake.host)
        ):
            return False
        host = self._client(peer, handshake.forwarded)
        if self._enter_late(peer, host) is not None:
            # It is refused again there, with an answer.
            return False
        line = WebSocketLine(websockets, host, websockets.new_stream())
        self.reserve.leave(put_protocol(transport, line))
        line.begin(transport, handshake.answer, is_first=True)
        if handshake.rest:
            line.dataReceived(handshake.rest)
        return True


class WithSocket(Resource):
    """Pages, with a WebSocket at ``/ws``."""

    def __init__(self, pages: Resource, page: WebSocketPage) -> None:
        """
        :param pages: everything else.
        :param page: the WebSocket.
        """
        super().__init__()
        self._pages = pages
        self.putChild(b"ws", page)

    def getChild(self, path: bytes, request: Any) -> Resource:
        found: Resource = self._pages.getChildWithDefault(path, request)
        return found


def _refused_origin(origin: str | None) -> Refused:
    """Say which setting would let pages of this origin connect."""
    if origin is None:
        why = "the setting browsers_only refuses clients that send no Origin header"
    elif (value := setting_for(origin)) is None:
        why = (
            "pages of this origin can't be allowed; open the page over http, such as "
            "with the setting page=DIRECTORY, and not from a file"
        )
    else:
        why = f"if they may connect, set origin={value}"
    return Refused(Code.ORIGIN_REFUSED, why, {"origin": origin})


def _forwarding(request: Request) -> Forwarding:
    """Read from whom a request says that it comes."""
    headers = request.requestHeaders
    forwarded, x_forwarded_for = (
        [value.decode("latin-1") for value in headers.getRawHeaders(name, [])]
        for name in (b"forwarded", b"x-forwarded-for")
    )
    has_signs = any(map(headers.hasHeader, SIGNS))
    return Forwarding(forwarded, x_forwarded_for, has_signs)
