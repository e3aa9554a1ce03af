"""
One game server in a cluster: a pod, from the request that makes it to its end.

It dials this node, proves who it is, and has its address from the start. The API server
reports whether it runs, and how it ended; a pod is over when its processes have ended,
not when its object is gone.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.model import Exit, ServerAddress
from vinom.base.reactor.alarm import Timer
from vinom.errors import NoCapacity
from vinom.fleet.interfaces import IGameServer
from vinom.fleet.kubernetes.api import ApiError, Ask, Requests, begin
from vinom.fleet.kubernetes.objects import (
    MATCH,
    OWNER,
    Object,
    address_of,
    exit_of,
    is_ended,
    is_going,
    is_running,
    label_of,
    lacks_port,
    problem_key,
    problem_of,
    uid_of,
)
from vinom.fleet.kubernetes.template import AUDIENCE, PodTemplate
from vinom.fleet.port_ring import PortRing

#: The grace of a pod that is to be killed, seconds: with 0 its object would be removed
#: while it may still run.
KILL_SECONDS = 1
#: A pod that is to be killed has at least this long to be seen to end, seconds.
_END_SECONDS = 5.0
#: How long after a match is placed its pod is labelled, seconds: players wait for
#: placements, but nothing waits for labels.
_LABEL_AFTER = 0.5
#: Prefix of a proof by token; any other proof is a secret.
_TOKEN = b"token:"


@attrs.define(eq=False)
class PodCommons:
    """
    What all pods of a node have in common.

    :ivar reactor: the clock.
    :ivar requests: to the API server.
    :ivar template: makes pods.
    :ivar ring: UDP ports of machines; behind the relay only their number counts.
    :ivar entropy: called with a number, returns that many random bytes.
    :ivar lease_seconds: how long after its last answer a game server has certainly
        stopped sending.
    :ivar forget: called with a pod that is over, or another node's.
    :ivar is_ours: is a game server certainly this node's?
    :ivar problem: why pods do not start; empty if no reason is known.
    """

    _log = Logger()

    reactor: Any
    requests: Requests
    template: PodTemplate
    ring: PortRing
    entropy: Callable[[int], bytes]
    lease_seconds: float
    forget: Callable[[PodServer], None]
    is_ours: Callable[[str], bool] = attrs.field(default=lambda _: True, init=False)
    problem: str = attrs.field(default="", init=False)
    _machines: dict[str, str] = attrs.field(factory=dict, init=False)

    def report(self, problem: str) -> None:
        """Log once, not for each pod, what keeps pods from starting; or nothing."""
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

    async def address(self, pod: Object, port: int) -> ServerAddress:
        """
        Find where players reach a pod.

        :param port: its host port.
        :raises ApiError: the API server does not say.
        :raises NoCapacity: its machine has no such address.
        """
        if self.template.relayed is not None:
            return self.template.relayed
        wanted = self.template.table.address
        if wanted == "host":
            return ServerAddress(str(pod["status"]["hostIP"]), port)
        if wanted not in ("external", "internal"):
            return ServerAddress(wanted, port)
        name = str(pod["spec"]["nodeName"])
        if name not in self._machines:
            found = address_of(await self.requests.api.find_machine(name), wanted)
            if not found:
                raise NoCapacity(
                    f"machine {name} has no {wanted} address: set pods.address to "
                    "another kind of address"
                )
            self._machines[name] = found
        return ServerAddress(self._machines[name], port)


class PodServer:
    """
    One game server in a pod.

    :ivar server: the game server.
    :ivar name: of the pod; new each time.
    :ivar value: its object, as last seen; ``None`` before it is made.
    :ivar ending: the grace with which it was asked to end, seconds; ``None`` if it was
        not asked.
    """

    _log = Logger()

    def __init__(
        self, common: PodCommons, server: IGameServer, name: str, later: bytes = b""
    ) -> None:
        """
        :param common: what it shares with the others.
        :param server: the game server.
        :param name: of the pod.
        :param later: hash of what proves that a process is this pod, if it has any.
        """
        self._common, self.server, self.name = common, server, name
        self.value: Object | None = None
        self.ending: int | None = None
        self._asked_to_end: int | None = None
        # Is it over here, or another node's?
        self._is_over = self._is_making = False
        self._port: int | None = None
        self._runs: Deferred[Object] = Deferred()
        # Gets the address; `None` once it has, or if nothing waits for it.
        self._reached: Deferred[ServerAddress] | None = None
        self._reaching: Deferred[None] | None = None
        # Rings when its lease is over, so that it cannot send any more.
        self._lease = Timer(common.reactor)
        # Hashes of what proves it the first time, and from then on; and the latter
        # itself, until it is sent.
        self._proof, self._later, self._welcome = b"", later, b""
        self._is_proven = False
        # The newest match, as a label.
        self._labels: dict[str, str | None] = {}
        self._is_labelling = False
        # How often it was asked for, and how often the watch has reported it; is a
        # request under way that finds out whether it exists?
        self._asks = self._sightings = 0
        self._is_asked = False
        # Was it missing in a list that was read while it was being made?
        self._is_unlisted = False

    # Making and reaching.

    def make(self) -> Deferred[ServerAddress]:
        """
        Make the pod; the result comes when players can reach it.

        :raises NoCapacity: the cluster refused, or the pod ended.
        """

        def give_up(_: Deferred[ServerAddress]) -> None:
            self._reached = None
            self.end(KILL_SECONDS)

        reached = self._reached = Deferred(give_up)
        self._is_making = True
        self._reaching = Deferred.fromCoroutine(self._reach())
        self._reaching.addErrback(self._not_reached)
        making = Deferred.fromCoroutine(self._make())
        making.addCallbacks(self._made, self._not_made)
        making.addErrback(
            lambda failure: self._log.failure("pod {name}", failure, name=self.name)
        )
        return reached

    async def _make(self) -> Object | None:
        """
        Create the pod, with more attempts if the API server does not answer.

        :returns: its object; ``None`` if an attempt that got no answer has made it.
        :raises ApiError: it is refused, no attempt was answered, or the pod is not
            needed any more.
        """
        common = self._common
        secret = b64encode(common.entropy(24)).decode("ascii")
        self._proof = _hash(secret.encode())
        self._port = common.ring.take()
        if self._port is None:
            raise ApiError(403, "NoPort", "no port is free: widen ports")
        server_id, requests = self.server.server_id, common.requests
        pod = common.template.pod(self.name, server_id, secret, self._port)
        try:
            return await requests.answered(
                lambda: requests.api.create_pod(pod),
                lambda: self.ending is None and self.value is None,
                is_endless=False,
            )
        except ApiError as error:
            # A name is never used twice.
            if self.value is None and error.reason != "AlreadyExists":
                raise
            return self.value

    def _made(self, made: Object | None) -> None:
        self._is_making = False
        if self.value is None and made is not None:
            self.look(made)
        self._ask_to_end()
        if self.value is None or self._is_unlisted:
            # If it was gone before that list was, no watch reports it.
            self._doubt()

    def _not_made(self, failure: Failure) -> None:
        if self._is_over:
            # It was made, and is over already.
            return
        error = failure.value
        why = f"the cluster makes no pod: {error}"
        if not isinstance(error, ApiError):
            self._log.failure("cannot make pod {name}", failure, name=self.name)
        elif error.is_passing:
            # It may have been made even so.
            self._common.requests.remove(self.name, KILL_SECONDS)
        if self.ending is None:
            self._common.report(why)
        self.leave(why)

    async def _reach(self) -> None:
        common, server = self._common, self.server
        await server.wanted()
        value = await self._runs
        inside = common.template.table.port
        if not await server.bind(value["status"]["podIP"], inside):
            # Its port is part of its spec.
            self.end(KILL_SECONDS)
            return
        assert self._port is not None
        where = await common.address(value, self._port)
        if self._reached is not None:
            reached, self._reached = self._reached, None
            reached.callback(where)

    def _not_reached(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(NoCapacity):
            self._common.report(failure.getErrorMessage())
        self._log.error(
            "game server {server} has no address: {why}",
            server=self.server.server_id,
            why=failure.getErrorMessage(),
        )
        self.end(KILL_SECONDS)

    @property
    def is_idle(self) -> bool:
        """Has it a port of which players were sent nothing yet?"""
        return self._port is not None and self._reached is not None

    # Identity.

    async def prove(self, proof: bytes) -> None:
        """
        Check at the API server whose token a proof is, if it is one.

        Source: https://kubernetes.io/docs/reference/access-authn-authz/
        service-accounts-admin/#bound-service-account-tokens
        """
        if not proof.startswith(_TOKEN):
            return
        token = proof.removeprefix(_TOKEN).decode("ascii", "replace")
        status = await self._common.requests.api.review(token, AUDIENCE)
        extra = (status.get("user") or {}).get("extra") or {}
        names = extra.get("authentication.kubernetes.io/pod-name") or []
        uids = extra.get("authentication.kubernetes.io/pod-uid") or []
        self._is_proven = (
            status.get("authenticated") is True
            and AUDIENCE in (status.get("audiences") or ())
            and names == [self.name]
            and uids == [uid_of(self.value)]
        )

    def admits(self, proof: bytes) -> bool:
        """Did a process prove that it is this pod?"""
        if self.ending is not None:
            return False
        if self._later and hmac.compare_digest(self._later, _hash(proof)):
            return True
        if self._common.template.table.proof == "token":
            is_pod, self._is_proven = self._is_proven, False
        else:
            is_pod = bool(self._proof) and hmac.compare_digest(
                self._proof, _hash(proof)
            )
        if is_pod:
            # It works once, so it is useless to anyone who reads the pod's spec later.
            self._proof = b""
            self._welcome = b64encode(self._common.entropy(24))
            self._later = _hash(self._welcome)
        return is_pod

    def welcome(self) -> bytes:
        """Take the secret with which it proves who it is next time."""
        welcome, self._welcome = self._welcome, b""
        return welcome

    @property
    def handle(self) -> str:
        """Its name, and the hash of the secret that proves it; empty before it is."""
        return "" if self.value is None else f"{self.name} {self._later.hex()}"

    # What the API server reports.

    def is_same(self, value: Object) -> bool:
        """Can this be its object, and not another one of its name?"""
        return uid_of(self.value) in ("", uid_of(value))

    def seen(self, how: str, value: Object) -> None:
        """Note what the watch reports."""
        self._sightings += 1
        if how != "deleted":
            self.look(value)
        elif is_ended(value):
            self._over(exit_of(value), is_gone=True)
        else:
            # It is gone, or labelled by another node: both look the same.
            self._doubt()

    def unlisted(self) -> None:
        """Note that it is missing in the list of all pods of this node."""
        if self.value is None:
            # It may have been made at the same time as the list.
            self._is_unlisted = True
        else:
            self._doubt()

    def look(self, value: Object) -> None:
        """Look at its object."""
        if self._is_over:
            return
        common, self.value = self._common, value
        if is_ended(value):
            self._over(exit_of(value))
            return
        problem = problem_of(value)
        if problem and self.ending is None:
            common.report(problem)
        if lacks_port(value):
            # Another one gets another port.
            self.end(KILL_SECONDS)
        # It was adopted but not yet labelled, or another node has it now.
        self.label_owner()
        if is_running(value) and not self._runs.called:
            common.report("")
            self._runs.callback(value)

    def _doubt(self) -> None:
        """Find out whether it is gone; an answer under way may be out of date."""
        self._find(lambda: self._common.requests.api.find(self.name))

    def label_owner(self) -> None:
        """Label it with this node's name, unless another node may have it."""
        common = self._common
        if (
            self.value is not None
            and self.ending is None
            and not self._is_asked
            and label_of(self.value, OWNER) != common.template.owner
            and common.is_ours(self.server.server_id)
        ):
            label: dict[str, str | None] = {OWNER: common.template.owner}
            self._find(lambda: common.requests.api.label(self.name, label))

    def _find(self, ask: Ask) -> None:
        """
        Find out whether it exists.

        :param ask: makes a request whose answer is the pod.
        """
        if self._is_over:
            return
        self._is_asked = True
        self._asks += 1
        number, sightings = self._asks, self._sightings
        Deferred.fromCoroutine(
            self._common.requests.answered(
                ask, lambda: not self._is_over and self._asks == number
            )
        ).addBoth(self._found, number, sightings)

    def _found(self, answer: Object | Failure, number: int, sightings: int) -> None:
        """
        Look at the answer to a `_find`.

        :param number: how often it had been asked for, then: only the newest answer
            counts.
        :param sightings: how often the watch had reported it. If it has again since,
            the answer may be older than that; what is newer, the watch reports as well.
        """
        is_newest = number == self._asks
        if is_newest:
            self._is_asked = False
        if not isinstance(answer, Failure):
            if not self.is_same(answer):
                # Another one has its name.
                self._over(Exit(None), is_gone=True)
            elif is_newest and self._sightings == sightings:
                self.look(answer)
            return
        error = answer.value
        if isinstance(error, ApiError) and error.status == 404:
            self._over(Exit(None), is_gone=True)
        elif is_newest and not self._is_over:
            self._log.error(
                "the cluster does not say whether pod {name} is there: {why}",
                name=self.name,
                why=answer.getErrorMessage(),
            )

    def plays(self, match: str | None) -> None:
        """Label it with the match that it plays."""
        self._labels = {MATCH: match}
        if not self._is_labelling:
            self._is_labelling = True
            begin(
                self._label(),
                self._log.warn,
                "pod {name} is not labelled with its match: {why}",
                name=self.name,
            )

    async def _label(self) -> None:
        requests, written = self._common.requests, None
        try:
            await requests.pause(_LABEL_AFTER)
            while written is not self._labels and not self._is_over:
                written = self._labels
                await requests.answered(
                    # The newest, if it has changed meanwhile.
                    lambda: requests.api.label(self.name, self._labels),
                    lambda: not self._is_over,
                )
        except ApiError as error:
            # A pod that is gone needs no label.
            if not self._is_over and error.status != 404:
                raise
        finally:
            self._is_labelling = False

    # Other nodes.

    def adopt(self, port: int) -> None:
        """
        Watch the pod, which an earlier node made.

        :param port: where players reach it.
        """
        # A placeholder until it is seen.
        self.value = {"metadata": {"name": self.name, "uid": ""}, "status": {}}
        # A port outside the ring cannot be given to another pod.
        self._port = port if self._common.ring.withhold(port) else None
        self.label_owner()
        if not self._is_asked:
            self._doubt()

    # Ending.

    def end(self, grace: int) -> None:
        """Ask it to end within this time, seconds."""
        if self._is_over or (self.ending is not None and self.ending <= grace):
            return
        self.ending = grace
        if grace == KILL_SECONDS and not self._lease.is_running:
            # Its lease counts from its last answer, not from now.
            left = self._common.lease_seconds - self.server.silent_for()
            self._lease.start(max(left, _END_SECONDS), self._lost)
        self._ask_to_end()

    def _lost(self) -> None:
        """Give it up: it was not seen to end, and its lease is over."""
        self._log.error(
            "pod {name} was to be killed and was not seen to end; it is removed, "
            "because its lease is over",
            name=self.name,
        )
        # The only use of a grace of 0.
        self._common.requests.remove(self.name, 0, uid_of(self.value))
        self._over(Exit(None), is_gone=True)

    def _ask_to_end(self) -> None:
        is_asked = self._is_making or self.ending == self._asked_to_end
        if not self._is_over and self.ending is not None and not is_asked:
            self._asked_to_end = self.ending
            begin(
                self._delete(self.ending),
                self._log.error,
                "pod {name} cannot be deleted: {why}",
                name=self.name,
            )

    async def _delete(self, grace: int) -> None:
        is_gone = await self._common.requests.delete(
            self.name,
            grace,
            uid_of(self.value),
            lambda: not self._is_over and self.ending == grace,
        )
        if is_gone:
            self._over(Exit(None), is_gone=True)

    def give_up(self) -> None:
        """Count it as over, though it is not seen to end."""
        self._log.error(
            "pod {name} is not seen to end; without a node it ends by itself",
            name=self.name,
        )
        self._over(Exit(None))

    def _over(self, how: Exit, is_gone: bool = False) -> None:
        """
        Forget it, because its processes have ended.

        :param is_gone: is its object gone, too?
        """
        if self._is_over:
            return
        value = self.value
        if value is not None and not is_gone and not is_going(value):
            # Only its object at the API server remains.
            self._common.requests.remove(self.name, KILL_SECONDS, uid_of(self.value))
        self.leave((value and problem_of(value)) or "its pod ended", how)

    def leave(self, why: str, how: Exit | None = None) -> None:
        """
        Forget it, and free its port.

        :param why: nobody waits for its address any more.
        :param how: its processes have ended.
        """
        self._is_over = True
        self._lease.cancel()
        if self._port is not None:
            port, self._port = self._port, None
            self._common.ring.give_back(port)
        self._common.forget(self)
        try:
            if how is not None:
                self.server.ended(how)
        except Exception:
            self._log.failure("failed to handle the end of pod {name}", name=self.name)
        if self._reaching is not None:
            self._reaching.cancel()
        if self._reached is not None:
            reached, self._reached = self._reached, None
            reached.errback(NoCapacity(why))


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
