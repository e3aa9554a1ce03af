"""
Tests of vinom.base.limits.pressure: what each network may ask, and how floods show.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.net.dtls.test_admission import ANN, NAME, knock
from tests.support.dtls import BEGINNING, DOMAIN, make_ticket, seeded
from tests.support.hellos import client_hello, cookie_in
from vinom.base.limits.pressure import Budgets, Pressure, Rate, network_of
from vinom.net.dtls.admission import (
    Admission,
    Admit,
    Answer,
    Drop,
    StrangerLimits,
    StrangerPolicy,
)

#: A hello that names no ticket of ours: what a stranger can send for anybody.
STRANGE = client_hello(b"z" * 26 + NAME[26:])


class BudgetsTests(SynchronousTestCase):
    """A bucket for each network."""

    def test_comes_back(self) -> None:
        """
        A source that used its share up gets it back with time, and no more than it was.
        """
        budgets = Budgets(Rate(2.0, 3.0), b"salt")
        for now, count in ((0.0, 3), (0.5, 1), (100.0, 3)):
            taken = [budgets.take(b"a", now) for _ in range(5)]
            self.assertEqual(taken, [True] * count + [False] * (5 - count))

    def test_tightened(self) -> None:
        """
        What was left under a large rate is not kept under a small one.
        """
        budgets = Budgets(Rate(100.0, 100.0), b"salt")
        self.assertTrue(budgets.take(b"a", 0.0))
        budgets.rate = Rate(1.0, 2.0)
        self.assertEqual(sum(budgets.take(b"a", 0.0) for _ in range(10)), 2)

    def test_clock_that_goes_back(self) -> None:
        """
        An adjusted clock gives nothing away.
        """
        budgets = Budgets(Rate(1.0, 1.0), b"salt")
        self.assertTrue(budgets.take(b"a", 100.0))
        self.assertFalse(budgets.take(b"a", 50.0))
        self.assertTrue(budgets.take(b"a", 51.0))

    def test_memory_never_grows(self) -> None:
        """
        A million networks take as much room as one; all of them together have a
        share, too.
        """
        budgets = Budgets(Rate(0.0, 1.0), b"salt")
        taken = sum(budgets.take(b"%d" % number, 0.0) for number in range(20_000))
        self.assertEqual(taken, 1024)
        self.assertEqual(len(budgets._left), 1024)

    def test_nobody_knows_the_shelves(self) -> None:
        """
        Which networks share a shelf depends on our secret.
        """

        def shared(salt: bytes) -> list[int]:
            budgets = Budgets(Rate(0.0, 1.0), salt)
            return [n for n in range(2000) if not budgets.take(b"%d" % n, 0.0)]

        self.assertNotEqual(shared(b"one"), shared(b"two"))


class NetworkTests(SynchronousTestCase):
    """Which addresses are one network."""

    def test_networks(self) -> None:
        """
        A /24, and a /48 in IPv6, is one; on this machine, each address is.
        """
        for one, other, is_same in (
            ("192.0.2.1", "192.0.2.254", True),
            ("192.0.2.1", "192.0.3.1", False),
            ("::ffff:192.0.2.1", "192.0.2.9", True),
            ("2001:db8:1:2::1", "2001:db8:1:ffff::9", True),
            ("2001:db8:1::1", "2001:db8:2::1", False),
            ("fe80::1%eth0", "fe80::2", True),
            ("127.0.0.1", "127.0.0.2", False),
            ("::1", "::2", False),
        ):
            self.assertEqual(network_of(one) == network_of(other), is_same, one)


class PressureTests(SynchronousTestCase):
    """Floods: many useless datagrams."""

    def test_rises_and_falls(self) -> None:
        """
        A flood is noticed within its first second, and its end five seconds later.
        """
        pressure = Pressure(10)
        pressure.add(10, 0.0)
        self.assertFalse(pressure.is_high)
        pressure.add(1, 0.5)
        self.assertTrue(pressure.is_high)
        self.assertEqual(pressure.deadline(), 5.5)
        pressure.alarm(5.4)
        self.assertTrue(pressure.is_high)
        pressure.alarm(5.5)
        self.assertFalse(pressure.is_high)
        self.assertIsNone(pressure.deadline())
        self.assertEqual(pressure.rises, 1)

    def test_half_of_it_keeps_it(self) -> None:
        """
        A flood that sways around the threshold does not make us sway.
        """
        pressure = Pressure(10)
        pressure.add(11, 0.0)
        for second in range(1, 30):
            pressure.add(6, float(second))
            pressure.alarm(float(second))
            self.assertTrue(pressure.is_high)
        pressure.add(5, 30.0)
        pressure.alarm(34.0)
        self.assertFalse(pressure.is_high)

    def test_slow_junk_is_none(self) -> None:
        """
        Datagrams that are spread over time are not a flood, however many there are.
        """
        pressure = Pressure(10)
        for second in range(100):
            pressure.add(10, float(second))
        self.assertFalse(pressure.is_high)

    def test_many_players_are_none(self) -> None:
        """
        Hellos that become handshakes are not a flood, however many there are.
        """
        pressure = Pressure(10)
        for _ in range(1000):
            pressure.add(1, 0.0)
            pressure.add(-1, 0.0)
        self.assertFalse(pressure.is_high)

    def test_clock_set_back(self) -> None:
        """
        An adjusted clock does not prolong a flood forever.
        """
        pressure = Pressure(10)
        pressure.add(11, 1000.0)
        pressure.alarm(10.0)
        self.assertFalse(pressure.is_high)

    @given(st.lists(st.tuples(st.integers(-5, 20), st.floats(0, 3))))
    def test_always_ends(self, steps: list[tuple[int, float]]) -> None:
        """
        After any flood and some seconds without datagrams all is calm.
        """
        pressure, now = Pressure(10), 0.0
        for count, pause in steps:
            now += pause
            pressure.add(count, now)
        pressure.alarm(now + Pressure.RELIEF_AFTER)
        self.assertFalse(pressure.is_high)


class AdmissionUnderAttackTests(SynchronousTestCase):
    """Budgets that tighten by themselves."""

    def make(self) -> Admission:
        admission = Admission(
            DOMAIN,
            BEGINNING,
            entropy=seeded(),
            policy=StrangerPolicy(
                calm=StrangerLimits(Rate(10.0, 20.0), Rate(1.0, 3.0)),
                tight=StrangerLimits(Rate(1.0, 4.0), Rate(0.0, 1.0)),
                junk=100,
            ),
        )
        admission.add_ticket(make_ticket())
        return admission

    def flood(self, admission: Admission, now: float = BEGINNING) -> None:
        for _ in range(101):
            admission.judge(b"junk", ("203.0.113.1", 9), now)

    def test_hellos_of_one_network(self) -> None:
        """
        A network that sends hellos all the time is not always answered; the others are.
        """
        admission = self.make()
        answers = 0
        for number in range(100):
            verdict = admission.judge(STRANGE, (f"198.51.100.{number}", 1), BEGINNING)
            answers += isinstance(verdict, Answer)
        self.assertEqual(answers, 20)
        self.assertEqual(admission.outcomes["too_many_hellos"], 80)
        self.assertIsInstance(knock(admission), Admit)

    def test_nameless_of_one_network(self) -> None:
        """
        One network does not use up what clients without a ticket have.
        """
        admission = self.make()
        for _ in range(3):
            self.assertIsInstance(knock(admission, None), Admit)
        self.assertEqual(knock(admission, None), Drop("no_server_name"))
        elsewhere = knock(admission, None, address=("198.51.100.1", 1))
        self.assertIsInstance(elsewhere, Admit)

    def test_tightens_and_eases(self) -> None:
        """
        During a flood each network may ask less; a player with a ticket
        still gets in; when it is over all is as before.
        """
        admission = self.make()
        self.flood(admission)
        self.assertTrue(admission.pressure.is_high)
        self.assertIsInstance(knock(admission), Admit)
        self.assertIsInstance(knock(admission, None), Admit)
        for _ in range(2):
            self.assertIsInstance(admission.judge(STRANGE, ANN, BEGINNING), Answer)
        self.assertEqual(
            admission.judge(STRANGE, ANN, BEGINNING), Drop("too_many_hellos")
        )
        elsewhere = ("198.51.100.1", 1)
        self.assertIsInstance(knock(admission, None, elsewhere), Admit)
        self.assertEqual(knock(admission, None, elsewhere), Drop("no_server_name"))
        end = admission.deadline()
        assert end is not None
        admission.alarm(end)
        self.assertFalse(admission.pressure.is_high)
        self.assertIsNone(admission.deadline())
        for _ in range(10):
            self.assertIsInstance(admission.judge(STRANGE, ANN, end + 9), Answer)

    def spoof(self, admission: Admission, hello: bytes = STRANGE) -> None:
        """Use up what a player's network may ask, from all of its addresses."""
        for number in range(250):
            admission.judge(hello, (f"192.0.2.{number}", 9), BEGINNING)
        last = admission.judge(hello, ANN, BEGINNING)
        self.assertEqual(last, Drop("too_many_hellos"))

    def test_player_of_a_spoofed_network(self) -> None:
        """
        Whatever is sent in the name of a player's network, the player gets its cookie,
        and a handshake for it and its ticket.
        """
        admission = self.make()
        wrong = client_hello(NAME, b"c" * 32, message_number=1)
        cut = client_hello(NAME, b"c" * 32, message_number=1)[:-1]
        # Names count in any letter case, as DNS has it.
        for hello, name in (
            (STRANGE, NAME),
            (client_hello(None), NAME.upper()),
            (wrong, NAME),
            (cut, NAME),
        ):
            self.spoof(admission, hello)
            self.assertTrue(admission.pressure.is_high)
            self.assertIsInstance(knock(admission, name), Admit)

    def test_cookie_while_spoofed(self) -> None:
        """
        So does one who was asked for a cookie before all that began.
        """
        admission = self.make()
        asked = admission.judge(client_hello(NAME), ANN, BEGINNING)
        assert isinstance(asked, Answer)
        self.spoof(admission)
        again = client_hello(NAME, cookie_in(asked.datagram), message_number=1)
        self.assertIsInstance(admission.judge(again, ANN, BEGINNING), Admit)

    def test_bad_cookies_are_strangers(self) -> None:
        """
        A forged cookie has no advantage: it spends the strangers' budget, and not that
        of clients whose cookie is valid.
        """
        admission = self.make()
        wrong = client_hello(NAME, b"c" * 32, message_number=1)
        verdicts = Counter(
            getattr(admission.judge(wrong, ANN, BEGINNING), "reason", "answered")
            for _ in range(100)
        )
        self.assertEqual(verdicts, {"bad_cookie": 20, "too_many_hellos": 80})
        self.assertEqual(
            admission.judge(STRANGE, ANN, BEGINNING), Drop("too_many_hellos")
        )
        self.assertIsInstance(knock(admission), Admit)

    def test_answers_for_a_ticket(self) -> None:
        """
        Somebody who has seen a ticket, or has one, makes us answer a network whose
        share is spent a few times more, and no more.
        """
        admission = self.make()
        self.spoof(admission)
        answers = sum(
            isinstance(
                admission.judge(client_hello(NAME), (f"192.0.2.{n}", 1), BEGINNING),
                Answer,
            )
            for n in range(250)
        )
        self.assertEqual(answers, 8)
        later = BEGINNING + 2.0
        while isinstance(admission.judge(STRANGE, ANN, later), Answer):
            pass
        again = [admission.judge(client_hello(NAME), ANN, later) for _ in range(9)]
        self.assertEqual(sum(isinstance(verdict, Answer) for verdict in again), 1)

    def test_good_cookies_of_one_network(self) -> None:
        """
        Somebody who really has the addresses of a network, and so valid cookies, is
        limited too: more under attack, and without cost for other networks.
        """
        for is_high, most in ((False, 20), (True, 4)):
            admission = self.make()
            hellos = []
            for number in range(10):
                address = (f"198.51.100.{number}", 1)
                asked = admission.judge(STRANGE, address, BEGINNING)
                assert isinstance(asked, Answer)
                again = client_hello(
                    b"z" * 26 + NAME[26:], cookie_in(asked.datagram), message_number=1
                )
                hellos.append((again, address))
            if is_high:
                self.flood(admission)
            reasons = Counter(
                getattr(admission.judge(hello, address, BEGINNING), "reason", "")
                for hello, address in hellos * 10
            )
            self.assertEqual(
                reasons, {"unknown_ticket": most, "too_many_hellos": 100 - most}
            )
            self.assertIsInstance(knock(admission), Admit)

    def test_memory_of_proven_networks(self) -> None:
        """
        Proven addresses of however many networks take as much room as one.
        """
        admission = self.make()
        for number in range(3000):
            address = (f"10.{number % 250}.{number // 250}.1", 1)
            asked = admission.judge(STRANGE, address, BEGINNING)
            if isinstance(asked, Answer):
                again = client_hello(
                    b"z" * 26 + NAME[26:], cookie_in(asked.datagram), message_number=1
                )
                admission.judge(again, address, BEGINNING)
        self.assertGreater(admission.outcomes["unknown_ticket"], 1000)
        self.assertEqual(len(admission._proven._left), 1024)

    def test_dropped_unread_is_junk(self) -> None:
        """
        What did not fit into a turn counts as much as what did.
        """
        admission = self.make()
        admission.overflowed(101, BEGINNING)
        self.assertTrue(admission.pressure.is_high)
        self.assertEqual(admission.outcomes["beyond_share"], 101)
