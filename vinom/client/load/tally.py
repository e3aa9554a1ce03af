"""Count what bots do and see, and report it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from vinom.client.match import MatchResult
from vinom.game import Game

#: Samples kept of each kind; more would not change a percentile.
_MOST_SAMPLES = 500_000
#: Rates are 0 if measured over less time than this, seconds: they would be random.
_LEAST_TIME = 0.5


@attrs.define
class Samples:
    """Durations, seconds."""

    _values: array[float] = attrs.field(factory=lambda: array("d"), init=False)

    def add(self, seconds: float) -> None:
        """Keep one."""
        if len(self._values) < _MOST_SAMPLES:
            self._values.append(seconds)

    def recent_ms(self) -> float | None:
        """The median of the latest hundred, milliseconds."""
        return _percentile_ms(sorted(self._values[-100:]), 50)

    def summary_ms(self) -> dict[str, float | None]:
        """The 50th and 99th percentile in milliseconds; ``None`` without samples."""
        ordered = sorted(self._values)
        return {"p50": _percentile_ms(ordered, 50), "p99": _percentile_ms(ordered, 99)}


def _percentile_ms(ordered: Sequence[float], percent: int) -> float | None:
    """Nearest rank: the least value that *percent* of the values do not exceed."""
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[rank - 1] * 1000.0, 3)


@attrs.define
class _Record:
    """
    What is known about one match.

    :ivar joined: how many of our bots have taken their seat.
    :ivar playing: how many of our bots have not finished it.
    """

    joined: int = 0
    playing: int = 0
    is_started: bool = False
    is_finished: bool = False
    is_failed: bool = False


@attrs.define
class Tally:
    """
    Count a run of bots.

    :ivar shows_all: every seat of the game sees the same view, so the hash that
        the server announces must be that of the last view that a bot received.
    :ivar ends: the game ends by itself; leaving earlier does not finish it.
    :ivar inputs: number of actions sent.
    :ivar states: number of states received.
    :ivar handshakes: number of DTLS handshakes finished.
    :ivar errors: how often each code occurred.
    :ivar reasons: the first message with each code, or why a match waits.
    :ivar input_to_state: from sending an action to the state that answers it.
    :ivar queue_to_match: from queueing to the match.
    :ivar match_to_joined: from the match to the seat.
    """

    shows_all: bool = True
    ends: bool = True
    inputs: int = 0
    states: int = 0
    handshakes: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    reasons: dict[str, str] = attrs.field(factory=dict)
    input_to_state: Samples = attrs.field(factory=Samples)
    queue_to_match: Samples = attrs.field(factory=Samples)
    match_to_joined: Samples = attrs.field(factory=Samples)
    _matches: dict[str, _Record] = attrs.field(factory=dict, init=False)
    _first: float | None = attrs.field(default=None, init=False)
    _last: float = attrs.field(default=0.0, init=False)

    @classmethod
    def of(cls, game: Game[Any, Any]) -> Tally:
        """Make one for a game."""
        kind = type(game)
        return cls(kind.audience is Game.audience, kind.outcome is not Game.outcome)

    def went_wrong(self, code: str, reason: str) -> None:
        """Count an error, and keep the first reason of its kind."""
        self.errors[code] += 1
        self.reasons.setdefault(code, reason)

    def spoilt(self, match_id: str) -> None:
        """Note that one of our bots failed in this match."""
        self._matches[match_id].is_failed = True

    def found(self, match_id: str) -> None:
        """Note that a bot has been given a seat."""
        self._matches.setdefault(match_id, _Record()).playing += 1

    def joined(self, match_id: str) -> None:
        """Note that a bot has taken its seat."""
        self._matches[match_id].joined += 1

    def saw(self, match_id: str, now: float) -> None:
        """Note that a bot has received a state."""
        self.states += 1
        self._last = now
        if self._first is None:
            self._first = now
        self._matches[match_id].is_started = True

    def over(self, result: MatchResult, has_joined: bool) -> None:
        """Note how a match ended for a bot."""
        record = self._matches[result.match_id]
        record.playing -= 1
        reason = result.reason
        if reason in ("finished", "abandoned") or (
            reason == "left" and result.outcome is not None
        ):
            record.is_finished = True
            self._compare(record, result)
        elif reason == "left":
            # A game that never ends cannot be finished in any other way.
            record.is_finished |= record.is_started and not self.ends
        elif reason == "void" and has_joined:
            # Other players did not come; the bot is back in the queue.
            self.errors["void"] += 1
        else:
            record.is_failed = True
            self.errors[reason] += 1

    def _compare(self, record: _Record, result: MatchResult) -> None:
        """Check that the last view a bot received is the one the server announced."""
        if not result.view_hash:
            return
        if result.seen_version != result.version:
            record.is_failed = True
            self.errors["version_mismatch"] += 1
        elif self.shows_all and result.seen_hash != result.view_hash:
            record.is_failed = True
            self.errors["view_mismatch"] += 1

    @property
    def started(self) -> int:
        """Number of matches in which a bot received a state."""
        return sum(record.is_started for record in self._matches.values())

    @property
    def finished(self) -> int:
        """Number of matches that were played to their end, without a failure."""
        return sum(
            record.is_finished and not record.is_failed
            for record in self._matches.values()
        )

    @property
    def failed(self) -> int:
        """Number of matches that a bot could not join, or that ended wrongly."""
        return sum(record.is_failed for record in self._matches.values())

    def report(self) -> dict[str, Any]:
        """
        Give the report of ``vinom bots --json``.

        Rates are averages from the first state to the last, and 0 if these are less
        than half a second apart.
        """
        seconds = 0.0 if self._first is None else self._last - self._first
        return {
            "matches": {
                "started": self.started,
                "finished": self.finished,
                "failed": self.failed,
            },
            "inputs_per_s": _rate(self.inputs, seconds),
            "states_per_s": _rate(self.states, seconds),
            "input_to_state_ms": self.input_to_state.summary_ms(),
            "queue_to_match_ms": self.queue_to_match.summary_ms(),
            "match_to_joined_ms": self.match_to_joined.summary_ms(),
            "handshakes": self.handshakes,
            "errors": dict(sorted(self.errors.items())),
        }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds >= _LEAST_TIME else 0.0
