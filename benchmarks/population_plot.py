"""Draw how values are distributed, as SVG."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import attrs

_WIDTH, _HEIGHT = 920, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 70, 890, 360
#: Of curves, in their order.
COLOURS = ("#7b8187", "#1a66cc", "#c5303a", "#188038")
_DARK, _LIGHT = "#202124", "#dadce0"
_POINTS = 160


@attrs.frozen
class Curve:
    """A name, values in ascending order, and its colour."""

    name: str
    values: Sequence[float]
    colour: str

    def share(self, value: float) -> float:
        """Which part of the values is at most this one?"""
        return bisect_right(self.values, value) / len(self.values)


def draw(title: str, unit: str, curves: Sequence[Curve], end: float) -> str:
    """
    Draw the share of values that are at most as large as the one on the x-axis.

    :param title: of the plot.
    :param unit: of the values.
    :param end: of the x-axis.
    """
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 24, title),
    ]
    for number in range(6):
        share = number / 5
        y = _y(share)
        lines.append(_line([(_LEFT, y), (_RIGHT, y)], _LIGHT, 1))
        lines.append(_text(_LEFT - 8, y + 4, f"{share:.0%}", "end"))
        x = _x(share * end, end)
        lines.append(_line([(x, _TOP), (x, _BOTTOM)], _LIGHT, 1))
        lines.append(_text(x, _BOTTOM + 20, f"{share * end:g}", "middle"))
    lines.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, unit, "middle"))
    at = float(_LEFT)
    for curve in curves:
        lines.append(_line([(at, 46), (at + 18, 46)], curve.colour, 3))
        lines.append(_text(at + 24, 50, curve.name))
        at += 60 + 7 * len(curve.name)
        values = [end * number / _POINTS for number in range(_POINTS + 1)]
        points = [(_x(value, end), _y(curve.share(value))) for value in values]
        lines.append(_line(points, curve.colour, 2))
    return "\n".join((*lines, "</svg>", ""))


def _x(value: float, end: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * value / end


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_DARK}" text-anchor="{anchor}">'
        f"{text}</text>"
    )


def _line(points: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )
