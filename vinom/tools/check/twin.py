"""
``vinom check GAME --twin FILE``: do a game's rules in JavaScript do the same?

Recordings are played through the game; each tick is also made by the twin, from the
state before. What its ``step`` returns must be equal to the state after, field by
field; what it leaves out is not compared. Of a tuple it may return some places only, by
their numbers: ``{0: x, 1: y}``.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import msgspec
from msgspec import Struct, json

from vinom.base.model import MatchPlan, SeatPlan
from vinom.errors import Misconfigured, Rejected
from vinom.game import Chance, Game
from vinom.node.web.pages import STATIC
from vinom.play.play import Play, table_of
from vinom.play.recording import (
    Recording,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
    tick_inputs,
)
from vinom.play.states import plain
from vinom.tools.check.random_actions import RandomActions

#: Ticks of a random game, and how often a seat acts: in one of so many.
TICKS, RARELY = 400, 4
#: These may differ in the last digit between two languages, or two machines.
_INEXACT = (
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos"),
    *("cosh", "exp", "expm1", "hypot", "log", "log10", "log1p", "log2", "pow"),
    *("sin", "sinh", "tan", "tanh", "dist"),
)
_IN_SCRIPT = re.compile(rf"\bMath\.({'|'.join(_INEXACT)})\b|(\*\*)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_IMPORT = re.compile(r"""\bfrom\s+["'](\.[^"']+)["']""")
_NOTHING = object()


class Tick(Struct):
    """
    One tick of the game.

    :ivar state: before it, as plain data.
    :ivar inputs: of each its ``seat`` and ``action``, and of a game with `past_ticks`
        the ``tick`` that was shown.
    :ivar n: its number.
    :ivar setup: what the game's `setup` returns.
    """

    state: Any
    inputs: list[dict[str, Any]]
    n: int
    setup: Any


def random_recording(game: Game[Any, Any], name: str, seats: int, seed: int) -> bytes:
    """
    Play a game with random actions; returns its recording.

    :raises Refused: the game does not take so many players.
    """
    players = tuple(SeatPlan(f"p{seat}", f"player {seat}") for seat in range(seats))
    plan = MatchPlan("twin", name, players, seed)
    file = bytearray(encode_header(plan, game, 0.0))
    play = Play(game, lambda one: file.extend(encode_recorded(one)), plan=plan)
    play.lay(table_of(plan, game))
    play.begin()
    supply = RandomActions(game.actions, Chance(seed).fork("actions"))
    for tick in range(1, TICKS + 1):
        drawn = [
            (seat, action)
            for seat in range(seats)
            if not supply.below(RARELY) and (action := supply.make(None)) is not None
        ]
        play.tick(drawn, tick / game.tick_hz)
    return bytes(file)


def ticks_of(recording: Recording, game: Game[Any, Any]) -> Iterator[tuple[Tick, Any]]:
    """
    Replay a recording.

    :returns: each tick, and the state after it.
    :raises Unreadable: it is of another version of the game.
    """
    states: list[tuple[Any, int]] = []
    replay(recording, game, lambda play: states.append((play.state, play.ticks)))
    setup = msgspec.to_builtins(game.setup(states[0][0])) if states else None
    for (before, _), (after, n), raw in zip(
        states, states[1:], recording.inputs, strict=False
    ):
        if raw.kind != "tick":
            continue
        inputs = [
            dict(zip(("seat", "action", "tick"), one, strict=False))
            for one in tick_inputs(raw)
        ]
        for one in inputs:
            one["action"] = msgspec.msgpack.decode(one["action"])
        yield Tick(plain(before), inputs, n, setup), plain(after)


class Twin:
    """
    A module in JavaScript with the function ``step``, run by Node.

    :ivar name: of its file.
    :ivar fields: the fields of the state that it returned.
    """

    def __init__(self, path: str) -> None:
        """
        Find it, and Node.

        :raises Misconfigured: one of them is not there.
        """
        self._path = Path(path)
        self.name = self._path.name
        self.fields: set[str] = set()
        if not self._path.is_file():
            raise Misconfigured(f"--twin {path}: there is no such file")
        node = which("node")
        if node is None:
            raise Misconfigured("--twin needs Node.js 20 or newer: install `node`")
        self._command = [node, str(Path(__file__).with_suffix(".mjs"))]

    def first_difference(self, ticks: list[tuple[Tick, Any]]) -> str | None:
        """
        Make these ticks; describe the first that is not the game's.

        :raises Misconfigured: the module cannot be run.
        """
        done = subprocess.run(
            [*self._command, str(self._path.resolve()), str(STATIC)],
            input=b"".join(json.encode(tick) + b"\n" for tick, _ in ticks),
            capture_output=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        for line, (tick, after) in zip(lines, ticks, strict=False):
            made = json.decode(line)
            if not isinstance(made, dict):
                return f"tick {tick.n}: step() returned {made!r}, not an object"
            self.fields.update(name for name, one in made.items() if _says(one))
            for found in _differences(made, after, ""):
                return f"tick {tick.n}: {found}"
        missing = ticks[len(lines) :]
        if done.returncode or missing:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            why = next((word for word in words if "Error" in word), "node ended")
            where = f" at tick {missing[0][0].n}" if lines and missing else ""
            raise Misconfigured(f"--twin {self._path}{where}: {why}")
        return None

    def inexact(self) -> list[str]:
        """Name functions that systems compute differently, in it and its imports."""
        text = self._path.read_text("utf-8")
        for near in _IMPORT.findall(text):
            file = self._path.parent / near
            text += file.read_text("utf-8") if file.is_file() else ""
        used = _IN_SCRIPT.findall(_COMMENT.sub("", text))
        return sorted({f"Math.{name}" if name else power for name, power in used})


def _says(made: Any) -> bool:
    """Is anything of this compared?"""
    return any(map(_says, made.values())) if isinstance(made, dict) else True


def _differences(made: Any, right: Any, path: str) -> Iterator[str]:
    """Describe where *made* differs from *right*, as far as it says anything."""
    if isinstance(made, dict) and isinstance(right, list):
        # Some places of an array, by their numbers.
        right = {str(at): one for at, one in enumerate(right)}
    if isinstance(made, dict) and isinstance(right, dict):
        for name, value in made.items():
            inner = f"{path}.{name}" if path else name
            yield from _differences(value, right.get(name, _NOTHING), inner)
    elif isinstance(made, list) and isinstance(right, list):
        if len(made) != len(right):
            yield f"{path} has {len(right)} items in the game, {len(made)} in the twin"
        for index, (one, other) in enumerate(zip(made, right, strict=False)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif right is _NOTHING:
        yield f"{path} is no field of the state"
    elif made != right or isinstance(made, bool) is not isinstance(right, bool):
        yield f"{path} is {right!r} in the game, {made!r} in the twin"


def inexact_in(game: Game[Any, Any]) -> list[str]:
    """Name the functions in a game's module that systems compute differently."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[type(game).__module__]))
    except (OSError, TypeError, KeyError):
        return []
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(node := call.func, ast.Attribute | ast.Name)
    }
    return sorted(names.intersection(_INEXACT))


def check_twin(
    game: Game[Any, Any],
    name: str,
    path: str,
    files: list[str],
    games: Iterator[tuple[int, int]],
) -> tuple[list[str], list[str], str]:
    """
    Compare a game with its twin.

    :param game: the rules.
    :param name: of the game.
    :param path: of the module in JavaScript.
    :param files: recordings; without any, random games are played.
    :param games: seats and seeds of those.
    :returns: what differs, notes, and what was compared.
    :raises Misconfigured: it cannot be compared; says why.
    """
    if not game.tick_hz:
        raise Misconfigured(f"--twin compares ticks, and {name} has no tick_hz")
    twin = Twin(path)
    found: list[str] = []
    count = played = 0
    for where, recording in _recordings(game, name, files, games):
        ticks = list(ticks_of(recording, game))
        played, count = played + 1, count + len(ticks)
        difference = twin.first_difference(ticks)
        if difference is not None:
            found.append(f"twin: {difference} [{where}]")
            break
    if not found and not twin.fields:
        found.append(f"twin: step() of {twin.name} returned no field of the state")
    notes = [
        f"{file} uses {', '.join(names)}: systems compute that differently; in ticks "
        f"use + - * / and square roots"
        for file, names in ((twin.name, twin.inexact()), (name, inexact_in(game)))
        if names
    ]
    fields = ", ".join(sorted(twin.fields))
    return found, notes, f"{played} games, {count} ticks; compared: {fields}"


def _recordings(
    game: Game[Any, Any],
    name: str,
    files: list[str],
    games: Iterator[tuple[int, int]],
) -> Iterator[tuple[str, Recording]]:
    for file in files:
        try:
            yield file, read_recording(Path(file).read_bytes())
        except OSError as error:
            raise Misconfigured(f"--recording {file}: {error.strerror}") from error
    if files:
        return
    for seats, seed in games:
        try:
            recording = read_recording(random_recording(game, name, seats, seed))
        except Rejected as error:
            raise Misconfigured(f"{name} rejects what it should ignore") from error
        yield f"seed {seed}, {seats} player{'s' * (seats > 1)}", recording
