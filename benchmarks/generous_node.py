"""
``python -m twisted vinom``, whose game servers let one player do more.

Their limits stay on, but high: one of our few clients stands for many. The node
has no settings for these two.
"""

from __future__ import annotations

import runpy
import sys

import attrs

from vinom.fleet.local import GameServerProgram
from vinom.tap import parts
from vinom.tap.settings import Settings

#: Packets and actions a second of one connection.
PLENTY = {"packets": 100_000.0, "inputs": 100_000.0}

_usual = parts.game_server_program


def _generous(settings: Settings) -> GameServerProgram:
    program = _usual(settings)
    return attrs.evolve(program, settings={**program.settings, **PLENTY})


if __name__ == "__main__":
    parts.game_server_program = _generous
    sys.argv[0] = "twisted"
    runpy.run_module("twisted", run_name="__main__")
