"""The fleet under any order of events: nothing is lost, nothing is had twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld, ticket
from vinom.errors import NoCapacity
from vinom.fleet.control.messages import AddTicket, Bind, CloseRoom, Heartbeat, OpenRoom

PORTS = 3
PICKS = st.integers(0, 50)


class FleetMachine(RuleBasedStateMachine):
    """Players, operators, processes and time do what they like."""

    rooms_per_process = 1

    def __init__(self):
        super().__init__()
        self.world = FleetWorld(
            ports=PORTS, warm=1, most=5, rooms_per_process=self.rooms_per_process
        )
        self.asked, self.placed, self.failed, self.withdrawn = {}, [], {}, set()

    def pick(self, options, which):
        options = list(options)
        return options[which % len(options)]

    def alive(self):
        return [s for s in self.world.supply.alive if s.transport is not None]

    @rule()
    def host(self):
        match_id = f"m{len(self.asked)}"
        placed = self.world.place(match_id)
        self.asked[match_id] = placed
        placed.addCallbacks(
            lambda _: self.placed.append(match_id),
            lambda failure: self.failed.setdefault(match_id, failure.type),
        )

    @precondition(lambda self: self.asked)
    @rule(which=PICKS)
    def withdraw(self, which):
        match_id = self.pick(self.asked, which)
        if match_id not in self.placed and match_id not in self.failed:
            self.withdrawn.add(match_id)
        self.asked[match_id].cancel()
        self.world.settle()

    @precondition(lambda self: self.asked)
    @rule(which=PICKS)
    def close_room(self, which):
        self.world.fleet.close_room(self.pick(self.asked, which), "ended")
        self.world.settle()

    @precondition(lambda self: self.asked)
    @rule(which=PICKS)
    def add_ticket(self, which):
        match_id = self.pick(self.asked, which)
        added = self.world.fleet.add_ticket(ticket(match_id, 0))
        added.addErrback(lambda failure: failure.trap(NoCapacity))
        self.world.settle()

    @precondition(lambda self: any(s.rooms for s in self.world.supply.alive))
    @rule(which=PICKS)
    def finish(self, which):
        playing = [s for s in self.world.supply.alive if s.rooms]
        self.pick(playing, which).end_room()
        self.world.settle()

    @precondition(lambda self: self.alive())
    @rule(which=PICKS)
    def die(self, which):
        self.pick(self.alive(), which).exit(signal=9)
        self.world.settle()

    @precondition(lambda self: self.alive())
    @rule(which=PICKS)
    def hang_up(self, which):
        self.pick(self.alive(), which).transport.lose()
        self.world.settle()

    @precondition(lambda self: self.alive())
    @rule(
        which=PICKS,
        what=st.sampled_from([Heartbeat, Bind, OpenRoom, CloseRoom, AddTicket]),
    )
    def go_deaf(self, which, what):
        self.pick(self.alive(), which).ignores.add(what)

    @rule(is_slow=st.booleans(), refuses=st.booleans())
    def weather(self, is_slow, refuses):
        self.world.supply.is_slow = is_slow
        self.world.supply.refuses = refuses

    @rule(port=st.integers(46000, 46000 + PORTS - 1))
    def somebody_else(self, port):
        ours = {server.port for server in self.world.supply.alive}
        if port not in ours:
            self.world.supply.taken_ports ^= {port}

    @rule(seconds=st.sampled_from([1, 5, 40]))
    def wait(self, seconds):
        self.world.wait(seconds)

    @invariant()
    def ports_are_somewhere(self):
        free, bound, quarantined = self.world.counts()
        assert free + bound + quarantined == PORTS
        ours = [s.port for s in self.world.supply.alive if s.port is not None]
        assert len(ours) <= bound

    @invariant()
    def cap_holds(self):
        assert len(self.world.supply.alive) <= 5

    @invariant()
    def matches_are_found(self):
        status = self.world.fleet.status()
        shown = [m for server in status.game_servers.values() for m in server.matches]
        assert status.rooms == len(shown)

    @invariant()
    def ends_once(self):
        ended = self.world.reasons()
        assert not self.withdrawn & set(ended)

    def teardown(self):
        """When the trouble is over everything that was asked for is answered."""
        world = self.world
        world.supply.is_slow = world.supply.refuses = False
        world.supply.taken_ports -= set(range(46000, 46000 + PORTS)) - {
            server.port for server in world.supply.alive
        }
        for _ in range(40):
            for match_id in self.asked:
                world.fleet.close_room(match_id, "ended")
            world.wait(10)
        ended = world.reasons()
        for match_id in self.asked:
            assert match_id in self.placed or match_id in self.failed
            if match_id in self.placed:
                assert match_id in ended
        assert world.fleet.status().rooms == world.fleet.status().waiting == 0
        stopped = world.fleet.stopService()
        world.wait(5)
        assert stopped.called
        assert world.counts() == (PORTS, 0, 0)
        assert world.supply.alive == []
        assert world.clock.getDelayedCalls() == []
        assert sum(world.fleet.status().servers.values()) == 0


class DenseFleetMachine(FleetMachine):
    """The same with several matches in a process."""

    rooms_per_process = 3


class AnyOrderTests(SynchronousTestCase):
    """Any events in any order."""

    def run_machine(self, machine):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40, stateful_step_count=30, deadline=None, database=None
            ),
        )

    def test_any_order(self):
        """
        No port, process or match is ever lost or had twice.
        """
        self.run_machine(FleetMachine)

    def test_any_order_dense(self):
        """
        The same when processes host several matches.
        """
        self.run_machine(DenseFleetMachine)
