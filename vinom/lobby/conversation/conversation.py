"""
One player's conversation: reads its line, passes requests on, and limits their rate.

`vinom.lobby.conversation.talk` keeps the order of requests and answers, without a clock
and without a line; this is its adapter. A `NodeConversation` is one with another node,
which asks a question or passes on what its player asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import attrs
from msgspec import json
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from vinom.base.limits.buckets import TokenBucket
from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.catalogue import decode_body
from vinom.base.messages.envelope import (
    UNREADABLE,
    Asked,
    Envelope,
    Push,
    Request,
    RequestId,
    Unusable,
    read_envelope,
    unusable,
)
from vinom.base.messages.lobby import (
    Hello,
    MatchEnded,
    MatchFound,
    QueueStatus,
    Reach,
    RoomFound,
    Welcome,
)
from vinom.base.messages.parties import (
    PartyClosed,
    PartyCreated,
    PartyUpdate,
    PrematchFound,
)
from vinom.base.messages.rooms import ROOM_REQUESTS
from vinom.base.model import Player
from vinom.base.reactor.waits import Waits
from vinom.errors import Code, PeerError, Refused, StoreUnavailable
from vinom.lobby.conversation.talk import Send, Talk, Work
from vinom.net.lines.tcp import LineProtocol
from vinom.net.nodes import (
    CAUGHT_UP,
    SLOW,
    Departed,
    Question,
    Visitor,
    read_opening,
)


class Line(Protocol):
    """
    The transport of a conversation: a TCP line or a WebSocket.

    It calls `Conversation.received`, `Conversation.caught_up` when it stops being
    behind, `Conversation.heard_out` when only the peer's half is closed, and
    `Conversation.lost` once.

    :ivar host: the peer's address.
    :ivar ends_at_match: `MatchFound` is the last message on it.
    :ivar opened_at: when the peer connected, seconds since the Unix epoch.
    """

    host: str
    ends_at_match: bool
    opened_at: float

    @property
    def is_behind(self) -> bool:
        """Is there data of earlier turns that the peer has not taken yet?"""

    @property
    def has_unsent(self) -> bool:
        """Does anything wait, sent in this turn too; or did it, when the line ended?"""

    def admitted(self) -> None:
        """The hello was accepted; a long one, with a token, no longer comes."""

    def send(self, message: bytes) -> None:
        """
        Send one message when the reactor's turn ends, in order, and never drop it.

        With too many unsent the line closes itself, and `Conversation.lost` follows.
        """

    def close(self, code: Code | None = None, reason: str = "") -> None:
        """
        Close when everything is sent.

        :param code: why; ``None`` if there is nothing more to send.
        :param reason: the same in words.
        """


@attrs.frozen
class Followed:
    """
    An answer that is followed at once by other messages.

    :ivar then: sends them.
    """

    push: Push
    then: Callable[[], None]


@attrs.frozen
class Bounds:
    """
    Limits of one conversation. Times: seconds.

    :ivar idle_seconds: silence after which the line of a player who waits for nothing
        is closed.
    :ivar rate: messages per second.
    :ivar burst: messages at once.
    :ivar actions: actions per second, twice that at once; counted apart from messages.
    """

    idle_seconds: float = 600.0
    rate: float = 10.0
    burst: float = 30.0
    actions: float = 100.0


#: What a request about rooms is answered; ``None`` for nothing.
RoomAnswer = Push | Followed | None


class Answering(Protocol):
    """
    Answers requests: `vinom.node.requests.Requests`, in a higher wing.

    :ivar errors: how many requests were refused, by code.
    :ivar hellos: conversations without a hello, until it is overdue.
    :ivar idle: all others, until the next check for silence.
    """

    errors: Counter[str]
    log: BoundedLog
    hellos: Waits
    idle: Waits

    async def greet(
        self, conversation: Conversation, hello: Hello
    ) -> tuple[Player, Welcome, list[Push]]:
        """Answer a hello; fails with `Refused`."""

    async def serve(
        self, conversation: Conversation, player: Player, request: Request
    ) -> Push:
        """Answer a request of the lobby; fails with `Refused`."""

    def serve_now(
        self, conversation: Conversation, player: Player, request: Request
    ) -> RoomAnswer | Deferred[RoomAnswer]:
        """Answer a request of rooms, if it has an answer; fails with `Refused`."""

    def look_again(self, player_ids: Sequence[str]) -> None:
        """Look where these players are, and send them that."""

    def lost(self, conversation: Conversation) -> None:
        """A conversation is over."""


@attrs.frozen(eq=False)
class Membership:
    """
    A player's membership of a room, made by the room.

    :ivar room: a `vinom.rooms.room.NodeRoom`: it receives the player's actions.
    :ivar member: who this player is in that room.
    """

    room: Any
    member: Any


#: Time for a hello, from the start of the connection, seconds.
_HELLO_SECONDS = 10.0
_NO_MEMBERSHIPS: Mapping[str, Membership] = MappingProxyType({})


class Conversation:
    """
    Carry one conversation.

    :ivar host: the peer's address.
    :ivar player: the player, once the hello is accepted.
    :ivar key_hash: of the key by which the player comes back; set by `Answering`.
    :ivar is_new_guest: has the player joined no room, nor been here before? Likewise.
    :ivar queue_state: as `QueueStatus` has it, as far as the player was sent.
    :ivar match_id: in which match the player is, as far as it was sent; or empty.
    :ivar moves_noted: how often it was sent that it moved, or its party changed; or
        should have been looked for during its hello.
    :ivar party_version: of its party, as far as it was sent.
    :ivar is_open: can messages still be sent?
    :ivar line: its transport.
    :ivar memberships: of which rooms this player is a member here, by room id.
    :ivar is_visiting: is the player's own line to another node, which asks this one?
    :ivar moves: which addresses of other nodes the player's client can follow.
    """

    is_visiting = False
    moves: Reach | None = None

    def __init__(
        self, requests: Answering, line: Line, clock: IReactorTime, bounds: Bounds
    ) -> None:
        """
        :param requests: answers its requests.
        :param line: its transport.
        :param clock: for rates and silence; its seconds are those of the Unix epoch.
        :param bounds: its limits.
        """
        self.host = line.host
        self.player: Player | None = None
        self.key_hash, self.is_new_guest = "", False
        self.line, self.memberships = line, _NO_MEMBERSHIPS
        self._actions: TokenBucket | None = None
        self._requests, self._clock, self._bounds = requests, clock, bounds
        self._bucket = TokenBucket(bounds.rate, bounds.burst)
        self._talk = Talk(ends_at_match=line.ends_at_match)
        self.queue_state, self.match_id = "idle", ""
        self.moves_noted = self.party_version = 0
        self.is_open = True
        self._complaints = TokenBucket(bounds.rate, bounds.burst)
        self._received_at = clock.seconds()
        self._catching_up: tuple[Callable[[], None], ...] = ()
        requests.hellos.add(self, line.opened_at + _HELLO_SECONDS)

    @property
    def is_in_play(self) -> bool:
        """Is a match of this player being prepared, or is it in a room?"""
        return self.queue_state == "matched" or bool(self.memberships)

    @property
    def party_id(self) -> str:
        """In which party is this player, as far as it was sent? Empty if in none."""
        return self._talk.party_id

    @property
    def is_queued(self) -> bool:
        """Does this player wait in a queue, or is it in a party?"""
        return self.queue_state == "waiting" or bool(self.party_id)

    def introduce(self, player: Player) -> None:
        """Begin without a hello: the player said it elsewhere."""
        self.player = player
        self._talk.introduced()
        self._requests.hellos.remove(self)

    # Calls of the line.

    def received(self, message: bytes) -> None:
        """Handle one whole message."""
        if not self.is_open:
            return
        self._received_at = now = self._clock.seconds()
        asked: Asked | Unusable
        try:
            envelope = read_envelope(message)
        except UNREADABLE as error:
            asked = unusable(error)
        else:
            if envelope.type == "action" and self.player is not None:
                self._act(envelope, now)
                return
            try:
                asked = decode_body(envelope)
            except Unusable as refusal:
                asked = refusal
        if not self._bucket.take(now):
            self._complain_of_rate(now, asked.id, self._bucket)
        elif isinstance(asked, Unusable):
            self._talk.misunderstood(asked, asked.id)
        elif isinstance(asked.request, Hello):
            self._talk.hello_arrived(asked)
        else:
            self._talk.request_arrived(asked)
        self._flush()

    def _act(self, envelope: Envelope, now: float) -> None:
        """Pass an action to its room, the shortest way: most messages are actions."""
        bucket = self._actions
        if bucket is None:
            # The player has not entered a room: it counts as any other message.
            bucket = self._bucket
        if not bucket.take(now):
            self._complain_of_rate(now, envelope.id, bucket)
            self._flush()
            return
        try:
            membership = self.membership(envelope.room_id)
            membership.room.act(membership.member, envelope)
        except Refused as refusal:
            self._talk.misunderstood(refusal, envelope.id)
            self._flush()

    def heard_out(self) -> None:
        """The peer closed its half of the line."""
        self._talk.heard_out()
        self._flush()

    def lost(self) -> None:
        """The line is closed."""
        self._talk.lost()
        self._over()

    def caught_up(self) -> None:
        """The peer has taken everything that was sent."""
        waiting, self._catching_up = self._catching_up, ()
        for call in waiting:
            call()

    # Rooms.

    def membership(self, room_id: str | None) -> Membership:
        """
        Find the membership that is meant; ``None`` means the only one.

        :raises Refused: there is none, or there are several.
        """
        if room_id is None and len(self.memberships) == 1:
            (room_id,) = self.memberships
        found = self.memberships.get(room_id or "")
        if found is not None:
            return found
        if room_id is None and self.memberships:
            raise Refused(
                Code.WHICH_ROOM,
                "you are in several rooms: set room_id",
                {"field": "room_id", "rooms": sorted(self.memberships)},
            )
        raise Refused(Code.NOT_IN_ROOM, "you are not in this room; join it first")

    def entered(self, room_id: str, membership: Membership) -> None:
        """The player is a member of a room now, by this conversation."""
        if self._actions is None:
            rate = self._bounds.actions
            self._actions = TokenBucket(rate, 2 * rate)
        self.memberships = {**self.memberships, room_id: membership}

    def departed(self, room_id: str) -> None:
        """This conversation no longer stands for a member of that room."""
        others = ((key, one) for key, one in self.memberships.items() if key != room_id)
        self.memberships = dict(others)

    # Calls of the rest of the node.

    def when_caught_up(self, call: Callable[[], None]) -> None:
        """Call *call* once, when the peer stops being behind; never if it is lost."""
        self._catching_up = (*self._catching_up, call)

    def pass_on(self, message: bytes) -> None:
        """Send the player a message that others get too; it changes nothing here."""
        if self.is_open and self.player is not None:
            self.line.send(message)

    def send(self, push: Push, is_passed: bool = False) -> bool:
        """
        Send the player what happened, unless it knows its party as it was after that.

        `MatchFound` may end the line.

        :param is_passed: another node sent it, perhaps before what this one has read.
        :returns: ``False`` if that must be looked up: a match of a player who waits for
            none, or a party that the player is not in, instead; after the end of a
            match, too, for its player may wait again since.
        """
        if is_passed:
            is_found = isinstance(push, QueueStatus | PrematchFound | MatchFound)
            if is_found and self.queue_state == "idle":
                return False
            if isinstance(push, PartyUpdate) and push.party.party_id != self.party_id:
                return False
        if self._note(push):
            self._talk.pushed(push)
            self._flush()
        return not (is_passed and isinstance(push, MatchEnded))

    def warn(self, refusal: Refused) -> None:
        """Send the player what went wrong."""
        self._talk.warned(refusal)
        self._flush()

    def refuse(self, refusal: Refused, id: RequestId) -> None:
        """Refuse a request that was passed on earlier."""
        self._talk.misunderstood(refusal, id)
        self._flush()

    def end(self, refusal: Refused) -> None:
        """Send the reason, and close the line."""
        self._talk.ended(refusal)
        self._flush()

    def _complain_of_rate(self, now: float, id: RequestId, bucket: TokenBucket) -> None:
        """Refuse a message for its rate; end the line of a player who does not stop."""
        wait = bucket.wait(now)
        refusal = Refused(
            Code.RATE_LIMITED, "too many messages", {"retry_after": round(wait, 3)}
        )
        self._talk.misunderstood(refusal, id)
        if not self._complaints.take(now):
            self._requests.log.info(
                "disconnected {host}: too many messages",
                host=self.host,
                player_id=None if self.player is None else self.player.player_id,
            )
            self._talk.ended(refusal)

    def _flush(self) -> None:
        talk = self._talk
        while outbox := talk.outbox:
            talk.outbox = []
            for item in outbox:
                if type(item) is Send:
                    self.line.send(item.message)
                    if item.code:
                        self._requests.errors[item.code] += 1
                elif type(item) is Work:
                    self._start(item.asked.request)
                else:
                    self.line.close(item.code, item.reason)
                    self._over()

    def _start(self, request: Request) -> None:
        if type(request) in ROOM_REQUESTS:
            # Hardly any waits: a coroutine would only cost time.
            self._work_now(request)
            return
        work = self._work(request)
        try:
            work.send(None)
        except StopIteration:
            # Most requests do not wait; a Deferred would cost as much as the answer.
            return
        # It continues when the Deferred that it waits for has a result.
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: self._requests.log.failure("conversation failed", failure)
        )

    def _work_now(self, request: Request) -> None:
        assert self.player is not None
        try:
            found = self._requests.serve_now(self, self.player, request)
        except Exception as error:
            self._not_done(request, error)
            return
        if not isinstance(found, Deferred):
            self._answer(found)
            return
        # The room may have been on a node that died: the store is asked.
        found.addCallbacks(
            self._answer, lambda failure: self._not_done(request, failure.value)
        )
        found.addCallback(lambda _: self._flush())
        found.addErrback(
            lambda failure: self._requests.log.failure("conversation failed", failure)
        )

    def _answer(self, found: RoomAnswer) -> None:
        """Answer a request about rooms."""
        if found is None:
            self._talk.done()
        elif isinstance(found, Followed):
            self._talk.answered_first(found.push)
            # The other messages come right after the answer.
            self._flush()
            found.then()
            self._talk.done()
        else:
            self._talk.answered(found)

    async def _work(self, request: Request) -> None:
        try:
            if isinstance(request, Hello):
                await self._greet(request)
            else:
                assert self.player is not None
                before = self.queue_state, self.match_id
                push = await self._requests.serve(self, self.player, request)
                has_moved = before != (self.queue_state, self.match_id)
                self._talk.answered(push)
                if not self._note(push) or has_moved:
                    # The player takes this answer for the newest.
                    self._requests.look_again([self.player.player_id])
        except Exception as error:
            self._not_done(request, error)
        self._flush()

    def _not_done(self, request: Request, error: Exception) -> None:
        """Refuse a request that failed."""
        match error:
            case Refused():
                refusal = error
                # A peer above its rate must not fill the log as well.
                if isinstance(request, Hello) and error.code is not Code.RATE_LIMITED:
                    self._requests.log.info(
                        "refused a hello from {host}: {code}, {why}",
                        host=self.host,
                        code=error.code.value,
                        why=error.message,
                    )
            case StoreUnavailable():
                # The store logs once that it is away, and counts the calls.
                refusal = error.refusal()
            case _:
                failure = Failure(error)
                self._requests.log.failure(
                    "a request failed: {request}", failure, request=type(request)
                )
                refusal = Refused(
                    Code.INTERNAL, "internal error; it is in the server's log"
                )
        self._talk.refused(refusal)

    async def _greet(self, hello: Hello) -> None:
        player, welcome, missed = await self._requests.greet(self, hello)
        has_moved = self.moves_noted > 0
        self.player, self.moves = player, hello.moves
        self.line.admitted()
        for push in missed:
            self._note(push)
        self._talk.admitted(welcome, missed)
        if self.is_open:
            self._requests.hellos.remove(self)
            self._requests.idle.add(
                self, self._clock.seconds() + self._bounds.idle_seconds
            )
        if has_moved:
            # What came during the hello may be newer than what was read for it.
            self._requests.look_again([player.player_id])

    def _note(self, push: Push) -> bool:
        """
        Store whether this player waits for a match, and its party.

        :returns: ``False`` if the player knows its party as it was after that.
        """
        match push:
            case PartyUpdate(party=party) if (
                party.party_id == self.party_id and party.version < self.party_version
            ):
                return False
            case QueueStatus(state=state):
                self.queue_state, self.match_id = state, ""
            case PrematchFound():
                # Who is asked waits.
                self.queue_state, self.match_id = "waiting", ""
            case MatchFound(match_id=match_id):
                self.queue_state, self.match_id = "idle", match_id
            case RoomFound():
                self.queue_state, self.match_id = "idle", ""
            case MatchEnded(match_id=match_id):
                # News of an older match may come late.
                if self.queue_state == "matched" or self.match_id == match_id:
                    self.queue_state, self.match_id = "idle", ""
            case PartyUpdate(party=party) | PartyCreated(party=party):
                self._talk.party_id = party.party_id
                self.party_version = party.version
            case PartyClosed():
                self._talk.party_id = ""
            case _:
                return True
        self.moves_noted += 1
        return True

    def overdue(self) -> None:
        """End the conversation if the hello is missing, or the player was silent."""
        if self.player is None:
            self._talk.overdue()
            self._flush()
            return
        now, timeout = self._clock.seconds(), self._bounds.idle_seconds
        if self.is_in_play or self.is_queued:
            self._requests.idle.add(self, now + timeout)
        elif now >= self._received_at + timeout:
            self.end(
                Refused(Code.TIMEOUT, "no message came for too long; connect again")
            )
        else:
            self._requests.idle.add(self, self._received_at + timeout)

    def _over(self) -> None:
        if self.is_open:
            self.is_open = False
            self._catching_up = ()
            self._requests.hellos.remove(self)
            self._requests.idle.remove(self)
            self._requests.lost(self)


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

    def lost(self) -> None:
        # What was on the link may not have reached the player.
        self._channel.cut()
        super().lost()

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
