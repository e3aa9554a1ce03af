"""Rooms of the node from Python, against the real lobby in memory."""

from __future__ import annotations

from typing import Any

from msgspec import json
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from tests.support.live_rooms import Heard, Pair, RoomsWorld, Word
from tests.support.lobby_lines import LobbyEndpoint
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.messages.rooms import AddBot, JoinRoom, ListRooms, RoomList, RoundOver
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import LobbyClient, SharedLine
from vinom.client.parties import PlayerParties
from vinom.client.rooms import LiveRoom, PlayerRooms
from vinom.game import Event, Step


class Finale(Pair):
    """The last word is an event, and ends the round."""

    name = "finale"

    def act(self, s: Heard, seat: int, action: Word, now: float) -> Heard | Step[Heard]:
        said = super().act(s, seat, action, now)
        if action.word != "end":
            return said
        assert isinstance(said, Heard)
        return Step(said, (Event("ended", {"seat": seat}),))


class RoomsCase(SynchronousTestCase):
    """Those who play, and the node."""

    def setUp(self) -> None:
        self.world = RoomsWorld()
        self.endpoint = LobbyEndpoint(self.world)

    def line(self, name: str) -> SharedLine:
        hello = Hello(PROTOCOL, name)
        lobby = LobbyClient(self.world.clock, self.endpoint, hello, timeout=5.0)
        return SharedLine(self.world.clock, lobby, lambda: 0.5)

    def player(self, name: str) -> PlayerRooms:
        return PlayerRooms(self.line(name), timeout=60.0)

    def pass_time(self, seconds: float = 0.0) -> None:
        self.world.clock.pump([0.0] * 12 + [0.05] * round(seconds / 0.05))

    def await_(self, waiting: Deferred[Any], seconds: float = 0.0) -> Any:
        self.pass_time(seconds)
        return self.successResultOf(waiting)

    def pair(self, game: str = "pair", **more: Any) -> tuple[LiveRoom, LiveRoom]:
        """Have ann and bob in room r1."""
        self.ann, self.bob = self.player("ann"), self.player("bob")
        ann = self.await_(self.ann.join(JoinRoom(game, "r1"), **more))
        bob = self.await_(self.bob.join(JoinRoom(game, "r1"), **more))
        self.pass_time()
        return ann, bob

    def cut(self) -> None:
        """Cut every line."""
        for line in self.endpoint.lines:
            line.end()
        self.pass_time()


class PlayerRoomsTests(RoomsCase):
    """Two who play, and lose their lines."""

    def test_beside_a_party(self) -> None:
        """
        Who plays in a room can form a party: both are on one line, and come back.
        """
        line = self.line("ann")
        rooms, parties = PlayerRooms(line), PlayerParties(line, fail)
        room = self.await_(rooms.join(JoinRoom("pair", "r1")))
        party = self.await_(parties.create())
        self.assertEqual((room.is_connected, len(self.endpoint.lines)), (True, 2))
        self.cut()
        self.pass_time(1.0)
        self.assertTrue(room.is_connected)
        self.assertFalse(room.is_over or party.is_over)
        self.assertEqual(len([one for one in self.endpoint.lines if one.is_closed]), 2)

    def test_play(self) -> None:
        """
        Both see what each does, events once, and refusals with the game's reason.
        """
        ann, bob = self.pair()
        events: list[Any] = []
        bob.on_event(lambda kind, data: events.append((kind, data)))
        refused: list[str] = []
        ann.on_refusal(lambda no: refused.append(no.reason))
        self.assertEqual((ann.seat, bob.seat, ann.state), (0, 1, "playing"))
        number = ann.act({"word": "event"})
        self.pass_time()
        self.assertEqual((ann.acked, ann.view["last"]), (number, "event"))
        self.assertEqual((bob.view, bob.version), (ann.view, ann.version))
        self.assertEqual(events, [("said", {"seat": 0})])
        ann.act({"word": "no"})
        self.pass_time()
        self.assertEqual(refused, ["no"])

    def test_lost_line(self) -> None:
        """
        A lost line is made again with the seat; what was sent meanwhile is applied
        once, and nobody notices more than "away".
        """
        ann, bob = self.pair()
        self.endpoint.is_up = False
        before = self.endpoint.lines[:]
        ann.act({"word": "one"})
        for line in before:
            line.end()
        self.pass_time(0.3)
        self.assertEqual((ann.is_connected, bob.is_connected), (False, False))
        ann.act({"word": "two"})
        self.endpoint.is_up = True
        self.pass_time(5.0)
        self.assertTrue(ann.is_connected and bob.is_connected)
        ann.act({"word": "three"})
        self.pass_time()
        self.assertEqual((bob.view["said"], bob.view["last"]), (3, "three"))
        self.assertEqual({who.state for who in ann.players.values()}, {"here"})

    def test_closed_while_it_connects(self) -> None:
        """
        A client that is closed before the lobby has answered leaves no line behind.
        """
        ann = self.player("ann")
        joining = ann.join(JoinRoom("pair", "r1"))
        ann.close()
        self.pass_time(1.0)
        self.failureResultOf(joining, LineLost)
        self.assertTrue(self.endpoint.lines[-1].is_closed)

    def test_host(self) -> None:
        """
        The connected member with the longest stay is host, and every client has the
        same host.
        """
        ann, bob = self.pair("few")
        self.assertEqual((ann.host, bob.host), (0, 0))
        self.endpoint.is_up = False
        lines = self.endpoint.lines
        next(line for line in lines if line.client is self.ann._shared.line).end()
        self.pass_time(0.1)
        self.assertEqual((ann.is_connected, bob.host), (False, 1))
        # What it misses names former hosts.
        self.await_(self.bob.ask(AddBot("r1")))
        self.endpoint.is_up = True
        self.pass_time(5.0)
        self.assertEqual((ann.host, bob.host), (0, 0))
        self.assertEqual(ann.players[2].state, "bot")

    def test_party_hangs_up(self) -> None:
        """
        One who hangs up for the party stays connected to a room.
        """
        line = self.line("ann")
        rooms, parties = PlayerRooms(line), PlayerParties(line, lambda found: None)
        room = self.await_(rooms.join(JoinRoom("pair", "r1")))
        self.await_(parties.create())
        parties.close()
        self.pass_time(120)
        self.assertTrue(room.is_connected)
        rooms.close()
        self.pass_time(1)
        self.assertIsNone(line.line)

    def test_too_many_at_once(self) -> None:
        """
        A player of several rooms whose line breaks asks for them too fast for the
        server's limit; it waits as long as it is told, and is back in all of them.
        """
        self.world = RoomsWorld(rate=1.0, burst=2.0)
        self.endpoint = LobbyEndpoint(self.world)
        ann, rooms = self.player("ann"), []
        for number in range(4):
            joining = ann.join(JoinRoom("few", f"r{number}"))
            rooms.append(self.await_(joining, 1.0))
        self.cut()
        self.pass_time(10.0)
        self.assertEqual([True] * 4, [room.is_connected for room in rooms])

    def test_lost_answer(self) -> None:
        """
        Where the answer with the new resume token was lost, the player key does it.
        """
        ann, bob = self.pair()
        ann.place.news.resume = "used up"
        self.cut()
        self.pass_time(2.0)
        self.assertEqual((ann.is_connected, ann.seat), (True, 0))
        bob.act({"word": "hi"})
        self.pass_time()
        self.assertEqual(ann.view["last"], "hi")

    def test_patches(self) -> None:
        """
        With patches the view is the same as without.
        """
        ann, bob = self.pair("wide", patches=True)
        texts: list[bytes] = []
        for number in range(12):
            ann.act({"word": f"w{number}"})
            self.pass_time()
            texts.append(json.encode(ann.view))
            self.assertEqual(ann.view["last"], f"w{number}")
        self.assertEqual(ann.view, bob.view)

    def test_the_end(self) -> None:
        """
        A member who leaves, or whose room closes, learns the reason, once.
        """
        ann, bob = self.pair()
        ann.leave()
        self.assertEqual(self.successResultOf(ann.closed).reason, "left")
        self.pass_time()
        self.assertEqual(sorted(bob.players), [1])
        self.world.rooms.directory.get("r1").close("ended")
        self.pass_time()
        self.assertEqual(self.successResultOf(bob.closed).reason, "ended")
        self.assertEqual(bob.act({"word": "late"}), 0)

    def test_closed_while_away(self) -> None:
        """
        A room that closed while one was away is over, with its reason.
        """
        ann, _ = self.pair()
        self.endpoint.is_up = False
        self.cut()
        self.world.rooms.directory.get("r1").close("ended")
        self.endpoint.is_up = True
        self.pass_time(2.0)
        self.assertEqual(self.successResultOf(ann.closed).reason, "ended")

    def test_hangs_up_while_away(self) -> None:
        """
        A player who hangs up while the lobby is away leaves no timer behind.
        """
        self.pair()
        self.endpoint.is_up = False
        self.cut()
        waiting = len(self.world.clock.getDelayedCalls())
        self.ann.close()
        self.assertEqual(len(self.world.clock.getDelayedCalls()), waiting - 1)

    def test_never_back(self) -> None:
        """
        A client that cannot reach the lobby any more learns that its place is lost.
        """
        ann, _ = self.pair()
        self.endpoint.is_up = False
        self.cut()
        self.pass_time(70.0)
        self.assertEqual(self.successResultOf(ann.closed).reason, "lost")
        self.ann.close()
        self.bob.close()

    def test_other_requests(self) -> None:
        """
        Lists and what hosts may do are asked for as the protocol has them.
        """
        ann = self.player("ann")
        room = self.await_(ann.join(JoinRoom("few", "r1", public=True)))
        self.await_(ann.ask(AddBot(room.room_id)))
        self.assertEqual(room.players[1].state, "bot")
        listed = self.await_(ann.ask(ListRooms()))
        assert isinstance(listed, RoomList)
        self.assertEqual([one.room_id for one in listed.rooms], ["r1"])
        refused = ann.join(JoinRoom("nothing"))
        self.pass_time()
        self.failureResultOf(refused, LobbyRefusal)

    def test_next_round(self) -> None:
        """
        A room whose game begins another round by itself is played again.
        """
        ann_room, bob_room = self.pair("rounds")
        for word, state in (("end", "over"), ("again", "playing"), ("end", "over")):
            ann_room.act({"word": word})
            self.pass_time()
            self.assertEqual((ann_room.state, bob_room.state), (state, state))


class NewsTests(RoomsCase):
    """Events and announcements come once each, whichever overtakes the other."""

    def setUp(self) -> None:
        super().setUp()
        self.world.games["finale"] = Finale()
        self.ann_room, self.bob_room = self.pair("finale")
        self.told: list[str] = []
        self.bob_room.on_event(lambda kind, data: self.told.append(kind))
        self.bob_room.on_news(self.note)

    def note(self, push: Any) -> None:
        if isinstance(push, RoundOver):
            self.told.append("round over")

    def act(self, *words: str) -> None:
        for word in words:
            self.ann_room.act({"word": word})
        self.pass_time()

    def come_back(self) -> None:
        """Have bob's line come back."""
        self.endpoint.is_up = True
        self.pass_time(3.0)
        self.assertTrue(self.bob_room.is_connected)

    def lose_bob(self) -> None:
        """Cut bob's line only."""
        self.endpoint.is_up = False
        self.endpoint.lines[-1].end()
        self.pass_time()
        self.assertFalse(self.bob_room.is_connected)

    def test_missed_both(self) -> None:
        """
        A member who was away for the last move receives it when it is back, once and in
        order.
        """
        self.act("event")
        self.lose_bob()
        self.act("whisper", "end")
        self.come_back()
        self.assertEqual(self.told, ["said", "round over", "psst", "ended"])
        self.act("event")
        self.assertEqual(self.told[4:], ["said"])

    def test_only_the_announcement_came(self) -> None:
        """
        A line that breaks between an announcement and the state with an event before
        it takes neither away, and repeats neither.
        """
        self.act("event")
        client = self.endpoint.lines[-1].client
        receive = client.dataReceived

        def without_state(data: bytes) -> None:
            lines = data.splitlines(keepends=True)
            kept = [line for line in lines if b'"game_state"' not in line]
            receive(b"".join(kept))

        client.dataReceived = without_state
        self.act("end")
        self.assertEqual(self.told, ["said", "round over"])
        self.lose_bob()
        self.come_back()
        self.assertEqual(self.told, ["said", "round over", "ended"])

    def test_again_and_again(self) -> None:
        """
        Nothing is delivered twice, however often a line breaks.
        """
        self.act("event", "end")
        for _ in range(3):
            self.lose_bob()
            self.come_back()
        self.assertEqual(self.told, ["round over", "said", "ended"])
