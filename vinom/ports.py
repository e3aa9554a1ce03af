"""
The ports: what our services ask of the world, in the words of the domain.

Every method is one atomic step. Storage methods fail with
`vinom.errors.StoreUnavailable` when the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from vinom.model import (
    Addresses,
    Exit,
    MatchEnd,
    MatchPlan,
    Placement,
    Player,
    QueueCounts,
    QueueEntry,
    ServerAddress,
    Waiting,
)


class IEntryStore(Interface):
    """
    Entries of players who wait, shared by every node of one deployment.

    Entries with the same game and options are one queue, the longest wait first. No
    method reads more of a queue than it returns.
    """

    def add(entry: QueueEntry) -> Deferred[bool]:
        """
        Keep *entry*, suspended or not. Fires ``False`` if one of its players has an
        entry already.
        """

    def remove(entry_id: str) -> Deferred[bool]:
        """Forget an entry. Fires ``False`` if it was not there (claimed, perhaps)."""

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
        Remove all these entries, or none.

        Fires ``False`` if one of them is gone or suspended.
        """

    def entry_of(player_id: str) -> Deferred[QueueEntry | None]:
        """Find the one entry that has this player."""

    def place(entry_id: str) -> Deferred[int]:
        """
        Find an entry's place in its queue.

        :returns: 1 for the longest wait; suspended entries count. 0 if it is gone.
        """

    def oldest(game: str, options: bytes, most: int) -> Deferred[Sequence[QueueEntry]]:
        """
        List the entries of a queue that can be matched, longest wait first.

        :param most: list at most this many.
        """

    def waiting(game: str, options: bytes) -> Deferred[Waiting]:
        """Count who waits in a queue."""

    def counts() -> Deferred[QueueCounts]:
        """Count who waits in all queues."""


class IPlayerStore(Interface):
    """Players who have said hello, each found by the hash of a secret key."""

    def keep(key_hash: str, player: Player, expires_at: float) -> Deferred[None]:
        """Remember *player*; a later call moves the expiry (Unix seconds)."""

    def find(key_hash: str) -> Deferred[Player | None]:
        """Find a player by the hash of its key; ``None`` when expired."""


class IMatchStore(Interface):
    """Running matches and, for a while, ended ones."""

    def open(plan: MatchPlan) -> Deferred[bool]:
        """
        Record a match; fires ``False``, and changes nothing, if one of its
        players has another running match.
        """

    def place(match_id: str, placement: Placement) -> Deferred[bool]:
        """Record where it is played; ``False`` if it is over."""

    def end(end: MatchEnd, expires_at: float) -> Deferred[bool]:
        """Record that it is over; ``False`` if it was already."""

    def release(match_id: str, player_id: str) -> Deferred[bool]:
        """
        Let a player of a running match queue again: it was removed, or left for good.
        Fires ``False`` if it is not in this match.
        """

    def match_of(
        player_id: str,
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        """Find the running match of a player."""

    def last_end(player_id: str) -> Deferred[MatchEnd | None]:
        """How this player's latest match ended, until it is forgotten."""

    def running() -> Deferred[Sequence[tuple[MatchPlan, Placement | None]]]:
        """Every running match, oldest first."""


class IGameServer(Interface):
    """
    One game server, as the fleet that starts it sees it.

    Implemented once, by `vinom.fleet.server.GameServer`, for all kinds of fleets.
    """

    server_id = Attribute("The label that it names itself by, inside the realm.")

    def wanted() -> Deferred[None]:
        """
        Wait until it is linked to this node and a match needs an address for it.

        Fires at most once per call. Addresses may be few: take one only then.
        """

    def bind(interface: str, port: int) -> Deferred[bool]:
        """
        Have it bind a UDP port where it runs; after `wanted`.

        Fires ``False`` if the port cannot be had. Then it waits to be `wanted`
        again, and another port can be tried.
        """

    def ended(how: Exit) -> None:
        """Its process is gone, and nobody has its port any more. Called once."""


class IFleet(Interface):
    """
    The supply of game servers, and of the addresses where players reach them.

    Processes of this machine (`vinom.fleet.local`), pods, or whatever an allocator
    hands out. Rooms, matches and control links are not its concern: a game server
    dials the node, and `vinom.fleet.fleet` finds whose link it is.
    """

    def start(server: IGameServer) -> Deferred[ServerAddress]:
        """
        Start a game server that dials this node and names itself ``server_id``.

        Fires when players can reach it, with where: it was `IGameServer.wanted` and
        has bound its port (`IGameServer.bind`). Cancelling kills it.

        :raises NoCapacity: it cannot be started, or ended before that: then, and
            only then, `IGameServer.ended` was called first.
        :raises ValueError: this id was started, and has not ended.
        """

    def admits(server_id: str, pid: int) -> bool:
        """
        Can a process that dialed this node be this game server?

        :param pid: what that process says it is, where it runs. A fleet that cannot
            see its processes has another proof of who dials, and accepts any.
        """

    def addresses() -> Addresses:
        """Count the addresses; while none is free, no game server is `wanted`."""

    def stop(server_id: str, kill: bool = False) -> None:
        """Ask it to end (SIGTERM), or make it (SIGKILL). Unknown ids are ignored."""

    def close() -> Deferred[None]:
        """End every game server that was started here; fires when all have ended."""


class IMatchWatch(Interface):
    """Receives what happens to a match that a game server plays."""

    def started(match_id: str) -> None:
        """Match time runs."""

    def seat_changed(match_id: str, seat: int, state: str) -> None:
        """A seat's connection is "joined", "dropped", "returned" or "left"."""

    def round_ended(match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome; the match may go on."""

    def ended(end: MatchEnd) -> None:
        """It is over, for whatever reason; called exactly once."""
