"""A game server that was taken over, behind the wall of a real node."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutput, getProcessValue
from twisted.trial.unittest import SkipTest, TestCase

from tests.support.child_nodes import start_node
from tests.support.units import UnderUnit
from vinom.base.wall.enclosure import missing
from vinom.client.match import Match
from vinom.client.sdk import Client, connect
from vinom.tools.commands.admin import AdminLine, NotDone


class Taken(TestCase):
    """Opens a node whose game is `tests.support.burglar`."""

    timeout = 40
    spawner: Any = reactor

    async def open(self, *arguments: str) -> None:
        self.data = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.data)
        self.data.chmod(0o755)
        (self.data / "words.txt").write_text("good words")
        self.node = await start_node(
            self,
            "--warm=2",
            "--game=tests.support.burglar:Burglar",
            f"--game-data={self.data}",
            *arguments,
            spawner=self.spawner,
        )
        self.state = Path(self.node.state_dir)
        self.admin = AdminLine(self.state / "admin.sock")

    async def enter(self) -> Match:
        """Have one player in a match of its own; play has begun."""
        client: Client = await connect(
            reactor, self.node.host, self.node.port, name="ann", way="udp"
        )
        self.addCleanup(client.close)
        match: Match = await client.queue("burglar")
        await match.joined
        return match

    async def processes(self) -> dict[str, int]:
        """Find game servers: by match, or by their own names those without one."""
        status = await deferToThread(self.admin.get, "status")
        servers = status["fleet"]["game_servers"]
        return {
            next(iter(one["matches"]), name): one["pid"]
            for name, one in servers.items()
            # One that the fork server was asked for, but has not begun yet, has none.
            if one["pid"]
        }

    async def rob(self, *only: str) -> dict[str, str]:
        """Have the game try everything, or only that; returns what came of it."""
        match = await self.enter()
        siblings: list[int] = []
        while not siblings:
            found = await self.processes()
            siblings = [pid for name, pid in found.items() if name != match.match_id]
        match.act(
            {
                "type": "rob",
                "state": str(self.state),
                "node": self.node.pid,
                "sibling": siblings[0],
                "port": self.node.port,
                "data": str(self.data / "words.txt"),
                "only": only,
            }
        )
        while not match.view:
            await deferLater(reactor, 0.05)
        view: dict[str, str] = match.view
        return view

    async def rob_all(self) -> dict[str, str]:
        """
        Have the game try everything; it could do what a game needs, and nothing else.

        :returns: what it could not do, and what came of each.
        """
        if missing():
            raise SkipTest("; ".join(missing()))
        await self.open()
        found = await self.rob()
        self.assertGreater(len(found), 40)
        may = {name for name in found if name.startswith("may ")}
        self.assertEqual(may, {name for name in found if found[name] == "done"})
        return {name: found[name] for name in found if name not in may}


class WallTests(Taken):
    async def test_nothing_to_take(self) -> None:
        """
        A game that tries to reads keys, memory and sockets, to write, to connect, to
        run programs and to stop others does none of it; what a game needs, it may.
        """
        found = await self.rob_all()
        refused = {
            name: outcome
            for name, outcome in found.items()
            if not outcome.startswith("PermissionError")
        }
        self.assertEqual(refused, {})
        self.assertFalse((self.state / "planted").exists())
        # The node serves on.
        self.assertEqual("serving", self.admin.get("status")["state"])

    async def test_match_is_written_down(self) -> None:
        """
        The recording and the crash report of a game behind the wall are on the disk,
        and nothing else is left there.
        """
        await self.open()
        match = await self.enter()
        match.act({"type": "break"})
        self.assertEqual("crashed", (await match.ended).reason)
        folder, names = self.state / "recordings", []
        while not any(name.endswith(".crash.txt") for name in names if name[0] != "."):
            await deferLater(reactor, 0.05)
            names = sorted(os.listdir(folder))
        (report,) = folder.glob("*.crash.txt")
        self.assertIn("broken on purpose", report.read_text())
        (recording,) = folder.glob("*.vinomrec")
        self.assertGreater(recording.stat().st_size, 100)
        self.assertEqual({report.name, recording.name}, set(names) - {".swept"})


_ON_AN_OLD_KERNEL = """
import os, sys
from vinom.base.wall import enclosure, kernel
key, version = sys.argv[1], int(sys.argv[2])
kernel.landlock_version = lambda: version
print(enclosure.Enclosure(hidden=(os.path.dirname(key),)).enclose())
for attempt in (open, lambda path: os.truncate(path, 0), lambda path: open(path, "w")):
    try:
        attempt(key)
    except PermissionError:
        continue
    print("done")
"""


class OldKernelTests(TestCase):
    """Linux 5.13 to 6.1, as in Debian 12: this kernel with the older one's rights."""

    async def test_files_of_the_user(self) -> None:
        """
        A game neither reads, nor writes, nor empties a file of its user.
        """
        if missing():
            raise SkipTest("; ".join(missing()))
        key = Path(self.mktemp()).resolve()
        key.write_text("secret")
        for version in "12":
            told = await getProcessOutput(
                sys.executable,
                ("-c", _ON_AN_OLD_KERNEL, str(key), version),
                os.environ,
                errortoo=True,
            )
            self.assertNotIn(b"done", told)
            self.assertEqual(b"[", told[:1])
            self.assertEqual("secret", key.read_text())


class UnitTests(Taken):
    """The node runs as the unit of systemd has it: without the calls of root."""

    spawner = UnderUnit(reactor)

    async def test_nothing_to_take(self) -> None:
        """
        The wall stands there as well: a game can do nothing but what games need.
        """
        await self.rob_all()


class WithoutWallTests(Taken):
    """What still holds if the kernel can do nothing."""

    async def test_sockets_of_the_node(self) -> None:
        """
        The admin socket refuses a game server even with the token, and everybody
        else without it.
        """
        await self.open("--wall=no")
        found = await self.rob("read admin.token", "admin API")
        # This shows that only the refusal is left.
        self.assertEqual("done", found["read admin.token"])
        # Which one depends on whether the node closed before or after the request.
        self.assertRegex(found["admin API"], "Connection|BrokenPipe")
        (self.state / "admin.token").unlink()
        with self.assertRaisesRegex(NotDone, "the bearer token is missing"):
            await deferToThread(self.admin.get, "status")


class GameUserTests(Taken):
    async def test_game_user(self) -> None:
        """
        A node that runs as root has its game servers run as another user, who plays,
        records, and is refused at the admin socket.
        """
        if os.geteuid() != 0:
            raise SkipTest("game_user needs root")
        nobody = pwd.getpwnam("nobody")
        become = (
            f"import os, sys; os.setgroups([]); os.setgid({nobody.pw_gid}); "
            f"os.setuid({nobody.pw_uid}); "
            "os.execv(sys.executable, [sys.executable, '-c', 'import vinom.node.node'])"
        )
        if await getProcessValue(sys.executable, ["-c", become], os.environ):
            raise SkipTest("nobody cannot read this interpreter and its packages")
        await self.open("--game-user=nobody")
        found = await self.rob("read admin.token", "may read its code")
        self.assertEqual("done", found["may read its code"])
        self.assertIn("PermissionError", found["read admin.token"])
        for pid in (await self.processes()).values():
            self.assertEqual(nobody.pw_uid, real_user_of(pid))
        (recording,) = (self.state / "recordings").glob("*.vinomrec")
        self.assertEqual(0, recording.stat().st_uid)


def real_user_of(pid: int) -> int:
    """Read the real user id of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith("Uid:")]
    return int(line.split()[1])
