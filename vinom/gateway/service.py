"""The gateway: its parts, its ports, and how it starts and stops."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from vinom import __version__
from vinom.base.limits.addresses import SITE_SHARE, AddressBuckets
from vinom.base.limits.buckets import NetworkCounts
from vinom.base.reactor.direct import DirectReads
from vinom.base.reactor.turns import TurnEnd, TurnWatch
from vinom.base.settings.values import StoreAddress
from vinom.errors import Misconfigured
from vinom.gateway.access_log import AccessFile, AccessLog
from vinom.gateway.admin import admin_site
from vinom.gateway.arrivals import Limits, find_users
from vinom.gateway.backends import Backends, HealthChecks
from vinom.gateway.dialing import (
    CHECK_SECONDS,
    Dialer,
    LinkTls,
    RememberedNames,
    TcpBackend,
)
from vinom.gateway.handover import Draining, Handover
from vinom.gateway.http_clients import HttpAcceptor
from vinom.gateway.link_backend import LinkBackend
from vinom.gateway.listener import Acceptor, Acceptors, bytes_acceptor, public_factory
from vinom.gateway.packet_clients import PACKETS_PATH, PacketAcceptor, PacketClients
from vinom.gateway.ports import Certificates, Ports
from vinom.gateway.routing.health import Health
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.routing.sources import (
    UNREACHABLE,
    FileRules,
    RedisRules,
    Routes,
    redis_source,
)
from vinom.gateway.sessions import SessionIds
from vinom.gateway.settings import GatewaySettings
from vinom.lobby.conversation.provider import ProviderKeys
from vinom.net.keys.files import read_file, store_login
from vinom.net.lines.forwarded import Proxies
from vinom.net.lines.https import WebClient
from vinom.net.lines.limits import Reserve, ReservingFactory
from vinom.net.lines.sniff import Spoken
from vinom.net.lines.tls import NamedTls
from vinom.net.streams.channels import Reason
from vinom.net.web.guards import checked_token
from vinom.store.redis.client import Owner

_log = Logger()

#: New connections that an address may make at once, in seconds of its rate.
_BURST_SECONDS = 4.0
#: Packets per second of an address, for each new connection that it may make.
_PACKETS = 400
#: File descriptors that clients and their sessions cannot take.
_RESERVE = 64


def gateway_id_of(settings: GatewaySettings, environment: Mapping[str, str]) -> str:
    """Find the id of this gateway: from the settings, the pod, or the host."""
    found = settings.gateway_id or environment.get("POD_NAME")
    return found or f"{socket.gethostname()}-{secrets.token_hex(4)}"


class Gateway(MultiService):
    """
    One gateway.

    :ivar gateway_id: its id.
    :ivar backends: begins sessions.
    :ivar routes: the rules.
    :ivar ports: its open ports.
    :ivar draining: drains it.
    :ivar handover: hands the ports to the next process; ``None`` if not configured.
    :ivar redis: reads rules from Redis; ``None`` if a file has them.
    :ivar why_not: why it could not start; ``None`` if it could.
    """

    def __init__(
        self, settings: GatewaySettings, reactor: Any, environment: Mapping[str, str]
    ) -> None:
        """
        :param settings: checked.
        :param reactor: runs it.
        :param environment: environment variables, with ``POD_NAME`` in Kubernetes.
        :raises Misconfigured: a file cannot be read or used.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.settings, self._reactor = settings, reactor
        self.why_not: str | None = None
        self.gateway_id = gateway_id_of(settings, environment)
        self._direct, self._turns = DirectReads(), TurnEnd(reactor)
        self._names: RememberedNames | None = None
        self._watch = TurnWatch(time.monotonic)
        self.health = Health(reactor.seconds, _chance)
        self.router = Router(
            self.health.is_usable,
            self.health.is_reachable,
            other_service=settings.other_service or "",
        )
        self.routes = Routes(
            self.router,
            settings.services,
            self.health.keep,
            settings.link_certificate_file is not None,
        )
        self._reloadable: list[Certificates | ProviderKeys] = []
        self._access_file = AccessFile(settings.access_log)
        has_log = settings.access_log is not None
        self._access_log = AccessLog(
            self.gateway_id,
            self._access_file.write if has_log else None,
            time.time,
            reactor.seconds,
        )
        self._transports = self._make_transports()
        per_address = settings.max_connections_per_address
        packets = _PACKETS * settings.new_connections
        self.limits = Limits(
            NetworkCounts(
                per_address, SITE_SHARE * per_address, settings.max_connections
            ),
            AddressBuckets(
                settings.new_connections, _BURST_SECONDS * settings.new_connections
            ),
            AddressBuckets(packets, packets),
            Proxies(settings.trusted_proxy),
        )
        self.reserve = Reserve(_RESERVE, make_room=self.limits.make_room)
        self.backends = Backends(
            self.router,
            self.health,
            self._transports,
            SessionIds(secrets.randbits(62)),
            reactor,
            self._access_log.ended,
            self.reserve,
        )
        self.acceptors = Acceptors(
            self._acceptors(),
            self.limits,
            reactor,
            self._tls(),
            self._turns,
        )
        self._token = None
        if settings.admin_token_file is not None:
            name = "admin_token_file"
            self._token = checked_token(
                read_file(settings.admin_token_file, name), name
            )
        self.ports = Ports(reactor, self.gateway_id)
        self.draining = Draining(
            self, reactor, settings.drain_lag, settings.drain_seconds
        )
        self.handover: Handover | None = None
        if settings.handover is not None:
            self.handover = Handover(
                settings.handover, reactor, self.ports, self.draining
            )
        self.redis: RedisRules | None = None
        self.checks = HealthChecks(
            self.router,
            self.health,
            self._transports,
            reactor,
            settings.check_seconds,
        )
        self._own(self.checks)
        if settings.routes is not None:
            self._own(FileRules(settings.routes, self.routes, reactor))
        if isinstance(settings.store, StoreAddress):
            self.redis = self._redis()
            self._own(self.redis)

    def _own(self, service: Service) -> None:
        self.addService(service)  # type: ignore[no-untyped-call]  # Twisted's

    def _redis(self) -> RedisRules:
        settings = self.settings
        assert isinstance(settings.store, StoreAddress)
        return redis_source(
            *store_login(
                settings.store, settings.store_password_file, settings.store_ca
            ),
            Owner(self.gateway_id),
            self.routes,
            self._reactor,
            secrets.token_bytes,
            self._turns,
            prefix=settings.store_prefix,
        )

    def _make_transports(self) -> Mapping[str, TcpBackend | LinkBackend]:
        dialer = Dialer(self._reactor, self._link_tls(), is_quick=True)
        web = WebClient(
            self._reactor,
            authority=None,
            authority_name="",
            connect_seconds=CHECK_SECONDS,
            most_bytes=64 * 1024,
        )
        tcp = TcpBackend(dialer, self._reactor, web, self._direct)
        self.links = LinkBackend(
            dialer,
            self._reactor,
            self.gateway_id,
            direct=self._direct,
            turns=self._turns,
        )
        return {
            "tcp": tcp,
            "tcp+proxy": tcp,
            "packets": self.links,
            "packets+tls": self.links,
        }

    def _link_tls(self) -> LinkTls | None:
        settings = self.settings
        certificate, key = settings.link_certificate_file, settings.link_key_file
        authority = settings.link_authority_file
        if certificate is None or key is None or authority is None:
            return None
        return LinkTls(certificate, key, authority)

    def _acceptors(self) -> Mapping[Spoken, Acceptor]:
        settings = self.settings
        shared = self.backends, self._reactor, settings
        self.packet_clients = PacketClients(*shared, self._direct, self._turns)
        self.http = HttpAcceptor(*shared, direct=self._direct)
        self.http.packets_at = self._packets_at
        found = find_users(settings, self._reactor, time.time)
        if found is not None:
            users, keys = found
            self.http.user_of = users.of
            self._reloadable.append(keys)
        acceptors: dict[Spoken, Acceptor] = {
            Spoken.HTTP: self.http,
            Spoken.LINES: bytes_acceptor("lines", *shared, self._direct),
            Spoken.PACKETS: self.packet_clients.acceptor,
        }
        if settings.other_service:
            acceptors[Spoken.OTHER] = bytes_acceptor("tcp", *shared, self._direct)
        return acceptors

    def _packets_at(self, host: str, path: str) -> PacketAcceptor | None:
        rules = self.router.rules
        if path != PACKETS_PATH or not rules.by_code:
            return None
        rule = rules.of_request(host, path)
        is_taken = rule is not None and rule.path.rstrip("/") == path
        return None if is_taken else self.packet_clients.acceptor

    def _tls(self) -> NamedTls | None:
        settings = self.settings
        files = list(
            zip(settings.tls_certificate_file, settings.tls_key_file, strict=True)
        )
        if not files:
            return None
        certificates = Certificates(files, self._reactor)
        self._own(certificates)
        self._reloadable.append(certificates)
        return certificates.tls

    def startService(self) -> None:
        """
        Read the rules, then listen.

        :raises SystemExit: a port cannot be opened; the log's last line says why.
        """
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._remember_names()
        self._watch.start(self._reactor, self._direct, self._turns)
        if self.handover is None:
            try:
                self._serve({})
            except Misconfigured as error:
                self._give_up(str(error))
                self.ports.close()
                raise SystemExit(1) from error
        else:
            taking = Deferred.fromCoroutine(self._take_over(self.handover))
            taking.addErrback(self._failed)

    def stopService(self) -> Deferred[Any]:
        """Close all ports, and end all sessions with a reason."""
        self.draining.stop()
        ending = [self.ports.close()]
        if self.handover is not None:
            ending.append(self.handover.close())
        self.cut()
        self.links.close()
        self._turns.run()
        self._watch.stop()
        if self._names is not None:
            self._reactor.installNameResolver(self._names.inner)
            self._names = None
        stopped = super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return DeferredList([*ending, stopped])

    def interrupted(self) -> None:
        """Handle SIGTERM or Ctrl-C: drain at the first, stop at the second."""
        if self.draining.is_begun:
            _log.warn("stopping at once")
            self.finish()
        else:
            self.draining.begin()

    def reload(self) -> None:
        """
        Handle SIGHUP: open the access log again, which logrotate may have moved; read
        certificates and the keys of the identity provider.
        """
        self._access_file.reopen()
        for files in self._reloadable:
            files.reload()

    def drain(self) -> None:
        """Accept no new clients, and exit when the last one is gone."""
        self.draining.begin()

    def _remember_names(self) -> None:
        """Let sessions not wait for a DNS server each."""
        reactor = self._reactor
        if IReactorPluggableNameResolver.providedBy(reactor):
            clock: IReactorTime = self._reactor
            self._names = RememberedNames(reactor.nameResolver, clock)
            reactor.installNameResolver(self._names)

    async def _take_over(self, handover: Handover) -> None:
        inherited = await handover.take()
        while inherited and not self.routes.is_loaded:
            # Until it has rules the previous process should serve.
            await deferLater(self._reactor, 0.05)
        self._serve(inherited)
        await handover.serve()

    def _serve(self, inherited: Mapping[str, int]) -> None:
        factory = ReservingFactory(
            public_factory(self.acceptors, self.settings.proxy), self.reserve
        )
        ports, admin = self.ports, self.settings.admin
        # A port whose address has changed is not taken over.
        left = dict(inherited)
        for where in self.settings.listen:
            ports.listen("listen", where, factory, left.pop(f"listen {where}", None))
        if admin is not None:
            site = admin_site(self, self._token, self._reactor)
            ports.listen("admin", admin, site, left.pop(f"admin {admin}", None))
        for descriptor in left.values():
            os.close(descriptor)

    def _failed(self, failure: Any) -> None:
        self._give_up(failure.getErrorMessage())
        self.finish()

    def _give_up(self, why: str) -> None:
        self.why_not = why
        _log.critical("cannot start: {why}", why=why)

    # Implements `vinom.gateway.handover.Ending`.

    def close_ports(self) -> None:
        """Accept no new connections; the admin port stays open."""
        self.ports.close(but=() if self.draining.is_handed_over else ("admin",))

    def ask_to_leave(self, seconds: float) -> None:
        """Ask clients to connect again, elsewhere."""
        self.http.drain(seconds)
        self.packet_clients.drain()

    def cut(self) -> int:
        """End all remaining sessions."""
        left = list(self.backends.open.values())
        for session in left:
            session.end(Reason.DRAINING, "this gateway stops: connect again")
        self.http.close()
        self.packet_clients.close()
        return len(left)

    def is_empty(self) -> bool:
        """Are all clients gone?"""
        return not self.limits.connections.total and not self.backends.open

    def finish(self) -> None:
        """Exit."""
        self._reactor.callWhenRunning(self._reactor.stop)

    # Implements `vinom.gateway.admin.Operations`.

    def obstacle(self) -> str | None:
        """Why clients should not be sent here; ``None`` if they can."""
        if self.draining.is_begun:
            return "draining"
        return None if self.routes.is_loaded else "no rules yet"

    def details(self) -> Mapping[str, Any]:
        """The state of the rules."""
        found: dict[str, Any] = {"rules": self.routes.mistake or "ok"}
        unreachable = self.router.unreachable()
        if unreachable:
            found["unreachable"] = unreachable
        if self.redis is not None:
            found["store"] = self.redis.why or "ok"
        return found

    def status(self) -> Mapping[str, Any]:
        """The gateway's status."""
        counts = self.backends.counts
        return {
            "gateway_id": self.gateway_id,
            "version": __version__,
            "state": self.obstacle() or "ready",
            **self.details(),
            "connections": self.limits.connections.total,
            "sessions": dict(counts.open),
            "ended": {str(why): count for why, count in counts.ended.items()},
        }

    def listed_routes(self) -> Mapping[str, Any]:
        """The rules that are in use, and the state of their back ends."""
        router = self.router
        lost = {one: {"unreachable": UNREACHABLE} for one in router.unreachable()}
        return {
            "services": {
                name: {
                    "strategy": rule.strategy,
                    "transport": rule.transport,
                    "codes": rule.codes,
                    "match": {"host": rule.host, "path": rule.path},
                    "check": rule.check,
                    "sticky": rule.sticky,
                    "most_sessions": rule.most_sessions,
                    "first_answer_seconds": rule.first_answer_seconds,
                    "idle_seconds": rule.idle_seconds,
                    "endpoints": self._states(rule.endpoints),
                    **lost.get(name, {}),
                    **rule.others,
                }
                for name, rule in router.rules.by_name.items()
            },
            "realms": {
                str(realm): self._states([endpoint])
                for realm, endpoint in router.realms.items()
            },
        }

    def _states(self, endpoints: Iterable[Endpoint]) -> dict[str, str]:
        return {str(one): self.health.state(one) for one in endpoints}

    async def facts(self) -> Mapping[str, Any]:
        """Count everything, for metrics."""
        counts, router = self.backends.counts, self.router
        open_sessions = self.backends.open.values()
        known = {
            endpoint
            for rule in router.rules.by_name.values()
            for endpoint in rule.endpoints
        } | set(router.realms.values())
        redis = self.redis
        return {
            "gateway_id": self.gateway_id,
            "sessions_begun": dict(counts.begun),
            "sessions_ended": {str(one): n for one, n in counts.ended.items()},
            "received_bytes": counts.received
            + sum(one.client.bytes for one in open_sessions),
            "sent_bytes": counts.sent + sum(one.backend.bytes for one in open_sessions),
            "connections": dict(self.acceptors.arrived),
            "connections_refused": dict(self.limits.refused),
            "links_dialed": self.links.dialed,
            "links_lost": self.links.lost_links,
            "checks_failed": self.checks.failed,
            "breakers_opened": self.health.opened,
            "outliers": self.health.ejected,
            "rules_taken": self.routes.taken,
            "rules_refused": self.routes.refused,
            "http_answers": {str(one): n for one, n in self.http.answers.items()},
            "http_own_answers": {str(one): n for one, n in self.http.refused.items()},
            "sessions": dict(counts.open),
            "connections_open": self.limits.connections.total,
            "backend_sessions": {str(one): router.open[one] for one in known},
            "backend_usable": {
                str(one): int(self.health.state(one) == "good") for one in known
            },
            "links": self.links.links,
            "rules_valid": int(self.routes.mistake is None),
            "rules_loaded": int(self.routes.is_loaded),
            "store_available": int(redis is None or redis.client.is_available),
            "draining": int(self.draining.is_begun),
        }


def _chance() -> float:
    return secrets.randbelow(1 << 20) / (1 << 20)
