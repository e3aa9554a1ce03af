"""When calls may go out to the store, and when to try again."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.define
class Breaker:
    """
    Fail calls at once while the store does not answer.

    Closed, calls go out. It opens at the first time-out or lost connection, and closes
    when a new connection has answered. No call of a player tries whether it does.

    :ivar entropy: called with a number, gives that many random bytes: nodes that lost
        the store at one moment must not all come back at one moment.
    :ivar first: the first delay before a new connection, seconds.
    :ivar most: the longest delay.
    """

    entropy: Callable[[int], bytes]
    first: float = 0.1
    most: float = 1.0
    is_closed: bool = attrs.field(default=False, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def close(self) -> None:
        """A new connection has answered."""
        self.is_closed, self._failures = True, 0

    def open(self) -> float:
        """
        A call timed out, or a connection was lost or could not be made.

        :returns: seconds until the next try: twice as long each time, less a random
            part of up to a half.
        """
        self.is_closed = False
        delay = min(self.most, self.first * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return delay * (1.0 - int.from_bytes(self.entropy(2)) / (1 << 17))
