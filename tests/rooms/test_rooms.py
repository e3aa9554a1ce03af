"""What players in rooms of the node are sent, as far as one connection each goes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import Heard, Pair, RoomsWorld, kinds, only
from tests.support.lobbies import LobbyWorld


class JoinTests(SynchronousTestCase):
    """Coming in."""

    def setUp(self) -> None:
        self.world = RoomsWorld()

    def test_first_makes_the_room(self) -> None:
        """
        A player who asks for a room that is not there gets it, its first seat, and is
        host.
        """
        _, joined = self.world.joined("ann", "r1")
        self.assertEqual(joined["room_id"], "r1")
        self.assertEqual((joined["seat"], joined["host"]), (0, 0))
        self.assertEqual((joined["state"], joined["version"]), ("gathering", 0))
        self.assertGreaterEqual(len(joined["resume"]), 22)
        self.assertEqual([p["name"] for p in joined["players"]], ["ann"])

    def test_full_room_starts(self) -> None:
        """
        As soon as all seats are taken everybody is sent who sits where, and the state.
        """
        ann, _ = self.world.joined("ann", "r1", "pair")
        bob, _ = self.world.joined("bob", "r1", "pair")
        self.assertEqual(
            kinds(ann.heard()), ["client_joined", "room_started", "game_state"]
        )
        said = bob.heard()
        self.assertEqual(kinds(said), ["room_started", "game_state"])
        self.assertEqual(said[0]["data"]["seat"], 1)
        self.assertEqual(said[1]["data"]["version"], 1)

    def test_fewest_wait_for_more(self) -> None:
        """
        With the fewest there, play begins five seconds after the last one came.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        self.world.joined("bob", "r1", "few")
        self.world.clock.advance(4.0)
        self.world.joined("cid", "r1", "few")
        self.world.clock.advance(4.9)
        self.assertNotIn("room_started", kinds(ann.heard()))
        self.world.clock.advance(0.2)
        self.assertIn("room_started", kinds(ann.heard()))

    def test_host_starts(self) -> None:
        """
        The host need not wait; others may not start, and nobody with too few.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        self.assertEqual(only(ann.ask("start_room"))["error"]["code"], "not_now")
        bob, _ = self.world.joined("bob", "r1", "few")
        self.assertEqual(only(bob.ask("start_room"))["error"]["code"], "not_host")
        ann.heard()
        self.assertEqual(kinds(ann.ask("start_room")), ["room_done"])
        self.world.turn()
        self.assertEqual(kinds(ann.heard()), ["room_started", "game_state"])

    def test_seats_move_up(self) -> None:
        """
        A seat that was left before the start leaves no gap in the game.
        """
        ann, _ = self.world.joined("ann", "r1", "few")
        bob, _ = self.world.joined("bob", "r1", "few")
        cid, _ = self.world.joined("cid", "r1", "few")
        ann.ask("leave_room")
        self.world.turn()
        bob.heard()
        bob.ask("start_room")
        self.world.turn()
        started = next(m for m in bob.heard() if m["type"] == "room_started")["data"]
        self.assertEqual((started["seat"], started["host"]), (0, 0))
        started = next(m for m in cid.heard() if m["type"] == "room_started")["data"]
        self.assertEqual(started["seat"], 1)

    def test_any_open_room(self) -> None:
        """
        A player who names no room joins an open one with equal options, or gets a new
        one.
        """
        _, first = self.world.joined("ann", None, "pair")
        _, second = self.world.joined("bob", None, "pair")
        _, third = self.world.joined("cid", None, "pair")
        _, named = self.world.joined("dan", "r9", "few")
        _, other = self.world.joined("eve", None, "few")
        self.assertEqual(first["room_id"], second["room_id"])
        self.assertNotEqual(first["room_id"], third["room_id"])
        self.assertNotEqual(named["room_id"], other["room_id"])

    def test_any_other_room(self) -> None:
        """
        A player who asks for any room twice does not meet itself, and leaves nothing
        behind.
        """
        ann, joined = self.world.joined("ann", None, "pair")
        said = only(ann.ask("join_room", game="pair"))["data"]
        self.assertEqual(said["seat"], 0)
        self.assertNotEqual(said["room_id"], joined["room_id"])
        ann.ask("leave_room", room_id=joined["room_id"])
        ann.hang_up()
        for seconds in (901.0, 31.0):
            self.world.clock.advance(seconds)
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 0)

    def test_any_room_but_that(self) -> None:
        """
        A player who was removed from a room still finds others.
        """
        ann, joined = self.world.joined("ann", None, "few")
        bob, _ = self.world.joined("bob", None, "few")
        ann.ask("kick", seat=1)
        bob.heard()
        said = only(bob.ask("join_room", game="few"))
        self.assertEqual(said["type"], "join_room_result")
        self.assertNotEqual(said["data"]["room_id"], joined["room_id"])

    def test_options_are_the_makers(self) -> None:
        """
        A room keeps the options that it was made with; others may leave theirs out.
        """
        self.world.joined("ann", "r1", "few", options={"size": 3})
        bob, _ = self.world.hello("bob")
        said = only(bob.ask("join_room", game="few", room_id="r1", options={"size": 4}))
        self.assertEqual(said["error"]["code"], "bad_options")
        said = only(bob.ask("join_room", game="few", room_id="r1"))
        self.assertEqual(said["data"]["options"], {"size": 3})

    def test_refusals(self) -> None:
        """
        What cannot be joined says why, and what could be done.
        """
        self.world.joined("ann", "r1", "pair")
        self.world.joined("bob", "r1", "pair")
        cid, _ = self.world.hello("cid")

        def code(**asked: Any) -> str:
            said = only(cid.ask("join_room", **asked))
            return str(said["error"]["code"])

        self.assertEqual(code(game="pair", room_id="r1"), "room_started")
        self.assertEqual(code(game="none"), "unknown_game")
        self.assertEqual(code(game="few", room_id="r1"), "bad_field")
        for room_id in ("a b", ".", "..", "\x1b", "a\n", "é"):
            self.assertEqual(code(game="few", room_id=room_id), "bad_field")
        self.assertEqual(code(game="few", room_id="r2", spectate=True), "no_such_room")
        self.assertEqual(code(game="few", options={"x": 1}), "bad_options")
        self.assertEqual(code(game="few", loadout={"x": 1}), "bad_loadout")
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 1)

    def test_limits(self) -> None:
        """
        Rooms of one player and of one node are limited, and the answer says to what.
        """
        world = RoomsWorld(most=3, per_client=2)
        ann, _ = world.joined("ann", "a")
        said = ann.ask("join_room", game="few", room_id="b")
        said += ann.ask("join_room", game="few", room_id="c")
        self.assertEqual(said[-1]["error"]["code"], "too_many_rooms")
        self.assertEqual(said[-1]["error"]["details"], {"limit": 2})
        bob, _ = world.joined("bob", "c")
        said = bob.ask("join_room", game="few", room_id="d")
        self.assertEqual(said[-1]["error"]["details"], {"limit": 3})

    def test_limit_of_one_line(self) -> None:
        """
        The places of several players do not come together on one line beyond its
        limit; the secret that was refused is good for another line.
        """
        world = RoomsWorld(per_client=2)
        resumes = [world.joined(name, name)[1]["resume"] for name in ("a", "b", "c")]
        eve, _ = world.hello("eve")
        said = [eve.ask("reconnect", resume=resume)[0] for resume in resumes]
        self.assertEqual(kinds(said), ["reconnect_result"] * 2 + ["error"])
        self.assertEqual(said[2]["error"]["code"], "too_many_rooms")
        again = eve.ask("reconnect", resume=said[1]["data"]["resume"])
        self.assertEqual(kinds(again), ["reconnect_result"])
        other, _ = world.hello("eva")
        said = other.ask("reconnect", resume=resumes[2])
        self.assertEqual(kinds(said), ["reconnect_result"])

    def test_newcomers(self) -> None:
        """
        A game that takes newcomers begins with its fewest, and seats more later.
        """
        ann, _ = self.world.joined("ann", "r1", "open")
        self.assertIn("room_started", kinds(ann.heard()))
        bob, joined = self.world.joined("bob", "r1", "open")
        self.assertEqual((joined["seat"], joined["state"]), (1, "playing"))
        said = bob.heard()
        self.assertEqual(said[-1]["data"]["view"]["seats"], 2)
        # A seat that was given up is free again, for the next one.
        bob.ask("leave_room")
        self.world.joined("cid", "r1", "open")
        self.world.joined("dan", "r1", "open")
        eve, _ = self.world.hello("eve")
        said = eve.ask("join_room", game="open", room_id="r1")
        self.assertEqual(said[0]["error"]["code"], "room_full")

    def test_spectators(self) -> None:
        """
        A spectator sees every public state, and can do nothing.
        """
        ann, _ = self.world.joined("ann", "r1", "open")
        watcher, joined = self.world.joined("wes", "r1", "open", spectate=True)
        self.assertIsNone(joined["seat"])
        watcher.heard()
        ann.ask("action", word="hi")
        self.world.turn()
        self.assertEqual(watcher.heard()[-1]["data"]["view"]["last"], "hi")
        said = watcher.ask("action", word="ho")
        self.assertEqual(said[0]["error"]["code"], "not_seated")


class PairCase(SynchronousTestCase):
    """Ann and Bob play."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "pair")
        self.bob, _ = self.world.joined("bob", "r1", "pair")
        self.ann.heard()
        self.bob.heard()


class ActTests(PairCase):
    """Playing."""

    def test_everybody_sees_it(self) -> None:
        """
        What one does, all see, with the id of it acknowledged.
        """
        self.ann.act(7, word="hi")
        self.world.turn()
        for line in (self.ann, self.bob):
            state = only(line.heard())["data"]
            self.assertEqual(state["version"], 2)
            self.assertEqual(state["ack"], {"0": 7})
            self.assertEqual(state["view"]["last"], "hi")

    def test_one_broadcast_a_turn(self) -> None:
        """
        What arrives together is one state, with the events of all of it.
        """
        self.ann.act(1, word="event")
        self.bob.act(1, word="event")
        self.ann.act(2, word="x")
        self.world.turn()
        state = only(self.bob.heard())["data"]
        self.assertEqual((state["version"], state["ack"]), (4, {"0": 2, "1": 1}))
        self.assertEqual([e["version"] for e in state["events"]], [2, 3])
        first, second = (e["number"] for e in state["events"])
        self.assertLess(first, second)

    def test_every_change_sent(self) -> None:
        """
        If the game asks for it, every change is sent, in order.
        """
        ann, _ = self.world.joined("cid", "r2", "each")
        bob, _ = self.world.joined("dan", "r2", "each")
        ann.heard()
        bob.heard()
        ann.do(1, word="a")
        bob.do(1, word="b")
        self.world.turn()
        self.assertEqual([m["data"]["version"] for m in ann.heard()], [2, 3])

    def test_repeated_id(self) -> None:
        """
        An action whose id was applied already is acknowledged and not applied again.
        """
        self.ann.act(3, word="a")
        self.world.turn()
        self.ann.heard()
        self.bob.heard()
        self.ann.act(3, word="b")
        self.ann.act(2, word="c")
        self.world.turn()
        said = self.ann.heard()
        # Once, however often it was repeated in this turn.
        self.assertEqual(only(said)["data"]["version"], 2)
        self.assertEqual(said[-1]["data"]["ack"], {"0": 3})
        self.assertEqual(self.bob.heard(), [])

    def test_ids_are_numbers(self) -> None:
        """
        An id that cannot rise is refused, and nothing happens.
        """
        for id in ("a", 0, -1, 1 << 53, 10**1500):
            said = only(self.ann.act(id, word="x"))
            self.assertEqual(said["error"]["code"], "bad_field")
            self.assertEqual(said["error"]["details"], {"field": "id"})
        self.world.turn()
        self.assertEqual(self.bob.heard(), [])

    def test_nothing_changed(self) -> None:
        """
        An action that changes nothing is acknowledged to its player alone.
        """
        self.ann.act(1, word="nothing")
        self.world.turn()
        self.assertEqual(only(self.ann.heard())["data"]["ack"], {"0": 1})
        self.assertEqual(self.bob.heard(), [])

    def test_the_game_refuses(self) -> None:
        """
        A refused action says why, under its id; the id may be used again.
        """
        said = only(self.ann.act(1, word="no"))
        self.assertEqual((said["id"], said["error"]["code"]), (1, "rejected"))
        self.assertEqual(said["error"]["details"]["reason"], "no")
        self.ann.act(1, word="yes")
        self.world.turn()
        self.assertEqual(only(self.ann.heard())["data"]["ack"], {"0": 1})

    def test_too_fast(self) -> None:
        """
        Actions have their own rate: above it they are refused, then the line is closed.
        """
        codes = []
        for id in range(1, 4000):
            codes += [m["error"]["code"] for m in self.ann.act(id, word="x")]
            if self.ann.is_closed:
                break
        self.assertEqual(set(codes), {"rate_limited"})
        self.assertTrue(self.ann.is_closed)
        self.assertLess(id, 2000)

    def test_secrets(self) -> None:
        """
        Each sees its own view, and an event for one seat reaches that seat only.
        """
        ann, _ = self.world.joined("cid", "r2", "secret")
        bob, _ = self.world.joined("dan", "r2", "secret")
        wes, _ = self.world.joined("wes", "r2", "secret", spectate=True)
        for line in (ann, bob, wes):
            line.heard()
        ann.act(1, word="whisper")
        self.world.turn()
        seen = [only(line.heard())["data"] for line in (ann, bob, wes)]
        self.assertEqual([s["view"]["you"] for s in seen], [0, 1, None])
        self.assertEqual([len(s["events"]) for s in seen], [0, 1, 0])

    def test_which_room(self) -> None:
        """
        In two rooms one has to say which; in one it may be left out.
        """
        self.ann.ask("join_room", game="few", room_id="r2")
        said = only(self.ann.act(1, word="x"))
        self.assertEqual(said["error"]["code"], "which_room")
        self.assertEqual(self.ann.act(1, room_id="r1", word="x"), [])
        said = only(self.ann.act(1, room_id="r3", word="x"))
        self.assertEqual(said["error"]["code"], "not_in_room")
        self.ann.ask("leave_room", room_id="r2")
        self.world.turn()
        self.assertEqual(self.ann.heard()[-1]["data"]["ack"], {"0": 1})

    def test_ticks(self) -> None:
        """
        In a game with ticks an action is acknowledged by the tick that took it.
        """
        cid, _ = self.world.joined("cid", "r2", "beat")
        self.world.clock.advance(0.0)
        cid.heard()
        cid.act(4, word="x")
        self.world.turn()
        self.assertEqual(cid.heard(), [])
        self.world.clock.advance(0.1)
        state = cid.heard()[-1]["data"]
        self.assertEqual((state["ack"], state["view"]["last"]), ({"0": 4}, "x"))

    def test_between_ticks(self) -> None:
        """
        What changes the state between two ticks acknowledges no action that waits.
        """
        cid, _ = self.world.joined("cid", "r2", "between")
        self.world.clock.advance(0.0)
        cid.heard()
        cid.act(4, word="x")
        self.world.turn()
        self.world.clock.advance(0.06)
        state = only(cid.heard())["data"]
        self.assertNotIn("0", state["ack"])
        self.world.clock.advance(0.05)
        state = only(cid.heard())["data"]
        self.assertEqual((state["ack"], state["view"]["last"]), ({"0": 4}, "x"))


class RoundTests(SynchronousTestCase):
    """Rounds that the game's own players begin."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "rounds")

    def said(self, word: str) -> list[dict[str, Any]]:
        """What the other player is sent when this one has said a word."""
        self.acted += 1
        self.ann.do(self.acted, word=word)
        self.world.turn()
        return self.bob.heard()

    def begin(self) -> None:
        """Seat the second player."""
        self.bob, _ = self.world.joined("bob", "r1", "rounds")
        self.acted = 0
        self.world.turn()

    def listed(self) -> str:
        """Tell how far the room is, as everybody sees it in the list."""
        rooms = self.bob.ask("list_rooms")[-1]["data"]["rooms"]
        return str(only(rooms)["state"])

    def test_events_of_the_start(self) -> None:
        """
        A player who takes the last seat, and one who was there, each get the events of
        the start, once.
        """
        self.begin()
        for line in (self.ann, self.bob):
            states = [m["data"] for m in line.heard() if m["type"] == "game_state"]
            events = [event["kind"] for state in states for event in state["events"]]
            self.assertEqual(events, ["began"])

    def test_next_round(self) -> None:
        """
        When the game's outcome is none again, everybody is sent that a round began,
        before its state; and the list of rooms says that it is played.
        """
        self.begin()
        self.bob.heard()
        self.assertEqual(kinds(self.said("end")), ["round_over", "game_state"])
        self.assertEqual(self.listed(), "over")
        began, state = self.said("again")
        self.assertEqual((began["type"], state["type"]), ("round_began", "game_state"))
        self.assertEqual(began["data"]["version"], state["data"]["version"])
        self.assertEqual(self.listed(), "playing")
        self.assertEqual(kinds(self.said("again")), ["game_state"])
        over, _ = self.said("end")
        self.assertEqual(over["data"]["outcome"]["round"], 2)

    def test_resumed_round(self) -> None:
        """
        A round that is resumed, and ends again under its old number, is over again for
        everybody.
        """
        self.begin()
        self.said("end")
        self.said("again")
        over, _ = self.said("done")
        self.assertEqual(
            (over["type"], over["data"]["outcome"]["round"]), ("round_over", 1)
        )
        self.assertEqual(self.listed(), "over")

    def test_missed(self) -> None:
        """
        A player who was away meanwhile is sent the end of one round and the beginning
        of the next, in order.
        """
        self.bob, joined = self.world.joined("bob", "r1", "rounds")
        self.acted = 0
        self.world.turn()
        self.bob.hang_up()
        self.world.turn()
        for id, word in ((1, "end"), (2, "again")):
            self.ann.do(id, word=word)
            self.world.turn()
        back, _ = self.world.hello("bob")
        said = kinds(back.ask("reconnect", resume=joined["resume"]))
        self.assertEqual(said[:3], ["reconnect_result", "round_over", "round_began"])


class SlowReaderTests(PairCase):
    """One who does not take what it is sent."""

    def test_newest_wins(self) -> None:
        """
        It skips to the newest state, is sent how many it skipped, and loses no event.
        """
        self.bob.is_behind = True
        for id in range(1, 6):
            self.ann.do(id, word="event")
            self.world.turn()
        self.assertEqual(len(self.ann.heard()), 5)
        self.assertEqual(self.bob.heard(), [])
        self.bob.catch_up()
        self.world.turn()
        state = only(self.bob.heard())["data"]
        self.assertEqual((state["version"], state["skipped"]), (6, 5))
        self.assertEqual(len(state["events"]), 5)
        self.ann.act(6, word="event")
        self.world.turn()
        state = only(self.bob.heard())["data"]
        self.assertNotIn("skipped", state)
        self.assertEqual(len(state["events"]), 1)

    def test_too_many_events(self) -> None:
        """
        A player who misses more events than are kept is sent the reason and closed, not
        misled.
        """
        world = RoomsWorld(actions=10_000.0)
        ann, _ = world.joined("ann", "r1", "pair")
        bob, joined = world.joined("bob", "r1", "pair")
        bob.heard()
        bob.is_behind = True
        for id in range(1, 400):
            ann.act(id, word="event")
            world.turn()
        self.assertTrue(bob.is_closed)
        self.assertEqual(bob.heard()[-1]["error"]["code"], "too_slow")
        back, _ = world.hello("bob")
        said = back.ask("reconnect", resume=joined["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result")
        self.assertGreater(said[0]["data"]["lost"], 0)

    def test_one_view_a_version(self) -> None:
        """
        A version looks the same to all who are shown it, also when one of them is sent
        away at that moment and the game notices.
        """
        world = RoomsWorld(actions=10_000.0)
        ann, bob, cid = (
            world.joined(name, "r1", "missing")[0] for name in ("ann", "bob", "cid")
        )
        ann.heard()
        bob.is_behind = True
        views: dict[int, list[Any]] = {}
        for id in range(1, 400):
            if id == 2:
                # She has this state, and is sent what is not made for all.
                ann.ask("ack", seen=1)
            ann.act(id, word="event")
            world.turn()
            for line in (ann, cid):
                for said in line.heard():
                    if said["type"] == "game_state":
                        data = said["data"]
                        shown = views.setdefault(data["version"], [])
                        shown.append(data["view"]["away"])
        self.assertTrue(bob.is_closed)
        self.assertIn([[1], [1]], views.values())
        for shown in views.values():
            self.assertEqual(shown[0], shown[-1])


class Tenths(Pair):
    """From its first word on it counts tenths of seconds."""

    name = "tenths"

    def deadline(self, s: Heard) -> float | None:
        return s.said / 10 if s.said else None


class Crawl(Tenths):
    """It counts tenths of milliseconds instead."""

    name = "crawl"

    def deadline(self, s: Heard) -> float | None:
        return s.said / 10_000 if s.said else None


class DeadlineTests(SynchronousTestCase):
    """Games that are called often, beside others."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.lines = []
        for room_id, game in (("r1", Tenths()), ("r2", Tenths()), ("r3", Crawl())):
            self.world.games[game.name] = game
            for name in "ab":
                line, _ = self.world.joined(name + room_id, room_id, game.name)
                self.lines.append(line)
        for line in self.lines:
            line.heard()

    def shown(self, line: Any) -> list[int]:
        said = [m["data"] for m in line.heard() if m["type"] == "game_state"]
        return [data["view"]["said"] for data in said]

    def test_others_have_their_turn(self) -> None:
        """
        After a long stall a room that has much to make up for does not do it in one go:
        another room's players are sent theirs in between, and both catch up.
        """
        told: list[tuple[str, int]] = []
        for room, line in (("r1", self.lines[0]), ("r2", self.lines[2])):
            line.do(1, word="go")

            def note(text: Any, room: str = room, send: Any = line.send) -> None:
                send(text)
                told.append((room, len(told)))

            line.send = note
        self.world.turn()
        told.clear()
        self.world.clock.advance(30.0)
        order = "".join(room[1] for room, _ in told)
        self.assertIn("121", order)
        self.assertIn("212", order)
        for line in (self.lines[0], self.lines[2]):
            self.assertEqual(self.shown(line)[-1], 301)

    def test_crawling(self) -> None:
        """
        A game that is called ten thousand times per second has its room closed, with a
        report, however punctually that happens; the other rooms go on.
        """
        self.lines[0].do(1, word="go")
        self.lines[4].do(1, word="go")
        self.world.turn()
        for _ in range(2000):
            self.world.clock.advance(0.00012)
        (closed,) = [m for m in self.lines[4].heard() if m["type"] == "room_closed"]
        self.assertEqual(closed["data"]["reason"], "crashed")
        reports = [r.report for r in self.world.recordings.matches.values() if r.report]
        self.assertIn("more than 1000 deadlines within a second", reports[0] or "")
        self.world.clock.advance(1.0)
        self.assertEqual(self.shown(self.lines[0])[-1], 13)


class Anew(Pair):
    """A view that changes completely."""

    name = "anew"

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        return {f"page {s.said}": [s.last] * 40}


class Hands(Pair):
    """
    A long view for each seat, which changes little, and is mostly like the other's.
    """

    name = "hands"

    def audience(self, s: Heard, seat: int | None) -> Hashable:
        return seat

    def view(self, s: Heard, audience: Hashable) -> dict[str, Any]:
        assert isinstance(audience, int)
        # What bob has now is what ann had before.
        return {
            "board": {str(n): {"x": n, "y": [n, None]} for n in range(30)},
            "hand": [f"{audience}-{n}" for n in range(5)],
            "turn": s.said - audience,
        }


class PatchTests(SynchronousTestCase):
    """Differences instead of whole views."""

    def test_patches(self) -> None:
        """
        A player who names the state it has is sent the difference if that is shorter.
        """
        world = RoomsWorld()
        ann, _ = world.joined("ann", "r1", "wide")
        bob, _ = world.joined("bob", "r1", "wide")
        held: dict[int, Any] = {1: ann.heard()[-1]["data"]["view"]}
        bob.heard()
        ann.ask("ack", seen=1)
        patched = 0
        for id in range(1, 30):
            ann.act(id, seen=id, word=f"word {id}")
            world.turn()
            state = only(ann.heard())["data"]
            whole = only(bob.heard())["data"]
            if "patch" in state:
                patched += 1
                self.assertNotIn("view", state)
                held[state["version"]] = world.merge(
                    held[state["base"]], state["patch"]
                )
            else:
                held[state["version"]] = state["view"]
            self.assertEqual(held[state["version"]], whole["view"])
            self.assertNotIn("patch", whole)
        self.assertGreater(patched, 20)

    def joined(self, game: Pair | None = None) -> tuple[RoomsWorld, list[Any]]:
        """Have ann and bob play, with wide views by default."""
        world = RoomsWorld()
        if game is not None:
            world.games[game.name] = game
        name = "wide" if game is None else game.name
        return world, [world.joined(who, "r1", name)[0] for who in ("ann", "bob")]

    def test_base_is_what_was_acknowledged(self) -> None:
        """
        The difference is to the last version that this client reported, however
        long ago that was, and for each client to its own.
        """
        world, (ann, bob) = self.joined()
        held = {1: ann.heard()[-1]["data"]["view"]}
        bob.heard()
        ann.ask("ack", seen=1)
        bases: list[tuple[int, int]] = []
        for id in range(1, 6):
            if id == 3:
                bob.ask("ack", seen=2)
            if id == 5:
                ann.ask("ack", seen=4)
            ann.do(id, word=f"word {id}")
            world.turn()
            states = [only(line.heard())["data"] for line in (ann, bob)]
            for state in states:
                if "patch" in state:
                    shown = world.merge(held[state["base"]], state["patch"])
                else:
                    shown = state["view"]
                self.assertEqual(shown["last"], f"word {id}")
                self.assertEqual(held.setdefault(id + 1, shown), shown)
            bases.append((states[0].get("base", 0), states[1].get("base", 0)))
        self.assertEqual(bases, [(1, 0), (1, 0), (1, 2), (1, 2), (4, 2)])

    def test_longer_than_the_view(self) -> None:
        """
        Where everything changed the view is sent: the difference would be longer.
        """
        world, (ann, _) = self.joined(Anew())
        ann.heard()
        ann.ask("ack", seen=1)
        for id in range(1, 6):
            ann.do(id, seen=id, word=f"word {id}")
            world.turn()
            state = only(ann.heard())["data"]
            self.assertNotIn("patch", state)
            self.assertEqual(state["view"], {f"page {id}": [f"word {id}"] * 40})

    def test_each_has_its_own(self) -> None:
        """
        Where each sees something else, a difference is to what that seat saw, also
        where both acknowledged the same version; no secret is in it.
        """
        world, lines = self.joined(Hands())
        held = [line.heard()[-1]["data"]["view"] for line in lines]
        for line in lines:
            line.ask("ack", seen=1)
        game, patched = Hands(), 0
        for id in range(1, 12):
            for line in lines:
                line.ask("ack", seen=id)
            lines[0].do(id, word="next")
            world.turn()
            for seat, line in enumerate(lines):
                state = only(line.heard())["data"]
                if "patch" in state:
                    patched += 1
                    self.assertEqual(state["patch"], {"turn": id - seat})
                    held[seat] = world.merge(held[seat], state["patch"])
                else:
                    held[seat] = state["view"]
                self.assertEqual(held[seat], game.view(Heard(2, id), seat))
        self.assertGreater(patched, 18)


class StartTests(SynchronousTestCase):
    """Tables that take long to lay."""

    def test_large_tables_take_turns(self) -> None:
        """
        Rooms that become full at once do not all start in one turn: whatever else
        waits is served between them, and each of them starts.
        """
        now = 0.0
        order: list[str] = []

        class Slow(Pair):
            name = "slow"

            def start(self, table: Any) -> Heard:
                nonlocal now
                now += 0.015
                order.append("start")
                return super().start(table)

        world = LobbyWorld(games={"slow": Slow()}, seconds=lambda: now)
        players = []
        for number in range(10):
            for name in ("ann", "bob"):
                line, _ = world.hello(name)
                players.append(line)
                line.ask("join_room", game="slow", room_id=f"r{number}")

        def serve_others() -> None:
            order.append("other")
            if len(order) < 60:
                world.clock.callLater(0, serve_others)

        serve_others()
        world.clock.advance(0)
        self.assertEqual(order.count("start"), 10)
        self.assertNotIn("start start start", " ".join(order))
        for line in players:
            self.assertIn("room_started", kinds(line.heard()))
