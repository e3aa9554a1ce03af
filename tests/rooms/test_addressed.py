"""Events for some: several seats, or an audience; players and spectators of a room."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.rooms.test_checkpoints import Nodes
from tests.rooms.test_matches import CrossTests
from tests.support.games import Camps, Cards, Hands, Show
from tests.support.live_rooms import PlayerLine
from vinom.game import Event, Step
from vinom.net.packets.player import EventArrived
from vinom.testing import play
from vinom.tools.check.trial import try_game

#: What is addressed, and whom it reaches: red seats are 0 and 2, seat 1 is blue.
REACHED = {
    "red": "ac",
    "blue": "b",
    "crowd": "w",
    "0,2": "ac",
    "1,": "b",
    "1,0": "ab",
    "2": "c",
    "None": "abcw",
}


class Telling(Cards):
    """A player who shows a card has the next one told its own."""

    away = 0

    def act(self, s: Hands, seat: int, action: Show, now: float) -> Any:
        other = (seat + 1) % len(s.cards)
        to = f"hand {(other + self.away) % len(s.cards)}"
        told = Event("card", s.cards[other], to=to)
        return Step(super().act(s, seat, action, now), (told,))

    def audience(self, s: Hands, seat: int | None) -> Hashable:
        return f"hand {seat}"

    def view(self, s: Hands, audience: Hashable) -> dict[str, Any]:
        return super().view(s, int(audience[5:]) if audience != "hand None" else "")


class Babbling(Telling):
    """Tells the wrong one."""

    away = 1


def called(said: list[dict[str, Any]]) -> list[str]:
    """List the events that came, in order."""
    return [
        event["data"] for m in said for event in (m["data"] or {}).get("events", ())
    ]


class AddressedTests(SynchronousTestCase):
    """Events in a room of the node."""

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.first = self.nodes.start("n1", games=(Camps,))
        self.second = self.nodes.start("n2", games=(Camps,))
        self.lines: dict[str, PlayerLine] = {}
        self.keys: dict[str, tuple[str, dict[str, Any]]] = {}
        for name in "abcw":
            more = {"spectate": True} if name == "w" else {}
            line, welcome = self.first.hello(name)
            (joined,) = line.ask("join_room", game="camps", room_id="r1", **more)
            self.lines[name] = line
            self.keys[name] = welcome["player_key"], joined["data"]
        self.first.turn()
        for line in self.lines.values():
            line.heard()

    def test_whom_they_reach(self) -> None:
        """
        An event reaches the seats, or the audience, that it is addressed to; what is
        for the spectators' audience reaches them, and nobody else.
        """
        for id, (to, names) in enumerate(REACHED.items(), 1):
            self.lines["a"].do(id, type="say", word=f"to {to}")
            self.first.turn()
            heard = {name: called(line.heard()) for name, line in self.lines.items()}
            wanted = {name: [to] if name in names else [] for name in "abcw"}
            self.assertEqual(heard, wanted)

    def test_after_a_pause(self) -> None:
        """
        A player who was away is sent what was for it meanwhile, once.
        """
        self.lines["c"].hang_up()
        self.first.turn()
        for id, to in enumerate(REACHED, 1):
            self.lines["a"].do(id, type="say", word=f"to {to}")
            self.first.turn()
        key, place = self.keys["c"]
        line, _ = self.first.back(key)
        said = line.ask("reconnect", resume=place["resume"], heard=place["number"])
        self.first.turn()
        said += line.heard()
        mine = [to for to, names in REACHED.items() if "c" in names]
        self.assertEqual(called(said), mine)

    def test_on_another_node(self) -> None:
        """
        Events that were stored and not yet sent when the node died come once, at the
        node that goes on, to those whom they are for.
        """
        late = self.first.store
        late.is_late = True
        self.lines["a"].do(1, type="say", word="to red")
        self.first.turn()
        _, given = late.waiting.pop()
        late.store.put(*given)
        self.first.die()
        self.nodes.wait(10.0)
        for name, wanted in (("a", ["red"]), ("b", []), ("c", ["red"])):
            key, place = self.keys[name]
            line, _ = self.second.back(key)
            said = line.ask("reconnect", resume=place["resume"], heard=place["number"])
            self.second.turn()
            said += line.heard()
            self.assertEqual(said[0]["type"], "reconnect_result", said)
            self.assertEqual(called(said), wanted)


class AddressedMatchTests(CrossTests):
    """Events in a match of a game server."""

    def setUp(self) -> None:
        self.open(game="camps")

    def test_both_ways(self) -> None:
        """
        A player by way of the node, one over UDP, and a spectator each get what is for
        them.
        """
        self.world.enter(self.ann, self.match_id, "camps")
        udp = self.world.dial(self.match_id, 1)
        self.ann.heard()
        eve, _ = self.world.hello("eve")
        self.world.enter(eve, self.match_id, "camps", spectate=True)
        reached = {to: names for to, names in REACHED.items() if "2" not in to}
        for id, to in enumerate(reached, 1):
            self.ann.do(id, type="say", word=f"to {to}")
            self.world.run()
        told = {"a": called(self.ann.heard()), "w": called(eve.heard())}
        told["b"] = [event.data for event in udp.of(EventArrived)]
        for name, heard in told.items():
            wanted = [to for to, names in reached.items() if name in names]
            self.assertEqual(heard, wanted, name)


class AuthorTests(SynchronousTestCase):
    def test_as_it_was_written(self) -> None:
        """
        A game's own test sees to whom the game addressed an event.
        """
        match = play(Camps)
        match.act(0, {"type": "say", "word": "to red"})
        match.act(0, {"type": "say", "word": "to 0,1"})
        wanted = [Event("called", "red", "red"), Event("called", "0,1", (0, 1))]
        self.assertEqual(match.events, wanted)

    def test_what_an_audience_may_know(self) -> None:
        """
        ``vinom check`` reports an event that tells an audience another one's secret,
        and none that tells it its own.
        """
        self.assertEqual(try_game(Telling(), "telling", 3, 3).findings, [])
        leak, *_ = try_game(Babbling(), "telling", 3, 3).findings
        self.assertRegex(leak.message, "hidden from .*, yet event 'card' depends on it")
