"""
The public keys of an identity provider: read again from a file, or fetched.

A provider changes its keys without notice. A file is read again on SIGHUP. From a URL
keys are fetched at the start, every hour, on SIGHUP, and when a token names a key that
we don't have, then at most once per minute. Whatever goes wrong, the keys that we have
stay in use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.alarm import Timer
from vinom.errors import Code, Misconfigured, Refused, VinomError
from vinom.lobby.conversation.identity import Account, OutsideVerifier
from vinom.net.keys.files import read_file
from vinom.net.lines.https import NotAnswered, WebClient

#: Longest answer of a provider, bytes; real ones have up to 10 KB.
MOST_BYTES = 64 * 1024
#: Time for a whole answer, seconds: less than a hello has.
DEADLINE = 5.0
#: How often keys are fetched again, and how often at most because a token names an
#: unknown one, or because the last attempt failed, seconds.
EVERY = 3600.0
AT_MOST_EVERY = 60.0


class NotFetched(VinomError):
    """The provider did not answer with keys; the message says why."""


class ProviderKeys(Service):
    """
    Keeps the keys of a verifier current.

    :ivar verifier: uses them.
    """

    name = "provider"
    _log = Logger()

    def __init__(
        self,
        verifier: OutsideVerifier,
        clock: IReactorTime,
        *,
        read: Callable[[], bytes] | None = None,
        fetch: Callable[[], Deferred[bytes]] | None = None,
        place: str = "",
    ) -> None:
        """
        :param verifier: as in the class.
        :param clock: for times.
        :param read: reads the file with the keys; raises `Misconfigured`.
        :param fetch: fetches them once, if there is no file; fails with `NotFetched`.
        :param place: the file or the URL, for the log.
        """
        self.verifier, self._clock = verifier, clock
        self._read, self._fetch, self._place = read, fetch, place
        self._alarm = Timer(self._clock)
        self._tried_at: float | None = None
        self._under_way = False
        self._waiting: list[Deferred[None]] = []

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._fetch is not None:
            self._refresh()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._alarm.cancel()

    def reload(self) -> None:
        """Read or fetch the keys again; unusable ones change nothing."""
        if self._read is None:
            self._refresh()
            return
        try:
            self._use(self._read())
        except Misconfigured as error:
            self._failed(str(error))

    async def verify(self, token: str, now: float) -> Account:
        """
        Return the account that *token* vouches for; may first fetch the keys again.

        :param now: seconds since the Unix epoch.
        :raises Refused: `UNAUTHORIZED`; or `UNAVAILABLE`, if no keys could be fetched.
        """
        if self._fetch is not None and not self.verifier.has_key_of(token):
            await self._newer_keys()
            if not self.verifier.key_count:
                raise Refused(
                    Code.UNAVAILABLE,
                    "the identity provider's keys are not known yet; try again later",
                    {"retry_after": AT_MOST_EVERY},
                )
        return self.verifier(token, now)

    async def _newer_keys(self) -> None:
        """Wait for the attempt under way, or for one now, if the last is long ago."""
        now, tried_at = self._clock.seconds(), self._tried_at
        if not self._under_way:
            if tried_at is not None and 0 <= now - tried_at < AT_MOST_EVERY:
                return
            self._refresh()
        if self._under_way:
            done: Deferred[None] = Deferred()
            self._waiting.append(done)
            await done

    def _refresh(self) -> None:
        if self._under_way or self._fetch is None:
            return
        self._under_way, self._tried_at = True, self._clock.seconds()
        self._alarm.cancel()
        fetched = self._fetch()
        fetched.addTimeout(DEADLINE, self._clock, _overdue)
        fetched.addCallback(self._use)
        fetched.addErrback(self._not_fetched)
        fetched.addBoth(self._fetched)

    def _use(self, document: bytes) -> None:
        before = self.verifier.key_count
        self.verifier.use(document)
        self._log.info(
            "the identity provider has {count} keys, {before} before: {place}",
            count=self.verifier.key_count,
            before=before,
            place=self._place,
        )

    def _not_fetched(self, failure: Failure) -> None:
        failure.trap(NotFetched, Misconfigured)
        self._failed(str(failure.value))

    def _failed(self, why: str) -> None:
        self._log.warn(
            "the identity provider's keys are not replaced, {count} stay in use: "
            "{place}: {why}",
            count=self.verifier.key_count,
            place=self._place,
            why=why,
        )

    def _fetched(self, result: Any) -> Any:
        self._under_way = False
        if self.running:
            delay = EVERY if self.verifier.key_count else AT_MOST_EVERY
            self._alarm.start(delay, self._refresh)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)
        return result


def _overdue(result: object, seconds: float) -> bytes:
    raise NotFetched(f"no whole answer came within {seconds:g} s")


class HttpsDocument:
    """Reads one document over HTTPS; follows no redirects."""

    def __init__(self, reactor: Any, url: str, authority: bytes | None = None) -> None:
        """
        :param reactor: connects.
        :param url: begins with ``https:``.
        :param authority: certificates that the server is verified with, PEM; those
            that the system trusts unless given.
        :raises Misconfigured: *authority* is no certificate.
        """
        self._url = url.encode("ascii")
        self._client = WebClient(
            reactor,
            authority=authority,
            authority_name="identity_authority_file",
            connect_seconds=DEADLINE,
            most_bytes=MOST_BYTES,
        )

    def __call__(self) -> Deferred[bytes]:
        """Fetch it once; fails with `NotFetched`."""
        return Deferred.fromCoroutine(self._fetch())

    async def _fetch(self) -> bytes:
        try:
            return await self._client.fetch(self._url, b"application/json")
        except NotAnswered as error:
            raise NotFetched(str(error)) from error


def keys_of_file(
    path: Path, issuer: str, audience: str, clock: IReactorTime
) -> ProviderKeys:
    """
    Make what verifies tokens with the keys of a file (``identity_keys_file``).

    :raises Misconfigured: the file cannot be used.
    """
    # It is read again later, after twistd has changed its folder.
    path = path.absolute()

    def read() -> bytes:
        # At least a space: an empty file is a mistake.
        return read_file(path, "identity_keys_file") or b" "

    verifier = OutsideVerifier(read(), issuer, audience)
    return ProviderKeys(verifier, clock, read=read, place=str(path))
