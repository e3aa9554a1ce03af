"""
What the two ends of a session are to each other.

Pure. A session has a client and a back end; each is a `Stream` to the session, and
reports to the session's `Leg` of its own side.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol as Shape


class Reason(StrEnum):
    """
    Why a session is over. Closed: clients of packets may switch on it.

    The comment beside each member says what it means to the client.
    """

    DONE = "done"  #: one end had no more to send
    CLIENT_LOST = "client_lost"  #: the client's connection broke
    BACKEND_LOST = "backend_lost"  #: the back end's connection broke: come back
    ABORTED = "aborted"  #: the back end broke this session off, and no other one
    UNKNOWN_SERVICE = "unknown_service"  #: no rule names it
    NO_BACKEND = "no_backend"  #: none of its back ends can be reached; come back later
    SESSION_IN_USE = "session_in_use"  #: open another id
    BAD_PACKET = "bad_packet"  #: not a packet, or not one for now
    TOO_MANY = "too_many"  #: a limit of the gateway
    TOO_SLOW = "too_slow"  #: one end did not read for too long
    TIMEOUT = "timeout"  #: one end sent nothing for too long
    DRAINING = "draining"  #: this gateway stops: connect again
    INTERNAL = "internal"  #: our mistake; it is in the gateway's log


class Stream(Shape):
    """One end of a session, as the session calls it."""

    def send(self, data: bytes) -> None:
        """Pass bytes on to the peer; it holds what the peer does not take yet."""

    def finish(self) -> None:
        """Nothing more follows; the peer may still send."""

    def close(self, reason: Reason, words: str = "") -> None:
        """The session is over: send what is held, and why, then close."""

    def pause(self) -> None:
        """The other end does not take what comes: read no more of the peer."""

    def resume(self) -> None:
        """The other end takes it again."""


class Leg(Shape):
    """One side of a session, as the end of that side reports to it."""

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""

    def finished(self) -> None:
        """The peer sends no more, and may still read."""

    def lost(self, reason: Reason, words: str = "") -> None:
        """The peer is gone, or closed the session."""

    def filled(self) -> None:
        """The peer does not take what it is sent."""

    def drained(self) -> None:
        """The peer takes it again."""
