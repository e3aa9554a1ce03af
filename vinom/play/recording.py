"""
Recordings of matches: enough to play one again to the same states.

Layout of a file: frames, each a 4-byte big-endian length, one letter, and MessagePack;
the length counts the letter and the MessagePack. ``H`` is the header and comes first,
``I`` is one call to the game (`Recorded`), ``E`` is the end and comes last. A process
that was killed leaves no end, and perhaps half a frame, which is ignored. Source:
docs/reference/games.rst, "Recordings".

And what happened in a room, played again by other rules (`play_again`): how ``vinom
dev`` changes a game. What players did is kept, and deadlines come when the new rules
want them. The first thing that does not fit any more is named, and with it all that
followed is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from struct import Struct as Layout
from typing import Any

import attrs
import msgspec
from msgspec import Raw, Struct

from vinom.base.model import MatchEnd, MatchPlan
from vinom.errors import Misconfigured, Rejected, Unreadable, VinomError
from vinom.game import Game, Seat
from vinom.play.clock import Advances
from vinom.play.guard import Guard
from vinom.play.play import GAME_ERRORS, Play, Point, Recorded, table_of
from vinom.play.room import crash_report, where_of
from vinom.play.states import (
    bytes_of,
    codec_of,
    differences,
    fingerprint,
    plain,
    state_hash,
)
from vinom.play.views import Views

#: Number of the layout above; a reader refuses others.
FORMAT = 4
#: Longest frame, bytes.
LONGEST_FRAME = 1 << 24
#: More would take too long to play again while everybody waits.
MOST_INPUTS = 50_000


def _as_dict(value: Any) -> dict[Any, Any]:
    """Write the claims of a newcomer's seat, which msgspec does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a recording cannot hold a {type(value).__qualname__}")


#: The parts of a frame, for code that writes many: its payload, and its head (the
#: length of the rest, bytes, and a letter).
encode_payload = msgspec.msgpack.Encoder(enc_hook=_as_dict).encode
pack_head = Layout("!Ic").pack
#: The letter of a call to the game.
RECORDED = b"I"


class Part(Struct, frozen=True):
    """
    What a later part of a recording begins with: a checkpoint.

    :ivar number: of the part; the first of a match is 1, and is no later part.
    :ivar before: name of the file of the part before.
    :ivar length: of that file when the checkpoint was made, bytes; what follows there
        was not kept.
    :ivar state: as `vinom.play.states` writes it.
    :ivar version: of the state.
    :ivar time: match time, seconds.
    :ivar ticks: how many fixed steps were made.
    """

    number: int
    before: str
    length: int
    state: bytes
    version: int
    time: float
    ticks: int = 0


class Header(Struct, frozen=True):
    """
    The first frame of a recording.

    :ivar format: number of the file's layout.
    :ivar plan: of the match.
    :ivar schema: of the game's states when it was recorded.
    :ivar opened_at: when the room was opened, seconds since the Unix epoch.
    :ivar ids: whether the recording holds the ids of its players.
    :ivar part: what it begins with; ``None`` if it begins with the match.
    """

    format: int
    plan: MatchPlan
    schema: int
    opened_at: float
    ids: bool = True
    part: Part | None = None


class Ending(Struct, frozen=True):
    """
    The last frame of a recording.

    :ivar end: how the match ended.
    :ivar state_hash: fingerprint of the final state.
    :ivar state: the final state; plain values when it was read.
    """

    end: MatchEnd
    state_hash: str
    state: Any


class RawRecorded(Struct, frozen=True, array_like=True):
    """A `Recorded` whose action is still MessagePack."""

    kind: str
    time: float
    seat: int
    data: Raw


@attrs.frozen
class Recording:
    """
    A recording that was read.

    :ivar header: its first frame.
    :ivar inputs: the calls to the game, in order; actions not yet decoded.
    :ivar ending: ``None`` if the match is not over, or its process was killed.
    """

    header: Header
    inputs: tuple[RawRecorded, ...]
    ending: Ending | None


@attrs.frozen
class ReplayResult:
    """
    The result of a replay.

    :ivar version: of the final state.
    :ivar time: match time of the last call, seconds.
    :ivar state_hash: fingerprint of the final state.
    :ivar view_hash: fingerprint of its public view; empty if play never started.
    :ivar fault: what the game raised, if it failed.
    :ivar differing: the first difference from the recording; ``None`` if there is
        none, or if the recording has no end to compare with.
    """

    version: int
    time: float
    state_hash: str
    view_hash: str
    fault: BaseException | None = None
    differing: str | None = None


def encode_header(
    plan: MatchPlan,
    game: Game[Any, Any],
    opened_at: float,
    ids: bool = True,
    part: Part | None = None,
) -> bytes:
    """
    Write the first frame.

    :param plan: of the match.
    :param game: the rules.
    :param opened_at: when the room was opened, seconds since the Unix epoch.
    :param ids: whether to write the ids of the players.
    :param part: what it begins with, if not with the match.
    """
    if not ids:
        plan = _without_ids(plan)
    header = Header(FORMAT, plan, game.schema, opened_at, ids, part)
    return _frame(b"H", encode_payload(header))


def _without_ids(plan: MatchPlan) -> MatchPlan:
    seats = tuple(attrs.evolve(seat, player_id="") for seat in plan.seats)
    return attrs.evolve(plan, seats=seats)


def without_id(recorded: Recorded) -> Recorded:
    """Return a call to the game without the id of the player who joined by it."""
    if not isinstance(recorded.data, Seat):
        return recorded
    seat = attrs.evolve(recorded.data, player_id="")
    return Recorded(recorded.kind, recorded.time, recorded.seat, seat)


def encode_recorded(recorded: Recorded) -> bytes:
    """Write the frame of one call to the game."""
    payload = encode_payload(recorded)
    return pack_head(len(payload) + 1, RECORDED) + payload


def encode_ending(end: MatchEnd, state: Any, ids: Set[str] = frozenset()) -> bytes:
    """
    Write the last frame.

    :param end: how the match ended.
    :param state: the final state.
    :param ids: ids of players to leave out of both, as a replay does that has none.
    """
    written = bytes_of(state)
    if ids:
        end = attrs.evolve(end, outcome=_left_out(end.outcome, ids))
        blanked = bytes_of(_left_out(plain(state), ids))
        if blanked != written:
            # The view that was shown may have held them, too.
            end = attrs.evolve(end, view_hash="")
            written = blanked
    ending = Ending(end, fingerprint(written), Raw(written))
    return _frame(b"E", encode_payload(ending))


def _left_out(value: Any, ids: Set[str]) -> Any:
    """Replace each text that is one of *ids* by an empty one."""
    if isinstance(value, str):
        return "" if value in ids else value
    if isinstance(value, list | tuple):
        return [_left_out(each, ids) for each in value]
    if isinstance(value, dict):
        return {
            _left_out(key, ids): _left_out(each, ids) for key, each in value.items()
        }
    return value


def whole_frames(data: bytes | bytearray, most: int) -> int:
    """Return the length of the first whole frames that fit into *most* bytes."""
    return sum(5 + len(payload) for _, payload in _frames(data[:most]))


def _frame(letter: bytes, payload: bytes) -> bytes:
    return pack_head(len(payload) + 1, letter) + payload


def _frames(data: bytes | bytearray) -> Iterator[tuple[bytes, memoryview]]:
    """Cut a file into whole frames; an incomplete one at its end is ignored."""
    view, at = memoryview(data), 0
    while at + 5 <= len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        if not 1 <= size <= LONGEST_FRAME or at + 4 + size > len(view):
            return
        yield bytes(view[at + 4 : at + 5]), view[at + 5 : at + 4 + size]
        at += 4 + size


def read_recording(data: bytes) -> Recording:
    """
    Read a file's bytes.

    :raises Unreadable: it is not a recording, or has another format.
    """
    header, ending, inputs = None, None, []
    try:
        for letter, payload in _frames(data):
            if letter == b"H" and header is None:
                header = _read_header(payload)
            elif letter == b"I" and header is not None:
                inputs.append(msgspec.msgpack.decode(payload, type=RawRecorded))
            elif letter == b"E" and header is not None:
                ending = msgspec.msgpack.decode(payload, type=Ending)
                break
            else:
                raise Unreadable("this is not a recording: its frames are out of order")
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise Unreadable(f"this is not a recording: {error}") from error
    if header is None:
        raise Unreadable("this is not a recording: it has no header")
    return Recording(header, tuple(inputs), ending)


def _read_header(payload: memoryview) -> Header:
    document = msgspec.msgpack.decode(payload)
    found = document["format"]
    if found != FORMAT:
        raise Unreadable(
            f"this recording has format {found!r}; this version reads format {FORMAT}"
        )
    return msgspec.convert(document, Header)


def replay(
    recording: Recording,
    game: Game[Any, Any],
    watch: Callable[[Play], None] | None = None,
    guard: Guard | None = None,
    has_begun: bool = False,
) -> ReplayResult:
    """
    Play a recording again and compare its end.

    :param recording: the recording.
    :param game: the rules.
    :param watch: called with the play at its start and after each call.
    :param guard: interrupts calls that take too long; without it a call may take
        forever.
    :param has_begun: whether play is known to have begun, though nothing happened in
        this part of it.
    :raises Unreadable: the recording is of another version of the game.
    """
    header = recording.header
    if header.schema != game.schema:
        raise Unreadable(
            f"this was recorded with schema {header.schema} of {header.plan.game}; "
            f"the installed game has schema {game.schema}"
        )
    play = Play(game, guard=guard or Guard(), plan=header.plan)
    views = Views(game, play.ask)
    fault: BaseException | None = None
    view_hash = ""
    try:
        if header.part is None:
            play.lay(table_of(header.plan, play.game))
        else:
            play.resume(_point_of(header.part, game), len(header.plan.seats))
        has_begun = has_begun or bool(recording.inputs) or _was_played(recording)
        if header.part is not None or has_begun:
            if header.part is None:
                play.begin()
            if watch is not None:
                watch(play)
        for raw in recording.inputs:
            repeat(play, raw, game)
            if watch is not None:
                watch(play)
    except Unreadable:
        raise
    except GAME_ERRORS as error:
        fault = error
    if play.version:
        try:
            audience = views.audience_of(play.state, None)
            shown = views.show(play.state, play.version, audience)
            view_hash = fingerprint(shown)
        except GAME_ERRORS as error:
            fault = fault or error
    result = ReplayResult(
        play.version, play.time, state_hash(play.state), view_hash, fault
    )
    return attrs.evolve(result, differing=_first_difference(recording, play, result))


def _point_of(part: Part, game: Game[Any, Any]) -> Point:
    """
    Read what a later part begins with.

    :raises Unreadable: it is no state of this game.
    """
    try:
        state = codec_of(game).decode(part.state)
    except Misconfigured as error:
        raise Unreadable(str(error)) from error
    return Point(state, part.version, part.time, part.ticks)


def _was_played(recording: Recording) -> bool:
    return recording.ending is not None and recording.ending.end.version > 0


def repeat(play: Play, raw: RawRecorded, game: Game[Any, Any]) -> None:
    """
    Make one recorded call to the game again.

    :raises Unreadable: the game has no such action.
    """
    try:
        match raw.kind:
            case "act":
                data = msgspec.msgpack.decode(raw.data, type=game.actions)
            case "tick":
                data = tuple(
                    (seat, msgspec.msgpack.decode(action, type=game.actions), *shown)
                    for seat, action, *shown in tick_inputs(raw)
                )
            case "advance":
                data = msgspec.msgpack.decode(raw.data, type=str | None)
            case "joined":
                data = _newcomer(msgspec.msgpack.decode(raw.data), game)
            case _:
                data = None
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise Unreadable(
            f"the game cannot read an action at {raw.time:.3f} s: {error}"
        ) from error
    play.repeat(Recorded(raw.kind, raw.time, raw.seat, data))


def tick_inputs(raw: RawRecorded) -> list[tuple[Any, ...]]:
    """
    List the inputs of a recorded tick: the seat, its action as MessagePack, and in a
    game with `past_ticks` the tick that was shown.
    """
    inputs = msgspec.msgpack.decode(raw.data, type=list[list[Raw]])
    decode = msgspec.msgpack.decode
    return [
        (decode(seat, type=int), action, *(decode(one, type=int) for one in shown))
        for seat, action, *shown in inputs
    ]


def _newcomer(written: dict[str, Any], game: Game[Any, Any]) -> Seat:
    """Read the seat of a player who joined after the start."""
    loadout = msgspec.convert(written["loadout"], game.loadout)
    return Seat(
        written["name"],
        loadout,
        written["team"],
        written["player_id"],
        written["claims"],
    )


def _first_difference(
    recording: Recording, play: Play, result: ReplayResult
) -> str | None:
    """Describe the first difference between a replay and its recording."""
    ending = recording.ending
    if ending is None:
        return None if result.fault is None else f"the game failed: {result.fault!r}"
    if result.fault is not None and ending.end.reason != "crashed":
        return f"the game failed at {result.time:.3f} s: {result.fault!r}"
    if result.state_hash != ending.state_hash:
        found = next(differences(ending.state, plain(play.state)), "state_hash")
        return f"{found}"
    if result.version != ending.end.version:
        return f"version: {ending.end.version}, then {result.version}"
    is_compared = recording.header.ids or ending.end.view_hash
    if is_compared and result.view_hash != ending.end.view_hash:
        return f"view_hash: {ending.end.view_hash!r}, then {result.view_hash!r}"
    return None


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
    seats = len(plan.seats)
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
            play.resume(before, seats)
            for later in inputs:
                # Seats are as they are now: their players came and went.
                if later.kind in ("joined", "dropped", "returned", "left"):
                    at = play.time
                    with suppress(*GAME_ERRORS):
                        repeat(play, msgspec.structs.replace(later, time=at), game)
            return Revised(play, calls, kept, wrong)
        play.events.clear()
        seats = max(seats, raw.seat + 1)
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
