"""What everybody finds where ``http`` is: the page, health, and WebSockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from vinom.game import Game
from vinom.net.proxied import ProxiedFactory
from vinom.net.tls import HttpTls, ReloadableTls, SpeaksHttp
from vinom.net.websocket import WebSocketBounds, WebSockets
from vinom.rules.limits import is_loopback
from vinom.rules.origins import Origins
from vinom.tap.settings import Settings
from vinom.web.answers import make_site
from vinom.web.front_door import FrontDoor
from vinom.web.game_catalogue import GameCatalogue
from vinom.web.health import health_pages
from vinom.web.static_pages import StaticPages
from vinom.web.websocket import WebSocketPage


def public_site(
    settings: Settings,
    games: Mapping[str, Game[Any, Any]],
    websockets: WebSockets,
    tls: ReloadableTls,
    obstacle: Callable[[], str | None],
    reactor: Any,
) -> IProtocolFactory:
    """
    Make what listens at the ``http`` endpoint.

    :param tls: used if the settings say so.
    :param obstacle: why no players should be sent here.
    """
    pages = StaticPages()
    pages.children.update(health_pages(obstacle).children)
    pages.putChild(b"games.json", GameCatalogue(games, settings.dev_notes))
    origins = Origins(
        settings.origin,
        not settings.browsers_only,
        settings.any_origin,
        has_tls(settings),
    )
    page = WebSocketPage(websockets, origins, settings.deflate)
    pages.putChild(b"ws", page)
    site: IProtocolFactory = FrontDoor(make_site(pages, reactor), page, reactor)
    if settings.http_tls:
        site = TLSMemoryBIOFactory(HttpTls(tls), False, site, reactor)
    if settings.proxy:
        # Outermost: a proxy's header comes before everything of the player's.
        site = ProxiedFactory(site, settings.proxy)
    return SpeaksHttp(site) if _is_tls_endpoint(settings) else site


def is_told_in_plain(settings: Settings, port: IListeningPort) -> bool:
    """
    Can others read on the way what players say to this port?

    Then their names' passwords and player keys, too. Behind a proxy that is known
    to the settings it is the proxy's affair, and ``allow_plaintext`` says that
    somebody knows.
    """
    host = getattr(port.getHost(), "host", None)
    if host is None or is_loopback(host):
        return False
    return not (has_tls(settings) or settings.proxy or settings.allow_plaintext)


def has_tls(settings: Settings) -> bool:
    """Does the node itself speak TLS there?"""
    return settings.http_tls or _is_tls_endpoint(settings)


def _is_tls_endpoint(settings: Settings) -> bool:
    return str(settings.http).startswith("ssl:")


def websocket_bounds(settings: Settings) -> WebSocketBounds:
    """Say what one WebSocket may cost."""
    return WebSocketBounds(
        settings.line_limit,
        settings.connections_per_address,
        ping_seconds=settings.ping_seconds,
    )
