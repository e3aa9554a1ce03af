"""Let players go whose nodes may be gone."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from vinom.client.sdk import Client


def hang_up(clients: list[Client]) -> Deferred[None]:
    """
    Let all players go, and those who were about to dial give up.

    :param clients: theirs; empty afterwards.
    """
    seconds = 0.5 if clients else 0.0
    while clients:
        clients.pop().close()
    return deferLater(reactor, seconds)  # type: ignore[arg-type]
