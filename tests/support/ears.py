"""A conversation that listens, for tests of lines and of WebSockets."""

from __future__ import annotations

from typing import Any


class Ear:
    """
    Keeps the messages that it receives.

    :ivar line: where they come from.
    :ivar is_in_play: whether its connection must stay when descriptors run out.
    :ivar is_queued: whether it goes after others that need not stay.
    :ivar times_caught_up: how often the peer stopped being behind.
    """

    def __init__(self, line: Any) -> None:
        self.line = line
        self.heard: list[bytes] = []
        self.is_lost = self.is_heard_out = False
        self.times_caught_up = 0
        self.is_in_play = self.is_queued = False

    def received(self, message: bytes) -> None:
        self.heard.append(message)

    def caught_up(self) -> None:
        assert not self.line.is_behind
        self.times_caught_up += 1

    def heard_out(self) -> None:
        self.is_heard_out = True

    def lost(self) -> None:
        assert not self.is_lost
        self.is_lost = True
