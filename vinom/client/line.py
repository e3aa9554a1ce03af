"""The player's end of a lobby line: requests out, answers and news in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.errors import PeerError, VinomError
from vinom.lines.text import LineReader
from vinom.messages.catalogue import decode_answer
from vinom.messages.envelope import Failed, Push, Request, RequestId, encode_request

#: Longest message of a node that we read, bytes.
ANSWER_LIMIT = 64 * 1024


class LobbyRefusal(VinomError):
    """
    The lobby said no, or something went wrong that it tells us.

    :ivar code: one of `vinom.errors.Code`, or a newer node's.
    """

    def __init__(
        self, code: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.details = details or {}


class LineLost(VinomError):
    """The line to the lobby closed, or it could not be made."""


class LobbyLine(Protocol):
    """
    Carry one conversation with the lobby.

    :param news: gets what nobody asked for, replies to others left out.
    :param patience: how long an answer may take, seconds.
    :param limit: longest message that we read, bytes.
    :param ids: for what is asked; whoever calls `say` has others.
    :ivar last_word: the last failure that the lobby told without being asked.
    :ivar is_open: may something be asked?
    """

    transport: ITCPTransport
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        news: Callable[[Push | Failed], None],
        lost: Callable[[], None],
        patience: float = 10.0,
        limit: int = ANSWER_LIMIT,
        ids: Iterable[RequestId] | None = None,
    ) -> None:
        self._clock, self._news, self._lost = clock, news, lost
        self._patience = patience
        self._reader = LineReader(limit)
        self._numbers: Iterator[RequestId] = iter(count(1) if ids is None else ids)
        self._asked: dict[str | int | None, Deferred[Push]] = {}
        self.last_word: Failed | None = None
        self.is_open = False

    def connectionMade(self) -> None:
        self.is_open = True
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)

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
        overdue = self._clock.callLater(self._patience, self._give_up, number)

        def answered(result: Any) -> Any:
            if overdue.active():
                overdue.cancel()
            return result

        return answer.addBoth(answered)

    def say(self, message: bytes) -> None:
        """Send a whole message for which nobody waits."""
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
            self._log.info("the lobby is not understood: {why}", why=error)
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

    def _give_up(self, number: RequestId) -> None:
        waiting = self._asked.pop(number, None)
        if waiting is not None:
            waiting.errback(LineLost("the lobby does not answer"))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_open = False
        asked, self._asked = self._asked, {}
        why = "the line to the lobby closed"
        if not reason.check(ConnectionDone):
            # For one, that the lobby is not who its certificate should say.
            why = f"{why}: {reason.getErrorMessage()}"
        for waiting in asked.values():
            waiting.errback(LineLost(why))
        self._lost()
