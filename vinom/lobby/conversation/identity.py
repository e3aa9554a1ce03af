"""
Check hellos: from guests, holders of outside tokens, and accounts of checkers.

All but guests go through `twisted.cred`, with the checkers that strcred finds. A
checker's avatar id is a private account name. Other players see a player id, which is a
hash of that name: an account has one id on every node, and the id does not reveal the
account. At later hellos a player key identifies the player; only its hash is stored.

An outside token is a JWT of an identity provider, which vouches for an account. We
have only its public keys, so a reader of our configuration cannot make tokens. The key
determines the algorithm, never the token (RFC 8725, section 3.1).
"""

from __future__ import annotations

import json
from base64 import b32encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, TypeGuard

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, UsernamePassword
from twisted.cred.error import LoginDenied, LoginFailed, UnhandledCredentials
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from vinom.base.limits.addresses import AddressBuckets
from vinom.base.limits.buckets import NetworkBuckets, is_loopback, network_of
from vinom.base.messages.lobby import Hello
from vinom.base.model import Player
from vinom.errors import Code, Misconfigured, Refused, StoreUnavailable
from vinom.play.choices import canonical_claims, clean_name, cut_name
from vinom.store.interfaces import IPlayerStore

#: Accounts whose addresses are remembered.
_MOST_SEEN = 16_384

#: Which players may play without proof, under any name.
GuestPolicy = Literal["no", "loopback", "yes"]


class IOutsideToken(ICredentials):
    """A signed statement of an outside identity provider."""


@implementer(IOutsideToken)
@attrs.frozen
class OutsideToken:
    """A JWT, as the player sent it."""

    token: str = attrs.field(repr=False)


class Account(bytes):
    """
    A private account name with claims: what a checker may return for an avatar id.

    :ivar claims: what the checker vouches for beside the name, JSON-like. Games read
        those that the settings name.
    """

    claims: Mapping[str, Any]

    def __new__(cls, name: bytes, claims: Mapping[str, Any]) -> Account:
        """
        :param name: of the account.
        :param claims: see the attribute.
        """
        made = super().__new__(cls, name)
        made.claims = claims
        return made


@implementer(ICredentialsChecker)
class OutsideTokenChecker:
    """Admit accounts that an outside provider vouches for."""

    credentialInterfaces = (IOutsideToken,)

    def __init__(
        self,
        verify: Callable[[str, float], Account | Coroutine[Any, Any, Account]],
        now: Callable[[], float],
    ) -> None:
        """
        :param verify: token and Unix time to an account, at once or later; raises
            `Refused`.
        :param now: the time, seconds since the Unix epoch.
        """
        self._verify, self._now = verify, now

    def requestAvatarId(self, credentials: OutsideToken) -> Deferred[bytes | tuple[()]]:
        return Deferred.fromCoroutine(self._check(credentials.token))

    async def _check(self, token: str) -> bytes | tuple[()]:
        try:
            account = self._verify(token, self._now())
            if not isinstance(account, Account):
                account = await account
        except Refused as refusal:
            if refusal.code is not Code.UNAUTHORIZED:
                # Not the player's fault: it does not count as a failed hello.
                raise
            raise LoginFailed(refusal.message) from None
        return account


class Accounts:
    """Find the accounts of credentials, and make players of them."""

    def __init__(
        self,
        checkers: Sequence[ICredentialsChecker] = (),
        claims: Sequence[str] = (),
        name_claim: str | None = None,
    ) -> None:
        """
        :param checkers: of `twisted.cred`, strcred's among them; of those for one sort
            of credentials each is asked in turn, and one that accepts is enough.
        :param claims: names of those that games may read.
        :param name_claim: the one that holds a display name; ``None`` leaves it to the
            players.
        """
        self._checkers, self._claims = checkers, claims
        self._name_claim = name_claim

    async def player(self, kind: str, credentials: object, name: str | None) -> Player:
        """
        Find the player whose credentials these are.

        :param kind: sort of account; equal names of two sorts are two players.
        :param name: already cleaned, or ``None`` for a made-up one.
        :raises LoginFailed: no checker accepts them, or none knows their sort.
        :raises Refused: `BAD_FIELD`: claims are too long, or no plain JSON.
        """
        refusal: LoginFailed = UnhandledCredentials()
        for checker in self._checkers:
            sorts = checker.credentialInterfaces
            if not any(sort.providedBy(credentials) for sort in sorts):
                continue
            try:
                account = await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed as error:
                refusal = error
            else:
                # Some of Twisted's checkers return text where bytes are expected.
                if not isinstance(account, bytes):
                    account = str(account).encode()
                if isinstance(account, Account):
                    return self._vouched(account, kind, name)
                return player_of(account, kind, name)
        raise refusal

    def _vouched(self, account: Account, kind: str, name: str | None) -> Player:
        """Make a player of an account with claims."""
        given = account.claims
        if self._name_claim is not None:
            # Never the player's own word: it could be somebody else's name.
            name = _display_name(given.get(self._name_claim))
        kept = {claim: given[claim] for claim in self._claims if claim in given}
        player = player_of(account, kind, name)
        if not kept:
            return player
        text = canonical_claims(kept, "data.credentials")
        return attrs.evolve(player, claims=text)


def _display_name(claim: Any) -> str | None:
    """Make a claim a name, cut to its greatest length; ``None`` if it cannot be one."""
    if not isinstance(claim, str):
        return None
    try:
        return clean_name(cut_name(claim))
    except Refused:
        return None


def player_of(account: bytes, kind: str, name: str | None) -> Player:
    """Make a player of a private account name and the rest of its hello."""
    digest = sha256(kind.encode() + b"\0" + account).digest()[:16]
    player_id = b32encode(digest).decode().rstrip("=").lower()
    return Player(
        player_id, name or f"player-{player_id[:6]}", is_guest=kind == "guest"
    )


@attrs.frozen
class Known:
    """
    A player whose hello was accepted.

    :ivar key: the secret for the next hello.
    :ivar is_new: the player is new, so in no match and no queue.
    """

    player: Player
    key: str = attrs.field(repr=False)
    is_new: bool = False

    @property
    def key_hash(self) -> str:
        """By which the store finds the player."""
        return _hash(self.key)


class Identity:
    """Check hellos."""

    _log = Logger()

    def __init__(
        self,
        players: IPlayerStore,
        entropy: Callable[[int], bytes],
        now: Callable[[], float],
        *,
        guests: GuestPolicy = "loopback",
        accounts: Accounts | None = None,
        key_seconds: float = 6 * 3600.0,
        new_guests: AddressBuckets | None = None,
        is_complete: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        :param players: stores players by the hashes of their keys.
        :param entropy: called with a number, returns that many random bytes.
        :param now: the time, seconds since the Unix epoch.
        :param guests: which players may play without proof.
        :param accounts: finds those of credentials; there are none unless given.
        :param key_seconds: how long a player key is valid after its last use.
        :param new_guests: limits them by address; those of vinom's settings unless
            given.
        :param is_complete: has the store all that it should have? One that came back
            empty gets players of matches back within seconds.
        """
        self._is_complete = is_complete
        self._players, self._entropy, self._now = players, entropy, now
        self._key_seconds = key_seconds
        self._guests = guests
        self._accounts_of = accounts or Accounts()
        self._new_guests = new_guests or AddressBuckets(rate=10, burst=500)
        # Slow the guessing of passwords, from one address and from many; successful
        # hellos cost nothing.
        self._failures = NetworkBuckets(rate=0.5, burst=20)
        self._accounts = NetworkBuckets(rate=1, burst=100)
        # Accounts with the addresses that they logged in from, and their failures.
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._again = NetworkBuckets(rate=0.5, burst=20)
        # Keys cannot be guessed: this only bounds the cost of looking them up. It is
        # wide, so that a player with a key is admitted while a neighbour guesses.
        self._wrong_keys = NetworkBuckets(rate=20, burst=200)

    async def identify(self, hello: Hello, host: str) -> Known:
        """
        Find the player who sent *hello*.

        :param host: the peer's address.
        :raises Refused: `UNAUTHORIZED`, `UNKNOWN_PLAYER_KEY`, `NAME_REFUSED` or
            `RATE_LIMITED`, for an address that failed too often.
        """
        if hello.player_key is not None:
            return await self._by_key(hello.player_key, host)
        name = None if hello.name is None else clean_name(hello.name)
        if hello.credentials is None:
            return await self._admit_guest(name, host)
        if "password" in hello.credentials:
            player = await self._by_password(hello.credentials, name, host)
        else:
            player = await self._by_token(hello.credentials, name, host)
        return await self.introduce(player, host)

    async def _by_token(
        self, given: dict[str, str], name: str | None, host: str
    ) -> Player:
        """Verify a token first: whoever has a good one waits for no neighbour."""
        try:
            return await self._log_in(given, name)
        except Refused as refusal:
            now = self._now()
            if refusal.code is Code.UNAUTHORIZED and not self._failures.take(host, now):
                _ensure(self._failures, host, now)
            raise

    async def _by_password(
        self, given: dict[str, str], name: str | None, host: str
    ) -> Player:
        """
        Check a password, unless the address or the account had too many wrong ones.

        Somebody who logged in from this address before waits for neither.
        """
        account = sha256(given.get("username", "").encode()).hexdigest()
        pair = f"{account} {network_of(host)}"
        if pair in self._seen:
            buckets = [(self._again, pair)]
        else:
            buckets = [(self._failures, host), (self._accounts, account)]
        for bucket, key in buckets:
            _ensure(bucket, key, self._now())
        try:
            player = await self._log_in(given, name)
        except Refused as refusal:
            if refusal.code is Code.UNAUTHORIZED:
                for bucket, key in buckets:
                    bucket.take(key, self._now())
            raise
        self._seen[pair] = None
        self._seen.move_to_end(pair)
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return player

    async def introduce(self, player: Player, host: str = "") -> Known:
        """Issue a new key for a player."""
        key = self._new_key()
        await self._players.put(_hash(key), player, self._expires_at(), host)
        return Known(player, key)

    def settle(self, player_id: str) -> None:
        """Remember a guest for longer than those who only say hello."""
        self._players.settle(player_id)

    def put_back(self, key_hash: str, player: Player) -> Deferred[bool]:
        """Have a store that came back empty know a player again."""
        return self._players.put(key_hash, player, self._expires_at(), origin="lost")

    async def _admit_guest(self, name: str | None, host: str) -> Known:
        """
        Admit a guest if the policy and the limits of its address allow it.

        A guest proves nothing, so no checker is asked; each gets a new account.
        """
        if self._guests != "yes" and not (
            self._guests == "loopback" and is_loopback(host)
        ):
            raise Refused(
                Code.UNAUTHORIZED, "this server admits no guests; send credentials"
            )
        now = self._now()
        if not self._new_guests.take(host, now):
            raise Refused(
                Code.RATE_LIMITED,
                "too many new guests from your address; one who has a player_key may "
                "come back",
                {"retry_after": round(self._new_guests.wait(host, now), 3)},
            )
        player = player_of(self._entropy(16), "guest", name)
        key = self._new_key()
        if not await self._players.put(
            _hash(key), player, self._expires_at(), host, "guest"
        ):
            raise Refused(
                Code.BUSY, "this server has no room for new guests", {"retry_after": 10}
            )
        return Known(player, key, is_new=True)

    def _new_key(self) -> str:
        return urlsafe_b64encode(self._entropy(24)).decode()

    async def _by_key(self, key: str, host: str) -> Known:
        _ensure(self._wrong_keys, host, self._now())
        player = await self._players.find(_hash(key), self._expires_at(), host)
        if player is None:
            if not self._is_complete():
                raise StoreUnavailable("it may not have everything back yet")
            self._wrong_keys.take(host, self._now())
            raise Refused(
                Code.UNKNOWN_PLAYER_KEY, "say hello with a name or credentials"
            )
        return Known(player, key)

    def _expires_at(self) -> float:
        return self._now() + self._key_seconds

    async def _log_in(self, given: dict[str, str], name: str | None) -> Player:
        kind, credentials = _credentials(given)
        try:
            return await self._accounts_of.player(kind, credentials, name)
        except UnhandledCredentials:
            raise Refused(
                Code.UNAUTHORIZED,
                f"this server takes no {kind} credentials",
                {"field": "data.credentials"},
            ) from None
        except LoginDenied as error:
            raise Refused(Code.UNAUTHORIZED, str(error)) from None
        except LoginFailed as error:
            raise Refused(
                Code.UNAUTHORIZED, str(error) or "wrong credentials"
            ) from None


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
    """Make the credentials object for what a hello contains."""
    if set(given) == {"token"}:
        return "token", OutsideToken(given["token"])
    if set(given) == {"username", "password"}:
        return "password", UsernamePassword(
            given["username"].encode(), given["password"].encode()
        )
    raise Refused(
        Code.BAD_FIELD,
        "credentials must be {token} or {username, password}",
        {"field": "data.credentials"},
    )


def _hash(key: str) -> str:
    """
    Hash a player key, so that a reader of the store learns no keys.

    One fast round is enough for 192 random bits.
    """
    return sha256(key.encode()).hexdigest()


#: Key type to the algorithms it may be used with.
_ALGORITHMS: tuple[tuple[type, list[str]], ...] = (
    (Ed25519PublicKey, ["EdDSA"]),
    (EllipticCurvePublicKey, ["ES256", "ES384", "ES512"]),
    (RSAPublicKey, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
)


class OutsideVerifier:
    """Check identity tokens."""

    def __init__(
        self, keys: bytes, issuer: str, audience: str, leeway: float = 30.0
    ) -> None:
        """
        :param keys: the provider's public keys: PEM blocks, or a JSON Web Key Set;
            empty if they come later, see `use`.
        :param issuer: what ``iss`` must be.
        :param audience: what ``aud`` must contain: the provider's name for this game.
        :param leeway: by how much the provider's clock may differ, seconds.
        :raises Misconfigured: none of the keys can be used.
        """
        self._keys = _read_keys(keys) if keys else []
        self._issuer, self._audience, self._leeway = issuer, audience, leeway
        self._jws = jwt.PyJWS()

    def use(self, keys: bytes) -> None:
        """
        Replace the keys.

        :raises Misconfigured: none of them can be used; the old ones stay in use.
        """
        self._keys = _read_keys(keys)

    @property
    def key_count(self) -> int:
        """The number of keys."""
        return len(self._keys)

    def has_key_of(self, token: str) -> bool:
        """Could one of the keys have signed *token*, by the name of its key?"""
        try:
            wanted = self._key_named_by(token)
        except Refused:
            # No token at all: other keys would not help.
            wanted = None
        if wanted is None:
            return bool(self._keys)
        return any(key_id in (None, wanted) for key_id, _, _ in self._keys)

    def __call__(self, token: str, now: float) -> Account:
        """
        Return the account (``sub``) that *token* vouches for, with all its claims.

        :param now: seconds since the Unix epoch.
        :raises Refused: `UNAUTHORIZED`; the message says what the player can change.
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
            raise _refused("the token is for another game or from another provider")
        expires_at, begins_at = claims.get("exp"), claims.get("nbf", 0)
        if not _is_time(expires_at) or now >= expires_at + self._leeway:
            raise _refused("the token has expired")
        if not _is_time(begins_at) or now < begins_at - self._leeway:
            raise _refused("the token is not valid yet")
        return Account(account.encode(), claims)

    def _key_named_by(self, token: str) -> Any:
        """
        Read which key signed *token*, as it says itself; ``None`` if it does not.

        :raises Refused: it is no token.
        """
        try:
            return self._jws.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused("that isn't a token: it cannot be read as a JWT") from None

    def _open(self, token: str) -> dict[str, Any]:
        wanted = self._key_named_by(token)
        for key_id, key, algorithms in self._keys:
            if wanted is not None and key_id is not None and key_id != wanted:
                continue
            try:
                claims = json.loads(self._jws.decode(token, key, algorithms))
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            if isinstance(claims, dict):
                return claims
        raise _refused("the token is not signed by a known key")


def _is_time(value: Any) -> TypeGuard[float]:
    """Is it a number that can be compared? JSON also allows huge ones."""
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
        raise Misconfigured(
            "the identity provider's file has no public key to verify with; put PEM "
            "blocks or a JSON Web Key Set into it"
        )
    return keys


def _read_key_set(document: Mapping[str, Any]) -> list[tuple[str | None, Any]]:
    keys = jwt.PyJWKSet.from_dict(dict(document)).keys
    # Providers also publish keys that encrypt.
    return [(key.key_id, key.key) for key in keys if key.public_key_use != "enc"]


def _algorithms(key: Any) -> list[str]:
    for kind, algorithms in _ALGORITHMS:
        if isinstance(key, kind):
            return algorithms
    raise ValueError("only Ed25519, elliptic curve and RSA public keys can be used")
