"""A player in the lobby: who it is, where it queues, where its match is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import attrs
from msgspec import Raw, json
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.errors import Code
from vinom.messages.catalogue import PROTOCOL
from vinom.messages.envelope import Failed, Push
from vinom.messages.lobby import (
    Cancel,
    Hello,
    MatchEnded,
    MatchFound,
    Ping,
    Queue,
    QueueStatus,
    Welcome,
)

#: Pauses between attempts to reach a lobby, seconds; the last one repeats.
PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)
#: The wait before asking again where a match is that is over, seconds.
_STALE_PAUSE = 0.2
#: Longest message on a line on which a match is played, bytes.
STATE_LIMIT = 1024 * 1024
#: What the lobby says and a new line may change.
_PASSING = frozenset({Code.SHUTDOWN, Code.TIMEOUT, Code.UNAVAILABLE, Code.BUSY})


@attrs.frozen
class Identity:
    """
    Who the lobby says we are.

    :ivar key: secret: whoever has it is this player.
    """

    player_id: str
    key: str = attrs.field(repr=False)
    name: str
    server: str
    games: tuple[str, ...]


class LobbyClient:
    """
    Hold one player's place in the lobby, over as many lines as it takes.

    A lobby closes the line of a lone player when it has a match for it, so
    lines are made when something is to be asked.

    :param hello: how to introduce ourselves the first time.
    :param patience: how long to try to reach the lobby, seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        hello: Hello,
        patience: float = 30.0,
    ) -> None:
        self._clock, self._endpoint, self._hello = clock, endpoint, hello
        self._patience = patience
        self._line: LobbyLine | None = None
        self._identity: Identity | None = None
        self._listen: Callable[[Push | Failed], None] = _ignore
        self._hung_up: Callable[[], None] = _nothing
        self._news: list[Push | Failed] = []

    @property
    def identity(self) -> Identity:
        """Who we are; known after the first hello."""
        if self._identity is None:
            raise LineLost("the lobby was not reached yet")
        return self._identity

    def hello(self) -> Deferred[Identity]:
        """
        Introduce ourselves on a line, a new one if there is none.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        return Deferred.fromCoroutine(self._greet())

    def find_match(
        self,
        game: str,
        options: Any = None,
        loadout: Any = None,
        *,
        last_match: str = "",
        on_status: Callable[[QueueStatus], None] | None = None,
    ) -> Deferred[MatchFound]:
        """
        Queue, and wait for the match; a lost line is made again.

        :param options: of the game, JSON-like.
        :param loadout: what the player brings, JSON-like.
        :param last_match: the id of one that is over, which is not meant.
        :param on_status: hears of the place in the queue.

        Fails with `LobbyRefusal` or `LineLost`; cancelling leaves the queue.
        """
        queue = Queue(game, _raw(options), _raw(loadout))
        return Deferred.fromCoroutine(
            self._find(queue, last_match, on_status or _ignore)
        )

    def whereabouts(self) -> Deferred[MatchFound | MatchEnded | QueueStatus | None]:
        """
        Ask on a new line where we stand: in a match, after one, or queued.

        Fails with `LobbyRefusal` or `LineLost`; tries only once.
        """
        return Deferred.fromCoroutine(self._ask_where())

    def open_line(
        self, news: Callable[[Push | Failed], None], lost: Callable[[], None]
    ) -> Deferred[LobbyLine]:
        """
        Say hello on a line of the caller's own, which stays open during a match.

        Its requests have texts as ids; numbers are left to whoever says more on it.

        Fails with `LobbyRefusal` or `LineLost`; tries only once. Cancelling hangs up.
        """
        ids = (f"ask-{number}" for number in count(1))
        line = LobbyLine(self._clock, news, lost, limit=STATE_LIMIT, ids=ids)
        hello = Hello(PROTOCOL, player_key=self.identity.key, stay=True)
        return Deferred.fromCoroutine(self._introduce(line, hello)).addCallback(
            lambda _: line
        )

    def cancel(self) -> Deferred[None]:
        """
        Leave the queue; nothing happens if we are in none.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        return Deferred.fromCoroutine(self._cancel())

    def close(self) -> None:
        """Hang up; a later request makes a new line."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    async def _cancel(self) -> None:
        await self._greet()
        assert self._line is not None
        try:
            await self._line.ask(Cancel())
        except LobbyRefusal as refusal:
            if refusal.code != Code.NOT_QUEUED:
                raise

    async def _greet(self) -> Identity:
        if self._line is not None and self._line.is_open and self._identity:
            return self._identity
        self._news.clear()

        def gone() -> None:
            if self._line is line:
                self._line = None
                self._hung_up()

        line = LobbyLine(self._clock, lambda push: self._heard(line, push), gone)
        if self._identity is None:
            hello = self._hello
        else:
            hello = Hello(PROTOCOL, player_key=self._identity.key)
        welcome = await self._introduce(line, hello, self._use)
        self._identity = Identity(
            welcome.player_id,
            welcome.player_key,
            welcome.name,
            welcome.server,
            welcome.games,
        )
        return self._identity

    async def _introduce(
        self,
        line: LobbyLine,
        hello: Hello,
        connected: Callable[[LobbyLine], None] | None = None,
    ) -> Welcome:
        """Dial, and say hello."""
        try:
            await self._endpoint.connect(Factory.forProtocol(lambda: line))
        except Exception as error:
            raise LineLost(f"no line to the lobby: {_reason(error)}") from error
        if connected is not None:
            connected(line)
        try:
            welcome = await line.ask(hello)
        except LobbyRefusal as refusal:
            line.close()
            if refusal.code == Code.UNKNOWN_PLAYER_KEY:
                # A node that lost its memory; the next hello is a new player's.
                self._identity = None
            raise
        except CancelledError:
            line.close()
            raise
        if not isinstance(welcome, Welcome):
            line.close()
            raise LineLost("the lobby answers a hello with something else")
        return welcome

    def _use(self, line: LobbyLine) -> None:
        self._line = line

    def _heard(self, line: LobbyLine, push: Push | Failed) -> None:
        if line is self._line:
            self._news.append(push)
            self._listen(push)

    async def _find(
        self, queue: Queue, last_match: str, on_status: Callable[[QueueStatus], None]
    ) -> MatchFound:
        began, attempt = self._clock.seconds(), 0
        while True:
            try:
                await self._greet()
                attempt, began = 0, self._clock.seconds()
                found = await self._queue(queue, last_match, on_status)
                if found is not None:
                    return found
            except LobbyRefusal as refusal:
                if refusal.code not in _PASSING and not (
                    # Its old match's end is still on its way to the lobby.
                    refusal.code == Code.ALREADY_IN_MATCH and last_match
                ):
                    raise
                if self._clock.seconds() - began > self._patience:
                    raise
            except LineLost:
                if self._clock.seconds() - began > self._patience:
                    raise
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            attempt += 1
            await deferLater(self._clock, max(pause, _STALE_PAUSE), _nothing)

    async def _queue(
        self, queue: Queue, last_match: str, on_status: Callable[[QueueStatus], None]
    ) -> MatchFound | None:
        """Wait on the line there is; ``None`` means "the old match, ask again"."""
        line = self._line
        if line is None:
            # Closed with the welcome: what was said before decides.
            return self._match_in_news(last_match)

        def give_up(_: Deferred[MatchFound | None]) -> None:
            line.ask(Cancel()).addErrback(_drop)
            line.close()

        waiting: Deferred[MatchFound | None] = Deferred(give_up)
        asked, queued_for = False, queue.game

        def listen(push: Push | Failed) -> None:
            nonlocal queued_for
            if waiting.called:
                return
            if isinstance(push, QueueStatus):
                queued_for = push.game or queued_for
                if push.state == "idle" and asked:
                    waiting.errback(_refusal(line.last_word))
                else:
                    on_status(push)
            elif isinstance(push, MatchFound):
                stale = push.match_id == last_match
                waiting.callback(None if stale else push)
            elif isinstance(push, MatchEnded) and asked and push.match_id != last_match:
                waiting.errback(
                    LobbyRefusal(push.reason, "the match ended before it began")
                )

        def hung_up() -> None:
            if not waiting.called:
                waiting.errback(_refusal(line.last_word))

        self._listen, self._hung_up = listen, hung_up
        try:
            for push in tuple(self._news):
                listen(push)
            self._news.clear()
            if not waiting.called:
                try:
                    status = await line.ask(queue)
                    listen(status)
                except LobbyRefusal as refusal:
                    if refusal.code != Code.ALREADY_QUEUED:
                        raise
                    if queued_for != queue.game:
                        # An old wish that its line outlived is not this one.
                        await line.ask(Cancel())
                        listen(await line.ask(queue))
                except LineLost:
                    # With the match found, perhaps: `waiting` knows.
                    pass
                asked = True
            return await waiting
        finally:
            self._listen, self._hung_up = _ignore, _nothing
            if waiting.called:
                waiting.addErrback(_drop)
            self.close()

    def _match_in_news(self, last_match: str) -> MatchFound | None:
        for push in self._news:
            if isinstance(push, MatchFound) and push.match_id != last_match:
                return push
        return None

    async def _ask_where(self) -> MatchFound | MatchEnded | QueueStatus | None:
        self.close()
        await self._greet()
        try:
            if self._line is not None:
                # The answer comes after the news, if any comes at all.
                await self._line.ask(Ping())
        except LineLost:
            if not any(isinstance(push, MatchFound) for push in self._news):
                raise
        finally:
            self.close()
        for push in reversed(self._news):
            if isinstance(push, MatchFound | MatchEnded | QueueStatus):
                return push
        return None


def _raw(value: Any) -> Raw:
    return Raw(json.encode({} if value is None else value))


def _refusal(word: Failed | None) -> LobbyRefusal | LineLost:
    if word is None:
        return LineLost("the line to the lobby closed")
    return LobbyRefusal(word.code, word.message, word.details)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _ignore(_: object) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody wants to know."""


def _drop(failure: Failure) -> None:
    """Somebody else was told already."""
