"""The rooms that this node hosts itself: what players and operators ask of them."""

from __future__ import annotations

from base64 import b32encode
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from math import inf
from typing import Any

from msgspec import structs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from vinom.base.limits.addresses import AddressCounts
from vinom.base.messages.envelope import Request
from vinom.base.messages.rooms import (
    Ack,
    AddBot,
    JoinRoom,
    JoinRoomResult,
    KickSeat,
    LeaveRoom,
    ListRooms,
    PeekRoom,
    Reconnect,
    ReconnectResult,
    Rematch,
    RoomClosed,
    RoomDone,
    RoomList,
    SetTeam,
    StartRoom,
    is_room_id,
)
from vinom.base.model import Player, RoomClaim
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Code, Refused, StoreUnavailable, Unreadable
from vinom.fleet.relay.room import RelayFleet
from vinom.game import Game
from vinom.lobby.conversation.conversation import (
    Conversation,
    Followed,
    Membership,
    RoomAnswer,
)
from vinom.lobby.matches.service import ResultWatch
from vinom.play.choices import canonical_loadout, canonical_options
from vinom.play.guard import Guard
from vinom.play.hosting.checkpoints import Checkpoint, read_checkpoint, resume_from
from vinom.play.hosting.host import RecordingStore
from vinom.play.hosting.keeping import Keeping
from vinom.play.room import Resumed
from vinom.play.states import StateCodec
from vinom.rooms.lists import MatchList, RoomIndex
from vinom.rooms.matches import MatchRooms, is_match_id, match_members
from vinom.rooms.member import Member
from vinom.rooms.own import OwnPolicy
from vinom.rooms.pacing import StartPacing
from vinom.rooms.resume import ResumeSecrets, room_named
from vinom.rooms.room import NodeRoom, RoomBounds, RoomContext, RoomTerms
from vinom.rooms.visits import VisitedRoom, Visits

#: Rooms that are handed to other nodes, or ended after their node, at once.
_AT_ONCE = 100
#: How long a node that stops waits for the store to take its rooms, seconds.
_STOP_SECONDS = 5.0
#: Without a store: of as many rooms that have closed the node knows why.
_MOST_ENDINGS = 4096
#: In place of a checkpoint, of a room that is not kept.
NOT_KEPT = b"-"
#: Between two rooms that are stored again, seconds.
_STORE_PAUSE = 0.001
#: How often the store is reminded of all rooms, seconds.
_ANNOUNCED_SECONDS = 6 * 3600.0

_log = Logger()


class Rooms(Service):
    """
    Every room of this node: get or create, list, come back.

    Each room looks after itself by its own alarm; nothing here ever walks all rooms.

    :ivar bounds: what rooms may cost.
    :ivar is_draining: no new rooms are opened.
    :ivar is_moving: and rooms are handed to other nodes.
    :ivar takes_others: may rooms of other nodes go on here?
    """

    name = "rooms"

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        turns: TurnEnd,
        clock: IReactorTime,
        seconds: Callable[[], float],
        entropy: Callable[[int], bytes],
        recordings: RecordingStore,
        *,
        guard: Guard | None = None,
        fleets: Mapping[str, RelayFleet] | None = None,
        matches: MatchRooms | None = None,
        bounds: RoomBounds | None = None,
        shows_faults: bool = False,
        results: ResultWatch | None = None,
        keeping: Keeping | None = None,
        visits: Visits | None = None,
    ) -> None:
        """
        Begin without rooms.

        :param games: by the name players ask for.
        :param turns: what is done when a turn of the reactor ends.
        :param clock: rings; its seconds are of the Unix epoch.
        :param seconds: a clock that never goes back.
        :param entropy: makes that many random bytes.
        :param recordings: where what is played here is written down.
        :param guard: ends calls into games that take too long.
        :param fleets: by game, what plays its rooms; those of others are played here.
        :param matches: makes rooms that show matches.
        :param bounds: what rooms may cost.
        :param shows_faults: are players sent why a game failed? Only for its author.
        :param results: notes how rounds end.
        :param keeping: keeps rooms for when this node dies; without it they die too.
        :param visits: takes players to rooms of other nodes.
        """
        self.bounds = bounds or RoomBounds()
        self.is_draining = self.is_moving = False
        self.takes_others = True
        self._moving: dict[str, Deferred[None]] = {}
        self._games, self._clock, self._entropy = games, clock, entropy
        self._recordings, self._matches = recordings, matches
        self._rooms: dict[str, NodeRoom] = {}
        self._made = 0
        self._seconds, self._results = seconds, results
        self._keeping, self._visits = keeping, visits
        self._fleets = fleets or {}
        # Of ids that are kept for rooms of this node, until these are opened; and of
        # rooms that are not kept, but found by other nodes.
        self._fences: dict[str, int] = {}
        # Without a store: how the games of rooms that have closed ended.
        self._endings: OrderedDict[str, str] = OrderedDict()
        self._announced: dict[str, int] = {}
        self._announcing = LoopingCall(self.store_again)
        self._announcing.clock = clock
        self._not_before = -inf
        self._is_store_away = False
        self._secrets = ResumeSecrets(entropy, clock.seconds, keeping is not None)
        self._drained: list[Deferred[None]] = []
        self._ended: Counter[str] = Counter()
        self._opened = AddressCounts(self.bounds.per_address)
        self._places = AddressCounts(self.bounds.places)
        # Rooms without anybody connected before play, the longest first.
        self._deserted: OrderedDict[str, NodeRoom] = OrderedDict()
        self._index = RoomIndex(clock)
        self._match_list = MatchList(clock, self._listed_matches)
        self._context = RoomContext(
            self.bounds,
            seconds,
            clock,
            entropy,
            turns,
            recordings,
            guard,
            self._changed,
            self._forget,
            self._closed,
            self._note_deserted,
            StartPacing(clock, seconds),
            shows_faults,
            results,
        )
        self._own = OwnPolicy(self._context, self._fleets)

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        if self._keeping is not None:
            self._announcing.start(_ANNOUNCED_SECONDS, now=False)

    def stopService(self) -> Deferred[None]:
        """Leave rooms that are kept to the next node; close the others, and say why."""
        Service.stopService(self)
        if self._announcing.running:
            self._announcing.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        moved = Deferred.fromCoroutine(self.move())
        late: Deferred[None] = deferLater(self._clock, _STOP_SECONDS)
        await DeferredList([moved, late], fireOnOneCallback=True, consumeErrors=True)
        late.cancel()
        for room in tuple(self._rooms.values()):
            if room.is_kept:
                # The store does not answer; what it has is enough.
                room.vanish()
            room.close("shutdown")
        self._index.stop()
        self._match_list.stop()
        self._recordings.flush()

    def drain(self) -> Deferred[None]:
        """Open no new rooms; fires when nobody is in one any more."""
        self.is_draining = True
        for room in tuple(self._rooms.values()):
            self._close_if_deserted(room)
        if not self._rooms:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._drained.append(waiting)
        return waiting

    async def move(self) -> None:
        """Open no new rooms, and hand those that are kept to other nodes."""
        self.is_draining = self.is_moving = True
        rooms = list(self._rooms.values())
        for first in range(0, len(rooms), _AT_ONCE):
            some = rooms[first : first + _AT_ONCE]
            await gatherResults([self._move(room) for room in some])

    def _move(self, room: NodeRoom) -> Deferred[None]:
        """Hand a room to another node; fires when it is gone, or cannot be moved."""
        moved = self._moving.setdefault(room.room_id, Deferred())
        if not room.move():
            self._settle_move(room)
        return moved

    def _settle_move(self, room: NodeRoom) -> None:
        moved = self._moving.pop(room.room_id, None)
        if moved is not None:
            moved.callback(None)

    def vanish(self, room_id: str) -> None:
        """A room goes on at another node: its players here are sent there."""
        if (room := self._rooms.get(room_id)) is not None:
            room.vanish()

    def stays(self, conversation: Conversation) -> bool:
        """Is this player in a room that lives in this node only?"""
        return any(
            isinstance(one.room, NodeRoom) for one in conversation.memberships.values()
        )

    def _close_if_deserted(self, room: NodeRoom) -> None:
        """Let go of a room in a drain if nobody is connected: nobody may come here."""
        if not room.policy.is_own or room.broadcast.live:
            return
        if not room.move():
            room.close("shutdown")

    # What rooms report.

    def _changed(self, room: NodeRoom) -> None:
        """What the list shows of a room has changed."""
        if room.policy.is_own:
            self._index.changed(room)

    def _closed(self, room: NodeRoom, reason: str) -> None:
        self._rooms.pop(room.room_id, None)
        self._deserted.pop(room.room_id, None)
        if room.policy.is_own:
            self._opened.leave(room.opener)
            self._index.remove(room)
            self._ended[reason] += 1
            self._withdraw(room.room_id, reason if room.phase else "")
            if room.phase and self._keeping is None:
                self._endings[room.room_id] = reason
                if len(self._endings) > _MOST_ENDINGS:
                    self._endings.popitem(last=False)
        self._settle_move(room)
        if self.is_draining and not self._rooms:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _forget(self, room_id: str, member: Member, closed: RoomClosed | None) -> None:
        """Somebody is no longer a member."""
        self._places.leave(member.host)
        self._secrets.forget(room_id, member, closed)

    def _note_deserted(self, room: NodeRoom) -> None:
        """Nobody is connected to a room that waits for players, or somebody is."""
        self._deserted.pop(room.room_id, None)
        if room.is_deserted:
            self._deserted[room.room_id] = room

    # What players ask.

    def serve(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer | Deferred[RoomAnswer]:
        """
        Answer a request about rooms, at once or later.

        :param conversation: carries the request.
        :param player: who asks.
        :returns: the answer, or one that comes later; ``None`` if there is none.
        :raises Refused: it cannot be.
        """
        if self._keeping is not None:
            visited = _visited(conversation, request)
            if visited is not None:
                room_id = visited.room_id
                if getattr(request, "room_id", room_id) != room_id:
                    request = structs.replace(request, room_id=room_id)
                return Deferred.fromCoroutine(visited.visit.ask(request))
            if self._visits is not None and not conversation.is_visiting:
                if isinstance(request, ListRooms):
                    return Deferred.fromCoroutine(
                        self._list_all(self._visits, conversation, player, request)
                    )
                if isinstance(request, JoinRoom) and request.room_id is None:
                    return Deferred.fromCoroutine(
                        self._join_any(self._visits, conversation, player, request)
                    )
            room_id = self._elsewhere(conversation, request)
            if room_id:
                return Deferred.fromCoroutine(
                    self._fetch_and_serve(conversation, player, request, room_id)
                )
        return self._serve_here(conversation, player, request)

    def _serve_here(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer:
        match request:
            case JoinRoom():
                return self._join(conversation, player, request)
            case Reconnect(resume, heard):
                return self._reconnect(conversation, resume, heard)
            case LeaveRoom(room_id):
                room, member = _membership(conversation, room_id)
                room.leave(member, "left")
                return RoomDone(room.room_id, member.seat)
            case ListRooms(game, matches=matches):
                if game is not None:
                    # Nothing is ever listed of others; and watching costs something.
                    self._game(game)
                if not matches:
                    return self._index.answer(conversation, request)
                return self._match_list.answer(conversation, request)
            case PeekRoom(room_id):
                room = self._room(room_id)
                room.refuse_removed(player.player_id)
                return room.peek()
            case Ack(seen, room_id):
                room, member = _membership(conversation, room_id)
                room.broadcast.saw(member, seen)
                return None
            case StartRoom(room_id):
                room = self._as_host(conversation, room_id)
                room.start()
                return RoomDone(room.room_id)
            case AddBot(room_id):
                room = self._as_host(conversation, room_id)
                return RoomDone(room.room_id, room.add_bot())
            case KickSeat(seat, room_id):
                room = self._as_host(conversation, room_id)
                room.kick(seat)
                return RoomDone(room.room_id, seat)
            case SetTeam(seat, team, room_id):
                room = self._as_host(conversation, room_id)
                room.set_team(seat, team)
                return RoomDone(room.room_id, seat)
            case Rematch(room_id):
                room = self._as_host(conversation, room_id)
                room.rematch()
                return RoomDone(room.room_id)
        raise Refused(Code.UNKNOWN_TYPE, "no request has this type")

    def _as_host(self, conversation: Conversation, room_id: str | None) -> NodeRoom:
        room, member = _membership(conversation, room_id)
        if room.host is not member:
            raise Refused(
                Code.NOT_HOST, "only the room's host may", {"host": room.host_seat()}
            )
        return room

    def _join(
        self, conversation: Conversation, player: Player, asked: JoinRoom
    ) -> Followed:
        game = self._game(asked.game)
        options = canonical_options(game, bytes(asked.options))
        loadout = canonical_loadout(game, bytes(asked.loadout))
        own = self._secrets.of(player.player_id)
        if asked.room_id is not None:
            membership = own.get(asked.room_id)
            if (room := self._rooms.get(asked.room_id)) is not None and room.is_moving:
                raise _moving(asked.room_id)
            if membership is not None:
                return self._take_back(conversation, asked.room_id, membership)
            # By a resume token one may be here as somebody else.
            _check_absence(conversation, asked.room_id)
        self._check_room_for(own)
        self._check_room_for(conversation.memberships)
        host = conversation.host
        if self._places.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address are in too many rooms",
                {"limit": self.bounds.places},
            )
        here = {*own, *conversation.memberships}
        made = self._made
        room = self._find(player, here, asked, options)
        room = room or self._open(game, asked, options, host)
        try:
            _check_fit(room, game, asked, options)
            membership = room.enter(player, loadout, asked.spectate)
        except Refused:
            if self._made > made:
                room.close("abandoned")
            raise
        membership.member.host = host
        self._places.enter(host)
        self._secrets.add(player.player_id, room.room_id, membership)
        return self._welcome(conversation, membership)

    def _game(self, name: str) -> Game[Any, Any]:
        game = self._games.get(name)
        if game is None:
            raise Refused(
                Code.UNKNOWN_GAME,
                "this server has no game with this name",
                {"field": "data.game", "games": sorted(self._games)},
            )
        return game

    def _check_room_for(self, memberships: Mapping[str, Membership]) -> None:
        most = self.bounds.per_client
        if len(memberships) >= most:
            raise Refused(
                Code.TOO_MANY_ROOMS, "you are in too many rooms", {"limit": most}
            )

    def _find(
        self, player: Player, here: Set[str], asked: JoinRoom, options: bytes
    ) -> NodeRoom | None:
        if asked.room_id is None:
            if asked.spectate:
                return None
            for found in self._index.all_open(asked.game, options):
                # Few are passed over: nobody is in many rooms.
                if not found.is_moving and not (
                    found.room_id in here or found.has_removed(player.player_id)
                ):
                    return found
            return None
        room = self._rooms.get(asked.room_id)
        if room is None and is_match_id(asked.room_id):
            room = self._open_match(asked.room_id)
        return room

    def _open_match(self, match_id: str) -> NodeRoom:
        room = (
            None
            if self._matches is None
            else self._matches.open(self._context, match_id)
        )
        if room is None:
            raise Refused(
                Code.NO_SUCH_ROOM,
                "this match is over, or never was",
                {"field": "data.room_id"},
            )
        self._rooms[match_id] = room
        self._made += 1
        return room

    def _open(
        self, game: Game[Any, Any], asked: JoinRoom, options: bytes, host: str
    ) -> NodeRoom:
        ending = self._endings.get(asked.room_id or "")
        if ending is not None and (asked.spectate or not asked.create):
            raise _ended(str(asked.room_id), ending)
        if asked.spectate or asked.create is False:
            raise Refused(
                Code.NO_SUCH_ROOM, "there is no such room", {"field": "data.room_id"}
            )
        if self.is_moving:
            raise _busy(asked.room_id, 0.5, "this node is stopping")
        if self.is_draining:
            raise Refused(Code.DRAINING, "this server takes no new rooms")
        if self._opened.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address opened too many rooms",
                {"limit": self.bounds.per_address},
            )
        if len(self._rooms) >= self.bounds.most and self._deserted:
            next(iter(self._deserted.values())).close("abandoned")
        if len(self._rooms) >= self.bounds.most:
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "this node has no room for another one",
                {"limit": self.bounds.most},
            )
        room_id = asked.room_id
        if room_id is None:
            room_id = b32encode(self._entropy(10)).decode().lower()
        is_public = asked.room_id is None
        is_listed = is_public or asked.public
        terms = RoomTerms(
            room_id, asked.game, game, options, is_public, is_listed, host
        )
        self._endings.pop(room_id, None)
        room = self._add_room(terms, self._fences.get(room_id, 1))
        self._made += 1
        self._index.changed(room)
        return room

    def _add_room(self, terms: RoomTerms, fence: int) -> NodeRoom:
        """Make a room of this node, and keep it if that is possible."""
        room = NodeRoom(self._context, terms, self._own)
        self._rooms[room.room_id] = room
        self._opened.enter(terms.opener)
        keeping, codec = self._keeping, self._codec_of(terms.game)
        if keeping is not None and codec is not None:
            room.keep(keeping, codec, fence)
        elif keeping is not None:
            self._announced[room.room_id] = fence
            self._announce(keeping, room.room_id)
        return room

    # Rooms that other nodes find here, and that die with this one.

    def _announce(self, keeping: Keeping, room_id: str) -> None:
        def found(is_ours: bool) -> None:
            if not is_ours and room_id in self._announced:
                _log.warn("room {room_id} is on two nodes", room_id=room_id)

        fence = self._announced[room_id]
        noted = keeping.store.put(room_id, fence, NOT_KEPT, 0.0)
        noted.addCallbacks(found, lambda failure: failure.trap(StoreUnavailable))

    def store_again(self) -> None:
        """
        Store all rooms again: the store forgets what is not renewed, or lost it.

        A few at a time, for there may be thousands.
        """
        self._is_store_away = False
        for number, room in enumerate(tuple(self._rooms.values())):
            self._clock.callLater(number * _STORE_PAUSE, self._store_one, room)

    def store_away(self) -> None:
        """The store does not answer: rooms that store first stand still."""
        self._is_store_away = True
        self.lease_over()

    def lease_over(self) -> None:
        """
        Have all rooms find whether they may go on: the lease of this node may be over.

        A few at a time, for there may be thousands.
        """
        for number, room in enumerate(tuple(self._rooms.values())):
            self._clock.callLater(number * _STORE_PAUSE, self._look_at_store, room)

    def _look_at_store(self, room: NodeRoom) -> None:
        if not room.is_closed:
            room.look_at_store(not self._is_store_away)

    def _store_one(self, room: NodeRoom) -> None:
        room.keep_again()
        if self._keeping is not None and room.room_id in self._announced:
            self._announce(self._keeping, room.room_id)

    def _withdraw(self, room_id: str, ending: str) -> None:
        fence = self._announced.pop(room_id, None)
        if fence is not None:
            self._forget_room(room_id, fence, ending)

    def _forget_room(self, room_id: str, fence: int, ending: str = "") -> None:
        if self._keeping is not None:
            self._keeping.remove(room_id, fence, ending)

    # Rooms that other nodes had.

    async def _list_all(
        self,
        visits: Visits,
        conversation: Conversation,
        player: Player,
        request: ListRooms,
    ) -> RoomAnswer:
        """List the rooms of all nodes, this one's first."""
        found = self._serve_here(conversation, player, request)
        assert isinstance(found, RoomList)
        lists = [found, *await visits.list_rooms(conversation, player, request)]
        rooms = [room for one in lists for room in one.rooms]
        total = sum(one.total for one in lists)
        return Followed(
            RoomList(tuple(rooms[: request.limit]), total),
            lambda: visits.release(conversation),
        )

    async def _join_any(
        self,
        visits: Visits,
        conversation: Conversation,
        player: Player,
        request: JoinRoom,
    ) -> RoomAnswer:
        """Join a room that takes anybody: of this node, of another, or a new one."""
        game = self._game(request.game)
        options = canonical_options(game, bytes(request.options))
        if not request.spectate:
            here = {*self._secrets.of(player.player_id), *conversation.memberships}
            self._check_room_for(conversation.memberships)
            if self._find(player, here, request, options) is None:
                found = await visits.join_any(conversation, player, request)
                if found is not None:
                    return found
                if not conversation.is_open:
                    raise Refused(Code.TIMEOUT, "the line closed before the answer")
        return self._serve_here(conversation, player, request)

    def _codec_of(self, game: Game[Any, Any]) -> StateCodec | None:
        """Find what writes the states of a game; ``None`` if its rooms are not kept."""
        if self._keeping is None or game.name in self._fleets:
            return None
        return self._keeping.codecs.of(game)

    def wait(self, seconds: float) -> None:
        """
        Take over no rooms for a while.

        The store was away: all leases ended with it, and their nodes, which are well,
        need a moment to get new ones.
        """
        self._not_before = self._seconds() + seconds

    def _elsewhere(self, conversation: Conversation, request: Request) -> str:
        """Find the id of the room that a request is about, unless it is here."""
        if isinstance(request, JoinRoom):
            if request.game not in self._games:
                return ""
            room_id = request.room_id or ""
            if is_match_id(room_id) and self._has_match(room_id):
                return ""
        elif isinstance(request, PeekRoom):
            room_id = request.room_id
            if is_match_id(room_id):
                return ""
        elif isinstance(request, Reconnect):
            room_id = room_named(request.resume)
            if self._secrets.knows(request.resume) or not (
                is_room_id(room_id) or is_match_id(room_id)
            ):
                return ""
            # Who guesses does not even cost a question to the store.
            self._secrets.refuse_guesser(conversation.host)
        else:
            return ""
        return "" if room_id in self._rooms else room_id

    async def _fetch_and_serve(
        self,
        conversation: Conversation,
        player: Player,
        request: Request,
        room_id: str,
    ) -> RoomAnswer:
        if is_match_id(room_id):
            node_id = await self._node_of_match(room_id)
        else:
            create = getattr(request, "create", False)
            opens = create is not False and not getattr(request, "spectate", False)
            node_id = await self._fetch(room_id, opens, create is True)
        if node_id and conversation.is_visiting:
            # It was here when its node asked the store.
            raise _busy(room_id, 1.0, "this room is on another node")
        if node_id:
            assert self._visits is not None
            self._check_room_for(conversation.memberships)
            _check_absence(conversation, room_id)
            if not is_match_id(room_id) and isinstance(request, JoinRoom | Reconnect):
                moved = await self._visits.moved(node_id, conversation, room_id)
                if moved is not None:
                    return moved
            return await self._visits.ask(node_id, conversation, player, request)
        try:
            if not conversation.is_open:
                raise Refused(Code.TIMEOUT, "the line closed before the answer")
            return self._serve_here(conversation, player, request)
        finally:
            fence = self._fences.pop(room_id, None)
            if fence is not None and room_id not in self._rooms:
                # The room was refused: its id is not kept for it any more.
                self._forget_room(room_id, fence)

    def _has_match(self, match_id: str) -> bool:
        """Is this a match of this node, or its room open here?"""
        return match_id in self._rooms or (
            self._matches is not None and self._matches.has(match_id)
        )

    async def _node_of_match(self, match_id: str) -> str:
        """Find which other node has a match; empty if none has."""
        if self._visits is None or self._matches is None:
            return ""
        return await self._matches.owner(match_id) or ""

    async def _fetch(self, room_id: str, reserve: bool, again: bool) -> str:
        """
        Take a room over if its owner's lease is over.

        :param reserve: keep the id for a new room if nobody has it.
        :param again: even if a game has ended in an earlier room with it.
        :returns: the other node that has it; empty if none has, or this one now.
        :raises Refused: it cannot go on, or that node cannot be asked.
        """
        assert self._keeping is not None
        if self.is_draining or not self.takes_others:
            raise _busy(room_id, 1.0, "this node is stopping")
        left = self._not_before - self._seconds()
        if left > 0:
            raise _busy(room_id, left, "this room may be on a node that comes back")
        if len(self._rooms) >= self.bounds.most:
            raise _busy(room_id, 1.0, "this node has no room for another one")
        # If one with this id has closed here it must not come back.
        await self._keeping.removed(room_id)
        claim = await self._keeping.store.claim(room_id, reserve, again)
        if room_id in self._rooms:
            return ""
        if claim.kind == "owned":
            if self._visits is None:
                raise _busy(room_id, claim.seconds, "this room is on another node")
            return claim.node_id
        if claim.kind == "ended":
            raise _ended(room_id, claim.data.decode())
        if claim.kind == "new":
            self._fences[room_id] = claim.fence
        elif claim.kind == "adopted":
            room = self._adopt(room_id, claim)
            if self.is_moving:
                # It came while the others went.
                self._move(room)
                raise _moving(room_id)
        return ""

    def _adopt(
        self, room_id: str, claim: RoomClaim, is_orphan: bool = False
    ) -> NodeRoom:
        """
        Go on with a room from its checkpoint.

        :param is_orphan: nobody came back to it in time.

        :raises Refused: it cannot be read; the room is lost.
        """
        assert self._keeping is not None
        kept: Checkpoint | None = None
        try:
            if claim.data == NOT_KEPT:
                raise Unreadable("its node is gone, and nothing of it was kept")
            kept = read_checkpoint(claim.data)
            game = self._games.get(kept.game)
            codec = None if game is None else self._codec_of(game)
            if game is None or codec is None:
                raise Unreadable(
                    f"this node does not keep rooms of {kept.game}",
                    is_readable_elsewhere=True,
                )
            play = kept.play
            resumed = None if play is None else resume_from(play, game, codec)
        except Unreadable as error:
            if error.is_readable_elsewhere and not is_orphan:
                # Nodes of several versions, or with other games: one of them can.
                left = self._keeping.store.release(
                    room_id, claim.fence, claim.data, self.bounds.grace_seconds
                )
                left.addErrback(lambda failure: failure.trap(StoreUnavailable))
                raise _busy(
                    room_id, 1.0, f"this node cannot go on with it: {error}"
                ) from error
            _log.error("room {room_id} is lost: {why}", room_id=room_id, why=error)
            raise self._lost_room(room_id, claim, kept, str(error)) from error
        except Exception as error:
            _log.failure("room {room_id} is lost: it cannot be read", room_id=room_id)
            why = "its node is gone, and reading what was kept failed"
            raise self._lost_room(room_id, claim, kept, why) from error
        try:
            room = self._go_on(room_id, claim, kept, game, resumed)
        except Exception as error:
            _log.failure("room {room_id} is lost: it cannot go on", room_id=room_id)
            why = "its node is gone, and going on with it failed"
            raise self._lost_room(room_id, claim, kept, why) from error
        _log.info(
            "room {room_id} goes on here, from version {version} of {game}",
            room_id=room_id,
            version=room.broadcast.version,
            game=kept.game,
        )
        return room

    def _lost_room(
        self, room_id: str, claim: RoomClaim, kept: Checkpoint | None, why: str
    ) -> Refused:
        """Forget a room that no node can go on with; returns what its players learn."""
        room = self._rooms.get(room_id)
        # Then it reports the end of its match itself.
        is_played = room is not None and room.phase is not None
        if room is None:
            self._ended["lost"] += 1
        else:
            try:
                # What there is of it.
                room.close("lost")
            except Exception:
                _log.failure("room {room_id} failed at its end", room_id=room_id)
                self._closed(room, "lost")
        play = None if kept is None or is_played else kept.play
        if play is not None and self._results is not None:
            self._results.match_over(play.plan, "lost")
        self._forget_room(room_id, claim.fence, "lost")
        return _ended(room_id, "lost", f"this room is lost: {why}")

    def _go_on(
        self,
        room_id: str,
        claim: RoomClaim,
        kept: Checkpoint,
        game: Game[Any, Any],
        resumed: Resumed | None,
    ) -> NodeRoom:
        """Make a room from its checkpoint."""
        terms = RoomTerms(
            room_id,
            kept.game,
            game,
            kept.options,
            kept.is_public,
            kept.is_listed,
            kept.opener,
        )
        room = self._add_room(terms, claim.fence)
        host = None
        if kept.play is not None and resumed is not None:
            host = self._own.resume(room, kept.play, resumed, self._seconds())
        for membership in room.restore(kept, host):
            self._places.enter(membership.member.host)
            self._secrets.restore(room_id, membership)
        return room

    async def end_orphans(self, node_id: str) -> int:
        """
        End rooms of a node that is gone, whose players did not come back in time.

        :param node_id: of that node; empty for rooms that nodes have released.
        :returns: how many.
        """
        if self._keeping is None or self.is_draining or not self.takes_others:
            return 0
        store, ended = self._keeping.store, 0
        for room_id in await store.orphans(node_id, _AT_ONCE):
            claim = await store.claim(room_id, False)
            if claim.kind == "adopted" and room_id not in self._rooms:
                ended += 1
                try:
                    self._adopt(room_id, claim, is_orphan=True).close("abandoned")
                except Refused:
                    # It is lost, and that was logged.
                    continue
                except Exception:
                    # The others must not wait for it.
                    _log.failure("room {room_id} failed at its end", room_id=room_id)
        return ended

    # Coming back.

    def _take_back(
        self, conversation: Conversation, room_id: str, membership: Membership
    ) -> Followed:
        """Give a player who is known its place again: it proved who it is."""
        if membership.member.conversation is conversation:
            raise Refused(Code.ALREADY_IN_ROOM, "you are here", {"room_id": room_id})
        _check_absence(conversation, room_id)
        return self._welcome(conversation, membership)

    def _reconnect(
        self, conversation: Conversation, resume: str, heard: int | None
    ) -> Followed:
        membership = self._secrets.find(resume, conversation.host)
        if membership.room.is_moving:
            raise _moving(membership.room.room_id)
        if membership.member.conversation is not conversation:
            _check_absence(conversation, membership.room.room_id)
            # The places of many players could come together on one line.
            self._check_room_for(conversation.memberships)
        return self._welcome(conversation, membership, heard, is_again=True)

    def _welcome(
        self,
        conversation: Conversation,
        membership: Membership,
        heard: int | None = None,
        *,
        is_again: bool = False,
    ) -> Followed:
        """Connect a member, and answer with what it needs to play on."""
        room: NodeRoom = membership.room
        member: Member = membership.member
        broadcast = room.broadcast
        is_first = member.epoch == 0
        room.connect(membership, conversation)
        secret = self._secrets.renew(membership)
        if heard is not None:
            heard = max(heard, member.entered)
            member.told = min(heard, member.told)
            member.events_told = min(heard, member.events_told)
        # From here on it waits in the new line.
        member.events_sent, since = member.events_told, member.told
        missed = [] if is_first else broadcast.missed(since, member)
        lost = (
            0 if is_first else broadcast.how_many_lost(min(since, member.events_told))
        )
        facts = {"resume": secret, **room.result_of(member)}
        room.returned(member)
        facts["players"], facts["number"] = room.seating.players(), broadcast.number
        facts["host"] = room.host_seat()
        push = (
            ReconnectResult(**facts, lost=lost) if is_again else JoinRoomResult(**facts)
        )

        def follow() -> None:
            for message in missed:
                conversation.line.send(message)
            broadcast.owe(member)

        return Followed(push, follow)

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its player may come back to its rooms."""
        if self._visits is not None:
            self._visits.lost(conversation)
        for membership in tuple(conversation.memberships.values()):
            room: NodeRoom = membership.room
            room.lost(membership.member, conversation)
            if self.is_draining:
                self._close_if_deserted(room)
        self._index.forget(conversation)
        self._match_list.forget(conversation)

    def has(self, player_id: str) -> bool:
        """Is this player in a room, connected or not?"""
        return bool(self._secrets.of(player_id))

    # Lists.

    def _listed_matches(self, asked: ListRooms) -> RoomList:
        if self._matches is None:
            return RoomList((), 0)
        return self._matches.listed(asked, self._rooms)

    # What operators do.

    def listed(self) -> list[dict[str, Any]]:
        """List every room: JSON-like."""
        return [room.described() for room in self._rooms.values()]

    def reserve(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """
        Keep free seats of a running room, which takes newcomers, for players.

        :param options: of the room, canonical JSON.
        :returns: the room's id; empty if no room has as many.
        """
        if self.is_draining or not self.takes_others:
            return ""
        for room in self._index.all_open(game, options):
            is_running = room.state == "playing" and not room.is_moving
            if is_running and room.expect(player_ids):
                return room.room_id
        return ""

    def close_room(self, room_id: str) -> None:
        """
        End a room.

        :raises Refused: `NO_SUCH_ROOM`.
        """
        self._room(room_id).close("ended")

    def kick(self, room_id: str, player_id: str) -> None:
        """
        Remove a player from a room for good.

        :raises Refused: `NO_SUCH_ROOM` or `NO_SUCH_PLAYER`.
        """
        room = self._room(room_id)
        member = room.member_of(player_id)
        if member is None:
            raise Refused(Code.NO_SUCH_PLAYER, "no such player in this room")
        room.kick_member(member)

    def _room(self, room_id: str) -> NodeRoom:
        room = self._rooms.get(room_id)
        if room is None:
            raise Refused(Code.NO_SUCH_ROOM, "it closed, or never was")
        return room

    def status(self) -> dict[str, int]:
        """Count rooms and their members."""
        return {
            "rooms": len(self._rooms),
            "places": len(self._secrets),
            "away": self._secrets.away(),
        }

    def figures(self) -> dict[str, Any]:
        """Count the same for metrics, and what became of rooms."""
        return {
            **self.status(),
            **match_members(self._rooms.values()),
            "by_game": self._index.counts(),
            "players": Counter(
                room.game.name
                for room in self._rooms.values()
                if room.policy.is_own
                for member in room.members
                if member.seat is not None and member.conversation is not None
            ),
            "ended": dict(self._ended),
            **_kept_figures(self._keeping),
        }


def _kept_figures(keeping: Keeping | None) -> dict[str, Any]:
    """Count what is kept of rooms for when this node dies."""
    if keeping is None:
        return {"checkpoints": {}, "paused": 0, "unremoved": 0}
    return {
        "checkpoints": dict(keeping.outcomes),
        "paused": keeping.paused,
        "unremoved": keeping.unremoved,
    }


def _visited(conversation: Conversation, request: Request) -> VisitedRoom | None:
    """Find the room of another node that a request is about; the player is in it."""
    if isinstance(request, JoinRoom | Reconnect | ListRooms):
        return None
    room_id = getattr(request, "room_id", None)
    if room_id is None and len(conversation.memberships) == 1:
        room_id = next(iter(conversation.memberships))
    membership = conversation.memberships.get(room_id or "")
    if membership is None or not isinstance(membership.room, VisitedRoom):
        return None
    return membership.room


def _moving(room_id: str) -> Refused:
    """Write that this node hands a room to another one just now."""
    return _busy(room_id, 0.2, "this room moves to another node")


def _busy(room_id: str | None, seconds: float, why: str) -> Refused:
    """Write that a room may be here in a while."""
    return Refused(
        Code.BUSY,
        f"{why}; try again",
        {"retry_after": round(max(seconds, 0.1), 3), "room_id": room_id},
    )


def _ended(room_id: str, reason: str, why: str = "") -> Refused:
    """Write that a room is over, so that nobody takes another game for it."""
    why = why or (
        f"the game in this room has ended: {reason}; for another one choose a new "
        'room_id, or send "create": true'
    )
    return Refused(
        Code.NO_SUCH_ROOM, why, {"room_id": room_id, "reason": reason, "outcome": None}
    )


def _check_fit(
    room: NodeRoom, game: Game[Any, Any], asked: JoinRoom, options: bytes
) -> None:
    if room.name != asked.game:
        raise Refused(
            Code.BAD_FIELD,
            f"this room plays {room.name}",
            {"field": "data.game", "game": room.name},
        )
    if options != room.options and options != canonical_options(game, b"{}"):
        raise Refused(
            Code.BAD_OPTIONS,
            "this room was made with other options; leave them out",
            {"field": "data.options"},
        )


def _check_absence(conversation: Conversation, room_id: str) -> None:
    """Refuse a second place in a room: a request could not say which it means."""
    if room_id in conversation.memberships:
        raise Refused(
            Code.ALREADY_IN_ROOM,
            "you have another place in this room",
            {"room_id": room_id},
        )


def _membership(
    conversation: Conversation, room_id: str | None
) -> tuple[NodeRoom, Member]:
    """Find the room that is meant, and who the player is there."""
    membership = conversation.membership(room_id)
    if membership.room.is_moving:
        raise _moving(membership.room.room_id)
    return membership.room, membership.member
