"""Sending results, with a receiver in memory that answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from msgspec import json
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.lobby.results.test_store import NOW, result
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.lobby.results.sending import PARALLEL, Sending, place_of
from vinom.lobby.results.store import ResultStore
from vinom.lobby.results.webhook import Signed
from vinom.net.lines.https import Answer, NotAnswered


class MemoryReceiver:
    """
    The operator's web server.

    :ivar asked: requests that were not answered, oldest first: id and answer.
    :ivar seen: ids of all requests.
    """

    place, seconds = "https://game.example", 10.0

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Answer]]] = []
        self.seen: list[str] = []
        self.signatures: list[bytes] = []
        self.is_closed = False

    def __call__(self, request: Signed) -> Deferred[Answer]:
        id = json.decode(request.body)["id"]
        self.signatures += request.headers[b"Webhook-Signature"]
        self.seen.append(id)
        waiting: Deferred[Answer] = Deferred(
            lambda given_up: given_up.errback(NotAnswered("hung up"))
        )
        self.asked.append((id, waiting))
        return waiting

    def answer(self, status: int = 204, retry_after: float | None = None) -> str:
        """Answer the oldest request; returns the id."""
        id, waiting = self.asked.pop(0)
        waiting.callback(Answer(status, retry_after))
        return id

    def break_off(self) -> None:
        """Close the connection of the oldest request."""
        self.asked.pop(0)[1].errback(NotAnswered("it hung up"))

    def close(self) -> None:
        self.is_closed = True


class SendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.receiver = Clock(), MemoryReceiver()
        self.clock.advance(NOW)
        self.store = ResultStore(10_000, 86400.0, self.clock.seconds)
        self.secrets: Callable[[], tuple[bytes, ...]] = lambda: (bytes(32),)
        self.sending = self.make()
        self.sending.startService()
        self.addCleanup(lambda: self.sending.running and self.sending.stopService())
        self.log: list[str] = []

        def note(event: LogEvent) -> None:
            if "vinom.lobby.results" in event["log_namespace"]:
                self.log.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def make(self, **parts: Any) -> Sending:
        return Sending(
            parts.get("store", self.store),
            self.receiver,
            self.clock,
            lambda: 1.0,
            read_secrets=lambda: self.secrets(),
            most_tries=parts.get("most_tries", 3),
        )

    def note(self, *names: tuple[str, int] | str) -> None:
        for name in names:
            match_id, round = name if isinstance(name, tuple) else (name, 1)
            self.store.add(
                result(match_id, round, at=self.clock.seconds()), is_wanted=True
            )
        self.sending.look()

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def state_of(self, id: str) -> Any:
        kept = self.store.after("", 10_000)
        return next(one for one in kept if one.result.result_id == id)

    def test_sent(self) -> None:
        """
        A result is sent at once, and never again after it was received.
        """
        self.note("m1")
        self.assertEqual(self.receiver.answer(), "m1:1")
        self.wait(100.0)
        self.assertEqual(self.receiver.seen, ["m1:1"])
        self.assertEqual(self.state_of("m1:1").state, "sent")
        self.assertEqual(self.sending.counts["sent"], 1)

    def test_tried_again(self) -> None:
        """
        A receiver that fails, or breaks off, gets the same result again, later and
        later.
        """
        self.sending.stopService()
        self.sending = self.make(most_tries=100)
        self.sending.startService()
        self.note("m1")
        times = []
        for number in range(8):
            times.append(self.clock.seconds() - NOW)
            if number % 2:
                self.receiver.break_off()
            else:
                self.receiver.answer(500)
            while not self.receiver.asked:
                self.wait(0.1)
        for number, (before, after) in enumerate(pairwise(times)):
            # Storage is asked once per second.
            self.assertGreaterEqual(after - before, 2**number - 0.01)
            self.assertLess(after - before, 2**number + 1.2)
        self.assertEqual(set(self.receiver.seen), {"m1:1"})
        self.assertEqual(self.state_of("m1:1").tries, 8)
        self.receiver.answer(200)
        self.assertEqual(self.state_of("m1:1").state, "sent")

    def test_in_order(self) -> None:
        """
        A second round is not sent before the first was received; other matches are.
        """
        self.note(("m1", 1), ("m1", 2), "m2")
        self.assertEqual(self.receiver.seen, ["m1:1", "m2:1"])
        self.receiver.answer(503)
        self.receiver.answer()
        self.wait(0.9)
        self.assertEqual(len(self.receiver.seen), 2)
        self.wait(1.2)
        self.receiver.answer()
        self.assertEqual(self.receiver.seen[2:], ["m1:1", "m1:2"])

    def test_refused_for_good(self) -> None:
        """
        A result that the receiver calls wrong is given up at once, with the reason in
        the log and in the list.
        """
        self.note(("m1", 1), ("m1", 2))
        self.receiver.answer(400)
        kept = self.state_of("m1:1")
        self.assertEqual((kept.state, kept.why), ("dead", "it answers 400"))
        self.assertIn("m1:1 is given up after try 1", self.log[-1])
        self.assertEqual(self.receiver.seen, ["m1:1", "m1:2"])

    def test_tried_often_enough(self) -> None:
        """
        After so many tries a result is given up; the next one of its match goes on.
        """
        self.note(("m1", 1), ("m1", 2))
        for _ in range(3):
            self.receiver.break_off()
            self.wait(5.0)
        self.assertEqual(self.receiver.seen, ["m1:1"] * 3 + ["m1:2"])
        self.assertEqual(self.state_of("m1:1").state, "dead")
        self.assertEqual(self.sending.counts["dead"], 1)

    def test_slow_receiver(self) -> None:
        """
        A receiver that does not answer has a few requests, however many results wait;
        the others go as it answers.
        """
        self.note(*(f"m{number}" for number in range(100)))
        self.assertEqual(len(self.receiver.asked), PARALLEL)
        self.wait(5.0)
        self.assertEqual(len(self.receiver.asked), PARALLEL)
        while self.receiver.asked:
            self.receiver.answer()
        self.assertEqual(len(set(self.receiver.seen)), 100)
        self.assertEqual(len(self.receiver.seen), 100)

    def test_receiver_away(self) -> None:
        """
        While the receiver is away it gets few requests and the log few lines, however
        many results wait; when it is back all of them arrive.
        """
        self.sending.stopService()
        self.sending = self.make(most_tries=100)
        self.sending.startService()
        self.note(*(f"m{number}" for number in range(1000)))
        for _ in range(3000):
            while self.receiver.asked:
                self.receiver.break_off()
            self.clock.advance(0.1)
        self.assertLess(len(self.receiver.seen), 30)
        self.assertLess(len(self.log), 50)
        self.receiver.seen.clear()
        for _ in range(9000):
            while self.receiver.asked:
                self.receiver.answer()
            self.clock.advance(0.1)
        self.assertEqual(len(self.receiver.seen), 1000)
        self.assertEqual(len(set(self.receiver.seen)), 1000)

    def test_asked_to_wait(self) -> None:
        """
        A receiver that names a time is not asked before, within reason.
        """
        self.note("m1")
        self.receiver.answer(429, 30.0)
        self.wait(29.0)
        self.assertEqual(len(self.receiver.seen), 1)
        self.wait(2.5)
        self.assertEqual(len(self.receiver.seen), 2)
        self.receiver.answer(503, 1e9)
        self.wait(3602.0)
        self.assertEqual(len(self.receiver.seen), 3)

    def test_stopped(self) -> None:
        """
        What was on its way when the node stopped is sent again when it is back, and
        connections are closed.
        """
        self.note("m1")
        self.sending.stopService()
        self.assertTrue(self.receiver.is_closed)
        self.wait(60.0)
        self.sending = self.make()
        self.sending.startService()
        self.assertEqual(self.receiver.seen, ["m1:1", "m1:1"])
        self.assertEqual(self.state_of("m1:1").tries, 0)

    def test_new_secret(self) -> None:
        """
        After SIGHUP requests are signed with the new secret; an unusable file changes
        nothing.
        """
        self.note("m1")
        self.secrets = lambda: (b"1" * 32,)
        self.sending.reload()
        self.note("m2")

        def unusable() -> tuple[bytes, ...]:
            raise Misconfigured("the file is empty")

        self.secrets = unusable
        self.sending.reload()
        self.note("m3")
        self.assertEqual(len(set(self.receiver.signatures)), 3)
        self.assertIn("the file is empty", " ".join(self.log))

    def test_storage_away(self) -> None:
        """
        While storage does not answer nothing is sent, and then everything.
        """
        is_away = True
        take = self.store.take

        class Stumbling:
            def __getattr__(stumbling, name: str) -> Any:
                return getattr(self.store, name)

            def take(stumbling, *arguments: Any) -> Any:
                if is_away:
                    raise StoreUnavailable("late")
                return take(*arguments)

        self.sending.stopService()
        self.sending = self.make(store=Stumbling())
        self.sending.startService()
        self.note("m1")
        self.wait(5.0)
        self.assertEqual(self.receiver.seen, [])
        is_away = False
        self.wait(1.1)
        self.assertEqual(self.receiver.seen, ["m1:1"])

    def test_place(self) -> None:
        """
        The log names the receiver without what may be secret in its URL.
        """
        url = "https://game.example:8443/hooks/a-secret?key=another"
        self.assertEqual(place_of(url), "https://game.example:8443")
