"""
The catalogue of messages, the same over TCP and WebSocket.

It lists the types and decodes them. The types themselves are in
`vinom.base.messages.lobby`, `vinom.base.messages.parties` and
`vinom.base.messages.rooms`, what they share in `vinom.base.messages.envelope`.
"""

from __future__ import annotations

import re

from msgspec import Struct, ValidationError, json

from vinom.base.messages.envelope import (
    UNREADABLE,
    Answer,
    Asked,
    Envelope,
    Failed,
    Push,
    Request,
    Told,
    Unusable,
    at_field,
    decode_envelope,
)
from vinom.base.messages.lobby import (
    Cancel,
    Hello,
    MatchEnded,
    MatchFound,
    Moved,
    Ping,
    Pong,
    Queue,
    QueueStatus,
    RoomFound,
    Welcome,
)
from vinom.base.messages.parties import (
    PARTY_REQUESTS,
    Accept,
    Decline,
    PartyClosed,
    PartyCreated,
    PartyInvite,
    PartyList,
    PartyToken,
    PartyUpdate,
    PrematchFound,
    PrematchUpdate,
)
from vinom.base.messages.rooms import (
    ROOM_ID_RULE,
    Ack,
    Action,
    AddBot,
    ClientJoined,
    ClientLeft,
    GameState,
    JoinRoom,
    JoinRoomResult,
    Kicked,
    KickSeat,
    LeaveRoom,
    ListRooms,
    MatchListUpdate,
    MyGames,
    OwnGames,
    PeekRoom,
    Reconnect,
    ReconnectResult,
    Rematch,
    RoomClosed,
    RoomDone,
    RoomList,
    RoomListUpdate,
    RoomPaused,
    RoomPeek,
    RoomStarted,
    RoundBegan,
    RoundOver,
    SetTeam,
    StartRoom,
    TeamSet,
)
from vinom.errors import Code, PeerError

#: The version of the protocol, and the oldest one that is still accepted.
PROTOCOL = 1
OLDEST_PROTOCOL = 1


class _Version(Struct, frozen=True):
    """The one field of `Hello` that every version has."""

    protocol: int | None = None


def _by_tag(*types: type[Struct]) -> dict[str, type[Struct]]:
    return {str(kind.__struct_config__.tag): kind for kind in types}


#: Every request, by its type on the wire.
REQUESTS = _by_tag(
    *(Hello, Queue, Cancel, Ping, Accept, Decline),
    *PARTY_REQUESTS,
    *(JoinRoom, LeaveRoom, ListRooms, PeekRoom, MyGames, Action, Ack, Reconnect),
    *(StartRoom, AddBot, KickSeat, SetTeam, Rematch),
)
#: Every answer and push, likewise.
PUSHES = _by_tag(
    *(Welcome, QueueStatus, RoomFound, Pong, MatchFound, MatchEnded, Moved),
    *(PrematchFound, PrematchUpdate, PartyUpdate, PartyCreated, PartyToken),
    *(PartyInvite, PartyClosed, PartyList),
    *(JoinRoomResult, ReconnectResult, RoomDone, RoomList, RoomListUpdate),
    *(ClientJoined, ClientLeft, RoomStarted, GameState, RoundOver, RoundBegan),
    *(MatchListUpdate, RoomPeek, OwnGames, RoomPaused, Kicked, RoomClosed, TeamSet),
)
_answers = json.Decoder(Answer)
_versions = json.Decoder(_Version)
_PATTERN = re.compile(r"Expected `str` matching regex '.*'(?= - at|\Z)")
_bodies = {tag: json.Decoder(kind) for tag, kind in REQUESTS.items()}
_push_bodies = {tag: json.Decoder(kind) for tag, kind in PUSHES.items()}


def decode_request(message: bytes) -> Asked:
    """
    Decode one request; decoding is validation.

    :raises Unusable: the message is not a valid request; `details` name the ``field``
        at fault.
    """
    return decode_body(decode_envelope(message))


def decode_body(envelope: Envelope) -> Asked:
    """
    Decode the data of an envelope.

    :raises Unusable: as `decode_request`.
    """
    decoder = _bodies.get(envelope.type)
    if decoder is None:
        raise Unusable(
            Code.UNKNOWN_TYPE,
            "no request has this type",
            {"field": "type", "types": sorted(_bodies)},
            envelope.id,
        )
    if envelope.type == "action":
        # The game decodes its data.
        return Asked(Action(), envelope.id)
    try:
        if envelope.type == "hello":
            # Check this first: another version may have other fields.
            _check_version(_versions.decode(envelope.data).protocol)
        request = decoder.decode(envelope.data)
        if isinstance(request, Hello):
            _check_hello(request)
        elif isinstance(request, Queue) and request.game is request.queue is None:
            raise Unusable(
                Code.BAD_FIELD,
                "one of game and queue is needed",
                {"field": "data.game"},
            )
    except ValidationError as error:
        # Only ids of rooms have a pattern.
        words = _PATTERN.sub(f"Expected {ROOM_ID_RULE}", str(error))
        raise Unusable(
            Code.BAD_FIELD, words, at_field(error, "data"), envelope.id
        ) from None
    except UNREADABLE as error:
        raise Unusable(
            Code.BAD_MESSAGE, f"data: {error}", {"field": "data"}, envelope.id
        ) from None
    except Unusable as error:
        error.id = envelope.id
        raise
    assert isinstance(request, Request)
    return Asked(request, envelope.id)


def _check_version(protocol: int | None) -> None:
    if protocol is None:
        raise Unusable(
            Code.BAD_FIELD,
            f"a hello must have the field protocol: set it to {PROTOCOL}",
            {"field": "data.protocol"},
        )
    if not OLDEST_PROTOCOL <= protocol <= PROTOCOL:
        raise Unusable(
            Code.PROTOCOL_UNSUPPORTED,
            f"protocol {protocol} is not spoken here",
            {"min": OLDEST_PROTOCOL, "max": PROTOCOL},
        )


def _check_hello(hello: Hello) -> None:
    if hello.player_key is not None:
        extra = "name" if hello.name is not None else "credentials"
        if hello.name is not None or hello.credentials is not None:
            raise Unusable(
                Code.BAD_FIELD,
                "a player_key comes alone",
                {"field": f"data.{extra}"},
            )
    elif hello.name is None and hello.credentials is None:
        raise Unusable(
            Code.BAD_FIELD,
            "one of name, credentials and player_key is needed",
            {"field": "data.name"},
        )


def decode_answer(line: bytes) -> Told | Failed | None:
    """
    Decode an answer or push: the client's side.

    Returns ``None`` for a push that this version does not know: skip it.

    :raises PeerError: the bytes are not an answer.
    """
    try:
        answer = _answers.decode(line)
        if answer.type == "error" and answer.error is not None:
            problem = answer.error
            return Failed(problem.code, problem.message, problem.details, answer.id)
        decoder = _push_bodies.get(answer.type)
        if decoder is None or not answer.success:
            return None
        push = decoder.decode(answer.data)
    except UNREADABLE as error:
        raise PeerError(f"unreadable answer: {error}") from None
    assert isinstance(push, Push)
    return Told(push, answer.id)
