"""Rooms of isolated games: everything that holds for others holds for them."""

from __future__ import annotations

from typing import Any

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from tests.rooms import test_resume as test_rooms_sessions
from tests.rooms import test_rooms
from tests.support.apart_rooms import ApartWorld
from tests.support.live_rooms import Pair
from vinom.base.model import MatchEnd, MatchPlan, SeatPlan
from vinom.fleet.control.messages import (
    RelayAction,
    RelayAgain,
    RelayEvent,
    RelayRefusal,
    RelaySeat,
    RelayState,
)
from vinom.fleet.relay.room import RelayedRoom
from vinom.play.room import Closed, Emitted, RoundOver


class Apart:
    """Has tests played in rooms whose games are elsewhere."""

    patch: Any

    def setUp(self) -> None:
        for module in (test_rooms, test_rooms_sessions):
            self.patch(module, "RoomsWorld", ApartWorld)
        super().setUp()


class ApartJoinTests(Apart, test_rooms.JoinTests):
    """Coming in."""


class ApartActTests(Apart, test_rooms.ActTests):
    """Playing."""

    def refused(self, id: int, **action: Any) -> Any:
        """Act and be refused; returns the refusal."""
        self.ann.do(id, **action)
        self.world.turn()
        return test_rooms.only(self.ann.heard())

    def test_the_game_refuses(self) -> None:
        """
        A refused action says why, under its id, a moment later; the id may be
        used again.
        """
        said = self.refused(1, word="no")
        self.assertEqual((said["id"], said["error"]["code"]), (1, "rejected"))
        details = {"reason": "no", "room_id": "r1"}
        self.assertEqual(said["error"]["details"], details)
        self.ann.act(1, word="yes")
        self.world.turn()
        self.assertEqual(test_rooms.only(self.ann.heard())["data"]["ack"], {"0": 1})

    def test_no_action(self) -> None:
        """
        An action that the game does not have names the field at fault, a moment later.
        """
        said = self.refused(1, word=5)
        self.assertEqual((said["id"], said["error"]["code"]), (1, "bad_action"))
        self.assertEqual(said["error"]["details"]["field"], "word")

    def test_unknown_refusal(self) -> None:
        """
        A refusal with a reason that this node does not know is sent too, as an error of
        ours; the id may be used again.
        """
        near = self.world.near
        heard = near._told

        def newer(message: Any) -> None:
            if isinstance(message, RelayRefusal):
                message = structs.replace(message, code="of_tomorrow")
            heard(message)

        near._told = newer
        said = self.refused(1, word="no")
        self.assertEqual((said["id"], said["error"]["code"]), (1, "internal"))
        details = {"code": "of_tomorrow", "reason": "no", "room_id": "r1"}
        self.assertEqual(said["error"]["details"], details)
        near._told = heard
        self.ann.act(1, word="yes")
        self.world.turn()
        self.assertEqual(test_rooms.only(self.ann.heard())["data"]["ack"], {"0": 1})

    def test_refused_among_others(self) -> None:
        """
        A refusal between two actions that are good takes neither's place.
        """
        for id, word in ((1, "one"), (2, "no"), (3, "three")):
            self.ann.do(id, word=word)
        self.world.turn()
        said = self.ann.heard()
        self.assertEqual([m["id"] for m in said if m["type"] == "error"], [2])
        self.assertEqual(said[-1]["data"]["ack"], {"0": 3})
        self.assertEqual(said[-1]["data"]["view"]["said"], 2)
        self.ann.do(3, word="again")
        self.world.turn()
        self.assertEqual(self.ann.heard()[-1]["data"]["view"]["said"], 2)


class ApartRoundTests(Apart, test_rooms.RoundTests):
    """Rounds."""


class ApartSlowReaderTests(Apart, test_rooms.SlowReaderTests):
    """Reading slowly."""


class ApartPatchTests(Apart, test_rooms.PatchTests):
    """Asking for differences."""


class ApartReconnectTests(Apart, test_rooms_sessions.ReconnectTests):
    """Coming back."""

    def test_missed_messages(self) -> None:
        """
        What was sent meanwhile comes first, in order; then a state with the events,
        and one in which the game knows who is back.
        """
        self.bob.hang_up()
        self.world.turn()
        self.ann.do(1, word="event")
        self.ann.do(2, word="end")
        self.world.turn()
        line, said = self.reconnect(self.bob_joined["resume"])
        self.world.turn()
        said += line.heard()
        states = ["game_state", "game_state"]
        self.assertEqual(
            test_rooms.kinds(said), ["reconnect_result", "round_over", *states]
        )
        events = [len(state["data"]["events"]) for state in said[-2:]]
        self.assertEqual(events, [1, 0])


class ApartLeaveTests(Apart, test_rooms_sessions.LeaveTests):
    """Going."""


class ApartHostTests(Apart, test_rooms_sessions.HostTests):
    """What hosts do."""


class ApartBrokenGameTests(Apart, test_rooms_sessions.BrokenGameTests):
    """Failing games."""


class EarlyTests(SynchronousTestCase):
    """What arrives in one read of the link, and what in the next."""

    def setUp(self) -> None:
        plan = MatchPlan("m1", "pair", (SeatPlan("a", "ann"), SeatPlan("b", "bob")), 1)
        self.room = RelayedRoom(
            plan,
            Pair(),
            None,
            is_placed=False,
            end=lambda reason: None,
            changed=lambda: None,
            refused=lambda seat, id, refusal: None,
        )

    def see(self, version: int, phase: str = "playing") -> list[type]:
        self.room.relayed(RelayState("m1", version, phase, 0.0, {}))
        return [type(effect) for effect in self.room.take_effects()]

    def test_events(self) -> None:
        """
        An event is sent with the state that it led to, not with the one before.
        """
        self.see(1)
        self.room.relayed(RelayEvent("m1", 3, "said", None, None))
        self.assertFalse(self.room.effects)
        self.assertEqual(self.see(2), [])
        self.assertEqual(self.see(3), [Emitted])

    def test_rounds(self) -> None:
        """
        A player who is sent that a round is over can ask for a rematch at once.
        """
        self.see(1)
        self.room.round_ended("m1", {"round": 1, "places": [[0], [1]], "scores": []})
        self.assertEqual((bool(self.room.effects), self.room.phase), (False, "playing"))
        self.assertEqual((self.see(2, "over"), self.room.phase), ([RoundOver], "over"))

    def test_the_end(self) -> None:
        """
        Nothing is kept back when the room ends before another state.
        """
        self.see(1)
        self.room.relayed(RelayEvent("m1", 2, "said", None, None))
        self.room.ended(MatchEnd("m1", "lost"))
        kinds = [type(effect) for effect in self.room.take_effects()]
        self.assertEqual(kinds, [Emitted, Closed])


class Fleet:
    """Remembers what was passed on."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def pass_on(self, message: Any) -> None:
        self.sent.append(message)


class ResumedTests(SynchronousTestCase):
    """A match whose game server was replaced, as its members here see it."""

    is_packed = False

    def setUp(self) -> None:
        plan = MatchPlan("m1", "pair", (SeatPlan("a", "ann"), SeatPlan("b", "bob")), 1)
        self.fleet = Fleet()
        self.room = RelayedRoom(
            plan,
            Pair(),
            self.fleet,  # type: ignore[arg-type]  # it does what is asked here
            is_placed=True,
            end=lambda reason: None,
            changed=lambda: None,
            refused=lambda seat, id, refusal: None,
            is_packed=self.is_packed,
        )
        for seat in (0, 1):
            self.room.join(seat, 0.0)
        for id in (11, 12, 13):
            self.room.act(0, id, b"%d" % id, lambda data: data, 0.0)
        self.room.relayed(RelayState("m1", 1, "playing", 0.0, {0: 1}))
        self.room.take_effects()
        self.fleet.sent.clear()

    def resume(self) -> list[Any]:
        self.room.relayed(RelayAgain("m1"))
        sent, self.fleet.sent = self.fleet.sent, []
        return sent

    def test_who_is_here(self) -> None:
        """
        The new game server learns who is here, and gets all actions without an answer
        again, in order.
        """
        self.assertEqual(
            self.resume(),
            [
                RelaySeat("m1", 0, "again", 1, 1),
                RelayAction("m1", 0, 2, b"12"),
                RelayAction("m1", 0, 3, b"13"),
                RelaySeat("m1", 1, "again", 1, 0),
            ],
        )
        self.room.relayed(RelayState("m1", 2, "playing", 0.0, {0: 3}))
        self.assertEqual(self.room.applied, [13, 0])

    def test_who_is_not(self) -> None:
        """
        Who is away is not named.
        """
        self.room.drop(1, 0.0)
        self.fleet.sent.clear()
        self.assertEqual({message.seat for message in self.resume()}, {0})

    def test_events_once(self) -> None:
        """
        Events that both game servers sent are shown once.
        """
        self.room.relayed(RelayEvent("m1", 2, "said", None, None))
        self.resume()
        self.room.relayed(RelayEvent("m1", 1, "said before", None, None))
        self.room.relayed(RelayEvent("m1", 2, "said", None, None))
        self.room.relayed(RelayState("m1", 2, "playing", 0.0, {}))
        told = [e.event.kind for e in self.room.take_effects()]  # type: ignore[union-attr]
        self.assertEqual(told, ["said"])


class ResumedOverUdpTests(ResumedTests):
    """The same for players over UDP, who are connected to the node."""

    is_packed = True

    def test_who_left(self) -> None:
        """
        Who left, or was removed by an operator, is named again: the game server that
        died may not have read it.
        """
        self.room.leave(1, 0.0)
        self.fleet.sent.clear()
        self.assertIn(RelaySeat("m1", 1, "leave"), self.resume())


class ApartLossTests(SynchronousTestCase):
    """What happens to rooms when there is no process to play them."""

    def setUp(self) -> None:
        self.world = ApartWorld()

    def closed(self, *lines: Any) -> list[str]:
        self.world.turn()
        said = [message for line in lines for message in line.heard()]
        return [m["data"]["reason"] for m in said if m["type"] == "room_closed"]

    def test_lost(self) -> None:
        """
        When the game server dies everybody in its rooms is sent that they are lost, and
        a player who is away is sent it when it comes back.
        """
        ann, _ = self.world.joined("ann", "r1", "pair")
        bob, joined = self.world.joined("bob", "r1", "pair")
        bob.hang_up()
        self.world.turn()
        self.world.near.die()
        self.assertEqual(self.closed(ann), ["lost"])
        line, _ = self.world.hello("bob")
        said = test_rooms.only(line.ask("reconnect", resume=joined["resume"]))
        self.assertEqual(said["error"]["details"]["reason"], "lost")
        self.assertEqual(self.world.rooms.directory.status()["rooms"], 0)

    def test_newcomer_of_a_dying_room(self) -> None:
        """
        A player who comes in while the game fails is sent that it is out, like all the
        others.
        """
        ann, _ = self.world.joined("ann", "r1", "open")
        bob, _ = self.world.hello("bob")
        ann.do(1, word="boom")
        said = bob.ask("join_room", game="open", room_id="r1")
        self.assertEqual(said[0]["data"]["players"][0]["name"], "ann")
        self.assertEqual(self.closed(ann), ["crashed"])
        self.assertEqual(bob.heard()[-1]["type"], "kicked")
        again = bob.ask("join_room", game="open", room_id="r1", create=True)
        self.assertEqual(again[0]["type"], "join_room_result")

    def test_no_place(self) -> None:
        """
        A room that no game server takes is closed as lost when it would start.
        """
        self.world.near.is_full = True
        ann, _ = self.world.joined("ann", "r1", "pair")
        bob, _ = self.world.joined("bob", "r1", "pair")
        self.assertEqual(self.closed(ann, bob), ["lost", "lost"])

    def test_too_much_to_do(self) -> None:
        """
        While its game server has too much to do nobody new gets a seat in a room,
        player or bot, but is sent when to try again; a player who was away comes back.
        """
        ann, joined = self.world.joined("ann", "r1", "open")
        bob, _ = self.world.hello("bob")
        self.world.near.has_too_much = True
        said = test_rooms.only(bob.ask("join_room", game="open", room_id="r1"))
        self.assertEqual(said["error"]["code"], "busy")
        self.assertEqual(said["error"]["details"], {"retry_after": 2.0})
        said = ann.ask("add_bot")[-1]
        self.assertEqual(said["error"]["code"], "busy")
        ann.hang_up()
        line, _ = self.world.hello("ann")
        back = line.ask("reconnect", resume=joined["resume"])
        self.assertEqual(back[0]["type"], "reconnect_result")
        self.world.near.has_too_much = False
        said = bob.ask("join_room", game="open", room_id="r1")
        self.assertEqual(said[0]["data"]["seat"], 1)

    def test_ended_here(self) -> None:
        """
        A room that the node closes leaves nothing behind in a game process.
        """
        ann, _ = self.world.joined("ann", "r1", "pair")
        self.world.joined("bob", "r1", "pair")
        self.world.rooms.directory.get("r1").close("ended")
        self.assertEqual(self.closed(ann), ["ended"])
        self.assertEqual(self.world.near.hosted, {})

    def test_too_many_on_their_way(self) -> None:
        """
        A player who acts faster than its room can answer has to wait.
        """
        world = self.world = ApartWorld(actions=1e6)
        ann, _ = world.joined("ann", "r1", "pair")
        world.joined("bob", "r1", "pair")
        ann.heard()
        for id in range(1, 1026):
            ann.do(id, word="x")
        (refused,) = ann.heard()
        self.assertEqual(refused["error"]["code"], "rate_limited")
        self.assertEqual(refused["id"], 1025)
        world.turn()
        self.assertEqual(ann.heard()[-1]["data"]["ack"], {"0": 1024})
