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
