"""What twistd calls: the options, and the service they describe."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from vinom.errors import Misconfigured
from vinom.tap.node import Node
from vinom.tap.options import NodeOptions

__all__ = ["Options", "makeService"]

#: twistd looks for it under this name.
Options = NodeOptions


class _Program(Node):
    """The node as twistd runs it: its log is written as our settings say."""

    def __init__(self, options: NodeOptions, reactor: Any) -> None:
        super().__init__(options["settings"], reactor)
        self._options = options

    def setServiceParent(self, parent: Any) -> None:
        # This is where twistd looks, right after it made the application.
        if isinstance(parent, Componentized):
            observer = self._options.log_observer()
            if observer is not None:
                parent.setComponent(ILogObserver, observer)
        # Twisted's services have no types.
        attach: Any = Node.setServiceParent
        attach(self, parent)


def makeService(options: NodeOptions) -> IService:
    """Build the node; nothing is opened before it starts."""
    from twisted.internet import reactor

    try:
        program: IService = _Program(options, reactor)
    except Misconfigured as error:
        raise SystemExit(f"twistd vinom: {error}") from error
    return program
