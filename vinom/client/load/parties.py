"""Bots in parties: what a `Bot` plays with in place of a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from vinom.base.messages.lobby import QueueStatus
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.match import Match, MatchLost
from vinom.client.parties import LiveParty
from vinom.client.sdk import Client
from vinom.errors import Code

#: Pause before the next look at a party that is not ready, seconds.
_PAUSE = 0.1
#: Least time before the host queues again, seconds: the news may be on its way.
_AGAIN = 2.0


@attrs.define
class Invitation:
    """
    How the members of one party find each other.

    :ivar size: how many they are.
    :ivar party_id: empty before the first has created the party.
    :ivar token: its invite token.
    """

    size: int
    party_id: str = ""
    token: str = ""


class PartyClient:
    """
    Queue as one of a party: the host for all, as soon as all others are ready.

    :param clock: for delays; the reactor.
    :param client: logged in.
    :param invitation: shared by the members; the first creates the party.
    :param is_first: does this one?
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Client,
        invitation: Invitation,
        is_first: bool,
    ) -> None:
        self._clock, self._client = clock, client
        self._invitation, self._is_first = invitation, is_first

    def queue(
        self,
        game: str,
        options: Any,
        *,
        on_status: Callable[[QueueStatus], None] = lambda _: None,
        on_found: Callable[[Match], None],
    ) -> Deferred[Match]:
        """
        Wait for the next match of the party.

        :param on_status: not called: the party is told, not each of its members.
        :param on_found: called with it, also if its seat cannot be taken.

        Fails as `Client.queue`; cancelling leaves the queue.
        """
        return Deferred.fromCoroutine(self._queue(game, options, on_found))

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    async def _queue(
        self, game: str, options: Any, on_found: Callable[[Match], None]
    ) -> Match:
        party = await self._enter(game, options)
        before = self._client.match
        try:
            found = await self._next_match(party, game, options)
        except MatchLost:
            if (match := self._client.match) not in (None, before):
                assert match is not None
                on_found(match)
            raise
        on_found(found)
        return found

    async def _enter(self, game: str, options: Any) -> LiveParty:
        parties, invitation = self._client.parties, self._invitation
        if parties.party is not None:
            return parties.party
        if self._is_first:
            party = await parties.create(game, options)
            invitation.party_id, invitation.token = party.party_id, party.token
            return party
        while not invitation.party_id:
            await deferLater(self._clock, _PAUSE)
        return await parties.join(invitation.party_id, token=invitation.token)

    async def _next_match(self, party: LiveParty, game: str, options: Any) -> Match:
        # Before anybody queues: the match may be found at once.
        waiting = self._client.parties.next_match()
        asked_at = -_AGAIN
        try:
            while not waiting.called:
                if party.is_over:
                    raise LobbyRefusal(Code.NOT_IN_PARTY, "out of the party")
                if party.state == "idle":
                    now = self._clock.seconds()
                    if not party.is_host:
                        await self._mark(party)
                    elif self._is_complete(party) and now - asked_at >= _AGAIN:
                        asked_at = now
                        # It fails as the match that we wait for.
                        party.queue(game, options).addErrback(lambda _: None)
                await deferLater(self._clock, _PAUSE)
        except BaseException:
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            raise
        return await waiting

    def _is_complete(self, party: LiveParty) -> bool:
        others = [one for one in party.members if one.player_id != party.host]
        return len(others) == self._invitation.size - 1 and all(
            one.ready and one.connected for one in others
        )

    async def _mark(self, party: LiveParty) -> None:
        me = self._client.identity.player_id
        if any(one.player_id == me and not one.ready for one in party.members):
            try:
                await party.ready()
            except (LobbyRefusal, LineLost):
                # The party, or its line, is about to change.
                return
