"""
``python -m benchmarks.lab_plot``: what a distant player sees of its own paddle.

The lab *Prediction* of the manual is played on a virtual clock over a seeded network;
what its board draws is compared with where the server has the paddle one way later.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.svg import (
    BLUE,
    GREY,
    INK,
    LEFT,
    RED,
    RIGHT,
    box,
    key,
    line,
    page,
    scale,
    words,
)
from tests.support.labs import Frame, frames_of, load_lab

PICTURE = Path(__file__).resolve().parent.parent / "docs/images/lab-prediction.svg"
#: How much of the play is drawn, milliseconds.
_FIRST, _LAST = 6000.0, 12_000.0
_KEY = (
    ("the newest state", GREY, True),
    ("drawn", BLUE, True),
    ("at the server 150 ms later", INK, True),
)
_TITLE = "The own paddle at 150 ± 20 ms and 5 % loss, each way"


def draw(frames: list[Frame]) -> str:
    """Draw some seconds: places above, distances from where it will be below."""
    half = load_lab("Prediction").setup(None)["half"]
    some = [frame for frame in frames if _FIRST <= frame.at <= _LAST]
    places = scale((_FIRST, _LAST), (0, 12_800), 60, 300)
    away = scale((_FIRST, _LAST), (0, 3 * half), 360, 500)
    parts = [words(LEFT, 24, _TITLE), box(60, 300), box(360, 500), *key(44, _KEY)]
    parts.append(line((places((one.at, one.right)) for one in some), INK, 3))
    for row, colour in enumerate((GREY, BLUE)):
        parts.append(
            line((places((one.at, one.rows[row])) for one in some), colour, 1.5)
        )
        far = [(one.at, abs(one.rows[row] - one.right)) for one in some]
        ways = (away((at, min(3 * half, error))) for at, error in far)
        parts.append(line(ways, colour, 1.5))
    parts.append(words(LEFT, 348, "how far from where the server will have it"))
    _, y = away((0, half))
    parts.append(line([(LEFT, y), (RIGHT, y)], RED, 1))
    parts.append(words(RIGHT - 6, y - 5, "half a paddle's width", RED, end=True))
    for second in range(int(_FIRST / 1000), int(_LAST / 1000)):
        x, _ = places((second * 1000, 0))
        parts.append(words(x + 4, 517, f"{second} s", GREY))
    return page(_TITLE, parts)


def main() -> int:
    """Play on six networks, print the figures, and draw the worst."""
    half = load_lab("Prediction").setup(None)["half"]
    plays = [frames_of("prediction", "Prediction", seed) for seed in range(6)]

    def far(frames: list[Frame], row: int) -> float:
        errors = sorted(abs(one.rows[row] - one.right) for one in frames)
        return errors[int(0.99 * len(errors))]

    for frames in plays:
        print(
            f"99 % of {len(frames)} frames: the paddle at most {far(frames, 1):.0f} "
            f"from where it will be, the newest state {far(frames, 0):.0f} "
            f"(half a width: {half})"
        )
    PICTURE.write_text(draw(max(plays, key=lambda one: far(one, 1))), "utf-8")
    print(f"drawn: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
