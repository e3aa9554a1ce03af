"""
Stateless cookies: proof that a stranger receives at the address it sends from.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

#: One byte that names the key, then a shortened HMAC-SHA-256. DTLS 1.0 stacks
#: take no more than 32 bytes.
COOKIE_LENGTH = 32


class CookieKeys:
    """
    Make and check cookies with a key that changes by itself.

    The previous key stays good for one more period: OpenSSL's client hangs when
    its cookie is asked for twice.

    :param period: how long a key is the active one, seconds.
    :param entropy: gives that many random bytes.
    """

    def __init__(
        self, now: float, entropy: Callable[[int], bytes], period: float = 300.0
    ) -> None:
        self._entropy = entropy
        self._period = period
        self._began = now
        self._number = 0
        self._keys = {0: entropy(32)}

    def make(self, bound: bytes, now: float) -> bytes:
        """
        Make a cookie.

        :param bound: what it is good for: address and hello, in one piece.
        """
        self._rotate(now)
        return self._cookie(self._number, self._keys[self._number], bound)

    def is_good(self, cookie: bytes, bound: bytes, now: float) -> bool:
        """Did we make this cookie for *bound*, at most two periods ago?"""
        if len(cookie) != COOKIE_LENGTH:
            return False
        self._rotate(now)
        key = self._keys.get(cookie[0])
        if key is None:
            return False
        return hmac.compare_digest(cookie, self._cookie(cookie[0], key, bound))

    def _cookie(self, number: int, key: bytes, bound: bytes) -> bytes:
        digest = hmac.digest(key, bound, "sha256")
        return bytes((number,)) + digest[: COOKIE_LENGTH - 1]

    def _rotate(self, now: float) -> None:
        age = now - self._began
        if age < self._period:
            return
        # Nobody may have asked for a long time: then both keys are too old.
        kept = {self._number: self._keys[self._number]}
        if age >= 2 * self._period:
            kept = {}
        self._number = (self._number + 1) % 256
        self._keys = {**kept, self._number: self._entropy(32)}
        self._began = now
