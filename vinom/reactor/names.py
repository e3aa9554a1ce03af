"""What slow calls are called, in the log and in figures."""

from __future__ import annotations

from functools import partial
from typing import Any


def name_of_call(called: Any) -> str:
    """
    Name what a timed call calls, the same each time.

    A thing that only passes calls on names their target by its ``callee``.
    """
    while True:
        if isinstance(called, partial):
            called = called.func
            continue
        inner = getattr(getattr(called, "__self__", None), "callee", None)
        if inner is None:
            break
        called = inner
    name = getattr(called, "__qualname__", None)
    if name is None:
        # Such as a `LoopingCall`, which is called itself.
        called = called.f if hasattr(called, "f") else type(called)
        name = getattr(called, "__qualname__", type(called).__qualname__)
    return f"{getattr(called, '__module__', None) or 'builtins'}.{name}"


def name_of_selectable(selectable: Any) -> str:
    """Name what reads from a descriptor: its protocol, in whatever it is wrapped."""
    found = selectable
    # TLS has its inside under the second name, client endpoints under the third.
    for inside in ("protocol", "wrappedProtocol", "_wrappedProtocol"):
        found = getattr(found, inside, None) or found
    kind = type(found)
    return f"{kind.__module__}.{kind.__qualname__}"
