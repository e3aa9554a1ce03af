"""One message for many players: written once."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class Shared:
    """
    One message that goes to many connections.

    Pass the same object to each: connections that are sent the same in one turn send
    the very same frame.

    :ivar message: JSON, without a line end.
    """

    message: bytes
