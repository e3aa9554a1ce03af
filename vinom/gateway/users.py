"""The user of a request, from a claim of a verified JWT: rules hash and stick by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vinom.conversation.identity import OutsideVerifier
from vinom.errors import Refused

#: Longer claims are ignored: they would not fit into a link's *open* (OpenID Connect
#: allows 255 for ``sub``).
_LONGEST = 255


class Users:
    """Finds users. It refuses no request: back ends decide whether a token is valid."""

    def __init__(
        self, verifier: OutsideVerifier, claim: str, now: Callable[[], float]
    ) -> None:
        """
        :param verifier: verifies the provider's tokens.
        :param claim: the claim that names the user, such as ``sub``.
        :param now: seconds since the Unix epoch.
        """
        self._verifier, self._claim, self._now = verifier, claim, now

    def of(self, authorizations: Sequence[bytes]) -> int | str | None:
        """
        Find the user of a request.

        :param authorizations: the values of its ``Authorization``.
        :returns: ``None`` if no verified token names one.
        """
        if len(authorizations) != 1:
            return None
        scheme, _, token = authorizations[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            account = self._verifier(token.strip().decode("ascii"), self._now())
        except (Refused, UnicodeDecodeError):
            return None
        user = account.claims.get(self._claim)
        if isinstance(user, bool) or not isinstance(user, int | str):
            return None
        if not 0 < len(str(user)) <= _LONGEST:
            return None
        return user
