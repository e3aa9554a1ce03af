"""
A game server under Agones: it waits, Ready, until a node has it, and dials that node.

What it reads and reports goes over Agones' SDK: a server beside it, in its pod. What a
node has to say to it is an annotation that the node's allocation has written.

Sources: https://agones.dev/site/docs/guides/client-sdks/rest/ and
https://agones.dev/site/docs/guides/client-sdks/.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import attrs
import msgspec
from msgspec import Struct, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent

from vinom.control.messages import CONTROL_PROTOCOL
from vinom.errors import Misconfigured
from vinom.fleet.kubernetes.objects import CONTROL_LABEL, SETTINGS
from vinom.game_loader import load_games
from vinom.gameserver.settings import SOURCES, Settings
from vinom.lines.https import NotAnswered, WebClient

#: How often it says that it is alive, seconds; Agones expects it every 5 s.
HEALTH_SECONDS: Final = 1.0
#: Wait before a request is repeated, seconds. The SDK's server may start after us.
_AGAIN: Final = 0.5
#: How long the SDK's server may take to answer at first, and at the end, seconds.
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
#: After Shutdown Agones ends the pod; who ends before would be started again, seconds.
_TERM_SECONDS: Final = 60.0
#: Most bytes of one message of the SDK.
_MOST_BYTES: Final = 1 << 20
# States of which one does not become Ready again: this process was started again.
_PAST = ("Allocated", "Unhealthy", "Error", "Shutdown")


class _Meta(Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Status(Struct):
    state: str = ""


class SeenGameServer(Struct):
    """
    This game server, as Agones has it; of the members only those that are used.

    :ivar meta: its labels and annotations.
    :ivar status: its state.
    """

    meta: _Meta = field(default_factory=_Meta, name="object_meta")
    status: _Status = field(default_factory=_Status)


class _Event(Struct):
    result: SeenGameServer = field(default_factory=SeenGameServer)


class EventLines(Protocol):
    """
    Cut the stream of a watch into events: JSON, one a line.

    :ivar ended: fires when the stream has ended.
    """

    def __init__(self, seen: Callable[[SeenGameServer], None]) -> None:
        """
        :param seen: called with each event.
        """
        self._seen = seen
        self._held = b""
        self.ended: Deferred[None] = Deferred(lambda _: self._stop())

    def _stop(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read what came."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_BYTES:
            self._held = b""
            self._stop()
        for line in lines:
            # An error of the gateway is such a line, too; the stream ends then.
            with suppress(msgspec.MsgspecError):
                self._seen(msgspec.json.decode(line or b"{}", type=_Event).result)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The stream has ended."""
        if not self.ended.called:
            self.ended.callback(None)


class AgonesSdk:
    """The REST gateway of Agones' SDK."""

    def __init__(self, reactor: Any, port: int) -> None:
        """
        :param reactor: connects.
        :param port: of this machine.
        """
        self._reactor, self._base = reactor, b"http://localhost:%d" % port
        self._agent = Agent(reactor, connectTimeout=2.0)
        self._web = WebClient(
            reactor,
            authority=None,
            authority_name="",
            connect_seconds=2.0,
            most_bytes=_MOST_BYTES,
            # A sign of life each second needs no connection of its own.
            most_kept=1,
        )

    def close(self) -> Deferred[Any]:
        """Close the connections that are kept."""
        return self._web.close()

    async def send(
        self, path: bytes, body: dict[str, str] | None = None, method: bytes = b"POST"
    ) -> None:
        """
        Send one request without a result.

        :param path: "/ready", "/health", "/shutdown" or "/metadata/label".
        :raises NotAnswered: it was not taken.
        """
        answer = await self._web.post(
            self._base + path,
            {b"Content-Type": [b"application/json"]},
            msgspec.json.encode(body or {}),
            method,
        )
        if answer.status >= 300:
            raise NotAnswered(f"{path.decode()} is answered {answer.status}")

    async def look(self) -> SeenGameServer:
        """
        Read this game server.

        :raises NotAnswered: that is not possible.
        """
        text = await self._web.fetch(self._base + b"/gameserver", b"application/json")
        try:
            return msgspec.json.decode(text, type=SeenGameServer)
        except msgspec.MsgspecError as error:
            raise NotAnswered(f"/gameserver is answered wrongly: {error}") from error

    async def watch(self, seen: Callable[[SeenGameServer], None]) -> None:
        """
        Watch this game server until the stream ends.

        :param seen: called with it as it is, and after each change.
        :raises NotAnswered: there is no such stream.
        """
        try:
            answer = await self._agent.request(
                b"GET", self._base + b"/watch/gameserver"
            )
        except CancelledError:
            raise
        except Exception as error:
            raise NotAnswered(f"/watch/gameserver: {error}") from error
        lines = EventLines(seen)
        answer.deliverBody(lines)
        # What changed before the stream began is not in it.
        seen(await self.look())
        await lines.ended

    async def insist(
        self,
        request: Callable[[], Any],
        seconds: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Any:
        """
        Repeat a request until it is taken.

        :param is_wanted: asked before it is repeated.
        :raises NotAnswered: it was not, for so long.
        """
        until = self._reactor.seconds() + seconds
        while True:
            try:
                return await request()
            except NotAnswered:
                if self._reactor.seconds() >= until or not is_wanted():
                    raise
            await deferLater(self._reactor, _AGAIN)


class AgonesService(Service):
    """
    Wait until a node has this game server, and run it.

    :ivar program: what runs then; ``None`` before.
    """

    name = "gameserver"
    _log = Logger("vinom.gameserver")

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        begin: Callable[[Settings, Callable[[], None]], Service],
    ) -> None:
        """
        :param settings: of the program, without a node.
        :param reactor: runs it.
        :param begin: makes the program, when a node has it; gets the settings, and what
            is to be called when it has nothing left to do.
        :raises Misconfigured: a game cannot be loaded.
        """
        assert settings.agones_port is not None
        self._settings, self._reactor, self._begin = settings, reactor, begin
        self._sdk = AgonesSdk(reactor, settings.agones_port)
        # While nobody waits for it.
        load_games(settings.game)
        self.program: Service | None = None
        self._waiting: Deferred[None] | None = None
        self._leaving: IDelayedCall | None = None
        self._shutting: Deferred[None] | None = None
        self._saying: Deferred[None] | None = None
        self._is_over = False
        self._health = LoopingCall(self._say_healthy)
        self._health.clock = reactor

    def startService(self) -> None:
        """Say that it is alive, and, when it is, that it is Ready."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._health.start(HEALTH_SECONDS)
        self._waiting = Deferred.fromCoroutine(self._wait())
        self._waiting.addErrback(self._failed)

    def _say_healthy(self) -> Deferred[None]:
        self._saying = Deferred.fromCoroutine(self._sdk.send(b"/health"))
        self._saying.addErrback(lambda failure: failure.trap(NotAnswered))
        self._saying.addTimeout(
            _END_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None
        )
        return self._saying

    async def _wait(self) -> None:
        sdk = self._sdk
        found = await self._insist(sdk.look)
        if found.status.state in _PAST:
            self._log.error(
                "this game server was started again: it is {state} already, and ends",
                state=found.status.state,
            )
            self._ended()
            return
        label = {"key": CONTROL_LABEL, "value": str(CONTROL_PROTOCOL)}
        await self._insist(lambda: sdk.send(b"/metadata/label", label, b"PUT"))
        await self._insist(lambda: sdk.send(b"/ready"))
        self._log.info("Ready: waiting for a node")
        while self._is_waiting():
            with suppress(NotAnswered):
                await sdk.watch(self._seen)
            if self._is_waiting():
                await deferLater(self._reactor, _AGAIN)

    def _is_waiting(self) -> bool:
        return bool(self.running) and self.program is None and not self._is_over

    async def _insist(self, request: Callable[[], Any]) -> Any:
        return await self._sdk.insist(request, _START_SECONDS, self._is_waiting)

    def _failed(self, failure: Failure) -> None:
        if self.running and failure.check(CancelledError) is None:
            self._log.error(
                "Agones' SDK cannot be used: {why}", why=failure.getErrorMessage()
            )
            self._ended()

    def _seen(self, found: SeenGameServer) -> None:
        given = found.meta.annotations.get(SETTINGS)
        if self.program is not None or given is None or self._is_over:
            return
        if found.status.state != "Allocated":
            return
        try:
            variables = msgspec.json.decode(given, type=dict[str, str])
            settings = attrs.evolve(
                self._settings, agones_port=None, **SOURCES.gather({}, variables)
            )
            self.program = self._begin(settings, self._ended)
        except (Misconfigured, msgspec.MsgspecError) as error:
            self._log.error(
                "what the node has written on this game server is wrong: {why}",
                why=str(error),
            )
            self._ended()
            return
        self._log.info("allocated: dialing the node at {node}", node=settings.node)
        self.program.startService()

    def _ended(self) -> None:
        """It has nothing left to do: Agones is to end its pod."""
        if self._is_over or not self.running:
            return
        self._is_over = True
        self._leaving = self._reactor.callLater(_TERM_SECONDS, self._stop_reactor)
        self._shutting = Deferred.fromCoroutine(self._shut_down(_START_SECONDS))

    async def _shut_down(self, seconds: float) -> None:
        try:
            await self._sdk.insist(lambda: self._sdk.send(b"/shutdown"), seconds)
        except NotAnswered as error:
            self._log.error("Agones did not take Shutdown: {why}", why=str(error))
            self._stop_reactor()

    def _stop_reactor(self) -> None:
        self._leaving = None
        if self._reactor.running and self.running:
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Let matches go on for a while, then end them, and say that it ends."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._waiting is not None:
            self._waiting.cancel()
        if self.program is not None:
            await maybeDeferred(self.program.stopService)
        # Its server waits for that, as long as the pod's grace.
        if self._shutting is None:
            self._shutting = Deferred.fromCoroutine(self._shut_down(_END_SECONDS))
        self._shutting.addTimeout(
            _END_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None
        )
        await self._shutting
        if self._health.running:
            self._health.stop()
        if self._saying is not None:
            self._saying.cancel()
        await self._sdk.close()
