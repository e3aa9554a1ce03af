"""The conversation's machine: what may be said when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.messages.envelope import Asked
from vinom.base.messages.lobby import (
    Hello,
    MatchFound,
    Ping,
    Pong,
    QueueStatus,
    Welcome,
)
from vinom.errors import Code, Refused
from vinom.lobby.conversation.talk import MOST_HELD, HangUp, Send, Talk, Work

WELCOME = Welcome("p", "key", "Ann", 1, "vinom", ())
FOUND = MatchFound("m", "maze", "h", 1, "s", "c", "t", 0, (), 0.0)
NO = Refused(Code.NOT_QUEUED, "no")


NEWS = {"pong": Pong(), "queued": QueueStatus("waiting"), "found": FOUND}
#: A conversation: what happens, and what is sent then.
TALKS: tuple[tuple[str, *tuple[tuple[str, str], ...]], ...] = (
    (
        "what happens during the hello is sent after the welcome, in order",
        ("hello, told pong, ping", "work 1"),
        ("yes queued", "welcome, queue_status, pong, work 2"),
    ),
    (
        "after match_found a lone player is sent nothing more",
        ("hello, yes found found", "work 1, welcome, match_found, hang up"),
        ("told pong, ping", ""),
    ),
    (
        "nor if it is found during the hello",
        (
            "hello, told found, told pong, yes",
            "work 1, welcome, match_found, hang up",
        ),
        ("told pong, ping", ""),
    ),
    (
        "a lone player who asks to stay is sent its match, and keeps its line",
        ("hello stay, yes found, told pong", "work 1, welcome, match_found, pong"),
    ),
    (
        "a refused hello may be tried again; what came after it is not forgotten",
        ("hello, ping, no", "work 1, not_queued, hello_first"),
        ("hello", "work 3"),
    ),
    (
        "a player who closes its half gets the due answers, and then the end",
        (
            "hello, ping, ping, heard_out, heard_out, yes queued, answer",
            "work 1, welcome, queue_status, work 2, pong, work 3",
        ),
        ("no", "not_queued, hang up"),
        ("heard_out", ""),
    ),
    (
        "a peer who closes its half before its hello is accepted is sent the end",
        ("hello, heard_out, no", "work 1, not_queued, hang up"),
    ),
    ("so is one who says nothing", ("heard_out", "hang up")),
    (
        "a peer who closes its half gets an answer with all that belongs to it",
        ("hello, yes, ping, heard_out, answer first", "work 1, welcome, work 2, pong"),
        ("done", "hang up"),
    ),
    (
        "a hello whose proof takes too long ends like one that never came",
        ("hello, overdue, yes", "work 1, timeout, hang up"),
    ),
)


class ConversationTests(SynchronousTestCase):
    """One conversation, step by step."""

    def begin(self, ends_at_match: bool = True) -> Talk:
        return Talk(ends_at_match=ends_at_match)

    def said(self, talk: Talk) -> list[str]:
        """Take the outbox, in short."""
        short = []
        outbox, talk.outbox = talk.outbox, []
        for item in outbox:
            match item:
                case Send(message):
                    answer = json.decode(message)
                    error = answer.get("error")
                    short.append(error["code"] if error else answer["type"])
                case Work(asked):
                    short.append(f"work {asked.id}")
                case HangUp():
                    short.append("hang up")
        return short

    def test_talks(self) -> None:
        """
        What is sent comes in order, and whatever comes after the end is ignored.
        """
        for what, *talked in TALKS:
            talk, ids = self.begin(), itertools.count(1)
            for steps, said in talked:
                for step in steps.split(", "):
                    self.do(talk, step, ids)
                self.assertEqual(", ".join(self.said(talk)), said, what)

    def do(self, talk: Talk, step: str, ids: Iterator[int]) -> None:
        """Have something happen; a request has the next id."""
        match step.split():
            case ["hello", *stay]:
                hello = Hello(1, name="a", stay=bool(stay))
                talk.hello_arrived(Asked(hello, next(ids)))
            case ["ping"]:
                talk.request_arrived(Asked(Ping(), next(ids)))
            case ["told", news]:
                talk.pushed(NEWS[news])
            case ["yes", *news]:
                talk.admitted(WELCOME, [NEWS[one] for one in news])
            case ["no"]:
                talk.refused(NO)
            case ["answer"]:
                talk.answered(Pong())
            case ["answer", "first"]:
                talk.answered_first(Pong())
            case [other]:
                getattr(talk, other)()

    @settings(max_examples=300, deadline=None)
    @given(some.data(), some.booleans())
    def test_any_order(self, data: some.DataObject, ends_at_match: bool) -> None:
        """
        With any messages in any order, each request has one answer or the end of the
        line, answers keep their order, and nothing is sent after the end.
        """
        talk = self.begin(ends_at_match)
        asked = 0
        at_work: Asked | None = None
        closed = False
        open_ids: list[int] = []
        steps = (
            *("hello", "ping", "junk", "yes", "no"),
            *("told", "found", "end", "heard out", "lost"),
        )
        for _ in range(data.draw(some.integers(1, 40))):
            match data.draw(some.sampled_from(steps)):
                case "hello" | "ping" as kind:
                    asked += 1
                    open_ids.append(asked)
                    if kind == "hello":
                        talk.hello_arrived(Asked(Hello(1, name="a"), asked))
                    else:
                        talk.request_arrived(Asked(Ping(), asked))
                case "junk":
                    talk.misunderstood(NO, None)
                case "yes" if at_work is not None:
                    if isinstance(at_work.request, Hello):
                        talk.admitted(WELCOME, [])
                    else:
                        talk.answered(Pong())
                    at_work = None
                case "no" if at_work is not None:
                    talk.refused(NO)
                    at_work = None
                case "told" if at_work is not None:
                    talk.pushed(Pong())
                case "found" if at_work is not None:
                    talk.pushed(FOUND)
                case "end":
                    talk.ended(NO)
                case "heard out":
                    talk.heard_out()
                case "lost":
                    talk.lost()
                    closed = True
            outbox, talk.outbox = talk.outbox, []
            for item in outbox:
                assert not (closed and not isinstance(item, HangUp)), item
                match item:
                    case Work(work):
                        assert at_work is None
                        at_work = work
                    case HangUp():
                        closed = True
                    case Send(message):
                        id = json.decode(message).get("id")
                        if id is not None:
                            open_ids.remove(id)
            assert len(talk.held) <= MOST_HELD
        if not closed:
            held = [asked.id for asked in talk.held]
            expected = ([at_work.id] if at_work else []) + held
            assert open_ids == expected
