"""
The fleet finds a game server for every match, and never loses a match or a process.

Each program has a pool of game servers: games in Python share one, and a game with a
command of its own has its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.figures import Tally
from vinom.errors import Code, NoCapacity, Refused, StoreUnavailable
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import (
    CookieKeyReport,
    FromRelayed,
    Ready,
    ToRelayed,
)
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.match import Readable, RunningMatch
from vinom.fleet.pool import GOING_ON_SECONDS, Pool, PoolMeans
from vinom.fleet.records import MatchCopy, MatchRecord, ServerRecord, StoredMatch
from vinom.fleet.server import FleetStatus, Program, ServerProcess


class CopyOf(Protocol):
    """Make what keeps the copy of a match for other machines, if nodes share one."""

    def __call__(self, match_id: str, fence: int) -> MatchCopy | None:
        """Make it; see `MatchCopy`."""


#: How long new token keys wait for a game server that does not answer, seconds.
_KEYS_SECONDS = 5.0
# How often all game servers are checked, seconds.
_TICK = 1.0
#: How often copies of matches are brought up to date: at most a second is lost.
_STORE_EVERY = 0.8


class Continuity:
    """
    Matches that this node did not begin, and copies of its own for other machines.

    :ivar copy_of: see `CopyOf`.
    :ivar resume: called to go on from a copy, as `go_on`, which players reach.
    """

    _log = Logger()

    def __init__(self, fleet: Fleet, pool: Pool, means: PoolMeans) -> None:
        """
        :param fleet: whose matches they become.
        :param pool: the game servers of games in Python; others do not outlive a node.
        :param means: what all game servers need.
        """
        self._fleet, self._pool = fleet, pool
        self._clock, self._now = means.clock, means.now
        self._storing = Timer(means.clock)
        self.copy_of: CopyOf = lambda match_id, fence: None
        self.resume: Callable[[StoredMatch, MatchCopy, IMatchWatch], None] = self.go_on

    def stop(self) -> None:
        """Write no more copies."""
        self._storing.cancel()

    def adopt(self, record: ServerRecord, watch: IMatchWatch) -> bool:
        """
        Go on with a game server that an earlier node started, and with its matches.

        :param record: what that node has written down.
        :param watch: receives what happens to its matches.
        :returns: ``False`` if its process is gone; its record is removed then.
        """
        matches = {
            one.plan.match_id: self._adopted(one, watch) for one in record.matches
        }
        self._fleet.matches.update(matches)
        return self._pool.adopt(record, matches)

    def _adopted(self, one: MatchRecord, watch: IMatchWatch) -> RunningMatch:
        means = self._pool.means
        match = RunningMatch.make(means, one.plan, watch, hosts=one.hosts)
        match.copy = self.copy_of(match.match_id, fence=0)
        return match

    def lose(self, one: MatchRecord, watch: IMatchWatch) -> None:
        """Go on, from its copy, with a match whose game server is gone; or end it."""
        self._adopted(one, watch).end("lost")

    def rescue(self, match: RunningMatch, end: MatchEnd) -> bool:
        """Go on, from its copy, with a match about which nothing is known here."""
        # Of one that began here nothing is in the store.
        if match.copy is None or match.copy.fence or self._fleet.is_stopping:
            return False
        self._fleet.matches[match.match_id] = match
        work = self._go_on_from_copy(match, match.copy, end)
        in_background(self._log, work, "a match does not go on from its copy")
        return True

    async def _go_on_from_copy(
        self, match: RunningMatch, copy: MatchCopy, end: MatchEnd
    ) -> None:
        stored, give_up = None, self._now() + GOING_ON_SECONDS
        while not self._fleet.is_stopping and self._now() < give_up:
            try:
                stored = await copy.read()
                break
            except (NoCapacity, StoreUnavailable):
                # The node that had it may still have its lease.
                await deferLater(self._clock, _TICK)
        if self._fleet.is_stopping:
            # The next node goes on with it.
            return
        if stored is None or match.closing:
            match.copy = None
            copy.over()
            match.ended(end)
        else:
            self.resume(stored, copy, match.watch)
        self._fleet.settled()

    def go_on(self, stored: StoredMatch, copy: MatchCopy, watch: IMatchWatch) -> None:
        """
        Go on with a match whose machine is gone, from its copy.

        :param copy: that was read.
        :param watch: receives what happens to it.
        """
        match = self._fleet.matches.get(stored.record.plan.match_id)
        if match is None or match.server is not None or match.is_withdrawn:
            match = self._adopted(stored.record, watch)
            self._fleet.matches[match.match_id] = match
        match.watch = watch
        match.go_on(stored, copy)
        self._pool.go_on(match)

    @property
    def has_address(self) -> bool:
        """Is there an address for one more match?"""
        return self._pool.has_address

    def take_away(self, match_id: str) -> None:
        """Another node has gone on with a match of this one: end it without a word."""
        match = self._fleet.matches.get(match_id)
        if match is not None and match.server is not None:
            match.server.drop(match)

    def kill(self, match_id: str) -> None:
        """Kill the game server of a match, which goes on elsewhere, if it can."""
        match = self._fleet.matches.get(match_id)
        if match is not None and match.server is not None:
            match.server.kill()

    def has_link(self, server_id: str) -> bool:
        """Does this game server play with a link to this node?"""
        server = self._pool.servers.get(server_id)
        return server is not None and server.stage != "away"

    def give_up(self, server_id: str) -> tuple[str, ...]:
        """
        Another node goes on with a game server: leave it alone.

        :returns: its matches; nobody is called about them any more.
        """
        server = self._pool.servers.get(server_id)
        if server is None:
            return ()
        server.give_up()
        match_ids = server.rooms.match_ids
        self._pool.let_go(server)
        self._pool.pump()
        return match_ids

    def write_copies(self) -> None:
        """Write the copies of all matches again: the store may have lost them."""
        for match in self._fleet.matches.values():
            if match.copy is not None:
                match.copy.number = 0
        self.store()

    def store(self) -> None:
        """Bring the copies of all matches up to date."""
        self._storing.start(_STORE_EVERY, self.store)
        for server in self._pool.servers:
            server.store()


class Fleet(Service):
    """
    All matches of this node that are played in game servers, and those game servers.

    :ivar is_draining: no new match is taken.
    :ivar is_stopping: the node stops, and all matches end.
    :ivar leaves_matches: unless they are left for a later node.
    :ivar matches: by their ids.
    :ivar continuity: of matches that other nodes began.
    """

    name = "fleet"
    _log = Logger()

    def __init__(
        self,
        means: PoolMeans,
        common: Program,
        own: Mapping[str, Program] | None = None,
    ) -> None:
        """
        :param means: what all game servers need.
        :param common: the program of all games in Python.
        :param own: those of other games, by name. Such a game server opens its own
            files, and does not outlive the node.
        """
        self._means, self._clock = means, means.clock
        self.matches: dict[str, RunningMatch] = {}
        self._tally = Tally()
        self._common = Pool(common, means, self)
        self._own = {name: Pool(one, means, self) for name, one in (own or {}).items()}
        self._pools = (self._common, *self._own.values())
        self._alarm = Timer(self._clock)
        self._drained: list[Deferred[None]] = []
        self.is_draining = self.is_stopping = self.leaves_matches = False
        self._is_settling = False
        self.continuity = Continuity(self, self._common, means)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        for pool in self._pools:
            pool.is_running = True
        self._tick()
        self.continuity.store()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self.is_draining = self.is_stopping = True
        stopping = [
            Deferred.fromCoroutine(pool.stop(self.leaves_matches))
            for pool in self._pools
        ]

        def stopped(_: object) -> None:
            self._alarm.cancel()
            self.continuity.stop()

        return gatherResults(stopping).addCallback(stopped)

    def _servers(self) -> Iterator[ServerProcess]:
        return (server for pool in self._pools for server in pool.servers)

    def _pool(self, game: str) -> Pool:
        return self._own.get(game, self._common)

    # Matches.

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """
        Find a listening game server for a match; see `WaitingMatches` for the order.

        Cancelling withdraws the match; *watch* is then no longer called.

        :param plan: what is played.
        :param tickets: admit its players' handshakes.
        :param watch: receives what happens to it.
        :param relay: receives what players of this node are shown, in a room of this
            node's own: see `pass_on`.
        :param hosts: the addresses of its players, as far as they are known.
        :raises NoCapacity: it gets no game server. If a game server
            reported why, ``watch.ended`` was called before.
        """
        if self.is_draining:
            return fail(NoCapacity("this node takes no new matches"))
        pool = self._pool(plan.game)
        match = RunningMatch.make(pool.means, plan, watch, tickets, hosts)
        placed = match.placed = Deferred(lambda _: pool.withdraw(match))
        match.relay, match.is_own = relay, relay is not None
        if relay is None and pool is self._common:
            match.copy = self.continuity.copy_of(plan.match_id, fence=1)
        self.matches[plan.match_id] = match
        pool.add(match)
        return placed

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake.

        :raises NoCapacity: the match is over, or its game server does not answer.
        """
        match = self.matches.get(ticket.match_id)
        if match is None:
            return fail(NoCapacity("the match is over"))
        return match.add_ticket(ticket)

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect if the match is over."""
        if (match := self.matches.get(match_id)) is not None:
            match.kick(seat)

    def pass_on(self, message: ToRelayed) -> None:
        """
        Send a match what a player of this node did.

        No effect if the match is over.
        """
        if (match := self.matches.get(message.match_id)) is not None:
            match.send(message)

    def follow(
        self,
        match_id: str,
        relay: Callable[[FromRelayed], None] | None,
        packed: bool = False,
    ) -> None:
        """
        Receive what players of this node are shown in a running match.

        :param relay: as in `place`; ``None`` to stop.
        :param packed: in MessagePack, as players over UDP are; else in JSON.
        """
        if (match := self.matches.get(match_id)) is not None:
            match.follow(relay, packed)

    def is_overloaded(self, match_id: str) -> bool:
        """Did its game server last report that it is overloaded?"""
        match = self.matches.get(match_id)
        server = None if match is None else match.server
        return server is not None and server.is_overloaded

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match; no effect if it is over."""
        if (match := self.matches.get(match_id)) is not None:
            match.close(reason)

    # Keys.

    def share_token_keys(self) -> Deferred[None]:
        """
        Give the issuer's token keys to all game servers that have older ones.

        The result comes when they accept them. One that does not within 5 s hangs; the
        heartbeat kills it.
        """
        keys = self._means.issuer.token_keys()
        awaited = {one.server_id for one in self._servers()}

        def taken(_: None, server_id: str) -> None:
            awaited.discard(server_id)

        def late(*_: object) -> None:
            self._log.warn(
                "game servers {servers} did not take the token keys in time",
                servers=", ".join(sorted(awaited)),
            )

        sent = [
            server.trust(keys).addCallback(taken, server.server_id)
            for server in self._servers()
        ]
        shared = gatherResults(sent, consumeErrors=True)
        shared.addTimeout(_KEYS_SECONDS, self._clock, late)
        return shared.addCallback(lambda _: None)

    def renew_certificates(self) -> None:
        """Have the authority that signs now sign for those that wait for a match."""
        for server in self._servers():
            server.renew_certificate()

    def rotate_cookies(self) -> int:
        """
        Have game servers make cookies with new keys.

        :returns: the number of game servers asked.
        """
        return sum([server.rotate_cookies() for server in self._servers()])

    def cookie_keys(self) -> dict[str, tuple[CookieKeyReport, ...]]:
        """List the cookie keys of each game server, as last reported."""
        return {server.server_id: server.cookie_keys for server in self._servers()}

    # For operators.

    def status(self) -> FleetStatus:
        """Count everything; all programs share the addresses."""
        addresses, matches = self._common.supply.addresses(), self.matches.values()
        idle = sum(one.servers.idle for one in self._sharing(self._common))
        stages = sum((Counter(p.servers.by_stage()) for p in self._pools), Counter())
        return FleetStatus(
            servers={stage: stages[stage] for stage in self._common.servers.by_stage()},
            # Matches can have those of idle ones.
            ports_free=addresses.free + idle,
            ports_bound=addresses.bound - idle,
            ports_quarantined=addresses.quarantined,
            waiting=sum(len(pool.waiting) for pool in self._pools),
            rooms=sum(one.server is not None for one in matches),
            went_on={
                why: sum(pool.went_on[why] for pool in self._pools)
                for why in self._common.went_on
            },
            old_copies=sum(one.copy is not None and one.copy.is_old for one in matches),
            is_draining=self.is_draining,
            game_servers={one.server_id: one.describe() for one in self._servers()},
            ready=any(
                one.servers.ready(one.supply.addresses().free) for one in self._pools
            ),
            problem=self.problem,
        )

    @property
    def problem(self) -> str:
        """Why no game server of some game can be started; empty if they can."""
        return next((pool.problem for pool in self._pools if pool.problem), "")

    def totals(self, *more: Mapping[str, float]) -> dict[str, float]:
        """
        Sum the figures of all game servers, including those that are gone.

        The names are those of `vinom.base.reactor.figures`.

        :param more: what else is counted.
        """
        return self._tally.total([*(one.figures for one in self._servers()), *more])

    def drain(self) -> Deferred[None]:
        """Take no new matches; the result comes when none runs."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self.is_draining = True
        for pool in self._pools:
            pool.drain("this node takes no new matches")
        return drained

    def move(self, server_id: str, readable: Readable) -> None:
        """
        Have another game server go on with the matches of this one.

        :param server_id: its id, or the label that its players know it by.
        :param readable: returns why nobody here can read a checkpoint of a match.
        :raises Refused: there is none, or its matches cannot go on elsewhere.
        """
        for server in self._servers():
            if server_id in (server.server_id, server.label):
                why = server.move(readable)
                break
        else:
            raise Refused(
                Code.BAD_FIELD,
                f"no game server is called {server_id!r}; vinom servers lists them",
                {"field": "server"},
            )
        if why:
            raise Refused(
                Code.UNAVAILABLE, f"game server {server_id} is not moved: {why}"
            )

    def _tick(self) -> None:
        self._alarm.start(_TICK, self._tick)
        for pool in self._pools:
            pool.tick()

    # What pools report (`vinom.fleet.pool.PoolWatch`).

    def may_bind_ahead(self, pool: Pool) -> bool:
        ports, pools = pool.supply.addresses(), self._sharing(pool)
        most = (ports.free + ports.bound + ports.quarantined) // 2
        ahead = sum(one.servers.ahead for one in pools)
        is_wanted = any(one.is_short for one in pools)
        return ports.free > 0 and ahead < most and not is_wanted

    def _sharing(self, pool: Pool) -> list[Pool]:
        """Which pools have the same addresses?"""
        shared = pool.supply.addresses
        return [one for one in self._pools if one.supply.addresses == shared]

    def server_gone(self, server: ServerProcess) -> None:
        self._tally.retire(server.figures)

    def rescue(self, match: RunningMatch, end: MatchEnd) -> bool:
        return self.continuity.rescue(match, end)

    def over(self, match: RunningMatch) -> None:
        # Unless it goes on here.
        if self.matches.get(match.match_id) is match:
            del self.matches[match.match_id]

    def settled(self) -> None:
        if len(self._pools) > 1 and not self._is_settling:
            self._is_settling = True
            self._share_ports()
            self._is_settling = False
        if self.is_draining and not self.matches:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _share_ports(self) -> None:
        """Ports that one program leaves are for matches of the others that wait."""
        for short in [pool for pool in self._pools if pool.is_short]:
            pools = self._sharing(short)
            short.pump()
            missing = len(short.waiting) - short.supply.addresses().free
            missing -= sum(one.servers.by_stage()["leaving"] for one in pools)
            for pool in pools:
                idle = None if pool.is_short else pool.servers.any_idle()
                if missing > 0 and idle is not None:
                    idle.leave()
                    missing -= 1

    def arrived(self, ready: Ready, link: ControlLink) -> ServerProcess | None:
        """
        Find the game server whose link this is (`vinom.fleet.control.link.Arrived`).

        :returns: ``None`` if there is none: the link is closed.
        """
        for pool in self._pools:
            if (server := pool.servers.get(ready.server_id)) is not None:
                return pool.arrived(server, ready, link)
        self._log.info(
            "no game server {server} is expected; its link is closed",
            server=ready.server_id,
        )
        return None
