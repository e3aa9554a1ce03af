"""When checkpoints of rooms are made, and what may leave before they are stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.model import Lasting
from vinom.base.reactor.alarm import Timer
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.game import Game
from vinom.play.hosting.checkpoints import Codecs
from vinom.play.states import StateCodec
from vinom.store.interfaces import IOwnedStore

_log = Logger()

#: How old the checkpoint of a game with durability "behind" may be, seconds.
BEHIND: Final = 0.1
#: Between two tries to store one, seconds.
_RETRY: Final = 0.2
#: Rooms that have closed are removed again after this time if that failed, seconds.
_REMOVE_AGAIN: Final = 1.0
#: What the store may answer, for metrics.
_OUTCOMES = ("kept", "failed", "lost")


class Keeping:
    """
    What the rooms of a node share to be kept.

    :ivar store: keeps checkpoints.
    :ivar clock: for delays.
    :ivar codecs: of the games' states.
    :ivar is_current: does the lease of this node last?
    :ivar is_shared: have other nodes the store, too? If not, only rooms whose clock is
        the wall's are kept.
    :ivar outcomes: how many checkpoints there were, by what became of them.
    :ivar paused: how many rooms wait for the store, or for a lease.
    """

    def __init__(
        self,
        store: IOwnedStore,
        clock: IReactorTime,
        is_current: Callable[[], bool],
        is_shared: bool = True,
    ) -> None:
        """See the attributes."""
        self.store, self.clock, self.is_current = store, clock, is_current
        self.is_shared = is_shared
        self.outcomes: Counter[str] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self.paused = 0
        self.codecs = Codecs()
        # Fences and endings of rooms that have closed, which the store may still have.
        self._closed: dict[str, tuple[int, str]] = {}
        self._removing = Timer(self.clock)

    def codec_of(self, game: Game[Any, Any]) -> StateCodec | None:
        """Find what writes the states of a game; ``None`` if its rooms are not kept."""
        is_kept = self.is_shared or game.clock == "wall"
        return self.codecs.of(game) if is_kept else None

    @property
    def unremoved(self) -> int:
        """How many rooms have closed that the store may still have."""
        return len(self._closed)

    def count_pause(self, is_paused: bool) -> None:
        """Count a room that waits, or goes on; of many one line is logged for each."""
        if is_paused and not self.paused:
            _log.warn("rooms wait for the store, or for this node's lease")
        self.paused += 1 if is_paused else -1
        if not self.paused:
            _log.info("no room waits for the store any more")

    def remove(self, room_id: str, fence: int, ending: str = "") -> None:
        """
        Forget a room of this node that has closed; tries until the store answers.

        :param fence: number of this node's ownership of it.
        :param ending: why the game in it ended; empty if none was played.
        """
        self._closed[room_id] = fence, ending
        Deferred.fromCoroutine(self.removed(room_id)).addErrback(self._not_removed)

    async def removed(self, room_id: str) -> None:
        """
        Wait until the store has nothing of a room that has closed here.

        :raises StoreUnavailable: it does not answer.
        """
        closed = self._closed.get(room_id)
        if closed is not None:
            await self.store.remove(room_id, *closed)
            # If it was not ours another node has it.
            if self._closed.get(room_id) == closed:
                del self._closed[room_id]

    def _not_removed(self, failure: Failure) -> None:
        if not failure.check(StoreUnavailable):
            _log.failure("cannot remove a room", failure)
        self._removing.ensure(_REMOVE_AGAIN, self._remove_again)

    def _remove_again(self) -> None:
        Deferred.fromCoroutine(self._remove_all()).addErrback(self._not_removed)

    async def _remove_all(self) -> None:
        for room_id in tuple(self._closed):
            try:
                await self.removed(room_id)
            except Exception:
                # It must not keep the others.
                self._not_removed(Failure())


@attrs.define(eq=False)
class RoomKeeper:
    """
    Keep checkpoints of one room.

    A room whose game wants "ahead" shows nothing before it is stored; "behind" only
    needs a lease that lasts. What cannot be shown waits, and so does what players do.

    :ivar keeping: what all rooms share.
    :ivar room_id: of the room.
    :ivar fence: number of this node's ownership of it.
    :ivar is_ahead: is nothing shown before it is stored?
    :ivar grace: finds how long the room waits for its players if this node dies, or
        until something is due in it while it sleeps, seconds.
    :ivar lasting: finds who has a seat, if it sleeps while nobody is connected.
    :ivar make: makes a checkpoint, which may be this node's last; raises
        `Misconfigured` if the state has no bytes.
    :ivar stamp: differs when a checkpoint would differ.
    :ivar released: is called when what waited may be shown.
    :ivar paused: is called with whether match time stops, or goes on.
    :ivar lost: is called when another node has the room.
    :ivar is_holding: must what players do wait?
    :ivar is_over: are no more checkpoints kept?
    :ivar is_leaving: is this node about to give the room up?
    """

    keeping: Keeping
    room_id: str
    fence: int
    is_ahead: bool
    _grace: Callable[[], float]
    _lasting: Callable[[], Lasting | None]
    _make: Callable[[bool], bytes]
    _stamp: Callable[[], Hashable]
    _released: Callable[[], None]
    _paused: Callable[[bool], None]
    _lost: Callable[[], None]
    is_holding: bool = attrs.field(default=False, init=False)
    is_leaving: bool = attrs.field(default=False, init=False)
    # What the latest stored checkpoint has; what the one that is on its way has.
    _kept: Hashable = attrs.field(default=None, init=False)
    _asked: bool = attrs.field(default=False, init=False)
    _is_failing: bool = attrs.field(default=False, init=False)
    _is_frozen: bool = attrs.field(default=False, init=False)
    is_over: bool = attrs.field(default=False, init=False)
    _next: Timer = attrs.field(init=False)

    @_next.default
    def _make_timer(self) -> Timer:
        return Timer(self.keeping.clock)

    def may_show(self, now: float) -> bool:
        """Is everything kept that would be shown now? See `vinom.play.hosting.host`."""
        if self.is_over:
            return True
        if self.is_leaving:
            return False
        is_current = self.keeping.is_current()
        is_ready = is_current and (not self.is_ahead or self._is_stored())
        # It may be over now: a state that has no bytes is kept no more.
        self.is_holding = not (is_ready or self.is_over)
        if not is_current:
            self._freeze()
            self._soon(_RETRY)
        elif not self.is_holding:
            self._follow()
        return not self.is_holding

    def look(self, is_available: bool) -> None:
        """
        Freeze a room in which nothing happens, if nothing could be kept of it now.

        :param is_available: does the store answer, as far as is known?
        """
        if self.is_over or self.is_leaving:
            return
        if not self.keeping.is_current() or (self.is_ahead and not is_available):
            self.is_holding = True
            self._freeze()
            self._soon(_RETRY)

    def note(self) -> None:
        """The room has changed, and nothing is played in it: no need to wait."""
        if self.is_leaving:
            return
        self.is_holding = False
        if not self.is_over:
            self._follow()

    def again(self) -> None:
        """Store the room again: the store may have lost what it had."""
        self._kept = None
        if not (self.is_over or self.is_leaving):
            self._soon(BEHIND)

    def _follow(self) -> None:
        """Store soon what is not stored, and need not be before it is shown."""
        if self._stamp() != self._kept:
            self._soon(BEHIND)

    def _soon(self, seconds: float) -> None:
        if not self._asked:
            self._next.ensure(seconds, self._ring)

    def _is_stored(self) -> bool:
        """Is the room stored as it is now? If not, it is being stored."""
        stamp = self._stamp()
        if stamp != self._kept and not self._asked and not self._is_failing:
            # A store in memory answers at once, and nothing is held then.
            self.is_holding = False
            self._next.cancel()
            self._put()
        return stamp == self._kept

    def stop(self, forget: bool, ending: str = "") -> None:
        """
        Keep no more checkpoints: the room is over, or another node has it.

        :param forget: remove what is kept.
        :param ending: why the game in it ended; empty if none was played.
        """
        if self.is_over:
            return
        self.is_over, self.is_holding = True, False
        if self._is_frozen:
            self._is_frozen = False
            self.keeping.count_pause(False)
        self._next.cancel()
        if forget:
            self.keeping.remove(self.room_id, self.fence, ending)

    def leave(self) -> bool:
        """
        Give the room up: what players do waits, and its last checkpoint is stored.

        It is tried until the store answers; then `lost` is called.

        :returns: ``False`` if the room is not kept, or its state cannot be written.
        """
        if self.is_over:
            return False
        if not self.is_leaving:
            try:
                data = self._make(True)
            except Misconfigured as error:
                self._not_kept(error)
                return False
            self.is_leaving = self.is_holding = True
            self._next.cancel()
            self._release(data)
        return True

    def _release(self, data: bytes) -> None:
        asked = self.keeping.store.release(
            self.room_id, self.fence, data, self._grace(), self._lasting()
        )
        asked.addCallbacks(self._given_up, self._not_given_up)
        asked.addErrback(
            lambda failure: _log.failure("cannot give up a room", failure=failure)
        )

    def _given_up(self, is_ours: bool) -> None:
        # If it was not ours, an answer was lost, or another node has it: all the same.
        if not self.is_over:
            self.keeping.outcomes["kept" if is_ours else "lost"] += 1
            self.stop(forget=False)
            self._lost()

    def _not_given_up(self, failure: Failure) -> None:
        failure.trap(StoreUnavailable)
        self.keeping.outcomes["failed"] += 1
        if not self.is_over:
            self._next.start(_RETRY, lambda: self._release(self._make(True)))

    def _ring(self) -> None:
        if not self.is_over:
            self._put()

    def _put(self) -> None:
        """Make a checkpoint of the room as it is now, and store it."""
        stamp = self._stamp()
        try:
            data = self._make(False)
        except Misconfigured as error:
            self._not_kept(error)
            return
        self._asked = True
        asked = self.keeping.store.put(
            self.room_id,
            self.fence,
            data,
            self._grace(),
            self.is_ahead,
            self._lasting(),
        )
        asked.addCallbacks(lambda is_ours: self._answered(stamp, is_ours), self._failed)
        asked.addErrback(
            lambda failure: _log.failure("cannot keep a room", failure=failure)
        )

    def _not_kept(self, error: Misconfigured) -> None:
        """The room's state cannot be written: it lives in this process only."""
        _log.error(
            "room {room_id} does not outlive this node: {why}",
            room_id=self.room_id,
            why=error,
        )
        was_holding = self.is_holding
        self.stop(forget=True)
        if was_holding:
            self._released()

    def _answered(self, stamp: Hashable, is_ours: bool) -> None:
        self._asked = self._is_failing = False
        if self.is_over or (self.is_leaving and is_ours):
            return
        self.keeping.outcomes["kept" if is_ours else "lost"] += 1
        if not is_ours:
            self.stop(forget=False)
            self._lost()
            return
        self._kept = stamp
        if self.keeping.is_current():
            self._thaw()
        if self.is_holding:
            self._released()
        if not self.is_over and not self.is_holding:
            self._follow()

    def _failed(self, failure: Failure) -> None:
        self._asked = False
        failure.trap(StoreUnavailable)
        self.keeping.outcomes["failed"] += 1
        if self.is_over or self.is_leaving:
            return
        if self.is_ahead:
            self._freeze()
        self._is_failing = True
        self._next.cancel()
        self._soon(_RETRY)

    def _freeze(self) -> None:
        if not self._is_frozen:
            self._is_frozen = True
            self.keeping.count_pause(True)
            self._paused(True)

    def _thaw(self) -> None:
        if self._is_frozen:
            self._is_frozen = False
            self.keeping.count_pause(False)
            self._paused(False)
