"""The rooms in which a player has a seat, awake or asleep, for `MyGames`."""

from __future__ import annotations

from vinom.base.messages.rooms import OwnGame, RoomSeat
from vinom.play.hosting.checkpoints import Checkpoint
from vinom.play.hosting.host import RoomHost
from vinom.rooms.room import NodeRoom
from vinom.rooms.seating import Member


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
    if seat is None:
        return None
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
