"""
A match played again from its recording, to compare it with what its players saw, and
the inputs that they sent with those that were played.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec

from vinom.errors import Misconfigured, Rejected, Unreadable
from vinom.game import Game
from vinom.play.guard import Guard
from vinom.play.hosting.recordings import SUFFIX, part_name
from vinom.play.play import GAME_ERRORS, Play
from vinom.play.recording import Recording, read_recording, replay, tick_inputs
from vinom.play.states import codec_of, differences, fingerprint, plain
from vinom.play.views import Recipients, Views
from vinom.tools.promises.witness import Sent

#: A pairing that is worse than the best by more than this is dropped.
_MOST_WORSE = 6


@attrs.frozen
class Played:
    """
    One input of a seat in the recording.

    :ivar action: the action, decoded.
    :ivar time: match time, seconds.
    :ivar is_foreign: may the game's bot have made it, because the player was away?
    """

    action: Any
    time: float
    is_foreign: bool = False


@attrs.frozen
class Comparison:
    """
    The result.

    :ivar missing: acknowledged inputs that were not played.
    :ivar doubled: inputs that were played again, or that the client never sent.
    """

    missing: tuple[Sent, ...] = ()
    doubled: tuple[Played, ...] = ()

    @property
    def cost(self) -> int:
        """The number of faults."""
        return len(self.missing) + len(self.doubled)


class Undecodable:
    """Stands for an action that cannot be decoded; equals nothing."""


def decoded(one: Sent, read: Callable[[bytes], Any]) -> Any:
    """Decode an action that a client sent, or make it an `Undecodable`."""
    try:
        return read(one.action)
    except Exception:
        return Undecodable()


def compare(
    sent: Sequence[Sent], played: Sequence[Played], read: Callable[[bytes], Any]
) -> Comparison:
    """
    Find acknowledged inputs that were not played, and others that were played twice.

    Both lists are in order. An input without an answer may have been played or not; a
    refused one was not. Equal actions can't be distinguished, so the inputs agree if
    there is any way to pair them; else the way with the fewest faults counts.

    :param sent: inputs that one client sent.
    :param played: inputs that its seat played.
    :param read: decodes an action; raises anything if it cannot.
    """
    asked = [(one, decoded(one, read)) for one in sent if one.fate != "refused"]
    # Nearly all matches are without a fault, and then this is quick.
    exact = _pair(asked, played, 0)
    return _pair(asked, played, _MOST_WORSE) if exact.cost else exact


def _pair(
    asked: Sequence[tuple[Sent, Any]], played: Sequence[Played], worse: int
) -> Comparison:
    """Pair inputs; forget what has more faults than the best by more than *worse*."""
    # How many of `asked` are used up, to the best way of getting there.
    pairings = {0: Comparison()}
    for one in played:
        after: dict[int, Comparison] = {}
        for start, found in pairings.items():
            unpaired = found
            if not one.is_foreign:
                unpaired = Comparison(found.missing, (*found.doubled, one))
            _keep(after, start, unpaired)
            most = found.cost + worse
            for place in range(start, len(asked)):
                if asked[place][1] == one.action:
                    _keep(after, place + 1, found)
                found = _skipped(found, asked[place : place + 1])
                if found.cost > most:
                    break
        least = min(found.cost for found in after.values())
        pairings = {
            place: found
            for place, found in after.items()
            if found.cost <= least + worse
        }
    ends = [_skipped(found, asked[start:]) for start, found in pairings.items()]
    return min(ends, key=lambda end: end.cost)


def _keep(pairings: dict[int, Comparison], place: int, found: Comparison) -> None:
    """Keep the better of two pairings."""
    if place not in pairings or found.cost < pairings[place].cost:
        pairings[place] = found


def _skipped(found: Comparison, left: Sequence[tuple[Sent, Any]]) -> Comparison:
    """Leave inputs out: those that were acknowledged are missing."""
    missing = tuple(one for one, _ in left if one.fate == "acknowledged")
    return Comparison(found.missing + missing, found.doubled) if missing else found


#: Most differing views of one match that are reported.
_MOST_DIFFERENT = 3


@attrs.frozen
class Parts:
    """
    All parts of a recording in order, each cut where the next one begins.

    :ivar recordings: the parts; the last one has the end.
    :ivar gaps: sentences about what is missing between them.
    """

    recordings: tuple[Recording, ...]
    gaps: tuple[str, ...] = ()

    @property
    def is_ended(self) -> bool:
        """Does the recording have the end of the match?"""
        return self.recordings[-1].ending is not None


def read_parts(folders: Sequence[Path], match_id: str) -> Parts:
    """
    Read a match's recording.

    :param folders: where its nodes write recordings.
    :param match_id: the match's id.
    :raises Unreadable: there is no recording, or a part cannot be read.
    """
    stem = part_name(match_id, 1).removesuffix(SUFFIX)
    files = {
        path.name: path
        for folder in folders
        for pattern in (f"{stem}{SUFFIX}", f"{stem}.[0-9]*{SUFFIX}")
        for path in folder.glob(pattern)
    }
    if not files:
        raise Unreadable("it was not recorded")
    # That with the highest number.
    name = max(files, key=lambda one: (len(one), one))
    length: int | None = None
    found: list[Recording] = []
    gaps: list[str] = []
    while True:
        if name not in files:
            raise Unreadable(f"the part {name} of its recording is missing")
        data = files.pop(name).read_bytes()
        if length is not None and len(data) < length:
            gaps.append(
                f"{name} has {len(data)} bytes, but the next part begins after "
                f"{length}: {length - len(data)} bytes of inputs are missing"
            )
        part = read_recording(data if length is None else data[:length])
        found.append(part if length is None else attrs.evolve(part, ending=None))
        before = part.header.part
        if before is None:
            return Parts(tuple(reversed(found)), tuple(reversed(gaps)))
        name, length = before.before, before.length


@attrs.define(eq=False)
class Doubt:
    """
    An acknowledged input that the game may have refused unseen by its player.

    :ivar sent: the input.
    :ivar seat: the player's seat.
    :ivar first: the oldest version in which it may have been refused.
    :ivar action: the action, decoded.
    :ivar is_refused: do the rules refuse it in a state in which it may have come?
    """

    sent: Sent
    seat: int
    first: int
    action: Any
    is_refused: bool = attrs.field(init=False)

    @is_refused.default
    def _is_unreadable(self) -> bool:
        return isinstance(self.action, Undecodable)

    def look(self, play: Play, state: Any, version: int) -> None:
        """Ask the game's rules about it, in a state that the match was in."""
        if self.is_refused or not self.first <= version <= self.sent.before:
            return
        game = play.game
        if version == play.version and play.outcome is not None and not game.linger:
            # The room closes before it accepts another action.
            self.is_refused = True
            return
        try:
            if game.tick_hz:
                tick = play.inputs_of(((self.seat, self.action),))
                play.ask("tick", game.tick, state, tick, play.ticks + 1)
            else:
                play.ask("act", game.act, state, self.seat, self.action, play.time)
        except Rejected:
            self.is_refused = True
        except GAME_ERRORS:
            # The match would have crashed, which is not a refusal.
            return


@attrs.define
class Replayed:
    """
    The result of replaying a recording.

    :ivar wrong: sentences that say why it does not replay.
    :ivar different: versions and seats whose view was different.
    :ivar unknown: versions that were seen, but that the recording does not have.
    :ivar events: who got it, kind and data of each event, in order.
    :ivar version: version of the last state.
    """

    wrong: list[str] = attrs.field(factory=list)
    different: list[tuple[int, int]] = attrs.field(factory=list)
    unknown: list[int] = attrs.field(factory=list)
    events: list[tuple[Recipients, str, Any]] = attrs.field(factory=list)
    version: int = 0


def play_again(
    parts: Parts,
    game: Game[Any, Any],
    guard: Guard,
    seen: Mapping[int, Mapping[int, str]],
    doubts: Sequence[Doubt] = (),
) -> Replayed:
    """
    Replay all parts.

    :param parts: the parts of the recording.
    :param game: the rules.
    :param guard: interrupts calls that take too long.
    :param seen: version to seat to the hash of the view that its player saw.
    :param doubts: inputs about which the rules are asked.
    """
    found = Replayed(wrong=list(parts.gaps))
    left = dict(seen)
    recordings = parts.recordings
    for number, recording in enumerate(recordings, 1):
        latest: list[Play] = []
        before: list[tuple[Any, int]] = []

        def watch(
            play: Play,
            latest: list[Play] = latest,
            before: list[tuple[Any, int]] = before,
        ) -> None:
            latest[:] = [play]
            found.events += [
                (play.recipients(event), event.kind, _plain(event.data))
                for event in play.events
            ]
            play.events.clear()
            wanted = left.pop(play.version, None)
            if wanted is not None:
                _compare_views(found, play, wanted)
            now = (play.state, play.version)
            # The rules may depend on time alone.
            for state, version in (*before, now):
                for doubt in doubts:
                    doubt.look(play, state, version)
            before[:] = [now]

        is_last = number == len(recordings)
        try:
            result = replay(recording, game, watch, guard, has_begun=not is_last)
        except Unreadable as error:
            found.wrong.append(f"part {number}: {error}")
            return found
        found.version = result.version
        if result.differing is not None:
            found.wrong.append(f"part {number} differs: {result.differing}")
        if not is_last and latest:
            found.wrong += _compare_ends(latest[0], recordings[number], game, number)
    # Views of other versions are checked with the part that has them.
    found.unknown = sorted(left)
    return found


def inputs_of(
    parts: Parts, game: Game[Any, Any], seat: int, read: Callable[[bytes], Any]
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
    for raw in (raw for recording in parts.recordings for raw in recording.inputs):
        if raw.kind == "tick":
            # An input may wait for its tick while the player is lost, or a bot's while
            # the player comes back.
            is_foreign = has_bots and (is_away or is_back)
            played += [
                Played(read(bytes(action)), raw.time, is_foreign)
                for whose, action, *_ in tick_inputs(raw)
                if whose == seat
            ]
            is_back = False
        elif raw.seat != seat:
            continue
        elif raw.kind == "act":
            played.append(Played(read(bytes(raw.data)), raw.time, has_bots and is_away))
        elif raw.kind in ("dropped", "left"):
            is_away, is_back = True, False
        elif raw.kind in ("returned", "joined"):
            is_away, is_back = False, is_away
        else:
            is_back = False
    return tuple(played)


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
    try:
        begun = codec_of(game).decode(part.state)
    except (Misconfigured, Unreadable) as error:
        return [f"part {number + 1} begins with a state that cannot be read: {error}"]
    wrong = []
    difference = next(differences(plain(begun), plain(play.state)), None)
    if difference is not None:
        wrong.append(
            f"part {number + 1} does not begin where part {number} ended: {difference}"
        )
    if game.durability in ("ahead", "store") and part.version != play.version:
        wrong.append(
            f"part {number + 1} begins with version {part.version}, but part {number} "
            f"ended with {play.version}"
        )
    return wrong


def _plain(data: Any) -> Any:
    """Return an event's data as a client decodes it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))
