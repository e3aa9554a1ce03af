"""Players who can be sent something right now."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from zope.interface import Interface, implementer

from vinom.conversation.conversation import Conversation
from vinom.errors import Refused
from vinom.messages.envelope import Push


class IOnline(Interface):
    """
    The players who have a conversation with a node of this deployment.

    Messages go out without an answer: a player who is away misses them, and is sent
    where it stands after its next hello.
    """

    def is_here(player_id: str) -> bool:
        """Has this player a conversation with this node?"""

    def send(player_ids: Iterable[str], push: Push) -> None:
        """Send *push* to each of these players, whichever node they are at."""

    def warn(player_ids: Iterable[str], refusal: Refused) -> None:
        """Send each of these players what went wrong."""


@implementer(IOnline)
@attrs.define
class Online:
    """
    Players of a single node, in its memory.

    Each has one conversation, the newest.
    """

    _conversations: dict[str, Conversation] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._conversations)

    def enter(self, player_id: str, conversation: Conversation) -> Conversation | None:
        """A player is here; gives the conversation that this one replaces."""
        older = self._conversations.get(player_id)
        self._conversations[player_id] = conversation
        return None if older is conversation else older

    def leave(self, player_id: str, conversation: Conversation) -> bool:
        """A conversation is over; ``False`` if a newer one goes on."""
        if self._conversations.get(player_id) is not conversation:
            return False
        del self._conversations[player_id]
        return True

    def is_here(self, player_id: str) -> bool:
        """Has this player a conversation?"""
        return player_id in self._conversations

    def send(self, player_ids: Iterable[str], push: Push) -> None:
        """Send *push* to those of these players who are here."""
        for player_id in player_ids:
            conversation = self._conversations.get(player_id)
            if conversation is not None:
                conversation.send(push)

    def warn(self, player_ids: Iterable[str], refusal: Refused) -> None:
        """Send what went wrong to those of these players who are here."""
        for player_id in player_ids:
            conversation = self._conversations.get(player_id)
            if conversation is not None:
                conversation.warn(refusal)
