"""Game servers that play on without their node, and the node after it."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from tests.support.supply import FleetWorld, hosting, match_plan, ticket
from vinom.base.model import Exit, MatchEnd
from vinom.fleet import server as fleet_server
from vinom.fleet.control.checkpoints import make_unsent
from vinom.fleet.control.link import ControlLink
from vinom.fleet.control.messages import (
    AddTicket,
    Adopted,
    Alive,
    FromRelayed,
    Heartbeat,
    Kept,
    Kick,
    OpenRoom,
    Playing,
    RecordingData,
    RelayAgain,
    RoomEnded,
    RoundEnded,
    SeatChanged,
    Stop,
    TokenKeys,
    encode,
)
from vinom.fleet.life import ServerTimeouts

AWAY = int(ServerTimeouts().away)


class CutOffTests(SynchronousTestCase):
    """The link of a game server with a match is lost, and its process is not."""

    def test_link_is_cut(self) -> None:
        """
        A match goes on while its game server has no link, and is the same when it has
        one again.
        """
        world, server = hosting()
        server.transport.lose()
        world.wait(30)
        self.assertTrue(server.is_alive)
        self.assertEqual(world.fleet.status().servers["away"], 1)
        server.dial_again()
        world.settle()
        self.assertEqual(world.fleet.status().servers["listening"], 1)
        self.assertIn(Adopted(("m1",), again=True), server.heard)
        self.assertEqual(world.reasons(), {})
        server.end_room("m1")
        world.settle()
        self.assertEqual(world.reasons(), {"m1": "finished"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_orders_meanwhile(self) -> None:
        """
        A player whom an operator removes while there is no link, and a match that is
        ended then, are removed and ended when there is one again.
        """
        world = FleetWorld(rooms_per_process=2)
        for match_id in ("m1", "m2"):
            world.place(match_id)
        server = world.supply.hosting("m1")
        server.transport.lose()
        world.fleet.kick("m2", 1)
        world.fleet.close_room("m1", "ended")
        world.settle()
        server.dial_again()
        world.settle()
        self.assertIn(Kick("m2", 1), server.heard)
        self.assertEqual(world.reasons(), {"m1": "ended"})

    def test_recording_from_elsewhere(self) -> None:
        """
        What a game server sends of the recording of a match that it has is written; of
        another match, or part, it is not.
        """
        world, server = hosting()
        for match_id, part in (("m1", 1), ("m1", 2), ("m2", 1)):
            server.say(RecordingData(match_id, part, 40, b"x"))
        self.assertEqual(world.files.appended, [("m1", 1, 40, b"x", False)])

    def test_recording(self) -> None:
        """
        What a game server had not written of a recording when it got its link back is
        kept, in case that it dies then.
        """
        world, server = hosting()
        server.say(Kept("m1", 1, 0, b"one", b"head", 4))
        server.transport.lose()
        playing = Playing(
            "m1",
            match_plan("m1"),
            number=3,
            checkpoint=b"two",
            recorded=b"and more",
            length=12,
        )
        taken: list[tuple[int, bytes]] = []
        world.files.taken = taken.append
        server.dial(matches=(playing,))
        server.say(Kept("m1", 4, 0, b"three", b"!", 13))
        server.exit(signal=9)
        world.wait(1)
        self.assertEqual(taken, [(13, b"and more!")])

    def test_relayed_players(self) -> None:
        """
        Players who are connected to the node over UDP take their seats again when the
        link is there again: the game server had given them up.
        """
        world = FleetWorld()
        world.place("m1")
        shown: list[FromRelayed] = []
        world.fleet.follow("m1", shown.append, packed=True)
        server = world.supply.hosting("m1")
        server.transport.lose()
        server.dial_again()
        world.settle()
        self.assertEqual(shown, [RelayAgain("m1")])

    def test_late_answers(self) -> None:
        """
        A node asks for a sign of life three times at most after the last request that
        was answered, even if the answer was slow: leases count on that.
        """
        world = FleetWorld()
        world.place("m1")
        world.wait(1)
        server = world.supply.hosting("m1")
        server.ignores.add(Heartbeat)
        asked = [one.number for one in server.heard if isinstance(one, Heartbeat)][-1]
        world.wait(2)
        server.say(Alive(asked, {}))
        world.wait(3)
        numbers = [one.number for one in server.heard if isinstance(one, Heartbeat)]
        self.assertEqual(numbers[-1], asked + 3)
        self.assertIn(server.server_id, world.supply.killed)

    def test_cut_for_too_long(self) -> None:
        """
        A game server that has no link for longer than its lease is killed, and its
        match is lost once.
        """
        world, server = hosting()
        server.transport.lose()
        world.wait(AWAY - 1)
        self.assertEqual((world.supply.killed, world.reasons()), ([], {}))
        world.wait(2)
        self.assertFalse(server.is_alive)
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertEqual(world.counts(), (4, 0, 0))

    def test_called_again(self) -> None:
        """
        Until it has a link, it is called each second.
        """
        world, server = hosting()
        server.transport.lose()
        world.wait(3)
        self.assertEqual(world.supply.called, [server.server_id] * 3)
        server.dial_again()
        world.wait(3)
        self.assertEqual(len(world.supply.called), 3)

    def test_dies_without_a_link(self) -> None:
        """
        Its match is lost as soon as its process is seen to be gone.
        """
        world, server = hosting()
        server.transport.lose()
        server.exit(signal=9)
        self.assertEqual(world.reasons(), {"m1": "lost"})

    def lend(self) -> list[int]:
        """Let game servers be processes of this machine, and find their files."""
        files: list[int] = []

        def make() -> int:
            files.append(os.dup(made := make_unsent()))
            self.addCleanup(os.close, files[-1])
            return made

        self.patch(ControlLink, "is_lossy", False)
        self.patch(fleet_server, "make_unsent", make)
        return files

    def go_on_from(self, world: FleetWorld) -> OpenRoom:
        """What the next game server was sent."""
        world.wait(1)
        heard = world.supply.hosting("m1").heard
        (order,) = [one for one in heard if isinstance(one, OpenRoom)]
        return order

    def test_new_file_does_not_arrive(self) -> None:
        """
        The link is lost again before a game server has got its new file, so it goes on
        writing to the one that it has, and dies: what players saw is not lost.
        """
        files, world = self.lend(), FleetWorld()
        dying = world.host("m1")
        dying.say(Kept("m1", 1, 0, b"one"))
        dying.transport.lose()
        os.write(files[0], encode(Kept("m1", 2, 0, b"two")))
        playing = Playing("m1", match_plan("m1"), number=2, checkpoint=b"two")
        dying.dial(matches=(playing,))
        dying.transport.lose()
        self.assertEqual(len(files), 2)
        os.write(files[0], encode(Kept("m1", 5, 0, b"five")))
        dying.exit(signal=9)
        order = self.go_on_from(world)
        self.assertEqual((order.checkpoint, order.number), (b"five", 5))

    def test_checkpoint_was_too_long(self) -> None:
        """
        A game server that dies right after it has a link again, before it could send a
        checkpoint for which its first message had no room: the node has it in the file.
        """
        files, world = self.lend(), FleetWorld()
        dying = world.host("m1")
        dying.say(Kept("m1", 1, 0, b"one"))
        dying.transport.lose()
        os.write(files[0], encode(Kept("m1", 2, 0, b"two")))
        dying.dial(matches=(Playing("m1", match_plan("m1"), number=2),))
        dying.exit(signal=9)
        order = self.go_on_from(world)
        self.assertEqual((order.checkpoint, order.number), (b"two", 2))

    def test_files_are_closed(self) -> None:
        """
        However often a link is lost, a game server costs its node two files at most,
        and none when it is gone.
        """
        files, world = self.lend(), FleetWorld()

        def count() -> int:
            found = Path("/proc/self/fd").iterdir()
            return sum("vinom-unsent" in str(one.resolve()) for one in found)

        before = count()
        dying = world.host("m1")
        dying.say(Kept("m1", 1, 0, b"one"))
        for _ in range(5):
            dying.transport.lose()
            dying.dial_again()
            world.settle()
        # Those that the test has itself, and what was sent to nobody.
        held = count() - before - len(files)
        self.assertLessEqual(held, 2)
        dying.end_room("m1")
        world.wait(1)
        self.assertEqual(count() - before - len(files), 0)

    def test_last_words_come_late(self) -> None:
        """
        A game server has lost its link, which the node has not read to its end when it
        sees that the process is gone: both count, what was sent and what was written.
        """
        files, world = self.lend(), FleetWorld()
        dying = world.host("m1")
        dying.say(Kept("m1", 1, 0, b"one"))
        os.write(files[0], encode(Kept("m1", 3, 0, b"three")))
        dying.is_alive = False
        dying.server.ended(Exit(dying.pid, None, 9))
        dying.say(Kept("m1", 2, 0, b"two"))
        dying.say(RoundEnded("m1", {"round": 1}))
        dying.transport.lose()
        self.assertIn(("round", "m1", {"round": 1}), world.watch.told)
        order = self.go_on_from(world)
        self.assertEqual((order.checkpoint, order.number), (b"three", 3))

    def test_no_file(self) -> None:
        """
        If the system has no more files, that is logged once, not with each checkpoint.
        """
        world = FleetWorld()
        asked: list[None] = []

        def make() -> int:
            asked.append(None)
            raise OSError(24, "Too many open files")

        self.lend()
        self.patch(fleet_server, "make_unsent", make)
        world.place("m1")
        for number in range(1, 9):
            world.supply.hosting("m1").say(Kept("m1", number, 0, b"x"))
        self.assertEqual(len(asked), 1)

    def test_a_match_is_missing(self) -> None:
        """
        A match that it no longer has is lost; the others go on.
        """
        world = FleetWorld(rooms_per_process=2)
        for match_id in ("m1", "m2"):
            world.place(match_id)
        server = world.supply.hosting("m1")
        server.transport.lose()
        server.rooms.remove("m1")
        server.dial_again()
        world.settle()
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertIn(Adopted(("m2",), again=True), server.heard)

    def test_room_of_the_node(self) -> None:
        """
        A room of the node ends with the link: its players' connections were there.
        """
        world = FleetWorld(rooms_per_process=2)
        world.fleet.place(match_plan("r1"), [], world.watch, relay=lambda _: None)
        server = world.host("m1")
        self.assertEqual(server.rooms, ["r1", "m1"])
        server.transport.lose()
        self.assertEqual(world.reasons(), {"r1": "lost"})
        world.wait(10)
        self.assertTrue(server.is_alive)


class InDoubtTests(SynchronousTestCase):
    """A node whose lease is over does not know whether others have its game servers."""

    def cut(self) -> FleetWorld:
        """A game server with a checkpoint is linked to another node, perhaps."""
        world, server = hosting()
        server.say(Kept("m1", 1, 0, b"one", b"", 0))
        world.records.is_in_doubt = True
        server.transport.lose()
        return world

    def test_leaves_it_alone(self) -> None:
        """
        It neither calls nor kills it, for as long as that lasts; then it does.
        """
        world = self.cut()
        server = world.supply.hosting("m1")
        world.wait(2 * AWAY)
        self.assertEqual((world.supply.called, world.supply.killed), ([], []))
        world.records.is_in_doubt = False
        world.wait(1)
        self.assertFalse(server.is_alive)

    def test_ended(self) -> None:
        """
        When the process ends, the match goes on at another one only once it is certain
        that no other node had it.
        """
        world = self.cut()
        server_id = world.supply.hosting("m1").server_id
        world.supply.hosting("m1").exit(signal=9)
        world.wait(5)
        self.assertEqual((world.reasons(), len(world.supply.alive)), ({}, 0))
        (settled,) = world.records.asked[server_id]
        settled.callback(True)
        world.wait(2)
        self.assertEqual(world.fleet.status().went_on["died"], 1)

    def test_ended_elsewhere(self) -> None:
        """
        If another one had it, it is forgotten, and nobody learns an end.
        """
        world = self.cut()
        server_id = world.supply.hosting("m1").server_id
        world.supply.hosting("m1").exit(signal=9)
        (settled,) = world.records.asked[server_id]
        self.assertEqual(world.fleet.continuity.give_up(server_id), ("m1",))
        settled.callback(False)
        world.wait(5)
        self.assertEqual((world.reasons(), len(world.supply.alive)), ({}, 0))
        self.assertEqual(world.fleet.status().rooms, 0)

    def test_given_up(self) -> None:
        """
        A game server that another node has taken plays on, and its node sends it
        nothing more; a drain need not wait for it.
        """
        world, server = hosting()
        drained = world.fleet.drain()
        self.assertNoResult(drained)
        self.assertEqual(world.fleet.continuity.give_up(server.server_id), ("m1",))
        self.assertEqual(world.fleet.continuity.give_up(server.server_id), ())
        heard = len(server.heard)
        world.wait(5)
        self.assertEqual((len(server.heard), server.is_alive), (heard, True))
        self.assertEqual(world.reasons(), {})
        self.successResultOf(drained)


class NextNodeTests(SynchronousTestCase):
    """A node is killed, and another one goes on with its game servers."""

    def begin(self, **options: int) -> FleetWorld:
        world = FleetWorld(**options)
        world.place("m1")
        return world

    def test_goes_on(self) -> None:
        """
        Its match is played on at the same port, which nobody else gets, and players
        are admitted and removed as before.
        """
        dead = self.begin(ports=2)
        port = dead.supply.hosting("m1").port
        world = FleetWorld(ports=2, seed=8)
        self.assertEqual(world.after(dead), [True])
        self.assertEqual(world.counts(), (1, 1, 0))
        server = world.supply.hosting("m1")
        self.assertEqual(world.supply.called, [server.server_id])
        server.dial_again()
        world.settle()
        self.assertIsInstance(server.heard[-1], TokenKeys)
        added = world.fleet.add_ticket(ticket("m1", 0, "b"))
        world.settle()
        self.successResultOf(added)
        self.assertIn(AddTicket(ticket("m1", 0, "b")), server.heard)
        other = self.successResultOf(world.place("m2"))
        self.assertNotEqual(other.port, port)
        world.wait(5)
        self.assertIn(Heartbeat(3), server.heard)
        world.fleet.close_room("m1", "ended")
        world.settle()
        self.assertEqual(world.reasons(), {"m1": "ended"})
        self.assertEqual(world.counts(), (1, 1, 0))
        self.assertNotIn(server.server_id, world.records.written)

    def test_what_happened_meanwhile(self) -> None:
        """
        What happened while no node was there is reported to the next one, once.
        """
        dead = self.begin()
        world = FleetWorld()
        world.after(dead)
        server = world.supply.hosting("m1")
        outcome = {"round": 1, "places": [[0]], "scores": []}
        playing = Playing(
            "m1",
            match_plan("m1"),
            is_started=True,
            seats={0: "joined", 1: "left"},
            outcome=outcome,
        )
        server.dial(matches=(playing,))
        server.say(RoomEnded(MatchEnd("m1", "finished")))
        server.say(RoomEnded(MatchEnd("m1", "finished")))
        world.settle()
        self.assertEqual(
            world.watch.told,
            [
                ("seat", "m1", 0, "joined"),
                ("seat", "m1", 1, "left"),
                ("started", "m1"),
                ("round", "m1", outcome),
            ],
        )
        self.assertEqual(world.reasons(), {"m1": "finished"})

    def test_round_of_the_node_before(self) -> None:
        """
        A round whose result the node before has kept is not reported again; a later one
        is. Tokens of both nodes are accepted.
        """
        dead = self.begin()
        outcome = {"round": 1, "places": [[0]], "scores": []}
        dead.supply.hosting("m1").say(RoundEnded("m1", outcome))
        (record,) = dead.records.written.values()
        self.assertEqual(record.matches[0].rounds, 1)
        self.assertTrue(record.token_keys)
        key = {"k9": "OLD"}
        dead.records.written = {record.server_id: replace(record, token_keys=key)}
        world = FleetWorld()
        world.after(dead)
        server = world.supply.hosting("m1")
        server.dial(matches=(Playing("m1", match_plan("m1"), outcome=outcome),))
        world.settle()
        self.assertEqual(world.watch.told, [])
        keys = server.token_keys
        self.assertEqual(keys, {"k9": b"OLD", **world.issuer.token_keys()})
        later = {**outcome, "round": 2}
        server.say(RoundEnded("m1", later))
        self.assertEqual(world.watch.told, [("round", "m1", later)])
        (record,) = world.records.written.values()
        self.assertEqual(record.matches[0].rounds, 2)

    def test_used_up(self) -> None:
        """
        A game server that could have more matches gets none of the next node: it may be
        an older program. It ends with its last one.
        """
        dead = self.begin(rooms_per_process=5)
        world = FleetWorld(rooms_per_process=5, seed=8)
        world.after(dead)
        server = world.supply.hosting("m1")
        server.dial_again()
        world.place("m2")
        self.assertEqual(server.rooms, ["m1"])
        server.end_room("m1")
        world.settle()
        self.assertIn(Stop(), server.heard)
        self.assertFalse(server.is_alive)

    def test_gone_meanwhile(self) -> None:
        """
        A game server whose process has ended is not adopted, and not remembered.
        """
        dead = self.begin()
        dead.supply.hosting("m1").is_alive = False
        world = FleetWorld()
        self.assertEqual(world.after(dead), [False])
        self.assertEqual((world.records.written, world.counts()), ({}, (4, 0, 0)))
        self.assertEqual(world.fleet.status().rooms, 0)

    def test_does_not_come(self) -> None:
        """
        A game server that does not link within its lease is killed; its port is free
        only then.
        """
        dead = self.begin()
        world = FleetWorld()
        world.after(dead)
        server = world.supply.hosting("m1")
        world.wait(AWAY - 1)
        self.assertEqual(world.counts(), (3, 1, 0))
        world.wait(2)
        self.assertFalse(server.is_alive)
        self.assertEqual(world.counts(), (4, 0, 0))
        self.assertEqual(world.reasons(), {"m1": "lost"})
        self.assertEqual(world.records.written, {})

    def test_dies_then(self) -> None:
        """
        Players are let in with the tickets that an earlier node gave them if their game
        server dies, too.
        """
        world = FleetWorld(seed=8)
        world.after(self.begin())
        server = world.supply.hosting("m1")
        playing = Playing(
            "m1",
            match_plan("m1"),
            number=3,
            checkpoint=b"kept",
            tickets=(ticket("m1", 0), ticket("m1", 1, "b")),
        )
        server.dial(matches=(playing,))
        world.settle()
        server.exit(signal=9)
        world.wait(2)
        orders = world.supply.hosting("m1").heard
        (opened,) = [one for one in orders if isinstance(one, OpenRoom)]
        self.assertEqual([one.label[0] for one in opened.tickets], ["a", "b"])
        self.assertEqual(world.reasons(), {})

    def test_killed_again(self) -> None:
        """
        The node after the next goes on, too.
        """
        worlds = [self.begin()]
        for _ in range(3):
            worlds.append(FleetWorld())
            self.assertEqual(worlds[-1].after(worlds[-2]), [True])
            worlds[-1].supply.hosting("m1").dial_again()
            worlds[-1].settle()
        worlds[-1].supply.hosting("m1").say(SeatChanged("m1", 1, "returned"))
        worlds[-1].settle()
        self.assertEqual(worlds[-1].watch.told, [("seat", "m1", 1, "returned")])

    def test_left_for_the_next(self) -> None:
        """
        A node that stops may leave its matches: those who play them are not asked to
        end, and all others are.
        """
        dead = self.begin(warm=1)
        server = dead.supply.hosting("m1")
        dead.fleet.leaves_matches = True
        stopped = dead.fleet.stopService()
        dead.settle()
        self.successResultOf(stopped)
        self.assertNotIn(Stop(), server.heard)
        self.assertEqual(dead.supply.alive, [])
        self.assertEqual(list(dead.records.written), [server.server_id])
        self.assertEqual(dead.reasons(), {})
        dead.supply.started = [server]
        world = FleetWorld()
        self.assertEqual(world.after(dead), [True])

    def test_nothing_to_leave(self) -> None:
        """
        A match that has ended is not written down any more.
        """
        world = self.begin()
        self.assertEqual(len(world.records.written), 1)
        world.supply.hosting("m1").end_room("m1")
        world.settle()
        self.assertEqual(world.records.written, {})
