"""What a room lets wait is nothing that anybody would notice."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.dtls import BEGINNING
from tests.support.game_net import GameNet
from vinom.fleet.gameserver.room import HostedRoom
from vinom.net.dtls.admission import Address

_WORDS = ("a", "", "", "no", "tell", "shout 3", "end", "again", "wake 0.3")
#: Sizes of a server's and of a player's PING and PONG, sealed, bytes.
_PINGS = (21 + 37, 25 + 37)


def _pass_exactly(net: GameNet, seconds: float) -> None:
    """Let time pass, each timed call at its own moment: their order is compared."""
    reactor = net.reactor
    end = reactor.seconds() + seconds
    while True:
        at = min((call.getTime() for call in reactor.getDelayedCalls()), default=end)
        if at >= end:
            break
        reactor.advance(max(at - reactor.seconds(), 1e-7))
    reactor.advance(max(end - reactor.seconds(), 0.0))


class WaitTests(SynchronousTestCase):
    """A packet that brings nothing does not touch its room."""

    def _play(self, seed: int) -> tuple[list[Any], list[Any]]:
        """Play a bit; returns what players knew at each moment, and the ends."""
        net = GameNet(seed)
        players = net.begin(3)
        reactor = net.reactor
        # By the clock, because a lost PING would change when others are lost.
        reactor.losing = lambda sender, datagram: (
            len(datagram) not in _PINGS
            and int((reactor.seconds() - BEGINNING) * 50 + seed) % 7 < 3
        )
        chance, seen = Random(seed), []
        sent = 0
        carry = reactor.carry

        def count(sender: Address, datagram: bytes, to: Address) -> None:
            nonlocal sent
            sent += len(datagram) not in _PINGS
            carry(sender, datagram, to)

        self.patch(reactor, "carry", count)
        for step in range(250):
            if chance.random() < 0.15:
                player = chance.choice(players)
                word = chance.choice(_WORDS)
                if player.link is not None and not player.lost:
                    if word:
                        player.say(word)
                    else:
                        player.act({"type": "quiet"})
            if step == 200:
                players[0].close()
            _pass_exactly(net, 0.02)
            seen.append([list(map(repr, player.events)) for player in players])
            seen.append([sent])
            for player in players:
                player.events.clear()
        return seen, net.ends

    def test_as_if_nothing_waited(self) -> None:
        """
        On a network that loses three sevenths everybody sends and receives the same at
        the same times, whether acknowledgements alone make a room look at all its
        connections or not.
        """
        waited = 0
        usual = HostedRoom.can_wait

        def count(room: HostedRoom, *args: Any) -> bool:
            nonlocal waited
            waits = usual(room, *args)
            waited += waits
            return waits

        for seed in range(8):
            self.patch(HostedRoom, "can_wait", count)
            some_waits = self._play(seed)
            self.patch(HostedRoom, "can_wait", lambda room, *args: False)
            self.assertEqual(some_waits, self._play(seed))
        self.assertTrue(waited > 100, waited)
