"""Rules of a real Redis."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.redis_servers import (
    RedisServer,
    new_prefix,
    redis_for,
    shared_server,
    until,
)
from vinom.base.reactor.turns import TurnEnd
from vinom.base.settings.values import read_store_address
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.sources import RedisRules, Routes, redis_source
from vinom.store.redis.client import Owner

RULE = '{"a": {"strategy": "round_robin", "endpoints": ["h:%d"]}}'


class RedisRulesTests(TestCase):
    def begin(self, server: RedisServer, seconds: float) -> RedisRules:
        """Read rules of a server."""
        self.server, self.prefix = server, new_prefix()
        self.router = Router()
        self.routes = Routes(self.router)
        source = redis_source(
            read_store_address(server.url),
            None,
            Owner("g1"),
            self.routes,
            reactor,
            os.urandom,
            TurnEnd(reactor),
            prefix=self.prefix,
            seconds=seconds,
        )
        source.startService()

        async def stop() -> None:
            await source.stopService()
            # txredisapi reads the rest of what came in a later turn.
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]

        self.addCleanup(stop)
        return source

    def set(self, *parts: str) -> None:
        """Change something in Redis; the key's name is after the command."""
        command, key, *rest = parts
        self.server.command(command, self.prefix + key, *rest)

    def port(self) -> int:
        """Find the port of the back end of a."""
        rule = self.router.rules.by_name.get("a")
        return 0 if rule is None else rule.endpoints[0].port

    async def test_at_once(self) -> None:
        """
        A change that is announced is in use at once; rules that are removed are gone.
        """
        source = self.begin(shared_server(), 600.0)
        await until(lambda: source.services[1].is_subscribed and self.routes.mistake)
        self.set("SET", "routing:rules", RULE % 1)
        self.set("HSET", "realm:mapping", "1", "g:2")
        self.set("PUBLISH", "routing:changed", "")
        await until(lambda: self.port() == 1)
        self.assertEqual(str(self.router.realms[1]), "g:2")
        for number in range(2, 50):
            self.set("SET", "routing:rules", RULE % number)
            self.set("PUBLISH", "routing:changed", "anything")
        await until(lambda: self.port() == 49)
        self.set("DEL", "routing:rules")
        self.set("PUBLISH", "routing:changed", "")
        await until(lambda: self.port() == 0)
        self.assertIsNone(self.routes.mistake)
        self.assertTrue(self.routes.is_loaded)

    async def test_without_a_word(self) -> None:
        """
        A change that nobody announced is in use after the next refresh.
        """
        self.begin(shared_server(), 0.1)
        self.set("SET", "routing:rules", RULE % 1)
        await until(lambda: self.port() == 1)
        self.set("SET", "routing:rules", RULE % 2)
        await until(lambda: self.port() == 2)

    async def test_wrong_types(self) -> None:
        """
        Keys of another type are reported with their names, and change nothing.
        """
        source = self.begin(shared_server(), 0.1)
        self.set("SET", "routing:rules", RULE % 1)
        await until(lambda: self.port() == 1)
        self.set("DEL", "routing:rules")
        self.set("RPUSH", "routing:rules", "x")
        await until(lambda: self.routes.mistake)
        self.assertIn("routing:rules must be a string", str(self.routes.mistake))
        self.set("DEL", "routing:rules")
        self.set("SET", "realm:mapping", "x")
        await until(lambda: "mapping must be a hash" in str(self.routes.mistake))
        self.set("DEL", "realm:mapping")
        self.set("SET", "services", "x")
        await until(lambda: "services must be a hash" in str(self.routes.mistake))
        self.set("DEL", "services")
        self.set("HSET", "services", "a", "65536")
        await until(lambda: "a has the code '65536'" in str(self.routes.mistake))
        self.assertEqual(self.port(), 1)
        self.assertIsNone(source.why)

    async def test_redis_is_lost(self) -> None:
        """
        While Redis is away the last rules stay; when it is back, so are its rules.
        """
        server = redis_for(self)
        source = self.begin(server, 0.1)
        self.set("SET", "routing:rules", RULE % 1)
        await until(lambda: self.port() == 1)
        server.pause()
        await until(lambda: source.why)
        self.assertEqual(self.port(), 1)
        server.wake()
        self.set("SET", "routing:rules", RULE % 2)
        await until(lambda: self.port() == 2)
        self.assertIsNone(source.why)

    async def test_redis_comes_back_empty(self) -> None:
        """
        A Redis that restarts without its data takes no rules away: the last ones stay,
        which is reported, until there are rules again. Only who removes them while
        Redis runs means it.
        """
        server = redis_for(self)
        self.begin(server, 0.1)
        self.set("SET", "routing:rules", RULE % 1)
        self.set("HSET", "realm:mapping", "1", "g:2")
        await until(lambda: self.port() == 1)
        server.kill()
        empty = redis_for(self, port=server.port)
        self.server = empty
        await until(lambda: self.routes.mistake)
        self.assertIn(f"no key {self.prefix}routing:rules", str(self.routes.mistake))
        self.assertEqual(self.port(), 1)
        self.assertEqual(str(self.router.realms[1]), "g:2")
        self.set("SET", "routing:rules", RULE % 2)
        await until(lambda: self.port() == 2)
        self.assertIsNone(self.routes.mistake)
        self.assertEqual(self.router.realms, {})
        self.set("DEL", "routing:rules")
        await until(lambda: self.port() == 0)
        self.assertIsNone(self.routes.mistake)

    async def test_begins_without(self) -> None:
        """
        A gateway that starts when Redis has no rules is not ready, and reports why: it
        must not replace one that has them. An empty object means that there are none.
        """
        self.begin(shared_server(), 0.1)
        await until(lambda: self.routes.mistake)
        self.assertFalse(self.routes.is_loaded)
        self.set("SET", "routing:rules", "{}")
        await until(lambda: self.routes.is_loaded)
        self.assertIsNone(self.routes.mistake)
