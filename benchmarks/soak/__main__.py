"""``python -m benchmarks.soak``: hours of play with trouble, and a verdict."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.machine import Failed, build
from benchmarks.node import Node
from benchmarks.soak.checks import Bounds, Sample, faults, leaks
from benchmarks.soak.world import PROFILES, SEATS, Crowd, Trouble, sample
from vinom.errors import VinomError

PORTS = 24


class Soak:
    """
    One run.

    :param players: of one crowd.
    :param round_seconds: how long a crowd queues; then the next one starts.
    """

    def __init__(
        self, node: Node, junkload: Path, players: int, round_seconds: float, seed: int
    ) -> None:
        self._node, self._players, self._round = node, players, round_seconds
        self._chance = random.Random(seed)
        self._trouble = Trouble(node, junkload, self._chance)
        self._began = time.monotonic()
        self._samples: list[Sample] = [sample(node, 0.0)]
        self._bounds = Bounds(PORTS)
        self._errors: Counter[str] = Counter()
        self._matches: Counter[str] = Counter()
        self._rounds = 0
        self._found: list[str] = []
        self._broken: list[str] = []
        self.is_stopped = False

    @property
    def age(self) -> float:
        """How long it has run, seconds."""
        return time.monotonic() - self._began

    def run(self, seconds: float) -> None:
        """Run one crowd after the other until the time is over."""
        while not self.is_stopped and (self._rounds == 0 or self.age < seconds):
            network = PROFILES[self._rounds % len(PROFILES)]
            self._rounds += 1
            crowd = Crowd.start(self._node, self._players, self._round, network)
            try:
                self._play(crowd)
            finally:
                self._trouble.end()
                crowd.end()

    def _play(self, crowd: Crowd) -> None:
        until = time.monotonic() + self._round
        while not self.is_stopped and time.monotonic() < until:
            time.sleep(min(self._chance.uniform(2, 15), self._round / 4))
            happens = self._chance.random()
            if happens < 0.4:
                self.say(self._trouble.strike())
            elif happens < 0.8:
                self.say(self._trouble.burst(5.0))
        if self.is_stopped:
            return
        result = crowd.report(self._round + 180)
        matches, errors = result["matches"], result["errors"]
        self._errors.update(errors)
        self._matches.update(matches)
        self._look()
        network = " ".join(crowd.network) or "a good network"
        self.say(
            f"{matches['finished']} matches finished, {matches['failed']} failed, "
            f"{errors or 'no errors'}; {network}"
        )
        if not matches["finished"]:
            self.broke(f"no match finished over {network}: {result['reasons']}")

    def _look(self) -> None:
        now = sample(self._node, self.age)
        self._samples.append(now)
        self.say(
            f"node: {now.memory / 1e6:.1f} MB, {now.descriptors} descriptors, "
            f"{now.ports} of {PORTS} ports, {now.servers} game servers"
        )
        failed, struck = self._matches["failed"], self._trouble.struck
        before, self._found = (
            self._found,
            [
                *leaks(self._samples, self._bounds),
                *faults(self._errors, failed, struck, SEATS),
            ],
        )
        for fault in self._found:
            if fault not in before:
                self.say(f"WRONG: {fault}")

    def settle(self) -> None:
        """Check that nothing is left when nobody plays."""
        give_up = time.monotonic() + 60
        while (fleet := self._node.status()["fleet"])["rooms"] or fleet["waiting"]:
            if time.monotonic() > give_up:
                self.broke(f"{fleet['rooms']} rooms are left when nobody plays")
                break
            time.sleep(0.2)
        self._look()

    def say(self, what: str) -> None:
        """Print one line of progress."""
        print(f"{self.age:8.0f} s  {what}", flush=True)

    @property
    def wrong(self) -> list[str]:
        """List what is wrong."""
        return self._broken + self._found

    def broke(self, what: str) -> None:
        """Record a failure of the run."""
        self._broken.append(what)
        self.say(f"WRONG: {what}")

    def verdict(self) -> str:
        """Return the verdict in one line."""
        good = "FAILED: " + "; ".join(self.wrong) if self.wrong else "all is well"
        return (
            f"{self.age / 60:.1f} minutes, {self._rounds} crowds, "
            f"{self._matches['finished']} matches finished, "
            f"{self._matches['failed']} failed, {self._trouble.struck} struck: {good}"
        )


def main(argv: list[str] | None = None) -> int:
    """Run; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=1.0, help="how long (1)")
    length.add_argument("--minutes", type=float, help="the same for short runs")
    parser.add_argument("--players", type=int, default=24, help="of one crowd (24)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens (1)")
    options = parser.parse_args(argv)
    minutes = 60 * options.hours if options.minutes is None else options.minutes
    with tempfile.TemporaryDirectory(prefix="vinom-soak-") as folder:
        try:
            junkload = build("junkload", Path(folder), "ssl", "crypto")
            with Node("--connections-per-address=1000", ports=PORTS) as node:
                round_seconds = min(60.0, 60 * minutes / 2)
                soak = Soak(
                    node, junkload, options.players, round_seconds, options.seed
                )

                def interrupted(number: int, frame: object) -> None:
                    soak.is_stopped = True

                signal.signal(signal.SIGINT, interrupted)
                signal.signal(signal.SIGTERM, interrupted)
                soak.run(60 * minutes)
                if not soak.is_stopped:
                    soak.settle()
                if node.has_ended:
                    soak.broke("the node has ended")
                print(soak.verdict(), flush=True)
                return int(bool(soak.wrong))
        except (Failed, VinomError) as error:
            print(f"soak failed: {error}", flush=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())
