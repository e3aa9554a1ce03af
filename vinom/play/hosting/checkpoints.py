"""
Checkpoints: what another node needs to go on with a room, as bytes.

A checkpoint holds the room as its players know it: who has which seat, with the hashes
of the secrets by which they come back; the game's state by its declared types
(`vinom.play.states`); which actions it has answered; and what they may not have been
sent. Whoever changes the bytes can seat anybody, but cannot make the reader run code.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec
from msgspec import Struct
from twisted.logger import Logger

from vinom.base.model import MatchPlan
from vinom.errors import Misconfigured, Unreadable
from vinom.game import Event, Game, Outcome
from vinom.play.hosting.host import RoomHost
from vinom.play.play import GAME_ERRORS, Point
from vinom.play.room import Emitted, Resumed, RoundOver
from vinom.play.seats import SeatState
from vinom.play.states import StateCodec, codec_of, read_plain
from vinom.play.views import Recipients

#: Number of the layout below; a reader refuses others.
FORMAT = 1
#: What the checkpoint of a game of two usually holds: its names, each with the byte of
#: its length. A reader needs it as it was written: changed, it would need a new FORMAT.
_USUAL: Final = (
    b"\xde\x00\x16\xa7room_id\xa4game\xa7options\xc4\x02{}\xa9is_public\xc2\xa9is_lis"
    b"ted\xc2\xa6opener\xa7members\x92\x8e\xa9player_id\xa4name\xa6claims\xc4\x02{}"
    b"\xa7loadout\xc4\x02{}\xa4seat\x00\xa4team\xc0\xa4host\xa6resume\xc4 \xa5epoch"
    b"\x01\xa5acted\x01\xa7applied\x01\xa7entered\x00\xa4told\xabevents_told\x8e\xa9p"
    b"layer_id\xa4name\xa6claims\xc4\x02{}\xa7loadout\xc4\x02{}\xa4seat\x01\xa4team"
    b"\xc0\xa4host\xa6resume\xc4 \xa5epoch\x01\xa5acted\x01\xa7applied\x01\xa7entered"
    b"\x01\xa4told\xabevents_told\xa4bots\x90\xa5teams\x90\xa6former\x90\xa6kicked"
    b"\x90\xa6number\xa6before\x00\xa7is_over\xc2\xa7outcome\xc0\xa9forgotten\xa4news"
    b'\x92\x95\xc0\xc2\xc5\x00{"type":"client_left","success":true,"data":{"room_id":'
    b'"","number":,"seat":0,"name":"","player_id":"","reason":"lost","host":1}}\xc3{"'
    b'number":,"version":,"kind":"","data":{"seat":0}}\xa4play\xde\x00\x13\xa4plan'
    b"\x87\xa4game\xa4host\x00\xa8match_id\xa7options\xc4\x02{}\xa5seats\x92\x85\xa6c"
    b"laims\xc4\x02{}\xa7loadout\xc4\x02{}\xa4name\xa9player_id\xa4team\xc0\x85\xa6cl"
    b"aims\xc4\x02{}\xa7loadout\xc4\x02{}\xa4name\xa9player_id\xa4team\xc0\xa4seed"
    b"\xc4 \xa6schema\x01\xa5state\xa6chance\xa4wins\x92\x00\x00\xa5board\xa7version"
    b"\xa4time\xcb\xa5ticks\x00\xa8presence\x92\xa7dropped\xa7dropped\xa7applied\x92"
    b"\x01\x01\xa5ended\xc0\xa6linger\xc0\xa6events\x90\xadis_round_news\xc2\xa4part"
    b"\x01\xa8recorded\xcd\xa8forfeits\x90\xa3due\xcb\xa5turns\x91\x00\xa5noted\x91"
    b"\x00\xa6format\x01"
)
#: With which such bytes begin; MessagePack of a map does not.
_COMPRESSED = b"\x78"
#: Longest checkpoint that is read from compressed bytes.
_LARGEST = 64 << 20
#: More states, and more news, than a room has between two checkpoints.
FORGOTTEN = 10_000


class KeptMember(Struct, frozen=True):
    """
    A player with a seat; see `vinom.rooms.seating.Member`.

    :ivar resume: hash of the secret that lets the player come back.
    """

    player_id: str
    name: str
    claims: bytes
    loadout: bytes
    seat: int
    team: int | None
    host: str
    resume: bytes
    epoch: int
    acted: int
    applied: int
    entered: int
    told: int
    events_told: int


class KeptUpdate(Struct, frozen=True, array_like=True):
    """
    An announcement or event that players may not have; see `Update` of the rooms.

    :ivar but: id of the only player who need not know; empty if all must.
    """

    number: int
    to: Recipients
    is_event: bool
    text: bytes
    but: str = ""


class KeptEvent(Struct, frozen=True, array_like=True):
    """An event that nobody was sent, with the version of its state."""

    version: int
    kind: str
    data: Any
    to: Recipients


class KeptPlay(Struct, frozen=True):
    """
    What is played in the room.

    :ivar plan: of the match.
    :ivar schema: of the game's states.
    :ivar state: as `StateCodec` writes it.
    :ivar presence: by seat, see `vinom.play.seats.SeatState`.
    :ivar applied: by seat, the number of the last action that a state answers.
    :ivar ended: of the last round that was over.
    :ivar linger: seconds until the room closes after it.
    :ivar events: that nobody was sent.
    :ivar is_round_news: that round is over, and nobody was sent it.
    :ivar part: which part of the recording is being written; 1 is the first.
    :ivar recorded: how long that part was, bytes.
    :ivar forfeits: seats that are dropped, and in how many seconds each is given up.
    :ivar due: match time at which the game is called next.
    :ivar turns: seats that it waits for.
    :ivar noted: those of which the operator has been sent that.
    """

    plan: MatchPlan
    schema: int
    state: bytes
    version: int
    time: float
    ticks: int
    presence: tuple[str, ...]
    applied: tuple[int, ...]
    ended: Outcome | None
    linger: float | None
    events: tuple[KeptEvent, ...]
    is_round_news: bool
    part: int
    recorded: int
    forfeits: tuple[tuple[int, float], ...] = ()
    due: float | None = None
    turns: tuple[int, ...] = ()
    noted: tuple[int, ...] = ()


class Checkpoint(Struct, frozen=True):
    """
    One room.

    :ivar format: number of this layout.
    :ivar game: as players ask for it.
    :ivar bots: seats of bots that players added, with their names.
    :ivar bot_levels: of those bots, in the same order.
    :ivar teams: of seats for which the host named one.
    :ivar former: seats of players who have left what is played: number, name, id.
    :ivar kicked: ids of players who may not come back.
    :ivar number: of the latest announcement or event.
    :ivar before: versions of what was played here earlier.
    :ivar is_over: was the end of a round the latest that players were sent of rounds?
    :ivar forgotten: number of the latest news that is not in `news`.
    :ivar play: ``None`` before play begins.
    """

    room_id: str
    game: str
    options: bytes
    is_public: bool
    is_listed: bool
    opener: str
    members: tuple[KeptMember, ...]
    bots: tuple[tuple[int, str], ...]
    teams: tuple[tuple[int, int], ...]
    former: tuple[tuple[int, str, str], ...]
    kicked: tuple[str, ...]
    number: int
    before: int
    is_over: bool
    outcome: dict[str, Any] | None
    forgotten: int
    news: tuple[KeptUpdate, ...]
    play: KeptPlay | None
    format: int = FORMAT
    bot_levels: tuple[str, ...] = ()


def write_checkpoint(checkpoint: Checkpoint, is_small: bool = False) -> bytes:
    """
    Write a checkpoint as bytes.

    :param is_small: compress them: they are not read soon.
    """
    data = _encode(checkpoint)
    if is_small:
        packer = zlib.compressobj(zdict=_USUAL)
        data = packer.compress(data) + packer.flush()
    return data


def read_checkpoint(data: bytes) -> Checkpoint:
    """
    Read a checkpoint.

    :raises Unreadable: these bytes are none, or of another version of Vinom.
    """
    try:
        if data[:1] == _COMPRESSED:
            unpacker = zlib.decompressobj(zdict=_USUAL)
            data = unpacker.decompress(data, _LARGEST)
            if not unpacker.eof:
                raise Unreadable(f"this checkpoint has more than {_LARGEST} bytes")
        found = msgspec.msgpack.decode(data, type=_Format).format
        if found != FORMAT:
            raise Unreadable(
                f"this checkpoint has format {found}; this version of Vinom reads "
                f"format {FORMAT}",
                is_readable_elsewhere=found > FORMAT,
            )
        return msgspec.msgpack.decode(data, type=Checkpoint)
    except (msgspec.MsgspecError, ValueError, RecursionError, zlib.error) as error:
        raise Unreadable(f"this is not a checkpoint: {error}") from error


class _Format(Struct):
    format: int


_encode = msgspec.msgpack.Encoder().encode


def keep_play(host: RoomHost, codec: StateCodec, now: float) -> KeptPlay:
    """
    Describe what a host plays.

    :param host: of the room.
    :param codec: of its game's states.
    :param now: the time on the host's clock.
    :raises Misconfigured: the state cannot be written.
    """
    room = host.room
    resumed = room.resumed_from(now)
    point = resumed.point
    events = [one for one in resumed.effects if isinstance(one, Emitted)]
    part = host.part, host.recording.length
    if host.before is not None and not host.recording.has_inputs:
        # Somebody only looked into a room that sleeps.
        part = host.before
    return KeptPlay(
        room.plan,
        room.game.schema,
        codec.encode(point.state),
        point.version,
        point.time,
        point.ticks,
        resumed.presence,
        tuple(host.applied),
        resumed.ended,
        resumed.linger,
        tuple(
            KeptEvent(one.version, one.event.kind, one.event.data, one.to)
            for one in events
        ),
        len(events) < len(resumed.effects),
        *part,
        resumed.forfeits,
        room.play.due,
        room.play.turns,
        host.turns,
    )


def resume_from(
    kept: KeptPlay, game: Game[Any, Any], codec: StateCodec, asleep: float = 0.0
) -> Resumed:
    """
    Make what a room goes on from.

    :param kept: what was played.
    :param game: its rules, perhaps of another version.
    :param codec: of its states.
    :param asleep: how old it is, seconds.
    :raises Unreadable: the game cannot go on from this state; says why in a sentence.
    """
    seats = len(kept.plan.seats)
    if not len(kept.presence) == len(kept.applied) == seats:
        raise Unreadable(f"this checkpoint has {seats} seats, but not their states")
    if {*kept.presence} - {how.value for how in SeatState}:
        raise Unreadable("this checkpoint has states of seats that do not exist")
    effects: list[Emitted | RoundOver] = [
        Emitted(Event(one.kind, one.data), one.version, one.to) for one in kept.events
    ]
    if kept.is_round_news and kept.ended is not None:
        effects.append(RoundOver(kept.ended))
    return Resumed(
        Point(_state_of(kept, game, codec), kept.version, kept.time, kept.ticks),
        kept.presence,
        kept.ended,
        kept.linger,
        tuple(effects),
        forfeits=kept.forfeits,
        asleep=asleep if game.clock == "wall" else 0.0,
    )


def _state_of(kept: KeptPlay, game: Game[Any, Any], codec: StateCodec) -> Any:
    """Read the state, or have the game convert an older one."""
    name, schema = kept.plan.game, kept.schema
    if schema == game.schema:
        return codec.decode(kept.state)
    if schema > game.schema:
        raise Unreadable(
            f"this checkpoint has schema {schema} of {name}, and the installed game "
            f"has schema {game.schema}: install the newer game on this node",
            is_readable_elsewhere=True,
        )
    try:
        state = game.migrate(read_plain(kept.state), schema)
        # What it returns is of the declared types, or it is refused here.
        codec.round_trip(state)
    except Unreadable as error:
        raise Unreadable(
            f"{name} cannot go on from schema {schema}: {error}; write "
            f"{type(game).__name__}.migrate"
        ) from error
    except (Misconfigured, *GAME_ERRORS) as error:
        raise Unreadable(
            f"{type(game).__name__}.migrate failed for schema {schema}: {error}"
        ) from error
    return state


class Codecs:
    """The codecs of the games that a process plays."""

    _log = Logger()

    def __init__(self) -> None:
        """Begin without any."""
        self._made: dict[type, StateCodec | None] = {}

    def of(self, game: Game[Any, Any]) -> StateCodec | None:
        """Make the codec of a game's states; ``None`` if they are not kept."""
        if game.durability == "none":
            return None
        if type(game) not in self._made:
            try:
                self._made[type(game)] = codec_of(game)
            except Misconfigured as error:
                self._made[type(game)] = None
                self._log.warn(
                    "rooms and matches of {game} end with their process: {why}",
                    game=game.name,
                    why=str(error),
                )
        return self._made[type(game)]
