"""
A connection with many sessions: clients that speak packets, and links to back ends.

Both ends of a link use the same class; a `Taker` handles the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from vinom.base.reactor.direct import DirectReads, socket_under
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Rounds
from vinom.errors import NoCapacity
from vinom.net.streams.channels import Channel, Reason, closing, read_closing
from vinom.net.streams.packets import Kind, Packet, PacketReader, encode
from vinom.net.streams.sockets import STUCK_SECONDS, Pace, SocketReader, SocketWriter

#: How often a line is checked for silence and for unfinished packets, seconds.
VISIT_SECONDS = 5.0
#: Visits without a byte after which a line that is pinged counts as broken.
_MOST_SILENT = 3
#: Visits that an unfinished packet may last.
_MOST_UNFINISHED = 6
#: How long a line that ended waits for the peer to read some of the rest, and, when it
#: has read everything, to close too, seconds.
_CLOSE_SECONDS = 10.0
#: Longest body of *ping*, bytes.
_MOST_ECHO = 8


class Taker(Shape):
    """The owner of a line, to which it reports."""

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """
        The peer opens a session: `PacketConnection.add` it, or refuse it.

        Session 0 is a greeting on a link, and asks for an id on other lines.
        """

    def ended(self, line: PacketConnection) -> None:
        """A session of the line is over, which stays."""

    def closing(self, line: PacketConnection, why: str) -> None:
        """The peer accepts no more sessions; open ones go on."""

    def lost(self, line: PacketConnection, why: str) -> None:
        """The connection is over, with all its sessions."""


@attrs.frozen(kw_only=True)
class PeerTerms:
    """
    How the peer of a line is treated.

    :ivar lost: the reason for its sessions if the connection is lost.
    :ivar starved: the reason for a session whose peer gives no more credit.
    :ivar reasons: reasons with which the peer may close a session; any other counts as
        done.
    :ivar pings: ping a silent peer, to find out whether it is still there?
    :ivar most_owed: most bytes of answers to its *open* and *ping* that a peer may
        leave unread; 0 for no limit, for peers that we trust.
    """

    lost: Reason
    starved: Reason = Reason.TOO_SLOW
    reasons: Container[Reason] = frozenset(Reason)
    pings: bool = False
    most_owed: int = 0


class PacketConnection(Protocol):
    """
    Carries sessions.

    :ivar channels: open sessions, by id.
    :ivar is_over: true if nothing more is sent.
    :ivar starved_reason: the reason for a session whose peer gives no more credit.
    """

    transport: Any

    def __init__(
        self,
        taker: Taker,
        clock: IReactorTime,
        rounds: Rounds,
        terms: PeerTerms,
        *,
        pace: Pace | None = None,
        pay: Callable[[int, float], float] | None = None,
        direct: DirectReads | None = None,
        turns: TurnEnd | None = None,
    ) -> None:
        """
        :param taker: gets reports.
        :param clock: for the deadline of peers that do not read.
        :param rounds: visits the line each `VISIT_SECONDS`.
        :param terms: how the peer is treated.
        :param pace: limits how fast the peer may send; ``None`` for no limit.
        :param pay: counts its packets, and the time; returns for how many seconds to
            read no more; ``None`` for no limit.
        :param direct: reads connections without the reactor.
        :param turns: reports the end of a turn, when everything written in it is sent;
            ``None`` sends everything at once.
        """
        self._direct, self._turns = direct, turns
        self._unsent: list[bytes] = []
        self._pace, self._pay = pace, pay
        self._taker, self._clock, self._rounds = taker, clock, rounds
        self._terms, self.starved_reason = terms, terms.starved
        self._owed = 0
        self._packets = PacketReader()
        self.channels: dict[int, Channel] = {}
        self.is_over = False
        # Legs to report to when the peer reads again.
        self._blocked: dict[Channel, None] = {}
        # Channels that wait for credit, and the visits since.
        self._starved: dict[Channel, int] = {}
        self._silent = self._unfinished = self._ended = 0
        self._why = "the connection closed"
        # While the peer of a link that we dialed has not greeted.
        self._greeting: Deferred[None] | None = None

    # What the transport calls.

    def connectionMade(self) -> None:
        self._writer = SocketWriter(
            self.transport,
            self,
            self._clock,
            is_tls=socket_under(self.transport) is None,
            direct=self._direct,
        )
        self._reader = SocketReader(self.transport, self._clock, self._pace)
        self._rounds.join(self)

    def dataReceived(self, data: bytes) -> None:
        if self.is_over:
            return
        before = self._packets.ended
        self._read(data)
        if self._pay is None and self._pace is None:
            return
        wait = 0.0
        if self._pay is not None:
            wait = self._pay(self._packets.ended - before, self._clock.seconds())
        self._reader.received(len(data), wait)

    def _read(self, data: bytes) -> None:
        self._silent = 0
        channels = self.channels
        for packet in self._packets.read(data):
            if packet.kind == Kind.DATA:
                # A session that ended here first needs nothing more.
                channel = channels.get(packet.session_id)
                if channel is not None and not channel.received(packet.body):
                    self._overdrawn(channel)
            else:
                self._received(packet)
            if self.is_over:
                return
        if self._packets.mistake is not None:
            self.end(Reason.BAD_PACKET, self._packets.mistake)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_over = True
        self._reader.end()
        self._writer.forget()
        self._unsent.clear()
        self._rounds.leave(self)
        self._blocked.clear()
        self._starved.clear()
        for channel in tuple(self.channels.values()):
            channel.lost(self._terms.lost, self._why)
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            why = f"the link was closed before a greeting: {self._why}"
            greeting.errback(NoCapacity(why))
        self._taker.lost(self, self._why)

    def filled(self) -> None:
        """The peer does not read."""

    def drained(self) -> None:
        """The peer has read everything."""
        if self.is_over:
            return
        self._owed = 0
        blocked, self._blocked = self._blocked, {}
        for channel in blocked:
            channel.drained()

    def visit(self) -> None:
        """Check for silence, and for packets that never end (`Rounds`)."""
        packets = self._packets
        if packets.is_between or packets.ended != self._ended:
            # Sending a packet byte by byte gains no time.
            self._ended, self._unfinished = packets.ended, 0
        elif not self._reader.holds:
            self._unfinished += 1
            if self._unfinished >= _MOST_UNFINISHED:
                self.end(Reason.TIMEOUT, "a packet was not complete in time")
                return
        if self._starved:
            self._visit_starved()
        if self._terms.pings:
            self._silent += 1
            if self._silent > _MOST_SILENT:
                self.abort("it does not answer pings")
            elif self._silent > 1:
                self.transmit(encode(Packet(Kind.PING)))

    # What users call.

    def add(self, channel: Channel) -> None:
        """Carry one more session; its `Channel.leg` must be set before bytes come."""
        self.channels[channel.session_id] = channel

    async def greet(self, body: bytes, seconds: float) -> None:
        """
        Greet the peer of a link that we dialed, and wait until it greets us.

        The kernel connects us even to a program that hangs and never answers; one that
        does not trust us ends the link.

        :param seconds: how long it may take.
        :raises NoCapacity: it does not greet.
        """
        self._greeting = greeting = Deferred[None]()
        self.open(Packet(Kind.OPEN, body))
        try:
            await greeting.addTimeout(seconds, self._clock)
        except TimeoutError:
            self._greeting = None
            self.abort("it did not greet in time")
            raise NoCapacity("it accepts links, but did not greet in time") from None

    def open(self, packet: Packet) -> None:
        """Ask for a session, or answer with its id."""
        self._answer(encode(packet))

    def refuse(self, session_id: int, reason: Reason, words: str = "") -> None:
        """Answer that a session is refused."""
        self._answer(closing(session_id, reason, words))

    def drain(self, reason: Reason, words: str = "") -> None:
        """Ask the peer to open no more sessions here; open ones go on."""
        self.transmit(closing(0, reason, words))

    def end(self, reason: Reason, words: str = "") -> None:
        """Send the reason, then close the connection; its sessions end at once."""
        if self.is_over:
            return
        self._why = words or reason.value
        self.transmit(closing(0, reason, words))
        self.flush()
        self.is_over = True
        self._reader.end()
        self._writer.close()
        # Nothing more of them is sent, however long the peer takes to close.
        for channel in tuple(self.channels.values()):
            channel.lost(self._terms.lost, self._why)

    def abort(self, why: str = "the gateway failed") -> None:
        """Close the connection at once."""
        self._why = why
        self.is_over = True
        self.transport.abortConnection()

    # What channels call.

    def transmit(self, data: bytes) -> None:
        """Send whole packets."""
        if self.is_over:
            return
        if self._turns is None:
            self._writer.write(data)
            return
        if not self._unsent:
            self._turns.flush(self)
        self._unsent.append(data)

    def flush(self) -> None:
        """The turn is over: send everything that was written in it."""
        unsent, self._unsent = self._unsent, []
        if unsent and not self.is_over:
            self._writer.write(b"".join(unsent))

    @property
    def is_full(self) -> bool:
        """Does the peer not read what it is sent?"""
        return self._writer.is_full

    def wait(self, channel: Channel) -> None:
        """Call its leg's ``drained`` when the peer reads again."""
        self._blocked[channel] = None

    def starve(self, channel: Channel) -> None:
        """Call its `Channel.starved` if no credit comes in time."""
        self._starved[channel] = 0

    def feed(self, channel: Channel) -> None:
        """Credit came."""
        self._starved.pop(channel, None)

    def forget(self, channel: Channel) -> None:
        """The session is over."""
        self._blocked.pop(channel, None)
        self._starved.pop(channel, None)
        if self.channels.get(channel.session_id) is channel:
            del self.channels[channel.session_id]
            if not self.is_over:
                self._taker.ended(self)

    def _received(self, packet: Packet) -> None:
        kind, channel = packet.kind, self.channels.get(packet.session_id)
        if kind == Kind.WINDOW:
            if len(packet.body) != 4:
                self.end(Reason.BAD_PACKET, "the body of window must have 4 bytes")
            elif channel is not None:
                channel.granted(int.from_bytes(packet.body))
        elif kind == Kind.OPEN:
            greeting = self._greeting
            if greeting is None or packet.session_id:
                self._taker.opened(self, packet)
            else:
                self._greeting = None
                greeting.callback(None)
        elif kind == Kind.CLOSE:
            reason, words = read_closing(packet.body)
            if channel is not None:
                if reason is None or reason not in self._terms.reasons:
                    reason = Reason.DONE
                channel.lost(reason, words)
            elif not packet.session_id:
                self._taker.closing(self, words)
        elif kind == Kind.PING:
            if len(packet.body) > _MOST_ECHO:
                self.end(
                    Reason.BAD_PACKET, "the body of ping must have at most 8 bytes"
                )
            else:
                self._answer(encode(Packet(Kind.PONG, packet.body)))

    def _answer(self, data: bytes) -> None:
        """
        Send what the peer asked for.

        Credit bounds the bytes of sessions, and nothing bounds questions: a peer that
        asks and does not read would have us hold all answers.
        """
        if self._terms.most_owed and self._writer.is_full:
            self._owed += len(data)
            if self._owed > self._terms.most_owed:
                self.abort("it does not read the answers that it asks for")
                return
        self.transmit(data)

    def _visit_starved(self) -> None:
        for channel, visits in tuple(self._starved.items()):
            if visits * self._rounds.period >= STUCK_SECONDS:
                channel.starved()
            else:
                self._starved[channel] = visits + 1

    def _overdrawn(self, channel: Channel) -> None:
        why = "more bytes than the credit allows"
        self.transmit(closing(channel.session_id, Reason.BAD_PACKET, why))
        channel.lost(Reason.BAD_PACKET, why)

    def stuck(self) -> None:
        """The peer has read nothing for too long."""
        self.abort("it did not read in time")
