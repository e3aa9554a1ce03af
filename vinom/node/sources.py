"""The sources of a node's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vinom.base.settings.sources import Sources
from vinom.node.settings import TABLE, Settings

#: The variables of the gateway, and of game servers, are their own.
SOURCES = Sources(
    TABLE, "twistd vinom", "VINOM_", others=("VINOM_GATEWAY_", "VINOM_GAMESERVER_")
)


def gather(
    command_line: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """
    Combine the sources; see `vinom.base.settings.sources.Sources.gather`.

    :raises Misconfigured: a key is unknown, or a value is invalid; says where.
    """
    return Settings(**SOURCES.gather(command_line, environment, config))
