"""
Routing: choose the back end that serves a session.

Pure: a request in, a back end out. Health and rules are handed in.
"""

from __future__ import annotations

from array import array
from bisect import bisect, bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol as Shape
from zlib import crc32

import attrs
from uhashring import HashRing

from vinom.gateway.routing.rules import Endpoint, Rules, ServiceRule

#: Points of each back end on its ring: enough that shares differ by only some 10 %.
_POINTS = 100
#: Equal parts of a ring; and the bits of a position, of 48, that say where in a part.
_PARTS = 256
_LOW_BITS = 40
#: The service for lobby lines.
_LOBBY = "lobby"
#: Users whose back ends are remembered.
MOST_STICKY = 100_000


class Request(Shape):
    """The parts of a request for a session that decide where it goes."""

    @property
    def kind(self) -> str:
        """The client's protocol; "lines" goes to the lobby."""

    @property
    def code(self) -> int | None:
        """``service_type`` of a packet."""

    @property
    def called(self) -> str:
        """Host of an HTTP request, without a port."""

    @property
    def path(self) -> str:
        """Path of an HTTP request; empty for others."""

    @property
    def realm_id(self) -> int:
        """For rules with strategy "realm"; 0 for none."""

    @property
    def user(self) -> int | str | None:
        """The user, whose sessions belong together; ``None`` if unknown."""


def _position(key: str) -> int:
    """
    Hash a key for a ring.

    A mixed checksum, which is much faster than the library's MD5 and spreads as evenly
    (``tests/gateway/routing/test_router.py``).
    """
    mixed = crc32(key.encode()) * 0x9E3779B97F4A7C15
    return (mixed ^ mixed >> 32) * 0xBF58476D1CE4E5B9 >> 16 & 0xFFFFFFFFFFFF


class _Ring:
    """
    Back ends by the hash of a user.

    :ivar endpoints: all of them.
    """

    __slots__ = ("_ends", "_positions", "_starts", "endpoints")

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        """:param endpoints: at least one."""
        self.endpoints = endpoints
        by_name = {str(one): one for one in endpoints}
        ring = HashRing(list(by_name), hash_fn=_position, vnodes=_POINTS)
        points = ring.get_points()
        # Searching it ourselves takes a third of the library's time, and an array is
        # contiguous: of 1,000 rings few are in the processor's caches. For the same
        # reason only the two or three points are searched to which the first bits of
        # a position lead.
        self._positions = positions = array("Q", (position for position, _ in points))
        self._starts = array(
            "H" if len(points) < 1 << 16 else "L",
            (bisect_left(positions, part << _LOW_BITS) for part in range(_PARTS + 1)),
        )
        self._ends = [by_name[name] for _, name in points]
        self._ends.append(self._ends[0])

    def first(self, user: int | str) -> Endpoint:
        """Find a user's own back end."""
        return self._ends[self._place(user)]

    def _place(self, user: int | str) -> int:
        """Find the first point behind a user's position."""
        # `_position` written out: this is done for each session.
        mixed = crc32(str(user).encode()) * 0x9E3779B97F4A7C15
        position = (mixed ^ mixed >> 32) * 0xBF58476D1CE4E5B9 >> 16 & 0xFFFFFFFFFFFF
        part, starts = position >> _LOW_BITS, self._starts
        return bisect(self._positions, position, starts[part], starts[part + 1])

    def all(self, user: int | str) -> list[Endpoint]:
        """List the back ends for a user, its own first."""
        start = self._place(user)
        return list(dict.fromkeys(self._ends[start:-1] + self._ends[:start]))


@attrs.define(eq=False)
class Router:
    """
    Choose back ends by the current rules.

    :ivar is_usable: may this back end get a session now?
    :ivar is_last_resort: may it get one if no other back end may?
    :ivar rules: the current rules.
    :ivar realms: back ends by ``realm_id``, for rules with strategy "realm".
    :ivar other_service: service for unknown protocols; empty for none.
    :ivar open: sessions of each back end, which `begun` and `ended` count.
    """

    is_usable: Callable[[Endpoint], bool] = lambda _: True
    is_last_resort: Callable[[Endpoint], bool] = lambda _: False
    rules: Rules = attrs.field(factory=Rules)
    realms: Mapping[int, Endpoint] = attrs.field(factory=dict)
    other_service: str = ""
    open: Counter[Endpoint] = attrs.field(factory=Counter, init=False)
    #: By service: how often a back end was chosen in turn.
    _turns: dict[str, int] = attrs.field(factory=dict, init=False)
    #: By service; each is made when first needed, because that takes milliseconds.
    _rings: dict[str, _Ring] = attrs.field(factory=dict, init=False)
    #: By service and user: a back end, and until when.
    _sticky: OrderedDict[tuple[str, int | str], tuple[Endpoint, float]] = attrs.field(
        factory=OrderedDict, init=False
    )

    def use(self, rules: Rules) -> None:
        """
        Use new rules; open sessions keep their back ends.

        So do users of a rule with ``sticky``, as long as it names their back ends.
        """
        self.rules = rules
        names = rules.by_name
        self._turns = {one: turn for one, turn in self._turns.items() if one in names}
        self._rings = {one: ring for one, ring in self._rings.items() if one in names}

    def rule_of(self, request: Request) -> ServiceRule | None:
        """Find the rule for a request; ``None`` if there is none."""
        if request.code is not None:
            return self.rules.by_code.get(request.code)
        if request.path:
            return self.rules.of_request(request.called, request.path)
        is_lobby = request.kind == "lines"
        name = _LOBBY if is_lobby else self.other_service
        return self.rules.by_name.get(name)

    def unreachable(self) -> list[str]:
        """List the services whose rules apply to no request."""
        named = _LOBBY, self.other_service
        return [
            name
            for name, rule in self.rules.by_name.items()
            if not (rule.codes or rule.path or name in named)
        ]

    def realm_of(self, rule: ServiceRule, request: Request) -> int:
        """Find the realm of a request: its own, or the one in its host and path."""
        return request.realm_id or rule.realm_in(request.called, request.path)

    def has(self, rule: ServiceRule, request: Request, endpoint: Endpoint) -> bool:
        """Is this one of a rule's back ends for a request?"""
        if rule.strategy == "realm":
            return self.realms.get(self.realm_of(rule, request)) == endpoint
        return endpoint in rule.endpoints

    def choose(
        self,
        rule: ServiceRule,
        request: Request,
        session_id: int,
        tried: Collection[Endpoint] = (),
        now: float = 0.0,
    ) -> Endpoint | None:
        """
        Choose a back end.

        :param session_id: is hashed if the user is unknown.
        :param tried: back ends that could not be reached for this session.
        :param now: seconds.
        :returns: ``None`` if no back end is left to try.
        """
        if rule.sticky and request.user is not None:
            last = self._last(rule, request, now)
            if last is not None and last not in tried and self.is_usable(last):
                return last
        if rule.strategy == "realm":
            found = self.realms.get(self.realm_of(rule, request))
            if found is None or found in tried:
                return None
            is_fit = self.is_usable(found) or self.is_last_resort(found)
            return found if is_fit else None
        first = self._first(rule, request, session_id)
        if first not in tried and self.is_usable(first):
            return first
        # Seldom needed.
        rest = self._rest(rule, request, session_id)
        for fits in (self.is_usable, self.is_last_resort):
            for one in rest:
                if one not in tried and fits(one):
                    return one
        return None

    def stick(
        self, service: str, request: Request, endpoint: Endpoint, now: float
    ) -> None:
        """A user's session begins or ends at a back end: the next one goes there."""
        rule = self.rules.by_name.get(service)
        if rule is None or not rule.sticky or request.user is None:
            return
        sticky, key = self._sticky, (service, request.user)
        sticky[key] = endpoint, now + rule.sticky
        sticky.move_to_end(key)
        while sticky:
            _, until = next(iter(sticky.values()))
            if until > now and len(sticky) <= MOST_STICKY:
                return
            sticky.popitem(last=False)

    def begun(self, endpoint: Endpoint) -> None:
        """A back end got a session."""
        self.open[endpoint] += 1

    def ended(self, endpoint: Endpoint) -> None:
        """A session of a back end is over."""
        self.open[endpoint] -= 1
        if self.open[endpoint] <= 0:
            del self.open[endpoint]

    def _last(self, rule: ServiceRule, request: Request, now: float) -> Endpoint | None:
        """Find the back end of a user's last session, if it still serves."""
        assert request.user is not None
        endpoint, until = self._sticky.get((rule.service, request.user), (None, 0.0))
        if endpoint is None or until <= now:
            return None
        return endpoint if self.has(rule, request, endpoint) else None

    def _ring(self, rule: ServiceRule) -> _Ring:
        ring = self._rings.get(rule.service)
        if ring is None or (
            ring.endpoints is not rule.endpoints and ring.endpoints != rule.endpoints
        ):
            ring = self._rings[rule.service] = _Ring(rule.endpoints)
        return ring

    def _first(self, rule: ServiceRule, request: Request, session_id: int) -> Endpoint:
        """Find the best back end of a rule."""
        endpoints, strategy = rule.endpoints, rule.strategy
        if strategy == "consistent_hash":
            user = request.user
            ring = self._rings.get(rule.service)
            if ring is None or ring.endpoints is not rule.endpoints:
                ring = self._ring(rule)
            return ring.first(session_id if user is None else user)
        # With equal counts of sessions, in turn as well.
        turn = self._turns.get(rule.service, -1) + 1
        self._turns[rule.service] = turn
        best = endpoints[turn % len(endpoints)]
        if strategy == "least_sessions":
            count = self.open.get
            least = count(best, 0)
            for one in endpoints:
                if count(one, 0) < least:
                    best, least = one, count(one, 0)
        return best

    def _rest(
        self, rule: ServiceRule, request: Request, session_id: int
    ) -> Sequence[Endpoint]:
        """List all back ends of a rule, the best one first."""
        endpoints = rule.endpoints
        if rule.strategy == "consistent_hash":
            user = session_id if request.user is None else request.user
            return self._ring(rule).all(user)
        start = self._turns[rule.service] % len(endpoints)
        ordered = endpoints[start:] + endpoints[:start]
        if rule.strategy == "least_sessions":
            return sorted(ordered, key=lambda one: self.open[one])
        return ordered
