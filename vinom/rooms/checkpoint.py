"""What is kept of a room of this node, so that another one can go on with it."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.logger import Logger

from vinom.base.messages.rooms import RoomPaused, RoomSeat
from vinom.lobby.conversation.conversation import Membership
from vinom.play.hosting.checkpoints import (
    Checkpoint,
    KeptUpdate,
    keep_play,
    write_checkpoint,
)
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.keeping import Keeping, RoomKeeper
from vinom.play.states import StateCodec
from vinom.rooms.broadcast import Update
from vinom.rooms.room import NodeRoom
from vinom.rooms.seating import BotSeat, Member

_log = Logger()

#: More states, and more news, than a room has between two checkpoints.
FORGOTTEN = 10_000


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
        room.game.durability == "ahead",
        round.grace,
        lambda: write_checkpoint(_checkpoint(room, codec)),
        lambda: _stamp(room),
        round.released,
        pause,
        moved,
    )


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


def _checkpoint(room: NodeRoom, codec: StateCodec) -> Checkpoint:
    played, seating = room.round.played, room.seating
    host = played if isinstance(played, RoomHost) else None
    before, is_over, outcome, forgotten, news = room.broadcast.keep()
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
        seating.teams(),
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
    for one in kept.members:
        member = Member.from_kept(one, now)
        seating.members.append(member)
        seats += [None] * (one.seat + 1 - len(seats))
        seats[one.seat] = member
    for seat, name in kept.bots:
        seats += [None] * (seat + 1 - len(seats))
        seats[seat] = BotSeat(seat, name)
    for seat, team in kept.teams:
        seating.restore_team(seat, team)
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
    jump = 0 if room.game.durability == "ahead" else FORGOTTEN
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
    return [Membership(room, member) for member in seating.members]
