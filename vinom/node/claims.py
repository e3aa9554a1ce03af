"""
Which game servers are this node's: as files, and in a store that nodes share.

The file is written first, for the next node with the same state directory. The record
in the store is for all others. It is written behind: opening a match does not wait for
it. But it is sent to the store before the placement of the match, over the same
connection, so it is there when players are sent the match.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import attrs
import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.base.limits.logged import in_background
from vinom.base.model import MatchPlan
from vinom.errors import LeaseLost, StoreUnavailable
from vinom.fleet.control.messages import CONTROL_PROTOCOL
from vinom.fleet.records import MatchRecord, ServerRecord, ServerRecords
from vinom.store.interfaces import IOwnedStore

#: How long to wait for a store that does not answer, before the next try, seconds.
_AGAIN_SECONDS = 1.0
#: After this time without an answer of the store the file decides, seconds: a node that
#: had taken over a game server would have removed its file.
_FILE_DECIDES = 5.0
#: Most game servers that are looked for at once.
_MOST = 100


@attrs.define(eq=False)
class _Claim:
    """
    One game server of this node.

    :ivar fence: fence of its ownership; 0 until it is claimed.
    :ivar since: when it was added, seconds on the clock.
    :ivar record: the newest record; ``None`` if it has no match any more.
    :ivar lease: number of the lease under which the store has confirmed it; or 0.
    :ivar gone: id of the node that had it and has ended.
    :ivar is_due: is a request to the store due?
    :ivar is_asking: is a request under way?
    :ivar is_offered: may other nodes take it?
    :ivar settled: fire when its owner is known.
    """

    fence: int
    since: float
    record: ServerRecord | None = None
    lease: int = 0
    gone: str = ""
    is_due: bool = False
    is_asking: bool = False
    is_offered: bool = False
    settled: list[Deferred[bool]] = attrs.field(factory=list)


class Lease(Protocol):
    """This node's lease: `vinom.node.lease.OwnLease`."""

    number: int

    @property
    def is_current(self) -> bool:
        """Is it not over?"""


class Claims:
    """
    Record game servers with matches, and find those that other nodes have left.

    A fleet uses it as `vinom.fleet.records.Records`.
    """

    _log = Logger()

    def __init__(
        self,
        files: ServerRecords,
        store: IOwnedStore,
        lease: Lease,
        node_id: str,
        recordings: str,
        clock: IReactorTime,
        file_decides: bool = True,
    ) -> None:
        """
        :param files: written first.
        :param store: of game servers on this machine, shared by all nodes.
        :param lease: of this node.
        :param node_id: id of this node.
        :param recordings: where it stores recordings; empty for nowhere.
        :param clock: times the attempts.
        :param file_decides: is a file enough if the store does not answer? Only where
            a node that takes a game server removes the files of others.
        """
        self._file_decides = file_decides
        self._files, self._store, self._node_id = files, store, node_id
        self._recordings, self._clock = recordings, clock
        self._lease = lease
        self._claims: dict[str, _Claim] = {}
        # Of other nodes: this one asks for them, or has them and has not returned them.
        self._left: list[str] = []
        #: Called with the id of each game server that another node has taken over.
        self.taken: Callable[[str], None] = lambda _: None

    # Called by the fleet (`Records`).

    def record(self, plan: MatchPlan, hosts: tuple[str, ...]) -> MatchRecord:
        """Describe a match that a game server is about to get."""
        return self._files.record(plan, hosts)

    def write(self, record: ServerRecord) -> None:
        """Replace the record of a game server."""
        claim = self._claims.get(record.server_id)
        if claim is None:
            claim = self._claims[record.server_id] = _Claim(1, self._clock.seconds())
        self._write(claim, record)
        self._ask(record.server_id, claim)

    def _write(self, claim: _Claim, record: ServerRecord) -> None:
        """Write the file of a game server that is this node's."""
        claim.record = replace(
            record,
            protocol=CONTROL_PROTOCOL,
            node_id=self._node_id,
            folder=str(self._files.folder.absolute()),
            recordings=self._recordings,
        )
        self._files.write(claim.record)

    def forget(self, server_id: str) -> None:
        """Remove the record of a game server, if there is one."""
        self._files.forget(server_id)
        claim = self._claims.get(server_id)
        if claim is not None:
            claim.record = None
            self._ask(server_id, claim)

    # The owner of a game server.

    def is_ours(self, server_id: str) -> bool:
        """
        Is it certain now that no other node has this game server?

        Only when the store has confirmed this under this node's current lease.
        """
        claim = self._claims.get(server_id)
        if claim is None or claim.is_offered:
            return False
        if claim.lease and claim.lease == self._lease.number and self._lease.is_current:
            return True
        return self._is_late(claim) and self._files.has(server_id)

    def _is_late(self, claim: _Claim) -> bool:
        """Has the store not answered yet who owns a game server that was found here?"""
        late_at = claim.since + _FILE_DECIDES
        is_late = not claim.fence and self._clock.seconds() >= late_at
        return self._file_decides and is_late

    def _is_elsewhere(self, server_id: str, claim: _Claim) -> bool:
        return self._is_late(claim) and not self._files.has(server_id)

    def found(self, record: ServerRecord) -> None:
        """Claim a game server whose file an earlier node has left here."""
        claim = _Claim(0, self._clock.seconds(), record, gone=record.node_id)
        self._claims[record.server_id] = claim
        self._ask(record.server_id, claim)

    def settled(self, server_id: str) -> Deferred[bool]:
        """Wait until it is known whether this node has a game server."""
        settled: Deferred[bool] = Deferred()
        claim = self._claims.get(server_id)
        if claim is None:
            settled.callback(False)
        elif self.is_ours(server_id):
            settled.callback(True)
        else:
            claim.settled.append(settled)
        return settled

    def check_owned(self) -> None:
        """Ask the store again about all of them, because this node has a new lease."""
        for server_id, claim in tuple(self._claims.items()):
            self._ask(server_id, claim)

    def _ask(self, server_id: str, claim: _Claim) -> None:
        claim.is_due = True
        # Without a lease the store is asked later: see `check_owned`.
        if self._lease.number and not claim.is_asking:
            claim.is_asking = True
            in_background(
                self._log,
                self._keep_asking(server_id, claim),
                "game server {server} is not in the store",
                server=server_id,
            )

    async def _keep_asking(self, server_id: str, claim: _Claim) -> None:
        try:
            while claim.is_due and self._claims.get(server_id) is claim:
                claim.is_due = False
                try:
                    await self._ask_once(server_id, claim)
                except LeaseLost:
                    # `check_owned` asks again under the next lease, or has done so.
                    continue
                except StoreUnavailable:
                    if self._is_elsewhere(server_id, claim):
                        self._lost(server_id, claim)
                        return
                    claim.is_due = True
                    await deferLater(self._clock, _AGAIN_SECONDS)
        finally:
            claim.is_asking = False

    async def _ask_once(self, server_id: str, claim: _Claim) -> None:
        lease = self._lease.number
        if not claim.fence:
            found = await self._store.claim(server_id, gone=claim.gone)
            if found.kind in ("owned", "over"):
                self._lost(server_id, claim)
                return
            # The store may have been lost since: then the record is new to it.
            claim.fence = found.fence or 1
            if claim.record is not None:
                # Or the next node would take the one before this for its owner.
                self._write(claim, claim.record)
        if claim.record is None:
            if not await self._store.remove(server_id, claim.fence):
                self._lost(server_id, claim)
            elif claim.record is None and self._claims.get(server_id) is claim:
                del self._claims[server_id]
                self._settle(claim, True)
            return
        data = msgspec.json.encode(claim.record)
        write = self._store.release if claim.is_offered else self._store.put
        is_ours = await write(server_id, claim.fence, data)
        if is_ours:
            claim.lease = lease
            self._settle(claim, True)
        elif claim.record is not None:
            self._lost(server_id, claim)

    def _settle(self, claim: _Claim, is_ours: bool) -> None:
        settled, claim.settled = claim.settled, []
        for one in settled:
            one.callback(is_ours)

    def _lost(self, server_id: str, claim: _Claim) -> None:
        """Forget a game server that another node has."""
        if self._claims.get(server_id) is not claim:
            return
        del self._claims[server_id]
        self._left = [one for one in self._left if one != server_id]
        self._files.forget(server_id)
        self._settle(claim, False)
        self.taken(server_id)

    # Game servers that other nodes have left.

    async def left(
        self,
        node_id: str,
        can_adopt: Callable[
            [ServerRecord], Coroutine[Deferred[Any], Any, bool] | Deferred[bool]
        ],
    ) -> list[ServerRecord]:
        """
        Take over game servers that another node has left.

        :param node_id: id of that node; empty for those that stopping nodes offer.
        :param can_adopt: can this node go on with a game server?
        :returns: those that are this node's from now on.
        :raises StoreUnavailable: others may be, too; the next call returns them.
        """
        records = [
            record
            for record in map(self._read, await self._store.left(node_id, _MOST))
            if record is not None
            and record.server_id not in self._claims
            and record.protocol == CONTROL_PROTOCOL
        ]
        # All at once: a cluster may take its time for each.
        answers = [ensureDeferred(can_adopt(record)) for record in records]
        for record, answer in zip(records, answers, strict=True):
            if await answer and record.server_id not in self._left:
                self._left.append(record.server_id)
        # With those of earlier calls, which may be this node's: then no other node
        # finds them.
        for server_id in tuple(self._left):
            await self._take(server_id)
        left = [one for one in self._left if one in self._claims]
        # The others may be, once the store has answered under a new lease.
        self._left = [one for one in left if not self.is_ours(one)]
        ours = [self._claims[one].record for one in left if one not in self._left]
        return [record for record in ours if record is not None]

    async def bury(self, server_id: str) -> None:
        """Have nobody go on with a game server whose machine is gone."""
        found = await self._store.claim(server_id)
        if found.kind == "adopted":
            await self._store.remove(server_id, found.fence)

    def again(self, server_id: str) -> None:
        """Have `left` return it later, unless another node takes it over meanwhile."""
        self._left.append(server_id)

    async def _take(self, server_id: str) -> None:
        if server_id in self._claims:
            return
        lease, since = self._lease.number, self._clock.seconds()
        claim = await self._store.claim(server_id)
        newest = self._read(claim.data) if claim.kind == "adopted" else None
        if newest is not None and newest.server_id == server_id:
            self._claims[server_id] = _Claim(claim.fence, since, newest, lease)

    def _read(self, data: bytes) -> ServerRecord | None:
        try:
            record = msgspec.json.decode(data, type=ServerRecord)
        except msgspec.MsgspecError as error:
            self._log.error("a record of a game server is unreadable: {e}", e=error)
            return None
        # The id is part of file names.
        return record if record.server_id.isalnum() else None

    # Handing over.

    def offer(self, has_link: Callable[[str], bool] = lambda _: True) -> None:
        """
        Let other nodes take over all game servers from now on: this node drains.

        :param has_link: does a game server have a link to this node? The node does
            not call those that it offers, so others must get a link first.
        """
        for server_id, claim in tuple(self._claims.items()):
            if not claim.fence or claim.record is None:
                continue
            if claim.is_offered or has_link(server_id):
                claim.is_offered = True
                # If repeated, it finds out whether another node has it.
                self._ask(server_id, claim)
