"""A game server without its node: it plays on, and reports when a node comes."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.game_net import HOST, PORT, GameNet, GamePlayer
from tests.support.games import Teller
from vinom.fleet.control import checkpoints
from vinom.fleet.control.checkpoints import make_unsent, read_unsent
from vinom.fleet.control.messages import (
    Adopted,
    CloseRoom,
    Draining,
    Heartbeat,
    Kept,
    KeptTaken,
    MatchStarted,
    OpenRoom,
    RelayAction,
    RelaySeat,
    RelayTaken,
    RelayWatch,
    RoomEnded,
    SeatChanged,
    ToNode,
    encode,
)
from vinom.fleet.gameserver import matches
from vinom.fleet.gameserver.outbox import ALONE_SECONDS
from vinom.fleet.local.outliving import ENDS, IS_ADOPTED, PLAYS_ON
from vinom.net.frames import FRAME_LIMIT

#: As of `GameNet`, seconds.
LEASE = 10.0


class WithoutNodeTests(SynchronousTestCase):
    """The control link is lost; nobody but the node can see that."""

    def setUp(self) -> None:
        self.files: list[int] = []

    def make_file(self) -> int:
        """Make what a node gives for checkpoints that cannot be sent."""
        file = make_unsent()
        self.addCleanup(os.close, file)
        self.files.append(file)
        return file

    def cut(self, net: GameNet) -> None:
        """Lose the node."""
        if not self.files:
            net.server.received(KeptTaken("m1", 1, self.make_file()))
        net.server.unlinked()

    def link(self, net: GameNet, *matches: str) -> list[ToNode]:
        """Another node comes, and goes on with these matches."""
        told: list[ToNode] = [net.server.ready(1)]
        net.server.linked(told.append)
        net.server.received(Adopted(matches, self.make_file()))
        return told

    def test_plays_on(self) -> None:
        """
        Players play on for as long as the lease lasts, and are then sent nothing more,
        not even a goodbye.
        """
        net = GameNet(lease=10.0)
        players = net.begin()
        self.cut(net)
        net.run(LEASE - 1)
        players[0].say("still here")
        net.run(0.5)
        self.assertIn("still here", players[1].lines[-1])
        self.assertEqual(0, net.stopped)
        net.run(1.0)
        self.assertEqual(1, net.stopped)
        senders: list[object] = []
        net.reactor.losing = lambda sender, _: bool(senders.append(sender))
        players[0].say("anybody?")
        net.run(2.0)
        self.assertNotIn((HOST, PORT), senders)
        self.assertEqual(([], []), (players[0].over, net.ends))

    def test_tickets_after_the_clock_was_set(self) -> None:
        """
        The next node gets tickets with the ends that they were given, however far the
        time of day has been set since the game server began.
        """
        ends = []
        for ahead in (0.0, -100.0, 100.0):
            net = GameNet(lease=10.0)
            clock: Any = net.reactor
            clock.time_of_day = lambda clock=clock, ahead=ahead: clock.seconds() + ahead
            net.begin()
            self.cut(net)
            (playing,) = self.link(net, "m1")[0].matches
            ends.append([ticket.expires_at for ticket in playing.tickets])
        self.assertEqual(ends, [ends[0]] * 3)

    def test_without_a_match(self) -> None:
        """
        Without a match it ends soon.
        """
        net = GameNet(lease=10.0)
        net.bind()
        self.cut(net)
        net.run(ALONE_SECONDS / 2)
        self.assertEqual(0, net.stopped)
        net.run(1.0)
        self.assertEqual(1, net.stopped)

    def test_a_node_comes(self) -> None:
        """
        A node that comes is told what is played, where, and who has which seat; then
        the match is its own, for longer than the lease.
        """
        net = GameNet(lease=10.0)
        players = net.begin()
        self.cut(net)
        players[1].leave()
        net.run(3.0)
        told = self.link(net, "m1")
        ready, *rest = told
        self.assertEqual(("s1", PORT), (ready.label, ready.port))
        (playing,) = ready.matches
        self.assertTrue(playing.is_started)
        self.assertEqual([0, 1], [ticket.seat for ticket in playing.tickets])
        # It is in the file.
        self.assertEqual(b"", playing.recorded)
        self.assertEqual(net.recordings.matches["m1"].length, playing.length)
        self.assertEqual({0: "joined", 1: "left"}, playing.seats)
        self.assertEqual([SeatChanged("m1", 1, "left")], rest)
        for number in range(1, int(LEASE) + 5):
            net.server.received(Heartbeat(number))
            net.run(1.0)
        self.assertEqual(0, net.stopped)
        net.server.received(CloseRoom("m1", "ended"))
        self.assertEqual("ended", told[-1].end.reason)

    def test_a_node_comes_after_a_move(self) -> None:
        """
        A match that another process began is one that is played: operators do not see
        it wait for its players again.
        """
        net = GameNet(lease=10.0)
        net.begin()
        data, number = net.checkpoint
        other = GameNet(seed=1, lease=10.0)
        other.reactor.rightNow = net.reactor.seconds()
        other.bind()
        other.open(game="teller", seats=2, checkpoint=data, number=number)
        self.cut(other)
        other.run(1.0)
        ready, *_ = self.link(other, "m1")
        self.assertTrue(ready.matches[0].is_started)

    def test_checkpoints_that_do_not_fit(self) -> None:
        """
        Checkpoints too large for the first message follow it, and the matches of a
        process that is killed later still go on.
        """
        net = GameNet(lease=10.0)
        players = net.begin()
        players[0].say("kept")
        net.run(0.2)
        self.cut(net)
        self.patch(matches, "LONGEST_CHECKPOINT", 10)
        told = self.link(net, "m1")
        net.run(0.2)
        (playing,) = told[0].matches
        kept = next(one for one in told if isinstance(one, Kept))
        self.assertEqual(b"", playing.checkpoint)
        self.assertEqual((playing.number + 1, 0), (kept.number, kept.base))
        self.assertIn(b"kept", kept.data)

    def test_many_matches(self) -> None:
        """
        A process with many matches, whose recordings hold much, has a link again.
        """
        net = GameNet(rooms_limit=64, lease=10.0)
        net.bind()
        for number in range(64):
            net.open(f"m{number}")
            net.recordings.matches[f"m{number}"].held = bytes(32 * 1024)
        self.cut(net)
        ready = net.server.ready(1)
        self.assertLess(len(encode(ready)), FRAME_LIMIT)
        self.assertEqual(64, len(ready.matches))

    def test_match_ends_meanwhile(self) -> None:
        """
        The end of a match waits for a node; then the process ends.
        """
        net = GameNet(lease=10.0)
        net.begin()
        self.cut(net)
        net.server.received(CloseRoom("m1", "ended"))
        net.run(8.0)
        self.assertEqual(({}, 0), (net.server.rooms, net.stopped))
        ready, *rest = self.link(net, "m1")
        self.assertEqual(["m1"], [one.match_id for one in ready.matches])
        (end,) = [one for one in rest if isinstance(one, RoomEnded)]
        self.assertEqual("ended", end.end.reason)
        self.assertEqual(1, net.stopped)

    def test_end_that_may_not_have_arrived(self) -> None:
        """
        An end that was reported to a node that died in the same moment is reported
        again; one that is older is not.
        """
        for wait, count in ((1.0, 1), (8.0, 0)):
            net = GameNet(rooms_limit=3, lease=10.0)
            net.begin()
            net.server.received(CloseRoom("m1", "ended"))
            net.run(wait)
            net.server.received(Heartbeat(1))
            self.cut(net)
            told = self.link(net)
            ends = [one for one in told if isinstance(one, RoomEnded)]
            self.assertEqual(count, len(ends))

    def test_refused(self) -> None:
        """
        A match that the node does not know is over: nobody would see its result.
        """
        net = GameNet(lease=10.0)
        players = net.begin()
        self.cut(net)
        net.run(1.0)
        told = self.link(net)
        net.run(2.5)
        self.assertEqual(["lost"], [over.reason for over in players[0].over])
        (end,) = [one for one in told if isinstance(one, RoomEnded)]
        self.assertEqual("lost", end.end.reason)
        self.assertEqual(1, net.stopped)

    def test_cut_again(self) -> None:
        """
        Each node that is lost gives the whole lease again; what one was told is not
        repeated to the next.
        """
        net = GameNet(lease=10.0)
        net.begin()
        for _ in range(3):
            self.cut(net)
            net.run(LEASE - 5)
            _, *rest = self.link(net, "m1")
            self.assertEqual([], rest)
        self.assertEqual(0, net.stopped)

    def test_link_without_an_answer(self) -> None:
        """
        A link over which no node answers does not stop the lease.
        """
        net = GameNet(lease=10.0)
        net.begin()
        self.cut(net)
        net.run(5)
        net.server.linked(net.told.append)
        net.run(LEASE - 4)
        self.assertEqual(1, net.stopped)

    def test_players_of_the_node(self) -> None:
        """
        A player who was connected to the node is away; the others are not. The next
        node is told that it has the seat no more.
        """
        net = GameNet(lease=10.0)
        net.begin()
        net.server.received(RelayWatch("m1", True))
        net.server.received(RelaySeat("m1", 0, "join", 1))
        net.run(0.5)
        self.cut(net)
        net.run(0.5)
        ready, *rest = self.link(net, "m1")
        self.assertEqual({0: "dropped", 1: "joined"}, ready.matches[0].seats)
        self.assertEqual(
            [RelayTaken("m1", 0, 1), SeatChanged("m1", 0, "dropped")], rest
        )
        net.server.received(RelayWatch("m1", True))
        net.server.received(RelaySeat("m1", 0, "join", 1))
        net.server.received(RelayAction("m1", 0, 1, b'{"type":"say","word":"x"}'))
        net.run(0.5)
        self.assertEqual("returned", net.server.ready(1).matches[0].seats[0])

    def test_room_of_the_node(self) -> None:
        """
        A room of the node ends with it: after 5 s, or at once beside a match.
        """
        net = GameNet(rooms_limit=2, lease=10.0)
        plan = net.open("m2")
        del net.server.rooms["m2"]
        net.server.received(OpenRoom(plan, (), is_relayed=True))
        self.cut(net)
        net.run(8.0)
        self.assertEqual(1, net.stopped)
        net = GameNet(rooms_limit=3, lease=10.0)
        net.begin()
        net.server.received(OpenRoom(plan, (), is_relayed=True))
        self.cut(net)
        net.run(8.0)
        self.assertEqual(["m1"], list(net.server.rooms))

    def test_what_the_fork_server_reads(self) -> None:
        """
        The fork server of a dead node learns whom it may kill.
        """
        noted: list[int] = []
        net = GameNet(rooms_limit=5, outlives=noted.append, lease=10.0)
        net.begin()
        net.server.received(CloseRoom("m1", "ended"))
        net.run(3.0)
        self.assertEqual([PLAYS_ON, ENDS], noted)
        net.open("m2")
        self.cut(net)
        self.link(net, "m2")
        net.server.received(CloseRoom("m2", "ended"))
        net.run(3.0)
        net.open("m3")
        self.assertEqual([PLAYS_ON, ENDS, PLAYS_ON, IS_ADOPTED], noted)

    def test_asked_to_end_meanwhile(self) -> None:
        """
        A game server whose machine is drained while it has no node reports that to the
        one that comes, which has its matches go on elsewhere.
        """
        net = GameNet(lease=10.0)
        net.begin()
        self.cut(net)
        net.server.drain()
        told = self.link(net, "m1")
        self.assertIn(Draining(), told)

    def test_same_node_again(self) -> None:
        """
        A link to the same node changes nothing: when that node dies, its fork server
        kills this process if it hangs.
        """
        noted: list[int] = []
        net = GameNet(rooms_limit=5, outlives=noted.append, lease=10.0)
        net.begin()
        self.cut(net)
        net.server.linked(net.told.append)
        net.server.received(Adopted(("m1",), self.make_file(), True))
        self.assertEqual([PLAYS_ON], noted)
        net.server.received(CloseRoom("m1", "ended"))
        net.run(3.0)
        self.assertEqual([PLAYS_ON, ENDS], noted)

    def test_started_meanwhile(self) -> None:
        """
        A match that starts while no node is there is reported as started.
        """
        net = GameNet(lease=10.0)
        net.open()
        self.cut(net)
        for seat in range(2):
            net.player(seat)
        net.run(0.5)
        ready, *rest = self.link(net, "m1")
        self.assertTrue(ready.matches[0].is_started)
        self.assertIn(MatchStarted("m1"), rest)


class UnsentTests(SynchronousTestCase):
    """What players see while there is no node."""

    def begin(self, game: str = "teller") -> tuple[GameNet, list[GamePlayer]]:
        net = GameNet(lease=20.0)
        net.open("m1", game=game)
        players = [net.player(seat) for seat in range(2)]
        net.run(0.5)
        self.sent: list[object] = []
        return net, players

    def cut(self, net: GameNet, file: int = 0) -> None:
        if file:
            net.server.received(KeptTaken("m1", 1, file))
        net.server.unlinked()

    def link(self, net: GameNet) -> Kept | None:
        """The node has a link again, and what it got with it."""
        ready = net.server.ready(1)
        net.server.linked(net.told.append)
        net.server.received(Adopted(("m1",)))
        (playing,) = ready.matches
        self.assertTrue(playing.checkpoint)
        return None

    def make_file(self) -> int:
        file = make_unsent()
        self.addCleanup(os.close, file)
        return file

    def test_written_first(self) -> None:
        """
        Whenever the process is killed, the node finds all that players have seen: in
        the file, for there is no link.
        """
        net, players = self.begin()
        file = self.make_file()
        self.cut(net, file)
        for number in range(30):
            players[number % 2].say(f"word {number}" + "x" * 200)
            for _ in range(5):
                net.run(0.01)
                seen = max(player.seen.version for player in players)
                numbers, versions = zip(
                    *((one.number, one.version) for one in read_unsent(file)),
                    strict=True,
                )
                self.assertLessEqual(seen, versions[-1])
                first = numbers[0]
                self.assertEqual(numbers, tuple(range(first, first + len(numbers))))
        found = read_unsent(file)
        self.assertEqual(found[0].base, 0)
        self.assertTrue(any(one.base for one in found))
        self.assertGreater(seen, 29)

    def test_killed_while_it_writes(self) -> None:
        """
        What was not written to its end is left out; what came before it counts.
        """
        net, players = self.begin()
        file = self.make_file()
        self.cut(net, file)
        for word in ("one", "two"):
            players[0].say(word)
            net.run(0.2)
        whole = read_unsent(file)
        data = os.pread(file, 1 << 20, 0)
        ends = 0
        for length in range(len(data) + 1):
            os.ftruncate(file, length)
            os.pwrite(file, data[:length], 0)
            found = read_unsent(file)
            self.assertEqual(found, whole[: len(found)])
            ends = max(ends, len(found))
        self.assertEqual(ends, len(whole))

    def test_paused(self) -> None:
        """
        Where nothing keeps checkpoints, as in a pod that has lost its node, players are
        shown nothing, their inputs wait, and match time stands still; all goes on when
        there is a node again, and nothing is missing or doubled.
        """
        net, players = self.begin("ticking")
        hosted = net.server.rooms["m1"]
        self.cut(net)
        before = (hosted.room.ticks, hosted.room.version, players[0].seen.version)
        time = hosted.room.match_time(net.reactor.seconds())
        net.reactor.losing = lambda sender, _: (
            sender == (HOST, PORT) and bool(self.sent.append(sender))
        )
        for number in range(5):
            players[0].say(f"w{number}")
            net.run(1.0)
        self.assertEqual(self.sent, [])
        after = (hosted.room.ticks, hosted.room.version, players[0].seen.version)
        self.assertEqual(after, before)
        self.assertEqual(hosted.room.match_time(net.reactor.seconds()), time)
        self.link(net)
        net.run(2.0)
        words = [line.rpartition(" ")[2] for line in players[1].lines]
        self.assertEqual(words, [f"w{number}" for number in range(5)])
        self.assertAlmostEqual(
            hosted.room.match_time(net.reactor.seconds()), time + 2.0, 1
        )
        self.assertEqual([player.lost for player in players], [[], []])

    def test_behind(self) -> None:
        """
        A game that may forget plays on there: its players notice nothing, and the node
        that comes gets all of it.
        """
        self.patch(Teller, "durability", "behind")
        net, players = self.begin()
        self.cut(net)
        for number in range(3):
            players[0].say(f"w{number}")
            net.run(1.0)
            self.assertEqual(players[1].lines[-1].rpartition(" ")[2], f"w{number}")
        version = net.server.rooms["m1"].room.version
        (playing,) = net.server.ready(1).matches
        self.assertEqual(playing.version, version)
        self.link(net)
        players[0].say("w3")
        net.run(1.0)
        self.assertEqual(players[1].lines[-1].rpartition(" ")[2], "w3")
        self.assertEqual(len(players[1].lines), 4)

    def test_taken_over_while_paused(self) -> None:
        """
        So it does for a player who, in doubt, came over a newer connection meanwhile:
        what was sent over the older one is sent again, and is not acknowledged before.
        """
        net, players = self.begin()
        self.cut(net)
        for number in range(3):
            players[0].say(f"w{number}")
            net.run(0.2)
        older = players[0]
        label = net.label("m1", 0)
        newer = GamePlayer(net, label, resume=older.resume, link_state=older.link_state)
        net.run(1.0)
        self.link(net)
        net.run(2.0)
        newer.say("w3")
        net.run(1.0)
        words = [line.rpartition(" ")[2] for line in players[1].lines]
        self.assertEqual(
            [word for word in words if word[0] == "w"],
            [f"w{number}" for number in range(4)],
        )

    def test_lease_is_over_while_paused(self) -> None:
        """
        A match that waits ends without a word: it is played elsewhere by then.
        """
        net, players = self.begin()
        self.cut(net)
        players[0].say("too late")
        net.run(21.0)
        self.assertEqual((net.stopped, players[0].over, net.ends), (1, [], []))
        self.assertEqual(players[1].lines, [])

    def test_asked_to_end_while_paused(self) -> None:
        """
        So does one whose process is asked to end.
        """
        net, players = self.begin()
        self.cut(net)
        done = net.server.stop()
        net.run(3.0)
        self.successResultOf(done)
        self.assertEqual((net.stopped, players[0].over, net.ends), (1, [], []))

    def test_file_is_full(self) -> None:
        """
        When the file is full, players see nothing more until there is a node.
        """
        self.patch(checkpoints, "MOST_BYTES", 6000)
        net, players = self.begin()
        file = self.make_file()
        self.cut(net, file)
        for number in range(40):
            players[0].say(f"{number}" + "x" * 100)
            net.run(0.1)
        found = read_unsent(file)
        self.assertLessEqual(players[0].seen.version, found[-1].version)
        self.assertLess(len(players[0].lines), 40)
        self.link(net)
        net.run(1.0)
        self.assertEqual(len(players[0].lines), 40)
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_file_is_full_when_a_node_comes(self) -> None:
        """
        When the file becomes full in the moment in which a node comes, play goes on.
        """
        net, players = self.begin()
        self.cut(net, self.make_file())
        net.run(0.1)
        file = net.server.matches.checkpoints._unsent
        assert file is not None
        file._left = 0
        self.link(net)
        for number in range(3):
            players[0].say(f"{number}")
            net.run(1.0)
        self.assertEqual(len(players[0].lines), 3)
