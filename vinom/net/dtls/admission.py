"""
Decide which datagrams may start a handshake: shape, cookie, ticket (decisions 1, 2).

A stranger can make us read three dozen bytes, compute one HMAC and look up two
dictionary entries, and nothing else. No OpenSSL object is made before `Admit`.
Source: docs/protocol/udp-handshake.rst.
"""

from __future__ import annotations

import hmac
import os
from collections import Counter
from collections.abc import Callable

import attrs

from vinom.base.limits.addresses import SITE_SHARE
from vinom.base.limits.pressure import Budgets, Pressure, Rate, network_of, source_of
from vinom.base.model import Ticket
from vinom.errors import PeerError
from vinom.net.dtls.records import (
    NOT_ASSOCIATED,
    ClientHello,
    hello_verify_request,
    is_client_hello,
    is_sealed_payload,
    parse_client_hello,
    shows_cookie,
)

#: One byte that names the key, then a shortened HMAC-SHA-256. DTLS 1.0 stacks
#: take no more than 32 bytes.
COOKIE_LENGTH = 32


@attrs.frozen
class CookieKey:
    """
    One key, without its secret. Times are seconds on the caller's clock.

    :ivar number: the first byte of its cookies; used again after 256 keys.
    :ivar since: when it became the active one.
    :ivar until: when its cookies stop being valid; ``None`` for the active one.
    """

    number: int
    since: float
    until: float | None


@attrs.define
class _Key:
    secret: bytes = attrs.field(repr=False)
    since: float
    until: float


class CookieKeys:
    """
    Make and check cookies with a key that is replaced periodically.

    A replaced key stays valid for one more period: OpenSSL's client hangs if it is
    asked for a cookie twice.
    """

    def __init__(
        self, now: float, entropy: Callable[[int], bytes], period: float = 300.0
    ) -> None:
        """
        Make the first key.

        :param now: the time, seconds on the caller's clock.
        :param entropy: returns as many random bytes as its argument.
        :param period: how long a key is the active one, seconds.
        """
        self._entropy = entropy
        self._period = period
        self._number = 0
        self._active = self._make_key(now)
        self._keys = {0: self._active}

    def make(self, bound: bytes, now: float) -> bytes:
        """
        Make a cookie.

        :param bound: what it is valid for: address and hello, in one piece.
        :param now: the time.
        """
        self._age(now)
        return self._cookie(self._number, self._active.secret, bound)

    def is_good(self, cookie: bytes, bound: bytes, now: float) -> bool:
        """Did we make this cookie for *bound*, at most two periods ago?"""
        if len(cookie) != COOKIE_LENGTH:
            return False
        self._age(now)
        key = self._keys.get(cookie[0])
        if key is None or now >= key.until:
            return False
        return hmac.compare_digest(cookie, self._cookie(cookie[0], key.secret, bound))

    def rotate(self, now: float) -> None:
        """Make cookies with a new key from now on."""
        self._age(now)
        self._replace(now)

    def known(self, now: float) -> list[CookieKey]:
        """List the keys whose cookies are valid, the active one last."""
        self._age(now)
        return [
            CookieKey(number, key.since, None if number == self._number else key.until)
            for number, key in self._keys.items()
            if now < key.until
        ]

    def _cookie(self, number: int, key: bytes, bound: bytes) -> bytes:
        digest = hmac.digest(key, bound, "sha256")
        return bytes((number,)) + digest[: COOKIE_LENGTH - 1]

    def _make_key(self, now: float) -> _Key:
        # It expires even if no hello arrives to replace it.
        return _Key(self._entropy(32), now, now + 2 * self._period)

    def _age(self, now: float) -> None:
        if now >= self._active.since + self._period:
            self._replace(now)

    def _replace(self, now: float) -> None:
        self._active.until = min(self._active.until, now + self._period)
        kept = {number: key for number, key in self._keys.items() if now < key.until}
        self._number = (self._number + 1) % 256
        kept.pop(self._number, None)
        self._active = self._make_key(now)
        self._keys = {**kept, self._number: self._active}


#: Where a datagram came from: host and port, as Twisted hands it out.
Address = tuple[str, int]

_LABEL = 26
#: How far the clock that set an expiry may be behind, seconds.
_LEEWAY = 30.0


@attrs.define
class Allowance:
    """A bucket of tries that refills over time."""

    left: float
    since: float

    def take(self, now: float, rate: Rate) -> bool:
        regained = max(0.0, now - self.since) * rate.a_second
        left = min(rate.at_once, self.left + regained)
        self.since = now
        self.left = left - 1 if left >= 1 else left
        return left >= 1

    def give_back(self) -> None:
        """Undo one `take`; the burst is the limit again at the next one."""
        self.left += 1


@attrs.frozen
class Drop:
    """
    Ignore the datagram.

    :ivar reason: the counter's name.
    """

    reason: str


@attrs.frozen
class Answer:
    """
    Send *datagram* back, once; it is never longer than the one received.

    :ivar reason: the counter's name.
    """

    datagram: bytes
    reason: str = "cookie_asked"


@attrs.frozen
class Admit:
    """
    Begin a handshake.

    :ivar ticket: the client's ticket; ``None`` if it sent no server name.
    :ivar spent: the tries that this handshake took; see `Admission.give_back`.
    """

    ticket: Ticket | None
    hello: ClientHello
    spent: tuple[Allowance, ...] = attrs.field(default=(), eq=False, repr=False)


Verdict = Drop | Answer | Admit


@attrs.frozen
class StrangerLimits:
    """
    Rates allowed to one network (`vinom.base.limits.pressure.network_of`).

    :ivar hellos: hellos without a valid cookie; separately, as many with one.
    :ivar nameless: handshakes without server name.
    """

    hellos: Rate
    nameless: Rate


#: A hello that OpenSSL refuses costs as much as this many junk datagrams.
FAILED = 10

#: Handshakes of one address, whatever tickets it shows. A class of pupils behind one
#: router starts a match together; a game server has only so many players.
HANDSHAKES = Rate(10.0, 100.0)


def handshakes_of(a_second: float) -> Rate:
    """Add the burst to a rate of handshakes."""
    return Rate(a_second, max(4.0, 10 * a_second))


#: Handshakes for one seat from one address.
TRIES = Rate(0.5, 8.0)
#: Handshakes without server name, of all networks together.
NAMELESS = Rate(1.0, 8.0)

#: Answers to payloads of nobody's association, per second and at once, to all
#: addresses together. A player who gets none finds out a little later.
NOTICES = Rate(200.0, 200.0)


CALM = StrangerLimits(hellos=Rate(500.0, 1000.0), nameless=Rate(0.5, 4.0))
#: Used while many datagrams are useless. A player needs two hellos, and repeats them.
TIGHT = StrangerLimits(hellos=Rate(20.0, 40.0), nameless=Rate(0.1, 1.0))


@attrs.frozen
class StrangerPolicy:
    """
    Rates allowed to strangers, and when they are reduced.

    :ivar calm: budgets of each network.
    :ivar tight: budgets while *junk* or more datagrams per second are useless.
    :ivar junk: useless datagrams per second.
    :ivar handshakes: handshakes of one address, over all its tickets; its network has
        `SITE_SHARE` times as many.
    :ivar tries: handshakes for one seat from one address.
    :ivar nameless: handshakes without server name, of all networks together.
    """

    calm: StrangerLimits = CALM
    tight: StrangerLimits = TIGHT
    junk: float = 1000.0
    handshakes: Rate = HANDSHAKES
    tries: Rate = TRIES
    nameless: Rate = NAMELESS


@attrs.define
class _Seat:
    """
    A seat's tickets, and which addresses have shown them.

    :ivar labels: of its tickets, oldest first.
    :ivar tries: allowance for handshakes with any of them, by source address: a new
        ticket brings no new tries.
    """

    labels: dict[bytes, None] = attrs.field(factory=dict)
    tries: dict[str, Allowance] = attrs.field(factory=dict)


@attrs.define
class _Shown:
    """
    A ticket that players may show.

    :ivar seat: what it is for.
    :ivar answers: allowance for hellos that name it once their network's budget
        is spent.
    """

    ticket: Ticket
    seat: _Seat
    answers: Allowance


class Admission:
    """
    Judge datagrams from addresses without an association.

    Times are seconds since the Unix epoch.

    :ivar pressure: whether too many datagrams are useless.
    :ivar outcomes: counts of judged datagrams, by verdict.
    """

    #: Addresses stored per seat. If there are more (an observer has seen a
    #: ticket and owns many addresses) the oldest is dropped: nobody is locked out.
    ADDRESSES = 64
    #: Addresses whose tries over all tickets are stored; those who came first are
    #: forgotten first, so somebody with more addresses locks nobody out.
    SOURCES = 4096
    #: Tickets stored per seat: the lobby makes one each time the player asks.
    TICKETS = 8

    def __init__(
        self,
        domain: str,
        now: float,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        policy: StrangerPolicy | None = None,
    ) -> None:
        """
        Start without tickets.

        :param domain: ``<server>.<realm>``; the ticket is the label before it.
        :param now: the time.
        :param entropy: returns as many random bytes as its argument.
        :param policy: how much strangers may do.
        """
        policy = policy or StrangerPolicy()
        self._suffix = b"." + domain.encode("ascii").lower()
        self._cookies = CookieKeys(now, entropy)
        self._nameless = Allowance(policy.nameless.at_once, now)
        self._policy = policy
        self._hellos = Budgets(policy.calm.hellos, entropy(16))
        self._proven = Budgets(policy.calm.hellos, entropy(16))
        each = policy.handshakes
        self._handshakes = Budgets(
            Rate(SITE_SHARE * each.a_second, SITE_SHARE * each.at_once), entropy(16)
        )
        self._nameless_each = Budgets(policy.calm.nameless, entropy(16))
        self._not_associated = Allowance(NOTICES.at_once, now)
        self.pressure = Pressure(policy.junk)
        self._shown: dict[bytes, _Shown] = {}
        self._sources: dict[str, Allowance] = {}
        self._of_match: dict[str, dict[int, _Seat]] = {}
        self.outcomes: Counter[str] = Counter()

    def add_ticket(self, ticket: Ticket) -> None:
        """Admit clients that show *ticket* from now on."""
        label = ticket.label.encode("ascii").lower()
        seat = self._of_match.setdefault(ticket.match_id, {}).setdefault(
            ticket.seat, _Seat()
        )
        self._shown[label] = _Shown(
            ticket, seat, Allowance(self._policy.tries.at_once, 0.0)
        )
        labels = seat.labels
        labels[label] = None
        if len(labels) > self.TICKETS:
            oldest = next(iter(labels))
            del labels[oldest], self._shown[oldest]

    def tickets_of(self, match_id: str) -> tuple[Ticket, ...]:
        """List the tickets of a match."""
        seats = self._of_match.get(match_id, {}).values()
        return tuple(
            self._shown[label].ticket for seat in seats for label in seat.labels
        )

    def remove_match(self, match_id: str) -> None:
        """Forget all tickets of a match that is over."""
        for seat in self._of_match.pop(match_id, {}).values():
            for label in seat.labels:
                del self._shown[label]

    def rotate_cookies(self, now: float) -> None:
        """Make cookies with a new key; those of the last one stay valid."""
        self._cookies.rotate(now)

    def cookie_keys(self, now: float) -> list[CookieKey]:
        """List the keys whose cookies are valid, without their secrets."""
        return self._cookies.known(now)

    @property
    def unfinished(self) -> int:
        """
        Most handshakes of one address that are in progress at once.

        They have memory, so it is less than the burst; finishing one takes one round
        trip.
        """
        return int(self._policy.handshakes.at_once) // 4

    @property
    def tickets(self) -> int:
        """How many tickets are stored."""
        return len(self._shown)

    def judge(self, datagram: bytes, address: Address, now: float) -> Verdict:
        """Decide what to do with a datagram from an unproven address."""
        verdict = self._judge(datagram, address, now)
        if isinstance(verdict, Drop | Answer):
            self.outcomes[verdict.reason] += 1
            self._count(1, now)
        else:
            self.outcomes["admitted"] += 1
            # Its first hello turned out to be useful.
            self._count(-1, now)
        return verdict

    def give_back(self, admit: Admit, address: Address, now: float) -> None:
        """
        Return the tries of a handshake that failed before a key exchange.

        It cost no signature, and anybody who sees the cookie and can send in its
        address's name may have begun it. It counts as the junk that would have cost
        as much, so many of them tighten the budgets.
        """
        for allowance in admit.spent:
            allowance.give_back()
        each = self._nameless_each if admit.ticket is None else self._handshakes
        each.give_back(network_of(address[0]))
        self._count(FAILED, now)

    def overflowed(self, count: int, now: float) -> None:
        """Record that *count* datagrams from strangers were dropped unread."""
        self.outcomes["beyond_share"] += count
        self._count(count, now)

    def deadline(self) -> float | None:
        """When to call `alarm`."""
        return self.pressure.deadline()

    def alarm(self, now: float) -> None:
        """Ease the budgets when the flood is over."""
        self.pressure.alarm(now)
        self._adjust()

    def _count(self, count: int, now: float) -> None:
        was_high = self.pressure.is_high
        self.pressure.add(count, now)
        if self.pressure.is_high is not was_high:
            self._adjust()

    def _adjust(self) -> None:
        policy = self._policy
        limits = policy.tight if self.pressure.is_high else policy.calm
        self._hellos.rate = self._proven.rate = limits.hellos
        self._nameless_each.rate = limits.nameless

    def _judge(self, datagram: bytes, address: Address, now: float) -> Verdict:
        if not is_client_hello(datagram):
            return self._judge_payload(datagram, now)
        network = network_of(address[0])
        # A valid cookie is checked first: it proves the sender's address, so its
        # budget does not depend on datagrams that others forge with that network.
        if shows_cookie(datagram):
            checked = self._check_cookie(datagram, address, now)
            if isinstance(checked, Drop):
                return checked if self._hellos.take(network, now) else _TOO_MANY_HELLOS
            if not self._proven.take(network, now):
                return _TOO_MANY_HELLOS
            return self._judge_proven(checked, address, now)
        # The address may be forged, so this may spend another network's budget.
        if not (self._hellos.take(network, now) or self._is_expected(datagram, now)):
            return _TOO_MANY_HELLOS
        try:
            hello = parse_client_hello(datagram)
        except PeerError:
            return _BAD_HELLO
        cookie = self._cookies.make(_bound(hello, address), now)
        return Answer(hello_verify_request(hello.sequence, cookie))

    def _judge_payload(self, datagram: bytes, now: float) -> Verdict:
        """
        Judge what is not a hello: players of a process before this one still play.

        They come back sooner if they learn that they are not known here.
        """
        if (
            is_sealed_payload(datagram)
            and not self.pressure.is_high
            and self._not_associated.take(now, NOTICES)
        ):
            return _NOT_ASSOCIATED
        return _JUNK

    def _is_expected(self, datagram: bytes, now: float) -> bool:
        """
        Does this hello name a ticket of ours that has answers left?

        An attacker who cannot read a player's traffic has no ticket, so however
        many hellos it forges from a network, a player there still gets a cookie.
        """
        # Searched for, not parsed: a stranger can send hundreds of extensions.
        before, found, _ = datagram.lower().partition(self._suffix)
        shown = self._shown.get(before[-_LABEL:]) if found else None
        return shown is not None and shown.answers.take(now, self._policy.tries)

    def _check_cookie(
        self, datagram: bytes, address: Address, now: float
    ) -> ClientHello | Drop:
        try:
            hello = parse_client_hello(datagram)
        except PeerError:
            return _BAD_HELLO
        # OpenSSL continues from message 1 only. A client that is asked for a
        # cookie twice would continue from 2, so an invalid one is not asked again.
        is_good = hello.message == 1 and self._cookies.is_good(
            hello.cookie, _bound(hello, address), now
        )
        return hello if is_good else _BAD_COOKIE

    def _judge_proven(
        self, hello: ClientHello, address: Address, now: float
    ) -> Verdict:
        try:
            name = hello.read_server_name()
        except PeerError:
            return _BAD_HELLO
        if name is None:
            # Its own network's budget first: no network can use up the common one.
            is_let_in = self._nameless_each.take(
                network_of(address[0]), now
            ) and self._nameless.take(now, self._policy.nameless)
            return Admit(None, hello, (self._nameless,)) if is_let_in else _NAMELESS
        return self._judge_name(hello, name.lower(), address, now)

    def _judge_name(
        self, hello: ClientHello, name: bytes, address: Address, now: float
    ) -> Verdict:
        if name[_LABEL:] != self._suffix:
            return _UNKNOWN_NAME
        label = name[:_LABEL]
        shown = self._shown.get(label)
        if shown is None:
            return _UNKNOWN_TICKET
        if now >= shown.ticket.expires_at + _LEEWAY:
            self._forget(label, shown.ticket)
            return _EXPIRED_TICKET
        source, policy = source_of(address[0]), self._policy
        tries = shown.seat.tries
        allowance = tries.get(source)
        if allowance is None:
            if len(tries) >= self.ADDRESSES:
                del tries[next(iter(tries))]
            allowance = tries[source] = Allowance(policy.tries.at_once, now)
        if not allowance.take(now, policy.tries):
            return _TOO_MANY
        every = self._of_source(source, now)
        if not every.take(now, policy.handshakes):
            allowance.give_back()
            return _TOO_MANY
        if not self._handshakes.take(network_of(address[0]), now):
            every.give_back()
            allowance.give_back()
            return _TOO_MANY
        return Admit(shown.ticket, hello, (allowance, every))

    def _of_source(self, source: str, now: float) -> Allowance:
        """Return the tries of an address over all tickets."""
        sources = self._sources
        every = sources.get(source)
        if every is None:
            if len(sources) >= self.SOURCES:
                del sources[next(iter(sources))]
            at_once = self._policy.handshakes.at_once
            every = sources[source] = Allowance(at_once, now)
        return every

    def _forget(self, label: bytes, ticket: Ticket) -> None:
        del self._shown[label]
        del self._of_match[ticket.match_id][ticket.seat].labels[label]


_JUNK = Drop("junk")
_NOT_ASSOCIATED = Answer(NOT_ASSOCIATED, "not_associated")
_TOO_MANY_HELLOS = Drop("too_many_hellos")
_BAD_HELLO = Drop("bad_hello")
_BAD_COOKIE = Drop("bad_cookie")
_NAMELESS = Drop("no_server_name")
_UNKNOWN_NAME = Drop("unknown_server_name")
_UNKNOWN_TICKET = Drop("unknown_ticket")
_EXPIRED_TICKET = Drop("expired_ticket")
_TOO_MANY = Drop("too_many_handshakes")


def _bound(hello: ClientHello, address: Address) -> bytes:
    """Return the bytes that a cookie covers; each address and hello has its own."""
    host, port = address
    family = b"6" if ":" in host else b"4"
    return b"%s%s|%d|%s" % (family, host.encode("ascii"), port, hello.parameters)
