"""
Lines in files that survive the process at any byte.

A line is a checksum and a payload without line ends. Files are only appended to; a new
one begins when the last one is long enough, and the oldest goes when nobody needs its
lines. A process that is killed leaves at most one line that has no end, which is cut
off when the file is next read; a line that is damaged is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import attrs

#: Longest file before another one begins, bytes.
SEGMENT_BYTES = 1 << 20
SUFFIX = ".log"


def pack_line(payload: bytes) -> bytes:
    """Write a line: its checksum, a space, the payload, its end."""
    return b"%08x %b\n" % (crc32(payload), payload)


def unpack_line(line: bytes) -> bytes | None:
    """Read a line without its end; ``None`` if it is damaged."""
    payload = line[9:]
    if line[:9] != b"%08x " % crc32(payload):
        return None
    return payload


@attrs.define
class _Segment:
    """A file, its number, its length in bytes, and how far its lines are needed."""

    path: Path
    number: int
    size: int
    last: tuple[int, int] = (-1, 0)


@attrs.define(eq=False)
class Journal:
    """
    A directory of such files, made by the first line.

    :ivar directory: of nobody else.
    :ivar segment_bytes: longest file before another one begins.
    :ivar damaged: how many lines were passed over.
    """

    directory: Path
    segment_bytes: int = SEGMENT_BYTES
    damaged: int = 0
    _segments: list[_Segment] = attrs.field(factory=list, init=False)
    _fd: int = attrs.field(default=-1, init=False)
    _is_unsynced: bool = attrs.field(default=False, init=False)

    def read(self) -> Iterator[bytes]:
        """
        Read all lines, the oldest first; note each with `reached`.

        :raises OSError: a file cannot be read.
        """
        self.close()
        self._segments.clear()
        for path in self._paths():
            data = path.read_bytes()
            lines = data.split(b"\n")
            torn = lines.pop()
            segment = _Segment(path, int(path.stem), len(data) - len(torn))
            self._segments.append(segment)
            if torn:
                os.truncate(path, segment.size)
            for line in lines:
                payload = unpack_line(line)
                if payload is None:
                    self.damaged += 1
                else:
                    yield payload

    def _paths(self) -> list[Path]:
        try:
            found = [
                path
                for path in self.directory.iterdir()
                if path.suffix == SUFFIX and path.stem.isdecimal()
            ]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda path: int(path.stem))

    def reached(self, position: tuple[int, int]) -> None:
        """Note that the last line was about this position."""
        segment = self._segments[-1]
        segment.last = max(segment.last, position)

    def append(self, payload: bytes, position: tuple[int, int]) -> None:
        """
        Write a line; when this returns, the end of the process cannot undo it.

        :param payload: without line ends.
        :param position: needed as long as this is.
        :raises OSError: it cannot be written; no part of it stays.
        """
        if not self._segments or self._segments[-1].size >= self.segment_bytes:
            self._begin()
        segment = self._segments[-1]
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(segment.path, flags, 0o600)
        line = pack_line(payload)
        self._is_unsynced = True
        try:
            rest = line
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            # Half a line would spoil the next one.
            with suppress(OSError):
                os.ftruncate(self._fd, segment.size)
            raise
        segment.size += len(line)
        segment.last = max(segment.last, position)

    def _begin(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.close()
        number = self._segments[-1].number + 1 if self._segments else 1
        path = self.directory / f"{number:08d}{SUFFIX}"
        last = self._segments[-1].last if self._segments else (-1, 0)
        self._segments.append(_Segment(path, number, 0, last))

    def forget(self, oldest: tuple[int, int]) -> int:
        """
        Remove the files whose lines are all about what is before *oldest*.

        :returns: how many were removed.
        """
        removed = 0
        while len(self._segments) > 1 and self._segments[0].last < oldest:
            try:
                self._segments[0].path.unlink(missing_ok=True)
            except OSError:
                break
            del self._segments[0]
            removed += 1
        return removed

    def unsynced(self) -> tuple[int, ...]:
        """
        Duplicate the descriptors that `sync` is to be called with, perhaps in a thread.

        :returns: none if everything written is on the disk.
        :raises OSError: there are no descriptors left.
        """
        if not self._is_unsynced or self._fd < 0:
            return ()
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            file = os.dup(self._fd)
        except OSError:
            os.close(folder)
            raise
        self._is_unsynced = False
        return file, folder

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                if self._is_unsynced:
                    os.fsync(fd)
                    self._is_unsynced = False
            finally:
                os.close(fd)


def sync(descriptors: tuple[int, ...]) -> None:
    """
    Wait until what was written to these is on the disk, and close them.

    :raises OSError: the disk does not take it.
    """
    try:
        for descriptor in descriptors:
            os.fsync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
