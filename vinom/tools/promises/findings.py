"""The findings of the check: broken promises."""

from __future__ import annotations

from typing import Final, Literal

import attrs

Promise = Literal["versions", "states", "inputs", "events", "recording", "ends"]

#: Each promise, as the report words it.
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
    A promise that was broken in one match.

    :ivar promise: a key of `PROMISES`.
    :ivar match_id: the match's id.
    :ivar message: what happened, for the author.
    """

    promise: Promise
    match_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.promise}: match {self.match_id}: {self.message}"
