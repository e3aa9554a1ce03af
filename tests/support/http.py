"""Ask a site over a transport in memory, through Twisted's own HTTP parser."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import IResource

from vinom.net.web.answers import QuietSite


@attrs.define
class Exchange:
    """
    One request and what became of it.

    :ivar protocol: the server's end of the connection.
    """

    protocol: Any
    transport: StringTransport

    @property
    def is_answered(self) -> bool:
        return b"\r\n\r\n" in self.transport.value()

    @property
    def status(self) -> int:
        return int(self.transport.value().split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        head = self.transport.value().partition(b"\r\n\r\n")[0].decode()
        pairs = (line.split(": ", 1) for line in head.split("\r\n")[1:])
        return {name.lower(): value for name, value in pairs}

    @property
    def body(self) -> bytes:
        raw = self.transport.value().partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return raw
        body = b""
        while raw:
            size, _, raw = raw.partition(b"\r\n")
            body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
        return body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def hang_up(self) -> None:
        """The client closes the connection."""
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.protocol.connectionLost(Failure(ConnectionDone()))


def ask(
    root: IResource,
    method: str,
    path: str,
    body: bytes | Any = b"",
    **headers: str,
) -> Exchange:
    """
    Send one request.

    :param body: bytes, or something to send as JSON.
    """
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    site = QuietSite(root, Clock())  # type: ignore[arg-type]  # a clock is enough
    protocol = site.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        f"Content-Length: {len(body)}",
        *(f"{name.title()}: {value}" for name, value in headers.items()),
    ]
    protocol.dataReceived("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return Exchange(protocol, transport)
