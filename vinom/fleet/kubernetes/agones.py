"""
Game servers of Agones: allocated, not made; who keeps them ready is Agones.

Agones runs the pods. An allocation takes one that is Ready, and writes on it which node
has it; the game server reads that from its SDK, and dials the node.

Sources: https://agones.dev/site/docs/reference/gameserverallocation/ and
https://agones.dev/site/docs/reference/gameserver/.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.defer import Deferred, succeed

from vinom.errors import NoCapacity
from vinom.fleet.kubernetes.allocation import ALLOCATION, AllocationTemplate
from vinom.fleet.kubernetes.api import ApiError, KubernetesApi
from vinom.fleet.kubernetes.objects import (
    OWNER,
    Object,
    label_of,
    name_of,
)
from vinom.fleet.kubernetes.pods import address_of
from vinom.model import Exit, ServerAddress

# States in which Agones ends a game server, though its process may run.
_FAILING = ("Error", "Unhealthy")


class AgonesServers:
    """
    Implements `vinom.fleet.kubernetes.kind.ServerKind` with Agones' GameServers.

    :ivar has_leases: Agones itself ends a game server that says nothing, and one that
        has lost its node ends by itself.
    """

    has_leases = False
    is_by_token = has_port_first = has_ring_ports = False

    def __init__(
        self,
        api: KubernetesApi,
        template: AllocationTemplate,
        relayed: ServerAddress | None = None,
    ) -> None:
        """
        :param api: the cluster's.
        :param template: of allocations.
        :param relayed: where players of all game servers connect, if they reach none.
        """
        self._api, self._template, self._relayed = api, template, relayed
        self.owner = template.owner
        self.grace_seconds = template.table.grace_seconds
        self.selector = f"{ALLOCATION},{OWNER}={template.owner}"

    # What the API server reports.

    def key_of(self, value: Object) -> str:
        """What the allocation has written on it: its name is Agones' choice."""
        return label_of(value, ALLOCATION)

    def is_running(self, value: Object) -> bool:
        """Is it allocated, with an address?"""
        status = value.get("status") or {}
        return status.get("state") == "Allocated" and bool(status.get("address"))

    def is_ended(self, value: Object) -> bool:
        """Agones removes it when its pod is gone, and not before."""
        return False

    def is_failing(self, value: Object) -> bool:
        """
        Must it be killed? Its process has ended, or says nothing.

        Source: https://agones.dev/site/docs/guides/health-checking/.
        """
        return (value.get("status") or {}).get("state") in _FAILING

    def exit_of(self, value: Object) -> Exit:
        """How its process ended is not in it."""
        return Exit(None)

    def problem_of(self, value: Object) -> str:
        """One that was Ready has started."""
        return ""

    # Allocating.

    def make(
        self, key: str, server_id: str, secret: str, port: int, is_again: bool
    ) -> Deferred[Object]:
        """
        Allocate one.

        :param is_again: the request before may have been carried out.
        """
        allocation = self._template.allocation(key, server_id, secret)
        return Deferred.fromCoroutine(self._make(key, allocation, is_again))

    async def _make(self, key: str, allocation: Object, is_again: bool) -> Object:
        if is_again:
            with suppress(ApiError):
                return await self.find(key)
        status = (await self._api.allocate(allocation)).get("status") or {}
        state = status.get("state")
        if state == "Allocated":
            return await self._api.find(str(status["gameServerName"]))
        if state == "Contention":
            raise ApiError(429, "Contention", "Agones has too many allocations at once")
        raise ApiError(
            429,
            "UnAllocated",
            "no game server of Agones is Ready that the allocation selects: raise the "
            "replicas of its Fleet, or the buffer of its FleetAutoscaler",
        )

    def find(self, key: str) -> Deferred[Object]:
        """Find one by what was written on it."""
        return self._api.find_all(f"{ALLOCATION}={key}").addCallback(_only)

    def complete(self, made: Object, server_id: str) -> None:
        """It needs nothing else."""

    def end(
        self, name: str, grace: int, preconditions: Object | None = None
    ) -> Deferred[Object]:
        """
        Delete it; Agones ends its pod, and then removes it.

        How long its pod may take is in the pod's template. One that is to be killed
        does not get that time: its pod has its name.
        """
        deleted = self._api.delete(name, grace, preconditions)
        if grace < self.grace_seconds:
            deleted.addCallback(lambda answer: self._kill(name, grace, answer))
        return deleted

    def _kill(self, name: str, grace: int, answer: Object) -> Deferred[Object]:
        killed = self._api.delete_pod(name, grace)
        killed.addErrback(lambda failure: failure.trap(ApiError))
        return killed.addCallback(lambda _: answer)

    # Reaching.

    def inside(self, value: Object, port: int, failures: int) -> tuple[str, int] | None:
        """Choose the address that its process binds: of its ports, in their order."""
        if self._relayed is not None:
            return "0.0.0.0", 0
        ports = _udp(value)
        if failures >= len(ports):
            return None
        addresses = value["status"].get("addresses") or ()
        pod = [one["address"] for one in addresses if one["type"] == "PodIP"]
        return pod[0] if pod else "0.0.0.0", ports[failures]["containerPort"]

    def outside(
        self, value: Object, port: int, failures: int
    ) -> Deferred[ServerAddress]:
        """
        Find where players reach it.

        :raises NoCapacity: its status does not say.
        """
        if self._relayed is not None:
            return succeed(self._relayed)
        name, status = _udp(value)[failures].get("name", ""), value["status"]
        found = [one["port"] for one in status["ports"] if one.get("name") == name]
        wanted = self._template.table.address
        host = wanted
        if wanted == "status":
            host = str(status["address"])
        elif wanted in ("external", "internal"):
            host = address_of(value, wanted)
        if not host or not found:
            raise NoCapacity(
                f"game server {name_of(value)} of Agones has no {wanted} address and "
                f"port {name!r}: set agones.address to another one"
            )
        return succeed(ServerAddress(host, found[0]))


def _only(found: list[Object]) -> Object:
    if not found:
        raise ApiError(404, "NotFound", "nothing was allocated")
    return found[0]


def _udp(value: Object) -> list[Object]:
    ports = (value.get("spec") or {}).get("ports") or ()
    return [one for one in ports if one.get("protocol", "UDP") == "UDP"]
