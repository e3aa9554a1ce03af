"""Read the objects of pods, as the API server sends them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vinom.base.model import Exit

#: Any object of Kubernetes, as its JSON.
Object = dict[str, Any]

#: Our labels and annotations begin with this.
DOMAIN: Final = "vinom.dev"
#: The label that all our pods have, and its value.
ROLE: Final = "app.kubernetes.io/component"
GAME_SERVER: Final = "game-server"
#: Labels with the node that owns a pod, and with the game server's id.
OWNER: Final = f"{DOMAIN}/owner"
SERVER: Final = f"{DOMAIN}/server"
#: The label with the match that is played there; the newest, if there are several.
MATCH: Final = f"{DOMAIN}/match"

# Reasons for which a container waits and cannot start by itself.
# Source: https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff and
# pkg/kubelet/images/types.go, pkg/kubelet/kuberuntime/kuberuntime_container.go.
_STUCK = {
    "ErrImagePull": "the image cannot be pulled",
    "ImagePullBackOff": "the image cannot be pulled",
    "InvalidImageName": "the image's name is invalid",
    "ErrImageNeverPull": "the image is not on the machine, and may not be pulled",
    "RegistryUnavailable": "the image's registry cannot be reached",
    "CreateContainerConfigError": "the container's settings are wrong",
    "CreateContainerError": "the container cannot be created",
    "RunContainerError": "the container cannot be started",
    "CrashLoopBackOff": "the game server exits again and again",
}

_CHANGING = re.compile(r"vinom-[a-z0-9-]+|[0-9]+")


def name_of(pod: Object) -> str:
    """Return an object's name."""
    return str(pod["metadata"]["name"])


def uid_of(pod: Object | None) -> str:
    """Return what distinguishes it from others of its name; empty if it is unknown."""
    return "" if pod is None else str(pod["metadata"]["uid"])


def label_of(pod: Object, label: str) -> str:
    """Return one of its labels; empty if it has none."""
    return str((pod["metadata"].get("labels") or {}).get(label, ""))


def is_ended(pod: Object) -> bool:
    """Have its processes ended permanently?"""
    return _status(pod).get("phase") in ("Succeeded", "Failed")


def is_going(pod: Object) -> bool:
    """Has somebody asked it to end?"""
    return "deletionTimestamp" in pod["metadata"]


def is_pending(pod: Object) -> bool:
    """Has none of its processes started yet?"""
    return bool(_status(pod).get("phase", "Pending") == "Pending")


def is_running(pod: Object) -> bool:
    """Does it run, and has it an address?"""
    status = _status(pod)
    return status.get("phase") == "Running" and bool(status.get("podIP"))


def exit_of(pod: Object) -> Exit:
    """Read how it ended, as far as its status says."""
    for container in _status(pod).get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended is not None:
            code = int(ended.get("exitCode", 0))
            # This is how shells and container runtimes report a signal.
            if code > 128:
                return Exit(None, None, code - 128)
            return Exit(None, code)
    return Exit(None)


def problem_of(pod: Object) -> str:
    """
    Find why a pod does not start; empty if nothing is known to be wrong.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
    """
    status = _status(pod)
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"a pod was ended: {status['reason']}: {status.get('message', '')}"
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        what = _STUCK.get(waiting.get("reason", ""))
        if what is not None:
            return f"{what}: {waiting.get('message') or waiting['reason']}"
    why = _why_unschedulable(pod)
    return "" if why is None else f"no machine can run the pod: {why}"


def problem_key(problem: str) -> str:
    """
    Shorten a problem to what stays the same when it comes again, with other pods.

    Names of pods and numbers differ, and what the kubelet says about one image.
    """
    known = (what for what in _STUCK.values() if problem.startswith(what))
    return _CHANGING.sub("", next(known, problem))


def lacks_port(pod: Object) -> bool:
    """
    Can no machine run it, because its host port is in use there?

    Source: ErrReason of pkg/scheduler/framework/plugins/nodeports/node_ports.go.
    """
    return "free ports" in (_why_unschedulable(pod) or "")


def _why_unschedulable(pod: Object) -> str | None:
    for condition in _status(pod).get("conditions") or ():
        if (
            condition.get("type") == "PodScheduled"
            and condition.get("status") == "False"
            and condition.get("reason") == "Unschedulable"
        ):
            return str(condition.get("message", ""))
    return None


def address_of(machine: Object, wanted: str) -> str:
    """
    Find an address in a Node object; empty if there is none.

    :param wanted: "external" or "internal".
    """
    kind = {"external": "ExternalIP", "internal": "InternalIP"}[wanted]
    for one in (machine.get("status") or {}).get("addresses") or ():
        if one["type"] == kind:
            return str(one["address"])
    return ""


def _status(pod: Object) -> Mapping[str, Any]:
    status: Mapping[str, Any] = pod.get("status") or {}
    return status
