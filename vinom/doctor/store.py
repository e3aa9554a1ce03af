"""What ``vinom doctor`` checks of the store that nodes share."""

from __future__ import annotations

from vinom.doctor.findings import Finding, failure, ok
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.node.settings import Settings
from vinom.node.stores import store_authority, store_login
from vinom.store.redis.inspection import find_store

_NAME = "store"


def examine_shared_store(settings: Settings) -> Finding:
    """Find the Redis as the node would, and look at it."""
    if settings.store == "memory":
        return ok(
            _NAME,
            "memory, nothing to reach: queues and matches belong to this node and end "
            "with it; recordings and keys stay",
        )
    try:
        found = find_store(store_login(settings), store_authority(settings))
    except StoreUnavailable as error:
        return failure(
            _NAME,
            f"it does not answer: {error}",
            "start it, check store, and the route and firewall to it; until it answers "
            "the node refuses requests with store_unavailable",
        )
    except Misconfigured as error:
        told, _, remedy = str(error).partition(": ")
        return failure(_NAME, told, remedy or "see the reference of store")
    where = f"Redis {found.version} at {found.host}:{found.port}"
    if found.eviction != "noeviction":
        return failure(
            _NAME,
            f"{where} has maxmemory-policy {found.eviction}: it deletes keys when its "
            "memory is full, such as a player's place in the queue",
            "set maxmemory-policy to noeviction in redis.conf",
        )
    return ok(_NAME, f"{where} answers, and evicts no keys")
