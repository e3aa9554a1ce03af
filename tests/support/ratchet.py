"""
How heavy the house is, in ten numbers, none of which may rise.

``python -m tests.support.ratchet`` prints them, with what ``tests/ratchet.toml`` keeps
of each; ``--lower`` keeps what has fallen. Who must raise one does so by hand there.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vinom"
KEPT = ROOT / "tests" / "ratchet.toml"


@cache
def _read(path: Path) -> tuple[str, ast.Module]:
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def _classes() -> list[ast.ClassDef]:
    return [
        node
        for path in _modules()
        for node in ast.walk(_read(path)[1])
        if isinstance(node, ast.ClassDef)
    ]


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        part
        for part in node.body
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def code_lines(path: Path) -> int:
    """Count a file's lines without blanks, comments and docstrings."""
    text, tree = _read(path)
    lines = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            documented.update(_span(node))
        elif _is_text(node) or isinstance(node, ast.JoinedStr):
            # Its blank lines are code, too.
            lines.update(_span(node))
    return len(lines - documented)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _span(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or 0) + 1)


def _lines_of(folder: Path, pattern: str) -> int:
    return sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in folder.rglob(pattern)
    )


def entries() -> int:
    """Count what stands at the top of the package, for a reader to choose from."""
    files = ("__init__.py", "__pycache__", "py.typed")
    return sum(path.name not in files for path in PACKAGE.iterdir())


def store_steps() -> int:
    """Count the methods of interfaces that stores implement, and of what they call."""
    return sum(
        len(_methods(node))
        for node in _classes()
        if node.name.endswith(("Store", "OnlineWatch"))
        and [ast.unparse(base) for base in node.bases] == ["Interface"]
    )


def settings() -> int:
    """Count the rows of the tables of a node's settings and of a gateway's."""
    return sum(
        isinstance(part, ast.AnnAssign)
        for wing in ("node", "gateway")
        for node in _read(PACKAGE / wing / "settings.py")[1].body
        if isinstance(node, ast.ClassDef)
        and node.name in ("Settings", "GatewaySettings")
        for part in node.body
    )


#: Each with its name in the file.
NUMBERS: dict[str, Callable[[], int]] = {
    "entries of vinom/": entries,
    "lines of code": lambda: sum(code_lines(path) for path in _modules()),
    "modules": lambda: len(_modules()),
    "classes over 30 methods": lambda: sum(
        len(_methods(node)) > 30 for node in _classes()
    ),
    "constructors over 8 arguments": lambda: sum(
        len(method.args.args) + len(method.args.kwonlyargs) - 1 > 8
        for node in _classes()
        for method in _methods(node)
        if method.name == "__init__"
    ),
    "steps of the store": store_steps,
    "lines of Lua": lambda: _lines_of(PACKAGE, "*.lua"),
    "settings": settings,
    "lines of tests": lambda: _lines_of(ROOT / "tests", "*.py"),
    "words of docs": lambda: sum(
        len(path.read_text(encoding="utf-8").split())
        for path in (ROOT / "docs").rglob("*.rst")
    ),
}


def kept() -> dict[str, int]:
    """Read how large each number may be."""
    return tomllib.loads(KEPT.read_text(encoding="utf-8"))


def table(now: dict[str, int]) -> str:
    """Write each number beside what it may be."""
    most = kept()
    rows = [
        f"{name:30}{most.get(name, 0):8}{number:8}"
        f"{'  risen' if number > most.get(name, 0) else ''}"
        for name, number in now.items()
    ]
    return "\n".join([f"{'':30}{'kept':>8}{'now':>8}", *rows])


def main(arguments: list[str]) -> None:
    """Print the table; with ``--lower``, keep what has fallen."""
    now = {name: count() for name, count in NUMBERS.items()}
    print(table(now))
    if arguments == ["--lower"]:
        most = kept()
        KEPT.write_text(
            "".join(
                f'"{name}" = {min(number, most.get(name, number))}\n'
                for name, number in now.items()
            ),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
