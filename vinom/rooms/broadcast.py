"""
What the members of a live room are told: states, newest wins, and news.

One state for many is written and framed once. Who reads slowly is sent no states
until it has caught up, and then the newest with the events it missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import attrs
from msgspec import Raw, json

from vinom.conversation.conversation import Line
from vinom.errors import Code, Refused
from vinom.game import Game
from vinom.hosting.host import PlayedRoom
from vinom.messages.envelope import Push, encode_push
from vinom.messages.merge import merge_diff
from vinom.messages.rooms import EventTold, RoomSeat
from vinom.play.views import Patches
from vinom.rooms.member import BotSeat, DialedSeat, Member

#: News of one room that are kept for those who are away or behind, and their bytes.
MOST_NEWS = 256
MOST_NEWS_BYTES = 64 * 1024

_encode = json.Encoder().encode


@attrs.frozen(slots=True)
class News:
    """
    One thing that must reach its members, now or later.

    :ivar number: rises within the room.
    :ivar to: the only seat that may know; ``None`` is everybody.
    :ivar is_event: of the game; it travels inside of a state.
    :ivar text: the message, or the event; JSON.
    :ivar but: the only member who need not know.
    """

    number: int
    to: int | None
    is_event: bool
    text: bytes
    but: Member | None = None


class LiveRoomOut:
    """
    What a live room shows and says.

    :ivar room: what is played; ``None`` before the start.
    :ivar live: the members who are connected, spectators too.
    :ivar number: of the latest news.
    """

    room_id: str
    game: Game[Any, Any]
    room: PlayedRoom | None
    live: list[Member]
    seats: list[Member | BotSeat | DialedSeat | None]
    number: int
    _before: int
    _acks: dict[str, int]
    _acks_text: bytes
    _news: deque[News]
    _news_bytes: int
    _forgotten: int
    _forgotten_event: int
    _fresh: list[News]
    _owed: list[Member]
    _patches: Patches | None
    _head: bytes
    _shown: int
    _plain: list[tuple[Line, Member]] | None
    _special: bool

    def __init__(self, room_id: str, game: Game[Any, Any]) -> None:
        self.room_id, self.game, self.room = room_id, game, None
        self.live, self.seats = [], []
        self.number = self._before = self._news_bytes = self._forgotten = 0
        self._forgotten_event = self._shown = 0
        self._acks, self._acks_text = {}, b"{}"
        self._news, self._fresh, self._owed = deque(), [], []
        self._patches = None
        # Who is sent the same as all others; found anew when somebody is not.
        self._plain, self._special = None, False
        self._head = (
            b'{"type":"game_state","success":true,"data":{"room_id":"%b","version":'
            % room_id.encode()
        )

    @property
    def version(self) -> int:
        """Count the changes of all that was played here; 0 before play begins."""
        return self._before + (0 if self.room is None else self.room.version)

    def players(self) -> tuple[RoomSeat, ...]:
        """Tell who sits where."""
        return tuple(who.as_listed() for who in self.seats if who is not None)

    def setup(self) -> Raw:
        """Show what never changes; null if there is nothing."""
        return Raw(b"null" if self.room is None else self.room.setup_json() or b"null")

    # States.

    def acknowledge(self, seat: int, id: int) -> None:
        """An action was applied."""
        self._acks[str(seat)] = id
        self._acks_text = b""

    def show(self, now: float) -> None:
        """Send everybody the newest state."""
        room = self.room
        if room is None or not (version := room.version):
            return
        version += self._before
        owed, fresh = self._owed, self._fresh
        if owed:
            # Once each, however often somebody wanted to be told.
            owed, self._owed = list(dict.fromkeys(owed)), []
            for member in owed:
                self.show_one(member, now)
        if version == self._shown and not fresh:
            return
        self._shown = version
        time, acks = room.match_time(now), self._acks_text or self._write_acks()
        if owed or fresh or self._plain is None or self._special:
            self._fresh = []
            state = b'%b%d,"time":%.3f,"ack":%b,"events":[' % (
                self._head,
                version,
                time,
                acks,
            )
            self._show_each(room, state, version, owed, fresh)
            return
        view = room.view_json("all")
        if not view:
            return
        shared = b'%b%d,"time":%.3f,"ack":%b,"events":[],"view":%b}}' % (
            self._head,
            version,
            time,
            acks,
            view,
        )
        # What happens most: everybody gets the same, and nothing but the state.
        for line, member in self._plain:
            if line.is_behind:
                self._skip(member)
            else:
                line.send(shared)

    def sort_members(self) -> None:
        """Somebody came, went, or is shown otherwise than before."""
        self._plain = None

    def _show_each(
        self,
        room: PlayedRoom,
        state: bytes,
        version: int,
        owed: list[Member],
        fresh: list[News],
    ) -> None:
        """Send everybody a state that is not the same for all."""
        has_one = room.has_one_audience
        public = b",".join([news.text for news in fresh if news.to is None])
        is_private = any(news.to is not None for news in fresh)
        made: dict[tuple[Hashable, int], bytes] = {}
        audience: Hashable = "all"
        plain: list[tuple[Line, Member]] = []
        special = False
        for member in tuple(self.live):
            line = member.line
            if line is None:
                continue
            if line.is_behind or member.skipped:
                special = True
                self._skip(member)
                continue
            if not has_one:
                audience = room.audience_of(member.seat)
                member.look_as(audience, version)
            if has_one and not member.seen:
                plain.append((line, member))
            else:
                special = True
            if owed and member in owed:
                continue
            if fresh:
                member.note_sent(self.number)
            if is_private:
                told = [n.text for n in fresh if n.to is None or n.to == member.seat]
                shown = self._view_for(room, member, version)
                if not shown:
                    return
                line.send(b"%b%b],%b}}" % (state, b",".join(told), shown))
            else:
                key = audience, member.seen
                shared = made.get(key)
                if shared is None:
                    shown = self._view_for(room, member, version)
                    if not shown:
                        return
                    shared = made[key] = b"%b%b],%b}}" % (state, public, shown)
                line.send(shared)
            if fresh:
                member.events_told = self.number
        self._plain, self._special = plain, special

    def _write_acks(self) -> bytes:
        self._acks_text = _encode(self._acks)
        return self._acks_text

    def _view_for(self, room: PlayedRoom, member: Member, version: int) -> bytes:
        """Write the view for a member, as a patch where that is shorter."""
        audience = member.audience
        view = room.view_json(audience)
        if not view or not member.seen or self._patches is None:
            return b'"view":%b' % view if view else b""
        patch = self._patches.patch(audience, member.seen, version, view)
        self._patches.keep(audience, version, view)
        if patch is None:
            return b'"view":%b' % view
        return b'"base":%d,"patch":%b' % (member.seen, patch)

    def show_one(self, member: Member, now: float) -> None:
        """Send one member the newest state, with all the events that it missed."""
        room = self.room
        if room is None or not room.version or member.line is None:
            return
        if member.line.is_behind:
            self._skip(member)
            return
        version, since = self._before + room.version, member.events_told
        member.look_as(room.audience_of(member.seat), version)
        shown = self._view_for(room, member, version)
        if not shown:
            return
        events = b",".join(
            [
                news.text
                for news in self._news
                if news.is_event
                and news.number > since
                and news.to in (None, member.seat)
            ]
        )
        if events:
            member.note_sent(self.number)
        skipped, member.skipped = member.skipped, 0
        more = b',"skipped":%d' % skipped if skipped else b""
        member.line.send(
            b'%b%d,"time":%.3f,"ack":%b,"events":[%b],%b%b}}'
            % (
                self._head,
                version,
                room.match_time(now),
                self._acks_text or self._write_acks(),
                events,
                shown,
                more,
            )
        )
        member.events_told = self.number
        self._plain = None

    def _skip(self, member: Member) -> None:
        """Leave a state out, for one who is behind."""
        conversation = member.conversation
        if conversation is None:
            return
        if not member.skipped:
            conversation.when_caught_up(member.caught_up)
            self._plain = None
        member.skipped += 1
        if self._forgotten_event > member.events_told:
            # No event is lost in silence: it comes back, and learns how many were.
            # Not now: its game is told, and the others are to see one state all.
            no = Refused(Code.TOO_SLOW, "you do not read what you are sent")
            self._when_shown(lambda: conversation.end(no))

    def _when_shown(self, call: Callable[[], None]) -> None:
        """Do *call* when everybody was sent the state."""
        raise NotImplementedError

    def saw(self, member: Member, seen: int) -> None:
        """A member says which version it has."""
        if seen < member.floor or seen > self.version or seen < member.seen:
            return
        member.seen = seen
        self._plain = None
        if self._patches is None:
            self._patches = Patches(merge_diff)
            room = self.room
            if room is not None and seen == self.version:
                audience = room.audience_of(member.seat)
                self._patches.keep(audience, seen, room.view_json(audience))

    # News.

    def emit(self, kind: str, data: Any, to: int | None, version: int) -> None:
        """
        Keep an event of the game; the next state takes it along.

        :raises Exception: its data is not JSON.
        """
        self.number += 1
        told = EventTold(self.number, self._before + version, kind, data)
        self._note(News(self.number, to, True, _encode(told)), is_fresh=True)

    def announce(self, push: Push, but: Member | None = None) -> None:
        """Tell all members, now or when they are back; *push* has a new number."""
        message = encode_push(push)
        self._note(News(self.number, None, False, message, but))
        for member in tuple(self.live):
            if member is not but and member.line is not None:
                member.note_sent(self.number - 1)
                member.line.send(message)

    def next_number(self) -> int:
        """Take the number of the next announcement."""
        self.number += 1
        return self.number

    def missed(self, since: int, member: Member) -> list[bytes]:
        """Find the announcements that a member missed."""
        return [
            news.text
            for news in self._news
            if not news.is_event and news.number > since and news.but is not member
        ]

    def how_many_lost(self, since: int) -> int:
        """Tell how many numbers after *since* are no longer kept, at most."""
        return max(0, self._forgotten - since)

    def _note(self, news: News, is_fresh: bool = False) -> None:
        self._news.append(news)
        if is_fresh:
            self._fresh.append(news)
        self._news_bytes += len(news.text)
        while len(self._news) > MOST_NEWS or self._news_bytes > MOST_NEWS_BYTES:
            oldest = self._news.popleft()
            self._news_bytes -= len(oldest.text)
            self._forgotten = oldest.number
            if oldest.is_event:
                self._forgotten_event = oldest.number
