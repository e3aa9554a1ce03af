"""Steps that count only when a replica of the Redis has them, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.turns import TurnEnd
from vinom.errors import NothingStored, StoreUnavailable
from vinom.store.redis.client import RedisClient, Script

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
