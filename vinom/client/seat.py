"""A seat in a match: found in the lobby, taken, lost, and taken back."""

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
from vinom.client.lobby import PAUSES, LobbyClient
from vinom.client.room_line import RoomLine
from vinom.client.room_news import RoomNews
from vinom.dtls.port import IDatagramFilter
from vinom.errors import Code
from vinom.messages.lobby import MatchEnded, MatchFound, QueueStatus
from vinom.packets.player import Joined, PlayerEvent, Rejected
from vinom.reactor.alarm import Alarm

#: How a seat is played: by UDP, by way of the lobby, or by UDP where that works.
Way = Literal["auto", "udp", "lobby"]
#: So many times in a row a port refused us, or once it was silent: UDP is blocked.
_MOST_REFUSED = 3
#: A seat that is lost sooner than this after it was taken is taken back with the
#: pauses of one that could not be taken: nobody is dialed in a tight circle.
SETTLED = 5.0

_Outcome = dict[str, Any] | None


class Seat:
    """
    Hold one seat, over as many connections as it takes.

    After 3 s of silence, or when nobody listens at the port, the lobby is asked
    where the match is, and the seat taken there with a new token. While the
    lobby cannot be reached, the old place is tried with the resume token.

    Where UDP is blocked, so that the lobby can be reached and the game server is not
    heard at all, the seat is taken and played by way of the lobby from then on.

    :param patience: how long a lost seat is looked for, seconds.
    :param deliver: gets what the game server tells.
    :param over: called once, with a reason and perhaps an outcome, when the seat
        is lost for good.
    :ivar farewell: the reason to be over with, instead of coming back, when the
        line breaks; set when the match is known to be over.
    :param allowed: how it may be played.
    :param chance: from 0 to 1, and drawn anew each time.
    :ivar joins: how often the seat was taken.
    :ivar handshakes: how often a connection was made.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        found: MatchFound,
        patience: float,
        deliver: Callable[[PlayerEvent], None],
        over: Callable[[str, _Outcome], None],
        worn: IDatagramFilter | None = None,
        allowed: Way = "auto",
        chance: Callable[[], float] = random,
    ) -> None:
        self._reactor, self._lobby, self._found = reactor, lobby, found
        self._patience, self._deliver, self._told = patience, deliver, over
        self._worn, self._allowed, self._chance = worn, allowed, chance
        self.way: Literal["udp", "lobby"] = "lobby" if allowed == "lobby" else "udp"
        self._refused = self._number = 0
        self.farewell: str | None = None
        self.joins = self.handshakes = 0
        self._line: GameLine | RoomLine | None = None
        self._taking: Deferred[bool] | None = None
        self._resume: bytes | None = None
        self._message, self._news = 0, RoomNews()
        self._heard = reactor.seconds()
        self._attempt, self._taken_at = 0, -inf
        # What the server asked us to wait, or somewhat longer, seconds.
        self._hold = 0.0
        self._is_over = False
        self._silence = Alarm(reactor, self._silent_at, self._silent)

    @property
    def is_taken(self) -> bool:
        """Is the seat ours right now, as far as we know?"""
        return self._line is not None and self._taking is None

    @property
    def line(self) -> GameLine | RoomLine | None:
        """The line there is."""
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
            self._told(str(reason), outcome)

    # Finding the place.

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Failure) -> None:
            self._log.failure(
                "match {match_id} cannot go on",
                failure,
                match_id=self._found.match_id,
            )
            self._finish(Code.INTERNAL)

        Deferred.fromCoroutine(work).addErrback(failed)

    async def _begin(self) -> None:
        if not await self._go():
            await self._come_back()

    async def _go(self) -> bool:
        """Take the seat where we were told it is; did it work?"""
        if self.way == "udp":
            # Whatever place there was by way of the lobby is gone then.
            self._news = RoomNews()
            return await self._dial(self._found, token=self._found.token)
        line = RoomLine(
            self._reactor,
            self._lobby,
            self._found,
            self._number,
            self._news,
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
            if self._reactor.seconds() - self._heard > self._patience:
                self._finish(Code.LOST)
            elif not self._is_over and await self._try_again():
                return

    async def _try_again(self) -> bool:
        """Ask where the match is, and go there; is that settled?"""
        try:
            place = await self._lobby.whereabouts()
        except (LineLost, LobbyRefusal):
            # The game server may live on without its lobby.
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
            # Only a match that was void puts its players back into the queue.
            self._finish(Code.VOID)
        else:
            self._finish(Code.LOST)
        return True

    async def _dial(
        self, found: MatchFound, token: str | None = None, resume: bytes | None = None
    ) -> bool:
        """Take the seat at one place; did it work?"""
        try:
            host = await _address(self._reactor, found.host)
        except Exception as error:
            self._log.info("no address for {host}: {why}", host=found.host, why=error)
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
            worn=self._worn,
        )
        return await self._try(line)

    async def _try(self, line: GameLine | RoomLine) -> bool:
        """Wait until the seat is taken on this line, or is not."""
        taking: Deferred[bool] = Deferred()
        self._taking, self._line = taking, line
        self._silence.arm()
        return await taking

    # What becomes of a line.

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
            # Our own newer connection, or whoever has our player key.
            self._finish(Code.REPLACED)
        else:
            # Not all whom it turned away are to come in one moment.
            self._hold = event.retry_after * (1 + self._chance() / 2)
            self._lose(event.code)

    def _lose(self, why: str) -> None:
        """The line broke, or is as good as broken."""
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
        """A line broke before it had the seat: is it because UDP is blocked?"""
        if self._allowed != "auto" or why == Code.BUSY:
            return
        if self.way == "lobby":
            # That does not work either: perhaps UDP does now.
            self.way, self._refused = "udp", 0
            return
        if line.is_answered:
            return
        self._refused += 1 if why == "refused" else _MOST_REFUSED
        if self._refused >= _MOST_REFUSED:
            self._log.info(
                "match {match_id}: no answer over UDP; trying by way of the lobby",
                match_id=self._found.match_id,
            )
            self.way = "lobby"

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            if self._taking is None:
                # A server that never gave us the seat does not count as heard.
                self._heard = line.heard
            self._message = line.message
            line.close()

    def _silent_at(self) -> float | None:
        line = self._line
        return None if line is None else line.heard + line.silence

    def _silent(self) -> None:
        self._lose("silence")


async def _address(reactor: Any, host: str) -> str:
    """Find the address of a game server, which may be named."""
    try:
        ip_address(host)
    except ValueError:
        address: str = await reactor.resolve(host)
        return address
    return host
