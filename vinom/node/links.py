"""Links between nodes: where others dial, and one link to each of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from msgspec import MsgspecError, json
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.catalogue import decode_answer
from vinom.base.messages.envelope import Told, encode_push
from vinom.base.messages.lobby import Reach
from vinom.base.messages.rooms import ListRooms, RoomList
from vinom.base.model import NodeFacts, Player
from vinom.base.reactor.connections import Made
from vinom.base.reactor.turns import TurnEnd
from vinom.base.reactor.waits import Once, Rounds
from vinom.errors import NoCapacity, Refused
from vinom.net.keys.authority import Authority
from vinom.net.lines.limits import CountedFactory, has_proven
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import OfContexts, check_peer, link_context, serving_context
from vinom.net.nodes import (
    NODE_PROTOCOL,
    AskSeats,
    AskWayIn,
    NodeChannel,
    Question,
    Seats,
    Visitor,
)
from vinom.net.streams.channels import Channel, Reason
from vinom.net.streams.multiplex import PacketConnection, PeerTerms
from vinom.net.streams.packets import Kind, Packet
from vinom.store.interfaces import INodeStore

#: How long connecting may take, and then a greeting, seconds.
DIAL_SECONDS = 3.0
#: How long an answer may take, seconds.
ANSWER_SECONDS = 3.0
#: Players who are admitted to matches at once; more are refused.
MOST_QUESTIONS = 1000
#: A node that is silent for so long is asked whether it is there, seconds; and given up
#: after four times as long.
BEAT_SECONDS = 1.0
_TERMS = PeerTerms(lost=Reason.BACKEND_LOST, pings=True)
#: In `vinom.base.model.NodeFacts.addresses`.
SERVES = "link"
#: What players reach directly, there too, by how they do.
DIRECT: dict[Reach, str] = {"lobby": "direct_lobby", "websocket": "direct_websocket"}
#: How long it is taken for granted who the other nodes are, seconds.
_OTHERS_SECONDS = 1.0
#: How long a certificate for accepted links is used, seconds; much less than its life.
_RENEWAL = 24 * 3600.0


class NodeTls:
    """
    How this node speaks TLS with others: always with a certificate of the authority.

    Certificates are made anew, so none expires.
    """

    def __init__(self, authority: Authority, node_id: str) -> None:
        """
        :param authority: of the deployment.
        :param node_id: of this node.
        """
        self._authority, self._node_id = authority, node_id
        # Contexts by kind, with when they were made, and for which authority.
        self._made: dict[str, tuple[float, bytes, Any]] = {}

    def _own(self) -> Any:
        issued = self._authority.node(self._node_id)
        return PrivateCertificate.loadPEM(issued.key + issued.certificate)

    def client(self, node_id: str) -> Any:
        """Make the options of a link to a node, which must be that one."""
        return optionsForClientTLS(
            self._authority.node_name(node_id),
            Certificate.loadPEM(self._authority.anchor),
            self._own(),
            extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_3},
        )

    def context(self) -> Any:
        """Make the context of a link that a node, or a gateway, dials."""
        node = partial(self._authority.node, self._node_id)
        return self._kept("node", lambda anchor: link_context(node(), anchor))

    def pod_context(self) -> Any:
        """Make the context of a link that a game server in a pod dials."""
        chain = partial(self._authority.node_chain, self._node_id)
        return self._kept("pod", lambda anchor: serving_context(chain()))

    def _kept(self, kind: str, make: Callable[[bytes], Any]) -> Any:
        """Make a new context for another authority, or after some time."""
        anchor, now = self._authority.anchor, time.monotonic()
        made, of, context = self._made.get(kind, (0.0, b"", None))
        if context is None or of != anchor or now > made + _RENEWAL:
            context = make(anchor)
            self._made[kind] = now, anchor, context
        return context


def proves(purpose: str, transport: ITCPTransport) -> None:
    """
    Check that the peer of a link over TLS is a node, or a gateway.

    :param purpose: what its certificate must be for.
    :raises PeerError: it is not.
    """
    check_peer(transport, purpose)
    has_proven(transport)


#: Connects a protocol to a node at an address: its id, and the host and port.
Dial = Callable[[str, str, IProtocol], Awaitable[Any]]


def dial_node(
    tls: NodeTls, reactor: Any, node_id: str, where: str, protocol: IProtocol
) -> Deferred[Any]:
    """
    Connect to a node, which must be that one (`Dial`).

    :param tls: of this node.
    """
    host, _, port = where.rpartition(":")
    endpoint = HostnameEndpoint(
        reactor, host.strip("[]"), int(port), timeout=DIAL_SECONDS
    )
    secure = TLSMemoryBIOFactory(tls.client(node_id), True, Made(lambda: protocol))
    # What is small is gathered already, and this one sends it a turn sooner.
    secure.protocol = TLSMemoryBIOProtocol
    dialed: Deferred[Any] = endpoint.connect(secure)
    return dialed


class NodeLinks(Service):
    """
    Ask other nodes, each over one link that is dialed when it is needed.

    It is the `vinom.net.streams.multiplex.Taker` of these links.
    """

    name = "links"
    _log = Logger()

    def __init__(
        self,
        nodes: INodeStore,
        dial: Dial,
        node_id: str,
        clock: IReactorTime,
        turns: TurnEnd | None = None,
    ) -> None:
        """
        :param nodes: finds the addresses of nodes.
        :param dial: connects.
        :param node_id: of this node.
        :param clock: for answers that do not come.
        :param turns: as for `PacketConnection`.
        """
        self._nodes, self._dial_node, self._node_id = nodes, dial, node_id
        self._clock, self._turns = clock, turns
        # Who the others were, and when that was asked.
        self._others: tuple[float, tuple[NodeFacts, ...]] = (-inf, ())
        self._links: dict[str, PacketConnection] = {}
        # Whoever asked first may not have the time to wait for it; others do.
        self._once = Once(self._dial)
        self._rounds = Rounds(clock, BEAT_SECONDS, 1)
        self._number = 0

    def stopService(self) -> None:
        """Close all links."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        for link in tuple(self._links.values()):
            link.abort("this node stops")

    async def ask_way_in(self, node_id: str, match_id: str, seat: int) -> bytes:
        """
        Ask a node to admit a player to its match.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or that node cannot be reached.
        """
        return await self._ask(node_id, AskWayIn(match_id, seat))

    async def ask_seats(
        self, node_id: str, game: str, options: bytes, player_ids: Sequence[str]
    ) -> str:
        """
        Ask a node to keep seats of a running room for players.

        :returns: the room's id; empty if no room has as many.
        :raises NoCapacity: that node cannot be reached.
        """
        question = AskSeats(game, options, tuple(player_ids))
        answer = await self._ask(node_id, question)
        try:
            return json.decode(answer, type=Seats).room_id
        except MsgspecError as error:
            raise NoCapacity(f"that node answered {error}") from None

    async def list_rooms(self, node_id: str, request: ListRooms) -> RoomList:
        """
        Ask a node for a list of its rooms.

        :param request: watches nothing.
        :raises NoCapacity: that node cannot be reached, or refuses.
        """
        found = decode_answer(await self._ask(node_id, request))
        if isinstance(found, Told) and isinstance(found.push, RoomList):
            return found.push
        raise NoCapacity("that node sent no list")

    async def others(self) -> Sequence[str]:
        """
        List the ids of the other nodes that can be asked, as of a second ago.

        :raises StoreUnavailable: the registry does not answer.
        """
        return [one.node_id for one in await self._look()]

    async def address(self, node_id: str, reach: Reach) -> str:
        """
        Find where players reach a node directly; empty if they do not.

        :param reach: how they do.
        :raises StoreUnavailable: the registry does not answer.
        """
        for one in await self._look():
            if one.node_id == node_id:
                return one.addresses.get(DIRECT[reach], "")
        return ""

    async def _look(self) -> tuple[NodeFacts, ...]:
        asked_at, others = self._others
        if time.monotonic() > asked_at + _OTHERS_SECONDS:
            others = tuple(
                lease.node
                for lease in await self._nodes.nodes()
                if SERVES in lease.node.addresses
                and lease.node.node_id != self._node_id
            )
            self._others = time.monotonic(), others
        return others

    async def visit(self, node_id: str, player: Player, host: str) -> NodeChannel:
        """
        Open a channel for a player who wants to be in rooms of another node.

        :param host: the player's address.
        :raises NoCapacity: that node cannot be reached.
        """
        channel = await self._open(node_id, host)
        channel.send(
            json.encode(
                Visitor(player.player_id, player.name, player.claims, player.is_guest)
            )
        )
        return channel

    async def _ask(self, node_id: str, question: Question) -> bytes:
        """Ask a question on a channel of its own; returns the line of the answer."""
        asked: Deferred[bytes] = Deferred()

        def over(code: str, why: str) -> None:
            asked.errback(NoCapacity(why or "that node gave no answer"))

        channel = await self._open(node_id)
        channel.heard, channel.over = asked.callback, over
        channel.send(json.encode(question))
        try:
            return await asked.addTimeout(ANSWER_SECONDS, self._clock)
        except TimeoutError:
            raise NoCapacity("that node did not answer in time") from None
        finally:
            # At once: nothing more is heard.
            channel.end()

    async def _open(self, node_id: str, host: str = "") -> NodeChannel:
        link = self._links.get(node_id)
        if link is None or link.is_over:
            link = await self._once(node_id)
        self._number += 1
        channel = Channel(link, self._number)
        opened = NodeChannel(channel)
        link.add(channel)
        body = json.encode({"client": host})
        link.open(Packet(Kind.OPEN, body, session_id=self._number))
        return opened

    async def _dial(self, node_id: str) -> PacketConnection:
        try:
            return await self._connect(node_id)
        except Exception as error:
            why = f"node {node_id} cannot be reached: {error}"
            raise NoCapacity(why) from error

    async def _connect(self, node_id: str) -> PacketConnection:
        where = None
        for lease in await self._nodes.nodes():
            if lease.node.node_id == node_id:
                where = lease.node.addresses.get(SERVES)
        if where is None:
            raise NoCapacity("it is gone, or has an authority of its own")
        link = PacketConnection(
            self, self._clock, self._rounds, _TERMS, turns=self._turns
        )
        await self._dial_node(node_id, where, link)
        greeting = {"node_id": self._node_id, "protocol": NODE_PROTOCOL}
        await link.greet(json.encode(greeting), DIAL_SECONDS)
        self._links[node_id] = link
        return link

    # Reports of links (Taker).

    def opened(self, line: PacketConnection, packet: Packet) -> None:
        """Only the node that dialed opens channels."""
        line.refuse(packet.session_id, Reason.BAD_PACKET, "you were dialed")

    def ended(self, line: PacketConnection) -> None:
        """A channel is over; the link stays."""

    def closing(self, line: PacketConnection, why: str) -> None:
        """The other node is about to close the link; the end follows."""

    def lost(self, line: PacketConnection, why: str) -> None:
        """A link is over."""
        for node_id, link in tuple(self._links.items()):
            if link is line:
                del self._links[node_id]
                self._log.info(
                    "the link to node {node_id} is over: {why}",
                    node_id=node_id,
                    why=why,
                )


class Answers:
    """Answer what other nodes ask: `vinom.lobby.conversation.conversation.Answer`."""

    _log = Logger()

    def __init__(
        self,
        admit: Callable[[str, int], Awaitable[bytes]],
        reserve: Callable[[str, bytes, Sequence[str]], str],
        listed: Callable[[ListRooms], RoomList],
    ) -> None:
        """
        :param admit: admits a player to a seat of a match of this node: returns a
            ``match_found``, as a client receives it; fails with `NoCapacity`.
        :param reserve: keeps seats of a running room of this node: game, options and
            players. Returns the room's id; empty if no room has as many.
        :param listed: lists rooms of this node.
        """
        self._admit, self._reserve, self._listed = admit, reserve, listed
        self._asked = 0

    def __call__(self, question: Question) -> Deferred[bytes]:
        """Answer with one line; fails if it cannot be done, or too much is asked."""
        return Deferred.fromCoroutine(self._answer(question)).addErrback(self._failed)

    async def _answer(self, question: Question) -> bytes:
        match question:
            case AskSeats(game, options, player_ids):
                return json.encode(Seats(self._reserve(game, options, player_ids)))
            case ListRooms():
                return encode_push(self._listed(question))
        if self._asked >= MOST_QUESTIONS:
            raise NoCapacity(f"more than {MOST_QUESTIONS} questions at once")
        self._asked += 1
        try:
            return await self._admit(question.match_id, question.seat)
        finally:
            self._asked -= 1

    def _failed(self, failure: Failure) -> Failure:
        if not failure.check(NoCapacity, Refused):
            self._log.failure("a node asked for what failed", failure)
        return failure


#: Links of pods, most of them from one address if the cluster hides theirs.
_MOST_PODS = (4096, 8192, 16384)


def listen_for_pods(
    reactor: Any,
    where: str,
    interface: str,
    tls: NodeTls,
    factory: IProtocolFactory,
    log: BoundedLog,
) -> IListeningPort:
    """
    Listen at the setting ``game_server_link``.

    Whoever connects has 5 s to prove that it is a game server.

    :param where: as `vinom.base.settings.values.LinkEndpoint` reads it.
    :param interface: where, if the setting names none.
    :param tls: of this node.
    :param factory: of control links.
    :param log: of refusals.
    :raises CannotListenError: another program has the port.
    """
    counted = CountedFactory(
        over_tls(OfContexts(tls.pod_context), factory, reactor),
        NetworkCounts(*_MOST_PODS),
        log,
    )
    return listen_at(reactor, where, interface, counted)


def listen_at(
    reactor: Any, where: str, interface: str, factory: IProtocolFactory
) -> IListeningPort:
    """
    Listen over TCP at a setting of links.

    :param where: as `vinom.base.settings.values.LinkEndpoint` reads it.
    :param interface: where, if the setting names none.
    :raises CannotListenError: another program has the port.
    """
    host, _, port = where.removeprefix("tls:").rpartition(":")
    opened: IListeningPort = reactor.listenTCP(
        int(port), factory, backlog=128, interface=host.strip("[]") or interface
    )
    return opened
