"""
The messages between a node and its game servers, on a control link.

MessagePack structs in frames (`FrameReader`), the same over a UNIX socket and TLS. The
messages named ``Relay...`` are for seats and spectators that are connected to the node,
which relays for them. Source: docs/protocol/control.rst.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

import attrs
import msgspec
from msgspec import Meta, Struct, field

from vinom.errors import PeerError
from vinom.model import EndReason, MatchEnd, MatchPlan, SeatPlan, Ticket

#: Version of the messages; if the two sides differ, the game server ends.
CONTROL_PROTOCOL = 5

#: Longest message, bytes: enough for a match with many loadouts, and little memory.
FRAME_LIMIT = 1024 * 1024

_HEADER = 4

#: One of `EndReason`; checked here, so that a room can always close with it.
_Reason = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(get_args(EndReason))})\Z")]


class ToServer(Struct, frozen=True, tag_field="t"):
    """Root of the messages from a node to a game server."""


class ToNode(Struct, frozen=True, tag_field="t"):
    """Root of the messages from a game server to its node."""


class Bind(ToServer, frozen=True, tag="bind"):
    """
    Bind this port and get ready; answered by `Bound` or `BindFailed`.

    :ivar interface: IP address to bind.
    :ivar port: UDP.
    :ivar server: label inside the realm; the certificate is for ``*.<server>.<realm>``.
    :ivar realm: domain of all game servers' names.
    :ivar certificate: leaf and chain, PEM.
    :ivar key: the leaf's private key, PEM; for this process only.
    :ivar token_keys: Ed25519 public keys, PEM, by key id.
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

    :ivar plan: of the match.
    :ivar tickets: of its players.
    :ivar is_relayed: whether it is a room of the node: its players are connected there,
        and only the node decides how long it may stay empty.
    :ivar files: inode numbers of the descriptors that came with this message: for the
        recording, and for a crash report. Empty: the game server opens its own files.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    is_relayed: bool = False
    files: tuple[int, ...] = ()


class AddTicket(ToServer, frozen=True, tag="add_ticket"):
    """Admit a returning player's new ticket; answered by `TicketAdded`."""

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
    """Check that the game server is alive; answered by `Alive` with the same number."""

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
    """End all matches, send players the end, and exit."""


class Ready(ToNode, frozen=True, tag="ready"):
    """The first message: which process this is."""

    server_id: str
    pid: int
    protocol: int


class Bound(ToNode, frozen=True, tag="bound"):
    """The port is bound."""

    port: int


class BindFailed(ToNode, frozen=True, tag="bind_failed"):
    """The port cannot be bound; the process accepts another `Bind`."""

    port: int
    why: str


class TokenKeysTaken(ToNode, frozen=True, tag="token_keys_taken"):
    """The keys of the `TokenKeys` with this number are in use."""

    number: int


class RoomOpened(ToNode, frozen=True, tag="room_opened"):
    """The room is open: players can connect."""

    match_id: str


class TicketAdded(ToNode, frozen=True, tag="ticket_added"):
    """The ticket is admitted now."""

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
    """Match time has started."""

    match_id: str


class RoundEnded(ToNode, frozen=True, tag="round_ended"):
    """A round has an outcome; the room may continue."""

    match_id: str
    outcome: dict[str, Any]


class RoomEnded(ToNode, frozen=True, tag="room_ended"):
    """The room is closed; its players are sent the end."""

    end: MatchEnd


class CookieKeyReport(Struct, frozen=True):
    """
    One of a game server's cookie keys, without its secret.

    :ivar number: first byte of its cookies.
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

    :ivar number: the heartbeat's.
    :ivar figures: counters and gauges by name, for metrics: see
        `vinom.reactor.figures`.
    :ivar cookie_keys: those whose cookies are valid.
    """

    number: int
    figures: dict[str, float]
    cookie_keys: tuple[CookieKeyReport, ...] = ()


class RelayWatch(ToServer, frozen=True, tag="relay_watch"):
    """
    Start or stop relaying a match.

    The game server sends states and events of it only in between.

    :ivar match_id: of the match.
    :ivar is_on: whether any player of the node plays in it or watches it.
    """

    match_id: str
    is_on: bool


class RelaySeat(ToServer, frozen=True, tag="relay_seat"):
    """
    A seat's player joined or left through the node; there is no answer.

    :ivar how: "join" (for the first time or again), "drop", "leave", or "bot": the
        game's bot has the seat from now on.
    :ivar epoch: counts the seat's joins through the node; a message about an older
        join is ignored.
    :ivar number: of the last action that the node passed on for this seat.
    """

    match_id: str
    seat: int
    how: Literal["join", "drop", "leave", "bot"]
    epoch: int = 0
    number: int = 0


class RelayNewcomer(ToServer, frozen=True, tag="relay_newcomer"):
    """
    A newcomer joins a match that is being played.

    :ivar seat: the number that the room will give the newcomer.
    :ivar plan: the newcomer's seat.
    """

    match_id: str
    seat: int
    plan: SeatPlan


class RelayAction(ToServer, frozen=True, tag="relay_action"):
    """
    A relayed seat acts; answered by the next `RelayState`, or a `RelayRefusal`.

    :ivar number: rises with each action of this seat.
    :ivar data: the action, JSON.
    """

    match_id: str
    seat: int
    number: int
    data: bytes


class RelayState(ToNode, frozen=True, tag="relay_state"):
    """
    The changes of one turn, for all relayed seats and for spectators.

    :ivar version: of the state.
    :ivar phase: "gathering", "playing", "over" or "closed".
    :ivar time: match time, seconds.
    :ivar applied: by seat, the number of the last action that this state answers.
    :ivar views: each once, JSON; none if only `applied` is new.
    :ivar shown: by seat, the index of its view; -1 stands for spectators.
    :ivar setup: the constant part of the view, JSON; may be empty.
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
    An event of the game; it belongs before the next `RelayState`.

    :ivar version: of the state that it belongs to.
    :ivar kind: the game's name for it.
    :ivar data: the game's own.
    :ivar to: the only seat that gets it; ``None`` for everybody.
    """

    match_id: str
    version: int
    kind: str
    data: Any
    to: int | None


class RelayRefusal(ToNode, frozen=True, tag="relay_refusal"):
    """
    An action was refused and changed nothing.

    :ivar number: the action's.
    :ivar code: one of `vinom.errors.Code`.
    :ivar reason: the game's own code, or the invalid field.
    :ivar message: the reason, as a text.
    """

    match_id: str
    seat: int
    number: int
    code: str
    reason: str
    message: str


class RelayTaken(ToNode, frozen=True, tag="relay_taken"):
    """
    A seat is no longer relayed: its player connected over UDP.

    :ivar epoch: of the join that this ends.
    """

    match_id: str
    seat: int
    epoch: int


class RelayFailed(ToNode, frozen=True, tag="relay_failed"):
    """
    The views of this match cannot be relayed; it continues for the other players.

    :ivar why: for the log.
    """

    match_id: str
    why: str


#: Messages to and from a room about its relayed players.
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
    Read a message from a node.

    :raises PeerError: it is not one of the messages; names the field.
    """
    return _decode(_to_server, payload)


def decode_to_node(payload: bytes) -> AnyToNode:
    """
    Read a message from a game server.

    :raises PeerError: it is not one of the messages; names the field.
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

    Layout: a 4-byte big-endian length, then as many payload bytes.
    Source: docs/protocol/control.rst, section "Frames".

    :ivar limit: longest payload accepted, bytes.
    """

    limit: int = FRAME_LIMIT
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    def receive(self, data: bytes) -> None:
        """Keep bytes until `next_frame` can use them."""
        self._held += data

    def next_frame(self) -> bytes | None:
        """
        Take the oldest whole frame; ``None`` if there is none yet.

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
