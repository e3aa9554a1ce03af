"""The values that several packages pass to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs
from attrs.validators import and_, ge, in_, instance_of, le, max_len, min_len

_PORT = [instance_of(int), ge(1), le(65535)]


@attrs.frozen
class Player:
    """
    Somebody who said hello.

    :ivar player_id: public; proof of nothing.
    :ivar name: what other players see, 1 to 32 printable characters.
    """

    player_id: str = attrs.field(
        validator=and_(instance_of(str), min_len(1), max_len(64))
    )
    name: str = attrs.field(validator=and_(instance_of(str), min_len(1), max_len(32)))


@attrs.frozen
class QueueEntry:
    """
    One lone player's (later: one lobby's) wish to play.

    :ivar entry_id: public name of the wish.
    :ivar options: canonical JSON; only entries with equal text meet.
    :ivar loadouts: canonical JSON, one per player.
    :ivar since: start of the wait, seconds since the Unix epoch.
    :ivar suspended: its player is disconnected: keeps its place, unmatchable.
    """

    entry_id: str
    players: tuple[Player, ...] = attrs.field(validator=min_len(1))
    game: str
    since: float
    options: bytes = b"{}"
    loadouts: tuple[bytes, ...] = ()
    suspended: bool = False


@attrs.frozen
class Waiting:
    """
    Who waits for one game with the same options.

    :ivar players: how many players wait, suspended ones too.
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
    Who waits, for metrics.

    :ivar players: how many, by game; suspended ones too.
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
    Who sits where in a match.

    :ivar loadout: canonical JSON, as queued.
    """

    player_id: str
    name: str
    loadout: bytes = b"{}"
    team: int | None = None


@attrs.frozen
class MatchPlan:
    """
    Everything a room needs to start, and all that a recording needs with it.

    :ivar game: the game's name as players ask for it.
    :ivar options: canonical JSON.
    :ivar seats: a seat's number is its index.
    :ivar seed: 64 bits of chance for the game.
    :ivar host: number of the seat that may change the table.
    """

    match_id: str
    game: str
    seats: tuple[SeatPlan, ...] = attrs.field(validator=min_len(1))
    seed: int = attrs.field(validator=[ge(0), le((1 << 64) - 1)])
    options: bytes = b"{}"
    host: int = 0


@attrs.frozen
class Ticket:
    """
    What lets a stranger's handshake in: a price, not a proof (decision 2).

    :ivar label: 26 base32 characters in lower case, 128 random bits.
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

    :ivar free: game servers that could be given one now.
    :ivar bound: those that have one, or are about to bind it.
    :ivar quarantined: addresses that could not be bound, and rest for a while.
    """

    free: int
    bound: int
    quarantined: int


@attrs.frozen
class Issued:
    """
    A certificate and what proves its possession.

    :ivar certificate: leaf first, then what links it to the anchor, PEM.
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
    :ivar certificate: the trust anchor players verify it with, PEM.
    """

    server: str
    address: str
    port: int = attrs.field(validator=_PORT)
    certificate: str


#: How a match can be over: codes of `vinom.errors.Code`.
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
    What is known about a match that is over.

    :ivar reason: one of `EndReason`.
    :ivar outcome: JSON-like ``{round, places, scores}``, if a round was ended.
    :ivar present: the seats that were connected at the end.
    :ivar version: the last state's version.
    :ivar view_hash: of the last public view, 16 hexadecimal digits.
    :ivar report: where the crash report is, for operators.
    """

    match_id: str
    reason: str = attrs.field(validator=in_(get_args(EndReason)))
    outcome: dict[str, Any] | None = None
    present: tuple[int, ...] = ()
    version: int = 0
    view_hash: str = ""
    report: str = ""


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
