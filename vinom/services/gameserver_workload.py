"""Whether a game server has more to do than it can."""

from __future__ import annotations

from collections import Counter

from twisted.logger import Logger

from vinom.errors import Code, Refused
from vinom.rules.overload import Overload


class Workload:
    """
    Judge the reactor's turns, and say so once when the judgement changes.

    :param figures: counts how often there was too much.
    """

    _log = Logger()

    def __init__(self, figures: Counter[str]) -> None:
        self._overload = Overload()
        self._figures = figures
        self._was_high = False

    def turned(self, took: float, now: float) -> None:
        """A turn of the reactor is over."""
        self._overload.turned(took, now)
        self.is_high(now)

    def is_high(self, now: float) -> bool:
        """Should those who are new come later?"""
        is_high = self._overload.is_high(now)
        if is_high is not self._was_high:
            self._was_high = is_high
            if is_high:
                self._figures["overloads"] += 1
                self._log.warn(
                    "turns take {average:.3f} s: new players are told to come later",
                    average=self._overload.average,
                )
            else:
                self._log.info("turns are quick again: new players may come")
        return is_high

    def refuse_newcomer(self, now: float) -> None:
        """
        Somebody new asks for a seat.

        :raises Refused: `Code.BUSY`; its details say when to come again.
        """
        if self.is_high(now):
            raise Refused(
                Code.BUSY,
                "too much to do for new players now",
                {"retry_after": self._overload.retry_after},
            )
