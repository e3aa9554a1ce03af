"""Prematches in the memory of one node, beside entries that several nodes share."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from vinom.model import EntryPage, Prematch, QueueCounts, QueueEntry, Waiting
from vinom.ports import IEntryStore, IPrematchStore
from vinom.store.memory import MemoryEntryStore


@implementer(IEntryStore, IPrematchStore)
@attrs.define
class LocalPrematches:
    """
    Take the entries of a prematch out of a shared store, and hold them meanwhile.

    Other nodes cannot find an entry that is held; it is lost if this node ends.

    :ivar shared: where entries wait.
    """

    shared: IEntryStore
    _held: MemoryEntryStore = attrs.field(factory=MemoryEntryStore, init=False)
    # Those that are over, until their entries wait again.
    _returning: dict[str, Prematch] = attrs.field(factory=dict, init=False)

    # Entries.

    def add(self, entry: QueueEntry) -> Deferred[int]:
        """Store *entry*, unless one of its players has an entry already."""
        if any(self._held.has(player.player_id) for player in entry.players):
            return succeed(0)
        return self.shared.add(entry)

    def remove(self, entry_id: str) -> Deferred[bool]:
        """Remove an entry that waits."""
        return Deferred.fromCoroutine(self._either("remove", entry_id))

    async def _either(self, step: str, entry_id: str) -> bool:
        is_done: bool = await getattr(self._held, step)(entry_id)
        return is_done or await getattr(self.shared, step)(entry_id)

    def suspend(self, entry_id: str) -> Deferred[bool]:
        """Make an entry unmatchable."""
        return Deferred.fromCoroutine(self._either("suspend", entry_id))

    def resume(self, entry_id: str) -> Deferred[bool]:
        """Make an entry matchable again."""
        return Deferred.fromCoroutine(self._either("resume", entry_id))

    def claim(self, entry_ids: Sequence[str]) -> Deferred[bool]:
        """Remove all these entries, or none."""
        return self.shared.claim(entry_ids)

    def entry_of(self, player_id: str) -> Deferred[QueueEntry | None]:
        """Find the entry that has this player."""
        where = self._held if self._held.has(player_id) else self.shared
        return where.entry_of(player_id)

    def place(self, entry_id: str) -> Deferred[int]:
        """Find an entry's place in its queue."""
        return self.shared.place(entry_id)

    def places(self, entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        """Find several entries' places."""
        return self.shared.places(entry_ids)

    def oldest(
        self, game: str, options: bytes, most: int, queue: str = ""
    ) -> Deferred[Sequence[QueueEntry]]:
        """List the matchable entries of a queue with the longest waits."""
        return self.shared.oldest(game, options, most, queue)

    def page(
        self, game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """Read a part of a queue."""
        return self.shared.page(game, options, queue, after, most)

    def waiting(self, game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        """Count the entries and players of a queue."""
        return self.shared.waiting(game, options, queue)

    def counts(self) -> Deferred[QueueCounts]:
        """Count the entries and players of all queues."""
        return self.shared.counts()

    # Prematches.

    def propose(self, prematch: Prematch) -> Deferred[bool]:
        """Take all entries of a prematch out of the queue, or none."""
        return Deferred.fromCoroutine(self._propose(prematch))

    async def _propose(self, prematch: Prematch) -> bool:
        entry_ids = [entry.entry_id for entry in prematch.entries]
        if len(set(entry_ids)) < len(entry_ids):
            return False
        if not await self.shared.claim(entry_ids):
            return False
        for entry in prematch.entries:
            await self._held.add(entry)
        return await self._held.propose(prematch)

    def answer(
        self, prematch_id: str, player_id: str, is_yes: bool
    ) -> Deferred[Prematch | None]:
        """Note an answer, unless there is one, or the match is being made."""
        return self._held.answer(prematch_id, player_id, is_yes)

    def prematch_of(self, player_id: str) -> Deferred[Prematch | None]:
        """Find the prematch of this player's entry."""
        return self._held.prematch_of(player_id)

    def begin(self, prematch_id: str, node: str) -> Deferred[bool]:
        """Note which node makes the match."""
        return self._held.begin(prematch_id, node)

    def finish(self, prematch_id: str, node: str) -> Deferred[bool]:
        """Forget a prematch and its entries."""
        return self._held.finish(prematch_id, node)

    def dissolve(self, prematch_id: str, now: float) -> Deferred[Prematch | None]:
        """Put back the entries of those who did not decline."""
        over = self._held.dissolve(prematch_id, now)
        return Deferred.fromCoroutine(self._end(prematch_id, over))

    def give_back(
        self, prematch_id: str, node: str, without: Sequence[str] = ()
    ) -> Deferred[Prematch | None]:
        """Put back the entries of a prematch."""
        over = self._held.give_back(prematch_id, node, without)
        return Deferred.fromCoroutine(self._end(prematch_id, over))

    async def _end(
        self, prematch_id: str, over: Deferred[Prematch | None]
    ) -> Prematch | None:
        """Let those entries of a prematch wait again that are not forgotten."""
        prematch = await over
        if prematch is not None:
            self._returning[prematch_id] = prematch
        prematch = self._returning.get(prematch_id)
        if prematch is None:
            return None
        for entry in prematch.entries:
            # As it is now: a player may have come or gone meanwhile.
            held = await self._held.entry_of(entry.players[0].player_id)
            if held is not None and held.entry_id == entry.entry_id:
                # If the store does not answer, this is done again.
                await self.shared.add(held)
                await self._held.remove(held.entry_id)
        self._returning.pop(prematch_id, None)
        return prematch

    def count_decline(
        self, player_id: str, now: float, forget_at: float
    ) -> Deferred[int]:
        """Count one more decline."""
        return self._held.count_decline(player_id, now, forget_at)

    def declines(
        self, player_ids: Sequence[str]
    ) -> Deferred[Sequence[tuple[int, float]]]:
        """Count the declines of some players."""
        return self._held.declines(player_ids)
