"""
Recordings as files: one per match, limited in age and bytes.

An error of the disk never stops play: the first one ends that recording, with one line
in the log. Several processes may share the directory.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchEnd, MatchPlan
from vinom.game import Game
from vinom.play.play import Recorded
from vinom.play.recording import (
    RECORDED,
    Part,
    encode_ending,
    encode_header,
    encode_payload,
    pack_head,
    whole_frames,
    without_id,
)

SUFFIX = ".vinomrec"
REPORT_SUFFIX = ".crash.txt"
#: File whose modification time is when the directory was last swept.
MARKER = ".swept"

#: Most bytes that one recording holds in memory, and for how long: seconds of match
#: time, or of real time if there is a clock.
_MOST_HELD = 8192
_FLUSH_EVERY = 1.0
#: With a clock: the interval at which files are written, seconds, and how many at most
#: each time, so that the disk does not delay play.
_STEP = 0.05
_MOST_A_STEP = 64
#: Most bytes of a recording in one message to the node.
_MOST_SENT = 256 * 1024
#: Most files that are remembered as not to be written any more.
_MOST_STOPPED = 1024
#: Least time between two sweeps of the directory, seconds.
_SWEEP_EVERY = 60.0

_log = Logger()


@attrs.define(eq=False)
class MatchRecording:
    """
    The recording of one match in progress. No method fails.

    The file is open only while something is written, which is rare, because there may
    be more rooms than descriptors.

    :ivar path: the file; its crash report is in the same directory.
    :ivar most: longest file, bytes.
    :ivar is_open: whether it is still being written.
    :ivar given: descriptors of both files, if the node opened them; closed here.
    :ivar hidden_ids: ids of players to leave out; ``None`` leaves out none.
    :ivar send: sends bytes of it, or of its crash report, if the files are elsewhere:
        where they belong, the bytes, and whether they are of the report.
    :ivar taken: how much of it `news` has returned.
    """

    path: Path
    most: int
    is_open: bool = True
    given: tuple[int, int] | None = None
    hidden_ids: set[str] | None = None
    send: Callable[[int, bytes, bool], None] | None = None
    taken: int = 0
    _begun: Callable[[MatchRecording], None] | None = None
    _stopped: Callable[[], None] | None = None
    # Encoded: objects of many rooms would have left the processor's caches by the
    # time they are written.
    _held: bytearray = attrs.field(factory=bytearray)
    _is_begun: bool = False
    _is_made: bool = False
    _since: float = 0.0
    _written: int = 0

    @property
    def length(self) -> int:
        """Count its bytes, held ones too."""
        return self._written + len(self._held)

    @property
    def has_inputs(self) -> bool:
        """Was anything recorded? If not, it has no file."""
        return self._is_begun or self._written > 0

    def news(self, is_all: bool = False) -> bytes:
        """
        Take the bytes that were added since the last call; they end at `taken`.

        Those that were written to the file meanwhile may be missing.

        :param is_all: whether to take again what is not in the file yet.
        """
        if is_all:
            self.taken = self._written
        held, start = self._held, self.taken - self._written
        self.taken = self._written + len(held)
        return bytes(held[start:] if start > 0 else held)

    def record(self, recorded: Recorded) -> None:
        """Record one call to the game."""
        if not self.is_open:
            return
        if self.hidden_ids is not None and recorded.kind == "joined":
            self.hidden_ids.add(recorded.data.player_id)
            recorded = without_id(recorded)
        try:
            # `encode_recorded` written out, for every input.
            payload = encode_payload(recorded)
        except Exception as error:
            self.flush()
            self._stop(f"an action cannot be written: {error}")
            return
        held = self._held
        held += pack_head(len(payload) + 1, RECORDED) + payload
        if not self._is_begun:
            self._is_begun, self._since = True, recorded.time
            if self._begun is not None:
                self._begun(self)
        elif len(held) >= _MOST_HELD or recorded.time - self._since >= _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is held to the file."""
        data, self._held = self._held, bytearray()
        self._is_begun = False
        if not (data and self.is_open):
            return
        is_too_long = self._written + len(data) > self.most
        if is_too_long:
            data = data[: whole_frames(data, self.most - self._written)]
        try:
            self._append(data)
        except OSError as error:
            self._stop(str(error))
            return
        if is_too_long:
            self._stop(f"the file would be longer than its limit of {self.most} bytes")

    def close(self, end: MatchEnd, state: Any, report: str | None = None) -> str:
        """
        Write the end, and the crash report if there is one.

        :param end: how the match ended.
        :param state: the final state.
        :param report: what went wrong in the game; ``None`` if nothing did.
        :returns: the path of the crash report; empty if there is none.
        """
        if self.is_open:
            try:
                self._held += encode_ending(end, state, self.hidden_ids or set())
            except Exception as error:
                self.flush()
                self._stop(f"the final state cannot be written: {error}")
            self.flush()
        self.is_open = False
        where = "" if report is None else self._write_report(report)
        if self.given is not None:
            given, self.given = self.given, None
            for one in given:
                os.close(one)
        return where

    def _append(self, data: bytearray) -> None:
        """Append to the file."""
        if self.send is not None:
            self.send(self._written, bytes(data), False)
            self._written += len(data)
            return
        fd = self._open_own() if self.given is None else self.given[0]
        try:
            while data:
                done = os.write(fd, data)
                self._written += done
                data = data[done:]
        finally:
            if self.given is None:
                os.close(fd)

    def _open_own(self) -> int:
        """Open the file; one that exists before the first write isn't ours."""
        new = 0 if self._is_made else os.O_CREAT | os.O_EXCL
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | new
        try:
            fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            if self._is_made:
                # Swept, or removed by somebody: a second half alone is useless.
                raise
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, flags, 0o600)
        self._is_made = True
        return fd

    def _write_report(self, report: str) -> str:
        if self.most <= 0:
            return ""
        path = _report_of(self.path)
        if self.send is not None:
            self.send(0, report.encode(), True)
            return path.name
        try:
            if self.given is None:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            else:
                fd = os.dup(self.given[1])
            with open(fd, "w", encoding="utf-8") as file:
                file.write(report)
        except OSError as error:
            _log.error(
                "crash report {path} cannot be written: {why}",
                path=str(path),
                why=str(error),
            )
            return ""
        return str(path)

    def _stop(self, why: str) -> None:
        """Stop recording; what was written stays."""
        _log.warn("recording {path} stops: {why}", path=str(self.path), why=why)
        self.is_open = False
        if self._stopped is not None:
            self._stopped()


@attrs.define(eq=False)
class Recordings:
    """
    A directory of recordings and crash reports.

    :ivar directory: made when first needed; ``None`` records nothing.
    :ivar most_bytes: most bytes of all files together; the oldest are removed first.
    :ivar most_age: longest time since a file was last written, seconds.
    :ivar most_match_bytes: longest file, bytes.
    :ivar clock: has held bytes written in time even if nothing follows them.
    :ivar ids: whether recordings hold the ids of players.
    :ivar send: sends bytes to the node that has the files: the match, the part,
        where in the file they belong, the bytes, and whether they are of the report.
    :ivar stopped: counts recordings that ended before their match.
    """

    directory: Path | None
    most_bytes: int = 1 << 30
    most_age: float = 7 * 24 * 3600.0
    most_match_bytes: int = 64 << 20
    clock: IReactorTime | None = None
    ids: bool = True
    _begun: deque[tuple[float, MatchRecording]] = attrs.field(factory=deque)
    send: Callable[[str, int, int, bytes, bool], None] | None = None
    # Those that could not be written, of which more would be useless; oldest first. The
    # end of a match that another node has taken is not noticed here.
    _stopped: dict[Path, None] = attrs.field(factory=dict)
    _next: IDelayedCall | None = None
    _taken: dict[int, int] = attrs.field(factory=dict)
    stopped: int = attrs.field(default=0, init=False)

    def open(
        self,
        plan: MatchPlan,
        game: Game[Any, Any],
        opened_at: float,
        files: tuple[int, ...] = (),
        part: Part | None = None,
    ) -> MatchRecording:
        """
        Begin a recording; its file is made by the first write, unless it is given.

        :param plan: of the match.
        :param game: the rules.
        :param opened_at: when the room was opened, seconds since the Unix epoch.
        :param files: inode numbers of the files that `take` was given for it.
        :param part: what it begins with, if the match began elsewhere.
        """
        if part is not None and self.hides(plan, part):
            _log.info(
                "match {match_id} is not recorded from part {number} on: its state "
                "holds ids of players",
                match_id=plan.match_id,
                number=part.number,
            )
            return MatchRecording(Path(os.devnull), 0, is_open=False)
        number = 1 if part is None else part.number
        given, send = None, None
        if self.send is not None:
            if not files:
                return MatchRecording(Path(os.devnull), 0, is_open=False)
            path = Path(part_name(plan.match_id, number))
            send = partial(self._send, plan.match_id, number)
        else:
            given = self._given(plan.match_id, files)
            if self.directory is None or (files and given is None):
                return MatchRecording(Path(os.devnull), 0, is_open=False)
            path = self._path_of(plan.match_id, number)
        return MatchRecording(
            path,
            self.most_match_bytes,
            given=given,
            send=send,
            begun=None if self.clock is None else self._note,
            stopped=self._count_stopped,
            held=bytearray(encode_header(plan, game, opened_at, self.ids, part)),
            hidden_ids=None if self.ids else {seat.player_id for seat in plan.seats},
        )

    def _count_stopped(self) -> None:
        self.stopped += 1

    def _send(
        self, match_id: str, part: int, at: int, data: bytes, is_report: bool
    ) -> None:
        assert self.send is not None
        for start, some in pieces(at, data):
            self.send(match_id, part, start, some, is_report)

    def append(
        self, match_id: str, part: int, at: int, data: bytes, is_report: bool = False
    ) -> None:
        """
        Write what a game server on another machine has sent.

        Only what follows the end of the file is written, so what is sent again changes
        nothing. A file that is not here is begun only at its beginning. The first
        error, or gap, ends the file, with one line in the log.
        """
        if self.directory is None:
            return
        path = self._path_of(match_id, part)
        if is_report:
            path = _hidden_report_of(path)
        if path in self._stopped:
            return
        try:
            with open(self._open_sent(path, at), "ab") as file:
                length = file.tell()
                if at > length:
                    raise OSError(f"bytes {length} to {at} were lost with a link")
                if at + len(data) > self.most_match_bytes:
                    raise OSError(f"longer than {self.most_match_bytes} bytes")
                file.write(data[length - at :])
        except OSError as error:
            self._stopped[path] = None
            if len(self._stopped) > _MOST_STOPPED:
                del self._stopped[next(iter(self._stopped))]
            self.stopped += 1
            _log.warn("{path} is not recorded: {why}", path=str(path), why=str(error))

    def _open_sent(self, path: Path, at: int) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except FileNotFoundError as error:
            if at:
                why = f"its first {at} bytes are not on this machine"
                raise OSError(why) from error
        # The match comes from a node on another machine, and all of it is sent.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)

    def _path_of(self, match_id: str, part: int = 1) -> Path:
        directory = self.directory
        assert directory is not None
        return directory / part_name(match_id, part)

    def hides(self, plan: MatchPlan, part: Part) -> bool:
        """Would a part show the ids of players, which are to be left out?"""
        ids = [seat.player_id.encode() for seat in plan.seats if seat.player_id]
        return not self.ids and any(one in part.state for one in ids)

    def name_of(self, match_id: str) -> str:
        """Name the file of a match's recording; empty if nothing is recorded."""
        return "" if self.directory is None else self._path_of(match_id).name

    # Files that the node opens and a game server writes.

    def lend(self, match_id: str, part: int = 1) -> tuple[int, ...]:
        """
        Make and open the files of a match that another process plays.

        Until the match is over the crash report has a hidden name, as most stay empty.

        :param match_id: the match.
        :param part: which part of its recording is to be written.
        :returns: descriptors of the recording and of the crash report, which the
            caller closes; empty if nothing is recorded, or if the disk refuses.
        """
        if self.directory is None:
            return ()
        path = self._path_of(match_id, part)
        opened: list[int] = []
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for one in (path, _hidden_report_of(path)):
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                opened.append(os.open(one, flags | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self.stopped += 1
            _log.warn("{path} is not recorded: {why}", path=str(path), why=str(error))
            for descriptor in opened:
                os.close(descriptor)
            return ()
        return tuple(opened)

    def take_back(
        self,
        match_id: str,
        is_over: bool = True,
        part: int = 1,
        last: tuple[int, bytes] = (0, b""),
    ) -> None:
        """
        Keep what was written to files that were lent; remove those that are empty.

        :param match_id: the match.
        :param is_over: if not, it begins again elsewhere: what was written goes.
        :param part: which part of its recording that is.
        :param last: how long the recording was, bytes, and the last of them: those that
            the process had no time to write are added.
        """
        if self.directory is None:
            return
        path = self._path_of(match_id, part)
        if last[0]:
            _complete(path, *last)
        hidden = _hidden_report_of(path)
        for one, kept in ((path, path), (hidden, _report_of(path))):
            self._stopped.pop(one, None)
            # Swept, or removed by somebody, or never made.
            with suppress(OSError):
                if not is_over or not one.stat().st_size:
                    one.unlink()
                elif one != kept:
                    one.rename(kept)

    def bring(self, match_id: str, folder: Path) -> None:
        """
        Move the files of a match here, which another node on this machine has opened.

        Who writes them goes on doing so.

        :param folder: where that node keeps recordings.
        """
        directory = self.directory
        if directory is None or not folder.is_dir():
            return
        name = _file_name(match_id)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.samefile(directory):
                return
            parts = (*folder.glob(f"{name}.*"), *folder.glob(f".{name}.*"))
            for one in parts:
                one.rename(directory / one.name)
                self._stopped.pop(directory / one.name, None)
        except OSError as error:
            _log.warn(
                "the recording of match {match_id} stays in {folder}: {why}",
                match_id=match_id,
                folder=str(folder),
                why=str(error),
            )

    def take(self, descriptor: int) -> None:
        """Receive an open file from the node; the match that it is for comes next."""
        self._taken[os.fstat(descriptor).st_ino] = descriptor

    def claim(self, inode: int) -> int | None:
        """Give away an open file that came, and is not for a recording."""
        return self._taken.pop(inode, None)

    def _given(self, match_id: str, files: tuple[int, ...]) -> tuple[int, int] | None:
        """Find the files of a match among those that were received."""
        # What is left may be the next match's, which came with this one.
        found = [self._taken.pop(one) for one in files if one in self._taken]
        if len(found) == 2:
            return found[0], found[1]
        for descriptor in found:
            os.close(descriptor)
        if files:
            _log.warn(
                "match {match_id} is not recorded: {count} of its {all} files came; "
                "its game has too many files open",
                match_id=match_id,
                count=len(found),
                all=len(files),
            )
        return None

    def flush(self) -> None:
        """Write everything that is held, because the process ends."""
        while self._begun:
            self._begun.popleft()[1].flush()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _note(self, recording: MatchRecording) -> None:
        """Have a recording that holds something written within about a second."""
        clock = self.clock
        assert clock is not None
        self._begun.append((clock.seconds() + _FLUSH_EVERY, recording))
        if self._next is None:
            self._next = clock.callLater(_FLUSH_EVERY, self._step)

    def _step(self) -> None:
        self._next = None
        clock, begun = self.clock, self._begun
        assert clock is not None
        now = clock.seconds()
        for _ in range(_MOST_A_STEP):
            if not begun or begun[0][0] > now:
                break
            begun.popleft()[1].flush()
        if begun:
            delay = max(_STEP, begun[0][0] - now)
            self._next = clock.callLater(delay, self._step)

    def sweep(self, now: float) -> int:
        """
        Remove files that are too old or too many; call it each minute.

        Of all processes that share the directory one does it, once per minute. It may
        run in a thread: it uses nothing that changes.

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
                # Another process may remove it first.
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warn(
                    "recording {path} cannot be removed: {why}",
                    path=str(path),
                    why=str(error),
                )
                continue
            removed += 1
        return removed

    def _is_our_turn(self, now: float, marker: Path) -> bool:
        """Has no process swept for a while? If so, mark that we do."""
        try:
            swept_at = marker.stat().st_mtime
        except FileNotFoundError:
            if not marker.parent.is_dir():
                return False
        else:
            # A clock that was set back must not stop all sweeping.
            if 0 <= now - swept_at < _SWEEP_EVERY:
                return False
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(marker, (now, now))
        return True

    def _files(self) -> list[tuple[float, int, Path]]:
        """List the files: when last written, size, path; the oldest first."""
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


def pieces(at: int, data: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """
    Cut what is added to a file into messages to the node.

    :param at: where in the file it belongs.
    :param data: what is added.
    :returns: where each piece belongs, and its bytes.
    """
    for start in range(0, len(data), _MOST_SENT):
        yield at + start, bytes(data[start : start + _MOST_SENT])


def part_name(match_id: str, part: int) -> str:
    """Name the file of one part of a match's recording; 1 is the first."""
    return _file_name(match_id) + (f".{part}" if part > 1 else "") + SUFFIX


def _complete(path: Path, length: int, last: bytes) -> None:
    """Add what a process that was killed had not written to its recording."""
    try:
        with open(path, "ab") as file:
            missing = length - file.tell()
            if 0 < missing <= len(last):
                file.write(last[-missing:])
    except OSError as error:
        _log.warn("{path} is not completed: {why}", path=str(path), why=str(error))


def _report_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(SUFFIX) + REPORT_SUFFIX)


def _hidden_report_of(path: Path) -> Path:
    return path.with_name(f".{_report_of(path).name}")


def _file_name(match_id: str) -> str:
    """Make a file name that stays inside the directory, whatever the id is."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", match_id)[:100] or "_"
