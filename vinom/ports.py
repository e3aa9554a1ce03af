"""
The ports: interfaces through which our services use storage, fleets and each other.

Every method is one atomic step. Storage methods fail with
`vinom.errors.StoreUnavailable` if the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from vinom.model import (
    Addresses,
    EntryPage,
    Exit,
    MatchEnd,
    MatchPlan,
    Placement,
    Player,
    QueueCounts,
    QueueEntry,
    Rating,
    ServerAddress,
    Standing,
    Waiting,
)

#: What a store answers to new ratings, see `IRatingStore.rate`.
RatingAnswer = Literal["done", "known", "changed"]


class IEntryStore(Interface):
    """
    Queue entries, shared by all nodes of one deployment.

    Entries with the same game, options and queue name (`QueueEntry.pool`) are one
    queue, the longest wait first. No method reads more of a queue than it returns.
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

    def oldest(
        game: str, options: bytes, most: int, queue: str = ""
    ) -> Deferred[Sequence[QueueEntry]]:
        """
        List the entries of a queue that can be matched, longest wait first.

        :param game: the queue's game.
        :param options: the queue's options, canonical JSON.
        :param most: list at most this many.
        :param queue: the queue's name; empty for the game's default queue.
        """

    def page(
        game: str, options: bytes, queue: str, after: str, most: int
    ) -> Deferred[EntryPage]:
        """
        Read a part of a queue: entries that can be matched, longest wait first.

        An entry that can be matched from the first part to the last is in exactly one
        of them; one that comes or goes meanwhile may be in one.

        :param after: `EntryPage.next` of the part before; empty for the first one.
        :param most: read at most this many.
        """

    def waiting(game: str, options: bytes, queue: str = "") -> Deferred[Waiting]:
        """Count the players in a queue; *queue* is its name."""

    def counts() -> Deferred[QueueCounts]:
        """Count the players in all queues."""


class IRatingStore(Interface):
    """
    Ratings of players, in lists that have names, and whom each player met lately.

    Each is forgotten some time after its last use.
    """

    def standings(
        ratings: str, player_ids: Sequence[str]
    ) -> Deferred[Sequence[Standing]]:
        """
        Find the standing of each player; of one without rating, a newcomer's.

        :param ratings: name of the list; empty if only `Standing.recent` matters.
        """

    def rate(
        ratings: str,
        match_id: str,
        round: int,
        before: Mapping[str, Rating],
        after: Mapping[str, Rating],
        expires_at: Mapping[str, float],
    ) -> Deferred[RatingAnswer]:
        """
        Replace the ratings of a round's players, once per match and round.

        :param ratings: name of the list.
        :param before: what *after* was worked out from, by player id.
        :param after: the new ratings of the same players.
        :param expires_at: when each is forgotten, seconds since the Unix epoch.
        :returns: "done"; "known" if this round was rated already, or "changed" if a
            player has another rating than in *before*. Both change nothing.
        """

    def met(sides: Sequence[Sequence[str]], expires_at: float) -> Deferred[None]:
        """
        Note who plays against whom in a match.

        :param sides: the ids of the players of each team, or of each lone player.
        :param expires_at: when this is forgotten, seconds since the Unix epoch.
        """


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
