"""The results of one node, in memory and in a file."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.descriptors import opened_in
from vinom.base.messages.operators import decode_result, encode_result
from vinom.base.model import KeptResult, Result, ResultSeat, TurnNotice
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.lobby.results.store import FILE, ResultStore, sync

NOW, DAY = 1_763_886_000.0, 86400.0


def result(match_id: str, round: int = 1, at: float = NOW, **facts: Any) -> Result:
    given: dict[str, Any] = {
        "game": "maze",
        "options": b'{"size":"small"}',
        "seats": (ResultSeat("ann", "Ann", 0), ResultSeat("", "bot 2", 1)),
        "places": ((0,), (1,)),
        "scores": (12, 3.5),
        "reason": "finished",
        "recording": f"{match_id}.vinomrec",
    }
    return Result(match_id=match_id, round=round, at=at, **{**given, **facts})


class ResultStoreContract:
    """
    What the store of results does, wherever it keeps them.

    `make_store` makes one that keeps *most* results for *most_age* seconds, and whose
    clock is ``self.now``, seconds since the Unix epoch.
    """

    now = NOW

    def filled(self, *results: Result, **bounds: Any) -> Any:
        store = self.make_store(**bounds)
        for one in results:
            store.add(one, is_wanted=True)
        return store

    def ids(self, store: Any, cursor: str = "", most: int = 100) -> list[str]:
        return [kept.result.result_id for kept in store.after(cursor, most)]

    def taken(self, store: Any, now: float, most: int = 100) -> list[KeptResult]:
        found: list[KeptResult] = store.take(now, now + 10.0, most)
        return found

    def taken_ids(self, store: Any, now: float, most: int = 100) -> list[str]:
        found = self.taken(store, now, most)
        return [kept.result.result_id for kept in found]

    def test_notices(self) -> None:
        """
        A notice is sent in the order of its match, forgotten once it is received, and
        listed only if it was given up.
        """
        turn = TurnNotice("r1-ab", "r1", "letters", 0, "ann", "Ann", 3, NOW + DAY, NOW)
        self.assertEqual(decode_result(encode_result(turn)), turn)
        store = self.filled(turn, result("r1-ab"))
        self.assertEqual(store.add(turn, is_wanted=True), "")
        self.assertEqual(self.ids(store), ["r1-ab:1"])
        (first,) = self.taken(store, NOW)
        self.assertEqual(first.result, turn)
        self.assertTrue(store.sent(first.cursor))
        (second,) = self.taken(store, NOW)
        self.assertEqual(second.result.result_id, "r1-ab:1")
        self.assertEqual(store.counts().kept, 1)
        store.add(turn, is_wanted=True)
        store.sent(second.cursor)
        (again,) = self.taken(store, NOW)
        store.give_up(again.cursor, "gone")
        self.assertEqual([one.result for one in store.dead("", 9)], [turn])

    def test_kept(self) -> None:
        """
        A result is read as it was noted, whatever it contains.
        """
        odd = result(
            "r-\N{SNOWMAN}",
            0,
            seats=(ResultSeat("p" * 64, '"\n\\', None),),
            places=(),
            scores=(None,),
            reason="lost",
            recording="",
        )
        store = self.make_store()
        for one in (odd, result("m1")):
            cursor = store.add(one, is_wanted=False)
            kept = (store.after("", 100))[-1]
            self.assertEqual(kept, KeptResult(cursor, one))
            self.assertEqual(decode_result(encode_result(one)), one)

    def test_once_per_round(self) -> None:
        """
        The same round is kept once, and as it was noted first.
        """
        store = self.make_store()
        first = store.add(result("m1"), is_wanted=True)
        self.assertNotEqual(first, "")
        self.assertEqual(store.add(result("m1", scores=(9, 9)), is_wanted=True), "")
        self.assertNotEqual(store.add(result("m1", 2), is_wanted=True), "")
        (kept, _) = store.after("", 100)
        self.assertEqual(kept.result.scores, (12, 3.5))
        self.assertEqual(self.ids(store), ["m1:1", "m1:2"])

    def test_cursors(self) -> None:
        """
        A reader who asks on with the last cursor gets each result once, in order, also
        if many came in one millisecond or the clock was set back.
        """
        store = self.make_store()
        names = [f"m{number}" for number in range(25)]
        for number, name in enumerate(names):
            at = NOW + (0.0, 0.0, 5.0, 2.0)[number % 4]
            store.add(result(name, at=at), is_wanted=False)
        found: list[str] = []
        cursor = ""
        while page := store.after(cursor, 7):
            self.assertLessEqual(len(page), 7)
            found += [kept.result.match_id for kept in page]
            cursor = page[-1].cursor
        self.assertEqual(found, names)
        store.add(result("late"), is_wanted=False)
        self.assertEqual(self.ids(store, cursor), ["late:1"])

    def test_wrong_cursor(self) -> None:
        """
        A text that is no cursor is an error, not an empty list.
        """
        store = self.filled(result("m1"))
        for wrong in ("x", "1", "-1-0", "1-", "1-0 ", "9" * 40 + "-0"):
            for ask in (store.after, store.dead):
                with self.assertRaises(ValueError):
                    ask(wrong, 10)

    def test_bounded_by_number(self) -> None:
        """
        The oldest results give way, and a reader who was away goes on with the rest.
        """
        store = self.make_store(most=3)
        first = store.add(result("m0"), is_wanted=False)
        for number in range(1, 6):
            store.add(result(f"m{number}"), is_wanted=False)
        self.assertEqual(self.ids(store), ["m3:1", "m4:1", "m5:1"])
        self.assertEqual(self.ids(store, first), ["m3:1", "m4:1", "m5:1"])
        counts = store.counts()
        self.assertEqual((counts.kept, counts.forgotten), (3, 0))

    def test_many_notices(self) -> None:
        """
        However many notices wait for a receiver that is away, they take no more than
        half of the store from results that wait, too.
        """
        store = self.make_store(most=6)
        for number in range(3):
            store.add(result(f"r{number}"), is_wanted=True)
        for number in range(20):
            turn = TurnNotice("x-ab", "x", "letters", 0, "ann", "Ann", number, NOW, NOW)
            store.add(turn, is_wanted=True)
        self.assertEqual(self.ids(store), ["r0:1", "r1:1", "r2:1"])
        self.assertEqual(store.counts().kept, 6)

    def test_bounded_by_age(self) -> None:
        """
        Old results go, sent or not; those that were not sent are counted.
        """
        store = self.make_store(most_age=60.0)
        store.add(result("m1"), is_wanted=True)
        store.add(result("m2", at=NOW + 30.0), is_wanted=True)
        self.now = NOW + 61.0
        self.assertEqual(self.ids(store), ["m2:1"])
        self.assertEqual(self.taken_ids(store, self.now), ["m2:1"])
        self.now = NOW + 91.0
        self.assertEqual(self.taken_ids(store, self.now + 20.0), [])
        counts = store.counts()
        self.assertEqual((counts.kept, counts.waiting, counts.forgotten), (0, 0, 2))
        self.assertNotEqual(store.add(result("m3", at=self.now), is_wanted=True), "")

    def test_taken_once(self) -> None:
        """
        Two senders never have the same result at once; one that is silent for too long
        loses it.
        """
        store = self.filled(result("m1"), result("m2"))
        self.assertEqual(self.taken_ids(store, NOW, 1), ["m1:1"])
        self.assertEqual(self.taken_ids(store, NOW), ["m2:1"])
        self.assertEqual(self.taken_ids(store, NOW + 9.0), [])
        self.assertEqual(self.taken_ids(store, NOW + 10.0), ["m1:1", "m2:1"])

    def test_unwanted_is_not_sent(self) -> None:
        """
        What was noted while nothing was to be sent stays here.
        """
        store = self.make_store()
        store.add(result("m1"), is_wanted=False)
        self.assertEqual(self.taken_ids(store, NOW), [])

    def test_in_order_per_match(self) -> None:
        """
        A match's second round is sent when its first was received; other matches do
        not wait for it.
        """
        store = self.filled(
            result("m1"), result("m1", 2), result("m2"), result("m1", 3)
        )
        first, other = self.taken(store, NOW)
        self.assertEqual(
            [first.result.result_id, other.result.result_id], ["m1:1", "m2:1"]
        )
        self.assertTrue(store.postpone(first.cursor, NOW + 5.0, "it is away"))
        self.assertTrue(store.sent(other.cursor))
        self.assertEqual(self.taken_ids(store, NOW + 4.9), [])
        (again,) = self.taken(store, NOW + 5.0)
        self.assertEqual((again.result.round, again.tries), (1, 1))
        self.assertEqual(again.why, "it is away")
        self.assertTrue(store.sent(again.cursor))
        (second,) = self.taken(store, NOW + 5.0)
        self.assertEqual(second.result.round, 2)
        self.assertTrue(store.sent(second.cursor))
        self.assertEqual(self.taken_ids(store, NOW + 5.0), ["m1:3"])

    def test_sent_is_over(self) -> None:
        """
        A result that was received is not sent again, whatever comes late.
        """
        store = self.filled(result("m1"))
        (kept,) = self.taken(store, NOW)
        self.assertTrue(store.sent(kept.cursor))
        self.assertFalse(store.sent(kept.cursor))
        self.assertFalse(store.postpone(kept.cursor, NOW, "late"))
        self.assertFalse(store.give_up(kept.cursor, "late"))
        self.assertFalse(store.revive(kept.cursor))
        self.assertFalse(store.sent("1-0"))
        self.assertEqual(self.taken_ids(store, NOW + 100.0), [])
        (kept,) = store.after("", 10)
        self.assertEqual((kept.state, kept.tries), ("sent", 0))

    def test_dead(self) -> None:
        """
        A result that was given up is listed, does not keep back its match, and is sent
        again if somebody asks for it.
        """
        store = self.filled(result("m1"), result("m1", 2), result("m2"))
        first, other = self.taken(store, NOW)
        self.assertTrue(store.give_up(first.cursor, "it answers 400"))
        self.assertTrue(store.give_up(other.cursor, "it answers 400"))
        dead = store.dead("", 10)
        self.assertEqual([one.result.result_id for one in dead], ["m1:1", "m2:1"])
        self.assertEqual(
            [(one.state, one.tries, one.why) for one in dead],
            [("dead", 1, "it answers 400")] * 2,
        )
        self.assertEqual(len(store.dead("", 1)), 1)
        self.assertEqual(len(store.dead(first.cursor, 10)), 1)
        self.assertEqual(self.taken_ids(store, NOW), ["m1:2"])
        self.assertTrue(store.revive(first.cursor))
        self.assertFalse(store.revive(first.cursor))
        (again,) = self.taken(store, NOW)
        self.assertEqual((again.result.result_id, again.tries), ("m1:1", 0))
        self.assertEqual(len(store.dead("", 10)), 1)
        counts = store.counts()
        self.assertEqual((counts.kept, counts.waiting, counts.dead), (3, 2, 1))
        self.assertEqual(counts.since, NOW)
        self.assertTrue(store.sent(again.cursor))
        self.assertEqual(self.taken_ids(store, NOW + 10.0), ["m1:2"])


class MemoryResultStoreTests(ResultStoreContract, SynchronousTestCase):
    """A node that keeps nothing on the disk."""

    def make_store(self, most: int = 1000, most_age: float = DAY) -> ResultStore:
        return ResultStore(most, most_age, lambda: self.now)


class FileResultStoreTests(ResultStoreContract, SynchronousTestCase):
    """A node that keeps results in a file."""

    def make_store(self, most: int = 1000, most_age: float = DAY) -> ResultStore:
        folder = Path(self.mktemp())
        store = ResultStore(most, most_age, lambda: self.now, folder)
        self.addCleanup(store.close)
        return store


def facts(store: ResultStore) -> Any:
    """Everything that a store would answer, but who has taken what."""
    return store.after("", 100), store.dead("", 100), store.counts()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("add", "add", "sent", "postpone", "give_up", "revive", "wait", "restart")
        ),
        st.integers(0, 5),
        st.integers(0, 3),
    ),
    max_size=30,
)

KEEPS_ON = f"""
import sys
from itertools import count
from pathlib import Path
from tests.lobby.results.test_store import result
from vinom.lobby.results.store import ResultStore
store = ResultStore(10_000, 1e9, lambda: {NOW}, Path(sys.argv[1]))
for number in count():
    print(store.add(result(f"m{{number}}"), is_wanted=True), flush=True)
"""


class FileTests(SynchronousTestCase):
    """What is there after the node was started again."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def open(self, most: int = 1000) -> ResultStore:
        store = ResultStore(most, DAY, lambda: NOW, self.folder)
        self.assertEqual(store.check(), "")
        self.addCleanup(store.close)
        return store

    @given(STEPS)
    @settings(max_examples=25)
    @example([("add", 0, 0), ("wait", 1, 0), ("wait", 5, 0), ("add", 0, 0)])
    def test_any_story(self, steps: list[tuple[str, int, int]]) -> None:
        """
        Whatever happens to results, a node that is started again at any time answers
        as one that was not, and sends what waits.
        """
        folder, now = Path(self.mktemp()), NOW

        def opened() -> ResultStore:
            return ResultStore(6, 50.0, lambda: now, folder)

        steady, store = ResultStore(6, 50.0, lambda: now), opened()
        for what, one, other in steps:
            both = (steady, store)
            if what == "restart":
                forgotten = store.counts().forgotten
                store.close()
                store = opened()
                store._forgotten = forgotten
            elif what == "wait":
                now += 10.0 * one
            elif what == "add":
                made = result(f"m{one}", other, at=now)
                self.assertEqual(*[each.add(made, is_wanted=True) for each in both])
            elif kept := steady.after("", 100):
                cursor = kept[one % len(kept)].cursor
                more = {"postpone": (now + other, "why"), "give_up": ("why",)}
                done = [
                    getattr(each, what)(cursor, *more.get(what, ())) for each in both
                ]
                self.assertEqual(*done)
            self.assertEqual(facts(store), facts(steady), what)
        store.close()
        store = opened()
        due = [each.take(now + 9, now + 9.0, 100) for each in (steady, store)]
        self.assertEqual({one.cursor for one in due[0]}, {one.cursor for one in due[1]})
        store.close()

    def test_killed(self) -> None:
        """
        A node that is killed at any moment loses no result that it said was kept.
        """
        for lines in (1, 40, 150):
            folder = Path(self.mktemp())
            with subprocess.Popen(
                [sys.executable, "-c", KEEPS_ON, str(folder)], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                for _ in range(lines):
                    process.stdout.readline()
                process.send_signal(signal.SIGKILL)
                printed = lines + len(process.stdout.readlines())
            store = ResultStore(10_000, 1e9, lambda: NOW, folder)
            self.assertEqual(store.check(), "")
            found = store.after("", 10_000)
            store.close()
            self.assertIn(len(found) - printed, (0, 1))
            self.assertEqual(
                [one.result.match_id for one in found],
                [f"m{number}" for number in range(len(found))],
            )

    def test_damage(self) -> None:
        """
        A node whose file the disk has spoilt puts it aside, says so, and goes on.
        """
        store = self.open()
        store.add(result("m1"), is_wanted=False)
        store.close()
        path = self.folder / FILE
        path.write_bytes(b"spoilt" * 2000)
        why = store.check()
        self.assertIn("was moved to results.damaged-", why)
        self.assertEqual(facts(store)[0], [])
        self.assertNotEqual(store.add(result("new"), is_wanted=False), "")
        self.assertTrue(list(self.folder.glob("*.damaged-*")))

    def test_bounded_on_the_disk(self) -> None:
        """
        The file stays small, and only the node's user can read it.
        """
        store = self.open(most=10)
        for number in range(2000):
            store.add(result(f"m{number}"), is_wanted=False)
            if number % 100 == 0 and (database := store.unsynced()):
                sync(database)
        size = sum(path.stat().st_size for path in self.folder.iterdir())
        self.assertLess(size, 4_000_000)
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)

    def test_full_disk(self) -> None:
        """
        A disk that is full is an outage of storage, and keeps what it has.
        """
        store = self.open()
        store.add(result("m1"), is_wanted=True)
        assert store._database is not None
        store._database.execute("PRAGMA max_page_count = 1")
        failures: list[str] = []
        for number in range(100):
            try:
                store.add(result(f"n{number}"), is_wanted=True)
            except StoreUnavailable as error:
                failures.append(str(error))
        self.assertIn("full", failures[-1])
        store.close()
        again = self.open()
        self.assertEqual(again.counts().kept, 101 - len(failures))

    def test_unreadable_folder(self) -> None:
        """
        A node whose results cannot be read does not start, and says which.
        """
        self.folder.mkdir()
        (self.folder / FILE).mkdir()
        store = ResultStore(1000, DAY, lambda: NOW, self.folder)
        error = self.assertRaises(Misconfigured, store.check)
        self.assertIn(str(self.folder), str(error))

    def test_synced(self) -> None:
        """
        What was written is handed to the disk once, and survives a power failure, which
        takes the companion of the file; no more is open than before.
        """
        store = self.open()
        self.assertIs(store.unsynced(), None)
        store.counts()
        opened = opened_in(self.folder)
        store.add(result("m1"), is_wanted=True)
        database = store.unsynced()
        assert database is not None
        sync(database)
        self.assertEqual(opened_in(self.folder), opened)
        self.assertIs(store.unsynced(), None)
        alone = Path(self.mktemp())
        alone.write_bytes((self.folder / FILE).read_bytes())
        kept = sqlite3.connect(alone).execute("SELECT id FROM results").fetchall()
        self.assertEqual(kept, [("m1:1",)])

    def test_closed_while_it_syncs(self) -> None:
        """
        A node that stops while its results go to the disk does not crash.
        """
        for number in range(100):
            store = self.open()
            store.add(result(f"m{number}"), is_wanted=True)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(sync, store.unsynced())
                store.close()
