"""A node behind Caddy, nginx and HAProxy, with the files of the manual."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from msgspec import json
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certificates import leaf
from tests.support.ending import end
from tests.support.needs import do_without, path_of
from tests.support.programs import short_folder
from tests.support.websockets import frame, read_frames
from tests.support.whole_node import WholeNode
from vinom.tools.commands.child_node import free_port

FILES = Path(__file__).resolve().parents[2] / "docs" / "howto" / "proxies"
NAME = "play.example.org"
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PATIENCE = 30.0
#: Addresses of this machine that stand for players elsewhere.
ANN, BOB = "127.0.0.2", "127.0.0.3"


def handshake(host: str = NAME, *more: str) -> bytes:
    """Write a WebSocket's handshake, with more lines of headers."""
    lines = (
        "GET /ws HTTP/1.1",
        f"Host: {host}",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *more,
    )
    return "\r\n".join((*lines, "", "")).encode()


class BehindProxy:
    """A node, a proxy in front of it, and players who come by way of the proxy."""

    def serve(self, *arguments: str, proxy: str = "--proxy=127.0.0.1") -> None:
        """Start a node that believes a proxy on this machine, if it shall."""
        believes = (proxy,) if proxy else ()
        self.node = WholeNode(
            f"--advertise={NAME}", "--browsers-only", *believes, *arguments
        )
        self.addCleanup(self.node.stop)
        self.node.wait()
        self.folder = short_folder(self)
        # Workers of a proxy give up being root.
        self.folder.chmod(0o755)
        self.port = free_port()
        self.tls: ssl.SSLContext | None = None

    def written(self, name: str, *changes: tuple[str, str]) -> Path:
        """Write a file of the manual, with ports and paths of this test."""
        text = (FILES / name).read_text()
        for old, new in (("127.0.0.1:8080", f"127.0.0.1:{self.node.http}"), *changes):
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = self.folder / name
        path.write_text(text)
        return path

    def certificate(self) -> Path:
        """Write a certificate with its key; players do not check it here."""
        made = leaf()
        path = self.folder / "play.pem"
        path.write_bytes(made.certificate + made.key)
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        return path

    def run_proxy(self, *command: str) -> None:
        """Start a proxy, and wait until it serves."""
        log = (self.folder / "log").open("wb")
        self.addCleanup(log.close)
        proxy = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"HOME": str(self.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        self.addCleanup(end, proxy)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up and proxy.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.fail((self.folder / "log").read_text())

    def come(self, source: str, *more: str) -> tuple[int, socket.socket]:
        """Connect from an address; gives the status of the answer."""
        raw = socket.create_connection(
            ("127.0.0.1", self.port), PATIENCE, source_address=(source, 0)
        )
        self.addCleanup(raw.close)
        if self.tls is not None:
            raw = self.tls.wrap_socket(raw, server_hostname=NAME)
            self.addCleanup(raw.close)
        origin = f"Origin: {'http' if self.tls is None else 'https'}://{NAME}"
        raw.sendall(handshake(NAME, origin, *more))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = raw.recv(1)
            self.assertTrue(got, f"no answer: {head!r}")
            head += got
        return int(head.split(b" ")[1]), raw

    def hello(self, line: socket.socket) -> dict[str, Any]:
        """Say hello as a guest; gives the answer."""
        said = b'{"type":"hello","id":1,"data":{"protocol":1,"name":"ann"}}'
        line.sendall(frame(1, said))
        got = line.recv(2)
        size = got[1]
        if size == 126:
            got += line.recv(2)
            size = int.from_bytes(got[2:4], "big")
        while size > 0:
            piece = line.recv(size)
            self.assertTrue(piece)
            got, size = got + piece, size - len(piece)
        (found,) = read_frames(got)
        first: dict[str, Any] = json.decode(found.data)[0]
        return first

    def start(self) -> None:
        """Start the proxy."""

    def test_limits(self) -> None:
        """
        Limits count players one by one, whom Caddy names by X-Forwarded-For, nginx's
        stream by version 1 of the PROXY protocol, and HAProxy by version 2.
        """
        self.serve("--guests=yes", "--connections-per-address=2")
        self.start()
        self.check_limits()

    def check_limits(self) -> None:
        """Each player's own address counts, and nobody can choose another one."""
        forged = ("X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9")
        status, first = self.come(ANN)
        self.assertEqual(status, 101)
        self.assertEqual(self.hello(first)["type"], "welcome")
        # Two more would be too many, whatever they say.
        self.assertEqual(self.come(ANN, forged[0])[0], 101)
        self.assertEqual(self.come(ANN, forged[0])[0], 429)
        status, other = self.come(BOB)
        self.assertEqual(status, 101)
        self.assertEqual(self.hello(other)["type"], "welcome")
        self.assertIn(f"refused a connection from {ANN}%proxied", self.node.log())
        self.assertNotIn("203.0.113.9", self.node.log())

    def check_guests(self) -> None:
        """By default guests come from the node's own machine: not these."""
        status, line = self.come(ANN)
        self.assertEqual(status, 101)
        said = self.hello(line)
        self.assertEqual(said["error"]["code"], "unauthorized")


class CaddyTests(BehindProxy, SynchronousTestCase):
    def setUp(self) -> None:
        path_of("caddy")

    def start(self) -> None:
        config = self.written(
            "Caddyfile", (f"{NAME} {{", f"http://{NAME}:{self.port} {{")
        )
        config.write_text("{\n\tadmin off\n}\n" + config.read_text())
        self.run_proxy(
            path_of("caddy"), "run", "--config", str(config), "--adapter", "caddyfile"
        )

    def test_guests(self) -> None:
        """
        Behind Caddy nobody is a guest from this machine.
        """
        self.serve()
        self.start()
        self.check_guests()

    def test_forgotten_setting(self) -> None:
        """
        Nor if the operator did not set proxy: what Caddy writes gives it away.
        """
        self.serve(proxy="")
        self.start()
        self.check_guests()


class NginxTests(BehindProxy, SynchronousTestCase):
    def start(self) -> None:
        nginx = path_of("nginx")
        config = self.written(
            "nginx.conf",
            ("/run/nginx.pid", str(self.folder / "pid")),
            ("/var/log/nginx/error.log", str(self.folder / "error.log")),
            (f"/etc/ssl/private/{NAME}.pem", str(self.certificate())),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
        )
        self.run_proxy(nginx, "-c", str(config), "-g", "daemon off;")

    def setUp(self) -> None:
        path_of("nginx")
        if not NGINX_STREAM.exists():
            do_without("not installed: nginx's stream (Debian: libnginx-mod-stream)")


class HAProxyTests(BehindProxy, SynchronousTestCase):
    def start(self, *changes: tuple[str, str]) -> None:
        haproxy = path_of("haproxy")
        config = self.written(
            "haproxy.cfg",
            (f"/etc/ssl/private/{NAME}.pem", str(self.certificate())),
            ("bind :443 ", f"bind 127.0.0.1:{self.port} "),
            *changes,
        )
        self.run_proxy(haproxy, "-db", "-f", str(config))

    def setUp(self) -> None:
        path_of("haproxy")

    def test_http(self) -> None:
        """
        And with HTTP, where HAProxy adds a second line of X-Forwarded-For.
        """
        self.serve("--guests=yes", "--connections-per-address=2")
        self.start(
            ("mode tcp", "mode http\n    option forwardfor\n    timeout tunnel 2m"),
            (" send-proxy-v2", ""),
        )
        self.check_limits()
