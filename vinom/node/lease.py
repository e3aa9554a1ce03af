"""This node's lease: registered at the start, renewed, and given up at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import NodeFacts
from vinom.base.reactor.alarm import Timer
from vinom.errors import StoreUnavailable
from vinom.store.interfaces import INodeStore

#: How long other nodes may take to put back what an emptied store has lost, seconds, at
#: least: they try to connect once per second.
_RESTORING = 5.0


def heartbeat_of(lease: float) -> float:
    """How often a lease is renewed, and looked whether others' are, seconds."""
    return lease / 5


class LeaseWatch(Protocol):
    """Follows the lease: `vinom.node.store_watch.StoreWatch`."""

    def facts(self) -> NodeFacts:
        """What this node reports about itself."""

    def lease_granted(self) -> None:
        """This node has a new lease, the first or a later one."""

    def lease_regained(self) -> None:
        """This node has a new lease after it lost one."""

    def lease_over(self) -> None:
        """The lease has ended for this node."""


class OwnLease(Service):
    """
    Keep a lease for this node.

    :ivar number: its number; 0 without one.
    :ivar has_emptied: had the store lost everything when this node lost its last lease?
    :ivar watch: to be set before it starts.
    """

    name = "lease"
    _log = Logger()
    watch: LeaseWatch

    def __init__(
        self,
        nodes: INodeStore,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        seconds: float = 10.0,
    ) -> None:
        """
        :param nodes: the registry.
        :param clock: for delays.
        :param monotonic: the time by which the lease ends for this node, seconds.
        :param seconds: how long a lease lasts; there are five renewals in that time.
        """
        self._nodes, self._clock = nodes, clock
        self._monotonic, self._seconds = monotonic, seconds
        self._heartbeat = heartbeat = heartbeat_of(seconds)
        # A node that kept its connection finds out with its next heartbeat.
        self._restoring = max(_RESTORING, heartbeat + _RESTORING / 2)
        self._ends = 0.0
        self._next = Timer(self._clock)
        self._end = Timer(self._clock)
        self._is_asking = self._is_due = False
        # The number of the lease that was over before there is another one.
        self._lost = 0
        self.number = 0
        self.has_emptied = False
        self._epoch = ""
        self._is_doubted = False
        # When all nodes have put back what an emptied store has lost.
        self._restored_at = 0.0

    def is_store_complete(self) -> bool:
        """
        May this node believe the store that something does not exist?

        Not before a store that was away has shown that it still has this node's lease;
        nor while the nodes put back what an emptied one has lost.
        """
        return not self._is_doubted and self._monotonic() >= self._restored_at

    def doubt(self) -> None:
        """The store does not answer: it may come back empty."""
        if self.number:
            self._is_doubted = True

    @property
    def is_current(self) -> bool:
        """
        May this node act on what it owns?

        By its own clock, from before the last renewal was sent: for nobody else its
        lease ends earlier.
        """
        return self.number > 0 and self._monotonic() < self._ends

    def startService(self) -> None:
        """Register."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self.beat()

    def stopService(self) -> Deferred[None]:
        """Give up the lease, so that others need not wait for its end."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._next.cancel()
        self._end.cancel()
        return Deferred.fromCoroutine(self._leave())

    def beat(self) -> None:
        """Renew the lease now, for example because the store answers again."""
        # What is on its way may be old.
        self._is_due = self._is_asking
        if self.running and not self._is_asking:
            self._next.cancel()
            in_background(self._log, self._beat(), "no lease")

    async def _beat(self) -> None:
        self._is_asking = True
        try:
            await self._renew()
        except StoreUnavailable:
            # The store logs that itself, and has this node try again.
            pass
        finally:
            self._is_asking = False
            if self._is_due:
                self.beat()
            elif self.running:
                self._next.start(self._heartbeat, self.beat)

    async def _renew(self) -> None:
        facts = self.watch.facts()
        sent = self._monotonic()
        if self.number and not await self._nodes.renew(
            facts, self.number, self._seconds
        ):
            self._lost, self.number = self.number, 0
            sent = self._monotonic()
        is_new = not self.number
        if is_new:
            self.number = await self._nodes.register(
                facts, self._seconds, self._restoring
            )
            self._log.info(
                "node {node_id} has lease {number}",
                node_id=facts.node_id,
                number=self.number,
            )
            self.has_emptied = bool(self._lost) and self._nodes.epoch != self._epoch
            self._epoch = self._nodes.epoch
        if is_new and self._lost and not self.has_emptied:
            self._log.warn(
                "lease {number} of this node is over: it was silent for longer than "
                "{seconds:g} s",
                number=self._lost,
                seconds=self._seconds,
            )
        self._believe(is_new and self.has_emptied)
        self._ends = sent + self._seconds
        self._await_end()
        if is_new:
            self.watch.lease_granted()
        if self._lost:
            self._lost = 0
            self.watch.lease_regained()

    def _believe(self, is_emptied: bool) -> None:
        """Note that the store answers, and until when it lacks something."""
        self._is_doubted = False
        # Others may have found that out, and this node may have started since.
        pause = self._nodes.restoring
        if is_emptied:
            self._log.warn(
                "the store has lost everything: this node puts its matches back"
            )
            pause = self._restoring
        if pause:
            self._restored_at = max(self._restored_at, self._monotonic() + pause)

    def _await_end(self) -> None:
        if not self.running:
            return
        left = self._ends - self._monotonic()
        self._end.start(max(0.001, left), self._look_at_end)

    def _look_at_end(self) -> None:
        if self._monotonic() < self._ends:
            # The two clocks differ a little.
            self._await_end()
        else:
            self.watch.lease_over()

    async def _leave(self) -> None:
        number, self.number = self.number, 0
        if number:
            try:
                await self._nodes.leave(self.watch.facts().node_id, number)
            except StoreUnavailable as error:
                self._log.info("the lease ends by itself: {why}", why=error)
