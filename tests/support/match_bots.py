"""Bots that play one match of the quick maze, for tests with real processes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.support.quick import QuickMaze
from vinom.client.bots import Bot, Habits, Tally
from vinom.client.match import Match
from vinom.client.sdk import Client
from vinom.game import Chance

OPTIONS = {"rows": 4, "cols": 5}


def play_one(
    client: Client,
    number: int,
    found: Callable[[Match], object],
    pace: float = 10.0,
) -> Deferred[None]:
    """
    Queue, and play one match to its end.

    :param number: seed of what the bot does.
    :param found: called with the match.
    """

    def watch(match: Match) -> None:
        found(match)
        bot.stop()

    bot = Bot(
        reactor,
        client,
        Habits(QuickMaze.name, QuickMaze(), OPTIONS, pace),
        Tally(),
        Chance(number),
        watch=watch,
    )
    return bot.run()
