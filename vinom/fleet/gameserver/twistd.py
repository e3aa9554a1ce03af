"""The twistd plugin of a game server in a pod: its options and its service."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from pathlib import Path
from socket import SOCK_STREAM, getaddrinfo
from typing import Any

from msgspec.structs import replace
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from vinom.base.reactor.steady import pass_evenly
from vinom.base.settings.options import TableOptions, TwistdProgram, check_pidfile
from vinom.errors import Misconfigured
from vinom.fleet.gameserver.main import GameServerProcess, GameServerSettings
from vinom.fleet.gameserver.node_link import LinkOptions
from vinom.fleet.gameserver.settings import SOURCES, Settings
from vinom.net.keys.authority import NODE_PURPOSE
from vinom.net.keys.files import read_file
from vinom.net.lines.tls import OfContexts, check_peer, dialing_context
from vinom.play.game_loader import load_games

__all__ = ["Options", "makeService"]

#: How long connecting to the node may take, seconds.
_CONNECT_SECONDS = 5.0
#: How long connecting to one of the other nodes may take, seconds.
_OTHER_SECONDS = 2.0
#: How often a game server that does not hang proves that, seconds.
_PROOF_SECONDS = 5.0
#: How much longer than its lease it may hang, seconds.
_HANG_MARGIN = 15.0
#: A link over which the node sends nothing for this long is dead, seconds.
_SILENCE_SECONDS = 10.0
#: Prefix of a proof by token; see docs/protocol/control.rst.
_TOKEN = b"token:"


class Options(TableOptions):
    """Every setting as an option; twistd expects this name."""

    sources, settings = SOURCES, Settings


def _proof_of(settings: Settings) -> Callable[[], bytes]:
    """
    Find the proof of this game server's identity.

    :raises Misconfigured: a file cannot be read.
    """
    if settings.token_file is not None:
        # twistd changes its working directory; the kubelet replaces the file over time.
        token: Path = settings.token_file.absolute()
        return lambda: _TOKEN + read_file(token, "token_file").strip()
    if settings.secret_file is not None:
        secret = read_file(settings.secret_file, "secret_file").strip()
    else:
        secret = (settings.secret or "").encode()
    return lambda: secret


class GameServerService(Service):
    """
    One game server, from its link to its last match.

    It ends if it hangs for longer than its lease, even if no node is left to kill it.
    """

    name = "gameserver"

    def __init__(self, settings: Settings, reactor: Any) -> None:
        """
        :param settings: of the program.
        :param reactor: runs it.
        :raises Misconfigured: a file or a name in the settings is wrong.
        """
        self._drain_seconds = settings.drain_seconds
        read = settings.limits or GameServerSettings(control="")
        # Paths on the node's machine, and its wall, do not apply in a pod.
        control = settings.node or ""
        read = replace(read, control=control, recordings=None, is_walled=False)
        games = load_games((*read.games, *settings.game), read.installed)
        anchors = settings.authority
        if anchors is None:
            assert settings.authority_file is not None
            anchors = read_file(settings.authority_file, "authority_file")
        try:
            context = dialing_context(anchors)
        except Exception as error:
            # OpenSSL raises many types of errors.
            raise Misconfigured(f"authority cannot be used: {error}") from error
        host, _, port = control.rpartition(":")
        creator = OfContexts(lambda: context)
        endpoint = wrapClientTLS(
            creator,
            HostnameEndpoint(
                reactor, host.strip("[]"), int(port), timeout=_CONNECT_SECONDS
            ),
        )
        others = None
        if settings.any_node is not None:
            host, _, port = settings.any_node.rpartition(":")
            others = wrapClientTLS(
                creator,
                EachInTurn(reactor, host.strip("[]"), int(port), _OTHER_SECONDS),
            )
        self._proving = LoopingCall(_prove, read.lease_seconds + _HANG_MARGIN)
        self._process = GameServerProcess(
            settings.id or "",
            read,
            games,
            reactor,
            endpoint,
            LinkOptions(
                _proof_of(settings),
                lambda transport: check_peer(transport, NODE_PURPOSE),
                settings.dial_seconds,
                _SILENCE_SECONDS,
                others,
            ),
        )

    def startService(self) -> None:
        """Dial the node."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._proving.start(_PROOF_SECONDS)
        self._process.start()

    def stopService(self) -> Deferred[None]:
        """Let matches go on for a while, then end them."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return self._process.stop(self._drain_seconds)


def _prove(seconds: float) -> None:
    """Note that this process does not hang; it ends if that is not repeated."""
    # A thread that needs no interpreter ends the process otherwise, and writes to
    # stderr where it hangs.
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)


def makeService(options: Options) -> IService:
    """Build the game server; nothing is opened before the service starts."""
    from twisted.internet import reactor

    pass_evenly(reactor)
    check_pidfile(SOURCES.program, options.parent or {})
    try:
        program: IService = TwistdProgram(
            options, GameServerService(options["settings"], reactor)
        )
    except Misconfigured as error:
        raise SystemExit(f"{SOURCES.program}: {error}") from error
    return program


@implementer(IStreamClientEndpoint)
class EachInTurn:
    """
    Connect to the next address of a name each time; look it up again after the last.

    A plain endpoint stays with the first address that accepts, but that node may not be
    the one that takes over this game server.
    """

    def __init__(self, reactor: Any, host: str, port: int, timeout: float) -> None:
        """
        :param reactor: connects, and resolves names.
        :param host: the name, or an address.
        :param port: the port of all addresses.
        :param timeout: how long one connection may take, seconds.
        """
        self._reactor, self._host, self._port = reactor, host, port
        self._timeout = timeout
        self._left: list[str] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the next address."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if not self._left:
            found = await deferToThreadPool(
                self._reactor,
                self._reactor.getThreadPool(),
                getaddrinfo,
                self._host,
                self._port,
                type=SOCK_STREAM,
            )
            self._left = list(dict.fromkeys(str(address[0]) for *_, address in found))
        host = self._left.pop(0)
        endpoint = HostnameEndpoint(
            self._reactor, host, self._port, timeout=self._timeout
        )
        connected: IProtocol = await endpoint.connect(factory)
        return connected
