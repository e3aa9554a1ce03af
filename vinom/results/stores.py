"""The results of one node, in memory or in files; see `vinom.ports.IResultStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from msgspec import MsgspecError
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.errors import Misconfigured
from vinom.model import KeptResult, Result, ResultCounts
from vinom.ports import IResultStore
from vinom.results.journal import Journal
from vinom.results.ledger import (
    Buried,
    Ledger,
    Postponed,
    Record,
    Revived,
    Sent,
    decode_record,
    encode_record,
    read_cursor,
)


@implementer(IResultStore)
@attrs.define(eq=False)
class LocalResultStore:
    """
    Results of one node: a ledger, and the files that it is made of again.

    What was written survives the process at any time. The caller has `unsynced` written
    to the disk now and then, for the sake of a machine that loses its power.

    :ivar ledger: bounds the number and age of results.
    :ivar now: gives the time, seconds since the Unix epoch.
    :ivar journal: the files; without them everything is lost when the node stops.
    :ivar failed: is called with the reason why something is in memory only.
    """

    ledger: Ledger
    now: Callable[[], float]
    journal: Journal | None = None
    failed: Callable[[str], None] = lambda why: None

    @classmethod
    def open(
        cls,
        ledger: Ledger,
        now: Callable[[], float],
        journal: Journal,
        failed: Callable[[str], None],
    ) -> LocalResultStore:
        """
        Read what the files say.

        :param ledger: empty.
        :param now: gives the time.
        :param journal: the files.
        :param failed: gets the reason why something is in memory only.
        :raises Misconfigured: the files cannot be read.
        """
        try:
            for line in journal.read():
                try:
                    record = decode_record(line)
                    position = read_cursor(record.cursor)
                    ledger.apply(record)
                except (MsgspecError, ValueError):
                    # Of another version, or two nodes had the directory.
                    journal.damaged += 1
                else:
                    journal.reached(position)
        except OSError as error:
            raise Misconfigured(
                f"results in {journal.directory} cannot be read: {error}; make the "
                "directory readable for the node, or move it away"
            ) from error
        if journal.damaged:
            failed(f"{journal.damaged} lines in {journal.directory} are unreadable")
        ledger.trim(now())
        ledger.forgotten = 0
        return cls(ledger, now, journal, failed)

    def add(self, result: Result, is_wanted: bool) -> Deferred[str]:
        """Keep a result; see `IResultStore`, as for all methods."""
        self._trim()
        record = self.ledger.added(result, is_wanted)
        if record is None:
            return succeed("")
        self._do(record)
        self._trim()
        return succeed(record.cursor)

    def after(self, cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """List results."""
        self._trim()
        try:
            return succeed(self.ledger.after(cursor, most))
        except ValueError as error:
            return fail(error)

    def dead(self, cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """List results that were given up."""
        self._trim()
        try:
            return succeed(self.ledger.dead(cursor, most))
        except ValueError as error:
            return fail(error)

    def take(
        self, now: float, until: float, most: int
    ) -> Deferred[Sequence[KeptResult]]:
        """Take results to send them."""
        self._trim()
        return succeed(self.ledger.take(now, until, most))

    def sent(self, cursor: str) -> Deferred[bool]:
        """Note that a result was received."""
        return succeed(self._do(Sent(cursor)))

    def postpone(self, cursor: str, at: float, why: str) -> Deferred[bool]:
        """Note that sending a result has failed."""
        return succeed(self._do(Postponed(cursor, at, why)))

    def bury(self, cursor: str, why: str) -> Deferred[bool]:
        """Give a result up."""
        return succeed(self._do(Buried(cursor, why)))

    def revive(self, cursor: str) -> Deferred[bool]:
        """Let a result that was given up wait again."""
        return succeed(self._do(Revived(cursor)))

    def counts(self) -> Deferred[ResultCounts]:
        """Count the results."""
        self._trim()
        return succeed(self.ledger.counts())

    def unsynced(self) -> tuple[int, ...]:
        """Find what `vinom.results.journal.sync` is to be called with."""
        try:
            return () if self.journal is None else self.journal.unsynced()
        except OSError as error:
            self.failed(str(error))
            return ()

    def close(self) -> None:
        """Close the file; a result that comes later opens it again."""
        if self.journal is not None:
            try:
                self.journal.close()
            except OSError as error:
                self.failed(str(error))

    def _do(self, record: Record) -> bool:
        if not self.ledger.apply(record):
            return False
        if self.journal is not None:
            try:
                self.journal.append(encode_record(record), read_cursor(record.cursor))
            except OSError as error:
                # The disk must not stop play; the node still sends it.
                self.failed(str(error))
        return True

    def _trim(self) -> None:
        self.ledger.trim(self.now())
        if self.journal is not None and self.ledger.oldest is not None:
            self.journal.forget(self.ledger.oldest)
