"""One match for players over UDP, over WebSocket, and where UDP is blocked."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import TestCase

from tests.support.child_nodes import start_http_node
from tests.support.match_bots import OPTIONS, play_one
from tests.support.programs import start_foreign
from tests.support.quick import QuickMaze
from tests.system.test_websocket_node import Player
from vinom.base.messages.catalogue import PROTOCOL, decode_answer
from vinom.base.messages.envelope import encode_request
from vinom.base.messages.lobby import Hello, MatchFound, Queue
from vinom.base.messages.rooms import (
    GameState,
    JoinRoom,
    JoinRoomResult,
    ListRooms,
    RoomClosed,
    RoomList,
    RoomStarted,
)
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import Client, connect
from vinom.game import Chance
from vinom.net.dtls.bad_network import Conditioner, Conditions

GODOT = Path(__file__).with_name("godot") / "play.gd"
_RAW = msgspec.Raw(msgspec.json.encode(OPTIONS))


def hash_of(view: Any) -> str:
    """Hash a view as the node does."""
    return sha256(msgspec.msgpack.encode(view)).hexdigest()[:16]


class Browser(Player):
    """
    Plays the maze, or watches, with the messages of rooms.

    :ivar view: the newest.
    """

    view: Any = None
    version = 0

    async def enter(
        self, match_id: str, game: str = QuickMaze.name, *, spectate: bool = False
    ) -> JoinRoomResult:
        """Come into a match."""
        joined = JoinRoom(game, match_id, spectate=spectate)
        await self.send(encode_request(joined, 2))
        self.place: JoinRoomResult = await self.push(JoinRoomResult)
        return self.place

    async def play(self) -> RoomClosed:
        """Act on each state, if we have a seat, until the room closes."""
        game, chance, number = QuickMaze(), Chance(7), 0
        setup = msgspec.json.decode(bytes(self.place.setup))
        while True:
            told = decode_answer(await self.message())
            push = getattr(told, "push", None)
            if isinstance(push, RoomClosed):
                return push
            if isinstance(push, RoomStarted):
                setup = msgspec.json.decode(bytes(push.setup))
            if not isinstance(push, GameState):
                continue
            self.view = msgspec.json.decode(bytes(push.view))
            self.version = push.version
            seat = self.place.seat
            if seat is None or push.ack.get(str(seat), 0) < number:
                continue
            action = game.bot(self.view, seat, chance, setup)
            if action is not None:
                number += 1
                asked = {"type": "action", "id": number}
                data = msgspec.json.encode({**asked, "data": action})
                await self.send(data)


class CrossTransportTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.matches: dict[str, Match] = {}

    async def start(self, *arguments: str) -> None:
        self.node, self.http = await start_http_node(
            self,
            "--game=tests.support.quick:QuickMaze",
            "--warm=1",
            # Godot needs a while to start, and a blocked player to go around.
            "--join-seconds=60",
            *arguments,
        )

    async def browser(self, name: str) -> Browser:
        player = Browser(self.http, name)
        await player.hello()
        self.addCleanup(player.socket.close)
        return player

    def bot(self, name: str, **how: Any) -> Deferred[MatchResult]:
        """A bot over UDP plays one match; returns how it ended."""
        ended: Deferred[MatchResult] = Deferred()

        def ready(client: Client) -> Deferred[None]:
            def found(match: Match) -> None:
                self.matches[name] = match
                match.ended.chainDeferred(ended)

            return play_one(client, 3, found, pace=20.0)

        connect(reactor, self.node.host, self.node.port, name=name, **how).addCallback(
            ready
        ).addErrback(lambda failure: ended.called or ended.errback(failure))
        return ended

    def check_end(self, browser: Browser, closed: RoomClosed) -> tuple[int, str]:
        self.assertEqual("finished", closed.reason)
        self.assertEqual(closed.version, browser.version)
        self.assertEqual(closed.view_hash, hash_of(browser.view))
        return closed.version, closed.view_hash

    async def test_udp_and_websocket(self) -> None:
        """
        A player over UDP and one in a browser finish one maze together; both, and
        somebody who only watches, end on the same state.
        """
        await self.start()
        ann, eve = await self.browser("ann"), await self.browser("eve")
        await ann.send(encode_request(Queue(QuickMaze.name, _RAW), 1))
        bot = self.bot("bob")
        found = await ann.push(MatchFound)
        place = await ann.enter(found.match_id)
        self.assertEqual(found.seat, place.seat)
        await eve.send(encode_request(ListRooms(matches=True), 3))
        listed = await eve.push(RoomList)
        self.assertEqual([found.match_id], [room.room_id for room in listed.rooms])
        watched = await eve.enter(found.match_id, spectate=True)
        self.assertIsNone(watched.seat)
        closed, seen, result = await gatherResults(
            [ensureDeferred(ann.play()), ensureDeferred(eve.play()), bot]
        )
        end = self.check_end(ann, closed)
        self.assertEqual(end, self.check_end(eve, seen))
        self.assertEqual(end, (result.version, result.view_hash))
        self.assertEqual(end, (result.seen_version, result.seen_hash))

    async def test_udp_is_blocked(self) -> None:
        """
        A player whose UDP gets no answer plays the same match by way of the lobby,
        without being asked, and ends on the same state.
        """
        await self.start()
        nothing = Conditioner(reactor, Conditions(loss=1.0), 1)
        blocked = self.bot("ann", datagram_filter=nothing)
        free = self.bot("bob")
        results = await gatherResults([blocked, free])
        self.assertEqual(
            ["lobby", "udp"], [self.matches[name].way for name in ("ann", "bob")]
        )
        for result in results:
            self.assertEqual("finished", result.reason)
            self.assertEqual(result.version, result.seen_version)
            self.assertEqual(result.view_hash, result.seen_hash)
        ends = {(result.version, result.view_hash) for result in results}
        self.assertEqual(1, len(ends))
        # Both played: the one that was blocked has points, too.
        self.assertTrue(all(results[0].outcome["scores"]), results[0].outcome)

    async def test_godot_and_browser(self) -> None:
        """
        A Godot game over UDP and a browser meet in one maze: the page sees Godot's
        player move.
        """
        await self.start()
        ann = await self.browser("ann")
        await ann.send(encode_request(Queue("maze"), 1))
        endpoint = HostnameEndpoint(reactor, self.node.host, self.node.port)
        lobby = LobbyClient(reactor, endpoint, Hello(PROTOCOL, "godot"))
        self.addCleanup(lobby.close)
        found = await lobby.find_match("maze")
        mine = await ann.push(MatchFound)
        self.assertEqual(found.match_id, mine.match_id)
        await ann.enter(found.match_id, "maze")
        anchor = self.mktemp()
        Path(anchor).write_text(found.certificate)
        godot = start_foreign(
            self, "godot3-server", "--no-window", "--script", str(GODOT),
            found.host, str(found.port), found.server_name, anchor, found.token,
        )  # fmt: skip

        async def see_move() -> None:
            started = await ann.push(RoomStarted)
            start = msgspec.json.decode(bytes(started.setup))["starts"][found.seat]
            at = start
            while at == start:
                state = await ann.push(GameState)
                at = msgspec.json.decode(bytes(state.view))["at"][found.seat]

        async def play() -> None:
            # If Godot fails, then nobody moves, and its words say why.
            self.assertEqual(0, await godot.ended, godot.output)

        await gatherResults(
            [ensureDeferred(see_move()), ensureDeferred(play())], consumeErrors=True
        )
