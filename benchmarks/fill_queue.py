"""
``python -m benchmarks.fill_queue URL COUNT``: have so many players wait in a Redis.

They are away, so nobody can be matched with them; their places count all the same.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from twisted.internet import task
from twisted.internet.defer import gatherResults, maybeDeferred

from benchmarks.crowd import GAME
from vinom.base.model import NodeFacts, Player, QueueEntry
from vinom.base.reactor.turns import TurnEnd
from vinom.base.settings.values import read_store_address
from vinom.games.tictactoe import TicTacToe
from vinom.play.choices import canonical_options
from vinom.store.redis.client import Access, Owner, RedisClient
from vinom.store.redis.inspection import make_dial
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore

_AT_ONCE = 200


async def _fill(reactor: Any, url: str, count: int) -> None:
    client = RedisClient(
        Access(make_dial(read_store_address(url), None, reactor), "vinom:1:main:"),
        Owner("filler"),
        reactor,
        time.monotonic,
        os.urandom,
        TurnEnd(reactor),
    )
    client.startService()
    while not client.is_available:
        await task.deferLater(reactor, 0.05)
    # Nobody takes its entries for those of a dead node.
    await RedisNodeStore(client).register(NodeFacts("filler", {}, "1"), 3600)
    store = RedisLobbyStore(client, time.time)
    options = canonical_options(TicTacToe(), b"{}")
    for first in range(0, count, _AT_ONCE):
        await gatherResults(
            store.enqueue(
                QueueEntry(
                    f"away{number}",
                    (Player(f"away{number}", "away"),),
                    GAME,
                    1.0 + number,
                    options,
                    suspended=True,
                )
            )
            for number in range(first, min(count, first + _AT_ONCE))
        )
    found = (await store.waiting(GAME, options)).players
    await maybeDeferred(client.stopService)
    if found < count:
        raise SystemExit(f"{found} of {count} players wait")


if __name__ == "__main__":
    task.react(
        lambda reactor: maybeDeferred(_fill, reactor, sys.argv[1], int(sys.argv[2]))
    )
