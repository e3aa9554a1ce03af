"""The node in this process: real sockets, without game servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from tests.support.programs import short_folder
from vinom.errors import Misconfigured
from vinom.fleet.kubernetes.template import PodTable
from vinom.net.keys.authority import Authority
from vinom.node.build import (
    fleet_settings,
    game_ports,
    game_server_program,
)
from vinom.node.node import Node
from vinom.node.settings import Settings
from vinom.node.web.collector import NodeCollector
from vinom.play.game_loader import load_games
from vinom.tools.commands.child_node import free_port_range


class BorrowedReactor:
    """The reactor that runs the tests, which the node must not stop."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def stop(self) -> None:
        self.stopped.callback(None)

    def callWhenRunning(self, *called: Any) -> None:
        """Signals stay those of the test runner."""


class NodeInsideTests(TestCase):
    """A node closes what it opens, and follows its settings."""

    timeout = 30

    def setUp(self) -> None:
        state_dir = short_folder(self)
        self.settings = Settings(
            port=0, state_dir=state_dir, ports=free_port_range(4), warm=0
        )
        self.borrowed = BorrowedReactor()

    def build(self, **changes: Any) -> Node:
        self.settings = attrs.evolve(self.settings, **changes)
        return Node(self.settings, self.borrowed)

    def start(self, **changes: Any) -> Node:
        node = self.build(**changes)
        node.startService()
        self.addCleanup(node.stopService)
        return node

    def write(self, text: str) -> Path:
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return path

    async def test_drain_an_empty_node(self) -> None:
        """
        A node without matches stops as soon as it is drained.
        """
        node = self.start()
        self.assertEqual((await node.status())["state"], "serving")
        self.assertIsNone(node.obstacle())
        node.ending.drain()
        await self.borrowed.stopped
        self.assertEqual(node.obstacle(), "stopping")

    async def test_drain_without_patience(self) -> None:
        """
        A node without matches that may not wait for any logs nothing about matches
        that did not end in time.
        """
        node = self.start(drain_seconds=0.0)
        with capturedLogs() as logged:
            node.ending.drain()
            await self.borrowed.stopped
            await deferLater(reactor, 0.0)
        levels = {event["log_level"] for event in logged}
        self.assertEqual(levels, {LogLevel.info})

    async def test_status(self) -> None:
        """
        The status has the players waiting for each game, and when certificates end.
        """
        status = await self.start().status()
        self.assertEqual(status["queue"]["waiting"], dict.fromkeys(load_games(), 0))
        self.assertEqual(set(status["certificates"]), {"authority", "lobby"})
        self.assertEqual(status["fleet"]["game_servers"], {})

    async def test_facts_for_metrics(self) -> None:
        """
        Ports add up, and every figure is there from the start.
        """
        facts = await self.start().facts()
        fleet = facts["fleet"].items()
        self.assertEqual(sum(n for name, n in fleet if name.startswith("ports_")), 4)
        self.assertEqual(set(facts["queue"]["waiting"]), set(load_games()))
        for certificate in ("authority", "lobby"):
            self.assertGreater(facts["certificates"][certificate], reactor.seconds())
        self.assertEqual(set(facts["queue"]["waits"]), set(load_games()))
        families = {family.name for family in NodeCollector(facts).collect()}
        self.assertIn("vinom_reactor_turn_seconds", families)

    async def test_restart_in_place(self) -> None:
        """
        Everything a node had is free again when it is stopped.
        """
        admin = self.write("correct-horse-battery")
        for _ in range(2):
            node = self.build(
                http="0", admin="tcp:0:interface=127.0.0.1", admin_token_file=admin
            )
            node.startService()
            self.assertEqual(set(node._listeners.web_at), {"http", "admin"})
            await node.stopService()
        self.assertFalse(self.settings.admin_socket.exists())
        self.assertFalse(self.settings.control_socket.exists())

    def test_two_nodes_one_directory(self) -> None:
        """
        The second node on a state directory does not start, and logs why.
        """
        self.start()
        error = self.assertRaises(SystemExit, self.build().startService)
        self.assertEqual(error.code, 1)

    def test_long_path(self) -> None:
        """
        A state directory whose socket could not be named is refused in words.
        """
        state_dir = self.settings.state_dir / ("x" * 120)
        node = self.build(state_dir=state_dir)
        self.assertRaises(SystemExit, node.startService)

    def test_wrong_at_once(self) -> None:
        """
        What can be found wrong before anything is opened is found then.
        """
        for words, changes in (
            ("isn't a checker", {"auth": ("nothing:x",)}),
            ("cannot read /nowhere", {"auth": ("file:/nowhere/passwords",)}),
            (
                "set admin_token_file to a file",
                {"admin": "1", "admin_token_file": Path("/nowhere")},
            ),
            (
                "cannot read /nowhere: No such file or directory; set "
                "identity_keys_file to a file that the node's user can read",
                {
                    "identity_keys_file": Path("/nowhere"),
                    "identity_issuer": "i",
                    "identity_audience": "a",
                },
            ),
            ("one token", {"admin": "1", "admin_token_file": self.write("short")}),
            ("cannot import", {"game": ("nowhere:Nothing",)}),
            (
                "cannot be read",
                {
                    "identity_keys_file": self.write("-"),
                    "identity_issuer": "i",
                    "identity_audience": "a",
                },
            ),
        ):
            kept = self.settings
            error = self.assertRaises(Misconfigured, self.build, **changes)
            self.assertIn(words, str(error))
            self.settings = kept

    def test_own_certificate(self) -> None:
        """
        A configured certificate is used for the lobby; a wrong one is refused.
        """
        authority = Authority.open(
            self.settings.state_dir / "other", "game.vinom", reactor.seconds
        )
        issued = authority.lobby(["play.example"])
        certificate = self.write(issued.certificate.decode())
        self.start(
            tls_certificate_file=certificate,
            tls_key_file=self.write(issued.key.decode()),
        )
        self.settings = attrs.evolve(
            self.settings, state_dir=self.settings.state_dir / "b"
        )
        node = self.build(tls_key_file=self.write("-"))
        self.assertRaises(SystemExit, node.startService)

    def test_game_servers_get_no_secrets(self) -> None:
        """
        The settings of game servers name no key, and recording can be off.
        """
        told = game_server_program(self.settings).settings
        self.assertFalse([name for name in told if "key" in name or "token" in name])
        self.assertIsNotNone(told["recordings"])
        off = attrs.evolve(self.settings, recordings_mb=0)
        self.assertIsNone(game_server_program(off).settings["recordings"])

    def test_games_are_loaded_before_the_fork(self) -> None:
        """
        Game servers share the memory of every game there is, and none has to
        search for games.
        """
        settings = attrs.evolve(self.settings, game=("tests.support.games:Ticking",))
        program = game_server_program(settings)
        self.assertIn("vinom.games.maze:Maze", program.settings["installed"])
        for module in ("vinom.fleet.gameserver.main:prepare", "vinom.games.maze"):
            self.assertIn(module, program.preload)
        self.assertIn("tests.support.games", program.preload)

    def test_bounds_of_the_fleet(self) -> None:
        """
        Without a cap of its own the ports are the cap; warm ones come on top, except
        pods, which have a port from their start.
        """
        settings = attrs.evolve(self.settings, ports=(5000, 5009), warm=3)
        self.assertEqual(fleet_settings(settings).policy.most, 13)
        pods = attrs.evolve(
            settings,
            pods=PodTable("image"),
            game_server_link="4700",
            game_server_address="node:4700",
        )
        self.assertEqual(fleet_settings(pods).policy.most, 10)
        settings = attrs.evolve(settings, max_servers=5, advertise="play.example")
        self.assertEqual(fleet_settings(settings).policy.most, 5)
        self.assertEqual(game_ports(settings).advertise, "play.example")
