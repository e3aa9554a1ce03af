"""The parts of a node: every service, and the site that ``http`` serves."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import time
from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, makeChecker
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.resource import Resource

from vinom.base.limits.addresses import AddressBuckets
from vinom.base.limits.buckets import NetworkBuckets, is_loopback
from vinom.base.limits.logged import BoundedLog
from vinom.base.limits.origins import Hosts, Origins
from vinom.base.model import Issued, ServerAddress
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.steady import time_of_day, with_time_of_day
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Repeating
from vinom.base.wall.enclosure import Enclosure
from vinom.base.wall.kernel import Peer
from vinom.errors import Misconfigured
from vinom.fleet.control.messages import CONTROL_PROTOCOL
from vinom.fleet.fleet import Fleet
from vinom.fleet.gameserver.keeping import Reader
from vinom.fleet.kubernetes.template import PodTable, PodTemplate
from vinom.fleet.life import ServerTimeouts
from vinom.fleet.local.fleet import GameServerProgram, LocalFleet
from vinom.fleet.local.forklink import User
from vinom.fleet.local.process import machine
from vinom.fleet.match import RoomTimeouts
from vinom.fleet.policy import PoolPolicy
from vinom.fleet.pool import PoolMeans
from vinom.fleet.port_ring import GamePorts, PortRing, RelayedPorts
from vinom.fleet.records import Records, ServerRecords
from vinom.fleet.server import FleetSettings, Program
from vinom.game import Game
from vinom.lobby.conversation.conversation import Bounds, NodeConversation
from vinom.lobby.conversation.identity import (
    Accounts,
    Identity,
    OutsideTokenChecker,
    OutsideVerifier,
)
from vinom.lobby.conversation.online import Online
from vinom.lobby.conversation.provider import HttpsDocument, ProviderKeys, keys_of_file
from vinom.lobby.matches.match import JoinTickets
from vinom.lobby.matches.service import Matches
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.matchmaking.parties import Parties, PartyBounds
from vinom.lobby.matchmaking.queues import Queues
from vinom.lobby.matchmaking.ratings import Lifetimes, Ratings
from vinom.lobby.results.sending import Receiver, Sending
from vinom.lobby.results.service import Results
from vinom.lobby.results.store import ResultStore
from vinom.lobby.results.webhook import read_secrets
from vinom.net.frames import FRAME_LIMIT
from vinom.net.keys.authority import Authority
from vinom.net.keys.files import read_file
from vinom.net.lines.forwarded import Proxies
from vinom.net.lines.limits import (
    DESCRIPTOR_RESERVE,
    LineBounds,
    Reserve,
    ReservingFactory,
    TlsHelloFactory,
    TlsHellos,
)
from vinom.net.lines.proxied import ProxiedFactory
from vinom.net.lines.secure import over_tls
from vinom.net.lines.sniff import Spoken
from vinom.net.lines.tcp import LineFactory, LineProtocol, Lines
from vinom.net.lines.tls import HttpTls, ReloadableTls, SpeaksHttp
from vinom.net.lines.websocket import WebSockets
from vinom.net.web.answers import QuietSite, health_pages
from vinom.net.web.front_door import FrontDoor
from vinom.net.web.guards import NamedHosts, admin_port
from vinom.net.web.websocket import WebSocketPage, WithSocket
from vinom.node.adoption import Adoption, Shared
from vinom.node.claims import Claims
from vinom.node.edited import EditedGames, read_notes
from vinom.node.games import GameTable
from vinom.node.gateways import GatewayLinks
from vinom.node.keys import Keys, LobbyCertificate
from vinom.node.lease import OwnLease
from vinom.node.links import Answers, NodeLinks, NodeTls, dial_node
from vinom.node.listening import bind_problem
from vinom.node.requests import Lobby, Requests, offers_of
from vinom.node.settings import Settings
from vinom.node.stores import Stores, memory_stores
from vinom.node.web.pages import GameCatalogue, InvitationCode, StaticPages
from vinom.play.clock import longest_life
from vinom.play.game_loader import installed_games
from vinom.play.hosting.guarding import guard_games
from vinom.play.hosting.keeping import Keeping
from vinom.play.hosting.recordings import Recordings
from vinom.rooms.matches import MatchRooms
from vinom.rooms.rooms import Rooms
from vinom.rooms.round import RoomBounds, RoomContext
from vinom.rooms.visits import Visits
from vinom.store.memory.nodes import ROOMS_FILE
from vinom.store.memory.players import MemoryPlayerStore

if TYPE_CHECKING:
    from vinom.fleet.kubernetes.api import Cluster
    from vinom.fleet.kubernetes.fleet import KubernetesFleet
    from vinom.fleet.relay.service import UdpRelay

_log = Logger()


def public_pages(
    settings: Settings,
    games: Mapping[str, Game[Any, Any]],
    obstacle: Callable[[], str | None],
    reactor: Any,
    edited: EditedGames | None = None,
) -> Resource:
    """
    Make the pages of players: the page, health, and what it loads.

    :param settings: the node's.
    :param games: by name.
    :param obstacle: gives the reason to send no players here, or ``None``.
    :param reactor: runs it.
    :param edited: the games that are being written.
    """
    others = [url for _, url in settings.regions]
    if settings.direct_websocket is not None:
        # Other nodes have such addresses, too.
        others.append(settings.direct_websocket.partition("//")[0])
    pages = StaticPages(
        site=settings.page,
        games=games,
        is_live=edited is not None,
        others=others,
    )
    pages.children.update(health_pages(obstacle).children)
    pages.putChild(b"invite.svg", InvitationCode(reactor))
    pages.putChild(
        b"games.json", GameCatalogue(games, edited.facts if edited else None)
    )
    return pages


def front_door(
    settings: Settings,
    pages: Resource,
    websockets: WebSockets,
    reactor: Any,
    proxies: Proxies,
    is_tls: bool,
) -> FrontDoor:
    """
    Make what serves HTTP: pages, and WebSockets.

    :param settings: the node's.
    :param pages: of `public_pages`; several doors may lead to them.
    :param websockets: makes the lines of players.
    :param reactor: runs it.
    :param proxies: those that may name whom they speak for.
    :param is_tls: does everybody come over TLS?
    """
    page = WebSocketPage(
        websockets,
        Origins(
            settings.origin, not settings.browsers_only, settings.any_origin, is_tls
        ),
        settings.deflate,
        hosts=own_hosts(settings),
        proxies=proxies,
    )
    named = NamedHosts(
        WithSocket(pages, page),
        own_hosts(settings),
        reactor,
        (b"health", b"ready", b"echo"),
        websockets.errors,
    )
    return FrontDoor(
        QuietSite(named, reactor),
        page,
        reactor,
    )


def public_site(
    settings: Settings,
    pages: Resource,
    websockets: WebSockets,
    tls: ReloadableTls,
    reactor: Any,
) -> IProtocolFactory:
    """
    Make the site of the ``http`` endpoint.

    :param settings: the node's.
    :param pages: of `public_pages`.
    :param websockets: makes the lines of players.
    :param tls: used if the settings enable it.
    :param reactor: runs it.
    """
    site: IProtocolFactory = front_door(
        settings, pages, websockets, reactor, Proxies(settings.proxy), has_tls(settings)
    )
    if settings.http_tls:
        site = TlsHelloFactory(
            over_tls(HttpTls(tls), site, reactor, not settings.twisted_tls),
            tls_hellos(settings, reactor),
            BoundedLog(_log, reactor),
        )
    if settings.proxy:
        # Outermost: a proxy's header precedes everything that the player sends.
        site = ProxiedFactory(site, settings.proxy)
    site = ReservingFactory(site, websockets.reserve)
    if not _is_tls_endpoint(settings):
        return site
    hellos, proxies = tls_hellos(settings, reactor), Proxies(settings.proxy)
    bounded = BoundedLog(_log, reactor)

    def admits(host: str) -> bool:
        """Count a connection as a handshake: what Twisted reads of it is not ours."""
        # One of the proxies shakes hands once, and speaks for many.
        if proxies.trusts(host) or hellos.take(host):
            return True
        bounded.info("refused {host}: too many TLS handshakes", host=host)
        return False

    return SpeaksHttp(site, admits)


def admin_site(api: Resource, settings: Settings, reactor: Any) -> IProtocolFactory:
    """
    Make the site of the ``admin`` endpoint.

    :param api: guarded by the operator's token.
    :param settings: the node's.
    :param reactor: runs it.
    """
    return admin_port(
        NamedHosts(api, own_hosts(settings), reactor, programs=(b"metrics",)), reactor
    )


def talk_bounds(settings: Settings) -> Bounds:
    """Read the limits of conversations from the settings."""
    return Bounds(
        rate=settings.message_rate,
        burst=3 * settings.message_rate,
        actions=settings.input_rate,
    )


def own_hosts(settings: Settings) -> Hosts:
    """Find the names that browsers may call this node by."""
    return Hosts(settings.public_host, settings.origin, settings.any_origin)


def tls_hellos(settings: Settings, clock: IReactorTime) -> TlsHellos:
    """Make the limit of TLS handshakes of one port."""
    rate = 5 * settings.handshake_rate
    return TlsHellos(NetworkBuckets(rate, 5 * rate), clock)


def is_plaintext(settings: Settings, port: IListeningPort) -> bool:
    """
    Can others on the route read what players send to this port?

    That includes passwords and player keys. Behind a proxy of the settings, TLS is the
    proxy's task; with ``allow_plaintext`` the operator has accepted the risk.
    """
    host = getattr(port.getHost(), "host", None)
    if host is None or is_loopback(host):
        return False
    return not (has_tls(settings) or settings.proxy or settings.allow_plaintext)


def has_tls(settings: Settings) -> bool:
    """Does the node itself speak TLS at ``http``?"""
    return settings.http_tls or _is_tls_endpoint(settings)


def _is_tls_endpoint(settings: Settings) -> bool:
    return str(settings.http).startswith("ssl:")


def line_bounds(settings: Settings) -> LineBounds:
    """Read from the settings what one line, of either kind, may cost."""
    return LineBounds(
        settings.line_limit,
        settings.connections_per_address,
        settings.connections_per_network,
        settings.max_connections,
        ping_seconds=settings.ping_seconds,
    )


#: What the fork server calls in each process it forks.
GAME_SERVER = "vinom.fleet.gameserver.main:main"
#: Imported once for all of them, in addition to the games; none of these may
#: install a reactor.
PRELOADED = ("vinom.fleet.gameserver.main:prepare", "twisted.internet.epollreactor")
#: Settings that are passed on to game servers unchanged.
_PASSED_ON = (
    "input_rate",
    "nameless_rate",
    "handshake_rate",
    "join_seconds",
)
#: A game server whose lease is over has this long to end by itself, seconds.
AWAY_MARGIN = 5.0
#: What the API server may add to a step of a pod's life, seconds.
_POD_SECONDS = 15.0
#: How much earlier than its pod is killed a game server ends its matches, seconds.
_GRACE_MARGIN = 5
#: Files that a game server may have open for itself and its game.
_GAME_FILES = 256
#: Most rooms of one game server that it gets descriptors for.
_MOST_ROOMS = 4096

Games = Mapping[str, Game[Any, Any]]


@attrs.frozen
class Base:
    """
    What all wings are built with.

    :ivar games: by name.
    :ivar reactor: runs them; also the clock of connections.
    :ivar clock: the same, in seconds since the Unix epoch: for stamps, tickets, and
        what is stored.
    :ivar entropy: gives random bytes.
    :ivar recordings: those of rooms, and the files that game servers are lent.
    :ivar turns: calls registered functions when a turn of the reactor ends.
    :ivar direct: connections that are read without the reactor's steps.
    :ivar stores: where players, queues and matches are.
    :ivar lease: of this node.
    :ivar node_tls: how nodes speak TLS with each other, and with gateways.
    :ivar links: asks other nodes; ``None`` for a single node.
    :ivar results: notes how rounds end; ``None`` if none are kept.
    """

    settings: Settings
    games: Games
    reactor: Any
    clock: Any
    entropy: Callable[[int], bytes]
    authority: Authority
    recordings: Recordings
    turns: TurnEnd
    direct: DirectReads
    stores: Stores
    lease: OwnLease
    node_tls: NodeTls
    links: NodeLinks | None
    results: Results | None


def build_base(
    settings: Settings,
    games: Games,
    reactor: Any,
    entropy: Callable[[int], bytes],
    is_here: Callable[[str], bool],
) -> Base:
    """
    Open what all wings use.

    :param is_here: by a player's id: is it connected to this node?
    :raises Misconfigured: the state directory, the store or a key cannot be used.
    """
    clock = with_time_of_day(reactor)
    authority = Authority.open(
        settings.state_dir,
        settings.realm,
        clock.seconds,
        certificate_file=settings.authority_certificate_file,
        key_file=settings.authority_key_file,
    )
    recordings = recordings_of(settings, reactor)
    turns, direct = TurnEnd(reactor), DirectReads()
    node_id = b32encode(entropy(10)).decode().lower()
    if settings.store == "memory":
        rooms_file = None
        if any(game.clock == "wall" for game in games.values()):
            # twistd changes its folder.
            rooms_file = settings.state_dir.absolute() / ROOMS_FILE
        stores = memory_stores(node_id, clock.seconds, is_here, rooms_file)
    else:
        # Only a node that uses a Redis loads what speaks with one.
        from vinom.node.redis_stores import redis_stores

        stores = redis_stores(settings, node_id, reactor, entropy, turns, direct)
    node_tls, links = NodeTls(authority, node_id), None
    if settings.store != "memory":
        dial = partial(dial_node, node_tls, reactor)
        links = NodeLinks(stores.nodes, dial, node_id, reactor, turns)
    return Base(
        settings,
        games,
        reactor,
        clock,
        entropy,
        authority,
        recordings,
        turns,
        direct,
        stores,
        OwnLease(stores.nodes, reactor, time.monotonic, settings.lease_seconds),
        node_tls,
        links,
        results_of(settings, games, recordings, reactor, entropy),
    )


@attrs.frozen
class FleetParts:
    """
    What game servers are reached by.

    :ivar servers: those of all games.
    :ivar processes: the processes of games in Python.
    :ivar own_processes: those of games with a command of their own.
    :ivar files: records of those with matches.
    :ivar claims: the same in the store; ``None`` if no other node can go on with them.
    :ivar relay: has the connections of all players over UDP; ``None`` if game servers
        have them.
    """

    servers: Fleet
    processes: LocalFleet | KubernetesFleet
    own_processes: tuple[LocalFleet, ...]
    files: ServerRecords
    claims: Claims | None
    relay: UdpRelay | None

    def is_child(self, peer: Peer) -> bool:
        """Is this a game server, or another process of a fleet?"""
        every = (self.processes, *self.own_processes)
        return any(one.is_child(peer) for one in every)

    @property
    def for_players(self) -> Fleet | UdpRelay:
        """Where players reach their matches."""
        return self.servers if self.relay is None else self.relay


def build_fleet(base: Base, control_socket: Path | None) -> FleetParts:
    """
    Build the fleet.

    :param control_socket: where game servers connect, unless in the state directory.
    :raises Misconfigured: game servers cannot be started.
    """
    settings, stores, ports = base.settings, base.stores, game_ports(base.settings)
    processes = supply_of(base, ports, control_socket)
    # A store that outlives the node has its players itself.
    files = (
        ServerRecords(settings.servers_dir, base.clock.seconds, stores.players.known)
        if isinstance(stores.players, MemoryPlayerStore)
        else ServerRecords(settings.servers_dir, base.clock.seconds)
    )
    claims: Claims | None = None
    # Pods dial other nodes only if they know where these are.
    can_move = settings.pods is None or settings.game_server_any_node is not None
    if stores.servers is not None and can_move and settings.udp == "direct":
        folder = base.recordings.directory
        where = (
            machine()
            if isinstance(processes, LocalFleet)
            else f"pods:{processes.namespace}"
        )
        claims = Claims(
            files,
            stores.servers(where),
            base.lease,
            stores.node_id,
            "" if folder is None else str(folder.absolute()),
            base.reactor,
            # Pods of a node are taken from other machines, where its files are not.
            isinstance(processes, LocalFleet),
        )
        if not isinstance(processes, LocalFleet):
            processes.share(claims.is_ours)
    records: Records = files if claims is None else claims
    timeouts = RoomTimeouts(
        {
            name: longest_life(game, settings.join_seconds)
            for name, game in base.games.items()
        },
        join=settings.join_seconds,
        stored=frozenset(
            name for name, game in base.games.items() if game.durability == "store"
        ),
    )
    own: dict[str, Program] = {}
    own_processes: list[LocalFleet] = []
    if settings.games:
        control = control_socket or settings.control_socket
        program = game_server_program(settings, control_socket)
        for name, table in settings.games.items():
            supply = LocalFleet(
                base.reactor,
                own_program(program, name, table, control),
                ports,
                os.environ,
            )
            own_processes.append(supply)
            own[name] = Program(supply, fleet_settings(settings, table.warm))
    fleet = Fleet(
        PoolMeans(
            base.authority,
            base.clock,
            # A monotonic clock: a step of the other one must not end a match.
            time.monotonic,
            base.entropy,
            timeouts,
            Reader(base.games).why_not,
        ),
        Program(
            processes,
            fleet_settings(settings),
            base.recordings,
            records,
            # A pod gets its port when it is made.
            binds_ahead=isinstance(processes, LocalFleet),
        ),
        own,
    )
    processes.arrived = fleet.arrived
    relay = udp_relay(base, fleet)
    if relay is not None:
        fleet.continuity.resume = relay.go_on
    return FleetParts(
        fleet,
        processes,
        tuple(own_processes),
        files,
        claims,
        relay,
    )


def build_lobby(
    base: Base, checkers: Sequence[ICredentialsChecker], fleet: FleetParts
) -> Lobby:
    """
    Build the lobby.

    :param checkers: of names, passwords and tokens.
    """
    settings, stores = base.settings, base.stores
    online = Online(stores.online)

    join_tickets = JoinTickets(
        settings.realm,
        base.authority.tokens,
        base.entropy,
        base.clock.seconds,
        settings.token_seconds,
    )
    identity = Identity(
        stores.players,
        base.entropy,
        base.clock.seconds,
        guests=settings.guests,
        accounts=Accounts(
            checkers, settings.identity_claim, settings.identity_name_claim
        ),
        key_seconds=settings.player_key_seconds,
        new_guests=AddressBuckets(
            settings.guest_rate, max(1.0, 50 * settings.guest_rate)
        ),
        is_complete=base.lease.is_store_complete,
    )
    matches = Matches(
        fleet.for_players,
        stores.lobby,
        online,
        base.games,
        join_tickets,
        base.clock,
        per_address=settings.matches_per_address,
        results=base.results,
        others=base.links,
        players=None if stores.client is None else stores.players,
        key_seconds=settings.player_key_seconds,
        is_complete=base.lease.is_store_complete,
    )
    queues = Queues(
        base.games, settings.queues, settings.fill_seconds, settings.accept_seconds
    )
    rating_seconds = settings.rating_days * 86400.0
    matchmaker = Matchmaker(
        stores.lobby,
        matches,
        online,
        base.games,
        base.clock,
        base.entropy,
        queues=queues,
        ratings=Ratings(
            stores.ratings,
            base.clock,
            Lifetimes(rating_seconds, min(settings.player_key_seconds, rating_seconds)),
        ),
        region=settings.region or "",
        regions=[name for name, _ in settings.regions],
    )
    parties = Parties(
        stores.lobby,
        matchmaker,
        online,
        base.clock,
        base.entropy,
        PartyBounds(size=settings.party_size),
        address=settings.direct_lobby or "",
        in_thread=lambda call: deferToThreadPool(
            base.reactor, base.reactor.getThreadPool(), call
        ),
    )
    matches.freed = parties.freed
    return Lobby(identity, online, matchmaker, parties, matches, queues)


def build_rooms(base: Base, fleet: FleetParts, lobby: Lobby) -> Rooms:
    """Build the rooms of this node, and let the matchmaker offer seats in them."""
    settings, stores, links = base.settings, base.stores, base.links
    notes = settings.dev_notes
    rooms = Rooms(
        RoomContext(
            time.monotonic,
            base.clock,
            base.entropy,
            base.turns,
            base.recordings,
            RoomBounds(
                most=settings.max_rooms,
                per_address=settings.rooms_per_address,
                places=16 * settings.rooms_per_address,
                spectators=settings.spectators_per_room,
                grace_seconds=settings.grace_seconds,
                fill_seconds=settings.fill_seconds,
            ),
            guard_games() if notes is None or read_notes(notes).is_guarded else None,
            base.results,
            told=None if notes is None else {},
        ),
        base.games,
        fleets=dict.fromkeys(settings.games or (), fleet.servers),
        matches=MatchRooms(
            lobby.matches, fleet.for_players, base.games, settings.watch_matches
        ),
        keeping=None
        if stores.checkpoints is None
        else Keeping(
            stores.checkpoints,
            base.reactor,
            lambda: base.lease.is_current,
            is_shared=settings.store != "memory",
        ),
        visits=None if links is None else Visits(links, base.reactor),
    )
    lobby.matchmaker.rounds.running_rooms = rooms
    return rooms


@attrs.frozen
class Parts:
    """
    The services of a node, not yet started.

    :ivar lines: what lobby lines over TCP share.
    :ivar websockets: what conversations over WebSocket share.
    :ivar tls: how lobby connections speak TLS.
    :ivar sweeping: removes old recordings; ``None`` if there are none.
    :ivar adoption: goes on with the matches of the node before this one.
    """

    base: Base
    fleet: FleetParts
    lobby: Lobby
    rooms: Rooms
    requests: Requests
    lines: Lines
    websockets: WebSockets
    tls: ReloadableTls
    keys: Keys
    sweeping: Service | None
    adoption: Adoption


def build_parts(
    settings: Settings,
    games: Games,
    checkers: Sequence[ICredentialsChecker],
    reactor: Any,
    entropy: Callable[[int], bytes],
    control_socket: Path | None = None,
) -> Parts:
    """
    Build everything between the listening ports and the game processes.

    :param games: by name.
    :param checkers: of names, passwords and tokens.
    :param reactor: runs them; also the clock.
    :param entropy: gives random bytes.
    :param control_socket: where game servers connect, unless in the state directory.
    :raises Misconfigured: the state directory, the store or a key cannot be used.
    """

    def is_here(player_id: str) -> bool:
        return lobby.online.is_here(player_id) or rooms.directory.has(player_id)

    base = build_base(settings, games, reactor, entropy, is_here)
    fleet = build_fleet(base, control_socket)
    lobby = build_lobby(base, checkers, fleet)
    rooms = build_rooms(base, fleet, lobby)
    issued = lobby_certificate(settings, base.authority)
    tls = ReloadableTls(issued.certificate, issued.key)
    requests = Requests(
        lobby,
        rooms,
        offers_of(games, lobby.queues, settings.regions),
        reactor,
        talk_bounds(settings),
        settings.log_level == "debug",
    )
    reserve = Reserve(DESCRIPTOR_RESERVE)
    bounds = line_bounds(settings)
    lines = Lines(
        requests.open,
        reactor,
        tls,
        settings.allow_plaintext,
        bounds,
        requests.errors,
        reserve,
        tls_hellos(settings, reactor),
        is_tls_direct=not settings.twisted_tls,
        turn_end=base.turns,
        direct=base.direct,
    )
    websockets = WebSockets(
        requests.open,
        reactor,
        base.turns,
        bounds,
        requests.errors,
        reserve=reserve,
        direct=base.direct,
    )
    keys = Keys(
        base.authority,
        fleet.servers if fleet.relay is None else fleet.relay.all_keys(fleet.servers),
        LobbyCertificate(
            tls,
            lambda: lobby_certificate(settings, base.authority),
            settings.tls_certificate_file is None,
        ),
        base.clock,
        settings.token_seconds,
    )
    shared = None
    if base.stores.matches is not None:
        shared = Shared(
            games,
            fleet.processes.reaches,
            base.recordings.bring,
            base.stores.matches,
            Reader(games).why_not,
            requests.look_again,
            rooms.ownership.vanish,
        )
    adoption = Adoption(
        fleet.files,
        fleet.servers.continuity,
        fleet.processes,
        lobby.matches,
        base.stores.players,
        base.clock.seconds,
        settings.player_key_seconds,
        fleet.relay is not None,
        shared,
        fleet.claims,
    )
    sweeping = None
    if base.recordings.directory is not None:
        sweeping = _sweeping(base.recordings, reactor)
    return Parts(
        base,
        fleet,
        lobby,
        rooms,
        requests,
        lines,
        websockets,
        tls,
        keys,
        sweeping,
        adoption,
    )


def gateway_links(settings: Settings, parts: Parts, pages: Resource) -> GatewayLinks:
    """
    Make what serves the sessions of gateways as connections of players.

    :param settings: the node's.
    :param parts: of the node.
    :param pages: of `public_pages`.
    """
    serve: dict[tuple[Spoken, bool], IProtocolFactory] = {}
    for is_private in (False, True):
        lines = LineFactory(parts.lines, is_private)
        serve[Spoken.LINES, is_private] = serve[Spoken.TLS, is_private] = lines
        # A gateway finds out whom it serves; nobody behind it speaks for others.
        serve[Spoken.HTTP, is_private] = front_door(
            settings, pages, parts.websockets, parts.base.reactor, Proxies(), is_private
        )
    return GatewayLinks(
        parts.base.stores.node_id,
        serve,
        parts.base.reactor,
        parts.base.turns,
        parts.websockets.direct,
        most_sessions=settings.max_connections,
    )


def node_channels(settings: Settings, parts: Parts) -> GatewayLinks:
    """
    Make what serves other nodes: their questions, and their players in rooms here.

    :param settings: the node's.
    :param parts: of the node.
    """
    reactor, rooms, requests = parts.base.reactor, parts.rooms, parts.requests
    answers = Answers(parts.lobby.matches.admit, rooms.reserve, rooms.list_here)
    bounds = talk_bounds(settings)
    lines = Lines(
        lambda line: NodeConversation(answers, requests, line, reactor, bounds),
        reactor,
        bounds=LineBounds(FRAME_LIMIT),
        errors=parts.lines.errors,
    )
    return GatewayLinks(
        parts.base.stores.node_id,
        {},
        reactor,
        parts.base.turns,
        parts.websockets.direct,
        most_sessions=MOST_VISITS,
        peer="node",
        first=lambda peer: LineProtocol(lines, peer.host, False, reactor.seconds()),
    )


#: Players of other nodes who can be in rooms of this one, with questions of nodes.
MOST_VISITS = 100_000
#: How often old recordings are looked for, seconds.
_SWEEP_SECONDS = 60.0


def _sweeping(recordings: Recordings, reactor: Any) -> Repeating:
    """Remove old recordings now and then, in a thread: there may be many."""

    def sweep() -> Deferred[Any]:
        pool, now = reactor.getThreadPool(), time_of_day(reactor)()
        return deferToThreadPool(reactor, pool, recordings.sweep, now).addErrback(
            lambda failure: _log.failure("cannot sweep recordings", failure)
        )

    return Repeating(sweep, _SWEEP_SECONDS, reactor, is_at_once=True)


def recordings_of(settings: Settings, clock: IReactorTime) -> Recordings:
    """Open the recordings of this node's rooms; game servers use the same folder."""
    is_recorded = settings.recordings_days > 0 and settings.recordings_mb > 0
    return Recordings(
        settings.recordings_dir if is_recorded else None,
        most_bytes=settings.recordings_mb * 10**6,
        most_age=settings.recordings_days * 86400.0,
        clock=clock,
        ids=settings.recordings_ids == "yes",
    )


def results_of(
    settings: Settings,
    games: Games,
    recordings: Recordings,
    reactor: Any,
    entropy: Callable[[int], bytes],
) -> Results | None:
    """
    Make what keeps and sends results; ``None`` if the settings keep none.

    :param games: by name.
    :param recordings: named in results.
    :param reactor: the clock; sends requests.
    :param entropy: gives random bytes.
    :raises Misconfigured: kept results, the secrets or the authority cannot be read.
    """
    if not settings.results_most:
        return None
    store = ResultStore(
        settings.results_most,
        settings.results_days * 86400.0,
        time_of_day(reactor),
        # twistd changes its folder.
        settings.results_dir.absolute(),
    )
    if why := store.check():
        _log.error("results: {why}", why=why)
    sending, url = None, settings.results_url
    if url is not None and settings.results_secret_file is not None:
        # It is read again later, after twistd has changed its folder.
        path = settings.results_secret_file.absolute()
        authority = settings.results_authority_file
        anchor = None
        if authority is not None:
            anchor = read_file(authority, "results_authority_file")
        sending = Sending(
            store,
            Receiver(reactor, url, anchor),
            with_time_of_day(reactor),
            lambda: int.from_bytes(entropy(4)) / 2**32,
            read_secrets=lambda: read_secrets(
                read_file(path, "results_secret_file"), str(path)
            ),
        )
    return Results(store, games, with_time_of_day(reactor), recordings.name_of, sending)


def lobby_certificate(settings: Settings, authority: Authority) -> Issued:
    """
    Find the lobby's certificate: configured files, or one of our own authority.

    :raises Misconfigured: the files cannot be read.
    """
    if settings.tls_certificate_file is not None and settings.tls_key_file is not None:
        return Issued(
            read_file(settings.tls_certificate_file, "tls_certificate_file"),
            read_file(settings.tls_key_file, "tls_key_file"),
        )
    names = {"localhost", "127.0.0.1", "::1", settings.public_host}
    return authority.lobby(sorted(names))


def find_provider(settings: Settings, reactor: Any) -> ProviderKeys | None:
    """
    Make what verifies the JWTs of an identity provider; ``None`` without one.

    :param reactor: fetches the keys, if they come from a URL.
    :raises Misconfigured: a file cannot be used.
    """
    issuer, audience = settings.identity_issuer, settings.identity_audience
    if issuer is None or audience is None:
        return None
    if settings.identity_keys_url is not None:
        path, authority = settings.identity_authority_file, None
        if path is not None:
            authority = read_file(path, "identity_authority_file")
        url = settings.identity_keys_url
        return ProviderKeys(
            OutsideVerifier(b"", issuer, audience),
            reactor,
            fetch=HttpsDocument(reactor, url, authority),
            place=url,
        )
    assert settings.identity_keys_file is not None
    return keys_of_file(settings.identity_keys_file, issuer, audience, reactor)


def find_checkers(
    settings: Settings,
    now: Callable[[], float],
    provider: ProviderKeys | None = None,
) -> list[ICredentialsChecker]:
    """
    Make the checkers of hellos with credentials.

    :param now: gives the time, seconds since the Unix epoch.
    :param provider: verifies the JWTs of an identity provider.
    :raises Misconfigured: a checker or a key cannot be used.
    """
    checkers: list[ICredentialsChecker] = []
    for description in settings.auth:
        kind, _, given = description.partition(":")
        if kind == "file":
            # Twisted's own checker only warns, and then refuses every player.
            read_file(Path(given), "auth")
            # It opens the file for each login, after twistd has changed its folder.
            description = f"file:{Path(given).absolute()}"
        try:
            checker = makeChecker(description)
        except InvalidAuthType as error:
            raise Misconfigured(
                f"auth {kind!r} isn't a checker; see --help-auth"
            ) from error
        except (InvalidAuthArgumentString, OSError, ValueError) as error:
            # Without the description: it may contain a password.
            raise Misconfigured(
                f"auth {kind!r} cannot be used: {type(error).__name__}; "
                f"see --help-auth-type {kind}"
            ) from error
        if IUsernamePassword not in checker.credentialInterfaces:
            raise Misconfigured(
                f"auth {kind!r} does not check names and passwords; see --help-auth"
            )
        if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
            # Twisted's plugin stores text, but compares it with bytes.
            users: dict[Any, Any] = checker.users
            checker.users = {
                str(name).encode(): str(password).encode()
                for name, password in users.items()
            }
        checkers.append(checker)
    if provider is not None:
        checkers.append(OutsideTokenChecker(provider.verify, now))
    return checkers


def game_user(settings: Settings) -> User | None:
    """
    Find the user that game servers run as; ``None`` for the node's.

    :raises Misconfigured: there is no such user, or the node cannot become it.
    """
    name = settings.game_user
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise Misconfigured(
            f"game_user {name!r} is no user of this machine: create it, or choose "
            "another one"
        ) from None
    if os.geteuid() != 0:
        raise Misconfigured(
            f"game_user {name!r} needs a node that runs as root, and this one runs as "
            f"user {os.geteuid()}: start it as root, or remove game_user"
        )
    return User(name, found.pw_uid, found.pw_gid)


def wall_of(settings: Settings) -> Enclosure | None:
    """Say what the kernel is to refuse to game servers; ``None`` for nothing."""
    if settings.wall == "no":
        return None
    return Enclosure(
        tuple(str(path.absolute()) for path in settings.secret_paths),
        tuple(str(path.absolute()) for path in settings.game_data),
    )


def supply_of(
    base: Base, ports: GamePorts | RelayedPorts, control_socket: Path | None
) -> LocalFleet | KubernetesFleet:
    """
    Make what starts game servers.

    :param ports: where players reach local ones.
    :param control_socket: where local ones connect, unless in the state directory.
    :raises Misconfigured: that is not possible.
    """
    settings, reactor = base.settings, base.reactor
    program = game_server_program(settings, control_socket)
    table = settings.pods
    if table is None:
        return LocalFleet(
            reactor, program, ports, os.environ, mail=settings.servers_dir
        )
    # What is searched for and recorded on this machine is not there.
    limits = {**program.settings, "control": "", "recordings": None, "installed": None}
    limits["lease_seconds"] = settings.orphan_seconds
    grace = table.grace_seconds
    any_node = settings.game_server_any_node
    # With udp = relay players are connected to the node: nobody else can go on.
    others = {}
    if any_node is not None and settings.udp != "relay":
        others = {"VINOM_GAMESERVER_ANY_NODE": any_node}
    cluster = cluster_of(table)
    # Imported only here: it takes half a second and 60 MB.
    from vinom.fleet.kubernetes.api import KubernetesApi
    from vinom.fleet.kubernetes.fleet import KubernetesFleet

    environment = {
        **others,
        "VINOM_GAMESERVER_NODE": settings.pod_link,
        "VINOM_GAMESERVER_AUTHORITY": base.authority.anchor.decode("ascii"),
        "VINOM_GAMESERVER_LIMITS": json.dumps(limits),
        "VINOM_GAMESERVER_DRAIN_SECONDS": str(max(grace - _GRACE_MARGIN, 0)),
        "VINOM_GAMESERVER_LOG_FORMAT": settings.log_format,
        "VINOM_GAMESERVER_LOG_LEVEL": settings.log_level,
    }
    # Where players of all matches connect, if this node relays.
    relayed = ServerAddress(*settings.udp_place) if settings.udp == "relay" else None
    api = KubernetesApi(reactor, cluster)
    owner = table.owner or _own_name()
    return KubernetesFleet(
        reactor,
        api,
        PodTemplate(table, owner, environment, relayed),
        # Nodes with the same ports must not all begin with the same one: a machine has
        # each port once.
        PortRing(*settings.ports, begin=int.from_bytes(base.entropy(4)) / 2**32),
        base.entropy,
        lease_seconds=settings.orphan_seconds + AWAY_MARGIN,
    )


def game_server_program(
    settings: Settings, control_socket: Path | None = None
) -> GameServerProgram:
    """
    Describe a game server: its program, its limits, and its settings.

    :param settings: the node's.
    :param control_socket: where it connects, unless in the state directory.
    :raises Misconfigured: the user of game servers cannot be used.
    """
    control = control_socket or settings.control_socket
    # Searched here once: in each game server it would cost 8 ms and 2 MB.
    installed = installed_games()
    # What its author writes meanwhile, each game server loads as it is then.
    specs = installed if settings.dev_notes else (*installed, *settings.game)
    games = sorted({spec.partition(":")[0] for spec in specs})
    is_recorded = settings.recordings_days > 0 and settings.recordings_mb > 0
    return GameServerProgram(
        GAME_SERVER,
        {
            "control": f"unix:{quoteStringArgument(str(control))}",
            "installed": list(installed),
            "games": list(settings.game),
            "rooms_per_process": settings.rooms_per_process,
            "recordings": str(settings.recordings_dir) if is_recorded else None,
            "recordings_days": settings.recordings_days,
            "recordings_bytes": settings.recordings_mb * 10**6,
            "recordings_ids": settings.recordings_ids == "yes",
            "log_format": settings.log_format,
            "log_level": settings.log_level,
            "is_walled": settings.wall == "yes",
            "checkpoints": settings.checkpoints == "yes",
            "lease_seconds": settings.orphan_seconds,
            **{name: getattr(settings, name) for name in _PASSED_ON},
        },
        (*PRELOADED, *games),
        settings.server_memory_mb << 20,
        # Each room keeps its recording and its crash report open.
        _GAME_FILES + 2 * min(settings.rooms_per_process, _MOST_ROOMS),
        lease_seconds=settings.orphan_seconds,
        wall=wall_of(settings),
        user=game_user(settings),
    )


def check_program(name: str, table: GameTable) -> None:
    """
    Check that a game's own program is there.

    :raises Misconfigured: it is not.
    """
    program = table.command[0]
    place = Path(table.folder, program) if "/" in program else program
    if shutil.which(place) is None:
        raise Misconfigured(
            f"games.{name}.command: there is no program {program}: install it, or "
            "write its path"
        )


def own_program(
    usual: GameServerProgram, name: str, table: GameTable, control: Path
) -> GameServerProgram:
    """
    Describe a game server that is a program of its own.

    :param usual: the program of games in Python.
    :param name: of its game.
    :param table: describes the game.
    :param control: where it connects: a UNIX socket.
    :raises Misconfigured: there is no such program.
    """
    check_program(name, table)
    memory = table.memory_mb
    return attrs.evolve(
        usual,
        preload=(),
        command=table.command,
        folder=table.folder,
        memory=usual.memory if memory is None else memory << 20,
        # It forbids to run programs.
        wall=None,
        environment={
            "VINOM_CONTROL": str(control.absolute()),
            "VINOM_CONTROL_PROTOCOL": str(CONTROL_PROTOCOL),
            "VINOM_GAME": name,
            "VINOM_ROOMS": str(usual.settings["rooms_per_process"]),
            "VINOM_SETTINGS": json.dumps({**usual.settings, "is_walled": False}),
        },
    )


def fleet_settings(settings: Settings, warm: int | None = None) -> FleetSettings:
    """
    Read how many game servers there are, and their names, from the settings.

    :param warm: how many to keep ready; as the settings say unless given.
    """
    pods, most = settings.pods, settings.max_servers
    if warm is None:
        warm = settings.warm
    if most is None:
        first, last = settings.ports
        # Warm ones have no port yet, and come in addition to those that play; but pods
        # have theirs from the start.
        most = last - first + 1 + (warm if pods is None else 0)
    away = settings.orphan_seconds + AWAY_MARGIN
    return FleetSettings(
        realm=settings.realm,
        has_udp=settings.udp == "direct",
        policy=PoolPolicy(
            warm=warm,
            most=most,
            rooms_per_process=settings.rooms_per_process,
        ),
        # They end by themselves; one that hangs is killed a little later.
        timeouts=ServerTimeouts(away=away)
        if pods is None
        else ServerTimeouts(
            start=pods.start_seconds,
            bind=_POD_SECONDS,
            leave=pods.grace_seconds + _POD_SECONDS,
            away=away,
        ),
    )


def game_ports(settings: Settings) -> GamePorts | RelayedPorts:
    """Say where players reach game servers."""
    if settings.udp == "relay":
        first, last = settings.ports
        return RelayedPorts(*settings.udp_place, last - first + 1)
    interface = settings.interface

    def is_free(port: int) -> bool:
        return bind_problem(socket.SOCK_DGRAM, interface, port) != "EADDRINUSE"

    ring = PortRing(*settings.ports, is_free=is_free)
    # Nobody sets this clock: a quarantine must not end early, or never.
    return GamePorts(ring, interface, settings.public_host, time.monotonic)


def udp_relay(base: Base, fleet: Fleet) -> UdpRelay | None:
    """
    Make what has the connections of players over UDP; ``None`` if game servers do.

    :param fleet: passes on what players do.
    :raises Misconfigured: the authority cannot sign.
    """
    settings = base.settings
    if settings.udp == "direct":
        return None
    # A node imports what it uses: it starts faster, also after it was killed.
    from vinom.fleet.gameserver.main import GameServerSettings
    from vinom.fleet.gameserver.seats import Runtime
    from vinom.fleet.relay.service import RelaySettings, UdpRelay

    limits = GameServerSettings(
        "", **{name: getattr(settings, name) for name in _PASSED_ON}
    )
    return UdpRelay(
        fleet,
        base.authority,
        base.games,
        Runtime(base.reactor, time.monotonic, base.entropy),
        base.turns,
        RelaySettings(
            settings.realm,
            settings.interface,
            settings.ports[0],
            ServerAddress(*settings.udp_place),
            limits.limits(),
        ),
    )


def cluster_of(table: PodTable) -> Cluster:
    """
    Find the cluster that pods run in.

    :raises Misconfigured: the client is not installed, or there is no cluster.
    """
    try:
        from vinom.fleet.kubernetes.api import find_cluster
    except ImportError as error:
        raise Misconfigured(
            f"pods need Kubernetes' Python client ({error}): "
            "pip install vinom[kubernetes]"
        ) from error
    return find_cluster(table.kubeconfig, table.context, table.namespace)


def _own_name() -> str:
    """Name this node after its pod or its machine, in the form of a label's value."""
    name = os.environ.get("POD_NAME") or socket.gethostname()
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:50].strip("-") or "node"
