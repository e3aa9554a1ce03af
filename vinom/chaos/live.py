"""The running matches, and how long a kill keeps their players away."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf

import attrs

from vinom.chaos.strikes import Kind
from vinom.client.match import Match, MatchResult
from vinom.packets.player import Joined, PlayerEvent, StateArrived
from vinom.promises.witness import Witness

#: A node gives up a match whose processes die more than ten times per minute.
_MOST_STRIKES, _WITHIN = 8, 60.0
#: It gives one up, too, whose processes die four times one right after the other before
#: more is played than that players come back. Some matches are as slow as that at their
#: end, so the fourth strike in a row waits; seconds between two in a row.
_MOST_IN_ROW, _ROW = 3, 6.0


@attrs.define(eq=False)
class LiveMatch:
    """
    One match, as its players see it.

    :ivar match_id: the match's id.
    :ivar witnesses: one for each player.
    :ivar kind: kind of the latest strike.
    :ivar playing: seats whose player has seen a state, and no end.
    :ivar moves: how often it was moved.
    """

    match_id: str
    witnesses: list[Witness] = attrs.field(factory=list)
    playing: set[int] = attrs.field(factory=set)
    _struck_at: float | None = None
    kind: Kind = "gameserver"
    moves: int = 0
    # When each player saw the last state before the seat was taken back.
    _last: dict[int, float] = attrs.field(factory=dict)
    _stopped: dict[int, float] = attrs.field(factory=dict)
    _strikes: list[float] = attrs.field(factory=list)
    _joined: set[int] = attrs.field(factory=set)
    _back: set[int] = attrs.field(factory=set)

    @property
    def is_away(self) -> bool:
        """Was its process killed, with a player who is not back yet?"""
        return self._struck_at is not None

    def may_be_struck(self, now: float) -> bool:
        """Are all its players playing, and was it not killed too often lately?"""
        self._strikes = [at for at in self._strikes if at > now - _WITHIN]
        return bool(self.playing) and not (
            self.is_away
            or self._is_row_full(now)
            or len(self._strikes) >= _MOST_STRIKES
        )

    def _is_row_full(self, now: float) -> bool:
        """Has it had the largest number of strikes in a row?"""
        latest = [*self._strikes, now][-_MOST_IN_ROW - 1 :]
        return len(latest) > _MOST_IN_ROW and all(
            after < before + _ROW for before, after in pairwise(latest)
        )

    def struck(self, now: float, kind: Kind = "gameserver") -> None:
        """Record that its process was killed or stopped, or is to be moved."""
        self._struck_at, self.kind = now, kind
        self._strikes.append(now)
        self._stopped.clear()
        self._joined.clear()
        self._back.clear()

    def spared(self) -> None:
        """Record that the latest strike did not happen."""
        self._struck_at = None
        self._strikes.pop()

    def joined(self, seat: int) -> None:
        """Record that a player took the seat, for the first time or again."""
        if self._struck_at is None:
            return
        self._joined.add(seat)
        # Silence before the order does not count.
        self._stopped[seat] = max(self._last.get(seat, -inf), self._struck_at)

    def seen(self, seat: int, now: float) -> float | None:
        """
        Note that a player saw a state.

        :returns: how long the latest kill kept players away, if this was the last one
            to come back; of a move, the longest time without states of any of them.
            Seconds.
        """
        self.playing.add(seat)
        self._last[seat] = now
        if self._struck_at is None or seat not in self._joined:
            return None
        if seat not in self._back:
            self._back.add(seat)
            self._stopped[seat] = now - self._stopped[seat]
        if not self.playing <= self._back:
            return None
        away, self._struck_at = now - self._struck_at, None
        if self.kind == "move":
            return max(self._stopped[one] for one in self.playing)
        return away

    def over(self, seat: int) -> None:
        """Record that the match ended for a player."""
        self.playing.discard(seat)
        if not self.playing:
            self._struck_at = None


@attrs.define(eq=False)
class Matches:
    """
    All matches of a run.

    :ivar clock: returns the time, seconds.
    :ivar paused: called with the length of each pause, seconds, and its cause.
    :ivar by_id: every match that was found.
    """

    clock: Callable[[], float]
    paused: Callable[[float, Kind], None]
    by_id: dict[str, LiveMatch] = attrs.field(factory=dict)

    def add(self, match: Match) -> None:
        """Watch a match that was found for one of our players."""
        live = self.by_id.setdefault(match.match_id, LiveMatch(match.match_id))
        witness = Witness(match.match_id, match.names[match.seat], match.seat)
        live.witnesses.append(witness)
        match.observe(witness)
        match.observe(_Pulse(self, live, match.seat))

        def ended(result: MatchResult) -> None:
            witness.ended(result.reason)
            live.over(witness.seat)

        match.ended.addCallback(ended)

    @property
    def running(self) -> list[LiveMatch]:
        """Matches that are being played, by id."""
        return [live for _, live in sorted(self.by_id.items()) if live.playing]

    @property
    def begun(self) -> int:
        """Count the matches in which a player saw a state."""
        return sum(
            any(witness.seen for witness in live.witnesses)
            for live in self.by_id.values()
        )

    @property
    def away(self) -> int:
        """Count the matches that wait for players to come back after a kill."""
        return sum(live.is_away for live in self.by_id.values())


@attrs.define(eq=False)
class _Pulse:
    """Sees when one player plays."""

    matches: Matches
    live: LiveMatch
    seat: int

    def acted(self, number: int, action: bytes) -> None:
        """Do nothing: actions do not matter here."""

    def took(self, event: PlayerEvent) -> None:
        """Note a seat that was taken, or a state."""
        if isinstance(event, StateArrived):
            away = self.live.seen(self.seat, self.matches.clock())
            if away is not None:
                self.matches.paused(away, self.live.kind)
        elif isinstance(event, Joined):
            self.live.joined(self.seat)
