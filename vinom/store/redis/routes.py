"""The rules of gateways in Redis, which operators write."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred

from vinom.store.redis.client import RedisClient
from vinom.store.redis.scripts import load

_READ = load("gateway", "read")


@attrs.frozen
class StoredRoutes:
    """
    What was found.

    :ivar rules: JSON; ``None`` if there are none.
    :ivar realms: back ends by ``realm_id``.
    :ivar run: names the run of Redis that had them; empty if it does not say.
    :ivar mistake: a key of the wrong type; ``None`` if there is none.
    """

    rules: bytes | None
    realms: Mapping[bytes, bytes]
    run: bytes = b""
    mistake: str | None = None


@attrs.frozen
class RedisRoutes:
    """
    Read the rules, and know where changes of them are announced.

    :ivar client: its prefix is that of the keys.
    """

    client: RedisClient

    @property
    def channel(self) -> str:
        """Any message on it means that rules or realms have changed."""
        return f"{self.client.prefix}routing:changed"

    @property
    def key(self) -> str:
        """The key of the rules."""
        return f"{self.client.prefix}routing:rules"

    def read(self) -> Deferred[StoredRoutes]:
        """
        Read rules and realms, both of one moment.

        :raises StoreUnavailable: Redis does not answer.
        """
        return self.client.run(_READ).addCallback(self._found)

    def _found(self, found: list[bytes]) -> StoredRoutes:
        kind, rules, run, *pairs = found
        prefix = self.client.prefix
        mistake = None
        if kind == b"mapping":
            mistake = f"the key {prefix}realm:mapping must be a hash"
        elif kind not in (b"string", b"none"):
            mistake = f"the key {self.key} must be a string of JSON"
        realms = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return StoredRoutes(rules if kind == b"string" else None, realms, run, mistake)
