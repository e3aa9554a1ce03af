"""What answers players' requests: hellos, parties, the queue, and rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import attrs
from msgspec import UNSET
from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom import __version__
from vinom.base.limits.logged import BoundedLog, in_background
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.envelope import Push, Request
from vinom.base.messages.lobby import (
    Cancel,
    Hello,
    Ping,
    Pong,
    Queue,
    QueueOffer,
    QueueStatus,
    RegionOffer,
    Welcome,
)
from vinom.base.messages.parties import (
    PARTY_REQUESTS,
    Accept,
    Decline,
    PartyClosed,
    PartyCreated,
    PartyUpdate,
)
from vinom.base.messages.rooms import JoinRoom
from vinom.base.model import Player
from vinom.base.reactor.waits import Waits
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.lobby.conversation.conversation import Bounds, Conversation, Line, RoomAnswer
from vinom.lobby.conversation.identity import Identity
from vinom.lobby.conversation.online import Online, replaced
from vinom.lobby.matches.service import Matches, ended_message
from vinom.lobby.matchmaking.matchmaker import Matchmaker
from vinom.lobby.matchmaking.parties import Parties
from vinom.lobby.matchmaking.queues import Queues
from vinom.rooms.rooms import Rooms
from vinom.store.patience import patiently

#: Answers that say how it is with a player.
_STATES = (QueueStatus, PartyUpdate, PartyCreated, PartyClosed)
#: Until missed news are looked for again, if the store did not answer, seconds.
_LOOK_SECONDS = 1.0
#: Players who are put back into an emptied store at once.
_PUT_BACK_AT_ONCE = 200


@attrs.frozen
class Lobby:
    """
    What the lobby does for players.

    :ivar identity: checks hellos, and finds the player.
    :ivar online: lists the players who are connected.
    :ivar matchmaker: serves `Accept` and `Decline`.
    :ivar parties: serves `Queue` and `Cancel`, and requests about parties.
    :ivar matches: finds what a returning player missed.
    :ivar queues: with their rules.
    """

    identity: Identity
    online: Online
    matchmaker: Matchmaker
    parties: Parties
    matches: Matches
    queues: Queues


@attrs.frozen
class Offers:
    """
    What a welcome lists: names of games, queues, and regions.

    :ivar regions: to which players measure echoes.
    """

    games: tuple[str, ...]
    queues: tuple[QueueOffer, ...] = ()
    regions: tuple[RegionOffer, ...] = ()


def offers_of(
    games: Iterable[str], queues: Queues, regions: Iterable[tuple[str, str]]
) -> Offers:
    """
    List what a node offers.

    :param games: names of its games.
    :param regions: each with its URL.
    """
    return Offers(
        tuple(sorted(games)),
        tuple(QueueOffer(one.name, one.game) for one in queues.named.values()),
        tuple(RegionOffer(name, url) for name, url in regions),
    )


class Requests(Service):
    """
    Serve every conversation of this node, over TCP or WebSocket.

    :ivar errors: how many requests were refused, by code.
    :ivar hellos: conversations without a hello, until it is overdue.
    :ivar idle: all others, until the next check for silence.
    """

    name = "requests"
    _log = Logger()

    def __init__(
        self,
        lobby: Lobby,
        rooms: Rooms,
        offers: Offers,
        clock: IReactorTime,
        bounds: Bounds | None = None,
        is_debugging: bool = False,
    ) -> None:
        """
        :param lobby: serves all requests but those about rooms.
        :param rooms: serves these.
        :param offers: listed in a welcome.
        :param clock: its seconds are those of the Unix epoch.
        :param bounds: what one conversation may cost.
        :param is_debugging: log each hello.
        """
        self._identity, self._online = lobby.identity, lobby.online
        self._matchmaker, self._matches = lobby.matchmaker, lobby.matches
        self._parties, self._rooms = lobby.parties, rooms
        self._offers, self._clock = offers, clock
        self._bounds, self._is_debugging = bounds or Bounds(), is_debugging
        self._conversations: dict[Conversation, None] = {}
        # Lines that are closed, until the other nodes know it.
        self._leaving: set[Deferred[None]] = set()
        self._is_stopping = self._is_moving = False
        # Those who may have missed something; and is that looked for?
        self._uninformed: dict[Conversation, None] = {}
        self._is_looking = False
        self.hellos, self.idle = Waits(clock), Waits(clock)
        self.errors: Counter[str] = Counter()
        self.log = BoundedLog(self._log, clock)

    def open(self, line: Line) -> Conversation:
        """Start a conversation on a new line."""
        conversation = Conversation(self, line, self._clock, self._bounds)
        self._conversations[conversation] = None
        return conversation

    async def move(self) -> None:
        """
        Send all players to other nodes, with their rooms; done when nobody is left.

        Rooms and matches that live in this node only end by themselves.
        """
        await self.hand_over()
        await gatherResults([self._matches.drain(is_moving=True), self._rooms.drain()])

    async def hand_over(self) -> None:
        """Send players to other nodes, with those of their rooms that can go there."""
        self._is_moving = True
        self._matches.drain(is_moving=True)
        # Those in rooms follow with them.
        self._send_away(lambda conversation: not conversation.memberships)
        await self._rooms.ownership.move()
        self._send_away(
            lambda conversation: not self._rooms.directory.stays(conversation)
        )

    def _send_away(self, is_meant: Callable[[Conversation], bool]) -> None:
        for conversation in tuple(self._conversations):
            if is_meant(conversation):
                conversation.end(_stopping())

    def stopService(self) -> Deferred[Any]:
        """Send every player the reason, and close all lines; other nodes learn it."""
        Service.stopService(self)
        self._is_stopping = True
        for conversation in tuple(self._conversations):
            conversation.end(Refused(Code.SHUTDOWN, "the server is stopping"))
        return gatherResults(self._leaving)

    def drain(self) -> Deferred[None]:
        """Refuse new matches and rooms; the result comes when none is left."""
        drained = gatherResults([self._matches.drain(), self._rooms.drain()])
        return drained.addCallback(lambda _: None)

    def counts(self) -> dict[str, int]:
        """Count open lines, and players who said hello, for metrics."""
        return {"lines": len(self._conversations), "players": len(self._online)}

    def look_again(self, player_ids: Sequence[str] | None = None) -> None:
        """
        Look where players of this node are, and send them what they have missed.

        Messages of other nodes about them may have been lost, other nodes may have
        taken this one for lost, or the store has lost what was written last.

        :param player_ids: who; those who wait or have a party unless given.
        """
        found = self._waiting() if player_ids is None else self._online.here(player_ids)
        for player_id in player_ids or ():
            if not self._online.is_here(player_id):
                # The store lists a line here that is closed: it was rolled back.
                self._leave(player_id, None)
        self._uninformed.update(dict.fromkeys(found))
        if not self._is_looking:
            self._is_looking = True
            in_background(self._log, self._look_again(), "players may have missed news")

    async def _look_again(self) -> None:
        try:
            while self._uninformed and not self._is_stopping:
                conversation = next(iter(self._uninformed))
                del self._uninformed[conversation]
                try:
                    await self._send_missed(conversation)
                except StoreUnavailable:
                    # Messages may come all the same: nobody else would ask for it.
                    self._uninformed[conversation] = None
                    await deferLater(self._clock, _LOOK_SECONDS)
        finally:
            self._is_looking = False

    def store_emptied(self) -> None:
        """Put those who are connected back into a store that has lost everything."""
        in_background(self._log, self._put_back(), "players are not put back")

    async def _put_back(self) -> None:
        waiting = [
            (one.key_hash, one.player)
            for one in self._conversations
            if one.player is not None and one.key_hash
        ]
        while waiting and not self._is_stopping:
            some = waiting[-_PUT_BACK_AT_ONCE:]
            try:
                await gatherResults(
                    [self._identity.put_back(*one) for one in some], consumeErrors=True
                )
            except FirstError as error:
                error.subFailure.trap(StoreUnavailable)
                await deferLater(self._clock, _LOOK_SECONDS)
            else:
                del waiting[-_PUT_BACK_AT_ONCE:]

    def _waiting(self) -> list[Conversation]:
        """List those whose players wait for news of other nodes, or have a party."""
        return [
            conversation
            for conversation in self._conversations
            if conversation.party_id
            or conversation.match_id
            or (conversation.queue_state != "idle" and not conversation.memberships)
        ]

    async def _send_missed(self, conversation: Conversation) -> None:
        """Send a player what other nodes may have sent already."""
        if conversation.player is None:
            # After its hello: what that has read may be older.
            conversation.moves_noted += 1
            return
        moves = conversation.moves_noted
        with suppress(Refused):
            news = await self._news(conversation.player, conversation)
            if conversation.moves_noted != moves:
                # What was sent meanwhile may be newer than what was read.
                self.look_again([conversation.player.player_id])
                return
            # The store may have lost the last changes.
            conversation.party_version = 0
            for push in news:
                _ensure_open(conversation)
                conversation.send(push)

    # Calls of conversations.

    async def greet(
        self, conversation: Conversation, hello: Hello
    ) -> tuple[Player, Welcome, list[Push]]:
        """Find who the player is and what they missed."""
        if self._is_moving:
            raise _stopping()
        known = await self._identity.identify(hello, conversation.host)
        _ensure_open(conversation)
        player = known.player
        older = self._online.enter(player.player_id, conversation)
        if older is not None:
            older.end(replaced())
        try:
            # From here on other nodes send their messages to this one, so what follows
            # misses nothing.
            await self._online.report(player.player_id)
            conversation.moves_noted = 0
            news = [] if known.is_new else await self._news(player, conversation)
            _ensure_open(conversation)
        except BaseException:
            self._leave(player.player_id, conversation)
            raise
        if self._is_debugging:
            # Thousands come per second after a network was away.
            self._log.debug(
                "hello from {name} at {host}",
                name=player.name,
                host=conversation.host,
                player_id=player.player_id,
            )
        conversation.key_hash, conversation.is_new_guest = known.key_hash, known.is_new
        welcome = Welcome(
            player.player_id,
            known.key,
            player.name,
            PROTOCOL,
            f"vinom {__version__}",
            self._offers.games,
            self._offers.queues or UNSET,
            self._offers.regions or UNSET,
        )
        return player, welcome, news

    async def serve(
        self, conversation: Conversation, player: Player, request: Request
    ) -> Push:
        """Answer a request of a player who said hello."""
        if conversation.is_visiting:
            raise Refused(Code.UNKNOWN_TYPE, "your own node answers this")
        host = conversation.host
        answer: Push
        match request:
            case Queue(game, options, loadout, queue, echoes):
                answer = await self._parties.queue(
                    player,
                    game,
                    bytes(options),
                    bytes(loadout),
                    host,
                    queue=queue,
                    echoes=echoes,
                    is_alone=not conversation.party_id,
                )
            case Cancel():
                answer = await self._parties.cancel(player.player_id)
            case Ping():
                return Pong()
            case Accept(prematch_id) | Decline(prematch_id):
                is_yes = isinstance(request, Accept)
                answer = await self._matchmaker.prematches.answer(
                    player.player_id, is_yes, prematch_id
                )
            case _ if isinstance(request, PARTY_REQUESTS):
                answer = await self._parties.serve(player, request, host)
            case _:
                raise Refused(Code.UNKNOWN_TYPE, "no request has this type")
        if isinstance(answer, _STATES) and not conversation.is_open:
            # The player may have a newer line, whose hello was answered before, or is
            # about to be; there this answer may be late.
            self._online.send([player.player_id], answer)
            self._online.look([player.player_id])
        return answer

    def serve_now(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer | Deferred[RoomAnswer]:
        """Answer a request about rooms, which hardly ever waits."""
        answer = self._rooms.serve(conversation, player, request)
        if isinstance(request, JoinRoom) and conversation.is_new_guest:
            # The store itself notes who queues or joins a party.
            conversation.is_new_guest = False
            self._identity.settle(player.player_id)
        return answer

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its player may have a newer one."""
        self._conversations.pop(conversation, None)
        self._rooms.lost(conversation)
        if conversation.player is not None:
            self._leave(conversation.player.player_id, conversation)

    async def _news(self, player: Player, conversation: Conversation) -> list[Push]:
        """
        Find a player's party, match, and place in the queue, as far as a player who has
        said hello was not sent them.
        """
        _ensure_open(conversation)
        player_id, match_id = player.player_id, conversation.match_id
        where = await self._matches.where(player_id, with_lines=True)
        news: list[Push] = []
        party_id, its = conversation.party_id, where.party
        if party_id and (its is None or its.party_id != party_id):
            # Nobody may be left to send it: the store may have lost the party.
            news.append(PartyClosed(party_id, "lost"))
        # First: the line of a player who is in no party ends with `MatchFound`.
        is_new = conversation.player is None
        party = await self._parties.player_back(player_id, where, is_new)
        news += [] if party is None else [party]
        if match_id and where.plan is not None and where.plan.match_id == match_id:
            # Who plays needs no other way there.
            return news
        found = await self._matches.rejoin(player_id, where)
        if found is not None:
            return [*news, found]
        # A newer line may have come and gone: its player is not expected back here.
        _ensure_open(conversation)
        status = await self._matchmaker.player_back(player_id, where)
        pending = self._matchmaker.prematches.pending(where.prematch)
        if status is not None:
            return [*news, status] if pending is None else [*news, status, pending]
        if ended := where.ended:
            if is_new or ended.match_id == match_id:
                return [*news, ended_message(ended)]
            if conversation.queue_state == "matched":
                # Perhaps of that match: nobody is idle without having heard its end.
                news.append(ended_message(ended))
        if match_id or conversation.queue_state != "idle":
            # The place may have been given up while this node was silent.
            news.append(QueueStatus("idle"))
        return news

    def _leave(self, player_id: str, conversation: Conversation | None) -> None:
        if self._online.leave(player_id, conversation):
            leaving = in_background(
                self._log, self._gone(player_id), "a line was not forgotten"
            )
            if not leaving.called:
                self._leaving.add(leaving)
                leaving.addCallback(lambda _: self._leaving.discard(leaving))

    def player_lost(self, player_id: str) -> None:
        """A player's line closed, to this node or to one that is gone: keep places."""
        if self._online.is_here(player_id):
            # That node may have done more than its player was sent here.
            self.look_again([player_id])

        async def look() -> None:
            await self._online.note_left(player_id)
            where = await self._matches.where(player_id, with_lines=True)
            if player_id in where.elsewhere:
                self._online.look([player_id])
            await self._parties.player_lost(player_id, where)
            await self._matchmaker.player_lost(player_id, where)

        def is_away() -> bool:
            return not (self._is_stopping or self._online.is_here(player_id))

        looks = patiently(self._clock, look, is_away)
        in_background(self._log, looks, "a place was not kept")

    async def _gone(self, player_id: str) -> None:
        if self._is_stopping and self._online.is_shared:
            # What a node that stops leaves behind, lines too, is the others' task.
            return
        end = await self._online.left(player_id)
        if end == "held":
            self.player_lost(player_id)
        elif end == "free" or not self._online.is_here(player_id):
            self._matchmaker.player_left(player_id)


def _ensure_open(conversation: Conversation) -> None:
    """
    Check that the line of a player who says hello is still open.

    :raises Refused: `TIMEOUT`.
    """
    if not conversation.is_open:
        raise Refused(Code.TIMEOUT, "the line closed during the hello")


def _stopping() -> Refused:
    """Write that this node is about to stop, and that another one serves."""
    return Refused(
        Code.UNAVAILABLE,
        "this node is stopping; connect again",
        {"retry_after": 0.2},
    )
