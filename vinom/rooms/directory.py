"""Which rooms are on this node, who is in them, and how those that closed ended."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

from msgspec import Raw, structs
from twisted.internet.defer import Deferred, succeed

from vinom.base.limits.addresses import AddressCounts
from vinom.base.messages.rooms import ListRooms, RoomClosed, RoomList, RoomPeek
from vinom.errors import Code, Refused
from vinom.lobby.conversation.conversation import Conversation, Membership
from vinom.play.hosting.keeping import Keeping
from vinom.rooms.checkpoint import ResumeSecrets
from vinom.rooms.lists import MatchList, RoomIndex
from vinom.rooms.matches import MatchRooms, match_members
from vinom.rooms.room import NodeRoom
from vinom.rooms.round import RoomContext
from vinom.rooms.seating import Member

#: Without a store: of as many rooms that have closed the node knows why.
_MOST_ENDINGS = 4096


class RoomDirectory:
    """
    Every room of this node, and its members.

    Each room looks after itself by its own alarm; nothing here walks all rooms, but to
    answer operators.

    :ivar rooms: by id.
    :ivar index: rooms by game and state, for those who list or seek one.
    :ivar match_list: matches, for those who list them.
    :ivar secrets: lets members come back.
    :ivar opened: counts rooms by the address of the player who opened them.
    :ivar places: counts members by address.
    :ivar endings: without a store, how the games of rooms that have closed ended.
    :ivar ended: counts rooms that are no longer here, by reason.
    """

    def __init__(
        self, context: RoomContext, matches: MatchRooms | None, keeping: Keeping | None
    ) -> None:
        """
        Begin without rooms.

        :param context: what rooms share.
        :param matches: makes rooms that show matches.
        :param keeping: has other nodes find rooms, or the next player.
        """
        bounds, clock = context.bounds, context.clock
        self._most, self._matches = bounds.most, matches
        self._is_shared = keeping is not None and keeping.is_shared
        self.rooms: dict[str, NodeRoom] = {}
        self.index = RoomIndex(clock)
        self.match_list = MatchList(clock, self._listed_matches)
        self.secrets = ResumeSecrets(
            context.entropy, clock.seconds, keeping is not None
        )
        self.opened = AddressCounts(bounds.per_address)
        self.places = AddressCounts(bounds.places)
        self.endings: OrderedDict[str, str] = OrderedDict()
        self.ended: Counter[str] = Counter()
        # Rooms without anybody connected before play, the longest first.
        self._deserted: OrderedDict[str, NodeRoom] = OrderedDict()
        self._emptied: list[Deferred[None]] = []

    # What rooms report.

    def changed(self, room: NodeRoom) -> None:
        """What a list shows of a room has changed, or who is connected to it."""
        if not room.is_own or room.round.is_closed:
            return
        self.index.changed(room)
        if room.round.timetable.is_deserted:
            self._deserted.setdefault(room.room_id, room)
        else:
            self._deserted.pop(room.room_id, None)

    def left(self, room_id: str, member: Member, closed: RoomClosed | None) -> None:
        """Somebody is no longer a member."""
        self.places.leave(member.host)
        self.secrets.forget(room_id, member, closed)

    def closed(self, room: NodeRoom, reason: str) -> None:
        """A room has closed, and why."""
        self.rooms.pop(room.room_id, None)
        self._deserted.pop(room.room_id, None)
        if room.is_own:
            self.opened.leave(room.opener)
            self.index.remove(room)
            self.ended[reason] += 1
            if room.round.phase and not self._is_shared:
                self.endings[room.room_id] = reason
                if len(self.endings) > _MOST_ENDINGS:
                    self.endings.popitem(last=False)
        if not self.rooms:
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    # Who comes and goes.

    def enter(self, membership: Membership, player_id: str, host: str) -> None:
        """Note a new member of a room, and the address that it came from."""
        membership.member.host = host
        self.places.enter(host)
        self.secrets.add(player_id, membership.room.room_id, membership)

    def restore(self, membership: Membership) -> None:
        """Note a member of a room that another node had."""
        self.places.enter(membership.member.host)
        self.secrets.restore(membership.room.room_id, membership)

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over; its player may come back to its rooms."""
        for membership in tuple(conversation.memberships.values()):
            membership.room.lost(membership.member, conversation)
        self.index.forget(conversation)
        self.match_list.forget(conversation)

    def stays(self, conversation: Conversation) -> bool:
        """Is this player in a room that lives in this node only?"""
        return any(
            isinstance(one.room, NodeRoom) for one in conversation.memberships.values()
        )

    def has(self, player_id: str) -> bool:
        """Is this player in a room, connected or not?"""
        return bool(self.secrets.of(player_id))

    # The rooms.

    @property
    def is_full(self) -> bool:
        """Has this node as many rooms as it may?"""
        return len(self.rooms) >= self._most

    def make_way(self) -> None:
        """Close a room in which nobody is connected before play, if this is full."""
        if self.is_full and self._deserted:
            next(iter(self._deserted.values())).close("abandoned")

    def emptied(self) -> Deferred[None]:
        """Wait until there is no room any more."""
        if not self.rooms:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._emptied.append(waiting)
        return waiting

    def get(self, room_id: str) -> NodeRoom:
        """
        Find a room.

        :raises Refused: `NO_SUCH_ROOM`.
        """
        room = self.rooms.get(room_id)
        if room is None:
            raise Refused(Code.NO_SUCH_ROOM, "it closed, or never was")
        return room

    def peek(self, room_id: str, player_id: str) -> RoomPeek:
        """
        Show a room once, as spectators see it.

        :raises Refused: there is no such room, or this player was removed from it.
        """
        room = self.get(room_id)
        room.seating.refuse_kicked(player_id)
        played, broadcast = room.round.played, room.broadcast
        view, time, tick = b"", 0.0, 0
        if room.is_own and played is not None and not broadcast.is_muted:
            view = played.room.view_json(played.room.audience_of(None))
            time = played.room.match_time(room.context.seconds())
            tick = played.room.ticks
            if played.room.phase == "closed":
                # The game failed to make its view.
                room.round.flush_soon()
        return RoomPeek(
            room.room_id,
            room.name,
            room.state,
            room.seating.players(),
            Raw(room.options),
            broadcast.setup(),
            Raw(view or b"null"),
            broadcast.version,
            round(time, 3),
            tick,
        )

    def _listed_matches(self, asked: ListRooms) -> RoomList:
        if self._matches is None:
            return RoomList((), 0)
        return self._matches.listed(asked, self.rooms)

    def stop(self) -> None:
        """Send nobody lists any more."""
        self.index.stop()
        self.match_list.stop()

    # What operators do.

    def listed(self) -> list[dict[str, Any]]:
        """List every room: JSON-like."""
        return [
            {
                **structs.asdict(room.policy.facts(room)),
                "host": room.seating.host_seat,
                "version": room.broadcast.version,
                "players": [structs.asdict(seat) for seat in room.seating.players()],
                "connected": len(room.broadcast.live),
            }
            for room in self.rooms.values()
        ]

    def status(self) -> dict[str, int]:
        """Count rooms and their members."""
        return {
            "rooms": len(self.rooms),
            "places": len(self.secrets),
            "away": self.secrets.away(),
        }

    def figures(self) -> dict[str, Any]:
        """Count the same for metrics, and what became of rooms."""
        return {
            **self.status(),
            **match_members(self.rooms.values()),
            "by_game": self.index.counts(),
            "players": Counter(
                room.game.name
                for room in self.rooms.values()
                if room.is_own
                for member in room.members
                if member.seat is not None and member.conversation is not None
            ),
            "ended": dict(self.ended),
        }
