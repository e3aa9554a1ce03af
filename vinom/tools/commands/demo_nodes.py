"""``vinom demo --nodes 3``: bots in parties on several nodes, of which any may die."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.model import SEED_BYTES
from vinom.base.printable import say
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.load.bot import Bot, Habits
from vinom.client.load.parties import Invitation, PartyClient
from vinom.client.load.tally import Tally
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult
from vinom.client.rooms import LiveRoom
from vinom.client.sdk import Client
from vinom.client.terminal.keys import WATCHING
from vinom.client.terminal.nodes_picture import (
    GroupRow,
    NodeRow,
    Scenery,
    Spot,
    compose_nodes,
    node_line,
)
from vinom.client.terminal.screen import Keyboard, Screen, has_colour, has_unicode
from vinom.game import Chance
from vinom.games.rounds import Rematch
from vinom.tools.commands.child_node import NodeFailed
from vinom.tools.commands.deployment import Deployment, Door, RunningNode
from vinom.tools.commands.play import find_game

#: Two who play in a room of the nodes.
_ROOM_NAMES = ("ivy", "jack")
_ROOM = "demo"
#: Members of a party.
_PARTY = 2
#: A maze for matches of about ten seconds; only bots ask for it.
_OPTIONS = {"rows": 8, "cols": 16, "minutes": 3.0}
#: How long to show the winners dancing, seconds.
_DANCE = 2.0
#: Seconds between two pictures, between two lines, between two looks at the nodes, and
#: between two moves in the room.
_PICTURE, _LINE, _LOOK, _MOVE = 0.2, 1.0, 0.5, 0.7
#: News that are kept.
_MOST_NEWS = 50
#: Reasons for which a match ends as it should.
_EXPECTED = ("finished", "abandoned", "left", "void")

_DOING = {
    "idle": "gets ready",
    "in_queue": "waits in the queue",
    "prematch": "is asked whether it accepts a match",
    "in_game": "plays",
}


class _Player:
    """
    A bot that is logged in, or will be.

    :ivar name: to play under.
    :ivar door: where it connects.
    :ivar client: its client.
    """

    def __init__(
        self, reactor: Any, name: str, deployment: Deployment, doors: list[Door]
    ) -> None:
        self.name, self.door = name, Door(reactor, deployment, doors)
        doors.append(self.door)
        lobby = LobbyClient(reactor, self.door, Hello(PROTOCOL, name))
        self.client = Client(reactor, lobby)

    def spot(self) -> Spot:
        """Where it is."""
        node = self.door.node
        here = node is not None and node.state == "serving" and self.door.is_open
        return Spot(self.name, node.name if here and node is not None else None)


class NodesDemo:
    """
    One demonstration with several nodes.

    :ivar tally: what the bots measured.
    :ivar last_words: what went wrong, in lines to print at the end.
    """

    def __init__(
        self,
        reactor: Any,
        options: argparse.Namespace,
        names: Sequence[str],
        executable: str,
        screen: Screen | None,
    ) -> None:
        """
        :param reactor: runs it.
        :param options: of the command line; see `vinom.tools.commands.demo`.
        :param names: of the bots that play in parties.
        :param executable: of redis-server.
        :param screen: to draw on; ``None`` prints lines.
        """
        self._reactor, self._screen = reactor, screen
        self._seconds, self._pace = options.seconds, options.pace
        self._deployment = Deployment(reactor, options.nodes, executable)
        doors: list[Door] = []
        # Members of one party are at different nodes.
        players = [
            _Player(reactor, name, self._deployment, doors)
            for name in (*names, *_ROOM_NAMES)
        ]
        self._room_players = players[len(names) :]
        self._parties = [
            players[first : min(first + _PARTY, len(names))]
            for first in range(0, len(names), _PARTY)
        ]
        self._players = players
        self._room: list[LiveRoom] = []
        self.tally = Tally()
        self.last_words: list[str] = []
        self._news: list[str] = []
        self._lost: set[str] = set()
        self._missing: list[_Player] = []
        self._dead: list[RunningNode] = []
        self._died_at = 0.0
        self._began = reactor.seconds()
        self._chance = Chance(os.urandom(SEED_BYTES))
        self._bots: list[Bot] = []
        self._over: Deferred[None] = Deferred()
        self._keyboard = Keyboard(reactor, self._press, WATCHING)
        self._is_stopping = False

    def run(self) -> Deferred[int]:
        """Show it; fires with the exit code."""
        return Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """End soon."""
        if not self._is_stopping:
            self._is_stopping = True
            self._over.callback(None)

    def _break(self, failure: Failure) -> None:
        """End with an error of ours; what we cancelled ourselves is none."""
        if not self._is_stopping:
            self._is_stopping = True
            self._over.errback(failure)

    def give_back(self) -> None:
        """Give the terminal back; a second time does nothing."""
        self._keyboard.stop()
        if self._screen is not None:
            self._screen.leave()

    def _press(self, key: str) -> None:
        if key == "quit":
            self.stop()
        elif key == "next" and self._deployment.kill_one() is None:
            self._note("one node must stay: wait until another one serves")

    async def _run(self) -> int:
        try:
            await self._deployment.start()
            for node in self._deployment.nodes:
                say(
                    f"node {node.name}: lobby {node.address}, page {node.page}, "
                    f"process {node.process.pid}",
                    flush=True,
                )
            if not self._is_stopping:
                await self._show()
        except NodeFailed as error:
            self.last_words.append(f"vinom demo: {error}")
            return 1
        finally:
            await self._deployment.stop()
        if not self.tally.started:
            self.last_words.append("vinom demo: no match started; a node's log says:")
            self.last_words.append(self._deployment.nodes[0].process.log_end())
            return 1
        return 0

    async def _show(self) -> None:
        self._began = self._reactor.seconds()
        running: list[Deferred[None]] = []
        for party in self._parties:
            invitation = Invitation(len(party))
            running += [
                Deferred.fromCoroutine(
                    self._play(player, player is party[0], invitation)
                )
                for player in party
            ]
        running += [
            Deferred.fromCoroutine(self._play_in_room(player))
            for player in self._room_players
        ]
        for one in running:
            one.addErrback(self._break)
        pause, draw = _LINE, self._print_line
        if self._screen is not None:
            self._screen.enter()
            self._keyboard.start()
            pause, draw = _PICTURE, self._draw
        loops = [LoopingCall(one) for one in (draw, self._watch, self._deployment.look)]
        for loop, each in zip(loops, (pause, _PICTURE, _LOOK), strict=True):
            loop.clock = self._reactor
            loop.start(each).addErrback(self._break)
        end = None
        if self._seconds is not None:
            end = self._reactor.callLater(self._seconds, self.stop)
        await self._over
        if end is not None and end.active():
            end.cancel()
        for loop in loops:
            loop.stop()
        self._keyboard.stop()
        for bot in self._bots:
            bot.leave()
        for one in running:
            one.cancel()
        for player in self._players:
            player.client.close()
        await DeferredList(running, consumeErrors=True)

    # The bots.

    async def _play(
        self, player: _Player, is_first: bool, invitation: Invitation
    ) -> None:
        await self._log_in(player)
        _, self._chance = self._chance.draw()
        bot = Bot(
            self._reactor,
            PartyClient(self._reactor, player.client, invitation, is_first),
            "maze",
            find_game("maze")[1],
            Habits(_OPTIONS, self._pace, _DANCE),
            self.tally,
            self._chance.fork(player.name),
            self._found,
        )
        self._bots.append(bot)
        await bot.run()

    async def _log_in(self, player: _Player) -> None:
        while True:
            try:
                await player.client.hello()
                return
            except (LobbyRefusal, LineLost):
                await deferLater(self._reactor, 1.0)

    def _found(self, match: Match) -> None:
        def ended(result: MatchResult) -> None:
            if result.reason not in _EXPECTED and match.match_id not in self._lost:
                self._lost.add(match.match_id)
                self._note(
                    f"match {match.match_id[:6]} was lost ({result.reason}); its "
                    "players queue again"
                )

        match.ended.addCallback(ended)

    async def _play_in_room(self, player: _Player) -> None:
        name, game = find_game("tictactoe")
        await self._log_in(player)
        while not self._is_stopping:
            try:
                room = await player.client.join_room(name, _ROOM)
            except (LobbyRefusal, LineLost):
                await deferLater(self._reactor, 1.0)
                continue
            self._room.append(room)
            acted = -1
            while not room.is_over:
                await deferLater(self._reactor, _MOVE)
                if room.view is None or room.seat is None or room.version == acted:
                    continue
                action: Any = Rematch()
                if room.state != "over":
                    _, self._chance = self._chance.draw()
                    action = game.bot(room.view, room.seat, self._chance, room.setup)
                if action is not None and room.is_connected and room.act(action):
                    acted = room.version
            self._room.remove(room)
            self._note(f"room {_ROOM} is over for {player.name}")

    # What happens.

    def _note(self, words: str) -> None:
        seconds = self._reactor.seconds() - self._began
        self._news = [*self._news, f"{seconds:5.1f} s  {words}"][-_MOST_NEWS:]
        if self._screen is None:
            say(self._news[-1], flush=True)

    def _watch(self) -> None:
        for node in self._deployment.serving:
            if node in self._dead:
                self._dead.remove(node)
                self._note(f"node {node.name} serves again, process {node.process.pid}")
        for node in self._deployment.find_dead():
            self._dead.append(node)
            self._died_at = self._reactor.seconds()
            here = [one for one in self._players if one.door.node is node]
            self._missing += [one for one in here if one not in self._missing]
            who = " ".join(one.name for one in here) or "no players"
            self._note(f"node {node.name} was killed, with {who}")
        if self._missing and self._is_everybody_back():
            after = self._reactor.seconds() - self._died_at
            names: dict[str, list[str]] = {}
            for one in self._missing:
                names.setdefault(one.spot().node or "", []).append(one.name)
            where = "; ".join(
                f"{' '.join(here)} at {node}" for node, here in sorted(names.items())
            )
            self._note(f"everybody is back after {after:.1f} s: {where}")
            self._missing = []

    def _is_everybody_back(self) -> bool:
        """Is everybody connected, in the same party or room as before?"""
        if any(one.spot().node is None for one in self._players):
            return False
        told = sum(node.status.get("players", 0) for node in self._deployment.nodes)
        if told < len(self._players):
            return False
        for members in self._parties:
            for one in members:
                party = one.client.parties.party
                here = (
                    [] if party is None else [m for m in party.members if m.connected]
                )
                if len(here) < len(members):
                    return False
        return all(room.is_connected for room in self._room)

    # What is shown.

    def _draw(self) -> None:
        assert self._screen is not None
        width, height = self._screen.size()
        self._screen.show(
            compose_nodes(
                self._scenery(),
                width,
                height,
                colour=has_colour(os.environ),
                ascii_only=not has_unicode(sys.stdout),
            )
        )

    def _print_line(self) -> None:
        seconds = self._reactor.seconds() - self._began
        say(f"{seconds:5.1f} s  {node_line(self._scenery())}", flush=True)

    def _scenery(self) -> Scenery:
        tally = self.tally
        return Scenery(
            f"vinom demo · {len(self._deployment.nodes)} nodes · {tally.finished} "
            f"matches played, {len(self._lost)} lost",
            self._describe_store(),
            [_describe(node) for node in self._deployment.nodes],
            [self._describe_party(members) for members in self._parties],
            [self._describe_room()],
            self._news,
            "n kills a node · q ends",
        )

    def _describe_store(self) -> str:
        info, store = self._deployment.redis, self._deployment.store
        if not info:
            return f"{store.host}:{store.port}  does not answer"
        keys = info.get("db0", "keys=0").partition("keys=")[2].partition(",")[0]
        return (
            f"{store.host}:{store.port}  {keys} keys, "
            f"{info.get('instantaneous_ops_per_sec', '0')} commands per second, "
            f"{info.get('used_memory_human', '?')}"
        )

    def _describe_party(self, members: list[_Player]) -> GroupRow:
        client = members[0].client
        party = client.parties.party
        doing = "forms" if party is None else _DOING.get(party.state, party.state)
        match = client.match
        if party is not None and party.state == "in_game" and match is not None:
            doing += f" in match {match.match_id[:6]}"
        return GroupRow([one.spot() for one in members], doing)

    def _describe_room(self) -> GroupRow:
        spots = [one.spot() for one in self._room_players]
        room = next((one for one in self._room if one.view is not None), None)
        if room is None:
            return GroupRow(spots, "forms")
        board = "".join(
            "·" if cell is None else "XO"[cell]
            for row in room.view["board"]
            for cell in row
        )
        what = f"tictactoe {board[:3]} {board[3:6]} {board[6:]}, version {room.version}"
        return GroupRow(spots, what if room.is_connected else "waits for the room")


def _describe(node: RunningNode) -> NodeRow:
    plays = [f"match {one['match_id'][:6]}  {_names(one)}" for one in node.matches] + [
        f"room {one['room_id'][:6]}  {_names(one)}" for one in node.rooms
    ]
    status = node.status
    return NodeRow(
        node.name,
        node.address,
        node.state,
        status.get("store", {}).get("lease", 0),
        status.get("players", 0),
        plays,
    )


def _names(described: dict[str, Any]) -> str:
    return " ".join(player["name"] for player in described["players"])
