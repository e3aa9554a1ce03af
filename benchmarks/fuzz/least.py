"""Choose few inputs that reach as much code as many do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

Arc = tuple[str, int, int]


def arcs_of(target: Callable[[bytes], None], data: bytes) -> set[Arc]:
    """Run a target; return each step from line to line that it made in vinom."""
    arcs: set[Arc] = set()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if "vinom" not in name:
            return None
        before = 0

        def step(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal before
            arcs.add((name, before, frame.f_lineno))
            before = frame.f_lineno
            return step

        return step

    other = sys.gettrace()
    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(other)
    return arcs


def least(
    target: Callable[[bytes], None], inputs: Iterable[bytes], most: int
) -> list[bytes]:
    """
    Keep inputs that together make the steps of all of them, short ones if possible.

    If these are more than *most*, keep those that make the most steps together.
    """
    seen: set[Arc] = set()
    kept: dict[bytes, set[Arc]] = {}
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        arcs = arcs_of(target, data)
        if not arcs <= seen:
            seen |= arcs
            kept[data] = arcs
    if len(kept) <= most:
        return list(kept)
    chosen: list[bytes] = []
    while len(chosen) < most and seen:
        best = max(kept, key=lambda data: len(kept[data] & seen))
        seen -= kept.pop(best)
        chosen.append(best)
    return chosen
