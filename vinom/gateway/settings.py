"""
Every setting of a gateway, in one table, as `vinom.node.settings` has those of a node.

Variables begin with ``VINOM_GATEWAY_``; ``POD_NAME``, set by Kubernetes, is read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

import attrs

from vinom.base.settings.sources import Sources
from vinom.base.settings.values import (
    Bounded,
    Endpoint,
    Matching,
    Network,
    PathName,
    Row,
    SocketPath,
    StoreAddress,
    StoreUrl,
    Text,
    log_format_option,
    log_level_option,
    option,
    row_of,
)
from vinom.errors import Misconfigured

_PREFIX = "VINOM_GATEWAY_"
_COUNT = Bounded(int, 1, 10**7)
_SECONDS = Bounded(float, 0.1, 86400)
#: The name of a cookie (RFC 6265, 4.1.1).
_COOKIE_NAME = Matching(
    "NAME", r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", "letters, digits and !#$%&'*+-.^_`|~"
)
_ID = Matching(
    "ID",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
    "1 to 63 letters, digits, '.', '_' and '-'",
)


@attrs.frozen
class _Codes:
    """Codes of services: a table in the file, or ``NAME=CODE,NAME=CODE``."""

    metavar: str = "NAME=CODE,..."

    def read(self, text: str) -> Any:
        pairs = [one.partition("=") for one in text.split(",") if one]
        if any(not code.isdecimal() for _, _, code in pairs):
            raise ValueError(f"must look like account=7,chat=9, not {text!r}")
        names = [name for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError(f"names a service twice: {text!r}")
        return self.accept({name: int(code) for name, _, code in pairs})

    def accept(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(
                "must be a table of service names and codes, such as account = 7"
            )
        for name, code in value.items():
            is_number = isinstance(code, int) and not isinstance(code, bool)
            if not is_number or not 0 <= code < 1 << 16:
                raise ValueError(f"has the code {code!r} for {name}: use 0 to 65535")
        return dict(value)

    def show(self, value: Any) -> str:
        return ",".join(f"{name}={code}" for name, code in value.items())


#: Declare a setting of one section of the reference.
_network = partial(option, "network")
_tls = partial(option, "tls")
_routing = partial(option, "routing")
_strangers = partial(option, "strangers")
_http = partial(option, "http")
_operation = partial(option, "operation")


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """
    The settings of a gateway, checked. Durations: seconds.

    Field names are the keys of the TOML file; on the command line they have hyphens.
    """

    listen: tuple[str, ...] = _network(
        Endpoint(),
        "listen at this Twisted endpoint, such as tcp:4600; may be repeated",
        many=True,
    )
    admin: str | None = _network(
        Endpoint(), "serve /metrics, /health, /ready and the admin API at this endpoint"
    )
    admin_token_file: Path | None = _network(
        PathName(), "file with the token of the admin API; without it the API is off"
    )
    proxy: tuple[IPv4Network | IPv6Network, ...] = _network(
        Network(),
        "expect a PROXY protocol header from this address; may be repeated",
        many=True,
    )
    tls_certificate_file: tuple[Path, ...] = _tls(
        PathName(),
        "certificate chain, PEM, leaf first; may be repeated: each client gets the one "
        "for the host that it names, or else the first",
        many=True,
    )
    tls_key_file: tuple[Path, ...] = _tls(
        PathName(),
        "the key of each certificate, in the same order; may be repeated",
        many=True,
    )
    link_certificate_file: Path | None = _tls(
        PathName(),
        "certificate of this gateway for links to nodes (packets+tls), PEM, made by "
        "vinom link-certificate; it and the next two are read again for each link",
    )
    link_key_file: Path | None = _tls(PathName(), "the key of that certificate, PEM")
    link_authority_file: Path | None = _tls(
        PathName(), "authority that signed this certificate and those of nodes, PEM"
    )
    gateway_id: str | None = _routing(
        _ID,
        "id of this gateway; default: POD_NAME, or the host's name and a random suffix",
    )
    routes: Path | None = _routing(
        PathName(), "read rules from this TOML file, again when it changes"
    )
    store: StoreAddress | Literal["memory"] | None = _routing(
        StoreUrl(), "read rules from this Redis, redis://host:port/db"
    )
    store_ca: Path | None = _routing(
        PathName(), "authority that signed the certificate of Redis, PEM"
    )
    store_password_file: Path | None = _routing(
        PathName(), "file with the password for Redis"
    )
    store_prefix: str = _routing(Text(), "prefix of the keys in Redis", "game-gateway:")
    services: Mapping[str, int] = _routing(
        _Codes(), "service_type codes of services whose rules have none", dict
    )
    other_service: str | None = _routing(
        Text(), "service for connections of unknown protocols"
    )
    check_seconds: float = _routing(
        _SECONDS, "seconds between two checks of a back end", 5.0
    )
    max_connections: int = _strangers(_COUNT, "most client connections", 20_000)
    max_connections_per_address: int = _strangers(
        _COUNT,
        "most connections from one address, or one IPv6 /64, with sessions of packets",
        256,
    )
    new_connections: float = _strangers(
        Bounded(float, 0.01, 10**6),
        "most new connections and sessions per second from one address",
        50.0,
    )
    bytes_per_second: float = _strangers(
        Bounded(float, 0, 10**12),
        "most bytes per second that one connection may send; 0: no limit",
        0.0,
    )
    trusted_proxy: tuple[IPv4Network | IPv6Network, ...] = _http(
        Network(),
        "believe X-Forwarded-For and Forwarded from this address; may be repeated",
        many=True,
    )
    http_body_bytes: int = _http(
        Bounded(int, 0, 1 << 40), "longest body of a request, bytes", 16 * 1024 * 1024
    )
    http_answer_seconds: float = _http(
        _SECONDS,
        "how long a back end may take to begin its answer, and how long one that has "
        "begun may stand still, but for text/event-stream",
        60.0,
    )
    identity_keys_file: Path | None = _http(
        PathName(),
        "public keys of a JWT provider, PEM or JSON Web Key Set, read again on SIGHUP: "
        "rules take a request's user from a claim of its bearer token",
    )
    identity_issuer: str | None = _http(Text(), "the iss claim of the provider's JWTs")
    identity_audience: str | None = _http(
        Text(), "the aud claim of the provider's JWTs"
    )
    identity_user_claim: str = _http(Text(), "the claim that names the user", "sub")
    identity_cookie: str | None = _http(
        _COOKIE_NAME,
        "name of a cookie with a JWT, for requests without a bearer token: browsers "
        "cannot send one with a WebSocket; unset, no cookie is read",
    )
    drain_lag: float = _operation(
        Bounded(float, 0, 3600),
        "how long after SIGTERM new connections are still accepted, until load "
        "balancers have read /ready",
        5.0,
    )
    drain_seconds: float = _operation(
        Bounded(float, 0, 10**6), "how long clients may stay after that", 60.0
    )
    handover: Path | None = _operation(
        SocketPath(),
        "UNIX socket over which the next gateway on this machine takes over the ports",
    )
    access_log: Path | None = _operation(
        PathName(),
        "write one line of JSON per session to this file; - is standard output",
    )
    log_format: Literal["text", "json"] = log_format_option()
    log_level: str = log_level_option()

    def __attrs_post_init__(self) -> None:
        if not self.listen:
            raise Misconfigured("listen is missing: set it, such as --listen tcp:4600")
        if self.store == "memory":
            raise Misconfigured("store must be a Redis, such as redis://10.0.0.1/0")
        if (self.routes is None) == (self.store is None):
            raise Misconfigured(
                "rules come from routes (a TOML file) or from store (a Redis): set "
                "one of the two"
            )
        identity = (
            self.identity_keys_file,
            self.identity_issuer,
            self.identity_audience,
        )
        if any(identity) and not all(identity):
            raise Misconfigured(
                "to identify users by a provider's JWTs set all of identity_keys_file, "
                "identity_issuer and identity_audience"
            )
        if self.identity_cookie is not None and not all(identity):
            raise Misconfigured(
                "identity_cookie needs identity_keys_file, identity_issuer and "
                "identity_audience"
            )
        if len(self.tls_certificate_file) != len(self.tls_key_file):
            raise Misconfigured(
                f"tls_key_file is given {len(self.tls_key_file)} times and "
                f"tls_certificate_file {len(self.tls_certificate_file)} times: name "
                "the key of each certificate, in the same order"
            )
        if len({getattr(self, name) is None for name in _LINK_FILES}) > 1:
            raise Misconfigured(f"set all of {', '.join(_LINK_FILES)}, or none")


_LINK_FILES = ("link_certificate_file", "link_key_file", "link_authority_file")

#: The whole table, in order.
TABLE: tuple[Row, ...] = tuple(
    row_of(field, _PREFIX) for field in attrs.fields(GatewaySettings)
)
#: A node's own setting has a variable with the same prefix.
SOURCES = Sources(
    TABLE, "twistd vinom-gateway", _PREFIX, others=("VINOM_GATEWAY_LINK",)
)
