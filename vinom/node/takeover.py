"""What nodes that died have left: their matches are lost, their players are free."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vinom.base.model import MatchEnd, NodeLease, Prematch
from vinom.errors import StoreUnavailable
from vinom.store.interfaces import IEstateStore, IMatchStore, INodeStore

#: Entries and matches that one step deals with.
_AT_ONCE = 100
#: Suspended entries expire after this many times what their players have to come back.
_BACKSTOP = 3

_What = TypeVar("_What")


class Takeover(Service):
    """
    Clear up after nodes whose lease is over; any number of nodes may do so at once.

    Their matches are played on by their game processes, which a node on the same
    machine adopts at once; those that nobody adopts end as lost. Their queue entries
    are this node's from now on, and stay for as long as those of a player who is
    disconnected; members of parties keep their places for as long, too. Their
    prematches end, and nobody is to blame. Their rooms wait for their players' grace;
    then they end.
    """

    name = "takeover"
    _log = Logger()

    def __init__(
        self,
        nodes: INodeStore,
        matches: IMatchStore,
        estates: IEstateStore,
        clock: IReactorTime,
        heartbeat: float = 2.0,
        lease: float = 10.0,
        *,
        ended: Callable[[MatchEnd], None] = lambda _: None,
        dissolved: Callable[[Prematch], Awaitable[None]] | None = None,
        lost: Callable[[str], None] = lambda _: None,
        end_rooms: Callable[[str], Awaitable[int]] | None = None,
        away_seconds: float = 10.0,
        memory_seconds: float = 600.0,
        match_seconds: float = 0.0,
        adopt: Callable[[str], Awaitable[None]] | None = None,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param nodes: the registry.
        :param matches: where matches end.
        :param estates: what dead nodes left.
        :param clock: its seconds are those of the Unix epoch.
        :param heartbeat: seconds between two looks.
        :param lease: how long a lease lasts, seconds.
        :param ended: called with each match that was ended.
        :param dissolved: called with each prematch that was ended, as it was.
        :param lost: called with the id of each player whose line went to such a node,
            or who has none and was expected by it.
        :param end_rooms: ends rooms of a node whose players did not come back.
        :param away_seconds: how long the entry of a disconnected player stays.
        :param memory_seconds: how long the end of a match is remembered.
        :param match_seconds: how long matches may be played on without a node.
        :param adopt: goes on with those matches of a node that this one can reach; of
            nodes that are about to stop if its id is empty.
        :param settled: called when nothing is left of a node that was gone.
        """
        self._match_seconds, self._adopt, self._settled = match_seconds, adopt, settled
        # By node and number of its lease: when its matches are lost.
        self._lost_at: dict[tuple[str, int], float] = {}
        self._nodes, self._matches, self._estates = nodes, matches, estates
        self._clock, self._lease = clock, lease
        self._ended, self._lost, self._dissolved = ended, lost, dissolved
        self._away_seconds = away_seconds
        self._end_rooms = end_rooms
        self._memory_seconds = memory_seconds
        self._heartbeat = heartbeat
        self._not_before = 0.0
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Look now and then."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self.wait()
        self._loop.start(self._heartbeat, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._loop.running:
            self._loop.stop()

    def wait(self) -> None:
        """
        Take over nothing for one lease.

        The store may have been away: all leases ended with it, and their nodes, which
        are well, need a moment to get new ones.
        """
        self._not_before = self._clock.seconds() + self._lease

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._clear_up()).addErrback(
            lambda failure: self._log.failure("cannot clear up", failure)
        )

    async def _clear_up(self) -> None:
        if self._clock.seconds() < self._not_before:
            return
        try:
            expired = await self._nodes.expired()
            dead = {(lease.node.node_id, lease.number) for lease in expired}
            if not self._lost_at.keys() <= dead:
                self._lost_at = {k: v for k, v in self._lost_at.items() if k in dead}
                self._settled()
            await self._adopt_left("")
            for lease in expired:
                try:
                    await self._bury(lease)
                except StoreUnavailable:
                    raise
                except Exception:
                    # The other nodes must not wait for this one; it is tried again.
                    self._log.failure(
                        "cannot clear up after node {node_id}",
                        node_id=lease.node.node_id,
                    )
            if self._end_rooms is not None and (count := await self._end_rooms("")):
                self._log.warn(
                    "ended {count} rooms of nodes that were stopped: nobody came back "
                    "to them",
                    count=count,
                )
        except StoreUnavailable:
            # The next look goes on: each step may be done twice.
            return

    async def _adopt_left(self, node_id: str) -> None:
        if self._adopt is None:
            return
        try:
            await self._adopt(node_id)
        except StoreUnavailable:
            raise
        except Exception:
            self._log.failure(
                "cannot go on with matches of {node_id}",
                node_id=node_id or "nodes that stop",
            )

    async def _report_dissolved(
        self, called: Callable[[Prematch], Awaitable[None]], prematch: Prematch
    ) -> None:
        """The same for a prematch, which takes its time."""
        try:
            await called(prematch)
        except StoreUnavailable:
            raise
        except Exception:
            self._log.failure("cannot clear up {what}", what=prematch)

    def _report(self, called: Callable[[_What], None], what: _What) -> None:
        """Report a match or a player; what fails for one is done for the others."""
        try:
            called(what)
        except Exception:
            self._log.failure("cannot clear up {what}", what=what)

    async def _bury(self, lease: NodeLease) -> None:
        node_id, lost = lease.node.node_id, 0
        now = self._clock.seconds()
        first = self._lost_at.setdefault(
            (node_id, lease.number), now + self._match_seconds
        )
        await self._adopt_left(node_id)
        while plans := await self._estates.matches_of(node_id, _AT_ONCE):
            if now < first:
                break
            for plan in plans:
                who = tuple(
                    attrs.evolve(seat, loadout=b"{}", claims=b"{}")
                    for seat in plan.seats
                )
                end = MatchEnd(plan.match_id, "lost", seats=who)
                expires_at = self._clock.seconds() + self._memory_seconds
                if await self._matches.end(end, expires_at):
                    lost += 1
                    self._report(self._ended, end)
        while left := await self._estates.abandon(
            node_id, _AT_ONCE, _BACKSTOP * self._away_seconds
        ):
            for player_id in left.alone:
                self._report(self._lost, player_id)
            if self._dissolved is not None:
                for prematch in left.prematches:
                    await self._report_dissolved(self._dissolved, prematch)
        while player_ids := await self._estates.cut(node_id, _AT_ONCE):
            for player_id in player_ids:
                self._report(self._lost, player_id)
        if self._end_rooms is not None and (count := await self._end_rooms(node_id)):
            self._log.warn(
                "ended {count} rooms of node {node_id}: nobody came back to them",
                count=count,
                node_id=node_id,
            )
        if plans:
            # Until then the node stays listed as one whose lease is over.
            return
        if await self._nodes.leave(node_id, lease.number):
            (self._log.warn if lost else self._log.info)(
                "node {node_id} is gone: {lost} of its matches are lost",
                node_id=node_id,
                lost=lost,
            )
