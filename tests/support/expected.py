"""Tests that fail until a planned issue is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., Any])


def fails_until(issue: str) -> Callable[[_Test], _Test]:
    """
    Expect a test to fail by its last assertion; anything else is an error.

    :param issue: what mends it.
    """

    def mark(test: _Test) -> _Test:
        # By name: trial's reporters cannot print classes.
        test.todo = (["twisted.trial.unittest.FailTest"], issue)  # type: ignore[attr-defined]
        return test

    return mark
