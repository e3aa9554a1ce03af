"""A seat in a match: taking it, losing it, and taking it back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from math import inf
from random import random
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from vinom.base.messages.lobby import MatchEnded, MatchFound, QueueStatus
from vinom.base.messages.rooms import JoinRoom
from vinom.base.reactor.alarm import Alarm
from vinom.client.game_line import GameLine, IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.line_seat import LineSeat, RoomLine
from vinom.client.lobby import PAUSES, LobbyClient, pause_before
from vinom.errors import Code
from vinom.net.dtls.port import IDatagramFilter
from vinom.net.packets.player import (
    ActionRefused,
    FellSilent,
    Joined,
    PlayerEvent,
    Rejected,
    SpokeAgain,
)
from vinom.net.packets.quality import MOST_PATIENCE, PATIENCE
from vinom.net.packets.reliable import LinkState, UnackedInputs

#: How a seat is played: over UDP, through the lobby, or over UDP where that works.
Way = Literal["auto", "udp", "lobby"]
#: UDP counts as blocked once a port has refused us this many times in a row, or has
#: been silent once.
_MOST_REFUSED = 3
#: A seat that is lost sooner than this after it was taken, seconds, is taken back with
#: the pauses of one that could not be taken, so that nobody dials in a tight loop.
SETTLED = 5.0
#: While a seat is held, one attempt is forgiven each time this has passed, seconds: a
#: match may be moved twice within seconds, and no player waits longer the second time.
_FORGIVEN = 0.5

#: A game server that is gone or doubted is tried this often at its address, with the
#: resume token, before the lobby is asked: another process may have its port already.
_DIRECT = 2
#: While nobody listens there, it is tried so long, seconds: the process that goes on
#: with the match has its port by then, and the lobby knows nothing better before.
_REFUSED_FOR = 0.5
#: How long a direct try waits for the first answer, seconds, and round trips.
_DIRECT_WAIT, _DIRECT_TRIPS = 0.4, 3
#: Reasons for which a lost server is tried again before the lobby is asked: another
#: process may have taken over, or be about to.
_SUDDEN = frozenset({"silence", "refused", "closed"})
#: Who says goodbye still has its port for so long, seconds: a hello that comes in
#: between is never read, and not refused either.
_LEAVING = 0.02
#: Pauses between attempts to take a seat back, seconds; the last one repeats.
_PAUSES = (0.05, *PAUSES)

_Outcome = dict[str, Any] | None
_Line = GameLine | RoomLine


class Attempts:
    """
    Decide when a lost seat is tried again, and which way. Times: seconds.

    :ivar way: how the seat is played now.
    :ivar number: how many attempts count for the next pause.
    :ivar direct: how often the old address is tried before the lobby is asked.
    :ivar resume: proof of the seat from the latest join over UDP.
    """

    def __init__(
        self, allowed: Way = "auto", chance: Callable[[], float] = random
    ) -> None:
        """
        :param allowed: how the seat may be played.
        :param chance: gives a number from 0 to 1 on each call, for pauses.
        """
        self._allowed, self._chance = allowed, chance
        self.way: Literal["udp", "lobby"] = "lobby" if allowed == "lobby" else "udp"
        self.number = self.direct = self._refused = 0
        self.resume: bytes | None = None
        self._direct_until = self._taken_at = -inf
        self._patience = PATIENCE
        # How long the server asked us to wait, or slightly longer.
        self._hold = 0.0

    def taken(self, resume: bytes, now: float) -> None:
        """The seat is ours."""
        self._patience, self._taken_at = self.patience(now), now
        self.resume, self._refused = resume or None, 0

    def patience(self, now: float) -> float:
        """Choose how soon the next line doubts: later if we only just came back."""
        if now - self._taken_at >= SETTLED:
            return PATIENCE
        return min(2 * self._patience, MOST_PATIENCE)

    def begin(self, now: float) -> None:
        """The seat was lost: forgive what a long-held one cost."""
        held = now - self._taken_at
        if held >= SETTLED:
            self.number = 0
        else:
            self.number = max(0, self.number - int(held / _FORGIVEN))

    def pause(self) -> float:
        """Choose how long to wait before the next attempt."""
        pause, self._hold = self._hold, 0.0
        if self.number:
            pause = max(
                pause, pause_before(self.number - 1, self._chance, 0.0, _PAUSES)
            )
        return pause

    def put_off(self, seconds: float) -> None:
        """Wait at least so long: not all players should return in the same moment."""
        self._hold = max(self._hold, seconds * (1 + self._chance() / 2))

    def go_direct(self, times: int, now: float) -> None:
        """Try the old address first."""
        self.direct = times
        if times:
            self._direct_until = now + _REFUSED_FOR

    def direct_failed(self, why: str, now: float) -> None:
        """The seat was not taken at the old address."""
        if why == "refused" and now < self._direct_until:
            # After the same short pause.
            self.direct += 1
            self.number = max(1, self.number - 1)
        elif why not in _SUDDEN:
            # Only the lobby can say what to do now.
            self.direct = 0
            if why == Code.BAD_TOKEN:
                self.resume = None

    def failed(self, why: str, is_answered: bool) -> bool:
        """
        The seat was not taken where the lobby said: is UDP blocked?

        :param is_answered: did the server say anything?
        :returns: whether the way is another one now.
        """
        if self._allowed != "auto" or why == Code.BUSY:
            return False
        if self.way == "lobby":
            # The lobby does not work either; perhaps UDP does now.
            self.way, self._refused = "udp", 0
            return True
        if not is_answered:
            self._refused += 1 if why == "refused" else _MOST_REFUSED
            if self._refused >= _MOST_REFUSED:
                self.way = "lobby"
        return self.way == "lobby"


class Seat:
    """
    Hold one seat, over as many connections as it takes.

    A game server that owes an answer for 0.4 s, or at whose port nobody listens, may be
    gone: another process may go on with the match. The seat is then taken with the
    resume token, at the same address first. If that does not work, the lobby is asked
    where the match is, and the seat is taken there with a new token. Meanwhile the old
    connection stays: it is used again if the server speaks. After 3 s of silence it
    is closed.

    Actions that were not acknowledged are sent again on the new connection, with their
    numbers. When the way changes, from UDP to the lobby or back, they are refused as
    ``lost`` instead: whether they were applied is unknown.

    If the lobby can be reached but the game server never answers, UDP is blocked: the
    seat is taken and played through the lobby from then on.

    :param reactor: for time and UDP.
    :param lobby: finds the match again, and opens lines to play it on.
    :param found: the match.
    :param attempts: decides how it is played, and when a lost one is tried again.
    :param timeout: how long to try to get a lost seat back, seconds.
    :param deliver: called with each event of the match.
    :param over: called once, with a reason and perhaps an outcome, when the seat
        is lost for good.
    :param datagram_filter: between its connections and the network.
    :ivar attempts: the same.
    :ivar farewell: the reason to end with, instead of coming back, when the line
        breaks; set once the match is known to be over.
    :ivar joins: how often the seat was taken.
    :ivar handshakes: how often a DTLS handshake was finished.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        found: MatchFound,
        attempts: Attempts,
        timeout: float,
        deliver: Callable[[PlayerEvent], None],
        over: Callable[[str, _Outcome], None],
        datagram_filter: IDatagramFilter | None = None,
    ) -> None:
        self._reactor, self._lobby, self._found = reactor, lobby, found
        self.attempts, self._timeout = attempts, timeout
        self._deliver, self._over = deliver, over
        self._datagram_filter = datagram_filter
        self._number = 0
        self.farewell: str | None = None
        self.joins = self.handshakes = 0
        # The line that has the seat, and the one that tries to take it.
        self._line: _Line | None = None
        self._next: _Line | None = None
        self._taking: Deferred[bool] | None = None
        self._is_doubted = self._is_returning = False
        # Is the line that is tried one to an address that the lobby has not confirmed?
        self._is_direct = False
        self._link_state, self._line_seat = LinkState(), _line_seat(found)
        self._heard = reactor.seconds()
        self._is_over = False
        self._silence = Alarm(reactor, self._silent_at, self._silent)
        self._overdue: dict[_Line, float] = {}

    @property
    def is_taken(self) -> bool:
        """Is the seat ours now, as far as we know?"""
        return self._line is not None

    @property
    def line(self) -> GameLine | RoomLine | None:
        """The line, if there is one."""
        return self._line or self._next

    def take(self) -> None:
        """Take the seat; called once."""

        async def begin() -> None:
            if not await self._go():
                await self._come_back(0)

        self._run(begin())

    def act(self, action: bytes, tick: int = 0) -> int:
        """
        Send an action.

        :param action: MessagePack.
        :param tick: the tick that the player was shown; 0 if that is unknown.
        :returns: its number; 0 if it could not be sent.
        :raises ValueError: it is too long.
        """
        if self._line is None:
            return 0
        number = self._line.act(action, tick)
        self._number = max(self._number, number)
        return number

    def moved(self, found: MatchFound) -> None:
        """
        Go where the lobby says that the match is, if we are not there.

        :param found: the match, with a new ticket and token.
        """
        if (
            self._is_over
            or self.attempts.way != "udp"
            or found.match_id != self._found.match_id
        ):
            return
        before, self._found = self._found, found
        if self._line is None:
            self.attempts.direct = max(self.attempts.direct, 1)
        elif (before.host, before.port) != (found.host, found.port):
            self._doubt()
        elif isinstance(self._line, GameLine):
            # Perhaps another process is there, perhaps not.
            self._line.hinted()

    def leave(self) -> None:
        """Give the seat up for good; `over` is not called."""
        if self._line is not None and not self._is_over:
            self._line.leave()
        self.close()

    def close(self) -> None:
        """Let go of everything; `over` is not called."""
        self._is_over = True
        self._silence.stop()
        self._drop_line()
        self._give_up_next()

    def _finish(self, reason: str, outcome: _Outcome = None) -> None:
        if not self._is_over:
            self.close()
            self._over(str(reason), outcome)

    # Finding the match.

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Failure) -> None:
            self._log.failure(
                "match {match_id} cannot continue",
                failure,
                match_id=self._found.match_id,
            )
            self._finish(Code.INTERNAL)

        Deferred.fromCoroutine(work).addErrback(failed)

    async def _go(self) -> bool:
        """Take the seat where the lobby says it is; did it work?"""
        if self.attempts.way == "udp":
            return await self._dial()
        line = RoomLine(
            self._reactor,
            self._lobby,
            self._found,
            self._number,
            self._line_seat,
            self,
        )
        return await self._try(line)

    async def _come_back(self, direct: int) -> None:
        """
        Take the seat back, unless it has been taken back or given up meanwhile.

        :param direct: how often to try the old address first.
        """
        self.attempts.go_direct(direct, self._reactor.seconds())
        if self._is_returning:
            return
        self._is_returning = True
        try:
            await self._keep_trying()
        finally:
            self._is_returning = False

    async def _keep_trying(self) -> None:
        attempts, seconds = self.attempts, self._reactor.seconds
        attempts.begin(seconds())
        while not self._is_back():
            if pause := attempts.pause():
                await deferLater(self._reactor, pause)
            if self._is_back():
                return
            attempts.number += 1
            heard = self._heard if self._line is None else self._line.heard
            if seconds() - heard > self._timeout:
                self._finish(Code.LOST)
            elif await self._try_again():
                return

    def _is_back(self) -> bool:
        return self._is_over or (self._line is not None and not self._is_doubted)

    async def _try_again(self) -> bool:
        """Take the seat, once; is there no more to try?"""
        attempts = self.attempts
        resume = attempts.resume if attempts.way == "udp" else None
        if attempts.direct > 0 and resume is not None:
            attempts.direct -= 1
            return await self._dial(resume)
        try:
            place = await self._lobby.whereabouts()
        except (LineLost, LobbyRefusal):
            # The game server may run on without its lobby.
            if attempts.resume is None:
                return False
            return await self._dial(attempts.resume)
        if self._is_back():
            return True
        match_id = self._found.match_id
        if isinstance(place, MatchFound) and place.match_id == match_id:
            self._found = place
            return await self._go()
        if isinstance(place, MatchEnded) and place.match_id == match_id:
            self._finish(place.reason, place.outcome)
        elif isinstance(place, QueueStatus) and place.state == "matched":
            # It has no place yet: perhaps a process that takes over.
            attempts.direct = 1
            return False
        elif isinstance(place, QueueStatus):
            # Only a void match puts its players back into the queue.
            self._finish(Code.VOID)
        else:
            self._finish(Code.LOST)
        return True

    async def _dial(self, resume: bytes | None = None) -> bool:
        """Take the seat over UDP, with its token or else this proof; did it work?"""
        found = self._found
        try:
            host = await _address(self._reactor, found.host)
        except Exception as error:
            self._log.info("cannot resolve {host}: {why}", host=found.host, why=error)
            return False
        if self._is_back():
            return True
        line = GameLine(
            self._reactor,
            host,
            found,
            self,
            self._link_state,
            resume,
            self.attempts.patience(self._reactor.seconds()),
            self._datagram_filter,
        )
        if resume is not None:
            rtt = None if self._line is None else self._line.rtt
            line.first_answer = max(_DIRECT_WAIT, _DIRECT_TRIPS * (rtt or 0.0))
        return await self._try(line, is_direct=resume is not None)

    async def _try(self, line: _Line, is_direct: bool = False) -> bool:
        """Wait for the outcome: is the seat taken on this line?"""
        taking: Deferred[bool] = Deferred()
        self._taking, self._next, self._is_direct = taking, line, is_direct
        self._silence.arm()
        return await taking

    # What happens to a line (LineOwner).

    def opened(self) -> None:
        self.handshakes += 1

    def _taken(self, worked: bool) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.callback(worked)

    def took(self, line: _Line, event: PlayerEvent) -> None:
        if line is not self._line and line is not self._next:
            return
        if isinstance(event, Joined) and line is self._next:
            self._sit(line, event)
        elif isinstance(event, Rejected):
            self._turned_away(line, event)
        elif isinstance(event, FellSilent):
            self._doubt()
        elif isinstance(event, SpokeAgain):
            # The server of our line is there after all.
            self._is_doubted = False
            if isinstance(self._next, GameLine) and self._next.link is None:
                # It has not asked for the seat yet; if it had, it might be its own.
                self._give_up_next()
        else:
            self._deliver(event)

    def _sit(self, line: _Line, event: Joined) -> None:
        self.joins += 1
        self.attempts.taken(event.resume, self._reactor.seconds())
        # The server gave the seat to the newer one: the older one's goodbye changes
        # nothing.
        self._drop_line()
        self._line, self._next = line, None
        self._is_doubted = False
        self._taken(True)
        self._deliver(event)
        self._give_up_actions(line)

    def _give_up_actions(self, line: _Line) -> None:
        """
        Report what was sent the other way and not acknowledged as refused.

        Each way counts actions by itself, so nobody can say which of them have arrived,
        and sent again some might be applied twice.
        """
        if isinstance(line, RoomLine):
            what, actions = "UDP", self._link_state.actions
            self._link_state.actions = UnackedInputs()
            numbers = list(range(actions.first, actions.last + 1))
        else:
            # A place held through the lobby is gone once the seat is taken over UDP.
            what, numbers = "the lobby", list(self._line_seat.waiting)
            self._line_seat = _line_seat(self._found)
        why = f"{what} stopped working before it was acknowledged; it may be applied"
        for number in numbers:
            self._deliver(ActionRefused(number, Code.LOST, "", why))

    def _doubt(self) -> None:
        """The server of our line may be gone: look for the match on a second line."""
        if self._is_over or self._line is None or self.farewell is not None:
            return
        self._is_doubted = True
        self._run(self._come_back(_DIRECT))

    def _turned_away(self, line: _Line, event: Rejected) -> None:
        if event.code == Code.KICKED:
            self._finish(Code.KICKED)
        elif event.code == Code.SEAT_TAKEN:
            has_asked = isinstance(self._next, GameLine) and self._next.link is not None
            if line is self._line and has_asked:
                # Our own newer line has the seat; its welcome is on the way.
                self._drop_line()
            else:
                # By another program with our player key.
                self._finish(Code.REPLACED)
        else:
            self.attempts.put_off(event.retry_after)
            self.lost(line, event.code)

    def lost(self, line: _Line, why: str) -> None:
        """A line broke, or counts as broken."""
        if self._is_over or (line is not self._line and line is not self._next):
            return
        self._log.debug(
            "match {match_id}: line lost: {why}",
            match_id=self._found.match_id,
            why=why,
        )
        if line is self._next:
            if self._is_direct:
                self.attempts.direct_failed(why, self._reactor.seconds())
            elif self.attempts.failed(why, line.is_answered):
                self._log.info(
                    "match {match_id}: no answer; trying over {way}",
                    match_id=self._found.match_id,
                    way=self.attempts.way,
                )
            self._give_up_next()
            return
        self._drop_line()
        if self.farewell is not None:
            self._finish(self.farewell)
            return
        if why == "closed":
            self.attempts.put_off(_LEAVING)
        if not self._is_returning:
            self._run(self._come_back(_DIRECT if why in _SUDDEN else 0))

    def _drop_line(self) -> None:
        """Let go of the line that has the seat."""
        line, self._line = self._line, None
        if line is not None:
            # Only a server that gave us the seat counts as heard.
            self._heard = line.heard
            self._overdue.pop(line, None)
            line.close()

    def _give_up_next(self) -> None:
        """Let go of the line that tries to take the seat."""
        line, self._next = self._next, None
        if line is not None:
            self._overdue.pop(line, None)
            line.close()
        self._taken(False)

    def _lines(self) -> list[_Line]:
        return [line for line in (self._line, self._next) if line is not None]

    def _silent_at(self) -> float | None:
        return min((line.heard + line.silence for line in self._lines()), default=None)

    def _silent(self) -> None:
        now = self._reactor.seconds()
        for line in self._lines():
            due = line.heard + line.silence
            if due > now:
                continue
            if self._overdue.get(line) != due:
                # If we were held up ourselves, what came meanwhile is read after this
                # alarm, and before the next one, which follows at once.
                self._overdue[line] = due
            else:
                self.lost(line, "silence")


def _line_seat(found: MatchFound) -> LineSeat:
    return LineSeat(JoinRoom(found.game, found.match_id))


async def _address(reactor: Any, host: str) -> str:
    """Find the IP address of a game server's host."""
    try:
        ip_address(host)
    except ValueError:
        address: str = await reactor.resolve(host)
        return address
    return host
