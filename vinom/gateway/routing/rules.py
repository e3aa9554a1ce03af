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

from vinom.base.settings.sources import explain
from vinom.errors import Misconfigured

#: How one of several back ends is chosen.
Strategy = Literal["round_robin", "least_sessions", "consistent_hash", "realm"]
#: How a back end is reached: by a TCP connection for each session, by one that begins
#: with a PROXY header, or by packets on a link that many sessions share: without TLS,
#: or over TLS with certificates of the deployment's authority.
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
#: How much longer a number can be than its placeholder.
_LONGEST_NUMBER = 10
_MOST_CODE = (1 << 16) - 1
_Code = Annotated[int, Meta(ge=0, le=_MOST_CODE)]


class _Match(Struct, frozen=True):
    """The HTTP and WebSocket requests that a rule applies to."""

    host: str = ""
    path: str = ""


class _Rule(Struct, frozen=True):
    """The known members of a rule."""

    strategy: Strategy
    endpoints: list[str] = []
    transport: Transport | None = None
    sticky: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    check: Annotated[str, Meta(max_length=200, pattern="^(/[!-~]*)?$")] = ""
    most_sessions: Annotated[int, Meta(ge=0)] = 0
    first_answer_seconds: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    idle_seconds: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    code: _Code | None = None
    match: _Match | None = None


_KNOWN = frozenset(_Rule.__struct_fields__)


# Not an attrs class: its hash is needed several times per session.
class Endpoint(Struct, frozen=True):
    """
    Where a back end listens.

    :ivar host: a name or an address; for a UNIX socket its path.
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
class ServiceRule:
    """
    How one service is reached.

    :ivar service: its name.
    :ivar strategy: how a back end is chosen.
    :ivar endpoints: the back ends; empty for "realm".
    :ivar codes: the ``service_type`` of its packets; empty if it accepts none.
    :ivar host: the host of HTTP and WebSocket requests; empty for any. ``{realm}``
        stands for a number in its first label, or in one segment of *path*.
    :ivar path: prefix of their paths; empty if the service gets no such requests.
    :ivar transport: how a back end is reached.
    :ivar sticky: how long a user's next session goes to the back end of the last one,
        seconds; 0 switches this off.
    :ivar check: path that an active check requests over HTTP; if empty it only
        connects.
    :ivar most_sessions: most sessions of this service at once; 0 for no limit.
    :ivar first_answer_seconds: how long a back end may take to send anything after the
        client did, except over HTTP; 0 for no limit.
    :ivar idle_seconds: how long nobody may send anything in a session; 0 for no limit.
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
    idle_seconds: float = 0.0
    others: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_linked(self) -> bool:
        """Do its sessions share links?"""
        return self.transport in _LINKED

    def realm_in(self, host: str, path: str) -> int:
        """
        Find the realm that a request for this rule names.

        :returns: 0 if this rule does not take the realm from requests.
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
    A set of rules that is in force together.

    :ivar by_name: by the service's name.
    :ivar by_code: by ``service_type``.
    :ivar by_path: by host, empty for any, and path without a slash at its end.
    """

    by_name: Mapping[str, ServiceRule] = attrs.field(factory=dict)
    by_code: Mapping[int, ServiceRule] = attrs.field(factory=dict)
    by_path: Mapping[tuple[str, str], ServiceRule] = attrs.field(factory=dict)
    _longest: int = attrs.field(init=False)
    _takes_realms: bool = attrs.field(init=False)

    @_longest.default
    def _measured(self) -> int:
        return max((len(path) for _, path in self.by_path), default=0)

    @_takes_realms.default
    def _looked(self) -> bool:
        return any(_ANY_REALM in host + path for host, path in self.by_path)

    def of_request(self, host: str, path: str) -> ServiceRule | None:
        """
        Find the rule with the longest path that matches an HTTP or WebSocket request.

        :param host: the request's host, without a port.
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

    def _find(self, host: str, path: str) -> ServiceRule | None:
        by_path = self.by_path
        # No rule is longer, so the many slashes of a hostile request cost nothing.
        path = path[: self._longest + 1].rstrip("/")
        while True:
            found = by_path.get((host, path)) or by_path.get(("", path))
            if found is not None or not path:
                return found
            path = path[: path.rfind("/")]


def _closeness(rule: ServiceRule | None) -> tuple[int, bool]:
    """Rank a match: by the length of the path, then a host over none."""
    if rule is None:
        return -1, False
    return rule.path.rstrip("/").count("/"), bool(rule.host)


def _masked_host(host: str) -> tuple[str, int]:
    """Replace a number that a host begins with by ``{realm}``; return it, too."""
    label, dot, rest = host.partition(".")
    if _REALM.fullmatch(label) is None or int(label) > _MOST_REALM:
        return host, 0
    return f"{_ANY_REALM}{dot}{rest}", int(label)


def _masked_path(path: str) -> tuple[str, int]:
    """Replace the first number in a path by ``{realm}``; return it, too."""
    found = _FIRST_NUMBER.search(path)
    if found is None or int(found[0]) > _MOST_REALM:
        return path, 0
    return path[: found.start()] + _ANY_REALM + path[found.end() :], int(found[0])


def read_endpoint(text: str, where: str = "endpoint") -> Endpoint:
    """
    Read ``HOST:PORT``, or ``unix:`` with the path of a socket.

    :param where: what the text is, for the error.
    :raises Misconfigured: it is neither.
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
    Read rules from JSON, as Redis has them: an object with a rule for each service.

    If one rule has a mistake the whole set is refused. Back ends of rules that name no
    transport are reached by packets.

    :param services: codes of services whose rules name none.
    :raises Misconfigured: names the service and the member at fault.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise Misconfigured(f"rules: {min(twice)!r} appears twice")
        return dict(pairs)

    try:
        # msgspec silently uses the last of two members with the same name.
        found = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"rules: not valid JSON: {error}") from None
    return check_rules(found, services, "packets")


def check_rules(
    found: Any,
    services: Mapping[str, int] | None = None,
    transport: Transport = "tcp",
) -> Rules:
    """
    Check rules that are already parsed, such as those of a TOML file.

    :param services: codes of services whose rules name none.
    :param transport: that of rules which name none.
    :raises Misconfigured: names the service and the member at fault.
    """
    if not isinstance(found, dict):
        raise Misconfigured("rules: must be an object with a rule for each service")
    by_name: dict[str, ServiceRule] = {}
    by_code: dict[int, ServiceRule] = {}
    by_path: dict[tuple[str, str], ServiceRule] = {}
    for name, given in found.items():
        rule = _read_rule(name, given, services or {}, transport)
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


def read_services(found: Mapping[str, str]) -> dict[str, int]:
    """
    Read the codes of services, as Redis has them.

    :param found: ``service_type`` by the service's name, as text.
    :raises Misconfigured: names the service at fault.
    """
    codes: dict[str, int] = {}
    for name, code in found.items():
        if not (code.isascii() and code.isdecimal()) or int(code) > _MOST_CODE:
            raise Misconfigured(
                f"services: {name} has the code {code!r}: use 0 to {_MOST_CODE}"
            )
        codes[name] = int(code)
    return codes


def read_realms(found: Mapping[Any, Any]) -> dict[int, Endpoint]:
    """
    Read the mapping of realms to back ends.

    :param found: ``HOST:PORT`` by ``realm_id``, as text.
    :raises Misconfigured: names the realm at fault.
    """
    realms: dict[int, Endpoint] = {}
    for realm, where in found.items():
        if _REALM.fullmatch(str(realm)) is None or int(realm) > _MOST_REALM:
            raise Misconfigured(
                f"realms: {realm!r} is not a realm_id: use 0 to {_MOST_REALM}"
            )
        if not isinstance(where, str):
            raise Misconfigured(
                f"realms: {realm}: {where!r} must be text, such as 'host:8080'"
            )
        realms[int(realm)] = read_endpoint(where, f"realms: {realm}")
    return realms


def _read_rule(
    name: str, given: Any, services: Mapping[str, int], transport: Transport
) -> ServiceRule:
    if _NAME.fullmatch(name) is None:
        raise Misconfigured(
            f"rules: {name!r} is not a valid service name: use 1 to 64 letters, "
            "digits, '.', '_' and '-', beginning with a letter or digit"
        )
    try:
        rule = msgspec.convert(given, _Rule)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"rules: {name}: {explain(error, _Rule)}") from None
    if rule.strategy == "realm" and rule.endpoints:
        raise Misconfigured(
            f"rules: {name}: leave out endpoints: with strategy 'realm' the back ends "
            "come from the mapping of realms"
        )
    if rule.strategy != "realm" and not rule.endpoints:
        raise Misconfigured(f"rules: {name}: endpoints must name at least one back end")
    endpoints = tuple(
        read_endpoint(one, f"rules: {name}: endpoints") for one in rule.endpoints
    )
    if len(set(endpoints)) < len(endpoints):
        raise Misconfigured(f"rules: {name}: endpoints name a back end twice")
    if rule.check and any(one.is_socket for one in endpoints):
        raise Misconfigured(
            f"rules: {name}: check works only over TCP: leave it out for unix: "
            "endpoints"
        )
    match = rule.match or _Match()
    if match.path and not match.path.startswith("/"):
        raise Misconfigured(
            f"rules: {name}: match.path {match.path!r} must begin with a slash"
        )
    path = match.path or ("/" if match.host else "")
    _check_realm(name, match.host, path)
    return ServiceRule(
        name,
        rule.strategy,
        endpoints,
        _codes(name, rule, services),
        match.host.lower(),
        path,
        rule.transport or transport,
        rule.sticky,
        rule.check,
        rule.most_sessions,
        rule.first_answer_seconds,
        rule.idle_seconds,
        {key: value for key, value in given.items() if key not in _KNOWN},
    )


def _check_realm(name: str, host: str, path: str) -> None:
    """Check that ``{realm}`` is at a place from which a request's realm is read."""
    if "{" not in host + path:
        return
    whole = [part for part in path.split("/") if _ANY_REALM in part]
    is_of_path = whole == [_ANY_REALM] and _masked_path(path)[1] == 0
    is_of_host = host.lower().startswith(f"{_ANY_REALM}.") and not whole
    rest = (host + path).replace(_ANY_REALM, "", 1)
    if "{" in rest or not (is_of_path or is_of_host):
        raise Misconfigured(
            f"rules: {name}: match: {_ANY_REALM} can appear once: as the first label "
            "of the host, or as a whole segment of the path with no number before it"
        )


def _codes(name: str, rule: _Rule, services: Mapping[str, int]) -> tuple[int, ...]:
    """List the codes of a rule: its own, or its decimal name and the settings' code."""
    if rule.code is not None:
        return (rule.code,)
    is_code = name.isascii() and name.isdecimal() and int(name) <= _MOST_CODE
    decimal = {int(name): None} if is_code else {}
    return tuple(decimal | ({services[name]: None} if name in services else {}))
