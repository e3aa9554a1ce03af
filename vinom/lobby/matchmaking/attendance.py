"""Players who are away: for how long they are expected back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import log_unless_away
from vinom.lobby.conversation.online import Online
from vinom.store.patience import RETRY_SECONDS

#: A store loses seconds when its replica takes its place; so many players at most are
#: looked at then.
_LATELY, _MOST_LET_GO = 60.0, 1000
#: What is done about a player.
_Step = Callable[[str], Coroutine[Any, Any, None]]


class Attendance:
    """
    Wait for players, at whatever node they come back, and note who stays away.

    :ivar seconds: how long each absence may last.
    """

    _log = Logger()

    def __init__(
        self,
        online: Online,
        clock: IReactorTime,
        seconds: float,
        stays_away: _Step,
    ) -> None:
        """
        :param online: knows who is connected.
        :param clock: for delays.
        :param stays_away: done about a player who was away for so long.
        """
        self._online, self._clock, self.seconds = online, clock, seconds
        self._stays_away = stays_away
        self._alarms: dict[str, IDelayedCall] = {}
        # When the last of those who stayed away gave up their places.
        self._let_go: dict[str, float] = {}

    def __contains__(self, player_id: str) -> bool:
        return player_id in self._alarms

    def players(self) -> list[str]:
        """List those who are expected back."""
        return list(self._alarms)

    def expect(self, player_id: str, seconds: float | None = None) -> None:
        """Wait for a player from now on; *seconds* is for the rest of an absence."""
        self.stop_waiting(player_id)
        self._alarms[player_id] = self._clock.callLater(
            self.seconds if seconds is None else seconds, self._alarm, player_id
        )

    def stop_waiting(self, player_id: str) -> None:
        """The player is here, or needs no place any more."""
        if (alarm := self._alarms.pop(player_id, None)) is not None:
            alarm.cancel()

    def again(self) -> None:
        """Look again at those who stayed away lately: the store may have lost that."""
        lately = self._clock.seconds() - _LATELY
        let_go, self._let_go = self._let_go, {}
        for player_id, at in let_go.items():
            if at > lately and player_id not in self:
                self.expect(player_id, 0.0)

    def stop(self) -> None:
        """Wait for nobody."""
        for player_id in tuple(self._alarms):
            self.stop_waiting(player_id)

    def _alarm(self, player_id: str) -> None:
        del self._alarms[player_id]

        def failed(failure: Failure) -> None:
            log_unless_away(self._log, "a player who is away keeps a place", failure)
            self.expect(player_id, RETRY_SECONDS)

        Deferred.fromCoroutine(self._look(player_id)).addErrback(failed)

    async def _look(self, player_id: str) -> None:
        absence = await self._online.absence(player_id)
        if absence >= self.seconds:
            await self._stays_away(player_id)
            self._let_go[player_id] = self._clock.seconds()
            if len(self._let_go) > _MOST_LET_GO:
                del self._let_go[next(iter(self._let_go))]
        elif absence:
            # The player was at another node meanwhile: this is another absence.
            self.expect(player_id, self.seconds - absence)
