"""
The game server's end of one connection: packets in and out, no socket.

A connection asks for a seat and is welcomed or refused; its first packet after the
welcome confirms it. Times are seconds on the caller's clock.
Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

from msgspec import Struct

from vinom.errors import Code
from vinom.net.packets.codec import (
    COUNTER_LIMIT,
    PACKET_PROTOCOL,
    STATE,
    Bye,
    Input,
    Join,
    PlayerPacket,
    Probe,
    ServerProbe,
    check_payloads,
    cut,
    pack_state,
    read_one_action,
    read_player,
    write_messages,
    write_reject,
    write_server_probe,
    write_state,
    write_welcome,
)
from vinom.net.packets.quality import ACK_DELAY, PING_EVERY, Measured, Quality
from vinom.net.packets.reliable import MessageStream, Welcome, encode


# msgspec Structs: one is made for every input, and a frozen attrs
# class takes five times as long.
class JoinAsked(Struct, frozen=True, gc=False):
    """
    The connection asks for a seat; answer with `SeatLink.welcome` or `refuse`.

    :ivar is_resume: whether *proof* is a resume token.
    :ivar proof: a connect token, or a resume token.
    :ivar last_message: last message part that arrived on an older connection.
    """

    is_resume: bool
    proof: bytes
    last_message: int


class Confirmed(Struct, frozen=True, gc=False):
    """The welcome arrived: the seat is connected."""


class ActionArrived(Struct, frozen=True, gc=False):
    """
    The next action arrived; each arrives once and in order.

    :ivar tick: the tick that its player was shown; 0 if it does not say.
    """

    seq: int
    data: bytes
    tick: int


class Left(Struct, frozen=True, gc=False):
    """The player gives up its seat."""


SeatEvent = JoinAsked | Confirmed | ActionArrived | Left


Phase = Literal["waiting", "asked", "welcomed", "confirmed", "refused", "over"]


#: How long a connection may take to send a JOIN, seconds.
JOIN_TIMEOUT = 5.0
#: How long a refused connection is answered with REJECT, seconds.
REJECT_LINGER = 3.0
#: Packets of one refused connection that are answered.
_MOST_REJECTS = 8
#: Most packets of waiting messages that are resent at once.
_MOST_AGAIN = 8


class SeatLink(Measured):
    """
    One connection to one player.

    :ivar phase: if it is "over", the caller closes the connection.
    :ivar quality: round trip, jitter and losses.
    :ivar consumed: number of the last action taken.
    :ivar seen: version of the newest state that the player has; 0 is none.
    :ivar is_packed: whether the views that it is sent are packed.
    """

    # A game server sends to hundreds of these in turn, and waits for each one's
    # memory: slots keep them small.
    __slots__ = (
        "_ack_at",
        "_applied",
        "_epoch",
        "_has_messages",
        "_may_act",
        "_messages",
        "_numbered",
        "_out",
        "_ping_at",
        "_rejection",
        "_rejects_left",
        "_resend_at",
        "_resend_pause",
        "_state_pause",
        "_state_sent",
        "_tails",
        "_timeout_at",
        "_unsent",
        "_version",
        "_welcome",
        "consumed",
        "is_packed",
        "phase",
        "quality",
        "seen",
    )

    def __init__(
        self,
        max_payload: int,
        now: float,
        may_act: Callable[[float], bool] = lambda now: True,
    ) -> None:
        """
        Wait for a JOIN.

        :param max_payload: longest payload of the connection, bytes.
        :param now: when the connection was made.
        :param may_act: called before each new action; after ``False`` the rest of
            the packet counts as lost, and the player sends it again.
        :raises PeerError: the connection cannot carry a packet.
        """
        check_payloads(max_payload)
        self.phase: Phase = "waiting"
        self.quality = Quality()
        self.consumed = 0
        self.is_packed = False
        self._numbered = 0
        self._out: list[bytes] = []
        self._messages = MessageStream()
        self._unsent = 1
        # Whether there may be messages to send; never before it is confirmed.
        self._has_messages = False
        self._ack_at = inf
        self._resend_at = inf
        self._resend_pause = 0.0
        self._tails: Sequence[bytes] = ()
        self._version = self._applied = self.seen = 0
        self._state_sent = 0.0
        # Before the second resend and later ones; the first waits `Quality.timeout`.
        self._state_pause = 0.0
        self._may_act = may_act
        self._timeout_at = now + JOIN_TIMEOUT
        self._welcome: list[bytes] = []
        self._epoch = 0
        self._ping_at = inf
        self._rejection = ("", "", 0)
        self._rejects_left = _MOST_REJECTS

    # From the player.

    def receive(self, packet: bytes, now: float) -> list[SeatEvent]:
        """
        Take one packet; returns its events, in order.

        :raises PeerError: it breaks the layout.
        """
        one = read_one_action(packet) if self.phase == "confirmed" else None
        if one is None:
            return self._receive_any(packet, now)
        # The most frequent packet is written out here; the code does the same as
        # `_receive_any`, `_receive_seated` and `_take_actions`.
        number, state, message, seq, tick, action = one
        quality = self.quality
        quality.received += 1
        if number > quality.highest:
            quality.highest = number
        if self.seen < state <= self._version:
            self.seen = state
        if message >= self._messages.first:
            self._receive_acknowledgement(message, now)
        if self._ack_at == inf:
            self._ack_at = now + ACK_DELAY
        may_act = self._may_act
        if seq != self.consumed + 1 or seq >= COUNTER_LIMIT or not may_act(now):
            return []
        self.consumed = seq
        return [ActionArrived(seq, action, tick)]

    def _receive_any(self, packet: bytes, now: float) -> list[SeatEvent]:
        read = read_player(packet)
        quality = self.quality
        quality.received += 1
        if read.number > quality.highest:
            quality.highest = read.number
        events: list[SeatEvent] = []
        phase = self.phase
        if phase == "confirmed":
            self._receive_seated(read, now, events)
        elif phase == "waiting" or phase == "asked":
            self._receive_unseated(read, now, events)
        elif phase == "welcomed":
            # Another JOIN is not answered; only a timer repeats a welcome, which can
            # be a thousand times as long as a JOIN.
            if type(read) is not Join:
                self._confirm(now)
                events.append(Confirmed())
                self._receive_seated(read, now, events)
        elif phase == "refused" and self._rejects_left:
            self._rejects_left -= 1
            self._send_reject()
        return events

    def _receive_seated(
        self, read: PlayerPacket, now: float, events: list[SeatEvent]
    ) -> None:
        if self.seen < read.state <= self._version:
            self.seen = read.state
        if read.message:
            self._receive_acknowledgement(read.message, now)
        kind = type(read)
        if kind is Input:
            assert isinstance(read, Input)
            if read.actions:
                self._take_actions(read, now, events)
        elif isinstance(read, Probe):
            self._receive_probe(read, now)
        elif kind is Bye:
            events.append(Left())

    def _receive_acknowledgement(self, number: int, now: float) -> None:
        if self._messages.acknowledge(number):
            self._resend_pause = self.quality.timeout
            self._resend_at = now + self._resend_pause if self._messages else inf

    def _take_actions(self, read: Input, now: float, events: list[SeatEvent]) -> None:
        # Even for known actions: the player has not received our acknowledgement.
        if self._ack_at == inf:
            self._ack_at = now + ACK_DELAY
        seq = read.first
        for tick, data in read.actions:
            if seq == self.consumed + 1:
                if seq >= COUNTER_LIMIT or not self._may_act(now):
                    return
                self.consumed = seq
                events.append(ActionArrived(seq, data, tick))
            seq += 1

    def _receive_probe(self, read: Probe, now: float) -> None:
        self.quality.reported(read.highest, read.received)
        if read.is_answer:
            self.quality.answered(read.stamp, now)
        else:
            self._send_probe(read.stamp, True)

    def _receive_unseated(
        self, read: PlayerPacket, now: float, events: list[SeatEvent]
    ) -> None:
        if type(read) is Bye:
            self.phase = "over"
        elif isinstance(read, Join) and self.phase == "waiting":
            if read.protocol != PACKET_PROTOCOL:
                self.refuse(
                    Code.PROTOCOL_UNSUPPORTED,
                    f"this server speaks packet protocol {PACKET_PROTOCOL}, "
                    f"not {read.protocol}",
                    now,
                )
                return
            self.phase, self.is_packed = "asked", read.reads_packed
            events.append(JoinAsked(read.is_resume, read.proof, read.last_message))

    # What the caller decides.

    def welcome(self, welcome: Welcome, messages: MessageStream, now: float) -> None:
        """
        Give the seat to the player.

        :param welcome: what it is sent.
        :param messages: the seat's own stream.
        :param now: the time.
        :raises ValueError: the welcome is too long to send.
        """
        self._welcome = cut(encode(welcome))
        self.is_packed = welcome.layout is not None
        self._epoch = welcome.epoch
        self.consumed = welcome.input
        self._messages, self._unsent = messages, messages.first
        self.phase = "welcomed"
        self._timeout_at = now + 2 * JOIN_TIMEOUT
        self._resend_pause = self.quality.timeout
        self._send_welcome(now)

    def _send_welcome(self, now: float) -> None:
        count = len(self._welcome)
        for index, piece in enumerate(self._welcome):
            self._out.append(
                write_welcome(
                    self._next(), self.consumed, self._epoch, index, count, piece
                )
            )
        self._resend_at = now + self._resend_pause
        self._resend_pause = min(2 * self._resend_pause, self.quality.longest)

    def _confirm(self, now: float) -> None:
        self.phase = "confirmed"
        self._has_messages = bool(self._messages)
        self._welcome = []
        self._timeout_at = inf
        self._ping_at = now
        self._resend_pause = self.quality.timeout
        self._resend_at = now + self._resend_pause if self._messages else inf

    def refuse(
        self, code: str, message: str, now: float, retry_after: float = 0.0
    ) -> None:
        """
        End the connection; for 3 s, answer its packets with the reason.

        :param code: one of `vinom.errors.Code`.
        :param message: the reason, as a text.
        :param now: the time.
        :param retry_after: when the player may try again, seconds; 0 if unknown.
        """
        if self.phase in ("refused", "over"):
            return
        self.phase = "refused"
        self._rejection = (code, message, round(1000 * retry_after))
        self._ack_at = self._resend_at = self._ping_at = inf
        self._has_messages = False
        self._timeout_at = now + REJECT_LINGER
        # It leaves whether what happened is kept or not, so it acknowledges nothing.
        # The same player's newer connection is welcomed with what counts.
        self._out.clear()
        self.consumed = 0
        self._send_reject()

    def end(self) -> None:
        """Send nothing more: the connection is lost, or the caller closes it."""
        self.phase = "over"
        self._has_messages = False
        self._out.clear()

    def _send_reject(self) -> None:
        self._out.append(write_reject(self._next(), self.consumed, *self._rejection))

    # Time.

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        at = min(
            self._timeout_at,
            self._ack_at,
            self._resend_at,
            self._state_at(),
            self._ping_at,
        )
        return None if at == inf or self.phase == "over" else at

    def alarm(self, now: float) -> None:
        """Do what is due; does nothing if nothing is."""
        if self.phase == "over":
            return
        if now >= self._timeout_at:
            if self.phase == "waiting":
                why = f"no JOIN arrived within {JOIN_TIMEOUT:g} s"
                self.refuse(Code.TIMEOUT, why, now)
            else:
                self.end()
            return
        if now >= self._resend_at:
            self._send_again(now)
        if now >= self._state_at():
            pause = self._state_pause or self.quality.timeout
            self._state_sent = now
            self._state_pause = min(2 * pause, self.quality.longest)
            self._send_state()
        if now >= self._ping_at:
            self._ping_at = now + PING_EVERY
            self.quality.count()
            self._send_probe(self.quality.stamp(now), False)
            self._ack_at = inf
        if now >= self._ack_at:
            self._ack_at = inf
            self._out.append(write_messages(self._next(), self.consumed, 0, ()))

    def _send_again(self, now: float) -> None:
        if self.phase == "welcomed":
            self._send_welcome(now)
        elif self._messages:
            self._resend_at = now + self._resend_pause
            self._resend_pause = min(2 * self._resend_pause, self.quality.longest)
            self._send_messages(self._messages.first, _MOST_AGAIN)
            self._unsent = self._messages.next
        else:
            self._resend_at = inf

    # State.

    @property
    def is_settled(self) -> bool:
        """Does nothing wait for the player's acknowledgement?"""
        if self.phase == "confirmed":
            return self.seen >= self._version and not self._messages
        return self.phase in ("refused", "over")

    # To the player.

    def state(
        self, version: int, tails: Sequence[bytes], applied: int, now: float
    ) -> None:
        """
        Send a state; resend it until it is acknowledged or a newer one is sent.

        :param version: of the state.
        :param tails: made by `vinom.net.packets.codec.state_tails`, once for all
            seats of an audience.
        :param applied: the seat's last action that this state answers.
        :param now: the time.
        """
        if self.phase != "confirmed":
            return
        self._tails, self._version, self._applied = tails, version, applied
        self._state_sent, self._state_pause = now, 0.0
        self._send_state()

    def make_state(
        self, version: int, tails: Sequence[bytes], applied: int, now: float
    ) -> bytes | None:
        """
        Do what `state` and `take_packets` do, if that makes only one packet.

        :returns: the packet; ``None`` if there is or may be more to send, and then
            nothing was done.
        """
        if (
            self.phase != "confirmed"
            or self._has_messages
            or self._out
            or len(tails) != 1
        ):
            return None
        # Written out, as in `receive`: no other packet is sent as often.
        self._tails, self._version, self._applied = tails, version, applied
        self._state_sent, self._state_pause, self._ack_at = now, 0.0, inf
        self._numbered = number = self._numbered + 1
        return pack_state(STATE, number, self.consumed, applied) + tails[0]

    def _state_at(self) -> float:
        """When to resend the newest state."""
        if self.seen >= self._version or self.phase != "confirmed":
            return inf
        return self._state_sent + (self._state_pause or self.quality.timeout)

    def _send_state(self) -> None:
        number, consumed, applied = self._numbered, self.consumed, self._applied
        for tail in self._tails:
            number += 1
            self._out.append(write_state(number, consumed, applied, tail))
        self._numbered = number
        self._ack_at = inf

    def messages_added(self, now: float) -> None:
        """Send, with `take_packets`, what was added to the seat's messages."""
        if self.phase != "confirmed":
            return
        self._has_messages = True
        if self._resend_at == inf:
            self._resend_pause = self.quality.timeout
            self._resend_at = now + self._resend_pause

    def hasten(self, longest: float, now: float) -> None:
        """From now on let at most *longest* seconds pass between two resends."""
        self.quality.hasten(longest)
        self._resend_pause = self._state_pause = longest
        self._resend_at = inf if self._resend_at == inf else now
        self._state_sent = now - longest

    def take_packets(self) -> list[bytes]:
        """Return the packets to send, each as one payload."""
        if self._has_messages:
            self._has_messages, messages = False, self._messages
            if self._unsent < messages.next:
                self._send_messages(self._unsent, len(messages))
                self._unsent = messages.next
        out = self._out
        if out:
            self._out = []
        return out

    def is_silent(self) -> bool:
        """Does `take_packets` have nothing to return?"""
        return not (self._out or self._has_messages)

    def is_at_rest(self) -> bool:
        """Is nothing due but the resend of a state, or a PING?"""
        return (
            self.phase == "confirmed"
            and self._ack_at == inf
            and self._resend_at == inf
            and not self._out
            and not self._has_messages
        )

    def _send_messages(self, start: int, most: int) -> None:
        for first, parts in self._messages.packets(start)[:most]:
            self._out.append(write_messages(self._next(), self.consumed, first, parts))
        self._ack_at = inf

    def _send_probe(self, stamp: int, is_answer: bool) -> None:
        quality = self.quality
        self._out.append(
            write_server_probe(
                ServerProbe(
                    self._next(),
                    self.consumed,
                    is_answer,
                    stamp,
                    quality.highest,
                    quality.received,
                )
            )
        )

    def _next(self) -> int:
        self._numbered += 1
        return self._numbered
