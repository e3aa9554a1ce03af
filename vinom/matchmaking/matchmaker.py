"""
The matchmaker: keeps the queue, finds tables, and starts their matches.

A player's entry is suspended while the player is disconnected, matchable again when
the player is back, and removed if the player stays away too long.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.conversation.online import IOnline
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.game import Game
from vinom.matches.service import Matches
from vinom.matchmaking.news import QueueNews
from vinom.matchmaking.rules import Proposal, Rules, due_at, explain, propose
from vinom.messages.lobby import QueueStatus
from vinom.model import MatchPlan, Player, QueueCounts, QueueEntry
from vinom.play.choices import canonical_loadout, canonical_options
from vinom.ports import IEntryStore
from vinom.reactor.figures import WAIT_BOUNDS, Histogram

#: Seconds until a step is tried again when storage did not answer.
_RETRY_SECONDS = 1.0
#: Entries read at once when a table can start; more if a table has more seats.
_MOST_READ = 1000

#: A queue, whose entries may meet: a game, and canonical JSON of its options.
_Queue = tuple[str, bytes]


class Cadence:
    """Run rounds soon after a change, and never two at once."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        play: Callable[[], Coroutine[Any, Any, float | None]],
    ) -> None:
        """
        :param clock: for delays.
        :param play: runs one round. It returns the seconds until the next one is due
            even if nobody asks for it, or ``None``.
        """
        self._clock, self._play = clock, play
        self._next: IDelayedCall | None = None
        self._is_playing = self._is_due = False

    def ask(self, delay: float = 0.0) -> None:
        """
        Run a round soon, or right after the current one.

        It does not start within this call: requests of one turn of the reactor are
        matched together, and answers go out before the news that they cause.

        :param delay: seconds from now.
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
        """Cancel the round that is due."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _start(self) -> None:
        Deferred.fromCoroutine(self._round())

    async def _round(self) -> None:
        self._next = None
        self._is_playing, self._is_due = True, False
        try:
            delay = await self._play()
        except Exception:
            self._log.failure("a round of matchmaking failed")
            delay = _RETRY_SECONDS
        self._is_playing = False
        if self._is_due:
            self.ask()
        elif delay is not None:
            self.ask(delay)


class Matchmaker(Service):
    """Match players in the order of their arrival."""

    name = "matchmaker"
    _log = Logger()

    def __init__(
        self,
        entries: IEntryStore,
        matches: Matches,
        online: IOnline,
        games: Mapping[str, Game[Any, Any]],
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        *,
        fill_seconds: float = 5.0,
        away_seconds: float = 10.0,
        status_seconds: float = 2.0,
    ) -> None:
        """
        :param entries: the store of entries.
        :param matches: starts matches, and reports how they go on.
        :param online: sends messages to players.
        :param games: by name.
        :param clock: its seconds are those of the Unix epoch.
        :param entropy: called with a number, returns that many random bytes.
        :param fill_seconds: how long the oldest entry waits for a full table.
        :param away_seconds: how long a disconnected player keeps its place.
        :param status_seconds: least time between two messages about a player's place.
        """
        self._entries, self._matches, self._online = entries, matches, online
        self._games, self._clock, self._entropy = games, clock, entropy
        self._rules = Rules(
            {name: game.seats for name, game in games.items()}, fill_seconds
        )
        self._away_seconds = away_seconds
        self._news = QueueNews(entries, online, clock, status_seconds)
        # Players of entries that are being claimed.
        self._forming: set[str] = set()
        self._waits = {name: Histogram(WAIT_BOUNDS) for name in games}
        self._away: dict[str, IDelayedCall] = {}
        # Queues for the next round; when others are due, as a heap and by queue.
        self._changed: dict[_Queue, None] = {}
        self._due: list[tuple[float, _Queue]] = []
        self._due_at: dict[_Queue, float] = {}
        self._cadence = Cadence(clock, self._round)
        matches.follow(self)

    def stopService(self) -> None:
        """Stop matching; the store keeps the entries."""
        Service.stopService(self)
        self._news.stop()
        self._cadence.stop()
        for call in self._away.values():
            call.cancel()
        self._away.clear()

    # Requests of players.

    async def join(
        self,
        player: Player,
        game: str,
        options: bytes,
        loadout: bytes,
        host: str = "",
    ) -> QueueStatus:
        """
        Put a player in the queue.

        :param options: JSON, as the player sent it.
        :param loadout: likewise.
        :param host: the player's address, if it is known.
        :raises Refused: `UNKNOWN_GAME`, `BAD_OPTIONS`, `BAD_LOADOUT`,
            `ALREADY_QUEUED`, `ALREADY_IN_MATCH`, `BUSY` or `DRAINING`.
        """
        plugin = self._games.get(game)
        if plugin is None:
            raise Refused(
                Code.UNKNOWN_GAME,
                "this server has no game with this name",
                {"field": "data.game", "games": sorted(self._games)},
            )
        entry = QueueEntry(
            entry_id=b32encode(self._entropy(10)).decode().lower(),
            players=(player,),
            game=game,
            since=self._clock.seconds(),
            options=canonical_options(plugin, options),
            loadouts=(canonical_loadout(plugin, loadout),),
            hosts=(host,),
        )
        if self._matches.is_draining:
            raise _draining()
        if player.player_id in self._forming:
            raise Refused(Code.ALREADY_QUEUED, "you are being matched; cancel first")
        if await self._matches.is_in_match(player.player_id):
            raise Refused(Code.ALREADY_IN_MATCH, "one match at a time")
        self._matches.ensure_one_more(entry)
        place = await self._entries.add(entry)
        if not place:
            raise Refused(Code.ALREADY_QUEUED, "cancel first")
        # The line may have closed, and the node begun to drain, meanwhile.
        if self._matches.is_draining:
            await self._entries.remove(entry.entry_id)  # type: ignore[unreachable]  # mypy forgets awaits
            raise _draining()
        if not self._online.is_here(player.player_id):
            self.player_lost(player.player_id)
        self._look_at(entry)
        return self._news.follow(entry, place)

    async def cancel(self, player_id: str) -> QueueStatus:
        """
        Take a player out of the queue, or out of a match that has no place yet.

        :raises Refused: `NOT_QUEUED`, or `ALREADY_IN_MATCH` when it is too late.
        """
        entry = await self._entries.entry_of(player_id)
        if entry is not None and await self._entries.remove(entry.entry_id):
            self._news.forget((player_id,))
            self._news.changed(entry.game, entry.options)
            return QueueStatus("idle")
        if self._matches.withdraw(player_id):
            return QueueStatus("idle")
        if player_id in self._forming or await self._matches.is_in_match(player_id):
            raise Refused(Code.ALREADY_IN_MATCH, "your match is ready")
        raise Refused(Code.NOT_QUEUED, "nothing to cancel")

    # Calls of the desk.

    def player_lost(self, player_id: str) -> None:
        """A player's line closed: keep the place for a while."""
        self._news.forget((player_id,))
        self._expect_back(player_id, self._away_seconds)
        self._run(self._settle(player_id))

    def player_moved(self, player_id: str) -> None:
        """A player's line here closed, for there is a newer one to another node."""
        self._news.forget((player_id,))

    async def player_back(self, player_id: str) -> QueueStatus | None:
        """A player said hello: return their place in the queue, if there is one."""
        call = self._away.pop(player_id, None)
        if call is not None:
            call.cancel()
        await self._settle(player_id)
        entry = await self._entries.entry_of(player_id)
        if entry is None:
            return None
        # Also if it was not suspended: this node is its owner from now on.
        await self._entries.resume(entry.entry_id)
        self._look_at(entry)
        return await self._news.status(entry)

    # Calls of `vinom.matches`.

    def put_back(self, entries: Sequence[QueueEntry]) -> None:
        """Queue entries again whose match did not happen; their waits go on."""
        self._run(self._put_back(entries))

    def match_opened(self, plan: MatchPlan) -> None:
        """Take players out of the queue whom an outside matchmaker put in a match."""
        players = {seat.player_id for seat in plan.seats} - self._forming
        if players:
            self._run(self._drop_entries(players))

    def draining(self) -> None:
        """Take all players of this node out of the queue, and send them the reason."""
        self._run(self._dismiss_all())

    # Requests of operators.

    async def explain(self, player_id: str) -> dict[str, Any]:
        """
        Report what a player waits for.

        :raises Refused: `NO_SUCH_PLAYER`: neither queued nor in a match.
        """
        facts: dict[str, Any] = {
            "player_id": player_id,
            "connected": not await self._online.away((player_id,)),
        }
        entry = await self._entries.entry_of(player_id)
        if entry is not None:
            place = await self._entries.place(entry.entry_id)
            queue = await self._entries.waiting(entry.game, entry.options)
            counts = await self._entries.counts()
            others = counts.players.get(entry.game, 0) - queue.players
            now = self._clock.seconds()
            return facts | explain(entry, place, queue, others, self._rules, now)
        for match in self._matches.describe():
            if any(seat["player_id"] == player_id for seat in match["players"]):
                return facts | {
                    "state": match["state"],
                    "game": match["game"],
                    "match_id": match["match_id"],
                    "why": "a game server is being started"
                    if match["state"] == "forming"
                    else "it has a seat in this match",
                }
        raise Refused(
            Code.NO_SUCH_PLAYER,
            f"player {player_id} is in no queue and in no match of this node",
        )

    async def counts(self) -> dict[str, Any]:
        """
        Count for metrics: the players waiting for each game, the longest wait, and how
        long matched players waited (see `vinom.reactor.figures`).
        """
        try:
            counts = await self._entries.counts()
        except StoreUnavailable:
            # What else a node counts can be read all the same.
            counts = QueueCounts({}, 0, None)
        now = self._clock.seconds()
        return {
            "waiting": {**dict.fromkeys(self._games, 0), **counts.players},
            "suspended": counts.suspended,
            "longest_wait": 0.0
            if counts.since is None
            else max(0.0, now - counts.since),
            "waits": {
                game: waits.figures("wait") for game, waits in self._waits.items()
            },
        }

    # Rounds of matchmaking.

    def _look_at(self, entry: QueueEntry) -> None:
        """Have the next round look at the queue of *entry*."""
        self._changed[entry.game, entry.options] = None
        self._cadence.ask()

    async def _round(self) -> float | None:
        """Start all tables that can start; return the seconds until the next."""
        now = self._clock.seconds()
        changed, self._changed = self._changed, {}
        while self._due and self._due[0][0] <= now:
            _, queue = heappop(self._due)
            self._due_at.pop(queue, None)
            changed[queue] = None
        try:
            for queue in tuple(changed):
                await self._start_tables(*queue, now)
                del changed[queue]
        finally:
            # Those left over because storage did not answer.
            self._changed.update(changed)
        if not self._due:
            return None
        # A millisecond more, so that rounding never starts a round too early.
        return max(0.0, self._due[0][0] - now) + 0.001

    async def _start_tables(self, game: str, options: bytes, now: float) -> None:
        """Start the tables of one queue; read its entries only if there is one."""
        waiting = await self._entries.waiting(game, options)
        due = due_at(game, waiting, self._rules)
        if due is not None and due <= now:
            most = max(_MOST_READ, self._rules.tables[game][1])
            entries = await self._entries.oldest(game, options, most)
            found = propose(entries, self._rules, now)
            for proposal in found.ready:
                await self._start(proposal)
            if found.ready and len(entries) == most:
                # There may be more of them than were read.
                self._look_at(entries[-1])
            due = found.deadline
        if due is not None and self._due_at.get((game, options), inf) > due:
            self._due_at[game, options] = due
            heappush(self._due, (due, (game, options)))

    async def _start(self, proposal: Proposal) -> None:
        players = {p.player_id for entry in proposal.entries for p in entry.players}
        self._forming |= players
        try:
            is_claimed = await self._entries.claim(
                [entry.entry_id for entry in proposal.entries]
            )
            if is_claimed:
                self._news.forget(players)
            self._news.changed(proposal.game, proposal.options)
            if not is_claimed:
                # A player left in between; the others still wait.
                self._look_at(proposal.entries[0])
                return
            if await self._keep_out(proposal.entries):
                return
            if not await self._matches.start_match(
                proposal.game, proposal.options, proposal.entries
            ):
                await self._put_back(proposal.entries)
                return
        except Refused as refusal:
            self._dismiss(proposal.entries, refusal)
            return
        except StoreUnavailable:
            # The claim may have removed them, and nothing else would put them back.
            await self._put_back(proposal.entries)
            raise
        finally:
            self._forming -= players
        now = self._clock.seconds()
        for entry in proposal.entries:
            for _ in entry.players:
                self._waits[proposal.game].add(max(0.0, now - entry.since))

    async def _keep_out(self, entries: Sequence[QueueEntry]) -> bool:
        """Dismiss those whose address has too many matches; the others wait again."""
        others = []
        for entry in entries:
            try:
                self._matches.ensure_one_more(entry)
            except Refused as refusal:
                self._dismiss([entry], refusal)
            else:
                others.append(entry)
        if len(others) == len(entries):
            return False
        await self._put_back(others)
        return True

    async def _put_back(self, entries: Sequence[QueueEntry]) -> None:
        for entry in entries:
            if self._matches.is_draining:
                self._dismiss([entry], Refused(Code.DRAINING, "the server is stopping"))
                continue
            while not await self._is_put_back(entry):
                await deferLater(self._clock, _RETRY_SECONDS)
            self._look_at(entry)
            self._news.changed(entry.game, entry.options)

    async def _is_put_back(self, entry: QueueEntry) -> bool:
        """Queue an entry again if it is not; ``False`` if storage did not answer."""
        player_ids = [player.player_id for player in entry.players]
        try:
            for player_id in player_ids:
                if await self._matches.is_in_match(player_id):
                    return True
            away = await self._online.away(player_ids)
            again = attrs.evolve(entry, suspended=bool(away))
            await self._entries.add(again)
            status = await self._news.status(again)
        except StoreUnavailable as error:
            self._log.error("storage does not answer: {error}", error=error)
            return False
        self._online.send(player_ids, status)
        for player_id in away:
            if not self._online.is_here(player_id):
                self.player_lost(player_id)
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
        self._run(self._drop_if_away(player_id), retry=player_id)

    async def _drop_if_away(self, player_id: str) -> None:
        """Give up the place of a player who did not come back, to any node."""
        if await self._online.away((player_id,)):
            self._matches.withdraw(player_id)
            await self._drop_entries({player_id})

    async def _settle(self, player_id: str) -> None:
        """Suspend or resume a player's entry, as the player is away or here."""
        while True:
            entry = await self._entries.entry_of(player_id)
            if entry is None:
                return
            here = self._online.is_here(player_id)
            if entry.suspended == (not here):
                return
            if here:
                await self._entries.resume(entry.entry_id)
            elif not await self._entries.suspend(entry.entry_id):
                # It is gone, or the player has come back to another node.
                return

    async def _drop_entries(self, players: set[str]) -> None:
        self._news.forget(players)
        for player_id in players:
            entry = await self._entries.entry_of(player_id)
            if entry is not None:
                await self._entries.remove(entry.entry_id)
                self._look_at(entry)
                self._news.changed(entry.game, entry.options)

    async def _dismiss_all(self) -> None:
        """Take all players of this node out of the queue, disconnected ones too."""
        for player_id in (*self._news.players(), *self._away):
            entry = await self._entries.entry_of(player_id)
            if entry is not None and await self._entries.remove(entry.entry_id):
                self._dismiss([entry], _draining())

    def _dismiss(self, entries: Sequence[QueueEntry], refusal: Refused) -> None:
        """Send the players of these entries why they will not be matched."""
        for entry in entries:
            player_ids = [player.player_id for player in entry.players]
            self._news.forget(player_ids)
            self._online.warn(player_ids, refusal)
            self._online.send(player_ids, QueueStatus("idle"))

    def _run(self, work: Coroutine[Any, Any, None], retry: str | None = None) -> None:
        """
        Do *work*, and log it if it fails.

        :param retry: a player to expect back once more after a failure.
        """

        def failed(failure: Failure) -> None:
            self._log.failure("matchmaking step failed", failure)
            if retry is not None:
                self._expect_back(retry, _RETRY_SECONDS)

        Deferred.fromCoroutine(work).addErrback(failed)


def _draining() -> Refused:
    return Refused(Code.DRAINING, "this server takes no new matches")
