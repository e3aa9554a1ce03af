"""Rooms of other nodes, for players who are connected to this one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
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
from vinom.base.reactor.waits import Once
from vinom.errors import Code, NoCapacity, PeerError, Refused, StoreUnavailable
from vinom.lobby.conversation.conversation import Conversation, Membership
from vinom.net.nodes import (
    CAUGHT_UP,
    DEPARTED,
    SLOW,
    Departed,
    NodeChannel,
)

#: How long a node may take to answer a request about its rooms, seconds.
ANSWER_SECONDS = 5.0
#: How long a node may take to list its rooms, seconds.
LIST_SECONDS = 1.0
#: How many other nodes are asked for a room that takes anybody, or for seats.
_MOST_ASKED = 8
#: How many players at once ask one node for a list, or for a room that takes anybody;
#: others wait for their turn.
MOST_AT_ONCE = 32
#: For how long a list of a node is the answer to all who ask for it, seconds.
FRESH_SECONDS = 1.0
#: Most rooms that anybody may ask for.
_LONGEST_LIST = 100
#: Of which node what list is wanted.
_Wanted = tuple[str, ListRooms]
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

    async def list_rooms(self, node_id: str, request: ListRooms) -> RoomList:
        """
        Ask a node for a list of its rooms; nobody watches it.

        :raises NoCapacity: that node cannot be reached.
        """

    async def visit(self, node_id: str, player: Player, host: str) -> NodeChannel:
        """
        Open a channel for a player.

        :param host: the player's address.
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
        channel: NodeChannel,
        clock: IReactorTime,
        ended: Callable[[Visit], None],
    ) -> None:
        """
        :param conversation: the player's, with this node.
        :param channel: the player's, to the other one.
        :param clock: for answers that do not come.
        :param ended: called once.
        """
        self._conversation, self._clock, self._ended = conversation, clock, ended
        self._channel = channel
        channel.heard, channel.over = self.passed, self.over
        self._waiting: dict[str, Deferred[Told | Failed]] = {}
        self._rooms: set[str] = set()
        # Ids on the lists of that node that the player watches, by sort of list.
        self._watched: dict[_Update, set[str]] = {}
        # Updates that wait until the list is sent, which waits for other nodes.
        self._held: list[bytes] | None = None
        self._number = 0
        self._is_slow = self._is_over = False

    async def ask(self, request: Request) -> Push | None:
        """
        Have the other node answer a request.

        :returns: ``None`` if this sort is not answered.
        :raises Refused: it refuses, or does not answer.
        """
        if self._is_over:
            raise _unreachable("the node of this room is gone")
        if isinstance(request, Ack):
            self._channel.send(encode_request(request))
            return None
        self._number += 1
        id = f"{_OURS}{self._number}"
        answered: Deferred[Told | Failed] = Deferred()
        self._waiting[id] = answered
        self._channel.send(encode_request(request, id))
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
        self._channel.send(json.encode(envelope))

    # What the other node sends.

    def passed(self, message: bytes) -> None:
        """Send the player a message, or take the answer to a question."""
        if _MARK in message[:_FRONT]:
            # One that comes too late is nobody's.
            self._answer(message)
            return
        if message.startswith(DEPARTED):
            self._departed(json.decode(message, type=Departed).room_id)
            return
        if self._watched and message.startswith(_UPDATES):
            self._note_update(message)
            if self._held is not None:
                self._held.append(message)
                return
        conversation = self._conversation
        conversation.pass_on(message)
        if conversation.line.is_behind and not self._is_slow:
            self._is_slow = True
            self._channel.send(SLOW)
            conversation.when_caught_up(self._caught_up)

    def _departed(self, room_id: str) -> None:
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
            self._channel.end()
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
        self._channel.send(CAUGHT_UP)


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
        # Lists that were found lately, and when.
        self._found: dict[_Wanted, tuple[float, RoomList | None]] = {}
        self._once = Once(self._find_list)

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
        check_open(conversation)
        visit = self._visits.get(conversation, {}).get(node_id)
        if visit is None:
            host = conversation.host
            try:
                channel = await self._nodes.visit(node_id, player, host)
            except NoCapacity as error:
                raise _unreachable(str(error)) from None
            if not conversation.is_open:
                channel.end()
                check_open(conversation)
            ended = partial(self._ended, conversation, node_id)
            visit = Visit(conversation, channel, self._clock, ended)
            self._visits.setdefault(conversation, {})[node_id] = visit
        return await visit.ask(request)

    def _ended(self, conversation: Conversation, node_id: str, visit: Visit) -> None:
        visits = self._visits[conversation]
        del visits[node_id]
        if not visits:
            del self._visits[conversation]

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

        asked = structs.replace(request, watch=None, limit=_LONGEST_LIST)

        def asking(node_id: str) -> Coroutine[Any, Any, Push | None]:
            if request.watch or (request.watch is not None and node_id in watched):
                # Its updates are for this player.
                return self._ask_in_turn(node_id, conversation, player, request)
            return self._list_of((node_id, asked), request.limit)

        answers = [
            Deferred.fromCoroutine(asking(node_id)).addTimeout(
                LIST_SECONDS, self._clock
            )
            for node_id in await self._others()
        ]
        found = await DeferredList(answers, consumeErrors=True)
        return [push for _, push in found if isinstance(push, RoomList)]

    async def _list_of(self, wanted: _Wanted, limit: int) -> RoomList | None:
        """Find the list of a node: the same question of many is asked once."""
        at, found = self._found.get(wanted, (-inf, None))
        # A clock of the day may go back.
        if not at <= self._clock.seconds() < at + FRESH_SECONDS:
            found = await self._once(wanted)
        if found is None:
            return None
        return structs.replace(found, rooms=found.rooms[:limit])

    async def _find_list(self, wanted: _Wanted) -> RoomList | None:
        found = None
        with suppress(NoCapacity):
            found = await self._nodes.list_rooms(*wanted)
        now = self._clock.seconds()
        for old, (at, _) in tuple(self._found.items()):
            if not at <= now < at + FRESH_SECONDS:
                del self._found[old]
        self._found[wanted] = now, found
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
        for node_id in await self._some():
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

    async def seats(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """Have a running room of another node keep seats; its id, or nothing."""
        for node_id in await self._some():
            with suppress(NoCapacity):
                found = await self._nodes.ask_seats(node_id, game, options, player_ids)
                if found:
                    return found
        return ""

    async def _others(self) -> Sequence[str]:
        try:
            return await self._nodes.others()
        except StoreUnavailable:
            return ()

    async def _some(self) -> Sequence[str]:
        """List a few of the others; not always the same ones first."""
        others = await self._others()
        self._turn += 1
        turn = self._turn % max(1, len(others))
        return (*others[turn:], *others[:turn])[:_MOST_ASKED]

    def lost(self, conversation: Conversation) -> None:
        """A player's line is closed; the player may come back to its rooms."""
        for visit in tuple(self._visits.get(conversation, {}).values()):
            visit.end()


def check_open(conversation: Conversation) -> None:
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
