"""Draw what a distant player sees of the arena, as plain SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.arena_plot import FAR, WIDTH, Place, Seen

_WIDE, _HIGH = 920, 540
_LEFT, _RIGHT = 30, 890
#: How much of the match the upper part shows, seconds.
_WINDOW = 3.0
_GREY, _BLUE, _RED, _INK, _FRAME = "#9aa0a6", "#1a66cc", "#c5303a", "#202124", "#dadce0"

_Put = Callable[[Place], Place]


def draw(seen: Seen) -> str:
    """Draw the seconds around the largest correction, and all corrections."""
    network = (
        f"{FAR.delay * 1000:.0f} ± {FAR.jitter * 1000:.0f} ms and "
        f"{FAR.loss * 100:.0f} % loss, each way"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" '
            'font-family="system-ui, sans-serif" font-size="13">',
            f"<title>What a player sees of the arena at {network}</title>",
            f'<rect width="{_WIDE}" height="{_HIGH}" fill="#ffffff"/>',
            *_worst(seen, network, 60, 310),
            *_corrections(seen, 390, 490),
            "</svg>\n",
        ]
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
    put = _scale((first, last), (min(values) - WIDTH, max(values) + WIDTH), top, bottom)
    yield _words(_LEFT, 24, f"{network}: one player, around the largest correction")
    yield from _key(44)
    yield _box(top, bottom)
    yield _line(map(put, true.values()), _GREY, 1.5)
    for tick, place in true.items():
        if tick not in arrived:
            yield _dot(put(place), _RED)
    for place in came:
        yield _dot(put(place), _INK)
    yield _line(map(put, shown), _BLUE, 2)
    x, low = put((last, min(values) - WIDTH / 2))
    _, high = put((last, min(values) + WIDTH / 2))
    yield _line([(x - 10, low), (x - 10, high)], _INK, 3)
    yield _words(x - 18, (low + high) / 2 + 4, "a player's width", end=True)
    for half in range(int(first * 2) + 1, int(last * 2) + 1):
        x, _ = put((half / 2, 0))
        if x < _RIGHT - 20:
            yield _words(x - 12, bottom + 17, f"{half / 2:.1f} s", _GREY)


def _key(y: int) -> Iterable[str]:
    x = _LEFT
    for words, colour, is_line in (
        ("at the server", _GREY, True),
        ("received by the client", _INK, False),
        ("lost, or received after a newer one", _RED, False),
        ("shown", _BLUE, True),
    ):
        if is_line:
            yield _line([(x, y - 4), (x + 18, y - 4)], colour, 2)
        else:
            yield _dot((x + 9, y - 4), colour)
        yield _words(x + 24, y, words)
        x += 60 + 7 * len(words)


def _corrections(seen: Seen, top: int, bottom: int) -> Iterable[str]:
    """Draw how far each state moved the player whom it moved most."""
    put = _scale((0, seen.frames[-1].at), (0, WIDTH * 1.1), top, bottom)
    yield _words(
        _LEFT,
        top - 12,
        "corrections in the whole match, each for the player whom it moved most",
    )
    yield _box(top, bottom)
    # Most of them are too small to be drawn.
    for at, ways in (jump for jump in seen.jumps if max(jump[1]) > WIDTH / 100):
        yield _line([put((at, 0)), put((at, max(ways)))], _BLUE, 1)
    _, y = put((0, WIDTH))
    yield _line([(_LEFT, y), (_RIGHT, y)], _RED, 1)
    yield _words(_RIGHT - 6, y + 16, "a player's width", _RED, end=True)
    for second in range(0, int(seen.frames[-1].at), 15):
        x, _ = put((second, 0))
        yield _words(x, bottom + 17, f"{second} s", _GREY)


def _scale(across: Place, up: Place, top: int, bottom: int) -> _Put:
    def put(point: Place) -> Place:
        right = (point[0] - across[0]) / (across[1] - across[0])
        high = (point[1] - up[0]) / (up[1] - up[0])
        return _LEFT + right * (_RIGHT - _LEFT), bottom - high * (bottom - top)

    return put


def _line(points: Iterable[Place], colour: str, width: float) -> str:
    points_text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{points_text}" fill="none" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _dot(place: Place, colour: str) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.5" fill="{colour}"/>'


def _box(top: int, bottom: int) -> str:
    size = f'width="{_RIGHT - _LEFT}" height="{bottom - top}"'
    return f'<rect x="{_LEFT}" y="{top}" {size} fill="none" stroke="{_FRAME}"/>'


def _words(
    x: float, y: float, words: str, colour: str = _INK, end: bool = False
) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{anchor}>{words}</text>'
