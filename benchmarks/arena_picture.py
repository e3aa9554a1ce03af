"""Draw what a distant player sees of the arena, as plain SVG."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.arena_plot import FAR, WIDTH, Seen
from benchmarks.svg import (
    BLUE,
    GREY,
    INK,
    LEFT,
    RED,
    RIGHT,
    box,
    dot,
    key,
    line,
    page,
    scale,
    words,
)

#: How much of the match the upper part shows, seconds.
_WINDOW = 3.0
_KEY = (
    ("at the server", GREY, True),
    ("received by the client", INK, False),
    ("lost, or received after a newer one", RED, False),
    ("shown", BLUE, True),
)


def draw(seen: Seen) -> str:
    """Draw the seconds around the largest correction, and all corrections."""
    network = (
        f"{FAR.delay * 1000:.0f} ± {FAR.jitter * 1000:.0f} ms and "
        f"{FAR.loss * 100:.0f} % loss, each way"
    )
    return page(
        f"What a player sees of the arena at {network}",
        [*_worst(seen, network, 60, 310), *_corrections(seen, 390, 490)],
    )


def _worst(seen: Seen, network: str, top: int, bottom: int) -> Iterable[str]:
    """Follow one seat along one axis, around the largest correction."""
    at, ways = max(seen.jumps, key=lambda jump: max(jump[1]))
    seat = ways.index(max(ways))
    first, last = at - _WINDOW / 2, at + _WINDOW / 2
    frames = [frame for frame in seen.frames if first <= frame.at <= last]
    along = [[frame.places[seat][axis] for frame in frames] for axis in (0, 1)]
    axis = max((0, 1), key=lambda one: max(along[one]) - min(along[one]))
    made = {tick: at for tick, at in seen.born.items() if first <= at <= last}
    true = {tick: (at, seen.truth[tick][seat][axis]) for tick, at in made.items()}
    arrived = {one.tick for one in seen.arrivals}
    came = [
        (one.at, float(one.players[seat][axis]))
        for one in seen.arrivals
        if first <= one.at <= last
    ]
    shown = [(frame.at, frame.places[seat][axis]) for frame in frames]
    values = [value for _, value in (*true.values(), *came, *shown)]
    put = scale((first, last), (min(values) - WIDTH, max(values) + WIDTH), top, bottom)
    yield words(LEFT, 24, f"{network}: one player, around the largest correction")
    yield from key(44, _KEY)
    yield box(top, bottom)
    yield line(map(put, true.values()), GREY, 1.5)
    for tick, place in true.items():
        if tick not in arrived:
            yield dot(put(place), RED)
    for place in came:
        yield dot(put(place), INK)
    yield line(map(put, shown), BLUE, 2)
    x, low = put((last, min(values) - WIDTH / 2))
    _, high = put((last, min(values) + WIDTH / 2))
    yield line([(x - 10, low), (x - 10, high)], INK, 3)
    yield words(x - 18, (low + high) / 2 + 4, "a player's width", end=True)
    for half in range(int(first * 2) + 1, int(last * 2) + 1):
        x, _ = put((half / 2, 0))
        if x < RIGHT - 20:
            yield words(x - 12, bottom + 17, f"{half / 2:.1f} s", GREY)


def _corrections(seen: Seen, top: int, bottom: int) -> Iterable[str]:
    """Draw how far each state moved the player whom it moved most."""
    put = scale((0, seen.frames[-1].at), (0, WIDTH * 1.1), top, bottom)
    yield words(
        LEFT,
        top - 12,
        "corrections in the whole match, each for the player whom it moved most",
    )
    yield box(top, bottom)
    # Most of them are too small to be drawn.
    for at, ways in (jump for jump in seen.jumps if max(jump[1]) > WIDTH / 100):
        yield line([put((at, 0)), put((at, max(ways)))], BLUE, 1)
    _, y = put((0, WIDTH))
    yield line([(LEFT, y), (RIGHT, y)], RED, 1)
    yield words(RIGHT - 6, y + 16, "a player's width", RED, end=True)
    for second in range(0, int(seen.frames[-1].at), 15):
        x, _ = put((second, 0))
        yield words(x, bottom + 17, f"{second} s", GREY)
