"""
The lobby's messages, the same on TCP lines and WebSocket.

Requests are ``{"type", "id"?, "data"}``; replies ``{"type", "id"?, "success":
true, "data"}``; failures ``{"type": "error", "id"?, "success": false, "error":
{"code", "message", "details"}}``. Pushes are replies that nobody asked for.
Source: docs/protocol/lobby.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import attrs
from msgspec import Meta, MsgspecError, Raw, Struct, ValidationError, json, structs

from vinom.errors import Code, PeerError, Refused, field_of

#: The lobby protocol spoken here, and the oldest one still understood.
PROTOCOL = 1
OLDEST_PROTOCOL = 1

ShortText = Annotated[str, Meta(min_length=1, max_length=64)]
SecretText = Annotated[str, Meta(min_length=1, max_length=1024)]

#: What a player puts beside a request to find its answer.
RequestId = str | int | None


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """Root of what players ask for."""


class Hello(Request, frozen=True, tag="hello", tag_field="type"):
    """
    Say who you are; the first message of every connection.

    Exactly one of `name` (a guest), `credentials` and `player_key` (the secret
    of an earlier `Welcome`) is given; a name may come with credentials.
    """

    protocol: int
    name: str | None = None
    credentials: dict[str, str] | None = None
    player_key: SecretText | None = None


class Queue(Request, frozen=True, tag="queue", tag_field="type"):
    """Ask for a match; system 001's "ready"."""

    game: ShortText
    options: Raw = Raw(b"{}")
    loadout: Raw = Raw(b"{}")


class Cancel(Request, frozen=True, tag="cancel", tag_field="type"):
    """Leave the queue."""


class Ping(Request, frozen=True, tag="ping", tag_field="type"):
    """Ask for a `Pong`."""


class Push(Struct, frozen=True):
    """Root of what a node tells players."""


class Welcome(Push, frozen=True, tag="welcome", tag_field="type"):
    """
    You are known; answers `Hello`.

    :ivar player_key: secret: whoever has it is this player.
    """

    player_id: str
    player_key: str
    name: str
    protocol: int
    server: str
    games: tuple[str, ...]


class QueueStatus(Push, frozen=True, tag="queue_status", tag_field="type"):
    """
    You wait; answers `Queue`, and comes again when something changes.

    :ivar state: "waiting", "matched" (a game server is being made ready),
        or "idle" (answers `Cancel`).
    :ivar position: 1 is the front.
    :ivar waited: seconds.
    """

    state: str
    game: str | None = None
    position: int | None = None
    waited: float = 0.0


class Pong(Push, frozen=True, tag="pong", tag_field="type"):
    """Answers `Ping`."""


class SeatName(Struct, frozen=True):
    """Who sits where."""

    seat: int
    name: str
    player_id: str


class MatchFound(Push, frozen=True, tag="match_found", tag_field="type"):
    """
    Go and play: the game server listens already.

    :ivar host: address or name to send UDP to.
    :ivar server_name: for the ClientHello; its first label is your ticket.
    :ivar certificate: the authority to verify the server with, PEM.
    :ivar token: proof of your seat; secret.
    :ivar seat: your place in `players`.
    :ivar expires_at: of the token, seconds since the Unix epoch.
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


class MatchEnded(Push, frozen=True, tag="match_ended", tag_field="type"):
    """
    Your match is over.

    :ivar reason: finished, void, crashed, lost, ended, kicked, time_limit or shutdown.
    """

    match_id: str
    reason: str
    outcome: dict[str, Any] | None = None


@attrs.frozen
class Asked:
    """
    One well-formed request.

    :ivar id: what the player put there to find the answer; any text or number.
    """

    request: Request
    id: RequestId = None


@attrs.frozen
class Told:
    """One reply or push, as a client reads it."""

    push: Push
    id: RequestId = None


@attrs.frozen
class Failed:
    """One failure, as a client reads it."""

    code: str
    message: str
    details: dict[str, Any]
    id: RequestId = None


class Unusable(Refused):
    """
    A message that is not a request; the peer may try again.

    :ivar id: of the request, when that much could be read.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        details: Mapping[str, Any] | None = None,
        id: RequestId = None,
    ) -> None:
        super().__init__(code, message, details)
        self.id = id


class _Envelope(Struct, frozen=True):
    """What all requests share."""

    type: str
    id: Annotated[str, Meta(max_length=64)] | int | None = None
    data: Raw = Raw(b"{}")


class _Answer(Struct, frozen=True):
    """What all replies and failures share."""

    type: str
    success: bool
    id: str | int | None = None
    data: Raw = Raw(b"{}")
    error: _Problem | None = None


class _Problem(Struct, frozen=True):
    """The body of a failure."""

    code: str
    message: str = ""
    details: dict[str, Any] = {}


class _Version(Struct, frozen=True):
    """The one field of `Hello` that every version has."""

    protocol: int


def _by_tag(*types: type[Struct]) -> dict[str, type[Struct]]:
    return {str(kind.__struct_config__.tag): kind for kind in types}


_REQUESTS = _by_tag(Hello, Queue, Cancel, Ping)
_PUSHES = _by_tag(Welcome, QueueStatus, Pong, MatchFound, MatchEnded)
_envelopes = json.Decoder(_Envelope)
_answers = json.Decoder(_Answer)
_versions = json.Decoder(_Version)
_bodies = {tag: json.Decoder(kind) for tag, kind in _REQUESTS.items()}
_push_bodies = {tag: json.Decoder(kind) for tag, kind in _PUSHES.items()}
_encoder = json.Encoder()

#: What msgspec raises for bytes that are not what was expected.
_UNREADABLE = (MsgspecError, UnicodeDecodeError, RecursionError)


def decode_request(line: bytes) -> Asked:
    """
    Read one request; decoding is validation.

    :raises Unusable: it is none, and `details` name the ``field`` at fault.
    """
    try:
        envelope = _envelopes.decode(line)
    except ValidationError as error:
        raise Unusable(Code.BAD_MESSAGE, str(error), _at(error)) from None
    except _UNREADABLE as error:
        raise Unusable(
            Code.BAD_MESSAGE, f"one JSON object a message, please: {error}"
        ) from None
    decoder = _bodies.get(envelope.type)
    if decoder is None:
        raise Unusable(
            Code.UNKNOWN_TYPE,
            "no request has this type",
            {"field": "type", "types": sorted(_bodies)},
            envelope.id,
        )
    try:
        if envelope.type == "hello":
            # Before anything else: another version may have other fields.
            _check_version(_versions.decode(envelope.data).protocol)
        request = decoder.decode(envelope.data)
        if isinstance(request, Hello):
            _check_hello(request)
    except ValidationError as error:
        raise Unusable(
            Code.BAD_FIELD, str(error), _at(error, "data"), envelope.id
        ) from None
    except _UNREADABLE as error:
        raise Unusable(
            Code.BAD_MESSAGE, f"data: {error}", {"field": "data"}, envelope.id
        ) from None
    except Unusable as error:
        error.id = envelope.id
        raise
    assert isinstance(request, Request)
    return Asked(request, envelope.id)


def _check_version(protocol: int) -> None:
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


def _at(error: ValidationError, prefix: str = "") -> dict[str, Any]:
    """Name the field at fault, as a path from the message's root."""
    path = ".".join(part for part in (prefix, field_of(str(error))) if part)
    return {"field": path} if path else {}


def encode_push(push: Push, id: RequestId = None) -> bytes:
    """Write a reply to request *id*, or a push, without its line end."""
    tag = str(push.__struct_config__.tag)
    answer: dict[str, Any] = {"type": tag}
    if id is not None:
        answer["id"] = id
    answer["success"] = True
    answer["data"] = structs.asdict(push)
    return _encoder.encode(answer)


def encode_failure(
    code: Code,
    message: str,
    details: Mapping[str, Any] | None = None,
    id: RequestId = None,
) -> bytes:
    """Write a failure, without its line end."""
    answer: dict[str, Any] = {"type": "error"}
    if id is not None:
        answer["id"] = id
    answer["success"] = False
    answer["error"] = {
        "code": code.value,
        "message": message,
        "details": dict(details or {}),
    }
    return _encoder.encode(answer)


def encode_request(request: Request, id: RequestId = None) -> bytes:
    """Write a request, without its line end: the client's side."""
    body = {
        name: value
        for name, value in structs.asdict(request).items()
        if value is not None
    }
    asked: dict[str, Any] = {"type": str(request.__struct_config__.tag)}
    if id is not None:
        asked["id"] = id
    asked["data"] = body
    return _encoder.encode(asked)


def decode_answer(line: bytes) -> Told | Failed | None:
    """
    Read what a node says: the client's side.

    Fires nothing for a push of a newer node: ``None`` means "skip it".

    :raises PeerError: it is no answer at all.
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
    except _UNREADABLE as error:
        raise PeerError(f"unreadable answer: {error}") from None
    assert isinstance(push, Push)
    return Told(push, answer.id)
