"""What a fleet, its game servers and the matches they play see of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from vinom.base.model import (
    Addresses,
    Exit,
    MatchEnd,
    Placement,
    ServerAddress,
)


class IGameServer(Interface):
    """
    One game server, as the fleet that starts it sees it.

    Implemented once, by `vinom.fleet.server.ServerProcess`, for all kinds of fleets.
    """

    server_id = Attribute("Its name, as in its `Ready` message.")
    keeps_address = Attribute(
        "When it ends: is its address kept for another game server, which takes it "
        "over? Nobody else gets it before `IFleet.free`."
    )

    def wanted() -> Deferred[ServerAddress | None]:
        """
        Wait until it is linked to this node and a match needs an address for it.

        Addresses may be few: take one only when this fires. Fires with the address
        that it takes over from one that has ended; ``None`` if any will do. A fleet
        that cannot give it that one gives it another.
        """

    def bind(interface: str, port: int) -> Deferred[bool]:
        """
        Have it bind a UDP port where it runs; after `wanted`.

        Fires ``False`` if the port cannot be bound. Then end it, or wait until it is
        `wanted` again, and try another port.
        """

    def ended(how: Exit) -> None:
        """Note that its process has ended, and its port is free. Called once."""

    def silent_for() -> float:
        """
        Count the seconds since its last message that proves that it was alive.

        Its lease counts from there: see `vinom.fleet.gameserver.lease`.
        """


class IFleet(Interface):
    """
    The supply of game servers, and of the addresses where players reach them.

    They are processes of this machine (`vinom.fleet.local.fleet`), or pods of a cluster
    (`vinom.fleet.kubernetes.fleet`). A fleet does not deal with rooms, matches and
    control links: a game server dials the node, and `vinom.fleet.fleet` finds out whose
    link it is.
    """

    problem = Attribute("Why none can be started, a text; empty if nothing is known.")

    def start(server: IGameServer) -> Deferred[ServerAddress]:
        """
        Start a game server that dials this node and identifies itself as ``server_id``.

        Fires with its address when players can reach it: it was `IGameServer.wanted`
        and has bound its port (`IGameServer.bind`). Cancelling kills it.

        :raises NoCapacity: it cannot be started; or it ended before players could
            reach it, and only then `IGameServer.ended` was called first.
        :raises ValueError: a game server with this id is running.
        """

    def admits(server_id: str, pid: int, proof: bytes = b"") -> bool:
        """
        Can a process that dialed this node be this game server?

        :param proof: of its identity, `vinom.fleet.control.messages.Ready.secret`.

        :param server_id: as that process identifies itself.
        :param pid: its process id, as it reports it. A fleet that cannot see its
            processes has another proof of their identity, and accepts any.
        """

    def free(where: ServerAddress) -> None:
        """Free an address that was kept for a successor, if it still is."""

    def welcome(server_id: str) -> bytes:
        """
        Take what it proves itself with from now on, after `admits`; empty for nothing.
        """

    def plays(server_id: str, match_ids: Sequence[str]) -> None:
        """Note which matches it has, for those who look at it from outside."""

    def handle(server_id: str) -> str:
        """
        Write how a later node finds the process of a game server that runs: `adopt`.

        :returns: empty if a later node cannot.
        """

    def mailbox(server_id: str) -> tuple[int, ...]:
        """
        Make what a later node reaches a game server by, if it cannot dial again.

        :returns: descriptors that it gets with its port, and that the caller closes.
        """

    def adopt(server: IGameServer, handle: str, where: ServerAddress) -> bool:
        """
        Watch a game server that an earlier node started, and withhold its address.

        From here on it is as if it had been started here, and had its address.

        :param handle: of `handle`.
        :param where: its address.
        :returns: ``False`` if its process is gone; then nothing is done.
        """

    def call(server_id: str) -> None:
        """
        Have a game server link to this node, if it does not dial again by itself.

        Repeated until it has.
        """

    def release(server_id: str) -> None:
        """Let go of a game server that plays on; `close` does not end it."""

    def addresses() -> Addresses:
        """
        Count the addresses; while none is free, no game server is `wanted`.

        The same function in fleets whose addresses are the same.
        """

    def stop(server_id: str, kill: bool = False) -> None:
        """Ask it to end (SIGTERM), or kill it (SIGKILL). Unknown ids are ignored."""

    def close() -> Deferred[None]:
        """End all game servers that were started here; fires when all have ended."""


class IMatchWatch(Interface):
    """Gets the events of a match that a game server plays."""

    def delayed(match_id: str, why: str) -> None:
        """Note that it waits because no game server can be had; at most once."""

    def started(match_id: str) -> None:
        """Note that match time has started."""

    def resumed(match_id: str, placement: Placement) -> None:
        """Note that another game server goes on with the match, perhaps elsewhere."""

    def seat_changed(match_id: str, seat: int, state: str) -> None:
        """Note that a seat is now "joined", "dropped", "returned" or "left"."""

    def round_ended(match_id: str, outcome: dict[str, Any]) -> None:
        """Note the outcome of a round; the match may continue."""

    def ended(end: MatchEnd) -> None:
        """Note that the match is over, for any reason; called exactly once."""
