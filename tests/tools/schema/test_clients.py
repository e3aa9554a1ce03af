"""Clients in other languages that use what ``vinom schema`` writes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.support.needs import path_of
from vinom.game import Game
from vinom.play.contract import contract_of, document
from vinom.play.game_loader import load_games
from vinom.tools.schema.csharp import csharp
from vinom.tools.schema.gdscript import gdscript
from vinom.tools.schema.kinds import Reading


class Piece(Struct, frozen=True):
    """A piece."""

    kind: Literal["rook", "pawn"]
    round: int


class Shown(Struct, frozen=True):
    """
    A board.

    :ivar rows: pieces & none, row by row.
    """

    rows: tuple[tuple[Piece | None, ...], ...]
    last: Piece | None
    turn: int | None
    names: dict[str, float]
    shown: Literal[1, 2] = 1


class Move(Struct, frozen=True, tag="move", forbid_unknown_fields=True):
    """Move a piece."""

    to: tuple[int, int]
    speed: float = 0.5
    note: str | None = None


class Pass(Struct, frozen=True, tag="pass"):
    """Move nothing."""


class Chess(Game[Any, Move | Pass]):
    """Declares all kinds of things."""

    actions = Move | Pass
    shows = Shown
    tells = {"moved": Piece, "passed": None}  # noqa: RUF012 - as authors write it


class Tree(Struct, frozen=True, rename={"x": "my-x", "y": "1y"}):
    """Has names that mean something else, or nothing, in another language."""

    x: int
    y: int
    to_string: str
    a_b: int
    aB: int
    tree: int
    script: str = ""


class Woods(Game[Any, Pass]):
    """Has a part with odd names."""

    actions = Pass
    shows = Tree


#: Reads a view, an event and an action, and prints them again.
USE = """
extends SceneTree

const Chess = preload("res://chess.gd")

func _init():
	var view = {"rows": [[{"kind": "rook", "round": 2.0}, null]], "last": null,
		"turn": 1.0, "names": {"ann": 0.5}, "shown": 1.0}
	var made = Chess.Shown.from_dict(view)
	print("READ ", made.rows[0][0].round_ + made.turn, made.last == null)
	print("JSON ", to_json(made.to_dict()))
	var moved = Chess.Events.from_dict("moved", view["rows"][0][0])
	print("JSON ", to_json(moved.to_dict()))
	var move = Chess.Move.new()
	move.to = [1, 2]
	print("JSON ", to_json(move.to_dict()))
	print("JSON ", to_json(Chess.Pass.new().to_dict()))
	print("LOADED ", GAMES)
	quit()
"""


def reading_of(game: Game[Any, Any]) -> Reading:
    """Read a game's contract."""
    return Reading.of(document(contract_of(game)))


class GodotTests(SynchronousTestCase):
    def test_godot(self) -> None:
        """
        Godot loads the classes of each of our games; views, events and actions are
        read into them, and written as they are sent.
        """
        godot, folder = path_of("godot3-server"), Path(self.mktemp())
        folder.mkdir()
        games = {"woods": Woods(), **load_games()}
        for name, game in {"chess": Chess(), **games}.items():
            (folder / f"{name}.gd").write_text(gdscript(reading_of(game)))
        loaded = ", ".join(f'load("res://{name}.gd").new() != null' for name in games)
        script = folder / "use.gd"
        script.write_text(USE.replace("GAMES", f"[{loaded}]"))
        done = subprocess.run(
            [godot, "--no-window", "--script", script.name],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=60,
        )
        out = (done.stdout + done.stderr).decode()
        self.assertNotIn("SCRIPT ERROR", out)
        self.assertIn("READ 3True", out)
        self.assertIn(f"LOADED [{', '.join(['True'] * len(games))}]", out)
        rook = {"kind": "rook", "round": 2}
        self.assertEqual(
            [json.loads(line) for line in re.findall("^JSON (.*)$", out, re.M)],
            [
                {"rows": [[rook, None]], "last": None, "turn": 1}
                | {"names": {"ann": 0.5}, "shown": 1},
                rook,
                {"type": "move", "to": [1, 2], "speed": 0.5, "note": None},
                {"type": "pass"},
            ],
        )


class CSharpTests(SynchronousTestCase):
    def test_odd_names(self) -> None:
        """
        No member has a name that C# does not take, or that another has.
        """
        members = re.findall(r"required \w+ (.*) \{ get", csharp(reading_of(Woods())))
        self.assertEqual(
            members, ["My_x", "_1y", "ToString_", "AB", "AB_", "Tree_", "Script"]
        )

    def test_records(self) -> None:
        """
        Records have the fields as they are sent, what may be missing or null is
        declared so, and the tag chooses among actions.
        """
        out = csharp(reading_of(Chess()))
        for words in (
            '[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]\n'
            '[JsonDerivedType(typeof(Move), "move")]\n'
            '[JsonDerivedType(typeof(Pass), "pass")]\n'
            "public abstract record ChessAction;\n",
            "public sealed record Pass : ChessAction\n{\n}\n",
            "    /// <summary>pieces &amp; none, row by row.</summary>\n"
            '    [JsonPropertyName("rows")]\n'
            "    public required IReadOnlyList<IReadOnlyList<Piece?>> Rows { get; ",
            "    public required Piece? Last { get; init; }",
            "    public required long? Turn { get; init; }",
            "    public required IReadOnlyDictionary<string, double> Names { get; ",
            "    public required IReadOnlyList<long> To { get; init; }",
            "    public double Speed { get; init; } = 0.5;",
            "    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]\n"
            "    public string? Note { get; init; }",
            "    public required string Kind { get; init; }",
            '        "moved" => data.Deserialize<Piece>(),',
        ):
            self.assertIn(words, out)
