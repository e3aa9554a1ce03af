"""Rooms of other nodes, over links in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.rooms.test_checkpoints import SECONDS, Nodes, view
from tests.support.live_rooms import PlayerLine
from tests.support.node_channels import MemoryLinks, channels
from vinom.base.limits.buckets import is_loopback
from vinom.errors import Code, NoCapacity
from vinom.net.nodes import NodeChannel
from vinom.rooms.room import EXPECTED_SECONDS
from vinom.rooms.visits import (
    ANSWER_SECONDS,
    FRESH_SECONDS,
    LIST_SECONDS,
    MOST_AT_ONCE,
    Visits,
)


class Links(MemoryLinks):
    """
    The links of node n2 to n1.

    :ivar is_down: cannot n1 be reached?
    :ivar is_silent: does no node answer who dials?
    """

    def __init__(self, nodes: Nodes) -> None:
        super().__init__(nodes.clock)
        self.is_down = self.is_silent = False
        self.more: list[str] = []
        self.direct: dict[str, str] = {}

    async def others(self) -> list[str]:
        return ["n1", "n3", *self.more]

    async def address(self, node_id: str, reach: str) -> str:
        return self.direct.get(reach, "")

    async def _open(self, node_id: str, *given: Any) -> NodeChannel:
        if node_id == "n4" or self.is_silent:
            return await Deferred()
        if self.is_down:
            raise NoCapacity("nobody listens there")
        return await super()._open(node_id, *given)


class TwoNodes(SynchronousTestCase):
    """Two nodes with a link, and Ann at the first one."""

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.links = Links(self.nodes)
        self.first = self.nodes.start("n1")
        visits = Visits(self.links, self.nodes.clock)
        self.second = self.nodes.start("n2", visits=visits)
        served = channels("n1", self.nodes.clock, self.first.requests, self.first.rooms)
        self.links.connect(served)
        self.ann, _ = self.first.hello("ann")

    def turn(self) -> None:
        """Let messages arrive, and turns end."""
        for _ in range(3):
            self.links.carry()
            self.first.turn()
            self.second.turn()
        self.links.carry()

    def ask(self, line: PlayerLine, kind: str, **data: Any) -> list[dict[str, Any]]:
        """Send a request; returns everything that came of it."""
        line.heard()
        line.say(kind, **data)
        self.turn()
        return line.heard()


class VisitTests(TwoNodes):
    """Ann is at the node of the room, Bob at another one."""

    def setUp(self) -> None:
        super().setUp()
        self.bob, _ = self.second.hello("bob")
        self.ann.ask("join_room", game="pair", room_id="r1")

    def join(self, line: PlayerLine, **more: Any) -> dict[str, Any]:
        """Join the room from another node."""
        found = self.ask(line, "join_room", game="pair", room_id="r1", **more)
        self.assertEqual(found[0]["type"], "join_room_result", found)
        data: dict[str, Any] = found[0]["data"]
        return data

    def test_play(self) -> None:
        """
        A player of another node is answered first, then sent what happens; what the
        player does reaches everybody, and a refusal carries the player's own id.
        """
        self.join(self.bob)
        self.bob.do(1, word="hello")
        self.turn()
        self.assertEqual(view(self.ann.heard())["last"], "hello")
        self.assertEqual(view(self.bob.heard())["last"], "hello")
        self.bob.do(9, word=7)
        self.turn()
        (refused,) = self.bob.heard()
        self.assertEqual((refused["id"], refused["type"]), (9, "error"))

    def test_address(self) -> None:
        """
        A player who is connected to the other node from that machine itself is not
        local here.
        """
        self.join(self.bob)
        members = self.first.rooms._rooms["r1"].members
        ann, bob = [one.conversation.host for one in members if one.conversation]
        self.assertTrue(is_loopback(ann))
        self.assertFalse(is_loopback(bob), bob)

    def test_requests(self) -> None:
        """
        Requests about the room go to its node, with or without its id; what it refuses
        is refused, and what is answered never is so.
        """
        self.join(self.bob)
        for more in ({}, {"room_id": "r1"}):
            (refused,) = self.ask(self.bob, "kick", seat=0, **more)
            self.assertEqual(refused["error"]["code"], "not_host")
        self.assertEqual(self.ask(self.bob, "ack", seen=1), [])
        (peek,) = self.ask(self.bob, "peek_room", room_id="r1")
        self.assertEqual(peek["type"], "room_peek")
        found = self.ask(self.bob, "join_room", game="pair", room_id="r1")
        self.assertEqual(found[-1]["error"]["code"], "already_in_room")

    def test_leave(self) -> None:
        """
        Who leaves is in no room at either node, and nothing is left of the visit.
        """
        self.join(self.bob)
        (done,) = self.ask(self.bob, "leave_room")
        self.assertEqual(done["data"]["room_id"], "r1")
        (refused,) = self.ask(self.bob, "leave_room")
        self.assertEqual(refused["error"]["code"], "not_in_room")
        self.assertIn("client_left", [m["type"] for m in self.ann.heard()])
        self.nothing_is_left()

    def test_refused(self) -> None:
        """
        A room that takes nobody refuses, in its words.
        """
        self.join(self.bob)
        cat, _ = self.second.hello("cat")
        (refused,) = self.ask(cat, "join_room", game="pair", room_id="r1")
        self.assertEqual(refused["error"]["code"], "room_started")
        cat.hang_up()
        self.ask(self.bob, "leave_room")
        self.nothing_is_left()

    def test_kicked(self) -> None:
        """
        Who is removed by the host is sent that, and may not come back.
        """
        self.join(self.bob)
        self.ann.ask("kick", seat=1)
        self.turn()
        self.assertIn("kicked", [m["type"] for m in self.bob.heard()])
        (refused,) = self.ask(self.bob, "join_room", game="pair", room_id="r1")
        self.assertEqual(refused["error"]["code"], "kicked")
        self.nothing_is_left()

    def test_line_is_lost(self) -> None:
        """
        A player whose line to the other node is lost is away, and comes back there with
        the same secret, or at the node of the room.
        """
        secret = self.join(self.bob)["resume"]
        for node in (self.second, self.first):
            self.bob.hang_up()
            self.turn()
            left = [m for m in self.ann.heard() if m["type"] == "client_left"]
            self.assertEqual(left[-1]["data"]["reason"], "lost")
            self.bob, _ = node.hello("bob again")
            found = self.ask(self.bob, "reconnect", resume=secret)
            self.assertEqual(found[0]["data"]["seat"], 1, found)
            secret = found[0]["data"]["resume"]

    def test_room_closes(self) -> None:
        """
        When the room closes its visitors are sent that, once.
        """
        self.join(self.bob)
        self.first.rooms.directory.get("r1").close("ended")
        self.turn()
        said = [m["type"] for m in self.bob.heard()]
        self.assertEqual(said.count("room_closed"), 1)
        self.assertFalse(self.bob.is_closed)
        self.nothing_is_left()

    def test_slow_player(self) -> None:
        """
        A player of another node who does not read is sent the newest state later, and
        not all of them.
        """
        self.join(self.bob)
        self.bob.heard()
        self.bob.is_behind = True
        for number in range(20):
            self.ann.do(number + 1, word=str(number))
            self.turn()
        self.assertLess(len([m for m in self.bob.sent if m["type"] == "game_state"]), 5)
        self.bob.catch_up()
        self.turn()
        self.assertEqual(view(self.bob.heard())["last"], "19")

    def test_link_is_lost(self) -> None:
        """
        A player whose room is out of reach is disconnected with the reason, so that the
        client comes back; at the node of the room the player is away.
        """
        self.join(self.bob)
        self.links.break_off()
        self.assertEqual(self.bob.heard()[-1]["error"]["code"], "store_unavailable")
        self.assertTrue(self.bob.is_closed)
        self.assertIn("client_left", [m["type"] for m in self.ann.heard()])

    def test_announced_as_the_link_is_lost(self) -> None:
        """
        What was on its way when a visitor's node died is sent again.
        """
        secret = self.join(self.bob)["resume"]
        self.links.is_stuck = True
        cat, _ = self.first.hello("cat")
        cat.say("join_room", game="pair", room_id="r1", spectate=True)
        self.first.turn()
        self.links.answering.lose()
        self.bob, _ = self.first.hello("bob again")
        self.bob.say("reconnect", resume=secret)
        self.first.turn()
        self.assertIn("client_joined", [one["type"] for one in self.bob.heard()])

    def test_link_is_lost_before_the_answer(self) -> None:
        """
        Who only asked is refused, may try again, and stays connected.
        """
        self.links.is_stuck = True
        self.bob.say("join_room", game="pair", room_id="r1")
        self.links.break_off()
        (refused,) = self.bob.heard()
        self.assertEqual(refused["error"]["code"], "busy")
        self.assertFalse(self.bob.is_closed)
        self.assertNotIn(self.bob.conversation, self.second.rooms._visits._visits)

    def test_no_answer(self) -> None:
        """
        A node that does not answer in time is given up; what it did is undone.
        """
        self.links.is_stuck = True
        self.bob.say("join_room", game="pair", room_id="r1")
        self.nodes.clock.advance(ANSWER_SECONDS)
        (refused,) = self.bob.heard()
        self.assertEqual(refused["error"]["code"], "busy")
        self.links.is_stuck = False
        self.turn()
        self.assertEqual(self.bob.heard(), [])
        members = self.first.rooms._rooms["r1"].members
        here = [one.name for one in members if one.conversation is not None]
        self.assertEqual(here, ["ann"])

    def test_no_link(self) -> None:
        """
        A node that cannot be reached is named, and the player may try again.
        """
        self.links.is_down = True
        (refused,) = self.ask(self.bob, "join_room", game="pair", room_id="r1")
        self.assertEqual(refused["error"]["code"], "busy")
        self.assertIn("retry_after", refused["error"]["details"])

    def test_silent(self) -> None:
        """
        Nobody waits for a node that is silent until after its lease; then its room
        goes on here.
        """
        secret = self.join(self.bob)["resume"]
        self.bob.do(1, word="last words")
        self.turn()
        self.nodes.wait(1.0)
        self.first.die()
        self.links.is_silent = True
        self.links.break_off()
        self.nodes.wait(SECONDS - 2.0)
        bob, _ = self.second.hello("bob again")
        self.assertEqual(self.ask(bob, "reconnect", resume=secret), [])
        self.nodes.wait(2.0)
        (refused,) = bob.heard()
        self.assertEqual(refused["error"]["details"]["retry_after"], 0.1)
        found = self.ask(bob, "reconnect", resume=secret)
        self.assertEqual(found[0]["data"]["seat"], 1, found)

    def test_node_dies(self) -> None:
        """
        A visitor comes back to a room whose node died, at the visitor's own node.
        """
        secret = self.join(self.bob)["resume"]
        self.bob.do(1, word="last words")
        self.turn()
        self.nodes.wait(1.0)
        self.first.die()
        self.links.is_down = True
        self.links.break_off()
        self.nodes.wait(SECONDS + 1)
        bob, _ = self.second.hello("bob again")
        found = self.ask(bob, "reconnect", resume=secret)
        self.assertEqual(found[0]["data"]["seat"], 1, found)
        self.assertEqual(found[0]["data"]["version"] > 0, True)

    def test_flood(self) -> None:
        """
        A visitor who is disconnected for a flood by the room's node is disconnected.
        """
        self.join(self.bob)
        members = self.first.rooms._rooms["r1"].members
        (visitor,) = [m.conversation for m in members if m.name == "bob"]
        visitor.line.close(Code.RATE_LIMITED, "too many messages")
        self.turn()
        self.assertEqual(self.bob.heard()[-1]["error"]["code"], "rate_limited")
        self.assertTrue(self.bob.is_closed)

    def test_lists(self) -> None:
        """
        A list has the rooms of all nodes, and who watches it is sent what changes at
        each; rooms of a node that is lost are taken off, and the line stays.
        """
        self.first.joined("cat", "r2")
        self.second.joined("dan", "r3")
        (found,) = self.ask(self.bob, "list_rooms", watch=True)
        rooms = [room["room_id"] for room in found["data"]["rooms"]]
        self.assertEqual((rooms, found["data"]["total"]), (["r3", "r2"], 2))
        self.first.joined("eve", "r4")
        self.nodes.wait(1.0)
        self.turn()
        (update,) = self.bob.heard()
        self.assertEqual(update["data"]["changed"][0]["room_id"], "r4")
        self.links.break_off()
        (update,) = self.bob.heard()
        self.assertEqual(sorted(update["data"]["gone"]), ["r2", "r4"])
        self.assertFalse(self.bob.is_closed)

    def test_list_that_is_watched_no_more(self) -> None:
        """
        Nothing is left of a visit when nobody watches.
        """
        self.ask(self.bob, "list_rooms", watch=True)
        self.assertEqual(self.links.asked, 1)
        self.ask(self.bob, "list_rooms", watch=False)
        self.nothing_is_left()

    def test_node_that_lists_nothing(self) -> None:
        """
        A node that does not answer in time does not keep players from a list.
        """
        self.second.joined("dan", "r3")
        self.links.is_stuck = True
        self.bob.say("list_rooms")
        self.nodes.clock.advance(LIST_SECONDS)
        (found,) = self.bob.heard()
        self.assertEqual(found["data"]["total"], 1)

    def test_any_room(self) -> None:
        """
        Who names no room gets a seat in an open one of any node, or else a new one.
        """
        (one,) = self.ask(self.bob, "join_room", game="few")[:1]
        cat, _ = self.first.hello("cat")
        cat.ask("join_room", game="each")
        dan, _ = self.second.hello("dan")
        (found,) = self.ask(dan, "join_room", game="each")[:1]
        self.assertEqual(found["data"]["players"][0]["name"], "cat")
        self.assertNotEqual(one["data"]["room_id"], found["data"]["room_id"])
        self.assertEqual(len(self.second.rooms.directory.listed()), 1)

    def test_line_closes_before_the_visit(self) -> None:
        """
        Nobody sits in a room of another node whose line closed before it was asked.
        """
        self.links.is_stuck = True
        self.bob.say("join_room", game="each")
        self.bob.hang_up()
        self.links.is_stuck = False
        self.nodes.clock.advance(ANSWER_SECONDS)
        self.turn()
        self.nothing_is_left()

    def test_list_of_a_busy_node(self) -> None:
        """
        Who plays at a node that is too busy to list its rooms plays on there.
        """
        self.join(self.bob)
        self.links.is_stuck = True
        self.bob.say("list_rooms")
        self.nodes.clock.advance(LIST_SECONDS)
        self.links.is_stuck = False
        self.turn()
        self.bob.heard()
        self.bob.do(1, word="hello")
        self.turn()
        self.assertEqual(view(self.bob.heard())["last"], "hello")

    def test_list_comes_before_its_updates(self) -> None:
        """
        What changed while other nodes were asked is sent after the list.
        """
        self.links.more = ["n4"]
        self.bob.heard()
        self.bob.say("list_rooms", watch=True)
        self.turn()
        self.first.joined("eve", "r4")
        self.nodes.clock.pump([0.1] * 6)
        self.turn()
        self.assertEqual(self.bob.heard(), [])
        self.nodes.clock.advance(LIST_SECONDS)
        kinds = [m["type"] for m in self.bob.heard()]
        self.assertEqual(kinds, ["rooms", "room_list_update"])

    def crowd(self, count: int) -> list[PlayerLine]:
        """Connect many players to the second node, and let nothing arrive."""
        lines = [self.second.hello(f"player {number}")[0] for number in range(count)]
        for line in lines:
            line.heard()
        self.links.is_stuck = True
        return lines

    def answered(self, lines: list[PlayerLine]) -> list[int]:
        """Let everything arrive; returns how many rooms each was sent."""
        self.links.is_stuck = False
        for _ in range(len(lines)):
            self.links.carry()
        found = [line.heard() for line in lines]
        return [one[0]["data"]["total"] for one in found]

    def test_many_ask_for_a_list(self) -> None:
        """
        Many players who ask for a list are one question to each node; who asks a moment
        later is none, and a list that is older than a second is asked for again.
        """
        self.first.joined("cat", "r2")
        lines = self.crowd(100)
        for line in lines:
            line.say("list_rooms", limit=1 + len(lines) % 50)
        self.assertEqual(self.links.asked, 1)
        self.assertEqual(self.answered(lines), [1] * 100)
        self.first.joined("eve", "r4")
        (found,) = self.ask(self.bob, "list_rooms")
        self.assertEqual(found["data"]["total"], 1)
        self.nodes.wait(FRESH_SECONDS + 0.1)
        (found,) = self.ask(self.bob, "list_rooms", limit=1)
        self.assertEqual((len(found["data"]["rooms"]), found["data"]["total"]), (1, 2))
        self.nothing_is_left()

    def test_who_asked_first_is_gone(self) -> None:
        """
        Others who wait for the same list get it if the line of the first one closes.
        """
        self.first.joined("cat", "r2")
        first, *lines = self.crowd(3)
        for line in (first, *lines):
            line.say("list_rooms")
        first.hang_up()
        self.assertEqual(self.answered(lines), [1, 1])
        self.nothing_is_left()

    def test_many_watch(self) -> None:
        """
        Of many players who begin to watch at once a node is asked by a few at a time,
        and all get their lists.
        """
        self.first.joined("cat", "r2")
        lines = self.crowd(100)
        for line in lines:
            line.say("list_rooms", watch=True)
        self.assertEqual(self.links.asked, MOST_AT_ONCE)
        self.assertEqual(self.answered(lines), [1] * 100)
        self.assertEqual(self.links.asked, 100)
        for line in lines:
            line.say("list_rooms", watch=False)
        self.turn()
        self.nothing_is_left()

    def test_many_look_for_any_room(self) -> None:
        """
        Of many players who look for a room at once a node is asked by a few at a time.
        """
        lines = self.crowd(100)
        for line in lines:
            line.say("join_room", game="pair")
        self.assertEqual(self.links.asked, MOST_AT_ONCE)
        self.links.is_stuck = False
        for _ in range(100):
            self.turn()
        kinds = {line.heard()[0]["type"] for line in lines}
        self.assertEqual(kinds, {"join_room_result"})

    def seats(self, *lines: PlayerLine) -> Deferred[str]:
        """Look for seats in running rooms from the second node, as its queue does."""
        ids = [line.player_id for line in lines]
        found = Deferred.fromCoroutine(
            self.second.rooms.seats("open", b'{"size":1}', ids)
        )
        self.turn()
        return found

    def test_seats_of_a_running_room(self) -> None:
        """
        A room of another node keeps free seats for those who are sent there, and for
        nobody else, for a short time.
        """
        players = []
        for name in ("cat", "dan", "eve"):
            line, welcome = self.second.hello(name)
            line.player_id = welcome["player_id"]  # type: ignore[attr-defined]
            players.append(line)
        cat, dan, eve = players
        self.assertEqual(self.successResultOf(self.seats(cat)), "", "no room")
        self.ann.ask("leave_room")
        (joined,) = self.ann.ask("join_room", game="open")
        self.first.turn()
        room_id = joined["data"]["room_id"]
        self.assertEqual(self.successResultOf(self.seats(cat, dan, eve)), "")
        self.assertEqual(self.successResultOf(self.seats(cat, dan)), room_id)
        self.assertEqual(self.successResultOf(self.seats(eve)), "")
        (refused,) = self.ask(eve, "join_room", game="open", room_id=room_id)
        self.assertEqual(refused["error"]["code"], "room_full")
        found = self.ask(cat, "join_room", game="open", room_id=room_id)
        self.assertEqual(found[0]["type"], "join_room_result", found)
        # Dan does not come.
        self.nodes.wait(EXPECTED_SECONDS)
        self.assertEqual(self.successResultOf(self.seats(eve)), room_id)
        self.links.is_down = True
        self.assertEqual(self.successResultOf(self.seats(dan)), "")
        # Nothing rings after the end.
        self.first.rooms.directory.get(room_id).close("ended")
        self.nodes.wait(EXPECTED_SECONDS)

    def test_refused_id_is_free(self) -> None:
        """
        An id that was looked up for a room that was then refused is not kept.
        """
        (refused,) = self.ask(
            self.bob, "join_room", game="pair", room_id="r9", options={"no": 1}
        )
        self.assertEqual(refused["type"], "error")
        self.assertNotIn("r9", self.nodes.rooms)

    def nothing_is_left(self) -> None:
        """No visit is open at either end."""
        self.assertEqual((self.links.asked, self.links.served.sessions), (0, 0))
        self.assertEqual(self.second.rooms._visits._visits, {})


class MovedTests(TwoNodes):
    """Players whose clients go to the node of their room, where they can reach it."""

    def setUp(self) -> None:
        super().setUp()
        self.links.direct = {"lobby": "n1.example:4600"}
        for room_id in ("r1", "r3"):
            self.ann.ask("join_room", game="pair", room_id=room_id)

    def hello(self, **more: Any) -> PlayerLine:
        """Say hello to the other node."""
        line = self.second.line()
        (welcome,) = line.ask("hello", protocol=1, name="bob", **more)
        self.assertEqual(welcome["type"], "welcome", welcome)
        return line

    def join(self, line: PlayerLine, room_id: str = "r1") -> dict[str, Any]:
        """Join a room; returns the answer."""
        return self.ask(line, "join_room", game="pair", room_id=room_id)[0]

    def test_moved(self) -> None:
        """
        Such a player is sent the address, and takes no seat: the next one gets it.
        """
        answer = self.join(self.hello(moves="lobby"))
        self.assertEqual(answer["type"], "moved")
        self.assertEqual(
            answer["data"], {"address": "n1.example:4600", "room_id": "r1"}
        )
        eve, _ = self.first.hello("eve")
        (joined, *_) = eve.ask("join_room", game="pair", room_id="r1")
        self.assertEqual(joined["data"]["seat"], 1)

    def test_served_through_the_link(self) -> None:
        """
        So is who did not say that, or only follows to addresses that the node has not.
        """
        for room_id, more in (("r1", {}), ("r3", {"moves": "websocket"})):
            line = self.hello(**more)
            self.assertEqual(self.join(line, room_id)["type"], "join_room_result")

    def test_with_another_room(self) -> None:
        """
        Who is in a room here stays.
        """
        line = self.hello(moves="lobby")
        self.assertEqual(self.join(line, "r2")["type"], "join_room_result")
        self.assertEqual(self.join(line)["type"], "join_room_result")

    def test_coming_back(self) -> None:
        """
        Who comes back with a resume token is sent there, and the token stays valid.
        """
        cat, _ = self.first.hello("cat")
        (joined, *_) = cat.ask("join_room", game="pair", room_id="r1")
        cat.hang_up()
        resume = joined["data"]["resume"]
        line = self.hello(moves="lobby")
        (moved,) = self.ask(line, "reconnect", resume=resume)
        self.assertEqual(moved["type"], "moved")
        dog, _ = self.first.hello("dog")
        (back, *_) = dog.ask("reconnect", resume=resume)
        self.assertEqual(back["data"]["seat"], 1)

    def test_a_look(self) -> None:
        """
        Who only looks at a room is answered here.
        """
        (peek,) = self.ask(self.hello(moves="lobby"), "peek_room", room_id="r1")
        self.assertEqual(peek["type"], "room_peek")
