"""What twistd calls: the options, and the service they describe."""

from __future__ import annotations

from twisted.application.service import IService

from vinom.errors import Misconfigured
from vinom.tap.options import NodeOptions

__all__ = ["Options", "makeService"]

#: twistd looks for it under this name.
Options = NodeOptions


def makeService(options: NodeOptions) -> IService:
    """Build the node; nothing is opened before it starts."""
    from twisted.internet import reactor

    from vinom.tap.node import Node

    try:
        node: IService = Node(options["settings"], reactor)
    except Misconfigured as error:
        raise SystemExit(f"twistd vinom: {error}") from error
    return node
