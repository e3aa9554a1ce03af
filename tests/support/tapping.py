"""Players of `tests.support.counting`, who check that nothing they did is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from vinom.client.line import LobbyLine, LobbyRefusal
from vinom.client.lobby import LobbyClient
from vinom.client.rooms import LiveRoom
from vinom.tools.commands.child_node import ChildNode


@implementer(IStreamClientEndpoint)
class Balancer:
    """
    Reaches the first node that accepts, as a TCP balancer in front of all would.

    :ivar nodes: all that there are; the tests share and change it.
    :ivar first: which of them to try first.
    """

    def __init__(self, nodes: list[ChildNode], first: int) -> None:
        self.nodes, self.first = nodes, first

    def connect(self, factory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        nodes, first = tuple(self.nodes), self.first
        refused: Exception | None = None
        for node in (*nodes[first:], *nodes[:first]):
            endpoint = TCP4ClientEndpoint(reactor, node.host, node.port)
            try:
                if (checked := getattr(node, "own_port", None)) is not None:
                    # A gateway accepts whether its node does or not. Balancers check.
                    own = TCP4ClientEndpoint(reactor, node.host, checked)
                    probe = await connectProtocol(own, Protocol())
                    probe.transport.loseConnection()
                return await endpoint.connect(factory)
            except ConnectError as error:
                refused = error
        assert refused is not None
        raise refused


class Watched(LobbyClient):
    """
    Notes refused hellos.

    :ivar refused: their codes.
    """

    refused: list[str]

    def open_line(self, *given: Any, **named: Any) -> Deferred[LobbyLine]:
        return super().open_line(*given, **named).addErrback(self._note)

    def _note(self, failure: Any) -> Any:
        if failure.check(LobbyRefusal):
            self.refused.append(failure.value.code)
        return failure


class Player:
    """
    Taps, and checks what comes of it.

    :ivar sent: how often it has tapped.
    :ivar wrong: what must not be.
    """

    def __init__(self, room: LiveRoom) -> None:
        self.room, self.sent = room, 0
        self.wrong: list[str] = []
        self._before: tuple[int, list[int]] = (0, [])
        self._numbers: list[int] = []
        room.on_state(self._seen)
        room.closed.addCallback(
            lambda result: self.wrong.append(f"the room closed: {result.reason}")
        )

    @property
    def count(self) -> int:
        """How often it has tapped, as the server knows it."""
        assert self.room.seat is not None
        return int(self.room.view[self.room.seat]) if self.room.view else 0

    def tap(self) -> None:
        """Do one more."""
        number = self.room.act({})
        if number:
            self.sent += 1
            self._numbers.append(number)

    def _seen(self, room: LiveRoom) -> None:
        version, counts = self._before
        if room.version < version:
            self.wrong.append(f"version {room.version} after {version}")
        if any(new < old for new, old in zip(room.view, counts, strict=False)):
            self.wrong.append(f"counts {room.view} after {counts}")
        acked = sum(number <= room.acked for number in self._numbers)
        if self.count < acked:
            self.wrong.append(f"{self.count} counted of {acked} acknowledged")
        self._before = room.version, [*room.view]


def is_settled(player: Player) -> bool:
    """Is there an answer to all it did?"""
    return player.room.is_connected and player.count >= player.sent


def are_connected(players: Sequence[Player]) -> bool:
    """Are all in their seats?"""
    return all(player.room.is_connected for player in players)
