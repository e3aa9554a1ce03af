"""
The messages between a node and its game servers, on a control link.

MessagePack structs in frames (`FrameReader`); the same over a UNIX socket and
TLS. Those named ``Relay...`` are for seats whose players are connected to the node,
which relays for them. Source: docs/protocol/control.rst.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

import attrs
import msgspec
from msgspec import Meta, Struct, field

from vinom.errors import PeerError
from vinom.model import EndReason, MatchEnd, MatchPlan, SeatPlan, Ticket

#: Both sides are of one deployment; a mismatch ends the game server.
CONTROL_PROTOCOL = 4

#: Longest message, bytes: a match with many loadouts, far below what a
#: process can afford to hold for its node.
FRAME_LIMIT = 1024 * 1024

_HEADER = 4

#: One of `EndReason`, or a room would find out only while it closes.
_Reason = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(get_args(EndReason))})\Z")]


class ToServer(Struct, frozen=True, tag_field="t"):
    """Root of what a node sends to a game server."""


class ToNode(Struct, frozen=True, tag_field="t"):
    """Root of what a game server sends to its node."""


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
    """
    Host this match; answered by `RoomOpened` or `RoomEnded`.

    :ivar is_relayed: it is a room of the node's, whose players are there, and the
        node alone decides how long it may stand empty.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    is_relayed: bool = False


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
    reason: _Reason


class Heartbeat(ToServer, frozen=True, tag="heartbeat"):
    """Are you alive? Answered by `Alive` with the same number."""

    number: int


class TokenKeys(ToServer, frozen=True, tag="token_keys"):
    """
    Accept connect tokens of these keys and no others; answered by `TokenKeysTaken`.

    :ivar keys: as in `Bind`.
    """

    number: int
    keys: dict[str, bytes]


class RotateCookies(ToServer, frozen=True, tag="rotate_cookies"):
    """Make cookies with a new key; those of the last one stay valid for a while."""


class Stop(ToServer, frozen=True, tag="stop"):
    """Say goodbye to players and exit."""


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


class TokenKeysTaken(ToNode, frozen=True, tag="token_keys_taken"):
    """Tokens of the keys of `TokenKeys` with this number are valid here."""

    number: int


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
    """The room is closed and its players know."""

    end: MatchEnd


class CookieKeyReport(Struct, frozen=True):
    """
    One of a game server's cookie keys, without its secret.

    :ivar number: what its cookies begin with.
    :ivar age: seconds since it was made.
    :ivar left: seconds until its cookies stop being valid; ``None`` for the key
        that makes them.
    """

    number: int
    age: float
    left: float | None = None


class Alive(ToNode, frozen=True, tag="alive"):
    """
    Answers `Heartbeat`; sent once more, with number 0, before a game server ends.

    :ivar figures: counters and gauges by name, for metrics: see
        `vinom.reactor.figures`.
    """

    number: int
    figures: dict[str, float]
    cookie_keys: tuple[CookieKeyReport, ...] = ()


class RelayWatch(ToServer, frozen=True, tag="relay_watch"):
    """
    Somebody of the node plays in this match or watches it, or nobody does any more.

    The node is sent states and events only while somebody does.
    """

    match_id: str
    is_on: bool


class RelaySeat(ToServer, frozen=True, tag="relay_seat"):
    """
    A seat's player came, by way of the node, or went; nothing answers.

    :ivar how: "join" (for the first time or again), "drop", "leave", or "bot": the
        game's bot has the seat from now on.
    :ivar epoch: counts the seat's joins by way of the node; a message about one that
        is no longer the newest is too late.
    :ivar number: of the last action that the node passed on for this seat.
    """

    match_id: str
    seat: int
    how: Literal["join", "drop", "leave", "bot"]
    epoch: int = 0
    number: int = 0


class RelayNewcomer(ToServer, frozen=True, tag="relay_newcomer"):
    """
    Somebody new joins a match that is played.

    :ivar seat: the number that the room will find for it.
    """

    match_id: str
    seat: int
    plan: SeatPlan


class RelayAction(ToServer, frozen=True, tag="relay_action"):
    """
    A relayed seat acts; the next `RelayState`, or a `RelayRefusal`, answers.

    :ivar number: rises with each action of this seat.
    :ivar data: the game's own action, JSON.
    """

    match_id: str
    seat: int
    number: int
    data: bytes


class RelayState(ToNode, frozen=True, tag="relay_state"):
    """
    What one turn changed, for all relayed seats and for spectators.

    :ivar phase: "gathering", "playing", "over" or "closed".
    :ivar time: match time, seconds.
    :ivar applied: by seat: number of the last action that this state answers.
    :ivar views: each once, JSON; none if only `applied` is new.
    :ivar shown: by seat: which of the views; -1 are the spectators.
    :ivar setup: what never changes, JSON; empty if there is nothing.
    """

    match_id: str
    version: int
    phase: str
    time: float
    applied: dict[int, int]
    views: tuple[bytes, ...] = ()
    shown: dict[int, int] = field(default_factory=dict)
    setup: bytes = b""


class RelayEvent(ToNode, frozen=True, tag="relay_event"):
    """
    Something happened once in the game, before the next `RelayState`.

    :ivar to: the only seat that may know; ``None`` is everybody.
    """

    match_id: str
    version: int
    kind: str
    data: Any
    to: int | None


class RelayRefusal(ToNode, frozen=True, tag="relay_refusal"):
    """
    An action was not applied.

    :ivar code: one of `vinom.errors.Code`.
    :ivar reason: the game's own code, or the field that is wrong.
    """

    match_id: str
    seat: int
    number: int
    code: str
    reason: str
    message: str


class RelayTaken(ToNode, frozen=True, tag="relay_taken"):
    """
    A relayed seat is not the node's any more: its player came over UDP.

    :ivar epoch: of the join that this ended.
    """

    match_id: str
    seat: int
    epoch: int


class RelayFailed(ToNode, frozen=True, tag="relay_failed"):
    """
    What this match shows cannot be sent by way of the node; it goes on without.

    :ivar why: for the log.
    """

    match_id: str
    why: str


#: What a room's relayed players cause, and what they are sent.
ToRelayed = RelayWatch | RelaySeat | RelayNewcomer | RelayAction
FromRelayed = RelayState | RelayEvent | RelayRefusal | RelayTaken | RelayFailed


AnyToServer = (
    Bind
    | OpenRoom
    | AddTicket
    | Kick
    | CloseRoom
    | Heartbeat
    | TokenKeys
    | RotateCookies
    | RelayWatch
    | RelaySeat
    | RelayNewcomer
    | RelayAction
    | Stop
)
AnyToNode = (
    Ready
    | Bound
    | BindFailed
    | TokenKeysTaken
    | RoomOpened
    | TicketAdded
    | SeatChanged
    | MatchStarted
    | RoundEnded
    | RoomEnded
    | RelayState
    | RelayEvent
    | RelayRefusal
    | RelayTaken
    | RelayFailed
    | Alive
)

_M = TypeVar("_M")

_encoder = msgspec.msgpack.Encoder()
_to_server: msgspec.msgpack.Decoder[AnyToServer] = msgspec.msgpack.Decoder(AnyToServer)
_to_node: msgspec.msgpack.Decoder[AnyToNode] = msgspec.msgpack.Decoder(AnyToNode)


def encode(message: ToServer | ToNode) -> bytes:
    """
    Make the frame of one message.

    :raises ValueError: it is longer than `FRAME_LIMIT`.
    """
    payload = _encoder.encode(message)
    if len(payload) > FRAME_LIMIT:
        raise ValueError(f"message of {len(payload)} bytes, limit {FRAME_LIMIT}")
    return len(payload).to_bytes(_HEADER) + payload


def decode_to_server(payload: bytes) -> AnyToServer:
    """
    Read what a node sent.

    :raises PeerError: not one of the messages; names the field.
    """
    return _decode(_to_server, payload)


def decode_to_node(payload: bytes) -> AnyToNode:
    """
    Read what a game server sent.

    :raises PeerError: not one of the messages; names the field.
    """
    return _decode(_to_node, payload)


def _decode(decoder: msgspec.msgpack.Decoder[_M], payload: bytes) -> _M:
    try:
        return decoder.decode(payload)
    # ValueError: bounds of the model's values. RecursionError: nesting.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"control message: {error}") from error


@attrs.define
class FrameReader:
    """
    Cut a byte stream into frames.

    Layout: 4-byte big-endian length, then that many payload bytes.
    Source: docs/protocol/control.rst, section "Frames".

    :ivar limit: largest payload accepted, bytes.
    """

    limit: int = FRAME_LIMIT
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    def receive(self, data: bytes) -> None:
        """Keep bytes until `next_frame` can use them."""
        self._held += data

    def next_frame(self) -> bytes | None:
        """
        Take the oldest whole frame; ``None`` means "more bytes, please".

        :raises PeerError: the peer announced more than ``limit`` bytes.
        """
        if len(self._held) < _HEADER:
            return None
        size = int.from_bytes(self._held[:_HEADER])
        if size > self.limit:
            raise PeerError(f"frame of {size} bytes, limit {self.limit}")
        if len(self._held) < _HEADER + size:
            return None
        frame = bytes(self._held[_HEADER : _HEADER + size])
        del self._held[: _HEADER + size]
        return frame
