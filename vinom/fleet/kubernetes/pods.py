"""Game servers as pods of this node: how they are made, reached and ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.base.model import ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.kubernetes.api import KubernetesApi
from vinom.fleet.kubernetes.objects import (
    GAME_SERVER,
    OWNER,
    ROLE,
    Object,
    is_ended,
    lacks_port,
    name_of,
)
from vinom.fleet.kubernetes.template import PodTemplate

#: How long a Service may take to get the address of a load balancer, seconds.
_BALANCER_SECONDS = 120.0


class Pods:
    """
    How the pods of a node are made and reached.

    :ivar owner: name of this node, as a label's value.
    :ivar grace_seconds: how long one may take to end.
    :ivar selector: label selector of all pods of this node.
    :ivar others: label selector of the pods of all other nodes.
    :ivar is_by_token: do they prove who they are by tokens, and not by secrets?
    :ivar has_port_first: does each have a port of the ring from its start?
    :ivar has_ring_ports: do players reach it at that port? Otherwise only the number
        of ports counts, as a limit.
    """

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

    def lacks_port(self, value: Object) -> bool:
        """Can no machine run it, because its host port is in use there?"""
        return self.has_port_first and lacks_port(value)

    # Making.

    def make(
        self, name: str, server_id: str, secret: str, port: int
    ) -> Deferred[Object]:
        """
        Create the pod.

        :param name: not used before.
        :param secret: proves who it is, once.
        :param port: the port of the ring, if it has one from its start.
        """
        return self._api.create_pod(self._template.pod(name, server_id, secret, port))

    def complete(self, made: Object, server_id: str) -> Deferred[Object] | None:
        """Create its Service; ``None`` if it needs none."""
        reach = self._template.reach
        if reach not in ("node_port", "load_balancer") or is_ended(made):
            return None
        return self._api.create_service(
            self._template.service(name_of(made), server_id, made)
        )

    # Reaching.

    def inside(self, value: Object, port: int, failures: int) -> tuple[str, int] | None:
        """
        Choose the address and port that its process binds.

        :param port: port of the ring.
        :param failures: how many ports it could not bind.
        :returns: ``None`` if there is no other.
        """
        table = self._template.table
        if failures and self.has_port_first:
            # Its port is part of its spec.
            return None
        return value["status"]["podIP"], (
            port if self._template.reach == "host_network" else table.port
        )

    async def outside(self, value: Object, port: int, failures: int) -> ServerAddress:
        """
        Find where players reach it.

        :raises ApiError: the API server does not say.
        :raises NoCapacity: it has no such address.
        """
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
