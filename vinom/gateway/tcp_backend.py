"""Back ends that get a TCP connection, with nothing but its bytes, per session."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol

from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.waits import Waits
from vinom.gateway.dialing import Dialer
from vinom.gateway.routing.rules import Endpoint, ServiceRule
from vinom.gateway.sessions import Session
from vinom.net.lines.https import WebClient
from vinom.net.lines.sniff import write_proxy_header
from vinom.net.lines.tcp import watch_for_death
from vinom.net.streams.byte_stream import ByteStream
from vinom.net.streams.ends import Reason, Stream

#: How long a check over HTTP may take, seconds.
CHECK_SECONDS = 3.0


class TcpBackend:
    """Opens a connection for each session."""

    def __init__(
        self,
        dialer: Dialer,
        clock: IReactorTime,
        web: WebClient,
        direct: DirectReads | None = None,
    ) -> None:
        """
        :param dialer: connects.
        :param clock: for deadlines of back ends that do not read.
        :param web: sends HTTP requests.
        :param direct: reads connections without the reactor.
        """
        self._direct = direct
        self._dialer, self._clock, self._web = dialer, clock, web
        self._finished = Waits(clock)

    async def check(self, rule: ServiceRule, endpoint: Endpoint) -> None:
        """
        Connect, or send an HTTP request (`vinom.gateway.routing.checks.Checks`).

        :raises Exception: it cannot be reached.
        """
        if rule.check:
            url = f"http://{endpoint}{rule.check}".encode("ascii")
            answer = Deferred.fromCoroutine(self._web.fetch(url, b"*/*"))
            await answer.addTimeout(CHECK_SECONDS, self._clock)
            return
        probe = Protocol()
        await self._dialer.dial(endpoint, probe)
        cast(ITCPTransport, probe.transport).abortConnection()

    def open(
        self, rule: ServiceRule, endpoint: Endpoint, session: Session
    ) -> Stream | Deferred[Stream]:
        """
        Connect to a back end (`vinom.gateway.backends.Opens`).

        :raises Exception: it cannot be reached.
        """
        stream = ByteStream(
            self._clock,
            Reason.BACKEND_LOST,
            direct=self._direct,
            finished=self._finished,
        )
        stream.leg = session.backend
        connecting = self._dialer.connect(endpoint, stream)
        if connecting is None:
            return _opened(stream, rule, session)
        return connecting.addCallback(lambda _: _opened(stream, rule, session))


def _opened(stream: ByteStream, rule: ServiceRule, session: Session) -> Stream:
    """Say first whom a back end serves, if it is to know."""
    watch_for_death(stream.transport)
    if rule.transport == "tcp+proxy":
        request = session.request
        here = stream.transport.getHost()
        stream.send(
            write_proxy_header(
                request.host,
                request.port,
                getattr(here, "host", ""),
                getattr(here, "port", 0),
            )
        )
    return stream
