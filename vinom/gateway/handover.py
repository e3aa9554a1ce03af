"""
The end of a gateway: it hands its ports to the next one on the same machine, without a
gap, and drains: no new clients, time for those connected, then the exit.

The next process connects to a UNIX socket, and gets the descriptors and their names.
When it serves it sends a line; then this process leaves the socket to it, and drains.
Both use the same queue of the kernel, so no connection in it is lost. A process that
can open the socket can take the ports, so its mode is 600.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IListeningPort,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.connections import Made
from vinom.errors import Misconfigured, VinomError
from vinom.gateway.ports import Ports

_log = Logger()

_SERVING, _YOURS = b"serving\n", b"yours\n"
_SECONDS = 5.0
_MOST_NAMES = 64 * 1024


class NotHandedOver(VinomError):
    """The previous process did not hand over its ports."""


@implementer(IFileDescriptorReceiver)
class _Taking(Protocol):
    """The end of the next process."""

    transport: Any

    def __init__(self) -> None:
        self.named: Deferred[dict[str, int]] = Deferred()
        self.left: Deferred[None] = Deferred()
        self._held = b""
        self._descriptors: list[int] = []

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _MOST_NAMES:
            self.transport.abortConnection()
        while b"\n" in self._held:
            line, _, self._held = self._held.partition(b"\n")
            if not self.named.called:
                names = json.loads(line)
                found = dict(zip(names, self._descriptors, strict=True))
                self.named.callback(found)
            elif line + b"\n" == _YOURS and not self.left.called:
                self.left.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for waiting in (self.named, self.left):
            if not waiting.called:
                waiting.errback(NotHandedOver("the previous process closed the socket"))


class Handover:
    """Both roles of a process: at first the next one, later the previous one."""

    def __init__(
        self, path: Path, reactor: Any, ports: Ports, draining: Draining
    ) -> None:
        """
        :param path: the socket.
        :param reactor: connects and listens.
        :param ports: the ports to hand over.
        :param draining: drains this process.
        """
        self._path, self._reactor = path.absolute(), reactor
        self._ports, self._draining = ports, draining
        self._taking: _Taking | None = None
        self._port: IListeningPort | None = None

    async def take(self) -> dict[str, int]:
        """
        Get the ports of the previous process.

        :returns: descriptors by name; empty if there is no such process.
        """
        taking = _Taking()
        # Nothing may be waiting for it.
        taking.left.addErrback(lambda _: None)
        endpoint = UNIXClientEndpoint(self._reactor, str(self._path), _SECONDS)
        try:
            await endpoint.connect(Made(lambda: taking))
        except Exception:
            return {}
        try:
            found = await taking.named.addTimeout(_SECONDS, self._reactor)
        except Exception as error:
            raise NotHandedOver(
                f"the process at {self._path} does not hand over its ports ({error}): "
                "stop it"
            ) from error
        self._taking = taking
        return found

    async def serve(self) -> None:
        """
        Make the previous process leave, and wait for the next one.

        :raises Misconfigured: the socket cannot be opened.
        """
        taking = self._taking
        if taking is not None:
            self._taking = None
            taking.transport.write(_SERVING)
            await taking.left.addTimeout(_SECONDS, self._reactor).addErrback(_late)
            taking.transport.loseConnection()
        with suppress(OSError):
            # Left behind by a process that was killed.
            if S_ISSOCK(self._path.stat().st_mode):
                self._path.unlink()
        mask = os.umask(0o177)
        try:
            self._port = self._reactor.listenUNIX(
                str(self._path), Made(lambda: _Giving(self)), mode=0o600
            )
        except CannotListenError as error:
            raise Misconfigured(
                f"handover {str(self._path)!r} cannot be used: "
                f"{error.socketError.strerror}"
            ) from error
        finally:
            os.umask(mask)

    def close(self) -> Deferred[Any]:
        """Close the socket."""
        port, self._port = self._port, None
        return maybeDeferred(lambda: None if port is None else port.stopListening())

    def give(self, transport: Any) -> None:
        """Send all ports to the next process."""
        descriptors = self._ports.descriptors()
        for descriptor in descriptors.values():
            transport.sendFileDescriptor(descriptor)
        transport.write(json.dumps(list(descriptors)).encode() + b"\n")

    def taken(self, transport: Any) -> None:
        """The next process serves now."""
        _log.info("another process has the ports: this one accepts no more connections")
        self.close().addCallback(lambda _: transport.write(_YOURS))
        self._draining.begin(is_handed_over=True)


class _Giving(Protocol):
    """The end of the previous process."""

    transport: Any

    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        self._held = b""

    def connectionMade(self) -> None:
        self._handover.give(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._held = (self._held + data)[: len(_SERVING)]
        if self._held == _SERVING:
            self._held = b""
            self._handover.taken(self.transport)


def _late(failure: Failure) -> None:
    _log.warn(
        "the previous process does not leave the ports: {why}",
        why=failure.getErrorMessage(),
    )


#: How often it is checked whether all clients are gone, seconds.
_LOOK_SECONDS = 0.1
#: How long clients whose sessions were ended may take to read the reason, seconds.
CUT_SECONDS = 3.0


class Ending(Shape):
    """The gateway's operations that a drain uses."""

    def close_ports(self) -> None:
        """Accept no new connections."""

    def ask_to_leave(self, seconds: float) -> None:
        """Ask clients to connect again elsewhere, one by one over *seconds*."""

    def cut(self) -> int:
        """End all remaining sessions; returns how many there were."""

    def is_empty(self) -> bool:
        """Are all clients gone?"""

    def finish(self) -> None:
        """Exit."""


class Draining:
    """
    Drain a gateway, once.

    :ivar is_begun: clients should not be sent here any more.
    :ivar is_handed_over: another process has the ports.
    """

    def __init__(
        self, ending: Ending, clock: IReactorTime, lag: float, seconds: float
    ) -> None:
        """
        :param ending: the gateway.
        :param clock: the clock.
        :param lag: how long new connections are still accepted, so that load balancers
            can notice, seconds.
        :param seconds: how long clients may stay after that.
        """
        self._ending, self._clock = ending, clock
        self._lag, self._seconds = lag, seconds
        self.is_begun = self.is_handed_over = False
        self._call = Timer(self._clock)
        self._deadline = 0.0
        self._is_cut = False

    def begin(self, is_handed_over: bool = False) -> None:
        """
        Drain.

        :param is_handed_over: whether another process has the ports; then there is no
            lag.
        """
        if self.is_begun:
            if is_handed_over and not self.is_handed_over:
                self.is_handed_over = True
                # Also the admin port: the other process has it now.
                self._ending.close_ports()
            return
        self.is_begun, self.is_handed_over = True, is_handed_over
        lag = 0.0 if is_handed_over else self._lag
        _log.info(
            "draining: new connections are accepted for {lag} s more; clients may "
            "stay {seconds} s after that",
            lag=lag,
            seconds=self._seconds,
        )
        self._call.start(lag, self._close)

    def stop(self) -> None:
        """Do nothing more, because the process exits."""
        self._call.cancel()

    def _close(self) -> None:
        self._deadline = self._clock.seconds() + self._seconds
        self._ending.close_ports()
        # Within half of the time, so that all clients have time left to finish.
        self._ending.ask_to_leave(self._seconds / 2)
        self._look()

    def _look(self) -> None:
        if self._ending.is_empty():
            _log.info("drained: no client is left")
            self._ending.finish()
            return
        now = self._clock.seconds()
        if now >= self._deadline:
            if self._is_cut:
                self._ending.finish()
                return
            self._is_cut = True
            self._deadline = now + CUT_SECONDS
            _log.info(
                "drain_seconds are over: ending {count} sessions",
                count=self._ending.cut(),
            )
        wait = min(_LOOK_SECONDS, self._deadline - now)
        self._call.start(max(0.001, wait), self._look)
