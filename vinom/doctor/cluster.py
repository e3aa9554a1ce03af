"""Checks of ``vinom doctor`` for the cluster in which game servers run."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

from vinom.doctor.findings import Finding, failure, ok
from vinom.errors import Misconfigured
from vinom.node.pods import cluster_of
from vinom.node.settings import Settings

_NAME = "cluster"
#: How long its API server may take to accept a connection, seconds.
_DEADLINE = 5.0


def examine_cluster(settings: Settings) -> list[Finding]:
    """Find the cluster as the node does, and connect; no findings without one."""
    table = settings.away
    if table is None:
        return []
    try:
        cluster = cluster_of(table, settings.kubeconfig, settings.kubeconfig_context)
    except Misconfigured as error:
        # The remedy is the last part of the message.
        told, remedy = re.split(r"[:;] (?!.*[:;] )", str(error), maxsplit=1)
        return [failure(_NAME, told, remedy)]
    url = str(cluster.configuration.host)
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _DEADLINE).close()
    except OSError as error:
        return [
            failure(
                _NAME,
                f"the API server at {url} cannot be reached: {error}",
                "start it, or set kubeconfig to the file of another cluster; until "
                "then no match can begin",
            )
        ]
    return [ok(_NAME, f"the API server at {url}, namespace {cluster.namespace}")]
