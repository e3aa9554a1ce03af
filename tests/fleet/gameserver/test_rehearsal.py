"""Tests of vinom.fleet.gameserver.rehearsal: what is done once for all game servers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import short_folder
from vinom.fleet.gameserver.rehearsal import rehearse, rehearse_reactor


def descriptors() -> set[str]:
    """What this process has open; the listing's own is closed again by then."""
    found = {name: Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")}
    return {
        f"{name} {path.readlink()}" for name, path in found.items() if path.exists()
    }


class RehearsalTests(SynchronousTestCase):
    """A match before the first player comes."""

    def test_is_a_whole_match(self) -> None:
        """
        Players shake hands, join, act and see what came of it: all that a game
        server will have to do is done once before.
        """
        figures = rehearse()
        self.assertEqual(figures["handshake_finished"], 2)
        self.assertEqual(figures["joins_accepted"], 2)
        self.assertEqual(figures["players"], 2)
        self.assertEqual(figures["admission_cookie_asked"], 2)
        self.assertGreater(figures["datagrams_in"], 50)
        self.assertGreater(figures["datagrams_out"], 50)
        self.assertEqual(figures["rooms_gone_on"], 1, "no other one went on with it")

    def test_leaves_nothing(self) -> None:
        """
        Neither a descriptor nor a file with a key is there afterwards.
        """
        folder = short_folder(self)
        self.patch(tempfile, "tempdir", str(folder))
        before = descriptors()
        rehearse()
        self.assertEqual(before, descriptors())
        self.assertEqual([], list(folder.iterdir()))

    def test_reactor(self) -> None:
        """
        On a separate reactor a link is made, and a port receives a datagram.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(2, rehearse_reactor(Path(folder)))
