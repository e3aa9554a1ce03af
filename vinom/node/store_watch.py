"""What a node does when its store, its lease or another node goes, or is back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom import __version__
from vinom.base.limits.logged import in_background
from vinom.base.model import (
    Estate,
    MatchEnd,
    MatchPlan,
    NodeFacts,
    NodeLease,
    Prematch,
)
from vinom.base.reactor.waits import Repeating
from vinom.errors import StoreUnavailable
from vinom.fleet.local.process import has_ended, this_process
from vinom.lobby.conversation.online import Reporting
from vinom.node.build import AWAY_MARGIN, Parts
from vinom.node.lease import heartbeat_of
from vinom.node.links import DIRECT
from vinom.node.settings import Settings
from vinom.store.interfaces import ILobbyStore, INodeStore

#: Entries and matches that one step deals with.
_AT_ONCE = 100
#: Suspended entries of players who are not back yet expire after this time, seconds.
_ENTRY_SECONDS = 30.0
#: How long a match that cannot go on at one node may take to go on at another, seconds.
_ELSEWHERE_SECONDS = 60.0
#: How long the end of a match is remembered, seconds.
_MEMORY_SECONDS = 600.0

_What = TypeVar("_What")


def _keys(leases: Iterable[NodeLease]) -> set[tuple[str, int]]:
    return {(lease.node.node_id, lease.number) for lease in leases}


class Takeover(Repeating):
    """
    Clear up after nodes whose lease is over; any number of nodes may do so at once.

    Their matches are played on by their game processes, which a node on the same
    machine adopts at once. When those must have ended, too, matches go on from their
    copies in the store; those without one end as lost. Their queue entries
    are this node's from now on, and stay for as long as those of a player who is
    disconnected; members of parties keep their places for as long, too. Their
    prematches end, and nobody is to blame. Their rooms wait for their players' grace;
    then they end.
    """

    name = "takeover"
    _log = Logger()

    def __init__(
        self,
        nodes: INodeStore,
        lobby: ILobbyStore,
        clock: IReactorTime,
        survivor: StoreWatch,
        lease: float = 10.0,
        match_seconds: float = 0.0,
        node_id: str = "",
    ) -> None:
        """
        :param nodes: the registry.
        :param lobby: matches and entries that dead nodes left.
        :param clock: its seconds are those of the Unix epoch.
        :param survivor: is called with what is found.
        :param lease: how long a lease lasts, seconds.
        :param match_seconds: how long matches may be played on without a node.
        :param node_id: of this node, whose own lease may just be over, too.
        """
        super().__init__(self._look, heartbeat_of(lease), clock)
        self._survivor, self._match_seconds = survivor, match_seconds
        self._node_id = node_id
        # By node and number of its lease: when its matches are lost.
        self._lost_at: dict[tuple[str, int], float] = {}
        # The nodes that were there at the last look, dead or alive.
        self._known: set[tuple[str, int]] = set()
        self._nodes, self._lobby = nodes, lobby
        self._clock, self._lease = clock, lease
        self._not_before, self._is_unsure = 0.0, False

    def startService(self) -> None:
        super().startService()
        self.wait()

    def wait(self) -> None:
        """
        Take over nothing for one lease.

        The store may have been away: all leases ended with it, and their nodes, which
        are well, need a moment to get new ones.
        """
        self._not_before = self._clock.seconds() + self._lease

    def _look(self) -> Deferred[None]:
        return in_background(self._log, self._clear_up(), "cannot clear up")

    async def _clear_up(self) -> None:
        try:
            running = await self._nodes.nodes()
            for lease in running:
                if has_ended(lease.node.process):
                    # Nobody needs to wait for the end of its lease.
                    await self._nodes.leave(lease.node.node_id, lease.number)
            listed = await self._nodes.nodes(expired=True)
            expired = [one for one in listed if one.node.node_id != self._node_id]
            dead = _keys(expired)
            known, self._known = self._known, dead | _keys(running)
            if known - self._known:
                self._survivor.nothing_left()
            if self._clock.seconds() < self._not_before:
                return
            self._lost_at = {k: v for k, v in self._lost_at.items() if k in dead}
            if self._is_unsure:
                ours = await self._lobby.abandon("", _AT_ONCE, _ENTRY_SECONDS)
                await self._wait_for(ours or Estate((), ()))
                self._is_unsure = False
            await self._try(self._survivor.adopt_left, "")
            for lease in expired:
                await self._try(self._bury, lease)
        except StoreUnavailable:
            # The next look goes on: each step may be done twice.
            return

    async def _try(self, called: Callable[[_What], Any], what: _What) -> Any:
        """
        Do it for one; should it fail, others do not wait, and it is tried again.

        :returns: what came of it; ``None`` if it failed.
        """
        try:
            done = called(what)
            return done if done is None else await done
        except StoreUnavailable:
            raise
        except Exception:
            self._log.failure(
                "{call} failed for {what}", call=called.__name__, what=what
            )
            return None

    async def _wait_for(self, left: Estate) -> None:
        """Wait for players of a node that is gone."""
        for player_id in left.players:
            await self._try(self._survivor.player_lost, player_id)
        for prematch in left.prematches:
            await self._try(self._survivor.prematch_over, prematch)

    async def _bury(self, lease: NodeLease) -> None:
        node_id, lost, went_on = lease.node.node_id, 0, 0
        now = self._clock.seconds()
        first = self._lost_at.setdefault(
            (node_id, lease.number), now + self._match_seconds
        )
        await self._try(self._survivor.adopt_left, node_id)
        # Until there is an answer: these players may be this node's.
        self._is_unsure = True
        while matches := await self._lobby.matches_of(node_id, _AT_ONCE):
            if now < first:
                break
            before = lost + went_on
            for match in matches:
                plan = match.plan
                goes_on = match.is_placed and await self._try(
                    self._survivor.go_on, plan
                )
                if goes_on or (goes_on is None and now < first + _ELSEWHERE_SECONDS):
                    went_on += goes_on is True
                    continue
                who = tuple(
                    attrs.evolve(seat, loadout=b"{}", claims=b"{}")
                    for seat in plan.seats
                )
                end = MatchEnd(plan.match_id, "lost", seats=who)
                expires_at = self._clock.seconds() + _MEMORY_SECONDS
                # Nobody was sent to one without a place: its players wait again.
                again = () if match.is_placed else match.entry_ids
                if await self._lobby.end(end, expires_at, again):
                    lost += 1
                    await self._try(self._survivor.match_lost, end)
                    if again:
                        # Some went while it was being made.
                        players = [one.player_id for one in who if one.player_id]
                        await self._wait_for(Estate((), players))
            if lost + went_on == before:
                # It has come back, and goes on with them; or others do.
                break
        while left := await self._lobby.abandon(node_id, _AT_ONCE, _ENTRY_SECONDS):
            await self._wait_for(left)
        self._is_unsure = False
        if count := await self._survivor.end_rooms(node_id):
            self._log.warn(
                "ended {count} rooms of node {node_id}: nobody came back to them",
                count=count,
                node_id=node_id,
            )
        if matches:
            # Until then the node stays listed as one whose lease is over.
            return
        if await self._nodes.leave(node_id, lease.number):
            (self._log.warn if lost else self._log.info)(
                "node {node_id} is gone: {lost} of its matches are lost, {went_on} "
                "go on here",
                node_id=node_id,
                lost=lost,
                went_on=went_on,
            )


class StoreWatch:
    """
    Follow the store, this node's lease, and nodes that are gone.

    :ivar services: what runs as long as the node; empty without other nodes.
    """

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        clock: Any,
        addresses: Callable[[], Mapping[str, str]],
        is_serving: Callable[[], bool],
    ) -> None:
        """
        :param parts: of the node.
        :param settings: the node's.
        :param clock: its seconds are those of the Unix epoch.
        :param addresses: where others reach the node, by `NodeFacts.addresses`; empty
            if it is about to stop.
        :param is_serving: may it take over matches of others?
        """
        self._parts, self._settings = parts, settings
        self._addresses, self._is_serving = addresses, is_serving
        self._was_away, self._clock = False, clock
        self._reporting = Reporting(parts.lobby.online, clock)
        parts.base.lease.watch = self
        parts.lobby.online.missed = self._messages_missed
        stores = parts.base.stores
        self.services: list[Service] = []
        if stores.client is None:
            return
        self._takeover = Takeover(
            stores.nodes,
            stores.lobby,
            clock,
            self,
            settings.lease_seconds,
            # Players of a relay have left with their node, and see no other way on.
            settings.orphan_seconds + AWAY_MARGIN if settings.udp == "direct" else 0.0,
            stores.node_id,
        )
        stores.client.watch(self._store_changed)
        if stores.replicated is not None:
            stores.replicated.watch(self._replica_changed)
        self.services += (self._takeover, self._reporting)

    def _store_changed(self, is_available: bool) -> None:
        parts = self._parts
        if not is_available:
            self._was_away = True
            parts.base.lease.doubt()
            parts.rooms.ownership.store_away()
            parts.lobby.matchmaker.prematches.disturbed()
            return
        self._takeover.wait()
        if self._was_away:
            parts.rooms.ownership.wait(self._settings.lease_seconds)
        client = parts.base.stores.client
        if client is not None and client.has_other_data:
            heartbeat = heartbeat_of(self._settings.lease_seconds)
            self._assert_matches()
            parts.lobby.matchmaker.rounds.hold(heartbeat)
            # Once more when other nodes have ended what only the store has.
            self._clock.callLater(heartbeat / 4, self._assert_again)
        parts.base.lease.beat()
        self._reporting.look()
        parts.rooms.ownership.store_again()

    def _assert_matches(self, with_keys: bool = True) -> None:
        self._parts.lobby.matches.assert_owned(with_keys)
        self._parts.adoption.write_copies()

    def _assert_again(self) -> None:
        self._assert_matches()
        self._parts.lobby.matchmaker.assert_owned()
        self._parts.lobby.parties.look_again()
        # Of all: one who waits for nothing may be back in what it had left.
        self._messages_missed()

    def _replica_changed(self, is_available: bool) -> None:
        """Without its replica the store keeps nothing that rooms may show."""
        if not is_available:
            self._parts.rooms.ownership.store_away()
        elif self._parts.base.stores.is_available:
            self._parts.rooms.ownership.store_again()

    def _messages_missed(self, player_ids: Sequence[str] | None = None) -> None:
        """Other nodes' messages were lost, those about replaced lines too."""
        if player_ids is None:
            self._reporting.look()
            # Of all: what was asked on an older line may have moved one who is idle.
            player_ids = self._parts.lobby.online.players()
        self._parts.requests.look_again(player_ids)

    # The lease (`vinom.node.lease.LeaseWatch`).

    def facts(self) -> NodeFacts:
        """What this node reports to the others."""
        parts, settings = self._parts, self._settings
        reached = dict(self._addresses())
        if reached:
            direct = (settings.direct_lobby, settings.direct_websocket)
            for name, address in zip(DIRECT.values(), direct, strict=True):
                if address is not None:
                    reached[name] = address
        rooms = len(parts.rooms.directory.rooms) + parts.lobby.matches.count()
        return NodeFacts(
            parts.base.stores.node_id,
            reached,
            __version__,
            len(parts.lobby.online),
            rooms,
            {
                name: key.decode()
                for name, key in parts.base.authority.token_keys().items()
            },
            this_process(),
        )

    def lease_granted(self) -> None:
        self._parts.adoption.check_owned()

    def lease_regained(self) -> None:
        parts, has_emptied = self._parts, self._parts.base.lease.has_emptied
        self._assert_matches(has_emptied)
        if has_emptied:
            parts.requests.store_emptied()
        parts.rooms.ownership.store_again()
        self._messages_missed()

    def lease_over(self) -> None:
        self._parts.rooms.ownership.lease_over()

    # Other nodes, as `Takeover` finds them.

    def match_lost(self, end: MatchEnd) -> None:
        """A match of a node that is gone has ended."""
        self._parts.lobby.matches.lost_elsewhere(end)
        players = [seat.player_id for seat in end.seats if seat.player_id]
        self._parts.lobby.parties.freed(players)

    async def prematch_over(self, prematch: Prematch) -> None:
        """A prematch of that node, as it was, has ended."""
        self._parts.lobby.matchmaker.prematches.over(prematch)

    def player_lost(self, player_id: str) -> None:
        """A player's line went to that node, or its player was expected there."""
        self._parts.requests.player_lost(player_id)

    async def end_rooms(self, node_id: str) -> int:
        """End rooms of a node to which nobody came back."""
        return await self._parts.rooms.ownership.end_orphans(node_id)

    async def adopt_left(self, node_id: str) -> None:
        """
        Go on with matches that this node can reach; not if it stops.

        :param node_id: of the node that has left them; empty for stopping nodes.
        """
        if self._is_serving():
            await self._parts.adoption.adopt_left(node_id)

    async def go_on(self, plan: MatchPlan) -> bool | None:
        """Go on with a match whose machine is gone; not if this node stops."""
        return await self._parts.adoption.go_on(plan) if self._is_serving() else None

    def nothing_left(self) -> None:
        """Nothing is left of a node: it may have sent less than it has done."""
        self._parts.requests.look_again()
