"""Rooms that outlive their node."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import GAMES, PlayerLine, RoomsWorld
from tests.support.lobbies import LobbyWorld
from tests.support.logged import watch_events
from vinom.base.model import NodeFacts
from vinom.errors import StoreUnavailable
from vinom.lobby.conversation.conversation import Bounds
from vinom.play.hosting.keeping import Keeping
from vinom.rooms.ownership import NOT_KEPT
from vinom.rooms.round import RoomBounds
from vinom.rooms.visits import Visits
from vinom.store.memory.nodes import MemoryNodeStore, MemoryOwnedStore, Things
from vinom.store.memory.players import MemoryPlayerStore

SECONDS = 10.0


class Late:
    """A store that answers when the test says so, or that is away."""

    def __init__(self, store: MemoryOwnedStore) -> None:
        self.store = store
        self.is_late = self.is_away = False
        self.waiting: list[tuple[Deferred[bool], Any]] = []
        self.releasing: list[tuple[Deferred[bool], Any]] = []
        self.puts = 0

    def put(self, *given: Any) -> Deferred[bool]:
        self.puts += 1
        if self.is_away:
            return fail(StoreUnavailable("away"))
        if not self.is_late:
            return self.store.put(*given)
        self.waiting.append((Deferred(), given))
        return self.waiting[-1][0]

    def release(self, *given: Any) -> Deferred[bool]:
        if self.is_away:
            return fail(StoreUnavailable("away"))
        if not self.is_late:
            return self.store.release(*given)
        self.releasing.append((Deferred(), given))
        return self.releasing[-1][0]

    def answer_release(self) -> None:
        """Release the room that was to be released first."""
        asked, given = self.releasing.pop(0)
        self.store.release(*given).chainDeferred(asked)

    def answer(self) -> None:
        """Do what was asked first."""
        asked, given = self.waiting.pop(0)
        self.store.put(*given).chainDeferred(asked)

    def remove(self, *given: Any) -> Deferred[bool]:
        if self.is_away:
            return fail(StoreUnavailable("away"))
        return self.store.remove(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Nodes:
    """Several nodes with one store, on one clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.leases = MemoryNodeStore(self.clock.seconds)
        self.rooms = Things(self.clock.seconds)
        self.players = MemoryPlayerStore(self.clock.seconds, kept=self.rooms.known)

    def start(self, node_id: str, games: Any = (), **bounds: Any) -> Node:
        """Start a node."""
        return Node(self, node_id, games, **bounds)

    def wait(self, seconds: float) -> None:
        """Let time pass; nodes that live renew their leases."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def skip(self, seconds: float) -> None:
        """Let days pass at once."""
        self.clock.advance(seconds)


class Node(RoomsWorld):
    """One of the nodes."""

    def __init__(
        self,
        nodes: Nodes,
        node_id: str,
        games: Any = (),
        visits: Visits | None = None,
        **bounds: Any,
    ) -> None:
        self.nodes, self.node_id = nodes, node_id
        self.number = 0
        self.is_alive = True
        store = MemoryOwnedStore(
            nodes.leases,
            node_id,
            lambda: self.number,
            nodes.rooms,
            players=nodes.players,
        )
        self.store = Late(store)
        LobbyWorld.__init__(
            self,
            seed=int(node_id[1:]),
            clock=nodes.clock,
            games={game.name: game() for game in (*GAMES, *games)},
            bounds=Bounds(rate=100.0, burst=1000.0),
            room_bounds=RoomBounds(**bounds),
            players=nodes.players,
            keeping=Keeping(
                self.store,
                nodes.clock,
                lambda: nodes.leases.is_current(node_id, self.number),
            ),
            visits=visits,
        )
        self.beat()

    def beat(self) -> None:
        """Renew the lease."""
        if self.is_alive:
            facts = NodeFacts(self.node_id, {}, "1")
            registered = self.nodes.leases.register(facts, SECONDS)
            self.number = registered.result
            self.clock.callLater(1.0, self.beat)

    def die(self) -> None:
        """Do nothing any more, and close no line."""
        self.is_alive = False
        self.store.put = lambda *_: Deferred()  # type: ignore[method-assign]


def view(said: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the latest view."""
    states = [m for m in said if m["type"] == "game_state"]
    found: dict[str, Any] = states[-1]["data"]["view"]
    return found


def pauses(said: list[dict[str, Any]]) -> list[bool]:
    """Take what was sent of pauses."""
    return [m["data"]["is_paused"] for m in said if m["type"] == "room_paused"]


class AdoptionTests(SynchronousTestCase):
    """A node dies, and its room goes on at another one."""

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.first, self.second = self.nodes.start("n1"), self.nodes.start("n2")
        self.ann, self.ann_key, self.ann_place = self.join(self.first, "ann")
        self.bob, self.bob_key, self.bob_place = self.join(self.first, "bob")
        self.ann.heard()
        self.bob.heard()

    def act(self) -> None:
        """Ann does something."""
        self.ann.do(1, word="one")
        self.first.turn()

    def first_dies(self) -> None:
        """The first node dies, and its lease is over."""
        self.first.die()
        self.nodes.wait(SECONDS)

    def join(
        self, node: Node, name: str, game: str = "pair", **more: Any
    ) -> tuple[PlayerLine, str, dict[str, Any]]:
        line, welcome = node.hello(name)
        (joined,) = line.ask("join_room", game=game, room_id="r1", **more)
        self.assertEqual(joined["type"], "join_room_result", joined)
        node.turn()
        return line, welcome["player_key"], joined["data"]

    def back(self, node: Node, key: str, **asked: Any) -> tuple[PlayerLine, Any]:
        line, _ = node.back(key)
        kind = "reconnect" if "resume" in asked else "join_room"
        if kind == "join_room":
            asked = {"game": "pair", "room_id": "r1", **asked}
        said = line.ask(kind, **asked)
        node.turn()
        return line, said + line.heard()

    def test_same_seats(self) -> None:
        """
        Both come back through another node, with what they hold, to the same seats and
        the same state, and play on.
        """
        self.act()
        shown = self.ann.heard()[-1]["data"]
        self.first.die()
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["error"]["code"], "busy")
        self.assertGreater(said[0]["error"]["details"]["retry_after"], 0)
        self.nodes.wait(SECONDS)
        bob, said = self.back(
            self.second, self.bob_key, resume=self.bob_place["resume"]
        )
        self.assertEqual(said[0]["type"], "reconnect_result", said)
        self.assertEqual(said[0]["data"]["seat"], 1)
        self.assertEqual(view(said)["last"], "one")
        # By the player key alone.
        ann, said = self.back(self.second, self.ann_key)
        self.assertEqual(said[0]["type"], "join_room_result", said)
        self.assertEqual((said[0]["data"]["seat"], said[0]["data"]["acted"]), (0, 1))
        self.assertGreaterEqual(said[-1]["data"]["version"], shown["version"])
        ann.do(1, word="twice")
        ann.do(2, word="two")
        self.second.turn()
        self.assertEqual(view(bob.heard()), {"seats": 2, "said": 2, "last": "two"})

    def test_missed_events(self) -> None:
        """
        An event that was stored and not yet sent when the node died comes once.
        """
        self.first.store.is_late = True
        self.ann.do(1, word="event")
        self.first.turn()
        self.assertEqual(self.bob.heard(), [])
        late = self.first.store
        _, given = late.waiting.pop()
        late.store.put(*given)
        self.first_dies()
        heard = self.bob_place["number"]
        _, said = self.back(
            self.second, self.bob_key, resume=self.bob_place["resume"], heard=heard
        )
        events = [e for m in said for e in m["data"].get("events", ())]
        self.assertEqual([event["kind"] for event in events], ["said"], said)

    def test_ahead(self) -> None:
        """
        No state leaves before it is stored; what players do meanwhile is done later.
        """
        self.first.store.is_late = True
        self.act()
        self.bob.do(1, word="two")
        self.first.turn()
        self.assertEqual(self.ann.heard() + self.bob.heard(), [])
        self.first.store.answer()
        self.assertEqual(view(self.bob.heard())["last"], "one")
        self.first.turn()
        self.assertEqual(self.bob.heard(), [])
        self.first.store.answer()
        self.assertEqual(view(self.bob.heard())["last"], "two")

    def test_refused_later(self) -> None:
        """
        An action that had to wait, and that the rules forbid then, is refused by id.
        """
        self.first.store.is_late = True
        self.act()
        self.bob.do(7, word="no")
        self.first.turn()
        self.first.store.answer()
        (refused,) = [m for m in self.bob.heard() if m["type"] == "error"]
        self.assertEqual((refused["id"], refused["error"]["code"]), (7, "rejected"))

    def test_store_away(self) -> None:
        """
        While the store is away nothing is shown, and the room goes on when it is back.
        """
        self.first.store.is_away = True
        self.act()
        self.nodes.wait(3.0)
        said = self.bob.heard()
        self.assertEqual((len(said), pauses(said)), (1, [True]))
        self.first.store.is_away = False
        self.nodes.wait(0.5)
        said = self.bob.heard()
        self.assertEqual(view(said)["last"], "one")
        self.assertLess(said[-1]["data"]["time"], 1.0)

    def test_one_line_for_all_rooms(self) -> None:
        """
        While the store is away the log has one line for all rooms that wait, and one
        when they go on; how many they are is a metric.
        """
        lines = [self.ann]
        for number in range(10):
            line, _ = self.first.hello(f"player {number}")
            line.ask("join_room", game="pair", room_id=f"room{number // 2}")
            lines.append(line)
        self.first.turn()
        self.nodes.wait(0.2)
        events = watch_events(self)
        self.first.store.is_away = True
        for line in lines:
            line.do(1, word="one")
        self.first.turn()
        self.nodes.wait(1.0)
        self.assertEqual(self.first.rooms.ownership.figures()["paused"], 6)
        self.first.store.is_away = False
        self.nodes.wait(3.0)
        self.assertEqual(self.first.rooms.ownership.figures()["paused"], 0)
        logged = [one["log_format"] for one in events if "wait" in one["log_format"]]
        self.assertEqual(len(logged), 2, logged)

    def test_store_away_and_nothing_happens(self) -> None:
        """
        The same if nobody does anything: players are sent at once that it stands still.
        """
        self.first.store.is_away = True
        self.first.rooms.ownership.store_away()
        self.nodes.wait(0.1)
        self.assertEqual(pauses(self.bob.heard()), [True])
        self.nodes.wait(30.0)
        self.act()
        self.assertEqual(self.bob.heard(), [])
        self.first.store.is_away = False
        self.first.rooms.ownership.store_again()
        self.nodes.wait(0.5)
        said = self.bob.heard()
        self.assertEqual((view(said)["last"], pauses(said)), ("one", [False]))
        states = [m["data"] for m in said if m["type"] == "game_state"]
        self.assertLess(states[-1]["time"], 1.0)

    def test_the_store_was_away(self) -> None:
        """
        After the store was away nobody takes a room over for one lease: its node, which
        may be well, needs time for a new one.
        """
        self.first.die()
        self.nodes.wait(SECONDS + 1)
        self.second.rooms.ownership.wait(5.0)
        resume = self.bob_place["resume"]
        _, said = self.back(self.second, self.bob_key, resume=resume)
        self.assertEqual(said[0]["error"]["code"], "busy", said)
        self.assertEqual(said[0]["error"]["details"]["retry_after"], 5.0)
        self.nodes.wait(5.0)
        _, said = self.back(self.second, self.bob_key, resume=resume)
        self.assertEqual(said[0]["type"], "reconnect_result", said)

    def test_a_node_that_slept(self) -> None:
        """
        A node that wakes after another one adopted its room shows only a pause, and
        its players' lines end, so that they find the room.
        """
        self.first.is_alive = False
        self.nodes.wait(SECONDS + 1)
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result", said)
        self.ann.do(1, word="late")
        self.first.turn()
        self.nodes.wait(1.0)
        said = self.ann.heard()
        self.assertEqual((len(said), pauses(said)), (1, [True]))
        self.first.is_alive = True
        self.first.beat()
        self.nodes.wait(1.0)
        (last,) = self.ann.heard()
        self.assertEqual(last["error"]["code"], "unavailable")
        self.assertTrue(self.ann.is_closed)
        self.assertEqual(self.first.rooms.directory.status()["rooms"], 0)

    def move(self) -> Deferred[None]:
        """Have the first node hand its rooms to others."""
        return Deferred.fromCoroutine(self.first.rooms.ownership.move())

    def test_moved(self) -> None:
        """
        When a node hands its rooms over, the lines of their players end, without a word
        that the room has closed, and it goes on at the next node at once: the same
        seats, every action that was answered, and no version that goes back.
        """
        self.act()
        before = [m for m in self.bob.heard() if m["type"] == "game_state"][-1]["data"]
        self.successResultOf(self.move())
        for line in (self.ann, self.bob):
            said = line.heard()
            self.assertEqual(
                [m["type"] for m in said if m["type"] != "game_state"], ["error"]
            )
            self.assertEqual(said[-1]["error"]["code"], "unavailable")
            self.assertTrue(line.is_closed)
        self.assertEqual(self.first.rooms.directory.status()["rooms"], 0)
        self.assertEqual(self.first.rooms.directory.figures()["ended"], {"moved": 1})
        for key, place, seat in (
            (self.bob_key, self.bob_place, 1),
            (self.ann_key, self.ann_place, 0),
        ):
            _, said = self.back(self.second, key, resume=place["resume"])
            self.assertEqual(said[0]["type"], "reconnect_result", said)
            self.assertEqual(said[0]["data"]["seat"], seat)
            states = [m["data"] for m in said if m["type"] == "game_state"]
            self.assertEqual(states[-1]["view"], before["view"])
            self.assertGreaterEqual(states[-1]["version"], before["version"])
        self.assertEqual(said[0]["data"]["acted"], 1)

    def test_while_it_moves(self) -> None:
        """
        What a player does while the last checkpoint is being stored is not answered,
        so its client sends it again at the next node; nobody comes in, or leaves.
        """
        self.first.store.is_late = True
        moved = self.move()
        self.ann.do(1, word="late")
        self.first.turn()
        self.nodes.wait(0.5)
        (said,) = self.bob.ask("leave_room")
        self.assertEqual(said["error"]["code"], "busy")
        eve, _ = self.first.hello("eve")
        for kind, asked in (
            ("join_room", {"game": "pair", "room_id": "r1", "spectate": True}),
            ("join_room", {"game": "pair"}),
            ("reconnect", {"resume": self.bob_place["resume"]}),
        ):
            (said,) = eve.ask(kind, **asked)
            self.assertEqual(said["error"]["code"], "busy", asked)
        self.assertNoResult(moved)
        self.assertEqual(self.ann.heard(), [])
        self.first.store.answer_release()
        self.successResultOf(moved)
        _, said = self.back(self.second, self.ann_key, resume=self.ann_place["resume"])
        self.assertEqual(said[0]["data"]["acted"], 0)
        # What was on its way for the first node changes nothing.
        while self.first.store.waiting:
            self.first.store.answer()
        self.assertEqual(self.second.rooms.directory.status()["rooms"], 1)

    def test_lines_close_while_it_moves(self) -> None:
        """
        A room whose players all hang up while it moves is not closed by that.
        """
        self.first.store.is_late = True
        moved = self.move()
        self.ann.hang_up()
        self.bob.hang_up()
        self.nodes.wait(0.5)
        self.first.store.answer_release()
        self.successResultOf(moved)
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result", said)

    def test_store_away_while_it_moves(self) -> None:
        """
        While the store does not answer the room waits; it moves when the store is back.
        """
        self.first.store.is_away = True
        moved = self.move()
        self.nodes.wait(1.0)
        self.assertNoResult(moved)
        self.assertFalse(self.ann.is_closed)
        self.first.store.is_away = False
        self.nodes.wait(0.5)
        self.successResultOf(moved)
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_stopped_while_it_moves(self) -> None:
        """
        A node that is stopped before the store answers leaves the room behind: it goes
        on from the latest checkpoint when the lease is over.
        """
        self.nodes.wait(0.5)
        self.first.store.is_away = True
        self.move()
        self.first.rooms.startService()
        stopped = self.first.rooms.stopService()
        self.nodes.wait(5.0)
        self.successResultOf(stopped)
        self.assertTrue(self.ann.is_closed)
        self.assertNotIn("room_closed", [m["type"] for m in self.ann.heard()])
        self.first.is_alive = False
        self.nodes.wait(SECONDS + 1)
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result", said)

    def test_drain(self) -> None:
        """
        A node that drains leaves a room to the store as soon as nobody is connected,
        and a player gets it back from the next node.
        """
        drained = self.first.rooms.drain()
        self.ann.hang_up()
        self.assertNoResult(drained)
        self.bob.hang_up()
        self.successResultOf(drained)
        _, said = self.back(self.second, self.bob_key)
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_stopped(self) -> None:
        """
        A node that stops while both play leaves their room to the next one.
        """
        self.first.rooms.startService()
        self.successResultOf(self.first.rooms.stopService())
        self.assertNotIn("room_closed", [m["type"] for m in self.ann.heard()])
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_nobody_comes_after_a_move(self) -> None:
        """
        A room that was handed over, and for which nobody comes, ends after its grace.
        """
        self.successResultOf(self.move())
        for seconds, count in ((1.0, 0), (901.0, 1)):
            self.nodes.wait(seconds)
            ended = self.successResultOf(
                Deferred.fromCoroutine(self.second.rooms.ownership.end_orphans(""))
            )
            self.assertEqual(ended, count)
        self.assertEqual(self.second.rooms.directory.status()["rooms"], 0)

    def test_forged_token(self) -> None:
        """
        A token that names the room but was never given to anybody seats nobody.
        """
        self.first_dies()
        eve, _ = self.second.hello("eve")
        (said,) = eve.ask("reconnect", resume="r1." + "A" * 32)
        self.assertEqual(said["error"]["code"], "bad_resume")
        (said,) = eve.ask("join_room", game="pair", room_id="r1")
        self.assertEqual(said["error"]["code"], "room_started")
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_part_of_a_recording(self) -> None:
        """
        The recording goes on as a part that names the one before.
        """
        self.act()
        self.first_dies()
        self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        (recording,) = self.second.recordings.matches.values()
        (match_id,) = self.first.recordings.matches
        part = recording.part
        self.assertEqual((part.number, part.before), (2, f"{match_id}.vinomrec"))
        self.assertEqual(
            [one.kind for one in recording.recorded], ["dropped", "dropped", "returned"]
        )

    def test_nobody_comes_back(self) -> None:
        """
        A room that nobody asks for ends when its players' grace is over.
        """
        self.first_dies()
        ended = self.successResultOf(
            Deferred.fromCoroutine(self.second.rooms.ownership.end_orphans("n1"))
        )
        self.assertEqual(ended, 0)
        self.nodes.wait(901.0)
        ended = self.successResultOf(
            Deferred.fromCoroutine(self.second.rooms.ownership.end_orphans("n1"))
        )
        self.assertEqual(ended, 1)
        self.assertEqual(self.second.rooms.directory.status()["rooms"], 0)
        self.assertEqual([one.node_id for one in self.nodes.rooms.values()], [""])

    def broken(self, node: Node) -> None:
        """Have a node fail to go on with the room r1, and log what it should."""
        resume = node.rooms.ownership._policy.resume

        def fail_once(room: Any, *given: Any) -> Any:
            if room.room_id == "r1":
                raise RuntimeError("a mistake of ours")
            return resume(room, *given)

        self.patch(node.rooms.ownership._policy, "resume", fail_once)

    def test_mistake_at_adoption(self) -> None:
        """
        A room that fails when it is taken over is lost with a reason, in the log, too;
        nothing half made of it stays, and its id is free.
        """
        self.broken(self.second)
        self.first_dies()
        _, said = self.back(self.second, self.ann_key, resume=self.ann_place["resume"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(said[0]["error"]["code"], "no_such_room")
        self.assertEqual(said[0]["error"]["details"]["reason"], "lost")
        self.assertEqual(self.second.rooms.directory.status()["rooms"], 0)
        self.assertEqual(self.second.rooms.directory.figures()["ended"], {"lost": 1})
        self.assertEqual(len(self.second.rooms.directory.places), 0)
        self.assertEqual(self.nodes.rooms["r1"].data, b"")
        self.join(self.second, "eve")

    def test_mistake_in_a_sweep(self) -> None:
        """
        One room that fails does not keep the sweep from those after it.
        """
        for name in ("cat", "dan"):
            line, _ = self.first.hello(name)
            line.ask("join_room", game="pair", room_id="r2")
        self.first.turn()
        self.nodes.wait(0.2)
        self.broken(self.second)
        self.first.die()
        self.nodes.wait(SECONDS + 901.0)
        ended = self.successResultOf(
            Deferred.fromCoroutine(self.second.rooms.ownership.end_orphans("n1"))
        )
        self.assertEqual(ended, 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual([one.data for one in self.nodes.rooms.values()], [b"", b""])

    def test_closed_room(self) -> None:
        """
        Of a room that has closed only its end is kept: every node sends it to those who
        ask for the room, and opens another one only for those who ask for that.
        """
        self.assertNotEqual(self.nodes.rooms["r1"].data, b"")
        self.first.rooms.directory.get("r1").close("ended")
        self.assertEqual(self.nodes.rooms["r1"].data, b"")
        for node in (self.first, self.second):
            eve, _ = node.hello("eve")
            (said,) = eve.ask("join_room", game="pair", room_id="r1")
            self.assertEqual(said["error"]["code"], "no_such_room")
            self.assertEqual(said["error"]["details"]["reason"], "ended")
            self.assertIn("has ended", said["error"]["message"])
        _, said = self.back(self.second, self.bob_key, resume=self.bob_place["resume"])
        self.assertEqual(said[0]["error"]["details"]["reason"], "ended")
        _, _, place = self.join(self.second, "eve", create=True)
        self.assertEqual(len(place["players"]), 1)

    def test_closed_while_the_store_is_away(self) -> None:
        """
        A room that closes while the store is away does not come back: it is removed
        when the store answers, and its id opens a new one for those who want that.
        """
        self.act()
        self.first.store.is_away = True
        self.first.rooms.directory.get("r1").close("ended")
        self.nodes.wait(5.0)
        self.assertEqual(self.first.rooms.ownership.figures()["unremoved"], 1)
        self.first.store.is_away = False
        self.nodes.wait(1.0)
        self.assertEqual(self.nodes.rooms["r1"].data, b"")
        self.assertEqual(self.first.rooms.ownership.figures()["unremoved"], 0)
        self.join(self.first, "eve", create=True)
        self.nodes.wait(2.0)
        self.assertIn("r1", self.nodes.rooms)

    def test_one_cannot_be_removed(self) -> None:
        """
        A closed room that the store does not remove keeps no other one from it.
        """
        line, _ = self.first.hello("eve")
        line.ask("join_room", game="pair", room_id="r2", create=True)
        self.first.turn()
        store = self.first.store
        store.is_away = True
        for room_id in ("r1", "r2"):
            self.first.rooms.directory.get(room_id).close("ended")
        remove = store.remove

        def removes(room_id: str, *given: Any) -> Deferred[bool]:
            if room_id == "r1":
                return fail(StoreUnavailable("not this one"))
            return remove(room_id, *given)

        self.patch(store, "remove", removes)
        store.is_away = False
        self.nodes.wait(3.0)
        self.assertEqual(self.first.rooms.ownership.figures()["unremoved"], 1)

    def test_closed_and_asked_for(self) -> None:
        """
        Nor does it come back if somebody asks for it before it is removed.
        """
        self.act()
        self.first.store.is_away = True
        self.first.rooms.directory.get("r1").close("ended")
        self.first.store.is_away = False
        _, _, place = self.join(self.first, "eve", create=True)
        self.assertEqual(len(place["players"]), 1)
        self.nodes.wait(2.0)
        self.assertNotEqual(self.nodes.rooms["r1"].data, b"")

    def test_room_of_another_node(self) -> None:
        """
        Nobody opens a second room with the id of one that is on another node.
        """
        eve, _ = self.second.hello("eve")
        (said,) = eve.ask("join_room", game="pair", room_id="r1")
        self.assertEqual(said["error"]["code"], "busy")

    def test_before_play(self) -> None:
        """
        A room that waits for players outlives its node, too.
        """
        line, welcome = self.first.hello("cat")
        (joined,) = line.ask("join_room", game="pair", room_id="r2")
        self.nodes.wait(0.2)
        self.first_dies()
        _, said = self.back(
            self.second, welcome["player_key"], resume=joined["data"]["resume"]
        )
        self.assertEqual(said[0]["type"], "reconnect_result", said)
        self.assertEqual(
            (said[0]["data"]["room_id"], said[0]["data"]["state"]), ("r2", "gathering")
        )


class BehindTests(SynchronousTestCase):
    """A game that shows first and stores soon after."""

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.first = self.nodes.start("n1", [Behind])
        self.second = self.nodes.start("n2", [Behind])

    def test_at_most_a_tenth(self) -> None:
        """
        A state is shown at once and stored within a tenth of a second; the versions
        that the next node shows are higher still.
        """
        ann, welcome = self.first.hello("ann")
        (joined,) = ann.ask("join_room", game="behind", room_id="r1")
        self.first.turn()
        self.nodes.wait(0.2)
        ann.heard()
        puts = self.first.store.puts
        for number in range(1, 6):
            ann.do(number, word=f"w{number}")
            self.first.turn()
            self.assertEqual(view(ann.heard())["last"], f"w{number}")
        self.assertEqual(self.first.store.puts, puts)
        self.nodes.wait(0.1)
        self.assertEqual(self.first.store.puts, puts + 1)
        ann.do(6, word="lost")
        self.first.turn()
        shown = ann.heard()[-1]["data"]["version"]
        self.first.die()
        self.nodes.wait(SECONDS)
        line, _ = self.second.back(welcome["player_key"])
        said = line.ask("reconnect", resume=joined["data"]["resume"])
        self.second.turn()
        said += line.heard()
        self.assertEqual(view(said)["last"], "w5")
        self.assertGreater(said[-1]["data"]["version"], shown)

    def test_without_a_lease(self) -> None:
        """
        A node whose lease is over shows nothing more, even if it does not know why;
        its players are sent that the room is paused, and that it goes on.
        """
        ann, _ = self.first.hello("ann")
        ann.ask("join_room", game="behind", room_id="r1")
        self.first.turn()
        self.first.is_alive = False
        self.nodes.wait(SECONDS + 1)
        ann.heard()
        ann.do(1, word="late")
        self.first.turn()
        self.nodes.wait(1.0)
        said = ann.heard()
        self.assertEqual((len(said), pauses(said)), (1, [True]))
        self.first.is_alive = True
        self.first.beat()
        self.nodes.wait(1.0)
        said = ann.heard()
        self.assertEqual((view(said)["last"], pauses(said)), ("late", [False]))

    def test_nothing_happens(self) -> None:
        """
        A room in which nobody does anything stands still, too, from the end of the
        lease until there is a new one: its match time does not go on.
        """
        ann, _ = self.first.hello("ann")
        ann.ask("join_room", game="behind", room_id="r1")
        self.first.turn()
        self.nodes.wait(1.0)
        ann.heard()
        self.first.rooms.ownership.store_away()
        self.nodes.wait(0.5)
        self.assertEqual(ann.heard(), [], "it needs no store yet")
        self.first.is_alive = False
        self.nodes.wait(SECONDS + 1)
        self.assertEqual(ann.heard(), [])
        self.first.rooms.ownership.lease_over()
        self.nodes.wait(0.5)
        self.assertEqual(pauses(ann.heard()), [True])
        self.nodes.wait(60.0)
        ann.do(1, word="late")
        self.first.turn()
        self.assertEqual(ann.heard(), [])
        self.first.is_alive = True
        self.first.beat()
        self.nodes.wait(1.0)
        said = ann.heard()
        self.assertEqual((view(said)["last"], pauses(said)), ("late", [False]))
        states = [m["data"] for m in said if m["type"] == "game_state"]
        self.assertLess(states[-1]["time"], SECONDS + 5)


class NoneTests(SynchronousTestCase):
    """A game whose rooms are not kept."""

    def test_no_checkpoints(self) -> None:
        """
        Its rooms are not kept, and end with their node: who comes back learns that.
        """
        nodes = Nodes()
        first = nodes.start("n1", [Fleeting])
        ann, _ = first.hello("ann")
        ann.ask("join_room", game="fleeting", room_id="r1")
        first.turn()
        ann.do(1, word="one")
        nodes.wait(1.0)
        # Other nodes find it, but nothing of it is kept.
        self.assertEqual((first.store.puts, nodes.rooms["r1"].data), (1, NOT_KEPT))
        self.assertEqual(view(ann.heard())["last"], "one")


def _games() -> tuple[type[Any], type[Any]]:
    pair = next(game for game in GAMES if game.name == "pair")

    class Behind(pair):  # type: ignore[misc,valid-type]
        """Shown first, stored soon after."""

        name = "behind"
        seats = (1, 1)
        durability = "behind"

    class Fleeting(pair):  # type: ignore[misc,valid-type]
        """Stored never."""

        name = "fleeting"
        seats = (1, 1)
        durability = "none"

    return Behind, Fleeting


Behind, Fleeting = _games()
