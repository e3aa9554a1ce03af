"""Write figures as tables into a page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from benchmarks.figures import Figure

#: Shorter in a row: where a figure names what it measures, and for ratios.
_SHORT = {"us CPU": " us", "ms CPU": " ms", "times": "x", "x": "x"}


def has_place(page: str, part: str) -> bool:
    """Does a page mark where this part's table goes?"""
    return _place(part).search(page) is not None


def write_table(
    page: str, part: str, figures: Iterable[Figure], machine: dict[str, Any]
) -> str:
    """
    Replace a part's table in a page: its figures that have a bar.

    It is below ``.. measured: PART``; a page without this line is returned unchanged.

    :param machine: as `benchmarks.machine.describe` returns it.
    """
    table = _table(list(figures), machine)
    return _place(part).sub(lambda found: f"{found[1]}\n{table}\n", page)


def _place(part: str) -> re.Pattern[str]:
    """Find the mark, and the directive with all lines that belong to it."""
    return re.compile(
        rf"^(\.\. measured: {re.escape(part)}\n)(?:\n+\.\. .*\n(?:\n*   .*\n)*)?\n*",
        re.MULTILINE,
    )


def _table(figures: list[Figure], machine: dict[str, Any]) -> str:
    runs = max(len(figure.runs) for figure in figures)
    slower = next((each.slower for each in figures if each.slower is not None), None)
    title = (
        f"{machine['date']}, load {machine['load_average']}, "
        f"{'one run' if runs == 1 else f'{runs} runs'}"
    )
    if slower is not None:
        title += f", {slower:.2f} times slower"
    rows = "\n".join(
        "   " + ", ".join(f'"{cell}"' if "," in cell else cell for cell in _row(each))
        for each in figures
        if each.bar is not None
    )
    return f".. csv-table:: {title}\n\n{rows}\n"


def _row(figure: Figure) -> tuple[str, str, str]:
    assert figure.bar is not None
    measured = _number(figure.value) + _SHORT.get(figure.unit, f" {figure.unit}")
    if figure.note:
        measured = f"no figure: {figure.note}"
    elif len(figure.runs) > 1:
        measured += f" ({_number(min(figure.runs))}–{_number(max(figure.runs))})"
    bar = f"{'≥' if figure.at_least else '≤'} {_number(figure.bar)}"
    return figure.name, measured, f"{bar} **missed**" if figure.is_met is False else bar


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
