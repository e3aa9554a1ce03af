"""UDP ports of vinom.net.dtls: the server's and the client's, when they are read."""

from __future__ import annotations

import os
import socket
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.certificates import authority, leaf
from tests.support.dtls import BEGINNING, DOMAIN, LABEL, make_ticket, seeded
from tests.support.logged import watch_log
from vinom.net.dtls.admission import Address, Admission
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.dtls.channel import Connected, Disconnected, Received
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.client_port import ClientPort
from vinom.net.dtls.port import DatagramPort, PacedReader, Pacing, Pass
from vinom.net.dtls.server import DtlsServer, ServerEvent

HOME: Address = ("192.0.2.100", 46000)
ANN: Address = ("192.0.2.1", 4000)


class Wire:
    """A UDP transport in memory: datagrams go to the owner of the address."""

    def __init__(self, wires: dict[Address, Wire], address: Address) -> None:
        self._wires, self._address = wires, address
        self.port: DatagramPort | ClientPort | None = None
        self.peer: Address | None = None
        self.failure: Exception | None = None
        self.written: list[bytes] = []
        wires[address] = self

    def attach(self, port: DatagramPort | ClientPort) -> None:
        self.port = port
        port.makeConnection(self)  # type: ignore[arg-type]  # it quacks enough

    def connect(self, host: str, port: int) -> None:
        self.peer = (host, port)

    def write(self, datagram: bytes, address: Address) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append(datagram)
        other = self._wires.get(address)
        if other is not None and other.port is not None:
            other.port.datagramReceived(datagram, self._address)

    def stopListening(self) -> None:
        self._wires.pop(self._address, None)
        if self.port is not None:
            port, self.port = self.port, None
            port.doStop()


class PortCase(SynchronousTestCase):
    """A server's port and one client's, on one clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(BEGINNING)
        self.wires: dict[Address, Wire] = {}
        admission = Admission(DOMAIN, BEGINNING, entropy=seeded())
        admission.add_ticket(make_ticket())
        self.dtls = DtlsServer(leaf(DOMAIN).served(), admission)
        self.turns: list[list[ServerEvent]] = []
        self.events: list[ClientEvent] = []
        self.refusals = 0
        self.server = DatagramPort(self.clock, self.dtls, self.turns.append)
        self.server_wire = Wire(self.wires, HOME)
        self.server_wire.attach(self.server)

    def dial(self, address: Address = ANN) -> ClientPort:
        client = DtlsClient(
            f"{LABEL}.{DOMAIN}", authority().anchor, self.clock.seconds()
        )
        port = ClientPort(self.clock, client, *HOME, self.events.extend, self.refuse)
        self.client_wire = Wire(self.wires, address)
        self.client_wire.attach(port)
        return port

    def refuse(self) -> None:
        self.refusals += 1

    def settle(self) -> None:
        """Let the turns run that are due."""
        for _ in range(10):
            self.clock.advance(0)

    def connect(self) -> ClientPort:
        port = self.dial()
        self.settle()
        (event,) = self.turns.pop()
        assert isinstance(event, Connected)
        self.association = event.association
        self.events.clear()
        return port


class DatagramPortTests(PortCase):
    """Many peers, one socket."""

    def test_one_turn_is_delivered_once(self) -> None:
        """
        Everything that one turn of the reactor brought makes one broadcast.
        """
        client = self.connect()
        for payload in (b"one", b"two", b"three"):
            client.send(payload)
            client.flush()
        self.assertEqual(self.turns, [])
        self.settle()
        (turn,) = self.turns
        payloads = [e.payload for e in turn if isinstance(e, Received)]
        self.assertEqual(payloads, [b"one", b"two", b"three"])

    def test_answers_leave_in_the_same_turn(self) -> None:
        """
        An answer does not wait for another turn.
        """
        client = self.connect()

        def answer(events: list[ServerEvent]) -> None:
            for event in events:
                if isinstance(event, Received):
                    self.server.send(event.association, b"answer")

        self.server._deliver = answer
        client.send(b"question")
        client.flush()
        self.clock.advance(0)
        self.assertEqual(len(self.events), 1)

    def test_failing_delivery(self) -> None:
        """
        A mistake while events are handled does not silence the port.
        """
        client = self.connect()

        def fail(events: list[ServerEvent]) -> None:
            raise ZeroDivisionError

        good, self.server._deliver = self.server._deliver, fail
        client.send(b"one")
        client.flush()
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.server._deliver = good
        client.send(b"two")
        client.flush()
        self.settle()
        ((event,),) = self.turns
        self.assertEqual(event, Received(self.association, b"two"))

    def test_close(self) -> None:
        """
        The player learns that its association is closed; from a process that is about
        to end without another turn.
        """
        for end in (self.settle, self.server.flush):
            self.connect()
            self.server.close(self.association)
            end()
            (event,) = self.events
            assert isinstance(event, Disconnected)
            self.assertEqual(event.reason, "closed")

    def test_full_socket(self) -> None:
        """
        What the operating system does not take is lost like anything on the way.
        """
        self.connect()
        self.server_wire.failure = BlockingIOError()
        self.server.send(self.association, b"lost")
        self.settle()
        self.assertEqual(self.server.unsendable, 1)
        self.server_wire.failure = None
        self.server.send(self.association, b"found")
        self.settle()
        self.assertEqual([e.payload for e in self.events], [b"found"])

    def test_nothing_runs_after_the_end(self) -> None:
        """
        A closed port leaves no call behind and sends nothing.
        """
        self.connect()
        self.server.send(self.association, b"too late")
        self.server_wire.stopListening()
        self.server.flush()
        self.client_wire.stopListening()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_by_its_own_turn(self) -> None:
        """
        A room that ends may close the port while it handles what came.
        """
        client = self.connect()
        self.server._deliver = lambda events: self.server_wire.stopListening()
        client.send(b"last move")
        client.flush()
        self.settle()
        self.client_wire.stopListening()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SharesTests(PortCase):
    """Players come first, even in a flood."""

    def flood(self, count: int, datagram: bytes = b"junk") -> None:
        for number in range(count):
            self.server.datagramReceived(datagram, ("203.0.113.1", 1 + number))

    def test_strangers_have_a_share(self) -> None:
        """
        Each turn reads a little of a flood; the rest costs next to nothing, and is
        counted.
        """
        self.flood(500)
        self.settle()
        outcomes = self.dtls.admission.outcomes
        self.assertEqual(outcomes, {"junk": 64, "beyond_share": 436})
        self.assertEqual(self.dtls.datagrams_in, 500)
        self.flood(10)
        self.settle()
        self.assertEqual(outcomes["junk"], 74)

    def test_play_comes_first(self) -> None:
        """
        A player's input that arrives after a flood is answered before any of it
        is looked at, and none is dropped.
        """
        client = self.connect()
        heard_before: list[int] = []
        self.server._deliver = lambda events: heard_before.append(
            self.dtls.admission.outcomes["junk"]
        )
        self.flood(500)
        for number in range(300):
            client.send(b"%d" % number)
            client.flush()
        self.settle()
        self.assertEqual(heard_before, [0])
        self.assertEqual(self.dtls.admission.outcomes["junk"], 64)

    def test_player_amid_a_flood(self) -> None:
        """
        Somebody who shakes hands has a share that strangers cannot take.
        """
        self.dial()
        for _ in range(20):
            # The hello is lucky to be first; what follows need not be.
            self.clock.advance(0)
            self.flood(500)
        self.settle()
        self.assertTrue(
            any(isinstance(event, Connected) for turn in self.turns for event in turn)
        )

    def test_noise_of_a_peer(self) -> None:
        """
        What a player's address sends beside play has a bound, too.
        """
        client = self.connect()
        for _ in range(500):
            self.server.datagramReceived(b"\x16junk", ANN)
        client.send(b"hi")
        client.flush()
        self.settle()
        self.assertEqual(self.server.crowded_out, 500 - 64)
        (event,) = self.turns[-1]
        assert isinstance(event, Received)
        self.assertEqual(event.payload, b"hi")

    def test_payload_behind_a_new_handshake(self) -> None:
        """
        What a player sends right after shaking hands again is not lost.
        """
        self.connect()
        self.clock.advance(0.5)
        again = self.dial()
        ended = False
        for _ in range(50):
            self.clock.advance(0)
            if not ended and any(isinstance(e, Connected) for e in self.events):
                ended = True
                again.send(b"again")
                again.flush()
        payloads = [
            event.payload
            for turn in self.turns
            for event in turn
            if isinstance(event, Received)
        ]
        self.assertEqual(payloads, [b"again"])

    def test_flood_is_in_the_log_once(self) -> None:
        """
        An operator reads one line when a flood begins and one when it is over.
        """
        lines = watch_log(self, "flood")
        for _ in range(30):
            self.flood(100)
            self.clock.pump([0, 0.01])
        self.assertEqual(len(lines), 1)
        self.assertIn("a flood of junk", lines[0])
        self.clock.advance(6.0)
        self.settle()
        self.assertEqual(len(lines), 2)
        self.assertIn("is over", lines[1])

    def test_turns_are_measured(self) -> None:
        """
        A turn's length is reported, from its first datagram to its last answer.
        """
        told: list[tuple[float, float]] = []
        self.server._turned = lambda took, ended: told.append((took, ended))
        client = self.connect()
        told.clear()
        self.server._deliver = lambda events: self.clock.pump([0.25])
        client.send(b"slow")
        client.flush()
        self.settle()
        self.assertEqual(told, [(0.25, BEGINNING + 0.25)])


class ClientPortTests(PortCase):
    """One peer, one socket."""

    def test_lost_hello(self) -> None:
        """
        A port dials by itself when it is opened, and repeats a hello that was lost.
        """
        del self.wires[HOME]
        self.dial()
        self.assertEqual(self.client_wire.peer, HOME)
        self.wires[HOME] = self.server_wire
        self.clock.advance(0.3)
        self.settle()
        (event,) = self.events
        self.assertIsInstance(event, Connected)

    def test_refused(self) -> None:
        """
        The SDK is called if nothing listens there any more, or if the operating system
        closes the socket, as happens then with Twisted's epoll reactor.
        """
        port = self.connect()
        port.connectionRefused()
        self.assertEqual(self.refusals, 1)
        self.client_wire.stopListening()
        self.assertEqual(self.refusals, 2)
        port.close()
        self.assertEqual(self.refusals, 2)

    def test_close(self) -> None:
        """
        The server learns that the player has left; the socket is closed.
        """
        port = self.connect()
        port.close()
        port.close()
        self.settle()
        self.assertNotIn(ANN, self.wires)
        self.assertEqual(self.turns, [[Disconnected(self.association, "closed")]])
        # Nothing of the client is left to happen.
        port.datagramReceived(b"late", HOME)
        self.server_wire.stopListening()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unsendable(self) -> None:
        """
        A network that is down for a moment does not raise in the player's code.
        """
        port = self.connect()
        for failure in (OSError(), MessageLengthError()):
            self.client_wire.failure = failure
            port.send(b"lost")
            port.flush()
        self.client_wire.failure = None
        port.send(b"found")
        port.flush()
        self.settle()
        self.assertEqual(self.turns, [[Received(self.association, b"found")]])

    def test_timers_do_not_pile_up(self) -> None:
        """
        However much is sent, a client has one call waiting.
        """
        port = self.connect()
        for _ in range(50):
            self.clock.advance(0.05)
            port.send(b"input")
            port.flush()
            self.settle()
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 2)


class Twice:
    """A network that delivers everything twice, the second time late."""

    longest_hold = 0.01

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def incoming(self, datagram: bytes, address: Address, pass_on: Pass) -> None:
        pass_on(datagram, address)
        self._clock.callLater(0.01, pass_on, datagram, address)

    outgoing = incoming


class FilterTests(PortCase):
    """Ports with a datagram filter."""

    def test_worn_by_both(self) -> None:
        """
        A bad network can be put between a port and the real one.
        """
        self.server._filter = Twice(self.clock)
        port = self.dial()
        port._filter = Twice(self.clock)
        self.clock.pump([0.01] * 20)
        self.assertEqual([type(e) for turn in self.turns for e in turn], [Connected])
        self.turns.clear()
        port.send(b"once")
        port.flush()
        self.clock.pump([0.01] * 20)
        self.assertEqual(
            [e.payload for t in self.turns for e in t if isinstance(e, Received)],
            [b"once"],
        )

    def test_late_datagrams_of_a_closed_port(self) -> None:
        """
        What a filter passes on after the end goes nowhere.
        """
        self.server._filter = Twice(self.clock)
        port = self.connect()
        port._filter = Twice(self.clock)
        port.send(b"last")
        port.close()
        self.server_wire.stopListening()
        self.clock.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_goodbye_through_a_slow_network(self) -> None:
        """
        A client that leaves is gone for itself at once, and for the server when
        its goodbye has arrived; then its socket is closed.
        """
        port = self.connect()
        port._filter = Conditioner(self.clock, Conditions(delay=0.1), 1)
        port.close()
        port.close()
        self.server.send(self.association, b"too late")
        self.settle()
        self.clock.advance(0.05)
        self.assertEqual((self.turns, ANN in self.wires), ([], True))
        self.clock.advance(0.05)
        self.settle()
        self.assertEqual(self.turns, [[Disconnected(self.association, "closed")]])
        self.assertNotIn(ANN, self.wires)
        self.assertEqual((self.events, self.refusals), ([], 0))


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


class PacingTests(SynchronousTestCase):
    """`Pacing` with turns at chosen times."""

    def setUp(self) -> None:
        self.pacing = Pacing(pause=0.002, window=0.05, busy=0.5, calm=0.2, most=96)
        self.now = 10.0

    def turns(
        self, count: int, every: float, share: float, datagrams: int = 1
    ) -> list[float]:
        """Take turns that fill a share of the time; returns the pauses after them."""
        pauses = []
        for _ in range(count):
            self.now += every
            pauses.append(self.pacing.turned(datagrams, share * every, self.now))
        return pauses

    def test_quiet(self) -> None:
        """
        A player on a server that has time is always answered at once.
        """
        self.assertEqual(set(self.turns(500, 0.0005, 0.4)), {0.0})

    def test_busy(self) -> None:
        """
        When turns take most of the time, each look brings several datagrams.
        """
        pauses = self.turns(500, 0.0005, 0.7)
        self.assertEqual((pauses[0], pauses[-1]), (0.0, 0.002))

    def test_after_a_busy_time(self) -> None:
        """
        Pauses do not end just because they make turns cheaper. Soon after the last busy
        moment everybody is answered at once again; so are the first player after a
        silence, and what comes too fast for the operating system to keep.
        """
        for turns, pause in (
            ((500, 0.002, 0.3), 0.002),
            ((60, 0.002, 0.1), 0.0),
            ((1, 5.0, 0.0), 0.0),
            ((1, 0.002, 0.5, 97), 0.0),
            ((1, 0.002, 0.5, 50), 0.002),
        ):
            self.setUp()
            self.turns(500, 0.0005, 0.7)
            pauses = self.turns(*turns)
            self.assertEqual(pauses[-1], pause, turns)
            self.assertTrue(turns[0] < 500 or set(pauses) == {pause})


class SomePort:
    """Notes the calls that a reactor makes to its ports."""

    def __init__(self) -> None:
        self.is_reading = True
        self.looks = 0

    def doRead(self) -> None:
        self.looks += 1

    def startReading(self) -> None:
        self.is_reading = True

    def stopReading(self) -> None:
        self.is_reading = False


class PacedReaderTests(SynchronousTestCase):
    """`PacedReader` before a port that only counts."""

    def setUp(self) -> None:
        self.clock, self.port = Clock(), SomePort()
        self.reader = PacedReader(self.clock, self.port)

    def test_pause(self) -> None:
        """
        What comes while a busy port sleeps is read when it wakes; a turn that only
        sends meanwhile changes nothing about it.
        """
        self.reader.turned(0.003)
        self.reader.turned(0.003)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertFalse(self.port.is_reading)
        self.clock.advance(0.003)
        self.assertEqual((self.port.looks, self.port.is_reading), (1, True))

    def test_stop(self) -> None:
        """
        A port that closes while it sleeps is left alone.
        """
        self.reader.turned(0.003)
        self.reader.stop()
        self.clock.advance(1)
        self.assertEqual(self.port.looks, 0)
