"""What a node writes down about its game servers, and their mailboxes."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import match_plan
from vinom.base.model import Player, ServerAddress
from vinom.base.wall.kernel import Peer
from vinom.fleet.local import fleet
from vinom.fleet.local.fleet import GameServerProgram, LocalFleet
from vinom.fleet.local.outliving import (
    LETTER,
    clear_mailboxes,
    has_mailbox,
    make_mailbox,
    post,
    remove_mailbox,
    take_letter,
)
from vinom.fleet.local.process import HIDDEN, birth_of
from vinom.fleet.port_ring import GamePorts, PortRing
from vinom.fleet.records import ServerRecord, ServerRecords


class RecordsTests(SynchronousTestCase):
    """Files in the state directory."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        known = {"p1": ("hash", Player("p1", "Ann"), "192.0.2.1")}
        self.records = ServerRecords(self.folder, lambda: 5.0, known.get)

    def record(self, server_id: str = "s1") -> ServerRecord:
        match = self.records.record(match_plan("m1"), ("192.0.2.1",))
        where = ServerAddress("play.example", 46000)
        return ServerRecord(server_id, "label", "17 boot 4", where, "ANCHOR", (match,))

    def test_written_and_read(self) -> None:
        """
        The next node reads what was written last, for this user's eyes only.
        """
        self.assertEqual([], self.records.read())
        self.records.write(self.record("s2"))
        self.records.write(self.record())
        self.records.write(self.record())
        self.assertEqual([self.record(), self.record("s2")], self.records.read())
        (path, _) = sorted(self.folder.iterdir())
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(self.folder.stat().st_mode))
        self.records.forget("s1")
        self.records.forget("s1")
        self.assertEqual([self.record("s2")], self.records.read())

    def test_node_killed_while_it_wrote(self) -> None:
        """
        Half a file of a node that was killed is removed; what it had before is read.
        """
        self.records.write(self.record())
        (self.folder / "s1.new").write_bytes(b"{")
        (self.folder / "s2.new").write_bytes(b"")
        self.assertEqual([self.record()], self.records.read())
        self.assertEqual(["s1.json"], [one.name for one in self.folder.iterdir()])

    def test_unreadable(self) -> None:
        """
        A file that was cut short, is of another version, or has another's name is
        dropped, and the others are read.
        """
        self.records.write(self.record())
        whole = (self.folder / "s1.json").read_bytes()
        (self.folder / "s2.json").write_bytes(whole[:-9])
        (self.folder / "s3.json").write_bytes(whole)
        newer = whole.replace(b'"format":1', b'"format":2').replace(b'"s1"', b'"s4"')
        (self.folder / "s4.json").write_bytes(newer)
        self.assertEqual([self.record()], self.records.read())
        self.assertEqual(["s1.json"], os.listdir(self.folder))

    def test_disk_refuses(self) -> None:
        """
        What cannot be written is logged, and play goes on.
        """
        self.folder.write_text("a file in the way")
        self.records.write(self.record())
        self.records.forget("s1")


class MailboxTests(SynchronousTestCase):
    """A later node passes files to a game server that can open no socket."""

    def setUp(self) -> None:
        # As long as a state directory may be, and longer than a socket's path.
        self.folder = Path(self.mktemp()) / ("x" * 100)

    def test_letters(self) -> None:
        """
        Files arrive, as often as somebody sends some.
        """
        box = make_mailbox(self.folder, "s1")
        self.addCleanup(os.close, box)
        self.assertIsNone(take_letter(box))
        for _ in range(2):
            reads, writes = os.pipe()
            self.assertTrue(post(self.folder, "s1", (writes, writes)))
            os.close(writes)
            letter = take_letter(box)
            assert letter is not None
            os.write(letter[1], b"hello")
            self.assertEqual(b"hello", os.read(reads, 9))
            for one in (*letter, reads):
                os.close(one)

    def test_it_cannot_send(self) -> None:
        """
        A game server cannot use its mailbox to write to another one, which would take
        it for the node.
        """
        # A short path this time: nobody but the node may look into the folder.
        self.folder = Path(self.mktemp())
        box, other = (make_mailbox(self.folder, one) for one in ("s1", "s2"))
        self.addCleanup(os.close, other)
        with socket.socket(fileno=box) as own:
            path = os.path.relpath(self.folder / "s2.mail")
            self.assertRaises(BrokenPipeError, own.sendto, LETTER, path)
            self.assertRaises(BrokenPipeError, own.sendmsg, [LETTER], [], 0, path)
        self.assertIsNone(take_letter(other))

    def test_nobody_there(self) -> None:
        """
        Nothing is sent to a game server that is gone, or has no mailbox.
        """
        self.assertFalse(post(self.folder, "s1", (0, 0)))
        os.close(make_mailbox(self.folder, "s1"))
        self.assertFalse(post(self.folder, "s1", (0, 0)))
        os.close(make_mailbox(self.folder, "s1"))
        remove_mailbox(self.folder, "s1")
        self.assertEqual([], os.listdir(self.folder))

    def test_full(self) -> None:
        """
        A game server that does not read is not waited for.
        """
        box = make_mailbox(self.folder, "s1")
        self.addCleanup(os.close, box)
        sent = 0
        while post(self.folder, "s1", (0, 0)):
            sent += 1
            self.assertLess(sent, 1000)

    def test_cleared(self) -> None:
        """
        Mailboxes of game servers that are gone are removed; not of one that plays on
        for another node, which may need it.
        """
        for server_id in ("s1", "s2"):
            os.close(make_mailbox(self.folder, server_id))
        box = make_mailbox(self.folder, "s3")
        self.addCleanup(os.close, box)
        self.assertTrue(has_mailbox(self.folder, "s3"))
        self.assertFalse(has_mailbox(self.folder, "s2"))
        clear_mailboxes(self.folder, ["s2"])
        self.assertEqual(["s2.mail", "s3.mail"], sorted(os.listdir(self.folder)))


class HandleTests(SynchronousTestCase):
    """How another node finds a process of this machine: here, this one itself."""

    def setUp(self) -> None:
        self.theirs, self.ours = Path(self.mktemp()), Path(self.mktemp())
        box = make_mailbox(self.theirs, "s1")
        self.addCleanup(os.close, box)
        self.pid, self.birth = os.getpid(), birth_of(os.getpid())
        self.handle = f"{self.pid} {self.birth} {self.theirs.absolute()}"
        watch = {"addReader": str, "removeReader": str}
        reactor: Any = SimpleNamespace(**watch)
        ports = GamePorts(PortRing(46000, 46001), "::1", "host", lambda: 0.0)
        program = GameServerProgram("some:entry")
        self.fleet = LocalFleet(reactor, program, ports, {}, mail=self.ours)
        self.server: Any = SimpleNamespace(server_id="s1")
        self.where = ServerAddress("play.example", 50000)

    def reaches(self, server_id: str, handle: str) -> bool:
        return self.successResultOf(self.fleet.reaches(server_id, handle))

    def test_reached(self) -> None:
        """
        A process with a mailbox is reached, wherever its node had that; not one that
        began at another time or on another machine, or whose mailbox nobody reads.
        """
        self.assertTrue(self.reaches("s1", self.handle))
        later = self.handle.replace(self.birth, f"{self.birth}0")
        elsewhere = self.handle.replace(self.birth.split()[0], "another-boot")
        here = f"{self.pid} {self.birth}"
        for one in (later, elsewhere, here, "", "pod-1 00ff pod-1", f"{self.pid}"):
            self.assertFalse(self.reaches("s1", one), one)
        self.assertFalse(self.reaches("s2", self.handle))
        self.patch(os, "geteuid", lambda: self.theirs.stat().st_uid + 1)
        self.assertFalse(self.reaches("s1", self.handle), "of another user")

    def test_hidden(self) -> None:
        """
        If the system shows nobody when a process began, its mailbox shows that it still
        runs; without that, another process may have its number.
        """
        hidden = self.handle.replace(self.birth, HIDDEN)
        self.assertTrue(self.reaches("s1", hidden))
        self.patch(fleet, "birth_of", lambda pid: HIDDEN)
        self.assertTrue(self.reaches("s1", self.handle))
        remove_mailbox(self.theirs, "s1")
        self.assertFalse(self.reaches("s1", self.handle))
        self.assertFalse(self.fleet.adopt(self.server, self.handle, self.where))

    def test_of_another_container(self) -> None:
        """
        A gateway in a container of its own does not count as a game server; a process
        of the node's user that hides its number does.
        """
        self.assertFalse(self.fleet.is_child(Peer(0, os.geteuid())))
        self.patch(fleet, "birth_of", lambda pid: HIDDEN)
        self.assertTrue(self.fleet.is_child(Peer(self.pid, os.geteuid())))

    def test_handed_on(self) -> None:
        """
        A node that has adopted it writes down the same for the node after it; a port
        of another node's range is nobody's here.
        """
        self.assertTrue(self.fleet.adopt(self.server, self.handle, self.where))
        self.assertEqual(self.fleet.handle("s1"), self.handle)
        self.assertEqual(self.fleet.addresses().free, 2)
        self.fleet.release("s1")
        self.assertEqual(self.fleet.handle("s1"), "")
        self.assertTrue(has_mailbox(self.theirs, "s1"))
