"""A player in the lobby: its identity, its queueing, and where its match is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from random import random
from typing import Any

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


#: What the lobby says of a player without being asked, of which the latest counts.
_NEWS = (QueueStatus, MatchFound, MatchEnded, RoomFound, PrematchFound)

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
    Be one player in the lobby, over as many lines as it takes, one at a time.

    :param clock: measures and schedules time; the reactor.
    :param endpoint: where the lobby is.
    :param hello: how to log in the first time.
    :param timeout: how long to try to reach the lobby, seconds.
    :param measure: measures echoes to the regions that the lobby offers.
    :param elsewhere: reaches other nodes, to be sent to those of our rooms.
    :param chance: gives numbers from 0 to 1, which lengthen the pauses between
        attempts: clients that lost the lobby together must not return together.
    :ivar shared: the player's line.
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
        self._identity: Identity | None = None
        self.shared = SharedLine(clock, self, chance)

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
        return self.shared.open().addCallback(lambda _: self.identity)

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
        Ask on a new line, instead of that which is open, where we are: in a match,
        after one, or queued.

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
        """Hang up, and search no more; a later request makes a new line."""
        users = self.shared.users
        self.shared.users = [one for one in users if not isinstance(one, _Search)]
        self.shared.close()

    async def _open(
        self, make: Callable[[], LobbyLine], moves: bool, at: str | None
    ) -> LobbyLine:
        identity, hello = self._identity, structs.replace(self._hello, stay=True)
        if identity is not None:
            hello = Hello(PROTOCOL, player_key=identity.key, stay=True)
        if self._elsewhere is None:
            moves, at = False, None
        asked = structs.replace(hello, moves="lobby" if moves else None)
        try:
            line = make()
            await self._introduce(line, asked, at)
        except (LineLost, LobbyRefusal) as error:
            is_old = isinstance(error, LobbyRefusal) and error.code == Code.BAD_FIELD
            if at is None and not (moves and is_old):
                raise
            # That node cannot be reached; or this one is older than `moves`.
            self._elsewhere, self._identity = None, identity
            line = make()
            await self._introduce(line, hello)
        return line

    async def _introduce(
        self, line: LobbyLine, hello: Hello, at: str | None = None
    ) -> None:
        """Connect *line*, and log in on it."""
        try:
            await self._endpoint_at(at).connect(Factory.forProtocol(lambda: line))
        except Exception as error:
            why = str(error) or type(error).__name__
            raise LineLost(f"the lobby cannot be reached: {why}") from error
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
        self._regions = welcome.regions or self._regions
        self._identity = Identity(
            welcome.player_id,
            welcome.player_key,
            welcome.name,
            welcome.server,
            welcome.games,
        )

    def _endpoint_at(self, address: str | None) -> IStreamClientEndpoint:
        if address is None or self._elsewhere is None:
            return self._endpoint
        host, _, port = address.rpartition(":")
        return self._elsewhere(host.strip("[]"), int(port))

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
            hold = _STALE_PAUSE
            try:
                line = await self.shared.open()
                queue = await self._with_echoes(queue)
                attempt, began = 0, self._clock.seconds()
                search = _Search(line, queue, last_match, on_status, on_offer)
                found = await self._search(search, line, queue)
                if found is not None:
                    return found
            except LobbyRefusal as refusal:
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

    async def _search(
        self, search: _Search, line: LobbyLine, queue: Queue
    ) -> MatchFound | None:
        """Wait on the line; ``None``: the lobby still named our last match."""
        shared, waiting = self.shared, search.waiting
        shared.users.append(search)
        try:
            for push in tuple(shared.news):
                search.receive(push)
            if not waiting.called:
                try:
                    search.receive(await line.ask(queue))
                except LobbyRefusal as refusal:
                    if waiting.called or (
                        refusal.code == Code.ALREADY_IN_MATCH and search.is_matched
                    ):
                        # We are in it, or it goes on elsewhere, soon.
                        pass
                    elif refusal.code != Code.ALREADY_QUEUED:
                        raise
                    elif search.queued_for != queue.game:
                        # We still queue for another game, from an older line.
                        await line.ask(Cancel())
                        search.receive(await line.ask(queue))
                except LineLost:
                    # Perhaps the lobby has said why before it closed the line.
                    if not waiting.called:
                        raise _refusal(line.last_word) from None
                search.is_asked = True
            return await waiting
        finally:
            shared.users = [one for one in shared.users if one is not search]
            shared.news.clear()
            if waiting.called:
                waiting.addErrback(_drop)
            shared.release()

    async def _ask_where(self) -> MatchFound | MatchEnded | QueueStatus | None:
        shared = self.shared
        shared.leave()
        try:
            # News, if there is any, arrives before the answer to a ping.
            await (await shared.open()).ask(Ping())
        except LineLost:
            if not any(isinstance(push, MatchFound) for push in shared.news):
                raise
        finally:
            shared.release()
        for push in reversed(shared.news):
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


class _Search(LineUser):
    """
    Wait for a match on a line.

    :ivar waiting: fires with it; ``None``: it is our last one.
    :ivar queued_for: the game that we queue for.
    :ivar is_matched: does the lobby say that there is a match?
    :ivar is_asked: has the lobby answered our request?
    """

    def __init__(
        self,
        line: LobbyLine,
        queue: Queue,
        last_match: str,
        on_status: Callable[[QueueStatus], None],
        on_offer: Callable[[Offer], None],
    ) -> None:
        self._line, self._last_match = line, last_match
        self._on_status, self._on_offer = on_status, on_offer
        self.queued_for, self.is_matched, self.is_asked = queue.game, False, False
        self.waiting: Deferred[MatchFound | None] = Deferred(self._give_up)

    def _give_up(self, _: object) -> None:
        self._line.ask(Cancel()).addErrback(_drop)

    def is_needed(self) -> bool:
        return True

    def lost(self) -> None:
        if not self.waiting.called:
            self.waiting.errback(_refusal(self._line.last_word))

    def receive(self, push: Push | Failed) -> None:
        if self.waiting.called:
            return
        if isinstance(push, QueueStatus):
            self.queued_for = push.game or self.queued_for
            self.is_matched = push.state == "matched"
            if push.state == "idle" and self.is_asked:
                self.waiting.errback(_refusal(self._line.last_word))
            else:
                self._on_status(push)
        elif isinstance(push, PrematchFound):
            self._on_offer(offer(push, self._line.ask))
        elif isinstance(push, RoomFound):
            self.waiting.errback(RoomOffered(push.room_id, push.game))
        elif isinstance(push, MatchFound):
            stale = push.match_id == self._last_match
            self.waiting.callback(None if stale else push)
        elif (
            isinstance(push, MatchEnded)
            and self.is_asked
            and push.match_id != self._last_match
        ):
            self.waiting.errback(
                LobbyRefusal(push.reason, "the match ended before it began")
            )


class SharedLine:
    """
    The line of a player to the lobby, which has one at a time; made when it is needed.

    :param clock: measures and schedules time; the reactor.
    :param lobby: opens lines.
    :param chance: gives numbers from 0 to 1, for the pauses.
    :ivar lobby: the same.
    :ivar users: who gets what it brings.
    :ivar line: is open now.
    :ivar news: what it has brought of queue and match, the latest last.
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
        self.news: deque[Push] = deque(maxlen=8)
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

    async def _dial(self) -> LobbyLine:
        line: LobbyLine | None = None

        def lost() -> None:
            # Not one on which we were refused, or that was left for another.
            if line is not None and line is self.line:
                self._gone()

        self.news.clear()
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
        if isinstance(push, _NEWS):
            self.news.append(push)
        for user in tuple(self.users):
            user.receive(push)

    def _gone(self) -> None:
        self.line = None
        for user in tuple(self.users):
            user.lost()
        if not self.is_closed:
            self.look_again()

    def leave(self) -> None:
        """Hang up; whoever needs a line gets another one."""
        if (line := self.line) is not None:
            self._gone()
            line.close()

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
        self.leave()


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


def _ignore(_: object) -> None:
    """Do nothing with it."""


def _drop(failure: Failure) -> None:
    """Ignore a failure that was reported elsewhere."""
