"""The record of what one player's client saw of one match, for the check."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from vinom.net.packets.player import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    RoundEnded,
    StateArrived,
)
from vinom.play.room import REJECTED
from vinom.play.states import fingerprint

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


#: Most findings that one witness reports, because one fault often repeats.
_MOST_FINDINGS = 5


@attrs.define
class Sent:
    """
    One action that a client sent.

    :ivar number: the number by which it is acknowledged.
    :ivar action: MessagePack, as sent.
    :ivar fate: "open" if the client saw no answer.
    :ivar after: the version that its player saw when it was sent.
    :ivar before: the version that acknowledged it; 0 if none did.
    """

    number: int
    action: bytes
    fate: Literal["open", "acknowledged", "refused"] = "open"
    after: int = 0
    before: int = 0


@attrs.define(eq=False)
class Witness:
    """
    Record what one client saw of one match.

    :ivar match_id: the match's id.
    :ivar player: the player's name.
    :ivar seat: the player's seat.
    :ivar sent: actions that the server may have received, by rising number.
    :ivar seen: version to the hash of the view that this seat was shown.
    :ivar events: kind and data of each event, in the order in which they came.
    :ivar rejected: versions of the ticks that rejected an input of this player.
    :ivar over: the end, as the game server sent it; ``None`` if it did not.
    :ivar reason: how the match ended for this player; empty while it runs.
    :ivar joins: how often the seat was taken.
    :ivar version: version of the last state.
    :ivar newest: the highest version of a message: missing refusals have that version
        or a later one, because messages come in order.
    :ivar broken: broken promises that this client saw itself.
    """

    match_id: str
    player: str
    seat: int
    sent: list[Sent] = attrs.field(factory=list, init=False)
    seen: dict[int, str] = attrs.field(factory=dict, init=False)
    events: list[tuple[str, Any]] = attrs.field(factory=list, init=False)
    rejected: list[int] = attrs.field(factory=list, init=False)
    over: MatchOver | None = attrs.field(default=None, init=False)
    reason: str = attrs.field(default="", init=False)
    joins: int = attrs.field(default=0, init=False)
    version: int = attrs.field(default=0, init=False)
    newest: int = attrs.field(default=0, init=False)
    broken: list[Broken] = attrs.field(factory=list, init=False)
    _acked: int = attrs.field(default=0, init=False)
    # Actions before this index have an answer.
    _answered: int = attrs.field(default=0, init=False)
    _setup: bytes | None = attrs.field(default=None, init=False)

    def acted(self, number: int, action: bytes) -> None:
        """Record an action that was sent; *number* is 0 if it was not."""
        if not number:
            return
        sent = self.sent
        while sent and sent[-1].number >= number:
            # The server asked for this number again: it never received the older one.
            older = sent.pop()
            if older.fate == "acknowledged":
                self._found(
                    "inputs",
                    f"input {older.number} was acknowledged, and then the server "
                    f"expected its number again",
                )
        self._answered = min(self._answered, len(sent))
        sent.append(Sent(number, action, after=self.version))

    def took(self, event: PlayerEvent) -> None:
        """Record a message of the game server."""
        if isinstance(event, StateArrived):
            self._see(event)
        elif isinstance(event, EventArrived):
            self.events.append((event.kind, event.data))
            if event.kind == REJECTED:
                self.rejected.append(event.version)
            self.newest = max(self.newest, event.version)
        elif isinstance(event, ActionRefused):
            self._refused(event.seq)
        elif isinstance(event, Joined):
            self._joined(event)
        elif isinstance(event, RoundEnded):
            self.newest = max(self.newest, event.version)
        elif isinstance(event, MatchOver):
            self.over = event

    def ended(self, reason: str) -> None:
        """Record how the match ended for this player."""
        self.reason = reason

    def _joined(self, event: Joined) -> None:
        self.joins += 1
        if event.seat != self.seat:
            self._found("states", f"seat {self.seat} became seat {event.seat}")
        if self._setup not in (None, event.setup):
            self._found("states", "the setup, which never changes, has changed")
        self._setup = event.setup

    def _see(self, event: StateArrived) -> None:
        version = event.version
        if version < self.version:
            self._found("versions", f"version {version} came after {self.version}")
        self.version = max(self.version, version)
        shown = fingerprint(event.view)
        if self.seen.setdefault(version, shown) != shown:
            self._found("states", f"version {version} came again with a different view")
        if event.acked < self._acked:
            self._found(
                "inputs",
                f"version {version} acknowledges inputs up to {event.acked}, an "
                f"earlier one up to {self._acked}",
            )
        self._acked = max(self._acked, event.acked)
        self._acknowledge(event.acked, version)

    def _acknowledge(self, number: int, version: int) -> None:
        sent, at = self.sent, self._answered
        while at < len(sent) and sent[at].number <= number:
            if sent[at].fate == "open":
                sent[at].fate, sent[at].before = "acknowledged", version
            at += 1
        self._answered = at

    def _refused(self, number: int) -> None:
        for one in reversed(self.sent):
            if one.number == number:
                one.fate = "refused"
                return
            if one.number < number:
                return

    def _found(self, promise: Promise, what: str) -> None:
        if len(self.broken) < _MOST_FINDINGS:
            message = f"{self.player} (seat {self.seat}): {what}"
            self.broken.append(Broken(promise, self.match_id, message))
