"""
Headers of requests and answers that pass through the gateway.

Pure. Headers of one connection are not passed on, and only a trusted proxy may name the
client of a request. Sources: RFC 9110, 7.6; RFC 7239; for ``X-Forwarded-*`` the headers
of nginx, HAProxy and Caddy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from enum import IntEnum
from functools import lru_cache

import attrs

from vinom.net.lines.forwarded import SIGNS, Forwarding, Proxies
from vinom.net.streams.channels import checked_traceparent

Fields = Iterable[tuple[bytes, bytes]]

#: Of one connection. The code that frames the body writes ``Content-Length``.
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"http2-settings",
    )
)
_ENDS = _HOP_BY_HOP | {b"via"}
#: Headers that we write ourselves for back ends.
_WRITTEN = frozenset((b"host", b"via", b"x-forwarded-for"))
#: Headers that ``Connection`` cannot remove, because they are not of one connection.
_END_TO_END = frozenset(
    (b"host", b"authorization", b"cookie", b"content-type", b"via", b"traceparent")
)
#: Headers in which only trusted proxies may name the client of a request.
_CLAIMS = (
    b"forwarded",
    b"x-forwarded-",
    b"x-real-ip",
    b"x-original-",
    b"x-rewrite-",
    # Of the proxies of Akamai, Cloudflare, Fastly, Envoy, Azure and others.
    b"true-client-ip",
    b"cf-connecting-ip",
    b"cf-pseudo-ipv4",
    b"fastly-client-ip",
    b"client-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-envoy-external-address",
    b"x-azure-clientip",
    b"x-azure-socketip",
    b"x-appengine-user-ip",
)
_VIA = b"vinom-gateway"
#: Behind an address, as IPv6 writes a zone: a trusted proxy's, of which a stranger's
#: header hides the client. Such requests have limits, together.
UNCLEAR = "%unclear"


@attrs.frozen
class Sender:
    """
    The client of a request, and the headers for the back end.

    :ivar host: the client's address, as far as it is known; with `UNCLEAR`, it is that
        of a proxy whose headers name nobody who is believed.
    :ivar fields: all headers for the back end except those that frame the body.
    """

    host: str
    fields: list[tuple[bytes, bytes]]


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """Read lists of tokens, such as the values of ``Connection``, in lower case."""
    return {
        token.strip(b" \t").lower() for value in values for token in value.split(b",")
    }


def named(fields: Fields) -> dict[bytes, list[bytes]]:
    """Sort values by the names of headers, in lower case."""
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lowered = name.lower()
        if lowered in by_name:
            by_name[lowered].append(value)
        else:
            by_name[lowered] = [value]
    return by_name


def request_fields(
    fields: Sequence[tuple[bytes, bytes]],
    *,
    peer: str,
    is_tls: bool,
    authority: bytes,
    proxies: Proxies,
    version: bytes,
    by_name: Mapping[bytes, list[bytes]],
) -> Sender:
    """
    Write the headers of a request for a back end.

    :param fields: the client's headers, with unchanged names.
    :param peer: the address of the connection.
    :param is_tls: does it use TLS?
    :param authority: host and port of the request.
    :param proxies: addresses of trusted proxies.
    :param version: the client's HTTP version.
    :param by_name: the same headers, as sorted by `named`.
    """
    ends = tokens(by_name.get(b"connection", ())) - _END_TO_END
    is_trusted = proxies.trusts(peer)
    host = _client_of(by_name, peer, proxies) if is_trusted else peer
    out = [(b"Host", authority)] if authority else []
    for field in fields:
        name = field[0]
        stays = _stays(name)
        if stays is _Stays.NEVER or (stays is _Stays.TRUSTED and not is_trusted):
            continue
        if not ends or name.lower() not in ends:
            out.append(field)
    plain = peer.partition("%")[0]
    before = by_name.get(b"x-forwarded-for", []) if is_trusted else []
    out.append((b"X-Forwarded-For", b", ".join((*before, plain.encode()))))
    kept = by_name if is_trusted else {}
    proto = b"https" if is_tls else b"http"
    if b"x-forwarded-proto" not in kept:
        out.append((b"X-Forwarded-Proto", proto))
    if authority and b"x-forwarded-host" not in kept:
        out.append((b"X-Forwarded-Host", authority))
    if b"forwarded" in kept:
        # Both must agree, because some programs read both.
        node = f'"[{plain}]"' if ":" in plain else plain
        out.append((b"Forwarded", b"for=%b;proto=%b" % (node.encode(), proto)))
    out.append((b"Via", _via(by_name.get(b"via", ()), version)))
    return Sender(host, out)


class _Stays(IntEnum):
    """Does a header of a client go on to the back end?"""

    NEVER = 0
    #: If a trusted proxy sends it.
    TRUSTED = 1
    #: Unless ``Connection`` names it.
    ALWAYS = 2


@lru_cache(1024)
def _stays(name: bytes) -> _Stays:
    lowered = name.lower()
    # Some back ends read an underscore as a hyphen.
    likely = lowered.replace(b"_", b"-")
    if lowered in _WRITTEN or likely in _HOP_BY_HOP:
        return _Stays.NEVER
    if likely.startswith(_CLAIMS):
        return _Stays.TRUSTED if likely == lowered else _Stays.NEVER
    return _Stays.ALWAYS


def answer_fields(
    fields: Sequence[tuple[bytes, bytes]],
    version: bytes,
    by_name: Mapping[bytes, list[bytes]],
) -> list[tuple[bytes, bytes]]:
    """
    Write the headers of an answer for a client, except those that frame the body.

    :param fields: the back end's headers.
    :param version: the back end's HTTP version.
    :param by_name: the same headers, as sorted by `named`.
    """
    gone: Set[bytes] = _ENDS
    if b"connection" in by_name:
        gone = gone | (tokens(by_name[b"connection"]) - _END_TO_END)
    out = [field for field in fields if field[0].lower() not in gone]
    out.append((b"Via", _via(by_name.get(b"via", ()), version)))
    return out


def traceparent_of(values: Sequence[bytes]) -> str:
    """Read ``traceparent``; empty if it is missing, invalid, or not the only one."""
    if len(values) != 1:
        return ""
    return checked_traceparent(values[0].decode("latin-1"))


def _client_of(
    by_name: Mapping[bytes, list[bytes]], peer: str, proxies: Proxies
) -> str:
    given = Forwarding(
        [value.decode("latin-1") for value in by_name.get(b"forwarded", ())],
        [value.decode("latin-1") for value in by_name.get(b"x-forwarded-for", ())],
        any(sign.encode() in by_name for sign in SIGNS),
    )
    host = proxies.client(peer, given)
    if given.names_somebody and proxies.trusts(host):
        host = host.partition("%")[0] + UNCLEAR
    return host


def _via(before: Iterable[bytes], version: bytes) -> bytes:
    return b", ".join((*before, b"%b %b" % (version, _VIA)))
