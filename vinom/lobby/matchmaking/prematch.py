"""
Prematches: proposed matches that wait for the yes of every player.

What a prematch is and who answered is in the store; each step is a condition there, so
that of several nodes that act at once one wins. This file gives players the time to
answer, sends them what happens, and counts who declined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vinom.base.limits.buckets import network_of, wide_network_of
from vinom.base.limits.logged import in_background
from vinom.base.messages.parties import PrematchFound, PrematchUpdate, Who
from vinom.base.model import Player, Prematch, QueueEntry
from vinom.errors import Code, Refused, StoreUnavailable
from vinom.lobby.conversation.online import Online
from vinom.store.interfaces import ILobbyStore
from vinom.store.patience import if_unsure, patiently

#: If the end of the time to answer is noticed so late, answers may wait to be read:
#: they have as long again, seconds.
_BUSY_SECONDS = 0.5
#: The pause after the first decline, seconds; each further one doubles it...
_FIRST_PAUSE = 5.0
#: ...up to this.
_LONGEST_PAUSE = 300.0
#: Declines are forgotten this long after the latest one, seconds.
_FORGIVEN_AFTER = 900.0
#: Declines of guests of one address, and of its network, that make no other guest from
#: there pause: a guest who declined can come again as another one.
_FREE_OF_ADDRESS, _FREE_OF_NETWORK = 4, 16


def pause_seconds(declines: int) -> float:
    """
    Return how long a player may not queue after a decline.

    5 s after the first, then 10, 20, 40 and so on, at most 300 s.

    :param declines: how many there were, this one included.
    """
    if declines <= 0:
        return 0.0
    # 2 ** 6 is more than the longest pause needs.
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * float(1 << min(declines - 1, 6)))


def _counts_of(entry: QueueEntry, player: Player) -> dict[str, int]:
    """Find what a decline of a player counts for, and how many of each are free."""
    counts = {player.player_id: 0}
    hosts = dict(zip(entry.player_ids, entry.hosts, strict=False))
    host = hosts.get(player.player_id)
    if player.is_guest and host:
        # An address of this machine is its network, too.
        counts[f"@{wide_network_of(host)}"] = _FREE_OF_NETWORK
        counts[f"@{network_of(host)}"] = _FREE_OF_ADDRESS
    return counts


class Asking(Protocol):
    """Who proposed: the matchmaker."""

    async def make(self, prematch: Prematch) -> None:
        """Everybody said yes; of the nodes that make the match now, one can."""

    def went_back(self, entries: Sequence[QueueEntry]) -> None:
        """These entries wait again, at their old places."""

    def left(self, entries: Sequence[QueueEntry]) -> None:
        """These entries left the queue: a player of each declined, or was silent."""


class Prematches:
    """
    Ask players whether they want to play.

    :ivar results: how many were "accepted", "declined", "silent" or "given_back".
    """

    _log = Logger()

    def __init__(
        self,
        store: ILobbyStore,
        online: Online,
        clock: IReactorTime,
        asking: Asking,
    ) -> None:
        """
        :param store: where prematches are.
        :param online: sends messages to players.
        :param clock: its seconds are those of the Unix epoch.
        :param asking: continues with the answers.
        """
        self._store, self._online, self._clock = store, online, clock
        self._asking = asking
        # Those that this node proposed, until they are over; and their next steps.
        self._open: dict[str, Prematch] = {}
        self._alarms: dict[str, IDelayedCall] = {}
        # Those of them that somebody may not have been able to answer.
        self._disturbed: set[str] = set()
        self.results: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def stop(self) -> None:
        """Stop waiting for answers; the store keeps the prematches."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()

    async def give_back_all(self) -> None:
        """End all prematches of this node; their entries wait in front again."""
        for prematch in tuple(self._open.values()):
            await self.give_back(prematch)

    def ask(self, prematch: Prematch) -> None:
        """Ask the players of a prematch that is in the store."""
        prematch_id = prematch.prematch_id
        delay = max(0.0, prematch.until - self._clock.seconds())
        self._open[prematch_id] = prematch
        self._set_alarm(prematch_id, delay, lambda: self._end_time(prematch))
        self._online.send(
            [player.player_id for player in prematch.players], self._found(prematch)
        )

    def disturbed(self) -> None:
        """Storage does not answer, so players cannot: no silence counts."""
        self._disturbed.update(self._open)

    async def propose(self, prematch: Prematch) -> bool:
        """Take the entries of a prematch out of the queue; ``False``: not all wait."""
        try:
            return await self._store.propose(prematch)
        except StoreUnavailable:
            # Storage may have done it, and nothing else would put them back.
            await self.give_back(prematch)
            raise

    def pending(self, prematch: Prematch | None) -> PrematchFound | None:
        """
        Write what a player is asked who comes back during a prematch.

        The node that asked, or that took the last answer, may be gone: any node of a
        player makes its match, or ends it, through no fault of those who are silent.
        """
        if prematch is None:
            return None
        prematch_id, now = prematch.prematch_id, self._clock.seconds()
        if prematch.is_accepted:
            self._set_alarm(prematch_id, 0.0, lambda: self._make(prematch))
            return None
        if prematch_id not in self._alarms:
            delay = max(0.0, prematch.until - now) + _BUSY_SECONDS
            self._set_alarm(prematch_id, delay, lambda: self.give_back(prematch))
        return self._found(prematch)

    async def answer(
        self, player_id: str, is_yes: bool, prematch_id: str | None = None
    ) -> PrematchUpdate:
        """
        Take a player's answer; return how the prematch is then.

        :param prematch_id: which one is meant; ``None`` means the one there is.
        :raises Refused: `NO_SUCH_PREMATCH`: it is over; or `NOT_NOW`: the player has
            given the other answer, or somebody else the last one.
        """
        before = (await self._store.of_player(player_id)).prematch
        if before is None or prematch_id not in (None, before.prematch_id):
            raise _over()
        prematch_id = before.prematch_id
        prematch = await self._store.answer(prematch_id, player_id, is_yes).addErrback(
            self._online.look_if_unsure, [player_id], before
        )
        if prematch is None:
            raise _over()
        if player_id not in (prematch.accepted if is_yes else prematch.declined):
            raise Refused(
                Code.NOT_NOW,
                "you have answered already, or the time is over",
                {"accepted": player_id in prematch.accepted},
            )
        return await self._answered(prematch, player_id)

    async def _answered(self, prematch: Prematch, player_id: str) -> PrematchUpdate:
        """Go on after a player's answer, which was the first of that player."""
        if prematch.declined:
            pause = await self._dissolved(prematch, prematch.declined, player_id)
            return self._update(prematch, "dissolved", pause)
        if prematch.is_accepted:
            # Right after the answer to this request.
            self._set_alarm(prematch.prematch_id, 0.0, lambda: self._make(prematch))
            return self._update(prematch, "accepted")
        update = self._update(prematch, "open")
        others = {player.player_id for player in prematch.players} - {player_id}
        self._online.send(sorted(others), update)
        return update

    async def give_back(self, prematch: Prematch) -> None:
        """
        End a prematch through no fault of its players; tries until storage answers.

        If it is gone, players are sent how it is: a try whose answer was lost may have
        ended it, of a node too that did not propose it.
        """
        prematch_id, unanswered = prematch.prematch_id, list[Prematch | None]()

        def step() -> Deferred[Prematch | None]:
            return self._store.expire(prematch_id, None).addErrback(
                if_unsure, lambda: unanswered.append(self._open.get(prematch_id))
            )

        ended = await patiently(self._clock, step)
        if ended is None and unanswered:
            ended = unanswered[0]
        self._forget(prematch_id)
        if ended is None:
            self._online.look([one.player_id for one in prematch.players])
        else:
            self.over(ended)

    def over(
        self,
        prematch: Prematch,
        without: Sequence[str] = (),
        result: str = "given_back",
    ) -> None:
        """
        Send the players of a prematch that has ended that they wait again.

        :param without: ids of entries that left.
        """
        self._forget(prematch.prematch_id)
        self.results[result] += 1
        self._send(prematch.players, self._update(prematch, "dissolved"))
        self._asking.went_back(
            [one for one in prematch.entries if one.entry_id not in without]
        )

    def accepted(self, prematch: Prematch) -> None:
        """The match of a prematch is made."""
        self._forget(prematch.prematch_id)
        self.results["accepted"] += 1
        self._send(prematch.players, self._update(prematch, "accepted"))

    async def count_decline(self, entry: QueueEntry, player_id: str) -> float:
        """Count a decline; return how long this player may not queue, seconds."""
        now, pause = self._clock.seconds(), 0.0
        (player,) = (one for one in entry.players if one.player_id == player_id)
        try:
            for counted, free in _counts_of(entry, player).items():
                count = await self._store.count_decline(
                    counted, now, now + _FORGIVEN_AFTER
                )
                pause = max(pause, pause_seconds(count - free))
        except StoreUnavailable as error:
            self._log.debug("a decline was not counted: {error}", error=error)
        return pause

    async def ensure_no_pause(self, entry: QueueEntry) -> None:
        """
        Check that the players of an entry may queue: none declined a short while ago.

        :raises Refused: `NOT_NOW`, with ``retry_after``.
        """
        now = self._clock.seconds()
        asked = [
            (player, counted, free)
            for player in entry.players
            for counted, free in _counts_of(entry, player).items()
        ]
        found = await self._store.declines([counted for _, counted, _ in asked])
        for (player, counted, free), (count, last) in zip(asked, found, strict=True):
            wait = last + pause_seconds(count - free) - now
            if count > free and wait > 0:
                if counted != player.player_id:
                    raise Refused(
                        Code.NOT_NOW,
                        f"guests from the address of {player.name} did not accept "
                        "several matches",
                        {"retry_after": round(wait, 3), "player_id": player.player_id},
                    )
                raise Refused(
                    Code.NOT_NOW,
                    f"{player.name} did not accept a match",
                    {"retry_after": round(wait, 3), "player_id": player.player_id},
                )

    # Time, and the end.

    def _set_alarm(
        self,
        prematch_id: str,
        delay: float,
        step: Callable[[], Coroutine[Any, Any, object]],
    ) -> None:
        """Take the next step for a prematch in *delay* seconds."""
        self._cancel_alarm(prematch_id)

        def run() -> None:
            del self._alarms[prematch_id]
            in_background(self._log, step(), "prematch step failed")

        self._alarms[prematch_id] = self._clock.callLater(delay, run)

    async def _end_time(self, prematch: Prematch, *, is_late: bool = False) -> None:
        """End a prematch that not everybody answered in time."""
        prematch_id, now = prematch.prematch_id, self._clock.seconds()
        if now > prematch.until + _BUSY_SECONDS and not is_late:
            # This node was busy, so answers may have arrived that it has not read.
            self._set_alarm(
                prematch_id,
                _BUSY_SECONDS,
                lambda: self._end_time(prematch, is_late=True),
            )
            return
        if prematch_id in self._disturbed:
            await self.give_back(prematch)
            return
        try:
            found = await self._store.expire(prematch_id, now)
        except StoreUnavailable as error:
            # Players could not answer either; no silence counts.
            self._log.debug("storage does not answer: {error}", error=error)
            await self.give_back(prematch)
            return
        self._forget(prematch_id)
        if found is not None and found.is_accepted:
            # The node that took the last answer may have died with it.
            await self._make(found)
        elif found is not None:
            await self._dissolved(found, found.leavers(now), "")

    async def _make(self, prematch: Prematch) -> None:
        """Have the match made, unless another node has."""
        await self._asking.make(prematch)
        self._forget(prematch.prematch_id)

    async def _dissolved(
        self, prematch: Prematch, leavers: frozenset[str], asker: str
    ) -> float:
        """
        Send the players of a prematch that it has ended, and whose fault that is.

        :param leavers: who declined, or said nothing.
        :param asker: a player who is answered apart.
        :returns: how long this player may not queue, seconds.
        """
        self._forget(prematch.prematch_id)
        self.results["declined" if prematch.declined else "silent"] += 1
        gone: list[QueueEntry] = []
        again: list[QueueEntry] = []
        for entry in prematch.entries:
            (again if leavers.isdisjoint(entry.player_ids) else gone).append(entry)
        # Those who wait again come first: nothing may keep their places from them.
        self._send(
            [player for entry in again for player in entry.players],
            self._update(prematch, "dissolved"),
        )
        self._asking.went_back(again)
        pauses = {
            each: await self.count_decline(entry, each)
            for entry in gone
            for each in entry.player_ids
            if each in leavers
        }
        for entry in gone:
            for player in entry.players:
                if player.player_id != asker:
                    pause = pauses.get(player.player_id, 0.0)
                    self._send([player], self._update(prematch, "dissolved", pause))
        self._asking.left(gone)
        return pauses.get(asker, 0.0)

    def _forget(self, prematch_id: str) -> None:
        self._open.pop(prematch_id, None)
        self._disturbed.discard(prematch_id)
        self._cancel_alarm(prematch_id)

    def _cancel_alarm(self, prematch_id: str) -> None:
        alarm = self._alarms.pop(prematch_id, None)
        if alarm is not None:
            alarm.cancel()

    # What players are sent.

    def _found(self, prematch: Prematch) -> PrematchFound:
        left = max(0.0, prematch.until - self._clock.seconds())
        return PrematchFound(
            prematch.prematch_id,
            prematch.game,
            tuple(Who(one.player_id, one.name) for one in prematch.players),
            prematch.until,
            round(left, 3),
            tuple(sorted(prematch.accepted)),
        )

    def _update(
        self, prematch: Prematch, state: str, pause: float = 0.0
    ) -> PrematchUpdate:
        return PrematchUpdate(
            prematch.prematch_id, state, tuple(sorted(prematch.accepted)), pause
        )

    def _send(self, players: Sequence[Player], push: PrematchUpdate) -> None:
        self._online.send([player.player_id for player in players], push)


def _over() -> Refused:
    return Refused(Code.NO_SUCH_PREMATCH, "this prematch is over")
