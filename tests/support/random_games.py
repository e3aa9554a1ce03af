"""
Full games of random actions, in which players come, go and leave.

As a program it plays recordings again, in a process with another hash seed::

    PYTHONHASHSEED=2 python -m tests.support.random_games FOLDER

Each file of the folder is named after its game and holds recordings, each with
its length before it. It prints JSON: for each file, what differed and one hash
of all the ends.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.errors import Rejected
from vinom.game import Chance, Game, Seat
from vinom.games.arena import Arena
from vinom.games.dice import Dice
from vinom.games.maze import Maze
from vinom.games.oldmaid import OldMaid
from vinom.games.owedrahn import OweDrahn
from vinom.games.tictactoe import TicTacToe
from vinom.play.play import Play, table_of
from vinom.play.recording import (
    encode_ending,
    encode_header,
    encode_recorded,
    read_recording,
    replay,
)
from vinom.play.states import fingerprint
from vinom.play.views import Views
from vinom.tools.check.random_actions import RandomActions

GAMES: dict[str, type[Game[Any, Any]]] = {
    one.name: one for one in (Arena, Dice, Maze, OldMaid, OweDrahn, TicTacToe)
}

#: Options that make some games short or odd; ``{}`` is how they are mostly played.
OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "arena": ({"seconds": 8}, {"seconds": 15, "points": 4}, {"seconds": 6, "gems": 1}),
    "dice": ({}, {"target": 500}, {"turn_seconds": 3}),
    "maze": ({}, {"rows": 4, "cols": 6}, {"rows": 2, "cols": 3, "minutes": 0.5}),
    "oldmaid": ({}, {"turn_seconds": 3}),
    "owedrahn": ({}, {"lives": 1, "stake": 7}, {"ready_seconds": 3}),
    "tictactoe": ({},),
}


@attrs.frozen
class Played:
    """
    One game that was played.

    :ivar recording: the file.
    :ivar steps: how often something was tried: actions, refused ones too, time
        that had come, ticks, and players who came and went.
    :ivar actions: what reached the game: actions that it took, deadlines, ticks.
    """

    recording: bytes
    steps: int
    actions: int
    end: Any


@attrs.define(slots=False)
class RandomGame:
    """
    One game, played by chance alone.

    :ivar most: steps without an end at which it gives up.
    :ivar watch: called after each thing that happened.
    :ivar is_calm: nobody comes, goes or leaves.
    """

    game: Game[Any, Any]
    seed: int
    most: int = 20_000
    watch: Callable[[Play], None] | None = None
    is_calm: bool = False
    options: dict[str, Any] = attrs.field(factory=dict)
    seats: int = 0

    def play(self) -> Played:
        """
        Play until a round has ended, and a little beyond.

        :raises AssertionError: it does not end.
        """
        game = self.game
        fewest, most = game.seats
        self._actions = RandomActions(game.actions, Chance(self.seed).fork("actions"))
        seats = self.seats or fewest + self._below(most - fewest + 1)
        plan = MatchPlan(
            "random",
            game.name,
            tuple(SeatPlan(f"p{seat}", f"player {seat}") for seat in range(seats)),
            self.seed,
            msgspec.json.encode(self.options),
        )
        file = bytearray(encode_header(plan, game, 0.0))
        self._play = play = Play(game, lambda one: file.extend(encode_recorded(one)))
        self._views = Views(game, play.ask)
        self._here = ["here"] * seats
        self._done = 0
        play.lay(table_of(plan, game))
        play.begin()
        setup = self._views.setup(play.state)
        self._setup = msgspec.msgpack.decode(setup) if setup else None
        steps = 0
        while play.outcome is None:
            self._step()
            steps += 1
            assert steps < self.most, f"seed {self.seed} does not end: {play.state}"
        actions = self._done
        for _ in range(20):
            self._step()
        shown = self._views.show(
            play.state, play.version, self._views.audience_of(play.state, None)
        )
        end = MatchEnd(
            "random", "ended", version=play.version, view_hash=fingerprint(shown)
        )
        file += encode_ending(end, play.state)
        return Played(bytes(file), steps, actions, play.state)

    def _below(self, limit: int) -> int:
        return self._actions.below(limit)

    def _step(self) -> None:
        play, game = self._play, self.game
        time = play.time + self._below(200) / 100
        if game.tick_hz:
            time = (play.ticks + 1) / game.tick_hz
        if play.due is not None and play.due <= time:
            play.advance(max(play.due, play.time))
            self._done += 1
        elif not self.is_calm and not self._below(40):
            self._come_or_go(time)
        else:
            self._act(time)
        if self.watch is not None:
            self.watch(play)
        play.events.clear()

    def _act(self, time: float) -> None:
        play, here = self._play, self._here
        seats = [seat for seat, how in enumerate(here) if how == "here"]
        seat = seats[self._below(len(seats))]
        action = self._choose(seat)
        if self.game.tick_hz:
            play.tick(() if action is None else ((seat, action),), time)
            self._done += 1
        elif action is None:
            play.time = time
        else:
            try:
                play.act(seat, action, time)
                self._done += 1
            except Rejected:
                play.time = time

    def _choose(self, seat: int) -> Any:
        play = self._play
        audience = self._views.audience_of(play.state, seat)
        view = msgspec.msgpack.decode(
            self._views.show(play.state, play.version, audience)
        )
        if self._below(4):
            return self._actions.make(view)
        _, self._actions.chance = self._actions.chance.draw()
        return self.game.bot(view, seat, self._actions.chance, self._setup)

    def _come_or_go(self, time: float) -> None:
        play, here = self._play, self._here
        seat = self._below(len(here))
        staying = sum(how != "gone" for how in here)
        most = self.game.seats[1]
        if self.game.late_join and (here[seat] == "gone" or not self._below(3)):
            if here[seat] != "gone":
                seat = len(here)
            if seat < most:
                here[seat:] = ["here", *here[seat + 1 :]]
                play.seat_joined(seat, time, Seat(f"late {seat}", self.game.loadout()))
        elif here[seat] == "away":
            here[seat] = "here"
            play.seat_returned(seat, time)
        elif here[seat] == "here" and here.count("here") > 1:
            # Leaving ends many games, so it is rare.
            if staying > 1 and not self._below(4):
                here[seat] = "gone"
                play.seat_left(seat, time)
            else:
                here[seat] = "away"
                play.seat_dropped(seat, time)


def random_game(name: str, seed: int, **settings: Any) -> RandomGame:
    """Make a random game of one of ours, with options that follow from the seed."""
    choices = OPTIONS[name]
    settings.setdefault("options", choices[seed % len(choices)])
    return RandomGame(GAMES[name](), seed, **settings)


def replay_all(name: str, data: bytes) -> dict[str, Any]:
    """Play every recording of a file again."""
    differing: list[str] = []
    ends = hashlib.sha256()
    at = games = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        recording = read_recording(data[at + 4 : at + 4 + size])
        at += 4 + size
        games += 1
        result = replay(recording, GAMES[name]())
        if result.differing is not None:
            differing.append(f"{recording.header.plan.seed}: {result.differing}")
        ends.update(result.state_hash.encode())
        ends.update(result.view_hash.encode())
    return {"games": games, "differing": differing, "ends": ends.hexdigest()}


def main(folder: str) -> None:
    """Play all files of a folder again."""
    results = {
        path.name: replay_all(path.name, path.read_bytes())
        for path in sorted(Path(folder).iterdir())
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
