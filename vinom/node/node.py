"""The node: what `twistd vinom` runs. Opens, drains, and closes everything."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from vinom import __version__
from vinom.base.reactor.connections import why_not_open
from vinom.base.reactor.steady import time_of_day
from vinom.base.reactor.turns import TurnWatch
from vinom.base.settings.options import catch_hangups, catch_interrupts
from vinom.errors import Misconfigured
from vinom.fleet.local.fleet import LocalFleet
from vinom.lobby.matches.outside import OutsideMatches
from vinom.net.keys.files import read_file
from vinom.net.web.answers import Folder, Metrics
from vinom.net.web.guards import checked_token
from vinom.node.build import (
    Parts,
    build_parts,
    find_checkers,
    find_provider,
    has_tls,
    public_pages,
)
from vinom.node.edited import EditedGames
from vinom.node.ending import Ending
from vinom.node.games import all_games
from vinom.node.listeners import Listeners, all_of
from vinom.node.listening import page_over_tls
from vinom.node.problems import (
    Lately,
    Others,
    Problems,
    expired,
    own_authority,
    wrong_clock,
)
from vinom.node.settings import Settings
from vinom.node.store_watch import StoreWatch
from vinom.node.web.admin import admin_pages
from vinom.node.web.collector import NodeCollector

_log = Logger("vinom.node")


class Node(MultiService):
    """
    One node, from its settings.

    Mistakes in files and names are found when it is constructed; nothing is opened
    or started before `startService`, because twistd forks and changes its user in
    between.

    :ivar ending: drains and stops it.
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
        notes = settings.dev_notes
        self._edited = None if notes is None else EditedGames(notes, self._games)
        self._token = None
        if settings.admin_token_file is not None:
            path = settings.admin_token_file
            self._token = checked_token(read_file(path, "admin_token_file"), str(path))
        self.ending = Ending(settings, reactor, self._games)
        self._listeners = Listeners(settings, reactor, self.ending.stop)
        # What starts before everything else, and stops after it.
        self._first: list[Service] = []
        self._since = 0.0
        self._turns = TurnWatch(time.monotonic)

    # Opening.

    def startService(self) -> None:
        """
        Open everything.

        :raises SystemExit: something cannot be opened; the log's last line says why.
        """
        listeners = self._listeners
        try:
            # First; nothing is received before this turn of the reactor ends.
            listeners.open_control(
                lambda ready, link: self._parts.fleet.servers.arrived(ready, link)
            )
            self._parts = parts = build_parts(
                self._settings,
                self._games,
                self._checkers,
                self._reactor,
                self._entropy,
                listeners.control_socket,
            )
            self._problems = self._watch_problems(parts)
            watch = StoreWatch(
                parts,
                self._settings,
                self._reactor,
                # A node that is about to stop takes no rooms of others.
                lambda: {} if self._is_ending else listeners.addresses(),
                lambda: self.ending.state == "serving",
            )
            self._open(parts)
            self._add_services(parts, watch)
            # Last: when the lobby is open, everything else is open too.
            listeners.open_lobby(parts)
        except (Misconfigured, CannotListenError) as error:
            _log.critical("cannot start: {why}", why=why_not_open(error))
            listeners.give_up()
            raise SystemExit(1) from error
        sockets = parts.websockets
        if not self._turns.start(self._reactor, sockets.direct, sockets.turn_end):
            _log.info("turns of this reactor are not measured")
        for service in self._first:
            service.startService()
        MultiService.startService(self)
        parts.adoption.begin()
        self.ending.serve(parts, listeners)
        self._since = self._reactor.seconds()
        interrupted = self.ending.interrupted
        self._reactor.callWhenRunning(catch_interrupts, self._reactor, interrupted)
        self._reactor.callWhenRunning(
            catch_hangups, self._reactor, self._reload, interrupted
        )
        _log.info(
            "vinom {version} serves {games} with {reactor} and {store} storage: "
            "lobby {lobby}, game servers UDP {interface} {first}-{last}{others}",
            **self._announcement(),
        )

    @property
    def _is_ending(self) -> bool:
        return self.ending.state in ("draining", "stopping")

    def _open(self, parts: Parts) -> None:
        """Open all ports but the lobby's."""
        settings, listeners = self._settings, self._listeners
        listeners.open_pods(parts)
        pages = admin_pages(
            self.status,
            self.ending,
            parts.lobby.matches,
            parts.lobby.matchmaker,
            OutsideMatches(
                parts.lobby.matches, parts.lobby.identity, self._games, self._entropy
            ),
            parts.keys,
            parts.rooms,
            parts.base.results,
        )
        api = Folder(v1=pages, metrics=Metrics(self.facts, NodeCollector))
        own_token = self._entropy(32).hex().encode()
        listeners.open_admin(parts, api, own_token, self._token)
        listeners.open_public(
            parts,
            lambda: public_pages(
                settings, self._games, self.obstacle, self._reactor, self._edited
            ),
        )
        if parts.fleet.relay is not None:
            parts.fleet.relay.listen()

    def _add_services(self, parts: Parts, watch: StoreWatch) -> None:
        """Add what starts in this order, and stops in the reverse one."""
        if self._edited is not None:
            self._edited.rooms = parts.rooms
        self._first = [*parts.base.stores.services, parts.base.lease]
        for service in (
            # Players of gateways, and of other nodes, get their last.
            self._listeners.gateways,
            self._listeners.nodes,
            *watch.services,
            self._problems,
            parts.base.links,
            # Others report results to their end.
            parts.base.results,
            # Before the fleet: players get their last.
            parts.fleet.relay,
            parts.fleet.servers,
            parts.lobby.matches,
            parts.lobby.matchmaker,
            parts.lobby.parties,
            # Before the requests: players are informed that their room closes.
            parts.rooms,
            parts.requests,
            parts.keys,
            parts.sweeping,
            self._provider,
            self._edited,
        ):
            if service is not None:
                MultiService.addService(self, service)

    def _reload(self) -> None:
        """SIGHUP: read certificates, secrets and the provider's keys again."""
        self._parts.keys.reload()
        if self._parts.base.results is not None:
            self._parts.base.results.reload()
        if self._provider is not None:
            self._provider.reload()

    def _announcement(self) -> dict[str, Any]:
        settings = self._settings
        first, last = settings.ports
        web_at = dict(self._listeners.web_at)
        if "http" in web_at and has_tls(settings):
            web_at["http"] = page_over_tls(web_at["http"], settings.public_host)
        others = "".join(f", {name} {at}" for name, at in web_at.items())
        return {
            "version": __version__,
            "games": ", ".join(sorted(self._games)),
            "reactor": f"{type(self._reactor).__name__} on {platform.system()}",
            "lobby": self._listeners.lobby_at,
            "store": settings.store,
            "interface": settings.interface,
            "first": first,
            "last": last,
            "others": others,
        }

    # Status and figures.

    def obstacle(self) -> str | None:
        """The reason to send no players here; ``None`` if there is none."""
        if self.ending.state != "serving":
            return self.ending.state
        if not self._parts.base.stores.is_available:
            return "store_unavailable"
        # Pods are a matter of the cluster: at another node they would be no better.
        is_local = isinstance(self._parts.fleet.processes, LocalFleet)
        if is_local and self._parts.fleet.servers.status().is_stuck:
            return "no_game_server"
        return None

    def _watch_problems(self, parts: Parts) -> Problems:
        """Say where each problem of this node is seen."""
        stores, reserve = parts.base.stores, parts.websockets.reserve
        others = Others(self._settings.lease_seconds)

        async def find_others() -> None:
            ids = {one.node.node_id for one in await stores.nodes.nodes()}
            others.look(ids - {stores.node_id}, time.monotonic())

        can_share = stores.client is None or self._settings.link is not None
        return Problems(
            {
                "game_servers": lambda: parts.fleet.servers.problem,
                "authority": lambda: own_authority(others.count),
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
            None if can_share else find_others,
        )

    def _recordings_stopped(self) -> float:
        played = self._parts.fleet.servers.totals().get("recordings_stopped", 0.0)
        return self._parts.base.recordings.stopped + played

    async def status(self) -> dict[str, Any]:
        """What the node is doing, for operators."""
        parts, now = self._parts, self._reactor.seconds()
        gateways, lobby = self._listeners.gateways, parts.lobby
        queue = await lobby.matchmaker.counts()
        return {
            "version": __version__,
            "state": self.ending.state,
            "uptime": round(now - self._since, 3),
            "lobby": self._listeners.lobby_at,
            "node": parts.base.stores.node_id,
            "store": {
                "address": str(self._settings.store),
                "available": parts.base.stores.is_available,
                "lease": parts.base.lease.number,
            },
            "problems": {
                name: why for name, why in self._problems.found().items() if why
            },
            "games": sorted(self._games),
            **parts.requests.counts(),
            "queue": {
                "waiting": queue["waiting"],
                "suspended": queue["suspended"],
                "longest_wait": round(queue["longest_wait"], 3),
                "prematches": queue["prematches"]["open"],
            },
            "parties": queue["parties"],
            "matches": lobby.matches.status(),
            "rooms": parts.rooms.directory.status(),
            "certificates": parts.keys.expiries(),
            "forwarding": dict(parts.websockets.forwarding),
            "gateways": {} if gateways is None else gateways.status(),
            "descriptors": {
                "closed_for_newcomers": parts.websockets.reserve.closed,
                "newcomers_refused": parts.websockets.reserve.refused,
            },
            "fleet": attrs.asdict(parts.fleet.servers.status()),
        }

    async def facts(self) -> dict[str, Any]:
        """The same in numbers, for metrics: see `vinom.node.web.collector`."""
        parts = self._parts
        lobby, results = parts.lobby, parts.base.results
        rooms = {
            **parts.rooms.directory.figures(),
            **parts.rooms.ownership.figures(),
        }
        players = Counter(dict.fromkeys(self._games, 0))
        players.update(rooms["players"] + lobby.matches.players())
        return {
            "players": players,
            "draining": int(self.ending.state != "serving"),
            "problems": {
                name: int(bool(why)) for name, why in self._problems.found().items()
            },
            "recordings_stopped": self._recordings_stopped(),
            "lobby": parts.requests.counts(),
            "queue": await lobby.matchmaker.counts(),
            "matches": lobby.matches.status(),
            "fleet": attrs.asdict(parts.fleet.servers.status(), recurse=False),
            "played": parts.fleet.servers.totals(
                *([] if parts.fleet.relay is None else [parts.fleet.relay.measure()])
            ),
            "turns": self._turns.figures(),
            "errors": dict(parts.requests.errors),
            "rooms": rooms,
            "certificates": parts.keys.expiries(),
            "store": parts.base.stores.figures(),
            "results": None if results is None else await results.figures(),
        }

    # The end.

    def stopService(self) -> Deferred[Any]:
        """Close everything: the ports, then players' lines, then game processes."""
        self.ending.close_up()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        # Game servers still send their last messages to the control socket.
        await self._listeners.close()
        await MultiService.stopService(self)
        # The others have written their last.
        for service in reversed(self._first):
            await all_of([service.stopService()])
        await self._listeners.close_control()
        self._turns.stop()
