"""
Messages that a game server sends to a seat reliably, and what is sent in pieces; and
what a player's seat keeps between links.

Messages and welcomes are MessagePack maps; a message's kind is under ``t``. Messages
are cut into numbered parts, each sent until it is acknowledged. The numbers belong to
the seat, not to a connection. `Fragments` puts welcomes and states together that arrive
in several packets. Source: docs/protocol/packets.rst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.base.messages.lobby import SeatName
from vinom.errors import PeerError
from vinom.net.packets.codec import (
    COUNTER_LIMIT,
    LONGEST_PACKET,
    LONGEST_PART,
    MOST_PARTS,
    messages_size,
)

#: Welcomes or states that may be incomplete at once.
_MOST_INCOMPLETE = 4


@attrs.define(eq=False)
class Fragments:
    """
    Pieces by the number of their whole (a version, an epoch); the newest wins.

    :ivar done: number of the newest whole; older ones are ignored.
    """

    done: int = 0
    _incomplete: dict[int, dict[int, bytes]] = attrs.field(factory=dict, init=False)

    def receive(self, whole: int, index: int, count: int, piece: bytes) -> bytes | None:
        """
        Keep a piece; returns the whole if no other piece is missing.

        :raises PeerError: the pieces do not agree on their count.
        """
        if whole <= self.done:
            return None
        if count > 1:
            joined = self._collect(whole, index, count, piece)
            if joined is None:
                return None
            piece = joined
        self.done = whole
        if self._incomplete:
            self._incomplete = {
                newer: pieces
                for newer, pieces in self._incomplete.items()
                if newer > whole
            }
        return piece

    def _collect(
        self, whole: int, index: int, count: int, piece: bytes
    ) -> bytes | None:
        pieces = self._incomplete.get(whole)
        if pieces is None:
            if len(self._incomplete) >= _MOST_INCOMPLETE:
                oldest = min(self._incomplete)
                if oldest > whole:
                    return None
                del self._incomplete[oldest]
            pieces = self._incomplete[whole] = {}
        pieces[index] = piece
        if len(pieces) < count:
            return None
        try:
            return b"".join([pieces[at] for at in range(count)])
        except KeyError as error:
            del self._incomplete[whole]
            raise PeerError("fragments do not agree on their number") from error


#: Longest reliable message, bytes.
LONGEST_MESSAGE = 16 * 1024
#: Most bytes that wait for a seat's acknowledgement.
MOST_WAITING_BYTES = 64 * 1024
#: Most parts that wait for it.
MOST_WAITING = 512


class Event(Struct, frozen=True, tag="event", tag_field="t"):
    """The game emitted an event."""

    kind: str
    data: Any
    version: int


class Refusal(Struct, frozen=True, tag="refused", tag_field="t"):
    """
    An action was refused and changed nothing.

    :ivar seq: the action's number.
    :ivar code: ``rejected``, ``bad_action`` and others of `vinom.errors.Code`.
    :ivar reason: the game's own short reason, with ``rejected``.
    """

    seq: int
    code: str
    reason: str
    message: str


class Round(Struct, frozen=True, tag="round", tag_field="t"):
    """A round has an outcome: ``{round, places, scores}``."""

    outcome: dict[str, Any]
    version: int
    view_hash: str


class Over(Struct, frozen=True, tag="over", tag_field="t"):
    """The match is over; nothing follows."""

    reason: str
    outcome: dict[str, Any] | None
    version: int
    view_hash: str


Message = Event | Refusal | Round | Over


class Welcome(Struct, frozen=True, omit_defaults=True):
    """
    The answer to JOIN, whole.

    :ivar epoch: counts the joins of this seat.
    :ivar resume: the token that takes the seat back later, 16 bytes; secret.
    :ivar tick_hz: fixed steps per second; 0 for a game that has none.
    :ivar input: number of the last action received; the next one follows it.
    :ivar message: number of the first message part that will be sent.
    :ivar setup: the part of the view that never changes, MessagePack.
    :ivar layout: of the views, if they come packed: a JSON array as MessagePack.
    """

    seat: int
    epoch: int
    resume: bytes
    match_id: str
    game: str
    players: tuple[SeatName, ...]
    tick_hz: int
    input: int
    message: int
    setup: bytes
    layout: Any = None


encode = msgspec.msgpack.Encoder().encode
_message: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_welcome = msgspec.msgpack.Decoder(Welcome)


def decode_message(data: bytes) -> Message:
    """
    Read a reliable message.

    :raises PeerError: it is not one; names the field.
    """
    try:
        return _message.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"message: {error}") from error


def decode_welcome(data: bytes) -> Welcome:
    """
    Read a welcome.

    :raises PeerError: it is not one; names the field.
    """
    try:
        return _welcome.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"welcome: {error}") from error


Part = tuple[bool, bytes]


@attrs.define(eq=False)
class MessageStream:
    """
    A seat's messages, until they are acknowledged; it outlives connections.

    :ivar first: number of the oldest part that waits.
    :ivar next: number of the next part; kept, because a link reads it at each send.
    """

    first: int = 1
    next: int = attrs.field(init=False)
    _parts: deque[Part] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    @next.default
    def _next_is_first(self) -> int:
        return self.first

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, message: bytes) -> bool:
        """
        Keep an encoded message.

        :returns: ``False`` if too much waits: the message is lost, and the numbers
            jump, so that the seat can notice.

        :raises ValueError: it is longer than `LONGEST_MESSAGE`.
        """
        if len(message) > LONGEST_MESSAGE:
            raise ValueError(
                f"message of {len(message)} bytes, limit {LONGEST_MESSAGE}"
            )
        if (
            len(self._parts) >= MOST_WAITING
            or self._bytes + len(message) > MOST_WAITING_BYTES
            or self.next + LONGEST_MESSAGE // LONGEST_PART >= COUNTER_LIMIT
        ):
            self.forget()
            return False
        for at in range(0, len(message), LONGEST_PART):
            more = at + LONGEST_PART < len(message)
            self._parts.append((more, message[at : at + LONGEST_PART]))
        self.next = self.first + len(self._parts)
        self._bytes += len(message)
        return True

    def waiting(self) -> tuple[Part, ...]:
        """List the parts that wait, from number `first` on."""
        return tuple(self._parts)

    @classmethod
    def of(cls, first: int, waiting: Iterable[Part]) -> MessageStream:
        """
        Go on with the messages of another process.

        :param first: number of the oldest part.
        :param waiting: the parts from there on.
        """
        stream = cls(first)
        stream._parts += waiting
        stream.next = first + len(stream._parts)
        stream._bytes = sum(len(data) for _, data in stream._parts)
        return stream

    def forget(self) -> None:
        """Drop all waiting parts; the numbers jump by one more than their count."""
        self.first = self.next = self.next + 1
        self._parts.clear()
        self._bytes = 0

    def acknowledge(self, number: int) -> bool:
        """
        Drop the messages up to part *number*, which have arrived.

        Only whole messages are dropped, so a new connection never begins in the
        middle of one.

        :returns: whether any was dropped.
        """
        if not self.first <= number < self.next:
            return False
        whole = number - self.first + 1
        while whole and self._parts[whole - 1][0]:
            whole -= 1
        for _ in range(whole):
            self._bytes -= len(self._parts.popleft()[1])
        self.first += whole
        return whole > 0

    def packets(self, start: int) -> list[tuple[int, list[Part]]]:
        """Group the waiting parts from number *start* on into packets."""
        groups: list[tuple[int, list[Part]]] = []
        room = -1
        for number in range(max(start, self.first), self.next):
            part = self._parts[number - self.first]
            size = 2 + len(part[1])
            if size > room or len(groups[-1][1]) >= MOST_PARTS:
                groups.append((number, []))
                room = LONGEST_PACKET - messages_size(())
            groups[-1][1].append(part)
            room -= size
        return groups


@attrs.define(eq=False)
class MessageReader:
    """
    Put parts in order and join them, on the player's side.

    :ivar last_message: number of the last part that arrived with all before it.
    """

    last_message: int = 0
    _ahead: dict[int, Part] = attrs.field(factory=dict, init=False)
    _held: bytearray = attrs.field(factory=bytearray, init=False)

    def start(self, first: int) -> None:
        """
        Expect parts from number *first* on: the server has nothing older.

        Of those that arrived already, on an older connection, none is taken again.
        """
        if first > self.last_message + 1:
            self._held.clear()
            self._ahead.clear()
            self.last_message = first - 1

    def receive(self, first: int, parts: list[Part]) -> list[bytes]:
        """
        Take parts in any order; returns the messages that are complete now.

        :raises PeerError: a message is longer than `LONGEST_MESSAGE`.
        """
        for number, part in enumerate(parts, first):
            if self.last_message < number <= self.last_message + MOST_WAITING:
                self._ahead[number] = part
        whole: list[bytes] = []
        while self.last_message + 1 in self._ahead:
            self.last_message += 1
            more, data = self._ahead.pop(self.last_message)
            self._held += data
            if len(self._held) > LONGEST_MESSAGE:
                self._held.clear()
                raise PeerError(f"a message is longer than {LONGEST_MESSAGE} bytes")
            if not more:
                whole.append(bytes(self._held))
                self._held.clear()
        return whole


@attrs.define(eq=False)
class UnackedInputs:
    """
    Actions that were sent and are not acknowledged, oldest first; each with the tick
    that its player was shown.

    :ivar first: number of the oldest action, or of the next one if none waits.
    """

    first: int = 1
    _waiting: deque[tuple[int, bytes]] = attrs.field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self._waiting)

    def __reversed__(self) -> Iterator[tuple[int, bytes]]:
        return reversed(self._waiting)

    @property
    def last(self) -> int:
        """Number of the newest action."""
        return self.first + len(self._waiting) - 1

    def add(self, action: bytes, tick: int = 0) -> int:
        """Keep an action until it is acknowledged; returns its number."""
        self._waiting.append((tick, action))
        return self.last

    def acknowledge(self, number: int) -> bool:
        """
        Drop the actions up to *number*, which the server has.

        :returns: was any dropped?
        """
        count = number - self.first + 1
        if not 0 < count <= len(self._waiting):
            return False
        for _ in range(count):
            self._waiting.popleft()
        self.first = number + 1
        return True

    def continue_after(self, number: int) -> None:
        """
        Drop the actions that the server has, as a WELCOME says; send the others again.

        They keep their numbers, unless the server lacks some that it acknowledged:
        then they are renumbered, because it would wait for those forever.

        :param number: number of the last action that the server accepted.
        """
        if number > self.last:
            self._waiting.clear()
        else:
            self.acknowledge(number)
        self.first = number + 1


@attrs.define(eq=False)
class LinkState:
    """
    State that links of one seat hand on, so that nothing is lost or doubled.

    Two links may share it for a moment: a suspected one, and its successor.

    :ivar actions: the player's actions that are not acknowledged.
    :ivar messages: the server's messages, in order.
    :ivar timeout: the longest recent time for an acknowledgement, seconds, which a new
        link takes over from the previous one.
    """

    actions: UnackedInputs = attrs.field(factory=UnackedInputs)
    messages: MessageReader = attrs.field(factory=MessageReader)
    timeout: float = 0.3
