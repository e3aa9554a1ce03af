"""
What all messages of a conversation share: how requests and answers are wrapped.

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

from vinom.errors import Code, Refused, field_of

ShortText = Annotated[str, Meta(min_length=1, max_length=64)]
SecretText = Annotated[str, Meta(min_length=1, max_length=1024)]

#: What a player puts beside a request to find its answer.
RequestId = str | int | None

#: What msgspec raises for bytes that are not what was expected.
UNREADABLE = (MsgspecError, UnicodeDecodeError, RecursionError)


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """Root of what players ask for."""


class Push(Struct, frozen=True):
    """Root of what a node sends to players."""


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


class Envelope(Struct, frozen=True, gc=False):
    """
    What all requests share.

    :ivar room_id: of an action, whose data is the game's own.
    :ivar seen: version of the latest state that the player has, likewise.
    """

    type: str
    id: Annotated[str, Meta(max_length=64)] | int | None = None
    data: Raw = Raw(b"{}")
    room_id: ShortText | None = None
    seen: Annotated[int, Meta(ge=0, lt=1 << 53)] | None = None


class Problem(Struct, frozen=True):
    """The body of a failure."""

    code: str
    message: str = ""
    details: dict[str, Any] = {}


class Answer(Struct, frozen=True):
    """What all replies and failures share."""

    type: str
    success: bool
    id: str | int | None = None
    data: Raw = Raw(b"{}")
    error: Problem | None = None


#: Opens one request; fails with one of `UNREADABLE`, see `unusable`.
read_envelope = json.Decoder(Envelope).decode
_encoder = json.Encoder()
#: How pushes of a kind begin.
_tagged: dict[type[Push], bytes] = {}


def decode_envelope(message: bytes) -> Envelope:
    """
    Open one request.

    :raises Unusable: it is none, and `details` name the ``field`` at fault.
    """
    try:
        return read_envelope(message)
    except UNREADABLE as error:
        raise unusable(error) from None


def unusable(error: Exception) -> Unusable:
    """Say why `read_envelope` failed: `details` name the ``field`` at fault."""
    if isinstance(error, ValidationError):
        return Unusable(Code.BAD_MESSAGE, str(error), at_field(error))
    return Unusable(Code.BAD_MESSAGE, f"one JSON object a message, please: {error}")


def at_field(error: ValidationError, prefix: str = "") -> dict[str, Any]:
    """Name the field at fault, as a path from the message's root."""
    path = ".".join(part for part in (prefix, field_of(str(error))) if part)
    return {"field": path} if path else {}


def encode_push(push: Push, id: RequestId = None) -> bytes:
    """Write a reply to request *id*, or a push, without its line end."""
    kind = type(push)
    tagged = _tagged.get(kind)
    if tagged is None:
        tagged = _tagged[kind] = b'{"type":%b' % _encoder.encode(_tag_of(push))
    # The struct writes its type first, which stands outside of the data here.
    data = _encoder.encode(push)[len(tagged) :].lstrip(b",")
    if id is None:
        return b'%b,"success":true,"data":{%b}' % (tagged, data)
    number = _encoder.encode(id)
    return b'%b,"id":%b,"success":true,"data":{%b}' % (tagged, number, data)


def _tag_of(push: Push) -> str:
    return str(push.__struct_config__.tag)


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
