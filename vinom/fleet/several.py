"""
Several fleets as one: the game servers of each program are a separate fleet.

Games in Python share one program, and so their warm game servers; a game with its own
command has its own fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults

from vinom.base.model import MatchPlan, Placement, Ticket
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import CookieKeyReport, FromRelayed, Ready, ToRelayed
from vinom.fleet.fleet import Fleet
from vinom.fleet.hosted import Readable
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.records import MatchCopy, StoredMatch
from vinom.fleet.server import FleetStatus, ServerProcess


class SeveralFleets(MultiService):
    """Has the interface of `Fleet`, and calls the fleet of each game."""

    def __init__(self, common: Fleet, own: Mapping[str, Fleet]) -> None:
        """
        :param common: the fleet of all other games.
        :param own: other fleets, by the names of their games.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.setName("fleet")  # type: ignore[no-untyped-call]  # Twisted's
        self._common, self._own = common, dict(own)
        self._all = (common, *own.values())
        for number, fleet in enumerate(self._all):
            fleet.name = f"fleet-{number}"
            self.addService(fleet)  # type: ignore[no-untyped-call]  # Twisted's

    @property
    def is_draining(self) -> bool:
        """Are no new matches accepted?"""
        return self._common.is_draining

    @property
    def is_stopping(self) -> bool:
        """Is the node stopping?"""
        return self._common.is_stopping

    @property
    def leaves_matches(self) -> bool:
        """Do game servers with a match outlive this node?"""
        return self._common.leaves_matches

    @leaves_matches.setter
    def leaves_matches(self, are_left: bool) -> None:
        self._common.leaves_matches = are_left

    def move(self, server_id: str, readable: Readable) -> None:
        """Move the matches of a game server: see `Fleet.move`."""
        having = (one for one in self._all if one.has_server(server_id))
        fleet = next(having, self._common)
        fleet.move(server_id, readable)

    def go_on(self, match: StoredMatch, copy: MatchCopy, watch: IMatchWatch) -> None:
        """Go on with a match from its copy; those with a command have none."""
        self._common.go_on(match, copy, watch)

    def _with(self, match_id: str) -> Fleet:
        """Find the fleet that plays a match."""
        return next((one for one in self._all if one.plays(match_id)), self._common)

    # Matches: see `Fleet`.

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """Find a listening game server of the match's game."""
        fleet = self._own.get(plan.game, self._common)
        return fleet.place(plan, tickets, watch, relay, hosts)

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """Admit one more handshake."""
        return self._with(ticket.match_id).add_ticket(ticket)

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good."""
        self._with(match_id).kick(match_id, seat)

    def plays(self, match_id: str) -> bool:
        """Is this match in a game server?"""
        return self._with(match_id).plays(match_id)

    def pass_on(self, message: ToRelayed) -> None:
        """Send the action of a player of this node to a match."""
        self._with(message.match_id).pass_on(message)

    def follow(
        self,
        match_id: str,
        relay: Callable[[FromRelayed], None] | None,
        packed: bool = False,
    ) -> None:
        """Receive the states and events of a running match for players of this node."""
        self._with(match_id).follow(match_id, relay, packed)

    def is_overloaded(self, match_id: str) -> bool:
        """Did its game server last report that it is overloaded?"""
        return self._with(match_id).is_overloaded(match_id)

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match."""
        self._with(match_id).close_room(match_id, reason)

    # Keys.

    def share_token_keys(self) -> Deferred[None]:
        """Pass the issuer's token keys to all game servers that have older ones."""
        shared = gatherResults([one.share_token_keys() for one in self._all])
        return shared.addCallback(lambda _: None)

    def renew_certificates(self) -> None:
        """Get new certificates from the current authority for warm game servers."""
        for one in self._all:
            one.renew_certificates()

    def rotate_cookies(self) -> int:
        """Rotate the cookie keys of game servers; returns how many do so."""
        return sum(one.rotate_cookies() for one in self._all)

    def cookie_keys(self) -> dict[str, tuple[CookieKeyReport, ...]]:
        """List the cookie keys of each game server, as last reported."""
        return {
            server: keys
            for one in self._all
            for server, keys in one.cookie_keys().items()
        }

    # For operators.

    def status(self) -> FleetStatus:
        """Count everything; the fleets share their addresses."""
        found = [one.status() for one in self._all]
        stages = found[0].servers
        return attrs.evolve(
            found[0],
            servers={
                stage: sum(each.servers[stage] for each in found) for stage in stages
            },
            waiting=sum(each.waiting for each in found),
            rooms=sum(each.rooms for each in found),
            went_on={
                why: sum(each.went_on[why] for each in found)
                for why in found[0].went_on
            },
            problem=self.problem,
            game_servers={
                server: status
                for each in found
                for server, status in each.game_servers.items()
            },
        )

    @property
    def problem(self) -> str:
        """Why no game server of some game can be started; empty if they can."""
        return next((one.problem for one in self._all if one.problem), "")

    def totals(self, *more: Mapping[str, float]) -> dict[str, float]:
        """Sum the figures of all game servers, and *more*."""
        others = [one.totals() for one in self._own.values()]
        return self._common.totals(*others, *more)

    def drain(self) -> Deferred[None]:
        """Accept no new matches; the result comes when none runs."""
        drained = gatherResults([one.drain() for one in self._all])
        return drained.addCallback(lambda _: None)

    # What game servers report.

    def arrived(self, ready: Ready, link: ControlLink) -> ServerProcess | None:
        """Find the game server whose link this is."""
        for one in self._all:
            if one.expects(ready.server_id):
                return one.arrived(ready, link)
        return self._common.arrived(ready, link)


#: The services that place matches in game servers.
AnyFleet = Fleet | SeveralFleets
