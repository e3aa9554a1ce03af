"""The gateway beside nginx: requests, bytes, messages, connections, idle clients."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import attrs

from benchmarks.figures import Figure, Size, of_runs, ratio
from benchmarks.machine import (
    HERE,
    LOAD_CORE,
    SERVER_CORE,
    Failed,
    Missing,
    build,
    load,
    pinned,
    private_memory,
)
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import check_rules, read_realms
from vinom.gateway.sessions import SessionRequest
from vinom.net.keys.authority import Authority
from vinom.tools.commands.child_node import free_port

#: Bars of the issue.
_ADDED_P50, _ADDED_P99 = 300.0, 2000.0  # microseconds
_MESSAGES = 60_000.0
_BULK, _GETS, _GETS_OF_NGINX = 0.7, 2500.0, 0.1
_NEW = 2000.0
_PLAIN_KB, _TLS_KB = 20.0, 56.0
_LOOKUP = 2.0  # microseconds
#: Its path in Debian.
_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
#: Back ends with links: each may have two.
_LINKED = 4
#: Code of the service of packets.
_CODE = 7

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
load_module {module};
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
stream {{
    server {{
        listen 127.0.0.1:{stream} backlog=4096;
        proxy_pass 127.0.0.1:{back};
    }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream back {{
        server 127.0.0.1:{back};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{web} backlog=4096;
        location / {{
            proxy_pass http://back;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
        location /ws {{
            proxy_pass http://back;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "Upgrade";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def _routes(ports: list[int]) -> dict[str, Any]:
    """Write rules for all kinds of clients."""
    alone = [f"127.0.0.1:{ports[0]}"]
    turn = {"strategy": "round_robin"}
    linked = {**turn, "transport": "packets"}
    return {
        "bytes": {**turn, "endpoints": alone},
        "web": {**turn, "endpoints": alone, "match": {"path": "/"}},
        "linked": {**linked, "endpoints": alone, "code": _CODE},
        "many": {
            **linked,
            "endpoints": [f"127.0.0.1:{port}" for port in ports],
            "match": {"path": "/linked"},
        },
    }


@attrs.frozen
class _Stand:
    """
    The measured processes: a gateway and nginx in front of the same back end.

    :ivar run: calls the generator: its mode, a port and a process, and more.
    :ivar gateway: process of the gateway.
    :ivar nginx: process of nginx.
    :ivar back: process of the back end.
    :ivar front: the gateway's port.
    :ivar stream: nginx's port for bytes.
    :ivar web: nginx's port for HTTP.
    :ivar behind: the back end's port.
    :ivar all_behind: all ports of the back end.
    """

    program: Path
    gateway: int
    nginx: int
    back: int
    front: int
    stream: int
    web: int
    behind: int
    all_behind: list[int]

    def ours(self, mode: str, *how: str) -> dict[str, Any]:
        """Load the gateway."""
        return load(self.program, mode, self.front, self.gateway, *how)

    def theirs(self, mode: str, *how: str) -> dict[str, Any]:
        """Load nginx."""
        is_web = mode in ("get", "echo", "ws", "idle")
        port = self.web if is_web else self.stream
        return load(self.program, mode, port, self.nginx, *how)

    def direct(self, mode: str, *how: str) -> dict[str, Any]:
        """Load the back end directly."""
        return load(self.program, mode, self.behind, self.back, *how)


@contextmanager
def _process(
    what: str, core: int, command: list[str], folder: Path, ports: list[int]
) -> Iterator[int]:
    """Start a server, and wait until all its ports answer; returns its process."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VINOM_")}
    environ["PYTHONPATH"] = str(HERE.parent)
    log = folder / f"{what}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            pinned(core, command), cwd=folder, env=environ, stdout=file, stderr=file
        )
    try:
        give_up = time.monotonic() + 30
        for port in ports:
            while not _answers(port):
                if time.monotonic() > give_up or process.poll() is not None:
                    raise Failed(f"{what} does not start: {log.read_text()[-600:]}")
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@contextmanager
def _stand(folder: Path, *more: str) -> Iterator[_Stand]:
    """
    Run a back end, nginx and a gateway.

    :param more: arguments of the gateway.
    """
    program = build("proxyload", folder, "ssl", "crypto")
    backend = build("proxyback", folder)
    behind = [free_port() for _ in range(_LINKED)]
    stream, web, front = free_port(), free_port(), free_port()
    conf, routes = folder / "nginx.conf", folder / "routes.toml"
    conf.write_text(
        _NGINX.format(
            folder=folder, module=_STREAM_MODULE, stream=stream, web=web, back=behind[0]
        )
    )
    routes.write_text(_toml(_routes(behind)))
    command = [sys.executable, "-m", "twisted", "vinom-gateway"]
    command += [
        f"--listen=tcp:{front}:backlog=4096:interface=127.0.0.1",
        f"--routes={routes}",
        "--other-service=bytes",
        "--log-level=warn",
        # Limits are on, but high, because all clients have this machine's address.
        "--max-connections-per-address=1000000",
        "--new-connections=1000000",
        *more,
    ]
    with ExitStack() as stack:
        back = stack.enter_context(
            _process(
                "back end", LOAD_CORE, [str(backend), *map(str, behind)], folder, behind
            )
        )
        nginx = stack.enter_context(
            _process(
                "nginx", SERVER_CORE, [_nginx(), "-c", str(conf)], folder, [stream, web]
            )
        )
        gateway = stack.enter_context(
            _process("gateway", SERVER_CORE, command, folder, [front])
        )
        time.sleep(0.5)
        yield _Stand(
            program, gateway, nginx, back, front, stream, web, behind[0], behind
        )


def _nginx() -> str:
    program = Path("/usr/sbin/nginx")
    if not program.exists() or not _STREAM_MODULE.exists():
        raise Missing("nginx is not installed: apt-get install libnginx-mod-stream")
    return str(program)


def _toml(services: dict[str, Any]) -> str:
    def value(one: Any) -> str:
        if isinstance(one, dict):
            inside = ", ".join(f"{key} = {value(each)}" for key, each in one.items())
            return f"{{{inside}}}"
        return json.dumps(one)

    return "".join(
        f"[services.{name}]\n"
        + "".join(f"{key} = {value(one)}\n" for key, one in rule.items())
        for name, rule in services.items()
    )


#: The comparisons: by name, the generator's mode and more.
_COMPARED: dict[str, tuple[str, ...]] = {
    "get": ("get", "clients=64"),
    "down": ("down", "clients=4"),
    "up": ("up", "clients=4"),
    "echo": ("echo", "clients=64"),
    "tcp": ("tcp", "at_once=32"),
    "ws": ("ws", "at_once=32"),
}


class _Found:
    """The results: by name, the reports of each run, for the gateway and for nginx."""

    def __init__(self) -> None:
        self.ours: dict[str, list[dict[str, Any]]] = {}
        self.theirs: dict[str, list[dict[str, Any]]] = {}
        #: Figures of each run, by name.
        self.others: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        """Keep one run's figure."""
        self.others.setdefault(name, []).append(value)

    def figure(
        self, name: str, what: str, bar: float | None, unit: str
    ) -> list[Figure]:
        """Make a row for the gateway and one for nginx, per second of CPU."""
        rows = [of_runs(what, unit, self.ours[name], "per_cpu_s", bar, at_least=True)]
        if name in self.theirs:
            theirs = self.theirs[name]
            rows.append(of_runs(f"{what}: nginx", unit, theirs, "per_cpu_s"))
        return rows

    def ratio(self, name: str, what: str, bar: float | None) -> Figure:
        """Compare the gateway with nginx, each per second of its own CPU."""
        both = self.ours[name], self.theirs[name]
        return ratio(what, *both, "per_cpu_s", bar, at_least=True)

    def other(self, name: str, unit: str, bar: float | None = None) -> Figure:
        """Make a row of the kept figures."""
        return Figure(name, unit, tuple(self.others[name]), bar)


#: Sizes of runs with clients of packets: connections, and sessions on each.
_CROWDS = ((20, 10), (200, 1))
_IDLE_PLAIN, _IDLE_LINKED, _IDLE_TLS = (
    "memory per idle WebSocket, a back end's connection each",
    "memory per idle WebSocket, links to the back end",
    "memory per idle WebSocket over TLS, links to the back end",
)
_IDLE_NGINX = "memory per idle WebSocket: nginx"
_STAYED = "idle WebSockets over 8 links that answer afterwards"


def gateway(size: Size, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    """Measure a gateway and nginx in front of the same back end, in turn."""
    found, secs = _Found(), f"secs={max(1.0, size.seconds(3))}"
    for run in range(size.runs):
        say(f"gateway: run {run + 1} of {size.runs}")
        with _stand(folder) as stand:
            _compare(stand, found, secs)
            _add_latency(stand, found, secs)
            for connections, sessions in _CROWDS:
                how = f"clients={connections}", f"sessions={sessions}", secs
                report = stand.ours("packets", *how, f"code={_CODE}")
                found.ours.setdefault(f"packets {connections}", []).append(report)
    say("gateway: idle clients")
    _idle(folder, found, size)
    say("gateway: lookups")
    for name, request in _LOOKUPS.items():
        for _ in range(size.runs):
            found.note(name, _lookup(request, size.count(100_000)))
    return _rows(found)


def _compare(stand: _Stand, found: _Found, secs: str) -> None:
    for name, (mode, *how) in _COMPARED.items():
        pair = (found.ours, stand.ours), (found.theirs, stand.theirs)
        for reports, call in pair:
            reports.setdefault(name, []).append(call(mode, *how, secs))


def _add_latency(stand: _Stand, found: _Found, secs: str) -> None:
    """Find how much longer an echo takes at half of the gateway's own saturation."""
    rate = max(1.0, found.ours["echo"][-1]["per_s"] / 2)
    how = "clients=64", f"rate={rate:.0f}", secs
    direct = stand.direct("echo", *how)
    for who, call in (("", stand.ours), (": nginx", stand.theirs)):
        report = call("echo", *how)
        for share in ("p50", "p99"):
            added = report[f"{share}_us"] - direct[f"{share}_us"]
            found.note(f"{_ADDED}, {share}{who}", added)


_ADDED = "added to a WebSocket echo"


def _idle(folder: Path, found: _Found, size: Size) -> None:
    """Find the memory of idle clients, and whether they stay connected."""
    some, many = size.count(2000), size.count(10_000)
    with _stand(folder) as stand:
        with _clients(stand, stand.web, some, "/ws", stand.nginx) as (kb, _):
            found.note(_IDLE_NGINX, kb)
        with _clients(stand, stand.front, some, "/ws") as (kb, _):
            found.note(_IDLE_PLAIN, kb)
    with (
        _stand(folder) as stand,
        _clients(stand, stand.front, many, "/linked") as (kb, answers),
    ):
        found.note(_IDLE_LINKED, kb)
        # Longer than checks, pings and the deadlines of unfinished requests.
        time.sleep(size.seconds(30))
        found.note("links of them", _links(stand))
        found.note(_STAYED, answers())
    certificate, key = _certificate(folder)
    files = f"--tls-certificate-file={certificate}", f"--tls-key-file={key}"
    with (
        _stand(folder, *files) as stand,
        _clients(stand, stand.front, some, "/linked", tls=1) as (kb, _),
    ):
        found.note(_IDLE_TLS, kb)


@contextmanager
def _clients(
    stand: _Stand, port: int, count: int, path: str, pid: int = 0, tls: int = 0
) -> Iterator[tuple[float, Callable[[], int]]]:
    """
    Connect idle clients.

    Returns the memory of each, in KB, and a function that counts those that still get
    answers.

    :param pid: the process to measure; 0 for the gateway.
    """
    pid = pid or stand.gateway
    command = [str(stand.program), "idle", str(port), str(pid)]
    command += [f"clients={count}", f"path={path}", f"tls={tls}"]
    before = private_memory(pid)
    with subprocess.Popen(
        pinned(LOAD_CORE, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        out, into = process.stdout, process.stdin

        def answers() -> int:
            into.write("\n")
            into.flush()
            return int(json.loads(out.readline())["alive"])

        try:
            joined = json.loads(out.readline())["joined"]
            if joined < count:
                raise Failed(f"{joined} of {count} clients were accepted")
            yield (private_memory(pid) - before) / 1024 / count, answers
        finally:
            process.kill()


def _links(stand: _Stand) -> int:
    """Count the gateway's connections to back ends of links."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ports = {f"{port:04X}" for port in stand.all_behind}
    peers = (
        row.split()[2].rpartition(":")[2] for row in rows if row.split()[3] == "01"
    )
    return sum(peer in ports for peer in peers)


def _certificate(folder: Path) -> tuple[Path, Path]:
    issued = Authority.open(folder, "game.vinom", time.time).issue("gateway")
    certificate, key = folder / "leaf.pem", folder / "leaf.key"
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    return certificate, key


_RULES = 1000
_LOOKUPS = {
    "route of 1,000 rules, round_robin": "round_robin",
    "route of 1,000 rules, least_sessions": "least_sessions",
    "route of 1,000 rules, consistent_hash": "consistent_hash",
    "route of 1,000 rules, realm": "realm",
    "route of 1,000 rules, round_robin, by host and path": "path",
}


def _lookup(strategy: str, count: int) -> float:
    """Find rules and back ends; returns microseconds of CPU for one."""
    is_path, is_realm = strategy == "path", strategy == "realm"
    rule: dict[str, Any] = {"strategy": "round_robin" if is_path else strategy}
    router = Router()
    router.use(
        check_rules(
            {
                f"service{number}": {
                    **rule,
                    **({} if is_realm else {"endpoints": _three(number)}),
                    "code": number,
                    "match": {"path": f"/game/{number}"},
                }
                for number in range(_RULES)
            }
        )
    )
    router.realms = read_realms(
        {str(number): f"10.0.1.1:{1000 + number}" for number in range(_RULES)}
    )
    requests = [
        SessionRequest(
            "http" if is_path else "packets",
            "192.0.2.1",
            code=None if is_path else number,
            called="localhost" if is_path else "",
            path=f"/game/{number}/table" if is_path else "",
            realm_id=number,
            user=77_777 * number,
        )
        for number in range(_RULES)
    ]

    def look(times: int) -> None:
        rule_of, choose = router.rule_of, router.choose
        for number, request in zip(range(times), cycle(requests), strict=False):
            rule = rule_of(request)
            assert rule is not None
            choose(rule, request, number)

    look(_RULES)
    began = time.process_time()
    look(count)
    return 1e6 * (time.process_time() - began) / count


def _three(number: int) -> list[str]:
    return [f"10.0.0.{last}:{1000 + number}" for last in (1, 2, 3)]


def _rows(found: _Found) -> list[Figure]:
    per_second, messages = "per CPU second", "envelope messages, both ways"
    return [
        found.other(f"{_ADDED}, p50", "us", _ADDED_P50),
        found.other(f"{_ADDED}, p99", "us", _ADDED_P99),
        found.other(f"{_ADDED}, p50: nginx", "us"),
        found.other(f"{_ADDED}, p99: nginx", "us"),
        *found.figure("echo", "WebSocket echoes of 100 bytes", None, per_second),
        *found.figure(
            "packets 20",
            f"{messages}, 20 clients with 10 sessions each",
            _MESSAGES,
            per_second,
        ),
        *found.figure("packets 200", f"{messages}, 200 clients", _MESSAGES, per_second),
        *found.figure("down", "bytes from a TCP back end", None, "MB per CPU second"),
        found.ratio("down", "bytes from a TCP back end, ours over nginx's", _BULK),
        *found.figure("up", "bytes to a TCP back end", None, "MB per CPU second"),
        found.ratio("up", "bytes to a TCP back end, ours over nginx's", _BULK),
        *found.figure("get", "HTTP GET of 1 KB", _GETS, per_second),
        found.ratio("get", "HTTP GET of 1 KB, ours over nginx's", _GETS_OF_NGINX),
        *found.figure("tcp", "new TCP connections", _NEW, per_second),
        *found.figure("ws", "new WebSockets", _NEW, per_second),
        found.other(_IDLE_PLAIN, "KB", _PLAIN_KB),
        found.other(_IDLE_LINKED, "KB", _PLAIN_KB),
        found.other(_IDLE_TLS, "KB", _TLS_KB),
        found.other(_IDLE_NGINX, "KB"),
        found.other("links of them", "connections"),
        found.other(_STAYED, "clients"),
        *(found.other(name, "us CPU", _LOOKUP) for name in _LOOKUPS),
    ]
