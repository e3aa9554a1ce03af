"""
Which call into a game runs now, and what becomes of one that does not end.

A room has no clock of its own in the middle of a call, and setting an alarm
for each would cost more than most calls. So whoever calls a game leaves a mark,
and one alarm for all, rung by whoever hands in the guard, looks at it now and
then (decision 0020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from vinom.model import MatchPlan

#: Calls into a game that take longer are told, seconds.
SLOW = 0.05
#: A call that runs is looked at so often, seconds; no longer than `SLOW`, so that
#: no slow one is missed.
PAUSE = 0.05
#: A call into a game that is looked at so often is interrupted: after 1 s.
MOST_LOOKS = 20

#: Pauses after a call that was interrupted goes on, seconds: a game that catches
#: everything is struck again while it does so. Of different lengths, because some
#: would always come a little too early.
_AGAIN = (10e-6, 15e-6, 22e-6, 33e-6, 50e-6, 75e-6, 0.11e-3, 0.17e-3, 0.25e-3, 1e-3)


class TooSlow(BaseException):
    """
    A call into a game took too long, and was interrupted.

    Not an `Exception`: a game that catches those must not go on.
    """


@attrs.frozen
class SlowCall:
    """
    A call into a game that took longer than `SLOW`.

    :ivar call: the game's method, such as "act".
    :ivar seconds: how long it took by the clock.
    """

    match_id: str
    game: str
    call: str
    seconds: float


@attrs.define(eq=False)
class Guard:
    """
    The mark for one process; used as in `vinom.play.play.Play.ask`.

    Who calls a game sets ``plan`` and ``began``, then ``call``, then asks for
    the alarm unless it ``is_set``. When the call is over, ``call`` is set to
    ``None`` before anything else, and `settle` called if there were ``looks``.
    These are plain assignments: Python rings no alarm in the middle of one, nor
    between one and the next. By default nobody rings, and nothing is ever slow.

    :ivar seconds: a clock that never goes back.
    :ivar worked: another, which goes on only while we have the processor.
    :ivar set_alarm: asks that `look` be called after so many seconds, once.
    :ivar tell: is told what was slow; raises nothing.
    :ivar most_looks: at a call, before it is interrupted.
    :ivar is_set: is the alarm on its way?
    :ivar call: the game's method that runs; ``None`` outside of all.
    :ivar plan: whose.
    :ivar began: when, on that clock.
    :ivar looks: how often the running call was looked at.
    """

    seconds: Callable[[], float] = float
    worked: Callable[[], float] = float
    set_alarm: Callable[[float], object] | None = None
    tell: Callable[[SlowCall], object] | None = None
    most_looks: int = MOST_LOOKS
    is_set: bool = attrs.field(init=False)
    call: str | None = attrs.field(default=None, init=False)
    plan: MatchPlan | None = attrs.field(default=None, init=False)
    began: float = attrs.field(default=0.0, init=False)
    looks: int = attrs.field(default=0, init=False)
    _worked: float = attrs.field(default=0.0, init=False)

    @is_set.default
    def _needs_none(self) -> bool:
        return self.set_alarm is None

    def start(self) -> None:
        """Set the alarm."""
        self.is_set = True
        if self.set_alarm is not None:
            self._worked = self.worked()
            self.set_alarm(PAUSE)

    def look(self) -> None:
        """
        The alarm rang; a call that runs sets it again.

        :raises TooSlow: out of the call that took too long, wherever it is.
        """
        if self.call is None or self.set_alarm is None:
            self.is_set = False
            return
        # Looks are counted, not seconds: a process that was stopped for a
        # while is not its game's fault.
        self.looks += 1
        over = self.looks - self.most_looks
        if over < 0:
            self.set_alarm(PAUSE)
            return
        self.set_alarm(_AGAIN[over % len(_AGAIN)])
        longest = self.most_looks * PAUSE
        raise TooSlow(f"{self.call}() took more than {longest:g} s and was interrupted")

    def settle(self, call: str) -> None:
        """
        A call is over that was looked at: tell if it was slow.

        :raises TooSlow: it worked for too long, but where no alarm is heard.
        """
        looks, self.looks = self.looks, 0
        took, before = self.seconds() - self.began, self._worked
        self._worked = self.worked()
        if took > SLOW and self.tell is not None and self.plan is not None:
            self.tell(SlowCall(self.plan.match_id, self.plan.game, call, took))
        # Counted since at most a pause before the call.
        longest = (self.most_looks + 1) * PAUSE
        if looks < self.most_looks and self._worked - before > longest:
            raise TooSlow(f"{call}() took {took:.1f} s, where nothing can interrupt it")


def ask_plainly(name: str, call: Callable[..., Any], *args: Any) -> Any:
    """Call a game where nobody waits for it."""
    return call(*args)
