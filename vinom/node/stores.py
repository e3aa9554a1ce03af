"""The stores of a node: in memory, or in a Redis that several nodes share."""

from __future__ import annotations

import time
from base64 import b32encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from vinom.errors import StoreUnavailable
from vinom.keys.files import read_file
from vinom.node.settings import Settings
from vinom.ports import (
    ICheckpointStore,
    IEntryStore,
    IEstateStore,
    IMatchStore,
    INodeStore,
    IOnlineStore,
    IPartyStore,
    IPlayerStore,
    IPrematchStore,
    IRatingStore,
    IServerStore,
)
from vinom.reactor.direct import DirectReads
from vinom.reactor.figures import CALL_BOUNDS, Histogram
from vinom.reactor.steady import time_of_day
from vinom.reactor.turns import TurnEnd
from vinom.store.memory.entries import MemoryEntryStore
from vinom.store.memory.matches import MemoryMatchStore
from vinom.store.memory.nodes import MemoryNodeStore
from vinom.store.memory.parties import MemoryPartyStore
from vinom.store.memory.players import MemoryPlayerStore
from vinom.store.memory.ratings import MemoryRatingStore
from vinom.store.redis.address import StoreAddress
from vinom.store.redis.client import Owner, RedisClient
from vinom.store.redis.dialing import make_dial
from vinom.store.redis.entries import RedisEntryStore
from vinom.store.redis.estates import RedisEstateStore
from vinom.store.redis.inspection import FoundStore, find_store
from vinom.store.redis.matches import RedisMatchStore
from vinom.store.redis.nodes import RedisNodeStore
from vinom.store.redis.online import RedisOnlineStore
from vinom.store.redis.parties import RedisPartyStore
from vinom.store.redis.players import RedisPlayerStore
from vinom.store.redis.prematches import RedisPrematchStore
from vinom.store.redis.ratings import RedisRatingStore
from vinom.store.redis.replicated import ReplicatedSteps
from vinom.store.redis.rooms import RedisCheckpointStore
from vinom.store.redis.servers import RedisServerStore
from vinom.store.redis.subscriber import RedisSubscriber

_log = Logger("vinom.store")


@attrs.frozen
class Stores:
    """
    What a node stores things in.

    :ivar node_id: of this run of the node.
    :ivar prematches: the same store as that of entries.
    :ivar estates: what other nodes left that are gone; ``None`` with memory.
    :ivar online: which node has a player's line; ``None`` with memory.
    :ivar checkpoints: rooms that outlive their nodes; ``None`` with memory.
    :ivar servers: game servers that outlive their nodes; ``None`` with memory.
    :ivar client: the connection to Redis; ``None`` with memory.
    :ivar subscriber: the one on which messages of other nodes come.
    :ivar replicated: the one for what a replica must have.
    :ivar latency: how long its calls take.
    """

    node_id: str
    entries: IEntryStore
    prematches: IPrematchStore
    parties: IPartyStore
    players: IPlayerStore
    matches: IMatchStore
    nodes: INodeStore
    ratings: IRatingStore
    estates: IEstateStore | None = None
    online: IOnlineStore | None = None
    checkpoints: ICheckpointStore | None = None
    servers: IServerStore | None = None
    client: RedisClient | None = None
    subscriber: RedisSubscriber | None = None
    replicated: ReplicatedSteps | None = None
    latency: Histogram = attrs.field(factory=lambda: Histogram(CALL_BOUNDS))

    @property
    def services(self) -> list[Service]:
        """What must start first, and stop last."""
        all_of_them = (self.client, self.subscriber, self.replicated)
        return [one for one in all_of_them if one is not None]

    @property
    def is_available(self) -> bool:
        """Does the store answer?"""
        return self.client is None or self.client.is_available

    def clock_ahead(self) -> float | None:
        """
        Compare this machine's clock with the store's.

        :returns: how far it is ahead, seconds; ``None`` if there is nothing to compare.
        """
        there = None if self.client is None else self.client.seconds()
        return None if there is None else time.time() - there

    def figures(self) -> dict[str, Any]:
        """Count calls of the store for metrics."""
        client, replicated = self.client, self.replicated
        calls = Counter({} if client is None else client.outcomes)
        if replicated is not None:
            calls.update(replicated.own.outcomes)
        return {
            "available": int(self.is_available),
            "opened": 0 if client is None else client.opened,
            "calls": dict(calls),
            "seconds": self.latency.figures("call"),
        }


def open_stores(
    settings: Settings,
    reactor: Any,
    entropy: Callable[[int], bytes],
    is_here: Callable[[str], bool],
    turns: TurnEnd,
    direct: DirectReads,
) -> Stores:
    """
    Make the stores; a Redis is found and checked first, if it answers.

    :param reactor: runs them; also the clock.
    :param entropy: called with a number, returns that many random bytes.
    :param is_here: by a player's id: has it a line or a place in a room of this node?
    :param turns: when calls go out.
    :param direct: reads what the Redis answers.
    :raises Misconfigured: the Redis cannot be used as it is.
    """
    node_id = b32encode(entropy(10)).decode().lower()
    now = time_of_day(reactor)
    if settings.store == "memory":
        entries, matches = MemoryEntryStore(), MemoryMatchStore(now)
        parties = MemoryPartyStore()

        def is_needed(player_id: str) -> bool:
            return (
                is_here(player_id)
                or entries.has(player_id)
                or parties.has(player_id)
                or matches.has(player_id)
            )

        players = MemoryPlayerStore(now, is_needed=is_needed)
        nodes = MemoryNodeStore(time.monotonic)
        ratings = MemoryRatingStore(now)
        return Stores(
            node_id, entries, entries, parties, players, matches, nodes, ratings
        )
    address, authority = store_login(settings), store_authority(settings)
    log_found(settings, address, authority)
    latency = Histogram(CALL_BOUNDS)
    dial = make_dial(address, authority, reactor)
    owner = Owner(node_id)

    def make_client() -> RedisClient:
        return RedisClient(
            dial,
            owner,
            reactor,
            time.monotonic,
            entropy,
            turns,
            direct,
            prefix=f"vinom:1:{settings.store_prefix}:",
            login=(address.user, address.password),
            database=address.database,
            measured=latency.add,
        )

    client = make_client()
    replicated = ReplicatedSteps(client, make_client(), turns)
    online = RedisOnlineStore(client)
    subscriber = RedisSubscriber(
        dial,
        online.channel,
        online.heard,
        online.listens,
        reactor,
        entropy,
        login=(address.user, address.password),
    )
    return Stores(
        node_id,
        RedisEntryStore(client),
        RedisPrematchStore(client),
        RedisPartyStore(client),
        RedisPlayerStore(client, now),
        RedisMatchStore(client, now),
        RedisNodeStore(client),
        RedisRatingStore(client, now),
        RedisEstateStore(client),
        online,
        RedisCheckpointStore(client, replicated),
        RedisServerStore(client),
        client,
        subscriber,
        replicated,
        latency,
    )


def store_login(settings: Settings) -> StoreAddress:
    """
    Add the password of its file to the address of the store.

    :raises Misconfigured: the file cannot be read.
    """
    address, path = settings.store, settings.store_password_file
    assert isinstance(address, StoreAddress)
    if path is None:
        return address
    password = read_file(path, "store_password_file").decode("utf-8", "replace")
    return attrs.evolve(address, password=password.strip())


def store_authority(settings: Settings) -> bytes | None:
    """
    Read ``store_ca``.

    :raises Misconfigured: the file cannot be read.
    """
    path: Path | None = settings.store_ca
    return None if path is None else read_file(path, "store_ca")


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
