"""Packed views in vinom.js: the same as in Python."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any

from msgspec import json, msgpack
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.games.swarm import Swarm
from tests.base.test_packed import LAYOUT
from tests.support.javascript import run_script
from vinom.base.model import MatchPlan, SeatPlan
from vinom.base.packed import Layout, Packed
from vinom.play.packing import packing_of
from vinom.play.play import table_of


class UnpackTests(SynchronousTestCase):
    def unpack(self, layout: Layout, steps: list[Any]) -> Any:
        """Have vinom.js read packed views."""
        return run_script("unpack.mjs", {"layout": layout.description, "steps": steps})

    def step(self, layout: Layout, now: Packed, before: Packed | None) -> list[Any]:
        """Pack one view, as it travels in JSON."""
        others = layout.others_since(now, before)
        return [
            b64encode(layout.write(now, before)).decode(),
            {str(index): msgpack.decode(raw) for index, raw in others.items()},
            before is None,
        ]

    def test_game(self) -> None:
        """
        A page sees 40 figures run exactly as the server shows them to others.
        """
        game, packing = Swarm(), packing_of(Swarm.shows)
        assert packing is not None
        plan = MatchPlan("m1", "swarm", (SeatPlan("p1", "ann"),), 7)
        state, before, steps = game.start(table_of(plan, game)), None, []
        shown: list[Any] = []
        for tick in range(1, 40):
            state = game.tick(state, (), tick)
            now = packing.pack(game.view(state, "all"))
            steps.append(self.step(packing.layout, now, before))
            shown.append(packing.layout.plain(now))
            before = now
        self.assertEqual(self.unpack(packing.layout, steps), shown)

    def test_all_kinds(self) -> None:
        """
        Numbers of every width, choices, text, and lists that grow and shrink are read;
        what lost its end is refused.
        """
        chance = random.Random(1)
        before, steps, shown = None, [], []
        for _ in range(60):
            rows = chance.randrange(20), chance.randrange(3)
            lanes = [b"", b"", b""]
            for number in LAYOUT.numbers:
                for _ in range((1, *rows)[number.table]):
                    step = (
                        chance.randint(0, number.steps) if chance.random() < 0.7 else 0
                    )
                    lanes[(1, 2, 4).index(number.width)] += step.to_bytes(
                        number.width, "little"
                    )
            texts = (
                msgpack.encode(["ab"[chance.randrange(2)]]),
                msgpack.encode(list(range(rows[0]))),
            )
            now = Packed(rows, tuple(lanes), texts)
            made = self.step(LAYOUT, now, before)
            short = LAYOUT.write(now, before)[: -1 - chance.randrange(2)]
            steps += [[b64encode(short).decode(), *made[1:]], made]
            shown += [None, json.decode(json.encode(LAYOUT.plain(now)))]
            before = now
        self.assertEqual(self.unpack(LAYOUT, steps), shown)
