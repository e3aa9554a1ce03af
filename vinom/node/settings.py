"""
Every setting of a node, in one table: `Settings` and its fields.

The table is the source of ``twistd vinom --help``, of the keys of the TOML file,
of the ``VINOM_*`` variables and of the reference page.
`gather` combines these sources.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import attrs

from vinom.base.limits.origins import OriginRule
from vinom.base.messages.lobby import MOST_REGIONS
from vinom.base.settings.sources import JsonTable, Sources
from vinom.base.settings.values import (
    LABEL,
    REALM,
    REGION_NAME,
    Address,
    Bounded,
    Choice,
    ClaimName,
    Endpoint,
    HttpsUrl,
    LinkEndpoint,
    LobbyAddress,
    Network,
    OriginHost,
    PathName,
    PortRange,
    RegionUrl,
    Row,
    StoreAddress,
    StoreUrl,
    Switch,
    Text,
    WebSocketUrl,
    log_format_option,
    log_level_option,
    option,
    row_of,
)
from vinom.errors import Misconfigured
from vinom.fleet.gameserver.lease import SHORTEST_LEASE
from vinom.fleet.kubernetes.template import PodTable, read_pods
from vinom.lobby.conversation.identity import GuestPolicy
from vinom.lobby.matchmaking.queues import QueueTable, read_tables
from vinom.node.games import GameTable, read_games

#: Most claims that a node passes to games.
MOST_CLAIMS = 16
#: ``vinom dev`` puts this file into the state directory of its node.
DEV_NOTES = "dev.json"


def _state_dir() -> Path:
    """Where programs of this user keep state (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "vinom"


_PORT = Bounded(int, 0, 65535)
_RATE = Bounded(float, 0.01, 10**6)
_RATE_OR_NONE = Bounded(float, 0, 10**6)


#: Declare a setting of one section of the reference.
_network = partial(option, "network")
_state = partial(option, "state")
_store = partial(option, "store")
_results = partial(option, "results")
_identity = partial(option, "identity")
_lobby = partial(option, "lobby")
_matchmaking = partial(option, "matchmaking")
_websocket = partial(option, "websocket")
_rooms = partial(option, "rooms")
_games = partial(option, "games")
_pods = partial(option, "pods")
_strangers = partial(option, "strangers")
_operation = partial(option, "operation")
_trust = partial(option, "trust")


@attrs.frozen(kw_only=True)
class Settings:
    """
    The settings of a node, checked. Durations: seconds.

    Field names are the keys of the TOML file; ``--help`` has them with hyphens. The
    sections of the reference follow each other in the order of the fields.
    """

    interface: str = _network(
        Address(), "IPv4 or IPv6 address to listen on", "127.0.0.1"
    )
    port: int = _network(_PORT, "TCP port of the lobby; 0 takes any free one", 4600)
    advertise: str | None = _network(
        Text(),
        "host name or address that players connect to; required if the interface is "
        "0.0.0.0 or ::, otherwise the interface",
    )
    ports: tuple[int, int] = _network(
        PortRange(), "UDP ports of game servers, first-last", (46000, 46063)
    )
    udp: Literal["direct", "relay"] = _network(
        Choice(("direct", "relay")),
        "how players over UDP reach game servers: direct, or relay, in which all "
        "players connect to the node, at the first of the ports, and the node relays "
        "their actions",
        "direct",
    )
    udp_address: str | None = _network(
        LobbyAddress(),
        "with udp relay: host:port at which players reach the first of the ports, if "
        "not at advertise: for example a load balancer that passes UDP on",
    )
    http: str | None = _network(
        Endpoint(),
        "where to serve /ws, /health and /ready: a port on the interface, or an "
        "endpoint such as tcp:8080:interface=10.0.0.1; off unless set",
    )
    gateway_link: str | None = _network(
        LinkEndpoint(),
        "accept links of gateways here: unix:/path, or a port or tls:HOST:PORT for "
        "TLS with certificates of the authority; off unless set",
    )
    realm: str = _network(
        REALM,
        "domain that the names of game servers end with, at least two labels",
        "game.vinom",
    )
    state_dir: Path = _state(
        PathName(),
        "directory of keys, certificates, recordings, results and the admin socket",
        _state_dir,
    )
    recordings_days: float = _state(
        Bounded(float, 0, 3650),
        "how long to keep recordings of matches, days; 0 records nothing",
        7.0,
    )
    recordings_mb: int = _state(
        Bounded(int, 0, 1 << 24),
        "disk space that recordings may use, MB (10^6 bytes); 0 records nothing",
        1000,
    )
    recordings_ids: Literal["yes", "no"] = _state(
        Choice(("yes", "no")),
        "whether recordings hold the ids of players: yes or no; they hold the names in "
        "any case",
        "yes",
    )
    store: StoreAddress | Literal["memory"] = _store(
        StoreUrl(),
        "where queues, players and matches are stored: memory (this node alone), "
        "redis://[user[:password]@]host:port/db, rediss://... (over TLS), or "
        "redis+sentinel://host:port,host:port/service; several nodes with one Redis "
        "act as one service",
        "memory",
    )
    store_password_file: Path | None = _store(
        PathName(), "file with the password of the Redis"
    )
    store_ca: Path | None = _store(
        PathName(),
        "authority that signed the certificate of a rediss:// store, PEM; those that "
        "the system trusts unless set",
    )
    store_prefix: str = _store(
        LABEL,
        "name of this deployment in the keys of the Redis, which begin with "
        "vinom:1:NAME:; several deployments may share one Redis",
        "main",
    )
    lease_seconds: float = _store(
        Bounded(float, 0.3, 3600),
        "how long a node owns what it owns after its last renewal, of which there are "
        "five in that time; others then take over",
        10.0,
    )
    node_link: str | None = _store(
        Endpoint(),
        "port, or Twisted endpoint, for other nodes of the deployment, over TLS with "
        "certificates of its authority; a free port unless set, if nodes share a store "
        "and an authority; a port is one of the interface, or of the address that "
        "reaches the store if only this machine reaches the interface",
    )
    direct_lobby: str | None = _store(
        LobbyAddress(),
        "host:port at which players reach the lobby of this node and of no other; "
        "clients that can go to the node of their room are sent there, all others are "
        "served through node_link",
    )
    direct_websocket: str | None = _store(
        WebSocketUrl(),
        "the same for browsers: URL of the WebSocket of this node and of no other",
    )
    results_most: int = _results(
        Bounded(int, 0, 10**6),
        "results of rounds to keep, the newest; each takes about 1 KB of disk; 0 keeps "
        "none",
        10_000,
    )
    results_days: float = _results(
        Bounded(float, 0.01, 3650), "how long to keep results, sent or not, days", 30.0
    )
    results_url: str | None = _results(
        HttpsUrl(example="https://game.example.org/results", is_local_http=True),
        "post each result to this URL; https, or http on this machine; requires "
        "results_secret_file",
    )
    results_secret_file: Path | None = _results(
        PathName(),
        "file with the secrets that these requests are signed with, one per line: "
        "whsec_ and the Base64 of 24 to 64 random bytes; read again on SIGHUP",
    )
    results_authority_file: Path | None = _results(
        PathName(),
        "authority of the web server of results_url, PEM; those that the system trusts "
        "unless set",
    )
    guests: GuestPolicy = _identity(
        Choice(("no", "loopback", "yes")),
        "who may play under any name without proof: no, loopback (players on this "
        "machine) or yes",
        "loopback",
    )
    auth: tuple[str, ...] = _identity(
        Text(),
        "a checker of names and passwords, see --help-auth; may be repeated",
        many=True,
    )
    identity_keys_file: Path | None = _identity(
        PathName(),
        "public keys of a provider of JWTs, PEM or JSON Web Key Set; read again on "
        "SIGHUP",
    )
    identity_keys_url: str | None = _identity(
        HttpsUrl(),
        "fetch these keys from here instead (JSON Web Key Set), again each hour and "
        "when a token names an unknown key",
    )
    identity_authority_file: Path | None = _identity(
        PathName(),
        "authority of the web server of identity_keys_url, PEM; those that the system "
        "trusts unless set",
    )
    identity_issuer: str | None = _identity(
        Text(), "the iss claim of the provider's JWTs"
    )
    identity_audience: str | None = _identity(
        Text(), "the aud claim of the provider's JWTs"
    )
    identity_claim: tuple[str, ...] = _identity(
        ClaimName(),
        "a claim of the provider's JWTs that games may read, such as rank; may be "
        "repeated",
        many=True,
    )
    identity_name_claim: str | None = _identity(
        ClaimName(),
        "the claim of the provider's JWTs that holds a player's display name; unless "
        "set, players choose their names",
    )
    player_key_seconds: float = _identity(
        Bounded(float, 60, 10**8),
        "how long a player key stays valid after its last use",
        21600.0,
    )
    guest_rate: float = _identity(
        _RATE,
        "new guests per second of one address, fifty times that at once; four times "
        "that of its network (an IPv4 /24, an IPv6 /48), for an IPv6 /64 counts as one "
        "address",
        10.0,
    )
    allow_plaintext: bool = _lobby(
        Switch(), "accept lobby lines without TLS from other machines too", False
    )
    line_limit: int = _lobby(
        Bounded(int, 256, 1 << 20),
        "longest message that a client may send, bytes",
        2048,
    )
    connections_per_address: int = _lobby(
        Bounded(int, 1, 1 << 20),
        "most connections of one address to a port at once, for an IPv6 /64 counts as "
        "one; four times that of its network (an IPv4 /24, an IPv6 /48)",
        256,
    )
    max_connections: int = _lobby(
        Bounded(int, 1, 1 << 20),
        "most connections to a port at once; so is the limit of open files, of which "
        "newcomers leave 128 free",
        60_000,
    )
    message_rate: float = _lobby(
        Bounded(float, 0.1, 10**6),
        "messages per second of one line, three times that at once",
        10.0,
    )
    fill_seconds: float = _lobby(
        Bounded(float, 0, 3600),
        "how long the first player in the queue waits before a match may start "
        "without all seats filled",
        5.0,
    )
    accept_seconds: float = _lobby(
        Bounded(float, 0, 600),
        "how long players have to accept a match that was found for them; 0 does not "
        "ask them",
        0.0,
    )
    party_size: int = _lobby(Bounded(int, 1, 1000), "most members of one party", 16)
    queues: Mapping[str, QueueTable] | None = _matchmaking(
        JsonTable(read_tables),
        "queues with names, [queues.NAME] in the file: their game, options and rule",
    )
    rating_days: float = _matchmaking(
        Bounded(float, 0.01, 3650),
        "how long a player's ratings are kept after the last round, days; a guest's as "
        "long as its player key, at most this",
        400.0,
    )
    region: str | None = _matchmaking(
        REGION_NAME, "where this node is, for rules that match players by latency"
    )
    regions: tuple[tuple[str, str], ...] = _matchmaking(
        RegionUrl(),
        "a region, and the URL of the page echo of a node there, to which players "
        "measure their latency; at most 16; may be repeated",
        many=True,
    )
    token_seconds: float = _lobby(
        Bounded(float, 10, 3600),
        "how long connect tokens and tickets stay valid",
        120.0,
    )
    http_tls: bool = _websocket(
        Switch(), "serve http over TLS, with the lobby's certificate", False
    )
    twisted_tls: bool = _websocket(
        Switch(),
        "speak TLS, at http and in the lobby, by Twisted's own implementation: a "
        "fallback, which serves about half as many players",
        False,
    )
    page: Path | None = _websocket(
        PathName(),
        "directory of a web site to serve at http instead of Vinom's page; must have "
        "an index.html",
    )
    origin: tuple[OriginRule, ...] = _websocket(
        OriginHost(),
        "a host whose web pages may connect, in addition to the node's own: "
        "example.com, *.example.com (hosts below it) or localhost:5173; may be "
        "repeated",
        many=True,
    )
    browsers_only: bool = _websocket(
        Switch(),
        "refuse WebSockets of clients that, unlike browsers, send no Origin",
        False,
    )
    any_origin: bool = _websocket(
        Switch(), "for development only: let web pages of every site connect", False
    )
    proxy: tuple[IPv4Network | IPv6Network, ...] = _websocket(
        Network(),
        "trust this address, or network such as 10.0.0.0/8, of proxies: accept the "
        "PROXY protocol from it at the lobby's port and at http, and Forwarded and "
        "X-Forwarded-For at http; may be repeated",
        many=True,
    )
    ping_seconds: float = _websocket(
        Bounded(float, 1, 3600),
        "seconds between WebSocket pings; a client that misses one is disconnected",
        20.0,
    )
    deflate: bool = _websocket(
        Switch(),
        "compress WebSocket messages for clients that support it; takes more time "
        "than small messages save",
        False,
    )
    max_rooms: int = _rooms(
        Bounded(int, 1, 10**6), "most rooms on this node at once", 10_000
    )
    rooms_per_address: int = _rooms(
        Bounded(int, 1, 10**6),
        "most rooms that players of one address opened and that are not closed, and "
        "sixteen times that are seats and spectators' places in rooms; four times that "
        "for its network (an IPv4 /24, an IPv6 /48)",
        64,
    )
    spectators_per_room: int = _rooms(
        Bounded(int, 0, 10**6), "most spectators of one room", 256
    )
    grace_seconds: float = _rooms(
        Bounded(float, 0, 10**6),
        "how long a disconnected player keeps a seat, unless the game sets it",
        900.0,
    )
    watch_matches: Literal["none", "by_id", "listed"] = _rooms(
        Choice(("none", "by_id", "listed")),
        "who may watch matches of others: none (nobody), by_id (anyone who has the "
        "match's id) or listed (anyone: list_rooms shows them)",
        "listed",
    )
    checkpoints: Literal["yes", "no"] = _games(
        Choice(("yes", "no")),
        "whether matches over UDP outlive their game process: yes or no",
        "yes",
    )
    join_seconds: float = _games(
        Bounded(float, 1, 600),
        "how long a match waits for its players to connect",
        10.0,
    )
    matches_per_address: int = _games(
        Bounded(int, 1, 10**6),
        "most matches that are not over with players of one address; four times that "
        "for its network (an IPv4 /24, an IPv6 /48)",
        32,
    )
    game: tuple[str, ...] = _games(
        Text(),
        "a game in addition to the installed ones, package.module:Class; may be "
        "repeated",
        many=True,
    )
    games: Mapping[str, GameTable] | None = _games(
        JsonTable(read_games),
        "games whose game servers are separate programs, in any language: "
        "[games.NAME] in the file, with their command, seats and more",
    )
    warm: int = _games(
        Bounded(int, 0, 1000), "game servers to keep ready for a match", 2
    )
    max_servers: int | None = _games(
        Bounded(int, 1, 60000),
        "most game servers at once, warm ones included; as many as ports unless set",
    )
    rooms_per_process: int = _games(
        Bounded(int, 1, 10**6),
        "matches that one game server hosts before it exits; it may host all of them "
        "at once",
        1,
    )
    server_memory_mb: int = _games(
        Bounded(int, 64, 1 << 20), "address space of one game server, MiB", 512
    )
    wall: Literal["yes", "no"] = _games(
        Choice(("yes", "no")),
        "have the kernel refuse game servers everything but their code, their link and "
        "their port: yes or no",
        "yes",
    )
    game_data: tuple[Path, ...] = _games(
        PathName(),
        "a file or folder that games may read in game servers, in addition to their "
        "code; may be repeated",
        many=True,
    )
    game_user: str | None = _games(
        Text(),
        "run game servers as this user of the machine; requires a node that runs as "
        "root",
    )
    input_rate: float = _games(
        _RATE,
        "actions per second of one player's connection, twice that at once, and 2.5 "
        "times as many packets, of which more count as lost; the same number of "
        "actions in rooms of the node",
        100.0,
    )
    pods: PodTable | None = _pods(
        JsonTable(read_pods, attrgetter("image")),
        "[pods] in the file: run game servers as pods of a Kubernetes cluster, which "
        "needs pip install vinom[kubernetes], and not as processes of this machine",
    )
    game_server_link: str | None = _pods(
        LinkEndpoint(),
        "accept links of pods here: a port or tls:HOST:PORT, for TLS with a "
        "certificate of the authority; required with pods",
    )
    game_server_address: str | None = _pods(
        LobbyAddress(),
        "host:port at which pods reach game_server_link; required if that has no host, "
        "otherwise the same",
    )
    game_server_any_node: str | None = _pods(
        LobbyAddress(),
        "host:port of the game_server_link of all nodes of this store, where host "
        "resolves to all their addresses, such as a headless Service: a pod whose "
        "node is gone dials them in turn, and one of them takes over its matches",
    )
    nameless_rate: float = _strangers(
        _RATE_OR_NONE,
        "handshakes per second of one network without a server name, and so without "
        "a ticket; eight times that at once; at most 0.1 during an attack; 0 refuses "
        "them",
        0.5,
    )
    handshake_rate: float = _strangers(
        _RATE,
        "handshakes per second of one address with one game server, over all its "
        "tickets, ten times that at once, a quarter of these unfinished; and of one "
        "with a port, over TLS, five times as many, and 25 times at once",
        10.0,
    )
    drain_seconds: float = _operation(
        Bounded(float, 0, 10**6),
        "how long running matches, and rooms that cannot go to other nodes, may "
        "continue after SIGTERM or Ctrl-C",
        60.0,
    )
    on_stop: Literal["drain", "leave"] = _operation(
        Choice(("drain", "leave")),
        "what SIGTERM and Ctrl-C do with running matches: drain hands them over to "
        "other nodes on this machine, if there is a Redis, and waits for the rest to "
        "end; leave stops at once, and such a node, or the one that is started next, "
        "takes them over",
        "drain",
    )
    orphan_seconds: float = _operation(
        Bounded(float, SHORTEST_LEASE, 600),
        "how long a game server with a match goes on without a node before its matches "
        "are lost",
        45.0,
    )
    admin: str | None = _operation(
        Endpoint(),
        "where to serve the admin API and /metrics, in addition to the socket in the "
        "state directory: a port on the interface, or an endpoint; requires "
        "admin_token_file",
    )
    admin_token_file: Path | None = _operation(
        PathName(), "file with the bearer token of the admin API over TCP"
    )
    log_format: str = log_format_option()
    log_level: str = log_level_option()
    tls_certificate_file: Path | None = _trust(
        PathName(),
        "the lobby's certificate chain, leaf first, PEM; a private one unless set",
    )
    tls_key_file: Path | None = _trust(PathName(), "the key of that certificate, PEM")
    authority_certificate_file: Path | None = _trust(
        PathName(),
        "certificate of the authority that signs for game servers, PEM; a private "
        "one unless set",
    )
    authority_key_file: Path | None = _trust(
        PathName(), "the key of that authority, PEM"
    )

    def __attrs_post_init__(self) -> None:
        everywhere = ip_address(self.interface.partition("%")[0]).is_unspecified
        if self.advertise is None and everywhere:
            raise Misconfigured(
                f"players can't connect to {self.interface}: set advertise to the "
                "host name or address they should use"
            )
        if self.max_servers is not None and self.warm > self.max_servers:
            raise Misconfigured(
                f"warm {self.warm} is more than max_servers {self.max_servers}: "
                "lower warm or raise max_servers"
            )
        for one, other in _TOGETHER:
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise Misconfigured(f"set both {one} and {other}, or neither")
        self._check_identity()
        self._check_regions()
        self._check_store()
        self._check_results()
        self._check_pods()
        if self.udp_address is not None and self.udp == "direct":
            raise Misconfigured(
                f"udp_address {self.udp_address} is used only with udp relay, but udp "
                "is direct: set udp to relay, or remove udp_address"
            )
        if self.admin is not None and self.admin_token_file is None:
            raise Misconfigured(
                "admin over TCP needs a bearer token: set admin_token_file"
            )

    @property
    def link(self) -> str | None:
        """Where other nodes reach this one; ``None`` if none can."""
        is_shared = self.store != "memory" and self.authority_certificate_file
        return self.node_link or ("0" if is_shared else None)

    def _check_store(self) -> None:
        """Check what several nodes need in common."""
        if self.node_link is not None and self.store == "memory":
            raise Misconfigured(
                "node_link is for nodes that share a store: set store to a Redis, or "
                "remove node_link"
            )
        for name in ("direct_lobby", "direct_websocket"):
            if getattr(self, name) is not None and self.link is None:
                raise Misconfigured(
                    f"{name} sends players of other nodes here: set store to a Redis, "
                    "and authority_certificate_file and authority_key_file, to those "
                    f"that all nodes share, or remove {name}"
                )
        is_tls = self.store != "memory" and self.store.is_tls
        if self.store_ca is not None and not is_tls:
            raise Misconfigured(
                "store_ca verifies a rediss:// store: set store to one, or remove "
                "store_ca"
            )
        if self.node_link is not None and self.authority_certificate_file is None:
            raise Misconfigured(
                "nodes that share a store need one authority, and this one would make "
                "its own: set authority_certificate_file and authority_key_file to the "
                "same on all of them; a node that is alone needs neither, and no "
                "node_link"
            )

    def _check_pods(self) -> None:
        """Check that settings for pods are complete, and that all have an effect."""
        if self.pods is None:
            for name in (
                "game_server_link",
                "game_server_address",
                "game_server_any_node",
            ):
                if getattr(self, name) is not None:
                    raise Misconfigured(
                        f"{name} is for game servers in pods: set the table [pods] "
                        f"with an image, or remove {name}"
                    )
            return
        if self.game_server_link is None:
            raise Misconfigured("pods need game_server_link, to which they connect")
        if self.game_server_any_node is not None and self.store == "memory":
            raise Misconfigured(
                f"game_server_any_node {self.game_server_any_node} needs a Redis that "
                "the nodes share: set store; or remove it"
            )
        if self.game_server_link.startswith("unix:"):
            raise Misconfigured(
                f"pods cannot reach game_server_link {self.game_server_link}: "
                "set it to a port or tls:HOST:PORT"
            )
        if not self.pod_link:
            raise Misconfigured(
                f"game_server_link {self.game_server_link} names no host that pods can "
                "dial: set game_server_address to host:port"
            )

    @property
    def pod_link(self) -> str:
        """The host and port that pods dial; empty if they are not known."""
        if self.game_server_address is not None:
            return self.game_server_address
        where = (self.game_server_link or "").removeprefix("tls:")
        host, _, port = where.rpartition(":")
        host = host or self.interface
        if ip_address(host.strip("[]").partition("%")[0]).is_unspecified:
            return ""
        return f"[{host}]:{port}" if ":" in host.strip("[]") else f"{host}:{port}"

    def _check_results(self) -> None:
        """Check that results can be sent, or are not to be."""
        if self.results_authority_file and not self.results_url:
            raise Misconfigured(
                "results_authority_file verifies the server of results_url: set that "
                "too, or neither"
            )
        if self.results_url and not self.results_most:
            raise Misconfigured(
                "results_most is 0, so there is nothing to send to results_url: raise "
                "it, or remove results_url"
            )

    def _check_identity(self) -> None:
        """Check that tokens of a provider can be verified, or are not configured."""
        keys = (self.identity_keys_file, self.identity_keys_url)
        names = (self.identity_issuer, self.identity_audience)
        if all(keys):
            raise Misconfigured("set identity_keys_file or identity_keys_url, not both")
        if any((*keys, *names)) and not (any(keys) and all(names)):
            raise Misconfigured(
                "to accept a provider's JWTs set identity_issuer, identity_audience, "
                "and identity_keys_file or identity_keys_url"
            )
        for name, given in (
            ("identity_claim", self.identity_claim),
            ("identity_name_claim", self.identity_name_claim),
        ):
            if given and not any(keys):
                raise Misconfigured(
                    f"{name} names claims of a provider's JWTs: set identity_issuer, "
                    f"identity_audience, and identity_keys_file or identity_keys_url "
                    f"too"
                )
        if len(self.identity_claim) > MOST_CLAIMS:
            raise Misconfigured(
                f"identity_claim names {len(self.identity_claim)} claims; at most "
                f"{MOST_CLAIMS} are taken: remove some"
            )
        if self.identity_authority_file and not self.identity_keys_url:
            raise Misconfigured(
                "identity_authority_file verifies the server of identity_keys_url: "
                "set that too, or neither"
            )

    def _check_regions(self) -> None:
        """Check that players can measure how far each region is."""
        names = [name for name, _ in self.regions]
        if len(names) > MOST_REGIONS:
            raise Misconfigured(
                f"regions names {len(names)} regions; at most {MOST_REGIONS} are "
                "offered to players: remove some"
            )
        for name in names:
            if names.count(name) > 1:
                raise Misconfigured(
                    f"regions names {name!r} twice: remove one of its URLs"
                )
        if self.region is not None and names and self.region not in names:
            raise Misconfigured(
                f"region {self.region!r} is none of regions: add {self.region}=URL"
            )

    @property
    def connections_per_network(self) -> int:
        """Most connections of one network to a port at once."""
        return 4 * self.connections_per_address

    @property
    def public_host(self) -> str:
        """The host name or address that players connect to."""
        return self.advertise or self.interface

    @property
    def udp_place(self) -> tuple[str, int]:
        """The host and port that players connect to if the node relays."""
        if self.udp_address is None:
            return self.public_host, self.ports[0]
        host, _, port = self.udp_address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def dev_notes(self) -> Path | None:
        """What ``vinom dev``, whose node this is, tells pages of its game."""
        notes = self.state_dir / DEV_NOTES
        return notes if notes.exists() else None

    @property
    def admin_socket(self) -> Path:
        """Where the admin API listens for this machine's operator."""
        return self.state_dir / "admin.sock"

    @property
    def admin_socket_token(self) -> Path:
        """The token that requests to the admin socket carry; the node makes it."""
        return self.state_dir / "admin.token"

    @property
    def control_socket(self) -> Path:
        """Where game servers connect to the node."""
        return self.state_dir / "control.sock"

    @property
    def secret_paths(self) -> tuple[Path, ...]:
        """What no game server may read: the state directory, and files with secrets."""
        files = (
            self.admin_token_file,
            self.tls_key_file,
            self.authority_key_file,
            self.store_password_file,
            self.results_secret_file,
            *(Path(one[5:]) for one in self.auth if one.startswith("file:")),
        )
        return (self.state_dir, *(one for one in files if one is not None))

    @property
    def servers_dir(self) -> Path:
        """Folder of the records from which the next node takes over game servers."""
        return self.state_dir / "servers"

    @property
    def recordings_dir(self) -> Path:
        """Where recordings of matches are kept."""
        return self.state_dir / "recordings"

    @property
    def results_dir(self) -> Path:
        """Where results of rounds are kept."""
        return self.state_dir / "results"


_TOGETHER = (
    ("tls_certificate_file", "tls_key_file"),
    ("authority_certificate_file", "authority_key_file"),
    ("results_url", "results_secret_file"),
)


#: The whole table, in order.
TABLE: tuple[Row, ...] = tuple(row_of(field) for field in attrs.fields(Settings))
#: The variables of the gateway, and of game servers, are their own.
SOURCES = Sources(
    TABLE, "twistd vinom", "VINOM_", others=("VINOM_GATEWAY_", "VINOM_GAMESERVER_")
)


def gather(
    command_line: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """
    Combine the sources; see `vinom.base.settings.sources.Sources.gather`.

    :raises Misconfigured: a key is unknown, or a value is invalid; says where.
    """
    return Settings(**SOURCES.gather(command_line, environment, config))
