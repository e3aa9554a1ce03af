"""Room echo three times: nothing of it is kept, soon after, and before it is shown."""

from __future__ import annotations

from vinom.games.roomecho import RoomEcho


class EchoNone(RoomEcho):
    """Nothing is kept."""

    name = "echonone"
    durability = "none"


class EchoBehind(RoomEcho):
    """Kept soon after it was shown."""

    name = "echobehind"
    durability = "behind"


class EchoAhead(RoomEcho):
    """Kept before it is shown."""

    name = "echoahead"
    durability = "ahead"
