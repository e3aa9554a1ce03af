"""
Rounds of matchmaking: which queue is looked at when, and what is started there; and
what waiting players are told of their places.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import Any, Protocol

import attrs
from msgspec import UNSET
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import BoundedLog, in_background, log_unless_away
from vinom.base.messages.lobby import QueueStatus
from vinom.base.model import QueueEntry, Waiting
from vinom.base.reactor.alarm import Timer
from vinom.lobby.conversation.online import Online
from vinom.lobby.matches.service import Matches
from vinom.lobby.matchmaking.queues import Queue, Queues
from vinom.lobby.matchmaking.rules.rule import Proposal, Rule, Shape
from vinom.store.interfaces import ILobbyStore
from vinom.store.patience import RETRY_SECONDS, if_unsure, patiently

#: How long a queue rests when no game server could be had for a match, seconds: each
#: failure doubles it, up to the second number, and a while without one ends that.
_REST, _LONGEST_REST, _REST_FORGOTTEN = 1.0, 30.0, 120.0
#: Entries read at once when a table can start; more if a table has more seats.
MOST_READ = 1000

#: Entries that are offered seats in running rooms in one round, and how long after a
#: round that found none the next one looks, seconds.
_MOST_OFFERED, _OFFER_SECONDS = 100, 1.0
#: Matches of one look at a queue that are started at the same time: the store answers
#: one step while it is sent the next ones.
_MOST_STARTED = 50
#: Work of one turn of the reactor, seconds; a slice of a rule's work comes on top.
_SLICE_SECONDS = 0.005
#: Rounds over a long queue have pauses, seconds for each entry: 2 s for 100,000.
_PAUSE_PER_ENTRY = 20e-6
#: A wait that is logged, and again each time that it is longer by as much, seconds.
_LONG_WAIT = 300.0
#: Players whose places are looked up in one turn of the reactor.
_MOST_LOOKED_UP = 500

#: A queue, whose entries may meet: see `QueueEntry.pool`.
Pool = tuple[str, bytes, str]


class Slices:
    """Let the reactor have its turn during long work."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock, self._began = clock, clock.seconds()

    async def rest(self) -> None:
        """Wait for the next turn, if this one was long enough."""
        # The time of day may be set back.
        if abs(self._clock.seconds() - self._began) > _SLICE_SECONDS:
            await deferLater(self._clock, 0)
            self._began = self._clock.seconds()


class Running(Protocol):
    """Finds seats in running rooms: `vinom.rooms.rooms.Rooms`."""

    async def seats(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """Keep seats for these players; returns the room's id, or nothing."""


async def _made(starts: list[Deferred[None]]) -> None:
    """
    Wait until matches that are being started are made.

    :param starts: emptied at once.
    :raises Exception: one of them could not be made.
    """
    running, starts[:] = starts[:], []
    failures: list[Failure] = []
    for start in running:
        start.addErrback(failures.append)
    await DeferredList(running)
    if failures:
        failures[0].raiseException()


class Schedule:
    """
    When which queue is looked at next: soon after a change, or when its rule says so.

    :ivar held_until: before this time none is.
    :ivar changed: those that the next round looks at, with how many wait there, if that
        is known.
    """

    def __init__(self) -> None:
        self.held_until = 0.0
        self.changed: dict[Pool, Waiting | None] = {}
        # The others as a heap, and by queue.
        self._due: list[tuple[float, Pool]] = []
        self._due_at: dict[Pool, float] = {}
        self._rests_until: dict[Pool, float] = {}
        # When it may start matches again, and how often it could not.
        self._failing: dict[Pool, tuple[float, int]] = {}

    def set_due(self, pool: Pool, due: float | None) -> None:
        """Have a round look at it at this time, if no other one does before."""
        if due is not None and self._due_at.get(pool, inf) > due:
            self._due_at[pool] = due
            heappush(self._due, (due, pool))

    def take(self, now: float) -> dict[Pool, Waiting | None]:
        """Take the queues of the round that begins."""
        changed, self.changed = self.changed, {}
        while self._due and self._due[0][0] <= now:
            _, pool = heappop(self._due)
            self._due_at.pop(pool, None)
            changed[pool] = None
        return changed

    def next(self, now: float) -> float | None:
        """Find in how many seconds the next one is due."""
        # A millisecond more, so that rounding never starts a round too early.
        return max(0.0, self._due[0][0] - now) + 0.001 if self._due else None

    def rest(self, pool: Pool, until: float) -> None:
        """Do not look at a queue before this time."""
        self._rests_until[pool] = until

    def failed(self, pool: Pool, now: float) -> None:
        """Let a queue rest: no game server could be had for a match of it."""
        for each, (until, _) in tuple(self._failing.items()):
            if until + _REST_FORGOTTEN < now:
                del self._failing[each]
        until, failures = self._failing.get(pool, (0.0, 0))
        if until <= now:
            # Matches that fail together count once.
            rest = min(_LONGEST_REST, _REST * 2 ** min(failures, 5))
            self._failing[pool] = now + rest, failures + 1

    def is_resting(self, pool: Pool, now: float) -> bool:
        """May a queue not be looked at? If so, that is due later."""
        failing_until, _ = self._failing.get(pool, (0.0, 0))
        until = max(failing_until, self.held_until, self._rests_until.pop(pool, 0.0))
        if until > now:
            self._rests_until[pool] = until
            self.set_due(pool, until)
        return until > now


class Rounds:
    """
    Look at queues, and start what their rules find there.

    That is done in rounds, soon after a change, and never two at once.

    :ivar schedule: when which is looked at.
    :ivar running_rooms: finds seats in running rooms, for queues with ``backfill``.
    :ivar no_seats: by queue, the smallest party that lately got none.
    """

    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        queues: Queues,
        matches: Matches,
        clock: IReactorTime,
        start: Callable[[Proposal, Queue], Coroutine[Any, Any, None]],
        seated: Callable[[QueueEntry, str], None],
    ) -> None:
        """
        :param store: has the queues.
        :param queues: with their rules.
        :param matches: says whether this node drains.
        :param clock: its seconds are those of the Unix epoch.
        :param start: starts a match, or asks its players.
        :param seated: called with an entry that is out of its queue, and the id of the
            running room that has seats for its players.
        """
        self._store, self._queues, self._matches = store, queues, matches
        self._clock, self._start, self._seated = clock, start, seated
        #: For what players can have logged as often as they ask.
        self._bounded = BoundedLog(self._log, clock)
        self.schedule = Schedule()
        self.running_rooms: Running | None = None
        self.no_seats: dict[Pool, int] = {}
        # Queues whose players are being offered such seats.
        self._offers: dict[Pool, Deferred[None]] = {}
        # When a long wait was logged last.
        self._warned: dict[Pool, float] = {}
        # The next round, and whether it is as near as can be.
        self._next: IDelayedCall | None = None
        self._is_soon = self._is_playing = False

    def look_at(self, pool: Pool, waiting: Waiting | None = None) -> None:
        """
        Have the next round look at a queue.

        It does not start within this call: requests of one turn of the reactor are
        matched together, and answers go out before the updates that they cause.

        :param waiting: how many wait there, if that is known.
        """
        self.schedule.changed[pool] = waiting
        if not self._is_playing:
            self._play_in(0.0)

    def hold(self, seconds: float) -> None:
        """
        Start no matches for a while: the store was away, and may lack what nodes wrote
        last, until each has compared that.
        """
        self.schedule.held_until = self._clock.seconds() + seconds

    def failed(self, pool: Pool) -> None:
        """No game server could be had for a match of this queue: let it rest."""
        self.schedule.failed(pool, self._clock.seconds())

    def stop(self) -> None:
        """Start no further round."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _play_in(self, seconds: float) -> None:
        """Have a round begin then, or earlier if one is due."""
        if self._next is not None:
            if self._is_soon:
                return
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._begin)
        self._is_soon = not seconds

    def _begin(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._round())

    async def _round(self) -> None:
        """Start all matches that can start."""
        self._is_playing = True
        now = self._clock.seconds()
        left = self.schedule.take(now)
        try:
            for pool, waiting in tuple(left.items()):
                await self._look_into(pool, now, waiting)
                del left[pool]
            delay = self.schedule.next(now)
        except Exception:
            log_unless_away(self._log, "a round of matchmaking failed", Failure())
            delay = RETRY_SECONDS
        self._is_playing = False
        if self.schedule.changed:
            delay = 0.0
        # Those left over because storage did not answer.
        self.schedule.changed |= dict.fromkeys(left)
        if delay is not None:
            self._play_in(delay)

    async def _look_into(self, pool: Pool, now: float, waiting: Waiting | None) -> None:
        """Start the matches of one queue; read its entries only if there can be any."""
        # The entries that a node leaves that drains are for other nodes.
        if self._matches.is_draining or self.schedule.is_resting(pool, now):
            return
        queue = self._queues.of(pool[0], pool[2])
        if queue is not None and queue.backfills and self.running_rooms is not None:
            offer = self._offers.pop(pool, None)
            if offer is None:
                work = self._backfill(self.running_rooms, pool, now)
                offer = Deferred.fromCoroutine(work)
                if not offer.called:
                    offer.addBoth(self._offered, pool)
            if not offer.called:
                # Another node may not answer: other queues do not wait for it.
                self._offers[pool] = offer
                return
            await offer
        if waiting is None:
            waiting = await self._store.waiting(*pool)
        due = None
        rule = None if queue is None else queue.rule_for(pool[1])
        if queue and rule and waiting.ready >= rule.shape.fewest:
            due = rule.due(waiting)
            if due is not None and due <= now:
                due = await self._find(queue, pool, now)
        self.schedule.set_due(pool, due)
        self.schedule.set_due(pool, self._watch_wait(pool, waiting, now))

    def _offered(self, result: Any, pool: Pool) -> Any:
        """Have a round match those who got no seat."""
        self.look_at(pool)
        return result

    async def _backfill(self, running: Running, pool: Pool, now: float) -> None:
        """Send players who wait to free seats of running rooms, longest wait first."""
        game, options, name = pool
        page = await self._store.page(game, options, name, "", _MOST_OFFERED)
        self.no_seats.pop(pool, None)
        for entry in page.entries:
            player_ids = entry.player_ids
            if len(player_ids) >= self.no_seats.get(pool, inf):
                continue
            room_id = await running.seats(game, options, player_ids)
            if not room_id:
                self.no_seats[pool] = len(player_ids)
                continue
            # Without an answer it may be out of the queue, or wait.
            left = await self._store.leave(
                player_ids[0], entry.entry_id, ready=True
            ).addErrback(if_unsure, partial(self._settle_later, entry, room_id))
            if left is None:
                # Matched, or gone; the seats are soon free again.
                continue
            self._seated(entry, room_id)
        if pool in self.no_seats:
            self.schedule.set_due(pool, now + _OFFER_SECONDS)

    def _settle_later(self, entry: QueueEntry, room_id: str) -> None:
        work = self._settle_offer(entry, room_id)
        in_background(self._log, work, "seats are not settled")

    async def _settle_offer(self, entry: QueueEntry, room_id: str) -> None:
        """
        Find out whether an entry was claimed for a room; the answer was lost.

        A step that was not answered has had its effect when its deadline is over. If
        it had none, the players wait.
        """
        player_id = entry.player_ids[0]

        async def is_free() -> bool:
            where = await self._store.of_player(player_id)
            return where.entry is None and where.plan is None

        await deferLater(self._clock, RETRY_SECONDS)
        if await patiently(self._clock, is_free):
            self._seated(entry, room_id)

    def _watch_wait(self, pool: Pool, waiting: Waiting, now: float) -> float | None:
        """Log a long wait; returns when to look at it again."""
        if waiting.since is None:
            self._warned.pop(pool, None)
            return None
        at = max(waiting.since, self._warned.get(pool, 0.0)) + _LONG_WAIT
        if at > now:
            return at
        self._warned[pool] = now
        game, _, name = pool
        self._bounded.warn(
            "a player has waited {seconds:.0f} s in the queue {queue}, in which "
            "{count} can be matched: vinom explain PLAYER says why",
            seconds=now - waiting.since,
            queue=name or game,
            count=waiting.ready,
        )
        return now + _LONG_WAIT

    async def _find(self, queue: Queue, pool: Pool, now: float) -> float | None:
        """Start what a queue's rule finds; returns when to ask the rule again."""
        rule, slices = queue.rule_for(pool[1]), Slices(self._clock)
        most = max(MOST_READ, rule.shape.most)
        page = await self._store.page(*pool, "", most)
        entries = list(page.entries)
        if page.next and rule.is_in_order:
            is_found, again = await self._apply(queue, rule, entries, now, slices)
            if is_found:
                # There may be more of them than were read.
                self.look_at(pool)
                return again
        while page.next:
            page = await self._store.page(*pool, page.next, most)
            entries += page.entries
            await slices.rest()
        _, again = await self._apply(queue, rule, entries, now, slices)
        if len(entries) > MOST_READ:
            pause = len(entries) * _PAUSE_PER_ENTRY
            self.schedule.rest(pool, self._clock.seconds() + pause)
        return again

    async def _apply(
        self,
        queue: Queue,
        rule: Rule,
        entries: Sequence[QueueEntry],
        now: float,
        slices: Slices,
    ) -> tuple[bool, float | None]:
        """Start what a rule finds; returns whether it did, and when to ask again."""
        starts: list[Deferred[None]] = []
        is_found = False
        finding = rule.find(entries, now)
        try:
            while True:
                try:
                    found = next(finding)
                except StopIteration as stop:
                    return is_found, stop.value
                except Exception:
                    # It must not keep other queues from being matched.
                    self._log.failure(
                        "the rule of queue {queue} failed", queue=queue.name
                    )
                    return is_found, now + RETRY_SECONDS
                if found is not None:
                    if not _is_sound(found, rule.shape):
                        self._log.error(
                            "the rule of queue {queue} proposed a match of {count} "
                            "players that its settings do not allow",
                            queue=queue.name,
                            count=sum(len(entry.players) for entry in found.entries),
                        )
                        return is_found, now + RETRY_SECONDS
                    is_found = True
                    starts.append(Deferred.fromCoroutine(self._start(found, queue)))
                    if len(starts) >= _MOST_STARTED:
                        await _made(starts)
                await slices.rest()
        finally:
            await _made(starts)


def _is_sound(proposal: Proposal, shape: Shape) -> bool:
    """Is this a match that its queue allows? A rule may be anybody's."""
    entries, teams = proposal.entries, proposal.teams
    players = [player.player_id for entry in entries for player in entry.players]
    return (
        shape.fewest <= len(players) <= shape.most
        and len(set(players)) == len(players)
        and len({entry.pool for entry in entries}) == 1
        and len(teams) in (0, len(entries))
        and all(0 <= team < (shape.teams or 0) for team in teams)
    )


@attrs.define(eq=False)
class _Listed:
    """A waiting player of this node, and the last place sent to them."""

    entry: QueueEntry
    place: int


class QueueUpdates:
    """
    Send players their places when they move up; many moves make one message.

    Each round looks only at queues that an entry has left, and there only at players
    of this node.
    """

    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        online: Online,
        clock: IReactorTime,
        pause: float,
    ) -> None:
        """
        :param store: finds places.
        :param online: sends messages to players.
        :param clock: for pauses, and for how long players have waited.
        :param pause: least time between two rounds of them, seconds.
        """
        self._store, self._online = store, online
        self._clock, self._pause = clock, pause
        self._listed: dict[str, _Listed] = {}
        self._queues: dict[tuple[str, bytes, str], dict[str, None]] = {}
        self._changed: set[tuple[str, bytes, str]] = set()
        self._unsent: list[str] = []
        self._next = Timer(self._clock)

    def follow(self, entry: QueueEntry, place: int) -> QueueStatus:
        """
        Send those players of *entry* who are here changes of its place from now on.

        :param place: 0 in a prematch: who waits again after it is sent the place.
        """
        # The players may have waited for something else before.
        self.forget(entry.player_ids)
        here = filter(self._online.find, entry.player_ids)
        for player_id in here if place else ():
            self._listed[player_id] = _Listed(entry, place)
            self._queues.setdefault(entry.pool, {})[player_id] = None
        return self._waiting(entry, place or None)

    def forget(self, player_ids: Iterable[str]) -> None:
        """Stop sending to these players: they do not wait, or not at this node."""
        for player_id in player_ids:
            listed = self._listed.pop(player_id, None)
            if listed is not None:
                key = listed.entry.pool
                queue = self._queues[key]
                del queue[player_id]
                if not queue:
                    del self._queues[key]

    def listed(self) -> dict[str, QueueEntry]:
        """List the players whose places are sent, with their entries."""
        return {player_id: one.entry for player_id, one in self._listed.items()}

    def changed(self, pool: tuple[str, bytes, str]) -> None:
        """Places in this queue changed: the next round sends them."""
        if pool in self._queues:
            self._changed.add(pool)
            self._next.ensure(self._pause, self._begin)

    def stop(self) -> None:
        """Stop sending."""
        self._next.cancel()

    def _begin(self) -> None:
        changed, self._changed = sorted(self._changed), set()
        self._unsent = [
            player_id for key in changed for player_id in self._queues.get(key, ())
        ]
        self._send_some()

    def _send_some(self) -> None:
        some, self._unsent = (
            self._unsent[:_MOST_LOOKED_UP],
            self._unsent[_MOST_LOOKED_UP:],
        )
        in_background(self._log, self._send(some), "places were not sent")
        if self._unsent:
            self._next.start(0, self._send_some)
        elif self._changed:
            self._next.start(self._pause, self._begin)

    async def _send(self, player_ids: Sequence[str]) -> None:
        listed = [
            (player_id, self._listed[player_id])
            for player_id in player_ids
            if player_id in self._listed
        ]
        places = await self._store.places([one.entry.entry_id for _, one in listed])
        for (player_id, one), place in zip(listed, places, strict=True):
            # It may have left the queue while the store was asked.
            if place == one.place or self._listed.get(player_id) is not one:
                continue
            if place and self._online.waits(player_id):
                one.place = place
                self._online.send((player_id,), self._waiting(one.entry, place))
            else:
                # Matched, perhaps by another node: it no longer waits.
                self.forget((player_id,))

    def _waiting(self, entry: QueueEntry, place: int | None) -> QueueStatus:
        waited = max(0.0, self._clock.seconds() - entry.since)
        return QueueStatus(
            "waiting", entry.game, place, round(waited, 3), entry.queue or UNSET
        )
