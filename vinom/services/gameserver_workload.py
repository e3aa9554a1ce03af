"""Whether a game server has more to do than it can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from vinom.net.turns import TurnWatch
from vinom.rules.overload import Overload, busy


class Workload:
    """
    Judge the reactor's turns, and say so once when the judgement changes.

    Ticks and what comes by way of the node send nothing, or only later: a port sees
    its own part of a turn. Whoever measures the reactor sees all of it.

    :param figures: counts how often there was too much.
    :param turns: measures the reactor, if anybody does.
    :ivar port_turned: what the port is to tell of its turns; ``None`` if *turns*
        tells of whole ones.
    """

    _log = Logger()

    def __init__(self, figures: Counter[str], turns: TurnWatch | None = None) -> None:
        self._overload = Overload()
        self._figures = figures
        self._was_high = False
        has_turns = turns is not None and turns.tell(self.turned)
        self.port_turned: Callable[[float, float], None] | None = (
            None if has_turns else self.turned
        )

    def turned(self, took: float, now: float) -> None:
        """A turn of the reactor, or of the port, is over."""
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
            raise busy()
