"""The kind of game servers in a cluster, for their fleet: pods, or Agones'."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from twisted.internet.defer import Deferred

from vinom.fleet.kubernetes.objects import Object
from vinom.model import Exit, ServerAddress


class ServerKind(Protocol):
    """
    A kind of game servers in a cluster: pods, or Agones' GameServers.

    :ivar owner: name of this node, as a label's value.
    :ivar grace_seconds: how long one may take to end.
    :ivar selector: label selector of all game servers of this node.
    :ivar is_by_token: do they prove who they are by tokens, and not by secrets?
    :ivar has_port_first: does each have a port of the ring from its start?
    :ivar has_ring_ports: do players reach it at that port? Otherwise only the number
        of ports counts, as a limit.
    :ivar others: label selector of the game servers of all other nodes; empty if what
        is left of those needs no care.
    """

    owner: str
    grace_seconds: int
    selector: str
    others: str

    @property
    def is_by_token(self) -> bool: ...

    @property
    def has_port_first(self) -> bool: ...

    @property
    def has_ring_ports(self) -> bool: ...

    def key_of(self, value: Object) -> str:
        """Read the key that distinguishes it from all earlier ones."""

    def is_running(self, value: Object) -> bool:
        """Does it run, and has it an address?"""

    def is_ended(self, value: Object) -> bool:
        """Have its processes ended permanently?"""

    def is_pending(self, value: Object) -> bool:
        """Has its process never started?"""

    def is_failing(self, value: Object) -> bool:
        """Must it be killed?"""

    def exit_of(self, value: Object) -> Exit:
        """Read how it ended."""

    def problem_of(self, value: Object) -> str:
        """Find why it does not start; empty if nothing is known to be wrong."""

    def lacks_port(self, value: Object) -> bool:
        """Can no machine run it, because its port of the ring is in use there?"""

    def make(
        self, key: str, server_id: str, secret: str, port: int, is_again: bool
    ) -> Deferred[Object]:
        """
        Make or allocate one.

        :param key: as from `key_of`; not used before.
        :param secret: proves who it is, once.
        :param port: the port of the ring, if it has one from its start.
        :param is_again: whether an earlier attempt may have been carried out.
        """

    def find(self, key: str) -> Deferred[Object]:
        """Read one."""

    def complete(self, made: Object, server_id: str) -> Deferred[Object] | None:
        """Make the other objects that it needs; ``None`` if there are none."""

    def end(
        self, name: str, grace: int, preconditions: Object | None = None
    ) -> Deferred[Object]:
        """End one, as `KubernetesApi.delete` does."""

    def inside(self, value: Object, port: int, failures: int) -> tuple[str, int] | None:
        """
        Choose the address and port that its process binds.

        :param port: port of the ring.
        :param failures: how many ports it could not bind.
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
