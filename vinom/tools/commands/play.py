"""``vinom play maze``: play in this terminal; and options that choose a lobby."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import ssl
import sys
from functools import partial
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred

from vinom.base.printable import say
from vinom.client.sdk import Client, connect
from vinom.client.terminal.play import MazeGame
from vinom.client.terminal.screen import Screen, can_draw
from vinom.errors import Misconfigured
from vinom.tools.commands.foreground import run_in_foreground

#: Options that choose a lobby; see `lobby_address`.
LOBBY = """
--connect HOST:PORT = 127.0.0.1:4600
                 connect to this lobby
--tls            use TLS, with the authorities that this machine trusts
--tls-authority FILE
                 use TLS, with this authority's certificate (PEM)
--tls-name NAME  expect this name in the lobby's certificate (default: HOST)
"""
OPTIONS = f"""
game {{maze}}      play this game
{LOBBY.strip()}
--name NAME      show this name to others (default: your user name)
--options JSON   play with these options of the game
"""


@attrs.frozen
class LobbyAddress:
    """
    Where a lobby is, and how to trust it.

    :ivar host: name or address.
    :ivar port: TCP port.
    :ivar tls: as `vinom.client.sdk.connect` takes it.
    :ivar tls_name: the name in its certificate; ``None``: *host*.
    """

    host: str
    port: int
    tls: bytes | Literal[True] | None = None
    tls_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def connect(self, reactor: Any, name: str, **more: Any) -> Deferred[Client]:
        """Log in there; *more* is as `vinom.client.sdk.connect` takes it."""
        more |= {"tls": self.tls, "tls_name": self.tls_name}
        return connect(reactor, self.host, self.port, name=name, **more)


def lobby_address(options: argparse.Namespace) -> LobbyAddress:
    """
    Read the options of `LOBBY`.

    :raises Misconfigured: an address or a file is invalid.
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


def parse_json(flag: str, text: str | None) -> Any:
    """
    Read an option that is one JSON object.

    :param flag: the option, for errors.
    :raises Misconfigured: *text* is something else.
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


def run(options: argparse.Namespace) -> int:
    """
    Play.

    :returns: exit code: 0 unless the lobby cannot be reached or refuses us.
    :raises Misconfigured: this isn't a terminal, or an option is invalid.
    """
    if not (sys.stdin.isatty() and can_draw(sys.stdout, os.environ)):
        raise Misconfigured("this needs a terminal; vinom bots plays without one")
    lobby = lobby_address(options)
    wish = parse_json("--options", options.options)
    name = options.name or _user_name()
    screen = Screen(sys.stdout)

    def build(reactor: Any) -> MazeGame:
        dial = partial(lobby.connect, reactor, name)
        game = MazeGame(reactor, dial, str(lobby), wish, screen)
        screen.enter()
        screen.read_keys(reactor, game.press)
        return game

    try:
        code, ran = run_in_foreground(build)
    finally:
        screen.leave()
    for words in ran.last_words:
        say(words)
    return code


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "player"
