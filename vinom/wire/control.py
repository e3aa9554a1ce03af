"""
What a node and its game servers say to each other over a control link.

MessagePack structs in frames (`FrameReader`); the same over a UNIX socket and
TLS. Source: docs/protocol/control.rst.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from vinom.model import MatchEnd, MatchPlan, Ticket

#: Both sides are of one deployment; a mismatch ends the game server.
CONTROL_PROTOCOL = 1


class ToServer(Struct, frozen=True, tag_field="t"):
    """Root of what a node tells a game server."""


class Bind(ToServer, frozen=True, tag="bind"):
    """
    Take this port and get ready; answered by `Bound` or `BindFailed`.

    :ivar server: label inside the realm; the certificate is for ``*.<server>.<realm>``.
    :ivar certificate: leaf and chain, PEM.
    :ivar key: the leaf's private key, PEM; this process's own.
    :ivar token_keys: key id to Ed25519 public key, PEM.
    """

    interface: str
    port: int
    server: str
    realm: str
    certificate: bytes
    key: bytes
    token_keys: dict[str, bytes]


class OpenRoom(ToServer, frozen=True, tag="open_room"):
    """Host this match; answered by `RoomOpened` or `RoomEnded`."""

    plan: MatchPlan
    tickets: tuple[Ticket, ...]


class AddTicket(ToServer, frozen=True, tag="add_ticket"):
    """A player comes again with a new ticket; answered by `TicketAdded`."""

    ticket: Ticket


class Kick(ToServer, frozen=True, tag="kick"):
    """Remove a seat's player for good."""

    match_id: str
    seat: int


class CloseRoom(ToServer, frozen=True, tag="close_room"):
    """End this match; answered by `RoomEnded` with this reason."""

    match_id: str
    reason: str


class Heartbeat(ToServer, frozen=True, tag="heartbeat"):
    """Are you alive? Answered by `Alive` with the same number."""

    number: int


class Stop(ToServer, frozen=True, tag="stop"):
    """Say goodbye to players and exit."""


class ToNode(Struct, frozen=True, tag_field="t"):
    """Root of what a game server tells its node."""


class Ready(ToNode, frozen=True, tag="ready"):
    """The first message: which process this is."""

    server_id: str
    pid: int
    protocol: int


class Bound(ToNode, frozen=True, tag="bound"):
    """The port is ours."""

    port: int


class BindFailed(ToNode, frozen=True, tag="bind_failed"):
    """The port could not be had; the process takes another `Bind`."""

    port: int
    why: str


class RoomOpened(ToNode, frozen=True, tag="room_opened"):
    """Players may come."""

    match_id: str


class TicketAdded(ToNode, frozen=True, tag="ticket_added"):
    """This ticket is known now."""

    label: str


class SeatChanged(ToNode, frozen=True, tag="seat_changed"):
    """
    A seat's connection changed.

    :ivar state: "joined", "dropped", "returned" or "left".
    """

    match_id: str
    seat: int
    state: str


class MatchStarted(ToNode, frozen=True, tag="match_started"):
    """Match time runs."""

    match_id: str


class RoundEnded(ToNode, frozen=True, tag="round_ended"):
    """A round has an outcome; the room may go on."""

    match_id: str
    outcome: dict[str, Any]


class RoomEnded(ToNode, frozen=True, tag="room_ended"):
    """The room is closed and its players are told."""

    end: MatchEnd


class Alive(ToNode, frozen=True, tag="alive"):
    """
    Answers `Heartbeat`.

    :ivar figures: counters and gauges by name, for metrics.
    """

    number: int
    figures: dict[str, float]
