"""Sphinx's configuration."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from vinom import __version__  # noqa: E402  # found by the line above

project = "Vinom"
copyright = "2026, the Vinom contributors"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "vinom_wings", "vinom_messages", "vinom_settings"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Vinom {version}"
nitpicky = True
# Names of other projects, and types that appear only in annotations.
nitpick_ignore_regex = [
    (r"py:.*", r"(attrs?|collections|msgspec|typing|twisted|zope|S|A|Seat)(\..*)?"),
    (r"py:exc", r"(Refused|Rejected|Unreadable)"),
    (r"py:class", r"(Hashable|Sequence|Any|ClassVar|Literal|Struct)"),
    (r"py:.*", r"vinom\..*"),
]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
