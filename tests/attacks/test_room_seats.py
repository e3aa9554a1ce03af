"""Every way to take somebody's place in a room; the rightful player still gets in."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import PlayerLine, RoomsWorld, only
from vinom.rooms.round import RoomBounds


class SeatTheftTests(SynchronousTestCase):
    """Ann and Bob play; Eve tries to get Bob's seat."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.ann, _ = self.world.joined("ann", "r1", "pair")
        self.bob, self.joined = self.world.joined("bob", "r1", "pair")
        self.eve, _ = self.world.hello("eve")
        for line in (self.ann, self.bob):
            line.heard()

    def steal(self, resume: str) -> str:
        return str(only(self.eve.ask("reconnect", resume=resume))["error"]["code"])

    def rightful(self, resume: str) -> PlayerLine:
        line, _ = self.world.hello("bob")
        said = line.ask("reconnect", resume=resume)
        self.assertEqual(said[0]["type"], "reconnect_result", said)
        self.assertEqual(said[0]["data"]["seat"], 1)
        self.last = str(said[0]["data"]["resume"])
        return line

    def test_ids_that_others_see(self) -> None:
        """
        Nothing that others are sent about a player proves an identity.
        """
        self.bob.hang_up()
        bob = self.joined["players"][1]
        for known in (bob["player_id"], bob["name"], "r1", "r1:1", "1"):
            self.assertEqual(self.steal(known), "bad_resume")
        self.rightful(self.joined["resume"])

    def test_name_and_room(self) -> None:
        """
        Saying the same name and joining the same room gives nobody's seat.
        """
        self.bob.hang_up()
        thief, _ = self.world.hello("bob")
        said = only(thief.ask("join_room", game="pair", room_id="r1"))
        self.assertEqual(said["error"]["code"], "room_started")
        self.rightful(self.joined["resume"])

    def test_old_token(self) -> None:
        """
        A token that was used is worth nothing, whether its seat is taken or lost.
        """
        self.bob.hang_up()
        line = self.rightful(self.joined["resume"])
        self.assertEqual(self.steal(self.joined["resume"]), "bad_resume")
        line.hang_up()
        self.assertEqual(self.steal(self.joined["resume"]), "bad_resume")
        self.rightful(self.last)

    def test_token_of_another_room(self) -> None:
        """
        A token gives its own place and no other, even if a request names another room.
        """
        _, elsewhere = self.world.joined("dan", "r2", "few")
        said = only(self.eve.ask("reconnect", resume=elsewhere["resume"], room_id="r1"))
        self.assertEqual(said["error"]["code"], "bad_field")
        said = self.eve.ask("reconnect", resume=elsewhere["resume"])
        self.assertEqual(said[0]["data"]["room_id"], "r2")
        self.rightful(self.joined["resume"])

    def test_guesses(self) -> None:
        """
        Guessing is refused, and soon refused for its rate; the rightful player is not,
        though it is at the same address.
        """
        self.bob.hang_up()
        codes = [self.steal(f"{guess:032d}") for guess in range(30)]
        self.assertEqual(set(codes[:20]), {"bad_resume"})
        self.assertEqual(set(codes[21:]), {"rate_limited"})
        line, _ = self.world.hello("bob")
        said = line.ask("reconnect", resume=self.joined["resume"])
        self.assertEqual(said[0]["type"], "reconnect_result")

    def test_near_misses(self) -> None:
        """
        Almost the token is not the token.
        """
        resume = self.joined["resume"]
        other = "A" if resume[-1] != "A" else "B"
        for wrong in (resume[:-1], resume[:-1] + other, resume + "=", resume.lower()):
            self.assertEqual(self.steal(wrong), "bad_resume")
        self.rightful(resume)

    def test_two_at_once(self) -> None:
        """
        Of two who show the same token at once, exactly one has the seat.
        """
        self.bob.hang_up()
        lines = [self.world.hello(f"both{n}")[0] for n in range(2)]
        said = [line.ask("reconnect", resume=self.joined["resume"]) for line in lines]
        self.world.turn()
        self.assertEqual(said[0][0]["type"], "reconnect_result")
        self.assertEqual(only(said[1])["error"]["code"], "bad_resume")
        lines[0].heard()
        self.assertEqual(
            only(lines[1].act(1, word="x"))["error"]["code"], "not_in_room"
        )
        lines[0].do(1, word="mine")
        self.world.turn()
        self.assertEqual(lines[0].heard()[-1]["data"]["ack"], {"1": 1})

    def test_tokens_are_not_kept(self) -> None:
        """
        A reader of our memory finds no token, only its hash.
        """
        kept = repr(vars(self.world.rooms))
        self.assertNotIn(self.joined["resume"], kept)

    def test_nobody_is_informed(self) -> None:
        """
        No token is in messages to others, nor in lists.
        """
        self.bob.hang_up()
        line = self.rightful(self.joined["resume"])
        self.world.turn()
        heard = repr(self.ann.heard()) + repr(self.eve.ask("list_rooms"))
        heard += repr(self.world.rooms.directory.listed())
        for secret in (self.joined["resume"], self.last):
            self.assertNotIn(secret, heard)
        line.hang_up()


class RoomsMachine(RuleBasedStateMachine):
    """Players who come, go, are cut off, come back and are kicked, in any order."""

    places = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.world = RoomsWorld(per_client=3)
        self.names = 0
        self.held: list[Place] = []
        self.waited = 0.0

    @rule(
        target=places,
        room=some.sampled_from(["r1", "r2", "r3"]),
        game=some.sampled_from(["pair", "few", "open", "beat"]),
        spectate=some.booleans(),
    )
    def join(self, room: str, game: str, spectate: bool) -> Any:
        """A new player tries to join."""
        self.names += 1
        line, welcome = self.world.hello(f"p{self.names}")
        said = line.ask(
            "join_room", game=game, room_id=f"{game}-{room}", spectate=spectate
        )
        if said[-1]["type"] != "join_room_result":
            line.hang_up()
            return multiple()
        place = Place(line, said[-1]["data"], welcome["player_key"])
        self.held.append(place)
        return place

    @rule(place=places)
    def act(self, place: Place) -> None:
        """Somebody plays, or tries to."""
        if not place.line.is_closed and not place.is_out:
            place.number += 1
            place.line.do(place.number, word="event")
            self.world.turn()

    @rule(place=places, word=some.sampled_from(["end", "boom", "unencodable"]))
    def stir(self, place: Place, word: str) -> None:
        """Somebody ends the round, or the game fails."""
        if not place.line.is_closed and not place.is_out:
            place.number += 1
            place.line.do(place.number, word=word)
            self.world.turn()

    @rule(place=places)
    def drop(self, place: Place) -> None:
        """A connection is lost."""
        if not place.line.is_closed:
            self.take(place)
            place.line.hang_up()
            self.world.turn()

    @rule(place=places)
    def come_back(self, place: Place) -> None:
        """Somebody shows its secret, whether it was cut off or not."""
        self.take(place)
        if place.is_out:
            return
        line, _ = self.world.hello("back")
        said = line.ask("reconnect", resume=place.resume)
        if not said[0]["success"] and place.line.is_closed:
            # Everybody was away, for longer than a room waits that has not begun.
            assert self.waited >= RoomBounds().close_seconds, said
            error = said[0]["error"]
            assert error["code"] == "no_such_room", said
            assert error["details"]["reason"] == "abandoned", said
            place.is_out = True
            return
        assert said[0]["type"] == "reconnect_result", said
        result = said[0]["data"]
        if place.seat is None or result["state"] != "gathering":
            assert result["seat"] == place.seat or place.may_move, (result, place.seat)
        old, place.line = place.line, line
        place.seat, place.resume = result["seat"], result["resume"]
        if not old.is_closed:
            old.hang_up()
        self.world.turn()

    @rule(place=places)
    def join_again(self, place: Place) -> None:
        """A player returns by the player key, and by the resume token."""
        self.take(place)
        if place.is_out or place.is_foreign:
            return
        if not place.line.is_closed:
            place.line.hang_up()
        line, _ = self.world.back(place.key)
        said = line.ask("join_room", game=place.game, room_id=place.room_id)
        assert said[0]["type"] == "join_room_result", said
        place.line, place.resume = line, said[0]["data"]["resume"]
        place.seat = said[0]["data"]["seat"]
        self.world.turn()

    @rule(place=consumes(places))
    def leave(self, place: Place) -> None:
        """Somebody goes for good."""
        if not place.line.is_closed:
            self.take(place)
            place.line.say("leave_room", room_id=place.room_id)
            place.is_out = True
            self.world.turn()

    @rule(place=places, seat=some.integers(0, 3))
    def kick(self, place: Place, seat: int) -> None:
        """Somebody removes somebody, if it may."""
        if not place.line.is_closed and not place.is_out:
            place.line.say("kick", seat=seat)
            self.world.turn()

    @rule(place=places, what=some.sampled_from(["add_bot", "start_room", "rematch"]))
    def host(self, place: Place, what: str) -> None:
        """Somebody uses a host's rights, if it has them."""
        if not place.line.is_closed and not place.is_out:
            place.line.say(what)
            self.world.turn()

    @rule(seconds=some.sampled_from([0.1, 3.0, 6.0, 31.0, 200.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, though never so much that a place is given up."""
        self.waited += seconds
        if self.waited < 800.0:
            self.world.clock.advance(seconds)

    def take(self, place: Place) -> None:
        for message in place.line.heard():
            data = message.get("data") or {}
            if message["type"] == "game_state":
                key = place.room_id, data["room_id"]
                assert data["room_id"] == place.room_id
                before = place.version
                assert data["version"] >= before, (key, before, data["version"])
                place.version = data["version"]
            elif message["type"] in ("kicked", "room_closed"):
                place.is_out = True
            elif message["type"] == "room_started":
                place.seat = data["seat"]

    @invariant()
    def every_place_is_kept(self) -> None:
        """Nobody who did not leave, and was not removed, has lost its place."""
        for place in self.held:
            self.take(place)
        known = {
            (room["room_id"], seat["seat"])
            for room in self.world.rooms.directory.listed()
            for seat in room["players"]
        }
        seated = [
            (place.room_id, place.seat)
            for place in self.held
            if place.seat is not None and not place.is_out and not place.line.is_closed
        ]
        assert len(set(seated)) == len(seated), "two in one seat"
        assert set(seated) <= known, (seated, known)

    def teardown(self) -> None:
        """When everybody has gone nothing is left over."""
        for place in self.held:
            if not place.line.is_closed:
                place.line.hang_up()
        self.world.clock.advance(901.0)
        self.world.clock.advance(3700.0)
        self.world.clock.advance(100.0)
        assert self.world.rooms.directory.status() == {
            "rooms": 0,
            "places": 0,
            "away": 0,
        }
        assert not self.world.rooms._secrets._players
        assert not self.world.rooms._secrets._resumes
        assert not self.world.rooms.directory.figures()["by_game"]


class Place:
    """A player's secrets of its place."""

    def __init__(self, line: PlayerLine, joined: dict[str, Any], key: str) -> None:
        self.line, self.key = line, key
        self.room_id, self.game = joined["room_id"], joined["game"]
        self.seat, self.resume = joined["seat"], joined["resume"]
        self.version = self.number = 0
        self.is_out = self.is_foreign = False
        # While a room gathers, and at its start, seats may move.
        self.may_move = True

    def __repr__(self) -> str:
        return f"{self.room_id}:{self.seat}"


class AnyOrderTests(SynchronousTestCase):
    """Any requests in any order."""

    def test_any_order(self) -> None:
        """
        No place is lost, no version goes back, and nothing is left over.
        """
        run_state_machine_as_test(
            RoomsMachine,
            settings=settings(
                max_examples=40,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
