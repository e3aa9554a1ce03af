"""One match, as a player sees it: states, events, actions, and its end."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import random
from typing import Any, Final, Literal, Protocol

import attrs
from msgspec import msgpack
from twisted.internet.defer import Deferred

from vinom.base.messages.lobby import MatchFound, SeatName
from vinom.base.reactor.alarm import Timer
from vinom.client.game_line import IPlayReactor
from vinom.client.lobby import LobbyClient
from vinom.client.seat import Attempts, Seat, Way
from vinom.errors import VinomError
from vinom.net.dtls.port import IDatagramFilter
from vinom.net.packets.player import (
    ActionRefused,
    EventArrived,
    Joined,
    MatchOver,
    PlayerEvent,
    RoundEnded,
    StateArrived,
)

#: How long to wait for the last state after the end, seconds: as long as a game server
#: tries to deliver it.
_LAST_STATE = 2.0
_decode = msgpack.Decoder().decode
_encode = msgpack.Encoder().encode

#: How long a match tries to get its seat back, seconds. It is longer than a match needs
#: to go on when the machine of its game server dies: the game server's lease
#: (``orphan_seconds``, 45), and some more.
LONGEST_SILENCE: Final = 90.0


def shown_tick(tick: float | None, newest: int) -> int:
    """
    Return what an action says that its player was shown.

    :param tick: what the caller says, as in `Match.act`; before the first tick it is
        sent as 0, as `vinom.js` does.
    :param newest: the tick of the view.
    """
    return newest if tick is None else max(0, round(tick))


class MatchLost(VinomError):
    """The seat was never taken."""


@attrs.frozen
class MatchResult:
    """
    How a match ended for us.

    :ivar match_id: its id.
    :ivar reason: one of `vinom.errors.Code`; ``"left"`` if we left.
    :ivar outcome: ``{round, places, scores}``, if a round has ended.
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
    The game server refused an action.

    :ivar number: what `Match.act` returned.
    :ivar code: one of `vinom.errors.Code`; ``rejected`` if the game's rules forbid it.
    :ivar reason: the game's own short reason.
    :ivar message: the reason in words.
    """

    number: int
    code: str
    reason: str
    message: str


class Observer(Protocol):
    """Sees all that goes between a client and its match, such as a `Witness`."""

    def acted(self, number: int, action: bytes) -> None:
        """An action was sent; *number* is 0 if it could not be."""

    def took(self, event: PlayerEvent) -> None:
        """The game server sent something, which the match has not handled yet."""


class Match:
    """
    Play one match. Made by `vinom.client.sdk.Client.queue`.

    A lost seat is taken back automatically, see `vinom.client.seat.Seat`. Actions that
    the game server has not acknowledged are sent again then; each is applied once. Only
    those on their way when UDP stops working, or the lobby instead of it, are refused
    as ``lost``: whether they were applied is unknown.

    :param reactor: for time and UDP.
    :param lobby: finds the match again.
    :param found: the match.
    :param timeout: how long to try to get a lost seat back, seconds.
    :param datagram_filter: between its connections and the network.
    :param way: see `vinom.client.sdk.connect`.
    :param chance: gives numbers from 0 to 1, which lengthen the pauses that the server
        asks for.
    :ivar match_id: its id.
    :ivar game: name of the game.
    :ivar seat: our seat.
    :ivar players: all players, by seat.
    :ivar setup: what never changes, decoded; ``None`` if the game has none.
    :ivar view: the latest state, decoded; ``None`` before the first.
    :ivar version: of that state.
    :ivar time: match time of that state, seconds.
    :ivar tick: the last fixed step before that state; 0 if the game has none.
    :ivar seen_at: when that state arrived, on the reactor's clock.
    :ivar acked: number of our latest action that this state answers.
    :ivar outcome: ``{round, places, scores}`` of the latest round that ended.
    :ivar went_back: the match's machine died, and it goes on from a second before.
    """

    def __init__(
        self,
        reactor: IPlayReactor,
        lobby: LobbyClient,
        found: MatchFound,
        timeout: float = LONGEST_SILENCE,
        datagram_filter: IDatagramFilter | None = None,
        way: Way = "auto",
        chance: Callable[[], float] = random,
    ) -> None:
        self._reactor = reactor
        self.match_id, self.game = found.match_id, found.game
        self.seat, self.went_back = found.seat, found.went_back
        self.players: tuple[SeatName, ...] = found.players
        self.setup: Any = None
        self.view: Any = None
        self.version = self.tick = 0
        self.time = self.seen_at = 0.0
        self.acked = 0
        self.outcome: dict[str, Any] | None = None
        self._seat = Seat(
            reactor,
            lobby,
            found,
            Attempts(way, chance),
            timeout,
            self._take,
            self._finish,
            datagram_filter,
        )
        self._view = b""
        self._over: MatchOver | None = None
        self._last_call = Timer(reactor)
        self._result: MatchResult | None = None
        self._joined: list[Deferred[Match]] = []
        self._ended: list[Deferred[MatchResult]] = []
        self._observers: list[Observer] = []
        self._state_listeners: list[Callable[[Match], None]] = []
        self._event_listeners: list[Callable[[str, Any], None]] = []
        self._refusal_listeners: list[Callable[[Refusal], None]] = []

    # What the player does.

    def start(self) -> None:
        """Take the seat; called once."""
        self._seat.take()

    def act(self, action: Any, tick: float | None = None) -> int:
        """
        Send an action.

        :param action: a dict, or the game's own struct.
        :param tick: the tick that the player was shown, which may lie between two
            states; ``None`` for that of `view`.
        :returns: its number, which `acked` reaches when a state answers it; 0 if
            nothing was sent, because there is no connection or too many actions are
            waiting for their answer.
        :raises ValueError: it is too long.
        """
        encoded = _encode(action)
        number = self._seat.act(encoded, shown_tick(tick, self.tick))
        for observer in self._observers:
            observer.acted(number, encoded)
        return number

    def leave(self) -> None:
        """Give the seat up for good."""
        if self._result is None:
            self._seat.leave()
            self._finish("left")

    def moved(self, found: MatchFound) -> None:
        """
        Go on where the lobby says that this match is now.

        :param found: as the lobby sends it on an open line.
        """
        self.went_back |= found.went_back
        self._seat.moved(found)

    def on_state(self, listener: Callable[[Match], None]) -> None:
        """Call *listener* with the match whenever a newer state arrives."""
        self._state_listeners.append(listener)

    def on_event(self, listener: Callable[[str, Any], None]) -> None:
        """Call *listener* with the kind and data of each event, once and in order."""
        self._event_listeners.append(listener)

    def on_refusal(self, listener: Callable[[Refusal], None]) -> None:
        """Call *listener* when an action is refused."""
        self._refusal_listeners.append(listener)

    def observe(self, observer: Observer) -> None:
        """Have *observer* see everything, in order, before the listeners do."""
        self._observers.append(observer)

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
        """The names of all players, by seat."""
        return tuple(player.name for player in self.players)

    @property
    def is_connected(self) -> bool:
        """Is the seat ours now, as far as we know?"""
        return self._seat.is_taken

    @property
    def is_over(self) -> bool:
        """Is there a result?"""
        return self._result is not None

    @property
    def joins(self) -> int:
        """How often the seat was taken."""
        return self._seat.joins

    @property
    def handshakes(self) -> int:
        """How often a DTLS handshake was finished."""
        return self._seat.handshakes

    @property
    def rtt(self) -> float | None:
        """Round trip time, seconds; ``None`` before the first measurement."""
        line = self._seat.line
        return None if line is None else line.rtt

    @property
    def loss(self) -> float | None:
        """Share of recent packets that got lost, 0 to 1; ``None`` through the lobby."""
        line = self._seat.line
        return None if line is None else line.loss

    @property
    def way(self) -> Literal["udp", "lobby"]:
        """How the match is played now."""
        return self._seat.attempts.way

    # What the game server sends.

    def _take(self, event: PlayerEvent) -> None:
        for observer in self._observers:
            observer.took(event)
        if isinstance(event, StateArrived):
            self._see(event)
        elif isinstance(event, EventArrived):
            for call in self._event_listeners:
                call(event.kind, event.data)
        elif isinstance(event, ActionRefused):
            refusal = Refusal(event.seq, event.code, event.reason, event.message)
            for refused in self._refusal_listeners:
                refused(refusal)
        elif isinstance(event, RoundEnded):
            self.outcome = event.outcome
        elif isinstance(event, Joined):
            self._sit(event)
        elif isinstance(event, MatchOver):
            self._end(event)

    def _sit(self, event: Joined) -> None:
        self.seat = event.seat
        if event.setup:
            self.setup = _decode(event.setup)
        joined, self._joined = self._joined, []
        for waiting in joined:
            waiting.callback(self)

    def _see(self, event: StateArrived) -> None:
        if event.version < self.version:
            # It was sent before the connection was lost.
            return
        self.version, self.time, self.tick = event.version, event.time, event.tick
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
            self._seat.farewell = event.reason
            self._last_call.start(_LAST_STATE, self._finish, event.reason)

    def _finish(self, reason: str, outcome: dict[str, Any] | None = None) -> None:
        if self._result is not None:
            return
        self._seat.close()
        self.outcome = outcome or self.outcome
        self._last_call.cancel()
        over = self._over
        result = self._result = MatchResult(
            self.match_id,
            reason,
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
