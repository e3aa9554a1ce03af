"""Real gateways for tests of trial."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

import tests
from tests.support.programs import Program, start_program
from tests.support.whole_node import resident
from vinom.tools.commands.child_node import free_port

ROOT = Path(tests.__file__).resolve().parent.parent
#: twistd of this Python, in the foreground.
TWISTD = (
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)
#: A bound on liveness: looks each 20 ms.
_LOOKS = 1500


@attrs.define(eq=False)
class ChildGateway:
    """
    A gateway in a process of its own.

    :ivar port: where it listens, on the loopback.
    :ivar routes: the file of its rules.
    :ivar log: its access log.
    """

    port: int
    folder: Path
    program: Program

    @property
    def routes(self) -> Path:
        return self.folder / "routes.toml"

    @property
    def pid(self) -> int:
        pid = self.program.transport.pid  # type: ignore[union-attr]
        assert isinstance(pid, int)
        return pid

    @property
    def resident(self) -> int:
        """Bytes of memory that its process has."""
        return resident(self.pid)

    def sessions(self) -> list[dict[str, Any]]:
        """Read the lines of sessions that are over."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]


def write_routes(path: Path, services: dict[str, Any]) -> None:
    """Write rules: JSON's values of these kinds are TOML's, but for tables."""
    text = "".join(
        f"[services.{name}]\n"
        + "".join(f"{key} = {_value(value)}\n" for key, value in rule.items())
        for name, rule in services.items()
    )
    path.write_text(text)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_value(one)}" for key, one in value.items())
        return f"{{{inside}}}"
    return json.dumps(value)


async def start_gateway(
    test: TestCase, services: dict[str, Any], *arguments: str, port: int = 0
) -> ChildGateway:
    """Start a gateway, which is gone when the test is over."""
    folder = Path(test.mktemp()).absolute()
    folder.mkdir(parents=True)
    write_routes(folder / "routes.toml", services)
    port = port or free_port()
    program = start_program(
        test,
        *TWISTD,
        "vinom-gateway",
        f"--listen=tcp:{port}:interface=127.0.0.1",
        f"--routes={folder / 'routes.toml'}",
        f"--access-log={folder / 'access.log'}",
        "--new-connections=10000",
        "--max-connections-per-address=10000",
        *arguments,
        environ=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    is_managed = any(one.startswith("--admin=") for one in arguments)
    await program.printed(b"(admin)" if is_managed else b"(listen)")
    return ChildGateway(port, folder, program)


async def until(test: TestCase, is_so: Any, what: str) -> None:
    """Wait until something is so."""
    clock: Any = reactor
    for _ in range(_LOOKS):
        if is_so():
            return
        waited: Deferred[None] = deferLater(clock, 0.02)
        await waited
    test.fail(f"never: {what}")
