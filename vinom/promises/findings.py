"""What the check finds: a promise that was broken."""

from __future__ import annotations

from typing import Final, Literal

import attrs

Promise = Literal["versions", "states", "inputs", "events", "recording", "ends"]

#: Each promise, in the words of the report.
PROMISES: Final[dict[Promise, str]] = {
    "versions": "no player saw a version go back",
    "states": "every state that a player saw is the one that was played",
    "inputs": "every acknowledged input was played exactly once",
    "events": "every event arrived once and in order",
    "recording": "every recording replays to its final state",
    "ends": "every match ended, for a reason that all its players were sent",
}


@attrs.frozen
class Broken:
    """
    One promise that was broken in one match.

    :ivar promise: which one: a key of `PROMISES`.
    :ivar match_id: of the match.
    :ivar message: what happened, for the author.
    """

    promise: Promise
    match_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.promise}: match {self.match_id}: {self.message}"
