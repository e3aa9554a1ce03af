"""
Agones on the tests' API server: fleets, allocations, and an SDK beside each process.

It runs a pod for each game server, on the tests' kubelet, so the real program.
"""

from __future__ import annotations

from random import shuffle
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import LoopingCall

from tests.support.agones.kinds import (
    ALLOCATION_SCHEMA,
    FLEET_SCHEMA,
    GAME_SERVER_SCHEMA,
)
from tests.support.agones.sdk import SdkServer
from tests.support.kubernetes_api.kubelet import Kubelet
from tests.support.kubernetes_api.objects import (
    Change,
    Failed,
    Kind,
    by_labels,
    merged,
    now_text,
)
from tests.support.kubernetes_api.server import PODS, ApiServer
from vinom.commands.child_node import free_port_range

GAME_SERVERS = Kind("agones.dev", "v1", "gameservers", "GameServer", GAME_SERVER_SCHEMA)
FLEETS = Kind("agones.dev", "v1", "fleets", "Fleet", FLEET_SCHEMA)

#: How long the SDK waits for the first sign of life, and how often it looks, seconds.
_LOOK_SECONDS = 0.5


class Agones:
    """
    Its controllers and its allocator.

    :ivar sdks: by name of the game server.
    :ivar contends: how many of the next allocations meet with contention.
    """

    def __init__(self, server: ApiServer, kubelet: Kubelet, reactor: Any) -> None:
        self._server, self._kubelet, self._reactor = server, kubelet, reactor
        self._objects = server.objects
        self.sdks: dict[str, SdkServer] = {}
        self.contends = 0
        self._is_stopped = False
        for kind in (GAME_SERVERS, FLEETS):
            self._objects.add_kind(kind)
        self._objects.add_kind(
            Kind(
                "allocation.agones.dev",
                "v1",
                "gameserverallocations",
                "GameServerAllocation",
                ALLOCATION_SCHEMA,
                create=self._allocate,
            )
        )
        self._objects.watchers.append(self._changed)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._looking.start(_LOOK_SECONDS, now=False)

    async def stop(self) -> None:
        """Kill every process, and do nothing any more."""
        self._is_stopped = True
        self._looking.stop()
        await self._kubelet.stop()
        for sdk in tuple(self.sdks.values()):
            await maybeDeferred(sdk.stop)

    def create_fleet(
        self, name: str, ready: int, image: str = "vinom-gameserver", **pod: Any
    ) -> None:
        """
        Create a Fleet that always has so many Ready, as an autoscaler with a buffer.

        :param pod: more of the container.
        """
        ports = [
            {"name": name, "portPolicy": "Dynamic", "containerPort": at}
            for name, at in (("game", 46000), ("spare", 46001))
        ]
        self._objects.create(
            FLEETS,
            "games",
            {
                "apiVersion": "agones.dev/v1",
                "kind": "Fleet",
                "metadata": {"name": name},
                "spec": {
                    "replicas": ready,
                    "scheduling": "Packed",
                    "template": {
                        "spec": {
                            "ports": [{**one, "protocol": "UDP"} for one in ports],
                            # None is to be taken for dead beside other tests.
                            "health": {"periodSeconds": 2, "failureThreshold": 30},
                            "counters": {"rooms": {"count": 0, "capacity": 10}},
                            "template": {
                                "spec": {
                                    "containers": [
                                        {"name": "game", "image": image, **pod}
                                    ],
                                    "terminationGracePeriodSeconds": 10,
                                }
                            },
                        }
                    },
                },
            },
        )

    def list(self, state: str = "") -> Any:
        """List the game servers, in a state or in all."""
        return self._objects.list(
            GAME_SERVERS,
            selected=lambda one: state in ("", one["status"]["state"]),
        )

    def change(self, name: str, **what: Any) -> None:
        """Change a game server; nothing if it is gone."""
        try:
            value = self._objects.get(GAME_SERVERS, "games", name)
        except Failed:
            return
        self._objects.replace(GAME_SERVERS, merged(value, what), checks_version=False)

    # Its controllers.

    def _changed(self, change: Change) -> None:
        # After whoever has made the change is through.
        self._reactor.callLater(0, self._act, change)

    def _act(self, change: Change) -> None:
        if self._is_stopped:
            return
        if change.kind is GAME_SERVERS:
            self._game_server_changed(change)
        elif change.kind is PODS and change.value["metadata"]["name"] in self.sdks:
            self._pod_changed(change)
        if change.kind in (FLEETS, GAME_SERVERS):
            self._fill()

    def _fill(self) -> None:
        """Source: reference/fleetautoscaler, the policy Buffer."""
        for fleet in self._objects.list(FLEETS):
            name = fleet["metadata"]["name"]
            waiting = [
                one
                for one in self.list()
                if one["metadata"]["labels"]["agones.dev/fleet"] == name
                and one["status"]["state"] in ("Scheduled", "RequestReady", "Ready")
                and not one["metadata"].get("deletionTimestamp")
            ]
            for _ in range(fleet["spec"]["replicas"] - len(waiting)):
                self._create(name, fleet["spec"]["template"])

    def _create(self, fleet: str, template: dict[str, Any]) -> None:
        """
        Make a game server and its pod, which has its name.

        A port with the policy Dynamic gets a port of the machine (source:
        reference/gameserver). The SDK's port is in the environment of its container
        (source: guides/client-sdks/#connecting-to-the-sdk-server).
        """
        first, _ = free_port_range(len(template["spec"]["ports"]))
        ports = [
            {**one, "hostPort": first + number}
            for number, one in enumerate(template["spec"]["ports"])
        ]
        made = self._objects.create(
            GAME_SERVERS,
            "games",
            {
                "apiVersion": "agones.dev/v1",
                "kind": "GameServer",
                "metadata": {
                    "generateName": f"{fleet}-",
                    "labels": {"agones.dev/fleet": fleet},
                    "annotations": {},
                    "finalizers": ["agones.dev/controller"],
                },
                "spec": {**template["spec"], "ports": ports},
                "status": {
                    "state": "Scheduled",
                    "counters": template["spec"].get("counters", {}),
                },
            },
        )
        name = made["metadata"]["name"]
        sdk = self.sdks[name] = SdkServer(self._reactor, self, name)
        sdk.changed(made)
        spec = template["spec"]["template"]["spec"]
        container = dict(spec["containers"][0])
        container["env"] = [
            *container.get("env", ()),
            {"name": "AGONES_SDK_HTTP_PORT", "value": str(sdk.port)},
        ]
        container["ports"] = [
            {
                "containerPort": one["containerPort"],
                "hostPort": one["hostPort"],
                "protocol": "UDP",
            }
            for one in ports
        ]
        self._objects.create(
            PODS,
            "games",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "labels": {"agones.dev/gameserver": name},
                },
                "spec": {**spec, "restartPolicy": "Never", "containers": [container]},
            },
        )

    def _game_server_changed(self, change: Change) -> None:
        meta, state = change.value["metadata"], change.value["status"]["state"]
        name = meta["name"]
        if change.type == "DELETED":
            return
        if name in self.sdks:
            self.sdks[name].changed(self._objects.get(GAME_SERVERS, "games", name))
        if meta.get("deletionTimestamp"):
            self._end_pod(name)
        elif state in ("Shutdown", "Unhealthy", "Error"):
            # Source: guides/client-sdks/#shutdown and guides/health-checking.
            self._server.delete(GAME_SERVERS, "games", name, {}, None)

    def _end_pod(self, name: str) -> None:
        try:
            self._server.delete(PODS, "games", name, {}, None)
        except Failed:
            self._remove(name)

    def _remove(self, name: str) -> None:
        """Its pod is gone: nothing holds it any more."""
        sdk = self.sdks.pop(name, None)
        if sdk is not None:
            sdk.stop()
        try:
            value = self._objects.get(GAME_SERVERS, "games", name)
        except Failed:
            return
        self._objects.remove(GAME_SERVERS, value)

    def _pod_changed(self, change: Change) -> None:
        pod, name = change.value, change.value["metadata"]["name"]
        if change.type == "DELETED":
            self._remove(name)
        elif pod["status"]["phase"] in ("Succeeded", "Failed"):
            # A container that ends is not healthy (source: guides/health-checking).
            self._worsen(name)
        elif pod["status"].get("podIP"):
            value = self._objects.get(GAME_SERVERS, "games", name)
            host = pod["status"]["hostIP"]
            self.change(
                name,
                status={
                    "address": host,
                    "addresses": [
                        {"type": "InternalIP", "address": host},
                        {"type": "ExternalIP", "address": host},
                        {"type": "PodIP", "address": pod["status"]["podIP"]},
                    ],
                    "nodeName": pod["spec"]["nodeName"],
                    "ports": [
                        {"name": one["name"], "port": one["hostPort"]}
                        for one in value["spec"]["ports"]
                    ],
                },
            )

    def _worsen(self, name: str) -> None:
        value = self._objects.get(GAME_SERVERS, "games", name)
        if value["status"]["state"] not in ("Shutdown", "Unhealthy"):
            self.change(name, status={"state": "Unhealthy"})

    def _look(self) -> None:
        """
        End those that say nothing any more.

        Source: guides/health-checking: no Health within periodSeconds is a failure, and
        after failureThreshold of them it is Unhealthy.
        """
        for value in self.list():
            health = value["spec"]["health"]
            most = health["periodSeconds"] * health["failureThreshold"]
            name = value["metadata"]["name"]
            sdk = self.sdks.get(name)
            if (
                sdk is not None
                and sdk.alive_at is not None
                and self._reactor.seconds() > sdk.alive_at + most
            ):
                self._worsen(name)

    # Its allocator.

    def _allocate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """
        Take one that is Ready, and write on it what the allocation says.

        Source: reference/gameserverallocation.
        """
        spec = asked["spec"]
        status: dict[str, Any] = {"state": "UnAllocated"}
        if self.contends:
            self.contends -= 1
            status = {"state": "Contention"}
        elif (chosen := self._choose(spec)) is not None:
            counters = dict(chosen["status"].get("counters", {}))
            for name, one in spec.get("counters", {}).items():
                by = one.get("amount", 0) * (1 if one["action"] == "Increment" else -1)
                counters[name] = {
                    **counters[name],
                    "count": counters[name]["count"] + by,
                }
            patch = spec.get("metadata", {})
            stamp = {"agones.dev/last-allocated": now_text()}
            self.change(
                chosen["metadata"]["name"],
                metadata={
                    "labels": patch.get("labels", {}),
                    "annotations": {**patch.get("annotations", {}), **stamp},
                },
                status={"state": "Allocated", "counters": counters},
            )
            taken = self._objects.get(GAME_SERVERS, "games", chosen["metadata"]["name"])
            status = {
                "state": "Allocated",
                "gameServerName": taken["metadata"]["name"],
                "source": "local",
                "metadata": {
                    "labels": taken["metadata"]["labels"],
                    "annotations": taken["metadata"]["annotations"],
                },
                **{
                    key: taken["status"][key]
                    for key in ("ports", "address", "addresses", "nodeName", "counters")
                },
            }
        return {**asked, "metadata": {}, "status": status}

    def _choose(self, spec: dict[str, Any]) -> Any:
        for selector in spec.get("selectors") or [{}]:
            found = [
                one
                for one in self.list(selector.get("gameServerState", "Ready"))
                if not one["metadata"].get("deletionTimestamp")
                and _selects(selector, one)
            ]
            if spec.get("scheduling") == "Distributed":
                shuffle(found)
            if found:
                return found[0]
        return None


def _selects(selector: dict[str, Any], value: dict[str, Any]) -> bool:
    labels = value["metadata"].get("labels", {})
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", ()):
        values = f" ({','.join(one.get('values', ()))})"
        text = {
            "In": f"{one['key']} in{values}",
            "NotIn": f"{one['key']} notin{values}",
            "Exists": one["key"],
            "DoesNotExist": f"!{one['key']}",
        }[one["operator"]]
        if not by_labels(text)(value):
            return False
    for name, bounds in selector.get("counters", {}).items():
        counter = value["status"].get("counters", {}).get(name)
        if counter is None:
            return False
        available = counter["capacity"] - counter["count"]
        if available < bounds.get("minAvailable", 0):
            return False
    return True
