"""
Which rooms there are: the list, those who watch it, and where strangers go.

Who watches the list of matches, and what each was told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from msgspec import structs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.conversation.conversation import Conversation
from vinom.errors import Code, Refused
from vinom.messages.envelope import encode_push
from vinom.messages.rooms import (
    ListRooms,
    MatchListUpdate,
    RoomFacts,
    RoomList,
    RoomListUpdate,
)
from vinom.rooms.room import LiveRoomSeats

#: Changes of half a second make one piece of news, seconds.
_PAUSE = 0.5
#: Most rooms in one update.
_CHUNK = 100
#: Who is behind by news of more rooms than this is sent away.
_MOST_LATE = 10_000

#: What somebody wants to know of: a game and a state, or any.
Filter = tuple[str | None, str | None]
#: A room, if it is still there, and its id.
Named = tuple[str, LiveRoomSeats | None]


class RoomIndex:
    """Find rooms by game and state without looking at the others."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._rooms: dict[tuple[str, str], dict[str, LiveRoomSeats]] = {}
        self._at: dict[str, tuple[str, str]] = {}
        self._open: dict[tuple[str, bytes], dict[str, LiveRoomSeats]] = {}
        self._watchers: dict[Filter, dict[Conversation, None]] = {}
        self._changed: dict[str, LiveRoomSeats] = {}
        # What those were not told who are behind: which rooms, for the newest wins.
        self._late: dict[Conversation, dict[str, None]] = {}
        self._next: IDelayedCall | None = None

    def add(self, room: LiveRoomSeats) -> None:
        """A room is new."""
        self.changed(room)

    def changed(self, room: LiveRoomSeats) -> None:
        """A room is not what it was."""
        if room.is_closed:
            return
        key = room.name, room.state
        before = self._at.get(room.room_id)
        if before != key:
            if before is not None:
                self._take(before, room.room_id)
            self._at[room.room_id] = key
            self._rooms.setdefault(key, {})[room.room_id] = room
        self._set_open(room, room.is_public and room.is_open)
        self._note(room)

    def remove(self, room: LiveRoomSeats) -> None:
        """A room is no more."""
        before = self._at.pop(room.room_id, None)
        if before is not None:
            self._take(before, room.room_id)
        self._set_open(room, False)
        self._note(room)

    def all_open(self, game: str, options: bytes) -> Iterable[LiveRoomSeats]:
        """Find the rooms that take anybody who wants these options, oldest first."""
        return self._open.get((game, options), {}).values()

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the rooms by game and state."""
        return {key: len(rooms) for key, rooms in self._rooms.items()}

    def answer(self, conversation: Conversation, asked: ListRooms) -> RoomList:
        """List rooms, and remember who wants to hear of changes."""
        if asked.watch is not None:
            self.forget(conversation)
        wanted = asked.game, asked.state
        if asked.watch:
            self._watchers.setdefault(wanted, {})[conversation] = None
        found = [rooms for key, rooms in self._rooms.items() if _fits(wanted, key)]
        return RoomList(
            tuple(room.facts() for room in islice(_chained(found), asked.limit)),
            sum(map(len, found)),
        )

    def forget(self, conversation: Conversation) -> None:
        """Somebody watches no more."""
        self._late.pop(conversation, None)
        for wanted, watching in tuple(self._watchers.items()):
            watching.pop(conversation, None)
            if not watching:
                del self._watchers[wanted]

    def stop(self) -> None:
        """Tell nobody anything any more."""
        self._watchers.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _take(self, key: tuple[str, str], room_id: str) -> None:
        rooms = self._rooms[key]
        rooms.pop(room_id, None)
        if not rooms:
            del self._rooms[key]

    def _set_open(self, room: LiveRoomSeats, is_open: bool) -> None:
        key = room.name, room.options
        if is_open:
            self._open.setdefault(key, {})[room.room_id] = room
        elif (rooms := self._open.get(key)) is not None:
            rooms.pop(room.room_id, None)
            if not rooms:
                del self._open[key]

    def _note(self, room: LiveRoomSeats) -> None:
        if not self._watchers:
            return
        self._changed[room.room_id] = room
        if self._next is None:
            self._next = self._clock.callLater(_PAUSE, self._tell)

    def _tell(self) -> None:
        self._next = None
        changed, self._changed = list(self._changed.values()), {}
        for wanted, watching in tuple(self._watchers.items()):
            mine = [
                (room.room_id, room)
                for room in changed
                if wanted[0] in (None, room.name)
            ]
            messages = _updates(wanted, mine)
            for conversation in tuple(watching):
                if conversation.is_behind or conversation in self._late:
                    self._leave_out(wanted, conversation, mine)
                    continue
                for message in messages:
                    conversation.pass_on(message)

    def _leave_out(
        self, wanted: Filter, conversation: Conversation, rooms: Sequence[Named]
    ) -> None:
        """Tell somebody who is behind later, and only how things are then."""
        late = self._late.get(conversation)
        if late is None:
            late = self._late[conversation] = {}
            conversation.when_caught_up(lambda: self._catch_up(wanted, conversation))
        late.update(dict.fromkeys(room_id for room_id, _ in rooms))
        if len(late) > _MOST_LATE:
            self.forget(conversation)
            conversation.end(
                Refused(Code.TOO_SLOW, "you do not read what you are sent")
            )

    def _catch_up(self, wanted: Filter, conversation: Conversation) -> None:
        """Tell what somebody missed, unless it watches something else by now."""
        if conversation not in self._watchers.get(wanted, ()):
            return
        late = self._late.pop(conversation, {})
        rooms = [(room_id, self._find(room_id)) for room_id in late]
        for message in _updates(wanted, rooms):
            conversation.pass_on(message)

    def _find(self, room_id: str) -> LiveRoomSeats | None:
        key = self._at.get(room_id)
        return None if key is None else self._rooms[key][room_id]


def _updates(wanted: Filter, rooms: Sequence[Named]) -> list[bytes]:
    """Write how these rooms are now."""
    return [
        encode_push(_update(wanted, rooms[start : start + _CHUNK]))
        for start in range(0, len(rooms), _CHUNK)
    ]


def _update(wanted: Filter, rooms: Sequence[Named]) -> RoomListUpdate:
    fitting, gone = [], []
    for room_id, room in rooms:
        if room is None or room.is_closed or not _fits(wanted, (room.name, room.state)):
            gone.append(room_id)
        else:
            fitting.append(room.facts())
    return RoomListUpdate(tuple(fitting), tuple(gone))


def _fits(wanted: Filter, key: tuple[str, str]) -> bool:
    return all(wish in (None, is_) for wish, is_ in zip(wanted, key, strict=True))


def _chained(found: list[dict[str, LiveRoomSeats]]) -> Iterator[LiveRoomSeats]:
    for rooms in found:
        yield from rooms.values()


#: How often is looked what changed, while anybody wants to know, seconds.
_MATCHES_PAUSE = 1.0
#: The most that anybody may ask for.
_MOST = 100

_Listed = Mapping[str, RoomFacts]


class MatchList:
    """
    Tells those who watch what changed in the list of matches.

    Matches come and change in many places, and none of these knows of lists. So
    one look a second, however many watch, compares with what they were told.

    :param look: answers a question, as for somebody who asks once.
    """

    def __init__(
        self, clock: IReactorTime, look: Callable[[ListRooms], RoomList]
    ) -> None:
        self._clock, self._look = clock, look
        self._watchers: dict[ListRooms, dict[Conversation, _Listed]] = {}
        self._next: IDelayedCall | None = None

    def answer(self, conversation: Conversation, asked: ListRooms) -> RoomList:
        """List matches, and remember who wants to hear of changes."""
        found = self._look(asked)
        if asked.watch is not None:
            self.forget(conversation)
        if asked.watch:
            watching = self._watchers.setdefault(asked, {})
            watching[conversation] = _by_id(found.rooms)
            if self._next is None:
                self._next = self._clock.callLater(_MATCHES_PAUSE, self._tell)
        return found

    def forget(self, conversation: Conversation) -> None:
        """Somebody watches no more."""
        for asked, watching in tuple(self._watchers.items()):
            watching.pop(conversation, None)
            if not watching:
                del self._watchers[asked]
        if not self._watchers:
            self.stop()

    def stop(self) -> None:
        """Tell nobody anything any more."""
        self._watchers.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tell(self) -> None:
        self._next = self._clock.callLater(_MATCHES_PAUSE, self._tell)
        found: dict[ListRooms, RoomList] = {}
        for asked, watching in tuple(self._watchers.items()):
            # A look goes through all matches. A hundred limits are not a hundred looks.
            whole = structs.replace(asked, limit=_MOST)
            if whole not in found:
                found[whole] = self._look(whole)
            listed = _by_id(found[whole].rooms[: asked.limit])
            # Most were told the same, and are told the same.
            messages: dict[int, bytes | None] = {}
            for conversation, told in tuple(watching.items()):
                # Who is behind is told later, of all that changed until then.
                if conversation.is_behind:
                    continue
                if id(told) not in messages:
                    messages[id(told)] = _news(told, listed)
                message = messages[id(told)]
                watching[conversation] = listed
                if message is not None:
                    conversation.pass_on(message)


def _by_id(rooms: Iterable[RoomFacts]) -> _Listed:
    return {one.room_id: one for one in rooms}


def _news(told: _Listed, listed: _Listed) -> bytes | None:
    """Write what changed, if anything did."""
    changed = tuple(one for id, one in listed.items() if told.get(id) != one)
    gone = tuple(id for id in told if id not in listed)
    if not changed and not gone:
        return None
    return encode_push(MatchListUpdate(changed, gone))
