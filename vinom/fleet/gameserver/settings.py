"""
Every setting of ``twistd vinom-gameserver``, in one table.

A node that makes a pod sets them as variables that begin with ``VINOM_GAMESERVER_``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import msgspec

from vinom.base.settings.sources import Sources
from vinom.base.settings.values import (
    LABEL,
    Bounded,
    LobbyAddress,
    PathName,
    Row,
    Text,
    log_format_option,
    log_level_option,
    option,
    row_of,
)
from vinom.errors import Misconfigured
from vinom.fleet.gameserver.main import GameServerSettings

_PREFIX = "VINOM_GAMESERVER_"
_SECONDS = Bounded(float, 0, 86400)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+-----END CERTIFICATE-----\s*", re.S)


@attrs.frozen
class _Certificates(Text):
    """Certificates, PEM."""

    metavar: str = "PEM"

    def read(self, text: str) -> Any:
        if _PEM.fullmatch(text) is None:
            raise ValueError("must be certificates in PEM")
        return text.encode("ascii")


@attrs.frozen
class _Limits(Text):
    """The settings that a node passes to each of its game servers."""

    metavar: str = "JSON"

    def read(self, text: str) -> Any:
        try:
            return msgspec.json.decode(text, type=GameServerSettings)
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
            raise ValueError(
                f"must be the JSON that a node passes on: {error}"
            ) from None

    def show(self, value: Any) -> str:
        return msgspec.json.encode(value).decode()


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a game server that a node started elsewhere, checked."""

    node: str | None = option(
        "node", LobbyAddress(), "the node's game_server_link: HOST:PORT; required"
    )
    any_node: str | None = option(
        "node",
        LobbyAddress(),
        "HOST:PORT of the links of all nodes, where HOST resolves to all their "
        "addresses: they are dialed in turn when the node does not answer, because "
        "another node may take over the matches",
    )
    authority: bytes | None = option(
        "node",
        _Certificates(),
        "certificates of the deployment's authority, to verify the node's certificate",
    )
    authority_file: Path | None = option(
        "node", PathName(), "file with these certificates, instead of authority"
    )
    dial_seconds: float = option(
        "node", _SECONDS, "how long to try to reach the node at the start", 60.0
    )
    id: str | None = option(
        "identity", LABEL, "id of this game server at the node; required"
    )
    secret: str | None = option(
        "identity",
        Text(),
        "proves the id to the node; works once. Prefer secret_file or the variable: "
        "all users of a machine can see the arguments of its programs",
    )
    secret_file: Path | None = option(
        "identity", PathName(), "file with this secret, instead of secret"
    )
    token_file: Path | None = option(
        "identity",
        PathName(),
        "file with a token of the pod's service account, for the audience vinom, "
        "instead of a secret; read for each link",
    )
    game: tuple[str, ...] = option(
        "games",
        Text(),
        "load this game in addition to the installed ones, package.module:Class; may "
        "be repeated",
        many=True,
    )
    limits: GameServerSettings | None = option(
        "games", _Limits(), "the node's settings for game servers, JSON"
    )
    drain_seconds: float = option(
        "operation",
        _SECONDS,
        "how long its matches may continue after SIGTERM; less than the pod's "
        "terminationGracePeriodSeconds",
        25.0,
    )
    log_format: str = log_format_option()
    log_level: str = log_level_option()

    def __attrs_post_init__(self) -> None:
        for name in ("node", "id"):
            if getattr(self, name) is None:
                raise Misconfigured(
                    f"{name} is not set: this program is started by a node, which sets "
                    f"{_PREFIX}{name.upper()} in the pod's spec"
                )
        if (self.authority is None) == (self.authority_file is None):
            raise Misconfigured(
                "set authority or authority_file, and not both: the node's certificate "
                "is verified with it"
            )
        given = (self.secret, self.secret_file, self.token_file)
        if sum(one is not None for one in given) != 1:
            raise Misconfigured(
                "set exactly one of secret, secret_file and token_file: it proves to "
                "the node which game server this is"
            )


#: The whole table, in order.
TABLE: tuple[Row, ...] = tuple(
    row_of(field, _PREFIX) for field in attrs.fields(Settings)
)
SOURCES = Sources(TABLE, "twistd vinom-gameserver", _PREFIX)
