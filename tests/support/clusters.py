"""A fleet on a cluster of its own for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.kubernetes_api.kubelet import Kubelet
from tests.support.kubernetes_api.server import PODS, ApiServer
from vinom.fleet.kubernetes.api import KubernetesApi, find_cluster
from vinom.fleet.kubernetes.fleet import KubernetesFleet
from vinom.tools.commands.child_node import free_port_range


async def until(is_so: Callable[[], Any]) -> None:
    """Wait for something that will happen soon."""
    while not is_so():
        await deferLater(reactor, 0.01)


#: The role of nodes, as it is deployed.
ROLE_FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "node" / "role.yaml"


class OnCluster(TestCase):
    """A cluster, and fleets that may do there what the role allows."""

    async def setUp(self) -> None:
        self.fleets: list[KubernetesFleet] = []
        self.ports = free_port_range(3)
        self.server = ApiServer(reactor)
        await self.server.start()
        documents = yaml.safe_load_all(ROLE_FILE.read_text())
        self.server.access.rules = [
            rule for one in documents for rule in one.get("rules", ())
        ]
        self.kubelet = Kubelet(self.server, reactor)
        self.kubeconfig = Path(self.mktemp())
        self.server.write_kubeconfig(self.kubeconfig)

    async def tearDown(self) -> None:
        self.server.undisturb()
        for fleet in self.fleets:
            await fleet.close()
        await self.kubelet.stop()
        await self.server.stop()

    def api(self) -> KubernetesApi:
        cluster = find_cluster(str(self.kubeconfig), "", "")
        return KubernetesApi(reactor, cluster)

    async def until(self, is_so: Callable[[], bool]) -> None:
        await until(is_so)

    def is_running(self, fleet: KubernetesFleet, server_id: str) -> bool:
        name, _, _ = fleet.handle(server_id).partition(" ")
        return any(one.name == name for one in self.kubelet.running.values())

    def kill(self, fleet: KubernetesFleet, server_id: str) -> None:
        name, _, _ = fleet.handle(server_id).partition(" ")
        self.kubelet.kill(name)

    def stored(self, kind: Any = PODS) -> list[dict[str, Any]]:
        return self.server.objects.list(kind)
