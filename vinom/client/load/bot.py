"""
A player that is a program: it queues, plays with its game's `bot`, and repeats; and
many of these at once, for a limited time.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import attrs
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.base.messages.lobby import QueueStatus
from vinom.base.reactor.alarm import Timer
from vinom.client.game_line import IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.load.parties import PartyClient
from vinom.client.load.tally import Tally
from vinom.client.match import Match, MatchLost, Refusal
from vinom.client.sdk import Client
from vinom.game import Chance, Game

#: How long to wait for an action's answer before the next action, seconds.
_ANSWER_TIMEOUT = 0.5
#: Pause after the lobby refused to queue us, seconds.
_PAUSE = 1.0


@attrs.frozen
class Habits:
    """
    What a bot plays, and how.

    :ivar name: of the game, as players ask for it.
    :ivar game: its `bot` decides what to do.
    :ivar options: of the game, JSON-like.
    :ivar pace: most actions per second.
    :ivar stays: how long it stays after a round has ended, seconds; ``None``: until
        the room closes.
    """

    name: str
    game: Game[Any, Any]
    options: Any = None
    pace: float = 8.0
    stays: float | None = None


class Bot:
    """
    Play one match after another, until `stop`.

    :param reactor: for time and UDP.
    :param client: logged in; the bot closes it.
    :param habits: what it plays, and how.
    :param tally: counts what it does and sees.
    :param chance: the bot's own; given to the game's `bot`.
    :param watch: called with each match as soon as it is found.
    :ivar is_waiting: is it in the queue, and not in a match?
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IPlayReactor,
        client: Client | PartyClient,
        habits: Habits,
        tally: Tally,
        chance: Chance,
        watch: Callable[[Match], None] | None = None,
    ) -> None:
        self._reactor, self._client, self._habits = reactor, client, habits
        self._tally, self._chance, self._watch = tally, chance, watch
        self._queueing: Deferred[Match] | None = None
        self._match: Match | None = None
        self._timer = Timer(reactor)
        self._number, self._acted_at, self._found_at = 0, 0.0, 0.0
        self._over_at: float | None = None
        self._is_stopping = False
        self.is_waiting = False

    def run(self) -> Deferred[None]:
        """Play; fires when `stop` was called and the last match is over."""
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """Stop queueing; a match that has begun is played to its end."""
        self._is_stopping = True
        if self._queueing is not None and self._match is None:
            self._queueing.cancel()

    def leave(self) -> None:
        """Stop, and leave the current match."""
        self.stop()
        if self._match is not None:
            self._match.leave()

    async def _run(self) -> None:
        while not self._is_stopping:
            pause = _PAUSE
            try:
                if await self._play():
                    pause = 0.0
            except CancelledError:
                continue
            except LobbyRefusal as refusal:
                self._tally.went_wrong(refusal.code, refusal.message)
            except LineLost as lost:
                self._tally.went_wrong("line_lost", str(lost))
            if not self._is_stopping:
                await deferLater(self._reactor, pause)
        self._client.close()

    def _waits(self, status: QueueStatus) -> None:
        if status.problem:
            # Not an error: the match keeps its place.
            self._tally.reasons.setdefault("waiting", status.problem)

    async def _play(self) -> bool:
        """Queue, and play a match to its end; was a seat taken?"""
        began = self._reactor.seconds()
        self._queueing = self._client.queue(
            self._habits.name,
            self._habits.options,
            on_status=self._waits,
            on_found=lambda match: self._found(match, began),
        )
        self.is_waiting = True
        try:
            self._sit(await self._queueing)
        except MatchLost as error:
            self._log.debug("no seat: {why}", why=error)
        finally:
            self._queueing = None
            self.is_waiting = False
        match = self._match
        assert match is not None  # it was found, or an exception was raised
        result = await match.ended
        self._timer.cancel()
        self._match = None
        self._tally.handshakes += match.handshakes
        self._tally.over(result, match.joins > 0)
        return match.joins > 0

    def _found(self, match: Match, began: float) -> None:
        self.is_waiting = False
        self._match, self._found_at = match, self._reactor.seconds()
        self._tally.queue_to_match.add(self._found_at - began)
        self._tally.found(match.match_id)
        match.on_state(self._saw)
        match.on_refusal(self._refused)
        if self._watch is not None:
            self._watch(match)

    def _sit(self, match: Match) -> None:
        self._tally.joined(match.match_id)
        self._tally.match_to_joined.add(self._reactor.seconds() - self._found_at)
        self._number, self._acted_at, self._over_at = 0, 0.0, None
        self._timer.start(self._first_pause(), self._think)

    # Acting.

    def _first_pause(self) -> float:
        """Draw when to begin, so that bots do not act in step."""
        share, self._chance = self._chance.below(1000)
        return share / 1000.0 / self._habits.pace

    def _think(self) -> None:
        match = self._match
        if match is None or match.is_over:
            return
        self._timer.start(1.0 / self._habits.pace, self._think)
        if match.view is None or not match.is_connected:
            return
        now = self._reactor.seconds()
        if self._is_enough(match, now):
            match.leave()
            return
        if self._number > match.acked and now - self._acted_at < _ANSWER_TIMEOUT:
            return
        _, self._chance = self._chance.draw()
        choose = self._habits.game.bot
        try:
            action = choose(match.view, match.seat, self._chance, match.setup)
            number = 0 if action is None else match.act(action)
        except Exception as error:
            self._fail(match, error)
            return
        if number:
            self._number, self._acted_at = number, now
            self._tally.inputs += 1

    def _fail(self, match: Match, error: Exception) -> None:
        """Leave, because the game's bot is broken and would fail again."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._tally.went_wrong(
            "bot_failed",
            f"{type(self._habits.game).__qualname__}.bot: {type(error).__qualname__}: "
            f"{error} ({PurePath(frame.filename).name}:{frame.lineno}, "
            f"in {frame.name})",
        )
        self._tally.spoilt(match.match_id)
        self.leave()

    def _is_enough(self, match: Match, now: float) -> bool:
        """Has the round been over for as long as we stay?"""
        if self._habits.stays is None or match.outcome is None:
            return False
        if self._over_at is None:
            self._over_at = now
        return now - self._over_at >= self._habits.stays

    def _saw(self, match: Match) -> None:
        now = self._reactor.seconds()
        self._tally.saw(match.match_id, now)
        if self._number and match.acked >= self._number:
            self._tally.input_to_state.add(now - self._acted_at)
            self._number = 0

    def _refused(self, refusal: Refusal) -> None:
        # A refusal by the game's rules is part of playing; any other is an error.
        if refusal.code != "rejected":
            self._tally.went_wrong(refusal.code, refusal.message)
        if refusal.number >= self._number:
            self._number = 0


#: Most bots that log in at the same time.
_AT_ONCE = 20


class Crowd:
    """
    Log bots in, let them play, and wait for them to finish.

    :param clock: measures and schedules time; the reactor.
    :param newcomers: each logs in, and gives a bot that is ready.
    :param tally: counts the bots that cannot log in.
    :param seconds: when to stop queueing; ``None``: never.
    :param grace: how long matches may continue after that, seconds.
    :ivar bots: those that have logged in.
    """

    def __init__(
        self,
        clock: IReactorTime,
        newcomers: Sequence[Callable[[], Deferred[Bot]]],
        tally: Tally,
        seconds: float | None = None,
        grace: float = 60.0,
    ) -> None:
        self._clock, self._newcomers, self._tally = clock, newcomers, tally
        self._seconds, self._grace = seconds, grace
        self._timers: list[IDelayedCall] = []
        self._is_stopping = False
        self.bots: list[Bot] = []

    def run(self) -> Deferred[None]:
        """Play; fires when the last bot has left."""
        if self._seconds is not None:
            self._after(self._seconds, self.stop)
        door = DeferredSemaphore(_AT_ONCE)
        runs = [
            door.run(self._greet, newcomer).addCallback(self._play)
            for newcomer in self._newcomers
        ]

        def done(results: list[tuple[bool, Any]]) -> None:
            for timer in self._timers:
                if timer.active():
                    timer.cancel()
            for worked, failure in results:
                if not worked:
                    failure.raiseException()

        return DeferredList(runs, consumeErrors=True).addCallback(done)

    def stop(self) -> None:
        """Stop queueing; matches may continue for the time of grace."""
        if not self._is_stopping:
            self._is_stopping = True
            self._after(self._grace, self.leave)
            for bot in self.bots:
                bot.stop()

    def leave(self) -> None:
        """Stop, and leave all matches at once."""
        self._is_stopping = True
        for bot in self.bots:
            bot.leave()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append(self._clock.callLater(seconds, act))

    def _greet(self, newcomer: Callable[[], Deferred[Bot]]) -> Deferred[Bot | None]:
        if self._is_stopping:
            return succeed(None)

        def turned_away(failure: Any) -> None:
            failure.trap(LobbyRefusal, LineLost)
            refusal = failure.value
            if isinstance(refusal, LobbyRefusal):
                self._tally.went_wrong(refusal.code, refusal.message)
            else:
                self._tally.went_wrong("line_lost", str(refusal))

        return newcomer().addErrback(turned_away)

    def _play(self, bot: Bot | None) -> Deferred[None]:
        if bot is None:
            return succeed(None)
        self.bots.append(bot)
        if self._is_stopping:
            bot.stop()
        return bot.run()
