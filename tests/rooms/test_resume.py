"""Losing a connection, coming back, leaving for good, and the host's rights."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld, kinds, only
from vinom.rooms.round import RoomBounds


class ReconnectTests(SynchronousTestCase):
    """A place outlives its connection."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, self.ann_joined = self.world.joined("ann", "r1", "pair")
        self.bob, self.bob_joined = self.world.joined("bob", "r1", "pair")
        self.ann.heard()
        self.bob.heard()

    def reconnect(self, resume: str, **more: Any) -> tuple[PlayerLine, Any]:
        line, _ = self.world.hello("someone")
        return line, line.ask("reconnect", resume=resume, **more)

    def test_same_seat(self) -> None:
        """
        A player with the secret gets the seat, a new secret, and the state.
        """
        self.bob.hang_up()
        self.world.turn()
        left = self.ann.heard()
        self.assertEqual(left[0]["data"]["reason"], "lost")
        line, said = self.reconnect(self.bob_joined["resume"])
        self.world.turn()
        result = said[0]["data"]
        self.assertEqual(said[0]["type"], "reconnect_result")
        self.assertEqual((result["room_id"], result["seat"]), ("r1", 1))
        self.assertEqual((result["game"], result["lost"]), ("pair", 0))
        self.assertNotEqual(result["resume"], self.bob_joined["resume"])
        self.assertIn("game_state", kinds(line.heard()))
        self.assertEqual(self.ann.heard()[0]["data"]["how"], "returned")
        line.do(1, word="back")
        self.world.turn()
        self.assertEqual(self.ann.heard()[-1]["data"]["view"]["last"], "back")

    def test_missed_messages(self) -> None:
        """
        What was sent meanwhile comes first, in order; then one state with the events.
        """
        self.bob.hang_up()
        self.world.turn()
        self.ann.do(1, word="event")
        self.world.turn()
        self.world.joined("wes", "r1", "pair", spectate=True)
        self.ann.do(2, word="end")
        self.world.turn()
        line, said = self.reconnect(self.bob_joined["resume"])
        self.world.turn()
        said += line.heard()
        self.assertEqual(
            kinds(said),
            ["reconnect_result", "client_joined", "round_over", "game_state"],
        )
        numbers = [m["data"]["number"] for m in said[1:3]]
        self.assertEqual(numbers, sorted(numbers))
        self.assertEqual(len(said[-1]["data"]["events"]), 1)
        self.assertEqual(said[-1]["data"]["view"]["last"], "end")

    def test_sent_but_not_received(self) -> None:
        """
        What was on its way when the connection died comes again, if the client reports
        what it has.
        """
        self.ann.do(1, word="event")
        self.world.turn()
        number = self.bob.heard()[-1]["data"]["events"][0]["number"]
        self.bob.hang_up()
        line, said = self.reconnect(self.bob_joined["resume"], heard=number - 1)
        self.world.turn()
        states = [m["data"] for m in said + line.heard() if m["type"] == "game_state"]
        events = [event["number"] for state in states for event in state["events"]]
        self.assertEqual(events, [number])

    def test_repeated_action(self) -> None:
        """
        An action that is sent again after a reconnect is applied once.
        """
        self.bob.do(5, word="once")
        self.world.turn()
        self.bob.hang_up()
        line, said = self.reconnect(self.bob_joined["resume"])
        self.assertEqual(said[0]["data"]["acted"], 5)
        self.world.turn()
        line.heard()
        line.do(5, word="once")
        self.world.turn()
        state = line.heard()[-1]["data"]
        self.assertEqual((state["view"]["said"], state["ack"]), (1, {"1": 5}))

    def test_known_by_its_key(self) -> None:
        """
        A player whom its player key proves gets its own seat back by joining.
        """
        line, welcome = self.world.hello("cid")
        joined = line.ask("join_room", game="few", room_id="r2")[0]["data"]
        line.hang_up()
        back, _ = self.world.back(welcome["player_key"])
        said = back.ask("join_room", game="few", room_id="r2")[0]
        self.assertEqual(said["type"], "join_room_result")
        self.assertEqual(said["data"]["seat"], joined["seat"])
        again = back.ask("join_room", game="few", room_id="r2")[0]
        self.assertEqual(again["error"]["code"], "already_in_room")

    def test_newer_line_takes_over(self) -> None:
        """
        A newer connection takes a place from an older; that one's end touches nothing.
        """
        line, said = self.reconnect(self.bob_joined["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result")
        self.assertEqual(self.bob.heard()[0]["error"]["code"], "seat_taken")
        self.world.turn()
        line.heard()
        self.ann.heard()
        self.bob.hang_up()
        self.world.turn()
        self.assertEqual(self.ann.heard(), [])
        line.do(1, word="mine")
        self.world.turn()
        self.assertEqual(line.heard()[-1]["data"]["view"]["last"], "mine")

    def test_one_place_a_line(self) -> None:
        """
        A guest who says hello again and takes its place back by its secret cannot take
        another one in that room beside it, by any request.
        """
        self.bob.hang_up()
        line, said = self.reconnect(self.bob_joined["resume"])
        self.assertEqual(said[0]["data"]["seat"], 1)
        for spectate in (False, True):
            said = line.ask("join_room", game="pair", room_id="r1", spectate=spectate)
            self.assertEqual(said[-1]["error"]["code"], "already_in_room")
        _, joined = self.world.joined("cid", None, "few")
        line.ask("reconnect", resume=joined["resume"])
        said = line.ask("join_room", game="few")
        self.assertNotEqual(said[-1]["data"]["room_id"], joined["room_id"])

    def test_grace(self) -> None:
        """
        After fifteen minutes the seat is given up, and the secret is worth nothing.
        """
        self.bob.hang_up()
        self.world.clock.advance(899.0)
        self.assertEqual(self.world.rooms.directory.status()["away"], 1)
        self.world.clock.advance(2.0)
        self.assertEqual(self.ann.heard()[-1]["data"]["reason"], "expired")
        _, said = self.reconnect(self.bob_joined["resume"])
        self.assertEqual(said[0]["error"]["code"], "bad_resume")

    def test_grace_of_a_game(self) -> None:
        """
        A game may have its own grace period.
        """
        ann, _ = self.world.joined("cid", "r2", "brief")
        bob, _ = self.world.joined("dan", "r2", "brief")
        bob.hang_up()
        ann.heard()
        self.world.clock.advance(5.1)
        said = [m for m in ann.heard() if m["type"] == "client_left"]
        self.assertEqual(said[-1]["data"]["reason"], "expired")

    def test_everybody_away(self) -> None:
        """
        A room whose players are all cut off waits for them, and its time stands still.
        """
        self.ann.hang_up()
        self.bob.hang_up()
        self.world.clock.advance(600.0)
        _, said = self.reconnect(self.ann_joined["resume"])
        self.assertEqual(said[0]["data"]["seat"], 0)
        line, _ = self.reconnect(self.bob_joined["resume"])
        self.world.turn()
        self.assertLess(line.heard()[-1]["data"]["time"], 1.0)

    def test_room_closed_meanwhile(self) -> None:
        """
        A player who comes back too late still learns how it ended.
        """
        self.bob.hang_up()
        self.world.rooms.directory.get("r1").close("ended")
        _, said = self.reconnect(self.bob_joined["resume"])
        error = said[0]["error"]
        self.assertEqual(error["code"], "no_such_room")
        self.assertEqual(error["details"]["reason"], "ended")

    def test_ended_room_asked_for(self) -> None:
        """
        Who asks for a room whose game has ended learns that, and gets no other game
        instead; whoever wants one says so.
        """
        self.world.rooms.directory.get("r1").close("ended")
        eve, _ = self.world.hello("eve")
        asked = {"game": "pair", "room_id": "r1"}
        for how in ({}, {"create": False}, {"spectate": True}):
            (said,) = eve.ask("join_room", **asked, **how)
            self.assertEqual(said["error"]["code"], "no_such_room")
            self.assertEqual(said["error"]["details"]["reason"], "ended")
        (said,) = eve.ask("join_room", **asked, create=True)
        self.assertEqual(said["data"]["state"], "gathering")

    def test_room_without_a_game(self) -> None:
        """
        A room that closed before its game began may be opened again.
        """
        ann, _ = self.world.joined("ann", "r2", "pair")
        self.world.rooms.directory.get("r2").close("ended")
        (said,) = ann.heard()[-1:]
        self.assertEqual(said["type"], "room_closed")
        (said,) = ann.ask("join_room", game="pair", room_id="r2")
        self.assertEqual(said["type"], "join_room_result")


class LeaveTests(SynchronousTestCase):
    """Going, and what is left."""

    def setUp(self) -> None:
        self.world = RoomsWorld()

    def test_leave(self) -> None:
        """
        A player who leaves is answered, and the others are informed.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        bob, _ = self.world.joined("bob", "r1", "few")
        ann.heard()
        said = bob.ask("leave_room")
        self.assertEqual(kinds(said), ["room_done"])
        left = only(ann.heard())["data"]
        self.assertEqual((left["reason"], left["name"]), ("left", "bob"))
        self.assertEqual(bob.act(1, word="x")[0]["error"]["code"], "not_in_room")

    def test_closes_when_empty(self) -> None:
        """
        Thirty seconds after the last person left there is no trace of the room.
        """
        ann, _ = self.world.joined("ann", "r1", "open")
        ann.ask("leave_room")
        self.world.clock.advance(29.0)
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 1)
        self.world.clock.advance(1.1)
        self.assertEqual(
            self.world.rooms.directory.status(), {"rooms": 0, "places": 0, "away": 0}
        )

    def test_back_in_time(self) -> None:
        """
        Somebody who comes within that time keeps the room.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        ann.ask("leave_room")
        self.world.clock.advance(20.0)
        self.world.joined("bob", "r1", "few")
        self.world.clock.advance(60.0)
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 1)

    def test_host_passes_on(self) -> None:
        """
        When the host leaves, the next who sits is host and may do what it could.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        bob, _ = self.world.joined("bob", "r1", "few")
        cid, _ = self.world.joined("cid", "r1", "few")
        ann.ask("leave_room")
        bob.heard()
        self.assertEqual(kinds(bob.ask("add_bot")), ["client_joined", "room_done"])
        self.assertEqual(cid.ask("add_bot")[-1]["error"]["code"], "not_host")

    def test_drain(self) -> None:
        """
        A node that drains makes no rooms; running ones end with the node.
        """
        ann, _ = self.world.joined("ann", "r1", "open")
        drained: list[None] = []
        self.world.rooms.drain().addCallback(drained.append)
        bob, _ = self.world.hello("bob")
        said = bob.ask("join_room", game="few", room_id="r2")
        self.assertEqual(said[0]["error"]["code"], "draining")
        self.assertEqual(drained, [])
        ann.heard()
        self.world.rooms.stopService()
        self.assertEqual(ann.heard()[-1]["data"]["reason"], "shutdown")
        self.assertEqual(drained, [None])


class HostTests(SynchronousTestCase):
    """What only the host may."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "few")

    def test_kick(self) -> None:
        """
        A player who is kicked is sent the reason, is out, and cannot come back to this
        room.
        """
        bob, _ = self.world.joined("bob", "r1", "few")
        self.assertEqual(bob.ask("kick", seat=0)[-1]["error"]["code"], "not_host")
        self.ann.heard()
        self.assertEqual(
            self.ann.ask("kick", seat=7)[0]["error"]["code"], "no_such_player"
        )
        self.ann.ask("kick", seat=1)
        self.assertEqual(kinds(bob.heard()), ["kicked"])
        said = bob.ask("join_room", game="few", room_id="r1")
        self.assertEqual(said[0]["error"]["code"], "kicked")

    def test_kicked_for_good(self) -> None:
        """
        A client that proves to be the kicked player stays out, by every request, also
        to watch; a guest who says hello again is somebody else, and can be kicked
        again.
        """
        bob, welcome = self.world.hello("bob")
        place = bob.ask("join_room", game="few", room_id="r1")[0]["data"]
        self.ann.ask("kick", seat=1)
        again, _ = self.world.back(welcome["player_key"])
        ways: tuple[tuple[str, dict[str, Any]], ...] = (
            ("join_room", {"game": "few", "room_id": "r1"}),
            ("join_room", {"game": "few", "room_id": "r1", "spectate": True}),
            ("reconnect", {"resume": place["resume"]}),
        )
        codes = [again.ask(kind, **way)[0]["error"]["code"] for kind, way in ways]
        self.assertEqual(codes, ["kicked", "kicked", "bad_resume"])
        other, _ = self.world.hello("bob")
        said = other.ask("join_room", game="few", room_id="r1")
        self.assertEqual(said[0]["data"]["seat"], 1)
        self.ann.ask("kick", seat=1)
        self.assertEqual(other.heard()[-1]["type"], "kicked")

    def test_host_is_away(self) -> None:
        """
        While the host's connection is lost the member who has been there longest may do
        what the host could, and nobody else; everybody is informed, and the list names
        the new host.
        """
        bob, _ = self.world.joined("bob", "r1", "few")
        cid, _ = self.world.joined("cid", "r1", "few")
        watcher, _ = self.world.hello("wes")
        watcher.ask("list_rooms", watch=True)
        self.world.clock.advance(0.6)
        watcher.heard()
        bob.heard()
        cid.heard()
        self.ann.hang_up()
        for line in (bob, cid):
            left = only(line.heard())["data"]
            self.assertEqual((left["reason"], left["host"]), ("lost", 1))
        self.world.clock.advance(0.6)
        changed = only(watcher.heard())["data"]["changed"]
        self.assertEqual(only(changed)["host"], "bob")
        self.assertEqual(cid.ask("add_bot")[0]["error"]["details"], {"host": 1})
        self.assertEqual(kinds(bob.ask("add_bot")), ["client_joined", "room_done"])

    def test_host_is_spared(self) -> None:
        """
        A member who is host in the place of another cannot take its room from it
        because of a short loss; later it can free the seat, and others it can kick at
        once.
        """
        bob, _ = self.world.joined("bob", "r1", "few")
        cid, _ = self.world.joined("cid", "r1", "few")
        self.ann.hang_up()
        self.world.clock.advance(29.0)
        no = bob.ask("kick", seat=0)[-1]["error"]
        self.assertEqual(no["code"], "not_now")
        self.assertEqual(no["details"], {"retry_after": 1.0})
        cid.hang_up()
        self.assertEqual(bob.ask("kick", seat=2)[-1]["type"], "room_done")
        self.world.clock.advance(1.0)
        self.assertEqual(bob.ask("kick", seat=0)[-1]["type"], "room_done")

    def test_host_is_back(self) -> None:
        """
        The host who comes back is host again, and all know it.
        """
        line, welcome = self.world.hello("dan")
        place = line.ask("join_room", game="few", room_id="r2")[0]["data"]
        eve, joined = self.world.joined("eve", "r2", "few")
        self.assertEqual((place["host"], joined["host"]), (0, 0))
        line.hang_up()
        eve.heard()
        again, _ = self.world.back(welcome["player_key"])
        back = again.ask("reconnect", resume=place["resume"])[0]["data"]
        self.assertEqual(back["host"], 0)
        came = only(eve.heard())["data"]
        self.assertEqual((came["how"], came["host"]), ("returned", 0))
        self.assertEqual(eve.ask("add_bot")[0]["error"]["code"], "not_host")
        self.assertEqual(again.ask("add_bot")[-1]["type"], "room_done")

    def test_host_is_away_at_the_start(self) -> None:
        """
        The player who made the room is host in the game too, even if the game begins
        during a short loss of its connection.
        """
        ann, joined = self.world.joined("ann", "r2", "hosted")
        bob, _ = self.world.joined("bob", "r2", "hosted")
        ann.hang_up()
        self.world.clock.advance(RoomBounds().fill_seconds)
        self.assertIn("room_started", kinds(bob.heard()))
        line, _ = self.world.hello("someone")
        back = line.ask("reconnect", resume=joined["resume"])[0]["data"]
        self.assertEqual((back["state"], back["host"]), ("playing", 0))
        self.world.turn()
        view = line.heard()[-1]["data"]["view"]
        self.assertEqual(view["last"], "seat 0 is host")

    def test_everybody_was_away(self) -> None:
        """
        A player who comes to a room in which nobody is connected is host there at once.
        """
        bob, joined = self.world.joined("bob", "r1", "few")
        self.ann.hang_up()
        bob.hang_up()
        line, _ = self.world.hello("bob")
        back = line.ask("reconnect", resume=joined["resume"])[0]["data"]
        self.assertEqual(back["host"], 1)
        line.hang_up()
        _, joined = self.world.joined("cid", "r1", "few")
        self.assertEqual(joined["host"], 2)

    def test_bots_play(self) -> None:
        """
        A bot fills a seat and plays it, and can be removed again.
        """
        said = self.ann.ask("add_bot")
        self.assertEqual(said[-1]["data"], {"room_id": "r1", "seat": 1})
        self.ann.ask("start_room")
        self.world.turn()
        self.ann.heard()
        self.world.clock.advance(1.1)
        state = self.ann.heard()[-1]["data"]
        self.assertEqual(state["view"]["last"], "bot 0")
        self.ann.ask("kick", seat=1)
        self.world.turn()
        self.ann.heard()
        self.world.clock.advance(5.0)
        self.assertEqual(self.ann.heard(), [])

    def test_bots_have_names(self) -> None:
        """
        Bots have the names that the game gives them, each once; the next one is named
        after its seat.
        """
        game = type(self.world.games["few"])
        self.patch(game, "bot_names", ("Disco",))
        named = [self.ann.ask("add_bot")[0]["data"]["name"] for _ in range(2)]
        self.assertEqual(named, ["Disco", "bot 3"])
        self.ann.ask("kick", seat=1)
        self.assertEqual(self.ann.ask("add_bot")[0]["data"]["name"], "Disco")

    def test_no_bot(self) -> None:
        """
        A game without a bot says so.
        """
        line, _ = self.world.joined("bob", "r2", "nobot")
        self.assertEqual(line.ask("add_bot")[0]["error"]["code"], "no_bot")

    def test_rematch(self) -> None:
        """
        After a round the host has the same seats play again; versions go on rising.
        """
        bob, _ = self.world.joined("bob", "r1", "few")
        self.ann.ask("start_room")
        self.world.turn()
        self.assertEqual(self.ann.ask("rematch")[-1]["error"]["code"], "not_now")
        bob.do(1, word="end")
        self.world.turn()
        said = bob.heard()
        self.assertIn("round_over", kinds(said))
        version = said[-1]["data"]["version"]
        self.ann.heard()
        self.assertEqual(kinds(self.ann.ask("rematch")), ["room_done"])
        self.world.turn()
        said = bob.heard()
        self.assertEqual(kinds(said), ["room_started", "game_state"])
        self.assertEqual(said[0]["data"]["seat"], 1)
        self.assertGreater(said[1]["data"]["version"], version)
        self.assertEqual(said[1]["data"]["view"]["said"], 0)
        bob.do(2, word="again")
        self.world.turn()
        self.assertEqual(bob.heard()[-1]["data"]["ack"], {"1": 2})
        self.assertEqual(len(self.world.recordings.matches), 2)

    def test_no_rematch_lingers(self) -> None:
        """
        Without a rematch the room closes when its game has lingered long enough.
        """
        self.world.joined("bob", "r1", "few")
        self.ann.ask("start_room")
        self.world.turn()
        self.ann.do(1, word="end")
        self.world.turn()
        self.ann.heard()
        self.world.clock.advance(61.0)
        closed = only(self.ann.heard())
        self.assertEqual(closed["type"], "room_closed")
        self.assertEqual(closed["data"]["reason"], "finished")
        self.assertEqual(closed["data"]["outcome"]["round"], 1)


class ListTests(SynchronousTestCase):
    """Which rooms there are."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.watcher, _ = self.world.hello("wes")

    def test_list(self) -> None:
        """
        Rooms are listed by game and state, as they are now.
        """
        self.world.joined("ann", "r1", "few")
        self.world.joined("bob", "r2", "open")
        self.world.joined("cid", "r3", "pair")
        rooms = self.watcher.ask("list_rooms")[0]["data"]
        self.assertEqual((rooms["total"], len(rooms["rooms"])), (3, 3))
        rooms = self.watcher.ask("list_rooms", game="few")[0]["data"]["rooms"]
        self.assertEqual(
            only(rooms),
            {
                "room_id": "r1",
                "game": "few",
                "state": "gathering",
                "host": "ann",
                "seats": 4,
                "taken": 1,
                "spectators": 0,
                "open": True,
                "connected": 1,
            },
        )
        rooms = self.watcher.ask("list_rooms", state="playing")[0]["data"]["rooms"]
        self.assertEqual([room["room_id"] for room in rooms], ["r2"])
        rooms = self.watcher.ask("list_rooms", limit=1)[0]["data"]
        self.assertEqual((rooms["total"], len(rooms["rooms"])), (3, 1))

    def test_unknown_game(self) -> None:
        """
        A player who mistypes a game is sent the games that exist, not that it has no
        rooms.
        """
        for more in ({}, {"watch": True}, {"matches": True}):
            said = only(self.watcher.ask("list_rooms", game="pear", **more))
            self.assertEqual(said["error"]["code"], "unknown_game")
            self.assertIn("pair", said["error"]["details"]["games"])

    def test_live_updates(self) -> None:
        """
        A player who watches is sent what changed and what closed, twice per second at
        most.
        """
        self.watcher.ask("list_rooms", game="pair", watch=True)
        ann, _ = self.world.joined("ann", "r1", "pair")
        self.world.joined("bob", "r1", "pair")
        self.world.joined("cid", "r2", "few")
        self.world.clock.advance(0.6)
        update = only(self.watcher.heard())["data"]
        changed = only(update["changed"])
        self.assertEqual((changed["state"], changed["taken"]), ("playing", 2))
        self.world.rooms.directory.get("r1").close("ended")
        self.world.clock.advance(0.6)
        self.assertEqual(only(self.watcher.heard())["data"]["gone"], ["r1"])
        self.watcher.ask("list_rooms", watch=False)
        self.world.joined("dan", "r3", "pair")
        self.world.clock.advance(0.6)
        self.assertEqual(self.watcher.heard(), [])
        self.assertEqual(kinds(ann.heard())[-1], "room_closed")

    def test_slow_watcher(self) -> None:
        """
        A player who watches and reads slowly is sent each room once, as it is by then,
        however often it has changed.
        """
        self.watcher.ask("list_rooms", game="pair", watch=True)
        self.watcher.is_behind = True
        for number in range(5):
            ann, _ = self.world.joined(f"ann{number}", "r1", "pair")
            self.world.clock.advance(0.6)
            ann.ask("leave_room")
            self.world.clock.advance(0.6)
        self.world.joined("bob", "r2", "pair")
        self.world.clock.advance(0.6)
        self.world.rooms.directory.get("r1").close("ended")
        self.world.clock.advance(0.6)
        self.assertEqual(self.watcher.heard(), [])
        self.watcher.catch_up()
        update = only(self.watcher.heard())["data"]
        self.assertEqual(update["gone"], ["r1"])
        self.assertEqual(only(update["changed"])["room_id"], "r2")
        self.world.joined("cid", "r2", "pair")
        self.world.clock.advance(0.6)
        changed = only(self.watcher.heard())["data"]["changed"]
        self.assertEqual(only(changed)["state"], "playing")

    def test_slow_watcher_who_stops(self) -> None:
        """
        A player who stopped watching is sent nothing when it has caught up.
        """
        self.watcher.ask("list_rooms", watch=True)
        self.watcher.is_behind = True
        self.world.joined("ann", "r1", "pair")
        self.world.clock.advance(0.6)
        self.watcher.ask("list_rooms", watch=False)
        self.watcher.catch_up()
        self.assertEqual(self.watcher.heard(), [])

    def test_operators(self) -> None:
        """
        Operators see every room, and may remove a player or end one.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        listed = only(self.world.rooms.directory.listed())
        self.assertEqual((listed["room_id"], listed["connected"]), ("r1", 1))
        player_id = listed["players"][0]["player_id"]
        self.world.rooms.directory.get("r1").kick_player(player_id)
        self.assertEqual(kinds(ann.heard()), ["kicked"])
        figures = self.world.rooms.directory.figures()
        self.assertEqual(figures["by_game"], {("few", "gathering"): 1})


class BrokenGameTests(SynchronousTestCase):
    """A game that fails ends its own room, and costs nobody else anything."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "pair")
        self.bob, _ = self.world.joined("bob", "r1", "pair")
        self.cid, _ = self.world.joined("cid", "r2", "pair")
        self.dan, _ = self.world.joined("dan", "r2", "pair")
        for line in (self.ann, self.bob, self.cid, self.dan):
            line.heard()

    def fails(self, word: str, seconds: float = 0.0) -> None:
        self.ann.do(1, word=word)
        self.world.clock.advance(seconds)
        self.world.turn()
        for line in (self.ann, self.bob):
            closed = [m for m in line.heard() if m["type"] == "room_closed"]
            self.assertEqual(only(closed)["data"]["reason"], "crashed")
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 1)
        self.cid.do(1, word="fine")
        self.world.turn()
        self.assertEqual(only(self.dan.heard())["data"]["view"]["last"], "fine")
        reports = [r.report for r in self.world.recordings.matches.values() if r.report]
        self.assertEqual(len(reports), 1)
        # Its players are free, and may play on elsewhere at once.
        said = self.ann.ask("join_room", game="pair", room_id="r3")
        self.assertEqual(said[-1]["type"], "join_room_result")

    def test_raises(self) -> None:
        """
        An exception ends the room, with a report.
        """
        self.fails("boom")

    def test_unencodable_state(self) -> None:
        """
        So does a view that isn't JSON.
        """
        self.fails("unencodable")

    def test_unencodable_event(self) -> None:
        """
        So does an event that isn't JSON.
        """
        self.fails("bad event")

    def test_deadline_that_stays(self) -> None:
        """
        So does a deadline that never moves on.
        """
        self.fails("stuck", 1.5)
