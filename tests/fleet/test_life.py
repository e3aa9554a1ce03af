"""The life of a game server: every order of events ends, and ends once."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.fleet.life import (
    Effect,
    ServerFacts,
    ServerTimeouts,
    open_server_life,
)


class World:
    """A game server, and what others see of it."""

    def __init__(self):
        self.facts = ServerFacts(ServerTimeouts(), deadline=30.0)
        self.life = open_server_life(self.facts)
        self.is_linked, self.is_alive, self.now = False, True, 0.0

    def possible(self):
        """What can happen next, by name."""
        stage = self.facts.stage
        moves = ["leave", "overdue"]
        if self.is_alive:
            moves.append("exited")
        if self.is_linked:
            moves.append("link_lost")
        if stage in ("starting", "away"):
            moves.append("dialed")
        if stage == "starting":
            moves.append("adopt")
        if stage == "listening":
            moves.append("cut_off")
        if stage == "warm":
            moves.append("need")
        if stage == "binding":
            moves += ["reached", "bind_failed"]
        return moves

    def do(self, move):
        self.now += 1.0
        if move == "leave":
            self.life.leave(True, self.now)
        else:
            getattr(self.life, move)(self.now)
        if move == "dialed":
            self.is_linked = True
        elif move == "exited":
            self.is_alive = False
        elif move in ("link_lost", "cut_off"):
            self.is_linked = False


class ServerLifeTests(SynchronousTestCase):
    """What the node does at each turn of a game server's life."""

    def run_life(self, *moves):
        world = World()
        for move in moves:
            world.do(move)
        return world.facts

    def test_good_life(self):
        """
        A game server gets an address, plays, leaves, and is gone when its process is.
        """
        facts = self.run_life("dialed", "need", "reached", "leave", "link_lost")
        self.assertEqual(facts.outbox, [Effect.ADDRESS, Effect.STOP])
        self.assertEqual(facts.stage, "leaving")
        facts = self.run_life(
            "dialed", "need", "reached", "leave", "link_lost", "exited"
        )
        self.assertEqual(facts.outbox[2:], [Effect.GONE])

    def test_exit_before_last_words(self):
        """
        When the process is gone first, what it sent is read before it is called gone.
        """
        facts = self.run_life("dialed", "need", "reached", "exited")
        self.assertEqual(facts.outbox[1:], [])
        self.assertEqual(facts.stage, "leaving")
        self.assertEqual(facts.deadline, 4.0 + ServerTimeouts().read)
        facts = self.run_life("dialed", "need", "reached", "exited", "overdue")
        self.assertEqual(facts.outbox[-1], Effect.CUT_LINK)

    def test_spoilt_port(self):
        """
        After a port that cannot be bound, another can be tried.
        """
        facts = self.run_life("dialed", "need", "bind_failed")
        self.assertEqual((facts.stage, facts.deadline), ("warm", inf))
        facts = self.run_life("dialed", "need", "bind_failed", "need")
        self.assertEqual(facts.outbox, [Effect.ADDRESS, Effect.ADDRESS])

    def test_leave_before_dialing(self):
        """
        A process that has no link yet is asked to end by a signal, and killed
        only when it does not, again and again if need be.
        """
        facts = self.run_life("leave", "overdue", "overdue")
        self.assertEqual(facts.outbox, [Effect.TERMINATE, Effect.KILL, Effect.KILL])

    @given(st.lists(st.integers(0, 5), max_size=30))
    def test_any_life(self, choices):
        """
        With any events in any order it gets one address at a time, and its end is
        reported once, when both the process and the link are gone.
        """
        world = World()
        choices = iter(choices)
        has_address, ends = False, 0
        while world.facts.stage != "gone":
            moves = world.possible()
            # Without further events, everything ends.
            choice = next(choices, moves.index("overdue") + 1)
            move = moves[choice % len(moves)]
            world.do(move)
            if move == "bind_failed":
                has_address = False
            for effect in world.facts.outbox:
                if effect is Effect.ADDRESS:
                    self.assertFalse(has_address)
                    has_address = True
                elif effect is Effect.GONE:
                    self.assertFalse(world.is_alive or world.is_linked)
                    ends += 1
            world.facts.outbox.clear()
            if world.facts.stage in ("starting", "binding", "away", "leaving"):
                self.assertLess(world.facts.deadline, inf)
        self.assertEqual(ends, 1)
        world.do("leave")
        self.assertEqual(world.facts.outbox, [])
