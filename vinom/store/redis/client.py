"""
One connection to Redis: deadlines, the breaker, and the clock of Redis; and the Lua
scripts that it runs, each of which is one step of a port.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.interfaces import IDelayedCall, IPullProducer, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisProtocol, ResponseError
from zope.interface import implementer

from vinom.base.limits.logged import BoundedLog, LogBounds, in_background
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.direct import DirectReads, socket_under
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import LeaseLost, Misconfigured, NothingStored, StoreUnavailable


@attrs.frozen
class Script:
    """
    One step.

    :ivar text: in Lua.
    :ivar digest: by which Redis knows a script that it has run before.
    """

    text: str = attrs.field(repr=False)
    digest: str


@cache
def load(port: str, *without_lease: str) -> dict[str, Script]:
    """
    Read the steps of a port; each begins with what all have, and all of its port.

    :param port: folder of ``scripts``.
    :param without_lease: steps that a node may take whose lease is over.
    """
    folder = files(__package__) / "scripts"
    texts = {
        path.name.removesuffix(".lua"): path.read_text("utf-8")
        for path in (folder / port).iterdir()
    }
    shared = [(folder / "common.lua").read_text("utf-8")]
    shared += [texts.pop("shared")] if "shared" in texts else []
    lease = (folder / "lease.lua").read_text("utf-8")
    for step in texts.keys() - set(without_lease):
        texts[step] = lease + texts[step]
    return {step: _script("\n".join([*shared, text])) for step, text in texts.items()}


def _script(text: str) -> Script:
    # Redis' own name for a script, no protection.
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@implementer(IPullProducer)
@attrs.define(eq=False)
class Wire:
    """
    Send the commands of a turn together when it ends, and read answers directly.

    The reactor would first wait for the socket to be writable, which takes a turn of
    its own; see `vinom.base.reactor.direct` for reading. Under TLS it does both.
    """

    _protocol: Any
    _turns: TurnEnd
    _direct: DirectReads
    _parts: list[bytes] = attrs.field(factory=list, init=False)
    _send: Callable[[bytes], int] | None = attrs.field(default=None, init=False)
    _descriptor: int = attrs.field(default=-1, init=False)
    # Does the transport hold something that must go first?
    _is_behind: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        socket = socket_under(self._protocol.transport)
        if socket is not None:
            self._send = socket.send
            self._descriptor = socket.fileno()
            self._direct.add(self._descriptor, socket.recv, self)
            self._protocol.whenDisconnected().addCallback(lambda _: self.leave())

    def leave(self) -> None:
        """Leave the rest to the reactor: the connection ends."""
        self._direct.remove(self._descriptor)
        self._descriptor = -1

    def dataReceived(self, data: bytes) -> None:
        """Answers came."""
        self._protocol.dataReceived(data)

    def abort(self) -> None:
        """End the connection at once."""
        self._protocol.transport.abortConnection()

    def write(self, data: bytes) -> None:
        """Send when the turn ends."""
        if not self._parts:
            self._turns.flush(self)
        self._parts.append(data)

    def flush(self) -> None:
        """The turn is over: send what was written in it."""
        if not self._parts:
            return
        data, self._parts = b"".join(self._parts), []
        if self._send is None or self._is_behind:
            self._protocol.transport.write(data)
            return
        try:
            sent = self._send(data)
        except OSError:
            # No room; or the end, which the reactor will find in its own way.
            sent = 0
        if sent < len(data):
            self._protocol.transport.write(data[sent:])
            # It is asked for more when the transport has sent that; and once at first.
            self._protocol.transport.registerProducer(self, False)
            self._is_behind = True

    def resumeProducing(self) -> None:
        """The transport holds nothing any more."""
        if self._is_behind:
            self._is_behind = False
            self._protocol.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""


@attrs.define
class Breaker:
    """
    Fail calls at once while the store does not answer.

    Closed, calls go out. It opens at the first time-out or lost connection, and closes
    when a new connection has answered. No call of a player tries whether it does.

    :ivar entropy: called with a number, gives that many random bytes: nodes that lost
        the store at one moment must not all come back at one moment.
    :ivar first: the first delay before a new connection, seconds.
    :ivar most: the longest delay.
    """

    entropy: Callable[[int], bytes]
    first: float = 0.1
    most: float = 1.0
    is_closed: bool = attrs.field(default=False, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def close(self) -> None:
        """A new connection has answered."""
        self.is_closed, self._failures = True, 0

    def open(self) -> float:
        """
        A call timed out, or a connection was lost or could not be made.

        :returns: seconds until the next try: twice as long each time, less a random
            part of up to a half.
        """
        self.is_closed = False
        delay = min(self.most, self.first * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return delay * (1.0 - int.from_bytes(self.entropy(2)) / (1 << 17))


#: What Redis answers if another server, or a later try, may accept the command.
_TRY_ANOTHER = ("READONLY", "NOREPLICAS", "LOADING", "MASTERDOWN", "UNKILLABLE", "BUSY")
#: Results of calls, for metrics.
OUTCOMES = ("ok", "late", "stale", "timeout", "lost", "open", "error")
#: Looks at the clock of Redis between two looks for replicas.
_REPLICA_LOOKS = 10

#: Connects a protocol of a factory to the Redis.
Dial = Callable[[Factory], Awaitable[Any]]


@attrs.frozen
class Access:
    """
    How a Redis is reached, and what of it is ours.

    :ivar dial: connects.
    :ivar prefix: of all keys.
    :ivar login: user and password.
    :ivar database: its number.
    :ivar deadline: seconds that an answer may take.
    :ivar beat: seconds between two looks at a connection, which find silence.
    """

    dial: Dial
    prefix: str = ""
    login: tuple[str | None, str | None] = (None, None)
    database: int = 0
    deadline: float = 1.0
    beat: float = 1.0


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
    :ivar epoch: names what the store had when it gave that lease.
    :ivar restoring: for how long nodes put back what it had lost, seconds, when it was
        last asked.
    """

    node_id: str
    lease: int = 0
    epoch: str = ""
    restoring: float = 0.0


@attrs.define(eq=False)
class _Call:
    """
    What Redis has not answered yet.

    :ivar began: when it was asked, on the clock for deadlines.
    :ivar script: the step; ``None`` for what is asked about the connection.
    :ivar args: of the step.
    """

    began: float
    script: Script | None = None
    args: Sequence[str | bytes] = ()
    answer: Deferred[Any] = attrs.field(factory=Deferred)


@attrs.define(eq=False)
class _Session:
    """
    A connection.

    :ivar wire: carries what is sent and answered.
    :ivar offset: what to add to a time of ours for the time in Redis' clock, at most.
    :ivar calls: in the order in which Redis answers them.
    :ivar alarm: when to look whether the first of them is late.
    :ivar overdue: the first of them, when it was found late.
    """

    protocol: Any
    wire: Wire
    offset: float = 0.0
    calls: deque[_Call] = attrs.field(factory=deque)
    alarm: IDelayedCall | None = None
    overdue: _Call | None = None

    def end(self) -> None:
        """Look at calls no more."""
        self.wire.leave()
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


class RedisClient(Service):
    """
    Run scripts in Redis, each before its deadline or not at all.

    :ivar owner: in whose name this node writes.
    :ivar turns: when calls go out.
    :ivar prefix: of all keys.
    :ivar outcomes: how many calls there were, by result.
    :ivar opened: how often the breaker opened.
    :ivar why: why there is no connection.
    :ivar has_replica: has the Redis of this connection had a replica, or needs it one?
    :ivar has_other_data: may the Redis of this connection lack what the one before had?
    """

    name = "store"
    _log = Logger()

    def __init__(
        self,
        access: Access,
        owner: Owner,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        entropy: Callable[[int], bytes],
        turns: TurnEnd,
        direct: DirectReads | None = None,
        measured: Callable[[float], None] = lambda _: None,
    ) -> None:
        """
        :param access: to the Redis.
        :param owner: named in every call.
        :param clock: for delays.
        :param monotonic: the time for deadlines, seconds.
        :param entropy: called with a number, returns that many random bytes.
        :param turns: when calls go out.
        :param direct: reads what is answered; the reactor does unless given.
        :param measured: called with the seconds that each answered call took.
        """
        self._access, self.owner, self._clock = access, owner, clock
        self._monotonic, self.turns, self.prefix = monotonic, turns, access.prefix
        self._direct = DirectReads() if direct is None else direct
        self._deadline, self._beat = access.deadline, access.beat
        self._breaker = Breaker(entropy)
        self._session: _Session | None = None
        self._next = Timer(self._clock)
        self._connecting: Deferred[None] | None = None
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
        self.has_replica = self.has_other_data = False
        # Which history of writes the Redis goes on with, by its own name.
        self._history = ""
        self._looks = 0

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
        self._next.cancel()
        if self._session is None:
            if self._connecting is not None:
                self._connecting.cancel()
            return None
        self._session.end()
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

    def _try(self) -> None:
        self._connecting = in_background(
            self._log, self._connect(), "cannot connect to the store"
        )

    async def _connect(self) -> None:
        session = None
        try:
            protocol = await self._access.dial(_Connections())
            protocol.transport.setTcpNoDelay(True)
            session = _Session(protocol, Wire(protocol, self.turns, self._direct))
            user, password = self._access.login
            if password is not None:
                parts = ("AUTH", password) if user is None else ("AUTH", user, password)
                await self._ask(session, *parts)
            if self._access.database:
                await self._ask(session, "SELECT", str(self._access.database))
            await self._look_at_clock(session)
            self.has_other_data = False
            has_replica = await self._look_for_replica(session)
        except Exception as error:
            if session is not None:
                session.end()
                session.protocol.transport.abortConnection()
            self._failed(error)
            return
        if not self.running:
            session.end()
            protocol.transport.abortConnection()
            return
        self._session, self.has_replica = session, has_replica
        protocol.whenDisconnected().addCallback(
            lambda _: self._lost(session, "it closed the connection")
        )
        self._breaker.close()
        self._log_back()
        self._next.start(self._beat, self._look, session)
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
        self._next.start(self._breaker.open(), self._try)
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
        session.end()
        self.opened += 1
        self.why = why
        self._log_away(why)
        self._next.start(self._breaker.open(), self._try)
        # Not `loseConnection`: that waits until Redis has read what we wrote.
        session.protocol.transport.abortConnection()
        for watch in self._watches:
            watch(False)

    def _look(self, session: _Session) -> None:
        """Find silence, and follow Redis' clock."""

        def found(_: None) -> None:
            if session is self._session:
                self._next.start(self._beat, self._look, session)

        looking = Deferred.fromCoroutine(self._look_once(session))
        looking.addCallbacks(
            found, lambda failure: self._lost(session, _reason(failure.value))
        )

    async def _look_once(self, session: _Session) -> None:
        await self._look_at_clock(session)
        self._looks = (self._looks + 1) % _REPLICA_LOOKS
        if not self.has_replica and not self._looks:
            found = await self._look_for_replica(session)
            if session is self._session:
                self.has_replica = found

    async def _look_for_replica(self, session: _Session) -> bool:
        """
        Find whether the Redis has a replica, or takes no writes without one.

        What it had once it must have until this connection ends: a replica that does
        not answer may be the next master.
        """
        facts = (await self._ask(session, "INFO", "replication")).decode()
        found = re.search(r"master_replid:(\w+)", facts)
        if found is not None and found[1] != self._history:
            # It was restarted, or a replica has taken its place.
            self.has_other_data = bool(self._history)
            self._history = found[1]
        return "state=online" in facts or "min_slaves_good_slaves:" in facts

    async def _look_at_clock(self, session: _Session) -> None:
        """
        Compare Redis' clock with ours.

        When Redis read its clock our time was not later than now. So a deadline in
        Redis' clock is never later than ours.
        """
        seconds, micros = await self._ask(session, "TIME")
        session.offset = int(seconds) + int(micros) / 1e6 - self._monotonic()

    def seconds(self) -> float | None:
        """Tell Redis' time, seconds since the Unix epoch; ``None`` if it is away."""
        session = self._session
        return None if session is None else self._monotonic() + session.offset

    # Calls.

    def run(self, script: Script, *args: str | bytes) -> Deferred[Any]:
        """
        Run one step.

        :param args: of the step.
        :returns: the script's answer: a number, bytes, or a list of bytes.
        :raises StoreUnavailable: it did not answer in time; or, as `LeaseLost`, the
            lease of this node is over.
        """
        if self._first is not None:
            return Deferred.fromCoroutine(self._run_later(script, args))
        session = self._session
        if session is None:
            self.outcomes["open"] += 1
            return fail(NothingStored(self.why))
        call = _Call(self._monotonic(), script, args)
        self._evaluate(session, call, "EVALSHA", script.digest)
        return call.answer

    def wait_for_replica(self) -> Deferred[int]:
        """
        Wait until a replica has what was written on this connection.

        :returns: fires how many have it: 0 if none had it within half the deadline.
        :raises StoreUnavailable: the connection was lost.
        """
        session = self._session
        if session is None:
            return fail(StoreUnavailable(self.why))

        def failed(failure: Failure) -> Any:
            assert failure.value is not None
            why = _reason(failure.value)
            self._lost(session, why)
            raise StoreUnavailable(why)

        milliseconds = str(max(1, round(500 * self._deadline)))
        asked = self._ask(session, "WAIT", "1", milliseconds)
        return asked.addCallbacks(int, failed)

    async def _run_later(self, script: Script, args: tuple[str | bytes, ...]) -> Any:
        """This node has just started: the first players need not come again."""
        if self._first is not None:
            self._first.append(waiting := Deferred[None]())
            with suppress(TimeoutError):
                await waiting.addTimeout(self._deadline, self._clock)
        if self._session is None:
            self.outcomes["open"] += 1
            raise NothingStored(self.why)
        return await self.run(script, *args)

    def _evaluate(
        self, session: _Session, call: _Call, command: str, name: str
    ) -> None:
        """
        Send a step.

        :param name: by which the command knows the script.
        """
        limit = int((call.began + self._deadline + session.offset) * 1e6)
        owner = self.owner
        parts = (command, name, "1", self.prefix, str(limit), owner.node_id)
        self._send(session, call, (*parts, str(owner.lease), *call.args))

    def _ask(self, session: _Session, *command: str) -> Deferred[Any]:
        """Send a command that is no step."""
        call = _Call(self._monotonic())
        self._send(session, call, command)
        return call.answer

    def _send(
        self, session: _Session, call: _Call, command: Sequence[str | bytes]
    ) -> None:
        """
        Send a command.

        Nodes do this all the time: it is written without coroutines, and one alarm for
        all calls finds those that are late, for Redis answers in order.
        """
        session.calls.append(call)
        if session.alarm is None:
            session.alarm = self._clock.callLater(
                self._deadline, self._find_late, session
            )
        session.protocol.replyQueue.get().addCallback(self._answered, session, call)
        session.wire.write(_encoded(command))

    def _find_late(self, session: _Session) -> None:
        session.alarm = None
        if not session.calls:
            return
        first = session.calls[0]
        left = first.began + self._deadline - self._monotonic()
        if left > 0 or first is not session.overdue:
            # A busy node may not have read an answer that has come: it is late only if
            # the next turn does not read it either.
            session.overdue = None if left > 0 else first
            session.alarm = self._clock.callLater(
                max(0.0, left), self._find_late, session
            )
        else:
            self._fail(session, session.calls.popleft(), TimeoutError())

    def _answered(self, reply: Any, session: _Session, call: _Call) -> None:
        """Take what Redis answered, or why it will not."""
        if not session.calls or session.calls[0] is not call:
            # It was late, and this is the end of the connection.
            return
        session.calls.popleft()
        if isinstance(reply, Exception):
            script = call.script
            if script and "NOSCRIPT" in str(reply) and session is self._session:
                # A Redis that has not run it before; from now on it knows it.
                self._evaluate(session, call, "EVAL", script.text)
            else:
                self._fail(session, call, reply)
            return
        if call.script is None:
            call.answer.callback(reply)
            return
        self._measured(self._monotonic() - call.began)
        if reply == b"LATE":
            self.outcomes["late"] += 1
            call.answer.errback(
                NothingStored("the call reached Redis after its deadline")
            )
        elif reply == b"STALE":
            self.outcomes["stale"] += 1
            call.answer.errback(LeaseLost("the lease of this node is over"))
        else:
            self.outcomes["ok"] += 1
            call.answer.callback(reply)

    def _fail(self, session: _Session, call: _Call, error: Exception) -> None:
        """Report that a call has no answer."""
        if call.script is None:
            call.answer.errback(error)
            return
        why = _reason(error)
        if isinstance(error, ResponseError):
            self.outcomes["error"] += 1
            if any(one in why for one in _TRY_ANOTHER):
                self._lost(session, why)
            else:
                self._bounded.error("Redis refuses a step: {why}", why=why)
        else:
            is_silent = isinstance(error, TimeoutError)
            self.outcomes["timeout" if is_silent else "lost"] += 1
            self._lost(session, why)
        call.answer.errback(StoreUnavailable(why))


def _encoded(parts: Sequence[str | bytes]) -> bytes:
    """Write a command as Redis reads it."""
    written = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        written.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(written)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__
