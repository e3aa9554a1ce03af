"""
From agreed players to seats in a running match, and to its end.

Players are sent to a match once a game server listens for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Protocol, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.addresses import AddressCounts
from vinom.base.limits.buckets import network_of
from vinom.base.limits.logged import BoundedLog, in_background
from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import Push, Told, encode_push
from vinom.base.messages.lobby import MatchEnded, MatchFound, QueueStatus
from vinom.base.model import (
    Left,
    MatchEnd,
    MatchPlan,
    Placement,
    QueueEntry,
    SeatPlan,
    Started,
    Ticket,
    Whereabouts,
)
from vinom.errors import (
    Code,
    LeaseLost,
    NoCapacity,
    NothingStored,
    PeerError,
    Refused,
    StoreUnavailable,
    VinomError,
)
from vinom.fleet.interfaces import IMatchWatch
from vinom.game import Game
from vinom.lobby.conversation.online import Online
from vinom.lobby.matches.match import JoinTickets, Match, seat_names
from vinom.play.seats import seat_of
from vinom.store.interfaces import ILobbyStore, IPlayerStore
from vinom.store.patience import patiently

_Result = TypeVar("_Result")

#: Ends of matches that are remembered, and matches that one look compares.
_MOST_COMPARED = 1000


class Follower(Protocol):
    """What is called about new, failed and refused matches: the matchmaker."""

    def taken_out(self, left: Sequence[Left], player_ids: Collection[str]) -> None:
        """An outside matchmaker has put players of these entries in a match."""

    def put_back(self, entries: Sequence[QueueEntry], is_failure: bool) -> None:
        """
        The match of these entries did not happen: their players wait again.

        :param is_failure: no game server could be had for it.
        """

    def entries_moved(self, entries: Sequence[QueueEntry]) -> None:
        """The match is over for these entries, or for some of their players."""

    def draining(self) -> None:
        """No new matches from here on."""

    def moving(self) -> None:
        """The same; but those who wait are matched by other nodes."""


class ResultWatch(Protocol):
    """Notes how rounds end: `vinom.lobby.results.service.Results`; no method fails."""

    def round_over(self, plan: MatchPlan, outcome: Mapping[str, Any]) -> None:
        """Note the outcome of a round: ``{round, places, scores}``."""

    def match_over(self, plan: MatchPlan, reason: str) -> None:
        """Note that a match ended before any round of it was over."""

    def turn_began(
        self, plan: MatchPlan, seat: int, version: int, left: float | None
    ) -> None:
        """Note that a game waits for a player who is away, and for how long."""


class MatchFleet(Protocol):
    """Where matches are played: `vinom.fleet.fleet.Fleet`, or a relay before it."""

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """Find a match a game server."""

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """Admit one more handshake."""

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good."""

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match."""


class OtherNodes(Protocol):
    """Asks other nodes: `vinom.node.links.NodeLinks`."""

    async def ask_way_in(self, node_id: str, match_id: str, seat: int) -> bytes:
        """
        Ask a node to admit a player to a match of its own.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or that node cannot be reached.
        """


@implementer(IMatchWatch)
class Matches(Service):
    """
    Start matches, give seats, bring players back, and record how matches end.

    :ivar is_draining: no new matches are started.
    :ivar is_moving: those who wait are matched by other nodes.
    """

    name = "matches"
    _log = Logger()

    def __init__(
        self,
        fleet: MatchFleet,
        store: ILobbyStore,
        online: Online,
        games: Mapping[str, Game[Any, Any]],
        join_tickets: JoinTickets,
        clock: IReactorTime,
        memory_seconds: float = 600.0,
        per_address: int = 32,
        results: ResultWatch | None = None,
        others: OtherNodes | None = None,
        players: IPlayerStore | None = None,
        key_seconds: float = 6 * 3600.0,
        is_complete: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        :param fleet: finds a game server for each match.
        :param store: where matches are recorded.
        :param online: sends messages to players.
        :param games: by name.
        :param join_tickets: makes ids, tickets and tokens.
        :param clock: its seconds are those of the Unix epoch.
        :param memory_seconds: how long the end of a match is remembered.
        :param per_address: most matches that are not over with players of one address;
            four times that of one /24 or /48.
        :param results: notes how rounds end.
        :param others: asks other nodes; ``None`` if there is only this one.
        :param players: gets players of matches back if it has lost them.
        :param key_seconds: for how long.
        :param is_complete: has the store all that it should have? One that came back
            empty gets matches back within seconds.
        """
        self._players, self._key_seconds = players, key_seconds
        self._is_complete = is_complete
        self._results, self._others = results, others
        self._fleet, self._store, self._online = fleet, store, online
        self._games, self._tickets, self._clock = games, join_tickets, clock
        #: For what players can have logged as often as they ask.
        self._bounded = BoundedLog(self._log, clock)
        self._memory_seconds = memory_seconds
        self._counts = AddressCounts(per_address)
        self._matches: dict[str, Match] = {}
        # The same, oldest first, by the players who have seats.
        self._of_players: dict[str, list[Match]] = {}
        self._followers: list[Follower] = []
        #: Called with players who have left matches that this node has adopted.
        self.freed: Callable[[Sequence[str]], None] = lambda _: None
        self._drained: list[Deferred[None]] = []
        self._ended: dict[str, int] = {}
        # Matches that are being recorded; and the last ends, which may get lost.
        self._starting: set[str] = set()
        self._last_ends: dict[str, MatchEnd] = {}
        self.is_draining = self.is_moving = False

    def follow(self, follower: Follower) -> None:
        """Call *follower* about what happens from now on."""
        self._followers.append(follower)

    # Starting.

    def ensure_one_more(self, entries: Sequence[QueueEntry]) -> None:
        """
        Check that the addresses of the players of entries may have one more match.

        :raises Refused: `BUSY`.
        """
        if any(self._counts.is_full(host) for one in entries for host in one.hosts):
            raise Refused(
                Code.BUSY,
                "players of your address are in too many matches; queue again when "
                "one is over",
                {"retry_after": 10, "limit": self._counts.limit},
            )

    def begin(self, match: Match, watches: Sequence[IMatchWatch] = ()) -> None:
        """
        Send the players to a match that was opened, as soon as it has a place.

        :param watches: called about the match until it is over.
        """
        match.watches += watches
        plan = match.plan
        player_ids = [seat.player_id for seat in plan.seats]
        self._online.send(player_ids, QueueStatus("matched", plan.game))
        in_background(
            self._log,
            self._find_place(match),
            "the end of match {match_id} was not recorded",
            match_id=plan.match_id,
        )

    async def start_seats(
        self, game: str, options: bytes, seats: tuple[SeatPlan, ...]
    ) -> list[MatchFound]:
        """
        Start a match that an outside matchmaker made; return what each seat needs.

        Cancelling withdraws the match.

        :param options: canonical JSON.
        :raises Refused: `ALREADY_IN_MATCH`, `DRAINING`, or `UNAVAILABLE` if no
            game server was available.
        """
        match, started = await self.open(game, options, seats)
        if started.refusal:
            raise Refused(
                Code.ALREADY_IN_MATCH,
                "a player is in another match",
                {"player_ids": list(started.player_ids)},
            )

        # A caller that hangs up may withdraw a match, but not interrupt how it goes on:
        # what was placed stays, and an end is recorded.
        def hung_up(_: object) -> None:
            match.withdraw("lost")

        def answer(found: list[MatchFound] | Failure | None) -> None:
            if not caller.called:
                caller.callback(found)
            elif isinstance(found, Failure):
                self._log.failure("a match that was withdrawn has no end", found)

        caller: Deferred[list[MatchFound] | None] = Deferred(hung_up)
        Deferred.fromCoroutine(self._find_place(match)).addBoth(answer)
        found = await caller
        if found is None:
            end = match.end
            raise Refused(
                Code.UNAVAILABLE,
                "the match could not be placed",
                {"reason": match.unplaced if end is None else end.reason},
            )
        return found

    async def open(
        self,
        game: str,
        options: bytes,
        seats: tuple[SeatPlan, ...],
        entries: Sequence[QueueEntry] = (),
        prematch_id: str = "",
    ) -> tuple[Match, Started]:
        """
        Record a match; it is this node's unless that is refused.

        :param options: canonical JSON.
        :param entries: those that wait for it; they do no more.
        :param prematch_id: the prematch that they are in.
        :raises Refused: `DRAINING`.
        :raises StoreUnavailable: a match without entries is not recorded.
        """
        if self.is_draining:
            raise self.draining()
        plan, tickets = self._tickets.plan(game, options, seats)
        match = Match(plan, self._clock.seconds(), tuple(entries), tickets=tickets)
        # Once for each address, however many players it has there.
        hosts = {network_of(host): host for entry in entries for host in entry.hosts}
        match.hosts = tuple(hosts.values())
        # Not for one that is full: who was paired with it plays all the same. Now, for
        # others are opened while the store is asked.
        match.counted = tuple(filter(self._counts.enter, match.hosts))
        entry_ids = [entry.entry_id for entry in entries]
        self._starting.add(plan.match_id)
        try:
            try:
                found = await self._store.start(plan, entry_ids, prematch_id)
            except (NothingStored, LeaseLost):
                raise
            except StoreUnavailable as error:
                found = await self._start_again(error, plan, entry_ids, prematch_id)
        except BaseException:
            self._uncount(match)
            raise
        finally:
            self._starting.discard(plan.match_id)
        if found.refusal:
            self._uncount(match)
            return match, found
        self._enter(match)
        self.learn_keys(plan.match_id)
        if found.left:
            for follower in self._followers:
                follower.taken_out(found.left, match.seated())
        return match, found

    async def _start_again(
        self,
        error: StoreUnavailable,
        plan: MatchPlan,
        entry_ids: Sequence[str],
        prematch_id: str,
    ) -> Started:
        """
        Find out whether a match is recorded: the answer was lost.

        :raises StoreUnavailable: it is not.
        """
        if not entry_ids:
            # Its players may not wait for it.
            await self._record_end(MatchEnd(plan.match_id, "void"))
            raise error
        found = await patiently(
            self._clock,
            lambda: self._store.start(plan, entry_ids, prematch_id),
            refusals=(LeaseLost,),
        )
        assert found is not None
        return found

    def learn_keys(self, match_id: str) -> None:
        """
        Learn how the players of a match prove who they are.

        A store that was lost must get that back, too, or nobody could come back.
        """
        match = self._matches.get(match_id)
        if self._players is None or match is None:
            return

        here = {one: self._online.key_of(one) for one in match.players()}
        match.known = [known for known in here.values() if known is not None]

        others = [one for one, known in here.items() if known is None]
        if others:
            asked = self._learn_keys(match, self._players, others)
            in_background(self._log, asked, "keys of players are not known")

    async def _learn_keys(
        self, match: Match, players: IPlayerStore, others: Sequence[str]
    ) -> None:
        """Ask the store for the keys of players who are connected elsewhere."""
        found = await self._while_live(match, lambda: players.keys_of(others))
        match.known = [*match.known, *(found or ())]

    def _enter(self, match: Match) -> None:
        """A match is this node's from now on."""
        plan = match.plan
        self._matches[plan.match_id] = match
        for seat in plan.seats:
            if seat.player_id:
                self._of_players.setdefault(seat.player_id, []).append(match)

    def _leave(self, match: Match) -> None:
        """It is over, or another node's."""
        match_id = match.match_id
        if self._matches.get(match_id) is not match:
            return
        del self._matches[match_id]
        for player_id in match.seated():
            others = [one for one in self._of_players[player_id] if one is not match]
            if others:
                self._of_players[player_id] = others
            else:
                del self._of_players[player_id]
        self._uncount(match)

    def _uncount(self, match: Match) -> None:
        for host in match.counted:
            self._counts.leave(host)

    def adopt(
        self,
        plan: MatchPlan,
        placement: Placement,
        since: float,
        hosts: tuple[str, ...] = (),
        has_result: bool = False,
        claimed: Deferred[bool] | None = None,
    ) -> None:
        """
        Go on with a match of an earlier node, which is being played.

        :param placement: where.
        :param since: when it was made, seconds since the Unix epoch.
        :param hosts: one address of its players for each network.
        :param has_result: was a round over?
        :param claimed: fires when it is known whether this node may: if not, it is
            disowned. ``None`` if it may.
        """
        match = Match(plan, since, state="placed", placement=placement)
        match.has_result, match.hosts, match.is_adopted = has_result, hosts, True
        self._enter(match)
        match.counted = tuple(filter(self._counts.enter, hosts))
        in_background(
            self._log,
            self._adopt(match, placement, claimed),
            "match {match_id} was not adopted",
            match_id=plan.match_id,
        )

    async def _adopt(
        self, match: Match, placement: Placement, claimed: Deferred[bool] | None
    ) -> None:
        plan = match.plan
        if claimed is not None and not await claimed:
            return
        # Under the next lease it is known whose it is.
        is_running = await self._while_live(match, lambda: self.own(plan, placement))
        if is_running:
            self.learn_keys(plan.match_id)
        if is_running is False and self._matches.get(plan.match_id) is match:
            # Others have ended it, because no node had it for too long.
            match.has_result = True
            self._fleet.close_room(plan.match_id, "lost")

    async def own(self, plan: MatchPlan, placement: Placement) -> bool:
        """
        Record that this node goes on with a match of another one.

        :returns: ``False`` if it is over.
        :raises LeaseLost: another node may have it by now.
        """
        adopt = self._store.adopt
        return bool(
            await patiently(
                self._clock, lambda: adopt(plan, placement), refusals=(LeaseLost,)
            )
        )

    def disown(self, match_id: str) -> None:
        """Forget a match that another node goes on with; nobody learns an end."""
        match = self._matches.get(match_id)
        if match is None:
            return
        self._leave(match)
        if match.entries:
            for follower in self._followers:
                follower.entries_moved(match.entries)
        self._check_drained()

    async def _find_place(self, match: Match) -> list[MatchFound] | None:
        """
        Find a game server for a match, and send its players there.

        :returns: what each seat was sent; ``None`` if the match got no place, and is
            over.
        """
        plan = match.plan
        try:
            match.hosting = self._fleet.place(
                plan, match.tickets, self, hosts=match.hosts
            )
            placement = await match.hosting
            # From here on nobody can withdraw: the room exists.
            match.hosting = None
            found = await self._send_there(match, placement)
        except Exception as error:
            self._log_unplaced(plan.match_id, error)
            found = None
        else:
            if found is not None:
                return found
        if match.hosting is None:
            # The room exists, but no player was sent to it.
            self._fleet.close_room(plan.match_id, "ended")
        match.hosting = None
        await self._finish(match.unplaced_end(match.unplaced))
        return None

    async def _send_there(
        self, match: Match, placement: Placement
    ) -> list[MatchFound] | None:
        plan = match.plan
        if match.end is not None:
            return None
        tickets = match.tickets
        left = tickets[0].expires_at - self._clock.seconds()
        if left < self._tickets.ticket_seconds / 2:
            # The first tickets may have expired while the match waited for a place.
            tickets = [await self._new_ticket(plan.match_id, t.seat) for t in tickets]
        is_missing = match.is_missing and self._matches.get(match.match_id) is match
        if is_missing and not await self._restore(match):
            return None
        is_running = await self._store.placed(plan.match_id, placement)
        if not is_running or match.end is not None:
            return None
        match.placement = placement
        if match.state == "forming":
            match.state = "placed"
        self._log.info(
            "match {match_id} of {game} is at {host}:{port}",
            match_id=plan.match_id,
            game=plan.game,
            host=placement.address,
            port=placement.port,
        )
        found = self._tickets.found(plan, placement, *tickets)
        for seat, push in zip(plan.seats, found, strict=True):
            # Players who are away get it after their next hello.
            self._online.send((seat.player_id,), push)
        return found

    async def _new_ticket(self, match_id: str, seat: int) -> Ticket:
        """
        Make a ticket for a room that exists.

        :raises NoCapacity: the match is over, or its game server does not answer.
        """
        ticket = self._tickets.ticket(match_id, seat)
        await self._fleet.add_ticket(ticket)
        return ticket

    def _log_unplaced(self, match_id: str, error: Exception) -> None:
        if isinstance(error, VinomError):
            self._bounded.warn(
                "no game server for match {match_id}: {why}",
                match_id=match_id,
                why=str(error),
            )
        elif not isinstance(error, CancelledError):
            self._log.failure("match {match_id} was not placed", match_id=match_id)

    # Coming back, and giving up.

    async def rejoin(self, player_id: str, where: Whereabouts) -> Push | None:
        """
        Find a player's running match, with a new ticket and token.

        :param where: of the player.
        :returns: `MatchFound`; `QueueStatus` "matched" while the match has no
            place or its game server does not answer; ``None`` without a match.
        """
        plan, placement = where.plan, where.placement
        if plan is None:
            return None
        seat = seat_of(plan.seats, player_id)
        if placement is None or seat is None:
            return self._matched(plan, player_id)
        try:
            return await self._way_in(plan, placement, seat)
        except StoreUnavailable:
            raise
        except VinomError as error:
            # Its end is being recorded, and will be sent on this line.
            self._bounded.info(
                "no way back into match {match_id}: {error}",
                match_id=plan.match_id,
                error=error,
                player_id=player_id,
            )
            return QueueStatus("matched", plan.game)

    async def where(self, player_id: str, with_lines: bool = False) -> Whereabouts:
        """
        Find where a player is, at whatever node that is.

        :param with_lines: see `vinom.store.interfaces.ILobbyStore.of_player`.
        :raises StoreUnavailable: it does not answer, or was lost and has not got
            everything back.
        """
        where = await self._store.of_player(player_id, with_lines)
        if where.plan is not None or self._is_complete():
            return where
        end = where.ended
        for match in self._of_players.get(player_id, ()):
            is_over = match.end is not None or (
                end is not None and end.match_id == match.match_id
            )
            if not is_over and player_id in match.players():
                plan, placement = match.plan, match.placement
                return attrs.evolve(where, plan=plan, placement=placement)
        if end is None:
            raise StoreUnavailable("it may not have everything back yet")
        return where

    async def _way_in(self, plan: MatchPlan, placement: Placement, seat: int) -> Push:
        """
        Admit a player to a seat once more, at the node of its match.

        :raises VinomError: that is not possible.
        """
        match_id = plan.match_id
        if match_id not in self._matches and self._others is not None:
            node_id = await self._store.owner(match_id)
            if node_id:
                found = await self._others.ask_way_in(node_id, match_id, seat)
                answer = decode_answer(found)
                if not isinstance(answer, Told):
                    raise PeerError(f"node {node_id} sent no way in")
                return answer.push
        ticket = await self._new_ticket(match_id, seat)
        # It may have gone on elsewhere meanwhile.
        match = self.placed_match(match_id)
        placement = (match and match.placement) or placement
        return self._tickets.found(plan, placement, ticket)[0]

    async def admit(self, match_id: str, seat: int) -> bytes:
        """
        Admit a player, who came to another node, to a match of this one.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or its game server does not answer.
        """
        match = self.placed_match(match_id)
        if match is None or match.placement is None:
            raise NoCapacity("the match is over, or has no place yet")
        if not 0 <= seat < len(match.plan.seats):
            raise NoCapacity(f"the match has no seat {seat}")
        ticket = await self._new_ticket(match_id, seat)
        return encode_push(self._tickets.found(match.plan, match.placement, ticket)[0])

    def withdraw(self, player_id: str) -> bool:
        """
        Withdraw a match that has no place yet; the other players wait again.

        :returns: ``False`` if there is no match to withdraw, or no longer.
        """
        match = self._forming(player_id)
        if match is None:
            return False
        match.withdrawn.add(player_id)
        return match.withdraw("void")

    def is_forming(self, player_id: str) -> bool:
        """Is this player in a match of this node that has no place yet?"""
        return self._forming(player_id) is not None

    def _forming(self, player_id: str) -> Match | None:
        for match in self._of_players.get(player_id, ()):
            if (
                match.hosting is not None
                and match.entries
                and seat_of(match.plan.seats, player_id) is not None
            ):
                return match
        return None

    def owner(self, match_id: str) -> Awaitable[str | None]:
        """
        Find the node of a running match: see
        `vinom.store.interfaces.ILobbyStore.owner`.
        """
        return self._store.owner(match_id)

    # What operators do.

    async def kick(self, match_id: str, player_id: str) -> None:
        """
        Remove a player from its match for good.

        :raises Refused: `NO_SUCH_MATCH` or `NO_SUCH_PLAYER`.
        """
        match = self._find(match_id)
        seat = seat_of(match.plan.seats, player_id)
        if seat is None or match.seat_states.get(seat) == "left":
            raise Refused(Code.NO_SUCH_PLAYER, "this player is not in this match")
        if match.hosting is None:
            self._fleet.kick(match_id, seat)
            match.seat_states[seat] = "left"
            await self._release(match_id, player_id)
        else:
            match.withdrawn.add(player_id)
            match.withdraw("void")
        players = seat_names(match.plan.seats)
        self._online.send(
            (player_id,), MatchEnded(match_id, Code.KICKED.value, players=players)
        )

    async def end(self, match_id: str) -> None:
        """
        End a match.

        :raises Refused: `NO_SUCH_MATCH`.
        """
        if not self._find(match_id).withdraw("ended"):
            self._fleet.close_room(match_id, "ended")

    def count(self) -> int:
        """Count the matches of this node."""
        return len(self._matches)

    def describe(self) -> list[dict[str, Any]]:
        """Describe every match of this node to operators, oldest first."""
        now = self._clock.seconds()
        return [
            match.describe(now)
            | ({"problem": match.delay} if match.delay and match.hosting else {})
            for match in self._matches.values()
        ]

    def status(self) -> dict[str, Any]:
        """Count matches by state, and those that are over by reason."""
        states = {"forming": 0, "placed": 0, "playing": 0}
        for match in self._matches.values():
            states[match.state] += 1
        return {**states, "draining": self.is_draining, "ended": dict(self._ended)}

    def players(self) -> Counter[str]:
        """Count the players who are connected to matches of this node, by game."""
        return Counter(
            match.plan.game
            for match in self._matches.values()
            for state in match.seat_states.values()
            if state in ("joined", "returned")
        )

    def drain(self, *, is_moving: bool = False) -> Deferred[None]:
        """
        Take no new matches; the result comes when no match runs.

        :param is_moving: other nodes go on with the queue.
        """
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if not self.is_draining:
            self.is_draining, self.is_moving = True, is_moving
            for follower in self._followers:
                (follower.moving if is_moving else follower.draining)()
            for match in tuple(self._matches.values()):
                # The entries of a match that is lost before it is placed wait again.
                match.withdraw("lost" if is_moving else "shutdown")
        self._check_drained()
        return drained

    def draining(self) -> Refused:
        """Write why this node takes no new matches."""
        if self.is_moving:
            return Refused(
                Code.BUSY, "this node is stopping; try again", {"retry_after": 0.5}
            )
        return Refused(Code.DRAINING, "this server takes no new matches")

    # Requests of rooms in which matches are played or watched.

    def placed_match(self, match_id: str) -> Match | None:
        """Find a match for which a game server listens."""
        match = self._matches.get(match_id)
        return None if match is None or match.placement is None else match

    def placed_matches(self) -> Iterator[Match]:
        """List all of them, oldest first."""
        matches = (match for match in self._matches.values())
        return (match for match in matches if match.placement is not None)

    def watch(self, match_id: str, watch: IMatchWatch) -> None:
        """Call *watch* about a match until it is over."""
        if (match := self._matches.get(match_id)) is not None:
            match.watches.append(watch)

    def unwatch(self, match_id: str, watch: IMatchWatch) -> None:
        """Stop calling *watch* about a match."""
        match = self._matches.get(match_id)
        if match is not None and watch in match.watches:
            match.watches.remove(watch)

    # What the fleet reports (IMatchWatch).

    def delayed(self, match_id: str, why: str) -> None:
        """No game server can be had at present: its players learn why they wait."""
        match = self._matches.get(match_id)
        if match is not None and match.state == "forming":
            match.delay = why
            for seat in match.plan.seats:
                status = self._matched(match.plan, seat.player_id)
                self._online.send([seat.player_id], status)

    def _matched(self, plan: MatchPlan, player_id: str) -> QueueStatus:
        """Say that a match is being prepared, and what keeps it waiting."""
        match = self._matches.get(plan.match_id)
        if match is None or not match.delay:
            return QueueStatus("matched", plan.game)
        waited = self._clock.seconds() - match.queued_at(player_id)
        return QueueStatus(
            "matched",
            plan.game,
            position=self._place(match),
            waited=round(max(0.0, waited), 3),
            problem=match.delay,
        )

    def _place(self, match: Match) -> int:
        """Count the matches that wait for a game server, up to this one."""
        waiting = (one for one in self._matches.values() if one.delay and one.hosting)
        return 1 + next((at for at, one in enumerate(waiting) if one is match), 0)

    def started(self, match_id: str) -> None:
        match = self._matches.get(match_id)
        # A match that goes on elsewhere reports it again.
        if match is not None and match.state != "playing":
            match.state = "playing"
            for watch in tuple(match.watches):
                watch.started(match_id)

    def resumed(self, match_id: str, placement: Placement) -> None:
        """Another game server goes on with the match: send its players there."""
        match = self._matches.get(match_id)
        if match is None or match.end is not None:
            return
        before, match.placement = match.placement, placement
        in_background(
            self._log,
            self._send_back(match, placement, before != placement),
            "players not sent to where their match goes on",
            match_id=match_id,
        )
        for watch in tuple(match.watches):
            watch.resumed(match_id, placement)

    async def _send_back(
        self, match: Match, placement: Placement, is_elsewhere: bool
    ) -> None:
        """Send each player who has a line a new way in; others find out themselves."""
        plan, online = match.plan, self._online
        match_id = plan.match_id
        if is_elsewhere:
            placed = self._store.placed
            await patiently(self._clock, lambda: placed(match_id, placement))
        for number, seat in enumerate(plan.seats):
            player_id = seat.player_id
            if match.end is not None or not player_id:
                continue
            is_reached = online.is_here(player_id) or online.is_shared
            if is_reached and match.seat_states.get(number) != "left":
                try:
                    ticket = await self._new_ticket(match_id, number)
                except NoCapacity:
                    # It died, too; the next one is reported again.
                    return
                (found,) = self._tickets.found(plan, placement, ticket)
                online.send((player_id,), found)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        """A seat's connection changed; a player who left for good may queue again."""
        match = self._matches.get(match_id)
        if match is None:
            return
        is_left = state in ("left", "vacated")
        match.seat_states[seat] = "left" if is_left else state
        for watch in tuple(match.watches):
            watch.seat_changed(match_id, seat, state)
        if is_left:
            player_id = match.plan.seats[seat].player_id
            in_background(
                self._log,
                self._release(match_id, player_id),
                "seat not released",
                match_id=match_id,
            )

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome; the room may continue."""
        self._log.info(
            "match {match_id}: round over, {outcome}",
            match_id=match_id,
            outcome=outcome,
        )
        if (match := self._matches.get(match_id)) is not None:
            self._note_result(match, outcome)
            for watch in tuple(match.watches):
                watch.round_ended(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        """The room is closed, or its process is gone."""
        if (match := self._matches.get(end.match_id)) is not None:
            if end.outcome is not None and not match.has_result:
                # Its report of the round was lost with its process.
                self._note_result(match, end.outcome)
            for watch in tuple(match.watches):
                watch.ended(end)
        in_background(
            self._log,
            self._finish(end),
            "end of match not recorded",
            match_id=end.match_id,
        )

    def assert_owned(self, with_keys: bool = True) -> None:
        """
        Compare this node's matches with those that the store has for it.

        The store was away: it may have lost everything, or what was written last, which
        this node then writes again; and others may have ended matches of a node that
        was silent for longer than its lease, whose players are free.

        :param with_keys: the store may have lost the keys of their players, too.
        """
        missing = tuple(self._matches.values())
        for match in missing:
            match.is_missing = True
            match.lacks_keys |= with_keys
        for work in (self._end_unknown(), *map(self._keep_restoring, missing)):
            in_background(self._log, work, "a match was not compared with the store")

    async def _end_unknown(self) -> None:
        """End matches once more that the store has, and this node has not."""
        found = await patiently(
            self._clock, lambda: self._store.matches_of("", _MOST_COMPARED)
        )
        for left in found or ():
            match_id = left.plan.match_id
            if match_id in self._matches or match_id in self._starting:
                continue
            end = self._last_ends.get(match_id, MatchEnd(match_id, "lost"))
            await self._record_end(end, () if left.is_placed else left.entry_ids)
            self.lost_elsewhere(attrs.evolve(end, seats=left.plan.seats))

    async def _keep_restoring(self, match: Match) -> None:
        match_id = match.match_id

        def is_wanted() -> bool:
            # Its end restores it itself: see `_finish`.
            is_open = match.is_missing and match.end is None
            return is_open and self._matches.get(match_id) is match

        try:
            is_ours = await patiently(
                self._clock, lambda: self._restore(match), is_wanted, (LeaseLost,)
            )
        except LeaseLost:
            # It is called again when this node has a new lease.
            return
        if is_ours is not False or self._matches.get(match_id) is not match:
            return
        owner = await patiently(self._clock, lambda: self._store.owner(match_id))
        if owner is not None:
            # That node has its game server, too, which this one is about to find out.
            return
        if not match.withdraw("lost"):
            self._fleet.close_room(match_id, "lost")

    async def _restore(self, match: Match) -> bool:
        """
        Record a match anew in a store that has lost it, and its players.

        :returns: ``False`` if others have it, or have ended it.
        :raises StoreUnavailable: the store does not answer.
        """
        players = match.players()
        plan, placement = match.plan, match.placement
        entry_ids = [entry.entry_id for entry in match.entries]
        if not await self._store.restore(plan, placement, players, entry_ids):
            match.is_missing = False
            return False
        # What happened meanwhile may have reached the store before.
        if match.placement is not None and match.placement != placement:
            await self._store.placed(plan.match_id, match.placement)
        for number, how in match.seat_states.items():
            if how == "left":
                await self._store.release(
                    plan.match_id, match.plan.seats[number].player_id
                )
        if match.end is not None:
            await self._end(match.end, match.again)
        if self._players is not None and match.lacks_keys:
            expires_at = self._clock.seconds() + self._key_seconds
            for key_hash, player in match.known:
                await self._players.put(key_hash, player, expires_at, "", "lost")
        # Not sooner: who fails half-way tries all of it again.
        match.is_missing = match.lacks_keys = False
        # They may have been sent that they are in no match, or in another one.
        self._online.look(players)
        return True

    def lost_elsewhere(self, end: MatchEnd) -> None:
        """Send the end of a match that no node has to its players."""
        players = [seat.player_id for seat in end.seats if seat.player_id]
        self._online.send(players, ended_message(end))
        self._online.look(players)

    async def _finish(self, end: MatchEnd) -> None:
        match = self._matches.get(end.match_id)
        if match is None or match.end is not None:
            return
        who = tuple(
            attrs.evolve(seat, loadout=b"{}", claims=b"{}") for seat in match.plan.seats
        )
        end = match.end = attrs.evolve(end, seats=who)
        if self._results is not None and not match.has_result:
            self._results.match_over(match.plan, end.reason)
        is_dropped = self.is_draining and not self.is_moving
        put_back = [] if is_dropped else match.entries_to_put_back(end)
        self._last_ends[end.match_id] = end
        if len(self._last_ends) > _MOST_COMPARED:
            del self._last_ends[next(iter(self._last_ends))]
        match.again = [one.entry_id for one in put_back]
        await self._record_end(end, match.again, match)
        self._leave(match)
        self._ended[end.reason] = self._ended.get(end.reason, 0) + 1
        self._log.info(
            "match {match_id} is over: {reason}",
            match_id=end.match_id,
            reason=end.reason,
        )
        self._online.send(match.players_to_inform(put_back), ended_message(end))
        # Another node may have taken them for its players again.
        elsewhere = [one for one in match.withdrawn if not self._online.is_here(one)]
        self._online.look(elsewhere)
        if match.is_adopted:
            self.freed([seat.player_id for seat in end.seats if seat.player_id])
        over = [entry for entry in match.entries if entry not in put_back]
        for follower in self._followers:
            if put_back:
                follower.put_back(put_back, end.reason != "void")
            if over:
                follower.entries_moved(over)
        self._check_drained()

    def _note_result(self, match: Match, outcome: dict[str, Any]) -> None:
        match.has_result = True
        if self._results is not None:
            self._results.round_over(match.plan, outcome)

    # A player must not stay in a match that is over, or that they left: both are
    # recorded with as many tries as the store needs.

    async def _record_end(
        self, end: MatchEnd, again: Sequence[str] = (), match: Match | None = None
    ) -> None:
        """
        Record an end.

        :param again: ids of entries that wait again.
        :param match: the match, if it was started.
        """

        async def record() -> bool:
            if match is not None and match.is_missing:
                # Or nobody would learn how it ended. Others may have it by now.
                return await self._restore(match)
            return await self._end(end, again)

        await patiently(self._clock, record)

    def _end(self, end: MatchEnd, again: Sequence[str] = ()) -> Deferred[bool]:
        expires_at = self._clock.seconds() + self._memory_seconds
        return self._store.end(end, expires_at, again)

    async def _release(self, match_id: str, player_id: str) -> None:
        release = self._store.release
        await patiently(self._clock, lambda: release(match_id, player_id))
        match = self._matches.get(match_id)
        if match is not None and match.is_adopted:
            self.freed([player_id])
        if match is not None and match.entries:
            for follower in self._followers:
                its = [one for one in match.entries if player_id in one.player_ids]
                follower.entries_moved(its)

    async def _while_live(
        self, match: Match, step: Callable[[], Awaitable[_Result]]
    ) -> _Result | None:
        """Take a step of the store, unless the match ends before that."""
        match_id = match.match_id
        return await patiently(
            self._clock, step, lambda: self._matches.get(match_id) is match
        )

    def _find(self, match_id: str) -> Match:
        match = self._matches.get(match_id)
        if match is None:
            raise Refused(Code.NO_SUCH_MATCH, "no match has this id; it may have ended")
        return match

    def _check_drained(self) -> None:
        if self.is_draining and not self._matches:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)


def ended_message(end: MatchEnd) -> MatchEnded:
    """Write what a player is sent at the end of a match."""
    return MatchEnded(
        end.match_id, end.reason, end.outcome, seat_names(end.seats), end.why
    )


def seat_plans(
    entries: Sequence[QueueEntry],
    teams: int | None = None,
    dealt: Sequence[int] = (),
) -> tuple[SeatPlan, ...]:
    """
    Seat the players of *entries*, the longest wait first.

    :param entries: of the queue.
    :param teams: how many teams; seats are dealt to them in turn.
    :param dealt: the team of each entry, if a rule of matchmaking chose it.
    """
    plans: list[SeatPlan] = []
    for number, entry in enumerate(entries):
        for index, player in enumerate(entry.players):
            loadout = entry.loadouts[index] if index < len(entry.loadouts) else b"{}"
            team = len(plans) % teams if teams else None
            plans.append(
                SeatPlan(
                    player.player_id,
                    player.name,
                    loadout,
                    dealt[number] if dealt else team,
                    player.claims,
                )
            )
    return tuple(plans)
