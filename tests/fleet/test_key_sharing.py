"""Keys on their way to game servers: nobody's join fails because they change."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld
from vinom.base.model import Placement
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import (
    Alive,
    Bind,
    BindFailed,
    Bound,
    CookieKeyReport,
    RotateCookies,
    SeatChanged,
    TokenKeys,
)


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
        world.issuer.anchor = b"NEWER"
        self.assert_anchors(world, first)

    def assert_anchors(self, world: FleetWorld, first: Placement) -> None:
        """The next match is played beside the first; the third has a new anchor."""
        second = self.successResultOf(world.place("m2"))
        third = self.successResultOf(world.place("m3"))
        self.assertEqual(first.server, second.server)
        self.assertEqual(
            [place.certificate for place in (first, second, third)],
            ["ANCHOR", "ANCHOR", "NEWER"],
        )

    def test_made_before_players_wait(self) -> None:
        """
        A match does not wait for a certificate: its game server got one while warm.
        """
        world = FleetWorld(warm=1, most=1)
        self.assertEqual(len(world.issuer.issued), 1)
        self.successResultOf(world.place("m1"))
        self.assertEqual(len(world.issuer.issued), 1)

    def test_warm_one_follows_the_authority(self) -> None:
        """
        Once another authority signs, the next match is found with its anchor, though
        its game server was warm before; a match that runs is left alone.
        """
        world = FleetWorld(warm=1, most=2, rooms_per_process=2)
        first = self.successResultOf(world.place("m1"))
        world.issuer.anchor = b"NEWER"
        world.fleet.renew_certificates()
        self.assert_anchors(world, first)

    def test_authority_changes_while_it_binds(self) -> None:
        """
        Players get the anchor of the certificate that their game server was sent, and
        one that has to try another port is sent the new one.
        """
        for answer, anchor in (
            (Bound(46000), "ANCHOR"),
            (BindFailed(46000, "in use"), "NEWER"),
        ):
            world = FleetWorld(warm=1, most=1)
            server = world.supply.started[0]
            server.ignores.add(Bind)
            placed = world.place("m1")
            world.issuer.anchor = b"NEWER"
            world.fleet.renew_certificates()
            server.ignores.clear()
            server.say(answer)
            world.settle()
            self.assertEqual(self.successResultOf(placed).certificate, anchor)

    def test_warm_for_long(self) -> None:
        """
        A game server that nobody needed for a month serves a match with a certificate
        of the last day: it does not expire while they play.
        """
        world = FleetWorld(warm=1, most=1)
        world.issuer.anchor = b"NEWER"
        world.clock.advance(86_399)
        world.settle()
        self.assertEqual(len(world.issuer.issued), 1)
        for _ in range(30):
            world.clock.advance(86_400)
            world.settle()
        self.assertEqual(len(world.issuer.issued), 31)
        self.assertEqual(self.successResultOf(world.place("m1")).certificate, "NEWER")
        world.clock.advance(86_400)
        self.assertEqual(len(world.issuer.issued), 31)

    def test_authority_that_cannot_sign(self) -> None:
        """
        Once the authority has expired the log says so, those who play are left alone,
        and what is warm serves with the certificate that it has.
        """
        world = FleetWorld(warm=1, most=2, longest=100_000.0)
        self.successResultOf(world.place("m1"))
        world.refill()
        playing = world.supply.hosting("m1")
        playing.say(SeatChanged("m1", 0, "joined"))
        world.issuer.has_expired = True
        with capturedLogs() as logged:
            world.clock.advance(86_400)
            world.settle()
            before = len(playing.heard)
            world.wait(10)
        errors = [e for e in logged if e["log_level"] == LogLevel.error]
        warm = world.supply.started[1].server_id
        self.assertEqual(
            [formatEvent(event) for event in errors],
            [f"game server {warm} gets no new certificate: the authority has expired"],
        )
        self.assertEqual(len(playing.heard), before + 10)
        self.assertEqual(self.successResultOf(world.place("m2")).certificate, "ANCHOR")

    def test_expired_authority_at_the_start(self) -> None:
        """
        A match waits while no authority can sign, and is placed once one can.
        """
        world = FleetWorld(warm=1, most=1)
        world.issuer.has_expired = True
        world.supply.started[0].exit(signal=9)
        world.wait(2)
        placed = world.place("m1")
        world.wait(3)
        self.assertNoResult(placed)
        world.issuer.has_expired = False
        world.wait(30)
        self.successResultOf(placed)
        self.assertTrue(self.flushLoggedErrors(NoCapacity))

    def test_token_keys_of_today(self) -> None:
        """
        A player's token of a new key is accepted by a game server that was warm before
        that key was made.
        """
        world = FleetWorld(warm=1, most=1)
        world.issuer.keys = {"k1": b"PUBLIC", "k2": b"ANOTHER"}
        self.successResultOf(world.fleet.share_token_keys())
        self.successResultOf(world.place("m1"))
        bound = [m for m in world.supply.started[0].heard if isinstance(m, Bind)]
        self.assertEqual([bind.token_keys for bind in bound], [world.issuer.keys])


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
