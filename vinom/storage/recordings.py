"""
Recordings as files: one a match, bounded in age and bytes.

Whatever the disk does, play goes on: the first error stops that recording,
with one line in the log. Several processes may share the directory.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from vinom.game import Game
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.play import Recorded
from vinom.rules.recording import encode_ending, encode_header, encode_recorded

SUFFIX = ".vinomrec"
REPORT_SUFFIX = ".crash.txt"
#: Its time of change is when the directory was swept.
MARKER = ".swept"

#: Kept in memory before a write, bytes.
_BUFFER = 16 * 1024
#: Kept in memory at most for this much match time, seconds.
_FLUSH_EVERY = 1.0
#: The directory is looked through at most this often, seconds.
_SWEEP_EVERY = 60.0

_log = Logger()


@attrs.define(eq=False)
class MatchRecording:
    """
    One match being written down. No method fails.

    :ivar path: the file; its crash report lies beside it.
    :ivar most: the file ends before it is longer than this, bytes.
    """

    path: Path
    most: int
    _fd: int = -1
    _held: bytearray = attrs.field(factory=bytearray)
    _written: int = 0
    _flushed_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Is it still being written?"""
        return self._fd >= 0

    def record(self, recorded: Recorded) -> None:
        """Write down one thing that reached the game."""
        if self._fd < 0:
            return
        held, time = self._held, recorded.time
        held += encode_recorded(recorded)
        if len(held) >= _BUFFER or time - self._flushed_at >= _FLUSH_EVERY:
            self._flushed_at = time
            self.flush()

    def flush(self) -> None:
        """Hand what is held to the operating system."""
        if self._fd < 0:
            return
        if self._written + len(self._held) > self.most:
            self._stop(f"it is longer than {self.most} bytes")
            return
        try:
            while self._held:
                done = os.write(self._fd, self._held)
                self._written += done
                del self._held[:done]
        except OSError as error:
            self._stop(str(error))

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        """
        Write the end, and the crash report if there is one.

        :returns: where the report is; empty if there is none.
        """
        if self._fd >= 0:
            try:
                self._held += encode_ending(end, state)
            except Exception as error:
                self._stop(f"the final state cannot be written: {error}")
            self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return "" if report is None else self._write_report(report)

    def _write_report(self, report: str) -> str:
        if self.most <= 0:
            return ""
        path = self.path.with_name(self.path.name.removesuffix(SUFFIX) + REPORT_SUFFIX)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(report)
        except OSError as error:
            _log.error("no crash report {path}: {why}", path=str(path), why=str(error))
            return ""
        return str(path)

    def _stop(self, why: str) -> None:
        """Give up; the file stays as far as it was written."""
        _log.warn("recording {path} stops: {why}", path=str(self.path), why=why)
        fd, self._fd = self._fd, -1
        self._held.clear()
        if fd >= 0:
            os.close(fd)


@attrs.define(eq=False)
class Recordings:
    """
    A directory of recordings and crash reports.

    :ivar directory: made when first needed; ``None`` records nothing.
    :ivar most_bytes: of all files together; the oldest go first.
    :ivar most_age: of a file since it was last written, seconds.
    :ivar most_match_bytes: of one file.
    """

    directory: Path | None
    most_bytes: int = 1 << 30
    most_age: float = 7 * 24 * 3600.0
    most_match_bytes: int = 64 << 20

    def open(
        self, plan: MatchPlan, game: Game[Any, Any], opened_at: float
    ) -> MatchRecording:
        """
        Begin a recording; one that cannot be written is closed from the start.

        :param opened_at: seconds since the Unix epoch.
        """
        if self.directory is None:
            return MatchRecording(Path(os.devnull), 0)
        path = self.directory / (_file_name(plan.match_id) + SUFFIX)
        recording = MatchRecording(path, self.most_match_bytes)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            _log.warn("no recording {path}: {why}", path=str(path), why=str(error))
            return recording
        recording = MatchRecording(path, self.most_match_bytes, fd)
        recording._held += encode_header(plan, game, opened_at)
        recording.flush()
        return recording

    def sweep(self, now: float) -> int:
        """
        Remove what is too old or too much; call it whenever a match is over.

        Of all processes that share the directory one does it, once a minute.

        :param now: seconds since the Unix epoch.
        :returns: how many files were removed.
        """
        if self.directory is None:
            return 0
        try:
            if not self._is_our_turn(now, self.directory / MARKER):
                return 0
            files = self._files()
        except OSError as error:
            _log.warn("recordings cannot be swept: {why}", why=str(error))
            return 0
        total, removed = sum(size for _, size, _ in files), 0
        for written_at, size, path in files:
            if total <= self.most_bytes and now - written_at <= self.most_age:
                break
            total -= size
            try:
                # Another process may sweep too, and be first.
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warn("{path} stays: {why}", path=str(path), why=str(error))
                continue
            removed += 1
        return removed

    def _is_our_turn(self, now: float, marker: Path) -> bool:
        """Has nobody swept for a while? If so, tell others that we do."""
        try:
            swept_at = marker.stat().st_mtime
        except FileNotFoundError:
            if not marker.parent.is_dir():
                return False
        else:
            # A clock that was set back must not end all sweeping.
            if 0 <= now - swept_at < _SWEEP_EVERY:
                return False
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(marker, (now, now))
        return True

    def _files(self) -> list[tuple[float, int, Path]]:
        """List our files: when last written, size, path; the oldest first."""
        found: list[tuple[float, int, Path]] = []
        if self.directory is None:
            return found
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith((SUFFIX, REPORT_SUFFIX)):
                    try:
                        facts = entry.stat()
                    except FileNotFoundError:
                        continue
                    found.append((facts.st_mtime, facts.st_size, Path(entry.path)))
        return sorted(found)


def _file_name(match_id: str) -> str:
    """Make a name that stays inside the directory, whatever the id holds."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", match_id)[:100] or "_"
