"""
One player's conversation with the lobby, independent of its transport.

Whole messages and answers go in; what to send, what to do and when to hang up
come out of the `Talk.outbox`. One request is worked on at a time and answers
keep the order of the requests. Source: docs/protocol/lobby.rst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import final

import attrs
from msgspec import Struct

from vinom.base.messages.envelope import (
    Asked,
    Push,
    RequestId,
    encode_failure,
    encode_push,
)
from vinom.base.messages.lobby import Hello, MatchFound, Welcome
from vinom.errors import Code, Refused

#: Requests that may wait while an earlier one is worked on.
MOST_HELD = 16


@final
class Send(Struct, frozen=True, gc=False):
    """
    Bytes of one message for the peer.

    :ivar code: of the refusal that it carries, if any; for counters.
    """

    message: bytes
    code: str = ""


@final
class Work(Struct, frozen=True):
    """
    A request to work on; answer it with `answered` or `refused`.

    A `Hello` is answered with `admitted` or `refused`.
    """

    asked: Asked


@final
class HangUp(Struct, frozen=True):
    """
    Close the line when everything is sent; nothing follows.

    :ivar code: why; ``None`` if the conversation has simply ended.
    :ivar reason: the same in words.
    """

    code: Code | None = None
    reason: str = ""


class Stage(Enum):
    """How far a conversation is."""

    GREETING = "greeting"
    CHECKING = "checking"
    IDLE = "idle"
    WORKING = "working"
    CLOSED = "closed"


_GREETING, _CHECKING, _CLOSED = Stage.GREETING, Stage.CHECKING, Stage.CLOSED
_IDLE, _WORKING = Stage.IDLE, Stage.WORKING


@attrs.define(eq=False)
class Talk:
    """
    One conversation; ``outbox`` is what the caller must take and act on, in order.

    It is a stage and plain methods, not a machine, because every message passes here
    (decision 0011). Answers after the end of the conversation are dropped.

    :ivar ends_at_match: `MatchFound` is the last message...
    :ivar stays: ...unless the peer asked to stay here...
    :ivar party_id: ...or is in this party; empty if in none.
    :ivar held: requests that wait until the current one is done.
    """

    ends_at_match: bool = False
    stays: bool = False
    party_id: str = ""
    outbox: list[Send | Work | HangUp] = attrs.field(factory=list)
    held: deque[Asked] = attrs.field(factory=deque)
    stage: Stage = attrs.field(default=_GREETING, init=False)
    _at_work: RequestId = None
    _early: list[Push] = attrs.field(factory=list)
    _is_heard_out: bool = False

    # Events from the peer.

    def hello_arrived(self, asked: Asked) -> None:
        """The peer sent a hello."""
        if self.stage is _GREETING:
            hello = asked.request
            self.stays = isinstance(hello, Hello) and hello.stay
            self._work(asked, _CHECKING)
        elif self.stage is not _CLOSED:
            self._fail(
                Refused(Code.HELLO_TWICE, "you have said hello already"), asked.id
            )

    def request_arrived(self, asked: Asked) -> None:
        """The peer sent any other request."""
        stage = self.stage
        if stage is _IDLE:
            self._work(asked, _WORKING)
        elif stage is _GREETING:
            self._fail(_hello_first(), asked.id)
        elif stage is not _CLOSED:
            self._hold(asked)

    def introduced(self) -> None:
        """The peer said hello elsewhere: it is not answered."""
        if self._was(_GREETING):
            self.stage = _IDLE

    def misunderstood(self, refusal: Refused, id: RequestId) -> None:
        """The peer sent something that isn't a request, or too many of them."""
        if self.stage is not _CLOSED:
            self._fail(refusal, id)

    def heard_out(self) -> None:
        """The peer closed its half; the conversation ends after the last answer."""
        self._is_heard_out = True
        if self.stage is _GREETING or self.stage is _IDLE:
            self._finish()

    def lost(self) -> None:
        """The peer is gone."""
        self.stage = _CLOSED

    # Results of the current request.

    def admitted(self, welcome: Welcome, missed: Sequence[Push]) -> None:
        """The hello is accepted; *missed* is what the player missed."""
        if not self._was(_CHECKING):
            return
        self._say(welcome, self._at_work)
        early, self._early = self._early, []
        for push in (*missed, *early):
            if not self._say(push):
                self._finish()
                return
        self._go_on()

    def answered(self, push: Push) -> None:
        """The current request is done: answer it."""
        if self.stage is _WORKING or self._was(_WORKING):
            self._say(push, self._at_work)
            if self.held or self._is_heard_out:
                self._go_on()
            else:
                # Nearly always.
                self.stage = _IDLE

    def answered_first(self, push: Push) -> None:
        """Answer the current request; it ends with `done`, after more messages."""
        if self._was(_WORKING):
            self._say(push, self._at_work)

    def done(self) -> None:
        """The current request is done, and needs no further answer."""
        if self._was(_WORKING):
            self._go_on()

    def refused(self, refusal: Refused) -> None:
        """The current request, or the hello, is refused."""
        if self.stage is not _CHECKING:
            if self._was(_WORKING):
                self._fail(refusal, self._at_work)
                self._go_on()
            return
        self.stage = _GREETING
        self._fail(refusal, self._at_work)
        self._early.clear()
        while self.held:
            self._fail(_hello_first(), self.held.popleft().id)
        if self._is_heard_out:
            self._finish()

    # Other events.

    def pushed(self, push: Push) -> None:
        """Something happened that the peer is to be sent."""
        stage = self.stage
        if stage is _IDLE or stage is _WORKING:
            if not self._say(push):
                self._finish()
        elif self._was(_CHECKING):
            # The welcome comes first.
            self._early.append(push)

    def warned(self, refusal: Refused) -> None:
        """Something went wrong outside any request of the peer."""
        if self.stage is not _CLOSED:
            self._fail(refusal)

    def overdue(self) -> None:
        """The time for a hello is over."""
        if self.stage is _GREETING or self.stage is _CHECKING:
            self.ended(Refused(Code.TIMEOUT, "no hello came in time"))

    def ended(self, refusal: Refused) -> None:
        """The conversation cannot continue; send the peer the reason."""
        if self.stage is not _CLOSED:
            self.stage = _CLOSED
            self._fail(refusal)
            self.outbox.append(HangUp(refusal.code, refusal.message))

    def _was(self, stage: Stage) -> bool:
        """
        Is it at this stage, and not over?

        :raises RuntimeError: it is at another stage: a mistake in our code.
        """
        if self.stage is stage:
            return True
        if self.stage is _CLOSED:
            return False
        raise RuntimeError(f"conversation is at {self.stage.value}, not {stage.value}")

    def _finish(self) -> None:
        """Nothing more will be sent: hang up."""
        self.stage = _CLOSED
        self.outbox.append(HangUp())

    def _say(self, push: Push, id: RequestId = None) -> bool:
        """Send it; can more follow?"""
        self.outbox.append(Send(encode_push(push, id)))
        ends = self.ends_at_match and not (self.stays or self.party_id)
        return not (ends and isinstance(push, MatchFound))

    def _fail(self, refusal: Refused, id: RequestId = None) -> None:
        code, details = refusal.code, refusal.details
        text = encode_failure(code, refusal.message, details, id)
        self.outbox.append(Send(text, code))

    def _work(self, asked: Asked, stage: Stage) -> None:
        self.stage = stage
        self._at_work = asked.id
        self.outbox.append(Work(asked))

    def _go_on(self) -> None:
        """A request is done; start the next one that waits."""
        self.stage = _IDLE
        if self.held:
            self._work(self.held.popleft(), _WORKING)
        elif self._is_heard_out:
            self._finish()

    def _hold(self, asked: Asked) -> None:
        if len(self.held) < MOST_HELD:
            self.held.append(asked)
            return
        refusal = Refused(
            Code.RATE_LIMITED,
            "wait for the answers to earlier requests",
            {"retry_after": 1.0},
        )
        self._fail(refusal, asked.id)


def _hello_first() -> Refused:
    return Refused(Code.HELLO_FIRST, "say hello first")
