"""What ``vinom doctor`` checks of the store that nodes share."""

from __future__ import annotations

from vinom.doctor.findings import Finding, failure, ok, warning
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.node.problems import wrong_clock
from vinom.node.settings import Settings
from vinom.node.stores import store_authority, store_login
from vinom.store.redis.inspection import find_store

_NAME = "store"


def examine_shared_store(settings: Settings) -> list[Finding]:
    """Find the Redis as the node would, and look at it, its clock, and our link."""
    if settings.store == "memory":
        told = (
            "memory, nothing to reach: queues and matches belong to this node and end "
            "with it; recordings and keys stay"
        )
        return [ok(_NAME, told)]
    link = settings.node_link
    findings = [
        warning(
            "node link",
            "there is a store and no node_link: beside a second node, players who come "
            "to the other one than their room are refused with busy",
            "set node_link on all nodes that share the store",
        )
        if link is None
        else ok("node link", f"{link}, for nodes that share the store")
    ]
    try:
        found = find_store(store_login(settings), store_authority(settings))
    except StoreUnavailable as error:
        how = (
            "start it, check store, and the route and firewall to it; until it answers "
            "the node refuses requests with store_unavailable"
        )
        return [failure(_NAME, f"it does not answer: {error}", how), *findings]
    except Misconfigured as error:
        how = "check store, store_password_file and store_ca"
        return [failure(_NAME, str(error), how), *findings]
    if why := wrong_clock(found.ahead):
        told, _, how = why.rpartition("; ")
        findings.append(failure("store clock", told, how))
    else:
        told = f"{abs(found.ahead):.1f} s from this machine's"
        findings.append(ok("store clock", told))
    where = f"Redis {found.version} at {found.host}:{found.port}"
    if found.eviction != "noeviction":
        return [
            failure(
                _NAME,
                f"{where} has maxmemory-policy {found.eviction}: it deletes keys when "
                "its memory is full, such as a player's place in the queue",
                "set maxmemory-policy to noeviction in redis.conf",
            ),
            *findings,
        ]
    return [ok(_NAME, f"{where} answers, and evicts no keys"), *findings]
