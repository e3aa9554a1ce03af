"""The two roots of all control messages."""

from __future__ import annotations

from msgspec import Struct


class ToServer(Struct, frozen=True, tag_field="t"):
    """Root of what a node tells a game server."""


class ToNode(Struct, frozen=True, tag_field="t"):
    """Root of what a game server tells its node."""
