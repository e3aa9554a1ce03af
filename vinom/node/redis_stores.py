"""The stores of a node in a Redis that several nodes share."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.figures import CALL_BOUNDS, Histogram
from vinom.base.reactor.steady import time_of_day
from vinom.base.reactor.turns import TurnEnd
from vinom.base.settings.values import StoreAddress
from vinom.errors import StoreUnavailable
from vinom.net.keys.files import store_login
from vinom.node.settings import Settings
from vinom.node.stores import Stores
from vinom.store.redis.client import Owner, RedisClient
from vinom.store.redis.inspection import FoundStore, access_to, find_store
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore, RedisOwnedStore, ReplicatedSteps
from vinom.store.redis.players import (
    RedisOnlineStore,
    RedisPlayerStore,
    RedisRatingStore,
)
from vinom.store.redis.subscriber import RedisSubscriber

_log = Logger("vinom.store")


def redis_stores(
    settings: Settings,
    node_id: str,
    reactor: Any,
    entropy: Callable[[int], bytes],
    turns: TurnEnd,
    direct: DirectReads,
) -> Stores:
    """
    Make the stores; the Redis is found and checked first, if it answers.

    :param node_id: of this run of the node.
    :param reactor: runs them; also the clock.
    :param entropy: called with a number, returns that many random bytes.
    :param turns: when calls go out.
    :param direct: reads what the Redis answers.
    :raises Misconfigured: the Redis cannot be used as it is.
    """
    address, authority = login_of(settings)
    log_found(settings, address, authority)
    latency = Histogram(CALL_BOUNDS)
    now = time_of_day(reactor)
    prefix = f"vinom:1:{settings.store_prefix}:"
    access = access_to(address, authority, reactor, prefix)
    owner = Owner(node_id)

    def make_client() -> RedisClient:
        return RedisClient(
            access,
            owner,
            reactor,
            time.monotonic,
            entropy,
            turns,
            direct,
            latency.add,
        )

    client = make_client()
    replicated = ReplicatedSteps(client, make_client(), turns)
    online = RedisOnlineStore(client)
    subscriber = RedisSubscriber(
        access,
        online.channel,
        online.heard,
        online.listens,
        reactor,
        entropy,
    )
    return Stores(
        node_id,
        RedisLobbyStore(client, now),
        RedisPlayerStore(client, now),
        RedisNodeStore(client),
        RedisRatingStore(client, now),
        online,
        RedisOwnedStore(client, replicated),
        partial(RedisOwnedStore, client, None, "server"),
        RedisOwnedStore(client, replicated, "checkpoint"),
        client,
        subscriber,
        replicated,
        latency,
    )


def login_of(settings: Settings) -> tuple[StoreAddress, bytes | None]:
    """
    Read what the Redis is reached with.

    :raises Misconfigured: a file cannot be read.
    """
    assert isinstance(settings.store, StoreAddress)
    return store_login(settings.store, settings.store_password_file, settings.store_ca)


def log_found(
    settings: Settings, address: StoreAddress, authority: bytes | None
) -> FoundStore | None:
    """
    Find the Redis, and log what it is.

    A node starts without one that does not answer: it may be down for a moment.

    :raises Misconfigured: it cannot be used as it is.
    """
    try:
        found = find_store(address, authority)
    except StoreUnavailable as error:
        _log.warn("{why}; this node serves no players until it answers", why=error)
        return None
    _log.info(
        "store {address} is Redis {version} at {host}:{port}",
        address=address,
        version=found.version,
        host=found.host,
        port=found.port,
    )
    return found
