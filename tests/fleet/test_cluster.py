"""How a node finds the cluster that its settings name."""

from __future__ import annotations

from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from vinom.client.match import LONGEST_SILENCE
from vinom.errors import Misconfigured
from vinom.fleet.kubernetes.api import find_cluster
from vinom.node.build import AWAY_MARGIN
from vinom.node.settings import Settings

CONFIG = """
apiVersion: v1
kind: Config
current-context: blue
contexts: [{name: blue, context: {cluster: one, user: me, namespace: games}}]
clusters: [{name: one, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: me, user: {token: x}}]
"""


class KubeconfigTests(SynchronousTestCase):
    """The setting ``pods.kubeconfig``."""

    def refused(self, path: Path, context: str = "") -> str:
        """Use a file; returns why it cannot be used."""
        return str(
            self.assertRaises(Misconfigured, find_cluster, str(path), context, "games")
        )

    def test_mistakes(self) -> None:
        """
        A file that is missing, or is none, is one sentence with its name: what the
        client makes of it did not name it, or was a traceback.
        """
        path = Path(self.mktemp())
        why = self.refused(path)
        self.assertIn(f"cannot read kubeconfig {path.absolute()}: No such file", why)
        for text in ("root:x:0:0:root", "[1, 2]", "{", "\t", "42", ""):
            path.write_text(text)
            self.assertIn(f"kubeconfig {path.absolute()}", self.refused(path), text)
        path.write_bytes(b"\xff\xfe\x00")
        self.assertIn(f"kubeconfig {path.absolute()}", self.refused(path))
        path.write_text(CONFIG)
        self.assertIn("object with name green", self.refused(path, "green"))

    def test_namespace(self) -> None:
        """
        Pods are made in the context's namespace unless the settings name another.
        """
        path = Path(self.mktemp())
        path.write_text(CONFIG)
        self.assertEqual(find_cluster(str(path), "", "").namespace, "games")
        self.assertEqual(find_cluster(str(path), "blue", "other").namespace, "other")


class PatienceTests(SynchronousTestCase):
    """A machine dies with the pod of a match."""

    def test_players_are_still_there(self) -> None:
        """
        Players try to come back for longer than it takes until the match may go on in
        another pod, and that one may need as long as the first hello of a busy node.
        """
        lease = attrs.fields_dict(Settings)["orphan_seconds"].default
        self.assertGreater(LONGEST_SILENCE, lease + AWAY_MARGIN + 30)
