"""
The messages between a node and its game servers, on a control link.

MessagePack structs in frames, the same over a UNIX socket and TLS. The messages named
``Relay...`` are for seats and spectators that are connected to the node, which relays
for them. Source: docs/protocol/control.rst.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct, field

from vinom.base.model import EndReason, MatchEnd, MatchPlan, SeatPlan, Ticket
from vinom.errors import PeerError
from vinom.net.frames import framed
from vinom.play.views import Recipients

#: Version of the messages; if the two sides differ, the game server ends.
CONTROL_PROTOCOL = 6

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
    :ivar port: UDP; 0 for none: all players are relayed by the node, and the other
        fields are empty.
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
        Over TLS there are none: what would be written is sent (`RecordingData`).
    :ivar checkpoint: the checkpoint to go on from, as sent in `Kept`; empty for a new
        match. A game server that cannot read it answers `RoomEnded`, "lost".
    :ivar number: the checkpoint's number; the next checkpoint has the following one.
    :ivar part: which part of the recording to write; the first is 1.
    :ivar forgotten: how many versions, and messages, players were perhaps shown that
        the checkpoint has not; 0 for none.
    """

    plan: MatchPlan
    tickets: tuple[Ticket, ...]
    is_relayed: bool = False
    files: tuple[int, ...] = ()
    checkpoint: bytes = b""
    number: int = 0
    part: int = 1
    forgotten: int = 0


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


class KeptTaken(ToServer, frozen=True, tag="kept_taken"):
    """
    The node has the checkpoint (or the end) with this number, and all before it.

    Sent over links that can lose a message together with its sender. Over a UNIX
    socket, which the node reads to the end, it is sent only once, after the first
    checkpoint, to pass a file; for games with durability "store" when the store has it.

    :ivar file: inode number of the open file that came with it, to which checkpoints
        are written while there is no link. 0 for none.
    """

    match_id: str
    number: int
    file: int = 0


class TokenKeys(ToServer, frozen=True, tag="token_keys"):
    """
    Accept connect tokens of these keys and no others; answered by `TokenKeysTaken`.

    :ivar keys: as in `Bind`.
    """

    number: int
    keys: dict[str, bytes]


class RotateCookies(ToServer, frozen=True, tag="rotate_cookies"):
    """Make cookies with a new key; those of the last one stay valid for a while."""


class HandOver(ToServer, frozen=True, tag="hand_over"):
    """
    Freeze all matches, send their last checkpoints, and exit without ending them.

    Another game server goes on with them. Only for matches that have checkpoints.
    """


class Stop(ToServer, frozen=True, tag="stop"):
    """End all matches, send players the end, and exit."""


class Adopted(ToServer, frozen=True, tag="adopted"):
    """
    The answer to a `Ready` with matches: go on with these, and end the others.

    :ivar matches: ids of the matches to go on with.
    :ivar file: as in `KeptTaken`; it replaces an earlier file.
    :ivar again: whether this node had the game server before, so that the same process
        still watches it.
    """

    matches: tuple[str, ...]
    file: int = 0
    again: bool = False


class Known(ToServer, frozen=True, tag="known"):
    """
    A secret for the game server, which proves who it is when it dials again.

    The previous secret is no longer valid.

    :ivar secret: to send in `Ready`.
    """

    secret: bytes


class Playing(Struct, frozen=True):
    """
    A match that a game server has when it links again.

    :ivar plan: the match's plan, with the players who have its seats now.
    :ivar number: the checkpoint's number; 0 if there is none.
    :ivar version: the version of the state.
    :ivar checkpoint: the newest checkpoint, not as a change; empty if there is none.
    :ivar part: the part of the recording that is being written.
    :ivar is_started: whether match time has started.
    :ivar seats: the last state of each seat, as in `SeatChanged`.
    :ivar outcome: the outcome of the last finished round.
    :ivar recorded: bytes of the recording that are not in its file yet, as in `Kept`.
    :ivar length: as in `Kept`.
    :ivar tickets: tickets with which its players may connect; another game server needs
        them to go on with the match.
    """

    match_id: str
    plan: MatchPlan
    number: int = 0
    version: int = 0
    checkpoint: bytes = b""
    is_started: bool = False
    seats: dict[int, str] = field(default_factory=dict)
    outcome: dict[str, Any] | None = None
    part: int = 1
    recorded: bytes = b""
    length: int = 0
    tickets: tuple[Ticket, ...] = ()


class Ready(ToNode, frozen=True, tag="ready"):
    """
    The first message: identifies the process. With matches it is answered by `Adopted`.

    :ivar secret: proves its identity, if the link does not.
    :ivar matches: the matches that it has, if it had a link before.
    :ivar label: its label inside the realm, if it has a certificate.
    :ivar port: the UDP port that it has bound; 0 for none.
    """

    server_id: str
    pid: int
    protocol: int
    secret: bytes = b""
    matches: tuple[Playing, ...] = ()
    label: str = ""
    port: int = 0


class Draining(ToNode, frozen=True, tag="draining"):
    """
    The process was asked to end: it accepts no more matches, and exits without any.

    :ivar is_last: whether its time is over: matches that cannot be handed over now end
        with it.
    """

    is_last: bool = False


class RecordingData(ToNode, frozen=True, tag="recording_data"):
    """
    Bytes of a recording, for links over which files cannot be passed.

    They are sent before a `Kept` that relies on them, and before `RoomEnded`. Over a
    new link the last bytes are sent again after `Adopted`, because they may not have
    arrived.

    :ivar match_id: the match that is recorded.
    :ivar part: the part of its recording.
    :ivar at: the offset of the first byte in the file.
    :ivar data: the bytes.
    :ivar is_report: whether they belong to the crash report instead.
    """

    match_id: str
    part: int
    at: Annotated[int, Meta(ge=0)]
    data: bytes
    is_report: bool = False


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


class Kept(ToNode, frozen=True, tag="kept"):
    """
    A checkpoint of a match, sent before players are shown the state in it.

    :ivar number: rises by one with each checkpoint of a match.
    :ivar base: 0 if `data` is a whole checkpoint; otherwise `data` is a change, and
        this is the number of the previous checkpoint. See
        `vinom.fleet.control.checkpoints`.
    :ivar data: opaque to the node, which sends it back in `OpenRoom`. If empty, the
        match does not outlive this process.
    :ivar recorded: bytes added to the match's recording since the last checkpoint,
        because this process may die before it writes them.
    :ivar length: length of the recording's part including these bytes.
    :ivar version: the version of the state.
    """

    match_id: str
    number: int
    base: int
    data: bytes
    recorded: bytes = b""
    length: int = 0
    version: int = 0


class SeatChanged(ToNode, frozen=True, tag="seat_changed"):
    """
    A seat's connection changed.

    :ivar state: "joined", "dropped", "returned", "left", or "vacated": the game gave
        the seat up, and its player may watch.
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
    """
    The room is closed; its players are sent the end.

    :ivar number: of the last checkpoint plus 1; 0 if there is none. Over a link that
        can lose this message, `KeptTaken` with this number answers it, and players of
        a game that shows only what is kept are sent the end after that.
    """

    end: MatchEnd
    number: int = 0


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
        `vinom.base.reactor.figures`.
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
    :ivar packed: whether actions, views and setups are MessagePack, as over UDP, and
        not JSON; then a first `RelayState` comes at once, with the setup.
    """

    match_id: str
    is_on: bool
    packed: bool = False


class RelaySeat(ToServer, frozen=True, tag="relay_seat"):
    """
    A seat's player joined or left through the node; there is no answer.

    :ivar how: "join" (for the first time or again), "drop", "leave", or "bot": the
        game's bot has the seat from now on; "again" if the match goes on in another
        game server: the player is still there, and actions after *number* are sent
        again.
    :ivar epoch: counts the seat's joins through the node; a message about an older
        join is ignored.
    :ivar number: of the last action that the node passed on for this seat.
    """

    match_id: str
    seat: int
    how: Literal["join", "drop", "leave", "bot", "again"]
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

    :ivar number: rises with each action of this seat; one that is not higher than the
        last is a copy.
    :ivar data: the action, JSON or MessagePack: see `RelayWatch`.
    :ivar tick: the tick that its player was shown; 0 if it does not say.
    """

    match_id: str
    seat: int
    number: int
    data: bytes
    tick: int = 0


class RelayState(ToNode, frozen=True, tag="relay_state"):
    """
    The changes of one turn, for all relayed seats and for spectators.

    :ivar version: of the state.
    :ivar phase: "gathering", "playing", "over" or "closed".
    :ivar time: match time, seconds.
    :ivar applied: by seat, the number of the last action that this state answers.
    :ivar views: each once, JSON or MessagePack (see `RelayWatch`); none if only
        `applied` is new.
    :ivar shown: by seat, the index of its view; -1 stands for spectators.
    :ivar setup: the constant part of the view, written as `views`; may be empty.
    :ivar tick: the last fixed step before it; 0 if the game has none.
    """

    match_id: str
    version: int
    phase: str
    time: float
    applied: dict[int, int]
    views: tuple[bytes, ...] = ()
    shown: dict[int, int] = field(default_factory=dict)
    setup: bytes = b""
    tick: int = 0


class RelayEvent(ToNode, frozen=True, tag="relay_event"):
    """
    An event of the game; it belongs before the next `RelayState`.

    :ivar version: of the state that it belongs to.
    :ivar kind: the game's name for it.
    :ivar data: the game's own.
    :ivar to: the seat that gets it, or several, where -1 stands for spectators;
        ``None`` for everybody.
    """

    match_id: str
    version: int
    kind: str
    data: Any
    to: Recipients


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


class RelayAgain(Struct, frozen=True):
    """
    The match goes on at another game server, which knows no relayed seat yet.

    Never sent: the fleet passes it to the services for which it relays.
    """

    match_id: str


#: Messages to and from a room about its relayed players.
ToRelayed = RelayWatch | RelaySeat | RelayNewcomer | RelayAction
FromRelayed = (
    RelayState | RelayEvent | RelayRefusal | RelayTaken | RelayFailed | RelayAgain
)


AnyToServer = (
    Bind
    | OpenRoom
    | AddTicket
    | Kick
    | CloseRoom
    | Heartbeat
    | HandOver
    | KeptTaken
    | TokenKeys
    | RotateCookies
    | RelayWatch
    | RelaySeat
    | RelayNewcomer
    | RelayAction
    | Stop
    | Adopted
    | Known
)
AnyToNode = (
    Ready
    | Draining
    | RecordingData
    | Bound
    | BindFailed
    | TokenKeysTaken
    | RoomOpened
    | TicketAdded
    | Kept
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

_encode = msgspec.msgpack.Encoder().encode
_to_server: msgspec.msgpack.Decoder[AnyToServer] = msgspec.msgpack.Decoder(AnyToServer)
_to_node: msgspec.msgpack.Decoder[AnyToNode] = msgspec.msgpack.Decoder(AnyToNode)
_decode_to_node = _to_node.decode


def encode(message: ToServer | ToNode) -> bytes:
    """
    Make the frame of one message.

    :raises ValueError: it is longer than `vinom.net.frames.FRAME_LIMIT`.
    """
    return framed(_encode(message))


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
    # `_decode` written out: a checkpoint comes for every state.
    try:
        return _decode_to_node(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"control message: {error}") from error


def _decode(decoder: msgspec.msgpack.Decoder[_M], payload: bytes) -> _M:
    try:
        return decoder.decode(payload)
    # ValueError: bounds of the model's values. RecursionError: nesting.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"control message: {error}") from error
