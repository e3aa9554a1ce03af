"""
The matchmaker: keeps the queues, finds matches by their rules, and starts them.

An entry is suspended while one of its players is disconnected, matchable again when all
are back, and removed if a player stays away too long.
"""

from __future__ import annotations

from base64 import b32encode
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.messages.lobby import QueueStatus, RoomFound
from vinom.base.model import (
    Enqueued,
    Left,
    LobbyCounts,
    Party,
    PartyMember,
    Player,
    Prematch,
    QueueEntry,
    Whereabouts,
)
from vinom.base.reactor.figures import WAIT_BOUNDS, Histogram
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.fleet.interfaces import IMatchWatch
from vinom.game import Game
from vinom.lobby.conversation.online import Attendance, Online
from vinom.lobby.matches.service import Matches, seat_plans
from vinom.lobby.matchmaking.prematch import Prematches
from vinom.lobby.matchmaking.queues import Queue, Queues
from vinom.lobby.matchmaking.ratings import Ratings
from vinom.lobby.matchmaking.rounds import MOST_READ, QueueUpdates, Rounds, Slices
from vinom.lobby.matchmaking.rules.rule import Proposal
from vinom.play.choices import canonical_loadout
from vinom.store.interfaces import ILobbyStore
from vinom.store.patience import patiently

#: Entries of a queue that are counted to explain one of them, about.
_MOST_EXPLAINED = 10_000


class EntryFollower(Protocol):
    """
    What is called about the entries of parties: `vinom.lobby.matchmaking.parties`.
    """

    def entry_moved(self, entry: QueueEntry) -> None:
        """An entry entered a queue, a prematch or a match, or left one of them."""


class Matchmaker(Service):
    """
    Match players by the rules of their queues.

    :ivar queues: of all games.
    """

    name = "matchmaker"
    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        matches: Matches,
        online: Online,
        games: Mapping[str, Game[Any, Any]],
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        *,
        queues: Queues | None = None,
        ratings: Ratings | None = None,
        accept_seconds: float = 0.0,
        fill_seconds: float = 5.0,
        away_seconds: float = 10.0,
        status_seconds: float = 2.0,
        region: str = "",
        regions: Collection[str] = (),
    ) -> None:
        """
        :param store: where players are.
        :param matches: starts matches, and reports how they go on.
        :param online: sends messages to players.
        :param games: by name.
        :param clock: its seconds are those of the Unix epoch.
        :param entropy: called with a number, returns that many random bytes.
        :param queues: with their rules; a default one for each game unless given.
        :param ratings: of players; nobody has any unless given.
        :param accept_seconds: how long players have to accept a match, unless *queues*
            are given; 0 does not ask them.
        :param fill_seconds: how long the oldest entry waits for a full table, likewise.
        :param away_seconds: how long a disconnected player keeps its place.
        :param status_seconds: least time between two messages about a player's place.
        :param region: that of this node; empty if there is only one.
        :param regions: those to which players measure echoes.
        """
        self._store, self._matches, self._online = store, matches, online
        self._games, self._clock, self._entropy = games, clock, entropy
        if queues is None:
            queues = Queues(games, {}, fill_seconds, accept_seconds)
        self.queues, self._ratings = queues, ratings
        self._region, self._regions = region, frozenset((region, *regions)) - {""}
        self._updates = QueueUpdates(store, online, clock, status_seconds)
        self.prematches = Prematches(store, online, clock, self)
        self.rounds = Rounds(
            store,
            queues,
            matches,
            clock,
            self._make,
            self._send_to_room,
        )
        self._followers: list[EntryFollower] = []
        # How many players got seats in running rooms, by game.
        self._backfilled: Counter[str] = Counter(dict.fromkeys(games, 0))
        self._waits = {name: Histogram(WAIT_BOUNDS) for name in games}
        self._away = Attendance(online, clock, away_seconds, self._drop)
        matches.follow(self)

    def stopService(self) -> None:
        """Stop matching; the store keeps the entries."""
        Service.stopService(self)
        self._updates.stop()
        self.rounds.stop()
        self.prematches.stop()
        self._away.stop()

    def follow(self, follower: EntryFollower) -> None:
        """Call *follower* about entries of parties from now on."""
        self._followers.append(follower)

    # Requests of players.

    async def join(
        self,
        player: Player,
        game: str | None,
        options: bytes,
        loadout: bytes,
        host: str = "",
        *,
        queue: str | None = None,
        echoes: Mapping[str, float] | None = None,
    ) -> QueueStatus | None:
        """
        Put a player in a queue; ``None``: it is in a party, whose host queues.

        :param game: its name; ``None`` if *queue* is given.
        :param options: JSON, as the player sent it.
        :param loadout: likewise.
        :param host: the player's address, if it is known.
        :param queue: the name of the queue; the game's default one unless given.
        :param echoes: milliseconds of an echo by region, as the player measured them.
        :raises Refused: `UNKNOWN_GAME`, `UNKNOWN_QUEUE`, `BAD_FIELD`, `BAD_OPTIONS`,
            `BAD_LOADOUT`, `ALREADY_QUEUED`, `ALREADY_IN_MATCH`, `BUSY` or `DRAINING`.
        """
        wanted = self.queues.find(queue, game)
        entry = self.new_entry(
            [PartyMember(player, host, loadout)],
            wanted,
            options,
            echoes=[echoes or {}],
        )
        found = await self.add(entry)
        return None if found is None else await self.admit(entry, found)

    async def cancel(self, player_id: str) -> QueueStatus:
        """
        Take a player out of the queue, or out of a match that has no place yet.

        All players of the entry leave the queue.

        :raises Refused: `NOT_QUEUED`, or `ALREADY_IN_MATCH` when it is too late.
        """
        where = await self._store.of_player(player_id)
        entry, asked = where.entry, where.prematch
        is_out = entry is not None and await self._remove(
            entry, (player_id,), player_id, asked
        )
        is_out = is_out or self._matches.withdraw(player_id)
        if not is_out and entry is not None:
            # It left the queue just before, for example with its prematch.
            where = await self._store.of_player(player_id)
            is_out = where.plan is None
        if is_out:
            return QueueStatus("idle")
        if where.plan is None:
            # The store may not have everything back.
            where = await self._matches.where(player_id)
        if where.plan is not None:
            raise Refused(Code.ALREADY_IN_MATCH, "your match is ready")
        raise Refused(Code.NOT_QUEUED, "nothing to cancel")

    # Entries of players and parties.

    def new_entry(
        self,
        members: Sequence[PartyMember],
        queue: Queue,
        options: bytes,
        party_id: str = "",
        *,
        echoes: Sequence[Mapping[str, float]] = (),
    ) -> QueueEntry:
        """
        Make an entry that is not in the queue.

        :param members: who would play; they stay together, in one team.
        :param queue: as `Queues.find` finds it.
        :param options: JSON, as the player sent it.
        :param party_id: of their party.
        :param echoes: milliseconds of an echo by region, as each of them measured it.
        :raises Refused: `BAD_OPTIONS`, `BAD_LOADOUT`, or `PARTY_FULL` if they are more
            than can play together.
        """
        plugin = self._games[queue.game]
        options = self.queues.options(queue, options)
        most = queue.rule_for(options).shape.largest
        if party_id and len(members) > most:
            raise Refused(
                Code.PARTY_FULL,
                f"your party has {len(members)} members, and {most} can play "
                f"{queue.name or queue.game} together",
                {"field": "data.game", "limit": most},
            )
        return QueueEntry(
            entry_id=self._new_id(),
            players=tuple(member.player for member in members),
            game=queue.game,
            since=self._clock.seconds(),
            options=options,
            loadouts=tuple(
                canonical_loadout(plugin, member.loadout)
                if not party_id
                else canonical_loadout(
                    plugin, member.loadout, f"members[{number}].loadout"
                )
                for number, member in enumerate(members)
            ),
            hosts=tuple(member.host for member in members),
            party_id=party_id,
            queue=queue.name,
            echoes=self._nearest(echoes) if queue.rule.uses_echoes else (),
        )

    async def add(
        self, entry: QueueEntry, party: Party | None = None
    ) -> Enqueued | None:
        """
        Put an entry in the queue; ``None``: the party has changed, or there is one now.

        :param party: whose entry it is, as it is then.
        :raises Refused: `ALREADY_QUEUED`, `ALREADY_IN_MATCH`, `BUSY`, `NOT_NOW` after a
            decline, or `DRAINING`.
        """
        if self._matches.is_draining:
            raise self._matches.draining()
        if self.queues.asks:
            # Else nobody is asked, and nobody can decline.
            await self.prematches.ensure_no_pause(entry)
        self._matches.ensure_one_more([entry])
        if entry.queue and self._ratings is not None:
            queue = self.queues.of(entry.game, entry.queue)
            if queue is not None:
                entry = await self._ratings.filled_in(entry, queue)
        found = await self._store.enqueue(entry, party).addErrback(
            self._online.look_if_unsure, entry.player_ids
        )
        match found.refusal:
            case "queued":
                raise Refused(Code.ALREADY_QUEUED, "cancel first")
            case "playing":
                raise Refused(
                    Code.ALREADY_IN_MATCH,
                    "one match at a time",
                    {"player_id": found.player_id},
                )
            case "changed":
                return None
        return found

    async def _remove(
        self,
        entry: QueueEntry,
        askers: Collection[str] = (),
        decliner: str = "",
        prematch: Prematch | None = None,
    ) -> bool:
        """
        Take an entry out of the queue, or of its prematch; ``False`` if it is in none.

        :param askers: players who learn it otherwise.
        :param decliner: a player for whom it counts as a decline; nobody unless given.
        :param prematch: in which it is, as far as is known.
        """
        left = await self._store.leave(
            entry.players[0].player_id, entry.entry_id
        ).addErrback(self._online.look_if_unsure, entry.player_ids, prematch)
        if left is not None:
            await self.took_out(left, decliner, askers)
        return left is not None

    async def admit(self, entry: QueueEntry, found: Enqueued) -> QueueStatus:
        """
        Have an entry that was added matched, if all its players are here.

        They are sent their places from now on; one of them is answered with what is
        returned.

        :raises Refused: `DRAINING`.
        """
        if self._matches.is_draining:
            # The node has begun to drain meanwhile.
            remove = partial(self._remove, entry, entry.player_ids)
            self._run(patiently(self._clock, remove))
            raise self._matches.draining()
        try:
            away = await self._online.away(entry.player_ids)
            for player_id in away:
                self._expect(player_id)
            if away or entry.suspended:
                await self._settle(entry.player_ids[0])
            self.rounds.look_at(entry.pool, None if entry.suspended else found.waiting)
            its = self.queues.of(entry.game, entry.queue) if self.queues.asks else None
            is_asked = its is not None and its.accept_seconds and self._online.is_shared
            if entry.party_id or is_asked:
                # Its players may be asked by now whether they accept a match.
                return await self._status(entry)
        except StoreUnavailable as error:
            # It waits all the same; whether all are here is seen when storage answers.
            self._log.debug("storage does not answer: {error}", error=error)
            settle = partial(self._settle, entry.player_ids[0])
            self._run(patiently(self._clock, settle))
            self.rounds.look_at(entry.pool)
        return self._updates.follow(entry, found.place)

    async def took_out(
        self, left: Left, decliner: str = "", askers: Collection[str] = ()
    ) -> None:
        """
        Send those whom it concerns that an entry has left the queue or its prematch.

        :param decliner: a player for whom it counts as a decline; nobody unless given.
        :param askers: players who learn it otherwise.
        """
        entry = left.entry
        if left.prematch is not None:
            result = "declined" if decliner else "given_back"
            self.prematches.over(left.prematch, [entry.entry_id], result)
            if decliner:
                await self.prematches.count_decline(entry, decliner)
        self.left([entry], askers)
        self._updates.changed(entry.pool)

    async def _status(self, entry: QueueEntry) -> QueueStatus:
        """Find how it is with an entry, and send its players changes from now on."""
        where = await self._store.of_player(entry.players[0].player_id)
        if where.entry is not None and where.entry.entry_id == entry.entry_id:
            return self._updates.follow(entry, where.place)
        self._updates.forget(entry.player_ids)
        return QueueStatus("idle" if where.plan is None else "matched", entry.game)

    # Calls of `Requests`.

    async def player_lost(self, player_id: str, where: Whereabouts) -> None:
        """
        A player's line closed: keep the place for a while.

        :param where: of the player, read with lines after that.
        """
        if self._online.away_of((player_id,), where):
            self._expect(player_id)
            await self._settle(player_id, where)

    def _expect(self, player_id: str) -> None:
        self._updates.forget((player_id,))
        self._away.expect(player_id)

    def player_left(self, player_id: str) -> None:
        """A line closed whose player is in no queue, but perhaps in a new match."""
        self._updates.forget((player_id,))
        if self._matches.is_forming(player_id):
            self._away.expect(player_id)

    async def player_back(
        self, player_id: str, where: Whereabouts
    ) -> QueueStatus | None:
        """
        A player said hello: return their place in the queue, if there is one.

        :param where: of the player, read with lines after that.
        """
        self._away.stop_waiting(player_id)
        entry = where.entry
        if entry is None:
            return None
        if not self._online.away_of(entry.player_ids, where):
            # Also if it was not suspended: this node is its owner from now on.
            await self._store.suspend(entry.entry_id, False)
        self.rounds.look_at(entry.pool)
        return self._updates.follow(entry, where.place)

    def assert_owned(self) -> None:
        """
        Put lone players back in their queues who were sent that they wait, and look
        again at those who stayed away: the store may have lost what was written last.
        """
        self._away.again()
        for entry in self._updates.listed().values():
            if not entry.party_id:
                self._run(patiently(self._clock, partial(self._assert, entry)))

    async def _assert(self, entry: QueueEntry) -> None:
        """Put a lone player back who was sent that it waits, and nothing else since."""
        (player_id,) = entry.player_ids
        if self._online.waits(player_id):
            await self._store.enqueue(entry).addErrback(
                self._online.look_if_unsure, entry.player_ids
            )
            if not self._online.waits(player_id):
                # Meanwhile it was sent that it is in no queue.
                self._online.look(entry.player_ids)
            self.rounds.look_at(entry.pool)

    # Calls of `Prematches`.

    async def make(self, prematch: Prematch) -> None:
        """Make the match of a prematch to which everybody has said yes."""
        proposal = Proposal(prematch.entries, prematch.teams)
        game, _, name = prematch.entries[0].pool
        await self._make(proposal, self.queues.of(game, name), prematch)

    async def _make(
        self, proposal: Proposal, queue: Queue | None, prematch: Prematch | None = None
    ) -> None:
        """
        Start a match, unless its entries are somewhere else by now.

        :param prematch: by which its players have accepted it; else they may be asked.
        """
        if prematch is None and queue is not None and queue.accept_seconds:
            await self._ask(proposal, queue)
            return
        entries = proposal.entries
        prematch_id = "" if prematch is None else prematch.prematch_id
        game, options = entries[0].game, entries[0].options
        watches: tuple[IMatchWatch, ...] = ()
        if queue is not None and queue.ratings and self._ratings is not None:
            watches = (self._ratings.watch(queue.ratings, proposal),)
        try:
            self._matches.ensure_one_more(entries)
            seats = seat_plans(entries, self._games[game].teams, proposal.teams)
            live, found = await self._matches.open(
                game, options, seats, entries, prematch_id
            )
        except Refused as refusal:
            await self._keep_out(entries, prematch, refusal)
            return
        except Exception:
            # A player must not be kept in a prematch, by a mistake of ours either.
            if prematch is not None:
                await self.prematches.give_back(prematch)
            raise
        if found.refusal:
            # A player left, or another node makes the match; the others still wait.
            for entry in entries:
                if any(one in found.player_ids for one in entry.player_ids):
                    await self._remove(entry)
            if prematch is not None and found.refusal == "playing":
                await self.prematches.give_back(prematch)
            self.rounds.look_at(entries[0].pool)
            return
        self._updates.forget([seat.player_id for seat in seats])
        if prematch is not None:
            self.prematches.accepted(prematch)
        self._matches.begin(live, watches)
        now = self._clock.seconds()
        for entry in entries:
            for _ in entry.players:
                self._waits[game].add(max(0.0, now - entry.since))
        self._updates.changed(entries[0].pool)
        self.entries_moved(entries)
        if queue is not None and queue.avoid_recent and self._ratings is not None:
            self._run(self._ratings.met(proposal))

    async def _keep_out(
        self, entries: Sequence[QueueEntry], prematch: Prematch | None, refusal: Refused
    ) -> None:
        """
        Dismiss those of a match that cannot be made who are to blame: whose address has
        too many matches, or all if this node drains. The others wait again.
        """
        out = []
        for entry in () if self._matches.is_moving else entries:
            try:
                if self._matches.is_draining:
                    raise refusal
                self._matches.ensure_one_more([entry])
            except Refused:
                out.append(entry)
        for entry in out:
            await self._store.leave(entry.players[0].player_id, entry.entry_id)
        if prematch is not None:
            await self.prematches.give_back(prematch)
        self.left(out, why=refusal)
        self.rounds.look_at(entries[0].pool)

    def went_back(self, entries: Sequence[QueueEntry]) -> None:
        """Have the players of these entries sent that they wait again."""
        for entry in entries:
            self.rounds.look_at(entry.pool)
            self._updates.changed(entry.pool)
            self._online.look(entry.player_ids)

    def left(
        self,
        entries: Sequence[QueueEntry],
        without: Collection[str] = (),
        why: Refused | None = None,
    ) -> None:
        """
        Note that entries are in no queue any more, and have their players sent that.

        :param without: players who know.
        :param why: what they are sent, too.
        """
        for entry in entries:
            player_ids = entry.player_ids
            self._updates.forget(player_ids)
            if why is not None:
                self._online.warn(player_ids, why)
            # They may wait for something else by now.
            self._online.look([each for each in player_ids if each not in without])
        self.entries_moved(entries)

    # Calls of `vinom.lobby.matches`.

    def put_back(self, entries: Sequence[QueueEntry], is_failure: bool) -> None:
        """Queue entries again whose match did not happen; their waits go on."""
        if is_failure:
            self.rounds.failed(entries[0].pool)
        self.went_back(entries)
        for entry in entries:
            self._run(patiently(self._clock, partial(self._expect_away, entry)))

    async def _expect_away(self, entry: QueueEntry) -> None:
        """Wait for players of an entry who went while they were in a match."""
        where = await self._store.of_player(entry.player_ids[0], True)
        for player_id in sorted(self._online.away_of(entry.player_ids, where)):
            if player_id not in self._away:
                self._expect(player_id)
        await self._settle(entry.player_ids[0], where)

    def taken_out(self, left: Sequence[Left], player_ids: Collection[str]) -> None:
        """Players wait no longer whom an outside matchmaker put in a match."""
        for one in left:
            self._run(self.took_out(one, askers=player_ids))

    def entries_moved(self, entries: Sequence[QueueEntry]) -> None:
        """Report that these entries entered a queue, prematch or match, or left it."""
        for entry in entries:
            if entry.party_id:
                for follower in self._followers:
                    follower.entry_moved(entry)

    def draining(self) -> None:
        """Take all players of this node out of the queue, and send them the reason."""
        self._run(self._dismiss_all())

    def moving(self) -> None:
        """Leave all players of this node in the queue; nobody waits for its answers."""
        self._run(self.prematches.give_back_all())

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
        where = await self._store.of_player(player_id)
        entry, prematch = where.entry, where.prematch
        if entry is not None and prematch is not None:
            left = max(0.0, prematch.until - self._clock.seconds())
            count = len(prematch.accepted)
            return facts | {
                "state": "prematch",
                "game": entry.game,
                "prematch_id": prematch.prematch_id,
                "accepted": player_id in prematch.accepted,
                "why": f"{count} of {len(prematch.players)} players have accepted "
                f"this match; {left:.1f} s are left",
            }
        if entry is not None:
            return facts | await self._explain(entry, where.place)
        for match in self._matches.describe():
            if any(seat["player_id"] == player_id for seat in match["players"]):
                return facts | {
                    "state": match["state"],
                    "game": match["game"],
                    "match_id": match["match_id"],
                    "why": match.get("problem", "a game server is being started")
                    if match["state"] == "forming"
                    else "it has a seat in this match",
                }
        if where.plan is not None:
            return facts | {
                "state": "playing",
                "game": where.plan.game,
                "match_id": where.plan.match_id,
                "node": await self._matches.owner(where.plan.match_id) or "",
                "why": "it has a seat in this match of another node",
            }
        raise Refused(
            Code.NO_SUCH_PLAYER, f"player {player_id} is in no queue and in no match"
        )

    async def counts(self) -> dict[str, Any]:
        """
        Count for metrics: the players waiting for each game, the longest wait, how long
        matched players waited (see `vinom.base.reactor.figures`), and the parties.
        """
        try:
            counts = await self._store.counts()
        except StoreUnavailable:
            # What else a node counts can be read all the same.
            counts = LobbyCounts()
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
            "backfilled": dict(self._backfilled),
            "prematches": {
                "open": len(self.prematches),
                "results": dict(self.prematches.results),
            },
            "parties": dict(counts.parties),
        }

    # Calls of its rounds.

    def _send_to_room(self, entry: QueueEntry, room_id: str) -> None:
        """Send players who are out of the queue to the room that has seats for them."""
        game, _, name = entry.pool
        self._backfilled[game] += len(entry.player_ids)
        self._waits[game].add(max(0.0, self._clock.seconds() - entry.since))
        self._updates.forget(entry.player_ids)
        self._updates.changed(entry.pool)
        self._online.send(entry.player_ids, RoomFound(room_id, game, name))
        self.entries_moved([entry])

    async def _ask(self, proposal: Proposal, queue: Queue) -> None:
        """Ask the players of a match whether they accept it."""
        entries = proposal.entries
        pool = entries[0].pool
        prematch = Prematch(
            self._new_id(),
            queue.game,
            entries[0].options,
            entries,
            until=self._clock.seconds() + queue.accept_seconds,
            teams=tuple(proposal.teams),
        )
        if await self.prematches.propose(prematch):
            self._updates.forget([one.player_id for one in prematch.players])
            self.prematches.ask(prematch)
            self.entries_moved(entries)
        else:
            # A player left in between; the others still wait.
            self.rounds.look_at(pool)
        self._updates.changed(pool)

    async def _explain(self, entry: QueueEntry, place: int) -> dict[str, Any]:
        """Explain to an operator what an entry waits for."""
        now = self._clock.seconds()
        waiting = await self._store.waiting(*entry.pool)
        counts = await self._store.counts()
        queue = self.queues.of(entry.game, entry.queue)
        rule = None if queue is None else queue.rule_for(entry.options)
        facts: dict[str, Any] = {
            "state": "suspended" if entry.suspended else "waiting",
            "game": entry.game,
            "queue": entry.queue,
            "options": entry.options.decode(),
            "waited": max(0.0, now - entry.since),
            "position": place,
            "same_wish": waiting.ready,
            "needed": 0 if rule is None else rule.shape.fewest,
            "full": 0 if rule is None else rule.shape.most,
            "other_options": counts.players.get(entry.game, 0) - waiting.players,
        }
        if entry.suspended:
            why = "its player is disconnected; the place is kept for a short time"
            return facts | {"why": why}
        if queue is None or rule is None:
            why = "this node has no game with this name, or not this queue"
            return facts | {"why": why}
        entries: list[QueueEntry] = []
        after, slices = "", Slices(self._clock)
        while len(entries) < _MOST_EXPLAINED:
            page = await self._store.page(*entry.pool, after, MOST_READ)
            entries += page.entries
            after = page.next
            if not after:
                break
            await slices.rest()
        else:
            facts["counted_of_the_first"] = len(entries)
        if queue.backfills:
            size = self.rounds.no_seats.get(entry.pool)
            facts["backfill"] = (
                "free seats of running rooms are given to those who wait"
                if size is None or size > len(entry.players)
                else f"no running room has {len(entry.players)} free seats"
            )
        found = rule.explain(entry, entries, now)
        if found.excluded:
            facts["excluded"] = ", ".join(
                f"{reason} {count}" for reason, count in found.excluded.items()
            )
        if found.widens_at is not None:
            facts["widens_in"] = round(max(0.0, found.widens_at - now), 3)
        return facts | dict(found.facts) | {"why": found.why}

    def _nearest(
        self, echoes: Sequence[Mapping[str, float]]
    ) -> tuple[tuple[str, float], ...]:
        """
        List the regions that all players of a party have measured, nearest first.

        The farthest player counts; those who measured none are near this node.
        """
        own = {self._region: 0.0} if self._region else {}
        known = [
            {region: ms for region, ms in one.items() if region in self._regions} or own
            for one in echoes
        ]
        common = set(known[0]).intersection(*known[1:]) if known else set()
        farthest = {region: max(one[region] for one in known) for region in common}
        return tuple(sorted(farthest.items(), key=lambda item: (item[1], item[0])))

    # Players who are away.

    async def _drop(self, player_id: str) -> None:
        """Give up the place of a player who did not come back, to any node."""
        self._matches.withdraw(player_id)
        if self._online.is_here(player_id):
            return
        left = await self._store.leave(player_id, away=self._away.seconds)
        if left is not None:
            await self.took_out(left, player_id)

    async def _settle(self, player_id: str, where: Whereabouts | None = None) -> None:
        """Suspend or resume an entry: are all of its players here?"""
        where = where or await self._store.of_player(player_id, True)
        while (entry := where.entry) is not None:
            is_away = bool(self._online.away_of(entry.player_ids, where))
            if entry.suspended == is_away:
                return
            if not await self._store.suspend(entry.entry_id, is_away) and is_away:
                # It is gone, or the player has come back to another node.
                return
            where = await self._store.of_player(player_id, True)

    async def _dismiss_all(self) -> None:
        """Take all players of this node out of the queue, disconnected ones too."""
        await self.prematches.give_back_all()
        for player_id in (*self._updates.listed(), *self._away.players()):
            left = await self._store.leave(player_id)
            if left is not None:
                self.left([left.entry], why=self._matches.draining())

    def _new_id(self) -> str:
        return b32encode(self._entropy(10)).decode().lower()

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        in_background(self._log, work, "matchmaking step failed")
