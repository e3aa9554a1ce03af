"""Serve pages only under the server's own names, against DNS rebinding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from vinom.errors import Code, Refused
from vinom.limits.logged import BoundedLog, LogBounds
from vinom.limits.origins import Hosts
from vinom.web.answers import refuse

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
        log_bounds: LogBounds,
        exempt: Collection[bytes] = (),
        errors: Counter[str] | None = None,
    ) -> None:
        """
        :param inner: what to serve.
        :param hosts: the names.
        :param clock: for the log.
        :param log_bounds: how many refusals are logged.
        :param exempt: first parts of paths that are served under any name: those that
            load balancers and Prometheus ask for.
        :param errors: counts refusals by code.
        """
        super().__init__()
        self._inner, self._hosts = inner, hosts
        self._log = BoundedLog(_log, clock, log_bounds)
        self._exempt = frozenset(exempt)
        self._errors: Counter[str] = Counter() if errors is None else errors

    def getChild(self, path: bytes, request: Any) -> Resource:
        if path not in self._exempt:
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
                return _WrongName(host)
        inner: Resource = self._inner.getChildWithDefault(path, request)
        return inner


class _WrongName(Resource):
    """The request is for another server, or means to look as if."""

    isLeaf = True

    def __init__(self, host: str | None) -> None:
        """:param host: what the request calls us."""
        super().__init__()
        self._host = host

    def render(self, request: Request) -> bytes:
        if self._host is None:
            told = "the request must have one Host header"
        else:
            told = f"this server does not answer to the host name {self._host!r}"
        refusal = Refused(
            Code.HOST_REFUSED,
            f"{told}; if it is the server's own, set advertise or origin to it",
            {"host": self._host},
        )
        return refuse(request, refusal, 421)
