"""
``python -m benchmarks.arena_plot``: what a distant player sees of the arena.

A match of the arena is played on a virtual clock, by real clients over real DTLS; one
of them has a bad network. The states that it receives go through the page's own clock
and interpolator at their times of arrival, and the result is compared with the server's
states.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from math import hypot
from pathlib import Path
from typing import Any

import attrs

from tests.support.whole import WholeWorld
from vinom.client.bots import Bot, Habits, Tally
from vinom.client.match import Match
from vinom.game import Chance
from vinom.games.arena import HALF, TICK_HZ, Arena
from vinom.net.dtls.bad_network import Conditioner, Conditions

FOLDER = Path(__file__).resolve().parent
PICTURE = FOLDER.parent / "docs" / "images" / "arena-interpolation.svg"

#: The network of the player who is observed.
FAR = Conditions(loss=0.05, delay=0.15, jitter=0.05)
PLAYERS = 4
#: A player's width: no correction may be as large.
WIDTH = 2 * HALF
#: How long the client takes to learn its network's delay, seconds.
_SETTLING = 2.0
_FRAMES_HZ = 60

Place = tuple[float, float]


@attrs.frozen
class Arrival:
    """
    A state that a client received.

    :ivar at: when, seconds after the first.
    :ivar players: as in the view.
    """

    at: float
    tick: int
    players: Any


@attrs.frozen
class Frame:
    """
    One drawn frame.

    :ivar at: when, on the clock of the arrivals.
    :ivar tick: the tick that is drawn, with its fraction.
    :ivar places: where each seat is drawn.
    """

    at: float
    tick: float
    places: tuple[Place, ...]


@attrs.frozen
class Seen:
    """
    A match as a distant player saw it.

    :ivar truth: where each seat was, by tick.
    :ivar born: when each tick was made, on the clock of the arrivals.
    :ivar jumps: when a state arrived, and how far it moved each drawn seat.
    """

    truth: dict[int, tuple[Place, ...]]
    born: dict[int, float]
    arrivals: list[Arrival]
    frames: list[Frame]
    jumps: list[tuple[float, tuple[float, ...]]]

    @property
    def largest(self) -> float:
        """The largest correction."""
        return max(max(ways) for _, ways in self.jumps)

    def errors(self) -> list[float]:
        """Return how far each drawn seat was from its true place."""
        return [
            hypot(x - true_x, y - true_y)
            for frame in self.frames
            for (x, y), (true_x, true_y) in zip(
                frame.places, self.between(frame.tick), strict=True
            )
        ]

    def between(self, moment: float) -> tuple[Place, ...]:
        """Return where each seat was at a moment between two ticks."""
        tick = int(moment)
        part = moment - tick
        return tuple(
            (x + (next_x - x) * part, y + (next_y - y) * part)
            for (x, y), (next_x, next_y) in zip(
                self.truth[tick], self.truth[tick + 1], strict=True
            )
        )

    @property
    def fastest(self) -> float:
        """The highest speed of any seat, distance per second."""
        ticks = [tick for tick in self.truth if tick + 1 in self.truth]
        return TICK_HZ * max(
            hypot(x - next_x, y - next_y)
            for tick in ticks
            for (x, y), (next_x, next_y) in zip(
                self.truth[tick], self.truth[tick + 1], strict=True
            )
        )

    @property
    def lag(self) -> float:
        """The mean age of what is drawn, seconds."""
        ages = [
            frame.at - self.born[int(frame.tick)] - (frame.tick % 1) / TICK_HZ
            for frame in self.frames
        ]
        return sum(ages) / len(ages)


def play(seconds: int, seed: int) -> Seen:
    """Play a match; the second player has the bad network."""
    world = WholeWorld({"arena": Arena()}, seed=seed)
    began: list[float] = []
    truth: dict[int, tuple[Place, ...]] = {}
    born: dict[int, float] = {}
    arrivals: list[Arrival] = []

    def see_near(match: Match) -> None:
        truth[match.view["tick"]] = _places(match.view["players"])
        born[match.view["tick"]] = world.clock.seconds()

    def see_far(match: Match) -> None:
        began.append(world.clock.seconds())
        view = match.view
        at = world.clock.seconds() - began[0]
        arrivals.append(Arrival(at, view["tick"], view["players"]))

    def found(bot_at: int, match: Match) -> None:
        bots[bot_at].stop()
        if bot_at < 2:
            match.on_state(see_far if bot_at else see_near)

    options = {"seconds": seconds, "points": 100}
    bots: list[Bot] = []
    for number in range(PLAYERS):
        far = Conditioner(world.reactor, FAR, seed) if number == 1 else None
        bot = Bot(
            world.reactor,
            world.client(f"bot-{number}", far),
            Habits("arena", Arena(), options, pace=10.0),
            Tally(),
            Chance(seed * 100 + number),
            watch=partial(found, number),
        )
        bots.append(bot)
        bot.run()
    ends = seconds * TICK_HZ
    world.run(lambda: bool(arrivals) and arrivals[-1].tick >= ends, seconds + 30.0)
    born = {tick: at - began[0] for tick, at in born.items()}
    return show(truth, born, arrivals)


def _places(players: Any) -> tuple[Place, ...]:
    return tuple((player[0], player[1]) for player in players)


def show(
    truth: dict[int, tuple[Place, ...]], born: dict[int, float], arrivals: list[Arrival]
) -> Seen:
    """Run the page's own code to get the frames that it would have drawn."""
    end = arrivals[-1].at
    times = [number / _FRAMES_HZ for number in range(int(end * _FRAMES_HZ))]
    given = {
        "hz": TICK_HZ,
        "states": [[one.at * 1000, one.tick, one.players] for one in arrivals],
        "frames": [at * 1000 for at in times],
    }
    done = subprocess.run(
        ["node", str(FOLDER / "shown.mjs")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    frames = [
        Frame(at, tick, tuple((x, y) for x, y in places))
        for at, (tick, *places) in zip(times, result["shown"], strict=True)
        if at > _SETTLING
    ]
    jumps = [
        (at / 1000, tuple(ways))
        for at, *ways in result["jumps"]
        if at / 1000 > _SETTLING
    ]
    return Seen(truth, born, arrivals, frames, jumps)


def main() -> int:
    """Play three matches, print their figures, and draw the worst one."""
    from benchmarks.arena_picture import draw

    matches = [play(90, seed) for seed in (1, 2, 3)]
    for seen in matches:
        errors = sorted(seen.errors())
        print(
            f"largest correction {seen.largest:.0f} of {WIDTH} (a player's width), "
            f"shown {seen.lag * 1000:.0f} ms late, 99 % of what is shown is less than "
            f"{errors[len(errors) * 99 // 100] + 1:.0f} from the truth"
        )
    worst = max(matches, key=lambda seen: seen.largest)
    PICTURE.write_text(draw(worst), encoding="utf-8")
    print(f"drawn: {PICTURE}")
    return int(worst.largest >= WIDTH)


if __name__ == "__main__":
    sys.exit(main())
