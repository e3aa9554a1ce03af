"""
Identity tokens: JWTs of an outside provider, who vouches for an account.

Only public keys are taken, so whoever reads our configuration cannot mint. The
key decides the algorithm, never the token (RFC 8725, section 3.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vinom.errors import Code, Misconfigured, Refused

#: Key type to the algorithms it may be used with.
_ALGORITHMS: tuple[tuple[type, list[str]], ...] = (
    (Ed25519PublicKey, ["EdDSA"]),
    (EllipticCurvePublicKey, ["ES256", "ES384", "ES512"]),
    (RSAPublicKey, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
)


class OutsideVerifier:
    """
    Check identity tokens.

    :param keys: the provider's public keys: PEM blocks, or a JSON Web Key Set.
    :param issuer: what ``iss`` must say.
    :param audience: what ``aud`` must name: this game, at the provider.
    :param leeway: how far the provider's clock may differ, seconds.
    :raises Misconfigured: there is no usable key.
    """

    def __init__(
        self, keys: bytes, issuer: str, audience: str, leeway: float = 30.0
    ) -> None:
        self._keys = _read_keys(keys)
        self._issuer, self._audience, self._leeway = issuer, audience, leeway
        self._jws = jwt.PyJWS()

    def __call__(self, token: str, now: float) -> str:
        """
        Give the account (``sub``) that *token* vouches for.

        :param now: seconds since the Unix epoch.
        :raises Refused: `UNAUTHORIZED`; the message says what the player can mend.
        """
        claims = self._open(token)
        audiences = claims.get("aud")
        if isinstance(audiences, str):
            audiences = [audiences]
        account = claims.get("sub")
        if (
            claims.get("iss") != self._issuer
            or not isinstance(audiences, list)
            or self._audience not in audiences
            or not isinstance(account, str)
            or not 1 <= len(account) <= 255
        ):
            raise _refused("the token is for somebody or something else")
        expires_at, begins_at = claims.get("exp"), claims.get("nbf", 0)
        if not _is_time(expires_at) or now >= expires_at + self._leeway:
            raise _refused("the token is expired")
        if not _is_time(begins_at) or now < begins_at - self._leeway:
            raise _refused("the token is not valid yet")
        return account

    def _open(self, token: str) -> dict[str, Any]:
        try:
            wanted = self._jws.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError):
            raise _refused("that is no token") from None
        for key_id, key, algorithms in self._keys:
            if wanted is not None and key_id is not None and key_id != wanted:
                continue
            try:
                claims = json.loads(self._jws.decode(token, key, algorithms))
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            if isinstance(claims, dict):
                return claims
        raise _refused("no known key signed the token")


def _is_time(value: Any) -> TypeGuard[float]:
    """Is it a number that one can calculate with? JSON also has huge ones."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e12
    )


def _refused(why: str) -> Refused:
    return Refused(Code.UNAUTHORIZED, why, {"field": "data.credentials.token"})


def _read_keys(text: bytes) -> list[tuple[str | None, Any, list[str]]]:
    try:
        if text.lstrip().startswith(b"{"):
            found = _read_key_set(json.loads(text))
        else:
            end = b"-----END PUBLIC KEY-----"
            found = [
                (None, load_pem_public_key(block + end))
                for block in text.split(end)
                if block.strip()
            ]
        keys = [(key_id, key, _algorithms(key)) for key_id, key in found]
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Misconfigured(
            f"the identity provider's keys cannot be read: {error}"
        ) from error
    if not keys:
        raise Misconfigured("the identity provider's file holds no public key")
    return keys


def _read_key_set(document: Mapping[str, Any]) -> list[tuple[str | None, Any]]:
    keys = jwt.PyJWKSet.from_dict(dict(document)).keys
    return [(key.key_id, key.key) for key in keys]


def _algorithms(key: Any) -> list[str]:
    for kind, algorithms in _ALGORITHMS:
        if isinstance(key, kind):
            return algorithms
    raise ValueError("only Ed25519, elliptic curve and RSA public keys are taken")
