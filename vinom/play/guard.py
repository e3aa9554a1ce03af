"""
Interrupt calls into a game that take too long, and report slow ones.

A room cannot read a clock in the middle of a call, and an alarm for each call would
cost more than most calls. So the code that calls a game sets a mark, and one alarm for
all calls checks it every 50 ms (decision 0020). `vinom.play.hosting.guarding` has the
alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from vinom.base.model import MatchPlan

#: Calls into a game that take longer than this are reported, seconds.
SLOW = 0.05
#: Interval at which a running call is checked, seconds; at most `SLOW`, so that no
#: slow one is missed.
PAUSE = 0.05
#: Checks of one call after which it is interrupted: after 1 s.
MOST_LOOKS = 20

#: Pauses before a call that ignored an interruption is interrupted again, seconds: a
#: game that catches everything is struck while it does so. Their lengths differ,
#: because one length might always come a little too early.
_AGAIN = (10e-6, 15e-6, 22e-6, 33e-6, 50e-6, 75e-6, 0.11e-3, 0.17e-3, 0.25e-3, 1e-3)


class TooSlow(BaseException):
    """
    A call into a game took too long, and was interrupted.

    Not an `Exception`, so that a game that catches those cannot continue.
    """


@attrs.frozen
class SlowCall:
    """
    A call into a game that took longer than `SLOW`.

    :ivar match_id: of the match.
    :ivar game: the game's name.
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

    The caller of a game sets ``plan`` and ``began``, then ``call``, then the alarm
    unless it ``is_set``. When the call is over, it sets ``call`` to ``None`` before
    anything else, and calls `settle` if there were ``looks``. These are plain
    assignments: Python runs no signal handler in the middle of one, nor between one
    and the next. By default there is no alarm, and no call is ever slow.

    :ivar seconds: a clock that never goes back.
    :ivar worked: a clock that runs only while this thread has the processor.
    :ivar set_alarm: has `look` called once, after the given seconds.
    :ivar report: gets slow calls; raises nothing.
    :ivar most_looks: checks of one call before it is interrupted.
    :ivar is_set: whether the alarm is set.
    :ivar call: the game's method that runs; ``None`` outside of all.
    :ivar plan: of the match whose game runs.
    :ivar began: when the call began, on the first clock.
    :ivar looks: how often the running call was checked.
    """

    seconds: Callable[[], float] = float
    worked: Callable[[], float] = float
    set_alarm: Callable[[float], object] | None = None
    report: Callable[[SlowCall], object] | None = None
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
        Check the running call, and set the alarm again; called by the alarm.

        :raises TooSlow: inside the call, wherever it is, if it took too long.
        """
        if self.call is None or self.set_alarm is None:
            self.is_set = False
            return
        # Checks are counted, not seconds: if the process was stopped for a while,
        # that is not its game's fault.
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
        Report a call that is over, if it was slow; called if there were ``looks``.

        :raises TooSlow: it took too long in code that no signal can interrupt.
        """
        looks, self.looks = self.looks, 0
        took, before = self.seconds() - self.began, self._worked
        self._worked = self.worked()
        if took > SLOW and self.report is not None and self.plan is not None:
            self.report(SlowCall(self.plan.match_id, self.plan.game, call, took))
        # This is counted from at most one pause before the call.
        longest = (self.most_looks + 1) * PAUSE
        if looks < self.most_looks and self._worked - before > longest:
            raise TooSlow(
                f"{call}() took {took:.1f} s in code that cannot be interrupted; "
                f"the limit is {self.most_looks * PAUSE:g} s"
            )


def ask_plainly(name: str, call: Callable[..., Any], *args: Any) -> Any:
    """Call a game without a guard, where no other room waits for it."""
    return call(*args)
