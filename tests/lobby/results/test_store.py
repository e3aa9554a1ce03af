"""The results of one node, in memory and in a file."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.lobby.results.contract import NOW, ResultStoreContract, result
from tests.support.descriptors import opened_in
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.lobby.results.store import FILE, LocalResultStore, sync

DAY = 86400.0


class MemoryResultStoreTests(ResultStoreContract, TestCase):
    """A node that keeps nothing on the disk."""

    def make_store(self, most: int = 1000, most_age: float = DAY) -> LocalResultStore:
        return LocalResultStore(most, most_age, lambda: self.now)


class FileResultStoreTests(ResultStoreContract, TestCase):
    """A node that keeps results in a file."""

    def make_store(self, most: int = 1000, most_age: float = DAY) -> LocalResultStore:
        folder = Path(self.mktemp())
        store = LocalResultStore(most, most_age, lambda: self.now, folder)
        self.addCleanup(store.close)
        return store


def got(fired: Any) -> Any:
    """Take the result that is there already."""
    found: list[Any] = []
    fired.addCallback(found.append)
    return found[0]


def facts(store: LocalResultStore) -> Any:
    """Everything that a store would answer, but who has taken what."""
    return got(store.after("", 100)), got(store.dead("", 100)), got(store.counts())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("add", "add", "sent", "postpone", "bury", "revive", "wait", "restart")
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
from tests.lobby.results.contract import result
from vinom.lobby.results.store import LocalResultStore
store = LocalResultStore(10_000, 1e9, lambda: {NOW}, Path(sys.argv[1]))
for number in count():
    store.add(result(f"m{{number}}"), True).addCallback(print, flush=True)
"""


class FileTests(SynchronousTestCase):
    """What is there after the node was started again."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def open(self, most: int = 1000) -> LocalResultStore:
        store = LocalResultStore(most, DAY, lambda: NOW, self.folder)
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

        def opened() -> LocalResultStore:
            return LocalResultStore(6, 50.0, lambda: now, folder)

        steady, store = LocalResultStore(6, 50.0, lambda: now), opened()
        for what, one, other in steps:
            both = (steady, store)
            if what == "restart":
                forgotten = got(store.counts()).forgotten
                store.close()
                store = opened()
                store._forgotten = forgotten
            elif what == "wait":
                now += 10.0 * one
            elif what == "add":
                made = result(f"m{one}", other, at=now)
                self.assertEqual(*[got(each.add(made, True)) for each in both])
            elif kept := got(steady.after("", 100)):
                cursor = kept[one % len(kept)].cursor
                more = {"postpone": (now + other, "why"), "bury": ("why",)}
                done = [
                    got(getattr(each, what)(cursor, *more.get(what, ())))
                    for each in both
                ]
                self.assertEqual(*done)
            self.assertEqual(facts(store), facts(steady), what)
        store.close()
        store = opened()
        due = [got(each.take(now + 9, now + 9.0, 100)) for each in (steady, store)]
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
            store = LocalResultStore(10_000, 1e9, lambda: NOW, folder)
            self.assertEqual(store.check(), "")
            found = got(store.after("", 10_000))
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
        got(store.add(result("m1"), False))
        store.close()
        path = self.folder / FILE
        path.write_bytes(b"spoilt" * 2000)
        why = store.check()
        self.assertIn("was moved to results.damaged-", why)
        self.assertEqual(facts(store)[0], [])
        self.assertNotEqual(got(store.add(result("new"), False)), "")
        self.assertTrue(list(self.folder.glob("*.damaged-*")))

    def test_bounded_on_the_disk(self) -> None:
        """
        The file stays small, and only the node's user can read it.
        """
        store = self.open(most=10)
        for number in range(2000):
            got(store.add(result(f"m{number}"), False))
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
        got(store.add(result("m1"), True))
        assert store._database is not None
        store._database.execute("PRAGMA max_page_count = 1")
        failures: list[Any] = []
        for number in range(100):
            store.add(result(f"n{number}"), True).addErrback(failures.append)
        self.assertTrue(failures)
        self.assertTrue(failures[-1].check(StoreUnavailable))
        self.assertIn("full", str(failures[-1].value))
        store.close()
        again = self.open()
        self.assertEqual(got(again.counts()).kept, 101 - len(failures))

    def test_unreadable_folder(self) -> None:
        """
        A node whose results cannot be read does not start, and says which.
        """
        self.folder.mkdir()
        (self.folder / FILE).mkdir()
        store = LocalResultStore(1000, DAY, lambda: NOW, self.folder)
        error = self.assertRaises(Misconfigured, store.check)
        self.assertIn(str(self.folder), str(error))

    def test_synced(self) -> None:
        """
        What was written is handed to the disk once, and survives a power failure, which
        takes the companion of the file; no more is open than before.
        """
        store = self.open()
        self.assertIs(store.unsynced(), None)
        got(store.counts())
        opened = opened_in(self.folder)
        got(store.add(result("m1"), True))
        database = store.unsynced()
        assert database is not None
        sync(database)
        self.assertEqual(opened_in(self.folder), opened)
        self.assertIs(store.unsynced(), None)
        alone = Path(self.mktemp())
        alone.write_bytes((self.folder / FILE).read_bytes())
        kept = sqlite3.connect(alone).execute("SELECT id FROM results").fetchall()
        self.assertEqual(kept, [("m1:1",)])
