"""The connections to the Redis that has the rules."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from vinom.base.reactor.turns import TurnEnd
from vinom.base.redis_address import StoreAddress
from vinom.errors import StoreUnavailable
from vinom.gateway.routing.routes import Routes
from vinom.gateway.routing.sources import RedisRules
from vinom.store.redis.client import Owner, RedisClient
from vinom.store.redis.dialing import make_dial
from vinom.store.redis.inspection import find_store
from vinom.store.redis.routes import RedisRoutes
from vinom.store.redis.subscriber import RedisSubscriber

_log = Logger()


@attrs.frozen
class RedisSource:
    """
    The services that read rules from Redis.

    :ivar client: sends commands.
    :ivar subscriber: gets announcements of changes.
    :ivar rules: passes the rules to the routes.
    """

    client: RedisClient
    subscriber: RedisSubscriber
    rules: RedisRules

    @property
    def services(self) -> list[Service]:
        """All of them, in the order in which they start."""
        return [self.client, self.subscriber, self.rules]


def redis_source(
    address: StoreAddress,
    authority: bytes | None,
    owner: Owner,
    routes: Routes,
    reactor: Any,
    entropy: Callable[[int], bytes],
    turns: TurnEnd,
    *,
    prefix: str,
    seconds: float,
) -> RedisSource:
    """
    Make the services that read rules from a Redis.

    :param address: the address, with the login.
    :param authority: the authority that signed the certificate of Redis, PEM; ``None``
        for those that the system trusts.
    :param owner: the name of the connections.
    :param routes: gets the rules.
    :param reactor: connects.
    :param entropy: called with a number, returns that many random bytes.
    :param turns: decides when calls are sent.
    :param prefix: prefix of all keys.
    :param seconds: time between two reads without an announcement.
    :raises Misconfigured: the Redis cannot be used.
    """
    try:
        find_store(address, authority)
    except StoreUnavailable as error:
        _log.warn("{why}; there are no rules until it answers", why=error)
    dial = make_dial(address, authority, reactor)
    login = (address.user, address.password)
    client = RedisClient(
        dial,
        owner,
        reactor,
        time.monotonic,
        entropy,
        turns,
        prefix=prefix,
        login=login,
        database=address.database,
    )
    stored = RedisRoutes(client)
    rules = RedisRules(stored, routes, reactor, seconds)
    subscriber = RedisSubscriber(
        dial,
        stored.channel,
        lambda message: rules.changed(),
        # Earlier announcements were missed.
        rules.changed,
        reactor,
        entropy,
        login=login,
    )
    return RedisSource(client, subscriber, rules)
