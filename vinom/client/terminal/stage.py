"""Show one of the matches that a demo's bots play."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TextIO

from twisted.internet.interfaces import IReactorTime

from vinom.base.printable import say
from vinom.client.load.tally import Tally
from vinom.client.match import Match
from vinom.client.terminal.play import Canvas, scene_of
from vinom.client.terminal.scene import compose, headline, to_ascii


class Stage:
    """
    Choose a match to show: one with a guest, or else the newest.

    :param clock: measures and schedules time; the reactor.
    :param tally: what the bots have counted.
    :param ours: player ids of the bots; any other player is a guest.
    :param command: with which a guest joins.
    :param page: URL of the page with games for a browser.
    :ivar keys: describes more keys, for the last line.
    :ivar notes: says more about what happens.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tally: Tally,
        ours: Collection[str],
        command: str,
        page: str = "",
    ) -> None:
        self._clock, self._tally, self._ours = clock, tally, ours
        self._command, self._page = command, page
        self._matches: dict[str, Match] = {}
        self._shown: Match | None = None
        self._frame = 0
        self._began = clock.seconds()
        self.keys: Callable[[], str] = str
        self.notes: Callable[[], list[str]] = list

    @property
    def shown(self) -> Match | None:
        return self._shown

    def add(self, match: Match) -> None:
        """Add a match in which a bot has a seat; the view of one seat is enough."""
        self._matches.setdefault(match.match_id, match)

    def draw(
        self, canvas: Canvas, *, colour: bool = True, ascii_only: bool = False
    ) -> None:
        """Draw the next picture."""
        self._frame += 1
        width, height = canvas.size()
        match = self._choose()
        if match is None:
            lines = ["", "  vinom demo", "", "  the bots are taking their seats"]
            canvas.show(lines[:height])
            return
        scene = scene_of(
            match,
            self._clock.seconds(),
            self._frame,
            you=None,
            title=f"vinom demo · {self._page or match.match_id[:8]}",
            keys=" · ".join(
                filter(None, (f"join: {self._command}", self.keys(), "Ctrl-C ends"))
            ),
            notes=self._notes(),
        )
        canvas.show(compose(scene, width, height, colour=colour, ascii_only=ascii_only))

    def print_line(self, out: TextIO, *, ascii_only: bool = False) -> None:
        """Print the score of the shown match in one line."""
        match = self._choose()
        if match is None:
            return
        now = self._clock.seconds()
        rtt = "" if match.rtt is None else f", RTT {match.rtt * 1000:.1f} ms"
        line = (
            f"{now - self._began:5.1f} s  match {match.match_id[:8]}: "
            f"{headline(scene_of(match, now, 0))}{rtt}"
        )
        say(to_ascii(line) if ascii_only else line, file=out, flush=True)

    def _notes(self) -> list[str]:
        tally = self._tally
        plural = "" if tally.finished == 1 else "es"
        notes = [f"{tally.finished} match{plural} played"]
        delay = tally.input_to_state.recent_ms()
        if delay is not None:
            notes.append(f"input→state {delay:.1f} ms")
        return notes + self.notes()

    def _choose(self) -> Match | None:
        for match_id in [m.match_id for m in self._matches.values() if m.is_over]:
            del self._matches[match_id]
        shown = self._shown
        seen = [m for m in self._matches.values() if m.view is not None]
        with_guests = [m for m in seen if self._has_guest(m)]
        if shown is not None and not shown.is_over:
            if self._has_guest(shown) or not with_guests:
                return shown
        elif not seen:
            # Keep the last picture of the last match until there is another.
            return shown
        self._shown = (with_guests or seen)[-1]
        return self._shown

    def _has_guest(self, match: Match) -> bool:
        return any(player.player_id not in self._ours for player in match.players)
