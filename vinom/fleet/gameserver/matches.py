"""
The matches of a game server, from their orders to their ends.

Their checkpoints are kept at the node or, while there is none, in a file that the node
has, too (`vinom.fleet.gameserver.keeping`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.logger import Logger

from vinom.base.reactor.steady import time_of_day
from vinom.errors import Misconfigured, Unreadable
from vinom.fleet.control import messages
from vinom.fleet.control.messages import Playing, ToNode
from vinom.fleet.gameserver.keeping import (
    LONGEST_CHECKPOINT,
    Checkpoints,
    KeptMatch,
    MatchKeeper,
    after_loss,
    part_from,
    read_kept,
    resumed_from,
)
from vinom.fleet.gameserver.lease import LEASE_SECONDS
from vinom.fleet.gameserver.outbox import NodeOutbox
from vinom.fleet.gameserver.player_port import Players, PortLimits
from vinom.fleet.gameserver.room import HostedRoom, HostedSeat, Played
from vinom.fleet.gameserver.seats import SeatDoor
from vinom.game import Game
from vinom.net.packets.reliable import MessageStream
from vinom.play.clock import AWAY_TIMEOUT, JOIN_TIMEOUT
from vinom.play.guard import Guard
from vinom.play.hosting.checkpoints import Codecs
from vinom.play.hosting.recordings import Recordings
from vinom.play.room import Room
from vinom.play.seats import SeatState


@attrs.frozen
class GameServerOptions:
    """
    What the operator wants of a game server.

    :ivar rooms_limit: matches after which the process ends.
    :ivar port: limits of players' connections.
    :ivar join_timeout: how long a room waits for its players, seconds.
    :ivar has_checkpoints: whether its matches can go on elsewhere.
    :ivar lease: how long it plays on without a node, seconds.
    """

    rooms_limit: int = 1
    port: PortLimits = attrs.field(factory=PortLimits)
    join_timeout: float = JOIN_TIMEOUT
    has_checkpoints: bool = True
    lease: float = LEASE_SECONDS


#: Rooms that a list of processes names.
_MOST_NAMED = 4


def title_of(rooms: Collection[HostedRoom]) -> str:
    """Say in a few words what a game server with these rooms does."""
    named = [
        f"{'room' if one.is_relayed else 'match'} {one.match_id} of "
        f"{one.room.plan.game}"
        for one in list(rooms)[:_MOST_NAMED]
    ]
    if len(rooms) > _MOST_NAMED:
        named.append(f"{len(rooms) - _MOST_NAMED} more")
    return ", ".join(named) or "no match"


class HostedMatches:
    """
    Host matches, and have their checkpoints kept.

    :ivar games: by name.
    :ivar checkpoints: sends the checkpoints of all of them.
    """

    _log = Logger()

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        recordings: Recordings,
        options: GameServerOptions,
        guard: Guard | None,
        outbox: NodeOutbox,
        players: Players,
        over: Callable[[HostedRoom], None],
    ) -> None:
        """
        Start without matches.

        :param games: by name.
        :param recordings: where matches are recorded.
        :param options: the operator's.
        :param guard: interrupts calls into games that take too long.
        :param outbox: sends to the node.
        :param players: has them, and their players.
        :param over: called when a match has left.
        """
        self.games = games
        runtime = players.runtime
        self._reactor, self._seconds = runtime.reactor, runtime.seconds
        self._recordings, self._options, self._guard = recordings, options, guard
        self._outbox, self._players, self._over = outbox, players, over
        self._rooms = players.rooms
        self._codecs = Codecs()
        self.checkpoints = Checkpoints(self._reactor, self._seconds, outbox)
        self._slipped = 0.0

    def open(self, asked: messages.OpenRoom) -> HostedRoom:
        """
        Host a match.

        :param asked: the node's order.
        :raises Refused: the game does not accept this plan.
        :raises Misconfigured: its game is not installed here.
        :raises Unreadable: it cannot go on from its checkpoint.
        """
        plan, now = asked.plan, self._seconds()
        game = self.games.get(plan.game)
        if game is None:
            raise Misconfigured(f"game {plan.game!r} is not installed here")
        kept, resumed, part = None, None, None
        if asked.checkpoint:
            kept = read_kept(asked.checkpoint, plan)
            if asked.forgotten:
                kept = after_loss(kept, asked.forgotten)
            codec = self._codecs.of(game)
            if codec is None:
                raise Unreadable(f"states of {game.name} cannot be read here")
            plan, resumed = kept.plan, resumed_from(kept, game, codec)
            if resumed is not None:
                part = part_from(kept, resumed, codec, asked.part)
        recording = self._recordings.open(
            plan, game, time_of_day(self._reactor)(), asked.files, part
        )
        room = Room(
            plan,
            game,
            now,
            self._options.join_timeout,
            record=recording.record,
            guard=self._guard,
            away_timeout=inf if asked.is_relayed else AWAY_TIMEOUT,
            resumed=resumed,
        )
        hosted = self._players.open(
            Played.here(room, recording, asked.part),
            self.report,
            self._over,
            asked.tickets,
            asked.is_relayed,
        )
        if kept is not None:
            _go_on(hosted, kept, now)
        codec = self._codecs.of(game) if self._options.has_checkpoints else None
        if codec is not None and not hosted.is_relayed:
            hosted.host.keeper = MatchKeeper(
                hosted, codec, self.checkpoints, asked.number
            )
        self._log.info(
            "match {match_id} of {game} {what}",
            match_id=plan.match_id,
            game=plan.game,
            what="is open" if kept is None else f"goes on at version {kept.version}",
        )
        return hosted

    def report_seats(self, hosted: HostedRoom) -> None:
        """Report what the node may not know, after the process before this was gone."""
        if hosted.room.version:
            self.report(messages.MatchStarted(hosted.match_id))
        for seat, how in zip(hosted.seats, hosted.room.presence, strict=True):
            if how is SeatState.LEFT:
                hosted.seat_changed(seat, "left")
            elif seat.came:
                hosted.seat_changed(seat, "dropped")

    def close(self, reason: str, match_ids: Collection[str]) -> None:
        """End those of these matches that are played here."""
        now = self._seconds()
        for hosted in [self._rooms[one] for one in match_ids if one in self._rooms]:
            hosted.room.close(reason, now)
            hosted.end_turn(now)

    def forget(self, hosted: HostedRoom) -> None:
        """Drop a match that has left."""
        self._players.forget(hosted)
        self._slipped += hosted.room.time.slipped
        self.checkpoints.forget(hosted.match_id)

    def drop(self) -> None:
        """Drop all matches without a word: they may be played elsewhere."""
        for hosted in self._rooms.values():
            self._players.alarms.discard(hosted)
        self._rooms.clear()

    def own(self) -> list[HostedRoom]:
        """List what is played on without a node: not the node's own rooms."""
        rooms = self._rooms.values()
        return [one for one in rooms if not one.is_relayed and one.is_open]

    # What the node is sent.

    def report(self, message: ToNode) -> None:
        """Send a room's report to the node."""
        if isinstance(message, messages.RoomEnded):
            hosted = self._rooms.get(message.end.match_id)
            if hosted is not None and not hosted.is_relayed:
                keeper = self.checkpoints.of(message.end.match_id)
                if keeper is not None:
                    message = replace(message, number=keeper.end())
                self._outbox.match_ended(_playing(hosted), message)
        self._outbox.send(message)

    def playing(self) -> list[Playing]:
        """Describe the matches, with their newest checkpoints as far as these fit."""
        # What recordings hold would not fit beside the checkpoints of many matches.
        self._recordings.flush()
        playing, left = [], LONGEST_CHECKPOINT
        for hosted in self.own():
            one = _playing(hosted)
            one = replace(one, tickets=self._players.tickets_of(one.match_id))
            keeper = self.checkpoints.of(one.match_id)
            if keeper is not None:
                one = self._with_checkpoint(one, keeper, left)
                left -= len(one.checkpoint)
            playing.append(one)
        return playing

    def _with_checkpoint(
        self, playing: Playing, keeper: MatchKeeper, most: int
    ) -> Playing:
        """Add the newest checkpoint of a match, if it is not longer than *most*."""
        kept = keeper.whole(self._seconds())
        if kept is None:
            return replace(playing, number=keeper.number)
        if self._outbox.plays_on and self.checkpoints.keeps():
            # Later ones are changes of it, and this link may be refused.
            self.checkpoints.keep([kept])
        if len(kept.data) > most:
            # It follows when the node has answered.
            keeper.again()
            kept = replace(kept, data=b"")
        return replace(
            playing,
            number=kept.number,
            checkpoint=kept.data,
            recorded=kept.recorded,
            length=kept.length,
        )

    def measure(self) -> dict[str, float]:
        """Count what is played, and lost time."""
        rooms = self._rooms.values()
        return {
            "slipped_seconds": sum(
                (one.room.time.slipped for one in rooms), self._slipped
            ),
            "recordings_stopped": self._recordings.stopped,
        }

    # While there is no node, and afterwards.

    def unlinked(self, now: float) -> None:
        """Play matches on without a node, and end its own rooms."""
        has_matches = bool(self.own())
        if has_matches:
            self.checkpoints.unlinked(now)
        self._players.relays.unlinked(now)
        if has_matches:
            of_node = [k for k, v in self._rooms.items() if v.is_relayed]
            self.close("lost", of_node)

    def use_file(self, inode: int) -> None:
        """Write there what cannot be sent, from now on; 0 for no file."""
        file = self._recordings.claim(inode) if inode else None
        self.checkpoints.use_file(file)

    def adopted(self, match_ids: Collection[str], now: float) -> None:
        """Go on with what a node has taken; end other matches."""
        self.checkpoints.answered()
        for hosted in [one for one in self._rooms.values() if not one.is_relayed]:
            if hosted.match_id not in match_ids and (
                hosted.is_open or hosted.host.is_held
            ):
                self._log.error(
                    "match {match_id} is not known to the node, and ends",
                    match_id=hosted.match_id,
                )
                if hosted.host.is_held:
                    # What its players were not shown is not kept: they ask the lobby
                    # whether the match goes on elsewhere.
                    hosted.part()
                    continue
                hosted.room.close("lost", now)
            hosted.go_on(now)
            hosted.end_turn(now)

    def show_held(self, now: float) -> None:
        """Show what was held while the node did not read what it was sent."""
        for hosted in list(self._rooms.values()):
            if hosted.host.is_held:
                hosted.end_turn(now)

    def kept_taken(self, answer: messages.KeptTaken) -> None:
        """The node has a checkpoint: show what waits for that."""
        if answer.file:
            self.use_file(answer.file)
        hosted = self._rooms.get(answer.match_id)
        keeper = self.checkpoints.of(answer.match_id)
        if hosted is None or keeper is None:
            return
        # It may be on its way since before the end, which is taken at once.
        keeper.taken = max(keeper.taken, answer.number)
        if hosted.host.is_held:
            hosted.end_turn(self._seconds())


def _playing(hosted: HostedRoom) -> Playing:
    """Describe a match to a node that did not see it so far."""
    room = hosted.room
    return Playing(
        hosted.match_id,
        room.plan,
        version=room.play.version,
        is_started=hosted.is_started,
        seats={seat.number: seat.state for seat in hosted.seats if seat.state},
        outcome=hosted.outcome,
        part=hosted.host.part,
    )


def _go_on(hosted: HostedRoom, kept: KeptMatch, now: float) -> None:
    """Take over the seats of a process that is gone; nobody is connected yet."""
    host = hosted.host
    host.acted[:], host.applied[:] = kept.acted, kept.applied
    hosted.seats = tuple(
        HostedSeat(
            number,
            SeatDoor.of(seat.door),
            MessageStream.of(seat.first, seat.parts),
            came=seat.came,
            relay_epoch=seat.relay_epoch,
        )
        for number, seat in enumerate(kept.seats)
    )
    if not kept.version:
        for number, how in enumerate(kept.presence):
            if how == SeatState.LEFT.value:
                hosted.room.leave(number, now)
    hosted.is_started = bool(hosted.room.version)
