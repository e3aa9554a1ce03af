"""A game server of one seat: real DTLS, packets, tokens and room; no node."""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from vinom.base.messages.lobby import SeatName
from vinom.base.model import MatchPlan, SeatPlan
from vinom.base.tokens import TokenVerifier
from vinom.errors import Refused, Rejected
from vinom.games.maze import Maze
from vinom.net.dtls.channel import Connected, Received
from vinom.net.dtls.port import DatagramPort
from vinom.net.dtls.server import DtlsServer, ServerEvent
from vinom.net.packets.codec import state_tails
from vinom.net.packets.reliable import MessageStream, Welcome
from vinom.net.packets.seat import ActionArrived, Confirmed, JoinAsked, Left, SeatLink
from vinom.play.room import Room


class OneSeat:
    """Plays the maze with any player who has a token; the second seat never moves."""

    def __init__(
        self, clock: IReactorTime, server: DtlsServer, verifier: TokenVerifier
    ) -> None:
        seats = (SeatPlan("p0", "ann"), SeatPlan("p1", "bob"))
        self.room = Room(MatchPlan("m1", "maze", seats, 1), Maze(), time.time())
        self.port = DatagramPort(clock, server, self._deliver)
        self.joined: list[int] = []
        self.moves = 0
        self.has_left = False
        self._verifier = verifier

    def _deliver(self, events: list[ServerEvent]) -> None:
        now = time.time()
        for event in events:
            association = event.association
            if isinstance(event, Connected):
                association.owner = SeatLink(association.max_payload, now)
            elif isinstance(event, Received):
                link = association.owner
                assert isinstance(link, SeatLink)
                for news in link.receive(event.payload, now):
                    self._act(link, news, now)
                for packet in link.take_packets():
                    self.port.send(association, packet)

    def _act(self, link: SeatLink, news: object, now: float) -> None:
        if isinstance(news, JoinAsked):
            self._join(link, news, now)
        elif isinstance(news, Confirmed):
            self._show(link, now)
        elif isinstance(news, ActionArrived):
            try:
                self.room.act(0, self.room.decode_action(news.data), now)
                self.moves += 1
            except (Refused, Rejected):
                return
            self._show(link, now)
        elif isinstance(news, Left):
            self.has_left = True

    def _join(self, link: SeatLink, asked: JoinAsked, now: float) -> None:
        try:
            claims = self._verifier.verify(asked.proof.decode(), now)
        except Refused as refused:
            link.refuse(refused.code, refused.message, now)
            return
        self.joined.append(claims.seat)
        for seat in range(2):
            self.room.join(seat, now)
        names = tuple(
            SeatName(seat, plan.name, plan.player_id)
            for seat, plan in enumerate(self.room.plan.seats)
        )
        welcome = Welcome(
            claims.seat, 1, b"r" * 16, "m1", "maze", names, 0, 0, 1, self.room.setup()
        )
        link.welcome(welcome, MessageStream(), now)

    def _show(self, link: SeatLink, now: float) -> None:
        view = self.room.view(self.room.audience_of(0))
        version = self.room.version
        link.state(version, state_tails(version, 0, 0, view), link.consumed, now)
