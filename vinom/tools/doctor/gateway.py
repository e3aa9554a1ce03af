"""What ``vinom doctor --gateway`` checks: a gateway's files, rules and back ends."""

from __future__ import annotations

import socket
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from twisted.internet.task import Clock

from vinom.base.settings.values import StoreAddress
from vinom.errors import Misconfigured, StoreUnavailable
from vinom.gateway.arrivals import find_users
from vinom.gateway.routing.router import Router
from vinom.gateway.routing.rules import Endpoint
from vinom.gateway.routing.sources import UNREACHABLE, Routes
from vinom.gateway.settings import SOURCES, GatewaySettings
from vinom.net.keys.files import store_login
from vinom.store.redis.inspection import find_store
from vinom.tools.doctor.findings import Finding, Subject
from vinom.tools.doctor.trust import examine_pair

#: How long a back end may take to accept a connection, seconds.
_SECONDS = 2.0


def examine_gateway(path: Path, environment: Mapping[str, str]) -> list[Finding]:
    """
    Examine a gateway by its settings; it may run meanwhile.

    :param path: its TOML file.
    :param environment: its variables count, too.
    :raises Misconfigured: the settings are invalid.
    """
    settings = GatewaySettings(**SOURCES.gather({}, environment, path))
    findings = [*_certificates(settings), *_identity(settings)]
    if isinstance(settings.store, StoreAddress):
        return [*findings, *_store(settings)]
    return [*findings, *_rules(settings)]


def _certificates(settings: GatewaySettings) -> Iterator[Finding]:
    pairs = [
        ("tls_certificate_file", "tls_key_file", certificate, key)
        for certificate, key in zip(
            settings.tls_certificate_file, settings.tls_key_file, strict=True
        )
    ]
    link, link_key = settings.link_certificate_file, settings.link_key_file
    if link is not None and link_key is not None:
        pairs.append(("link_certificate_file", "link_key_file", link, link_key))
    if not settings.tls_certificate_file:
        yield Subject("certificate").warning(
            "there is none: clients connect without TLS, and nodes refuse their "
            "lobby lines, unless something before the gateway handles it",
            "set tls_certificate_file and tls_key_file",
        )
    for name, key_name, certificate, key in pairs:
        what = "link certificate" if name.startswith("link") else "certificate"
        yield from examine_pair(what, (certificate, key), (name, key_name))


def _identity(settings: GatewaySettings) -> list[Finding]:
    about = Subject("identity keys")
    try:
        # The keys are read once, so time need not pass.
        found = find_users(settings, Clock(), time.time)
    except Misconfigured as error:
        return [about.refused(error, "replace identity_keys_file")]
    return [] if found is None else [about.ok("usable")]


def _store(settings: GatewaySettings) -> list[Finding]:
    try:
        assert isinstance(settings.store, StoreAddress)
        found = find_store(
            *store_login(
                settings.store, settings.store_password_file, settings.store_ca
            )
        )
    except StoreUnavailable as error:
        how = "start it, or check store and the route to it; the last rules stay in use"
        return [Subject("store").failure(f"it does not answer: {error}", how)]
    except Misconfigured as error:
        how = "check store, store_password_file and store_ca"
        return [Subject("store").failure(str(error), how)]
    return [
        Subject("store").ok(
            f"Redis {found.version} at {found.host}:{found.port} answers"
        ),
        Subject("rules").not_checked(
            "they are in Redis",
            "a gateway that runs reports mistakes in them in /ready",
        ),
    ]


def _rules(settings: GatewaySettings) -> Iterator[Finding]:
    about = Subject("rules")
    assert settings.routes is not None
    router = Router(other_service=settings.other_service or "")
    known: set[Endpoint] = set()
    has_certificate = settings.link_certificate_file is not None
    routes = Routes(router, settings.services, known.update, has_certificate)
    how = f"correct {settings.routes}: docs/reference/gateway.rst has the rules"
    try:
        routes.offer(tomllib.loads(settings.routes.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        yield about.failure(f"{settings.routes} cannot be read: {error}", how)
        return
    if routes.mistake is not None:
        yield about.failure(routes.mistake, how)
        return
    message = f"{len(router.rules.by_name)} services, {len(router.realms)} realms"
    yield about.ok(message)
    for service in router.unreachable():
        reason, _, remedy = UNREACHABLE.partition(": ")
        yield about.warning(f"{service}: {reason}", remedy)
    yield from (_back_end(one) for one in sorted(known, key=str))


def _back_end(endpoint: Endpoint) -> Finding:
    about = Subject("back end")
    try:
        if endpoint.is_socket:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(_SECONDS)
                line.connect(endpoint.host)
        else:
            where = endpoint.host, endpoint.port
            socket.create_connection(where, _SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        how = "start it, or check its address, firewalls, and who may open its socket"
        return about.failure(f"{endpoint} cannot be reached: {why}", how)
    return about.ok(f"{endpoint} accepts connections")
