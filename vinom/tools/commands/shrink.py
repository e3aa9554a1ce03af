"""``vinom shrink RECORDING``: cut a recording to what makes its game fail."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, floor
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

import attrs
import msgspec

from vinom.base.model import MatchPlan, SeatPlan, seed_bytes
from vinom.base.printable import say
from vinom.errors import Misconfigured, Refused, Rejected, Unreadable
from vinom.game import Game, NoLoadout, Seat
from vinom.play.game_loader import load_game
from vinom.play.guard import PAUSE, Guard, TooSlow
from vinom.play.hosting.guarding import guard_games
from vinom.play.play import GAME_ERRORS, GameFault
from vinom.play.recording import Recording, read_recording, replay
from vinom.play.room import crash_report, where_of
from vinom.play.states import state_hash
from vinom.testing import Match
from vinom.tools.commands.replay import game_of

OPTIONS = """
recording FILE        a .vinomrec file that crashes, or differs from its end
--game PACKAGE.MODULE:CLASS
                      play it with this class instead of the installed game
--against PACKAGE.MODULE:CLASS
                      find inputs after which this older class ends otherwise
--output FILE         write the test here (default: test_MATCH.py)
--seconds SECONDS >0 = 60
                      search no longer than this
"""

#: What `Match` calls the calls of a recording that have only a seat.
_CALLS = {"dropped": "drop", "returned": "return_", "left": "leave"}


class Move(NamedTuple):
    """
    One line of a test.

    :ivar how: a method of `vinom.testing.Match`.
    :ivar what: its arguments.
    """

    how: str
    what: tuple[Any, ...]

    @property
    def is_input(self) -> bool:
        """Does somebody do something, other than wait?"""
        return self.how not in ("wait", "tick")


def moves_of(recording: Recording, tick_hz: int) -> Iterator[Move]:
    """
    Write a recording as lines of a test; times are whole milliseconds.

    :param recording: the recording.
    :param tick_hz: of the game.
    """
    at, read = 0.0, msgspec.msgpack.decode
    # A pause must not reach into the next tick, and must reach a deadline.
    whole = floor if tick_hz else ceil
    for raw in recording.inputs:
        if raw.kind == "tick":
            for one in read(raw.data):
                yield Move("act", tuple(one))
            yield Move("tick", (1,))
            at = raw.time
            continue
        pause = whole((raw.time - at) * 1000) / 1000
        if pause > 0:
            yield Move("wait", (pause,))
            at += pause
        if raw.kind == "act":
            yield Move("act", (raw.seat, read(raw.data)))
        elif raw.kind == "joined":
            yield Move("join", (Seat(**read(raw.data)),))
        elif raw.kind in _CALLS:
            yield Move(_CALLS[raw.kind], (raw.seat,))


def merged(moves: Sequence[Move]) -> list[Move]:
    """Make one of waits, and of ticks, that follow each other."""
    done: list[Move] = []
    for move in moves:
        if done and not move.is_input and done[-1].how == move.how:
            total = round(done.pop().what[0] + move.what[0], 3)
            move = Move(move.how, (total,))
        done.append(move)
    return done


def cut(
    moves: Sequence[Move], fails: Callable[[Sequence[Move]], bool]
) -> Sequence[Move]:
    """
    Leave out all that is not needed: halves first, then smaller pieces.

    :param fails: does it still go wrong with these moves?
    """
    size = max(1, len(moves) // 2)
    while True:
        before, at = len(moves), 0
        while at < len(moves):
            fewer = [*moves[:at], *moves[at + size :]]
            if fails(fewer):
                moves = fewer
            else:
                at += size
        if size == 1 and len(moves) == before:
            return moves
        size = max(1, size // 2)


def shorten(
    moves: Sequence[Move], fails: Callable[[Sequence[Move]], bool]
) -> Sequence[Move]:
    """Make waits and runs of ticks few, and as short as they may be, in seconds."""
    waits = [move for move in moves if move.how == "wait"]
    together = merged([*(move for move in moves if move not in waits), *waits])
    if fails(together):
        moves = together
    for at, (how, (length, *_)) in enumerate(moves):
        if moves[at].is_input:
            continue
        for less in sorted({1, *(length // 2**n for n in range(1, 6)), ceil(length)}):
            tried = [*moves[:at], Move(how, (int(less),)), *moves[at + 1 :]]
            if less and fails(tried):
                moves = tried
                break
    return moves


@attrs.define
class Trial:
    """
    Plays moves, and says what goes wrong.

    :ivar plan: of the match.
    :ivar games: the rules: one plays for a fault, two must end alike.
    :ivar guard: interrupts calls that take too long.
    """

    plan: MatchPlan
    games: Sequence[Game[Any, Any]]
    guard: Guard | None = None

    def wrong(self, moves: Sequence[Move]) -> str:
        """Name what goes wrong: equal words are the same mistake; empty if nothing."""
        (state, fault), *others = [self._end(game, moves) for game in self.games]
        if not others:
            return fault
        same = (state, fault) in others
        return "" if same else "two runs of the same inputs end differently"

    def _end(self, game: Game[Any, Any], moves: Sequence[Move]) -> tuple[str, str]:
        """Return the state's hash, and how the game failed."""
        try:
            match = Match(self.plan, game, self.guard)
            for move in moves:
                self._make(match, move)
        except GAME_ERRORS as error:
            return "", self._in_words(error)
        return state_hash(match.state), ""

    def _make(self, match: Match, move: Move) -> bool:
        """Make a move, if what led to it is not left out."""
        how, what = move
        if move.is_input and how != "join" and what[0] >= match.seats:
            return False
        try:
            getattr(match, how)(*what)
        except (Rejected, Refused):
            return False
        return True

    def possible(self, moves: Sequence[Move]) -> list[Move]:
        """Leave out what is refused: it changes nothing, and stops a test."""
        match, kept = Match(self.plan, self.games[-1], self.guard), []
        for move in moves:
            try:
                if self._make(match, move):
                    kept.append(move)
            except GAME_ERRORS:
                # What follows is not reached.
                return [*kept, move]
        return kept

    def _in_words(self, error: BaseException) -> str:
        where = where_of(crash_report(self.plan, 0, 0.0, error))
        kind = type(error).__qualname__
        if where and not isinstance(error, GameFault | TooSlow):
            return f"{kind} ({where})"
        # Vinom raised it: the text says what it is, and its numbers differ.
        return f"{kind}: " + re.sub(r"\d+(\.\d+)?", "…", str(error))

    def make_plain(self, fails: Callable[[], bool]) -> None:
        """Make seats, options, seed and host plain, each where that changes nothing."""
        plain: dict[str, Any] = {
            "seats": _plain_seats(self.plan),
            "options": b"{}",
            "seed": seed_bytes(1),
            "host": 0,
        }
        for name, value in plain.items():
            before = self.plan
            self.plan = attrs.evolve(before, **{name: value})
            if not fails():
                self.plan = before


def _plain_seats(plan: MatchPlan) -> tuple[SeatPlan, ...]:
    """Make the seats of `vinom.testing.play` with a number of seats."""
    return tuple(SeatPlan(f"p{n}", f"player {n}") for n in range(len(plan.seats)))


def run(options: argparse.Namespace) -> int:
    """
    Shrink a recording, and write a test.

    :returns: exit code: 0 if a test was written, 1 if nothing is wrong.
    :raises Misconfigured: the recording or its game cannot be read, or what is wrong
        with it does not happen again.
    """
    path, guard = options.recording, guard_games(logs_slow=False)
    older = load_game(options.against) if options.against else None
    try:
        recording = read_recording(path.read_bytes())
        if recording.header.part is not None:
            raise Unreadable("it begins in the middle of a match: give its first part")
        game = load_game(options.game) if options.game else game_of(recording)
        moves: Sequence[Move] = list(moves_of(recording, game.tick_hz))
        result = replay(recording, game, guard=guard)
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from error
    except (Misconfigured, Unreadable) as error:
        raise Misconfigured(f"{path}: {error}") from error
    is_fault = older is None and result.fault is not None
    if older is None and result.differing is None and not is_fault:
        say("it ends as it was recorded: there is nothing to shrink")
        return 1
    games = [game] if is_fault else [older or game, game]
    for one in games:
        # A recording has what bots did, and whose seat was given up.
        setattr(one, "absent", "wait")  # noqa: B010 - for this instance only
    trial = Trial(recording.header.plan, games, guard)
    wrong = trial.wrong(moves)
    if not wrong:
        raise Misconfigured(f"{path}: {_unrepeated(is_fault, older is not None)}")
    until = time.monotonic() + options.seconds

    def fails(fewer: Sequence[Move]) -> bool:
        return time.monotonic() < until and trial.wrong(fewer) == wrong

    trial.make_plain(lambda: fails(moves))
    found = shorten(merged(cut(moves, fails)), fails)
    trial.make_plain(lambda: fails(found))
    found = cut(found, fails)
    if len(trial.games) == 1:
        found = trial.possible(found)
    _write(options, trial, found, moves, wrong)
    if time.monotonic() >= until:
        say(f"stopped after {options.seconds:g} s (--seconds)", file=sys.stderr)
    return 0


def _unrepeated(is_fault: bool, is_against: bool) -> str:
    """Say why there is nothing to begin with."""
    if is_fault:
        return "the game fails in its replay, but not in a room of its own"
    if is_against:
        return "both classes end alike"
    return (
        "it differs from its end, but two runs of the present code end alike: the code "
        "has changed since, so name the older class with --against; or the order of a "
        "set decides, which vinom check finds"
    )


def _write(
    options: argparse.Namespace,
    trial: Trial,
    found: Sequence[Move],
    moves: Sequence[Move],
    wrong: str,
) -> None:
    """
    Write the test, and say so.

    :raises Misconfigured: there is such a file, or it cannot be written.
    """
    slug = re.sub(r"\W", "_", trial.plan.match_id)
    path = options.output or Path(f"test_{slug}.py")
    counts = [sum(move.is_input for move in some) for some in (found, moves)]
    about = f"{counts[0]} of {counts[1]} inputs of {options.recording.name}"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(write_test(trial, found, wrong, about, slug))
    except OSError as error:
        raise Misconfigured(f"--output {path}: {error.strerror}") from error
    say(f"{wrong}: {about} are enough\nwritten: {path}")


def write_test(
    trial: Trial, moves: Sequence[Move], wrong: str, about: str, slug: str
) -> str:
    """Write a test of `unittest` that fails until the game is mended."""
    older, kind = (type(game) for game in (trial.games[0], trial.games[-1]))
    imports = {f"from {kind.__module__} import {kind.__name__}"}
    before = kind.__name__
    if older is not kind:
        before = "Older"
        imports.add(f"from {older.__module__} import {older.__name__} as Older")
    lines = [write_line(move) for move in moves]
    begin = f"{_seats(trial.plan)}{_more(trial)}"
    if len(trial.games) == 1:
        body = [f"match = play({before}, {begin})", *lines]
        if wrong.startswith("TooSlow") and trial.guard is not None:
            # No guard interrupts a test.
            imports.add("from time import process_time")
            most = trial.guard.most_looks * PAUSE
            body = ["began = process_time()", *body]
            body += [f"self.assertLess(process_time() - began, {most:g})"]
    else:
        imports.add("from msgspec import to_builtins")
        body = ["def end(game):", f"    match = play(game, {begin})"]
        body += [f"    {line}" for line in (*lines, "return to_builtins(match.state)")]
        body += ["", f"self.assertEqual(end({before}), end({kind.__name__}))"]
    text = indent("\n".join(body), " " * 8)
    if "Seat(" in text:
        imports.add("from vinom.game import Seat")
    head = "\n".join(sorted({*imports, "from vinom.testing import play"}))
    about, wrong = (
        one.replace("\\", "\\\\").replace('"', '\\"') for one in (about, wrong)
    )
    return f'''"""Made by vinom shrink: {about}."""

from unittest import TestCase

{head}


class ShrunkTests(TestCase):
    def test_{slug}(self):
        """
        {wrong}
        """
{text}
'''


def write_line(move: Move) -> str:
    """Write one line of a test."""
    what = ", ".join(
        _seat(one.name, one.loadout, one.team, one.player_id, _thawed(one.claims))
        if isinstance(one, Seat)
        else repr(one)
        for one in move.what
    )
    return f"match.{move.how}({what})"


def _thawed(claims: Any) -> Any:
    """Write read-only claims as they are written in a test."""
    if isinstance(claims, Mapping):
        return {key: _thawed(one) for key, one in claims.items()}
    return [_thawed(one) for one in claims] if isinstance(claims, tuple) else claims


def _seats(plan: MatchPlan) -> str:
    if plan.seats == _plain_seats(plan):
        return f"seats={len(plan.seats)}"
    read = msgspec.json.decode
    written = (
        _seat(one.name, read(one.loadout), one.team, one.player_id, read(one.claims))
        for one in plan.seats
    )
    return f"seats=[{', '.join(written)}]"


def _seat(
    name: str, loadout: Any, team: int | None, player_id: str, claims: Any
) -> str:
    fields = {
        "player_id": player_id,
        "team": team,
        "loadout": loadout,
        "claims": claims,
    }
    more = [
        f", {key}={value!r}"
        for key, value in fields.items()
        if value not in (None, "", {}, NoLoadout())
    ]
    return f"Seat({name!r}{''.join(more)})"


def _more(trial: Trial) -> str:
    """Write the arguments of `vinom.testing.play` that are not its defaults."""
    plan, more = trial.plan, ""
    number = int.from_bytes(plan.seed, "big")
    if number != 1:
        more += f", seed={plan.seed!r}" if number >> 64 else f", seed={number}"
    if plan.options != b"{}":
        more += f", options={msgspec.json.decode(plan.options)!r}"
    if plan.host:
        more += f", host={plan.host}"
    if any(type(game).absent != "wait" for game in trial.games):
        more += ', absent="wait"'
    return more
