"""
Kinds of settings: how to read each from text and from TOML, and show it; and the rows
of a table of settings, one for each field of a settings class. Where a Redis is, the
value of ``store``, is a `StoreAddress`.
"""

from __future__ import annotations

import math
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import attrs

from vinom.base.limits.buckets import is_loopback
from vinom.base.limits.origins import read_origin_rule

#: Longest path of a UNIX socket on Linux, bytes (source: unix(7)).
LONGEST_SOCKET_PATH = 107


class Kind(Protocol):
    """
    The kind of a setting's values.
    """

    @property
    def metavar(self) -> str:
        """Stands for the value in help."""

    def read(self, text: str) -> Any:
        """
        Read a value from the command line or a variable.

        :raises ValueError: what is wrong, as the end of a sentence about the setting.
        """

    def accept(self, value: Any, /) -> Any:
        """
        Check a value from TOML.

        :raises ValueError: as `read`.
        """

    def show(self, value: Any, /) -> str:
        """Write a value as the command line has it."""


@attrs.frozen
class Text:
    """Any text that is not empty."""

    metavar: str = "TEXT"

    def read(self, text: str) -> str:
        if not text:
            raise ValueError("must not be empty")
        return text

    def accept(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text, in quotes")
        return self.read(value)

    def show(self, value: Any) -> str:
        return str(value)


@attrs.frozen
class Address(Text):
    """An IPv4 or IPv6 address, not a name."""

    metavar: str = "ADDRESS"

    def read(self, text: str) -> str:
        try:
            ip_address(text.partition("%")[0])
        except ValueError:
            raise ValueError(f"must be an IP address, not {text!r}") from None
        return text


@attrs.frozen
class PathName(Text):
    """A file or folder; ``~`` is the home directory."""

    metavar: str = "PATH"

    def read(self, text: str) -> Any:
        try:
            return Path(super().read(text)).expanduser()
        except RuntimeError:
            raise ValueError(
                f"must not be in a home directory that does not exist: {text}"
            ) from None


@attrs.frozen
class SocketPath(Text):
    """The path of a UNIX socket, which the kernel limits."""

    metavar: str = "PATH"

    def read(self, text: str) -> Any:
        path = PathName().read(text)
        # A relative path is made absolute before it is used.
        if len(bytes(path.absolute())) > LONGEST_SOCKET_PATH:
            raise ValueError(
                f"must be a path of at most {LONGEST_SOCKET_PATH} bytes, which is the "
                f"limit of UNIX sockets: {path.absolute()}"
            )
        return path


def _is_plain(text: str, without: str) -> bool:
    """Is this printable ASCII without some characters?"""
    return text.isascii() and text.isprintable() and set(text).isdisjoint(without)


@attrs.frozen
class HttpsUrl(Text):
    """
    A URL that is used over HTTPS.

    :ivar example: shown in errors.
    :ivar is_local_http: may it be HTTP to an address of this machine?
    """

    metavar: str = "URL"
    example: str = "https://login.example.org/jwks.json"
    is_local_http: bool = False

    def read(self, text: str) -> Any:
        url = urlsplit(text)
        is_local = self.is_local_http and is_loopback(url.hostname or "")
        if (
            not (url.scheme == "https" or (url.scheme == "http" and is_local))
            or not url.hostname
            or "@" in url.netloc
            or url.fragment
            or not _is_plain(text, " ")
        ):
            local = (
                " (http is for this machine only, such as http://127.0.0.1:8080/)"
                if self.is_local_http
                else ""
            )
            raise ValueError(
                f"must be an https URL such as {self.example}{local}, not {text!r}"
            )
        # Raises ValueError, and says why, for a port that does not exist.
        url.port  # noqa: B018
        return text


#: Claims about a token, not about a player; some must not leave the login, and a
#: player's id already stands for the account (sub).
_TOKEN_CLAIMS = frozenset(
    (
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "cnf"),
        *("nonce", "at_hash", "c_hash", "s_hash", "sid"),
    )
)


@attrs.frozen
class ClaimName(Text):
    """A claim about a player in a JWT."""

    metavar: str = "CLAIM"

    def read(self, text: str) -> str:
        if not 1 <= len(text) <= 128 or not text.isprintable():
            raise ValueError(
                f"must be the name of a claim, 1 to 128 printable characters, "
                f"not {text!r}"
            )
        if text in _TOKEN_CLAIMS:
            raise ValueError(
                f"must be a claim about the player, such as rank; {text!r} is about "
                f"the token or the login"
            )
        return text


@attrs.frozen
class Endpoint(Text):
    """A port number, or a Twisted server endpoint description."""

    metavar: str = "ENDPOINT"

    def accept(self, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return super().accept(value)

    def read(self, text: str) -> str:
        if text.isdecimal() and int(text) > 65535:
            raise ValueError(f"must be a port up to 65535, or an endpoint, not {text}")
        if found := _ADDRESS_FIRST.fullmatch(text):
            right = f"tcp:{found['port']}:interface={found['host']}"
            raise ValueError(f"must have the port first: {right}, not {text}")
        return super().read(text)


#: An endpoint as other programs write it.
_ADDRESS_FIRST = re.compile(r"tcp:(?!\d+:)(?P<host>[A-Za-z0-9.-]+):(?P<port>\d+)")
_LINK_PORT = re.compile(
    r"(?:tls:)?(?P<host>\[[0-9A-Fa-f:.]+\]:|[0-9.]+:)?(?P<port>[0-9]{1,5})"
)


@attrs.frozen
class LinkEndpoint(Text):
    """Where gateways connect: a UNIX socket, or a port over TLS."""

    metavar: str = "ENDPOINT"

    def accept(self, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return super().accept(value)

    def read(self, text: str) -> str:
        if text.startswith("unix:/") and len(text.encode()) <= 5 + LONGEST_SOCKET_PATH:
            return text
        found = _LINK_PORT.fullmatch(text)
        if found is None or int(found["port"]) > 65535:
            raise ValueError(
                f"must be a port or tls:HOST:PORT (TLS with certificates of the "
                f"authority), or unix:/path (at most {LONGEST_SOCKET_PATH} bytes), not "
                f"{text!r}: plain TCP would let anybody speak for any address"
            )
        host = found["host"] or ""
        if host:
            # Says itself what is wrong with an address.
            ip_address(host[:-1].strip("[]"))
        return f"tls:{host}{found['port']}"


@attrs.frozen
class OriginHost(Text):
    """A host whose web pages may connect."""

    metavar: str = "HOST"

    def read(self, text: str) -> Any:
        if text == "*":
            raise ValueError("must be a host; for every site, set any_origin")
        return read_origin_rule(text)


@attrs.frozen
class Network(Text):
    """An address, or a network of them."""

    metavar: str = "ADDRESS"

    def read(self, text: str) -> Any:
        try:
            return ip_network(text)
        except ValueError:
            raise ValueError(
                f"must be an address, or a network such as 10.0.0.0/8, not {text!r}"
            ) from None


@attrs.frozen
class Matching(Text):
    """
    Text of one form.

    :ivar pattern: what the whole of it must match.
    :ivar form: describes that in errors.
    """

    metavar: str
    pattern: str
    form: str

    def read(self, text: str) -> str:
        if not self.fits(text):
            raise ValueError(f"must be {self.form}, not {text!r}")
        return text

    def fits(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text) is not None


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
LABEL = Matching("NAME", _LABEL, "1 to 63 letters in lower case, digits and hyphens")
REGION_NAME = Matching(
    "REGION", r"[a-z0-9][a-z0-9-]{0,31}", "1 to 32 small letters, digits and hyphens"
)
#: Some verifiers refuse a wildcard under a single label (decision 0002).
REALM = Matching(
    "DOMAIN",
    rf"(?=.{{1,150}}\Z){_LABEL}(\.{_LABEL})+",
    "a domain such as game.vinom, in lower case",
)


@attrs.frozen
class RegionUrl(Text):
    """A region, and the URL that answers echoes there: ``NAME=URL``."""

    metavar: str = "REGION=URL"

    def read(self, text: str) -> Any:
        name, _, url = text.partition("=")
        parts = urlsplit(url)
        if (
            not REGION_NAME.fits(name)
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or not _is_plain(url, " ;,'\"")
        ):
            raise ValueError(
                f"must look like eu=https://eu.example.org/echo, not {text!r}"
            )
        return name, url

    def show(self, value: Any) -> str:
        return "=".join(value)


def _has_place(text: str) -> bool:
    """Does a URL have a host, a port that exists if it has one, and no user?"""
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


@attrs.frozen
class LobbyAddress(Text):
    """A host and a port."""

    metavar: str = "HOST:PORT"

    def read(self, text: str) -> str:
        host, _, port = text.rpartition(":")
        is_plain = _is_plain(text, " /?#\\")
        if not (host and port and is_plain and _has_place(f"//{text}")):
            raise ValueError(f"must look like n1.example.org:4600, not {text!r}")
        return text


@attrs.frozen
class WebSocketUrl(Text):
    """The URL of a WebSocket."""

    metavar: str = "URL"

    def read(self, text: str) -> str:
        is_plain = _is_plain(text, " #;,'\"")
        if not (text.startswith(("ws://", "wss://")) and is_plain and _has_place(text)):
            raise ValueError(f"must look like wss://n1.example.org/ws, not {text!r}")
        return text


@attrs.frozen
class StoreUrl(Text):
    """``memory``, or the URL of a Redis."""

    metavar: str = "URL"

    def read(self, text: str) -> Any:
        return text if text == "memory" else read_store_address(text)


@attrs.frozen
class Bounded:
    """
    A number between two others, both included.

    :ivar of: ``int`` or ``float``.
    :ivar least: smallest value.
    :ivar most: largest value.
    """

    of: type
    least: float
    most: float

    @property
    def metavar(self) -> str:
        return "N" if self.of is int else "X"

    def read(self, text: str) -> Any:
        try:
            number = self.of(text)
        except ValueError:
            kind = "a whole number" if self.of is int else "a number"
            raise ValueError(f"must be {kind}, not {text!r}") from None
        if math.isnan(number) or not self.least <= number <= self.most:
            raise ValueError(f"must be from {self.least} to {self.most}, not {text}")
        return number

    def accept(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number")
        return self.read(str(value))

    def show(self, value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)


@attrs.frozen
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    metavar: str = "WORD"

    def read(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}, not {text!r}")
        return text

    def accept(self, value: Any) -> str:
        return self.read(value if isinstance(value, str) else repr(value))

    def show(self, value: Any) -> str:
        return str(value)


@attrs.frozen
class Switch:
    """On or off."""

    metavar: str = ""

    def read(self, text: str) -> bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise ValueError("must be true or false")

    def accept(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false, without quotes")
        return value

    def show(self, value: Any) -> str:
        return "true" if value else "false"


@attrs.frozen
class PortRange:
    """A range of ports, ``first-last``, both included."""

    metavar: str = "FIRST-LAST"

    def read(self, text: str) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
        if found is None:
            raise ValueError(f"must look like 46000-46063, not {text!r}")
        first = int(found.group(1))
        last = int(found.group(2) or first)
        if not 1 <= first <= last <= 65535:
            raise ValueError(
                f"must go from a port to the same or a higher one, not {text}"
            )
        return first, last

    def accept(self, value: Any) -> tuple[int, int]:
        return self.read(value if isinstance(value, str) else repr(value))

    def show(self, value: Any) -> str:
        return f"{value[0]}-{value[1]}"


def option(
    section: str, kind: Kind, help: str, default: Any = None, *, many: bool = False
) -> Any:
    """
    Declare one row of the table; a table has a partial of this for each section.

    :param section: the section of the reference page.
    :param kind: reads and checks the value.
    :param help: one line of ``--help``; Twisted appends the default.
    :param default: the value, or a function that makes it.
    :param many: may be given more than once; a list in TOML.
    """
    row = {"section": section, "kind": kind, "help": help, "many": many}
    if callable(default):
        return attrs.field(factory=default, metadata=row)
    return attrs.field(default=() if many else default, metadata=row)


def log_format_option() -> Any:
    """Declare the row ``log_format``, which each program has."""
    words = "write the log as text or json"
    return option("operation", Choice(("text", "json")), words, "text")


def log_level_option() -> Any:
    """Declare the row ``log_level``, which each program has."""
    levels = ("debug", "info", "warn", "error", "critical")
    words = (
        "omit less important events from the log: debug, info, warn, error or critical"
    )
    return option("operation", Choice(levels), words, "info")


#: Defaults that a function makes are not shown.
_MADE: Any = attrs.Factory


@attrs.frozen
class Row:
    """
    One setting, for the sources and the reference page.

    :ivar name: its key in the TOML file.
    :ivar default: the default as it is shown; ``None`` if there is none.
    :ivar many: may be given more than once; a list in TOML.
    :ivar prefix: prefix of its variable.
    """

    name: str
    section: str
    kind: Kind
    help: str
    default: str | None
    many: bool
    prefix: str

    @property
    def flag(self) -> str:
        """Name on the command line, without its hyphens in front."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name among the environment's variables."""
        return self.prefix + self.name.upper()


def row_of(field: attrs.Attribute[Any], prefix: str = "VINOM_") -> Row:
    """
    Read the row that `option` attached to a field.

    :param prefix: prefix of its variable.
    """
    row = field.metadata
    default: str | None
    if field.name == "state_dir":
        default = "~/.local/state/vinom"
    elif field.default in (None, ()) or isinstance(field.default, _MADE):
        default = None
    else:
        default = row["kind"].show(field.default)
    return Row(
        field.name,
        row["section"],
        row["kind"],
        row["help"],
        default,
        row["many"],
        prefix,
    )


_STORE_EXAMPLES = (
    "memory, redis://[user:password@]host:port/db, rediss://... (TLS) or "
    "redis+sentinel://host:port,host:port/service"
)
_STORE_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}


@attrs.frozen
class StoreAddress:
    """
    Where a Redis is, and who we are there.

    :ivar hosts: name or address, and port: of the Redis, or of the Sentinels.
    :ivar is_tls: whether it is reached over TLS.
    :ivar service: the name by which Sentinels know the Redis; ``None`` without them.
    :ivar database: its number.
    :ivar user: ``None`` is Redis' default user.
    """

    hosts: tuple[tuple[str, int], ...]
    is_tls: bool = False
    service: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        """The URL, without user and password."""
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in self.hosts
        )
        if self.service is not None:
            return f"redis+sentinel://{hosts}/{self.service}"
        return f"redis{'s' * self.is_tls}://{hosts}/{self.database}"


def read_store_address(text: str) -> StoreAddress:
    """
    Read the URL of a Redis.

    :raises ValueError: what is wrong, as the end of a sentence about the setting. It
        does not contain the password.
    """
    scheme, mark, rest = text.partition("://")
    if "cluster" in scheme:
        raise ValueError(
            "can't be a Redis Cluster, because one step changes keys of several slots: "
            "use one Redis, or Sentinel (redis+sentinel://)"
        )
    if "sentinel" in scheme and scheme != "redis+sentinel":
        raise ValueError(
            "can't use TLS behind Sentinel: use redis+sentinel:// in a private "
            "network, or rediss:// with the address of one Redis"
        )
    if not mark or scheme not in _STORE_PORTS:
        raise ValueError(f"must be {_STORE_EXAMPLES}")
    who, _, where = rest.rpartition("@")
    hosts, _, path = where.partition("/")
    found = tuple(_store_host(one, _STORE_PORTS[scheme]) for one in hosts.split(","))
    user, _, password = who.partition(":")
    service, database = None, 0
    if scheme == "redis+sentinel":
        if not path or "/" in path:
            raise ValueError(
                "must end with the name of the service that Sentinel watches, such as "
                "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/main"
            )
        service = unquote(path)
    elif len(found) > 1:
        raise ValueError("has several hosts: use redis+sentinel:// for Sentinels")
    elif path:
        if not path.isdecimal() or int(path) > 1023:
            raise ValueError(f"must end with the number of a database, not {path!r}")
        database = int(path)
    return StoreAddress(
        found,
        scheme == "rediss",
        service,
        database,
        unquote(user) or None,
        unquote(password) or None,
    )


def _store_host(text: str, port: int) -> tuple[str, int]:
    try:
        url = urlsplit(f"//{text}")
        host, found = url.hostname, url.port
    except ValueError:
        host, found = None, None
    if not host or found == 0 or not text.isascii() or not text.isprintable():
        raise ValueError(f"must name a host and a port from 1 to 65535, not {text!r}")
    return host, found or port
