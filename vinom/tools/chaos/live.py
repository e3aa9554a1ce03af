"""The running matches, and how long a strike keeps their players away."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import inf

import attrs

from vinom.client.match import Match, MatchResult
from vinom.net.packets.player import Joined, PlayerEvent, StateArrived
from vinom.tools.chaos.plan import Kind
from vinom.tools.promises.witness import Witness

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
    :ivar playing: seats whose player has seen a state, and no end.
    :ivar kind: kind of the latest strike.
    :ivar moves: how often it was moved.
    """

    match_id: str
    witnesses: list[Witness] = attrs.field(factory=list)
    playing: set[int] = attrs.field(factory=set)
    kind: Kind = "gameserver"
    moves: int = 0
    _struck_at: float | None = None
    # When each player saw the latest state.
    _last: dict[int, float] = attrs.field(factory=dict)
    # Since when each player who has the seat again saw no state, and then for how long.
    _since: dict[int, float] = attrs.field(factory=dict)
    _gaps: dict[int, float] = attrs.field(factory=dict)
    _strikes: list[float] = attrs.field(factory=list)

    @property
    def is_away(self) -> bool:
        """Was it struck, with a player who is not back yet?"""
        return self._struck_at is not None

    def may_be_struck(self, now: float) -> bool:
        """Are all its players playing, and was it not struck too often lately?"""
        self._strikes = [at for at in self._strikes if at > now - _WITHIN]
        latest = [*self._strikes, now][-_MOST_IN_ROW - 1 :]
        is_row_full = len(latest) > _MOST_IN_ROW and all(
            after < before + _ROW for before, after in pairwise(latest)
        )
        is_full = is_row_full or len(self._strikes) >= _MOST_STRIKES
        return bool(self.playing) and not self.is_away and not is_full

    def struck(self, now: float, kind: Kind = "gameserver") -> None:
        """Record that its process was killed or stopped, or is to be moved."""
        self._struck_at, self.kind = now, kind
        self._strikes.append(now)
        self._since.clear()
        self._gaps.clear()

    def spared(self) -> None:
        """Record that the latest strike did not happen."""
        self._struck_at = None
        self._strikes.pop()

    def joined(self, seat: int) -> None:
        """Record that a player took the seat, for the first time or again."""
        if self._struck_at is not None:
            # Silence before the strike does not count.
            self._since[seat] = max(self._last.get(seat, -inf), self._struck_at)

    def seen(self, seat: int, now: float) -> float | None:
        """
        Record that a player saw a state.

        :returns: the longest time without states of any player since the latest strike,
            if this was the last one to come back; seconds.
        """
        self.playing.add(seat)
        self._last[seat] = now
        if self._struck_at is None or seat not in self._since:
            return None
        self._gaps.setdefault(seat, now - self._since[seat])
        if not self.playing <= self._gaps.keys():
            return None
        self._struck_at = None
        return max(self._gaps[one] for one in self.playing)

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
    def begun(self) -> list[LiveMatch]:
        """Matches in which a player saw a state."""
        return [
            live
            for live in self.by_id.values()
            if any(witness.seen for witness in live.witnesses)
        ]

    @property
    def away(self) -> int:
        """Count the matches that wait for players to come back after a strike."""
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
