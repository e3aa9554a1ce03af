"""How far the regions are, as players measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Site

from tests.lobby.matchmaking.test_named_queues import GAMES, TABLES
from tests.support.lobbies import LobbyWorld
from tests.support.lobby_lines import LobbyEndpoint
from vinom.base.messages.catalogue import PROTOCOL
from vinom.base.messages.lobby import Hello, RegionOffer
from vinom.client.lobby import LobbyClient
from vinom.client.sdk import measure_echoes
from vinom.lobby.matchmaking.queues import read_tables
from vinom.net.web.answers import health_pages


class MeasureTests(TestCase):
    """Echoes of real servers."""

    async def test_median(self) -> None:
        """
        A region that answers has a time; one where nobody listens is left out.
        """
        port: Any = reactor.listenTCP(  # type: ignore[attr-defined]
            0, Site(health_pages(lambda: None)), interface="127.0.0.1"
        )
        gone: Any = reactor.listenTCP(0, Site(None), interface="127.0.0.1")  # type: ignore[attr-defined]
        nowhere = gone.getHost().port
        await gone.stopListening()
        found = await measure_echoes(
            reactor,
            [
                RegionOffer("eu", f"http://127.0.0.1:{port.getHost().port}/echo"),
                RegionOffer("us", f"http://127.0.0.1:{nowhere}/echo"),
            ],
        )
        await port.stopListening()
        self.assertEqual(set(found), {"eu"})
        self.assertGreaterEqual(found["eu"], 0.0)

    async def test_none(self) -> None:
        """
        Without regions nothing is measured.
        """
        self.assertEqual(await measure_echoes(reactor, []), {})


class QueueTests(SynchronousTestCase):
    """Echoes of those who queue."""

    def test_sent_with_queue(self) -> None:
        """
        A client measures once, before it enters a queue with a name.
        """
        regions = {"eu": "http://eu/echo", "us": "http://us/echo"}
        world = LobbyWorld(games=GAMES, tables=read_tables(TABLES), regions=regions)
        asked: list[str] = []

        def measure(offered: Sequence[RegionOffer]) -> Deferred[dict[str, float]]:
            asked.extend(one.region for one in offered)
            return succeed({"eu": 12.5, "us": 80.0})

        clients = []
        for name in ("ann", "bob"):
            client = LobbyClient(
                world.clock,
                LobbyEndpoint(world),
                Hello(PROTOCOL, name),
                measure=measure,
            )
            clients.append(client.find_match("arena", queue="near"))
        world.clock.pump([0.0] * 8)
        found = [self.successResultOf(one) for one in clients]
        self.assertEqual(asked, ["eu", "us"] * 2)
        self.assertEqual(found[0].match_id, found[1].match_id)
