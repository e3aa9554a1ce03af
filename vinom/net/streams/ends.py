"""
The interfaces of the two ends of a session, and the trace that it belongs to.

Pure. A session has a client and a back end; each is a `Stream` for the session, and
reports to the `Leg` on its own side of the session. Source of ``traceparent``: W3C
Trace Context, section 3.2.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Protocol as Shape


class Reason(StrEnum):
    """
    Why a session is over. A closed list: clients that speak packets can switch on it.

    The comment at each member says what it means for the client.
    """

    DONE = "done"  #: one end had no more to send
    CLIENT_LOST = "client_lost"  #: the client's connection broke
    BACKEND_LOST = (
        "backend_lost"  #: the back end's connection broke: open another session
    )
    ABORTED = "aborted"  #: the back end aborted this session only
    UNKNOWN_SERVICE = "unknown_service"  #: no rule names the service
    NO_BACKEND = "no_backend"  #: none of its back ends can be reached: try again later
    SESSION_IN_USE = "session_in_use"  #: use another id
    BAD_PACKET = "bad_packet"  #: not a packet, or not a valid one at this point
    TOO_MANY = "too_many"  #: a limit of the gateway is reached
    TOO_SLOW = "too_slow"  #: the client did not read for too long
    TIMEOUT = "timeout"  #: one end sent nothing for too long
    DRAINING = "draining"  #: this gateway is stopping: connect again
    INTERNAL = "internal"  #: an error in the gateway; see its log


class Stream(Shape):
    """One end of a session, called by the session."""

    def send(self, data: bytes) -> None:
        """Pass bytes on to the peer, holding those that the peer does not read yet."""

    def finish(self) -> None:
        """Send no more; the peer may still send."""

    def close(self, reason: Reason, words: str = "") -> None:
        """The session is over: send the held bytes and the reason, then close."""

    def pause(self) -> None:
        """Stop reading from the peer, because the other end does not read."""

    def resume(self) -> None:
        """Read from the peer again."""


class Leg(Shape):
    """One side of a session, to which the end on that side reports."""

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""

    def finished(self) -> None:
        """The peer sends no more, but may still read."""

    def lost(self, reason: Reason, words: str = "") -> None:
        """The peer is gone, or closed the session."""

    def filled(self) -> None:
        """The peer does not read what it is sent."""

    def drained(self) -> None:
        """The peer reads again."""


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
