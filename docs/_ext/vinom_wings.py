"""A directive that draws the wings from the table that the architecture test uses."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vinom"
#: Inside of the picture's frame, characters.
WIDTH = 74


def read_wings(source: str) -> dict[str, str]:
    """Find the table in the test's source, without importing the test."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WINGS":
            return dict(ast.literal_eval(node.value))
    raise LookupError("tests/test_architecture.py has no WINGS")


def draw(wings: dict[str, str]) -> str:
    """Draw the house: each wing with those that it imports, which are all below it."""
    line = "+" + "-" * (WIDTH + 2) + "+"
    drawn = [line]
    for wing, below in wings.items():
        drawn += [f"| {f'{wing:9} {below}':{WIDTH}} |", line]
    return "\n".join(drawn)


def paragraph_of(wing: str) -> str:
    """Read what a wing says of itself."""
    path = PACKAGE / wing / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split())


class Wings(SphinxDirective):
    """``.. vinom-wings::``"""

    def run(self) -> list[nodes.Node]:
        test = ROOT / "tests" / "test_architecture.py"
        self.env.note_dependency(str(test))
        wings = read_wings(test.read_text(encoding="utf-8"))
        lines = ["::", "", *(f"   {row}" for row in draw(wings).splitlines()), ""]
        for wing in wings:
            # In docstrings single back quotes name our own code.
            text = paragraph_of(wing).replace("`", "``").replace("````", "``")
            lines += [f"``{wing}``", f"   {text}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; Sphinx calls this."""
    app.add_directive("vinom-wings", Wings)
    return {"version": "1", "parallel_read_safe": True}
