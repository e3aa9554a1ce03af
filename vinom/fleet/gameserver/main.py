"""
The game server's process: builds the program and runs it until it ends.

The fork server calls `main` by name in each new child; a pod's entry point can call it,
too. Nothing here keeps state outside of the process.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

import msgspec
from msgspec import Struct
from setproctitle import setproctitle
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from vinom.base.limits.pressure import Rate
from vinom.base.logs import observer
from vinom.base.reactor.steady import pass_evenly
from vinom.base.reactor.turns import TurnWatch
from vinom.base.wall.enclosure import settle
from vinom.errors import Misconfigured
from vinom.fleet.gameserver.lease import LEASE_SECONDS
from vinom.fleet.gameserver.matches import GameServerOptions
from vinom.fleet.gameserver.node_link import LinkOptions, NodeLink
from vinom.fleet.gameserver.player_port import PortLimits
from vinom.fleet.gameserver.rehearsal import rehearse
from vinom.fleet.gameserver.seats import ConnectionLimits, Runtime
from vinom.fleet.gameserver.server import GameServer, ProcessHooks
from vinom.fleet.local.outliving import outlives
from vinom.game import Game
from vinom.net.dtls.admission import (
    CALM,
    HANDSHAKES,
    TIGHT,
    StrangerLimits,
    StrangerPolicy,
    handshakes_of,
)
from vinom.net.dtls.context import prepare_server_context
from vinom.play.clock import JOIN_TIMEOUT
from vinom.play.game_loader import load_games
from vinom.play.hosting.guarding import guard_games
from vinom.play.hosting.recordings import Recordings
from vinom.play.states import codec_of

_log = Logger()


class GameServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """
    The settings that the node passes to each game server; nothing secret.

    :ivar control: where the node accepts control links: the description of a client
        endpoint, ``unix:/run/vinom/control`` or ``tls:node.example:4433:...``.
    :ivar installed: games, as ``package.module:Class``; searched for unless given.
    :ivar games: more games.
    :ivar rooms_per_process: matches after which the process ends.
    :ivar recordings: directory; ``None`` records nothing. The node opens the files,
        unless it is on another machine.
    :ivar recordings_days: age at which a recording is removed, days.
    :ivar recordings_bytes: most bytes of all recordings.
    :ivar recordings_ids: whether they hold the ids of players.
    :ivar log_format: "text" or "json".
    :ivar log_level: least severe level that is logged.
    :ivar input_rate: actions per second from one connection; the burst is twice that,
        and there may be 2.5 times as many packets.
    :ivar nameless_rate: handshakes without server name, per second from one network;
        the burst is eight times that.
    :ivar handshake_rate: handshakes per second of one address, over all its tickets;
        the burst is ten times that. A network's hellos are limited to 500 per second,
        or fifty times that if it is more.
    :ivar idle_seconds: silence after which a connection ends, seconds.
    :ivar join_seconds: how long a match waits for its players, seconds.
    :ivar is_walled: whether it walls itself in once it has its port.
    :ivar checkpoints: whether its matches can go on elsewhere if it dies.
    :ivar lease_seconds: how long it plays matches on without its node, seconds.
    """

    control: str
    installed: tuple[str, ...] | None = None
    games: tuple[str, ...] = ()
    rooms_per_process: int = 1
    recordings: str | None = None
    recordings_days: float = 7.0
    recordings_bytes: int = 1 << 30
    recordings_ids: bool = True
    log_format: str = "text"
    log_level: str = "info"
    input_rate: float = 100.0
    nameless_rate: float = CALM.nameless.a_second
    handshake_rate: float = HANDSHAKES.a_second
    idle_seconds: float = 30.0
    join_seconds: float = JOIN_TIMEOUT
    is_walled: bool = False
    checkpoints: bool = True
    lease_seconds: float = LEASE_SECONDS

    def limits(self) -> PortLimits:
        """Return the limits of players' connections, and of strangers, without one."""
        inputs = self.input_rate
        packets = 2.5 * inputs
        # A handshake takes two hellos, and each may have to be repeated; those of many
        # addresses of a network add up.
        hellos = max(CALM.hellos.a_second, 50 * self.handshake_rate)
        nameless = self.nameless_rate
        fewest = min(nameless, TIGHT.nameless.a_second)
        strangers = StrangerPolicy(
            StrangerLimits(Rate(hellos, 2 * hellos), _nameless(nameless)),
            StrangerLimits(TIGHT.hellos, _nameless(fewest)),
            handshakes=handshakes_of(self.handshake_rate),
        )
        connection = ConnectionLimits(packets, 2 * packets, inputs, 2 * inputs)
        return PortLimits(connection, strangers, self.idle_seconds)

    def options(self) -> GameServerOptions:
        """Return what the program is told."""
        return GameServerOptions(
            self.rooms_per_process,
            self.limits(),
            self.join_seconds,
            self.checkpoints,
            self.lease_seconds,
        )

    def make_recordings(self, clock: IReactorTime) -> Recordings:
        """Make the place where matches are recorded."""
        return Recordings(
            None if self.recordings is None else Path(self.recordings),
            most_bytes=self.recordings_bytes,
            most_age=self.recordings_days * 24 * 3600.0,
            clock=clock,
            ids=self.recordings_ids,
        )


def _nameless(rate: float) -> Rate:
    return Rate(rate, max(1.0, 8 * rate) if rate else 0.0)


class _Output:
    """
    Standard output, for the log.

    :ivar is_hushed: whether it drops everything.
    """

    is_hushed = False

    def write(self, text: str) -> None:
        if not self.is_hushed:
            # In a pod the reader may be gone; play goes on.
            with suppress(OSError):
                sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()


_output = _Output()


def prepare(settings: dict[str, Any]) -> None:
    """
    Do the work that all game servers with these settings share, before the fork.

    :param settings: a `GameServerSettings`, as plain values.
    :raises Misconfigured: a game server cannot start with them.
    :raises msgspec.ValidationError: the settings are invalid.
    """
    _, games = _prepared(msgspec.json.encode(settings))
    _output.is_hushed = True
    # The cache holds the names of everything imported so far. Each entry that is
    # replaced later would be a page that a child no longer shares.
    forget = getattr(sys, "_clear_type_cache", None)
    if forget is not None:
        forget()
    gc.collect()
    for game in games.values():
        # A game whose states cannot be kept is logged when it is played.
        with suppress(Misconfigured):
            codec_of(game)
    try:
        # Once for what is made on first use, once more for what the first run replaced.
        rehearse()
        rehearse()
    finally:
        _output.is_hushed = False
    prepare_server_context()


@lru_cache(maxsize=1)
def _prepared(settings: bytes) -> tuple[GameServerSettings, dict[str, Game[Any, Any]]]:
    """Read the settings, load the games, and begin the log."""
    read = msgspec.json.decode(settings, type=GameServerSettings)
    games = load_games(read.games, read.installed)
    log = observer(cast(IO[str], _output), read.log_format, read.log_level)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    return read, games


class GameServerProcess:
    """
    What a game server's process runs: the program, and its link to the node.

    :ivar server: the program.
    :ivar has_failed: was there never a link?
    """

    def __init__(
        self,
        server_id: str,
        read: GameServerSettings,
        games: dict[str, Game[Any, Any]],
        reactor: Any,
        node: IStreamClientEndpoint,
        options: LinkOptions | None = None,
    ) -> None:
        """
        Build it, with its clocks and its entropy; nothing is opened before `start`.

        :param server_id: its label inside the realm.
        :param read: its settings.
        :param games: by name.
        :param reactor: runs it, and is stopped at its end.
        :param node: where the node accepts links.
        :param options: of the links; ``None`` for a node on this machine.
        """
        self._reactor, self._where, self.has_failed = reactor, read.control, False
        self._recordings = recordings = read.make_recordings(reactor)
        turns = TurnWatch(time.monotonic)
        turns.start(reactor)
        self.server = GameServer(
            server_id,
            games,
            Runtime(reactor, time.monotonic, os.urandom),
            recordings,
            self._over,
            read.options(),
            ProcessHooks(
                turns=turns,
                guard=guard_games(),
                bound=_settle if read.is_walled else lambda: None,
                entitle=lambda what: setproctitle(
                    f"vinom game server {server_id}: {what}"
                ),
                outlives=outlives,
            ),
        )
        if options is not None:
            # The node writes them, because it is on another machine.
            recordings.send = self.server.send_recording
        # Chance is for jitter only.
        self._link = NodeLink(
            reactor, node, self.server, recordings.take, random.random, options
        )

    def start(self) -> None:
        """Dial the node."""
        self._link.open().addErrback(self._unreachable)

    def _unreachable(self, failure: Failure) -> None:
        _log.error(
            "cannot reach the node at {node}: {why}",
            node=self._where,
            why=failure.getErrorMessage(),
        )
        self.has_failed = True
        self._reactor.callLater(0, self._stop_reactor)

    def stop(self, drain_seconds: float = 0.0) -> Deferred[None]:
        """
        Let matches go on for a while, have others go on elsewhere, and end the rest.

        :param drain_seconds: how long they may go on here.
        """
        return Deferred.fromCoroutine(self._stop(drain_seconds))

    async def _stop(self, drain_seconds: float) -> None:
        server = self.server
        if server.rooms and drain_seconds:
            _log.info(
                "asked to stop: {count} matches may continue for {s:g} s",
                count=len(server.rooms),
                s=drain_seconds,
            )
            drained = server.drain()
            drained.addTimeout(
                drain_seconds, self._reactor, onTimeoutCancel=lambda *_: None
            )
            await drained
        await server.hand_over_last()
        await server.stop()
        self._recordings.flush()

    def _over(self) -> None:
        """Send what is left, then stop: the program has nothing left to do."""
        self._link.close()
        # Two turns of the reactor: one for the link, one for what it left.
        self._reactor.callLater(0, self._reactor.callLater, 0, self._stop_reactor)

    def _stop_reactor(self) -> None:
        # Unless SIGTERM was faster.
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def main(server_id: str, settings: dict[str, Any]) -> None:
    """
    Run one game server until its work is done.

    :param server_id: its label inside the realm.
    :param settings: a `GameServerSettings`, as plain values.
    :raises SystemExit: it cannot start; the message says why.
    """
    try:
        read, games = _prepared(msgspec.json.encode(settings))
    except (msgspec.ValidationError, Misconfigured) as error:
        raise SystemExit(f"game server {server_id}: {error}") from error
    reactor = _install_reactor()
    endpoint = clientFromString(reactor, f"{read.control}:timeout=5")
    process = GameServerProcess(server_id, read, games, reactor, endpoint)
    # SIGTERM stops the reactor, which waits for this.
    reactor.addSystemEventTrigger("before", "shutdown", process.stop)
    process.start()
    reactor.run()
    if process.has_failed:
        raise SystemExit(1)


def _settle() -> None:
    """Put up the last wall, before anybody knows the port."""
    try:
        settle()
    except OSError as error:
        _log.warn("this game server lacks a wall: {why}", why=str(error))


def _install_reactor() -> Any:
    """Install epoll on Linux; it must be the child's own, made after the fork."""
    if sys.platform == "linux":
        from twisted.internet import epollreactor

        epollreactor.install()
    from twisted.internet import reactor

    pass_evenly(reactor)
    return reactor
