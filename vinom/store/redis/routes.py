"""The rules of gateways in Redis, which operators write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_READ = load("gateway", "read")["read"]


@attrs.frozen
class StoredRoutes:
    """
    Rules and realms as read.

    :ivar rules: JSON; ``None`` if there are none.
    :ivar realms: back ends by ``realm_id``.
    :ivar services: codes by the service's name.
    :ivar run: names the run of Redis that had them; empty if it does not say.
    :ivar mistake: a key of the wrong type; ``None`` if there is none.
    """

    rules: bytes | None
    realms: Mapping[bytes, bytes]
    services: Mapping[bytes, bytes]
    run: bytes = b""
    mistake: str | None = None


@attrs.frozen
class RedisRoutes:
    """
    Read the rules; has the channel on which changes are announced.

    :ivar client: sends commands; its prefix is that of the keys.
    """

    client: RedisClient

    @property
    def channel(self) -> str:
        """The channel: any message means that something here has changed."""
        return f"{self.client.prefix}routing:changed"

    @property
    def key(self) -> str:
        """The key of the rules."""
        return f"{self.client.prefix}routing:rules"

    def read(self) -> Deferred[StoredRoutes]:
        """
        Read rules, realms and the codes of services in one step.

        :raises StoreUnavailable: Redis does not answer.
        """
        return self.client.run(_READ).addCallback(self._found)

    def _found(self, found: list[Any]) -> StoredRoutes:
        kind, rules, run, *hashes = found
        mistake = None
        if kind in (b"realm:mapping", b"services"):
            mistake = f"the key {self.client.prefix}{kind.decode()} must be a hash"
        elif kind not in (b"string", b"none"):
            mistake = f"the key {self.key} must be a string of JSON"
        realms, services = (
            dict(zip(pairs[::2], pairs[1::2], strict=True)) for pairs in hashes
        )
        rules = rules if kind == b"string" else None
        return StoredRoutes(rules, realms, services, run, mistake)
