"""Check one match: compare its players' records with each other and the recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from vinom.errors import Unreadable
from vinom.game import Game
from vinom.packets.reliable import MOST_WAITING
from vinom.play.choices import action_decoder
from vinom.play.guard import Guard
from vinom.play.room import REJECTED
from vinom.promises.findings import Broken, Promise
from vinom.promises.inputs import Played, compare
from vinom.promises.parts import Parts, read_parts
from vinom.promises.refusals import without_refused, without_rejected
from vinom.promises.replayed import inputs_of, play_again
from vinom.promises.witness import Sent, Witness

#: Ends that keep the promise; "left" is our own. Not "shutdown", because matches
#: outlive the processes that are shut down.
KEPT: Final = frozenset({"finished", "abandoned", "time_limit", "ended", "left"})
#: Most inputs that one finding names.
_MOST_NAMED = 3


@attrs.frozen
class Checked:
    """
    The result of checking one match.

    :ivar broken: the broken promises.
    :ivar acknowledged: number of acknowledged inputs that were compared.
    :ivar states: number of states that players saw and that were compared.
    :ivar parts: number of parts of its recording.
    :ivar is_finished: was it played to the end, with a recording that replays?
    """

    broken: tuple[Broken, ...]
    acknowledged: int = 0
    states: int = 0
    parts: int = 0
    is_finished: bool = False


class Checker:
    """
    Check matches of one game.

    :param game: the rules.
    :param guard: interrupts calls that take too long.
    :param folders: where the nodes write recordings.
    """

    def __init__(
        self, game: Game[Any, Any], guard: Guard, folders: Sequence[Path]
    ) -> None:
        self._game, self._guard, self._folders = game, guard, tuple(folders)
        self._read: Callable[[bytes], Any] = action_decoder(game)

    def is_recorded(self, match_id: str) -> bool:
        """Does the recording of a match have its end?"""
        try:
            return read_parts(self._folders, match_id).last.ending is not None
        except (Unreadable, OSError):
            return False

    def check(self, match_id: str, witnesses: Sequence[Witness]) -> Checked:
        """
        Check one match that is over.

        :param match_id: the match's id.
        :param witnesses: the witnesses of its players, as far as they are ours.
        """
        report = _Report(match_id)
        for witness in witnesses:
            report.broken += witness.broken
        if not any(witness.seen for witness in witnesses):
            # No player saw it begin: it is void, or its players never came.
            self._check_reasons(report, witnesses)
            return Checked(tuple(report.broken))
        self._check_reasons(report, witnesses)
        seen = self._agreed(report, witnesses)
        try:
            parts = read_parts(self._folders, match_id)
        except (Unreadable, OSError) as error:
            report.found("recording", str(error))
            return Checked(tuple(report.broken))
        self._check_replay(report, parts, seen, witnesses)
        acknowledged = self._check_inputs(report, parts, witnesses)
        return Checked(
            tuple(report.broken),
            acknowledged,
            sum(len(witness.seen) for witness in witnesses),
            len(parts.recordings),
            not report.broken and parts.last.ending is not None,
        )

    def _check_reasons(self, report: _Report, witnesses: Sequence[Witness]) -> None:
        """Check that every player got the same end, and one that keeps the promise."""
        was_seen = any(witness.seen for witness in witnesses)
        kept = KEPT | {"lost"} if self._game.durability == "none" else KEPT
        for witness in witnesses:
            reason = witness.reason
            if not reason:
                report.found("ends", f"{witness.player} was not sent its end")
            elif reason not in kept and was_seen:
                report.found("ends", f"it ended for {witness.player}: {reason}")
        ends = {
            (witness.over.reason, witness.over.version, witness.over.view_hash)
            for witness in witnesses
            if witness.over is not None
        }
        if len(ends) > 1:
            listed = "; ".join(
                f"{reason} at version {version}" for reason, version, _ in sorted(ends)
            )
            report.found("ends", f"players were sent different ends: {listed}")

    def _agreed(
        self, report: _Report, witnesses: Sequence[Witness]
    ) -> dict[int, dict[int, str]]:
        """Collect the views that were seen: version to seat to hash."""
        seen: dict[int, dict[int, str]] = {}
        for witness in witnesses:
            for version, shown in witness.seen.items():
                seen.setdefault(version, {})[witness.seat] = shown
        if type(self._game).audience is Game.audience:
            forked = [v for v, shown in seen.items() if len({*shown.values()}) > 1]
            if forked:
                report.found(
                    "states",
                    f"two players saw different states of version {min(forked)}",
                )
        return seen

    def _check_replay(
        self,
        report: _Report,
        parts: Parts,
        seen: dict[int, dict[int, str]],
        witnesses: Sequence[Witness],
    ) -> None:
        is_strict = self._game.durability == "ahead"
        ending = parts.last.ending
        if ending is None:
            # No player waited for the end, and perhaps no goodbye arrived.
            if any(witness.reason != "left" for witness in witnesses):
                report.found("recording", "its recording has no end")
        elif ending.end.reason not in KEPT:
            report.found("ends", f"its recording ends with {ending.end.reason}")
        replayed = play_again(parts, self._game, self._guard, seen)
        for wrong in replayed.wrong:
            report.found("recording", wrong)
        if not is_strict:
            # Such games may lose states that were seen.
            return
        for version, seat in replayed.different:
            report.found(
                "states",
                f"seat {seat} saw another state at version {version} than the "
                f"recording gives",
            )
        if replayed.unknown:
            report.found(
                "states",
                f"version {replayed.unknown[0]} was seen, but the recording has no "
                f"such version, and ends at {replayed.version}",
            )
        if not replayed.wrong:
            self._check_events(report, replayed.events, witnesses)

    def _check_events(
        self,
        report: _Report,
        events: Sequence[tuple[int | None, str, Any]],
        witnesses: Sequence[Witness],
    ) -> None:
        for witness in witnesses:
            expected = [
                (kind, data)
                for to, kind, data in events
                if to is None or to == witness.seat
            ]
            came = list(witness.events)
            if self._game.tick_hz:
                # The room makes these itself.
                came = [one for one in came if one[0] != REJECTED]
            at = 0
            for kind, data in came:
                while at < len(expected) and expected[at] != (kind, data):
                    at += 1
                if at == len(expected):
                    report.found(
                        "events",
                        f"{witness.player} was sent the event {kind!r} twice, out of "
                        f"order, or although the game never made it",
                    )
                    break
                at += 1
            else:
                # A player who is away for long loses the oldest messages.
                is_whole = witness.over is not None and not self._game.late_join
                if is_whole and len(came) < len(expected) < MOST_WAITING:
                    report.found(
                        "events",
                        f"{witness.player} was sent {len(came)} of "
                        f"{len(expected)} events",
                    )

    def _check_inputs(
        self, report: _Report, parts: Parts, witnesses: Sequence[Witness]
    ) -> int:
        """Compare inputs; returns how many acknowledged ones there are."""
        count = 0
        for seat in sorted({witness.seat for witness in witnesses}):
            # A newcomer may have the seat of a player who left.
            in_turn = [witness for witness in witnesses if witness.seat == seat]
            sent = [one for witness in in_turn for one in witness.sent]
            names = " and ".join(witness.player for witness in in_turn)
            count += sum(one.fate == "acknowledged" for one in sent)
            try:
                played = inputs_of(parts, self._game, seat, self._read)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                report.found(
                    "recording",
                    f"its recording has an action that cannot be decoded: {error}",
                )
                continue
            result = compare(sent, played, self._read)
            if result.missing:
                # Unless only their refusals are missing.
                sent = [
                    one
                    for witness in in_turn
                    for one in without_refused(
                        witness, parts, self._game, self._guard, self._read
                    )
                ]
                result = compare(sent, played, self._read)
            missing = result.missing
            if missing and self._game.tick_hz:
                # A tick rejects inputs after they were acknowledged: not others, and
                # not more than it has reported.
                others = [one for each in in_turn for one in without_rejected(each)]
                rejected = sum(len(witness.rejected) for witness in in_turn)
                missing = (
                    compare(others, played, self._read).missing or (missing[rejected:])
                )
            if missing and self._game.durability == "ahead":
                report.found("inputs", _missing(names, missing))
            if result.doubled:
                report.found("inputs", _doubled(names, result.doubled))
        return count


@attrs.define
class _Report:
    """The findings of one match."""

    match_id: str
    broken: list[Broken] = attrs.field(factory=list)

    def found(self, promise: Promise, message: str) -> None:
        """Add a finding."""
        self.broken.append(Broken(promise, self.match_id, message))


def _missing(names: str, inputs: Sequence[Sent]) -> str:
    numbers = ", ".join(str(one.number) for one in inputs[:_MOST_NAMED])
    return (
        f"{len(inputs)} inputs of {names} were acknowledged, but not played "
        f"({numbers}{', ...' if len(inputs) > _MOST_NAMED else ''})"
    )


def _doubled(names: str, inputs: Sequence[Played]) -> str:
    times = ", ".join(f"{one.time:.3f} s" for one in inputs[:_MOST_NAMED])
    return (
        f"{len(inputs)} inputs of {names} were played twice, or were never "
        f"sent ({times}{', ...' if len(inputs) > _MOST_NAMED else ''})"
    )
