"""The stores of a node: in memory, or in a Redis that several nodes share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from vinom.base.reactor.figures import CALL_BOUNDS, Histogram
from vinom.store.interfaces import (
    ILobbyStore,
    INodeStore,
    IOnlineStore,
    IOwnedStore,
    IPlayerStore,
    IRatingStore,
)
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things
from vinom.store.memory.players import MemoryPlayerStore, MemoryRatingStore

if TYPE_CHECKING:
    from vinom.store.redis.client import RedisClient
    from vinom.store.redis.nodes import ReplicatedSteps
    from vinom.store.redis.subscriber import RedisSubscriber

_log = Logger("vinom.store")


@attrs.frozen
class Stores:
    """
    What a node stores things in.

    :ivar node_id: of this run of the node.
    :ivar lobby: where players are.
    :ivar online: which node has a player's line; ``None`` with memory.
    :ivar checkpoints: rooms that outlive their nodes; with memory only those of games
        whose clock is the wall's, and ``None`` without such games.
    :ivar servers: those of a machine that outlive their nodes; ``None`` with memory.
    :ivar matches: matches that outlive their machines; ``None`` with memory.
    :ivar client: the connection to Redis; ``None`` with memory.
    :ivar subscriber: the one on which messages of other nodes come.
    :ivar replicated: the one for what a replica must have.
    :ivar latency: how long its calls take.
    """

    node_id: str
    lobby: ILobbyStore
    players: IPlayerStore
    nodes: INodeStore
    ratings: IRatingStore
    online: IOnlineStore | None = None
    checkpoints: IOwnedStore | None = None
    servers: Callable[[str], IOwnedStore] | None = None
    matches: IOwnedStore | None = None
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


def memory_stores(
    node_id: str,
    now: Callable[[], float],
    is_here: Callable[[str], bool],
    rooms_file: Path | None = None,
) -> Stores:
    """
    Make the stores of a node that shares nothing.

    :param node_id: of this run of the node.
    :param now: the time, seconds since the Unix epoch.
    :param is_here: by a player's id: has it a line or a place in a room of this node?
    :param rooms_file: keeps rooms of games whose clock is the wall's, and the keys of
        their players; ``None`` without such games.
    :raises Misconfigured: the file cannot be read.
    """
    lobby = MemoryLobbyStore(now)

    def is_needed(player_id: str) -> bool:
        return is_here(player_id) or lobby.state.has(player_id)

    things = None if rooms_file is None else Things(now, rooms_file)
    if things is not None and (why := things.check()):
        _log.error("rooms that sleep are lost: {why}", why=why)
    players = MemoryPlayerStore(
        now,
        is_needed=is_needed,
        kept=lambda key_hash: None if things is None else things.known(key_hash),
    )
    lobby.state.settle = players.settle
    nodes = MemoryNodeStore(time.monotonic)
    ratings = MemoryRatingStore(now)
    rooms = None
    if things is not None:
        lease = partial(nodes.number_of, node_id)
        rooms = MemoryOwnedStore(nodes, node_id, lease, things, players=players)
    return Stores(node_id, lobby, players, nodes, ratings, checkpoints=rooms)
