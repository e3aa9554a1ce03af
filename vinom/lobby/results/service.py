"""The results of a node: noted when rounds are over, listed, and sent again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.operators import kept_facts
from vinom.base.model import KeptResult, MatchPlan, Result, ResultSeat, TurnNotice
from vinom.base.reactor.alarm import Timer
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.game import Game
from vinom.lobby.results.sending import Sending
from vinom.lobby.results.store import ResultStore, sync
from vinom.play.seats import teams_of

#: Most results of one page of a list.
MOST_LISTED = 1000
#: How often what was written is handed to the disk, seconds.
SYNC_EVERY = 1.0
#: Most results that wait for a store that does not answer.
MOST_UNSTORED = 10_000


class Results(Service):
    """
    Keep the result of each round of matches and rooms, once, and have it sent.

    No method that matches and rooms call ever fails.

    :ivar counts: results by reason, and those that could not be kept.
    """

    name = "results"
    _log = Logger()

    def __init__(
        self,
        store: ResultStore,
        games: Mapping[str, Game[Any, Any]],
        reactor: Any,
        recording_of: Callable[[str], str] = lambda match_id: "",
        sending: Sending | None = None,
    ) -> None:
        """
        :param store: keeps them.
        :param games: by name.
        :param reactor: the clock, in seconds since the Unix epoch; has threads.
        :param recording_of: names a match's recording.
        :param sending: sends them; without it they are kept only.
        """
        self._store, self._games, self._reactor = store, games, reactor
        self._recording_of, self._sending = recording_of, sending
        self._bounded = BoundedLog(self._log, reactor)
        self._unstored: deque[Result | TurnNotice] = deque()
        self._is_storing = False
        self._alarm = Timer(self._reactor)
        self.counts: Counter[str] = Counter()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._sending is not None:
            self._sending.startService()
        if self._store.directory is not None:
            try:
                self._store.open()
            except StoreUnavailable:
                self._failed(Failure())
            self._alarm.start(SYNC_EVERY, self._sync)

    def stopService(self) -> Any:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._alarm.cancel()
        self._store.close()
        # A node that could not listen stops what it has not started.
        if self._sending is not None and self._sending.running:
            return self._sending.stopService()
        return None

    def reload(self) -> None:
        """SIGHUP: read the secrets again."""
        if self._sending is not None:
            self._sending.reload()

    # What matches and rooms report.

    def round_over(self, plan: MatchPlan, outcome: Mapping[str, Any]) -> None:
        """
        Note the outcome of a round.

        :param plan: of the match, with those who have its seats now.
        :param outcome: ``{round, places, scores}``.
        """
        self._note(plan, "finished", outcome)

    def match_over(self, plan: MatchPlan, reason: str) -> None:
        """
        Note that a match ended before any round of it was over.

        :param reason: one of `vinom.base.model.EndReason`.
        """
        self._note(plan, reason, {"round": 0, "places": (), "scores": ()})

    def turn_began(
        self, plan: MatchPlan, seat: int, version: int, left: float | None
    ) -> None:
        """
        Note that a game waits for a player who is away, if notices are sent.

        :param plan: of the match, with those who have its seats now.
        :param version: of the state.
        :param left: in how many seconds something happens by itself.
        """
        if self._sending is None:
            return
        who, now = plan.seats[seat], self._reactor.seconds()
        self._keep(
            TurnNotice(
                plan.match_id,
                plan.match_id.rpartition("-")[0],
                plan.game,
                seat,
                who.player_id,
                who.name,
                version,
                None if left is None else round(now + left, 3),
                round(now, 3),
            )
        )

    def _note(self, plan: MatchPlan, reason: str, outcome: Mapping[str, Any]) -> None:
        try:
            result = self._result(plan, reason, outcome)
        except Exception:
            # A game process may report anything; play must go on.
            self._bounded.failure(
                "a result of match {match_id} makes no sense",
                Failure(),
                match_id=plan.match_id,
            )
            return
        self._keep(result)

    def _keep(self, result: Result | TurnNotice) -> None:
        if len(self._unstored) >= MOST_UNSTORED:
            self.counts["unkept"] += 1
            self._bounded.error(
                "result {id} is lost: {count} others wait for storage",
                id=result.result_id,
                count=len(self._unstored),
            )
            return
        self._unstored.append(result)
        if not self._is_storing:
            Deferred.fromCoroutine(self._store_all()).addErrback(
                lambda failure: self._bounded.failure("results are not kept", failure)
            )

    def _result(
        self, plan: MatchPlan, reason: str, outcome: Mapping[str, Any]
    ) -> Result:
        seats = range(len(plan.seats))
        places = tuple(
            tuple(seats[int(seat)] for seat in place) for place in outcome["places"]
        )
        scores = tuple(_score(score) for score in outcome["scores"])
        if max(sum(map(len, places)), len(places), len(scores)) > len(seats):
            raise ValueError(f"places or scores of more than {len(seats)} seats")
        game = self._games.get(plan.game)
        teams: Sequence[int | None] = [seat.team for seat in plan.seats]
        if game is not None:
            teams = teams_of(plan.seats, game.teams)
        return Result(
            match_id=plan.match_id,
            round=int(outcome["round"]),
            game=plan.game,
            options=plan.options,
            seats=tuple(
                ResultSeat(seat.player_id, seat.name, team)
                for seat, team in zip(plan.seats, teams, strict=True)
            ),
            places=places,
            scores=scores,
            reason=reason,
            recording=self._recording_of(plan.match_id),
            at=round(self._reactor.seconds(), 3),
        )

    async def _store_all(self) -> None:
        """Store what was noted, in order, with as many tries as the store needs."""
        self._is_storing = True
        try:
            while self._unstored:
                result = self._unstored[0]
                try:
                    # If it took effect and failed, the next try finds it there.
                    is_wanted = self._sending is not None
                    cursor = self._store.add(result, is_wanted=is_wanted)
                except StoreUnavailable as error:
                    self._bounded.error(
                        "results wait: storage does not answer: {why}", why=str(error)
                    )
                    await deferLater(self._reactor, 1.0)
                    continue
                except Exception:
                    # Our fault; the results behind it must not suffer.
                    cursor = ""
                    self.counts["unkept"] += 1
                    self._bounded.failure(
                        "result {id} is lost", Failure(), id=result.result_id
                    )
                self._unstored.popleft()
                if cursor:
                    self.counts[result.reason] += 1
                    if self._sending is not None:
                        self._sending.look()
        finally:
            self._is_storing = False

    # What operators ask.

    async def listed(self, after: str, most: int) -> dict[str, Any]:
        """
        List results, oldest first: JSON-like.

        :param after: the cursor of the last one that the caller has; empty for none.
        :param most: list at most this many.
        :raises Refused: this is no cursor.
        """
        return _page(self._store.after, after, most)

    async def dead(self, after: str, most: int) -> dict[str, Any]:
        """List results that were given up, in the same way."""
        return _page(self._store.dead, after, most)

    async def send_again(self, cursor: str | None) -> dict[str, Any]:
        """
        Send a result again that was given up.

        :param cursor: of the result; ``None`` for all of them.
        :returns: how many are sent again: JSON-like.
        :raises Refused: this is no cursor of such a result, or nothing is sent.
        """
        if self._sending is None:
            raise Refused(
                Code.UNAVAILABLE, "this node sends no results: set results_url"
            )
        count = 0
        if cursor is not None:
            try:
                count += self._store.revive(cursor)
            except ValueError as error:
                raise _no_cursor(error, "cursor") from error
            if not count:
                raise Refused(
                    Code.BAD_FIELD,
                    "no result that was given up has this cursor",
                    {"field": "cursor"},
                )
        else:
            # By cursor: what is given up again meanwhile is not sent for ever.
            reached = ""
            while dead := self._store.dead(reached, MOST_LISTED):
                for kept in dead:
                    count += self._store.revive(kept.cursor)
                reached = dead[-1].cursor
        self._sending.look()
        return {"sent_again": count}

    async def figures(self) -> dict[str, Any]:
        """Count results, for metrics."""
        counts = self._store.counts()
        now = self._reactor.seconds()
        waits = max(0.0, now - (now if counts.since is None else counts.since))
        sending = {"sent": 0, "failed": 0, "dead": 0}
        sending |= self._sending.counts if self._sending else {}
        return {
            "noted": dict(self.counts),
            "states": {
                "kept": counts.kept,
                "waiting": counts.waiting,
                "dead": counts.dead,
            },
            "longest_wait": waits,
            "forgotten": counts.forgotten,
            "requests": sending,
        }

    # The disk.

    def _sync(self) -> None:
        """Hand what was written to the disk, in a thread: it takes a while."""
        database = self._store.unsynced()
        if database is None:
            self._synced(None)
            return
        reactor = self._reactor
        synced = deferToThreadPool(reactor, reactor.getThreadPool(), sync, database)
        synced.addErrback(self._failed).addCallback(self._synced)

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self._bounded.failure("the disk does not take results", failure)

    def _synced(self, _: object) -> None:
        if self.running:
            self._alarm.start(SYNC_EVERY, self._sync)


def _score(score: Any) -> float | None:
    """Read a score; JSON has no infinite ones, and no others that are not numbers."""
    if score is None:
        return None
    number = float(score)
    if number - number != 0.0:
        return None
    return int(number) if isinstance(score, int) else number


def _page(
    ask: Callable[[str, int], list[KeptResult]], after: str, most: int
) -> dict[str, Any]:
    try:
        found = ask(after, most)
    except ValueError as error:
        raise _no_cursor(error, "after") from error
    return {
        "results": [kept_facts(kept) for kept in found],
        "next": found[-1].cursor if found else after,
    }


def _no_cursor(error: ValueError, field: str) -> Refused:
    return Refused(Code.BAD_FIELD, str(error), {"field": field})
