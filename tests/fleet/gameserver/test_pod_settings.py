"""The settings of a game server that runs elsewhere: mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vinom.errors import Misconfigured
from vinom.fleet.gameserver.settings import SOURCES, Settings

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
WHOLE = {
    "VINOM_GAMESERVER_NODE": "n1.example.org:4700",
    "VINOM_GAMESERVER_ID": "abc",
    "VINOM_GAMESERVER_AUTHORITY": PEM,
    "VINOM_GAMESERVER_SECRET": "s3cret",
}


class PodSettingsTests(SynchronousTestCase):
    def read(self, **changes: str | None) -> Settings:
        named = {f"VINOM_GAMESERVER_{name}": text for name, text in changes.items()}
        found: dict[str, Any] = {**WHOLE, **named}
        given = {name: text for name, text in found.items() if text is not None}
        return Settings(**SOURCES.gather({}, given))

    def test_as_a_node_sets_them(self) -> None:
        """
        What a node writes into a pod's spec is enough.
        """
        limits = json.dumps({"control": "", "rooms_per_process": 3})
        read = self.read(LIMITS=limits)
        self.assertEqual((read.node, read.id), ("n1.example.org:4700", "abc"))
        assert read.limits is not None
        self.assertEqual(read.limits.rooms_per_process, 3)

    def test_mistakes(self) -> None:
        """
        What is missing, doubled or wrong is named, with what to do.
        """
        for changes, words in (
            ({"NODE": None}, "node is not set"),
            ({"ID": None}, "VINOM_GAMESERVER_ID"),
            ({"ID": "Not A Label"}, "VINOM_GAMESERVER_ID must be 1 to 63"),
            ({"AUTHORITY": None}, "set authority or authority_file"),
            ({"AUTHORITY": "garbage"}, "must be certificates in PEM"),
            ({"AUTHORITY_FILE": "/ca.pem"}, "set authority or authority_file"),
            ({"SECRET": None}, "set exactly one of secret, secret_file and token_file"),
            (
                {"TOKEN_FILE": "/token"},
                "set exactly one of secret, secret_file and token_file",
            ),
            ({"LIMITS": "{}"}, "must be the JSON that a node passes on"),
            ({"NODDE": "x"}, "did you mean 'VINOM_GAMESERVER_NODE'"),
        ):
            with self.subTest(changes):
                error = self.assertRaises(Misconfigured, self.read, **changes)
                self.assertIn(words, str(error))

    def test_only_one_way_to_be_known(self) -> None:
        """
        A secret in a file, or a token, will do as well.
        """
        for name in ("SECRET_FILE", "TOKEN_FILE"):
            read = self.read(SECRET=None, **{name: "/run/proof"})
            self.assertEqual(getattr(read, name.lower()), Path("/run/proof"))
