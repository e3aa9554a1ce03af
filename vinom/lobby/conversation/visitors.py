"""Players of other nodes, in rooms of this one: conversations over node links."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from vinom.base.model import Player
from vinom.errors import Code
from vinom.lobby.conversation.conversation import Answering, Bounds, Conversation
from vinom.net.lines.forwarded import behind_proxy
from vinom.net.nodes import OpenVisit, Receive, Visitor, VisitorWire


class VisitorLine:
    """
    The line of a player whose own line is to another node.

    What is sent is that node's task from then on; it limits how much may wait.

    :ivar host: the player's address, as the other node knows it.
    :ivar is_behind: does what was sent wait for the player to take it?
    """

    ends_at_match = False

    def __init__(self, wire: VisitorWire, host: str, opened_at: float) -> None:
        """
        :param wire: to the other node.
        :param host: see the attributes.
        :param opened_at: seconds since the Unix epoch.
        """
        self.host, self.opened_at = host, opened_at
        self.is_behind = False
        self._wire, self._is_cut = wire, False

    @property
    def has_unsent(self) -> bool:
        """Has the player perhaps not received everything?"""
        return self.is_behind or self._is_cut

    def admitted(self) -> None:
        """There is no hello."""

    def send(self, message: bytes) -> None:
        self._wire.passed(message)

    def departed(self, room_id: str) -> None:
        """Send that the player is no longer in a room."""
        self._wire.departed(room_id)

    def close(self, code: Code | None = None, reason: str = "") -> None:
        """End the visit."""
        self._wire.over("" if code is None else code.value, reason)

    def cut(self) -> None:
        """The visit has ended at the other node; it may not have sent everything."""
        self._is_cut = True


class VisitingPlayer(Conversation):
    """A conversation with a player of another node, which has said who it is."""

    is_visiting = True

    def __init__(
        self,
        requests: Answering,
        line: VisitorLine,
        clock: IReactorTime,
        bounds: Bounds,
        player: Player,
    ) -> None:
        super().__init__(requests, line, clock, bounds)
        self._visit, self._later = line, clock
        self.introduce(player)

    def departed(self, room_id: str) -> None:
        """
        The player is no longer in a room: its own node counts rooms, too.

        It is sent after what the room still sends in this turn, its end for example.
        """
        super().departed(room_id)
        self._later.callLater(0, self._send_departed, room_id)

    def _send_departed(self, room_id: str) -> None:
        if self.is_open and room_id not in self.memberships:
            self._visit.departed(room_id)

    def slowed(self, is_behind: bool) -> None:
        """The player does not take what is sent, or does again."""
        was_behind, self._visit.is_behind = self._visit.is_behind, is_behind
        if was_behind and not is_behind:
            self.caught_up()

    def lost(self) -> None:
        self._visit.cut()
        super().lost()


def receiving(requests: Answering, clock: IReactorTime, bounds: Bounds) -> Receive:
    """
    Make what serves players of other nodes.

    :param requests: answers their requests.
    :param clock: its seconds are those of the Unix epoch.
    :param bounds: of each conversation.
    """

    def receive(asked: OpenVisit, wire: VisitorWire) -> Visitor:
        player = Player(asked.player_id, asked.name, asked.claims, asked.is_guest)
        # What is an address of that machine is none of this one.
        line = VisitorLine(wire, behind_proxy(asked.host), clock.seconds())
        return VisitingPlayer(requests, line, clock, bounds, player)

    return receive
