"""Game servers as pods of this node: how they are made, reached and ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.errors import NoCapacity
from vinom.fleet.kubernetes.api import KubernetesApi
from vinom.fleet.kubernetes.objects import (
    GAME_SERVER,
    OWNER,
    ROLE,
    Object,
    exit_of,
    is_ended,
    is_pending,
    is_running,
    lacks_port,
    name_of,
    problem_of,
)
from vinom.fleet.kubernetes.template import PodTemplate
from vinom.model import Exit, ServerAddress

#: How long a Service may take to get the address of a load balancer, seconds.
_BALANCER_SECONDS = 120.0


class Pods:
    """Implements `vinom.fleet.kubernetes.kind.ServerKind` with pods."""

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        template: PodTemplate,
        relayed: ServerAddress | None = None,
    ) -> None:
        """
        :param reactor: the clock.
        :param api: the cluster's.
        :param template: makes pods.
        :param relayed: where the players of all pods connect, if the node relays them.
        """
        self._relayed = relayed
        self._reactor, self._api, self._template = reactor, api, template
        self._machines: dict[str, str] = {}
        table = template.table
        self.owner, self.grace_seconds = template.owner, table.grace_seconds
        self.is_by_token = table.proof == "token"
        self.has_port_first = template.reach == "host_port"
        self.has_ring_ports = template.reach in ("host_network", "host_port")
        self.selector = f"{ROLE}={GAME_SERVER},{OWNER}={template.owner}"
        self.others = f"{ROLE}={GAME_SERVER},{OWNER}!={template.owner}"

    # What the API server reports.

    def key_of(self, value: Object) -> str:
        """Its name, which is used only once."""
        return name_of(value)

    def is_running(self, value: Object) -> bool:
        """Does it run, and has it an address?"""
        return is_running(value)

    def is_ended(self, value: Object) -> bool:
        """Have its processes ended permanently?"""
        return is_ended(value)

    def is_pending(self, value: Object) -> bool:
        """Has its process never started?"""
        return is_pending(value)

    def is_failing(self, value: Object) -> bool:
        """Never: a pod that fails has ended."""
        return False

    def exit_of(self, value: Object) -> Exit:
        """Read how it ended."""
        return exit_of(value)

    def problem_of(self, value: Object) -> str:
        """Find why it does not start."""
        return problem_of(value)

    def lacks_port(self, value: Object) -> bool:
        """Can no machine run it, because its host port is in use there?"""
        return self.has_port_first and lacks_port(value)

    # Making.

    def make(
        self, key: str, server_id: str, secret: str, port: int, is_again: bool
    ) -> Deferred[Object]:
        """Create the pod."""
        return self._api.create_pod(self._template.pod(key, server_id, secret, port))

    def find(self, key: str) -> Deferred[Object]:
        """Read it."""
        return self._api.find(key)

    def complete(self, made: Object, server_id: str) -> Deferred[Object] | None:
        """Create its Service; ``None`` if it needs none."""
        reach = self._template.reach
        if reach not in ("node_port", "load_balancer") or is_ended(made):
            return None
        return self._api.create_service(
            self._template.service(name_of(made), server_id, made)
        )

    def end(
        self, name: str, grace: int, preconditions: Object | None = None
    ) -> Deferred[Object]:
        """Delete it."""
        return self._api.delete(name, grace, preconditions)

    # Reaching.

    def inside(self, value: Object, port: int, failures: int) -> tuple[str, int] | None:
        """Choose the address that its process binds."""
        table = self._template.table
        if failures and self.has_port_first:
            # Its port is part of its spec.
            return None
        return value["status"]["podIP"], (
            port if self._template.reach == "host_network" else table.port
        )

    async def outside(self, value: Object, port: int, failures: int) -> ServerAddress:
        """Find where players reach it."""
        if self._relayed is not None:
            return self._relayed
        reach = self._template.reach
        if reach == "load_balancer":
            return await self._balancer(name_of(value))
        host = await self._machine(value)
        if reach == "node_port":
            service = await self._api.find_service(name_of(value))
            port = service["spec"]["ports"][0]["nodePort"]
        return ServerAddress(host, port)

    async def _balancer(self, name: str) -> ServerAddress:
        until = self._reactor.seconds() + _BALANCER_SECONDS
        while self._reactor.seconds() < until:
            service = await self._api.find_service(name)
            balancer = (service.get("status") or {}).get("loadBalancer") or {}
            for one in balancer.get("ingress") or ():
                host = one.get("ip") or one.get("hostname")
                if host:
                    return ServerAddress(str(host), service["spec"]["ports"][0]["port"])
            await deferLater(self._reactor, 0.5)
        raise NoCapacity(
            f"the load balancer of pod {name} got no address within "
            f"{_BALANCER_SECONDS:g} s"
        )

    async def _machine(self, value: Object) -> str:
        wanted = self._template.table.address
        if wanted == "host":
            return str(value["status"]["hostIP"])
        if wanted not in ("external", "internal"):
            return wanted
        name = str(value["spec"]["nodeName"])
        if name not in self._machines:
            machine = await self._api.find_machine(name)
            found = address_of(machine, wanted)
            if not found:
                raise NoCapacity(
                    f"machine {name} has no {wanted} address: set pods.address to "
                    "another kind of address"
                )
            self._machines[name] = found
        return self._machines[name]


def address_of(machine: Object, wanted: str) -> str:
    """
    Find an address in a status; empty if there is none.

    :param wanted: "external" or "internal".
    """
    kind = {"external": "ExternalIP", "internal": "InternalIP"}[wanted]
    for one in (machine.get("status") or {}).get("addresses") or ():
        if one["type"] == kind:
            return str(one["address"])
    return ""
