"""What other nodes ask, each on its own channel: a question, or a player's visit."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import json
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from vinom.base.model import Player
from vinom.errors import Code, PeerError
from vinom.lobby.conversation.conversation import Answering, Bounds, Conversation
from vinom.net.lines.tcp import LineProtocol
from vinom.net.nodes import (
    CAUGHT_UP,
    SLOW,
    Departed,
    Question,
    Visitor,
    read_opening,
)

#: Answers a question with one line, or fails: then the asker is sent the reason.
Answer = Callable[[Question], Deferred[bytes]]


class NodeConversation(Conversation):
    """
    A conversation with another node, on one channel of its link.

    Its first line is a question; or it names a player of that node, whose requests
    about rooms follow.
    """

    is_visiting = True

    def __init__(
        self,
        answer: Answer,
        requests: Answering,
        line: LineProtocol,
        clock: IReactorTime,
        bounds: Bounds,
    ) -> None:
        """
        :param answer: answers questions.
        :param requests: answers requests of players.
        :param line: the channel.
        :param clock: its seconds are those of the Unix epoch.
        :param bounds: of a player's requests.
        """
        super().__init__(requests, line, clock, bounds)
        self._answer_question, self._channel, self._later = answer, line, clock
        self._is_asked = self._is_slow = False

    def received(self, message: bytes) -> None:
        if self.player is None:
            self._begin(message)
        elif message == SLOW:
            self._is_slow = self._channel.is_behind = True
        elif message == CAUGHT_UP:
            self._is_slow = self._channel.is_behind = False
            if self._channel.has_unsent:
                # Later: the other node itself does not read.
                self._channel.is_behind = True
            else:
                self._channel.resumeProducing()
        else:
            super().received(message)

    def _begin(self, message: bytes) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        try:
            asked = read_opening(message)
            if isinstance(asked, Visitor):
                self.introduce(
                    Player(asked.player_id, asked.name, asked.claims, asked.is_guest)
                )
                return
        except (PeerError, ValueError) as error:
            self._channel.close(Code.BAD_MESSAGE, str(error))
            return
        self._answer_question(asked).addCallbacks(self._answered, self._refused)

    def _answered(self, answer: bytes) -> None:
        self._channel.send(answer)
        self._channel.close()

    def _refused(self, failure: Failure) -> None:
        self._channel.close(Code.UNAVAILABLE, str(failure.value))

    def caught_up(self) -> None:
        """The other node reads again; the player, too?"""
        if self._is_slow:
            self._channel.is_behind = True
        else:
            super().caught_up()

    def departed(self, room_id: str) -> None:
        """
        The player is no longer in a room: its own node counts rooms, too.

        It is sent after what the room still sends in this turn, its end for example.
        """
        super().departed(room_id)
        self._later.callLater(0, self._send_departed, room_id)

    def _send_departed(self, room_id: str) -> None:
        if self.is_open and room_id not in self.memberships:
            self._channel.send(json.encode(Departed(room_id)))
