"""
Requests to web servers that the operator named: verified, bounded, without redirects.

Certificate and host name are verified for ``https:``. A redirect is an answer like any
other; nothing is sent to another place than the one that was named.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from vinom.errors import Misconfigured, VinomError
from vinom.net.lines.tls import certificates


class NotAnswered(VinomError):
    """A web server gave no usable answer; the message says why."""


@attrs.frozen
class Answer:
    """
    What a web server answered.

    :ivar status: HTTP status.
    :ivar retry_after: seconds that it asks to wait; ``None`` if it does not.
    """

    status: int
    retry_after: float | None = None


class WebClient:
    """Sends requests to web servers, and keeps their connections if asked to."""

    def __init__(
        self,
        reactor: Any,
        *,
        authority: bytes | None,
        authority_name: str,
        connect_seconds: float,
        most_bytes: int,
        most_kept: int = 0,
    ) -> None:
        """
        :param reactor: connects.
        :param authority: certificates that servers are verified with, PEM; those that
            the system trusts unless given.
        :param authority_name: the setting that it comes from, for errors.
        :param connect_seconds: how long a connection may take.
        :param most_bytes: longest body of an answer.
        :param most_kept: connections to keep for the next requests.
        :raises Misconfigured: *authority* is no certificate.
        """
        try:
            trusted = None
            if authority is not None:
                trusted = trustRootFromCertificates(certificates(authority))
        except Exception as error:
            # pyOpenSSL's errors have no common root that this package may know.
            raise Misconfigured(
                f"{authority_name} is not a certificate in PEM"
            ) from error
        self._most_bytes = most_bytes
        self._pool = HTTPConnectionPool(reactor, persistent=most_kept > 0)
        self._pool.maxPersistentPerHost = most_kept
        self._pool.retryAutomatically = False
        self._agent = Agent(
            reactor,
            BrowserLikePolicyForHTTPS(trusted),
            connectTimeout=connect_seconds,
            pool=self._pool,
        )

    async def fetch(self, url: bytes, accept: bytes) -> bytes:
        """
        Read a document.

        :param url: where it is.
        :param accept: its media type.
        :raises NotAnswered: it did not come whole.
        """
        try:
            answer = await self._agent.request(
                b"GET", url, Headers({b"Accept": [accept], b"User-Agent": [b"vinom"]})
            )
            body = _Body(self._most_bytes)
            answer.deliverBody(body)
            if answer.code != 200:
                body.drop()
                raise NotAnswered(f"it answers {answer.code}, not 200")
            return await body.whole
        except NotAnswered:
            raise
        except Exception as error:
            raise NotAnswered(_reason(error)) from error

    async def post(
        self, url: bytes, headers: dict[bytes, list[bytes]], body: bytes
    ) -> Answer:
        """
        Send a body; that of the answer is read, as far as it is short, and dropped.

        :param headers: of the request.
        :raises NotAnswered: no answer came.
        """
        try:
            answer = await self._agent.request(
                b"POST",
                url,
                Headers({b"User-Agent": [b"vinom"], **headers}),
                _Bytes(body),
            )
        except Exception as error:
            raise NotAnswered(_reason(error)) from error
        rest = _Body(self._most_bytes)
        answer.deliverBody(rest)
        # A whole answer leaves the connection for the next request.
        with suppress(NotAnswered):
            await rest.whole
        return Answer(answer.code, _retry_after(answer.headers))

    def close(self) -> Deferred[Any]:
        """Close the connections that are kept."""
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed


def _retry_after(headers: Headers) -> float | None:
    """Read how many seconds a server asks to wait; dates are ignored."""
    (text, *_) = headers.getRawHeaders(b"retry-after") or [b""]
    return float(text) if len(text) < 10 and text.isdigit() else None


def _reason(error: BaseException) -> str:
    """Write an error of the agent; some only list others."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[-1].value
    return f"{type(error).__name__}: {error}".rstrip(": ")


@implementer(IBodyProducer)
@attrs.frozen(eq=False)
class _Bytes:
    """The body of a request, sent at once: it is short."""

    _data: bytes
    length: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "length", len(self._data))

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: there is nothing left."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""


class _Body(Protocol):
    """Collects the body of an answer, up to a limit."""

    def __init__(self, most: int) -> None:
        self.whole: Deferred[bytes] = Deferred(self._give_up)
        self._most = most
        self._held = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > self._most:
            # First: the end of the connection would end it as well.
            self._end(Failure(NotAnswered(f"its answer is above {self._most} bytes")))
            self._held.clear()
            self._give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss, ConnectionDone):
            self._end(bytes(self._held))
        else:
            self._end(Failure(NotAnswered("its answer is incomplete")))

    def drop(self) -> None:
        """Read no more of it."""
        self._end(b"")
        self._give_up()

    def _give_up(self, _: object = None) -> None:
        # Of an agent's response: it can be closed, but not aborted.
        if self.transport is not None:
            self.transport.loseConnection()

    def _end(self, result: Any) -> None:
        if not self.whole.called:
            self.whole.callback(result)
