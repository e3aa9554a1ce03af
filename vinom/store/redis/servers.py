"""Game servers with matches, in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vinom.base.model import ServerClaim
from vinom.store.interfaces import IServerStore
from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_STEPS = load("servers", "left")


@implementer(IServerStore)
@attrs.frozen
class RedisServerStore:
    """
    Records in hashes, which also have the node of each game server.

    :ivar client: runs the scripts.
    """

    client: RedisClient

    def _run(self, step: str, *args: str | bytes) -> Deferred[Any]:
        return self.client.run(_STEPS[step], *args)

    def put(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        return self._run("put", server_id, str(fence), machine, data).addCallback(bool)

    def claim(self, server_id: str, gone: str = "") -> Deferred[ServerClaim]:
        def read(found: list[bytes]) -> ServerClaim:
            kind, fence, data = found
            return ServerClaim(kind.decode(), int(fence), data)  # type: ignore[arg-type]  # one of them

        return self._run("claim", server_id, gone).addCallback(read)

    def offer(
        self, server_id: str, fence: int, machine: str, data: bytes
    ) -> Deferred[bool]:
        found = self._run("offer", server_id, str(fence), machine, data)
        return found.addCallback(bool)

    def forget(self, server_id: str, fence: int) -> Deferred[bool]:
        return self._run("forget", server_id, str(fence)).addCallback(bool)

    def left(self, node_id: str, machine: str, most: int) -> Deferred[Sequence[bytes]]:
        return self._run("left", node_id, machine, str(most))
