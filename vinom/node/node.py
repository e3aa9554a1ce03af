"""The node: what `twistd vinom` runs. Opens, drains, and closes everything."""

from __future__ import annotations

import errno
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom import __version__
from vinom.base.limits.logged import BoundedLog
from vinom.base.model import MatchEnd, NodeFacts
from vinom.base.reactor.signals import catch_hangups, catch_interrupts
from vinom.base.reactor.steady import time_of_day
from vinom.base.reactor.turns import TurnWatch
from vinom.base.wall.enclosure import missing
from vinom.base.wall.kernel import hide_memory
from vinom.errors import Code, Misconfigured, Refused, StoreUnavailable
from vinom.fleet.control.link import ControlServer
from vinom.fleet.gameserver.keeping import Reader
from vinom.fleet.local.fleet import LocalFleet
from vinom.fleet.local.forklink import User
from vinom.net.keys.authority import private_folder
from vinom.net.keys.files import read_file, write_secret
from vinom.net.lines.proxied import ProxiedFactory
from vinom.net.lines.reserve import ReservingFactory
from vinom.net.lines.tcp import LineFactory
from vinom.net.web.answers import Folder, make_site
from vinom.net.web.bearer import Guarded, checked_token
from vinom.net.web.metrics import Metrics
from vinom.node.build import (
    AWAY_MARGIN,
    Parts,
    admin_site,
    build_parts,
    find_checkers,
    find_provider,
    game_user,
    gateway_links,
    has_tls,
    is_plaintext,
    link_site,
    public_pages,
    public_site,
)
from vinom.node.games import all_games
from vinom.node.gateways import GatewayLinks, listen_for_gateways
from vinom.node.links import DIRECT, SERVES, listen_for_pods
from vinom.node.listening import (
    NoChildren,
    bound_at,
    listen_privately,
    meeting_place,
    page_over_tls,
    remove_meeting_place,
)
from vinom.node.membership import Membership
from vinom.node.problems import (
    Lately,
    Others,
    Problems,
    expired,
    missing_link,
    own_authority,
    wrong_clock,
)
from vinom.node.reporting import Reporting
from vinom.node.settings import Settings
from vinom.node.takeover import Takeover
from vinom.node.web.admin import admin_pages
from vinom.node.web.collector import NodeCollector

#: How to solve the errors of listening.
_REMEDIES = {
    errno.EADDRINUSE: "; another program has it: choose another port, or stop it",
    errno.EADDRNOTAVAIL: "; set interface to an address of this machine",
    errno.EACCES: "; choose a port above 1023, or give the node CAP_NET_BIND_SERVICE",
}
#: How long a node that is stopped waits for others that are stopped in the same moment
#: to report that, seconds.
_SETTLE_SECONDS = 0.5
#: How often a node that drains looks whether others have taken its matches, seconds.
_OFFER_SECONDS = 0.25
#: In `NodeFacts.addresses`: where players come.
_LOBBY = "lobby"
# With a fixed name: twistd runs a subclass, whose name would be logged.
_log = Logger("vinom.node")
_wall_log = Logger("vinom.base.wall")


class Node(MultiService):
    """
    One node, from its settings.

    Mistakes in files and names are found when it is constructed; nothing is opened
    or started before `startService`, because twistd forks and changes its user in
    between.

    :ivar state: "starting", "serving", "draining" or "stopping".
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        :param settings: the node's.
        :param reactor: runs it; also the clock.
        :param entropy: gives random bytes.
        :raises Misconfigured: a file or a name in the settings is wrong.
        """
        MultiService.__init__(self)
        self._settings, self._reactor, self._entropy = settings, reactor, entropy
        self._games = all_games(settings.game, settings.games)
        self._provider = find_provider(settings, reactor)
        self._checkers = find_checkers(settings, time_of_day(reactor), self._provider)
        self._token = None
        if settings.admin_token_file is not None:
            path = settings.admin_token_file
            self._token = checked_token(read_file(path, "admin_token_file"), str(path))
        self._listening: list[IListeningPort] = []
        # Those of them to which players connect.
        self._doors: list[IListeningPort] = []
        self._control_socket: Path | None = None
        self._meeting_place: Path | None = None
        self._since = 0.0
        self._drain_timeout: IDelayedCall | None = None
        # What starts before everything else, and stops after it.
        self._first: list[Service] = []
        self._turns = TurnWatch(time.monotonic)
        self._gateways: GatewayLinks | None = None
        self._was_store_away = False
        self.state = "starting"

    # Opening.

    def startService(self) -> None:
        """
        Open everything.

        :raises SystemExit: something cannot be opened; the log's last line says why.
        """
        try:
            # First; nothing is received before this turn of the reactor ends.
            self._claim_state()
            parts = build_parts(
                self._settings,
                self._games,
                self._checkers,
                self._reactor,
                self._entropy,
                self._control_socket,
                lambda: self._membership.is_current,
                lambda: self._membership.lease,
                lambda: self._membership.is_store_complete,
            )
            self._parts = parts
            self._membership = Membership(
                parts.stores.nodes,
                self._node_facts,
                self._reactor,
                time.monotonic,
                self._settings.heartbeat_seconds,
                self._settings.lease_seconds,
                self._lease_regained,
                parts.rooms.lease_over,
                parts.adoption.check_owned,
            )
            self._reporting = Reporting(parts.online, self._reactor)
            parts.online.missed = self._messages_missed
            parts.online.is_queued = parts.matchmaker.is_queued
            self._first = [*parts.stores.services, self._membership]
            if parts.stores.client is not None and parts.stores.estates is not None:
                self._takeover = Takeover(
                    parts.stores.nodes,
                    parts.stores.matches,
                    parts.stores.estates,
                    self._reactor,
                    self._settings.heartbeat_seconds,
                    self._settings.lease_seconds,
                    ended=self._match_lost,
                    dissolved=parts.matchmaker.prematches.abandoned,
                    lost=parts.desk.player_lost,
                    end_rooms=parts.rooms.end_orphans,
                    match_seconds=self._settings.orphan_seconds + AWAY_MARGIN,
                    adopt=self._adopt_left,
                    settled=parts.desk.look_again,
                )
                parts.stores.client.watch(self._store_changed)
                if parts.stores.replicated is not None:
                    parts.stores.replicated.watch(self._replica_changed)
                MultiService.addService(self, self._takeover)
                MultiService.addService(self, self._reporting)
            self._problems = self._watch_problems(parts)
            MultiService.addService(self, self._problems)
            if parts.links is not None:
                MultiService.addService(self, parts.links)
            if parts.results is not None:
                # First, and so stopped last: others report results to their end.
                MultiService.addService(self, parts.results)
            if parts.relay is not None:
                # Before the fleet, and so stopped after it: players get their last.
                MultiService.addService(self, parts.relay)
            for service in (
                parts.fleet,
                parts.matches,
                parts.matchmaker,
                parts.parties,
                # Before the desk: players are informed that their room closes.
                parts.rooms,
                parts.desk,
                parts.keys,
                parts.sweeping,
            ):
                MultiService.addService(self, service)
            if self._provider is not None:
                MultiService.addService(self, self._provider)
            self._open_pods(parts)
            self._open_web(parts)
            if parts.relay is not None:
                parts.relay.listen()
            # Last: when the lobby is open, everything else is open too.
            self._open_lobby(parts)
        except (Misconfigured, CannotListenError) as error:
            _log.critical("cannot start: {why}", why=_explain(error))
            for port in self._listening:
                port.stopListening()
            raise SystemExit(1) from error
        sockets = parts.websockets
        if not self._turns.start(self._reactor, sockets.direct, sockets.turn_end):
            _log.info("turns of this reactor are not measured")
        for service in self._first:
            service.startService()
        MultiService.startService(self)
        parts.adoption.begin()
        self.state, self._since = "serving", self._reactor.seconds()
        self._reactor.callWhenRunning(
            catch_interrupts, self._reactor, self._interrupted
        )
        self._reactor.callWhenRunning(
            catch_hangups, self._reactor, self._reload, self._interrupted
        )
        _log.info(
            "vinom {version} serves {games} with {reactor} and {store} storage: "
            "lobby {lobby}, game servers UDP {interface} {first}-{last}{others}",
            **self._announcement(),
        )

    def _reload(self) -> None:
        """SIGHUP: read certificates, secrets and the provider's keys again."""
        self._parts.keys.reload()
        if self._parts.results is not None:
            self._parts.results.reload()
        if self._provider is not None:
            self._provider.reload()

    def _claim_state(self) -> None:
        """Listen where game servers connect; only one node can."""
        settings = self._settings
        private_folder(settings.state_dir)
        user = game_user(settings)
        self._report_wall(user)
        factory = ControlServer(
            self._reactor, lambda ready, link: self._parts.fleet.arrived(ready, link)
        )
        path = settings.control_socket
        self._listening.append(listen_privately(self._reactor, path, factory))
        if user is not None:
            # That user cannot look into the state directory.
            self._meeting_place = meeting_place(settings.state_dir)
            self._control_socket = path = self._meeting_place / "control.sock"
            self._listening.append(listen_privately(self._reactor, path, factory))
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

    def _open_lobby(self, parts: Parts) -> None:
        settings = self._settings
        lines: IProtocolFactory = LineFactory(parts.lines)
        if settings.proxy:
            # A header precedes everything that the player sends, TLS as well.
            lines = ProxiedFactory(lines, settings.proxy)
        lines = ReservingFactory(lines, parts.lines.reserve)
        port = self._reactor.listenTCP(
            settings.port, lines, backlog=512, interface=settings.interface
        )
        self._lobby_at = bound_at(port)
        self._listening.append(port)
        self._doors.append(port)

    def _open_pods(self, parts: Parts) -> None:
        """Listen where game servers in pods connect."""
        settings, supply = self._settings, parts.processes
        self._web_at: dict[str, str] = {}
        if settings.game_server_link is None or isinstance(supply, LocalFleet):
            return
        factory = ControlServer(
            self._reactor,
            parts.fleet.arrived,
            lambda ready: supply.prove(ready.server_id, ready.secret),
        )
        port = listen_for_pods(
            self._reactor,
            settings.game_server_link,
            settings.interface,
            parts.node_tls,
            factory,
            BoundedLog(_log, self._reactor),
        )
        self._listens("game_server_link", port)

    def _open_web(self, parts: Parts) -> None:
        """Open the admin socket, and HTTP as configured."""
        settings, reactor = self._settings, self._reactor
        api = Folder(
            v1=admin_pages(
                self,
                parts.matches,
                parts.matchmaker,
                parts.outside,
                parts.keys,
                parts.rooms,
                parts.results,
            ),
            metrics=Metrics(self.facts, NodeCollector),
        )
        token = self._entropy(32).hex().encode()
        write_secret(settings.admin_socket_token, token + b"\n")
        private = NoChildren(make_site(Guarded(api, token), reactor), parts.is_child)
        self._listening.append(
            listen_privately(reactor, settings.admin_socket, private)
        )
        if settings.http is not None or settings.gateway_link is not None:
            pages = public_pages(settings, self._games, self.obstacle, reactor)
        if settings.http is not None:
            public = public_site(settings, pages, parts.websockets, parts.tls, reactor)
            self._listen("http", settings.http, public)
        if settings.gateway_link is not None:
            self._gateways = gateways = gateway_links(settings, parts, pages)
            # Before the others, and so stopped after them: players get their last.
            MultiService.addService(self, gateways)
            self.services.insert(0, self.services.pop())
            port = listen_for_gateways(
                reactor,
                gateways,
                settings.gateway_link,
                settings.interface,
                parts.node_tls,
                parts.is_child,
            )
            self._listens("gateway_link", port)
        if settings.admin is not None and self._token is not None:
            site = admin_site(Guarded(api, self._token), settings, reactor)
            self._listen("admin", settings.admin, site)
        if settings.node_link is not None and parts.links is not None:
            site = link_site(
                parts.node_tls,
                parts.matches.admit,
                parts.rooms.reserve,
                parts.desk,
                settings,
                reactor,
            )
            self._listen("node_link", settings.node_link, site)

    def _listen(self, name: str, where: str, site: IProtocolFactory) -> None:
        """Serve pages at a port of the interface, or at an endpoint."""
        settings, reactor = self._settings, self._reactor
        if where.isdecimal():
            port = reactor.listenTCP(
                int(where), site, backlog=512, interface=settings.interface
            )
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
            if self.state != "starting":
                _log.critical(
                    "{name} cannot listen: {error}", name=name, error=failure.value
                )
                self._stop()

        opening.addCallbacks(lambda port: self._listens(name, port), failed)
        if not failures:
            return
        found = failures[0].value
        if isinstance(found, CannotListenError):
            raise found
        # Such as the OverflowError of a port that no machine has.
        raise Misconfigured(f"{name} {where!r} cannot be used: {found}") from found

    def _listens(self, name: str, port: IListeningPort) -> None:
        self._listening.append(port)
        if name in ("http", "gateway_link"):
            self._doors.append(port)
        self._web_at[name] = bound_at(port)
        if name == "http" and is_plaintext(self._settings, port):
            _log.warn(
                "http accepts connections without TLS from other machines: passwords "
                "and player keys can be read on the route; set http_tls, or proxy if a "
                "proxy terminates TLS (allow_plaintext silences this warning)"
            )

    def _announcement(self) -> dict[str, Any]:
        settings = self._settings
        first, last = settings.ports
        web_at = dict(self._web_at)
        if "http" in web_at and has_tls(settings):
            web_at["http"] = page_over_tls(web_at["http"], settings.public_host)
        others = "".join(f", {name} {at}" for name, at in web_at.items())
        return {
            "version": __version__,
            "games": ", ".join(sorted(self._games)),
            "reactor": f"{type(self._reactor).__name__} on {platform.system()}",
            "lobby": self._lobby_at,
            "store": settings.store,
            "interface": settings.interface,
            "first": first,
            "last": last,
            "others": others,
        }

    # Status and figures.

    def obstacle(self) -> str | None:
        """The reason to send no players here; ``None`` if there is none."""
        if self.state != "serving":
            return self.state
        if not self._parts.stores.is_available:
            return "store_unavailable"
        # Pods are a matter of the cluster: at another node they would be no better.
        is_local = isinstance(self._parts.processes, LocalFleet)
        if is_local and self._parts.fleet.status().is_stuck:
            return "no_game_server"
        return None

    def _watch_problems(self, parts: Parts) -> Problems:
        """Say where each problem of this node is seen."""
        stores, reserve = parts.stores, parts.websockets.reserve
        others = Others(self._settings.lease_seconds)

        async def find_others() -> None:
            ids = {one.node.node_id for one in await stores.nodes.nodes()}
            others.look(ids - {stores.node_id}, time.monotonic())

        is_alone = stores.client is None or self._settings.node_link is not None
        has_own = self._settings.authority_certificate_file is None
        return Problems(
            {
                "game_servers": lambda: parts.fleet.problem,
                "node_link": lambda: missing_link(others.count),
                "authority": lambda: own_authority(others.count if has_own else 0),
                "clock": lambda: wrong_clock(stores.clock_ahead()),
                "certificates": lambda: expired(parts.keys.expiries(), time.time()),
                "descriptors": Lately(
                    lambda: reserve.closed + reserve.refused,
                    "descriptors run out: {count} connections were closed or refused "
                    "since the start; raise LimitNOFILE, or find out who opens them",
                ),
                "recordings": Lately(
                    self._recordings_stopped,
                    "{count} recordings have stopped since the start, most often for "
                    "lack of disk space: the log says why",
                ),
            },
            self._reactor,
            None if is_alone else find_others,
        )

    def _recordings_stopped(self) -> float:
        played = self._parts.fleet.totals().get("recordings_stopped", 0.0)
        return self._parts.recordings.stopped + played

    def _store_changed(self, is_available: bool) -> None:
        if not is_available:
            self._was_store_away = True
            self._membership.doubt()
            self._parts.rooms.store_away()
            self._parts.matchmaker.prematches.disturbed()
            return
        self._takeover.wait()
        if self._was_store_away:
            self._parts.rooms.wait(self._settings.lease_seconds)
        self._membership.beat()
        self._reporting.report()
        self._parts.rooms.store_again()

    def _replica_changed(self, is_available: bool) -> None:
        """Without its replica the store keeps nothing that rooms may show."""
        if not is_available:
            self._parts.rooms.store_away()
        elif self._parts.stores.is_available:
            self._parts.rooms.store_again()

    async def _adopt_left(self, node_id: str) -> None:
        """Go on with matches that another node has left; not if this one stops."""
        if self.state == "serving":
            await self._parts.adoption.adopt_left(node_id)

    def _match_lost(self, end: MatchEnd) -> None:
        self._parts.matches.lost_elsewhere(end)
        self._parts.parties.match_lost(end)

    def _lease_regained(self) -> None:
        self._parts.matches.check_owned(self._membership.has_emptied)
        if self._membership.has_emptied:
            self._parts.desk.store_emptied()
        self._parts.rooms.store_again()
        self._messages_missed()

    def _messages_missed(self) -> None:
        """Other nodes' messages were lost, those about replaced lines too."""
        self._reporting.report()
        self._parts.desk.look_again()

    def _node_facts(self) -> NodeFacts:
        """What this node reports to the others."""
        parts = self._parts
        # A node that is about to stop takes no rooms of others: see `_others`.
        is_open = self.state not in ("draining", "stopping")
        addresses = {_LOBBY: self._lobby_at} if is_open else {}
        if (link := self._web_at.get("node_link")) is not None:
            addresses[SERVES] = link
        reached = {name: self._reached_at(at) for name, at in addresses.items()}
        if is_open:
            settings = self._settings
            direct = (settings.direct_lobby, settings.direct_websocket)
            for name, address in zip(DIRECT.values(), direct, strict=True):
                if address is not None:
                    reached[name] = address
        rooms = parts.rooms.status()["rooms"] + len(parts.matches.describe())
        return NodeFacts(
            parts.stores.node_id,
            reached,
            __version__,
            len(parts.online),
            rooms,
            {name: key.decode() for name, key in parts.authority.token_keys().items()},
        )

    def _reached_at(self, bound: str) -> str:
        """Write where others reach what listens there."""
        host, port = self._settings.public_host, bound.rpartition(":")[2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def status(self) -> dict[str, Any]:
        """What the node is doing, for operators."""
        parts, now = self._parts, self._reactor.seconds()
        queue = await parts.matchmaker.counts()
        return {
            "version": __version__,
            "state": self.state,
            "uptime": round(now - self._since, 3),
            "lobby": self._lobby_at,
            "node": parts.stores.node_id,
            "store": {
                "address": str(self._settings.store),
                "available": parts.stores.is_available,
                "lease": self._membership.lease,
            },
            "problems": {
                name: why for name, why in self._problems.found().items() if why
            },
            "games": sorted(self._games),
            **parts.desk.counts(),
            "queue": {
                "waiting": queue["waiting"],
                "suspended": queue["suspended"],
                "longest_wait": round(queue["longest_wait"], 3),
                "prematches": queue["prematches"]["open"],
            },
            "parties": await parts.parties.counts(),
            "matches": parts.matches.status(),
            "rooms": parts.rooms.status(),
            "certificates": parts.keys.expiries(),
            "forwarding": dict(parts.websockets.forwarding),
            "gateways": {} if self._gateways is None else self._gateways.status(),
            "descriptors": {
                "closed_for_newcomers": parts.websockets.reserve.closed,
                "newcomers_refused": parts.websockets.reserve.refused,
            },
            "fleet": attrs.asdict(parts.fleet.status()),
        }

    async def facts(self) -> dict[str, Any]:
        """The same in numbers, for metrics: see `vinom.node.web.collector`."""
        parts = self._parts
        matches, queue = parts.matches.status(), await parts.matchmaker.counts()
        lines, fleet = parts.desk.counts(), parts.fleet.status()
        rooms = parts.rooms.figures()
        players = Counter(dict.fromkeys(self._games, 0))
        players.update(rooms["players"] + parts.matches.players())
        return {
            "players": players,
            "draining": int(self.state != "serving"),
            "problems": {
                name: int(bool(why)) for name, why in self._problems.found().items()
            },
            "recordings_stopped": self._recordings_stopped(),
            "lobby_lines": lines["lines"],
            "lobby_players": lines["players"],
            "waiting": queue["waiting"],
            "queue_suspended": queue["suspended"],
            "queue_backfilled": queue["backfilled"],
            "queue_longest_wait_seconds": queue["longest_wait"],
            "prematches": queue["prematches"]["open"],
            "prematches_over": queue["prematches"]["results"],
            "parties": await parts.parties.counts(),
            "matches": {
                state: matches[state] for state in ("forming", "placed", "playing")
            },
            "ended": matches["ended"],
            "game_servers": fleet.servers,
            "ports": {
                "free": fleet.ports_free,
                "bound": fleet.ports_bound,
                "quarantined": fleet.ports_quarantined,
            },
            "matches_waiting_for_server": fleet.waiting,
            "matches_went_on": fleet.went_on,
            "waits": queue["waits"],
            "played": parts.fleet.totals(
                *([] if parts.relay is None else [parts.relay.measure()])
            ),
            "turns": self._turns.figures(),
            "errors": dict(parts.desk.errors),
            "rooms": rooms,
            "certificates": parts.keys.expiries(),
            "store": parts.stores.figures(),
            "results": None if parts.results is None else await parts.results.figures(),
        }

    # The end.

    def _interrupted(self) -> None:
        """SIGTERM or Ctrl-C: move or drain at the first, stop at the second."""
        if self.state == "serving" and self._settings.on_stop == "leave":
            self._leave()
        elif self.state == "serving":
            self._begin_to_end()
            ending = Deferred.fromCoroutine(self._move_or_drain())
            ending.addErrback(self._log_failure)
        else:
            _log.warn("stopping at once")
            self._stop()

    def _leave(self) -> None:
        """Stop at once; game servers with matches play on for the next node."""
        _log.info(
            "stopping; matches of game servers go on, and have {seconds} s until a "
            "node is started here, or another one on this machine goes on with them",
            seconds=self._settings.orphan_seconds,
        )
        self._parts.fleet.leaves_matches = True
        self._begin_to_end()
        Deferred.fromCoroutine(self._leave_rooms()).addErrback(self._log_failure)

    async def _leave_rooms(self) -> None:
        """Leave what a Redis keeps to whichever node players come to, and stop."""
        if self._parts.stores.client is not None:
            await self._parts.desk.hand_over()
        self._stop()

    def _offer(self) -> None:
        """Let other nodes on this machine go on with matches, until this one ends."""
        self._parts.adoption.offer()
        if self.state == "draining":
            self._reactor.callLater(_OFFER_SECONDS, self._offer)

    async def _move_or_drain(self) -> None:
        self._offer()
        why = await self._why_not_moved()
        if not why:
            # Both would hand over their rooms, and nobody would take them.
            await deferLater(self._reactor, _SETTLE_SECONDS)
            why = await self._why_not_moved()
        if self.state != "draining":
            return
        if not why:
            await self._move()
            return
        if self._settings.node_link is not None:
            _log.info("rooms stay here: {why}", why=why)
        await self._drain()

    async def move(self) -> None:
        """
        Hand rooms and players to other nodes, and stop when nobody is left.

        :raises Refused: no other node can take them, or this one is about to stop.
        """
        why = await self._why_not_moved()
        if why or self.state != "serving":
            raise Refused(
                Code.UNAVAILABLE,
                f"{why or f'this node is {self.state}'}; without --move a drain waits "
                "until matches and rooms end",
            )
        self._begin_to_end()
        Deferred.fromCoroutine(self._move_or_drain()).addErrback(self._log_failure)

    def move_server(self, server: str) -> None:
        """
        Have another game server go on with the matches of this one.

        :raises Refused: there is none, or its matches cannot go on elsewhere.
        """
        self._parts.fleet.move(server, Reader(self._games).why_not)

    def drain(self) -> None:
        """Take no new matches, and stop when the last one ends or the time is over."""
        if self.state == "serving":
            self._begin_to_end()
            Deferred.fromCoroutine(self._drain()).addErrback(self._log_failure)

    def _begin_to_end(self) -> None:
        self.state = "draining"
        self._parts.rooms.takes_others = False
        seconds = self._settings.drain_seconds
        self._drain_timeout = self._reactor.callLater(seconds, self._drain_timed_out)
        # The others learn it, and so do gateways.
        self._membership.beat()
        if self._gateways is not None:
            self._gateways.drain()

    def _log_failure(self, failure: Failure) -> None:
        _log.failure("cannot drain", failure)

    async def _why_not_moved(self) -> str:
        """Find why no other node can take rooms; empty if one can."""
        settings, stores = self._settings, self._parts.stores
        if stores.client is None:
            return "there are no other nodes without --store redis://..."
        if settings.node_link is None:
            return "this node has no node_link"
        try:
            others = await stores.nodes.nodes()
        except StoreUnavailable as error:
            return str(error)
        for other in others:
            facts = other.node
            if facts.node_id != stores.node_id and {_LOBBY, SERVES} <= {
                *facts.addresses
            }:
                return ""
        return "no other node has a lease and a node_link"

    async def _move(self) -> None:
        """Hand over what can be; the rest has `drain_seconds`, as without others."""
        _log.info(
            "moving: players and rooms go to other nodes; what cannot has {seconds} s",
            seconds=self._settings.drain_seconds,
        )
        # First, so that a balancer takes them elsewhere.
        doors, self._doors = self._doors, []
        await _all(port.stopListening() for port in doors)
        self._listening = [port for port in self._listening if port not in doors]
        await self._parts.desk.move()
        self._drained()

    async def _drain(self) -> None:
        _log.info(
            "draining: no new matches and rooms; running ones have {seconds} s",
            seconds=self._settings.drain_seconds,
        )
        await self._parts.desk.drain()
        self._drained()

    def _drained(self) -> None:
        if self.state == "draining":
            _log.info("no match and no room is left; stopping")
            self._stop()

    def _drain_timed_out(self) -> None:
        self._drain_timeout = None
        _log.warn(
            "{count} matches and {rooms} rooms did not end in time; stopping",
            count=len(self._parts.matches.describe()),
            rooms=self._parts.rooms.status()["rooms"],
        )
        self._stop()

    def _stop(self) -> None:
        if self.state != "stopping":
            self._close_up()
            self._reactor.stop()

    def _close_up(self) -> None:
        self.state = "stopping"
        if self._drain_timeout is not None:
            self._drain_timeout.cancel()
            self._drain_timeout = None

    def stopService(self) -> Deferred[Any]:
        """Close everything: the ports, then players' lines, then game processes."""
        self._close_up()
        ports, self._listening = self._listening, []
        return Deferred.fromCoroutine(self._close(ports))

    async def _close(self, ports: list[IListeningPort]) -> None:
        # Game servers still send their last messages to the control socket, the first;
        # with a user of their own it is the second.
        last = 1 if self._meeting_place is None else 2
        await _all(port.stopListening() for port in ports[last:])
        await MultiService.stopService(self)
        # The others have written their last.
        for service in reversed(self._first):
            await _all([service.stopService()])
        await _all(port.stopListening() for port in ports[:last])
        if self._meeting_place is not None:
            remove_meeting_place(self._settings.state_dir)
        self._turns.stop()


async def _all(results: Any) -> None:
    """Wait for those of *results* that are Deferreds."""
    await DeferredList(
        [found for found in results if isinstance(found, Deferred)], consumeErrors=True
    )


def _explain(error: Misconfigured | CannotListenError) -> str:
    """Write an error as one line for the log."""
    if isinstance(error, Misconfigured):
        return str(error)
    where = f"{error.interface or 'any address'} port {error.port}"
    why = getattr(error.socketError, "strerror", None) or error.socketError
    remedy = _REMEDIES.get(getattr(error.socketError, "errno", 0), "")
    return f"cannot listen on {where}: {why}{remedy}"
