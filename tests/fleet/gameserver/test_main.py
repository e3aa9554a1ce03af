"""The settings of a game server's process."""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.limits.pressure import Rate
from vinom.fleet.gameserver.main import GameServerSettings, main
from vinom.fleet.gameserver.seats import ConnectionLimits
from vinom.net.dtls.admission import CALM, TIGHT, StrangerPolicy
from vinom.node.build import game_server_program
from vinom.node.settings import Settings


class SettingsTests(SynchronousTestCase):
    """The settings that travel from the node through the fork server."""

    def test_bad_settings(self) -> None:
        """
        A process with invalid settings names the field, and ends.
        """
        for settings, word in (
            ({}, "control"),
            ({"control": "unix:s", "rooms_per_process": "x"}, "rooms_per_process"),
            ({"control": "unix:s", "colour": 1}, "colour"),
            ({"control": "unix:s", "games": ["nowhere:Nothing"]}, "nowhere"),
        ):
            with self.assertRaises(SystemExit) as caught:
                main("g1", settings)
            self.assertIn(word, str(caught.exception))

    def test_limits_and_recordings(self) -> None:
        """
        Limits follow from the settings.
        """
        read = msgspec.convert(
            {"control": "unix:s", "recordings": "/r", "recordings_days": 2},
            GameServerSettings,
        )
        self.assertEqual(500.0, read.limits().connection.packet_burst)
        place = read.make_recordings(Clock())  # type: ignore[arg-type]  # a clock is enough
        self.assertEqual((Path("/r"), 172800.0), (place.directory, place.most_age))

    def test_strangers(self) -> None:
        """
        The limits for strangers follow from the settings, and always allow a handshake.
        """
        read = msgspec.convert(
            {
                "control": "unix:s",
                "handshake_rate": 0.1,
            },
            GameServerSettings,
        )
        policy = read.limits().strangers
        self.assertEqual(CALM.hellos, policy.calm.hellos)
        self.assertEqual(TIGHT.hellos, policy.tight.hellos)
        self.assertEqual(Rate(0.1, 4.0), policy.handshakes)
        many = GameServerSettings("", handshake_rate=100.0).limits().strangers
        self.assertEqual(Rate(5000.0, 10000.0), many.calm.hellos)
        self.assertEqual(TIGHT.hellos, many.tight.hellos)

    def test_defaults_are_those_of_the_parts(self) -> None:
        """
        A node with default settings has the limits that the manual names.
        """
        read = msgspec.convert(
            game_server_program(Settings()).settings,
            GameServerSettings,
        )
        self.assertEqual(StrangerPolicy(), read.limits().strangers)
        self.assertEqual(ConnectionLimits(), read.limits().connection)

    def test_time_to_come(self) -> None:
        """
        Players have as long to come to a match as the operator gives them.
        """
        read = msgspec.convert(
            game_server_program(Settings(join_seconds=45.0)).settings,
            GameServerSettings,
        )
        self.assertEqual(45.0, read.join_seconds)

    def test_descriptors_for_each_room(self) -> None:
        """
        A game server of many rooms has a descriptor for each one's recording.
        """
        one = game_server_program(Settings())
        many = game_server_program(Settings(rooms_per_process=300))
        self.assertEqual(2 * 299, many.descriptors - one.descriptors)
