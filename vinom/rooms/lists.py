"""
Which rooms there are: the lists of rooms and of matches, and who watches them; and the
rooms in which a player has a seat, for `MyGames`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Generic, TypeVar

from msgspec import structs
from twisted.internet.interfaces import IReactorTime

from vinom.base.messages.envelope import encode_push
from vinom.base.messages.rooms import (
    ListRooms,
    MatchListUpdate,
    OwnGame,
    RoomFacts,
    RoomList,
    RoomListUpdate,
    RoomSeat,
)
from vinom.base.reactor.alarm import Timer
from vinom.errors import Code, Refused
from vinom.lobby.conversation.conversation import Conversation
from vinom.play.hosting.checkpoints import Checkpoint
from vinom.play.hosting.host import RoomHost
from vinom.rooms.room import NodeRoom
from vinom.rooms.seating import Member

#: Changes of half a second make one update of the list of rooms, seconds.
_PAUSE = 0.5
#: How often the list of matches is compared while anybody watches it, seconds.
_MATCHES_PAUSE = 1.0
#: Most rooms in one update.
_CHUNK = 100
#: A watcher who is behind by news of more rooms than this is disconnected.
_MOST_LATE = 10_000
#: Most matches that anybody may ask for.
_MOST = 100

#: Which rooms somebody watches: a game and a state, or any.
Filter = tuple[str | None, str | None]
#: A room's id, and the room if it is still there.
Named = tuple[str, NodeRoom | None]
#: What somebody was sent of the list of matches.
_Listed = Mapping[str, RoomFacts]

_Wish = TypeVar("_Wish")
_Known = TypeVar("_Known")


class Watchers(Generic[_Wish, _Known]):
    """
    Those who watch a list, by what they asked for, and the timer of its updates.

    :ivar known: by wish and watcher, what the list remembers of a watcher.
    """

    def __init__(
        self, clock: IReactorTime, pause: float, report: Callable[[], None]
    ) -> None:
        """
        Begin without watchers.

        :param clock: rings.
        :param pause: between a change and its update, seconds.
        :param report: sends the updates.
        """
        self.known: dict[_Wish, dict[Conversation, _Known]] = {}
        self._clock, self._pause, self._report = clock, pause, report
        self._next = Timer(self._clock)

    def add(self, wish: _Wish, conversation: Conversation, known: _Known) -> None:
        """Send somebody updates from now on."""
        self.known.setdefault(wish, {})[conversation] = known

    def remove(self, conversation: Conversation) -> None:
        """Send somebody no more updates."""
        for wish, watching in tuple(self.known.items()):
            watching.pop(conversation, None)
            if not watching:
                del self.known[wish]
        if not self.known:
            self.stop()

    def stop(self) -> None:
        """Send nobody anything any more."""
        self.known.clear()
        self._next.cancel()

    def report_soon(self) -> None:
        """Send updates after the pause, if anybody watches."""
        if self.known:
            self._next.ensure(self._pause, self._report)


class RoomIndex:
    """Find rooms by game and state without looking at the others."""

    def __init__(self, clock: IReactorTime) -> None:
        """
        Begin without rooms.

        :param clock: rings.
        """
        self._rooms: dict[tuple[str, str], dict[str, NodeRoom]] = {}
        # Rooms that are counted, but not listed.
        self._hidden: dict[tuple[str, str], dict[str, NodeRoom]] = {}
        self._at: dict[str, tuple[str, str]] = {}
        self._open: dict[tuple[str, bytes], dict[str, NodeRoom]] = {}
        self._changed: dict[str, NodeRoom] = {}
        # What it remembers of a watcher who is behind: which rooms it was not sent.
        self._watchers: Watchers[Filter, dict[str, None]] = Watchers(
            clock, _PAUSE, self._report
        )

    def changed(self, room: NodeRoom) -> None:
        """A room is new, or not what it was; it has not closed."""
        key = room.name, room.state
        before = self._at.get(room.room_id)
        if before != key:
            if before is not None:
                self._take(before, room)
            self._at[room.room_id] = key
            self._of(room).setdefault(key, {})[room.room_id] = room
        self._set_open(room, room.is_public and room.is_open)
        self._note(room)

    def remove(self, room: NodeRoom) -> None:
        """A room has closed."""
        before = self._at.pop(room.room_id, None)
        if before is not None:
            self._take(before, room)
        self._set_open(room, False)
        self._note(room)

    def all_open(self, game: str, options: bytes) -> Iterable[NodeRoom]:
        """Find the rooms that take anybody who wants these options, oldest first."""
        return self._open.get((game, options), {}).values()

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the rooms by game and state."""
        counts = Counter({key: len(rooms) for key, rooms in self._rooms.items()})
        counts.update({key: len(rooms) for key, rooms in self._hidden.items()})
        return counts

    def answer(self, conversation: Conversation | None, asked: ListRooms) -> RoomList:
        """List rooms, and remember who wants to be sent changes."""
        wanted = asked.game, asked.state
        if conversation is not None and asked.watch is not None:
            self.forget(conversation)
        if conversation is not None and asked.watch:
            self._watchers.add(wanted, conversation, {})
        found = [rooms for key, rooms in self._rooms.items() if _fits(wanted, key)]
        rooms = chain.from_iterable(each.values() for each in found)
        return RoomList(
            tuple(room.policy.facts(room) for room in islice(rooms, asked.limit)),
            sum(map(len, found)),
        )

    def forget(self, conversation: Conversation) -> None:
        """Somebody watches no more."""
        self._watchers.remove(conversation)
        if not self._watchers.known:
            self._changed.clear()

    def stop(self) -> None:
        """Send nobody anything any more."""
        self._watchers.stop()

    def _of(self, room: NodeRoom) -> dict[tuple[str, str], dict[str, NodeRoom]]:
        return self._rooms if room.is_listed else self._hidden

    def _take(self, key: tuple[str, str], room: NodeRoom) -> None:
        known = self._of(room)
        rooms = known[key]
        rooms.pop(room.room_id, None)
        if not rooms:
            del known[key]

    def _set_open(self, room: NodeRoom, is_open: bool) -> None:
        key = room.name, room.options
        if is_open:
            self._open.setdefault(key, {})[room.room_id] = room
        elif (rooms := self._open.get(key)) is not None:
            rooms.pop(room.room_id, None)
            if not rooms:
                del self._open[key]

    def _note(self, room: NodeRoom) -> None:
        if self._watchers.known and room.is_listed:
            self._changed[room.room_id] = room
            self._watchers.report_soon()

    def _report(self) -> None:
        changed, self._changed = list(self._changed.values()), {}
        for wanted, watching in tuple(self._watchers.known.items()):
            mine: list[Named] = [
                (room.room_id, room)
                for room in changed
                if wanted[0] in (None, room.name)
            ]
            messages = _updates(wanted, mine)
            for conversation, late in tuple(watching.items()):
                if conversation.line.is_behind or late:
                    self._leave_out(wanted, conversation, late, mine)
                    continue
                for message in messages:
                    conversation.pass_on(message)

    def _leave_out(
        self,
        wanted: Filter,
        conversation: Conversation,
        late: dict[str, None],
        rooms: Sequence[Named],
    ) -> None:
        """Send somebody who is behind an update later, of how things are then."""
        if rooms and not late:
            conversation.when_caught_up(partial(self._catch_up, wanted, conversation))
        late.update(dict.fromkeys(room_id for room_id, _ in rooms))
        if len(late) > _MOST_LATE:
            self.forget(conversation)
            conversation.end(
                Refused(Code.TOO_SLOW, "you do not read what you are sent")
            )

    def _catch_up(self, wanted: Filter, conversation: Conversation) -> None:
        """Send what somebody missed, unless it watches something else by now."""
        late = self._watchers.known.get(wanted, {}).get(conversation)
        if not late:
            return
        rooms = [(room_id, self._find(room_id)) for room_id in late]
        late.clear()
        for message in _updates(wanted, rooms):
            conversation.pass_on(message)

    def _find(self, room_id: str) -> NodeRoom | None:
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
        if (
            room is None
            or room.round.is_closed
            or not _fits(wanted, (room.name, room.state))
        ):
            gone.append(room_id)
        else:
            fitting.append(room.policy.facts(room))
    return RoomListUpdate(tuple(fitting), tuple(gone))


def _fits(wanted: Filter, key: tuple[str, str]) -> bool:
    return all(wish in (None, is_) for wish, is_ in zip(wanted, key, strict=True))


class MatchList:
    """
    Send those who watch what changed in the list of matches.

    Matches come and change in many places, and none of these knows of lists. So one
    look per second, however many watch, compares with what they were sent.
    """

    def __init__(
        self, clock: IReactorTime, look: Callable[[ListRooms], RoomList]
    ) -> None:
        """
        Begin without watchers.

        :param clock: rings.
        :param look: answers a question, as for somebody who asks once.
        """
        self._look = look
        # What it remembers of a watcher: what that was sent.
        self._watchers: Watchers[ListRooms, _Listed] = Watchers(
            clock, _MATCHES_PAUSE, self._report
        )

    def answer(self, conversation: Conversation | None, asked: ListRooms) -> RoomList:
        """List matches, and remember who wants to be sent changes."""
        found = self._look(asked)
        if conversation is not None and asked.watch is not None:
            self.forget(conversation)
        if conversation is not None and asked.watch:
            self._watchers.add(asked, conversation, _by_id(found.rooms))
            self._watchers.report_soon()
        return found

    def forget(self, conversation: Conversation) -> None:
        """Somebody watches no more."""
        self._watchers.remove(conversation)

    def stop(self) -> None:
        """Send nobody anything any more."""
        self._watchers.stop()

    def _report(self) -> None:
        self._watchers.report_soon()
        found: dict[ListRooms, RoomList] = {}
        for asked, watching in tuple(self._watchers.known.items()):
            # A look goes through all matches. A hundred limits are not a hundred looks.
            whole = structs.replace(asked, limit=_MOST)
            if whole not in found:
                found[whole] = self._look(whole)
            listed = _by_id(found[whole].rooms[: asked.limit])
            # Most were sent the same, and are sent the same.
            messages: dict[int, bytes | None] = {}
            for conversation, sent in tuple(watching.items()):
                # One who is behind is sent later all that changed until then.
                if conversation.line.is_behind:
                    continue
                if id(sent) not in messages:
                    messages[id(sent)] = _news(sent, listed)
                message = messages[id(sent)]
                watching[conversation] = listed
                if message is not None:
                    conversation.pass_on(message)


def _by_id(rooms: Iterable[RoomFacts]) -> _Listed:
    return {one.room_id: one for one in rooms}


def _news(sent: _Listed, listed: _Listed) -> bytes | None:
    """Write what changed, if anything did."""
    changed = tuple(one for id, one in listed.items() if sent.get(id) != one)
    gone = tuple(id for id in sent if id not in listed)
    if not changed and not gone:
        return None
    return encode_push(MatchListUpdate(changed, gone))


def live_game(room: NodeRoom, member: Member) -> OwnGame:
    """
    Describe a room of this node.

    :param member: has a seat there.
    """
    played, left, seat = room.round.played, None, member.seat or 0
    turns: tuple[int, ...] = ()
    if isinstance(played, RoomHost) and room.state == "playing":
        play = played.room.play
        turns = play.turns
        if play.due is not None:
            left = play.due - played.room.match_time(room.context.seconds())
    return OwnGame(
        room.room_id,
        room.name,
        room.state,
        seat,
        room.seating.players(),
        seat in turns,
        None if left is None else round(max(0.0, left), 3),
        room.round.is_lasting,
    )


def kept_game(kept: Checkpoint, age: float, player_id: str) -> OwnGame | None:
    """
    Describe a room from its checkpoint; ``None`` if the player has no seat there.

    :param age: of the checkpoint, seconds.
    """
    seat = next((one.seat for one in kept.members if one.player_id == player_id), None)
    return None if seat is None else kept_room(kept, age, seat)


def kept_room(kept: Checkpoint, age: float, seat: int = -1) -> OwnGame:
    """
    Describe a room from its checkpoint.

    :param age: of the checkpoint, seconds.
    :param seat: of the player who asks.
    """
    play, left, state = kept.play, None, "gathering"
    turns: tuple[int, ...] = ()
    if play is not None:
        is_over = play.linger is not None
        state = "over" if is_over else "playing"
        turns = () if is_over else play.turns
        if play.due is not None and not is_over:
            left = round(max(0.0, play.due - play.time - age), 3)
    players = [
        *(
            RoomSeat(one.seat, one.name, one.player_id, "away", one.team)
            for one in kept.members
        ),
        *(RoomSeat(number, name, "", "bot") for number, name in kept.bots),
    ]
    players.sort(key=lambda one: one.seat)
    return OwnGame(
        kept.room_id, kept.game, state, seat, tuple(players), seat in turns, left, True
    )
