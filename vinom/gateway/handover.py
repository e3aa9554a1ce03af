"""
Hand the ports of one gateway to the next one on the same machine, without a gap.

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

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IFileDescriptorReceiver, IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.errors import Misconfigured, VinomError
from vinom.gateway.draining import Draining
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
            await endpoint.connect(_only(taking))
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
                str(self._path), _GivingFactory(self), mode=0o600
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


class _GivingFactory(Factory):
    noisy = False

    def __init__(self, handover: Handover) -> None:
        self._handover = handover

    def buildProtocol(self, addr: object) -> Protocol:
        return _Giving(self._handover)


def _only(protocol: Protocol) -> Any:
    factory: Any = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    return factory


def _late(failure: Failure) -> None:
    _log.warn(
        "the previous process does not leave the ports: {why}",
        why=failure.getErrorMessage(),
    )
