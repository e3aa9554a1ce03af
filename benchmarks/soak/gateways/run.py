"""One run: clients of every kind, and faults of their back ends."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs

from benchmarks.machine import private_memory
from benchmarks.soak.gateways.bad_clients import BAD, misbehave
from benchmarks.soak.gateways.clients import GOOD, STEADY_CODE, STRUCK_CODE, World
from benchmarks.soak.gateways.processes import Backend, GatewayProcess, write_rules
from benchmarks.soak.gateways.records import compare

Say = Callable[[str], None]
#: Within this time after the last client left nothing may be left over, seconds.
_SETTLE_SECONDS = 15.0


@attrs.frozen
class Plan:
    """
    One run. Times: seconds.

    :ivar clients: number of good clients.
    :ivar bad: number of clients that misbehave.
    :ivar seconds: duration of the faults.
    :ivar pause: pause between two messages of a client.
    :ivar strikes: are back ends struck?
    :ivar stopped: how long a back end is stopped.
    :ivar stuck: how long the gateway lets a client read nothing, and a back end begin
        no answer.
    :ivar growth: how much the gateway's memory may grow, bytes.
    """

    clients: int = 1000
    bad: int = 90
    seconds: float = 120.0
    pause: float = 2.0
    strikes: bool = True
    stopped: float = 25.0
    stuck: float = 5.0
    growth: float = 96e6
    seed: int = 1


@attrs.frozen
class Verdict:
    """
    The results of a run.

    :ivar wrong: what went wrong; empty if nothing did.
    :ivar sessions: number of clients' sessions.
    :ivar messages: number of messages that came back unchanged.
    :ivar p50: and p99, of answers of back ends that are not struck, ms.
    :ivar grown: growth of the gateway's memory after all had connected, bytes.
    :ivar ends: sessions, by how they ended for their clients.
    :ivar outcomes: sessions, by their outcome in the access log.
    :ivar sent_away: bad clients whose connection the gateway ended, by kind.
    """

    wrong: tuple[str, ...]
    sessions: int
    messages: int
    p50: float
    p99: float
    grown: int
    ends: dict[str, int]
    outcomes: dict[str, int]
    sent_away: dict[str, int]

    def __str__(self) -> str:
        good = "FAILED: " + "; ".join(self.wrong) if self.wrong else "all is well"
        return (
            f"{self.sessions} sessions, {self.messages} messages, "
            f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms; "
            f"memory {self.grown / 1e6:+.1f} MB; ends {self.ends}, "
            f"outcomes {self.outcomes}, sent away {self.sent_away}: {good}"
        )


def rules(steady: list[Backend], struck: list[Backend]) -> dict[str, Any]:
    """Write the rules: two services of each kind, as far as there can be two."""
    made: dict[str, Any] = {}
    for name, backends, code in (
        ("steady", steady, STEADY_CODE),
        ("struck", struck, STRUCK_CODE),
    ):
        rule = {
            "strategy": "round_robin",
            "endpoints": [one.endpoint for one in backends],
        }
        made[f"http_{name}"] = {**rule, "path": f"/{name}", "check": "/health"}
        made[f"ws_{name}"] = {**rule, "path": f"/ws-{name}", "check": "/health"}
        made[f"packets_{name}"] = {**rule, "transport": "packets", "code": code}
    made["lobby"] = dict(rule)
    made["other"] = {**rule, "endpoints": [one.endpoint for one in steady]}
    return made


class Run:
    """One gateway, its back ends, and its clients."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        """:param folder: an empty folder for files."""
        self._plan, self._say = plan, say
        self._random = random.Random(plan.seed)
        self._wrong: list[str] = []
        self._sent_away: Counter[str] = Counter()
        self._folder = folder
        self._steady: list[Backend] = []
        self._struck: list[Backend] = []
        self._peak = 0

    def verdict(self) -> Verdict:
        """Run the plan; returns the verdict."""
        plan, folder = self._plan, self._folder
        try:
            self._steady = [Backend(f"steady{number}") for number in range(2)]
            self._struck = [Backend(f"struck{number}") for number in range(2)]
            write_rules(folder / "routes.toml", rules(self._steady, self._struck))
            self._gateway = GatewayProcess(
                folder,
                f"--routes={folder / 'routes.toml'}",
                "--other-service=other",
                f"--http-answer-seconds={plan.stuck}",
                "--check-seconds=1",
                "--drain-lag=0",
                stuck=plan.stuck,
            )
            try:
                return asyncio.run(self._run())
            finally:
                self._gateway.kill()
        finally:
            for one in (*self._steady, *self._struck):
                one.kill()

    async def _run(self) -> Verdict:
        plan = self._plan
        world = World(self._gateway.port, plan.pause, self._random)
        tasks = [
            asyncio.ensure_future(GOOD[number % len(GOOD)](world).run())
            for number in range(plan.clients)
        ]
        await asyncio.sleep(min(3.0, plan.seconds / 4))
        before = private_memory(self._gateway.pid)
        watch = asyncio.ensure_future(self._watch())
        tasks += [
            asyncio.ensure_future(
                misbehave(world, BAD[number % len(BAD)], self._was_sent_away)
            )
            for number in range(plan.bad)
        ]
        world.is_counting = True
        async with asyncio.timeout(plan.seconds + 120.0):
            if plan.strikes:
                await self._strike()
            else:
                await asyncio.sleep(plan.seconds)
            world.is_counting = False
            world.is_over.set()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, BaseException):
                    self._wrong.append(f"a client failed: {result!r}")
        watch.cancel()
        await self._settle()
        grown = self._peak - before
        if grown > plan.growth:
            self._wrong.append(f"memory grew by {grown / 1e6:.0f} MB")
        lines = self._gateway.accesses()
        self._wrong += compare(world.records, lines)
        if "Traceback" in self._gateway.log:
            self._wrong.append("a traceback is in the gateway's log")
        if self._gateway.has_ended:
            self._wrong.append("the gateway has ended")
        waits = sorted(world.waits) or [0.0]
        return Verdict(
            wrong=tuple(self._wrong),
            sessions=len(world.records),
            messages=world.messages,
            p50=1000 * waits[len(waits) // 2],
            p99=1000 * waits[int(0.99 * (len(waits) - 1))],
            grown=grown,
            ends=dict(
                Counter(
                    f"{one.kind} {one.end} {one.why}".strip()
                    for one in world.records
                    if one.is_good
                )
            ),
            outcomes=dict(Counter(line["outcome"] for line in lines)),
            sent_away=dict(self._sent_away),
        )

    def _was_sent_away(self, how: str) -> None:
        self._sent_away[how] += 1

    async def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, private_memory(self._gateway.pid))
            await asyncio.sleep(0.25)

    # Trouble.

    async def _strike(self) -> None:
        """Strike back ends, in each way at least once, until the time is over."""
        plan = self._plan
        until = time.monotonic() + plan.seconds
        ways: list[Callable[[Backend], Coroutine[Any, Any, None]]] = [
            self._kill,
            self._stop,
            self._slow,
            self._stop_and_kill,
        ]
        number = 0
        while number < len(ways) or time.monotonic() < until:
            victim = self._struck[number % 2]
            way = ways[number % len(ways)]
            self._say(f"{way.__name__.strip('_')} {victim.name}")
            await way(victim)
            number += 1
            await asyncio.sleep(min(2.0, plan.seconds / 12))

    async def _kill(self, victim: Backend) -> None:
        victim.kill()
        await asyncio.sleep(min(3.0, self._plan.seconds / 12))
        await self._begin(victim)

    async def _stop(self, victim: Backend) -> None:
        victim.stop()
        await asyncio.sleep(self._plan.stopped)
        victim.go_on()

    async def _slow(self, victim: Backend) -> None:
        victim.order("slow 0.7")
        await asyncio.sleep(min(10.0, self._plan.seconds / 8))
        victim.order("well")

    async def _stop_and_kill(self, victim: Backend) -> None:
        victim.stop()
        await asyncio.sleep(min(3.0, self._plan.seconds / 12))
        await self._kill(victim)

    async def _begin(self, victim: Backend) -> None:
        victim.begin()
        await asyncio.to_thread(victim.wait)

    async def _settle(self) -> None:
        """Check that nothing is left when all clients are gone."""
        give_up = time.monotonic() + _SETTLE_SECONDS
        while True:
            status = await asyncio.to_thread(self._gateway.status)
            left = status["connections"], sum(status["sessions"].values())
            if not any(left):
                break
            if time.monotonic() > give_up:
                self._wrong.append(
                    f"{left[0]} connections and {left[1]} sessions are left over"
                )
                return
            await asyncio.sleep(0.1)
        ended = sum(status["ended"].values())
        lines = len(self._gateway.accesses())
        if lines != ended:
            self._wrong.append(f"{lines} lines in the access log of {ended} sessions")


def soak(plan: Plan, say: Say) -> Verdict:
    """
    Run a plan on its own gateway and back ends.

    :raises Failed: one of them does not start.
    """
    with tempfile.TemporaryDirectory(prefix="vinom-gateway-") as folder:
        return Run(plan, Path(folder), say).verdict()
