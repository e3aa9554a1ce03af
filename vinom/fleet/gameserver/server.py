"""
The game server: a process that hosts rooms and serves players over UDP.

`GameServer` takes orders from its node over the control link. It ends when its work is
done, when the node orders it, or when the link has been lost for a while. It listens on
the port that the node names, and reports figures for the node's metrics (see
`vinom.base.reactor.figures`) and the ages of its cookie keys. Rooms and links use a
monotonic clock; tokens and tickets use seconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vinom.base.model import MatchEnd
from vinom.base.reactor.turns import TurnWatch
from vinom.errors import Misconfigured, Refused, Unreadable
from vinom.fleet.control import messages
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    AnyToServer,
    Bind,
    Ready,
    ToNode,
)
from vinom.fleet.gameserver.lease import Lease
from vinom.fleet.gameserver.matches import GameServerOptions, HostedMatches, title_of
from vinom.fleet.gameserver.outbox import NodeOutbox
from vinom.fleet.gameserver.player_port import PlayerPort, Players
from vinom.fleet.gameserver.room import HostedRoom
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.local.outliving import ENDS, IS_ADOPTED, PLAYS_ON
from vinom.game import Game
from vinom.play.guard import Guard
from vinom.play.hosting.host import LONGEST_TEXT
from vinom.play.hosting.recordings import Recordings

#: How long a hand-over may take when the time to drain is over, seconds.
LAST_HAND_OVER = 2.0
#: How soon a hand-over is tried again if the node does not read, seconds.
_HAND_OVER_AGAIN = 0.02


@attrs.frozen
class ProcessHooks:
    """
    What the process around a game server offers it.

    :ivar turns: measures the reactor's turns.
    :ivar guard: interrupts calls into games that take too long.
    :ivar bound: called once, when it has its port and nobody knows it yet.
    :ivar entitle: called with what it does, for lists of processes.
    :ivar outlives: notes whether it may: see `vinom.fleet.local.outliving`.
    """

    turns: TurnWatch | None = None
    guard: Guard | None = None
    bound: Callable[[], None] = lambda: None
    entitle: Callable[[str], None] = lambda what: None
    outlives: Callable[[int], None] = lambda how: None


@attrs.define
class Shutdown:
    """
    How far the end of a game server has come.

    :ivar rooms_left: how many more matches it may host.
    :ivar is_draining: it was asked to end after its matches.
    :ivar is_stopping: its matches were ended.
    :ivar is_handing_over: another process goes on with its matches.
    :ivar is_over: it does nothing more.
    """

    rooms_left: int
    is_draining: bool = False
    is_stopping: bool = False
    is_handing_over: bool = False
    is_over: bool = False
    _waiting: list[Deferred[None]] = attrs.field(factory=list)

    def wait(self) -> Deferred[None]:
        """Return a promise that fires when everything has ended."""
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        return done

    def ended(self) -> None:
        """Fire what waits for the end."""
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.called:
                done.callback(None)


class GameServer:
    """
    Host rooms for one node.

    :ivar matches: hosts them.
    :ivar players: are served at its port.
    :ivar rooms: the matches, by id.
    :ivar lease: how long it may play.
    """

    _log = Logger()

    def __init__(
        self,
        server_id: str,
        games: Mapping[str, Game[Any, Any]],
        runtime: Runtime,
        recordings: Recordings,
        stopped: Callable[[], None],
        options: GameServerOptions | None = None,
        process: ProcessHooks | None = None,
    ) -> None:
        """
        Start without a link, a port and rooms.

        :param server_id: its label inside the realm.
        :param games: by name.
        :param runtime: runs it.
        :param recordings: where matches are recorded.
        :param stopped: called once, when the process has nothing left to do.
        :param options: the operator's.
        :param process: what is around it.
        """
        options = options or GameServerOptions()
        self._process = process or ProcessHooks()
        self._server_id, self._stopped = server_id, stopped
        self._reactor: IReactorTime = runtime.reactor
        self._seconds = runtime.seconds
        self._outbox = NodeOutbox(
            self._reactor, self._seconds, options.lease, self.stop, self._fall_silent
        )
        self.players = Players(
            runtime,
            options.port,
            self._outbox.send,
            self._process.turns,
        )
        self.players.relays.is_behind = lambda: self._outbox.is_behind()
        self.rooms = self.players.rooms
        self.matches = HostedMatches(
            games,
            recordings,
            options,
            self._process.guard,
            self._outbox,
            self.players,
            self._forget,
        )
        # Also if it was ordered to do without a port.
        self._bound_to: Bind | None = None
        self.lease = Lease(options.lease)
        self._shutdown = Shutdown(options.rooms_limit)
        self._is_adopted = False
        self._process.entitle("warm")

    # Its link to the node.

    def linked(
        self,
        send: Callable[[ToNode], None],
        is_behind: Callable[[], bool] | None = None,
        is_lossy: bool = False,
        send_all: Callable[[Sequence[ToNode]], None] | None = None,
    ) -> None:
        """
        Use a link over which `ready` was sent; otherwise as `NodeOutbox.linked`.

        :param is_lossy: see `Checkpoints`.
        """
        self.lease.linked(self._seconds())
        self.matches.checkpoints.is_lossy = is_lossy
        self._outbox.linked(send, is_behind, send_all)

    @property
    def port(self) -> PlayerPort | None:
        """Where players come; ``None`` if there is no port."""
        return self.players.port

    @property
    def plays_on(self) -> bool:
        """Is it without a node, and may another one still come?"""
        return self._outbox.plays_on

    def ready(self, pid: int) -> Ready:
        """
        Write the first message over a link.

        :param pid: of this process.
        """
        bound_to = self._bound_to
        return Ready(
            self._server_id,
            pid,
            CONTROL_PROTOCOL,
            matches=(*self.matches.playing(), *self._outbox.ended),
            label="" if bound_to is None else bound_to.server,
            port=0 if bound_to is None else bound_to.port,
        )

    def unlinked(self) -> None:
        """Note that the control link is lost: matches are played on for a while."""
        self.matches.checkpoints.is_lossy = False
        self._outbox.unlinked()
        if not self._shutdown.is_over:
            self._outbox.wait(bool(self.matches.own()))
            self.matches.unlinked(self._seconds())

    def caught_up(self) -> None:
        """Show what was held while the node did not read what it was sent."""
        self.matches.show_held(self._seconds())
        if self.port is not None:
            self.port.datagrams.try_again()

    def send_recording(
        self, match_id: str, part: int, at: int, data: bytes, is_report: bool
    ) -> None:
        """Send what is to be written to a recording on the node's machine."""
        self._outbox.record(messages.RecordingData(match_id, part, at, data, is_report))

    # Orders of the node.

    def received(self, message: AnyToServer) -> None:
        """Carry out an order of the node."""
        if not self.rooms and self.lease.is_over(self._seconds()):
            # It stood still, or this process did: nothing here may reach a player.
            if not (self._shutdown.is_draining or self._shutdown.is_over):
                self._log.warn("no node has been there for long: this process ends")
                self.drain()
            return
        match message:
            case messages.Heartbeat():
                self._outbox.forget(self.rooms)
                self.lease.beat(message.number, self._seconds())
                keys = self.players.cookie_keys()
                alive = messages.Alive(message.number, self.measure(), keys)
                self._outbox.send(alive)
            case Bind():
                self._bind(message)
            case messages.OpenRoom():
                self._open_room(message)
            case messages.AddTicket():
                if message.ticket.match_id in self.rooms:
                    self.players.admit([message.ticket])
                self._outbox.send(messages.TicketAdded(message.ticket.label))
            case messages.Kick():
                self.players.kick(message.match_id, message.seat)
            case messages.CloseRoom():
                self.matches.close(message.reason, [message.match_id])
            case messages.KeptTaken():
                self.matches.kept_taken(message)
            case messages.HandOver():
                self._hand_over()
            case messages.TokenKeys():
                self._take_keys(message)
            case (
                messages.RelayWatch()
                | messages.RelaySeat()
                | messages.RelayNewcomer()
                | messages.RelayAction()
            ):
                self.players.relays.take(message)
            case messages.RotateCookies():
                self.players.rotate_cookies()
            case messages.Adopted(match_ids, file, again):
                self.matches.use_file(file)
                self._adopted(match_ids, again)
            case messages.Stop():
                self.stop()

    def _take_keys(self, order: messages.TokenKeys) -> None:
        """Replace the token keys; before a port is bound, `Bind` will bring them."""
        try:
            self.players.trust(order.keys)
        except Misconfigured as error:
            self._log.error("token keys are refused: {why}", why=str(error))
            return
        self._outbox.send(messages.TokenKeysTaken(order.number))

    def _bind(self, bind: Bind) -> None:
        if self._bound_to is not None:
            why = "this game server has already bound a port"
            self._outbox.send(messages.BindFailed(bind.port, why))
            return
        # Without a port the node has the players' connections.
        if bind.port:
            try:
                port = self.players.listen(bind, self._may_send)
            except (CannotListenError, Misconfigured) as error:
                self._log.warn("port {port}: {why}", port=bind.port, why=str(error))
                self._outbox.send(messages.BindFailed(bind.port, str(error)))
                return
            # Players of a match that goes on here know the port already. What they send
            # is read once the match is open: before that nobody would answer it.
            port.datagrams.pause()
        self._bound_to = bind
        self._process.bound()
        self._outbox.send(messages.Bound(bind.port))

    def _open_room(self, asked: messages.OpenRoom) -> None:
        match_id = asked.plan.match_id
        if match_id in self.rooms:
            # A second order must not end a match that is being played.
            self._log.error("match {match_id} is open already", match_id=match_id)
            return
        self._shutdown.rooms_left -= 1
        try:
            if self._bound_to is None or self._shutdown.rooms_left < 0:
                raise Misconfigured(
                    "this game server has no port, or hosts no more rooms"
                )
            hosted = self.matches.open(asked)
        except (Refused, Misconfigured, Unreadable) as error:
            self._log.error(
                "match {match_id} cannot be hosted: {why}",
                match_id=match_id,
                why=str(error),
            )
            reason = "lost" if asked.checkpoint else "crashed"
            end = MatchEnd(match_id, reason, why=str(error)[:LONGEST_TEXT])
            self._outbox.send(messages.RoomEnded(end))
            self._stop_if_done()
            return
        finally:
            if self.port is not None:
                self.port.datagrams.resume()
        self._process.entitle(title_of(self.rooms.values()))
        if not asked.is_relayed and not self._is_adopted:
            self._process.outlives(PLAYS_ON)
        self._outbox.send(messages.RoomOpened(match_id))
        if asked.checkpoint:
            self.matches.report_seats(hosted)
        hosted.end_turn(self._seconds())
        # Now: until the first one is there a match dies with this process.
        self.matches.checkpoints.may_send()

    def _adopted(self, match_ids: Collection[str], again: bool) -> None:
        """A node has answered: it goes on with these matches."""
        self._outbox.answered()
        if not again:
            # It watches this process; the fork server of the one before need not.
            self._process.outlives(IS_ADOPTED)
            self._is_adopted = True
        now = self._seconds()
        self.lease.adopted(now)
        self.matches.adopted(match_ids, now)
        if self._shutdown.is_draining and self.rooms:
            # It was asked to while it had no node, or another one.
            self._outbox.send(messages.Draining())
        self._stop_if_done()

    # What its matches and players cause.

    def _may_send(self) -> bool:
        """Does the lease last, and has everything left that is to be kept?"""
        shutdown = self._shutdown
        # `Lease.is_over` written out, for each turn.
        if self._seconds() < self.lease.until:
            return self.matches.checkpoints.may_send() and (
                not shutdown.is_handing_over or shutdown.is_over
            )
        # The matches here may be played elsewhere.
        if not shutdown.is_over:
            shutdown.is_over = True
            self._log.error(
                "no node has been there for {s:g} s: this process ends, without a word",
                s=self.lease.length,
            )
            self.matches.checkpoints.stop()
            self._outbox.stop()
            self._reactor.callLater(0, self._fall_silent)
        return False

    def _forget(self, hosted: HostedRoom) -> None:
        self.matches.forget(hosted)
        self._process.entitle(title_of(self.rooms.values()))
        if not (self._is_adopted or self.matches.own() or self._outbox.plays_on):
            self._process.outlives(ENDS)
        # Later: this may be in the middle of a turn that delivers.
        self._reactor.callLater(0, self._stop_if_done)

    def measure(self) -> dict[str, float]:
        """Return the figures of this game server, for metrics."""
        turns = self._process.turns
        return {
            **self.players.measure(),
            **self.players.measure_links(),
            "overloaded": float(self.players.workload.is_high(self._seconds())),
            **self.matches.measure(),
            **({} if turns is None else turns.figures()),
        }

    # The end.

    def _hand_over(self) -> None:
        """Have another process go on with the matches here, and end."""
        shutdown = self._shutdown
        if shutdown.is_over:
            return
        shutdown.is_handing_over = True
        if not self.matches.checkpoints.leave(self._seconds()):
            # The node does not read; nothing is shown meanwhile.
            self._reactor.callLater(_HAND_OVER_AGAIN, self._hand_over)
            return
        self._log.info(
            "{count} matches go on at another game server", count=len(self.rooms)
        )
        shutdown.is_over = True
        self._outbox.stop()
        for hosted in self.rooms.values():
            hosted.let_go()
        # Players' connections are closed, so that they look where to go on.
        self._close()

    def stop(self) -> Deferred[None]:
        """
        Close every room, send players the end, and stop.

        Fires when that is done, at most 2 s later.
        """
        if self._shutdown.is_over:
            return succeed(None)
        done = self._shutdown.wait()
        unshown = [
            one for one in self.rooms.values() if one.is_open or one.host.is_held
        ]
        if unshown and not self.matches.checkpoints.keeps():
            # Others go on with what waits here.
            self._fall_silent()
        elif not self._shutdown.is_stopping:
            self._shutdown.is_stopping = True
            self.matches.close("shutdown", list(self.rooms))
            self._stop_if_done()
        return done

    def drain(self) -> Deferred[None]:
        """
        Host no more rooms, and stop when the last one is over; fires then.

        The node is asked not to send players here any more.
        """
        if self._shutdown.is_over:
            return succeed(None)
        done = self._shutdown.wait()
        self._shutdown.rooms_left, self._shutdown.is_draining = 0, True
        self._outbox.send(messages.Draining())
        self._stop_if_done()
        return done

    def hand_over_last(self) -> Deferred[None]:
        """
        Have the node take what it can; fires when it has.

        At once if it has said that this is to end, or is gone. Matches that were not
        handed over are still here then, if it took too long.
        """
        is_alone = self._shutdown.is_stopping or self._outbox.plays_on
        living = self.matches.checkpoints.living()
        if self._shutdown.is_over or is_alone or not living:
            return succeed(None)
        done = self._shutdown.wait()
        done.addTimeout(LAST_HAND_OVER, self._reactor, onTimeoutCancel=lambda *_: None)
        self._outbox.send(messages.Draining(True))
        return done

    def _fall_silent(self) -> None:
        """End without a word: what is played here may be played elsewhere."""
        self._shutdown.is_over = True
        self.matches.drop()
        self._close()

    def _stop_if_done(self) -> None:
        shutdown = self._shutdown
        if self.rooms or shutdown.is_over:
            return
        if not shutdown.is_stopping and (
            shutdown.rooms_left > 0 or self._outbox.must_wait
        ):
            return
        shutdown.is_over = True
        self._outbox.stop()
        self._close()

    def _close(self) -> None:
        """Close the players' connections and the port, then call *stopped*."""
        self.players.close().addBoth(self._ended)

    def _ended(self, _: object) -> None:
        # Unasked, because counts since the last heartbeat must not be lost.
        self._outbox.send(messages.Alive(0, self.measure()))
        self.matches.checkpoints.stop()
        self._stopped()
        self._shutdown.ended()
