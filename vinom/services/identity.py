"""
Who is it? Through `twisted.cred`: guests, outside tokens, and strcred's checkers.

A checker's avatar id is a private account name. What other players see is a
player id made of it by a hash, so that an account has one id on every node and
nobody learns the account from it. Between hellos a player proves itself by its
player key, of which only the hash is kept.
"""

from __future__ import annotations

from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Literal

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.error import (
    LoginDenied,
    LoginFailed,
    UnauthorizedLogin,
    UnhandledCredentials,
)
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from zope.interface import Interface, implementer

from vinom.errors import Code, Refused
from vinom.interfaces import IPlayerStore
from vinom.model import Player
from vinom.rules.limits import NetworkBuckets, is_loopback
from vinom.rules.names import clean_name
from vinom.wire.messages import Hello

#: Who may play under any name, without proof.
GuestPolicy = Literal["no", "loopback", "yes"]


class IPlayerAvatar(Interface):
    """What the portal gives for credentials: a `Player`."""


class IOutsideToken(ICredentials):
    """A signed statement of an outside identity provider."""


@implementer(IOutsideToken)
@attrs.frozen
class OutsideToken:
    """A JWT, as the player sent it."""

    token: str = attrs.field(repr=False)


@implementer(ICredentialsChecker)
class OutsideTokenChecker:
    """
    Let in whom an outside provider vouches for.

    :param verify: token and Unix time to account name; raises `Refused`.
    """

    credentialInterfaces = (IOutsideToken,)

    def __init__(
        self, verify: Callable[[str, float], str], now: Callable[[], float]
    ) -> None:
        self._verify, self._now = verify, now

    def requestAvatarId(self, credentials: OutsideToken) -> Deferred[bytes | tuple[()]]:
        try:
            account = self._verify(credentials.token, self._now())
        except Refused as refusal:
            return fail(LoginFailed(refusal.message))
        return succeed(account.encode())


@implementer(ICredentialsChecker)
class FirstThatKnows:
    """Ask several checkers of one sort of credentials in turn; one yes is enough."""

    def __init__(
        self, sort: type[Interface], checkers: Sequence[ICredentialsChecker]
    ) -> None:
        self.credentialInterfaces = (sort,)
        self._checkers = checkers

    def requestAvatarId(self, credentials: object) -> Deferred[bytes | tuple[()]]:
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: object) -> bytes | tuple[()]:
        refusal: LoginFailed = UnauthorizedLogin()
        for checker in self._checkers:
            try:
                account: bytes | tuple[()] = await maybeDeferred(
                    checker.requestAvatarId, credentials
                )
            except LoginFailed as error:
                refusal = error
            else:
                return account
        raise refusal


def _portal(checkers: Sequence[ICredentialsChecker]) -> Portal:
    """Make a portal that asks all of *checkers*; its own keeps one of each sort."""
    by_sort: dict[type[Interface], list[ICredentialsChecker]] = {}
    for checker in checkers:
        for sort in checker.credentialInterfaces:
            by_sort.setdefault(sort, []).append(checker)
    return Portal(
        PlayerRealm(), [FirstThatKnows(sort, found) for sort, found in by_sort.items()]
    )


@attrs.frozen
class Introduction:
    """
    What the player says of itself, beside its proof.

    :ivar kind: which sort of account; equal names of two sorts are two players.
    :ivar name: a clean one, or ``None`` for any.
    """

    kind: str
    name: str | None


@implementer(IRealm)
class PlayerRealm:
    """Turn accounts into players."""

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], object, Callable[[], None]]:
        if IPlayerAvatar not in interfaces or not isinstance(mind, Introduction):
            raise NotImplementedError("players only")
        # Some checkers of Twisted's give text where bytes are asked for.
        account = avatarId if isinstance(avatarId, bytes) else str(avatarId).encode()
        return IPlayerAvatar, player_of(account, mind), lambda: None


def player_of(account: bytes, said: Introduction) -> Player:
    """Make a player of a private account name and what it says of itself."""
    digest = sha256(said.kind.encode() + b"\0" + account).digest()[:16]
    player_id = b32encode(digest).decode().rstrip("=").lower()
    return Player(player_id, said.name or f"player-{player_id[:6]}")


@attrs.frozen
class Known:
    """
    A player who proved who it is.

    :ivar key: its secret for the next hello.
    :ivar is_new: nobody has ever heard of this player.
    """

    player: Player
    key: str = attrs.field(repr=False)
    is_new: bool = False


class Identity:
    """
    Answer hellos.

    :param checkers: of `twisted.cred`, strcred's among them.
    :param guests: who may come without proof.
    :param now: the time, seconds since the Unix epoch.
    :param key_seconds: how long a player key lives after its last use.
    """

    _log = Logger()

    def __init__(
        self,
        players: IPlayerStore,
        entropy: Callable[[int], bytes],
        now: Callable[[], float],
        *,
        guests: GuestPolicy = "loopback",
        checkers: Sequence[ICredentialsChecker] = (),
        key_seconds: float = 6 * 3600.0,
    ) -> None:
        self._players, self._entropy, self._now = players, entropy, now
        self._key_seconds = key_seconds
        self._guests = guests
        self._portal = _portal(checkers)
        # Guessing passwords is what this slows; success costs nothing.
        self._failures = NetworkBuckets(rate=0.5, burst=20)
        # Guessing keys is hopeless: this only bounds what looking them up costs, and
        # is so wide that who has one gets in beside somebody who guesses.
        self._wrong_keys = NetworkBuckets(rate=20, burst=200)

    async def identify(self, hello: Hello, host: str) -> Known:
        """
        Find out who says *hello*.

        :param host: the peer's address.
        :raises Refused: `UNAUTHORIZED`, `UNKNOWN_PLAYER_KEY`, `NAME_REFUSED` or
            `RATE_LIMITED`, for an address that failed too often.
        """
        if hello.player_key is not None:
            return await self._by_key(hello.player_key, host)
        name = None if hello.name is None else clean_name(hello.name)
        if hello.credentials is None:
            return await self.introduce(self._guest(name, host), is_new=True)
        _ensure(self._failures, host, self._now())
        try:
            player = await self._log_in(hello.credentials, name)
        except Refused as refusal:
            if refusal.code is Code.UNAUTHORIZED:
                self._failures.take(host, self._now())
            raise
        return await self.introduce(player)

    async def introduce(self, player: Player, *, is_new: bool = False) -> Known:
        """Give a player a new key."""
        key = urlsafe_b64encode(self._entropy(24)).decode()
        await self._keep(key, player)
        return Known(player, key, is_new)

    async def _by_key(self, key: str, host: str) -> Known:
        _ensure(self._wrong_keys, host, self._now())
        player = await self._players.find(_hash(key))
        if player is None:
            self._wrong_keys.take(host, self._now())
            raise Refused(
                Code.UNKNOWN_PLAYER_KEY, "say hello with a name or credentials"
            )
        await self._keep(key, player)
        return Known(player, key)

    async def _keep(self, key: str, player: Player) -> None:
        await self._players.keep(_hash(key), player, self._now() + self._key_seconds)

    def _guest(self, name: str | None, host: str) -> Player:
        """
        Let a stranger in, as the policy says; each gets a new account.

        There is nothing to prove, so no checker is asked.
        """
        if self._guests == "yes" or (self._guests == "loopback" and is_loopback(host)):
            return player_of(self._entropy(16), Introduction("guest", name))
        raise Refused(
            Code.UNAUTHORIZED, "guests are not welcome here; send credentials"
        )

    async def _log_in(self, given: dict[str, str], name: str | None) -> Player:
        kind, credentials = _credentials(given)
        try:
            _, player, _ = await maybeDeferred(
                self._portal.login,
                credentials,
                Introduction(kind, name),
                IPlayerAvatar,
            )
        except UnhandledCredentials:
            raise Refused(
                Code.UNAUTHORIZED,
                f"this node takes no {kind} credentials",
                {"field": "data.credentials"},
            ) from None
        except LoginDenied as error:
            raise Refused(Code.UNAUTHORIZED, str(error)) from None
        except LoginFailed as error:
            raise Refused(
                Code.UNAUTHORIZED, str(error) or "wrong credentials"
            ) from None
        assert isinstance(player, Player)
        return player


def _ensure(bucket: NetworkBuckets, host: str, now: float) -> None:
    wait = bucket.wait(host, now)
    if wait > 0:
        raise Refused(
            Code.RATE_LIMITED,
            "too many failed hellos from your address",
            {"retry_after": round(wait, 3)},
        )


def _credentials(
    given: dict[str, str],
) -> tuple[str, OutsideToken | UsernamePassword]:
    """Sort what a hello brings by what it proves."""
    if set(given) == {"token"}:
        return "token", OutsideToken(given["token"])
    if set(given) == {"username", "password"}:
        return "password", UsernamePassword(
            given["username"].encode(), given["password"].encode()
        )
    raise Refused(
        Code.BAD_FIELD,
        "credentials are {token} or {username, password}",
        {"field": "data.credentials"},
    )


def _hash(key: str) -> str:
    """
    Hash a player key for the store: whoever reads the store learns no key.

    One fast round is enough for 192 random bits.
    """
    return sha256(key.encode()).hexdigest()
