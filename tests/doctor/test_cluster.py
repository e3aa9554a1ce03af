"""``vinom doctor`` finds out whether there is a cluster for game servers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet.test_cluster import CONFIG
from vinom.doctor.cluster import examine_cluster
from vinom.doctor.findings import Finding
from vinom.node.sources import gather


class ClusterTests(SynchronousTestCase):
    """Nodes whose game servers are pods."""

    def examine(self, kubeconfig: Path) -> Finding:
        """Examine a node with a kubeconfig; returns the only finding."""
        settings = gather(
            {
                "fleet": "kubernetes",
                "pods": '{"image": "a"}',
                "game_server_link": "4700",
                "kubeconfig": str(kubeconfig),
            },
            {},
        )
        (found,) = examine_cluster(settings)
        return found

    def test_local(self) -> None:
        """
        A node that has its game servers here needs no cluster.
        """
        self.assertEqual(examine_cluster(gather({}, {})), [])

    def test_no_cluster(self) -> None:
        """
        A client that is not installed, a file that is missing, and a server that does
        not answer are failures, each with what to do.
        """
        path = Path(self.mktemp())
        missing = self.examine(path)
        self.assertEqual(missing.verdict, "failure")
        self.assertIn(f"{path}: No such file", missing.told)
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = f"127.0.0.1:{server.getsockname()[1]}"
            path.write_text(CONFIG.replace("127.0.0.1:9", place))
            found = self.examine(path)
            self.assertEqual(found.verdict, "ok", found.told)
            self.assertIn(f"http://{place}, namespace games", found.told)
        gone = self.examine(path)
        self.assertEqual(gone.verdict, "failure")
        self.assertIn(f"http://{place} cannot be reached", gone.told)
        name = "vinom.fleet.kubernetes.api"
        self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
        sys.modules[name] = None  # type: ignore[assignment]  # Not to be imported.
        missing = self.examine(path)
        self.assertIn("need Kubernetes' Python client", missing.told)
        self.assertEqual(missing.remedy, "pip install vinom[kubernetes]")
