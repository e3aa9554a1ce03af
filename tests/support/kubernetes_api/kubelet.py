"""
A node of the cluster: schedules pods, and runs a child process for each container.

There is no container here: a pod's process shares files and network with us. An image
is a command that stands for its entry point. Paths in the environment that lie under a
mounted volume are rewritten to where the volume is.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import randrange
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.support.child_gateways import TWISTD
from tests.support.kubernetes_api.objects import Change, merged, now_text
from tests.support.kubernetes_api.proxy import Forward
from tests.support.kubernetes_api.server import NODES, PODS, ApiServer

#: Stands for an image's entry point: the program as an operator starts it.
GAME_SERVER = (*TWISTD, "vinom-gameserver")


@attrs.define(eq=False)
class Running:
    """
    The process of one pod.

    :ivar output: what it has printed.
    :ivar ended: fires when it has ended.
    """

    uid: str
    name: str
    namespace: str
    process: Any = None
    output: str = ""
    has_ended: bool = False
    killing: Any = None
    folder: Path | None = None
    forwards: list[Forward] = attrs.field(factory=list)
    ip: str = ""
    ended: Deferred[None] = attrs.field(factory=Deferred)


class Kubelet:
    """
    Schedules and runs the pods of a cluster.

    :ivar images: by name of the image: its entry point.
    :ivar is_full: no pod fits on the machine any more.
    :ivar is_stuck: pods are scheduled, and do not start.
    :ivar is_lost: the machine does not answer; its pods run on.
    :ivar running: by uid of the pod.
    """

    def __init__(
        self,
        server: ApiServer,
        reactor: Any,
        images: Mapping[str, Sequence[str]] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._server, self._reactor, self._host = server, reactor, host
        self.images = dict(images or {"vinom-gameserver": GAME_SERVER})
        self.is_full = self.is_stuck = self.is_lost = False
        self.running: dict[str, Running] = {}
        self._addresses = 1
        # Of its own for each of several test processes.
        self._network = f"127.{randrange(64, 250)}.{randrange(1, 250)}"
        server.objects.watchers.append(self._changed)
        server.end_pod = self._end
        server.objects.create(
            NODES,
            "",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "worker-1"},
                "status": {
                    "addresses": [
                        {"type": "InternalIP", "address": host},
                        {"type": "ExternalIP", "address": host},
                    ]
                },
            },
        )

    async def stop(self) -> None:
        """Kill every process that was started here."""
        self._server.end_pod, self.is_stuck, self.is_full = None, True, True
        for one in tuple(self.running.values()):
            self._signal(one, signal.SIGKILL)
            await one.ended

    def kill(self, name: str) -> None:
        """Kill the process of a pod from outside, as the kernel would."""
        self._signal(self.named(name), signal.SIGKILL)

    def named(self, name: str) -> Running:
        """Find the process of a pod by the pod's name."""
        return next(one for one in self.running.values() if one.name == name)

    # Pods.

    def _changed(self, change: Change) -> None:
        if change.kind is PODS and change.type == "ADDED":
            uid = change.value["metadata"]["uid"]
            self._reactor.callLater(0, self._schedule, uid)

    def retry(self) -> None:
        """Look again at all pods that could not be scheduled or started."""
        for pod in self._server.objects.list(PODS):
            if pod["status"]["phase"] == "Pending":
                self._schedule(pod["metadata"]["uid"])

    def _pod(self, uid: str) -> Any:
        for pod in self._server.objects.list(PODS):
            if pod["metadata"]["uid"] == uid:
                return pod
        return None

    def _update(self, uid: str, **what: Any) -> Any:
        pod = self._pod(uid)
        if pod is None:
            return None
        return self._server.objects.replace(
            PODS, merged(pod, what), checks_version=False
        )

    def _schedule(self, uid: str) -> None:
        """
        Find a machine for a pod.

        One that fits nowhere stays Pending, with the condition PodScheduled False and
        the reason Unschedulable (source: concepts/workloads/pods/pod-lifecycle/
        #pod-conditions; concepts/scheduling-eviction/kube-scheduler/).
        """
        pod = self._pod(uid)
        if pod is None or uid in self.running:
            return
        message = "1 Insufficient cpu" if self.is_full else ""
        if self._is_taken(pod):
            message = "1 node(s) didn't have free ports for the requested pod ports"
        if message:
            message = f"0/1 nodes are available: {message}."
            condition = _condition("PodScheduled", False, "Unschedulable", message)
            self._update(uid, status={"conditions": [condition]})
            return
        self._update(
            uid,
            spec={"nodeName": "worker-1"},
            status={"conditions": [_condition("PodScheduled", True)]},
        )
        if not self.is_stuck:
            self._reactor.callLater(0, self._start, uid)

    def _is_taken(self, pod: dict[str, Any]) -> bool:
        """Has another pod of the machine one of its host ports?"""
        others = [
            one
            for one in self._server.objects.list(PODS)
            if one["spec"].get("nodeName")
            and one["status"]["phase"] not in ("Succeeded", "Failed")
        ]
        return any(_host_ports(pod) & _host_ports(one) for one in others)

    def _start(self, uid: str) -> None:
        """
        Pull the image and start the container.

        An image that is not there leaves the container waiting, with the reason
        ErrImagePull and then ImagePullBackOff (source: concepts/containers/images/
        #imagepullbackoff).
        """
        pod = self._pod(uid)
        if pod is None or uid in self.running or self.is_stuck:
            return
        container = pod["spec"]["containers"][0]
        entry = self.images.get(container["image"])
        if entry is None:
            for reason in ("ErrImagePull", "ImagePullBackOff"):
                waiting = {
                    "reason": reason,
                    "message": f'Back-off pulling image "{container["image"]}": '
                    "not found",
                }
                self._update(
                    uid,
                    status={
                        "containerStatuses": [_container(container, waiting=waiting)]
                    },
                )
            return
        meta = pod["metadata"]
        one = Running(uid, meta["name"], meta["namespace"])
        self.running[uid] = one
        one.ip = self._address()
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                self._forward(one, port["hostPort"], port["containerPort"])
        command = [
            *(container.get("command") or entry),
            *(container.get("args") or ()),
        ]
        one.process = self._reactor.spawnProcess(
            _Container(self, one),
            command[0],
            command,
            self._environment(one, pod, container),
        )
        self._update(
            uid,
            status={
                "phase": "Running",
                "hostIP": self._host,
                "hostIPs": [{"ip": self._host}],
                "podIP": one.ip,
                "podIPs": [{"ip": one.ip}],
                "startTime": now_text(),
                "conditions": [
                    _condition("PodScheduled", True),
                    _condition("Ready", True),
                ],
                "containerStatuses": [
                    _container(container, running={"startedAt": now_text()})
                ],
            },
        )

    def _environment(
        self, one: Running, pod: dict[str, Any], container: dict[str, Any]
    ) -> dict[str, str]:
        """
        Make the environment: what the image has, and what the pod's spec sets.

        ``fieldRef`` reads the pod (source: concepts/workloads/pods/downward-api/).
        """
        kept = ("PATH", "LANG", "HOME", "COVERAGE_FILE")
        found = {key: os.environ[key] for key in kept if key in os.environ}
        # The code that an image would contain.
        found["PYTHONPATH"] = os.pathsep.join(
            os.path.abspath(path) for path in sys.path if path
        )
        mounts = self._volumes(one, pod, container)
        for variable in container.get("env") or ():
            value = variable.get("value", "")
            source = (variable.get("valueFrom") or {}).get("fieldRef")
            if source is not None:
                value = _field(pod, source["fieldPath"], one.ip, self._host)
            for path, folder in mounts.items():
                if value == path or value.startswith(f"{path}/"):
                    value = folder + value.removeprefix(path)
            found[variable["name"]] = value
        return found

    def _volumes(
        self, one: Running, pod: dict[str, Any], container: dict[str, Any]
    ) -> dict[str, str]:
        """
        Write the tokens of projected volumes.

        Source: tasks/configure-pod-container/configure-service-account/
        #launch-a-pod-using-service-account-token-projection.
        """
        mounts = {
            mount["name"]: mount["mountPath"]
            for mount in container.get("volumeMounts") or ()
        }
        found: dict[str, str] = {}
        for volume in pod["spec"].get("volumes") or ():
            if volume["name"] not in mounts:
                continue
            if one.folder is None:
                one.folder = Path(tempfile.mkdtemp(prefix="vinom-pod-"))
            folder = one.folder / volume["name"]
            folder.mkdir()
            found[mounts[volume["name"]]] = str(folder)
            for source in (volume.get("projected") or {}).get("sources") or ():
                asked = source.get("serviceAccountToken")
                if asked is not None:
                    token = f"pod-token-{uuid.uuid4()}"
                    self._server.pod_tokens[token] = (
                        one.name,
                        one.uid,
                        (asked.get("audience", "https://kubernetes.default.svc"),),
                    )
                    (folder / asked["path"]).write_text(token)
        return found

    # Networks.

    def _address(self) -> str:
        """
        Give a pod an address of its own.

        Source: concepts/workloads/pods/#pod-networking. Here it is one of the
        loopback's, which has 16 million.
        """
        self._addresses += 1
        return f"{self._network}.{self._addresses % 250 + 1}"

    def _forward(self, one: Running, port: int, to: int) -> None:
        forward = Forward(self._reactor, (one.ip, to))
        forward.open(self._host, port)
        one.forwards.append(forward)

    # Ends.

    def _signal(self, one: Running, number: signal.Signals) -> None:
        if one.process is not None and not one.has_ended:
            with suppress(ProcessExitedAlready):
                one.process.signalProcess(number.value)

    def _end(self, pod: dict[str, Any], grace: int) -> None:
        """
        End a pod: SIGTERM, and SIGKILL after its grace.

        Source: concepts/workloads/pods/pod-lifecycle/#pod-termination.
        """
        one = self.running.get(pod["metadata"]["uid"])
        if self.is_lost:
            return
        if one is None:
            self._reactor.callLater(0, self._remove, pod["metadata"]["uid"])
            return
        self._signal(one, signal.SIGTERM if grace else signal.SIGKILL)
        if one.killing is not None and one.killing.active():
            one.killing.cancel()
        one.killing = self._reactor.callLater(grace, self._signal, one, signal.SIGKILL)

    def exited(self, one: Running, reason: Failure) -> None:
        """
        Report how a process ended: Succeeded or Failed, and its exit code.

        A signal's is 128 and its number (source: concepts/workloads/pods/pod-lifecycle/
        #pod-phase and #container-state-terminated). A pod that was deleted is gone now.
        """
        error: Any = reason.value
        code = error.exitCode if error.signal is None else 128 + error.signal
        one.has_ended = True
        for forward in one.forwards:
            forward.close()
        del self.running[one.uid]
        if one.killing is not None and one.killing.active():
            one.killing.cancel()
        if one.folder is not None:
            shutil.rmtree(one.folder, ignore_errors=True)
        pod = self._pod(one.uid)
        if pod is not None:
            container = pod["spec"]["containers"][0]
            pod = self._update(
                one.uid,
                status={
                    "phase": "Succeeded" if code == 0 else "Failed",
                    "containerStatuses": [
                        _container(
                            container,
                            terminated={
                                "exitCode": code,
                                "reason": "Completed" if code == 0 else "Error",
                                "finishedAt": now_text(),
                            },
                        )
                    ],
                },
            )
            if pod["metadata"].get("deletionTimestamp"):
                self._remove(one.uid)
        one.ended.callback(None)

    def _remove(self, uid: str) -> None:
        pod = self._pod(uid)
        if pod is not None:
            self._server.objects.remove(PODS, pod)


class _Container(ProcessProtocol):
    def __init__(self, kubelet: Kubelet, one: Running) -> None:
        self._kubelet, self._one = kubelet, one

    def outReceived(self, data: bytes) -> None:
        self._one.output += data.decode("utf-8", "replace")

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self._kubelet.exited(self._one, reason)


def _host_ports(pod: dict[str, Any]) -> set[int]:
    ports = pod["spec"]["containers"][0].get("ports") or ()
    return {port.get("hostPort", 0) for port in ports} - {0}


def _condition(
    type: str, is_so: bool, reason: str = "", message: str = ""
) -> dict[str, Any]:
    more = {"reason": reason, "message": message} if reason else {}
    return {"type": type, "status": str(is_so), "lastTransitionTime": now_text()} | more


def _container(container: dict[str, Any], **state: Any) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _field(pod: dict[str, Any], path: str, ip: str, host: str) -> str:
    if path in ("status.podIP", "status.hostIP"):
        return ip if path == "status.podIP" else host
    found: Any = pod
    for name in path.split("."):
        found = found[name]
    return str(found)
