"""One line for each session, at its end, as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from twisted.logger import Logger

from vinom.errors import Misconfigured
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.sessions import Session
from vinom.net.streams.channels import trace_id

_log = Logger()
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct, omit_defaults=True):
    """What a line has; those at the end only if there is something to say."""

    time: str
    session: str
    kind: str
    tls: bool
    client: str
    client_port: int
    service: str
    backend: str
    received: int
    sent: int
    seconds: float
    outcome: str
    why: str = ""
    realm_id: int = 0
    user: int | str | None = None
    traceparent: str = ""
    trace_id: str = ""


def access_line(session: Session, gateway_id: str, now: float, lasted: float) -> bytes:
    """
    Build the line for a session that is over.

    :param gateway_id: id of this gateway.
    :param now: seconds since the Unix epoch.
    :param lasted: the session, seconds.
    """
    request, outcome, endpoint = session.request, session.outcome, session.endpoint
    seconds, micros = divmod(round(now * 1e6), 1_000_000)
    return _encode(
        _Line(
            f"{_second(seconds)}.{micros // 1000:03}+00:00",
            f"{gateway_id}:{session.session_id}",
            request.kind,
            request.is_tls,
            request.host,
            request.port,
            session.service,
            "" if endpoint is None else _name_of(endpoint),
            session.client.bytes,
            session.backend.bytes,
            round(lasted, 3),
            # As text: it is an enumeration.
            "" if outcome is None else outcome.value,
            session.why,
            session.realm_id,
            request.user,
            request.traceparent,
            trace_id(request.traceparent),
        )
    )


@lru_cache(4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(1024)
def _name_of(endpoint: Endpoint) -> str:
    return str(endpoint)


class AccessFile:
    """The log's file, which can be moved away at any time."""

    def __init__(self, path: Path | None) -> None:
        """
        :param path: the file; ``-`` is standard output, ``None`` writes nothing.
        :raises Misconfigured: it cannot be opened.
        """
        # It is opened again later, after twistd has changed its working directory.
        is_file = path is not None and str(path) != "-"
        self._path = path.absolute() if path is not None and is_file else None
        self._file: BinaryIO | None = None
        if self._path is not None:
            try:
                self._file = _opened(self._path)
            except OSError as error:
                raise Misconfigured(
                    f"access_log: cannot write {self._path}: {error.strerror}"
                ) from error
        elif path is not None:
            self._file = sys.stdout.buffer

    def write(self, line: bytes) -> None:
        """Write a whole line."""
        if self._file is not None:
            self._file.write(line)
            # Standard output is buffered.
            self._file.flush()

    def reopen(self) -> None:
        """Open the path again; if that fails, keep the file that is open."""
        if self._path is None:
            return
        try:
            opened = _opened(self._path)
        except OSError as error:
            _log.error(
                "the access log keeps its previous file; cannot write {path}: {why}",
                path=str(self._path),
                why=error.strerror,
            )
            return
        before, self._file = self._file, opened
        if before is not None:
            before.close()
        _log.info("the access log was opened again: {path}", path=str(self._path))


def _opened(path: Path) -> BinaryIO:
    # Unbuffered, so that each line is one write.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    return cast(BinaryIO, os.fdopen(descriptor, "ab", 0))


class AccessLog:
    """Writes the lines."""

    def __init__(
        self,
        gateway_id: str,
        write: Callable[[bytes], Any] | None,
        now: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:
        """
        :param gateway_id: id of this gateway.
        :param write: gets whole lines; ``None`` for no log.
        :param now: seconds since the Unix epoch.
        :param seconds: the clock of `Session.began`, which nobody sets.
        """
        self._gateway_id, self._write = gateway_id, write
        self._now, self._seconds = now, seconds
        self._is_failing = False

    def ended(self, session: Session) -> None:
        """Write the line of a session that is over; never raises."""
        if self._write is None:
            return
        try:
            lasted = self._seconds() - session.began
            line = access_line(session, self._gateway_id, self._now(), lasted)
            self._write(line + b"\n")
        except OSError as error:
            if not self._is_failing:
                _log.error(
                    "cannot write the access log; sessions go on without it: {why}",
                    why=error.strerror,
                )
            self._is_failing = True
        else:
            self._is_failing = False
