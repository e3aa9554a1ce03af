"""The conversation's machine: what may be said when."""

from __future__ import annotations

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

    def test_news_after_the_welcome(self) -> None:
        """
        What happens during the hello is sent after the welcome, in order.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.pushed(Pong())
        talk.request_arrived(Asked(Ping(), 2))
        self.assertEqual(self.said(talk), ["work 1"])
        talk.admitted(WELCOME, [QueueStatus("waiting")])
        self.assertEqual(self.said(talk), ["welcome", "queue_status", "pong", "work 2"])

    def test_match_found_is_the_last_word(self) -> None:
        """
        After `match_found` a lone player is sent nothing more.
        """
        for early in (True, False):
            talk = self.begin()
            talk.hello_arrived(Asked(Hello(1, name="a"), 1))
            if early:
                talk.pushed(FOUND)
                talk.pushed(Pong())
                talk.admitted(WELCOME, [])
            else:
                talk.admitted(WELCOME, [FOUND, FOUND])
            self.assertEqual(
                self.said(talk), ["work 1", "welcome", "match_found", "hang up"]
            )
            talk.pushed(Pong())
            talk.request_arrived(Asked(Ping(), 3))
            self.assertEqual(self.said(talk), [])

    def test_a_line_that_stays_gets_more(self) -> None:
        """
        A lone player who asks to stay is sent its match, and keeps its line.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a", stay=True), 1))
        talk.admitted(WELCOME, [FOUND])
        talk.pushed(Pong())
        self.assertEqual(self.said(talk), ["work 1", "welcome", "match_found", "pong"])

    def test_refused_hello(self) -> None:
        """
        A refused hello may be tried again; what came after it is not forgotten.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.request_arrived(Asked(Ping(), 2))
        talk.refused(NO)
        self.assertEqual(self.said(talk), ["work 1", "not_queued", "hello_first"])
        talk.hello_arrived(Asked(Hello(1, name="b"), 3))
        self.assertEqual(self.said(talk), ["work 3"])

    def test_heard_out(self) -> None:
        """
        A player who closes its half gets the due answers, and then the end.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.request_arrived(Asked(Ping(), 2))
        talk.request_arrived(Asked(Ping(), 3))
        talk.heard_out()
        talk.heard_out()
        talk.admitted(WELCOME, [QueueStatus("waiting")])
        talk.answered(Pong())
        self.assertEqual(
            self.said(talk),
            ["work 1", "welcome", "queue_status", "work 2", "pong", "work 3"],
        )
        talk.refused(NO)
        self.assertEqual(self.said(talk), ["not_queued", "hang up"])
        talk.heard_out()
        self.assertEqual(self.said(talk), [])

    def test_heard_out_without_a_welcome(self) -> None:
        """
        A peer who closes its half before its hello is accepted is sent the end.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.heard_out()
        talk.refused(NO)
        self.assertEqual(self.said(talk), ["work 1", "not_queued", "hang up"])
        talk = self.begin()
        talk.heard_out()
        self.assertEqual(self.said(talk), ["hang up"])

    def test_what_follows_an_answer(self) -> None:
        """
        A peer who closes its half gets an answer with all that belongs to it.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.admitted(WELCOME, [])
        talk.request_arrived(Asked(Ping(), 2))
        talk.heard_out()
        talk.answered_first(Pong())
        self.assertEqual(self.said(talk), ["work 1", "welcome", "work 2", "pong"])
        talk.done()
        self.assertEqual(self.said(talk), ["hang up"])

    def test_slow_proof(self) -> None:
        """
        A hello whose proof takes too long ends like one that never came.
        """
        talk = self.begin()
        talk.hello_arrived(Asked(Hello(1, name="a"), 1))
        talk.overdue()
        talk.admitted(WELCOME, [])
        self.assertEqual(self.said(talk), ["work 1", "timeout", "hang up"])

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
