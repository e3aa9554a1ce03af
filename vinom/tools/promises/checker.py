"""Check one match: compare its players' records with each other and the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from vinom.errors import Unreadable
from vinom.game import Game, has_one_audience
from vinom.net.packets.reliable import MOST_WAITING
from vinom.play.choices import action_decoder
from vinom.play.guard import Guard
from vinom.play.room import REJECTED
from vinom.play.views import Recipients, reaches
from vinom.tools.promises.replayed import (
    Doubt,
    Parts,
    compare,
    decoded,
    inputs_of,
    play_again,
    read_parts,
)
from vinom.tools.promises.witness import Broken, Promise, Sent, Witness

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
            return read_parts(self._folders, match_id).is_ended
        except (Unreadable, OSError):
            return False

    def check(self, match_id: str, witnesses: Sequence[Witness]) -> Checked:
        """
        Check one match that is over.

        :param match_id: the match's id.
        :param witnesses: the witnesses of its players, as far as they are ours.
        """
        broken = [one for witness in witnesses for one in witness.broken]

        def found(promise: Promise, message: str) -> None:
            broken.append(Broken(promise, match_id, message))

        self._check_reasons(found, witnesses)
        if not any(witness.seen for witness in witnesses):
            # No player saw it begin: it is void, or its players never came.
            return Checked(tuple(broken))
        seen = self._agreed(found, witnesses)
        try:
            parts = read_parts(self._folders, match_id)
        except (Unreadable, OSError) as error:
            found("recording", str(error))
            return Checked(tuple(broken))
        self._check_replay(found, parts, seen, witnesses)
        acknowledged = sum(
            self._check_inputs(
                found, parts, [witness for witness in witnesses if witness.seat == seat]
            )
            for seat in sorted({witness.seat for witness in witnesses})
        )
        return Checked(
            tuple(broken),
            acknowledged,
            sum(len(witness.seen) for witness in witnesses),
            len(parts.recordings),
            not broken and parts.is_ended,
        )

    def _check_reasons(self, found: _Found, witnesses: Sequence[Witness]) -> None:
        """Check that every player got the same end, and one that keeps the promise."""
        was_seen = any(witness.seen for witness in witnesses)
        kept = KEPT | {"lost"} if self._game.durability == "none" else KEPT
        for witness in witnesses:
            reason = witness.reason
            if not reason:
                found("ends", f"{witness.player} was not sent its end")
            elif reason not in kept and was_seen:
                found("ends", f"it ended for {witness.player}: {reason}")
        ends = {
            (one.over.reason, one.over.version, one.over.view_hash)
            for one in witnesses
            if one.over is not None
        }
        if len(ends) > 1:
            listed = "; ".join(
                f"{reason} at version {version}" for reason, version, _ in sorted(ends)
            )
            found("ends", f"players were sent different ends: {listed}")

    def _agreed(
        self, found: _Found, witnesses: Sequence[Witness]
    ) -> dict[int, dict[int, str]]:
        """Collect the views that were seen: version to seat to hash."""
        seen: dict[int, dict[int, str]] = {}
        for witness in witnesses:
            for version, shown in witness.seen.items():
                seen.setdefault(version, {})[witness.seat] = shown
        if has_one_audience(type(self._game)):
            forked = [v for v, shown in seen.items() if len({*shown.values()}) > 1]
            if forked:
                found(
                    "states",
                    f"two players saw different states of version {min(forked)}",
                )
        return seen

    def _check_replay(
        self,
        found: _Found,
        parts: Parts,
        seen: dict[int, dict[int, str]],
        witnesses: Sequence[Witness],
    ) -> None:
        ending = parts.recordings[-1].ending
        if ending is None:
            # No player waited for the end, and perhaps no goodbye arrived.
            if any(witness.reason != "left" for witness in witnesses):
                found("recording", "its recording has no end")
        elif ending.end.reason not in KEPT:
            found("ends", f"its recording ends with {ending.end.reason}")
        replayed = play_again(parts, self._game, self._guard, seen)
        for wrong in replayed.wrong:
            found("recording", wrong)
        if self._game.durability in ("behind", "none"):
            # Such games may lose states that were seen.
            return
        for version, seat in replayed.different:
            found(
                "states",
                f"seat {seat} saw another state at version {version} than the "
                f"recording gives",
            )
        if replayed.unknown:
            found(
                "states",
                f"version {replayed.unknown[0]} was seen, but the recording has no "
                f"such version, and ends at {replayed.version}",
            )
        for witness in () if replayed.wrong else witnesses:
            self._check_events(found, replayed.events, witness)

    def _check_events(
        self,
        found: _Found,
        events: Sequence[tuple[Recipients, str, Any]],
        witness: Witness,
    ) -> None:
        expected = [
            (kind, data) for to, kind, data in events if reaches(to, witness.seat)
        ]
        came = list(witness.events)
        if self._game.tick_hz:
            # The room makes these itself.
            came = [one for one in came if one[0] != REJECTED]
        left = iter(expected)
        for one in came:
            if not any(one == other for other in left):
                found(
                    "events",
                    f"{witness.player} was sent the event {one[0]!r} twice, out of "
                    f"order, or although the game never made it",
                )
                return
        # A player who is away for long loses the oldest messages.
        is_whole = witness.over is not None and not self._game.late_join
        if is_whole and len(came) < len(expected) < MOST_WAITING:
            found(
                "events",
                f"{witness.player} was sent {len(came)} of {len(expected)} events",
            )

    def _check_inputs(
        self, found: _Found, parts: Parts, in_turn: Sequence[Witness]
    ) -> int:
        """
        Compare the inputs of one seat; returns how many acknowledged ones there are.

        :param in_turn: who had it: a newcomer may have the seat of a player who left.
        """
        sent = [one for witness in in_turn for one in witness.sent]
        names = " and ".join(witness.player for witness in in_turn)
        count = sum(one.fate == "acknowledged" for one in sent)
        try:
            played = inputs_of(parts, self._game, in_turn[0].seat, self._read)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            found(
                "recording",
                f"its recording has an action that cannot be decoded: {error}",
            )
            return count
        result = compare(sent, played, self._read)
        if result.missing:
            # Unless only their refusals are missing.
            sent = [
                one
                for witness in in_turn
                for one in self._without_refused(parts, witness)
            ]
            result = compare(sent, played, self._read)
        missing = result.missing
        if missing and self._game.tick_hz:
            # A tick rejects inputs after they were acknowledged: not others, and not
            # more than it has reported.
            others = [one for each in in_turn for one in _without_rejected(each)]
            rejected = sum(len(witness.rejected) for witness in in_turn)
            missing = compare(others, played, self._read).missing or missing[rejected:]
        if missing and self._game.durability in ("ahead", "store"):
            numbers = _first(str(one.number) for one in missing)
            found(
                "inputs",
                f"{len(missing)} inputs of {names} were acknowledged, but not played "
                f"({numbers})",
            )
        if result.doubled:
            times = _first(f"{one.time:.3f} s" for one in result.doubled)
            found(
                "inputs",
                f"{len(result.doubled)} inputs of {names} were played twice, or were "
                f"never sent ({times})",
            )
        return count

    def _without_refused(self, parts: Parts, witness: Witness) -> Sequence[Sent]:
        """
        List a player's inputs; those that may have been refused count as unanswered.

        States and refusals are sent separately: the state that acknowledges an input
        may arrive while the refusal is lost with its game server, or comes after the
        lobby reported the end. This can only be if the game server's end did not
        arrive, because refusals arrive in order before it, and if the rules refuse the
        input in a state between the one that its player acted on and the one that
        acknowledged it.
        """
        sent = witness.sent
        if witness.over is not None:
            return sent
        last = max((one.number for one in sent if one.fate == "refused"), default=0)
        doubts = [
            Doubt(
                one,
                witness.seat,
                max(one.after, witness.newest),
                decoded(one, self._read),
            )
            for one in sent
            if one.fate == "acknowledged" and one.number > last
        ]
        # What does not replay has been reported.
        play_again(parts, self._game, self._guard, {}, doubts)
        refused = {doubt.sent.number for doubt in doubts if doubt.is_refused}
        return _unanswered(sent, lambda one: one.number in refused)


_Found = Callable[[Promise, str], None]


def _without_rejected(witness: Witness) -> Sequence[Sent]:
    """
    List a player's inputs; those that a tick may have rejected count as unanswered.

    A tick rejects inputs after they came in, and acknowledges them all the same. It did
    so in a version that is not older than what the player acted on, and not newer than
    the one that acknowledged the input.
    """
    return _unanswered(
        witness.sent,
        lambda one: any(
            one.after <= version <= one.before for version in witness.rejected
        ),
    )


def _unanswered(sent: Sequence[Sent], is_so: Callable[[Sent], bool]) -> list[Sent]:
    return [
        attrs.evolve(one, fate="open")
        if one.fate == "acknowledged" and is_so(one)
        else one
        for one in sent
    ]


def _first(words: Iterable[str]) -> str:
    """List the first few."""
    shown = list(words)
    more = ", ..." if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more
