"""
The plan of a chaos run, which is what is played, and what is killed when; and the
report of what came of it, as text and as JSON.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, get_args

import attrs

from vinom.client.bots import Habits, Samples
from vinom.net.dtls.bad_network import Conditions
from vinom.tools.promises.checker import Checked
from vinom.tools.promises.witness import PROMISES, Broken

#: "hang" stops a game server, which its node must notice; "move" kills nothing: it is
#: an operator's order to hand a match over. "restart" sends SIGTERM to each node in
#: turn and starts it again: one alone leaves its matches to its successor (``on_stop =
#: leave``), one of several hands them to the others.
Kind = Literal["gameserver", "hang", "node", "store", "move", "restart"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: The kinds that affect one match; the others affect all players.
OF_A_MATCH: Final = ("gameserver", "hang", "move")

#: One of this many strikes is given to each kind that affects all players.
_SHARE = 6


@attrs.frozen
class Strike:
    """
    One strike.

    :ivar at: when, seconds after the bots begin.
    :ivar kind: what it does.
    """

    at: float
    kind: Kind


@attrs.frozen
class Plan:
    """
    The plan of a run; durations in seconds.

    :ivar spec: the game, for the node: ``package.module:Class`` or its name.
    :ivar matches: how many matches are played at the same time.
    :ivar seconds: for how long matches are started and processes killed.
    :ivar grace: for how long matches may run after that.
    :ivar conditions: losses of the network; ``None`` for none.
    :ivar habits: what bots play, and how.
    :ivar seed: seed of everything random.
    :ivar strikes: the strikes, in order of time.
    :ivar redis: path of a redis-server; empty for none.
    :ivar nodes: how many share that Redis; players come to the first one.
    :ivar keep: where to copy recordings if a promise was broken; ``None`` for nowhere.
    :ivar arguments: further arguments of ``twistd vinom``.
    """

    spec: str
    matches: int
    seconds: float
    grace: float
    conditions: Conditions | None
    habits: Habits
    seed: str
    strikes: tuple[Strike, ...] = ()
    redis: str = ""
    nodes: int = 1
    keep: Path | None = None
    arguments: tuple[str, ...] = ()


def plan_strikes(
    kinds: tuple[Kind, ...], seconds: float, every: float, seed: str
) -> tuple[Strike, ...]:
    """
    Draw strikes: each kind at least once, game servers most often.

    :param kinds: the kinds to draw from, without duplicates.
    :param seconds: how long the run is.
    :param every: mean time between two strikes, seconds.
    :param seed: the same one draws the same strikes.
    """
    chance = Random(f"{seed} strikes")
    count = max(len(kinds), round(seconds / every))
    frequent = [kind for kind in kinds if kind in OF_A_MATCH]
    rare = [kind for kind in kinds if kind not in frequent]
    drawn: list[Kind] = []
    if frequent:
        drawn += [kind for kind in rare for _ in range(max(1, count // _SHARE))]
        rest = max(len(frequent), count - len(drawn))
        drawn += [frequent[number % len(frequent)] for number in range(rest)]
    elif rare:
        drawn += [rare[number % len(rare)] for number in range(count)]
    chance.shuffle(drawn)
    # One in each interval, at a random time within it.
    width = seconds / max(1, len(drawn))
    return tuple(
        Strike((number + chance.random()) * width, kind)
        for number, kind in enumerate(drawn)
    )


#: Most findings of each promise that are printed.
_MOST_PRINTED = 5
#: In this order: differences in a recording show the cause, the others its effects.
_PRINTED = ("recording", "inputs", "ends", "versions", "events", "states")


@attrs.define
class Report:
    """
    The counts and findings of a run.

    :ivar game: the game's name.
    :ivar seed: repeats the same kills, losses and choices of bots.
    :ivar planned: how often something was to be killed, moved or restarted.
    :ivar seconds: how long it ran.
    :ivar strikes: how often each kind of it happened.
    :ivar begun: matches in which a bot saw a state.
    :ivar finished: matches that were played to the end.
    :ivar resumed: matches that were played by more than one process.
    :ivar most_parts: largest number of processes that played one match.
    :ivar inputs: inputs that bots sent.
    :ivar acknowledged: inputs that were compared.
    :ivar states: states that were compared.
    :ivar lost: datagrams that were lost on purpose.
    :ivar broken: the broken promises.
    :ivar trouble: other failures, in sentences; they fail the run, too.
    :ivar is_interrupted: did the user end it?
    :ivar pauses: by kind of strike, how long it kept a player of the match away.
    :ivar errors: how often bots were refused, by error code.
    """

    game: str
    seed: str
    planned: int = 0
    seconds: float = 0.0
    strikes: Counter[Kind] = attrs.field(factory=Counter)
    begun: int = 0
    finished: int = 0
    resumed: int = 0
    most_parts: int = 0
    inputs: int = 0
    acknowledged: int = 0
    states: int = 0
    lost: int = 0
    broken: list[Broken] = attrs.field(factory=list)
    trouble: list[str] = attrs.field(factory=list)
    is_interrupted: bool = False
    pauses: dict[Kind, Samples] = attrs.field(factory=dict)
    errors: dict[str, int] = attrs.field(factory=dict)

    def add(self, found: Checked) -> None:
        """Add the check of one match."""
        self.finished += found.is_finished
        self.resumed += found.parts > 1
        self.most_parts = max(self.most_parts, found.parts)
        self.acknowledged += found.acknowledged
        self.states += found.states
        self.broken += found.broken

    @property
    def exit_code(self) -> int:
        """0: every promise was kept; 1: one was broken; 2: nothing was shown."""
        if self.broken or self.trouble:
            return 1
        return 2 if self._why_nothing else 0

    @property
    def _why_nothing(self) -> str:
        """Say why the run has shown nothing; empty if it has shown something."""
        if not self.begun:
            return "no match began"
        is_spared = self.planned and not self.strikes.total()
        if is_spared and not self.is_interrupted:
            return "nothing was killed, so nothing is shown"
        return ""

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        counts = Counter(one.promise for one in self.broken)
        return {
            "passed": self.exit_code == 0,
            "game": self.game,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.is_interrupted,
            "strikes": dict(sorted(self.strikes.items())),
            "matches": {
                "begun": self.begun,
                "finished": self.finished,
                "resumed": self.resumed,
            },
            "inputs": {"sent": self.inputs, "acknowledged": self.acknowledged},
            "states": self.states,
            "datagrams_lost": self.lost,
            "pause_ms": {
                kind: samples.summary_ms() for kind, samples in self.pauses.items()
            },
            "errors": self.errors,
            "promises": {name: counts.get(name, 0) for name in PROMISES},
            "broken": [attrs.asdict(one) for one in self.broken],
            "trouble": self.trouble,
        }

    def as_text(self) -> str:
        strikes = ", ".join(f"{n} {kind}" for kind, n in sorted(self.strikes.items()))
        lines = [
            f"matches   {self.begun} begun, {self.finished} finished, {self.resumed} "
            f"went on in another process",
            f"strikes   {strikes or 'none'}; {self.lost:,} datagrams lost",
            f"compared  {self.acknowledged:,} acknowledged inputs, {self.states:,} "
            f"states",
        ]
        for kind, samples in self.pauses.items():
            pause = samples.summary_ms()
            lines.append(
                f"pause     p50 {pause['p50']:,.0f} ms, p99 {pause['p99']:,.0f} ms: "
                f"{kind}, until all players of the match play again"
            )
        counts = Counter(one.promise for one in self.broken)
        for name, words in PROMISES.items() if self.begun else ():
            broken = f"BROKEN {counts[name]} times" if name in counts else "kept"
            lines.append(f"{name:<9} {broken}: {words}")
        printed = [
            one
            for promise in _PRINTED
            for one in [each for each in self.broken if each.promise == promise][
                :_MOST_PRINTED
            ]
        ]
        lines += [f"broken: {one}" for one in printed]
        if len(self.broken) > len(printed):
            lines.append(f"... and {len(self.broken) - len(printed)} more: see --json")
        lines += [f"failed: {one}" for one in self.trouble]
        cut = f", interrupted after {self.seconds:.0f} s" if self.is_interrupted else ""
        verdict = ("passed", "FAILED", self._why_nothing)[self.exit_code]
        lines.append(f"{self.game}: {verdict} (seed {self.seed}{cut})")
        return "\n".join(lines)
