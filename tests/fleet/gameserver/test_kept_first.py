"""
A player never saw what the node does not have, wherever a process is killed.

One match is played, and everything that leaves its process is written down in order:
bytes to the node, and packets to players. Then the process is killed after each of
these bytes and packets, and what the node has is held against what players saw.
"""

from __future__ import annotations

import socket
from typing import Any

import attrs
from msgspec import DecodeError, msgpack
from msgspec.structs import replace
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.support.game_net import HOST, PORT, GameNet, GamePlayer
from vinom.fleet.control.checkpoints import apply_change
from vinom.fleet.control.link import ControlClient
from vinom.fleet.control.messages import (
    CONTROL_PROTOCOL,
    Kept,
    Ready,
    RoomEnded,
    decode_to_node,
)
from vinom.fleet.gameserver import keeping
from vinom.fleet.gameserver.seats import KeptDoor, SeatDoor
from vinom.net.frames import FrameReader
from vinom.net.packets.codec import Messages, StatePiece, WelcomePiece, read_server
from vinom.net.packets.reliable import MessageStream, Part


class TapeTransport(StringTransport):
    """Writes down what goes to the node."""

    def __init__(self, tape: list[Any]) -> None:
        super().__init__()
        self.tape = tape

    def write(self, data: bytes) -> None:
        self.tape.append(data)


@attrs.define
class Seen:
    """What one seat's player was sent so far."""

    version: int = 0
    acked: int = 0
    epoch: int = 0
    parts: dict[int, tuple[bool, bytes]] = attrs.field(factory=dict)

    def receive(self, payload: bytes) -> None:
        packet = read_server(payload)
        self.acked = max(self.acked, packet.input)
        if isinstance(packet, StatePiece):
            self.version = max(self.version, packet.version)
        elif isinstance(packet, WelcomePiece):
            self.epoch = max(self.epoch, packet.epoch)
        elif isinstance(packet, Messages):
            for number, part in enumerate(packet.parts, packet.first):
                self.parts[number] = part


def _facts(part: tuple[bool, bytes] | None) -> Any:
    """
    Read a part, without what may differ: the version of the state that the end of a
    round is sent with, because meanwhile its players are away.
    """
    assert part is not None
    try:
        facts = msgpack.decode(part[1])
    except DecodeError:
        return part
    if isinstance(facts, dict) and facts.get("t") == "round":
        return facts["outcome"]
    return part


def _refusals(tape: list[Any]) -> dict[int, dict[int, int]]:
    """Find the refusals that were sent: seat to number to part."""
    found: dict[int, dict[int, int]] = {}
    for entry in tape:
        if isinstance(entry, bytes):
            continue
        seat, payload = entry
        packet = read_server(payload)
        if not isinstance(packet, Messages):
            continue
        for at, (_, data) in enumerate(packet.parts, packet.first):
            try:
                facts = msgpack.decode(data)
            except DecodeError:
                continue
            if isinstance(facts, dict) and facts.get("t") == "refused":
                found.setdefault(seat, {})[facts["seq"]] = at
    return found


class TapedNet(GameNet):
    """
    A game server of which everything that leaves it is written down.

    :ivar tape: bytes that went to the node; and seats with packets to their players.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tape: list[Any] = []
        transport = TapeTransport(self.tape)
        client = ControlClient(
            self.reactor,
            Ready("g1", 1, CONTROL_PROTOCOL),
            self.server.received,
            lambda: None,
        )
        client.makeConnection(transport)
        self.server.linked(client.send, client.is_behind)

    def bind(self, *arguments: Any) -> None:
        super().bind(*arguments)
        port = self.port
        send, send_each = port.send, port.send_each

        # They leave with the next datagram of this port, and not before.
        sealed: list[Any] = []

        def note(association: Any, payloads: Any) -> None:
            owner = association.owner
            if owner is not None and owner.seat is not None:
                nonlocal sealed
                sealed += [(owner.seat.number, payload) for payload in payloads]

        carry = self.reactor.carry

        def taped_carry(sender: Any, datagram: bytes, to: Any) -> None:
            if sender == (HOST, PORT):
                self.tape += sealed
                sealed.clear()
            carry(sender, datagram, to)

        self.reactor.carry = taped_carry  # type: ignore[method-assign]

        def taped_send(association: Any, *payloads: bytes) -> None:
            note(association, payloads)
            send(association, *payloads)

        def taped_send_each(sent: Any) -> None:
            sent = list(sent)
            for association, payload in sent:
                note(association, [payload])
            send_each(sent)

        port.send, port.send_each = taped_send, taped_send_each


class KeptFirstTests(SynchronousTestCase):
    """Kill a process at every point."""

    def play(self, game: str) -> TapedNet:
        """A match in which everything happens that a player can notice."""
        net = TapedNet()
        players = net.begin(game=game)
        if game == "teller":
            for word in ("one", "tell", "no", "shout 99", "two", "wake 2.0"):
                players[0].say(word)
                players[1].say(f"{word} too")
                net.run(0.05)
            players[1].send_raw(b"nonsense")
            resume = players[0].resume
            players[0].say("last")
            players[0].is_silent = True
            players[0] = net.resumed(0, resume)
            net.run(0.3)
            players[0].say("back")
            players[1].leave()
            net.run(3.0)
            players[0].say("end")
            net.run(0.5)
            players[0].say("again")
            net.run(0.5)
        else:
            for _ in range(20):
                for player in players:
                    player.say("step")
                net.run(0.03)
        return net

    def check(self, net: TapedNet, game: str) -> int:
        """Kill it at every point of the tape; returns how many checkpoints it made."""
        frames, data, number, packets = FrameReader(), b"", 0, 0
        seen: dict[int, Seen] = {}
        kept: keeping.KeptMatch | None = None
        others: dict[int, dict[int, dict[int, Any]]] = {}
        plan = next(iter(net.server.rooms.values())).room.plan
        refusals = _refusals(net.tape)
        for entry in net.tape:
            if isinstance(entry, bytes):
                # Each prefix of the bytes is a point at which it may be killed: only a
                # whole message counts.
                for at in range(len(entry)):
                    frames.receive(entry[at : at + 1])
                    frame = frames.next_frame()
                    if frame is None:
                        continue
                    message = decode_to_node(frame)
                    self.assertNotIsInstance(message, RoomEnded)
                    if isinstance(message, Kept):
                        self.assertEqual(message.number, number + 1)
                        data = (
                            apply_change(data, message.data)
                            if message.base
                            else message.data
                        )
                        number = message.number
                        kept = keeping.read_kept(data, plan)
                continue
            seat, payload = entry
            packets += 1
            one = seen.setdefault(seat, Seen())
            one.receive(payload)
            if kept is None:
                self.fail("a player was sent something before the node")
            self.assertGreaterEqual(kept.version, one.version)
            self.assertGreaterEqual(kept.acted[seat], one.acked)
            self.assertGreaterEqual(kept.seats[seat].door.epoch, one.epoch)
            if number not in others:
                others[number] = self.messages(data, number, game)
            for seq, at in refusals.get(seat, {}).items():
                # An acknowledgement does not outlive its refusal.
                if seq <= kept.acted[seat]:
                    self.assertTrue(at in others[number][seat] or at in one.parts)
            for at, part in one.parts.items():
                waiting = others[number][seat]
                if waiting and at >= min(waiting):
                    self.assertEqual(_facts(waiting.get(at)), _facts(part))
                else:
                    # It was acknowledged.
                    self.assertLess(at, kept.seats[seat].first)
        # Both players were sent states, and a welcome, all along.
        self.assertGreater(packets, number)
        self.assertTrue(all(one.version > 5 and one.epoch for one in seen.values()))
        self.assertEqual(len(seen), 2)
        return number

    def messages(self, data: bytes, number: int, game: str) -> dict[int, Any]:
        """What another process has for each seat, after its first turn."""
        other = GameNet(seed=2)
        other.bind()
        other.open(game=game, checkpoint=data, number=number)
        self.assertEqual(other.ends, [])
        (hosted,) = other.server.rooms.values()
        return {
            seat.number: dict(enumerate(seat.messages.waiting(), seat.messages.first))
            for seat in hosted.seats
        }

    def test_every_point(self) -> None:
        """
        No state, acknowledgement, seat, event or refusal is seen before the node has
        it, and the next process sends the same under the same numbers.
        """
        self.assertGreater(self.check(self.play("teller"), "teller"), 15)

    def test_changes(self) -> None:
        """
        The same if checkpoints are sent as changes of the ones before.
        """
        self.patch(keeping, "WHOLE_BELOW", 0)
        net = self.play("teller")
        self.check(net, "teller")
        reader, bases = FrameReader(), 0
        reader.receive(b"".join(e for e in net.tape if isinstance(e, bytes)))
        while (frame := reader.next_frame()) is not None:
            message = decode_to_node(frame)
            bases += isinstance(message, Kept) and message.base > 0
        self.assertGreater(bases, 10)

    def test_ticks(self) -> None:
        """
        The same for a game with fixed steps: what waits for one is kept, too.
        """
        self.assertGreater(self.check(self.play("ticking"), "ticking"), 10)

    def test_faults_are_found(self) -> None:
        """
        The check itself: datagrams that leave before their checkpoint, the same in a
        game with fixed steps, and checkpoints without what players were sent, or
        without who took a seat, are found.
        """

        def late(checkpoints: keeping.Checkpoints) -> bool:
            return checkpoints.has_left()

        def unsent(messages: MessageStream) -> tuple[Part, ...]:
            return ()

        keep = SeatDoor.keep

        def unjoined(door: SeatDoor) -> KeptDoor:
            return replace(keep(door), epoch=0)

        for where, name, fault, game in (
            (keeping.Checkpoints, "may_send", late, "teller"),
            (keeping.Checkpoints, "may_send", late, "ticking"),
            (MessageStream, "waiting", unsent, "teller"),
            (SeatDoor, "keep", unjoined, "teller"),
        ):
            patch = self.patch(where, name, fault)
            net = self.play(game)
            patch.restore()
            with self.assertRaises(self.failureException, msg=f"{name}, {game}"):
                self.check(net, game)


@implementer(ISystemHandle)
class SocketTransport(StringTransport):
    """A transport over a real socket, whose other end reads when a test does."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        self.ours.setblocking(False)
        self.theirs.setblocking(False)

    def getHandle(self) -> socket.socket:
        return self.ours

    def read(self) -> bytes:
        """Take everything that has left."""
        parts = []
        try:
            while part := self.theirs.recv(65536):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts)


class FullLinkTests(SynchronousTestCase):
    """The node does not read for a while."""

    def test_states_wait(self) -> None:
        """
        While the checkpoint of a state is not out whole, no player sees the state, and
        no action is acknowledged; all of it comes as soon as the node reads again.
        """
        net = GameNet()
        players: list[GamePlayer] = net.begin()
        transport = SocketTransport()
        self.addCleanup(transport.ours.close)
        self.addCleanup(transport.theirs.close)
        client = ControlClient(
            net.reactor,
            Ready("g1", 1, CONTROL_PROTOCOL),
            net.server.received,
            lambda: None,
            caught_up=net.server.caught_up,
        )
        client.makeConnection(transport)
        net.server.linked(client.send, client.is_behind)
        said = 0
        while not client.is_behind():
            said += 1
            players[0].say(f"word {said} " + "x" * 200)
            net.run(0.02)
            self.assertLess(said, 200)
        net.run(1.0)
        held = len(players[1].lines)
        self.assertLess(held, len(net.server.rooms["m1"].room.state.lines))
        unanswered = players[0].say("later")
        net.run(2.0)
        self.assertEqual(len(players[1].lines), held)
        self.assertLess(players[0].seen.acked, unanswered)
        reader = FrameReader()
        for _ in range(3):
            reader.receive(transport.read())
            net.run(0.01)
        reader.receive(transport.read())
        self.assertIn("later", players[1].lines[-1])
        data, _ = net.checkpoint
        while (frame := reader.next_frame()) is not None:
            message = decode_to_node(frame)
            if isinstance(message, Kept):
                data = (
                    apply_change(data, message.data) if message.base else message.data
                )
        kept = keeping.read_kept(data, net.server.rooms["m1"].room.plan)
        self.assertGreaterEqual(kept.version, players[1].seen.version)
        self.assertGreaterEqual(kept.acted[0], unanswered)
