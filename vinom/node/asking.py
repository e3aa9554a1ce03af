"""How the operator's commands talk to a node: HTTP over its admin socket."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import attrs

from vinom.errors import Misconfigured, VinomError
from vinom.node.settings import Settings
from vinom.node.sources import checked_path

#: How long a node may take to answer, seconds.
_PATIENCE = 30.0


class NotDone(VinomError):
    """The node refused; the message says why."""


class _SocketConnection(HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@attrs.frozen
class AdminLine:
    """
    Ask a node.

    :ivar path: its admin socket.
    """

    path: Path

    def get(self, page: str) -> Any:
        """
        Read a page of the admin API.

        :raises NotDone: the node refuses.
        :raises Misconfigured: no node answers there.
        """
        return self._ask("GET", page, None)

    def post(self, page: str, body: Any = None) -> Any:
        """Have the node do something; raises as `get`."""
        return self._ask("POST", page, body)

    def _ask(self, method: str, page: str, body: Any) -> Any:
        connection = _SocketConnection(self.path)
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"/v1/{page}", sent)
            answer = connection.getresponse()
            status, told = answer.status, json.loads(answer.read())
        except (FileNotFoundError, ConnectionRefusedError):
            raise Misconfigured(
                f"no node answers at {self.path}; is it running, and is that its "
                "--state-dir?"
            ) from None
        except PermissionError:
            raise Misconfigured(
                f"the node at {self.path} answers nobody but its own user and root"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Misconfigured(f"asking the node at {self.path}: {error}") from error
        finally:
            connection.close()
        if status >= 300:
            refusal = told.get("error", {})
            raise NotDone(f"{refusal.get('message')} ({refusal.get('code')})")
        return told


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which node is asked, and how the answer is printed."""
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="PATH",
        default=None,
        help="the node's (VINOM_STATE_DIR, else ~/.local/state/vinom)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what the node answered, as JSON"
    )


def ask_node(
    options: argparse.Namespace,
    ask: Callable[[AdminLine], Any],
    show: Callable[[Any], str],
) -> int:
    """
    Ask, and print the answer.

    :param show: writes the answer for people.
    :returns: exit code: 1 if the node refused.
    :raises Misconfigured: no node answers.
    """
    folder = options.state_dir
    if folder is None and os.environ.get("VINOM_STATE_DIR"):
        folder = checked_path("VINOM_STATE_DIR", os.environ["VINOM_STATE_DIR"])
    settings = Settings() if folder is None else Settings(state_dir=folder)
    try:
        told = ask(AdminLine(settings.admin_socket))
    except NotDone as refusal:
        print(f"vinom {options.command}: {refusal}", file=sys.stderr)
        return 1
    print(json.dumps(told, indent=2) if options.json else show(told))
    return 0


def in_columns(rows: list[tuple[str, ...]]) -> str:
    """Write a table, its columns as wide as their widest word."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            word.ljust(width) for word, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
