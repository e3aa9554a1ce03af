"""
The ports: what our services ask of the world, in the words of the domain.

Every method is one atomic step. Storage methods fail with
`vinom.errors.StoreUnavailable` when the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Interface

from vinom.model import Exit, MatchEnd, MatchPlan, Placement, Player, QueueEntry


class IEntryStore(Interface):
    """Wishes to play, shared by every node of one deployment."""

    def add(entry: QueueEntry) -> Deferred[bool]:
        """
        Keep *entry*; fires ``False`` if one of its players has one already.
        """

    def remove(entry_id: str) -> Deferred[bool]:
        """Forget an entry; fires ``False`` if it was not there (claimed, perhaps)."""

    def suspend(entry_id: str) -> Deferred[bool]:
        """Make an entry unmatchable, keeping its place; ``False`` if gone."""

    def resume(entry_id: str) -> Deferred[bool]:
        """Make an entry matchable again, at its old place; ``False`` if gone."""

    def waiting() -> Deferred[Sequence[QueueEntry]]:
        """All entries, longest wait first, suspended ones too."""

    def claim(entry_ids: Sequence[str]) -> Deferred[bool]:
        """
        Remove all these entries, or none.

        Fires ``False`` if one of them is gone or suspended.
        """

    def entry_of(player_id: str) -> Deferred[QueueEntry | None]:
        """Find the one entry that has this player."""


class IPlayerStore(Interface):
    """Who said hello, found again by the hash of a secret key."""

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
        """A player is out of a running match (kicked): it may queue again."""

    def match_of(
        player_id: str,
    ) -> Deferred[tuple[MatchPlan, Placement | None] | None]:
        """Find the running match of a player."""

    def last_end(player_id: str) -> Deferred[MatchEnd | None]:
        """How this player's latest match ended, until it is forgotten."""

    def running() -> Deferred[Sequence[tuple[MatchPlan, Placement | None]]]:
        """Every running match, oldest first."""


class IFleet(Interface):
    """
    The supply of game server processes: starts, stops, reports exits.

    It knows nothing of ports, rooms or control links; `vinom.fleet.fleet`
    matches the links that dial in to what was started.
    """

    def start(server_id: str, exited: Callable[[Exit], None]) -> Deferred[int]:
        """
        Start a game server that dials this node and names itself *server_id*.

        Fires with its pid; *exited* is called once when that process is gone.

        :raises NoCapacity: it cannot be started.
        """

    def stop(server_id: str, kill: bool = False) -> None:
        """Ask it to end (SIGTERM), or make it (SIGKILL). Unknown ids are ignored."""

    def close() -> Deferred[None]:
        """Stop every process that was started here and wait for their exits."""


class IMatchWatch(Interface):
    """Who is told what becomes of a match that a game server hosts."""

    def started(match_id: str) -> None:
        """Match time runs."""

    def seat_changed(match_id: str, seat: int, state: str) -> None:
        """A seat's connection is "joined", "dropped", "returned" or "left"."""

    def round_ended(match_id: str, outcome: dict[str, Any]) -> None:
        """A round has an outcome; the match may go on."""

    def ended(end: MatchEnd) -> None:
        """It is over, for whatever reason; told exactly once."""
