"""What game servers are in a cluster, as their fleet sees it: pods, or Agones'."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from twisted.internet.defer import Deferred

from vinom.fleet.kubernetes.objects import Object
from vinom.model import Exit, ServerAddress


class ServerKind(Protocol):
    """
    What game servers are in a cluster: pods, or what Agones makes of them.

    :ivar owner: this node, as a label's value.
    :ivar grace_seconds: how long one may take to end.
    :ivar selector: of the labels of all that this node has.
    :ivar is_by_token: they prove who they are by tokens, and not by secrets.
    :ivar has_port_first: each has a port of the ring from its start.
    :ivar has_ring_ports: players reach it at that port; else only their number counts.
    :ivar has_leases: what a node that is gone has left must be deleted by others.
    """

    owner: str
    grace_seconds: int
    selector: str

    @property
    def is_by_token(self) -> bool: ...

    @property
    def has_port_first(self) -> bool: ...

    @property
    def has_ring_ports(self) -> bool: ...

    @property
    def has_leases(self) -> bool: ...

    def key_of(self, value: Object) -> str:
        """Read what tells it from all that were there before."""

    def is_running(self, value: Object) -> bool:
        """Does it run, and has it an address?"""

    def is_ended(self, value: Object) -> bool:
        """Have its processes ended, for good?"""

    def is_failing(self, value: Object) -> bool:
        """Must it be killed?"""

    def exit_of(self, value: Object) -> Exit:
        """Read how it ended."""

    def problem_of(self, value: Object) -> str:
        """Find why it does not start; empty if nothing is known to be wrong."""

    def make(
        self, key: str, server_id: str, secret: str, port: int, is_again: bool
    ) -> Deferred[Object]:
        """
        Make one, or take one.

        :param key: as of `key_of`; not used before.
        :param secret: proves who it is, once.
        :param port: of the ring, if it has one from its start.
        :param is_again: the attempt before may have been carried out.
        """

    def find(self, key: str) -> Deferred[Object]:
        """Read one."""

    def complete(self, made: Object, server_id: str) -> Deferred[Object] | None:
        """Make what else it needs; ``None`` for nothing."""

    def end(
        self, name: str, grace: int, preconditions: Object | None = None
    ) -> Deferred[Object]:
        """Have one end: as of `KubernetesApi.delete`."""

    def inside(self, value: Object, port: int, failures: int) -> tuple[str, int] | None:
        """
        Choose the address and port that its process binds.

        :param port: of the ring.
        :param failures: how many it could not bind.
        :returns: ``None`` if there is no other.
        """

    def outside(
        self, value: Object, port: int, failures: int
    ) -> Awaitable[ServerAddress]:
        """
        Find where players reach it.

        :raises ApiError: the API server does not say.
        :raises NoCapacity: it has no such address.
        """
