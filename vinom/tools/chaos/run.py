"""One run: a deployment, its bots and their matches, the kills, and the check."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from vinom.base.reactor.alarm import Timer
from vinom.client.bots import Bot, Crowd, Samples, Tally
from vinom.client.match import Match, MatchResult
from vinom.client.sdk import Client, connect
from vinom.errors import Misconfigured
from vinom.game import Chance
from vinom.net.dtls.bad_network import Conditioner
from vinom.net.packets.player import Joined, PlayerEvent, StateArrived
from vinom.play.choices import seats_for
from vinom.play.hosting.guarding import guard_games
from vinom.tools.chaos.plan import OF_A_MATCH, Kind, Plan, Report
from vinom.tools.commands.admin import NotDone
from vinom.tools.commands.child_node import Child, ChildNode, NodeFailed, RedisChild
from vinom.tools.promises.checker import Checker
from vinom.tools.promises.witness import Witness

#: Warm game servers: as many as die between two checks, and some more.
_WARM = 4
#: The rest of the arguments of ``twistd vinom``: all players have one address.
_ARGUMENTS = (
    f"--warm={_WARM}",
    "--fill-seconds=2",
    "--log-level=info",
    "--guest-rate=1000000",
    "--connections-per-address=10000",
    "--rooms-per-address=1000000",
    "--matches-per-address=1000000",
)
#: PR_SET_CHILD_SUBREAPER of prctl(2).
_SET_CHILD_SUBREAPER = 36


class Deployment:
    """
    Start a deployment, kill parts of it, and stop it.

    :ivar nodes: the same objects after they were killed and started again; players come
        to the first one.
    :ivar store: ``None`` if there is none.
    :ivar is_serving: do all of them run, as far as we know?
    """

    def __init__(self, reactor: Any, plan: Plan) -> None:
        """
        :param reactor: starts the processes.
        :param plan: the plan of the run.
        """
        self._own = set(children_of(os.getpid()))
        self.store = RedisChild(reactor, plan.redis) if plan.redis else None
        arguments = [*_ARGUMENTS, *plan.arguments]
        if ":" in plan.spec:
            arguments.append(f"--game={plan.spec}")
        if self.store is not None:
            arguments += self.store.for_nodes
        self.nodes = [
            # A port that was used rests for a while.
            ChildNode(reactor, arguments, game_ports=3 * plan.matches + 2 * _WARM)
            for _ in range(plan.nodes)
        ]
        self.is_serving = False

    @property
    def _children(self) -> list[Child]:
        return [*self.nodes, *([] if self.store is None else [self.store])]

    @property
    def recordings(self) -> list[Path]:
        """Where the nodes write recordings."""
        return [Path(node.state_dir) / "recordings" for node in self.nodes]

    async def start(self) -> None:
        """
        Start everything.

        :raises NodeFailed: something did not start.
        """
        # What a killed node leaves behind becomes our child, so that we can end it.
        with suppress(Exception):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
        for child in reversed(self._children):
            await child.start()
        self.is_serving = True

    async def stop(self) -> int:
        """Stop everything and remove files; returns how many processes were left."""
        self.is_serving = False
        for child in self._children:
            await child.stop()
        left = set(children_of(os.getpid())) - self._own
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return len(left)

    def look_after(self) -> None:
        """Collect orphans that have exited; call it each second."""
        known = self._own | {
            int(child.transport.pid or 0)
            for child in self._children
            if child.transport is not None
        }
        for pid in set(children_of(os.getpid())) - known:
            with suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
                if state.rpartition(")")[2].split()[0] == "Z":
                    os.waitpid(pid, os.WNOHANG)

    async def game_server_of(self, match_id: str) -> int:
        """Find the process that plays a match; 0 if none does at present."""
        for node in self.nodes:
            if pid := await node.game_server_of(match_id):
                return pid
        return 0

    async def move(self, match_id: str) -> bool:
        """Move a match to another game server; returns whether the move has begun."""
        node = self.nodes[0]
        found = (await node.ask("matches")).get("matches", [])
        server = next((m["server"] for m in found if m["match_id"] == match_id), None)
        if not server:
            return False
        try:
            await deferToThread(node.admin.post, f"servers/{server}/move")
        except (Misconfigured, NotDone):
            # It is over, or no other game server is ready.
            return False
        return True

    async def replace(self, child: Child, is_asked: bool) -> None:
        """
        End a node or the store, and start it again.

        :param is_asked: is it asked to end, as for an upgrade, or killed?
        :raises NodeFailed: it does not start again.
        """
        self.is_serving = False
        await (child.end() if is_asked else child.kill())
        await child.start_again()
        self.is_serving = True


def children_of(pid: int) -> list[int]:
    """List the children of a process; none if it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text("ascii").split())
    return found


#: A node gives up a match whose processes die more than ten times per minute.
_MOST_STRIKES, _WITHIN = 8, 60.0
#: It gives one up, too, whose processes die four times one right after the other before
#: more is played than that players come back. Some matches are as slow as that at their
#: end, so the fourth strike in a row waits; seconds between two in a row.
_MOST_IN_ROW, _ROW = 3, 6.0


@attrs.define(eq=False)
class LiveMatch:
    """
    One match, as its players see it.

    :ivar match_id: the match's id.
    :ivar witnesses: one for each player.
    :ivar playing: seats whose player has seen a state, and no end.
    :ivar kind: kind of the latest strike.
    :ivar moves: how often it was moved.
    """

    match_id: str
    witnesses: list[Witness] = attrs.field(factory=list)
    playing: set[int] = attrs.field(factory=set)
    kind: Kind = "gameserver"
    moves: int = 0
    _struck_at: float | None = None
    # When each player saw the latest state.
    _last: dict[int, float] = attrs.field(factory=dict)
    # Since when each player who has the seat again saw no state, and then for how long.
    _since: dict[int, float] = attrs.field(factory=dict)
    _gaps: dict[int, float] = attrs.field(factory=dict)
    _strikes: list[float] = attrs.field(factory=list)

    @property
    def is_away(self) -> bool:
        """Was it struck, with a player who is not back yet?"""
        return self._struck_at is not None

    def may_be_struck(self, now: float) -> bool:
        """Are all its players playing, and was it not struck too often lately?"""
        self._strikes = [at for at in self._strikes if at > now - _WITHIN]
        latest = [*self._strikes, now][-_MOST_IN_ROW - 1 :]
        is_row_full = len(latest) > _MOST_IN_ROW and all(
            after < before + _ROW for before, after in pairwise(latest)
        )
        is_full = is_row_full or len(self._strikes) >= _MOST_STRIKES
        return bool(self.playing) and not self.is_away and not is_full

    def struck(self, now: float, kind: Kind = "gameserver") -> None:
        """Record that its process was killed or stopped, or is to be moved."""
        self._struck_at, self.kind = now, kind
        self._strikes.append(now)
        self._since.clear()
        self._gaps.clear()

    def spared(self) -> None:
        """Record that the latest strike did not happen."""
        self._struck_at = None
        self._strikes.pop()

    def joined(self, seat: int) -> None:
        """Record that a player took the seat, for the first time or again."""
        if self._struck_at is not None:
            # Silence before the strike does not count.
            self._since[seat] = max(self._last.get(seat, -inf), self._struck_at)

    def seen(self, seat: int, now: float) -> float | None:
        """
        Record that a player saw a state.

        :returns: the longest time without states of any player since the latest strike,
            if this was the last one to come back; seconds.
        """
        self.playing.add(seat)
        self._last[seat] = now
        if self._struck_at is None or seat not in self._since:
            return None
        self._gaps.setdefault(seat, now - self._since[seat])
        if not self.playing <= self._gaps.keys():
            return None
        self._struck_at = None
        return max(self._gaps[one] for one in self.playing)

    def over(self, seat: int) -> None:
        """Record that the match ended for a player."""
        self.playing.discard(seat)
        if not self.playing:
            self._struck_at = None


@attrs.define(eq=False)
class Matches:
    """
    All matches of a run.

    :ivar clock: returns the time, seconds.
    :ivar paused: called with the length of each pause, seconds, and its cause.
    :ivar by_id: every match that was found.
    """

    clock: Callable[[], float]
    paused: Callable[[float, Kind], None]
    by_id: dict[str, LiveMatch] = attrs.field(factory=dict)

    def add(self, match: Match) -> None:
        """Watch a match that was found for one of our players."""
        live = self.by_id.setdefault(match.match_id, LiveMatch(match.match_id))
        witness = Witness(match.match_id, match.names[match.seat], match.seat)
        live.witnesses.append(witness)
        match.observe(witness)
        match.observe(_Pulse(self, live, match.seat))

        def ended(result: MatchResult) -> None:
            witness.ended(result.reason)
            live.over(witness.seat)

        match.ended.addCallback(ended)

    @property
    def running(self) -> list[LiveMatch]:
        """Matches that are being played, by id."""
        return [live for _, live in sorted(self.by_id.items()) if live.playing]

    @property
    def begun(self) -> list[LiveMatch]:
        """Matches in which a player saw a state."""
        return [
            live
            for live in self.by_id.values()
            if any(witness.seen for witness in live.witnesses)
        ]

    @property
    def away(self) -> int:
        """Count the matches that wait for players to come back after a strike."""
        return sum(live.is_away for live in self.by_id.values())


@attrs.define(eq=False)
class _Pulse:
    """Sees when one player plays."""

    matches: Matches
    live: LiveMatch
    seat: int

    def acted(self, number: int, action: bytes) -> None:
        """Do nothing: actions do not matter here."""

    def took(self, event: PlayerEvent) -> None:
        """Note a seat that was taken, or a state."""
        if isinstance(event, StateArrived):
            away = self.live.seen(self.seat, self.matches.clock())
            if away is not None:
                self.matches.paused(away, self.live.kind)
        elif isinstance(event, Joined):
            self.live.joined(self.seat)


#: Seconds between two lines of progress, and between two looks at processes.
_LINE, _LOOK = 5.0, 1.0
#: A node or a store is killed when no player is away, or after this time, seconds: the
#: promises are about one failure at a time. Also the longest wait for a match to hit:
#: after the death of the node perhaps none is playing for a while.
_MOST_WAIT = 15.0
#: Pause after a node or a store is back, seconds.
_SETTLE = 3.0
#: How long recordings may take to get their ends, seconds.
_MOST_CLOSING = 15.0
#: How long players may take to log in and be matched, seconds; then the run ends.
_MOST_WAIT_FOR_MATCH = 60.0
_STEP = 0.05


class ChaosRun:
    """
    Play, kill, and check.

    :ivar report: the results.
    :ivar failure: why nothing could be played; empty otherwise.
    """

    def __init__(self, reactor: Any, plan: Plan, say: Callable[[str], None]) -> None:
        """
        :param reactor: runs it.
        :param plan: the plan of the run.
        :param say: called with each line of progress.
        """
        self._reactor, self._plan, self._say = reactor, plan, say
        self.deployment = Deployment(reactor, plan)
        game, chosen = plan.habits.game, plan.habits.options or {}
        _, players = seats_for(game, msgspec.json.encode(chosen))
        self.report = Report(plan.habits.name, plan.seed, len(plan.strikes))
        self.failure = ""
        self.matches = Matches(reactor.seconds, self._paused)
        self.tally = Tally.of(game)
        self._random = Random(f"{plan.seed} kills")
        self._networks: list[Conditioner] = []
        self._began = 0.0
        self._is_striking = True
        self._is_stopping = False
        chance = Chance(int.from_bytes(plan.seed.encode()[-32:], "big"))
        self._crowd = Crowd(
            reactor,
            [
                self._newcomer(f"bot-{number}", chance.fork(f"bot-{number}"))
                for number in range(1, plan.matches * players + 1)
            ],
            self.tally,
            grace=plan.grace,
        )
        self._time_up = Timer(reactor)

    def stop(self) -> None:
        """Leave all matches now, and check those that were played."""
        if not self._is_stopping:
            self._is_stopping, self._is_striking = True, False
            self.report.is_interrupted = True
            self._crowd.leave()

    async def run(self) -> int:
        """Play, kill and check; returns the exit code."""
        plan = self._plan
        self._say(
            f"{plan.habits.name}: {plan.matches} matches; seed {plan.seed}; starting a "
            "node"
        )
        try:
            await self.deployment.start()
            if not self._is_stopping:
                await self._play()
            await self._check()
        except NodeFailed as error:
            self.failure = str(error)
            return 2
        finally:
            left = await self.deployment.stop()
        if left:
            self._say(f"killed {left} processes that were left over")
        return self.report.exit_code

    # Playing.

    async def _play(self) -> None:
        self._begin(_MOST_WAIT_FOR_MATCH)
        looking, lines = LoopingCall(self._look), LoopingCall(self._line)
        for call, seconds in ((looking, _LOOK), (lines, _LINE)):
            call.clock = self._reactor
            call.start(seconds, now=False)
        striking = Deferred.fromCoroutine(self._strike_all())
        try:
            await self._crowd.run()
        finally:
            self._is_striking = False
            self._time_up.cancel()
            await striking
            looking.stop()
            lines.stop()
        report = self.report
        report.seconds = self._age
        report.begun = len(self.matches.begun)
        report.inputs = self.tally.inputs
        report.errors = dict(sorted(self.tally.errors.items()))
        report.lost = sum(network.lost for network in self._networks)
        if "bot_failed" in self.tally.errors:
            report.trouble.append(self.tally.reasons["bot_failed"])

    def _begin(self, seconds: float) -> None:
        """Count time from now, and start no matches after the run's time."""
        self._began = self._reactor.seconds()
        self._time_up.start(seconds, self._crowd.stop)

    def _found(self, match: Match) -> None:
        if not self.matches.by_id and self._time_up.is_running:
            # A slow machine may have needed some seconds up to here.
            self._begin(self._plan.seconds)
        self.matches.add(match)

    @property
    def _age(self) -> float:
        return float(self._reactor.seconds() - self._began)

    def _newcomer(self, name: str, chance: Chance) -> Callable[[], Deferred[Bot]]:
        plan, reactor = self._plan, self._reactor
        network = None
        if plan.conditions is not None:
            # One for each bot, so that none affects another's datagrams.
            network = Conditioner(reactor, plan.conditions, f"{plan.seed} {name}")
            self._networks.append(network)

        def ready(client: Client) -> Bot:
            return Bot(reactor, client, plan.habits, self.tally, chance, self._found)

        def greet() -> Deferred[Bot]:
            node = self.deployment.nodes[0]
            return connect(
                reactor,
                node.host,
                node.port,
                name=name,
                datagram_filter=network,
                way="udp",
            ).addCallback(ready)

        return greet

    def _look(self) -> None:
        self.deployment.look_after()
        deployment = self.deployment
        ended = next((one for one in deployment.nodes if one.exited), None)
        if deployment.is_serving and ended is not None:
            deployment.is_serving = False
            self.report.trouble.append(f"a node ended by itself:\n{ended.log_end()}")
            self.stop()

    def _line(self) -> None:
        running, away = len(self.matches.running), self.matches.away
        over = len(self.matches.begun) - running
        strikes = ", ".join(f"{n} {kind}" for kind, n in self.report.strikes.items())
        self._log(
            f"{running} matches run, {over} are over, "
            f"{self.tally.inputs:,} inputs; strikes: {strikes or 'none'}"
            + (f"; {away} matches wait for players to come back" if away else "")
        )

    # Striking.

    async def _strike_all(self) -> None:
        for strike in self._plan.strikes:
            while self._is_striking and not (
                self.matches.running and self._age >= strike.at
            ):
                await deferLater(self._reactor, _STEP)
            if strike.kind in OF_A_MATCH:
                await self._until(partial(self._strike_match, strike.kind), _MOST_WAIT)
            else:
                await self._strike_all_players(strike.kind)

    async def _strike_all_players(self, kind: Kind) -> None:
        deployment = self.deployment
        children: list[Child | None] = [deployment.nodes[0]]
        if kind == "store":
            children = [deployment.store]
        elif kind == "restart":
            children = [*deployment.nodes]
        for child in filter(None, children):
            await self._until(lambda: not self.matches.away, _MOST_WAIT)
            if not self._is_striking:
                return
            how = "SIGTERM to" if kind == "restart" else "kill -9 of"
            self._log(f"{how} {child.name}, process {child.pid}")
            self.report.strikes[kind] += 1
            try:
                await deployment.replace(child, is_asked=kind == "restart")
            except NodeFailed as error:
                self.report.trouble.append(f"{kind}: {error}")
                self.stop()
            else:
                self._log(f"{child.name} is back")
                await self._until(lambda: False, _SETTLE)

    async def _strike_match(self, kind: Kind) -> bool:
        """Kill or stop the process of a match, or move it; returns whether one was."""
        now = self._reactor.seconds
        running = [one for one in self.matches.running if one.may_be_struck(now())]
        self._random.shuffle(running)
        if kind == "move":
            # Each match is moved once before any is moved again.
            running.sort(key=lambda live: live.moves)
        for live in running:
            if await (self._move(live) if kind == "move" else self._kill(live, kind)):
                self.report.strikes[kind] += 1
                return True
        return False

    async def _kill(self, live: LiveMatch, kind: Kind) -> bool:
        pid = await self.deployment.game_server_of(live.match_id)
        now = self._reactor.seconds()
        if not (pid and live.may_be_struck(now)):
            return False
        try:
            os.kill(pid, signal.SIGSTOP if kind == "hang" else signal.SIGKILL)
        except ProcessLookupError:
            return False
        live.struck(now, kind)
        what = "STOP" if kind == "hang" else "9"
        self._log(f"kill -{what} {pid}, match {live.match_id}")
        return True

    async def _move(self, live: LiveMatch) -> bool:
        # Before the request, because players may be back when its answer comes.
        live.struck(self._reactor.seconds(), "move")
        if not await self.deployment.move(live.match_id):
            live.spared()
            return False
        live.moves += 1
        self._log(f"move of match {live.match_id}")
        return True

    def _log(self, words: str) -> None:
        self._say(f"{self._age:6.1f} s  {words}")

    def _paused(self, seconds: float, kind: Kind) -> None:
        self.report.pauses.setdefault(kind, Samples()).add(seconds)

    async def _until(
        self, is_done: Callable[[], bool | Awaitable[bool]], seconds: float
    ) -> None:
        give_up = self._reactor.seconds() + seconds
        while self._is_striking and self._reactor.seconds() < give_up:
            done = is_done()
            if done if isinstance(done, bool) else await done:
                return
            await deferLater(self._reactor, _STEP)

    # Checking.

    async def _check(self) -> None:
        checker = Checker(
            self._plan.habits.game,
            guard_games(2, logs_slow=False),
            self.deployment.recordings,
        )
        give_up = self._reactor.seconds() + _MOST_CLOSING
        for live in self.matches.begun:
            while (
                not checker.is_recorded(live.match_id)
                and self._reactor.seconds() < give_up
            ):
                await deferLater(self._reactor, 4 * _STEP)
        self._say(f"checking {len(self.matches.by_id)} matches")
        for number, live in enumerate(self.matches.by_id.values(), 1):
            self.report.add(checker.check(live.match_id, live.witnesses))
            # Let the reactor handle Ctrl-C.
            await deferLater(self._reactor, 0.0)
            if number % 50 == 0:
                self._say(f"{number} matches checked")
        if self.report.exit_code == 1:
            self._keep()

    def _keep(self) -> None:
        """Copy the files that explain a broken promise."""
        folder = self._plan.keep
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for one in self.deployment.recordings:
                if one.is_dir():
                    shutil.copytree(one, folder / "recordings", dirs_exist_ok=True)
            log = "\n".join(one.log_end() for one in self.deployment.nodes)
            (folder / "node.log").write_text(log, "utf-8")
        except OSError as error:
            self._say(f"--keep {folder}: {error.strerror}")
        else:
            self._say(f"recordings and the end of the node's log are in {folder}")
