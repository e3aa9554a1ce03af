"""A seat in a running match, which takes itself back when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import attrs
from msgspec import msgpack
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom.client.alarm import Alarm
from vinom.client.game_line import GameLine, IPlayReactor
from vinom.client.line import LineLost, LobbyRefusal
from vinom.client.lobby import PAUSES, LobbyClient
from vinom.errors import Code, VinomError
from vinom.wire.messages import MatchEnded, MatchFound, QueueStatus, SeatName
from vinom.wire.playerlink import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    Rejected,
    RoundEnded,
    StateArrived,
)

#: Silence after which a seat is taken back, seconds.
SILENCE = 3.0
#: How long the last state may come after the end, seconds.
_LAST_STATE = 1.0
_decode = msgpack.Decoder().decode
_encode = msgpack.Encoder().encode


class MatchLost(VinomError):
    """The seat was never taken."""


@attrs.frozen
class MatchResult:
    """
    How a match ended for us.

    :ivar reason: one of `vinom.errors.Code`; ``"left"`` if we left.
    :ivar outcome: ``{round, places, scores}``, if a round was ended.
    :ivar version: of the last state, as the server announced it.
    :ivar view_hash: of the last public view, as the server announced it.
    :ivar seen_version: of the last state that arrived here.
    :ivar seen_hash: of the last view that arrived here, the same way.
    """

    match_id: str
    reason: str
    outcome: dict[str, Any] | None = None
    version: int = 0
    view_hash: str = ""
    seen_version: int = 0
    seen_hash: str = ""


@attrs.frozen
class Refusal:
    """
    The game server said no to an action.

    :ivar number: what `Match.act` gave.
    :ivar reason: the game's own short reason.
    """

    number: int
    code: str
    reason: str
    message: str


class Match:
    """
    Play one match. Made by `vinom.client.sdk.Client.queue`.

    The seat is taken back by itself: after 3 s of silence, or when nobody
    listens at the port, the lobby is asked where the match is. An action whose
    answer was still to come then is not sent again: see it in the next view.

    :param patience: how long a lost seat is looked for, seconds.
    :ivar seat: our number.
    :ivar players: everybody's.
    :ivar setup: what never changes, decoded; ``None`` if the game has none.
    :ivar view: the latest state, decoded; ``None`` before the first.
    :ivar version: of that state.
    :ivar time: match time of that state, seconds.
    :ivar seen_at: when that state came, on the reactor's clock.
    :ivar acked: the number of our latest action which that state answers.
    :ivar outcome: ``{round, places, scores}`` of the latest round that ended.
    :ivar joins: how often the seat was taken.
    :ivar handshakes: how often a connection was made.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        found: MatchFound,
        patience: float = 60.0,
    ) -> None:
        self._reactor, self._lobby, self._found = reactor, lobby, found
        self._patience = patience
        self.match_id, self.game = found.match_id, found.game
        self.seat = found.seat
        self.players: tuple[SeatName, ...] = found.players
        self.setup: Any = None
        self.view: Any = None
        self.version = 0
        self.time = self.seen_at = 0.0
        self.acked = 0
        self.joins = self.handshakes = 0
        self._joined: list[Deferred[Match]] = []
        self._ended: list[Deferred[MatchResult]] = []
        self._result: MatchResult | None = None
        self.outcome: dict[str, Any] | None = None
        self._view = b""
        self._resume: bytes | None = None
        self._message = 0
        self._line: GameLine | None = None
        self._taking: Deferred[bool] | None = None
        self._heard = reactor.seconds()
        self._over: MatchOver | None = None
        self._last_call: IDelayedCall | None = None
        self._is_over = False
        self._silence = Alarm(reactor, self._silent_at, self._silent)
        self._state_listeners: list[Callable[[Match], None]] = []
        self._event_listeners: list[Callable[[str, Any], None]] = []
        self._refusal_listeners: list[Callable[[Refusal], None]] = []

    # What the player does.

    def start(self) -> None:
        """Take the seat; called once."""
        self._run(self._take_seat())

    def act(self, action: Any) -> int:
        """
        Send an action: a struct of the game's, or the dict that it would be.

        :returns: its number, which `acked` reaches when a state answers it; 0
            if nothing was sent: there is no connection, or too many actions
            wait for their answer.
        :raises ValueError: it is too long.
        """
        line = self._line
        if line is None or self._is_over or not self.joins:
            return 0
        return line.act(_encode(action))

    def leave(self) -> None:
        """Give the seat up for good."""
        if not self._is_over:
            if self._line is not None:
                self._line.leave()
                self._line = None
            self._finish("left")

    def on_state(self, listener: Callable[[Match], None]) -> None:
        """Call *listener* with the match whenever a newer state arrived."""
        self._state_listeners.append(listener)

    def on_event(self, listener: Callable[[str, Any], None]) -> None:
        """Call *listener* with kind and data of each event, once and in order."""
        self._event_listeners.append(listener)

    def on_refusal(self, listener: Callable[[Refusal], None]) -> None:
        """Call *listener* when an action is refused."""
        self._refusal_listeners.append(listener)

    @property
    def joined(self) -> Deferred[Match]:
        """Fires with the match once the seat is taken; fails with `MatchLost`."""
        waiting: Deferred[Match] = Deferred()
        if self.joins:
            waiting.callback(self)
        elif self._result is not None:
            waiting.errback(_never_joined(self._result))
        else:
            self._joined.append(waiting)
        return waiting

    @property
    def ended(self) -> Deferred[MatchResult]:
        """Fires with how the match ended for us; never fails."""
        waiting: Deferred[MatchResult] = Deferred()
        if self._result is not None:
            waiting.callback(self._result)
        else:
            self._ended.append(waiting)
        return waiting

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody's names, by seat."""
        return tuple(player.name for player in self.players)

    @property
    def is_connected(self) -> bool:
        """Is the seat ours right now, as far as we know?"""
        return self._line is not None and self._taking is None and not self._is_over

    @property
    def is_over(self) -> bool:
        """Is there a result?"""
        return self._is_over

    @property
    def rtt(self) -> float | None:
        """Round trip time, seconds; ``None`` before the first measurement."""
        link = self._line.link if self._line is not None else None
        return None if link is None else link.rtt

    @property
    def loss(self) -> float | None:
        """Share of packets that got lost lately, 0 to 1."""
        link = self._line.link if self._line is not None else None
        return None if link is None else link.loss

    # Taking the seat, and taking it back.

    def _run(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: self._log.failure(
                "match {match_id} cannot go on", failure, match_id=self.match_id
            )
        ).addErrback(lambda _: self._finish(Code.INTERNAL))

    async def _take_seat(self) -> None:
        if not await self._dial(self._found, token=self._found.token):
            await self._come_back()

    async def _come_back(self) -> None:
        attempt = 0
        while not self._is_over:
            if attempt:
                pause = PAUSES[min(attempt, len(PAUSES)) - 1]
                await deferLater(self._reactor, pause, _nothing)
            attempt += 1
            if self._reactor.seconds() - self._heard > self._patience:
                self._finish(Code.LOST)
            elif not self._is_over and await self._try_again():
                return

    async def _try_again(self) -> bool:
        try:
            place = await self._lobby.whereabouts()
        except (LineLost, LobbyRefusal):
            # The game server may live on without its lobby.
            if self._resume is None or self._is_over:
                return False
            return await self._dial(self._found, resume=self._resume)
        if self._is_over:
            return True
        if isinstance(place, MatchFound) and place.match_id == self.match_id:
            self._found = place
            return await self._dial(place, token=place.token)
        if isinstance(place, MatchEnded) and place.match_id == self.match_id:
            self.outcome = place.outcome or self.outcome
            self._finish(place.reason)
            return True
        if isinstance(place, QueueStatus) and place.state == "matched":
            return False
        # A queue entry means that this match was void.
        waits = isinstance(place, QueueStatus)
        self._finish(Code.VOID if waits and not self.version else Code.LOST)
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
        taking = self._taking = Deferred(lambda _: None)
        self._line = GameLine(
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
        )
        self._silence.arm()
        return await taking

    def _opened(self) -> None:
        self.handshakes += 1

    def _taken(self, worked: bool) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.callback(worked)

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            if self._taking is None:
                # A server that never gave us the seat does not count as heard.
                self._heard = line.heard
            self._message = line.message
            line.close()

    def _lose(self, why: str) -> None:
        """The line broke, or is as good as broken."""
        if self._is_over:
            return
        self._log.debug(
            "match {match_id}: line lost: {why}", match_id=self.match_id, why=why
        )
        self._drop_line()
        if self._over is not None:
            self._finish(self._over.reason)
        elif self._taking is not None:
            self._taken(False)
        else:
            self._run(self._come_back())

    def _silent_at(self) -> float | None:
        return None if self._line is None else self._line.heard + SILENCE

    def _silent(self) -> None:
        self._lose("silence")

    # What the game server tells.

    def _take(self, event: PlayerEvent) -> None:
        if isinstance(event, StateArrived):
            self._see(event)
        elif isinstance(event, EventArrived):
            for hear in self._event_listeners:
                hear(event.kind, event.data)
        elif isinstance(event, ActionRefused):
            refusal = Refusal(event.seq, event.code, event.reason, event.message)
            for told in self._refusal_listeners:
                told(refusal)
        elif isinstance(event, RoundEnded):
            self.outcome = event.outcome
        elif isinstance(event, Joined):
            self._sit(event)
        elif isinstance(event, MatchOver):
            self._end(event)
        elif isinstance(event, Rejected):
            self._turned_away(event)

    def _sit(self, event: Joined) -> None:
        self.joins += 1
        self.seat, self._resume = event.seat, event.resume
        if event.setup:
            self.setup = _decode(event.setup)
        self._taken(True)
        joined, self._joined = self._joined, []
        for waiting in joined:
            waiting.callback(self)

    def _see(self, event: StateArrived) -> None:
        if event.version < self.version:
            # From before the line was lost.
            return
        self.version, self.time = event.version, event.time
        self.seen_at = self._reactor.seconds()
        self.acked, self._view = event.acked, event.view
        self.view = _decode(event.view)
        for look in self._state_listeners:
            look(self)
        if self._over is not None and self.version >= self._over.version:
            self._finish(self._over.reason)

    def _end(self, event: MatchOver) -> None:
        self._over = event
        self.outcome = event.outcome or self.outcome
        if self.version >= event.version:
            self._finish(event.reason)
        else:
            self._last_call = self._reactor.callLater(
                _LAST_STATE, self._finish, event.reason
            )

    def _turned_away(self, event: Rejected) -> None:
        self._drop_line()
        if event.code == Code.KICKED:
            self._finish(Code.KICKED)
        elif event.code == Code.SEAT_TAKEN:
            # Our own newer connection, or whoever has our player key.
            self._finish(Code.REPLACED)
        else:
            self._lose(event.code)

    def _finish(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._silence.stop()
        self._drop_line()
        self._taken(False)
        if self._last_call is not None and self._last_call.active():
            self._last_call.cancel()
        over = self._over
        result = self._result = MatchResult(
            self.match_id,
            str(reason),
            self.outcome,
            over.version if over else 0,
            over.view_hash if over else "",
            self.version,
            sha256(self._view).hexdigest()[:16] if self._view else "",
        )
        joined, self._joined = self._joined, []
        for unseated in joined:
            unseated.errback(_never_joined(result))
        ended, self._ended = self._ended, []
        for waiting in ended:
            waiting.callback(result)


def _never_joined(result: MatchResult) -> MatchLost:
    return MatchLost(f"match {result.match_id} is over: {result.reason}")


def _nothing() -> None:
    """Time has passed."""


async def _address(reactor: Any, host: str) -> str:
    """Find the address of a game server, which may be named."""
    try:
        ip_address(host)
    except ValueError:
        address: str = await reactor.resolve(host)
        return address
    return host
