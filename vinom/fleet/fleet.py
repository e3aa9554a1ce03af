"""
The fleet finds a game server for every match, and never loses a process.

It stores which game server each match is on, so passing a message on to a match costs
the same for any number of game servers.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.control.link import ControlLink
from vinom.control.messages import (
    CONTROL_PROTOCOL,
    CookieKeyReport,
    FromRelayed,
    Ready,
    ToRelayed,
)
from vinom.errors import NoCapacity
from vinom.fleet.hosted import MatchFiles, MatchRequest, RoomTimeouts
from vinom.fleet.key_sharing import KeySharing
from vinom.fleet.life import Stage
from vinom.fleet.pool import PoolCounts, StartPacing, growth
from vinom.fleet.server import (
    FleetSettings,
    FleetStatus,
    GameServer,
    Issuer,
    ServerReports,
)
from vinom.fleet.waiting import WaitingMatches
from vinom.model import MatchPlan, Placement, Ticket
from vinom.ports import IFleet, IMatchWatch
from vinom.reactor.figures import Tally

_STAGES: tuple[Stage, ...] = get_args(Stage)


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
        self.placed: dict[str, GameServer] = {}
        self._over = over
        self._servers: dict[str, GameServer] = {}
        # In the order in which they came to that stage.
        self._at: dict[Stage, dict[str, GameServer]] = {stage: {} for stage in _STAGES}
        # Those that listen and can host one more room.
        self._with_room: dict[str, GameServer] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[GameServer]:
        return iter(self._servers.values())

    def get(self, server_id: str) -> GameServer | None:
        """Find one by its id."""
        return self._servers.get(server_id)

    def add(self, server: GameServer) -> None:
        """Add a game server."""
        self._servers[server.server_id] = server
        self._at[server.stage][server.server_id] = server

    def moved(self, server: GameServer, before: Stage, stage: Stage) -> None:
        """A game server came to another stage of its life."""
        del self._at[before][server.server_id]
        self._at[stage][server.server_id] = server
        if stage == "listening":
            self._with_room[server.server_id] = server
        else:
            self._with_room.pop(server.server_id, None)

    def remove(self, server: GameServer) -> None:
        """Remove a game server that is gone, and the places of its matches."""
        del self._servers[server.server_id]
        del self._at[server.stage][server.server_id]
        for match_id in server.rooms.match_ids:
            self.match_over(server, match_id)

    def host(self, server: GameServer, request: MatchRequest) -> None:
        """Give a match to a game server that has room."""
        self.placed[request.match_id] = server
        server.rooms.open(request)
        if not server.rooms.spare:
            self._with_room.pop(server.server_id, None)

    def match_over(self, server: GameServer, match_id: str) -> None:
        """Forget that a match is on this game server."""
        # Unless the match was placed again meanwhile.
        if self.placed.get(match_id) is server:
            del self.placed[match_id]
            self._over(match_id)

    # Look-ups.

    def any(self, stage: Stage) -> GameServer | None:
        """Find the one that has been at this stage for longest."""
        return next(iter(self._at[stage].values()), None)

    def any_with_room(self) -> GameServer | None:
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
        return sum(server.rooms.spare for server in self._at["binding"].values())


#: Game servers that may die with one match before it begins.
MOST_ATTEMPTS = 3

# How often all game servers are checked, seconds.
_TICK = 1.0


class Fleet(Service):
    """
    Keep warm game servers, give matches to them in order, and watch all of them.

    :ivar is_draining: no new match is taken.
    :ivar is_stopping: the node stops, and all matches end.
    """

    name = "fleet"
    _log = Logger()

    def __init__(
        self,
        supply: IFleet,
        issuer: Issuer,
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
        settings: FleetSettings,
        rooms: RoomTimeouts,
        now: Callable[[], float] | None = None,
        files: MatchFiles | None = None,
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
        """
        self._files = files
        self._supply, self._issuer, self._clock = supply, issuer, clock
        self._now = now or clock.seconds
        self._entropy, self._settings, self._room_timeouts = entropy, settings, rooms
        self._waiting = WaitingMatches()
        self._servers = Roster(self._waiting.over)
        self._placed = self._servers.placed
        self._pacing = StartPacing()
        self._keys = KeySharing(clock)
        self._reports = ServerReports(
            listening=self._pacing.worked,
            keys_taken=self._keys.taken,
            match_over=self._servers.match_over,
            gone=self._gone,
            changed=self._pump,
            moved=self._servers.moved,
        )
        self._tally = Tally()
        self._alarm: IDelayedCall | None = None
        self._drained: list[Deferred[None]] = []
        self._emptied: Deferred[None] | None = None
        self._is_pumping = self._must_pump = False
        self.is_draining = self.is_stopping = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._tick()

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
        request = MatchRequest(plan, tuple(tickets), watch, placed, relay, hosts)
        self._waiting.add(request)
        self._pump()
        return placed

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake.

        :raises NoCapacity: the match is over, or its game server does not answer.
        """
        server = self._placed.get(ticket.match_id)
        if server is None:
            return fail(NoCapacity("the match is over"))
        return server.rooms.add_ticket(ticket)

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect if the match is over."""
        if (server := self._placed.get(match_id)) is not None:
            server.rooms.kick(match_id, seat)

    def pass_on(self, message: ToRelayed) -> None:
        """
        Send a match what a player of this node did.

        No effect if the match is over.
        """
        if (server := self._placed.get(message.match_id)) is not None:
            server.send(message)

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """
        Receive what players of this node are shown in a running match.

        :param relay: as in `place`; ``None`` to stop.
        """
        if (server := self._placed.get(match_id)) is not None:
            server.rooms.follow(match_id, relay)

    def is_overloaded(self, match_id: str) -> bool:
        """Did its game server last report that it is overloaded?"""
        server = self._placed.get(match_id)
        return server is not None and server.is_overloaded

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match; no effect if it is over."""
        if (server := self._placed.get(match_id)) is not None:
            server.rooms.close(match_id, reason)

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
            is_draining=self.is_draining,
            game_servers={
                server.server_id: server.describe() for server in self._servers
            },
        )

    def totals(self) -> dict[str, float]:
        """
        Sum the figures of all game servers, including those that are gone.

        The names are those of `vinom.reactor.figures`.
        """
        return self._tally.total(server.figures for server in self._servers)

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
        if self._servers:
            emptied: Deferred[None] = Deferred()
            emptied.addTimeout(
                self._settings.stop_seconds,
                self._clock,
                onTimeoutCancel=lambda *_: None,
            )
            self._emptied = emptied
            for server in tuple(self._servers):
                server.leave()
            await emptied
            self._emptied = None
        await self._supply.close()
        for server in tuple(self._servers):
            # Its process is gone; what its link still held is lost.
            server.cut()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # What game servers report.

    def arrived(self, ready: Ready, link: ControlLink) -> GameServer | None:
        """
        Find the game server whose link this is (`vinom.control.link.Arrived`).

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
        return server if server.arrived(ready, link) else None

    def _gone(self, server: GameServer) -> None:
        """A game server is gone."""
        self._servers.remove(server)
        self._keys.gone(server.server_id)
        self._tally.retire(server.figures)
        if not server.has_listened and not server.was_asked_to_leave:
            self._pacing.failed(self._now())
        displaced = server.rooms.gone("shutdown" if self.is_stopping else None)
        for request in reversed(displaced):
            self._place_again(request)
        if self._emptied is not None and not self._servers:
            self._emptied.callback(None)

    def _place_again(self, request: MatchRequest) -> None:
        if request.is_withdrawn:
            return
        if self.is_draining:
            request.fail("this node takes no new matches")
        elif request.attempts >= MOST_ATTEMPTS:
            self._log.error(
                "match {match_id} failed: {count} game servers died before it began",
                match_id=request.match_id,
                count=request.attempts,
            )
            request.fail("its game servers died")
        else:
            self._waiting.add_first(request)

    # The work.

    def _tick(self) -> None:
        self._alarm = self._clock.callLater(_TICK, self._tick)
        for server in tuple(self._servers):
            server.tick()
        self._pump()

    def _pump(self) -> None:
        """Do what can be done now; each step may request another pass."""
        self._must_pump = True
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._must_pump:
                self._must_pump = False
                self._give_places()
                self._resize()
        finally:
            self._is_pumping = False
        if self.is_draining and not self._placed:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _give_places(self) -> None:
        while self._waiting:
            server = self._servers.any_with_room()
            if server is None or server.is_overloaded:
                if self._servers.coming >= len(self._waiting):
                    return
                warm = self._servers.any("warm")
                if warm is not None and self._supply.addresses().free:
                    warm.need()
                    continue
                if server is None:
                    return
                # No other game server has room; it asks its players to come later.
            self._servers.host(server, self._waiting.take(self._now()))

    def _resize(self) -> None:
        if self.is_draining or not self.running:
            for server in tuple(self._servers):
                if server.stage != "leaving" and not server.rooms:
                    server.leave()
            return
        count = growth(self._settings.policy, self._counts())
        if count > 0 and self._pacing.may_start(self._now()):
            for _ in range(count):
                self._start()
        for _ in range(-count):
            if (idle := self._servers.any("warm")) is not None:
                idle.leave()

    def _start(self) -> None:
        # 80 random bits: a label inside the realm, and its name on its link.
        server_id = b32encode(self._entropy(10)).decode("ascii").lower()
        server = GameServer(
            server_id,
            self._supply,
            self._issuer,
            self._settings,
            self._room_timeouts,
            self._reports,
            self._clock,
            self._now,
            self._files,
        )
        self._servers.add(server)
        server.start()

    def _counts(self) -> PoolCounts:
        stages = self._servers.by_stage()
        return PoolCounts(
            starting=stages["starting"],
            warm=stages["warm"],
            total=sum(stages.values()),
            waiting=max(0, len(self._waiting) - self._servers.coming),
            addresses=self._supply.addresses().free,
        )
