"""
Sending results to the receiver of the settings: each at least once, in order per match.

Nothing here can hold play up: requests are few at a time, each has a deadline, and what
cannot be sent stays in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import BoundedLog, in_background
from vinom.base.model import KeptResult
from vinom.base.reactor.alarm import Timer
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.lobby.results.store import ResultStore
from vinom.lobby.results.webhook import (
    LONGEST_ASKED,
    Signed,
    delay,
    signed_request,
    verdict,
)
from vinom.net.lines.https import Answer, NotAnswered, WebClient

#: Most requests at once.
PARALLEL = 8
#: How long a request may take, with its answer, seconds.
REQUEST_SECONDS = 10.0
#: A result is given up after so many requests; after some there are 5 to 10 minutes
#: between two of them.
MOST_TRIES = 200
#: How often the store is asked for results that are due, seconds.
EVERY = 1.0
#: How much longer than a request a result is ours, seconds.
_SPARE = 30.0
#: After this many failures in a row, one request at a time finds out when the receiver
#: is back; and the longest time between two of them, seconds.
_ROW = 8
_LONGEST_PAUSE = 30.0
#: Longest answer that is read, bytes.
_MOST_BYTES = 64 * 1024
#: Longest reason that is kept, characters.
_LONGEST_WHY = 200


class Post(Protocol):
    """
    Sends one request.

    :ivar place: the receiver, for the log.
    :ivar seconds: how long a request may take.
    """

    place: str
    seconds: float

    def __call__(self, request: Signed) -> Deferred[Answer]:
        """Send it once; fails with `NotAnswered`."""

    def close(self) -> Any:
        """Close the connections that are kept."""


class Receiver:
    """The web server that results are sent to."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        authority: bytes | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        """
        :param reactor: connects.
        :param url: where requests go.
        :param authority: certificates that the server is verified with, PEM; those
            that the system trusts unless given.
        :param seconds: how long a request may take, with its answer.
        :raises Misconfigured: *authority* is no certificate.
        """
        self._reactor, self._url = reactor, url.encode("ascii")
        self.place, self.seconds = place_of(url), seconds
        self._client = WebClient(
            reactor,
            authority=authority,
            authority_name="results_authority_file",
            connect_seconds=seconds,
            most_bytes=_MOST_BYTES,
            most_kept=PARALLEL,
        )

    def __call__(self, request: Signed) -> Deferred[Answer]:
        """Send a request once; fails with `NotAnswered`."""
        sent = Deferred.fromCoroutine(
            self._client.post(self._url, request.headers, request.body)
        )
        return sent.addTimeout(self.seconds, self._reactor, _overdue)

    def close(self) -> Any:
        """Close the connections that are kept."""
        return self._client.close()


def _overdue(result: object, seconds: float) -> Answer:
    raise NotAnswered(f"no whole answer came within {seconds:g} s")


def place_of(url: str) -> str:
    """Name a receiver in the log: its path and query may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Sending(Service):
    """
    Take results from the store and post them, until there are none.

    :ivar counts: how many requests were received, failed, or had their result given up.
    """

    name = "sending"
    _log = Logger()

    def __init__(
        self,
        store: ResultStore,
        post: Post,
        clock: IReactorTime,
        chance: Callable[[], float],
        *,
        read_secrets: Callable[[], tuple[bytes, ...]],
        most_tries: int = MOST_TRIES,
    ) -> None:
        """
        :param store: has the results.
        :param post: sends a request.
        :param clock: its seconds are those of the Unix epoch.
        :param chance: gives numbers from 0 to 1, for delays.
        :param read_secrets: reads what requests are signed with; again on `reload`.
        :param most_tries: a result is given up after so many.
        :raises Misconfigured: there are no usable secrets.
        """
        self._store, self._post, self._clock = store, post, clock
        self._chance, self._most_tries = chance, most_tries
        self._read_secrets = read_secrets
        self._secrets = read_secrets()
        self._bounded = BoundedLog(self._log, clock)
        self.counts: Counter[str] = Counter(sent=0, failed=0, dead=0)
        self._alarm = Timer(self._clock)
        self._under_way: dict[str, Deferred[Any]] = {}
        self._is_taking = False
        self._row = 0
        self._paused_until = 0.0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._ring()

    def stopService(self) -> Any:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._alarm.cancel()
        # What was sent and not answered is sent again when the node is back.
        for sending in tuple(self._under_way.values()):
            sending.cancel()
        return self._post.close()

    def reload(self) -> None:
        """Read the secrets again; unusable ones change nothing."""
        try:
            self._secrets = self._read_secrets()
        except Misconfigured as error:
            self._log.warn(
                "the secrets of results are not replaced: {why}", why=str(error)
            )

    def look(self) -> None:
        """Send what is due now."""
        if not self.running or self._is_taking:
            return
        self._is_taking = True
        try:
            while self.running and self._take():
                pass
        except StoreUnavailable as error:
            self._bounded.warn(
                "results wait: storage does not answer: {why}", why=str(error)
            )
        finally:
            self._is_taking = False

    def _ring(self) -> None:
        self._alarm.start(EVERY, self._ring)
        self.look()

    def _free(self, now: float) -> int:
        """Count the requests that may begin now."""
        most = PARALLEL
        if self._row >= _ROW:
            # The receiver seems to be away: one request finds out whether it is back.
            most = 1 if now >= self._paused_until else 0
        return max(0, most - len(self._under_way))

    def _take(self) -> bool:
        """Begin as many requests as there may be; returns whether there were any."""
        now = self._clock.seconds()
        free = self._free(now)
        if not free:
            return False
        found = self._store.take(now, now + self._post.seconds + _SPARE, free)
        for kept in found:
            self._begin(kept)
        return bool(found)

    def _begin(self, kept: KeptResult) -> None:
        def done(result: Any) -> None:
            self._under_way.pop(kept.cursor, None)
            self.look()

        sending = in_background(self._log, self._send(kept), "a result cannot be sent")
        self._under_way[kept.cursor] = sending
        sending.addCallback(done)

    async def _send(self, kept: KeptResult) -> None:
        now = self._clock.seconds()
        asked: float | None = None
        try:
            answer = await self._post(signed_request(self._secrets, kept.result, now))
        except NotAnswered as error:
            if not self.running:
                # We hung up ourselves.
                return
            how, why = "later", str(error)
        else:
            how, why = verdict(answer.status), f"it answers {answer.status}"
            asked = answer.retry_after
        try:
            if how == "sent":
                self._received(kept)
            elif how == "dead" or kept.tries + 1 >= self._most_tries:
                self._row = 0 if how == "dead" else self._row + 1
                self._give_up(kept, why[:_LONGEST_WHY])
            else:
                self._try_later(kept, why[:_LONGEST_WHY], asked)
        except StoreUnavailable as error:
            # It is due again when it is no longer ours.
            self._bounded.warn(
                "what became of result {id} is not noted: {why}",
                id=kept.result.result_id,
                why=str(error),
            )

    def _received(self, kept: KeptResult) -> None:
        if self._row >= _ROW:
            self._bounded.info("{place} takes results again", place=self._post.place)
        self._row = 0
        self.counts["sent"] += 1
        self._store.sent(kept.cursor)

    def _give_up(self, kept: KeptResult, why: str) -> None:
        self.counts["dead"] += 1
        self._bounded.error(
            "result {id} is given up after try {tries}: {place}: {why}; see vinom "
            "results --dead",
            id=kept.result.result_id,
            tries=kept.tries + 1,
            place=self._post.place,
            why=why,
        )
        self._store.give_up(kept.cursor, why)

    def _try_later(self, kept: KeptResult, why: str, asked: float | None) -> None:
        self.counts["failed"] += 1
        self._row += 1
        now = self._clock.seconds()
        if self._row >= _ROW:
            pause = delay(self._row - _ROW + 1, self._chance, _LONGEST_PAUSE)
            self._paused_until = now + pause
        wait = delay(kept.tries + 1, self._chance)
        if asked is not None:
            wait = max(wait, min(asked, LONGEST_ASKED))
        self._bounded.warn(
            "result {id} was not received, try {tries} of {most}, again in {wait} s: "
            "{place}: {why}",
            id=kept.result.result_id,
            tries=kept.tries + 1,
            most=self._most_tries,
            wait=round(wait, 1),
            place=self._post.place,
            why=why,
        )
        self._store.postpone(kept.cursor, now + wait, why)
