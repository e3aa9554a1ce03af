"""
Rules that change, and back ends that answer badly, while clients ask.

``VINOM_GATEWAY=full`` in the environment: more clients, and longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from benchmarks.soak.gateways.processes import Backend, GatewayProcess
from benchmarks.soak.gateways.records import compare
from tests.support.redis_servers import redis_for
from tests.support.requests_under_load import Load

IS_FULL = os.environ.get("VINOM_GATEWAY") == "full"
CLIENTS = 60 if IS_FULL else 12
CHANGES = 100
#: Between two changes, seconds: full, each of them is under load for longer.
_PAUSE = 0.4 if IS_FULL else 0.04
_RULES = "game-gateway:routing:rules"
_CHANGED = "game-gateway:routing:changed"
_STRATEGIES = ("round_robin", "least_sessions", "consistent_hash")


class RulesUnderLoadTests(TestCase):
    """A real gateway, a real Redis and real back ends."""

    timeout = 300

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.random = random.Random(1)

    def backends(self, count: int) -> list[Backend]:
        """Start some; they end with the test."""
        found = []
        for number in range(count):
            found.append(one := Backend(f"b{number}"))
            self.addCleanup(one.kill)
        return found

    def gateway(self, *arguments: str) -> GatewayProcess:
        """Start a gateway, which ends with the test."""
        gateway = GatewayProcess(self.folder, "--drain-lag=0", *arguments)
        self.addCleanup(gateway.kill)
        return gateway

    async def until(
        self, condition: Callable[[], Any], what: str, seconds: float = 40.0
    ) -> None:
        """Wait for something that a thread finds out."""
        give_up = time.monotonic() + seconds
        while not await asyncio.to_thread(condition):
            if time.monotonic() > give_up:
                raise AssertionError(f"not within {seconds} s: {what}")
            await asyncio.sleep(0.01)

    def check_log(self, gateway: GatewayProcess, load: Load) -> None:
        """Compare what clients saw with the access log, when all are gone."""
        give_up = time.monotonic() + 10
        while gateway.status()["connections"] and time.monotonic() < give_up:
            time.sleep(0.05)
        self.assertEqual(gateway.status()["sessions"], {})
        self.assertEqual(compare(load.records, gateway.accesses()), [])

    async def test_redis(self) -> None:
        """
        Rules change a hundred times in Redis, with mistakes between, while clients ask:
        every request is answered, by a back end of the rules of that time. While Redis
        hangs, and after it died, the last rules serve on.
        """
        self.server = redis_for(self)
        self.all = self.backends(4)
        self.named = [one.name for one in self.all]
        #: From when on rules may hold, and from when on no others: times and names.
        self.history: list[tuple[float, float, set[str]]] = []
        self.server.command("SET", _RULES, self.rules(self.named[:2]))
        gateway = self.gateway(f"--store={self.server.url}")
        await deferToThread(self.under_load, gateway)

    def rules(self, names: list[str]) -> str:
        """Write rules for some of the back ends, as Redis has them."""
        endpoints = [one.endpoint for one in self.all if one.name in names]
        strategy = self.random.choice(_STRATEGIES)
        rule = {"strategy": strategy, "endpoints": endpoints, "match": {"path": "/"}}
        rule["transport"] = "tcp"
        return json.dumps({"site": rule})

    def under_load(self, gateway: GatewayProcess) -> None:
        load = Load(gateway.port)

        async def run() -> None:
            await self.until(
                lambda: gateway.metric("vinom_gateway_rules_loaded"), "rules"
            )
            now = time.monotonic()
            self.history.append((now, now, set(self.named[:2])))
            await load.run(CLIENTS, self.change(gateway, load))

        asyncio.run(run())
        self.assertEqual(load.wrong, [])
        self.assertGreater(len(load.answers), 300)
        for answer in load.answers:
            self.assertEqual(answer.status, 200, answer)
            self.assertIn(answer.backend, self.allowed(answer.began, answer.ended))
        self.check_log(gateway, load)

    def allowed(self, began: float, ended: float) -> set[str]:
        """List the back ends of all rules that may have held at some time."""
        found: set[str] = set()
        ends = [alone for _, alone, _ in self.history[1:]] + [float("inf")]
        for (since, _, names), until in zip(self.history, ends, strict=True):
            if since <= ended and until >= began:
                found |= names
        return found

    async def change(self, gateway: GatewayProcess, load: Load) -> None:
        """Change rules, then take Redis away."""
        good = gateway.metric("vinom_gateway_rules_taken_total")
        for number in range(CHANGES):
            if number % 5 == 4:
                await asyncio.to_thread(self.write, '{"site": {"strategy": "best"}}')
                await self.until(
                    lambda: not gateway.metric("vinom_gateway_rules_valid"), "refused"
                )
            else:
                await self.change_once(gateway)
                good += 1
            await asyncio.sleep(_PAUSE)
        self.assertEqual(gateway.metric("vinom_gateway_rules_taken_total"), good)
        self.assertEqual(
            gateway.metric("vinom_gateway_rules_refused_total"), CHANGES // 5
        )
        self.server.pause()
        await self.serves_on(gateway, load)
        self.server.wake()
        await self.until(
            lambda: gateway.metric("vinom_gateway_store_available"), "Redis is back"
        )
        await self.change_once(gateway)
        self.server.kill()
        await self.serves_on(gateway, load)
        ready = json.loads(gateway.get("ready"))
        self.assertEqual((ready["status"], ready["rules"]), ("ready", "ok"))
        self.assertNotEqual(ready["store"], "ok")

    def write(self, rules: str) -> None:
        """Write rules, and announce them."""
        self.server.command("SET", _RULES, rules)
        self.server.command("PUBLISH", _CHANGED, "x")

    async def change_once(self, gateway: GatewayProcess) -> None:
        """Write other rules, and wait until they hold."""
        before = self.history[-1][2]
        names = before
        while names == before:
            some = self.random.sample(self.named, self.random.choice((1, 2, 3)))
            names = set(some)
        taken = gateway.metric("vinom_gateway_rules_taken_total")
        began = time.monotonic()
        # Before they hold: who asks meanwhile may have either.
        self.history.append((began, float("inf"), names))
        await asyncio.to_thread(self.write, self.rules(sorted(names)))
        await self.until(
            lambda: gateway.metric("vinom_gateway_rules_taken_total") > taken, "taken"
        )
        self.history[-1] = began, time.monotonic(), names

    async def serves_on(self, gateway: GatewayProcess, load: Load) -> None:
        """Without Redis, requests are answered all the same."""
        await self.until(
            lambda: not gateway.metric("vinom_gateway_store_available"), "unavailable"
        )
        before = len(load.answers)
        await asyncio.sleep(10.0 if IS_FULL else 2.0)
        self.assertGreater(len(load.answers), before + 20)
