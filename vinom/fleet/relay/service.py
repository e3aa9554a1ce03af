"""
Players' UDP at the node, for networks in which they cannot reach game servers.

To players `UdpRelay` is a game server: admission, DTLS, tokens, seats and packets are
those of `vinom.fleet.gameserver`. Only the rooms are played elsewhere: players' actions
go to their game servers over the control links, and states come back the same way.

`UdpRelay` has the interface of the fleet, so code that places matches need not know it.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from msgspec import MsgspecError, json, msgpack
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vinom.base.model import MatchEnd, MatchPlan, Placement, ServerAddress, Ticket
from vinom.base.reactor.turns import TurnEnd
from vinom.errors import Misconfigured, NoCapacity, Refused
from vinom.fleet.control.messages import (
    Bind,
    CookieKeyReport,
    FromRelayed,
    RelayFailed,
    RelaySeat,
    RelayState,
    RelayTaken,
    RelayWatch,
    ToNode,
    ToRelayed,
)
from vinom.fleet.fleet import Fleet
from vinom.fleet.gameserver.player_port import Players, PortLimits
from vinom.fleet.gameserver.room import HostedRoom, Played
from vinom.fleet.gameserver.seats import Runtime
from vinom.fleet.interfaces import IMatchWatch
from vinom.fleet.records import MatchCopy, StoredMatch
from vinom.fleet.relay.room import RelayedRoom
from vinom.game import Game
from vinom.net.keys.authority import Authority
from vinom.net.packets.codec import COUNTER_LIMIT
from vinom.play.choices import json_action_reader

_log = Logger()

#: The certificate gets renewed this often, seconds.
_RENEWAL_SECONDS = 86400.0
#: Longer than any match, seconds.
_LONGEST_TIME = 1e9
#: How often players' links are measured, seconds.
_MEASURE_SECONDS = 1.0
#: How long players may take to acknowledge the end when the node stops, seconds.
_STOP_SECONDS = 5.0


@attrs.frozen
class RelaySettings:
    """
    The operator's settings.

    :ivar realm: domain in which game servers' names end.
    :ivar interface: IP address to bind.
    :ivar port: UDP port.
    :ivar advertise: the name or IP address, and the port, that players connect to.
    :ivar limits: limits of players' connections.
    """

    realm: str
    interface: str
    port: int
    advertise: ServerAddress
    limits: PortLimits = attrs.field(factory=PortLimits)


@implementer(IMatchWatch)
@attrs.define(eq=False)
class _Match:
    """
    One match, with the players whose connections we have.

    :ivar plan: of the match.
    :ivar watch: gets the reports of its game server.
    :ivar relayed: the room that is played elsewhere; ``None`` until it is open.
    :ivar hosted: its players here.
    :ivar greeted: fires when its game server has sent the setup.
    :ivar follower: gets states and events for players and spectators in the node's
        rooms.
    :ivar is_withdrawn: true if *watch* is no longer called.
    :ivar end: how it ended.
    :ivar is_end_due: true until *watch* has been sent the end.
    :ivar resumes: called when a game server goes on with a match of another node, whose
        players come here from now on.
    """

    plan: MatchPlan
    watch: IMatchWatch
    relayed: RelayedRoom | None = None
    hosted: HostedRoom | None = None
    greeted: Deferred[None] | None = None
    follower: Callable[[FromRelayed], None] | None = None
    is_withdrawn: bool = False
    end: MatchEnd | None = None
    is_end_due: bool = False
    resumes: Callable[[Placement], object] | None = None

    # Reports of the game server (IMatchWatch).

    def delayed(self, match_id: str, why: str) -> None:
        if not self.is_withdrawn:
            self.watch.delayed(match_id, why)

    def started(self, match_id: str) -> None:
        if not self.is_withdrawn:
            self.watch.started(match_id)

    def resumed(self, match_id: str, placement: Placement) -> None:
        """Its players stay where they are, if they were here."""
        resumes, self.resumes = self.resumes, None
        if resumes is not None:
            resumes(placement)

    def seat_changed(self, match_id: str, seat: int, state: str) -> None:
        if self.relayed is not None and 0 <= seat < len(self.plan.seats):
            self.relayed.seat_changed(match_id, seat, state)
        if not self.is_withdrawn:
            self.watch.seat_changed(match_id, seat, state)

    def round_ended(self, match_id: str, outcome: dict[str, Any]) -> None:
        if self.relayed is not None:
            self.relayed.round_ended(match_id, outcome)
        if not self.is_withdrawn:
            self.watch.round_ended(match_id, outcome)

    def ended(self, end: MatchEnd) -> None:
        self.end, self.is_end_due = end, True
        # The end must follow earlier states, which are sent at the end of this turn.
        if self.relayed is not None and self.relayed.phase != "closed":
            self.relayed.ended(end)
        else:
            self.report_end()
        if self.greeted is not None:
            greeted, self.greeted = self.greeted, None
            greeted.errback(NoCapacity(f"the match is over: {end.reason}"))

    def report_end(self) -> None:
        """Send *watch* the end, once."""
        if self.is_end_due and self.end is not None:
            self.is_end_due = False
            if not self.is_withdrawn:
                self.watch.ended(self.end)


class UdpRelay(Service):
    """
    Serve the players of all matches at one UDP port.

    :ivar label: the label of its certificate, inside the realm.
    :ivar players: are served at its port.
    :ivar rooms: matches with players here, by id.
    """

    name = "relay"

    def __init__(
        self,
        fleet: Fleet,
        issuer: Authority,
        games: Mapping[str, Game[Any, Any]],
        runtime: Runtime,
        turns: TurnEnd,
        settings: RelaySettings,
    ) -> None:
        """
        Start without a port.

        :param fleet: finds a game server for each match.
        :param issuer: signs the certificate, and has the accepted token keys.
        :param games: the games, by name.
        :param runtime: serves the players.
        :param turns: calls back when a turn of the reactor ends.
        :param settings: the operator's.
        :raises Misconfigured: the authority cannot sign.
        """
        self.label = b32encode(runtime.entropy(10)).decode("ascii").lower()
        self._fleet, self._issuer, self._games = fleet, issuer, games
        self._reactor, self._seconds = runtime.reactor, runtime.seconds
        self._turns, self._settings = turns, settings
        self._matches: dict[str, _Match] = {}
        self._touched: dict[_Match, None] = {}
        self._measured: dict[str, float] = {}
        self._issued = issuer.issue(self.label)
        self._anchor = issuer.anchor
        self._renew_at = self._seconds() + _RENEWAL_SECONDS
        self.players = Players(runtime, settings.limits, self._to_follower)
        self.rooms = self.players.rooms
        self._loop = LoopingCall(self._measure)
        self._loop.clock = self._reactor
        self._emptied: Deferred[None] | None = None

    def listen(self) -> None:
        """
        Open the port.

        :raises CannotListenError: it is in use, or not available here.
        """
        settings, issued = self._settings, self._issued
        self.players.listen(
            Bind(
                settings.interface,
                settings.port,
                self.label,
                settings.realm,
                issued.certificate,
                issued.key,
                self._issuer.token_keys(),
            )
        )

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._loop.start(_MEASURE_SECONDS)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self.rooms:
            # Their game servers end the matches, and players are sent the end.
            emptied: Deferred[None] = Deferred()
            emptied.addTimeout(
                _STOP_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None
            )
            self._emptied = emptied
            await emptied
        await self.players.close()

    # Placing matches (as `vinom.fleet.fleet.Fleet`).

    def place(
        self,
        plan: MatchPlan,
        tickets: Sequence[Ticket],
        watch: IMatchWatch,
        relay: Callable[[FromRelayed], None] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Deferred[Placement]:
        """
        Find a game server for a match, and accept its players here.

        Cancelling withdraws the match; *watch* is then no longer called.

        :param plan: the match.
        :param tickets: admit its players' handshakes.
        :param watch: receives reports of the match.
        :param relay: receives states and events for players in a room of this node;
            no player comes to such a room over UDP.
        :param hosts: the addresses of its players, as far as they are known.
        :raises NoCapacity: there is no game server for it.
        """
        if relay is not None:
            return self._fleet.place(plan, tickets, watch, relay, hosts)
        match = _Match(plan, watch)
        placed = self._fleet.place(plan, (), match, hosts=hosts)
        return placed.addCallback(lambda _: self._placed(match, tickets))

    def _placed(
        self, match: _Match, tickets: Sequence[Ticket] = ()
    ) -> Deferred[Placement]:
        plan = match.plan
        match_id = plan.match_id
        if match.end is not None:
            raise NoCapacity(f"the match is over: {match.end.reason}")

        def withdraw(_: Deferred[None]) -> None:
            match.is_withdrawn, match.greeted = True, None
            self._fleet.close_room(match_id, "ended")

        game = self._games[plan.game]
        relayed = match.relayed = RelayedRoom(
            plan,
            game,
            self._fleet,
            is_placed=True,
            end=lambda reason: self._fleet.close_room(match_id, reason),
            changed=partial(self._touch, match),
            refused=partial(self._refuse, match),
            is_packed=True,
        )
        match.hosted = self.players.open(
            Played(relayed, bytes, _packing(game), is_elsewhere=True),
            partial(self._report, match),
            self._forget,
            tickets,
        )
        self._matches[match_id] = match
        anchor = self._anchor.decode("ascii")
        greeted = match.greeted = Deferred(withdraw)
        self._fleet.follow(match_id, partial(self._take, match), True)
        where = self._settings.advertise
        return greeted.addCallback(
            lambda _: Placement(self.label, where.address, where.port, anchor)
        )

    def go_on(self, match: StoredMatch, copy: MatchCopy, watch: IMatchWatch) -> None:
        """Go on with a match of a node that is gone: see `Fleet.go_on`."""
        plan = match.record.plan
        relayed = _Match(plan, watch)

        def resumed(here: Placement, there: Placement) -> None:
            here = attrs.evolve(here, went_back=there.went_back)
            watch.resumed(plan.match_id, here)

        relayed.resumes = lambda there: self._placed(relayed).addCallbacks(
            resumed, _expect_end, callbackArgs=(there,)
        )
        self._fleet.continuity.go_on(match, copy, relayed)

    def add_ticket(self, ticket: Ticket) -> Deferred[None]:
        """
        Admit one more handshake.

        :raises NoCapacity: the match is over, or does not go on here yet.
        """
        match = self._matches.get(ticket.match_id)
        if match is None or match.end is not None:
            return fail(NoCapacity("the match is over"))
        if match.greeted is not None:
            # Its watch is still to be sent where that is.
            return fail(NoCapacity("the match goes on in a moment"))
        self.players.admit([ticket])
        return succeed(None)

    def kick(self, match_id: str, seat: int) -> None:
        """Remove a seat's player for good; no effect if the match is over."""
        self.players.kick(match_id, seat)

    def close_room(self, match_id: str, reason: str) -> None:
        """End a match; no effect if it is over."""
        self._fleet.close_room(match_id, reason)

    # For rooms of the node that show matches (`vinom.rooms.matches.FollowFleet`).

    def pass_on(self, message: ToRelayed) -> None:
        """Send the action of a player in the node's rooms to a match."""
        match = self._matches.get(message.match_id)
        if match is None or match.relayed is None:
            return
        if isinstance(message, RelaySeat) and message.how == "join":
            match.relayed.disown(message.seat)
        self.players.relays.take(message)

    def follow(
        self,
        match_id: str,
        relay: Callable[[FromRelayed], None] | None,
    ) -> None:
        """Receive states and events for players in the node's rooms; or stop."""
        match = self._matches.get(match_id)
        if match is not None:
            match.follower = relay
            self.players.relays.take(RelayWatch(match_id, relay is not None))

    def is_overloaded(self, match_id: str) -> bool:
        """Did its game server last report that it is overloaded?"""
        return self._fleet.is_overloaded(match_id)

    def _to_follower(self, message: ToNode) -> None:
        """Send states to a room of the node, but not while it is calling us."""
        assert isinstance(message, FromRelayed)
        match = self._matches.get(message.match_id)
        if match is not None and (follower := match.follower) is not None:
            self._turns.call(lambda: follower(message))

    # What game servers send.

    def _take(self, match: _Match, message: FromRelayed) -> None:
        """Handle a message of a game server to the players of a match."""
        self.players.figures["relayed_in"] += 1
        if match.greeted is not None and isinstance(message, RelayState):
            greeted, match.greeted = match.greeted, None
            greeted.callback(None)
        relayed = match.relayed
        if relayed is None:
            return
        why = message.why if isinstance(message, RelayFailed) else None
        if isinstance(message, RelayState) and not _is_usable(message, relayed.version):
            why = "its game server sent an invalid state"
        if why is not None:
            _log.error(
                "match {match_id} ends: it cannot be relayed: {why}",
                match_id=message.match_id,
                why=why,
            )
            relayed.close("crashed", 0.0)
        else:
            relayed.relayed(message)
            if relayed.game.states == "every" and match.hosted is not None:
                match.hosted.end_turn(self._seconds())

    def _touch(self, match: _Match) -> None:
        if match.hosted is None:
            return
        if not self._touched:
            self._turns.call(self._end_turn)
        self._touched[match] = None

    def _end_turn(self) -> None:
        touched, self._touched = self._touched, {}
        now = self._seconds()
        for match in touched:
            try:
                if match.hosted is not None:
                    match.hosted.end_turn(now)
            except Exception:
                # Whatever its game server sent must not affect other matches.
                match_id = match.plan.match_id
                _log.failure("match {match_id} ends", match_id=match_id)
                self._fleet.close_room(match_id, "crashed")
            if match.is_end_due:
                # After everything that the follower is sent in this turn.
                self._turns.call(match.report_end)

    def _refuse(
        self, match: _Match, seat: int, number: int | None, no: Refused
    ) -> None:
        hosted = match.hosted
        if hosted is None or number is None:
            return
        if hosted.seats[seat].is_relayed:
            self.players.relays.refuse(hosted, seat, number, no)
        else:
            hosted.refuse(hosted.seats[seat], number, no, self._seconds())

    def _report(self, match: _Match, message: ToNode) -> None:
        """Handle a room's reports; its game server reports everything else."""
        if isinstance(message, RelayTaken):
            if match.relayed is not None:
                match.relayed.disown(message.seat)
            self._to_follower(message)

    def _forget(self, hosted: HostedRoom) -> None:
        self.players.forget(hosted)
        match = self._matches.pop(hosted.match_id)
        # They refer to each other, and may hold many views.
        match.relayed = match.hosted = match.follower = None
        if not self.rooms and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    # Keys (as `vinom.fleet.fleet.Fleet`).

    def share_token_keys(self) -> None:
        """Accept the tokens of the issuer's keys, and no others."""
        self.players.trust(self._issuer.token_keys())

    def renew_certificate(self) -> None:
        """
        Get a new certificate from the current authority, for further matches.

        If it cannot sign, the old certificate stays.
        """
        self._renew_at = self._seconds() + _RENEWAL_SECONDS
        try:
            issued = self._issued = self._issuer.issue(self.label)
            if self.players.port is not None:
                self.players.port.certificates.use(issued.certificate, issued.key)
        except Misconfigured as error:
            _log.error("no new certificate for players: {why}", why=str(error))
        else:
            self._anchor = self._issuer.anchor

    def rotate_cookies(self) -> None:
        """Make cookies with a new key."""
        self.players.rotate_cookies()

    def cookie_keys(self) -> tuple[CookieKeyReport, ...]:
        """List the cookie keys, without their secrets."""
        return self.players.cookie_keys()

    # Figures.

    def _measure(self) -> None:
        self._measured = self.players.measure_links()
        if self._seconds() >= self._renew_at:
            self.renew_certificate()

    def all_keys(self, fleet: Fleet) -> RelayedKeys:
        """Return its keys and those of the game servers of *fleet*, as one."""
        return RelayedKeys(fleet, self)

    def measure(self) -> dict[str, float]:
        """Return the figures of players here, as those of a game server."""
        figures = self.players.measure() | self._measured
        # Their game servers count them.
        figures["rooms"] = 0.0
        figures["relayed_matches"] = float(len(self.rooms))
        return figures


def _is_usable(state: RelayState, version: int) -> bool:
    """
    Can this be the next state of a match? Game servers may be third-party programs.

    :param state: the state.
    :param version: the version of the previous state.
    """
    return (
        (state.version == 0 or version <= state.version < COUNTER_LIMIT)
        and 0.0 <= state.time < _LONGEST_TIME
        and all(0 <= at < len(state.views) for at in state.shown.values())
        and (not state.views or -1 in state.shown)
    )


def _expect_end(failure: Failure) -> None:
    """The match was over before its players could come: they know its end."""
    failure.trap(NoCapacity)


def _packing(game: Game[Any, Any]) -> Callable[[bytes], bytes]:
    """
    Make the function that packs actions of players in the node's rooms as MessagePack.

    It decodes them as the game's types, in which bytes are a text in JSON. Invalid
    actions are passed on unchanged, so that the game server refuses them in their turn.
    """
    read = json_action_reader(game)

    def pack(action: bytes) -> bytes:
        try:
            return msgpack.encode(read(action))
        except Refused:
            try:
                return msgpack.encode(json.decode(action))
            except (MsgspecError, OverflowError, RecursionError, UnicodeError):
                pass
            raise

    return pack


@attrs.frozen
class RelayedKeys:
    """
    The keys of all game servers, and of a relay before them.

    With a relay, `vinom.node.keys.Keys` uses it in place of `Fleet`.
    """

    fleet: Fleet
    relay: UdpRelay

    def share_token_keys(self) -> Deferred[None]:
        """Pass the issuer's token keys to everything that checks tokens."""
        self.relay.share_token_keys()
        return self.fleet.share_token_keys()

    def renew_certificates(self) -> None:
        """Get new certificates from the current authority."""
        self.relay.renew_certificate()
        self.fleet.renew_certificates()

    def rotate_cookies(self) -> int:
        """Rotate the cookie keys; returns the number of processes that do so."""
        self.relay.rotate_cookies()
        return self.fleet.rotate_cookies() + 1

    def cookie_keys(self) -> dict[str, tuple[CookieKeyReport, ...]]:
        """List the cookie keys, without their secrets."""
        return {**self.fleet.cookie_keys(), self.relay.label: self.relay.cookie_keys()}
