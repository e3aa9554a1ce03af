"""HTTP over a node's admin socket, for the operator's commands."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import attrs

from vinom.errors import Misconfigured, VinomError

#: How long a node may take to answer, seconds.
_TIMEOUT = 30.0


class NotDone(VinomError):
    """The node refused; the message says why."""


class _SocketConnection(HTTPConnection):
    """HTTP over a UNIX socket; *path* is the socket's."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@attrs.frozen
class AdminLine:
    """
    Send requests to a node's admin API.

    :ivar path: the node's admin socket.
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
        """Request an action from the node; raises as `get`."""
        return self._ask("POST", page, body)

    def _ask(self, method: str, page: str, body: Any) -> Any:
        connection = _SocketConnection(self.path)
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"/v1/{page}", sent, self._headers())
            answer = connection.getresponse()
            status, content = answer.status, json.loads(answer.read())
        except (FileNotFoundError, ConnectionRefusedError):
            raise Misconfigured(
                f"no node answers at {self.path}: start the node, or set --state-dir "
                "to its state directory"
            ) from None
        except PermissionError:
            raise Misconfigured(
                f"the node at {self.path} answers nobody but its own user and root: "
                "run this as one of them"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise Misconfigured(
                f"cannot get an answer from the node at {self.path}: {error}"
            ) from error
        finally:
            connection.close()
        if status >= 300:
            refusal = content.get("error", {})
            raise NotDone(f"{refusal.get('message')} ({refusal.get('code')})")
        return content

    def _headers(self) -> dict[str, str]:
        """Read the token that the node put beside its socket when it started."""
        try:
            token = self.path.with_suffix(".token").read_text("ascii").strip()
        except FileNotFoundError:
            # No node, or one of an older version, which asks for none.
            return {}
        return {"Authorization": f"Bearer {token}"}
