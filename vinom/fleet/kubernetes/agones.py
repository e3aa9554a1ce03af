"""
Game servers of Agones, which are allocated and not made: Agones keeps them ready.

Agones runs the pods. An allocation takes one that is Ready, and writes on it which node
has it; the game server reads this from its SDK, and dials the node.

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

# States in which Agones ends a game server, even if its process still runs.
_FAILING = ("Error", "Unhealthy")


class AgonesServers:
    """Implements `vinom.fleet.kubernetes.kind.ServerKind` with Agones' GameServers."""

    #: Agones deletes those that have ended.
    others = ""
    is_by_token = has_port_first = has_ring_ports = False

    def __init__(
        self,
        api: KubernetesApi,
        template: AllocationTemplate,
        relayed: ServerAddress | None = None,
    ) -> None:
        """
        :param api: the cluster's.
        :param template: makes allocations.
        :param relayed: where the players of all game servers connect, if the node
            relays them.
        """
        self._api, self._template, self._relayed = api, template, relayed
        self.owner = template.owner
        self.grace_seconds = template.table.grace_seconds
        self.selector = f"{ALLOCATION},{OWNER}={template.owner}"

    # What the API server reports.

    def key_of(self, value: Object) -> str:
        """The text that the allocation has written on it: Agones chooses its name."""
        return label_of(value, ALLOCATION)

    def is_running(self, value: Object) -> bool:
        """Is it allocated, with an address?"""
        status = value.get("status") or {}
        return status.get("state") == "Allocated" and bool(status.get("address"))

    def is_ended(self, value: Object) -> bool:
        """Never: Agones removes it only when its pod is gone."""
        return False

    def is_pending(self, value: Object) -> bool:
        """Never: one that was allocated has started."""
        return False

    def is_failing(self, value: Object) -> bool:
        """
        Must it be killed, because its process has ended or is silent?

        Source: https://agones.dev/site/docs/guides/health-checking/.
        """
        return (value.get("status") or {}).get("state") in _FAILING

    def exit_of(self, value: Object) -> Exit:
        """Unknown: its status does not have it."""
        return Exit(None)

    def problem_of(self, value: Object) -> str:
        """None: one that was Ready has started."""
        return ""

    def lacks_port(self, value: Object) -> bool:
        """Never: Agones chooses ports."""
        return False

    # Allocating.

    def make(
        self, key: str, server_id: str, secret: str, port: int, is_again: bool
    ) -> Deferred[Object]:
        """
        Allocate one.

        :param is_again: whether an earlier request may have been carried out.
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
            "no game server of Agones that the allocation selects is Ready: raise the "
            "replicas of its Fleet, or the buffer of its FleetAutoscaler",
        )

    def find(self, key: str) -> Deferred[Object]:
        """Find one by the text that was written on it."""
        return self._api.find_all(f"{ALLOCATION}={key}").addCallback(_only)

    def complete(self, made: Object, server_id: str) -> None:
        """It needs nothing else."""

    def end(
        self, name: str, grace: int, preconditions: Object | None = None
    ) -> Deferred[Object]:
        """
        Delete it; Agones ends its pod, and then removes it.

        The pod's template has the time that the pod gets for this. To kill it sooner,
        the pod, which has the same name, is deleted too.
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
        """Choose the address that its process binds: its ports, in their order."""
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
                f"game server {name_of(value)} of Agones has no {wanted} address with "
                f"port {name!r}: set agones.address to another kind of address"
            )
        return succeed(ServerAddress(host, found[0]))


def _only(found: list[Object]) -> Object:
    if not found:
        raise ApiError(404, "NotFound", "nothing was allocated")
    return found[0]


def _udp(value: Object) -> list[Object]:
    ports = (value.get("spec") or {}).get("ports") or ()
    return [one for one in ports if one.get("protocol", "UDP") == "UDP"]
