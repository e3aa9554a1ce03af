"""Run tests that know nothing of gateways with one in front of each node."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import tests.support.child_nodes
from tests.support.child_gateways import write_routes
from vinom.commands.child_node import ChildNode, NodeFailed, free_port

_ROOT = Path(tests.__file__).resolve().parent.parent
_TWISTD = "from twisted.scripts.twistd import run; run()"


class _Gateway(ProcessProtocol):
    """A gateway's process."""

    transport: Any

    def __init__(self) -> None:
        self.output = b""
        self.ready: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._missing = 0

    def wait(self, ports: int) -> Deferred[None]:
        """Fires when it listens at so many ports, or fails."""
        self._missing = ports
        self._look()
        return self.ready

    def outReceived(self, data: bytes) -> None:
        self.output += data
        self._look()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        if not self.ready.called:
            self.ready.errback(NodeFailed(self.output.decode(errors="replace")))
        self.gone.callback(None)

    def _look(self) -> None:
        is_open = self._missing and self.output.count(b"listens at") >= self._missing
        if is_open and not self.ready.called:
            self.ready.callback(None)


class NodeBehindGateway(ChildNode):
    """
    A node whose players come by way of a gateway: at the ports where they would find
    the node itself.
    """

    #: ``linked`` or ``sniffed``: how the gateway reaches the node.
    way = ""
    #: How many sessions the gateways of a test had, one number for each.
    sessions: ClassVar[list[int]]

    def __init__(
        self, reactor: Any, arguments: Sequence[str] = (), port: int | None = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-"))
        self._front = [free_port() if port is None else port]
        self._http = 0
        given = [self._behind(one) for one in arguments]
        if not any(one.startswith("--guests") for one in given):
            given.append("--guests=yes")
        given += ["--allow-plaintext", *self._own()]
        super().__init__(reactor, given)
        self._gateway_reactor = reactor
        self._gateway = _Gateway()
        self._is_in_front = False

    def _behind(self, argument: str) -> str:
        """Have the gateway take the port of the page."""
        name, _, value = argument.partition("=")
        if name != "--http" or not value.isdecimal():
            return argument
        self._front.append(int(value))
        self._http = free_port()
        return f"--http={self._http}"

    def _own(self) -> list[str]:
        if self.way == "linked":
            return [f"--gateway-link=unix:{self._folder / 'link'}"]
        return ["--proxy=127.0.0.1"]

    def start(self) -> Deferred[None]:
        """Start both."""
        return Deferred.fromCoroutine(self._start_both())

    def stop(self) -> Deferred[None]:
        """Stop both, the node first."""
        return Deferred.fromCoroutine(self._stop_both())

    async def _start_both(self) -> None:
        await super().start()
        if self.way == "linked":
            lobby = web = f"unix:{self._folder / 'link'}"
            transports = "packets", "packets"
        else:
            lobby, web = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._http}"
            transports = "tcp+proxy", "tcp+proxy"
        rules: dict[str, Any] = {
            "lobby": {
                "strategy": "round_robin",
                "endpoints": [lobby],
                "transport": transports[0],
            }
        }
        if self._http:
            rules["web"] = {
                "strategy": "round_robin",
                "endpoints": [web],
                "transport": transports[1],
                "match": {"path": "/"},
            }
        write_routes(self._folder / "routes.toml", rules)
        self._is_in_front = True
        self._gateway_reactor.spawnProcess(
            self._gateway,
            sys.executable,
            [
                *(sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "vinom-gateway"),
                *(f"--listen=tcp:{one}:interface=127.0.0.1" for one in self._front),
                f"--routes={self._folder / 'routes.toml'}",
                f"--access-log={self._folder / 'access.log'}",
                "--new-connections=10000",
                "--max-connections-per-address=10000",
            ],
            dict(os.environ, PYTHONPATH=str(_ROOT)),
        )
        await self._gateway.wait(len(self._front))
        self.port = self._front[0]

    async def _stop_both(self) -> None:
        await super().stop()
        if self._is_in_front:
            self._is_in_front = False
            with suppress(ProcessExitedAlready):
                self._gateway.transport.signalProcess("TERM")
                await self._gateway.gone
            lines = (self._folder / "access.log").read_bytes().count(b"\n")
            self.sessions.append(lines)
        shutil.rmtree(self._folder, ignore_errors=True)


def behind(way: str, case: type[TestCase]) -> type[TestCase]:
    """
    Make a test case whose nodes have a gateway in front.

    :param way: ``linked`` or ``sniffed``.
    """
    sessions: list[int] = []
    node = type("Node", (NodeBehindGateway,), {"way": way, "sessions": sessions})
    module = sys.modules[case.__module__]

    class Behind(case):  # type: ignore[valid-type, misc]  # any of them
        def setUp(self) -> Any:
            for one in (module, tests.support.child_nodes):
                if hasattr(one, "ChildNode"):
                    self.patch(one, "ChildNode", node)
            sessions.clear()
            # The last thing of all: whoever forgot the gateway tests nothing.
            self.addCleanup(lambda: self.assertTrue(sum(sessions)))
            return super().setUp()

    Behind.__name__ = Behind.__qualname__ = f"{way.capitalize()}{case.__name__}"
    Behind.__doc__ = case.__doc__
    return Behind
