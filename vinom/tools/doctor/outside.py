"""What ``vinom doctor`` checks of the servers that a node depends on."""

from __future__ import annotations

import re
import socket
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from vinom.errors import Misconfigured, StoreUnavailable
from vinom.lobby.conversation.identity import OutsideVerifier
from vinom.lobby.conversation.provider import DEADLINE, MOST_BYTES
from vinom.lobby.results.sending import REQUEST_SECONDS, place_of
from vinom.lobby.results.webhook import read_secrets
from vinom.net.keys.files import read_file
from vinom.node.build import cluster_of
from vinom.node.problems import wrong_clock
from vinom.node.redis_stores import login_of
from vinom.node.settings import Settings
from vinom.store.redis.inspection import find_store
from vinom.tools.doctor.findings import Finding, Subject


def _place(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _trust(path: Path | None, setting: str) -> ssl.SSLContext:
    """Trust the authority of a setting, or those that the system trusts."""
    pem = None if path is None else read_file(path, setting).decode("ascii")
    return ssl.create_default_context(cadata=pem)


def examine_store(settings: Settings) -> list[Finding]:
    """Find the Redis as the node would, and look at it, its clock, and our link."""
    about, link = Subject("store"), settings.link
    if settings.store == "memory":
        message = (
            "memory, nothing to reach: queues and matches belong to this node and end "
            "with it; recordings and keys stay"
        )
        return [about.ok(message)]
    findings = [
        Subject("node link").warning(
            "there is a store and an authority of its own: beside a second node, "
            "players who come to the other one than their room are refused with busy",
            "set authority_certificate_file and authority_key_file to the same on all "
            "nodes that share the store",
        )
        if link is None
        else Subject("node link").ok(
            f"{link if link != '0' else 'a free port'}, for nodes that share the store"
        )
    ]
    try:
        found = find_store(*login_of(settings))
    except StoreUnavailable as error:
        how = (
            "start it, check store, and the route and firewall to it; until it answers "
            "the node refuses requests with store_unavailable"
        )
        return [about.failure(f"it does not answer: {error}", how), *findings]
    except Misconfigured as error:
        how = "check store, store_password_file and store_ca"
        return [about.failure(str(error), how), *findings]
    if why := wrong_clock(found.ahead):
        message, _, how = why.rpartition("; ")
        findings.append(Subject("store clock").failure(message, how))
    else:
        message = f"{abs(found.ahead):.1f} s from this machine's"
        findings.append(Subject("store clock").ok(message))
    where = f"Redis {found.version} at {found.host}:{found.port}"
    if found.eviction != "noeviction":
        return [
            about.failure(
                f"{where} has maxmemory-policy {found.eviction}: it deletes keys when "
                "its memory is full, such as a player's place in the queue",
                "set maxmemory-policy to noeviction in redis.conf",
            ),
            *findings,
        ]
    return [about.ok(f"{where} answers, and evicts no keys"), *findings]


def examine_cluster(settings: Settings) -> list[Finding]:
    """Find the cluster as the node does, and connect; no findings without one."""
    about, table = Subject("cluster"), settings.pods
    if table is None:
        return []
    try:
        cluster = cluster_of(table)
    except Misconfigured as error:
        # The remedy is the last part of the message.
        return [about.failure(*re.split(r"[:;] (?!.*[:;] )", str(error), maxsplit=1))]
    url = str(cluster.configuration.host)
    try:
        socket.create_connection(_place(urlsplit(url)), DEADLINE).close()
    except OSError as error:
        return [
            about.failure(
                f"the API server at {url} cannot be reached: {error}",
                "start it, or set pods.kubeconfig to the file of another cluster; "
                "until then no match can begin",
            )
        ]
    return [about.ok(f"the API server at {url}, namespace {cluster.namespace}")]


def examine_provider(settings: Settings) -> list[Finding]:
    """Read or fetch the provider's keys as the node would; nothing without one."""
    about = Subject("identity keys")
    issuer, audience = settings.identity_issuer, settings.identity_audience
    if issuer is None or audience is None:
        return []
    url, path = settings.identity_keys_url, settings.identity_keys_file
    verifier = OutsideVerifier(b"", issuer, audience)
    try:
        if path is not None:
            verifier.use(read_file(path, "identity_keys_file") or b" ")
        elif url is not None:
            verifier.use(_fetched(settings, url) or b" ")
    except Misconfigured as error:
        return [about.refused(error, "replace the file")]
    except (OSError, HTTPException, ValueError) as error:
        # No error of this kind contains the keys.
        return [
            about.failure(
                f"{url} does not answer with keys: {error}",
                "check identity_keys_url, the route and firewall to its server, and "
                "that identity_authority_file signed its certificate; until then the "
                "node refuses tokens with unavailable",
            )
        ]
    return [about.ok(f"{url or path} has {verifier.key_count}")]


def _fetched(settings: Settings, url: str) -> bytes:
    """Fetch the keys as the node does: directly, and without redirects."""
    parts = urlsplit(url)
    context = _trust(settings.identity_authority_file, "identity_authority_file")
    connection = HTTPSConnection(*_place(parts), timeout=DEADLINE, context=context)
    try:
        where = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET", where, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"it answers {answer.status}, not 200")
        body = answer.read(MOST_BYTES + 1)
    finally:
        connection.close()
    if len(body) > MOST_BYTES:
        raise ValueError(f"its answer is above {MOST_BYTES} bytes")
    return body


def examine_receiver(settings: Settings) -> list[Finding]:
    """
    Read the secrets, and connect to the receiver of results as the node would.

    Nothing is sent: a request without a result would only confuse it.
    """
    about, url, path = (
        Subject("results"),
        settings.results_url,
        settings.results_secret_file,
    )
    if url is None or path is None:
        return []
    parts, verified = urlsplit(url), ""
    try:
        count = len(read_secrets(read_file(path, "results_secret_file"), str(path)))
        authority = settings.results_authority_file
        is_secure = parts.scheme == "https"
        context = _trust(authority, "results_authority_file") if is_secure else None
        with socket.create_connection(_place(parts), REQUEST_SECONDS) as line:
            if context is not None:
                context.wrap_socket(line, server_hostname=parts.hostname).close()
                verified = f" and verified as {parts.hostname}"
    except Misconfigured as error:
        return [about.failure(str(error), "replace the file")]
    except (OSError, ValueError) as error:
        return [
            about.warning(
                f"{place_of(url)} cannot be reached: {error}",
                "check results_url, the route and firewall to its server, and that "
                "results_authority_file signed its certificate; until then results "
                "wait in the state directory",
            )
        ]
    secrets = "1 secret" if count == 1 else f"{count} secrets"
    return [about.ok(f"{place_of(url)} is reached{verified}, {secrets} to sign with")]
