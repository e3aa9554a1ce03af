"""Packed views beside whole ones: how long they are, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import json

from benchmarks.figures import Figure, Size, in_time, of_runs, ratio
from benchmarks.games.swarm import Crowded, Swarm, WholeSwarm
from benchmarks.machine import build, load
from benchmarks.node import SEATS, Node
from benchmarks.play import DENSE
from vinom.base.model import MatchPlan, SeatPlan
from vinom.base.packed import Packed
from vinom.net.packets.codec import LONGEST_PIECE
from vinom.play.packing import packing_of
from vinom.play.play import table_of

PLAYERS = 160
#: Inputs per second of each player.
INPUTS = 20
#: What the base of a difference is older, ticks: 150 ms.
_BEHIND = 3


def lengths(game: Swarm, ticks: int) -> dict[str, list[int]]:
    """Play; measure the views of all ticks, packed and as JSON."""
    plan = MatchPlan("m1", game.name, (SeatPlan("p1", "ann"),) * SEATS, 7)
    packing = packing_of(game.shows)
    assert packing is not None
    state, views = game.start(table_of(plan, game)), list[Packed]()
    found: dict[str, list[int]] = {"packed": [], "json": []}
    for tick in range(1, ticks + _BEHIND + 1):
        state = game.tick(state, (), tick)
        view = game.view(state, "all")
        views.append(packing.pack(view))
        if tick > _BEHIND:
            written = packing.layout.write_whole(views[-1], views[-1 - _BEHIND])
            found["packed"].append(len(written))
            found["json"].append(len(json.encode(view)))
    return found


def packed(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Views of 40 and of 150 moving figures, packed; and the CPU of an input."""
    udpload = build("udpload", folder, "ssl", "crypto")
    figures = []
    for game, bar in ((Swarm(), 600), (Crowded(), LONGEST_PIECE)):
        found = lengths(game, size.count(1000))
        for how, share in (("packed", 50), ("packed", 99), ("json", 50)):
            ordered = sorted(found[how])
            figures.append(
                Figure(
                    f"{game.size} figures, {how}, p{share}",
                    "bytes",
                    (ordered[len(ordered) * share // 100],),
                    bar if (how, share) == ("packed", 50) else None,
                )
            )
    runs: dict[str, list[dict[str, Any]]] = {"whole": [], "packed": []}
    players = size.count(PLAYERS)
    for run in range(size.runs):
        for how, game in (("whole", WholeSwarm), ("packed", Swarm)):
            say(f"packed: run {run + 1} of {size.runs}, {how}")
            play = partial(_play, size, udpload, players, game, how)
            runs[how].append(in_time(size, players * INPUTS, play))
    whole, packs = runs["whole"], runs["packed"]
    what = "input with its own four states of 40 figures"
    figures += [of_runs(f"{what}, {how}", "us", runs[how], "cpu_us") for how in runs]
    figures.append(ratio(f"{what}, packed over whole", packs, whole, "cpu_us", 1.3))
    return figures


def _play(
    size: Size, udpload: Path, players: int, game: type[Swarm], how: str
) -> dict[str, Any]:
    spec = f"--game={game.__module__}:{game.__qualname__}"
    with Node(*DENSE, spec, "--join-seconds=60") as node:
        matches = [node.start_match(game=game.name) for _ in range(players // SEATS)]
        result = load(
            udpload,
            *(node.write_seats(matches), node.server_of(matches[0]), "open"),
            *(size.seconds(2.0), size.seconds(8.0), players * INPUTS, how),
        )
    result["cpu_us"] = 1e6 * result["server_cpu"] / max(result["inputs_s"], 1.0)
    return result
