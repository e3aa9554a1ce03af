"""Matches that players over UDP and players of the node's rooms share, relayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import msgpack
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.rooms import test_matches
from tests.support.cross_world import CrossWorld
from tests.support.relay_net import RelayNet
from vinom.base.model import MatchEnd, MatchPlan, Placement, Ticket
from vinom.fleet.control.messages import RelayAction, RelaySeat, RelayState
from vinom.game import Game


class TicketedRelay:
    """
    A relay, and what tests ask its fleet for.

    :ivar tickets: the newest, by match and seat.
    """

    def __init__(self, net: RelayNet) -> None:
        self.tickets: dict[tuple[str, int], Ticket] = {}
        self.__dict__.update(relay=net.relay, behind=net.fleet, told=net.told)

    def __getattr__(self, name: str) -> Any:
        """What it is not itself is the relay, or the fleet behind it."""
        return getattr(self.relay if hasattr(self.relay, name) else self.behind, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "tickets":
            self.__dict__[name] = value
        else:
            setattr(self.behind, name, value)

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: Any,
        relay: Any = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        for ticket in tickets:
            self.tickets[plan.match_id, ticket.seat] = ticket
        return self.relay.place(plan, tickets, watch, relay, hosts)

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        self.tickets[ticket.match_id, ticket.seat] = ticket
        return self.relay.add_ticket(ticket)


class RelayedWorld(CrossWorld):
    """Everything between players and a game server, with a relay before it."""

    def make_net(self, games: Mapping[str, Game[Any, Any]]) -> tuple[RelayNet, Any]:
        net = RelayNet(games=games, rooms_limit=1000)
        return net, TicketedRelay(net)


class Relayed:
    """Has tests played through the node's relay."""

    patch: Any

    def setUp(self) -> None:
        self.patch(test_matches, "CrossWorld", RelayedWorld)
        super().setUp()


class RelayedPlayTests(Relayed, test_matches.PlayTests):
    """Playing together."""

    def test_end_with_the_last_state(self) -> None:
        """
        A player on a line is shown the last state before the end, also if the node
        reads both of them at once; and the end has its version.
        """
        self.begin()
        view = msgpack.encode({"lines": ["the end"]})
        last = RelayState(
            self.match_id, 90, "over", 9.0, {}, (view,), {-1: 0, 0: 0, 1: 0}
        )
        self.world.fleet.tell(last)
        self.world.fleet.end(
            MatchEnd(self.match_id, "finished", version=90, view_hash="f00d")
        )
        self.world.run()
        said = self.ann.heard()
        (shown,) = test_matches.of(said, "game_state")
        (closed,) = test_matches.of(said, "room_closed")
        self.assertEqual((shown["version"], shown["view"]["lines"]), (90, ["the end"]))
        self.assertEqual((closed["version"], closed["view_hash"]), (90, "f00d"))
        kinds = [one["type"] for one in said]
        self.assertLess(kinds.index("game_state"), kinds.index("room_closed"))


class RelayedOwnerTests(Relayed, test_matches.OwnerTests):
    """Who has the seat."""

    def test_stale_news(self) -> None:
        """
        What was on its way to the relay when the seat changed hands changes nothing.
        """
        udp = self.begin()
        mine = self.world.dial(self.match_id, 0)
        relay = self.world.fleet
        relay.pass_on(RelayAction(self.match_id, 0, 9, b'{"type":"say","word":"x"}'))
        for how in ("drop", "leave"):
            relay.pass_on(RelaySeat(self.match_id, 0, how, 1))
        self.world.run()
        mine.say("still here")
        self.world.run()
        self.assertEqual(1, len(udp.lines))
        self.assertIn("still here", udp.lines[0])


class RelayedWatchTests(Relayed, test_matches.WatchTests):
    """Watching."""

    def test_only_watched(self) -> None:
        """
        A match that nobody of the node's rooms watches any more is played on by those
        who are connected to the relay.
        """
        udp = self.begin()
        self.ann.ask("leave_room")
        self.world.run()
        self.ann.heard()
        udp.say("still here")
        self.world.run()
        self.assertIn("still here", udp.lines[-1])
        self.assertEqual([], self.ann.heard())


class RelayedAnyOrderTests(Relayed, test_matches.AnyOrderTests):
    """Everything, in any order."""


class RelayedOverloadTests(Relayed, test_matches.OverloadTests):
    """The match's game server has too much to do."""


class RelayedCostTests(Relayed, SynchronousTestCase):
    """What the node pays."""

    def setUp(self) -> None:
        super().setUp()
        self.open()

    begin = test_matches.CrossTests.begin
    open = test_matches.CrossTests.open
    test_one_state_for_all = test_matches.CostTests.test_one_state_for_all
    test_match_is_over = test_matches.CostTests.test_match_is_over
