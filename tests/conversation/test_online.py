"""Who can be sent something, and who is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.support.lobbies import LobbyWorld
from vinom.conversation.online import IOnline
from vinom.errors import Code, Refused
from vinom.messages.lobby import Pong


class OnlineTests(SynchronousTestCase):
    """`Online`."""

    def test_port(self) -> None:
        """
        A single node has what services ask for.
        """
        self.assertTrue(verifyObject(IOnline, LobbyWorld().online))

    def test_several(self) -> None:
        """
        Each of several players is sent the same, and nobody else is.
        """
        world = LobbyWorld()
        said = [world.hello(name) for name in ("ann", "bob", "cat")]
        (ann, one), (bob, two), (cat, _) = said
        ids = [one["player_id"], two["player_id"]]
        world.online.send(ids, Pong())
        world.online.warn(ids, Refused(Code.DRAINING, "no"))
        for line in (ann, bob):
            self.assertEqual([m["type"] for m in line.heard()], ["pong", "error"])
        self.assertEqual(cat.heard(), [])

    def test_away(self) -> None:
        """
        A player who is away misses what is sent; the others get it all the same.
        """
        world = LobbyWorld()
        (ann, one), (bob, two) = world.hello("ann"), world.hello("bob")
        ann.hang_up()
        world.online.send(["nobody", one["player_id"], two["player_id"]], Pong())
        self.assertEqual(ann.heard(), [])
        self.assertEqual([m["type"] for m in bob.heard()], ["pong"])
        self.assertFalse(world.online.is_here(one["player_id"]))
