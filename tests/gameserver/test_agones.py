"""What a game server reads from Agones' SDK."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.agones.sdk import SdkServer
from tests.support.kubernetes_api.objects import merged
from vinom.control.messages import CONTROL_PROTOCOL
from vinom.fleet.kubernetes.objects import SETTINGS
from vinom.gameserver.agones import AgonesService, EventLines, SeenGameServer
from vinom.gameserver.settings import Settings
from vinom.gameserver.twistd import Options


def event(state: str, **annotations: str) -> bytes:
    """Write an event as the SDK's page has it."""
    meta = {"name": "local", "generation": "1", "annotations": annotations}
    value = {"object_meta": meta, "status": {"state": state, "ports": []}}
    return json.dumps({"result": value}).encode() + b"\n"


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#: What a node writes on a game server.
GIVEN = {
    "VINOM_GAMESERVER_NODE": "n1.example.org:4750",
    "VINOM_GAMESERVER_AUTHORITY": PEM,
    "VINOM_GAMESERVER_ID": "abc",
    "VINOM_GAMESERVER_SECRET": "s3cret",
}


class OneGameServer:
    """A game server of Agones, and nothing else of Agones."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {
            "metadata": {
                "name": "one",
                "namespace": "games",
                "uid": "1",
                "resourceVersion": "1",
            },
            "status": {"state": "Scheduled"},
        }
        self.sdk = SdkServer(reactor, self, "one")
        self.sdk.changed(self.value)

    @property
    def state(self) -> str:
        return str(self.value["status"]["state"])

    def change(self, name: str, **what: Any) -> None:
        self.value = merged(self.value, what)
        self.sdk.changed(self.value)

    def allocate(self, given: str) -> None:
        self.change(
            "one",
            status={"state": "Allocated"},
            metadata={"annotations": {SETTINGS: given}},
        )


class WaitingTests(TestCase):
    """The time until a node has it, and its end."""

    timeout = 20

    async def setUp(self) -> None:
        self.one = OneGameServer()
        self.begun: list[tuple[Settings, Callable[[], None]]] = []
        settings = Settings(agones_port=self.one.sdk.port, log_level="warn")
        self.service = AgonesService(settings, reactor, self.begin)

    async def tearDown(self) -> None:
        if self.service.running:
            await self.service.stopService()
        await self.one.sdk.stop()
        # Connections close when the other end has.
        await deferLater(reactor, 0.05)

    def begin(self, settings: Settings, ended: Callable[[], None]) -> Service:
        self.begun.append((settings, ended))
        return Service()

    async def until(self, is_so: Callable[[], Any]) -> None:
        while not is_so():
            await deferLater(reactor, 0.01)

    async def test_from_ready_to_shutdown(self) -> None:
        """
        It is Ready only when it can be chosen by its version, takes the node of its
        allocation, and asks for its end when it has nothing left to do.
        """
        self.one.sdk.is_away = True
        self.service.startService()
        await self.until(lambda: ("GET", "/gameserver") in self.one.sdk.requests)
        self.one.sdk.is_away = False
        await self.until(lambda: self.one.state == "Ready")
        self.assertEqual(
            self.one.value["metadata"]["labels"],
            {"agones.dev/sdk-vinom-control": str(CONTROL_PROTOCOL)},
        )
        asked = self.one.sdk.requests
        self.assertLess(
            asked.index(("PUT", "/metadata/label")), asked.index(("POST", "/ready"))
        )
        self.assertIn(("POST", "/health"), asked)
        self.one.change("one", metadata={"labels": {"touched": "yes"}})
        await deferLater(reactor, 0.05)
        self.assertEqual(self.begun, [])
        self.one.allocate(json.dumps(GIVEN))
        await self.until(lambda: self.begun)
        ((settings, ended),) = self.begun
        self.assertEqual(settings.node, "n1.example.org:4750")
        self.assertEqual((settings.id, settings.secret), ("abc", "s3cret"))
        self.assertEqual(settings.log_level, "warn")
        self.assertIsNone(settings.agones_port)
        # It is changed again by others, which is nothing new.
        self.one.change("one", metadata={"labels": {"touched": "again"}})
        ended()
        await self.until(lambda: self.one.state == "Shutdown")
        self.assertEqual(len(self.begun), 1)
        self.assertIs(self.service.running, 1)

    async def test_stream_ends(self) -> None:
        """
        An allocation that came while no stream was there is noticed.
        """
        self.service.startService()
        await self.until(lambda: ("GET", "/watch/gameserver") in self.one.sdk.requests)
        self.one.sdk.is_away = True
        self.one.sdk.cut_watches()
        self.one.allocate(json.dumps(GIVEN))
        self.one.sdk.is_away = False
        await self.until(lambda: self.begun)

    async def test_started_again(self) -> None:
        """
        A container that is started again is no game server any more: it asks for its
        end, and is not Ready.
        """
        self.one.allocate(json.dumps(GIVEN))
        self.service.startService()
        await self.until(lambda: self.one.state == "Shutdown")
        self.assertNotIn(("POST", "/ready"), self.one.sdk.requests)
        self.assertEqual(self.begun, [])

    async def test_wrong_settings(self) -> None:
        """
        What another program has written there ends it, with a reason in the log.
        """
        for given in ("3", "{}", json.dumps({**GIVEN, "VINOM_GAMESERVER_NODDE": "x"})):
            self.one.change("one", status={"state": "Scheduled"})
            self.service = AgonesService(
                Settings(agones_port=self.one.sdk.port), reactor, self.begin
            )
            self.one.change("one", metadata={"annotations": {SETTINGS: None}})
            self.service.startService()
            await self.until(lambda: self.one.state == "Ready")
            self.one.allocate(given)
            await self.until(lambda: self.one.state == "Shutdown")
            await self.service.stopService()
        self.assertEqual(self.begun, [])

    async def test_asked_to_end(self) -> None:
        """
        When Agones ends its pod it says Shutdown, so that its SDK's server ends, too.
        """
        self.service.startService()
        await self.until(lambda: self.one.state == "Ready")
        await self.service.stopService()
        self.assertEqual(self.one.state, "Shutdown")


class EventLinesTests(SynchronousTestCase):
    def read(self, *parts: bytes) -> list[SeenGameServer]:
        found: list[SeenGameServer] = []
        lines = EventLines(found.append)
        lines.makeConnection(StringTransport())
        for part in parts:
            lines.dataReceived(part)
        return found

    def test_every_split(self) -> None:
        """
        Events are the same, however the stream is cut into pieces.
        """
        stream = event("Ready") + event("Allocated", **{SETTINGS: "{}"})
        whole = self.read(stream)
        self.assertEqual([one.status.state for one in whole], ["Ready", "Allocated"])
        self.assertEqual(whole[1].meta.annotations, {SETTINGS: "{}"})
        for at in range(len(stream) + 1):
            self.assertEqual(self.read(stream[:at], stream[at:]), whole)
        self.assertEqual(self.read(*(bytes([one]) for one in stream)), whole)

    def test_garbage(self) -> None:
        """
        What is no event is ignored, and the next one is read.
        """
        error = b'{"error": {"code": 14, "message": "transport is closing"}}\n'
        for garbage in (b"\n", b"{\n", b"\xff\n", b'{"result": 3}\n', error):
            found = self.read(garbage, event("Ready"))
            self.assertEqual(found[-1].status.state, "Ready")

    def test_too_long(self) -> None:
        """
        A line without an end does not fill the memory: the stream is dropped.
        """
        lines = EventLines(lambda _: None)
        transport = StringTransport()
        lines.makeConnection(transport)
        for _ in range(20):
            lines.dataReceived(b"x" * 100_000)
        self.assertTrue(transport.disconnecting)

    def test_ended(self) -> None:
        """
        Whoever watches learns that the stream has ended, and may end it.
        """
        lines = EventLines(lambda _: None)
        lines.makeConnection(StringTransport())
        lines.connectionLost()
        self.successResultOf(lines.ended)
        lines = EventLines(lambda _: None)
        transport = StringTransport()
        lines.makeConnection(transport)
        lines.ended.addErrback(lambda _: None)
        lines.ended.cancel()
        self.assertTrue(transport.disconnecting)
        lines.connectionLost()


class PortTests(SynchronousTestCase):
    """Where the SDK is."""

    def read(self, *arguments: str, **environment: str) -> Settings:
        options = Options()
        with patch.dict("os.environ", environment, clear=True):
            options.parseOptions(arguments)
        read: Settings = options["settings"]
        return read

    def test_as_agones_gives_it(self) -> None:
        """
        Under Agones nothing has to be set; a node's own pods are no game servers of
        Agones, even if its variable is there.
        """
        self.assertEqual(self.read(AGONES_SDK_HTTP_PORT="9358").agones_port, 9358)
        read = self.read("--agones-port=7", AGONES_SDK_HTTP_PORT="9358")
        self.assertEqual(read.agones_port, 7)
        read = self.read(AGONES_SDK_HTTP_PORT="9358", **GIVEN)
        self.assertIsNone(read.agones_port)
