"""Relayed seats of a match that goes on in another process."""

from __future__ import annotations

import os
from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.gameserver.test_keeping import successor
from tests.support.game_net import GameNet
from vinom.fleet.control.checkpoints import make_unsent
from vinom.fleet.control.messages import (
    Adopted,
    KeptTaken,
    RelayAction,
    RelayEvent,
    RelayRefusal,
    RelaySeat,
    RelayState,
    RelayWatch,
)


def words(net: GameNet) -> list[str]:
    """What players said in the game, as the node was sent it last."""
    states = [state for state in net.of(RelayState) if state.views]
    lines: list[str] = json.decode(states[-1].views[0])["lines"]
    said = [line.split()[-1] for line in lines]
    return [word for word in said if word not in ("dropped", "returned")]


class RelayedBackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = GameNet()
        self.net.open()
        self.net.server.received(RelayWatch("m1", True))
        for seat in (0, 1):
            self.net.server.received(RelaySeat("m1", seat, "join", 1))
        self.net.run(0.2)

    def act(self, net: GameNet, number: int) -> None:
        """Pass on an action of the first seat: it says its number."""
        action: Any = {"type": "say", "word": str(number)}
        net.server.received(RelayAction("m1", 0, number, json.encode(action)))

    def back(self, last: int) -> GameNet:
        """Have another process go on, and report that both are here."""
        other = successor(self.net)
        other.server.received(RelayWatch("m1", True))
        for seat in (0, 1):
            number = last if seat == 0 else 0
            other.server.received(RelaySeat("m1", seat, "again", 1, number))
        return other

    def test_actions_once(self) -> None:
        """
        Actions that the dead process had are not applied again, the others are; all
        are answered.
        """
        for number in (1, 2, 3):
            self.act(self.net, number)
        self.net.run(0.2)
        other = self.back(1)
        for number in (2, 3, 4, 5):
            self.act(other, number)
        other.run(0.2)
        self.assertEqual(words(other), ["1", "2", "3", "4", "5"])
        applied = [state.applied.get(0, 0) for state in other.of(RelayState)]
        self.assertEqual(max(applied), 5)
        self.assertEqual(other.of(RelayRefusal), [])
        self.assertEqual(other.seat_changes[-2:], [(0, "returned"), (1, "returned")])

    def test_link_was_cut(self) -> None:
        """
        If only the link was cut, players of the node act again when it has healed, and
        what they did before is not applied again.
        """
        net = self.net
        for number in (1, 2):
            self.act(net, number)
        net.run(0.2)
        file = make_unsent()
        self.addCleanup(os.close, file)
        net.server.received(KeptTaken("m1", 1, file))
        net.server.unlinked()
        net.run(5.0)
        net.server.linked(net.told.append)
        net.server.received(RelayWatch("m1", True))
        net.server.received(RelaySeat("m1", 0, "again", 1, 1))
        net.server.received(Adopted(("m1",)))
        for number in (2, 3):
            self.act(net, number)
        net.run(0.2)
        self.assertEqual(words(net), ["1", "2", "3"])
        self.assertEqual(net.of(RelayRefusal), [])

    def test_events_while_it_was_cut(self) -> None:
        """
        Players of the node get the events of the time without a link when there is one
        again: once, in order, and before the state that they led to.
        """
        net = self.net
        player = net.player(1)
        net.run(0.5)
        self.act(net, 1)
        file = make_unsent()
        self.addCleanup(os.close, file)
        net.server.received(KeptTaken("m1", 1, file))
        net.server.unlinked()
        for word in ("tell", "hello", "tell"):
            player.say(word)
            net.run(0.3)
        told: list[Any] = []
        net.server.linked(told.append)
        net.server.received(RelayWatch("m1", True))
        net.server.received(RelaySeat("m1", 0, "again", 1, 1))
        net.server.received(Adopted(("m1",)))
        net.run(0.2)
        shown = [one for one in told if isinstance(one, RelayEvent | RelayState)]
        kinds = [one.kind for one in shown if isinstance(one, RelayEvent)]
        self.assertEqual(kinds, ["told", "psst"] * 2)
        self.assertEqual([type(one) for one in shown[:4]], [RelayEvent] * 4)
        versions = [one.version for one in shown]
        self.assertEqual(versions, sorted(versions))
        # Later ones come as ever.
        player.say("tell")
        net.run(0.3)
        events = [one for one in told if isinstance(one, RelayEvent)]
        self.assertEqual(len(events), 6)
        self.assertEqual(len(net.server.rooms["m1"].host.outlets), 2)

    def test_nothing_was_kept(self) -> None:
        """
        A seat that was played over UDP when the process died has other numbers: the
        node's count.
        """
        player = self.net.player(0)
        self.net.run(0.5)
        for number in range(7, 10):
            player.say(f"udp{number}")
        self.net.run(0.2)
        other = self.back(1)
        self.act(other, 2)
        other.run(0.2)
        self.assertEqual(words(other), ["udp7", "udp8", "udp9", "2"])
