"""What a request costs while many wait."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

import vinom
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
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_OURS):
            called.append(f"{code.co_filename.removeprefix(_OURS)}: {code.co_qualname}")

    sys.setprofile(note)
    try:
        said = line.ask("queue", game="crowd")
        world.clock.advance(0)
    finally:
        sys.setprofile(None)
    place = 1 if kind == "other options" else waiting + 1
    assert said[0]["data"]["position"] == place, said
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
            self.assertIn("matchmaking/matchmaker.py: Matchmaker._round", few)
            self.assertEqual(few, frames_of_a_request(_MANY, kind), kind)
