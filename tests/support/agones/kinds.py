"""
The kinds of Agones, with schemas: no registry has its definitions.

Sources, of agones.dev/site/docs: reference/gameserver, reference/fleet,
reference/gameserverallocation, guides/client-sdks/rest, and
reference/agones_crd_api_reference.
"""

from __future__ import annotations

from typing import Any

from tests.deploy.kustomized import (
    AGONES,
    COUNT,
    GAME_SERVER,
    LABELS,
    PORT,
    TEXT,
    strict,
)
from tests.support.kubernetes_api import schemas

#: Source: reference/agones_crd_api_reference/#agones.dev/v1.GameServerState.
STATES = [
    "PortAllocation",
    "Creating",
    "Starting",
    "Scheduled",
    "RequestReady",
    "Ready",
    "Shutdown",
    "Error",
    "Unhealthy",
    "Reserved",
    "Allocated",
]
_PORTS = {"type": "array", "items": strict(**{"name!": TEXT, "port!": PORT})}
_ADDRESSES = {
    "type": "array",
    "items": strict(
        **{
            "type!": {"enum": ["InternalIP", "ExternalIP", "Hostname", "PodIP"]},
            "address!": TEXT,
        }
    ),
}
_COUNTERS = {
    "type": "object",
    "additionalProperties": strict(count=COUNT, capacity=COUNT),
}


def _compiled(schema: dict[str, Any]) -> Any:
    return schemas.compiled_here(schema)


#: Source: reference/agones_crd_api_reference/#agones.dev/v1.GameServerStatus.
GAME_SERVER_SCHEMA = _compiled(
    strict(
        **{
            "apiVersion!": {"const": "agones.dev/v1"},
            "kind!": {"const": "GameServer"},
            "metadata!": {"type": "object"},
            "spec!": GAME_SERVER,
            "status!": strict(
                **{
                    "state!": {"enum": STATES},
                    "ports": _PORTS,
                    "address": TEXT,
                    "addresses": _ADDRESSES,
                    "nodeName": TEXT,
                    "counters": _COUNTERS,
                }
            ),
        }
    )
)

FLEET_SCHEMA = _compiled(AGONES["agones.dev/v1", "Fleet"])

_EXPRESSIONS = {
    "type": "array",
    "items": strict(
        **{
            "key!": TEXT,
            "operator!": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": {"type": "array", "items": TEXT},
        }
    ),
}
_BOUNDS = strict(minCount=COUNT, maxCount=COUNT, minAvailable=COUNT, maxAvailable=COUNT)

#: Source: reference/gameserverallocation: the members of ``spec`` and ``status``.
ALLOCATION_SCHEMA = _compiled(
    strict(
        **{
            "apiVersion!": {"const": "allocation.agones.dev/v1"},
            "kind!": {"const": "GameServerAllocation"},
            "metadata": {"type": "object"},
            "spec!": strict(
                selectors={
                    "type": "array",
                    "items": strict(
                        matchLabels=LABELS,
                        matchExpressions=_EXPRESSIONS,
                        gameServerState={"enum": ["Ready", "Allocated"]},
                        counters={"type": "object", "additionalProperties": _BOUNDS},
                    ),
                },
                scheduling={"enum": ["Packed", "Distributed"]},
                priorities={
                    "type": "array",
                    "items": strict(
                        **{
                            "type!": {"enum": ["Counter", "List"]},
                            "key!": TEXT,
                            "order": {"enum": ["Ascending", "Descending"]},
                        }
                    ),
                },
                counters={
                    "type": "object",
                    "additionalProperties": strict(
                        action={"enum": ["Increment", "Decrement"]},
                        amount=COUNT,
                        capacity=COUNT,
                    ),
                },
                metadata=strict(labels=LABELS, annotations=LABELS),
            ),
            "status": strict(
                **{
                    "state!": {"enum": ["Allocated", "UnAllocated", "Contention"]},
                    "gameServerName": TEXT,
                    "ports": _PORTS,
                    "address": TEXT,
                    "addresses": _ADDRESSES,
                    "nodeName": TEXT,
                    "source": TEXT,
                    "metadata": strict(labels=LABELS, annotations=LABELS),
                    "counters": _COUNTERS,
                }
            ),
        }
    )
)

#: Bodies of the SDK's requests (source: guides/client-sdks/rest).
NOTHING_SCHEMA = _compiled(strict())
LABEL_SCHEMA = _compiled(strict(**{"key!": TEXT, "value!": TEXT}))
