"""``vinom schema``, as the author of a client types it."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any, ClassVar

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.games.tictactoe import TicTacToe
from vinom.tools.commands.cli import declare
from vinom.tools.schema import command


class Shouted(Struct, frozen=True):
    """Somebody shouted."""

    how: str


class Loud(TicTacToe):
    """Declares an event of its own."""

    name = "tictactoe"
    tells: ClassVar[Any] = {"shouted": Shouted}


def run_command(*arguments: str) -> tuple[int, str]:
    """Run the command; the exit code and what it prints."""
    parser = argparse.ArgumentParser()
    declare(command, parser)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = command.run(parser.parse_args(arguments))
    return code, out.getvalue()


LOUD = "tests.tools.schema.test_command:Loud"


class SchemaTests(SynchronousTestCase):
    def test_json(self) -> None:
        """
        Without more words it prints a JSON Schema.
        """
        code, out = run_command("tictactoe")
        self.assertEqual(code, 0)
        found = json.loads(out)
        self.assertEqual(found["title"], "TicTacToe")
        self.assertIn("Place", found["$defs"])

    def test_lock(self) -> None:
        """
        A file keeps what was agreed; what differs from it is named, and exits 1.
        """
        lock = Path(self.mktemp())
        self.assertEqual(run_command("tictactoe", "--lock", str(lock)), (0, ""))
        compare = ("--lock", str(lock), "--check")
        self.assertEqual(run_command("tictactoe", *compare), (0, ""))
        code, out = run_command(LOUD, *compare)
        self.assertEqual(code, 1)
        lines = out.splitlines()
        self.assertIn("tictactoe: event 'shouted' is new", lines)
        self.assertIn("tictactoe: Shouted is new", lines)
        self.assertIn("tictactoe: other events was sent, is not sent", lines)
        kept = json.loads(lock.read_text())
        view = kept["$defs"]["TicTacToeView"]
        view["properties"]["turn"] = {"type": "integer"}
        view["properties"]["old"] = {"type": "integer"}
        view["description"] = "Other words."
        kept["$defs"]["Place"]["required"].remove("row")
        lock.write_text(json.dumps(kept))
        _, out = run_command("tictactoe", *compare)
        self.assertRegex(
            out,
            r'\Atictactoe: TicTacToeView.turn was {"type": "integer"}, is {"anyOf.*\n'
            r"tictactoe: TicTacToeView.old is gone\n"
            r"tictactoe: Place.row was .*, or left out, is .*\n"
            r"if that is right, write \S+ again without --check\n\Z",
        )

    def test_mistakes(self) -> None:
        """
        A lock that is not there, or no lock, is one sentence.
        """
        lock = Path(self.mktemp())
        with self.assertRaisesRegex(Misconfigured, "--check needs --lock FILE"):
            run_command("tictactoe", "--check")
        with self.assertRaisesRegex(Misconfigured, "can't be compared: .*No such file"):
            run_command("tictactoe", "--lock", str(lock), "--check")
        lock.write_text("[]")
        with self.assertRaisesRegex(Misconfigured, "can't be compared"):
            run_command("tictactoe", "--lock", str(lock), "--check")
