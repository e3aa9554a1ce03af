"""
Who gets pages: requests under the server's own names, against DNS rebinding, and those
that carry the operator's token; and the admin port of a node or a gateway, whose pages
few connections share.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.limits.origins import Hosts
from vinom.errors import Code, Misconfigured, Refused
from vinom.net.lines.limits import CountedFactory
from vinom.net.web.answers import QuietSite, Refusing

_log = Logger()


class NamedHosts(Resource):
    """
    Serve *inner* to requests whose Host header is a name of this server.

    A browser sends the name that its user typed, or that a page chose; a page can have
    its own name lead to any address, such as 127.0.0.1.
    """

    def __init__(
        self,
        inner: Resource,
        hosts: Hosts,
        clock: IReactorTime,
        exempt: Collection[bytes] = (),
        errors: Counter[str] | None = None,
        *,
        programs: Collection[bytes] = (),
        remedy: str = "if it is the server's own, set advertise or origin to it",
    ) -> None:
        """
        :param inner: what to serve.
        :param hosts: the names.
        :param clock: for the log.
        :param exempt: first parts of paths that are served under any name: those that
            load balancers ask for.
        :param errors: counts refusals by code.
        :param programs: first parts of paths that are served under any name but to
            browsers: those that Prometheus asks for.
        :param remedy: what to do if a refused name is right.
        """
        super().__init__()
        self._inner, self._hosts = inner, hosts
        self._log = BoundedLog(_log, clock)
        self._exempt, self._programs = frozenset(exempt), frozenset(programs)
        self._remedy = remedy
        self._errors: Counter[str] = Counter() if errors is None else errors

    def getChild(self, path: bytes, request: Any) -> Resource:
        # Every browser sends this header, and no page can make it leave it out.
        is_browser = request.requestHeaders.hasHeader(b"accept-language")
        if path not in self._exempt and (is_browser or path not in self._programs):
            hosts = request.requestHeaders.getRawHeaders(b"host", [])
            host = hosts[0].decode("latin-1") if len(hosts) == 1 else None
            if not self._hosts.allows(host):
                self._errors[Code.HOST_REFUSED] += 1
                peer = getattr(request.getClientAddress(), "host", "")
                self._log.info(
                    "refused a request from {peer}: no name of this server is {host!r}",
                    peer=peer,
                    host=host,
                )
                why = "the request must have one Host header"
                if host is not None:
                    why = f"this server does not answer to the host name {host!r}"
                refusal = Refused(
                    Code.HOST_REFUSED, f"{why}; {self._remedy}", {"host": host}
                )
                return Refusing(refusal, 421)
        inner: Resource = self._inner.getChildWithDefault(path, request)
        return inner


#: Connections at once; a quarter of them from one address.
MOST_CONNECTIONS = 64


def admin_port(
    pages: NamedHosts,
    reactor: Any,
) -> IProtocolFactory:
    """Make what serves an admin port."""
    return CountedFactory(
        QuietSite(pages, reactor),
        NetworkCounts(MOST_CONNECTIONS // 4, MOST_CONNECTIONS // 2, MOST_CONNECTIONS),
        BoundedLog(_log, reactor),
    )


#: A shorter token could be guessed.
SHORTEST_TOKEN = 16


def checked_token(text: bytes, source: str) -> bytes:
    """
    Read a bearer token from a file's content.

    :param text: the content.
    :param source: names the file in errors.
    :raises Misconfigured: the token is too short or contains blanks.
    """
    token = text.strip()
    if len(token) < SHORTEST_TOKEN or len(token.split()) != 1:
        raise Misconfigured(
            f"{source} must contain one token of at least {SHORTEST_TOKEN} characters, "
            "without blanks"
        )
    return token


class Guarded(Resource):
    """
    Serve *inner* to requests that carry the bearer token (RFC 6750).

    The comparison takes equally long for every wrong token.
    """

    def __init__(self, inner: Resource, token: bytes) -> None:
        """
        :param inner: what to serve.
        :param token: the valid token.
        """
        super().__init__()
        self._inner, self._token = inner, token

    def getChild(self, path: bytes, request: Any) -> Resource:
        given = (request.getHeader(b"authorization") or b"").split()
        if (
            len(given) == 2
            and given[0].lower() == b"bearer"
            and hmac.compare_digest(given[1], self._token)
        ):
            inner: Resource = self._inner.getChildWithDefault(path, request)
            return inner
        why = "the bearer token is missing or wrong"
        return Refusing(Refused(Code.UNAUTHORIZED, why))
