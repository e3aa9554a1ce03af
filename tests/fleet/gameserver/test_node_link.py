"""A game server's links to its node, one after the other."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.support.game_net import GameNet
from vinom.fleet.control.messages import (
    Adopted,
    Heartbeat,
    Ready,
    SeatChanged,
    decode_to_node,
    encode,
)
from vinom.fleet.gameserver.node_link import LinkOptions, NodeLink
from vinom.fleet.local.outliving import make_mailbox, post
from vinom.net.frames import FrameReader


class Readers:
    """The descriptors that a reactor watches, and the links that it adopted."""

    def __init__(self, net: GameNet) -> None:
        self._reactor = net.reactor
        self.readers: list[Any] = []
        self.adopted: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        self.adopted.append(protocol)


@implementer(IStreamClientEndpoint)
class Door:
    """A node's endpoint that is open or not; *links* has what came."""

    def __init__(self) -> None:
        self.is_open, self.tries = True, 0
        self.links: list[tuple[Any, StringTransport]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.tries += 1
        if not self.is_open:
            return fail(ConnectionRefusedError())
        protocol, transport = factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        self.links.append((protocol, transport))
        return succeed(protocol)

    def cut(self) -> None:
        """Lose the newest link."""
        self.links[-1][0].connectionLost(Failure(ConnectionDone()))

    def messages(self) -> list[Any]:
        """What the newest link brought."""
        frames, found = FrameReader(), list[Any]()
        frames.receive(self.links[-1][1].value())
        while (frame := frames.next_frame()) is not None:
            found.append(decode_to_node(frame))
        return found

    def first(self) -> Ready:
        """What it brought first."""
        message = self.messages()[0]
        assert isinstance(message, Ready)
        return message


class LinkCase(SynchronousTestCase):
    net: GameNet

    def go_on(self, link: Any) -> None:
        """Be a node that goes on with the match, and asks for signs of life."""
        link.dataReceived(encode(Adopted(("m1",))))
        for number in range(1, 13):
            link.dataReceived(encode(Heartbeat(number)))
            self.net.run(1.0)


class NodeLinkTests(LinkCase):
    """Dial, dial again, and be called."""

    def setUp(self) -> None:
        self.net, self.door = GameNet(lease=10.0), Door()
        self.readers = Readers(self.net)
        self.files: list[int] = []
        reactor: Any = self.readers
        self.link = NodeLink(
            reactor, self.door, self.net.server, self.files.append, lambda: 1.0
        )
        self.successResultOf(self.link.open())

    def test_dials_again(self) -> None:
        """
        With a match it dials again, less and less often, and goes on over the new link.
        """
        self.net.begin()
        self.assertEqual((), self.door.first().matches)
        self.door.is_open = False
        self.door.cut()
        self.net.run(5.0)
        # After 0.1, 0.2, 0.4, 0.8, 1.6 and 2 s.
        self.assertEqual(1 + 5, self.door.tries)
        self.door.is_open = True
        self.net.run(2.0)
        self.assertEqual(["m1"], [one.match_id for one in self.door.first().matches])
        self.go_on(self.door.links[-1][0])
        self.assertEqual((0, 2), (self.net.stopped, len(self.door.links)))

    def test_lease_is_over(self) -> None:
        """
        When the lease is over it dials no more.
        """
        self.net.begin()
        self.door.is_open = False
        self.door.cut()
        self.net.run(11.0)
        tries = self.door.tries
        self.link.close()
        self.net.run(10.0)
        self.assertEqual((tries, 1), (self.door.tries, self.net.stopped))

    def test_without_a_match(self) -> None:
        """
        Without a match it does not dial again: it ends.
        """
        self.net.bind()
        self.door.cut()
        self.net.run(6.0)
        self.assertEqual((1, 1), (self.door.tries, self.net.stopped))

    def test_called(self) -> None:
        """
        With a mailbox it does not dial again: it takes the link that comes there. Files
        of matches are passed on.
        """
        folder = Path(self.mktemp())
        give = self.door.links[0][0].fileDescriptorReceived
        box = make_mailbox(folder, "g1")
        self.addCleanup(os.close, box)
        give(box)
        file = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, file)
        give(file)
        self.assertEqual([file], self.files)
        self.net.begin()
        self.door.cut()
        self.net.run(3.0)
        self.assertEqual(1, self.door.tries)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # Its log goes where it went.
            self.assertTrue(post(folder, "g1", (theirs.fileno(), 1)))
        (reader,) = self.readers.readers
        reader.doRead()
        self.assertEqual(1, len(self.readers.adopted))
        reader.doRead()
        self.assertEqual(1, len(self.readers.adopted))
        self.go_on(self.readers.adopted[0])
        self.assertEqual(0, self.net.stopped)

    def test_another_mailbox(self) -> None:
        """
        If the first port was taken, it is called over the mailbox that came with the
        second: the name is that one's.
        """
        folder = Path(self.mktemp())
        give = self.door.links[0][0].fileDescriptorReceived
        for _ in range(2):
            box = make_mailbox(folder, "g1")
            give(box)
        self.addCleanup(os.close, box)
        self.net.begin()
        self.door.cut()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.assertTrue(post(folder, "g1", (theirs.fileno(), 1)))
        (reader,) = self.readers.readers
        reader.doRead()
        self.assertEqual(1, len(self.readers.adopted))

    def test_junk_in_the_mailbox(self) -> None:
        """
        A letter without files is dropped.
        """
        folder = Path(self.mktemp())
        box = make_mailbox(folder, "g1")
        self.addCleanup(os.close, box)
        self.door.links[0][0].fileDescriptorReceived(box)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"link", os.path.relpath(folder / "g1.mail"))
        (reader,) = self.readers.readers
        reader.doRead()
        self.assertEqual([], self.readers.adopted)


class OtherNodesTests(LinkCase):
    """A game server with a match that knows where other nodes are."""

    def setUp(self) -> None:
        self.net, self.door, self.others = GameNet(lease=10.0), Door(), Door()
        reactor: Any = Readers(self.net)
        self.link = NodeLink(
            reactor,
            self.door,
            self.net.server,
            os.close,
            lambda: 1.0,
            LinkOptions(others=self.others),
        )
        self.successResultOf(self.link.open())
        self.door.links[-1][0].dataReceived(encode(Heartbeat(1)))
        self.net.begin()

    def test_other_nodes(self) -> None:
        """
        Its node stays away: at first only that one is dialed, then others, too; and one
        that refuses is no reason to stop.
        """
        others = self.others
        self.door.is_open = False
        self.door.cut()
        self.net.run(2.5)
        tries = self.door.tries
        self.assertEqual((tries > 2, others.tries), (True, 0))
        self.net.run(1.5)
        self.assertEqual(1, len(others.links))
        self.assertEqual(["m1"], [one.match_id for one in others.first().matches])
        others.cut()
        self.net.run(2.0)
        self.assertGreater(len(others.links), 1)
        self.go_on(others.links[-1][0])
        self.assertEqual(0, self.net.stopped)

    def test_reports_are_sent_again(self) -> None:
        """
        What happened meanwhile is sent to the node that goes on with the match, and to
        none that refuses; and not again after that.
        """
        report = SeatChanged("m1", 0, "away")
        self.door.is_open = False
        self.door.cut()
        self.net.server.matches.report(report)
        self.net.run(4.0)
        self.assertNotIn(report, self.others.messages())
        later = SeatChanged("m1", 0, "here")
        self.net.server.matches.report(later)
        self.others.cut()
        self.net.run(2.0)
        self.go_on(self.others.links[-1][0])
        sent = self.others.messages()
        self.assertEqual(
            [one for one in sent if one in (report, later)], [report, later]
        )
        self.others.cut()
        self.net.run(6.0)
        sent = self.others.messages()
        self.assertEqual([one for one in sent if one in (report, later)], [])

    def test_refused(self) -> None:
        """
        Its node is there, and has given it up: others are dialed at once.
        """
        others = self.others
        self.door.cut()
        self.net.run(0.2)
        self.assertEqual(0, others.tries)
        self.door.cut()
        self.net.run(0.5)
        self.assertEqual(1, others.tries)
