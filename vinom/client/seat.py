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

from vinom.client.game_line import GameLine, IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.line_seat import LineSeat
from vinom.client.lobby import PAUSES, LobbyClient
from vinom.client.room_line import RoomLine
from vinom.dtls.port import IDatagramFilter
from vinom.errors import Code
from vinom.messages.lobby import MatchEnded, MatchFound, QueueStatus
from vinom.messages.rooms import JoinRoom
from vinom.packets.player import Joined, PlayerEvent, Rejected
from vinom.reactor.alarm import Alarm

#: How a seat is played: over UDP, through the lobby, or over UDP where that works.
Way = Literal["auto", "udp", "lobby"]
#: UDP counts as blocked once a port has refused us this many times in a row, or has
#: been silent once.
_MOST_REFUSED = 3
#: A seat that is lost sooner than this after it was taken, seconds, is taken back with
#: the pauses of one that could not be taken, so that nobody dials in a tight loop.
SETTLED = 5.0

_Outcome = dict[str, Any] | None


class Seat:
    """
    Hold one seat, over as many connections as it takes.

    After 3 s of silence, or when nobody listens at the port, the seat asks the lobby
    where the match is, and is taken there with a new token. While the lobby cannot be
    reached, the old address is tried with the resume token.

    If the lobby can be reached but the game server never answers, UDP is blocked: the
    seat is taken and played through the lobby from then on.

    :param reactor: for time and UDP.
    :param lobby: finds the match again, and opens lines to play it on.
    :param found: the match.
    :param timeout: how long to try to get a lost seat back, seconds.
    :param deliver: called with each event of the match.
    :param over: called once, with a reason and perhaps an outcome, when the seat
        is lost for good.
    :param datagram_filter: between its connections and the network.
    :param allowed: how it may be played.
    :param chance: gives a number from 0 to 1 on each call, for pauses.
    :ivar way: how it is played now.
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
        timeout: float,
        deliver: Callable[[PlayerEvent], None],
        over: Callable[[str, _Outcome], None],
        datagram_filter: IDatagramFilter | None = None,
        allowed: Way = "auto",
        chance: Callable[[], float] = random,
    ) -> None:
        self._reactor, self._lobby, self._found = reactor, lobby, found
        self._timeout, self._deliver, self._over = timeout, deliver, over
        self._datagram_filter, self._allowed, self._chance = (
            datagram_filter,
            allowed,
            chance,
        )
        self.way: Literal["udp", "lobby"] = "lobby" if allowed == "lobby" else "udp"
        self._refused = self._number = 0
        self.farewell: str | None = None
        self.joins = self.handshakes = 0
        self._line: GameLine | RoomLine | None = None
        self._taking: Deferred[bool] | None = None
        self._resume: bytes | None = None
        self._message, self._line_seat = 0, _line_seat(found)
        self._heard = reactor.seconds()
        self._attempt, self._taken_at = 0, -inf
        # How long the server asked us to wait, or slightly longer, seconds.
        self._hold = 0.0
        self._is_over = False
        self._silence = Alarm(reactor, self._silent_at, self._silent)
        self._doubted_at: float | None = None

    @property
    def is_taken(self) -> bool:
        """Is the seat ours now, as far as we know?"""
        return self._line is not None and self._taking is None

    @property
    def line(self) -> GameLine | RoomLine | None:
        """The line, if there is one."""
        return self._line

    def take(self) -> None:
        """Take the seat; called once."""
        self._run(self._begin())

    def act(self, action: bytes) -> int:
        """
        Send an action.

        :returns: its number; 0 if it could not be sent.
        :raises ValueError: it is too long.
        """
        if self._line is None or self._taking is not None:
            return 0
        number = self._line.act(action)
        self._number = max(self._number, number)
        return number

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
        self._taken(False)

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

    async def _begin(self) -> None:
        if not await self._go():
            await self._come_back()

    async def _go(self) -> bool:
        """Take the seat where the lobby says it is; did it work?"""
        if self.way == "udp":
            # A place held through the lobby is gone once the seat is taken over UDP.
            self._line_seat = _line_seat(self._found)
            return await self._dial(self._found, token=self._found.token)
        line = RoomLine(
            self._reactor,
            self._lobby,
            self._found,
            self._number,
            self._line_seat,
            deliver=self._take,
            lost=self._lose,
        )
        return await self._try(line)

    async def _come_back(self) -> None:
        if self._reactor.seconds() - self._taken_at >= SETTLED:
            self._attempt = 0
        while not self._is_over:
            pause, self._hold = self._hold, 0.0
            if self._attempt:
                pause = max(pause, PAUSES[min(self._attempt, len(PAUSES)) - 1])
            if pause:
                await deferLater(self._reactor, pause)
            self._attempt += 1
            if self._reactor.seconds() - self._heard > self._timeout:
                self._finish(Code.LOST)
            elif not self._is_over and await self._try_again():
                return

    async def _try_again(self) -> bool:
        """Ask where the match is, and take the seat there; is there no more to try?"""
        try:
            place = await self._lobby.whereabouts()
        except (LineLost, LobbyRefusal):
            # The game server may run on without its lobby.
            if self._resume is None:
                return False
            return await self._dial(self._found, resume=self._resume)
        match_id = self._found.match_id
        if isinstance(place, MatchFound) and place.match_id == match_id:
            self._found = place
            return await self._go()
        if isinstance(place, MatchEnded) and place.match_id == match_id:
            self._finish(place.reason, place.outcome)
        elif isinstance(place, QueueStatus) and place.state == "matched":
            return False
        elif isinstance(place, QueueStatus):
            # Only a void match puts its players back into the queue.
            self._finish(Code.VOID)
        else:
            self._finish(Code.LOST)
        return True

    async def _dial(
        self, found: MatchFound, token: str | None = None, resume: bytes | None = None
    ) -> bool:
        """Take the seat at one address; did it work?"""
        try:
            host = await _address(self._reactor, found.host)
        except Exception as error:
            self._log.info("cannot resolve {host}: {why}", host=found.host, why=error)
            return False
        if self._is_over:
            return True
        line = GameLine(
            self._reactor,
            host,
            found.port,
            found.server_name,
            found.certificate.encode("ascii"),
            token=token,
            resume=resume,
            heard=self._message,
            opened=self._opened,
            deliver=self._take,
            lost=self._lose,
            datagram_filter=self._datagram_filter,
        )
        return await self._try(line)

    async def _try(self, line: GameLine | RoomLine) -> bool:
        """Wait for the outcome: is the seat taken on this line?"""
        taking: Deferred[bool] = Deferred()
        self._taking, self._line = taking, line
        self._silence.arm()
        return await taking

    # What happens to a line.

    def _opened(self) -> None:
        self.handshakes += 1

    def _taken(self, worked: bool) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.callback(worked)

    def _take(self, event: PlayerEvent) -> None:
        if isinstance(event, Joined) and self._taking is not None:
            self.joins += 1
            self._taken_at = self._reactor.seconds()
            self._resume = event.resume or None
            self._refused = 0
            self._taken(True)
        elif isinstance(event, Rejected):
            self._turned_away(event)
            return
        self._deliver(event)

    def _turned_away(self, event: Rejected) -> None:
        if event.code == Code.KICKED:
            self._finish(Code.KICKED)
        elif event.code == Code.SEAT_TAKEN:
            # By our own newer connection, or by another program with our player key.
            self._finish(Code.REPLACED)
        else:
            # Not all clients that it turned away should return in the same moment.
            self._hold = event.retry_after * (1 + self._chance() / 2)
            self._lose(event.code)

    def _lose(self, why: str) -> None:
        """The line broke, or counts as broken."""
        if self._is_over:
            return
        self._log.debug(
            "match {match_id}: line lost: {why}",
            match_id=self._found.match_id,
            why=why,
        )
        if self._taking is not None and self._line is not None:
            self._note_block(self._line, why)
        self._drop_line()
        if self.farewell is not None:
            self._finish(self.farewell)
        elif self._taking is not None:
            self._taken(False)
        else:
            self._run(self._come_back())

    def _note_block(self, line: GameLine | RoomLine, why: str) -> None:
        """A line broke before the seat was taken: is UDP blocked?"""
        if self._allowed != "auto" or why == Code.BUSY:
            return
        if self.way == "lobby":
            # The lobby does not work either; perhaps UDP does now.
            self.way, self._refused = "udp", 0
            return
        if line.is_answered:
            return
        self._refused += 1 if why == "refused" else _MOST_REFUSED
        if self._refused >= _MOST_REFUSED:
            self._log.info(
                "match {match_id}: no answer over UDP; trying through the lobby",
                match_id=self._found.match_id,
            )
            self.way = "lobby"

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            if self._taking is None:
                # Only a server that gave us the seat counts as heard.
                self._heard = line.heard
            self._message = line.message
            line.close()

    def _silent_at(self) -> float | None:
        line = self._line
        return None if line is None else line.heard + line.silence

    def _silent(self) -> None:
        due = self._silent_at()
        if self._doubted_at != due:
            # If we were held up ourselves, what came meanwhile is read after this
            # alarm, and before the next one, which follows at once.
            self._doubted_at = due
        else:
            self._lose("silence")


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
