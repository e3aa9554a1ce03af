"""Which web pages may connect, and by which names browsers may call the server."""

from __future__ import annotations

import re
from ipaddress import ip_address

import attrs

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Longest name of a host with its port (RFC 1035, 2.3.4).
_LONGEST_HOST = 261
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(
    rf"(\*\.)?({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(\d{{1,5}}))?"
)


@attrs.frozen
class OriginRule:
    """
    Pages of one host, or of all hosts below it.

    :ivar host: in lower case; an IPv6 address as in ``[::1]``.
    :ivar is_below: whether it means the hosts below it, and not itself.
    :ivar port: ``None`` for the scheme's own.
    """

    host: str
    is_below: bool = False
    port: int | None = None

    def allows(self, host: str, port: int | None) -> bool:
        """Does it allow pages of this host? *port* is ``None`` for the scheme's own."""
        if port != self.port:
            return False
        # With the dot: evil-example.com is not below example.com.
        return host.endswith("." + self.host) if self.is_below else host == self.host


def read_origin_rule(text: str) -> OriginRule:
    """
    Read ``example.com``, ``*.example.com`` or ``localhost:5173``.

    :raises ValueError: it is none of these.
    """
    found = _HOST.fullmatch(text.lower())
    if found is None:
        raise ValueError(
            "must be a host such as example.com, *.example.com or localhost:5173, "
            f"not {text!r}"
        )
    port = None if found.group(3) is None else int(found.group(3))
    return OriginRule(found.group(2), found.group(1) is not None, port)


@attrs.frozen
class Origins:
    """
    Decide which web pages may connect from their visitors' browsers.

    :ivar rules: allowed in addition to the same origin.
    :ivar allows_none: whether clients that send no origin (programs, not browsers) may.
    :ivar allows_any: whether every page may; for development.
    :ivar has_tls: whether the node itself speaks TLS. Then none of its own pages is
        from plain ``http``, where an attacker on the path could have changed it. Behind
        a proxy that ends TLS a node cannot know.
    """

    rules: tuple[OriginRule, ...] = ()
    allows_none: bool = True
    allows_any: bool = False
    has_tls: bool = False

    def allows(self, origin: str | None, host: str | None) -> bool:
        """
        May a page of *origin* connect?

        :param origin: the request's Origin header.
        :param host: the request's Host header.
        """
        if origin is None:
            return self.allows_none
        if self.allows_any:
            return True
        page = _split(origin)
        if page is None:
            return False
        scheme, name, port = page
        if self.has_tls and scheme == "http":
            host = None
        if host is not None and (name, port) == _without_default(scheme, host):
            return True
        return any(rule.allows(name, port) for rule in self.rules)


def _split(origin: str) -> tuple[str, str, int | None] | None:
    scheme, slashes, host = origin.lower().partition("://")
    if not slashes or scheme not in _DEFAULT_PORTS:
        return None
    name, port = _without_default(scheme, host)
    return None if name is None else (scheme, name, port)


def _without_default(scheme: str, host: str) -> tuple[str | None, int | None]:
    """Split ``host:port``; a port that is the scheme's own counts as none."""
    if len(host) > _LONGEST_HOST:
        return None, None
    found = _HOST.fullmatch(host.lower())
    if found is None or found.group(1):
        return None, None
    port = None if found.group(3) is None else int(found.group(3))
    return found.group(2), None if port == _DEFAULT_PORTS[scheme] else port


def setting_for(origin: str) -> str | None:
    """
    Write what the setting ``origin`` would need to allow pages of this origin.

    :returns: such as ``localhost:5173``; ``None`` if no value can, as for ``null``,
        the origin of pages that were opened from a file.
    """
    page = _split(origin)
    if page is None:
        return None
    _, name, port = page
    return name if port is None else f"{name}:{port}"


@attrs.frozen
class Hosts:
    """
    Decide which names browsers may call the server by, against DNS rebinding.

    A page of any name passes the check of origins if that name leads here: its owner
    chooses the address. So names must be the server's own; addresses cannot be
    anybody else's.

    :ivar public_host: the host name or address that players connect to.
    :ivar rules: of the setting ``origin``; their ports do not matter here.
    :ivar allows_any: whether every name may; for development.
    """

    public_host: str = "localhost"
    rules: tuple[OriginRule, ...] = ()
    allows_any: bool = False

    def allows(self, host: str | None) -> bool:
        """May a request with this Host header use the pages?"""
        if self.allows_any:
            return True
        if host is None or len(host) > _LONGEST_HOST:
            return False
        found = _HOST.fullmatch(host.lower())
        if found is None or found.group(1):
            return False
        name = found.group(2)
        return (
            name in ("localhost", self.public_host.lower())
            or _is_address(name)
            or any(rule.allows(name, rule.port) for rule in self.rules)
        )


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
