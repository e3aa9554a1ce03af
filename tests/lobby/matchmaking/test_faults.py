"""
Nodes that act on the same players while answers of the store get lost or are late, and
while a failover loses what was written last.

Of the lives 60 are tried, or as many as ``VINOM_RACES`` says in the environment; with
a real Redis a sixth of them.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import partial
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.support.races import Everywhere, Gate, TwoNodes
from tests.support.redis_races import Line, TwoNodesWithRedis
from tests.support.redis_servers import shared_server
from vinom.base.messages.lobby import MatchEnded, MatchFound, QueueStatus
from vinom.base.messages.parties import (
    CreateParty,
    JoinParty,
    KickFromParty,
    LeaveParty,
    PrematchFound,
    PromoteInParty,
)
from vinom.base.model import LeftMatch, MatchPlan
from vinom.errors import NothingStored, StoreUnavailable
from vinom.store.patience import patiently

COUNT = int(os.environ.get("VINOM_RACES", "60"))
#: Longer than all that a node waits for: a heartbeat, and a step that is repeated.
_QUIET_SECONDS = 5.0


class NodeGate:
    """Holds back calls of one node, which are taken and answered in their order."""

    def __init__(self, gates: LossyGate) -> None:
        self.gates, self.prompt = gates, frozenset[str]()
        self.requests: deque[Callable[[], None]] = deque()
        self.answers: deque[Callable[[], None]] = deque()
        self.pending: list[Deferred[Any]] = []

    def call(self, step: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        chance = self.gates.chance
        kind = 1.0 if chance is None else chance.random()
        if kind < self.gates.share / 2:
            return fail(NothingStored("there is no connection"))
        if kind < self.gates.share:
            step()
            return fail(StoreUnavailable("it closed the connection"))
        if self.gates.is_open and not self.requests and not self.answers:
            return step()
        answer: Deferred[Any] = Deferred()

        def run() -> None:
            found = step()
            self.answers.append(lambda: found.chainDeferred(answer))

        self.requests.append(run)
        self.pending.append(answer)
        return answer

    def cut(self) -> None:
        """The connection ends: nothing that was sent is answered."""
        pending, self.pending = self.pending, []
        self.requests.clear()
        self.answers.clear()
        for answer in pending:
            if not answer.called:
                answer.errback(StoreUnavailable("it closed the connection"))


class LossyGate(Gate):
    """
    Holds back calls, and loses some, or their answers.

    :ivar chance: chooses; ``None`` when the faults are over.
    """

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.chance: Random | None = chance
        self.share = chance.uniform(0.03, 0.08)
        self.nodes: list[NodeGate] = []

    def __len__(self) -> int:
        return len(self._queues())

    def _queues(self) -> list[deque[Callable[[], None]]]:
        both = [queue for one in self.nodes for queue in (one.requests, one.answers)]
        return [queue for queue in both if queue]

    def let_one(self, index: int) -> None:
        self._queues()[index].popleft()()


class Reached(Everywhere):
    """
    Players who are all connected.

    :ivar last: what each was sent last of how it is.
    """

    def __init__(
        self, last: dict[str, str], matches: dict[str, str], sent: Counter[str]
    ) -> None:
        super().__init__()
        self.last, self._matches, self._sent = last, matches, sent

    def send(self, player_ids: Iterable[str], push: Any) -> None:
        for player_id in player_ids:
            self._sent[player_id] += 1
            match push:
                case QueueStatus(state):
                    self.last[player_id] = state
                    self._matches.pop(player_id, None)
                case MatchFound(match_id):
                    self.last[player_id] = "matched"
                    self._matches[player_id] = match_id
                case PrematchFound():
                    self.last[player_id] = "waiting"
                case MatchEnded(match_id):
                    # News of an older match may come late.
                    is_its = self._matches.get(player_id, match_id) == match_id
                    if is_its and self.last.get(player_id) == "matched":
                        self.last[player_id] = "idle"


class Owned:
    """One node's way to a store in memory, which does not know whose a match is."""

    def __init__(self, store: Any) -> None:
        self._store, self._own = store, set[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def start(self, plan: MatchPlan, *given: Any) -> Any:
        self._own.add(plan.match_id)
        return self._store.start(plan, *given)

    def matches_of(self, node_id: str, most: int) -> Deferred[list[LeftMatch]]:
        found = self._store.matches_of(node_id, most).result
        return succeed([one for one in found if one.plan.match_id in self._own])


class Lossy(TwoNodes):
    """Nodes whose store loses answers, and sometimes what was written last."""

    def __init__(self, seed: int, count: int, *given: Any) -> None:
        self.count, self.last, self._matches = count, dict[str, str](), dict[str, str]()
        self._sent, self.asking = Counter[str](), set[str]()
        self.chance = Random(seed)
        super().__init__(*given, self.chance.choice((10.0, 0.0)))
        for node in self.nodes:
            node.online.missed = self._look_again

    def make_gate(self) -> Gate:
        return LossyGate(self.chance)

    def gate_of(self, number: int) -> NodeGate:
        assert isinstance(self.gate, LossyGate)
        self.gate.nodes.append(NodeGate(self.gate))
        return self.gate.nodes[-1]

    def make_stores(self) -> list[Any]:
        return [Owned(store) for store in super().make_stores()]

    def make_online(self) -> Reached:
        return Reached(self.last, self._matches, self._sent)

    def run(self, work: Any) -> None:
        """Begin something; who gets no answer of the store is refused."""
        name = self._asks
        self.asking.add(name)

        def answered(found: Any) -> None:
            self.asking.discard(name)
            if isinstance(found, QueueStatus) and name:
                self.last[name] = found.state
                self._sent[name] += 1

        def failed(failure: Any) -> None:
            self.asking.discard(name)
            failure.trap(Exception)

        Deferred.fromCoroutine(work).addCallbacks(answered, failed)

    def answer(self, node: int, name: str, is_yes: bool = True) -> None:
        if is_yes:
            # The answer to this may be lost.
            self.accepted.add(("", name))
        self._by(name, super().answer, node, name, is_yes)

    def queue(self, node: int, name: str, game: str = "duel") -> None:
        self._by(name, super().queue, node, name, game)

    def cancel(self, node: int, name: str) -> None:
        self._by(name, super().cancel, node, name)

    def ask(self, node: int, name: str, request: Any) -> None:
        self._by(name, super().ask, node, name, request)

    def _by(self, name: str, step: Any, *given: Any) -> None:
        """Begin a request of a player, whose requests are answered one by one."""
        if name not in self.asking:
            self._asks = name
            step(*given)
            self._asks = ""

    _asks = ""

    # What fails.

    def snapshot(self) -> dict[str, Any]:
        """Copy what the replica has."""
        state = self.store.state
        names = [one.name for one in attrs.fields(type(state)) if one.name != "now"]
        return {name: deepcopy(getattr(state, name)) for name in names}

    def fail_over(self, kept: dict[str, Any]) -> None:
        """The replica, which has only this, takes the place of the master."""
        for name, value in kept.items():
            setattr(self.store.state, name, deepcopy(value))
        self.connect_again()

    def connect_again(self) -> None:
        """What each node does then, before anything else on its connection."""
        assert isinstance(self.gate, LossyGate)
        for one in self.gate.nodes:
            one.cut()
        self.gate.chance, self.gate.is_open = None, True
        self._assert_owned()
        for node in self.nodes:
            node.matchmaker.rounds.hold(2.0)
        self.gate.chance, self.gate.is_open = self.chance, False
        self.clock.callLater(0.5, self._assert_owned)

    def _assert_owned(self) -> None:
        for node in self.nodes:
            node.matches.assert_owned()
        self._look_again(tuple(self.last))

    def _look_again(self, names: Iterable[str] | None) -> None:
        for name in self.last if names is None else names:
            self.run(patiently(self.clock, partial(self._look, name)))

    async def _look(self, name: str) -> None:
        """Have a player sent how it is, unless it has been since it was asked."""
        node = self.nodes[ord(name) % self.count]
        while True:
            sent = self._sent[name]
            where = await node.matches.where(name)
            if sent != self._sent[name]:
                continue
            if where.plan is not None:
                self.last[name] = "matched"
                return
            status = await node.matchmaker.player_back(name, where)
            if sent == self._sent[name]:
                self.last[name] = "idle" if status is None else status.state
                return

    def settle(self) -> None:
        """No more faults: everything that is under way comes to its end."""
        assert isinstance(self.gate, LossyGate)
        self.gate.chance, self.gate.is_open = None, True
        for _ in range(round(_QUIET_SECONDS / 0.25)):
            while len(self.gate):
                self.gate.let_one(0)
            self.end_closed()
            self.clock.advance(0.25)

    def end_closed(self) -> None:
        """Game servers end the matches that their nodes have closed."""
        for node in self.nodes:
            for index, hosted in enumerate(node.fleet.hosted):
                if hosted.closed and hosted.closed[-1] != "over":
                    reason = hosted.closed[-1]
                    hosted.closed.append("over")
                    node.fleet.end(index, reason)

    def end_match(self) -> None:
        """A match ends, one that some node has."""
        for node in self.nodes:
            live = {one["match_id"] for one in node.matches.describe()}
            for index, hosted in enumerate(node.fleet.hosted):
                if hosted.plan.match_id in live and not hosted.closed:
                    seats = range(len(hosted.plan.seats))
                    present = tuple(s for s in seats if self.chance.random() < 0.7)
                    reason = self.chance.choice(["void", "finished"])
                    hosted.closed.append("over")
                    node.fleet.end(index, reason, present=present)
                    return

    def problems(self) -> Iterator[str]:
        """Find what is wrong when everything is quiet."""
        yield from super().problems()
        state = self.store.state
        live = [
            one["match_id"] for node in self.nodes for one in node.matches.describe()
        ]
        if sorted(live) != sorted(state.running):
            yield f"nodes have {live}, the store has {list(state.running)}"
        for name, told in self.last.items():
            waits = any(name in one.player_ids for one in state.entries.values())
            plays = name in state.match_of
            found = "matched" if plays else "waiting" if waits else "idle"
            if told != found:
                yield f"{name} was told {told}, and is {found}"


class LossyWithRedis(Lossy, TwoNodesWithRedis):
    """The same with a real Redis."""

    def make_stores(self) -> list[Any]:
        return TwoNodesWithRedis.make_stores(self)

    def __init__(self, seed: int, count: int, line: Line) -> None:
        super().__init__(seed, count, line)

    def snapshot(self) -> dict[str, Any]:
        keys = self._line.ask("KEYS", f"{self._prefix}*")
        return {key: self._line.ask("DUMP", key) for key in keys}

    def fail_over(self, kept: dict[str, Any]) -> None:
        for key in self._line.ask("KEYS", f"{self._prefix}*"):
            if b":node:" not in key and not key.endswith(b":nodes"):
                self._line.ask("DEL", key)
        for key, value in kept.items():
            self._line.ask("RESTORE", key, "86400000", value, "REPLACE")
        self.connect_again()

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for key in self._line.ask("KEYS", f"{self._prefix}*"):
            if self._line.ask("PTTL", key) < 0:
                yield f"{key!r} lives for ever"


class FaultTests(SynchronousTestCase):
    """What must never happen, whatever fails."""

    def test_any_faults(self) -> None:
        """
        Whatever answers get lost, and whatever a failover loses, nobody is in two
        matches, waits while it plays, or is stranded; and everybody has been sent how
        it is.
        """
        for seed in range(COUNT):
            self.live(Lossy(seed, (2, 4)[seed % 2]), seed)

    def test_any_faults_with_redis(self) -> None:
        """
        The same with a real Redis; and no key of it lives for ever.
        """
        line = Line(shared_server())
        self.addCleanup(line.close)
        for seed in range(max(1, COUNT // 6)):
            world = LossyWithRedis(seed, (2, 4)[seed % 2], line)
            self.live(world, seed)
            world.forget()

    def live(self, world: Lossy, seed: int) -> None:
        """Have eight players do what they like while things fail; then all is quiet."""
        chance, names = world.chance, "abcdefgh"
        kept = world.snapshot()
        world.gate.is_open = False
        for step in range(60):
            self.do_something(world, chance.choice(names))
            for _ in range(chance.choice((2, 8, 32))):
                world.clock.advance(0)
                if len(world.gate):
                    world.gate.let_one(chance.randrange(len(world.gate)))
            world.end_closed()
            if step % 10 == 5:
                kept = world.snapshot()
            if step % 20 == 8 and chance.random() < 0.5:
                world.fail_over(kept)
        world.settle()
        self.assertEqual(list(world.problems()), [], seed)

    def do_something(self, world: Lossy, name: str) -> None:
        """Have a player ask for something, at the node to which it is connected."""
        chance, node = world.chance, ord(name) % world.count
        party_of, asked = world.store.state.party_of, world.asked()
        some_party = party_of.get(chance.choice("abcdefgh"), "none")
        steps = [
            *[lambda: world.queue(node, name, chance.choice(["duel", "squad"]))] * 6,
            *[lambda: world.answer(node, name)] * (12 if name in asked else 1),
            lambda: world.answer(node, name, False),
            lambda: world.cancel(node, name),
            lambda: world.ask(node, name, CreateParty(open=True)),
            lambda: world.ask(node, name, JoinParty(some_party)),
            lambda: world.ask(node, name, LeaveParty()),
            lambda: world.ask(node, name, KickFromParty(chance.choice("abcdefgh"))),
            lambda: world.ask(node, name, PromoteInParty(chance.choice("abcdefgh"))),
            world.end_match,
            lambda: world.clock.advance(chance.choice([0.1, 1.0, 3.0])),
        ]
        chance.choice(steps)()
