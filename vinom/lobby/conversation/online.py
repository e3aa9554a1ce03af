"""
Players who are connected now, and sending to them; and those who are away: for how long
they are expected back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.limits.logged import in_background, log_unless_away
from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import Failed, Push, Told, encode_failure, encode_push
from vinom.base.model import LineEnd, Player, Prematch, Whereabouts
from vinom.base.reactor.alarm import Timer
from vinom.base.reactor.waits import Repeating
from vinom.errors import Code, PeerError, Refused, StoreUnavailable
from vinom.lobby.conversation.conversation import Conversation
from vinom.store.interfaces import IOnlineStore, IOnlineWatch
from vinom.store.patience import RETRY_SECONDS, if_unsure

#: A message to nodes: look where these players are, and send them what they missed.
_LOOK = b""
#: Lines that one step records again.
_AT_ONCE = 500
#: How often lines are recorded again: much less than their lifetime in the store,
#: seconds.
REPORT_SECONDS = 3600.0
#: Until they are recorded once more if the store did not answer, seconds.
_REPORT_AGAIN = 1.0


def replaced() -> Refused:
    """Make the reason why an older line of a player is closed."""
    return Refused(Code.REPLACED, "you said hello on another line")


@attrs.define
class _Reports:
    """
    Lines of a player that are being reported.

    :ivar count: how many.
    :ivar replaced: the highest epoch that another node has replaced meanwhile.
    """

    count: int = 0
    replaced: int = 0


@implementer(IOnlineWatch)
@attrs.define(eq=False)
class Online:
    """
    The players of this node, in memory, and the way to those of the others.

    Each player has one conversation, the newest. Nothing acknowledges a message: a
    player who is away misses it, and is sent the present state after the next hello.

    :ivar store: which node has a player's line; ``None`` if there is only this node.
    :ivar missed: called when messages of other nodes may have been missed: by these
        players, or by any.
    :ivar not_sent: called when messages to other nodes were not sent.
    """

    store: IOnlineStore | None = None
    missed: Callable[[Sequence[str] | None], None] = attrs.field(
        default=lambda _: None, init=False
    )
    not_sent: Callable[[], object] = attrs.field(default=lambda: None, init=False)
    _conversations: dict[str, Conversation] = attrs.field(factory=dict, init=False)
    # Epochs of their lines; and reports of lines that are under way.
    _epochs: dict[str, int] = attrs.field(factory=dict, init=False)
    _reporting: dict[str, _Reports] = attrs.field(factory=dict, init=False)
    # Players whose lines closed while the store did not answer: it may still list them.
    _unreported: set[str] = attrs.field(factory=set, init=False)
    # Players of other nodes who have missed messages of this one.
    _uninformed: set[str] = attrs.field(factory=set, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        if self.store is not None:
            self.store.watch(self)

    def __len__(self) -> int:
        return len(self._conversations)

    @property
    def is_shared(self) -> bool:
        """Are there other nodes?"""
        return self.store is not None

    # Lines.

    def enter(self, player_id: str, conversation: Conversation) -> Conversation | None:
        """Add a player's conversation; return the one that it replaces here."""
        older = self._conversations.get(player_id)
        self._conversations[player_id] = conversation
        return None if older is conversation else older

    async def report(self, player_id: str) -> None:
        """
        Report the newest line of a player to the other nodes: theirs are closed.

        :raises StoreUnavailable: the store does not answer.
        """
        if self.store is None:
            return
        reports = self._reporting.setdefault(player_id, _Reports())
        reports.count += 1
        try:
            epoch = await self.store.enter(player_id)
        finally:
            reports.count -= 1
            if not reports.count:
                del self._reporting[player_id]
        conversation = self._conversations.get(player_id)
        if conversation is None:
            # It closed meanwhile.
            await self._forget(self.store, player_id)
            return
        self._epochs[player_id] = max(epoch, self._epochs.get(player_id, 0))
        # The newest line has the highest epoch, which another report may bring.
        if not reports.count and reports.replaced >= self._epochs[player_id]:
            conversation.end(replaced())

    def leave(self, player_id: str, conversation: Conversation | None) -> bool:
        """Remove a conversation that is over; ``False`` if a newer one replaced it."""
        if self._conversations.get(player_id) is not conversation:
            return False
        self._conversations.pop(player_id, None)
        return True

    async def left(self, player_id: str) -> LineEnd:
        """Report that a player's line to this node is closed; find what that means."""
        self._epochs.pop(player_id, None)
        end: LineEnd = "held"
        if self.store is not None:
            try:
                end = await self._forget(self.store, player_id)
            except StoreUnavailable as error:
                # As far as this node knows.
                self._log.info("a line stays listed: {why}", why=error)
            if player_id in self._unreported:
                self.not_sent()
        return "replaced" if player_id in self._conversations else end

    async def _forget(self, store: IOnlineStore, player_id: str) -> LineEnd:
        """Have the store forget a line; if it does not answer, when it does again."""
        self._unreported.add(player_id)
        end = await store.leave(player_id)
        # By a line to another node, which looks whether it is there, if it listens.
        is_elsewhere = end == "replaced" and player_id not in self._conversations
        if not is_elsewhere or await store.send([player_id], _LOOK):
            self._unreported.discard(player_id)
        return end

    async def report_all(self) -> bool:
        """
        Report all lines again: the store may have lost them, or they are old.

        Lines that closed while the store was away are forgotten there, and nodes look
        for what their players have missed.

        :returns: ``False`` if the nodes that the store lists for some did not listen.
        :raises StoreUnavailable: the store does not answer.
        """
        if self.store is None:
            return True
        for player_id in sorted(self._unreported):
            if player_id in self._conversations:
                # The store lists the newer line.
                self._unreported.discard(player_id)
            else:
                await self._forget(self.store, player_id)
        lines = list(self._epochs.items())
        for first in range(0, len(lines), _AT_ONCE):
            some = [
                (player_id, epoch)
                for player_id, epoch in lines[first : first + _AT_ONCE]
                # Those who left meanwhile must not be listed again.
                if self._epochs.get(player_id) == epoch
            ]
            newer = await self.store.keep(some)
            for player_id, epoch in some:
                if player_id in newer:
                    self.replaced(player_id, epoch)
                    # Until now this node sent its messages to the older line.
                    self._uninformed.add(player_id)
        if uninformed := sorted(self._uninformed):
            await self.store.send(uninformed, _LOOK)
            self._uninformed.difference_update(uninformed)
            self._log.info("{count} players missed messages", count=len(uninformed))
        return not self._unreported

    # Asking, and sending.

    def find(self, player_id: str) -> Conversation | None:
        """Find the conversation of a player who is connected to this node."""
        # One whose hello still waits may have closed.
        found = self._conversations.get(player_id)
        return None if found is None or not found.is_open else found

    def is_here(self, player_id: str) -> bool:
        """Is this player connected to this node?"""
        return self.find(player_id) is not None

    def here(self, player_ids: Iterable[str]) -> list[Conversation]:
        """List the conversations of those of these players who are connected here."""
        return [one for one in map(self.find, player_ids) if one is not None]

    def waits(self, player_id: str) -> bool:
        """Was a player of this node sent that it waits, and nothing else since?"""
        found = self.find(player_id)
        return found is not None and found.queue_state == "waiting"

    def players(self) -> list[str]:
        """List the players of this node."""
        return list(self._conversations)

    def key_of(self, player_id: str) -> tuple[str, Player] | None:
        """
        Find the hash of the key of a player who is connected to this node, and the
        player.
        """
        conversation = self.find(player_id)
        if conversation is None or conversation.player is None:
            return None
        key_hash = conversation.key_hash
        return (key_hash, conversation.player) if key_hash else None

    async def away(self, player_ids: Iterable[str]) -> Sequence[str]:
        """
        List those of these players who are connected to no node.

        The store is asked only about those who are not connected to this one.

        :raises StoreUnavailable: it does not answer.
        """
        away = [one for one in player_ids if self.find(one) is None]
        if away and self.store is not None:
            elsewhere = set(await self.store.elsewhere(away))
            away = [one for one in away if one not in elsewhere]
        return away

    def away_of(self, player_ids: Iterable[str], where: Whereabouts) -> frozenset[str]:
        """
        List those of these players who are connected to no node.

        :param where: of one of them, read with lines.
        """
        return frozenset(
            one
            for one in player_ids
            if self.find(one) is None and one not in where.elsewhere
        )

    async def absence(self, player_id: str) -> float:
        """
        Find for how long a player has been connected to no node, seconds.

        0 if the player is connected; infinity if nobody knows, or if there is only this
        node, which itself knows.

        :raises StoreUnavailable: the store does not answer.
        """
        if self.find(player_id) is not None:
            return 0.0
        if self.store is None:
            return inf
        await self.note_left(player_id)
        return await self.store.absence(player_id)

    async def note_left(self, player_id: str) -> None:
        """
        Have the store note that a line is closed, if it could not before.

        :raises StoreUnavailable: it still does not answer.
        """
        if self.store is not None and player_id in self._unreported:
            await self._forget(self.store, player_id)

    def _divide(
        self, player_ids: Iterable[str]
    ) -> tuple[list[tuple[str, Conversation]], list[str]]:
        """Find those of these players who are connected here, and list the others."""
        here, others = [], []
        for player_id in player_ids:
            conversation = self.find(player_id)
            if conversation is None:
                others.append(player_id)
            else:
                here.append((player_id, conversation))
        return here, others

    def send(self, player_ids: Iterable[str], push: Push) -> None:
        """Send *push* to each of these players, at any node."""
        here, others = self._divide(player_ids)
        for _, conversation in here:
            conversation.send(push)
        if others:
            self._pass_on(others, encode_push(push))

    def look(self, player_ids: Iterable[str]) -> None:
        """Have their nodes look where these players are, and send them that."""
        here, others = self._divide(player_ids)
        self.missed([player_id for player_id, _ in here])
        self._pass_on(others, _LOOK)

    def look_if_unsure(
        self,
        failure: Failure,
        player_ids: Sequence[str],
        prematch: Prematch | None = None,
    ) -> Failure:
        """
        Note that a step of the store failed: its errback. It may have had its effect:
        then `look`.

        :param player_ids: whom it concerns.
        :param prematch: whose players it concerns, too.
        """
        others = () if prematch is None else prematch.players
        everybody = [*player_ids, *(player.player_id for player in others)]
        return if_unsure(failure, lambda: self.look(everybody))

    def warn(self, player_ids: Iterable[str], refusal: Refused) -> None:
        """Send each of these players, at any node, what went wrong."""
        here, others = self._divide(player_ids)
        for _, conversation in here:
            conversation.warn(refusal)
        message = encode_failure(refusal.code, refusal.message, refusal.details)
        self._pass_on(others, message)

    def _pass_on(self, player_ids: list[str], message: bytes) -> None:
        if not player_ids or self.store is None:
            return

        def lost(failure: Failure) -> None:
            failure.trap(StoreUnavailable)
            is_first = not self._uninformed
            self._uninformed.update(player_ids)
            if is_first:
                self._log.info(
                    "players of other nodes miss messages: {why}", why=failure.value
                )
                self.not_sent()

        self.store.send(player_ids, message).addErrback(lost).addErrback(
            lambda failure: self._log.failure("a message was not sent", failure)
        )

    # What other nodes send (IOnlineWatch).

    def passed(self, player_ids: Sequence[str], message: bytes) -> None:
        """Send players of this node a message of another one."""
        if message == _LOOK:
            self.missed(player_ids)
            return
        try:
            answer = decode_answer(message)
            match answer:
                case Told(push):
                    here, _ = self._divide(player_ids)
                    self.missed([who for who, one in here if not one.send(push, True)])
                case Failed(code, text, details):
                    refusal = Refused(Code(code), text, details)
                    for one in self.here(player_ids):
                        one.warn(refusal)
                case None:
                    raise PeerError("this version does not know it")
        except (PeerError, ValueError) as error:
            self._log.warn("skipped a message of another node: {why}", why=error)

    def replaced(self, player_id: str, epoch: int) -> None:
        """Close a line whose player has said hello at another node."""
        conversation = self.find(player_id)
        if player_id in self._reporting:
            # Its epoch is still on its way here.
            reports = self._reporting[player_id]
            reports.replaced = max(epoch, reports.replaced)
        elif conversation is not None and self._epochs.get(player_id) == epoch:
            has_moved = conversation.is_queued or conversation.is_in_play
            conversation.end(replaced())
            if has_moved:
                # The answer to its last request may be missing on the newer line.
                self.look([player_id])

    def listens(self) -> None:
        """Messages come from now on; waiting players may have missed some."""
        self.missed(None)


class Reporting(Repeating):
    """Report all lines now and then, and when the store may have lost them."""

    name = "reporting"
    _log = Logger()

    def __init__(self, online: Online, clock: IReactorTime) -> None:
        """
        :param online: reports them.
        :param clock: for delays.
        """
        super().__init__(self.look, REPORT_SECONDS, clock)
        self._online, self._again = online, Timer(clock)
        online.not_sent = self.look

    def stopService(self) -> None:
        super().stopService()
        self._again.cancel()

    def look(self) -> Deferred[None]:
        """Report all lines now, and again if the store does not answer."""
        self._again.cancel()
        return in_background(self._log, self._report(), "lines were not reported")

    async def _report(self) -> None:
        try:
            is_done = await self._online.report_all()
        except StoreUnavailable as error:
            self._log.debug("lines were not reported: {why}", why=error)
            is_done = False
        if not is_done and self.running:
            self._again.start(_REPORT_AGAIN, self.look)


#: A store loses seconds when its replica takes its place; so many players at most are
#: looked at then.
_LATELY, _MOST_LET_GO = 60.0, 1000
#: What is done about a player.
_Step = Callable[[str], Coroutine[Any, Any, None]]


class Attendance:
    """
    Wait for players, at whatever node they come back, and note who stays away.

    :ivar seconds: how long each absence may last.
    """

    _log = Logger()

    def __init__(
        self,
        online: Online,
        clock: IReactorTime,
        seconds: float,
        stays_away: _Step,
    ) -> None:
        """
        :param online: knows who is connected.
        :param clock: for delays.
        :param stays_away: done about a player who was away for so long.
        """
        self._online, self._clock, self.seconds = online, clock, seconds
        self._stays_away = stays_away
        self._alarms: dict[str, IDelayedCall] = {}
        # When the last of those who stayed away gave up their places.
        self._let_go: dict[str, float] = {}

    def __contains__(self, player_id: str) -> bool:
        return player_id in self._alarms

    def players(self) -> list[str]:
        """List those who are expected back."""
        return list(self._alarms)

    def expect(self, player_id: str, seconds: float | None = None) -> None:
        """Wait for a player from now on; *seconds* is for the rest of an absence."""
        self.stop_waiting(player_id)
        self._alarms[player_id] = self._clock.callLater(
            self.seconds if seconds is None else seconds, self._alarm, player_id
        )

    def stop_waiting(self, player_id: str) -> None:
        """The player is here, or needs no place any more."""
        if (alarm := self._alarms.pop(player_id, None)) is not None:
            alarm.cancel()

    def again(self) -> None:
        """Look again at those who stayed away lately: the store may have lost that."""
        lately = self._clock.seconds() - _LATELY
        let_go, self._let_go = self._let_go, {}
        for player_id, at in let_go.items():
            if at > lately and player_id not in self:
                self.expect(player_id, 0.0)

    def stop(self) -> None:
        """Wait for nobody."""
        for player_id in tuple(self._alarms):
            self.stop_waiting(player_id)

    def _alarm(self, player_id: str) -> None:
        del self._alarms[player_id]

        def failed(failure: Failure) -> None:
            log_unless_away(self._log, "a player who is away keeps a place", failure)
            self.expect(player_id, RETRY_SECONDS)

        Deferred.fromCoroutine(self._look(player_id)).addErrback(failed)

    async def _look(self, player_id: str) -> None:
        absence = await self._online.absence(player_id)
        if absence >= self.seconds:
            await self._stays_away(player_id)
            self._let_go[player_id] = self._clock.seconds()
            if len(self._let_go) > _MOST_LET_GO:
                del self._let_go[next(iter(self._let_go))]
        elif absence:
            # The player was at another node meanwhile: this is another absence.
            self.expect(player_id, self.seconds - absence)
