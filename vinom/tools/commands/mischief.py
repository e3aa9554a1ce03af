"""The keys of ``vinom demo``: lose packets, and kill a game process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vinom.client.match import Match
from vinom.net.dtls.bad_network import Conditioner, Conditions, Switched
from vinom.tools.commands.child_node import ChildNode

#: Share of the bots' datagrams that are lost, in each direction.
_LOSS = 0.2


@attrs.define
class _Killed:
    """
    A game process that was killed.

    :ivar match: the match that it played.
    :ivar version: version of the state that was shown at that time.
    :ivar at: when it was killed, on the reactor's clock.
    :ivar after: how long it took until a newer state came, seconds; ``None`` before
        that.
    """

    match: Match
    pid: int
    version: int
    at: float
    after: float | None = None


class Mischief:
    """
    Disturb a demonstration when a key is pressed, and show the effect.

    :ivar loss: drops packets between the bots and the network.
    """

    def __init__(
        self, reactor: Any, node: ChildNode, shown: Callable[[], Match | None]
    ) -> None:
        """
        :param reactor: measures time.
        :param node: plays the matches.
        :param shown: returns the match that is shown.
        """
        self._reactor, self._node, self._shown = reactor, node, shown
        bad = Conditioner(reactor, Conditions(loss=_LOSS), "demo")
        self.loss = Switched(bad)
        self._killed: _Killed | None = None
        self._problem = ""
        self._is_killing = False

    def press(self, key: str) -> None:
        """Carry out the action of a key."""
        if key == "loss":
            self.loss.is_on = not self.loss.is_on
        elif key == "kill" and not self._is_killing:
            self._is_killing = True
            Deferred.fromCoroutine(self._kill()).addBoth(self._did)

    def _did(self, result: Any) -> None:
        self._is_killing = False
        if isinstance(result, Failure):
            self._problem = result.getErrorMessage()

    async def _kill(self) -> None:
        match = self._shown()
        if match is None or match.is_over:
            return
        pid = await self._node.game_server_of(match.match_id)
        if not pid:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        now = self._reactor.seconds()
        killed = self._killed = _Killed(match, pid, match.version, now)
        self._problem = ""

        def saw(seen: Match) -> None:
            if killed.after is None and seen.version > killed.version:
                killed.after = self._reactor.seconds() - killed.at

        match.on_state(saw)

    def keys(self) -> str:
        """Describe the keys, for the last line of the picture."""
        loss = "stops the loss" if self.loss.is_on else f"loses {_LOSS:.0%} of packets"
        return f"l {loss} · k kills the game process"

    def notes(self) -> list[str]:
        """List what was done, and its effect."""
        notes = [f"{_LOSS:.0%} loss is on"] if self.loss.is_on else []
        killed = self._killed
        if self._problem:
            notes.append(self._problem)
        elif killed is not None:
            notes.append(f"killed process {killed.pid}")
            if killed.after is not None:
                notes.append(f"play resumed: {killed.after:.2f} s")
            elif killed.match.outcome is not None:
                notes.append("its match had ended: nothing was lost")
            elif killed.match.is_over:
                notes.append("the match was lost")
            else:
                notes.append("waiting for play...")
        return notes
