"""Matches of other nodes, or of the previous one, whose game servers still run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from msgspec.structs import replace
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchPlan, Placement
from vinom.errors import LeaseLost, NoCapacity, StoreUnavailable
from vinom.fleet.fleet import Continuity
from vinom.fleet.local.fleet import is_own_folder
from vinom.fleet.match import Readable
from vinom.fleet.records import (
    MatchCopy,
    Records,
    ServerRecord,
    ServerRecords,
    write_stored,
)
from vinom.lobby.matches.service import Matches
from vinom.node.claims import Claims
from vinom.store.interfaces import IOwnedStore, IPlayerStore

if TYPE_CHECKING:
    from vinom.fleet.kubernetes.fleet import KubernetesFleet
    from vinom.fleet.local.fleet import LocalFleet

_log = Logger()


@attrs.frozen
class Shared:
    """
    The means to go on with matches of other nodes.

    :ivar games: the games of this node.
    :ivar reaches: can this node link to a game server, by its id and its handle?
    :ivar bring: moves the recording of a match here, from the folder of its node.
    :ivar copies: of matches, for the death of a machine.
    :ivar why_not: says why no game here can go on from a checkpoint; or nothing.
    :ivar adopted: called when players may have been waiting for a match.
    :ivar moved: called with each match that another node has taken over.
    """

    games: Container[str]
    reaches: Callable[[str, str], Awaitable[bool]]
    bring: Callable[[str, Path], None]
    copies: IOwnedStore
    why_not: Readable
    adopted: Callable[[], None]
    moved: Callable[[str], None]


@attrs.frozen
class Adoption:
    """
    Take over game servers that an earlier node with this state directory, or another
    node, has left.

    :ivar records: the records of the earlier node.
    :ivar now: the time, seconds since the Unix epoch.
    :ivar key_seconds: how long player keys are valid.
    :ivar is_relayed: did the earlier node have the players' connections? Then they are
        gone, and their matches go on from their copies only.
    :ivar shared: ``None`` if no other node can go on with a match of this one.
    :ivar claims: records which game servers are this node's; ``None`` if those of other
        nodes cannot be had.
    """

    records: ServerRecords
    continuity: Continuity
    processes: LocalFleet | KubernetesFleet
    matches: Matches
    players: IPlayerStore
    now: Callable[[], float]
    key_seconds: float
    is_relayed: bool = False
    shared: Shared | None = None
    claims: Claims | None = None

    def begin(self) -> None:
        """Adopt all game servers that still run, before players connect."""
        if self.shared is not None:
            self.continuity.copy_of = self._copy_of
        if self.claims is not None:
            self.claims.taken = self._taken
        for record in self.records.read():
            if self.claims is not None:
                # Another node may have it by now. Until that is known it is not called.
                self.claims.found(record)
                settled = self.claims.settled(record.server_id)
                settled.addCallback(self._settled, record.server_id)
            self._adopt(record)
        self.processes.clear()

    def _settled(self, is_ours: bool, server_id: str) -> None:
        if is_ours:
            self.processes.call(server_id)

    async def adopt_left(self, node_id: str) -> None:
        """
        Take over game servers that another node has left.

        :param node_id: id of that node; empty for those of stopping nodes.
        :raises StoreUnavailable: some may be left; call this again.
        """
        shared, claims = self.shared, self.claims
        if shared is None or claims is None:
            return
        for record in await claims.left(node_id, self._can_adopt):
            try:
                await self._take_over(shared, claims, record)
            except LeaseLost:
                # Another node may take it before this one has a new lease.
                claims.again(record.server_id)
            except Exception:
                # They are this node's now, so no other node takes over the others.
                _log.failure(
                    "cannot take over game server {server}", server=record.server_id
                )

    async def _can_adopt(self, record: ServerRecord) -> bool:
        return (
            self.shared is not None
            and all(one.plan.game in self.shared.games for one in record.matches)
            and await self.shared.reaches(record.server_id, record.handle)
        )

    async def _take_over(
        self, shared: Shared, claims: Claims, record: ServerRecord
    ) -> None:
        # First of all: the node that had it may be starting again.
        if is_own_folder(folder := Path(record.folder)):
            ServerRecords(folder, self.now).forget(record.server_id)
        placement = _placement(record)
        running = [
            one for one in record.matches if await self.matches.own(one.plan, placement)
        ]
        if not running:
            claims.forget(record.server_id)
            return
        if is_own_folder(Path(record.recordings)):
            for one in running:
                shared.bring(one.plan.match_id, Path(record.recordings))
        record = replace(record, matches=tuple(running))
        claims.write(record)
        self._adopt(record)
        shared.adopted()

    async def go_on(self, plan: MatchPlan) -> bool | None:
        """
        Go on with a match of a node that is gone, as is its machine, from its copy.

        :returns: ``False`` if nobody can; ``None`` if perhaps another node does.
        :raises StoreUnavailable: call this again.
        """
        shared = self.shared
        if shared is None:
            return False
        if plan.game not in shared.games or not self.continuity.has_address:
            return None
        copy = self._copy_of(plan.match_id)
        try:
            match = await copy.read()
        except NoCapacity:
            return None
        if match is None:
            return False
        if why := shared.why_not(plan, match.checkpoint):
            _log.warn("match {match_id}: {why}", match_id=plan.match_id, why=why)
            await copy.release(write_stored(match))
            return None
        if self.claims is not None:
            # Its node would go on with it when the machine is back.
            await self.claims.bury(match.server_id)
        if not await self.matches.own(plan, match.placement):
            copy.over()
        else:
            record = match.record
            self.matches.adopt(
                plan,
                match.placement,
                record.since,
                record.hosts,
                has_result=record.rounds > 0,
            )
            self.continuity.resume(match, copy, self.matches)
            shared.adopted()
            _log.warn(
                "match {match_id} goes on here: its machine is gone",
                match_id=plan.match_id,
            )
        return True

    def _copy_of(self, match_id: str, fence: int = 0) -> MatchCopy:
        """Make what keeps the copy of a match; see `MatchCopy`."""
        assert self.shared is not None
        return MatchCopy(self.shared.copies, match_id, fence, self._check_owner)

    def _check_owner(self, match_id: str) -> None:
        work = self._take_away(match_id)
        in_background(_log, work, "the owner of a match was not found out")

    async def _take_away(self, match_id: str) -> None:
        """Leave a match to another node, if that went on with it meanwhile."""
        try:
            owner = await self.matches.owner(match_id)
        except StoreUnavailable:
            return
        if not owner:
            return
        _log.warn("another node goes on with match {match_id}", match_id=match_id)
        self.matches.disown(match_id)
        self.continuity.take_away(match_id)
        if self.shared is not None:
            self.shared.moved(match_id)

    def offer(self) -> None:
        """Let other nodes take over all matches from now on: this node drains."""
        if self.claims is not None:
            self.claims.offer(self.continuity.has_link)

    def write_copies(self) -> None:
        """Write the copies of all matches again: the store may have lost some."""
        self.continuity.write_copies()

    def check_owned(self) -> None:
        """Find out which game servers are still this node's, which has a new lease."""
        if self.claims is not None:
            self.claims.check_owned()

    def _taken(self, server_id: str) -> None:
        """Forget a game server that another node has taken over."""
        match_ids = self.continuity.give_up(server_id)
        _log.info(
            "another node has taken over game server {server} and its {count} matches",
            server=server_id,
            count=len(match_ids),
        )
        for match_id in match_ids:
            self.matches.disown(match_id)
            if self.shared is not None:
                self.shared.moved(match_id)

    def _adopt(self, record: ServerRecord) -> None:
        placement, server_id = _placement(record), record.server_id
        records: Records = self.claims or self.records
        settled = records.settled(server_id)
        for one in record.matches:
            for known in one.known:
                expires_at = self.now() + self.key_seconds
                self.players.put(known.key_hash, known.player, expires_at, known.host)
            self.matches.adopt(
                one.plan,
                placement,
                one.since,
                one.hosts,
                has_result=one.rounds > 0,
                claimed=records.settled(server_id),
            )
        if self.continuity.adopt(record, self.matches):
            _log.info(
                "game server {server} still runs from an earlier node: {count} matches "
                "at port {port}",
                server=server_id,
                count=len(record.matches),
                port=placement.port,
            )
            if self.is_relayed:
                for one in record.matches:
                    _log.warn(
                        "players of match {match_id} were connected to the node that "
                        "ended (udp = relay)",
                        match_id=one.plan.match_id,
                    )
                    self.continuity.kill(one.plan.match_id)
            return
        settled.addCallback(self._lose, record)

    def _lose(self, is_ours: bool, record: ServerRecord) -> None:
        """End the matches of a game server that is gone, if no other node has them."""
        for one in record.matches if is_ours else ():
            _log.warn(
                "the game server of match {match_id} ended while no node ran",
                match_id=one.plan.match_id,
            )
            self.continuity.lose(one, self.matches)


def _placement(record: ServerRecord) -> Placement:
    where = record.where
    return Placement(record.label, where.address, where.port, record.anchor)
