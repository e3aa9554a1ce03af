"""Keys that change under a game server that players dial."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import signing_key
from tests.support.game_net import GameNet
from vinom.base.tokens import TokenSigner
from vinom.fleet.control.messages import (
    Alive,
    Heartbeat,
    RotateCookies,
    TokenKeys,
    TokenKeysTaken,
)
from vinom.net.packets.player import Joined, Rejected

OLD, NEW = signing_key()[1], signing_key("k2")[1]


class GameServerKeyTests(SynchronousTestCase):
    """A rotation drops nobody."""

    def setUp(self) -> None:
        self.net = GameNet()

    def test_old_and_new_tokens(self) -> None:
        """
        While both keys are accepted both tokens seat their players; when the old one is
        dropped its tokens are refused, and seated players stay.
        """
        net = self.net
        net.open()
        old = [net.token(seat) for seat in (0, 1)]
        net.server.received(TokenKeys(1, {"k1": OLD, "k2": NEW}))
        self.assertEqual(net.of(TokenKeysTaken), [TokenKeysTaken(1)])
        ann = net.player(0, token=old[0])
        net.run(0.5)
        self.assertEqual(len(ann.of(Joined)), 1)
        net.server.received(TokenKeys(2, {"k2": NEW}))
        late = net.player(1, token=old[1])
        net.run(0.5)
        self.assertEqual([each.code for each in late.of(Rejected)], ["bad_token"])
        net.signer = TokenSigner("k2", signing_key("k2")[0])
        bob = net.player(1)
        net.run(0.5)
        self.assertEqual(len(bob.of(Joined)), 1)
        self.assertEqual(net.seat_changes, [(0, "joined"), (1, "joined")])

    def test_before_there_is_a_port(self) -> None:
        """
        A warm game server only confirms the keys.
        """
        self.net.server.received(TokenKeys(7, {"k2": NEW}))
        self.net.server.received(RotateCookies())
        self.assertEqual(self.net.of(TokenKeysTaken), [TokenKeysTaken(7)])

    def test_unusable_keys(self) -> None:
        """
        Invalid keys are refused, and the ones before stay valid.
        """
        net = self.net
        net.open()
        net.server.received(TokenKeys(1, {"k1": b"nonsense"}))
        self.assertEqual(net.of(TokenKeysTaken), [])
        ann = net.player(0)
        net.run(0.5)
        self.assertEqual(len(ann.of(Joined)), 1)

    def test_cookies(self) -> None:
        """
        A new cookie key leaves no client stuck between two hellos, and is reported.
        """
        net = self.net
        net.open()
        players = [net.player(0)]
        for _ in range(4):
            net.run(0.01)
            net.server.received(RotateCookies())
        players.append(net.player(1))
        net.run(0.5)
        for each in players:
            self.assertEqual(len(each.of(Joined)), 1)
        net.server.received(Heartbeat(1))
        keys = net.of(Alive)[-1].cookie_keys
        self.assertEqual([key.number for key in keys], [0, 1, 2, 3, 4])
        self.assertIsNone(keys[-1].left)
        for key in keys[:-1]:
            assert key.left is not None
            self.assertTrue(299.0 < key.left < 300.0, key)
