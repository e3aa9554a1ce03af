"""
The ports: interfaces through which our services use storage, fleets and each other.

Every method is one atomic step. Storage methods fail with
`vinom.errors.StoreUnavailable` if the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from vinom.model import (
    Addresses,
    Exit,
    KeptResult,
    MatchEnd,
    MatchPlan,
    NodeFacts,
    NodeLease,
    Placement,
    Player,
    QueueCounts,
    QueueEntry,
    Result,
    ResultCounts,
    RoomClaim,
    ServerAddress,
    Waiting,
)


class IEntryStore(Interface):
    """
    Queue entries, shared by all nodes of one deployment.

    Entries with the same game and options are one queue, the longest wait first. No
    method reads more of a queue than it returns.
    """

    def add(entry: QueueEntry) -> Deferred[int]:
        """
        Store *entry*, suspended or not.

        :returns: its place, as `place` finds it; 0 if one of its players already has an
            entry.
        """

    def remove(entry_id: str) -> Deferred[bool]:
        """Remove an entry. Fires ``False`` if it is not there (perhaps claimed)."""

    def suspend(entry_id: str) -> Deferred[bool]:
        """
        Make an entry unmatchable; it keeps its place. Fires ``False`` if it is gone.
        """

    def resume(entry_id: str) -> Deferred[bool]:
        """
        Make an entry matchable again, at its old place. Fires ``False`` if it is gone.
        """

    def claim(entry_ids: Sequence[str]) -> Deferred[bool]:
        """
        Remove all of these entries, or none.

        Fires ``False`` if one of them is gone or suspended.
        """

    def entry_of(player_id: str) -> Deferred[QueueEntry | None]:
        """Find the entry of this player; ``None`` if there is none."""

    def place(entry_id: str) -> Deferred[int]:
        """
        Find an entry's place in its queue.

        :returns: 1 for the longest wait; suspended entries count. 0 if it is gone.
        """

    def places(entry_ids: Sequence[str]) -> Deferred[Sequence[int]]:
        """Find the places of several entries, as `place` does, in their order."""

    def oldest(game: str, options: bytes, most: int) -> Deferred[Sequence[QueueEntry]]:
        """
        List the entries of a queue that can be matched, longest wait first.

        :param game: the queue's game.
        :param options: the queue's options, canonical JSON.
        :param most: list at most this many.
        """

    def waiting(game: str, options: bytes) -> Deferred[Waiting]:
        """Count the players in a queue."""

    def counts() -> Deferred[QueueCounts]:
        """Count the players in all queues."""


class IPlayerStore(Interface):
    """Players who have said hello, each found by the hash of a secret key."""

    def add_guest(
        key_hash: str, player: Player, expires_at: float, host: str
    ) -> Deferred[bool]:
        """
        Store a new guest; a store that is full forgets such guests first.

        :param expires_at: seconds since the Unix epoch.
        :param host: the address that the guest came from.
        :returns: fires ``False`` if the store is full of players who are needed.
        """

    def keep(
        key_hash: str, player: Player, expires_at: float, host: str = ""
    ) -> Deferred[None]:
        """Store *player*; a later call moves the expiry (Unix seconds)."""

    def settle(player_id: str) -> None:
        """Note that a guest has queued or joined: others are forgotten before it."""

    def find(key_hash: str) -> Deferred[Player | None]:
        """Find a player by the hash of its key; ``None`` if unknown or expired."""


class IMatchStore(Interface):
    """Running matches, and ended ones for a while."""

    def open(plan: MatchPlan) -> Deferred[bool]:
        """
        Record a match; fires ``False``, and changes nothing, if one of its
        players has another running match.
        """

    def place(match_id: str, placement: Placement) -> Deferred[bool]:
        """Record where a match is played; fires ``False`` if it is over."""

    def end(end: MatchEnd, expires_at: float) -> Deferred[bool]:
        """Record the end of a match; fires ``False`` if it was over already."""

    def release(match_id: str, player_id: str) -> Deferred[bool]:
        """
        Let a player of a running match queue again, who was removed or left for good.
        Fires ``False`` if the player is not in this match.
        """

    def match_of(
        player_id: str,
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        """Find the running match of a player; ``None`` if there is none."""

    def last_end(player_id: str) -> Deferred[MatchEnd | None]:
        """Find the end of this player's latest match; ``None`` if it has expired."""

    def running() -> Deferred[Sequence[tuple[MatchPlan, Placement | None]]]:
        """List the running matches, oldest first."""


class INodeStore(Interface):
    """
    The nodes of one deployment, each with a lease.

    A node acts on what it owns while its lease lasts. Each lease has a number, larger
    than all before; a write that names the number of a lease that is over is refused
    with `vinom.errors.LeaseLost`.
    """

    def register(node: NodeFacts, seconds: float) -> Deferred[int]:
        """
        Start a lease, also for a node whose lease is over.

        :param seconds: how long it lasts, from now on the store's clock.
        :returns: the lease's number.
        """

    def renew(node: NodeFacts, lease: int, seconds: float) -> Deferred[bool]:
        """
        Let a lease last *seconds* from now, and replace what is known of the node.

        Fires ``False`` if the lease is over.
        """

    def leave(node_id: str, lease: int) -> Deferred[bool]:
        """
        Remove a node with this lease: by itself when it stops, or by another that takes
        over what it owned. Fires ``False`` if it is not there: only one can remove it.

        One that still has entries or matches is not removed: its lease ends now.
        """

    def nodes() -> Deferred[Sequence[NodeLease]]:
        """List the nodes whose leases last."""

    def expired() -> Deferred[Sequence[NodeLease]]:
        """List the nodes whose leases are over and that were not removed."""


class IEstateStore(Interface):
    """What nodes that are gone have left in the queue and in matches."""

    def matches_of(node_id: str, most: int) -> Deferred[Sequence[MatchPlan]]:
        """
        List some running matches that this node opened; none if all are over.

        :param most: list at most this many.
        """

    def abandon(node_id: str, most: int, seconds: float) -> Deferred[int]:
        """
        Suspend entries of this node, and remove those later that nobody resumes.

        An entry that is resumed belongs to the node that resumes it.

        :param most: suspend at most this many.
        :param seconds: for how long they wait.
        :returns: how many were suspended; 0 if this was done with all.
        """


class ICheckpointStore(Interface):
    """
    The latest checkpoint of each room, and which node has the room.

    A room is another node's only after its owner's lease is over. Each ownership has a
    number (the fence), larger than all before. Nothing is kept for ever: a checkpoint
    has a lifetime of a day after the last one.
    """

    def put(room_id: str, fence: int, data: bytes, grace: float) -> Deferred[bool]:
        """
        Keep the latest checkpoint of a room of this node.

        :param fence: number of this node's ownership; 1 for a new room.
        :param data: the checkpoint.
        :param grace: how long it waits for its players if this node dies, seconds.
        :returns: fires ``False``, and keeps nothing, if another node has the room.
        :raises LeaseLost: this node's own lease is over.
        """

    def claim(room_id: str, reserve: bool) -> Deferred[RoomClaim]:
        """
        Take over a room whose owner's lease is over.

        :param reserve: if nobody has a room with this id, keep the id for this node.
        :raises LeaseLost: this node's own lease is over.
        """

    def remove(room_id: str, fence: int) -> Deferred[bool]:
        """
        Forget a room of this node that has closed.

        :returns: fires ``False`` if another node has it.
        """

    def orphans(node_id: str, most: int) -> Deferred[Sequence[str]]:
        """
        List rooms of a node whose lease has been over for longer than their grace.

        :param most: list at most this many.
        """


class IResultStore(Interface):
    """
    Results of rounds, oldest first, and how far sending each of them is.

    A store is bounded by number and age; the oldest results give way, sent or not. Of
    each match the results are sent in order: one that waits keeps back the later ones,
    one that is dead does not. Cursors are texts such as "1763886000123-0".
    """

    def add(result: Result, is_wanted: bool) -> Deferred[str]:
        """
        Keep a result, unless one of this match and round is kept.

        :param is_wanted: whether it is to be sent.
        :returns: its cursor; empty if there is one already.
        """

    def after(cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """
        List results, oldest first.

        :param cursor: list those after this one; from the first if it is empty.
        :param most: list at most this many.
        :raises ValueError: this is no cursor.
        """

    def dead(cursor: str, most: int) -> Deferred[Sequence[KeptResult]]:
        """List results that were given up, in the same way."""

    def take(now: float, until: float, most: int) -> Deferred[Sequence[KeptResult]]:
        """
        Take results to send them: of each match only the oldest that waits.

        Nobody else can take them before *until*, unless they are postponed.

        :param now: take those that are due by then, seconds since the Unix epoch.
        :param until: when they are due again if nothing is heard of them.
        :param most: take at most this many.
        """

    def sent(cursor: str) -> Deferred[bool]:
        """Note that a result was received. Fires ``False`` if it waits no more."""

    def postpone(cursor: str, at: float, why: str) -> Deferred[bool]:
        """
        Note that sending a result has failed. Fires ``False`` if it waits no more.

        :param at: when it is due again, seconds since the Unix epoch.
        :param why: for operators.
        """

    def bury(cursor: str, why: str) -> Deferred[bool]:
        """Give a result up, after one more try. Fires ``False`` if it waits no more."""

    def revive(cursor: str) -> Deferred[bool]:
        """
        Let a result that was given up wait again, as if it had never been sent.

        Fires ``False`` if it is not dead.
        """

    def counts() -> Deferred[ResultCounts]:
        """Count the results."""


class IGameServer(Interface):
    """
    One game server, as the fleet that starts it sees it.

    Implemented once, by `vinom.fleet.server.GameServer`, for all kinds of fleets.
    """

    server_id = Attribute("Its label inside the realm, as in its `Ready` message.")

    def wanted() -> Deferred[None]:
        """
        Wait until it is linked to this node and a match needs an address for it.

        Addresses may be few: take one only when this fires.
        """

    def bind(interface: str, port: int) -> Deferred[bool]:
        """
        Have it bind a UDP port where it runs; after `wanted`.

        Fires ``False`` if the port cannot be bound. Then wait until it is `wanted`
        again, and try another port.
        """

    def ended(how: Exit) -> None:
        """Note that its process has ended, and its port is free. Called once."""


class IFleet(Interface):
    """
    The supply of game servers, and of the addresses where players reach them.

    They are processes of this machine (`vinom.fleet.local`), pods, or servers of an
    allocator. A fleet does not deal with rooms, matches and control links: a game
    server dials the node, and `vinom.fleet.fleet` finds out whose link it is.
    """

    def start(server: IGameServer) -> Deferred[ServerAddress]:
        """
        Start a game server that dials this node and identifies itself as ``server_id``.

        Fires with its address when players can reach it: it was `IGameServer.wanted`
        and has bound its port (`IGameServer.bind`). Cancelling kills it.

        :raises NoCapacity: it cannot be started; or it ended before players could
            reach it, and only then `IGameServer.ended` was called first.
        :raises ValueError: a game server with this id is running.
        """

    def admits(server_id: str, pid: int) -> bool:
        """
        Can a process that dialed this node be this game server?

        :param server_id: as that process identifies itself.
        :param pid: its process id, as it reports it. A fleet that cannot see its
            processes has another proof of their identity, and accepts any.
        """

    def addresses() -> Addresses:
        """Count the addresses; while none is free, no game server is `wanted`."""

    def stop(server_id: str, kill: bool = False) -> None:
        """Ask it to end (SIGTERM), or kill it (SIGKILL). Unknown ids are ignored."""

    def close() -> Deferred[None]:
        """End all game servers that were started here; fires when all have ended."""


class IMatchWatch(Interface):
    """Gets the events of a match that a game server plays."""

    def started(match_id: str) -> None:
        """Note that match time has started."""

    def seat_changed(match_id: str, seat: int, state: str) -> None:
        """Note that a seat is now "joined", "dropped", "returned" or "left"."""

    def round_ended(match_id: str, outcome: dict[str, Any]) -> None:
        """Note the outcome of a round; the match may continue."""

    def ended(end: MatchEnd) -> None:
        """Note that the match is over, for any reason; called exactly once."""
