"""The recording of a match, put together from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from vinom.errors import Unreadable
from vinom.hosting.recordings import SUFFIX, part_name
from vinom.play.recording import Recording, read_recording


@attrs.frozen
class Parts:
    """
    All parts of a recording in order, each cut where the next one begins.

    :ivar recordings: the parts.
    :ivar gaps: sentences about what is missing between them.
    """

    recordings: tuple[Recording, ...]
    gaps: tuple[str, ...] = ()

    @property
    def last(self) -> Recording:
        """The part that has the end."""
        return self.recordings[-1]


def read_parts(folders: Sequence[Path], match_id: str) -> Parts:
    """
    Read a match's recording.

    :param folders: where its nodes write recordings.
    :param match_id: the match's id.
    :raises Unreadable: there is no recording, or a part cannot be read.
    """
    files = _files_of(folders, match_id)
    if not files:
        raise Unreadable("it was not recorded")
    name = max(files, key=lambda one: _number_of(one))
    found: list[Recording] = []
    gaps: list[str] = []
    length: int | None = None
    visited: set[str] = set()
    while True:
        if name not in files or name in visited:
            raise Unreadable(f"the part {name} of its recording is missing")
        visited.add(name)
        data = files[name].read_bytes()
        if length is not None and len(data) < length:
            gaps.append(
                f"{name} has {len(data)} bytes, but the next part begins after "
                f"{length}: {length - len(data)} bytes of inputs are missing"
            )
        part = read_recording(data if length is None else data[:length])
        found.append(part if length is None else attrs.evolve(part, ending=None))
        before = part.header.part
        if before is None:
            return Parts(tuple(reversed(found)), tuple(reversed(gaps)))
        name, length = before.before, before.length


def _files_of(folders: Sequence[Path], match_id: str) -> dict[str, Path]:
    first = part_name(match_id, 1)
    stem = first.removesuffix(SUFFIX)
    files = {}
    for folder in folders:
        for path in folder.glob(f"{stem}*{SUFFIX}"):
            rest = path.name.removeprefix(stem).removesuffix(SUFFIX)
            if not rest or rest[1:].isdigit():
                files[path.name] = path
    return files


def _number_of(name: str) -> int:
    """Read the number of a part from the name of its file."""
    number = name.removesuffix(SUFFIX).rpartition(".")[2]
    return int(number) if number.isdigit() and "." in name.removesuffix(SUFFIX) else 1
