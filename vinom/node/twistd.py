"""What twistd calls: the options, and the service that they configure."""

from __future__ import annotations

import gc
from typing import Any

from twisted.application.service import IService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from vinom.errors import Misconfigured
from vinom.node.node import Node
from vinom.node.options import NodeOptions
from vinom.reactor.steady import pass_evenly
from vinom.settings.options import check_pidfile

__all__ = ["Options", "makeService"]

#: twistd expects this name.
Options = NodeOptions


class _Program(Node):
    """The node as twistd runs it; our settings choose the log's format."""

    def __init__(self, options: NodeOptions, reactor: Any) -> None:
        """
        :param options: of the command line, parsed.
        :param reactor: runs it.
        """
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

    def startService(self) -> None:
        Node.startService(self)
        # What exists by now stays. Full collections, which stop all rooms, then visit
        # only what players caused: 44 instead of 60 to 78 ms with 2,500 players.
        gc.collect()
        gc.freeze()


def makeService(options: NodeOptions) -> IService:
    """Build the node; it opens nothing before it starts."""
    from twisted.internet import reactor

    pass_evenly(reactor)
    check_pidfile("twistd vinom", options.parent or {})
    try:
        program: IService = _Program(options, reactor)
    except Misconfigured as error:
        raise SystemExit(f"twistd vinom: {error}") from error
    return program
