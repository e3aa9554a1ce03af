"""One connection to Redis: deadlines, the breaker, and the clock of Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from txredisapi import ConnectionError, RedisProtocol, ResponseError

from vinom.errors import LeaseLost, Misconfigured, NothingStored, StoreUnavailable
from vinom.limits.logged import BoundedLog, LogBounds
from vinom.store.redis.breaker import Breaker
from vinom.store.redis.scripts import Script

#: What Redis answers if another server, or a later try, may accept the command.
_TRY_ANOTHER = ("READONLY", "NOREPLICAS", "LOADING", "MASTERDOWN", "UNKILLABLE", "BUSY")
#: Results of calls, for metrics.
OUTCOMES = ("ok", "late", "stale", "timeout", "lost", "open", "error")

#: Connects a protocol of a factory to the Redis.
Dial = Callable[[Factory], Awaitable[Any]]


class _Connections(Factory):
    """Make protocols that return bytes as they came."""

    noisy = False

    def buildProtocol(self, addr: object) -> Any:
        protocol = RedisProtocol(charset=None, convertNumbers=False)
        protocol.factory = self
        return protocol


@attrs.define
class Owner:
    """
    In whose name this node writes.

    :ivar node_id: of this run of the node.
    :ivar lease: the number of its lease; 0 before it has one.
    """

    node_id: str
    lease: int = 0


@attrs.define
class _Session:
    """
    A connection that has answered.

    :ivar offset: what to add to a time of ours for the time in Redis' clock, at most.
    """

    protocol: Any
    offset: float


class RedisClient(Service):
    """
    Run scripts in Redis, each before its deadline or not at all.

    :ivar owner: in whose name this node writes.
    :ivar prefix: of all keys.
    :ivar outcomes: how many calls there were, by result.
    :ivar opened: how often the breaker opened.
    :ivar why: why there is no connection.
    """

    name = "store"
    _log = Logger()

    def __init__(
        self,
        dial: Dial,
        owner: Owner,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        entropy: Callable[[int], bytes],
        *,
        prefix: str,
        login: tuple[str | None, str | None] = (None, None),
        database: int = 0,
        deadline: float = 1.0,
        beat: float = 1.0,
        measured: Callable[[float], None] = lambda _: None,
    ) -> None:
        """
        :param dial: connects.
        :param owner: named in every call.
        :param clock: for delays.
        :param monotonic: the time for deadlines, seconds.
        :param entropy: called with a number, returns that many random bytes.
        :param prefix: of all keys.
        :param login: user and password.
        :param database: its number.
        :param deadline: seconds that a call may take.
        :param beat: seconds between two looks at Redis' clock, which also find silence.
        :param measured: called with the seconds that each answered call took.
        """
        self._dial, self.owner, self._clock = dial, owner, clock
        self._monotonic, self.prefix = monotonic, prefix
        self._login, self._database = login, database
        self._deadline, self._beat = deadline, beat
        self._breaker = Breaker(entropy)
        self._session: _Session | None = None
        self._next: IDelayedCall | None = None
        self._watches: list[Callable[[bool], None]] = []
        # While the first connection is made: the calls that wait for it.
        self._first: list[Deferred[None]] | None = []
        self._measured = measured
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.opened = 0
        # While the store is away: since when, and how many calls had failed before.
        self._away_since: float | None = None
        self._away_calls = 0
        #: A Redis that comes and goes must not fill the log.
        self._bounded = BoundedLog(self._log, clock, LogBounds(0.1, 6.0))
        self.why = "not connected yet"

    @property
    def is_available(self) -> bool:
        """Do calls go out?"""
        return self._breaker.is_closed

    def watch(self, watch: Callable[[bool], None]) -> None:
        """Call *watch* whenever the store becomes available, or stops to be."""
        self._watches.append(watch)

    # Life.

    def startService(self) -> None:
        """Connect, and stay connected."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._try()

    def stopService(self) -> Deferred[Any] | None:
        """Disconnect."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._let_go()
        self._cancel()
        if self._session is None:
            return None
        protocol, self._session = self._session.protocol, None
        self._breaker.open()
        self.why = "this node stops"
        gone: Deferred[Any] = protocol.whenDisconnected()
        # A stopped Redis may not take the last calls.
        give_up = self._clock.callLater(
            self._deadline, protocol.transport.abortConnection
        )
        gone.addCallback(lambda _: give_up.cancel() if give_up.active() else None)
        protocol.transport.loseConnection()
        return gone

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _try(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._connect()).addErrback(
            lambda failure: self._log.failure("cannot connect to the store", failure)
        )

    async def _connect(self) -> None:
        protocol = None
        try:
            protocol = await self._dial(_Connections())
            protocol.transport.setTcpNoDelay(True)
            deadline = self._monotonic() + self._deadline
            user, password = self._login
            if password is not None:
                parts = ("AUTH", password) if user is None else ("AUTH", user, password)
                await self._ask(protocol, deadline, *parts)
            if self._database:
                await self._ask(protocol, deadline, "SELECT", str(self._database))
            offset = await self._look_at_clock(protocol)
        except Exception as error:
            if protocol is not None:
                protocol.transport.abortConnection()
            self._failed(error)
            return
        if not self.running:
            protocol.transport.abortConnection()
            return
        self._session = session = _Session(protocol, offset)
        protocol.whenDisconnected().addCallback(
            lambda _: self._lost(session, "it closed the connection")
        )
        self._breaker.close()
        self._log_back()
        self._next = self._clock.callLater(self._beat, self._look, session)
        for watch in self._watches:
            watch(True)
        self._let_go()

    def _failed(self, error: Exception) -> None:
        """Try again later."""
        if not self.running:
            return
        why = str(error) or type(error).__name__
        if isinstance(error, Misconfigured) and why != self.why:
            self._bounded.error("the store cannot be used: {why}", why=why)
        else:
            self._log_away(why)
        self.why = why
        self._next = self._clock.callLater(self._breaker.open(), self._try)
        self._let_go()

    def _log_away(self, why: str) -> None:
        """Log it when the store stops answering, and not again until it is back."""
        if self._away_since is None:
            self._away_since = self._monotonic()
            self._away_calls = self._failed_calls()
            self._bounded.error(
                "the store does not answer: {why}; trying again", why=why
            )

    def _log_back(self) -> None:
        since, self._away_since = self._away_since, None
        if since is None:
            self._log.info("the store answers")
            return
        self._bounded.info(
            "the store answers again, after {seconds:.1f} s; {count} calls failed",
            seconds=self._monotonic() - since,
            count=self._failed_calls() - self._away_calls,
        )

    def _failed_calls(self) -> int:
        return sum(self.outcomes.values()) - self.outcomes["ok"]

    def _let_go(self) -> None:
        """Let calls go on that waited for the first connection."""
        waiting, self._first = self._first or [], None
        for call in waiting:
            call.callback(None)

    def _lost(self, session: _Session, why: str) -> None:
        """Open the breaker, and connect again."""
        if session is not self._session:
            return
        self._session = None
        self._cancel()
        self.opened += 1
        self.why = why
        self._log_away(why)
        self._next = self._clock.callLater(self._breaker.open(), self._try)
        # Not `loseConnection`: that waits until Redis has read what we wrote.
        session.protocol.transport.abortConnection()
        for watch in self._watches:
            watch(False)

    def _look(self, session: _Session) -> None:
        """Find silence, and follow Redis' clock."""

        def found(offset: float) -> None:
            session.offset = offset
            if session is self._session:
                self._next = self._clock.callLater(self._beat, self._look, session)

        self._next = None
        looking = Deferred.fromCoroutine(self._look_at_clock(session.protocol))
        looking.addCallbacks(
            found, lambda failure: self._lost(session, _reason(failure.value))
        )

    async def _look_at_clock(self, protocol: Any) -> float:
        """
        Compare Redis' clock with ours.

        When Redis read its clock our time was not later than now. So a deadline in
        Redis' clock is never later than ours.
        """
        deadline = self._monotonic() + self._deadline
        seconds, micros = await self._ask(protocol, deadline, "TIME")
        return int(seconds) + int(micros) / 1e6 - self._monotonic()

    # Calls.

    def run(self, script: Script, *args: str | bytes) -> Deferred[Any]:
        """
        Run one step.

        :param args: of the step.
        :returns: the script's answer: a number, bytes, or a list of bytes.
        :raises StoreUnavailable: it did not answer in time; or, as `LeaseLost`, the
            lease of this node is over.
        """
        return Deferred.fromCoroutine(self._run(script, args))

    async def _run(self, script: Script, args: tuple[str | bytes, ...]) -> Any:
        if self._first is not None:
            # This node has just started: the first players need not come again.
            self._first.append(waiting := Deferred[None]())
            with suppress(TimeoutError):
                await waiting.addTimeout(self._deadline, self._clock)
        session = self._session
        if session is None:
            self.outcomes["open"] += 1
            raise NothingStored(self.why)
        began = self._monotonic()
        try:
            reply = await self._evaluate(session, began + self._deadline, script, args)
        except (TimeoutError, ConnectionError) as error:
            is_silent = isinstance(error, TimeoutError)
            self.outcomes["timeout" if is_silent else "lost"] += 1
            self._lost(session, _reason(error))
            raise StoreUnavailable(_reason(error)) from None
        except ResponseError as error:
            self.outcomes["error"] += 1
            why = str(error)
            if any(one in why for one in _TRY_ANOTHER):
                self._lost(session, why)
            else:
                self._bounded.error("Redis refuses a step: {why}", why=why)
            raise StoreUnavailable(why) from None
        self._measured(self._monotonic() - began)
        if reply == b"LATE":
            self.outcomes["late"] += 1
            raise NothingStored("the call reached Redis after its deadline")
        if reply == b"STALE":
            self.outcomes["stale"] += 1
            raise LeaseLost("the lease of this node is over")
        self.outcomes["ok"] += 1
        return reply

    async def _evaluate(
        self,
        session: _Session,
        deadline: float,
        script: Script,
        args: tuple[str | bytes, ...],
    ) -> Any:
        limit = int((deadline + session.offset) * 1e6)
        rest = (
            *("1", self.prefix),
            *(str(limit), self.owner.node_id, str(self.owner.lease)),
            *args,
        )
        protocol = session.protocol
        try:
            return await self._ask(protocol, deadline, "EVALSHA", script.digest, *rest)
        except ResponseError as error:
            if "NOSCRIPT" not in str(error):
                raise
        # A Redis that has not run it before; from now on it knows it.
        return await self._ask(protocol, deadline, "EVAL", script.text, *rest)

    def _ask(
        self, protocol: Any, deadline: float, *command: str | bytes
    ) -> Deferred[Any]:
        """Send a command, and wait for its answer until the deadline."""
        asked: Deferred[Any] = protocol.execute_command(*command)
        left = max(0.0, deadline - self._monotonic())
        return asked.addTimeout(left, self._clock)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__
