"""Where a Redis is: the value of the setting ``store``."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import attrs

_EXAMPLES = (
    "memory, redis://[user:password@]host:port/db, rediss://... (TLS) or "
    "redis+sentinel://host:port,host:port/service"
)
_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}


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
    if not mark or scheme not in _PORTS:
        raise ValueError(f"must be {_EXAMPLES}")
    who, _, where = rest.rpartition("@")
    hosts, _, path = where.partition("/")
    found = tuple(_host(one, _PORTS[scheme]) for one in hosts.split(","))
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


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        url = urlsplit(f"//{text}")
        host, found = url.hostname, url.port
    except ValueError:
        host, found = None, None
    if not host or found == 0 or not text.isascii() or not text.isprintable():
        raise ValueError(f"must name a host and a port from 1 to 65535, not {text!r}")
    return host, found or port
