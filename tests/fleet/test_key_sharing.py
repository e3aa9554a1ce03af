"""Keys on their way to game servers: nobody's join fails because they change."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld
from vinom.control.messages import Alive, CookieKeyReport, RotateCookies, TokenKeys


class TokenKeyTests(SynchronousTestCase):
    """New token keys are everywhere before one of them signs."""

    def test_running_game_servers_get_them(self) -> None:
        """
        A game server with a match has the new keys when the result comes; one still
        warm gets them with its port.
        """
        world = FleetWorld(warm=1)
        self.successResultOf(world.place("m1"))
        shared = world.fleet.share_token_keys()
        self.assertNoResult(shared)
        world.settle()
        self.successResultOf(shared)
        self.assertEqual(world.supply.hosting("m1").token_keys, {"k1": b"PUBLIC"})
        for server in world.supply.alive:
            if not server.rooms:
                self.assertEqual(server.token_keys, {})

    def test_nobody_plays(self) -> None:
        """
        Without game servers a new key signs at once.
        """
        self.successResultOf(FleetWorld().fleet.share_token_keys())

    def test_hanging_game_server(self) -> None:
        """
        One that does not answer holds a new key up for 5 s and no longer.
        """
        world = FleetWorld()
        world.supply.ignores.add(TokenKeys)
        self.successResultOf(world.place("m1"))
        shared = world.fleet.share_token_keys()
        world.wait(4)
        self.assertNoResult(shared)
        world.wait(1)
        self.successResultOf(shared)

    def test_game_server_ends(self) -> None:
        """
        One that dies meanwhile is not waited for.
        """
        world = FleetWorld()
        world.supply.ignores.add(TokenKeys)
        self.successResultOf(world.place("m1"))
        shared = world.fleet.share_token_keys()
        world.settle()
        self.assertNoResult(shared)
        world.supply.hosting("m1").exit(signal=9)
        world.settle()
        self.successResultOf(shared)

    def test_later_keys_are_enough(self) -> None:
        """
        An answer to newer keys answers for the older ones too.
        """
        world = FleetWorld()
        world.supply.ignores.add(TokenKeys)
        self.successResultOf(world.place("m1"))
        first = world.fleet.share_token_keys()
        world.settle()
        server = world.supply.hosting("m1")
        server.ignores.clear()
        second = world.fleet.share_token_keys()
        world.settle()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_one_after_the_other(self) -> None:
        """
        A caller that waited for keys may share the next ones at once, though others end
        waiting in the same moment.
        """
        world = FleetWorld()
        world.supply.ignores.add(TokenKeys)
        self.successResultOf(world.place("m1"))
        first = world.fleet.share_token_keys()
        later = []
        first.addCallback(lambda _: later.append(world.fleet.share_token_keys()))
        second = world.fleet.share_token_keys()
        world.settle()
        world.supply.hosting("m1").exit(signal=9)
        world.settle()
        self.successResultOf(second)
        self.successResultOf(later.pop())
        self.assertEqual(world.reasons(), {"m1": "lost"})


class AnchorTests(SynchronousTestCase):
    """Players verify a game server with what signed its certificate."""

    def test_anchor_of_its_leaf(self) -> None:
        """
        A match whose game server is older than the authority is found with the
        older anchor, and the next one with the new.
        """
        world = FleetWorld(rooms_per_process=2)
        first = self.successResultOf(world.place("m1"))
        world.fleet._issuer.anchor = b"NEWER"
        second = self.successResultOf(world.place("m2"))
        third = self.successResultOf(world.place("m3"))
        self.assertEqual(first.server, second.server)
        self.assertEqual(
            [place.certificate for place in (first, second, third)],
            ["ANCHOR", "ANCHOR", "NEWER"],
        )


class CookieKeyTests(SynchronousTestCase):
    """Cookie keys are each game server's own."""

    def test_rotated_and_listed(self) -> None:
        """
        All game servers with a port are asked, and report what they have.
        """
        world = FleetWorld(warm=1)
        self.successResultOf(world.place("m1"))
        self.assertEqual(world.fleet.rotate_cookies(), 1)
        world.settle()
        server = world.supply.hosting("m1")
        self.assertIn(RotateCookies(), server.heard)
        told = (CookieKeyReport(0, 5.0, 300.0), CookieKeyReport(1, 0.0))
        server.say(Alive(1, {}, told))
        self.assertEqual(world.fleet.cookie_keys()[server.server_id], told)
