"""
What is played in a room of this node, and when its members are shown it.

Times are seconds on the rooms' clock, which never goes back. What one turn of the
reactor brings makes one broadcast, unless the game wants every change shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.messages.envelope import Envelope
from vinom.base.messages.rooms import Kicked, RoomStarted
from vinom.base.model import SEED_BYTES, MatchPlan
from vinom.base.reactor.alarm import Alarm
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Code, Refused
from vinom.fleet.relay.room import Host
from vinom.game import Game
from vinom.lobby.matches.service import ResultWatch
from vinom.play.choices import json_action_reader, seats_for
from vinom.play.guard import Guard
from vinom.play.hosting.host import RoomHost
from vinom.play.hosting.keeping import RoomKeeper
from vinom.play.hosting.recordings import Recordings
from vinom.play.room import Forfeited, own_lines
from vinom.rooms.broadcast import Broadcast
from vinom.rooms.seating import BotSeat, Member, Seating, Sitter

#: How long a room that lasts stays awake when nobody is connected any more, seconds: a
#: page that is loaded again takes as long.
_AWAKE_SECONDS = 1.0
#: It is looked after at least as often, seconds.
_LONGEST_SLEEP = 366 * 86400.0


class Timetable:
    """
    What is due in a room, except for what is played: that has deadlines of its own.

    Times are seconds on the rooms' clock, which never goes back.

    :ivar due: when something is due next; infinite if nothing is.
    :ivar is_deserted: nobody is connected, and play has not begun.
    :ivar sleep_at: when the room is put to sleep; infinite if somebody is connected, or
        it does not last.
    """

    def __init__(
        self,
        fill_seconds: float,
        close_seconds: float,
        grace: float,
        now: float,
        deserted_seconds: float,
    ) -> None:
        """
        Begin with an empty room.

        :param fill_seconds: how long it waits, after the last one joined, for more than
            the fewest players.
        :param close_seconds: how long it stays after the last person left.
        :param grace: how long a player whose connection was lost may come back.
        :param now: the time.
        :param deserted_seconds: how long it stays, before play, while nobody is
            connected.
        """
        self.sleep_at, self._deserted_seconds = inf, deserted_seconds
        self._fill_seconds, self._close_seconds = fill_seconds, close_seconds
        self._grace = grace
        self._fill_at = self.due = inf
        self._empty_since = self._deserted_since = now
        self.is_deserted = False

    # What happens.

    def entered(self) -> None:
        """Somebody is a member."""
        self._empty_since = inf

    def emptied(self, now: float) -> None:
        """Nobody is a member any more."""
        self._empty_since = now

    def joined(self, now: float, is_new: bool = True) -> None:
        """
        One more can play: wait a while for others.

        :param is_new: or is somebody back? Then the room waits no longer than it did.
        """
        if is_new or self._fill_at == inf:
            self._fill_at = now + self._fill_seconds

    def hurry(self) -> None:
        """Wait for nobody else."""
        self._fill_at = -inf

    def started(self) -> None:
        """Play has begun."""
        self._fill_at = inf

    def note_deserted(self, is_deserted: bool, now: float) -> bool:
        """
        Note whether anybody is connected before play.

        :returns: whether that has changed.
        """
        if is_deserted is self.is_deserted:
            return False
        self.is_deserted, self._deserted_since = is_deserted, now
        return True

    def note_unattended(self, may_sleep: bool, now: float) -> None:
        """Note whether nobody is connected to a room that lasts."""
        self.sleep_at = min(self.sleep_at, now + _AWAKE_SECONDS) if may_sleep else inf

    def plan(
        self,
        members: Sequence[Member],
        connected: int,
        may_start: bool,
        expected_until: float = inf,
    ) -> None:
        """
        Find what is due next.

        :param members: of the room.
        :param connected: how many of them are.
        :param may_start: enough have a seat, and play has not begun.
        :param expected_until: when a seat is no longer kept for a newcomer.
        """
        due = expected_until
        if connected < len(members):
            due = min(due, min(one.lost_at for one in members) + self._grace)
        elif not members:
            due = min(due, self._empty_since + self._close_seconds)
        if self.is_deserted:
            due = min(due, self._deserted_since + self._deserted_seconds)
        if may_start:
            due = min(due, max(self._fill_at, 0.0))
        self.due = due

    # What is due.

    def deserted_until(self, now: float) -> float:
        """Find when the room closes if nobody is connected, and play has not begun."""
        since = self._deserted_since if self.is_deserted else now
        return since + self._deserted_seconds

    def has_waited(self, now: float) -> bool:
        """Did the room wait for more players for as long as it does?"""
        return now >= self._fill_at

    def must_close(self, now: float) -> bool:
        """Was nobody here for as long as an empty room stays?"""
        closes = self._empty_since + self._close_seconds
        if self.is_deserted:
            closes = min(closes, self._deserted_since + self._deserted_seconds)
        return now >= closes

    def expired(self, members: Sequence[Member], now: float) -> list[Member]:
        """List the members whose places are not kept any longer."""
        if now < self.due:
            return []
        return [member for member in members if now >= member.lost_at + self._grace]


_log = Logger()

#: Rooms that start may take so long in one turn of the reactor, seconds; the one that
#: is being started is not interrupted.
_START_SECONDS = 0.02
#: Actions of one room that wait while its checkpoint is on its way.
MOST_HELD = 1024
#: Everybody is sent the ids of actions, and JavaScript cannot count further.
_HIGHEST_ID = (1 << 53) - 1


def show_fault(game: str, report: str) -> str:
    """Show the author of a game that failed its own lines, on a terminal too."""
    fault = own_lines(report)
    _log.error("{game}:\n{fault}", game=game, fault=fault)
    return fault


class HeldActions:
    """What the members of a room did while its checkpoint was on its way."""

    def __init__(self, room_id: str) -> None:
        """Begin with nothing that waits."""
        self._room_id = room_id
        self._held: deque[tuple[Member, Envelope]] = deque()

    def add(self, member: Member, envelope: Envelope) -> None:
        """
        Let an action wait.

        :raises Refused: too many wait.
        """
        if len(self._held) >= MOST_HELD:
            raise Refused(
                Code.BUSY,
                "this room waits for the server's storage",
                {"retry_after": 1.0, "room_id": self._room_id},
            )
        self._held.append((member, envelope))

    def run(self, act: Callable[[Member, Envelope], None], keeper: RoomKeeper) -> None:
        """
        Let members do what had to wait, up to the next checkpoint.

        :param act: does it; raises `Refused`.
        """
        while self._held and not keeper.is_holding:
            member, envelope = self._held.popleft()
            try:
                act(member, envelope)
            except Refused as refusal:
                if member.conversation is not None:
                    member.conversation.refuse(refusal, envelope.id)


@attrs.frozen
class RoomBounds:
    """
    What rooms may cost. Times: seconds.

    :ivar most: rooms of this node.
    :ivar per_client: rooms that one player, or one connection, may be in.
    :ivar per_address: rooms that players of one address opened; four times that for
        those of one /24 or /48.
    :ivar lasting: rooms that go on while nobody is connected, in which one player may
        have a seat; and so many as `places` that players of one address opened.
    :ivar places: seats and places of spectators that came from one address, likewise.
    :ivar spectators: of one room.
    :ivar close_seconds: how long a room stays after the last person left, and before
        play also after the last one lost its connection.
    :ivar grace_seconds: how long a player whose connection was lost may come back,
        unless the game says otherwise.
    :ivar fill_seconds: how long a room waits, after the last one joined, for more
        than the fewest players.
    """

    most: int = 10_000
    per_client: int = 8
    per_address: int = 64
    places: int = 1024
    lasting: int = 64
    spectators: int = 256
    close_seconds: float = 30.0
    grace_seconds: float = 900.0
    fill_seconds: float = 5.0


@attrs.frozen
class RoomTerms:
    """
    What a room was made for.

    :ivar room_id: names it.
    :ivar name: of the game, as players ask for it.
    :ivar game: its rules.
    :ivar options: the game's, canonical JSON.
    :ivar is_public: may players who name no room get a seat here?
    :ivar is_listed: is it in the list of rooms?
    :ivar opener: address of the player who opened it.
    :ivar seats: the fewest and the most players with these options.
    """

    room_id: str
    name: str
    game: Game[Any, Any]
    options: bytes
    is_public: bool
    is_listed: bool = True
    opener: str = ""
    seats: tuple[int, int] = attrs.field(init=False)

    @seats.default
    def _seats(self) -> tuple[int, int]:
        return seats_for(self.game, self.options)


class StartPacing:
    """Let rooms start in turn: a table may take long to lay, as a large maze does."""

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float]) -> None:
        """
        Begin with the whole time.

        :param clock: rings at the next turn of the reactor.
        :param seconds: a clock that never goes back.
        """
        self._clock, self._seconds = clock, seconds
        self._spent = 0.0

    @property
    def may_start(self) -> bool:
        """Is there time to start one more in this turn?"""
        return self._spent < _START_SECONDS

    def start(self, call: Callable[[float], None], now: float) -> None:
        """
        Start a room, and count how long it took.

        :param call: starts it, and takes the time.
        :param now: the time that it takes.
        """
        began = self._seconds()
        try:
            call(now)
        finally:
            spent = self._seconds() - began
            if spent > 0:
                if not self._spent:
                    self._clock.callLater(0, self._renew)
                self._spent += spent

    def _renew(self) -> None:
        self._spent = 0.0


@attrs.frozen(eq=False)
class RoomContext:
    """
    What all rooms of a node share.

    :ivar seconds: a clock that never goes back.
    :ivar clock: rings; its seconds are of the Unix epoch.
    :ivar entropy: makes that many random bytes.
    :ivar turns: what is done when a turn of the reactor ends.
    :ivar recordings: where what is played here is written down.
    :ivar bounds: what rooms may cost.
    :ivar guard: ends calls into games that take too long.
    :ivar results: notes how rounds end.
    :ivar told: if authors write the games meanwhile: by room, what they are told of it.
        Then rooms can go on by other rules, also if their game has failed.
    :ivar pacing: decides whether one more may start in this turn of the reactor.
    """

    seconds: Callable[[], float]
    clock: IReactorTime
    entropy: Callable[[int], bytes]
    turns: TurnEnd
    recordings: Recordings
    bounds: RoomBounds = RoomBounds()
    guard: Guard | None = None
    results: ResultWatch | None = None
    told: dict[str, str] | None = None
    pacing: StartPacing = attrs.field(init=False)

    @pacing.default
    def _new_pacing(self) -> StartPacing:
        return StartPacing(self.clock, self.seconds)


class RoundRoom(Protocol):
    """
    The room in which something is played: `vinom.rooms.room.NodeRoom`.

    :ivar is_own: a room of the node alone; see `vinom.rooms.room.RoomPolicy`.
    """

    is_own: bool

    def move(self) -> bool:
        """Hand it to the next node that looks after it; ``False`` if it stays."""

    def lay(self, plan: MatchPlan, now: float) -> Host:
        """
        Have a game played.

        :raises Refused: the game does not take this plan.
        """

    def changed(self) -> None:
        """What lists or checkpoints show has changed, or whether anybody is here."""

    def leave(self, member: Member, reason: str) -> None:
        """A member loses its place for good."""

    def vacate(self, who: Sitter) -> None:
        """The game has given up a seat: its player watches from now on."""

    def close(
        self, reason: str, outcome: dict[str, Any] | None = None, view_hash: str = ""
    ) -> None:
        """End the room."""


class Round:
    """
    What is played in a room; from one end to the next start nothing is.

    :ivar played: hosts it.
    :ivar broadcast: what members are sent.
    :ivar timetable: what is due, apart from what is played.
    :ivar keeper: keeps checkpoints; ``None`` if the room lives in this node only.
    :ivar is_closed: nothing happens any more.
    """

    def __init__(
        self,
        context: RoomContext,
        terms: RoomTerms,
        seating: Seating,
        room: RoundRoom,
    ) -> None:
        """
        Begin with nothing that is played.

        :param context: what all rooms share.
        :param terms: what the room is made for.
        :param seating: who is there, and sits where.
        :param room: the room itself.
        """
        self._context, self._terms = context, terms
        self._seating, self._room = seating, room
        self._seconds, self._read = context.seconds, json_action_reader(terms.game)
        self.played: Host | None = None
        self.keeper: RoomKeeper | None = None
        self.is_closed = False
        self.broadcast = Broadcast(
            terms.room_id,
            flush_soon=self.flush_soon,
            after=context.turns.call,
            forfeited=self._forfeited,
            changed=room.changed,
            results=context.results if room.is_own else None,
        )
        bounds, grace = context.bounds, terms.game.grace_seconds
        self.grace = bounds.grace_seconds if grace is None else grace
        self._lasts = terms.game.clock == "wall"
        self.timetable = Timetable(
            bounds.fill_seconds,
            bounds.close_seconds,
            self.grace,
            context.seconds(),
            self.grace if self._lasts else bounds.close_seconds,
        )
        self._shows_each = self._is_start_announced = self._is_awake = False
        # What has failed, and waits for other rules.
        self._failed: Host | None = None
        self._held = HeldActions(terms.room_id)
        self._armed_for = -inf
        self._alarm = Alarm(context.clock, self.deadline, self.run_due, self._seconds)

    @property
    def phase(self) -> str | None:
        """Return the phase of what is played, as of `Room`; ``None`` if nothing is."""
        return None if self.played is None else self.played.room.phase

    @property
    def is_lasting(self) -> bool:
        """Does the room go on, and sleep in the store, while nobody is connected?"""
        return self._lasts and self.keeper is not None and not self.keeper.is_over

    # What members do.

    def act(self, member: Member, envelope: Envelope) -> None:
        """
        A member acts.

        :raises Refused: it cannot be; nothing has changed.
        """
        if self.keeper is not None and self.keeper.is_holding:
            self._held.add(member, envelope)
            return
        if envelope.seen is not None:
            self.broadcast.saw(member, envelope.seen)
        played, seat, id = self.played, member.seat, envelope.id
        if seat is None:
            raise Refused(Code.NOT_SEATED, "spectators only watch")
        if played is None:
            raise Refused(Code.NOT_NOW, "play has not begun", {"state": "gathering"})
        if id is not None:
            if type(id) is not int or not 1 <= id <= _HIGHEST_ID:
                raise Refused(
                    Code.BAD_FIELD,
                    "the id of an action is a whole number that rises, from 1 to "
                    f"{_HIGHEST_ID}",
                    {"field": "id"},
                )
            if id <= played.acted[seat]:
                # It reached the game: say so again, when everybody is sent the state.
                self.broadcast.owe(member)
                return
        refusal = played.act(
            seat, id, envelope.data, self._read, self._seconds(), envelope.tick
        )
        if refusal is not None:
            if played.room.phase == "closed":
                self.flush_soon()
            if refusal.code is Code.REJECTED:
                room_id = self._terms.room_id
                refusal.details = {**refusal.details, "room_id": room_id}
            raise refusal
        if self._shows_each:
            self.flush()
        elif not self._is_awake:
            # As `flush_soon`, which would cost each action a call.
            self._is_awake = True
            self._context.turns.call(self.flush)

    # What members are shown, and when.

    def flush_soon(self) -> None:
        """Send everybody what changed when this turn of the reactor ends."""
        if not self._is_awake:
            self._is_awake = True
            self._context.turns.call(self.flush)

    def flush(self) -> None:
        """Send everybody what changed."""
        self._is_awake = False
        if self.is_closed:
            return
        try:
            now = self._seconds()
            if self.played is None:
                self._start_if_ready(now)
            played = self.played
            if played is not None:
                played.end_turn(now)
                if played.ended_at is not None:
                    self._ended(played)
                    return
            keeper = self.keeper
            if keeper is not None:
                if self.played is None:
                    if keeper.is_holding:
                        self._armed_for = -inf
                    keeper.note()
                if keeper.is_holding:
                    return
                self._held.run(self.act, keeper)
            if not self.is_closed:
                if self._lasts and isinstance(self.played, RoomHost):
                    self._note_turns(self.played)
                at = self.deadline()
                if at is not None and at != self._armed_for:
                    self._armed_for = at
                    self._alarm.arm()
        except Exception:
            # Our fault, not its game's: the other rooms must not suffer.
            _log.failure("room {room_id} failed", room_id=self._terms.room_id)
            self._room.close("crashed")

    def _note_turns(self, host: RoomHost) -> None:
        """Report a turn that has begun of a player who is away."""
        room, results = host.room, self._context.results
        turns = room.play.turns if room.phase == "playing" else ()
        if turns == host.turns:
            return
        before, host.turns = host.turns, turns
        for seat in sorted(set(turns).difference(before)):
            who = self._seating.at(seat)
            away = isinstance(who, Member) and who.conversation is None
            if away and results is not None and self.is_lasting:
                due, time = room.play.due, room.match_time(self._seconds())
                left = None if due is None else max(0.0, due - time)
                results.turn_began(room.plan, seat, room.version, left)

    def released(self) -> None:
        """What waited for a checkpoint may be shown."""
        self._armed_for = -inf
        self.flush()

    def deadline(self) -> float | None:
        """When to call `run_due` next."""
        if self.keeper is not None and self.keeper.is_holding:
            # `released` sets the alarm again.
            return None
        at = min(self._due(), self.timetable.sleep_at)
        return None if at == inf else at

    def _due(self) -> float:
        """When something is due that does not depend on this node."""
        at, played = self.timetable.due, self.played
        return at if played is None else min(at, played.room.time.alarm_at)

    def grace_left(self) -> float:
        """For how long another node need not look after the room, seconds."""
        if not self._lasts:
            return self.grace
        now = self._seconds()
        if isinstance(self.played, RoomHost):
            # While it is frozen nothing is due; and it will not be thawed here.
            self.played.room.thaw(now)
            at = self._due()
        else:
            # Nobody sees it begin, and all of them may come back for as long.
            at = self.timetable.deserted_until(now)
        return min(max(0.0, at - now), _LONGEST_SLEEP)

    def run_due(self) -> None:
        """Do what is due."""
        now, seating = self._seconds(), self._seating
        if self.timetable.must_close(now):
            self._room.close("abandoned")
            return
        for member in self.timetable.expired(seating.members, now):
            self._room.leave(member, "expired")
        if seating.forget_expected(now):
            self._room.changed()
            self.find_deadlines()
        if self.played is not None:
            self.played.run_clock(now)
        self.flush()
        if now >= self.timetable.sleep_at and not self.is_closed:
            self._sleep()

    def _sleep(self) -> None:
        """Put the room to sleep, unless it has something to keep first."""
        keeper = self.keeper
        if keeper is not None and not keeper.is_holding:
            self.timetable.sleep_at = inf
            self._room.move()

    def find_deadlines(self) -> None:
        """Somebody came or went: find what is due, but for the game."""
        connected, seating = len(self.broadcast.live), self._seating
        gathers = self.played is None
        is_deserted = self._room.is_own and gathers and not connected
        if self.timetable.note_deserted(is_deserted, self._seconds()):
            self._room.changed()
        has_seats = any(one.seat is not None for one in seating.members)
        may_sleep = self.is_lasting and not connected and has_seats
        self.timetable.note_unattended(may_sleep, self._seconds())
        may_start = gathers and seating.taken() >= self._terms.seats[0]
        self.timetable.plan(
            seating.members, connected, may_start, seating.expected_until()
        )

    def arm(self) -> None:
        """Find what is due, and have it done then."""
        self.find_deadlines()
        self._alarm.arm()

    # The start.

    def start(self) -> None:
        """
        Begin with those who are there.

        :raises Refused: they are too few, or play has begun.
        """
        terms, fewest = self._terms, self._terms.seats[0]
        if self.played is not None:
            state = "over" if self.phase == "over" else "playing"
            raise Refused(Code.NOT_NOW, "play has begun", {"state": state})
        if self._seating.taken() < fewest:
            raise Refused(
                Code.NOT_NOW,
                f"{terms.name} takes at least {fewest} players",
                {"state": "gathering", "seats": fewest},
            )
        self.timetable.hurry()
        self.find_deadlines()
        self.flush_soon()

    def _start_if_ready(self, now: float) -> None:
        game, taken = self._terms.game, self._seating.taken()
        fewest, most = self._terms.seats
        if taken < fewest:
            return
        if taken == most or game.late_join or self.timetable.has_waited(now):
            pacing = self._context.pacing
            if pacing.may_start:
                pacing.start(self._start, now)
            else:
                self._context.clock.callLater(0, self.flush_soon)

    def _start(self, now: float) -> None:
        """Lay the table; seats that are free go, and the others move up."""
        seating, room_id = self._seating, self._terms.room_id
        seating.move_up()
        self.timetable.started()
        entropy = self._context.entropy
        plan = MatchPlan(
            match_id=f"{room_id}-{entropy(5).hex()}",
            game=self._terms.name,
            seats=seating.plans(),
            seed=entropy(SEED_BYTES),
            options=self._terms.options,
            # Away or not: the game does not learn who is host later.
            host=next((one.seat for one in seating.members if one.seat is not None), 0),
        )
        try:
            played = self._room.lay(plan, now)
        except Refused as refusal:
            # Options and loadouts were checked when they came; teams were not.
            _log.error(
                "room {room_id} cannot start: {why}", room_id=room_id, why=refusal
            )
            self._room.close("crashed")
            return
        self.play(played)
        if self.is_lasting:
            for one in seating.members:
                one.lost_at = inf
        room = played.room
        for seat, who in enumerate(seating.seats):
            if isinstance(who, BotSeat):
                self.change_seat(room.seat_bot, seat)
        # Players who are away just now take part, and drop at once.
        for seat, who in enumerate(seating.seats):
            if isinstance(who, Member):
                played.acted[seat], played.applied[seat] = who.acted, who.applied
                self.change_seat(room.join, seat)
        for seat, who in enumerate(seating.seats):
            if isinstance(who, Member) and who.conversation is None:
                self.change_seat(room.drop, seat)
        self.find_deadlines()
        self._room.changed()
        # A room that is played elsewhere has begun when its first state arrives.
        if isinstance(played, RoomHost) or room.version:
            self._announce_start()

    def play(self, played: Host, *, is_announced: bool = False) -> None:
        """
        Play what a host has from now on.

        :param is_announced: do the members know that it has begun?
        """
        self.played, self._is_start_announced = played, is_announced
        # States that a game process sends come when they come.
        is_here, game = isinstance(played, RoomHost), self._terms.game
        self._shows_each = is_here and game.states == "every" and not game.tick_hz
        if isinstance(played, RoomHost):
            played.keeper = self.keeper
        self.broadcast.follow(played)

    def revise(self, played: Host | None) -> None:
        """
        Its game has other rules now.

        :param played: goes on by them; ``None`` if nothing was played.
        """
        self._read = json_action_reader(self._terms.game)
        if played is not None:
            self.broadcast.unfollow()
            self.play(played)
            # The part of the view that never changes may be another one now.
            self._announce_start()
            # A game that has failed did not learn who came and went.
            for seat, who in enumerate(self._seating.seats):
                if isinstance(who, Member):
                    is_here = who.conversation is not None
                    call = played.room.join if is_here else played.room.drop
                    self.change_seat(call, seat)
                elif who is None:
                    self.change_seat(played.room.leave, seat)
        self._room.changed()
        self.arm()
        self.flush_soon()

    def change_seat(self, call: Callable[[int, float], None], seat: int) -> None:
        """Have a seat join, leave and so on, which cannot be refused."""
        try:
            call(seat, self._seconds())
        except Refused as refusal:
            # Only a room that is closed refuses, and `flush` finds that out.
            _log.debug(
                "room {room_id}: {why}", room_id=self._terms.room_id, why=refusal
            )

    def _announce_start(self) -> None:
        self._is_start_announced = True
        seating, broadcast = self._seating, self.broadcast
        players, setup = seating.players(), broadcast.setup()
        number, host = broadcast.next_number(), seating.host_seat
        for member in tuple(broadcast.live):
            member.send(
                RoomStarted(
                    self._terms.room_id, number, member.seat, host, players, setup
                )
            )

    # What comes from a game process.

    def arrived(self) -> None:
        """Something came from where the game is played."""
        # The part of the view that never changes comes with the first state.
        played = self.played
        if played is not None and played.room.version and not self._is_start_announced:
            self._announce_start()
        self.flush_soon()

    def refused(self, seat: int, id: Any, refusal: Refused) -> None:
        """An action was not applied where the game is played."""
        who = self._seating.at(seat)
        if isinstance(who, Member) and who.conversation is not None:
            details = {**refusal.details, "room_id": self._terms.room_id}
            who.conversation.refuse(Refused(refusal.code, refusal.message, details), id)

    # The end.

    def rematch(self) -> None:
        """
        Play again with the same seats; gather again if too few are left.

        :raises Refused: no round is over.
        """
        played = self.played
        if played is None or self.phase != "over":
            state = "gathering" if played is None else "playing"
            raise Refused(Code.NOT_NOW, "no round is over", {"state": state})
        self.end("finished")
        end = self.broadcast.end
        if end is None or end[0].reason == "finished":
            self._clear(played)
            self.timetable.hurry()
        # Else the game failed at its last view, and the room closes.
        self.flush_soon()

    def _forfeited(self, given_up: Forfeited) -> None:
        who = self._seating.at(given_up.seat)
        if who is not None and given_up.may_watch:
            self._room.vacate(who)
        elif isinstance(who, Member):
            # Mostly it is away; if it is not, it learns that it is out.
            who.send(Kicked(self._terms.room_id))
            self._room.leave(who, "forfeited")

    def end(self, reason: str) -> None:
        """End what is played, without showing another state of it."""
        played = self.played
        if played is not None and played.ended_at is None:
            now = self._seconds()
            played.room.close(reason, now)
            self.broadcast.is_muted = True
            played.end_turn(now)

    def _ended(self, played: Host) -> None:
        assert self.broadcast.end is not None
        end, report = self.broadcast.end
        if report is None and not self._seating.taken() and self._room.is_own:
            # All players have left: the room waits a while for others.
            self._clear(played)
            self.arm()
            return
        told = self._context.told
        if told is not None and report is not None and played.room.version:
            # Its author may save better rules: everybody stays, and all of it is kept.
            if self._failed is not played:
                self._failed = played
                told[self._terms.room_id] = show_fault(self._terms.name, report)
            return
        self._room.close(end.reason, end.outcome, end.view_hash)

    def _clear(self, played: Host) -> None:
        """Play is over, and another may begin; ids of actions go on rising."""
        for member in self._seating.members:
            seat = member.seat
            if seat is not None:
                member.acted, member.applied = played.acted[seat], played.applied[seat]
                if self.is_lasting and member.conversation is None:
                    member.lost_at = self._seconds()
        self.broadcast.unfollow()
        self.played = None
        self._seating.former.clear()
        self._room.changed()

    def stop(self, *, forget: bool, reason: str = "") -> None:
        """
        Let nothing happen any more.

        :param forget: remove what is kept: the room is over, for this *reason*.
        """
        self.is_closed = True
        if self.keeper is not None:
            self.keeper.stop(forget=forget, ending=reason if self.phase else "")
        self._alarm.stop()
