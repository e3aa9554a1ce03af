"""
W3C's ``traceparent``: the trace that a session belongs to.

Pure. Source: W3C Trace Context, section 3.2.
"""

from __future__ import annotations

import re

#: version, trace id, parent id, flags; later versions may append more.
_TRACEPARENT = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}"
    "-[0-9a-f]{2}(-[!-~]{1,100})?"
)


def checked_traceparent(text: str) -> str:
    """Return *text* if it is a ``traceparent``, and otherwise an empty text."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def trace_id(traceparent: str) -> str:
    """Return the trace id of a ``traceparent``; empty for none."""
    return traceparent[3:35]
