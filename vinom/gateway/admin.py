"""The admin port: ``/health``, ``/ready``, ``/metrics`` and the API under ``/v1``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.interfaces import IProtocolFactory
from twisted.web.resource import Resource
from twisted.web.server import Request

from vinom.base.limits.origins import Hosts
from vinom.gateway.metrics import GatewayCollector
from vinom.net.web.answers import Asked, Folder, Page, answer
from vinom.net.web.bearer import Guarded
from vinom.net.web.health import Health
from vinom.net.web.metrics import Metrics
from vinom.net.web.named_hosts import NamedHosts, admin_port


class Operations(Protocol):
    """The gateway's operations that the pages use."""

    async def facts(self) -> Mapping[str, Any]:
        """Count everything, for metrics."""

    def obstacle(self) -> str | None:
        """Why clients should not be sent here; ``None`` if they can."""

    def details(self) -> Mapping[str, Any]:
        """The state of the rules, as a JSON-like dict."""

    def drain(self) -> None:
        """Accept no new clients, and exit when the last one is gone."""

    def status(self) -> Mapping[str, Any]:
        """The gateway's status, as a JSON-like dict."""

    def listed_routes(self) -> Mapping[str, Any]:
        """The rules in use and the state of their back ends, as a JSON-like dict."""


class Ready(Page):
    """Answer 200 if clients can be sent here, or else 503; report mistakes in rules."""

    def __init__(self, operations: Operations) -> None:
        """:param operations: the gateway."""
        super().__init__()
        self._operations = operations

    def render_GET(self, request: Request) -> bytes:
        obstacle = self._operations.obstacle()
        found = {"status": obstacle or "ready", **self._operations.details()}
        return answer(request, found, 200 if obstacle is None else 503)


def _of(facts: Callable[[], Awaitable[Mapping[str, Any]]]) -> Metrics:
    return Metrics(facts, GatewayCollector)


def admin_site(
    operations: Operations, token: bytes | None, reactor: Any
) -> IProtocolFactory:
    """
    Make the site of the admin port.

    :param operations: the gateway.
    :param token: the token of the API; ``None`` for no API.
    :param reactor: runs it.
    """
    pages: dict[str, Resource] = {
        "health": Health(),
        "ready": Ready(operations),
        "metrics": _of(operations.facts),
    }
    if token is not None:

        def begin(body: bytes) -> Mapping[str, Any]:
            operations.drain()
            return operations.status()

        drain = Asked("POST", begin)
        api = Folder(
            drain=drain,
            status=Asked("GET", lambda body: operations.status()),
            routes=Asked("GET", lambda body: operations.listed_routes()),
        )
        pages["v1"] = Guarded(api, token)
        root: Folder = _Root(Guarded(Folder(drain=drain), token), **pages)
    else:
        root = Folder(**pages)
    named = NamedHosts(
        root,
        Hosts(),
        reactor,
        programs=(*(name.encode() for name in pages), b"drain"),
        remedy="use the gateway's address, or a program that is no browser",
    )
    return admin_port(named, reactor)


class _Root(Folder):
    """All pages; ``/drain`` needs the token, like the API."""

    def __init__(self, guarded: Guarded, **pages: Resource) -> None:
        """
        :param guarded: the pages that need the token, with ``drain``.
        :param pages: the other pages.
        """
        super().__init__(**pages)
        self._guarded = guarded

    def getChild(self, path: bytes, request: Any) -> Resource:
        if path == b"drain":
            return self._guarded.getChild(path, request)
        return super().getChild(path, request)
