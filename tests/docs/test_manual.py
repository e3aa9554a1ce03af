"""The manual is true: its listings run, its lists are complete."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
import tomllib
import types
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vinom.node.settings import TABLE, gather
from vinom.tools.check.trial import try_game
from vinom.tools.commands import cli
from vinom.tools.commands.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def pages(docs: Path) -> list[Path]:
    """Every page of a manual."""
    return sorted(path for path in docs.rglob("*.rst") if "_build" not in path.parts)


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    found: list[list[str]] = []
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(rf"\s*\.\. code-block:: {language}$", line):
            inside = True
            found.append([])
        elif inside and line.strip() and not line.startswith("   "):
            inside = False
        elif inside:
            found[-1].append(line.removeprefix("   "))
    return ["\n".join(lines).strip() for lines in found]


class ManualTests(SynchronousTestCase):
    """
    A reader who copies from the manual gets what the manual says.

    :cvar docs: where the manual lies.
    """

    docs = DOCS

    def test_python_listings_are_python(self) -> None:
        """
        Every Python listing, on a page or in a file, can be compiled.
        """
        for path in pages(self.docs):
            for listing in blocks(path, "python"):
                try:
                    ast.parse(listing)
                except SyntaxError as error:
                    self.fail(f"{path.relative_to(self.docs)}: {error}:\n{listing}")
        for path in self.docs.rglob("listings/*.py"):
            ast.parse(path.read_text(encoding="utf-8"))

    def test_settings_files_are_read(self) -> None:
        """
        Every TOML example that a node would read is accepted by it.
        """
        listings = [
            listing
            for path in pages(self.docs)
            for listing in blocks(path, "toml")
            if set(tomllib.loads(listing)) & {row.name for row in TABLE}
        ]
        self.assertGreaterEqual(len(listings), 3)
        for listing in listings:
            path = Path(self.mktemp())
            path.write_text(listing, encoding="utf-8")
            gather({}, {}, path)

    def test_commands_exist(self) -> None:
        """
        Every ``vinom`` command on a page is one of the program's.
        """
        for path in pages(self.docs):
            text = path.read_text(encoding="utf-8")
            command = r"(?m)(?:^ +\$ .*\bvinom|``vinom) ([a-z][a-z-]*)"
            for name in re.findall(command, text):
                if name not in COMMANDS:
                    self.fail(f"{path.relative_to(self.docs)}: vinom {name}")

    def test_commands_are_understood(self) -> None:
        """
        The parser accepts every ``vinom`` command on a page.
        """
        typed = 0
        for path in pages(self.docs):
            text = path.read_text(encoding="utf-8")
            text = re.sub(r" \\\n *", " ", text)
            for line in re.findall(r"(?m)^ +\$ (?:\S+/)?vinom ([a-z]+.*)$", text):
                name, *arguments = shlex.split(line.partition(" > ")[0], comments=True)
                command = cli.command_of(name)
                parser = argparse.ArgumentParser(exit_on_error=False)
                cli.declare(command, parser)
                try:
                    parser.parse_args(arguments)
                except (argparse.ArgumentError, SystemExit) as error:
                    self.fail(f"{path.relative_to(self.docs)}: vinom {line}: {error}")
                typed += 1
        self.assertGreaterEqual(typed, 10)

    def test_commands_are_run(self) -> None:
        """
        Each listing of commands names what runs it, or says why nothing does.
        """
        for path in pages(self.docs):
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines):
                if not line.endswith(".. code-block:: console"):
                    continue
                where = f"{path.relative_to(self.docs)}:{number + 1}"
                mark = re.match(r" *\.\. (?:(run by)|not run): (.+)", lines[number - 2])
                assert mark, f"{where}: not marked as 'run by: FILE' or 'not run: WHY'"
                files = re.findall(r"[\w./-]+\.(?:py|ini)", mark[2])
                self.assertFalse(mark[1] and not files, where)
                for file in files:
                    self.assertTrue((ROOT / file).exists(), f"{where}: {file}")

    def test_options_exist(self) -> None:
        """
        Every setting that a page names as an option is in the table.
        """
        known = {row.flag for row in TABLE} | {"config", "help", "version"}
        page = (self.docs / "howto" / "operate.rst").read_text(encoding="utf-8")
        for listing in re.findall(r"twistd.* vinom (--.*)$", page, re.MULTILINE):
            for flag in re.findall(r"--([a-z-]+)", listing):
                self.assertIn(flag, known | {"help-auth"})


class ProjectTests(SynchronousTestCase):
    """What the project's files say of each other is true."""

    def test_decisions_are_short_and_dated(self) -> None:
        """
        A decision record is half a page, has a date, and is found by its number.
        """
        numbers = []
        for path in sorted((DOCS / "decisions").glob("*.rst")):
            text = path.read_text(encoding="utf-8")
            _, *records = re.split(r"^\.\. _decision-(\d{4}):\n\n", text, flags=re.M)
            for number, record in zip(records[::2], records[1::2], strict=True):
                numbers.append(number)
                lines = record.splitlines()
                self.assertTrue(lines[0].startswith(f"{number} "), lines[0])
                self.assertRegex(lines[3], r"^\*20\d\d-\d\d-\d\d\*$", number)
                self.assertLess(len(lines), 60, number)
        self.assertGreater(len(numbers), 30)
        self.assertEqual(len(numbers), len(set(numbers)))

    def test_readme_is_short_and_leads_somewhere(self) -> None:
        """
        The README fits on a screen or two, and none of its links is broken.
        """
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertLessEqual(len(readme.splitlines()), 90)
        links = re.findall(r"\]\(([^)]+)\)", readme)
        self.assertGreater(len(links), 9)
        self.assertEqual([link for link in links if not (ROOT / link).exists()], [])

    def test_readme_shows_a_whole_game(self) -> None:
        """
        The README's game passes ``vinom check``, in as many lines as it says.
        """
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        (listing,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        lines = [line for line in listing.splitlines() if line.strip()]
        self.assertLessEqual(len(lines), 40)
        self.assertIn(f"in {len(lines)} lines of code", readme)
        module = types.ModuleType("ttt")
        sys.modules["ttt"] = module
        self.addCleanup(sys.modules.pop, "ttt")
        exec(listing, vars(module))
        trial = try_game(module.TicTacToe(), "ttt", 2, 11)
        self.assertEqual(trial.findings, [])

    def test_ci_runs_the_readme(self) -> None:
        """
        ``.ci/run`` tests with the very command of the README.
        """
        readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        (command,) = (line.strip() for line in readme if line.endswith("bin/tox"))
        script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        self.assertIn(f"{command} || status=$?", [line.strip() for line in script])

    def test_every_test_has_a_tier(self) -> None:
        """
        No folder of tests is forgotten by all three tiers of tox.
        """
        config = (ROOT / "tox.ini").read_text(encoding="utf-8")
        _, _, tiers = config.partition("[tier]")
        listed = re.findall(r"tests(?:\.\w+)+", tiers.partition("[testenv]")[0])
        places = [path for path in (ROOT / "tests").iterdir() if path.name != "alone"]
        places += (ROOT / "tests" / "alone").iterdir()
        found = {
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in places
            if path.suffix == ".py" or any(path.rglob("test_*.py"))
        }
        self.assertEqual(
            {name for name in found if not name.endswith("__init__")} - set(listed),
            set(),
        )

    def test_minimum_is_what_we_promise(self) -> None:
        """
        ``tox -e minimum`` tests every lower bound, and no other version.
        """
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        promised = {
            re.sub(r"\[.*?\]", "", bound).replace(">=", "==")
            for bound in (
                *project["project"]["dependencies"],
                *project["project"]["optional-dependencies"]["kubernetes"],
            )
        }
        text = (ROOT / ".ci" / "minimum.txt").read_text(encoding="utf-8")
        tested = {line for line in text.splitlines() if not line.startswith("#")}
        self.assertEqual(tested, promised)
