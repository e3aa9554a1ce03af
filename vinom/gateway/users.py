"""The user of a request, from a claim of a verified JWT: rules hash and stick by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from vinom.errors import Refused
from vinom.gateway.settings import GatewaySettings
from vinom.lobby.conversation.identity import OutsideVerifier
from vinom.lobby.conversation.provider import ProviderKeys, keys_of_file

#: Longer claims are ignored: they would not fit into a link's *open* (OpenID Connect
#: allows 255 for ``sub``).
_LONGEST = 255


class Users:
    """Finds users. It refuses no request: back ends decide whether a token is valid."""

    def __init__(
        self,
        verifier: OutsideVerifier,
        claim: str,
        now: Callable[[], float],
        cookie: str | None = None,
    ) -> None:
        """
        :param verifier: verifies the provider's tokens.
        :param claim: the claim that names the user, such as ``sub``.
        :param now: seconds since the Unix epoch.
        :param cookie: the one that may hold a token; ``None`` for none.
        """
        self._verifier, self._claim, self._now = verifier, claim, now
        self._cookie = None if cookie is None else cookie.encode("ascii")

    def of(
        self, authorizations: Sequence[bytes], cookies: Sequence[bytes] = ()
    ) -> int | str | None:
        """
        Find the user of a request, by its bearer token, or else by that of its cookie.

        :param authorizations: the values of its ``Authorization``.
        :param cookies: the values of its ``Cookie``.
        :returns: ``None`` if no verified token names one.
        """
        token = _bearer_of(authorizations)
        if token is None and self._cookie is not None:
            token = _cookie_of(cookies, self._cookie)
        if token is None:
            return None
        try:
            account = self._verifier(token.decode("ascii"), self._now())
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


def _bearer_of(authorizations: Sequence[bytes]) -> bytes | None:
    if len(authorizations) != 1:
        return None
    scheme, _, token = authorizations[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def _cookie_of(cookies: Sequence[bytes], name: bytes) -> bytes | None:
    """Find the value of a cookie (RFC 6265, 4.2.1); there must be one of the name."""
    pairs = [pair.partition(b"=") for value in cookies for pair in value.split(b";")]
    found = [value for one, is_pair, value in pairs if is_pair and one.strip() == name]
    return found[0].strip().strip(b'"') if len(found) == 1 else None


def find_users(
    settings: GatewaySettings, clock: IReactorTime, now: Callable[[], float]
) -> tuple[Users, ProviderKeys] | None:
    """
    Make what finds the users of requests, and what reads its keys again.

    :param now: seconds since the Unix epoch.
    :raises Misconfigured: the keys of the identity provider cannot be used.
    """
    file, issuer = settings.identity_keys_file, settings.identity_issuer
    if not (file and issuer and settings.identity_audience):
        return None
    keys = keys_of_file(file, issuer, settings.identity_audience, clock)
    claim, cookie = settings.identity_user_claim, settings.identity_cookie
    return Users(keys.verifier, claim, now, cookie), keys
