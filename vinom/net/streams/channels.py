"""
The two ends of a session, and one that is a channel of a connection with many sessions.

Pure. A session has a client and a back end; each is a `Stream` for the session, and
reports to the `Leg` on its own side of the session. A `Channel` is such an end, with
credit of its own. Sources: docs/protocol/gateway.rst, section "Credit"; W3C Trace
Context, section 3.2, for ``traceparent``.
"""

from __future__ import annotations

import re
from collections import deque
from enum import StrEnum
from typing import Protocol as Shape

from vinom.net.streams.packets import Kind, Packet, data_header, encode


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


#: What either end of a session may send before the other end gives more credit, bytes.
WINDOW = 64 * 1024
#: Bytes that are passed on before they are given back as credit.
_HALF = WINDOW // 2
#: Longest body of *data* that we send, bytes.
_PIECE = 16 * 1024


class Connection(Shape):
    """
    The connection that carries a channel's packets.

    :ivar starved_reason: the reason for a session whose peer gives no more credit.
    """

    starved_reason: Reason

    def transmit(self, data: bytes) -> None:
        """Send whole packets."""

    @property
    def is_full(self) -> bool:
        """Does the peer not read what it is sent?"""

    def wait(self, channel: Channel) -> None:
        """Call its leg's ``drained`` when the peer reads again."""

    def starve(self, channel: Channel) -> None:
        """Call the `Channel.starved` of a channel if it gets no credit in time."""

    def feed(self, channel: Channel) -> None:
        """Credit came."""

    def forget(self, channel: Channel) -> None:
        """The session is over."""


class Channel:
    """
    One end of a session (`Stream`).

    :ivar session_id: the session's id.
    :ivar leg: the side of the session to report to; must be set before bytes come.
    """

    __slots__ = (
        "_closing",
        "_credit",
        "_fed",
        "_held",
        "_is_finishing",
        "_is_over",
        "_is_paused",
        "_line",
        "_taken",
        "_window",
        "leg",
        "session_id",
    )
    leg: Leg

    def __init__(self, line: Connection, session_id: int) -> None:
        """
        :param line: the connection that carries it.
        :param session_id: the session's id.
        """
        self._line, self.session_id = line, session_id
        self._credit, self._window, self._taken = WINDOW, WINDOW, 0
        # Bytes for which there is no credit yet.
        self._held: deque[bytes] | None = None
        # Credit since this was last enough to show that the peer reads.
        self._fed = 0
        self._is_paused = self._is_finishing = self._is_over = False
        self._closing: bytes | None = None

    # What the session calls.

    def send(self, data: bytes) -> None:
        """Send as many bytes as there is credit for, and hold the rest."""
        if self._is_over or self._closing is not None:
            return
        if self._held is None:
            size = len(data)
            if size <= self._credit:
                self._credit -= size
                line = self._line
                if size <= _PIECE:
                    line.transmit(data_header(self.session_id, size) + data)
                else:
                    line.transmit(self._packets(data))
                if line.is_full:
                    self.leg.filled()
                    line.wait(self)
                return
            self._held = deque()
            self._held.append(data)
            if not self._send_held():
                self._fed = 0
                self._line.starve(self)
                self.leg.filled()
            return
        self._held.append(data)

    def finish(self) -> None:
        """Send no more bytes after those that are held."""
        if self._is_over or self._is_finishing:
            return
        self._is_finishing = True
        if self._held is None:
            self._line.transmit(data_header(self.session_id, 0))

    def close(self, reason: Reason, words: str = "") -> None:
        """Send the held bytes and the reason of the end."""
        if self._is_over or self._closing is not None:
            return
        self._closing = closing(self.session_id, reason, words)
        if self._held is None or reason is Reason.TOO_SLOW:
            self._end()

    def abort(self, reason: Reason, words: str = "") -> None:
        """Send the reason of the end at once, and drop the held bytes."""
        if not self._is_over:
            self._closing = closing(self.session_id, reason, words)
            self._end()

    def pause(self) -> None:
        """Give the peer no more credit."""
        self._is_paused = True

    def resume(self) -> None:
        """Give the peer credit again, also for the bytes passed on meanwhile."""
        self._is_paused = False
        if self._taken:
            self._grant()

    # What the line calls.

    def received(self, data: bytes) -> bool:
        """
        Pass on bytes from the peer; an empty *data* means that no more follow.

        :returns: ``False`` if it sent more than it had credit for.
        """
        if not data:
            if self._closing is None:
                self.leg.finished()
            return True
        size = len(data)
        self._window -= size
        if self._window < 0:
            return False
        self._taken += size
        if self._closing is None:
            self.leg.received(data)
        if self._taken >= _HALF and not self._is_paused:
            self._grant()
        return True

    def granted(self, credit: int) -> None:
        """The peer gives credit for this many more bytes."""
        self._credit += credit
        if self._held is None:
            return
        self._fed += credit
        if not self._send_held():
            if self._fed >= _PIECE:
                self._fed = 0
                self._line.starve(self)
            return
        self._line.feed(self)
        if self._is_finishing:
            self._line.transmit(data_header(self.session_id, 0))
        if self._closing is not None:
            self._end()
        elif self._line.is_full:
            self._line.wait(self)
        else:
            self.leg.drained()

    def lost(self, reason: Reason, words: str = "") -> None:
        """The peer closed the session, or the line is lost."""
        if self._is_over:
            return
        self._is_over, self._held = True, None
        self._line.forget(self)
        if self._closing is None:
            self.leg.lost(reason, words)

    def starved(self) -> None:
        """No credit came in time."""
        if self._is_over:
            return
        why = "no credit came in time"
        self._line.transmit(closing(self.session_id, Reason.TOO_SLOW, why))
        self.lost(self._line.starved_reason, why)

    def drained(self) -> None:
        """The line accepts bytes again."""
        if not self._is_over and self._held is None and self._closing is None:
            self.leg.drained()

    def _end(self) -> None:
        self._is_over, self._held = True, None
        # First, because a draining line closes with its last session.
        if self._closing is not None:
            self._line.transmit(self._closing)
        self._line.forget(self)

    def _grant(self) -> None:
        if self._is_over:
            return
        taken, self._taken = self._taken, 0
        self._window += taken
        self._line.transmit(
            encode(Packet(Kind.WINDOW, taken.to_bytes(4), session_id=self.session_id))
        )

    def _send_held(self) -> bool:
        """Send what there is credit for; returns whether that is everything."""
        held, out = self._held, []
        while held and self._credit > 0:
            data = held.popleft()
            if len(data) > self._credit:
                held.appendleft(data[self._credit :])
                data = data[: self._credit]
            self._credit -= len(data)
            out.append(self._packets(data))
        if not held:
            self._held = None
        if out:
            self._line.transmit(b"".join(out))
        return self._held is None

    def _packets(self, data: bytes) -> bytes:
        """Split bytes into packets."""
        pieces: list[bytes] = []
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            pieces += data_header(self.session_id, len(piece)), piece
        return b"".join(pieces)


def closing(session_id: int, reason: Reason, words: str = "") -> bytes:
    """Write the packet that ends a session."""
    text = f"{reason.value}: {words}" if words else reason.value
    return encode(Packet(Kind.CLOSE, text.encode()[:1000], session_id=session_id))


def read_closing(body: bytes) -> tuple[Reason | None, str]:
    """
    Read the body of *close*.

    :returns: the reason, ``None`` if this version does not know it, and the words.
    """
    word, _, words = body.decode("utf-8", "replace").partition(": ")
    try:
        return Reason(word), words
    except ValueError:
        return None, body.decode("utf-8", "replace")
