"""Rooms of other nodes, for players who are connected to this one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any, Protocol

import attrs
from msgspec import json, structs
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
    TimeoutError,
)
from twisted.internet.interfaces import IReactorTime

from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import (
    Envelope,
    Failed,
    Push,
    Request,
    Told,
    encode_request,
)
from vinom.base.messages.lobby import Moved, Reach
from vinom.base.messages.rooms import (
    Ack,
    JoinRoom,
    JoinRoomResult,
    LeaveRoom,
    ListRooms,
    MatchListUpdate,
    Reconnect,
    ReconnectResult,
    RoomList,
    RoomListUpdate,
)
from vinom.base.model import Player
from vinom.errors import Code, NoCapacity, PeerError, Refused, StoreUnavailable
from vinom.lobby.conversation.conversation import Conversation, Membership
from vinom.net.nodes import Guest, GuestWire

#: How long a node may take to answer a request about its rooms, seconds.
ANSWER_SECONDS = 5.0
#: How long a node may take to list its rooms, seconds.
LIST_SECONDS = 1.0
#: How many other nodes are asked for a room that takes anybody.
_MOST_ASKED = 8
#: How many players at once ask one node for a list, or for a room that takes anybody;
#: others wait for their turn.
MOST_AT_ONCE = 32
#: For how long a list of a node is the answer to all who ask for it, seconds.
FRESH_SECONDS = 1.0
#: Most rooms that anybody may ask for.
_LONGEST_LIST = 100
#: What is asked for: a node, a game, a state, and whether it is matches.
_Wanted = tuple[str, str | None, str | None, bool]
_Update = type[RoomListUpdate] | type[MatchListUpdate]
_UPDATES = (b'{"type":"room_list_update"', b'{"type":"match_list_update"')
#: What the ids of our own questions begin with. They are encoded near the front.
_OURS = "visit-"
_MARK, _FRONT = b'"id":"visit-', 100


class Nodes(Protocol):
    """Reaches other nodes: `vinom.node.links.NodeLinks`."""

    async def others(self) -> Sequence[str]:
        """
        List the ids of the others.

        :raises StoreUnavailable: it is not known.
        """

    async def ask_seats(
        self, node_id: str, game: str, options: bytes, player_ids: Sequence[str]
    ) -> str:
        """
        Ask a node to keep seats of a running room; empty if no room has as many.

        :raises NoCapacity: that node cannot be reached.
        """

    async def address(self, node_id: str, reach: Reach) -> str:
        """Find where players reach a node directly; empty if they do not."""

    async def visit(
        self, node_id: str, player: Player, host: str, guest: Guest
    ) -> GuestWire:
        """
        Begin a visit of a player.

        :raises NoCapacity: that node cannot be reached.
        """


@attrs.frozen(eq=False)
class VisitedRoom:
    """
    A room of another node, in place of a `vinom.rooms.room.NodeRoom`.

    :ivar room_id: its id.
    :ivar visit: by which its player is there.
    """

    room_id: str
    visit: Visit

    def act(self, member: Any, envelope: Envelope) -> None:
        """Pass on what the player does."""
        self.visit.act(structs.replace(envelope, room_id=self.room_id))


class Visit:
    """One player at one other node."""

    def __init__(
        self,
        conversation: Conversation,
        clock: IReactorTime,
        ended: Callable[[Visit], None],
    ) -> None:
        """
        :param conversation: the player's, with this node.
        :param clock: for answers that do not come.
        :param ended: called once.
        """
        self._conversation, self._clock, self._ended = conversation, clock, ended
        self._wire: GuestWire | None = None
        self._waiting: dict[str, Deferred[Told | Failed]] = {}
        self._rooms: set[str] = set()
        # Ids on the lists of that node that the player watches, by sort of list.
        self._watched: dict[_Update, set[str]] = {}
        # Updates that wait until the list is sent, which waits for other nodes.
        self._held: list[bytes] | None = None
        self._number = 0
        self._is_slow = self._is_over = False

    def begin(self, wire: GuestWire) -> None:
        """The other node can be reached."""
        self._wire = wire
        if self._is_over:
            wire.end()

    async def ask(self, request: Request) -> Push | None:
        """
        Have the other node answer a request.

        :returns: ``None`` if this sort is not answered.
        :raises Refused: it refuses, or does not answer.
        """
        if self._wire is None or self._is_over:
            raise _unreachable("the node of this room is gone")
        if isinstance(request, Ack):
            self._wire.say(encode_request(request))
            return None
        self._number += 1
        id = f"{_OURS}{self._number}"
        answered: Deferred[Told | Failed] = Deferred()
        self._waiting[id] = answered
        self._wire.say(encode_request(request, id))
        try:
            answer = await answered.addTimeout(ANSWER_SECONDS, self._clock)
        except (TimeoutError, CancelledError) as error:
            self._waiting.pop(id, None)
            self._give_up(request)
            if isinstance(error, CancelledError):
                raise
            raise _unreachable("the node of this room does not answer") from None
        if isinstance(answer, Failed):
            self._end_if_unused()
            raise _as_refused(answer)
        push = answer.push
        if isinstance(request, ListRooms) and isinstance(push, RoomList):
            self._note_watched(request, push)
        if isinstance(push, JoinRoomResult | ReconnectResult):
            self._rooms.add(push.room_id)
            membership = Membership(VisitedRoom(push.room_id, self), None)
            self._conversation.entered(push.room_id, membership)
        else:
            self._end_if_unused()
        return push

    def _give_up(self, request: Request) -> None:
        """No answer came: whether it was done is not known."""
        if not self._rooms:
            # With the visit it is undone.
            self.end()
        elif isinstance(request, JoinRoom | Reconnect | LeaveRoom):
            # The player learns where it is by coming back.
            self._conversation.end(
                Refused(Code.UNAVAILABLE, "a room's node does not answer; come back")
            )

    def release(self) -> None:
        """Pass on the updates of a list that came before the list itself was sent."""
        held, self._held = self._held, None
        for message in held or ():
            self._conversation.pass_on(message)

    def act(self, envelope: Envelope) -> None:
        """Pass on an action."""
        if self._wire is not None:
            self._wire.say(json.encode(envelope))

    # Calls of the link.

    def passed(self, message: bytes) -> None:
        """Send the player a message, or take the answer to a question."""
        if _MARK in message[:_FRONT]:
            # One that comes too late is nobody's.
            self._answer(message)
            return
        if self._watched and message.startswith(_UPDATES):
            self._note_update(message)
            if self._held is not None:
                self._held.append(message)
                return
        conversation = self._conversation
        conversation.pass_on(message)
        if conversation.line.is_behind and not self._is_slow and self._wire is not None:
            self._is_slow = True
            self._wire.slowed(True)
            conversation.when_caught_up(self._caught_up)

    def departed(self, room_id: str) -> None:
        """The player is no longer in a room."""
        if room_id in self._rooms:
            self._rooms.discard(room_id)
            self._conversation.departed(room_id)
            self._end_if_unused()

    def over(self, code: str, reason: str) -> None:
        """The visit has ended: so does the line, for it would miss what happens."""
        rooms = bool(self._rooms)
        for sort, listed in self._watched.items():
            if not rooms and listed:
                self._conversation.send(sort((), tuple(listed)))
        self._watched.clear()
        self._finish()
        if code and rooms:
            self._conversation.end(_as_refused(Failed(code, reason, {})))

    # The rest.

    def end(self) -> None:
        """End it: the player's line is closed, or needs it no longer."""
        if not self._is_over:
            if self._wire is not None:
                self._wire.end()
            self._finish()

    def _finish(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        rooms, self._rooms = self._rooms, set()
        for room_id in rooms:
            self._conversation.departed(room_id)
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.errback(_unreachable("the node of this room is gone"))
        self._ended(self)

    def _end_if_unused(self) -> None:
        if not (self._rooms or self._waiting or self._watched):
            self.end()

    def _note_watched(self, request: ListRooms, found: RoomList) -> None:
        """Note what the player sees of that node's list: it may be lost."""
        sort: _Update = MatchListUpdate if request.matches else RoomListUpdate
        if request.watch:
            self._held = self._held or []
            self._watched[sort] = {room.room_id for room in found.rooms}
        elif request.watch is not None:
            self._watched.pop(sort, None)

    def _note_update(self, message: bytes) -> None:
        try:
            update = decode_answer(message)
        except PeerError:
            return
        if isinstance(update, Told) and isinstance(
            update.push, RoomListUpdate | MatchListUpdate
        ):
            listed = self._watched.get(type(update.push))
            if listed is not None:
                listed.update(room.room_id for room in update.push.changed)
                listed.difference_update(update.push.gone)

    def _answer(self, message: bytes) -> None:
        try:
            answer = decode_answer(message)
        except PeerError:
            return
        if answer is not None and answer.id in self._waiting:
            self._waiting.pop(str(answer.id)).callback(answer)

    def _caught_up(self) -> None:
        self._is_slow = False
        if self._wire is not None and not self._is_over:
            self._wire.slowed(False)


class Visits:
    """All visits of this node's players to others."""

    def __init__(self, nodes: Nodes, clock: IReactorTime) -> None:
        """
        :param nodes: reaches other nodes.
        :param clock: for answers that do not come.
        """
        self._nodes, self._clock = nodes, clock
        self._visits: dict[Conversation, dict[str, Visit]] = {}
        self._turn = 0
        self._turns: dict[str, DeferredSemaphore] = {}
        # Lists that were found lately, when, and who waits for the same one.
        self._found: dict[_Wanted, tuple[float, RoomList | None]] = {}
        self._wanted: dict[_Wanted, list[Deferred[None]]] = {}

    async def ask(
        self,
        node_id: str,
        conversation: Conversation,
        player: Player,
        request: Request,
    ) -> Push | None:
        """
        Have another node answer a player's request about one of its rooms.

        :raises Refused: it refuses, or cannot be reached.
        """
        _check_open(conversation)
        visits = self._visits.setdefault(conversation, {})
        visit = visits.get(node_id)
        if visit is None:

            def ended(visit: Visit) -> None:
                if visits.get(node_id) is visit:
                    del visits[node_id]
                if not visits and self._visits.get(conversation) is visits:
                    del self._visits[conversation]

            visit = visits[node_id] = Visit(conversation, self._clock, ended)
            try:
                visit.begin(
                    await self._nodes.visit(node_id, player, conversation.host, visit)
                )
            except NoCapacity as error:
                visit.end()
                raise _unreachable(str(error)) from None
            except CancelledError:
                visit.end()
                raise
            if not conversation.is_open:
                visit.end()
                _check_open(conversation)
        return await visit.ask(request)

    async def moved(
        self, node_id: str, conversation: Conversation, room_id: str
    ) -> Moved | None:
        """
        Send a player to the node of its room, if the client goes there.

        :returns: ``None``: the player is served through the link. So is one with
            another room here, which it would lose.
        """
        if conversation.moves is None or conversation.memberships:
            return None
        address = await self._nodes.address(node_id, conversation.moves)
        return Moved(address, room_id) if address else None

    async def list_rooms(
        self, conversation: Conversation, player: Player, request: ListRooms
    ) -> list[RoomList]:
        """Ask all other nodes for their lists; who does not answer is left out."""
        watched = self._visits.get(conversation, {})

        def asking(node_id: str) -> Coroutine[Any, Any, Push | None]:
            if request.watch or (request.watch is not None and node_id in watched):
                # Its updates are for this player.
                return self._ask_in_turn(node_id, conversation, player, request)
            return self._list_of(node_id, conversation, player, request)

        asked = [
            Deferred.fromCoroutine(asking(node_id)).addTimeout(
                LIST_SECONDS, self._clock
            )
            for node_id in await self._reachable()
        ]
        found = await DeferredList(asked, consumeErrors=True)
        return [push for _, push in found if isinstance(push, RoomList)]

    async def _list_of(
        self,
        node_id: str,
        conversation: Conversation,
        player: Player,
        request: ListRooms,
    ) -> RoomList | None:
        """Find the list of a node: the same question of many is asked once."""
        wanted = node_id, request.game, request.state, request.matches
        while True:
            at, found = self._found.get(wanted, (-inf, None))
            # A clock of the day may go back.
            if at <= self._clock.seconds() < at + FRESH_SECONDS:
                break
            waiting = self._wanted.get(wanted)
            if waiting is None:
                found = await self._find_list(wanted, conversation, player, request)
                break
            other: Deferred[None] = Deferred()
            waiting.append(other)
            await other
        if found is None:
            return None
        return structs.replace(found, rooms=found.rooms[: request.limit])

    async def _find_list(
        self,
        wanted: _Wanted,
        conversation: Conversation,
        player: Player,
        request: ListRooms,
    ) -> RoomList | None:
        self._wanted[wanted] = []
        found = None
        asked = structs.replace(request, watch=None, limit=_LONGEST_LIST)
        try:
            push = await self._ask_in_turn(wanted[0], conversation, player, asked)
            found = push if isinstance(push, RoomList) else None
        finally:
            now = self._clock.seconds()
            for old, (at, _) in tuple(self._found.items()):
                if not at <= now < at + FRESH_SECONDS:
                    del self._found[old]
            if conversation.is_open:
                # Else it is not the node that did not answer.
                self._found[wanted] = now, found
            for other in self._wanted.pop(wanted):
                other.callback(None)
        return found

    async def _ask_in_turn(
        self,
        node_id: str,
        conversation: Conversation,
        player: Player,
        request: Request,
    ) -> Push | None:
        """Do as `ask`, when few enough others ask this node just now."""
        turns = self._turns.setdefault(node_id, DeferredSemaphore(MOST_AT_ONCE))
        await turns.acquire()
        try:
            return await self.ask(node_id, conversation, player, request)
        finally:
            turns.release()
            if turns.tokens == turns.limit and self._turns.get(node_id) is turns:
                del self._turns[node_id]

    def release(self, conversation: Conversation) -> None:
        """A list was sent: updates of it follow from now on."""
        for visit in tuple(self._visits.get(conversation, {}).values()):
            visit.release()

    async def join_any(
        self, conversation: Conversation, player: Player, request: JoinRoom
    ) -> Push | None:
        """
        Join a room of another node that takes anybody; ``None`` if there is none.

        :raises Refused: one was found, and refused this player.
        """
        asked = structs.replace(request, create=False)
        others = await self._reachable()
        # Not always the same ones first.
        self._turn += 1
        turn = self._turn % max(1, len(others))
        for node_id in (*others[turn:], *others[:turn])[:_MOST_ASKED]:
            asking = Deferred.fromCoroutine(
                self._ask_in_turn(node_id, conversation, player, asked)
            )
            try:
                return await asking.addTimeout(LIST_SECONDS, self._clock)
            except TimeoutError:
                continue
            except Refused as refusal:
                if refusal.code not in (Code.NO_SUCH_ROOM, Code.BUSY):
                    raise
        return None

    async def _reachable(self) -> Sequence[str]:
        try:
            return await self._nodes.others()
        except StoreUnavailable:
            return ()

    def lost(self, conversation: Conversation) -> None:
        """A player's line is closed; the player may come back to its rooms."""
        for visit in tuple(self._visits.get(conversation, {}).values()):
            visit.end()


def _check_open(conversation: Conversation) -> None:
    """Refuse what a player asked whose line has closed: nobody would end the visit."""
    if not conversation.is_open:
        raise Refused(Code.TIMEOUT, "the line closed before the answer")


def _unreachable(why: str) -> Refused:
    return Refused(Code.BUSY, f"{why}; try again", {"retry_after": 1.0})


def _as_refused(answer: Failed) -> Refused:
    try:
        code = Code(answer.code)
    except ValueError:
        # Of a newer version.
        code = Code.INTERNAL
    return Refused(code, answer.message, answer.details)
