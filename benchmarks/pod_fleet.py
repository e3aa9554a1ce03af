"""
``python -m benchmarks.pod_fleet KUBECONFIG ROUNDS MATCHES``: allocate pods, as JSON.

The fleet of a node, with its own TLS port for game servers and Kubernetes' client, but
without the rest of a node.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tests.support.supply import RecordingWatch, match_plan, ticket
from vinom.base.limits.logged import BoundedLog, LogBounds
from vinom.fleet.control.link import ControlServer
from vinom.fleet.fleet import Fleet
from vinom.fleet.kubernetes.api import KubernetesApi, find_cluster
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.fleet.kubernetes.template import PodTemplate, read_pods
from vinom.fleet.life import ServerTimeouts
from vinom.fleet.match import RoomTimeouts
from vinom.fleet.policy import PoolPolicy
from vinom.fleet.pool import PoolMeans
from vinom.fleet.port_ring import PortRing
from vinom.fleet.server import FleetSettings, Program
from vinom.net.keys.authority import Authority
from vinom.node.links import NodeTls, listen_for_pods


async def _until(is_so: Any) -> None:
    while not is_so():
        await deferLater(reactor, 0.02)


async def _measure(kubeconfig: str, rounds: int, matches: int) -> dict[str, Any]:
    authority = Authority.open(Path(tempfile.mkdtemp()), "game.vinom", time.time)
    # The port must be known before the fleet is made, which passes it to pods.
    fleet: Fleet

    def arrived(ready: Any, link: Any) -> Any:
        return fleet.arrived(ready, link)

    async def prove(ready: Any) -> None:
        await supply.prove(ready.server_id, ready.secret)

    port = listen_for_pods(
        reactor,
        "tls:127.0.0.1:0",
        "127.0.0.1",
        NodeTls(authority, "bench"),
        ControlServer(
            reactor, arrived, lambda ready: Deferred.fromCoroutine(prove(ready))
        ),
        BoundedLog(Logger(), reactor, LogBounds()),
    )
    environment = {
        "VINOM_GAMESERVER_NODE": f"127.0.0.1:{port.getHost().port}",
        "VINOM_GAMESERVER_AUTHORITY": authority.anchor.decode(),
    }
    api = KubernetesApi(reactor, find_cluster(kubeconfig, "", ""))
    template = PodTemplate(read_pods({"image": "stand-in"}), "bench", environment)
    supply = KubernetesFleet(
        reactor,
        api,
        template,
        PortRing(20000, 20000 + 3 * matches),
        os.urandom,
        lease_seconds=45.0,
    )
    fleet = Fleet(
        PoolMeans(
            authority,
            reactor,
            time.monotonic,
            os.urandom,
            RoomTimeouts({"maze": 600.0}),
        ),
        Program(
            supply,
            FleetSettings(
                "game.vinom",
                PoolPolicy(warm=matches, most=3 * matches, starting=32),
                ServerTimeouts(start=120.0, bind=15.0, leave=45.0),
            ),
        ),
    )
    began_with = time.process_time()
    fleet.startService()
    waits: list[float] = []

    async def place(number: str) -> None:
        began = time.monotonic()
        plan = match_plan(number)
        await fleet.place(plan, [ticket(number, 0)], RecordingWatch())
        waits.append(time.monotonic() - began)

    for one in range(rounds):
        await _until(lambda: fleet.status().servers["warm"] >= matches)
        names = [f"{one}-{number}" for number in range(matches)]
        await gatherResults([Deferred.fromCoroutine(place(name)) for name in names])
        for name in names:
            fleet.close_room(name, "ended")
    await _until(
        lambda: fleet.status().servers["warm"] >= matches and not fleet.status().rooms
    )
    bound = fleet.status().ports_bound
    await fleet.stopService()
    await port.stopListening()
    waits.sort()
    pods = len(waits) + matches
    return {
        "p50": waits[len(waits) // 2] * 1000,
        "p99": waits[min(len(waits) - 1, int(0.99 * len(waits)))] * 1000,
        "most": waits[-1] * 1000,
        "allocations": len(waits),
        "addresses_bound": bound,
        "pods": pods,
        "fleet_ms": 1000 * (time.process_time() - began_with) / pods,
    }


def _main() -> None:
    kubeconfig, rounds, matches = sys.argv[1:]
    found: list[Any] = []

    def begin() -> None:
        measuring = Deferred.fromCoroutine(
            _measure(kubeconfig, int(rounds), int(matches))
        )
        measuring.addCallback(lambda result: print(json.dumps(result), flush=True))
        measuring.addErrback(found.append)
        measuring.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if found:
        sys.exit(found[0].getTraceback())


if __name__ == "__main__":
    _main()
