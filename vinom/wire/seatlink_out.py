"""
What a game server's end of a connection sends: states, messages, probes.

Times are seconds on the caller's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal

from vinom.wire.linkmessages import MessageStream
from vinom.wire.linkquality import Measured, Quality
from vinom.wire.packets import STATE
from vinom.wire.packets_server import (
    ServerProbe,
    pack_state,
    write_messages,
    write_server_probe,
    write_state,
)

Phase = Literal["waiting", "asked", "welcomed", "confirmed", "refused", "over"]


class SeatOut(Measured):
    """
    What `vinom.wire.seatlink.SeatLink` knows of its player, and tells it.

    :ivar phase: "over" wants the connection closed.
    :ivar consumed: number of the last action taken.
    """

    # A game server sends to hundreds of these in turn, and waits for each one's
    # memory: what is not there need not be fetched.
    __slots__ = (
        "_ack_at",
        "_applied",
        "_has_told",
        "_messages",
        "_numbered",
        "_out",
        "_resend_at",
        "_resend_pause",
        "_seen",
        "_state_pause",
        "_state_sent",
        "_tails",
        "_unsent",
        "_version",
        "consumed",
        "phase",
        "quality",
    )

    def __init__(self) -> None:
        self.phase: Phase = "waiting"
        self.quality = Quality()
        self.consumed = 0
        self._numbered = 0
        self._out: list[bytes] = []
        self._messages = MessageStream()
        self._unsent = 1
        # Perhaps there are messages to send; never before it is confirmed.
        self._has_told = False
        self._ack_at = inf
        self._resend_at = inf
        self._resend_pause = 0.0
        self._tails: Sequence[bytes] = ()
        self._version = self._applied = self._seen = 0
        self._state_sent = 0.0
        # Of a second try and later ones; the first comes after `Quality.patience`.
        self._state_pause = 0.0

    # What the caller may ask.

    @property
    def is_settled(self) -> bool:
        """Does nothing wait for the player's acknowledgement?"""
        if self.phase == "confirmed":
            return self._seen >= self._version and not self._messages
        return self.phase in ("refused", "over")

    # What the caller has to tell.

    def state(
        self, version: int, tails: Sequence[bytes], applied: int, now: float
    ) -> None:
        """
        Send a state, and again until it is acknowledged or a newer one is sent.

        :param tails: made by `vinom.wire.packets.state_tails`, once for all
            seats of an audience.
        :param applied: the seat's last action that this state answers.
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
        Do what `state` and `take_packets` do, if that makes one packet: return it.

        ``None`` if there is more to send, or may be; then nothing was done.
        """
        if self.phase != "confirmed" or self._has_told or self._out or len(tails) != 1:
            return None
        # Written out, as `receive` is: there are more of these than of anything.
        self._tails, self._version, self._applied = tails, version, applied
        self._state_sent, self._state_pause, self._ack_at = now, 0.0, inf
        self._numbered = number = self._numbered + 1
        return pack_state(STATE, number, self.consumed, applied) + tails[0]

    def _state_at(self) -> float:
        """When to send the newest state again."""
        if self._seen >= self._version or self.phase != "confirmed":
            return inf
        return self._state_sent + (self._state_pause or self.quality.patience)

    def _send_state(self) -> None:
        number, consumed, applied = self._numbered, self.consumed, self._applied
        for tail in self._tails:
            number += 1
            self._out.append(write_state(number, consumed, applied, tail))
        self._numbered = number
        self._ack_at = inf

    def tell(self, message: bytes, now: float) -> bool:
        """
        Send an encoded reliable message.

        :returns: ``False`` if too much waits already: the message is lost and
            the connection should be refused.
        """
        kept = self._messages.add(message)
        self.told(now)
        return kept

    def told(self, now: float) -> None:
        """Somebody added to the seat's messages: they go out with `take_packets`."""
        if self.phase != "confirmed":
            return
        self._has_told = True
        if self._resend_at == inf:
            self._resend_pause = self.quality.patience
            self._resend_at = now + self._resend_pause

    def hasten(self, longest: float, now: float) -> None:
        """From now on let no more than *longest* seconds pass between two tries."""
        self.quality.hasten(longest)
        self._resend_pause = self._state_pause = longest
        self._resend_at = inf if self._resend_at == inf else now
        self._state_sent = now - longest

    # What goes out.

    def take_packets(self) -> list[bytes]:
        """Hand over what is to be sent, each as one payload."""
        if self._has_told:
            self._has_told, messages = False, self._messages
            if self._unsent < messages.next:
                self._send_messages(self._unsent, len(messages))
                self._unsent = messages.next
        out = self._out
        if out:
            self._out = []
        return out

    def is_silent(self) -> bool:
        """Is there nothing for `take_packets`?"""
        return not (self._out or self._has_told)

    def is_at_rest(self) -> bool:
        """Does it want nothing but what a state or a PING left unanswered wants?"""
        return (
            self.phase == "confirmed"
            and self._ack_at == inf
            and self._resend_at == inf
            and not self._out
            and not self._has_told
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
