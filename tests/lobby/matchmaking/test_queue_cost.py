"""What a request costs while many wait."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import vinom
from tests.support.lobbies import LobbyWorld
from tests.support.queues import KINDS, MANY, crowded

#: Enough to find out a search; ``VINOM_CROWDS=full`` in the environment has all.
_MANY = MANY if os.environ.get("VINOM_CROWDS") == "full" else 10_000

_OURS = f"{Path(vinom.__file__).parent}{os.sep}"


def frames_of_a_request(waiting: int, kind: str) -> list[str]:
    """List calls of our functions, from a `queue` request to the end of its round."""
    world = crowded(waiting, kind)
    # The game's defaults are worked out once.
    world.queued("bob", "crowd")[0].ask("cancel")
    line, _ = world.hello("ann")
    world.clock.advance(0)
    said: list[dict[str, Any]] = []

    def ask() -> None:
        said.extend(line.ask("queue", game="crowd"))
        world.clock.advance(0)

    called = frames_of(ask)
    place = 1 if kind == "other options" else waiting + 1
    assert said[0]["data"]["position"] == place, said
    return called


def lines_of_a_cancel(matches: int) -> int:
    """Count lines of our functions that run when a player cancels while others play."""
    world = LobbyWorld()
    for number in range(2 * matches):
        world.queued(f"p{number}", "duel")
        world.clock.advance(0)
    assert len(world.fleet.hosted) == matches
    line, _ = world.hello("ann")
    count = 0

    def note(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return note if frame.f_code.co_filename.startswith(_OURS) else None

    before = sys.gettrace()
    sys.settrace(note)
    try:
        line.ask("cancel")
    finally:
        sys.settrace(before)
    assert count > 10
    return count


def frames_of(work: Callable[[], None]) -> list[str]:
    """Do *work*, and list the calls of our functions."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_OURS):
            called.append(f"{code.co_filename.removeprefix(_OURS)}: {code.co_qualname}")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


class QueueCostTests(SynchronousTestCase):
    """Joining a long queue costs no more than joining a short one."""

    def test_same_frames(self) -> None:
        """
        A `queue` request, with the round of matchmaking that follows it, does the same
        work whether ten others wait or a hundred thousand: in one queue, in as many
        queues, or all of them away.
        """
        for kind in KINDS:
            few = frames_of_a_request(10, kind)
            self.assertIn("lobby/matchmaking/rounds.py: Rounds._round", few)
            self.assertEqual(few, frames_of_a_request(_MANY, kind), kind)

    def test_cancel(self) -> None:
        """
        A request to cancel costs the same whether few or many matches are being played.
        """
        self.assertEqual(lines_of_a_cancel(2), lines_of_a_cancel(100))
