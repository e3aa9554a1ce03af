"""Enough of PromQL to find out which metrics and labels an expression names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import attrs

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>\d+(?:\.\d+)?(?:[smhdwy]|ms)?)
  | (?P<name>[$A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],])
    """,
    re.VERBOSE,
)
_FUNCTIONS = {
    *("abs", "absent", "avg", "clamp_min", "count", "delta", "histogram_quantile"),
    *("increase", "label_values", "max", "max_over_time", "min", "rate", "sum"),
    *("time", "topk", "vector"),
}
#: These are followed by label names in parentheses.
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool", "offset"}
_CLOSING = {"(": ")", "{": "}", "[": "]"}


class Wrong(Exception):
    """This isn't PromQL, or not a part that we read."""


@attrs.frozen
class Named:
    """
    What an expression asks for.

    :ivar selectors: metric and the labels that it is narrowed by.
    :ivar groupings: labels that distinguish results.
    """

    selectors: list[tuple[str, set[str]]]
    groupings: set[str]


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise Wrong(f"at {expression[at : at + 20]!r}")
        at = match.end()
        kind = match.lastgroup or ""
        if kind != "space":
            yield kind, match.group()
    yield "end", ""


def read(expression: str) -> Named:
    """
    Find what an expression names.

    :raises Wrong: it cannot be right.
    """
    found = Named([], set())
    tokens = list(_tokens(expression))
    opened: list[str] = []
    inside_labels = expects_labels = False
    for (kind, text), (_, following) in pairwise(tokens):
        if kind == "sign" and text in _CLOSING:
            opened.append(text)
            inside_labels = expects_labels or text == "{"
            expects_labels = False
        elif kind == "sign" and text in _CLOSING.values():
            if not opened or _CLOSING[opened.pop()] != text:
                raise Wrong(f"{text!r} closes nothing")
            inside_labels = False
        elif kind != "name":
            continue
        elif opened and opened[-1] == "[":
            if text != "$__rate_interval":
                raise Wrong(f"[{text}] is not a range")
        elif inside_labels and opened[-1] == "{":
            found.selectors[-1][1].add(text)
        elif inside_labels:
            found.groupings.add(text)
        elif text in _GROUPING:
            expects_labels = True
        elif text in _OPERATORS:
            continue
        elif following == "(" or (text in _FUNCTIONS and following in _GROUPING):
            if text not in _FUNCTIONS:
                raise Wrong(f"{text} is not a known function")
        else:
            found.selectors.append((text, set()))
    if opened:
        raise Wrong(f"{opened[-1]!r} is not closed")
    return found
