"""Rooms whose games are played by a game server, in memory, behind the control link."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed

from tests.support.links import at_node, at_server, tell
from tests.support.live_rooms import RoomsWorld
from vinom.base.model import MatchEnd, MatchPlan, Placement
from vinom.base.reactor.alarm import Alarms
from vinom.errors import NoCapacity, Refused
from vinom.fleet.control.messages import (
    FromRelayed,
    RoomEnded,
    ToNode,
    ToRelayed,
    ToServer,
)
from vinom.fleet.gameserver.relay import Relays
from vinom.fleet.gameserver.room import HostedRoom, Played
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.interfaces import IMatchWatch
from vinom.play.room import Room
from vinom.rooms.rooms import Rooms


class NearFleet:
    """
    One game server that hosts every room, a turn of the reactor away.

    :ivar is_full: no match finds a place any more.
    :ivar has_too_much: did it say last that new players should come later?
    :ivar hosted: the rooms that are open, by match.
    """

    def __init__(self, world: RoomsWorld) -> None:
        self._world, self._clock = world, world.clock
        self.is_full = self.has_too_much = False
        self.hosted: dict[str, HostedRoom] = {}
        self._watches: dict[str, tuple[IMatchWatch, Any]] = {}
        seconds = self._clock.seconds
        self._alarms = Alarms(self._clock, seconds)
        runtime = Runtime(cast(Any, self._clock), seconds, bytes)
        self._requests = Relays(self.hosted, runtime, self._tell, _nobody)

    def place(
        self,
        plan: MatchPlan,
        tickets: tuple[()],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        if self.is_full:
            return fail(NoCapacity("no place"))
        match_id, now = plan.match_id, self._clock.seconds()
        game = self._world.games[plan.game]
        recording = self._world.recordings.open(plan, game, now)
        try:
            room = Room(plan, game, now, record=recording.record, away_timeout=math.inf)
        except Refused:
            return fail(NoCapacity("it cannot be"))
        hosted = HostedRoom(
            Played.here(room, recording), self._alarms, self._tell, _nobody, True
        )
        self._watches[match_id] = watch, relay
        self.hosted[match_id] = hosted
        hosted.end_turn(now)
        return succeed(Placement("s1", "127.0.0.1", 46000, "PEM"))

    def pass_on(self, message: ToRelayed) -> None:
        self._requests.take(at_server(message))

    def is_overloaded(self, match_id: str) -> bool:
        return self.has_too_much

    def close_room(self, match_id: str, reason: str) -> None:
        hosted = self.hosted.get(match_id)
        if hosted is not None:
            hosted.room.close(reason, self._clock.seconds())
            hosted.end_turn(self._clock.seconds())

    def die(self) -> None:
        """The game server is gone, and all its rooms with it."""
        for match_id in tuple(self.hosted):
            self._tell(RoomEnded(MatchEnd(match_id, "lost")))

    def _tell(self, message: ToNode | ToServer) -> None:
        self._clock.callLater(0, self._told, at_node(message))

    def _told(self, message: Any) -> None:
        if isinstance(message, RoomEnded):
            match_id = message.end.match_id
            if self.hosted.pop(match_id, None) is None:
                return
            self._watches.pop(match_id)[0].ended(message.end)
            return
        watch, relay = self._watches.get(message.match_id, (None, None))
        if watch is not None:
            tell(message, watch, relay)


def _nobody(_: object) -> None:
    """Do nothing: no player comes here."""


class ApartWorld(RoomsWorld):
    """The same lobby and games; each room is played by the game server."""

    def __init__(self, seed: int = 1, actions: float = 100.0, **bounds: Any) -> None:
        super().__init__(seed, actions, **bounds)
        self.near = NearFleet(self)
        self.rooms = self.requests._rooms = Rooms(
            self.rooms._context, self.games, fleets=dict.fromkeys(self.games, self.near)
        )

    def turn(self) -> None:
        """End as many turns as news take to the game server and back."""
        for _ in range(6):
            self.clock.advance(0)
