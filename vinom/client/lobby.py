"""A player in the lobby: its identity, its queueing, and where its match is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import random
from typing import Any, TypeVar

import attrs
from msgspec import Raw, json, structs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.envelope import Failed, Push, Request
from vinom.base.messages.lobby import (
    Cancel,
    Hello,
    MatchEnded,
    MatchFound,
    Ping,
    Queue,
    QueueStatus,
    RegionOffer,
    RoomFound,
    Welcome,
)
from vinom.base.messages.parties import Accept, Decline, PrematchFound, Who
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.errors import Code, VinomError

#: Pauses between attempts to reach a lobby, seconds; the last one repeats.
PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)
#: Least pause before queueing again, seconds: the end of our last match may still be on
#: its way to the lobby.
_STALE_PAUSE = 0.2
#: Longest message on a line that carries a match or rooms, bytes.
STATE_LIMIT = 1024 * 1024
Answer = TypeVar("Answer", bound=Push)
#: Refusals that may be different on a new line.
_PASSING = frozenset(
    {
        *(Code.SHUTDOWN, Code.DRAINING, Code.TIMEOUT, Code.BUSY),
        *(Code.UNAVAILABLE, Code.STORE_UNAVAILABLE),
    }
)
#: The same for who comes back by itself, and may have asked for much at once.
PASSING_ON_RETURN = _PASSING | {Code.RATE_LIMITED}


@attrs.frozen
class Offer:
    """
    A match that was found, and waits for the yes of every player.

    Without an answer in time you leave the queue, as if you had declined.

    :ivar game: its name.
    :ivar players: who would play.
    :ivar seconds: how long there was to answer when it came.
    """

    game: str
    players: tuple[Who, ...]
    seconds: float
    _answer: Callable[[type[Accept | Decline]], None] = attrs.field(repr=False)

    def accept(self) -> None:
        """Say yes."""
        self._answer(Accept)

    def decline(self) -> None:
        """Say no; you cannot queue for a while."""
        self._answer(Decline)


def offer(found: PrematchFound, ask: Callable[[Request], Deferred[Push]]) -> Offer:
    """
    Make the offer of a prematch.

    :param ask: sends the answer.
    """

    def answer(kind: type[Accept | Decline]) -> None:
        # It may be too late: the lobby reports what came of it in any case.
        ask(kind(found.id)).addErrback(_drop)

    return Offer(found.game, found.players, found.seconds, answer)


def accept(found: Offer) -> None:
    """Accept every match: what happens unless the caller decides."""
    found.accept()


#: Makes what connects to the lobby at a host and port, as to the first one.
Elsewhere = Callable[[str, int], IStreamClientEndpoint]
#: Measures echoes, milliseconds by region: `vinom.client.sdk.measure_echoes`.
Measure = Callable[[Sequence[RegionOffer]], Deferred[dict[str, float]]]


@attrs.frozen
class Identity:
    """
    A player, as the lobby knows it.

    :ivar player_id: public; other players see it.
    :ivar name: to play under.
    :ivar key: secret: a program that has it can play as this player.
    :ivar server: name and version of the server.
    :ivar games: names of the games that can be played.
    """

    player_id: str
    key: str = attrs.field(repr=False)
    name: str
    server: str
    games: tuple[str, ...]


class RoomOffered(VinomError):
    """
    A running room has a seat for the player, who has left the queue for it.

    Join it: ``PlayerRooms.join(JoinRoom(game, room_id, create=False))``.

    :ivar room_id: its id.
    :ivar game: what it plays.
    """

    def __init__(self, room_id: str, game: str) -> None:
        """See the attributes."""
        super().__init__(f"room {room_id} of {game} has a seat for you: join it")
        self.room_id, self.game = room_id, game


class LobbyClient:
    """
    Be one player in the lobby, over as many lines as it takes.

    The lobby closes a player's line when it has found a match, so a line is opened
    whenever there is something to ask.

    :param clock: measures and schedules time; the reactor.
    :param endpoint: where the lobby is.
    :param hello: how to log in the first time.
    :param timeout: how long to try to reach the lobby, seconds.
    :param measure: measures echoes to the regions that the lobby offers.
    :param elsewhere: reaches other nodes, to be sent to those of our rooms.
    :param chance: gives numbers from 0 to 1, which lengthen the pauses between
        attempts: clients that lost the lobby together must not return together.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        hello: Hello,
        timeout: float = 30.0,
        measure: Measure | None = None,
        elsewhere: Elsewhere | None = None,
        chance: Callable[[], float] = random,
    ) -> None:
        self._clock, self._endpoint, self._hello = clock, endpoint, hello
        self._chance = chance
        self._timeout, self._measure = timeout, measure
        self._elsewhere = elsewhere
        self._regions: tuple[RegionOffer, ...] = ()
        self._echoes: dict[str, float] | None = None
        self._line: LobbyLine | None = None
        self._identity: Identity | None = None
        self._listen: Callable[[Push | Failed], None] = _ignore
        self._closed: Callable[[], None] = _nothing
        self._news: list[Push | Failed] = []

    @property
    def identity(self) -> Identity:
        """Who we are; known once logged in."""
        if self._identity is None:
            raise LineLost("not logged in to the lobby yet")
        return self._identity

    def hello(self) -> Deferred[Identity]:
        """
        Log in, on the line that is open or on a new one.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        return Deferred.fromCoroutine(self._greet())

    def find_match(
        self,
        game: str,
        options: Any = None,
        loadout: Any = None,
        *,
        queue: str | None = None,
        last_match: str = "",
        on_status: Callable[[QueueStatus], None] | None = None,
        on_offer: Callable[[Offer], None] = accept,
    ) -> Deferred[MatchFound]:
        """
        Queue, and wait for the match; if a line breaks another is opened.

        :param game: its name.
        :param options: of the game, JSON-like.
        :param loadout: what the player brings, JSON-like.
        :param queue: name of a queue of the game; its default one unless given.
        :param last_match: id of our last match, which the lobby may still report.
        :param on_status: called with our position in the queue.
        :param on_offer: called with each match that waits for our yes; unless set, all
            are accepted.

        Fails with `LobbyRefusal` or `LineLost`; or with `RoomOffered` in a queue that
        gives free seats of running rooms. Cancelling leaves the queue.
        """
        asked = Queue(game, raw(options), raw(loadout), queue)
        return Deferred.fromCoroutine(
            self._find(asked, last_match, on_status or _ignore, on_offer)
        )

    def whereabouts(self) -> Deferred[MatchFound | MatchEnded | QueueStatus | None]:
        """
        Ask on a new line where we are: in a match, after one, or queued.

        Fails with `LobbyRefusal` or `LineLost`; tries only once.
        """
        return Deferred.fromCoroutine(self._ask_where())

    def open_line(
        self,
        news: Callable[[Push | Failed], None],
        lost: Callable[[], None],
        *,
        moves: bool = False,
        at: str | None = None,
    ) -> Deferred[LobbyLine]:
        """
        Log in on a line of the caller's own, which stays open during a match.

        Its requests have texts as ids, so the caller can number actions on it.

        :param news: called with each push, and each failure that answers no request.
        :param lost: called when the line closes.
        :param moves: may the lobby answer that a room is on another node?
        :param at: the address of another node; if it cannot be reached, the line is
            one to the first lobby, which does not send us away any more.

        Fails with `LobbyRefusal` or `LineLost`; tries only once. Cancelling hangs up.
        """

        def make() -> LobbyLine:
            ids = (f"ask-{number}" for number in count(1))
            return LobbyLine(self._clock, news, lost, limit=STATE_LIMIT, ids=ids)

        return Deferred.fromCoroutine(self._open(make, moves, at))

    def close(self) -> None:
        """Hang up; a later request makes a new line."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    async def _open(
        self, make: Callable[[], LobbyLine], moves: bool, at: str | None
    ) -> LobbyLine:
        if self._identity is None:
            await self._greet()
        identity = self.identity
        hello = Hello(PROTOCOL, player_key=identity.key, stay=True)
        if self._elsewhere is None:
            moves, at = False, None
        asked = structs.replace(hello, moves="lobby" if moves else None)
        try:
            line = make()
            await self._introduce(line, asked, at=at)
        except (LineLost, LobbyRefusal) as error:
            is_old = isinstance(error, LobbyRefusal) and error.code == Code.BAD_FIELD
            if at is None and not (moves and is_old):
                raise
            # That node cannot be reached; or this one is older than `moves`.
            self._elsewhere, self._identity = None, identity
            line = make()
            await self._introduce(line, hello)
        return line

    async def _greet(self) -> Identity:
        if self._line is not None and self._line.is_open and self._identity:
            return self._identity
        self._news.clear()

        def gone() -> None:
            if self._line is line:
                self._line = None
                self._closed()

        line = LobbyLine(self._clock, lambda push: self._receive(line, push), gone)
        if self._identity is None:
            hello = self._hello
        else:
            hello = Hello(PROTOCOL, player_key=self._identity.key)
        welcome = await self._introduce(line, hello, self._use)
        self._regions = welcome.regions or ()
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
        at: str | None = None,
    ) -> Welcome:
        """Connect *line*, and log in on it."""
        try:
            await self._endpoint_at(at).connect(Factory.forProtocol(lambda: line))
        except Exception as error:
            why = str(error) or type(error).__name__
            raise LineLost(f"the lobby cannot be reached: {why}") from error
        if connected is not None:
            connected(line)
        try:
            welcome = await line.ask(hello)
        except LineLost:
            word = line.last_word
            # Another line of this player said hello meanwhile: that is no refusal.
            if word is None or word.code == Code.REPLACED:
                raise
            raise _refusal(word) from None
        except LobbyRefusal as refusal:
            line.close()
            if refusal.code == Code.UNKNOWN_PLAYER_KEY:
                # The server has forgotten us; the next hello makes a new player.
                self._identity = None
            raise
        except CancelledError:
            line.close()
            raise
        if not isinstance(welcome, Welcome):
            line.close()
            raise LineLost(f"the lobby answered a hello with {type(welcome).__name__}")
        return welcome

    def _endpoint_at(self, address: str | None) -> IStreamClientEndpoint:
        if address is None or self._elsewhere is None:
            return self._endpoint
        host, _, port = address.rpartition(":")
        return self._elsewhere(host.strip("[]"), int(port))

    def _use(self, line: LobbyLine) -> None:
        self._line = line

    def _receive(self, line: LobbyLine, push: Push | Failed) -> None:
        if line is self._line:
            self._news.append(push)
            self._listen(push)

    async def _find(
        self,
        queue: Queue,
        last_match: str,
        on_status: Callable[[QueueStatus], None],
        on_offer: Callable[[Offer], None],
    ) -> MatchFound:
        began, attempt = self._clock.seconds(), 0
        busy_since: float | None = None
        while True:
            hold, was_known = _STALE_PAUSE, self._identity is not None
            try:
                await self._greet()
                queue = await self._with_echoes(queue)
                attempt, began = 0, self._clock.seconds()
                found = await self._queue(queue, last_match, on_status, on_offer)
                if found is not None:
                    return found
            except LobbyRefusal as refusal:
                if refusal.code == Code.UNKNOWN_PLAYER_KEY and was_known:
                    # A server that was restarted: to it we are somebody new.
                    continue
                if refusal.code not in _PASSING and not (
                    # The lobby has not received the end of the last match yet.
                    refusal.code == Code.ALREADY_IN_MATCH and last_match
                ):
                    raise
                if refusal.code == Code.BUSY:
                    # The lobby is there, but not for us: each hello works.
                    busy_since = began if busy_since is None else busy_since
                    began = busy_since
                    hold = max(hold, refusal.retry_after)
                if self._clock.seconds() - began > self._timeout:
                    raise
            except LineLost:
                if self._clock.seconds() - began > self._timeout:
                    raise
            pause = pause_before(attempt, self._chance, hold)
            attempt += 1
            await deferLater(self._clock, pause)

    async def _with_echoes(self, queue: Queue) -> Queue:
        """Add how far the regions are, measured once, where a queue may need it."""
        if queue.queue is None or not self._regions or self._measure is None:
            return queue
        if self._echoes is None:
            self._echoes = await self._measure(self._regions)
        return structs.replace(queue, echoes=self._echoes or None)

    async def _queue(
        self,
        queue: Queue,
        last_match: str,
        on_status: Callable[[QueueStatus], None],
        on_offer: Callable[[Offer], None],
    ) -> MatchFound | None:
        """Wait on the open line; ``None``: the lobby still named our last match."""
        line = self._line
        if line is None:
            # The lobby closed it after the welcome: the news before that decides.
            return self._match_in_news(last_match)

        def give_up(_: Deferred[MatchFound | None]) -> None:
            line.ask(Cancel()).addErrback(_drop)
            line.close()

        waiting: Deferred[MatchFound | None] = Deferred(give_up)
        asked, queued_for, state = False, queue.game, "idle"

        def listen(push: Push | Failed) -> None:
            nonlocal queued_for, state
            if waiting.called:
                return
            if isinstance(push, QueueStatus):
                queued_for, state = push.game or queued_for, push.state
                if push.state == "idle" and asked:
                    waiting.errback(_refusal(line.last_word))
                else:
                    on_status(push)
            elif isinstance(push, PrematchFound):
                on_offer(offer(push, line.ask))
            elif isinstance(push, RoomFound):
                waiting.errback(RoomOffered(push.room_id, push.game))
            elif isinstance(push, MatchFound):
                stale = push.match_id == last_match
                waiting.callback(None if stale else push)
            elif isinstance(push, MatchEnded) and asked and push.match_id != last_match:
                waiting.errback(
                    LobbyRefusal(push.reason, "the match ended before it began")
                )

        def closed() -> None:
            if not waiting.called:
                waiting.errback(_refusal(line.last_word))

        self._listen, self._closed = listen, closed
        try:
            for push in tuple(self._news):
                listen(push)
            self._news.clear()
            if not waiting.called:
                try:
                    status = await line.ask(queue)
                    listen(status)
                except LobbyRefusal as refusal:
                    if refusal.code == Code.ALREADY_IN_MATCH and state == "matched":
                        # It goes on elsewhere, soon.
                        pass
                    elif refusal.code != Code.ALREADY_QUEUED:
                        raise
                    elif queued_for != queue.game:
                        # We still queue for another game, from an older line.
                        await line.ask(Cancel())
                        listen(await line.ask(queue))
                except LineLost:
                    # Perhaps because a match was found: `waiting` has the answer.
                    pass
                asked = True
            return await waiting
        finally:
            self._listen, self._closed = _ignore, _nothing
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
                # News, if there is any, arrives before the answer to a ping.
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


class LineUser:
    """
    Whoever shares the line of a player: the rooms, the parties and the match.

    :cvar first_pause: how long to wait before a line that broke is made again, seconds.
    """

    first_pause = PAUSES[0]

    def receive(self, push: Push | Failed) -> None:
        """Take a push, or a failure that answers no request."""
        raise NotImplementedError

    def opened(self, line: LobbyLine) -> None:
        """A new line is there, which nobody has used yet."""

    def lost(self) -> None:
        """It broke."""

    def is_needed(self) -> bool:
        """Must it be open, also when nobody asks anything?"""
        raise NotImplementedError

    async def back(self) -> None:
        """
        It was made again; take back what went with it.

        :raises LineLost: try again on another line.
        :raises LobbyRefusal: try again in a while.
        """

    def kept_out(self, why: LineLost | LobbyRefusal, seconds: float) -> None:
        """It could not be made again, or `back` has failed, for so long."""

    def may_move(self) -> bool:
        """May the lobby answer now that a room is on another node?"""
        return True


class SharedLine:
    """
    The line of a player to the lobby, which has one at a time; made when it is needed.

    :param clock: measures and schedules time; the reactor.
    :param lobby: opens lines.
    :param chance: gives numbers from 0 to 1, for the pauses.
    :ivar lobby: the same.
    :ivar users: who gets what it brings.
    :ivar line: is open now.
    :ivar at: the address of the node to which the next line goes, once.
    :ivar is_closed: was it closed, and not asked for again?
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        lobby: LobbyClient,
        chance: Callable[[], float] = random,
    ) -> None:
        self._clock, self.lobby, self._chance = clock, lobby, chance
        self.users: list[LineUser] = []
        self.line: LobbyLine | None = None
        self.at: str | None = None
        self.is_closed = False
        self._waiting: list[Deferred[LobbyLine]] = []
        self._returning: Deferred[None] | None = None

    def open(self) -> Deferred[LobbyLine]:
        """Give the line, and make it if there is none; fails as `open_line`."""
        if self.line is not None:
            return succeed(self.line)
        waiting: Deferred[LobbyLine] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self.is_closed = False
            Deferred.fromCoroutine(self._dial()).addBoth(self._dialed)
        return waiting

    async def ask(self, request: Request, kind: type[Answer]) -> Answer:
        """
        Send a request on it, and give the answer.

        :param kind: of the answer.
        :raises LobbyRefusal: it is refused.
        :raises LineLost: the line broke, or the answer is of another kind.
        """
        found = await (await self.open()).ask(request)
        if not isinstance(found, kind):
            raise LineLost(f"the lobby answered with {type(found).__name__}")
        return found

    async def _dial(self) -> LobbyLine:
        line: LobbyLine | None = None

        def lost() -> None:
            # Not one on which we were refused, or that was left for another.
            if line is not None and line is self.line:
                self.line = None
                for user in self.users:
                    user.lost()
                if not self.is_closed:
                    self.look_again()

        at, self.at = self.at, None
        moves = all(user.may_move() for user in self.users)
        line = await self.lobby.open_line(self._receive, lost, moves=moves, at=at)
        if self.is_closed or not line.is_open:
            line.close()
            raise LineLost("the line to the lobby closed")
        self.line = line
        for user in self.users:
            user.opened(line)
        return line

    def _dialed(self, result: LobbyLine | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result)

    def _receive(self, push: Push | Failed) -> None:
        for user in self.users:
            user.receive(push)

    def look_again(self) -> None:
        """Make it again if it is needed."""
        if self._returning is None and self._needing():
            self._returning = Deferred.fromCoroutine(self._return())
            self._returning.addBoth(self._returned)

    def _needing(self) -> list[LineUser]:
        return [user for user in self.users if user.is_needed()]

    async def _return(self) -> None:
        began, tries = self._clock.seconds(), 0
        pause = min(user.first_pause for user in self._needing())
        pause *= 1 + self._chance() / 2
        while True:
            await deferLater(self._clock, pause)
            if self.is_closed or not self._needing():
                return
            try:
                await self.open()
                for user in self.users:
                    await user.back()
                return
            except (LineLost, LobbyRefusal) as error:
                pause = pause_before(tries, self._chance)
                tries += 1
                if isinstance(error, LobbyRefusal) and error.retry_after:
                    # A server that names a time is not to be found much later.
                    spread = min(error.retry_after, 2.0) / 2
                    pause = error.retry_after + spread * self._chance()
                for user in self._needing():
                    user.kept_out(error, self._clock.seconds() - began)

    def _returned(self, result: object) -> None:
        self._returning = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("there is no way back to the lobby", result)

    def release(self) -> None:
        """Hang up if nobody needs it."""
        if not self._needing():
            self.close()

    def close(self) -> None:
        """Hang up, and make it no more unless somebody asks."""
        self.is_closed = True
        if self._returning is not None:
            self._returning.cancel()
        if self.line is not None:
            self.line.close()


def raw(value: Any) -> Raw:
    """Encode options or a loadout; ``None`` is an empty object."""
    return Raw(json.encode({} if value is None else value))


def _refusal(word: Failed | None) -> LobbyRefusal | LineLost:
    if word is None:
        return LineLost("the line to the lobby closed")
    return LobbyRefusal(word.code, word.message, word.details)


def pause_before(
    attempt: int,
    chance: Callable[[], float],
    least: float = 0.0,
    pauses: Sequence[float] = PAUSES,
) -> float:
    """
    Choose how long to wait before an attempt to come back, seconds.

    It is longer by up to half at random, so that clients do not all come back at once.

    :param attempt: its number, from 0.
    :param chance: gives numbers from 0 to 1.
    :param least: what the server asked for.
    :param pauses: one for each attempt; the last one repeats.
    """
    pause = max(least, pauses[min(attempt, len(pauses) - 1)])
    return pause * (1 + chance() / 2)


def _nothing() -> None:
    """Do nothing."""


def _ignore(_: object) -> None:
    """Do nothing with it."""


def _drop(failure: Failure) -> None:
    """Ignore a failure that was reported elsewhere."""
