"""Run tests that know nothing of gateways with one in front of each node."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.error import ProcessExitedAlready
from twisted.trial.unittest import TestCase

import tests.support.child_nodes
import tests.support.pages
from tests.support.child_gateways import TWISTD, write_routes
from tests.support.ending import end
from tests.support.programs import Program
from tests.support.whole_node import WholeNode
from tests.system.test_node import Twistd, environment
from vinom.tools.commands.child_node import ChildNode, free_port

#: Settings of a node that are the gateway's too, where there is one: TLS ends there.
_TLS = ("--tls-certificate-file", "--tls-key-file")
#: A node's own certificate, below its state directory.
_OWN_TLS = ("authority/lobby.pem", "authority/lobby.key")


class Front:
    """
    A gateway in front of one node: at the ports where players would find the node.

    :ivar port: of the node's lobby, where it is now.
    :ivar http: of its page; 0 without one.
    """

    def __init__(self, way: str, lobby: int) -> None:
        """
        :param way: ``linked`` or ``sniffed``: how the gateway reaches the node.
        :param lobby: port at which players look for the lobby.
        """
        self._way, self._host = way, "127.0.0.1"
        self._folder = Path(tempfile.mkdtemp(prefix="vinom-"))
        self._front, self.port = [lobby], free_port()
        self.http = 0
        self._own: list[str] = []
        self._process: Program | None = None

    def behind(self, arguments: Sequence[str]) -> list[str]:
        """Change the arguments of a node into those of one behind this gateway."""
        names = ("--proxy=", *_TLS)
        self._own = [one for one in arguments if one.startswith(names)]
        for one in arguments:
            if one.startswith("--interface="):
                self._host = one.partition("=")[2]
        given = [self._page_of(one) for one in arguments if one != "--http-tls"]
        if not any(one.startswith("--guests") for one in given):
            given.append("--guests=yes")
        if self._way == "linked":
            given = [one for one in given if not one.startswith("--proxy=")]
            given.append(f"--gateway-link=unix:{self._folder / 'link'}")
        elif not any(one.startswith("--proxy=") for one in given):
            given.append(f"--proxy={self._host}")
        return [*given, "--allow-plaintext"]

    def _page_of(self, argument: str) -> str:
        """Have the gateway take the port of the page."""
        name, _, value = argument.partition("=")
        if name != "--http" or not value.isdecimal():
            return argument
        if not self.http:
            self._front.append(int(value))
            self.http = free_port()
        return f"--http={self.http}"

    def command(self, state_dir: str | Path) -> list[str]:
        """
        Write what starts the gateway, and its rules.

        :param state_dir: of the node, which has started.
        """
        if self._way == "linked":
            lobby = page = f"unix:{self._folder / 'link'}"
        else:
            host = f"[{self._host}]" if ":" in self._host else self._host
            lobby, page = f"{host}:{self.port}", f"{host}:{self.http}"
        rule = {
            "strategy": "round_robin",
            "transport": "packets" if self._way == "linked" else "tcp+proxy",
        }
        rules: dict[str, Any] = {"lobby": {**rule, "endpoints": [lobby]}}
        if self.http:
            match = {"path": "/"}
            rules["web"] = {**rule, "endpoints": [page], "match": match}
        write_routes(self._folder / "routes.toml", rules)
        own = self._own
        if not any(one.startswith(_TLS) for one in own):
            files = zip(_TLS, _OWN_TLS, strict=True)
            own = [*own, *(f"{name}={Path(state_dir) / one}" for name, one in files)]
        where = self._host.replace(":", "\\:")
        return [
            *TWISTD,
            "vinom-gateway",
            *(f"--listen=tcp:{one}:interface={where}" for one in self._front),
            f"--routes={self._folder / 'routes.toml'}",
            f"--access-log={self._folder / 'access.log'}",
            *("--new-connections=10000", "--max-connections-per-address=10000"),
            *("--drain-lag=0", "--drain-seconds=5"),
            *own,
        ]

    def clear(self) -> int:
        """Remove the files; returns how many sessions the gateway had."""
        log = self._folder / "access.log"
        sessions = log.read_bytes().count(b"\n") if log.exists() else 0
        shutil.rmtree(self._folder, ignore_errors=True)
        return sessions

    @property
    def is_open(self) -> bool:
        """Does the gateway run?"""
        return self._process is not None

    async def open(self, spawn: Any, state_dir: str) -> None:
        """
        Start the gateway; the node runs.

        :param spawn: the reactor.
        :param state_dir: the node's.
        """
        self._process = Program()
        command = self.command(state_dir)
        spawn.spawnProcess(self._process, command[0], command, environment())
        for port in self._front:
            await self._process.printed(b":%d (" % port)

    async def close(self) -> int:
        """Stop the gateway, and remove its files; returns how many sessions it had."""
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(ProcessExitedAlready):
                process.transport.signalProcess("TERM")  # type: ignore[union-attr]
                await process.ended
        return self.clear()


class NodeBehindGateway(ChildNode):
    """
    A node whose players come by way of a gateway: at the ports where they would find
    the node itself.

    :ivar own_port: of the node's lobby, for those who check whether it accepts.
    """

    #: ``linked`` or ``sniffed``: how the gateway reaches the node.
    way = ""
    #: How many sessions the gateways of a test had, one number for each.
    sessions: ClassVar[list[int]]

    def __init__(
        self,
        reactor: Any,
        arguments: Sequence[str] = (),
        port: int | None = None,
        **more: Any,
    ) -> None:
        self._lobby = free_port() if port is None else port
        self._fore = Front(self.way, self._lobby)
        self.own_port = self._fore.port
        self._given = self._fore.behind(arguments)
        super().__init__(reactor, self._given, self.own_port, **more)
        self._gateway_reactor = reactor

    async def _run(self) -> None:
        self.port = self.own_port
        await super()._run()
        if not self._fore.is_open:
            own = [one[12:] for one in self._given if one.startswith("--state-dir=")]
            await self._fore.open(self._gateway_reactor, (own or [self.state_dir])[0])
        self.port = self._lobby

    async def _stop(self) -> None:
        # The node first.
        was_open = self._fore.is_open
        await super()._stop()
        sessions = await self._fore.close()
        if was_open:
            self.sessions.append(sessions)


class TwistdBehindGateway(Twistd):
    """
    The same of nodes that a test starts with its own ports.

    One that starts where another has been is behind the same gateway.
    """

    way = ""
    #: By the port at which players look for the lobby.
    fronts: ClassVar[dict[str, Front]]

    def __init__(self, *arguments: str, **variables: str) -> None:
        name, folder = "--port=", "--state-dir="
        (port,) = (one for one in arguments if one.startswith(name))
        (state_dir,) = (one for one in arguments if one.startswith(folder))
        if port not in self.fronts:
            self.fronts[port] = Front(self.way, int(port.removeprefix(name)))
        self._fore, self._state_dir = self.fronts[port], state_dir.removeprefix(folder)
        given = self._fore.behind([one for one in arguments if one != port])
        super().__init__(f"{name}{self._fore.port}", *given, **variables)

    async def says(self, words: str) -> None:
        await super().says(words)
        if not self._fore.is_open:
            await self._fore.open(reactor, self._state_dir)


class WholeNodeBehindGateway(WholeNode):
    """The same of nodes of tests without a reactor."""

    way = ""
    sessions: ClassVar[list[int]]

    def changed(self, arguments: list[str]) -> list[str]:
        self._fore = Front(self.way, self.port)
        self._gateway: subprocess.Popen[bytes] | None = None
        given = [one for one in arguments if not one.startswith("--port=")]
        return [f"--port={self._fore.port}", *self._fore.behind(given)]

    def wait(self) -> None:
        """Wait until the node serves, and then the gateway."""
        front, self.http = self.http, self._fore.http
        super().wait()
        self.http = front
        self._gateway = subprocess.Popen(
            self._fore.command(self.state),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        super().wait()

    def stop(self) -> None:
        """End both, the node first."""
        super().stop()
        if self._gateway is not None:
            end(self._gateway)
        self.sessions.append(self._fore.clear())


class AtPort:
    """A reactor that listens at one port, whichever it is asked for."""

    def __init__(self, spawn: Any, port: int) -> None:
        """
        :param spawn: the reactor.
        :param port: where to listen.
        """
        self._reactor, self._port = spawn, port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, *given: Any, **named: Any) -> Any:
        """Listen, at that port."""
        return self._reactor.listenTCP(self._port, *given, **named)


@cache
def shared_gateway() -> tuple[int, int]:
    """
    Start a gateway for HTTP back ends of this process; it ends with the process.

    :returns: its port, and the one where it looks for them.
    """
    front, back = free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="vinom-"))
    rule = {
        "strategy": "round_robin",
        "endpoints": [f"127.0.0.1:{back}"],
        "match": {"path": "/"},
    }
    write_routes(folder / "routes.toml", {"web": rule})
    gateway = subprocess.Popen(
        [
            *TWISTD,
            "vinom-gateway",
            f"--listen=tcp:{front}:interface=127.0.0.1",
            f"--routes={folder / 'routes.toml'}",
            *("--new-connections=10000", "--max-connections-per-address=10000"),
            # Between two tests nobody is there.
            *("--check-seconds=86400", "--drain-lag=0", "--drain-seconds=0"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(end, gateway)
    give_up = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", front), 1).close()
            return front, back
        except OSError:
            assert gateway.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)


@cache
def _whole(way: str) -> type[WholeNodeBehindGateway]:
    """Make the class of nodes that a gateway reaches in this way."""
    return type("Whole", (WholeNodeBehindGateway,), {"way": way, "sessions": []})


@cache
def _shared(way: str) -> WholeNode:
    """Start the one node of all tests with browsers; it ends with this process."""
    node = _whole(way)()
    atexit.register(node.stop)
    node.wait()
    return node


def behind(way: str, case: type[TestCase]) -> type[TestCase]:
    """
    Make a test case whose nodes have a gateway in front.

    :param way: ``linked`` or ``sniffed``.
    """
    sessions: list[int] = []
    fronts: dict[str, Front] = {}
    inside = {
        ChildNode: type(
            "Node", (NodeBehindGateway,), {"way": way, "sessions": sessions}
        ),
        Twistd: type("Behind", (TwistdBehindGateway,), {"way": way, "fronts": fronts}),
        WholeNode: _whole(way),
    }
    _whole(way).sessions = sessions
    # The module of the case, and those of what it inherits.
    modules = {sys.modules[one.__module__] for one in case.__mro__}
    modules.add(tests.support.child_nodes)

    class Behind(case):  # type: ignore[valid-type, misc]  # any of them
        def setUp(self) -> Any:
            for module in modules:
                for node, replaced in inside.items():
                    if getattr(module, node.__name__, None) is node:
                        self.patch(module, node.__name__, replaced)
            self.patch(tests.support.pages, "shared_node", partial(_shared, way))
            sessions.clear()
            # The last things of all: whoever forgot the gateway tests nothing.
            self.addCleanup(self._check)
            # Tests without a reactor have none of these.
            self.addCleanup(lambda: self._close_fronts() if fronts else None)
            return super().setUp()

        def _check(self) -> None:
            is_behind = isinstance(getattr(self, "node", None), _whole(way))
            self.assertTrue(is_behind or sum(sessions), "no session")

        async def _close_fronts(self) -> None:
            while fronts:
                _, front = fronts.popitem()
                sessions.append(await front.close())

    name = f"{way.capitalize()}{case.__name__}"
    if case.__module__.startswith("tests.browser."):
        # Whose classes have names of other tests.
        name += case.__module__.rpartition("_")[2].capitalize()
    Behind.__name__ = Behind.__qualname__ = name
    Behind.__doc__ = case.__doc__
    return Behind
