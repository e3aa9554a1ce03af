"""Who a request's user is: a claim of a verified JWT, by which rules hash and stick."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vinom.conversation.identity import OutsideVerifier
from vinom.errors import Refused

#: Longer claims name no user: they would not fit what links say of a session (OpenID
#: Connect has 255 for ``sub``).
_LONGEST = 255


class Users:
    """Finds users; it refuses nobody: whether a token is good enough, back ends say."""

    def __init__(
        self, verifier: OutsideVerifier, claim: str, now: Callable[[], float]
    ) -> None:
        """
        :param verifier: of the provider's tokens.
        :param claim: the one that names the user, such as ``sub``.
        :param now: seconds since the Unix epoch.
        """
        self._verifier, self._claim, self._now = verifier, claim, now

    def of(self, authorizations: Sequence[bytes]) -> int | str | None:
        """
        Find the user of a request.

        :param authorizations: the values of its ``Authorization``.
        :returns: ``None`` if none is proven.
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
        try:
            str(user).encode()
        except UnicodeEncodeError:
            # JSON can name half of a character. Links and the access log cannot, and
            # to fail there would count against back ends.
            return None
        return user
