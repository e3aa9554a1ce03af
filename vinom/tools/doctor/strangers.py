"""What ``vinom doctor`` checks of what strangers can read, and of proxies."""

from __future__ import annotations

from collections.abc import Mapping

from vinom.base.limits.buckets import is_loopback
from vinom.node.build import has_tls
from vinom.node.settings import Settings
from vinom.tools.doctor.findings import Finding, ok, warning


def examine_strangers(settings: Settings, seen: Mapping[str, int]) -> list[Finding]:
    """
    Look at what strangers can read, and for a proxy that nobody configured.

    :param settings: the node's.
    :param seen: what the running node saw of proxies; see `proxies`.
    """
    findings = plain_ports(settings)
    if settings.http is not None:
        findings.append(proxies(settings, seen))
    return findings


def proxies(settings: Settings, seen: Mapping[str, int]) -> Finding:
    """
    Judge whether the node sees the address of each player behind a proxy.

    :param settings: the node's, with ``http``.
    :param seen: how many connections of the running node had headers of a proxy that
        is not configured (``not_believed``), or came from one that is, and named
        nobody (``unnamed``).
    """
    name = "proxy"
    many = settings.connections_per_address
    consequence = (
        f"all who come by way of it count as one address, with {many} connections, and "
        "none as a guest from this machine"
    )
    if seen.get("not_believed"):
        return warning(
            name,
            f"{seen['not_believed']} connections had a header of a proxy (Forwarded, "
            "X-Forwarded-For, X-Real-IP or Via), but did not come from a proxy of the "
            f"settings: {consequence}",
            "set proxy to the proxy's address, such as 127.0.0.1, if it is yours",
        )
    if settings.proxy:
        if seen.get("unnamed"):
            return warning(
                name,
                f"{seen['unnamed']} connections of a proxy named nobody: {consequence}",
                "have the proxy send the PROXY protocol, or X-Forwarded-For",
            )
        where = ", ".join(map(str, settings.proxy))
        return ok(name, f"{where} may name whom they speak for")
    # A node that ends TLS itself needs no proxy in front of it.
    is_local = _is_local(settings, str(settings.http)) and not has_tls(settings)
    if is_local and not is_loopback(settings.public_host):
        guests = (
            " A proxy that adds no header makes all of them guests."
            if settings.guests == "loopback"
            else ""
        )
        return warning(
            name,
            "http listens on this machine only, as behind a proxy, but proxy is not "
            f"set: {consequence}.{guests}",
            "set proxy to the proxy's address, such as 127.0.0.1",
        )
    return ok(name, "none: connections count by their own addresses")


def plain_ports(settings: Settings) -> list[Finding]:
    """Look for ports at which secrets pass the network unencrypted."""
    s, findings = settings, []
    if s.http is not None:
        is_safe = has_tls(s) or bool(s.proxy) or s.allow_plaintext
        if is_safe or _is_local(s, s.http):
            findings.append(ok("http encryption", "nobody on the route can read http"))
        else:
            findings.append(
                warning(
                    "http encryption",
                    f"http = {s.http} takes connections of other machines without TLS: "
                    "passwords and player keys can be read on the route",
                    "set http_tls, or proxy if a proxy terminates TLS",
                )
            )
    if s.admin is not None:
        if s.admin.startswith("ssl:") or _is_local(s, s.admin):
            message = "nobody on the route can read the admin token"
            findings.append(ok("admin encryption", message))
        else:
            port = s.admin if s.admin.isdecimal() else "8481"
            findings.append(
                warning(
                    "admin encryption",
                    f"admin = {s.admin} takes connections of other machines without "
                    "TLS: the bearer token can be read on the route",
                    f"set admin to tcp:{port}:interface=127.0.0.1, or to an ssl: "
                    "endpoint",
                )
            )
    return findings


def _is_local(settings: Settings, where: str) -> bool:
    """Does a port or endpoint take connections of this machine alone?"""
    if where.isdecimal():
        return is_loopback(settings.interface)
    if where.startswith("unix:"):
        return True
    _, found, rest = where.partition("interface=")
    return bool(found) and is_loopback(rest.partition(":")[0].replace("\\", ""))
