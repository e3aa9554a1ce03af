"""What ``vinom doctor --gateway`` reports."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import authority
from tests.support.redis_servers import redis_for
from vinom.tools.commands.child_node import free_port
from vinom.tools.commands.cli import main

RULES = """
[services.lobby]
strategy = "round_robin"
endpoints = ["127.0.0.1:{there}", "127.0.0.1:{gone}"]
[services.account]
strategy = "round_robin"
endpoints = ["127.0.0.1:{there}"]
"""


class GatewayTests(SynchronousTestCase):
    """The rows of a gateway."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def examine(self, settings: str) -> tuple[int, dict[str, list[str]]]:
        """Run the command; returns its exit code, and the rows by verdict."""
        (self.folder / "gateway.toml").write_text(settings)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            path = str(self.folder / "gateway.toml")
            code = main(["doctor", "--json", "--gateway", path])
        rows: dict[str, list[str]] = {}
        for one in json.loads(said.getvalue())["findings"]:
            text = f"{one['name']}: {one['message']} -> {one['remedy']}"
            rows.setdefault(one["verdict"], []).append(text)
        return code, rows

    def test_rules_and_back_ends(self) -> None:
        """
        It names the rule that no client can reach, and the back end that is gone.
        """
        there = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(there.close)
        port, gone = there.getsockname()[1], free_port()
        rules = RULES.format(there=port, gone=gone)
        (self.folder / "routes.toml").write_text(rules)
        leaf = authority().issue("play.example")
        (self.folder / "c.pem").write_bytes(leaf.certificate)
        (self.folder / "c.key").write_bytes(leaf.key)
        settings = (
            f'listen = ["tcp:4600"]\nroutes = "{self.folder}/routes.toml"\n'
            f'tls_certificate_file = ["{self.folder}/c.pem"]\n'
            f'tls_key_file = ["{self.folder}/c.key"]\n'
        )
        code, rows = self.examine(settings)
        self.assertEqual(code, 1)
        (bad,) = rows["failure"]
        self.assertIn(f"127.0.0.1:{gone} cannot be reached: Connection refused", bad)
        self.assertIn("account: no client can reach it", str(rows["warning"]))
        self.assertIn(f"127.0.0.1:{port} accepts", str(rows["ok"]))
        (self.folder / "routes.toml").write_text(
            rules.replace('"round_robin"', '"round_robin"\ntransport = "packets+tls"')
        )
        other = authority().issue("other.example")
        (self.folder / "c.key").write_bytes(other.key)
        code, rows = self.examine(settings)
        certificate, needs = rows["failure"]
        self.assertIn("c.key does not belong to", certificate)
        self.assertIn("set link_certificate_file", needs)

    def test_store(self) -> None:
        """
        It says whether the Redis with the rules answers.
        """
        server = redis_for(self)
        settings = f'listen = ["tcp:4600"]\nstore = "{server.url}"\n'
        code, rows = self.examine(settings)
        self.assertEqual(code, 0, rows)
        self.assertIn("without TLS", str(rows["warning"]))
        server.kill()
        code, rows = self.examine(settings)
        self.assertEqual(code, 1)
        self.assertIn("store: it does not answer", str(rows["failure"]))
