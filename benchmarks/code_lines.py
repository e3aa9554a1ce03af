"""
Count a game's code: its lines without blanks, comments and docstrings.

``python -m benchmarks.code_lines FILE...`` counts Python, JavaScript and TypeScript.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support import ratchet

#: A comment that begins a line, and a block of them.
_COMMENT = re.compile(r"^\s*(//.*$|/\*[^\0]*?\*/)", re.MULTILINE)


def code_lines(path: Path) -> int:
    """Count the lines of code of one file."""
    if path.suffix == ".py":
        return ratchet.code_lines(path)
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    return sum(bool(line.strip()) for line in text.splitlines())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(code_lines(Path(name)), name)
