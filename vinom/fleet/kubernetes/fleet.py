"""
Game servers of a cluster: made, watched, and never forgotten.

A pod is made for each game server. It dials this node, proves
who it is, and gets an address only when a match needs it. The API server reports
whether it runs, and how it ended; a pod is over when its processes have ended, not when
its object is gone.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode, b64encode
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.logged import in_background
from vinom.base.model import Addresses, Exit, ServerAddress
from vinom.base.reactor.alarm import Timer
from vinom.errors import NoCapacity
from vinom.fleet.interfaces import IFleet, IGameServer
from vinom.fleet.kubernetes.api import ENDED, ApiError, KubernetesApi, PodWatch
from vinom.fleet.kubernetes.objects import (
    MATCH,
    OWNER,
    SERVER,
    Object,
    exit_of,
    is_ended,
    is_pending,
    is_running,
    label_of,
    name_of,
    problem_key,
    problem_of,
    uid_of,
)
from vinom.fleet.kubernetes.pods import Pods
from vinom.fleet.kubernetes.template import AUDIENCE
from vinom.fleet.port_ring import PortRing

#: Waits between the attempts at one request, seconds.
_AGAIN = (0.2, 1.0, 3.0)
#: Later waits, for requests that are repeated until they are answered, seconds.
_AGAIN_LATER = 10.0
#: The grace of a pod that is to be killed, seconds: with 0 its object would be removed
#: while it may still run.
_KILL_SECONDS = 1
#: A pod that is to be killed has at least this long to be seen to end, seconds.
_END_SECONDS = 5.0
#: How often pods that have ended are searched for, of whatever node, seconds.
_TIDY_SECONDS = 300.0
#: How long pods may take to end when the fleet closes, seconds.
_CLOSE_SECONDS = 15.0
#: How long after a match is placed its pod is labelled, seconds: players wait for
#: placements, but nothing waits for labels.
_LABEL_AFTER = 0.5
#: Statuses of a deletion that was not carried out, and need not be logged: it is not
#: needed any more, was logged before, or the object is gone.
_HARMLESS = (0, 401, 403, 404, 409)
#: Prefix of a proof by token; any other proof is a secret.
TOKEN = b"token:"


@attrs.define(eq=False)
class _Pod:
    """
    One game server.

    :ivar server: the game server in the pod.
    :ivar name: of its object; new each time.
    :ivar proof: hash of the secret that proves that a process is the pod; empty once
        it is used.
    :ivar later: hash of the secret that proves it from then on.
    :ivar welcome: that secret, until it is sent.
    :ivar value: its object, as last seen; ``None`` before it is made.
    :ivar reached: gets the address; ``None`` once it has, or if nothing waits for it.
    :ivar runs: fire when it runs.
    :ivar port: its port of the ring, if it has one.
    :ivar ending: the grace with which it was asked to end, seconds; ``None`` if it was
        not asked.
    :ivar giving_up: rings when its lease is over, so that it cannot send any more.
    :ivar is_proven: has a token proven that it is the pod?
    :ivar is_making: is the request that makes it still without an answer?
    :ivar complete: fires when the other objects that it needs are made.
    :ivar labels: labels still to be written on it.
    :ivar is_labelling: are they being written?
    :ivar is_asked: is a request under way that finds out whether it exists?
    :ivar asks: number of such requests; only the latest answer counts.
    :ivar seen: how often the watch has reported it.
    :ivar is_unlisted: was it missing in a list that was read while it was being made?
    """

    server: IGameServer
    name: str
    proof: bytes
    reached: Deferred[ServerAddress] | None = None
    reaching: Deferred[None] | None = None
    making: Deferred[None] | None = None
    later: bytes = b""
    welcome: bytes = b""
    value: Object | None = None
    runs: list[Deferred[Object]] = attrs.field(factory=list)
    port: int | None = None
    ending: int | None = None
    giving_up: IDelayedCall | None = None
    is_proven: bool = False
    is_making: bool = True
    complete: Deferred[None] = attrs.field(factory=Deferred)
    labels: dict[str, str | None] | None = None
    is_labelling: bool = False
    is_asked: bool = False
    asks: int = 0
    seen: int = 0
    is_unlisted: bool = False


@implementer(IFleet)
class KubernetesFleet:
    """
    Make pods, watch them, and find their addresses.

    :ivar problem: why pods do not start; empty if no reason is known.
    :ivar arrived: not used, because pods dial by themselves.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        kind: Pods,
        ring: PortRing,
        now: Callable[[], float],
        entropy: Callable[[int], bytes],
        lease_seconds: float,
        interface: str = "",
    ) -> None:
        """
        :param reactor: the clock; its thread gets the results of other threads.
        :param api: the cluster's.
        :param kind: how its pods are made and reached.
        :param ring: UDP ports of machines, for pods that use them; otherwise only the
            number of ports counts.
        :param now: seconds on a monotonic clock.
        :param entropy: called with a number, returns that many random bytes.
        :param lease_seconds: how long after its last answer a game server has certainly
            stopped sending.
        :param interface: IP address that game servers bind; the pod's own unless given.
        """
        self._lease_seconds = lease_seconds
        self._reactor, self._api, self._kind = reactor, api, kind
        self._ring, self._now, self._entropy = ring, now, entropy
        self._interface = interface
        self._pods: dict[str, _Pod] = {}
        self._by_name: dict[str, _Pod] = {}
        self._closed: Deferred[None] | None = None
        self._insist = Timer(self._reactor)
        self._is_closing_threads = False
        # Waits of requests that are repeated.
        self._pauses: set[Deferred[None]] = set()
        # Objects of pods that are being deleted.
        self._removing: set[tuple[str, int, str]] = set()
        self.problem = ""
        # Does the problem keep pods from being made, and not those made from running?
        self._is_refused = self._is_forbidden = False
        self.arrived: Any = None
        self._watch = PodWatch(
            reactor, api, kind.selector, self._listed, self._seen, self._jitter
        )
        self._tidying = LoopingCall(self._tidy)
        self._tidying.clock = reactor
        self._is_open = False
        # Is a game server certainly this node's? If shared, others may take it over.
        self._is_ours: Callable[[str], bool] = lambda _: True
        self._is_shared = False
        # Pods whose match has changed.
        self._unlabelled: dict[_Pod, None] = {}
        self._labelling = Timer(self._reactor)

    def _open(self) -> None:
        if not self._is_open:
            self._is_open = True
            self._watch.start()
            self._tidying.start(_TIDY_SECONDS)

    def share(self, is_ours: Callable[[str], bool]) -> None:
        """
        Let other nodes take pods over. Call this before anything starts.

        :param is_ours: is it certain that no other node has a game server?
        """
        self._is_ours, self._is_shared = is_ours, True

    @property
    def namespace(self) -> str:
        """Where the pods are."""
        return self._api.namespace

    def reaches(self, server_id: str, handle: str) -> Deferred[bool]:
        """
        Is a pod that another node has made in this cluster, and has it not ended?

        Names are used once, so a pod of another cluster is not found here.
        """
        return Deferred.fromCoroutine(self._reaches(server_id, handle))

    async def _reaches(self, server_id: str, handle: str) -> bool:
        read = _read_handle(handle)
        if read is None or self._closed is not None:
            return False
        try:
            value = await self._api.find(read[0])
        except ApiError as error:
            if error.status != 404:
                self._log.warn(
                    "the cluster does not say whether pod {name} is there: {why}",
                    name=read[0],
                    why=str(error),
                )
            return False
        return label_of(value, SERVER) == server_id and not is_ended(value)

    def is_running(self, server_id: str) -> bool:
        """Does a game server's pod run, as far as the API server has reported?"""
        pod = self._pods.get(server_id)
        return pod is not None and pod.value is not None and is_running(pod.value)

    def is_child(self, peer: Any) -> bool:
        """Never: no process on this machine is one of these game servers."""
        return False

    def clear(self) -> None:
        """Do nothing: they have no files on this machine."""

    # Starting.

    def start(self, server: IGameServer) -> Deferred[ServerAddress]:
        """
        Make a pod; the result comes when players can reach it.

        Cancelling kills the pod.

        :raises NoCapacity: the cluster refused, or the pod ended.
        """
        server_id = server.server_id
        if server_id in self._pods:
            raise ValueError(f"game server {server_id} was started already")
        if self._closed is not None:
            return fail(NoCapacity("the fleet is closed"))
        self._open()
        secret = b64encode(self._entropy(24)).decode("ascii")
        # Different each time, because an earlier pod with this id may still be ending.
        suffix = b32encode(self._entropy(5)).decode("ascii").lower()
        pod = _Pod(server, f"vinom-{server_id}-{suffix}", _hash(secret.encode()))

        def give_up(_: Deferred[ServerAddress]) -> None:
            pod.reached = None
            self._end(pod, _KILL_SECONDS)

        reached: Deferred[ServerAddress] = Deferred(give_up)
        pod.reached = reached
        self._pods[server_id] = self._by_name[pod.name] = pod
        pod.making = Deferred.fromCoroutine(self._make(pod, secret))
        pod.making.addErrback(self._not_made, pod)
        pod.reaching = Deferred.fromCoroutine(self._reach(pod))
        pod.reaching.addErrback(self._not_reached, pod)
        return reached

    async def _make(self, pod: _Pod, secret: str) -> None:
        kind, server_id = self._kind, pod.server.server_id
        if kind.has_port_first:
            pod.port = self._ring.take()
            if pod.port is None:
                raise ApiError(403, "NoPort", "no host port is free: widen ports")
        port = pod.port or 0
        made = await self._insistently(
            pod, lambda: kind.make(pod.name, server_id, secret, port)
        )
        pod.is_making = False
        if self._is_refused:
            self._report("")
        if pod.value is None:
            self._look(pod, made)
        if pod.is_unlisted and self._is_known(pod):
            # Made and gone before that list was: no watch reports it.
            self._doubt(pod)
        await self._insistently(
            pod, lambda: kind.complete(made, server_id) or succeed(made)
        )
        pod.complete.callback(None)
        if pod.ending is not None:
            self._ask_to_end(pod)

    async def _insistently(
        self, pod: _Pod, create: Callable[[], Deferred[Object]]
    ) -> Object:
        """
        Create an object, with more attempts if the API server does not answer.

        A name is never used twice, so an object that exists is the requested one.

        :returns: the object.
        :raises ApiError: it is refused, no attempt was answered, or the pod is not
            needed any more.
        """
        for wait in (*_AGAIN, None):
            if pod.ending is not None and pod.value is None and wait != _AGAIN[0]:
                # It may exist all the same: see `_not_made`.
                raise ApiError(0, "NotWanted", "it is not needed any more")
            try:
                return await create()
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    # Made by an attempt that got no answer.
                    return pod.value or await self._api.find(pod.name)
                if not error.is_passing or wait is None:
                    raise
                await self._pause(wait)
        raise AssertionError("unreachable")

    async def _deleted(
        self, ask: Callable[[], Deferred[Object]], is_wanted: Callable[[], bool]
    ) -> None:
        """
        Repeat a request that deletes until the API server carries it out.

        One that has just started refuses everything until it has read the roles.

        :raises ApiError: the object is gone or was replaced, the request is wrong, or
            it is not needed any more.
        """
        while True:
            try:
                await self._answered(ask, is_wanted)
            except ApiError as error:
                if error.status not in (401, 403):
                    raise
                if not self._is_forbidden:
                    self._is_forbidden = True
                    self._log.warn(
                        "pods cannot be deleted: {why}; this is tried again", why=error
                    )
                await self._pause(_AGAIN_LATER)
                if self._is_closing_threads or not is_wanted():
                    raise
            else:
                self._is_forbidden = False
                return

    async def _answered(
        self, ask: Callable[[], Deferred[Object]], is_wanted: Callable[[], bool]
    ) -> Object:
        """
        Repeat a request until the API server answers.

        :param ask: makes the request.
        :param is_wanted: is the answer still needed?
        :raises ApiError: the answer is a refusal, or is not needed any more.
        """
        for wait in chain(_AGAIN, repeat(_AGAIN_LATER)):
            try:
                return await ask()
            except ApiError as error:
                if not error.is_passing:
                    raise
                self._log.debug(
                    "a request is repeated, because it was not answered: {why}",
                    why=str(error),
                )
            await self._pause(wait)
            if self._is_closing_threads or not is_wanted():
                break
        raise ApiError(0, "NotWanted", "it is not needed any more")

    async def _pause(self, seconds: float) -> None:
        """Wait for about this long, but not longer than this fleet exists."""
        seconds *= 0.5 + self._jitter()
        pause: Deferred[None] = deferLater(self._reactor, seconds)
        self._pauses.add(pause)
        try:
            await pause
        except CancelledError:
            pass
        finally:
            self._pauses.discard(pause)

    def _is_known(self, pod: _Pod) -> bool:
        return self._by_name.get(pod.name) is pod

    def _jitter(self) -> float:
        """Return a random number from 0 to 1."""
        return self._entropy(1)[0] / 256

    def _not_made(self, failure: Failure, pod: _Pod) -> None:
        pod.is_making = False
        if not self._is_known(pod):
            # It was made, and is over already.
            return
        error = failure.value
        if not isinstance(error, ApiError):
            self._log.failure("cannot make pod {name}", failure, name=pod.name)
        if pod.value is not None:
            # The pod exists, but not the other objects that it needs.
            self._report(f"the Service of a pod cannot be made: {error}")
            self._end(pod, _KILL_SECONDS)
            return
        why = f"the cluster makes no pod: {error}"
        if not isinstance(error, ApiError) or error.reason != "NotWanted":
            self._report(why)
            self._is_refused = True
        if isinstance(error, ApiError) and error.status == 0:
            # It may have been made even so.
            self._remove(pod.name, _KILL_SECONDS)
        self._forget(pod)
        self._give_back(pod)
        self._stop_reaching(pod, NoCapacity(why))
        self._check_closed()

    def _remove(self, name: str, grace: int, conditions: Object | None = None) -> None:
        """Delete the object of a pod that is over, unless it is gone already."""
        asked = name, grace, str(conditions)
        if asked in self._removing:
            # It is listed again and again while nobody may delete it.
            return
        self._removing.add(asked)

        def refused(failure: Failure) -> None:
            error = failure.value
            if not isinstance(error, ApiError) or error.status not in _HARMLESS:
                self._log.warn(
                    "{name} cannot be deleted: {why}",
                    name=name,
                    why=failure.getErrorMessage(),
                )

        removed = Deferred.fromCoroutine(
            self._deleted(
                lambda: self._api.delete(name, grace, conditions), lambda: True
            )
        )
        removed.addErrback(refused)
        removed.addBoth(lambda _: self._removing.discard(asked))

    # Reaching.

    async def _reach(self, pod: _Pod) -> None:
        kind, server, failures = self._kind, pod.server, 0
        while True:
            await server.wanted()
            value = await self._running(pod)
            # Each pod takes a port of the ring, even if it is only counted.
            pod.port = pod.port or self._ring.take()
            if pod.port is None:
                continue
            place = kind.inside(value, pod.port, failures)
            if place is not None:
                host, port = place
                if await server.bind(self._interface or host, port):
                    break
                failures += 1
            if pod.port is not None:
                spoilt, pod.port = pod.port, None
                self._ring.quarantine(spoilt, self._now())
            if kind.inside(value, 0, failures) is None:
                self._end(pod, _KILL_SECONDS)
                return
        # It may run before its Service exists.
        await pod.complete
        where = await kind.outside(value, pod.port, failures)
        if pod.reached is not None:
            reached, pod.reached = pod.reached, None
            reached.callback(where)

    async def _running(self, pod: _Pod) -> Object:
        if pod.value is not None and is_running(pod.value):
            return pod.value
        runs: Deferred[Object] = Deferred()
        pod.runs.append(runs)
        return await runs

    def _not_reached(self, failure: Failure, pod: _Pod) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(NoCapacity):
            self._report(failure.getErrorMessage())
        self._log.error(
            "game server {server} has no address: {why}",
            server=pod.server.server_id,
            why=failure.getErrorMessage(),
        )
        self._end(pod, _KILL_SECONDS)

    # Identity.

    def prove(self, server_id: str, proof: bytes) -> Deferred[None]:
        """
        Check a proof for which the API server is needed: a token of a pod.

        `admits` is called after the result has come.
        """
        pod = self._pods.get(server_id)
        if pod is None or not proof.startswith(TOKEN):
            return succeed(None)
        token = proof.removeprefix(TOKEN).decode("ascii", "replace")
        return _logged(
            self._review(pod, token),
            self._log.warn,
            "the token of game server {name} cannot be checked: {why}",
            server_id,
        )

    async def _review(self, pod: _Pod, token: str) -> None:
        """
        Check at the API server whose token this is.

        Source: https://kubernetes.io/docs/reference/access-authn-authz/
        service-accounts-admin/#bound-service-account-tokens
        """
        status = await self._api.review(token, AUDIENCE)
        extra = (status.get("user") or {}).get("extra") or {}
        names = extra.get("authentication.kubernetes.io/pod-name") or []
        uids = extra.get("authentication.kubernetes.io/pod-uid") or []
        pod.is_proven = (
            status.get("authenticated") is True
            and AUDIENCE in (status.get("audiences") or ())
            and names == [pod.name]
            and pod.value is not None
            and uids == [uid_of(pod.value)]
        )

    def admits(self, server_id: str, pid: int, proof: bytes = b"") -> bool:
        """Did a process prove that it is this game server's pod?"""
        pod = self._pods.get(server_id)
        if pod is None or pod.ending is not None:
            return False
        if pod.later and hmac.compare_digest(pod.later, _hash(proof)):
            return True
        if self._kind.is_by_token:
            is_pod, pod.is_proven = pod.is_proven, False
        else:
            is_pod = bool(pod.proof) and hmac.compare_digest(pod.proof, _hash(proof))
        if is_pod:
            # It works once, so it is useless to anyone who reads the pod's spec later.
            pod.proof = b""
            pod.welcome = b64encode(self._entropy(24))
            pod.later = _hash(pod.welcome)
        return is_pod

    def welcome(self, server_id: str) -> bytes:
        """Take the secret with which the game server proves who it is next time."""
        pod = self._pods.get(server_id)
        if pod is None:
            return b""
        welcome, pod.welcome = pod.welcome, b""
        return welcome

    # What the API server reports.

    def _listed(self, pods: list[Object]) -> None:
        names = {name_of(one) for one in pods}
        for one in pods:
            self._seen("changed", one)
        for pod in tuple(self._by_name.values()):
            if pod.name in names:
                continue
            # It may have been made at the same time as the list.
            if pod.value is None:
                pod.is_unlisted = True
            else:
                self._doubt(pod)

    def _doubt(self, pod: _Pod) -> None:
        """Find out whether a pod is gone; an answer under way may be out of date."""
        self._find(pod, partial(self._api.find, pod.name))

    def _find(self, pod: _Pod, ask: Callable[[], Deferred[Object]]) -> None:
        """
        Find out whether a pod exists.

        :param ask: makes a request whose answer is the pod.
        """
        pod.is_asked = True
        pod.asks += 1
        number, seen = pod.asks, pod.seen
        Deferred.fromCoroutine(
            self._answered(ask, lambda: self._is_known(pod) and pod.asks == number)
        ).addBoth(self._found, pod, number, seen)

    def _found(
        self, answer: Object | Failure, pod: _Pod, number: int, seen: int
    ) -> None:
        """
        Look at the answer to a `_find`.

        :param number: of `_Pod.asks` when it was asked.
        :param seen: of `_Pod.seen` then. If the watch has reported the pod since, the
            answer may be older than that; what is newer, the watch reports as well.
        """
        is_newest = number == pod.asks
        if is_newest:
            pod.is_asked = False
        if not isinstance(answer, Failure):
            if pod.value is not None and uid_of(pod.value) not in ("", uid_of(answer)):
                # Another one has its name.
                self._over(pod, Exit(None), is_gone=True)
            elif is_newest and pod.seen == seen:
                self._look(pod, answer)
            return
        error = answer.value
        if isinstance(error, ApiError) and error.status == 404:
            self._over(pod, Exit(None), is_gone=True)
        elif is_newest and self._is_known(pod):
            self._log.error(
                "the cluster does not say whether pod {name} is there: {why}",
                name=pod.name,
                why=answer.getErrorMessage(),
            )

    def _seen(self, how: str, value: Object) -> None:
        pod = self._by_name.get(name_of(value))
        if pod is None or (pod.value and uid_of(pod.value) not in ("", uid_of(value))):
            if how == "changed" and label_of(value, OWNER) == self._kind.owner:
                self._stray(value, is_second=pod is not None)
            return
        pod.seen += 1
        if how != "deleted":
            self._look(pod, value)
        elif self._is_shared and not is_ended(value):
            # It is gone, or labelled by another node: both look the same.
            self._doubt(pod)
        else:
            self._over(pod, exit_of(value), is_gone=True)

    def _tidy(self) -> Deferred[None]:
        """
        Delete what is left of pods that have ended, and whose node may be gone, too.

        A pod that runs is only deleted by a node whose name is on it.
        """
        return _logged(
            self._remove_ended(),
            self._log.debug,
            "pods that have ended cannot be listed: {why}",
        )

    async def _remove_ended(self) -> None:
        for value in await self._api.find_all(self._kind.others, field_selector=ENDED):
            if name_of(value) not in self._by_name:
                self._remove(name_of(value), _KILL_SECONDS, {"uid": uid_of(value)})

    def _stray(self, value: Object, is_second: bool) -> None:
        """
        Delete an unknown pod with this node's name that has ended, or never started.

        One that runs may have matches, and may be another node's by now: it ends by
        itself if it has no node.

        :param is_second: was it made for a game server that has a pod?
        """
        is_idle = is_pending(value) or is_second
        is_going = "deletionTimestamp" in value["metadata"]
        if is_ended(value) or (is_idle and not is_going):
            self._remove(name_of(value), _KILL_SECONDS, {"uid": uid_of(value)})

    def _look(self, pod: _Pod, value: Object) -> None:
        if not self._is_known(pod):
            return
        kind = self._kind
        ran = pod.value is not None and is_running(pod.value)
        if pod.value is None and pod.ending is not None and not pod.is_making:
            pod.value = value
            self._ask_to_end(pod)
        pod.value = value
        if is_ended(value):
            self._over(pod, exit_of(value))
            return
        problem = problem_of(value)
        if problem and pod.ending is None:
            self._report(problem)
        if kind.lacks_port(value):
            # Another one gets another port.
            self._end(pod, _KILL_SECONDS)
        if label_of(value, OWNER) != kind.owner and pod.ending is None:
            # It was adopted but not yet labelled, or another node has it now.
            self._own_ours(pod)
        if is_running(value):
            if not ran:
                self._report("")
            runs, pod.runs = pod.runs, []
            for one in runs:
                one.callback(value)

    def _report(self, problem: str) -> None:
        """Log once, not for each pod, what keeps pods from starting."""
        self._is_refused = False
        before, self.problem = self.problem, problem
        if problem_key(problem) == problem_key(before):
            return
        if problem:
            self._log.error(
                "no game servers: {why}; matches wait until this is solved",
                why=problem,
            )
        else:
            self._log.info(
                "game servers start again; the problem was: {why}", why=before
            )

    def _over(self, pod: _Pod, how: Exit, is_gone: bool = False) -> None:
        """
        Forget a pod whose processes have ended.

        :param is_gone: is its object gone, too?
        """
        if not self._is_known(pod):
            return
        self._forget(pod)
        self._give_back(pod)
        try:
            pod.server.ended(how)
        except Exception:
            self._log.failure("failed to handle the end of pod {name}", name=pod.name)
        why = (pod.value and problem_of(pod.value)) or "its pod ended"
        self._stop_reaching(pod, NoCapacity(why))
        is_going = is_gone or (
            pod.value is not None and "deletionTimestamp" in pod.value["metadata"]
        )
        if pod.value is not None and not is_going:
            # Only its object at the API server remains.
            self._remove(pod.name, _KILL_SECONDS, _this(pod.value))
        self._check_closed()

    def _forget(self, pod: _Pod) -> None:
        if pod.giving_up is not None:
            pod.giving_up.cancel()
            pod.giving_up = None
        del self._by_name[pod.name]
        if self._pods.get(pod.server.server_id) is pod:
            del self._pods[pod.server.server_id]

    def _give_back(self, pod: _Pod) -> None:
        if pod.port is not None:
            port, pod.port = pod.port, None
            self._ring.give_back(port)

    def _stop_reaching(self, pod: _Pod, why: Exception) -> None:
        if pod.reaching is not None:
            reaching, pod.reaching = pod.reaching, None
            reaching.cancel()
        if pod.reached is not None:
            reached, pod.reached = pod.reached, None
            reached.errback(why)

    # Ending.

    def stop(self, server_id: str, kill: bool = False) -> None:
        """Ask a game server to end, or kill it."""
        pod = self._pods.get(server_id)
        if pod is not None:
            self._end(pod, _KILL_SECONDS if kill else self._kind.grace_seconds)

    def _end(self, pod: _Pod, grace: int) -> None:
        if pod.ending is not None and pod.ending <= grace:
            return
        pod.ending = grace
        if grace == _KILL_SECONDS and pod.giving_up is None:
            # Its lease counts from its last answer, not from now.
            left = self._lease_seconds - pod.server.silent_for()
            pod.giving_up = self._reactor.callLater(
                max(left, _END_SECONDS), self._given_up, pod
            )
        if not pod.is_making:
            self._ask_to_end(pod)

    def _given_up(self, pod: _Pod) -> None:
        """Give up a pod that was not seen to end, because its lease is over."""
        pod.giving_up = None
        self._log.error(
            "pod {name} was to be killed and was not seen to end; it is removed, "
            "because its lease is over",
            name=pod.name,
        )
        # The only use of a grace of 0.
        self._remove(pod.name, 0, _this(pod.value))
        self._over(pod, Exit(None), is_gone=True)

    def _ask_to_end(self, pod: _Pod) -> None:
        if self._is_known(pod) and pod.ending is not None:
            _logged(
                self._delete(pod, pod.ending),
                self._log.error,
                "pod {name} cannot be deleted: {why}",
                pod.name,
            )

    async def _delete(self, pod: _Pod, grace: int) -> None:
        def is_wanted() -> bool:
            return self._is_known(pod) and pod.ending == grace

        try:
            await self._deleted(
                lambda: self._api.delete(pod.name, grace, _this(pod.value)),
                is_wanted,
            )
        except ApiError as error:
            if error.status in (404, 409):
                # It is gone, or another object has its name.
                self._over(pod, Exit(None), is_gone=True)
            elif is_wanted():
                raise

    def close(self) -> Deferred[None]:
        """End all pods; the result comes when they have ended."""
        if self._closed is None:
            self._closed = Deferred()
            self._labelling.cancel()
            for pod in tuple(self._pods.values()):
                self._end(pod, _KILL_SECONDS)
            self._insist.start(_CLOSE_SECONDS, self._give_up)
            self._check_closed()
        closed: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: closed.callback(None))
        return closed

    def _give_up(self) -> None:
        for pod in tuple(self._pods.values()):
            self._log.error(
                "pod {name} is not seen to end; without a node it ends by itself",
                name=pod.name,
            )
            self._over(pod, Exit(None))
        self._check_closed()

    def _check_closed(self) -> None:
        if self._closed is None or self._by_name or self._is_closing_threads:
            return
        self._is_closing_threads = True
        self._insist.cancel()
        closing = in_background(
            self._log, self._close_threads(), "cannot close the fleet"
        )
        closing.chainDeferred(self._closed)

    async def _close_threads(self) -> None:
        for pause in tuple(self._pauses):
            pause.cancel()
        if self._tidying.running:
            self._tidying.stop()
        if self._is_open:
            await self._watch.stop()
        await self._api.close()

    # For everybody who looks.

    def addresses(self) -> Addresses:
        """Count the addresses."""
        counts = self._ring.counts(self._now())
        if not self._kind.has_port_first:
            return counts
        # The ports of pods without a match count as free.
        idle = sum(
            pod.port is not None and pod.reached is not None
            for pod in self._pods.values()
        )
        return Addresses(counts.free + idle, counts.bound - idle, counts.quarantined)

    def plays(self, server_id: str, match_ids: Sequence[str]) -> None:
        """Label a pod with the newest match that it plays."""
        pod = self._pods.get(server_id)
        if pod is None:
            return
        pod.labels = {MATCH: match_ids[-1] if match_ids else None}
        self._unlabelled[pod] = None
        if self._closed is None:
            self._labelling.ensure(_LABEL_AFTER, self._label_all)

    def _label_all(self) -> None:
        pods, self._unlabelled = self._unlabelled, {}
        for pod in pods:
            if pod.is_labelling:
                continue
            pod.is_labelling = True
            _logged(
                self._label(pod),
                self._log.warn,
                "pod {name} is not labelled with its match: {why}",
                pod.name,
            )

    async def _label(self, pod: _Pod) -> None:
        try:
            while (labels := pod.labels) is not None and self._is_known(pod):
                await self._answered(
                    # The newest labels, if they have changed meanwhile.
                    lambda: self._api.label(pod.name, pod.labels or {}),
                    lambda: self._is_known(pod),
                )
                if pod.labels is labels:
                    pod.labels = None
        except ApiError as error:
            # A pod that is gone needs no label.
            if self._is_known(pod) and error.status != 404:
                raise
        finally:
            pod.is_labelling = False

    # Outliving this node: see `IFleet`.

    def handle(self, server_id: str) -> str:
        """Return the pod's name and the hash of the secret that proves it."""
        pod = self._pods.get(server_id)
        if pod is None or pod.value is None:
            return ""
        return f"{pod.name} {pod.later.hex()}"

    def mailbox(self, server_id: str) -> tuple[int, ...]:
        """Return nothing: pods dial again by themselves."""
        return ()

    def call(self, server_id: str) -> None:
        """Label the pod with this node's name; it dials again by itself."""
        pod = self._pods.get(server_id)
        if (
            pod is not None
            and pod.value is not None
            and pod.ending is None
            and label_of(pod.value, OWNER) != self._kind.owner
        ):
            self._own_ours(pod)

    def adopt(self, server: IGameServer, handle: str, where: ServerAddress) -> bool:
        """
        Watch a pod that an earlier node made.

        It counts as over if it is missing when the pods are listed.
        """
        read = _read_handle(handle)
        if self._closed is not None or read is None or read[0] in self._by_name:
            return False
        name, hash_later = read
        pod = _Pod(server, name, b"", later=hash_later, is_making=False)
        # A placeholder until it is seen.
        pod.value = {"metadata": {"name": name, "uid": ""}, "status": {}}
        if self._kind.has_ring_ports:
            # A port outside the ring cannot be given to another pod.
            pod.port = where.port if self._ring.withhold(where.port) else None
        else:
            pod.port = self._ring.take()
        self._pods[server.server_id] = self._by_name[name] = pod
        self._open()
        if self._is_ours(server.server_id):
            self._own_ours(pod)
        else:
            self._find(pod, partial(self._api.find, name))
        return True

    def _own_ours(self, pod: _Pod) -> None:
        """Label a pod with this node's name, unless another node may have it."""
        if not pod.is_asked and self._is_ours(pod.server.server_id):
            label: dict[str, str | None] = {OWNER: self._kind.owner}
            self._find(pod, lambda: self._api.label(pod.name, label))

    def free(self, where: ServerAddress) -> None:
        """Do nothing: an address belongs to its pod, and is gone with it."""

    def release(self, server_id: str) -> None:
        """Stop watching a pod whose matches go on; `close` does not end it."""
        pod = self._pods.get(server_id)
        if pod is not None:
            self._forget(pod)
            self._give_back(pod)
            self._stop_reaching(pod, NoCapacity("it was let go"))


def _logged(
    work: Coroutine[Deferred[Any], Any, None],
    log: Callable[..., None],
    what: str,
    name: str = "",
) -> Deferred[None]:
    """Begin some work, and log why it fails."""
    return Deferred.fromCoroutine(work).addErrback(
        lambda failure: log(what, name=name, why=failure.getErrorMessage())
    )


def _read_handle(handle: str) -> tuple[str, bytes] | None:
    """
    Read the handle of a pod: its name, and the hash of its proof.

    :returns: ``None`` for the handle of a process, from before `fleet` was changed.
    """
    name, space, later = handle.partition(" ")
    try:
        return (name, bytes.fromhex(later)) if name and space else None
    except ValueError:
        return None


def _this(value: Object | None) -> Object | None:
    """Return the precondition that a pod is the one that was seen."""
    return {"uid": uid_of(value)} if value is not None and uid_of(value) else None


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
