"""What keeps the results of rounds."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from vinom.base.model import (
    KeptResult,
    Result,
    ResultCounts,
)


class IResultStore(Interface):
    """
    Results of rounds, oldest first, and how far sending each of them is.

    A store is bounded by number and age; the oldest results give way, sent or not. Of
    each match the results are sent in order: one that waits keeps back the later ones,
    one that is dead does not. Cursors are texts such as "1763886000123-0".
    """

    def add(result: Result, is_wanted: bool) -> Deferred[str]:
        """
        Keep a result, unless one of this match and round is kept.

        :param is_wanted: whether it is to be sent.
        :returns: its cursor; empty if there is one already.
        """

    def after(cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """
        List results, oldest first.

        :param cursor: list those after this one; from the first if it is empty.
        :param most: list at most this many.
        :raises ValueError: this is no cursor.
        """

    def dead(cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """List results that were given up, in the same way."""

    def take(now: float, until: float, most: int) -> Deferred[Sequence[KeptResult]]:
        """
        Take results to send them: of each match only the oldest that waits.

        Nobody else can take them before *until*, unless they are postponed.

        :param now: take those that are due by then, seconds since the Unix epoch.
        :param until: when they are due again if nothing is heard of them.
        :param most: take at most this many.
        """

    def sent(cursor: str) -> Deferred[bool]:
        """Note that a result was received. Fires ``False`` if it waits no more."""

    def postpone(cursor: str, at: float, why: str) -> Deferred[bool]:
        """
        Note that sending a result has failed. Fires ``False`` if it waits no more.

        :param at: when it is due again, seconds since the Unix epoch.
        :param why: for operators.
        """

    def bury(cursor: str, why: str) -> Deferred[bool]:
        """Give a result up, after one more try. Fires ``False`` if it waits no more."""

    def revive(cursor: str) -> Deferred[bool]:
        """
        Let a result that was given up wait again, as if it had never been sent.

        Fires ``False`` if it is not dead.
        """

    def counts() -> Deferred[ResultCounts]:
        """Count the results."""
