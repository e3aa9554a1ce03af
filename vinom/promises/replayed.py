"""Play a match again from its recording, and compare it with what its players saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from vinom.errors import Misconfigured, Unreadable
from vinom.game import Game
from vinom.play.frozen import differences, fingerprint, plain
from vinom.play.guard import Guard
from vinom.play.play import Play
from vinom.play.recording import RawRecorded, Recording, replay
from vinom.play.states import codec_of
from vinom.play.views import Views
from vinom.promises.inputs import Played
from vinom.promises.parts import Parts

#: Most differing views of one match that are reported.
_MOST_DIFFERENT = 3


@attrs.define
class Replayed:
    """
    The result of replaying a recording.

    :ivar wrong: sentences that say why it does not replay.
    :ivar different: versions and seats whose view was different.
    :ivar unknown: versions that were seen, but that the recording does not have.
    :ivar events: seat or ``None`` for all, kind and data of each event, in order.
    :ivar version: version of the last state.
    """

    wrong: list[str] = attrs.field(factory=list)
    different: list[tuple[int, int]] = attrs.field(factory=list)
    unknown: list[int] = attrs.field(factory=list)
    events: list[tuple[int | None, str, Any]] = attrs.field(factory=list)
    version: int = 0


def play_again(
    parts: Parts,
    game: Game[Any, Any],
    guard: Guard,
    seen: Mapping[int, Mapping[int, str]],
) -> Replayed:
    """
    Replay all parts.

    :param parts: the parts of the recording.
    :param game: the rules.
    :param guard: interrupts calls that take too long.
    :param seen: version to seat to the hash of the view that its player saw.
    """
    found = Replayed(wrong=list(parts.gaps))
    left = dict(seen)
    recordings = parts.recordings
    for number, recording in enumerate(recordings, 1):
        latest: list[Play] = []

        def watch(play: Play, latest: list[Play] = latest) -> None:
            latest[:] = [play]
            found.events += [
                (event.to, event.kind, _plain(event.data)) for event in play.events
            ]
            play.events.clear()
            wanted = left.pop(play.version, None)
            if wanted is not None:
                _compare_views(found, play, wanted)

        try:
            result = replay(
                recording,
                game,
                watch,
                guard,
                has_begun=number < len(recordings),
            )
        except Unreadable as error:
            found.wrong.append(f"part {number}: {error}")
            return found
        found.version = result.version
        if result.differing is not None:
            found.wrong.append(f"part {number} differs: {result.differing}")
        if number < len(recordings) and latest:
            found.wrong += _compare_ends(latest[0], recordings[number], game, number)
    # Views of other versions are checked with the part that has them.
    found.unknown = sorted(left)
    return found


def inputs_of(
    parts: Parts, game: Game[Any, Any], seat: int, read: Any
) -> tuple[Played, ...]:
    """
    List the inputs of one seat that were played, in order.

    :param parts: the parts of the recording.
    :param game: the rules.
    :param seat: the seat.
    :param read: decodes an action.
    """
    has_bots = game.absent == "bot"
    is_away = is_back = False
    played: list[Played] = []
    for recording in parts.recordings:
        for raw in recording.inputs:
            if raw.kind == "tick":
                pairs = msgspec.msgpack.decode(
                    raw.data, type=list[tuple[int, msgspec.Raw]]
                )
                # An input may wait for its tick while the player is lost, or a bot's
                # while the player comes back.
                is_foreign = has_bots and (is_away or is_back)
                played += [
                    Played(read(bytes(action)), raw.time, is_foreign)
                    for whose, action in pairs
                    if whose == seat
                ]
                is_back = False
            elif raw.seat == seat:
                if raw.kind == "act":
                    action = read(bytes(raw.data))
                    played.append(Played(action, raw.time, has_bots and is_away))
                else:
                    was_away, is_away = is_away, _is_away(raw, is_away)
                    is_back = was_away and not is_away
    return tuple(played)


def _is_away(raw: RawRecorded, before: bool) -> bool:
    if raw.kind in ("dropped", "left"):
        return True
    return before and raw.kind not in ("returned", "joined")


def _compare_views(found: Replayed, play: Play, wanted: Mapping[int, str]) -> None:
    """Compare the views of one version with those that each seat was shown."""
    views = Views(play.game, play.ask)
    for seat, shown in wanted.items():
        audience = views.audience_of(play.state, seat)
        view = views.show(play.state, play.version, audience)
        if fingerprint(view) != shown and len(found.different) < _MOST_DIFFERENT:
            found.different.append((play.version, seat))


def _compare_ends(
    play: Play, following: Recording, game: Game[Any, Any], number: int
) -> list[str]:
    """Compare the end of a part with the beginning of the next one."""
    part = following.header.part
    assert part is not None
    wrong = []
    try:
        begun = codec_of(game).decode(part.state)
    except (Misconfigured, Unreadable) as error:
        return [f"part {number + 1} begins with a state that cannot be read: {error}"]
    difference = next(differences(plain(begun), plain(play.state)), None)
    if difference is not None:
        wrong.append(
            f"part {number + 1} does not begin where part {number} ended: {difference}"
        )
    if game.durability == "ahead" and part.version != play.version:
        wrong.append(
            f"part {number + 1} begins with version {part.version}, but part {number} "
            f"ended with {play.version}"
        )
    return wrong


def _plain(data: Any) -> Any:
    """Return an event's data as a client decodes it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))
