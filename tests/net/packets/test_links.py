"""Both ends of a connection to a game server, over good and bad networks."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.packet_net import (
    PAYLOAD,
    Losing,
    PacketNet,
    encoded,
    send_message,
)
from vinom.errors import Code, PeerError
from vinom.net.dtls.bad_network import Conditions
from vinom.net.packets.codec import (
    LONGEST_PACKET,
    MESSAGES,
    STATE,
    WELCOME,
    Probe,
    read_player,
    read_server,
    state_tails,
    write_input,
    write_join,
    write_player_probe,
)
from vinom.net.packets.player import (
    MOST_UNACKNOWLEDGED,
    ActionRefused,
    EventArrived,
    FellSilent,
    Joined,
    MatchOver,
    PlayerLink,
    Rejected,
    RoundEnded,
    SpokeAgain,
    StateArrived,
)
from vinom.net.packets.quality import MOST_PATIENCE, PATIENCE, Watch
from vinom.net.packets.reliable import (
    Event,
    LinkState,
    MessageReader,
    MessageStream,
    Over,
    Refusal,
    Round,
    UnackedInputs,
    Welcome,
)
from vinom.net.packets.seat import Confirmed, JoinAsked, Left, SeatLink

#: A fifth is lost, a tenth comes twice, and much is overtaken.
BAD = Conditions(loss=0.2, duplicate=0.1, delay=0.1, jitter=0.05)


def play(net: PacketNet, rounds: int = 30) -> tuple[list[bytes], list[str]]:
    """Act, send states and events for a while, then be quiet; returns what was sent."""
    net.run(5.0)
    actions, kinds = [], []
    for number in range(1, rounds + 1):
        action = b"a%d" % number
        if net.player.act(action, net.clock.seconds()):
            actions.append(action)
        big = number % 10 == 0
        net.show(number, b"v%d " % number + b"." * (3000 if big else 100))
        if number % 3 == 0:
            kinds.append(f"k{number}")
            size = 2500 if number % 9 == 0 else 10
            event = Event(kinds[-1], "x" * size, number)
            send_message(net.seat, encoded(event), net.clock.seconds())
        net.run(0.05)
    net.run(10.0)
    net.show(rounds + 1, b"last" + b"." * 3000)
    net.run(10.0)
    return actions, kinds


def first_of_kind(kind: int, most: int) -> Losing:
    """Lose the first packets of one kind."""
    seen: list[int] = []

    def losing(who: str, number: int, packet: bytes) -> bool:
        if packet[0] == kind and len(seen) < most:
            seen.append(number)
            return True
        return False

    return losing


class GoodNetworkTests(SynchronousTestCase):
    """Nothing is lost."""

    def test_join(self) -> None:
        """
        A player with a proof learns its seat, the players and the setup.
        """
        net = PacketNet(setup=b"\x81\xa1x\x01")
        net.join()
        self.assertEqual([JoinAsked(False, b"a.b.c", 0), Confirmed()], net.seat_events)
        joined = net.player_events[0]
        assert isinstance(joined, Joined)
        self.assertEqual(
            (1, b"r" * 16, b"\x81\xa1x\x01", "m1", "maze"),
            (joined.seat, joined.resume, joined.setup, joined.match_id, joined.game),
        )
        self.assertEqual(["ann", "bob"], [player.name for player in joined.players])

    def test_state_and_acknowledgement(self) -> None:
        """
        A state has the number of our last action that it answers, and arrives once.
        """
        net = PacketNet()
        net.join()
        self.assertEqual(1, net.player.act(b"go", net.clock.seconds()))
        net.run(0.05)
        net.show(1, b"view")
        net.run(3.0)
        states = [e for e in net.player_events if isinstance(e, StateArrived)]
        self.assertEqual([StateArrived(1, 0.01, b"view", 1, 3)], states)
        self.assertTrue(net.seat.is_settled)

    def test_older_state_is_not_shown(self) -> None:
        """
        A state that was overtaken never replaces the newer one.
        """
        net = PacketNet()
        net.join()
        for version in (1, 2):
            net.show(version, b"v%d" % version)
        first, second = net.seat.take_packets()
        now = net.clock.seconds()
        net.player.receive(second, now)
        net.player.receive(first, now)
        self.assertEqual(
            [2],
            [
                e.version
                for e in net.player.take_events()
                if isinstance(e, StateArrived)
            ],
        )

    def test_every_kind_of_message(self) -> None:
        """
        Events, refusals, results and the end arrive complete.
        """
        net = PacketNet()
        net.join()
        outcome = {"round": 1, "places": [[0], [1]], "scores": [5, 3]}
        for message in (
            Event("rolled", {"die": 6}, 4),
            Refusal(3, Code.REJECTED, "wall", "there is a wall"),
            Round(outcome, 5, "ab"),
            Over(Code.FINISHED, outcome, 5, "ab"),
        ):
            send_message(net.seat, encoded(message), net.clock.seconds())
        net.run(0.2)
        self.assertEqual(
            [
                EventArrived("rolled", {"die": 6}, 4),
                ActionRefused(3, "rejected", "wall", "there is a wall"),
                RoundEnded(outcome, 5, "ab"),
                MatchOver("finished", outcome, 5, "ab"),
            ],
            net.player_events[1:],
        )

    def test_leaving(self) -> None:
        """
        A player who leaves sends BYE five times, and one arrival is enough; nothing is
        sent after that.
        """
        net = PacketNet()
        net.join()
        said = len(net.sent)
        net.losing = lambda who, number, packet: (
            who == "player"
            and ([sender for sender, _ in net.sent[said:]].count("player") < 5)
        )
        net.player.leave(net.clock.seconds())
        net.player.leave(net.clock.seconds())
        net.run(1.0)
        self.assertIn(Left(), net.seat_events)
        byes = [packet[0] for sender, packet in net.sent[said:] if sender == "player"]
        self.assertEqual([5] * 5, byes)
        self.assertEqual(0, net.player.act(b"x", net.clock.seconds()))
        self.assertIsNone(net.player.deadline())

    def test_both_ends_measure(self) -> None:
        """
        Both ends measure the round trip time, and that nothing was lost.
        """
        net = PacketNet(conditions=Conditions(delay=0.05))
        net.run(30.0)
        for end in (net.player, net.seat):
            assert end.rtt is not None
            assert end.jitter is not None
            self.assertTrue(0.1 <= end.rtt < 0.13, end.rtt)
            self.assertLess(end.jitter, 0.02)
            self.assertEqual(0.0, end.loss)

    def test_refused(self) -> None:
        """
        A refused player gets the reason, again if it asks again, and is then dropped.
        """
        net = PacketNet()
        net.join()
        net.seat.refuse(Code.SEAT_TAKEN, "a newer one", net.clock.seconds())
        net.run(0.1)
        self.assertEqual(Rejected("seat_taken", "a newer one"), net.player_events[-1])
        again = write_join(9, b"x", False)
        net.seat.receive(again, net.clock.seconds())
        self.assertEqual(1, len(net.seat.take_packets()))
        net.run(4.0)
        self.assertEqual("over", net.seat.phase)
        self.assertIsNone(net.seat.deadline())

    def test_refusal_acknowledges_nothing(self) -> None:
        """
        A player whose old connection is refused keeps the actions that only this one
        carried: what became of them may be lost, and the newer connection says what was
        taken.
        """
        net = PacketNet()
        net.join()
        net.run(1.0)
        now = net.clock.seconds()
        net.player.act(b"move", now)
        for packet in net.player.take_packets():
            net.seat.receive(packet, now)
        self.assertEqual(net.seat.consumed, 1)
        net.seat.refuse(Code.SEAT_TAKEN, "a newer one", now)
        (last,) = net.seat.take_packets()
        self.assertEqual(read_server(last).input, 0)

    def test_nobody_joins(self) -> None:
        """
        A connection that asks for no seat is refused after 5 s.
        """
        link = SeatLink(PAYLOAD, 100.0)
        self.assertEqual(105.0, link.deadline())
        link.alarm(105.0)
        self.assertEqual("refused", link.phase)

    def test_other_protocol(self) -> None:
        """
        A player that uses another version of the packets is refused with the reason.
        """
        packet = bytearray(write_join(1, b"x", False))
        packet[13] = 9
        link = SeatLink(PAYLOAD, 0.0)
        self.assertEqual([], link.receive(bytes(packet), 0.0))
        self.assertEqual("refused", link.phase)
        self.assertIn(b"protocol_unsupported", link.take_packets()[0])

    def test_idle_link_is_quiet(self) -> None:
        """
        A quiet game costs each end two packets per second.
        """
        net = PacketNet()
        net.join()
        net.show(1, b"v")
        net.run(2.0)
        before = len(net.sent)
        net.run(10.0)
        self.assertLessEqual(len(net.sent) - before, 42)

    def test_too_many_actions(self) -> None:
        """
        Actions that cannot be sent are refused at once, not kept forever.
        """
        net = PacketNet()
        net.join()
        numbers = [net.player.act(b"a", 0.0) for _ in range(MOST_UNACKNOWLEDGED + 1)]
        self.assertEqual([*range(1, MOST_UNACKNOWLEDGED + 1), 0], numbers)
        with self.assertRaises(ValueError):
            net.player.act(b"x" * 600, 0.0)
        with self.assertRaises(ValueError):
            net.player.act(b"", 0.0)

    def test_small_payloads(self) -> None:
        """
        A connection that cannot carry our packets is refused by both ends.
        """
        with self.assertRaises(PeerError):
            SeatLink(LONGEST_PACKET - 1, 0.0)
        with self.assertRaises(PeerError):
            PlayerLink(LONGEST_PACKET - 1, token="t", now=0.0)

    def test_proofs(self) -> None:
        """
        What cannot be a proof is refused before anything is sent.
        """
        for proof in ({}, {"token": ""}, {"resume": b"short"}, {"token": "x" * 901}):
            with self.assertRaises(ValueError):
                PlayerLink(PAYLOAD, now=0.0, **proof)  # type: ignore[arg-type]  # a table

    def test_actions_beyond_the_allowance(self) -> None:
        """
        A player that acts too often is slowed down; no action is lost or doubled.
        """
        net = PacketNet()
        tokens = 3

        def may_act(now: float) -> bool:
            nonlocal tokens
            tokens -= 1
            return tokens >= 0

        net.seat = SeatLink(PAYLOAD, 0.0, may_act)
        net.join()
        sent = [b"%d" % number for number in range(10)]
        for action in sent:
            net.player.act(action, net.clock.seconds())
        net.run(0.05)
        self.assertEqual(sent[:3], net.actions)
        tokens = 100
        net.run(2.0)
        self.assertEqual(sent, net.actions)


class ShortWayTests(SynchronousTestCase):
    """Packets with one action are dealt with in fewer steps than others."""

    def make_link(self) -> SeatLink:
        allowed = iter([True, True, False] * 20)
        link = SeatLink(PAYLOAD, 0.0, lambda now: next(allowed))
        link.receive(write_join(1, b"a.b.c", False), 0.0)
        messages = MessageStream()
        link.welcome(
            Welcome(0, 1, b"r" * 16, "m", "g", (), 0, 0, 1, b""), messages, 0.0
        )
        link.receive(write_input(2, 0, 0, 0, []), 0.0)
        send_message(link, b"told", 0.0)
        send_message(link, b"more", 0.0)
        return link

    def test_as_the_long_way(self) -> None:
        """
        Any packet, new, repeated or ahead, has the same effect either way.
        """
        chance = Random(5)
        for _ in range(50):
            short, long = self.make_link(), self.make_link()
            for step in range(20):
                now = step * 0.03
                for link in (short, long):
                    link.state(step + 1, [b"tail"], 0, now)
                packet = write_input(
                    chance.randrange(1, 30),
                    chance.randrange(0, step + 3),
                    chance.randrange(0, 4),
                    long.consumed + chance.randrange(0, 3) or 1,
                    [(step, b"act")],
                )
                self.assertEqual(
                    short.receive(packet, now), long._receive_any(packet, now)
                )
                self.assertEqual(short.take_packets(), long.take_packets())
                self.assertEqual(short.deadline(), long.deadline())
                self.assertEqual(short.consumed, long.consumed)
                self.assertEqual(short.is_settled, long.is_settled)
                self.assertEqual(
                    (short.quality.highest, short.quality.received),
                    (long.quality.highest, long.quality.received),
                )


class BadNetworkTests(SynchronousTestCase):
    """Packets are lost, doubled and late."""

    def check(self, net: PacketNet) -> None:
        actions, kinds = play(net)
        self.assertEqual(actions, net.actions)
        told = [e.kind for e in net.player_events if isinstance(e, EventArrived)]
        self.assertEqual(kinds, told)
        versions = [e.version for e in net.player_events if isinstance(e, StateArrived)]
        self.assertEqual(sorted(set(versions)), versions)
        last = [e for e in net.player_events if isinstance(e, StateArrived)][-1]
        self.assertEqual((31, b"last" + b"." * 3000), (last.version, last.view))
        self.assertEqual(len(actions), last.acked)
        self.assertTrue(net.seat.is_settled)

    def test_loss_copies_and_disorder(self) -> None:
        """
        With a fifth of the packets lost, copies and delays, every action and
        every message arrives once and in order, and so does the last state.
        """
        for seed in range(25):
            self.check(PacketNet(seed, BAD, setup=b"s" * 3000))

    def test_any_one_packet_lost(self) -> None:
        """
        Whichever single packet is lost, nothing else is.
        """
        for sender in ("player", "server"):
            for lost in range(40):
                net = PacketNet(setup=b"s" * 2500)
                net.losing = lambda who, number, packet, sender=sender, lost=lost: (
                    who == sender and number == lost
                )
                self.check(net)

    def test_each_first_of_a_kind_lost(self) -> None:
        """
        The first welcome, state or message may be lost as often as three times.
        """
        for kind in (WELCOME, STATE, MESSAGES):
            net = PacketNet()
            net.losing = first_of_kind(kind, 3)
            self.check(net)

    def test_loss_is_measured(self) -> None:
        """
        Both ends see about how much is lost.
        """
        net = PacketNet(3, Conditions(loss=0.3, delay=0.025, jitter=0.005))
        net.run(5.0)
        for number in range(1, 600):
            net.player.act(b"a", net.clock.seconds())
            net.show(number, b"v")
            net.run(0.05, step=0.025)
        for end in (net.player, net.seat):
            assert end.loss is not None
            self.assertTrue(0.1 < end.loss < 0.6, end.loss)

    def test_messages_outlive_a_connection(self) -> None:
        """
        Messages that were not acknowledged on a broken connection arrive on the next
        one; only once if the player sends which it has received.
        """
        stream = MessageStream()
        net = PacketNet(messages=stream)
        net.join()
        send_message(net.seat, encoded(Event("one", None, 1)), net.clock.seconds())
        net.run(0.2)
        net.losing = lambda who, number, packet: who == "player"
        send_message(net.seat, encoded(Event("two", None, 1)), net.clock.seconds())
        net.run(0.2)
        newest = net.player.last_message
        stream.add(encoded(Event("three", "x" * 1800, 1)))
        for said, kinds in ((newest, ["three"]), (0, ["three"])):
            link_state = LinkState(messages=MessageReader(said))
            later = PacketNet(messages=stream, link_state=link_state)
            later.run(1.0)
            told = [e.kind for e in later.player_events if isinstance(e, EventArrived)]
            self.assertEqual(kinds, told)
            stream.add(encoded(Event("three", "x" * 1800, 1)))

    def test_deaf_player_is_noticed(self) -> None:
        """
        What waits for a player who acknowledges nothing has a bound.
        """
        net = PacketNet()
        net.join()
        net.losing = lambda who, number, packet: True
        event = encoded(Event("k", "x" * 1000, 1))
        kept = [send_message(net.seat, event, net.clock.seconds()) for _ in range(100)]
        self.assertFalse(all(kept))

    def test_many_joins(self) -> None:
        """
        However often a player asks for its seat, the answer, which may be long,
        goes out now and then only; and it gets the seat.
        """
        net = PacketNet(setup=b"w" * 20_000)
        net.losing = lambda sender, number, packet: sender == "server"
        net.run(0.1)
        before = len(net.sent)
        for number in range(2, 200):
            join = write_join(number, b"a.b.c", False)
            self.assertEqual(net.seat.receive(join, net.clock.seconds()), [])
            self.assertEqual(net.seat.take_packets(), [])
        self.assertEqual(len(net.sent), before)
        net.losing = lambda sender, number, packet: False
        net.run(1.0)
        self.assertEqual(net.seat.phase, "confirmed")

    def test_confirmation_needs_the_welcome(self) -> None:
        """
        A seat counts as taken only when the player has confirmed it.
        """
        net = PacketNet()
        net.losing = lambda who, number, packet: packet[0] == WELCOME
        net.run(2.0)
        self.assertEqual([JoinAsked(False, b"a.b.c", 0)], net.seat_events)
        self.assertEqual([], net.player_events)
        net.run(20.0)
        self.assertEqual("over", net.seat.phase)

    def test_state_is_repeated_until_seen(self) -> None:
        """
        A quiet game repeats its last state, ever more slowly.
        """
        net = PacketNet()
        net.join()
        net.losing = lambda who, number, packet: True
        net.seat.state(1, state_tails(1, 0, 0, b"v"), 0, net.clock.seconds())
        before = len(net.sent)
        net.run(10.0)
        repeats = [p for who, p in net.sent[before:] if p[0] == STATE]
        self.assertTrue(9 <= len(repeats) <= 16, len(repeats))


class ReceivedTests(SynchronousTestCase):
    """What a player sends, read again."""

    def test_input_repeats_what_is_unacknowledged(self) -> None:
        """
        Each packet repeats the last actions that were not acknowledged.
        """
        net = PacketNet()
        net.join()
        for action in (b"1", b"2", b"3"):
            net.player.act(action, net.clock.seconds())
        *_, last = net.player.take_packets()
        read = read_player(last)
        self.assertEqual([(0, b"1"), (0, b"2"), (0, b"3")], read.actions)  # type: ignore[union-attr]  # an INPUT


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
                        send_message(link, b"told %d" % step, now)
                if chance.random() < 0.6:
                    number += 1
                    packet = chance.choice(
                        (
                            write_input(number, step - 1, 0, 0, []),
                            write_input(number, 0, step // 5, number, [(0, b"act")]),
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
        twice as long, and then every second. What arrived is not sent again, nor is
        anything to a player who was refused; at a match's end the last state is sent
        again at once, and often.
        """
        for what, then, seconds, times in (
            ("silent", lambda link: None, 4.0, [0.3, 0.9, 1.9, 2.9, 3.9]),
            (
                "acknowledged",
                lambda link: link.receive(write_input(3, 1, 0, 0, []), 0.1),
                2.0,
                [],
            ),
            ("refused", lambda link: link.refuse("kicked", "go", 0.0), 2.0, []),
            (
                "the end",
                lambda link: link.hasten(0.15, 0.0),
                0.5,
                [0.0, 0.15, 0.3, 0.45],
            ),
        ):
            self.setUp()
            self.link.make_state(1, [b"tail"], 0, 0.0)
            then(self.link)
            self.assertEqual(self.resends(seconds), times, what)
            state = self.link.make_state(2, [b"tail"], 0, seconds)
            self.assertEqual(state is None, what == "refused")

    def test_newer_state(self) -> None:
        """
        The resends of a newer state start over; an older one is never resent.
        """
        self.link.make_state(1, [b"tail"], 0, 0.0)
        self.assertEqual(self.resends(1.0), [0.3, 0.9])
        self.link.make_state(2, [b"newer"], 0, 1.0)
        self.assertEqual([at for at in self.resends(2.0) if at >= 1.0], [1.3, 1.9])

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
        send_message(waiting, b"told after", 0.2)
        waiting.refuse("kicked", "go", 0.2)
        waiting.take_packets()
        self.assertTrue(waiting.is_silent())


class WatchTests(SynchronousTestCase):
    def doubted_after(self, watch: Watch, now: float) -> float:
        """Let time pass without a packet; returns when the server is doubted."""
        while not watch.is_doubted:
            at = watch.deadline()
            now = max(now, at)
            watch.doubts(now)
            watch.probes(0.15, now)
        return now

    def test_nothing_is_due(self) -> None:
        """
        A server that owes nothing may be silent.
        """
        self.assertEqual(Watch().deadline(), float("inf"))

    def test_answer_is_overdue(self) -> None:
        """
        A server is doubted 400 ms after what has no answer; later questions change
        nothing.
        """
        watch = Watch()
        watch.asked(0.15, 10.0)
        watch.asked(0.15, 10.3)
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 10.0 + PATIENCE)

    def test_far_server(self) -> None:
        """
        A server far away has twice the time that an answer usually takes.
        """
        watch = Watch()
        watch.asked(0.8, 10.0)
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 11.6)

    def test_false_alarms(self) -> None:
        """
        Each false alarm doubles the time, up to 3 s.
        """
        watch, found = Watch(), []
        for _ in range(5):
            watch.asked(0.15, 10.0)
            found.append(self.doubted_after(watch, 10.0) - 10.0)
            self.assertTrue(watch.received())
        for took, expected in zip(found, (0.4, 0.8, 1.6, MOST_PATIENCE), strict=False):
            self.assertAlmostEqual(took, expected)
        self.assertAlmostEqual(found[-1], MOST_PATIENCE)

    def test_held_up(self) -> None:
        """
        A player whose machine stood still reads what came before it doubts anybody.
        """
        watch = Watch()
        watch.asked(0.15, 10.0)
        self.assertFalse(watch.doubts(15.0))
        self.assertFalse(watch.received())
        self.assertFalse(watch.doubts(15.0))
        self.assertEqual(watch.deadline(), float("inf"))

    def test_hint(self) -> None:
        """
        After a hint the server has a tenth of a second; more hints do not count.
        """
        watch = Watch()
        self.assertTrue(watch.hinted(0.15, 10.0))
        self.assertFalse(watch.hinted(0.15, 10.05))
        self.assertAlmostEqual(self.doubted_after(watch, 10.0), 10.1)


class LossTests(SynchronousTestCase):
    def test_silent_server(self) -> None:
        """
        A player whose server vanishes learns it within half a second of its next
        action, and that it is back.
        """
        net = PacketNet()
        net.join()
        net.losing = lambda who, number, packet: who == "server"
        net.player.act(b"go", net.clock.seconds())
        net.run(0.5)
        self.assertIn(FellSilent(), net.player_events)
        self.assertNotIn(SpokeAgain(), net.player_events)
        net.losing = lambda who, number, packet: False
        net.run(0.5)
        self.assertEqual(net.player_events[-1], SpokeAgain())

    def test_bad_network(self) -> None:
        """
        At a loss of a tenth in each direction, hardly anybody who acts doubts the
        server.
        """
        doubts = 0
        for seed in range(10):
            net = PacketNet(seed, Conditions(loss=0.1, delay=0.03, jitter=0.01))
            net.run(3.0)
            for number in range(200):
                net.player.act(b"go", net.clock.seconds())
                net.show(number + 1, b"v")
                net.run(0.1)
            doubts += sum(isinstance(e, FellSilent) for e in net.player_events)
        self.assertLessEqual(doubts, 2)


class UnackedInputsTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from(["add", "ack", "welcome"]), max_size=30), st.randoms()
    )
    def test_any_order(self, steps: list[str], chance: object) -> None:
        """
        Whatever is added, acknowledged and taken up again, actions keep their order,
        and numbers that a server has are never used again.
        """
        waiting, sent, has = UnackedInputs(), 0, 0
        for step in steps:
            if step == "add":
                sent += 1
                self.assertEqual(waiting.add(b"%d" % sent), sent)
            else:
                has = chance.randint(has, sent)
                if step == "ack":
                    waiting.acknowledge(has)
                else:
                    waiting.continue_after(has)
            left = [int(action) for _, action in waiting]
            self.assertEqual(left, [*range(has + 1, sent + 1)])
            self.assertEqual((waiting.first, waiting.last), (has + 1, sent))

    def test_server_has_more(self) -> None:
        """
        If another program played the seat, numbers go on after its own.
        """
        waiting = UnackedInputs()
        waiting.add(b"a")
        waiting.continue_after(7)
        self.assertEqual((len(waiting), waiting.add(b"b")), (0, 8))

    def test_server_has_less(self) -> None:
        """
        A server that lacks what it acknowledged gets the rest under numbers that it
        waits for.
        """
        waiting = UnackedInputs()
        for action in (b"a", b"b", b"c"):
            waiting.add(action)
        waiting.acknowledge(2)
        waiting.continue_after(1)
        self.assertEqual((waiting.first, list(waiting)), (2, [(0, b"c")]))
