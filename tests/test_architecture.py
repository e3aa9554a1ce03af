"""The house keeps its wings: which may import which, and what lives where."""

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

#: The wings from top to bottom, each with those that it may import: only some below it.
#: ``docs/architecture.rst`` is drawn from this table.
WINGS = {
    "tools": "node gateway client games rooms lobby fleet play net store base",
    "node": "rooms lobby fleet play net store base",
    "gateway": "lobby net store base",
    "client": "net base",
    "games": "",
    "rooms": "lobby fleet play net store base",
    "lobby": "fleet play net store base",
    "fleet": "play net store base",
    "play": "store base",
    "net": "base",
    "store": "base",
    "base": "",
}

#: The files beside the wings, which authors of games import. Every wing may import
#: them; `game` itself is above `base`.
FILES = ("turns", "game", "errors")
#: The file above the wings: what authors' tests import. Of ours, only tools may.
TOP = "testing"

#: What touches Twisted's machinery, time or chance; everything else is pure.
ADAPTERS: dict[str, str] = {
    "tools": "chaos/* check/command check/workers commands/* doctor/*",
    "node": "*",
    "gateway": "access_log admin backends dialing handover http_clients "
    "link_backend listener packet_clients ports routing/sources service twistd",
    "client": "*",
    "rooms": "*",
    "lobby": "conversation/conversation conversation/identity conversation/online "
    "conversation/provider matches/* matchmaking/matchmaker "
    "matchmaking/parties matchmaking/prematch "
    "matchmaking/ratings matchmaking/rounds "
    "results/sending results/service",
    "fleet": "control/link fleet gameserver/* kubernetes/api "
    "kubernetes/fleet kubernetes/pod local/fleet "
    "local/forklink local/forkserver local/outliving local/process match pool "
    "records relay/* server",
    "play": "game_loader hosting/*",
    "net": "dtls/bad_network dtls/client_port dtls/port keys/* "
    "lines/https lines/limits lines/proxied lines/secure "
    "lines/tcp lines/tls lines/websocket nodes "
    "streams/multiplex streams/sockets web/*",
    "store": "memory/* patience redis/*",
    "base": "limits/logged logs reactor/* settings/options",
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
ROOTS = (
    "errors",
    "base/messages/",
    "fleet/control/messages",
    "store/interfaces",
    "fleet/interfaces",
    "game",
)

#: Who may hand the reactor down.
REACTOR_USERS = (
    "node/",
    "gateway/twistd",
    "fleet/gameserver/main",
    "fleet/gameserver/rehearsal",
    "fleet/gameserver/twistd",
    "tools/commands/",
)

#: Library to the files, or packages, that may know it.
HOMES: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("net/dtls/", "net/lines/", "net/openssl", "tools/doctor/"),
    "service_identity": (
        "net/dtls/",
        "net/lines/",
        "client/",
        "tools/doctor/trust",
    ),
    "cryptography": (
        "base/tokens",
        "net/dtls/",
        "net/keys/",
        "node/keys",
        "lobby/conversation/identity",
        "tools/doctor/trust",
        "net/lines/tls",
    ),
    "jwt": ("base/tokens", "lobby/conversation/identity"),
    "automat": (
        "fleet/",
        "lobby/matches/",
        "lobby/conversation/",
        "lobby/matchmaking/",
        "net/dtls/",
    ),
    "txredisapi": ("store/redis",),
    "prometheus_client": ("net/web/", "node/web/", "gateway/admin"),
    "openskill": ("lobby/matchmaking/ratings",),
    "segno": ("node/web/pages",),
    "websockets": (
        "net/lines/ws_stream",
        "net/lines/websocket",
    ),
    "kubernetes": ("fleet/kubernetes",),
    "uhashring": ("gateway/routing/router",),
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
    def wing(self) -> str:
        """The wing, or the file beside the wings, that *source* is of."""
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
                assert node.level == 0, f"{source}: relative imports hide wings"
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
        A wing imports only what its row names, and all of that is below it.
        """
        wings = list(WINGS)
        for number, (wing, below) in enumerate(WINGS.items()):
            self.assertEqual(set(below.split()) - set(wings[number + 1 :]), set(), wing)
        may = {wing: {wing, *below.split(), *FILES} for wing, below in WINGS.items()}
        may |= {
            TOP: {"play", "base", *FILES},
            "tools": {*may["tools"], TOP},
            "base": {"base", "errors"},
            "turns": {"game", "base", "errors"},
            "game": {"base", "errors"},
            "errors": set(),
        }
        self.assertEqual(
            [
                f"{one.source} imports {one.target}"
                for one, module in self.ours()
                if module.partition("/")[0] not in (*may[one.wing], "__init__")
            ],
            [],
        )

    def test_every_wing_says_what_it_is(self) -> None:
        """
        There are these wings and files, and no others; each says what is in it.
        """
        found = {source.partition("/")[0] for source in self.sources}
        self.assertEqual(found, {"__init__", TOP, *WINGS, *FILES})
        for wing in WINGS:
            said = ast.get_docstring(self.sources[f"{wing}/__init__"])
            self.assertIsNotNone(said, wing)

    def test_wings_import_nothing_by_themselves(self) -> None:
        """
        Who imports one module does not pay for its neighbours.
        """
        heavy = [one.source for one in self.imports if one.source.endswith("/__init__")]
        self.assertEqual(heavy, [])

    def test_no_circle_even_for_types(self) -> None:
        """
        Every module can be read before those that use it: imports for types count.
        """
        uses: dict[str, set[str]] = defaultdict(set)
        for one, module in self.ours():
            if module != one.source:
                uses[one.source].add(module)
        self.assertEqual(_circles(uses), [])

    def test_no_circle_of_folders(self) -> None:
        """
        Inside a wing, too, a folder can be read before those that use it.
        """
        uses: dict[str, set[str]] = defaultdict(set)
        for one, module in self.ours():
            source, target = _folder(one.source), _folder(module)
            if source != target:
                uses[source].add(target)
        self.assertEqual(_circles(uses), [])

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
        A stranger's text reaches no terminal unescaped: one file of ours prints.
        """
        wrong = [
            source
            for source, tree in self.sources.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            # What the fork server prints is read by the node, and logged.
            and source not in ("base/printable", "fleet/local/forkserver")
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
            f"{wing}/{name}"
            for wing, names in ADAPTERS.items()
            for name in names.split()
            if not (PACKAGE / wing / name.removesuffix("*")).is_dir()
            and f"{wing}/{name}" not in self.sources
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
            "Take something away, or raise it there and say why: see CONTRIBUTING.md.",
        )


def _circles(uses: dict[str, set[str]]) -> list[str]:
    """Find ways along *uses* that come back to where they began."""
    done: set[str] = set()
    circles = []

    def visit(one: str, path: tuple[str, ...]) -> None:
        if one in path:
            circles.append(" -> ".join([*path[path.index(one) :], one]))
            return
        if one in done:
            return
        for used in sorted(uses.get(one, ())):
            visit(used, (*path, one))
        done.add(one)

    for one in sorted(uses):
        visit(one, ())
    return circles


def _folder(source: str) -> str:
    """Name a wing's folder that a module is in, or the module itself."""
    return "/".join(source.split("/")[:2])


def _is_adapter(source: str) -> bool:
    wing, _, name = source.partition("/")
    listed = ADAPTERS.get(wing, "").split()
    return (
        "*" in listed
        or name in listed
        or any(name.startswith(one[:-1]) for one in listed if one.endswith("/*"))
    )


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
