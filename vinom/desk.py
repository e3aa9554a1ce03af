"""The desk serves players' requests: hellos, the queue, and rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom import __version__
from vinom.conversation.conversation import Bounds, Conversation, Line, RoomAnswer
from vinom.conversation.identity import Identity
from vinom.conversation.online import Online
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.limits.logged import BoundedLog
from vinom.matches.service import Matches
from vinom.matchmaking.matchmaker import Matchmaker
from vinom.messages.catalogue import PROTOCOL
from vinom.messages.envelope import Push, Request
from vinom.messages.lobby import Cancel, Hello, Ping, Pong, Queue, Welcome
from vinom.messages.rooms import JoinRoom
from vinom.model import Player
from vinom.reactor.waits import Waits
from vinom.rooms.rooms import Rooms


class Desk(Service):
    """
    Serve every conversation of this node, over TCP or WebSocket.

    :ivar errors: how many requests were refused, by code.
    :ivar hellos: conversations without a hello, until it is overdue.
    :ivar idle: all others, until the next check for silence.
    """

    name = "desk"
    _log = Logger()

    def __init__(
        self,
        identity: Identity,
        online: Online,
        matchmaker: Matchmaker,
        matches: Matches,
        rooms: Rooms,
        games: Mapping[str, Game[Any, Any]],
        clock: IReactorTime,
        bounds: Bounds | None = None,
        *,
        is_debugging: bool = False,
    ) -> None:
        """
        :param identity: checks hellos, and finds the player.
        :param online: lists the players who are connected.
        :param matchmaker: serves `Queue` and `Cancel`.
        :param matches: finds what a returning player missed.
        :param rooms: serves requests about rooms.
        :param games: by name.
        :param clock: its seconds are those of the Unix epoch.
        :param bounds: what one conversation may cost.
        :param is_debugging: log each hello.
        """
        self._identity, self._online = identity, online
        self._matchmaker, self._matches = matchmaker, matches
        self._rooms = rooms
        self._games, self._clock = tuple(sorted(games)), clock
        self._bounds, self._is_debugging = bounds or Bounds(), is_debugging
        self._conversations: set[Conversation] = set()
        self.hellos, self.idle = Waits(clock), Waits(clock)
        self.errors: Counter[str] = Counter()
        self.log = BoundedLog(self._log, clock, self._bounds.log)

    def open(self, line: Line) -> Conversation:
        """Start a conversation on a new line."""
        conversation = Conversation(self, line, self._clock, self._bounds)
        self._conversations.add(conversation)
        return conversation

    def stopService(self) -> None:
        """Send every player the reason, and close all lines."""
        Service.stopService(self)
        for conversation in tuple(self._conversations):
            conversation.end(Refused(Code.SHUTDOWN, "the server is stopping"))

    def drain(self) -> Deferred[None]:
        """Refuse new matches and rooms; the result comes when none is left."""
        drained = gatherResults([self._matches.drain(), self._rooms.drain()])
        return drained.addCallback(lambda _: None)

    def counts(self) -> dict[str, int]:
        """Count open lines, and players who said hello, for metrics."""
        return {"lines": len(self._conversations), "players": len(self._online)}

    # Calls of conversations.

    async def greet(
        self, conversation: Conversation, hello: Hello
    ) -> tuple[Player, Welcome, list[Push]]:
        """Find who the player is and what they missed."""
        known = await self._identity.identify(hello, conversation.host)
        if not conversation.is_open:
            raise Refused(Code.TIMEOUT, "the line closed during the hello")
        player = known.player
        older = self._online.enter(player.player_id, conversation)
        if older is not None:
            older.end(Refused(Code.REPLACED, "you said hello on another line"))
        try:
            news = [] if known.is_new else await self._news(player)
            if not conversation.is_open:
                raise Refused(Code.TIMEOUT, "the line closed during the hello")
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
        welcome = Welcome(
            player.player_id,
            known.key,
            player.name,
            PROTOCOL,
            f"vinom {__version__}",
            self._games,
        )
        return player, welcome, news

    async def serve(self, player: Player, request: Request, host: str) -> Push:
        """Answer a request of a player who said hello, from this address."""
        match request:
            case Queue(game, options, loadout):
                status = await self._matchmaker.join(
                    player, game, bytes(options), bytes(loadout), host
                )
                self._identity.settle(player.player_id)
                return status
            case Cancel():
                return await self._matchmaker.cancel(player.player_id)
            case Ping():
                return Pong()
        raise Refused(Code.UNKNOWN_TYPE, "no request has this type")

    def serve_now(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer | Deferred[RoomAnswer]:
        """Answer a request about rooms, which hardly ever waits."""
        answer = self._rooms.serve(conversation, player, request)
        if isinstance(request, JoinRoom):
            self._identity.settle(player.player_id)
        return answer

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its player may have a newer one."""
        self._conversations.discard(conversation)
        self._rooms.lost(conversation)
        if conversation.player is not None:
            self._leave(conversation.player.player_id, conversation)

    async def _news(self, player: Player) -> list[Push]:
        """Find whether a returning player is in a match, in a queue, or in neither."""
        found = await self._matches.rejoin(player.player_id)
        if found is not None:
            return [found]
        status = await self._matchmaker.player_back(player.player_id)
        if status is not None:
            return [status]
        ended = await self._matches.last_end(player.player_id)
        return [] if ended is None else [ended]

    def _leave(self, player_id: str, conversation: Conversation) -> None:
        if self._online.leave(player_id, conversation):
            self._matchmaker.player_lost(player_id)
