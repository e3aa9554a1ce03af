"""
Every setting of a node, in one table: `Settings` and its fields.

The table is the source of ``twistd vinom --help``, of the keys of the TOML file,
of the ``VINOM_*`` variables and of the reference page. `gather` puts the three
sources together.

How one setting is written down, and read by whoever shows the table.

The settings of WebSockets and of the rooms that a node hosts itself.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Literal

import attrs

from vinom.conversation.identity import GuestPolicy
from vinom.errors import Misconfigured
from vinom.limits.origins import OriginRule
from vinom.node.values import (
    Address,
    Bounded,
    Choice,
    Endpoint,
    Kind,
    Network,
    OriginHost,
    PathName,
    PortRange,
    Realm,
    Switch,
    Text,
)


def option(
    section: str, kind: Kind, help: str, default: Any = None, *, many: bool = False
) -> Any:
    """One row of the table."""
    row = {"section": section, "kind": kind, "help": help, "many": many}
    if callable(default):
        return attrs.field(factory=default, metadata=row)
    return attrs.field(default=() if many else default, metadata=row)


@attrs.frozen
class Row:
    """
    One setting, as the sources and the reference page see it.

    :ivar name: key of the TOML file.
    :ivar default: as a reader sees it; ``None`` if there is none.
    :ivar many: may be given more than once; a list in TOML.
    """

    name: str
    section: str
    kind: Kind
    help: str
    default: str | None
    many: bool

    @property
    def flag(self) -> str:
        """Name on the command line, without its hyphens in front."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name among the environment's variables."""
        return f"VINOM_{self.name.upper()}"


def row_of(field: attrs.Attribute[Any]) -> Row:
    """Read what `option` wrote down."""
    told = field.metadata
    default: str | None
    if field.name == "state_dir":
        default = "~/.local/state/vinom"
    elif field.default in (None, ()):
        default = None
    else:
        default = told["kind"].show(field.default)
    return Row(
        field.name, told["section"], told["kind"], told["help"], default, told["many"]
    )


@attrs.frozen(kw_only=True)
class RoomSettings:
    """
    Part of the table of settings: see `vinom.node.settings`.
    """

    # What browsers may do.
    http_tls: bool = option(
        "websocket",
        Switch(),
        "speak TLS where http is, with the lobby's certificate",
        False,
    )
    origin: tuple[OriginRule, ...] = option(
        "websocket",
        OriginHost(),
        "a host whose web pages may connect beside those of the node's own address: "
        "example.com, *.example.com (hosts below it) or localhost:5173; may be "
        "repeated",
        many=True,
    )
    browsers_only: bool = option(
        "websocket",
        Switch(),
        "refuse WebSockets of programs, which send no Origin as browsers do",
        False,
    )
    any_origin: bool = option(
        "websocket",
        Switch(),
        "for development only: the web pages of every site may connect",
        False,
    )
    proxy: tuple[IPv4Network | IPv6Network, ...] = option(
        "websocket",
        Network(),
        "an address, or a network such as 10.0.0.0/8, of proxies before http: each of "
        "their connections begins with a header of the PROXY protocol; may be "
        "repeated",
        many=True,
    )
    ping_seconds: float = option(
        "websocket",
        Bounded(float, 1, 3600),
        "between two pings of a WebSocket; who answers none of them until the next "
        "is lost",
        20.0,
    )
    deflate: bool = option(
        "websocket",
        Switch(),
        "compress messages of WebSockets whose clients can; costs more time than "
        "small messages save",
        False,
    )
    dev_notes: Path | None = option(
        "websocket",
        PathName(),
        "a JSON file that the page is shown again and again: see vinom dev",
    )
    # Rooms that the node hosts itself.
    max_rooms: int = option(
        "rooms", Bounded(int, 1, 10**6), "most rooms of this node at once", 10_000
    )
    rooms_per_client: int = option(
        "rooms", Bounded(int, 1, 1000), "rooms that one player may be in", 8
    )
    spectators_per_room: int = option(
        "rooms", Bounded(int, 0, 10**6), "most who may watch one room", 256
    )
    room_close_seconds: float = option(
        "rooms",
        Bounded(float, 0, 10**6),
        "how long a room stays after the last person left",
        30.0,
    )
    grace_seconds: float = option(
        "rooms",
        Bounded(float, 0, 10**6),
        "how long a seat is kept for a player whose connection was lost, unless its "
        "game says otherwise",
        900.0,
    )
    watch_matches: Literal["none", "by_id", "listed"] = option(
        "rooms",
        Choice(("none", "by_id", "listed")),
        "who may watch matches of others from the node: none; by_id: who knows the "
        "match's id; listed: anybody, for list_rooms tells of them",
        "listed",
    )


def _state_dir() -> Path:
    """Where programs of this user keep state (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "vinom"


_PORT = Bounded(int, 0, 65535)
_RATE = Bounded(float, 0.01, 10**6)


@attrs.frozen(kw_only=True)
class Settings(RoomSettings):
    """
    What a node was told. Durations: seconds.

    Field names are the keys of the TOML file; ``--help`` has them with hyphens.
    """

    # Where it is.
    interface: str = option(
        "network", Address(), "address to listen on, IPv4 or IPv6", "127.0.0.1"
    )
    port: int = option(
        "network", _PORT, "TCP port of the lobby; 0 is any free one", 4600
    )
    advertise: str | None = option(
        "network",
        Text(),
        "host name or address that players are told; needed when the interface is "
        "0.0.0.0 or ::, otherwise the interface",
    )
    ports: tuple[int, int] = option(
        "network",
        PortRange(),
        "UDP ports of game servers, first-last",
        (46000, 46063),
    )
    receive_buffer_kb: int = option(
        "network",
        Bounded(int, 0, 1 << 20),
        "what to ask of the kernel for datagrams that wait at one game port, 2^10 "
        "bytes; it may grant less (vinom doctor tells); 0 asks nothing",
        1024,
    )
    http: str | None = option(
        "network",
        Endpoint(),
        "where /ws, /health and /ready are: a port on the interface, or an endpoint "
        "such as tcp:8080:interface=10.0.0.1; off unless set",
    )
    realm: str = option(
        "network",
        Realm(),
        "domain that the names of game servers end with, two labels at least",
        "game.vinom",
    )
    # What it keeps.
    state_dir: Path = option(
        "state",
        PathName(),
        "keys, certificates, recordings and the admin socket",
        _state_dir,
    )
    recordings_days: float = option(
        "state",
        Bounded(float, 0, 3650),
        "how long recordings of matches are kept; 0 records nothing",
        7.0,
    )
    recordings_mb: int = option(
        "state",
        Bounded(int, 0, 1 << 24),
        "how much space recordings may take, 10^6 bytes; 0 records nothing",
        1000,
    )
    # Who may come.
    guests: GuestPolicy = option(
        "identity",
        Choice(("no", "loopback", "yes")),
        "who may play under any name without proof: no, loopback (from this machine) "
        "or yes",
        "loopback",
    )
    auth: tuple[str, ...] = option(
        "identity",
        Text(),
        "a checker of names and passwords, see --help-auth; may be repeated",
        many=True,
    )
    identity_keys_file: Path | None = option(
        "identity",
        PathName(),
        "public keys of a provider of JWTs, PEM or JSON Web Key Set",
    )
    identity_issuer: str | None = option(
        "identity", Text(), "what the provider's JWTs say in iss"
    )
    identity_audience: str | None = option(
        "identity", Text(), "what the provider's JWTs name in aud"
    )
    player_key_seconds: float = option(
        "identity",
        Bounded(float, 60, 10**8),
        "how long a player key is good after its last use",
        21600.0,
    )
    # What one line may cost.
    allow_plaintext: bool = option(
        "lobby", Switch(), "take lines without TLS from other machines too", False
    )
    line_limit: int = option(
        "lobby", Bounded(int, 256, 1 << 20), "longest message in, bytes", 2048
    )
    connections_per_address: int = option(
        "lobby",
        Bounded(int, 1, 1 << 20),
        "most connections of one address to a port at once; an IPv6 /64 is one",
        256,
    )
    message_rate: float = option(
        "lobby", Bounded(float, 0.1, 10**6), "messages a second of one line", 10.0
    )
    message_burst: int = option(
        "lobby", Bounded(int, 1, 10**6), "messages at once of one line", 30
    )
    hello_seconds: float = option(
        "lobby", Bounded(float, 0.1, 3600), "time for a hello", 10.0
    )
    fill_seconds: float = option(
        "lobby",
        Bounded(float, 0, 3600),
        "wait of the longest waiting player after which a table that is not full "
        "is enough",
        5.0,
    )
    token_seconds: float = option(
        "lobby",
        Bounded(float, 10, 3600),
        "how long connect tokens and tickets are good",
        120.0,
    )
    # Games, and the processes that host them.
    join_seconds: float = option(
        "games",
        Bounded(float, 1, 600),
        "how long a match waits for its players to come",
        10.0,
    )
    game: tuple[str, ...] = option(
        "games",
        Text(),
        "a game beside the installed ones, package.module:Class; may be repeated",
        many=True,
    )
    warm: int = option(
        "games", Bounded(int, 0, 1000), "game servers kept ready for a match", 2
    )
    max_servers: int | None = option(
        "games",
        Bounded(int, 1, 60000),
        "most game servers at once, warm ones included; as many as ports unless set",
    )
    rooms_per_process: int = option(
        "games",
        Bounded(int, 1, 10**6),
        "matches that one game server hosts before it ends, as many as come at once",
        1,
    )
    server_memory_mb: int = option(
        "games",
        Bounded(int, 64, 1 << 20),
        "address space of one game server, 2^20 bytes",
        512,
    )
    server_files: int = option(
        "games",
        Bounded(int, 32, 1 << 20),
        "descriptors of one game server, beside one for each room it may host",
        256,
    )
    packet_rate: float = option(
        "games",
        _RATE,
        "packets a second of one player's connection, twice that at once; what is "
        "above it counts as lost",
        250.0,
    )
    input_rate: float = option(
        "games",
        _RATE,
        "actions a second of one player's connection, twice that at once; the same "
        "in rooms of the node",
        100.0,
    )
    # What those may ask of a game server who are nobody yet.
    hello_rate: float = option(
        "strangers",
        _RATE,
        "hellos a second of one network (an IPv4 /24, an IPv6 /48) without a cookie, "
        "and as many with a good one; twice that at once",
        500.0,
    )
    hello_rate_attacked: float = option(
        "strangers",
        _RATE,
        "the same while there is an attack; a player needs two hellos to come in",
        20.0,
    )
    nameless_rate: float = option(
        "strangers",
        _RATE,
        "handshakes without a server name, and so without a ticket, a second of one "
        "network, eight times that at once",
        0.5,
    )
    nameless_rate_attacked: float = option(
        "strangers", _RATE, "the same while there is an attack", 0.1
    )
    attack_rate: float = option(
        "strangers",
        _RATE,
        "datagrams a second that come to nothing, above which a game server takes "
        "itself for attacked",
        1000.0,
    )
    # How it is run.
    drain_seconds: float = option(
        "operation",
        Bounded(float, 0, 10**6),
        "how long running matches may go on after SIGTERM or Ctrl-C",
        60.0,
    )
    admin: str | None = option(
        "operation",
        Endpoint(),
        "where the admin API and /metrics are, beside the socket in the state "
        "directory: a port on the interface, or an endpoint; needs admin_token_file",
    )
    admin_token_file: Path | None = option(
        "operation", PathName(), "holds the bearer token of the admin API over TCP"
    )
    log_format: str = option(
        "operation", Choice(("text", "json")), "text or json", "text"
    )
    log_level: str = option(
        "operation",
        Choice(("debug", "info", "warn", "error", "critical")),
        "leave out what is less important: debug, info, warn, error or critical",
        "info",
    )
    # Trust.
    tls_certificate_file: Path | None = option(
        "trust",
        PathName(),
        "the lobby's certificate, leaf first, PEM; a private one unless set",
    )
    tls_key_file: Path | None = option(
        "trust", PathName(), "the key of that certificate, PEM"
    )
    authority_certificate_file: Path | None = option(
        "trust",
        PathName(),
        "certificate of the authority that signs for game servers, PEM; a private "
        "one unless set",
    )
    authority_key_file: Path | None = option(
        "trust", PathName(), "the key of that authority, PEM"
    )

    def __attrs_post_init__(self) -> None:
        everywhere = ip_address(self.interface.partition("%")[0]).is_unspecified
        if self.advertise is None and everywhere:
            raise Misconfigured(
                f"interface {self.interface} is no address to tell "
                "players: set advertise to the host name or address they reach"
            )
        if self.max_servers is not None and self.warm > self.max_servers:
            raise Misconfigured(
                f"warm {self.warm} is more than max_servers {self.max_servers}"
            )
        for one, other in _TOGETHER:
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise Misconfigured(f"set both {one} and {other}, or neither")
        if self.admin is not None and self.admin_token_file is None:
            raise Misconfigured(
                "admin over TCP needs a bearer token: set admin_token_file"
            )

    @property
    def told_host(self) -> str:
        """The host that players are told."""
        return self.advertise or self.interface

    @property
    def admin_socket(self) -> Path:
        """Where the admin API listens for this machine's operator."""
        return self.state_dir / "admin.sock"

    @property
    def control_socket(self) -> Path:
        """Where game servers dial in."""
        return self.state_dir / "control.sock"

    @property
    def recordings_dir(self) -> Path:
        """Where matches are written down."""
        return self.state_dir / "recordings"


_TOGETHER = (
    ("tls_certificate_file", "tls_key_file"),
    ("authority_certificate_file", "authority_key_file"),
    ("identity_keys_file", "identity_issuer"),
    ("identity_keys_file", "identity_audience"),
)


_SECTIONS = (
    "network",
    "state",
    "identity",
    "lobby",
    "websocket",
    "rooms",
    "games",
    "strangers",
    "operation",
    "trust",
)
#: The whole table, in order.
TABLE: tuple[Row, ...] = tuple(
    sorted(
        (row_of(field) for field in attrs.fields(Settings)),
        key=lambda row: _SECTIONS.index(row.section),
    )
)
