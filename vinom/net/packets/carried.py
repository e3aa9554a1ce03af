"""The state that a player's seat keeps between links: actions and messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

from vinom.net.packets.reliable import MessageReader


@attrs.define(eq=False)
class WaitingActions:
    """
    Actions that were sent and are not acknowledged, oldest first.

    :ivar first: number of the oldest action, or of the next one if none waits.
    """

    first: int = 1
    _waiting: deque[bytes] = attrs.field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._waiting)

    def __reversed__(self) -> Iterator[bytes]:
        return reversed(self._waiting)

    @property
    def last(self) -> int:
        """Number of the newest action."""
        return self.first + len(self._waiting) - 1

    def add(self, action: bytes) -> int:
        """Keep an action until it is acknowledged; returns its number."""
        self._waiting.append(action)
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
class Carried:
    """
    State that links of one seat hand on, so that nothing is lost or doubled.

    Two links may share it for a moment: a suspected one, and its successor.

    :ivar actions: the player's actions that are not acknowledged.
    :ivar messages: the server's messages, in order.
    :ivar timeout: the longest recent time for an acknowledgement, seconds, which a new
        link takes over from the previous one.
    """

    actions: WaitingActions = attrs.field(factory=WaitingActions)
    messages: MessageReader = attrs.field(factory=MessageReader)
    timeout: float = 0.3
