"""What the manual of an earlier release shows: its listings, and paths of modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent

from tests.docs.test_manual import blocks, pages

_PATH = re.compile(r"(?<![\w/])vinom(?:\.[A-Za-z_]\w*)+")
_MEMBERS = re.compile(r"automodule:: (\S+)\n +:members: (.+)")
#: A module, and the words that follow.
_SUCH_AS = re.compile(r":mod:`(vinom[\w.]+)`, such as (.{,80})", re.DOTALL)
_CALL = re.compile(r"``([A-Z]\w+)\(")
#: What looks like a path of a module, and is the name of a file.
_FILES = ("vinom.js", "vinom.toml", "vinom.json")


def shown_names(docs: Path) -> set[str]:
    """
    Find what a reader may import: modules and members that a page names, and what its
    listings import.
    """
    texts = [page.read_text("utf-8") for page in pages(docs)]
    listings = [path.read_text("utf-8") for path in docs.rglob("*.py")]
    listings += [text for page in pages(docs) for text in blocks(page, "python")]
    names = {name for text in texts + listings for name in _PATH.findall(text)}
    for text in texts:
        for module, members in _MEMBERS.findall(text):
            names |= {f"{module}.{name}" for name in members.split(", ")}
        for module, words in _SUCH_AS.findall(text):
            names |= {f"{module}.{name}" for name in _CALL.findall(words)}
    for listing in listings:
        names |= imported_names(listing)
    return names - set(_FILES)


def imported_names(listing: str) -> set[str]:
    """Find what a listing imports from us, with the name of its module."""
    return {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(listing))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vinom")
        for alias in node.names
    }


def literal_blocks(page: Path) -> list[str]:
    """Find the blocks that begin after a line which ends in ``::``."""
    text = page.read_text("utf-8")
    found = re.findall(r"(?m)^(?!\.\.).*::\n\n((?:(?: {4}.*)?\n)+)", text)
    return [dedent(block).strip() for block in found]
