"""Links between nodes: where others dial, and one link to each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from twisted.application.service import Service
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    ITCPTransport,
)
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
)
from twisted.logger import Logger

from vinom.base.limits.buckets import NetworkCounts
from vinom.base.limits.logged import BoundedLog
from vinom.base.messages.lobby import Reach
from vinom.base.model import NodeFacts, Player
from vinom.base.reactor.connections import Made
from vinom.base.reactor.waits import Once
from vinom.errors import NoCapacity
from vinom.net.keys.authority import NODE_PURPOSE, Authority
from vinom.net.keys.peers import check_peer, link_context, serving_context
from vinom.net.lines.limits import CountedFactory, has_proven
from vinom.net.lines.secure import over_tls
from vinom.net.lines.tls import OfContexts
from vinom.net.nodes import (
    Admit,
    Guest,
    GuestWire,
    KeepSeats,
    NodeAnswersFactory,
    NodeQuestions,
    Receive,
)
from vinom.store.interfaces import INodeStore

#: How long connecting may take, seconds.
DIAL_SECONDS = 3.0
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


class NodeLinks(Service):
    """Ask other nodes, each over one link that is dialed when it is needed."""

    name = "links"
    _log = Logger()

    def __init__(
        self, nodes: INodeStore, tls: NodeTls, node_id: str, reactor: Any
    ) -> None:
        """
        :param nodes: finds the addresses of nodes.
        :param tls: of this node.
        :param node_id: of this node.
        :param reactor: connects.
        """
        self._nodes, self._tls, self._node_id = nodes, tls, node_id
        self._reactor = reactor
        # Who the others were, and when that was asked.
        self._others: tuple[float, tuple[NodeFacts, ...]] = (-inf, ())
        self._links: dict[str, NodeQuestions] = {}
        # Whoever asked first may not have the time to wait for it; others do.
        self._once = Once(self._dial)

    def stopService(self) -> None:
        """Close all links."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        for link in tuple(self._links.values()):
            link.transport.abortConnection()

    async def ask_way_in(self, node_id: str, match_id: str, seat: int) -> bytes:
        """
        Ask a node to admit a player to its match.

        :returns: a ``match_found``, as a client receives it.
        :raises NoCapacity: the match is over, or that node cannot be reached.
        """
        link = self._links.get(node_id) or await self._once(node_id)
        return await link.ask_way_in(match_id, seat)

    async def ask_seats(
        self, node_id: str, game: str, options: bytes, player_ids: Sequence[str]
    ) -> str:
        """
        Ask a node to keep seats of a running room for players.

        :returns: the room's id; empty if no room has as many.
        :raises NoCapacity: that node cannot be reached.
        """
        link = self._links.get(node_id) or await self._once(node_id)
        return await link.ask_seats(game, options, player_ids)

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

    async def visit(
        self, node_id: str, player: Player, host: str, guest: Guest
    ) -> GuestWire:
        """
        Begin a visit of a player to rooms of another node.

        :param host: the player's address.
        :param guest: gets what that node sends.
        :raises NoCapacity: that node cannot be reached.
        """
        link = self._links.get(node_id) or await self._once(node_id)
        return link.open_visit(player, host, guest)

    async def _dial(self, node_id: str) -> NodeQuestions:
        try:
            return await self._connect(node_id)
        except Exception as error:
            why = f"node {node_id} cannot be reached: {error}"
            raise NoCapacity(why) from error

    async def _connect(self, node_id: str) -> NodeQuestions:
        where = None
        for lease in await self._nodes.nodes():
            if lease.node.node_id == node_id:
                where = lease.node.addresses.get(SERVES)
        if where is None:
            raise NoCapacity("it is gone, or has an authority of its own")
        host, _, port = where.rpartition(":")
        endpoint = wrapClientTLS(
            self._tls.client(node_id),
            HostnameEndpoint(
                self._reactor, host.strip("[]"), int(port), timeout=DIAL_SECONDS
            ),
        )
        link = NodeQuestions(
            self._reactor, self._node_id, lambda: self._gone(node_id, link)
        )
        await endpoint.connect(Made(lambda: link))
        self._links[node_id] = link
        return link

    def _gone(self, node_id: str, link: NodeQuestions) -> None:
        if self._links.get(node_id) is link:
            del self._links[node_id]


def answering(
    tls: NodeTls, clock: Any, admit: Admit, receive: Receive, reserve: KeepSeats
) -> IProtocolFactory:
    """
    Make what listens at ``node_link``.

    :param clock: for silent peers.
    :param admit: serves players who came back to other nodes.
    :param receive: serves players of other nodes in rooms of this one.
    :param reserve: keeps seats of running rooms of this one for players of others.
    """
    is_node = partial(proves, NODE_PURPOSE)
    factory = NodeAnswersFactory(clock, is_node, admit, receive, reserve)
    over: IProtocolFactory = over_tls(OfContexts(tls.context), factory, clock)
    return over


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
