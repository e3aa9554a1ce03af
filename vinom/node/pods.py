"""Make the fleet of a cluster from the settings."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vinom.errors import Misconfigured
from vinom.fleet.kubernetes.template import PodTable, PodTemplate
from vinom.fleet.port_ring import PortRing

if TYPE_CHECKING:
    from pathlib import Path

    from vinom.base.model import ServerAddress
    from vinom.fleet.kubernetes.api import Cluster
    from vinom.fleet.kubernetes.fleet import KubernetesFleet


def cluster_fleet(
    table: PodTable,
    kubeconfig: Path | None,
    context: str | None,
    environment: Mapping[str, str],
    ports: tuple[int, int],
    reactor: Any,
    entropy: Callable[[int], bytes],
    lease_seconds: float,
    relayed: ServerAddress | None,
) -> KubernetesFleet:
    """
    Make the fleet of a cluster.

    :param table: the table of the settings.
    :param kubeconfig: the file; ``None`` if this node runs in a pod.
    :param context: the context in the file.
    :param environment: variables of every game server.
    :param ports: first and last UDP port of machines.
    :param reactor: the clock; its thread gets the results of other threads.
    :param entropy: returns random bytes.
    :param lease_seconds: how long after its last answer a game server has certainly
        stopped sending.
    :param relayed: where players of all matches connect, if this node relays.
    :raises Misconfigured: the client is not installed, or there is no cluster.
    """
    cluster = cluster_of(table, kubeconfig, context)
    # Imported only here: it takes half a second and 60 MB.
    from vinom.fleet.kubernetes.api import KubernetesApi
    from vinom.fleet.kubernetes.fleet import KubernetesFleet
    from vinom.fleet.kubernetes.pods import Pods

    owner = table.owner or _own_name()
    api = KubernetesApi(reactor, cluster)
    template = PodTemplate(table, owner, environment, relayed is not None)
    return KubernetesFleet(
        reactor,
        api,
        Pods(reactor, api, template, relayed),
        # Nodes with the same ports must not all begin with the same one: a machine has
        # each port once.
        PortRing(*ports, begin=int.from_bytes(entropy(4)) / 2**32),
        time.monotonic,
        entropy,
        lease_seconds=lease_seconds,
    )


def cluster_of(
    table: PodTable, kubeconfig: Path | None, context: str | None
) -> Cluster:
    """
    Find the cluster, as `cluster_fleet` does.

    :raises Misconfigured: the client is not installed, or there is no cluster.
    """
    try:
        from vinom.fleet.kubernetes.api import find_cluster
    except ImportError as error:
        raise Misconfigured(
            f"fleet kubernetes needs Kubernetes' Python client ({error}): "
            "pip install vinom[kubernetes]"
        ) from error
    return find_cluster(
        None if kubeconfig is None else kubeconfig.absolute(), context, table.namespace
    )


def _own_name() -> str:
    """Name this node after its pod or its machine, in the form of a label's value."""
    name = os.environ.get("POD_NAME") or socket.gethostname()
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())[:50].strip("-") or "node"
