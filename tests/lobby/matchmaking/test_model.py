"""
Parties, queue and prematch against a simple model, whatever happens.

60 lives are tried, or as many as ``VINOM_LIVES`` says in the environment.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.support.races import TwoNodes
from vinom.base.messages.parties import (
    CreateParty,
    JoinParty,
    KickFromParty,
    LeaveParty,
    PromoteInParty,
)
from vinom.errors import Code
from vinom.lobby.matchmaking.prematch import pause_seconds

COUNT = int(os.environ.get("VINOM_LIVES", "60"))
NAMES = tuple("abcdefg")
NODES = st.integers(0, 1)
PLAYERS = st.sampled_from(NAMES)


class PartyModel(RuleBasedStateMachine):
    """
    Seven players on two nodes.

    :ivar parties: by id, the members in order; the first of the pair is the host.
    :ivar places: since when each entry waits, and its number, as first seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = TwoNodes()
        self.parties: dict[str, tuple[str, list[str]]] = {}
        self.places: dict[str, tuple[float, int]] = {}

    def party_of(self, name: str) -> str | None:
        for party_id, (_, members) in self.parties.items():
            if name in members:
                return party_id
        return None

    def state(self, name: str) -> str:
        party_id = self.party_of(name)
        return self.world.store.state.parties[party_id].state if party_id else ""

    def ask(self, node: int, name: str, request: Any) -> Any:
        self.world.ask(node, name, request)
        return self.world.results[-1]

    def take(self, name: str) -> None:
        """The model's side of somebody who goes."""
        party_id = self.party_of(name)
        assert party_id is not None
        host, members = self.parties[party_id]
        members.remove(name)
        if not members:
            del self.parties[party_id]
        elif host == name:
            self.parties[party_id] = members[0], members

    # Parties.

    @rule(node=NODES, name=PLAYERS)
    def create(self, node: int, name: str) -> None:
        free = self.party_of(name) is None
        free = free and name not in self.world.store.state.by_player
        made = self.ask(node, name, CreateParty(open=True))
        assert free == (not isinstance(made, Code)), made
        if free:
            self.parties[made.party_id] = name, [name]

    @rule(node=NODES, name=PLAYERS, other=PLAYERS)
    def join(self, node: int, name: str, other: str) -> None:
        party_id = self.party_of(other)
        if party_id is None:
            return
        banned = self.world.store.state.parties[party_id].banned
        fine = (
            self.party_of(name) is None
            and name not in self.world.store.state.by_player
            and name not in banned
            and self.state(other) == "idle"
        )
        found = self.ask(node, name, JoinParty(party_id))
        assert fine == (not isinstance(found, Code)), found
        if fine:
            self.parties[party_id][1].append(name)

    @rule(node=NODES, name=PLAYERS)
    def leave(self, node: int, name: str) -> None:
        found = self.ask(node, name, LeaveParty())
        if self.party_of(name) is None:
            assert found is Code.NOT_IN_PARTY
        else:
            assert not isinstance(found, Code), found
            self.take(name)

    @rule(node=NODES, name=PLAYERS, other=PLAYERS)
    def kick(self, node: int, name: str, other: str) -> None:
        found = self.ask(node, name, KickFromParty(other))
        party_id = self.party_of(name)
        fine = (
            party_id is not None
            and name != other
            and self.parties[party_id][0] == name
            and other in self.parties[party_id][1]
        )
        assert fine == (not isinstance(found, Code)), found
        if fine:
            self.take(other)

    @rule(node=NODES, name=PLAYERS, other=PLAYERS)
    def promote(self, node: int, name: str, other: str) -> None:
        found = self.ask(node, name, PromoteInParty(other))
        party_id = self.party_of(name)
        if party_id is None or self.parties[party_id][0] != name:
            assert isinstance(found, Code)
        elif other in self.parties[party_id][1]:
            assert not isinstance(found, Code)
            self.parties[party_id] = other, self.parties[party_id][1]

    # The queue.

    @rule(node=NODES, name=PLAYERS, game=st.sampled_from(["duel", "squad"]))
    def queue(self, node: int, name: str, game: str) -> None:
        party_id = self.party_of(name)
        world = self.world
        with_whom = [name] if party_id is None else self.parties[party_id][1]
        is_host = party_id is None or self.parties[party_id][0] == name
        busy = any(
            each in world.store.state.by_player or each in world.store.state.match_of
            for each in with_whom
        )
        too_many = len(with_whom) > (2 if game == "duel" else 4)
        fine = not (busy or too_many or any(map(self.is_paused, with_whom)))
        world.queue(node, name, game)
        found = world.results[-1]
        assert (fine and is_host) == (not isinstance(found, Code)), found

    def is_paused(self, name: str) -> bool:
        """Did this player decline a short while ago?"""
        count, last = self.world.store.state.declines.get(name, (0, 0.0))
        return bool(last + pause_seconds(count) > self.world.clock.seconds())

    @rule(node=NODES, name=PLAYERS)
    def cancel(self, node: int, name: str) -> None:
        self.world.cancel(node, name)

    @rule(node=NODES, name=PLAYERS, is_yes=st.sampled_from([True, True, True, False]))
    def answer(self, node: int, name: str, is_yes: bool) -> None:
        self.world.answer(node, name, is_yes)

    @rule(node=NODES)
    def all_accept(self, node: int) -> None:
        """Everybody who is asked says yes."""
        for prematch in tuple(self.world.store.state.prematches.values()):
            for player in prematch.players:
                self.world.answer(node, player.player_id)

    @rule(seconds=st.sampled_from([0.0, 1.0, 11.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @precondition(lambda self: self.world.store.state.running)
    @rule(
        reason=st.sampled_from(["finished", "void"]), present=st.sets(st.integers(0, 3))
    )
    def end_match(self, reason: str, present: set[int]) -> None:
        for node in self.world.nodes:
            for index, hosted in enumerate(node.fleet.hosted):
                if hosted.plan.match_id in self.world.store.state.running:
                    seats = range(len(hosted.plan.seats))
                    here = tuple(seat for seat in seats if seat in present)
                    node.fleet.end(index, reason, present=here)
                    return

    # What always holds.

    @invariant()
    def nothing_is_wrong(self) -> None:
        # Not those whose next step is due in this turn of the reactor.
        self.world.clock.advance(0)
        self.world.clock.advance(0)
        assert list(self.world.problems()) == []

    @invariant()
    def parties_are_as_the_model_has_them(self) -> None:
        found = {
            party_id: (party.leader, list(party.player_ids))
            for party_id, party in self.world.store.state.parties.items()
        }
        assert found == self.parties

    @invariant()
    def places_are_kept(self) -> None:
        """An entry that comes back waits as long as before, at its old place."""
        for entry_id, entry in self.world.store.state.entries.items():
            place = entry.since, entry.number
            assert self.places.setdefault(entry_id, place) == place


class PartyModelTests(SynchronousTestCase):
    """What must never happen."""

    def test_any_life(self) -> None:
        """
        Nobody is in two entries or matches, or plays without having accepted; parties
        have the members that they should have; and places in the queue are kept.
        """
        run_state_machine_as_test(
            PartyModel,
            settings=settings(
                max_examples=COUNT,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )
