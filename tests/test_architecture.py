"""The house keeps its floors: who may import whom, and what lives where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vinom"

GROUND = {"model", "errors", "interfaces", "game"}
#: Column to the columns it may import, beside itself and the ground.
ARROWS: dict[str, set[str]] = {
    "wire": set(),
    "rules": set(),
    "games": set(),
    "net": {"rules", "wire"},
    "storage": {"rules", "wire"},
    "fleet": {"rules", "wire"},
    "services": {"net", "rules", "wire"},
    "web": {"services", "net", "rules", "wire"},
    "client": {"net", "rules", "wire"},
    "tap": {
        "wire",
        "rules",
        "games",
        "net",
        "storage",
        "fleet",
        "services",
        "web",
        "client",
    },
}

#: Library to the files, or columns, that may know it.
HOMES: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("wire/dtls", "net/"),
    "service_identity": ("wire/dtls", "net/", "client/"),
    "cryptography": (
        "wire/tokens",
        "wire/dtls",
        "services/authority",
        "services/keyring",
    ),
    "jwt": ("wire/tokens",),
    "automat": ("wire/", "rules/", "services/"),
    "txredisapi": ("storage/redis",),
    "prometheus_client": ("web/",),
    "websockets": ("wire/websocket",),
    "kubernetes": ("fleet/kubernetes",),
}

#: What the lower floors may take from Twisted: types, marks, and no machinery.
QUIET_TWISTED = {
    "twisted.internet.interfaces",
    "twisted.internet.defer",
    "twisted.plugin",
    "twisted.python.failure",
}


@attrs.frozen
class Import:
    """
    One import of one of our files.

    :ivar source: path inside the package, without ``.py``.
    :ivar is_module_level: it runs when the file is imported.
    """

    source: str
    target: str
    is_module_level: bool

    @property
    def column(self) -> str:
        return self.source.partition("/")[0]


def _walk(
    node: ast.AST, is_module_level: bool = True
) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, is_module_level
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, is_module_level and not inside)


def _imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.relative_to(PACKAGE).with_suffix("").as_posix()
        for node, is_module_level in _walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{source}: relative imports hide floors"
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [Import(source, target, is_module_level) for target in targets]
    return found


class ArchitectureTests(SynchronousTestCase):
    """A change that breaks the design is found before it is merged."""

    imports = _imports()

    def test_arrows_run_down(self) -> None:
        """
        No file imports from a column beside or above its own.
        """
        wrong = []
        for one in self.imports:
            parts = one.target.split(".")
            if parts[0] != "vinom" or len(parts) < 2 or parts[1] == "__version__":
                continue
            below = ARROWS.get(one.column, set()) | GROUND | {one.column}
            if one.source in GROUND:
                below = GROUND
            if one.source != "__init__" and parts[1] not in below:
                wrong.append(f"{one.source} imports {one.target}")
        self.assertEqual(wrong, [])

    def test_every_column_has_a_floor(self) -> None:
        """
        A new folder must say what it may import.
        """
        columns = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
        self.assertEqual(columns, set(ARROWS))

    def test_reactor_is_handed_down(self) -> None:
        """
        Only functions of `tap` import the reactor, so tests choose the clock.
        """
        wrong = [
            one.source
            for one in self.imports
            if one.target.startswith("twisted.internet.reactor")
            and (one.column != "tap" or one.is_module_level)
        ]
        self.assertEqual(wrong, [])

    def test_lower_floors_have_no_machinery(self) -> None:
        """
        What decides and what parses runs without Twisted's event loop.
        """
        wrong = [
            f"{one.source} imports {one.target}"
            for one in self.imports
            if (one.column in ("wire", "rules", "games") or one.source in GROUND)
            and one.target.startswith("twisted")
            and not any(one.target.startswith(quiet) for quiet in QUIET_TWISTED)
        ]
        self.assertEqual(wrong, [])

    def test_libraries_stay_at_home(self) -> None:
        """
        A library can be replaced by changing the few files that know it.
        """
        wrong = [
            f"{one.source} imports {one.target}"
            for one in self.imports
            for library, homes in HOMES.items()
            if one.target.split(".")[0] == library and not one.source.startswith(homes)
        ]
        self.assertEqual(wrong, [])

    def test_lower_floors_have_no_clock_and_no_chance(self) -> None:
        """
        Time and randomness come in as arguments, so every run can be repeated.
        """
        wrong = [
            f"{one.source} imports {one.target}"
            for one in self.imports
            if one.column in ("wire", "rules", "games")
            and f"{one.target}.".startswith(("time.", "random.", "secrets."))
        ]
        self.assertEqual(wrong, [])

    def test_plugin_imports_nothing_of_ours(self) -> None:
        """
        twistd lists its plugins without loading vinom.
        """
        plugin = ROOT / "twisted" / "plugins" / "vinom_plugins.py"
        named = [
            alias.name if isinstance(node, ast.Import) else (node.module or "")
            for node, _ in _walk(ast.parse(plugin.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        self.assertEqual([name for name in named if name.startswith("vinom")], [])

    def test_twisted_stays_a_namespace(self) -> None:
        """
        No ``__init__.py`` of ours hides Twisted itself.
        """
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_files_stay_small(self) -> None:
        """
        No file of the package is so long that nobody reads it whole.
        """
        long = {
            path.relative_to(ROOT).as_posix(): count
            for path in PACKAGE.rglob("*.py")
            if (count := len(path.read_text().splitlines())) > 550
        }
        self.assertEqual(long, {})
