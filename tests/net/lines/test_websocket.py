"""Conversations over WebSocket, on real sockets of loopback."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from websockets.frames import Opcode

from tests.support.certificates import authority
from tests.support.websocket_net import (
    PATIENCE,
    Echo,
    EchoServer,
    RawClient,
    connect,
    handshake,
    upgraded,
)
from tests.support.websockets import frame
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Rounds
from vinom.errors import Code
from vinom.net.lines.limits import LineBounds
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import HttpTls, ReloadableTls


class SocketCase(TestCase):
    """A server, and clients that are gone when a test ends."""

    def serve(self, **parts: Any) -> EchoServer:
        self.server = server = EchoServer(reactor, **parts)
        self.clients: list[RawClient] = []
        self.addCleanup(lambda: ensureDeferred(self._clean()))
        return server

    async def _clean(self) -> None:
        await self.server.stop()
        for client in self.clients:
            if not client.is_over:
                await client.close()
        await self.until(lambda: all(echo.is_lost for echo in self.server.echoes))
        await self.until(lambda: not len(self.server.websockets.connections))
        self.assertEqual(len(self.server.websockets.rounds), 0)

    async def until(self, is_so: Any) -> None:
        """Wait until something holds."""
        for _ in range(int(PATIENCE / 0.005)):
            if is_so():
                return
            await deferLater(reactor, 0.005)
        raise AssertionError("it never came to that")

    async def client(self, **headers: str | None) -> tuple[RawClient, Echo]:
        if not hasattr(self, "server"):
            self.serve()
        before = len(self.server.echoes)
        client = await upgraded(reactor, self.server.port, **headers)
        self.clients.append(client)
        await self.until(lambda: len(self.server.echoes) > before)
        return client, self.server.echoes[-1]

    async def text(self, client: RawClient) -> Any:
        """Wait for a text message, and read its JSON."""
        said = await client.frame()
        assert said is not None
        self.assertIs(said.opcode, Opcode.TEXT, said)
        return json.loads(bytes(said.data))


class SendingTests(SocketCase):
    """What the server sends."""

    async def test_nothing_waits(self) -> None:
        """
        A state does not wait until the client's system has confirmed the one before.
        """
        _, echo = await self.client()
        self.assertTrue(echo.line._transport.getTcpNoDelay())

    async def test_one_frame_a_turn(self) -> None:
        """
        What a client is sent in one turn comes as one array, in order.
        """
        client, echo = await self.client()
        for message in (b"1", b"2", b'"three"'):
            echo.line.send(message)
        self.assertEqual(await self.text(client), [1, 2, "three"])
        client.write(frame(1, b"4") + frame(1, b"5"))
        self.assertEqual(await self.text(client), [4, 5])

    async def test_shared(self) -> None:
        """
        A message that many are sent alone in a turn is the same bytes for each.
        """
        self.serve()
        shared = b'{"type":"x"}'
        clients = [(await self.client())[0] for _ in range(3)]
        for echo in self.server.echoes:
            echo.line.send(shared)
        for client in clients:
            self.assertEqual(await self.text(client), [{"type": "x"}])

    async def test_early_frames(self) -> None:
        """
        A client that does not wait for the handshake's answer is served.
        """
        self.serve()
        client = await connect(reactor, self.server.port)
        self.clients.append(client)
        client.write(handshake() + frame(1, b"1") + frame(1, b"2"))
        await client.head()
        self.assertEqual(await self.text(client), [1, 2])

    async def test_after_other_requests(self) -> None:
        """
        A connection that asked for pages before can become a WebSocket.
        """
        self.serve()
        client = await connect(reactor, self.server.port)
        self.clients.append(client)
        client.write(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertIn(b"404", await client.head())
        await self.until(lambda: client.received.endswith(b"\n"))
        client.received.clear()
        client.write(handshake())
        self.assertIn(b"101", await client.head())
        client.say(Opcode.TEXT, b"1")
        self.assertEqual(await self.text(client), [1])

    async def test_http_is_gone(self) -> None:
        """
        A WebSocket outlives the timeout of HTTP: nothing of it stays.
        """
        _, echo = await self.client()
        transport = echo.line._transport
        self.assertIs(transport.protocol, echo.line)
        calls: Any = reactor
        waiting = [str(call) for call in calls.getDelayedCalls()]
        self.assertFalse([call for call in waiting if "TimeoutMixin" in call])


class BehindTests(SocketCase):
    """Clients who do not read."""

    async def fill(self, client: RawClient, echo: Echo) -> int:
        """Send until the rest waits; returns how many messages."""
        client.transport.pauseProducing()
        count = 0
        while not echo.line.is_behind:
            echo.line.send(b'"%s"' % (b"x" * 60_000))
            count += 1
            await deferLater(reactor, 0)
        return count

    async def test_catches_up(self) -> None:
        """
        What is sent to a client that does not read comes when it reads, all of it and
        in order; what waited in the meantime comes as one frame.
        """
        client, echo = await self.client()
        count = await self.fill(client, echo)
        for number in range(20):
            echo.line.send(b"%d" % number)
            await deferLater(reactor, 0)
        self.assertEqual(echo.times_caught_up, 0)
        client.transport.resumeProducing()
        for _ in range(count):
            (text,) = await self.text(client)
            self.assertEqual(len(text), 60_000)
        self.assertEqual(await self.text(client), list(range(20)))
        await self.until(lambda: echo.times_caught_up == 1)
        self.assertFalse(echo.line.is_behind)
        client.say(Opcode.TEXT, b"1")
        self.assertEqual(await self.text(client), [1])

    async def test_too_much_waits(self) -> None:
        """
        With 256 messages waiting, or 256 KB of fewer, the client is sent away with the
        reason, and its conversation is over.
        """
        server = self.serve()
        for times, (message, most) in enumerate(((b"1", 256), (b"2" * 2**15, 8)), 1):
            client, echo = await self.client()
            await self.fill(client, echo)
            for _ in range(most):
                echo.line.send(message)
            await deferLater(reactor, 0)
            self.assertFalse(echo.is_lost)
            echo.line.send(message)
            self.assertFalse(echo.is_lost, "told inside of send")
            await self.until(lambda echo=echo: echo.is_lost)
            self.assertEqual(server.websockets.errors[Code.TOO_SLOW], times)
            client.transport.resumeProducing()
            said = (await client.rest())[-1]
            self.assertEqual(said.opcode, Opcode.CLOSE)
            self.assertEqual(struct.unpack("!H", said.data[:2]), (4008,))
            self.assertTrue(bytes(said.data[2:]).startswith(b"too_slow: "))

    async def test_unsent(self) -> None:
        """
        A line knows whether all that was sent has left, also when it is over.
        """
        self.serve(bounds=LineBounds(close_seconds=0.05))
        client, echo = await self.client()
        self.assertFalse(echo.line.has_unsent)
        echo.line.send(b"1")
        self.assertTrue(echo.line.has_unsent)
        await self.text(client)
        self.assertFalse(echo.line.has_unsent)
        await client.close()
        await self.until(lambda: echo.is_lost)
        self.assertFalse(echo.line.has_unsent, "nothing was left")
        client, echo = await self.client()
        await self.fill(client, echo)
        self.assertTrue(echo.line.has_unsent)
        await client.close()
        await self.until(lambda: echo.is_lost)
        self.assertTrue(echo.line.has_unsent)
        client, echo = await self.client()
        echo.line.close()
        self.assertFalse(echo.line.has_unsent)
        echo.line.send(b"too late")
        self.assertTrue(echo.line.has_unsent)

    async def test_pings_of_one_who_does_not_read(self) -> None:
        """
        One who sends pings and reads no pongs costs no memory.
        """
        client, echo = await self.client()
        await self.fill(client, echo)
        for number in range(100):
            client.say(Opcode.PING, b"%d" % number)
        client.say(Opcode.TEXT, b"1")
        await self.until(lambda: echo.heard)
        self.assertLessEqual(len(echo.line._stream.outbox), 1)
        client.transport.resumeProducing()
        pongs = []
        while (said := await client.frame()) is not None:
            if said.opcode is Opcode.PONG:
                pongs.append(bytes(said.data))
                break
        self.assertEqual(pongs, [b"99"])

    async def test_close_goes_last(self) -> None:
        """
        A client that is behind still gets everything that was sent before the farewell.
        """
        client, echo = await self.client()
        count = await self.fill(client, echo)
        echo.line.send(b'"last words"')
        echo.line.close(Code.SHUTDOWN, "the server stops")
        client.transport.resumeProducing()
        frames = await client.rest()
        self.assertEqual(len(frames), count + 2)
        self.assertEqual(frames[-2].data, b'["last words"]')
        self.assertEqual(frames[-1].data, b"\x03\xe9shutdown: the server stops")


class ClosingTests(SocketCase):
    """How conversations end."""

    async def test_conversation_closes(self) -> None:
        """
        The last words come before the farewell, and both ends agree.
        """
        client, _ = await self.client()
        client.say(Opcode.TEXT, b'"bye"')
        self.assertEqual(await self.text(client), ["bye"])
        said = await client.frame()
        assert said is not None
        self.assertEqual((said.opcode, said.data), (Opcode.CLOSE, b"\x03\xe8"))
        client.say(Opcode.CLOSE, b"\x03\xe8")
        self.assertEqual(await client.rest(), [])

    async def test_client_never_agrees(self) -> None:
        """
        A client that does not say farewell too is cut off after a while.
        """
        self.serve(bounds=LineBounds(close_seconds=0.05))
        client, echo = await self.client()
        echo.line.close(Code.REPLACED, "elsewhere")
        (said,) = await client.rest()
        self.assertEqual(said.data, b"\x0f\xa1replaced: elsewhere")

    async def test_client_closes(self) -> None:
        """
        A farewell is answered with the same, and the conversation is over at once.
        """
        client, echo = await self.client()
        client.say(Opcode.CLOSE, b"\x03\xe9tab closed")
        (said,) = await client.rest()
        self.assertEqual(said.data, b"\x03\xe9tab closed")
        self.assertTrue(echo.is_lost)

    async def test_connection_is_cut(self) -> None:
        """
        A client that vanishes, or closes its half without a word, is lost.
        """
        client, echo = await self.client()
        await client.close()
        await self.until(lambda: echo.is_lost)
        client, echo = await self.client()
        client.transport.loseWriteConnection()
        await client.lost
        await self.until(lambda: echo.is_lost)

    async def test_good_words_before_a_bad_frame(self) -> None:
        """
        What came before a broken frame counts, and what comes after it does not.
        """
        client, echo = await self.client()
        client.write(
            frame(1, b"1") + frame(3, b"") + frame(1, b"2") + b"\xff" * 100_000
        )
        frames = await client.rest()
        self.assertEqual(echo.heard, [b"1"])
        self.assertEqual(bytes(frames[-1].data[:2]), b"\x03\xea")


class LivenessTests(SocketCase):
    """Pings."""

    async def test_pinged(self) -> None:
        """
        A quiet client that answers pings stays; one that does not is cut off.
        """
        self.serve(bounds=LineBounds(ping_seconds=0.2))
        client, echo = await self.client()
        for _ in range(3):
            said = await client.frame()
            assert said is not None
            self.assertEqual((said.opcode, said.data), (Opcode.PING, b""))
            client.say(Opcode.PONG)
        self.assertFalse(echo.is_lost)
        await client.rest()
        await self.until(lambda: echo.is_lost)


class TlsTests(SocketCase):
    """The same over TLS."""

    async def test_tls(self) -> None:
        """
        A conversation over TLS, also with one who does not read for a while.
        """
        await self.converse(True)

    async def test_twisted_tls(self) -> None:
        """
        The same over Twisted's own TLS.
        """
        await self.converse(False)

    async def converse(self, is_direct: bool) -> None:
        issued = authority().issue("localhost")
        tls = HttpTls(ReloadableTls(issued.certificate, issued.key))
        self.serve(wrap=lambda site: over_tls(tls, site, reactor, is_direct))
        raw = await connect(reactor, self.server.port)
        self.clients.append(raw)
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        connection.set_connect_state()
        heard = b""

        async def pump(until: Any) -> None:
            nonlocal heard
            while not until():
                with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
                    connection.do_handshake()
                    while True:
                        heard += connection.recv(65536)
                with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError):
                    raw.transport.write(connection.bio_read(65536))
                if raw.received:
                    connection.bio_write(bytes(raw.received))
                    raw.received.clear()
                elif not until():
                    assert await raw._more(), heard[-200:]

        await pump(lambda: connection.get_state_string().startswith(b"SSL nego"))
        connection.send(handshake())
        await pump(lambda: b"\r\n\r\n" in heard)
        heard = b""
        connection.send(frame(1, b"1") + frame(1, b"2"))
        await pump(lambda: heard == b"\x81\x05[1,2]")
        (echo,) = self.server.echoes
        raw.transport.pauseProducing()
        while not echo.line.is_behind:
            echo.line.send(b'"%s"' % (b"x" * 60_000))
            await deferLater(reactor, 0)
        echo.line.send(b"3")
        echo.line.send(b"4")
        raw.transport.resumeProducing()
        await pump(lambda: heard.endswith(b"3,4]"))
        await self.until(lambda: echo.times_caught_up)
        connection.send(frame(8, b""))
        await pump(lambda: heard.endswith(b"\x88\x00"))


class TurnEndTests(SynchronousTestCase):
    """`TurnEnd`."""

    def test_order(self) -> None:
        """
        Rooms make their broadcasts before lines send, all within one timed call.
        """
        clock, done = Clock(), []
        turn_end = TurnEnd(clock)

        class Line:
            def flush(self) -> None:
                done.append("line")

        turn_end.flush(Line())
        turn_end.call(lambda: done.append("room"))
        turn_end.call(lambda: turn_end.call(lambda: done.append("late room")))
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.advance(0)
        self.assertEqual(done, ["room", "late room", "line"])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_events(self) -> None:
        """
        What a turn's events bring is done when they are over, without a timed call.
        """
        clock, done = Clock(), []
        turn_end = TurnEnd(clock)
        turn_end.call(lambda: done.append("before"))
        turn_end.is_coming = True
        turn_end.call(lambda: done.append("event"))
        self.assertEqual(done, [])
        turn_end.run()
        self.assertEqual(done, ["before", "event"])
        turn_end.is_coming = True
        turn_end.call(lambda: done.append("second turn"))
        turn_end.run()
        self.assertEqual(done.pop(), "second turn")
        turn_end.call(lambda: done.append("after"))
        clock.advance(0)
        self.assertEqual(done, ["before", "event", "after"])

    def test_failure(self) -> None:
        """
        A room that fails is logged, and takes nothing from the others.
        """
        clock, done = Clock(), []
        turn_end = TurnEnd(clock)
        turn_end.call(lambda: 1 // 0)
        turn_end.call(lambda: done.append("next"))
        clock.advance(0)
        self.assertEqual(done, ["next"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        turn_end.call(lambda: done.append("later"))
        clock.advance(0)
        self.assertEqual(done, ["next", "later"])


class RoundsTests(SynchronousTestCase):
    """`Rounds`."""

    def test_each_once(self) -> None:
        """
        Everybody is visited once a period, and never all at once.
        """
        clock, visits = Clock(), []

        class Visited:
            def __init__(self, name: int) -> None:
                self.name = name

            def visit(self) -> None:
                visits.append(self.name)
                if self.name == 3:
                    rounds.leave(self)

        rounds = Rounds(clock, 20.0)
        for name in range(4):
            rounds.join(Visited(name))
            clock.pump([0.2] * 10)
        self.assertEqual(visits, [])
        clock.pump([0.2] * 100)
        self.assertEqual(visits, [0, 1, 2, 3])
        clock.pump([0.2] * 100)
        self.assertEqual(visits, [0, 1, 2, 3, 0, 1, 2])

    def test_nobody(self) -> None:
        """
        An empty node has no timer.
        """
        clock = Clock()
        rounds = Rounds(clock, 20.0)

        class Visited:
            def visit(self) -> None:
                raise AssertionError

        one = Visited()
        rounds.join(one)
        rounds.leave(one)
        rounds.leave(one)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(len(rounds), 0)
