"""
Node links: what the nodes of one deployment ask of each other, in frames.

A link is TLS; both sides have a certificate of the deployment's authority, which only
nodes have. The side that dials asks, the other one answers. Source:
docs/protocol/nodes.rst.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.control.messages import FRAME_LIMIT, FrameReader
from vinom.errors import NoCapacity, PeerError

#: Version of the messages; a node with another one is refused.
NODE_PROTOCOL = 1

#: How long a node that dialed may take to shake hands and greet, seconds.
GREETING_SECONDS = 5.0
#: How long an answer may take, seconds.
ANSWER_SECONDS = 3.0
#: Questions of one link that are answered at once; more wait unread in the kernel.
MOST_QUESTIONS = 1000


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


Question = Greeting | AskWayIn
Answer = WayIn | NoWayIn

_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame(message: Question | Answer) -> bytes:
    """
    Make the frame of one message.

    :raises ValueError: it is longer than `FRAME_LIMIT`.
    """
    payload = msgspec.msgpack.encode(message)
    if len(payload) > FRAME_LIMIT:
        raise ValueError(f"message of {len(payload)} bytes, limit {FRAME_LIMIT}")
    return len(payload).to_bytes(4) + payload


def read_question(payload: bytes) -> Question:
    """
    Read a message of a node that dialed.

    :raises PeerError: it is not one of the messages; names the field.
    """
    return _read(_questions, payload)


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
#: Checks who is at the other end; raises `PeerError`.
Check = Callable[[ITCPTransport], None]


class NodeAnswers(Protocol):
    """The end of the node that was dialed."""

    transport: ITCPTransport
    _log = Logger()

    def __init__(self, clock: IReactorTime, check: Check, admit: Admit) -> None:
        """
        :param clock: for peers that stay silent.
        :param check: called after the handshake, before anything is done.
        :param admit: serves `AskWayIn`.
        """
        self._clock, self._check, self._admit = clock, check, admit
        self._frames = FrameReader()
        self._has_greeted = self._is_over = False
        self._asked = 0

    def connectionMade(self) -> None:
        self._alarm = self._clock.callLater(
            GREETING_SECONDS, self._refuse, "no greeting arrived in time"
        )

    def dataReceived(self, data: bytes) -> None:
        self._frames.receive(data)
        try:
            while not self._is_over:
                payload = self._frames.next_frame()
                if payload is None:
                    return
                self._received(read_question(payload))
        except PeerError as error:
            self._refuse(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        if self._alarm.active():
            self._alarm.cancel()

    def _received(self, message: Question) -> None:
        match message:
            case Greeting(protocol, node_id):
                if protocol != NODE_PROTOCOL:
                    raise PeerError(f"protocol {protocol}, not {NODE_PROTOCOL}")
                self._check(self.transport)
                if self._alarm.active():
                    self._alarm.cancel()
                self._has_greeted = True
                self._log.info("node {node_id} has a link here", node_id=node_id)
            case AskWayIn():
                if not self._has_greeted:
                    raise PeerError("the first message must be a greeting")
                if self._asked >= MOST_QUESTIONS:
                    raise PeerError(f"more than {MOST_QUESTIONS} questions at once")
                self._asked += 1
                Deferred.fromCoroutine(self._answer(message)).addErrback(
                    lambda failure: self._log.failure("no answer to a node", failure)
                )

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

    def _refuse(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._log.info("node link closed: {why}", why=why)
            self.transport.abortConnection()


class NodeAnswersFactory(ServerFactory):
    """Accept links of other nodes."""

    noisy = False

    def __init__(self, clock: IReactorTime, check: Check, admit: Admit) -> None:
        """As `NodeAnswers`."""
        self._parts = clock, check, admit

    def buildProtocol(self, addr: IAddress | None) -> NodeAnswers:
        protocol = NodeAnswers(*self._parts)
        protocol.factory = self
        return protocol


class NodeQuestions(Protocol):
    """The end of the node that dialed."""

    transport: ITCPTransport
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
        self._frames = FrameReader()
        self._waiting: dict[int, Deferred[Answer]] = {}
        self._number = 0
        self._is_over = False

    def connectionMade(self) -> None:
        self.transport.write(frame(Greeting(NODE_PROTOCOL, self._node_id)))

    def dataReceived(self, data: bytes) -> None:
        self._frames.receive(data)
        try:
            while not self._is_over:
                payload = self._frames.next_frame()
                if payload is None:
                    return
                answer = read_answer(payload)
                waiting = self._waiting.pop(answer.number, None)
                if waiting is not None:
                    waiting.callback(answer)
        except PeerError as error:
            self._log.error("node link closed: {why}", why=str(error))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.errback(NoCapacity("the link to that node closed"))
        self._lost()

    async def ask_way_in(self, match_id: str, seat: int) -> bytes:
        """
        Ask that a player be admitted to a seat of a match of that node.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or that node does not answer.
        """
        if self._is_over:
            raise NoCapacity("the link to that node closed")
        self._number += 1
        number = self._number
        asked: Deferred[Answer] = Deferred()
        self._waiting[number] = asked
        self.transport.write(frame(AskWayIn(number, match_id, seat)))
        try:
            answer = await asked.addTimeout(ANSWER_SECONDS, self._clock)
        except TimeoutError:
            raise NoCapacity("that node did not answer in time") from None
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, NoWayIn):
            raise NoCapacity(answer.why)
        return answer.found
