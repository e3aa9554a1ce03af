"""Which Redis a node accepts: TLS, Sentinel, versions, and refusals in one sentence."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.store.contract import ANN, BOB, entry
from tests.support.certificates import authority, new_authority
from tests.support.redis_servers import (
    SAFE,
    RedisServer,
    WatchedRedis,
    connected,
    make_client,
    redis_for,
    shared_server,
    until,
)
from vinom.base.model import NodeFacts
from vinom.base.reactor.turns import TurnEnd
from vinom.base.settings.values import StoreAddress, read_store_address
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.store.redis.client import Access, Owner, RedisClient
from vinom.store.redis.inspection import FoundStore, find_store, make_dial
from vinom.store.redis.lobby import RedisLobbyStore
from vinom.store.redis.nodes import RedisNodeStore


class AddressTests(SynchronousTestCase):
    """What can be written for ``store``."""

    def test_addresses(self) -> None:
        """
        Each form of URL is read; what is printed of it has no password.
        """
        for url, found, shown in (
            ("redis://a", StoreAddress((("a", 6379),)), "redis://a:6379/0"),
            (
                "rediss://u:p%40@h.example:1/3",
                StoreAddress((("h.example", 1),), True, None, 3, "u", "p@"),
                "rediss://h.example:1/3",
            ),
            (
                "redis://u@a",
                StoreAddress((("a", 6379),), False, None, 0, "u"),
                "redis://a:6379/0",
            ),
            (
                "redis://:secret@[::1]:5/1",
                StoreAddress((("::1", 5),), False, None, 1, None, "secret"),
                "redis://[::1]:5/1",
            ),
            (
                "redis+sentinel://a:1,b/main",
                StoreAddress((("a", 1), ("b", 26379)), False, "main"),
                "redis+sentinel://a:1,b:26379/main",
            ),
        ):
            address = read_store_address(url)
            self.assertEqual((address, str(address)), (found, shown))
            self.assertNotIn("secret", repr(address))

    def test_refusals(self) -> None:
        """
        What cannot work is refused with the reason and what to use instead.
        """
        for url, words in (
            ("redis+cluster://a", "Redis Cluster"),
            ("rediss+sentinel://a/main", "TLS behind Sentinel"),
            ("redis+rediss+sentinel://a/main", "TLS behind Sentinel"),
            ("redis://a,b", "redis+sentinel://"),
            ("redis://a/b", "number of a database"),
            ("redis://a:0", "port"),
            ("redis://", "host"),
            ("redis+sentinel://a", "name of the service"),
            ("mysql://a", "must be memory, redis://"),
            ("localhost:6379", "must be memory, redis://"),
        ):
            with self.assertRaises(ValueError, msg=url) as caught:
                read_store_address(url)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


class FindTests(SynchronousTestCase):
    """What is found at an address."""

    def start(self, *arguments: str, **more: Any) -> RedisServer:
        return redis_for(self, *arguments, **more)

    def find(self, url: str) -> FoundStore:
        return find_store(read_store_address(url))

    def refuses(
        self, url: str, words: str, kind: type[Exception] = Misconfigured
    ) -> None:
        with self.assertRaises(kind) as caught:
            self.find(url)
        self.assertIn(words, str(caught.exception))

    def test_plain(self) -> None:
        """
        A Redis of its default settings can be used.
        """
        found = self.find(shared_server().url)
        self.assertEqual(found.port, shared_server().port)
        self.assertEqual(found.eviction, "noeviction")

    def test_nobody_answers(self) -> None:
        """
        A Redis that is not there, or stopped, may come: that is no mistake.
        """
        server = RedisServer()
        server.pause()
        self.refuses(server.url, "timed out", StoreUnavailable)
        server.kill()
        self.refuses(server.url, "refused", StoreUnavailable)

    def test_password(self) -> None:
        """
        A wrong password is reported at the start; the right one works.
        """
        server = self.start("--requirepass", "secret")
        at = f"127.0.0.1:{server.port}"
        self.refuses(f"redis://{at}", "NOAUTH")
        self.refuses(f"redis://:wrong@{at}", "WRONGPASS")
        self.find(f"redis://:secret@{at}")
        self.find(f"redis://default:secret@{at}/3")

    def test_replica(self) -> None:
        """
        A replica, which takes no writes, is refused.
        """
        master = shared_server()
        replica = self.start("--replicaof", "127.0.0.1", str(master.port))
        self.refuses(replica.url, "replica")

    def test_cluster(self) -> None:
        """
        A Redis Cluster is refused.
        """
        self.refuses(self.start("--cluster-enabled", "yes").url, "Redis Cluster")

    def test_sentinel(self) -> None:
        """
        The master that Sentinel names is used, if it takes no writes without a replica.
        """
        master = self.start()
        sentinel = self.start(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n", is_sentinel=True
        )
        nobody = "127.0.0.1:1"
        url = f"redis+sentinel://{nobody},127.0.0.1:{sentinel.port}/main"
        self.refuses(url, "min-replicas-to-write")
        master.command("CONFIG", "SET", "min-replicas-to-write", "1")
        self.refuses(url, "min-replicas-max-lag 10")
        master.command("CONFIG", "SET", "min-replicas-max-lag", "1")
        self.refuses(url, "no replica yet", StoreUnavailable)
        self.start("--replicaof", "127.0.0.1", str(master.port))
        give_up = time.monotonic() + 20
        while "good_slaves:1" not in master.command("INFO", "replication"):
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.05)
        self.assertEqual(self.find(url).port, master.port)
        # Another Sentinel is cut off with a master of the past.
        old = self.start(*SAFE)
        cut = self.start(
            f"sentinel monitor main 127.0.0.1 {old.port} 1\n", is_sentinel=True
        )
        both = f"127.0.0.1:{cut.port},127.0.0.1:{sentinel.port}"
        found = self.find(f"redis+sentinel://{both}/main")
        self.assertEqual(found.port, master.port)
        self.refuses(
            f"redis+sentinel://127.0.0.1:{sentinel.port}/other",
            "no service 'other'",
            StoreUnavailable,
        )
        self.refuses(f"redis+sentinel://{nobody}/main", "refused", StoreUnavailable)


class FailoverTests(TestCase):
    """A master that another one replaced."""

    timeout = 90

    async def test_failover(self) -> None:
        """
        A node follows a failover with all that was written; the old master takes no
        writes any more.
        """
        watched = WatchedRedis(60.0)
        self.addCleanup(watched.kill)
        first, second = watched.servers
        found: list[FoundStore] = []
        client = RedisClient(
            Access(
                make_dial(read_store_address(watched.url), None, reactor, found.append),
                "vinom:1:failover:",
            ),
            Owner("n1"),
            reactor,
            time.monotonic,
            os.urandom,
            TurnEnd(reactor),
        )
        client.startService()
        self.addCleanup(client.stopService)
        await until(lambda: client.is_available, 60)
        nodes, entries = RedisNodeStore(client), RedisLobbyStore(client, time.time)
        await nodes.register(NodeFacts("n1", {}, "1"), 60)
        await entries.enqueue(entry(ANN, 1.0))
        # A failover loses what the replica has not got yet.
        await until(lambda: self.replicated(first), 60)
        await until(lambda: watched.fail_over(), 60)
        await until(lambda: found[-1].port == second.port and client.is_available, 60)
        self.assertEqual((await entries.enqueue(entry(BOB, 2.0))).place, 2)
        self.assertEqual(list(await entries.places(["e-ann"])), [1])
        with self.assertRaises(AssertionError) as caught:
            first.command("EVAL", "redis.call('SET', 'a', 'b')", "0")
        self.assertRegex(str(caught.exception), "READONLY|NOREPLICAS")

    def replicated(self, master: RedisServer) -> bool:
        """Has the only replica everything?"""
        facts = master.command("INFO", "replication")
        offset = re.search(r"master_repl_offset:(\d+)", facts)
        replica = re.search(r"slave0:.*offset=(\d+)", facts)
        return bool(offset and replica and offset[1] == replica[1])

    async def test_lonely_master(self) -> None:
        """
        A master that lost its replicas, as one does that a failover replaced, refuses
        each step before it changes anything.
        """
        server = redis_for(self)
        client = make_client(server.port, "vinom:1:lonely:")
        await connected(self, client)
        nodes, entries = RedisNodeStore(client), RedisLobbyStore(client, time.time)
        await nodes.register(NodeFacts("n1", {}, "1"), 60)
        await entries.enqueue(entry(BOB, 1.0))
        before = sorted(server.command("KEYS", "*"))
        for setting in ("min-replicas-to-write", "min-replicas-max-lag"):
            server.command("CONFIG", "SET", setting, "1")
        with self.assertRaises(StoreUnavailable) as caught:
            await entries.enqueue(entry(ANN, 1.0))
        self.assertIn("NOREPLICAS", str(caught.exception))
        self.assertEqual(sorted(server.command("KEYS", "*")), before)
        # It looks for another master.
        self.assertEqual(client.opened, 1)


class _ThroughTls(Protocol):
    """Pass on what arrives over TLS to a Redis, and back."""

    def __init__(self, port: int) -> None:
        self._to = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self._held: list[bytes] = []
        self._there: Any = None

    def connectionMade(self) -> None:
        here, back = self, Protocol()
        back.dataReceived = lambda data: here.transport.write(data)  # type: ignore[method-assign]
        back.connectionLost = lambda _: here.transport.loseConnection()  # type: ignore[method-assign,misc]

        def connected(there: Any) -> None:
            self._there = there
            for data in self._held:
                there.transport.write(data)

        self._to.connect(Factory.forProtocol(lambda: back)).addCallback(connected)

    def dataReceived(self, data: bytes) -> None:
        if self._there is None:
            self._held.append(data)
        else:
            self._there.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._there is not None:
            self._there.transport.loseConnection()


class TlsTests(TestCase):
    """``rediss://``: chain and name are verified."""

    timeout = 60

    async def listen(self, *names: str) -> int:
        """Serve the shared Redis over TLS; returns the port."""
        issued = authority().issue(*names)
        made = PrivateCertificate.loadPEM(issued.certificate + issued.key)
        options = CertificateOptions(
            privateKey=made.privateKey.original, certificate=made.original
        )
        factory = Factory.forProtocol(lambda: _ThroughTls(shared_server().port))
        secure = TLSMemoryBIOFactory(options, False, factory)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            secure
        )
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def find(self, port: int, anchor: bytes) -> str:
        """Find it; returns the reason if it is refused."""
        address = read_store_address(f"rediss://localhost:{port}/0")
        try:
            found = await deferToThread(find_store, address, anchor)
        except Misconfigured as error:
            return str(error)
        self.assertEqual(found.port, port)
        return "found"

    async def connects(self, port: int, anchor: bytes) -> str:
        """Connect as a node does, without looking first; returns how it went."""
        address = read_store_address(f"rediss://localhost:{port}/0")
        found = FoundStore("localhost", port, "6.2.0", "noeviction", 0.0)
        self.patch(
            __import__("vinom.store.redis.inspection", fromlist=["find_store"]),
            "find_store",
            lambda *_: found,
        )
        client = RedisClient(
            Access(make_dial(address, anchor, reactor), "vinom:1:tls:"),
            Owner("n1"),
            reactor,
            reactor.seconds,
            bytes,
            TurnEnd(reactor),
        )
        client.startService()
        await until(lambda: client.is_available or client.why != "not connected yet")
        was_available = client.is_available
        await maybeDeferred(client.stopService)
        return "connected" if was_available else client.why

    async def test_right_name(self) -> None:
        """
        A certificate of the authority for this name is accepted.
        """
        port = await self.listen("localhost")
        self.assertEqual(await self.find(port, authority().anchor), "found")
        self.assertEqual(await self.connects(port, authority().anchor), "connected")

    async def test_wrong_name(self) -> None:
        """
        A certificate for another name is refused, in words and by the connection.
        """
        port = await self.listen("other.example")
        why = await self.find(port, authority().anchor)
        self.assertIn("localhost", why)
        self.assertIn("store_ca", why)
        how = await self.connects(port, authority().anchor)
        self.assertNotEqual(how, "connected")

    async def test_wrong_authority(self) -> None:
        """
        A certificate that somebody else signed is refused.
        """
        port = await self.listen("localhost")
        self.assertIn("store_ca", await self.find(port, new_authority().anchor))
        how = await self.connects(port, new_authority().anchor)
        self.assertNotEqual(how, "connected")

    def test_no_certificate(self) -> None:
        """
        A file that is no certificate is named.
        """
        with self.assertRaises(Misconfigured) as caught:
            find_store(read_store_address(shared_server().url), b"")
            find_store(read_store_address("rediss://localhost:1"), b"x")
        self.assertIn("store_ca", str(caught.exception))
