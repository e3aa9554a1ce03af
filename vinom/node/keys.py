"""
Keys while the node runs: listed, rotated, reloaded, and dropped in time.

Players do not notice a rotation: every verifier has a new key before that signs, and
signatures of an old key stay valid for their full time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import Issued
from vinom.base.reactor.waits import Repeating
from vinom.errors import Code, Misconfigured, Refused
from vinom.fleet.control.messages import CookieKeyReport
from vinom.net.keys.authority import (
    ACCEPTED_DAYS,
    BACKDATED,
    RENEWAL_SECONDS,
    Authority,
)
from vinom.net.keys.files import KeyReport
from vinom.net.keys.tokens import CLOCK_SKEW
from vinom.net.lines.tls import ReloadableTls

#: Kinds of keys that operators can rotate.
Kind = Literal["token", "ca", "cookie"]

# How often expired keys are looked for, seconds.
_TICK = 30.0


@attrs.frozen
class LobbyCertificate:
    """
    The lobby's certificate and key.

    :ivar tls: how lobby connections speak TLS.
    :ivar find: reads the certificate, or makes it.
    :ivar is_private: is it signed by the node's own authority?
    """

    tls: ReloadableTls
    find: Callable[[], Issued]
    is_private: bool

    def load(self) -> None:
        """
        Use it on new connections; open ones are unaffected.

        :raises Misconfigured: it cannot be used; the previous one stays in use.
        """
        issued = self.find()
        self.tls.use(issued.certificate, issued.key)


class KeyedFleet(Protocol):
    """What has keys besides the node: `vinom.fleet.fleet.Fleet`, or a relay."""

    def share_token_keys(self) -> Deferred[None]:
        """Give the authority's token keys to all who check tokens."""

    def renew_certificates(self) -> None:
        """Have the authority that signs now sign for what comes next."""

    def rotate_cookies(self) -> int:
        """Have cookies made with new keys; returns the number of those asked."""

    def cookie_keys(self) -> Mapping[str, tuple[CookieKeyReport, ...]]:
        """List the cookie keys, without their secrets."""


class Keys(Repeating):
    """List, rotate, reload and drop the keys of one node."""

    name = "keys"
    _log = Logger()

    def __init__(
        self,
        authority: Authority,
        fleet: KeyedFleet,
        lobby: LobbyCertificate,
        clock: IReactorTime,
        token_seconds: float,
    ) -> None:
        """
        :param authority: signs certificates and connect tokens.
        :param fleet: its game servers take token keys and make cookie keys.
        :param lobby: the lobby's certificate.
        :param clock: the time, seconds since the Unix epoch.
        :param token_seconds: how long a connect token is valid.
        """
        super().__init__(self._tick, _TICK, clock, is_at_once=True)
        self._authority, self._fleet, self._lobby = authority, fleet, lobby
        self._clock, self._token_seconds = clock, token_seconds
        self._turn = DeferredLock()

    # For operators.

    def known(self) -> list[dict[str, Any]]:
        """
        List every key: ``id``, ``kind``, ``state``, ``age`` (seconds) and
        ``expires_at`` (Unix seconds, or ``None``).
        """
        now = self._clock.seconds()
        known = [
            *self._authority.tokens.known(self._token_seconds),
            *self._authority.known(),
        ]
        lobby = self._lobby.tls
        # Our own certificates are valid from before they were made.
        made_at = lobby.begins_at + (BACKDATED if self._lobby.is_private else 0.0)
        known.append(
            KeyReport(lobby.fingerprint, "lobby", "active", made_at, lobby.expires_at)
        )
        for server_id, cookie_keys in self._fleet.cookie_keys().items():
            known += (_cookie_report(server_id, key, now) for key in cookie_keys)
        return [_shown(key, now) for key in known]

    def expiries(self) -> dict[str, float]:
        """When certificates expire, seconds since the Unix epoch, for metrics."""
        return {
            "authority": self._authority.expires_at,
            "lobby": self._lobby.tls.expires_at,
        }

    def rotate(self, kind: Kind) -> Deferred[dict[str, Any]]:
        """
        Let a new key take over; the result describes what was done.

        The rotation completes even if the caller cancels.

        :raises Refused: the node cannot change this kind of key, or a file cannot be
            written.
        """
        done: Deferred[dict[str, Any]] = Deferred()
        working: Deferred[dict[str, Any]] = self._turn.run(
            lambda: Deferred.fromCoroutine(self._rotate(kind))
        )
        working.chainDeferred(done)
        return done

    async def _rotate(self, kind: Kind) -> dict[str, Any]:
        try:
            match kind:
                case "token":
                    return await self._rotate_token_key()
                case "ca":
                    return self._rotate_authority()
                case "cookie":
                    return self._rotate_cookies()
        except Misconfigured as error:
            raise Refused(Code.UNAVAILABLE, str(error)) from error

    async def _rotate_token_key(self) -> dict[str, Any]:
        tokens = self._authority.tokens
        before = tokens.signer.key_id
        made = tokens.prepare(self._clock.seconds())
        await self._fleet.share_token_keys()
        tokens.activate(made, self._clock.seconds())
        seconds = self._token_seconds + CLOCK_SKEW
        self._log.info(
            "token key {made} signs from now on; {before} is accepted for {seconds} s",
            made=made,
            before=before,
            seconds=seconds,
        )
        return {"kind": "token", "id": made, "accepted_seconds": seconds}

    def _rotate_authority(self) -> dict[str, Any]:
        made = self._authority.rotate()
        self._fleet.renew_certificates()
        self._log.info(
            "authority {made} signs from now on; the one before it is accepted for "
            "{days} days",
            made=made,
            days=ACCEPTED_DAYS,
        )
        if self._lobby.is_private:
            self._lobby.load()
        return {"kind": "ca", "id": made, "accepted_seconds": ACCEPTED_DAYS * 86400.0}

    def _rotate_cookies(self) -> dict[str, Any]:
        count = self._fleet.rotate_cookies()
        self._log.info("{count} game servers are making new cookie keys", count=count)
        return {"kind": "cookie", "game_servers": count}

    # Files that an operator changed.

    def reload(self) -> None:
        """Read configured certificates again; unusable ones change nothing."""
        try:
            if self._authority.is_configured and self._authority.reload():
                self._fleet.renew_certificates()
                self._log.info("new matches get certificates of the new authority")
            self._lobby.load()
        except Misconfigured as error:
            self._log.error("certificates are not reloaded: {why}", why=str(error))
        else:
            self._log.info(
                "certificates are reloaded; the lobby's is {fingerprint}",
                fingerprint=self._lobby.tls.fingerprint,
            )

    # Expiry.

    def _tick(self) -> None:
        try:
            self._drop()
        except (Misconfigured, OSError) as error:
            self._log.error("expired keys are not replaced: {why}", why=str(error))

    def _drop(self) -> None:
        now = self._clock.seconds()
        for key_id in self._authority.tokens.drop(now, self._token_seconds):
            self._log.info("token key {key_id} is no longer accepted", key_id=key_id)
            self._fleet.share_token_keys()
        was_dropped = self._authority.drop()
        if was_dropped:
            self._log.info("a former authority is no longer accepted")
        if self._lobby.is_private and (was_dropped or self._is_near_its_end(now)):
            self._lobby.load()

    def _is_near_its_end(self, now: float) -> bool:
        """Does the lobby's certificate expire soon, and can we renew it?"""
        ends, longest = self._lobby.tls.expires_at, self._authority.expires_at
        return ends - now < RENEWAL_SECONDS and ends < longest


def _cookie_report(server_id: str, key: CookieKeyReport, now: float) -> KeyReport:
    return KeyReport(
        f"{server_id}/{key.number}",
        "cookie",
        "active" if key.left is None else "accepted",
        now - key.age,
        None if key.left is None else now + key.left,
    )


def _shown(key: KeyReport, now: float) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "kind": key.kind,
        "state": key.state,
        "age": round(max(0.0, now - key.since), 3),
        "expires_at": None if key.expires_at is None else round(key.expires_at, 3),
    }
