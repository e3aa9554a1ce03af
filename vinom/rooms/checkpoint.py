"""
What is kept of a room of this node, so that another one can go on with it, and the
secrets with which its players return.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from hashlib import sha256
from math import inf

from twisted.logger import Logger

from vinom.base.limits.buckets import NetworkBuckets
from vinom.base.messages.rooms import RoomClosed, RoomPaused, RoomSeat
from vinom.base.model import Lasting
from vinom.errors import Code, Refused
from vinom.lobby.conversation.conversation import Membership
from vinom.play.hosting.checkpoints import (
    FORGOTTEN,
    Checkpoint,
    KeptUpdate,
    keep_play,
    write_checkpoint,
)
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.keeping import Keeping, RoomKeeper
from vinom.play.seats import SeatState
from vinom.play.states import StateCodec
from vinom.rooms.broadcast import Update
from vinom.rooms.room import NodeRoom
from vinom.rooms.seating import BotSeat, Member

#: Bytes of a resume token before it is written as text.
RESUME_BYTES = 24
#: Rooms that closed while players were away, and whose end is kept for these.
_MOST_CLOSED = 4096
_NONE: Mapping[str, Membership] = {}


class ResumeSecrets:
    """Find a membership by its player, or by the secret that only the player has."""

    def __init__(
        self,
        entropy: Callable[[int], bytes],
        now: Callable[[], float],
        names_rooms: bool = False,
    ) -> None:
        """
        Begin without members.

        :param entropy: makes that many random bytes.
        :param now: returns the time, seconds.
        :param names_rooms: do secrets begin with the ids of their rooms, by which other
            nodes find them?
        """
        self._entropy, self._now, self._names_rooms = entropy, now, names_rooms
        # By the hash of the secret.
        self._resumes: dict[bytes, Membership] = {}
        self._players: dict[str, dict[str, Membership]] = {}
        self._closed: OrderedDict[bytes, RoomClosed] = OrderedDict()
        # Guessing resume tokens is hopeless; a client that tries has to wait.
        self._failures = NetworkBuckets(rate=0.5, burst=20)

    def __len__(self) -> int:
        return len(self._resumes)

    def away(self) -> int:
        """Count the members who are not connected."""
        return sum(
            membership.member.conversation is None
            for membership in self._resumes.values()
        )

    def of(self, player_id: str) -> Mapping[str, Membership]:
        """Find a player's memberships, by room."""
        return self._players.get(player_id, _NONE)

    def add(self, player_id: str, room_id: str, membership: Membership) -> None:
        """Remember that a player is a member of a room now."""
        self._players.setdefault(player_id, {})[room_id] = membership

    def find(self, resume: str, host: str) -> Membership:
        """
        Find the membership that a secret stands for.

        :param host: the address of the client that shows it.
        :raises Refused: it is wrong, or the room has closed.
        """
        shown = sha256(resume.encode()).digest()
        # A dict does not compare in constant time, but what it compares are hashes:
        # how long that takes gives nothing of the token away.
        membership = self._resumes.get(shown)
        if membership is None:
            closed = self._closed.pop(shown, None)
            if closed is not None:
                raise Refused(
                    Code.NO_SUCH_ROOM,
                    "this room has closed",
                    {
                        "room_id": closed.room_id,
                        "reason": closed.reason,
                        "outcome": closed.outcome,
                    },
                )
            now = self._now()
            if not self._failures.take(host, now):
                raise _too_many(self._failures.wait(host, now))
            raise Refused(
                Code.BAD_RESUME,
                "this resume token is wrong, used up or expired; if you are known by "
                "your player_key, join_room gives you your seat back",
            )
        return membership

    def knows(self, resume: str) -> bool:
        """Does a secret stand for a membership, or did one until its room closed?"""
        shown = sha256(resume.encode()).digest()
        return shown in self._resumes or shown in self._closed

    def restore(self, room_id: str, membership: Membership) -> None:
        """Remember a member of a room that another node had."""
        self.add(membership.member.player_id, room_id, membership)
        self._resumes[membership.member.resume] = membership

    def renew(self, membership: Membership) -> str:
        """Make a new secret for a member; the one before is no longer valid."""
        member: Member = membership.member
        self._resumes.pop(member.resume, None)
        secret = urlsafe_b64encode(self._entropy(RESUME_BYTES)).decode()
        if self._names_rooms:
            secret = f"{membership.room.room_id}.{secret}"
        member.resume = sha256(secret.encode()).digest()
        self._resumes[member.resume] = membership
        return secret

    def forget(
        self, room_id: str, member: Member, closed: RoomClosed | None = None
    ) -> None:
        """
        Forget somebody who is no longer a member.

        :param closed: how the room closed, if that is why; a player who is away may
            still ask for it.
        """
        self._resumes.pop(member.resume, None)
        rooms = self._players.get(member.player_id)
        if rooms is not None:
            rooms.pop(room_id, None)
            if not rooms:
                del self._players[member.player_id]
        if closed is not None and member.conversation is None:
            self._closed[member.resume] = closed
            if len(self._closed) > _MOST_CLOSED:
                self._closed.popitem(last=False)

    def refuse_guesser(self, host: str) -> None:
        """
        Refuse an address that has shown too many wrong resume tokens.

        :raises Refused: it has.
        """
        wait = self._failures.wait(host, self._now())
        if wait > 0:
            raise _too_many(wait)


def _too_many(wait: float) -> Refused:
    return Refused(
        Code.RATE_LIMITED,
        "too many wrong resume tokens from your address",
        {"retry_after": round(wait, 3)},
    )


def room_named(resume: str) -> str:
    """Find the id of the room in a secret; empty if it names none."""
    return resume.rpartition(".")[0]


_log = Logger()


def keep(room: NodeRoom, keeping: Keeping, codec: StateCodec, fence: int) -> None:
    """
    Keep checkpoints of a room from now on.

    :param keeping: what all rooms of the node share.
    :param codec: of the game's states.
    :param fence: number of this node's ownership of the room.
    """
    round = room.round

    def pause(is_frozen: bool) -> None:
        """Nothing can be kept at present, or it can be again."""
        played = round.played
        if isinstance(played, RoomHost):
            change = played.room.freeze if is_frozen else played.room.thaw
            change(room.context.seconds())
            for member in room.members:
                member.send(RoomPaused(room.room_id, is_frozen))

    def moved() -> None:
        """Another node has the room: nothing more is shown here."""
        if not (round.is_closed or room.is_moving):
            _log.warn(
                "room {room_id} went on at another node while this one had no lease",
                room_id=room.room_id,
            )
        room.vanish()

    round.keeper = RoomKeeper(
        keeping,
        room.room_id,
        fence,
        room.game.durability != "behind",
        round.grace_left,
        lambda: _lasting(room),
        lambda is_last: _write(room, codec, is_last),
        lambda: _stamp(room),
        round.released,
        pause,
        moved,
    )


def _lasting(room: NodeRoom) -> Lasting | None:
    """Describe for the store who has a seat, if the room lasts."""
    if room.game.clock != "wall":
        return None
    seated = {one.player_id for one in room.members if one.seat is not None}
    return Lasting(tuple(sorted(seated)), room.opener)


def _stamp(room: NodeRoom) -> Hashable:
    """Find what differs when the checkpoint would differ."""
    host = room.round.played
    if not isinstance(host, RoomHost):
        return room.changes
    played = host.room
    return (
        room.changes,
        played.plan.match_id,
        played.version,
        tuple(host.applied),
        played.play.time if played.effects else None,
    )


def _write(room: NodeRoom, codec: StateCodec, is_last: bool) -> bytes:
    """Write a checkpoint; a room that goes to sleep keeps only what somebody needs."""
    sleeps = is_last and room.round.is_lasting
    told = 0
    if sleeps:
        seated = [one for one in room.members if one.seat is not None]
        told = min((min(one.told, one.events_told) for one in seated), default=0)
    return write_checkpoint(_checkpoint(room, codec, told), sleeps)


def _checkpoint(room: NodeRoom, codec: StateCodec, told: int) -> Checkpoint:
    played, seating = room.round.played, room.seating
    host = played if isinstance(played, RoomHost) else None
    before, is_over, outcome, forgotten, news = room.broadcast.keep(told)
    return Checkpoint(
        room.room_id,
        room.name,
        room.options,
        room.is_public,
        room.is_listed,
        room.opener,
        tuple(one.as_kept(host) for one in room.members if one.seat is not None),
        tuple(
            (seat, who.name)
            for seat, who in enumerate(seating.seats)
            if isinstance(who, BotSeat)
        ),
        tuple(sorted(seating.teams.items())),
        tuple((one.seat, one.name, one.player_id) for one in seating.former.values()),
        tuple(sorted(seating.kicked)),
        room.broadcast.number,
        before,
        is_over,
        outcome,
        forgotten,
        tuple(
            KeptUpdate(
                one.number,
                one.to,
                one.is_event,
                one.text,
                "" if one.but is None else one.but.player_id,
            )
            for one in news
        ),
        None if host is None else keep_play(host, codec, room.context.seconds()),
        bot_levels=tuple(
            who.level for who in seating.seats if isinstance(who, BotSeat)
        ),
    )


def restore(
    room: NodeRoom, kept: Checkpoint, host: RoomHost | None
) -> list[Membership]:
    """
    Go on where another node stopped; nobody is connected yet.

    :param room: is new.
    :param kept: the latest checkpoint.
    :param host: goes on with what is played.
    :returns: the players, who may come back.
    """
    now, seating = room.context.seconds(), room.seating
    seats = seating.seats
    seats += [None] * len(() if host is None else host.room.plan.seats)
    away_since = inf if room.round.is_lasting and host is not None else now
    for one in kept.members:
        member = Member.from_kept(one, away_since)
        seating.members.append(member)
        seats += [None] * (one.seat + 1 - len(seats))
        seats[one.seat] = member
    # A checkpoint of an older version has no levels.
    levels = (*kept.bot_levels, *("" for _ in kept.bots))
    for (seat, name), level in zip(kept.bots, levels, strict=False):
        seats += [None] * (seat + 1 - len(seats))
        seats[seat] = BotSeat(seat, name, level)
    seating.teams.update(kept.teams)
    for seat, name, player_id in kept.former:
        seating.former[seat] = RoomSeat(seat, name, player_id, "left")
    seating.kicked.update(kept.kicked)
    if seating.members:
        room.round.timetable.entered()
    if host is not None:
        room.round.play(host, is_announced=True)
    by_id = {one.player_id: one for one in seating.members}
    # What was shown after a checkpoint of a game that is not "ahead" is forgotten,
    # but no player sees a number twice, or a version go back.
    jump = FORGOTTEN if room.game.durability == "behind" else 0
    room.broadcast.restore(
        kept.number + jump,
        kept.before + jump,
        kept.is_over,
        kept.outcome,
        kept.forgotten,
        [
            Update(one.number, one.to, one.is_event, one.text, by_id.get(one.but))
            for one in kept.news
        ],
    )
    room.restored()
    if host is not None:
        for member in tuple(seating.members):
            # What gave the seat up was stored, and not yet carried out.
            if host.room.presence[member.seat or 0] is SeatState.LEFT:
                room.vacate(member)
    return [Membership(room, member) for member in seating.members]
