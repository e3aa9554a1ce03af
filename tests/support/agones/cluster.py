"""A fleet on a cluster with Agones, of its own for each test."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from tests.support.agones.controller import Agones
from tests.support.clusters import OnCluster
from vinom.control.messages import CONTROL_PROTOCOL
from vinom.fleet.kubernetes.agones import AgonesServers
from vinom.fleet.kubernetes.allocation import AllocationTemplate, read_agones
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.fleet.port_ring import PortRing
from vinom.keys.authority import Authority

_OVERLAY = Path(__file__).parents[3] / "deploy/kubernetes/overlays/agones"

#: Speaks the SDK as a game server does, and is none: it starts in no time.
STAND_IN = (
    sys.executable,
    "-S",
    "-c",
    f"""
import http.client, os, signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(0))
port = int(os.environ["AGONES_SDK_HTTP_PORT"])
sdk = http.client.HTTPConnection("127.0.0.1", port)
def send(method, path, body="{{}}"):
    sdk.request(method, path, body, {{"content-type": "application/json"}})
    sdk.getresponse().read()
send("PUT", "/metadata/label", '{{"key":"vinom-control","value":"{CONTROL_PROTOCOL}"}}')
send("POST", "/ready")
while True:
    send("POST", "/health")
    time.sleep(1)
""",
)


class OnAgones(OnCluster):
    """A cluster with Agones for each test: one game server is Ready at a time."""

    # Real game servers start one after another, beside other tests.
    timeout = 120
    role_file = _OVERLAY / "role.yaml"
    has_agones = True

    async def setUp(self) -> None:
        await super().setUp()
        self.agones = Agones(self.server, self.kubelet, reactor)
        self.agones.create_fleet("green", 1)

    def make_fleet(self, owner: str = "node-1", **table: Any) -> KubernetesFleet:
        authority = Authority.open(Path(self.mktemp()), "game.vinom", time.time)
        environment = {
            # Nobody listens there: these game servers wait for their node.
            "VINOM_GAMESERVER_NODE": "127.0.0.1:9",
            "VINOM_GAMESERVER_AUTHORITY": authority.anchor.decode(),
        }
        api = self.api()
        read = read_agones({"fleet": "green", "grace_seconds": 5, **table})
        fleet = KubernetesFleet(
            reactor,
            api,
            AgonesServers(api, AllocationTemplate(read, owner, environment)),
            PortRing(*self.ports),
            time.monotonic,
            os.urandom,
            lease_seconds=75,
        )
        self.fleets.append(fleet)
        return fleet

    async def tearDown(self) -> None:
        self.server.undisturb()
        for fleet in self.fleets:
            await fleet.close()
        # Or it would start others for those that the cluster's end kills.
        await self.agones.stop()
        await super().tearDown()
