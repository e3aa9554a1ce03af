"""
The matches of a game server, from their orders to their ends.

`HostedMatches` keeps their checkpoints at the node or, while there is none, in a file
that the node has, too (`vinom.fleet.control.checkpoints`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
from msgspec.structs import replace
from twisted.logger import Logger

from vinom.base.reactor.alarm import Alarms
from vinom.base.reactor.figures import LOSS_BOUNDS, RTT_BOUNDS, Histogram
from vinom.base.reactor.steady import time_of_day
from vinom.errors import Misconfigured, Unreadable
from vinom.fleet.control import messages
from vinom.fleet.control.checkpoints import UnsentCheckpoints
from vinom.fleet.control.messages import Playing, ToNode
from vinom.fleet.gameserver.keeping import (
    LONGEST_CHECKPOINT,
    Checkpoints,
    MatchKeeper,
    after_loss,
    part_from,
    read_kept,
    resumed_from,
)
from vinom.fleet.gameserver.lease import LEASE_SECONDS
from vinom.fleet.gameserver.outbox import NodeOutbox
from vinom.fleet.gameserver.player_port import PlayerPort, PortLimits
from vinom.fleet.gameserver.relay import Relays
from vinom.fleet.gameserver.room import Connection, HostedRoom, NoPort
from vinom.fleet.gameserver.seats import Runtime
from vinom.game import Game
from vinom.play.clock import JOIN_TIMEOUT
from vinom.play.guard import Guard
from vinom.play.hosting.checkpoints import Codecs
from vinom.play.hosting.recordings import Recordings


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


@attrs.define
class LinkSamples:
    """
    Measure every player's link at each heartbeat.

    A node sends one per second, so the histograms count player-seconds, and play
    itself costs nothing more.
    """

    _rtt: Histogram = attrs.field(factory=lambda: Histogram(RTT_BOUNDS))
    _loss: Histogram = attrs.field(factory=lambda: Histogram(LOSS_BOUNDS))

    def measure(self, rooms: Collection[HostedRoom]) -> dict[str, float]:
        """Count rooms and players, and average their links: seconds and shares."""
        links = [
            seat.connection.link
            for hosted in rooms
            for seat in hosted.seats
            if seat.connection is not None and seat.present
        ]
        figures: dict[str, float] = {"rooms": len(rooms), "players": len(links)}
        for name, known, samples in (
            ("rtt_seconds", [link.rtt for link in links], self._rtt),
            ("jitter_seconds", [link.jitter for link in links], None),
            ("loss", [link.loss for link in links], self._loss),
        ):
            values = [value for value in known if value is not None]
            if values:
                figures[name] = sum(values) / len(values)
            if samples is not None:
                for value in values:
                    samples.add(value)
                figures |= samples.figures(name)
        return figures


#: Rooms that a list of processes names.
_MOST_NAMED = 4


def title_of(rooms: Collection[HostedRoom]) -> str:
    """Say in a few words what a game server with these rooms does."""
    named = [
        f"{'room' if one.is_relayed else 'match'} {one.room.plan.match_id} of "
        f"{one.room.plan.game}"
        for one in list(rooms)[:_MOST_NAMED]
    ]
    if len(rooms) > _MOST_NAMED:
        named.append(f"{len(rooms) - _MOST_NAMED} more")
    return ", ".join(named) or "no match"


class HostedMatches:
    """
    Host matches, and keep their checkpoints.

    :ivar rooms: by match id.
    :ivar games: by name.
    :ivar checkpoints: sends the checkpoints of all of them.
    :ivar relays: pass on what the node relays.
    :ivar is_away: has it matches, and no node that has answered? Then checkpoints go to
        a file.
    :ivar is_lossy: can what was sent to the node be lost with this process?
    """

    _log = Logger()

    def __init__(
        self,
        games: Mapping[str, Game[Any, Any]],
        runtime: Runtime,
        recordings: Recordings,
        options: GameServerOptions,
        guard: Guard | None,
        outbox: NodeOutbox,
        over: Callable[[HostedRoom], None],
        dismiss: Callable[[Connection], None],
    ) -> None:
        """
        Start without matches.

        :param games: by name.
        :param runtime: the clocks.
        :param recordings: where matches are recorded.
        :param options: the operator's.
        :param guard: interrupts calls into games that take too long.
        :param outbox: sends to the node.
        :param over: called when a match has left.
        :param dismiss: gets connections that have lost their seats.
        """
        self.rooms: dict[str, HostedRoom] = {}
        self.games = games
        self._reactor, self._seconds = runtime.reactor, runtime.seconds
        self._recordings, self._options, self._guard = recordings, options, guard
        self._outbox, self._over, self._dismiss = outbox, over, dismiss
        self._alarms = Alarms(self._reactor, self._seconds)
        self.relays = Relays(
            self.rooms, self._reactor, self._seconds, outbox.send, dismiss
        )
        self.relays.is_behind = lambda: outbox.is_behind()
        self._codecs = Codecs()
        self.checkpoints = Checkpoints(self._reactor, self._seconds, self)
        self.is_away = self._is_speechless = self.is_lossy = False
        self._unsent: UnsentCheckpoints | None = None
        self._slipped, self._samples = 0.0, LinkSamples()

    def open(self, asked: messages.OpenRoom, port: PlayerPort | None) -> HostedRoom:
        """
        Host a match.

        :param asked: the node's order.
        :param port: where its players come; ``None`` if they all come to the node.
        :raises Refused: the game does not accept this plan.
        :raises Misconfigured: its game is not installed here.
        :raises Unreadable: it cannot go on from its checkpoint.
        """
        plan = asked.plan
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
        hosted = HostedRoom(
            plan,
            game,
            self._seconds(),
            port=NoPort() if port is None else port.datagrams,
            alarms=self._alarms,
            report=self.report,
            over=self._over,
            recording=self._recordings.open(
                plan, game, time_of_day(self._reactor)(), asked.files, part
            ),
            guard=self._guard,
            is_relayed=asked.is_relayed,
            join_timeout=self._options.join_timeout,
            kept=kept,
            resumed=resumed,
            part=asked.part,
        )
        self.rooms[plan.match_id] = hosted
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

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect after the match."""
        if (hosted := self.rooms.get(match_id)) is not None:
            now = self._seconds()
            connection = hosted.kick(seat, now)
            if connection is not None:
                self._dismiss(connection)
            hosted.end_turn(now)

    def close(self, reason: str, match_ids: Collection[str]) -> None:
        """End those of these matches that are played here."""
        now = self._seconds()
        for hosted in [self.rooms[one] for one in match_ids if one in self.rooms]:
            hosted.room.close(reason, now)
            hosted.end_turn(now)

    def forget(self, hosted: HostedRoom) -> None:
        """Drop a match that has left."""
        del self.rooms[hosted.room.plan.match_id]
        self._slipped += hosted.room.time.slipped
        self.relays.forget(hosted)
        if isinstance(hosted.host.keeper, MatchKeeper):
            self.checkpoints.forget(hosted.host.keeper)

    def drop(self) -> None:
        """Drop all matches without a word: they may be played elsewhere."""
        for hosted in self.rooms.values():
            self._alarms.discard(hosted)
        self.rooms.clear()

    def own(self) -> list[HostedRoom]:
        """List what is played on without a node: not the node's own rooms."""
        rooms = self.rooms.values()
        return [one for one in rooms if not one.is_relayed and one.is_open]

    def keepers(self) -> list[tuple[HostedRoom, MatchKeeper]]:
        """List the matches that can go on elsewhere."""
        return [
            (hosted, hosted.host.keeper)
            for hosted in self.own()
            if isinstance(hosted.host.keeper, MatchKeeper)
            and not hosted.host.keeper.is_over
        ]

    # What the node is sent.

    def report(self, message: ToNode) -> None:
        """Send a room's report to the node."""
        if isinstance(message, messages.RoomEnded):
            hosted = self.rooms.get(message.end.match_id)
            if hosted is not None and not hosted.is_relayed:
                if isinstance(hosted.host.keeper, MatchKeeper):
                    message = replace(message, number=hosted.host.keeper.end())
                self._outbox.match_ended(hosted.playing(), message)
        self._outbox.send(message)

    def playing(self, port: PlayerPort | None) -> list[Playing]:
        """Describe the matches, with their newest checkpoints as far as these fit."""
        # What recordings hold would not fit beside the checkpoints of many matches.
        self._recordings.flush()
        playing, left = [], LONGEST_CHECKPOINT
        for hosted in self.own():
            one, keeper = hosted.playing(), hosted.host.keeper
            if port is not None:
                one = replace(one, tickets=port.tickets_of(one.match_id))
            if isinstance(keeper, MatchKeeper):
                one, size = self._with_checkpoint(one, keeper, left)
                left -= size
            playing.append(one)
        return playing

    def _with_checkpoint(
        self, playing: Playing, keeper: MatchKeeper, most: int
    ) -> tuple[Playing, int]:
        """Add the newest checkpoint of a match, and say how long it is."""
        kept = keeper.whole(self._seconds())
        if kept is None:
            return replace(playing, number=keeper.number), 0
        if self.is_away and self._unsent is not None:
            # Later ones are changes of it, and this link may be refused.
            self.keep([kept])
        if len(kept.data) > most:
            # It follows when the node has answered.
            keeper.again()
            kept = replace(kept, data=b"")
        playing = replace(
            playing,
            number=kept.number,
            checkpoint=kept.data,
            recorded=kept.recorded,
            length=kept.length,
        )
        return playing, len(kept.data)

    def measure(self) -> dict[str, float]:
        """Count rooms, players and lost time, and average players' links."""
        rooms = self.rooms.values()
        return {
            "slipped_seconds": sum(
                (one.room.time.slipped for one in rooms), self._slipped
            ),
            "recordings_stopped": self._recordings.stopped,
            **self._samples.measure(rooms),
        }

    # While there is no node.

    def unlinked(self, now: float) -> None:
        """Play matches on without a node, and end its own rooms."""
        has_matches = bool(self.own())
        if has_matches:
            self._keep_alone(now)
        self.relays.unlinked(now)
        if has_matches:
            of_node = [k for k, v in self.rooms.items() if v.is_relayed]
            self.close("lost", of_node)

    def _keep_alone(self, now: float) -> None:
        """
        Keep checkpoints without a node: what players see must outlive this process.

        Without a file for them, `ahead` games pause until there is a node again. Others
        play on, and may be resumed from before the link was lost.
        """
        was_away, self.is_away = self.is_away, True
        if self.keeps():
            # What was sent last may not have arrived.
            wholes = [keeper.whole(now) for _, keeper in self.keepers()]
            self.keep([one for one in wholes if one is not None])
        elif not was_away:
            self._pause([one for one in self.keepers() if one[1].is_ahead])

    def _pause(self, paused: Sequence[tuple[HostedRoom, MatchKeeper]]) -> None:
        now = self._seconds()
        for hosted, _ in paused:
            hosted.pause(now)
        if paused:
            self._log.warn(
                "{count} matches wait for a link: what players saw could not be kept",
                count=len(paused),
            )

    def _pause_all(self) -> None:
        """Pause, unless a node has come meanwhile."""
        if self._is_speechless:
            self._pause(self.keepers())

    def use_file(self, inode: int) -> None:
        """Write there what cannot be sent, from now on; 0 for no file."""
        if self._unsent is not None:
            self._unsent.close()
        descriptor = self._recordings.claim(inode) if inode else None
        self._unsent = None if descriptor is None else UnsentCheckpoints(descriptor)

    def adopted(self, match_ids: Collection[str], now: float) -> None:
        """Go on with what a node has taken; end other matches."""
        self.is_away = self._is_speechless = False
        for hosted in [one for one in self.rooms.values() if not one.is_relayed]:
            if hosted.room.plan.match_id not in match_ids and (
                hosted.is_open or hosted.host.is_held
            ):
                self._log.error(
                    "match {match_id} is not known to the node, and ends",
                    match_id=hosted.room.plan.match_id,
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
        for hosted in list(self.rooms.values()):
            if hosted.host.is_held:
                hosted.end_turn(now)

    # Checkpoints (vinom.fleet.gameserver.keeping.CheckpointSink).

    def keep(self, checkpoints: Sequence[messages.Kept]) -> None:
        """Send checkpoints to the node at once."""
        unsent = self._unsent
        if self.is_away and unsent is not None and not unsent.write(checkpoints):
            self._log.error("checkpoints cannot be written: the file for them is full")
            unsent.close()
            # What was about to be shown stays here.
            self._unsent, self._is_speechless = None, True
            self._reactor.callLater(0, self._pause_all)
        self._outbox.send_all(checkpoints)

    def keeps(self) -> bool:
        """Does anything keep checkpoints: a node, or a file that outlives this?"""
        return not self.is_away or self._unsent is not None

    def has_left(self) -> bool:
        """Has everything left that was sent, or is nobody there to take it?"""
        return not (self._is_speechless or self._outbox.is_behind())

    def kept_taken(self, answer: messages.KeptTaken) -> None:
        """The node has a checkpoint: show what waits for that."""
        if answer.file:
            self.use_file(answer.file)
        hosted = self.rooms.get(answer.match_id)
        if hosted is None or not isinstance(hosted.host.keeper, MatchKeeper):
            return
        # It may be on its way since before the end, which is taken at once.
        hosted.host.keeper.taken = max(hosted.host.keeper.taken, answer.number)
        if hosted.host.is_held:
            hosted.end_turn(self._seconds())
