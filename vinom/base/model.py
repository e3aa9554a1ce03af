"""The values that several packages pass to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import attrs
from attrs.validators import and_, ge, in_, instance_of, le, max_len, min_len

from vinom.base.printable import ID_RULE, is_id


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
    A queue entry: one player, or one party, that waits for a match.

    :ivar entry_id: public.
    :ivar players: who waits.
    :ivar game: the game's name.
    :ivar since: start of the wait, seconds since the Unix epoch.
    :ivar options: canonical JSON; only entries with equal texts are matched.
    :ivar loadouts: canonical JSON, one per player.
    :ivar hosts: the addresses of the players, as far as they are known.
    :ivar suspended: whether one of its players is disconnected: it keeps its place, but
        cannot be matched.
    :ivar party_id: of the party whose members these are; empty for a lone player.
    :ivar number: of its arrival, given by the store; an entry that is put back with it
        has its old place among those that have waited equally long.
    :ivar queue: the name of its queue; empty for its game's default queue.
    :ivar ratings: each player's strength, in the units of
        `vinom.lobby.matchmaking.ratings`; empty in a queue without ratings.
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
    party_id: str = ""
    number: int = attrs.field(default=0, eq=False)
    queue: str = ""
    ratings: tuple[float, ...] = ()
    echoes: tuple[tuple[str, float], ...] = ()
    recent: tuple[str, ...] = ()

    @property
    def player_ids(self) -> tuple[str, ...]:
        """Ids of the players."""
        return tuple(player.player_id for player in self.players)

    @property
    def pool(self) -> tuple[str, bytes, str]:
        """Game, options and name of its queue: only entries with equal ones meet."""
        return self.game, self.options, self.queue


@attrs.frozen
class Prematch:
    """
    A proposed match that waits for the yes of every player.

    :ivar prematch_id: public.
    :ivar game: the game's name.
    :ivar options: canonical JSON.
    :ivar entries: who would play, the longest wait first.
    :ivar until: when silence counts as a no, seconds since the Unix epoch.
    :ivar teams: the team of each entry, as its queue's rule dealt them; empty if the
        game has none.
    :ivar accepted: ids of the players who said yes.
    :ivar declined: ids of the players who said no.
    """

    prematch_id: str
    game: str
    options: bytes
    entries: tuple[QueueEntry, ...] = attrs.field(validator=min_len(1))
    until: float
    accepted: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()
    teams: tuple[int, ...] = ()

    @property
    def players(self) -> tuple[Player, ...]:
        """All players, in the order of their seats."""
        return tuple(player for entry in self.entries for player in entry.players)

    @property
    def is_accepted(self) -> bool:
        """Has everybody said yes?"""
        return all(player.player_id in self.accepted for player in self.players)

    def leavers(self, now: float) -> frozenset[str]:
        """
        List those who do not go back to the queue, if it is dissolved now.

        A decline makes nobody else silent: clocks of nodes differ.

        :param now: seconds since the Unix epoch.
        """
        if self.declined or now < self.until:
            return self.declined
        everybody = {player.player_id for player in self.players}
        return frozenset(everybody - self.accepted)

    def has_left(self, entry: QueueEntry, now: float) -> bool:
        """Is one of the players of this entry among its leavers?"""
        leavers = self.leavers(now)
        return any(player.player_id in leavers for player in entry.players)


@attrs.frozen
class Estate:
    """
    What a node that is gone has left in the queue.

    :ivar prematches: which ended, as they were.
    :ivar players: ids of those who waited there, or had their last line to it.
    """

    prematches: Sequence[Prematch] = ()
    players: Sequence[str] = ()


#: Why a player's line to a node is forgotten: there is a newer one; or it was the last,
#: of a player who is in no queue and no party, or who may be.
LineEnd = Literal["replaced", "free", "held"]

#: What a party does: see `vinom.lobby.matchmaking.party`.
PartyState = Literal["idle", "in_queue", "prematch", "in_game"]


@attrs.frozen
class PartyMember:
    """
    A player of a party.

    :ivar host: the address that the player joined from.
    :ivar loadout: JSON, as sent; the game checks it when the party queues.
    :ivar is_ready: whether the player says so; it binds nobody.
    """

    player: Player
    host: str = ""
    loadout: bytes = b"{}"
    is_ready: bool = False


@attrs.frozen
class Party:
    """
    Players who queue together.

    :ivar party_id: public.
    :ivar members: in the order in which they joined.
    :ivar leader: id of the member who is the party's host.
    :ivar game: what it is for; empty until the host queues.
    :ivar options: JSON, as the host sent it.
    :ivar is_open: whether it is listed, and anybody may join (with the password, if
        it has one).
    :ivar token_hash: of the invite token.
    :ivar password_hash: empty without a password.
    :ivar size: most members.
    :ivar maker: the address that it was created from.
    :ivar invited: ids of players who may join without token and password.
    :ivar banned: ids of players who were removed.
    :ivar state: what it does.
    :ivar entry_id: of its entry; empty while it is idle.
    :ivar version: rises with each change.
    """

    party_id: str
    members: tuple[PartyMember, ...] = attrs.field(validator=min_len(1))
    leader: str
    game: str = ""
    options: bytes = b"{}"
    is_open: bool = False
    token_hash: str = attrs.field(default="", repr=False)
    password_hash: str = attrs.field(default="", repr=False)
    size: int = 16
    maker: str = ""
    invited: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    state: PartyState = "idle"
    entry_id: str = ""
    version: int = 1

    @property
    def player_ids(self) -> tuple[str, ...]:
        """The ids of its members."""
        return tuple(member.player.player_id for member in self.members)

    @property
    def is_listed(self) -> bool:
        """Can somebody come in who finds it in a list?"""
        has_room = len(self.members) < self.size
        return self.is_open and self.state == "idle" and has_room

    def in_state(self, state: PartyState) -> Party:
        """
        Return what becomes of it when its entry comes to wait, or to play.

        One that is idle has no entry, and nobody is ready for what comes next.
        """
        change: dict[str, Any] = {"state": state, "version": self.version + 1}
        if state == "idle":
            change["entry_id"] = ""
            change["members"] = tuple(
                attrs.evolve(one, is_ready=False) for one in self.members
            )
        return attrs.evolve(self, **change)

    def member(self, player_id: str) -> PartyMember | None:
        """Find a member; ``None`` if the player is not in this party."""
        for member in self.members:
            if member.player.player_id == player_id:
                return member
        return None


@attrs.frozen
class EntryPage:
    """
    A part of a queue.

    :ivar entries: the longest wait first.
    :ivar next: where the next part begins, for
        `vinom.store.interfaces.ILobbyStore.page`; empty after the last one.
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
class LobbyCounts:
    """
    The number of players who wait, and of parties, for metrics.

    :ivar players: how many wait, by game; suspended ones included.
    :ivar suspended: how many entries are suspended.
    :ivar since: when the longest wait of all began, seconds since the Unix epoch;
        ``None`` if nobody waits.
    :ivar parties: how many are in each `PartyState`.
    """

    players: Mapping[str, int] = attrs.field(factory=dict)
    suspended: int = 0
    since: float | None = None
    parties: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class Enqueued:
    """
    What came of an entry.

    :ivar place: in its queue, 1 for the longest wait; 0 if it was refused.
    :ivar waiting: how many wait there.
    :ivar refusal: why: one of its players waits or plays already, or the party has
        changed.
    :ivar player_id: who plays.
    """

    place: int = 0
    waiting: Waiting = attrs.field(factory=Waiting)
    refusal: Literal["", "queued", "playing", "changed"] = ""
    player_id: str = ""


@attrs.frozen
class Left:
    """
    An entry that waits no more.

    :ivar prematch: which has ended, too, as it was; its other entries wait again.
    """

    entry: QueueEntry
    prematch: Prematch | None = None


@attrs.frozen
class PartyChange:
    """
    What came of a change of a party.

    :ivar is_done: ``False`` if somebody else was faster.
    :ivar left: the entry with which it waited before.
    """

    is_done: bool
    left: Left | None = None


@attrs.frozen
class Started:
    """
    What came of a match.

    :ivar refusal: why it was not recorded: one of its entries does not wait any more,
        or players are in other matches.
    :ivar player_ids: who these are; of a match made of entries only players who wait
        all the same.
    :ivar left: what players of an outside matchmaker waited with.
    """

    refusal: Literal["", "gone", "playing"] = ""
    player_ids: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()


@attrs.frozen
class SeatPlan:
    """
    The player of one seat of a match.

    :ivar player_id: the player's id; empty for a bot.
    :ivar name: the player's name.
    :ivar loadout: canonical JSON, as queued.
    :ivar team: number of the planned team; ``None`` lets the game's rules choose.
    :ivar claims: what others vouch for, canonical JSON: see `Player`.
    :ivar level: of a bot, one of the game's; empty for its first, and for players.
    """

    player_id: str
    name: str
    loadout: bytes = b"{}"
    team: int | None = None
    claims: bytes = attrs.field(default=b"{}", repr=False)
    level: str = ""


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
    Admits a stranger's handshake; it does not prove an identity (decision 0002).

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
    :ivar went_back: its machine died: players may have seen what is not known any more.
    """

    server: str
    address: str
    port: int = attrs.field(validator=_PORT)
    certificate: str
    went_back: bool = False


@attrs.frozen
class NodeFacts:
    """
    What a node reports to the others.

    :ivar node_id: of this run of the node; a restarted node has another one.
    :ivar addresses: where players, and other nodes, reach it, by what serves there,
        such as "lobby".
    :ivar build: version of its program.
    :ivar players: how many have a line to it.
    :ivar rooms: how many rooms and matches it hosts.
    :ivar token_keys: public keys of its connect tokens by id, PEM.
    :ivar process: of its machine: see `vinom.fleet.local.process.this_process`.
    """

    node_id: str
    addresses: Mapping[str, str]
    build: str
    players: int = 0
    rooms: int = 0
    token_keys: Mapping[str, str] = attrs.field(factory=dict)
    process: str = ""


@attrs.frozen
class NodeLease:
    """
    A registered node.

    :ivar node: as it reported itself last.
    :ivar number: of its lease, larger than those of all earlier leases.
    """

    node: NodeFacts
    number: int


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
    :ivar why: why a match is lost, in a sentence for its players; may be empty.
    """

    match_id: str
    reason: str = attrs.field(validator=in_(get_args(EndReason)))
    outcome: dict[str, Any] | None = None
    present: tuple[int, ...] = ()
    version: int = 0
    view_hash: str = ""
    report: str = ""
    seats: tuple[SeatPlan, ...] = ()
    why: str = ""


@attrs.frozen
class LeftMatch:
    """
    A running match of a node that is gone.

    :ivar is_placed: does a game server have it?
    :ivar entry_ids: the entries that it was made of.
    """

    plan: MatchPlan
    is_placed: bool
    entry_ids: tuple[str, ...] = ()


@attrs.frozen
class Whereabouts:
    """
    Where a player is.

    :ivar entry: with which it waits, in a queue or in *prematch*.
    :ivar plan: of its running match.
    :ivar placement: where that is played, once a game server has it.
    :ivar ended: the end of its latest match.
    :ivar place: of the entry in its queue, 1 for the longest wait; 0 in a prematch.
    :ivar elsewhere: those of its party and its entry who have a line to another node
        that lives, if the store was asked for that.
    """

    party: Party | None = None
    entry: QueueEntry | None = None
    prematch: Prematch | None = None
    plan: MatchPlan | None = None
    placement: Placement | None = None
    ended: MatchEnd | None = None
    place: int = 0
    elsewhere: Sequence[str] = ()


@attrs.frozen
class ResultSeat:
    """
    Who had a seat when a round was over.

    :ivar player_id: the player's id; empty for a bot.
    :ivar name: the player's name.
    :ivar team: number of its team; ``None`` in games without teams.
    """

    player_id: str
    name: str
    team: int | None = None


@attrs.frozen
class Result:
    """
    How one round of a match, or of a room, ended.

    :ivar match_id: of the match; a room has a new one each time that play begins.
    :ivar round: 1 for the first; 0 if the match ended before a round was over.
    :ivar game: the game's name.
    :ivar options: canonical JSON.
    :ivar seats: a seat's number is its index.
    :ivar places: the seats that share first place, then second place, and so on.
    :ivar scores: one per seat, or none.
    :ivar reason: one of `EndReason`; "finished" for each round that was over.
    :ivar recording: name of the recording's file; empty if nothing is recorded.
    :ivar at: when it was noted, seconds since the Unix epoch.
    """

    match_id: str
    round: int = attrs.field(validator=ge(0))
    game: str
    options: bytes
    seats: tuple[ResultSeat, ...]
    places: tuple[tuple[int, ...], ...]
    scores: tuple[float | None, ...]
    reason: str = attrs.field(validator=in_(get_args(EndReason)))
    recording: str
    at: float

    @property
    def result_id(self) -> str:
        """The name of this result, everywhere and for ever."""
        return f"{self.match_id}:{self.round}"


@attrs.frozen
class TurnNotice:
    """
    A game that lasts waits for a player who is away.

    :ivar version: of the state since which it does.
    :ivar due: when something happens by itself if the player does nothing, seconds
        since the Unix epoch; ``None`` if that is never.
    :ivar at: when it was noted, likewise.
    """

    match_id: str
    room_id: str
    game: str
    seat: int
    player_id: str
    name: str
    version: int
    due: float | None
    at: float
    reason: str = attrs.field(default="your_turn", init=False)

    @property
    def result_id(self) -> str:
        """The name of this notice, beside those of results."""
        return f"turn:{self.match_id}:{self.version}:{self.seat}"


#: How far the sending of a result is: it is not to be sent, waits for it, has been
#: received, or is given up.
ResultState = Literal["kept", "waiting", "sent", "dead"]


@attrs.frozen
class KeptResult:
    """
    A result in a store, or a notice to be sent.

    :ivar cursor: its place in the order of all results; never used for another one.
    :ivar tries: how often sending it has failed.
    :ivar why: why the last try failed; empty if none has.
    """

    cursor: str
    result: Result | TurnNotice
    state: ResultState = "kept"
    tries: int = 0
    why: str = ""


@attrs.frozen
class ResultCounts:
    """
    The number of results in a store.

    :ivar kept: all of them.
    :ivar waiting: those that wait to be sent.
    :ivar dead: those that were given up.
    :ivar since: when the oldest of those that wait was noted, seconds since the Unix
        epoch; ``None`` if none waits.
    :ivar forgotten: how many gave way to newer ones before they were sent.
    """

    kept: int
    waiting: int
    dead: int
    since: float | None
    forgotten: int


@attrs.frozen
class Claim:
    """
    What came of asking for a room, a match or a game server that this node has not.

    :ivar kind: "adopted": it is this node's from now on; "new": nobody had it, and its
        id is this node's now; "gone": nobody has recorded it; "over": it has ended, and
        had several nodes; "owned": another node has it; "ended": a game was played in
        this room, which has ended.
    :ivar fence: number of this ownership, larger than those of all earlier ones.
    :ivar data: what was kept last; empty if there is nothing. Of a room that has ended:
        the reason.
    :ivar seconds: if it is owned: when its owner's lease ends at the earliest.
    :ivar node_id: if it is owned: its owner; if it is adopted: who had it before, empty
        if it was released.
    :ivar age: of a `Lasting` room: how old *data* is, seconds on the store's clock.
    """

    kind: Literal["adopted", "new", "gone", "over", "owned", "ended"]
    fence: int = 0
    data: bytes = attrs.field(default=b"", repr=False)
    seconds: float = 0.0
    node_id: str = ""
    age: float | None = None


@attrs.frozen
class Lasting:
    """
    What a store must know of a room that goes on while nobody is connected.

    :ivar players: ids of those who have seats, sorted.
    :ivar opener: address of the player who opened it.
    :ivar age: how old its checkpoint is, seconds.
    """

    players: tuple[str, ...]
    opener: str = ""
    age: float = 0.0


@attrs.frozen
class KeptSeats:
    """
    The rooms in which a player has a seat, as far as they are `Lasting`.

    :ivar rooms: their checkpoints, and how old each is, seconds; by id.
    :ivar opened: how many such rooms players of an address have opened.
    """

    rooms: Mapping[str, tuple[bytes, float]]
    opened: int = 0


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

    def __str__(self) -> str:
        """Say how it ended, for the log."""
        if self.signal is not None:
            return f"signal {self.signal}"
        if self.status is not None:
            return f"status {self.status}"
        # Only its parent process learns it, and that may be gone.
        return "its status is unknown, as its parent process is gone"
