"""
Play what happened in a room again by other rules: how ``vinom dev`` changes a game.

What players did is kept, and deadlines come when the new rules want them. The first
thing that does not fit any more is named, and with it all that followed is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        if len(self.inputs) < MOST_INPUTS:
            self.inputs.append(encode_payload(recorded))
        else:
            self.is_whole = False


@attrs.frozen
class Revised:
    """
    A room's play by other rules.

    :ivar play: where it stands.
    :ivar inputs: what led there: of a history.
    :ivar kept: how many of the history's that were.
    :ivar wrong: the first that does not fit, and why; empty if all fit.
    """

    play: Play
    inputs: list[bytes]
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
    read = msgspec.msgpack.Decoder(RawRecorded).decode
    play, advances = _begun(history.plan, game, guard), Advances()
    if not history.is_whole:
        return Revised(play, [], 0, f"there are more than {MOST_INPUTS} inputs")
    for kept, payload in enumerate(history.inputs):
        raw = read(payload)
        before = Point(play.state, play.version, play.time, play.ticks)
        try:
            while play.due is not None and play.due <= raw.time:
                advances.add(time := max(play.due, play.time), play.version)
                play.advance(time)
                advances.done(play.version)
            if raw.kind != "advance":
                repeat(play, raw, game)
        except GAME_ERRORS as error:
            wrong = _in_words(raw, error, history.plan)
            play = Play(game, guard=play.guard, plan=history.plan)
            play.resume(before, len(history.plan.seats))
            inputs = history.inputs[:kept]
            _follow_seats(play, inputs, map(read, history.inputs[kept + 1 :]))
            return Revised(play, inputs, kept, wrong)
        play.events.clear()
    return Revised(play, history.inputs, len(history.inputs), "")


def _follow_seats(
    play: Play, inputs: list[bytes], later: Iterable[RawRecorded]
) -> None:
    """Let those come and go who did so later: their seats are as they are now."""
    for raw in later:
        if raw.kind in ("joined", "dropped", "returned", "left"):
            moved = RawRecorded(raw.kind, play.time, raw.seat, raw.data)
            repeat(play, moved, play.game)
            inputs.append(encode_payload(moved))


def _begun(plan: MatchPlan, game: Game[Any, Any], guard: Guard | None) -> Play:
    play = Play(game, guard=guard or Guard(), plan=plan)
    play.lay(table_of(plan, game))
    play.begin()
    play.events.clear()
    return play


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
