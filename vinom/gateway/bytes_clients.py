"""Clients with one session per connection: lobby lines, and unknown protocols."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from vinom.base.messages.envelope import encode_failure
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.waits import Waits
from vinom.errors import Code
from vinom.gateway.arrivals import Arrival
from vinom.gateway.backends import Backends
from vinom.gateway.listener import Acceptor
from vinom.gateway.sessions import SessionRequest
from vinom.gateway.settings import GatewaySettings
from vinom.net.streams.ends import Reason
from vinom.net.streams.sockets import ByteStream, pace_of

#: Reasons after which a client of lobby lines connects again.
_CODES = {
    Reason.BACKEND_LOST: Code.UNAVAILABLE,
    Reason.ABORTED: Code.UNAVAILABLE,
    Reason.NO_BACKEND: Code.UNAVAILABLE,
    Reason.UNKNOWN_SERVICE: Code.UNAVAILABLE,
    Reason.TOO_MANY: Code.BUSY,
    Reason.DRAINING: Code.DRAINING,
    Reason.INTERNAL: Code.INTERNAL,
}


class BytesClient(ByteStream):
    """A client; its session begins with the connection."""

    def __init__(
        self,
        kind: str,
        arrival: Arrival,
        backends: Backends,
        clock: IReactorTime,
        settings: GatewaySettings,
        direct: DirectReads | None,
        finished: Waits,
    ) -> None:
        """
        :param kind: "lines" or "tcp".
        :param arrival: of the connection.
        :param backends: begins the session.
        :param clock: for the deadline of clients that do not read.
        :param settings: limits of each connection.
        :param direct: reads connections without the reactor.
        :param finished: rings for clients that have nothing more to send.
        """
        super().__init__(
            clock,
            Reason.CLIENT_LOST,
            arrival.is_tls,
            settings.stuck_seconds,
            pace_of(settings.bytes_per_second),
            direct,
            finished,
        )
        self._kind, self._arrival, self._backends = kind, arrival, backends
        # Has the last line that was sent ended?
        self._is_between = True

    def connectionMade(self) -> None:
        super().connectionMade()
        arrival = self._arrival
        request = SessionRequest(self._kind, arrival.host, arrival.port, arrival.is_tls)
        session = self._backends.begin(request, self)
        assert session is not None, "it brought no id"
        self.leg = session.client

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._arrival.end()

    def send(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self._is_between = data[-1:] == b"\n"
        super().send(data)

    def close(self, reason: Reason, words: str = "") -> None:
        """End the connection; a client of lobby lines is sent the reason."""
        code = _CODES.get(reason)
        if code is not None and self._kind == "lines" and self._is_between:
            self.send(encode_failure(code, words or reason.value) + b"\n")
        super().close(reason, words)


def bytes_acceptor(
    kind: str,
    backends: Backends,
    clock: IReactorTime,
    settings: GatewaySettings,
    direct: DirectReads | None = None,
) -> Acceptor:
    """Make the acceptor for such clients; its parameters are those of `BytesClient`."""
    finished = Waits(clock)

    def client(arrival: Arrival) -> BytesClient:
        return BytesClient(kind, arrival, backends, clock, settings, direct, finished)

    return client
