"""The life of a game server: every order of events ends with its port free."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.fleet.life import (
    BindPort,
    CutLink,
    Gone,
    Kill,
    Patience,
    PortFree,
    PortSpoilt,
    SayStop,
    ServerFacts,
    Terminate,
    open_server_life,
)


class World:
    """A game server, and what the world knows of it."""

    def __init__(self):
        self.facts = ServerFacts(Patience(), deadline=30.0)
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
        if stage == "starting":
            moves.append("dialed")
        if stage == "warm":
            moves.append("assign")
        if stage == "binding":
            moves += ["bound", "bind_failed"]
        return moves

    def do(self, move):
        self.now += 1.0
        if move == "assign":
            self.life.assign(46000, self.now)
        elif move == "leave":
            self.life.leave(True, self.now)
        else:
            getattr(self.life, move)(self.now)
        if move == "dialed":
            self.is_linked = True
        elif move == "exited":
            self.is_alive = False
        elif move == "link_lost":
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
        A game server binds, plays, leaves, and its port is free when its
        process is gone.
        """
        facts = self.run_life("dialed", "assign", "bound", "leave", "link_lost")
        self.assertEqual(facts.outbox, [BindPort(46000), SayStop()])
        self.assertEqual(facts.port, 46000)
        facts = self.run_life(
            "dialed", "assign", "bound", "leave", "link_lost", "exited"
        )
        self.assertEqual(facts.outbox[2:], [PortFree(46000), Gone()])

    def test_exit_before_last_words(self):
        """
        When the process is gone first its port is free at once, but what it
        said is heard before it is called gone.
        """
        facts = self.run_life("dialed", "assign", "bound", "exited")
        self.assertEqual(facts.outbox[1:], [PortFree(46000)])
        self.assertEqual(facts.deadline, 4.0 + Patience().read)
        facts = self.run_life("dialed", "assign", "bound", "exited", "overdue")
        self.assertEqual(facts.outbox[-1], CutLink())

    def test_spoilt_port(self):
        """
        A port that cannot be bound is reported, and another can be tried.
        """
        facts = self.run_life("dialed", "assign", "bind_failed", "assign")
        self.assertEqual(
            facts.outbox, [BindPort(46000), PortSpoilt(46000), BindPort(46000)]
        )

    def test_leave_before_dialing(self):
        """
        A process that has no link yet is asked to end by a signal, and killed
        only when it does not, again and again if need be.
        """
        facts = self.run_life("leave", "overdue", "overdue")
        self.assertEqual(facts.outbox, [Terminate(), Kill(), Kill()])

    @given(st.lists(st.integers(0, 5), max_size=30))
    def test_any_life(self, choices):
        """
        Whatever happens in whatever order: a port that was taken comes back
        once and never while the process could still have it, and the end is
        told once, when both the process and the link are gone.
        """
        world = World()
        owed = 0
        choices = iter(choices)
        while world.facts.stage != "gone":
            moves = world.possible()
            # When there are no more surprises, everything comes to its end.
            choice = next(choices, moves.index("overdue") + 1)
            world.do(moves[choice % len(moves)])
            for effect in world.facts.outbox:
                if isinstance(effect, BindPort):
                    owed += 1
                elif isinstance(effect, PortSpoilt):
                    owed -= 1
                elif isinstance(effect, PortFree):
                    self.assertFalse(world.is_alive)
                    owed -= 1
                elif isinstance(effect, Gone):
                    self.assertFalse(world.is_alive or world.is_linked)
            self.assertIn(owed, (0, 1))
            self.assertEqual(owed, int(world.facts.port is not None))
            world.facts.outbox.clear()
            if world.facts.stage in ("starting", "binding", "leaving"):
                self.assertLess(world.facts.deadline, inf)
        self.assertEqual(owed, 0)
        world.do("leave")
        self.assertEqual(world.facts.outbox, [])
