"""The table ``[pods]`` of the settings, and the manifests made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from vinom.base.model import ServerAddress
from vinom.base.settings.sources import explain
from vinom.base.settings.values import LABEL
from vinom.fleet.kubernetes.objects import (
    GAME_SERVER,
    OWNER,
    ROLE,
    SERVER,
    Object,
)

#: Where the secret of a pod's identity comes from.
Proof = Literal["secret", "token"]

#: Where a projected token is in the pod, and its audience.
TOKEN_FOLDER = "/var/run/secrets/vinom"
AUDIENCE = "vinom"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,48}[a-z0-9])?")
_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class PodTable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings of pods.

    :ivar image: image with a game server and the games.
    :ivar owner: name of this node in labels; default: its host name. No other running
        node may have the same.
    :ivar kubeconfig: kubeconfig file of the cluster; default: the service account of
        the node's own pod.
    :ivar context: context in that file; default: its current context.
    :ivar namespace: where pods are made; default: the namespace of the node's own pod,
        or of the kubeconfig's context.
    :ivar command: starts a game server; the image's entry point unless set.
    :ivar pull_policy: when the image is pulled; the cluster's default unless set.
    :ivar pull_secrets: names of secrets for the image's registry.
    :ivar requests: requests of ``cpu`` and ``memory``, as quantities of Kubernetes.
    :ivar limits: limits of the same.
    :ivar node_selector: labels that a machine must have.
    :ivar labels: more labels for pods.
    :ivar annotations: annotations for pods.
    :ivar environment: more variables of the game server.
    :ivar service_account: service account of pods; the namespace's default unless set.
    :ivar port: UDP port in a pod, to which one of its machine's is forwarded.
    :ivar address: which address of the machine players connect to: "host" (from the
        pod's status), "external" or "internal" (the first of that type in the Node
        object), or any other text as a name or address.
    :ivar proof: how a pod proves who it is: "secret": by a secret in its spec that
        works once; "token": by a token of its service account, which the API server
        checks.
    :ivar grace_seconds: how long a pod may take to end.
    :ivar start_seconds: how long a pod may take to link, including the image's pull.
    :ivar spec: more fields of the pod's spec, as in Kubernetes.
    :ivar container: more fields of the container.
    """

    image: _Text
    owner: str = ""
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    command: tuple[str, ...] = ()
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    pull_secrets: tuple[str, ...] = ()
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    environment: dict[str, str] = {}
    service_account: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 7700
    address: _Text = "host"
    proof: Proof = "secret"
    grace_seconds: Annotated[int, Meta(ge=1, le=86400)] = 30
    start_seconds: Annotated[float, Meta(ge=1, le=3600)] = 120.0
    spec: dict[str, Any] = {}
    container: dict[str, Any] = {}


#: Fields of a pod's spec, and of its container, that the node sets.
_OURS = {
    "spec": {"containers", "restartPolicy", "hostNetwork"},
    "container": {"name", "image", "env", "ports"},
}


def read_pods(value: Any) -> PodTable:
    """
    Check the table.

    :raises ValueError: what is wrong, as the end of a sentence about the setting.
    """
    if not isinstance(value, dict):
        raise ValueError("must be a table: [pods] with an image")
    try:
        table = msgspec.convert(value, PodTable)
    except msgspec.ValidationError as error:
        raise ValueError(f"is wrong: {explain(error, PodTable)}") from None
    for name, given in (("spec", table.spec), ("container", table.container)):
        wrong = sorted(_OURS[name] & set(given))
        if wrong:
            raise ValueError(
                f"must not set {name}.{wrong[0]}, which the node sets: use the other "
                "fields of the table"
            )
    if table.owner and not _LABEL.fullmatch(table.owner):
        raise ValueError(
            f"has the owner {table.owner!r}: use 1 to 50 lower-case letters, digits, "
            "'-', '_' and '.', with a letter or digit at both ends"
        )
    if table.namespace and not LABEL.fits(table.namespace):
        raise ValueError(
            f"has the namespace {table.namespace!r}: use 1 to 63 lower-case letters, "
            "digits and '-', with a letter or digit at both ends"
        )
    return table


class PodTemplate:
    """
    Makes the manifests of a node's pods.

    :ivar table: of the settings.
    :ivar owner: the node; a label's value.
    :ivar relayed: where the players of all pods connect, if the node relays them.
    :ivar selector: label selector of all pods of this node.
    :ivar others: label selector of the pods of all other nodes.
    """

    def __init__(
        self,
        table: PodTable,
        owner: str,
        environment: Mapping[str, str],
        relayed: ServerAddress | None = None,
    ) -> None:
        """
        :param table: of the settings.
        :param owner: the node; a label's value.
        :param environment: variables of every game server of this node.
        :param relayed: where the players of all pods connect, if the node relays them.
        """
        self.table, self.owner, self.relayed = table, owner, relayed
        self.selector = f"{ROLE}={GAME_SERVER},{OWNER}={owner}"
        self.others = f"{ROLE}={GAME_SERVER},{OWNER}!={owner}"
        self._environment = dict(environment)

    def pod(self, name: str, server_id: str, secret: str, host_port: int) -> Object:
        """
        Make a pod.

        :param secret: proves the pod's identity; not used with tokens.
        :param host_port: UDP port of the machine that is forwarded to the pod, unless
            the node relays players.
        """
        table = self.table
        variables = {
            **table.environment,
            **self._environment,
            "VINOM_GAMESERVER_ID": server_id,
        }
        if table.proof == "secret":
            variables["VINOM_GAMESERVER_SECRET"] = secret
        else:
            variables["VINOM_GAMESERVER_TOKEN_FILE"] = f"{TOKEN_FOLDER}/token"
        container: Object = {
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            **table.container,
            "name": "game-server",
            "image": table.image,
            "env": [{"name": key, "value": value} for key, value in variables.items()],
        }
        if table.command:
            container["command"] = list(table.command)
        if table.pull_policy:
            container["imagePullPolicy"] = table.pull_policy
        if table.requests or table.limits:
            container["resources"] = {
                "requests": table.requests,
                "limits": table.limits,
            }
        if self.relayed is None:
            container["ports"] = [
                {
                    "containerPort": table.port,
                    "hostPort": host_port,
                    "protocol": "UDP",
                }
            ]
        spec: Object = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": table.grace_seconds,
            **table.spec,
            "restartPolicy": "Never",
            "containers": [container],
        }
        if table.node_selector:
            spec["nodeSelector"] = table.node_selector
        if table.service_account:
            spec["serviceAccountName"] = table.service_account
        if table.pull_secrets:
            spec["imagePullSecrets"] = [{"name": one} for one in table.pull_secrets]
        if table.proof == "token":
            self._project_token(spec, container)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": self._labels(server_id),
                "annotations": dict(table.annotations),
            },
            "spec": spec,
        }

    def _labels(self, server_id: str) -> dict[str, str]:
        return {
            **self.table.labels,
            "app.kubernetes.io/name": "vinom",
            "app.kubernetes.io/managed-by": "vinom",
            ROLE: GAME_SERVER,
            OWNER: self.owner,
            SERVER: server_id,
        }

    def _project_token(self, spec: Object, container: Object) -> None:
        """
        Have the kubelet write a token of the pod's service account.

        Source: https://kubernetes.io/docs/tasks/configure-pod-container/
        configure-service-account/#serviceaccount-token-volume-projection
        """
        volume: Object = {
            "name": "vinom-token",
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "path": "token",
                            "audience": AUDIENCE,
                            "expirationSeconds": 600,
                        }
                    }
                ]
            },
        }
        mount = {"name": "vinom-token", "mountPath": TOKEN_FOLDER, "readOnly": True}
        spec["volumes"] = [*spec.get("volumes", ()), volume]
        container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
