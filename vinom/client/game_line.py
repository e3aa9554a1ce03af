"""One connection to a game server: packets over DTLS over a UDP socket."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Literal, Protocol

from twisted.internet.interfaces import IReactorTime, IReactorUDP

from vinom.base.messages.lobby import MatchFound
from vinom.base.reactor.alarm import Alarm
from vinom.errors import PeerError
from vinom.net.dtls.channel import Connected, Disconnected, Received, Unknown
from vinom.net.dtls.client import ClientEvent, DtlsClient
from vinom.net.dtls.client_port import ClientPort
from vinom.net.dtls.port import IDatagramFilter
from vinom.net.packets.player import PlayerEvent, PlayerLink
from vinom.net.packets.quality import PATIENCE
from vinom.net.packets.reliable import LinkState

#: Silence after which a line counts as broken, seconds.
SILENCE = 3.0


class IPlayReactor(IReactorTime, IReactorUDP):
    """The parts of a reactor that playing needs: time and UDP."""


class LineOwner(Protocol):
    """What a line reports to: `vinom.client.seat.Seat`. *line* is that line."""

    def opened(self) -> None:
        """A DTLS handshake is done."""

    def took(self, line: Any, event: PlayerEvent) -> None:
        """The server sent something."""

    def lost(self, line: Any, why: str) -> None:
        """The line broke; called once, with a short reason."""


class GameLine:
    """
    Carry a seat's packets until the line is lost or closed.

    :param reactor: for time and UDP.
    :param host: the game server's IP address.
    :param found: the match: its port, certificate and token.
    :param owner: gets what happens.
    :param link_state: what the seat's lines hand on to one another.
    :param resume: proof of the seat from an earlier join, instead of the token.
    :param patience: how long an answer may take before the server is doubted, seconds.
    :param datagram_filter: between this line and the network.
    :ivar first_answer: silence after which a server that has never answered counts as
        lost, seconds.
    :ivar heard: when the server was last heard, on the reactor's clock.
    :ivar is_answered: has the server ever answered?
    :ivar link: exists once the handshake is done.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        host: str,
        found: MatchFound,
        owner: LineOwner,
        link_state: LinkState,
        resume: bytes | None = None,
        patience: float = PATIENCE,
        datagram_filter: IDatagramFilter | None = None,
    ) -> None:
        self._clock, self._owner = reactor, owner
        self._token = found.token if resume is None else None
        self._resume, self._link_state = resume, link_state
        self._patience, self.first_answer = patience, SILENCE
        self.heard = reactor.seconds()
        self.is_answered = False
        self.link: PlayerLink | None = None
        self._phase: Literal["open", "leaving", "over"] = "open"
        self._alarm = Alarm(reactor, self._deadline, self._ring)
        authority = found.certificate.encode("ascii")
        self._port = ClientPort(
            reactor,
            DtlsClient(found.server_name, authority, self.heard),
            host,
            found.port,
            self._arrived,
            self._refused,
            datagram_filter,
        )
        any_address = "::" if ip_address(host).version == 6 else ""
        reactor.listenUDP(0, self._port, interface=any_address, maxPacketSize=65535)

    @property
    def silence(self) -> float:
        """Silence after which the line counts as broken, seconds."""
        return SILENCE if self.is_answered else self.first_answer

    @property
    def rtt(self) -> float | None:
        """Round trip time, seconds; ``None`` before the first measurement."""
        return None if self.link is None else self.link.rtt

    @property
    def loss(self) -> float | None:
        """Share of recent packets that got lost, 0 to 1."""
        return None if self.link is None else self.link.loss

    def act(self, action: bytes, tick: int = 0) -> int:
        """
        Send an action.

        :param action: MessagePack.
        :param tick: the tick that the player was shown; 0 if that is unknown.
        :returns: the number it is acknowledged by; 0 if it could not be sent.
        :raises ValueError: it is too long.
        """
        link = self.link
        if link is None or self._phase != "open":
            return 0
        number = link.act(action, self._clock.seconds(), tick)
        self._pump(link)
        self._port.flush()
        return number

    def hinted(self) -> None:
        """Ask the server whether it is there: somebody says that it may not be."""
        if self.link is not None and self._phase == "open":
            self.link.hinted(self._clock.seconds())
            self._pump(self.link)
            self._port.flush()

    def leave(self) -> None:
        """Give the seat up; close once the server acknowledges, or time is up."""
        link = self.link
        if link is None or self._phase != "open":
            self.close()
            return
        # A DTLS goodbye could overtake the message, and the server would keep the seat
        # for us to return to.
        self._phase = "leaving"
        link.leave(self._clock.seconds())
        self._pump(link)
        self._port.flush()

    def close(self) -> None:
        """Say goodbye over DTLS; nothing is delivered any more."""
        if self._phase != "open":
            return
        if self.link is not None:
            # Acknowledge the server's last messages first.
            self.link.alarm(self._clock.seconds())
            self._pump(self.link)
        self._end()

    def _end(self) -> None:
        self._phase = "over"
        self._alarm.stop()
        self._port.close()

    def _break(self, why: str) -> None:
        was_open = self._phase == "open"
        if self._phase != "over":
            self._end()
        if was_open:
            self._owner.lost(self, why)

    def _refused(self) -> None:
        self._break("refused")

    def _arrived(self, events: list[ClientEvent]) -> None:
        if self._phase != "open":
            if any(isinstance(event, Disconnected) for event in events):
                self._break("left")
            return
        now = self._clock.seconds()
        for event in events:
            if isinstance(event, Unknown):
                # It may be forged, so it does not count as heard.
                self.hinted()
                continue
            self.heard, self.is_answered = now, True
            if isinstance(event, Received):
                if self.link is not None:
                    try:
                        self.link.receive(event.payload, now)
                    except PeerError:
                        # A packet that breaks the layout counts as lost.
                        continue
            elif isinstance(event, Connected):
                self.link = PlayerLink(
                    event.association.max_payload,
                    token=self._token,
                    resume=self._resume,
                    now=now,
                    link_state=self._link_state,
                    patience=self._patience,
                )
                self._owner.opened()
            elif isinstance(event, Disconnected):
                self._hand_over()
                self._break(event.reason)
                return
        self._hand_over()

    def _hand_over(self) -> None:
        link = self.link
        if link is None:
            return
        for event in link.take_events():
            if self._phase == "open":
                self._owner.took(self, event)
        if self._phase == "open":
            self._pump(link)

    def _pump(self, link: PlayerLink) -> None:
        """Encrypt the packets that are due; the caller flushes the port."""
        for packet in link.take_packets():
            self._port.send(packet)
        self._alarm.arm()

    def _deadline(self) -> float | None:
        return None if self.link is None else self.link.deadline()

    def _ring(self) -> None:
        link = self.link
        if link is None or self._phase == "over":
            return
        link.alarm(self._clock.seconds())
        if self._phase == "open":
            self._hand_over()
        elif link.deadline() is None:
            self._end()
        else:
            self._pump(link)
        self._port.flush()
