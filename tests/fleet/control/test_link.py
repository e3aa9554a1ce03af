"""Both ends of control links, each without the other."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.support.supply import MemoryTransport
from vinom.fleet.control.link import ControlClient, ControlServer
from vinom.fleet.control.messages import (
    Alive,
    Bound,
    Heartbeat,
    Ready,
    SeatChanged,
    decode_to_node,
    decode_to_server,
    encode,
)
from vinom.net.frames import FrameReader

READY = Ready("abc", 123, 1)


class Owner:
    """Who a link belongs to."""

    def __init__(self) -> None:
        self.heard, self.losses = [], 0

    def received(self, message):
        self.heard.append(message)

    def lost(self):
        self.losses += 1


class ControlLinkTests(SynchronousTestCase):
    """The node's end."""

    def setUp(self):
        self.clock, self.owner, self.arrivals = Clock(), Owner(), []
        self.answer = self.owner

    def arrived(self, ready, link):
        self.arrivals.append((ready, link))
        return self.answer

    def open_link(self):
        link = ControlServer(self.clock, self.arrived).buildProtocol(None)
        transport = MemoryTransport(self.clock)
        transport.protocol = link
        link.makeConnection(transport)
        return link, transport

    def test_any_split(self):
        """
        A game server's messages arrive however they are cut.
        """
        stream = encode(READY) + encode(Bound(46000)) + encode(Alive(1, {}))
        for cut in range(len(stream)):
            self.setUp()
            link, _ = self.open_link()
            link.dataReceived(stream[:cut])
            link.dataReceived(stream[cut:])
            self.assertEqual([ready for ready, _ in self.arrivals], [READY])
            self.assertEqual(self.owner.heard, [Bound(46000), Alive(1, {})])

    def test_sends(self):
        """
        The node's messages arrive, and none after the link is lost.
        """
        link, transport = self.open_link()
        link.dataReceived(encode(READY))
        link.send(Heartbeat(1))
        reader = FrameReader()
        reader.receive(transport.value())
        self.assertEqual(decode_to_server(reader.next_frame()), Heartbeat(1))
        transport.clear()
        transport.lose()
        self.assertEqual(self.owner.losses, 1)
        link.send(Heartbeat(2))
        link.abort()
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_must_name_itself(self):
        """
        A peer that sends something else first, or nothing at all, is dropped.
        """
        link, transport = self.open_link()
        link.dataReceived(encode(Bound(46000)))
        self.clock.advance(0)
        self.assertTrue(transport.is_lost)
        _, transport = self.open_link()
        self.clock.advance(4.9)
        self.assertFalse(transport.is_lost)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.assertTrue(transport.is_lost)
        self.assertEqual(self.arrivals, [])

    def test_refused(self):
        """
        A stranger is dropped, and nothing more is read from it.
        """
        self.answer = None
        link, transport = self.open_link()
        link.dataReceived(encode(READY) + encode(Bound(46000)))
        self.clock.advance(0)
        self.assertTrue(transport.is_lost)
        self.assertEqual(len(self.arrivals), 1)

    def test_nonsense(self):
        """
        What makes no sense ends the link; what came before it counts.
        """
        link, transport = self.open_link()
        link.dataReceived(encode(READY) + encode(Bound(1)) + b"\0\0\0\1\xc1")
        self.assertEqual(self.owner.heard, [Bound(1)])
        self.clock.advance(0)
        self.assertTrue(transport.is_lost)
        self.assertEqual(self.owner.losses, 1)


@implementer(ISystemHandle)
class SocketTransport(MemoryTransport):
    """What a link over a UNIX socket has, as far as sending goes."""

    def __init__(self, clock, ours):
        super().__init__(clock)
        self._ours = ours

    def getHandle(self):
        return self._ours


class Refusing(socket.socket):
    """A socket that refuses to send as long as it has an error number."""

    why = 0

    def send(self, *arguments):
        if self.why:
            raise OSError(self.why, os.strerror(self.why))
        return super().send(*arguments)


class ControlClientTests(SynchronousTestCase):
    """A game server's end, which sends by itself."""

    def setUp(self):
        self.clock, self.losses = Clock(), []
        ours, self.node = socket.socketpair()
        ours = self.ours = Refusing(fileno=ours.detach())
        for end in (ours, self.node):
            self.addCleanup(end.close)
            end.setblocking(False)
        self.client = ControlClient(
            self.clock, READY, lambda message: None, lambda: self.losses.append(1)
        )
        self.transport = SocketTransport(self.clock, ours)
        self.transport.protocol = self.client
        self.client.makeConnection(self.transport)
        self.assertEqual([READY], self.heard())

    def heard(self):
        """What the node can read by now."""
        reader = FrameReader()
        try:
            reader.receive(self.node.recv(65536))
        except BlockingIOError:
            return []
        frames = iter(reader.next_frame, None)
        return [decode_to_node(frame) for frame in frames]

    def test_at_once(self):
        """
        A message to the node arrives before anything that players are sent later.
        """
        self.client.send(Bound(46000))
        self.assertEqual([Bound(46000)], self.heard())

    def test_refused_for_a_moment(self):
        """
        Of what the kernel does not take for a moment, for it has no memory, nothing is
        lost: players are shown nothing more until it has left. The same if it does not
        take it because the node is gone, until that is known.
        """
        for why in (errno.ENOBUFS, errno.ENOMEM, errno.EPIPE):
            self.ours.why = why
            self.client.send(Bound(1))
            self.assertTrue(self.client.is_behind())
            self.ours.why = 0
            self.clock.advance(1.0)
            self.assertFalse(self.client.is_behind())
            self.assertEqual([Bound(1)], self.heard())
        self.ours.why = errno.EPIPE
        self.client.send(Bound(2))
        self.transport.lose()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_comings_together(self):
        """
        The seat changes of one turn reach the node together, within that turn.
        """
        came = [SeatChanged("m1", seat, "joined") for seat in range(3)]
        for told in came:
            self.client.send(told)
        self.assertEqual([], self.heard())
        self.clock.advance(0)
        self.assertEqual(came, self.heard())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_order(self):
        """
        Nothing overtakes: seat changes are sent before what happened then.
        """
        came = SeatChanged("m1", 0, "joined")
        self.client.send(came)
        self.client.send(Bound(1))
        self.assertEqual([came, Bound(1)], self.heard())
        self.client.send(came)
        self.clock.advance(0)
        self.assertEqual([came], self.heard())

    def test_last_words(self):
        """
        A link that is closed, or lost, in such a turn leaves nothing undone.
        """
        came = SeatChanged("m1", 0, "left")
        self.client.send(came)
        self.client.close()
        self.client.send(Bound(1))
        self.clock.advance(0)
        self.assertEqual([came], self.heard())
        self.clock.advance(0)
        self.assertEqual([1], self.losses)
        self.setUp()
        self.client.send(came)
        self.transport.lose()
        self.assertEqual([1], self.losses)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.heard())
