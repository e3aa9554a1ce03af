"""
Text of others, safe to print: it can't move the cursor, forge a line or hide.

Everything that Vinom prints goes through `say` or `say_json`; the terminal client draws
what `printable` returns. ``tests/test_architecture.py`` holds that nothing else prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TextIO

_ID = re.compile(r"(?!\.{1,2}\Z)[!-~]+")

#: What an id must be, for messages.
ID_RULE = "printable ASCII without spaces, and not '.' or '..'"


def printable(text: str) -> str:
    """
    Escape what is not printable, as Python would: ``\\x1b``, ``\\n``, ``\\u200b``.

    Line ends and tabs are escaped too: the result is one line.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def printable_lines(text: str) -> str:
    """Escape what is not printable, but keep LF as line ends, and tabs as spaces."""
    return "\n".join(printable(line.expandtabs()) for line in text.split("\n"))


def is_id(text: str) -> bool:
    """Can this be an id? Ids are printed, and are parts of paths; see `ID_RULE`."""
    return _ID.fullmatch(text) is not None


def say(text: str = "", file: TextIO | None = None, *, flush: bool = False) -> None:
    """
    Print lines of text, escaped.

    :param text: one or more lines.
    :param file: where to print; standard output by default.
    :param flush: write it now.
    """
    print(printable_lines(text), file=file, flush=flush)


def say_json(value: Any, indent: int | None = None) -> None:
    """Print *value* as JSON in ASCII."""
    # json escapes all that is not ASCII, and control characters except DEL.
    print(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"))


def in_columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table, escaped; each column is as wide as its longest cell."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            word.ljust(width) for word, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
