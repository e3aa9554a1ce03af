"""
The envelope of all messages: how requests and answers are wrapped.

Requests are ``{"type", "id"?, "data"}``; replies ``{"type", "id"?, "success":
true, "data"}``; failures ``{"type": "error", "id"?, "success": false, "error":
{"code", "message", "details"}}``. Pushes are replies without a request.
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

#: Sent with a request; its answer carries the same.
RequestId = str | int | None

#: What msgspec raises for bytes that it cannot decode.
UNREADABLE = (MsgspecError, UnicodeDecodeError, RecursionError)


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """Root of the requests of players."""


class Push(Struct, frozen=True):
    """Root of the answers and pushes to players."""


@attrs.frozen
class Asked:
    """
    One well-formed request.

    :ivar id: chosen by the player, and repeated in the answer; any text or number.
    """

    request: Request
    id: RequestId = None


@attrs.frozen
class Told:
    """One reply or push, as a client receives it."""

    push: Push
    id: RequestId = None


@attrs.frozen
class Failed:
    """One failure, as a client receives it."""

    code: str
    message: str
    details: dict[str, Any]
    id: RequestId = None


class Unusable(Refused):
    """
    A message that is not a request; the peer may try again.

    :ivar id: of the request, if it could be decoded.
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

    :ivar room_id: the room of an action, whose data is the game's own.
    :ivar seen: with an action: version of the latest state that the player has.
    :ivar tick: with an action: the tick that the player was shown; 0 if unknown.
    """

    type: str
    id: Annotated[str, Meta(max_length=64)] | int | None = None
    data: Raw = Raw(b"{}")
    room_id: ShortText | None = None
    seen: Annotated[int, Meta(ge=0, lt=1 << 53)] | None = None
    tick: Annotated[int, Meta(ge=0, lt=1 << 53)] = 0


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


#: Decodes the envelope of one request; raises one of `UNREADABLE`, see `unusable`.
read_envelope = json.Decoder(Envelope).decode
_encoder = json.Encoder()
#: The first bytes of each type of push, encoded once.
_tagged: dict[type[Push], bytes] = {}


def decode_envelope(message: bytes) -> Envelope:
    """
    Decode the envelope of one request.

    :raises Unusable: the message is not a valid request; `details` name the ``field``
        at fault.
    """
    try:
        return read_envelope(message)
    except UNREADABLE as error:
        raise unusable(error) from None


def unusable(error: Exception) -> Unusable:
    """Make the error for a failed `read_envelope`; `details` name the ``field``."""
    if isinstance(error, ValidationError):
        return Unusable(Code.BAD_MESSAGE, str(error), at_field(error))
    return Unusable(Code.BAD_MESSAGE, f"a message must be one JSON object: {error}")


def at_field(error: ValidationError, prefix: str = "") -> dict[str, Any]:
    """Name the field at fault, as a path from the message's root."""
    path = ".".join(part for part in (prefix, field_of(str(error))) if part)
    return {"field": path} if path else {}


def encode_push(push: Push, id: RequestId = None) -> bytes:
    """Encode a reply to request *id*, or a push, without its line end."""
    kind = type(push)
    tagged = _tagged.get(kind)
    if tagged is None:
        tagged = _tagged[kind] = b'{"type":%b' % _encoder.encode(
            push.__struct_config__.tag
        )
    # msgspec encodes the type as the first field; here it belongs outside of the data.
    data = _encoder.encode(push)[len(tagged) :].lstrip(b",")
    if id is None:
        return b'%b,"success":true,"data":{%b}' % (tagged, data)
    number = _encoder.encode(id)
    return b'%b,"id":%b,"success":true,"data":{%b}' % (tagged, number, data)


def encode_failure(
    code: Code,
    message: str,
    details: Mapping[str, Any] | None = None,
    id: RequestId = None,
) -> bytes:
    """Encode a failure, without its line end."""
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
    """Encode a request, without its line end: the client's side."""
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
