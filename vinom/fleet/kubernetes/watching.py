"""Watch the pods of this node, in a thread, as long as the node runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vinom.fleet.kubernetes.api import ApiError, KubernetesApi
from vinom.fleet.kubernetes.objects import Object

#: Shortest and longest wait after a failure, seconds; half or more of it at random.
RETRY_SECONDS = (0.25, 30.0)

#: Gets a change of one pod.
Seen = Callable[[Literal["changed", "deleted"], Object], None]


class PodWatch:
    """
    List the pods, then watch their changes; list again if the history is gone.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
    #efficient-detection-of-changes
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        api: KubernetesApi,
        selector: str,
        listed: Callable[[list[Object]], None],
        seen: Seen,
        chance: Callable[[], float],
    ) -> None:
        """
        :param reactor: its thread gets the changes.
        :param api: the cluster's.
        :param selector: selects the pods by their labels.
        :param listed: gets all pods, at first and whenever changes may be missing.
        :param seen: gets each change.
        :param chance: returns random numbers from 0 to 1.
        """
        self._reactor, self._api, self._selector = reactor, api, selector
        self._listed, self._seen, self._chance = listed, seen, chance
        self._is_over = threading.Event()
        self._answer: Any = None
        self._ended: Deferred[None] | None = None
        # Failures one after the other; and answers that the history is gone.
        self._failures = self._stale = 0

    def start(self) -> None:
        """Begin to watch."""
        self._ended = Deferred()
        threading.Thread(target=self._run, name="kubernetes watch", daemon=True).start()

    def stop(self) -> Deferred[None]:
        """End the thread; the result comes when it has ended."""
        self._is_over.set()
        if self._ended is None:
            self._ended = Deferred()
            self._ended.callback(None)
        answer = self._answer
        if answer is not None:
            # This ends a read that is under way.
            with suppress(Exception):
                answer.shutdown()
        return self._ended

    # In the thread.

    def _run(self) -> None:
        version: str | None = None
        while not self._is_over.is_set():
            try:
                if version is None:
                    pods, version = self._api.list_now(self._selector)
                    self._tell(self._listed, pods)
                version = self._watch(version)
            except ApiError as error:
                if error.status == 410:
                    version = None
                    self._log.debug(
                        "the watch of pods lists them again: {why}", why=error
                    )
                    # The API server has answered. At once the first time: it may have
                    # compacted its history, or started.
                    self._failures, self._stale = self._stale, self._stale + 1
                    if self._stale == 1:
                        continue
                self._wait(error)
            except Exception as error:
                self._wait(error)
        self._reactor.callFromThread(self._over)

    def _watch(self, version: str) -> str | None:
        """
        Watch until the watch ends.

        :returns: the version to go on from.
        :raises ApiError: it was refused; 410 if the next changes are no longer stored.
        """
        answer = self._answer = self._api.watch_now(self._selector, version)
        try:
            # `stop` could not end an answer that was not there yet.
            for event in () if self._is_over.is_set() else _events(answer):
                if self._is_over.is_set():
                    break
                value = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(
                        int(value.get("code") or 500),
                        str(value.get("reason", "")),
                        str(value.get("message", "")),
                    )
                version = str(value["metadata"]["resourceVersion"])
                self._failures = self._stale = 0
                if event["type"] == "DELETED":
                    self._tell(self._seen, "deleted", value)
                elif event["type"] != "BOOKMARK":
                    self._tell(self._seen, "changed", value)
        except ApiError:
            raise
        except Exception as error:
            # The connection was lost: go on from the last version.
            if not self._is_over.is_set():
                self._wait(error)
        finally:
            self._answer = None
            with suppress(Exception):
                answer.close()
        return version

    def _wait(self, error: Exception) -> None:
        if self._is_over.is_set():
            return
        least, most = RETRY_SECONDS
        seconds = min(most, least * 2 ** min(self._failures, 10))
        self._failures += 1
        seconds *= (1 + self._chance()) / 2
        log = self._log.warn if self._failures == 3 else self._log.debug
        log(
            "the watch of pods failed, and is tried again in {s:.1f} s: {why}",
            s=seconds,
            why=str(error),
        )
        self._is_over.wait(seconds)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        self._reactor.callFromThread(self._told, what, *arguments)

    # In the reactor's thread.

    def _told(self, what: Callable[..., None], *arguments: Any) -> None:
        if not self._is_over.is_set():
            what(*arguments)

    def _over(self) -> None:
        if self._ended is not None and not self._ended.called:
            self._ended.callback(None)


def _events(answer: Any) -> Iterator[Object]:
    """Split an answer into events, one per line."""
    held = b""
    for part in answer.stream(64 * 1024):
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
