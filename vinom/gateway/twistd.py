"""The gateway's twistd plugin: its options and its service."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from twisted.application.service import IService

from vinom.base.printable import say
from vinom.base.reactor.steady import pass_evenly
from vinom.base.settings.options import (
    TableOptions,
    TwistdProgram,
    catch_hangups,
    catch_interrupts,
    check_pidfile,
)
from vinom.errors import Misconfigured
from vinom.gateway.service import Gateway
from vinom.gateway.settings import SOURCES, GatewaySettings

__all__ = ["Options", "makeService"]


class Options(TableOptions):
    """Every setting as an option; twistd expects this name."""

    sources, settings = SOURCES, GatewaySettings


class _Program(TwistdProgram):
    """The gateway as twistd runs it."""

    def __init__(self, options: Options, reactor: Any) -> None:
        """
        :param options: of the command line, parsed.
        :param reactor: runs it.
        """
        self._gateway = Gateway(options["settings"], reactor, os.environ)
        self._running = reactor
        super().__init__(options, self._gateway)
        reactor.addSystemEventTrigger("after", "shutdown", self._stopped)

    def startService(self) -> None:
        super().startService()
        # At the start, because the reactor installs its own handler before it.
        running, gateway = self._running, self._gateway
        running.callWhenRunning(catch_interrupts, running, gateway.interrupted)
        running.callWhenRunning(
            catch_hangups, running, gateway.reload, gateway.interrupted
        )

    def _stopped(self) -> None:
        why_not = self._gateway.why_not
        if why_not is not None:
            if sys.__stderr__ is not None:
                # twistd sends our `sys.stderr` to the log.
                words = f"{SOURCES.program}: cannot start: {why_not}"
                say(words, file=sys.__stderr__)
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
        program = _Program(options, reactor)
    except Misconfigured as error:
        raise SystemExit(f"{SOURCES.program}: {error}") from error
    return program
