"""
The matchmaker: keeps the queue, finds tables, and starts their matches.

A player's entry follows its presence: suspended while the player is away,
matchable again when it is back, and gone when it stayed away too long.

When the matchmaker looks at its queue: soon after a change, never twice at once.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.conversation.presence import Presence
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.game import Game
from vinom.matches.service import Sessions
from vinom.matchmaking.news import QueueNews
from vinom.matchmaking.rules import Proposal, Rules, explain, propose
from vinom.messages.catalogue import QueueStatus
from vinom.model import MatchPlan, Player, QueueEntry
from vinom.play.choices import canonical_loadout, canonical_options
from vinom.ports import IEntryStore
from vinom.reactor.figures import WAIT_BOUNDS, Histogram

#: How soon a round is tried again that failed, seconds.


class Rounds:
    """
    Play rounds one after another, when somebody asks.

    :param play: one round; it gives after how many seconds the next is due even
        if nobody asks, or ``None``.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, play: Callable[[], Awaitable[float | None]]
    ) -> None:
        self._clock, self._play = clock, play
        self._next: IDelayedCall | None = None
        self._is_playing = self._is_due = False

    def ask(self, delay: float = 0.0) -> None:
        """
        Have a round soon, or right after this one.

        Never at once: what arrived in one turn of the reactor is matched
        together, and answers go out before the news that they cause.
        """
        if self._is_playing:
            self._is_due = True
            return
        if self._next is not None:
            if self._next.getTime() <= self._clock.seconds() + delay:
                return
            self._next.cancel()
        self._next = self._clock.callLater(delay, self._start)

    def stop(self) -> None:
        """Begin no round that was asked for so far."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _start(self) -> None:
        self._next = None
        self._is_playing, self._is_due = True, False

        def failed(failure: Failure) -> float:
            self._log.failure("a round of matchmaking failed", failure)
            return _RETRY_SECONDS

        def over(delay: float | None) -> None:
            self._is_playing = False
            if self._is_due:
                self.ask()
            elif delay is not None:
                self.ask(delay)

        async def play() -> float | None:
            return await self._play()

        Deferred.fromCoroutine(play()).addErrback(failed).addCallback(over)


#: How soon a step is tried again when storage did not answer, seconds.
_RETRY_SECONDS = 1.0


class Matchmaker(Service):
    """
    First come, first served.

    :param fill_seconds: how long the oldest entry waits for a full table.
    :param away_seconds: how long a disconnected player keeps its place.
    :param status_seconds: how often waiting players hear of a new position.
    """

    name = "matchmaker"
    _log = Logger()

    def __init__(
        self,
        entries: IEntryStore,
        sessions: Sessions,
        presence: Presence,
        games: Mapping[str, Game[Any, Any]],
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        *,
        fill_seconds: float = 5.0,
        away_seconds: float = 10.0,
        status_seconds: float = 2.0,
    ) -> None:
        self._entries, self._sessions, self._presence = entries, sessions, presence
        self._games, self._clock, self._entropy = games, clock, entropy
        self._rules = Rules(
            {name: game.seats for name, game in games.items()}, fill_seconds
        )
        self._away_seconds = away_seconds
        self._news = QueueNews(entries, presence, clock, status_seconds)
        self._forming: set[str] = set()
        self._waits = {name: Histogram(WAIT_BOUNDS) for name in games}
        self._away: dict[str, IDelayedCall] = {}
        self._rounds = Rounds(clock, self._round)
        sessions.follow(self)

    def stopService(self) -> None:
        """Stop matching; entries stay where they are."""
        Service.stopService(self)
        self._news.stop()
        self._rounds.stop()
        for call in self._away.values():
            call.cancel()
        self._away.clear()

    # What players ask.

    async def join(
        self, player: Player, game: str, options: bytes, loadout: bytes
    ) -> QueueStatus:
        """
        Put a player in the queue.

        :raises Refused: `UNKNOWN_GAME`, `BAD_OPTIONS`, `BAD_LOADOUT`,
            `ALREADY_QUEUED`, `ALREADY_IN_MATCH` or `DRAINING`.
        """
        plugin = self._games.get(game)
        if plugin is None:
            raise Refused(
                Code.UNKNOWN_GAME,
                "no such game here",
                {"field": "data.game", "games": sorted(self._games)},
            )
        entry = QueueEntry(
            entry_id=b32encode(self._entropy(10)).decode().lower(),
            players=(player,),
            game=game,
            since=self._clock.seconds(),
            options=canonical_options(plugin, options),
            loadouts=(canonical_loadout(plugin, loadout),),
        )
        if self._sessions.is_draining:
            raise Refused(Code.DRAINING, "this node takes no new matches")
        if player.player_id in self._forming:
            raise Refused(Code.ALREADY_QUEUED, "you are being matched; cancel first")
        if await self._sessions.is_in_match(player.player_id):
            raise Refused(Code.ALREADY_IN_MATCH, "one match at a time")
        if not await self._entries.add(entry):
            raise Refused(Code.ALREADY_QUEUED, "cancel first")
        # The line may have closed, and the node begun to drain, meanwhile.
        if not self._presence.is_here(player.player_id):
            self.player_lost(player.player_id)
        self._rounds.ask()
        return await self._news.status(entry)

    async def cancel(self, player_id: str) -> QueueStatus:
        """
        Take a player out of the queue, or out of a match that has no place yet.

        :raises Refused: `NOT_QUEUED`, or `ALREADY_IN_MATCH` when it is too late.
        """
        entry = await self._entries.entry_of(player_id)
        if entry is not None and await self._entries.remove(entry.entry_id):
            self._news.forget(player_id)
            self._news.changed()
            return QueueStatus("idle")
        if self._sessions.withdraw(player_id):
            return QueueStatus("idle")
        if player_id in self._forming or await self._sessions.is_in_match(player_id):
            raise Refused(Code.ALREADY_IN_MATCH, "your match is ready")
        raise Refused(Code.NOT_QUEUED, "nothing to cancel")

    # What the lobby tells.

    def player_lost(self, player_id: str) -> None:
        """A player's line is gone: keep its place for a while."""
        self._news.forget(player_id)
        self._expect_back(player_id, self._away_seconds)
        self._run(self._settle(player_id))

    async def player_back(self, player_id: str) -> QueueStatus | None:
        """A player said hello: gives its place in the queue, if it has one."""
        call = self._away.pop(player_id, None)
        if call is not None:
            call.cancel()
        await self._settle(player_id)
        entry = await self._entries.entry_of(player_id)
        if entry is None:
            return None
        self._rounds.ask()
        return await self._news.status(entry)

    # What sessions tell.

    def put_back(self, entries: Sequence[QueueEntry]) -> None:
        """Their match could not be: they wait again, from when they first came."""
        self._run(self._put_back(entries))

    def match_opened(self, plan: MatchPlan) -> None:
        """Whoever is in a match does not wait any more."""
        players = {seat.player_id for seat in plan.seats} - self._forming
        if players:
            self._run(self._drop_entries(players))

    def draining(self) -> None:
        """Nobody will be matched: say so to all who wait."""
        self._run(self._dismiss_all())

    # What operators ask.

    async def explain(self, player_id: str) -> dict[str, Any]:
        """
        Say what a player waits for.

        :raises Refused: `NO_SUCH_PLAYER`: it waits for nothing and plays nowhere.
        """
        facts: dict[str, Any] = {
            "player_id": player_id,
            "connected": self._presence.is_here(player_id),
        }
        waiting = await self._entries.waiting()
        for entry in waiting:
            if any(player.player_id == player_id for player in entry.players):
                now = self._clock.seconds()
                return facts | explain(entry, waiting, self._rules, now)
        for match in self._sessions.matches():
            if any(seat["player_id"] == player_id for seat in match["players"]):
                return facts | {
                    "state": match["state"],
                    "game": match["game"],
                    "match_id": match["match_id"],
                    "why": "a game server is being made ready"
                    if match["state"] == "forming"
                    else "it has a seat in this match",
                }
        raise Refused(Code.NO_SUCH_PLAYER, "in no queue and no match of this node")

    async def counts(self) -> dict[str, Any]:
        """
        How many wait for each game, the longest wait, and how long those waited
        who are matched (see `vinom.reactor.figures`); for metrics.
        """
        waiting = await self._entries.waiting()
        games = dict.fromkeys(self._games, 0)
        for entry in waiting:
            games[entry.game] = games.get(entry.game, 0) + len(entry.players)
        longest = self._clock.seconds() - waiting[0].since if waiting else 0.0
        return {
            "waiting": games,
            "suspended": sum(entry.suspended for entry in waiting),
            "longest_wait": max(0.0, longest),
            "waits": {
                game: waits.figures("wait") for game, waits in self._waits.items()
            },
        }

    # Rounds of matchmaking.

    async def _round(self) -> float | None:
        """Match who can play; gives when somebody can who cannot now, seconds."""
        now = self._clock.seconds()
        proposals = propose(await self._entries.waiting(), self._rules, now)
        for proposal in proposals.ready:
            await self._start(proposal)
        if proposals.ready:
            self._news.changed()
        if proposals.deadline is None:
            return None
        # A thousandth more, so that rounding never wakes us just too early.
        return max(0.0, proposals.deadline - now) + 0.001

    async def _start(self, proposal: Proposal) -> None:
        players = {p.player_id for entry in proposal.entries for p in entry.players}
        self._forming |= players
        try:
            if not await self._claim(proposal):
                # Somebody went in between; the others are still there.
                self._rounds.ask()
                return
            for player_id in players:
                self._news.forget(player_id)
            await self._open(proposal)
        finally:
            self._forming -= players

    async def _claim(self, proposal: Proposal) -> bool:
        try:
            return await self._entries.claim(
                [entry.entry_id for entry in proposal.entries]
            )
        except StoreUnavailable:
            # They may be out of the queue, and nobody would know.
            await self._put_back(proposal.entries)
            raise

    async def _open(self, proposal: Proposal) -> None:
        try:
            started = await self._sessions.start_match(
                proposal.game, proposal.options, proposal.entries, self.put_back
            )
        except Refused as refusal:
            self._dismiss(proposal.entries, refusal)
        except StoreUnavailable:
            await self._put_back(proposal.entries)
            raise
        else:
            if not started:
                await self._put_back(proposal.entries)
                return
            now = self._clock.seconds()
            for entry in proposal.entries:
                for _ in entry.players:
                    self._waits[proposal.game].add(max(0.0, now - entry.since))

    async def _put_back(self, entries: Sequence[QueueEntry]) -> None:
        for entry in entries:
            if self._sessions.is_draining:
                self._dismiss([entry], Refused(Code.DRAINING, "the server stops"))
                continue
            while not await self._is_put_back(entry):
                await deferLater(self._clock, _RETRY_SECONDS)
        self._rounds.ask()
        self._news.changed()

    async def _is_put_back(self, entry: QueueEntry) -> bool:
        """Put one back, or find it there; ``False`` if storage did not answer."""
        try:
            for player in entry.players:
                if await self._sessions.is_in_match(player.player_id):
                    return True
            here = all(self._presence.is_here(p.player_id) for p in entry.players)
            again = attrs.evolve(entry, suspended=not here)
            await self._entries.add(again)
            status = await self._news.status(again)
        except StoreUnavailable as error:
            self._log.error("storage does not answer: {error}", error=error)
            return False
        for player in entry.players:
            if not self._presence.tell(player.player_id, status):
                self.player_lost(player.player_id)
        return True

    # Players who are away.

    def _expect_back(self, player_id: str, seconds: float) -> None:
        call = self._away.pop(player_id, None)
        if call is not None:
            call.cancel()
        self._away[player_id] = self._clock.callLater(
            seconds, self._stayed_away, player_id
        )

    def _stayed_away(self, player_id: str) -> None:
        del self._away[player_id]
        if not self._presence.is_here(player_id):
            self._sessions.withdraw(player_id)
            self._run(self._drop_entries({player_id}), retry=player_id)

    async def _settle(self, player_id: str) -> None:
        """Make a player's entry follow its presence, which may change meanwhile."""
        while True:
            entry = await self._entries.entry_of(player_id)
            if entry is None:
                return
            here = self._presence.is_here(player_id)
            if entry.suspended == (not here):
                return
            if here:
                await self._entries.resume(entry.entry_id)
            else:
                await self._entries.suspend(entry.entry_id)

    async def _drop_entries(self, players: set[str]) -> None:
        for player_id in players:
            self._news.forget(player_id)
            entry = await self._entries.entry_of(player_id)
            if entry is not None:
                await self._entries.remove(entry.entry_id)
        self._rounds.ask()
        self._news.changed()

    async def _dismiss_all(self) -> None:
        refusal = Refused(Code.DRAINING, "this node takes no new matches")
        for entry in await self._entries.waiting():
            if await self._entries.remove(entry.entry_id):
                self._dismiss([entry], refusal)

    def _dismiss(self, entries: Sequence[QueueEntry], refusal: Refused) -> None:
        """These will not be matched; tell them so."""
        for entry in entries:
            for player in entry.players:
                self._news.forget(player.player_id)
                self._presence.warn(player.player_id, refusal)
                self._presence.tell(player.player_id, QueueStatus("idle"))

    def _run(self, work: Any, retry: str | None = None) -> None:
        def failed(failure: Any) -> None:
            self._log.failure("matchmaking step failed", failure)
            if retry is not None:
                self._expect_back(retry, _RETRY_SECONDS)

        Deferred.fromCoroutine(work).addErrback(failed)
