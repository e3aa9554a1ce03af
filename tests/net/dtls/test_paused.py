"""A server's port that is not read yet."""

from __future__ import annotations

import os
import socket
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.certificates import leaf
from vinom.net.dtls.admission import Admission
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer


class PausedTests(TestCase):
    """`DatagramPort.pause`, with a socket of the system."""

    async def test_kept_by_the_kernel(self) -> None:
        """
        What players send before the port is read is answered later, and not lost.
        """
        admission = Admission("s1.game.vinom", time.time(), entropy=os.urandom)
        dtls = DtlsServer(leaf().served(), admission)
        read: Deferred[None] = Deferred()
        port = DatagramPort(
            reactor, dtls, lambda _: None, turned=lambda *_: read.callback(None)
        )
        listening = reactor.listenUDP(0, port, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        port.pause()
        with socket.socket(type=socket.SOCK_DGRAM) as player:
            player.sendto(b"hello", ("127.0.0.1", listening.getHost().port))
            await deferLater(reactor, 0.05)
            self.assertEqual(dtls.datagrams_in, 0)
            port.resume()
            await read
        self.assertEqual(dtls.datagrams_in, 1)
