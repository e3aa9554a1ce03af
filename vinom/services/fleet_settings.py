"""What the fleet is told, what it tells, and what it asks an authority for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from vinom.rules.pool import PoolPolicy
from vinom.rules.ports import QUARANTINE_SECONDS
from vinom.rules.server_life import Patience


class IssuedCertificate(Protocol):
    """What a game server proves itself with; both PEM."""

    @property
    def certificate(self) -> bytes:
        """Leaf and chain."""

    @property
    def key(self) -> bytes:
        """The leaf's private key."""


class Issuer(Protocol):
    """What the fleet asks of `vinom.services.authority.Authority`."""

    @property
    def anchor(self) -> bytes:
        """What players verify game servers with, PEM."""

    def issue(self, server: str) -> IssuedCertificate:
        """Make a certificate for one game server."""

    def token_keys(self) -> dict[str, bytes]:
        """The keys that connect tokens are verified with, by id."""


@attrs.frozen
class FleetSettings:
    """
    What the operator decides.

    :ivar realm: domain that game servers' names end with.
    :ivar interface: address that game servers bind.
    :ivar advertise: host that players are told.
    :ivar ports: lowest and highest UDP port.
    :ivar stop_seconds: time to say goodbye when the node stops.
    """

    realm: str
    ports: tuple[int, int]
    interface: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    policy: PoolPolicy = attrs.field(factory=PoolPolicy)
    patience: Patience = attrs.field(factory=Patience)
    quarantine_seconds: float = QUARANTINE_SECONDS
    stop_seconds: float = 3.0


@attrs.frozen
class ServerStatus:
    """
    One game server, for operators.

    :ivar pid: of its process; ``None`` until it has one.
    :ivar port: that it has or is to bind.
    :ivar matches: the ids of those that it hosts.
    :ivar figures: what it told last; see `vinom.rules.figures`.
    """

    stage: str
    pid: int | None
    port: int | None
    matches: tuple[str, ...]
    figures: Mapping[str, float]


@attrs.frozen
class FleetStatus:
    """
    What there is, for operators and metrics.

    :ivar servers: game servers by stage of their life.
    :ivar waiting: matches without a place.
    :ivar rooms: matches with one.
    :ivar game_servers: each, by its id.
    """

    servers: Mapping[str, int]
    ports_free: int
    ports_bound: int
    ports_quarantined: int
    waiting: int
    rooms: int
    is_draining: bool
    game_servers: Mapping[str, ServerStatus]
