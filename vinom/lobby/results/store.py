"""The results of one node, in memory or in a file of SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import attrs

from vinom.base.messages.operators import decode_result, encode_result
from vinom.base.model import KeptResult, Result, ResultCounts, TurnNotice
from vinom.errors import StoreUnavailable
from vinom.store.sqlite import check_file, open_file

#: SQLite crashes if a connection is closed that another thread is using.
_at_work = Lock()
#: Name of the file in its directory.
FILE = "results.sqlite"

# No write waits for the disk: `sync` does, in a thread.
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 0;
CREATE TABLE IF NOT EXISTS results (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    match_id TEXT NOT NULL,
    at REAL NOT NULL,
    text BLOB NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    why TEXT NOT NULL DEFAULT '',
    due REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS due ON results (due, position) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS turn ON results (match_id, position) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS dead ON results (position) WHERE state = 'dead';
CREATE INDEX IF NOT EXISTS notices ON results (position) WHERE id GLOB 'turn:*';
"""
#: Is it a notice? It is listed only if it was given up, and forgotten once it is sent.
_IS_TURN = "id GLOB 'turn:*'"
_KEPT = "SELECT position, text, state, tries, why FROM results "

#: A result's position is the millisecond in which it was noted, times this, and one
#: more for each further result of that millisecond. A cursor has both numbers.
_OF_A_MILLISECOND = 100_000
_CURSOR = re.compile(r"([0-9]{1,13})-([0-9]{1,5})")


def _read_cursor(text: str) -> int:
    if not text:
        return -1
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no cursor: use one of a list of results")
    return int(found[1]) * _OF_A_MILLISECOND + int(found[2])


def _write_cursor(position: int) -> str:
    return "{}-{}".format(*divmod(position, _OF_A_MILLISECOND))


@attrs.define(eq=False)
class ResultStore:
    """
    Results of rounds, oldest first, and how far sending each of them is; and notices,
    until they are sent.

    The store is bounded by number and age; the oldest give way, sent or not, or the
    oldest notices if these are more than half. Of
    each match the results are sent in order: one that waits keeps back the later ones,
    one that is dead does not. Cursors are texts such as "1763886000123-0".

    What was written survives the process at any time; call `sync` now and then for the
    sake of a machine that loses its power. A method that does not have its whole effect
    has none, and raises `StoreUnavailable`: for example, the disk is full.

    :ivar most: most results that are kept.
    :ivar most_age: longest time that one is kept, seconds.
    :ivar now: gives the time, seconds since the Unix epoch.
    :ivar directory: of the file, absolute; without it everything is lost when the node
        stops.
    """

    most: int
    most_age: float
    now: Callable[[], float]
    directory: Path | None = None
    _database: sqlite3.Connection | None = attrs.field(default=None, init=False)
    _count: int = attrs.field(default=0, init=False)
    _forgotten: int = attrs.field(default=0, init=False)
    _synced: int = attrs.field(default=0, init=False)
    _syncing: sqlite3.Connection | None = attrs.field(default=None, init=False)

    def check(self) -> str:
        """
        Check that the file can be used; one that is damaged is put aside.

        :returns: what an operator must know about it; empty if all is well.
        :raises Misconfigured: it cannot be read.
        """
        if self.directory is None:
            return ""
        path = self.directory / FILE
        return check_file(path, _SCHEMA, "results", self.now())

    def open(self) -> None:
        """Open the file: once twistd has forked, and changed its user."""
        try:
            self._opened()
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            path = None if self.directory is None else self.directory / FILE
            database = open_file(path, _SCHEMA)
            # Nobody sends what a node that was killed had taken.
            database.execute("UPDATE results SET due = 0 WHERE state = 'waiting'")
            (self._count,) = database.execute("SELECT count(*) FROM results").fetchone()
            if path is not None:
                self._syncing = sqlite3.connect(path, check_same_thread=False)
                sync(self._syncing)
            self._database = database
        return self._database

    def _do(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement, all or nothing."""
        try:
            return self._opened().execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error) from error

    def _trim(self) -> None:
        """Forget results that are too many or too old."""
        oldest = self._do("SELECT at FROM results ORDER BY position LIMIT 1")
        since = self.now() - self.most_age
        if oldest and oldest[0][0] < since:
            self._forget(
                "position < ifnull((SELECT position FROM results WHERE at >= ? "
                "ORDER BY position LIMIT 1), 1 << 62)",
                since,
            )
        if self._count > self.most:
            ((notices,),) = self._do(f"SELECT count(*) FROM results WHERE {_IS_TURN}")
            # Players cause as many as they like: no result gives way to most of them.
            which = f"WHERE {_IS_TURN}" if 2 * notices > self.most else ""
            self._forget(
                f"position IN (SELECT position FROM results {which} "
                "ORDER BY position LIMIT ?)",
                self._count - self.most,
            )

    def _forget(self, which: str, value: float) -> None:
        gone = self._do(f"DELETE FROM results WHERE {which} RETURNING state", value)
        self._count -= len(gone)
        self._forgotten += sum(state in ("waiting", "dead") for (state,) in gone)

    def add(self, result: Result | TurnNotice, *, is_wanted: bool) -> str:
        """
        Keep a result, unless one of this match and round is kept.

        :param is_wanted: whether it is to be sent.
        :returns: its cursor; empty if there is one already.
        """
        self._trim()
        last = self._do("SELECT seq FROM sqlite_sequence WHERE name = 'results'")
        # After all others, also if the clock was set back.
        position = max(
            int(result.at * 1000) * _OF_A_MILLISECOND, last[0][0] + 1 if last else 0
        )
        added = self._do(
            "INSERT OR IGNORE INTO results (position, id, match_id, at, text, state) "
            "VALUES (?, ?, ?, ?, ?, ?) RETURNING position",
            position,
            result.result_id,
            result.match_id,
            result.at,
            encode_result(result),
            "waiting" if is_wanted else "kept",
        )
        self._count += len(added)
        self._trim()
        return _write_cursor(position) if added else ""

    def _listed(self, which: str, *values: Any) -> list[KeptResult]:
        self._trim()
        return [
            KeptResult(_write_cursor(position), decode_result(text), state, tries, why)
            for position, text, state, tries, why in self._do(_KEPT + which, *values)
        ]

    def after(self, cursor: str, most: int) -> list[KeptResult]:
        """
        List results, oldest first.

        :param cursor: list those after this one; from the first if it is empty.
        :param most: list at most this many.
        :raises ValueError: this is no cursor.
        """
        which = f"WHERE position > ? AND NOT {_IS_TURN} ORDER BY position LIMIT ?"
        return self._listed(which, _read_cursor(cursor), most)

    def dead(self, cursor: str, most: int) -> list[KeptResult]:
        """List results that were given up, in the same way."""
        which = "WHERE state = 'dead' AND position > ? ORDER BY position LIMIT ?"
        return self._listed(which, _read_cursor(cursor), most)

    def take(self, now: float, until: float, most: int) -> list[KeptResult]:
        """
        Take results to send them: of each match only the oldest that waits.

        Nobody else can take them before *until*, unless they are postponed.

        :param now: take those that are due by then, seconds since the Unix epoch.
        :param until: when they are due again if nothing is heard of them.
        :param most: take at most this many.
        """
        taken = self._listed(
            "AS one WHERE state = 'waiting' AND due <= ? AND NOT EXISTS ("
            "SELECT 1 FROM results AS earlier WHERE state = 'waiting' AND "
            "earlier.match_id = one.match_id AND earlier.position < one.position) "
            "ORDER BY due, position LIMIT ?",
            now,
            most,
        )
        for kept in taken:
            self._do(
                "UPDATE results SET due = ? WHERE position = ?",
                until,
                _read_cursor(kept.cursor),
            )
        return taken

    def _change(self, cursor: str, before: str, what: str, *values: Any) -> bool:
        self._trim()
        changed = self._do(
            f"UPDATE results SET {what} WHERE position = ? AND state = ? "
            "RETURNING position",
            *values,
            _read_cursor(cursor),
            before,
        )
        return bool(changed)

    def sent(self, cursor: str) -> bool:
        """Note that a result was received. Returns ``False`` if it waits no more."""
        is_sent = self._change(cursor, "waiting", "state = 'sent'")
        gone = self._do(
            f"DELETE FROM results WHERE position = ? AND {_IS_TURN} RETURNING position",
            _read_cursor(cursor),
        )
        self._count -= len(gone)
        return is_sent

    def postpone(self, cursor: str, at: float, why: str) -> bool:
        """
        Note that sending a result has failed. Returns ``False`` if it waits no more.

        :param at: when it is due again, seconds since the Unix epoch.
        :param why: for operators.
        """
        what = "tries = tries + 1, due = ?, why = ?"
        return self._change(cursor, "waiting", what, at, why)

    def give_up(self, cursor: str, why: str) -> bool:
        """Give a result up, after one more try; ``False``: it waits no more."""
        what = "state = 'dead', tries = tries + 1, why = ?"
        return self._change(cursor, "waiting", what, why)

    def revive(self, cursor: str) -> bool:
        """
        Let a result that was given up wait again, as if it had never been sent.

        Returns ``False`` if it is not dead.
        """
        what = "state = 'waiting', tries = 0, due = 0, why = ''"
        return self._change(cursor, "dead", what)

    def counts(self) -> ResultCounts:
        """Count the results."""
        self._trim()
        ((waiting, since),) = self._do(
            "SELECT count(*), min(at) FROM results WHERE state = 'waiting'"
        )
        ((dead,),) = self._do("SELECT count(*) FROM results WHERE state = 'dead'")
        return ResultCounts(self._count, waiting, dead, since, self._forgotten)

    def unsynced(self) -> sqlite3.Connection | None:
        """Return what `sync` is to be called with; ``None`` if all is on the disk."""
        if self._database is None or self._syncing is None:
            return None
        before, self._synced = self._synced, self._database.total_changes
        return self._syncing if self._synced != before else None

    def close(self) -> None:
        """Close the file; a result that comes later opens it again."""
        if self._database is not None and self._syncing is not None:
            self._database.close()
            with _at_work:
                self._syncing.close()
            self._database = self._syncing = None
            self._synced = 0


def sync(database: sqlite3.Connection) -> None:
    """
    Wait until what was written to a file is on the disk; to be called in a thread.

    :raises sqlite3.Error: the disk does not take it.
    """
    with _at_work:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"results are not kept: {error}")
