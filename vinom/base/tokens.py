"""
Connect tokens: the signed proof that a player has a seat in a match.

A token is a JWS in compact form, signed with Ed25519. A verifier has public keys only
and cannot mint tokens. Source: docs/protocol/tokens.rst.
"""

from __future__ import annotations

import math
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import attrs
import jwt
import msgspec
from attrs.validators import and_, ge, instance_of, le, max_len, min_len
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.utils import base64url_encode
from msgspec import Meta, Struct

from vinom.errors import Code, Misconfigured, Refused

#: Longest token accepted, characters: a JOIN with it must fit into one datagram.
LONGEST_TOKEN = 900

#: The header's ``typ``, so that no other JWT of the same keys is accepted.
_TYPE = "vinom-connect+jwt"
_ALGORITHM = "EdDSA"

#: Translates RFC 4648's alphabet for URLs; letters of the older one become invalid.
_TO_BASE64 = str.maketrans("-_+/=", "+/!!!")

_ShortText = Annotated[str, Meta(min_length=1, max_length=64)]
_SHORT = and_(instance_of(str), min_len(1), max_len(64))


@attrs.frozen
class Claims:
    """
    The contents of a connect token; it does not name the process that hosts the match.

    :ivar realm: domain of the game servers that accept it.
    :ivar match_id: the match.
    :ivar player_id: the player.
    :ivar seat: the seat's number.
    :ivar expires_at: seconds since the Unix epoch.
    :ivar token_id: identifies this token, so that it can be used only once.
    """

    realm: str = attrs.field(validator=and_(instance_of(str), min_len(1), max_len(253)))
    match_id: str = attrs.field(validator=_SHORT)
    player_id: str = attrs.field(validator=_SHORT)
    seat: int = attrs.field(validator=[instance_of(int), ge(0), le(255)])
    expires_at: float
    token_id: str = attrs.field(validator=_SHORT)


class _Payload(Struct, frozen=True, forbid_unknown_fields=True):
    """The claims in the signed form, under their registered names."""

    iss: Annotated[str, Meta(min_length=1, max_length=253)]
    sub: _ShortText
    jti: _ShortText
    exp: Annotated[int, Meta(ge=0)]
    match: _ShortText
    seat: Annotated[int, Meta(ge=0, le=255)]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Payload).decode


class TokenSigner:
    """
    Mint connect tokens with one private key.

    :ivar key_id: identifies the key among the verifiers' keys.
    """

    def __init__(self, key_id: str, private_pem: bytes) -> None:
        """
        Load the key.

        :param key_id: identifies the key among the verifiers' keys.
        :param private_pem: Ed25519 private key, PEM.
        :raises Misconfigured: it isn't such a key.
        """
        self.key_id = key_id
        self._jws = jwt.PyJWS(algorithms=[_ALGORITHM])
        self._key: Ed25519PrivateKey = _read_key(
            key_id,
            partial(load_pem_private_key, private_pem, password=None),
            Ed25519PrivateKey,
            "private",
        )
        # The same for all; the rest of a token is made faster without PyJWT.
        headers = {"kid": key_id, "typ": _TYPE}
        empty = self._jws.encode(b"", self._key, _ALGORITHM, headers)
        self._header = empty.partition(".")[0].encode("ascii")

    def sign(self, claims: Claims) -> str:
        """Make a token with *claims*; its expiry is rounded up to whole seconds."""
        payload = _Payload(
            iss=claims.realm,
            sub=claims.player_id,
            jti=claims.token_id,
            exp=math.ceil(claims.expires_at),
            match=claims.match_id,
            seat=claims.seat,
        )
        body = base64url_encode(_encode(payload))
        signed = self._header + b"." + body
        signature = base64url_encode(self._key.sign(signed))
        return (signed + b"." + signature).decode("ascii")


class TokenVerifier:
    """Check connect tokens with the public keys of one deployment."""

    def __init__(
        self, keys: Mapping[str, bytes], realm: str, leeway: float = 30.0
    ) -> None:
        """
        Load the keys.

        :param keys: Ed25519 public keys, PEM, by key id; several during a rotation.
        :param realm: tokens of any other realm are refused.
        :param leeway: how far the signer's clock may be behind ours, seconds.
        :raises Misconfigured: one of the keys isn't such a key.
        """
        self._jws = jwt.PyJWS(algorithms=[_ALGORITHM])
        self._keys: dict[str, Ed25519PublicKey] = {
            name: _read_key(
                name, partial(load_pem_public_key, pem), Ed25519PublicKey, "public"
            )
            for name, pem in keys.items()
        }
        # Keys by the first part (the header) of valid tokens. A signer writes the same
        # header each time, so PyJWT reads it once, and later tokens need only their
        # signature checked. With PyJWT that takes two thirds longer.
        self._headers: dict[str, Ed25519PublicKey] = {}
        self._realm = realm
        self._leeway = leeway

    def verify(self, token: str, now: float) -> Claims:
        """
        Return the claims of *token*, if one of our keys signed it.

        :param token: as the player sent it.
        :param now: seconds since the Unix epoch.
        :raises Refused: ``bad_token`` or ``token_expired``.
        """
        payload = self._open(token)
        if payload.iss != self._realm:
            raise Refused(Code.BAD_TOKEN, "the token is for another realm")
        if now >= payload.exp + self._leeway:
            raise Refused(
                Code.TOKEN_EXPIRED, "the token is expired", {"expired_at": payload.exp}
            )
        return Claims(
            realm=payload.iss,
            match_id=payload.match,
            player_id=payload.sub,
            seat=payload.seat,
            expires_at=float(payload.exp),
            token_id=payload.jti,
        )

    def _open(self, token: str) -> _Payload:
        if len(token) > LONGEST_TOKEN:
            raise Refused(
                Code.BAD_TOKEN,
                f"the token has {len(token)} characters, limit {LONGEST_TOKEN}",
            )
        header = token.partition(".")[0]
        try:
            key = self._headers.get(header)
            if key is not None:
                return _decode(_verified(token, key))
            key = self._key_for(token)
            signed = self._jws.decode(token, key, algorithms=[_ALGORITHM])
            # Not before the check: only tokens that we signed may add to it.
            self._headers[header] = key
            return _decode(signed)
        except (
            jwt.PyJWTError,
            InvalidSignature,
            msgspec.MsgspecError,
            ValueError,
        ) as error:
            # The exact reason would help only a forger.
            raise Refused(Code.BAD_TOKEN, "the token is not valid") from error

    def _key_for(self, token: str) -> Ed25519PublicKey:
        header = self._jws.get_unverified_header(token)
        # Signers make only this exact header: nothing in it is negotiated.
        if header.get("typ") != _TYPE or header.get("alg") != _ALGORITHM:
            raise Refused(Code.BAD_TOKEN, "not a connect token")
        key = self._keys.get(header.get("kid", ""))
        if key is None:
            raise Refused(Code.BAD_TOKEN, "the token's key is not known here")
        return key


def _verified(token: str, key: Ed25519PublicKey) -> bytes:
    """
    Take the payload of a token whose header is known.

    :raises InvalidSignature: *key* did not sign it.
    :raises ValueError: it does not have three parts in base64url.
    """
    signed, _, signature = token.rpartition(".")
    key.verify(_unbase64(signature), signed.encode("ascii"))
    return _unbase64(signed.partition(".")[2])


def _unbase64(text: str) -> bytes:
    padding = "=" * (-len(text) % 4)
    return a2b_base64(text.translate(_TO_BASE64) + padding, strict_mode=True)


def _read_key(key_id: str, read: Callable[[], object], kind: type, what: str) -> Any:
    try:
        key = read()
    except (ValueError, TypeError) as error:
        raise Misconfigured(
            f"token key {key_id!r} must be a {what} key in PEM"
        ) from error
    if not isinstance(key, kind):
        raise Misconfigured(f"token key {key_id!r} must be an Ed25519 {what} key")
    return key
