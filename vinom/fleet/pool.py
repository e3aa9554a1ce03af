"""The game servers of one program: started ahead, given to matches in order, ended."""

from __future__ import annotations

from base64 import b32encode
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Protocol, get_args

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchEnd
from vinom.base.reactor.alarm import Timer
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import CONTROL_PROTOCOL, Ready
from vinom.fleet.life import Stage
from vinom.fleet.match import MatchMeans, Readable, RoomTimeouts, RunningMatch
from vinom.fleet.policy import (
    PoolCounts,
    RefillPacing,
    StartPacing,
    WaitingMatches,
    growth,
)
from vinom.fleet.records import ServerRecord
from vinom.fleet.server import Program, ServerProcess, Takeover
from vinom.net.keys.authority import Authority

_STAGES: tuple[Stage, ...] = get_args(Stage)

#: Game servers that may die with one match before it begins.
MOST_ATTEMPTS = 3

#: How much longer a match waits for a game server to go on with it than one may take
#: to start, seconds.
GOING_ON_SECONDS = 60.0

#: What players of a match are sent for which no game server can be had.
NO_GAME_SERVER = (
    "no game server can be started at present; your match keeps its place, and starts "
    "as soon as one can"
)
ALL_IN_USE = (
    "all game servers are in use; your match keeps its place, and starts when others "
    "have ended"
)


class Roster:
    """
    Game servers, in the order of their start, and by stage of their life.

    Every look-up and count costs the same for any number of them.
    """

    def __init__(self) -> None:
        """Begin without game servers."""
        self._servers: dict[str, ServerProcess] = {}
        # In the order in which they came to that stage.
        self._at: dict[Stage, dict[str, ServerProcess]] = {
            stage: {} for stage in _STAGES
        }
        # Those that listen: without a match so far; with some, and room for more.
        self._idle: dict[str, ServerProcess] = {}
        self._with_room: dict[str, ServerProcess] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[ServerProcess]:
        return iter(tuple(self._servers.values()))

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
        self._idle.pop(server.server_id, None)
        self._with_room.pop(server.server_id, None)
        if stage == "listening" and server.rooms.spare:
            with_room = self._with_room if server.rooms.were_used else self._idle
            with_room[server.server_id] = server

    def used(self, server: ServerProcess) -> None:
        """It got a match."""
        if self._idle.pop(server.server_id, None) and server.rooms.spare:
            self._with_room[server.server_id] = server

    def remove(self, server: ServerProcess) -> None:
        """Remove a game server that is gone."""
        self._idle.pop(server.server_id, None)
        self._with_room.pop(server.server_id, None)
        del self._servers[server.server_id]
        del self._at[server.stage][server.server_id]

    def any(self, stage: Stage) -> ServerProcess | None:
        """Find the one that has been at this stage for longest."""
        return next(iter(self._at[stage].values()), None)

    def any_with_room(self) -> ServerProcess | None:
        """
        Find the oldest that can host one more room, first of those that have matches;
        overloaded ones come last.
        """
        found = self._with_room
        while found and not next(iter(found.values())).rooms.spare:
            del found[next(iter(found))]
        able = (one for one in found.values() if one.rooms.spare)
        useful = next((one for one in able if not one.is_overloaded), None)
        return useful or self.any_idle() or next(iter(found.values()), None)

    def any_idle(self) -> ServerProcess | None:
        """Find the oldest that listens and has had no match."""
        return next(iter(self._idle.values()), None)

    def by_stage(self) -> dict[str, int]:
        """Count them by stage of their life; those that wait for a match are warm."""
        counts = {str(stage): len(servers) for stage, servers in self._at.items()}
        counts["listening"] -= len(self._idle)
        counts["warm"] += len(self._idle)
        return counts

    @property
    def unbound(self) -> int:
        """Count those that wait for a match without a port."""
        return len(self._at["warm"])

    @property
    def idle(self) -> int:
        """Count those that have a port, and had no match."""
        return len(self._idle)

    @property
    def ahead(self) -> int:
        """Count those that have a port, or bind one, and no match."""
        return len(self._idle) + len(self._at["binding"])

    @property
    def is_busy(self) -> bool:
        """Does any start, or end, so that another one may come soon?"""
        return any(self._at[stage] for stage in ("starting", "binding", "leaving"))

    def ready(self, free: int) -> bool:
        """Could a match get a game server at once, if so many addresses are free?"""
        return bool(self._idle or (free and self._at["warm"]))

    @property
    def coming(self) -> int:
        """Count the matches that servers which are binding a port could host."""
        return sum(
            server.rooms.spare
            for server in self._at["binding"].values()
            if server.takeover is None
        )


class PoolWatch(Protocol):
    """What a `Pool` calls: `vinom.fleet.fleet.Fleet`."""

    def may_bind_ahead(self, pool: Pool) -> bool:
        """May one more game server bind a port while no match needs it?"""

    def server_gone(self, server: ServerProcess) -> None:
        """A game server is gone, or another node's."""

    def over(self, match: RunningMatch) -> None:
        """This node has a match no more."""

    def rescue(self, match: RunningMatch, end: MatchEnd) -> bool:
        """Go on with a match from its copy; see `MatchMeans`."""

    def settled(self) -> None:
        """All is done that can be done now."""


@attrs.frozen
class PoolMeans:
    """
    What all pools of a fleet share.

    :ivar issuer: signs certificates of game servers, and says which token keys are
        accepted.
    :ivar clock: for ticks; its seconds are those of the Unix epoch.
    :ivar now: seconds on a clock that nobody sets, for timeouts.
    :ivar entropy: called with a number, returns that many random bytes; for ids.
    :ivar rooms: how long rooms may take.
    :ivar readable: as of `Fleet.move`, for matches of game servers that are asked to
        end from outside; ``None``: they are not moved.
    """

    issuer: Authority
    clock: IReactorTime
    now: Callable[[], float]
    entropy: Callable[[int], bytes]
    rooms: RoomTimeouts
    readable: Readable | None = None


class Pool:
    """
    Keep warm game servers of one program, give matches to them in order, and watch all.

    :ivar supply: of its game servers, and of their addresses.
    :ivar servers: all of them.
    :ivar waiting: matches that have no game server yet.
    :ivar means: of its matches.
    :ivar went_on: how often a match went on at another game server, by why.
    :ivar is_running: may game servers be started?
    :ivar is_draining: no new match is taken.
    """

    _log = Logger()

    def __init__(self, program: Program, means: PoolMeans, watch: PoolWatch) -> None:
        """
        :param program: whose game servers they are.
        :param means: what it needs besides.
        :param watch: called with what happens.
        """
        self._program, self.supply = program, program.supply
        self._settings, self._means, self._watch = program.settings, means, watch
        self._clock, self._now = means.clock, means.now
        self.means = MatchMeans(
            self._clock,
            self._now,
            means.rooms,
            program.files,
            self._over,
            watch.rescue,
        )
        self.servers, self.waiting = Roster(), WaitingMatches()
        self.went_on = Counter({"died": 0, "moved": 0, "machine": 0})
        # What is left of game servers that are gone: it goes to the next warm ones.
        self._takeovers: deque[Takeover] = deque()
        self._pacing, self._refilling = StartPacing(), RefillPacing()
        # How the last game server ended, if that was before it dialed.
        self._last_end = ""
        self._refill = Timer(self._clock)
        self._emptied: Deferred[None] | None = None
        self._is_known_full = self._is_pumping = self._must_pump = False
        self.is_draining = self.is_running = self._is_stopping = False

    # Its life.

    def drain(self, why: str) -> None:
        """Take no new matches."""
        self.is_draining = True
        for match in self.waiting.clear():
            match.fail(why)
        self.pump()

    async def stop(self, leaves_matches: bool) -> None:
        """
        End all game servers.

        :param leaves_matches: leave those with matches for a later node.
        """
        self.is_running, self._is_stopping = False, True
        self.drain("this node is stopping")
        takeovers, self._takeovers = self._takeovers, deque()
        for takeover in takeovers:
            if takeover.label or not leaves_matches:
                takeover.end("shutdown", self.supply)
        if self.servers:
            emptied: Deferred[None] = Deferred()
            emptied.addTimeout(
                self._settings.stop_seconds,
                self._clock,
                onTimeoutCancel=lambda *_: None,
            )
            self._emptied = emptied
            for server in self.servers:
                if leaves_matches and server.let_go():
                    self.let_go(server)
                else:
                    server.leave()
            if not self.servers and not emptied.called:
                emptied.callback(None)
            await emptied
            self._emptied = None
        await self.supply.close()
        for server in self.servers:
            # Its process is gone; what its link still held is lost.
            server.cut()
        self._refill.cancel()

    def tick(self) -> None:
        """Check, each second, what is late."""
        for server in self.servers:
            server.tick()
        outdated = next((one for one in self.servers if one.is_outdated), None)
        if outdated is not None and not self.servers.is_busy:
            outdated.leave()
        self._end_late()
        self.pump()
        if self.waiting and self.problem:
            self._report_delays(NO_GAME_SERVER)
        elif self._is_full():
            self._report_delays(ALL_IN_USE)
        else:
            self._is_known_full = False

    # Its matches.

    def add(self, match: RunningMatch) -> None:
        """Have a new match wait for a game server."""
        self.waiting.add(match)
        self.pump()

    def go_on(self, match: RunningMatch) -> None:
        """Go on with a match whose machine is gone."""
        self._takeovers.append(Takeover("", None, None, (match,)))
        self.pump()

    def withdraw(self, match: RunningMatch) -> None:
        """Nobody wants to play a match any more."""
        match.placed, match.is_withdrawn = None, True
        if match in self.waiting:
            self.waiting.remove(match)
            self._watch.over(match)
            self.pump()
        else:
            match.close("ended")

    @property
    def has_address(self) -> bool:
        """Is there an address for one more match?"""
        coming = sum(one.where is None for one in self._takeovers)
        free = self.supply.addresses().free + self.servers.idle
        return free > coming + len(self.waiting)

    @property
    def is_short(self) -> bool:
        """Do matches wait for a game server?"""
        return bool(self.waiting or self._takeovers)

    def _over(self, match: RunningMatch) -> None:
        self.waiting.over(match.match_id)
        self._watch.over(match)

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
                        match_id=match.match_id,
                    )
                why = "no game process could be started to go on with it"
                takeover.end("lost", self.supply, why)

    def _place_again(self, match: RunningMatch) -> None:
        self.waiting.over(match.match_id)
        if match.is_withdrawn:
            self._watch.over(match)
        elif self.is_draining:
            match.fail("this node takes no new matches")
        elif match.attempts >= MOST_ATTEMPTS:
            self._log.error(
                "match {match_id} failed: {count} game servers died before it began",
                match_id=match.match_id,
                count=match.attempts,
            )
            match.fail("its game servers died")
        else:
            self.waiting.add_first(match)

    def _is_full(self) -> bool:
        """Do matches wait for others to end?"""
        counts = self._counts()
        is_full = not counts.addresses or counts.total >= self._settings.policy.most
        return counts.waiting > 0 and is_full and not counts.starting

    def _report_delays(self, why: str) -> None:
        if why is ALL_IN_USE and not self._is_known_full:
            self._is_known_full = True
            self._log.warn(
                "{count} matches wait for others to end: {why}",
                count=len(self.waiting),
                why=f"there are {self._settings.policy.most} game servers (max_servers)"
                if self.supply.addresses().free
                else "all ports are in use: set more ports",
            )
        for match in tuple(self.waiting):
            match.delay(why)

    # Its game servers.

    def adopt(self, record: ServerRecord, matches: dict[str, RunningMatch]) -> bool:
        """
        Go on with a game server that an earlier node started, and with its matches.

        :returns: ``False`` if its process is gone.
        """
        server = self._make(record.server_id)
        # Before: it may be gone as soon as it is adopted.
        self.servers.add(server)
        if server.adopt(record, matches):
            return True
        self.let_go(server)
        for match in matches.values():
            self._over(match)
            if self.means.files is not None:
                self.means.files.take_back(match.match_id)
        if self._program.records is not None:
            self._program.records.forget(record.server_id)
        return False

    def let_go(self, server: ServerProcess) -> None:
        """Forget a game server that another node goes on with, and its matches."""
        self.servers.remove(server)
        self._watch.server_gone(server)
        for match in server.rooms:
            self._over(match)

    def arrived(
        self, server: ServerProcess, ready: Ready, link: ControlLink
    ) -> ServerProcess | None:
        """
        A process has dialed with the id of a game server.

        :returns: ``None`` if it is not the right one: the link is closed.
        """
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

    @property
    def problem(self) -> str:
        """Why no game server can be started; empty if they can, as far as is known."""
        ports = self.supply.addresses()
        known: str = self.supply.problem
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

    # What they report (`vinom.fleet.server.ServerWatch`).

    def moved(self, server: ServerProcess, before: Stage, stage: Stage) -> None:
        self.servers.moved(server, before, stage)
        if stage == "listening":
            self._pacing.worked()

    def took_over(self, takeover: Takeover) -> None:
        why = "moved" if takeover.is_moved else "died" if takeover.label else "machine"
        self.went_on[why] += len(takeover.matches)

    def drains(self, server: ServerProcess, is_last: bool) -> None:
        readable = self._means.readable
        if readable is None:
            return
        if is_last:
            server.move_what_can(readable)
        elif why := server.move(readable):
            self._log.warn(
                "matches of game server {server} are played there until it ends: {why}",
                server=server.server_id,
                why=why,
            )

    def gone(self, server: ServerProcess) -> None:
        if server.was_ours is not None:
            # Another node may have gone on with it, or with its matches.
            was_ours, server.was_ours = server.was_ours, None
            was_ours.addCallback(lambda is_ours: self.gone(server) if is_ours else None)
            return
        self.servers.remove(server)
        self._watch.server_gone(server)
        if not server.has_listened and not server.was_asked_to_leave:
            self._pacing.failed(self._now())
            if not server.has_dialed:
                self._last_end = server.end
        begin, takeover = server.end_matches("shutdown" if self._is_stopping else None)
        for match in reversed(begin):
            self._place_again(match)
        if takeover is not None:
            self._takeovers.append(takeover)
        if self._emptied is not None and not self.servers:
            self._emptied.callback(None)

    # The work.

    def pump(self) -> None:
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
                self._bind_ahead()
                self._resize()
                idle = self.servers.any_idle()
                if self._takeovers and idle is not None and not self.servers.is_busy:
                    # No other one can be had. Players learn its address.
                    idle.take_over(self._takeovers.popleft())
                    self.servers.used(idle)
        finally:
            self._is_pumping = False
        self._watch.settled()

    def _assign_takeovers(self) -> None:
        """Have warm game servers go on with the matches of those that are gone."""
        while self._takeovers:
            is_free = self._takeovers[0].where is None
            idle = self.servers.any_idle() if is_free else None
            successor = idle or self.servers.any("warm")
            if successor is None:
                return
            if is_free and idle is None and not self.supply.addresses().free:
                # Those with an address of their own need not wait for others to end.
                self._takeovers.rotate(-1)
                if not any(one.where for one in self._takeovers):
                    return
                continue
            self._refilling.taken(self._now())
            successor.take_over(self._takeovers.popleft())
            self.servers.used(successor)

    def _give_places(self) -> None:
        while self.waiting:
            server = self.servers.any_with_room()
            if server is None or server.is_overloaded:
                if self.servers.coming >= len(self.waiting):
                    return
                warm = self.servers.any("warm")
                if warm is not None and self.supply.addresses().free:
                    self._refilling.taken(self._now())
                    warm.need()
                    continue
                if server is None:
                    return
                # No other game server has room; it asks its players to come later.
            self._refilling.taken(self._now())
            server.open(self.waiting.take(self._now()))
            self.servers.used(server)

    def _bind_ahead(self) -> None:
        """
        Have those that wait for a match bind a port, while nobody waits for them.

        Half of them do not: they could take the places of those that die, at their
        ports.
        """
        kept = max(1, -(-self._settings.policy.warm // 2))
        while (
            self._program.binds_ahead
            and self.servers.unbound > kept
            and (warm := self.servers.any("warm")) is not None
            and warm.can_bind
            and self._watch.may_bind_ahead(self)
        ):
            warm.need()

    def _resize(self) -> None:
        # A match that is to go on needs a warm one, even while no new match is taken.
        if not self.is_running or (self.is_draining and not self._takeovers):
            for server in self.servers:
                if server.stage != "leaving" and not server.is_needed:
                    server.leave()
            return
        now, begins_at = self._now(), self._refilling.begins_at
        is_placed = len(self.waiting) <= self.servers.coming and not self._takeovers
        if is_placed and now < begins_at:
            self._refill.ensure(begins_at - now, self.pump)
            return
        counts = self._counts()
        count = growth(self._settings.policy, counts)
        if self._last_end and not (counts.total or count):
            # Nobody may be sent here until one comes up: find out when that is.
            count = 1
        if count > 0 and self._pacing.may_start(now):
            for _ in range(count):
                # 80 random bits: a label inside the realm, and its name on its link.
                name = b32encode(self._means.entropy(10)).decode("ascii").lower()
                server = self._make(name)
                self.servers.add(server)
                server.start()
        for _ in range(-count):
            idle = self.servers.any_idle() or self.servers.any("warm")
            if idle is not None:
                idle.leave()

    def _make(self, server_id: str) -> ServerProcess:
        return ServerProcess(
            server_id, self._program, self._means.issuer, self._now, self
        )

    def _counts(self) -> PoolCounts:
        stages, coming = self.servers.by_stage(), self.servers.coming
        per_process = self._settings.policy.rooms_per_process
        spare = max(0, coming - len(self.waiting))
        return PoolCounts(
            starting=stages["starting"],
            warm=stages["warm"] + spare // per_process,
            total=sum(stages.values()),
            waiting=max(0, len(self.waiting) - coming)
            + len(self._takeovers) * per_process,
            addresses=self.supply.addresses().free
            + sum(one.where is not None for one in self._takeovers),
        )
