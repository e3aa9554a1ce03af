"""
The ports of a gateway: opened or taken over, and closed with an empty queue; and the
certificates of the public one, read again when their files change.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.connections import accept_quickly, why_not_open
from vinom.base.reactor.waits import Repeating
from vinom.errors import Misconfigured
from vinom.net.keys.files import read_file
from vinom.net.lines.tls import NamedTls, ReloadableTls

_log = Logger()

#: Most rounds of accepting before a port is closed; each takes many connections.
_MOST_ROUNDS = 1000


class Ports:
    """
    Opens and closes ports.

    :ivar open: open ports, by setting and endpoint.
    """

    def __init__(self, reactor: Any, gateway_id: str) -> None:
        """
        :param reactor: listens.
        :param gateway_id: for the log.
        """
        self._reactor, self._gateway_id = reactor, gateway_id
        self.open: dict[str, IListeningPort] = {}

    def listen(
        self,
        name: str,
        where: str,
        factory: IProtocolFactory,
        inherited: int | None = None,
    ) -> None:
        """
        Open a port.

        :param name: the name of its setting.
        :param where: a Twisted endpoint, or a TCP port.
        :param inherited: the port's descriptor from the previous process.
        :raises Misconfigured: *where* isn't an endpoint, or cannot be opened.
        """
        if inherited is not None:
            self._adopt(name, where, inherited, factory)
            return
        whole = f"{name} {where}"
        where = f"tcp:{where}" if where.isdecimal() else where
        try:
            opening = serverFromString(self._reactor, where).listen(factory)
        except (TypeError, ValueError, LookupError, OSError) as error:
            raise Misconfigured(
                f"{name} {where!r} isn't an endpoint: {error}"
            ) from error
        failures: list[Failure] = []
        opening.addCallbacks(lambda port: self._listens(whole, port), failures.append)
        if failures:
            cause: Any = failures[0].value
            raise Misconfigured(
                f"{name} {where!r} cannot be used: {why_not_open(cause)}"
            ) from cause

    def descriptors(self) -> dict[str, int]:
        """List the ports that another process can take over: those of TCP."""
        return {
            name: port.fileno()
            for name, port in self.open.items()
            if isinstance(port, Port)
        }

    def close(self, but: Collection[str] = ()) -> Deferred[Any]:
        """
        Accept all connections in the queue, then stop listening.

        :param but: settings whose ports stay open.
        """
        ports, self.open = self.open, {}
        for name in tuple(ports):
            if name.partition(" ")[0] in but:
                self.open[name] = ports.pop(name)
        for port in ports.values():
            if isinstance(port, Port):
                _accept_all(port)
        return DeferredList(
            [maybeDeferred(port.stopListening) for port in ports.values()],
            consumeErrors=True,
        )

    def _adopt(
        self, name: str, where: str, descriptor: int, factory: IProtocolFactory
    ) -> None:
        # systemd makes sockets that it holds blocking whenever it starts a process.
        os.set_blocking(descriptor, False)
        with socket.socket(fileno=os.dup(descriptor)) as found:
            family = found.family
        port = self._reactor.adoptStreamPort(descriptor, family, factory)
        os.close(descriptor)
        self._listens(f"{name} {where}", port)

    def _listens(self, name: str, port: IListeningPort) -> None:
        self.open[name] = port
        if isinstance(port, Port):
            # When Twisted closes a socket that it opened it also shuts it down, for
            # every process that has it. It does not do so for adopted sockets
            # (source: its tcp.Port).
            port._shouldShutdown = False
            if name.startswith("listen "):
                accept_quickly(port)
        address: Any = port.getHost()
        _log.info(
            "gateway {id} listens at {host}:{port} ({name})",
            name=name.partition(" ")[0],
            id=self._gateway_id,
            host=getattr(address, "host", address),
            port=getattr(address, "port", ""),
        )


def _accept_all(port: Any) -> None:
    """Empty the queue first: closing a port resets the connections in it."""
    poll = select.poll()
    poll.register(port.fileno(), select.POLLIN)
    for _ in range(_MOST_ROUNDS):
        if not poll.poll(0):
            return
        port.doRead()


#: How often the files are checked, seconds.
LOOK_SECONDS = 60.0


class Certificates(Repeating):
    """
    Read certificates, again whenever one of their files changes.

    :ivar tls: uses them for TLS.
    """

    name = "certificates"

    def __init__(self, files: Sequence[tuple[Path, Path]], clock: IReactorTime) -> None:
        """
        :param files: the files of each certificate and its key; at least one pair.
        :param clock: times the checks.
        :raises Misconfigured: a file cannot be read or used.
        """
        # They are read again later, after twistd has changed its working directory.
        self._files = [(one.absolute(), key.absolute()) for one, key in files]
        super().__init__(self.reload, LOOK_SECONDS, clock)
        self._read = [_contents(*pair) for pair in self._files]
        self._certificates = [ReloadableTls(*found) for found in self._read]
        self.tls = NamedTls(self._certificates)

    def reload(self) -> None:
        """Read the files; those that cannot be used change nothing."""
        for number, pair in enumerate(self._files):
            try:
                found = _contents(*pair)
                if found == self._read[number]:
                    continue
                self._certificates[number].use(*found)
            except Misconfigured as error:
                # Perhaps only one of the two files has been replaced so far.
                _log.error("the previous certificate stays in use: {why}", why=error)
                continue
            self._read[number] = found
            _log.info(
                "new certificate {fingerprint} from {path}",
                fingerprint=self._certificates[number].fingerprint,
                path=str(pair[0]),
            )


def _contents(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    return (
        read_file(certificate, "tls_certificate_file"),
        read_file(key, "tls_key_file"),
    )
