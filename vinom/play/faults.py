"""What a game's author needs of a crash report: the lines of the author's own code."""

from __future__ import annotations

import re
from pathlib import Path

import vinom

_HERE = str(Path(vinom.__file__).resolve().parent)
_GAMES = str(Path(_HERE, "games"))
_FRAME = re.compile(r'  File "(.+)", line (\d+), in (.+)')


def own_lines(report: str) -> str:
    """
    Shorten a crash report to what its author wrote.

    :param report: as of `vinom.play.room.crash_report`.
    :returns: its traceback without Vinom's own lines; all of it if no others are there.
    """
    _, _, trace = report.partition("\n\n")
    kept: list[str] = []
    is_own = True
    has_own = False
    for line in trace.rstrip().splitlines():
        frame = _FRAME.fullmatch(line)
        if frame is not None:
            is_own = not _is_ours(frame[1])
            has_own = has_own or is_own
        elif not line.startswith("    "):
            is_own = True
        if is_own:
            kept.append(line)
    return "\n".join(kept) if has_own else trace.rstrip()


def where_of(report: str) -> str:
    """Name the author's innermost line, such as "pig.py:12, in act"; or nothing."""
    found = [one for one in _FRAME.finditer(report) if not _is_ours(one[1])]
    if not found:
        return ""
    path, line, function = found[-1].groups()
    return f"{Path(path).name}:{line}, in {function}"


def _is_ours(path: str) -> bool:
    return path.startswith(_HERE) and not path.startswith(_GAMES)
