"""Control messages: every split, every kind, and nothing that breaks us."""

from __future__ import annotations

import contextlib
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vinom.base.model import MatchEnd, MatchPlan, SeatPlan, Ticket
from vinom.errors import PeerError
from vinom.fleet.control.messages import (
    AddTicket,
    Adopted,
    Alive,
    AnyToNode,
    AnyToServer,
    Bind,
    BindFailed,
    Bound,
    CloseRoom,
    CookieKeyReport,
    Draining,
    HandOver,
    Heartbeat,
    Kept,
    KeptTaken,
    Kick,
    Known,
    MatchStarted,
    OpenRoom,
    Playing,
    Ready,
    RecordingData,
    RelayAction,
    RelayEvent,
    RelayFailed,
    RelayNewcomer,
    RelayRefusal,
    RelaySeat,
    RelayState,
    RelayTaken,
    RelayWatch,
    RoomEnded,
    RoomOpened,
    RotateCookies,
    RoundEnded,
    SeatChanged,
    Stop,
    TicketAdded,
    TokenKeys,
    TokenKeysTaken,
    decode_to_node,
    decode_to_server,
    encode,
)
from vinom.net.frames import FRAME_LIMIT, FrameReader

PLAN = MatchPlan("m1", "maze", (SeatPlan("p1", "Ann", b"{}", 1),), (1 << 64) - 1)
TICKET = Ticket("a" * 26, "m1", 0, 1e9)

TO_SERVER = (
    Bind("127.0.0.1", 46000, "abc", "game.vinom", b"CERT", b"KEY", {"k": b"PEM"}),
    OpenRoom(PLAN, (TICKET,)),
    OpenRoom(PLAN, (), is_relayed=True),
    AddTicket(TICKET),
    Kick("m1", 2),
    CloseRoom("m1", "ended"),
    Heartbeat(7),
    KeptTaken("m1", 7),
    KeptTaken("m1", 1, 4711),
    HandOver(),
    Adopted(("m1", "m2")),
    Known(b"secret"),
    OpenRoom(PLAN, (), checkpoint=b"kept", number=7, part=2),
    TokenKeys(3, {"k": b"PEM"}),
    RotateCookies(),
    RelayWatch("m1", True),
    RelaySeat("m1", 0, "join", 2, 7),
    RelayNewcomer("m1", 1, PLAN.seats[0]),
    RelayAction("m1", 0, 7, b'{"x":1}'),
    Known(b"secret"),
    Stop(),
    Adopted(("m1", "m2"), 4711, True),
)
TO_NODE = (
    Ready("abc", 123, 1),
    Ready(
        "abc",
        123,
        6,
        b"secret",
        (
            Playing("m1", PLAN),
            Playing("m2", PLAN, 3, 9, b"kept", True, {0: "left"}, {"round": 1}),
        ),
        "abc",
        46000,
    ),
    TokenKeysTaken(3),
    Bound(46000),
    BindFailed(46000, "in use"),
    RoomOpened("m1"),
    Draining(True),
    RecordingData("m1", 2, 40, b"bytes", True),
    TicketAdded("a" * 26),
    Kept("m1", 7, 6, b"change", b"recorded", 99, 5),
    SeatChanged("m1", 1, "joined"),
    MatchStarted("m1"),
    RoundEnded("m1", {"scores": {"0": 3}}),
    RoomEnded(MatchEnd("m1", "finished", {"places": [[0]]}, (0, 1), 9, "ab" * 8), 8),
    RelayState("m1", 9, "playing", 1.5, {0: 7}, (b"{}",), {-1: 0, 0: 0}, b"{}"),
    RelayState("m1", 9, "over", 1.5, {0: 8}),
    RelayEvent("m1", 9, "rolled", {"die": 3}, None),
    RelayRefusal("m1", 0, 8, "rejected", "wall", "there is a wall"),
    RelayTaken("m1", 0, 2),
    RelayFailed("m1", "no JSON"),
    Alive(7, {"rtt": 0.5}),
    Alive(8, {}, (CookieKeyReport(3, 12.5, 287.5), CookieKeyReport(4, 0.0))),
    Draining(),
)


def frames_of(*chunks):
    """Cut what arrives in these chunks."""
    reader, frames = FrameReader(), []
    for chunk in chunks:
        reader.receive(chunk)
        while (frame := reader.next_frame()) is not None:
            frames.append(frame)
    return frames


class ControlTests(SynchronousTestCase):
    """What goes over a control link."""

    def test_every_message(self):
        """
        Each message of either direction arrives as it was sent.
        """
        self.assertEqual({type(m) for m in TO_SERVER}, set(get_args(AnyToServer)))
        self.assertEqual({type(m) for m in TO_NODE}, set(get_args(AnyToNode)))
        for messages, decode in (
            (TO_SERVER, decode_to_server),
            (TO_NODE, decode_to_node),
        ):
            stream = b"".join(encode(message) for message in messages)
            self.assertEqual([decode(f) for f in frames_of(stream)], list(messages))

    def test_any_split(self):
        """
        Messages arrive whole however the stream is cut.
        """
        stream = b"".join(encode(message) for message in TO_NODE)
        whole = frames_of(stream)
        for cut in range(len(stream)):
            self.assertEqual(frames_of(stream[:cut], stream[cut:]), whole)
        self.assertEqual(
            frames_of(*(stream[i : i + 1] for i in range(len(stream)))), whole
        )

    def test_too_long(self):
        """
        A length beyond the limit is refused before anything is kept for it,
        and what came before it still counts.
        """
        reader = FrameReader()
        reader.receive(encode(Stop()) + (FRAME_LIMIT + 1).to_bytes(4))
        self.assertIsNotNone(reader.next_frame())
        self.assertRaises(PeerError, reader.next_frame)
        huge = Alive(1, {str(n): 0.0 for n in range(100_000)})
        self.assertRaises(ValueError, encode, huge)

    def test_names_the_field(self):
        """
        The error for an invalid field names it; tests of attacks try all of them.
        """
        payload = msgspec.msgpack.encode({"t": "bound", "port": "x"})
        error = self.assertRaises(PeerError, decode_to_node, payload)
        self.assertIn("port", str(error))

    def test_wrong_direction(self):
        """
        A game server does not accept messages that are for a node, or the reverse.
        """
        for messages, decode in (
            (TO_NODE, decode_to_server),
            (TO_SERVER, decode_to_node),
        ):
            for message in messages:
                payload = msgspec.msgpack.encode(message)
                error = self.assertRaises(PeerError, decode, payload)
                self.assertIn("$.t", str(error))

    def test_deep(self):
        """
        Nesting without end is refused.
        """
        nested = b"\x91" * 50_000 + b"\x90"
        payload = b"\x83\xa1t\xabround_ended\xa8match_id\xa1m\xa7outcome" + (
            b"\x81\xa1x" + nested
        )
        self.assertRaises(PeerError, decode_to_node, payload)

    @given(st.binary(max_size=200))
    def test_anything(self, data):
        """
        Any bytes are a message or the peer's mistake.
        """
        for decode in (decode_to_node, decode_to_server):
            with contextlib.suppress(PeerError):
                decode(data)
        reader = FrameReader(limit=100)
        reader.receive(data)
        with contextlib.suppress(PeerError):
            while reader.next_frame() is not None:
                pass

    @given(st.sampled_from(TO_NODE + TO_SERVER), st.data())
    def test_damaged(self, message, data):
        """
        A message with one damaged byte is a message or the peer's mistake.
        """
        payload = bytearray(msgspec.msgpack.encode(message))
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
        for decode in (decode_to_node, decode_to_server):
            with contextlib.suppress(PeerError):
                decode(bytes(payload))
