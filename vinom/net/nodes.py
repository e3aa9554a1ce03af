"""
Channels between nodes: what the nodes of one deployment ask of each other.

A link between nodes is one of a gateway (`vinom.net.streams.multiplex`): TLS, on which
both sides have a certificate of the deployment's authority, which only nodes have. The
node that dials opens channels, which carry messages of players, and those here, as
lines. Source: docs/protocol/nodes.rst.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, json

from vinom.base.messages.envelope import UNREADABLE
from vinom.base.messages.rooms import ListRooms
from vinom.errors import Code, PeerError
from vinom.net.frames import FRAME_LIMIT, LineReader
from vinom.net.streams.channels import Channel, Reason

#: Version of what is sent on channels; a node with another one is refused.
NODE_PROTOCOL = 2
#: Bytes of one channel that may wait for a node that does not take them.
MOST_UNSENT = 1 << 20


class Visitor(Struct, frozen=True, tag_field="type", tag="visitor"):
    """
    A player who said hello to me wants to be in rooms of yours; requests follow.

    :ivar player_id: as in `vinom.base.model.Player`, and so the next three.
    """

    player_id: str
    name: str
    claims: bytes
    is_guest: bool


class AskWayIn(Struct, frozen=True, tag_field="type", tag="ask_way_in"):
    """
    A player of your match came to me: admit the player.

    It is answered with a `match_found`, as a client receives it.

    :ivar seat: the player's.
    """

    match_id: str
    seat: int


class AskSeats(Struct, frozen=True, tag_field="type", tag="ask_seats"):
    """
    Keep free seats of a running room of yours for players who wait in a queue.

    :ivar options: of the room, canonical JSON.
    :ivar player_ids: who would come, together.
    """

    game: str
    options: bytes
    player_ids: tuple[str, ...]


class Seats(Struct, frozen=True, tag_field="type", tag="seats"):
    """
    The answer: seats are kept for a short time.

    :ivar room_id: of which room; empty if none has as many.
    """

    room_id: str


class Departed(Struct, frozen=True, tag_field="type", tag="departed"):
    """The player is no longer in a room, after all that was sent."""

    room_id: str


#: A channel for one answer. `ListRooms` is that of players, and watches nothing.
Question = AskWayIn | AskSeats | ListRooms
#: The player of a channel does not take what is sent just now, or does so again.
SLOW, CAUGHT_UP = b'{"type":"slow"}', b'{"type":"caught_up"}'
#: How `Departed` begins.
DEPARTED = b'{"type":"departed"'

_openings: json.Decoder[Visitor | Question] = json.Decoder(Visitor | Question)


def read_opening(line: bytes) -> Visitor | Question:
    """
    Read the first line of a channel.

    :raises PeerError: it is not one of the messages; names the field.
    """
    try:
        return _openings.decode(line)
    except (*UNREADABLE, ValueError) as error:
        raise PeerError(f"the first line of a channel: {error}") from error


class NodeChannel:
    """
    A channel, at the node that opened it (`vinom.net.streams.channels.Leg`).

    :ivar heard: gets each line; set by who uses it, before bytes come.
    :ivar over: likewise; called once, unless this node ends it, with a
        `vinom.errors.Code` and the same in words. Both are empty if the other node has
        nothing more to send.
    """

    heard: Callable[[bytes], None]
    over: Callable[[str, str], None]

    def __init__(self, channel: Channel) -> None:
        """:param channel: carries the bytes."""
        self._channel = channel
        self._reader = LineReader(FRAME_LIMIT)
        self._is_full, self._unsent = False, 0
        self._is_over = False
        channel.leg = self

    def send(self, message: bytes) -> None:
        """Send a line, unless the other node has let too much wait."""
        if self._is_full:
            self._unsent += len(message)
            if self._unsent > MOST_UNSENT:
                self._fail("the node does not read")
                return
        # Ends of lines in JSON are nothing but white space.
        self._channel.send(message.replace(b"\n", b" ") + b"\n")

    def end(self) -> None:
        """End the channel."""
        self._is_over = True
        self._channel.close(Reason.DONE)

    # Reports of the channel.

    def received(self, data: bytes) -> None:
        """The other node sent bytes."""
        self._reader.receive(data)
        try:
            while not self._is_over:
                line = self._reader.next_line()
                if line is None:
                    return
                self.heard(line)
        except (PeerError, *UNREADABLE) as error:
            self._fail(str(error))

    def finished(self) -> None:
        """The other node sends no more; the end follows."""

    def lost(self, reason: Reason, words: str = "") -> None:
        """The other node ended it, or the link is lost."""
        self._is_over = True
        if reason is Reason.DONE:
            code, _, why = words.partition(": ")
            self.over(code, why)
        elif reason is Reason.TOO_MANY:
            self.over(Code.BUSY, words)
        else:
            self.over(Code.STORE_UNAVAILABLE, "the node of this room is gone")

    def filled(self) -> None:
        """The other node does not take what it is sent."""
        self._is_full = True

    def drained(self) -> None:
        """It does so again."""
        self._is_full, self._unsent = False, 0

    def _fail(self, why: str) -> None:
        self._channel.abort(Reason.BAD_PACKET, why)
        self.lost(Reason.BAD_PACKET)
