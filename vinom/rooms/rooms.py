"""The rooms of a node: what players ask of them."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Coroutine, Mapping, Sequence, Set, Sized
from contextlib import suppress
from math import inf
from typing import Any

from msgspec import Raw, structs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.task import deferLater

from vinom.base.messages.envelope import Request
from vinom.base.messages.rooms import (
    Ack,
    AddBot,
    JoinRoom,
    JoinRoomResult,
    KickSeat,
    LeaveRoom,
    ListRooms,
    MyGames,
    OwnGames,
    PeekRoom,
    Reconnect,
    ReconnectResult,
    Rematch,
    RoomDone,
    RoomList,
    SetTeam,
    StartRoom,
    is_room_id,
)
from vinom.base.model import Player
from vinom.errors import Code, Refused, Unreadable
from vinom.fleet.relay.room import RelayFleet
from vinom.game import Game
from vinom.lobby.conversation.conversation import (
    Conversation,
    Followed,
    Membership,
    RoomAnswer,
)
from vinom.play.choices import canonical_loadout, canonical_options, game_named
from vinom.play.hosting.checkpoints import read_checkpoint
from vinom.play.hosting.keeping import Keeping
from vinom.rooms.checkpoint import room_named
from vinom.rooms.directory import RoomDirectory
from vinom.rooms.lists import kept_game, kept_room, live_game
from vinom.rooms.matches import MatchRooms, is_match_id
from vinom.rooms.ownership import RoomOwnership, room_busy, room_ended, room_moves
from vinom.rooms.room import NodeRoom
from vinom.rooms.round import RoomContext, RoomTerms
from vinom.rooms.seating import Member
from vinom.rooms.visits import VisitedRoom, Visits, check_open

#: Rooms that sleep of one list for operators.
_MOST_ASLEEP = 100
#: What only the host of a room may ask.
HostRequest = StartRoom | AddBot | KickSeat | SetTeam | Rematch

#: How long a node that stops waits for the store to take its rooms, seconds.
_STOP_SECONDS = 5.0
#: How long the node of a room may take to answer at least, seconds.
_SHORTEST_SECONDS = 1.0


class Rooms(Service):
    """
    Answer what players ask about rooms: get or create, list, come back.

    :ivar directory: which rooms are here, and who is in them.
    :ivar ownership: how rooms come from other nodes, and go there.
    """

    name = "rooms"

    def __init__(
        self,
        context: RoomContext,
        games: Mapping[str, Game[Any, Any]],
        *,
        fleets: Mapping[str, RelayFleet] | None = None,
        matches: MatchRooms | None = None,
        keeping: Keeping | None = None,
        visits: Visits | None = None,
    ) -> None:
        """
        Begin without rooms.

        :param context: what rooms share.
        :param games: by the name players ask for.
        :param fleets: by game, what plays its rooms; those of others are played here.
        :param matches: makes rooms that show matches.
        :param keeping: keeps rooms for when this node dies; without it they die too.
        :param visits: takes players to rooms of other nodes.
        """
        self._context, self._games, self._matches = context, games, matches
        self.told = context.told
        self._bounds, self._visits = context.bounds, visits
        self._keeping = keeping
        self.directory = RoomDirectory(context, matches, keeping)
        self.ownership = RoomOwnership(
            context, self.directory, games, fleets or {}, keeping
        )
        # Addresses whose players have opened too many rooms that last.
        self._full: set[str] = set()
        # Counts rooms that were made, to close one whose first player is refused.
        self._made = 0
        self._rooms, self._secrets = self.directory.rooms, self.directory.secrets

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        self.ownership.start()

    def stopService(self) -> Deferred[None]:
        """Leave rooms that are kept to the next node; close the others, and say why."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        moved = Deferred.fromCoroutine(self.ownership.move())
        late: Deferred[None] = deferLater(self._context.clock, _STOP_SECONDS)
        await DeferredList([moved, late], fireOnOneCallback=True, consumeErrors=True)
        late.cancel()
        self.ownership.stop()
        self.directory.stop()
        self._context.recordings.flush()

    def drain(self) -> Deferred[None]:
        """Open no new rooms; fires when nobody is in one any more."""
        self.ownership.is_draining = True
        for room in tuple(self._rooms.values()):
            self.ownership.close_if_deserted(room)
        return self.directory.emptied()

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
        if isinstance(request, MyGames):
            return Deferred.fromCoroutine(self._own_games(conversation, player))
        if (
            isinstance(request, JoinRoom)
            and not (request.spectate or conversation.is_visiting)
            and (game := self._games.get(request.game)) is not None
            and game.clock == "wall"
        ):
            later = self._join_lasting(conversation, player, request)
            return Deferred.fromCoroutine(later)
        return self._serve_anywhere(conversation, player, request)

    def _serve_anywhere(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer | Deferred[RoomAnswer]:
        """Answer here, or at the node of the room."""
        if self._keeping is not None:
            visited = _visited(conversation, request)
            if visited is not None:
                room_id = visited.room_id
                if getattr(request, "room_id", room_id) != room_id:
                    request = structs.replace(request, room_id=room_id)
                return Deferred.fromCoroutine(visited.visit.ask(request))
            if self._visits is not None and not conversation.is_visiting:
                later: Coroutine[Any, Any, RoomAnswer] | None = None
                if isinstance(request, ListRooms):
                    later = self._list_all(self._visits, conversation, player, request)
                elif isinstance(request, JoinRoom) and request.room_id is None:
                    later = self._join_any(self._visits, conversation, player, request)
                if later is not None:
                    return Deferred.fromCoroutine(later)
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
            case ListRooms():
                return self.list_here(request, conversation)
            case PeekRoom(room_id):
                return self.directory.peek(room_id, player.player_id)
            case Ack(seen, room_id, packed):
                room, member = _membership(conversation, room_id)
                room.broadcast.saw(member, seen, packed)
                return None
            case StartRoom() | AddBot() | KickSeat() | SetTeam() | Rematch():
                return self._command(conversation, request)
        raise Refused(Code.UNKNOWN_TYPE, "no request has this type")

    async def _own_games(
        self, conversation: Conversation, player: Player
    ) -> RoomAnswer:
        """List the rooms in which a player has a seat."""
        games = {
            room_id: live_game(one.room, one.member)
            for room_id, one in self._secrets.of(player.player_id).items()
            if one.member.seat is not None
        }
        if self._keeping is not None:
            kept = await self._keeping.store.seats_of(player.player_id)
            check_open(conversation)
            for room_id, (data, age) in kept.rooms.items():
                try:
                    found = kept_game(read_checkpoint(data), age, player.player_id)
                except Unreadable:
                    # A node of another version lists it.
                    continue
                if found is not None:
                    games.setdefault(room_id, found)
        ordered = sorted(
            games.values(),
            key=lambda one: (not one.is_turn, inf if one.due is None else one.due),
        )
        return OwnGames(tuple(ordered))

    async def asleep(self, player_id: str = "") -> list[dict[str, Any]]:
        """
        List for operators rooms that sleep, those first in which something is due.

        :param player_id: list the lasting rooms, asleep or not, in which it has a seat.
        :returns: JSON-like; at most 100 unless of a player.
        """
        if self._keeping is None:
            return []
        store = self._keeping.store
        found: list[dict[str, Any]] = []
        asked = store.seats_of(player_id) if player_id else store.asleep(_MOST_ASLEEP)
        for room_id, (data, age) in (await asked).rooms.items():
            told: dict[str, Any] = {
                "game": "",
                "state": "unreadable",
                "due": None,
                "players": (),
            }
            with suppress(Unreadable):
                told = structs.asdict(kept_room(read_checkpoint(data), age))
            found.append(
                {
                    "room_id": room_id,
                    **{name: told[name] for name in ("game", "state", "due")},
                    "players": [structs.asdict(seat) for seat in told["players"]],
                }
            )
        return found

    async def _join_lasting(
        self, conversation: Conversation, player: Player, request: JoinRoom
    ) -> RoomAnswer:
        """Join a room that goes on while nobody is connected, unless of too many."""
        if self._keeping is not None:
            host, most = conversation.host, self._bounds.lasting
            kept = await self._keeping.store.seats_of(player.player_id, host)
            check_open(conversation)
            # The store does not know the latest.
            here = self._secrets.of(player.player_id).items()
            seats = {*kept.rooms, *(id for id, one in here if _lasts(one))}
            if request.room_id not in seats and len(seats) >= most:
                raise Refused(
                    Code.TOO_MANY_ROOMS,
                    "you have seats in too many games that last; leave one",
                    {"limit": most},
                )
            is_full = bool(host) and kept.opened >= self._bounds.places
            (self._full.add if is_full else self._full.discard)(host)
        answer = self._serve_anywhere(conversation, player, request)
        return await answer if isinstance(answer, Deferred) else answer

    def list_here(
        self, request: ListRooms, conversation: Conversation | None = None
    ) -> RoomList:
        """
        List the rooms, or matches, of this node.

        :param conversation: of the player who asks; others watch nothing.
        :raises Refused: there is no such game.
        """
        if request.game is not None:
            # Nothing is ever listed of others; and watching costs something.
            game_named(self._games, request.game)
        listed = self.directory.match_list if request.matches else self.directory.index
        return listed.answer(conversation, request)

    def _command(self, conversation: Conversation, request: HostRequest) -> RoomDone:
        """Do what only the host of a room may ask."""
        room, member = _membership(conversation, request.room_id)
        seat: int | None = None
        if room.seating.host is not member:
            refusal = {"host": room.seating.host_seat}
            raise Refused(Code.NOT_HOST, "only the room's host may", refusal)
        match request:
            case StartRoom():
                room.round.start()
            case AddBot():
                seat = room.add_bot(request.level or "")
            case KickSeat():
                room.kick(seat := request.seat)
            case SetTeam():
                room.set_team(seat := request.seat, request.team)
            case Rematch():
                room.round.rematch()
        return RoomDone(room.room_id, seat)

    def _join(
        self, conversation: Conversation, player: Player, asked: JoinRoom
    ) -> Followed:
        game = game_named(self._games, asked.game)
        options = canonical_options(game, bytes(asked.options))
        loadout = canonical_loadout(game, bytes(asked.loadout))
        own = self._secrets.of(player.player_id)
        if asked.room_id is not None:
            membership = own.get(asked.room_id)
            if (room := self._rooms.get(asked.room_id)) is not None and room.is_moving:
                raise room_moves(asked.room_id)
            if membership is not None:
                return self._take_back(conversation, asked.room_id, membership)
            # By a resume token one may be here as somebody else.
            _check_absence(conversation, asked.room_id)
        # Those that last have a limit of their own, see `_join_lasting`.
        self._check_room_for([one for one in own.values() if not _lasts(one)])
        self._check_room_for(conversation.memberships)
        host = conversation.host
        if self.directory.places.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address are in too many rooms",
                {"limit": self._bounds.places},
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
        self.directory.enter(membership, player.player_id, host)
        return self._welcome(conversation, membership)

    def _check_room_for(self, memberships: Sized) -> None:
        most = self._bounds.per_client
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
            for found in self.directory.index.all_open(asked.game, options):
                # Few are passed over: nobody is in many rooms.
                if not found.is_moving and not (
                    found.room_id in here or player.player_id in found.seating.kicked
                ):
                    return found
            return None
        room = self._rooms.get(asked.room_id)
        if room is None and is_match_id(asked.room_id):
            room = self._open_match(asked.room_id)
        return room

    def _open_match(self, match_id: str) -> NodeRoom:
        matches = self._matches
        room = None
        if matches is not None:
            room = matches.open(self._context, self.directory, match_id)
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
        ending = self.directory.endings.get(asked.room_id or "")
        if ending is not None and (asked.spectate or not asked.create):
            raise room_ended(str(asked.room_id), ending)
        if asked.spectate or asked.create is False:
            raise Refused(
                Code.NO_SUCH_ROOM, "there is no such room", {"field": "data.room_id"}
            )
        if self.ownership.is_moving:
            raise room_busy(asked.room_id, 0.5, "this node is stopping")
        if self.ownership.is_draining:
            raise Refused(Code.DRAINING, "this server takes no new rooms")
        is_full = game.clock == "wall" and host in self._full
        if is_full or self.directory.opened.is_full(host):
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "players of your address opened too many rooms",
                {"limit": self._bounds.per_address},
            )
        self.directory.make_way()
        if self.directory.is_full:
            raise Refused(
                Code.TOO_MANY_ROOMS,
                "this node has no room for another one",
                {"limit": self._bounds.most},
            )
        room_id = asked.room_id
        if room_id is None:
            room_id = b32encode(self._context.entropy(10)).decode().lower()
        is_public = asked.room_id is None
        is_listed = is_public or asked.public
        terms = RoomTerms(
            room_id, asked.game, game, options, is_public, is_listed, host
        )
        self.directory.endings.pop(room_id, None)
        room = self.ownership.open(terms)
        self._made += 1
        self.directory.index.changed(room)
        return room

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
        game = game_named(self._games, request.game)
        options = canonical_options(game, bytes(request.options))
        if not request.spectate:
            here = {*self._secrets.of(player.player_id), *conversation.memberships}
            self._check_room_for(conversation.memberships)
            if self._find(player, here, request, options) is None:
                found = await visits.join_any(conversation, player, request)
                if found is not None:
                    return found
                check_open(conversation)
        return self._serve_here(conversation, player, request)

    def _elsewhere(self, conversation: Conversation, request: Request) -> str:
        """Find the id of the room that a request is about, unless it is here."""
        if isinstance(request, JoinRoom):
            if request.game not in self._games:
                return ""
            room_id = request.room_id or ""
            if is_match_id(room_id) and self._has_match(room_id):
                return ""
            game, keeping = self._games[request.game], self._keeping
            if not (keeping is None or keeping.is_shared or keeping.codec_of(game)):
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
        claim = None
        if is_match_id(room_id):
            node_id = ""
            if self._visits is not None and self._matches is not None:
                node_id = await self._matches.owner(room_id) or ""
        else:
            create = getattr(request, "create", False)
            opens = create is not False and not getattr(request, "spectate", False)
            claim = await self.ownership.fetch(room_id, opens, create is True)
            if claim is not None and self._visits is None:
                raise room_busy(room_id, claim.seconds, "this room is on another node")
            node_id = "" if claim is None else claim.node_id
        if node_id and conversation.is_visiting:
            # It was here when its node asked the store.
            raise room_busy(room_id, 1.0, "this room is on another node")
        if node_id:
            assert self._visits is not None
            self._check_room_for(conversation.memberships)
            _check_absence(conversation, room_id)
            if not is_match_id(room_id) and isinstance(request, JoinRoom | Reconnect):
                moved = await self._visits.moved(node_id, conversation, room_id)
                if moved is not None:
                    return moved
            asked = self._visits.ask(node_id, conversation, player, request)
            answer = Deferred.fromCoroutine(asked)
            if claim is not None:
                # If it is dead its room can be had then.
                least = max(claim.seconds, _SHORTEST_SECONDS)
                answer.addTimeout(least, self._context.clock)
            try:
                return await answer
            except TimeoutError:
                why = "the node of this room does not answer"
                raise room_busy(room_id, 0.1, why) from None
        try:
            check_open(conversation)
            return self._serve_here(conversation, player, request)
        finally:
            self.ownership.served(room_id)

    def _has_match(self, match_id: str) -> bool:
        """Is this a match of this node, or its room open here?"""
        return match_id in self._rooms or (
            self._matches is not None and self._matches.has(match_id)
        )

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
            raise room_moves(membership.room.room_id)
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
        facts = {"resume": secret, **_result_of(room, member)}
        room.returned(member)
        facts["players"], facts["number"] = room.seating.players(), broadcast.number
        facts["host"] = room.seating.host_seat
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
        rooms = [one.room for one in conversation.memberships.values()]
        self.directory.lost(conversation)
        for room in rooms:
            self.ownership.close_if_deserted(room)

    def reserve(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """
        Keep free seats of a running room, which takes newcomers, for players.

        :param options: of the room, canonical JSON.
        :returns: the room's id; empty if no room has as many.
        """
        if self.ownership.is_draining or not self.ownership.takes_others:
            return ""
        for room in self.directory.index.all_open(game, options):
            is_running = room.state == "playing" and not room.is_moving
            if is_running and room.expect(player_ids):
                return room.room_id
        return ""

    async def seats(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """Do as `reserve`, in any node: `vinom.lobby.matchmaking.rounds.Running`."""
        found = self.reserve(game, options, player_ids)
        if found or self._visits is None:
            return found
        return await self._visits.seats(game, options, player_ids)


def _lasts(membership: Membership) -> bool:
    room: NodeRoom = membership.room
    return room.round.is_lasting


def _visited(conversation: Conversation, request: Request) -> VisitedRoom | None:
    """Find the room of another node that a request is about; the player is in it."""
    if isinstance(request, JoinRoom | Reconnect | ListRooms | MyGames):
        return None
    try:
        room = conversation.membership(getattr(request, "room_id", None)).room
    except Refused:
        return None
    return room if isinstance(room, VisitedRoom) else None


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
        raise room_moves(membership.room.room_id)
    return membership.room, membership.member


def _result_of(room: NodeRoom, member: Member) -> dict[str, Any]:
    """Write what a member is answered when it comes in, or comes back."""
    played, seat, acted = room.round.played, member.seat, member.acted
    if played is not None and seat is not None:
        acted = played.acted[seat]
    return {
        "room_id": room.room_id,
        "game": room.name,
        "seat": seat,
        "seats": room.seats,
        "state": room.state,
        "options": Raw(room.options),
        "setup": room.broadcast.setup(),
        "version": room.broadcast.version,
        "acted": acted,
        "former": tuple(room.seating.former.values()),
    }
