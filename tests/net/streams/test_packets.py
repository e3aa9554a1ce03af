"""The packets of binary clients, byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.net.streams.packets import (
    HEADER_BYTES,
    MAGIC,
    MOST_CONTROL,
    VERSION,
    Kind,
    Packet,
    PacketReader,
    data_header,
    encode,
)

PACKETS = st.builds(
    Packet,
    st.sampled_from(Kind),
    st.binary(max_size=200),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)


def whole(packets: list[Packet]) -> list[Packet]:
    """Put pieces of *data* together that follow each other in one session."""
    found: list[Packet] = []
    for one in packets:
        last = found[-1] if found else None
        if (
            last is not None
            and last.kind is one.kind is Kind.DATA
            and last.session_id == one.session_id
        ):
            found[-1] = Packet(
                Kind.DATA, last.body + one.body, session_id=one.session_id
            )
        elif one.kind is Kind.DATA:
            found.append(Packet(Kind.DATA, one.body, session_id=one.session_id))
        else:
            found.append(one)
    return found


class PacketTests(SynchronousTestCase):
    def test_layout(self) -> None:
        """
        The header is as the manual draws it, so that other programs can write it.
        """
        packet = Packet(Kind.DATA, b"hi", 0x0102, 0x03040506, 7, 1 << 63)
        self.assertEqual(
            encode(packet).hex(" "),
            "f5 56 47 01 02 00 00 00 00 02 01 02 03 04 05 06 "
            "00 00 00 00 00 00 00 07 80 00 00 00 00 00 00 00 68 69",
        )
        self.assertEqual(HEADER_BYTES, 32)
        self.assertEqual(
            data_header(9, 2) + b"hi", encode(Packet(Kind.DATA, b"hi", session_id=9))
        )

    @given(st.lists(PACKETS, max_size=5), st.integers(1, 40))
    def test_every_cut(self, packets: list[Packet], size: int) -> None:
        """
        Packets are read however the network cuts them, in order; only data may come in
        pieces.
        """
        data = b"".join(map(encode, packets))
        reader, found = PacketReader(), []
        for start in range(0, len(data), size):
            found += reader.read(data[start : start + size])
        self.assertIsNone(reader.mistake)
        self.assertTrue(reader.is_between)
        self.assertEqual(whole(found), whole(packets))
        self.assertEqual(PacketReader().read(data), packets)

    @given(st.lists(PACKETS, max_size=3), st.binary(max_size=100))
    def test_anything(self, packets: list[Packet], rest: bytes) -> None:
        """
        Whatever a stranger sends is packets, the begin of one, or refused; packets
        before a mistake count.
        """
        reader = PacketReader()
        found = reader.read(b"".join(map(encode, packets)) + rest)
        self.assertEqual(found[: len(packets)], packets)
        if reader.mistake is None:
            self.assertTrue(rest[:3] == MAGIC[: len(rest)] or not rest)
        else:
            self.assertEqual(reader.read(encode(Packet(Kind.PING))), [])

    def test_refused_at_once(self) -> None:
        """
        What can be no packet is refused with its first wrong byte, and a length above
        the limit before the body comes.
        """
        good = encode(Packet(Kind.DATA, b"12345"))
        for data in (
            b"G",
            MAGIC[:1] + b"x",
            MAGIC + bytes((VERSION + 1,)),
            good[:4] + b"\x09",
            good[:5] + b"\x01",
            good[:6] + (101).to_bytes(4) + good[10:HEADER_BYTES],
            encode(Packet(Kind.PING, b"x" * (MOST_CONTROL + 1)))[:HEADER_BYTES],
        ):
            reader = PacketReader(most_body=100)
            self.assertEqual(reader.read(data), [])
            self.assertIsNotNone(reader.mistake, data)

    def test_what_does_not_fit(self) -> None:
        """
        Nothing is truncated: what does not fit its field, or the limit, is refused.
        """
        for packet in (
            Packet(Kind.DATA, b"x" * 101),
            Packet(Kind.OPEN, service_type=1 << 16),
            Packet(Kind.OPEN, realm_id=1 << 32),
            Packet(Kind.OPEN, user_id=1 << 64),
            Packet(Kind.OPEN, session_id=-1),
        ):
            with self.assertRaises(ValueError):
                encode(packet, 100)
