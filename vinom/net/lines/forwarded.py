"""
Who is behind a proxy that speaks HTTP: ``Forwarded`` and ``X-Forwarded-For``.

Only configured proxies are believed. Sources: RFC 7239; for ``X-Forwarded-For``, what
Caddy, nginx and HAProxy write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

import attrs

from vinom.base.limits.buckets import address_of, is_loopback

#: Marks an address that a proxy stands in front of, as IPv6 writes a zone: limits count
#: the address, but nobody behind a proxy is a guest from this machine.
_MARK = "%proxied"
#: Headers that show a proxy, although addresses are not read from them: ``Via`` has
#: none (RFC 9110, 7.6.3), and nothing shows how many proxies wrote ``X-Real-IP``.
SIGNS = frozenset(("via", "x-real-ip"))
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*(;|,|$)')
#: An element may be empty: a proxy that appends to nothing writes ", for=...".
_EMPTY = re.compile(r"[ \t]*(,|$)")
_WITH_PORT = re.compile(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


@attrs.frozen
class Forwarding:
    """
    What one request says of those it came from.

    :ivar forwarded: the lines of ``Forwarded``, in order.
    :ivar x_forwarded_for: the lines of ``X-Forwarded-For``, in order.
    :ivar has_signs: whether it has another header that only proxies write, one of
        `SIGNS`: it came by way of one, but nobody that is believed is named.
    """

    forwarded: Sequence[str] = ()
    x_forwarded_for: Sequence[str] = ()
    has_signs: bool = False

    @property
    def names_somebody(self) -> bool:
        """Is there a header that names from whom the request came?"""
        return bool(self.forwarded or self.x_forwarded_for)

    def __bool__(self) -> bool:
        return self.names_somebody or self.has_signs


@attrs.frozen
class Proxies:
    """
    The proxies that are believed.

    :ivar networks: their addresses.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def trusts(self, host: str) -> bool:
        """Is this the address of such a proxy?"""
        if not self.networks:
            return False
        address = address_of(host)
        return address is not None and any(address in one for one in self.networks)

    def client(self, peer: str, given: Forwarding) -> str:
        """
        Find the address that limits count.

        Addresses are read from the right, where the proxy nearest to us wrote, and as
        far as each one is itself a trusted proxy; a malformed one ends the search. If
        both headers are there and disagree, a client sent one of them: then only the
        proxy's own address is certain.

        :param peer: of the connection, or as the PROXY protocol gave it.
        :param given: by the request.
        :returns: an address; never one that counts as this machine's own if a proxy
            stands in between, or seems to.
        """
        if not self.trusts(peer):
            return behind_proxy(peer) if given else peer
        found = set()
        if given.forwarded:
            # One by one, so that a quote which a client left open cannot swallow the
            # line that a proxy added.
            nodes = [node for line in given.forwarded for node in _elements(line)]
            found.add(self._nearest(nodes))
        if given.x_forwarded_for:
            joined = ",".join(given.x_forwarded_for)
            found.add(self._nearest([node.strip(" \t") for node in joined.split(",")]))
        nearest = found.pop() if len(found) == 1 else None
        return behind_proxy(peer if nearest is None else nearest)

    def _nearest(self, nodes: Sequence[str | None]) -> str | None:
        """Walk from the right; ``None`` if not even the last one is an address."""
        nearest = None
        for node in reversed(nodes):
            address = None if node is None else _read_node(node)
            if address is None:
                break
            nearest = address
            if not self.trusts(address):
                break
        return nearest


def behind_proxy(host: str) -> str:
    """Mark an address of this machine as one that came by way of a proxy."""
    return host + _MARK if is_loopback(host) else host


def _read_node(node: str) -> str | None:
    """Read an address, with its port or without; ``None`` if it isn't one."""
    found = _WITH_PORT.fullmatch(node)
    if found is not None:
        node = found.group(1)
    if node.startswith("[") and node.endswith("]"):
        node = node[1:-1]
        if ":" not in node:
            return None
    address = None if "%" in node else address_of(node)
    return None if address is None else str(address)


def _elements(line: str) -> list[str | None]:
    nodes: list[str | None] = []
    at, node, is_twice = 0, None, False
    while True:
        empty = _EMPTY.match(line, at)
        if empty is not None and node is None and not is_twice:
            at = empty.end()
            if not empty.group(1):
                return nodes
            continue
        pair = _PAIR.match(line, at)
        if pair is None:
            return [None]
        name, quoted, token, end = pair.groups()
        if name.lower() == "for":
            is_twice = node is not None
            node = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = pair.end()
        if end != ";":
            nodes.append(None if is_twice else node)
            node, is_twice = None, False
            if not end:
                return nodes
