"""
Connections without a seat: check their proofs, and give them their seats.

`Reception` has the connections; `Workload` refuses newcomers while the game server is
overloaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from twisted.logger import Logger

from vinom.base.limits.logged import BoundedLog
from vinom.base.limits.pressure import Overload, busy
from vinom.base.reactor.alarm import Alarm
from vinom.base.reactor.steady import time_of_day
from vinom.base.reactor.turns import TurnWatch
from vinom.base.tokens import Claims, TokenVerifier
from vinom.errors import Code, Refused
from vinom.fleet.gameserver.room import Connection, HostedRoom, HostedSeat
from vinom.fleet.gameserver.seats import Runtime
from vinom.net.dtls.port import DatagramPort
from vinom.net.packets.seat import JoinAsked, SeatEvent

_log = Logger()


class Workload:
    """
    Judge by the reactor's turns whether there is an overload; log each change.

    A port sees only its own part of a turn: ticks and relayed actions send nothing
    there, or only later. `TurnWatch` measures whole turns.

    :ivar figures: counts the overloads, among others.
    :ivar port_turned: to call after each turn of the port, with how long it took and
        when it ended; ``None`` if whole turns are measured.
    """

    _log = Logger()

    def __init__(self, figures: Counter[str], turns: TurnWatch | None = None) -> None:
        """
        Start without an overload.

        :param figures: see the attribute.
        :param turns: measures whole turns of the reactor; ``None`` if nothing does.
        """
        self._overload = overload = Overload(changed=self._changed)
        self.figures = figures
        self.port_turned: Callable[[float, float], None] | None = overload.turned
        if turns is not None and turns.report_to(overload.turned, overload.short):
            self.port_turned = None

    def is_high(self, now: float) -> bool:
        """Is there an overload, so that newcomers must wait?"""
        return self._overload.is_high(now)

    def _changed(self, is_high: bool) -> None:
        if is_high:
            self.figures["overloads"] += 1
            self._log.warn(
                "overloaded, turns take {average:.3f} s: new players must wait",
                average=self._overload.average,
            )
        else:
            self._log.info("no longer overloaded: new players can join")


#: Most connections without a seat: somebody who has a ticket and many addresses can
#: make them faster than they time out.
MOST_CONNECTIONS = 256

#: A connection on which something arrived this lately is in use, seconds. Players
#: report what they have received more often.
IN_USE = 3.0


class Reception:
    """
    Give players their seats.

    :ivar port: sends to them.
    :ivar log: logs refusals.
    """

    def __init__(
        self,
        rooms: Mapping[str, HostedRoom],
        verifier: TokenVerifier,
        runtime: Runtime,
        port: DatagramPort,
        workload: Workload,
    ) -> None:
        """
        Start without connections.

        :param rooms: by match id.
        :param verifier: checks connect tokens.
        :param runtime: tokens expire by its reactor's clock; links use the other one.
        :param port: sends to players.
        :param workload: refuses newcomers during an overload; joins are counted, by
            result, in its figures.
        """
        self.port = port
        self._clock, self._seconds = runtime.reactor, runtime.seconds
        self.log = BoundedLog(_log, self._clock)
        self._rooms, self._verifier, self._entropy = rooms, verifier, runtime.entropy
        self._figures, self._workload = workload.figures, workload
        # Oldest first.
        self._connections: dict[Connection, None] = {}
        self._alarm = Alarm(self._clock, self._deadline, self._ring, self._seconds)

    def __len__(self) -> int:
        return len(self._connections)

    def trust(self, verifier: TokenVerifier) -> None:
        """Accept the tokens of other keys from now on."""
        self._verifier = verifier

    def add(self, connection: Connection) -> None:
        """
        Add a connection that is new, or has lost its seat to a newer one.

        If there are too many, the one that has been here longest is closed.
        """
        self._connections[connection] = None
        if len(self._connections) > MOST_CONNECTIONS:
            oldest = next(iter(self._connections))
            self._figures["lines_evicted"] += 1
            oldest.link.end()
            self._flush(oldest)
        self._alarm.arm()

    def discard(self, connection: Connection) -> None:
        """Remove a connection that is gone."""
        self._connections.pop(connection, None)

    def take(self, connection: Connection, news: list[SeatEvent], now: float) -> None:
        """Handle the events of a connection without a seat."""
        for item in news:
            if isinstance(item, JoinAsked):
                self._answer(connection, item, now)
        if connection.seat is None:
            self._flush(connection)
            self._alarm.arm()

    def _answer(self, connection: Connection, asked: JoinAsked, now: float) -> None:
        try:
            if self._is_newcomer(connection, asked) and self._workload.is_high(now):
                # Before anything is verified: current players come first.
                raise busy()
            hosted, seat = self._admit(connection, asked)
            older = seat.connection
            hosted.welcome(connection, seat, asked, now, self._entropy)
            self.port.prove(connection.association)
        except Refused as no:
            ticket = connection.association.ticket
            self.log.info(
                "a join is refused: {why}",
                why=no.message,
                match_id=None if ticket is None else ticket.match_id,
                seat=None if ticket is None else ticket.seat,
            )
            self._figures[f"joins_{no.code}"] += 1
            retry_after = no.details.get("retry_after", 0.0)
            connection.refuse(no.code, no.message, now, retry_after)
            return
        self._figures["joins_accepted"] += 1
        self._connections.pop(connection, None)
        if older is not None:
            # It is sent the reason for a while.
            self.add(older)
        hosted.end_turn(now)
        if older is not None:
            self._flush(older)

    def _is_newcomer(self, connection: Connection, asked: JoinAsked) -> bool:
        """By its ticket, has this player never been connected here?"""
        ticket = connection.association.ticket
        if asked.is_resume:
            return False
        hosted = None if ticket is None else self._rooms.get(ticket.match_id)
        if ticket is None or hosted is None:
            return True
        return not hosted.seats[ticket.seat].came

    def _admit(
        self, connection: Connection, asked: JoinAsked
    ) -> tuple[HostedRoom, HostedSeat]:
        """
        Find the seat that a proof is for.

        :raises Refused: it is invalid, or for another match or seat, or used up.
        """
        claims: Claims | None = None
        if asked.is_resume:
            hosted, seat = self._by_resume(connection, asked.proof)
        else:
            claims = self._claims(asked.proof)
            hosted, seat = self._by_claims(claims)
        ticket = connection.association.ticket
        if ticket is not None:
            if ticket.match_id != hosted.match_id:
                raise Refused(Code.WRONG_MATCH, "this connection is for another match")
            if ticket.seat != seat.number:
                raise Refused(Code.WRONG_SEAT, "this connection is for another seat")
        self._refuse_intruder(connection, seat)
        if claims is not None:
            seat.door.enter_by_token(claims)
        else:
            seat.door.enter_by_resume(asked.proof)
        return hosted, seat

    def _refuse_intruder(self, connection: Connection, seat: HostedSeat) -> None:
        """
        Let no player of another seat end a connection that is in use.

        Somebody with a seat of its own could send in the name of a player's address.

        :raises Refused: `Code.BUSY`: the address and port have another player, who
            sent something lately.
        """
        rival = self.port.rival_of(connection.association)
        owner = None if rival is None else rival.owner
        if (
            rival is not None
            and isinstance(owner, Connection)
            and owner.seat is not None
            and owner.seat is not seat
            and self._clock.seconds() < rival.received_at + IN_USE
        ):
            raise Refused(
                Code.BUSY,
                "another player plays from this address and port; use another port",
                details={"retry_after": IN_USE},
            )

    def _by_resume(
        self, connection: Connection, resume: bytes
    ) -> tuple[HostedRoom, HostedSeat]:
        ticket = connection.association.ticket
        for match_id, hosted in self._rooms.items():
            if ticket is None or ticket.match_id == match_id:
                # All of them: the time must not reveal which one it is.
                found = [one for one in hosted.seats if one.door.is_resumed_by(resume)]
                if found:
                    return hosted, found[-1]
        raise Refused(Code.BAD_TOKEN, "this resume token is not known here")

    def _claims(self, proof: bytes) -> Claims:
        try:
            token = proof.decode("ascii")
        except UnicodeDecodeError as error:
            raise Refused(Code.BAD_TOKEN, "the token is not valid") from error
        return self._verifier.verify(token, time_of_day(self._clock)())

    def _by_claims(self, claims: Claims) -> tuple[HostedRoom, HostedSeat]:
        hosted = self._rooms.get(claims.match_id)
        if hosted is None:
            raise Refused(Code.WRONG_MATCH, "this match is not played here")
        planned = hosted.room.plan.seats
        if (
            claims.seat >= len(planned)
            or planned[claims.seat].player_id != claims.player_id
        ):
            raise Refused(
                Code.WRONG_SEAT,
                f"this token's player does not have seat {claims.seat}",
            )
        return hosted, hosted.seats[claims.seat]

    def _deadline(self) -> float | None:
        wanted = [connection.link.deadline() for connection in self._connections]
        return min((at for at in wanted if at is not None), default=None)

    def _ring(self) -> None:
        now = self._seconds()
        for connection in list(self._connections):
            connection.link.alarm(now)
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        connection.flush()
        if connection.link.phase == "over":
            self._connections.pop(connection, None)

    def close(self) -> None:
        """Close all connections."""
        self._alarm.stop()
        for connection in self._connections:
            connection.link.end()
            connection.flush()
        self._connections.clear()
