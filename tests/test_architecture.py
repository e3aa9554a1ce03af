"""The house keeps its floors: which package may import which, and what lives where."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.support import ratchet

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vinom"

#: Floors from the ground up: a concept imports itself and lower floors, never a
#: neighbour. ``docs/architecture.rst`` is drawn from this list.
FLOORS = (
    "errors printable wall",
    "model logs tables",
    "game ports tokens messages limits",
    "play games packets presentation reactor",
    "control store",
    "dtls hosting lines fleet game_loader settings",
    "check client conversation keys promises results streams",
    "gameserver matches http routing",
    "rooms",
    "matchmaking relay",
    "desk web",
    "gateway",
    "node",
    "doctor commands",
    "chaos",
)

#: What touches Twisted's machinery, time or chance; everything else is pure.
ADAPTERS: dict[str, str] = {
    "client": "*",
    "chaos": "*",
    "check": "command workers",
    "commands": "*",
    "control": "link nodes",
    "conversation": "conversation identity online provider",
    "desk": "*",
    "doctor": "*",
    "dtls": "port client_port bad_network",
    "fleet": "fleet hosted key_sharing kubernetes/api kubernetes/fleet "
    "kubernetes/pods kubernetes/watching local/fleet local/forklink "
    "local/forkserver local/mailbox records server several",
    "game_loader": "*",
    "gameserver": "*",
    "gateway": "access_log admin backends bytes_door certificates dialing draining "
    "handover http_door link_backend link_tls listener packet_sockets "
    "packets_door ports service tcp_backend twistd",
    "hosting": "*",
    "keys": "*",
    "limits": "logged",
    "lines": "tcp websocket tls proxied secure reserve counted https sniffed",
    "logs": "*",
    "matches": "*",
    "matchmaking": "matchmaker news parties prematch ratings",
    "node": "*",
    "reactor": "*",
    "relay": "*",
    "results": "sending service",
    "rooms": "*",
    "routing": "checks redis_source routes sources",
    "settings": "options",
    "store": "*",
    "streams": "byte_stream intake multiplex outlet",
    "web": "*",
}

#: What pure code may take from Twisted: types, marks, and no machinery.
QUIET_TWISTED = (
    "twisted.internet.interfaces",
    "twisted.internet.defer",
    "twisted.plugin",
    "twisted.python.failure",
)

#: Whose classes are made to be inherited: errors, messages, ports, and games, which
#: authors write. They do not count as a level of a hierarchy.
ROOTS = ("errors", "messages/", "control/messages", "ports", "game")

#: Who may hand the reactor down.
REACTOR_USERS = (
    "node/",
    "gateway/twistd",
    "gameserver/main",
    "gameserver/rehearsal",
    "gameserver/twistd",
    "commands/",
)

#: Library to the files, or packages, that may know it.
HOMES: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("dtls/", "lines/", "doctor/"),
    "service_identity": ("dtls/", "lines/", "client/"),
    "cryptography": (
        "tokens",
        "dtls/",
        "keys/",
        "conversation/identity",
        "doctor/trust",
        "lines/tls",
    ),
    "jwt": ("tokens", "conversation/identity"),
    "automat": ("fleet/", "matches/", "conversation/", "matchmaking/", "dtls/"),
    "txredisapi": ("store/redis",),
    "prometheus_client": ("web/", "gateway/metrics"),
    "openskill": ("matchmaking/skill",),
    "segno": ("web/invitations",),
    "websockets": ("lines/ws/", "lines/websocket"),
    "kubernetes": ("fleet/kubernetes",),
    "uhashring": ("routing/router",),
}


def floors() -> dict[str, int]:
    """Number every concept's floor, from the ground up."""
    return {
        concept: number
        for number, floor in enumerate(FLOORS)
        for concept in floor.split()
    }


@attrs.frozen
class Import:
    """
    One import of one of our files.

    :ivar source: path inside the package, without ``.py``.
    :ivar target: dotted, down to the name that is taken.
    :ivar is_module_level: it runs when the file is imported.
    """

    source: str
    target: str
    is_module_level: bool

    @property
    def concept(self) -> str:
        """The package, or the module of the ground, that *source* is of."""
        return self.source.partition("/")[0]


def _walk(
    node: ast.AST, is_module_level: bool = True
) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, is_module_level
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, is_module_level and not inside)


@cache
def _sources() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix(): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def _imports(sources: dict[str, ast.Module]) -> list[Import]:
    found = []
    for source, tree in sources.items():
        for node, is_module_level in _walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{source}: relative imports hide floors"
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [Import(source, target, is_module_level) for target in targets]
    return found


def _module_of(target: str, sources: dict[str, ast.Module]) -> str | None:
    """Find which of our files an import's target is in."""
    path = target.removeprefix("vinom.").replace(".", "/")
    while path:
        if path in sources:
            return path
        path = path.rpartition("/")[0]
    return None


class ArchitectureTests(SynchronousTestCase):
    """A change that breaks the design is found before it is merged."""

    sources = _sources()
    imports = _imports(sources)

    def ours(self) -> Iterator[tuple[Import, str]]:
        """List the imports between files of ours, with the file that is imported."""
        for one in self.imports:
            if one.target.startswith("vinom."):
                module = _module_of(one.target, self.sources)
                if module is not None and one.source != "__init__":
                    yield one, module

    def test_imports_go_down(self) -> None:
        """
        No file imports from a floor above its own, or from a neighbour.
        """
        floor = floors()
        wrong = []
        for one, module in self.ours():
            concept = module.partition("/")[0]
            if concept not in (one.concept, "__init__") and (
                floor[concept] >= floor[one.concept]
            ):
                wrong.append(f"{one.source} imports {one.target}")
        self.assertEqual(wrong, [])

    def test_every_concept_has_a_floor(self) -> None:
        """
        A new package, or module beside the packages, must say where it stands.
        """
        concepts = {source.partition("/")[0] for source in self.sources}
        # What finds old paths knows them as texts only.
        beside = {"__init__", "_moved"}
        self.assertEqual(concepts - beside - set(floors()), set())

    def test_no_circle_even_for_types(self) -> None:
        """
        Every module can be read before those that use it: imports for types count.
        """
        uses: dict[str, set[str]] = defaultdict(set)
        for one, module in self.ours():
            if module != one.source:
                uses[one.source].add(module)
        done: set[str] = set()
        circles = []

        def visit(module: str, path: tuple[str, ...]) -> None:
            if module in path:
                circles.append(" -> ".join([*path[path.index(module) :], module]))
                return
            if module in done:
                return
            for used in sorted(uses[module]):
                visit(used, (*path, module))
            done.add(module)

        for source in self.sources:
            visit(source, ())
        self.assertEqual(circles, [])

    def test_nobody_inherits_private_names(self) -> None:
        """
        A class is read in one file: it uses no ``_name`` of a base in another one.
        """
        classes = _classes(self.sources)
        wrong = []
        for (source, name), node in classes.items():
            inherited = {
                private: home
                for home, base in _bases(source, name, classes, self.sources)
                if home != source
                for private in _privates_of(base)
            }
            used = {
                part.attr
                for part in ast.walk(node)
                if isinstance(part, ast.Attribute)
                and isinstance(part.value, ast.Name)
                and part.value.id == "self"
            }
            wrong += [
                f"{source}: {name} uses {private} of {inherited[private]}"
                for private in sorted(used & set(inherited))
            ]
        self.assertEqual(wrong, [])

    def test_no_deep_hierarchies(self) -> None:
        """
        What an object does is found in its class and one base: the rest is composed.
        """
        classes = _classes(self.sources)

        def levels(source: str, name: str) -> int:
            """Count the classes of ours above one another that this one has."""
            return max(
                (
                    (not _is_root(home)) + levels(home, base.name)
                    for home, base in _direct(source, name, classes, self.sources)
                ),
                default=0,
            )

        deep = [
            f"{source}: {name}" for source, name in classes if levels(source, name) > 1
        ]
        self.assertEqual(deep, [])

    def test_no_prefix_groups(self) -> None:
        """
        Three files ``x_*.py`` of one folder belong in a package.
        """
        groups = Counter(
            (path.parent.relative_to(PACKAGE).as_posix(), path.stem.partition("_")[0])
            for path in PACKAGE.rglob("*_*.py")
            if not path.stem.startswith("_")
        )
        self.assertEqual([group for group, count in groups.items() if count > 2], [])

    def test_one_file_prints(self) -> None:
        """
        A stranger's text reaches no terminal unescaped: only `vinom.printable` prints.
        """
        wrong = [
            source
            for source, tree in self.sources.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            # What the fork server prints is read by the node, and logged.
            and source not in ("printable", "fleet/local/forkserver")
        ]
        self.assertEqual(wrong, [])

    def test_only_adapters_touch_twisted(self) -> None:
        """
        What decides and what parses runs without Twisted's event loop.
        """
        wrong = [
            f"{one.source} imports {one.target}"
            for one in self.imports
            if not _is_adapter(one.source)
            and one.target.startswith("twisted")
            and not one.target.startswith(QUIET_TWISTED)
        ]
        self.assertEqual(wrong, [])

    def test_only_adapters_have_clocks_and_chance(self) -> None:
        """
        Time and randomness come in as arguments, so every run can be repeated.
        """
        wrong = [
            f"{one.source} imports {one.target}"
            for one in self.imports
            if not _is_adapter(one.source)
            and f"{one.target}.".startswith(("time.", "random.", "secrets."))
        ]
        self.assertEqual(wrong, [])

    def test_adapters_exist(self) -> None:
        """
        The list of adapters names no file that is gone.
        """
        gone = [
            f"{concept}/{name}"
            for concept, names in ADAPTERS.items()
            for name in names.split()
            if name != "*" and f"{concept}/{name}" not in self.sources
        ]
        self.assertEqual(gone, [])

    def test_reactor_is_handed_down(self) -> None:
        """
        Only functions of programs import the reactor, so tests choose the clock.
        """
        wrong = [
            one.source
            for one in self.imports
            if one.target.startswith("twisted.internet.reactor")
            and (one.is_module_level or not one.source.startswith(REACTOR_USERS))
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

    def test_plugin_imports_nothing_of_ours(self) -> None:
        """
        twistd lists its plugins without loading vinom.
        """
        plugin = ROOT / "twisted" / "plugins" / "vinom_plugins.py"
        named = [
            alias.name if isinstance(node, ast.Import) else (node.module or "")
            for node, _ in _walk(ast.parse(plugin.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        self.assertEqual([name for name in named if name.startswith("vinom")], [])

    def test_twisted_stays_a_namespace(self) -> None:
        """
        No ``__init__.py`` of ours hides Twisted itself.
        """
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class RatchetTests(SynchronousTestCase):
    """The house gets lighter, or stays as heavy as it is."""

    def test_no_number_rises(self) -> None:
        """
        Whoever adds a concept takes another one away, or says that the house grows.
        """
        now = {name: count() for name, count in ratchet.NUMBERS.items()}
        most = ratchet.kept()
        self.assertEqual(set(now), set(most))
        risen = [name for name, number in now.items() if number > most[name]]
        self.assertEqual(
            risen,
            [],
            f"more than tests/ratchet.toml keeps:\n{ratchet.table(now)}\n"
            "Take something away, or raise it there if an issue says that it may.",
        )


def _is_adapter(source: str) -> bool:
    concept, _, name = source.partition("/")
    listed = ADAPTERS.get(concept, "")
    return listed == "*" or name in listed.split()


_Classes = dict[tuple[str, str], ast.ClassDef]


def _classes(sources: dict[str, ast.Module]) -> _Classes:
    return {
        (source, node.name): node
        for source, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


def _is_root(source: str) -> bool:
    return any(
        source.startswith(root) if root.endswith("/") else source == root
        for root in ROOTS
    )


def _bases(
    source: str, name: str, classes: _Classes, sources: dict[str, ast.Module]
) -> Iterator[tuple[str, ast.ClassDef]]:
    """Find all classes of ours that a class inherits from, with their files."""
    for home, base in _direct(source, name, classes, sources):
        yield home, base
        yield from _bases(home, base.name, classes, sources)


@cache
def _imported(module: ast.Module) -> dict[str, str]:
    """Map each name that a module takes from another to its dotted path."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _direct(
    source: str, name: str, classes: _Classes, sources: dict[str, ast.Module]
) -> Iterator[tuple[str, ast.ClassDef]]:
    """Find the classes of ours that a class names as its bases, with their files."""
    bases = classes[source, name].bases
    if not bases:
        return
    imported = _imported(sources[source])
    for base in bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        if not isinstance(named, ast.Name):
            continue
        target = imported.get(named.id)
        home = source if target is None else _module_of(target, sources)
        key = (home or "", named.id if target is None else target.rpartition(".")[2])
        if key in classes and key != (source, name):
            yield key[0], classes[key]


def _privates_of(node: ast.ClassDef) -> set[str]:
    """Collect the private names that a class defines: methods, fields, ``self._x``."""
    names = set()
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(part.name)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            names.add(part.attr)
    return {
        name for name in names if name.startswith("_") and not name.startswith("__")
    }
