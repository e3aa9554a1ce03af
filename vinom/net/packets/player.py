"""
The player's end of one connection: packets in and out, no socket.

`PlayerLink` reads and makes packets; the other classes are the events that it hands
out. Times are seconds on the caller's clock. Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from math import inf
from typing import Any, Literal

from msgspec import Struct

from vinom.base.messages.lobby import SeatName
from vinom.base.packed import OLDEST_BASE, Layout, Packed, encode_view
from vinom.errors import PeerError
from vinom.net.packets.codec import (
    BASE,
    LONGEST_ACTION,
    LONGEST_PACKET,
    LONGEST_TOKEN,
    MOST_ACTIONS,
    RESUME_BYTES,
    Messages,
    Probe,
    Reject,
    ServerProbe,
    StatePiece,
    WelcomePiece,
    check_payloads,
    input_size,
    read_server,
    write_bye,
    write_input,
    write_join,
    write_player_probe,
)
from vinom.net.packets.quality import (
    ACK_DELAY,
    PATIENCE,
    PING_EVERY,
    Measured,
    Quality,
    Watch,
)
from vinom.net.packets.reliable import (
    Event,
    Fragments,
    LinkState,
    Message,
    Over,
    Refusal,
    Round,
    decode_message,
    decode_welcome,
)


class Joined(Struct, frozen=True):
    """
    The player has the seat.

    :ivar resume: the token that takes the seat back on a new connection; secret.
    :ivar setup: the part of the view that never changes, MessagePack; perhaps
        empty.
    :ivar players: the names at the table.
    :ivar tick_hz: fixed steps per second; 0 for a game that has none.
    """

    seat: int
    resume: bytes
    setup: bytes
    players: tuple[SeatName, ...]
    match_id: str
    game: str
    tick_hz: int


class StateArrived(Struct, frozen=True, gc=False):
    """
    A newer state arrived; older ones make no event.

    :ivar time: match time, seconds.
    :ivar view: MessagePack.
    :ivar acked: number of our last action that this state answers.
    :ivar tick: the last fixed step before it; 0 if the game has none.
    """

    version: int
    time: float
    view: bytes
    acked: int
    tick: int = 0


class EventArrived(Struct, frozen=True):
    """The game sent an event; events arrive once and in order."""

    kind: str
    data: Any
    version: int


class ActionRefused(Struct, frozen=True):
    """
    An action was refused and changed nothing.

    :ivar seq: the action's number.
    :ivar code: one of `vinom.errors.Code`.
    :ivar reason: the game's own short reason, with ``rejected``.
    """

    seq: int
    code: str
    reason: str
    message: str


class RoundEnded(Struct, frozen=True):
    """A round has an outcome: ``{round, places, scores}``."""

    outcome: dict[str, Any]
    version: int
    view_hash: str


class MatchOver(Struct, frozen=True):
    """The match is over."""

    reason: str
    outcome: dict[str, Any] | None
    version: int
    view_hash: str


class Rejected(Struct, frozen=True):
    """
    The connection is over.

    :ivar code: one of `vinom.errors.Code`.
    :ivar retry_after: when to try again, seconds; 0 if unknown.
    """

    code: str
    message: str
    retry_after: float = 0.0


class FellSilent(Struct, frozen=True, gc=False):
    """The server owes an answer for so long that it may be gone."""


class SpokeAgain(Struct, frozen=True, gc=False):
    """Something arrived after `FellSilent`."""


PlayerEvent = (
    Joined
    | StateArrived
    | EventArrived
    | ActionRefused
    | RoundEnded
    | MatchOver
    | Rejected
    | FellSilent
    | SpokeAgain
)


def event_of(message: Message) -> PlayerEvent:
    """Return the event that a reliable message means for its player."""
    if isinstance(message, Event):
        return EventArrived(message.kind, message.data, message.version)
    if isinstance(message, Refusal):
        return ActionRefused(message.seq, message.code, message.reason, message.message)
    if isinstance(message, Round):
        return RoundEnded(message.outcome, message.version, message.view_hash)
    if isinstance(message, Over):
        return MatchOver(
            message.reason, message.outcome, message.version, message.view_hash
        )
    raise PeerError(f"unknown message {type(message).__name__}")


#: Most actions that wait for an acknowledgement.
MOST_UNACKNOWLEDGED = 64
#: Longest time between two tries, seconds.
_LONGEST_PAUSE = 1.0
#: How often a BYE is sent at most, and the pause between two, seconds: it is not
#: acknowledged, but a server that receives it closes the connection.
_BYES, _BYE_PAUSE = 5, 0.15


class PlayerLink(Measured):
    """
    One connection to a game server, for one seat.

    :ivar quality: round trip, jitter and losses.
    :ivar phase: "joining", "joined" or "over".
    """

    def __init__(
        self,
        max_payload: int,
        *,
        token: str | None = None,
        resume: bytes | None = None,
        now: float,
        link_state: LinkState | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """
        Begin to join.

        :param max_payload: longest payload of the connection, bytes.
        :param token: connect token for the seat; ``None`` to use *resume*.
        :param resume: resume token of the seat.
        :param now: the time.
        :param link_state: from the seat's older links: what they did not deliver is
            delivered by this one, and nothing twice.
        :param patience: how long an answer may take before the server is doubted,
            seconds.
        :raises ValueError: there is no token, or it has an invalid length.
        :raises PeerError: the connection cannot carry a packet.
        """
        check_payloads(max_payload)
        self._is_resume = token is None
        self._proof = (resume or b"") if token is None else token.encode("ascii")
        if not 0 < len(self._proof) <= LONGEST_TOKEN:
            raise ValueError(
                f"a token must have 1 to {LONGEST_TOKEN} bytes, not {len(self._proof)}"
            )
        if self._is_resume and len(self._proof) != RESUME_BYTES:
            raise ValueError(
                f"a resume token must have {RESUME_BYTES} bytes, not {len(self._proof)}"
            )
        link_state = self._link_state = link_state or LinkState()
        self.quality = Quality(timeout=link_state.timeout)
        self.phase: Literal["joining", "joined", "over"] = "joining"
        self._numbered = 0
        self._out: list[bytes] = []
        self._events: list[PlayerEvent] = []
        self._actions, self._messages = link_state.actions, link_state.messages
        self._watch = Watch(patience)
        self._welcomes = Fragments()
        self._states = Fragments()
        self._version = 0
        self._layout: Layout | None = None
        # The packed views that differences may be made from, by version.
        self._bases: dict[int, Packed] = {}
        self._byes_left = 0
        self._ack_at = self._ping_at = inf
        self._pause = self.quality.timeout
        self._resend_at = now
        self._send_again(now)

    @property
    def last_message(self) -> int:
        """Number of the last message part that arrived; the next link needs it."""
        return self._messages.last_message

    # What the player does.

    def act(self, action: bytes, now: float, tick: int = 0) -> int:
        """
        Send an action; it arrives once and in order while the link lives.

        :param action: MessagePack.
        :param now: the time.
        :param tick: the tick that the player was shown; 0 if that is unknown.
        :returns: its number; 0 if it was not sent, because the link has not joined
            or too many actions wait for an acknowledgement.
        :raises ValueError: it is empty or longer than `LONGEST_ACTION`.
        """
        if not 0 < len(action) <= LONGEST_ACTION:
            raise ValueError(
                f"an action must have 1 to {LONGEST_ACTION} bytes, not {len(action)}"
            )
        if self.phase != "joined" or len(self._actions) >= MOST_UNACKNOWLEDGED:
            return 0
        actions = self._actions
        if not actions:
            self._pause = self.quality.timeout
            self._resend_at = now + self._pause
        number = actions.add(action, tick)
        self._watch.asked(self.quality.timeout, now)
        if number == actions.first:
            self._send_input(number, [(tick, action)])
        else:
            self._send_latest()
        return number

    def _send_latest(self) -> None:
        """Send the newest action, and as many before it as fit into the packet."""
        chosen: list[tuple[int, bytes]] = []
        for action in reversed(self._actions):
            chosen.append(action)
            if len(chosen) > MOST_ACTIONS or input_size(chosen) > LONGEST_PACKET:
                chosen.pop()
                break
        chosen.reverse()
        self._send_input(self._actions.last - len(chosen) + 1, chosen)

    def _send_oldest(self) -> None:
        """Send all waiting actions, oldest first."""
        first, chosen = self._actions.first, list[tuple[int, bytes]]()
        for action in self._actions:
            chosen.append(action)
            if len(chosen) > MOST_ACTIONS or input_size(chosen) > LONGEST_PACKET:
                chosen.pop()
                self._send_input(first, chosen)
                first += len(chosen)
                chosen = [action]
        self._send_input(first, chosen)

    def _send_input(self, first: int, actions: list[tuple[int, bytes]]) -> None:
        self._out.append(
            write_input(
                self._next(), self._version, self._messages.last_message, first, actions
            )
        )
        self._ack_at = inf

    def leave(self, now: float) -> None:
        """Give the seat up for good; `deadline` is ``None`` after the last BYE."""
        if self.phase != "over":
            self._stop()
            self._byes_left = _BYES
            self._send_bye(now)

    def _send_bye(self, now: float) -> None:
        self._resend_at = inf
        if self._byes_left:
            self._byes_left -= 1
            self._resend_at = now + _BYE_PAUSE
            self._out.append(
                write_bye(self._next(), self._version, self._messages.last_message)
            )

    def _stop(self) -> None:
        self.phase = "over"
        self._watch.stop()
        self._ack_at = self._ping_at = self._resend_at = inf

    # From the game server.

    def receive(self, payload: bytes, now: float) -> None:
        """
        Take one packet.

        :raises PeerError: it breaks the layout; then it counts as lost.
        """
        packet = read_server(payload)
        if self.phase == "over":
            return
        self.quality.arrived(packet.number)
        if self.phase == "joining":
            if isinstance(packet, WelcomePiece):
                self._take_welcome(packet, now)
            elif isinstance(packet, Reject):
                self._reject(packet)
            return
        if self._watch.received():
            self._events.append(SpokeAgain())
        self._acknowledged(packet.input, now)
        if isinstance(packet, StatePiece):
            self._take_state(packet, now)
        elif isinstance(packet, Messages):
            if packet.parts:
                self._take_messages(packet, now)
        elif isinstance(packet, ServerProbe):
            self._take_probe(packet, now)
        elif isinstance(packet, WelcomePiece):
            # The server does not know yet that its welcome arrived.
            self._ack_at = now
        else:
            self._reject(packet)

    def _acknowledged(self, number: int, now: float) -> None:
        if self._actions.acknowledge(number):
            self._pause = self.quality.timeout
            self._resend_at = now + self._pause if self._actions else inf

    def _take_welcome(self, packet: WelcomePiece, now: float) -> None:
        whole = self._welcomes.receive(
            packet.epoch, packet.index, packet.count, packet.piece
        )
        if whole is None:
            return
        welcome = decode_welcome(whole)
        if welcome.layout is not None:
            self._layout = Layout(welcome.layout)
        self.phase = "joined"
        self._actions.continue_after(welcome.input)
        self._messages.start(welcome.message)
        self._resend_at, self._ping_at = inf, now
        # The server counts us as connected once it receives this.
        if self._actions:
            self._pause = self.quality.timeout
            self._resend_at = now + self._pause
            self._send_oldest()
        else:
            self._send_input(0, [])
        self._events.append(
            Joined(
                welcome.seat,
                welcome.resume,
                welcome.setup,
                welcome.players,
                welcome.match_id,
                welcome.game,
                welcome.tick_hz,
            )
        )

    def _take_state(self, packet: StatePiece, now: float) -> None:
        version = packet.version
        if version <= self._version:
            self._acknowledge_by(now + ACK_DELAY)
            return
        view = self._states.receive(version, packet.index, packet.count, packet.piece)
        if view is None:
            return
        if self._layout is not None:
            view = self._unpack(self._layout, version, view)
        self._version = version
        self._acknowledge_by(now + ACK_DELAY)
        self._events.append(
            StateArrived(version, packet.time / 1000, view, packet.applied, packet.tick)
        )

    def _unpack(self, layout: Layout, version: int, data: bytes) -> bytes:
        """
        Read a packed view.

        :returns: the same as MessagePack.
        :raises PeerError: it is none, or its base is not here.
        """
        if len(data) < BASE.size:
            raise PeerError(f"a packed view of {len(data)} bytes is cut short")
        (base,) = BASE.unpack_from(data)
        before = self._bases.get(base)
        if base and before is None:
            raise PeerError(f"view {version} was made from {base}, which is not here")
        packed = layout.read(data[BASE.size :], before)
        view = encode_view(layout.plain(packed))
        self._bases[version] = packed
        for old in [one for one in self._bases if one < version - OLDEST_BASE]:
            del self._bases[old]
        return view

    def _take_messages(self, packet: Messages, now: float) -> None:
        # At once: the server soon resends unacknowledged messages.
        self._acknowledge_by(now)
        for data in self._messages.receive(packet.first, packet.parts):
            self._events.append(event_of(decode_message(data)))

    def _take_probe(self, packet: ServerProbe, now: float) -> None:
        self.quality.reported(packet.highest, packet.received)
        if packet.is_answer:
            self.quality.answered(packet.stamp, now)
            self._link_state.timeout = self.quality.timeout
        else:
            self._send_probe(packet.stamp, True)

    def hinted(self, now: float) -> None:
        """
        Take a hint that the server does not know this connection: probe it.

        Hints are not authenticated. A forged one costs a PING.
        """
        if self.phase == "joined" and self._watch.hinted(self.quality.timeout, now):
            self._send_probe(self.quality.stamp(now), False)

    def _reject(self, packet: Reject) -> None:
        self._stop()
        retry_after = packet.retry_after / 1000
        self._events.append(Rejected(packet.code, packet.message, retry_after))

    def take_events(self) -> list[PlayerEvent]:
        """Return what happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    # To the game server, and time.

    def take_packets(self) -> list[bytes]:
        """Return the packets to send, each as one payload."""
        out, self._out = self._out, []
        return out

    def _send_probe(self, stamp: int, is_answer: bool) -> None:
        quality = self.quality
        self._out.append(
            write_player_probe(
                Probe(
                    self._next(),
                    self._version,
                    self._messages.last_message,
                    is_answer,
                    stamp,
                    quality.highest,
                    quality.received,
                )
            )
        )
        self._ack_at = inf

    def _ask(self, now: float) -> None:
        self._watch.asked(self.quality.timeout, now)
        self._send_probe(self.quality.stamp(now), False)

    def _acknowledge_by(self, at: float) -> None:
        if at < self._ack_at:
            self._ack_at = at

    def _next(self) -> int:
        self._numbered += 1
        return self._numbered

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        at = min(self._ack_at, self._resend_at, self._ping_at, self._watch.deadline())
        return None if at == inf else at

    def alarm(self, now: float) -> None:
        """Do what is due; does nothing if nothing is."""
        if now >= self._resend_at:
            if self.phase == "over":
                self._send_bye(now)
            else:
                self._send_again(now)
        if now >= self._ping_at:
            self._ping_at = now + PING_EVERY
            self.quality.count()
            self._ask(now)
        if self._watch.doubts(now):
            self._events.append(FellSilent())
        if self._watch.probes(self.quality.timeout, now):
            self._send_probe(self.quality.stamp(now), False)
        if now >= self._ack_at:
            self._send_input(0, [])

    def _send_again(self, now: float) -> None:
        self._resend_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if self.phase == "joining":
            self._out.append(
                write_join(
                    self._next(),
                    self._proof,
                    self._is_resume,
                    self._messages.last_message,
                    reads_packed=True,
                )
            )
        else:
            self._send_oldest()
