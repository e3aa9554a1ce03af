"""What twistd calls: the options, and the service that they configure."""

from __future__ import annotations

import gc

from twisted.application.service import IService

from vinom.base.reactor.steady import pass_evenly
from vinom.base.settings.options import check_pidfile
from vinom.errors import Misconfigured
from vinom.node.options import NodeOptions

__all__ = ["Options", "makeService"]

#: twistd expects this name.
Options = NodeOptions


def makeService(options: NodeOptions) -> IService:
    """Build the node; it opens nothing before it starts."""
    from twisted.internet import reactor

    pass_evenly(reactor)
    check_pidfile("twistd vinom", options.parent or {})
    # Nothing of the program is garbage, and looking for some is a tenth of the start.
    gc.disable()
    try:
        from vinom.node.node import Program

        program: IService = Program(options, reactor)
    except Misconfigured as error:
        raise SystemExit(f"twistd vinom: {error}") from error
    finally:
        gc.enable()
    return program
