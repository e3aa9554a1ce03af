"""The short way of a state out of a seat's link does the same as the long one."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.support.packet_net import PAYLOAD
from vinom.net.packets.codec import (
    STATE,
    Probe,
    write_input,
    write_join,
    write_player_probe,
)
from vinom.net.packets.reliable import MessageStream, Welcome
from vinom.net.packets.seat import SeatLink

_WELCOME = Welcome(0, 1, b"r" * 16, "m1", "maze", (), 0, 0, 1, b"")


def _both() -> tuple[SeatLink, SeatLink]:
    return _make_link(), _make_link()


def _make_link() -> SeatLink:
    link = SeatLink(PAYLOAD, 0.0)
    link.receive(write_join(1, b"a.b.c", False), 0.0)
    link.welcome(_WELCOME, MessageStream(), 0.0)
    link.take_packets()
    return link


def _show_shortly(
    link: SeatLink, version: int, tails: list[bytes], applied: int, now: float
) -> list[bytes]:
    packet = link.make_state(version, tails, applied, now)
    if packet is not None:
        return [packet]
    link.state(version, tails, applied, now)
    return []


class MakeStateTests(SynchronousTestCase):
    """`SeatLink.make_state`, beside `state` and `take_packets`."""

    def test_as_the_long_way(self) -> None:
        """
        With any other messages, and with anything that the player sends or does not
        send, it gets the same packets in the same order at the same times.
        """
        shortly = 0
        for seed in range(60):
            chance = Random(seed)
            short, long = _both()
            number = 1
            for step in range(1, 60):
                now = step * 0.04
                if chance.random() < 0.2:
                    for link in (short, long):
                        link.send_message(b"told %d" % step, now)
                if chance.random() < 0.6:
                    number += 1
                    packet = chance.choice(
                        (
                            write_input(number, step - 1, 0, 0, []),
                            write_input(number, 0, step // 5, number, [b"act"]),
                            write_player_probe(Probe(number, 0, 0, False, 9, 1, 1)),
                        )
                    )
                    for link in (short, long):
                        link.receive(packet, now)
                for link in (short, long):
                    link.alarm(now)
                if chance.random() < 0.05:
                    for link in (short, long):
                        link.hasten(0.15, now)
                if chance.random() < 0.02:
                    for link in (short, long):
                        link.refuse("kicked", "go", now)
                if chance.random() < 0.6:
                    tails = [b"tail"] * chance.choice((1, 1, 1, 2))
                    long.state(step, tails, step - 1, now)
                    packets = _show_shortly(short, step, tails, step - 1, now)
                    shortly += len(packets)
                    packets += short.take_packets()
                else:
                    packets = short.take_packets()
                self.assertEqual(packets, long.take_packets())
                self.assertEqual(short.deadline(), long.deadline())
                self.assertEqual(short.is_settled, long.is_settled)
                self.assertEqual(short.is_at_rest(), long.is_at_rest())
        self.assertTrue(shortly > 200, shortly)


class StateAgainTests(SynchronousTestCase):
    """When a state that nobody acknowledged is sent again."""

    def setUp(self) -> None:
        self.link = _make_link()
        # The first packet after the welcome makes it this player's.
        self.link.receive(write_input(2, 0, 0, 0, []), 0.0)
        self.link.alarm(0.0)
        self.link.take_packets()

    def resends(self, until: float) -> list[float]:
        """Let time pass; returns when the state was sent again."""
        times = []
        for step in range(round(until * 100)):
            now = step / 100
            self.link.alarm(now)
            if any(packet[0] == STATE for packet in self.link.take_packets()):
                times.append(now)
        return times

    def test_pauses(self) -> None:
        """
        A player who sends nothing gets the newest state again after 0.3 s, then after
        twice as long, and then every second.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.assertEqual(self.resends(4.0), [0.3, 0.9, 1.9, 2.9, 3.9])

    def test_newer_state(self) -> None:
        """
        The resends of a newer state start over; an older one is never resent.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.assertEqual(self.resends(1.0), [0.3, 0.9])
        self.link.make_state(2, [b"newer"], 0, 1.0)
        self.assertEqual([at for at in self.resends(2.0) if at >= 1.0], [1.3, 1.9])

    def test_acknowledged(self) -> None:
        """
        What arrived is not sent again.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.link.receive(write_input(3, 1, 0, 0, []), 0.1)
        self.assertEqual(self.resends(2.0), [])

    def test_hastened(self) -> None:
        """
        At a match's end the last state is sent again at once, and often.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.link.hasten(0.15, 0.0)
        self.assertEqual(self.resends(0.5), [0.0, 0.15, 0.3, 0.45])

    def test_refused(self) -> None:
        """
        A player who was refused is sent no more states.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.link.refuse("kicked", "go", 0.0)
        self.assertEqual(self.resends(2.0), [])
        self.assertIsNone(self.link.make_state(2, [b"tail"], 0, 2.0))

    def test_silence(self) -> None:
        """
        A link with nothing to send reports that in any phase; otherwise its whole room
        would be checked for each packet.
        """
        waiting = SeatLink(PAYLOAD, 0.0)
        self.assertTrue(waiting.is_silent())
        messages = MessageStream()
        messages.add(b"told before")
        waiting.receive(write_join(1, b"a.b.c", False), 0.0)
        waiting.welcome(_WELCOME, messages, 0.0)
        waiting.take_packets()
        self.assertTrue(waiting.is_silent())
        waiting.receive(write_input(2, 0, 0, 0, []), 0.1)
        self.assertFalse(waiting.is_silent())
        self.assertNotEqual(waiting.take_packets(), [])
        waiting.send_message(b"told after", 0.2)
        waiting.refuse("kicked", "go", 0.2)
        waiting.take_packets()
        self.assertTrue(waiting.is_silent())
