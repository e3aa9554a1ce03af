"""Logs: one event per line, as text or as JSON, with match and player ids."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
)
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import provider

from vinom.base.printable import printable

#: Passes on the lines of game servers, which have our format already.
_RELAY = "vinom.fleet.local.forklink.ForkLink"
_TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 (debug|info|warn|error|critical)"
)
_JSON_LINE = re.compile(r'\{"time": ".*\}$')

#: Ids that are written after an event's text, in this order.
IDS = ("match_id", "player_id", "server_id", "seat")


def observer(file: IO[Any] | LogFile, log_format: str, log_level: str) -> ILogObserver:
    """
    Write events to *file*.

    :param file: gets the lines.
    :param log_format: "text" or "json".
    :param log_level: less important events are omitted.
    """
    write = as_json if log_format == "json" else as_text
    everything: Any = FileLogObserver(cast(IO[Any], file), write)
    least = LogLevel.levelWithName(log_level)
    levels = {level for level in LogLevel.iterconstants() if level >= least}

    # Twisted's filter takes longer: it has levels for the parts of a program.
    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level") in levels and event.get("log_namespace") is not None:
            everything(event)

    return cast(ILogObserver, observe)


def as_text(event: LogEvent) -> str | None:
    """
    Write an event as one line, followed by a failure's traceback.

    What is not printable is escaped, so that a player's text cannot forge a line, or
    control the terminal that shows the log.
    """
    if (line := _relayed(event, _TEXT_LINE)) is not None:
        # Its process has escaped it; if it was taken over, it has not.
        return printable(line.removesuffix("\n")) + "\n"
    message = _message(event)
    if message is None:
        return None
    message = printable(message)
    ids = " ".join(
        f"{name}={event[name]}"
        for name in IDS
        if event.get(name) not in (None, "") and str(event[name]) not in message
    )
    when = _when(event).isoformat(timespec="milliseconds")
    line = f"{when} {_level(event):<8} {_source(event)}: {message}"
    if ids:
        line = f"{line} [{printable(ids)}]"
    # Indented, so that the lines of one event visibly belong together.
    more = "".join(
        f"    {printable(line.expandtabs())}\n"
        for line in _traceback(event).split("\n")
        if line
    )
    return f"{line}\n{more}"


def as_json(event: LogEvent) -> str | None:
    """Write an event as one line of JSON."""
    if (line := _relayed(event, _JSON_LINE)) is not None:
        return line
    message = _message(event)
    if message is None:
        return None
    record: dict[str, Any] = {
        "time": _when(event).isoformat(timespec="milliseconds"),
        "level": _level(event),
        "source": _source(event),
        "message": message,
    }
    record |= {name: event[name] for name in IDS if event.get(name) is not None}
    traceback = _traceback(event)
    if traceback:
        record["traceback"] = traceback
    return json.dumps(record, default=str) + "\n"


def _relayed(event: LogEvent, ours: re.Pattern[str]) -> str | None:
    """Take a game server's own log line unchanged; ``None`` for any other event."""
    if event.get("log_namespace") != _RELAY:
        return None
    line = str(event.get("line", ""))
    return f"{line}\n" if ours.match(line) else None


def _message(event: LogEvent) -> str | None:
    # Older parts of Twisted include the traceback in the text.
    is_old = event.get("isError") and "why" in event
    text = str(event["why"] or "unhandled error") if is_old else formatEvent(event)
    if not text and event.get("log_failure") is None:
        return None
    # Backslashes are doubled: what a player typed is not taken for an escape.
    return text.replace("\\", "\\\\")


def _when(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _source(event: LogEvent) -> str:
    namespace = event.get("log_namespace")
    if namespace in (None, "log_legacy"):
        namespace = event.get("log_system")
    return str(namespace or "-")


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure") or event.get("failure")
    return failure.getTraceback() if isinstance(failure, Failure) else ""
