"""Several machines on this one: namespaces of networks and processes, and a switch."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.support.needs import do_without, path_of
from vinom.tools.commands.child_node import ChildNode

#: Of benchmarks of networks (RFC 2544): nobody has machines there.
_NETWORK = "198.18.77."
_CLONE_NEWNET = 0x40000000


def _ip(*words: str) -> None:
    """Run ``ip``."""
    found = subprocess.run([path_of("ip"), *words], capture_output=True, text=True)
    if found.returncode:
        raise OSError(f"ip {' '.join(words)}: {found.stderr.strip()}")


class Switch:
    """
    A network of machines; whoever tests is in it, too.

    :ivar address: of whoever tests.
    """

    def __init__(self, test: TestCase) -> None:
        """
        :param test: removes it, and its machines, when it is over.
        """
        self._test, self.name, self._last = test, f"vnm{os.getpid()}", 1
        self.address = f"{_NETWORK}1"
        if os.geteuid():
            do_without("only root may make namespaces")
        path_of("ip")
        try:
            _ip("link", "add", self.name, "type", "bridge")
        except OSError as error:
            do_without(f"this kernel makes no bridge: {error}")
        test.addCleanup(self._remove)
        _ip("address", "add", f"{self.address}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def _remove(self) -> None:
        _ip("link", "del", self.name)

    def machine(self) -> Machine:
        """Connect one more machine."""
        self._last += 1
        made = Machine(f"{self.name}-{self._last}", f"{_NETWORK}{self._last}")
        self._test.addCleanup(made.remove)
        made.connect(self.name)
        return made


class Machine:
    """
    Has a network of its own; the files are everybody's.

    :ivar address: of its only interface but the loopback.
    """

    def __init__(self, name: str, address: str) -> None:
        self._name, self.address = name, address

    def connect(self, switch: str) -> None:
        """Lay a cable to a switch."""
        _ip("netns", "add", self._name)
        _ip(
            *("link", "add", self._name, "type", "veth"),
            *("peer", "name", "eth0", "netns", self._name),
        )
        _ip("link", "set", self._name, "master", switch, "up")
        for words in (
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self._name, *words)

    def remove(self) -> None:
        """Remove it; its processes have ended."""
        with suppress(OSError):
            _ip("link", "del", self._name)
        with suppress(OSError):
            _ip("netns", "del", self._name)

    def unplug(self) -> None:
        """Have nothing reach it, and nothing come from it."""
        _ip("link", "set", self._name, "down")

    def plug(self) -> None:
        """Connect it again."""
        _ip("link", "set", self._name, "up")

    @property
    def before(self) -> list[str]:
        """What starts a command in its network."""
        return [path_of("ip"), "netns", "exec", self._name]

    @contextmanager
    def within(self) -> Iterator[None]:
        """Whatever sockets are made meanwhile are of this machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            open("/proc/thread-self/ns/net", "rb") as here,
            open(f"/run/netns/{self._name}", "rb") as there,
        ):
            _enter(libc, there.fileno())
            try:
                yield
            finally:
                _enter(libc, here.fileno())


def _enter(libc: Any, namespace: int) -> None:
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class MachineNode(ChildNode):
    """A node, with processes of its own, which is all that a machine does."""

    def __init__(
        self, reactor: Any, machine: Machine, *arguments: str, is_told: bool = True
    ) -> None:
        """
        :param is_told: is it told the machine's address?
        """
        super().__init__(reactor, arguments, port=4600, game_ports=8)
        self.machine = machine
        if is_told:
            self.host = machine.address

    def command(self) -> list[str]:
        # All processes there are killed with the first one.
        apart = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
        return [*self.machine.before, *apart, *super().command()]

    async def answers(self) -> bool:
        found = await self.ask("status")
        return bool(found and found["store"]["lease"])

    async def die(self) -> None:
        """Unplug the machine, kill all its processes, and remove all its files."""
        self.machine.unplug()
        await self.kill()
        shutil.rmtree(self.state_dir)


@implementer(IStreamClientEndpoint)
class Reaching:
    """
    Reaches the node that it is set to, as a balancer in front of all would.

    :ivar node: the node; if nobody else reaches it, from its own machine.
    """

    def __init__(self, reactor: Any, node: MachineNode) -> None:
        self._reactor, self.node = reactor, node

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect to the node."""
        node = self.node
        is_near = node.host != node.machine.address
        with node.machine.within() if is_near else nullcontext():
            endpoint = TCP4ClientEndpoint(
                self._reactor, node.host, node.port, timeout=3
            )
            dialed: Deferred[Any] = endpoint.connect(factory)
        return dialed
