"""The ports of a node: opened in order, and closed in the reverse one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from vinom.base.limits.buckets import is_loopback
from vinom.base.limits.logged import BoundedLog
from vinom.base.settings.values import StoreAddress
from vinom.base.wall.enclosure import missing
from vinom.base.wall.kernel import hide_memory
from vinom.errors import Misconfigured
from vinom.fleet.control.link import ControlServer
from vinom.fleet.local.fleet import LocalFleet
from vinom.fleet.local.forklink import User
from vinom.net.keys.authority import NODE_PURPOSE, private_folder
from vinom.net.keys.files import write_secret
from vinom.net.lines.limits import ReservingFactory
from vinom.net.lines.proxied import ProxiedFactory
from vinom.net.lines.tcp import LineFactory
from vinom.net.web.answers import QuietSite
from vinom.net.web.guards import Guarded
from vinom.node.build import (
    Parts,
    admin_site,
    game_user,
    gateway_links,
    is_plaintext,
    node_channels,
    public_site,
)
from vinom.node.gateways import GatewayLinks, listen_for_gateways, over_links
from vinom.node.links import SERVES, listen_for_pods
from vinom.node.listening import (
    NoChildren,
    address_towards,
    bound_at,
    listen_privately,
    meeting_place,
    remove_meeting_place,
)
from vinom.node.settings import Settings

#: In `NodeFacts.addresses`: where players come.
LOBBY = "lobby"
_log = Logger("vinom.node")
_wall_log = Logger("vinom.base.wall")


class Listeners:
    """
    The ports of one node.

    :ivar control_socket: where game servers with a user of their own connect; ``None``
        without such a user.
    :ivar lobby_at: where the lobby listens.
    :ivar web_at: where others listen, by setting.
    :ivar gateways: serves gateways; ``None`` without ``gateway_link``.
    :ivar nodes: serves other nodes; ``None`` without ``node_link``.
    """

    def __init__(
        self, settings: Settings, reactor: Any, failed: Callable[[], None]
    ) -> None:
        """
        :param settings: the node's.
        :param reactor: listens.
        :param failed: called when an endpoint turns out later not to listen.
        """
        self._settings, self._reactor, self._failed = settings, reactor, failed
        # Where game servers connect, until they have sent their last messages.
        self._control: list[IListeningPort] = []
        self._ports: list[IListeningPort] = []
        # Those of them to which players connect.
        self._doors: list[IListeningPort] = []
        self._is_starting = True
        self.control_socket: Path | None = None
        self.lobby_at = ""
        self.web_at: dict[str, str] = {}
        self.gateways: GatewayLinks | None = None
        self.nodes: GatewayLinks | None = None
        self._link_host = settings.public_host

    def open_control(self, arrived: Callable[[Any, Any], Any]) -> None:
        """
        Listen where game servers connect; only one node can.

        :param arrived: called with what a game server says first, and its link.
        """
        settings = self._settings
        private_folder(settings.state_dir)
        user = game_user(settings)
        self._report_wall(user)
        factory = ControlServer(self._reactor, arrived)
        path = settings.control_socket
        self._control.append(listen_privately(self._reactor, path, factory))
        if user is not None:
            # That user cannot look into the state directory.
            self.control_socket = path = (
                meeting_place(settings.state_dir) / "control.sock"
            )
            self._control.append(listen_privately(self._reactor, path, factory))
            os.chown(path, user.uid, user.gid)

    def _report_wall(self, user: User | None) -> None:
        """Close this process to others of its user; log what cannot be closed."""
        with suppress(OSError):
            hide_memory()
        if self._settings.wall == "no":
            _wall_log.warn(
                "wall is no: a game can read this node's keys, and do what its user may"
            )
            return
        for what in missing():
            _wall_log.warn("the wall around game servers has a gap: {what}", what=what)
        if self._settings.games and user is None:
            _wall_log.warn(
                "the game servers of {games} are programs of their own, which the wall "
                "does not hold: set game_user to a user that has nothing",
                games=", ".join(sorted(self._settings.games)),
            )
        if os.geteuid() == 0 and user is None:
            _wall_log.info(
                "game servers run as root, behind the wall: set game_user to a user "
                "that has nothing"
            )

    def open_pods(self, parts: Parts) -> None:
        """Listen where game servers in pods connect."""
        settings, supply = self._settings, parts.fleet.processes
        if settings.game_server_link is None or isinstance(supply, LocalFleet):
            return
        factory = ControlServer(
            self._reactor,
            parts.fleet.servers.arrived,
            lambda ready: supply.prove(ready.server_id, ready.secret),
        )
        port = listen_for_pods(
            self._reactor,
            settings.game_server_link,
            settings.interface,
            parts.base.node_tls,
            factory,
            BoundedLog(_log, self._reactor),
        )
        self._listens("game_server_link", port)

    def open_admin(
        self, parts: Parts, api: Resource, own_token: bytes, token: bytes | None
    ) -> None:
        """
        Serve the admin API at its socket, and at a port as configured.

        :param own_token: guards the socket; written to the state directory.
        :param token: guards the port; ``None`` without one.
        """
        settings, reactor = self._settings, self._reactor
        write_secret(settings.admin_socket_token, own_token + b"\n")
        private = NoChildren(
            QuietSite(Guarded(api, own_token), reactor), parts.fleet.is_child
        )
        self._ports.append(listen_privately(reactor, settings.admin_socket, private))
        if settings.admin is not None and token is not None:
            site = admin_site(Guarded(api, token), settings, reactor)
            self._listen("admin", settings.admin, site)

    def open_public(self, parts: Parts, make_pages: Callable[[], Resource]) -> None:
        """
        Serve players over HTTP, gateways and other nodes, as configured.

        :param make_pages: makes what players see.
        """
        settings, reactor = self._settings, self._reactor
        if settings.http is not None or settings.gateway_link is not None:
            pages = make_pages()
        if settings.http is not None:
            public = public_site(settings, pages, parts.websockets, parts.tls, reactor)
            self._listen("http", settings.http, public)
        if settings.gateway_link is not None:
            self.gateways = gateway_links(settings, parts, pages)
            port = listen_for_gateways(
                reactor,
                self.gateways,
                settings.gateway_link,
                settings.interface,
                parts.base.node_tls,
                parts.fleet.is_child,
            )
            self._listens("gateway_link", port)
        if settings.link is not None and parts.base.links is not None:
            self.nodes = node_channels(settings, parts)
            site = over_links(self.nodes, parts.base.node_tls, NODE_PURPOSE, reactor)
            own, store = settings.interface, settings.store
            where = own if settings.link.isdecimal() else settings.public_host
            if is_loopback(where) and isinstance(store, StoreAddress):
                # If the store is on another machine other nodes are, too.
                towards = address_towards(store.hosts)
                if towards and not is_loopback(towards):
                    self._link_host = own = towards
            self._listen("node_link", settings.link, site, own)

    def open_lobby(self, parts: Parts) -> None:
        """Listen for lobby lines: last, for then everything else is open, too."""
        settings = self._settings
        lines: IProtocolFactory = LineFactory(parts.lines)
        if settings.proxy:
            # A header precedes everything that the player sends, TLS as well.
            lines = ProxiedFactory(lines, settings.proxy)
        lines = ReservingFactory(lines, parts.lines.reserve)
        port = self._reactor.listenTCP(
            settings.port, lines, backlog=512, interface=settings.interface
        )
        self.lobby_at = bound_at(port)
        self._ports.append(port)
        self._doors.append(port)
        self._is_starting = False

    def _listen(
        self, name: str, where: str, site: IProtocolFactory, interface: str = ""
    ) -> None:
        """Serve pages at a port of the interface, or at an endpoint."""
        interface, reactor = interface or self._settings.interface, self._reactor
        if where.isdecimal():
            port = reactor.listenTCP(int(where), site, backlog=512, interface=interface)
            self._listens(name, port)
            return
        try:
            opening = serverFromString(reactor, where).listen(site)
        except (TypeError, ValueError, LookupError, OSError) as error:
            raise Misconfigured(
                f"{name} {where!r} isn't an endpoint: {error}"
            ) from error
        failures: list[Failure] = []

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if not self._is_starting:
                _log.critical(
                    "{name} cannot listen: {error}", name=name, error=failure.value
                )
                self._failed()

        opening.addCallbacks(lambda port: self._listens(name, port), failed)
        if not failures:
            return
        found = failures[0].value
        if isinstance(found, CannotListenError):
            raise found
        # Such as the OverflowError of a port that no machine has.
        raise Misconfigured(f"{name} {where!r} cannot be used: {found}") from found

    def _listens(self, name: str, port: IListeningPort) -> None:
        self._ports.append(port)
        if name in ("http", "gateway_link"):
            self._doors.append(port)
        self.web_at[name] = bound_at(port)
        if name == "http" and is_plaintext(self._settings, port):
            _log.warn(
                "http accepts connections without TLS from other machines: passwords "
                "and player keys can be read on the route; set http_tls, or proxy if a "
                "proxy terminates TLS (allow_plaintext silences this warning)"
            )

    def addresses(self) -> dict[str, str]:
        """Write where other nodes reach the lobby, and this node's own link."""
        found = {LOBBY: _at(self._settings.public_host, self.lobby_at)}
        if (link := self.web_at.get("node_link")) is not None:
            found[SERVES] = _at(self._link_host, link)
        return found

    # The end.

    async def close_doors(self) -> None:
        """Close where players connect."""
        doors, self._doors = self._doors, []
        self._ports = [port for port in self._ports if port not in doors]
        await all_of(port.stopListening() for port in doors)

    async def close(self) -> None:
        """Close all but what game servers connect to."""
        ports, self._ports = self._ports, []
        await all_of(port.stopListening() for port in ports)

    async def close_control(self) -> None:
        """Close what game servers connect to."""
        ports, self._control = self._control, []
        await all_of(port.stopListening() for port in ports)
        if self.control_socket is not None:
            remove_meeting_place(self._settings.state_dir)

    def give_up(self) -> None:
        """Close what is open: another port cannot be opened."""
        for port in (*self._control, *self._ports):
            port.stopListening()


def _at(host: str, bound: str) -> str:
    """Write where others reach what listens there, at this host."""
    port = bound.rpartition(":")[2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def all_of(results: Any) -> None:
    """Wait for those of *results* that are Deferreds."""
    await DeferredList(
        [found for found in results if isinstance(found, Deferred)], consumeErrors=True
    )
