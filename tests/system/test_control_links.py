"""Control links over real sockets: UNIX, and TLS as between machines."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.fleet.control.test_link import Owner
from tests.support.certificates import authority
from tests.support.descriptors import every_descriptor
from vinom.fleet.control.link import ControlServer, dial
from vinom.fleet.control.messages import Alive, Heartbeat, Ready, Stop, TokenKeys

READY = Ready("abc", os.getpid(), 1)


class TlsTests(TestCase):
    """A game server on another machine dials by a description of an endpoint."""

    async def test_talk(self):
        """
        Messages longer than a TLS record arrive whole both ways, and both ends learn
        of the end.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        leaf = authority().issue("localhost")
        (folder / "server.pem").write_bytes(leaf.certificate + leaf.key)
        (folder / "trusted").mkdir()
        (folder / "trusted" / "ca.pem").write_bytes(authority().anchor)
        owner, links = Owner(), []

        def arrived(ready, link):
            links.append(link)
            return owner

        endpoint = serverFromString(
            reactor, f"ssl:0:interface=127.0.0.1:privateKey={folder}/server.pem"
        )
        port = await endpoint.listen(ControlServer(reactor, arrived))
        self.addCleanup(port.stopListening)
        heard, lost = [], Deferred()
        client = await dial(
            clientFromString(
                reactor,
                f"tls:localhost:{port.getHost().port}:trustRoots={folder}/trusted"
                ":bindAddress=127.0.0.1:timeout=5",
            ),
            reactor,
            READY,
            heard.append,
            lambda: lost.callback(None),
        )
        figures = {str(number): float(number) for number in range(5000)}
        client.send(Alive(1, figures))
        keys = TokenKeys(1, {str(number): bytes(1000) for number in range(100)})
        await until(lambda: links)
        links[0].send(keys)
        await until(lambda: owner.heard and heard)
        self.assertEqual(owner.heard, [Alive(1, figures)])
        self.assertEqual(heard, [keys])
        client.close()
        await lost
        await until(lambda: owner.losses)


async def until(is_so):
    """Wait for something that will happen soon."""
    while not is_so():
        await deferLater(reactor, 0.01)


class SocketTests(TestCase):
    """Both ends over a real UNIX socket."""

    def setUp(self):
        # Not trial's own place: the path of a socket must be short.
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.path = os.path.join(folder, "control")
        self.owner = Owner()
        self.linked = Deferred()
        self.heard, self.lost = [], Deferred()

        def arrived(ready, link):
            self.link = link
            reactor.callLater(0, self.linked.callback, ready)
            return self.owner

        self.factory = ControlServer(reactor, arrived)

    async def test_whose_process(self):
        """
        A process that claims to be another one is not linked.
        """
        port = await UNIXServerEndpoint(reactor, self.path).listen(self.factory)
        self.addCleanup(port.stopListening)
        lost = Deferred()
        await dial(
            UNIXClientEndpoint(reactor, self.path),
            reactor,
            Ready("abc", os.getppid(), 1),
            self.heard.append,
            lambda: lost.callback(None),
        )
        await lost
        self.assertFalse(hasattr(self, "link"))

    async def test_open_files(self):
        """
        Open files arrive in order with their messages, however full the link is, and
        the sender keeps none open; a game server that sends one is cut off.
        """
        client = await self.open_link()
        given, names = [], []
        client._given = lambda fd: given.append(fd)
        self.addCleanup(lambda: [os.close(fd) for fd in given])
        for number in range(5):
            # Longer than what a socket holds.
            self.link.send(TokenKeys(number, {"k": bytes(300_000)}))
            names.append(os.path.abspath(self.mktemp()))
            fd = os.open(names[-1], os.O_CREAT | os.O_WRONLY)
            self.link.send(Heartbeat(number), (fd,))
        await until(lambda: len(self.heard) == 10)
        self.assertEqual([os.readlink(f"/proc/self/fd/{fd}") for fd in given], names)
        opened = every_descriptor()
        self.assertEqual([opened.count(name) for name in names], [1] * 5)
        handle = client.transport.getHandle()
        socket.send_fds(handle, [b"x"], [given[0]])
        await self.lost

    async def open_link(self):
        port = await UNIXServerEndpoint(reactor, self.path).listen(self.factory)
        self.addCleanup(port.stopListening)
        endpoint = UNIXClientEndpoint(reactor, self.path)
        client = await dial(
            endpoint,
            reactor,
            READY,
            self.heard.append,
            lambda: self.lost.callback(None),
        )
        self.assertEqual(await self.linked, READY)
        return client

    async def test_talk(self):
        """
        Both ends receive each other's messages, and notice the end.
        """
        client = await self.open_link()
        client.send(Alive(1, {"rooms": 1.0}))
        self.link.send(Heartbeat(2))
        await until(lambda: self.owner.heard and self.heard)
        self.assertEqual(self.owner.heard, [Alive(1, {"rooms": 1.0})])
        self.assertEqual(self.heard, [Heartbeat(2)])
        client.send(Alive(2, {}))
        client.close()
        await self.lost
        await until(lambda: self.owner.losses)
        self.assertEqual(len(self.owner.heard), 2)

    async def test_last_words(self):
        """
        What a game server sent before it died is read to the last word, even if the
        node writes to it meanwhile.
        """
        client = await self.open_link()
        figures = {str(number): 0.0 for number in range(500)}
        for number in range(20):
            client.send(Alive(number, figures))
        client.transport.socket.shutdown(socket.SHUT_RDWR)
        for number in range(20):
            self.link.send(Heartbeat(number))
        await until(lambda: self.owner.losses)
        self.assertEqual([m.number for m in self.owner.heard], list(range(20)))
        await self.lost

    async def test_peer_that_does_not_read(self):
        """
        A full link is not waited for, and a long message arrives when there
        is room again.
        """
        client = await self.open_link()
        client.transport.pauseProducing()
        for number in range(20_000):
            self.link.send(Heartbeat(number))
        self.link.send(Stop())
        client.transport.resumeProducing()
        await until(lambda: len(self.heard) == 20_001)
        self.assertEqual(self.heard[-1], Stop())
        client.close()
        await self.lost
        await until(lambda: self.owner.losses)

    async def test_peer_that_never_reads(self):
        """
        A peer that does not read for good is dropped before it costs much.
        """
        client = await self.open_link()
        client.transport.pauseProducing()
        while not self.owner.losses:
            for number in range(20_000):
                self.link.send(Heartbeat(number))
            await deferLater(reactor, 0)
        client.transport.resumeProducing()
        await self.lost
