"""
The registry of nodes in memory, of one node or of several in one process; and what
nodes own, in memory or in a file of SQLite, where rooms sleep.
"""

from __future__ import annotations

import sqlite3
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from functools import wraps
from math import inf
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import attrs
import msgspec
from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from vinom.base.limits.buckets import network_of
from vinom.base.model import Claim, KeptSeats, Lasting, NodeFacts, NodeLease, Player
from vinom.errors import LeaseLost, StoreUnavailable
from vinom.store.interfaces import INodeStore, IOwnedStore
from vinom.store.memory.players import MemoryPlayerStore
from vinom.store.sqlite import check_file, open_file

#: Name of the file in the state directory.
ROOMS_FILE = "rooms.sqlite"

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS things (
    id TEXT PRIMARY KEY, look_at REAL, opener TEXT, kept BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS due ON things (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS openers ON things (opener) WHERE opener IS NOT NULL;
CREATE TABLE IF NOT EXISTS seats (
    player TEXT, thing TEXT, PRIMARY KEY (player, thing)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    hash TEXT PRIMARY KEY, player TEXT NOT NULL, known BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners ON keys (player);
"""


class Kept(Struct, frozen=True):
    """
    A thing: its owner and what is kept of it.

    It has no owner if it is over, and then nothing is kept but perhaps an ending, or
    if it was released.

    :ivar at: when a room was released, or a lasting one kept, on the clock of `Things`.
    :ivar players: of a lasting room, see `vinom.base.model.Lasting`; else ``None``.
    :ivar opener: likewise.
    """

    node_id: str
    fence: int
    data: bytes = b""
    grace: float = 0.0
    at: float = 0.0
    ending: str = ""
    machine: str = ""
    players: tuple[str, ...] | None = None
    opener: str = ""


class _Known(Struct, frozen=True, array_like=True):
    player: Player
    host: str


_write = msgspec.msgpack.Encoder().encode
_read_kept = msgspec.msgpack.Decoder(Kept).decode
_read_known = msgspec.msgpack.Decoder(_Known).decode


@attrs.define(eq=False)
class Things(MutableMapping[str, Kept]):
    """
    All things of one kind, by id, shared by the nodes of a process.

    What was written survives the process at any time. Each method fails with
    `StoreUnavailable` if the file cannot be used.

    :ivar path: of the file; without it everything is lost with the process.
    """

    _clock: Callable[[], float]
    path: Path | None = None
    _latest: float = attrs.field(default=0.0, init=False)
    # By how much the clock was set back.
    _ahead: float = attrs.field(default=0.0, init=False)
    _database: sqlite3.Connection | None = attrs.field(default=None, init=False)

    def now(self) -> float:
        """Tell the time, seconds; it goes on if the clock is set back."""
        seconds = self._clock() + self._ahead
        if seconds < self._latest:
            self._ahead += self._latest - seconds
            seconds = self._latest
        self._latest = seconds
        return seconds

    def check(self) -> str:
        """
        Check that the file can be used; one that is damaged is put aside.

        :returns: what an operator must know about it; empty if all is well.
        :raises Misconfigured: it cannot be read.
        """
        if self.path is None:
            return ""
        return check_file(self.path, _SCHEMA, "rooms", self.now())

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._database is not None and self.path is not None:
            self._database.close()
            self._database = None

    def _do(self, statement: str, *values: Any) -> list[Any]:
        try:
            return self._opened().execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"rooms are not kept: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            # Hashes of keys are in it.
            self._database = open_file(self.path, _SCHEMA)
        return self._database

    # Things.

    def __getitem__(self, thing_id: str) -> Kept:
        for (kept,) in self._do("SELECT kept FROM things WHERE id = ?", thing_id):
            return _read_kept(kept)
        raise KeyError(thing_id)

    def __setitem__(self, thing_id: str, kept: Kept) -> None:
        self.put(thing_id, kept)

    def __delitem__(self, thing_id: str) -> None:
        self._seat(thing_id, ())
        self._do("DELETE FROM things WHERE id = ?", thing_id)

    def __iter__(self) -> Iterator[str]:
        return iter([id for (id,) in self._do("SELECT id FROM things ORDER BY rowid")])

    def __len__(self) -> int:
        ((count,),) = self._do("SELECT count(*) FROM things")
        return int(count)

    def put(
        self,
        thing_id: str,
        kept: Kept,
        look_at: float | None = None,
        known: Iterable[tuple[str, Player, str]] = (),
    ) -> None:
        """
        Keep a thing, all of it or nothing.

        :param look_at: when a node must look after it.
        :param known: keys of its players, who need them to come back: hash, player and
            address.
        """
        self._do("BEGIN IMMEDIATE")
        try:
            for key_hash, player, host in known:
                self._do(
                    "INSERT OR REPLACE INTO keys VALUES (?, ?, ?)",
                    key_hash,
                    player.player_id,
                    _write(_Known(player, host)),
                )
            self._seat(thing_id, kept.players or ())
            opener = None if kept.players is None else kept.opener
            self._do(
                "INSERT INTO things VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "look_at = excluded.look_at, opener = excluded.opener, "
                "kept = excluded.kept",
                thing_id,
                look_at,
                opener,
                _write(kept),
            )
        except BaseException:
            self._do("ROLLBACK")
            raise
        self._do("COMMIT")

    def _seat(self, thing_id: str, players: Sequence[str]) -> None:
        """Note who has seats in a room, and forget the keys of those with none."""
        before = self.get(thing_id)
        was = () if before is None else before.players or ()
        for player_id in set(was).difference(players):
            self._do(
                "DELETE FROM seats WHERE player = ? AND thing = ?", player_id, thing_id
            )
            self._do(
                "DELETE FROM keys WHERE player = ? AND NOT EXISTS "
                "(SELECT 1 FROM seats WHERE seats.player = keys.player)",
                player_id,
            )
        for player_id in set(players).difference(was):
            self._do("INSERT OR IGNORE INTO seats VALUES (?, ?)", player_id, thing_id)

    # Rooms that some node must look after, and players' seats.

    def due(self, most: int) -> list[tuple[str, Kept]]:
        """List those that must be looked after now, the longest overdue first."""
        found = self._do(
            "SELECT id, kept FROM things WHERE look_at <= ? ORDER BY look_at LIMIT ?",
            self.now(),
            most,
        )
        return [(thing_id, _read_kept(kept)) for thing_id, kept in found]

    def postpone(self, thing_id: str, look_at: float) -> None:
        """Have a thing looked after later."""
        self._do("UPDATE things SET look_at = ? WHERE id = ?", look_at, thing_id)

    def seats_of(self, player_id: str) -> dict[str, Kept]:
        """Find the rooms in which a player has a seat."""
        found = self._do(
            "SELECT id, kept FROM seats JOIN things ON id = thing WHERE player = ?",
            player_id,
        )
        return {thing_id: _read_kept(kept) for thing_id, kept in found}

    def asleep(self, most: int) -> dict[str, Kept]:
        """Find things that nobody owns, those first that must be looked after next."""
        found: dict[str, Kept] = {}
        for thing_id, kept in self._do(
            "SELECT id, kept FROM things WHERE look_at NOT NULL ORDER BY look_at "
            "LIMIT ?",
            40 * most,
        ):
            if len(found) < most and (one := _read_kept(kept)).data and not one.node_id:
                found[thing_id] = one
        return found

    def opened(self, opener: str) -> int:
        """Count the lasting rooms that players of an address have opened."""
        ((count,),) = self._do("SELECT count(*) FROM things WHERE opener = ?", opener)
        return int(count)

    def known(self, key_hash: str) -> tuple[Player, str] | None:
        """Find a player who has a seat, and its address, by the hash of its key."""
        found = self._do("SELECT known FROM keys WHERE hash = ?", key_hash)
        if not found:
            return None
        known = _read_known(found[0][0])
        return known.player, known.host


#: A room that is listed is not listed again for this long: a node is about to claim it.
_TO_CLAIM = 2.0
#: How long a room's id is kept for a node that has not put a checkpoint yet, and how
#: long the end of a game is remembered, seconds.
_RESERVED, _REMEMBERED = 10.0, 86400.0


@implementer(INodeStore)
@attrs.define
class MemoryNodeStore:
    """
    Nodes and their leases in a dict.

    :ivar now: the time, seconds.
    """

    now: Callable[[], float]
    #: It is lost with this process only.
    epoch: str = attrs.field(default="memory", init=False)
    restoring: float = attrs.field(default=0.0, init=False)
    # With the ends of the leases.
    _leases: dict[str, tuple[NodeLease, float]] = attrs.field(factory=dict, init=False)
    _number: int = attrs.field(default=0, init=False)

    def register(
        self, node: NodeFacts, seconds: float, restoring: float = 0.0
    ) -> Deferred[int]:
        self._number += 1
        lease = NodeLease(node, self._number)
        self._leases[node.node_id] = lease, self.now() + seconds
        return succeed(self._number)

    def renew(self, node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        if not self.is_current(node.node_id, lease):
            return succeed(False)
        self._leases[node.node_id] = NodeLease(node, lease), self.now() + seconds
        return succeed(True)

    def leave(self, node_id: str, lease: int) -> Deferred[bool]:
        if self.number_of(node_id) != lease:
            return succeed(False)
        del self._leases[node_id]
        return succeed(True)

    def nodes(self, expired: bool = False) -> Deferred[Sequence[NodeLease]]:
        now = self.now()
        leases = self._leases.values()
        return succeed([lease for lease, ends in leases if (ends <= now) is expired])

    def is_current(self, node_id: str, lease: int) -> bool:
        """Does this lease last?"""
        return (
            self.number_of(node_id) == lease and self.now() < self._leases[node_id][1]
        )

    def left(self, node_id: str) -> float:
        """Find how long a node's lease lasts, seconds; negative if it is over."""
        found = self._leases.get(node_id)
        return -inf if found is None else found[1] - self.now()

    def number_of(self, node_id: str) -> int:
        """Find the number of a node's lease; 0 if it has none."""
        found = self._leases.get(node_id)
        return 0 if found is None else found[0].number


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _answers(method: Callable[_P, _T]) -> Callable[_P, Deferred[_T]]:
    """Let a method answer at once, as others answer later."""

    @wraps(method)
    def ask(*args: _P.args, **named: _P.kwargs) -> Deferred[_T]:
        try:
            return succeed(method(*args, **named))
        except StoreUnavailable as error:
            return fail(error)

    return ask


@implementer(IOwnedStore)
@attrs.frozen
class MemoryOwnedStore:
    """
    One node's access to the things of one kind.

    :ivar nodes: the registry.
    :ivar node_id: id of this node.
    :ivar lease: returns the number of its lease.
    :ivar things: all of them; shared by the nodes of one process.
    :ivar kind: "room", "checkpoint" or "server": see `IOwnedStore`.
    :ivar machine: where game servers run.
    :ivar players: has the keys of players, which lasting rooms keep.
    """

    nodes: MemoryNodeStore
    node_id: str
    lease: Callable[[], int]
    things: Things
    kind: str = "room"
    machine: str = ""
    players: MemoryPlayerStore | None = None

    @_answers
    def put(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        is_ahead: bool = False,
        lasting: Lasting | None = None,
    ) -> bool:
        is_own = self._is_own(self._find(thing_id), fence)
        if is_own:
            kept = Kept(self.node_id, fence, data, grace, machine=self.machine)
            self._keep(thing_id, kept, lasting, None)
        return is_own

    @_answers
    def release(
        self,
        thing_id: str,
        fence: int,
        data: bytes,
        grace: float = 0.0,
        lasting: Lasting | None = None,
    ) -> bool:
        before = self._find(thing_id)
        is_own = self._may_end(before, fence)
        if is_own:
            if lasting is None and before is not None and before.players is not None:
                age = max(0.0, self.things.now() - before.at)
                lasting = Lasting(before.players, before.opener, age)
            kept = Kept("", fence, data, grace, machine=self.machine)
            self._keep(thing_id, kept, lasting, grace)
        return is_own

    def _keep(
        self, thing_id: str, kept: Kept, lasting: Lasting | None, grace: float | None
    ) -> None:
        """Write a room; it is looked after when its grace ends, or its node's lease."""
        now, known = self.things.now(), []
        look_at = None if grace is None else now + grace
        if lasting is not None:
            opener = network_of(lasting.opener)
            kept = replace(kept, players=lasting.players, opener=opener, grace=inf)
            if grace is None:
                look_at = now + self.nodes.left(self.node_id)
            if self.players is not None:
                found = map(self.players.known, lasting.players)
                known = [one for one in found if one is not None]
        age = 0.0 if lasting is None else lasting.age
        self.things.put(thing_id, replace(kept, at=now - age), look_at, known)

    @_answers
    def claim(
        self, thing_id: str, reserve: bool = False, again: bool = False, gone: str = ""
    ) -> Claim:
        things, kept = self.things, self._find(thing_id)
        before = "" if kept is None else kept.node_id
        if kept is not None and kept.ending and not (reserve and again):
            return Claim("ended", data=kept.ending.encode())
        if kept is None or not (kept.node_id or kept.data):
            if not reserve:
                return Claim("gone" if kept is None else "over")
            fence = 1 if kept is None else kept.fence + 1
            kept = Kept(self.node_id, fence)
            things.put(thing_id, kept, things.now() + _RESERVED)
        elif kept.node_id != self.node_id:
            left = self.nodes.left(kept.node_id)
            if left > 0 and kept.node_id != gone:
                return Claim("owned", seconds=left, node_id=kept.node_id)
            kept = replace(kept, node_id=self.node_id, fence=kept.fence + 1)
            look_at = None
            if kept.players is not None:
                look_at = things.now() + self.nodes.left(self.node_id)
            things.put(thing_id, kept, look_at)
        # If it was this node's, the answer to an earlier call was lost.
        age = None if kept.players is None else max(0.0, things.now() - kept.at)
        kind = "adopted" if kept.data else "new"
        return Claim(kind, kept.fence, kept.data, 0.0, before, age)  # type: ignore[arg-type]  # one of them

    @_answers
    def remove(self, thing_id: str, fence: int, ending: str = "") -> bool:
        before = self._find(thing_id)
        is_own = self._may_end(before, fence)
        if is_own and (fence == 1 or before is None) and not ending:
            self.things.pop(thing_id, None)
        elif is_own:
            # A node that was suspended meanwhile must not bring it back.
            kept = Kept("", fence, ending=ending)
            self.things.put(thing_id, kept, self.things.now() + _REMEMBERED)
        return is_own

    @_answers
    def left(self, node_id: str, most: int) -> Sequence[bytes]:
        if self.kind == "room" and not node_id:
            return self._due(most)
        gone = -self.nodes.left(node_id) if node_id else inf
        found = [
            kept.data if self.kind == "server" else thing_id.encode()
            for thing_id, kept in self.things.items()
            if (kept.node_id, kept.machine) == (node_id, self.machine)
            and (node_id or kept.data)
            and gone >= kept.grace
        ]
        return found[:most]

    def _due(self, most: int) -> list[bytes]:
        """List rooms that no node looks after, or only one that is gone."""
        found: list[bytes] = []
        things = self.things
        # Those that are awake are put off: none must wait for them.
        while some := things.due(most - len(found)):
            for thing_id, kept in some:
                if not kept.data:
                    del things[thing_id]
                    continue
                left = self.nodes.left(kept.node_id) if kept.node_id else 0.0
                if left <= 0:
                    found.append(thing_id.encode())
                again = left if left > 0 else _TO_CLAIM
                things.postpone(thing_id, things.now() + again)
        return found

    @_answers
    def asleep(self, most: int) -> KeptSeats:
        return KeptSeats(self._aged(self.things.asleep(most)))

    @_answers
    def seats_of(self, player_id: str, opener: str = "") -> KeptSeats:
        rooms = self._aged(self.things.seats_of(player_id))
        return KeptSeats(rooms, self.things.opened(network_of(opener)))

    def _aged(self, found: Mapping[str, Kept]) -> dict[str, tuple[bytes, float]]:
        now = self.things.now()
        return {id: (kept.data, max(0.0, now - kept.at)) for id, kept in found.items()}

    def _is_own(self, kept: Kept | None, fence: int) -> bool:
        return kept is None or (kept.node_id, kept.fence) == (self.node_id, fence)

    def _may_end(self, kept: Kept | None, fence: int) -> bool:
        """Is it this node's, or a game server that it has released?"""
        if self.kind == "server" and kept is not None and kept.data:
            return kept.node_id in ("", self.node_id) and kept.fence == fence
        return self._is_own(kept, fence)

    def _find(self, thing_id: str) -> Kept | None:
        """
        Find a thing, to change it.

        :raises LeaseLost: this node may change none.
        """
        if not self.nodes.is_current(self.node_id, self.lease()):
            raise LeaseLost("the lease of this node is over")
        return self.things.get(thing_id)
