"""Which rooms are this node's, and how they go to another node, or come from one."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import in_background
from vinom.base.messages.rooms import RoomFacts
from vinom.base.model import Claim, MatchPlan, Player, SeatPlan
from vinom.errors import Code, Refused, StoreUnavailable, Unreadable
from vinom.fleet.relay.room import Host, RelayedRoom, RelayFleet
from vinom.game import Game
from vinom.play.hosting.checkpoints import (
    Checkpoint,
    KeptPlay,
    read_checkpoint,
    resume_from,
)
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.keeping import Keeping
from vinom.play.hosting.recordings import MatchRecording, part_name
from vinom.play.play import GAME_ERRORS, Point
from vinom.play.recording import History, Part, play_again
from vinom.play.room import Resumed, Room, RoundOver
from vinom.play.states import StateCodec, codec_of
from vinom.rooms.checkpoint import keep, restore
from vinom.rooms.directory import RoomDirectory
from vinom.rooms.room import NodeRoom, State
from vinom.rooms.round import RoomContext, RoomTerms
from vinom.rooms.seating import BotSeat

#: Rooms that are handed to other nodes, or ended after their node, at once.
_AT_ONCE = 100
#: Rooms that are looked after at once.
_LOOKED_AFTER = 25
#: Rooms of which it is not known whether they are this node's, at most.
_MOST_DUE = 1000
#: Until another node looks after a room in which something is due, seconds.
_SOON_SECONDS = 2.0
#: In place of a checkpoint, of a room that is not kept.
NOT_KEPT = b"-"
#: Between two rooms that are stored again, seconds.
_STORE_PAUSE = 0.001
#: How often the store is reminded of all rooms, seconds.
_ANNOUNCED_SECONDS = 6 * 3600.0
#: How often it is looked for rooms in which something is due, seconds.
_LOOK_SECONDS = 0.5

_log = Logger()


class OwnPolicy:
    """Rooms that players open: the member who sits there longest is host."""

    is_own = may_watch = True

    def __init__(self, context: RoomContext, fleets: Mapping[str, RelayFleet]) -> None:
        """
        Make the policy of all such rooms of a node.

        :param context: what they share.
        :param fleets: by game, what plays its rooms; those of others are played here.
        """
        self._context, self._fleets = context, fleets

    def opened(self, room: NodeRoom) -> None:
        """Do nothing: nobody has a seat."""

    def entered(self) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""

    def seat_for(
        self, room: NodeRoom, player: Player, loadout: bytes, spectates: bool
    ) -> int | None:
        """
        Choose the first free seat, or add one.

        :raises Refused: see `RoomPolicy.seat_for`.
        """
        room.seating.refuse_kicked(player.player_id)
        if spectates:
            return None
        return room.free_seat(
            SeatPlan(player.player_id, player.name, loadout, claims=player.claims)
        )

    def state(self, room: NodeRoom) -> State:
        """Find how far it is."""
        phase = room.round.phase
        if phase is None:
            return "gathering"
        return "over" if phase == "over" else "playing"

    def facts(self, room: NodeRoom) -> RoomFacts:
        """Describe it for a list."""
        seating = room.seating
        taken = seating.taken()
        bots = sum(isinstance(who, BotSeat) for who in seating.seats)
        return RoomFacts(
            room.room_id,
            room.name,
            room.state,
            "" if seating.host is None else seating.host.name,
            room.seats[1],
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
                changed=room.round.arrived,
                refused=room.round.refused,
            )
            relayed.open(room.opener)
            return relayed
        recording = context.recordings.open(plan, game, context.clock.seconds())
        history = History(plan, recording.record) if context.told is not None else None
        return self._host(plan, game, recording, history=history)

    def _host(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        recording: MatchRecording,
        resumed: Resumed | None = None,
        part: int = 1,
        history: History | None = None,
    ) -> RoomHost:
        room = Room(
            plan,
            game,
            self._context.seconds(),
            record=recording.record if history is None else history.add,
            guard=self._context.guard,
            away_timeout=inf,
            resumed=resumed,
        )
        return RoomHost(room, recording, part=part, history=history)

    def resume(self, room: NodeRoom, kept: KeptPlay, resumed: Resumed) -> RoomHost:
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
        host = self._host(kept.plan, room.game, recording, resumed, part.number)
        # An action that was not applied counts for nothing: its player sends it again.
        host.acted[:] = host.applied[:] = kept.applied
        host.turns, host.before = kept.noted, (kept.part, kept.recorded)
        return host

    def revise(self, room: NodeRoom) -> str:
        """
        Play what happened by the room's game as it is now, and go on from there.

        Players keep their seats. If the game fails already at its start, the room does
        so again; if it does not take these seats or options any more, the room closes.
        """
        played = room.round.played
        if not isinstance(played, RoomHost) or played.history is None:
            room.round.revise(None)
            return ""
        before, history, context = played.room, played.history, self._context
        now = context.seconds()
        try:
            again = play_again(history, room.game, context.guard)
        except Refused as refusal:
            room.close("crashed")
            return f"the room was closed: {refusal}"
        except GAME_ERRORS:
            room.round.revise(self.lay(room, history.plan, now))
            return "the game fails at its start"
        play, outcome, count = again.play, again.play.outcome, len(history.inputs)
        resumed = before.resumed_from(now)
        time = play.time if again.wrong else resumed.point.time
        resumed = attrs.evolve(
            resumed,
            point=Point(play.state, play.version, time, play.ticks),
            ended=outcome,
            linger=None if outcome is None else resumed.linger or room.game.linger,
            effects=() if outcome is None else (RoundOver(outcome),),
            # They are of the class before.
            waiting=(),
            is_here=True,
        )
        # By the rules of now all of it is another match: it has a recording of its own.
        match_id = f"{room.room_id}-{context.entropy(5).hex()}"
        begun = attrs.evolve(history.plan, match_id=match_id)
        recording = context.recordings.open(begun, room.game, context.clock.seconds())
        history = History(begun, recording.record)
        for call in again.calls:
            history.add(call)
        plan = attrs.evolve(before.plan, match_id=match_id)
        host = self._host(plan, room.game, recording, resumed, history=history)
        host.acted[:], host.applied[:] = played.acted, played.applied
        room.round.revise(host)
        told = f"{again.kept} of {count} inputs kept"
        return f"{told}: {again.wrong}" if again.wrong else told


class RoomOwnership:
    """
    The rooms that players open on this node, and its right to them.

    :ivar is_draining: no new rooms are opened.
    :ivar is_moving: and rooms are handed to other nodes.
    :ivar takes_others: may rooms of other nodes go on here?
    """

    def __init__(
        self,
        context: RoomContext,
        directory: RoomDirectory,
        games: Mapping[str, Game[Any, Any]],
        fleets: Mapping[str, RelayFleet],
        keeping: Keeping | None,
    ) -> None:
        """
        Begin without rooms.

        :param context: what rooms share.
        :param directory: of the node's rooms.
        :param games: by the name players ask for.
        :param fleets: by game, what plays its rooms; those of others are played here.
        :param keeping: keeps rooms for when this node dies; without it they die too.
        """
        self.is_draining = self.is_moving = False
        self.takes_others = True
        self._context, self._directory, self._games = context, directory, games
        self._fleets, self._keeping = fleets, keeping
        self._policy = OwnPolicy(context, fleets)
        # Of ids that are kept for rooms of this node, until these are opened; and of
        # rooms that are not kept, but found by other nodes.
        self._fences: dict[str, int] = {}
        self._announced: dict[str, int] = {}
        self._announcing = LoopingCall(self.store_again)
        self._looking = LoopingCall(
            lambda: in_background(_log, self._look_after(), "cannot look after rooms")
        )
        self._announcing.clock = self._looking.clock = context.clock
        self._not_before = -inf
        # Ids of rooms that may be this node's, for an answer was lost, or that
        # it was to look after: no other node does. Did the store list each?
        self._due: dict[str, bool] = {}
        self._is_store_away = False

    def start(self) -> None:
        """Remind the store of all rooms from now on."""
        if self._keeping is not None:
            self._announcing.start(_ANNOUNCED_SECONDS, now=False)
            self._looking.start(_LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Leave rooms that are kept to the next node; close the others, and say why."""
        for loop in (self._announcing, self._looking):
            if loop.running:
                loop.stop()
        for room in tuple(self._directory.rooms.values()):
            keeper = room.round.keeper
            if keeper is not None and not keeper.is_over:
                # The store does not answer; what it has is enough.
                room.vanish()
            room.close("shutdown")

    # Rooms of this node.

    def open(self, terms: RoomTerms, fence: int | None = None) -> NodeRoom:
        """
        Make a room, and keep it if that is possible.

        :param fence: number of this node's ownership of it, if it was taken over.
        """
        if fence is None:
            fence = self._fences.get(terms.room_id, 1)
        room = NodeRoom(self._context, self._directory, terms, self._policy)
        self._directory.rooms[room.room_id] = room
        self._directory.opened.enter(terms.opener)
        keeping, codec = self._keeping, self._codec_of(terms.game)
        if keeping is not None and codec is not None:
            keep(room, keeping, codec, fence)
        elif keeping is not None and keeping.is_shared:
            self._announced[room.room_id] = fence
            room.when_closed.append(self._withdraw)
            self._announce(keeping, room.room_id)
        return room

    def _codec_of(self, game: Game[Any, Any]) -> StateCodec | None:
        """Find what writes the states of a game; ``None`` if its rooms are not kept."""
        if self._keeping is None or game.name in self._fleets:
            return None
        return self._keeping.codec_of(game)

    # Rooms that other nodes find here, and that die with this one.

    def _announce(self, keeping: Keeping, room_id: str) -> None:
        def found(is_ours: bool) -> None:
            if not is_ours and room_id in self._announced:
                _log.warn("room {room_id} is on two nodes", room_id=room_id)

        fence = self._announced[room_id]
        noted = keeping.store.put(room_id, fence, NOT_KEPT, 0.0)
        noted.addCallbacks(found, lambda failure: failure.trap(StoreUnavailable))

    def _withdraw(self, room: NodeRoom, reason: str) -> None:
        fence = self._announced.pop(room.room_id)
        self._forget(room.room_id, fence, reason if room.round.phase else "")

    def _forget(self, room_id: str, fence: int, ending: str = "") -> None:
        if self._keeping is not None:
            self._keeping.remove(room_id, fence, ending)

    # What the store has of them, and this node's lease.

    def store_again(self) -> None:
        """
        Store all rooms again: the store forgets what is not renewed, or lost it.

        A few at a time, for there may be thousands.
        """
        self._is_store_away = False
        for number, room in enumerate(tuple(self._directory.rooms.values())):
            self._context.clock.callLater(number * _STORE_PAUSE, self._store_one, room)

    def _store_one(self, room: NodeRoom) -> None:
        keeper = room.round.keeper
        if keeper is not None and not room.round.is_closed:
            keeper.again()
        if self._keeping is not None and room.room_id in self._announced:
            self._announce(self._keeping, room.room_id)

    def store_away(self) -> None:
        """The store does not answer: rooms that store first stand still."""
        self._is_store_away = True
        self.lease_over()

    def lease_over(self) -> None:
        """
        Have all rooms find whether they may go on: the lease of this node may be over.

        A few at a time, for there may be thousands.
        """
        for number, room in enumerate(tuple(self._directory.rooms.values())):
            self._context.clock.callLater(number * _STORE_PAUSE, self._look, room)

    def _look(self, room: NodeRoom) -> None:
        """Pause what is played, if nothing of it could be kept now."""
        keeper = room.round.keeper
        if keeper is not None and room.round.played is not None:
            keeper.look(not self._is_store_away)

    def figures(self) -> dict[str, Any]:
        """Count for metrics what is kept of rooms for when this node dies."""
        keeping = self._keeping
        if keeping is None:
            return {"checkpoints": {}, "paused": 0, "unremoved": 0}
        return {
            "checkpoints": dict(keeping.outcomes),
            "paused": keeping.paused,
            "unremoved": keeping.unremoved,
        }

    # Rooms that go to other nodes.

    async def move(self) -> None:
        """Open no new rooms, and hand those that are kept to other nodes."""
        self.is_draining = self.is_moving = True
        rooms = list(self._directory.rooms.values())
        for first in range(0, len(rooms), _AT_ONCE):
            some = rooms[first : first + _AT_ONCE]
            await gatherResults([self._move(room) for room in some])

    def _move(self, room: NodeRoom) -> Deferred[None]:
        """Hand a room to another node; fires when it is gone, or cannot be moved."""
        moved: Deferred[None] = Deferred()
        room.when_closed.append(lambda room, reason: moved.callback(None))
        return moved if room.move() else succeed(None)

    def close_if_deserted(self, room: NodeRoom) -> None:
        """Let go of a room in a drain if nobody is connected: nobody may come here."""
        if not self.is_draining or not room.is_own or room.broadcast.live:
            return
        if not room.move():
            room.close("shutdown")

    def vanish(self, room_id: str) -> None:
        """A room goes on at another node: its players here are sent there."""
        if (room := self._directory.rooms.get(room_id)) is not None:
            room.vanish()

    # Rooms that other nodes had.

    def wait(self, seconds: float) -> None:
        """
        Take over no rooms for a while.

        The store was away: all leases ended with it, and their nodes, which are well,
        need a moment to get new ones.
        """
        self._not_before = self._context.seconds() + seconds

    async def fetch(self, room_id: str, reserve: bool, again: bool) -> Claim | None:
        """
        Take a room over if its owner's lease is over.

        :param reserve: keep the id for a new room if nobody has it.
        :param again: even if a game has ended in an earlier room with it.
        :returns: of the other node that has it; ``None`` if none has, or this one now.
        :raises Refused: it cannot go on.
        """
        assert self._keeping is not None
        if self.is_draining or not self.takes_others:
            raise room_busy(room_id, 1.0, "this node is stopping")
        left = self._not_before - self._context.seconds()
        if left > 0:
            raise room_busy(room_id, left, "this room may be on a node that comes back")
        if self._directory.is_full:
            raise room_busy(room_id, 1.0, "this node has no room for another one")
        # If one with this id has closed here it must not come back.
        await self._keeping.removed(room_id)
        try:
            claim = await self._keeping.store.claim(room_id, reserve, again)
        except StoreUnavailable:
            self._look_again(room_id)
            raise
        if (room := self._directory.rooms.get(room_id)) is not None:
            if room.is_moving:
                self._look_again(room_id)
            return None
        if claim.kind == "owned":
            return claim
        if claim.kind == "ended":
            raise room_ended(room_id, claim.data.decode())
        if claim.kind == "new":
            self._fences[room_id] = claim.fence
        elif claim.kind == "adopted":
            room = self._adopt(room_id, claim)
            if self.is_moving:
                # It came while the others went.
                self._move(room)
                raise room_moves(room_id)
        return None

    async def found(self, room_id: str) -> NodeRoom:
        """
        Find a room for an operator: of this node, or one that sleeps, which wakes.

        :raises Refused: there is none, or another node has it.
        """
        if self._keeping is not None and room_id not in self._directory.rooms:
            claim = await self.fetch(room_id, reserve=False, again=False)
            if claim is not None:
                raise Refused(
                    Code.NO_SUCH_ROOM, f"it is on node {claim.node_id}: ask there"
                )
        return self._directory.get(room_id)

    def served(self, room_id: str) -> None:
        """Keep an id no longer for a room that was refused."""
        fence = self._fences.pop(room_id, None)
        if fence is not None and room_id not in self._directory.rooms:
            self._forget(room_id, fence)

    def _look_again(self, room_id: str) -> None:
        """Find soon whether a room is this node's, which does not have it."""
        if len(self._due) < _MOST_DUE:
            self._due.setdefault(room_id, False)

    async def _look_after(self) -> None:
        """Wake rooms in which something is due; end those that nobody came back to."""
        if self._context.seconds() < self._not_before:
            return
        count, are_more = 0, True
        try:
            while are_more and not self._directory.is_full:
                ended, are_more = await self._end_some("")
                count += ended
        except StoreUnavailable:
            # The next look goes on.
            pass
        if count:
            _log.warn(
                "ended {count} rooms of nodes that were stopped: nobody came back to "
                "them",
                count=count,
            )

    async def end_orphans(self, node_id: str) -> int:
        """
        End rooms of a node that is gone, whose players did not come back in time.

        :returns: how many.
        """
        ended, _ = await self._end_some(node_id)
        return ended

    async def _end_some(self, node_id: str) -> tuple[int, bool]:
        """
        End some rooms, or wake those that last.

        :returns: how many have ended that do not last, and whether there may be more.
        """
        if self._keeping is None or self.is_draining or not self.takes_others:
            return 0, False
        if not self._keeping.is_current():
            return 0, False
        store, ended = self._keeping.store, 0
        # Few, for other nodes want some, too.
        listed = await store.left(node_id, _LOOKED_AFTER)
        self._due.update(dict.fromkeys((one.decode() for one in listed), True))
        rooms = tuple(self._due)[:_AT_ONCE]
        claims = [store.claim(room_id, False) for room_id in rooms]
        # If an answer is lost the room may be this node's: it is claimed again.
        answers = await DeferredList(claims, consumeErrors=True)
        for room_id, (is_known, claim) in zip(rooms, answers, strict=True):
            if not is_known:
                continue
            is_orphan = self._due.pop(room_id) and claim.age is None
            if claim.kind != "adopted":
                continue
            if (here := self._directory.rooms.get(room_id)) is not None:
                if here.is_moving:
                    # The store has given it up already, and that answer was lost.
                    self._look_again(room_id)
            else:
                ended += is_orphan
                try:
                    room = self._adopt(room_id, claim, is_orphan=is_orphan)
                    is_over = room.round.played is None and not claim.node_id
                    if is_orphan or (is_over and room.round.is_lasting):
                        room.close("abandoned")
                except Refused:
                    # It is lost, and that was logged; or another node can have it.
                    continue
                except Exception:
                    # The others must not wait for it.
                    _log.failure("room {room_id} failed at its end", room_id=room_id)
        return ended, len(listed) == _LOOKED_AFTER and not self._due

    def _adopt(self, room_id: str, claim: Claim, is_orphan: bool = False) -> NodeRoom:
        """
        Go on with a room from its checkpoint.

        :param is_orphan: nobody came back to it in time.

        :raises Refused: it cannot be read; the room is lost.
        """
        assert self._keeping is not None
        kept: Checkpoint | None = None
        try:
            if claim.data == NOT_KEPT:
                raise Unreadable("its node is gone, and nothing of it was kept")
            kept = read_checkpoint(claim.data)
            game = self._games.get(kept.game)
            codec = None if game is None else self._codec_of(game)
            if game is None or codec is None:
                raise Unreadable(
                    f"this node does not keep rooms of {kept.game}",
                    is_readable_elsewhere=True,
                )
            play = kept.play
            age = claim.age or 0.0
            resumed = None if play is None else resume_from(play, game, codec, age)
        except Unreadable as error:
            if error.is_readable_elsewhere and not is_orphan:
                # Nodes of several versions, or with other games: one of them can.
                grace = self._context.bounds.grace_seconds
                if claim.age is not None:
                    grace = _until_due(kept, claim.age, grace)
                left = self._keeping.store.release(
                    room_id, claim.fence, claim.data, grace
                )
                left.addErrback(self._not_given_back, room_id)
                raise room_busy(
                    room_id, 1.0, f"this node cannot go on with it: {error}"
                ) from error
            _log.error("room {room_id} is lost: {why}", room_id=room_id, why=error)
            raise self._lost_room(room_id, claim, kept, str(error)) from error
        except Exception as error:
            _log.failure("room {room_id} is lost: it cannot be read", room_id=room_id)
            why = "its node is gone, and reading what was kept failed"
            raise self._lost_room(room_id, claim, kept, why) from error
        try:
            room = self._go_on(room_id, claim, kept, game, resumed)
        except Exception as error:
            _log.failure("room {room_id} is lost: it cannot go on", room_id=room_id)
            why = "its node is gone, and going on with it failed"
            raise self._lost_room(room_id, claim, kept, why) from error
        say = _log.info if claim.age is None else _log.debug
        say(
            "room {room_id} goes on here, from version {version} of {game}",
            room_id=room_id,
            version=room.broadcast.version,
            game=kept.game,
        )
        return room

    def _not_given_back(self, failure: Failure, room_id: str) -> None:
        failure.trap(StoreUnavailable)
        self._look_again(room_id)

    def _lost_room(
        self, room_id: str, claim: Claim, kept: Checkpoint | None, why: str
    ) -> Refused:
        """Forget a room that no node can go on with; returns what its players learn."""
        room = self._directory.rooms.get(room_id)
        # Then it reports the end of its match itself.
        is_played = room is not None and room.round.phase is not None
        if room is None:
            self._directory.ended["lost"] += 1
        else:
            try:
                # What there is of it.
                room.close("lost")
            except Exception:
                _log.failure("room {room_id} failed at its end", room_id=room_id)
                self._directory.closed(room, "lost")
        results = self._context.results
        play = None if kept is None or is_played else kept.play
        if play is not None and results is not None:
            results.match_over(play.plan, "lost")
        self._forget(room_id, claim.fence, "lost")
        return room_ended(room_id, "lost", f"this room is lost: {why}")

    def _go_on(
        self,
        room_id: str,
        claim: Claim,
        kept: Checkpoint,
        game: Game[Any, Any],
        resumed: Resumed | None,
    ) -> NodeRoom:
        """Make a room from its checkpoint."""
        terms = RoomTerms(
            room_id,
            kept.game,
            game,
            kept.options,
            kept.is_public,
            kept.is_listed,
            kept.opener,
        )
        room = self.open(terms, claim.fence)
        host = None
        if kept.play is not None and resumed is not None:
            host = self._policy.resume(room, kept.play, resumed)
        for membership in restore(room, kept, host):
            self._directory.restore(membership)
        return room


def _until_due(kept: Checkpoint | None, age: float, longest: float) -> float:
    """
    Find when a room must be looked after that this node cannot go on with, seconds.

    One that is due already comes to another node soon; but if none can go on with it,
    it must not cost ever more.

    :param age: of the checkpoint, seconds.
    """
    play = None if kept is None else kept.play
    if play is None or play.due is None:
        return longest
    late = play.time + age - play.due
    return -late if late < 0 else min(max(_SOON_SECONDS, late), longest)


def room_busy(room_id: str | None, seconds: float, why: str) -> Refused:
    """Write that a room may be here in a while."""
    return Refused(
        Code.BUSY,
        f"{why}; try again",
        {"retry_after": round(max(seconds, 0.1), 3), "room_id": room_id},
    )


def room_moves(room_id: str) -> Refused:
    """Write that this node hands a room to another one just now."""
    return room_busy(room_id, 0.2, "this room moves to another node")


def room_ended(room_id: str, reason: str, why: str = "") -> Refused:
    """Write that a room is over, so that nobody takes another game for it."""
    why = why or (
        f"the game in this room has ended: {reason}; for another one choose a new "
        'room_id, or send "create": true'
    )
    return Refused(
        Code.NO_SUCH_ROOM, why, {"room_id": room_id, "reason": reason, "outcome": None}
    )
