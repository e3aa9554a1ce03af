"""
Claims: what somebody whom the server trusts says about a player.

They come from an identity provider's token or from an outside matchmaker, travel as
canonical JSON, and reach the game as `vinom.game.Seat.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from vinom.base.model import CLAIMS_BYTES
from vinom.errors import Code, Refused

#: Deepest nesting of lists and objects in a claim.
DEEPEST_CLAIM = 8
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def canonical_claims(claims: Mapping[str, Any], field: str) -> bytes:
    """
    Write claims as JSON with sorted names.

    :param claims: read from JSON.
    :param field: path of the claims, for the refusal.
    :raises Refused: `Code.BAD_FIELD`: they are too long, too deep, or hold what JSON or
        MessagePack cannot.
    """
    if not claims:
        return b"{}"
    try:
        for name, value in claims.items():
            _ensure_plain(value, name, DEEPEST_CLAIM)
        text = msgspec.json.encode(claims, order="sorted")
    except ValueError as error:
        raise Refused(Code.BAD_FIELD, f"claims: {error}", {"field": field}) from None
    if len(text) > CLAIMS_BYTES:
        raise Refused(
            Code.BAD_FIELD,
            f"the claims {', '.join(sorted(claims))} are {len(text)} bytes of JSON; at "
            f"most {CLAIMS_BYTES} are taken: send fewer",
            {"field": field, "limit": CLAIMS_BYTES},
        )
    return text


def read_claims(text: bytes) -> dict[str, Any]:
    """Read what `canonical_claims` wrote."""
    # Most players have none.
    return {} if text == b"{}" else msgspec.json.decode(text, type=dict[str, Any])


def _ensure_plain(value: Any, path: str, depth: int) -> None:
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"{path} is nested deeper than {DEEPEST_CLAIM} levels")
        inner = value.values() if isinstance(value, dict) else value
        for each in inner:
            _ensure_plain(each, path, depth - 1)
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise ValueError(
            f"{path} holds a whole number that is not from {_LEAST} to {_MOST}"
        )
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{path} holds {value}, which is no number in JSON")
