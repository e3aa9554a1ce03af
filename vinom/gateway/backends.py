"""
Find a back end for each session: choose one, connect, and try another if need be.

All are checked regularly, so that sessions need not find out what is down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol as Shape

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import BoundedLog, in_background
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.waits import Waits
from vinom.gateway.routing.health import Health, is_ours
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint, ServiceRule
from vinom.gateway.sessions import (
    HTTP_KINDS,
    Session,
    SessionCounts,
    SessionIds,
    SessionInUse,
    SessionRequest,
)
from vinom.net.lines.limits import Reserve
from vinom.net.streams.channels import Reason, Stream

_log = Logger()

#: Back ends that are tried for a session.
MOST_TRIES = 3


class Way(Shape):
    """A way of reaching back ends: one ``transport`` of rules."""

    def open(
        self, rule: ServiceRule, endpoint: Endpoint, session: Session
    ) -> Stream | Awaitable[Stream]:
        """
        Connect to a back end for a session, whose ``backend`` leg gets what it sends.

        No bytes of the session are sent before this has the stream, so that another
        back end can still serve it.

        :returns: the stream, or what gets it.
        :raises Exception: it cannot be reached.
        """

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """
        Find out whether a back end can be reached.

        :raises Exception: it cannot be reached.
        """


@attrs.frozen(eq=False)
class _Idle:
    """A session that may not be idle (`vinom.base.reactor.waits.Waiting`)."""

    backends: Backends
    session: Session
    seconds: float
    moved: int

    def overdue(self) -> None:
        """End it, if nothing was sent since."""
        session = self.session
        moved = session.client.bytes + session.backend.bytes
        if moved == self.moved:
            session.end(Reason.TIMEOUT, f"nothing was sent for {self.seconds:g} s")
        else:
            self.backends.watch(session, self.seconds, moved)


class Backends:
    """
    Begins sessions: the acceptors of all kinds of clients call `begin`.

    :ivar counts: counts for metrics.
    :ivar open: open sessions, by id.
    """

    def __init__(
        self,
        router: Router,
        health: Health,
        transports: Mapping[str, Way],
        ids: SessionIds,
        clock: IReactorTime,
        ended: Callable[[Session], None] = lambda _: None,
        reserve: Reserve | None = None,
    ) -> None:
        """
        :param router: chooses back ends.
        :param health: is informed which of them can be reached.
        :param transports: the ways of reaching them, by name.
        :param ids: assigns ids of sessions.
        :param clock: the clock.
        :param ended: called at the end of each session that began.
        :param reserve: of descriptors; ``None`` keeps none.
        """
        self._reserve = reserve or Reserve()
        self._router, self._health, self._transports = router, health, transports
        self._ids, self._clock, self._note_end = ids, clock, ended
        self._bounded_log = BoundedLog(_log, clock)
        self.counts = SessionCounts()
        self.open: dict[int, Session] = {}
        #: Those whose back ends have to answer.
        self._unanswered: dict[Session, IDelayedCall] = {}
        #: Those that end when nothing is sent.
        self._idle: dict[Session, _Idle] = {}
        self._waits = Waits(clock)

    def begin(self, request: SessionRequest, client: Stream) -> Session | None:
        """
        Begin a session.

        The client's bytes go to the session's ``client`` leg at once, which holds them
        until a back end is connected.

        :param client: the client's end. If the session ends, or there is no back end,
            its ``close`` is called with the reason, but never before this returns.
        :returns: ``None`` if the id that the client has chosen is in use.
        """
        now = self._clock.seconds()
        try:
            session_id = self._ids.take(request.session_id, now)
        except SessionInUse:
            self.counts.ended[Reason.SESSION_IN_USE] += 1
            return None
        session = Session(session_id, request, client, now, self._ended)
        self.open[session_id] = session
        self.counts.begun[request.kind] += 1
        try:
            self._open(session)
        except Exception:
            self._failed(session, Failure())
        return session

    def answered(self, session: Session, is_good: bool) -> None:
        """
        Count a back end's answer to an HTTP request; for HTTP, sessions do not count.

        :param is_good: ``False`` for 5xx, and for invalid answers.
        """
        if session.endpoint is not None:
            self._health.answered(session.endpoint, is_good)

    def still_serves(self, session: Session, request: SessionRequest) -> bool:
        """
        Would this request get the back end that a session has?

        Not if it is from another client, as on a proxy's connection: the back end was
        sent the address of the session's client.
        """
        rule, endpoint = self._router.rule_of(request), session.endpoint
        if (
            rule is None
            or endpoint is None
            or session.is_over
            or rule.service != session.service
            or request.user != session.request.user
            or request.host != session.request.host
        ):
            return False
        is_same = self._router.realm_of(rule, request) == session.realm_id
        is_named = self._router.has(rule, request, endpoint)
        return is_same and is_named and self._health.is_usable(endpoint)

    def _open(self, session: Session) -> None:
        router, request = self._router, session.request
        rule = router.rule_of(request)
        if rule is None:
            why = "no rule names this service"
            self._refuse(session, Reason.UNKNOWN_SERVICE, why)
            return
        if rule.path and request.kind == "packets" and not rule.is_linked:
            # In raw bytes a client could name itself, where the gateway does for HTTP.
            why = "the rule of this service has match: use HTTP or a WebSocket"
            self._refuse(session, Reason.UNKNOWN_SERVICE, why)
            return
        most, count = rule.most_sessions, self.counts.open[rule.service]
        if most and count >= most:
            self._refuse(
                session, Reason.TOO_MANY, f"{rule.service} has {most} sessions"
            )
            return
        if not (rule.is_linked or self._reserve.admits()):
            self._refuse(
                session, Reason.TOO_MANY, "this gateway has no descriptors left"
            )
            return
        session.service = rule.service
        session.realm_id = router.realm_of(rule, request)
        self.counts.open[rule.service] += 1
        self._try(session, rule, [])

    def _try(
        self,
        session: Session,
        rule: ServiceRule,
        tried: list[Endpoint],
        refusal: str = "",
    ) -> None:
        """
        Reach a back end that was not tried yet.

        :param tried: those that do not serve the session; others are added.
        :param refusal: of the last one; empty if it gave none.
        """
        router, request = self._router, session.request
        while len(tried) < MOST_TRIES and not session.is_over:
            endpoint = router.choose(
                rule, request, session.session_id, tried, self._clock.seconds()
            )
            if endpoint is None:
                break
            tried.append(endpoint)
            session.endpoint = endpoint
            router.begun(endpoint)
            self._health.tries(endpoint)
            try:
                opened = self._transports[rule.transport].open(rule, endpoint, session)
            except Exception as error:
                self._missed(session, rule, endpoint, error)
                continue
            if isinstance(opened, Awaitable):
                self._wait(opened, session, rule, tried, refusal)
            else:
                self._reached(session, rule, tried, opened)
            return
        if refusal:
            self._refuse(session, Reason.TOO_MANY, refusal)
            return
        why = f"no back end of {rule.service} can be reached"
        self._refuse(session, Reason.NO_BACKEND, why)

    def _wait(
        self,
        opened: Awaitable[Stream],
        session: Session,
        rule: ServiceRule,
        tried: list[Endpoint],
        refusal: str,
    ) -> None:
        """Go on when it is known whether the last of *tried* can be reached."""

        def reached(stream: Stream) -> None:
            self._reached(session, rule, tried, stream)

        def missed(failure: Failure) -> None:
            error = failure.value
            assert error is not None
            self._missed(session, rule, tried[-1], error)
            self._try(session, rule, tried, refusal)

        waiting = (
            opened if isinstance(opened, Deferred) else ensureDeferred(_awaited(opened))
        )
        waiting.addCallbacks(reached, missed)
        waiting.addErrback(lambda failure: self._failed(session, failure))

    def _reached(
        self, session: Session, rule: ServiceRule, tried: list[Endpoint], stream: Stream
    ) -> None:
        """Have the last of *tried* serve the session."""
        request, endpoint = session.request, tried[-1]
        self._health.reached(endpoint)
        self._router.stick(rule.service, request, endpoint, self._clock.seconds())
        refused = asked = None
        if rule.is_linked:
            refused = partial(self._refused, session, rule, tried)
        if rule.first_answer_seconds and request.kind not in HTTP_KINDS:
            asked = partial(self._asked, session, rule.first_answer_seconds)
        if rule.idle_seconds:
            self.watch(session, rule.idle_seconds, 0)
        session.serve(stream, refused, asked)

    def _missed(
        self,
        session: Session,
        rule: ServiceRule,
        endpoint: Endpoint,
        error: BaseException,
    ) -> None:
        """A back end cannot be reached."""
        if not session.is_over:
            self._router.ended(endpoint)
            session.endpoint = None
        if not is_ours(error):
            self._health.failed(endpoint)
        self._bounded_log.warn(
            "back end {endpoint} of {service} cannot be reached: {why}",
            endpoint=str(endpoint),
            service=rule.service,
            why=str(error) or type(error).__name__,
        )

    def watch(self, session: Session, seconds: float, moved: int) -> None:
        """
        End a session in which nothing is sent.

        :param moved: bytes sent so far.
        """
        idle = self._idle[session] = _Idle(self, session, seconds, moved)
        self._waits.add(idle, self._clock.seconds() + seconds)

    def _asked(self, session: Session, seconds: float) -> None:
        """A back end that has to answer soon got the first bytes of a client."""
        self._unanswered[session] = self._clock.callLater(
            seconds, self._is_unanswered, session, seconds
        )

    def _is_unanswered(self, session: Session, seconds: float) -> None:
        del self._unanswered[session]
        if session.backend.bytes:
            return
        self._bounded_log.warn(
            "back end {endpoint} of {service} sent nothing in {seconds} s",
            endpoint=str(session.endpoint),
            service=session.service,
            seconds=seconds,
        )
        session.end(Reason.BACKEND_LOST, "the back end did not answer")

    def _forget_timers(self, session: Session) -> None:
        timer = self._unanswered.pop(session, None)
        if timer is not None:
            timer.cancel()
        idle = self._idle.pop(session, None)
        if idle is not None:
            self._waits.remove(idle)

    def _refused(
        self, session: Session, rule: ServiceRule, tried: list[Endpoint], words: str
    ) -> None:
        """A back end that can be reached takes no more sessions."""
        self._forget_timers(session)
        if session.endpoint is not None:
            self._router.ended(session.endpoint)
            session.endpoint = None
        words = words or f"{rule.service} takes no more sessions"
        try:
            self._try(session, rule, tried, words)
        except Exception:
            self._failed(session, Failure())

    def _refuse(self, session: Session, reason: Reason, words: str) -> None:
        # Later, so that `begin` has returned the session first.
        self._clock.callLater(0, session.end, reason, words)

    def _failed(self, session: Session, failure: Failure) -> None:
        _log.failure("a session could not begin", failure)
        session.end(Reason.INTERNAL, "the gateway failed; see its log")

    def _ended(self, session: Session) -> None:
        if self.open.pop(session.session_id, None) is None:
            return
        self._forget_timers(session)
        counts = self.counts
        if session.service:
            counts.open[session.service] -= 1
            if not counts.open[session.service]:
                del counts.open[session.service]
        if session.endpoint is not None:
            self._router.ended(session.endpoint)
        # Who left before it was reached says nothing of it.
        if session.endpoint is not None and session.is_served:
            is_bad = session.outcome is Reason.BACKEND_LOST
            kind = session.request.kind
            # For HTTP answers count, including those to WebSocket handshakes.
            if kind not in HTTP_KINDS or (is_bad and kind == "websocket"):
                self._health.answered(session.endpoint, not is_bad)
            self._router.stick(
                session.service,
                session.request,
                session.endpoint,
                self._clock.seconds(),
            )
        if session.outcome is not None:
            counts.ended[session.outcome] += 1
        counts.received += session.client.bytes
        counts.sent += session.backend.bytes
        self._ids.give_back(session.session_id, self._clock.seconds())
        self._note_end(session)


async def _awaited(opened: Awaitable[Stream]) -> Stream:
    return await opened


#: The shortest time between two checks, seconds.
_LEAST_GAP = 0.01


class HealthChecks(Service):
    """
    Check all back ends of the rules, one after another, each every few seconds.

    :ivar failed: checks that failed.
    """

    name = "checks"

    def __init__(
        self,
        router: Router,
        health: Health,
        transports: Mapping[str, Way],
        clock: IReactorTime,
        seconds: float,
    ) -> None:
        """
        :param router: has the rules.
        :param health: gets the results.
        :param transports: the ways of reaching back ends, by name.
        :param clock: times the checks.
        :param seconds: time between two checks of a back end.
        """
        self._router, self._health, self._transports = router, health, transports
        self._clock, self._seconds = clock, seconds
        self._next = Timer(self._clock)
        self._left: list[tuple[ServiceRule, Endpoint]] = []
        self._gap = seconds
        self._running: set[Endpoint] = set()
        self.failed = 0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._step()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._next.cancel()

    def _step(self) -> None:
        if not self._left:
            self._left = self._all()
            self._gap = max(_LEAST_GAP, self._seconds / max(1, len(self._left)))
        self._next.start(self._gap, self._step)
        if not self._left:
            return
        rule, endpoint = self._left.pop()
        if endpoint in self._running or not self._health.is_reachable(endpoint):
            return
        self._running.add(endpoint)
        self._health.tries(endpoint)
        in_background(_log, self._check(rule, endpoint), "a check failed")

    def _all(self) -> list[tuple[ServiceRule, Endpoint]]:
        """List each back end once, with one of its rules."""
        router, found = self._router, {}
        for rule in router.rules.by_name.values():
            is_realm = rule.strategy == "realm"
            for endpoint in router.realms.values() if is_realm else rule.endpoints:
                if endpoint not in found or rule.check:
                    found[endpoint] = rule
        return [(rule, endpoint) for endpoint, rule in found.items()]

    async def _check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        before = self._health.state(endpoint)
        try:
            await self._transports[rule.transport].check(rule, endpoint)
        except Exception as error:
            self.failed += 1
            if not is_ours(error):
                self._health.failed(endpoint)
            if self._health.state(endpoint) == "open" and before in ("good", "new"):
                _log.warn(
                    "back end {endpoint} is down: {why}",
                    endpoint=str(endpoint),
                    why=str(error) or type(error).__name__,
                )
        else:
            self._health.reached(endpoint)
            if before in ("open", "half-open"):
                _log.info("back end {endpoint} is up", endpoint=str(endpoint))
        finally:
            self._running.discard(endpoint)
