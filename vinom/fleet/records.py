"""
A node's records of game servers with matches, for the next node; and copies of matches
in a store that nodes share, for other machines.

One small file for each, in the state directory, replaced as a whole. It is written
before a match is sent to the game server, and removed when it has none. So the files
that a killed node leaves behind are those of the matches that it had.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs
import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchPlan, Placement, Player, ServerAddress
from vinom.errors import NoCapacity, StoreUnavailable
from vinom.store.interfaces import IOwnedStore

#: Number of the layout; files with another one are dropped.
FORMAT = 1

_SUFFIX = ".json"
_PARTIAL = ".new"


class KnownPlayer(Struct, frozen=True):
    """
    A player of a match, if only this node knows the player.

    :ivar key_hash: hash of the secret with which the player comes back.
    :ivar host: the player's address.
    """

    key_hash: str
    player: Player
    host: str = ""


class MatchRecord(Struct, frozen=True):
    """
    One match.

    :ivar since: when it was recorded, seconds since the Unix epoch.
    :ivar hosts: as in `vinom.fleet.match.RunningMatch`.
    :ivar known: its players, if no store has them.
    :ivar rounds: number of the latest round whose result its node has stored.
    """

    plan: MatchPlan
    since: float
    hosts: tuple[str, ...] = ()
    known: tuple[KnownPlayer, ...] = ()
    rounds: int = 0


class StoredMatch(Struct, frozen=True):
    """
    A match, as a node of another machine goes on with it.

    :ivar server_id: of its game server.
    :ivar placement: where it was played.
    :ivar at: when it was written, seconds since the Unix epoch.
    :ivar checkpoint: the newest; it has this number, and `version` is its state's.
    :ivar part: which part of its recording was being written.
    :ivar is_played: has any player come?
    :ivar ends_at: when it is over at the latest, seconds since the Unix epoch.
    """

    record: MatchRecord
    server_id: str
    placement: Placement
    at: float
    checkpoint: bytes
    number: int
    version: int
    part: int
    is_played: bool
    ends_at: float


_read_stored = msgspec.msgpack.Decoder(StoredMatch).decode
write_stored = msgspec.msgpack.Encoder().encode


@attrs.define(eq=False)
class MatchCopy:
    """
    The copy of a match in the store that nodes share, for the death of a machine.

    It is written behind.

    :ivar match_id: of the match.
    :ivar fence: number of this node's ownership; 0 until it is known.
    :ivar number: of the checkpoint in the store.
    :ivar is_old: the last write failed, so that more than a second may get lost.
    :ivar owned_elsewhere: called if the store names another node.
    :ivar stored: called with the number of each checkpoint that is kept, also by a
        replica if the store has one; ``None`` if nobody waits for that.
    """

    _store: IOwnedStore
    match_id: str
    fence: int
    owned_elsewhere: Callable[[str], None]
    number: int = 0
    is_old: bool = False
    stored: Callable[[int], None] | None = None
    _next: StoredMatch | None = None
    _is_asking: bool = False
    _is_over: bool = False
    _log = Logger()

    async def read(self) -> StoredMatch | None:
        """
        Take the match over, to go on from its copy; ``None`` if there is none.

        :raises NoCapacity: another node has it, or has to go on with it.
        :raises StoreUnavailable: the store does not answer.
        """
        claim = await self._store.claim(self.match_id, False)
        if claim.kind == "owned":
            raise NoCapacity(f"node {claim.node_id} has match {self.match_id}")
        if claim.kind != "adopted":
            return None
        self.fence = claim.fence
        try:
            return _read_stored(claim.data)
        except msgspec.MsgspecError as error:
            await self.release(claim.data)
            raise NoCapacity(f"a copy of another version of Vinom: {error}") from error

    async def release(self, data: bytes) -> None:
        """Let another node go on: this one cannot."""
        await self._store.release(self.match_id, self.fence, data, 0.0)
        self.fence = 0

    def write(self, match: StoredMatch) -> None:
        """Replace the copy: now, or as soon as the last one is there."""
        self._next = match
        if not self._is_asking:
            self._is_asking = True
            in_background(self._log, self._write(), "a match has no copy")

    def over(self) -> None:
        """Remove it: the match is over."""
        self._is_over = True
        if not self._is_asking:
            in_background(self._log, self._remove(), "a copy of a match stays")

    async def _write(self) -> None:
        store, match_id = self._store, self.match_id
        try:
            if not self.fence:
                # The node that had it before may still have its lease.
                self.fence = (await store.claim(match_id, True)).fence
            while self.fence and not self._is_over and (match := self._next):
                self._next, data = None, write_stored(match)
                is_ahead = self.stored is not None
                if not await store.put(match_id, self.fence, data, 0.0, is_ahead):
                    self.fence = 0
                    break
                self.number, self.is_old = match.number, False
                if self.stored is not None:
                    self.stored(match.number)
            if not self.fence:
                # Another node has it, or had it before the store was rolled back.
                self.is_old = True
                self.owned_elsewhere(match_id)
        except StoreUnavailable:
            # It is written again soon.
            self.is_old = True
        finally:
            self._is_asking = False
        if self._is_over:
            await self._remove()

    async def _remove(self) -> None:
        with suppress(StoreUnavailable):
            await self._store.remove(self.match_id, self.fence)


class ServerRecord(Struct, frozen=True):
    """
    One game server with matches.

    :ivar server_id: its id on its link.
    :ivar label: its certificate's label inside the realm.
    :ivar handle: how its fleet finds its process: see
        `vinom.fleet.interfaces.IFleet.handle`.
    :ivar where: where players reach it.
    :ivar anchor: the certificate with which players verify it, PEM.
    :ivar matches: its matches.
    :ivar format: number of this layout.
    :ivar protocol: number of its control protocol; 0 if unknown.
    :ivar node_id: id of the node that has written this.
    :ivar folder: where that node has its file.
    :ivar recordings: where that node stores recordings; empty for nowhere.
    :ivar token_keys: keys with which it verifies players' tokens, by id, PEM.
    """

    server_id: str
    label: str
    handle: str
    where: ServerAddress
    anchor: str
    matches: tuple[MatchRecord, ...]
    format: int = FORMAT
    protocol: int = 0
    node_id: str = ""
    folder: str = ""
    recordings: str = ""
    token_keys: dict[str, str] = {}


class Records(Protocol):
    """Stores records of game servers: `ServerRecords`."""

    def record(self, plan: MatchPlan, hosts: tuple[str, ...]) -> MatchRecord:
        """Describe a match that a game server is about to get."""

    def write(self, record: ServerRecord) -> None:
        """Replace the record of a game server."""

    def forget(self, server_id: str) -> None:
        """Remove the record of a game server, if there is one."""

    def is_ours(self, server_id: str) -> bool:
        """Is it certain now that no other node has this game server?"""

    def settled(self, server_id: str) -> Deferred[bool]:
        """Wait until it is certain whether this node has a game server."""


@attrs.define
class ServerRecords:
    """
    Records as files, readable by the node's user only. No method fails.

    They are not flushed to the disk: they need to outlive only the node, because a
    machine that stops takes the game servers with it.

    :ivar folder: made when first needed.
    :ivar now: the time, seconds since the Unix epoch.
    :ivar known: finds a player whom only this node knows, by id: hash of the key,
        player, and address.
    """

    folder: Path
    now: Callable[[], float]
    known: Callable[[str], tuple[str, Player, str] | None] = lambda _: None
    _log = Logger()

    def record(self, plan: MatchPlan, hosts: tuple[str, ...]) -> MatchRecord:
        """Describe a match that a game server is about to get."""
        found = [self.known(seat.player_id) for seat in plan.seats]
        known = tuple(KnownPlayer(*one) for one in found if one is not None)
        return MatchRecord(plan, self.now(), hosts, known)

    def write(self, record: ServerRecord) -> None:
        """Replace the file of a game server."""
        path = self._path(record.server_id)
        partial = path.with_suffix(_PARTIAL)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with open(os.open(partial, flags, 0o600), "wb") as file:
                file.write(msgspec.json.encode(record))
            partial.replace(path)
        except OSError as error:
            self._log.error(
                "game server {server} cannot be recorded, so its matches end with "
                "this node: {why}",
                server=record.server_id,
                why=str(error),
            )

    def forget(self, server_id: str) -> None:
        """Remove the file of a game server."""
        with suppress(OSError):
            self._path(server_id).unlink()

    def is_ours(self, server_id: str) -> bool:
        """Always: only the next node with this state directory reads the files."""
        return True

    def settled(self, server_id: str) -> Deferred[bool]:
        """The same."""
        return succeed(True)

    def has(self, server_id: str) -> bool:
        """Does this game server have a file?"""
        return self._path(server_id).exists()

    def read(self) -> list[ServerRecord]:
        """Read all files; log and remove those that cannot be read."""
        found = []
        for path in self.folder.glob(f"*{_PARTIAL}"):
            # The previous node was killed while it wrote this.
            with suppress(OSError):
                path.unlink()
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=ServerRecord)
                if record.format != FORMAT or path.stem != record.server_id:
                    raise ValueError(f"format {record.format} of {record.server_id}")
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                self._log.error(
                    "{path} is dropped, and its matches are lost: {why}",
                    path=str(path),
                    why=str(error),
                )
                with suppress(OSError):
                    path.unlink()
            else:
                found.append(record)
        return found

    def _path(self, server_id: str) -> Path:
        return self.folder / f"{server_id}{_SUFFIX}"
