"""
Node links: what the nodes of one deployment ask of each other, in frames.

A link is TLS; both sides have a certificate of the deployment's authority, which only
nodes have. The side that dials asks, the other one answers. Source:
docs/protocol/nodes.rst.
"""

from __future__ import annotations

import typing
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import attrs
import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import BoundedLog, in_background
from vinom.base.model import Player
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import Made
from vinom.errors import NoCapacity, PeerError
from vinom.net.frames import FrameReader, framed

#: Version of the messages; a node with another one is refused.
NODE_PROTOCOL = 1

#: How long a node that dialed may take to shake hands and greet, seconds.
GREETING_SECONDS = 5.0
#: How long an answer may take, seconds.
ANSWER_SECONDS = 3.0
#: Questions of one link that are answered at once; more are refused.
MOST_QUESTIONS = 1000
#: While somebody visits another node it is asked this often whether it is there, and
#: given up after so many times without an answer.
BEAT_SECONDS, MOST_BEATS = 1.0, 3
#: Players of one node who can be in rooms of another one.
MOST_VISITS = 100_000
#: Bytes that may wait for a node that does not read.
MOST_UNSENT = 16 << 20


class Greeting(Struct, frozen=True, tag_field="t", tag="greeting"):
    """
    The first message of a node that dialed.

    :ivar protocol: the version that it speaks.
    :ivar node_id: who it is, for the log.
    """

    protocol: int
    node_id: str


class AskWayIn(Struct, frozen=True, tag_field="t", tag="ask_way_in"):
    """
    A player of your match came to me: admit the player; answered with this number.

    :ivar seat: the player's.
    """

    number: int
    match_id: str
    seat: int


class WayIn(Struct, frozen=True, tag_field="t", tag="way_in"):
    """
    The player may come.

    :ivar found: a `match_found`, as a client receives it.
    """

    number: int
    found: bytes


class NoWayIn(Struct, frozen=True, tag_field="t", tag="no_way_in"):
    """
    The player cannot come.

    :ivar why: for the log.
    """

    number: int
    why: str


class AskSeats(Struct, frozen=True, tag_field="t", tag="ask_seats"):
    """
    Keep free seats of a running room of yours for players who wait in a queue.

    :ivar options: of the room, canonical JSON.
    :ivar player_ids: who would come, together.
    """

    number: int
    game: str
    options: bytes
    player_ids: tuple[str, ...]


class Seats(Struct, frozen=True, tag_field="t", tag="seats"):
    """
    Seats are kept for a short time.

    :ivar room_id: of which room; empty if none has as many.
    """

    number: int
    room_id: str


class OpenVisit(Struct, frozen=True, tag_field="t", tag="open_visit"):
    """
    A player who said hello to me wants to be in rooms of yours.

    :ivar visit: number of the visit on this link.
    :ivar player_id: as in `vinom.base.model.Player`, and so the next three.
    :ivar host: the player's address, for limits; nothing is allowed because of it.
    """

    visit: int
    player_id: str
    name: str
    claims: bytes
    is_guest: bool
    host: str


class Say(Struct, frozen=True, tag_field="t", tag="say"):
    """
    What the player of a visit sends.

    :ivar message: one request, as a client sends it.
    """

    visit: int
    message: bytes


class Slow(Struct, frozen=True, tag_field="t", tag="slow"):
    """
    Does the player of a visit take what is sent?

    :ivar is_behind: not just now.
    """

    visit: int
    is_behind: bool


class EndVisit(Struct, frozen=True, tag_field="t", tag="end_visit"):
    """The player's line to me is closed, or is in no room of yours."""

    visit: int


class Beat(Struct, frozen=True, tag_field="t", tag="beat"):
    """Is anybody there? Sent once a second while a visit is open."""


class Alive(Struct, frozen=True, tag_field="t", tag="alive"):
    """The answer to `Beat`."""


class Passed(Struct, frozen=True, tag_field="t", tag="passed"):
    """
    What the player of a visit is sent.

    :ivar message: one answer or push, as a client receives it.
    """

    visit: int
    message: bytes


class Departed(Struct, frozen=True, tag_field="t", tag="departed"):
    """The player of a visit is no longer in a room, after all that was passed."""

    visit: int
    room_id: str


class VisitOver(Struct, frozen=True, tag_field="t", tag="visit_over"):
    """
    A visit has ended.

    :ivar code: why: a `vinom.errors.Code`; empty if there is nothing more to send.
    :ivar reason: the same in words.
    """

    visit: int
    code: str
    reason: str


Question = Greeting | AskWayIn | AskSeats | OpenVisit | Say | Slow | EndVisit | Beat
Answer = WayIn | NoWayIn | Seats | Passed | Departed | VisitOver | Alive

_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame(message: Question | Answer) -> bytes:
    """
    Make the frame of one message.

    :raises ValueError: it is longer than `vinom.net.frames.FRAME_LIMIT`.
    """
    return framed(msgspec.msgpack.encode(message))


def read_answer(payload: bytes) -> Answer:
    """
    Read a message of a node that was dialed.

    :raises PeerError: it is not one of the messages; names the field.
    """
    return _read(_answers, payload)


_M = TypeVar("_M")


def _read(decoder: msgspec.msgpack.Decoder[_M], payload: bytes) -> _M:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"message of a node: {error}") from error


#: Admits a player to a seat of a match of this node: match id and seat. Returns a
#: ``match_found``, as a client receives it; fails with `NoCapacity`.
Admit = Callable[[str, int], Awaitable[bytes]]


#: Keeps seats of a running room of this node: game, options and players. Returns the
#: room's id; empty if no room has as many.
KeepSeats = Callable[[str, bytes, typing.Sequence[str]], str]


def _no_seats(game: str, options: bytes, player_ids: typing.Sequence[str]) -> str:
    return ""


class Visitor(typing.Protocol):
    """A visit, at the node that has the rooms: `vinom.lobby.conversation.visitors`."""

    def received(self, message: bytes) -> None:
        """The player sent this."""

    def slowed(self, is_behind: bool) -> None:
        """The player does not take what is sent, or does again."""

    def lost(self) -> None:
        """The visit is over."""


class Guest(typing.Protocol):
    """A visit, at the node that has the player's line: `vinom.rooms.visits`."""

    def passed(self, message: bytes) -> None:
        """The player is sent this."""

    def departed(self, room_id: str) -> None:
        """The player is no longer in a room."""

    def over(self, code: str, reason: str) -> None:
        """The visit has ended, as of `VisitOver`; or the link was lost."""


@attrs.frozen(eq=False)
class VisitorWire:
    """What the node that has the rooms sends about one visit."""

    _send: Callable[[Answer], None]
    _visit: int

    def passed(self, message: bytes) -> None:
        """Send the player a message."""
        self._send(Passed(self._visit, message))

    def departed(self, room_id: str) -> None:
        """Send that the player is no longer in a room."""
        self._send(Departed(self._visit, room_id))

    def over(self, code: str, reason: str) -> None:
        """Send that the visit has ended."""
        self._send(VisitOver(self._visit, code, reason))


@attrs.frozen(eq=False)
class GuestWire:
    """What the node that has a player's line sends about one visit."""

    _send: Callable[[Question], None]
    _forget: Callable[[int], None]
    _visit: int

    def say(self, message: bytes) -> None:
        """Send what the player sent."""
        self._send(Say(self._visit, message))

    def slowed(self, is_behind: bool) -> None:
        """Send whether the player takes what is sent."""
        self._send(Slow(self._visit, is_behind))

    def end(self) -> None:
        """End the visit."""
        self._forget(self._visit)
        self._send(EndVisit(self._visit))


#: Begins a visit of a player; fails with `ValueError` if there can be no such player.
Receive = Callable[[OpenVisit, VisitorWire], Visitor]
#: Checks who is at the other end; raises `PeerError`.
Check = Callable[[ITCPTransport], None]


class _NodeLink(Protocol):
    """What both ends of a link do."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self._frames = FrameReader()
        # While the peer does not read: how much waits.
        self._is_full, self._unsent = False, 0
        self._is_over = False

    def connectionMade(self) -> None:
        consumer: Any = self.transport
        consumer.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._frames.receive(data)
        try:
            while not self._is_over:
                payload = self._frames.next_frame()
                if payload is None:
                    return
                self._take(payload)
        except PeerError as error:
            self._refuse(str(error))

    # Calls of the transport, as of a producer.

    def pauseProducing(self) -> None:
        """The peer does not read what it is sent."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """The peer has read everything."""
        self._is_full, self._unsent = False, 0

    def stopProducing(self) -> None:
        """The link is lost; `connectionLost` follows."""

    def _write(self, data: bytes) -> None:
        """Send it, unless the peer has let too much wait."""
        self.transport.write(data)
        if self._is_full:
            self._unsent += len(data)
            if self._unsent > MOST_UNSENT:
                self._refuse("the node does not read")

    def _refuse(self, why: str) -> None:
        if not self._is_over:
            self._ends(why)
            self.transport.abortConnection()

    @abstractmethod
    def _take(self, payload: bytes) -> None:
        """
        Handle one message of the peer.

        :raises PeerError: it is none.
        """

    @abstractmethod
    def _ends(self, why: str) -> None:
        """Note why the link is about to be lost."""


class NodeAnswers(_NodeLink):
    """The end of the node that was dialed."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        check: Check,
        admit: Admit,
        receive: Receive,
        reserve: KeepSeats = _no_seats,
        bounded_log: BoundedLog | None = None,
    ) -> None:
        """
        :param clock: for peers that stay silent.
        :param check: called after the handshake, before anything is done.
        :param admit: serves `AskWayIn`.
        :param receive: serves `OpenVisit`.
        :param reserve: serves `AskSeats`.
        :param bounded_log: of links that strangers can begin, too; shared by all.
        """
        self._reserve = reserve
        self._bounded_log = bounded_log or BoundedLog(self._log, clock)
        self._clock, self._check = clock, check
        self._admit, self._receive = admit, receive
        super().__init__()
        self._visits: dict[int, Visitor] = {}
        # Those whose players do not take what is sent.
        self._slow: set[int] = set()
        self._has_greeted, self._asked = False, 0
        self._alarm = Timer(clock)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._alarm.start(GREETING_SECONDS, self._refuse, "no greeting arrived in time")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self._alarm.cancel()
        visits, self._visits = self._visits, {}
        for visitor in visits.values():
            visitor.lost()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        for visitor in tuple(self._visits.values()):
            visitor.slowed(True)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        for visit, visitor in tuple(self._visits.items()):
            visitor.slowed(visit in self._slow)

    def _take(self, payload: bytes) -> None:
        message = _read(_questions, payload)
        match message:
            case Greeting(protocol, node_id):
                if protocol != NODE_PROTOCOL:
                    raise PeerError(f"protocol {protocol}, not {NODE_PROTOCOL}")
                self._check(self.transport)
                self._alarm.cancel()
                self._has_greeted = True
                self._log.info("node {node_id} has a link here", node_id=node_id)
            case _ if not self._has_greeted:
                raise PeerError("the first message must be a greeting")
            case Beat():
                self.transport.write(frame(Alive()))
            case OpenVisit(visit) if visit in self._visits:
                raise PeerError(f"visit {visit} is open already")
            case OpenVisit(visit) if len(self._visits) >= MOST_VISITS:
                full = VisitOver(visit, "busy", "too many players of one node are here")
                self.transport.write(frame(full))
            case OpenVisit(visit):
                wire = VisitorWire(partial(self._pass_on, visit), visit)
                try:
                    self._visits[visit] = self._receive(message, wire)
                except ValueError as error:
                    raise PeerError(f"no such player: {error}") from None
            case Say(visit, text):
                # Of a visit that ended here first nothing is left to do.
                if visit in self._visits:
                    self._visits[visit].received(text)
            case Slow(visit, is_behind):
                if visit in self._visits:
                    (self._slow.add if is_behind else self._slow.discard)(visit)
                    self._visits[visit].slowed(is_behind or self._is_full)
            case EndVisit(visit):
                self._slow.discard(visit)
                if visit in self._visits:
                    self._visits.pop(visit).lost()
            case AskSeats(number, game, options, player_ids):
                room_id = self._reserve(game, options, player_ids)
                self.transport.write(frame(Seats(number, room_id)))
            case AskWayIn():
                if self._asked >= MOST_QUESTIONS:
                    why = f"more than {MOST_QUESTIONS} questions at once"
                    self.transport.write(frame(NoWayIn(message.number, why)))
                    return
                self._asked += 1
                in_background(self._log, self._answer(message), "no answer to a node")

    def _pass_on(self, visit: int, answer: Answer) -> None:
        if self._is_over or visit not in self._visits:
            return
        if isinstance(answer, VisitOver):
            self._slow.discard(visit)
            del self._visits[visit]
        lost = None
        try:
            data = frame(answer)
        except ValueError as error:
            data = frame(VisitOver(visit, "internal", str(error)))
            lost = self._visits.pop(visit, None)
        self._write(data)
        if lost is not None:
            lost.lost()

    async def _answer(self, asked: AskWayIn) -> None:
        answer: Answer
        try:
            found = await self._admit(asked.match_id, asked.seat)
            answer = WayIn(asked.number, found)
        except Exception as error:
            if not isinstance(error, NoCapacity):
                self._log.failure("a node asked for what failed")
            answer = NoWayIn(asked.number, str(error))
        self._asked -= 1
        if not self._is_over:
            self.transport.write(frame(answer))

    def _ends(self, why: str) -> None:
        # Nothing that comes meanwhile is answered.
        self._is_over = True
        self._bounded_log.info("node link closed: {why}", why=why)


class NodeAnswersFactory(Made):
    """Accept links of other nodes."""

    def __init__(
        self,
        clock: IReactorTime,
        check: Check,
        admit: Admit,
        receive: Receive,
        reserve: KeepSeats = _no_seats,
    ) -> None:
        """As `NodeAnswers`."""
        parts = clock, check, admit, receive, reserve
        bounded_log = BoundedLog(NodeAnswers._log, clock)
        super().__init__(lambda: NodeAnswers(*parts, bounded_log))


class NodeQuestions(_NodeLink):
    """The end of the node that dialed."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, node_id: str, lost: Callable[[], None]
    ) -> None:
        """
        :param clock: for answers that do not come.
        :param node_id: of this node.
        :param lost: called once, when the link is closed.
        """
        self._clock, self._node_id, self._lost = clock, node_id, lost
        super().__init__()
        self._waiting: dict[int, Deferred[WayIn | NoWayIn | Seats]] = {}
        self._guests: dict[int, Guest] = {}
        self._number = 0
        # Beats without an answer.
        self._beats = 0
        self._beating = LoopingCall(self._beat)
        self._beating.clock = clock

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.write(frame(Greeting(NODE_PROTOCOL, self._node_id)))
        self._beating.start(BEAT_SECONDS, now=False)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        if self._beating.running:
            self._beating.stop()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.errback(NoCapacity("the link to that node closed"))
        guests, self._guests = self._guests, {}
        for guest in guests.values():
            guest.over("store_unavailable", "the node of this room is gone")
        self._lost()

    def _beat(self) -> None:
        """Find out whether the peer is there: a machine may go without a word."""
        if not self._guests:
            self._beats = 0
        elif self._beats >= MOST_BEATS:
            self._refuse("the node does not answer")
        else:
            self._beats += 1
            self._say(Beat())

    def _ends(self, why: str) -> None:
        self._log.error("node link closed: {why}", why=why)

    def _take(self, payload: bytes) -> None:
        answer = read_answer(payload)
        match answer:
            case Alive():
                self._beats = 0
            case WayIn(number) | NoWayIn(number) | Seats(number):
                waiting = self._waiting.pop(number, None)
                if waiting is not None:
                    waiting.callback(answer)
            case Passed(visit, message):
                if visit in self._guests:
                    self._guests[visit].passed(message)
            case Departed(visit, room_id):
                if visit in self._guests:
                    self._guests[visit].departed(room_id)
            case VisitOver(visit, code, reason):
                if visit in self._guests:
                    self._guests.pop(visit).over(code, reason)

    def open_visit(self, player: Player, host: str, guest: Guest) -> GuestWire:
        """
        Begin a visit of a player who is connected here.

        :param host: the player's address.
        :raises NoCapacity: the link is lost.
        """
        if self._is_over:
            raise NoCapacity("the link to that node closed")
        self._number += 1
        self._guests[self._number] = guest
        self._say(
            OpenVisit(
                self._number,
                player.player_id,
                player.name,
                player.claims,
                player.is_guest,
                host,
            )
        )
        return GuestWire(self._say, self._forget, self._number)

    def _say(self, question: Question) -> None:
        if not self._is_over:
            self._write(frame(question))

    def _forget(self, visit: int) -> None:
        self._guests.pop(visit, None)

    async def ask_way_in(self, match_id: str, seat: int) -> bytes:
        """
        Ask that a player be admitted to a seat of a match of that node.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or that node does not answer.
        """
        answer = await self._ask(lambda number: AskWayIn(number, match_id, seat))
        if isinstance(answer, WayIn):
            return answer.found
        why = answer.why if isinstance(answer, NoWayIn) else "that node offered seats"
        raise NoCapacity(why)

    async def ask_seats(
        self, game: str, options: bytes, player_ids: typing.Sequence[str]
    ) -> str:
        """
        Ask that seats of a running room of that node be kept for players.

        :returns: the room's id; empty if no room has as many.
        :raises NoCapacity: that node does not answer.
        """
        players = tuple(player_ids)
        answer = await self._ask(
            lambda number: AskSeats(number, game, options, players)
        )
        return answer.room_id if isinstance(answer, Seats) else ""

    async def _ask(
        self, question: Callable[[int], AskWayIn | AskSeats]
    ) -> WayIn | NoWayIn | Seats:
        if self._is_over:
            raise NoCapacity("the link to that node closed")
        self._number += 1
        number = self._number
        asked: Deferred[WayIn | NoWayIn | Seats] = Deferred()
        self._waiting[number] = asked
        self.transport.write(frame(question(number)))
        try:
            return await asked.addTimeout(ANSWER_SECONDS, self._clock)
        except TimeoutError:
            raise NoCapacity("that node did not answer in time") from None
        finally:
            self._waiting.pop(number, None)
