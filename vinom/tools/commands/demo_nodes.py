"""
``vinom demo --nodes 3``: bots in parties on several nodes, of which any may die.

The nodes, and a Redis, are our own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello
from vinom.base.model import SEED_BYTES
from vinom.client.bots import Bot, Habits, Invitation, PartyClient, Tally
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.match import Match, MatchResult
from vinom.client.rooms import LiveRoom
from vinom.client.sdk import Client
from vinom.client.terminal.screen import QUIET, Canvas, Row, Style
from vinom.game import Chance, level_of
from vinom.play.game_loader import find_game
from vinom.tools.commands.child_node import ChildNode, NodeFailed, RedisChild, free_port
from vinom.turns import Rematch

#: Letters of nodes; there cannot be more.
LETTERS = "ABCDE"
#: How long a killed node stays away, seconds.
_AWAY = 5.0
#: Times shorter than the defaults, so that one sees soon what happens.
_ARGUMENTS = (
    "--warm=1",
    "--lease-seconds=2",
    "--fill-seconds=2",
    "--orphan-seconds=6",
)


class NamedNode:
    """
    One of the nodes; the same object after it was started again.

    :ivar letter: its name in pictures.
    :ivar process: its process.
    :ivar address: of its lobby.
    :ivar page: URL of its page.
    :ivar state: ``serving``, ``ending``, ``killed`` or ``starting``.
    :ivar status: what it answered last, as ``vinom status``; likewise ``matches`` and
        ``rooms``.
    """

    def __init__(
        self, reactor: Any, letter: str, arguments: Sequence[str] = ()
    ) -> None:
        """
        :param reactor: starts the process.
        :param letter: its name.
        :param arguments: more arguments of ``twistd vinom``.
        """
        http = free_port()
        self.letter = letter
        self.process = ChildNode(reactor, (*arguments, f"--http={http}"))
        self.process.name = f"node {letter}"
        self.address = f"{self.process.host}:{self.process.port}"
        self.page = f"http://{self.process.host}:{http}/"
        self.state = "starting"
        self.forget()

    def forget(self) -> None:
        """Forget what it answered."""
        self.status: dict[str, Any] = {}
        self.matches: list[dict[str, Any]] = []
        self.rooms: list[dict[str, Any]] = []

    async def look(self) -> None:
        """Ask it what it does."""
        pages = ("status", "matches", "rooms")
        found = [await self.process.ask(page) for page in pages]
        # Otherwise it died, or its store is away: the next look finds out more.
        if all(found) and self.state == "serving":
            self.status, self.matches = found[0], found[1]["matches"]
            self.rooms = found[2]["rooms"]


class Deployment:
    """
    Start it, watch it, and stop it.

    :ivar nodes: in the order of their letters.
    :ivar redis: what ``INFO`` of Redis answered last.
    """

    def __init__(self, reactor: Any, count: int, executable: str) -> None:
        """
        :param reactor: starts the processes.
        :param count: number of nodes.
        :param executable: of redis-server.
        """
        self._reactor = reactor
        self.store = RedisChild(reactor, executable)
        self.redis: dict[str, str] = {}
        arguments = (*self.store.for_nodes, *_ARGUMENTS)
        self.nodes = [
            NamedNode(reactor, letter, arguments) for letter in LETTERS[:count]
        ]
        self._is_stopping = False

    @property
    def serving(self) -> list[NamedNode]:
        """The nodes that serve players."""
        return [node for node in self.nodes if node.state == "serving"]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        await self.store.start()
        starting = DeferredList(
            [node.process.start() for node in self.nodes], consumeErrors=True
        )
        results: list[tuple[bool, Any]] = await starting
        for has_started, why in results:
            if not has_started:
                why.raiseException()
        for node in self.nodes:
            node.state = "serving"

    async def stop(self) -> None:
        """Stop everything; files are removed."""
        self._is_stopping = True
        await gatherResults([node.process.stop() for node in self.nodes])
        await self.store.stop()

    def kill_one(self) -> bool:
        """Kill a node, one with players if possible; false if only one serves."""
        serving = [node for node in self.serving if not node.process.exited]
        if len(serving) < 2:
            return False
        busy = [node for node in serving if node.status.get("players")]
        chosen = random.choice(busy or serving)
        # We are informed of its end a moment later.
        chosen.state = "ending"
        chosen.process.kill()
        return True

    def find_dead(self) -> list[NamedNode]:
        """Find the nodes that have died since the last call; each starts again soon."""
        dead = [
            node
            for node in self.nodes
            if node.process.exited and node.state in ("serving", "ending")
        ]
        for node in dead:
            node.state = "killed"
            node.forget()
            Deferred.fromCoroutine(self._start_again(node))
        return dead

    async def look(self) -> None:
        """Ask Redis and all nodes what they do."""
        looks = [Deferred.fromCoroutine(node.look()) for node in self.serving]
        self.redis = await self.store.info()
        await gatherResults(looks)

    async def _start_again(self, node: NamedNode) -> None:
        while True:
            await deferLater(self._reactor, _AWAY)
            if self._is_stopping:
                return
            node.state = "starting"
            try:
                await node.process.start_again()
            except NodeFailed:
                await node.process.kill()
                node.state = "killed"
            else:
                node.state = "serving"
                return


@implementer(IStreamClientEndpoint)
class Player:
    """
    A bot, logged in or not, that connects to its last node, else to the emptiest one.

    It stands for the balancer that a deployment has in front of its nodes.

    :ivar name: to play under.
    :ivar node: the node of the last attempt to connect.
    :ivar client: its client.
    """

    def __init__(
        self, reactor: Any, name: str, deployment: Deployment, players: list[Player]
    ) -> None:
        """
        :param reactor: connects.
        :param name: to play under.
        :param deployment: has the nodes.
        :param players: all of them.
        """
        self._reactor, self._deployment = reactor, deployment
        self.name, self._players = name, players
        self.node: NamedNode | None = None
        self._connections: list[Any] = []
        self.client = Client(reactor, LobbyClient(reactor, self, Hello(PROTOCOL, name)))

    @property
    def at(self) -> str | None:
        """Letter of the node that has its connection."""
        self._connections = [one for one in self._connections if one.is_open]
        node = self.node
        is_there = node and node.state == "serving" and self._connections
        return node.letter if node and is_there else None

    def connect(self, factory: Any) -> Deferred[Any]:
        # At once: others who connect at the same time choose other nodes.
        node = self.node = self._choose()
        if node is None:
            return fail(ConnectError(string="no node serves"))

        def connected(connection: Any) -> Any:
            self._connections.append(connection)
            return connection

        endpoint = TCP4ClientEndpoint(
            self._reactor, node.process.host, node.process.port
        )
        found: Deferred[Any] = endpoint.connect(factory)
        return found.addCallback(connected)

    def _choose(self) -> NamedNode | None:
        serving = [node for node in self._deployment.serving if not node.process.exited]
        if self.node in serving:
            return self.node
        others = [one.node for one in self._players if one is not self]
        return min(serving, key=others.count, default=None)


#: Two who play in a room of the nodes.
_ROOM_NAMES = ("ivy", "jack")
_ROOM = "demo"
#: Members of a party.
_PARTY = 2
#: A maze for matches of about ten seconds; only bots ask for it.
_OPTIONS = {"rows": 8, "cols": 16, "minutes": 3.0}
#: How long to show the winners dancing, seconds.
_DANCE = 2.0
#: Seconds between two looks at the processes, between two requests to the nodes, and
#: between two moves in the room.
_PAUSE, _LOOK, _MOVE = 0.2, 0.5, 0.7
#: Reasons for which a match ends as it should.
_EXPECTED = ("finished", "abandoned", "left", "void")

_DOING = {
    "idle": "gets ready",
    "in_queue": "waits in the queue",
    "prematch": "is asked whether it accepts a match",
    "in_game": "plays",
}
_BAD: Style = "1;38;5;203"
#: The colour of each node.
_INKS = dict(
    zip(
        LETTERS,
        [f"1;38;5;{number}" for number in (80, 220, 177, 113, 215)],
        strict=True,
    )
)


@attrs.frozen
class Group:
    """
    A party, or the players of a room.

    :ivar kind: ``party`` or ``room``.
    :ivar members: name to the letter of the node that has this player's connection;
        ``None``: no node has.
    :ivar doing: what they do, in words.
    """

    kind: str
    members: Mapping[str, str | None]
    doing: str


def compose_nodes(
    size: tuple[int, int],
    title: str,
    store: str,
    nodes: Sequence[NamedNode],
    groups: Sequence[Group],
    notes: Sequence[str],
) -> Canvas:
    """
    Draw nodes and players; old notes are left out if the terminal is too small.

    :param size: columns and rows.
    :param store: how Redis is, in words.
    :param notes: what happened, the latest last.
    """
    width, height = size
    picture = Canvas(height, width)
    picture.put_title(title)
    rows: list[Row] = [[("Redis   ", ""), (store, "")], []]
    for node in nodes:
        rows += _rows_of(node, groups)
    rows += [[], *map(_row_of, groups), []]
    space = height - 2 - len(rows)
    rows += [[(note, QUIET)] for note in notes[-space:] if space > 0]
    for number, row in enumerate(rows[: max(height - 2, 0)], 1):
        picture.put_row(number, 1, row)
    picture.put_row(height - 1, 1, [("n kills a node · q ends", QUIET)])
    return picture


def describe_nodes(nodes: Sequence[NamedNode], groups: Sequence[Group]) -> str:
    """Describe nodes and players in one line, for output that is not a terminal."""
    parts = []
    for node in nodes:
        names = " ".join(_names_at(node.letter, groups)) or "nobody"
        plays = "".join(f", {play}" for play in _plays(node))
        what = f"{names}{plays}" if node.state == "serving" else node.state
        parts.append(f"{node.letter}: {what}")
    if missing := _names_at(None, groups):
        parts.append(f"without a node: {' '.join(missing)}")
    return "; ".join(parts)


def _names_at(letter: str | None, groups: Sequence[Group]) -> list[str]:
    return [
        name for group in groups for name, at in group.members.items() if at == letter
    ]


def _plays(node: NamedNode) -> list[str]:
    """Its matches and rooms, each in words."""
    plays = [("match", one["match_id"], one) for one in node.matches]
    plays += [("room", one["room_id"], one) for one in node.rooms]
    return [
        f"{kind} {name[:6]}  {' '.join(player['name'] for player in one['players'])}"
        for kind, name, one in plays
    ]


def _rows_of(node: NamedNode, groups: Sequence[Group]) -> list[Row]:
    head = (f"node {node.letter}  ", _INKS[node.letter])
    if node.state != "serving":
        return [[head, (f"{node.state}  {node.address}", _BAD)], []]
    lease = node.status.get("store", {}).get("lease", 0)
    players = f"{node.status.get('players', 0)} players: "
    plays: list[Row] = [[(f"        {play}", "")] for play in _plays(node)]
    return [
        [
            head,
            (f"{node.address}  lease {lease}  ", QUIET),
            (players + " ".join(_names_at(node.letter, groups)), ""),
        ],
        *(plays or [[("        no matches, no rooms", QUIET)]]),
    ]


def _row_of(group: Group) -> Row:
    members = [
        (f"{name} ({at or 'away'}) ", _BAD if at is None else _INKS[at])
        for name, at in group.members.items()
    ]
    used = sum(len(text) for text, _ in members)
    gap = " " * max(0, 21 - used)
    return [(f"{group.kind:<8}", QUIET), *members, (f"{gap}{group.doing}", "")]


class NodesDemo:
    """
    One demonstration, which `vinom.tools.commands.demo` runs and shows.

    :ivar tally: what the bots measured.
    """

    def __init__(
        self,
        reactor: Any,
        names: Sequence[str],
        pace: float,
        nodes: int,
        executable: str,
    ) -> None:
        """
        :param reactor: runs it.
        :param names: of the bots that play in parties.
        :param pace: most moves per second of a bot.
        :param nodes: number of nodes.
        :param executable: of redis-server.
        """
        self._reactor, self._pace = reactor, pace
        self._deployment = Deployment(reactor, nodes, executable)
        self._players: list[Player] = []
        for name in (*names, *_ROOM_NAMES):
            player = Player(reactor, name, self._deployment, self._players)
            self._players.append(player)
        # Members of one party are at different nodes.
        self._room_players = self._players[len(names) :]
        self._parties = [
            self._players[first : min(first + _PARTY, len(names))]
            for first in range(0, len(names), _PARTY)
        ]
        self._room: list[LiveRoom] = []
        self.tally = Tally()
        # What happened, and how many of these have been printed.
        self._notes: list[str] = []
        self._printed = 0
        self._lost: set[str] = set()
        self._missing: list[Player] = []
        self._were_at: dict[Player, Any] = {}
        self._dead: list[NamedNode] = []
        self._died_at = 0.0
        self._began = reactor.seconds()
        self._chance = Chance(os.urandom(SEED_BYTES))
        self._bots: list[Bot] = []
        self._is_leaving = False

    async def start(self) -> list[str]:
        """Start Redis and the nodes."""
        await self._deployment.start()
        return [
            f"node {node.letter}: lobby {node.address}, page {node.page}, "
            f"process {node.process.pid}"
            for node in self._deployment.nodes
        ]

    async def play(self) -> None:
        """Let bots play, and note what happens to the nodes."""
        self._began = self._reactor.seconds()
        failures: list[Failure] = []
        running = [
            Deferred.fromCoroutine(one).addErrback(failures.append)
            for one in [
                *(
                    self._play(player, player is party[0], invitation)
                    for party in self._parties
                    for invitation in [Invitation(len(party))]
                    for player in party
                ),
                *map(self._play_in_room, self._room_players),
            ]
        ]
        looking = LoopingCall(self._deployment.look)
        looking.clock = self._reactor
        looking.start(_LOOK).addErrback(failures.append)
        while not (self._is_leaving or failures):
            self._note_changes()
            await deferLater(self._reactor, _PAUSE)
        broken = failures[:]
        if looking.running:
            looking.stop()
        for bot in self._bots:
            bot.leave()
        for each in running:
            each.cancel()
        for player in self._players:
            player.client.close()
        await DeferredList(running)
        if broken:
            broken[0].raiseException()

    def leave(self) -> None:
        """Let the bots leave soon."""
        self._is_leaving = True

    async def stop(self) -> None:
        """Stop Redis and the nodes."""
        await self._deployment.stop()

    def log_end(self) -> str:
        """The last lines of a node's log."""
        return self._deployment.nodes[0].process.log_end()

    def press(self, key: str) -> None:
        """Kill a node."""
        if key == "next" and not self._deployment.kill_one():
            self._note("one node must stay: wait until another one serves")

    # The bots.

    async def _play(
        self, player: Player, is_first: bool, invitation: Invitation
    ) -> None:
        await self._log_in(player)
        _, self._chance = self._chance.draw()
        bot = Bot(
            self._reactor,
            PartyClient(self._reactor, player.client, invitation, is_first),
            Habits(*find_game("maze"), _OPTIONS, self._pace, _DANCE),
            self.tally,
            self._chance.fork(player.name),
            self._found,
        )
        self._bots.append(bot)
        await bot.run()

    async def _log_in(self, player: Player) -> None:
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

    async def _play_in_room(self, player: Player) -> None:
        name, game = find_game("tictactoe")
        await self._log_in(player)
        while not self._is_leaving:
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
                    action = game.bot(
                        room.view, room.seat, self._chance, room.setup, *level_of(game)
                    )
                if action is not None and room.is_connected and room.act(action):
                    acted = room.version
            self._room.remove(room)
            self._note(f"room {_ROOM} is over for {player.name}")

    # What happens.

    def _note(self, words: str) -> None:
        seconds = self._reactor.seconds() - self._began
        self._notes.append(f"{seconds:5.1f} s  {words}")

    def _note_changes(self) -> None:
        for node in [one for one in self._deployment.serving if one in self._dead]:
            self._dead.remove(node)
            self._note(f"node {node.letter} serves again, process {node.process.pid}")
        for node in self._deployment.find_dead():
            self._dead.append(node)
            self._died_at = self._reactor.seconds()
            # Or was at the last look: who is quick is on the way to another by now.
            were = self._were_at
            here = [p for p in self._players if node in (p.node, were.get(p))]
            self._missing += [one for one in here if one not in self._missing]
            who = " ".join(one.name for one in here) or "no players"
            self._note(f"node {node.letter} was killed, with {who}")
        self._were_at = {one: one.node for one in self._players}
        if self._missing and self._is_everybody_back():
            after = self._reactor.seconds() - self._died_at
            where = "; ".join(
                f"{' '.join(names)} at {letter}"
                for letter in LETTERS
                if (names := [one.name for one in self._missing if one.at == letter])
            )
            self._note(f"everybody is back after {after:.1f} s: {where}")
            self._missing = []

    def _is_everybody_back(self) -> bool:
        """Is everybody connected, in the same party or room as before?"""
        nodes = self._deployment.nodes
        counted = sum(node.status.get("players", 0) for node in nodes)
        if counted < len(self._players) or any(one.at is None for one in self._players):
            return False
        for members in self._parties:
            for one in members:
                party = one.client.parties.party
                present = [m for m in party.members if m.connected] if party else []
                if len(present) < len(members):
                    return False
        return all(room.is_connected for room in self._room)

    # What is shown.

    def compose(self, width: int, height: int) -> Canvas:
        """Draw the nodes, and which players, parties, matches and rooms they have."""
        nodes = self._deployment.nodes
        return compose_nodes(
            (width, height),
            f"vinom demo · {len(nodes)} nodes · {self.tally.finished} matches played, "
            f"{len(self._lost)} lost",
            self._describe_store(),
            nodes,
            self._groups(),
            self._notes,
        )

    def lines(self) -> list[str]:
        """Describe the same, after what has happened since the last call."""
        fresh, self._printed = self._notes[self._printed :], len(self._notes)
        seconds = self._reactor.seconds() - self._began
        now = describe_nodes(self._deployment.nodes, self._groups())
        return [*fresh, f"{seconds:5.1f} s  {now}"]

    def _groups(self) -> list[Group]:
        return [*map(self._describe_party, self._parties), self._describe_room()]

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

    def _describe_party(self, members: list[Player]) -> Group:
        client = members[0].client
        party = client.parties.party
        doing = "forms" if party is None else _DOING.get(party.state, party.state)
        match = client.match
        if party is not None and party.state == "in_game" and match is not None:
            doing += f" in match {match.match_id[:6]}"
        return Group("party", {one.name: one.at for one in members}, doing)

    def _describe_room(self) -> Group:
        members = {one.name: one.at for one in self._room_players}
        room = next((one for one in self._room if one.view is not None), None)
        if room is None:
            return Group("room", members, "forms")
        board = "".join(
            "·" if cell is None else "XO"[cell]
            for row in room.view["board"]
            for cell in row
        )
        what = f"tictactoe {board[:3]} {board[3:6]} {board[6:]}, version {room.version}"
        if not room.is_connected:
            what = "waits for the room"
        return Group("room", members, what)
