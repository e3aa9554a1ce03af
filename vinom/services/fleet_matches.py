"""What can be asked of a match that has a game server; in vain when it is over."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from vinom.errors import NoCapacity
from vinom.model import Ticket
from vinom.services.fleet_roster import Roster
from vinom.wire.control_relay import FromRelayed, ToRelayed


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
