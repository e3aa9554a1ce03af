"""
The registry of nodes in Redis; and what nodes own: rooms, matches, game servers, by
steps that count only when a replica of the Redis has them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from msgspec import json
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.buckets import network_of
from vinom.base.model import Claim, KeptSeats, Lasting, NodeFacts, NodeLease
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import NothingStored, StoreUnavailable
from vinom.store.interfaces import INodeStore, IOwnedStore
from vinom.store.redis.client import RedisClient, Script, load

_MISSING = "no replica of the store answers"


@attrs.define(eq=False)
class _Step:
    """
    What no replica has confirmed yet.

    :ivar is_done: has the master answered?
    :ivar found: what it answered.
    """

    answer: Deferred[Any] = attrs.field(factory=Deferred)
    is_done: bool = False
    found: Any = None


class ReplicatedSteps(Service):
    """
    Run steps in Redis, and wait until a replica has them.

    ``WAIT`` covers what its own connection wrote, and nothing is done on a connection
    that waits: so these steps have a connection of their own. One ``WAIT`` at the end
    of a turn is for all its steps, and one at a time is on its way. A Redis without a
    replica has neither.

    :ivar own: the connection of these steps.
    """

    name = "store replica"
    _log = Logger()

    def __init__(self, client: RedisClient, own: RedisClient, turns: TurnEnd) -> None:
        """
        :param client: the connection of all other steps, which finds replicas.
        :param own: another one, not started.
        :param turns: of the reactor.
        """
        self._client, self.own, self._turns = client, own, turns
        self._steps: list[_Step] = []
        self._is_asked = self._is_waiting = self._is_missing = False
        self._was_available = True
        self._watches: list[Callable[[bool], None]] = []
        own.watch(self._own_changed)

    @property
    def is_needed(self) -> bool:
        """Has the Redis a replica?"""
        return self._client.has_replica

    def watch(self, watch: Callable[[bool], None]) -> None:
        """Call *watch* whenever replicas stop to answer, or answer again."""
        self._watches.append(watch)

    def stopService(self) -> Deferred[Any] | None:
        """Disconnect."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return self.own.stopService() if self.own.running else None

    def run(self, script: Script, *args: str | bytes) -> Deferred[Any]:
        """
        Run one step; see `RedisClient.run`.

        :raises StoreUnavailable: the master has not answered in time, or no replica.
        """
        if not self.is_needed:
            return self._client.run(script, *args)
        if not self.running:
            return fail(NothingStored("this node stops"))
        if not self.own.running:
            self.own.startService()
        if self._is_missing:
            return fail(NothingStored(_MISSING))
        step = _Step()
        self._steps.append(step)
        self.own.run(script, *args).addCallbacks(
            self._done, self._failed, callbackArgs=(step,), errbackArgs=(step,)
        )
        if not self._is_asked:
            self._is_asked = True
            self._turns.call(self._turn_ends)
        return step.answer

    def _done(self, found: Any, step: _Step) -> None:
        step.is_done, step.found = True, found
        # Seldom: it was sent later than the turn's WAIT, or before a connection.
        if not self._is_asked:
            self._wait()

    def _failed(self, failure: Failure, step: _Step) -> None:
        if step in self._steps:
            self._steps.remove(step)
            step.answer.errback(failure)

    def _turn_ends(self) -> None:
        self._is_asked = False
        self._wait()

    def _wait(self) -> None:
        """Ask whether a replica has what this connection wrote."""
        if self._is_waiting or not self.own.is_available:
            return
        if self._steps or self._is_missing:
            self._is_waiting = True
            self.own.wait_for_replica().addCallbacks(self._confirmed, self._unknown)

    def _confirmed(self, replicas: int) -> None:
        self._is_waiting = False
        self._is_missing = replicas < 1
        # Redis answers in order: those that are done were done before the WAIT.
        done = [one for one in self._steps if one.is_done]
        self._steps = [one for one in self._steps if not one.is_done]
        for one in done:
            if self._is_missing:
                one.answer.errback(StoreUnavailable(_MISSING))
            else:
                one.answer.callback(one.found)
        self._report()
        if not self._is_asked:
            self._wait()

    def _unknown(self, failure: Failure) -> None:
        """The connection was lost, and with it what the next WAIT would cover."""
        self._is_waiting = False
        self._fail_all(str(failure.value))

    def _own_changed(self, is_available: bool) -> None:
        self._is_missing = False
        if not is_available:
            self._fail_all(self.own.why)
        self._report()

    def _fail_all(self, why: str) -> None:
        steps, self._steps = self._steps, []
        for one in steps:
            one.answer.errback(StoreUnavailable(why))

    def _report(self) -> None:
        is_available = self.own.is_available and not self._is_missing
        if is_available is not self._was_available:
            self._was_available = is_available
            if self._is_missing:
                self._log.error("{why}: rooms that need one stand still", why=_MISSING)
            elif is_available:
                self._log.info("a replica of the store answers again")
            for watch in self._watches:
                watch(is_available)


_STEPS = load("nodes", "hold", "leave", "list")


@implementer(INodeStore)
@attrs.frozen
class RedisNodeStore:
    """
    Nodes in hashes; Redis' clock ends their leases.

    A lease that this store registered is named in all later calls of its client.

    :ivar client: runs the steps.
    """

    client: RedisClient

    @property
    def epoch(self) -> str:
        """Names what the store had at the last `register`."""
        return self.client.owner.epoch

    @property
    def restoring(self) -> float:
        """For how long nodes put back what it had lost, seconds, at the last answer."""
        return self.client.owner.restoring

    def register(
        self, node: NodeFacts, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        return self._hold(node, 0, seconds, restoring)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        return self._hold(node, lease, seconds).addCallback(bool)

    def _hold(
        self, node: NodeFacts, lease: int, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        owner = self.client.owner
        is_own = node.node_id == owner.node_id

        def held(found: list[Any]) -> int:
            number = int(found[0])
            if is_own:
                owner.restoring = int(found[2]) / 1000
            if is_own and not lease:
                owner.lease, owner.epoch = number, found[1].decode()
            return number

        return self.client.run(
            _STEPS["hold"],
            node.node_id,
            str(lease),
            json.encode(node),
            str(round(1000 * seconds)),
            owner.epoch if is_own and not lease else "",
            str(round(1000 * restoring)),
        ).addCallback(held)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        left = self.client.run(_STEPS["leave"], node_id, str(lease))
        return left.addCallback(bool)

    def nodes(self, expired: bool = False) -> Deferred[Sequence[NodeLease]]:
        def read(found: list[bytes]) -> list[NodeLease]:
            return [
                NodeLease(json.decode(data, type=NodeFacts), int(number))
                for data, number in zip(found[::2], found[1::2], strict=True)
            ]

        which = "expired" if expired else "running"
        return self.client.run(_STEPS["list"], which).addCallback(read)


_OWNED_STEPS = load("owned", "left")


@implementer(IOwnedStore)
@attrs.frozen
class RedisOwnedStore:
    """
    What is kept of things of one kind, in hashes, which also name their owners.

    :ivar client: runs the steps.
    :ivar replicated: runs those that must be on a replica; ``None`` if none must.
    :ivar kind: of what: "room", "checkpoint" of a match, or "server".
    :ivar machine: where game servers run.
    """

    client: RedisClient
    replicated: ReplicatedSteps | None = None
    kind: str = "room"
    machine: str = ""
    # Rooms of which a checkpoint is on its way to a replica, and how many.
    _ahead: Counter[str] = attrs.field(factory=Counter, init=False)

    def put(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        is_ahead: bool = False,
        lasting: Lasting | None = None,
    ) -> Deferred[bool]:
        about, step = self._about(grace), _OWNED_STEPS["put"]
        args: tuple[str | bytes, ...] = (thing_id, self.kind, str(fence), data, about)
        args = (*args, "0", *_lasting(lasting))
        replicated = self.replicated
        if not is_ahead or replicated is None or not replicated.is_needed:
            return self.client.run(step, *args).addCallback(bool)
        self._ahead[thing_id] += 1
        return (
            replicated.run(step, *args).addBoth(self._put, thing_id).addCallback(bool)
        )

    def _put(self, found: Any, thing_id: str) -> Any:
        self._ahead[thing_id] -= 1
        if not self._ahead[thing_id]:
            del self._ahead[thing_id]
        return found

    def _about(self, grace: float) -> str:
        return self.machine if self.kind == "server" else str(round(1000 * grace))

    def _after_put(
        self, thing_id: str, script: Script, *args: str | bytes
    ) -> Deferred[Any]:
        """Run a step on the connection that has a room's checkpoint on its way."""
        if thing_id in self._ahead and self.replicated is not None:
            return self.replicated.run(script, thing_id, self.kind, *args)
        return self.client.run(script, thing_id, self.kind, *args)

    def release(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        lasting: Lasting | None = None,
    ) -> Deferred[bool]:
        about, step = self._about(grace), _OWNED_STEPS["put"]
        last = "1", *_lasting(lasting)
        asked = self._after_put(thing_id, step, str(fence), data, about, *last)
        return asked.addCallback(bool)

    def claim(
        self, thing_id: str, reserve: bool = False, again: bool = False, gone: str = ""
    ) -> Deferred[Claim]:
        def read(found: list[bytes]) -> Claim:
            kind, fence, data, left, node_id, age = found
            return Claim(
                kind.decode(),  # type: ignore[arg-type]  # one of them
                int(fence),
                data,
                int(left) / 1000,
                node_id.decode(),
                int(age) / 1000 if age else None,
            )

        wish = "0" if not reserve else "2" if again else "1"
        asked = self.client.run(_OWNED_STEPS["claim"], thing_id, self.kind, gone, wish)
        return asked.addCallback(read)

    def remove(self, thing_id: str, fence: int, ending: str = "") -> Deferred[bool]:
        asked = self._after_put(thing_id, _OWNED_STEPS["forget"], str(fence), ending)
        return asked.addCallback(bool)

    def left(self, node_id: str, most: int) -> Deferred[Sequence[bytes]]:
        left = _OWNED_STEPS["left"]
        return self.client.run(left, node_id, self.kind, str(most), self.machine)

    def asleep(self, most: int) -> Deferred[KeptSeats]:
        return self._kept_seats("", "", str(most))

    def seats_of(self, player_id: str, opener: str = "") -> Deferred[KeptSeats]:
        return self._kept_seats(player_id, network_of(opener))

    def _kept_seats(self, player_id: str, *args: str) -> Deferred[KeptSeats]:
        def read(found: list[bytes]) -> KeptSeats:
            opened, *rest = found
            rooms = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
            return KeptSeats(
                {id.decode(): (data, int(age) / 1000) for id, data, age in rooms},
                int(opened),
            )

        step = _OWNED_STEPS["seats_of"]
        asked = self.client.run(step, player_id, self.kind, *args)
        return asked.addCallback(read)


def _lasting(lasting: Lasting | None) -> tuple[str, ...]:
    """Write the last arguments of the step that keeps a room."""
    if lasting is None:
        return ()
    age = str(round(1000 * lasting.age))
    return " ".join(lasting.players), network_of(lasting.opener), age
