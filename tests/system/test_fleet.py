"""The fork server and the local fleet, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from random import Random

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.fleet.contract import ContractServer, FleetContract
from tests.support.descriptors import every_descriptor
from tests.support.ending import is_running
from tests.support.supply import FakeIssuer, RecordingWatch, match_plan, ticket
from vinom.base.model import Exit, ServerAddress
from vinom.errors import NoCapacity
from vinom.fleet.control.link import ControlServer
from vinom.fleet.fleet import Fleet
from vinom.fleet.local import process
from vinom.fleet.local.fleet import GameServerProgram, LocalFleet
from vinom.fleet.local.forklink import ForkLink, arguments
from vinom.fleet.local.forkserver import Start, Started
from vinom.fleet.local.outliving import IS_ADOPTED, PLAYS_ON
from vinom.fleet.match import RoomTimeouts
from vinom.fleet.policy import PoolPolicy
from vinom.fleet.pool import PoolMeans
from vinom.fleet.port_ring import GamePorts, PortRing
from vinom.fleet.server import FleetSettings, Program
from vinom.tools.commands.child_node import free_port_range

PROGRAMS = "tests.support.game_processes"


def open_descriptors() -> set[str]:
    """What our own descriptors are, but for the reactor's way to wake itself."""
    targets = every_descriptor()
    # Twisted reserves one on the null device when it first listens, for good.
    return {one for one in targets if targets.count(one) == 1} - {os.devnull}


async def until(is_so) -> None:
    """Wait for something that will happen soon."""
    while not is_so():
        await deferLater(reactor, 0.01)


class LocalFleetTests(TestCase):
    """Processes start, are watched, and end."""

    timeout = 30

    def setUp(self):
        # The first claim of ports keeps a descriptor, so it comes before we count them.
        self.ports = free_port_range(3)
        self.before = open_descriptors()
        self.servers, self.fleets = {}, []
        self.signed = Path(self.mktemp()).absolute()

    async def tearDown(self):
        for fleet in self.fleets:
            await fleet.close()
        self.assertEqual(open_descriptors(), self.before)

    def make(self, program: str, settings=None, mail=None, **options) -> LocalFleet:
        fleet = LocalFleet(
            reactor,
            GameServerProgram(
                f"{PROGRAMS}:{program}",
                {"signed": str(self.signed), **(settings or {})},
                **options,
            ),
            GamePorts(PortRing(*self.ports), "127.0.0.1", "127.0.0.1", reactor.seconds),
            {**os.environ, "VINOM_ADMIN_TOKEN_FILE": "/secret", "SECRET": "x"},
            stop_seconds=0.3,
            mail=mail,
        )
        self.fleets.append(fleet)
        return fleet

    def begin(self, fleet: LocalFleet, server_id: str = "s1") -> Deferred[object]:
        """Start a game server; fires only if it fails, for nobody needs it."""
        self.servers[server_id] = ContractServer(server_id)
        return fleet.start(self.servers[server_id])

    async def start(self, fleet: LocalFleet, server_id: str = "s1") -> int | None:
        """Start a game server; its process, if that did not end at once."""
        self.begin(fleet, server_id).addErrback(lambda f: f.trap(NoCapacity))
        await until(
            lambda: fleet.pid_of(server_id) or self.servers[server_id].gone.called
        )
        return fleet.pid_of(server_id)

    async def exit_of(self, server_id: str = "s1") -> Exit:
        await self.servers[server_id].gone
        (how,) = self.servers[server_id].exits
        return how

    def log_lines(self) -> list[str]:
        """What is logged from now on: the lines of game servers, and other events."""
        lines: list[str] = []

        def observe(event):
            lines.append(event.get("line") or event.get("log_format") or "")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines

    async def test_what_a_child_has(self):
        """
        A game server inherits no descriptor, no secret and no Ctrl-C, shares
        what was loaded before, and has limits.
        """
        path = Path(self.mktemp()).absolute()
        settings = {"path": str(path), "number": 5, "signed": str(self.signed)}
        fleet = self.make(
            "report",
            settings,
            preload=("decimal", "no.such.module", f"{PROGRAMS}:warm_up"),
            memory=300 * 1024 * 1024,
            descriptors=99,
        )
        pid = await self.start(fleet)
        await until(path.exists)
        facts = json.loads(path.read_text())
        self.assertEqual(facts["arguments"], ["s1", settings])
        # The fourth is that of the listing itself.
        self.assertEqual(facts["descriptors"], [0, 1, 2, 3])
        self.assertEqual(facts["pid"], pid)
        self.assertEqual(facts["session"], pid)
        self.assertTrue(facts["ignores_interrupt"])
        self.assertEqual(facts["memory"], [300 * 1024 * 1024] * 2)
        self.assertEqual(facts["files"], [99, 99])
        self.assertEqual(facts["core"], [0, 0])
        self.assertTrue(facts["preloaded"])
        self.assertEqual(facts["warmed_up"], [settings])
        self.assertTrue(facts["collects"])
        self.assertFalse(facts["reactor"])
        self.assertNotIn("SECRET", facts["environment"])
        self.assertFalse([n for n in facts["environment"] if n.startswith("VINOM")])

    async def test_what_a_command_has(self):
        """
        A program of its own is told what it needs, starts in its folder, and has the
        limits, session and quiet of other game servers; Python's variables are not its.
        """
        path = Path(self.mktemp()).absolute()
        told = "import json, os, resource, signal; get = resource.getrlimit; print(" + (
            "json.dumps({'environment': dict(os.environ), 'session': os.getsid(0), "
            "'pid': os.getpid(), 'folder': os.getcwd(), "
            "'data': get(resource.RLIMIT_DATA), 'files': get(resource.RLIMIT_NOFILE), "
            "'core': get(resource.RLIMIT_CORE), 'space': get(resource.RLIMIT_AS), "
            "'open': sorted(map(int, os.listdir('/proc/self/fd'))), "
            "'quiet': signal.getsignal(signal.SIGINT) is signal.SIG_IGN}), "
            f"file=open({str(path) + '-'!r}, 'w')); "
            f"os.rename({str(path) + '-'!r}, {str(path)!r})"
        )
        fleet = self.make(
            "never",
            memory=300 * 1024 * 1024,
            descriptors=99,
            command=(sys.executable, "-c", told),
            environment={"VINOM_CONTROL": "/run/control.sock"},
            folder="/",
        )
        await self.start(fleet)
        await until(path.exists)
        facts = json.loads(path.read_text())
        environment = facts["environment"]
        self.assertEqual("s1", environment["VINOM_SERVER_ID"])
        self.assertEqual("/run/control.sock", environment["VINOM_CONTROL"])
        self.assertNotIn("SECRET", environment)
        self.assertNotIn("VINOM_ADMIN_TOKEN_FILE", environment)
        self.assertEqual(
            [], [name for name in environment if name.startswith("PYTHON")]
        )
        self.assertEqual("/", facts["folder"])
        self.assertEqual(facts["pid"], facts["session"])
        self.assertEqual([300 * 1024 * 1024] * 2, facts["data"])
        self.assertEqual([-1, -1], facts["space"])
        self.assertEqual([99, 99], facts["files"])
        self.assertEqual([0, 0], facts["core"])
        # The fourth is that of the listing itself.
        self.assertEqual([0, 1, 2, 3], facts["open"])
        self.assertTrue(facts["quiet"])
        how = await self.exit_of()
        self.assertEqual(Exit(facts["pid"], 0, None), how)

    async def test_no_such_command(self):
        """
        A program that is not there ends like a game server that fails, and the log says
        what could not be run.
        """
        lines = []

        def observe(event):
            lines.append(event.get("line") or "")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        fleet = self.make("never", command=("/no/such/program", "x"))
        failed = self.begin(fleet)
        await self.assertFailure(failed, NoCapacity)
        self.assertEqual(1, (await self.exit_of()).status)
        await until(lambda: any("/no/such/program" in line for line in lines))

    async def test_exits(self):
        """
        How a process ended is known: its status, or the signal.
        """
        fleet = self.make("end", {"status": 3})
        await self.start(fleet)
        how = await self.exit_of()
        self.assertEqual(how, Exit(int(self.signed.read_text()), 3, None))
        fleet = self.make("end", {"raise": True})
        await self.start(fleet)
        how = await self.exit_of()
        self.assertEqual(how, Exit(int(self.signed.read_text()), 1, None))
        fleet = self.make("stay")
        pid = await self.start(fleet)
        os.kill(pid, signal.SIGSEGV)
        self.assertEqual(await self.exit_of(), Exit(pid, None, signal.SIGSEGV))

    async def test_whose_link(self):
        """
        A link is a game server's only if the process that was forked for it dialed.
        """
        fleet = self.make("stay")
        pid = await self.start(fleet)
        self.assertTrue(fleet.admits("s1", pid))
        self.assertFalse(fleet.admits("s1", os.getpid()))
        self.assertFalse(fleet.admits("s2", pid))

    async def test_prints(self):
        """
        What a game server prints is in the node's log.
        """
        lines = self.log_lines()
        fleet = self.make("end", {"print": "good day"})
        await self.start(fleet)
        await self.exit_of()
        await until(lambda: "good day" in lines)

    async def test_flood(self):
        """
        Of one game server that prints without end the node logs a part, and says so; it
        does not have to wait, and what others print is logged as ever.
        """
        lines = self.log_lines()
        fleet = self.make("floods")
        await self.start(fleet)
        self.assertEqual((await self.exit_of()).status, 0)
        logged = [line for line in lines if line.startswith("flood")]
        self.assertGreater(len(logged), 100)
        self.assertLess(len(logged), 10_000)
        self.assertTrue([line for line in lines if "dropped" in line], lines[-1])
        other = self.make("end", {"print": "good day"})
        await self.start(other, "s2")
        await self.exit_of("s2")
        await until(lambda: "good day" in lines)

    async def test_prints_for_nobody(self):
        """
        A game server whose node is gone prints, and nothing comes of it.
        """
        go = Path(self.mktemp()).absolute()
        fleet = self.make("chats", {"go": str(go)}, mail=Path(self.mktemp()))
        pid = await self.start(fleet)
        fleet.release("s1")
        await fleet.close()
        go.touch()
        await until(lambda: not is_running(pid))
        self.assertEqual(self.signed.read_text(), str(pid))

    async def test_memory_limit(self):
        """
        A game server that takes too much memory fails alone.
        """
        fleet = self.make("greedy")
        await self.start(fleet)
        how = await self.exit_of()
        self.assertEqual(how, Exit(int(self.signed.read_text()), 1, None))

    async def test_stop(self):
        """
        A process is asked to end or made to, even when it is stopped.
        """
        fleet = self.make("stay")
        pid = await self.start(fleet)
        fleet.stop("s1")
        self.assertEqual(await self.exit_of(), Exit(pid, None, signal.SIGTERM))
        pid = await self.start(fleet)
        os.kill(pid, signal.SIGSTOP)
        fleet.stop("s1", kill=True)
        self.assertEqual(await self.exit_of(), Exit(pid, None, signal.SIGKILL))
        fleet.stop("s1")

    async def test_cancel(self):
        """
        A process that is no longer needed ends as soon as it has started.
        """
        fleet = self.make("stay")
        starting = self.begin(fleet)
        starting.addErrback(lambda failure: None)
        starting.cancel()
        how = await self.exit_of()
        self.assertEqual(how.signal, signal.SIGKILL)

    async def test_close(self):
        """
        Closing the fleet leaves no process, not even a stubborn one.
        """
        fleet = self.make("stubborn")
        pids = [await self.start(fleet, f"s{n}") for n in range(3)]
        fork_server = fleet.fork_server_pid
        self.assertFailure(self.begin(fleet, "late"), NoCapacity)
        await fleet.close()
        pids.append((await self.exit_of("late")).pid)
        for pid in [*pids, fork_server]:
            self.assertFalse(is_running(pid))
        await gatherResults([server.gone for server in self.servers.values()])
        await self.assertFailure(self.begin(fleet, "s9"), NoCapacity)

    async def test_fork_server_dies(self):
        """
        When the fork server dies its game servers live on and are watched, and
        a new one takes its place.
        """
        fleet = self.make("stay")
        pid = await self.start(fleet)
        first = fleet.fork_server_pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: fleet.fork_server_pid not in (first, None))
        self.assertTrue(is_running(pid))
        # Nobody asked it for one in vain, so that is no problem.
        self.assertEqual(fleet.problem, "")
        other = await self.start(fleet, "s2")
        fleet.stop("s1", kill=True)
        self.assertEqual((await self.exit_of()).pid, pid)
        self.assertTrue(is_running(other))

    async def test_fork_server_dies_while_asked(self):
        """
        A start that the fork server took with it fails, and does not hang.
        """
        fleet = self.make("stay")
        await self.start(fleet)
        os.kill(fleet.fork_server_pid, signal.SIGSTOP)
        starting = self.begin(fleet, "s2")
        os.kill(fleet.fork_server_pid, signal.SIGKILL)
        await self.assertFailure(starting, NoCapacity)
        await self.assertFailure(self.begin(fleet, "s3"), NoCapacity)

    async def test_secrets_are_their_own(self):
        """
        What was rehearsed before the fork gives no two game servers one secret.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        fleet = self.make(
            "draw", {"folder": str(folder)}, preload=(f"{PROGRAMS}:draw_early",)
        )
        drawn = []
        for server_id in ("s1", "s2", "s3"):
            await self.start(fleet, server_id)
            path = folder / server_id
            await until(path.exists)
            drawn.append(json.loads(path.read_text()))
        drawn.append(json.loads((folder / "early").read_text()))
        for secrets in zip(*drawn, strict=True):
            self.assertEqual(4, len(set(secrets)))

    async def test_reactor_in_the_way(self):
        """
        A module that installs a reactor is not preloaded: children would
        share it. Operators see that the fork server dies before it starts any.
        """
        fleet = self.make("stay", preload=("twisted.internet.reactor",))
        self.assertEqual(fleet.problem, "")
        await self.assertFailure(self.begin(fleet), NoCapacity)
        await until(lambda: "before it has started" in fleet.problem)

    async def test_node_dies(self):
        """
        Game servers that hang when their node is dead are killed in the end.
        """
        started = Deferred()

        def told(message, descriptors):
            for one in descriptors:
                os.close(one)
            if isinstance(message, Started):
                started.callback(message.pid)

        link = ForkLink(
            reactor,
            arguments(f"{PROGRAMS}:stubborn", (), {}, orphan_seconds=0.3),
            os.environ,
            told,
            lambda: None,
        )
        self.assertTrue(link.start(Start("s1", {}, 1 << 30, 64)))
        pid = await started
        # What the node's death looks like to the fork server.
        await link.close()
        self.assertFalse(is_running(pid))
        self.assertFalse(is_running(link.pid))

    async def test_ends_after_its_fork_server(self):
        """
        When a process ends whose fork server was replaced, that is known at once: the
        new one is not asked about it.
        """
        self.patch(process, "STATUS_SECONDS", 3600.0)
        fleet = self.make("stay")
        pid = await self.start(fleet)
        os.kill(fleet.fork_server_pid, signal.SIGKILL)
        await until(lambda: fleet.fork_server_pid is None)
        await until(lambda: fleet.fork_server_pid)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(await self.exit_of(), Exit(pid))

    async def test_adopted(self):
        """
        Another fleet goes on with a process that this one has let go of: its exit is
        seen once, and its port is free only then. A later process with its id, or
        nonsense, is not adopted.
        """
        mail = Path(self.mktemp())
        first, second = self.make("stay", mail=mail), self.make("stay", mail=mail)
        pid = await self.start(first)
        handle, where = first.handle("s1"), ServerAddress("127.0.0.1", self.ports[0])
        (box,) = first.mailbox("s1")
        os.close(box)
        first.release("s1")
        self.assertIsNone(first.pid_of("s1"))
        server = self.servers["s1"] = ContractServer("s1")
        number, boot, began, box_at = handle.split(" ", 3)
        of_another = f"{number} {boot} {began}0 {box_at}"
        for wrong in ("", "1", f"{os.getpid()} {handle.partition(' ')[2]}", of_another):
            self.assertFalse(second.adopt(server, wrong, where))
        self.assertTrue(second.adopt(server, handle, where))
        self.assertTrue(second.admits("s1", pid))
        self.assertEqual(second.addresses().bound, 1)
        # Nobody reads its mailbox any more.
        second.arrived = lambda ready, link: None
        second.call("s1")
        second.stop("s1", kill=True)
        await self.exit_of()
        self.assertEqual((second.addresses().bound, list(mail.iterdir())), (0, []))
        self.assertFalse(second.adopt(server, handle, where))
        # It did not wait for a fork server whose children live on.
        await first.close()
        await until(lambda: open_descriptors() == self.before)

    async def test_node_dies_in_a_match(self):
        """
        One that hangs with a match has its lease first; one that another node has
        adopted is that node's to kill. Then the fork server ends.
        """
        started = Deferred()

        def told(message, descriptors):
            for one in descriptors:
                os.close(one)
            if isinstance(message, Started):
                pids.append(message.pid)
                if len(pids) == 2:
                    started.callback(None)

        pids = []
        link = ForkLink(
            reactor,
            arguments(f"{PROGRAMS}:plays_on", (), {}, 1.0, lease_seconds=1.0),
            os.environ,
            told,
            lambda: None,
        )
        for how in (PLAYS_ON, IS_ADOPTED):
            link.start(Start(f"s{how}", {"how": how}, 1 << 30, 64))
        await started
        playing, adopted = pids
        link.leave()
        await deferLater(reactor, 1.5)
        self.assertTrue(is_running(playing))
        await until(lambda: not is_running(playing))
        await until(lambda: not is_running(link.pid))
        self.assertTrue(is_running(adopted))
        os.kill(adopted, signal.SIGKILL)


class LocalContractTests(FleetContract, TestCase):
    """Processes keep to the contract of every fleet."""

    timeout = 30
    program = GameServerProgram(f"{PROGRAMS}:stay")

    def make_fleet(self) -> LocalFleet:
        fleet = LocalFleet(
            reactor,
            self.program,
            GamePorts(
                PortRing(*free_port_range(3)), "127.0.0.1", "127.0.0.1", reactor.seconds
            ),
            os.environ,
            stop_seconds=0.3,
        )
        self.addCleanup(fleet.close)
        return fleet

    def is_running(self, fleet: LocalFleet, server_id: str) -> bool:
        pid = fleet.pid_of(server_id)
        return pid is not None and is_running(pid)

    def kill(self, fleet: LocalFleet, server_id: str) -> None:
        os.kill(fleet.pid_of(server_id), signal.SIGKILL)

    async def until(self, is_so) -> None:
        await until(is_so)


class CommandContractTests(LocalContractTests):
    """So do programs of their own."""

    program = GameServerProgram("", command=("sleep", "1000"))


class FleetTests(TestCase):
    """The whole fleet: service, control links and processes."""

    timeout = 30

    async def test_matches(self):
        """
        More matches than ports are all played; a port that somebody else
        holds is left out; a killed process loses its match only; at the end
        every port is free and no process or descriptor is left.
        """
        # First of all: a process that claims ports keeps a descriptor for its lifetime.
        taken, _ = free_port_range(3)
        before = set(every_descriptor())
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "control")
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        holder.bind(("127.0.0.1", taken))
        local = LocalFleet(
            reactor,
            GameServerProgram(f"{PROGRAMS}:play", {"control_socket": path}),
            GamePorts(
                PortRing(taken, taken + 2), "127.0.0.1", "127.0.0.1", reactor.seconds
            ),
            os.environ,
        )
        fleet = Fleet(
            PoolMeans(
                FakeIssuer(),
                reactor,
                reactor.seconds,
                Random(1).randbytes,
                RoomTimeouts({"maze": 60.0}),
            ),
            Program(local, FleetSettings("game.vinom", PoolPolicy(warm=1))),
        )
        control = await UNIXServerEndpoint(reactor, path).listen(
            ControlServer(reactor, fleet.arrived)
        )
        fleet.startService()
        watch = RecordingWatch()
        placed = {
            f"m{n}": fleet.place(match_plan(f"m{n}"), [ticket(f"m{n}", 0)], watch)
            for n in range(6)
        }
        first = await placed["m0"]
        self.assertIn(first.port, (taken + 1, taken + 2))
        await placed["m1"]
        # The game server that gets the taken port may notice after the others.
        await until(lambda: fleet.status().ports_quarantined == 1)
        await until(lambda: fleet.status().waiting == 4)
        shown = fleet.status().game_servers[first.server]
        self.assertEqual(shown.matches, ("m0",))
        os.kill(shown.pid, signal.SIGKILL)
        for n in range(1, 6):
            await placed[f"m{n}"]
            fleet.close_room(f"m{n}", "ended")
        await fleet.drain()
        self.assertEqual(
            {end.match_id: end.reason for end in watch.ends},
            {"m0": "lost", **{f"m{n}": "ended" for n in range(1, 6)}},
        )
        await fleet.stopService()
        status = fleet.status()
        self.assertEqual((status.ports_free, status.ports_bound), (2, 0))
        await control.stopListening()
        holder.close()
        await until(lambda: open_descriptors() <= before)
