"""One game server, seen from its node: its life, its control link, and its keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf
from signal import SIGTERM
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.model import (
    Exit,
    Issued,
    MatchEnd,
    Placement,
    ServerAddress,
)
from vinom.errors import Misconfigured, NoCapacity, PeerError
from vinom.fleet.control.checkpoints import make_unsent, read_unsent
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import (
    Adopted,
    Alive,
    AnyToNode,
    Bind,
    BindFailed,
    Bound,
    CookieKeyReport,
    Draining,
    Heartbeat,
    Kept,
    KeptTaken,
    Known,
    Ready,
    RoomEnded,
    RoomOpened,
    RotateCookies,
    Stop,
    TicketAdded,
    TokenKeys,
    TokenKeysTaken,
    ToServer,
)
from vinom.fleet.interfaces import IFleet, IGameServer
from vinom.fleet.life import (
    Effect,
    ServerFacts,
    ServerTimeouts,
    Stage,
    open_server_life,
)
from vinom.fleet.match import HostedMatches, Readable, RunningMatch
from vinom.fleet.policy import PoolPolicy
from vinom.fleet.records import Records, ServerRecord
from vinom.net.keys.authority import Authority
from vinom.play.hosting.recordings import Recordings


@attrs.frozen
class FleetSettings:
    """
    The operator's settings.

    :ivar realm: domain that game servers' names end with.
    :ivar policy: how many game servers to run.
    :ivar timeouts: how long each step of a game server's life may take.
    :ivar stop_seconds: time for game servers to end when the node stops.
    :ivar has_udp: do players connect to game servers? Else the node relays for them.
    """

    realm: str
    policy: PoolPolicy = attrs.field(factory=PoolPolicy)
    timeouts: ServerTimeouts = attrs.field(factory=ServerTimeouts)
    stop_seconds: float = 3.0
    has_udp: bool = True


@attrs.frozen
class Program:
    """
    A program, of which each game server is a process.

    :ivar supply: starts and stops game servers, and gives them addresses.
    :ivar settings: the operator's.
    :ivar files: what matches write; ``None``: game servers open their own files.
    :ivar records: where game servers with matches are written down; ``None``: no later
        node finds them.
    :ivar binds_ahead: do some bind a port before a match needs them?
    """

    supply: IFleet
    settings: FleetSettings
    files: Recordings | None = None
    records: Records | None = None
    binds_ahead: bool = True


@attrs.frozen
class ServerStatus:
    """
    One game server, for operators.

    :ivar stage: stage of its life.
    :ivar pid: id of its process; ``None`` until it dials.
    :ivar port: the port that it has or is to bind.
    :ivar matches: ids of the matches that it hosts.
    :ivar figures: its latest figures; see `vinom.base.reactor.figures`.
    """

    stage: str
    pid: int | None
    port: int | None
    matches: tuple[str, ...]
    figures: Mapping[str, float]


@attrs.frozen
class FleetStatus:
    """
    All counts of a fleet, for operators and metrics.

    :ivar servers: game servers by stage of their life.
    :ivar ports_free: addresses that matches can have: none has them, or a game server
        that waits for a match.
    :ivar ports_bound: addresses of other game servers.
    :ivar ports_quarantined: addresses that could not be bound, and rest for a while.
    :ivar waiting: matches without a game server.
    :ivar rooms: matches with one.
    :ivar went_on: how often a match went on at another one, by why: the first "died" or
        was "moved", or its "machine" died.
    :ivar old_copies: matches that would lose more than a second with this machine.
    :ivar is_draining: no new match is taken.
    :ivar game_servers: by id.
    :ivar ready: could a match get a game server at once?
    :ivar problem: why none can be started; empty if they can, as far as is known.
    """

    servers: Mapping[str, int]
    ports_free: int
    ports_bound: int
    ports_quarantined: int
    waiting: int
    rooms: int
    went_on: Mapping[str, int]
    old_copies: int
    is_draining: bool
    game_servers: Mapping[str, ServerStatus]
    ready: bool = False
    problem: str = ""

    @property
    def is_stuck(self) -> bool:
        """Can no match get a game server now?"""
        return bool(self.problem) and not self.ready


#: A game server that leaves this many heartbeats unanswered hangs.
MISSED_HEARTBEATS = 3

#: A warm game server gets another certificate after this time, seconds: so the one that
#: it serves a match with has almost all of its life left.
RENEWAL_SECONDS = 86400.0


@attrs.frozen
class Credentials:
    """
    What a game server needs besides a port, made while no player waits for it.

    :ivar issued: its certificate and key.
    :ivar anchor: the certificate that players verify it with, PEM.
    """

    issued: Issued = attrs.field(repr=False)
    anchor: bytes


@attrs.frozen
class Takeover:
    """
    What is left of a game server that is gone: all that its players know of it.

    :ivar label: by which players' clients verify it; empty if they learn another one.
    :ivar credentials: its certificate; ``None`` if its players are connected to the
        node.
    :ivar where: its address, which nobody else has until it is released; ``None``
        if it cannot be had again.
    :ivar matches: that go on.
    :ivar is_moved: they were handed over on purpose.
    """

    label: str
    credentials: Credentials | None
    where: ServerAddress | None
    matches: tuple[RunningMatch, ...]
    is_moved: bool = False

    def end(self, verdict: str, supply: IFleet, why: str = "") -> None:
        """End the matches: no other game server can go on with them."""
        if self.where is not None:
            supply.free(self.where)
        for match in self.matches:
            match.end(verdict, why)


class ServerWatch(Protocol):
    """What a `ServerProcess` calls: `vinom.fleet.pool.Pool`."""

    def drains(self, server: ServerProcess, is_last: bool) -> None:
        """One was asked to end from outside, and has matches; `True`: at once."""

    def gone(self, server: ServerProcess) -> None:
        """One is gone; its remaining matches are lost."""

    def pump(self) -> None:
        """Act on what has happened to one."""

    def moved(self, server: ServerProcess, before: Stage, stage: Stage) -> None:
        """One came from one stage of its life to another."""

    def took_over(self, takeover: Takeover) -> None:
        """One goes on with what another one left."""


@implementer(IGameServer)
class ServerProcess:
    """
    Start a game server, give it an address and matches, watch it, and end it.

    :ivar rooms: its matches.
    :ivar stage: of its life.
    :ivar figures: the latest that it reported, by name.
    :ivar cookie_keys: the cookie keys that it reported last, without secrets.
    :ivar is_overloaded: it last reported that it is too busy for new players.
    :ivar has_dialed: its process has opened its link.
    :ivar has_listened: players have been able to reach it.
    :ivar end: how its process ended, or why it was not started; empty before.
    :ivar was_asked_to_leave: its exit is not a failure.
    :ivar is_outdated: it waits for a match with a certificate that others replace.
    :ivar label: by which players' clients verify it: its id, or that of the game
        server whose matches it has.
    :ivar takeover: what it is about to take over.
    :ivar was_ours: fires when it is known whether it was this node's, if that was in
        doubt when it ended.
    """

    _log = Logger()

    def __init__(
        self,
        server_id: str,
        program: Program,
        issuer: Authority,
        now: Callable[[], float],
        watch: ServerWatch,
    ) -> None:
        """
        :param server_id: its label inside the realm.
        :param program: of which it is a process.
        :param issuer: signs its certificate.
        :param now: seconds on a clock that nobody sets.
        :param watch: called with what happens to it.
        """
        settings, self._records = program.settings, program.records
        self.server_id = self.label = server_id
        self.takeover: Takeover | None = None
        self.figures: dict[str, float] = {}
        self.cookie_keys: tuple[CookieKeyReport, ...] = ()
        self.is_overloaded = self.has_listened = self.was_asked_to_leave = False
        self.is_outdated = False
        self.has_dialed, self.end = False, ""
        self.rooms = HostedMatches(settings.policy.rooms_per_process)
        self._supply, self._issuer, self._realm = program.supply, issuer, settings.realm
        self._has_udp = settings.has_udp
        self._watch, self._now = watch, now
        self._facts = ServerFacts(settings.timeouts, now() + settings.timeouts.start)
        self.stage: Stage = self._facts.stage
        self._life = open_server_life(self._facts)
        self._pid: int | None = None
        self._link: ControlLink | None = None
        self._beats = self._unanswered = 0
        # When it dialed, or last answered a heartbeat.
        self._heard_at = now()
        # Its address: requested, being bound, bound; and the anchor for its players.
        self._wanted: Deferred[ServerAddress | None] | None = None
        self._binding: Deferred[bool] | None = None
        self._port: int | None = None
        self._where: ServerAddress | None = None
        self._anchor = b""
        # For `Bind`; renewed until players can reach it.
        self._credentials: Credentials | None = None
        self._renew_at = inf
        self._token_keys: dict[str, bytes] = {}
        # How often it was sent others, and who waits until it accepts them.
        self._keys_sent, self._untaken = 0, dict[int, Deferred[None]]()
        self._has_ended = self._is_adopted = self._is_draining = False
        # Where it writes checkpoints while it has no link: the newest file is the last,
        # after the one before, for it may not have got the newest.
        self._unsent: list[int] = []
        self._is_lent = False
        self._other_keys: dict[str, bytes] = {}
        self.was_ours: Deferred[bool] | None = None

    def describe(self) -> ServerStatus:
        """Describe it to an operator."""
        return ServerStatus(
            stage="warm" if self._is_idle else self.stage,
            pid=self._pid,
            port=self._port,
            matches=self.rooms.match_ids,
            figures=dict(self.figures),
        )

    # Calls of the supply (`IGameServer`).

    def wanted(self) -> Deferred[ServerAddress | None]:
        """The result comes when a match needs it: the address to take over."""
        self._wanted = Deferred()
        return self._wanted

    def bind(self, interface: str, port: int) -> Deferred[bool]:
        """Have it bind a port; the result is ``True`` if it has."""
        # Without UDP its players are connected to the node.
        order = Bind("", 0, self.label, self._realm, b"", b"", {})
        if self._has_udp:
            credentials = self._credentials
            if credentials is None:
                why = f"game server {self.server_id} has no certificate"
                return fail(NoCapacity(why))
            # Another authority may be signing by the time players are placed here.
            self._anchor = credentials.anchor
            order = Bind(
                interface=interface,
                port=port,
                server=self.label,
                realm=self._realm,
                certificate=credentials.issued.certificate,
                key=credentials.issued.key,
                token_keys=self._token_keys,
            )
        self._port, self._binding = order.port, Deferred()
        files = () if self._records is None else self._supply.mailbox(self.server_id)
        self.send(order, files)
        return self._binding

    def silent_for(self) -> float:
        """Count the seconds since it dialed, or last answered a heartbeat."""
        return self._now() - self._heard_at

    def ended(self, how: Exit) -> None:
        self._has_ended, self._port, self.end = True, None, str(how)
        if self._records is not None:
            is_recorded = any(match.record is not None for match in self.rooms)
            if is_recorded and not self._records.is_ours(self.server_id):
                self.was_ours = self._records.settled(self.server_id)
            self._records.forget(self.server_id)
        is_expected = self.stage == "leaving" and (
            how.status == 0 or how.signal == SIGTERM
        )
        (self._log.debug if is_expected else self._log.info)(
            "game server {server}{process} ended: {how}",
            server=self.server_id,
            process="" if how.pid is None else f" (process {how.pid})",
            how=how,
        )
        self._do(self._life.exited)

    # Its process and its link.

    def start(self) -> None:
        """Have the supply start it."""
        self._supply.start(self).addCallbacks(self._reached, self._not_started)

    @property
    def keeps_address(self) -> bool:
        """Is its address kept for another one that goes on with its matches?"""
        return any(match.can_go_on for match in self.rooms) or (
            self.takeover is not None and self.takeover.where is not None
        )

    @property
    def is_needed(self) -> bool:
        """Does it have matches, or will it have some?"""
        return bool(self.rooms) or self.takeover is not None

    def take_over(self, takeover: Takeover) -> None:
        """Go on, once players can reach it, with matches of one that is gone."""
        self.takeover = takeover
        self.rooms.spare = max(0, self.rooms.spare - len(takeover.matches))
        if self.stage == "listening":
            self._go_on()
            return
        if takeover.label:
            self.label, self._credentials = takeover.label, takeover.credentials
        self.need()

    def move(self, readable: Readable) -> str:
        """
        Have it hand its matches over.

        :returns: why it does not, in a sentence; empty if it does.
        """
        if self.stage != "listening":
            return f"it is {self.stage}"
        if self.rooms.is_handing_over:
            return "it is doing so already"
        why = self.rooms.why_not_moved(readable)
        if not why:
            self.rooms.hand_over(self)
            self.leave(ask=False)
        return why

    def move_what_can(self, readable: Readable) -> None:
        """Have it hand over what others can go on with, and end the rest: it ends."""
        if (
            self.stage == "listening"
            and not self.rooms.is_handing_over
            and self.rooms.end_what_stays(readable)
        ):
            self.rooms.hand_over(self)
            self.leave(ask=False)

    @property
    def is_handing_over(self) -> bool:
        """Was it asked to hand its matches over?"""
        return self.rooms.is_handing_over

    def end_matches(
        self, verdict: str | None
    ) -> tuple[list[RunningMatch], Takeover | None]:
        """
        End its matches, because it is gone, but for those that go on elsewhere.

        :param verdict: the reason, if it is not the usual one.
        :returns: matches that had not begun; and what another one takes over.
        """
        matches, rooms = tuple(self.rooms), self.rooms
        label, where = self.label, self._where
        states = [one.server_gone(verdict, rooms.is_handing_over) for one in matches]
        with_states = tuple(zip(matches, states, strict=True))
        begin = [match for match, state in with_states if state == "begins"]
        go_on = [match for match, state in with_states if state == "goes on"]
        if self.takeover is not None:
            where = self.takeover.where
            if verdict is None:
                go_on += self.takeover.matches
            else:
                for match in self.takeover.matches:
                    match.end(verdict)
        if go_on and (self._credentials is not None or not self._has_udp):
            left = tuple(go_on)
            return begin, Takeover(
                label, self._credentials, where, left, rooms.is_handing_over
            )
        for match in go_on:
            match.end("lost")
        if where is not None:
            # It was kept, and nobody needs it.
            self._supply.free(where)
        return begin, None

    @property
    def _is_idle(self) -> bool:
        return self.stage == "listening" and not self.rooms.were_used

    @property
    def can_bind(self) -> bool:
        """Has it what it needs besides an address?"""
        return not self._has_udp or self._credentials is not None

    def need(self) -> None:
        """A match needs it: get it an address."""
        self._do(self._life.need)

    def arrived(self, ready: Ready, link: ControlLink) -> bool:
        """A process dialed with this id; ``False`` if it is not the right one."""
        if self.stage not in ("starting", "away") or not self._supply.admits(
            self.server_id, ready.pid, ready.secret
        ):
            return False
        self._pid, self._link, self.has_dialed = ready.pid, link, True
        self._heard_at = self._now()
        if welcome := self._supply.welcome(self.server_id):
            self.send(Known(welcome))
        if self.stage == "away":
            self._link_again(ready)
            return True
        self.renew_certificate()
        self.trust(self._issuer.token_keys())
        self._do(self._life.dialed)
        return True

    def _link_again(self, ready: Ready) -> None:
        """Go on with what it played without a link."""
        self._unanswered, self._port = 0, ready.port or self._port
        reported, lost = {one.match_id: one for one in ready.matches}, 0
        placement = self._placement
        for match in self.rooms:
            if (one := reported.get(match.match_id)) is None:
                self._match_over(match, MatchEnd(match.match_id, "lost"))
                lost += 1
            else:
                match.linked_again(one, placement)
        file, descriptors = self._lend_unsent()
        again = not self._is_adopted
        self.send(Adopted(self.rooms.match_ids, file, again), descriptors)
        # The keys may have changed; whoever waits for them asks again.
        self.send(TokenKeys(0, self._token_keys))
        self._log.info(
            "game server {server} (process {pid}) has a link again: {count} matches go "
            "on, {lost} are lost",
            server=self.server_id,
            pid=ready.pid,
            count=len(self.rooms),
            lost=lost,
        )
        self._do(self._life.dialed)
        if self.rooms.is_used_up:
            self.leave()

    def _lend_unsent(self) -> tuple[int, tuple[int, ...]]:
        """
        Make a file in which it writes checkpoints while it has no link.

        :returns: its inode number, and a descriptor to send; 0 and nothing if it gets
            no file: then its matches wait while it has no link.
        """
        self._is_lent = True
        if self._link is None or self._link.is_lossy:
            return 0, ()
        try:
            file = make_unsent()
            self._unsent.append(file)
            for old in self._unsent[:-2]:
                os.close(old)
            del self._unsent[:-2]
            return os.fstat(file).st_ino, (os.dup(file),)
        except OSError as error:
            self._log.error(
                "matches of game server {server} wait whenever it has no link: {why}",
                server=self.server_id,
                why=str(error),
            )
            return 0, ()

    def _take_unsent(self) -> None:
        """Take what it wrote, while it had no link, before it ended."""
        for file in self._unsent:
            for message in read_unsent(file):
                if (match := self.rooms.get(message.match_id)) is not None:
                    match.kept.take_unsent(message)
        self._close_unsent()

    def _close_unsent(self) -> None:
        files, self._unsent = self._unsent, []
        for file in files:
            os.close(file)

    def adopt(self, record: ServerRecord, matches: Mapping[str, RunningMatch]) -> bool:
        """
        Go on with a game server that an earlier node started.

        :returns: ``False`` if its process is gone; then nothing is done.
        """
        if not self._supply.adopt(self, record.handle, record.where):
            return False
        self._where, self._anchor = record.where, record.anchor.encode("ascii")
        self._port, self.has_listened, self._is_adopted = record.where.port, True, True
        self._other_keys = {k: v.encode() for k, v in record.token_keys.items()}
        # Another one can take its matches over if the same authority signs for it.
        self.label = record.label
        self._credentials = self._issue()
        self.rooms.spare = 0
        for one in record.matches:
            match = matches[one.plan.match_id]
            match.adopt(self, one)
            self.rooms.add(match)
        self.trust(self._issuer.token_keys())
        self._do(self._life.adopt)
        self._call()
        return True

    @property
    def _is_ours(self) -> bool:
        return self._records is None or self._records.is_ours(self.server_id)

    def _call(self) -> None:
        """Have it link to this node; not while it may have a link to another one."""
        if self._is_ours:
            self._supply.call(self.server_id)

    def let_go(self) -> bool:
        """
        Leave it playing for a later node, which finds it by its record.

        :returns: ``False`` if it has nothing to play, or if no later node finds it.
        """
        is_recorded = any(match.record is not None for match in self.rooms)
        if self.stage not in ("listening", "away") or not is_recorded:
            return False
        self._release()
        return True

    def give_up(self) -> None:
        """Another node goes on with it: send it nothing more."""
        for match in self.rooms:
            # That one writes the records and copies.
            match.record = None
            if match.copy is not None:
                match.copy.over()
        self._release()

    def _release(self) -> None:
        self._end_own()
        self._keys_taken(inf)
        self._supply.release(self.server_id)
        if self._link is not None:
            link, self._link = self._link, None
            link.release()
        self._close_unsent()

    def lost(self) -> None:
        """Its link is closed."""
        self._link = None
        if self.stage == "listening" and any(
            not one.is_own and one.stage != "opening" for one in self.rooms
        ):
            self._log.warn(
                "game server {server} plays on without a link", server=self.server_id
            )
            self._end_own()
            self._do(self._life.cut_off)
        else:
            self._do(self._life.link_lost)

    def _end_own(self) -> None:
        """End the rooms of this node: it has no link to them any more."""
        for match in self.rooms:
            if match.is_own:
                self._match_over(match, MatchEnd(match.match_id, "lost"))

    def _match_over(self, match: RunningMatch, end: MatchEnd) -> None:
        if self.rooms.remove(match):
            match.ended(end)
            if match.record is not None:
                self._write()

    # What a later node has to know.

    def open(self, match: RunningMatch) -> None:
        """Host a match."""
        self.rooms.spare -= 1
        self._host(match)
        match.open(self)
        self._supply.plays(self.server_id, self.rooms.match_ids)

    def _host(self, match: RunningMatch) -> None:
        self.rooms.add(match)
        # First: a match that nobody remembers would be played for nobody.
        if self._records is not None and self._where is not None and not match.is_own:
            match.record = self._records.record(match.plan, match.hosts)
            self._write()

    def store(self) -> None:
        """Bring the copies of its matches up to date."""
        if self._where is not None:
            placement = self._placement
            for match in self.rooms:
                match.store(self.server_id, placement)

    def drop(self, match: RunningMatch) -> None:
        """Another node has gone on with a match: end it without a word."""
        match.is_withdrawn = True
        if len(self.rooms) > 1:
            match.close("lost")
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._do(self._life.overdue)

    def _write(self) -> None:
        handle, where = self._supply.handle(self.server_id), self._where
        if self._records is None:
            return
        records = tuple(one.record for one in self.rooms if one.record is not None)
        if not records or not handle or where is None:
            self._records.forget(self.server_id)
            return
        self._records.write(
            ServerRecord(
                self.server_id,
                self.label,
                handle,
                where,
                self._anchor.decode("ascii"),
                records,
                token_keys={k: v.decode() for k, v in self._token_keys.items()},
            )
        )

    def cut(self) -> None:
        """Close its link, which nothing waits for."""
        self._close_unsent()
        self._close_link()

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.abort()

    def leave(self, ask: bool = True) -> None:
        """Let it end; *ask* it to unless it ends by itself."""
        self.was_asked_to_leave = True
        self._do(lambda now: self._life.leave(ask, now))

    def tick(self) -> None:
        """Check, each second, whether it is alive and on time."""
        now = self._now()
        if self.stage == "away" and not self._is_ours:
            # Another node may have it: neither call nor kill it.
            pass
        elif now >= self._facts.deadline:
            self._log.info(
                "game server {server} is late ({stage})",
                server=self.server_id,
                stage=self.stage,
            )
            self._do(self._life.overdue)
        elif self.stage in ("warm", "binding", "listening"):
            self._beat()
        elif self.stage == "away":
            self._call()
        if now >= self._renew_at:
            self.renew_certificate()
        for match in self.rooms if self.stage == "listening" else ():
            if match.is_stuck():
                self._log.error(
                    "game server {server} does not answer for match {match_id}",
                    server=self.server_id,
                    match_id=match.match_id,
                )
                self._do(self._life.overdue)
                break

    def _beat(self) -> None:
        if self._unanswered >= MISSED_HEARTBEATS:
            self._log.error("game server {server} hangs", server=self.server_id)
            self._do(self._life.overdue)
            return
        self._beats += 1
        self._unanswered += 1
        self.send(Heartbeat(self._beats))

    # Its keys.

    def renew_certificate(self) -> None:
        """
        Make the certificate that it will serve players with; not if it does now.

        If the authority cannot sign, it keeps the one that it has. One that has bound
        a port with it, and had no match, is outdated.
        """
        if self._has_udp and not self.has_listened and self.takeover is None:
            self._credentials = self._issue() or self._credentials
        elif self._has_udp and self._is_idle:
            # It goes on with its own, and ends only if there can be a newer one.
            self.is_outdated = self._issue() is not None

    def _issue(self) -> Credentials | None:
        """Have a certificate made; ``None`` if the authority cannot sign."""
        self._renew_at = self._now() + RENEWAL_SECONDS
        try:
            issued = self._issuer.issue(self.label)
        except Misconfigured as error:
            self._log.error(
                "game server {server} gets no new certificate: {why}",
                server=self.server_id,
                why=str(error),
            )
            return None
        return Credentials(issued, self._issuer.anchor)

    def trust(self, token_keys: dict[str, bytes]) -> Deferred[None]:
        """
        Have it accept tokens of these keys.

        :returns: fires when it does, or is gone; at once if it gets them with its port.
        """
        # And those that its players got from the node before.
        self._token_keys = {**self._other_keys, **token_keys}
        if not self._has_keys:
            return succeed(None)
        self._keys_sent += 1
        taken = self._untaken[self._keys_sent] = Deferred()
        self.send(TokenKeys(self._keys_sent, self._token_keys))
        return taken

    def _keys_taken(self, number: float) -> None:
        """It accepts the keys with this number, and so those before."""
        for earlier in [one for one in self._untaken if one <= number]:
            taken = self._untaken.pop(earlier, None)
            if taken is not None and not taken.called:
                taken.callback(None)

    @property
    def _has_keys(self) -> bool:
        return bool(self._port) and self.stage in ("binding", "listening")

    def rotate_cookies(self) -> bool:
        """Have it make cookies with a new key; ``False`` if it has none."""
        if self._has_keys:
            self.send(RotateCookies())
        return self._has_keys

    def send(self, message: ToServer, descriptors: tuple[int, ...] = ()) -> None:
        """
        Send it a message; no effect if it is known to be gone.

        :param message: the message.
        :param descriptors: open files that go with it, and are closed here.
        """
        if self._link is not None:
            self._link.send(message, descriptors)
            return
        for one in descriptors:
            os.close(one)

    def _reached(self, where: ServerAddress) -> None:
        if self.stage != "binding":
            return  # It is leaving already.
        self._where, self.has_listened = where, True
        self._go_on()
        self._do(self._life.reached)

    def _go_on(self) -> None:
        """Go on with what it is to take over."""
        takeover, self.takeover = self.takeover, None
        if takeover is None:
            return
        if takeover.where is not None and takeover.where != self._where:
            self._supply.free(takeover.where)
        self._watch.took_over(takeover)
        for match in takeover.matches:
            self._host(match)
            match.resume(self)
        self._supply.plays(self.server_id, self.rooms.match_ids)

    def _not_started(self, failure: Failure) -> None:
        if self._has_ended:
            return  # It was started, and its exit is known.
        self.end = failure.getErrorMessage()
        # A supply that knows why has logged that once, for all of them.
        log = self._log.debug if self._supply.problem else self._log.error
        log(
            "game server {server} not started: {why}",
            server=self.server_id,
            why=self.end,
        )
        self._do(self._life.exited)

    def _do(self, step: Callable[[float], None]) -> None:
        """Pass an event to its machine, and act on the outbox."""
        facts = self._facts
        before = self.stage
        step(self._now())
        if facts.stage != before:
            self.stage = facts.stage
            self._watch.moved(self, before, facts.stage)
        effects, facts.outbox = facts.outbox, []
        for effect in effects:
            match effect:
                case Effect.ADDRESS:
                    if self._wanted is not None:
                        wanted, self._wanted = self._wanted, None
                        takeover = self.takeover
                        wanted.callback(None if takeover is None else takeover.where)
                case Effect.STOP:
                    self.send(Stop())
                case Effect.TERMINATE:
                    self._supply.stop(self.server_id)
                case Effect.KILL:
                    self._supply.stop(self.server_id, kill=True)
                case Effect.CUT_LINK:
                    self._close_link()
                case Effect.GONE:
                    # Not before all was read that it sent.
                    self._take_unsent()
                    self._keys_taken(inf)
                    self._watch.gone(self)
        self._watch.pump()

    @property
    def _placement(self) -> Placement:
        assert self._where is not None
        anchor = self._anchor.decode("ascii")
        return Placement(self.label, self._where.address, self._where.port, anchor)

    # Its messages.

    def received(self, message: AnyToNode) -> None:
        """
        Handle a message that it sent.

        :raises PeerError: the message is not allowed now; the process is killed.
        """
        try:
            match message:
                # First of all: one comes for every state.
                case Kept():
                    self._kept(message)
                case Alive():
                    if message.number:
                        # Later ones are not answered yet, and its lease counts on that.
                        unanswered = max(0, self._beats - message.number)
                        self._unanswered = min(self._unanswered, unanswered)
                        self._heard_at = self._now()
                    self.figures = message.figures
                    self.is_overloaded = self.figures.get("overloaded", 0.0) > 0
                    self.cookie_keys = message.cookie_keys
                case TokenKeysTaken(number):
                    self._keys_taken(number)
                case Bound() | BindFailed():
                    self._port_answered(message)
                case TicketAdded(label):
                    for match in self.rooms:
                        match.admissions.accepted(label)
                case RoomEnded(end, number):
                    self._room_ended(end, number)
                case Draining(is_last):
                    self._draining(is_last)
                case Ready():
                    raise PeerError("a game server sends ready only once, at first")
                case RoomOpened(match_id):
                    if (opened := self.rooms.get(match_id)) is not None:
                        opened.opened(self._placement)
                case _:
                    about = self.rooms.get(message.match_id)
                    if about is not None and about.received(message):
                        self._write()
        except PeerError:
            self._do(self._life.overdue)
            raise

    def _room_ended(self, end: MatchEnd, number: int) -> None:
        if (match := self.rooms.get(end.match_id)) is not None:
            if number and self._link is not None and self._link.is_lossy:
                # Until it knows that this is here, players are not sent it.
                self.send(KeptTaken(end.match_id, number))
            self._match_over(match, end)
        if self.rooms.is_used_up:
            # One that could host more does not know that it gets none.
            ask = self._is_adopted
            self._do(lambda now: self._life.leave(ask, now))
            return
        if self._is_draining:
            # Perhaps this was the one that could not go on elsewhere.
            self._watch.drains(self, False)
        self._watch.pump()

    def _kept(self, message: Kept) -> None:
        """Take a checkpoint, and answer it where that is needed."""
        match_id, number = message.match_id, message.number
        match, is_awaited = self.rooms.get(match_id), False
        if match is not None:
            match.kept.take(message)
            is_awaited = match.awaits_store
            if is_awaited and not match.store(self.server_id, self._placement):
                return
        if self._link is not None and (self._link.is_lossy or is_awaited):
            # Until it knows that this is here, it shows nothing of it.
            self.send(KeptTaken(match_id, number))
        elif not (self._is_lent or self._has_ended):
            file, descriptors = self._lend_unsent()
            if file:
                self.send(KeptTaken(match_id, number, file), descriptors)

    def _draining(self, is_last: bool = False) -> None:
        """It was asked to end from outside: it gets no more matches."""
        if is_last:
            self._watch.drains(self, True)
            return
        self._log.info("game server {server} drains", server=self.server_id)
        self._is_draining = True
        self.was_asked_to_leave, self.rooms.spare = True, 0
        if self.stage in ("warm", "binding") or not self.rooms:
            self._do(lambda now: self._life.leave(False, now))
        else:
            self._watch.drains(self, False)

    def _port_answered(self, answer: Bound | BindFailed) -> None:
        if self.stage == "leaving":
            return
        binding, self._binding = self._binding, None
        if self.stage != "binding" or binding is None or answer.port != self._port:
            raise PeerError(f"port {answer.port} was not requested")
        if isinstance(answer, Bound):
            binding.callback(True)
            return
        self._log.info(
            "port {port} cannot be bound: {why}", port=answer.port, why=answer.why
        )
        self._port = None
        if self.takeover is not None and self.takeover.where is not None:
            # Somebody else has it: its players learn the new one from the lobby.
            self.takeover = attrs.evolve(self.takeover, where=None)
        self._life.bind_failed(self._now())
        self.stage = self._facts.stage
        self._watch.moved(self, "binding", self.stage)
        binding.callback(False)
        if self.takeover is not None:
            self.need()
        self._watch.pump()
