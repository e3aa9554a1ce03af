"""Connect to the Redis that an address means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.threads import deferToThreadPool

from vinom.base.redis_address import StoreAddress
from vinom.store.redis.client import Dial
from vinom.store.redis.inspection import TIMEOUT, FoundStore, find_store

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
