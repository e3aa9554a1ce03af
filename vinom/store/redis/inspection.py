"""
Find the Redis that an address means, check that it can be used, and connect to it.

`find_store` waits for answers, up to a second each: it runs before a node serves, in a
thread of it, and in ``vinom doctor``.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import attrs
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.threads import deferToThreadPool

from vinom.base.settings.values import StoreAddress
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.store.redis.client import Access, Dial

#: How long one server may take to answer, seconds.
TIMEOUT = 1.0
#: The oldest Redis that our scripts run on.
OLDEST = (6, 2)
#: Longest line of an answer; INFO has 6 kB.
_MOST_BYTES = 1 << 20


class _Refused(Exception):
    """Redis answered with an error."""


@attrs.frozen
class FoundStore:
    """
    The Redis that writes go to.

    :ivar host: its name or address.
    :ivar port: TCP.
    :ivar version: of Redis.
    :ivar eviction: the setting ``maxmemory-policy``.
    :ivar ahead: how far this machine's clock is ahead of its clock, seconds.
    """

    host: str
    port: int
    version: str
    eviction: str
    ahead: float


def find_store(address: StoreAddress, authority: bytes | None = None) -> FoundStore:
    """
    Find the Redis and check it.

    :param authority: that signed its certificate, PEM; the system's unless given.
    :raises StoreUnavailable: it does not answer; it may do so later.
    :raises Misconfigured: it cannot be used as it is.
    """
    for host, port in address.hosts[:-1]:
        try:
            return _found_by(address, host, port, authority)
        except StoreUnavailable:
            # It may be cut off, together with the master that it names.
            continue
    return _found_by(address, *address.hosts[-1], authority)


def _found_by(
    address: StoreAddress, host: str, port: int, authority: bytes | None
) -> FoundStore:
    """Check the Redis at an address, or the one that the Sentinel there names."""
    try:
        if address.service is not None:
            host, port = _ask_sentinel(host, port, address.service)
        context = _context(authority) if address.is_tls else None
        with closing(_connect(host, port, context)) as line:
            return _checked(address, line, host, port)
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"the certificate of store {address} isn't valid for this name: "
            f"{error.verify_message}; set store_ca to the authority that signed it, "
            "and store to a name in it"
        ) from None
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it closes connections"
        raise StoreUnavailable(f"store {address}: {why}") from None
    except _Refused as error:
        if str(error).startswith(("LOADING", "MASTERDOWN", "BUSY")):
            raise StoreUnavailable(f"store {address}: {error}") from None
        raise Misconfigured(f"store {address} refuses this node: {error}") from None


def _checked(
    address: StoreAddress, line: socket.socket, host: str, port: int
) -> FoundStore:
    with line.makefile("rb") as answers:

        def ask(*command: str) -> Any:
            _send(line, command)
            return _answer(answers)

        if address.password is not None:
            who = () if address.user is None else (address.user,)
            ask("AUTH", *who, address.password)
        ask("SELECT", str(address.database))
        facts = _facts(ask("INFO"))
        seconds, micros = ask("TIME")
        ahead = time.time() - (int(seconds) + int(micros) / 1e6)
        settings: dict[str, str] = {}
        if address.service is not None:
            found = ask("CONFIG", "GET", "min-replicas-*")
            settings = dict(zip(found[::2], found[1::2], strict=True))
    version = facts.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise Misconfigured(
            f"store {address} is Redis {version}; Vinom needs 6.2 or newer: update it"
        )
    if facts.get("redis_mode") == "cluster":
        raise Misconfigured(
            f"store {address} is a Redis Cluster, and one step changes keys of several "
            "slots: use one Redis, or Sentinel (redis+sentinel://)"
        )
    if facts.get("role") != "master":
        if address.service is not None:
            raise StoreUnavailable(f"store {address}: a failover is not over yet")
        raise Misconfigured(
            f"store {address} is a replica, which takes no writes: set store to the "
            "address of its master, or of Sentinels (redis+sentinel://)"
        )
    if address.service is not None:
        _ensure_replicas(address, settings)
        if facts.get("min_slaves_good_slaves", "0") == "0":
            raise StoreUnavailable(f"store {address}: its master has no replica yet")
    eviction = facts.get("maxmemory_policy", "unknown")
    return FoundStore(host, port, version, eviction, ahead)


def _ensure_replicas(address: StoreAddress, settings: dict[str, str]) -> None:
    """
    Check that a master which lost its replicas takes no writes.

    After a failover, it would otherwise answer those who are still connected to it for
    seconds, and forget what they wrote.
    """
    replicas = settings.get("min-replicas-to-write", "0")
    lag = settings.get("min-replicas-max-lag", "0")
    if int(replicas) < 1 or lag != "1":
        raise Misconfigured(
            f"store {address} has min-replicas-to-write {replicas} and "
            f"min-replicas-max-lag {lag}: set both to 1 on every Redis that Sentinel "
            "may make the master, or a failover loses writes"
        )


def _ask_sentinel(host: str, port: int, service: str) -> tuple[str, int]:
    """Find the master's address, as this Sentinel knows it."""
    with closing(_connect(host, port, None)) as line, line.makefile("rb") as answers:
        _send(line, ("SENTINEL", "get-master-addr-by-name", service))
        found = _answer(answers)
    if found is None:
        raise OSError(f"Sentinel {host}:{port} knows no service {service!r}")
    return found[0], int(found[1])


def _context(authority: bytes | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(
            cadata=None if authority is None else authority.decode("ascii")
        )
    except (ssl.SSLError, ValueError) as error:
        raise Misconfigured(f"store_ca is no certificate, PEM: {error}") from None


def _connect(host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
    line = socket.create_connection((host, port), TIMEOUT)
    if context is None:
        return line
    try:
        return context.wrap_socket(line, server_hostname=host)
    except Exception:
        line.close()
        raise


def _send(line: socket.socket, command: Iterable[str]) -> None:
    parts = [part.encode() for part in command]
    line.sendall(
        b"*%d\r\n" % len(parts)
        + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    )


def _answer(answers: Any) -> Any:
    """Read one answer of Redis."""
    line = answers.readline(_MOST_BYTES)
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, text = line[:1], line[1:-2].decode("utf-8", "replace")
    match kind:
        case b"-":
            raise _Refused(text)
        case b"+":
            return text
        case b":":
            return int(text)
        case b"$" if text == "-1":
            return None
        case b"$" if text.isdecimal() and int(text) < _MOST_BYTES:
            return answers.read(int(text) + 2)[:-2].decode("utf-8", "replace")
        case b"*" if text == "-1":
            return None
        case b"*" if text.isdecimal() and int(text) < _MOST_BYTES:
            return [_answer(answers) for _ in range(int(text))]
    raise EOFError


def _facts(info: str) -> dict[str, str]:
    lines = (line.partition(":") for line in info.splitlines())
    return {name: value for name, _, value in lines}


_END = b"-----END CERTIFICATE-----"


def access_to(
    address: StoreAddress, authority: bytes | None, reactor: Any, prefix: str
) -> Access:
    """
    Say how a Redis is reached, and with which prefix of keys; others as `make_dial`.
    """
    login = address.user, address.password
    dial = make_dial(address, authority, reactor)
    return Access(dial, prefix, login, address.database)


def make_dial(
    address: StoreAddress,
    authority: bytes | None,
    reactor: Any,
    found: Callable[[FoundStore], None] = lambda _: None,
) -> Dial:
    """
    Make what connects to a Redis, wherever it is now, after checking it.

    :param address: of the Redis, or of its Sentinels.
    :param authority: that signed its certificate, PEM.
    :param reactor: has threads, and connections.
    :param found: called with each Redis that was found.
    """

    async def dial(factory: Factory) -> Any:
        # Each new connection: after a failover it is another Redis.
        store = await deferToThreadPool(
            reactor, reactor.getThreadPool(), find_store, address, authority
        )
        found(store)
        endpoint: Any = HostnameEndpoint(
            reactor, store.host, store.port, timeout=TIMEOUT
        )
        if address.is_tls:
            root = None if authority is None else _trust(authority)
            options = optionsForClientTLS(store.host, root)
            endpoint = wrapClientTLS(options, endpoint)
        return await endpoint.connect(factory)

    return dial


def _trust(authority: bytes) -> Any:
    """Trust the certificates of a file."""
    parts = authority.split(_END)[:-1]
    return trustRootFromCertificates(
        [Certificate.loadPEM(part + _END) for part in parts]
    )
