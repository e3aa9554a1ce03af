"""What conversations are carried by, served by, and may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from vinom.errors import Code
from vinom.model import Player
from vinom.net.waits import Waits
from vinom.wire.envelope import Envelope, Push, Request
from vinom.wire.messages import Hello, Welcome
from vinom.wire.shared import Shared

if TYPE_CHECKING:
    from vinom.services.conversation import Conversation


class Line(Protocol):
    """
    What carries a conversation: a TCP line or a WebSocket.

    It calls `Conversation.received`, `Conversation.caught_up` when it stops being
    behind, `Conversation.heard_out` when only the peer's half is closed, and
    `Conversation.lost` once.

    :ivar host: the peer's address.
    :ivar ends_at_match: `MatchFound` is the last thing said on it.
    :ivar opened_at: when the connection came, seconds since the Unix epoch.
    """

    host: str
    ends_at_match: bool
    opened_at: float

    @property
    def is_behind(self) -> bool:
        """Does what was sent earlier still wait for the peer to take it?"""

    @property
    def has_unsent(self) -> bool:
        """Does anything wait, said in this turn too; or did it, when the line ended?"""

    def send(self, message: bytes | Shared) -> None:
        """
        Send one message when the reactor's turn ends, in order, and never drop it.

        With too many unsent the line closes itself, and `Conversation.lost` follows.
        """

    def close(self, code: Code | None = None, reason: str = "") -> None:
        """
        Close when everything is sent.

        :param code: why; ``None`` if there is nothing more to say.
        :param reason: the same in words.
        """


@attrs.frozen
class Followed:
    """
    An answer after which more is to be said at once.

    :ivar then: says it.
    """

    push: Push
    then: Callable[[], None]


@attrs.frozen
class Bounds:
    """
    What one conversation may cost. Times: seconds.

    :ivar hello_seconds: time for a hello, from when the connection came.
    :ivar idle_seconds: silence after which one who waits for nothing is sent away.
    :ivar rate: messages a second.
    :ivar burst: messages at once.
    :ivar actions: actions a second, twice that at once; they count for themselves.
    """

    hello_seconds: float = 10.0
    idle_seconds: float = 600.0
    rate: float = 10.0
    burst: float = 30.0
    actions: float = 100.0


class Desk(Protocol):
    """
    Who serves the requests: the lobby.

    :ivar errors: how many players were refused something, by code.
    :ivar hellos: who did not say hello yet.
    :ivar idle: everybody else, until it is looked at whether they are silent.
    """

    errors: Counter[str]
    hellos: Waits
    idle: Waits

    async def greet(
        self, conversation: Conversation, hello: Hello
    ) -> tuple[Player, Welcome, list[Push]]:
        """Answer a hello; fails with `Refused`."""

    async def serve(self, player: Player, request: Request) -> Push:
        """Answer a request of the lobby; fails with `Refused`."""

    def serve_now(
        self, conversation: Conversation, player: Player, request: Request
    ) -> Push | Followed | None:
        """Answer a request of rooms, if it has an answer; fails with `Refused`."""

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over."""


class Place(Protocol):
    """A place in a live room, which a conversation has."""

    @property
    def room_id(self) -> str:
        """Which room."""

    @property
    def room(self) -> Any:
        """The room itself: `vinom.services.rooms_room.LiveRoom`."""

    def act(self, envelope: Envelope) -> None:
        """The player acts; fails with `Refused`."""

    def lost(self, conversation: Conversation) -> None:
        """The conversation is over."""
