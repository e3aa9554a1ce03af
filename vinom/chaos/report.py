"""The result of a chaos run, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from vinom.client.load.tally import Samples
from vinom.promises.checker import Checked
from vinom.promises.findings import PROMISES, Broken

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
    :ivar seconds: how long it ran.
    :ivar killed: how often each kind of process was killed.
    :ivar checked: matches that were checked.
    :ivar begun: matches in which a bot saw a state.
    :ivar finished: matches that were played to the end.
    :ivar resumed: matches that were played by more than one process.
    :ivar most_parts: largest number of processes that played one match.
    :ivar acknowledged: inputs that were compared.
    :ivar states: states that were compared.
    :ivar broken: the broken promises.
    :ivar trouble: other failures, in sentences; they fail the run, too.
    :ivar is_interrupted: did the user end it?
    :ivar pauses: times from a kill until all players of the match play again.
    :ivar moved: matches that were moved on purpose.
    :ivar move_pauses: times for which a player of such a match saw no state.
    :ivar planned: how often something was to be killed, moved or restarted.
    :ivar restarted: how often the node was restarted while matches went on.
    :ivar rolled: how many nodes were replaced while others had their matches.
    :ivar inputs: inputs that bots sent.
    :ivar lost: datagrams that were lost on purpose.
    :ivar errors: how often bots were refused, by error code.
    """

    game: str
    seed: str
    seconds: float = 0.0
    killed: Counter[str] = attrs.field(factory=Counter)
    checked: int = 0
    begun: int = 0
    finished: int = 0
    resumed: int = 0
    most_parts: int = 0
    acknowledged: int = 0
    states: int = 0
    inputs: int = 0
    lost: int = 0
    broken: list[Broken] = attrs.field(factory=list)
    trouble: list[str] = attrs.field(factory=list)
    is_interrupted: bool = False
    pauses: Samples = attrs.field(factory=Samples)
    moved: int = 0
    planned: int = 0
    restarted: int = 0
    rolled: int = 0
    move_pauses: Samples = attrs.field(factory=Samples)
    errors: dict[str, int] = attrs.field(factory=dict)

    def add(self, found: Checked) -> None:
        """Add the check of one match."""
        self.checked += 1
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
        done = self.killed.total() + self.moved + self.restarted + self.rolled
        is_spared = self.planned and not done and not self.is_interrupted
        return "nothing was killed, so nothing is shown" if is_spared else ""

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        counts = Counter(one.promise for one in self.broken)
        return {
            "passed": self.exit_code == 0,
            "game": self.game,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.is_interrupted,
            "killed": dict(sorted(self.killed.items())),
            "matches": {
                "begun": self.begun,
                "finished": self.finished,
                "resumed": self.resumed,
            },
            "inputs": {"sent": self.inputs, "acknowledged": self.acknowledged},
            "states": self.states,
            "datagrams_lost": self.lost,
            "pause_ms": self.pauses.summary_ms(),
            "moved": self.moved,
            "restarted": self.restarted,
            "rolled": self.rolled,
            "move_pause_ms": self.move_pauses.summary_ms(),
            "errors": self.errors,
            "promises": {name: counts.get(name, 0) for name in PROMISES},
            "broken": [attrs.asdict(one) for one in self.broken],
            "trouble": self.trouble,
        }

    def as_text(self) -> str:
        """Return the report as text."""
        killed = ", ".join(f"{n} {kind}" for kind, n in sorted(self.killed.items()))
        lines = [
            f"matches   {self.begun} begun, {self.finished} finished, {self.resumed} "
            f"went on in another process",
            f"killed    {killed or 'nothing'}; {self.lost:,} datagrams lost",
            f"compared  {self.acknowledged:,} acknowledged inputs, {self.states:,} "
            f"states",
        ]
        for samples, words in (
            (self.pauses, "from a kill until all players of the match play again"),
            (self.move_pauses, f"without a state, in {self.moved} moves"),
        ):
            pause = samples.summary_ms()
            if pause["p50"] is not None:
                lines.append(
                    f"pause     p50 {pause['p50']:,.0f} ms, p99 {pause['p99']:,.0f} "
                    f"ms: {words}"
                )
        counts = Counter(one.promise for one in self.broken)
        for name, words in PROMISES.items() if self.begun else ():
            broken = f"BROKEN {counts[name]} times" if name in counts else "kept"
            lines.append(f"{name:<9} {broken}: {words}")
        printed = [
            one
            for name in _PRINTED
            for one in [each for each in self.broken if each.promise == name][
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
