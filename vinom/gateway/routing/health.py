"""
Which back ends can get sessions: the record of each.

Pure: the clock is handed in. A back end without a record is good. Three things are
recorded:

* whether it can be reached: after some failures in a row its *breaker* is open, and
  lets no session through for a while; then one session or check tries it (half-open);
* whether its answers are good: a back end with failures in half of its answers is an
  *outlier*, and gets no sessions for a while, unless there is no other;
* the results of active checks, which count like sessions that tried to reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM

import attrs

from vinom.gateway.routing.rules import Endpoint

#: Failures in a row that open a breaker.
MOST_FAILURES = 3
#: How long an open breaker lets no session through, seconds: at first, and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
#: How long one session that tries a back end may take before another may, seconds.
_TRY_SECONDS = 10.0
#: Length of the span in which answers are counted, seconds; the one before counts too.
SPAN = 4.0
#: With fewer answers than this no back end is an outlier; with more, half are too many.
LEAST_ANSWERS = 10
#: How long an outlier gets nothing, seconds.
OUT_SECONDS = 10.0
#: Descriptors, local ports or memory are used up here.
_OURS = frozenset((EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS, ENOMEM))


@attrs.define(eq=False)
class _Known:
    """
    The record of one back end. Times: seconds.

    :ivar failures: failures to reach it, in a row.
    :ivar is_open: is its breaker open?
    :ivar pauses: how often the breaker has opened in a row.
    :ivar until: until when the breaker lets no session through.
    :ivar tried_at: when a session or check began to try it.
    :ivar span: number of the span in which answers are counted.
    :ivar good: answers in this span.
    :ivar bad: failures in this span.
    :ivar good_before: answers in the span before.
    :ivar bad_before: failures in it.
    :ivar out_until: until when it is an outlier.
    """

    failures: int = 0
    is_open: bool = False
    pauses: int = 0
    until: float = 0.0
    tried_at: float | None = None
    span: int = 0
    good: int = 0
    bad: int = 0
    good_before: int = 0
    bad_before: int = 0
    out_until: float = 0.0


@attrs.define(eq=False)
class Health:
    """
    The records of all back ends.

    :ivar now: the clock, seconds.
    :ivar chance: returns random numbers from 0 to 1, so that gateways do not all try a
        back end again at once.
    :ivar opened: how often a breaker opened.
    :ivar ejected: how often a back end became an outlier.
    """

    now: Callable[[], float]
    chance: Callable[[], float] = lambda: 0.5
    opened: int = attrs.field(default=0, init=False)
    ejected: int = attrs.field(default=0, init=False)
    _known: dict[Endpoint, _Known] = attrs.field(factory=dict, init=False)
    _named: set[Endpoint] | None = attrs.field(default=None, init=False)
    _reached: set[Endpoint] = attrs.field(factory=set, init=False)

    def is_usable(self, endpoint: Endpoint) -> bool:
        """May this back end get a session now?"""
        known = self._known.get(endpoint)
        if known is None:
            return True
        now = self.now()
        return _is_closed(known, now) and now >= known.out_until

    def is_reachable(self, endpoint: Endpoint) -> bool:
        """May it get one if there is no better one, as an outlier may?"""
        known = self._known.get(endpoint)
        return known is None or _is_closed(known, self.now())

    def state(self, endpoint: Endpoint) -> str:
        """
        Name its state.

        :returns: "good", "out", "open", "half-open", or "new" if it gets sessions but
            was never reached.
        """
        known, now = self._known.get(endpoint), self.now()
        if known is not None and known.is_open:
            return "half-open" if now >= known.until else "open"
        if known is not None and now < known.out_until:
            return "out"
        return "good" if endpoint in self._reached else "new"

    def tries(self, endpoint: Endpoint) -> None:
        """A session or check is about to try it; no other may if a breaker is open."""
        known = self._known.get(endpoint)
        if known is not None and known.is_open:
            known.tried_at = self.now()

    def reached(self, endpoint: Endpoint) -> None:
        """It could be reached."""
        self._reached.add(endpoint)
        known = self._known.get(endpoint)
        if known is not None:
            known.failures = known.pauses = 0
            known.is_open, known.tried_at = False, None

    def failed(self, endpoint: Endpoint) -> None:
        """It could not be reached."""
        known = self._of(endpoint)
        if known is None:
            return
        known.failures += 1
        if known.is_open and self.now() < known.until:
            # Somebody who began before it opened: that says nothing new.
            return
        known.tried_at = None
        if known.is_open or known.failures >= MOST_FAILURES:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**known.pauses)
            self.opened += not known.is_open
            known.is_open = True
            known.pauses = min(known.pauses + 1, 20)
            known.until = self.now() + pause * (0.5 + 0.5 * self.chance())

    def answered(self, endpoint: Endpoint, is_good: bool) -> None:
        """
        It answered a request, or ended a session.

        :param is_good: ``False`` for 5xx, and for sessions that broke.
        """
        known = self._known.get(endpoint) if is_good else self._of(endpoint)
        if known is None:
            return
        now = self.now()
        span = int(now / SPAN)
        if span != known.span:
            is_next = span == known.span + 1
            known.good_before = known.good if is_next else 0
            known.bad_before = known.bad if is_next else 0
            known.span, known.good, known.bad = span, 0, 0
        if is_good:
            known.good += 1
            return
        known.bad += 1
        bad = known.bad + known.bad_before
        count = bad + known.good + known.good_before
        if count >= LEAST_ANSWERS and 2 * bad >= count and now >= known.out_until:
            known.out_until = now + OUT_SECONDS * (1.0 + 0.5 * self.chance())
            known.good = known.bad = known.good_before = known.bad_before = 0
            self.ejected += 1

    def keep(self, endpoints: set[Endpoint]) -> None:
        """Keep only the records of these: no rule names the others any more."""
        self._named = endpoints
        self._reached &= endpoints
        for endpoint in set(self._known) - endpoints:
            del self._known[endpoint]

    def _of(self, endpoint: Endpoint) -> _Known | None:
        """Find the record; ``None`` for a back end that no rule names."""
        if self._named is not None and endpoint not in self._named:
            return None
        return self._known.setdefault(endpoint, _Known())


def is_ours(error: BaseException) -> bool:
    """Is it not the back end's fault, because we lack what a socket takes?"""
    return getattr(error, "osError", None) in _OURS


def _is_closed(known: _Known, now: float) -> bool:
    """Does the breaker let a session through?"""
    if not known.is_open:
        return True
    is_tried = known.tried_at is not None and now < known.tried_at + _TRY_SECONDS
    return now >= known.until and not is_tried
