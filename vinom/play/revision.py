"""
Play what happened in a room again by other rules: how ``vinom dev`` changes a game.

What players did is kept, and deadlines come when the new rules want them. The first
thing that does not fit any more is named, and with it all that followed is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from vinom.base.model import MatchPlan
from vinom.errors import Rejected, VinomError
from vinom.game import Game
from vinom.play.clock import Advances
from vinom.play.guard import Guard
from vinom.play.play import GAME_ERRORS, Play, Point, Recorded, table_of
from vinom.play.recording import RawRecorded, encode_payload, repeat
from vinom.play.room import crash_report, where_of

#: More would take too long to play again while everybody waits.
MOST_INPUTS = 50_000


@attrs.define(eq=False)
class History:
    """
    All that happened in a room since its first state.

    :ivar plan: of the match, as it was then.
    :ivar record: gets each call to the game, too.
    :ivar inputs: each call, as it is written in a recording.
    :ivar is_whole: are there so few that all were kept?
    """

    plan: MatchPlan
    record: Callable[[Recorded], None]
    inputs: list[bytes] = attrs.field(factory=list)
    is_whole: bool = True

    def add(self, recorded: Recorded) -> None:
        """Note a call to the game."""
        self.record(recorded)
        # Written: the classes of actions may be others by then.
        if len(self.inputs) < MOST_INPUTS:
            self.inputs.append(encode_payload(recorded))
        else:
            self.is_whole = False


@attrs.frozen
class Revised:
    """
    A room's play by other rules.

    :ivar play: where it stands.
    :ivar calls: to the game, which led there.
    :ivar kept: how many of the history's inputs that were.
    :ivar wrong: the first that does not fit, and why; empty if all fit.
    """

    play: Play
    calls: list[Recorded]
    kept: int
    wrong: str


def play_again(
    history: History, game: Game[Any, Any], guard: Guard | None = None
) -> Revised:
    """
    Play a history by the rules of *game*, as far as it fits.

    :raises Refused: the game does not take these seats or options.
    :raises BaseException: the game fails at its start.
    """
    calls: list[Recorded] = []
    plan, advances = history.plan, Advances()
    play = Play(game, calls.append, guard or Guard(), plan)
    play.lay(table_of(plan, game))
    play.begin()
    if not history.is_whole:
        return Revised(play, calls, 0, f"there are more than {MOST_INPUTS} inputs")
    inputs = map(msgspec.msgpack.Decoder(RawRecorded).decode, history.inputs)
    for kept, raw in enumerate(inputs):
        before = Point(play.state, play.version, play.time, play.ticks)
        made = len(calls)
        try:
            while play.due is not None and play.due <= raw.time:
                advances.add(time := max(play.due, play.time), play.version)
                play.advance(time, play.due_for)
                advances.done(play.version)
            if raw.kind != "advance":
                repeat(play, raw, game)
        except GAME_ERRORS as error:
            wrong = _in_words(raw, error, plan)
            del calls[made:]
            play = Play(game, calls.append, play.guard, plan)
            play.resume(before, len(plan.seats))
            for later in inputs:
                # Seats are as they are now: their players came and went.
                if later.kind in ("joined", "dropped", "returned", "left"):
                    at = play.time
                    with suppress(*GAME_ERRORS):
                        repeat(play, msgspec.structs.replace(later, time=at), game)
            return Revised(play, calls, kept, wrong)
        play.events.clear()
    return Revised(play, calls, len(history.inputs), "")


def _in_words(raw: RawRecorded, error: BaseException, plan: MatchPlan) -> str:
    """Name an input that does not fit, and why."""
    what = f" {msgspec.msgpack.decode(raw.data)!r}" if raw.kind == "act" else ""
    who = f"seat {raw.seat}: " if raw.seat >= 0 else ""
    why = str(error)
    if isinstance(error, Rejected):
        why = f"{error.code}: {why}"
    elif not isinstance(error, VinomError):
        where = where_of(crash_report(plan, 0, raw.time, error))
        why = f"{type(error).__qualname__}: {why} ({where})"
    return f"{who}{raw.kind}{what} at {raw.time:.1f} s: {why}"
