"""Plots as plain SVG: lines, dots and words in a picture of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_WIDE, _HIGH = 920, 540
LEFT, RIGHT = 30, 890
GREY, BLUE, RED, INK, EDGE = "#9aa0a6", "#1a66cc", "#c5303a", "#202124", "#dadce0"

Place = tuple[float, float]
Put = Callable[[Place], Place]


def page(title: str, parts: Iterable[str]) -> str:
    """Make the picture of its parts."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" '
            'font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{title}</title>",
            f'<rect width="{_WIDE}" height="{_HIGH}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def scale(across: Place, up: Place, top: int, bottom: int) -> Put:
    def put(point: Place) -> Place:
        right = (point[0] - across[0]) / (across[1] - across[0])
        high = (point[1] - up[0]) / (up[1] - up[0])
        return LEFT + right * (RIGHT - LEFT), bottom - high * (bottom - top)

    return put


def line(points: Iterable[Place], colour: str, width: float) -> str:
    points_text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{points_text}" fill="none" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def dot(place: Place, colour: str) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.5" fill="{colour}"/>'


def key(y: int, entries: Iterable[tuple[str, str, bool]]) -> Iterable[str]:
    """
    Name what is drawn, in one row.

    :param entries: of each its name, its colour, and whether it is a line, not dots.
    """
    x = LEFT
    for name, colour, is_line in entries:
        if is_line:
            yield line([(x, y - 4), (x + 18, y - 4)], colour, 2)
        else:
            yield dot((x + 9, y - 4), colour)
        yield words(x + 24, y, name)
        x += 60 + 7 * len(name)


def box(top: int, bottom: int) -> str:
    size = f'width="{RIGHT - LEFT}" height="{bottom - top}"'
    return f'<rect x="{LEFT}" y="{top}" {size} fill="none" stroke="{EDGE}"/>'


def words(x: float, y: float, text: str, colour: str = INK, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{anchor}>{text}</text>'
