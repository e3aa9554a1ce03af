"""What a node does when its store, its lease or another node goes, or is back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service

from vinom import __version__
from vinom.base.model import MatchEnd, NodeFacts, Prematch
from vinom.lobby.conversation.online import Reporting
from vinom.node.build import AWAY_MARGIN, Parts
from vinom.node.lease import heartbeat_of
from vinom.node.links import DIRECT
from vinom.node.settings import Settings
from vinom.node.takeover import Takeover


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
            settings.orphan_seconds + AWAY_MARGIN,
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
            parts.lobby.matches.assert_owned()
            parts.lobby.matchmaker.rounds.hold(heartbeat)
            # Once more when other nodes have ended what only the store has.
            self._clock.callLater(heartbeat / 4, self._assert_again)
        parts.base.lease.beat()
        self._reporting.look()
        parts.rooms.ownership.store_again()

    def _assert_again(self) -> None:
        self._parts.lobby.matches.assert_owned()
        self._parts.lobby.matchmaker.assert_owned()
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
        rooms = parts.rooms.directory.status()["rooms"] + len(
            parts.lobby.matches.describe()
        )
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
        )

    def lease_granted(self) -> None:
        self._parts.adoption.check_owned()

    def lease_regained(self) -> None:
        parts, has_emptied = self._parts, self._parts.base.lease.has_emptied
        parts.lobby.matches.assert_owned(has_emptied)
        if has_emptied:
            parts.requests.store_emptied()
        parts.rooms.ownership.store_again()
        self._messages_missed()

    def lease_over(self) -> None:
        self._parts.rooms.ownership.lease_over()

    # Other nodes (`vinom.node.takeover.Survivor`).

    def match_lost(self, end: MatchEnd) -> None:
        self._parts.lobby.matches.lost_elsewhere(end)
        players = [seat.player_id for seat in end.seats if seat.player_id]
        self._parts.lobby.parties.freed(players)

    async def prematch_over(self, prematch: Prematch) -> None:
        self._parts.lobby.matchmaker.prematches.over(prematch)

    def player_lost(self, player_id: str) -> None:
        self._parts.requests.player_lost(player_id)

    async def end_rooms(self, node_id: str) -> int:
        return await self._parts.rooms.ownership.end_orphans(node_id)

    async def adopt_left(self, node_id: str) -> None:
        """Go on with matches that another node has left; not if this one stops."""
        if self._is_serving():
            await self._parts.adoption.adopt_left(node_id)

    def nothing_left(self) -> None:
        self._parts.requests.look_again()
