"""``twistd vinom``'s command line, made from the table of settings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.logger import ILogObserver
from twisted.python.logfile import LogFile
from twisted.python.usage import Options, UsageError

from vinom import __version__
from vinom.errors import Misconfigured
from vinom.logs import observer
from vinom.node.settings import TABLE, Row
from vinom.node.sources import checked_path, gather, unknown
from vinom.node.values import Switch
from vinom.printable import say


def _help(row: Row) -> str:
    return row.help if row.default is None else f"{row.help} (default {row.default})"


class NodeOptions(Options, AuthOptionMixin):
    """Every setting as an option; ``options["settings"]`` has the result."""

    synopsis = "[options]"
    longdesc = (
        "Every option can also be set in the TOML file of --config (with underscores) "
        "and in the environment (VINOM_PORT for --port). The command line overrides "
        "the environment, which overrides the file."
    )
    supportedInterfaces = (IUsernamePassword,)

    optFlags: ClassVar[list[Any]] = [
        [row.flag, None, _help(row)] for row in TABLE if isinstance(row.kind, Switch)
    ]
    optParameters: ClassVar[list[Any]] = [
        ["config", "c", None, "read settings from this TOML file"],
        *(
            [row.flag, None, None, _help(row)]
            for row in TABLE
            if not row.many and not isinstance(row.kind, Switch)
        ),
    ]

    def __init__(self) -> None:
        Options.__init__(self)
        self._repeated: dict[str, list[str]] = {}

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
            raise SystemExit(f"twistd vinom: {self._explained(error)}") from error

    def _explained(self, error: UsageError) -> str:
        wrong = re.fullmatch(r"option (--\S+) not recognized", str(error))
        if wrong is None:
            reason = str(error).rstrip(".")
            return f"{reason[:1].lower()}{reason[1:]}; see --help"
        return unknown("option", wrong[1], self._flags())

    def _flags(self) -> list[str]:
        names = [str(name).rstrip("=") for name in self.longOpt]
        # Twisted lists them with underscores too.
        return [f"--{name}" for name in names if "_" not in name]

    def opt_version(self) -> None:
        """Print vinom's version and exit."""
        say(f"vinom {__version__}")
        raise SystemExit(0)

    def opt_game(self, spec: str) -> None:
        """Add a game to the installed ones, package.module:Class; may be repeated."""
        self._repeated.setdefault("game", []).append(spec)

    def opt_game_data(self, path: str) -> None:
        """Let games read this file or folder in game servers; may be repeated."""
        self._repeated.setdefault("game_data", []).append(path)

    def opt_auth(self, description: str) -> None:
        """Check names and passwords with this, see --help-auth; may be repeated."""
        self._repeated.setdefault("auth", []).append(description)

    def opt_identity_claim(self, name: str) -> None:
        """Let games read this claim of the provider's JWTs; may be repeated."""
        self._repeated.setdefault("identity_claim", []).append(name)

    def opt_regions(self, region: str) -> None:
        """Offer players this region, name=URL of the page echo; may be repeated."""
        self._repeated.setdefault("regions", []).append(region)

    def opt_origin(self, host: str) -> None:
        """Let web pages of this host connect, see the manual; may be repeated."""
        self._repeated.setdefault("origin", []).append(host)

    def opt_proxy(self, network: str) -> None:
        """Expect a PROXY protocol header from this address; may be repeated."""
        self._repeated.setdefault("proxy", []).append(network)

    def postOptions(self) -> None:
        given: dict[str, Any] = dict(self._repeated)
        for row in TABLE:
            value = self.get(row.flag)
            if isinstance(row.kind, Switch):
                value = bool(value) or None
            if value is not None:
                given[row.name] = value
        config = self["config"]
        try:
            path = None if config is None else checked_path("--config", config)
            settings = gather(given, os.environ, path)
        except Misconfigured as error:
            # One line, instead of twistd's hundred.
            raise SystemExit(f"twistd vinom: {error}") from error
        self["settings"] = settings
        if self.parent is not None:
            # Read by twist (``python -m twisted``); for twistd see `vinom.node.twistd`.
            self.parent["fileLogObserverFactory"] = lambda file: observer(
                file, settings.log_format, settings.log_level
            )

    def log_observer(self) -> ILogObserver | None:
        """
        Make the observer that writes twistd's log.

        :returns: ``None`` if twistd's own options choose another one.
        """
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
