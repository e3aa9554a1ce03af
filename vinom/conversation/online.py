"""Players who are connected now, and sending to them."""

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

    Nothing acknowledges a message: a player who is away misses it, and is sent the
    present state after the next hello.
    """

    def is_here(player_id: str) -> bool:
        """Is this player connected to this node?"""

    def send(player_ids: Iterable[str], push: Push) -> None:
        """Send *push* to each of these players, at any node."""

    def warn(player_ids: Iterable[str], refusal: Refused) -> None:
        """Send each of these players what went wrong."""


@implementer(IOnline)
@attrs.define
class Online:
    """
    The players of a single node, in memory.

    Each player has one conversation, the newest.
    """

    _conversations: dict[str, Conversation] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._conversations)

    def enter(self, player_id: str, conversation: Conversation) -> Conversation | None:
        """Add a player's conversation; return the one that it replaces."""
        older = self._conversations.get(player_id)
        self._conversations[player_id] = conversation
        return None if older is conversation else older

    def leave(self, player_id: str, conversation: Conversation) -> bool:
        """Remove a conversation that is over; ``False`` if a newer one replaced it."""
        if self._conversations.get(player_id) is not conversation:
            return False
        del self._conversations[player_id]
        return True

    def is_here(self, player_id: str) -> bool:
        """Is this player connected?"""
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
