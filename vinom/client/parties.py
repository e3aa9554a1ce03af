"""A player's party, over one lobby line that is made again whenever it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from vinom.base.messages.envelope import Failed, Push, Request
from vinom.base.messages.lobby import (
    Cancel,
    MatchFound,
    Ping,
    Queue,
    QueueStatus,
    RoomFound,
)
from vinom.base.messages.parties import (
    UNCHANGED,
    CreateParty,
    InviteToParty,
    JoinParty,
    KickFromParty,
    LeaveParty,
    ListParties,
    PartyClosed,
    PartyCreated,
    PartyFacts,
    PartyInvite,
    PartyList,
    PartySeat,
    PartyToken,
    PartyUpdate,
    PartyView,
    PrematchFound,
    PromoteInParty,
    ReadyInParty,
)
from vinom.client.line import LineLost, LobbyLine, LobbyRefusal
from vinom.client.lobby import (
    PASSING_ON_RETURN,
    Answer,
    LineUser,
    Offer,
    RoomOffered,
    SharedLine,
    accept,
    offer,
    raw,
)
from vinom.client.match import Match
from vinom.errors import Code


class LiveParty:
    """
    A party that we are in. Made by `PlayerParties`.

    :param parties: sends what we do.
    :param view: how it is.
    :param token: its invite token, if we created it.
    :ivar party_id: its id.
    :ivar token: its invite token, if we know it: give it and `party_id` to friends.
    :ivar is_over: are we out of it?
    :ivar closed: fires with the reason when we are out: ``left``, ``kicked``, ``away``,
        ``lost``, or the code for which the lobby does not let us in; never fails.
    """

    def __init__(
        self, parties: PlayerParties, view: PartyView, token: str = ""
    ) -> None:
        self._parties, self._view = parties, view
        self.party_id, self.token = view.party_id, token
        self.is_over = False
        self.closed: Deferred[str] = Deferred()
        self._listeners: list[Callable[[LiveParty], None]] = []

    @property
    def host(self) -> str:
        """Id of the member who is the host."""
        return self._view.host

    @property
    def is_host(self) -> bool:
        """Are we the host?"""
        return self._view.host == self._parties.player_id

    @property
    def members(self) -> tuple[PartySeat, ...]:
        """Who is in it, in the order in which they joined."""
        return self._view.members

    @property
    def state(self) -> str:
        """What it does: ``idle``, ``in_queue``, ``prematch`` or ``in_game``."""
        return self._view.state

    def on_change(self, call: Callable[[LiveParty], None]) -> None:
        """Call this when it has changed."""
        self._listeners.append(call)

    def ready(self, is_ready: bool = True, loadout: Any = None) -> Deferred[None]:
        """Show the others whether we are ready, and set what we bring."""
        brings = UNCHANGED if loadout is None else raw(loadout)
        return self._change(ReadyInParty(is_ready, brings))

    def invite(self, player_id: str) -> Deferred[None]:
        """Invite a player, who then needs no token."""
        return self._change(InviteToParty(player_id))

    def renew_token(self) -> Deferred[str]:
        """Make a new invite token; the old one is no longer valid."""

        def keep(found: PartyToken) -> str:
            self.token = found.token
            return found.token

        asked = self._parties.ask(InviteToParty(), PartyToken)
        return asked.addCallback(keep)

    def kick(self, player_id: str) -> Deferred[None]:
        """Remove a member for good."""
        return self._change(KickFromParty(player_id))

    def promote(self, player_id: str) -> Deferred[None]:
        """Make another member the host."""
        return self._change(PromoteInParty(player_id))

    def leave(self) -> Deferred[None]:
        return self._parties.ask(LeaveParty(), PartyClosed).addCallback(
            lambda found: self.end(found.reason)
        )

    def queue(
        self,
        game: str,
        options: Any = None,
        loadout: Any = None,
        *,
        queue: str | None = None,
    ) -> Deferred[Match]:
        """
        Queue for all members; only the host can.

        :param game: its name.
        :param options: of the game, JSON-like.
        :param loadout: what we bring; others set theirs with `ready`.
        :param queue: name of a queue of the game; its default one unless given.

        Fires when our seat is taken; the others wait with `next_match`. Fails with
        `LobbyRefusal`, also when the party leaves the queue, or `LineLost`. Cancelling
        leaves the queue.
        """
        return self._parties.queue(Queue(game, raw(options), raw(loadout), queue))

    def next_match(self) -> Deferred[Match]:
        """Wait for the next match of the party; fires when our seat is taken."""
        return self._parties.next_match()

    def cancel(self) -> Deferred[None]:
        """Leave the queue with the whole party; only the host can."""
        return self._parties.ask(Cancel(), QueueStatus).addCallback(lambda _: None)

    # What the line brings.

    def become(self, view: PartyView) -> None:
        """Note how it is now."""
        if view == self._view:
            return
        self._view = view
        for call in tuple(self._listeners):
            call(self)

    def end(self, reason: str) -> None:
        """Note that we are out."""
        if not self.is_over:
            self.is_over = True
            self.closed.callback(reason)

    def _change(self, request: Request) -> Deferred[None]:
        return self._parties.ask(request, PartyUpdate).addCallback(
            lambda found: self.become(found.party)
        )


class PlayerParties(LineUser):
    """
    Be in one party after another.

    :param shared: the player's line.
    :param begin: takes a seat in a match.
    :ivar party: the one that we are in.
    """

    def __init__(
        self,
        shared: SharedLine,
        begin: Callable[[MatchFound], Deferred[Match]],
    ) -> None:
        self._shared, self._begin = shared, begin
        shared.users.append(self)
        self.party: LiveParty | None = None
        self._matches: list[Deferred[Match]] = []
        self._last_match = ""
        self._on_invite: list[Callable[[PartyInvite], None]] = []
        self._on_offer: Callable[[Offer], None] = accept
        self._is_replaced = self._is_confirmed = self._has_left = False

    @property
    def player_id(self) -> str:
        return self._shared.lobby.identity.player_id

    def create(
        self,
        game: str | None = None,
        options: Any = None,
        *,
        password: str | None = None,
        is_open: bool = False,
        loadout: Any = None,
    ) -> Deferred[LiveParty]:
        """
        Form a party; we are its host.

        :param game: what it is for; it filters lists, and limits the party's size.
        :param options: of the game, JSON-like.
        :param password: lets in those who have it.
        :param is_open: list it; anybody may join, with the password if there is one.
        :param loadout: what we bring, JSON-like.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        request = CreateParty(game, raw(options), password, is_open, raw(loadout))
        return self.ask(request, PartyCreated).addCallback(
            lambda found: self._enter(found.party, found.token)
        )

    def join(
        self,
        party_id: str,
        *,
        token: str | None = None,
        password: str | None = None,
        loadout: Any = None,
    ) -> Deferred[LiveParty]:
        """
        Join a party.

        :param party_id: its id.
        :param token: its invite token.
        :param password: its password, instead.
        :param loadout: what we bring, JSON-like.

        Fails with `LobbyRefusal` or `LineLost`.
        """
        request = JoinParty(party_id, token, password, raw(loadout))
        return self.ask(request, PartyUpdate).addCallback(
            lambda found: self._enter(found.party)
        )

    def open_parties(self, game: str | None = None) -> Deferred[tuple[PartyFacts, ...]]:
        """List parties that we could join, the newest first."""
        return self.ask(ListParties(game), PartyList).addCallback(
            lambda found: found.parties
        )

    def on_invite(self, call: Callable[[PartyInvite], None]) -> Deferred[None]:
        """
        Call this when a host invites us; fires when we can be reached.

        `join` needs no token then.
        """
        self._on_invite.append(call)
        self._has_left = False
        return self._shared.open().addCallback(lambda _: None)

    def on_offer(self, call: Callable[[Offer], None]) -> None:
        """Call this when a match waits for our yes, instead of accepting it."""
        self._on_offer = call

    def close(self) -> None:
        """
        Hang up, unless our rooms need the line; the server keeps us in the party for as
        long as its settings say.
        """
        self._has_left = True
        self._shared.release()

    # What a party sends.

    def ask(self, request: Request, kind: type[Answer]) -> Deferred[Answer]:
        """
        Send a request; fires with its answer.

        :param kind: of the answer.
        """
        return Deferred.fromCoroutine(self._ask(request, kind))

    def queue(self, queue: Queue) -> Deferred[Match]:
        """Queue, and wait for the match."""
        match = self.next_match()

        self.ask(queue, QueueStatus).addErrback(self._no_match)
        return match

    def next_match(self) -> Deferred[Match]:
        """Wait for a match."""

        def give_up(waiting: Deferred[Match]) -> None:
            self._matches.remove(waiting)
            self.ask(Cancel(), QueueStatus).addErrback(lambda _: None)

        waiting: Deferred[Match] = Deferred(give_up)
        self._matches.append(waiting)
        return waiting

    # The line.

    async def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        self._has_left = False
        return await self._shared.ask(request, kind)

    def may_move(self) -> bool:
        return self.party is None

    def opened(self, line: LobbyLine) -> None:
        self._is_replaced = self._is_confirmed = False
        if self.party is not None:
            # Its update comes with the welcome, and so before the answer to a ping.
            line.ask(Ping()).addCallbacks(self._look, lambda _: None)

    def _look(self, _: Push) -> None:
        """We are in our party no more if the lobby does not say that we are."""
        if not self._is_confirmed:
            self._out("lost")

    def is_needed(self) -> bool:
        # Our own match may have replaced the line to look for itself: then a later
        # request, or the end of the match, makes another.
        return self._is_wanted() and not self._is_replaced

    def _is_wanted(self) -> bool:
        is_wanted = bool(self.party or self._matches or self._on_invite)
        return is_wanted and not self._has_left

    def kept_out(self, why: LineLost | LobbyRefusal, seconds: float) -> None:
        if isinstance(why, LobbyRefusal) and why.code not in PASSING_ON_RETURN:
            self._no_match(Failure(why))
            is_forgotten = why.code == Code.UNKNOWN_PLAYER_KEY
            self._out("lost" if is_forgotten else why.code)

    # What it brings.

    def receive(self, push: Push | Failed) -> None:
        if isinstance(push, Failed):
            if push.code == Code.REPLACED:
                self._is_replaced = True
        elif isinstance(push, PartyUpdate):
            self._is_confirmed = True
            if self.party is None or self.party.party_id != push.party.party_id:
                self._enter(push.party)
            else:
                self.party.become(push.party)
        elif isinstance(push, PartyClosed):
            self._out(push.reason)
        elif isinstance(push, PartyInvite):
            for call in tuple(self._on_invite):
                call(push)
        elif isinstance(push, PrematchFound) and self.party is not None:
            self._on_offer(offer(push, lambda request: self.ask(request, Push)))
        elif isinstance(push, MatchFound):
            self._found(push)
        elif isinstance(push, RoomFound):
            self._no_match(Failure(RoomOffered(push.room_id, push.game)))
        elif isinstance(push, QueueStatus) and push.state == "idle":
            self._no_match(
                Failure(LobbyRefusal(Code.NOT_QUEUED, "the party left the queue"))
            )

    def _enter(self, view: PartyView, token: str = "") -> LiveParty:
        self._is_confirmed = True
        party = self.party
        if party is None or party.party_id != view.party_id:
            self._out("lost")
            party = self.party = LiveParty(self, view, token)
        party.token = token or party.token
        party.become(view)
        return party

    def _out(self, reason: str) -> None:
        party, self.party = self.party, None
        if party is not None:
            party.end(reason)
            why = f"you are not in this party any more: {reason}"
            self._no_match(Failure(LobbyRefusal(Code.NOT_IN_PARTY, why)))

    def _found(self, found: MatchFound) -> None:
        if found.match_id == self._last_match:
            return
        self._last_match = found.match_id
        waiting, self._matches = self._matches, []
        if not waiting:
            return
        begun = self._begin(found)

        def passed_on(result: Match | Failure) -> None:
            for one in waiting:
                one.callback(result)
            if isinstance(result, Match):
                result.ended.addBoth(lambda _: self._match_over())

        begun.addBoth(passed_on)

    def _match_over(self) -> None:
        if (
            self._shared.line is None
            and not self._shared.is_closed
            and self._is_wanted()
        ):
            self._is_replaced = False
            self._shared.look_again()

    def _no_match(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        waiting, self._matches = self._matches, []
        for one in waiting:
            one.errback(failure)
