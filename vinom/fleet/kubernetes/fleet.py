"""
Game servers of a cluster: made, watched, and never forgotten.

A node deletes only pods that it made or took over, and pods that have ended.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.logged import in_background
from vinom.base.model import Addresses, ServerAddress
from vinom.base.reactor.alarm import Timer
from vinom.errors import NoCapacity
from vinom.fleet.interfaces import IFleet, IGameServer
from vinom.fleet.kubernetes.api import (
    ENDED,
    ApiError,
    KubernetesApi,
    PodWatch,
    Requests,
    begin,
)
from vinom.fleet.kubernetes.objects import (
    OWNER,
    SERVER,
    Object,
    is_ended,
    is_going,
    is_pending,
    label_of,
    name_of,
    uid_of,
)
from vinom.fleet.kubernetes.pod import KILL_SECONDS, PodCommons, PodServer
from vinom.fleet.kubernetes.template import PodTemplate
from vinom.fleet.port_ring import PortRing

#: How often pods that have ended are searched for, of whatever node, seconds.
_TIDY_SECONDS = 300.0
#: How long pods may take to end when the fleet closes, seconds.
_CLOSE_SECONDS = 15.0


@implementer(IFleet)
class KubernetesFleet:
    """
    The pods of this node.

    :ivar namespace: where they are.
    :ivar arrived: not used, because pods dial by themselves.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        template: PodTemplate,
        ring: PortRing,
        entropy: Callable[[int], bytes],
        lease_seconds: float,
    ) -> None:
        """
        :param reactor: the clock; its thread gets the results of other threads.
        :param api: the cluster's.
        :param template: makes its pods.
        :param ring: UDP ports of machines; behind the relay only their number counts.
        :param entropy: called with a number, returns that many random bytes.
        :param lease_seconds: how long after its last answer a game server has certainly
            stopped sending.
        """
        self._reactor, self._api, self._template = reactor, api, template
        self._ring, self._entropy, self.namespace = ring, entropy, api.namespace

        def chance() -> float:
            return entropy(1)[0] / 256

        self._requests = Requests(reactor, api, chance)
        self._common = PodCommons(
            reactor,
            self._requests,
            template,
            ring,
            entropy,
            lease_seconds,
            self._forget,
        )
        self._pods: dict[str, PodServer] = {}
        self._by_name: dict[str, PodServer] = {}
        self._closed: Deferred[None] | None = None
        self._insist = Timer(reactor)
        self._is_open = self._is_closing_threads = False
        self.arrived: Any = None
        self._watch = PodWatch(
            reactor, api, template.selector, self._listed, self._seen, chance
        )
        self._tidying = LoopingCall(self._tidy)
        self._tidying.clock = reactor

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
        self._common.is_ours = is_ours

    @property
    def problem(self) -> str:
        """Why pods do not start; empty if no reason is known."""
        return self._common.problem

    def is_child(self, peer: Any) -> bool:
        """Never: no process on this machine is one of these game servers."""
        return False

    def clear(self) -> None:
        """Do nothing: they have no files on this machine."""

    # Game servers: see `IFleet`.

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
        # Different each time, because an earlier pod with this id may still be ending.
        suffix = b32encode(self._entropy(5)).decode("ascii").lower()
        pod = PodServer(self._common, server, f"vinom-{server_id}-{suffix}")
        self._add(pod)
        return pod.make()

    def _add(self, pod: PodServer) -> None:
        self._open()
        self._pods[pod.server.server_id] = self._by_name[pod.name] = pod

    def _forget(self, pod: PodServer) -> None:
        del self._by_name[pod.name]
        if self._pods.get(pod.server.server_id) is pod:
            del self._pods[pod.server.server_id]
        self._check_closed()

    def prove(self, server_id: str, proof: bytes) -> Deferred[None]:
        """
        Check a proof for which the API server is needed: a token of a pod.

        `admits` is called after the result has come.
        """
        pod = self._pods.get(server_id)
        if pod is None:
            return succeed(None)
        return begin(
            pod.prove(proof),
            self._log.warn,
            "the token of game server {server} cannot be checked: {why}",
            server=server_id,
        )

    def admits(self, server_id: str, pid: int, proof: bytes = b"") -> bool:
        """Did a process prove that it is this game server's pod?"""
        pod = self._pods.get(server_id)
        return pod is not None and pod.admits(proof)

    def welcome(self, server_id: str) -> bytes:
        """Take the secret with which the game server proves who it is next time."""
        pod = self._pods.get(server_id)
        return b"" if pod is None else pod.welcome()

    def plays(self, server_id: str, match_ids: Sequence[str]) -> None:
        """Label a pod with the newest match that it plays."""
        if (pod := self._pods.get(server_id)) is not None:
            pod.plays(match_ids[-1] if match_ids else None)

    def addresses(self) -> Addresses:
        """Count the ports; those of pods without a match count as free."""
        counts = self._ring.counts(self._reactor.seconds())
        idle = sum(pod.is_idle for pod in self._pods.values())
        return Addresses(counts.free + idle, counts.bound - idle, counts.quarantined)

    def free(self, where: ServerAddress) -> None:
        """Do nothing: an address belongs to its pod, and is gone with it."""

    def stop(self, server_id: str, kill: bool = False) -> None:
        """Ask a game server to end, or kill it."""
        if (pod := self._pods.get(server_id)) is not None:
            pod.end(KILL_SECONDS if kill else self._template.table.grace_seconds)

    # Outliving this node: see `IFleet`.

    def handle(self, server_id: str) -> str:
        """Return the pod's name and the hash of the secret that proves it."""
        pod = self._pods.get(server_id)
        return "" if pod is None else pod.handle

    def mailbox(self, server_id: str) -> tuple[int, ...]:
        """Return nothing: pods dial again by themselves."""
        return ()

    async def reaches(self, server_id: str, handle: str) -> bool:
        """
        Is a pod that another node has made in this cluster, and has it not ended?

        Names are used once, so a pod of another cluster is not found here.
        """
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

    def adopt(self, server: IGameServer, handle: str, where: ServerAddress) -> bool:
        """
        Watch a pod that an earlier node made.

        It counts as over if it is missing when the pods are listed.
        """
        read = _read_handle(handle)
        if self._closed is not None or read is None or read[0] in self._by_name:
            return False
        pod = PodServer(self._common, server, *read)
        self._add(pod)
        pod.adopt(where.port)
        return True

    def call(self, server_id: str) -> None:
        """Label the pod with this node's name; it dials again by itself."""
        if (pod := self._pods.get(server_id)) is not None:
            pod.label_owner()

    def release(self, server_id: str) -> None:
        """Stop watching a pod whose matches go on; `close` does not end it."""
        if (pod := self._pods.get(server_id)) is not None:
            pod.leave("it was let go")

    # What the API server reports.

    def _listed(self, values: list[Object]) -> None:
        names = {name_of(one) for one in values}
        for one in values:
            self._seen("changed", one)
        for pod in tuple(self._by_name.values()):
            if pod.name not in names:
                pod.unlisted()

    def _seen(self, how: str, value: Object) -> None:
        pod = self._by_name.get(name_of(value))
        if pod is not None and pod.is_same(value):
            pod.seen(how, value)
        elif (
            how == "changed"
            and label_of(value, OWNER) == self._template.owner
            # One that runs may have matches, and may be another node's by now: it ends
            # by itself if it has no node.
            and (is_ended(value) or (is_pending(value) and not is_going(value)))
        ):
            self._requests.remove(name_of(value), KILL_SECONDS, uid_of(value))

    def _tidy(self) -> Deferred[None]:
        """Delete what is left of pods that have ended, and whose node may be gone."""
        return begin(
            self._remove_ended(),
            self._log.debug,
            "pods that have ended cannot be listed: {why}",
        )

    async def _remove_ended(self) -> None:
        others = self._template.others
        for value in await self._api.find_all(others, field_selector=ENDED):
            if name_of(value) not in self._by_name:
                self._requests.remove(name_of(value), KILL_SECONDS, uid_of(value))

    # Closing.

    def close(self) -> Deferred[None]:
        """End all pods; the result comes when they have ended."""
        if self._closed is None:
            self._closed = Deferred()
            for pod in tuple(self._pods.values()):
                pod.end(KILL_SECONDS)
            self._insist.start(_CLOSE_SECONDS, self._give_up)
            self._check_closed()
        closed: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: closed.callback(None))
        return closed

    def _give_up(self) -> None:
        for pod in tuple(self._pods.values()):
            pod.give_up()
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
        self._requests.close()
        if self._tidying.running:
            self._tidying.stop()
        if self._is_open:
            await self._watch.stop()
        await self._api.close()


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
