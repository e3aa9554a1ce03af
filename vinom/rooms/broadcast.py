"""
What the members of a room of this node are sent: states, newest wins, and updates.

One state for many is written and framed once. A member who reads slowly is sent no
states until it has caught up, and then the newest with the events it missed.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import attrs
from msgspec import Raw, json

from vinom.base.messages.envelope import Push, encode_push
from vinom.base.messages.rooms import EventTold, RoundBegan, RoundOver, merge_diff
from vinom.base.model import MatchEnd
from vinom.base.packed import Layout, Packed, decode_values
from vinom.errors import Code, Refused
from vinom.fleet.relay.room import Host, RelayedRoom
from vinom.game import Outcome
from vinom.lobby.conversation.conversation import Line
from vinom.lobby.matches.service import ResultWatch
from vinom.play.packing import Bases
from vinom.play.room import Emitted, Forfeited, Room, outcome_facts
from vinom.play.views import Patches, Recipients, reaches
from vinom.rooms.seating import Member

#: Updates of a room that are kept for members who are away or behind, and their bytes.
MOST_UPDATES = 256
MOST_UPDATES_BYTES = 64 * 1024
#: The same in a checkpoint, which is written often.
KEPT_UPDATES = 32
KEPT_UPDATES_BYTES = 8 * 1024

_encode = json.Encoder().encode


@attrs.frozen(slots=True)
class Update:
    """
    One thing that must reach members, now or later.

    :ivar number: rises within the room.
    :ivar to: who may know.
    :ivar is_event: of the game; it travels inside of a state.
    :ivar text: the message, or the event; JSON.
    :ivar but: the only member who need not know.
    """

    number: int
    to: Recipients
    is_event: bool
    text: bytes
    but: Member | None = None


class Broadcast:
    """
    The outlet of a room's host to members on this node.

    :ivar live: the members who are connected, spectators too.
    :ivar number: of the latest announcement or event.
    :ivar end: how the latest game of the room ended, and what went wrong with it.
    :ivar is_muted: no more states are shown.
    """

    def __init__(
        self,
        room_id: str,
        *,
        flush_soon: Callable[[], None],
        after: Callable[[Callable[[], None]], None],
        forfeited: Callable[[Forfeited], None],
        changed: Callable[[], None],
        results: ResultWatch | None,
    ) -> None:
        """
        Begin without members.

        :param room_id: of the room.
        :param flush_soon: has the room end a turn, and so `show` called.
        :param after: does a call when all that is done now is done.
        :param forfeited: gets a seat that was given up.
        :param changed: is called when a round is over.
        :param results: notes how rounds end, before anybody is sent it.
        """
        self.room_id = room_id
        self.live: list[Member] = []
        self.number = 0
        self.end: tuple[MatchEnd, str | None] | None = None
        self.is_muted = False
        self._forfeited = forfeited
        self._flush_soon, self._after, self._changed = flush_soon, after, changed
        self._results = results
        self._host: Host | None = None
        # Versions of the games that were played here before.
        self._before = self._shown = 0
        # Of the latest round of what is played, if any has ended; and was its end the
        # latest that everybody was sent, rather than the beginning of another?
        self._outcome: dict[str, Any] | None = None
        self._is_over = False
        # What `_acks` says: by seat, the last action that was applied.
        self._acked: list[int] = []
        self._acks = b"{}"
        self._updates: deque[Update] = deque()
        self._fresh: list[Update] = []
        self._bytes = self._forgotten = self._forgotten_event = 0
        # Members who are sent the state even if it is not a new one.
        self._owed: list[Member] = []
        self._patches: Patches | None = None
        self._bases = Bases()
        # The members who are sent the same as all others; `None` is not known.
        self._plain: list[tuple[Line, Member]] | None = None
        self._special = False
        self._head = (
            b'{"type":"game_state","success":true,"data":{"room_id":"%b","version":'
            % room_id.encode()
        )

    @property
    def version(self) -> int:
        """Count the changes of all that was played here; 0 before play begins."""
        return self._before + (0 if self._host is None else self._host.room.version)

    def setup(self) -> Raw:
        """Show what never changes; null if there is nothing."""
        host = self._host
        return Raw(b"null" if host is None else host.room.setup_json() or b"null")

    # What outlives the node.

    def keep(
        self, told: int
    ) -> tuple[int, bool, dict[str, Any] | None, int, list[Update]]:
        """
        Describe what players may not have.

        :param told: number of the latest update that nobody needs any more.
        :returns: versions of what was played before, is a round over, its outcome,
            the number of the latest update that is left out, and the updates.
        """
        kept: list[Update] = []
        size, forgotten = 0, self._forgotten
        for update in reversed(self._updates):
            size += len(update.text)
            is_full = len(kept) >= KEPT_UPDATES or size > KEPT_UPDATES_BYTES
            if is_full or update.number <= told:
                forgotten = update.number
                break
            kept.append(update)
        return self._before, self._is_over, self._outcome, forgotten, kept[::-1]

    def restore(
        self,
        number: int,
        before: int,
        is_over: bool,
        outcome: dict[str, Any] | None,
        forgotten: int,
        updates: list[Update],
    ) -> None:
        """Go on where another node's broadcast stopped, after `follow`."""
        self.number, self._before = number, before
        self._is_over, self._outcome = is_over, outcome
        self._forgotten = self._forgotten_event = forgotten
        for one in updates:
            self._note(one)

    # Who is shown what.

    def follow(self, host: Host) -> None:
        """Show what a host has from now on; versions go on rising."""
        self._host, host.outlets = host, (*host.outlets, self)
        self._bases = Bases()
        self.end, self.is_muted = None, False
        self._outcome, self._is_over = None, False

    def unfollow(self) -> None:
        """What was shown is over, and nothing else is played yet."""
        self._before, self._host = self.version, None

    def add(self, member: Member) -> None:
        """Send a member, who is connected now, everything from here on."""
        if member not in self.live:
            self.live.append(member)
        self._plain = None

    def remove(self, member: Member) -> None:
        """Send a member nothing more; what it did not get comes when it is back."""
        if member in self.live:
            self.live.remove(member)
            self._plain = None
        member.disconnect(self.number)

    def owe(self, member: Member) -> None:
        """Send a member the state when this turn ends, even if it is not a new one."""
        self._owed.append(member)
        self._flush_soon()

    # What the room's host shows.

    def started(self, now: float) -> None:
        """Do nothing: the room announces a start by itself."""

    def emitted(self, emitted: Emitted, now: float) -> None:
        """
        Keep an event of the game; the next state takes it along.

        :raises Exception: its data is not JSON.
        """
        self.number += 1
        event, version = emitted.event, emitted.version + self._before
        text = _encode(EventTold(self.number, version, event.kind, event.data))
        self._note(Update(self.number, emitted.to, True, text), is_fresh=True)

    def forfeited(self, given_up: Forfeited, now: float) -> None:
        """Show its player what it may still see, and give up a seat."""
        if given_up.may_watch:
            self.show(now)
        self._forfeited(given_up)

    def round_over(self, outcome: Outcome, now: float) -> None:
        """Announce the outcome of a round."""
        self._outcome, self._is_over = outcome_facts(outcome), True
        if self._results is not None and self._host is not None:
            self._results.round_over(self._host.room.plan, self._outcome)
        self._announce_over(self._outcome)

    def _announce_over(self, facts: dict[str, Any]) -> None:
        number = self.next_number()
        self.announce(RoundOver(self.room_id, number, self.version, facts))
        self._changed()

    def _follow_rounds(self, is_over: bool) -> None:
        """Announce a round that the game itself has begun, or resumed and ended."""
        self._is_over = is_over
        if not is_over:
            number = self.next_number()
            self.announce(RoundBegan(self.room_id, number, self.version))
            self._changed()
        elif self._outcome is not None:
            # A game that ends it under its old number reports no other outcome.
            self._announce_over(self._outcome)

    def closed(self, end: MatchEnd, report: str | None, now: float) -> None:
        """Keep the end for the room, which decides whether it closes with it."""
        self.end = end, report
        if self._results is not None and self._host is not None and not self._outcome:
            # No round of it has ended.
            self._results.match_over(self._host.room.plan, end.reason)
        # A game that failed may not be looked at again.
        self.is_muted = self.is_muted or report is not None

    def show(self, now: float) -> bool:
        """Send everybody the newest state."""
        host = self._host
        if host is None or self.is_muted:
            return True
        room = host.room
        version = room.version
        if not version:
            return True
        version += self._before
        is_over = room.phase == "over"
        if is_over is not self._is_over and room.phase != "closed":
            self._follow_rounds(is_over)
        applied = host.applied
        if applied != self._acked:
            if version == self._shown and not host.has_ticks:
                self._owe_answers(applied)
            self._acked = applied.copy()
            self._acks = _encode(
                {str(seat): id for seat, id in enumerate(applied) if id}
            )
        owed, fresh = self._owed, self._fresh
        if owed:
            # Once each, however many reasons there are.
            owed, self._owed = list(dict.fromkeys(owed)), []
            for member in owed:
                self._show_one(room, member, version, now)
        if version == self._shown and not fresh:
            return True
        self._shown = version
        time = room.match_time(now)
        tick = _tick_of(room)
        if owed or fresh or self._plain is None or self._special:
            self._fresh = []
            state = b'%b%d,"time":%.3f%b,"ack":%b,"events":[' % (
                self._head,
                version,
                time,
                tick,
                self._acks,
            )
            self._show_each(room, state, version, owed, fresh)
            return True
        view = room.view_json("all")
        if not view:
            return True
        shared = b'%b%d,"time":%.3f%b,"ack":%b,"events":[],"view":%b}}' % (
            self._head,
            version,
            time,
            tick,
            self._acks,
            view,
        )
        # What happens most: everybody gets the same, and nothing but the state.
        for line, member in self._plain:
            if line.is_behind:
                self._skip(member)
            else:
                line.send(shared)
        return True

    def _owe_answers(self, applied: list[int]) -> None:
        """Owe the state to members whose actions were applied and changed nothing."""
        acked = self._acked
        for member in self.live:
            seat = member.seat
            if seat is None or not applied[seat]:
                continue
            if applied[seat : seat + 1] != acked[seat : seat + 1]:
                self._owed.append(member)

    def _show_each(
        self,
        room: Room | RelayedRoom,
        state: bytes,
        version: int,
        owed: list[Member],
        fresh: list[Update],
    ) -> None:
        """Send everybody a state that is not the same for all."""
        has_one = room.has_one_audience
        public = b",".join([update.text for update in fresh if update.to is None])
        is_private = any(update.to is not None for update in fresh)
        made: dict[tuple[Hashable, int, bool], bytes] = {}
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
            if has_one and not (member.seen or member.is_packed):
                plain.append((line, member))
            else:
                special = True
            if owed and member in owed:
                continue
            if fresh:
                member.note_sent(self.number)
            if is_private:
                told = [n.text for n in fresh if reaches(n.to, member.seat)]
                shown = self._view_for(room, member, version)
                if not shown:
                    return
                line.send(b"%b%b],%b}}" % (state, b",".join(told), shown))
            else:
                key = audience, member.seen, member.is_packed
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

    def _view_for(
        self, room: Room | RelayedRoom, member: Member, version: int
    ) -> bytes:
        """Write the view for a member: packed, or as a patch where that is shorter."""
        audience = member.audience
        if member.is_packed and room.layout is not None:
            packed = room.pack(member.audience)
            if packed is None:
                return b""
            before = self._bases.keep(member.audience, member.seen, version, packed)
            return _written(room.layout, packed, before, member.seen)
        view = room.view_json(audience)
        if not view or not member.seen or self._patches is None:
            return b'"view":%b' % view if view else b""
        patch = self._patches.patch(audience, member.seen, version, view)
        self._patches.keep(audience, version, view)
        if patch is None:
            return b'"view":%b' % view
        return b'"base":%d,"patch":%b' % (member.seen, patch)

    def _show_one(
        self, room: Room | RelayedRoom, member: Member, version: int, now: float
    ) -> None:
        """Send one member the newest state, with all the events that it missed."""
        line = member.line
        if line is None:
            return
        if line.is_behind:
            self._skip(member)
            return
        since = member.events_told
        member.look_as(room.audience_of(member.seat), version)
        shown = self._view_for(room, member, version)
        if not shown:
            return
        events = b",".join(
            [
                one.text
                for one in self._updates
                if one.is_event and one.number > since and reaches(one.to, member.seat)
            ]
        )
        if events:
            member.note_sent(self.number)
        skipped, member.skipped = member.skipped, 0
        more = b',"skipped":%d' % skipped if skipped else b""
        line.send(
            b'%b%d,"time":%.3f%b,"ack":%b,"events":[%b],%b%b}}'
            % (
                self._head,
                version,
                room.match_time(now),
                _tick_of(room),
                self._acks,
                events,
                shown,
                more,
            )
        )
        member.events_told = self.number
        self._plain = None

    def _skip(self, member: Member) -> None:
        """Leave a state out, for a member who is behind."""
        conversation = member.conversation
        if conversation is None:
            return
        if not member.skipped:
            conversation.when_caught_up(partial(self._caught_up, member))
            self._plain = None
        member.skipped += 1
        if self._forgotten_event > member.events_told:
            # No event is lost in silence: the member comes back, and is sent how many
            # were. Not now: that changes the game, and all others must get one state.
            no = Refused(Code.TOO_SLOW, "you do not read what you are sent")
            self._after(partial(conversation.end, no))

    def _caught_up(self, member: Member) -> None:
        """A member reads again what it is sent."""
        if member.skipped:
            self.owe(member)

    def saw(self, member: Member, seen: int, reads_packed: bool = False) -> None:
        """
        Note which version a member has: it may be sent differences to that.

        :param reads_packed: whether it wants packed views.
        """
        host = self._host
        if reads_packed and not member.is_packed and host and host.room.layout:
            # What it was sent until now was not packed.
            member.is_packed, member.seen, member.floor = True, 0, self.version + 1
            self._plain = None
        if seen < member.floor or seen > self.version or seen < member.seen:
            return
        member.seen = seen
        self._plain = None
        if self._patches is None and not member.is_packed:
            self._patches = Patches(merge_diff)
            if host is not None and seen == self.version:
                room = host.room
                audience = room.audience_of(member.seat)
                self._patches.keep(audience, seen, room.view_json(audience))

    # Updates.

    def announce(self, push: Push, but: Member | None = None) -> None:
        """
        Send all members an update, now or when they are back.

        :param push: has the number that `next_number` gave.
        :param but: the only member who need not know.
        """
        message = encode_push(push)
        self._note(Update(self.number, None, False, message, but))
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
            one.text
            for one in self._updates
            if not one.is_event and one.number > since and one.but is not member
        ]

    def how_many_lost(self, since: int) -> int:
        """Count the numbers after *since* that are no longer kept, at most."""
        return max(0, self._forgotten - since)

    def _note(self, update: Update, is_fresh: bool = False) -> None:
        self._updates.append(update)
        if is_fresh:
            self._fresh.append(update)
        self._bytes += len(update.text)
        while len(self._updates) > MOST_UPDATES or self._bytes > MOST_UPDATES_BYTES:
            oldest = self._updates.popleft()
            self._bytes -= len(oldest.text)
            self._forgotten = oldest.number
            if oldest.is_event:
                self._forgotten_event = oldest.number


def _tick_of(room: Room | RelayedRoom) -> bytes:
    """Write the number of the last fixed step, if there was one."""
    ticks = room.ticks
    return b',"tick":%d' % ticks if ticks else b""


def _written(layout: Layout, view: Packed, before: Packed | None, seen: int) -> bytes:
    """Write a packed view, as what has changed since the one that was seen."""
    numbers = b2a_base64(layout.write(view, before), newline=False)
    changed = layout.others_since(view, before)
    others = {str(index): decode_values(raw) for index, raw in changed.items()}
    base = b"%d" % seen
    if before is None:
        base = b'0,"layout":%b' % _encode(layout.description)
    if others:
        base = b'%b,"others":%b' % (base, _encode(others))
    return b'"base":%b,"packed":"%b"' % (base, numbers)
