"""Find by a replay the inputs that a game may have refused unseen by the player."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from vinom.errors import Rejected, Unreadable
from vinom.game import Game
from vinom.play.guard import Guard
from vinom.play.play import GAME_ERRORS, Play
from vinom.play.recording import replay
from vinom.promises.parts import Parts
from vinom.promises.witness import Sent, Witness


def without_refused(
    witness: Witness,
    parts: Parts,
    game: Game[Any, Any],
    guard: Guard,
    read: Callable[[bytes], Any],
) -> list[Sent]:
    """
    List a player's inputs; those that may have been refused count as unanswered.

    States and refusals are sent separately: the state that acknowledges an input may
    arrive while the refusal is lost with its game server, or comes after the lobby
    reported the end. This can only be if the game server's end did not arrive, because
    refusals arrive in order before it, and if the rules refuse the input in a state
    between the one that its player acted on and the one that acknowledged it.

    :param witness: the witness of the player.
    :param parts: the parts of the recording.
    :param game: the rules.
    :param guard: interrupts calls that take too long.
    :param read: decodes an action; raises anything if it cannot.
    """
    if witness.over is not None:
        return witness.sent
    last = max((one.number for one in witness.sent if one.fate == "refused"), default=0)
    doubts: dict[int, _Doubt] = {}
    for one in witness.sent:
        if one.fate == "acknowledged" and one.number > last:
            first = max(one.after, witness.told)
            doubts[one.number] = _Doubt(witness.seat, one, first, _decoded(one, read))
    _play_again(parts, game, guard, tuple(doubts.values()))
    return [
        attrs.evolve(one, fate="open")
        if one.number in doubts and doubts[one.number].is_refused
        else one
        for one in witness.sent
    ]


def without_rejected(witness: Witness) -> list[Sent]:
    """
    List a player's inputs; those that a tick may have rejected count as unanswered.

    A tick rejects inputs after they came in, and acknowledges them all the same. It did
    so in a version that is not older than what the player acted on, and not newer than
    the one that acknowledged the input.
    """
    return [
        attrs.evolve(one, fate="open")
        if one.fate == "acknowledged"
        and any(one.after <= version <= one.before for version in witness.rejected)
        else one
        for one in witness.sent
    ]


class _Unreadable:
    """An action that cannot be decoded, and so is always refused."""


@attrs.define(eq=False)
class _Doubt:
    """
    An acknowledged input whose refusal may be missing.

    :ivar first: the oldest version in which it may have been refused.
    :ivar action: the action, decoded.
    """

    seat: int
    sent: Sent
    first: int
    action: Any
    is_refused: bool = attrs.field(init=False)

    @is_refused.default
    def _is_unreadable(self) -> bool:
        return isinstance(self.action, _Unreadable)

    def look(self, play: Play, state: Any, version: int) -> None:
        """Ask the game's rules about an input, in a state that the match was in."""
        if self.is_refused or not self.first <= version <= self.sent.before:
            return
        game = play.game
        try:
            if game.tick_hz:
                inputs = ((self.seat, self.action),)
                play.ask("tick", game.tick, state, inputs, play.ticks + 1)
            else:
                play.ask("act", game.act, state, self.seat, self.action, play.time)
        except Rejected:
            self.is_refused = True
        except GAME_ERRORS:
            # The match would have crashed, which is not a refusal.
            return


def _play_again(
    parts: Parts, game: Game[Any, Any], guard: Guard, doubts: Sequence[_Doubt]
) -> None:
    recordings = parts.recordings
    for number, recording in enumerate(recordings, 1):
        before: list[tuple[Any, int]] = []

        def watch(play: Play, before: list[tuple[Any, int]] = before) -> None:
            now = (play.state, play.version)
            # The rules may depend on time alone.
            for state, version in (*before, now):
                for doubt in doubts:
                    doubt.look(play, state, version)
            before[:] = [now]
            if play.outcome is not None and not game.linger:
                # The room closes before it accepts another action.
                for doubt in doubts:
                    if doubt.first <= play.version <= doubt.sent.before:
                        doubt.is_refused = True

        try:
            replay(recording, game, watch, guard, has_begun=number < len(recordings))
        except Unreadable:
            # This is reported as a recording that does not replay.
            return


def _decoded(one: Sent, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(one.action)
    except Exception:
        return _Unreadable()
