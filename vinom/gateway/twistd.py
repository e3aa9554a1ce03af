"""The gateway's twistd plugin: its options and its service."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Any

from twisted.application.service import IService

from vinom.base.printable import say
from vinom.base.reactor.signals import catch_hangups, catch_interrupts
from vinom.base.reactor.steady import pass_evenly
from vinom.base.settings.options import TableOptions, check_pidfile
from vinom.errors import Misconfigured
from vinom.gateway.service import Gateway
from vinom.gateway.settings import SOURCES, GatewaySettings

__all__ = ["Options", "makeService"]


class Options(TableOptions):
    """Every setting as an option; twistd expects this name."""

    sources, settings = SOURCES, GatewaySettings


class _Program(Gateway):
    """The gateway as twistd runs it; our settings choose the log's format."""

    def __init__(self, options: Options, reactor: Any) -> None:
        """
        :param options: of the command line, parsed.
        :param reactor: runs it.
        """
        super().__init__(options["settings"], reactor, os.environ)
        self._options, self._running = options, reactor
        reactor.addSystemEventTrigger("after", "shutdown", self._stopped)

    def setServiceParent(self, parent: Any) -> None:
        self._options.set_observer(parent)
        attach: Any = Gateway.setServiceParent
        attach(self, parent)

    def startService(self) -> None:
        Gateway.startService(self)
        # At the start, because the reactor installs its own handler before it.
        running = self._running
        running.callWhenRunning(catch_interrupts, running, self.interrupted)
        running.callWhenRunning(catch_hangups, running, self.reload, self.interrupted)
        # All objects up to now are permanent: full collections visit only sessions.
        gc.collect()
        gc.freeze()

    def _stopped(self) -> None:
        if self.why_not is not None:
            if sys.__stderr__ is not None:
                # twistd sends our `sys.stderr` to the log.
                say(
                    f"{SOURCES.program}: cannot start: {self.why_not}",
                    file=sys.__stderr__,
                )
            atexit.register(_fail)


def _fail() -> None:
    """End with status 1; twistd returns 0 whenever its reactor has run."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(1)


def makeService(options: Options) -> IService:
    """Build the gateway; nothing is opened before the service starts."""
    from twisted.internet import reactor

    pass_evenly(reactor)
    check_pidfile(SOURCES.program, options.parent or {})
    try:
        program: IService = _Program(options, reactor)
    except Misconfigured as error:
        raise SystemExit(f"{SOURCES.program}: {error}") from error
    return program
