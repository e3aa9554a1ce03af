"""The table ``[agones]`` of the settings, and the allocations made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from vinom.control.messages import CONTROL_PROTOCOL
from vinom.fleet.kubernetes.objects import (
    CONTROL_LABEL,
    DOMAIN,
    OWNER,
    SDK_PREFIX,
    SERVER,
    SETTINGS,
    Object,
)
from vinom.fleet.kubernetes.template import check_names, read_table

#: The label that an allocation writes on its game server: a different text each time.
ALLOCATION = f"{DOMAIN}/allocation"

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class AgonesTable(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings of game servers of Agones.

    :ivar fleet: name of the Fleet to allocate them from.
    :ivar owner: name of this node in labels; default: its host name. No other running
        node may have the same.
    :ivar namespace: namespace of the Fleet; default: that of the node's own pod, or of
        the kubeconfig's context.
    :ivar selectors: selectors of an allocation, in order, instead of the fleet.
    :ivar scheduling: "Packed" fills machines one after the other, "Distributed" does
        not.
    :ivar counters: what an allocation does to counters, by name.
    :ivar priorities: which game servers are preferred, by counters and lists.
    :ivar labels: more labels for allocated game servers.
    :ivar annotations: more annotations for them.
    :ivar address: where players connect: "status" (from Agones' status), "external" or
        "internal" (the first such address of the machine), or any other text as a name
        or address.
    :ivar grace_seconds: how long a game server may take to end; no more than
        terminationGracePeriodSeconds of the Fleet's pods.
    :ivar start_seconds: how long an allocated game server may take to link.
    """

    fleet: str = ""
    owner: str = ""
    namespace: str = ""
    selectors: tuple[dict[str, Any], ...] = ()
    scheduling: Literal["Packed", "Distributed"] = "Packed"
    counters: dict[str, dict[str, Any]] = {}
    priorities: tuple[dict[str, Any], ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    address: _Text = "status"
    grace_seconds: Annotated[int, Meta(ge=1, le=86400)] = 30
    start_seconds: Annotated[float, Meta(ge=1, le=3600)] = 30.0


def read_agones(value: Any) -> AgonesTable:
    """
    Check the table.

    :raises ValueError: what is wrong, as the end of a sentence about the setting.
    """
    table = read_table(value, AgonesTable, "[agones] with a fleet")
    if bool(table.fleet) == bool(table.selectors):
        raise ValueError(
            "must have either fleet, the name of a Fleet of Agones, or selectors"
        )
    check_names(table.owner, table.namespace)
    return table


class AllocationTemplate:
    """Makes allocations."""

    def __init__(
        self, table: AgonesTable, owner: str, environment: Mapping[str, str]
    ) -> None:
        """
        :param table: of the settings.
        :param owner: the node; a label's value.
        :param environment: settings of every game server of this node, by the names of
            their variables.
        """
        self.table, self.owner = table, owner
        self._environment = dict(environment)

    def allocation(self, key: str, server_id: str, secret: str) -> Object:
        """
        Make an allocation.

        :param key: a different text for each game server.
        :param secret: proves the game server's identity, once.
        """
        table = self.table
        settings = {
            **self._environment,
            "VINOM_GAMESERVER_ID": server_id,
            "VINOM_GAMESERVER_SECRET": secret,
        }
        selectors: list[Object] = [*table.selectors] or [
            {
                "matchLabels": {
                    "agones.dev/fleet": table.fleet,
                    # A game server with another version would be refused.
                    SDK_PREFIX + CONTROL_LABEL: str(CONTROL_PROTOCOL),
                }
            }
        ]
        spec: Object = {
            "selectors": [{"gameServerState": "Ready", **one} for one in selectors],
            "scheduling": table.scheduling,
            "metadata": {
                "labels": {
                    **table.labels,
                    OWNER: self.owner,
                    SERVER: server_id,
                    ALLOCATION: key,
                },
                "annotations": {
                    **table.annotations,
                    SETTINGS: msgspec.json.encode(settings).decode(),
                },
            },
        }
        if table.counters:
            spec["counters"] = dict(table.counters)
        if table.priorities:
            spec["priorities"] = list(table.priorities)
        return {
            "apiVersion": "allocation.agones.dev/v1",
            "kind": "GameServerAllocation",
            "spec": spec,
        }
