"""
Sessions: a client, a back end, and the bytes between them.

Pure. Ids are unique in the life of a gateway, ``{gateway_id}:{session_id}`` among all
gateways.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

import attrs

from vinom.gateway.routing.rules import Endpoint
from vinom.net.lines.sniff import begins_proxy_header
from vinom.net.streams.channels import Reason, Stream
from vinom.net.streams.packets import OWN_SESSION

#: Kinds of sessions over HTTP.
HTTP_KINDS = frozenset(("http", "websocket"))
#: How long an id chosen by a client stays reserved after its session, seconds.
REST_SECONDS = 60.0
#: Most reserved ids; if there are more, the oldest is freed earlier.
_MOST_RESTING = 100_000
#: Most bytes of a client that are held until a back end is found.
MOST_EARLY = 64 * 1024
#: Most bytes of a client that are kept for another back end, until this one has sent an
#: answer, or has refused the session.
MOST_KEPT = 8 * 1024


class SessionInUse(Exception):
    """A client chose an id that another session has, or has had lately."""


@attrs.frozen
class SessionRequest:
    """
    A client's request for a session. Only *user* may be verified.

    :ivar kind: the client's protocol: "lines", "tcp", "packets", "http" or "websocket".
    :ivar host: the client's address.
    :ivar port: its port.
    :ivar is_tls: did it connect over TLS?
    :ivar code: ``service_type`` of a packet.
    :ivar called: host of an HTTP request, without a port.
    :ivar path: path of an HTTP request.
    :ivar realm_id: 0 for none.
    :ivar user: the user, whose sessions belong together; ``None`` if unknown. For
        packets the ``user_id`` if it is not 0, for HTTP a verified claim.
    :ivar session_id: the id that the client has chosen; 0 for a new one.
    :ivar traceparent: W3C's, as received; empty for none.
    """

    kind: str
    host: str
    port: int = 0
    is_tls: bool = False
    code: int | None = None
    called: str = ""
    path: str = ""
    realm_id: int = 0
    user: int | str | None = None
    session_id: int = 0
    traceparent: str = ""


class _Early:
    """Stands for a back end that is not connected yet: holds the client's bytes."""

    def __init__(self, client: Stream) -> None:
        self._client = client
        self.held: list[bytes] = []
        self._size = 0
        self.is_finished = self.is_paused = False
        self.is_full = False

    def send(self, data: bytes) -> None:
        self.held.append(data)
        self._size += len(data)
        if self._size >= MOST_EARLY and not self.is_full:
            self.is_full = True
            self._client.pause()

    def finish(self) -> None:
        self.is_finished = True

    def close(self, reason: Reason, words: str = "") -> None:
        self.held.clear()

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


class _Unproven:
    """
    A back end that has not answered yet: it may refuse the session, or never answer.

    :ivar held: what it was sent, to send it to another one.
    """

    def __init__(
        self,
        session: Session,
        backend: Stream,
        refused: Callable[[str], None] | None,
        asked: Callable[[], None] | None,
    ) -> None:
        self._session, self._backend = session, backend
        self.refused, self._asked = refused, asked
        self.held: list[bytes] = []
        self._size = 0
        self.is_finished = self.is_paused = False

    def send(self, data: bytes) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked()
        self._size += len(data)
        is_kept = self.refused is not None and self._size <= MOST_KEPT
        if is_kept and not self._session.backend.bytes:
            self.held.append(data)
        else:
            self._session.settle(self._backend)
        self._backend.send(data)

    def finish(self) -> None:
        self.is_finished = True
        self._backend.finish()

    def close(self, reason: Reason, words: str = "") -> None:
        self._backend.close(reason, words)

    def pause(self) -> None:
        self.is_paused = True
        self._backend.pause()

    def resume(self) -> None:
        self.is_paused = False
        self._backend.resume()


class SessionLeg:
    """
    One side of a session (`vinom.net.streams.channels.Leg`).

    :ivar bytes: how many bytes its peer has sent.
    """

    __slots__ = ("_head", "_session", "bytes", "is_client", "is_finished", "other")

    def __init__(self, session: Session, other: Stream, is_client: bool) -> None:
        """
        :param session: the session.
        :param other: the end of the other side.
        :param is_client: is it the client's side?
        """
        self._session, self.other, self.is_client = session, other, is_client
        self.bytes = 0
        self.is_finished = False
        #: The first bytes of a client, while they may begin a PROXY header; for HTTP
        #: the gateway writes them.
        is_raw = is_client and session.request.kind not in HTTP_KINDS
        self._head: bytes | None = b"" if is_raw else None

    def received(self, data: bytes) -> None:
        """The peer sent bytes."""
        self.bytes += len(data)
        if self._head is not None and self._is_forged(self._head + data):
            # Back ends that trust the gateway would believe it.
            why = "a session cannot begin with a PROXY header"
            self._session.end(Reason.BAD_PACKET, why)
            return
        self.other.send(data)

    def _is_forged(self, head: bytes) -> bool:
        is_begun = begins_proxy_header(head)
        self._head = head if is_begun is None else None
        return bool(is_begun)

    def finished(self) -> None:
        """The peer sends no more, which ends the session if it is the back end."""
        if not self.is_finished:
            self.is_finished = True
            if self.is_client:
                self.other.finish()
            else:
                self._session.end(Reason.DONE)

    def lost(self, reason: Reason, words: str = "") -> None:
        """The peer is gone, or closed the session."""
        session = self._session
        is_refusal = reason is Reason.TOO_MANY and not self.is_client
        if not (is_refusal and session.take_back(words)):
            session.end(reason, words, self.is_client)

    def filled(self) -> None:
        """The peer does not read what it is sent."""
        self.other.pause()

    def drained(self) -> None:
        """The peer reads again."""
        self.other.resume()


@attrs.define(eq=False)
class Session:
    """
    A client, and the back end that serves it.

    :ivar session_id: unique in this gateway.
    :ivar request: the client's request.
    :ivar began: when it began, seconds on the gateway's clock.
    :ivar service: the service's name; empty if there is none.
    :ivar realm_id: the realm of the request, or of its host and path; 0 for none.
    :ivar endpoint: the back end; ``None`` before one is found.
    :ivar outcome: why it has ended; ``None`` while it lasts.
    :ivar why: the same in words, if there are any.
    """

    session_id: int
    request: SessionRequest
    client_end: Stream
    began: float
    _ended: Callable[[Session], None]
    service: str = ""
    realm_id: int = attrs.field(init=False)
    endpoint: Endpoint | None = None
    outcome: Reason | None = None
    why: str = ""
    #: The sides to which the client's end and the back end's report.
    client: SessionLeg = attrs.field(init=False)
    backend: SessionLeg = attrs.field(init=False)
    _early: _Early | None = attrs.field(init=False)
    _unproven: _Unproven | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.realm_id = self.request.realm_id
        self._early = _Early(self.client_end)
        self.client = SessionLeg(self, self._early, True)
        self.backend = SessionLeg(self, self.client_end, False)

    @property
    def is_over(self) -> bool:
        return self.outcome is not None

    @property
    def is_served(self) -> bool:
        """Was its back end reached?"""
        return self._early is None

    def serve(
        self,
        backend: Stream,
        refused: Callable[[str], None] | None = None,
        asked: Callable[[], None] | None = None,
    ) -> None:
        """
        A back end is connected: pass on the held bytes, and all later ones.

        :param refused: called with an explanation if the back end refuses the session
            before it sends anything: `serve` it by another one, or `end` it; ``None``
            if no back end of its kind does so.
        :param asked: called when the first bytes are sent to the back end.
        """
        early, self._early = self._early, None
        if early is None or self.is_over:
            backend.close(Reason.CLIENT_LOST)
            return
        if early.is_full:
            # First, because a back end that does not read them pauses it again.
            self.client_end.resume()
        if refused is not None or asked is not None:
            self._unproven = _Unproven(self, backend, refused, asked)
            backend = self._unproven
        self.client.other = backend
        for data in early.held:
            backend.send(data)
            if self.outcome is not None:
                # The back end was lost by what it was sent.
                return
        if early.is_finished:
            backend.finish()
        if early.is_paused:
            backend.pause()

    def settle(self, backend: Stream) -> None:
        """Its back end has it: no other one will."""
        self._unproven = None
        self.client.other = backend

    def take_back(self, words: str) -> bool:
        """
        Its back end refuses it: hold what was sent for another one.

        :returns: ``False`` if that is not all any more, or the back end has answered.
        """
        unproven, self._unproven = self._unproven, None
        if unproven is None or self.is_over or self.backend.bytes:
            return False
        if unproven.refused is None:
            return False
        self._early = self.client.other = early = _Early(self.client_end)
        early.held, early.is_finished = unproven.held, unproven.is_finished
        early.is_paused = unproven.is_paused
        # If the one that refused it was full.
        self.client_end.resume()
        unproven.refused(words)
        return True

    def end(self, reason: Reason, words: str = "", by_client: bool = False) -> None:
        """
        End the session, once, and report the reason to both ends.

        :param words: an explanation.
        :param by_client: does the client's end already know?
        """
        if self.outcome is not None:
            return
        self.outcome, self.why = reason, words
        self.client.other.close(reason, words)
        if not by_client:
            self.client_end.close(reason, words)
        self._ended(self)


@attrs.define(eq=False)
class SessionIds:
    """
    Ids of sessions: ours have the bit `OWN_SESSION` and none above it, so that they fit
    into a signed number of 64 bits, and are never reused.

    :ivar first: number of the first one; random, so that a gateway's ids are hardly
        confused with those of its last run.
    """

    first: int = 0
    _next: int = attrs.field(init=False)
    _used: set[int] = attrs.field(factory=set, init=False)
    _resting: OrderedDict[int, float] = attrs.field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self._next = self.first % (OWN_SESSION >> 1)

    def take(self, wanted: int, now: float) -> int:
        """
        Give a session its id.

        :param wanted: the id that the client has chosen; 0 for one of ours.
        :raises SessionInUse: another session has it, or has had it lately.
        """
        if not wanted:
            self._next += 1
            return OWN_SESSION | self._next
        self._rested(now)
        if wanted >= OWN_SESSION or wanted in self._used or wanted in self._resting:
            raise SessionInUse
        self._used.add(wanted)
        return wanted

    def give_back(self, session_id: int, now: float) -> None:
        """A session is over; an id chosen by a client stays reserved for a while."""
        if session_id >= OWN_SESSION:
            return
        self._used.discard(session_id)
        self._resting[session_id] = now + REST_SECONDS
        if len(self._resting) > _MOST_RESTING:
            self._resting.popitem(last=False)

    def _rested(self, now: float) -> None:
        resting = self._resting
        while resting:
            session_id, until = next(iter(resting.items()))
            if until > now:
                return
            del resting[session_id]


@attrs.define(eq=False)
class SessionCounts:
    """
    Counts of sessions.

    :ivar begun: sessions, by the client's protocol.
    :ivar ended: sessions that have ended, by outcome.
    :ivar open: open sessions, by service.
    :ivar received: bytes from clients.
    :ivar sent: bytes to clients.
    """

    begun: Counter[str] = attrs.field(factory=Counter)
    ended: Counter[str] = attrs.field(factory=Counter)
    open: Counter[str] = attrs.field(factory=Counter)
    received: int = 0
    sent: int = 0
