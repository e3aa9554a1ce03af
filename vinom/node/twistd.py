"""What twistd calls: the options, and the service that they configure."""

from __future__ import annotations

import gc

from twisted.application.service import IService
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin

from vinom.base.reactor.steady import pass_evenly
from vinom.base.settings.options import TableOptions, TwistdProgram, check_pidfile
from vinom.errors import Misconfigured
from vinom.node.settings import SOURCES, Settings

__all__ = ["Options", "makeService"]


class Options(TableOptions, AuthOptionMixin):
    """Every setting as an option; ``options["settings"]`` has the result."""

    supportedInterfaces = (IUsernamePassword,)
    sources, settings = SOURCES, Settings


def makeService(options: Options) -> IService:
    """Build the node; it opens nothing before it starts."""
    from twisted.internet import reactor

    pass_evenly(reactor)
    check_pidfile("twistd vinom", options.parent or {})
    # Nothing of the program is garbage, and looking for some is a tenth of the start.
    gc.disable()
    try:
        from vinom.node.node import Node

        program = TwistdProgram(options, Node(options["settings"], reactor))
    except Misconfigured as error:
        raise SystemExit(f"twistd vinom: {error}") from error
    finally:
        gc.enable()
    return program
