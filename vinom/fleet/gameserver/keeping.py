"""
Checkpoints of matches on a game server, from which another process can go on.

A checkpoint is sent to the node before players are shown the state in it, and the node
gives it to another game server if this process dies. It has hashes of the secrets with
which players come back, and the game's state by its declared types
(`vinom.play.states`), so changed bytes cannot make the reader run code.
Source: docs/protocol/control.rst, section "Checkpoints".
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from struct import Struct as Layout
from typing import Any, Protocol

import attrs
import msgspec
from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchPlan
from vinom.base.reactor.alarm import Timer
from vinom.errors import Misconfigured, Refused, Unreadable
from vinom.fleet.control.checkpoints import (
    UnsentCheckpoints,
    change_after,
    change_between,
)
from vinom.fleet.control.messages import Kept
from vinom.fleet.gameserver.outbox import NodeOutbox
from vinom.fleet.gameserver.seats import KeptDoor, SeatDoor
from vinom.game import Game, Outcome
from vinom.net.frames import FRAME_LIMIT
from vinom.net.packets.reliable import MessageStream
from vinom.play.choices import action_reader
from vinom.play.hosting.checkpoints import Codecs, KeptEvent, KeptPlay, resume_from
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.recordings import part_name
from vinom.play.recording import Part
from vinom.play.room import Emitted, Resumed, RoundOver
from vinom.play.seats import SeatState
from vinom.play.states import StateCodec

#: The first bytes of a checkpoint; the last of them is the number of the layout.
MAGIC = b"VNM\x01"
#: The CRC-32 of all that lies between, at its end.
_CRC = Layout("!I")

#: Longest checkpoint, bytes: it must fit into one message with its plan.
LONGEST_CHECKPOINT = FRAME_LIMIT // 2
#: If what changes is shorter, it is sent whole: finding the change would cost more.
WHOLE_BELOW = 4096

#: How soon a checkpoint is sent if no datagram is, seconds.
_SOON = 0.05

_encode = msgspec.msgpack.Encoder().encode


class KeptSeat(Struct, frozen=True, array_like=True):
    """
    A seat, with messages that its player may not have been sent.

    :ivar door: its proofs of identity.
    :ivar came: has its player ever been connected?
    :ivar first: number of the oldest message part that waits.
    :ivar parts: the message parts that wait.
    :ivar relay_epoch: epoch of its latest join through the node; 0 if it is not
        relayed.
    """

    door: KeptDoor
    came: bool
    first: int
    parts: tuple[tuple[bool, bytes], ...]
    relay_epoch: int


class KeptMatch(Struct, frozen=True, array_like=True):
    """
    A match; other attributes are those of `vinom.play.hosting.checkpoints.KeptPlay`.

    Those up to `presence` hardly ever change, and come first.

    :ivar schema: schema of the game's states.
    :ivar acted: by seat, the number of the last action that reached the game.
    :ivar version: 0 before play begins, when there is no state.
    :ivar waiting: what waits for the next tick: seats, their actions as MessagePack,
        and the ticks that their players were shown.
    :ivar state: as `StateCodec` writes it.
    """

    plan: MatchPlan
    schema: int
    seats: tuple[KeptSeat, ...]
    presence: tuple[str, ...]
    acted: tuple[int, ...]
    applied: tuple[int, ...]
    part: int
    recorded: int
    version: int
    time: float
    ticks: int
    ended: Outcome | None
    linger: float | None
    events: tuple[KeptEvent, ...]
    is_round_news: bool
    waiting: tuple[tuple[int, bytes, int], ...]
    state: bytes


_decode = msgspec.msgpack.Decoder(KeptMatch).decode
#: How a long array of MessagePack begins (array 16); short ones begin with one byte.
_BEGIN = b"\xdc" + len(KeptMatch.__struct_fields__).to_bytes(2)


def read_kept(data: bytes, plan: MatchPlan) -> KeptMatch:
    """
    Read a checkpoint.

    :param data: the bytes that a game server sent.
    :param plan: plan of the match that should go on.
    :raises Unreadable: the bytes are not a checkpoint, are damaged, or belong to
        another version of Vinom or another match.
    """
    if data[:3] != MAGIC[:3] or len(data) < len(MAGIC) + _CRC.size:
        raise Unreadable("this is not a checkpoint of a match")
    if data[: len(MAGIC)] != MAGIC:
        raise Unreadable(
            f"this checkpoint has format {data[3]}; this version of Vinom reads "
            f"format {MAGIC[3]}",
            is_readable_elsewhere=data[3] > MAGIC[3],
        )
    payload, crc = data[len(MAGIC) : -_CRC.size], data[-_CRC.size :]
    if crc != _CRC.pack(zlib.crc32(payload)):
        raise Unreadable("this checkpoint is damaged: its checksum is wrong")
    try:
        kept = _decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(f"this is not a checkpoint: {error}") from error
    found = kept.plan
    if (found.match_id, found.game) != (plan.match_id, plan.game):
        raise Unreadable(
            f"this checkpoint is of match {found.match_id} of {found.game}, not of "
            f"match {plan.match_id} of {plan.game}"
        )
    seats = len(found.seats)
    if not len(kept.seats) == len(kept.presence) == len(kept.acted) == seats:
        raise Unreadable(f"this checkpoint has {seats} seats, but not their states")
    return kept


def after_loss(kept: KeptMatch, forgotten: int) -> KeptMatch:
    """
    Go on from a checkpoint that is older than what players were shown.

    No player sees a version go back, or a message's number twice. Messages that wait
    are sent again, even if they have arrived.

    :param forgotten: more versions, and messages, than they were shown.
    """
    seats = tuple(replace(one, first=one.first + forgotten) for one in kept.seats)
    version = kept.version and kept.version + forgotten
    return replace(kept, seats=seats, version=version)


def resumed_from(
    kept: KeptMatch, game: Game[Any, Any], codec: StateCodec
) -> Resumed | None:
    """
    Make the play that a room goes on from.

    :param kept: the checkpoint.
    :param game: its rules, perhaps of another version.
    :param codec: the codec of its states.
    :returns: ``None`` if play has not begun.
    :raises Unreadable: the game cannot go on from this state; says why in a sentence.
    """
    if not kept.version:
        return None
    # It has all of these attributes, in another order.
    # What only rooms of a node keep has defaults.
    shared = {*KeptPlay.__struct_fields__} & {*KeptMatch.__struct_fields__}
    play = KeptPlay(**{name: getattr(kept, name) for name in shared})
    resumed = resume_from(play, game, codec)
    read = action_reader(game)
    try:
        waiting = tuple(
            (seat, read(action), tick) for seat, action, tick in kept.waiting
        )
    except Refused as no:
        raise Unreadable(f"a waiting action cannot be read: {no}") from no
    return attrs.evolve(resumed, waiting=waiting)


class Reader:
    """
    Find out whether a checkpoint can be read here, before its match is moved.

    :ivar games: the games that are installed here, by name.
    """

    def __init__(self, games: Mapping[str, Game[Any, Any]]) -> None:
        """See the attributes."""
        self.games, self._codecs = games, Codecs()

    def why_not(self, plan: MatchPlan, data: bytes) -> str:
        """Return a sentence that says why no game here can go on from it, or ``""``."""
        game = self.games.get(plan.game)
        codec = None if game is None else self._codecs.of(game)
        if game is None or codec is None:
            return f"states of {plan.game} cannot be read here"
        try:
            resumed_from(read_kept(data, plan), game, codec)
        except Unreadable as error:
            return str(error)
        return ""


def part_from(kept: KeptMatch, resumed: Resumed, codec: StateCodec, part: int) -> Part:
    """
    Describe the beginning of the next part of a recording.

    :param kept: the checkpoint that it goes on from.
    :param resumed: the same, with the game's own state.
    :param codec: the codec of the game's states.
    :param part: number of the next part.
    :raises Misconfigured: the state cannot be written.
    """
    point = resumed.point
    return Part(
        part,
        part_name(kept.plan.match_id, kept.part),
        kept.recorded,
        codec.encode(point.state),
        point.version,
        point.time,
        point.ticks,
    )


class Watched(Protocol):
    """A seat: `vinom.fleet.gameserver.room.HostedSeat`."""

    door: SeatDoor
    messages: MessageStream
    came: bool
    is_relayed: bool
    relay_epoch: int


class Hosted(Protocol):
    """
    A match: `vinom.fleet.gameserver.room.HostedRoom`.

    :ivar host: its host.
    :ivar is_paused: does nothing happen in it?
    """

    host: RoomHost
    is_paused: bool

    @property
    def is_open(self) -> bool:
        """Is it not over?"""

    def pause(self, now: float) -> None:
        """Let match time stand still, and inputs count as lost: nothing can be kept."""

    @property
    def seats(self) -> Sequence[Watched]:
        """Its seats; another list once one was added."""


class Checkpoints:
    """
    Send the checkpoints of all matches before anything else.

    Datagrams are sent at the end of a turn of the port, and checkpoints before them:
    one for each match that has changed, all with one system call. While there is no
    node, they go to a file that outlives this process.

    :ivar outbox: sends to the node.
    :ivar is_lossy: can what was sent to the node be lost with this process?
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, seconds: Callable[[], float], outbox: NodeOutbox
    ) -> None:
        """
        Begin without matches.

        :param clock: for checkpoints that no datagram follows.
        :param seconds: the clock of the matches.
        :param outbox: see the attribute.
        """
        self._clock, self._seconds, self.outbox = clock, seconds, outbox
        self._due: dict[MatchKeeper, None] = {}
        self._kept: dict[str, MatchKeeper] = {}
        self._later = Timer(self._clock)
        self._unsent: UnsentCheckpoints | None = None
        # Is something in neither place that players may be about to see?
        self._has_lost = False
        self.is_lossy = False

    def begin(self, match_id: str, keeper: MatchKeeper) -> None:
        """Keep one more match."""
        self._kept[match_id] = keeper

    def of(self, match_id: str) -> MatchKeeper | None:
        """Return what keeps a match; ``None`` if nothing does."""
        return self._kept.get(match_id)

    def add(self, keeper: MatchKeeper) -> None:
        """Send a checkpoint of this match before the next datagram, and soon."""
        self._due[keeper] = None
        self._later.ensure(_SOON, self.may_send)

    def may_send(self) -> bool:
        """Send all due checkpoints; returns whether other messages may be sent now."""
        if self._due:
            due, self._due = self._due, {}
            now = self._seconds()
            taken = [one for keeper in due if (one := keeper.take(now)) is not None]
            if taken:
                self.keep(taken)
        return self.has_left()

    def keep(self, checkpoints: Sequence[Kept]) -> None:
        """Send checkpoints at once, all of them together."""
        unsent = self._unsent
        if self.outbox.plays_on and unsent and not unsent.write(checkpoints):
            self._log.error("checkpoints cannot be written: the file for them is full")
            unsent.close()
            # What was about to be shown stays here.
            self._unsent, self._has_lost = None, True
            self._clock.callLater(0, self._pause_all)
        self.outbox.send_all(checkpoints)

    def has_left(self) -> bool:
        """Has everything left that was sent, or is nobody there to take it?"""
        return not (self._has_lost or self.outbox.is_behind())

    def keeps(self) -> bool:
        """Does anything keep checkpoints: a node, or a file that outlives this?"""
        return not self.outbox.plays_on or self._unsent is not None

    def living(self) -> list[MatchKeeper]:
        """List the matches that can go on elsewhere."""
        kept = self._kept.values()
        return [one for one in kept if one.hosted.is_open and not one.is_over]

    def leave(self, now: float) -> bool:
        """
        Freeze all matches, and send the last checkpoint of each.

        :returns: whether all have been sent; if not, call it again soon.
        """
        for keeper in self._kept.values():
            if not keeper.is_frozen:
                keeper.is_frozen = True
                self._due[keeper] = None
        return self.may_send()

    def forget(self, match_id: str) -> None:
        """A match is over."""
        keeper = self._kept.pop(match_id, None)
        if keeper is not None:
            self.discard(keeper)

    def discard(self, keeper: MatchKeeper) -> None:
        """Send no more checkpoints of this match."""
        self._due.pop(keeper, None)

    def stop(self) -> None:
        """Send no more, because the process ends."""
        self._due.clear()
        self._later.cancel()

    # While there is no node.

    def unlinked(self, now: float) -> None:
        """
        Keep checkpoints without a node: what players see must outlive this process.

        Without a file for them, `ahead` games pause until there is a node again. Others
        play on, and may be resumed from before the link was lost.
        """
        if self.keeps():
            # What was sent last may not have arrived.
            wholes = [keeper.whole(now) for keeper in self.living()]
            self.keep([one for one in wholes if one is not None])
        else:
            self._pause([one for one in self.living() if one.is_ahead])

    def _pause(self, keepers: Sequence[MatchKeeper]) -> None:
        now = self._seconds()
        paused = [one for one in keepers if not one.hosted.is_paused]
        for keeper in paused:
            keeper.hosted.pause(now)
        if paused:
            self._log.warn(
                "{count} matches wait for a link: what players saw could not be kept",
                count=len(paused),
            )

    def _pause_all(self) -> None:
        """Pause, unless a node has come meanwhile."""
        if self._has_lost:
            self._pause(self.living())

    def use_file(self, descriptor: int | None) -> None:
        """Write there what cannot be sent, from now on; ``None`` for no file."""
        if self._unsent is not None:
            self._unsent.close()
        self._unsent = None if descriptor is None else UnsentCheckpoints(descriptor)

    def answered(self) -> None:
        """A node has answered, and keeps checkpoints."""
        self._has_lost = False


class MatchKeeper:
    """
    Keep one match: see `vinom.play.hosting.host.Keeper`.

    :ivar hosted: the match.
    :ivar number: number of the latest checkpoint.
    :ivar taken: number of the latest one that the node has confirmed.
    :ivar is_ahead: is nothing shown that could be lost?
    :ivar is_over: can no other process go on with the match any more?
    :ivar is_frozen: is nothing more shown, because another process goes on with it?
    """

    _log = Logger()

    def __init__(
        self,
        hosted: Hosted,
        codec: StateCodec,
        checkpoints: Checkpoints,
        number: int = 0,
    ) -> None:
        """
        Keep a match from its next turn on.

        :param hosted: the match.
        :param codec: the codec of the game's states.
        :param checkpoints: sends the checkpoints.
        :param number: number of the checkpoint that it goes on from.
        """
        self.number = self.taken = number
        host = hosted.host
        durability = host.room.game.durability
        self.is_ahead = durability in ("ahead", "store")
        # Does the node answer each checkpoint when the store has it?
        self._is_stored = durability == "store"
        self.hosted, self._host, self._codec = hosted, host, codec
        self._checkpoints = checkpoints
        self.is_over = self.is_frozen = False
        checkpoints.begin(host.room.plan.match_id, self)
        # The contents of the latest checkpoint.
        self._version = self._changes = -1
        self._acted: list[int] = []
        self._presence: list[SeatState] = []
        # All of it if it is long: the next one is compared with it.
        self._long = b""
        self._length = 0
        # Its beginning, which hardly ever changes, what that was written from, its
        # checksum, and how a change begins that keeps it; and does the node have it?
        self._lasting, self._lasting_crc, self._after_lasting = b"", 0, b""
        self._has_lasting = False
        self._plan: MatchPlan | None = None
        self._written_plan = b""
        self._known_seats: Sequence[Watched] = ()
        self._known_presence: list[SeatState] = []

    def may_show(self, now: float) -> bool:
        """Is everything that would be shown now kept, or kept before it is sent?"""
        if self.is_over:
            return True
        if self._host.ended_at is not None:
            return self.taken >= self.number
        checkpoints = self._checkpoints
        if self.is_frozen or not checkpoints.has_left():
            return False
        # Only without a node is it a question what keeps them.
        if self.is_ahead and checkpoints.outbox.plays_on and not checkpoints.keeps():
            return False
        host = self._host
        room = host.room
        if room.play.version == self._version and not self._has_changed():
            return self._is_safe()
        effects = room.effects
        if (
            checkpoints.is_lossy
            or self._is_stored
            or len(host.outlets) > 1
            or (effects and any(type(one) is not Emitted for one in effects))
        ):
            # Messages to the node itself must not arrive there before this.
            checkpoints.discard(self)
            taken = self.take(now)
            if taken is not None:
                checkpoints.keep((taken,))
            return checkpoints.has_left() and self._is_safe()
        checkpoints.add(self)
        return True

    def _has_changed(self) -> bool:
        """Is anything new besides the state?"""
        host = self._host
        return (
            self._count_changes() != self._changes
            or host.acted != self._acted
            or host.room.presence != self._presence
        )

    def _count_changes(self) -> int:
        changes = 0
        for seat in self.hosted.seats:
            changes += seat.door.changes + seat.messages.next + seat.relay_epoch
        return changes

    def _is_safe(self) -> bool:
        """Is the latest checkpoint safe from being lost?"""
        return (
            self.taken >= self.number
            or not self.is_ahead
            or self.is_over
            or not (self._checkpoints.is_lossy or self._is_stored)
        )

    def take(self, now: float, is_first: bool = False) -> Kept | None:
        """
        Make the next checkpoint.

        :param is_first: does the node have no earlier one?
        :returns: ``None`` if the match is over, or not kept any more.
        """
        host = self._host
        room = host.room
        if self.is_over or room.phase == "closed":
            return None
        changes, play = self._count_changes(), room.play
        try:
            if (
                changes != self._changes
                or room.plan is not self._plan
                or self.hosted.seats is not self._known_seats
                or room.presence != self._known_presence
            ):
                self._write_lasting()
            news = host.recording.news(is_first)
            self._length = host.recording.taken
            state = self._codec.encode(play.state) if play.version else b""
            rest = self._write(now, state)
            length = len(self._lasting) + len(rest)
            if length > LONGEST_CHECKPOINT:
                raise Misconfigured(
                    f"a checkpoint has {length} bytes, limit {LONGEST_CHECKPOINT}"
                )
        except Misconfigured as error:
            self._log.error(
                "match {match_id} does not outlive this process: {why}",
                match_id=room.plan.match_id,
                why=str(error),
            )
            # The node's checkpoint is older than the state that players will see.
            self.is_over = True
        self._version, self._changes = play.version, changes
        self._acted, self._presence = host.acted[:], self._known_presence
        self.number += 1
        base, data = (0, b"") if self.is_over else self._cut(rest)
        return Kept(
            room.plan.match_id,
            self.number,
            base,
            data,
            news,
            self._length,
            self._version,
        )

    def end(self) -> int:
        """Number the match's end, which is reported instead of a last checkpoint."""
        self.number += 1
        checkpoints = self._checkpoints
        if not self.is_ahead or (checkpoints.keeps() and not checkpoints.is_lossy):
            self.taken = self.number
        return self.number

    def again(self) -> None:
        """Send a whole checkpoint at the end of the next turn; the last was lost."""
        self._version = -1
        self._forget()

    def whole(self, now: float) -> Kept | None:
        """
        Make a checkpoint for a node that has none; later ones can be changes of it.

        :returns: ``None`` if the match has none.
        """
        self._checkpoints.discard(self)
        self._forget()
        taken = self.take(now, is_first=True)
        if not self._is_stored:
            self.taken = self.number
        return taken

    def _forget(self) -> None:
        """Send the next one whole: the node may not have the one before."""
        self._has_lasting, self._long = False, b""

    def _cut(self, rest: bytes) -> tuple[int, bytes]:
        """Leave out what the node has; returns the base (0: nothing), and the data."""
        before = self.number - 1
        if self._has_lasting:
            base, data = before, self._after_lasting + rest
        else:
            base, data = 0, self._lasting + rest
        self._has_lasting = True
        if len(rest) < WHOLE_BELOW:
            self._long = b""
            return base, data
        was, self._long = self._long, self._lasting + rest
        if was:
            change = change_between(was, self._long)
            if len(change) < len(data):
                return before, change
        return base, data

    def _write_lasting(self) -> None:
        """Write a checkpoint's beginning again: it has changed."""
        room, seats = self._host.room, self.hosted.seats
        plan, presence = room.plan, room.presence
        if plan is not self._plan:
            self._plan, self._written_plan = plan, _encode(plan)
        self._known_seats, self._known_presence = seats, presence[:]
        lasting = _BEGIN + self._written_plan + _encode(room.game.schema)
        lasting += _encode([_seat(seat) for seat in seats])
        lasting += _encode([how.value for how in presence])
        self._lasting, self._lasting_crc = MAGIC + lasting, zlib.crc32(lasting)
        self._after_lasting = change_after(len(self._lasting))
        self._has_lasting = False

    def _write(self, now: float, state: bytes) -> bytes:
        """Write the rest of a checkpoint."""
        host = self._host
        room = host.room
        play, is_round_news = room.play, False
        events: list[tuple[Any, ...]] = []
        for effect in room.effects:
            if isinstance(effect, Emitted):
                event = effect.event
                events.append((effect.version, event.kind, event.data, effect.to))
            elif isinstance(effect, RoundOver):
                is_round_news = True
        rest = _encode(
            (
                host.acted,
                host.applied,
                host.part,
                self._length,
                play.version,
                room.match_time(now),
                play.ticks,
                room.ended,
                room.linger_left(now) if room.phase == "over" else None,
                events,
                is_round_news,
                [
                    (seat, _encode(action), tick)
                    for seat, action, tick in room.inputs.waiting
                ]
                if host.has_ticks
                else (),
                state,
            )
        )
        # One array with the beginning, without the byte that begins this one.
        rest = rest[1:]
        return rest + _CRC.pack(zlib.crc32(rest, self._lasting_crc))


def _seat(seat: Watched) -> KeptSeat:
    messages = seat.messages
    return KeptSeat(
        seat.door.keep(),
        seat.came,
        messages.first,
        messages.waiting(),
        seat.relay_epoch if seat.is_relayed else 0,
    )
