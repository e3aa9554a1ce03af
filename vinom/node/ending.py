"""How a node ends: at once, drained, or with its rooms and players moved to others."""

from __future__ import annotations

from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.reactor.alarm import Timer
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.fleet.gameserver.keeping import Reader
from vinom.node.build import Games, Parts
from vinom.node.links import SERVES
from vinom.node.listeners import LOBBY, Listeners
from vinom.node.settings import Settings

#: How long a node that is stopped waits for others that are stopped in the same moment
#: to report that, seconds.
_SETTLE_SECONDS = 0.5
#: How often a node that drains looks whether others have taken its matches, seconds.
_OFFER_SECONDS = 0.25
_log = Logger("vinom.node")


class Ending:
    """
    Stop a node.

    :ivar state: of the node.
    """

    def __init__(self, settings: Settings, reactor: Any, games: Games) -> None:
        """
        :param settings: the node's.
        :param reactor: is stopped at the end.
        :param games: by name.
        """
        self._settings, self._reactor, self._games = settings, reactor, games
        self._drain_timeout = Timer(self._reactor)
        self.state: Literal["starting", "serving", "draining", "stopping"] = "starting"

    def serve(self, parts: Parts, listeners: Listeners) -> None:
        """Everything is open from now on."""
        self._parts, self._listeners = parts, listeners
        self.state = "serving"

    def interrupted(self) -> None:
        """SIGTERM or Ctrl-C: move or drain at the first, stop at the second."""
        if self.state == "serving" and self._settings.on_stop == "leave":
            self._leave()
        elif self.state == "serving":
            self._begin_to_end()
            ending = Deferred.fromCoroutine(self._move_or_drain())
            ending.addErrback(self._log_failure)
        else:
            _log.warn("stopping at once")
            self.stop()

    def _leave(self) -> None:
        """Stop at once; game servers with matches play on for the next node."""
        _log.info(
            "stopping; matches of game servers go on, and have {seconds} s until a "
            "node is started here, or another one on this machine goes on with them",
            seconds=self._settings.orphan_seconds,
        )
        self._parts.fleet.servers.leaves_matches = True
        self._begin_to_end()
        Deferred.fromCoroutine(self._leave_rooms()).addErrback(self._log_failure)

    async def _leave_rooms(self) -> None:
        """Leave what a Redis keeps to whichever node players come to, and stop."""
        if self._parts.base.stores.client is not None:
            await self._parts.requests.hand_over()
        self.stop()

    def _offer(self) -> None:
        """Let other nodes on this machine go on with matches, until this one ends."""
        self._parts.adoption.offer()
        if self.state == "draining":
            self._reactor.callLater(_OFFER_SECONDS, self._offer)

    async def _move_or_drain(self) -> None:
        self._offer()
        why = await self._why_not_moved()
        if not why:
            # Both would hand over their rooms, and nobody would take them.
            await deferLater(self._reactor, _SETTLE_SECONDS)
            why = await self._why_not_moved()
        if self.state != "draining":
            return
        if not why:
            await self._move()
            return
        if self._settings.link is not None:
            _log.info("rooms stay here: {why}", why=why)
        await self._drain()

    async def move(self) -> None:
        """
        Hand rooms and players to other nodes, and stop when nobody is left.

        :raises Refused: no other node can take them, or this one is about to stop.
        """
        why = await self._why_not_moved()
        if why or self.state != "serving":
            raise Refused(
                Code.UNAVAILABLE,
                f"{why or f'this node is {self.state}'}; without --move a drain waits "
                "until matches and rooms end",
            )
        self._begin_to_end()
        Deferred.fromCoroutine(self._move_or_drain()).addErrback(self._log_failure)

    def move_server(self, server: str) -> None:
        """
        Have another game server go on with the matches of this one.

        :raises Refused: there is none, or its matches cannot go on elsewhere.
        """
        self._parts.fleet.servers.move(server, Reader(self._games).why_not)

    def drain(self) -> None:
        """Take no new matches, and stop when the last one ends or the time is over."""
        if self.state == "serving":
            self._begin_to_end()
            Deferred.fromCoroutine(self._drain()).addErrback(self._log_failure)

    def _begin_to_end(self) -> None:
        self.state = "draining"
        self._parts.rooms.ownership.takes_others = False
        seconds = self._settings.drain_seconds
        self._drain_timeout.start(seconds, self._drain_timed_out)
        # The others learn it, and so do gateways.
        self._parts.base.lease.beat()
        if self._listeners.gateways is not None:
            self._listeners.gateways.drain()

    def _log_failure(self, failure: Failure) -> None:
        _log.failure("cannot drain", failure)

    async def _why_not_moved(self) -> str:
        """Find why no other node can take rooms; empty if one can."""
        settings, stores = self._settings, self._parts.base.stores
        if stores.client is None:
            return "there are no other nodes without --store redis://..."
        if settings.link is None:
            return "this node shares no authority with others"
        try:
            others = await stores.nodes.nodes()
        except StoreUnavailable as error:
            return str(error)
        for other in others:
            facts = other.node
            if facts.node_id != stores.node_id and {LOBBY, SERVES} <= {
                *facts.addresses
            }:
                return ""
        return "no other node has a lease, and an authority to share"

    async def _move(self) -> None:
        """Hand over what can be; the rest has `drain_seconds`, as without others."""
        _log.info(
            "moving: players and rooms go to other nodes; what cannot has {seconds} s",
            seconds=self._settings.drain_seconds,
        )
        # First, so that a balancer takes them elsewhere.
        await self._listeners.close_doors()
        await self._parts.requests.move()
        self._drained()

    async def _drain(self) -> None:
        _log.info(
            "draining: no new matches and rooms; running ones have {seconds} s",
            seconds=self._settings.drain_seconds,
        )
        await self._parts.requests.drain()
        self._drained()

    def _drained(self) -> None:
        if self.state == "draining":
            _log.info("no match and no room is left; stopping")
            self.stop()

    def _drain_timed_out(self) -> None:
        _log.warn(
            "{count} matches and {rooms} rooms did not end in time; stopping",
            count=self._parts.lobby.matches.count(),
            rooms=self._parts.rooms.directory.status()["rooms"],
        )
        self.stop()

    def stop(self) -> None:
        """Stop at once."""
        if self.state != "stopping":
            self.close_up()
            self._reactor.stop()

    def close_up(self) -> None:
        """Note that the node stops, and is not to be drained any more."""
        self.state = "stopping"
        self._drain_timeout.cancel()
