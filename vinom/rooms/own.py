"""Rooms that players open: who may sit, who is host, and where they are played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from vinom.base.messages.rooms import RoomFacts
from vinom.base.model import MatchPlan, Player
from vinom.fleet.relay.room import Host, RelayedRoom, RelayFleet
from vinom.play.hosting.checkpoints import KeptPlay
from vinom.play.hosting.host import Outlet, RoomHost
from vinom.play.hosting.recordings import part_name
from vinom.play.recording import Part
from vinom.play.room import Resumed, Room
from vinom.play.states import codec_of
from vinom.rooms.member import BotSeat, Member
from vinom.rooms.results import ResultOutlet
from vinom.rooms.room import NodeRoom, RoomContext, State


class OwnPolicy:
    """Rooms that players open: the member who sits there longest is host."""

    is_own = True

    def __init__(self, context: RoomContext, fleets: Mapping[str, RelayFleet]) -> None:
        """
        Make the policy of all such rooms of a node.

        :param context: what they share.
        :param fleets: by game, what plays its rooms; those of others are played here.
        """
        self._context, self._fleets = context, fleets

    def opened(self, room: NodeRoom) -> None:
        """Do nothing: nobody has a seat."""

    def seat_for(
        self, room: NodeRoom, player: Player, loadout: bytes, spectates: bool
    ) -> int | None:
        """
        Choose the first free seat, or add one.

        :raises Refused: see `RoomPolicy.seat_for`.
        """
        room.refuse_removed(player.player_id)
        return None if spectates else room.free_seat(player, loadout)

    def entered(self) -> None:
        """Do nothing."""

    def keeps_seat(self, member: Member) -> bool:
        """Keep no place for longer than the grace of the room."""
        return False

    def emptied(self, room: NodeRoom) -> None:
        """Do nothing: the room closes after `RoomBounds.close_seconds`."""

    def host_of(self, members: Sequence[Member]) -> Member | None:
        """Choose whoever sits here longest, if possible somebody who is connected."""
        host: Member | None = None
        for member in members:
            if member.seat is None:
                continue
            if member.conversation is not None:
                return member
            host = host or member
        return host

    def state(self, room: NodeRoom) -> State:
        """Find how far it is."""
        if room.phase is None:
            return "gathering"
        return "over" if room.phase == "over" else "playing"

    def facts(self, room: NodeRoom) -> RoomFacts:
        """Describe it for a list."""
        taken = room.seating.taken()
        bots = sum(isinstance(who, BotSeat) for who in room.seating.seats)
        return RoomFacts(
            room.room_id,
            room.name,
            room.state,
            "" if room.host is None else room.host.name,
            room.game.seats[1],
            taken,
            len(room.members) - (taken - bots),
            room.is_open,
            len(room.broadcast.live),
        )

    def lay(self, room: NodeRoom, plan: MatchPlan, now: float) -> Host:
        """
        Have a game played, here or in a process of its own.

        :raises Refused: see `RoomPolicy.lay`.
        """
        game, context = room.game, self._context
        fleet = self._fleets.get(game.name)
        if fleet is not None:
            relayed = RelayedRoom(
                plan,
                game,
                fleet,
                is_placed=False,
                end=lambda reason: fleet.close_room(plan.match_id, reason),
                changed=room.arrived,
                refused=room.refused,
            )
            relayed.outlets = self._first_outlets(relayed)
            relayed.open(room.opener)
            return relayed
        recording = context.recordings.open(plan, game, context.clock.seconds())
        played = Room(
            plan,
            game,
            now,
            record=recording.record,
            guard=context.guard,
            away_timeout=inf,
        )
        host = RoomHost(played, recording)
        host.outlets = self._first_outlets(host)
        return host

    def resume(
        self,
        room: NodeRoom,
        kept: KeptPlay,
        resumed: Resumed,
        now: float,
    ) -> RoomHost:
        """
        Go on with what another node played.

        :param kept: what that was.
        :param resumed: the same, as the game's own state.
        """
        context, point = self._context, resumed.point
        part = Part(
            kept.part + 1,
            part_name(kept.plan.match_id, kept.part),
            kept.recorded,
            codec_of(room.game).encode(point.state),
            point.version,
            point.time,
            point.ticks,
        )
        recording = context.recordings.open(
            kept.plan, room.game, context.clock.seconds(), part=part
        )
        played = Room(
            kept.plan,
            room.game,
            now,
            record=recording.record,
            guard=context.guard,
            away_timeout=inf,
            resumed=resumed,
        )
        host = RoomHost(played, recording, part=part.number)
        # An action that was not applied counts for nothing: its player sends it again.
        host.acted[:] = host.applied[:] = kept.applied
        host.outlets = self._first_outlets(host, resumed.ended is not None)
        return host

    def _first_outlets(
        self, host: Host, has_result: bool = False
    ) -> tuple[Outlet, ...]:
        """Make what comes before the members: a result is noted, then announced."""
        results = self._context.results
        return () if results is None else (ResultOutlet(host, results, has_result),)

    def closed(self) -> None:
        """Do nothing."""
