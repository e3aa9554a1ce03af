"""Keys that change under a node that is played on."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.support.lines import typed
from tests.support.programs import until_warm
from tests.system.test_node import OneNode, vinom
from vinom.net.keys.authority import Authority
from vinom.tools.commands.admin import AdminLine


class NodeKeyTests(OneNode):
    async def leaf_seen_with(self, anchor: str) -> bytes:
        """Open TLS to the lobby, trusting only *anchor*; returns its certificate."""
        return await deferToThread(_leaf_seen_with, self.place.port, anchor)

    async def test_rotation_drops_nobody(self) -> None:
        """
        While bots play match after match every kind of key is rotated, twice: no
        match fails, and clients that pinned any of the authorities open the lobby.
        """
        await self.serving()
        await until_warm(self.place.state_dir)
        admin = AdminLine(self.place.state_dir / "admin.sock")
        anchor_path = self.place.state_dir / "authority" / "ca.pem"
        anchors = [anchor_path.read_text()]
        bots = ensureDeferred(
            vinom(
                "bots",
                f"--connect=127.0.0.1:{self.place.port}",
                "--game=maze",
                "--players=6",
                "--seconds=6",
                '--options={"rows": 2, "cols": 4}',
                "--pace=10",
                "--json",
            )
        )
        for _ in range(2):
            await deferLater(reactor, 1.5)
            for kind in ("token", "ca", "cookie"):
                told: Any = await deferToThread(
                    admin.post, "keys/rotate", {"kind": kind}
                )
                self.assertEqual(told["kind"], kind)
            anchors.append(anchor_path.read_text())
        code, out, err = await bots
        self.assertEqual(code, 0, err)
        matches = json.loads(out)["matches"]
        self.assertEqual(matches["failed"], 0)
        self.assertGreater(matches["finished"], 0)
        self.assertEqual(len(set(anchors)), 3)
        leaves = {await self.leaf_seen_with(anchor) for anchor in anchors}
        self.assertEqual(len(leaves), 1)
        code, out, _ = await vinom("keys", f"--state-dir={self.place.state_dir}")
        self.assertEqual(code, 0)
        states = [line.split()[1:3] for line in out.splitlines()]
        self.assertEqual(states.count(["token", "accepted"]), 2)
        self.assertEqual(states.count(["ca", "accepted"]), 2)
        self.assertEqual(states.count(["lobby", "active"]), 1)

    async def test_hangup_reloads(self) -> None:
        """
        SIGHUP brings a new certificate to the next line; open lines stay, and a
        file that cannot be read changes nothing but the log.
        """
        elsewhere = Path(self.mktemp())
        authority = Authority.open(elsewhere, "game.vinom", reactor.seconds)
        anchor = authority.anchor.decode()
        certificate, key = elsewhere / "tls.pem", elsewhere / "tls.key"

        def renew() -> None:
            issued = authority.lobby(["localhost"])
            certificate.write_bytes(issued.certificate)
            key.write_bytes(issued.key)
            (elsewhere / "authority" / "lobby.pem").unlink()

        renew()
        node = await self.serving(
            f"--tls-certificate-file={certificate}", f"--tls-key-file={key}"
        )
        first = await self.leaf_seen_with(anchor)
        line = await typed(self, self.place, "ann")
        certificate.write_text("nothing")
        node.process.signalProcess("HUP")
        await node.says("certificates are not reloaded")
        self.assertEqual(await self.leaf_seen_with(anchor), first)
        renew()
        node.process.signalProcess("HUP")
        await node.says("certificates are reloaded")
        self.assertNotEqual(await self.leaf_seen_with(anchor), first)
        self.assertTrue(line.transport.connected)
        await line.ask("queue", "match_found", game="roomecho")
        self.assertEqual(node.text.count("not reloaded"), 1)
        self.assertNotIn("Traceback", node.text)


def _leaf_seen_with(port: int, anchor: str) -> bytes:
    import socket

    context = ssl.create_default_context(cadata=anchor)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        found = line.getpeercert(binary_form=True)
        assert found is not None
        return found
