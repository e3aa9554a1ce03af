"""
A gateway whose back ends die, stop and are slow, with clients that do not read.

``VINOM_GATEWAY=full`` in the environment: 1,000 clients for two minutes;
``python -m benchmarks.soak.gateways`` says what trouble does to those whom it should
not concern.
"""

from __future__ import annotations

import os

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from benchmarks.soak.gateways.records import SENT_AWAY
from benchmarks.soak.gateways.run import Plan, Verdict, soak

PLAN = (
    Plan()
    if os.environ.get("VINOM_GATEWAY") == "full"
    else Plan(
        clients=96, bad=9, seconds=9.0, pause=0.2, stopped=2.0, stuck=2.0, growth=48e6
    )
)


class ChaosTests(TestCase):
    """Real processes, and real connections of every kind."""

    timeout = 600

    async def test_trouble(self) -> None:
        """
        Whatever becomes of back ends, every client reads in its own protocol that its
        session is over, or gets back byte by byte what it sent; the access log has one
        line for each session and agrees with its client; no session is left over, and
        those who do not read cost little memory and are sent away.
        """
        verdict: Verdict = await deferToThread(soak, PLAN, lambda text: None)
        self.assertEqual(verdict.wrong, (), str(verdict))
        self.assertGreater(verdict.messages, PLAN.clients, str(verdict))
        away = [end for end in verdict.ends if f" {SENT_AWAY}" in end]
        for kind in ("http", "websocket", "packets"):
            self.assertTrue([end for end in away if end.startswith(kind)], str(verdict))
        self.assertGreater(verdict.outcomes.get("too_slow", 0), 0, str(verdict))
