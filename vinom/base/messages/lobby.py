"""The lobby's messages: who you are, the queue, and your match."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json

from vinom.base.messages.envelope import (
    UNREADABLE,
    Push,
    Request,
    SecretText,
    ShortText,
)

#: How players reach a node: by a line to its lobby, or by its WebSocket.
Reach = Literal["lobby", "websocket"]


class Hello(Request, frozen=True, tag="hello", tag_field="type"):
    """
    Say who you are; the first message of every connection.

    Send exactly one of `name` (as a guest), `credentials` and `player_key`; a name may
    also come with credentials.

    :ivar protocol: the version you speak.
    :ivar name: what other players see.
    :ivar credentials: what the login of the server requires.
    :ivar player_key: the secret of an earlier `Welcome`: be that player again.
    :ivar stay: do not close this connection when a match is found, so that you can play
        the match on it, see `JoinRoom`. A WebSocket stays open anyway.
    :ivar moves: which addresses of `Moved` you can follow; without, you are never sent
        one.
    """

    protocol: int
    name: str | None = None
    credentials: dict[str, str] | None = None
    player_key: SecretText | None = None
    stay: bool = False
    moves: Reach | None = None


class _Token(Struct):
    token: str


class _Proof(Struct):
    credentials: _Token


class _TokenHello(Struct, tag="hello", tag_field="type"):
    data: _Proof


_read_token_hello = json.Decoder(_TokenHello).decode


def carries_token(message: bytes) -> bool:
    """Is this a `Hello` with a token? It may be longer than other messages."""
    try:
        _read_token_hello(message)
    except UNREADABLE:
        return False
    return True


#: Regions of `Welcome`, at most.
MOST_REGIONS = 16
#: Milliseconds by region.
Echoes = Annotated[
    dict[ShortText, Annotated[float, Meta(ge=0, le=60_000)]],
    Meta(max_length=MOST_REGIONS),
]


class Queue(Request, frozen=True, tag="queue", tag_field="type"):
    """
    Ask for a match: in a queue of `Welcome`, or in the default queue of a game.

    :ivar game: one of the games of `Welcome`; a queue has its own.
    :ivar options: the game's options; only players with equal options meet.
    :ivar loadout: what you bring, if the game accepts anything.
    :ivar queue: the name of one of the queues of `Welcome`.
    :ivar echoes: for regions of `Welcome`, the median of five echoes, milliseconds.
    """

    game: ShortText | None = None
    options: Raw = Raw(b"{}")
    loadout: Raw = Raw(b"{}")
    queue: ShortText | None = None
    echoes: Echoes | None = None


class Cancel(Request, frozen=True, tag="cancel", tag_field="type"):
    """Leave the queue, or a match that is still being prepared."""


class Ping(Request, frozen=True, tag="ping", tag_field="type"):
    """Ask for a `Pong`."""


class QueueOffer(Struct, frozen=True):
    """
    A queue with a name.

    :ivar name: for `Queue`.
    :ivar game: the game that it is for.
    """

    name: str
    game: str


class RegionOffer(Struct, frozen=True):
    """
    A region of the service.

    :ivar region: its name.
    :ivar url: answers GET with 204 and nothing else, to measure echoes.
    """

    region: str
    url: str


class Welcome(Push, frozen=True, tag="welcome", tag_field="type"):
    """
    You are logged in; answers `Hello`.

    :ivar player_id: public; proves nothing.
    :ivar player_key: secret: anyone who has it is you.
    :ivar name: what other players see.
    :ivar protocol: the version that the server speaks.
    :ivar server: the name and version of its program.
    :ivar games: the games that it plays.
    :ivar queues: queues with names, in addition to the default queue of each game.
    :ivar regions: if there are several, where to measure echoes before `Queue`.
    """

    player_id: str
    player_key: str
    name: str
    protocol: int
    server: str
    games: tuple[str, ...]
    queues: tuple[QueueOffer, ...] | UnsetType = UNSET
    regions: tuple[RegionOffer, ...] | UnsetType = UNSET


class QueueStatus(Push, frozen=True, tag="queue_status", tag_field="type"):
    """
    Your state in the queue; answers `Queue`, and is sent again when it changes.

    :ivar state: "waiting", "matched" (a game server is being prepared),
        or "idle" (answers `Cancel`).
    :ivar game: what you wait for.
    :ivar position: 1 is the front; of a match with a *problem*, among those that wait.
    :ivar waited: seconds since you first queued.
    :ivar queue: the name of the queue, if it has one.
    :ivar problem: why a match that is "matched" does not start, in a sentence.
    """

    state: str
    game: str | None = None
    position: int | None = None
    waited: float = 0.0
    queue: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET


class RoomFound(Push, frozen=True, tag="room_found", tag_field="type"):
    """
    A running room has seats for you and your party: you have left the queue for it.

    Join it with `JoinRoom`; your seat is kept for a short time.

    :ivar queue: the name of the queue.
    """

    room_id: str
    game: str
    queue: str


class Moved(Push, frozen=True, tag="moved", tag_field="type"):
    """
    The room is on another node: connect there, and ask again.

    It answers `JoinRoom` and `Reconnect`, if your hello said that you follow it. If you
    cannot reach that node, connect here again with a hello that does not say so.

    :ivar address: of the lobby there, ``host:port``; or the URL of its WebSocket.
    :ivar room_id: the room.
    """

    address: str
    room_id: str


class Pong(Push, frozen=True, tag="pong", tag_field="type"):
    """Answers `Ping`."""


class SeatName(Struct, frozen=True, omit_defaults=True):
    """
    The player in a seat.

    :ivar team: the team that the match's maker chose; left out if the game's rules do.
    """

    seat: int
    name: str
    player_id: str
    team: int | None = None


class MatchFound(Push, frozen=True, tag="match_found", tag_field="type"):
    """
    A game server is already listening: go and play.

    :ivar host: address or name to send UDP to.
    :ivar server_name: for the ClientHello; its first label is your ticket.
    :ivar certificate: the authority to verify the game server's certificate with, PEM.
    :ivar token: proof of your seat; secret.
    :ivar seat: your seat in `players`.
    :ivar players: who has which seat.
    :ivar expires_at: when token and ticket expire, seconds since the Unix epoch.
    :ivar went_back: the machine of the match died; it goes on from at most a second
        before, elsewhere.
    """

    match_id: str
    game: str
    host: str
    port: int
    server_name: str
    certificate: str
    token: str
    seat: int
    players: tuple[SeatName, ...]
    expires_at: float
    went_back: bool = False


class MatchEnded(Push, frozen=True, tag="match_ended", tag_field="type"):
    """
    Your match is over.

    :ivar reason: "finished", "void", "crashed", "lost", "ended", "kicked", "time_limit"
        or "shutdown".
    :ivar outcome: ``{round, places, scores}``, if a round has ended.
    :ivar players: who had which seat.
    :ivar why: why it is lost, in a sentence; empty if nobody knows, and otherwise.
    """

    match_id: str
    reason: str
    outcome: dict[str, Any] | None = None
    players: tuple[SeatName, ...] = ()
    why: str = ""
