"""What a game server's process is told."""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from vinom.tap.gameserver import GameServerSettings, main


class SettingsTests(SynchronousTestCase):
    """The settings that travel from the node through the fork server."""

    def test_bad_settings(self) -> None:
        """
        A process that is told nonsense says which field, and ends.
        """
        for settings, word in (
            ({}, "control_socket"),
            ({"control_socket": "s", "rooms_per_process": "x"}, "rooms_per_process"),
            ({"control_socket": "s", "colour": 1}, "colour"),
            ({"control_socket": "s", "games": ["nowhere:Nothing"]}, "nowhere"),
        ):
            with self.assertRaises(SystemExit) as caught:
                main("g1", settings)
            self.assertIn(word, str(caught.exception))

    def test_limits_and_place(self) -> None:
        """
        Limits and bounds mean what they say.
        """
        read = msgspec.convert(
            {"control_socket": "s", "recordings": "/r", "recordings_days": 2},
            GameServerSettings,
        )
        self.assertEqual(500.0, read.limits().packet_burst)
        place = read.place()
        self.assertEqual((Path("/r"), 172800.0), (place.directory, place.most_age))
