"""The player's end of a lobby line: requests out, answers and news in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import (
    Failed,
    Push,
    Request,
    RequestId,
    encode_request,
)
from vinom.base.reactor.connections import bound_silence
from vinom.errors import PeerError, VinomError
from vinom.net.frames import LineReader

#: Longest message of the lobby that we accept, bytes.
ANSWER_LIMIT = 64 * 1024
#: After which a server counts as gone that sends not even what the kernel sends by
#: itself: sooner than another node can go on with its rooms.
_GONE_SECONDS = 12


class LobbyRefusal(VinomError):
    """
    The lobby refused a request, or reported a failure.

    :param code: one of `vinom.errors.Code`, or a newer server's.
    :param message: the reason in words.
    :param details: more about some codes, such as ``retry_after``.
    """

    def __init__(
        self, code: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.details = details or {}

    @property
    def retry_after(self) -> float:
        """When the lobby wants to be asked again, seconds; 0 if it names no time."""
        found = self.details.get("retry_after")
        return float(found) if isinstance(found, int | float) else 0.0


class SentAway(VinomError):
    """
    The room is on another node, which the client can reach.

    :ivar address: of its lobby.
    """

    def __init__(self, address: str) -> None:
        """See the attribute."""
        super().__init__(f"the room is at {address}")
        self.address = address


class LineLost(VinomError):
    """The connection to the lobby closed, or could not be made."""


class LobbyLine(Protocol):
    """
    Carry one conversation with the lobby.

    :param clock: measures and schedules time; the reactor.
    :param news: called with each push, and each failure that answers no request.
    :param lost: called when the connection closes.
    :param timeout: how long an answer may take, seconds.
    :param limit: longest message accepted, bytes.
    :param ids: for requests, numbers from 1 by default; callers of `say` use others.
    :ivar last_word: the latest failure that answers no request.
    :ivar is_open: can requests be sent?
    """

    transport: ITCPTransport
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        news: Callable[[Push | Failed], None],
        lost: Callable[[], None],
        timeout: float = 10.0,
        limit: int = ANSWER_LIMIT,
        ids: Iterable[RequestId] | None = None,
    ) -> None:
        self._clock, self._news, self._lost = clock, news, lost
        self._timeout = timeout
        self._reader = LineReader(limit)
        self._numbers: Iterator[RequestId] = iter(count(1) if ids is None else ids)
        self._asked: dict[str | int | None, Deferred[Push]] = {}
        self.last_word: Failed | None = None
        self.is_open = False

    def connectionMade(self) -> None:
        self.is_open = True
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        below: Any = self.transport
        while isinstance(below, ProtocolWrapper):
            below = below.transport
        if isinstance(below, Connection):
            bound_silence(below.getHandle(), _GONE_SECONDS)

    def ask(self, request: Request) -> Deferred[Push]:
        """
        Send *request*; fires with the reply to it.

        Fails with `LobbyRefusal`, or `LineLost` if no answer comes.
        """
        answer: Deferred[Push] = Deferred()
        if not self.is_open:
            answer.errback(LineLost("the line to the lobby is closed"))
            return answer
        number = next(self._numbers)
        self._asked[number] = answer
        self.transport.write(encode_request(request, number) + b"\n")
        return answer.addTimeout(
            self._timeout, self._clock, partial(self._give_up, number)
        )

    def say(self, message: bytes) -> None:
        """Send a whole message without waiting for an answer."""
        if self.is_open:
            self.transport.write(message + b"\n")

    def close(self) -> None:
        """Hang up."""
        if self.is_open:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._reader.receive(data)
        try:
            while (line := self._reader.next_line()) is not None:
                self._take(line)
        except PeerError as error:
            self._log.info("dropped the lobby: {why}", why=error)
            self.transport.abortConnection()

    def _take(self, line: bytes) -> None:
        answer = decode_answer(line)
        if answer is None:
            return
        waiting = self._asked.pop(answer.id, None)
        if isinstance(answer, Failed):
            if waiting is not None:
                waiting.errback(
                    LobbyRefusal(answer.code, answer.message, answer.details)
                )
            else:
                if answer.id is None:
                    self.last_word = answer
                self._news(answer)
        elif waiting is not None:
            waiting.callback(answer.push)
        elif answer.id is None:
            self._news(answer.push)

    def _give_up(self, number: RequestId, _: object, seconds: float) -> Failure:
        self._asked.pop(number, None)
        self.transport.abortConnection()
        return Failure(LineLost(f"the lobby did not answer within {seconds:g} s"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_open = False
        asked, self._asked = self._asked, {}
        why = "the line to the lobby closed"
        if not reason.check(ConnectionDone):
            # For example, the lobby's certificate is for another name.
            why = f"{why}: {reason.getErrorMessage()}"
        for waiting in asked.values():
            waiting.errback(LineLost(why))
        self._lost()
