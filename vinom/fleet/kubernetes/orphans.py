"""
Pods that outlive their node: each node has a lease, and others delete its pods later.

A lease is over when this node has not seen it renewed for its duration, so the clocks
of nodes need not agree. client-go's leader election does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vinom.fleet.kubernetes.api import ApiError, KubernetesApi
from vinom.fleet.kubernetes.objects import (
    GAME_SERVER,
    OWNER,
    ROLE,
    Object,
    label_of,
    name_of,
    uid_of,
)

#: How long a lease lasts, seconds: longer than a game server goes on without a node
#: (45 s), so that no match is deleted that another node may still adopt.
LEASE_SECONDS = 75
#: How often it is renewed, and the others are checked, seconds.
RENEW_SECONDS = 10.0
#: How long a pod may take to end when its owner is gone, seconds.
_GRACE = 5


class Orphans:
    """Renew the lease of this node, and delete pods of nodes that are gone."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        owner: str,
        now: Callable[[], float],
        lease_seconds: int = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """
        :param reactor: the clock.
        :param api: the cluster's.
        :param owner: this node.
        :param now: seconds on a monotonic clock.
        :param lease_seconds: how long a lease lasts.
        :param renew_seconds: how often it is renewed.
        """
        self._api, self._owner, self._now = api, owner, now
        self._lease_seconds, self._renew_seconds = lease_seconds, renew_seconds
        self._name = f"vinom-{owner}"
        self._lease: Object | None = None
        # By owner: its last renewal, and when this was first seen.
        self._known: dict[str, tuple[str, float]] = {}
        self._loop = LoopingCall(self.turn)
        self._loop.clock = reactor
        self._running: Deferred[Any] | None = None

    def start(self) -> None:
        """Take the lease, and renew it from now on."""
        self._loop.start(self._renew_seconds)

    async def stop(self) -> None:
        """Give the lease back, when this node has no pods left."""
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            await self._running
        if self._lease is not None:
            try:
                await self._api.delete_lease(self._name)
            except ApiError as error:
                self._log.debug("the lease cannot be given back: {why}", why=str(error))

    def is_strange(self, pod: Object) -> bool:
        """Is this a pod of another owner?"""
        return label_of(pod, OWNER) != self._owner

    def turn(self) -> Deferred[None]:
        """Renew the lease, check the others, and delete pods."""
        self._running = turning = Deferred.fromCoroutine(self._turn())
        turning.addErrback(
            lambda failure: self._log.warn(
                "cannot renew or check the leases of nodes in the cluster: {why}",
                why=failure.getErrorMessage(),
            )
        )
        return turning

    async def _turn(self) -> None:
        await self._renew()
        over = await self._owners_over()
        pods = await self._api.find_all(f"{ROLE}={GAME_SERVER},{OWNER}!={self._owner}")
        owners = {label_of(pod, OWNER) for pod in pods}
        for owner in owners - set(self._known):
            # It has no lease, but may be about to take one.
            self._known[owner] = ("", self._now())
        for owner, (renewed, _) in tuple(self._known.items()):
            if not renewed and owner not in owners:
                # It gave its lease back, and has no pods left.
                del self._known[owner]
        for pod in pods:
            if label_of(pod, OWNER) in over:
                await self._delete(pod)

    async def _renew(self) -> None:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self._lease is None:
            fresh: Object = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": self._name,
                    "labels": {ROLE: GAME_SERVER, OWNER: self._owner},
                },
                "spec": {
                    "holderIdentity": self._owner,
                    "leaseDurationSeconds": self._lease_seconds,
                    "renewTime": renewed,
                },
            }
            try:
                self._lease = await self._api.create_lease(fresh)
                return
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            self._lease = await self._api.find_lease(self._name)
        lease = {**self._lease, "spec": {**self._lease["spec"], "renewTime": renewed}}
        try:
            self._lease = await self._api.replace_lease(lease)
        except ApiError as error:
            if error.status in (404, 409):
                # Another node removed it, or this one wrote it and got no answer.
                self._lease = None
            raise

    async def _owners_over(self) -> set[str]:
        """Find the owners whose leases are over."""
        now = self._now()
        seen: dict[str, Object] = {}
        for lease in await self._api.list_leases(f"{ROLE}={GAME_SERVER}"):
            owner = label_of(lease, OWNER)
            spec = lease["spec"]
            seen[owner] = lease
            renewed = str(spec.get("renewTime") or "")
            if self._known.get(owner, ("", 0.0))[0] != renewed or (
                owner not in self._known
            ):
                self._known[owner] = (renewed, now)
        over = set()
        for owner, (renewed, since) in tuple(self._known.items()):
            found = seen.get(owner)
            if found is None and renewed:
                # The lease was given back; the pods still get its full duration.
                self._known[owner] = ("", now)
                continue
            lasts = self._lease_seconds
            if found is not None:
                lasts = int(found["spec"].get("leaseDurationSeconds") or lasts)
            if owner != self._owner and now > since + lasts:
                over.add(owner)
        return over

    async def _delete(self, pod: Object) -> None:
        """
        Delete a pod of an owner that is gone, unless it has changed since it was read.

        A node that adopts a pod writes its name on it, which changes the version.
        """
        conditions = {
            "uid": uid_of(pod),
            "resourceVersion": pod["metadata"]["resourceVersion"],
        }
        if pod["metadata"].get("deletionTimestamp"):
            return
        try:
            await self._api.delete(name_of(pod), _GRACE, conditions)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        else:
            self._log.warn(
                "pod {name} is deleted: the lease of its node {owner} is over",
                name=name_of(pod),
                owner=label_of(pod, OWNER),
            )
