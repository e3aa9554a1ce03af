"""
Players that are programs, and a report of what they saw.

A `Bot` queues, alone or with its party, plays with its game's `bot`, and repeats; a
`Crowd` is many of these at once, for a limited time; a `Tally` counts what they do.
"""

from __future__ import annotations

import traceback
from array import array
from collections import Counter
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
from vinom.client.match import Match, MatchLost, MatchResult, Refusal
from vinom.client.parties import LiveParty
from vinom.client.sdk import Client
from vinom.errors import Code
from vinom.game import Chance, Game, has_one_audience, level_of

#: Samples kept of each kind; more would not change a percentile.
_MOST_SAMPLES = 500_000
#: Rates are 0 if measured over less time than this, seconds: they would be random.
_LEAST_TIME = 0.5


@attrs.define
class Samples:
    """Durations, seconds."""

    _values: array[float] = attrs.field(factory=lambda: array("d"), init=False)

    def add(self, seconds: float) -> None:
        """Keep one."""
        if len(self._values) < _MOST_SAMPLES:
            self._values.append(seconds)

    def recent_ms(self) -> float | None:
        """The median of the latest hundred, milliseconds."""
        return _percentile_ms(sorted(self._values[-100:]), 50)

    def summary_ms(self) -> dict[str, float | None]:
        """The 50th and 99th percentile in milliseconds; ``None`` without samples."""
        ordered = sorted(self._values)
        return {"p50": _percentile_ms(ordered, 50), "p99": _percentile_ms(ordered, 99)}


def _percentile_ms(ordered: Sequence[float], percent: int) -> float | None:
    """Nearest rank: the least value that *percent* of the values do not exceed."""
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[rank - 1] * 1000.0, 3)


@attrs.define
class _Record:
    """
    What is known about one match.

    :ivar joined: how many of our bots have taken their seat.
    :ivar playing: how many of our bots have not finished it.
    """

    joined: int = 0
    playing: int = 0
    is_started: bool = False
    is_finished: bool = False
    is_failed: bool = False


@attrs.define
class Tally:
    """
    Count a run of bots.

    :ivar shows_all: every seat of the game sees the same view, so the hash that
        the server announces must be that of the last view that a bot received.
    :ivar ends: the game ends by itself; leaving earlier does not finish it.
    :ivar inputs: number of actions sent.
    :ivar states: number of states received.
    :ivar handshakes: number of DTLS handshakes finished.
    :ivar errors: how often each code occurred.
    :ivar reasons: the first message with each code, or why a match waits.
    :ivar input_to_state: from sending an action to the state that answers it.
    :ivar queue_to_match: from queueing to the match.
    :ivar match_to_joined: from the match to the seat.
    """

    shows_all: bool = True
    ends: bool = True
    inputs: int = 0
    states: int = 0
    handshakes: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    reasons: dict[str, str] = attrs.field(factory=dict)
    input_to_state: Samples = attrs.field(factory=Samples)
    queue_to_match: Samples = attrs.field(factory=Samples)
    match_to_joined: Samples = attrs.field(factory=Samples)
    _matches: dict[str, _Record] = attrs.field(factory=dict, init=False)
    _first: float | None = attrs.field(default=None, init=False)
    _last: float = attrs.field(default=0.0, init=False)

    @classmethod
    def of(cls, game: Game[Any, Any]) -> Tally:
        """Make one for a game."""
        kind = type(game)
        return cls(has_one_audience(kind), kind.outcome is not Game.outcome)

    def went_wrong(self, code: str, reason: str) -> None:
        """Count an error, and keep the first reason of its kind."""
        self.errors[code] += 1
        self.reasons.setdefault(code, reason)

    def spoilt(self, match_id: str) -> None:
        """Note that one of our bots failed in this match."""
        self._matches[match_id].is_failed = True

    def found(self, match_id: str) -> None:
        """Note that a bot has been given a seat."""
        self._matches.setdefault(match_id, _Record()).playing += 1

    def joined(self, match_id: str) -> None:
        """Note that a bot has taken its seat."""
        self._matches[match_id].joined += 1

    def saw(self, match_id: str, now: float) -> None:
        """Note that a bot has received a state."""
        self.states += 1
        self._last = now
        if self._first is None:
            self._first = now
        self._matches[match_id].is_started = True

    def over(self, result: MatchResult, has_joined: bool) -> None:
        """Note how a match ended for a bot."""
        record = self._matches[result.match_id]
        record.playing -= 1
        reason = result.reason
        if reason in ("finished", "abandoned") or (
            reason == "left" and result.outcome is not None
        ):
            record.is_finished = True
            self._compare(record, result)
        elif reason == "left":
            # A game that never ends cannot be finished in any other way.
            record.is_finished |= record.is_started and not self.ends
        elif reason == "void" and has_joined:
            # Other players did not come; the bot is back in the queue.
            self.errors["void"] += 1
        else:
            record.is_failed = True
            self.errors[reason] += 1

    def _compare(self, record: _Record, result: MatchResult) -> None:
        """Check that the last view a bot received is the one the server announced."""
        if not result.view_hash:
            return
        if result.seen_version != result.version:
            record.is_failed = True
            self.errors["version_mismatch"] += 1
        elif self.shows_all and result.seen_hash != result.view_hash:
            record.is_failed = True
            self.errors["view_mismatch"] += 1

    @property
    def started(self) -> int:
        """Number of matches in which a bot received a state."""
        return sum(record.is_started for record in self._matches.values())

    @property
    def finished(self) -> int:
        """Number of matches that were played to their end, without a failure."""
        return sum(
            record.is_finished and not record.is_failed
            for record in self._matches.values()
        )

    @property
    def failed(self) -> int:
        """Number of matches that a bot could not join, or that ended wrongly."""
        return sum(record.is_failed for record in self._matches.values())

    def report(self) -> dict[str, Any]:
        """
        Give the report of ``vinom bots --json``.

        Rates are averages from the first state to the last, and 0 if these are less
        than half a second apart.
        """
        seconds = 0.0 if self._first is None else self._last - self._first
        return {
            "matches": {
                "started": self.started,
                "finished": self.finished,
                "failed": self.failed,
            },
            "inputs_per_s": _rate(self.inputs, seconds),
            "states_per_s": _rate(self.states, seconds),
            "input_to_state_ms": self.input_to_state.summary_ms(),
            "queue_to_match_ms": self.queue_to_match.summary_ms(),
            "match_to_joined_ms": self.match_to_joined.summary_ms(),
            "handshakes": self.handshakes,
            "errors": dict(sorted(self.errors.items())),
        }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds >= _LEAST_TIME else 0.0


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
    :ivar level: of the game's bot; empty for the first.
    """

    name: str
    game: Game[Any, Any]
    options: Any = None
    pace: float = 8.0
    stays: float | None = None
    level: str = ""


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
        game = self._habits.game
        more = (self._chance, match.setup, *level_of(game, self._habits.level))
        try:
            action = game.bot(match.view, match.seat, *more)
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


#: Pause before the next look at a party that is not ready, seconds.
_LOOK_PAUSE = 0.1
#: Least time before the host queues again, seconds: the news may be on its way.
_AGAIN = 2.0


@attrs.define
class Invitation:
    """
    How the members of one party find each other.

    :ivar size: how many they are.
    :ivar party_id: empty before the first has created the party.
    :ivar token: its invite token.
    """

    size: int
    party_id: str = ""
    token: str = ""


class PartyClient:
    """
    Queue as one of a party: the host for all, as soon as all others are ready.

    :param clock: for delays; the reactor.
    :param client: logged in.
    :param invitation: shared by the members; the first creates the party.
    :param is_first: does this one?
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Client,
        invitation: Invitation,
        is_first: bool,
    ) -> None:
        self._clock, self._client = clock, client
        self._invitation, self._is_first = invitation, is_first

    def queue(
        self,
        game: str,
        options: Any,
        *,
        on_status: Callable[[QueueStatus], None] = lambda _: None,
        on_found: Callable[[Match], None],
    ) -> Deferred[Match]:
        """
        Wait for the next match of the party.

        :param on_status: not called: the party is told, not each of its members.
        :param on_found: called with it, also if its seat cannot be taken.

        Fails as `Client.queue`; cancelling leaves the queue.
        """
        return Deferred.fromCoroutine(self._queue(game, options, on_found))

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    async def _queue(
        self, game: str, options: Any, on_found: Callable[[Match], None]
    ) -> Match:
        party = await self._enter(game, options)
        before = self._client.match
        try:
            found = await self._next_match(party, game, options)
        except MatchLost:
            if (match := self._client.match) not in (None, before):
                assert match is not None
                on_found(match)
            raise
        on_found(found)
        return found

    async def _enter(self, game: str, options: Any) -> LiveParty:
        parties, invitation = self._client.parties, self._invitation
        if parties.party is not None:
            return parties.party
        if self._is_first:
            party = await parties.create(game, options)
            invitation.party_id, invitation.token = party.party_id, party.token
            return party
        while not invitation.party_id:
            await deferLater(self._clock, _LOOK_PAUSE)
        return await parties.join(invitation.party_id, token=invitation.token)

    async def _next_match(self, party: LiveParty, game: str, options: Any) -> Match:
        # Before anybody queues: the match may be found at once.
        waiting = self._client.parties.next_match()
        asked_at = -_AGAIN
        try:
            while not waiting.called:
                if party.is_over:
                    raise LobbyRefusal(Code.NOT_IN_PARTY, "out of the party")
                if party.state == "idle":
                    now = self._clock.seconds()
                    if not party.is_host:
                        await self._mark(party)
                    elif self._is_complete(party) and now - asked_at >= _AGAIN:
                        asked_at = now
                        # It fails as the match that we wait for.
                        party.queue(game, options).addErrback(lambda _: None)
                await deferLater(self._clock, _LOOK_PAUSE)
        except BaseException:
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            raise
        return await waiting

    def _is_complete(self, party: LiveParty) -> bool:
        others = [one for one in party.members if one.player_id != party.host]
        return len(others) == self._invitation.size - 1 and all(
            one.ready and one.connected for one in others
        )

    async def _mark(self, party: LiveParty) -> None:
        me = self._client.identity.player_id
        if any(one.player_id == me and not one.ready for one in party.members):
            try:
                await party.ready()
            except (LobbyRefusal, LineLost):
                # The party, or its line, is about to change.
                return
