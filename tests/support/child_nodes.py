"""Real nodes for tests of trial; `whole_node` is for tests without a reactor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from vinom.net.keys.authority import Authority
from vinom.tools.commands.admin import AdminLine
from vinom.tools.commands.child_node import ChildNode, free_port


async def start_node(
    test: TestCase, *arguments: str, spawner: Any = reactor, **options: Any
) -> ChildNode:
    """
    Start a node, which is stopped when the test is over.

    :param spawner: starts it; see `tests.support.units.UnderUnit`.
    :param options: of `ChildNode`.
    """
    node = ChildNode(spawner, arguments, **options)
    test.addCleanup(node.stop)
    await node.start()
    return node


async def start_leased_node(
    test: TestCase, *arguments: str, **options: Any
) -> ChildNode:
    """Start a node that shares a store, and wait until others can reach it."""
    node = await start_node(test, *arguments, **options)
    while not status_of(node)["store"]["lease"]:
        await deferLater(reactor, 0.05)  # type: ignore[arg-type]
    return node


async def start_http_node(test: TestCase, *arguments: str) -> tuple[ChildNode, int]:
    """Start a node that serves HTTP as well; returns it and that port."""
    http = free_port()
    return await start_node(test, f"--http={http}", *arguments), http


def admin_of(node: ChildNode) -> AdminLine:
    """Ask a node as its operator does."""
    return AdminLine(Path(node.state_dir) / "admin.sock")


def status_of(node: ChildNode) -> dict[str, Any]:
    """Ask a node what it does."""
    found: dict[str, Any] = admin_of(node).get("status")
    return found


def shared_by_nodes(test: TestCase, store: str) -> tuple[str, ...]:
    """
    Make what nodes need to go on with each other's matches: arguments for each.

    :param store: the setting of this name.
    """
    folder = Path(test.mktemp()).absolute()
    folder.mkdir()
    Authority.open(folder, "game.vinom", reactor.seconds)  # type: ignore[attr-defined]
    authority = folder / "authority"
    return (
        f"--store={store}",
        f"--authority-certificate-file={authority / 'ca.pem'}",
        f"--authority-key-file={authority / 'ca.key'}",
    )
