"""How player commands are told which lobby to use."""

from __future__ import annotations

import argparse
import json
import ssl
from pathlib import Path
from typing import Any, Literal

import attrs

from vinom.errors import Misconfigured
from vinom.game import Game
from vinom.tap.games import load_game, load_games, name_of

_DEFAULT = "127.0.0.1:4600"


@attrs.frozen
class LobbyAddress:
    """
    Where a lobby is, and how to trust it.

    :ivar tls: as `vinom.client.sdk.connect` takes it.
    """

    host: str
    port: int
    tls: bytes | Literal[True] | None = None
    tls_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def add_lobby_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--connect`` and how it is trusted."""
    parser.add_argument(
        "--connect",
        metavar="HOST:PORT",
        default=_DEFAULT,
        help=f"the lobby ({_DEFAULT})",
    )
    parser.add_argument(
        "--tls", action="store_true", help="use TLS, trusting what this machine trusts"
    )
    parser.add_argument(
        "--tls-authority",
        metavar="FILE",
        type=Path,
        help="use TLS, trusting this certificate (PEM)",
    )
    parser.add_argument(
        "--tls-name",
        metavar="NAME",
        help="what the lobby's certificate is for, if not HOST",
    )


def lobby_address(options: argparse.Namespace) -> LobbyAddress:
    """
    Read what `add_lobby_arguments` declared.

    :raises Misconfigured: it makes no sense.
    """
    host, port = parse_address(options.connect)
    tls: bytes | Literal[True] | None = True if options.tls else None
    if options.tls_authority is not None:
        try:
            tls = pem = options.tls_authority.read_bytes()
            ssl.create_default_context(cadata=pem.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise Misconfigured(
                f"--tls-authority {options.tls_authority} is not a certificate in PEM, "
                "such as a node's authority/ca.pem"
            ) from error
        except OSError as error:
            raise Misconfigured(
                f"--tls-authority {options.tls_authority}: {error.strerror}"
            ) from error
    if options.tls_name is not None and tls is None:
        raise Misconfigured("--tls-name needs --tls or --tls-authority")
    return LobbyAddress(host, port, tls, options.tls_name)


def parse_address(text: str) -> tuple[str, int]:
    """
    Read ``HOST:PORT`` or ``[ADDRESS]:PORT``.

    :raises Misconfigured: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise Misconfigured(
            f"--connect {text!r} must look like HOST:PORT, or [ADDRESS]:PORT for IPv6"
        )
    return host, int(port)


def find_game(spec: str) -> tuple[str, Game[Any, Any]]:
    """
    Find an installed game by name, or any by ``package.module:Class``.

    :returns: its name and the game.
    :raises Misconfigured: there is none.
    """
    if ":" in spec:
        game = load_game(spec)
        return name_of(game), game
    games = load_games()
    if spec not in games:
        raise Misconfigured(
            f"no installed game is called {spec!r}; there are "
            f"{', '.join(sorted(games))}, or give package.module:Class"
        )
    return spec, games[spec]


def parse_json(flag: str, text: str | None) -> Any:
    """
    Read an option that is one JSON object.

    :raises Misconfigured: it is not.
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Misconfigured(f"{flag} must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise Misconfigured(f"{flag} must be a JSON object, such as {{}}")
    return value
