"""
The fleet finds a game server for every match, and never loses a process.

It stores which game server each match is on, so passing a message on to a match costs
the same for any number of game servers.
"""

from __future__ import annotations

from base64 import b32encode
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, get_args

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.figures import Tally
from vinom.errors import Code, NoCapacity, Refused, StoreUnavailable
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    CookieKeyReport,
    FromRelayed,
    Ready,
    TokenKeys,
    ToRelayed,
)
from vinom.fleet.hosted import (
    KeptCheckpoint,
    MatchRequest,
    Readable,
    Resumable,
    RoomTimeouts,
)
from vinom.fleet.interfaces import IFleet, IMatchWatch
from vinom.fleet.life import Stage
from vinom.fleet.pool import (
    PoolCounts,
    RefillPacing,
    StartPacing,
    WaitingMatches,
    growth,
)
from vinom.fleet.records import (
    MatchCopy,
    MatchRecord,
    Records,
    ServerRecord,
    StoredMatch,
)
from vinom.fleet.server import (
    FleetSettings,
    FleetStatus,
    ServerProcess,
    ServerReports,
    Takeover,
)
from vinom.net.keys.authority import Authority
from vinom.play.hosting.recordings import Recordings

_STAGES: tuple[Stage, ...] = get_args(Stage)


@attrs.define
class _Sharing:
    waited_for: set[str]
    shared: Deferred[None]


class KeySharing:
    """Send keys to game servers, and report when all of them have them."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, timeout: float = 5.0) -> None:
        """
        :param clock: for the timeout.
        :param timeout: how long to wait for a game server, seconds. One that is silent
            for longer hangs, and the fleet kills it.
        """
        self._clock, self._timeout = clock, timeout
        self._number = 0
        self._sharings: dict[int, _Sharing] = {}

    def share(
        self,
        keys: Mapping[str, bytes],
        takers: Mapping[str, Callable[[TokenKeys], None]],
    ) -> Deferred[None]:
        """
        Send the keys; the result comes when every game server has them or is given up.

        :param keys: key id to public key, PEM.
        :param takers: by the game server's id: what sends it a message.
        """
        self._number += 1
        number, message = self._number, TokenKeys(self._number, dict(keys))
        shared: Deferred[None] = Deferred()
        sharing = _Sharing(set(takers), shared)
        self._sharings[number] = sharing
        late = self._clock.callLater(self._timeout, self._give_up, number)

        def settled(_: None) -> None:
            if late.active():
                late.cancel()

        shared.addCallback(settled)
        for send in tuple(takers.values()):
            send(message)
        self._finish()
        return shared

    def taken(self, server_id: str, number: int) -> None:
        """A game server has the keys of this message and of earlier ones."""
        for earlier, sharing in self._sharings.items():
            if earlier <= number:
                sharing.waited_for.discard(server_id)
        self._finish()

    def gone(self, server_id: str) -> None:
        """A game server is gone: stop waiting for it."""
        self.taken(server_id, self._number)

    def _finish(self) -> None:
        for number, sharing in tuple(self._sharings.items()):
            # A callback may begin another sharing, which finishes the rest first.
            if not sharing.waited_for and number in self._sharings:
                del self._sharings[number]
                sharing.shared.callback(None)

    def _give_up(self, number: int) -> None:
        sharing = self._sharings.pop(number)
        self._log.warn(
            "game servers {servers} did not take the token keys in time",
            servers=", ".join(sorted(sharing.waited_for)),
        )
        sharing.shared.callback(None)


class Roster:
    """
    All game servers, in the order of their start, and by stage of their life.

    Every look-up and count costs the same for any number of them.

    :ivar placed: by match: the game server that has it.
    """

    def __init__(self, over: Callable[[str], None]) -> None:
        """
        Begin without game servers.

        :param over: is called with the id of each match that is on none any more.
        """
        self.placed: dict[str, ServerProcess] = {}
        self._over = over
        self._servers: dict[str, ServerProcess] = {}
        # In the order in which they came to that stage.
        self._at: dict[Stage, dict[str, ServerProcess]] = {
            stage: {} for stage in _STAGES
        }
        # Those that listen and can host one more room.
        self._with_room: dict[str, ServerProcess] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[ServerProcess]:
        return iter(self._servers.values())

    def get(self, server_id: str) -> ServerProcess | None:
        """Find one by its id."""
        return self._servers.get(server_id)

    def add(self, server: ServerProcess) -> None:
        """Add a game server."""
        self._servers[server.server_id] = server
        self._at[server.stage][server.server_id] = server

    def moved(self, server: ServerProcess, before: Stage, stage: Stage) -> None:
        """A game server came to another stage of its life."""
        del self._at[before][server.server_id]
        self._at[stage][server.server_id] = server
        if stage == "listening" and server.rooms.spare:
            self._with_room[server.server_id] = server
        else:
            self._with_room.pop(server.server_id, None)

    def remove(self, server: ServerProcess) -> None:
        """Remove a game server that is gone, and the places of its matches."""
        del self._servers[server.server_id]
        del self._at[server.stage][server.server_id]
        for match_id in server.rooms.match_ids:
            self.match_over(server, match_id)

    def took_over(self, server: ServerProcess, takeover: Takeover) -> None:
        """A game server goes on with the matches of one that is gone."""
        for match in takeover.matches:
            self.placed[match.request.plan.match_id] = server

    def host(self, server: ServerProcess, request: MatchRequest) -> None:
        """Give a match to a game server that has room."""
        self.placed[request.plan.match_id] = server
        server.open(request)
        if not server.rooms.spare:
            self._with_room.pop(server.server_id, None)

    def full(self, server: ServerProcess) -> None:
        """It hosts no more matches."""
        self._with_room.pop(server.server_id, None)

    def adopt(self, server: ServerProcess, requests: Sequence[MatchRequest]) -> None:
        """Add a game server that has matches already."""
        self.add(server)
        for request in requests:
            self.placed[request.plan.match_id] = server

    def match_over(self, server: ServerProcess, match_id: str) -> None:
        """Forget that a match is on this game server."""
        # Unless the match was placed again meanwhile.
        if self.placed.get(match_id) is server:
            del self.placed[match_id]
            self._over(match_id)

    # Look-ups.

    def any(self, stage: Stage) -> ServerProcess | None:
        """Find the one that has been at this stage for longest."""
        return next(iter(self._at[stage].values()), None)

    def any_with_room(self) -> ServerProcess | None:
        """Find the oldest that can host one more room; overloaded ones come last."""
        found = self._with_room.values()
        return next((s for s in found if not s.is_overloaded), next(iter(found), None))

    # Counts.

    def by_stage(self) -> dict[str, int]:
        """Count them by stage of their life; stages without any count 0."""
        return {stage: len(servers) for stage, servers in self._at.items()}

    @property
    def coming(self) -> int:
        """Count the matches that servers which are binding a port could host."""
        return sum(
            server.rooms.spare
            for server in self._at["binding"].values()
            if server.takeover is None
        )


#: Game servers that may die with one match before it begins.
MOST_ATTEMPTS = 3

#: How much longer a match waits for a game server to go on with it than one may take
#: to start, seconds.
GOING_ON_SECONDS = 60.0


class CopyOf(Protocol):
    """Make what keeps the copy of a match for other machines, if nodes share one."""

    def __call__(self, match_id: str, fence: int) -> MatchCopy | None:
        """Make it; see `MatchCopy`."""


# How often all game servers are checked, seconds.
_TICK = 1.0
#: How often copies of matches are brought up to date: at most a second is lost.
_STORE_EVERY = 0.8

#: What players of a match are sent for which no game server can be had.
NO_GAME_SERVER = (
    "no game server can be started at present; your match keeps its place, and starts "
    "as soon as one can"
)
ALL_IN_USE = (
    "all game servers are in use; your match keeps its place, and starts when others "
    "have ended"
)


class Fleet(Service):
    """
    Keep warm game servers, give matches to them in order, and watch all of them.

    :ivar is_draining: no new match is taken.
    :ivar is_stopping: the node stops, and all matches end.
    :ivar leaves_matches: unless they are left for a later node.
    :ivar copy_of: see `CopyOf`.
    """

    name = "fleet"
    _log = Logger()

    def __init__(
        self,
        supply: IFleet,
        issuer: Authority,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        settings: FleetSettings,
        rooms: RoomTimeouts,
        now: Callable[[], float] | None = None,
        files: Recordings | None = None,
        records: Records | None = None,
        readable: Readable | None = None,
    ) -> None:
        """
        :param supply: starts and stops game servers, and gives them addresses.
        :param issuer: signs their certificates, and says which token keys are
            accepted.
        :param clock: for ticks.
        :param entropy: called with a number, returns that many random bytes; for ids.
        :param settings: the operator's settings.
        :param rooms: how long rooms may take.
        :param now: seconds on a clock that nobody sets, for timeouts; by default
            *clock* is such a clock.
        :param files: what matches write; ``None``: game servers open their own files.
        :param records: where game servers with matches are written down; ``None``: no
            later node finds them.
        :param readable: as of `move`, for matches of game servers that are asked to end
            from outside; ``None``: they are not moved.
        """
        self._readable = readable
        self._files, self._records = files, records
        self._supply, self._issuer, self._clock = supply, issuer, clock
        self._now = now or clock.seconds
        self._entropy, self._settings, self._room_timeouts = entropy, settings, rooms
        self._waiting = WaitingMatches()
        self._is_known_full = False
        self._went_on = Counter({"died": 0, "moved": 0, "machine": 0})
        # What is left of game servers that are gone: it goes to the next warm ones.
        self._takeovers: deque[Takeover] = deque()
        # By match that goes on soon: what its next game server is asked first; called
        # with none if the match is over.
        self._going_on: dict[str, list[Callable[[ServerProcess | None], None]]] = {}
        # Matches whose copies are being read.
        self._rescued: set[str] = set()
        self._servers = Roster(self._waiting.over)
        self._placed = self._servers.placed
        self._pacing, self._refilling = StartPacing(), RefillPacing()
        # How the last game server ended, if that was before it dialed.
        self._last_end = ""
        self._refill = Timer(self._clock)
        self._keys = KeySharing(clock)
        self._reports = ServerReports(
            listening=self._pacing.worked,
            keys_taken=self._keys.taken,
            match_over=self._servers.match_over,
            full=self._servers.full,
            drains=self._drains,
            gone=self._gone,
            changed=self._pump,
            moved=self._servers.moved,
            took_over=self._took_over,
        )
        self._tally = Tally()
        self._alarm = Timer(self._clock)
        self._drained: list[Deferred[None]] = []
        self._emptied: Deferred[None] | None = None
        self._is_pumping = self._must_pump = False
        self.is_draining = self.is_stopping = self.leaves_matches = False
        self.copy_of: CopyOf = lambda match_id, fence: None
        #: Called to go on from a copy, as `go_on`, which players reach.
        self.resume: Callable[[StoredMatch, MatchCopy, IMatchWatch], None] = self.go_on
        self._storing = Timer(clock)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._tick()
        self._store()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self._stop())

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

        def withdraw(_: Deferred[Placement]) -> None:
            request.placed, request.is_withdrawn = None, True
            if request in self._waiting:
                self._waiting.remove(request)
                self._pump()
            else:
                self.close_room(plan.match_id, "ended")

        placed: Deferred[Placement] = Deferred(withdraw)
        request = MatchRequest(
            plan, tuple(tickets), watch, placed, relay, hosts, is_own=relay is not None
        )
        if relay is None:
            request.copy = self.copy_of(plan.match_id, fence=1)
        self._waiting.add(request)
        self._pump()
        return placed

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake.

        :raises NoCapacity: the match is over, or its game server does not answer.
        """
        server = self._placed.get(ticket.match_id)
        if server is not None and not server.rooms.is_handing_over:
            return server.rooms.add_ticket(ticket)
        if server is None and ticket.match_id not in self._going_on:
            return fail(NoCapacity("the match is over"))
        # Until another game server goes on with it.
        awaited: Deferred[None] = Deferred()
        awaited.addTimeout(self._room_timeouts.ticket, self._clock, _too_late)

        def admit(successor: ServerProcess | None) -> None:
            if awaited.called:
                return
            if successor is None:
                awaited.errback(NoCapacity("the match is over"))
            else:
                successor.rooms.add_ticket(ticket).chainDeferred(awaited)

        self._going_on.setdefault(ticket.match_id, []).append(admit)
        return awaited

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect if the match is over."""
        self._order(match_id, lambda server: server.rooms.kick(match_id, seat))

    def pass_on(self, message: ToRelayed) -> None:
        """
        Send a match what a player of this node did.

        No effect if the match is over.
        """
        if (server := self._placed.get(message.match_id)) is not None:
            server.send(message)

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
        self._order(
            match_id, lambda server: server.rooms.follow(match_id, relay, packed)
        )

    def plays(self, match_id: str) -> bool:
        """Is this match on one of its game servers, or soon?"""
        return match_id in self._placed or match_id in self._going_on

    def expects(self, server_id: str) -> bool:
        """Is this one of its game servers?"""
        return self._servers.get(server_id) is not None

    def has_server(self, name: str) -> bool:
        """Is this the id of one of its game servers, or how its players know it?"""
        return any(name in (one.server_id, one.label) for one in self._servers)

    def is_overloaded(self, match_id: str) -> bool:
        """Did its game server last report that it is overloaded?"""
        server = self._placed.get(match_id)
        return server is not None and server.is_overloaded

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match; no effect if it is over."""
        self._order(match_id, lambda server: server.rooms.close(match_id, reason))

    # Keys.

    def share_token_keys(self) -> Deferred[None]:
        """
        Give the issuer's token keys to all game servers that have older ones.

        The result comes when they accept them. One that does not within 5 s hangs; the
        heartbeat kills it.
        """
        keys = self._issuer.token_keys()
        for server in self._servers:
            server.trust(keys)
        takers = {s.server_id: s.send for s in self._servers if s.has_keys}
        return self._keys.share(keys, takers)

    def renew_certificates(self) -> None:
        """Have the authority that signs now sign for those that wait for a match."""
        for server in self._servers:
            if server.stage in ("warm", "binding"):
                server.renew_certificate()

    def rotate_cookies(self) -> int:
        """
        Have game servers make cookies with new keys.

        :returns: the number of game servers asked.
        """
        bound = [server for server in self._servers if server.has_keys]
        for server in bound:
            server.rotate_cookies()
        return len(bound)

    # For operators.

    def status(self) -> FleetStatus:
        """Count everything."""
        addresses = self._supply.addresses()
        return FleetStatus(
            servers=self._servers.by_stage(),
            ports_free=addresses.free,
            ports_bound=addresses.bound,
            ports_quarantined=addresses.quarantined,
            waiting=len(self._waiting),
            rooms=len(self._placed),
            went_on=dict(self._went_on),
            old_copies=sum(one.rooms.old_copies for one in self._servers),
            is_draining=self.is_draining,
            game_servers={
                server.server_id: server.describe() for server in self._servers
            },
            problem=self.problem,
        )

    @property
    def problem(self) -> str:
        """Why no game server can be started; empty if they can, as far as is known."""
        ports = self._supply.addresses()
        known: str = self._supply.problem
        if known:
            return known
        if self._last_end and self._pacing.has_failed_again:
            return (
                f"game servers end before they are ready, the last one: "
                f"{self._last_end}; the node's log has what they print"
            )
        if ports.quarantined and not (ports.free or ports.bound):
            return (
                "other programs have all UDP ports of game servers: stop those, or set "
                "ports to another range"
            )
        return ""

    def totals(self, *more: Mapping[str, float]) -> dict[str, float]:
        """
        Sum the figures of all game servers, including those that are gone.

        The names are those of `vinom.base.reactor.figures`.

        :param more: what else is counted.
        """
        return self._tally.total([*(one.figures for one in self._servers), *more])

    def cookie_keys(self) -> dict[str, tuple[CookieKeyReport, ...]]:
        """List the cookie keys of each game server, as last reported."""
        return {server.server_id: server.cookie_keys for server in self._servers}

    def drain(self) -> Deferred[None]:
        """Take no new matches; the result comes when none runs."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._refuse("this node takes no new matches")
        self._pump()
        return drained

    def _refuse(self, why: str) -> None:
        self.is_draining = True
        for request in self._waiting.clear():
            request.fail(why)

    async def _stop(self) -> None:
        self.is_stopping = True
        self._refuse("this node is stopping")
        for takeover in self._takeovers:
            if takeover.label or not self.leaves_matches:
                self._end_takeover(takeover, "shutdown")
        self._takeovers.clear()
        if self._servers:
            emptied: Deferred[None] = Deferred()
            emptied.addTimeout(
                self._settings.stop_seconds,
                self._clock,
                onTimeoutCancel=lambda *_: None,
            )
            self._emptied = emptied
            for server in tuple(self._servers):
                if self.leaves_matches and server.let_go():
                    self._let_go(server)
                else:
                    server.leave()
            if not self._servers and not emptied.called:
                emptied.callback(None)
            await emptied
            self._emptied = None
        await self._supply.close()
        for server in tuple(self._servers):
            # Its process is gone; what its link still held is lost.
            server.cut()
        for timer in (self._alarm, self._refill, self._storing):
            timer.cancel()

    # Game servers of an earlier node.

    def adopt(self, record: ServerRecord, watch: IMatchWatch) -> bool:
        """
        Go on with a game server that an earlier node started, and with its matches.

        :param record: what that node has written down.
        :param watch: receives what happens to its matches.
        :returns: ``False`` if its process is gone; its record is removed then.
        """
        requests = [self._adopted(one, watch) for one in record.matches]
        server = self._make(record.server_id)
        # Before: it may be gone as soon as it is adopted.
        self._servers.adopt(server, requests)
        if server.adopt(record, requests):
            return True
        self._let_go(server)
        for one in record.matches:
            if self._files is not None:
                self._files.take_back(one.plan.match_id)
        if self._records is not None:
            self._records.forget(record.server_id)
        return False

    def _adopted(self, one: MatchRecord, watch: IMatchWatch) -> MatchRequest:
        request = MatchRequest(one.plan, (), watch, hosts=one.hosts, attempts=1)
        request.copy = self.copy_of(one.plan.match_id, fence=0)
        request.rescue = partial(self._rescue, request)
        return request

    def lose(self, one: MatchRecord, watch: IMatchWatch) -> None:
        """Go on, from its copy, with a match whose game server is gone; or end it."""
        end = MatchEnd(one.plan.match_id, "lost")
        if not self._rescue(self._adopted(one, watch), end):
            watch.ended(end)

    def _rescue(self, request: MatchRequest, end: MatchEnd) -> bool:
        if request.copy is None or self.is_stopping:
            return False
        self._going_on.setdefault(end.match_id, [])
        self._rescued.add(end.match_id)
        work = self._go_on_from_copy(request, request.copy, end)
        in_background(self._log, work, "a match does not go on from its copy")
        return True

    async def _go_on_from_copy(
        self, request: MatchRequest, copy: MatchCopy, end: MatchEnd
    ) -> None:
        match, give_up = None, self._now() + GOING_ON_SECONDS
        while not self.is_stopping and self._now() < give_up:
            try:
                match = await copy.read()
                break
            except (NoCapacity, StoreUnavailable):
                # The node that had it may still have its lease.
                await deferLater(self._clock, _TICK)
        self._rescued.discard(end.match_id)
        if self.is_stopping:
            # The next node goes on with it.
            return
        if match is not None and not request.closing:
            self.resume(match, copy, request.watch)
            for seat in request.kicked:
                self.kick(end.match_id, seat)
            return
        copy.over()
        for ask in self._going_on.pop(end.match_id, ()):
            ask(None)
        request.watch.ended(end)

    def go_on(self, match: StoredMatch, copy: MatchCopy, watch: IMatchWatch) -> None:
        """
        Go on with a match whose machine is gone, from its copy.

        :param copy: that was read.
        :param watch: receives what happens to it.
        """
        plan, hosts = match.record.plan, match.record.hosts
        request = MatchRequest(plan, (), watch, hosts=hosts, attempts=1)
        request.kept, request.copy = KeptCheckpoint.of(match), copy
        left = match.ends_at - self._clock.seconds()
        one = Resumable(request, (), match.is_played, left, self._now())
        self._takeovers.append(Takeover("", None, None, (one,)))
        self._going_on.setdefault(plan.match_id, [])
        self._pump()

    @property
    def has_address(self) -> bool:
        """Is there an address for one more match?"""
        waiting = sum(one.where is None for one in self._takeovers)
        return self._supply.addresses().free > waiting + len(self._waiting)

    def take_away(self, match_id: str) -> None:
        """Another node has gone on with a match of this one: end it without a word."""
        server = self._placed.get(match_id)
        if server is not None and server.rooms.take_away(match_id):
            server.kill()

    def kill(self, match_id: str) -> None:
        """Kill the game server of a match, which goes on elsewhere, if it can."""
        if (server := self._placed.get(match_id)) is not None:
            server.kill()

    def has_link(self, server_id: str) -> bool:
        """Does this game server play with a link to this node?"""
        server = self._servers.get(server_id)
        return server is not None and server.stage != "away"

    def give_up(self, server_id: str) -> tuple[str, ...]:
        """
        Another node goes on with a game server: leave it alone.

        :returns: its matches; nobody is called about them any more.
        """
        server = self._servers.get(server_id)
        if server is None:
            return ()
        server.give_up()
        match_ids = server.rooms.match_ids
        self._let_go(server)
        self._pump()
        return match_ids

    def _let_go(self, server: ServerProcess) -> None:
        self._servers.remove(server)
        self._keys.gone(server.server_id)
        for match_id in [m for m, s in self._placed.items() if s is server]:
            del self._placed[match_id]

    # What game servers report.

    def arrived(self, ready: Ready, link: ControlLink) -> ServerProcess | None:
        """
        Find the game server whose link this is (`vinom.fleet.control.link.Arrived`).

        :returns: ``None`` if there is none: the link is closed.
        """
        server = self._servers.get(ready.server_id)
        if server is None:
            self._log.info(
                "no game server {server} is expected; its link is closed",
                server=ready.server_id,
            )
            return None
        if ready.protocol != CONTROL_PROTOCOL:
            self._log.error(
                "game server {server} speaks control protocol {theirs}, not {ours}",
                server=ready.server_id,
                theirs=ready.protocol,
                ours=CONTROL_PROTOCOL,
            )
            server.leave()
            return None
        if not server.arrived(ready, link):
            return None
        self._last_end = ""
        return server

    def _gone(self, server: ServerProcess) -> None:
        """A game server is gone."""
        if server.was_ours is not None:
            # Another node may have gone on with it, or with its matches.
            was_ours, server.was_ours = server.was_ours, None
            was_ours.addCallback(
                lambda is_ours: self._gone(server) if is_ours else None
            )
            return
        self._servers.remove(server)
        self._keys.gone(server.server_id)
        self._tally.retire(server.figures)
        if not server.has_listened and not server.was_asked_to_leave:
            self._pacing.failed(self._now())
            if not server.has_dialed:
                self._last_end = server.end
        match_ids = server.all_matches
        displaced, takeover = server.end_matches(
            "shutdown" if self.is_stopping else None
        )
        for request in reversed(displaced):
            self._place_again(request)
        going_on = set()
        if takeover is not None:
            self._takeovers.append(takeover)
            going_on = {one.request.plan.match_id for one in takeover.matches}
            for match_id in going_on:
                self._going_on.setdefault(match_id, [])
        for match_id in match_ids - going_on:
            for ask in self._going_on.pop(match_id, ()):
                ask(None)
        if self._emptied is not None and not self._servers:
            self._emptied.callback(None)

    def _took_over(self, server: ServerProcess, takeover: Takeover) -> None:
        """A game server goes on with the matches of another one."""
        self._servers.took_over(server, takeover)
        why = "moved" if takeover.is_moved else "died" if takeover.label else "machine"
        self._went_on[why] += len(takeover.matches)
        for match in takeover.matches:
            for ask in self._going_on.pop(match.request.plan.match_id, ()):
                # After the order to open the room, which follows.
                self._clock.callLater(0, ask, server)

    def _order(self, match_id: str, order: Callable[[ServerProcess], None]) -> None:
        """Order something about a match now, or when it goes on; else it is over."""
        server = self._placed.get(match_id)
        if server is not None:
            order(server)
        elif match_id in self._going_on:
            self._going_on[match_id].append(
                lambda successor: None if successor is None else order(successor)
            )

    def move(self, server_id: str, readable: Readable) -> None:
        """
        Have another game server go on with the matches of this one.

        :param server_id: its id, or the label that its players know it by.
        :param readable: returns why nobody here can read a checkpoint of a match.
        :raises Refused: there is none, or its matches cannot go on elsewhere.
        """
        for server in self._servers:
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

    def _drains(self, server: ServerProcess, is_last: bool) -> None:
        """A game server is to end soon: its matches go on elsewhere, if they can."""
        if self._readable is None:
            return
        if is_last:
            server.move_what_can(self._readable)
            return
        why = server.move(self._readable)
        if why:
            self._log.warn(
                "matches of game server {server} are played there until it ends: {why}",
                server=server.server_id,
                why=why,
            )

    def _end_takeover(self, takeover: Takeover, verdict: str, why: str = "") -> None:
        """End matches that no game server goes on with."""
        takeover.end(verdict, self._supply, why)
        for match in takeover.matches:
            for ask in self._going_on.pop(match.request.plan.match_id, ()):
                ask(None)

    def _end_late(self) -> None:
        """End matches that have waited for too long: their players wait, too."""
        late = self._now() - self._settings.timeouts.start - GOING_ON_SECONDS
        for takeover in tuple(self._takeovers):
            if min(match.since for match in takeover.matches) <= late:
                self._takeovers.remove(takeover)
                for match in takeover.matches:
                    self._log.error(
                        "match {match_id} is lost: no game server could be started "
                        "that goes on with it",
                        match_id=match.request.plan.match_id,
                    )
                self._end_takeover(
                    takeover,
                    "lost",
                    "no game process could be started to go on with it",
                )

    def _place_again(self, request: MatchRequest) -> None:
        if request.is_withdrawn:
            return
        if self.is_draining:
            request.fail("this node takes no new matches")
        elif request.attempts >= MOST_ATTEMPTS:
            self._log.error(
                "match {match_id} failed: {count} game servers died before it began",
                match_id=request.plan.match_id,
                count=request.attempts,
            )
            request.fail("its game servers died")
        else:
            # If it has to wait again its players learn it again.
            request.is_delayed = False
            self._waiting.add_first(request)

    # The work.

    def _tick(self) -> None:
        self._alarm.start(_TICK, self._tick)
        for server in tuple(self._servers):
            server.tick()
        self._end_late()
        self._pump()
        if self._waiting and self.problem:
            self._report_delays(NO_GAME_SERVER)
        elif self._is_full():
            self._report_delays(ALL_IN_USE)
        else:
            self._is_known_full = False

    def _store(self) -> None:
        """Bring the copies of all matches up to date."""
        self._storing.start(_STORE_EVERY, self._store)
        for server in self._servers:
            server.store()

    def write_copies(self) -> None:
        """Write the copies of all matches again."""
        for server in self._servers:
            server.rooms.forget_copies()
        self._store()

    def _is_full(self) -> bool:
        """Do matches wait for others to end?"""
        counts = self._counts()
        is_full = not counts.addresses or counts.total >= self._settings.policy.most
        return counts.waiting > 0 and is_full and not counts.starting

    def _report_delays(self, why: str) -> None:
        """Let players know why they wait, once."""
        if why is ALL_IN_USE and not self._is_known_full:
            self._is_known_full = True
            self._log.warn(
                "{count} matches wait for others to end: {why}",
                count=len(self._waiting),
                why=f"there are {self._settings.policy.most} game servers (max_servers)"
                if self._supply.addresses().free
                else "all ports are in use: set more ports",
            )
        for request in tuple(self._waiting):
            if not request.is_delayed:
                request.is_delayed = True
                try:
                    request.watch.delayed(request.plan.match_id, why)
                except Exception:
                    self._log.failure(
                        "failed to handle a report about match {match_id}",
                        match_id=request.plan.match_id,
                    )

    def _pump(self) -> None:
        """Do what can be done now; each step may request another pass."""
        self._must_pump = True
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._must_pump:
                self._must_pump = False
                if self._takeovers:
                    self._assign_takeovers()
                self._give_places()
                self._resize()
        finally:
            self._is_pumping = False
        if self.is_draining and not self.has_matches:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    @property
    def has_matches(self) -> bool:
        """Does any match have a game server, or go on soon at another?"""
        return bool(self._placed or self._takeovers or self._rescued) or any(
            server.takeover is not None for server in self._servers
        )

    def _assign_takeovers(self) -> None:
        """Have warm game servers go on with the matches of those that are gone."""
        while self._takeovers and (successor := self._servers.any("warm")) is not None:
            if self._takeovers[0].where is None and not self._supply.addresses().free:
                # Those with an address of their own need not wait for others to end.
                self._takeovers.rotate(-1)
                if not any(one.where for one in self._takeovers):
                    return
                continue
            self._refilling.taken(self._now())
            successor.take_over(self._takeovers.popleft())

    def _give_places(self) -> None:
        while self._waiting:
            server = self._servers.any_with_room()
            if server is None or server.is_overloaded:
                if self._servers.coming >= len(self._waiting):
                    return
                warm = self._servers.any("warm")
                if warm is not None and self._supply.addresses().free:
                    self._refilling.taken(self._now())
                    warm.need()
                    continue
                if server is None:
                    return
                # No other game server has room; it asks its players to come later.
            self._refilling.taken(self._now())
            self._servers.host(server, self._waiting.take(self._now()))

    def _resize(self) -> None:
        # A match that is to go on needs a warm one, even while no new match is taken.
        if not self.running or (self.is_draining and not self._takeovers):
            for server in tuple(self._servers):
                if server.stage != "leaving" and not server.is_needed:
                    server.leave()
            return
        counts = self._counts()
        count = growth(self._settings.policy, counts)
        if self._last_end and not (counts.total or count):
            # Nobody may be sent here until one comes up: find out when that is.
            count = 1
        if count > 0 and self._may_start(counts):
            for _ in range(count):
                self._start()
        for _ in range(-count):
            if (idle := self._servers.any("warm")) is not None:
                idle.leave()

    def _may_start(self, counts: PoolCounts) -> bool:
        now, begins_at = self._now(), self._refilling.begins_at
        if counts.waiting or now >= begins_at:
            return self._pacing.may_start(now)
        self._refill.ensure(begins_at - now, self._pump)
        return False

    def _start(self) -> None:
        # 80 random bits: a label inside the realm, and its name on its link.
        server = self._make(b32encode(self._entropy(10)).decode("ascii").lower())
        self._servers.add(server)
        server.start()

    def _make(self, server_id: str) -> ServerProcess:
        return ServerProcess(
            server_id,
            self._supply,
            self._issuer,
            self._settings,
            self._room_timeouts,
            self._reports,
            self._clock,
            self._now,
            self._files,
            self._records,
        )

    def _counts(self) -> PoolCounts:
        stages = self._servers.by_stage()
        return PoolCounts(
            starting=stages["starting"],
            warm=stages["warm"],
            total=sum(stages.values()),
            waiting=max(0, len(self._waiting) - self._servers.coming)
            + len(self._takeovers) * self._settings.policy.rooms_per_process,
            addresses=self._supply.addresses().free
            + sum(one.where is not None for one in self._takeovers),
        )


def _too_late(_: object, seconds: float) -> None:
    raise NoCapacity(f"no game server went on with the match within {seconds} s")
