"""
``python -m benchmarks.soak.rooms``: rooms full of players, some of which misbehave.

It runs twice: 1,000 players in 250 rooms play, all lose their connections at once,
reconnect, and leave. The second time 50 of them never read, and 50 send garbage.
"""

from __future__ import annotations

import argparse
import random
import selectors
import sys
import time
from collections.abc import Callable

import attrs

from benchmarks.machine import Failed, awake, private_memory
from benchmarks.node import Node
from benchmarks.soak.seated import SEATS, Heard, Player, pump, pump_until
from vinom.errors import VinomError
from vinom.tools.commands.child_node import free_port

#: Connections to make at once.
_AT_ONCE = 64
#: Messages per second of a babbler: twice the limit.
_BABBLE_RATE = 20.0
Say = Callable[[str], None]


@attrs.frozen
class Plan:
    """
    One run.

    :ivar mute: players who never read, and babblers who send garbage.
    :ivar seconds: of play, half of them after all have reconnected.
    :ivar rate: inputs per second of each good player.
    :ivar back: seconds within which all must be back.
    :ivar growth: of the node's memory while they play, at most, bytes.
    """

    players: int = 1000
    mute: int = 50
    babblers: int = 50
    seconds: float = 120.0
    rate: float = 2.0
    back: float = 10.0
    growth: float = 48e6

    def kind_of(self, number: int) -> str:
        """Choose kinds so that bad players sit with good ones, few per room."""
        room, seat = divmod(number, SEATS)
        if seat == 0 and room < self.mute:
            return "mute"
        if seat == 1 and room < self.babblers:
            return "babbler"
        return "good"


@attrs.frozen
class Verdict:
    """
    The results of a run.

    :ivar wrong: what went wrong; empty if nothing did.
    :ivar p50: and p99, from when an input was due until its player saw it, ms.
    :ivar back: seconds until all had their seats again.
    :ivar grown: memory of the node when they had played, above when they had joined,
        bytes.
    """

    wrong: tuple[str, ...]
    inputs: int
    p50: float
    p99: float
    back: float
    grown: int
    sent_away: int

    def __str__(self) -> str:
        good = "FAILED: " + "; ".join(self.wrong) if self.wrong else "all is well"
        return (
            f"{self.inputs} inputs, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms; all "
            f"back after {self.back:.1f} s; memory {self.grown / 1e6:+.1f} MB; "
            f"{self.sent_away} times a bad player was disconnected: {good}"
        )


class Run:
    """One node, and its players."""

    def __init__(self, plan: Plan, node: Node, port: int, say: Say) -> None:
        self._plan, self._node, self._say = plan, node, say
        self._selector, self._heard = selectors.DefaultSelector(), Heard()
        self._wrong: list[str] = []
        self.players = [
            Player(
                number,
                plan.kind_of(number),
                port,
                self._selector,
                self._heard,
                random.Random(number),
            )
            for number in range(plan.players)
        ]
        self._good = [player for player in self.players if player.kind == "good"]
        self._bad = [player for player in self.players if player.kind == "babbler"]
        self._mute = [player for player in self.players if player.kind == "mute"]

    def verdict(self) -> Verdict:
        """Run the plan; return the verdict."""
        plan = self._plan
        descriptors = self._node.descriptors
        self._seat_all(60.0)
        before = private_memory(self._node.pid)
        self._play(plan.seconds / 2)
        for player in self.players:
            player.drop()
        back = self._seat_all(plan.back)
        self._say(f"all have their seats again after {back:.1f} s")
        self._play(plan.seconds / 2)
        grown = private_memory(self._node.pid) - before
        if grown > plan.growth:
            self._wrong.append(f"memory grew by {grown / 1e6:.0f} MB")
        self._leave(descriptors)
        heard = self._heard
        self._wrong += [f"{what}, {count} times" for what, count in heard.wrong.items()]
        self._wrong += [
            f"a good player got the error {code}, {count} times"
            for code, count in heard.errors.items()
        ]
        waits = sorted(heard.waits) or [0.0]
        return Verdict(
            wrong=tuple(self._wrong),
            inputs=len(heard.waits),
            p50=1000 * waits[len(waits) // 2],
            p99=1000 * waits[int(0.99 * (len(waits) - 1))],
            back=back,
            grown=grown,
            sent_away=heard.sent_away,
        )

    def _seat_all(self, timeout: float) -> float:
        """Let all players take their seats; return how long that took, seconds."""
        began = time.monotonic()
        while not all(player.is_seated for player in self.players):
            if time.monotonic() - began > timeout:
                missing = sum(not player.is_seated for player in self.players)
                self._wrong.append(f"{missing} have no seat after {timeout:g} s")
                break
            self._connect(self.players)
            pump(self._selector, 0.02)
        return time.monotonic() - began

    def _connect(self, players: list[Player]) -> None:
        """Connect those players who are not connected, some at a time."""
        now = time.monotonic()
        free = _AT_ONCE - sum(p.is_connected and not p.is_seated for p in players)
        for player in players:
            if free <= 0:
                return
            if not player.is_connected and now >= player.again_at:
                player.connect()
                free -= 1

    def _play(self, seconds: float) -> None:
        """Good players act at fixed times; bad ones misbehave."""
        plan, good, bad = self._plan, self._good, self._bad
        start, said, babbled = time.monotonic(), 0, 0
        looked = start
        self._heard.is_counting = True
        while (now := time.monotonic()) < start + seconds:
            while (due := start + said / (plan.rate * len(good))) <= now:
                player = good[said % len(good)]
                if player.is_seated:
                    player.act(due)
                said += 1
            while bad and start + babbled / (_BABBLE_RATE * len(bad)) <= now:
                player = bad[babbled % len(bad)]
                if player.is_seated:
                    player.babble()
                babbled += 1
            if now > looked + 0.5:
                looked = now
                # Disconnected ones reconnect at once.
                for player in self._mute:
                    player.look()
                self._connect(bad)
                self._connect(self._mute)
            pump(self._selector, min(0.005, due - now))
        pump_until(self._selector, lambda: not any(p.due for p in good), 10.0)
        self._heard.is_counting = False
        unheard = sum(len(player.due) for player in good)
        if unheard:
            self._wrong.append(f"{unheard} inputs were never seen")

    def _leave(self, descriptors: int) -> None:
        """Let all leave for good, and check that nothing is left."""
        for player in self.players:
            if player.kind != "good":
                # They must receive the answer.
                player.drop()
                player.kind, player.again_at = "good", 0.0
            player.leave()
        give_up = time.monotonic() + 60.0
        while staying := [p for p in self.players if not p.has_left]:
            if time.monotonic() > give_up:
                self._wrong.append(f"{len(staying)} cannot leave")
                break
            self._connect(staying)
            pump(self._selector, 0.02)
        self._settle(descriptors)

    def _settle(self, descriptors: int) -> None:
        # Empty rooms stay open for half of this.
        give_up = time.monotonic() + 60.0
        while time.monotonic() < give_up:
            rooms, lines = self._node.status()["rooms"], self._node.status()["lines"]
            left = {**rooms, "connections": lines}
            left["descriptors"] = max(0, self._node.descriptors - descriptors - 2)
            if not any(left.values()):
                return
            time.sleep(0.1)
        self._wrong.append(f"left over: {left}")


def soak(plan: Plan, say: Say) -> Verdict:
    """
    Run a plan on its own node.

    :raises Failed: the node does not start, or ends.
    """
    port = free_port()
    with Node(
        "--warm=0",
        f"--http={port}",
        "--connections-per-address=100000",
    ) as node:
        run = Run(plan, node, port, say)
        try:
            found = run.verdict()
        finally:
            for player in run.players:
                player.drop()
        if node.has_ended:
            raise Failed("the node has ended")
        return found


def main(argv: list[str] | None = None) -> int:
    """Run both; the exit code is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak.rooms", description=__doc__
    )
    parser.add_argument("--players", type=int, default=1000, help="in all (1000)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of play (120)")
    options = parser.parse_args(argv)
    bad = max(1, options.players // 20)
    plan = Plan(options.players, bad, bad, options.seconds)
    try:
        found = []
        for name, each in (
            ("good players only", attrs.evolve(plan, mute=0, babblers=0)),
            (f"{bad} never read, {bad} send garbage", plan),
        ):
            with awake():
                verdict = soak(each, lambda text: print(f"... {text}", flush=True))
            print(f"{name}: {verdict}", flush=True)
            found.append(verdict)
    except (Failed, VinomError) as error:
        print(f"soak failed: {error}", flush=True)
        return 1
    without, beside = found
    print(f"p99 with bad players: {beside.p99 / max(without.p99, 0.001):.2f} times")
    return int(any(verdict.wrong for verdict in found))


if __name__ == "__main__":
    sys.exit(main())
