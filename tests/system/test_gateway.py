"""A gateway as twistd runs it, with real sockets in front of and behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.lobby.conversation.test_identity import pem, token
from tests.support.certificates import authority
from tests.support.child_gateways import TWISTD
from tests.support.programs import short_folder
from tests.support.redis_servers import new_prefix, shared_server
from vinom.net.streams.packets import Kind, Packet, PacketReader, encode
from vinom.tools.commands.child_node import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20.0


class EchoServer:
    """
    A plain TCP server that sends back what it gets.

    :ivar first: the first bytes of each connection.
    """

    def __init__(self, port: int = 0) -> None:
        """:param port: on the loopback; 0 for any."""
        self.first: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def kill(self) -> None:
        """Reset every connection, and take no more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in tuple(self._open):
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        self._open.add(one)
        number = len(self.first)
        self.first.append(b"")
        with contextlib.suppress(OSError), one:
            while data := one.recv(65536):
                self.first[number] = self.first[number] or data
                one.sendall(data)
        self._open.discard(one)


class LinkServer:
    """
    A back end that speaks packets, and sends back what it gets.

    :ivar opened: the bodies of *open*, in order.
    :ivar asked: the ids of those of sessions.
    """

    def __init__(self, path: str) -> None:
        """:param path: of its UNIX socket."""
        self.opened: list[dict[str, Any]] = []
        self.asked: list[dict[str, int]] = []
        self.links = 0
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            link, _ = listening.accept()
            self.links += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        reader = PacketReader()
        with contextlib.suppress(OSError):
            while data := link.recv(1 << 18):
                for one in reader.read(data):
                    for answer in self._answers(one):
                        link.sendall(encode(answer))

    def _answers(self, one: Packet) -> list[Packet]:
        if one.kind is Kind.OPEN:
            self.opened.append(json.loads(one.body))
            if one.session_id:
                self.asked.append({"user_id": one.user_id, "realm_id": one.realm_id})
            return [] if one.session_id else [Packet(Kind.OPEN, b'{"node_id": "n"}')]
        if one.kind is Kind.PING:
            return [Packet(Kind.PONG, one.body)]
        if one.kind is not Kind.DATA:
            return []
        if not one.body:
            return [Packet(Kind.CLOSE, b"done", session_id=one.session_id)]
        credit = len(one.body).to_bytes(4)
        return [
            Packet(Kind.DATA, one.body, session_id=one.session_id),
            Packet(Kind.WINDOW, credit, session_id=one.session_id),
        ]


class PacketClient:
    """A client of packets, on a connection of its own."""

    def __init__(self, line: socket.socket | _Messages) -> None:
        """:param line: to the gateway."""
        self._line, self._reader = line, PacketReader()
        self._got: list[Packet] = []

    def send(self, *given: Packet) -> None:
        """Send packets."""
        self._line.sendall(b"".join(map(encode, given)))

    def next(self) -> Packet:
        """Wait for a packet."""
        while not self._got:
            data = self._line.recv(1 << 16)
            assert data, "closed"
            self._got = self._reader.read(data)
        return self._got.pop(0)

    def open(self, code: int, **given: Any) -> int:
        """Open a session, and return its id."""
        self.send(Packet(Kind.OPEN, service_type=code, **given))
        return self.next().session_id

    def echo(self, session_id: int, body: bytes) -> bytes:
        """Send bytes, and wait for them."""
        self.send(Packet(Kind.DATA, body, session_id=session_id))
        got = b""
        while len(got) < len(body):
            one = self.next()
            if one.kind is Kind.DATA:
                got += one.body
            else:
                assert one.kind is Kind.WINDOW, one
        return got


class _Messages:
    """The bytes of a WebSocket's messages, like those of a socket."""

    def __init__(self, web: ClientConnection) -> None:
        self._web = web

    def sendall(self, data: bytes) -> None:
        """Send a message."""
        self._web.send(data)

    def recv(self, size: int) -> bytes:
        """Wait for a message."""
        return bytes(self._web.recv(timeout=SECONDS))  # type: ignore[arg-type]


class GatewayCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port, self.admin = free_port(), free_port()
        self.echo = EchoServer()
        self.addCleanup(self.echo.kill)

    def write_routes(self, **services: dict[str, Any]) -> None:
        """Write rules, whole."""
        lines = []
        for name, rule in services.items():
            lines.append(f"[services.{name.removeprefix('_')}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in rule.items()]
        new = self.folder / "routes.new"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.folder / "routes.toml")

    def start(self, *arguments: str, is_ready: bool = True) -> subprocess.Popen[bytes]:
        """Start the gateway, and wait until it is ready, if it will be."""
        token = self.folder / "token"
        token.write_text("0123456789abcdef\n")
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            gateway = subprocess.Popen(
                [
                    *TWISTD,
                    "vinom-gateway",
                    f"--listen=tcp:{self.port}:interface=127.0.0.1",
                    f"--admin=tcp:{self.admin}:interface=127.0.0.1",
                    f"--admin-token-file={token}",
                    *self.rules_of(arguments),
                    f"--access-log={self.folder / 'access.log'}",
                    "--gateway-id=g1",
                    *("--drain-lag=0", "--drain-seconds=1"),
                    *arguments,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(self.stop, gateway)
        if is_ready:
            self.until(lambda: self.get("ready") is not None)
        return gateway

    def rules_of(self, arguments: tuple[str, ...]) -> list[str]:
        """Have rules come from the file, unless they come from Redis."""
        if any(one.startswith("--store=") for one in arguments):
            return []
        return [f"--routes={self.folder / 'routes.toml'}"]

    def stop(self, gateway: subprocess.Popen[bytes]) -> None:
        """End the gateway."""
        gateway.send_signal(signal.SIGTERM)
        try:
            gateway.wait(SECONDS)
        except subprocess.TimeoutExpired:
            gateway.kill()
            gateway.wait()
            raise

    def until(self, condition: Any) -> None:
        """Wait until *condition* returns something true."""
        give_up = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > give_up:
                raise AssertionError(self.log.read_text())
            time.sleep(0.05)

    def get(self, page: str) -> str | None:
        """Fetch a page of the admin port; ``None`` without an answer of 200."""
        code, text = self.ask(page)
        return text if code == 200 else None

    def ask(self, page: str, method: str = "GET") -> tuple[int, str]:
        """Get the code and text of the admin port's answer; 0 for none."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.admin}/{page}",
            headers={"authorization": "Bearer 0123456789abcdef"},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        """Connect to the public port, from an address of this machine."""
        where = "127.0.0.1", self.port
        line = socket.create_connection(where, SECONDS, (host, 0))
        self.addCleanup(line.close)
        return line

    def socket_path(self) -> str:
        """Find a path for a back end's UNIX socket."""
        path = f"{self.folder}/link.sock"
        if len(path) > 100:
            path = f"/tmp/vinom-gateway-{self.port}.sock"
            self.addCleanup(Path(path).unlink)
        return path

    def rule(self, *servers: EchoServer, **more: Any) -> dict[str, Any]:
        """Write a rule for some servers."""
        endpoints = [f"127.0.0.1:{one.port}" for one in servers]
        return {"strategy": "round_robin", "endpoints": endpoints, **more}

    def accesses(self) -> list[dict[str, Any]]:
        """Read the access log."""
        text = (self.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]


def all_of(line: socket.socket, size: int) -> bytes:
    """Read so many bytes, or as many as there are."""
    got = b""
    while len(got) < size and (data := line.recv(65536)):
        got += data
    return got


class RedisRulesTests(GatewayCase):
    def test_only_what_must_be_said(self) -> None:
        """
        A rule in Redis that names a strategy and back ends, and nothing else, is named
        as one that no client can reach, until Redis also has the number of its service.
        Then its back end is greeted with the gateway's id, and one link has all
        sessions: nothing is restarted for it.
        """
        server, prefix = shared_server(), new_prefix()
        path = self.socket_path()
        link = LinkServer(path)
        rule = {"strategy": "consistent_hash", "endpoints": [f"unix:{path}"]}
        server.command("SET", f"{prefix}routing:rules", json.dumps({"account": rule}))
        self.start(f"--store={server.url}", f"--store-prefix={prefix}")
        self.assertIn("account", json.loads(self.get("ready") or "")["unreachable"])
        listed = json.loads(self.get("v1/routes") or "")["services"]["account"]
        self.assertIn("no client", listed["unreachable"])
        self.assertIn("account: no client can reach", self.log.read_text())
        server.command("HSET", f"{prefix}services", "account", "7")
        server.command("PUBLISH", f"{prefix}routing:changed", "")
        self.until(lambda: "unreachable" not in json.loads(self.get("ready") or ""))
        listed = json.loads(self.get("v1/routes") or "")["services"]["account"]
        self.assertEqual(listed["codes"], [7])
        self.assertNotIn("unreachable", listed)
        client = PacketClient(self.connect())
        for user in range(4):
            self.assertEqual(client.echo(client.open(7, user_id=user), b"x"), b"x")
        self.assertEqual(link.links, 1)
        self.assertEqual(link.opened[0], {"gateway_id": "g1"})


class GatewayTests(GatewayCase):
    def test_one_port(self) -> None:
        """
        Lobby lines, unknown bytes and packets come to one port, over TLS and plain, and
        reach their back ends; one line of the access log is written for each session.
        """
        socket_path = self.socket_path()
        link = LinkServer(socket_path)
        self.write_routes(
            lobby=self.rule(self.echo),
            raw=self.rule(self.echo, transport="tcp+proxy"),
            # By name, too.
            _7={
                "strategy": "round_robin",
                "endpoints": [f"localhost:{self.echo.port}"],
            },
            _8={
                "strategy": "consistent_hash",
                "endpoints": [f"unix:{socket_path}"],
                "transport": "packets",
            },
        )
        leaf = authority().issue("play.example")
        for name, data in (("c.pem", leaf.certificate), ("c.key", leaf.key)):
            (self.folder / name).write_bytes(data)
        self.start(
            f"--tls-certificate-file={self.folder / 'c.pem'}",
            f"--tls-key-file={self.folder / 'c.key'}",
            "--other-service=raw",
            "--proxy=127.0.0.1",
        )
        context = ssl.create_default_context(cadata=authority().anchor.decode())

        def over_tls(line: socket.socket) -> socket.socket:
            made = context.wrap_socket(line, server_hostname="play.example")
            self.addCleanup(made.close)
            return made

        def plain(line: socket.socket) -> socket.socket:
            return line

        message = b'{"type": "hello"}\n'
        for wrap in (plain, over_tls):
            line = wrap(self.connect())
            line.sendall(message)
            self.assertEqual(all_of(line, len(message)), message)
            line.close()
            client = PacketClient(wrap(self.connect()))
            for code in (7, 8):
                session_id = client.open(code, user_id=42)
                body = bytes(range(256)) * 100
                self.assertEqual(client.echo(session_id, body), body)
                self.assertEqual(client.echo(session_id, b"x"), b"x")
        # A client behind a proxy that this gateway believes, of no known protocol.
        line = self.connect()
        line.sendall(b"PROXY TCP4 192.0.2.9 10.0.0.1 77 80\r\n\x00\x01binary")
        self.assertEqual(all_of(line, 28 + 8)[28:], b"\x00\x01binary")
        line.close()
        self.assertIn(bytes((192, 0, 2, 9, 127, 0, 0, 1, 0, 77)), self.echo.first[-1])
        self.assertEqual(link.links, 1)
        self.assertEqual(link.opened[0], {"gateway_id": "g1"})
        self.assertEqual([one["tls"] for one in link.opened[1:]], [False, True])
        self.doCleanups()
        found = self.accesses()
        self.assertEqual(
            sorted((one["kind"], one["tls"], one["service"]) for one in found),
            sorted(
                [
                    ("lines", False, "lobby"),
                    ("lines", True, "lobby"),
                    *(("packets", tls, code) for tls in (0, 1) for code in "78"),
                    ("tcp", False, "raw"),
                ]
            ),
        )
        self.assertEqual({one["received"] for one in found}, {18, 25601, 8})
        self.assertEqual(len({one["session"] for one in found}), len(found))
        self.assertEqual(found[-1]["session"].partition(":")[0], "g1")

    def test_packets_in_a_websocket(self) -> None:
        """
        A browser speaks packets in binary messages of a WebSocket at one path, over TLS
        or not, and cut into messages as it likes; other paths are those of the rules.
        """
        leaf = authority().issue("play.example")
        (self.folder / "c.pem").write_bytes(leaf.certificate)
        (self.folder / "c.key").write_bytes(leaf.key)
        link = LinkServer(path := self.socket_path())
        self.write_routes(
            _8={
                "strategy": "round_robin",
                "endpoints": [f"unix:{path}"],
                "transport": "packets",
            },
            web=self.rule(self.echo, **{"match.path": "/"}),
        )
        gateway = self.start(
            f"--tls-certificate-file={self.folder / 'c.pem'}",
            f"--tls-key-file={self.folder / 'c.key'}",
        )
        context = ssl.create_default_context(cadata=authority().anchor.decode())
        # OpenSSL loses what this client writes while it reads tickets of TLS 1.3.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for tls in (None, context):
            line = self.connect()
            if tls is not None:
                line = tls.wrap_socket(line, server_hostname="play.example")
            web = connect("ws://play.example/packets", sock=line, max_size=None)
            self.addCleanup(web.close)
            client = PacketClient(_Messages(web))
            session = client.open(8, user_id=42, realm_id=3)
            for body in (b"1", os.urandom(60_000)):
                self.assertEqual(client.echo(session, body), body)
            # Two packets in three messages.
            data = encode(Packet(Kind.PING, b"1")) + encode(Packet(Kind.PING, b"2"))
            for part in (data[:5], data[5:40], data[40:]):
                web.send(part)
            self.assertEqual([client.next().body for _ in range(2)], [b"1", b"2"])
        self.assertEqual([one["user_id"] for one in link.asked], [42, 42])
        self.assertEqual([one["tls"] for one in link.opened[1:]], [False, True])
        web.send("text")
        with self.assertRaises(ConnectionClosedError) as closed:
            web.recv(timeout=SECONDS)
        self.assertEqual(closed.exception.rcvd.code, 1003)
        other = self.connect()
        other.sendall(b"GET /packets HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b" 502 ", other.recv(1000))
        other.close()
        gateway.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(SECONDS), 0)
        self.assertEqual(
            sorted((one["kind"], one["service"]) for one in self.accesses()),
            [("http", "web"), ("packets", "8"), ("packets", "8")],
        )

    def test_access_log_is_moved(self) -> None:
        """
        After SIGHUP lines go to a new file, and none is lost.
        """
        self.write_routes(lobby=self.rule(self.echo))
        gateway = self.start()
        log, moved = self.folder / "access.log", self.folder / "access.log.1"

        def talk() -> None:
            line = self.connect()
            line.sendall(b"{}\n")
            self.assertEqual(all_of(line, 3), b"{}\n")
            line.close()

        talk()
        self.until(lambda: len(log.read_bytes()))
        log.rename(moved)
        talk()
        self.until(lambda: moved.read_bytes().count(b"\n") == 2)
        gateway.send_signal(signal.SIGHUP)
        self.until(log.exists)
        talk()
        self.until(lambda: log.read_bytes().count(b"\n") == 1)
        self.assertEqual(moved.read_bytes().count(b"\n"), 2)

    def test_certificates_and_keys_are_replaced(self) -> None:
        """
        After SIGHUP a gateway shows its new certificate, and knows users by the new key
        of the identity provider; those who are connected stay.
        """

        def replace(name: str, key: Any) -> None:
            leaf = authority().issue(name)
            (self.folder / "c.pem").write_bytes(leaf.certificate)
            (self.folder / "c.key").write_bytes(leaf.key)
            (self.folder / "id.pem").write_bytes(pem(key))

        old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        replace("old.example", old)
        self.write_routes(web=self.rule(self.echo, **{"match.path": "/"}))
        gateway = self.start(
            f"--tls-certificate-file={self.folder / 'c.pem'}",
            f"--tls-key-file={self.folder / 'c.key'}",
            f"--identity-keys-file={self.folder / 'id.pem'}",
            *("--identity-issuer=https://id.example", "--identity-audience=vinom"),
        )
        context = ssl.create_default_context(cadata=authority().anchor.decode())

        def ask(name: str, key: Any) -> socket.socket:
            """Ask over TLS, with a token; the back end's answer is no HTTP."""
            line = context.wrap_socket(self.connect(), server_hostname=name)
            self.addCleanup(line.close)
            proof = token(key, exp=time.time() + 60)
            line.sendall(
                f"GET / HTTP/1.1\r\nHost: {name}\r\n"
                f"Authorization: Bearer {proof}\r\n\r\n".encode()
            )
            self.assertIn(b" 502 ", line.recv(1000))
            return line

        kept = ask("old.example", old)
        replace("new.example", new)
        gateway.send_signal(signal.SIGHUP)
        self.until(lambda: "new certificate" in self.log.read_text())
        ask("new.example", new).close()
        kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b" 502 ", kept.recv(1000))
        kept.close()
        self.until(lambda: len(self.accesses()) == 3)
        users = [one.get("user") for one in self.accesses()]
        self.assertEqual(users, ["ann@x", "ann@x", None])

    def run_gateway(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a gateway that cannot start, to its end."""
        return subprocess.run(
            [
                *TWISTD,
                "vinom-gateway",
                f"--routes={self.folder / 'routes.toml'}",
                *arguments,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def test_admin_port(self) -> None:
        """
        One address that opens connection after connection to the admin port has few of
        them; others are served. A web page whose name leads there reads nothing.
        """
        self.write_routes()
        self.start()
        held = [socket.create_connection(("127.0.0.1", self.admin)) for _ in range(80)]
        for one in held:
            self.addCleanup(one.close)

        def ask(*lines: str) -> bytes:
            line = socket.create_connection(
                ("127.0.0.1", self.admin), SECONDS, ("127.0.0.2", 0)
            )
            self.addCleanup(line.close)
            line.sendall(
                "\r\n".join(("GET /metrics HTTP/1.1", *lines, "", "")).encode()
            )
            return line.recv(100)

        self.assertIn(b" 200 ", ask("Host: 127.0.0.1"))
        open_ones = 0
        for one in held:
            one.settimeout(0.01)
            try:
                open_ones += one.recv(1) != b""
            except TimeoutError:
                open_ones += 1
            except ConnectionError:
                continue
        self.assertLess(open_ones, 20)
        # Prometheus may ask under any name; a browser may not.
        self.assertIn(b" 200 ", ask("Host: metrics.example"))
        browser = ask("Host: evil.example", "Accept-Language: en")
        self.assertIn(b" 421 ", browser)

    def test_bad_endpoints(self) -> None:
        """
        An endpoint that cannot be used ends the program with status 1, and one clear
        sentence; on standard error, if the gateway may take ports over.
        """
        self.write_routes(lobby=self.rule(self.echo))
        taken = f"tcp:{self.echo.port}:interface=127.0.0.1"
        free = f"tcp:{self.port}:interface=127.0.0.1"
        nowhere = f"{short_folder(self)}/none/s"
        for listen, handover, why in (
            ("tcp:x", "", "listen 'tcp:x' isn't an endpoint"),
            ("tpc:4600", "", "listen 'tpc:4600' isn't an endpoint"),
            ("tcp:99999", "", "listen 'tcp:99999'"),
            (taken, "", f"listen '{taken}' cannot be used: "),
            (taken, f"{short_folder(self)}/s", f"listen '{taken}' cannot be used: "),
            (free, nowhere, f"handover '{nowhere}' cannot be used: No such file"),
        ):
            options = (f"--handover={handover}",) if handover else ()
            done = self.run_gateway(f"--listen={listen}", *options)
            said = done.stdout + done.stderr
            self.assertEqual(done.returncode, 1, said)
            self.assertNotIn("Traceback", said)
            if not handover:
                self.assertEqual(said.count(why), 1, said)
            else:
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                start = f"twistd vinom-gateway: cannot start: {why}"
                self.assertTrue(done.stderr.startswith(start), done.stderr)

    def test_what_cannot_work(self) -> None:
        """
        Rules that need a certificate which this gateway does not have are refused when
        they are read: it is not ready, and says what to set.
        """
        self.write_routes(lobby=self.rule(self.echo, transport="packets+tls"))
        self.start(is_ready=False)
        self.until(lambda: self.ask("health")[0] == 200)
        code, text = self.ask("ready")
        self.assertEqual(code, 503)
        self.assertIn("lobby", json.loads(text)["rules"])
        self.assertIn("set link_certificate_file", json.loads(text)["rules"])

    def test_back_ends_that_never_answered(self) -> None:
        """
        A back end counts as good, in the list of rules and in metrics, once it could be
        reached, and not before; the list shows all that its rule says.
        """
        rule = self.rule(self.echo, sticky=30.0, **{"match.path": "/x"})
        nobody = f"127.0.0.1:{free_port()}"
        rule["endpoints"].append(nobody)
        self.write_routes(lobby=rule)
        self.start("--check-seconds=0.4")

        def states() -> dict[str, str]:
            listed = json.loads(self.get("v1/routes") or "")["services"]["lobby"]
            self.assertEqual(listed["match"], {"host": "", "path": "/x"})
            self.assertEqual(listed["sticky"], 30.0)
            found: dict[str, str] = listed["endpoints"]
            return found

        seen: set[str] = set()

        def is_open() -> bool:
            seen.add(states()[nobody])
            text = self.get("metrics") or ""
            self.assertIn(f'backend_usable{{backend="{nobody}"}} 0.0', text)
            return "open" in seen and states()[f"127.0.0.1:{self.echo.port}"] == "good"

        self.until(is_open)
        self.assertNotIn("good", seen)
        code, text = self.ask("v1/drain", "POST")
        self.assertEqual((code, json.loads(text)["state"]), (200, "draining"))
