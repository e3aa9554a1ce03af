"""Who can be told something right now."""

from __future__ import annotations

from typing import Protocol

import attrs

from vinom.errors import Refused
from vinom.messages.catalogue import Push


class Listening(Protocol):
    """A player's live conversation."""

    def tell(self, push: Push) -> None:
        """Pass *push* on."""

    def warn(self, refusal: Refused) -> None:
        """Pass on what went wrong."""

    def end(self, refusal: Refused) -> None:
        """Say why, and hang up."""


@attrs.define
class Presence:
    """The players who have a live conversation; one each, the newest."""

    _listening: dict[str, Listening] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._listening)

    def enter(self, player_id: str, listening: Listening) -> Listening | None:
        """A player is here; gives the conversation that this one replaces."""
        older = self._listening.get(player_id)
        self._listening[player_id] = listening
        return None if older is listening else older

    def leave(self, player_id: str, listening: Listening) -> bool:
        """A conversation is over; ``False`` if a newer one goes on."""
        if self._listening.get(player_id) is not listening:
            return False
        del self._listening[player_id]
        return True

    def is_here(self, player_id: str) -> bool:
        """Can this player be told something?"""
        return player_id in self._listening

    def tell(self, player_id: str, push: Push) -> bool:
        """Tell a player; ``False`` if it is not here."""
        listening = self._listening.get(player_id)
        if listening is None:
            return False
        listening.tell(push)
        return True

    def warn(self, player_id: str, refusal: Refused) -> bool:
        """Tell a player what went wrong; ``False`` if it is not here."""
        listening = self._listening.get(player_id)
        if listening is None:
            return False
        listening.warn(refusal)
        return True
