"""The main job as a whole, by way of the node: game servers that nobody can reach."""

from __future__ import annotations

from tests.alone import main_job
from tests.system import test_cross_transport


class RelayedManyMatchesTests(main_job.ManyMatchesTests):
    """Fifty matches at once, whose players are all connected to the node."""

    more = ("--udp=relay",)
    # OpenSSL leaves gaps after two hundred handshakes a round: 100 MB after four rounds
    # and 105 MB after twelve were seen. Connections that stay would take 8 MB a round.
    growth = 5e6


class RelayedCrossTransportTests(test_cross_transport.CrossTransportTests):
    """All transports in one match, whose game server nobody can reach."""

    async def start(self, *arguments: str) -> None:
        await super().start("--udp=relay", *arguments)
