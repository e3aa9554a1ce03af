"""
Whole lobby nodes that share a store, lose answers of it, die, and sleep.

Players have lines to them, and believe what they are sent.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from types import SimpleNamespace
from typing import Any

import attrs
from msgspec import json
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.support.lobbies import Lined, LobbyWorld, MemoryLine
from tests.support.online_store import Lines, MemoryOnlineStore
from tests.support.races import GAMES, Gated, TwoNodes
from vinom.base.model import (
    Estate,
    LeftMatch,
    LineEnd,
    MatchPlan,
    Placement,
    QueueEntry,
)
from vinom.errors import LeaseLost, NoCapacity, NothingStored, StoreUnavailable
from vinom.lobby.conversation.conversation import Bounds
from vinom.lobby.conversation.online import Online
from vinom.lobby.matchmaking.parties import PartyBounds
from vinom.node.lease import OwnLease
from vinom.node.store_watch import StoreWatch
from vinom.store.memory.lobby import MemoryLobbyStore
from vinom.store.memory.nodes import MemoryNodeStore
from vinom.store.memory.players import MemoryPlayerStore

LEASE = 4.0
#: After which a call of a node is late, and its connection ends, seconds.
DEADLINE = 1.0
#: Until a node has another connection, seconds.
_AGAIN = 0.2
_READS = {
    *("of_player", "find", "listed", "page", "places", "waiting", "counts", "declines"),
    *("owner", "matches_of", "elsewhere", "absence", "watch", "state"),
}
_NO_PARTY: tuple[str, str, list[str]] = ("", "", [])


class NodeGate:
    """
    The connections of a node: what it asks, the answers, and news of other nodes; each
    of the three keeps its order.

    :ivar changed: called when the store goes away, or is back.
    :ivar has_other_data: see `vinom.store.redis.client.RedisClient`.
    """

    prompt = frozenset({"watch"})

    def __init__(self, world: FailingNodes) -> None:
        self.world, self.clock = world, world.new_clock()
        queues = [deque[Callable[[], None]]() for _ in range(3)]
        self.requests, self.answers, self.news = queues
        self.pending: deque[tuple[float, Deferred[Any]]] = deque()
        self.changed: Callable[[bool], None] = lambda _: None
        self.is_connected, self.has_other_data = True, False
        self.is_alive, self.is_awake, self.is_deaf = True, True, False

    def watch(self, changed: Callable[[bool], None]) -> None:
        self.changed = changed

    def queues(self) -> list[deque[Callable[[], None]]]:
        """List those from which something can come."""
        incoming = [self.answers, self.news] if self.is_alive and self.is_awake else []
        return [queue for queue in (self.requests, *incoming) if queue]

    def hear(self, call: Callable[[], None]) -> None:
        """Have the node hear news, when it is their turn."""
        if not self.is_deaf:
            self.news.append(call)
        if self.world.is_calm and self.news in self.queues():
            self.news.popleft()()

    def call(self, step: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        world, now = self.world, self.clock.seconds()
        kind = 1.0 if world.is_calm else world.chance.random()
        if not self.is_connected or kind < world.share / 3:
            return fail(NothingStored("there is no connection"))
        if kind < 2 * world.share / 3:
            step().addErrback(lambda _: None)
            return fail(StoreUnavailable("no answer"))
        if kind < world.share:
            self.clock.callLater(0, self.cut)
        elif world.is_calm and not self.requests and not self.answers:
            return step()
        answer: Deferred[Any] = Deferred()

        def run() -> None:
            if world.clock.seconds() > now + DEADLINE:
                found = [Failure(NothingStored("it came too late"))]
            else:
                found = []
                step().addBoth(found.append)
            self.answers.append(lambda: arrived(found[0]))

        def arrived(found: Any) -> None:
            if not answer.called:
                self.pending.remove((now, answer))
                answer.callback(found)

        self.requests.append(run)
        if not self.pending:
            self.clock.callLater(DEADLINE, self._look)
        self.pending.append((now, answer))
        return answer

    def _look(self) -> None:
        if self.pending:
            left = self.pending[0][0] + DEADLINE - self.clock.seconds()
            if left > 0:
                self.clock.callLater(left, self._look)
            else:
                self.cut()

    def cut(self, is_failover: bool = False) -> None:
        """The connection ends: what was sent may arrive, but nothing is answered."""
        pending, self.pending = self.pending, deque()
        if self.is_connected:
            self.is_connected = False
            self.clock.callLater(_AGAIN, self._connect)
        self.has_other_data |= is_failover
        if is_failover:
            self.requests.clear()
        while self.requests and self.world.chance.random() < 0.2:
            self.requests.pop()
        for _, answer in pending:
            answer.errback(StoreUnavailable("it closed the connection"))
        self.changed(False)

    def _connect(self) -> None:
        self.is_connected = True
        self.changed(True)
        self.has_other_data = False


class Leased:
    """A store of a node whose steps fail when its lease is over."""

    def __init__(self, store: Any, is_current: Callable[[], bool]) -> None:
        self._store, self._is_current = store, is_current

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in _READS:
            return found

        def step(*given: Any, **more: Any) -> Any:
            if not self._is_current():
                return fail(LeaseLost("the lease of this node is over"))
            return found(*given, **more)

        return step


class Shares:
    """Makes the store in memory one of several nodes: it knows whose is what."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.lobby = MemoryLobbyStore(now)
        self.nodes = MemoryNodeStore(now)
        self.lines = Lines(lambda node_id: self.nodes.left(node_id) > 0, now)
        self.owners: dict[str, str] = {}
        #: When suspended entries are gone that their node may not know of.
        self.expires: dict[str, float] = {}
        # For whom each node waits, or did; several nodes may wait for one.
        self.expected = defaultdict[str, dict[str, None]](dict)

    def here(self, entry: QueueEntry) -> bool:
        """Are all its players connected?"""
        nodes = (self.lines.lines.get(one, ("", 0))[0] for one in entry.player_ids)
        return all(self.nodes.left(node) > 0 for node in nodes)


class Shared:
    """One node's door to it."""

    def __init__(self, shares: Shares, node_id: str) -> None:
        self._shares, self._node, self._lobby = shares, node_id, shares.lobby

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lobby, name)

    def _own(self, *ids: str) -> None:
        self._shares.owners.update(dict.fromkeys(ids, self._node))

    def enqueue(self, entry: QueueEntry, *given: Any) -> Any:
        is_new = entry.entry_id not in self.state.entries
        found = self._lobby.enqueue(entry, *given)
        if is_new and entry.entry_id in self.state.entries:
            self._own(entry.entry_id)
        return found

    def suspend(self, entry_id: str, is_suspended: bool) -> Any:
        entry = self.state.entries.get(entry_id)
        if entry is not None and is_suspended:
            at = self._shares.lines.lines
            if all(
                at.get(one, (self._node, 0))[0] != self._node
                for one in entry.player_ids
            ):
                return succeed(False)
        elif entry is not None:
            self._own(entry_id)
        return self._lobby.suspend(entry_id, is_suspended)

    def leave(self, player_id: str, entry_id: str = "", away: float = 0.0) -> Any:
        lines = self._shares.lines
        if away:
            node, _ = lines.lines.get(player_id, (self._node, 0))
            left = lines.left.get(player_id)
            if node != self._node or (left is not None and lines.now() - left < away):
                return succeed(None)
        return self._lobby.leave(player_id, entry_id)

    def propose(self, prematch: Any) -> Any:
        if prematch.prematch_id not in self.state.prematches:
            self._own(prematch.prematch_id)
        return self._lobby.propose(prematch)

    def start(self, plan: MatchPlan, *given: Any) -> Any:
        if plan.match_id not in self.state.running:
            self._own(plan.match_id)
        return self._lobby.start(plan, *given)

    def adopt(self, plan: MatchPlan, placement: Placement) -> Any:
        self._own(plan.match_id)
        return self._lobby.adopt(plan, placement)

    def restore(self, plan: MatchPlan, *given: Any) -> Any:
        owner = self._shares.owners.get(plan.match_id, self._node)
        if plan.match_id in self.state.running and owner != self._node:
            return succeed(False)
        self._own(plan.match_id)
        return self._lobby.restore(plan, *given)

    def end(self, end: Any, *given: Any) -> Any:
        owner = self._shares.owners.get(end.match_id, self._node)
        if owner != self._node and self._shares.nodes.left(owner) > 0:
            return succeed(False)
        running = self.state.running.get(end.match_id)
        found = self._lobby.end(end, *given)
        for entry in () if running is None else running.entries:
            if entry.entry_id in self.state.entries:
                self._own(entry.entry_id)
                if not self._shares.here(entry):
                    self.state.suspend(entry.entry_id, True)
                    its = dict.fromkeys(entry.player_ids)
                    self._shares.expected[self._node].update(its)
        return found

    def owner(self, match_id: str) -> Any:
        is_running = match_id in self.state.running
        return succeed(self._shares.owners[match_id] if is_running else None)

    def matches_of(self, node_id: str, most: int) -> Deferred[list[LeftMatch]]:
        found = self._lobby.matches_of("", 1000).result
        node_id = node_id or self._node
        of = self._shares.owners.get
        return succeed(
            [one for one in found if of(one.plan.match_id) == node_id][:most]
        )

    def abandon(self, node_id: str, most: int, seconds: float) -> Any:
        state, of = self.state, self._shares.owners.get
        if not node_id:
            return succeed(Estate([], list(self._shares.expected[self._node])))
        if self._shares.nodes.left(node_id) > 0:
            return succeed(None)
        prematches = [
            one for key, one in state.prematches.items() if of(key) == node_id
        ]
        entry_ids = [one for one in state.entries if of(one) == node_id]
        for prematch in prematches:
            state.end_prematch(prematch, ())
        lines = self._shares.lines
        alone = [one for one, (node, _) in lines.lines.items() if node == node_id]
        for player_id in alone:
            del lines.lines[player_id]
            lines.left[player_id] = lines.now()
        alone += self._shares.expected.pop(node_id, ())
        alone = [one for one in alone if one not in lines.lines]
        self._shares.expected[self._node].update(dict.fromkeys(alone))
        is_over = not (alone or prematches or entry_ids)
        for entry_id in entry_ids:
            entry = state.entries[entry_id]
            alone += entry.player_ids
            if not self._shares.here(entry):
                state.suspend(entry_id, True)
                self._shares.expires[entry_id] = lines.now() + seconds
            self._own(entry_id)
        return succeed(None if is_over else Estate(prematches, alone))


@attrs.frozen(eq=False)
class SharedLines(MemoryOnlineStore):
    """The lines; a node that is gone still has its own."""

    shares: Shares

    def leave(self, player_id: str) -> Deferred[LineEnd]:
        end = super().leave(player_id)
        if end.result == "held":
            self.shares.expected[self.node_id][player_id] = None
        return end

    def send(self, player_ids: Sequence[str], message: bytes) -> Deferred[int]:
        sent = super().send(player_ids, message)
        node, _ = self.shared.lines.get(player_ids[0], ("", 0))
        watch: Any = self.shared.watches.get(node)
        return succeed(0) if watch is not None and watch.gate.is_deaf else sent

    def absence(self, player_id: str) -> Deferred[float]:
        node, _ = self.shared.lines.get(player_id, (self.node_id, 0))
        if node != self.node_id and not self.shared.has_lease(node):
            return succeed(1e-6)
        return super().absence(player_id)


class Hearing(Online):
    """Players of a node, which hears others through its gate."""

    gate: NodeGate

    def passed(self, *given: Any) -> None:
        self.gate.hear(lambda: Online.passed(self, *given))

    def replaced(self, *given: Any) -> None:
        self.gate.hear(lambda: Online.replaced(self, *given))


class FailingNode(LobbyWorld):
    """A node, with all that looks after its store, its lease and other nodes."""

    def __init__(self, world: FailingNodes, number: int) -> None:
        self.gate, self.unread = NodeGate(world), list[Callable[[], None]]()
        self.world, self.node_id = world, f"n{number}"
        lobby, lines, nodes = world.make_stores(self)
        gate: Any = self.gate
        lines, nodes, lobby = (Gated(one, gate) for one in (lines, nodes, lobby))
        online = Hearing(lines)
        online.gate = self.gate
        clock = self.gate.clock
        self.lease = OwnLease(nodes, clock, clock.seconds, LEASE)
        super().__init__(
            1000 * world.seed + number,
            clock=clock,
            games=GAMES,
            online=online,
            store=lobby,
            players=world.players,
            accept_seconds=world.accept_seconds,
            party_bounds=PartyBounds(away_seconds=10.0),
            others=world,
            bounds=Bounds(rate=1e9, burst=1e9),
        )
        self.matches.freed = self.parties.freed
        stores = SimpleNamespace(node_id=self.node_id, client=gate, online=lines)
        stores.nodes, stores.lobby, stores.replicated = nodes, lobby, None
        authority = SimpleNamespace(token_keys=dict)
        parts: Any = SimpleNamespace(lobby=self, rooms=self.rooms)
        parts.base = SimpleNamespace(
            lease=self.lease, stores=stores, authority=authority
        )
        # No other node can reach the game servers of one that is gone.
        parts.adoption = SimpleNamespace(
            check_owned=lambda: None,
            write_copies=lambda: None,
            adopt_left=lambda _: succeed(None),
            go_on=lambda _: succeed(False),
        )
        parts.requests = self.requests
        settings: Any = SimpleNamespace(
            lease_seconds=LEASE, orphan_seconds=0.0, udp="direct"
        )
        self.watch = StoreWatch(parts, settings, clock, dict, lambda: True)
        self.lease.startService()
        for service in self.watch.services:
            service.startService()

    @property
    def is_store_complete(self) -> bool:
        return self.lease.is_store_complete()

    def ring(self) -> None:
        """Ring the alarms that are due."""
        clock, now = self.clock, self.world.clock.seconds()
        if now > clock.seconds() or (clock.calls and clock.calls[0].getTime() <= now):
            clock.advance(now - clock.seconds())

    def read(self, call: Callable[[], None]) -> None:
        """Do what comes from a line of a player; when it wakes, if it sleeps."""
        if self.gate.is_alive and self.gate.is_awake:
            call()
        else:
            self.unread.append(call)


class _Line(MemoryLine):
    def __init__(self, player: LinePlayer) -> None:
        super().__init__("127.0.0.1", False)
        self.player = player

    def send(self, message: bytes) -> None:
        if not self.is_closed and self.player.line is self:
            self.player.heard(json.decode(message))


class LinePlayer:
    """
    A player, and what it was sent last.

    :ivar state: how it is: "idle", "waiting" or "matched"...
    :ivar match: ...in which match...
    :ivar party: ...and in which party, in which state.
    """

    def __init__(self, world: FailingNodes, name: str) -> None:
        self.world, self.name, self.key, self.id = world, name, "", ""
        self.state, self.match, self.party = "idle", "", _NO_PARTY
        self.is_asked = False
        self.line: _Line | None = None
        self.lines: list[tuple[FailingNode, _Line]] = []
        self.node: FailingNode
        self.is_greeted = self.is_asking = False

    def connect(self, node: FailingNode) -> None:
        """Say hello at a node; an older line is left as it is."""
        self.node, self.is_greeted, self.is_asking = node, False, True
        line = self.line = _Line(self)
        self.lines.append((node, line))
        key = {"player_key": self.key} if self.key else {"name": self.name}

        def hello() -> None:
            line.opened_at = node.clock.seconds()
            line.conversation = node.requests.open(line)
            line.ask("hello", protocol=1, **key)

        node.read(hello)

    def hang_up(self) -> None:
        line, self.line, self.is_greeted = self.line, None, False
        if line is not None and not line.is_closed:
            self.node.read(lambda: hasattr(line, "conversation") and line.hang_up())

    def go(self) -> None:
        """Close all lines, those that nodes have not heard to be replaced too."""
        while self.lines:
            self.node, self.line = self.lines.pop()
            self.hang_up()

    @property
    def has_failed(self) -> bool:
        """Was its hello refused?"""
        return not self.is_greeted and not self.is_asking

    @property
    def is_connected(self) -> bool:
        line = self.line
        return line is not None and not line.is_closed and self.node.gate.is_alive

    def ask(self, kind: str, **data: Any) -> None:
        """Ask for something, unless an answer is missing."""
        line = self.line
        if line is None or not self.is_connected:
            return
        if not self.is_greeted or self.is_asking:
            return
        self.is_asking = True
        if kind == "accept":
            self.world.accepted.add(("", self.id))
            self.world.accepting = self.node
        self.node.read(lambda: line.is_closed or line.ask(kind, 1, **data))

    def heard(self, message: dict[str, Any]) -> None:
        data = message.get("data", {})
        if message.get("id") == 1 or message["type"] == "welcome":
            self.is_asking = False
        match message["type"]:
            case "error" if not self.is_greeted:
                self.is_asking = False
            case "welcome":
                self.is_greeted = True
                self.key, self.id = data["player_key"], data["player_id"]
                self.state, self.match, self.party = "idle", "", _NO_PARTY
            case "queue_status":
                self.state, self.match, self.is_asked = data["state"], "", False
            case "match_found":
                self.state, self.match = "matched", data["match_id"]
            case "prematch":
                self.state, self.is_asked = "waiting", True
            case "match_ended" if self.match in ("", data["match_id"]):
                # News of an older match may come late.
                if self.state == "matched":
                    self.state = "idle"
            case "party_update" | "party_created":
                members = [one["player_id"] for one in data["party"]["members"]]
                self.party = data["party"]["party_id"], data["party"]["state"], members
            case "party_closed" if data["party_id"] == self.party[0]:
                self.party = _NO_PARTY


class FailingNodes(TwoNodes):
    """Nodes in one service, whose players have lines to them."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.chance = seed, Random(seed)
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.share, self.is_calm = self.chance.uniform(0.03, 0.08), True
        self.accept_seconds = self.chance.choice((3.0, 0.0))
        self.asks = self.accept_seconds > 0
        self.accepted: set[tuple[str, str]] = set()
        self.accepting: FailingNode | None = None
        self.players = MemoryPlayerStore(self.clock.seconds, 1000, lambda _: True)
        self.open_store()
        self.nodes: list[Any] = []
        self.everybody = [LinePlayer(self, name) for name in "abcdefgh"]
        for _ in range(count):
            self.start_node()
        self.pass_time(0.5)
        for player in self.everybody:
            player.connect(self.chance.choice(self.nodes))
        assert all(player.is_greeted for player in self.everybody)

    def new_clock(self) -> Clock:
        clock = Clock()
        clock.advance(self.clock.seconds())
        return clock

    # Stores.

    def open_store(self) -> None:
        """Make what all nodes share."""
        self.shares = Shares(self.clock.seconds)
        self.store: Any = self.shares.lobby

    def expire(self) -> None:
        """Entries are gone whose lifetime in the store is over."""
        now, state = self.clock.seconds(), self.shares.lobby.state
        for entry_id, at in self.shares.expires.items():
            entry = state.entries.get(entry_id)
            if entry is not None and entry.suspended and at <= now:
                state.leave(entry_id)

    def make_stores(self, node: FailingNode) -> tuple[Any, Any, Any]:
        """Make a node's ways to where players are, to lines, and to nodes."""
        shares, node_id = self.shares, node.node_id
        online = SharedLines(shares.lines, node_id, shares)

        def is_current() -> bool:
            number = node.lease.number
            return number > 0 and shares.nodes.is_current(node_id, number)

        return (
            Leased(Lined(Shared(shares, node_id), online), is_current),
            Leased(online, is_current),
            shares.nodes,
        )

    def _parts(self) -> list[tuple[Any, Sequence[str]]]:
        state, shares = self.store.state, self.shares
        names = [one.name for one in attrs.fields(type(state)) if one.name != "now"]
        return [
            (state, names),
            (shares.lines, ("lines", "left")),
            (shares.nodes, ("_leases", "_number")),
            (shares, ("owners", "expected")),
        ]

    def snapshot(self) -> Any:
        """Copy what the replica has."""
        return [
            deepcopy([getattr(part, name) for name in names])
            for part, names in self._parts()
        ]

    def lose_writes(self, kept: Any) -> None:
        """What the replica has is all there is."""
        for (part, names), its in zip(self._parts(), deepcopy(kept), strict=True):
            for name, value in zip(names, its, strict=True):
                setattr(part, name, value)

    # What fails.

    async def ask_way_in(self, node_id: str, match_id: str, seat: int) -> bytes:
        """Ask another node to admit a player, as `vinom.node.links` does."""
        for node in self.running():
            if node.node_id == node_id and node.gate.is_awake:
                return await node.matches.admit(match_id, seat)
        raise NoCapacity("it does not answer")

    def running(self) -> list[FailingNode]:
        return [node for node in self.nodes if node.gate.is_alive]

    def awake(self) -> list[FailingNode]:
        return [node for node in self.running() if node.gate.is_awake]

    def start_node(self) -> None:
        self.nodes.append(FailingNode(self, len(self.nodes) + 1))

    def fail_over(self, kept: Any) -> None:
        """The replica, which has only this, takes the place of the master."""
        self.lose_writes(kept)
        for node in self.running():
            node.gate.cut(is_failover=True)

    def kill(self, node: FailingNode) -> None:
        """Its process is gone; another one may take its place."""
        if len(self.running()) == 1:
            self.start_node()
        node.gate.is_alive = False
        while node.gate.requests and self.chance.random() < 0.5:
            node.gate.requests.pop()
        for player in self.everybody:
            if player.line is not None and player.node is node:
                player.line, player.is_greeted = None, False
        if self.chance.random() < 0.7:
            self.start_node()

    def go_on(self, node: FailingNode) -> None:
        """A stopped node goes on: all its alarms ring, and it reads what has come."""
        node.gate.is_awake = True

        def read() -> None:
            unread, node.unread = node.unread, []
            for call in unread:
                call()

        for step in self.chance.sample((node.ring, read), 2):
            step()

    def set_deaf(self, node: FailingNode, is_deaf: bool) -> None:
        """The connection on which a node hears others ends, or is back."""
        node.gate.is_deaf = is_deaf
        if not is_deaf:
            node.online.listens()

    # Time.

    def let_some(self, most: int) -> None:
        """Let calls, answers and news through, in any order."""
        for _ in range(most):
            for node in self.awake():
                node.ring()
            queues = [queue for node in self.nodes for queue in node.gate.queues()]
            if not queues:
                return
            self.chance.choice(queues).popleft()()

    def pass_time(self, seconds: float, step: float = 0.25, most: int = 40) -> None:
        """Let time pass, while things happen."""
        for _ in range(max(1, round(seconds / step))):
            self.let_some(most)
            self.clock.advance(step)
            for node in self.awake():
                node.ring()
            self.end_closed()

    def settle(self, seconds: float = 40.0) -> None:
        """No more faults: nearly all come back, and everything comes to its end."""
        self.is_calm = True
        self.gone = self.chance.sample(self.everybody, self.chance.randrange(3))
        for player in self.gone:
            player.go()
        for node in self.running():
            if not node.gate.is_awake:
                self.go_on(node)
            if node.gate.is_deaf:
                self.set_deaf(node, False)
        for _ in range(round(seconds)):
            for player in self.stayed():
                if not player.is_connected or player.has_failed:
                    player.connect(self.chance.choice(self.running()))
            self.pass_time(1.0, 1.0, most=100_000)
            self.expire()

    def stayed(self) -> list[LinePlayer]:
        return [player for player in self.everybody if player not in self.gone]

    def end_closed(self) -> None:
        """Game servers end the matches that their nodes have closed."""
        for node in self.awake():
            for index, hosted in enumerate(node.fleet.hosted):
                if hosted.closed and hosted.closed[-1] != "over":
                    reason = hosted.closed[-1]
                    hosted.closed.append("over")
                    node.fleet.end(index, reason)

    def end_match(self) -> bool:
        """A match ends, one that some node has."""
        for node in self.awake():
            live = {one["match_id"] for one in node.matches.describe()}
            for index, hosted in enumerate(node.fleet.hosted):
                if hosted.plan.match_id in live and not hosted.closed:
                    seats = range(len(hosted.plan.seats))
                    present = tuple(s for s in seats if self.chance.random() < 0.7)
                    kinds = ["finished"] if self.is_calm else ["void", "finished"]
                    hosted.closed.append("over")
                    node.fleet.end(index, self.chance.choice(kinds), present=present)
                    return True
        return False

    # What must never be.

    def problems(self) -> Iterator[str]:
        """Find what is wrong when everything is quiet."""
        yield from super().problems()
        state, entries = self.store.state, self.store.state.entries
        live = [one["match_id"] for n in self.running() for one in n.matches.describe()]
        if sorted(live) != sorted(state.running):
            yield f"nodes have {live}, the store has {list(state.running)}"
        parties, party_of = state.parties, state.party_of
        for player in self.gone:
            if any(player.id in one.player_ids for one in entries.values()):
                yield f"{player.name}, who is gone, waits"
            if player.id in party_of and player.id not in state.match_of:
                yield f"{player.name}, who is gone, is in a party"
        for player in self.stayed():
            waits = any(player.id in one.player_ids for one in entries.values())
            plays = player.id in state.match_of
            found = "matched" if plays else "waiting" if waits else "idle"
            if player.state != found:
                yield f"{player.name} was sent {player.state}, and is {found}"
            party = parties.get(party_of.get(player.id, ""))
            its: Any = _NO_PARTY
            if party is not None:
                its = party.party_id, party.state, list(party.player_ids)
            if player.party != its:
                yield f"{player.name} was sent {player.party} of its party: {its}"
            if not player.is_greeted or player.is_asking:
                yield f"{player.name} gets no answer"
        if any(entry.suspended for entry in entries.values()):
            yield "an entry stays suspended"
        now, asked = self.clock.seconds(), state.prematch_of
        for prematch in state.prematches.values():
            if prematch.until < now - 2.0:
                yield "a prematch stays, accepted " + str(prematch.is_accepted)
        for game, seats in (("duel", 2), ("squad", 4)):
            waiting = [one for key, one in entries.items() if key not in asked]
            alone = [one.game for one in waiting if len(one.players) == 1]
            if alone.count(game) >= seats:
                yield f"{alone.count(game)} wait for {game} side by side"

    def leave_all(self) -> None:
        """Everybody leaves whatever it is in."""
        for _ in range(4):
            while self.end_match():
                pass
            self.pass_time(1.0, most=100_000)
            for kind in ("cancel", "leave_party"):
                for player in self.everybody:
                    player.ask(kind)
                self.pass_time(1.0, most=100_000)
        self.pass_time(14.0, 2.0, most=100_000)

    def remains(self) -> Iterator[str]:
        """Find what is left of those who have left."""
        state = self.store.state
        for name in ("entries", "prematches", "parties", "running"):
            if getattr(state, name):
                yield f"{name} are left"
        for node in self.running():
            found = {
                "prematches": node.matchmaker.prematches._open,
                "alarms": node.matchmaker.prematches._alarms,
                "away": node.matchmaker._away._alarms,
                "party away": node.parties._away._alarms,
                "live": node.matches.count(),
                "starting": node.matches._starting,
            }
            yield from (f"{name} stay at a node" for name, one in found.items() if one)
