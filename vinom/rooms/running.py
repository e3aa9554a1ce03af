"""Seats in running rooms, of this node and of others, for players who wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vinom.errors import NoCapacity, StoreUnavailable
from vinom.rooms.rooms import Rooms

#: How many other nodes are asked for seats of one party.
_MOST_ASKED = 8


class Nodes(Protocol):
    """Reaches other nodes: `vinom.node.links.NodeLinks`."""

    async def others(self) -> Sequence[str]:
        """
        List the ids of the others.

        :raises StoreUnavailable: it is not known.
        """

    async def ask_seats(
        self, node_id: str, game: str, options: bytes, player_ids: Sequence[str]
    ) -> str:
        """
        Ask a node to keep seats of a running room; empty if no room has as many.

        :raises NoCapacity: that node cannot be reached.
        """


class RunningRooms:
    """
    Keep seats for players who wait: see `vinom.lobby.matchmaking.matchmaker.Running`.
    """

    def __init__(self, rooms: Rooms, nodes: Nodes | None) -> None:
        """
        :param rooms: of this node.
        :param nodes: reaches the others; ``None`` if there are none.
        """
        self._rooms, self._nodes = rooms, nodes
        self._turn = 0

    async def seats(self, game: str, options: bytes, player_ids: Sequence[str]) -> str:
        """Keep seats for these players; returns the room's id, or nothing."""
        room_id = self._rooms.reserve(game, options, player_ids)
        if room_id or self._nodes is None:
            return room_id
        try:
            others = await self._nodes.others()
        except StoreUnavailable:
            return ""
        # Not always the same ones first.
        self._turn += 1
        turn = self._turn % max(1, len(others))
        for node_id in (*others[turn:], *others[:turn])[:_MOST_ASKED]:
            try:
                found = await self._nodes.ask_seats(node_id, game, options, player_ids)
            except NoCapacity:
                continue
            if found:
                return found
        return ""
