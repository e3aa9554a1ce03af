"""The values that several packages pass to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import attrs
from attrs.validators import and_, ge, in_, instance_of, le, max_len, min_len

from vinom.printable import ID_RULE, is_id


def _ensure_id(value: object, field: attrs.Attribute[str], text: str) -> None:
    if not is_id(text):
        raise ValueError(f"{field.name} {text!r} must be {ID_RULE}")


_PORT = [instance_of(int), ge(1), le(65535)]

#: Longest claims of one player, bytes of canonical JSON.
CLAIMS_BYTES = 1024


@attrs.frozen
class Player:
    """
    A player who has said hello.

    :ivar player_id: public; it proves nothing. Printable ASCII, see `is_id`.
    :ivar name: shown to other players, 1 to 32 printable characters.
    :ivar claims: what an identity provider vouches for, canonical JSON; private.
    :ivar is_guest: came without proof, and is somebody else without its player key.
    """

    player_id: str = attrs.field(
        validator=and_(instance_of(str), min_len(1), max_len(64), _ensure_id)
    )
    name: str = attrs.field(validator=and_(instance_of(str), min_len(1), max_len(32)))
    claims: bytes = attrs.field(
        default=b"{}", validator=max_len(CLAIMS_BYTES), repr=False
    )
    is_guest: bool = False


@attrs.frozen
class QueueEntry:
    """
    A queue entry: a player, or a party, who waits for a match.

    :ivar entry_id: public.
    :ivar players: who waits.
    :ivar game: the game's name.
    :ivar since: start of the wait, seconds since the Unix epoch.
    :ivar options: canonical JSON; only entries with equal texts are matched.
    :ivar loadouts: canonical JSON, one per player.
    :ivar hosts: the addresses of the players, as far as they are known.
    :ivar suspended: whether its player is disconnected: it keeps its place, but cannot
        be matched.
    :ivar queue: the name of its queue; empty for its game's default queue.
    :ivar ratings: each player's strength, in the units of `vinom.matchmaking.skill`;
        empty in a queue without ratings.
    :ivar echoes: regions, the nearest first, each with the time of an echo between it
        and the players, milliseconds; that of the farthest one of a party.
    :ivar recent: ids of those whom its players met lately.
    """

    entry_id: str
    players: tuple[Player, ...] = attrs.field(validator=min_len(1))
    game: str
    since: float
    options: bytes = b"{}"
    loadouts: tuple[bytes, ...] = ()
    suspended: bool = False
    hosts: tuple[str, ...] = ()
    queue: str = ""
    ratings: tuple[float, ...] = ()
    echoes: tuple[tuple[str, float], ...] = ()
    recent: tuple[str, ...] = ()

    @property
    def pool(self) -> tuple[str, bytes, str]:
        """Game, options and name of its queue: only entries with equal ones meet."""
        return self.game, self.options, self.queue


@attrs.frozen
class EntryPage:
    """
    A part of a queue.

    :ivar entries: the longest wait first.
    :ivar next: where the next part begins, for `vinom.ports.IEntryStore.page`; empty
        after the last one.
    """

    entries: Sequence[QueueEntry]
    next: str = ""


@attrs.frozen
class Rating:
    """
    How well a player plays, as far as results show.

    :ivar mu: the estimate; 25 for a newcomer, and most players have from 0 to 50.
    :ivar sigma: its standard deviation.
    :ivar rounds: how many rounds it was learnt from.
    """

    mu: float = 25.0
    sigma: float = 25.0 / 3
    rounds: int = 0


@attrs.frozen
class Standing:
    """
    What matchmaking knows of a player.

    :ivar rating: in one list of ratings.
    :ivar recent: ids of the players met last, the latest first.
    """

    rating: Rating = attrs.field(factory=Rating)
    recent: tuple[str, ...] = ()


@attrs.frozen
class Waiting:
    """
    The number of players who wait for one game with the same options.

    :ivar players: how many wait, suspended ones included.
    :ivar ready: how many of them can be matched now.
    :ivar since: when the longest wait of these began, seconds since the Unix epoch;
        ``None`` if nobody can be matched.
    """

    players: int = 0
    ready: int = 0
    since: float | None = None


@attrs.frozen
class QueueCounts:
    """
    The number of players who wait, for metrics.

    :ivar players: how many, by game; suspended ones included.
    :ivar suspended: how many entries are suspended.
    :ivar since: when the longest wait of all began, seconds since the Unix epoch;
        ``None`` if nobody waits.
    """

    players: Mapping[str, int]
    suspended: int
    since: float | None


@attrs.frozen
class SeatPlan:
    """
    The player of one seat of a match.

    :ivar player_id: the player's id; empty for a bot.
    :ivar name: the player's name.
    :ivar loadout: canonical JSON, as queued.
    :ivar team: number of the planned team; ``None`` lets the game's rules choose.
    :ivar claims: what others vouch for, canonical JSON: see `Player`.
    """

    player_id: str
    name: str
    loadout: bytes = b"{}"
    team: int | None = None
    claims: bytes = attrs.field(default=b"{}", repr=False)


#: Length of the secret that a game's random numbers follow from.
SEED_BYTES = 32


def seed_bytes(seed: bytes | int) -> bytes:
    """
    Return a seed as bytes.

    :param seed: 32 bytes, or a number of at most 256 bits.
    :raises ValueError: it is neither.
    """
    if type(seed) is bytes and len(seed) == SEED_BYTES:
        return seed
    if isinstance(seed, int) and 0 <= seed < 1 << 8 * SEED_BYTES:
        return seed.to_bytes(SEED_BYTES, "big")
    # Without the seed itself: it is a secret.
    raise ValueError(
        f"a seed must be {SEED_BYTES} bytes, or a number from 0 to 2**256 - 1"
    )


def _ensure_seed(plan: object, field: object, seed: bytes) -> None:
    """Check a seed that came in a message: msgspec does not call converters."""
    seed_bytes(seed)


@attrs.frozen
class MatchPlan:
    """
    Everything that a room needs to start; a recording stores it.

    :ivar match_id: of the match.
    :ivar game: the game's name, as players request it.
    :ivar seats: a seat's number is its index.
    :ivar seed: 256 random bits for the game, as bytes; see `vinom.game.Chance`.
    :ivar options: canonical JSON.
    :ivar host: number of the seat that may change the table.
    """

    match_id: str
    game: str
    seats: tuple[SeatPlan, ...] = attrs.field(validator=min_len(1))
    seed: bytes = attrs.field(converter=seed_bytes, validator=_ensure_seed, repr=False)
    options: bytes = b"{}"
    host: int = 0


@attrs.frozen
class Ticket:
    """
    Admits a stranger's handshake; it does not prove an identity (decision 2).

    :ivar label: 26 base32 characters in lower case, 128 random bits.
    :ivar match_id: the match that it is for.
    :ivar seat: number of the seat that it is for.
    :ivar expires_at: seconds since the Unix epoch.
    """

    label: str = attrs.field(validator=[min_len(26), max_len(26)])
    match_id: str
    seat: int = attrs.field(validator=ge(0))
    expires_at: float


@attrs.frozen
class ServerAddress:
    """
    Where players reach a game server.

    :ivar address: name or IP address.
    :ivar port: UDP.
    """

    address: str
    port: int = attrs.field(validator=_PORT)


@attrs.frozen
class Addresses:
    """
    How many addresses a fleet has for game servers; each is in one of these counts.

    :ivar free: available now.
    :ivar bound: bound by a game server, or about to be.
    :ivar quarantined: not used for a while, because they could not be bound.
    """

    free: int
    bound: int
    quarantined: int


@attrs.frozen
class Issued:
    """
    A certificate and its private key.

    :ivar certificate: leaf first, then the chain to the anchor, PEM.
    :ivar key: the leaf's private key, PEM.
    """

    certificate: bytes
    key: bytes = attrs.field(repr=False)


@attrs.frozen
class Placement:
    """
    Where a match is played: a game server that has bound its port.

    :ivar server: the game server's label inside the realm.
    :ivar address: name or IP address that players connect to.
    :ivar port: UDP.
    :ivar certificate: the trust anchor for verifying the game server, PEM.
    """

    server: str
    address: str
    port: int = attrs.field(validator=_PORT)
    certificate: str


#: The reasons why a match is over: codes of `vinom.errors.Code`.
EndReason = Literal[
    "finished",
    "void",
    "abandoned",
    "crashed",
    "lost",
    "ended",
    "time_limit",
    "shutdown",
]


@attrs.frozen
class MatchEnd:
    """
    The end of a match.

    :ivar match_id: of the match.
    :ivar reason: one of `EndReason`.
    :ivar outcome: ``{round, places, scores}``; ``None`` if no round has ended.
    :ivar present: the seats that were connected at the end.
    :ivar version: of the last state.
    :ivar view_hash: fingerprint of the last public view, 16 hexadecimal digits.
    :ivar report: path of the crash report, for operators.
    :ivar seats: who had which seat, without loadouts and claims; the node fills it in.
    """

    match_id: str
    reason: str = attrs.field(validator=in_(get_args(EndReason)))
    outcome: dict[str, Any] | None = None
    present: tuple[int, ...] = ()
    version: int = 0
    view_hash: str = ""
    report: str = ""
    seats: tuple[SeatPlan, ...] = ()


@attrs.frozen
class Exit:
    """
    How a game server's process ended.

    :ivar pid: of that process, for the log; ``None`` if it ran on another machine.
    :ivar status: exit code; ``None`` if a signal ended it or it is unknown.
    :ivar signal: number of that signal.
    """

    pid: int | None
    status: int | None = None
    signal: int | None = None
