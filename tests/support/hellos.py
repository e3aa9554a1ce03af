"""Hellos as they are on the wire."""

from __future__ import annotations


def long_hello(size: int) -> bytes:
    """Make a hello with a token, *size* bytes long."""
    head, tail = (
        b'{"type":"hello","data":{"protocol":1,"credentials":{"token":"',
        b'"}}}',
    )
    return head + b"x" * (size - len(head) - len(tail)) + tail
