"""Queues that are long, and in which nobody is matched."""

from __future__ import annotations

from typing import Any

from tests.support.lobbies import LobbyWorld, SizeOptions
from vinom.base.model import Player, QueueEntry
from vinom.game import Game
from vinom.lobby.conversation.conversation import Bounds

#: How many wait in a long queue.
MANY = 100_000


class Crowd(Game[Any, Any]):
    """A game for more players than ever wait."""

    name = "crowd"
    actions = SizeOptions
    options = SizeOptions
    seats = (10 * MANY, 10 * MANY)


def crowded(waiting: int, kind: str) -> LobbyWorld:
    """
    Make a lobby in which players wait.

    :param waiting: how many.
    :param kind: "one queue" if all ask for the same; "other options" if no two
        have; "suspended" if all have the same and are away.
    """
    world = LobbyWorld(
        games={"crowd": Crowd()}, bounds=Bounds(rate=1e9, burst=1e9, idle_seconds=1e9)
    )
    since = world.clock.seconds() - 100.0
    for number in range(waiting):
        size = 100 + number if kind == "other options" else 10
        world.lobby.enqueue(
            QueueEntry(
                f"e{number}",
                (Player(f"p{number}", "somebody"),),
                "crowd",
                since,
                b'{"size":%d}' % size,
                (b"{}",),
                suspended=kind == "suspended",
            )
        )
    return world


KINDS = ("one queue", "other options", "suspended")
