"""Tests that a program is missing for are skipped, and never without a word in CI."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.support.needs import PACKAGES, needs, path_of

_RUN = Path(__file__).resolve().parent.parent.parent / ".ci" / "run"


class NeedsTests(SynchronousTestCase):
    def lose(self, program: str) -> None:
        """Have a machine with everything but *program*."""
        found = {name: f"/usr/bin/{name}" for name in PACKAGES if name != program}
        self.patch(shutil, "which", found.get)

    def run_by(self, **variables: str) -> None:
        self.patch(os, "environ", variables)

    def test_skipped(self) -> None:
        """
        On a developer's machine the test is skipped, and names the Debian package.
        """
        self.lose("gnutls-cli")
        self.run_by(CI="")
        error = self.assertRaises(SkipTest, needs, "openssl", "gnutls-cli")
        self.assertIn("not installed: gnutls-cli (Debian: gnutls-bin)", str(error))

    def test_fails_in_ci(self) -> None:
        """
        With ``CI`` set it fails, with the same sentence.
        """
        self.lose("gnutls-cli")
        self.run_by(CI="true")
        error = self.assertRaises(AssertionError, needs, "gnutls-cli")
        self.assertIn("not installed: gnutls-cli (Debian: gnutls-bin)", str(error))
        self.assertRaises(AssertionError, path_of, "gnutls-cli")

    def test_installed(self) -> None:
        """
        Where everything is there, nothing happens.
        """
        self.lose("gnutls-cli")
        for variables in ({}, {"CI": "true"}):
            self.run_by(**variables)
            needs("openssl", "node")
            self.assertEqual(path_of("node"), "/usr/bin/node")

    def test_ci_installs_them(self) -> None:
        """
        ``.ci/run`` installs every program that tests need, by the same package.
        """
        listed = re.findall(r"^need (\S+) (\S+)", _RUN.read_text(), re.MULTILINE)
        self.assertEqual(PACKAGES.items() - set(listed), set())
