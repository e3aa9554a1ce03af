"""Connect to the Redis that an address means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from vinom.base.model import ServerClaim
from vinom.base.redis_address import StoreAddress
from vinom.store.interfaces import IServerStore
from vinom.store.redis.client import Dial, RedisClient
from vinom.store.redis.inspection import TIMEOUT, FoundStore, find_store
from vinom.store.redis.scripts import load

_STEPS = load("owned", "left")


@implementer(IServerStore)
@attrs.frozen
class RedisServerStore:
    """
    Records in hashes, which also have the node of each game server.

    :ivar client: runs the scripts.
    """

    client: RedisClient

    def _run(self, step: str, whose: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], whose, "server", *args)

    def put(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        put = self._run("put", server_id, str(fence), data, machine, "0")
        return put.addCallback(bool)

    def claim(self, server_id: str, gone: str = "") -> Deferred[ServerClaim]:
        def read(found: list[bytes]) -> ServerClaim:
            kind, fence, data, *_ = found
            return ServerClaim(kind.decode(), int(fence), data)  # type: ignore[arg-type]  # one of them

        return self._run("claim", server_id, gone, "0").addCallback(read)

    def offer(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        put = self._run("put", server_id, str(fence), data, machine, "1")
        return put.addCallback(bool)

    def forget(self, server_id: str, fence: int) -> Deferred[bool]:
        return self._run("forget", server_id, str(fence), "").addCallback(bool)

    def left(self, node_id: str, machine: str, most: int) -> Deferred[Sequence[bytes]]:
        return self._run("left", node_id, str(most), machine)


_END = b"-----END CERTIFICATE-----"


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
