"""A seat's two links joined by a bad network, on a clock that only tests move."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock

from vinom.base.messages.lobby import SeatName
from vinom.net.dtls.admission import Address
from vinom.net.dtls.bad_network import Conditioner, Conditions
from vinom.net.packets.codec import state_tails
from vinom.net.packets.player import PlayerEvent, PlayerLink
from vinom.net.packets.reliable import LinkState, MessageStream, Welcome, encode
from vinom.net.packets.seat import ActionArrived, JoinAsked, SeatEvent, SeatLink

#: Longest payload of a record in these tests, bytes.
PAYLOAD = 1163

#: A good network.
NEAR = Conditions(delay=0.01)
#: Where the player is, as far as anybody asks.
_PLAYER = ("192.0.2.1", 4000)

#: Says of a packet whether it is lost. Gets who sent it ("player" or "server"),
#: how many that end sent before, and the packet.
Losing = Callable[[str, int, bytes], bool]


def send_message(link: SeatLink, message: bytes, now: float) -> bool:
    """Send a reliable message; ``False`` if too much waits already."""
    kept = link._messages.add(message)
    link.messages_added(now)
    return kept


class PacketNet:
    """
    One `SeatLink`, one `PlayerLink`.

    :param conditions: of the network between them.
    """

    def __init__(
        self,
        seed: int = 0,
        conditions: Conditions = NEAR,
        setup: bytes = b"\x80",
        messages: MessageStream | None = None,
        link_state: LinkState | None = None,
    ) -> None:
        self.clock = Clock()
        self.worn = Conditioner(self.clock, conditions, seed)
        self.losing: Losing = lambda sender, number, packet: False
        self.setup = setup
        self.messages = MessageStream() if messages is None else messages
        self.seat = SeatLink(PAYLOAD, 0.0)
        self.player = PlayerLink(PAYLOAD, token="a.b.c", now=0.0, link_state=link_state)
        self.seat_events: list[SeatEvent] = []
        self.player_events: list[PlayerEvent] = []
        self.sent: list[tuple[str, bytes]] = []
        self._counts = {"player": 0, "server": 0}

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass, with every alarm at its own time, about."""
        for _ in range(round(seconds / step)):
            self._pump()
            self.clock.advance(step)
            now = self.clock.seconds()
            for end in (self.seat, self.player):
                deadline = end.deadline()
                if deadline is not None and deadline <= now:
                    end.alarm(now)
        self._pump()

    def join(self) -> None:
        """Run until the seat is taken."""
        self.run(0.1)
        assert self.seat.phase == "confirmed"

    def show(self, version: int, view: bytes) -> None:
        """Let the server send a state that answers all actions so far."""
        tails = state_tails(version, version * 10, 3 * version, view)
        self.seat.state(version, tails, self.seat.consumed, self.clock.seconds())

    @property
    def actions(self) -> list[bytes]:
        """What arrived at the server."""
        return [e.data for e in self.seat_events if isinstance(e, ActionArrived)]

    def _pump(self) -> None:
        for packet in self.player.take_packets():
            if self._leaves("player", packet):
                self.worn.outgoing(packet, _PLAYER, self._to_seat)
        for packet in self.seat.take_packets():
            if self._leaves("server", packet):
                self.worn.incoming(packet, _PLAYER, self._to_player)
        self.player_events += self.player.take_events()

    def _leaves(self, sender: str, packet: bytes) -> bool:
        number = self._counts[sender]
        self._counts[sender] += 1
        self.sent.append((sender, packet))
        return not self.losing(sender, number, packet)

    def _to_seat(self, packet: bytes, _: Address) -> None:
        now = self.clock.seconds()
        for event in self.seat.receive(packet, now):
            self.seat_events.append(event)
            if isinstance(event, JoinAsked):
                self.messages.acknowledge(event.last_message)
                self.seat.welcome(self.make_welcome(), self.messages, now)

    def make_welcome(self) -> Welcome:
        """The answer to a player's first packet."""
        return Welcome(
            seat=1,
            epoch=1,
            resume=b"r" * 16,
            match_id="m1",
            game="maze",
            players=(SeatName(0, "ann", "p0"), SeatName(1, "bob", "p1")),
            tick_hz=0,
            input=0,
            message=self.messages.first,
            setup=self.setup,
        )

    def _to_player(self, packet: bytes, _: Address) -> None:
        self.player.receive(packet, self.clock.seconds())


def encoded(message: object) -> bytes:
    """A message as it travels."""
    return encode(message)
