"""
The fleet: a place for every match, and no process or port that is ever lost.

The game servers there are, and who of them is at hand.

What can be asked of a match that has a game server; in vain when it is over.
"""

from __future__ import annotations

from base64 import b32encode
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.control.messages import (
    CONTROL_PROTOCOL,
    Bind,
    CookieKeyTold,
    FromRelayed,
    Ready,
    ToRelayed,
)
from vinom.errors import NoCapacity
from vinom.fleet.key_sharing import KeySharing
from vinom.fleet.life import Stage
from vinom.fleet.pool import PoolCounts, PortRing, StartPacing, to_start, to_stop
from vinom.fleet.server import (
    FleetSettings,
    FleetStatus,
    GameServer,
    Hosting,
    Issuer,
    Link,
    RoomPatience,
)
from vinom.model import MatchPlan, Placement, Ticket
from vinom.ports import IFleet, IMatchWatch
from vinom.reactor.figures import Tally

_STAGES: tuple[Stage, ...] = get_args(Stage)


class Roster:
    """Game servers in the order of their start, until they are gone."""

    def __init__(self) -> None:
        self._servers: dict[str, GameServer] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[GameServer]:
        return iter(self._servers.values())

    def __getitem__(self, server_id: str) -> GameServer:
        return self._servers[server_id]

    def get(self, server_id: str) -> GameServer | None:
        """Find one by its id."""
        return self._servers.get(server_id)

    def add(self, server: GameServer) -> None:
        """One more."""
        self._servers[server.server_id] = server

    def remove(self, server: GameServer) -> None:
        """It is gone."""
        del self._servers[server.server_id]

    # Who is at hand.

    def any(self, stage: Stage) -> GameServer | None:
        """Find the oldest of this stage."""
        return next((server for server in self if server.stage == stage), None)

    def any_with_room(self) -> GameServer | None:
        """Find the oldest that can host one more, of those with too much to do last."""
        found = (s for s in self if s.stage == "listening" and s.rooms.spare)
        return min(found, key=lambda server: server.is_overloaded, default=None)

    def host_of(self, match_id: str) -> GameServer | None:
        """Find where a match is played."""
        return next((s for s in self if match_id in s.rooms.match_ids), None)

    # How many.

    def by_stage(self) -> dict[str, int]:
        """Count them by stage of their life; each stage is there."""
        stages = Counter(server.stage for server in self)
        return {stage: stages[stage] for stage in _STAGES}

    @property
    def matches(self) -> int:
        """Matches that have a game server."""
        return sum(len(server.rooms.match_ids) for server in self)

    @property
    def coming(self) -> int:
        """Matches that game servers could host which are about to listen."""
        return sum(s.rooms.spare for s in self if s.stage == "binding")


class PlacedMatches:
    """The matches of this node's game servers."""

    def __init__(self) -> None:
        self._servers = Roster()

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Let one more handshake in.

        :raises NoCapacity: the match is over, or its game server is silent.
        """
        server = self._servers.host_of(ticket.match_id)
        if server is None:
            return fail(NoCapacity("the match is over"))
        added: Deferred[None] = server.rooms.add_ticket(ticket)
        return added

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; in vain when the match is over."""
        if (server := self._servers.host_of(match_id)) is not None:
            server.rooms.kick(match_id, seat)

    def pass_on(self, message: ToRelayed) -> None:
        """Tell a match what a player of this node did; in vain when it is over."""
        if (server := self._servers.host_of(message.match_id)) is not None:
            server.rooms.pass_on(message)

    def follow(
        self, match_id: str, relay: Callable[[FromRelayed], None] | None
    ) -> None:
        """
        Hear what players of this node are told in a match that is played already.

        :param relay: as in `host`; ``None`` to hear no more.
        """
        if (server := self._servers.host_of(match_id)) is not None:
            server.rooms.follow(match_id, relay)

    def is_overloaded(self, match_id: str) -> bool:
        """Has its game server too much to do for new players, by its last word?"""
        server = self._servers.host_of(match_id)
        return server is not None and server.is_overloaded

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match; in vain when it is over."""
        if (server := self._servers.host_of(match_id)) is not None:
            server.rooms.close(match_id, reason)


#: Game servers that may die under a match before it has begun.
MOST_ATTEMPTS = 3

# How often everything is looked at, seconds.
_TICK = 1.0


class Fleet(PlacedMatches, Service):
    """
    Keep warm game servers, give matches to them in order, and watch over all.

    :param supply: starts and stops processes.
    :param rooms: how long rooms may take.
    :param now: seconds on a clock that nobody sets, for patience; by default
        *clock* is such a clock.
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
        rooms: RoomPatience,
        now: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self._supply, self._issuer, self._clock = supply, issuer, clock
        self._now = now or clock.seconds
        self._entropy, self._settings, self._room_patience = entropy, settings, rooms
        self._ring = PortRing(*settings.ports, settings.quarantine_seconds)
        self._pacing = StartPacing()
        self._keys = KeySharing(clock)
        self._waiting: deque[Hosting] = deque()
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

    # What sessions want.

    def host(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
    ) -> Deferred[Placement]:
        """
        Find a match a game server that listens; matches wait in order.

        :param relay: hears what players of this node are told, in a room of this
            node's own: see `pass_on`.

        Cancelling withdraws the match, and *watch* hears nothing of it.

        :raises NoCapacity: it has no place and will get none. If a game server
            knew why, *watch* was told with ``ended`` before.
        """
        if self.is_draining:
            return fail(NoCapacity("this node takes no new matches"))

        def withdraw(_: Deferred[Placement]) -> None:
            hosting.placed, hosting.is_withdrawn = None, True
            if hosting in self._waiting:
                self._waiting.remove(hosting)
                self._pump()
            else:
                self.close_room(plan.match_id, "ended")

        placed: Deferred[Placement] = Deferred(withdraw)
        hosting = Hosting(plan, tuple(tickets), watch, placed, relay)
        self._waiting.append(hosting)
        self._pump()
        return placed

    def share_token_keys(self) -> Deferred[None]:
        """
        Give the issuer's token keys to all game servers that have older ones.

        Fires when they accept them; one that does not within 5 s hangs, and is
        ended for that.
        """
        takers = [server for server in self._servers if server.has_keys]
        return self._keys.share(self._issuer.token_keys(), takers)

    def rotate_cookies(self) -> int:
        """
        Have game servers make cookies with new keys.

        :returns: how many of them.
        """
        bound = [server for server in self._servers if server.has_keys]
        for server in bound:
            server.rotate_cookies()
        return len(bound)

    # What operators want.

    def status(self) -> FleetStatus:
        """Count everything."""
        return FleetStatus(
            servers=self._servers.by_stage(),
            ports_free=self._ring.free,
            ports_bound=self._ring.bound,
            ports_quarantined=self._ring.quarantined,
            waiting=len(self._waiting),
            rooms=self._servers.matches,
            is_draining=self.is_draining,
            game_servers={
                server.server_id: server.describe() for server in self._servers
            },
        )

    def totals(self) -> dict[str, float]:
        """
        Sum what all game servers count, those that are gone too.

        The names are those of `vinom.reactor.figures`.
        """
        return self._tally.total(server.figures for server in self._servers)

    def cookie_keys(self) -> dict[str, tuple[CookieKeyTold, ...]]:
        """List the cookie keys of each game server, as it told them last."""
        return {server.server_id: server.cookie_keys for server in self._servers}

    def drain(self) -> Deferred[None]:
        """Take no new matches; fires when none runs."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._refuse("this node takes no new matches")
        self._pump()
        return drained

    def _refuse(self, why: str) -> None:
        self.is_draining = True
        while self._waiting:
            self._waiting.popleft().fail(why)

    async def _stop(self) -> None:
        self.is_stopping = True
        self._refuse("this node stops")
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
            # Its process is gone; so is whatever its link still held.
            server.cut()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # What game servers tell.

    def arrived(self, ready: Ready, link: Link) -> GameServer | None:
        """
        Find the game server whose link this is (see `net.control.Arrived`).

        :returns: ``None`` if we know none.
        """
        server = self._servers.get(ready.server_id)
        if server is None:
            self._log.info("no game server {server} is due", server=ready.server_id)
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

    def bind_order(self, server_id: str, port: int) -> Bind:
        """Make what a game server needs to listen (`fleet_server.Home`)."""
        issued = self._issuer.issue(server_id)
        # Another authority may sign by the time players are told.
        self._servers[server_id].anchor = self._issuer.anchor
        return Bind(
            interface=self._settings.interface,
            port=port,
            server=server_id,
            realm=self._settings.realm,
            certificate=issued.certificate,
            key=issued.key,
            token_keys=self._issuer.token_keys(),
        )

    def placement(self, server_id: str, port: int) -> Placement:
        """Tell where players find a game server."""
        anchor = self._servers[server_id].anchor.decode("ascii")
        return Placement(server_id, self._settings.advertise, port, anchor)

    def listening(self) -> None:
        """A game server came to life."""
        self._pacing.worked()

    def keys_taken(self, server_id: str, number: int) -> None:
        """A game server accepts the token keys of this message."""
        self._keys.taken(server_id, number)

    def port_free(self, port: int) -> None:
        """Nobody has this port any more."""
        self._ring.give_back(port)

    def port_spoilt(self, port: int) -> None:
        """Somebody else has this port."""
        self._ring.quarantine(port, self._now())

    def gone(self, server: GameServer) -> None:
        """A game server is over."""
        self._servers.remove(server)
        self._keys.gone(server.server_id)
        self._tally.retire(server.figures)
        if not server.has_listened and not server.was_told_to_leave:
            self._pacing.failed(self._now())
        displaced = server.rooms.gone("shutdown" if self.is_stopping else None)
        for hosting in reversed(displaced):
            self._place_again(hosting)
        if self._emptied is not None and not self._servers:
            self._emptied.callback(None)

    def changed(self) -> None:
        """There may be something to do."""
        self._pump()

    def _place_again(self, hosting: Hosting) -> None:
        if hosting.is_withdrawn:
            return
        if self.is_draining:
            hosting.fail("this node takes no new matches")
        elif hosting.attempts >= MOST_ATTEMPTS:
            self._log.error(
                "match {match_id} outlived {count} game servers before it began",
                match_id=hosting.match_id,
                count=hosting.attempts,
            )
            hosting.fail("its game servers died")
        else:
            self._waiting.appendleft(hosting)

    # The work.

    def _tick(self) -> None:
        self._alarm = self._clock.callLater(_TICK, self._tick)
        self._ring.alarm(self._now())
        for server in tuple(self._servers):
            server.tick()
        self._pump()

    def _pump(self) -> None:
        """Do what can be done now. Everything that it does may ask for more."""
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
        if self.is_draining and not self._servers.matches:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _give_places(self) -> None:
        while self._waiting:
            host = self._servers.any_with_room()
            if host is not None and not host.is_overloaded:
                host.rooms.open(self._waiting.popleft())
                continue
            if self._servers.coming >= len(self._waiting):
                return
            warm = self._servers.any("warm")
            port = self._ring.take() if warm is not None else None
            if warm is not None and port is not None:
                warm.assign(port)
            elif host is not None:
                # Its players are told to come a little later; elsewhere is no place.
                host.rooms.open(self._waiting.popleft())
            else:
                return

    def _resize(self) -> None:
        if self.is_draining or not self.running:
            for server in tuple(self._servers):
                if server.stage != "leaving" and not server.rooms.match_ids:
                    server.leave()
            return
        policy, counts = self._settings.policy, self._counts()
        if self._pacing.may_start(self._now()):
            for _ in range(to_start(policy, counts)):
                self._start()
        for _ in range(to_stop(policy, counts)):
            if (idle := self._servers.any("warm")) is not None:
                idle.leave()

    def _start(self) -> None:
        # 80 random bits: a label inside the realm, and what its link says it is.
        server_id = b32encode(self._entropy(10)).decode("ascii").lower()
        server = GameServer(
            server_id,
            self._settings.policy.rooms_per_process,
            self,
            self._supply,
            self._clock,
            self._now,
            self._settings.patience,
            self._room_patience,
        )
        self._servers.add(server)
        server.start()

    def _counts(self) -> PoolCounts:
        stages = self._servers.by_stage()
        return PoolCounts(
            starting=stages["starting"],
            warm=stages["warm"],
            total=len(self._servers),
            waiting=max(0, len(self._waiting) - self._servers.coming),
            ports=self._ring.free,
        )
