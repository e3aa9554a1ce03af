"""Two nodes that share their stores, whose answers come in an order that tests set."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tests.support.fleets import MemoryFleet
from tests.support.lobbies import Duel, LobbyWorld, Party
from vinom.base.messages.parties import CreateParty, JoinParty
from vinom.base.model import Player
from vinom.errors import Refused
from vinom.lobby.conversation.online import Online
from vinom.store.memory.lobby import MemoryLobbyStore


class Squad(Party):
    """A game of four."""

    name = "squad"
    seats = (4, 4)


GAMES = {"duel": Duel(), "party": Party(), "squad": Squad()}

#: Chooses one of so many calls that wait.
Choose = Callable[[int], int]


class Gate:
    """
    Holds back calls of stores until the test lets one through.

    :ivar is_open: calls pass at once.
    """

    def __init__(self) -> None:
        self.is_open = True
        self._waiting: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def call(self, step: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        if self.is_open:
            return step()
        answer: Deferred[Any] = Deferred()

        def run() -> None:
            # What the store does, and its answer, are one moment.
            step().chainDeferred(answer)

        self._waiting.append(run)
        return answer

    def let_one(self, index: int) -> None:
        self._waiting.pop(index)()


class Gated:
    """A store behind a gate."""

    def __init__(self, store: Any, gate: Any) -> None:
        self._store, self._gate = store, gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith("_") or name == "has" or not callable(found):
            return found
        if name in getattr(self._gate, "prompt", ()):
            return found
        return lambda *given, **more: self._gate.call(lambda: found(*given, **more))


class Everywhere(Online):
    """Players who are all connected; what they are sent is not kept."""

    def is_here(self, player_id: str) -> bool:
        return True

    def away(self, player_ids: object) -> Deferred[Sequence[str]]:
        return succeed(())


class TwoNodes:
    """
    Two nodes in one service.

    :ivar accepted: who said yes to which prematch.
    :ivar formed: ids of parties.
    """

    def __init__(self, accept_seconds: float = 10.0) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.gate = Gate()
        stores = self.make_stores()
        self.nodes = [
            LobbyWorld(
                seed,
                clock=self.clock,
                games=GAMES,
                online=Everywhere(),
                store=Gated(store, self.gate),
                fleet=MemoryFleet(),
                accept_seconds=accept_seconds,
            )
            for seed, store in enumerate(stores, 1)
        ]
        self.asks = accept_seconds > 0
        self.accepted: set[tuple[str, str]] = set()
        self.results: list[Any] = []
        self.formed: list[str] = []

    def make_stores(self) -> list[Any]:
        """Make the store that each node uses, and set the one that is looked at."""
        self.store: Any = MemoryLobbyStore(self.clock.seconds)
        return [self.store] * 2

    # What players do, on a node.

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin something; what comes of it is kept, refusals too."""

        def failed(failure: Any) -> None:
            failure.trap(Refused)
            self.results.append(failure.value.code)

        Deferred.fromCoroutine(work).addCallbacks(self.results.append, failed)

    def queue(self, node: int, name: str, game: str = "duel") -> None:
        player = Player(name, name)
        self.run(self.nodes[node].parties.queue(player, game, b"{}", b"{}", ""))

    def cancel(self, node: int, name: str) -> None:
        self.run(self.nodes[node].parties.cancel(name))

    def ask(self, node: int, name: str, request: Any) -> None:
        self.run(self.nodes[node].parties.serve(Player(name, name), request, ""))

    def answer(self, node: int, name: str, is_yes: bool = True) -> None:
        async def answer() -> None:
            found = await self.nodes[node].matchmaker.prematches.answer(
                name, is_yes, None
            )
            if is_yes:
                self.accepted.add((found.id, name))

        self.run(answer())

    def form(self, node: int, *names: str) -> None:
        """Form a party of these players."""
        self.ask(node, names[0], CreateParty(open=True))
        made = self.results[-1]
        self.formed.append(made.party_id)
        for name in names[1:]:
            self.ask(node, name, JoinParty(made.party_id))

    def asked(self) -> list[str]:
        """List the players who are asked whether they want to play, at this moment."""
        entries, asked = self.store.state.entries, self.store.state.prematch_of
        return sorted(
            player.player_id
            for entry_id in asked
            for player in entries[entry_id].players
        )

    def look(self, node: int, game: str = "duel") -> None:
        """Have a node look at a queue, as after news of another node."""
        for entry in tuple(self.store.state.entries.values()):
            if entry.game == game:
                self.nodes[node].matchmaker.rounds.look_at(entry.pool)
                return

    # Time.

    def race(self, choose: Choose, most: int = 400) -> None:
        """Let calls through, one at a time, until none waits and nothing is due."""
        for _ in range(most):
            # What is due at once, such as rounds.
            self.clock.advance(0)
            if not self.gate:
                if not self._is_due():
                    return
                continue
            self.gate.let_one(choose(len(self.gate)))
        raise AssertionError("this never ends")

    def _is_due(self) -> bool:
        now = self.clock.seconds()
        return any(call.getTime() <= now for call in self.clock.getDelayedCalls())

    # What must never happen.

    def problems(self) -> Iterator[str]:
        """Find what is wrong while nothing waits."""
        entries, places = self.store.state.entries, self.store.state.queues.of_entries
        queued = [p.player_id for entry in entries.values() for p in entry.players]
        running = self.store.state.running.values()
        playing = [player_id for match in running for player_id in match.players]
        everybody = queued + playing
        if len(everybody) != len(set(everybody)):
            yield f"somebody is in two of {queued} and {playing}"
        if set(entries) != set(places) | set(self.store.state.prematch_of):
            yield "an entry is neither in the queue nor in a prematch"
        if set(places) & set(self.store.state.prematch_of):
            yield "an entry is in the queue and in a prematch"
        hosted = [one.plan for node in self.nodes for one in node.fleet.hosted]
        ids = [plan.match_id for plan in hosted]
        if len(ids) != len(set(ids)):
            yield "a match was placed twice"
        if self.asks:
            said_yes = {name for _, name in self.accepted}
            for plan in hosted:
                for seat in plan.seats:
                    if seat.player_id not in said_yes:
                        yield f"{seat.player_id} plays without having accepted"
        yield from self._party_problems()

    def _party_problems(self) -> Iterator[str]:
        entries = self.store.state.entries
        for party in self.store.state.parties.values():
            entry = entries.get(party.entry_id)
            if party.state in ("in_queue", "prematch"):
                if entry is None:
                    yield f"{party} waits without an entry"
                elif {p.player_id for p in entry.players} != set(party.player_ids):
                    yield f"{entry} has other players than {party}"
                is_asked = party.entry_id in self.store.state.prematch_of
                if (party.state == "prematch") != is_asked:
                    yield f"{party.state} is wrong: asked {is_asked}"
            elif entry is not None:
                yield f"{party} is {party.state} and has {entry}"
            is_playing = any(
                one in self.store.state.match_of for one in party.player_ids
            )
            if party.state == "in_game" and not is_playing:
                yield f"{party} is stuck in a game"
        for entry in entries.values():
            if entry.party_id and self.store.state.parties.get(entry.party_id) is None:
                yield f"{entry} outlived its party"


def interleavings(depth: int, run: Callable[[Choose], None]) -> int:
    """
    Call *run* with every sequence of choices of this length; then the oldest is next.

    :returns: how many there were.
    """
    path: list[int] = []
    count = 0
    while True:
        options: list[int] = []
        run(_chooser(tuple(path), options, depth))
        count += 1
        taken = (path + [0] * len(options))[: len(options)]
        while taken and taken[-1] + 1 >= options[len(taken) - 1]:
            taken.pop()
        if not taken:
            return count
        taken[-1] += 1
        path = taken


def _chooser(path: tuple[int, ...], options: list[int], depth: int) -> Choose:
    """Follow *path*, and note in *options* how many there were at each step."""

    def choose(waiting: int) -> int:
        step = len(options)
        if step >= depth:
            return 0
        options.append(waiting)
        return path[step] if step < len(path) else 0

    return choose
