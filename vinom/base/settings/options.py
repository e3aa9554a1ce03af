"""
What our twistd plugins share: the command line, made from a table of settings; the
service that twistd runs; and its signals, as calls on the reactor's turn.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from twisted.python.usage import Options, UsageError

from vinom import __version__
from vinom.base.logs import observer
from vinom.base.printable import say
from vinom.base.settings.sources import Sources, checked_path
from vinom.base.settings.values import Row, Switch
from vinom.errors import Misconfigured


def _help(row: Row) -> str:
    return row.help if row.default is None else f"{row.help} (default {row.default})"


def _repeatable(row: Row) -> Any:
    """Make the ``opt_`` method of a setting that may be given more than once."""

    def add(self: TableOptions, value: str) -> None:
        self.repeated.setdefault(row.name, []).append(value)

    add.__doc__ = row.help
    return add


class TableOptions(Options):
    """
    Every setting as an option; ``options["settings"]`` has the result.

    :cvar sources: the sources of the settings.
    :cvar settings: their class, which has ``log_format`` and ``log_level``.
    """

    synopsis = "[options]"
    sources: ClassVar[Sources]
    settings: ClassVar[Any]
    longdesc: ClassVar[str]
    optFlags: ClassVar[list[Any]]
    optParameters: ClassVar[list[Any]]

    def __init_subclass__(cls) -> None:
        """Write the table as Twisted's options want it."""
        row = cls.sources.table[0]
        cls.longdesc = (
            "Every option can also be set in the TOML file of --config (with "
            f"underscores) and in the environment ({row.variable} for --{row.flag}). "
            "The command line overrides the environment, which overrides the file."
        )
        cls.optFlags = []
        cls.optParameters = [["config", "c", None, "read settings from this TOML file"]]
        for row in cls.sources.table:
            if row.many:
                setattr(cls, f"opt_{row.name}", _repeatable(row))
            elif isinstance(row.kind, Switch):
                cls.optFlags.append([row.flag, None, _help(row)])
            else:
                cls.optParameters.append([row.flag, None, None, _help(row)])

    def __init__(self) -> None:
        Options.__init__(self)
        self.repeated: dict[str, list[str]] = {}

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        :raises SystemExit: an option is unknown or invalid; one line says which.
        """
        try:
            base: Any = super()
            base.parseOptions(options)
        except UsageError as error:
            # Twisted would print the whole help, with the reason far above.
            raise SystemExit(
                f"{self.sources.program}: {self._explained(error)}"
            ) from error

    def _explained(self, error: UsageError) -> str:
        wrong = re.fullmatch(r"option (--\S+) not recognized", str(error))
        if wrong is None:
            reason = str(error).rstrip(".")
            return f"{reason[:1].lower()}{reason[1:]}; see --help"
        return self.sources.unknown("option", wrong[1], self._flags())

    def _flags(self) -> list[str]:
        names = [str(name).rstrip("=") for name in self.longOpt]
        # Twisted lists them with underscores too.
        return [f"--{name}" for name in names if "_" not in name]

    def opt_version(self) -> None:
        """Print vinom's version and exit."""
        say(f"vinom {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        given: dict[str, Any] = dict(self.repeated)
        for row in self.sources.table:
            value = self.get(row.flag)
            if isinstance(row.kind, Switch):
                value = bool(value) or None
            if value is not None:
                given[row.name] = value
        config = self["config"]
        try:
            path = None if config is None else checked_path("--config", config)
            settings = self.settings(**self.sources.gather(given, os.environ, path))
        except Misconfigured as error:
            # One line, instead of twistd's hundred.
            raise SystemExit(f"{self.sources.program}: {error}") from error
        self["settings"] = settings
        if self.parent is not None:
            # Read by twist (``python -m twisted``), but not by twistd.
            self.parent["fileLogObserverFactory"] = lambda file: observer(
                file, settings.log_format, settings.log_level
            )

    def set_observer(self, parent: Any) -> None:
        """
        Have twistd use the observer that our settings choose.

        :param parent: of the program's service: twistd looks there, right after it has
            made the application.
        """
        if isinstance(parent, Componentized):
            found = self._log_observer()
            if found is not None:
                parent.setComponent(ILogObserver, found)

    def _log_observer(self) -> ILogObserver | None:
        """Make it; ``None`` if twistd's own options choose another one."""
        twistd: Mapping[str, Any] = self.parent or {}
        if "nodaemon" not in twistd:
            # This is twist, which `postOptions` has configured.
            return None
        path = twistd.get("logfile")
        if twistd.get("syslog") or (path == "-" and not twistd.get("nodaemon")):
            return None
        if not path and not twistd.get("nodaemon"):
            path = "twistd.log"
        file: Any = sys.stdout
        if path and path != "-":
            file = LogFile.fromFullPath(path)
        settings = self["settings"]
        return observer(file, settings.log_format, settings.log_level)


class TwistdProgram(MultiService):
    """A program as twistd runs it: its settings choose the log's format."""

    def __init__(self, options: TableOptions, service: IService) -> None:
        """
        :param options: of the command line, parsed.
        :param service: all of the program.
        """
        MultiService.__init__(self)
        self._options = options
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        self._options.set_observer(parent)
        # Twisted's services have no types.
        attach: Any = MultiService.setServiceParent
        attach(self, parent)

    def startService(self) -> None:
        MultiService.startService(self)
        # What exists by now stays. Full collections, which stop all rooms, then visit
        # only what players caused: 44 instead of 60 to 78 ms with 2,500 players.
        gc.collect()
        gc.freeze()


def check_pidfile(program: str, twistd: Mapping[str, Any]) -> None:
    """
    Report in one line what twistd would report in a traceback, later.

    twistd has made the path absolute when it read its options, so a relative one
    starts at its working directory, not at ``--rundir``.

    :param program: for the error.
    :param twistd: its options.
    :raises SystemExit: twistd cannot write it.
    """
    pidfile, chroot = twistd.get("pidfile"), twistd.get("chroot")
    if not pidfile or chroot:
        return
    written = Path(pidfile)
    if not os.access(written if written.exists() else written.parent, os.W_OK):
        raise SystemExit(
            f"{program}: twistd cannot write {pidfile}: start it in a folder that "
            f"you can write to, or without a pidfile: twistd --pidfile= "
            f"{program.removeprefix('twistd ')}"
        )


def catch_interrupts(reactor: Any, interrupted: Callable[[], None]) -> None:
    """
    Call *interrupted* for each SIGINT and SIGTERM, instead of stopping at once.

    Call this while the reactor runs: it installs its own handlers before.
    """

    def caught(number: int, frame: object) -> None:
        reactor.callFromThread(interrupted)

    signal.signal(signal.SIGINT, caught)
    signal.signal(signal.SIGTERM, caught)


def catch_hangups(
    reactor: Any, reload: Callable[[], None], interrupted: Callable[[], None]
) -> None:
    """
    Call *reload* for each SIGHUP; call this while the reactor runs.

    A node that has a terminal gets the same signal when the terminal closes; then
    *interrupted* is called, because Ctrl-C could no longer stop the node.
    """
    had_terminal = _has_terminal()

    def caught(number: int, frame: object) -> None:
        is_orphaned = had_terminal and not _has_terminal()
        reactor.callFromThread(interrupted if is_orphaned else reload)

    signal.signal(signal.SIGHUP, caught)


def _has_terminal() -> bool:
    """Do we have a controlling terminal that is still open? (source: tty(4))"""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
