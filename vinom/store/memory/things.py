"""What nodes own, in memory or in a file of SQLite, where rooms sleep."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
from msgspec import Struct

from vinom.base.model import Player
from vinom.errors import StoreUnavailable

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
    _database: sqlite3.Connection | None = attrs.field(default=None, init=False)

    def now(self) -> float:
        """Tell the time, seconds; it never goes back."""
        self._latest = max(self._latest, self._clock())
        return self._latest

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
            path = ":memory:"
            if self.path is not None:
                path = str(self.path)
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Hashes of keys are in it.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(path, timeout=0.1, isolation_level=None)
            self._database.executescript(_SCHEMA)
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
