"""
Routing rules: which back ends serve which service, and how one is chosen.

Pure: text in, rules out. Source: docs/reference/gateway.rst.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import Meta, Struct

from vinom.errors import Misconfigured

#: How one of several back ends is chosen.
Strategy = Literal["round_robin", "least_sessions", "consistent_hash", "realm"]
#: How a back end is reached: by a TCP connection for each session, by one that begins
#: with a PROXY header, or by packets, over which many sessions share a link: in the
#: clear, or over TLS with certificates of the deployment's authority.
Transport = Literal["tcp", "tcp+proxy", "packets", "packets+tls"]

_LINKED = ("packets", "packets+tls")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SOCKET = re.compile(r"unix:(/[!-~]{1,106})")
_REALM = re.compile(r"0|[1-9][0-9]{0,9}")
_MOST_REALM = (1 << 32) - 1
#: In a host or path of a rule: the number of a realm.
_ANY_REALM = "{realm}"
_FIRST_NUMBER = re.compile(r"(?<=/)(?:0|[1-9][0-9]{0,9})(?=/|\Z)")
#: How much longer a number may be than what stands for it.
_LONGEST_NUMBER = 10
_MOST_CODE = (1 << 16) - 1
_Code = Annotated[int, Meta(ge=0, le=_MOST_CODE)]


class _Match(Struct, frozen=True):
    """Requests of HTTP and WebSocket that a rule takes."""

    host: str = ""
    path: str = ""


class _Rule(Struct, frozen=True):
    """The members of a rule that are known."""

    strategy: Strategy
    endpoints: list[str] = []
    transport: Transport = "tcp"
    sticky: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    check: Annotated[str, Meta(max_length=200, pattern="^(/[!-~]*)?$")] = ""
    most_sessions: Annotated[int, Meta(ge=0)] = 0
    first_answer_seconds: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    code: _Code | None = None
    match: _Match | None = None


_KNOWN = frozenset(_Rule.__struct_fields__)


# No attrs class: its hash is asked for several times with each session.
class Endpoint(Struct, frozen=True):
    """
    Where a back end listens.

    :ivar host: a name or an address; of a UNIX socket its path.
    :ivar port: from 1 to 65535; 0 for a UNIX socket.
    """

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        """Is it a UNIX socket?"""
        return not self.port

    def __str__(self) -> str:
        if self.is_socket:
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@attrs.frozen
class Rule:
    """
    How one service is reached.

    :ivar service: its name.
    :ivar strategy: how a back end is chosen.
    :ivar endpoints: the back ends; empty for "realm".
    :ivar codes: the ``service_type`` of its packets; empty if it takes none.
    :ivar host: of requests by HTTP and WebSocket; empty for any. ``{realm}`` stands for
        a number in its first label, or in one part of *path*.
    :ivar path: what their paths begin with; empty if none is for this service.
    :ivar transport: how a back end is reached.
    :ivar sticky: how long a user's next session goes to the back end of the last one,
        seconds; 0 for not at all.
    :ivar check: path that an active check asks for by HTTP; without one it connects.
    :ivar most_sessions: of this service at once; 0 for no limit.
    :ivar first_answer_seconds: how long a back end may take to send anything after the
        client did, but for HTTP; 0 for ever.
    :ivar others: members that this version does not know.
    """

    service: str
    strategy: Strategy
    endpoints: tuple[Endpoint, ...]
    codes: tuple[int, ...] = ()
    host: str = ""
    path: str = ""
    transport: Transport = "tcp"
    sticky: float = 0.0
    check: str = ""
    most_sessions: int = 0
    first_answer_seconds: float = 0.0
    others: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_linked(self) -> bool:
        """Do its sessions share links?"""
        return self.transport in _LINKED

    def realm_in(self, host: str, path: str) -> int:
        """
        Find the realm that a request for this rule names.

        :returns: 0 if this rule takes none from requests.
        """
        named = 0
        if self.host.startswith(_ANY_REALM):
            named = _masked_host(host)[1]
        elif _ANY_REALM in self.path:
            named = _masked_path(path)[1]
        return named


@attrs.frozen
class Rules:
    """
    All rules that hold at one time.

    :ivar by_name: by the service's name.
    :ivar by_code: by ``service_type``.
    :ivar by_path: by host, empty for any, and path without a slash at its end.
    """

    by_name: Mapping[str, Rule] = attrs.field(factory=dict)
    by_code: Mapping[int, Rule] = attrs.field(factory=dict)
    by_path: Mapping[tuple[str, str], Rule] = attrs.field(factory=dict)
    _longest: int = attrs.field(init=False)
    _takes_realms: bool = attrs.field(init=False)

    @_longest.default
    def _measured(self) -> int:
        return max((len(path) for _, path in self.by_path), default=0)

    @_takes_realms.default
    def _looked(self) -> bool:
        return any(_ANY_REALM in host + path for host, path in self.by_path)

    def of_request(self, host: str, path: str) -> Rule | None:
        """
        Find the rule of a request by HTTP or WebSocket: that with the longest path.

        :param host: as the request names it, without a port.
        :param path: begins with a slash.
        """
        if not self.by_path:
            return None
        host = host.lower()
        found = self._find(host, path)
        if self._takes_realms:
            any_host, _ = _masked_host(host)
            any_path, _ = _masked_path(path[: self._longest + _LONGEST_NUMBER])
            masked = self._find(any_host, path), self._find(host, any_path)
            found = max(found, *masked, key=_closeness)
        return found

    def _find(self, host: str, path: str) -> Rule | None:
        by_path = self.by_path
        # No rule is longer, however many slashes a stranger sends.
        path = path[: self._longest + 1].rstrip("/")
        while True:
            found = by_path.get((host, path)) or by_path.get(("", path))
            if found is not None or not path:
                return found
            path = path[: path.rfind("/")]


def _closeness(rule: Rule | None) -> tuple[int, bool]:
    """Measure how closely a rule fits: the longest path, and a host before none."""
    if rule is None:
        return -1, False
    return rule.path.rstrip("/").count("/"), bool(rule.host)


def _masked_host(host: str) -> tuple[str, int]:
    """Have ``{realm}`` stand for a number that a host begins with, and return both."""
    label, dot, rest = host.partition(".")
    if _REALM.fullmatch(label) is None or int(label) > _MOST_REALM:
        return host, 0
    return f"{_ANY_REALM}{dot}{rest}", int(label)


def _masked_path(path: str) -> tuple[str, int]:
    """Have ``{realm}`` stand for the first number of a path, and return both."""
    found = _FIRST_NUMBER.search(path)
    if found is None or int(found[0]) > _MOST_REALM:
        return path, 0
    return path[: found.start()] + _ANY_REALM + path[found.end() :], int(found[0])


def read_endpoint(text: str, where: str = "endpoint") -> Endpoint:
    """
    Read ``HOST:PORT``, or ``unix:`` with the path of a socket.

    :param where: what it is, for the error.
    :raises Misconfigured: it is something else.
    """
    socket = _SOCKET.fullmatch(text)
    if socket is not None:
        return Endpoint(socket[1], 0)
    found = _ENDPOINT.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise Misconfigured(
            f"{where}: {text!r} must look like host:8080, or unix:/path"
        )
    return Endpoint(found[1].strip("[]"), int(found[2]))


def read_rules(text: bytes | str, services: Mapping[str, int] | None = None) -> Rules:
    """
    Read rules: JSON, an object with a rule for each service.

    A set with one mistake is refused whole.

    :param services: codes of services whose rules name none.
    :raises Misconfigured: names the service and the member at fault.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise Misconfigured(f"rules: {min(twice)!r} is there twice")
        return dict(pairs)

    try:
        # msgspec takes the last of two members with one name, without a word.
        found = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"rules: this is not JSON: {error}") from None
    return check_rules(found, services)


def check_rules(found: Any, services: Mapping[str, int] | None = None) -> Rules:
    """
    Check rules that were read already, such as those of a TOML file.

    :param services: codes of services whose rules name none.
    :raises Misconfigured: names the service and the member at fault.
    """
    if not isinstance(found, dict):
        raise Misconfigured("rules: this must be an object of services")
    by_name: dict[str, Rule] = {}
    by_code: dict[int, Rule] = {}
    by_path: dict[tuple[str, str], Rule] = {}
    for name, given in found.items():
        rule = _read_rule(name, given, services or {})
        by_name[name] = rule
        for code in rule.codes:
            other = by_code.setdefault(code, rule)
            if other is not rule:
                raise Misconfigured(
                    f"rules: {name} and {other.service} have the same code {code}"
                )
        if rule.path:
            other = by_path.setdefault((rule.host, rule.path.rstrip("/")), rule)
            if other is not rule:
                raise Misconfigured(
                    f"rules: {name} and {other.service} match the same host and path "
                    f"{rule.host}{rule.path}"
                )
    return Rules(by_name, by_code, by_path)


def read_realms(found: Mapping[Any, Any]) -> dict[int, Endpoint]:
    """
    Read the mapping of realms to back ends.

    :param found: ``realm_id`` and ``HOST:PORT``, as text.
    :raises Misconfigured: names the realm at fault.
    """
    realms: dict[int, Endpoint] = {}
    for realm, where in found.items():
        if _REALM.fullmatch(str(realm)) is None or int(realm) > _MOST_REALM:
            raise Misconfigured(
                f"realms: {realm!r} is no realm_id: use a number up to {_MOST_REALM}"
            )
        if not isinstance(where, str):
            raise Misconfigured(f"realms: {realm}: {where!r} must be text")
        realms[int(realm)] = read_endpoint(where, f"realms: {realm}")
    return realms


def _read_rule(name: str, given: Any, services: Mapping[str, int]) -> Rule:
    if _NAME.fullmatch(name) is None:
        raise Misconfigured(
            f"rules: {name!r} is no name of a service: use letters, digits, '.', '_' "
            "and '-', 64 at most"
        )
    try:
        rule = msgspec.convert(given, _Rule)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"rules: {name}: {error}") from None
    if rule.strategy == "realm" and rule.endpoints:
        raise Misconfigured(
            f"rules: {name}: with strategy 'realm' the mapping names the back ends: "
            "leave out endpoints"
        )
    if rule.strategy != "realm" and not rule.endpoints:
        raise Misconfigured(f"rules: {name}: endpoints must name one back end at least")
    endpoints = tuple(
        read_endpoint(one, f"rules: {name}: endpoints") for one in rule.endpoints
    )
    if len(set(endpoints)) < len(endpoints):
        raise Misconfigured(f"rules: {name}: endpoints name one back end twice")
    if rule.check and any(one.is_socket for one in endpoints):
        raise Misconfigured(
            f"rules: {name}: check asks by HTTP over TCP: leave it out for unix: "
            "endpoints"
        )
    match = rule.match or _Match()
    if match.path and not match.path.startswith("/"):
        raise Misconfigured(
            f"rules: {name}: match.path {match.path!r} must begin with a slash"
        )
    path = match.path or ("/" if match.host else "")
    _check_realm(name, match.host, path)
    return Rule(
        name,
        rule.strategy,
        endpoints,
        _codes(name, rule, services),
        match.host.lower(),
        path,
        rule.transport,
        rule.sticky,
        rule.check,
        rule.most_sessions,
        rule.first_answer_seconds,
        {key: value for key, value in given.items() if key not in _KNOWN},
    )


def _check_realm(name: str, host: str, path: str) -> None:
    """Check that ``{realm}`` is where a request's realm is looked for."""
    if "{" not in host + path:
        return
    whole = [part for part in path.split("/") if _ANY_REALM in part]
    is_of_path = whole == [_ANY_REALM] and _masked_path(path)[1] == 0
    is_of_host = host.lower().startswith(f"{_ANY_REALM}.") and not whole
    rest = (host + path).replace(_ANY_REALM, "", 1)
    if "{" in rest or not (is_of_path or is_of_host):
        raise Misconfigured(
            f"rules: {name}: match: {_ANY_REALM} may stand once: for the first label "
            "of the host, or for one whole part of the path that no number comes before"
        )


def _codes(name: str, rule: _Rule, services: Mapping[str, int]) -> tuple[int, ...]:
    """List the codes of a rule: its own, or its decimal name and the settings' one."""
    if rule.code is not None:
        return (rule.code,)
    is_code = name.isascii() and name.isdecimal() and int(name) <= _MOST_CODE
    decimal = {int(name): None} if is_code else {}
    return tuple(decimal | ({services[name]: None} if name in services else {}))
