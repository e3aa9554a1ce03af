"""A second connection to Redis, on which a node receives messages of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from txredisapi import SubscriberProtocol

from vinom.base.limits.logged import in_background
from vinom.base.reactor.alarm import Timer
from vinom.store.redis.client import Access, Breaker


class _Subscriber(SubscriberProtocol):  # type: ignore[misc]  # it has no types
    """Pass on messages as they came."""

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        self.factory.heard(message)


class _Subscribers(Factory):
    noisy = False

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self.heard = heard

    def buildProtocol(self, addr: object) -> Any:
        protocol = _Subscriber(charset=None, convertNumbers=False)
        protocol.factory = self
        return protocol


class RedisSubscriber(Service):
    """
    Stay subscribed to one channel.

    :ivar is_subscribed: do messages come?
    """

    name = "subscriber"
    _log = Logger()

    def __init__(
        self,
        access: Access,
        channel: str,
        heard: Callable[[bytes], None],
        subscribed: Callable[[], None],
        clock: IReactorTime,
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        :param access: to the Redis.
        :param channel: its name.
        :param heard: called with each message.
        :param subscribed: called when messages come; earlier ones were missed.
        :param clock: for delays.
        :param entropy: called with a number, returns that many random bytes.
        """
        self._access, self._channel, self._subscribed = access, channel, subscribed
        self._clock = clock
        self._deadline, self._beat = access.deadline, access.beat
        self._factory = _Subscribers(heard)
        self._breaker = Breaker(entropy)
        self._next = Timer(self._clock)
        self._attempt: Deferred[None] | None = None
        # The newest connection, and the same when messages come on it.
        self._line: Any = None
        self._protocol: Any = None
        # Has it been logged that no messages come?
        self._is_away = False

    @property
    def is_subscribed(self) -> bool:
        return self._protocol is not None

    def startService(self) -> None:
        """Subscribe, and stay so."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._try()

    def stopService(self) -> Deferred[None]:
        """Disconnect; fires when that is done."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self._next.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        self._protocol = None
        gone: Deferred[None] = succeed(None)
        if self._line is not None:
            gone = self._line.whenDisconnected()
            self._line.transport.abortConnection()
        # txredisapi ends what was asked only after that, and an attempt to connect
        # ends in the next turn of the reactor.
        return gone.addCallback(lambda _: deferLater(self._clock, 0.0, lambda: None))

    def _try(self) -> None:
        self._attempt = in_background(self._log, self._subscribe(), "cannot subscribe")

    async def _subscribe(self) -> None:
        protocol = None
        try:
            protocol = await self._access.dial(self._factory)
            self._hold(protocol)
            user, password = self._access.login
            if password is not None:
                parts = ("AUTH", password) if user is None else ("AUTH", user, password)
                await self._ask(protocol, *parts)
            await self._ask(protocol, "SUBSCRIBE", self._channel)
        except Exception as error:
            if protocol is not None:
                protocol.transport.abortConnection()
            if self.running:
                if not self._is_away:
                    # Once: the store logs when it is away, too.
                    self._is_away = True
                    self._log.info("not subscribed yet: {why}", why=str(error))
                self._next.start(self._breaker.open(), self._try)
            return
        if not self.running:
            protocol.transport.abortConnection()
            return
        self._protocol = protocol
        if self._is_away:
            self._is_away = False
            self._log.info("messages of other nodes come again")
        protocol.whenDisconnected().addCallback(lambda _: self._lost(protocol))
        self._breaker.close()
        self._next.start(self._beat, self._ping, protocol)
        self._subscribed()

    def _hold(self, protocol: Any) -> None:
        def gone(_: object) -> None:
            if self._line is protocol:
                self._line = None

        self._line = protocol
        protocol.whenDisconnected().addCallback(gone)

    def _ping(self, protocol: Any) -> None:
        def answered(_: object) -> None:
            if protocol is self._protocol:
                self._next.start(self._beat, self._ping, protocol)

        asked = self._ask(protocol, "PING")
        asked.addCallbacks(answered, lambda _: self._lost(protocol))

    def _lost(self, protocol: Any) -> None:
        if protocol is not self._protocol:
            return
        self._protocol = None
        self._is_away = True
        self._log.warn("messages of other nodes do not come; subscribing again")
        self._next.start(self._breaker.open(), self._try)
        protocol.transport.abortConnection()

    def _ask(self, protocol: Any, *command: str) -> Deferred[Any]:
        asked: Deferred[Any] = protocol.execute_command(*command)
        return asked.addTimeout(self._deadline, self._clock)
