"""Write figures as tables into a page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from benchmarks.figures import Figure

_HEAD = """\
.. list-table::
   :header-rows: 1
   :widths: 40 26 12 22

   * - What
     - Median (minimum to maximum)
     - Bar
     - Met
"""
#: Units that name what they measure, and the short ones for bars.
_SHORT = {"us CPU": "us", "ms CPU": "ms", "% of a core": "%"}


def has_place(page: str, part: str) -> bool:
    """Does a page mark where this part's table goes?"""
    return _place(part).search(page) is not None


def write_table(
    page: str, part: str, figures: Iterable[Figure], machine: dict[str, Any]
) -> str:
    """
    Replace a part's figures in a page.

    They are between ``.. measured: PART`` and ``.. end of PART``; a page without these
    lines is returned unchanged.

    :param machine: as `benchmarks.machine.describe` returns it.
    """
    table = _table(list(figures), machine)
    return _place(part).sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", page)


def _place(part: str) -> re.Pattern[str]:
    name = re.escape(part)
    return re.compile(
        rf"^(\.\. measured: {name}\n).*?^(\.\. end of {name}\n)",
        re.DOTALL | re.MULTILINE,
    )


def _table(figures: list[Figure], machine: dict[str, Any]) -> str:
    runs = max(len(figure.runs) for figure in figures)
    slower = next((each.slower for each in figures if each.slower is not None), None)
    heading = (
        f"{machine['date']}, {machine['system']}, Python {machine['python']}, "
        f"{machine['cores']} cores, load average {machine['load_average']} before it; "
        f"{'one run' if runs == 1 else f'{runs} runs'}"
    )
    if slower is not None:
        heading += f"; machine {slower:.2f} times slower than that of the bars"
    return "\n".join((f"{heading}:", "", _HEAD + "\n".join(map(_row, figures)), ""))


def _row(figure: Figure) -> str:
    measured = f"{figure.value:,.4g} {figure.unit}"
    if figure.note:
        measured = f"no figure: {figure.note}"
    elif len(figure.runs) > 1:
        measured += f" ({min(figure.runs):,.4g} to {max(figure.runs):,.4g})"
    cells = (figure.name, measured, _bar(figure, figure.bar), _reached(figure))
    return "\n".join(
        f"   {'*' if not index else ' '} - {cell}".rstrip()
        for index, cell in enumerate(cells)
    )


def _bar(figure: Figure, bar: float | None) -> str:
    if bar is None:
        return "none"
    words = "at least" if figure.at_least else "at most"
    return f"{words} {bar:,.4g} {_SHORT.get(figure.unit, figure.unit)}"


def _reached(figure: Figure) -> str:
    if figure.is_met is None:
        return ""
    said = "yes" if figure.is_met else "**no**"
    if figure.is_met or figure.bar_here is None:
        return said
    here = "yes" if figure.is_met_here else "**no**"
    return f"{said}; {_bar(figure, figure.bar_here)} at this machine's speed: {here}"
