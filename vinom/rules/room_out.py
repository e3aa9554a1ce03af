"""What comes out of a room: its views, its effects and its end."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Literal, TypeVar

import attrs

from vinom.game import Game, Outcome
from vinom.model import MatchEnd, MatchPlan
from vinom.rules.frozen import fingerprint
from vinom.rules.guard import TooSlow
from vinom.rules.play import GAME_ERRORS, Play
from vinom.rules.room_effects import Closed, Effect, crash_report, outcome_facts
from vinom.rules.room_seats import RoomSeats
from vinom.rules.room_time import RoomTime
from vinom.rules.room_views import NoViews, Views

_T = TypeVar("_T")


@attrs.frozen
class _Nobody:
    """Who looks at a room whose game cannot tell what they may see."""


#: Sees nothing. Not ``None``: that may be the name of a game's own audience.
NOBODY: Final = _Nobody()


class RoomOut:
    """
    What a room keeps, shows and says; nothing here moves the game on.

    Nothing that a game does wrong when it is asked leaves here as an
    exception: it ends the room, with a report.

    :ivar phase: "gathering", "playing", "over" (a round has ended), "closed".
    """

    plan: MatchPlan
    game: Game[Any, Any]
    phase: Literal["gathering", "playing", "over", "closed"]
    _play: Play
    _time: RoomTime
    _views: Views
    _seats: RoomSeats
    _effects: list[Effect]
    _ended: Outcome | None

    def __init__(
        self, plan: MatchPlan, game: Game[Any, Any], play: Play, time: RoomTime
    ) -> None:
        self.plan, self.game, self.phase = plan, game, "gathering"
        self._play, self._time = play, time
        self._views = Views(game, play.ask)
        self._seats = RoomSeats.awaiting(len(plan.seats))
        self._effects = []
        self._ended = None

    @property
    def version(self) -> int:
        """Count the changes of state; 0 before play starts."""
        return self._play.version

    @property
    def ticks(self) -> int:
        """Count the fixed steps that were made."""
        return self._play.ticks

    @property
    def state(self) -> Any:
        """The game's current state, which nobody can change."""
        return self._play.state

    @property
    def slipped(self) -> float:
        """Tell how much match time was lost because ticks came too late, seconds."""
        return self._time.slipped

    def match_time(self, now: float) -> float:
        """Tell the match time, seconds; it stops while nobody could play."""
        latest = self._play.time
        if self.phase == "closed":
            return latest
        time = self._time.match_time(now)
        return time if time > latest else latest

    def deadline(self) -> float | None:
        """When to call `alarm` next."""
        return None if self.phase == "closed" else self._time.alarm_at

    def present(self) -> tuple[int, ...]:
        """Name the seats that are connected now."""
        return self._seats.present()

    @property
    def has_effects(self) -> bool:
        """Did anything happen since `take_effects` was called?"""
        return bool(self._effects)

    def has_news(self, told: int) -> bool:
        """Is there an effect, or a version that is not *told*?"""
        return self._play.version != told or bool(self._effects)

    def take_effects(self) -> list[Effect]:
        """Hand over what happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def audience_of(self, seat: int | None) -> Hashable:
        """Tell which view a seat sees; a spectator is ``None``."""
        try:
            return self._views.audience_of(self._play.state, seat)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return NOBODY

    def view(self, audience: Hashable) -> bytes:
        """
        Show the current state to an audience: MessagePack, made once.

        Empty before play starts, and if the game fails at it (the room is
        closed then).
        """
        play = self._play
        if play.version == 0 or audience is NOBODY:
            return b""
        # As `_guarded`, which costs each state an extra call.
        try:
            return self._views.show(play.state, play.version, audience)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return b""

    def view_json(self, audience: Hashable) -> bytes:
        """Show the same as JSON, likewise made once."""
        play = self._play
        if play.version == 0 or audience is NOBODY:
            return b""
        show = self._views.show_json
        return self._guarded(show, play.state, play.version, audience) or b""

    @property
    def has_one_audience(self) -> bool:
        """Does everybody see the same?"""
        return self._views.has_one_audience

    def setup_json(self) -> bytes:
        """Show what never changes: JSON, empty if there is nothing."""
        return self._guarded(self._views.setup_json, self._play.state) or b""

    def setup(self) -> bytes:
        """Show what never changes: MessagePack, empty if there is nothing."""
        return self._guarded(self._views.setup, self._play.state) or b""

    def view_hash(self) -> str:
        """Name the public view: sha256, its first 16 hexadecimal digits."""
        shown = self.view(self.audience_of(None))
        return fingerprint(shown) if shown else ""

    def _guarded(self, call: Callable[..., _T], *args: Any) -> _T | None:
        """Ask the game something; if it fails the room ends."""
        try:
            return call(*args)
        except GAME_ERRORS as error:
            self._fail_to_show(error)
            return None

    def _fail_to_show(self, error: BaseException) -> None:
        if isinstance(error, TooSlow):
            # Everybody waited for it once; each other view would take as long.
            self._views = NoViews(self.game)
        self._crash(error)

    # The end.

    def fail(self, error: BaseException) -> None:
        """What the game made cannot be used: the room ends, with a report."""
        self._crash(error)

    def _quiet_end(self) -> str:
        """Name the end of a room that nobody needs any more."""
        return "abandoned" if self._ended is None else "finished"

    def _fails_to_show(self) -> bool:
        self.view_hash()
        return self.phase == "closed"

    def _report(self, error: BaseException) -> str:
        return crash_report(self.plan, self.version, self._play.time, error)

    def _crash(self, error: BaseException) -> None:
        self._close("crashed", self._report(error))

    def _close(self, reason: str, report: str | None = None) -> None:
        # The last view is part of the end: a game that fails at it has crashed,
        # whatever the room was to be closed for.
        if self.phase == "closed" or (reason != "crashed" and self._fails_to_show()):
            return
        self.phase = "closed"
        self._time.stop()
        end = MatchEnd(
            match_id=self.plan.match_id,
            reason=reason,
            outcome=None if self._ended is None else outcome_facts(self._ended),
            present=self.present(),
            version=self.version,
            view_hash=self.view_hash(),
        )
        self._effects.append(Closed(end, report))
