"""
One player's conversation with the lobby, whatever carries it.

Whole messages and answers go in; what to send, what to do and when to hang up
come out of the `Talk.outbox`. One request is worked on at a time and answers
keep the order of the requests. Source: docs/protocol/lobby.rst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from automat import TypeMachineBuilder

from vinom.errors import Code, Refused
from vinom.wire.messages import (
    Asked,
    MatchFound,
    Push,
    RequestId,
    Welcome,
    encode_failure,
    encode_push,
)

#: Requests that may wait while an earlier one is worked on.
MOST_HELD = 16


@attrs.frozen
class Send:
    """
    Bytes of one message for the peer.

    :ivar code: why something is refused, if it says that; for counters.
    """

    message: bytes
    code: str = attrs.field(default="", eq=False)


@attrs.frozen
class Work:
    """
    The peer wants this; answer it with `answered` or `refused`.

    A `Hello` is answered with `admitted` or `refused`.
    """

    asked: Asked


@attrs.frozen
class HangUp:
    """
    Everything is said; close when it is sent.

    :ivar code: why; ``None`` if the conversation simply came to its end.
    :ivar reason: the same in words.
    """

    code: Code | None = None
    reason: str = ""


class ConversationInputs(Protocol):
    """What can happen to one conversation."""

    def hello_arrived(self, asked: Asked) -> None:
        """The peer says who it is."""

    def request_arrived(self, asked: Asked) -> None:
        """The peer asks for anything else."""

    def misunderstood(self, refusal: Refused, id: RequestId) -> None:
        """The peer sent what is no request, or too many of them."""

    def admitted(self, welcome: Welcome, news: Sequence[Push]) -> None:
        """The peer is who it says; *news* is what it missed."""

    def answered(self, push: Push) -> None:
        """The request at work is done."""

    def done(self) -> None:
        """The request at work is done, and needs no answer."""

    def refused(self, refusal: Refused) -> None:
        """The request at work cannot be."""

    def told(self, push: Push) -> None:
        """Something happened that the peer must know."""

    def warned(self, refusal: Refused) -> None:
        """Something went wrong that the peer did not ask for."""

    def overdue(self) -> None:
        """The time for a hello is over."""

    def finished(self) -> None:
        """There is nothing more to say."""

    def ended(self, refusal: Refused) -> None:
        """The conversation cannot go on, and the peer is told why."""

    def lost(self) -> None:
        """The peer is gone."""

    def _freed(self) -> None:
        """A request is done; the next one may be worked on."""


@attrs.define
class Talk:
    """
    Facts shared by all states; ``outbox`` is what the caller must act on.

    :ivar ends_at_match: `MatchFound` is the last thing said.
    :ivar held: requests that wait for the one at work.
    """

    ends_at_match: bool = False
    outbox: list[Send | Work | HangUp] = attrs.field(factory=list)
    held: deque[Asked] = attrs.field(factory=deque)
    _at_work: RequestId = None
    _early: list[Push] = attrs.field(factory=list)

    def take_outbox(self) -> list[Send | Work | HangUp]:
        """Take what must be done, in order."""
        outbox, self.outbox = self.outbox, []
        return outbox

    def say(self, push: Push, id: RequestId = None) -> bool:
        """Say it; is there more to say after it?"""
        self.outbox.append(Send(encode_push(push, id)))
        return not (self.ends_at_match and isinstance(push, MatchFound))

    def fail(self, refusal: Refused, id: RequestId = None) -> None:
        self.outbox.append(
            Send(
                encode_failure(refusal.code, refusal.message, refusal.details, id),
                refusal.code,
            )
        )

    def hang_up(self, refusal: Refused) -> None:
        self.fail(refusal)
        self.outbox.append(HangUp(refusal.code, refusal.message))

    def work(self, asked: Asked) -> None:
        self._at_work = asked.id
        self.outbox.append(Work(asked))

    def go_on(self, inputs: ConversationInputs) -> None:
        """A request is done; work on the next one, if one waits."""
        if self.held:
            inputs._freed()

    def hold(self, asked: Asked) -> None:
        if len(self.held) < MOST_HELD:
            self.held.append(asked)
        else:
            self.fail(
                Refused(
                    Code.RATE_LIMITED,
                    "wait for the answers to earlier requests",
                    {"retry_after": 1.0},
                ),
                asked.id,
            )


def _conversation_machine() -> Callable[[Talk], ConversationInputs]:
    machine = TypeMachineBuilder(ConversationInputs, Talk)
    greeting = machine.state("greeting")
    checking = machine.state("checking")
    idle = machine.state("idle")
    working = machine.state("working")
    closed = machine.state("closed")

    @greeting.upon(ConversationInputs.hello_arrived).to(checking)
    def check(_: ConversationInputs, talk: Talk, asked: Asked) -> None:
        talk.work(asked)

    @greeting.upon(ConversationInputs.request_arrived).loop()
    def ask_for_hello(_: ConversationInputs, talk: Talk, asked: Asked) -> None:
        talk.fail(Refused(Code.HELLO_FIRST, "say hello first"), asked.id)

    @checking.upon(ConversationInputs.admitted).to(idle)
    def welcome(
        inputs: ConversationInputs, talk: Talk, welcome: Welcome, news: Sequence[Push]
    ) -> None:
        talk.say(welcome, talk._at_work)
        early, talk._early = talk._early, []
        for push in (*news, *early):
            if not talk.say(push):
                return inputs.finished()
        return talk.go_on(inputs)

    @checking.upon(ConversationInputs.refused).to(greeting)
    def turn_away(_: ConversationInputs, talk: Talk, refusal: Refused) -> None:
        talk.fail(refusal, talk._at_work)
        talk._early.clear()
        while talk.held:
            asked = talk.held.popleft()
            talk.fail(Refused(Code.HELLO_FIRST, "say hello first"), asked.id)

    @checking.upon(ConversationInputs.told).loop()
    def keep_for_later(_: ConversationInputs, talk: Talk, push: Push) -> None:
        # The welcome comes first.
        talk._early.append(push)

    @idle.upon(ConversationInputs.request_arrived).to(working)
    def work(_: ConversationInputs, talk: Talk, asked: Asked) -> None:
        talk.work(asked)

    @working.upon(ConversationInputs.answered).to(idle)
    def answer(inputs: ConversationInputs, talk: Talk, push: Push) -> None:
        talk.say(push, talk._at_work)
        talk.go_on(inputs)

    @working.upon(ConversationInputs.done).to(idle)
    def leave_it(inputs: ConversationInputs, talk: Talk) -> None:
        talk.go_on(inputs)

    @working.upon(ConversationInputs.refused).to(idle)
    def refuse(inputs: ConversationInputs, talk: Talk, refusal: Refused) -> None:
        talk.fail(refusal, talk._at_work)
        talk.go_on(inputs)

    @idle.upon(ConversationInputs._freed).loop()
    def next_request(inputs: ConversationInputs, talk: Talk) -> None:
        inputs.request_arrived(talk.held.popleft())

    for busy in (checking, working):

        @busy.upon(ConversationInputs.request_arrived).loop()
        def hold(_: ConversationInputs, talk: Talk, asked: Asked) -> None:
            talk.hold(asked)

    for greeted in (checking, idle, working):

        @greeted.upon(ConversationInputs.hello_arrived).loop()
        def refuse_hello(_: ConversationInputs, talk: Talk, asked: Asked) -> None:
            talk.fail(Refused(Code.HELLO_TWICE, "you said hello already"), asked.id)

    for known in (idle, working):

        @known.upon(ConversationInputs.told).loop()
        def tell(inputs: ConversationInputs, talk: Talk, push: Push) -> None:
            if not talk.say(push):
                inputs.finished()

        known.upon(ConversationInputs.overdue).loop().returns(None)

    for unknown in (greeting, checking):

        @unknown.upon(ConversationInputs.overdue).to(closed)
        def hang_up(_: ConversationInputs, talk: Talk) -> None:
            talk.hang_up(Refused(Code.TIMEOUT, "no hello came in time"))

    for open_ in (greeting, checking, idle, working):

        @open_.upon(ConversationInputs.misunderstood).loop()
        def complain(
            _: ConversationInputs, talk: Talk, refusal: Refused, id: RequestId
        ) -> None:
            talk.fail(refusal, id)

        @open_.upon(ConversationInputs.warned).loop()
        def warn(_: ConversationInputs, talk: Talk, refusal: Refused) -> None:
            talk.fail(refusal)

        @open_.upon(ConversationInputs.ended).to(closed)
        def end(_: ConversationInputs, talk: Talk, refusal: Refused) -> None:
            talk.hang_up(refusal)

        @open_.upon(ConversationInputs.finished).to(closed)
        def finish(_: ConversationInputs, talk: Talk) -> None:
            talk.outbox.append(HangUp())

        open_.upon(ConversationInputs.lost).to(closed).returns(None)

    # What was under way when the peer left, or was sent away, ends quietly.
    for late in (
        ConversationInputs.hello_arrived,
        ConversationInputs.request_arrived,
        ConversationInputs.misunderstood,
        ConversationInputs.admitted,
        ConversationInputs.answered,
        ConversationInputs.done,
        ConversationInputs.refused,
        ConversationInputs.told,
        ConversationInputs.warned,
        ConversationInputs.overdue,
        ConversationInputs.finished,
        ConversationInputs.ended,
        ConversationInputs.lost,
        ConversationInputs._freed,
    ):
        closed.upon(late).loop().returns(None)
    return machine.build()


open_conversation = _conversation_machine()
