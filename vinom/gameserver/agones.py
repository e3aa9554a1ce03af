"""
A game server under Agones: it waits, Ready, for an allocation, and dials its node.

It reads and reports its state over Agones' SDK, a server in the same pod. Its settings
are in an annotation, written by the allocation of its node.

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

#: How often it reports that it is alive, seconds; Agones expects a report every 5 s.
HEALTH_SECONDS: Final = 1.0
#: Wait before a request is repeated, seconds. The SDK's server may start after us.
_AGAIN: Final = 0.5
#: How long the SDK's server may take to answer at first, and at the end, seconds.
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
#: How long to wait for Agones to end the pod after Shutdown, seconds; a container that
#: exits before is started again.
_TERM_SECONDS: Final = 60.0
#: Most bytes of one message of the SDK.
_MOST_BYTES: Final = 1 << 20
# States that show at the start that this container was started again.
_PAST = ("Allocated", "Unhealthy", "Error", "Shutdown")


class _Meta(Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Status(Struct):
    state: str = ""


class SeenGameServer(Struct):
    """
    This game server as Agones reports it, with only the members that are used.

    :ivar meta: its labels and annotations.
    :ivar status: its state.
    """

    meta: _Meta = field(default_factory=_Meta, name="object_meta")
    status: _Status = field(default_factory=_Status)


class _Event(Struct):
    result: SeenGameServer = field(default_factory=SeenGameServer)


class EventLines(Protocol):
    """
    Split the stream of a watch into events: JSON, one per line.

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
        """Read received bytes."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_BYTES:
            self._held = b""
            self._stop()
        for line in lines:
            # An error of the gateway is such a line, too, after which the stream ends.
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
        :param port: its port on this machine.
        """
        self._reactor, self._base = reactor, b"http://localhost:%d" % port
        self._agent = Agent(reactor, connectTimeout=2.0)
        self._web = WebClient(
            reactor,
            authority=None,
            authority_name="",
            connect_seconds=2.0,
            most_bytes=_MOST_BYTES,
            # The report each second should not need a new connection.
            most_kept=1,
        )

    def close(self) -> Deferred[Any]:
        """Close the kept connections."""
        return self._web.close()

    async def send(
        self, path: bytes, body: dict[str, str] | None = None, method: bytes = b"POST"
    ) -> None:
        """
        Send one request without a result.

        :param path: "/ready", "/health", "/shutdown" or "/metadata/label".
        :raises NotAnswered: it was not accepted.
        """
        answer = await self._web.post(
            self._base + path,
            {b"Content-Type": [b"application/json"]},
            msgspec.json.encode(body or {}),
            method,
        )
        if answer.status >= 300:
            raise NotAnswered(f"{path.decode()} is answered with {answer.status}")

    async def look(self) -> SeenGameServer:
        """
        Read this game server.

        :raises NotAnswered: it cannot be read.
        """
        text = await self._web.fetch(self._base + b"/gameserver", b"application/json")
        try:
            return msgspec.json.decode(text, type=SeenGameServer)
        except msgspec.MsgspecError as error:
            raise NotAnswered(
                f"the answer to /gameserver is invalid: {error}"
            ) from error

    async def watch(self, seen: Callable[[SeenGameServer], None]) -> None:
        """
        Watch this game server until the stream ends.

        :param seen: called with it at first, and after each change.
        :raises NotAnswered: the stream cannot be opened.
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
        # The stream does not have earlier changes.
        seen(await self.look())
        await lines.ended

    async def insist(
        self,
        request: Callable[[], Any],
        seconds: float,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Any:
        """
        Repeat a request until it is accepted.

        :param is_wanted: called before it is repeated: is it still needed?
        :raises NotAnswered: it was not accepted in time.
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
    Wait until a node has allocated this game server, then run it.

    :ivar program: the running game server; ``None`` before.
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
        :param settings: the program's settings, without a node.
        :param reactor: runs it.
        :param begin: makes the program when a node has allocated it; gets the
            settings, and a function to call when it has nothing left to do.
        :raises Misconfigured: a game cannot be loaded.
        """
        assert settings.agones_port is not None
        self._settings, self._reactor, self._begin = settings, reactor, begin
        self._sdk = AgonesSdk(reactor, settings.agones_port)
        # While no match waits for it.
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
        """Report that it is alive, and then that it is Ready."""
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
                "this game server was started again, in state {state}: asking Agones "
                "to end it",
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
                "the settings that the node has written on this game server are wrong: "
                "{why}",
                why=str(error),
            )
            self._ended()
            return
        self._log.info("allocated: dialing the node at {node}", node=settings.node)
        self.program.startService()

    def _ended(self) -> None:
        """Ask Agones to end the pod, because the program has nothing left to do."""
        if self._is_over or not self.running:
            return
        self._is_over = True
        self._leaving = self._reactor.callLater(_TERM_SECONDS, self._stop_reactor)
        self._shutting = Deferred.fromCoroutine(self._shut_down(_START_SECONDS))

    async def _shut_down(self, seconds: float) -> None:
        try:
            await self._sdk.insist(lambda: self._sdk.send(b"/shutdown"), seconds)
        except NotAnswered as error:
            self._log.error("Agones did not accept Shutdown: {why}", why=str(error))
            self._stop_reactor()

    def _stop_reactor(self) -> None:
        self._leaving = None
        if self._reactor.running and self.running:
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Let matches go on for a while, then end them, and report the end."""
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
        # The SDK's server waits for this, for as long as the pod's grace.
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
