"""
Stateless cookies: proof that a stranger receives at the address it sends from.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import attrs

#: One byte that names the key, then a shortened HMAC-SHA-256. DTLS 1.0 stacks
#: take no more than 32 bytes.
COOKIE_LENGTH = 32


@attrs.frozen
class CookieKey:
    """
    One key, without its secret. Times are seconds on the caller's clock.

    :ivar number: the first byte of its cookies; used again after 256 keys.
    :ivar since: when it became the active one.
    :ivar until: when its cookies stop being valid; ``None`` for the active one.
    """

    number: int
    since: float
    until: float | None


@attrs.define
class _Key:
    secret: bytes = attrs.field(repr=False)
    since: float
    until: float


class CookieKeys:
    """
    Make and check cookies with a key that is replaced periodically.

    A replaced key stays valid for one more period: OpenSSL's client hangs if it is
    asked for a cookie twice.
    """

    def __init__(
        self, now: float, entropy: Callable[[int], bytes], period: float = 300.0
    ) -> None:
        """
        Make the first key.

        :param now: the time, seconds on the caller's clock.
        :param entropy: returns as many random bytes as its argument.
        :param period: how long a key is the active one, seconds.
        """
        self._entropy = entropy
        self._period = period
        self._number = 0
        self._active = self._make_key(now)
        self._keys = {0: self._active}

    def make(self, bound: bytes, now: float) -> bytes:
        """
        Make a cookie.

        :param bound: what it is valid for: address and hello, in one piece.
        :param now: the time.
        """
        self._age(now)
        return self._cookie(self._number, self._active.secret, bound)

    def is_good(self, cookie: bytes, bound: bytes, now: float) -> bool:
        """Did we make this cookie for *bound*, at most two periods ago?"""
        if len(cookie) != COOKIE_LENGTH:
            return False
        self._age(now)
        key = self._keys.get(cookie[0])
        if key is None or now >= key.until:
            return False
        return hmac.compare_digest(cookie, self._cookie(cookie[0], key.secret, bound))

    def rotate(self, now: float) -> None:
        """Make cookies with a new key from now on."""
        self._age(now)
        self._replace(now)

    def known(self, now: float) -> list[CookieKey]:
        """List the keys whose cookies are valid, the active one last."""
        self._age(now)
        return [
            CookieKey(number, key.since, None if number == self._number else key.until)
            for number, key in self._keys.items()
            if now < key.until
        ]

    def _cookie(self, number: int, key: bytes, bound: bytes) -> bytes:
        digest = hmac.digest(key, bound, "sha256")
        return bytes((number,)) + digest[: COOKIE_LENGTH - 1]

    def _make_key(self, now: float) -> _Key:
        # It expires even if no hello arrives to replace it.
        return _Key(self._entropy(32), now, now + 2 * self._period)

    def _age(self, now: float) -> None:
        if now >= self._active.since + self._period:
            self._replace(now)

    def _replace(self, now: float) -> None:
        self._active.until = min(self._active.until, now + self._period)
        kept = {number: key for number, key in self._keys.items() if now < key.until}
        self._number = (self._number + 1) % 256
        kept.pop(self._number, None)
        self._active = self._make_key(now)
        self._keys = {**kept, self._number: self._active}
