"""
Where rules come from: a TOML file that is watched, or Redis; a new set is accepted or
refused as a whole. In Redis operators write them: `RedisRoutes` reads them there.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Repeating
from vinom.base.settings.sources import not_toml
from vinom.base.settings.values import StoreAddress
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import (
    Endpoint,
    Rules,
    check_rules,
    read_realms,
    read_rules,
    read_services,
)
from vinom.store.redis.client import Owner, RedisClient, load
from vinom.store.redis.inspection import access_to, find_store
from vinom.store.redis.subscriber import RedisSubscriber

_READ = load("gateway", "read")["read"]


@attrs.frozen
class StoredRoutes:
    """
    Rules and realms as read.

    :ivar rules: JSON; ``None`` if there are none.
    :ivar realms: back ends by ``realm_id``.
    :ivar services: codes by the service's name.
    :ivar run: names the run of Redis that had them; empty if it does not say.
    :ivar mistake: a key of the wrong type; ``None`` if there is none.
    """

    rules: bytes | None
    realms: Mapping[bytes, bytes]
    services: Mapping[bytes, bytes]
    run: bytes = b""
    mistake: str | None = None


@attrs.frozen
class RedisRoutes:
    """
    Read the rules; has the channel on which changes are announced.

    :ivar client: sends commands; its prefix is that of the keys.
    """

    client: RedisClient

    @property
    def channel(self) -> str:
        """The channel: any message means that something here has changed."""
        return f"{self.client.prefix}routing:changed"

    @property
    def key(self) -> str:
        """The key of the rules."""
        return f"{self.client.prefix}routing:rules"

    def read(self) -> Deferred[StoredRoutes]:
        """
        Read rules, realms and the codes of services in one step.

        :raises StoreUnavailable: Redis does not answer.
        """
        return self.client.run(_READ).addCallback(self._found)

    def _found(self, found: list[Any]) -> StoredRoutes:
        kind, rules, run, *hashes = found
        mistake = None
        if kind in (b"realm:mapping", b"services"):
            mistake = f"the key {self.client.prefix}{kind.decode()} must be a hash"
        elif kind not in (b"string", b"none"):
            mistake = f"the key {self.key} must be a string of JSON"
        realms, services = (
            dict(zip(pairs[::2], pairs[1::2], strict=True)) for pairs in hashes
        )
        rules = rules if kind == b"string" else None
        return StoredRoutes(rules, realms, services, run, mistake)


_log = Logger()

#: Between two reads of rules in Redis without an announcement, seconds.
_REFRESH_SECONDS = 10.0
#: What is wrong with the rules that `Router.unreachable` lists.
UNREACHABLE = (
    "no client can reach it: give its rule a code or a match, or its name a number in "
    "services"
)


@attrs.define(eq=False)
class Routes:
    """
    Give the router new rules; if they have a mistake the previous ones stay.

    :ivar router: gets the rules.
    :ivar services: codes of services whose rules name none.
    :ivar changed: called with all back ends of new rules.
    :ivar has_certificate: can back ends be reached by ``packets+tls``?
    :ivar is_loaded: have there ever been valid rules?
    :ivar mistake: the mistake in the newest rules; ``None`` if they are in use.
    :ivar taken: how many times new rules came into use.
    :ivar refused: how many times rules were refused; once for each text.
    """

    router: Router
    services: Mapping[str, int] = attrs.field(factory=dict)
    changed: Callable[[set[Endpoint]], None] = lambda _: None
    has_certificate: bool = True
    is_loaded: bool = attrs.field(default=False, init=False)
    mistake: str | None = attrs.field(default=None, init=False)
    taken: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _newest: Any = attrs.field(default=None, init=False)

    def offer_text(
        self,
        rules: bytes | None,
        realms: Mapping[bytes, bytes],
        services: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """
        Use rules and realms from Redis.

        :param rules: JSON; ``None`` for no rules.
        :param services: codes of services, which count before those of the settings.
        """
        codes = services or {}
        self._offer(
            (rules, dict(realms), dict(codes)),
            lambda: (
                read_rules(
                    rules or b"{}", {**self.services, **read_services(_texts(codes))}
                ),
                read_realms(_texts(realms)),
            ),
        )

    def offer(self, document: Mapping[str, Any]) -> None:
        """
        Use rules and realms from a TOML document.

        :param document: the document, with tables ``services`` and ``realms``.
        """

        def read() -> tuple[Rules, dict[int, Endpoint]]:
            unknown = sorted(set(document) - {"services", "realms"})
            if unknown:
                raise Misconfigured(
                    f"routes: unknown table {unknown[0]!r}; use services and realms"
                )
            realms = document.get("realms", {})
            if not isinstance(realms, dict):
                raise Misconfigured("routes: realms must be a table")
            return (
                check_rules(document.get("services", {}), self.services),
                read_realms(realms),
            )

        self._offer(document, read)

    def refuse(self, given: Any, mistake: str) -> None:
        """
        Report rules that cannot be read or parsed; once for each text.

        :param given: identifies the text.
        """
        if given == self._newest:
            return
        self._newest, self.mistake = given, mistake
        self.refused += 1
        stay = "the rules of before stay" if self.is_loaded else "nothing is served"
        _log.error("rules refused, {stay}: {mistake}", stay=stay, mistake=mistake)

    def _offer(
        self, given: Any, read: Callable[[], tuple[Rules, dict[int, Endpoint]]]
    ) -> None:
        if self._newest is not None and given == self._newest:
            return
        try:
            rules, realms = read()
            self._check_links(rules)
        except Misconfigured as error:
            self.refuse(given, str(error))
            return
        self._newest, self.mistake = given, None
        self.is_loaded = True
        self.taken += 1
        self.router.use(rules)
        self.router.realms = realms
        endpoints = {
            one for rule in rules.by_name.values() for one in rule.endpoints
        } | set(realms.values())
        self.changed(endpoints)
        _log.info(
            "rules of {count} services and {realms} realms are in use",
            count=len(rules.by_name),
            realms=len(realms),
        )
        for service in self.router.unreachable():
            _log.warn("{service}: {why}", service=service, why=UNREACHABLE)

    def _check_links(self, rules: Rules) -> None:
        for name, rule in rules.by_name.items():
            if rule.transport == "packets+tls" and not self.has_certificate:
                raise Misconfigured(
                    f"rules: {name}: packets+tls needs a certificate: set "
                    "link_certificate_file, link_key_file and link_authority_file"
                )


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in found.items()
    }


#: How often the file is checked, seconds.
_LOOK_SECONDS = 1.0


class FileRules(Repeating):
    """Read rules from a file, again whenever it changes."""

    name = "rules"

    def __init__(self, path: Path, routes: Routes, clock: IReactorTime) -> None:
        """
        :param path: the TOML file.
        :param routes: gets the rules.
        :param clock: times the checks.
        """
        # Before twistd changes its working directory.
        self._path, self._routes = path.absolute(), routes
        super().__init__(self._look, _LOOK_SECONDS, clock, is_at_once=True)
        self._seen: tuple[int, int, int] | None = None

    def _look(self) -> None:
        try:
            found = self._path.stat()
            # A new file can have the same name, size and time, but not the same inode.
            seen = found.st_mtime_ns, found.st_size, found.st_ino
            if seen == self._seen:
                return
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._seen = None
            self._routes.refuse(why, f"cannot read {self._path}: {why}")
            return
        self._seen = seen
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self._routes.refuse(text, not_toml(self._path, error))
            return
        self._routes.offer(document)


class RedisRules(MultiService):
    """
    Read rules from Redis: at the start, at each message, and every few seconds.

    While Redis does not answer, the last rules stay in use. So they do if Redis lost
    them: there is no key with rules, and it is not the run of Redis that had them. To
    have no rules, remove the key while Redis runs, or write ``{}``.

    :ivar why: why the last read failed; ``None`` if it did not.
    :ivar client: sends commands to the Redis.
    """

    name = "rules"

    def __init__(
        self, stored: RedisRoutes, routes: Routes, clock: IReactorTime, seconds: float
    ) -> None:
        """
        :param stored: reads the keys.
        :param routes: gets the rules.
        :param clock: times the reads.
        :param seconds: time between two reads.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._stored, self._routes, self.client = stored, routes, stored.client
        self._clock, self._seconds = clock, seconds
        self._next = Timer(self._clock)
        self._is_reading = self._is_changed = False
        #: The run of Redis that had rules the last time.
        self._run: bytes | None = None
        self.why: str | None = "not read yet"
        # Also when Redis is gone: then the read says why.
        stored.client.watch(lambda is_available: self.changed())

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self.changed()

    def stopService(self) -> Deferred[Any]:
        self._next.cancel()
        stopped: Deferred[Any] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped

    def changed(self) -> None:
        """The rules may have changed: read them."""
        if not self.running:
            return
        if self._is_reading:
            # The answer to a read under way may be older than the change.
            self._is_changed = True
            return
        self._is_reading, self._is_changed = True, False
        self._next.cancel()
        reading = self._stored.read()
        reading.addCallbacks(self._found, self._not_found).addErrback(
            lambda failure: _log.failure("cannot apply rules", failure)
        )
        reading.addCallback(lambda _: self._read_later())

    def _found(self, found: StoredRoutes) -> None:
        self.why = None
        mistake = found.mistake
        if mistake is None and found.rules is None and found.run != self._run:
            mistake = (
                f"this Redis has no key {self._stored.key}, and may have lost it: "
                "write the rules, or {} for none"
            )
        if mistake is None:
            self._run = found.run
            self._routes.offer_text(found.rules, found.realms, found.services)
        else:
            self._routes.refuse(mistake, mistake)

    def _not_found(self, failure: Failure) -> None:
        failure.trap(StoreUnavailable)
        self.why = str(failure.value)

    def _read_later(self) -> None:
        self._is_reading = False
        if self._is_changed:
            self.changed()
        elif self.running:
            self._next.start(self._seconds, self.changed)


def redis_source(
    address: StoreAddress,
    authority: bytes | None,
    owner: Owner,
    routes: Routes,
    reactor: Any,
    entropy: Callable[[int], bytes],
    turns: TurnEnd,
    *,
    prefix: str,
    seconds: float = _REFRESH_SECONDS,
) -> RedisRules:
    """
    Make what reads rules from a Redis, with its client and its subscriber.

    :param address: the address, with the login.
    :param authority: the authority that signed the certificate of Redis, PEM; ``None``
        for those that the system trusts.
    :param owner: the name of the connections.
    :param routes: gets the rules.
    :param reactor: connects.
    :param entropy: called with a number, returns that many random bytes.
    :param turns: decides when calls are sent.
    :param prefix: prefix of all keys.
    :param seconds: time between two reads without an announcement.
    :raises Misconfigured: the Redis cannot be used.
    """
    try:
        find_store(address, authority)
    except StoreUnavailable as error:
        _log.warn("{why}; there are no rules until it answers", why=error)
    access = access_to(address, authority, reactor, prefix)
    client = RedisClient(access, owner, reactor, time.monotonic, entropy, turns)
    stored = RedisRoutes(client)
    rules = RedisRules(stored, routes, reactor, seconds)
    subscriber = RedisSubscriber(
        access,
        stored.channel,
        lambda message: rules.changed(),
        # Earlier announcements were missed.
        rules.changed,
        reactor,
        entropy,
    )
    for service in (client, subscriber):
        service.setServiceParent(rules)  # type: ignore[no-untyped-call]  # Twisted's
    return rules
