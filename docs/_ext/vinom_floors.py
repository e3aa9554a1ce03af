"""A directive that draws the floors from the list that the architecture test uses."""

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


def read_floors(source: str) -> list[list[str]]:
    """Find the list in the test's source, without importing the test."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return [floor.split() for floor in ast.literal_eval(node.value)]
    raise LookupError("tests/test_architecture.py has no FLOORS")


def draw(floors: list[list[str]]) -> str:
    """Draw the house, its ground at the bottom."""
    line = "+" + "-" * (WIDTH + 2) + "+"
    drawn = [line]
    for floor in reversed(floors):
        drawn += [f"| {'   '.join(floor).center(WIDTH)} |", line]
    return "\n".join(drawn)


def paragraph_of(concept: str) -> str:
    """Read what a package or module says of itself."""
    package = PACKAGE / concept / "__init__.py"
    path = package if package.is_file() else PACKAGE / f"{concept}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split())


class Floors(SphinxDirective):
    """``.. vinom-floors::``"""

    def run(self) -> list[nodes.Node]:
        test = ROOT / "tests" / "test_architecture.py"
        self.env.note_dependency(str(test))
        floors = read_floors(test.read_text(encoding="utf-8"))
        picture = draw(floors)
        lines = ["::", "", *(f"   {row}" for row in picture.splitlines()), ""]
        for floor in floors:
            for concept in floor:
                # In docstrings single back quotes name our own code.
                text = paragraph_of(concept).replace("`", "``").replace("````", "``")
                lines += [f"``{concept}``", f"   {text}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; Sphinx calls this."""
    app.add_directive("vinom-floors", Floors)
    return {"version": "1", "parallel_read_safe": True}
