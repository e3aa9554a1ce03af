"""The packets of a game, byte by byte."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.packet_net import PAYLOAD, PacketNet
from vinom.errors import Code, PeerError
from vinom.net.packets.codec import (
    LONGEST_PACKET,
    LONGEST_WHOLE,
    Bye,
    Input,
    Join,
    Messages,
    PlayerPacket,
    Probe,
    Reject,
    ServerPacket,
    ServerProbe,
    StatePiece,
    WelcomePiece,
    cut,
    read_one_action,
    read_player,
    read_server,
    state_tails,
    write_bye,
    write_input,
    write_join,
    write_messages,
    write_player_probe,
    write_reject,
    write_server_probe,
    write_state,
    write_welcome,
)
from vinom.net.packets.player import PlayerLink
from vinom.net.packets.quality import Quality
from vinom.net.packets.reliable import (
    LONGEST_MESSAGE,
    Fragments,
    MessageReader,
    MessageStream,
    decode_message,
    decode_welcome,
)
from vinom.net.packets.seat import SeatLink

counter = st.integers(0, 2**32 - 1)
number = st.integers(1, 2**32 - 1)
short = st.binary(min_size=1, max_size=40)

PLAYER: list[tuple[bytes, PlayerPacket]] = [
    (write_join(1, b"tok", False, 7), Join(1, 0, 0, 1, False, 7, b"tok")),
    (write_join(2, b"r" * 16, True), Join(2, 0, 0, 1, True, 0, b"r" * 16)),
    (
        write_input(3, 4, 5, 6, [(0, b"ab"), (9, b"c")]),
        Input(3, 4, 5, 6, [(0, b"ab"), (9, b"c")]),
    ),
    (write_input(3, 4, 5, 0, []), Input(3, 4, 5, 0, [])),
    (write_bye(8, 9, 10), Bye(8, 9, 10)),
    (
        write_player_probe(Probe(1, 2, 3, True, 4, 5, 6)),
        Probe(1, 2, 3, True, 4, 5, 6),
    ),
]
SERVER: list[tuple[bytes, ServerPacket]] = [
    (write_welcome(1, 2, 3, 0, 2, b"w"), WelcomePiece(1, 2, 3, 0, 2, b"w")),
    (
        write_state(1, 2, 3, state_tails(4, 5000, 99, b"view")[0]),
        StatePiece(1, 2, 3, 4, 5000, 99, 0, 1, b"view"),
    ),
    (
        write_messages(1, 2, 3, [(True, b"a"), (False, b"bc")]),
        Messages(1, 2, 3, [(True, b"a"), (False, b"bc")]),
    ),
    (write_messages(1, 2, 0, []), Messages(1, 2, 0, [])),
    (
        write_server_probe(ServerProbe(1, 2, False, 3, 4, 5)),
        ServerProbe(1, 2, False, 3, 4, 5),
    ),
    (
        write_reject(1, 2, Code.BAD_TOKEN, "no \N{SNOWMAN}"),
        Reject(1, 2, "bad_token", "no \N{SNOWMAN}"),
    ),
    (
        write_reject(1, 2, Code.BUSY, "later", 2000),
        Reject(1, 2, "busy", "later", 2000),
    ),
]


class LayoutTests(SynchronousTestCase):
    """Every packet reads as it was written, and nothing else does."""

    def test_round_trips(self) -> None:
        """
        What one end writes is what the other end reads.
        """
        for packet, meant in PLAYER:
            self.assertEqual(meant, read_player(packet))
        for packet, meant in SERVER:
            self.assertEqual(meant, read_server(packet))

    def test_cut_short(self) -> None:
        """
        A packet that was cut anywhere is refused, or (where the rest of a packet
        is one piece) shorter.
        """
        for reader, packets in ((read_player, PLAYER), (read_server, SERVER)):
            for packet, _ in packets:
                for size in range(len(packet)):
                    try:
                        read = reader(packet[:size])
                    except PeerError:
                        continue
                    self.assertIsInstance(read, StatePiece | WelcomePiece)

    def test_too_long(self) -> None:
        """
        A packet with something after its end is refused.
        """
        for reader, packets in ((read_player, PLAYER), (read_server, SERVER)):
            for packet, meant in packets:
                if not isinstance(meant, StatePiece | WelcomePiece):
                    with self.assertRaises(PeerError):
                        reader(packet + b"x")  # type: ignore[operator]  # a table
        for reader in (read_player, read_server):
            with self.assertRaises(PeerError):
                reader(PLAYER[0][0] + bytes(LONGEST_PACKET))  # type: ignore[operator]  # a table

    def test_bounds(self) -> None:
        """
        Counts and lengths beyond their bounds are refused.
        """
        for packet in (
            b"",
            b"\x07" + bytes(12),
            write_input(1, 0, 0, 1, [(0, b"a")] * 17),
            write_input(1, 0, 0, 1, [(0, b"a" * 513)]),
            write_input(1, 0, 0, 1, [(0, b"")]),
            write_input(1, 0, 0, 0, [(0, b"a")]),
            write_join(1, b"", False),
            write_join(1, b"x" * 901, False),
            write_join(1, b"x" * 15, True),
            write_join(1, b"x" * 16, True).replace(
                b"\x01\x01\x00\x00", b"\x01\x04\0\0"
            ),
        ):
            with self.assertRaises(PeerError):
                read_player(packet)
        for packet in (
            b"",
            b"\x01" + bytes(12),
            write_state(1, 0, 0, b"\0\0\0\1" + bytes(8) + b"\1\1"),
            write_state(1, 0, 0, b"\0\0\0\1" + bytes(8) + b"\0\x41"),
            write_welcome(1, 0, 1, 2, 2, b""),
            write_messages(1, 0, 0, [(False, b"x")]),
            write_messages(1, 0, 1, [(False, b"")]),
            write_messages(1, 0, 1, [(False, b"x" * 1001)]),
            write_messages(1, 0, 1, [(False, b"x")] * 65),
            b"\x86" + bytes(8) + b"\0\1\xff\0\0",
        ):
            with self.assertRaises(PeerError):
                read_server(packet)

    def test_long_reject(self) -> None:
        """
        A refusal fits into a packet, however long its text is.
        """
        read = read_server(write_reject(1, 2, "busy", "\N{SNOWMAN}" * 3000))
        assert isinstance(read, Reject)
        self.assertEqual({"\N{SNOWMAN}"}, set(read.message))

    @given(st.binary(max_size=1200))
    def test_junk(self, junk: bytes) -> None:
        """
        Any bytes are a packet or a `PeerError`.
        """
        for reader in (read_player, read_server):
            with contextlib.suppress(PeerError):
                reader(junk)  # type: ignore[operator]  # a table

    @given(
        st.sampled_from([*PLAYER, *SERVER]),
        st.integers(0, 60),
        st.integers(0, 255),
        st.binary(max_size=30),
    )
    def test_near_misses(
        self,
        known: tuple[bytes, PlayerPacket | ServerPacket],
        at: int,
        value: int,
        tail: bytes,
    ) -> None:
        """
        Packets with a changed byte or a tail are packets or a `PeerError`.
        """
        packet = bytearray(known[0] + tail)
        packet[at % len(packet)] = value
        for reader in (read_player, read_server):
            with contextlib.suppress(PeerError):
                reader(bytes(packet))  # type: ignore[operator]  # a table

    @given(
        counter,
        counter,
        counter,
        number,
        st.lists(st.tuples(counter, short), max_size=16),
    )
    def test_any_input(
        self,
        n: int,
        state: int,
        message: int,
        first: int,
        actions: list[tuple[int, bytes]],
    ) -> None:
        """
        Any actions arrive as they are.
        """
        packet = write_input(n, state, message, first, actions)
        self.assertEqual(Input(n, state, message, first, actions), read_player(packet))

    @given(counter, counter, number, st.lists(st.tuples(st.booleans(), short)))
    def test_any_messages(
        self, n: int, acked: int, first: int, parts: list[tuple[bool, bytes]]
    ) -> None:
        """
        Any parts of messages arrive as they are.
        """
        parts = parts[:20]
        packet = write_messages(n, acked, first, parts)
        self.assertEqual(Messages(n, acked, first, parts), read_server(packet))

    @given(
        number,
        counter,
        counter,
        counter,
        st.lists(st.tuples(counter, short), max_size=2),
        st.integers(0, 60),
        st.integers(-2, 2),
    )
    def test_one_action(
        self,
        own: int,
        state: int,
        message: int,
        first: int,
        actions: list[tuple[int, bytes]],
        place: int,
        change: int,
    ) -> None:
        """
        The short way to read an action reads what the long one does, and nothing
        that the long one refuses.
        """
        packet = bytearray(write_input(own, state, message, first, actions))
        place %= len(packet)
        packet[place] = (packet[place] + change) % 256
        for data in (bytes(packet), bytes(packet[:-1]), bytes(packet) + b"x"):
            try:
                read: PlayerPacket | None = read_player(data)
            except PeerError:
                read = None
            short_way = read_one_action(data)
            if isinstance(read, Input) and len(read.actions) == 1:
                (action,) = read.actions
                expected = (read.number, read.state, read.message, read.first, *action)
                self.assertEqual(expected, short_way)
            else:
                self.assertIsNone(short_way)

    def test_views_have_a_bound(self) -> None:
        """
        The longest view is cut into packets that fit; a longer one is an error.
        """
        tails = state_tails(1, 0, 0, bytes(LONGEST_WHOLE))
        self.assertEqual(64, len(tails))
        self.assertEqual(
            {LONGEST_PACKET}, {len(write_state(1, 0, 0, tail)) for tail in tails}
        )
        with self.assertRaises(ValueError):
            state_tails(1, 0, 0, bytes(LONGEST_WHOLE + 1))
        self.assertEqual([b""], cut(b""))


class MessageTests(SynchronousTestCase):
    """Parts of messages, in order and together."""

    @given(
        st.lists(st.binary(min_size=1, max_size=2500), min_size=1, max_size=12),
        st.randoms(use_true_random=False),
    )
    @settings(max_examples=50, deadline=None)
    def test_any_order(self, messages: list[bytes], chance: object) -> None:
        """
        Messages arrive whole and in order, in any order of their parts.
        """
        stream, reader = MessageStream(), MessageReader()
        for message in messages:
            self.assertTrue(stream.add(message))
        packets = stream.packets(1) * 2
        chance.shuffle(packets)  # type: ignore[attr-defined]  # a Random
        got: list[bytes] = []
        for first, parts in packets:
            self.assertLessEqual(
                len(write_messages(1, 1, first, parts)), LONGEST_PACKET
            )
            got += reader.receive(first, parts)
        self.assertEqual(messages, got)
        self.assertTrue(stream.acknowledge(reader.last_message))
        self.assertEqual(0, len(stream))

    def test_acknowledged_in_the_middle(self) -> None:
        """
        A new connection begins with a whole message.
        """
        stream = MessageStream()
        stream.add(b"one")
        stream.add(b"x" * 2500)
        self.assertTrue(stream.acknowledge(2))
        self.assertEqual(2, stream.first)
        self.assertFalse(stream.acknowledge(3))
        self.assertFalse(stream.acknowledge(9))
        self.assertTrue(stream.acknowledge(4))
        self.assertEqual((5, 5), (stream.first, stream.next))

    def test_losses_are_reported(self) -> None:
        """
        When too much waited and was given up, the numbers jump.
        """
        stream = MessageStream()
        while stream.add(b"x" * 4000):
            before = stream.next
        self.assertGreater(stream.first, before)
        self.assertTrue(stream.add(b"x"))
        with self.assertRaises(ValueError):
            stream.add(b"x" * (LONGEST_MESSAGE + 1))

    def test_endless_message(self) -> None:
        """
        A message that never ends is refused, not collected.
        """
        reader = MessageReader()
        with self.assertRaises(PeerError):
            for at in range(1, 40):
                reader.receive(at, [(True, b"x" * 1000)])

    @given(st.binary(max_size=200))
    def test_junk(self, junk: bytes) -> None:
        """
        Any bytes are a message or welcome, or a `PeerError`.
        """
        for reader in (decode_message, decode_welcome):
            with contextlib.suppress(PeerError):
                reader(junk)


class FragmentTests(SynchronousTestCase):
    """Wholes that came in several packets."""

    @given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
    def test_any_order(self, order: list[int], again: list[int]) -> None:
        """
        Pieces in any order, also twice, make the whole exactly once.
        """
        fragments = Fragments()
        got = [
            fragments.receive(7, index, 6, b"%d" % index)
            for index in [*again, *order, *again]
        ]
        self.assertEqual([b"012345"], [whole for whole in got if whole is not None])

    def test_contradiction(self) -> None:
        """
        Pieces that disagree about their number are refused.
        """
        fragments = Fragments()
        fragments.receive(1, 2, 3, b"c")
        with self.assertRaises(PeerError):
            fragments.receive(1, 1, 2, b"b")

    def test_bound(self) -> None:
        """
        A limited number of incomplete wholes is kept, the newest ones.
        """
        fragments = Fragments()
        for version in range(10, 20):
            self.assertIsNone(fragments.receive(version, 0, 2, b"a"))
        self.assertIsNone(fragments.receive(5, 0, 2, b"a"))
        self.assertIsNone(fragments.receive(10, 1, 2, b"b"))
        self.assertEqual(b"ab", fragments.receive(19, 1, 2, b"b"))
        self.assertIsNone(fragments.receive(18, 1, 2, b"b"))


class LinkFuzzTests(SynchronousTestCase):
    """Links that are fed what no honest peer sends."""

    def feed(self, link: SeatLink | PlayerLink, packet: bytes) -> None:
        with contextlib.suppress(PeerError):
            link.receive(packet, 1.0)

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.builds(
                    write_input,
                    counter,
                    counter,
                    counter,
                    number,
                    st.lists(st.tuples(counter, short), max_size=3),
                ),
                st.sampled_from([packet for packet, _ in PLAYER]),
            ),
            max_size=20,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_seat_link(self, packets: list[bytes]) -> None:
        """
        A player may send what it likes: the game server stays up, and takes no
        action that does not follow the one before.
        """
        net = PacketNet()
        net.join()
        for packet in packets:
            self.feed(net.seat, packet)
            net.seat.take_packets()
        self.assertLessEqual(net.seat.consumed, sum(len(p) for p in packets))
        net.seat.alarm(2.0)

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from([packet for packet, _ in SERVER]),
            ),
            max_size=20,
        ),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_player_link(self, packets: list[bytes], joined: bool) -> None:
        """
        A game server may send what it likes: the player stays up.
        """
        net = PacketNet()
        if joined:
            net.join()
        for packet in packets:
            self.feed(net.player, packet)
        net.player.take_events()
        net.player.alarm(2.0)
        net.player.take_packets()

    def test_strangers_have_no_seat(self) -> None:
        """
        Before a welcome nothing but JOIN has an effect.
        """
        link = SeatLink(PAYLOAD, 0.0)
        self.assertEqual([], link.receive(write_input(1, 0, 0, 1, [(0, b"a")]), 0.0))
        self.assertEqual(0, link.consumed)
        self.assertEqual([], link.receive(write_bye(2, 0, 0), 0.0))
        self.assertEqual("over", link.phase)


class QualityTests(SynchronousTestCase):
    """A link's measurements."""

    def test_lies(self) -> None:
        """
        A peer that reports nonsense gets figures within their range.
        """
        quality = Quality()
        quality.answered(quality.stamp(5.0), 1.0)
        self.assertIsNone(quality.rtt)
        for highest, received in ((100, 1000), (2**32 - 1, 0), (0, 0), (50, 50)):
            quality.reported(highest, received)
            assert quality.loss_out is not None
            self.assertTrue(0.0 <= quality.loss_out <= 1.0)

    def test_clock_wraps(self) -> None:
        """
        Stamps are counted modulo 2**32 microseconds.
        """
        quality = Quality()
        before = 2**32 / 1e6 - 0.01
        quality.answered(quality.stamp(before), before + 0.05)
        assert quality.rtt is not None
        self.assertAlmostEqual(0.05, quality.rtt, 4)
