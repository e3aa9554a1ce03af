"""Matches of game processes, played and watched by way of the node."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any

import attrs
from msgspec import msgpack
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support.cross_world import CrossWorld
from tests.support.live_rooms import kinds
from vinom.base.model import MatchEnd
from vinom.fleet.control.messages import (
    Kept,
    RelayAction,
    RelaySeat,
    RelayState,
    RelayWatch,
    RoomEnded,
)
from vinom.net.packets.player import Joined


def of(said: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Take what there is of one kind."""
    return [m.get("data") or m["error"] for m in said if m["type"] == kind]


class CrossTests(SynchronousTestCase):
    """One match, two ways into it."""

    def setUp(self) -> None:
        self.open()

    def open(self, watching: Any = "listed", game: str = "teller") -> None:
        self.world = CrossWorld(watching)
        self.match_id, (self.ann, self.bob) = self.world.matched(game)

    def begin(self) -> Any:
        """Seat 0 plays on a line, seat 1 over UDP; returns the latter."""
        self.place = self.world.enter(self.ann, self.match_id)["data"]
        udp = self.world.dial(self.match_id, 1)
        self.ann.heard()
        return udp


class PlayTests(CrossTests):
    """Playing together."""

    def test_one_match(self) -> None:
        """
        A player on a line and one over UDP see the same states and events, from either
        of them, and are sent the same end.
        """
        udp = self.begin()
        self.assertEqual((0, "teller"), (self.place["seat"], self.place["game"]))
        self.assertEqual(self.match_id, self.place["room_id"])
        self.ann.act(1, word="tell", type="say")
        self.world.run()
        (state,) = of(self.ann.heard(), "game_state")
        self.assertEqual({"0": 1}, state["ack"])
        self.assertEqual(["told", "psst"], [e["kind"] for e in state["events"]])
        self.assertEqual(["told"], udp.kinds)
        self.assertEqual(state["view"]["lines"], udp.lines)
        number = udp.say("end")
        self.world.run()
        said = self.ann.heard()
        self.assertEqual([[0], [1]], of(said, "round_over")[0]["outcome"]["places"])
        self.assertEqual(number, udp.seen.acked)
        self.world.run(6.0)
        said += self.ann.heard()
        view = of(said, "game_state")[-1]["view"]
        (closed,) = of(said, "room_closed")
        self.assertEqual("finished", closed["reason"])
        self.assertEqual(udp.over[0].version, closed["version"])
        self.assertEqual(udp.over[0].view_hash, closed["view_hash"])
        shown = sha256(msgpack.encode(view)).hexdigest()[:16]
        self.assertEqual(shown, closed["view_hash"])

    def test_waiting_for_the_others(self) -> None:
        """
        The first player waits; the start brings what never changes, and both are listed
        as what they are.
        """
        place = self.world.enter(self.ann, self.match_id)["data"]
        self.assertEqual((0, "gathering", None), (place["version"], *_early(place)))
        states = [seat["state"] for seat in place["players"]]
        self.assertEqual(["here", "away"], states)
        self.world.dial(self.match_id, 1)
        said = self.ann.heard()
        (started,) = of(said, "room_started")
        self.assertEqual({"once": "upon a time"}, started["setup"])
        (came,) = of(said, "client_joined")
        self.assertEqual((1, "joined"), (came["seat"], came["how"]))

    def test_team_of_a_player_over_udp(self) -> None:
        """
        Who comes over UDP is announced with the team that the match's maker chose.
        """
        match = self.world.matches.placed_match(self.match_id)
        chosen = [attrs.evolve(seat, team=1) for seat in match.plan.seats]
        match.plan = attrs.evolve(match.plan, seats=tuple(chosen))
        self.world.enter(self.ann, self.match_id)
        self.world.dial(self.match_id, 1)
        (came,) = of(self.ann.heard(), "client_joined")
        self.assertEqual((1, 1), (came["seat"], came["team"]))

    def test_refused(self) -> None:
        """
        What the game refuses is refused under its id, with the game's reason.
        """
        self.begin()
        self.ann.do(1, word="no", type="say")
        self.ann.do(2, word=5, type="say")
        self.world.run()
        said = [m for m in self.ann.heard() if m["type"] == "error"]
        self.assertEqual([1, 2], [m["id"] for m in said])
        self.assertEqual(["rejected", "bad_action"], [m["error"]["code"] for m in said])

    def test_ticks(self) -> None:
        """
        In a game with ticks an action is acknowledged when a tick took it.
        """
        self.open(game="ticking")
        self.world.enter(self.ann, self.match_id, "ticking")
        self.world.dial(self.match_id, 1)
        self.ann.heard()
        self.ann.do(1, type="say", word="x")
        self.world.run(0.5)
        acks = [state["ack"] for state in of(self.ann.heard(), "game_state")]
        self.assertEqual({"0": 1}, acks[-1])

    def test_goes_on_at_another_node(self) -> None:
        """
        When another node goes on with the match, a player on a line is sent there, and
        is shown no end; who plays over UDP notices nothing.
        """
        udp = self.begin()
        self.world.matches.disown(self.match_id)
        self.world.rooms.ownership.vanish(self.match_id)
        self.world.rooms.ownership.vanish("no room")
        self.world.run()
        said = self.ann.heard()
        self.assertEqual(["unavailable"], [one["code"] for one in of(said, "error")])
        self.assertEqual([], of(said, "room_closed") + of(said, "match_ended"))
        self.assertEqual([], udp.over)
        self.assertEqual([], self.world.matches.describe())
        self.assertEqual(0, self.world.rooms.directory.status()["rooms"])

    def test_process_dies(self) -> None:
        """
        When the game process dies the room closes as lost, as isolated rooms do.
        """
        self.begin()
        self.world.net.server.matches.report(RoomEnded(MatchEnd(self.match_id, "lost")))
        self.world.run()
        said = self.ann.heard()
        self.assertEqual("lost", of(said, "room_closed")[0]["reason"])
        again = self.world.enter(self.ann, self.match_id)
        self.assertEqual("no_such_room", again["error"]["code"])

    def test_slow_reader(self) -> None:
        """
        A slow reader is sent nothing until it catches up, then the newest state with
        every event; the player over UDP is not held up.
        """
        udp = self.begin()
        self.ann.is_behind = True
        for _ in range(20):
            udp.say("tell")
            self.world.run(0.05)
        self.world.run()
        self.assertEqual([], of(self.ann.heard(), "game_state"))
        self.assertEqual(20, len(udp.lines))
        self.ann.is_behind = False
        self.ann.conversation.caught_up()
        self.world.run()
        (state,) = of(self.ann.heard(), "game_state")
        self.assertEqual(20, len(state["view"]["lines"]))
        self.assertEqual(20, len(state["events"]))
        self.assertGreater(state["skipped"], 0)


def _early(place: dict[str, Any]) -> tuple[Any, Any]:
    return place["state"], place["setup"]


class OwnerTests(CrossTests):
    """One seat, one owner."""

    def test_udp_takes_over(self) -> None:
        """
        A player who comes over UDP has its seat there; the line is sent the reason, and
        its place, its secret and its actions are worth nothing any more.
        """
        self.begin()
        mine = self.world.dial(self.match_id, 0)
        said = self.ann.heard()
        self.assertEqual(["seat_taken"], [e["code"] for e in of(said, "error")])
        mine.say("hello")
        self.world.run()
        self.assertIn("0 hello", mine.lines[-1])
        (no,) = of(self.ann.act(2, word="x", type="say"), "error")
        self.assertEqual("not_in_room", no["code"])
        (no,) = of(self.ann.ask("reconnect", resume=self.place["resume"]), "error")
        self.assertEqual("bad_resume", no["code"])
        self.assertNotIn("dropped", " ".join(mine.lines))

    def test_line_takes_over(self) -> None:
        """
        A player who comes by way of the node has its seat there; its connection over
        UDP is sent the reason, and its resume token is worth nothing.
        """
        self.begin()
        theirs = self.world.dial(self.match_id, 0)
        resume = theirs.resume
        self.assertEqual(
            "join_room_result", self.world.enter(self.ann, self.match_id)["type"]
        )
        self.world.run(0.5)
        self.assertEqual(["seat_taken"], theirs.rejections)
        self.ann.do(1, word="mine", type="say")
        self.world.run()
        state = of(self.ann.heard(), "game_state")[-1]
        self.assertIn("0 mine", state["view"]["lines"][-1])
        self.assertEqual({"0": 1}, state["ack"])
        label = self.world.fleet.tickets[self.match_id, 0].label
        thief = type(theirs)(self.world.net, label, resume=resume)
        self.world.run(1.0)
        self.assertEqual(["bad_token"], thief.rejections)

    def test_race(self) -> None:
        """
        When both come at the same moment exactly one has the seat, and the other was
        sent the reason; nobody counts as gone meanwhile.
        """
        outcomes = set()
        for moment in range(12):
            self.open()
            other = self.world.dial(self.match_id, 1)
            match = self.world.matches.placed_match(self.match_id)
            token = self.world.net.token(
                0, self.match_id, match.plan.seats[0].player_id
            )
            label = self.world.fleet.tickets[self.match_id, 0].label
            udp = type(other)(self.world.net, label, token)
            self.world.run(0.01 * moment)
            self.world.enter(self.ann, self.match_id)
            self.world.run(1.0)
            taken = [e["code"] for e in of(self.ann.heard(), "error")]
            self.assertEqual(1, len(taken) + len(udp.rejections), moment)
            self.assertEqual({"seat_taken"}, {*taken, *udp.rejections})
            outcomes.add(bool(taken))
            if taken:
                udp.say("mine")
            else:
                self.ann.do(1, type="say", word="mine")
            self.world.run()
            self.assertIn("0 mine", other.lines[-1], moment)
            self.assertNotIn("dropped", " ".join(other.lines))
        self.assertEqual({True, False}, outcomes)

    def test_stale_news(self) -> None:
        """
        What was on its way when the seat changed hands changes nothing: a drop and
        actions of the older connection are not the newer one's.
        """
        udp = self.begin()
        mine = self.world.dial(self.match_id, 0)
        server = self.world.net.server
        server.received(RelayAction(self.match_id, 0, 9, b'{"type":"say","word":"x"}'))
        for how in ("drop", "leave"):
            server.received(RelaySeat(self.match_id, 0, how, 1))
        self.world.run()
        mine.say("still here")
        self.world.run()
        self.assertEqual(1, len(udp.lines))
        self.assertIn("still here", udp.lines[0])

    def test_to_and_fro(self) -> None:
        """
        A seat may change hands as often as its player likes; its actions are
        acknowledged to the connection that sent them.
        """
        self.begin()
        for turn in range(1, 5):
            mine = self.world.dial(self.match_id, 0)
            number = mine.say("udp")
            self.world.run()
            self.assertEqual(number, mine.seen.acked)
            self.world.enter(self.ann, self.match_id)
            self.ann.do(turn, word="line", type="say")
            self.world.run()
            state = of(self.ann.heard(), "game_state")[-1]
            self.assertEqual({"0": turn}, state["ack"])
            self.assertEqual(2 * turn, len(state["view"]["lines"]))

    def test_late_acknowledgement(self) -> None:
        """
        What the seat did over UDP acknowledges nothing of what its line does at once.
        """
        self.begin()
        self.world.fleet.delay = 0.03
        mine = self.world.dial(self.match_id, 0)
        for _ in range(5):
            mine.say("udp")
        self.world.run(0.5)
        self.world.enter(self.ann, self.match_id)
        self.world.run(0.05)
        self.ann.do(1, word="no", type="say")
        self.world.run(0.5)
        said = self.ann.heard()
        self.assertEqual(["rejected"], [e["code"] for e in of(said, "error")])
        self.assertEqual({}, of(said, "game_state")[-1]["ack"])

    def test_crossed_news(self) -> None:
        """
        A line that takes the seat back keeps it, though the news that it was taken
        before comes later.
        """
        self.begin()
        self.world.fleet.delay = 0.2
        match = self.world.matches.placed_match(self.match_id)
        token = self.world.net.token(0, self.match_id, match.plan.seats[0].player_id)
        label = self.world.fleet.tickets[self.match_id, 0].label
        other = self.world.dial(self.match_id, 1)
        udp = type(other)(self.world.net, label, token)
        for _ in range(100):
            if udp.of(Joined):
                break
            self.world.run(0.01)
        # The news that the seat is theirs is on its way; the line is new as well.
        self.ann.hang_up()
        line: Any = self.world.line(ends_at_match=False)
        line.ask("hello", protocol=1, player_key=self.key_of(0))
        line.ask("join_room", game="teller", room_id=self.match_id)
        self.world.run(1.0)
        self.assertEqual(["seat_taken"], udp.rejections)
        line.do(1, type="say", word="mine")
        self.world.run(1.0)
        said = line.heard()
        self.assertEqual([], of(said, "error"))
        self.assertEqual({"0": 1}, of(said, "game_state")[-1]["ack"])

    def key_of(self, seat: int) -> str:
        match = self.world.matches.placed_match(self.match_id)
        return self.world.keys[match.plan.seats[seat].player_id]

    def test_connection_lost(self) -> None:
        """
        A seat whose connection is lost waits, as over UDP; its secret gives it back.
        """
        udp = self.begin()
        self.ann.hang_up()
        self.world.run()
        self.assertIn("0 dropped", udp.lines[-1])
        line, _ = self.world.hello("somebody", ends_at_match=False)
        said = line.ask("reconnect", resume=self.place["resume"])
        self.assertEqual(0, of(said, "reconnect_result")[0]["seat"])
        self.world.run()
        self.assertIn("0 returned", udp.lines[-1])

    def test_lost_then_udp(self) -> None:
        """
        A seat whose connection is lost may be taken back over UDP.
        """
        self.begin()
        self.ann.hang_up()
        self.world.run()
        mine = self.world.dial(self.match_id, 0)
        self.assertIn("0 returned", mine.lines[-1])
        line, _ = self.world.hello("somebody", ends_at_match=False)
        (no,) = of(line.ask("reconnect", resume=self.place["resume"]), "error")
        self.assertEqual("bad_resume", no["code"])

    def test_leave(self) -> None:
        """
        A player who leaves the room gives its seat in the match up, and may queue
        again.
        """
        udp = self.begin()
        self.assertEqual("room_done", self.ann.ask("leave_room")[0]["type"])
        self.world.run()
        self.assertIn("0 left", udp.lines[-1])
        again = self.world.enter(self.ann, self.match_id)
        self.assertEqual("not_seated", again["error"]["code"])
        said = self.ann.ask("queue", game="teller")
        self.assertEqual(["queue_status"], kinds(said))

    def test_kicked(self) -> None:
        """
        A player whom an operator removes is out, and is sent the reason.
        """
        self.begin()
        match = self.world.matches.placed_match(self.match_id)
        player_id = match.plan.seats[0].player_id
        self.successResultOf(_kick(self.world, self.match_id, player_id))
        self.world.run()
        said = self.ann.heard()
        self.assertEqual("kicked", of(said, "match_ended")[0]["reason"])
        (no,) = of(self.ann.act(1, word="x", type="say"), "error")
        self.assertEqual("not_in_room", no["code"])

    def test_others_leave(self) -> None:
        """
        A player over UDP who leaves is seen to leave by members of the room.
        """
        udp = self.begin()
        udp.leave()
        self.world.run()
        (left,) = of(self.ann.heard(), "client_left")
        self.assertEqual((1, "left"), (left["seat"], left["reason"]))


def _kick(world: CrossWorld, match_id: str, player_id: str) -> Any:
    return ensureDeferred(world.matches.kick(match_id, player_id))


class WatchTests(CrossTests):
    """Looking on."""

    def eve(self) -> Any:
        line, _ = self.world.hello("eve", ends_at_match=False)
        return line

    def test_watch(self) -> None:
        """
        Somebody else may watch: it sees what everybody may, and cannot act.
        """
        udp = self.begin()
        eve = self.eve()
        place = self.world.enter(eve, self.match_id, spectate=True)["data"]
        self.assertEqual({"once": "upon a time"}, place["setup"])
        self.assertIsNone(place["seat"])
        udp.say("tell")
        self.world.run()
        state = of(eve.heard(), "game_state")[-1]
        self.assertEqual(udp.lines, state["view"]["lines"])
        self.assertEqual(["told"], [e["kind"] for e in state["events"]])
        (no,) = of(eve.act(1, word="x", type="say"), "error")
        self.assertEqual("not_seated", no["code"])

    def test_only_watched(self) -> None:
        """
        A match of players over UDP can be watched, and is none the slower for it when
        nobody watches any more: then only checkpoints cross the control link.
        """
        players = [self.world.dial(self.match_id, seat) for seat in (0, 1)]
        eve = self.eve()
        self.world.enter(eve, self.match_id, spectate=True)
        self.world.run()
        self.assertEqual(1, len(of(eve.heard(), "game_state")))
        eve.ask("leave_room")
        self.world.run()
        self.assertEqual(RelayWatch(self.match_id, False), self.world.fleet.sent[-1])
        told = len(self.world.fleet.told)
        players[0].say("hello")
        self.world.run()
        crossed = self.world.fleet.told[told:]
        self.assertEqual([], [one for one in crossed if not isinstance(one, Kept)])
        self.assertNotIn(self.match_id, self.world.rooms._rooms)

    def test_no_json(self) -> None:
        """
        A match whose view cannot be sent by way of the node closes for those who are
        there, and goes on for players over UDP: nobody breaks it by watching.
        """
        self.open(game="packed")
        udp = [self.world.dial(self.match_id, seat) for seat in (0, 1)]
        eve = self.eve()
        self.world.enter(eve, self.match_id, "packed", spectate=True)
        self.world.run()
        said = eve.heard()
        self.assertEqual("crashed", of(said, "room_closed")[0]["reason"])
        number = udp[0].say("hello")
        self.world.run()
        self.assertEqual(number, udp[0].seen.acked)
        self.assertEqual([], udp[0].over)

    def test_own_match(self) -> None:
        """
        A player does not watch its own match besides playing it.
        """
        said = self.world.enter(self.ann, self.match_id, spectate=True)
        self.assertEqual("already_in_match", said["error"]["code"])

    def test_strangers(self) -> None:
        """
        Nobody gets another player's seat with what anyone can know of it.
        """
        self.begin()
        eve = self.eve()
        said = self.world.enter(eve, self.match_id)
        self.assertEqual("not_seated", said["error"]["code"])
        for request in ("start_room", "rematch"):
            (no,) = of(self.ann.ask(request), "error")
            self.assertEqual("not_host", no["code"])

    def test_list(self) -> None:
        """
        A player who asks for matches is sent those that may be watched.
        """
        self.begin()
        eve = self.eve()
        (rooms,) = of(eve.ask("list_rooms", matches=True), "rooms")
        (facts,) = rooms["rooms"]
        self.assertEqual(self.match_id, facts["room_id"])
        self.assertEqual(
            ("playing", 2, 2, 0, False),
            tuple(facts[k] for k in ("state", "seats", "taken", "spectators", "open")),
        )
        for wish in ({"game": "ticking"}, {"state": "gathering"}):
            (rooms,) = of(eve.ask("list_rooms", matches=True, **wish), "rooms")
            self.assertEqual(0, rooms["total"])
        (rooms,) = of(eve.ask("list_rooms"), "rooms")
        self.assertEqual([], rooms["rooms"])

    def test_by_id(self) -> None:
        """
        With ``watch_matches = "by_id"`` no match is listed, but a player with its id
        may watch.
        """
        self.open("by_id")
        eve = self.eve()
        (rooms,) = of(eve.ask("list_rooms", matches=True), "rooms")
        self.assertEqual([], rooms["rooms"])
        said = self.world.enter(eve, self.match_id, spectate=True)
        self.assertEqual("join_room_result", said["type"])

    def test_none(self) -> None:
        """
        With ``watch_matches = "none"`` nobody watches; players play by the node.
        """
        self.open("none")
        said = self.world.enter(self.eve(), self.match_id, spectate=True)
        self.assertEqual("not_seated", said["error"]["code"])
        said = self.world.enter(self.ann, self.match_id)
        self.assertEqual("join_room_result", said["type"])

    def test_no_such_match(self) -> None:
        """
        The id of a match that is over, or never was, does not make a room.
        """
        eve = self.eve()
        for spectate in (False, True):
            said = self.world.enter(eve, "a" * 26, spectate=spectate)
            self.assertEqual("no_such_room", said["error"]["code"])
        said = self.world.enter(eve, self.match_id, game="ticking")
        self.assertEqual("data.game", said["error"]["details"]["field"])
        # Nor does anybody who is refused leave one behind, which would grow stale.
        self.world.enter(eve, self.match_id)
        self.assertEqual(0, self.world.rooms.directory.status()["rooms"])


class CostTests(CrossTests):
    """What the node pays."""

    def test_one_state_for_all(self) -> None:
        """
        However many watch, the game process sends the node each state once.
        """
        udp = self.begin()
        for number in range(10):
            line, _ = self.world.hello(f"eve-{number}", ends_at_match=False)
            self.world.enter(line, self.match_id, spectate=True)
        self.world.run()
        told = len(self.world.fleet.told)
        udp.say("hello")
        self.world.run()
        states = [m for m in self.world.fleet.told[told:] if isinstance(m, RelayState)]
        self.assertEqual(1, len(states))
        self.assertEqual(1, len(states[0].views))

    def test_node_is_behind(self) -> None:
        """
        While a node does not read, its game processes keep no states for it: it gets
        every event, and the newest state when it has caught up. What players over UDP
        would see waits too, because the node could not go on with it.
        """
        udp = self.begin()
        fleet = self.world.fleet
        fleet.is_behind = True
        told = len(fleet.told)
        for _ in range(10):
            udp.say("tell")
            self.world.run(0.05)
        self.assertEqual(0, len(udp.lines))
        states = [m for m in fleet.told[told:] if isinstance(m, RelayState)]
        self.assertEqual([], states)
        fleet.is_behind = False
        self.world.run()
        self.assertEqual(10, len(udp.lines))
        shown = of(self.ann.heard(), "game_state")
        self.assertEqual(udp.lines, shown[-1]["view"]["lines"])
        self.assertEqual(10, sum(len(state["events"]) for state in shown))

    def test_end_while_behind(self) -> None:
        """
        The last state is sent before the end, even to a node that is behind.
        """
        udp = self.begin()
        self.world.fleet.is_behind = True
        udp.say("hello")
        udp.leave()
        self.ann.ask("leave_room")
        eve, _ = self.world.hello("eve", ends_at_match=False)
        self.world.enter(eve, self.match_id, spectate=True)
        self.world.matches._fleet.close_room(self.match_id, "ended")
        self.world.run()
        said = eve.heard()
        (closed,) = of(said, "room_closed")
        self.assertEqual(closed["version"], of(said, "game_state")[-1]["version"])

    def test_match_is_over(self) -> None:
        """
        When a match is over nothing of it is left in the node's rooms.
        """
        udp = self.begin()
        udp.say("end")
        self.world.run(8.0)
        rooms = self.world.rooms
        self.assertEqual({}, rooms._rooms)
        self.assertEqual({}, rooms._secrets._players)
        self.assertEqual({}, rooms._secrets._resumes)
        self.assertEqual(None, self.world.matches.placed_match(self.match_id))


class AnyOrderTests(CrossTests):
    """A seat that changes hands at any time, while its player acts."""

    def setUp(self) -> None:
        """Each run makes a world of its own."""

    def test_any_order(self) -> None:
        """
        However a player comes and goes, over UDP and by way of the node, it has its
        seat in one place; what is acknowledged was done once, and nothing twice.
        """
        for seed in range(25):
            with self.subTest(seed=seed):
                self.check_run(random.Random(seed))

    def check_run(self, luck: random.Random) -> None:
        self.open()
        other = self.world.dial(self.match_id, 1)
        udp: list[Any] = []
        self.number = self.acked = 0
        words: dict[int, str] = {}

        def dial() -> None:
            udp.append(self.world.dial(self.match_id, 0))

        def come() -> None:
            self.hear(self.ann.ask("join_room", game="teller", room_id=self.match_id))

        def act() -> None:
            self.number += 1
            words[self.number] = f"line-{self.number}"
            self.ann.do(self.number, type="say", word=words[self.number])

        def act_udp() -> None:
            if udp and udp[-1].link is not None and not udp[-1].lost:
                udp[-1].say(f"udp-{luck.getrandbits(40)}")

        def fall() -> None:
            self.ann.hang_up()
            line: Any = self.world.line(ends_at_match=False)
            self.hear(line.ask("hello", protocol=1, player_key=self.key))
            self.ann = line

        def close() -> None:
            if udp:
                udp[-1].close()

        match = self.world.matches.placed_match(self.match_id)
        self.key = self.world.keys[match.plan.seats[0].player_id]
        steps = (dial, come, act, act, act, act_udp, act_udp, fall, close)
        self.world.fleet.delay = luck.choice((0.0, 0.015, 0.04))
        come()
        for _ in range(20):
            luck.choice(steps)()
            self.world.run(luck.choice((0.0, 0.01, 0.02, 0.3)))
            self.hear(self.ann.heard())
        self.world.run(1.0)
        self.hear(self.ann.heard())
        done = [line.split()[2] for line in other.lines if len(line.split()) == 3]
        said = [word for word in done if word.startswith(("line-", "udp-"))]
        self.assertEqual(len(said), len(set(said)))
        line_words = [word for word in said if word.startswith("line-")]
        self.assertEqual(line_words, sorted(line_words, key=lambda word: int(word[5:])))
        if self.acked:
            self.assertIn(words[self.acked], said)
        # The last one to come has the seat, and nobody else.
        come()
        self.world.run(0.5)
        act()
        if udp and not udp[-1].lost:
            udp[-1].say("thief")
        self.world.run(0.5)
        self.assertIn(words[self.number], other.lines[-1])
        self.assertNotIn("thief", " ".join(other.lines))

    def hear(self, said: list[dict[str, Any]]) -> None:
        for state in of(said, "game_state"):
            self.acked = max(self.acked, state["ack"].get("0", 0))


class OverloadTests(CrossTests):
    """The match's game server has too much to do."""

    def setUp(self) -> None:
        super().setUp()
        self.world.fleet.has_too_much = True

    def busy(self, line: Any, **more: Any) -> None:
        """Try to enter and be refused; a newcomer costs the game server nothing."""
        before = len(self.world.fleet.sent)
        error = self.world.enter(line, self.match_id, **more)["error"]
        self.assertEqual(
            ("busy", {"retry_after": 2.0}), (error["code"], error["details"])
        )
        self.world.run()
        self.assertEqual(before, len(self.world.fleet.sent))
        self.assertEqual({}, self.world.rooms._rooms)

    def test_first_time(self) -> None:
        """
        A player who comes to its match for the first time by way of the node is sent
        when to come, like those over UDP; later it has its seat.
        """
        self.busy(self.ann)
        self.world.fleet.has_too_much = False
        self.assertEqual(0, self.world.enter(self.ann, self.match_id)["data"]["seat"])

    def test_watching(self) -> None:
        """
        A spectator comes later, too; a player without a seat is sent that first.
        """
        eve, _ = self.world.hello("eve", ends_at_match=False)
        self.busy(eve, spectate=True)
        no = self.world.enter(eve, self.match_id)["error"]
        self.assertEqual("not_seated", no["code"])

    def test_again(self) -> None:
        """
        A player who played before comes back at once: with its resume token, with its
        key, and from UDP.
        """
        self.world.fleet.has_too_much = False
        self.begin()
        self.world.fleet.has_too_much = True
        self.ann.hang_up()
        line, _ = self.world.hello("ann", ends_at_match=False)
        line.ask("reconnect", resume=self.place["resume"])
        self.world.run()
        self.assertIn("game_state", kinds(line.heard()))
        again = self.world.enter(self.bob, self.match_id)
        self.assertEqual(1, again["data"]["seat"])
        match = self.world.matches.placed_match(self.match_id)
        key = self.world.keys[match.plan.seats[0].player_id]
        other = self.world.line(ends_at_match=False)
        other.ask("hello", protocol=1, player_key=key)
        again = self.world.enter(other, self.match_id)
        self.assertEqual(0, again["data"]["seat"])
