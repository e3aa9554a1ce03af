"""Who watches the list of matches, and what each was told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import structs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vinom.services.conversation import Conversation
from vinom.wire.envelope import encode_push
from vinom.wire.messages_rooms import ListRooms, MatchListUpdate, RoomFacts, RoomList
from vinom.wire.shared import Shared

#: How often is looked what changed, while anybody wants to know, seconds.
_PAUSE = 1.0
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
                self._next = self._clock.callLater(_PAUSE, self._tell)
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
        self._next = self._clock.callLater(_PAUSE, self._tell)
        found: dict[ListRooms, RoomList] = {}
        for asked, watching in tuple(self._watchers.items()):
            # A look goes through all matches. A hundred limits are not a hundred looks.
            whole = structs.replace(asked, limit=_MOST)
            if whole not in found:
                found[whole] = self._look(whole)
            listed = _by_id(found[whole].rooms[: asked.limit])
            # Most were told the same, and are told the same.
            messages: dict[int, Shared | None] = {}
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


def _news(told: _Listed, listed: _Listed) -> Shared | None:
    """Write what changed, if anything did."""
    changed = tuple(one for id, one in listed.items() if told.get(id) != one)
    gone = tuple(id for id in told if id not in listed)
    if not changed and not gone:
        return None
    return Shared(encode_push(MatchListUpdate(changed, gone)))
