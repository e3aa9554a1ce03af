"""The results of one node, in memory and in files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.results.contract import NOW, ResultStoreContract, result
from vinom.errors import Misconfigured
from vinom.results.journal import Journal, sync
from vinom.results.ledger import Ledger
from vinom.results.stores import LocalResultStore

DAY = 86400.0


class MemoryResultStoreTests(ResultStoreContract, TestCase):
    """A node that keeps nothing on the disk."""

    def make_store(self, most: int = 1000, most_age: float = DAY) -> LocalResultStore:
        return LocalResultStore(Ledger(most, most_age), lambda: self.now)


def open_store(
    folder: Path,
    most: int = 1000,
    most_age: float = DAY,
    segment_bytes: int = 1000,
    now: Any = lambda: NOW,
    failed: Any = None,
) -> LocalResultStore:
    return LocalResultStore.open(
        Ledger(most, most_age),
        now,
        Journal(folder, segment_bytes),
        failed or [].append,
    )


class FileResultStoreTests(ResultStoreContract, TestCase):
    """A node that keeps results in files, with several of them."""

    def make_store(self, **bounds: Any) -> LocalResultStore:
        store = open_store(Path(self.mktemp()), now=lambda: self.now, **bounds)
        self.addCleanup(store.close)
        return store


def story(store: LocalResultStore, steps: int = 100) -> None:
    """Do a bit of everything, at most so many steps of it."""

    def play() -> Any:
        for number in range(6):
            one = result(f"m{number % 3}", number)
            yield lambda one=one: store.add(one, True)
        for number in range(3):
            (kept,) = got(store.take(NOW + number, NOW + 100.0, 1))
            yield lambda cursor=kept.cursor: store.sent(cursor)
        (kept,) = got(store.take(NOW + 10.0, NOW + 100.0, 1))
        yield lambda: store.postpone(kept.cursor, NOW + 20.0, "it is away")
        (kept,) = got(store.take(NOW + 11.0, NOW + 100.0, 1))
        yield lambda: store.bury(kept.cursor, "it answers 400")
        yield lambda: store.revive(kept.cursor)
        yield lambda: store.add(result("m9"), False)

    for number, step in enumerate(play()):
        if number >= steps:
            return
        got(step())


def got(fired: Any) -> Any:
    """Take the result that is there already."""
    found: list[Any] = []
    fired.addCallback(found.append)
    return found[0]


def facts(store: LocalResultStore) -> Any:
    """Everything that a store would answer, but who has taken what."""
    return got(store.after("", 100)), got(store.dead("", 100)), got(store.counts())


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


#: Things that happen, with two small numbers each.
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


class FilesTests(SynchronousTestCase):
    """What is there after the node was started again."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def open(self, **parts: Any) -> LocalResultStore:
        store = open_store(self.folder, **parts)
        self.addCleanup(store.close)
        return store

    def test_everything_comes_back(self) -> None:
        """
        A node that was killed at any moment between two writes knows everything again:
        what is kept, what was sent, what is dead, how often it tried.
        """
        for steps in range(14):
            self.folder = Path(self.mktemp())
            store = self.open()
            story(store, steps)
            self.assertEqual(facts(self.open()), facts(store), steps)

    def test_every_cut(self) -> None:
        """
        A node that is killed at any byte of a write loses that line only, and the next
        result is kept and read again.
        """
        # A kill takes nothing from the system's cache, and disks are slow.
        self.patch(os, "fsync", lambda descriptor: None)
        store = self.open(segment_bytes=1 << 20)
        story(store)
        store.close()
        (path,) = self.folder.iterdir()
        data = path.read_bytes()
        known: list[Any] = []
        for steps in range(14):
            folder = Path(self.mktemp())
            one = open_store(folder)
            story(one, steps)
            one.close()
            known.append(facts(one))
        lines = 0
        for cut in range(len(data) + 1):
            path.write_bytes(data[:cut])
            lines = data[:cut].count(b"\n")
            store = self.open(segment_bytes=1 << 20)
            self.assertEqual(facts(store), known[lines], cut)
            got(store.add(result("new"), True))
            store.close()
            again = self.open(segment_bytes=1 << 20)
            self.assertEqual(facts(again), facts(store), cut)
        self.assertEqual(lines, 13)

    @given(STEPS)
    @example([("add", 0, 0), ("wait", 1, 0), ("wait", 5, 0), ("add", 0, 0)])
    def test_any_story(self, steps: list[tuple[str, int, int]]) -> None:
        """
        Whatever happens to results, a node that is killed and started again at any
        time answers as one that was not.
        """
        self.patch(os, "fsync", lambda descriptor: None)
        folder, now = Path(self.mktemp()), NOW
        bounds = {"most": 6, "most_age": 50.0, "now": lambda: now}
        steady = LocalResultStore(Ledger(6, 50.0), lambda: now)
        store = open_store(folder, segment_bytes=700, **bounds)
        for what, one, other in steps:
            if what == "restart":
                forgotten = steady.ledger.forgotten
                store.close()
                store = open_store(folder, segment_bytes=700, **bounds)
                store.ledger.forgotten = forgotten
            elif what == "wait":
                now += 10.0 * one
            elif what == "add":
                made = result(f"m{one}", other, at=now)
                added = [got(each.add(made, True)) for each in (steady, store)]
                self.assertEqual(*added)
            else:
                kept = got(steady.after("", 100))
                if not kept:
                    continue
                cursor = kept[one % len(kept)].cursor
                more = {"postpone": (now + other, "why"), "bury": ("why",)}
                done = [
                    got(getattr(each, what)(cursor, *more.get(what, ())))
                    for each in (steady, store)
                ]
                self.assertEqual(*done)
            self.assertEqual(facts(store), facts(steady), what)
        # What is due is due for both; who had taken it is forgotten by a kill.
        store.close()
        store = open_store(folder, segment_bytes=700, **bounds)
        due = [got(each.take(now, now + 1.0, 100)) for each in (steady, store)]
        self.assertEqual({one.cursor for one in due[0]}, {one.cursor for one in due[1]})
        store.close()

    @given(st.data())
    def test_damage(self, data: Any) -> None:
        """
        A byte that the disk changed costs its line, or two, and no more.
        """
        folder = Path(self.mktemp())
        store = open_store(folder, segment_bytes=1 << 20)
        for number in range(5):
            got(store.add(result(f"m{number}"), False))
        store.close()
        (path,) = folder.iterdir()
        whole = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(bytes(whole))
        reasons: list[str] = []
        again = open_store(folder, segment_bytes=1 << 20, failed=reasons.append)
        self.assertGreaterEqual(len(got(again.after("", 100))), 3)
        # A last line without its end looks like a write that was cut.
        is_torn = bytes(whole[-1:]) != b"\n"
        self.assertEqual(len(reasons), 0 if is_torn else 1, reasons)
        self.assertNotEqual(got(again.add(result("new"), False)), "")
        again.close()

    def test_rotation(self) -> None:
        """
        Files are many and short, and go when their results do.
        """
        store = self.open(most=10, segment_bytes=2000)
        for number in range(200):
            got(store.add(result(f"m{number}"), True))
            for kept in got(store.take(NOW, NOW + 1.0, 10)):
                got(store.sent(kept.cursor))
        sizes = [len(data) for data in bytes_of(self.folder).values()]
        self.assertLess(len(sizes), 7)
        self.assertLess(max(sizes), 3000)
        self.assertEqual(facts(self.open(most=10)), facts(store))
        # The mode of a file that has players' names and ids in it.
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)

    def test_nothing_without_results(self) -> None:
        """
        A node whose players never finish anything makes no folder.
        """
        facts(self.open())
        self.assertFalse(self.folder.exists())

    def test_full_disk(self) -> None:
        """
        A disk that is full is reported; the result is there until the node stops, and
        what is written later can be read.
        """
        reasons: list[str] = []
        store = self.open(failed=reasons.append, segment_bytes=1 << 20)
        got(store.add(result("m1"), True))
        written, calls = os.write, 0

        def nearly_full(descriptor: int, data: bytes) -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                return written(descriptor, data[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        patched = self.patch(os, "write", nearly_full)
        self.assertNotEqual(got(store.add(result("m2"), True)), "")
        patched.restore()
        self.assertEqual(len(reasons), 1)
        self.assertIn("No space left", reasons[0])
        self.assertEqual(got(store.counts()).kept, 2)
        got(store.add(result("m3"), True))
        again = got(self.open().after("", 10))
        self.assertEqual([one.result.match_id for one in again], ["m1", "m3"])

    def test_unreadable_folder(self) -> None:
        """
        A node whose results cannot be read does not start, and says which.
        """
        self.folder.write_bytes(b"a file")
        error = self.assertRaises(Misconfigured, self.open)
        self.assertIn(str(self.folder), str(error))

    def test_synced(self) -> None:
        """
        What was written is handed to the disk once, and nothing is left open.
        """
        store = self.open()
        self.assertEqual(store.unsynced(), ())
        got(store.add(result("m1"), True))
        before = len(os.listdir("/proc/self/fd"))
        descriptors = store.unsynced()
        self.assertEqual(len(descriptors), 2)
        sync(descriptors)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(store.unsynced(), ())
