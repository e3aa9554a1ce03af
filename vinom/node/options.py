"""``twistd vinom``'s command line, made from the table of settings."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin

from vinom.base.settings.options import TableOptions, flags_of, parameters_of
from vinom.node.settings import SOURCES, Settings


class NodeOptions(TableOptions, AuthOptionMixin):
    """Every setting as an option; ``options["settings"]`` has the result."""

    longdesc = (
        "Every option can also be set in the TOML file of --config (with underscores) "
        "and in the environment (VINOM_PORT for --port). The command line overrides "
        "the environment, which overrides the file."
    )
    supportedInterfaces = (IUsernamePassword,)
    sources, settings = SOURCES, Settings

    optFlags: ClassVar[list[Any]] = flags_of(SOURCES)
    optParameters: ClassVar[list[Any]] = parameters_of(SOURCES)

    def opt_game(self, spec: str) -> None:
        """Add a game to the installed ones, package.module:Class; may be repeated."""
        self.repeated.setdefault("game", []).append(spec)

    def opt_game_data(self, path: str) -> None:
        """Let games read this file or folder in game servers; may be repeated."""
        self.repeated.setdefault("game_data", []).append(path)

    def opt_auth(self, description: str) -> None:
        """Check names and passwords with this, see --help-auth; may be repeated."""
        self.repeated.setdefault("auth", []).append(description)

    def opt_identity_claim(self, name: str) -> None:
        """Let games read this claim of the provider's JWTs; may be repeated."""
        self.repeated.setdefault("identity_claim", []).append(name)

    def opt_regions(self, region: str) -> None:
        """Offer players this region, name=URL of the page echo; may be repeated."""
        self.repeated.setdefault("regions", []).append(region)

    def opt_origin(self, host: str) -> None:
        """Let web pages of this host connect, see the manual; may be repeated."""
        self.repeated.setdefault("origin", []).append(host)

    def opt_proxy(self, network: str) -> None:
        """Expect a PROXY protocol header from this address; may be repeated."""
        self.repeated.setdefault("proxy", []).append(network)
