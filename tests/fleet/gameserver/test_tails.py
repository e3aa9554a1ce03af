"""Recordings over links that are lost: what was on its way is sent again."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import GameNet
from vinom.fleet.control.messages import (
    Adopted,
    CloseRoom,
    Heartbeat,
    RecordingData,
    RoomEnded,
    ToNode,
)
from vinom.fleet.gameserver import outbox
from vinom.play.hosting.recordings import Recordings

CHUNKS = (b"head", b"1", b"22", b"333", b"end")


class LostLinkTests(SynchronousTestCase):
    """A node, here only its directory, and a game server."""

    def setUp(self) -> None:
        self.node = Recordings(Path(self.mktemp()))
        self.net = GameNet(lease=10.0)
        self.net.begin()

    def receive(self, message: ToNode) -> None:
        """Do with a message what a node does."""
        if isinstance(message, RecordingData):
            self.node.append(
                message.match_id,
                message.part,
                message.at,
                message.data,
                message.is_report,
            )

    def send(self, chunks: tuple[bytes, ...], at: int = 0, part: int = 1) -> int:
        """Record something; returns where it ends."""
        for chunk in chunks:
            self.net.server.send_recording("m1", part, at, chunk, False)
            at += len(chunk)
        return at

    def link(self, arriving: int | None = None) -> list[ToNode]:
        """Make a link over which only so many bytes of recordings arrive."""
        told: list[ToNode] = []

        def send(message: ToNode) -> None:
            nonlocal arriving
            told.append(message)
            if isinstance(message, RecordingData) and arriving is not None:
                if not arriving:
                    return
                arriving -= 1
            self.receive(message)

        self.net.server.linked(send)
        return told

    def written(self, part: int = 1) -> bytes:
        assert self.node.directory is not None
        name = "m1.vinomrec" if part == 1 else f"m1.{part}.vinomrec"
        return (self.node.directory / name).read_bytes()

    def test_every_cut(self) -> None:
        """
        Wherever a link is lost, whenever that is noticed, and whenever a node comes,
        the recording is the one without any loss, byte by byte.
        """
        server = self.net.server
        ends = range(len(CHUNKS) + 1)
        cuts = combinations_with_replacement(ends, 3)
        for part, (arrived, noticed, again) in enumerate(cuts, 1):
            # A match each, as it were: only the part differs.
            before = self.link()
            server.received(Adopted(("m1",)))
            server.unlinked()
            sent = len([one for one in before if isinstance(one, RecordingData)])
            self.link(sent + arrived)
            server.received(Adopted(("m1",)))
            at = self.send(CHUNKS[:noticed], part=part)
            server.unlinked()
            at = self.send(CHUNKS[noticed:again], at, part)
            # The first one refuses, and is sent nothing that may be long.
            refused = self.link(0)
            server.unlinked()
            self.assertEqual([], refused)
            self.link()
            server.received(Adopted(("m1",)))
            self.send(CHUNKS[again:], at, part)
            self.assertEqual(self.written(part), b"".join(CHUNKS))
            server.unlinked()

    def test_match_ends_meanwhile(self) -> None:
        """
        The end of the recording, and the crash report, come before the end of a match
        that ended without a node, or whose end was lost with the link.
        """
        for is_noticed in (False, True):
            self.setUp()
            server = self.net.server
            self.link(1)
            at = self.send(CHUNKS[:2])
            if is_noticed:
                server.unlinked()
            self.send(CHUNKS[2:], at)
            server.send_recording("m1", 1, 0, b"why", True)
            server.received(CloseRoom("m1", "ended"))
            if not is_noticed:
                server.unlinked()
            self.net.run(1.0)
            told = self.link()
            server.received(Adopted(("m1",)))
            self.assertEqual(self.written(), b"".join(CHUNKS))
            (end,) = [at for at, one in enumerate(told) if isinstance(one, RoomEnded)]
            recorded = [isinstance(one, RecordingData) for one in told]
            self.assertIn(True, recorded[:end])
            self.assertNotIn(True, recorded[end:])
            self.node.take_back("m1")
            assert self.node.directory is not None
            report = self.node.directory / "m1.crash.txt"
            self.assertEqual(report.read_bytes(), b"why")

    def test_forgotten(self) -> None:
        """
        A game server that has many matches, one after the other, keeps nothing of
        those whose ends have arrived.
        """
        server = self.net.server
        self.link()
        self.send(CHUNKS)
        server.received(CloseRoom("m1", "ended"))
        self.net.run(6.0)
        server.received(Heartbeat(1))
        server.unlinked()
        told = self.link()
        self.assertEqual([one for one in told if isinstance(one, RecordingData)], [])

    def test_too_much(self) -> None:
        """
        Of a longer recording the last bytes are sent again; more than that of it cannot
        be lost without a gap, and then the file ends in front of it.
        """
        self.patch(outbox, "TAIL", 4)
        self.link(1)
        self.send((b"0123", b"4567", b"89"))
        self.net.server.unlinked()
        self.link()
        self.net.server.received(Adopted(("m1",)))
        self.assertEqual(self.written(), b"0123")
